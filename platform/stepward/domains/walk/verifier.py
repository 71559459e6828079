"""Ground truth of the number walk."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from stepward.domains.walk.states import WalkStates


class TargetVerifier:
    """1 where the target is reached, else 0."""

    def outcome(self, states: WalkStates) -> Float[np.ndarray, " n"]:
        """Anybody can see it, so it costs nothing."""
        return (states.current == states.target).astype(np.float64)
