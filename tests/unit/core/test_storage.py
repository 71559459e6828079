"""Files by URL: whole or not at all."""

import errno
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from stepward.core.storage import Folder


@pytest.fixture(params=["local", "memory"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    return Folder(tmp_path / "f" if request.param == "local" else f"memory://{tmp_path.name}/f")


def test_what_is_written_is_read(folder: Folder) -> None:
    table = pa.table({"id": ["a", "b"], "x": [1.5, float("nan")]})
    weights = {"w": np.arange(6, dtype=np.float32).reshape(2, 3)}
    folder.write_bytes("deep/er/x.bin", b"\0\1")
    folder.write_json("x.json", {"b": 1, "a": [2]})
    folder.write_table("t/0.parquet", table)
    folder.write_table("t/1.parquet", table)
    folder.write_weights("w.safetensors", weights)
    assert folder.read_bytes("deep/er/x.bin") == b"\0\1"
    assert folder.read_json("x.json") == {"a": [2], "b": 1}
    assert folder.read_table("t/0.parquet").equals(table) or np.isnan(folder.read_table("t/0.parquet")["x"][1].as_py())
    assert folder.read_table("t", ["id"])["id"].to_pylist() == ["a", "b", "a", "b"]
    assert np.array_equal(folder.read_weights("w.safetensors")["w"], weights["w"])
    assert folder.files() == ["deep/er/x.bin", "t/0.parquet", "t/1.parquet", "w.safetensors", "x.json"]
    assert folder.files("t") == ["t/0.parquet", "t/1.parquet"]


def test_delete_removes_files_and_folders_and_nothing_else(folder: Folder) -> None:
    folder.write_bytes("a/x", b"")
    folder.write_bytes("b/x", b"")
    folder.delete("a")
    folder.delete("nothing")
    assert folder.files() == ["b/x"]
    folder.delete("b/x")
    assert not folder.exists("b/x")


def test_files_of_nothing_are_none(folder: Folder) -> None:
    assert folder.files("missing") == []
    assert not folder.exists("missing")


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The new content goes to a file beside it first; that file is removed when it cannot be completed."""
    folder = Folder(tmp_path)
    folder.write_bytes("x", b"old")

    class FullDisk:
        def __init__(self, real: object) -> None:
            self.real = real

        def __getattr__(self, name: str) -> object:
            return getattr(self.real, name)

        def move(self, source: str, target: str) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(folder, "filesystem", FullDisk(folder.filesystem))
    with pytest.raises(OSError, match="No space left"):
        folder.write_bytes("x", b"new")
    assert (tmp_path / "x").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_unfinished_files_are_not_listed(tmp_path: Path) -> None:
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "0.parquet.0a1b2c3d.tmp").write_bytes(b"half")
    assert Folder(tmp_path).files() == []


def test_what_a_kill_left_in_a_folder_is_not_read_with_it(tmp_path: Path) -> None:
    """Half a table, and a whole one that was not moved into place yet."""
    folder, table = Folder(tmp_path), pa.table({"id": ["a"]})
    folder.write_table("labels/0.parquet", table)
    whole = (tmp_path / "labels" / "0.parquet").read_bytes()
    (tmp_path / "labels" / "1.parquet.0a1b2c3d.tmp").write_bytes(whole)
    (tmp_path / "labels" / ".2.parquet.0a1b2c3d.tmp").write_bytes(whole[:40])
    assert folder.read_table("labels").equals(table)
    folder.sweep()
    assert sorted(path.name for path in (tmp_path / "labels").iterdir()) == ["0.parquet"]


def test_a_folder_without_tables_is_said(tmp_path: Path) -> None:
    (tmp_path / "labels").mkdir()
    with pytest.raises(ValueError, match="labels: expected Parquet files, found none"):
        Folder(tmp_path).read_table("labels")


@pytest.mark.parametrize("name", ["..", "../x", "a/../../x", "shards/guide/../../x.json"])
def test_names_that_leave_the_folder_are_refused(folder: Folder, name: str) -> None:
    for use in (folder.exists, folder.read_bytes, folder.delete, folder.files, lambda n: folder.write_bytes(n, b"")):
        with pytest.raises(ValueError, match="expected a name inside this folder"):
            use(name)
