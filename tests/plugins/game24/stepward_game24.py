"""Game of 24, whose answers are right or wrong: four numbers, and each step makes one of two, until one is left.

Source of the puzzle as a test of search: Yao et al. 2023, "Tree of thoughts", section 4.1.
"""

from dataclasses import dataclass
from functools import cache
from itertools import combinations
from typing import Literal

import numpy as np
import pyarrow as pa
import torch
from pydantic import Field

from stepward.core.batch import ArrayBatch, repeat
from stepward.core.capabilities import KnownValues
from stepward.core.config import Config
from stepward.core.interfaces import Status
from stepward.core.seeding import Rng, mix_keys, stable_hash
from stepward.core.simple import RuleReward
from stepward.core.wing import Wing
from stepward.train import Layers, LearnedNetwork

GOAL, SIZE, NEAR = 24.0, 4, 1e-6
PAIRS = {count: np.array(list(combinations(range(count), 2))) for count in range(2, SIZE + 1)}
OPERATIONS = (np.add, np.subtract, lambda a, b: b - a, np.multiply, np.divide, lambda a, b: b / a)


@dataclass(frozen=True)
class Hands(ArrayBatch):
    """n hands of `count` numbers, in rising order and padded with 0. `problem` comes with every batch."""

    numbers: np.ndarray  # [n, 4]
    count: np.ndarray  # [n]


class Game24:
    """What a search may know: when a hand is played out, and which hands are the same. Not what is right."""

    name = "game24"

    def status(self, hands):
        """Complete with one number left; dead after a division by 0."""
        played = np.where(hands.count == 1, Status.COMPLETE, Status.OPEN)
        return np.where(np.isfinite(hands.numbers).all(axis=1), played, Status.DEAD).astype(np.int8)

    def keys(self, hands):
        """Hands with the same numbers have the same future."""
        keys = hands.count.astype(np.uint64)
        for column in hands.numbers.T:
            keys = mix_keys(
                keys ^ np.nan_to_num(np.rint(column * 1e6), posinf=1e18).astype(np.int64).view(np.uint64), 0
            )
        return keys

    def step_tokens(self, hands):
        """A step is no text: it counts as one token."""
        return np.ones(len(hands), np.int64)


