"""Can a choice among K candidates help at all? To be answered before a reward model is trained to make it.

The oracle takes the candidate of least error. If even that is no better than the deterministic output, or than the mean
of the candidates, no reward model can be. Noise of many dimensions is such a case: all its candidates are about equally
wrong.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from stepward.core.interfaces import Proposer
from stepward.core.seeding import Rng
from stepward.domains.pde.combine import weighted_mean
from stepward.domains.pde.states import PDEStates, as_numpy, is_finite
from stepward.domains.pde.verifier import ReferenceVerifier
from stepward.search.composing import uniform_weights

IN_FLIGHT = 2048


class NoHeadroomError(ValueError):
    """K candidates cannot help: the message says by how much the oracle misses the mark."""


@dataclass(frozen=True)
class Headroom:
    """Errors one step on, a state each; lower is better.

    Attributes:
        deterministic, mean_of_k, random, oracle: of the surrogate's own output, of the mean of the K candidates, of a
            random
            candidate (mean over candidates), and of the best of K.
        patch_oracle: of the patchwork of best patches.
        error_spread: standard deviation of the candidates' errors over their mean.
        diversity: root mean square distance of candidates to their mean, over the length of the deterministic step.
    """

    deterministic: Float[np.ndarray, " n"]
    mean_of_k: Float[np.ndarray, " n"]
    random: Float[np.ndarray, " n"]
    oracle: Float[np.ndarray, " n"]
    patch_oracle: Float[np.ndarray, " n"]
    error_spread: Float[np.ndarray, " n"]
    diversity: Float[np.ndarray, " n"]

    def gain(self, over: str) -> tuple[float, float]:
        """Mean share of the error that the oracle saves against `over`, paired, and its standard error."""
        base = getattr(self, over)
        saved = (base - self.oracle) / base.mean()
        return float(saved.mean()), float(saved.std(ddof=1) / np.sqrt(len(saved)))

    def summary(self) -> dict[str, float]:
        """Flat name -> number, for metrics.json."""
        found = {f"headroom.{name}": float(getattr(self, name).mean()) for name in self.__dataclass_fields__}
        for base in ("deterministic", "mean_of_k"):
            found[f"headroom.gain_over_{base}"], found[f"headroom.gain_over_{base}.se"] = self.gain(base)
        return found

    def gate(self, min_gain: float = 0.01) -> None:
        """Raise unless the oracle saves a share of `min_gain` against both baselines, two standard errors clear.

        Raises:
            NoHeadroomError: says what was measured and what to do.
        """
        for base in ("deterministic", "mean_of_k"):
            gain, error = self.gain(base)
            if not gain - 2 * error > min_gain:
                raise NoHeadroomError(
                    f"These candidates cannot help: expected the best of K by the true error to save more than "
                    f"{min_gain:.1%} against {base.replace('_', ' ')}, got {gain:.1%} ± {2 * error:.1%} over "
                    f"{len(self.oracle)} states (spread of errors {self.error_spread.mean():.2%}, diversity "
                    f"{self.diversity.mean():.2%} of a step). No reward model can do better than the best. Use a "
                    "generator of few dimensions (structured), widen it, or measure more states."
                )


def measure_headroom(
    states: PDEStates,
    *,
    proposer: Proposer,
    verifier: ReferenceVerifier,
    num_candidates: int,
    rng: Rng,
    patch: int = 8,
    in_flight: int = IN_FLIGHT,
) -> Headroom:
    """Errors of K candidates of every state and of what can be made of them, one step on.

    Args:
        states: open states whose next frame the reference holds.
        rng: one stream a state.
        patch: cells of a patch of the patch oracle.
        in_flight: candidates in memory at once.

    Raises:
        ValueError: fewer than two states, which have no standard error; fewer than two candidates, which are no choice;
            or states whose candidates all blew up.
    """
    if len(states) < 2 or num_candidates < 2:
        raise ValueError(
            f"Headroom: expected 2 states or more and 2 candidates of each, got {len(states)} and {num_candidates}. "
            "The best of one is no choice."
        )
    size = max(1, in_flight // num_candidates)
    parts = []
    for first in range(0, len(states), size):
        rows = np.arange(first, min(first + size, len(states)))
        children = proposer.propose(states.take(rows), num_candidates=num_candidates, rng=rng.take(rows))
        parts.append(_measure(states.take(rows), children, verifier, num_candidates, patch))
    return Headroom(**{name: np.concatenate([part[name] for part in parts]) for name in parts[0]})


def _measure(
    parents: PDEStates, children: PDEStates, verifier: ReferenceVerifier, k: int, patch: int
) -> dict[str, np.ndarray]:
    firsts = children.take(np.arange(len(parents)) * k)
    sets = as_numpy(children.fields).reshape(len(parents), k, *firsts.fields.shape[1:])
    errors = -verifier.outcome(children).reshape(-1, k)
    good = is_finite(children.fields).reshape(-1, k)
    lost = int((~good.any(axis=1)).sum())
    if lost:
        raise ValueError(
            f"Headroom: expected a candidate of every state that is finite, got none for {lost} of {len(parents)}: the "
            "surrogate blows up there. Train it longer, or measure states of earlier steps."
        )
    mean = weighted_mean(sets, uniform_weights(good)).astype(np.float32)
    plain = as_numpy(firsts.deterministic)

    def error(fields: np.ndarray) -> np.ndarray:
        return -verifier.outcome(firsts.replace(fields=fields))

    finite = np.where(good, errors, np.nan)
    away = np.sqrt(
        np.nanmean(np.where(good[..., None, None, None], (sets - mean[:, None]) ** 2, np.nan), axis=(1, 2, 3, 4))
    )
    step = np.sqrt(((plain - as_numpy(parents.fields)) ** 2).mean(axis=(1, 2, 3)))
    return {
        "deterministic": error(plain),
        "mean_of_k": error(mean),
        "random": np.nanmean(finite, axis=1),
        "oracle": errors.min(axis=1),
        "patch_oracle": error(
            _best_patches(sets, verifier.patch_errors(children, patch).reshape(len(parents), k, -1), patch)
        ),
        "error_spread": np.nanstd(finite, axis=1) / np.nanmean(finite, axis=1),
        "diversity": away / (step + 1e-12),
    }


def _best_patches(sets: np.ndarray, patch_errors: np.ndarray, patch: int) -> np.ndarray:
    height, width = sets.shape[3:]
    best = np.where(np.isfinite(patch_errors), patch_errors, np.inf).argmin(axis=1)
    cells = best.reshape(len(sets), height // patch, width // patch).repeat(patch, axis=1).repeat(patch, axis=2)
    return np.take_along_axis(sets, cells[:, None, None], axis=1)[:, 0]
