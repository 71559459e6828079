"""Files by URL: a local path, or anything pyarrow or fsspec can open (`s3://`, `gs://`, `memory://`, …)."""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

TEMPORARY = ".tmp"  # end of the names of files that are being written; a kill can leave them behind
OBJECTS = ("s3", "gcs", "abfs")  # kinds of stores where a file appears when it is whole, and nothing can be moved


P = ParamSpec("P")
T = TypeVar("T")
WAITS = (0.2, 0.4, 0.8, 1.6, 3.2)  # seconds between tries behind a URL, beside those of its client


def patient(operation: Callable[P, T]) -> Callable[P, T]:
    """A method of a folder that is tried again where a store behind a URL throttles or fails for a moment.

    Clients do that themselves, but not always: that of S3 gives up a read where the answer "slow down" is longer than
    what it wanted to read.
    """

    @wraps(operation)
    def trying(*args: P.args, **options: P.kwargs) -> T:
        folder: Any = args[0]
        for seconds in () if folder.filesystem.type_name == "local" else WAITS:
            try:
                return operation(*args, **options)
            except (FileNotFoundError, PermissionError):
                raise
            except OSError:
                time.sleep(seconds)
        return operation(*args, **options)

    return trying


class StoreError(ValueError):
    """The store cannot be written, or another process is writing here."""


class Folder:
    """A folder on some file system. Writes are whole: a file appears under its name only when it is complete.

    Args:
        url: local path or URL.
    """

    def __init__(self, url: str | os.PathLike[str]) -> None:
        self.url = str(url).rstrip("/")
        self.filesystem, self.path = open_filesystem(self.url)

    def __truediv__(self, name: str) -> Folder:
        return Folder(f"{self.url}/{name}")

    @patient
    def exists(self, name: str = "") -> bool:
        """Whether a file or a folder of this name is here; without a name, whether this folder is."""
        return self.filesystem.get_file_info(self._join(name)).type != fs.FileType.NotFound

    def files(self, name: str = "") -> list[str]:
        """Paths of all files below `name`, relative to this folder, sorted; unfinished temporary files left out."""
        return [path for path in self._listing(name) if not path.endswith(TEMPORARY)]

    def sweep(self) -> None:
        """Remove unfinished temporary files, which a killed process left. Nobody may be writing here."""
        for path in self._listing(""):
            if path.endswith(TEMPORARY):
                self.filesystem.delete_file(self._join(path))

    @patient
    def read_bytes(self, name: str) -> bytes:
        """The whole content of a file. Raises FileNotFoundError where there is none."""
        with self.filesystem.open_input_stream(self._join(name)) as stream:
            return stream.read()

    @patient
    def write_bytes(self, name: str, content: bytes) -> None:
        """Write beside the target, then move into place, so that a reader or a crash never sees half a file.

        What is being written has a hidden name, which tools that read a folder of Parquet files pass over as well.
        Object stores do the same by themselves.
        """
        target = self._join(name)
        if self.filesystem.type_name in OBJECTS:
            with self.filesystem.open_output_stream(target) as stream:
                stream.write(content)
            return
        parent, last = os.path.split(target)
        temporary = f"{parent}/.{last}.{uuid.uuid4().hex[:8]}{TEMPORARY}"
        self.filesystem.create_dir(parent, recursive=True)
        try:
            with self.filesystem.open_output_stream(temporary) as stream:
                stream.write(content)
            self.filesystem.move(temporary, target)
        except BaseException:
            if self.filesystem.get_file_info(temporary).type != fs.FileType.NotFound:
                self.filesystem.delete_file(temporary)
            raise

    def create(self, name: str, content: bytes) -> bool:
        """Write a file unless one of this name is there; whether it was written. Of many that try at once, one does.

        Args:
            content: what nobody else would write, so that a write whose answer was lost on its way is known again.

        Raises:
            ImportError: the package that this needs for such a URL is not installed.
        """
        failure = None
        try:
            _create(self.url, self._join(name), content)
            return True
        except FileExistsError:
            pass
        except OSError as error:
            failure = error
        with suppress(FileNotFoundError):
            if self.read_bytes(name) == content:
                return True
        if failure is not None:
            raise failure
        return False

    def read_json(self, name: str) -> Any:
        """The value of a JSON file. Raises FileNotFoundError, or ValueError where the text is not JSON."""
        return json.loads(self.read_bytes(name))

    def write_json(self, name: str, content: object) -> None:
        """Write a value as JSON with sorted keys, all or nothing. Raises TypeError for what JSON cannot hold."""
        self.write_bytes(name, (json.dumps(content, indent=2, sort_keys=True) + "\n").encode())

    @patient
    def read_table(self, name: str, columns: list[str] | None = None) -> pa.Table:
        """One Parquet file, or all finished Parquet files of a folder, as one table.

        Raises:
            ValueError: a folder without any.
        """
        source: str | list[str] = self._join(name)
        if self.filesystem.get_file_info(source).type == fs.FileType.Directory:
            source = [self._join(part) for part in self.files(name) if part.endswith(".parquet")]
            if not source:
                raise ValueError(f"{self.url}/{name}: expected Parquet files, found none. Make the artifact again.")
        return pq.read_table(source, columns=columns, filesystem=self.filesystem)

    @patient
    def columns(self, name: str) -> list[str]:
        """Names of the columns of a Parquet file, or of the first of a folder of them; none where there is no file."""
        files = [name] if self.exists(name) and name.endswith(".parquet") else self.files(name)
        for path in (path for path in files if path.endswith(".parquet")):
            with self.filesystem.open_input_file(self._join(path)) as file:
                return list(pq.read_schema(file).names)
        return []

    def write_table(self, name: str, table: pa.Table) -> None:
        """Write a table as one Parquet file compressed with zstd, all or nothing."""
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression="zstd")
        self.write_bytes(name, sink.getvalue().to_pybytes())

    def read_weights(self, name: str) -> dict[str, np.ndarray]:
        """Tensors of a safetensors file, as numpy arrays."""
        from safetensors.numpy import load

        return load(self.read_bytes(name))

    def write_weights(self, name: str, tensors: dict[str, np.ndarray]) -> None:
        """Tensors (numpy arrays) as a safetensors file."""
        from safetensors.numpy import save

        self.write_bytes(name, save(tensors))

    @patient
    def delete(self, name: str) -> None:
        """Remove a file or a folder below this one, if it is there."""
        kind = self.filesystem.get_file_info(self._join(name)).type
        if kind == fs.FileType.Directory:
            self.filesystem.delete_dir(self._join(name))
        elif kind == fs.FileType.File:
            self.filesystem.delete_file(self._join(name))

    @patient
    def _listing(self, name: str) -> list[str]:
        selector = fs.FileSelector(self._join(name), recursive=True, allow_not_found=True)
        found = [i.path for i in self.filesystem.get_file_info(selector) if i.type == fs.FileType.File]
        return sorted(path[len(self.path) :].lstrip("/") for path in found)

    def _join(self, name: str) -> str:
        if ".." in name.split("/"):  # names may come from settings or from others: no file is read or written elsewhere
            raise ValueError(f"{self.url}: expected a name inside this folder, got {name!r}. Choose another name.")
        path = f"{self.path}/{name}" if name else self.path
        if name and self.filesystem.type_name == "local" and not os.path.realpath(path).startswith(f"{self.path}/"):
            raise ValueError(
                f"{self.url}: {name} is a link that leads to {os.path.realpath(path)}, out of this folder. Remove it."
            )
        return path


