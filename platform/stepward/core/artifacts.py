"""Artifacts: what a stage leaves for the next one.

An artifact is a folder ``<root>/<domain>/<stage>/<name>/`` of Parquet and safetensors files. Its `manifest.json` is
written last: a folder without one is unfinished. Fingerprints cover settings, inputs and content, never hardware.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from fnmatch import fnmatch
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, field_validator

from stepward.core.config import NAME
from stepward.core.locks import alone
from stepward.core.storage import Folder, writable

MANIFEST = "manifest.json"
STARTED = "started.json"
PACKAGES = ("stepward", "numpy", "pyarrow", "torch", "ray", "mlflow", "transformers", "hmmlearn", "scikit-learn")


class ArtifactError(ValueError):
    """An artifact that is missing, unfinished, damaged, or made from something else than what is there now."""


class Manifest(BaseModel):
    """What an artifact is made of.

    Attributes:
        identity: the settings that decide the content; pools, paths and tracking are not among them.
        inputs: role -> {"url", "fingerprint"} of every artifact or file that was read.
        files: path -> {"bytes", "sha256"} of every file of the artifact.
        rows: table -> number of rows.
        digest: hash of the content, independent of the order of rows and of how they are spread over files.
        facts: anything else worth keeping, for example counts of rejected rows or the size of a model.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    domain: str
    stage: str
    name: str
    seed: int
    identity: dict[str, Any]
    inputs: dict[str, dict[str, str]]
    files: dict[str, dict[str, Any]]
    rows: dict[str, int]
    digest: str
    cost: dict[str, float]
    facts: dict[str, Any]
    versions: dict[str, str]
    git_commit: str | None
    created: str

    @field_validator("files")
    @classmethod
    def _inside(cls, files: dict[str, object]) -> dict[str, object]:
        """Whoever wrote a manifest must not make its readers open or write a file elsewhere."""
        for name in files:
            parts = PurePosixPath(name).parts
            if not parts or name.startswith("/") or ".." in parts or "\\" in name or ":" in parts[0]:
                raise ValueError(f"files: expected names inside the artifact's folder, got {name!r}")
        return files

    @property
    def fingerprint(self) -> str:
        """Same settings, same inputs and same content give the same fingerprint, wherever and whenever made."""
        inputs = {role: item["fingerprint"] for role, item in self.inputs.items()}
        return fingerprint([self.domain, self.stage, self.identity, self.seed, inputs, self.digest])


