"""Trained weights back into a module."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

__all__ = ["device_of_choice", "fill"]


def fill(module: torch.nn.Module, weights: Mapping[str, np.ndarray]) -> None:
    """Load weights, move to a GPU where there is one, and make ready for scoring.

    Raises:
        ValueError: the weights are of another network.
    """
    try:
        module.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in weights.items()})
    except RuntimeError as error:
        raise ValueError(
            f"expected weights of the network that the settings describe, got others. Use the settings (and the base "
            f"model) they were trained with: {str(error)[:500]}"
        ) from error
    module.to(device_of_choice()).eval().requires_grad_(False)


def device_of_choice() -> str:
    """A GPU where there is one."""
    return "cuda" if torch.cuda.is_available() else "cpu"
