"""The sequences of one call: what each has said, how likely it was, and when it ended."""

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64, UInt64
from torch import Tensor

from stepward.domains.math.engine.config import Continuations, EngineStats, FinishReason, SamplingConfig
from stepward.domains.math.engine.drawing import draw_tokens
from stepward.domains.math.engine.stopping import StopRule
from stepward.domains.math.engine.streams import Uniforms

__all__ = ["Ledger", "branch"]


class Ledger:
    """Draws the next token of sequences and keeps the account.

    Args:
        prefix: which prefix each sequence continues.
        prefix_lengths: its number of tokens.
        keys: the stream of each sequence; token t is drawn from counter t.
        uniforms: `Uniforms`.
        config: temperature and top-p.
        stop: the `StopRule`.
    """

    def __init__(
        self,
        *,
        prefix: Int64[np.ndarray, " n"],
        prefix_lengths: Int64[np.ndarray, " n"],
        keys: UInt64[np.ndarray, " n"],
        uniforms: Uniforms,
        config: SamplingConfig,
        stop: StopRule,
    ) -> None:
        self.prefix, self.prefix_lengths = prefix, prefix_lengths
        self.keys, self.uniforms, self.config, self.stop = keys, uniforms, config, stop
        width = max(1, min(config.max_new_tokens, stop.max_positions))
        self.tokens = np.full((len(prefix), width), -1, dtype=np.int32)
        self.log_probs = np.zeros((len(prefix), width), dtype=np.float32)
        self.lengths = np.zeros(len(prefix), dtype=np.int64)
        self.reasons = np.full(len(prefix), FinishReason.RUNNING, dtype=np.int8)
        self.reasons[prefix_lengths >= stop.max_positions] = FinishReason.CONTEXT
        self.ends: list[tuple[np.ndarray, Tensor]] = []  # sequences that ended, and the states they ended in
        self.starts: list[tuple[np.ndarray, Tensor]] = []  # prefixes, and the states at their ends

    def draw(
        self,
        sequences: Int64[np.ndarray, " s"],
        source: Int64[np.ndarray, " s"],
        logits: Float[Tensor, "n v"],
        states: Float[Tensor, "n l c"] | None,
    ) -> Int64[np.ndarray, " s"]:
        """Append a token to each of `sequences`, from row `source` of the logits, and note which end with it."""
        at = self.lengths[sequences]
        tokens, log_probs = draw_tokens(
            logits,
            torch.from_numpy(source).to(logits.device),
            torch.from_numpy(self.uniforms(self.keys[sequences], at)).to(logits.device),
            temperature=self.config.temperature,
            top_p=self.config.top_p,
        )
        self.tokens[sequences, at] = tokens
        self.log_probs[sequences, at] = log_probs
        self.lengths[sequences] += 1
        self.reasons[sequences] = self.stop(
            sequences, self.prefix_lengths[sequences], self.tokens[sequences], self.lengths[sequences]
        )
        if states is not None:
            ended = np.flatnonzero(self.reasons[sequences] != FinishReason.RUNNING)
            begun, first = np.unique(self.prefix[sequences[at == 0]], return_index=True)
            self._keep(self.ends, sequences[ended], source[ended], states)
            self._keep(self.starts, begun, source[at == 0][first], states)
        return tokens

    @staticmethod
    def _keep(kept: list[tuple[np.ndarray, Tensor]], names: np.ndarray, rows: np.ndarray, states: Tensor) -> None:
        if len(names):
            kept.append((names, states.index_select(0, torch.from_numpy(rows).to(states.device))))

    def close(self, stats: EngineStats) -> Continuations:
        """The result, cut to the longest continuation."""
        width = int(self.lengths.max(initial=0))
        return Continuations(
            prefix=self.prefix,
            tokens=self.tokens[:, :width],
            log_probs=self.log_probs[:, :width],
            lengths=self.lengths,
            reasons=self.reasons,
            stats=stats,
            states=self._gathered(self.ends, len(self.prefix)),
            starts=self._gathered(self.starts, int(self.prefix.max(initial=-1)) + 1),
        )

    def _gathered(self, kept: list[tuple[np.ndarray, Tensor]], num: int) -> Float32[np.ndarray, "n l c"] | None:
        if not self.config.state_layers:
            return None
        found = torch.cat([states for _, states in kept]).float().cpu() if kept else torch.zeros(0, 0, 0)
        states = np.zeros((num, *found.shape[1:]), dtype=np.float32)
        if kept:
            states[np.concatenate([names for names, _ in kept])] = found.numpy()
        return states


def branch(
    source: Int64[np.ndarray, " s"], tokens: Int64[np.ndarray, " s"]
) -> tuple[Int64[np.ndarray, " r"], Int64[np.ndarray, " r"], Int64[np.ndarray, " s"]]:
    """Sequences that came from the same row and drew the same token stay one row.

    Returns the parent row and the token of each new row (by parent, then token), and each sequence's new row.
    """
    base = int(tokens.max(initial=0)) + 1
    pairs, row_of = np.unique(source * base + tokens, return_inverse=True)
    return pairs // base, pairs % base, row_of.astype(np.int64)
