"""A trained text model inside a search: what was read of a solution is not read again for its next step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float, Int, UInt64
from scipy.special import expit

from stepward.domains.math.engine import IncrementalScorer
from stepward.domains.math.rewards.body import ROWS, StepScorer
from stepward.domains.math.rewards.rows import padded
from stepward.domains.math.rewards.weights import fill
from stepward.domains.math.states import MathStates, prefix_keys, roots

__all__ = ["OutcomeReward", "TextReward"]

CACHE_BYTES = {"cpu": 2**28, "cuda": 2**32}  # of keys and values; the least recently used go first
MAX_STATES = 100_000  # remembered at once; then all is forgotten, which costs time and changes nothing else


class TextReward:
    """sigmoid(logit) at the end of each child's text.

    A causal model keeps keys and values of the states it has scored and runs the tokens of new steps only. Where a
    child's tokens do not begin with its parent's (the text was cut to the context, or a tokenizer joins across steps)
    the whole text is read, and so where parents are among the children, unread: a path is read in one pass. An encoder
    reads the whole text always. Rounding differs with the way by about 1e-6.

    Args:
        tokens: states -> token ids of every text.
        module: body and head.
        weights: of training, which take the place of the module's; none: it is ready.
    """

    def __init__(
        self,
        tokens: Callable[[MathStates], list[list[int]]],
        module: StepScorer,
        weights: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        if weights is not None:
            fill(module, weights)
        self._tokens, self._module = tokens, module
        max_bytes = CACHE_BYTES[module.body.device.type]
        self._scorer = IncrementalScorer(module.body, max_bytes=max_bytes) if module.causal else None
        self._entered: set[int] = set()  # states whose tokens the scorer has
        self._logits: dict[int, float] = {}
        self._lengths: dict[int, int] = {}  # in tokens, of texts that were scored or charged
        self.num_parameters = module.num_parameters

    def score(self, parents: MathStates, children: MathStates) -> Float[np.ndarray, " n"]:
        """Probability that the labelling policy solves the problem from each child."""
        if len(self._logits) > MAX_STATES:
            self.forget()
        keys = prefix_keys(children)
        _, first = np.unique(keys, return_index=True)
        new = first[[int(keys[i]) not in self._logits for i in first]]
        if len(new):
            self._learn(parents.take(new), children.take(new))
        return expit(np.array([self._logits[int(key)] for key in keys], np.float64))

    def charged_tokens(self, children: MathStates) -> Int[np.ndarray, " n"]:
        """Tokens that scoring each child reads, in the model's own tokens.

        An encoder reads the whole text. A causal model reads the last step, and with a first step the question too,
        once for each problem. What has left the cache and is read again is not charged, nor is a state that stayed as
        it was.
        """
        whole = self._lengths_of(children)
        if self._scorer is None:
            return whole
        bare = roots(children.question, children.reference)
        before = self._lengths_of(bare.replace(text=children.before()))
        own = np.where(children.num_steps > 0, whole - before, 0)
        own = np.where((children.num_steps > 0) & (children.last_tokens == 0), 0, np.maximum(own, 0))
        starts = np.flatnonzero(children.num_steps <= 1)
        _, once = np.unique(children.problem[starts], return_index=True)
        rows = starts[once]
        own[rows] += np.where(children.num_steps[rows] > 0, before[rows], whole[rows])
        return own

    def forget(self) -> None:
        """Drop all that was read."""
        if self._scorer is not None:
            self._scorer.forget()
        self._entered.clear()
        self._logits.clear()
        self._lengths.clear()

    def _lengths_of(self, states: MathStates) -> Int[np.ndarray, " n"]:
        """Tokens of every text; a text that was met before is not cut into tokens again."""
        if len(self._lengths) > MAX_STATES:
            self._lengths.clear()
        keys = prefix_keys(states).tolist()
        first = {key: row for row, key in reversed(list(enumerate(keys))) if key not in self._lengths}
        rows = list(first.values())
        found = self._tokens(states.take(np.array(rows, np.int64)))
        self._lengths.update(zip(first, map(len, found), strict=True))
        return np.array([self._lengths[key] for key in keys], np.int64)

    @torch.inference_mode()
    def _learn(self, parents: MathStates, children: MathStates) -> None:
        """Logits of distinct children that have none yet."""
        keys, above = prefix_keys(children), prefix_keys(parents)
        tokens, begun = self._tokens(children), self._tokens(parents)
        grows = np.array([_begins(b, t) for b, t in zip(begun, tokens, strict=True)]) & (self._scorer is not None)
        met = np.array([int(key) in self._entered for key in above], bool)
        grows &= not (np.isin(above, keys[keys != above]) & ~met).any()
        whole = np.flatnonzero(~grows)
        if len(whole):
            inputs = torch.from_numpy(padded([tokens[i] for i in whole])).to(self._module.body.device)
            self._note(keys[whole], self._module(inputs))
        rows = np.flatnonzero(grows)
        _, first = np.unique(above[rows], return_index=True)
        roots = [i for i in rows[first] if int(above[i]) not in self._entered]
        self._enter(above[roots], [None] * len(roots), [begun[i] for i in roots])
        rest = [i for i in rows if int(keys[i]) not in self._entered]
        self._enter(keys[rest], [str(above[i]) for i in rest], [tokens[i][len(begun[i]) :] for i in rest])

    def _enter(
        self, keys: UInt64[np.ndarray, " n"], parents: Sequence[str | None], tokens: Sequence[Sequence[int]]
    ) -> None:
        """Run new tokens, rows of similar length together."""
        order = np.argsort([len(row) for row in tokens], kind="stable")
        for first in range(0, len(order), ROWS):
            rows = order[first : first + ROWS]
            assert self._scorer is not None, "only causal models have one"
            hidden = self._scorer.hidden(
                [str(keys[i]) for i in rows], [parents[i] for i in rows], [tokens[i] for i in rows]
            )
            self._entered.update(int(keys[i]) for i in rows)
            self._note(keys[rows], self._module.logits_of(hidden))

    def _note(self, keys: UInt64[np.ndarray, " n"], logits: Float[torch.Tensor, " n"]) -> None:
        found = logits.float().cpu().numpy().astype(np.float64)
        if not np.isfinite(found).all():
            raise ValueError(
                f"expected finite logits, got {int((~np.isfinite(found)).sum())} of {len(found)} that are not: its "
                f"weights ({self._module.body.dtype}) are damaged, or too large for this precision. Try dtype=float32, "
                "or copy the model again."
            )
        self._logits.update(zip(keys.tolist(), found.tolist(), strict=True))


def _begins(beginning: Sequence[int], whole: Sequence[int]) -> bool:
    """Whether `whole` is `beginning` and more, and `beginning` is not empty."""
    return 0 < len(beginning) < len(whole) and list(whole[: len(beginning)]) == list(beginning)


class OutcomeReward:
    """sigmoid(logit) of complete solutions, read as a whole; ½ for all other states, at no cost.

    Args:
        encode: states -> ``tokens`` [n, t], padded with −1; rows of states that are not complete hold none.
        module: body and head; its weights are replaced.
        weights: of training.
    """

    of_complete_states = True  # what it says of others is no opinion, and no part of a product or a mean

    def __init__(
        self,
        encode: Callable[[MathStates], dict[str, np.ndarray]],
        module: StepScorer,
        weights: Mapping[str, np.ndarray],
    ) -> None:
        fill(module, weights)
        self._encode, self._module = encode, module
        self.num_parameters = module.num_parameters

    @torch.inference_mode()
    def score(self, parents: MathStates, children: MathStates) -> Float[np.ndarray, " n"]:
        """Probability that each child's answer is right."""
        if not len(children):
            return np.zeros(0)
        tokens = torch.from_numpy(self._encode(children)["tokens"])
        return expit(self._module(tokens.to(self._module.body.device)).float().cpu().numpy().astype(np.float64))

    def charged_tokens(self, children: MathStates) -> Int[np.ndarray, " n"]:
        """The whole text of complete solutions, in the model's own tokens, and nothing of others."""
        return (self._encode(children)["tokens"] >= 0).sum(axis=1)
