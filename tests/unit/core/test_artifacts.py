"""Artifacts: finished or refused, and a fingerprint that sees content and nothing else."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import stepward
from kill_points import every_point, kill
from stepward.core.artifacts import Artifact, ArtifactError, content_digest
from stepward.core.stage import StageSettings
from stepward.core.storage import StoreError


def make(root: Path, name: str = "a", *, identity: dict | None = None, digest: str = "d", **more: object) -> Artifact:
    artifact = Artifact(str(root), "walk", "label", name)
    artifact.begin(identity or {"m": 64})
    artifact.folder.write_bytes("labels/0.parquet", b"rows")
    artifact.finish(identity=identity or {"m": 64}, seed=0, digest=digest, **more)
    return artifact


def test_unfinished_missing_and_damaged_artifacts_are_refused(tmp_path: Path) -> None:
    artifact = Artifact(str(tmp_path), "walk", "label", "a")
    with pytest.raises(ArtifactError, match=r"(?s)does not exist.*python jobs/label.py domain=walk store=.* name=a"):
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


@pytest.mark.parametrize("name", [".", "..", "", "a/b", "/a", ".work", "-x", "a\n", "x y"])
def test_places_are_no_names(tmp_path: Path, name: str) -> None:
    with pytest.raises(ArtifactError, match="expected a name of letters"):
        Artifact(str(tmp_path), "walk", "label", name)
    with pytest.raises(ArtifactError, match="expected a name of letters"):
        Artifact(str(tmp_path), name, "label", "a")
    with pytest.raises(ValueError, match="name"):
        StageSettings(name=name)


def test_a_store_that_is_no_place_is_refused() -> None:
    with pytest.raises(ValueError, match="store"):
        StageSettings(store="")


@pytest.mark.parametrize("file", ["../../../other", "/etc/passwd", "a/../../b", "c:\\x", "a\\..\\b", ""])
def test_a_manifest_that_names_files_elsewhere_is_refused(tmp_path: Path, file: str) -> None:
    artifact = make(tmp_path)
    hostile = artifact.folder.read_json("manifest.json")
    hostile["files"][file] = {"bytes": 1, "sha256": "0"}
    artifact.folder.write_json("manifest.json", hostile)
    with pytest.raises(ArtifactError, match="expected names inside the artifact's folder"):
        artifact.manifest()


def test_a_block_that_raises_before_it_wrote_anything_leaves_the_name_free(tmp_path: Path) -> None:
    artifact = Artifact(str(tmp_path), "walk", "label", "a")
    with pytest.raises(ValueError, match="too many"), artifact.claim({"m": 10**9}):
        raise ValueError("too many")
    with artifact.claim({"m": 64}) as finished:
        assert not finished
        artifact.folder.write_bytes("labels/0.parquet", b"rows")
    with pytest.raises(ArtifactError, match="was begun with other settings"), artifact.claim({"m": 8}):
        pass


@pytest.mark.parametrize("worth", [True, False])
def test_a_stage_says_what_is_worth_to_go_on_with(tmp_path: Path, worth: bool) -> None:
    artifact = Artifact(str(tmp_path), "walk", "label", "a")

    def stop() -> None:
        with artifact.claim({"m": 1}, worth=lambda: worth):
            artifact.folder.write_bytes("run-1/log", b"")
            (artifact.scratch / "rows").write_bytes("plan", b"")
            raise ValueError("no model")

    with pytest.raises(ValueError, match="no model"):
        stop()
    assert artifact.folder.exists() is artifact.scratch.exists() is worth


def test_checkpoints_go_only_when_the_artifact_is_complete(tmp_path: Path) -> None:
    """Killed at every operation of the end of a stage: what it needs to go on is there, or nothing is left to do."""

    def trained(store: Path) -> Artifact:
        artifact = Artifact(str(store), "walk", "train", "a")
        artifact.begin({"m": 1})
        artifact.folder.write_bytes("run-1/epoch.pt", b"hours of work")
        return artifact

    def end(artifact: Artifact) -> None:
        with artifact.claim({"m": 1}) as finished:
            if not finished:
                artifact.folder.write_bytes("weights", b"w")
                artifact.finish(identity={"m": 1}, seed=0, digest="d", scratch=("run-*",))

    counted = trained(tmp_path / "count")
    for number, point in enumerate(every_point(lambda: end(counted))):
        artifact = trained(tmp_path / str(number))
        kill(lambda artifact=artifact: end(artifact), *point)
        assert artifact.folder.exists("run-1/epoch.pt") or artifact.finished, point
        end(artifact)
        assert list(artifact.open().files) == ["weights"], point
        assert artifact.folder.files() == ["manifest.json", "weights"], point


HOLD = """
import sys, time
from stepward.core.artifacts import Artifact
artifact = Artifact(sys.argv[1], "walk", "label", "a")
with artifact.claim({"m": 64}):
    artifact.folder.write_bytes("labels/0.parquet", b"rows")
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_job_that_runs_is_not_joined_or_replaced_and_a_killed_one_leaves_no_lock(tmp_path: Path) -> None:
    artifact = Artifact(str(tmp_path), "walk", "label", "a")
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        for overwrite in (False, True):
            with pytest.raises(StoreError, match="another job is making it"), artifact.claim({}, overwrite=overwrite):
                pass
        assert artifact.folder.files("labels") == ["labels/0.parquet"]
        other.kill()
    with artifact.claim({"m": 64}) as finished:
        assert not finished


def test_a_store_that_cannot_be_written_is_said() -> None:
    for store in ("/proc/x", __file__):
        artifact = Artifact(store, "walk", "label", "a")
        with pytest.raises(StoreError, match="expected a store that can be written"), artifact.claim({}):
            pass


def test_links_out_of_an_artifact_are_not_followed_and_what_a_link_leads_to_is_not_replaced(tmp_path: Path) -> None:
    """A store that others write to must not make a job read, write or delete what lies elsewhere."""
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "secret").write_text("s")
    artifact = make(tmp_path / "store")
    Path(artifact.folder.path, "file").symlink_to(mine / "secret")
    Path(artifact.folder.path, "folder").symlink_to(mine)
    Path(artifact.folder.path, "within").symlink_to("labels")
    for use in (
        lambda: artifact.folder.read_bytes("file"),
        lambda: artifact.folder.write_bytes("folder/new", b""),
        lambda: artifact.folder.delete("folder"),
    ):
        with pytest.raises(ValueError, match="out of this folder"):
            use()
    assert artifact.folder.read_bytes("within/0.parquet") == b"rows"
    other = Artifact(str(tmp_path / "store"), "walk", "label", "b")
    Path(other.folder.path).symlink_to(mine)
    linked = Artifact(str(tmp_path / "store"), "walk", "label", "b")
    for overwrite in (False, True):
        with pytest.raises(ArtifactError, match="a link to"), linked.claim({}, overwrite=overwrite):
            pass
    assert [path.name for path in mine.iterdir()] == ["secret"]


def test_stages_leave_the_removal_of_their_checkpoints_to_the_manifest() -> None:
    """What is removed before the manifest is written is lost with a kill in between. Labels plan over leftovers."""
    package = Path(stepward.__file__).parent
    allowed = {"core/artifacts.py", "core/leases.py", "core/storage.py", "label/work.py", "label/mining.py"}
    allowed |= {"runtime/doctor.py"}  # the file that it tries a store with
    allowed |= {"runtime/workers.py"}  # the checkpoints of a training that diverged: nothing can be taken up from them
    found = {str(f.relative_to(package)) for f in package.rglob("*.py") if re.search(r"\.delete\(", f.read_text())}
    assert found <= allowed
