"""Ground truth of rollouts: minus the error to the reference trajectory, under a published convention."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from stepward.core.measures import Measure
from stepward.core.registry import lookup
from stepward.domains.pde.metrics import CONVENTIONS, per_sample
from stepward.domains.pde.references import trajectories
from stepward.domains.pde.states import PDEStates, as_numpy, is_finite
from stepward.domains.pde.structure import band_errors, drift

FIXED = "fixed_nrmse"  # NRMSE with one norm for all steps: relative errors explode where a flow decays
WORDS = {
    "nrmse": "NRMSE over all channels and cells",
    "pdebench_nrmse": "PDEBench nRMSE",
    "well_vrmse": "The Well VRMSE",
    "poseidon_l1": "Poseidon median relative L1, last step",
    FIXED: "error over the norm of the first frame",
}
STRUCTURE = {
    "nrmse_large": "NRMSE at more than 8 cells a wave",
    "nrmse_middle": "at 4 to 8 cells",
    "nrmse_small": "below 4 cells",
    "drift": "change of totals since the first frame, over the root mean square of the channel, the worst channel",
}
MEASURES = tuple(
    Measure(
        name,
        words,
        unit="%" if name == "poseidon_l1" else "",
        per_step=True,
        over_steps="last" if name in CONVENTIONS and CONVENTIONS[name].last_frame_only else "mean",
        over_problems="median" if name in CONVENTIONS and CONVENTIONS[name].over_samples is np.median else "mean",
    )
    for name, words in (WORDS | STRUCTURE).items()
)


class ReferenceVerifier:
    """outcome = −error of the fields at their frame; −inf for a rollout that blew up.

    Args:
        convention: a name in `metrics.CONVENTIONS`, or "fixed_nrmse". The default weighs all channels and cells
            together.
    """

    measures = MEASURES

    def __init__(self, convention: str = "nrmse") -> None:
        lookup(WORDS, convention, kind="error convention")
        self.convention = convention

    def outcome(self, states: PDEStates) -> Float[np.ndarray, " n"]:
        """Minus the error of each state, higher is better."""
        if not len(states):
            return np.zeros(0)
        good = np.flatnonzero(is_finite(states.fields))
        outcome = np.full(len(states), -np.inf)
        if len(good):
            outcome[good] = -self._errors(states.take(good), (self.convention,))[self.convention]
        return outcome

    def measure(self, roots: PDEStates, found: PDEStates) -> dict[str, Float[np.ndarray, " n"]]:
        """Every measure of each state; NaN where its fields are not finite."""
        values = {measure.name: np.full(len(found), np.nan) for measure in MEASURES}
        good = np.flatnonzero(is_finite(found.fields)) if len(found) else np.zeros(0, np.int64)
        if len(good):
            states = found.take(good)
            fields, first = (as_numpy(batch.fields) for batch in (states, roots.take(good)))
            known = self._errors(states, tuple(WORDS)) | band_errors(fields, self.truth(states))
            for name, errors in (known | {"drift": drift(fields, first)}).items():
                values[name][good] = errors
        return values

    def _errors(self, states: PDEStates, names: tuple[str, ...]) -> dict[str, Float[np.ndarray, " n"]]:
        """Errors of states whose fields are finite, under some conventions."""
        fields, truth = as_numpy(states.fields)[:, None], self.truth(states)[:, None]
        found = {name: per_sample(name, fields, truth) for name in names if name != FIXED}
        if FIXED in names:
            first = np.stack([t[0] for t in trajectories(states.reference.tolist())])
            size, norm = (np.sqrt((f.astype(np.float64) ** 2).sum(axis=(1, 2, 3))) for f in (truth[:, 0], first))
            found[FIXED] = per_sample("nrmse", fields, truth) * size / norm
        return found

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
