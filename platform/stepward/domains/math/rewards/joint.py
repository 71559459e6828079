"""Learning beside step scores, from the same pass: how the solution ends, and what it says next.

    loss of a row = step loss + α · cross-entropy to the outcome of the solution it is from + β · L

L is the mean cross-entropy of the next token over the solutions of the minibatch, questions left out, in nats a token.
Both are there in training only: a trained model scores as any other does, at the same cost.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy
from transformers import PreTrainedModel

from stepward.domains.math.rewards.body import PADDING, Pool, StepScorer

__all__ = ["UNKNOWN", "JointScorer"]

UNKNOWN = -1.0  # outcome of a row whose solution was not labelled to its end


class JointScorer(StepScorer):
    """A step scorer that learns α times the outcome and β times the next tokens too.

    Args:
        body, head_width, pool: see `StepScorer`.
        outcome_weight: α; a second head, linear, reads what the first one reads.
        next_step_weight: β; next tokens are read off by the body's own input embeddings, as tied models do.

    Raises:
        ValueError: β for a body that reads both ways, and so sees the next token.
    """

    def __init__(
        self,
        body: PreTrainedModel,
        *,
        head_width: int | None,
        pool: Pool,
        outcome_weight: float,
        next_step_weight: float,
    ) -> None:
        super().__init__(body, head_width=head_width, pool=pool)
        if next_step_weight and not self.causal:
            raise ValueError(
                f"next_step_weight: expected a causal body, got {type(body).__name__}, which sees the next token. "
                "Leave it at 0."
            )
        self.outcome_weight, self.next_step_weight = outcome_weight, next_step_weight
        self.outcome = nn.Linear(body.config.get_text_config().hidden_size, 1) if outcome_weight else None

    @property
    def num_parameters(self) -> int:
        """Weights of a scoring pass: the head for outcomes has no part in it."""
        return super().num_parameters - sum(w.numel() for w in (self.outcome.parameters() if self.outcome else ()))

    def forward(  # type: ignore[override]
        self,
        tokens: Int[Tensor, "n t"],
        outcome: Float[Tensor, " n"] | None = None,
        question: Int[Tensor, " n"] | None = None,
    ) -> Float[Tensor, " n"] | tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
        """Logits of rows; in training also the loss beside, of every row.

        Args:
            outcome: share of successes of the solution each row is from, or `UNKNOWN`.
            question: tokens of each row that are question.
        """
        if not self.training:
            return super().forward(tokens)
        rows = self.rows(tokens)
        hidden, reads = self.read(rows)
        beside = tokens.new_zeros(len(tokens), dtype=torch.float32)
        if self.outcome is not None:
            assert outcome is not None, "see TextPRM.beside"
            logits = self.outcome(hidden.float())[:, 0][rows.which].float()
            losses = binary_cross_entropy_with_logits(logits, outcome.clamp(min=0), reduction="none")
            beside = beside + self.outcome_weight * torch.where(outcome == UNKNOWN, torch.zeros_like(losses), losses)
        if self.next_step_weight:
            assert question is not None, "see TextPRM.beside"
            start = question.new_zeros(len(rows.distinct)).index_put((rows.which,), question)
            beside = beside + self.next_step_weight * self._next_tokens(rows.distinct, start, reads)
        return self.logits_at(hidden, rows), beside

    def _next_tokens(
        self, distinct: Int[Tensor, "d t"], start: Int[Tensor, " d"], reads: list[tuple[Tensor, Tensor]]
    ) -> Float[Tensor, ""]:
        """Mean cross-entropy of the tokens of the solutions that were read, each given those before it."""
        embeddings = self.body.get_input_embeddings().weight
        total, count = embeddings.new_zeros(()), 0
        for part, states in reads:
            wanted = distinct[part, 1 : states.shape[1]].long()
            place = torch.arange(1, states.shape[1], device=wanted.device)
            said = (wanted != PADDING) & (place >= start[part, None])
            logits = states[:, :-1][said] @ embeddings.T
            total = total + cross_entropy(logits.float(), wanted[said], reduction="sum")
            count += int(said.sum())
        return total / max(count, 1)
