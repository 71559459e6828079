"""One step of a rollout as images."""

from __future__ import annotations

import numpy as np

from stepward.domains.pde.states import PDEStates, as_numpy
from stepward.domains.pde.verifier import ReferenceVerifier

__all__ = ["pictures"]

CHANNEL = 0  # density, where there is one


def pictures(parent: PDEStates, candidates: PDEStates, chosen: int) -> dict[str, np.ndarray]:
    """State, the surrogate's own answer, choice and truth [H, W], and all candidates [k, H, W], of one channel."""
    fields, deterministic = as_numpy(candidates.fields), as_numpy(candidates.deterministic)
    truth = ReferenceVerifier().truth(candidates.take(np.array([chosen])))
    return {
        "state": as_numpy(parent.fields)[0, CHANNEL],
        "deterministic": deterministic[chosen, CHANNEL],
        "choice": fields[chosen, CHANNEL],
        "truth": truth[0, CHANNEL],
        "candidates": fields[:, CHANNEL],
    }
