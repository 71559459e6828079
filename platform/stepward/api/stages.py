"""Label, train, evaluate and report, in this process."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from typing import Any, TypeVar

import pandas as pd
import pyarrow as pa

from stepward.api.html import boxed, frame_html, picture_html
from stepward.api.scoring import PRM
from stepward.console.progress import progress, training_progress
from stepward.core.artifacts import Artifact
from stepward.core.config import Config, override
from stepward.core.learning import Trained
from stepward.core.stage import StageSettings
from stepward.core.storage import Folder
from stepward.core.wing import find_wing
from stepward.evaluate.settings import EvaluateSettings, evaluate_settings
from stepward.evaluate.stage import finish as finish_evaluation
from stepward.evaluate.summary import line
from stepward.evaluate.work import EvaluateWork
from stepward.label import LabelSettings, label_settings, make_labels
from stepward.report import Page, build_page
from stepward.rewards.guides import TrainedGuide, reached
from stepward.train import TrainSettings, state_arrays, train_settings, training
from stepward.train.artifact import finish as finish_training
from stepward.train.trainer import Tick
from stepward.train.workers import Workers

S = TypeVar("S", bound=StageSettings)
SHARD = 100  # problems an item of an evaluation


@dataclass(frozen=True)
class Labels:
    """A finished label artifact."""

    artifact: Artifact

    @property
    def table(self) -> pd.DataFrame:
        """Every label: the partial solution, `successes` of `num_rollouts` continuations, its split."""
        folder = self.artifact.folder
        return pa.concat_tables([folder.read_table(name) for name in folder.files("labels")]).to_pandas()

    @property
    def dead_letters(self) -> pd.DataFrame:
        """Rows that could not be used, and why."""
        return self.artifact.folder.read_table("dead_letters.parquet").to_pandas()

    def __len__(self) -> int:
        return self.artifact.manifest().rows["labels"]

    def _repr_html_(self) -> str:
        rows = self.artifact.manifest().rows
        counts = ", ".join(f"{number:,} {name.replace('_', ' ')}" for name, number in rows.items() if name != "labels")
        return boxed(f"{len(self):,} labels: {counts}", self.artifact.url, frame_html(self.table.head(6)))


@dataclass(frozen=True)
class Evaluation:
    """A finished evaluate artifact: a table of trials, and what the studies made of it."""

    artifact: Artifact

    def table(self, name: str = "trials") -> pd.DataFrame:
        """One of its tables: trials, frontier, comparisons, …; an unknown name says which there are."""
        folder = self.artifact.folder
        known = [file.removeprefix("tables/").removesuffix(".parquet") for file in folder.files("tables")]
        if name not in known:
            raise ValueError(f"table: expected one of {sorted(known)}, got {name!r}")
        return folder.read_table(f"tables/{name}.parquet").to_pandas()

    @property
    def metrics(self) -> dict[str, float]:
        """All figures, by name."""
        return self.artifact.folder.read_json("metrics.json")

    @property
    def page(self) -> Page:
        """The report as an object: its question, the sentences that answer it, sections and pictures."""
        from stepward.runtime.reporting import find_sources

        return build_page(find_sources(_report_settings(self.artifact)))

    @property
    def summary(self) -> pd.DataFrame:
        """Every arm in a few words."""
        arms = self.artifact.manifest().facts["arms"]
        return pd.DataFrame([{"arm": arm, "measured": said} for arm in arms if (said := line(arm, self.metrics))])

    def _repr_html_(self) -> str:
        page = self.page
        parts = [f"<p>{escape(sentence)}</p>" for sentence in page.answer[:3]]
        parts += [picture_html(picture.png, picture.alt) for picture in page.pictures[:1]]
        return boxed(page.title, self.artifact.url, *parts, frame_html(self.summary))


@dataclass(frozen=True)
class Report:
    """A report page."""

    path: str

    def _repr_html_(self) -> str:
        folder, _, name = self.path.rpartition("/")
        page = Folder(folder).read_bytes(name).decode()
        return f'<iframe srcdoc="{escape(page)}" width="100%" height="700" title="report"></iframe>'


def label(domain: str = "math", settings: Mapping[str, object] | None = None, **blocks: object) -> Labels:
    """Label partial solutions of problems: how often does a policy that goes on from here end well?

    Args:
        domain: name of a domain.
        settings: of jobs/label.py, by dotted name, such as ``{"labels.num_rollouts_train": 4}``.
        blocks: the same, a block each: ``problems={"path": "mine.jsonl"}, proposer={"model": "my-model"}``, and
            ``name``, ``store``, ``seed``, ``overwrite``.

    Returns:
        Labels; made before with these settings, they are read and not made again.

    Raises:
        ValueError: a setting is wrong, or no problem or row could be used.
    """
    return label_here(_settings(label_settings(find_wing(domain)), settings, blocks))


def label_here(job: LabelSettings) -> Labels:
    """Labels by settings of the label stage, in this process."""
    return Labels(make_labels(job))


def train(labels: Labels, settings: Mapping[str, object] | None = None, **blocks: object) -> PRM:
    """Train a reward model on labels.

    Args:
        labels: of `label`, or of jobs/label.py.
        settings: of jobs/train.py, by dotted name.
        blocks: the same, a block each: ``learner={"kind": "hmm"}, optimisation={"num_epochs": 4}, name="mine"``.

    Raises:
        ValueError: a setting is wrong, or these labels cannot be learned from.
        DivergedError: the loss is no number any more.
    """
    source = labels.artifact
    wing = find_wing(source.domain)
    given = {"store": source.root, "label": source.name} | blocks
    return train_here(_settings(train_settings(wing), settings, given))


def train_here(job: TrainSettings) -> PRM:
    """A reward model by settings of the train stage, in this process."""
    source, wing, job = job.artifact("label", job.label), job.wing, job.settled()
    artifact, identity, started = job.artifact("train"), job.identity(), time.monotonic()
    with artifact.claim(identity, overwrite=job.overwrite) as finished:
        if not finished:
            source.open()
            job.learning.check(job)
            finish_training(job, _fitted(job) if job.fitted_at_once else _descended(job), started)
    return PRM.of(artifact.folder, wing)


def evaluate(
    labels: Labels,
    settings: Mapping[str, object] | None = None,
    *,
    guides: Mapping[str, object] | None = None,
    **named: object,
) -> Evaluation:
    """Compare guides on held-out problems of labels, at matched cost, with paired intervals.

    Args:
        labels: whose problems and proposer are used.
        settings: of jobs/evaluate.py, by dotted name, such as ``{"num_problems": 100}``.
        guides: name -> a `PRM` of the same store, a kind of guide ("random", "likelihood"), or settings of a guide.
        named: further guides by name, ``prm=prm``; and blocks of settings such as ``searches``, ``samples``, ``name``.

    Without guides, those of the domain's own evaluation that need no training are compared.
    """
    source = labels.artifact
    wing = find_wing(source.domain)
    kind = evaluate_settings(wing)
    blocks = {key: value for key, value in named.items() if key in kind.model_fields and key != "guides"}
    chosen = {**(guides or {}), **{key: value for key, value in named.items() if key not in blocks}}
    given = {"store": source.root, "labels": source.name} | blocks
    given["guides"] = {name: _guide(value) for name, value in (_untrained(kind) | chosen).items()}
    return evaluate_here(_settings(kind, settings, given))


def evaluate_here(job: EvaluateSettings) -> Evaluation:
    """An evaluation by settings of the evaluate stage, in this process."""
    artifact, started = job.artifact("evaluate"), time.monotonic()
    with artifact.claim(job.identity(), overwrite=job.overwrite) as finished:
        if not finished:
            work = EvaluateWork(job, SHARD)
            work.prepare()
            _evaluate_all(work)
            finish_evaluation(work, time.monotonic() - started)
    return Evaluation(artifact)


def report(evaluation: Evaluation, **options: object) -> Report:
    """The report page of an evaluation: one HTML file that needs nothing else.

    Args:
        evaluation: of `evaluate`, or of jobs/evaluate.py.
        options: settings of jobs/report.py, such as ``headline_budget``.
    """
    from stepward.runtime.reporting import run_report

    return Report(run_report(_report_settings(evaluation.artifact, **options)).page)


def _report_settings(evaluation: Artifact, **options: object) -> Any:
    """Of the report of an evaluation, which is logged nowhere."""
    from stepward.runtime.reporting import report_job

    given: dict[str, Any] = {"store": evaluation.root, "domain": evaluation.domain, "evaluate": evaluation.name}
    given |= {"name": evaluation.name, "tracking": {"enabled": False}}
    return _settings(report_job(find_wing(evaluation.domain)), None, given | options)


def _settings(kind: type[S], dotted: Mapping[str, object] | None, blocks: Mapping[str, object]) -> S:
    """Settings from keyword blocks, then dotted names."""
    return override(kind, dict(blocks), dict(dotted or {}))


def _untrained(kind: type[EvaluateSettings]) -> dict[str, object]:
    """Guides of the domain's own evaluation that need no training, nor any that does."""
    usual = kind.model_fields["guides"].default
    return {
        name: guide
        for name, guide in usual.items()
        if not any(isinstance(part, TrainedGuide) for part in reached([name], usual).values())
    }


