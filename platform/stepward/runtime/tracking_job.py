"""Logging finished artifacts later: what `jobs/track.py` runs."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from pydantic import Field

from stepward.core.artifacts import MANIFEST, Artifact, ArtifactError
from stepward.core.config import Config
from stepward.core.storage import Folder
from stepward.core.wing import Wing
from stepward.runtime.tracking import Tracking, log_artifact, tracking_errors
from stepward.runtime.tracking_store import without_secrets

logger = logging.getLogger("stepward.tracking")
ALL = "all"


class TrackSettings(Config):
    """Which artifacts to log, and where."""

    artifact: str = Field(ALL, description="URL of one artifact's folder, or all: every finished artifact of the store")
    store: str = Field("artifacts", description="root of all artifacts, for artifact=all")
    tracking: Tracking = Tracking()


@dataclass(frozen=True)
class Tracked:
    """What was logged: artifact URL -> run id."""

    runs: dict[str, str]
    uri: str

    def __str__(self) -> str:
        lines = [f"{url} -> run {run}" for url, run in self.runs.items()]
        return "\n".join([*lines, f"{len(lines)} artifacts are in {self.uri}. Compare them with: mlflow ui"])


def run_track(settings: TrackSettings) -> Tracked:
    """Log one artifact, or all of a store in the order they were made; those logged before are left alone.

    Raises:
        ValueError: there is no finished artifact where the settings say, or the store cannot be used.
    """
    whole = settings.artifact == ALL
    artifacts = stored_artifacts(settings.store) if whole else [artifact_at(settings.artifact)]
    try:
        runs = {artifact.url: log_artifact(artifact, settings.tracking) for artifact in artifacts}
    except tracking_errors() as error:
        raise ValueError(f"Not tracked: {without_secrets(str(error))}") from error
    return Tracked(runs, settings.tracking.place)


def track_job(wing: Wing) -> type[TrackSettings]:
    """Settings of the track job, the same for every domain."""
    return TrackSettings


def artifact_at(url: str) -> Artifact:
    """The artifact in the folder ``<root>/<domain>/<stage>/<name>``."""
    parts = url.rstrip("/").rsplit("/", 3)
    if len(parts) != 4:
        raise ValueError(f"artifact: expected a folder <root>/<domain>/<stage>/<name>, got {url!r}.")
    return Artifact(*parts)


def stored_artifacts(store: str) -> list[Artifact]:
    """Every finished artifact of a store, oldest first."""
    root = Folder(store)
    manifests = [name for name in root.files() if name.endswith(f"/{MANIFEST}") and name.count("/") == 3]
    if not manifests:
        raise ValueError(f"store: expected finished artifacts below {root.url!r}, found none.")
    made = []
    for name in manifests:
        artifact = Artifact(store, *name.split("/")[:3])
        try:
            made.append((artifact.manifest().created, name, artifact))
        except ArtifactError as error:
            logger.warning("Left out: %s", error)
    return [artifact for *_, artifact in sorted(made, key=lambda found: found[:2])]
