"""Trivial rivals come unasked and learn from no test problem, and the first sentence says whether they are beaten."""

import numpy as np
import pyarrow as pa
import pytest

from stepward.core.rivals import Material
from stepward.core.storage import Folder
from stepward.core.wing import find_wing
from stepward.domains.math.rewards.rivals import LengthAndLikelihood, WordPairs
from stepward.domains.math.states import Ending
from stepward.domains.walk.states import roots
from stepward.evaluate.proposers import RivalProposer
from stepward.evaluate.settings import evaluate_settings
from stepward.rewards.guides import RivalGuide
from stepward.statistics.rivals import answer, beats, sentence

TRAINED = {"prm": {"kind": "trained", "artifact": "prm"}}
ASKED = {"domain": "walk", "declared": ("a", "b"), "asked": ("a", "b"), "guide": "prm"}


def test_rivals_stand_beside_every_trained_guide_unasked_and_are_left_out_by_a_setting():
    walk, math, pde = (evaluate_settings(find_wing(name)) for name in ("walk", "math", "pde"))
    chosen = walk(guides=TRAINED)
    assert list(chosen.guides) == list(chosen.families()[chosen.main]) == ["prm", "greedy_path", "distance"]
    assert "word_pairs" in math().guides and "word_pairs" not in math().families()[math().main], "samples show them"
    assert {"constant", "read_off_state"} <= set(pde().arms)
    own = pde(guides=TRAINED, arms={"base": {"proposer": {"kind": "deterministic"}}, "prm": {"guide": "prm"}})
    assert own.arms["constant"].proposer == RivalProposer(rival="constant")
    assert own.guides["near_deterministic"] == RivalGuide(rival="near_deterministic")
    assert list(walk(guides=TRAINED, rivals=[]).guides) == ["prm"]
    assert list(walk(guides={"distance": {"kind": "distance"}}).guides) == ["distance"], "nothing is trained"
    assert walk(**chosen.identity()).identity() == chosen.identity()
    with pytest.raises(ValueError, match="Unknown rival 'nobody'"):
        walk(rivals=["nobody"])


def row(difference, low, high, p, **changes):
    known = {"arm": "prm", "reference": "a", "mean": 0.5 + difference, "reference_mean": 0.5, "num_pairs": 100}
    tested = {"difference": difference, "low": low, "high": high, "holm_p_value": p}
    return known | tested | {"budget": 20, "at": " at 20 expansions", "measure": "solved"} | changes


def test_a_guide_beats_its_rivals_only_where_it_beats_every_one_of_them():
    clear, near = row(0.2, 0.1, 0.3, 0.001), row(0.02, -0.01, 0.05, 0.3, reference="b")
    lost = row(-0.1, -0.2, -0.02, 0.01, reference="b")
    assert [beats([clear]), beats([clear, near]), beats([clear, near, lost])] == ["beats", "open", "loses"]
    assert "not shown to beat its trivial rivals; b is the strongest (0.520 against 0.500" in sentence([clear, near])
    assert "does not beat its trivial rivals: b is better" in answer([clear, lost], **ASKED)
    far = row(0.9, 0.8, 1.0, 0.001, budget=1000)
    assert "every one" in answer([clear, lost, far], **ASKED, headline=1000), "the budget that is spoken of"


def test_what_was_not_compared_is_said():
    assert "declares none" in answer([], **ASKED | {"declared": ()})
    assert "a, b were left out by the setting rivals" in answer([], **ASKED | {"asked": ()})
    assert answer([row(0.2, 0.1, 0.3, 0.001)], **ASKED | {"asked": ("a",)}).endswith("setting rivals: b.")
    assert answer([], **ASKED | {"guide": ""}) == ""


def test_the_greedy_path_arrives_or_comes_last():
    walk = find_wing("walk")
    rule = walk.rewards["greedy_path"]().build(walk.domain)
    states = roots(np.array([5, 5, 5, 0, 0]), np.array([5, 6, 11, 50, 1]), 3)
    scores = rule.score(states, states)
    assert scores[:3].tolist() == [0.0, -1.0, -2.0], "5 → 10 → 11"
    assert scores[3] < -1000 and scores[4] == -1.0
    assert rule.score(states.take([]), states.take([])).shape == (0,)


def material(root, outcomes):
    """Labels of finished solutions: (split, text, right, log p)."""
    rows = [
        {"id": f"{i:03d}", "problem_id": str(i), "split": split, "status": "ok", "question": "", "answer": "",
         "text": text, "num_steps": 1, "num_tokens": 10, "last_tokens": 10, "log_prob": log_p,
         "ending": int(Ending.ANSWERED), "successes": 8 * right, "num_rollouts": 8}
        for i, (split, text, right, log_p) in enumerate(outcomes)
    ]  # fmt: skip
    folder = Folder(str(root))
    folder.write_table("labels/0.parquet", pa.Table.from_pylist(rows))
    return Material(folder, find_wing("math"), lambda: None, "solved", 0)


def test_word_pairs_see_what_single_words_cannot_and_learn_from_outcomes_alone(tmp_path):
    """Right where "ahead" goes with "+" and "behind" with "-": each word alone says nothing."""
    words = [("ahead", "+", 1), ("ahead", "-", 0), ("behind", "+", 0), ("behind", "-", 1)] * 20
    texts = [(f"Leo is {i} {w}: {i}{op}9\n#### 3", right) for i, (w, op, right) in enumerate(words)]
    train, rest = texts[:56], texts[56:]
    given = [("train", *t, -1.0) for t in train] + [("validation", *t, -1.0) for t in rest]
    labels = material(tmp_path, given)
    truths = np.array([right for _, right in rest], bool)
    states = labels.wing.states(labels.rows("validation"))
    for reach, learned in ((12, True), (0, False)):
        rival = WordPairs(reach=reach, num_features=2**12)
        fitted = rival.fit(labels)
        scores = rival.reward(fitted.weights).score(states, states)
        assert (((scores > 0.5) == truths).mean() > 0.95) == learned
        assert fitted.chosen["outcomes"] == 56
    with pytest.raises(ValueError, match="rivals never see test"):
        labels.rows("test")


def test_with_nothing_to_learn_from_a_rival_has_one_score(tmp_path):
    labels = material(tmp_path, [("train", "a\n#### 1", 1, -1.0), ("train", "b\n#### 2", 1, -2.0)])
    rival = LengthAndLikelihood()
    fitted = rival.fit(labels)
    states = labels.wing.states(labels.rows("train"))
    scores = rival.reward(fitted.weights).score(states, states)
    assert "nothing to learn" in fitted.chosen["C"]
    assert scores[0] == scores[1] == pytest.approx(2.5 / 3)
