"""Batches, dead letters, quarantine and the audit: what keeps rows from being lost or doubled."""

import errno
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepward.core.artifacts import Artifact
from stepward.core.config import parse_config
from stepward.core.storage import Folder
from stepward.core.wing import find_wing
from stepward.label import CountTask, LabelWork, cut, finish, label_alone, plan, salvage
from stepward.runtime.labelling import LabelJob, Labelled, LabellingError, LabelWorker, explain_stop, label_job, shipped

SMALL = ["problems.num_train=4", "problems.num_validation=2", "problems.num_test=1", "mining.per_problem=5",
         "labels.num_rollouts_train=4", "labels.num_rollouts_validation=8", "labels.num_rollouts_test=8"]  # fmt: skip


@pytest.fixture
def job(tmp_path: Path) -> LabelJob:
    return parse_config(label_job(find_wing("walk")), [f"store={tmp_path}", "pool.batch_size=6", *SMALL])


@pytest.fixture
def work(job: LabelJob) -> LabelWork:
    work = LabelWork(job.artifact("label"), job.identity())
    work.artifact.begin(job.identity())
    plan(job, work, job.pool.batch_size)
    return work


def label_batches(job: LabelJob, work: LabelWork, batches: list[str]) -> None:
    task = CountTask(job)
    for batch in batches:
        work.commit(batch, *task(work.rows(batch)))


@given(sizes=st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 9)), max_size=8), batch_size=st.integers(1, 7))
def test_cut_keeps_rows_splits_and_order(sizes: list[tuple[str, int]], batch_size: int) -> None:
    sizes = sorted(sizes)
    tables = [pa.table({"split": [s] * n, "id": [f"{s}{k}.{i}" for i in range(n)]}) for k, (s, n) in enumerate(sizes)]
    tables = [t.cast(pa.schema({"split": pa.string(), "id": pa.string()})) for t in tables]
    batches = list(cut(tables, batch_size))
    assert [i for _, b in batches for i in b["id"].to_pylist()] == [i for t in tables for i in t["id"].to_pylist()]
    assert len({name for name, _ in batches}) == len(batches)
    for name, batch in batches:
        assert 1 <= len(batch) <= batch_size
        assert set(batch["split"].to_pylist()) == {name.split("-")[0]}
    for split in "ab":
        lengths = [len(b) for name, b in batches if name.startswith(split)]
        assert all(length == batch_size for length in lengths[:-1])


def test_salvage_rejects_just_the_rows_that_raise() -> None:
    table = pa.table({"id": [f"r{i}" for i in range(100)], "x": list(range(100))})
    calls = 0

    def work(rows: pa.Table) -> list[int]:
        nonlocal calls
        calls += 1
        values = rows["x"].to_pylist()
        if {13, 77} & set(values):
            raise KeyError("thirteen")
        return values

    results, rejected = salvage(work, table)
    assert [x for part in results for x in part] == [x for x in range(100) if x not in (13, 77)]
    assert [(r.id, r.error) for r in rejected] == [("r13", "KeyError: 'thirteen'"), ("r77", "KeyError: 'thirteen'")]
    assert '"x": 13' in rejected[0].content
    assert calls < 40


def test_a_batch_is_done_when_its_labels_are_there(job: LabelJob, work: LabelWork) -> None:
    assert work.planned
    assert sum(work.batches().values()) == 7 * 5
    first, *others = work.left()
    work.begin(first)
    assert work.left() == [first, *others], "begun is not done"
    label_batches(job, work, [first])
    assert work.left() == others
    assert LabelWork(job.artifact("label"), job.identity()).left() == others, "another process sees the same"


def test_finish_counts_every_row_and_clears_the_scratch_folder(job: LabelJob, work: LabelWork) -> None:
    label_batches(job, work, work.left())
    manifest = finish(job, work, 0.0)
    assert manifest.rows == {"labels": 35, "train": 20, "validation": 10, "test": 5, "dead_letters": 0}
    assert manifest.cost["rollouts"] == 20 * 4 + 15 * 8
    assert not work.scratch.exists()
    labels = job.artifact("label").folder.read_table("labels")
    assert set(labels["num_rollouts"].to_pylist()) == {4, 8}
    assert "exact" in labels.column_names
    assert manifest == job.artifact("label").open()


