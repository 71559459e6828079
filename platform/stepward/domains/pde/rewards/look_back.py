"""Looking back without training: the guess that explains the last observed steps best. What a trained reward model that
reads the last frames has to beat.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from pydantic import Field

from stepward.core.config import Config
from stepward.core.interfaces import Domain
from stepward.domains.pde.flops import Positions
from stepward.domains.pde.rewards.common import finite_scores, in_pieces
from stepward.domains.pde.states import PDEStates, as_numpy, seen
from stepward.domains.pde.surrogates import Draws, Surrogate, as_tensor, load_surrogate


class LookBackSettings(Config):
    """−‖surrogate(frame before, guess) − frame‖ over the last steps, relative to these steps."""

    kind: Literal["look_back"] = "look_back"
    surrogate: str = Field("artifacts/pde/pretrain/default", description="folder or URL of the surrogate that guesses")
    num_steps: int = Field(1, ge=1, description="last steps that are explained; problems.context must hold one more")

    def build(self, domain: Domain) -> LookBack:
        """The reward model, with its surrogate loaded."""
        return LookBack(load_surrogate(self.surrogate), self.num_steps)


class LookBack:
    """One forward pass a candidate and step. What a rollout made itself is explained best by the guess that made it: so
    a guess, once taken, is kept.
    """

    def __init__(self, surrogate: Surrogate, num_steps: int = 1) -> None:
        self.surrogate, self.num_steps, self.num_parameters = surrogate, num_steps, surrogate.num_parameters
        self._positions = Positions(surrogate, lambda shape: surrogate(surrogate.nothing(shape)))

    def score(self, parents: PDEStates, children: PDEStates) -> Float[np.ndarray, " n"]:
        """Minus the error of the last steps under the guess of each child.

        Raises:
            ValueError: children that guess nothing, or parents that remember too little.
        """
        if not np.isfinite(children.guess).all():
            raise ValueError(
                "Reward model look_back: expected candidates that are guesses of a constant, got others. Use the "
                "proposer of kind guess."
            )
        return in_pieces(self._score, parents, children) if len(children) else np.zeros(0)

    def charged_tokens(self, children: PDEStates) -> Float[np.ndarray, " n"]:
        """Effective positions of the forward passes."""
        return self.num_steps * self._positions.rows(children.fields)

    def _score(self, parents: PDEStates, children: PDEStates) -> Float[np.ndarray, " n"]:
        known, device = self.surrogate.frames, self.surrogate.device
        frames = as_tensor(seen(parents, known + self.num_steps), device)
        told = Draws.told(torch.from_numpy(children.guess).to(device))
        missed, moved = np.zeros(len(children)), np.full(len(children), 1e-12)
        with torch.inference_mode():
            for end in range(known, known + self.num_steps):
                explained = self.surrogate(frames[:, end - known : end].flatten(1, 2), told)
                before, after = frames[:, end - 1], frames[:, end]
                missed += as_numpy((explained - after).double().pow(2).sum(dim=(1, 2, 3)))
                moved += as_numpy((after - before).double().pow(2).sum(dim=(1, 2, 3)))
        return finite_scores(-np.sqrt(missed / moved))
