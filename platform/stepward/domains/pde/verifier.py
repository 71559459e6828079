"""Ground truth of rollouts: minus the error to the reference trajectory, under a published convention."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from stepward.core.measures import Measure
from stepward.core.registry import lookup
from stepward.domains.pde.metrics import CONVENTIONS, per_sample
from stepward.domains.pde.references import trajectories
from stepward.domains.pde.states import PDEStates, as_numpy, is_finite

WORDS = {
    "nrmse": "NRMSE over all channels and cells",
    "pdebench_nrmse": "PDEBench nRMSE",
    "well_vrmse": "The Well VRMSE",
    "poseidon_l1": "Poseidon median relative L1, last step",
}
MEASURES = tuple(
    Measure(
        name,
        words,
        unit="%" if name == "poseidon_l1" else "",
        per_step=True,
        over_steps="last" if CONVENTIONS[name].last_frame_only else "mean",
        over_problems="median" if CONVENTIONS[name].over_samples is np.median else "mean",
    )
    for name, words in WORDS.items()
)


class ReferenceVerifier:
    """outcome = −error of the fields at their frame; −inf for a rollout that blew up.

    Args:
        convention: a name in `metrics.CONVENTIONS`. The default weighs all channels and cells together.
    """

    measures = MEASURES

    def __init__(self, convention: str = "nrmse") -> None:
        lookup(CONVENTIONS, convention, kind="error convention")
        self.convention = convention

    def outcome(self, states: PDEStates) -> Float[np.ndarray, " n"]:
        """Minus the error of each state, higher is better."""
        if not len(states):
            return np.zeros(0)
        fields, truth = as_numpy(states.fields), self.truth(states)
        good = is_finite(fields)
        outcome = np.full(len(states), -np.inf)
        if good.any():
            outcome[good] = -per_sample(self.convention, fields[good][:, None], truth[good][:, None])
        return outcome

    def measure(self, roots: PDEStates, found: PDEStates) -> dict[str, Float[np.ndarray, " n"]]:
        """Error of each state under every convention; NaN where its fields are not finite."""
        values = {measure.name: np.full(len(found), np.nan) for measure in MEASURES}
        good = np.flatnonzero(is_finite(found.fields)) if len(found) else np.zeros(0, np.int64)
        if len(good):
            fields, truth = as_numpy(found.fields)[good, None], self.truth(found)[good, None]
            for name, column in values.items():
                column[good] = per_sample(name, fields, truth)
        return values

    def truth(self, states: PDEStates) -> Float[np.ndarray, "n c h w"]:
        """What the fields of each state should be.

        Raises:
            ValueError: a trajectory has no frame that late, or another grid than the states.
        """
        frames = []
        for trajectory, frame in zip(trajectories(states.reference.tolist()), states.frame.tolist(), strict=True):
            if not 0 <= frame < len(trajectory) or trajectory.shape[1:] != tuple(states.fields.shape[1:]):
                raise ValueError(
                    f"Verifier: expected a reference of more than {frame} frames [C, H, W] = "
                    f"{tuple(states.fields.shape[1:])}, got {trajectory.shape}. Shorten the horizon or match the grids."
                )
            frames.append(trajectory[frame])
        return np.stack(frames) if frames else as_numpy(states.fields)

    def patch_errors(self, states: PDEStates, patch: int) -> Float[np.ndarray, "n p q"]:
        """Mean squared error over every patch of patch x patch cells, channels weighed by the truth's mean square.

        Raises:
            ValueError: the grid does not divide into patches.
        """
        truth = self.truth(states)
        height, width = truth.shape[2:]
        if height % patch or width % patch:
            raise ValueError(f"expected a patch that divides the grid {height} x {width}; got {patch}.")
        scale = (truth**2).mean(axis=(2, 3), keepdims=True) + 1e-12
        error = ((as_numpy(states.fields) - truth) ** 2 / scale).mean(axis=1)
        return error.reshape(len(truth), height // patch, patch, width // patch, patch).mean(axis=(2, 4))