def test_exact_values_are_left_out_for_another_policy(job: LabelJob) -> None:
    warm = job.model_copy(update={"proposer": job.proposer.model_copy(update={"temperature": 2.0})})
    work = LabelWork(warm.artifact("label"), warm.identity())
    plan(warm, work, 6)
    labels, _ = CountTask(warm)(work.rows(work.left()[0]))
    assert "exact" not in labels.column_names


def test_files_do_not_depend_on_when_a_batch_was_made(job: LabelJob, work: LabelWork) -> None:
    label_batches(job, work, work.left())
    once = {name: work.folder.read_bytes(name) for name in work.folder.files("labels")}
    label_batches(job, work, list(reversed(work.left() or list(work.batches()))))
    assert {name: work.folder.read_bytes(name) for name in work.folder.files("labels")} == once


def test_audit_finds_a_lost_row_and_a_doubled_one(job: LabelJob, work: LabelWork) -> None:
    label_batches(job, work, work.left())
    name = next(iter(work.batches()))
    labels = work.folder.read_table(f"labels/{name}.parquet")
    work.folder.write_table(f"labels/{name}.parquet", labels.slice(1))
    with pytest.raises(ValueError, match=f"each row of batch {name} once.*{labels['id'][0].as_py()}"):
        finish(job, work, 0.0)
    work.folder.write_table(f"labels/{name}.parquet", pa.concat_tables([labels, labels.slice(0, 1)]))
    with pytest.raises(ValueError, match="each row of batch"):
        finish(job, work, 0.0)
    assert not job.artifact("label").finished


def test_quarantine_gives_up_rows_at_which_processes_died(job: LabelJob, work: LabelWork) -> None:
    batch = work.left()[0]
    expected, _ = CountTask(job)(work.rows(batch))
    for token in ("first", "second"):
        work.note_row(batch, token, 1)
        work.note_row(batch, token, 2)  # an attempt stands at one row: the last one noted
        work.note_death(batch, token)
    work.note_row(batch, "third", 4)
    work.note_death(batch, "third")
    work.note_death(batch, "before a row")
    dead = label_alone(work, CountTask(job), batch, "fourth", max_attempts=2)
    assert dead == 1
    labels = work.folder.read_table(f"labels/{batch}.parquet")
    assert labels.equals(pa.concat_tables([expected.slice(0, 2), expected.slice(3)])), "alone or not, the same labels"
    letter = work.scratch.read_table(f"dead/{batch}.parquet").to_pylist()[0]
    assert letter["id"] == expected["id"][2].as_py()
    assert "died 2 times" in letter["error"]


def test_kills_of_the_driver_say_nothing_of_a_row(job: LabelJob, work: LabelWork) -> None:
    """Its attempts in quarantine end with it; that they stood at a healthy row is chance."""
    batch = work.left()[0]
    for token in ("first", "second", "third", "fourth"):
        work.note_row(batch, token, 1)
    assert label_alone(work, CountTask(job), batch, "fifth", max_attempts=2) == 0


def test_rows_lost_to_the_time_limit_are_told_from_others_and_by_the_exit_code(
    job: LabelJob, work: LabelWork, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "time", lambda: now)
    batch, *others = work.left()
    for row, seconds in ((0, 9.0), (1, 11.0)):
        for token in (f"{row}a", f"{row}b"):
            work.note_row(batch, token, row)
            now += seconds
            work.note_death(batch, token)
    assert label_alone(work, CountTask(job), batch, "last", max_attempts=2, time_limit=10.0) == 2
    letters = [row["error"] for row in work.scratch.read_table(f"dead/{batch}.parquet").to_pylist()]
    assert ["pool.time_limit" in letter for letter in letters] == [False, True]
    label_batches(job, work, others)
    done = Labelled("", finish(job, work, 0.0), 0.0, was_finished=False)
    assert done.exit_code == 3 and "1 took longer than pool.time_limit" in str(done)


