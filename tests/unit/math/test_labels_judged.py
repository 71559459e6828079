"""A chat model as judge: its verdicts become labels, its prose does not, and rollouts must agree where asked to."""

import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from stepward.core.config import parse_config
from stepward.core.wing import find_wing
from stepward.domains.math import Ending
from stepward.domains.math.states import roots, state_columns
from stepward.label import LabelSettings, label_settings
from unit.math.fake_server import FakeServer

WING = find_wing("math")
TEXTS = {  # of one problem: two solutions that share a line; and one of another
    "p": [("", 0), ("1+1=2\n", 0), ("1+1=2\n2+2=5\n", 0), ("1+1=2\n2+2=5\nA: 5\n", 1), ("1+1=2\nA: 2\n", 1)],
    "q": [("prose\n", 0), ("prose\nA: 1\n", 1)],
}

ALL = {
    "": (2, 2),
    "1+1=2\n": (2, 2),
    "1+1=2\n2+2=5\n": (0, 1),
    "1+1=2\n2+2=5\nA: 5\n": (0, 1),
    "1+1=2\nA: 2\n": (1, 1),
}  # right and judged of every beginning of the first problem


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stepward.domains.math.server.client.FIRST_WAIT", 0.01)


def rows() -> pa.Table:
    found = [(problem, text, over) for problem, texts in TEXTS.items() for text, over in texts]
    names = np.array([f"Question {problem}?" for problem, *_ in found], object)
    states = roots(names, np.array(["2"] * len(found), object)).replace(
        text=np.array([text for _, text, _ in found], object),
        ending=np.array([Ending.ANSWERED if over else Ending.OPEN for *_, over in found], np.int8),
    )
    columns = {"id": [f"{i}" for i in range(len(found))], "problem_id": [problem for problem, *_ in found]}
    columns |= {"split": ["train"] * len(found), "question": names, "answer": states.reference}
    return pa.table({**{k: pa.array(v, pa.string()) for k, v in columns.items()}, **state_columns(states)})


def settings(url: str, kind: str, **more: Any) -> LabelSettings:
    at = "labels.judge" if kind == "consensus" else "labels"
    values = {f"{at}.{name}": value for name, value in {"url": url, "model": "judge", "retries": 1, **more}.items()}
    return parse_config(label_settings(WING), [f"labels.kind={kind}", *(f"{k}={v}" for k, v in values.items())])


def judge(messages: list[dict[str, str]]) -> str:
    """Finds the line 2+2=5, and cannot keep to a number where it reads prose."""
    text = messages[-1]["content"]
    assert text.count("<step ") == 2 + ("2+2=5" in text)
    if "prose" in text:
        return "The first step looks odd to me."
    return f"Checked.\n\\boxed{{{2 if '2+2=5' in text else 0}}}"


def labelled(
    kind: str, chat: Callable[[Any], str], **more: Any
) -> tuple[dict[str, tuple[int, int]], list[Any], pa.Table]:
    with FakeServer(chat=chat).running() as fake:
        stage = settings(fake.url, kind, **more)
        table, rejected = stage.labels.task(stage, 64)(rows())
    counts = zip(
        table["text"].to_pylist(), table["successes"].to_pylist(), table["num_rollouts"].to_pylist(), strict=True
    )
    return {text: (right, num) for text, right, num in counts}, rejected, table


def test_beginnings_are_right_until_the_first_wrong_step_and_prose_is_a_dead_letter() -> None:
    found, rejected, table = labelled("judged", judge)
    assert found == ALL
    assert [bad.id for bad in rejected] == ["5", "6"]
    assert "expected the number of a step in \\boxed{}, got 'The first step looks odd" in rejected[0].error
    assert sum(table["judge_tokens"].to_pylist()) == 14


def test_votes_are_counted_each_with_a_seed_of_its_own_and_steps_must_exist() -> None:
    says = iter([2, 2, 3, 0, 0, 9, 0, 0, 0])

    def chat(messages: Any) -> str:
        return f"\\boxed{{{next(says)}}}"

    found, rejected, _ = labelled("judged", chat, num_votes=3, temperature=1.0, in_flight=1)
    assert not rejected
    assert found["1+1=2\n2+2=5\n"] == (1, 3) and found["1+1=2\nA: 2\n"] == (2, 2), "9 is no step of two"
    with pytest.raises(ValueError, match="several answers at temperature 0 say the same"):
        settings("http://h", "judged", num_votes=3)


@pytest.mark.parametrize(
    ("hopeless", "kept"),
    [
        (("2+2=5",), ALL),
        (("A: 5",), {"": (1, 1), "1+1=2\n": (1, 1), "1+1=2\nA: 2\n": (1, 1)}),
        (("1+1=2",), {}),
    ],
)
def test_consensus_keeps_the_solutions_on_which_judge_and_rollouts_agree(
    hopeless: tuple[str, ...], kept: dict[str, tuple[int, int]]
) -> None:
    def roll_out(table: pa.Table) -> pa.Table:
        lost = [any(word in text for word in hopeless) for text in table["text"].to_pylist()]
        return table.append_column("successes", pa.array([0 if bad else 3 for bad in lost]))

    with FakeServer(chat=judge).running() as fake:
        stage = settings(fake.url, "consensus")
        task = stage.labels.task(stage, 64)
        task.rollouts = types.SimpleNamespace(label=roll_out)
        table, rejected = task(rows())
    counts = zip(
        table["text"].to_pylist(), table["successes"].to_pylist(), table["num_rollouts"].to_pylist(), strict=True
    )
    assert {text: (right, num) for text, right, num in counts} == kept
    why = {bad.id: bad.error for bad in rejected}
    assert len(why) + len(kept) == len(rows())
    if "3" in why:
        assert why["3"].startswith("no consensus: the judge finds step 2 wrong, rollouts step")
