"""Evaluate guides: solve rate against cost, value ranking, calibration, robustness, label coverage; on Ray Data.

    python jobs/evaluate.py                                   PRM, HMM, exact values, distance and random order on walk
    python jobs/evaluate.py --split validation --name tuning  to choose something; the test split is for the report
    python jobs/evaluate.py domain=pde                        the ablation of rollouts: error of every step, cost, gains
    python jobs/evaluate.py my_evaluation.yaml

Needs <store>/<domain>/label/default and the train artifacts of the guides. Makes <store>/<domain>/evaluate/<name>:
tables/*.parquet (trials, and what the studies make of them: docs/architecture.md, "One evaluation"), metrics.json,
runs/<guide or arm>/ and manifest.json. After a kill, the same command goes on.
"""

import _platform  # noqa: F401
from stepward.console.outcome import report
from stepward.core.stage import load_job
from stepward.runtime.evaluation import evaluate_job, run_evaluate

if __name__ == "__main__":
    report(run_evaluate, load_job(evaluate_job, __doc__))
