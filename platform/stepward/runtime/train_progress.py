"""How far a training is, from the worker to the driver: the last tick stands in Ray's own key-value store."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict

from stepward.console.progress import training_progress
from stepward.train import Tick

__all__ = ["Ticker", "shown"]

SECONDS = 0.5  # between two ticks, and between two looks at them
SPACE = b"stepward"


class Ticker:
    """What a worker tells the driver; only the first one does.

    Args:
        key: of this training.
    """

    def __init__(self, key: str, rank: int) -> None:
        self.key, self.rank = key.encode(), rank
        self.last, self.steps, self.before = time.monotonic(), 0, Tick(0, 0, 0, 0, 0.0, 0.0)
        self.losses: list[float] = []

    def __call__(self, tick: Tick) -> None:
        """Pass a tick on, if the last one is some time ago."""
        self.steps += tick.step - (self.before.step if tick.epoch == self.before.epoch else 0)
        self.before = tick
        self.losses.append(tick.loss)
        passed = time.monotonic() - self.last
        if self.rank or passed < SECONDS:
            return
        from ray.experimental.internal_kv import _internal_kv_put

        content = asdict(tick) | {"speed": self.steps / passed, "loss": sum(self.losses) / len(self.losses)}
        _internal_kv_put(self.key, json.dumps(content).encode(), overwrite=True, namespace=SPACE)
        self.last, self.steps = time.monotonic(), 0
        self.losses.clear()


@contextmanager
def shown(key: str, description: str) -> Iterator[None]:
    """For the length of a block, the ticks under a key are shown."""
    from ray.experimental.internal_kv import _internal_kv_del

    over = threading.Event()
    with training_progress(description) as show:
        thread = threading.Thread(target=_look, args=(key.encode(), show, over), daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
            _internal_kv_del(key.encode(), namespace=SPACE)


def _look(key: bytes, show: Callable[[float, float, str], None], over: threading.Event) -> None:
    from ray.experimental.internal_kv import _internal_kv_get

    while not over.wait(SECONDS):
        found = _internal_kv_get(key, namespace=SPACE)
        if found:
            tick = json.loads(found)
            speed = tick.pop("speed")
            show(*_progress(Tick(**tick), speed))


def _progress(tick: Tick, speed: float) -> tuple[float, float, str]:
    """Epochs done, of how many, and what else there is to say."""
    done = tick.epoch - 1 + tick.step / tick.num_steps
    epoch, step = f"epoch {tick.epoch}/{tick.num_epochs}", f"step {tick.step:,}/{tick.num_steps:,}"
    return done, tick.num_epochs, f"{epoch}, {step}, loss {tick.loss:.4g}, {speed:.3g} steps/s"
