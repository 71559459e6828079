"""Artifacts: finished or refused, and a fingerprint that sees content and nothing else."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepward.core.artifacts import Artifact, ArtifactError, content_digest


def make(root: Path, name: str = "a", *, identity: dict | None = None, digest: str = "d", **more: object) -> Artifact:
    artifact = Artifact(str(root), "walk", "label", name)
    artifact.begin(identity or {"m": 64})
    artifact.folder.write_bytes("labels/0.parquet", b"rows")
    artifact.finish(identity=identity or {"m": 64}, seed=0, digest=digest, **more)
    return artifact


def test_unfinished_missing_and_damaged_artifacts_are_refused(tmp_path: Path) -> None:
    artifact = Artifact(str(tmp_path), "walk", "label", "a")
    with pytest.raises(ArtifactError, match=r"does not exist.*jobs/label.py with name=a"):
        artifact.open()
    artifact.begin({"m": 64})
    with pytest.raises(ArtifactError, match="unfinished"):
        artifact.open()
    make(tmp_path)
    artifact.open()
    artifact.folder.write_bytes("manifest.json", b'{"domain": "walk"')
    with pytest.raises(ArtifactError, match="damaged manifest"):
        artifact.open()


@pytest.mark.parametrize("damage", ["changed", "missing"])
def test_files_that_are_not_as_written_are_found(tmp_path: Path, damage: str) -> None:
    artifact = make(tmp_path)
    if damage == "changed":
        artifact.folder.write_bytes("labels/0.parquet", b"rOws")
    else:
        artifact.folder.delete("labels/0.parquet")
    with pytest.raises(ArtifactError, match=rf"labels/0.parquet .*{damage}"):
        artifact.open()


def test_other_settings_are_refused_before_and_after_the_end(tmp_path: Path) -> None:
    artifact = Artifact(str(tmp_path), "walk", "label", "a")
    assert artifact.begin({"m": 64}) is False
    assert artifact.begin({"m": 64}) is False, "the same command goes on"
    with pytest.raises(ArtifactError, match=r"was begun with other settings \(m: there 64, wanted 8\)"):
        artifact.begin({"m": 8})
    make(tmp_path)
    assert artifact.begin({"m": 64}) is True
    with pytest.raises(ArtifactError, match=r"is finished with other settings \(m: there 64, wanted 8\)"):
        artifact.begin({"m": 8})
    assert artifact.begin({"m": 8}, overwrite=True) is False
    assert not artifact.folder.exists("labels/0.parquet")


def test_an_input_that_was_made_anew_is_noticed(tmp_path: Path) -> None:
    source = make(tmp_path, "source")
    model = make(tmp_path, "model", inputs={"labels": source})
    model.open()
    source.begin({"m": 64}, overwrite=True)
    model.open()  # an input that is away proves nothing
    make(tmp_path, "source", digest="other")
    with pytest.raises(ArtifactError, match=r"its input 'labels' .* has changed"):
        model.open()


def test_fingerprint_sees_content_settings_and_inputs_only(tmp_path: Path) -> None:
    first = make(tmp_path / "here", facts={"batches": 1}).manifest().fingerprint
    assert (
        make(tmp_path / "there", "other", facts={"batches": 2}, cost={"seconds": 9.0}).manifest().fingerprint == first
    )
    assert make(tmp_path / "x", digest="e").manifest().fingerprint != first
    assert make(tmp_path / "y", identity={"m": 65}).manifest().fingerprint != first
    source = make(tmp_path / "z", "source")
    assert make(tmp_path / "z", inputs={"labels": source}).manifest().fingerprint != first


TABLE = pa.table(
    {
        "id": [f"r{i}" for i in range(12)],
        "x": np.linspace(0, 1, 12),
        "actions": pa.FixedSizeListArray.from_arrays(pa.array(np.arange(24) % 7, pa.int8()), 2),
        "tags": [["a"] * (i % 3) for i in range(12)],
    }
)


@settings(max_examples=20)
@given(order=st.permutations(range(12)), cut=st.integers(0, 12))
def test_digest_is_blind_to_the_order_of_rows_and_files(order: list[int], cut: int) -> None:
    shuffled = TABLE.take(order)
    assert content_digest([shuffled.slice(0, cut), shuffled.slice(cut)]) == content_digest([TABLE])


@pytest.mark.parametrize("column", TABLE.column_names)
def test_digest_sees_every_column_and_how_rows_belong_together(column: str) -> None:
    moved = TABLE.set_column(TABLE.column_names.index(column), column, TABLE[column].take([1, 0, *range(2, 12)]))
    assert content_digest([moved]) != content_digest([TABLE])
    assert content_digest([TABLE, TABLE.slice(0, 1)]) != content_digest([TABLE])
