"""Sweep settings of the train job on small trainings and pick a winner by validation loss, on Ray Tune.

    python jobs/tune.py                                       the embedded default: tune_spaces/walk_prm.yaml, with ASHA
    python jobs/tune.py space=tune_spaces/mine.yaml name=mine search.num_samples=32
    python jobs/tune.py search.kind=optuna scheduler.kind=none
    python jobs/tune.py domain=pde                            margin × depth × width: tune_spaces/pde_prm.yaml
    python jobs/tune.py domain=math of=searches space=tune_spaces/math_search.yaml name=search
                                                              nothing is trained: trials search validation problems
    python jobs/tune.py domain=pde of=searches space=tune_spaces/pde_weights.yaml name=weights
                                                              the same with rollouts of a surrogate

Needs <store>/<domain>/label/default. Makes <store>/<domain>/tune/<name>: trials.parquet, history.parquet, metrics.json,
best.yaml (settings of the winner: `python jobs/train.py best.yaml`) and manifest.json. After a kill, the same command
goes on; trials that ended are not run again.
"""

import _platform  # noqa: F401
from stepward.console.outcome import report
from stepward.core.stage import load_job
from stepward.runtime.tuning import run_tune, tune_job

if __name__ == "__main__":
    report(run_tune, load_job(tune_job, __doc__))
