"""What needs no candidates: the surrogate's answer changed alike for all states, or by a rule read off each state.

    c = d + a (d − blur d) + b (d − u)        d: the surrogate's answer, u: the fields before

The squared error of a step is a quadratic in θ = (a, b), ‖d − truth‖² − 2 θ·s + θᵀ G θ, so the best constant and the
best linear rule are found from a few numbers a state, without another pass.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float

from stepward.domains.pde.generators.direct import blur

NUM_TERMS = 5  # G_aa, G_ab, G_bb, s_a, s_b, over the squared norm of the truth; then statistics of the state
RIDGE = 1e-2


def change_terms(
    state: Float[np.ndarray, "n c h w"],
    plain: Float[np.ndarray, "n c h w"],
    truth: Float[np.ndarray, "n c h w"],
    *,
    periodic: bool = True,
) -> Float[np.ndarray, "n f"]:
    """The terms of the quadratic, and statistics of each state: log sizes of both changes, mean and spread, a channel.

    NaN where the answer is not finite.
    """
    smooth = blur(torch.from_numpy(np.ascontiguousarray(plain)), periodic=periodic).numpy()
    with np.errstate(all="ignore"):
        sharper, further, missing = (x.astype(np.float64) for x in (plain - smooth, plain - state, truth - plain))
        norm = (truth.astype(np.float64) ** 2).sum(axis=(1, 2, 3))
        pairs = [(sharper, sharper), (sharper, further), (further, further), (sharper, missing), (further, missing)]
        terms = [(x * y).sum(axis=(1, 2, 3)) / norm for x, y in pairs]
        sizes = [np.log(np.sqrt((x**2).mean(axis=(2, 3))) + 1e-9) for x in (sharper, further)]
    seen = np.concatenate([*sizes, state.mean(axis=(2, 3)), state.std(axis=(2, 3))], axis=1)
    return np.concatenate([np.stack(terms, axis=1), seen], axis=1)


def best_constant(terms: Float[np.ndarray, "n f"]) -> Float[np.ndarray, 2]:
    """(a, b) of least mean squared error over some states."""
    gram, side = _quadratic(terms)
    return np.linalg.lstsq(gram.mean(axis=0), side.mean(axis=0), rcond=None)[0]


def read_off(train: Float[np.ndarray, "n f"], states: Float[np.ndarray, "m f"]) -> Float[np.ndarray, "m 2"]:
    """(a, b) of every state by a linear rule on its statistics, learned on training states by ridge regression."""
    (gram, side), seen = _quadratic(train), train[:, NUM_TERMS:]
    mean, spread = seen.mean(axis=0), seen.std(axis=0) + 1e-6
    inputs, wanted = (_with_one((rows[:, NUM_TERMS:] - mean) / spread) for rows in (train, states))
    left = np.einsum("nij,nf,ng->ifjg", gram, inputs, inputs).reshape(2 * inputs.shape[1], -1)
    right = np.einsum("ni,nf->if", side, inputs).ravel()
    penalty = RIDGE * np.trace(left) / len(left) * np.eye(len(left))
    weights = np.linalg.solve(left + penalty, right).reshape(2, -1)
    return wanted @ weights.T


def changed_errors(
    terms: Float[np.ndarray, "n f"], errors: Float[np.ndarray, " n"], theta: Float[np.ndarray, "#n 2"]
) -> Float[np.ndarray, " n"]:
    """Error of each state with its answer changed by θ, from the error of the answer as it is."""
    gram, side = _quadratic(terms)
    theta = np.broadcast_to(theta, side.shape)
    squared = errors**2 - 2 * (theta * side).sum(axis=1) + np.einsum("ni,nij,nj->n", theta, gram, theta)
    return np.sqrt(np.maximum(squared, 0.0))


def _quadratic(terms: Float[np.ndarray, "n f"]) -> tuple[Float[np.ndarray, "n 2 2"], Float[np.ndarray, "n 2"]]:
    return terms[:, [0, 1, 1, 2]].reshape(-1, 2, 2), terms[:, 3:NUM_TERMS]


def _with_one(values: Float[np.ndarray, "n f"]) -> Float[np.ndarray, "n g"]:
    return np.concatenate([np.ones((len(values), 1)), values], axis=1)
