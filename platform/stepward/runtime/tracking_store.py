"""The store behind a tracking URI: its passwords are shown nowhere, its database file is made whole or not at all."""

from __future__ import annotations

import re
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, TypeAlias

from filelock import FileLock

SQLITE = "sqlite:///"
HIDDEN = "***"

Client: TypeAlias = Any  # MlflowClient, which is imported when the first run is tracked


class TrackingStoreError(ValueError):
    """The tracking store cannot be used as it is; the message says what to do."""


def database_of(uri: str) -> Path | None:
    """The file behind a sqlite URI."""
    return Path(uri.removeprefix(SQLITE)).resolve() if uri.startswith(SQLITE) else None


def without_secrets(text: str) -> str:
    """A text, such as a URI or an error about one, without the users, passwords and tokens of the URIs in it."""
    text = re.sub(r"://(?!/)\S*@", f"://{HIDDEN}@", text)
    return re.sub(r"(?i)((?:pass\w*|pwd|token|secret|\w*key)=)[^&\s'\"]+", rf"\1{HIDDEN}", text)


def require_driver(uri: str) -> None:
    """Check that what a database URI needs is installed, without connecting.

    Raises:
        TrackingStoreError: the driver is missing, or there is no such kind of store.
    """
    if "://" not in uri and uri != "databricks":
        raise TrackingStoreError(
            f"tracking.uri={without_secrets(uri)}: expected sqlite:///FILE on one machine, http(s)://HOST of a server, "
            f"or the URI of a database, got a text that is none. Did you mean sqlite:///{without_secrets(uri)}?"
        )
    scheme = uri.split("://")[0].split("+")[0]
    if scheme not in ("postgresql", "mysql", "mssql", "oracle"):
        return
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError

    try:
        make_url(uri).get_dialect().import_dbapi()
    except (ImportError, ArgumentError, NoSuchModuleError) as error:
        raise TrackingStoreError(
            f"tracking.uri={without_secrets(uri)}: expected an installed driver for {scheme}, got {error}. Install it, "
            "name another store, or set tracking.enabled=false and log the artifacts later with jobs/track.py."
        ) from None


@contextmanager
def writing(uri: str) -> Iterator[None]:
    """One process at a time writes to a database file, which is there and whole when the block begins.

    Raises:
        TrackingStoreError: the file is there, but no whole database.
    """
    database = database_of(uri)
    if database is None:
        yield
        return
    database.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{database}.lock", timeout=120):
        if not database.exists() or not database.stat().st_size:
            _make(database)
        _require_whole(database)
        yield


def _make(database: Path) -> None:
    """MLflow makes its tables in some hundred steps; cut short, none of its own commands can mend them."""
    for left in database.parent.glob(f".{database.name}.*.new*"):
        left.unlink()
    new = database.with_name(f".{database.name}.{uuid.uuid4().hex[:8]}.new")
    try:
        client_of(f"{SQLITE}{new}").search_experiments(max_results=1)
        new.replace(database)
    finally:
        new.unlink(missing_ok=True)


def client_of(uri: str) -> Client:
    """A client of the tracking server or database at `uri`."""
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri)


def _require_whole(database: Path) -> None:
    """The first experiment is the last thing that MLflow makes of a new database."""
    try:
        with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
            [count] = connection.execute("select count(*) from experiments").fetchone()
        reason = "it holds no experiment" if not count else ""
    except sqlite3.OperationalError as error:
        if "no such table" not in str(error):
            raise
        reason = str(error)
    except sqlite3.DatabaseError as error:
        reason = str(error)
    if reason:
        raise TrackingStoreError(
            f"tracking.uri: expected a whole MLflow database in {database}, but {reason}: its making was cut short, or "
            "it belongs to another program. No run is in it: move the file away, then log the artifacts with "
            "python jobs/track.py store=<store>."
        )
