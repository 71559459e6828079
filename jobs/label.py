"""Label partial solutions, on Ray Data: by Monte-Carlo continuation, or by ranking candidates, as the domain has it.

    python jobs/label.py                               the embedded default: 260,000 partial number walks
    python jobs/label.py problems.path=mine.jsonl      your own problems (.jsonl, .csv, .parquet)
    python jobs/label.py domain=pde                    100 candidates of every fourth state of 256 flows, ranked
    python jobs/label.py settings.yaml --pool.num_actors 4

Makes <store>/<domain>/label/<name>: labels/*.parquet (id, the partial solution, and its label: successes and
num_rollouts, or the errors and ranking of candidates with the fields of some), problems.parquet, dead_letters.parquet,
metrics.json, manifest.json. After a kill, the same command goes on where it stopped.
"""

import _platform  # noqa: F401
from stepward.console.outcome import report
from stepward.core.stage import load_job
from stepward.runtime.labelling import label_job, run_label

if __name__ == "__main__":
    report(run_label, load_job(label_job, __doc__))
