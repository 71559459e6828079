"""Packages from outside add domains, a reward model, a search and a kind of label, with not a line changed here."""

import re
from pathlib import Path

import pytest

HERE = Path(__file__).parent

GAME24 = """
import numpy as np
from stepward.core.cost import Cost
from stepward.core.seeding import Rng
from stepward.core.wing import find_wing
from stepward.search import BestFirst
from stepward.testing import check_domain, check_proposer, check_reward, check_search
from stepward.testing.contracts import children_of

wing = find_wing("game24")
hands = wing.states(wing.problems(num_test=12).problems("test", 0)[0])
player, exact = wing.proposers["player"]().build(), wing.rewards["exact"]().build(wing.domain)
check_domain(wing.domain, hands)
check_proposer(player, wing.domain, hands, num_candidates=6)
check_reward(exact, wing.domain, *children_of(hands, player, 6))
check_search(BestFirst(num_candidates=36), wing.domain, player, exact, hands)
found = BestFirst(num_candidates=36)(hands, domain=wing.domain, proposer=player, reward=exact,
    budget=Cost.limit(expansions=3), rng=Rng.from_seed(0, len(hands), "search"))
print("solved", int(wing.verifier().outcome(found.states.take(found.best)).sum()), "of", len(hands))
"""

EXTRAS = """
import numpy as np
from stepward.core.cost import Cost
from stepward.core.seeding import Rng
from stepward.core.wing import find_wing
from stepward.label import label_settings
from stepward.search import build_search
from stepward.testing import check_reward, check_search
from stepward.testing.contracts import children_of

walk = find_wing("walk")
roots = walk.states(walk.problems(num_test=40).problems("test", 0)[0])
proposer, distance = walk.proposers["enumerate"]().build(), walk.rewards["distance"]().build(walk.domain)
check_reward(walk.rewards["parity"]().build(walk.domain), walk.domain, *children_of(roots, proposer, 6))
check_search(build_search({"kind": "curious"}), walk.domain, proposer, distance, roots)
settings = label_settings(walk)(labels={"kind": "reachable"})
successes, tried = settings.labels.judge(roots, settings)
print("reachable", np.array_equal(successes > 0, walk.known.exact(roots) > 0), tried.sum())
"""


HEAT = """
import numpy as np
from stepward.core.cost import Cost
from stepward.core.seeding import Rng
from stepward.core.wing import find_wing
from stepward.rewards.factory import Guides
from stepward.rewards.guides import OracleGuide
from stepward.search import Beam
from stepward.testing import check_domain, check_proposer, check_reward
from stepward.testing.contracts import children_of

wing = find_wing("heat")
rods = wing.states(wing.problems(num_test=12).problems("test", 0)[0])
guess, sure = wing.proposers["guess"]().build(), wing.proposers["guess"](spread=0).build()
look_back = wing.rewards["look_back"]().build(wing.domain)
check_domain(wing.domain, rods)
check_proposer(guess, wing.domain, rods, num_candidates=4)
check_reward(look_back, wing.domain, *children_of(rods, guess, 4))
parents, children = wing.steps(wing.mining().mine(wing.problems(num_test=2).problems("test", 0)[0], 0))
assert np.allclose(parents.now, children.before) and (children.step == parents.step + 1).all()
oracle = Guides({"oracle": OracleGuide()}, store="", wing=wing)["oracle"]

def error(proposer, reward, k):
    found = Beam(width=1, num_candidates=k, deduplicate=False)(rods, domain=wing.domain, proposer=proposer,
        reward=reward, budget=Cost.limit(expansions=99), rng=Rng.from_seed(0, len(rods), "search"))
    return -wing.verifier().outcome(found.states).mean()

print("ordered", error(guess, oracle, 16) < error(guess, look_back, 16) < error(sure, look_back, 1))
"""


def test_a_domain_with_an_error_obeys_the_contracts_and_has_something_to_verify(run):
    done = run("-c", HEAT)
    assert done.returncode == 0, done.stderr
    assert "ordered True" in done.stdout, "oracle < looking back < one guess"


def test_a_domain_obeys_the_contracts_and_is_searched(run):
    done = run("-c", GAME24)
    assert done.returncode == 0, done.stderr
    assert "solved 12 of 12" in done.stdout


def test_a_reward_a_search_and_a_kind_of_label_for_a_domain_of_others(run):
    done = run("-c", EXTRAS)
    assert done.returncode == 0, done.stderr
    assert "reachable True 40.0" in done.stdout, "what can be reached is what the policy reaches at times"


def test_without_the_package_the_error_names_what_there_is(run):
    done = run("-c", "from stepward.core.wing import find_wing; find_wing('digits')")
    assert done.returncode != 0
    assert re.search(r"expected one of \[.*'game24'.*'walk'\]", done.stderr)


SMALL = {
    "game24": [
        "label.problems.num_train=20", "label.problems.num_validation=6", "label.problems.num_test=8",
        "label.labels.num_rollouts_train=8", "label.labels.num_rollouts_validation=8",
        "label.labels.num_rollouts_test=8", "prm.optimisation.num_epochs=2",
    ],
    "heat": ["label.problems.num_train=16", "prm.optimisation.num_epochs=3"],
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.parametrize("domain", sorted(SMALL))
def test_a_whole_experiment_of_a_package(run, domain, tmp_path, project_root):
    """label → train → tune → evaluate → report, from a folder that knows nothing of the project."""
    job = str(project_root / "jobs" / "experiment.py")
    words = [f"domain={domain}", f"store={tmp_path}/store", f"tracking.uri=sqlite:///{tmp_path}/mlflow.db"]
    done = run(job, *words, *SMALL[domain], cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    store = tmp_path / "store" / domain
    made = {path.parent.relative_to(store) for path in store.rglob("manifest.json")}
    assert {Path(stage) for stage in ("label/default", "train/prm", "tune/default", "evaluate/default")} <= made
    assert (store / "report" / "default" / "report.html").stat().st_size > 10_000
