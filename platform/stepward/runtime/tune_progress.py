"""How Ray Tune moves our own progress display.

Tune pickles its callbacks with the state of a sweep, so the callback holds no display: it looks up the one that is
shown in this process, if any. Import this module only where Ray is connected: Ray reads its token when it is imported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ray.tune import Callback

_displays: list[Callable[[int], None]] = []


class Ticks(Callback):
    """Tells the display of every trial that ended, whether in this run or in one before it."""

    def __init__(self) -> None:
        self._ended = 0

    def on_step_end(self, iteration: int, trials: list[Any], **info: object) -> None:
        """Counts the trials that ended since the last step."""
        ended = sum(trial.is_finished() for trial in trials)
        if _displays and ended > self._ended:
            _displays[-1](ended - self._ended)
            self._ended = ended


@contextmanager
def ticking(advance: Callable[[int], None]) -> Iterator[None]:
    """For the length of a block, trials that end are told to `advance`."""
    _displays.append(advance)
    try:
        yield
    finally:
        _displays.pop()
