"""A pool of math-verify workers that can be killed: long-lived, restarted when they die, idle at no cost.

Workers are fresh interpreters (never forks), so the pool may live in a threaded process or inside another worker.
No signal handler, alarm or thread is used: one loop over the pipes does everything.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import struct
import subprocess
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

__all__ = ["Judgement", "WorkerPool"]

_SCRIPT = Path(__file__).with_name("worker.py")
_START_SECONDS = 60.0


class Judgement(NamedTuple):
    """What a worker said about one pair, or why it could not.

    `reason` is ``equal``, ``different``, ``unparsable`` (with the error's name where there was one), ``time-out``,
    ``memory`` or ``worker died``.
    """

    correct: bool
    reason: str
    seconds: float


class WorkerPool:
    """Judges (answer, gold) pairs on `num_workers` processes.

    Args:
        num_workers: processes; each needs about 80 MB and starts on first use.
        seconds: processor time an answer may cost. Processor and not wall time, so that a busy machine does not
            change a verdict; 4.5 times this in wall time is the final limit.

    A worker that died of memory has perhaps been filled by earlier answers: such an answer gets a second trial in a
    fresh worker. Calls from several threads take turns.
    """

    def __init__(self, *, num_workers: int = 1, seconds: float = 1.0) -> None:
        if num_workers < 1 or seconds <= 0:
            raise ValueError(f"expected num_workers >= 1 and seconds > 0, got {num_workers} and {seconds}")
        self._seconds = seconds
        self._wall_seconds = 4.5 * seconds
        self._num_workers = num_workers
        self._workers: dict[int, _Worker] = {}  # by slot; a slot is filled when it is needed
        self._turn = threading.Lock()
        self._owner = os.getpid()
        weakref.finalize(self, _kill_owned, self._workers, self._owner)

    def judge(self, pairs: Sequence[tuple[str, str]]) -> list[Judgement]:
        """One judgement for each (answer, gold), in order.

        Raises:
            RuntimeError: a worker could not be started, for instance because math-verify is not installed.
        """
        with self._turn:
            if os.getpid() != self._owner:  # this process is a fork: the workers belong to its parent
                self._workers, self._owner = {}, os.getpid()
                weakref.finalize(self, _kill_owned, self._workers, self._owner)
            return _Round(self._workers, self._num_workers, pairs, self._seconds, self._wall_seconds).run()

    def close(self) -> None:
        """End the workers; a later `judge` starts new ones."""
        with self._turn:
            _kill_owned(self._workers, self._owner)


class _Worker:
    """One process and its pipes; at most one request is under way."""

    def __init__(self) -> None:
        # A fixed hash seed: the order of sets inside sympy must not decide a verdict.
        self.process = subprocess.Popen(
            [sys.executable, "-P", str(_SCRIPT), str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            start_new_session=True,
            env={**os.environ, "PYTHONHASHSEED": "0"},
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.requests, self.replies = self.process.stdin, self.process.stdout
        self.fresh = True

    def await_ready(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self.replies, selectors.EVENT_READ)
            message = self.receive() if selector.select(_START_SECONDS) else {"error": "it did not answer"}
        if message is None or "error" in message:
            self.kill()
            cause = message["error"] if message else f"it ended with status {self.process.returncode}"
            raise RuntimeError(
                f"expected a grading worker to start, got: {cause}. Check that math-verify imports in {sys.executable}."
            )

    def send(self, message: dict) -> bool:
        """Write one request; False if the process is gone."""
        body = json.dumps(message).encode()
        try:
            self.requests.write(struct.pack(">I", len(body)) + body)
        except BrokenPipeError:
            return False
        return True

    def receive(self) -> dict | None:
        """Read one reply; None if the process died."""
        head = self._read(4)
        body = head and self._read(struct.unpack(">I", head)[0])
        return json.loads(body) if body else None

    def _read(self, count: int) -> bytes | None:
        data = b""
        while len(data) < count:
            chunk = self.replies.read(count - len(data))
            if not chunk:
                return None
            data += chunk
        return data

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.requests.close()
        self.replies.close()


class _Round:
    """One call of `WorkerPool.judge`: hands pairs to idle workers and collects replies until all are judged."""

    def __init__(
        self,
        workers: dict[int, _Worker],
        num_workers: int,
        pairs: Sequence[tuple[str, str]],
        seconds: float,
        wall_seconds: float,
    ) -> None:
        self.workers, self.num_workers, self.pairs = workers, num_workers, pairs
        self.seconds, self.wall_seconds = seconds, wall_seconds
        self.waiting = deque(range(len(pairs)))
        self.results: list[Judgement | None] = [None] * len(pairs)
        self.under_way: dict[int, tuple[int, float]] = {}  # worker slot -> (pair, started)

    def run(self) -> list[Judgement]:
        try:
            while self.waiting or self.under_way:
                self.assign()
                self.collect()
        finally:
            for slot in list(self.under_way):  # only after an error or an interrupt: a stale reply must not be read
                self.discard(slot)
        return [result for result in self.results if result is not None]

    def assign(self) -> None:
        idle = [slot for slot in range(self.num_workers) if slot not in self.under_way]
        chosen = idle[: len(self.waiting)]
        started = [slot for slot in chosen if slot not in self.workers]
        for slot in started:  # all are launched before the first is awaited: they import side by side
            self.workers[slot] = _Worker()
        for slot in started:
            try:
                self.workers[slot].await_ready()
            except RuntimeError:
                _kill_all(self.workers)
                raise
        for slot in chosen:
            index = self.waiting.popleft()
            answer, gold = self.pairs[index]
            self.under_way[slot] = (index, time.monotonic())
            if not self.workers[slot].send({"answer": answer, "gold": gold, "seconds": self.seconds}):
                self.discard(slot)  # it died while idle; that says nothing about this pair
                self.waiting.appendleft(index)

    def collect(self) -> None:
        if not self.under_way:
            return
        with selectors.DefaultSelector() as selector:
            for slot in self.under_way:
                selector.register(self.workers[slot].replies, selectors.EVENT_READ, slot)
            patience = min(started for _, started in self.under_way.values()) + self.wall_seconds - time.monotonic()
            for key, _ in selector.select(max(0.0, patience)):
                self.finish(key.data)
        for slot, (index, started) in list(self.under_way.items()):
            if time.monotonic() - started > self.wall_seconds:
                self.discard(slot)
                self.results[index] = Judgement(False, "time-out", time.monotonic() - started)

    def finish(self, slot: int) -> None:
        index, started = self.under_way[slot]
        worker = self.workers[slot]
        reply = worker.receive()
        if reply is None:
            worker.process.wait()
            reply = {"correct": False, "reason": _cause_of_death(worker), "seconds": time.monotonic() - started}
        if reply["reason"] in ("memory", "worker died"):
            self.discard(slot)
            if not worker.fresh:
                self.waiting.appendleft(index)
                return
        elif worker.process.returncode is not None:
            self.discard(slot)
        else:
            worker.fresh = False
            del self.under_way[slot]
        self.results[index] = Judgement(**reply)

    def discard(self, slot: int) -> None:
        del self.under_way[slot]
        self.workers.pop(slot).kill()


def _cause_of_death(worker: _Worker) -> str:
    # The kernel ends a process that exceeds RLIMIT_CPU by SIGXCPU.
    return "time-out" if worker.process.returncode == -signal.SIGXCPU else "worker died"


def _kill_owned(workers: dict[int, _Worker], owner: int) -> None:
    if os.getpid() == owner:
        _kill_all(workers)


def _kill_all(workers: dict[int, _Worker]) -> None:
    while workers:
        workers.popitem()[1].kill()
