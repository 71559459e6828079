"""Texts through a reward model, and a search with one's own policy."""

import numpy as np
import pytest

import stepward as sw
from stepward.api import PRM
from stepward.core.storage import Folder
from stepward.core.wing import find_wing

MATH = find_wing("math")


class CountsEquals:
    """Scores a state by how many equals signs its text has."""

    num_parameters = 0

    def score(self, parents, children):
        return np.array([text.count("=") for text in children.text], float)


@pytest.fixture
def prm():
    return PRM(CountsEquals(), MATH, "nowhere")


def test_every_step_gets_a_score(prm):
    assert prm.score("What is 3 + 4?", ["Add.", "3+4=7", "#### 7"]).tolist() == [0, 1, 1]
    assert prm.table("What is 3 + 4?", ["3+4=7"])["score"].tolist() == [1]


def test_several_questions_are_one_batch(prm):
    first, second = prm.score(["a?", "b?"], [["1=1", "2=2"], ["x"]])
    assert first.tolist() == [1, 2]
    assert second.tolist() == [0]


@pytest.mark.parametrize(
    ("question", "steps", "words"),
    [("a?", [], "at least one step"), (["a?", "b?"], [["x"]], "one list for each of 2 questions, got 1")],
)
def test_what_has_no_steps_is_refused(prm, question, steps, words):
    with pytest.raises(ValueError, match=words):
        prm.score(question, steps)


def _generate(questions, steps, num):
    return [["no idea", "3+4=7"][:num] if not begun else [f"#### {len(begun[-1])}"] * num for begun in steps]


def test_a_search_asks_ones_own_function_and_follows_the_guide(prm):
    found = sw.search("What is 3 + 4?", prm, generate=_generate, search={"kind": "best_first", "num_candidates": 2})
    assert found.solutions == [["3+4=7", "#### 5"]]
    assert found.table["answer"].tolist() == ["5"]
    assert "1 of 1 questions" in found._repr_html_()


def test_the_result_of_a_question_does_not_depend_on_its_neighbours(prm):
    options = {"generate": _generate, "search": {"kind": "beam", "width": 2, "num_candidates": 2}}
    alone, beside = sw.search("b?", prm, **options), sw.search(["a?", "b?"], prm, **options)
    assert alone.solutions[0] == beside.solutions[1]


def test_an_empty_step_ends_a_solution_without_an_answer(prm):
    found = sw.search("a?", prm, generate=lambda questions, steps, num: [[""] * num for _ in questions])
    assert found.solutions == [None]


def test_a_function_that_gives_too_few_steps_is_named(prm):
    with pytest.raises(ValueError, match="generate: expected 4 next steps for each of 1 solutions, got \\[1\\] for 1"):
        sw.search("a?", prm, generate=lambda questions, steps, num: [["x"] for _ in questions])


def test_a_guide_without_training_is_named_by_its_kind():
    assert sw.search("a?", "length", generate=lambda q, s, num: [["#### 1"] * num for _ in q]).solutions == [["#### 1"]]


def test_a_trained_text_model_reads_texts(tmp_path):
    learner = MATH.learners["outcome"]()
    module = learner.module()
    weights = {name: value.detach().numpy() for name, value in module.state_dict().items()}
    Folder(str(tmp_path)).write_weights("weights.safetensors", weights)
    described = {"kind": "outcome", "settings": learner.model_dump(mode="json"), "domain": "math"}
    Folder(str(tmp_path)).write_json("reward.json", described)
    scores = sw.load(tmp_path).score("Tom has 3 apples and buys 4. How many?", ["3+4=7", "#### 7"])
    assert scores.shape == (2,)
    assert ((scores > 0) & (scores < 1)).all()
