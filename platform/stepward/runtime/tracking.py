"""Tracking in MLflow, from finished artifacts: an artifact is always on disk before anything is tracked.

The MLflow experiment is the domain. One parent run stands for an experiment of ours, found again by its tag; every
artifact is a child run of it, with child runs of its own for arms and trials. All runs are closed at once. Logging an
artifact again changes nothing, so that `jobs/track.py` can always be repeated.
"""

from __future__ import annotations

import json
import logging
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from pydantic import Field

from stepward.core.artifacts import Artifact, Manifest
from stepward.core.config import Config, Plain
from stepward.core.tracked_run import RunContent, run_content
from stepward.core.wing import find_wing
from stepward.runtime.tracked_views import comparison, description_tags
from stepward.runtime.tracking_store import (
    Client,
    TrackingStoreError,
    client_of,
    database_of,
    require_driver,
    without_secrets,
    writing,
)

logger = logging.getLogger("stepward.tracking")

KIND = "stepward.stage"
EXPERIMENT = "stepward.experiment"
FINGERPRINT = "stepward.fingerprint"
PARENT = "mlflow.parentRunId"
NOTE = "tracked.json"  # beside the manifest and not of it: where an artifact was logged

T = TypeVar("T")


class Tracking(Config):
    """Where finished artifacts are logged. It never decides what is made, and never lets a job fail."""

    enabled: bool = Field(True, description="log the finished artifact to MLflow")
    uri: str = Field(
        "sqlite:///mlflow.db", description="MLflow store: sqlite:///FILE on one machine, http(s)://HOST for a server"
    )
    experiment: str = Field(
        "default", min_length=1, description="parent run that gathers the artifacts of one experiment"
    )
    timeout: int = Field(10, ge=1, description="seconds to wait for an answer of an MLflow server")

    @property
    def place(self) -> str:
        """The store as it may be shown."""
        return without_secrets(self.uri)

    def check(self) -> None:
        """Say before any work begins what could not be tracked after it.

        Raises:
            TrackingStoreError: the driver of the database is not installed.
        """
        if self.enabled:
            require_driver(self.uri)


def track(artifact: Artifact, tracking: Tracking) -> str | None:
    """Log a finished artifact; returns its run id, or None where tracking is off or out of reach.

    A tracking store that cannot be reached or written costs a warning with the command that logs the artifact later.
    Nothing that goes wrong here fails the job, whose artifact is complete: what is no fault of the store is shown with
    its traceback. What was logged is noted in the artifact's folder, so that a finished job need not ask the store.
    """
    if not tracking.enabled:
        return None
    noted = _noted(artifact, tracking)
    if noted is not None:
        return noted
    try:
        run = log_artifact(artifact, tracking)
        _note(artifact, tracking, run)
        return run
    except Exception as error:
        known = isinstance(error, tracking_errors())
        logger.warning(
            "Not tracked: %s (%s: %s).\n"
            "The artifact is complete; log it later with\n"
            "    python jobs/track.py --artifact %s --tracking.experiment %s --tracking.uri %s",
            f"the MLflow store {tracking.place} cannot be used now" if known else "the artifact could not be logged",
            type(error).__name__, _first_line(error), artifact.url, tracking.experiment, tracking.place,
            exc_info=not known,
        )  # fmt: skip
        return None


def log_artifact(artifact: Artifact, tracking: Tracking) -> str:
    """Log a finished artifact as a closed run, once; returns the run id.

    Raises:
        ArtifactError: the artifact is missing or unfinished.
        Exception: one of `tracking_errors`, for example a server that does not answer.
    """
    manifest = artifact.manifest()
    with _mlflow_environment(tracking), writing(tracking.uri):
        client = client_of(tracking.uri)
        experiment = _experiment(client, artifact.domain, tracking.uri)
        parent = _parent_run(client, experiment, tracking.experiment)
        found = _finished_run(client, experiment, parent, manifest.fingerprint)
        if found is None:
            content = run_content(artifact, manifest, _usual(artifact))
            content.tags.update({EXPERIMENT: tracking.experiment, PARENT: parent})
            found = _log_run(client, experiment, content, artifact, manifest, tracking)
            client.set_terminated(parent, "FINISHED")
        return found


