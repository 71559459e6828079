"""Scores over HTTP and in the words of other libraries: the same numbers, and a sentence for what cannot be scored."""

import asyncio
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from stepward.core.wing import find_wing
from stepward.rewards.scorer import Scorer
from stepward.runtime.serving import scoring_app

fastapi = pytest.importorskip("fastapi", reason="the extra serve is not installed")
WING = find_wing("math")


class Shares:
    """A tenth a step; NaN for a line of that name."""

    num_parameters = 3

    def score(self, parents: Any, children: Any) -> np.ndarray:
        assert (parents.num_steps + 1 == children.num_steps).all()
        return np.where([text.endswith("nan\n") for text in children.text], np.nan, children.num_steps / 10)


def call(path: str, body: Any) -> tuple[int, Any]:
    """A request to the application, without a server."""
    import json

    app, sent = scoring_app(Shares(), WING, max_solutions=2), []
    scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "http_version": "1.1",
             "headers": [(b"content-type", b"application/json")], "asgi": {"version": "3.0"}}  # fmt: skip

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    return sent[0]["status"], json.loads(b"".join(part.get("body", b"") for part in sent[1:]))


def test_one_and_several_solutions_are_scored() -> None:
    assert call("/score", {"question": "1+1?", "steps": ["so", "A: 2"]}) == (200, {"scores": [0.1, 0.2]})
    many = {"solutions": [{"question": "q", "steps": ["a"]}, {"question": "p", "steps": ["a", "b", "c"]}]}
    status, found = call("/score/batch", many)
    assert status == 200 and [len(scores) for scores in found["scores"]] == [1, 3]


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("/score", {"question": "q", "steps": []}, "steps: List should have at least 1 item"),
        ("/score", {"question": "q", "steps": ["a", 3]}, "steps.1: Input should be a valid string"),
        ("/score", {"steps": ["a"]}, "question: Field required"),
        ("/score", {"question": "q", "steps": ["nan"]}, "no finite number"),
        ("/score/batch", {"solutions": [{"question": "q", "steps": ["a"]}] * 3}, "expected at most 2, got 3"),
    ],
)
def test_what_cannot_be_scored_is_refused_with_a_sentence(path: str, body: Any, said: str) -> None:
    status, found = call(path, body)
    assert status == 422 and said in found["error"]


def test_other_libraries_ask_for_a_number_of_a_text() -> None:
    scorer = Scorer(Shares(), WING)
    assert scorer.score("1+1?", "so\n\nA: 2") == pytest.approx(0.2)
    assert scorer("1+1?", ["so", "so\nA: 2\n"]) == pytest.approx([0.1, 0.2])
    chat = [{"role": "system", "content": "s"}, {"role": "user", "content": "1+1?"}]
    told = SimpleNamespace(messages=[SimpleNamespace(role="user", content="1+1?")])
    for prompt in (chat, told):
        assert asyncio.run(scorer.ascore(prompt, ["so"])) == pytest.approx([0.1])
    assert Scorer(Shares(), WING, "product").score("q", "a\nb") == pytest.approx(0.02)
    with pytest.raises(ValueError, match="expected probabilities"):
        scorer.score("q", "\n".join("abcdefghijk"))
    with pytest.raises(ValueError, match="messages with one of a user"):
        scorer.score([{"role": "system", "content": "s"}], "a")
    with pytest.raises(ValueError, match="at least one step"):
        scorer.score("q", "\n")
