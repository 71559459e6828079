"""What a report is made from: the artifacts of an experiment, opened and checked, or the reason why they cannot be."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from stepward.core.artifacts import Artifact, ArtifactError, Manifest
from stepward.core.config import Plain


class MissingError(ValueError):
    """A part of the report that cannot be made: why, and the command that makes what is missing."""

    def __init__(self, reason: str, command: str = "") -> None:
        super().__init__(reason)
        self.reason, self.command = reason, command


@dataclass(frozen=True)
class Source:
    """One artifact as a report sees it. Without a manifest it cannot be used, and `problem` says why.

    `defaults` are the settings of its job without arguments; `command` names only those that differ.
    """

    artifact: Artifact
    manifest: Manifest | None
    problem: str = ""
    defaults: Mapping[str, Any] = field(default_factory=dict)

    @property
    def role(self) -> str:
        """Its stage and name."""
        return f"{self.artifact.stage}/{self.artifact.name}"

    @property
    def command(self) -> str:
        """The command that makes it."""
        settings: dict[str, Any] = {"name": self.artifact.name}
        if self.artifact.domain != "walk":
            settings["domain"] = self.artifact.domain
        if self.artifact.root != "artifacts":
            settings["store"] = self.artifact.root
        made = self.manifest.identity if self.manifest else {}
        settings |= {key: made[key] for key in self.defaults if key in made and made[key] != self.defaults[key]}
        return shlex.join(
            ["python", f"jobs/{self.artifact.stage}.py", *(f"{k}={_word(v)}" for k, v in settings.items())]
        )

    def open(self) -> Manifest:
        """The manifest, or `MissingError`."""
        if self.manifest is None:
            raise MissingError(self.problem, self.command)
        return self.manifest

    def has(self, name: str) -> bool:
        """Whether the artifact holds this file."""
        return name in self.open().files

    def table(self, name: str) -> pa.Table:
        """A Parquet file of the artifact, or `MissingError`; a table without rows is missing too."""
        if not self.has(name):
            raise MissingError(f"{self.role} holds no {name}.", f"{self.command} overwrite=true")
        table = self.artifact.folder.read_table(name)
        if not len(table):
            raise MissingError(f"{name} of {self.role} has no rows: its settings ask for nothing of this kind.")
        return table

    def json(self, name: str) -> Plain:
        """A JSON file of the artifact; empty where there is none."""
        return dict(self.artifact.folder.read_json(name)) if self.has(name) else {}


@dataclass(frozen=True)
class Sources:
    """All that a report may draw on. `headline` is the budget, in expansions, of the sentences at its top."""

    evaluate: Source
    label: Source
    tune: Source
    trains: Mapping[str, Source] = field(default_factory=dict)
    headline: int = 20
    pretrains: Mapping[str, Source] = field(default_factory=dict)
    benchmarks: Mapping[str, Source] = field(default_factory=dict)

    def all(self) -> list[Source]:
        """Every artifact of the report, usable or not, in the order of the stages."""
        before = [*self.pretrains.values(), self.label, *self.trains.values(), self.tune, self.evaluate]
        return [*before, *self.benchmarks.values()]

    def usable(self) -> list[Source]:
        """The artifacts that could be opened."""
        return [source for source in self.all() if source.manifest is not None]


def read_source(artifact: Artifact, defaults: Mapping[str, object] | None = None) -> Source:
    """Open and check an artifact."""
    try:
        return Source(artifact, artifact.open(), defaults=defaults or {})
    except ArtifactError as error:
        return Source(artifact, None, str(error), defaults or {})


def read_sources(
    *,
    evaluate: Artifact,
    label: Artifact,
    tune: Artifact,
    trains: Iterable[Artifact],
    pretrains: Iterable[Artifact] = (),
    benchmarks: Iterable[Artifact] = (),
    headline: int = 20,
    defaults: Mapping[str, Mapping[str, object]] | None = None,
) -> Sources:
    """Open all artifacts of an experiment. `defaults`: stage -> settings of its job without arguments.

    Raises:
        ValueError: not one of them can be used, or the evaluation cannot.
    """
    known = defaults or {}
    sources = Sources(
        evaluate=read_source(evaluate, known.get("evaluate")),
        label=read_source(label, known.get("label")),
        tune=read_source(tune, known.get("tune")),
        trains={artifact.name: read_source(artifact, known.get("train")) for artifact in trains},
        headline=headline,
        pretrains={artifact.name: read_source(artifact, known.get("pretrain")) for artifact in pretrains},
        benchmarks={artifact.name: read_source(artifact) for artifact in benchmarks},
    )
    if not sources.usable():
        raise ValueError(
            "Nothing to report: expected at least one finished artifact among\n"
            + "\n".join(f"  {source.artifact.url}: {source.command}" for source in sources.all())
        )
    if sources.evaluate.manifest is None:
        raise ValueError(
            f"Nothing to report: expected a finished evaluation. {sources.evaluate.problem} Make it by\n"
            f"  {sources.evaluate.command}"
        )
    return sources


def _word(value: object) -> str:
    """A setting as the command line reads it: JSON is YAML."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
