"""Heat on a ring, a domain with an error: the conductivity ν is unknown, a step guesses it, and a reward model chooses.

u_t = ν u_xx on [0, 1), solved exactly by Fourier modes. A state has two frames, which betray ν to who looks.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import torch
from pydantic import Field

from stepward.core import simple
from stepward.core.batch import ArrayBatch, repeat
from stepward.core.config import Config
from stepward.core.interfaces import Status
from stepward.core.measures import Measure
from stepward.core.seeding import Rng
from stepward.core.wing import Defaults, Wing
from stepward.label.judged import OutcomeLabels
from stepward.train import Layers, LearnedNetwork, TargetLearning

CELLS, MODES, STEPS, DT = 32, 4, 6, 0.002
RATE = (2 * np.pi * np.arange(CELLS // 2 + 1)) ** 2  # decay of each mode at ν = 1


@dataclass(frozen=True)
class Rods(ArrayBatch):
    """n rods: the frame before, the frame now, and the case whose truth only the verifier opens."""

    case: np.ndarray  # [n]
    step: np.ndarray  # [n]
    before: np.ndarray  # [n, CELLS]
    now: np.ndarray  # [n, CELLS]


def truth(case, step):
    """The fields of cases at steps, [n, CELLS]."""
    rng = Rng.from_ids(0, case.tolist(), "heat")
    nu = 0.5 + 2.5 * rng.uniform(1)
    waves = rng.normal(2 * MODES)
    modes = np.zeros((len(case), len(RATE)), complex)
    modes[:, 1 : MODES + 1] = (waves[:, ::2] + 1j * waves[:, 1::2]) * CELLS / 2
    return np.fft.irfft(modes * np.exp(-nu * RATE * DT * step[:, None]), CELLS)


def known(case, step):
    """Rods as they truly are at a step from 1 on."""
    at = np.full(len(case), step)
    return Rods(problem=np.arange(len(case)), case=case, step=at, before=truth(case, at - 1), now=truth(case, at))


class Ring(simple.ArrayDomain):
    name = "heat"

    def status(self, rods):
        """Complete at the horizon."""
        return np.where(rods.step >= STEPS, Status.COMPLETE, Status.OPEN).astype(np.int8)


class Guess(simple.RuleProposer):
    """One step with a guessed ν, lognormal around 1.5."""

    kind: Literal["guess"] = "guess"
    spread: float = Field(0.5, ge=0, description="standard deviation of log ν; 0: no chance")

    def propose(self, rods, *, num_candidates, rng):
        parents = repeat(rods, num_candidates)
        guess = 1.5 * np.exp(self.spread * rng.normal(num_candidates).reshape(-1, 1))
        after = np.fft.irfft(np.fft.rfft(parents.now) * np.exp(-guess * RATE * DT), CELLS)
        return parents.replace(before=parents.now, now=after, step=parents.step + 1)


class Reference:
    """Minus the error of the frame now, over the norm of the first frame."""

    measures = (Measure("error", "error over the norm of the first frame", per_step=True),)

    def outcome(self, rods):
        right, first = truth(rods.case, rods.step), truth(rods.case, 0 * rods.step)
        return -np.linalg.norm(rods.now - right, axis=1) / np.linalg.norm(first, axis=1)


class Problems(simple.NumberedProblems):
    def columns(self, numbers):
        """The two frames that are known, of one case a problem."""
        return simple.columns_of(known(numbers, 1))


class Mining(Config):
    num_candidates: int = Field(6, ge=2, description="guesses of every state, to be ranked")

    def mine(self, problems, seed):
        """Several steps from every true state, to be ranked among themselves."""
        ids, k = problems["id"].to_pylist(), self.num_candidates
        true = {step: known(problems["case"].to_numpy(), step) for step in range(1, STEPS)}
        made = [simple.alternatives(rods, ids, Guess(), k, seed=seed, tag=step) for step, rods in true.items()]
        return pa.concat_tables(made)


def decays(parents, children):
    """Logarithm of how much each mode lost in the step before, and in this one, [n, 2 · MODES]."""
    sizes = [np.abs(np.fft.rfft(f)[:, 1 : MODES + 1]) + 1e-9 for f in (parents.before, parents.now, children.now)]
    return np.concatenate([np.log(sizes[0] / sizes[1]), np.log(sizes[1] / sizes[2])], axis=1).astype(np.float32)


class LookBack(simple.RuleReward):
    """The untrained rival: the guess under which all modes go on to decay as in the step before."""

    kind: Literal["look_back"] = "look_back"

    def score(self, parents, children):
        lost = decays(parents, children).astype(float)
        return -np.abs(lost[:, :MODES] - lost[:, MODES:]).sum(axis=1)


class Network(LearnedNetwork):
    """A small network on the decays; its numbers only rank."""

    kind: Literal["network"] = "network"
    width: int = Field(16, ge=1, description="hidden units")
    SCALE = "rank"

    def module(self):
        return Layers(torch.nn.Linear(2 * MODES, self.width), torch.nn.SiLU(), torch.nn.Linear(self.width, 1))

    def encode(self, parents, children):
        return {"inputs": decays(parents, children)}


ONE_GUESS = {"proposer": {"kind": "guess", "spread": 0.0}}
ARMS = {"one_guess": ONE_GUESS} | {guide: {"guide": guide} for guide in ("prm", "look_back", "oracle")}
wing = Wing(
    name="heat",
    domain=Ring(),
    states=simple.reader(Rods),
    steps=simple.step_reader(Rods),
    problems=Problems,
    mining=Mining,
    proposers={"guess": Guess},
    rewards={"look_back": LookBack},
    learners={"network": Network},
    verifier=Reference,
    labels={"outcomes": OutcomeLabels},
    learning=TargetLearning(),
    rivals={"look_back": LookBack},
    defaults=Defaults(evaluation={"arms": ARMS, "references": ("one_guess", "look_back")}),
    spaces={"widths": {"learner.width": {"grid": [4, 16]}, "optimisation.num_epochs": 3}},
)
