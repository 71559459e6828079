"""Run a whole experiment: label, train, tune, evaluate, report. This is what `make demo` runs.

    python jobs/experiment.py                               the embedded default, a few minutes on two cores
    python jobs/experiment.py name=small label.problems.num_train=1000
    python jobs/experiment.py domain=pde                    surrogate, rankings, reward models, ablation of rollouts
    python jobs/experiment.py experiment.yaml

Makes one artifact a stage in <store>/<domain>/, logs each to MLflow, and ends with the paths of the report and of the
MLflow store. Stages that are finished are passed over; after a kill, the same command goes on where it stopped.
"""

import _platform  # noqa: F401
from stepward.console.outcome import report
from stepward.core.stage import load_job
from stepward.runtime.experiment import run_experiment
from stepward.runtime.experiment_settings import experiment_job

if __name__ == "__main__":
    report(run_experiment, load_job(experiment_job, __doc__))
