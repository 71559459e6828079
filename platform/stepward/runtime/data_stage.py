"""Trajectories as a Ray Data job: simulated or converted part by part, then joined into one Parquet file with a card.

A part is a file that appears whole or not at all, under a name that depends on the item alone; so a job that was killed
goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import Field, create_model

from stepward.core.artifacts import Artifact, Manifest
from stepward.core.config import one_of, validate
from stepward.core.stage import StageSettings
from stepward.core.storage import Folder
from stepward.core.wing import Rejected, Wing, find_wing
from stepward.domains.pde.readers import FieldBlock, read_parquet, write_parquet
from stepward.runtime.cluster import ClusterSettings, connect
from stepward.runtime.outcome import in_words
from stepward.runtime.pools import PoolSettings, actor_pool, limited
from stepward.runtime.progress import progress
from stepward.runtime.tracking import Tracking, track

DATA, DEAD, CARD, PARTS = "trajectories.parquet", "dead_letters.parquet", "README.md", "parts"


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
        shape = " x ".join(map(str, self.manifest.facts["shape"]))
        bad = self.manifest.rows["dead_letters"]
        lost = f"; {bad:,} dead letters in {DEAD}" if bad else ""
        return f"{made}: {self.manifest.rows['trajectories']:,} trajectories [{shape}]{lost}\n{self.url}/{DATA}"


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
        "source": (one_of(wing.sources), Field(first(), description="where trajectories come from")),
    }
    return create_model("DataJob", __base__=DataJob, __module__=__name__, **fields)


def run_data(settings: DataJob) -> Data:
    """Make or finish a file of trajectories, and track it. A finished one is returned at once.

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

    def __init__(self, settings: dict[str, Any]) -> None:
        self._settings = validate(data_job(find_wing(settings["domain"])), settings)
        self._folder = self._settings.artifact("data").folder

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        [item], error = map(str, batch["item"]), ""
        try:
            if not self._folder.exists(_part(item)):
                with limited(self._settings.pool.time_limit):
                    content = _as_parquet(self._settings.source.blocks(item, self._settings.seed))
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
    """One file from all parts, one part in memory at a time; the card; the manifest."""
    folder = artifact.folder
    found: dict[str, Any] = {"dead": [], "rows": 0, "digest": hashlib.sha256()}

    def blocks() -> Iterator[FieldBlock]:
        for item in settings.source.items():
            for block in _read_part(folder, item):
                found["dead"] += block.rejected
                found["digest"].update(np.ascontiguousarray(block.fields).tobytes())
                found.update(shape=block.fields.shape[1:], grid=block.grid)
                found["rows"] += len(block)
                yield block

    folder.write_bytes(DATA, _as_parquet(blocks()))
    folder.write_table(DEAD, dead_letters(found["dead"]))
    folder.write_bytes(CARD, card(settings, found).encode())
    artifact.finish(
        identity=settings.identity(),
        seed=settings.seed,
        digest=found["digest"].hexdigest()[:16],
        rows={"trajectories": found["rows"], "dead_letters": len(found["dead"])},
        cost={"seconds": time.monotonic() - started},
        facts={"shape": list(found["shape"]), "channels": list(found["grid"].channels)},
        scratch=(PARTS,),
    )


def card(settings: DataJob, found: dict[str, Any]) -> str:
    """What the file is, in words."""
    grid = found["grid"]
    rows = {
        "source": grid.source,
        "trajectories": f"{found['rows']}; {len(found['dead'])} more were left out, see {DEAD}",
        "a row": f"`id`; `fields` [{', '.join(map(str, found['shape']))}]: frames, channels, {', '.join(grid.axes)}",
        "channels": ", ".join(grid.channels),
        "time between frames": f"{grid.dt:g}",
        "cell size": ", ".join(f"{size:g}" for size in grid.spacing),
        "boundary": ", ".join(grid.boundary),
        "parameters": ", ".join(f"{k} = {v:g}" for k, v in grid.parameters.items()) or "none known",
        "seed": str(settings.seed),
        "settings": f"`{settings.source.model_dump(mode='json')}`",
        "licence": "that of the source; of what the project computes, that of the project",
    }
    lines = [
        f"# {settings.domain}: {settings.name}",
        "",
        "| | |",
        "|---|---|",
        *(f"| {k} | {v} |" for k, v in rows.items()),
    ]
    place = f"artifacts/{settings.domain}/data/{settings.name}/{DATA}"
    used = f"python jobs/label.py domain={settings.domain} problems.path={place}"
    return "\n".join(
        [*lines, "", "Of ten rows in a row seven train, one validates and two test.", "", f"    {used}", ""]
    )


def dead_letters(rejected: list[Rejected]) -> pa.Table:
    """Trajectories that were left out, with the sentence that says why."""
    schema = pa.schema([(name, pa.string()) for name in ("id", "error", "content")])
    return pa.Table.from_pylist([asdict(row) for row in rejected], schema=schema)


def _part(item: str) -> str:
    return f"{PARTS}/{item}.parquet"


def _as_parquet(blocks: Iterator[FieldBlock]) -> bytes:
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, "part.parquet")
        write_parquet(blocks, path)
        return path.read_bytes()


def _read_part(folder: Folder, item: str) -> Iterator[FieldBlock]:
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, "part.parquet")
        path.write_bytes(folder.read_bytes(_part(item)))
        yield from read_parquet(path)