def _usual(artifact: Artifact) -> Plain:
    """Settings of the job of an artifact's stage without arguments; nothing where the domain is not installed here."""
    from stepward.runtime.usual_settings import usual_settings

    try:
        return usual_settings(find_wing(artifact.domain)).get(artifact.stage, {})
    except ValueError:
        return {}


def _noted(artifact: Artifact, tracking: Tracking) -> str | None:
    """The run that this artifact is known to have in this store; None if it is not known, or its database is gone."""
    database = database_of(tracking.uri)
    if not artifact.folder.exists(NOTE) or (database is not None and not database.exists()):
        return None
    return artifact.folder.read_json(NOTE).get(_note_key(artifact, tracking))


def _note(artifact: Artifact, tracking: Tracking, run: str) -> None:
    notes = artifact.folder.read_json(NOTE) if artifact.folder.exists(NOTE) else {}
    artifact.folder.write_json(NOTE, notes | {_note_key(artifact, tracking): run})


def _note_key(artifact: Artifact, tracking: Tracking) -> str:
    place = database_of(tracking.uri) or tracking.place
    return f"{artifact.manifest().fingerprint} {tracking.experiment} {place}"


def comparison_url(domain: str, tracking: Tracking) -> str:
    """Where `mlflow ui` shows the guides of a domain side by side; "the links above the runs" where that is not known.

    Of a database the page is that of ``mlflow ui`` without arguments.
    """
    elsewhere = "the links above the runs"
    if not tracking.enabled:
        return elsewhere
    try:
        with _mlflow_environment(tracking):
            found = client_of(tracking.uri).get_experiment_by_name(domain)
    except tracking_errors():
        return elsewhere
    server = tracking.place.rstrip("/") if tracking.uri.startswith("http") else "http://127.0.0.1:5000"
    return elsewhere if found is None else f"{server}/{comparison(found.experiment_id, 'evaluate')}"


def tracking_errors() -> tuple[type[Exception], ...]:
    """What goes wrong with a tracking store rather than with an artifact: refused, timed out, full, locked."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    # a driver that is not installed is an ImportError, and the errors of `requests` are OSErrors
    return (MlflowException, SQLAlchemyError, TrackingStoreError, ImportError, OSError)


def _log_run(
    client: Client, experiment: str, content: RunContent, artifact: Artifact, manifest: Manifest, tracking: Tracking
) -> str:
    end = int(datetime.fromisoformat(manifest.created).timestamp() * 1000)
    start = end - int(1000 * manifest.cost.get("seconds", 0.0))
    run = client.create_run(experiment, start_time=start, run_name=content.name, tags=content.tags).info.run_id
    try:
        _log_numbers(client, run, content, end)
        _log_tables(client, run, content)
        _log_files(client, run, content, artifact)
        if FINGERPRINT in content.tags:  # the artifact itself, not an arm or a trial of it
            _log_inputs(client, run, manifest)
            if "reward.json" in manifest.files:
                from stepward.runtime.tracked_model import log_reward_model

                log_reward_model(run, experiment, artifact, manifest, tracking.uri)
        for child in content.children:
            child.tags.update({EXPERIMENT: tracking.experiment, PARENT: run})
            _log_run(client, experiment, child, artifact, manifest, tracking)
    except BaseException:
        client.set_terminated(run, "FAILED")
        raise
    client.set_terminated(run, "FINISHED", end_time=end)
    return run


def _log_numbers(client: Client, run: str, content: RunContent, time: int) -> None:
    from mlflow.entities import Metric, Param

    for part in _chunks(content.params.items(), 100):
        client.log_batch(run, params=[Param(name, value) for name, value in part])
    points = [(0, content.metrics), *content.history]
    metrics = [Metric(name, value, time, step) for step, values in points for name, value in values.items()]
    for part in _chunks(metrics, 1000):
        client.log_batch(run, metrics=list(part))


def _log_tables(client: Client, run: str, content: RunContent) -> None:
    for name, table in content.tables.items():
        client.log_table(run, table.to_pandas(), f"tables/{name}.json")


def _log_files(client: Client, run: str, content: RunContent, artifact: Artifact) -> None:
    if not content.files:
        return
    with tempfile.TemporaryDirectory() as scratch:
        for name in content.files:
            target = Path(scratch, name)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(artifact.folder.read_bytes(name))
        client.log_artifacts(run, scratch)


def _log_inputs(client: Client, run: str, manifest: Manifest) -> None:
    """The artifacts and files that were read, each a data set whose digest is its fingerprint."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    inputs = [
        DatasetInput(
            Dataset(
                name=role,
                digest=source["fingerprint"][:36],
                source_type=source["url"].split("://")[0] if "://" in source["url"] else "local",
                source=json.dumps({"uri": source["url"]}),
            ),
            [InputTag("mlflow.data.context", manifest.stage)],
        )
        for role, source in manifest.inputs.items()
    ]
    if inputs:
        client.log_inputs(run, inputs)


