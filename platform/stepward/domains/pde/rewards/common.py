"""What reward models of this domain share: pieces, and an answer for candidates that are no fields any more."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Float

from stepward.core.interfaces import WORST
from stepward.domains.pde.states import PDEStates
from stepward.domains.pde.surrogates.storage import fill

ROWS = 256
NOT_PERIODIC = "Train one that is not periodic: learner.kind=cnn learner.padding=replicate"

M = TypeVar("M", bound=torch.nn.Module)


def finite_scores(scores: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Scores as float64, `WORST` where they are not finite (or, of some rewards, where a candidate has no flux)."""
    scores = np.asarray(scores, np.float64)
    return np.where(np.isfinite(scores), np.maximum(scores, WORST), WORST)


def in_pieces(
    score: Callable[[PDEStates, PDEStates], np.ndarray], parents: PDEStates, children: PDEStates, rows: int = ROWS
) -> np.ndarray:
    """`score` of at most `rows` steps at a time, joined; there is one step at least."""
    starts = range(0, len(children), rows)
    parts = [score(parents.take(slice(s, s + rows)), children.take(slice(s, s + rows))) for s in starts]
    return np.concatenate(parts)


def filled(module: M, weights: Mapping[str, np.ndarray], fields_device: str | None = None) -> M:
    """A module with weights, for inference, on the accelerator if there is one."""
    fill(module, dict(weights), "reward model")
    where = fields_device or ("cuda" if torch.cuda.is_available() else "cpu")
    return module.to(where).eval().requires_grad_(False)