@contextmanager
def writable(folder: Folder) -> Iterator[None]:
    """Say of an OSError in the block which store it is about.

    Raises:
        StoreError: in place of it.
    """
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"{folder.url}: expected a store that can be written, got {type(error).__name__}: {error}. "
            "Name another with store=…, or mend this one."
        ) from None


def open_filesystem(url: str) -> tuple[fs.FileSystem, str]:
    """The pyarrow file system behind a path or URL, and the path within it.

    Raises:
        ValueError: a URL with options, which would end up in the middle of the names of files.
    """
    if "://" not in url:
        return fs.LocalFileSystem(), str(Path(url).resolve())
    if "?" in url:
        raise ValueError(
            f"expected a URL without options, got {url!r}. Give them in the environment, for example AWS_ENDPOINT_URL "
            "and AWS_DEFAULT_REGION."
        )
    try:
        found, path = fs.FileSystem.from_uri(url)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        import fsspec

        remote, path = fsspec.core.url_to_fs(url)
        return fs.PyFileSystem(fs.FSSpecHandler(remote)), path
    if found.type_name == "s3":  # one request a small file, where the default makes three
        make, (options,) = found.__reduce__()
        found = make(options | {"allow_delayed_open": True})
    return found, path


def _create(url: str, path: str, content: bytes) -> None:
    """Write a file in one step of the store that fails where there is one, with FileExistsError."""
    if url.startswith("s3://"):
        return _create_object(path, content)
    import fsspec

    remote, _ = fsspec.core.url_to_fs(url)
    remote.makedirs(os.path.dirname(path), exist_ok=True)
    remote.pipe_file(path, content, mode="create")


def _create_object(path: str, content: bytes) -> None:
    """The same on S3: a condition of a write, which pyarrow has no words for."""
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    bucket, _, key = path.partition("/")
    try:
        boto3.client("s3").put_object(Bucket=bucket, Key=key, Body=content, IfNoneMatch="*")
    except ClientError as error:
        there = error.response["Error"]["Code"] in ("PreconditionFailed", "ConditionalRequestConflict")
        raise (FileExistsError(path) if there else OSError(str(error))) from None
    except BotoCoreError as error:
        raise OSError(str(error)) from None