def _experiment(client: Client, name: str, uri: str) -> str:
    """The MLflow experiment, whose files lie beside the database where there is one."""
    found = client.get_experiment_by_name(name)
    if found is not None:
        return found.experiment_id
    database = database_of(uri)
    location = (database.parent / "mlruns" / name).as_uri() if database else None
    made = client.create_experiment(name, artifact_location=location)
    for key, value in description_tags(made).items():
        client.set_experiment_tag(made, key, value)
    return str(made)


def _parent_run(client: Client, experiment: str, name: str) -> str:
    where = f"tags.`{KIND}` = 'experiment' and tags.`{EXPERIMENT}` = '{_quoted(name)}'"
    found = client.search_runs([experiment], where, max_results=1, order_by=["attributes.start_time ASC"])
    if found:
        return found[0].info.run_id
    run = client.create_run(experiment, run_name=name, tags={KIND: "experiment", EXPERIMENT: name}).info.run_id
    client.set_terminated(run, "FINISHED")
    return run


def _finished_run(client: Client, experiment: str, parent: str, fingerprint: str) -> str | None:
    """The run of an artifact if it was logged to the end; leftovers of attempts that were not are deleted."""
    where = f"tags.`{FINGERPRINT}` = '{fingerprint}' and tags.`{PARENT}` = '{parent}'"
    for run in client.search_runs([experiment], where):
        if run.info.status == "FINISHED":
            return run.info.run_id
        for child in client.search_runs([experiment], f"tags.`{PARENT}` = '{run.info.run_id}'"):
            client.delete_run(child.info.run_id)
        client.delete_run(run.info.run_id)
    return None


@contextmanager
def _mlflow_environment(tracking: Tracking) -> Iterator[None]:
    """MLflow without usage reports, without chatter, and with short patience; what the user has set stays."""
    wanted = {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": str(tracking.timeout),
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "MLFLOW_RECORD_ENV_VARS_IN_MODEL_LOGGING": "false",
    }
    added = {key: value for key, value in wanted.items() if key not in os.environ}
    os.environ.update(added)
    import mlflow  # noqa: F401  first, because it sets up loggers of its own

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        yield
    finally:
        for key in added:
            os.environ.pop(key, None)


def _chunks(items: Iterable[T], size: int) -> list[list[T]]:
    items = list(items)
    return [items[start : start + size] for start in range(0, len(items), size)]


def _quoted(text: str) -> str:
    return text.replace("'", "\\'")


def _first_line(error: Exception) -> str:
    return without_secrets((str(error).strip().splitlines() or [""])[0])[:400]
