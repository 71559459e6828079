"""A search can see scores and states, never the verdict on a solution."""

import ast
import inspect
from pathlib import Path

import numpy as np
import pytest

import stepward.search
from stepward.core.config import validate
from stepward.core.cost import Cost
from stepward.core.seeding import Rng
from stepward.core.wing import find_wing
from stepward.domains.walk.verifier import TargetVerifier
from stepward.search import SEARCHES, run_search

FORBIDDEN = {"Verifier", "verifier", "outcome", "Wing", "wing", "find_wing", "wings", "import_module", "__import__"}


def names_used(source: str) -> set[str]:
    tree = ast.parse(source)
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    used |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    used |= {
        alias.name.split(".")[-1] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    return used


@pytest.mark.parametrize("file", sorted(Path(stepward.search.__file__).parent.glob("*.py")), ids=lambda f: f.name)
def test_the_code_of_a_search_names_no_verifier(file):
    assert not names_used(file.read_text()) & FORBIDDEN


def test_the_check_above_can_fail():
    assert names_used("from stepward.core.wing import find_wing\nfind_wing('walk').verifier()") & FORBIDDEN


def test_the_loop_takes_no_verifier():
    assert set(inspect.signature(run_search).parameters) & FORBIDDEN == set()


COMPOSING = {"mean_of_k", "weighted_mean", "patchwork"}  # of fields; numbers cannot be mixed


@pytest.mark.parametrize("kind", sorted(set(SEARCHES) - COMPOSING))
def test_a_verifier_that_explodes_is_never_touched(kind, monkeypatch):
    def explode(self, states):
        raise AssertionError("a search asked for the truth")

    monkeypatch.setattr(TargetVerifier, "outcome", explode)
    wing = find_wing("walk")
    problems, _ = wing.problems(num_train=5).problems("train", 0)
    settings = {"potential": "exponential"} if kind == "particles" else {}
    found = validate(SEARCHES[kind], settings)(
        wing.states(problems),
        domain=wing.domain,
        proposer=wing.proposers["softmax"]().build(),
        reward=wing.rewards["distance"]().build(wing.domain),
        budget=Cost.limit(expansions=30),
        rng=Rng.from_seed(0, 5, "test"),
    )
    assert len(found.states) == len(found.problem)
    assert np.isfinite(found.value).all()
