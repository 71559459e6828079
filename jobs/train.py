"""Train a reward model on the labels of jobs/label.py, on Ray Train.

    python jobs/train.py                                            the embedded default: an MLP for number walks
    python jobs/train.py learner.kind=hmm name=hmm                  the hidden-Markov baseline
    python jobs/train.py domain=pde                                 a CNN that orders candidates of a surrogate
    python jobs/train.py domain=pde learner.kind=feature_critic name=critic
    python jobs/train.py settings.yaml --pool.num_workers 4

Makes <store>/<domain>/train/<name>: weights.safetensors, reward.json, calibration.json (probabilities), metrics.json,
history.parquet, tables/*.parquet, manifest.json. After a kill, the same command goes on from the last finished epoch.
"""

import _platform  # noqa: F401
from stepward.console.outcome import report
from stepward.core.stage import load_job
from stepward.runtime.training import run_train, train_job

if __name__ == "__main__":
    report(run_train, load_job(train_job, __doc__))
