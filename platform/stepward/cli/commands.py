"""Every command: its words, its settings, and the function that runs it, which is imported when it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from stepward.cli import words


@dataclass(frozen=True)
class Command:
    """One command of the command line, and one file of jobs/.

    Attributes:
        words: what it does, in a line, then how it is used and what it makes.
        settings: ``module:function`` of wing -> settings class.
        run: ``module:function`` of settings -> what was made, whose text is the last line of the job.
        main: dotted names of the settings that ``--help`` shows.
        domain: of a command line that names none.
    """

    words: str
    settings: str
    run: str
    main: tuple[str, ...] = ()
    domain: str = "walk"

    def load(self) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
        """The functions behind `settings` and `run`."""
        return _find(self.settings), _find(self.run)


def _find(place: str) -> Any:
    module, name = place.split(":")
    return getattr(import_module(f"stepward.runtime.{module}"), name)


SHARED = ("domain", "name", "store", "seed", "overwrite")
COMMANDS: dict[str, Command] = {
    "experiment": Command(
        words.EXPERIMENT, "experiment_settings:experiment_job", "experiment:run_experiment",
        (*SHARED, "label.problems.path", "label.problems.num_train", "label.labels.num_rollouts_train",
         "prm.learner.kind", "prm.optimisation.num_epochs", "evaluate.num_problems", "tracking.uri"),
    ),
    "data": Command(
        words.DATA, "data_stage:data_job", "data_stage:run_data",
        (*SHARED, "source.kind", "source.path", "pool.num_actors"), domain="pde",
    ),
    "pretrain": Command(
        words.PRETRAIN, "pretraining:pretrain_job", "pretraining:run_pretrain",
        (*SHARED, "recipe.ambiguous_error", "problems.path", "problems.num_train", "surrogate.kind", "base",
         "fit.epochs", "pool.num_workers"), domain="math",
    ),
    "label": Command(
        words.LABEL, "labelling:label_job", "labelling:run_label",
        (*SHARED, "problems.source", "problems.path", "problems.num_train", "proposer.kind", "proposer.model",
         "labels.kind", "labels.num_rollouts_train", "labels.method.kind", "pool.num_actors", "pool.batch_size"),
    ),
    "train": Command(
        words.TRAIN, "training:train_job", "training:run_train",
        (*SHARED, "label", "given.kind", "given.path", "given.format",
         "learner.kind", "objective.kind", "optimisation.num_epochs", "optimisation.batch_size",
         "optimisation.learning_rate", "pool.num_workers"),
    ),
    "tune": Command(
        words.TUNE, "tuning:tune_job", "tuning:run_tune",
        (*SHARED, "space", "of", "label", "search.kind", "search.num_samples", "scheduler.kind", "pool.cpus_per_trial"),
    ),
    "evaluate": Command(
        words.EVALUATE, "evaluation:evaluate_job", "evaluation:run_evaluate",
        (*SHARED, "labels", "split", "num_problems", "guides", "searches", "arms", "num_candidates",
         "pool.num_actors"),
    ),
    "export": Command(
        words.EXPORT, "exporting:export_job", "exporting:run_export",
        (*SHARED, "label", "form.kind", "form.above", "form.placeholder", "form.reward_tokens"), domain="math",
    ),
    "benchmark": Command(
        words.BENCHMARK, "benchmarking:benchmark_job", "benchmarking:run_benchmark",
        (*SHARED, "benchmark.kind", "benchmark.path", "guides", "max_solutions", "threshold_from", "pool.num_actors"),
        domain="math",
    ),
    "serve": Command(
        words.SERVE, "serving:serve_job", "serving:run_serve", ("domain", "path", "kind", "host", "port"),
        domain="math",
    ),
    "report": Command(words.REPORT, "reporting:report_job", "reporting:run_report"),
    "track": Command(words.TRACK, "tracking_job:track_job", "tracking_job:run_track"),
    "doctor": Command(
        words.DOCTOR, "doctor:doctor_job", "doctor:run_doctor",
        ("domain", "store", "proposer.kind", "proposer.model", "ray", "cluster.address", "tracking.uri"), domain="math",
    ),
}  # fmt: skip
