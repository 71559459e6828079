"""The tune stage on Ray Tune: many small trainings side by side, those that are behind stopped early.

A stopped sweep goes on when the same command is given again: trials that ended are kept, the others go on from their
last epoch. Ray's state of a sweep stands in the artifact's folder under a name made of the labels' fingerprint until
the sweep is finished. It holds pickles, which run code when they are read: do not take up a sweep from a store that
others can write to. Nothing of it is in the finished artifact.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from pydantic import Field

from stepward.console.progress import progress
from stepward.core.artifacts import Manifest
from stepward.core.config import Config
from stepward.core.wing import Wing
from stepward.runtime.cluster import ClusterSettings, connect, require_room, resources
from stepward.runtime.tracking import Tracking, track
from stepward.runtime.tune_worker import RaisedBeforeError, Standing, run_trial, trial_key, trial_values
from stepward.runtime.workers import has_checkpoint
from stepward.train.settings import learning_of
from stepward.tune import (
    Asha,
    Choice,
    Dimension,
    Integers,
    LogUniform,
    OptunaSearch,
    Plan,
    Trial,
    TuneSettings,
    make_plan,
    tune_settings,
)
from stepward.tune.artifact import finish, winner_line
from stepward.tune.dimensions import Uniform

logger = logging.getLogger("stepward.tune")

SNAPSHOT_SECONDS = "1"  # what a kill can cost of the knowledge of which trials have ended
ENVIRONMENT = {
    "TUNE_GLOBAL_CHECKPOINT_S": SNAPSHOT_SECONDS,
    "RAY_AIR_NEW_OUTPUT": "0",  # the new one prints in spite of verbose=0
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # checkpoints hold the histories
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C ends the job instead of returning half a sweep
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}


class TuningError(RuntimeError):
    """The sweep cannot go on now; trials that ended are kept, and the same command takes it up."""


class TrialPool(Config):
    """What trials run on."""

    cpus_per_trial: float = Field(1.0, gt=0, description="CPUs of a trial")
    gpus_per_trial: float | None = Field(
        None, ge=0, description="GPUs of a trial, fractions share one; none: 1 where there are GPUs, else 0"
    )
    max_concurrent: int | None = Field(None, ge=1, description="trials at a time; none: as many as there is room for")
    max_failures: int = Field(
        3,
        ge=0,
        description="how often trials whose worker died go on from their last epoch; one that raised is not "
        "tried again, because it would raise again",
    )

    def resolve(self) -> TrialPool:
        """These settings with the numbers that depend on the cluster filled in.

        Raises:
            ValueError: the cluster does not have room for one trial.
        """
        have = resources()
        gpus = self.gpus_per_trial
        if gpus is None:
            gpus = 1.0 if have["GPU"] >= 1 else 0.0
        if self.max_concurrent is not None:
            require_room("pool", 1, self.cpus_per_trial, gpus)
        room = int(min(have["CPU"] / self.cpus_per_trial, have["GPU"] / gpus if gpus else float("inf")))
        if self.max_concurrent is None and room < 1:
            raise ValueError(
                f"pool: expected room for a trial of {self.cpus_per_trial:g} CPUs and {gpus:g} GPUs, but the cluster "
                f"has {have['CPU']:g} CPUs and {have['GPU']:g} GPUs. Ask for less, or set pool.max_concurrent for a "
                "cluster that grows."
            )
        return self.model_copy(update={"gpus_per_trial": gpus, "max_concurrent": self.max_concurrent or room})


class TuneJob(TuneSettings):
    """All settings of jobs/tune.py; `tune_job` narrows them to a domain."""

    pool: TrialPool = Field(TrialPool(), description="what trials run on")
    cluster: ClusterSettings = Field(ClusterSettings(), description="which Ray cluster does the work")
    tracking: Tracking = Field(Tracking(), description="where the finished artifact is logged")


@dataclass(frozen=True)
class TuneResult:
    """What a run of the tune stage made."""

    url: str
    manifest: Manifest
    seconds: float
    was_finished: bool

    @property
    def best(self) -> str:
        """Settings of the winner, for jobs/train.py."""
        return f"{self.url}/best.yaml"

    def __str__(self) -> str:
        made = "Already finished" if self.was_finished else f"Tuned in {self.seconds:.1f} s"
        facts = self.manifest.facts
        counts = f"{self.manifest.rows['trials']:,} trials ({facts['stopped']} stopped early, {facts['failed']} failed)"
        trained = facts.get("of", "train") == "train"
        then = f"Train it with: python jobs/train.py {self.best}" if trained else f"Its settings: {self.best}"
        return f"{made}: {counts}; {winner_line(facts)}\n{then}\n{self.url}"


def tune_job(wing: Wing) -> type[TuneJob]:
    """Settings of the tune job for a domain."""
    return cast(type[TuneJob], tune_settings(wing, TuneJob))


def run_tune(settings: TuneJob) -> TuneResult:
    """Make or finish a tune artifact, and track it with one child run a trial. A finished one is returned at once.

    Raises:
        ValueError: the space names a setting that does not exist or a value it cannot have; Optuna is asked for and not
            installed; the labels are missing, unfinished or damaged; or the artifact is of other settings.
        TuningError: no trial came to a validation loss.
    """
    started = time.monotonic()
    plan = make_plan(settings)
    if isinstance(settings.search, OptunaSearch) and importlib.util.find_spec("optuna") is None:
        raise ValueError("search.kind=optuna: the package optuna is not installed. pip install 'stepward[optuna]'")
    artifact, identity = settings.artifact("tune"), settings.identity()
    with artifact.claim(identity, overwrite=settings.overwrite, worth=lambda: has_checkpoint(artifact)) as was_finished:
        manifest = artifact.open() if was_finished else _make(settings, plan, started)
    track(artifact, settings.tracking)
    return TuneResult(artifact.url, manifest, time.monotonic() - started, was_finished)


def _make(settings: TuneJob, plan: Plan, started: float) -> Manifest:
    labels = settings.artifact("label", settings.label)
    fingerprint = labels.open().fingerprint
    if settings.of == "train":
        learning_of(settings.wing).readable(labels, settings.wing)
    with connect(settings.cluster):
        trials = _sweep(settings, plan, f"sweep-{fingerprint}")
    if not any(trial.judged for trial in trials):
        shown = "\n".join(f"  {error}" for error in dict.fromkeys(trial.error for trial in trials))
        raise TuningError(
            f"Tuning stopped: all {len(trials)} trials failed:\n{shown}\n"
            "Mend the cause, then run the same command again."
        )
    return finish(settings, plan, trials, started)


def _sweep(settings: TuneJob, plan: Plan, run: str) -> list[Trial]:
    """Run all trials, or those that an earlier run of this sweep left."""
    from stepward.runtime.tune_progress import ticking

    folder = settings.artifact("tune").folder
    place = folder.url if "://" in folder.url else folder.path
    with _quiet_tune(), progress("Tuning", plan.num_trials) as advance, ticking(advance):
        results = _tuner(settings, plan, place, run).fit()
        for _ in range(settings.pool.max_failures):
            dead = [result for result in results if _died(result.error)]
            if not dead:
                break
            logger.warning("The workers of %d trials died: these go on from their last epoch", len(dead))
            results = _tuner(settings, plan, place, run, raised=_raised(results)).fit()
    numbered = [(result.config.get("drawn", {}).get("id", position), result) for position, result in enumerate(results)]
    # a sweep that was taken up lists its trials in another order; drawn ones know their number
    return [_trial(number, result, plan) for number, result in sorted(numbered, key=lambda pair: pair[0])]


def _died(error: object) -> bool:
    """Whether a trial ended because its process did."""
    from ray import exceptions

    return isinstance(error, exceptions.RayActorError | exceptions.WorkerCrashedError | exceptions.OutOfMemoryError)


def _raised(results: Any) -> dict[str, str]:
    """Key of the trials that raised -> what they raised."""
    failed = [result for result in results if result.error is not None and not _died(result.error)]
    return {trial_key(result.config): _first_words(result.error) for result in failed}


def _tuner(settings: TuneJob, plan: Plan, place: str, run: str, raised: Mapping[str, str] | None = None) -> Any:
    """A sweep to begin, or to go on with. `raised`: given within a run, what will not be tried again in it."""
    from ray import tune

    from stepward.runtime.tune_progress import Ticks

    pool = settings.pool.resolve()
    store = settings.store if "://" in settings.store else str(Path(settings.store).resolve())
    work = tune.with_parameters(
        run_trial,
        base=settings.base() | {"store": store},
        space=plan.space,
        of=settings.of,
        raised=dict(raised or {}),
        threads=max(int(pool.cpus_per_trial), 1),
        device="cuda" if pool.gpus_per_trial else "cpu",
    )
    trainable = tune.with_resources(work, {"CPU": pool.cpus_per_trial, "GPU": pool.gpus_per_trial or 0})
    path = f"{place}/{run}"
    if tune.Tuner.can_restore(path):
        logger.info("Going on with the sweep in %s", path)
        again = {"restart_errored": True} if raised is None else {"resume_errored": True}
        return tune.Tuner.restore(path, trainable=trainable, **again)
    drawn = None if plan.trials is None else [{"id": i, "values": values} for i, values in enumerate(plan.trials)]
    suggested = {name: _domain(one) for name, one in plan.space.dimensions.items()}
    return tune.Tuner(
        trainable,
        param_space=suggested if drawn is None else {"drawn": tune.grid_search(drawn)},
        tune_config=tune.TuneConfig(
            metric="validation_loss",
            mode="min",
            num_samples=plan.num_trials if drawn is None else 1,
            search_alg=_optuna(settings.seed) if drawn is None else None,
            scheduler=_scheduler(settings, plan),
            max_concurrent_trials=pool.max_concurrent,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            name=run,
            storage_path=place,
            verbose=0,
            callbacks=[Ticks()],
            checkpoint_config=tune.CheckpointConfig(num_to_keep=2),
        ),
    )


def _scheduler(settings: TuneJob, plan: Plan) -> Any:
    from ray.tune.schedulers import ASHAScheduler

    asha = settings.scheduler
    if not isinstance(asha, Asha) or settings.of != "train":
        return None
    return ASHAScheduler(
        time_attr="epoch",
        max_t=plan.max_epochs,
        grace_period=asha.grace_epochs,
        reduction_factor=asha.reduction_factor,
    )


def _optuna(seed: int) -> Any:
    import optuna
    from ray.tune.search.optuna import OptunaSearch as Suggestions

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return Suggestions(seed=seed)


def _domain(dimension: Dimension) -> Any:
    """A dimension in Tune's words; of a choice, the position of its value."""
    from ray import tune

    if isinstance(dimension, Choice):
        return tune.choice(list(range(len(dimension.values))))
    assert isinstance(dimension, Uniform), "all others are numbers between two others"
    low, high = dimension.extremes
    if isinstance(dimension, Integers):
        return tune.randint(low, high + 1)
    return tune.loguniform(low, high) if isinstance(dimension, LogUniform) else tune.uniform(low, high)


