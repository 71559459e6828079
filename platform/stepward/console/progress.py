"""One progress display for long jobs: how far, how fast, time left. A line on a terminal, now and then one in a log."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

__all__ = ["LOG_SECONDS", "progress", "training_progress"]

LOG_SECONDS = 15.0  # between two lines of a log


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:,.0f}/s" if task.speed else "", style="progress.data.speed")


@contextmanager
def progress(description: str, total: int, done: int = 0) -> Iterator[Callable[[int], None]]:
    """Shows `done` of `total` rows; call what it gives with the number of rows that were just finished."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn())
    log, began, first = _Log(console), time.monotonic(), done
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as display:
        task = display.add_task(description, total=total, completed=done)

        def advance(rows: int) -> None:
            nonlocal done
            done += rows
            display.advance(task, rows)
            speed = (done - first) / max(time.monotonic() - began, 1e-9)
            left = _duration((total - done) / speed) if speed else "?"
            log.say(f"{description}: {done:,} of {total:,}, {speed:,.3g} a second, {left} left")

        yield advance


@contextmanager
def training_progress(description: str) -> Iterator[Callable[[float, float, str], None]]:
    """Shows how far a training is; call what it gives with epochs done (a fraction of one too), of how many, and text.

    The text says the rest: epoch, loss, steps a second.
    """
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[text]}"), TimeRemainingColumn())
    log, began, first = _Log(console), time.monotonic(), -1.0
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as display:
        task = display.add_task(description, total=1.0, text="starting")

        def show(done: float, total: float, text: str) -> None:
            nonlocal first, began
            if first < 0:  # not the time that workers took to start, nor the epochs of an earlier run
                first, began = done, time.monotonic()
            display.update(task, completed=done, total=total, text=text)
            speed = (done - first) / max(time.monotonic() - began, 1e-9)
            left = _duration((total - done) / speed) if speed > 0 else "?"
            log.say(f"{description}: {text}, {left} left")

        yield show


class _Log:
    """Lines where there is no terminal: the first after `LOG_SECONDS`, so that short work stays silent."""

    def __init__(self, console: Console) -> None:
        self._console, self._last = console, time.monotonic()

    def say(self, line: str) -> None:
        now = time.monotonic()
        if not self._console.is_terminal and now - self._last >= LOG_SECONDS:
            self._console.print(line, highlight=False, markup=False, soft_wrap=True)
            self._last = now


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
