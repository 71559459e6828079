"""Problems, mining and the verifier of the math wing."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from stepward.core.interfaces import Status
from stepward.core.wing import find_wing
from stepward.domains.math import (
    AnswerVerifier,
    Ending,
    LanguageModelSettings,
    MathDomain,
    MathMining,
    MathProblems,
    math_states,
)
from stepward.domains.math.data import problem_table, split_by_text
from stepward.domains.math.problems import Problem
from stepward.domains.math.states import roots
from stepward.domains.math.steps import LINES
from stepward.label import label_settings
from stepward.testing import check_domain
from unit.math.small_models import small_model, small_tokenizer


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("model")
    small_model().save_pretrained(folder)
    small_tokenizer().save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def problems() -> pa.Table:
    questions = ("a+1", "b", "1+2", "ab", "2+b")
    return problem_table(Problem(f"p{i}", q, "1", "test") for i, q in enumerate(questions))


@pytest.fixture(scope="module")
def mining(model_folder: str) -> MathMining:
    model = LanguageModelSettings(model=model_folder, temperatures=(0.7, 1.0), max_steps=4, max_step_tokens=5)
    return MathMining(model=model, samples_per_problem=12)


@pytest.fixture(scope="module")
def mined(mining: MathMining, problems: pa.Table) -> pa.Table:
    return mining.mine(problems, 0)


def test_math_is_an_installed_wing() -> None:
    assert find_wing("math").name == "math"


def test_labels_of_language_models_take_fewer_rollouts_by_default() -> None:
    wing = find_wing("math")
    assert [label_settings(wing)().labels.num_rollouts(split) for split in ("train", "validation", "test")] == [
        8,
        64,
        16,
    ]
    assert label_settings(find_wing("walk"))().labels.num_rollouts("train") == 64


def test_domain_contract(mined: pa.Table) -> None:
    check_domain(MathDomain(), math_states(mined))


def test_generated_splits_share_no_question() -> None:
    source = MathProblems(num_train=60, num_validation=60, num_test=60)
    tables = {split: source.problems(split, 0)[0] for split in ("train", "validation", "test")}
    questions = {split: set(table["question"].to_pylist()) for split, table in tables.items()}
    assert all(len(table) == 60 for table in tables.values())
    assert not questions["train"] & questions["validation"] and not questions["test"] & questions["train"]
    assert not questions["validation"] & questions["test"]


def test_longer_problems_are_longer() -> None:
    table, _ = MathProblems(family="more_steps", num_test=20).problems("test", 0)
    assert min(solution.count("\n") for solution in table["solution"].to_pylist()) >= 6


def test_own_problems_and_bad_rows(tmp_path: Path) -> None:
    """Each bad row is told with its line and its reason, and the good ones are used."""
    rows = [
        {"id": "a", "question": "1+1?", "answer": "2", "split": "test"},
        {"question": "no answer"},
        {"question": "2+2?", "answer": 4},
        {"id": "a", "question": "again", "answer": "1"},
        {"question": "q", "answer": "1", "split": "dev"},
        {"answer": "1"},
    ]
    path = tmp_path / "mine.jsonl"
    path.write_text("\n".join([*map(json.dumps, rows), "{broken", "[1]"]))
    source = MathProblems(source="file", path=str(path), file_split="train")
    train, rejected = source.problems("train", 0)
    assert train.select(["id", "question", "answer"]).to_pylist() == [
        {"id": "mine/2", "question": "2+2?", "answer": "4"}
    ]
    assert source.problems("test", 0)[0]["id"].to_pylist() == ["a"]
    reasons = {row.id: row.error for row in rejected}
    assert [row.split(":")[-1] for row in reasons] == ["2", "4", "5", "6", "7", "8"]
    for line, words in [("2", "no answer"), ("4", "unique"), ("5", "split"), ("6", "no question"), ("7", "JSON")]:
        assert words in next(error for place, error in reasons.items() if place.endswith(f":{line}"))


def test_a_file_is_cut_into_splits_by_question(tmp_path: Path) -> None:
    path = tmp_path / "test.jsonl"
    rows = [{"question": f"Question {i}?", "answer": f"so\n#### {i}"} for i in range(400)]
    path.write_text("\n".join(map(json.dumps, rows)))
    source = MathProblems(source="gsm8k", path=str(path))
    parts = {split: source.problems(split, 0)[0]["id"].to_pylist() for split in ("train", "validation", "test")}
    assert sorted(row for part in parts.values() for row in part) == sorted(f"gsm8k/test/{i}" for i in range(400))
    share = np.array([len(parts[s]) for s in ("train", "validation", "test")]) / 400
    expected = np.array([0.7, 0.1, 0.2])
    assert (np.abs(share - expected) < 4 * np.sqrt(expected * (1 - expected) / 400)).all()
    whole = MathProblems(source="gsm8k", path=str(path), file_split="test", num_test=30).problems("test", 0)[0]
    assert whole["answer"].to_pylist() == [str(i) for i in range(30)]


def test_split_by_text_knows_its_parts() -> None:
    assert {split_by_text(str(i), (50, 50)) for i in range(50)} == {0, 1}
    assert {split_by_text(str(i), (100,)) for i in range(50)} == {0}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"path": "x.jsonl"}, "path.*no effect"),
        ({"file_split": "test"}, "file_split.*no effect"),
        ({"source": "gsm8k", "family": "more_steps"}, "family.*no effect"),
        ({"source": "file"}, "expected path"),
    ],
)
def test_settings_without_effect_are_errors(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MathProblems(**settings)


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(ValueError, match="there is no nowhere"):
        MathProblems(source="file", path="nowhere.jsonl").problems("train", 0)


def test_mined_rows_are_all_beginnings_of_the_samples(mined: pa.Table, problems: pa.Table) -> None:
    rows = mined.to_pylist()
    assert len({row["id"] for row in rows}) == len(rows)
    assert len({(row["problem_id"], row["text"], row["ending"]) for row in rows}) == len(rows)
    assert set(mined["problem_id"].to_pylist()) == set(problems["id"].to_pylist())
    for problem in problems["id"].to_pylist():
        mine = [row for row in rows if row["problem_id"] == problem]
        bare = next(row for row in mine if not row["num_steps"])
        assert bare["text"] == "" and bare["multiplicity"] == 12  # every sample begins with the bare question
        assert sum(row["multiplicity"] for row in mine if row["ending"] != Ending.OPEN) == 12  # and ends once
        texts = {row["text"] for row in mine if row["ending"] == Ending.OPEN}
        for row in mine:
            assert row["text"].startswith(row["text"].rstrip("\n").rpartition("\n")[0])
            before = "".join(LINES.split(row["text"])[: max(row["num_steps"] - 1, 0)])
            assert {before, before.rstrip("\n") + "\n"} & texts or row["text"] == ""  # what is blank is no step


def test_mining_does_not_depend_on_the_problems_beside(mined: pa.Table, mining: MathMining, problems: pa.Table) -> None:
    apart = pa.concat_tables([mining.mine(problems.slice(0, 2), 0), mining.mine(problems.slice(2), 0)])
    for name in ("id", "text", "ending", "num_tokens", "multiplicity", "trace"):
        assert apart[name].to_pylist() == mined[name].to_pylist(), name
    other = mining.mine(problems, 1)
    assert other["text"].to_pylist() != mined["text"].to_pylist()


def test_some_prefixes_of_a_sample(mining: MathMining, problems: pa.Table, mined: pa.Table) -> None:
    few = mining.model_copy(update={"max_prefixes": 1}).mine(problems, 0)
    assert (few["ending"].to_numpy() != Ending.OPEN).all()  # the finished one always
    assert few["multiplicity"].to_numpy().sum() == 12 * len(problems)
    some = mining.model_copy(update={"max_prefixes": 2}).mine(problems, 0)
    assert len(few) < len(some) < len(mined)
    texts = set(zip(mined["problem_id"].to_pylist(), mined["text"].to_pylist(), strict=True))
    assert set(zip(some["problem_id"].to_pylist(), some["text"].to_pylist(), strict=True)) <= texts


def test_the_verifier_reads_answers_and_nothing_else() -> None:
    cases = [
        ("#### 1,234", "1234", Ending.ANSWERED, 1),
        ("so it is 3\n#### 0.5", "\\frac12", Ending.ANSWERED, 1),
        ("#### 21", "1", Ending.ANSWERED, 0),
        ("#### 1", "1", Ending.OUT_OF_STEPS, 0),  # dead, whatever its text says
        ("1", "1", Ending.OPEN, 0),
        ("#### 1", "", Ending.ANSWERED, 0),
        ("####", "1", Ending.ANSWERED, 0),
    ]
    text, reference = (np.array([case[i] for case in cases], object) for i in (0, 1))
    states = roots(reference, reference).replace(text=text, ending=np.array([case[2] for case in cases], np.int8))
    assert AnswerVerifier().outcome(states).tolist() == [case[3] for case in cases]
    assert AnswerVerifier().outcome(states.take(np.zeros(0, np.int64))).shape == (0,)


def test_every_status_occurs_among_mined_rows(mined: pa.Table) -> None:
    assert set(MathDomain().status(math_states(mined)).tolist()) == set(Status)