def _trial(number: int, result: Any, plan: Plan) -> Trial:
    """What a finished trial left in its last checkpoint, and its error if it failed."""
    known: dict[str, Any] = {
        "id": f"{number:04d}",
        "settings": trial_values(result.config, plan.space),
        "seconds": float((result.metrics or {}).get("time_total_s", 0.0)),
    }
    if result.checkpoint is None:
        return Trial(**known, status="failed", error=_first_words(result.error) or "no epoch was finished")
    with result.checkpoint.as_directory() as folder:
        standing = Standing.load(folder)
    done, facts = standing.progress, dict(standing.facts)
    ended = facts.pop("patience_out", False) or done.epochs_done >= plan.max_epochs
    known |= {"history": done.history, "best_epoch": done.best_epoch, **facts}
    if result.error is not None:
        return Trial(**known, status="failed", error=_first_words(result.error))
    if not len(standing.losses):
        return Trial(**known, status="failed", error="the validation loss was never a finite number")
    return Trial(**known, status="finished" if ended else "stopped", problem_losses=standing.losses)


def _first_words(error: object) -> str:
    """What was raised, without Ray's traceback."""
    if error is None:
        return ""
    cause = getattr(error, "cause", None)
    if isinstance(cause, RaisedBeforeError):
        return str(cause)
    if cause is not None:
        return f"{type(cause).__name__}: {cause}"
    lines = [line for line in str(error).strip().splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__


@contextmanager
def _quiet_tune() -> Iterator[None]:
    """Ray Tune without words of its own, and with a state on storage that is at most a second old."""
    added = {name: value for name, value in ENVIRONMENT.items() if name not in os.environ}
    os.environ.update(added)
    for name in ("ray.tune", "ray.train", "ray.air"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)
