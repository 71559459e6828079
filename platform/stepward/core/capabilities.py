"""Capabilities: what a domain may bring beside what every domain has. Studies and stages say which they need."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Drawing:
    """States that can be drawn.

    Attributes:
        texts: ``(states) -> texts`` of a few characters that stand for each state in a drawing of a search.
        pictures: ``(parent, candidates, chosen) -> {name: array}``: one step as images of one channel, from the state
            before it (one row) and its k candidates, of which `chosen` was taken: state, deterministic (what needs no
            choice), choice, truth, each [H, W], and candidates [k, H, W].
    """

    texts: Callable[[Any], list[str]] | None = field(default=None)
    pictures: Callable[[Any, Any, int], dict[str, np.ndarray]] | None = field(default=None)
