"""Sampled solutions and their readings, with a small language model: independence, values, and costs."""

import numpy as np
import pytest

from stepward.core.cost import Ledger, metered_reward
from stepward.core.wing import find_wing
from stepward.domains.math.rewards.simple import RandomReward
from stepward.domains.math.states import MathStates, roots
from stepward.evaluate.held_out import HeldOut
from stepward.evaluate.samples.drawing import draw, path_values, reading_cost, solution_table, spending_table
from stepward.evaluate.samples.siblings import label_siblings
from stepward.evaluate.settings import evaluate_settings
from stepward.evaluate.study_settings import ValueStudy
from unit.math.small_models import small_proposer

WING = find_wing("math")
IDS = ["p0", "p1", "p2"]


class Reader:
    """Scores a text by its length; reading a question costs 7 tokens a problem, and a line what was sampled for it."""

    num_parameters = 5

    def score(self, parents: MathStates, children: MathStates) -> np.ndarray:
        return 1 / (1 + np.array([len(text) for text in children.text], float))

    def charged_tokens(self, children: MathStates) -> np.ndarray:
        tokens = children.last_tokens.astype(np.int64)
        first = np.flatnonzero(children.num_steps <= 1)
        tokens[first[np.unique(children.problem[first], return_index=True)[1]]] += 7
        return tokens


def problems() -> MathStates:
    questions = np.array(["a+1", "b", "1+b"], object)
    return roots(questions, np.array(["1", "b", "a"], object))


@pytest.fixture(scope="module")
def samples():
    return draw(problems(), IDS, 4, domain=WING.domain, proposer=small_proposer(), seed=0)


def test_a_sample_depends_on_its_problem_and_number_alone(samples):
    fewer = draw(problems().take([2]), ["p2"], 2, domain=WING.domain, proposer=small_proposer(), seed=0)
    assert fewer.ends.text.tolist() == samples.ends.text[8:10].tolist()
    assert fewer.spent["flops"].tolist() == samples.spent["flops"][8:10].tolist()
    assert not (WING.domain.status(samples.ends) == 0).any()
    assert samples.ends.problem.tolist() == [0] * 4 + [1] * 4 + [2] * 4


def test_samples_are_charged_their_own_tokens(samples):
    assert samples.spent["generated_tokens"].tolist() == samples.ends.num_tokens.tolist()
    assert np.allclose(samples.spent["flops"], 2 * small_proposer().num_parameters * samples.ends.num_tokens)


def test_values_are_folds_of_the_step_scores(samples):
    values = path_values(samples, Reader(), ("min", "last"))
    lengths = np.array([len(text) for text in samples.ends.text])
    assert np.allclose(values["last"], 1 / (1 + lengths))
    assert np.allclose(values["min"], values["last"])  # texts only grow


def test_costs_are_what_a_meter_charges_and_questions_are_read_once(samples):
    steps = [(parents, children) for _, parents, children in samples.steps]
    ledger = Ledger(3)
    with ledger.recording():
        metered_reward(Reader(), WING.domain).score(
            *(MathStates.concat([step[side] for step in steps]) for side in (0, 1))
        )
    assert reading_cost(Reader(), WING.domain, steps, 3)["flops"].tolist() == ledger.spent["flops"].tolist()
    table = spending_table(samples, IDS, (1, 4), {"reader": Reader()}, WING.domain).to_pylist()
    row = {(r["problem_id"], r["size"]): r for r in table if r["arm"] == "reader"}
    tokens = samples.ends.num_tokens.reshape(3, 4)
    for i, name in enumerate(IDS):
        assert row[name, 1]["scored_tokens"] == 7 + tokens[i, 0]
        assert row[name, 4]["scored_tokens"] == 7 + tokens[i].sum()


def test_a_solution_table_holds_answers_verdicts_and_values(samples):
    reward = RandomReward().build(WING.domain)
    table = solution_table(samples, IDS, {"random": (reward, ("last",))}, WING)
    assert table["problem_id"].to_pylist() == [name for name in IDS for _ in range(4)]
    for row in table.to_pylist():
        assert row["complete"] == (row["answer"] != "")
        assert not row["right"] or row["complete"]
    assert table["random/last"].to_numpy() == pytest.approx(path_values(samples, reward, ("last",))["last"])


@pytest.mark.parametrize("whole", [True, False])
def test_sibling_labels_do_not_depend_on_pieces(whole):
    """In one piece or state by state; with a policy that completes solutions, and with one that goes line by line."""

    class LineByLine:
        num_parameters, nfe = 1, 1

        def propose(self, states, *, num_candidates, rng):
            return small_proposer().propose(states, num_candidates=num_candidates, rng=rng)

    held = HeldOut(IDS, problems(), np.zeros(3, int), np.ones(3, int), None, None)
    study = ValueStudy(num_children=2, sibling_rollouts=6)
    policy = small_proposer() if whole else LineByLine()
    rest = {"policy": policy, "proposer": small_proposer(), "wing": WING, "seed": 0}
    table = label_siblings(held, 0, 3, study, **rest)
    parts = [label_siblings(held, i, i + 1, study, **rest) for i in range(3)]
    assert table["successes"].to_pylist() == [n for part in parts for n in part["successes"].to_pylist()]
    assert table["parent"].to_pylist() == [0, 0, 1, 1, 2, 2]
    for successes, times in zip(table["successes"].to_pylist(), table["num_rollouts"].to_pylist(), strict=True):
        assert 0 <= successes <= times


def test_equal_siblings_share_their_rollouts():
    """Greedy children of one parent are one text: one value, of all of their rollouts together."""

    held = HeldOut(IDS, problems(), np.zeros(3, int), np.ones(3, int), None, None)
    study = ValueStudy(num_children=3, sibling_rollouts=4)
    greedy = small_proposer(temperatures=(0.0,))
    table = label_siblings(held, 0, 3, study, policy=small_proposer(), proposer=greedy, wing=WING, seed=0)
    assert table["num_rollouts"].to_pylist() == [12] * 9
    for parent in range(3):
        assert len(set(table["successes"].to_pylist()[3 * parent : 3 * parent + 3])) == 1


def test_defaults_of_the_wing_hold_for_what_is_left_out_of_a_block():
    job = evaluate_settings(WING)
    assert job(values={"max_parents": 7}).values.sibling_rollouts == job().values.sibling_rollouts > 0
    assert job(samples=None).samples is None
    assert job(samples={"budgets": (4, 8), "budget": 8}).samples.sizes == job().samples.sizes
