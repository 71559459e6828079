"""The text of tokens, and which of them break lines."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool
from transformers import PreTrainedTokenizerBase

__all__ = ["TokenTexts"]

_PROBES = 64  # pairs of tokens that are tried


class TokenTexts:
    """What tokens say.

    Where a tokenizer joins the texts of single tokens without a change, which is tried once, so does this, and that
    takes a tenth of the time; tokens that hold a part of a character are left to the tokenizer.

    Attributes:
        newlines: which tokens hold a newline. It is one byte, so a token can be judged by itself in every encoding.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, vocab_size: int) -> None:
        known = min(len(tokenizer), vocab_size)
        self._tokenizer: Any = tokenizer
        self._pieces: list[str | None] = list(self._decoded([[token] for token in range(known)]))
        self._pieces += [""] * (vocab_size - known)
        self.newlines: Bool[np.ndarray, " v"] = np.array(["\n" in (piece or "") for piece in self._pieces])
        pairs = np.random.default_rng(0).integers(0, known, (_PROBES, 2)).tolist()
        whole = [piece for piece in self._decoded(pairs) if "�" not in piece]
        joined = [a + b for a, b in ([self._pieces[t] or "" for t in pair] for pair in pairs) if "�" not in a + b]
        self._joins = whole == joined
        self._pieces = [None if piece and "�" in piece else piece for piece in self._pieces]

    def decode(self, tokens: Sequence[int]) -> str:
        """Their text; special tokens have none."""
        if self._joins:
            pieces = [piece for token in tokens if (piece := self._pieces[token]) is not None]
            if len(pieces) == len(tokens):
                return "".join(pieces)
        return self._decoded([list(tokens)])[0]

    def _decoded(self, rows: list[list[int]]) -> list[str]:
        found: list[str] = self._tokenizer.batch_decode(
            rows, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return found
