"""What a forward pass costs, measured: torch counts the multiplications of one pass on the grid at hand.

Costs are charged as 2 · parameters · tokens. A convolution uses its weights once a position, so a network has
(measured FLOPs) / (2 · parameters) effective positions, and these are the tokens it is charged for.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


class Positions:
    """Effective positions of a network by the shape of the fields; measured once a shape.

    Args:
        module: the network.
        run: calls it on one row of the given shape [C, H, W].
    """

    def __init__(self, module: nn.Module, run: Callable[[tuple[int, ...]], object]) -> None:
        self.num_parameters = sum(parameter.numel() for parameter in module.parameters())
        self._run, self._known = run, dict[tuple[int, ...], float]()

    def __call__(self, shape: tuple[int, ...]) -> float:
        """Positions of one row of fields [C, H, W]; 0 for something without weights."""
        if not self.num_parameters:
            return 0.0
        if shape not in self._known:
            with torch.inference_mode(), FlopCounterMode(display=False) as counter:
                self._run(shape)
            self._known[shape] = counter.get_total_flops() / (2.0 * self.num_parameters)
        return self._known[shape]

    def rows(self, fields: np.ndarray | torch.Tensor) -> Float[np.ndarray, " n"]:
        """Positions of every row."""
        shape = fields.shape
        return np.full(shape[0], self(tuple(shape[1:])))