class Artifact:
    """One artifact: a folder with a manifest.

    Args:
        root: local path or URL of the store.
        domain, stage, name: where the artifact stands in it.

    Raises:
        ArtifactError: one of these three is a place such as "..", not a name.
    """

    def __init__(self, root: str, domain: str, stage: str, name: str) -> None:
        for what, text in (("domain", domain), ("stage", stage), ("name", name)):
            if re.fullmatch(NAME, text) is None:
                raise ArtifactError(
                    f"{what} of an artifact: expected a name of letters, digits, '.', '_' and '-' that begins with a "
                    f"letter, a digit or '_', got {text!r}. "
                    + ("Give its name alone, not its path." if "/" in text else "Choose another name.")
                )
        self.root, self.domain, self.stage, self.name = root, domain, stage, name
        self.folder = Folder(f"{str(root).rstrip('/')}/{domain}/{stage}/{name}")

    @property
    def url(self) -> str:
        """Where the folder of the artifact lies: store, domain, stage and name joined by slashes."""
        return self.folder.url

    @property
    def command(self) -> str:
        """What a person types to make it, as far as its place tells: settings that differ are not known."""
        words = {"domain": self.domain, "store": str(self.root), "name": self.name}
        return shlex.join(["python", f"jobs/{self.stage}.py", *(f"{key}={word}" for key, word in words.items())])

    @property
    def scratch(self) -> Folder:
        """Where work in progress may be kept that is no part of the artifact; it goes when the artifact is replaced."""
        return Folder(f"{str(self.root).rstrip('/')}/{self.domain}/{self.stage}/.work/{self.name}")

    @property
    def finished(self) -> bool:
        """Whether the manifest is there, which a stage writes last."""
        return self.folder.exists(MANIFEST)

    @contextmanager
    def claim(
        self, identity: Mapping[str, object], *, overwrite: bool = False, worth: Callable[[], bool] | None = None
    ) -> Iterator[bool]:
        """The block makes the artifact, and no other process does; True if it is finished with these settings.

        A block that raises before there is anything to go on with leaves the name free for other settings. The lock
        belongs to the operating system, so a killed process leaves none. Object stores behind a URL have no locks:
        nothing is refused there.

        Args:
            worth: whether what was made until now is worth to go on with; none: whether there is any file.

        Raises:
            ArtifactError: as `begin`.
            StoreError: another process is making the artifact, or the store cannot be written.
        """
        if not overwrite and self.finished:
            yield self.begin(identity)
            return
        if os.path.islink(self.url):
            raise ArtifactError(
                f"{self.url}: expected a folder of the store, got a link to {os.path.realpath(self.url)}. What a link "
                "leads to can be read, but not made: remove the link, or choose another name."
            )
        with alone(self.folder):
            with writable(self.folder):
                finished = self.begin(identity, overwrite=overwrite)
            try:
                yield finished
            except BaseException:
                with suppress(OSError):  # of a storage that fails, the first error is the one to show
                    if not (worth or self._has_files)():
                        self._remove()
                raise

    def begin(self, identity: Mapping[str, object], *, overwrite: bool = False) -> bool:
        """Claim the folder for these settings. True if the artifact is already finished with just these settings.

        Raises:
            ArtifactError: the folder holds, or a stopped run began, an artifact of other settings.
        """
        identity = json.loads(json.dumps(dict(identity)))
        if overwrite:
            self._remove()
        if self.finished:
            manifest = self.manifest()
            self._require_same(manifest.identity, identity, "is finished with")
            if self.folder.exists(STARTED):
                self._tidy(manifest)
            return True
        if self.folder.exists(STARTED):
            self._require_same(self.folder.read_json(STARTED), identity, "was begun with")
            return False
        self._remove()  # what is left where a removal was cut short
        self.folder.write_json(STARTED, identity)
        return False

    def finish(
        self,
        *,
        identity: Mapping[str, object],
        seed: int,
        digest: str,
        inputs: Mapping[str, Artifact] | None = None,
        rows: Mapping[str, int] | None = None,
        cost: Mapping[str, float] | None = None,
        facts: Mapping[str, object] | None = None,
        scratch: Iterable[str] = (),
    ) -> Manifest:
        """Write the manifest over everything in the folder; from now on the artifact can be read.

        Args:
            scratch: patterns of files and folders that are work in progress, such as checkpoints. They are no part of
                the artifact, and go only when it is complete: a kill before that costs none of the work.
        """
        self.folder.sweep()
        described = {
            role: {"url": a.url, "fingerprint": a.manifest().fingerprint} for role, a in (inputs or {}).items()
        }
        unnamed = (MANIFEST, STARTED, *scratch)
        names = [n for n in self.folder.files() if not any(fnmatch(n.split("/")[0], pattern) for pattern in unnamed)]
        manifest = Manifest(
            domain=self.domain,
            stage=self.stage,
            name=self.name,
            seed=seed,
            identity=json.loads(json.dumps(dict(identity))),
            inputs=described,
            files={name: _describe_file(self.folder, name) for name in names},
            rows=dict(rows or {}),
            digest=digest,
            cost=dict(cost or {}),
            facts=dict(facts or {}),
            versions=package_versions(),
            git_commit=git_commit(),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        self.folder.write_bytes(MANIFEST, (manifest.model_dump_json(indent=2) + "\n").encode())
        self._tidy(manifest)
        return manifest

    def manifest(self) -> Manifest:
        """The manifest, without looking at the files.

        Raises:
            ArtifactError: there is no artifact here, or only an unfinished one, or the manifest is damaged.
        """
        if not self.finished:
            state = "is unfinished (no manifest)" if self.folder.exists() else "does not exist"
            raise ArtifactError(
                f"{self.url}: expected a finished {self.domain} {self.stage} artifact, but it {state}. "
                f"Make or finish it with\n    {self.command}"
            )
        try:
            return Manifest.model_validate_json(self.folder.read_bytes(MANIFEST))
        except ValueError as error:
            raise ArtifactError(f"{self.url}/{MANIFEST}: damaged manifest; make the artifact again. {error}") from None

    def open(self) -> Manifest:
        """The manifest, after checking that every file is as it was written and every input as it was read.

        Raises:
            ArtifactError: a file is missing or was changed, or an input artifact has been made anew since.
        """
        manifest = self.manifest()
        for name, expected in manifest.files.items():
            if not self.folder.exists(name):
                raise ArtifactError(f"{self.url}: {name} is missing. Make the artifact again (overwrite=true).")
            if _describe_file(self.folder, name) != expected:
                raise ArtifactError(f"{self.url}: {name} was changed after it was written. Make the artifact again.")
        for role, recorded in manifest.inputs.items():
            source = Folder(recorded["url"])
            if not source.exists(MANIFEST):
                continue  # an input that was cleaned away proves nothing against what was made from it
            now = Manifest.model_validate_json(source.read_bytes(MANIFEST)).fingerprint
            if now != recorded["fingerprint"]:
                raise ArtifactError(
                    f"{self.url}: its input {role!r} ({recorded['url']}) has changed since: expected fingerprint "
                    f"{recorded['fingerprint']}, got {now}. Make this artifact again (overwrite=true)."
                )
        return manifest

    def _has_files(self) -> bool:
        return self.folder.files() != [STARTED] or bool(self.scratch.files())

    def _remove(self) -> None:
        """Everything of the artifact, in an order in which no part of it is ever taken for a whole one."""
        self.scratch.delete("")
        self.folder.delete(MANIFEST)
        self.folder.delete("")

    def _tidy(self, manifest: Manifest) -> None:
        """Remove what a finished artifact does not name, its scratch, and last of all the note that it was begun."""
        self.scratch.delete("")
        named = {name.split("/")[0] for name in manifest.files} | {MANIFEST, STARTED}
        for top in sorted({name.split("/")[0] for name in self.folder.files()} - named):
            self.folder.delete(top)
        self.folder.delete(STARTED)

    def _require_same(self, there: Mapping[str, object], wanted: Mapping[str, object], verb: str) -> None:
        changed = sorted(key for key in {*there, *wanted} if there.get(key) != wanted.get(key))
        if changed:
            shown = "; ".join(f"{key}: there {there.get(key)!r}, wanted {wanted.get(key)!r}" for key in changed)
            raise ArtifactError(
                f"{self.url} {verb} other settings ({shown}). Choose another name, or overwrite=true to replace it."
            )


def fingerprint(content: object) -> str:
    """16 hexadecimal digits that stand for JSON-like content."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:16]


def content_digest(tables: Iterable[pa.Table]) -> str:
    """Hash of the rows of tables, whatever their order and their spread over tables."""
    import pandas as pd

    total, count = 0, 0
    for table in tables:
        if len(table):
            frame = pd.DataFrame(_hashable_columns(table))
            total += int(pd.util.hash_pandas_object(frame, index=False).to_numpy().sum(dtype=np.uint64))
            count += len(table)
    return f"{total % 2**64:016x}-{count}"


def _hashable_columns(table: pa.Table) -> dict[str, object]:
    """Columns by name, in the order of their names: numbers and texts as they are, all else as JSON.

    Short lists of numbers, all of one size, become one column an element, which is ten times as fast as JSON; tensors
    become the hash of their bytes.
    """
    columns: dict[str, Any] = {}
    for name in sorted(table.column_names):
        kind, column = table[name].type, table[name].combine_chunks()
        if isinstance(kind, pa.FixedShapeTensorType):
            columns[name] = _row_hashes(column.chunk(0) if isinstance(column, pa.ChunkedArray) else column)
            continue
        short = pa.types.is_fixed_size_list(kind) and kind.list_size <= 64 and pa.types.is_primitive(kind.value_type)
        if short and not column.null_count:
            flat = column.flatten().to_numpy(zero_copy_only=False).reshape(len(table), kind.list_size)
            columns |= {f"{name}[{i}]": flat[:, i] for i in range(kind.list_size)}
        elif (values := column.to_pandas()).dtype.kind == "O" and not pa.types.is_string(kind):
            columns[name] = [json.dumps(v, default=lambda x: x.tolist()) for v in values]
        else:
            columns[name] = values
    return columns


def _row_hashes(tensors: pa.ExtensionArray) -> list[str]:
    rows = tensors.to_numpy_ndarray()
    return [hashlib.blake2b(row.tobytes(), digest_size=8).hexdigest() for row in rows]


@lru_cache
def package_versions() -> dict[str, str]:
    """Versions of the packages that results may depend on, where installed."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


@lru_cache
def git_commit() -> str | None:
    """Commit of the checkout this package is imported from, with "+" if it has local changes; None outside of git."""
    here = Path(__file__).parent

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=here, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def _describe_file(folder: Folder, name: str) -> dict[str, object]:
    content = folder.read_bytes(name)
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