def play(hands, move):
    """Hands after move number `move` of the 6 · pairs there are, row by row."""
    pairs = np.stack([PAIRS[count][m // 6] for count, m in zip(hands.count, move, strict=True)])
    rows = np.arange(len(hands))
    a, b = hands.numbers[rows, pairs[:, 0]], hands.numbers[rows, pairs[:, 1]]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        made = np.choose(move % 6, [operation(a, b) for operation in OPERATIONS])
    numbers = np.where(np.arange(SIZE) < hands.count[:, None], hands.numbers, np.inf)
    numbers[rows, pairs[:, 0]], numbers[rows, pairs[:, 1]] = np.where(np.isfinite(made), made, np.nan), np.inf
    numbers = np.sort(numbers, axis=1)
    return hands.replace(numbers=np.where(np.isposinf(numbers), 0.0, numbers), count=hands.count - 1)


class Player:
    """The policy: a move drawn at random, or all different ones where as many candidates are asked for."""

    num_parameters = nfe = 0

    def propose(self, hands, *, num_candidates, rng):
        """n hands -> n * k, row-major; complete hands are handed on as they are."""
        parents, moves = repeat(hands, num_candidates), 6 * np.array([0, 0, 1, 3, 6])[hands.count]
        order = np.argsort(np.where(np.arange(36) < moves[:, None], rng.uniform(36), 2.0), axis=1)
        move = np.take_along_axis(order, np.arange(num_candidates) % np.maximum(moves, 1)[:, None], axis=1).ravel()
        going = np.flatnonzero(parents.count > 1)
        moved = play(parents.take(going), move[going])
        numbers, count = parents.numbers.copy(), parents.count.copy()
        numbers[going], count[going] = moved.numbers, moved.count
        return parents.replace(numbers=numbers, count=count)


class PlayerSettings(Config):
    """Random moves, without repeating one among the candidates of a hand."""

    kind: Literal["player"] = "player"

    def build(self):
        return Player()


class Verifier:
    """The only one who knows that 24 is wanted."""

    def outcome(self, hands):
        """1 where the last number is 24, else 0."""
        return ((hands.count == 1) & (np.abs(hands.numbers[:, 0] - GOAL) < NEAR)).astype(float)


@cache
def chance(numbers):
    """Share of random plays from these numbers that end at 24: the value of the policy, known exactly."""
    if len(numbers) == 1:
        return float(abs(numbers[0] - GOAL) < NEAR)
    hand = Hands(problem=np.zeros(1, int), numbers=np.zeros((1, SIZE)), count=np.array([len(numbers)]))
    hand.numbers[0, : len(numbers)] = numbers
    moves = np.arange(6 * len(PAIRS[len(numbers)]))
    after = play(repeat(hand, len(moves)), moves)
    good = np.isfinite(after.numbers).all(axis=1)
    return sum(chance(tuple(row[: len(numbers) - 1])) for row in after.numbers[good].round(9)) / len(moves)


def exact(hands):
    """`chance` of every hand."""
    dead = ~np.isfinite(hands.numbers).all(axis=1)
    rows = zip(dead, hands.numbers.round(9), hands.count, strict=True)
    return np.array([0.0 if bad else chance(tuple(row[:count])) for bad, row, count in rows])


class Problems(Config):
    """Hands of numbers from 1 to 9 that can be solved."""

    num_train: int = Field(60, ge=1, description="hands to learn from")
    num_validation: int = Field(20, ge=1, description="hands to stop by")
    num_test: int = Field(20, ge=1, description="hands to report on")

    def problems(self, split, seed):
        """A table with a unique `id` a problem, and rows that could not be used (none here)."""
        hands = [h for h in np.ndindex((9,) * SIZE) if list(h) == sorted(h)]
        mine = [h for h in hands if ("train", "train", "validation", "test")[stable_hash(*h) % 4] == split]
        order = np.argsort(Rng.from_ids(seed, mine, "problems").uniform(1)[:, 0])
        solved = ([n + 1.0 for n in mine[row]] for row in order)
        chosen = [h for h in solved if chance(tuple(h)) > 0][: getattr(self, f"num_{split}")]
        return pa.table({"id": ["-".join(f"{n:g}" for n in h) for h in chosen], "numbers": chosen}), []


class Mining(Config):
    """The hands of some random plays."""

    plays: int = Field(4, ge=1, description="plays a problem")

    def mine(self, problems, seed):
        """Hands of none to three moves, with `id` and `problem_id`; a random stream belongs to an id."""
        parts = []
        for j in range(self.plays):
            hands, ids = states(problems), problems["id"].to_pylist()
            rng = Rng.from_ids(seed, [f"{name}/{j}" for name in ids], "mine")
            for step in range(SIZE - 1):
                numbers = [row[:count].tolist() for row, count in zip(hands.numbers, hands.count, strict=True)]
                names = [f"{name}/{j}/{step}" for name in ids]
                parts.append(pa.table({"id": names, "problem_id": ids, "numbers": numbers}))
                hands = Player().propose(hands, num_candidates=1, rng=rng.fork(step))
        return pa.concat_tables(parts)


def states(table):
    """Problems or mined rows as hands, row by row; rows of one problem share its index."""
    numbers = table["numbers"].to_pylist()
    names = table["problem_id" if "problem_id" in table.column_names else "id"].to_pylist()
    padded = np.array([[*row, *[0.0] * (SIZE - len(row))] for row in numbers]).reshape(-1, SIZE)
    problem = np.unique(names, return_inverse=True)[1].astype(np.int64)
    return Hands(problem=problem, numbers=padded, count=np.array([len(row) for row in numbers], np.int64))


class Network(LearnedNetwork):
    """A reward model that is learned: a small network on the numbers and how many there are."""

    kind: Literal["network"] = "network"
    width: int = Field(32, ge=1, description="hidden units")

    def module(self):
        """A torch module: the arrays of `encode`, by name -> one logit a row."""
        return Layers(torch.nn.Linear(SIZE + 4, self.width), torch.nn.SiLU(), torch.nn.Linear(self.width, 1))

    def encode(self, hands):
        """Inputs of the module, one row a hand."""
        numbers = np.nan_to_num(hands.numbers)  # dead hands are scored, too
        size = np.sign(numbers) * np.log1p(np.abs(numbers))
        return {"inputs": np.concatenate([size, np.eye(SIZE)[hands.count - 1]], axis=1).astype(np.float32)}


class Exact(RuleReward):
    """The exact value as a guide."""

    kind: Literal["exact"] = "exact"

    def score(self, parents, children):
        return exact(children)


wing = Wing(
    name="game24",
    domain=Game24(),
    states=states,
    problems=Problems,
    mining=Mining,
    proposers={"player": PlayerSettings},
    rewards={"exact": Exact},
    learners={"network": Network},
    verifier=Verifier,
    known=KnownValues(exact),
    spaces={"small": {"learner.width": {"grid": [8, 32]}, "optimisation.num_epochs": 3}},
)
