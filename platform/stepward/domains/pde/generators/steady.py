"""Trivial rivals on flow fields: the surrogate's answer changed alike at every step, or by a rule read off the state.

Both are of the family of the structured generator, c = d + a (d − blur d) + b (d − u), without candidates and choice:
one forward pass a step. If choosing among K candidates does not beat the best constant (a, b), it has only learned that
the surrogate blurs, or lags.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from stepward.core.config import Config
from stepward.core.interfaces import Proposer
from stepward.core.rivals import FittedRival, Material
from stepward.core.rollout import forked, rollout
from stepward.core.seeding import Rng
from stepward.domains.pde.data import pde_states
from stepward.domains.pde.generators.base import Generator
from stepward.domains.pde.generators.direct import blur
from stepward.domains.pde.references import trajectories
from stepward.domains.pde.states import PDE, PDEStates
from stepward.domains.pde.surrogates import Draws, RowNoise, Surrogate
from stepward.domains.pde.verifier import ReferenceVerifier

__all__ = ["BestConstant", "SteadyGenerator", "ReadOffState"]

SHARPER = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0, -0.2, -0.4)  # nothing first: it is taken where all are alike
FURTHER = (0.0, 0.05, 0.1, -0.05, -0.1)
PENALTIES = (1e-4, 1e-2, 1.0, 100.0)


class BestConstant(Config):
    """The best constant sharpness a and progress b, chosen by the error of whole validation rollouts; before them, the
    best value of a constant of the flow, where the surrogate is told one.
    """

    kind: Literal["constant"] = "constant"
    max_problems: int = Field(64, ge=1, description="validation trajectories that are rolled out, at most")

    def fit(self, material: Material) -> FittedRival:
        """The best a of a grid with b = 0, then the best b beside it; the first of all where nothing judges them."""
        surrogate = surrogate_of(material.policy())
        problems = material.problems("validation").slice(0, self.max_problems)

        def best(tried: Sequence[tuple[float, float, float]]) -> tuple[float, float, float]:
            if not len(problems) or len(tried) == 1:
                return tried[0]
            made = [SteadyGenerator(surrogate, constant(surrogate, *values)) for values in tried]
            return tried[int(np.argmin([rollout_error(p, problems, material.measure) for p in made]))]

        _, _, told = best([(0.0, 0.0, value) for value in (surrogate.constants or (np.nan,))])
        sharper, _, _ = best([(a, 0.0, told) for a in SHARPER])
        _, further, _ = best([(sharper, b, told) for b in FURTHER])
        chosen = {"sharper": sharper, "further": further, "validation_problems": len(problems)}
        known = {} if np.isnan(told) else {"told": told}
        return FittedRival(constant(surrogate, sharper, further, told), chosen | known)

    def proposer(self, weights: Mapping[str, np.ndarray], policy: Proposer) -> SteadyGenerator:
        """The surrogate with these constants."""
        return SteadyGenerator(surrogate_of(policy), weights)


class ReadOffState(Config):
    """Sharpness and progress as a linear function of global statistics of the state, by ridge regression on the true
    training steps; whole validation rollouts choose the penalty.
    """

    kind: Literal["read_off_state"] = "read_off_state"
    max_problems: int = Field(64, ge=1, description="validation trajectories that are rolled out, at most")
    max_states: int = Field(400, ge=1, description="true training states, whole trajectories of them")

    def fit(self, material: Material) -> FittedRival:
        """Weights [2, f]; 0 where there is nothing to learn from."""
        surrogate = surrogate_of(material.policy())
        problems = material.problems("validation").slice(0, self.max_problems)
        grams, sides, scales, num = self._normal_equations(surrogate, material)
        if not num or not len(problems):
            return FittedRival(constant(surrogate, 0.0, 0.0), {"penalty": "none: nothing to learn from"})
        plain, tried = constant(surrogate, 0.0, 0.0), []
        for penalty in PENALTIES:
            solved = np.linalg.solve(grams + penalty * num * 1e-2 * np.eye(len(grams)), sides)
            weights = {**plain, **scales, "linear": solved.reshape(2, -1).astype(np.float32)}
            error = rollout_error(SteadyGenerator(surrogate, weights), problems, material.measure)
            tried.append((error, penalty, weights))
        _, penalty, weights = min(tried, key=lambda row: row[:2])
        return FittedRival(weights, {"penalty": penalty, "training_states": num, "validation_problems": len(problems)})

    def proposer(self, weights: Mapping[str, np.ndarray], policy: Proposer) -> SteadyGenerator:
        """The surrogate with coefficients read off each state."""
        return SteadyGenerator(surrogate_of(policy), weights)

    def _normal_equations(
        self, surrogate: Surrogate, material: Material
    ) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray], int]:
        """Of Σ ‖d + a s + b p − truth‖² / ‖truth‖² over true training steps, with (a, b) linear in the statistics."""
        problems = material.problems("train")
        states = pde_states(problems)
        needed = int(np.searchsorted(np.cumsum(states.horizon), self.max_states)) + 1
        states = states.take(np.arange(min(needed, len(states))))
        plain = SteadyGenerator(surrogate, constant(surrogate, 0.0, 0.0))
        truths, parts = trajectories(states.reference.tolist()), []
        for truth, first, horizon in zip(truths, states.frame, states.horizon, strict=True):
            rows = first + np.arange(horizon)
            back = np.maximum(rows[:, None] - np.arange(surrogate.frames)[::-1], 0)
            fields, following = (torch.from_numpy(truth[at]) for at in (back, rows + 1))
            parts.append(plain.equations(fields.flatten(1, 2), following))
        if not parts:
            return np.zeros((0, 0)), np.zeros(0), {}, 0
        seen, gram, side = (np.concatenate(column) for column in zip(*parts, strict=True))
        scales = {"mean": seen.mean(axis=0), "spread": seen.std(axis=0) + 1e-6}
        inputs = with_one((seen - scales["mean"]) / scales["spread"])
        grams = np.einsum("nij,nf,ng->ifjg", gram, inputs, inputs).reshape(2 * inputs.shape[1], -1)
        sides = np.einsum("ni,nf->if", side, inputs).reshape(-1)
        return grams, sides, {name: value.astype(np.float32) for name, value in scales.items()}, len(seen)


class SteadyGenerator(Generator):
    """All candidates are d + a (d − blur d) + b (d − u), with (a, b) a linear function of the state's statistics.

    Args:
        weights: linear [2, 1 + f], the first column of the constants; mean and spread [f] of the statistics; told [1],
            what a surrogate is told that guesses a constant, NaN for nothing.
    """

    def __init__(self, surrogate: Surrogate, weights: Mapping[str, np.ndarray]) -> None:
        super().__init__(surrogate)
        self._weights = {name: np.asarray(value, np.float64) for name, value in weights.items()}

    def candidates(
        self,
        fields: Float[Tensor, "n fc h w"],
        plain: Float[Tensor, "n c h w"],
        states: PDEStates,
        noise: RowNoise,
        k: int,
    ) -> Float[Tensor, "m c h w"]:
        """One answer of each state, k times."""
        sharper, further = self._directions(fields, plain)
        seen = self._statistics(fields, sharper, further)
        inputs = with_one((seen - self._weights["mean"]) / self._weights["spread"])
        found = torch.from_numpy(inputs @ self._weights["linear"].T).to(plain)[:, :, None, None, None]
        return (plain + found[:, 0] * sharper + found[:, 1] * further).repeat_interleave(k, dim=0)

    def deterministic(self, fields: Float[Tensor, "n fc h w"]) -> Float[Tensor, "n c h w"]:
        """The surrogate without chance; where it guesses a constant, with the one that was chosen."""
        told = float(self._weights["told"][0])
        if np.isnan(told):
            return super().deterministic(fields)
        return self.forward(fields, Draws.told(torch.full((len(fields),), told, device=fields.device)))

    def tags(self, streams: Rng, k: int) -> np.ndarray:
        """0 for every candidate: all are the same state."""
        return np.zeros(len(streams), np.uint64)

    @torch.inference_mode()
    def equations(
        self, fields: Float[Tensor, "n fc h w"], truth: Float[Tensor, "n c h w"]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Statistics [n, f] of true states; and of each step the Gram matrix [n, 2, 2] of the two directions and their
        products [n, 2] with what is missing, both over the squared norm of the truth.
        """
        fields, truth = fields.to(self.surrogate.device), truth.to(self.surrogate.device)
        plain = self.deterministic(fields)
        directions = self._directions(fields, plain)
        flat = torch.stack(directions, dim=1).flatten(2).double()
        missing, norm = (truth - plain).flatten(1).double(), truth.flatten(1).double().square().sum(dim=1)
        gram = torch.einsum("nix,njx->nij", flat, flat) / norm[:, None, None]
        side = torch.einsum("nix,nx->ni", flat, missing) / norm[:, None]
        return self._statistics(fields, *directions), gram.cpu().numpy(), side.cpu().numpy()

    def _directions(self, fields: Tensor, plain: Tensor) -> tuple[Tensor, Tensor]:
        return plain - blur(plain, periodic=self.surrogate.periodic), plain - fields[:, -plain.shape[1] :]

    def _statistics(self, fields: Tensor, sharper: Tensor, further: Tensor) -> Float[np.ndarray, "n f"]:
        """Logarithms of the size of both directions, and mean and spread of the fields, a channel each."""
        fields = fields[:, -sharper.shape[1] :]
        parts = [part.square().mean(dim=(2, 3)).sqrt().add(1e-9).log() for part in (sharper, further)]
        parts += [fields.mean(dim=(2, 3)), fields.std(dim=(2, 3))]
        return np.asarray(torch.cat(parts, dim=1).double().cpu().numpy())


