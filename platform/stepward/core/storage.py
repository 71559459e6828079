"""Files by URL: a local path, or anything pyarrow or fsspec can open (`s3://`, `gs://`, `memory://`, …)."""

from __future__ import annotations

import json
import os
import uuid
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

TEMPORARY = ".tmp"  # end of the names of files that are being written; a kill can leave them behind


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

    def read_bytes(self, name: str) -> bytes:
        """The whole content of a file. Raises FileNotFoundError where there is none."""
        with self.filesystem.open_input_stream(self._join(name)) as stream:
            return stream.read()

    def write_bytes(self, name: str, content: bytes) -> None:
        """Write beside the target, then move into place, so that a reader or a crash never sees half a file.

        What is being written has a hidden name, which tools that read a folder of Parquet files pass over as well.
        """
        target = self._join(name)
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

    def read_json(self, name: str) -> Any:
        """The value of a JSON file. Raises FileNotFoundError, or ValueError where the text is not JSON."""
        return json.loads(self.read_bytes(name))

    def write_json(self, name: str, content: Any) -> None:
        """Write a value as JSON with sorted keys, all or nothing. Raises TypeError for what JSON cannot hold."""
        self.write_bytes(name, (json.dumps(content, indent=2, sort_keys=True) + "\n").encode())

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

    def read_weights(self, name: str) -> dict[str, Any]:
        """Tensors of a safetensors file, as numpy arrays."""
        from safetensors.numpy import load

        return load(self.read_bytes(name))

    def write_weights(self, name: str, tensors: dict[str, Any]) -> None:
        """Tensors (numpy arrays) as a safetensors file."""
        from safetensors.numpy import save

        self.write_bytes(name, save(tensors))

    def delete(self, name: str) -> None:
        """Remove a file or a folder below this one, if it is there."""
        kind = self.filesystem.get_file_info(self._join(name)).type
        if kind == fs.FileType.Directory:
            self.filesystem.delete_dir(self._join(name))
        elif kind == fs.FileType.File:
            self.filesystem.delete_file(self._join(name))

    def _listing(self, name: str) -> list[str]:
        selector = fs.FileSelector(self._join(name), recursive=True, allow_not_found=True)
        found = [i.path for i in self.filesystem.get_file_info(selector) if i.type == fs.FileType.File]
        return sorted(path[len(self.path) :].lstrip("/") for path in found)

    def _join(self, name: str) -> str:
        if ".." in name.split("/"):  # names may come from settings or from others: no file is read or written elsewhere
            raise ValueError(f"{self.url}: expected a name inside this folder, got {name!r}. Choose another name.")
        return f"{self.path}/{name}" if name else self.path


def open_filesystem(url: str) -> tuple[fs.FileSystem, str]:
    """The pyarrow file system behind a path or URL, and the path within it."""
    if "://" not in url:
        return fs.LocalFileSystem(), str(Path(url).resolve())
    try:
        return fs.FileSystem.from_uri(url)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        import fsspec

        remote, path = fsspec.core.url_to_fs(url)
        return fs.PyFileSystem(fs.FSSpecHandler(remote)), path
