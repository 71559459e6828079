"""The export stage: labels in the form that another library trains on. It needs no cluster."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
from pydantic import Field, create_model

from stepward.core.artifacts import Manifest, content_digest
from stepward.core.stage import StageSettings
from stepward.core.storage import Folder
from stepward.core.wing import Rejected, Wing, rejected_table
from stepward.label import SPLITS
from stepward.label.exports import Export, TRLExport, solutions_of
from stepward.runtime.tracking import Tracking, track

__all__ = ["ExportJob", "Exported", "export_job", "run_export"]


class ExportJob(StageSettings):
    """All settings of jobs/export.py."""

    label: str = Field("default", description="name of the label artifact")
    form: Export = Field(TRLExport(), description="what other library reads it")
    tracking: Tracking = Field(Tracking(), description="where the finished artifact is logged")


@dataclass(frozen=True)
class Exported:
    """What a run of the export stage made."""

    url: str
    manifest: Manifest
    was_finished: bool

    def __str__(self) -> str:
        rows = self.manifest.rows
        counts = ", ".join(f"{num:,} {name}" for name, num in rows.items() if name != "dead_letters")
        dead = f"; {rows['dead_letters']:,} dead letters in dead_letters.parquet" if rows["dead_letters"] else ""
        return f"{'Already finished' if self.was_finished else 'Exported'} solutions: {counts}{dead}\n{self.url}"


def export_job(wing: Wing) -> type[ExportJob]:
    """Settings of the export job for a domain."""
    domain = (str, Field(wing.name, description="which domain: the name of an installed wing"))
    return create_model("ExportJob", __base__=ExportJob, __module__=__name__, domain=domain)


def run_export(settings: ExportJob) -> Exported:
    """Write labels in a form of others, a file a split, and track them.

    Raises:
        ValueError: the label artifact is missing or unfinished, or not one solution can be said in this form.
    """
    started = time.monotonic()
    source = settings.artifact("label", settings.label)
    fingerprint = source.open().fingerprint
    artifact, identity = settings.artifact("export"), settings.identity() | {"labels": fingerprint}
    with artifact.claim(identity, overwrite=settings.overwrite) as was_finished:
        if not was_finished:
            labels = source.folder.read_table("labels").sort_by("id")
            dead: list[Rejected] = []
            found = {split: _rows(settings, labels, split, dead) for split in SPLITS}
            rows = {split: len(of_split) for split, of_split in found.items() if of_split}
            if not rows:
                first = f" The first: {dead[0].error}." if dead else ""
                raise ValueError(f"{source.url}: expected solutions with labelled steps, got none.{first}")
            _write(settings.form.kind, {split: found[split] for split in rows}, artifact.folder)
            artifact.folder.write_table("dead_letters.parquet", rejected_table(dead, "export"))
            artifact.finish(
                identity=identity,
                seed=settings.seed,
                digest=content_digest([labels.select(["id", "successes", "num_rollouts"])]),
                inputs={"label": source},
                rows=rows | {"dead_letters": len(dead)},
                cost={"seconds": time.monotonic() - started},
            )
    track(artifact, settings.tracking)
    return Exported(artifact.url, artifact.open(), was_finished)


def _rows(settings: ExportJob, labels: Any, split: str, dead: list[Rejected]) -> list[dict[str, Any]]:
    rows = []
    for solution in solutions_of(labels.filter(pc.equal(labels["split"], split)), settings.wing):
        try:
            rows.append(settings.form.row(solution))
        except ValueError as error:
            dead.append(Rejected(solution.id, str(error), "\n".join(solution.steps)))
    return rows


def _write(kind: str, found: dict[str, list[dict[str, Any]]], folder: Folder) -> None:
    """JSON lines, or what `datasets` writes."""
    if kind != "datasets":
        for split, rows in found.items():
            folder.write_bytes(f"{split}.jsonl", _lines(rows))
        return
    from datasets import Dataset, DatasetDict

    with tempfile.TemporaryDirectory() as scratch:
        DatasetDict({split: Dataset.from_list(rows) for split, rows in found.items()}).save_to_disk(scratch)
        for file in sorted(path for path in Path(scratch).rglob("*") if path.is_file()):
            folder.write_bytes(file.relative_to(scratch).as_posix(), file.read_bytes())


def _lines(rows: Iterable[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