def test_scratch_files_of_other_settings_are_not_taken_up(job: LabelJob, work: LabelWork) -> None:
    other = job.model_copy(update={"seed": 1})
    assert not LabelWork(other.artifact("label"), other.identity()).planned


def test_nothing_but_dead_letters_is_an_error(job: LabelJob, work: LabelWork) -> None:
    task = CountTask(job)
    for batch in work.left():
        rows = work.rows(batch)
        _, rejected = salvage(lambda _: 1 / 0, rows)
        work.commit(batch, task.no_labels(rows), rejected)
    with pytest.raises(ValueError, match="all 35 rows failed, the first with: ZeroDivisionError"):
        finish(job, work, 0.0)


def test_a_worker_answers_what_stops_it(job: LabelJob, work: LabelWork, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk is not the fault of a row: no dead letters, no half file, an answer with the error."""

    def full(folder: Folder, name: str, content: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    worker, batch = LabelWorker(shipped(job)), work.left()[0]
    with monkeypatch.context() as patch:
        patch.setattr(Folder, "write_bytes", full)
        answer = worker({"item": [batch]})
    assert answer["error"] == ["OSError: [Errno 28] No space left on device"]
    assert batch in work.left()
    assert worker({"item": [batch]})["error"] == [""]
    assert batch not in work.left()
    broken = LabelWorker(shipped(job) | {"domain": "nowhere"})({"item": [batch]})
    assert "Unknown domain 'nowhere'" in broken["error"][0]


@pytest.mark.parametrize(("error", "hint"), [
    (OSError(errno.ENOSPC, "No space left on device"), "Free some space"), (LabellingError("x"), "Mend the cause"),
])  # fmt: skip
def test_what_stops_the_stage_says_how_to_go_on(error: Exception, hint: str) -> None:
    def stop() -> None:
        with explain_stop("store/x"):
            raise error

    with pytest.raises(LabellingError, match=f"kept in store/x. {hint}, then run the same command again"):
        stop()


def test_pools_are_no_part_of_identity_and_problem_files_are(tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    settings = parse_config(label_job(find_wing("walk")), [f"problems.path={file}", "pool.batch_size=7", "seed=3"])
    file.write_text("start,target\n1,2\n")
    first = settings.identity()
    assert not {"pool", "cluster", "tracking", "store", "name"} & set(first)
    file.write_text("start,target\n1,3\n")
    assert settings.identity() != first


def test_a_folder_of_problems_is_part_of_identity_wherever_the_store_is(tmp_path: Path) -> None:
    """`artifacts/…` means the store in use, and a folder may hold other problems later."""
    data = tmp_path / "store" / "walk" / "data" / "mine"
    data.mkdir(parents=True)
    (data / "a.jsonl").write_text("1")
    words = [f"store={tmp_path / 'store'}", "problems.path=artifacts/walk/data/mine"]
    settings = parse_config(label_job(find_wing("walk")), words)
    first = settings.identity()
    (data / "a.jsonl").write_text("2")
    assert first["problems_sha256"] != settings.identity()["problems_sha256"]


def test_settings_of_one_of_several_proposers() -> None:
    settings = label_job(find_wing("walk"))
    assert parse_config(settings, ["proposer.temperature=2"]).proposer.kind == "softmax"
    assert parse_config(settings, ["proposer.kind=enumerate"]).proposer.kind == "enumerate"
    with pytest.raises(ValueError, match="temprature"):
        parse_config(settings, ["proposer.temprature=2"])
    with pytest.raises(ValueError, match=r"pool\.batch_size"):
        parse_config(settings, ["pool.batch_size=0"])


def test_unusable_problem_files_say_why(tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_text("start,target\nx,2\n")
    job = parse_config(label_job(find_wing("walk")), [f"problems.path={tmp_path / 'bad.csv'}", f"store={tmp_path}"])
    with pytest.raises(ValueError, match=r"expected at least one that can be used.*whole number, got 'x'"):
        plan(job, LabelWork(Artifact(str(tmp_path), "walk", "label", "x"), {}), 10)