def _guide(value: object) -> object:
    if isinstance(value, PRM):
        return value.as_guide()
    return {"kind": value} if isinstance(value, str) else value.model_dump() if isinstance(value, Config) else value


def _fitted(job: Any) -> Trained:
    labels, validation = (job.learning.read(job, split) for split in ("train", "validation"))
    return Trained(job.learning.fit(job, labels, validation)[0], [], 0)


def _descended(job: Any) -> Trained:
    workers = Workers.here()
    labels, validation = (job.learning.read(job, split) for split in ("train", "validation"))
    task = job.learning.task(job, labels, validation, workers.device)
    with watching(f"Training {job.name}") as watch:
        *_, last = training(task, workers=workers, watch=watch)
    return Trained(state_arrays(last.best), last.progress.history, last.progress.best_epoch)


@contextmanager
def watching(title: str) -> Iterator[Callable[[Any], None]]:
    """A line that shows how far a training is, to be told by its loop."""
    with training_progress(title) as show:

        def watch(tick: Tick) -> None:
            done = tick.epoch - 1 + tick.step / max(tick.num_steps, 1)
            show(done, tick.num_epochs, f"epoch {tick.epoch} of {tick.num_epochs}, loss {tick.loss:.3f}")

        yield watch


def _evaluate_all(work: EvaluateWork) -> None:
    items = work.items()
    with progress("Evaluating", len(items), len(items) - len(work.missing())) as advance:
        while left := work.left():
            for item in left:
                work.do(item)
                advance(1)


__all__ = ["Evaluation", "Labels", "Report", "evaluate", "label", "report", "train"]