def constant(surrogate: Surrogate, a: float, b: float, told: float = np.nan) -> dict[str, np.ndarray]:
    """Weights of a generator that reads nothing off the state; `told`: the constant that the surrogate is told."""
    num = 4 * surrogate.num_channels
    linear = np.zeros((2, 1 + num), np.float32)
    linear[:, 0] = a, b
    flat = {"mean": np.zeros(num, np.float32), "spread": np.ones(num, np.float32)}
    return flat | {"linear": linear, "told": np.array([told], np.float32)}


def surrogate_of(policy: Any) -> Surrogate:
    """The surrogate behind a proposer.

    Raises:
        ValueError: it has none.
    """
    inner = getattr(policy, "inner", policy)
    surrogate: Surrogate | None = getattr(inner, "surrogate", None)
    if surrogate is None:
        raise ValueError(
            f"rivals: expected a labelled policy with a surrogate, got {type(inner).__name__}; leave them out by "
            "rivals=[]"
        )
    return surrogate


def rollout_error(proposer: Proposer, problems: Any, convention: str) -> float:
    """Mean error over the steps of whole rollouts; infinite where one blows up."""
    states: PDEStates = pde_states(problems)
    streams = forked(Rng.from_seed(0, len(states), "steady"))
    errors = np.full((len(states), int(states.horizon.max())), np.nan)
    verifier = ReferenceVerifier(convention)
    for step in rollout(states, domain=PDE(), proposer=proposer, streams=streams):
        errors[step.rows, step.number - 1] = -verifier.outcome(step.children)
    return float(np.nanmean(errors, axis=1).mean())


def with_one(values: Float[np.ndarray, "n f"]) -> Float[np.ndarray, "n g"]:
    """A column of ones in front."""
    return np.concatenate([np.ones((len(values), 1)), values], axis=1)
