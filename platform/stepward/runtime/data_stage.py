"""Data of a domain as a Ray Data job: simulated or converted part by part, then joined into one file with a card.

A part is a file that appears whole or not at all, under a name that depends on the item alone; so a job that was killed
goes on where it stopped.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field, create_model

from stepward.console.outcome import in_words
from stepward.console.progress import progress
from stepward.core.artifacts import Artifact, Manifest
from stepward.core.config import Plain, one_of, validate
from stepward.core.stage import StageSettings
from stepward.core.storage import Folder
from stepward.core.wing import Wing, find_wing
from stepward.runtime.cluster import ClusterSettings, connect
from stepward.runtime.pools import PoolSettings, actor_pool, limited
from stepward.runtime.tracking import Tracking, track

PARTS = "parts"


class DataJob(StageSettings):
    """All settings of jobs/data.py; `data_job` adds the sources of a domain."""

    source: Any
    pool: PoolSettings = Field(PoolSettings(), description="workers")
    cluster: ClusterSettings = Field(ClusterSettings(), description="which Ray cluster does the work")
    tracking: Tracking = Field(Tracking(), description="where the finished artifact is logged")


@dataclass(frozen=True)
class Data:
    """What a run of the data stage made."""

    url: str
    manifest: Manifest
    seconds: float
    was_finished: bool

    def __str__(self) -> str:
        made = "Already finished" if self.was_finished else f"Made in {self.seconds:.1f} s"
        rows, facts = self.manifest.rows, self.manifest.facts
        shape = f" [{' x '.join(map(str, facts['shape']))}]" if "shape" in facts else ""
        counts = ", ".join(f"{rows[name]:,} {name}" for name in rows if name != "dead_letters")
        lost = f"; {rows['dead_letters']:,} dead letters in dead_letters.parquet" if rows.get("dead_letters") else ""
        return f"{made}: {counts}{shape}{lost}\n{self.url}/{facts['file']}"


def data_job(wing: Wing) -> type[DataJob]:
    """Settings of the data job for a domain.

    Raises:
        ValueError: the domain has no data to make.
    """
    if not wing.sources:
        raise ValueError(f"Domain {wing.name!r} makes its problems when it labels them: start with jobs/label.py.")
    first = next(iter(wing.sources.values()))
    fields: dict[str, Any] = {
        "domain": (str, Field(wing.name, description="which domain: the name of an installed wing")),
        "source": (one_of(wing.sources), Field(first(), description="where data come from")),
    }
    return create_model("DataJob", __base__=DataJob, __module__=__name__, **fields)


def run_data(settings: DataJob) -> Data:
    """Make or finish a file of data, and track it. A finished one is returned at once.

    Raises:
        ValueError: the source cannot be read, or the artifact is of other settings.
        RuntimeError: an item failed, or workers died and did not come back.
    """
    started = time.monotonic()
    artifact, identity = settings.artifact("data"), settings.identity()
    with artifact.claim(identity, overwrite=settings.overwrite) as was_finished:
        if not was_finished:
            _make_parts(settings, artifact.folder)
            _join(settings, artifact, started)
    track(artifact, settings.tracking)
    return Data(artifact.url, artifact.open(), time.monotonic() - started, was_finished)


class DataWorker:
    """An actor of the pool: makes one part; an error is an answer, for the driver to stop at."""

    def __init__(self, settings: Plain) -> None:
        self._settings = validate(data_job(find_wing(settings["domain"])), settings)
        self._folder = self._settings.artifact("data").folder

    def __call__(self, batch: Mapping[str, Sequence[object]]) -> dict[str, list[object]]:
        """Makes one item and answers with what went wrong, if anything did."""
        [item], error = map(str, batch["item"]), ""
        try:
            if not self._folder.exists(_part(item)):
                with limited(self._settings.pool.time_limit):
                    content = self._settings.source.make(item, self._settings.seed)
                self._folder.write_bytes(_part(item), content)
        except Exception as failure:
            error = in_words(failure)
        return {"item": [item], "error": [error]}


def _make_parts(settings: DataJob, folder: Folder) -> None:
    items = settings.source.items()
    left = [item for item in items if not folder.exists(_part(item))]
    if not left:
        return
    store = settings.store if "://" in settings.store else str(Path(settings.store).resolve())
    values = settings.model_dump(mode="json", exclude={"overwrite", "tracking"}) | {"store": store}
    with connect(settings.cluster), progress("Making", len(items), len(items) - len(left)) as advance:
        for answer in actor_pool(DataWorker, {"settings": values}, left, settings.pool.resolve()):
            if answer["error"]:
                raise RuntimeError(f"{answer['item']}: {answer['error']}")
            advance(1)
    missing = [item for item in items if not folder.exists(_part(item))]
    if missing:
        raise RuntimeError(
            f"{len(missing)} parts were not made because workers died or took longer than pool.time_limit, first "
            f"{missing[0]}. Run it again."
        )


def _join(settings: DataJob, artifact: Artifact, started: float) -> None:
    """One file from all parts; the manifest."""
    parts = (artifact.folder.read_bytes(_part(item)) for item in settings.source.items())
    joined = settings.source.join(parts, artifact.folder, settings)
    artifact.finish(
        identity=settings.identity(),
        seed=settings.seed,
        digest=joined.digest,
        rows=joined.rows,
        cost={"seconds": time.monotonic() - started},
        facts=joined.facts | {"file": joined.file},
        scratch=(PARTS,),
    )


def _part(item: str) -> str:
    return f"{PARTS}/{item}.parquet"
