"""Heat on a ring, a domain with an error: the conductivity ν is unknown, a step guesses it, and a reward model chooses.

u_t = ν u_xx on [0, 1), solved exactly by Fourier modes. A state has two frames, which betray ν to who looks.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from stepward.core.batch import ArrayBatch, repeat
from stepward.core.config import Config
from stepward.core.interfaces import Status
from stepward.core.measures import Measure
from stepward.core.seeding import Rng, mix_keys
from stepward.core.wing import Defaults, Wing
from stepward.label.judged import OutcomeLabels
from stepward.train import TargetLearning

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


class Ring:
    name = "heat"

    def status(self, rods):
        """Complete at the horizon."""
        return np.where(rods.step >= STEPS, Status.COMPLETE, Status.OPEN).astype(np.int8)

    def keys(self, rods):
        """Rods with equal fields now and before have the same future."""
        return mix_keys(
            (rods.now * np.arange(1, CELLS + 1)).sum(axis=1).view(np.uint64) ^ rods.step.astype(np.uint64), 0
        )

    def step_tokens(self, rods):
        return np.ones(len(rods), np.int64)


class Guess:
    """One step with a guessed conductivity; with `spread` 0 always the same guess."""

    num_parameters, nfe = 0, 1

    def __init__(self, spread):
        self.spread = spread

    def propose(self, rods, *, num_candidates, rng):
        parents = repeat(rods, num_candidates)
        guess = 1.5 * np.exp(self.spread * rng.normal(num_candidates).reshape(-1, 1))
        after = np.fft.irfft(np.fft.rfft(parents.now) * np.exp(-guess * RATE * DT), CELLS)
        return parents.replace(before=parents.now, now=after, step=parents.step + 1)


class GuessSettings(Config):
    """Guesses ν, lognormal around 1.5."""

    kind: Literal["guess"] = "guess"
    spread: float = Field(0.5, ge=0, description="standard deviation of log ν; 0: no chance")

    def build(self):
        return Guess(self.spread)


class Reference:
    """Minus the error of the frame now, over the norm of the first frame."""

    measures = (Measure("error", "error over the norm of the first frame", per_step=True),)

    def outcome(self, rods):
        right, first = truth(rods.case, rods.step), truth(rods.case, 0 * rods.step)
        return -np.linalg.norm(rods.now - right, axis=1) / np.linalg.norm(first, axis=1)

    def measure(self, roots, found):
        return {"error": -self.outcome(found)}


class Problems(Config):
    num_train: int = Field(40, ge=1, description="cases to learn from")
    num_validation: int = Field(10, ge=1, description="cases to stop by")
    num_test: int = Field(10, ge=1, description="cases to report on")

    def problems(self, split, seed):
        first = {"train": 0, "validation": 10**6, "test": 2 * 10**6}[split] + 10**7 * seed
        case = first + np.arange(getattr(self, f"num_{split}"))
        step = np.ones(len(case), np.int64)
        names = [f"case {number}" for number in case]
        frames = {"before": list(truth(case, 0 * step)), "now": list(truth(case, step))}
        return pa.table({"id": names, "case": case, "step": step, **frames}), []


class Mining(Config):
    num_candidates: int = Field(6, ge=2, description="guesses of every state, to be ranked")

    def mine(self, problems, seed):
        """Steps, not states: several from every true state, with the id of that state as `group`."""
        rods, k, parts = states(problems), self.num_candidates, []
        for step in range(1, STEPS):
            at = rods.step * 0 + step
            parents = rods.replace(before=truth(rods.case, at - 1), now=truth(rods.case, at), step=at)
            names = [f"{name}/{step}" for name in problems["id"].to_pylist()]
            made = Guess(0.5).propose(parents, num_candidates=k, rng=Rng.from_ids(seed, names, "mine"))
            row = {"id": [f"{name}/{j}" for name in names for j in range(k)], "group": np.repeat(names, k)}
            row |= {"problem_id": np.repeat(problems["id"].to_pylist(), k), "case": made.case, "step": made.step}
            row |= {"earlier": list(repeat(parents, k).before), "before": list(made.before), "now": list(made.now)}
            parts.append(pa.table(row))
        return pa.concat_tables(parts)


def states(table):
    names = table["problem_id" if "problem_id" in table.column_names else "id"].to_pylist()
    fields = [np.array(table[name].to_pylist()).reshape(-1, CELLS) for name in ("before", "now")]
    problem, numbers = np.unique(names, return_inverse=True)[1], [table[n].to_numpy() for n in ("case", "step")]
    return Rods(problem.astype(np.int64), *(number.astype(np.int64) for number in numbers), *fields)


def steps(table):
    """Mined rows as (parents, children)."""
    children = states(table)
    earlier = np.array(table["earlier"].to_pylist()).reshape(-1, CELLS)
    return children.replace(before=earlier, now=children.before, step=children.step - 1), children


def decays(parents, children):
    """Logarithm of how much each mode lost in the step before, and in this one, [n, 2 · MODES]."""
    sizes = [np.abs(np.fft.rfft(f)[:, 1 : MODES + 1]) + 1e-9 for f in (parents.before, parents.now, children.now)]
    return np.concatenate([np.log(sizes[0] / sizes[1]), np.log(sizes[1] / sizes[2])], axis=1).astype(np.float32)


class LookBack(Config):
    """The untrained rival: the guess under which all modes go on to decay as in the step before."""

    kind: Literal["look_back"] = "look_back"
    num_parameters: ClassVar[int] = 0

    def build(self, domain):
        return self

    def score(self, parents, children):
        lost = decays(parents, children).astype(float)
        return -np.abs(lost[:, :MODES] - lost[:, MODES:]).sum(axis=1)


class Network(Config):
    """A small network on the decays."""

    kind: Literal["network"] = "network"
    width: int = Field(16, ge=1, description="hidden units")

    def module(self):
        import torch

        class Net(torch.nn.Sequential):
            def forward(self, decays):
                return super().forward(decays)[:, 0]

        return Net(torch.nn.Linear(2 * MODES, self.width), torch.nn.SiLU(), torch.nn.Linear(self.width, 1))

    def encode(self, parents, children):
        return {"decays": decays(parents, children)}

    def reward(self, weights):
        return Learned(self, weights)


class Learned:
    def __init__(self, settings, weights):
        import torch

        self.module = settings.module().eval()
        self.module.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in weights.items()})
        self.num_parameters = sum(array.size for array in weights.values())

    def score(self, parents, children):
        import torch

        with torch.inference_mode():
            return self.module(torch.from_numpy(decays(parents, children))).double().numpy()


EVALUATION = {
    "guides": {
        "prm": {"kind": "trained", "artifact": "prm"},
        "look_back": {"kind": "look_back"},
        "oracle": {"kind": "oracle"},
    },
    "arms": {
        "one_guess": {"proposer": {"kind": "guess", "spread": 0.0}},
        "prm": {"guide": "prm"},
        "look_back": {"guide": "look_back"},
        "oracle": {"guide": "oracle"},
    },
    "references": ("one_guess", "look_back"),
    "oracle": "oracle",
}
wing = Wing(
    name="heat",
    domain=Ring(),
    states=states,
    problems=Problems,
    mining=Mining,
    proposers={"guess": GuessSettings},
    rewards={"look_back": LookBack},
    learners={"network": Network},
    verifier=Reference,
    labels={"outcomes": OutcomeLabels},
    learning=TargetLearning(),
    steps=steps,
    rivals={"look_back": LookBack},
    defaults=Defaults(evaluation=EVALUATION),
    spaces={"widths": {"learner.width": {"grid": [4, 16]}, "optimisation.num_epochs": 3}},
)
