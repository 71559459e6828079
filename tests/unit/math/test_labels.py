"""Labels of math: samples' outcomes, the search for the first error, the log of rollouts, and mining by workers."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from stepward.core.config import parse_config
from stepward.core.wing import find_wing
from stepward.domains.math import AnswerVerifier, Ending, math_states
from stepward.domains.math.states import roots
from stepward.label import CountTask, LabelWork, MineTask, MiningWork, finish, plan, plan_mined, plan_mining
from stepward.runtime.labelling import LabelJob, label_job
from unit.math.small_models import small_model, small_tokenizer

QUESTIONS = ["a+1", "b", "1+2", "ab", "2+b", "b+1", "a"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    home = tmp_path_factory.mktemp("home")
    small_model().save_pretrained(home / "model")
    small_tokenizer().save_pretrained(home / "model")
    rows = [f'{{"id": "p{i}", "question": "{q}", "answer": "1", "split": "train"}}' for i, q in enumerate(QUESTIONS)]
    (home / "mine.jsonl").write_text("\n".join(rows))
    return home


def job(home: Path, *settings: str, name: str = "default") -> LabelJob:
    model = [f"{part}.{key}" for part in ("proposer", "mining.model")
             for key in (f"model={home / 'model'}", "max_steps=4", "max_step_tokens=5")]  # fmt: skip
    common = ["domain=math", f"store={home}", f"name={name}", "problems.source=file", "pool.batch_size=30",
              f"problems.path={home / 'mine.jsonl'}", "mining.samples_per_problem=6", "pool.mining_batch_size=3",
              "labels.num_rollouts_train=8"]  # fmt: skip
    return parse_config(label_job(find_wing("math")), [*common, *model, *settings])


def label(settings: LabelJob) -> LabelWork:
    """All batches of an artifact that is not finished yet."""
    work = LabelWork(settings.artifact("label"), settings.identity())
    plan(settings, work, settings.pool.batch_size)
    task = settings.labels.task(settings, settings.pool.in_flight)
    for batch in work.left():
        work.commit(batch, *task(work.rows(batch)))
    return work


def table(work: LabelWork) -> pa.Table:
    return pa.concat_tables(list(work.labels()))


def test_paths_lead_from_the_question_to_every_end() -> None:
    text = ["", "a\n", "a\nb\n", "a\nb\nA: 1\n", "c\n", "a\n", "a\nb", "", "a\n"]
    open_, done, ended = Ending.OPEN, Ending.ANSWERED, Ending.NO_ANSWER
    ending = [open_, open_, open_, done, open_, ended, ended, open_, done]
    none = np.full(len(text), "", object)
    states = roots(none, none).replace(
        text=np.array(text, object), ending=np.array(ending, np.int8), problem=np.array([0] * 7 + [1] * 2)
    )
    assert [path.tolist() for path in states.paths()] == [[0, 1, 2, 3], [0, 1, 5], [0, 1, 6], [7, 8]]


def test_outcome_labels_are_shares_of_the_samples(home: Path) -> None:
    """Against counting, sample by sample, which of them are right and begin with each text."""
    settings = job(home, "labels.method.kind=outcome", name="outcome")
    labels = table(label(settings))
    assert labels["origin"].unique().to_pylist() == ["samples"]
    states, times = math_states(labels), labels["multiplicity"].to_numpy()
    right = AnswerVerifier().outcome(states)
    over = states.ending != Ending.OPEN
    for i in range(len(labels)):
        begins = np.array([t.startswith(states.text[i]) for t in states.text]) & (states.problem == states.problem[i])
        mine = begins & over if not over[i] else np.arange(len(labels)) == i
        assert labels["num_rollouts"][i].as_py() == times[mine].sum()
        assert labels["successes"][i].as_py() == (times[mine] * right[mine]).sum()
    bare = labels["num_rollouts"].to_numpy()[(states.text == "") & ~over]
    assert bare.tolist() == [6] * len(QUESTIONS)
    assert 0 < labels["successes"].to_numpy().sum() < times[over].sum() * 4


def test_first_error_rolls_out_as_fixed_labels_do_and_less(home: Path) -> None:
    fixed = table(label(job(home, name="fixed")))
    searched = table(label(job(home, "labels.method.kind=first_error", name="first_error")))
    assert fixed["id"].to_pylist() == searched["id"].to_pylist()
    own = np.array(searched["origin"].to_pylist()) == "rollouts"
    assert 3 < own.sum() < 0.5 * len(searched)
    for name in ("successes", "num_rollouts"):
        np.testing.assert_array_equal(searched[name].to_numpy()[own], fixed[name].to_numpy()[own])
    assert searched["num_rollouts"].to_numpy()[own].tolist() == [8] * own.sum()
    assert set(searched["origin"].to_pylist()) == {"rollouts", "samples", "inferred"}


def test_adaptive_takes_fewer_rollouts_of_what_is_certain(home: Path) -> None:
    settings = job(home, "labels.method.kind=adaptive", "labels.method.width=0.4", name="adaptive")
    work = label(settings)
    labels = table(work)
    finished = labels["ending"].to_numpy() != Ending.OPEN
    num = labels["num_rollouts"].to_numpy()
    assert set(num.tolist()) == {4, 8}
    assert (num[finished] == 4).all(), "what is over has one outcome"
    assert "origin" not in labels.column_names


def test_the_log_says_what_every_label_counts(home: Path) -> None:
    """Each label again, from the answers in the log; and the log resumes and repeats like the labels."""
    settings = job(home, "labels.log_rollouts=true", name="log")
    work = label(settings)
    labels, plain = table(work), table(label(job(home, name="plain")))
    assert labels.equals(plain), "keeping a log changes no label"
    log = work.folder.read_table("rollouts")
    assert len(log) == 8 * len(labels)
    by_id: dict[str, list[dict]] = {}
    for row in log.to_pylist():
        by_id.setdefault(row["id"], []).append(row)
    for row in labels.to_pylist():
        mine = by_id[row["id"]]
        assert len(mine) == row["num_rollouts"]
        assert sum(rollout["correct"] for rollout in mine) == row["successes"]
        assert [rollout["ending"] for rollout in mine].count(Ending.OPEN) == 0
        none = np.full(len(mine), "", object)
        ends = roots(none, np.full(len(mine), "1", object)).replace(
            text=np.array([row["text"] + rollout["text"] for rollout in mine], object),
            ending=np.array([rollout["ending"] for rollout in mine], np.int8),
        )
        assert AnswerVerifier().outcome(ends).tolist() == [float(rollout["correct"]) for rollout in mine]
        for text, rollout in zip(ends.text, mine, strict=True):
            assert rollout["answer"] in text
            assert bool(rollout["answer"]) == (rollout["ending"] == Ending.ANSWERED)
    before = {name: work.folder.read_bytes(name) for name in work.folder.files("rollouts")}
    first = work.batches().popitem()[0]
    task = CountTask(settings)
    work.commit(first, *task(work.rows(first)))
    assert {name: work.folder.read_bytes(name) for name in work.folder.files("rollouts")} == before
    manifest = finish(settings, work, 0.0)
    assert any(name.startswith("rollouts/") for name in manifest.files)


def test_problems_stay_whole_where_a_method_asks(home: Path) -> None:
    settings = job(home, "labels.method.kind=outcome", name="whole")
    work = LabelWork(settings.artifact("label"), settings.identity())
    plan(settings, work, 5)
    parts = [set(work.rows(batch)["problem_id"].to_pylist()) for batch in work.batches()]
    assert sum(map(len, parts)) == len(set().union(*parts)) == len(QUESTIONS)
    assert len(parts) > 2


def test_a_row_without_its_solutions_is_a_dead_letter_with_its_problem(home: Path) -> None:
    settings = job(home, "labels.method.kind=outcome", name="partial")
    work = LabelWork(settings.artifact("label"), settings.identity())
    plan(settings, work, 1000)
    rows = work.rows(work.left()[0])
    lost = rows.filter(pa.array([p != "p1" or e == Ending.OPEN for p, e in zip(
        rows["problem_id"].to_pylist(), rows["ending"].to_pylist(), strict=True)]))  # fmt: skip
    labels, rejected = CountTask(settings)(lost)
    assert len(labels) + len(rejected) == len(lost)
    assert {r.id.split("/")[0] for r in rejected} == {"p1"}
    assert "a finished solution for every beginning" in rejected[0].error


def test_workers_mine_the_rows_that_the_driver_would(home: Path) -> None:
    """In any order, some of it twice, taken up by another process: the same batches, the same dead letters."""
    with (home / "mine.jsonl").open() as own:
        (home / "bad.jsonl").write_text(own.read() + '\n{"question": "2+2"}')
    alone, shared = (job(home, f"problems.path={home / 'bad.jsonl'}", name=name) for name in ("alone", "shared"))
    expected = LabelWork(alone.artifact("label"), alone.identity())
    plan(alone, expected, 30)
    work = LabelWork(shared.artifact("label"), shared.identity())
    mining = MiningWork(shared.artifact("label"), shared.identity())
    plan_mining(shared, mining, shared.pool.mining_batch_size)
    assert list(mining.batches().values()) == [3, 3, 1]
    task = MineTask(shared)
    for batch in [*reversed(mining.left()), mining.left()[0]]:
        mining.commit(batch, *task(mining.rows(batch)))
    again = MiningWork(shared.artifact("label"), shared.identity())
    assert again.planned and not again.left()
    plan_mined(shared, work, again, 30)
    assert not again.planned, "what was mined is gone once it is planned"
    assert work.batches() == expected.batches()
    for batch in work.batches():
        ours, theirs = work.rows(batch), expected.rows(batch)  # rounding of log p depends on the batch it is made in
        np.testing.assert_allclose(ours["log_prob"], theirs["log_prob"], atol=1e-4)
        assert ours.drop_columns("log_prob").equals(theirs.drop_columns("log_prob"))
    assert work.problems().equals(expected.problems())
    dead = work.scratch.read_table("dead/problems.parquet")
    assert dead.equals(expected.scratch.read_table("dead/problems.parquet"))
    assert "answer" in dead["error"][0].as_py()


def test_methods_that_a_domain_cannot_serve_are_refused(tmp_path: Path) -> None:
    for setting, message in (("labels.method.kind=outcome", "paths"), ("labels.log_rollouts=true", "rollout_columns")):
        settings = parse_config(label_job(find_wing("walk")), [f"store={tmp_path}", "problems.num_train=2", setting])
        work = LabelWork(settings.artifact("label"), settings.identity())
        with pytest.raises(ValueError, match=message):
            plan(settings, work, 10)


def test_rollouts_of_an_empty_batch_have_columns() -> None:
    none = roots(np.zeros(0, object), np.zeros(0, object))
    assert set(none.rollout_columns(none)) == {"text", "answer", "ending", "num_tokens"}
    assert none.paths() == []
