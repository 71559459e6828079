"""Heads on hidden states of steps, and the reward model around them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.special import expit
from torch import Tensor, nn

from stepward.core.interfaces import Status
from stepward.domains.math.rewards.hidden_heads import Head, LinearHead, TransformerHead, beginnings
from stepward.domains.math.rewards.step_network import StepNetwork
from stepward.domains.math.rewards.weights import fill
from stepward.domains.math.states import MathDomain, MathStates, object_array

if TYPE_CHECKING:
    from stepward.domains.math.step_states import StepStates

__all__ = ["HiddenNetwork", "HiddenReward"]

ROWS = 1024  # of a forward pass without gradients
LEAST = 1e-6  # standard deviation of a number that does not vary


@runtime_checkable
class ReadsStates(Protocol):
    """Settings of a reward model on hidden states: which states, and what of them its head reads."""

    @property
    def head(self) -> Head:
        """What reads the states."""
        ...

    def states(self) -> StepStates:
        """Where the states come from."""
        ...

    def texts(self, states: MathStates) -> list[list[str]]:
        """The texts whose states are read, of every state."""
        ...

    def encode_from(self, source: StepStates, states: MathStates) -> dict[str, np.ndarray]:
        """Inputs of the network."""
        ...


class HiddenNetwork(nn.Module):
    """States of steps -> a logit after the last of them.

    Every number of a state is brought to mean 0 and variance 1 of the training rows: those of a language model differ
    by factors of hundreds.

    Args:
        width: numbers w of a state.
        head: what reads them. Linear and MLP heads with history read the last state x_t, the one before, their
            difference and the mean of all, 4 w numbers; without it x_t.
    """

    mean: Tensor
    deviation: Tensor
    head: nn.Module

    def __init__(self, width: int, head: Head) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("deviation", torch.ones(width))
        self.sequence = isinstance(head, TransformerHead)
        if isinstance(head, TransformerHead):
            sizes = head.model_dump(include={"width", "num_layers", "num_heads", "dropout", "max_steps"})
            self.head = StepNetwork(width, **sizes)
            return
        inputs = 4 * width if head.history else width
        if isinstance(head, LinearHead):
            self.head = nn.Linear(inputs, 1)
            nn.init.zeros_(self.head.weight)  # else a few hundred steps go by until chance is unlearned
        else:
            drop = head.dropout
            self.head = nn.Sequential(
                nn.Dropout(drop), nn.Linear(inputs, head.width), nn.SiLU(), nn.Dropout(drop), nn.Linear(head.width, 1)
            )

    @property
    def num_parameters(self) -> int:
        """Weights of a pass: places are looked up, not multiplied."""
        total = sum(weight.numel() for weight in self.parameters())
        return total - (self.head.position.weight.numel() if isinstance(self.head, StepNetwork) else 0)

    def scale_to(self, states: Float[Tensor, "n t w"], lengths: Int[Tensor, " n"]) -> None:
        """Take means and deviations from these rows."""
        there = torch.arange(states.shape[1], device=states.device) < lengths[:, None]
        rows = states[there]
        self.mean.copy_(rows.mean(0))
        self.deviation.copy_(rows.std(0, correction=0).clamp(min=LEAST))

    def forward(self, states: Float[Tensor, "n t w"], lengths: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
        """The logit of every row."""
        scaled = (states - self.mean) / self.deviation
        if self.sequence:
            logits: Tensor = self.head(scaled, lengths)
            return logits
        last = scaled[:, 0]
        if scaled.shape[1] > 1:
            last = torch.cat([last, scaled[:, 1], last - scaled[:, 1], scaled[:, 2]], dim=1)
        return self.head(last)[:, 0]


class HiddenReward:
    """sigmoid(logit) from the states at the ends of a child's steps; 0 for a dead end.

    FLOPs are charged as tokens of a pass through language model and head together: a child whose states come from
    sampling costs the head alone, any other one the reading of its text up to the last layer that is asked for, too.
    """

    def __init__(self, settings: ReadsStates, weights: Mapping[str, np.ndarray]) -> None:
        self._settings, self._states = settings, settings.states()
        self._module = HiddenNetwork(self._states.width, settings.head)
        fill(self._module, weights)
        self._a_token, self._a_head = self._states.parameters_a_token, self._module.num_parameters
        self.num_parameters = self._a_token + self._a_head

    @torch.inference_mode()
    def score(self, parents: MathStates, children: MathStates) -> Float[np.ndarray, " n"]:
        """Probability that the labelling policy solves the problem from each child."""
        scores, alive = np.zeros(len(children)), np.flatnonzero(_alive(children))
        for first in range(0, len(alive), ROWS):
            rows = alive[first : first + ROWS]
            inputs = self._settings.encode_from(self._states, children.take(rows))
            tensors = {name: torch.from_numpy(array).to(self._module.mean.device) for name, array in inputs.items()}
            scores[rows] = expit(self._module(**tensors).float().cpu().numpy().astype(np.float64))
        return scores

    def charged_tokens(self, children: MathStates) -> Float[np.ndarray, " n"]:
        """Passes of a token through language model and head together that cost as much as scoring each child."""
        alive, rows = _alive(children), self._settings.texts(children)
        heads = np.array([len(row) for row in rows]) if self._module.sequence else np.ones(len(children))
        read = np.zeros(len(children))
        mine = np.flatnonzero(alive & ~self._sampled(children, rows))
        read[mine] = self._to_read(children.take(mine))
        return alive * (heads * self._a_head + read * self._a_token) / self.num_parameters

    def _sampled(self, children: MathStates, rows: list[list[str]]) -> Bool[np.ndarray, " n"]:
        """Whether all states of each child come from sampling."""
        lengths = [len(row) for row in rows]
        questions = np.repeat(children.question, lengths)
        there = self._states.sampled(questions, np.array([text for row in rows for text in row], object))
        return np.array([part.all() for part in np.split(there, np.cumsum(lengths)[:-1])], bool)[: len(rows)]

    def _to_read(self, children: MathStates) -> Int[np.ndarray, " n"]:
        """Tokens of each text that are not in another one of the batch, the longest that it goes on from."""
        rows = beginnings(children)
        counts = self._states.num_tokens(children.question, object_array([row[-1] for row in rows]))
        tokens = counts.copy()
        index = {(question, row[-1]): i for i, (question, row) in enumerate(zip(children.question, rows, strict=True))}
        for i, (question, row) in enumerate(zip(children.question, rows, strict=True)):
            known = [index[question, text] for text in row[:-1] if (question, text) in index]
            tokens[i] -= max((counts[j] for j in known), default=0)
        return tokens


def _alive(children: MathStates) -> Bool[np.ndarray, " n"]:
    return np.asarray(MathDomain().status(children) != Status.DEAD)
