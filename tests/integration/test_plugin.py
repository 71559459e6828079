"""A small third-party package, built and installed here, adds a domain, a reward model and a search by entry points."""

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

PYPROJECT = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "stepward-digits"
version = "0.0.1"
[project.entry-points."stepward.domains"]
digits = "digits:wing"
[project.entry-points."stepward.rewards.walk"]
parity = "digits:ParityReward"
[project.entry-points."stepward.searches"]
greedy = "digits:Greedy"
[tool.setuptools]
py-modules = ["digits"]
"""

MODULE = '''
"""Digits: append digits until their sum is 12; a digit of the number is one step."""
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa

from stepward.core.batch import ArrayBatch, repeat
from stepward.core.config import Config
from stepward.core.wing import Wing
from stepward.search import Beam


@dataclass(frozen=True)
class Numbers(ArrayBatch):
    number: np.ndarray
    total: np.ndarray


class Digits:
    name = "digits"

    def status(self, states):
        return np.where(states.total == 12, 1, np.where(states.total > 12, 2, 0)).astype(np.int8)

    def keys(self, states):
        return states.number.astype(np.uint64)

    def step_tokens(self, states):
        return np.ones(len(states), np.int64)


class Appender:
    num_parameters = nfe = 0

    def propose(self, states, *, num_candidates, rng):
        digits = rng.integers(1, 10, num_candidates).reshape(-1)
        parents = repeat(states, num_candidates)
        return parents.replace(number=parents.number * 10 + digits, total=parents.total + digits)


class AppendSettings(Config):
    kind: Literal["append"] = "append"

    def build(self):
        return Appender()


class Missing:
    num_parameters = 0

    def score(self, parents, children):
        return -np.abs(12.0 - children.total)


class MissingSettings(Config):
    kind: Literal["missing"] = "missing"

    def build(self, domain):
        return Missing()


class TotalVerifier:
    def outcome(self, states):
        return (states.total == 12).astype(float)


class Problems(Config):
    num: int = 4

    def problems(self, split, seed):
        return pa.table({"id": [f"d{i}" for i in range(1, self.num + 1)], "number": list(range(1, self.num + 1))}), []


class Mining(Config):
    def mine(self, problems, seed):
        return problems


def states(table):
    number = table["number"].to_numpy()
    return Numbers(problem=np.arange(len(table)), number=number, total=number)


wing = Wing(
    name="digits", domain=Digits(), states=states, problems=Problems, mining=Mining,
    proposers={"append": AppendSettings}, rewards={"missing": MissingSettings}, learners={}, verifier=TotalVerifier,
)


class Parity:
    num_parameters = 0

    def score(self, parents, children):
        return (children.current % 2 == 0).astype(float)


class ParityReward(Config):
    """Even numbers first."""
    kind: Literal["parity"] = "parity"

    def build(self, domain):
        return Parity()


class Greedy(Config):
    """A beam of one."""
    kind: Literal["greedy"] = "greedy"
    num_candidates: int = 6

    def __call__(self, problems, **parts):
        return Beam(width=1, num_candidates=self.num_candidates)(problems, **parts)
'''

USE = """
import numpy as np
from stepward.core.cost import Cost
from stepward.core.interfaces import Status
from stepward.core.seeding import Rng
from stepward.core.wing import find_wing
from stepward.search import build_search
from stepward.testing import check_domain, check_proposer, check_reward, check_search
from stepward.testing.contracts import children_of

wing, walk = find_wing("digits"), find_wing("walk")
roots = wing.states(wing.problems().problems("train", 0)[0])
proposer, reward = wing.proposers["append"]().build(), wing.rewards["missing"]().build(wing.domain)
check_domain(wing.domain, roots)
check_proposer(proposer, wing.domain, roots, num_candidates=6)
check_reward(reward, wing.domain, *children_of(roots, proposer, 6))
check_search(build_search({"kind": "greedy"}), wing.domain, proposer, reward, roots)
found = build_search({"kind": "best_first"})(
    roots, domain=wing.domain, proposer=proposer, reward=reward, budget=Cost.limit(expansions=50),
    rng=Rng.from_seed(0, len(roots), "plugin"))
assert wing.verifier().outcome(found.states).all() and (found.best >= 0).all()
print("solved", (found.best >= 0).sum(), "reward kinds of walk", sorted(walk.rewards))
"""


@pytest.fixture(scope="module")
def plugin(tmp_path_factory) -> Path:
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("site")
    (source / "pyproject.toml").write_text(PYPROJECT)
    (source / "digits.py").write_text(dedent(MODULE))
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--target", str(target), str(source)], check=True)
    return target


def run(plugin: Path, *arguments: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": str(plugin)}
    return subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True, check=False)


def test_domain_reward_and_search_are_found_and_obey_the_contracts(plugin):
    done = run(plugin, "-c", USE)
    assert done.returncode == 0, done.stderr
    assert "solved 4" in done.stdout and "'parity'" in done.stdout


def test_without_the_package_the_error_names_what_there_is():
    done = run(Path(os.devnull), "-c", "from stepward.core.wing import find_wing; find_wing('digits')")
    assert done.returncode != 0 and "expected one of" in done.stderr and "'walk'" in done.stderr
