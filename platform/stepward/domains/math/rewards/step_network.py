"""The network of the step transformer, and the reward model around it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.special import expit
from torch import Tensor, nn

from stepward.domains.math.rewards.step_embeddings import embedder_of
from stepward.domains.math.rewards.weights import fill
from stepward.domains.math.states import MathStates

__all__ = ["StepNetwork", "StepReward"]

ROWS = 1024  # of a forward pass without gradients


class StepNetwork(nn.Module):
    """Vectors of steps -> a logit after every step.

    Attention is causal, so a logit depends on the steps before and on nothing after; and as padding stands on the
    right, the same mask keeps it out.

    Args:
        input_width: numbers C of a step's vector.
        width, num_layers, num_heads, dropout: of the transformer; its inner layers have 4 times the width.
        max_steps: length of the table of positions.
    """

    def __init__(
        self, input_width: int, *, width: int, num_layers: int, num_heads: int, dropout: float, max_steps: int
    ) -> None:
        super().__init__()
        self.projection = nn.Linear(input_width, width)
        self.position = nn.Embedding(max_steps, width)
        layer = nn.TransformerEncoderLayer(
            width, num_heads, 4 * width, dropout, activation="gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(
            layer, num_layers, norm=nn.LayerNorm(width), enable_nested_tensor=False, mask_check=False
        )
        self.output = nn.Linear(width, 1)

    def step_logits(self, embeddings: Float[Tensor, "n t c"]) -> Float[Tensor, "n t"]:
        """The logit after every step; those of padded steps mean nothing."""
        num_steps = embeddings.shape[1]
        places = torch.arange(num_steps, device=embeddings.device)
        later = places[None, :] > places[:, None]
        states = self.layers(self.projection(embeddings) + self.position(places), mask=later)
        return self.output(states)[..., 0]

    def forward(self, embeddings: Float[Tensor, "n t c"], lengths: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
        """The logit after the last step of every row; rows hold at least one step."""
        size = max(len(lengths), 1) if torch.is_grad_enabled() else ROWS
        pieces = []
        for first in range(0, len(lengths), size):
            length = lengths[first : first + size]
            logits = self.step_logits(embeddings[first : first + size, : int(length.max())])
            pieces.append(logits.gather(1, length[:, None] - 1)[:, 0])
        return torch.cat(pieces)


class StepReward:
    """sigmoid(logit after the last step), applied once.

    FLOPs are charged as tokens of a pass through encoder and network together: a child costs its line's tokens in the
    encoder, since vectors of lines are cached, and all of its steps in the network. The question, embedded once, is
    left out.

    Args:
        module: the network; its weights are replaced.
        base: the frozen model that embeds lines.
        steps: states -> question and lines of each.
        encode: states -> inputs of the network.
        weights: of training.
    """

    def __init__(
        self,
        module: StepNetwork,
        base: str,
        steps: Callable[[MathStates], list[list[str]]],
        encode: Callable[[MathStates], dict[str, np.ndarray]],
        weights: Mapping[str, np.ndarray],
    ) -> None:
        self._module, self._base, self._steps, self._encode = module, base, steps, encode
        fill(self._module, weights)
        positions = self._module.position.weight.numel()  # looked up, not multiplied
        self._a_step = sum(weight.numel() for weight in self._module.parameters()) - positions
        self._a_token = embedder_of(base).num_parameters
        self.num_parameters = self._a_step + self._a_token

    def score(self, parents: MathStates, children: MathStates) -> Float[np.ndarray, " n"]:
        """Probability that the labelling policy solves the problem from each child."""
        return expit(self.logits(children).astype(np.float64))

    def charged_tokens(self, children: MathStates) -> Int[np.ndarray, " n"]:
        """Tokens of encoder and network together that cost as much as the child's last line and its steps."""
        steps = self._steps(children)
        tokens = np.array(embedder_of(self._base).token_counts([row[-1] for row in steps]), np.float64)
        work = self._a_token * tokens + self._a_step * np.array([len(row) for row in steps], np.float64)
        return np.ceil(work / self.num_parameters).astype(np.int64)

    @torch.inference_mode()
    def logits(self, states: MathStates) -> Float[np.ndarray, " n"]:
        """The network's own answer."""
        device = self._module.output.weight.device
        pieces = [np.zeros(0, np.float32)]
        for first in range(0, len(states), ROWS):
            inputs = self._encode(states.take(slice(first, first + ROWS)))
            tensors = {name: torch.from_numpy(array).to(device) for name, array in inputs.items()}
            pieces.append(self._module(**tensors).cpu().numpy())
        return np.concatenate(pieces)
