"""The process that runs math-verify, started as a script: ``python -P worker.py <parent pid>``.

It is a script and imports nothing of this package, so that it starts fast and stays small whatever the package loads.
Frames on standard input and output are a 4-byte big-endian length and that many bytes of JSON. First frame out:
``{"ready": true}`` or ``{"error": ...}``. Then one frame in, one out:
``{"answer", "gold", "seconds"}`` -> ``{"correct", "reason", "seconds"}``.

It protects itself without signal handlers: the kernel ends it when it exceeds its processor time (RLIMIT_CPU, reset
for every answer) or its memory (RLIMIT_AS), and it leaves when its parent is gone.
"""

from __future__ import annotations

import json
import math
import os
import re
import resource
import select
import struct
import sys
import time
from collections.abc import Callable
from functools import lru_cache

MEMORY_BYTES = 1 << 30
ORPHAN_CHECK_SECONDS = 10.0


def main() -> None:
    """Serve requests until the parent is gone."""
    parent = int(sys.argv[1])
    # Whatever a library prints must not get between the frames.
    out = os.dup(1)
    os.dup2(2, 1)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        judge = load_judge()
    except ImportError as error:
        send(out, {"error": str(error)})
        return
    send(out, {"ready": True})
    while (request := receive(0, parent)) is not None:
        started = time.perf_counter()
        limit_processor(request["seconds"])
        correct, reason = judge(request["answer"], request["gold"])
        send(out, {"correct": correct, "reason": reason, "seconds": time.perf_counter() - started})


def load_judge() -> Callable[[str, str], tuple[bool, str]]:
    """Import math-verify, warm its grammars up, and return ``judge(answer, gold) -> (correct, reason)``."""
    import logging

    from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse, verify

    logging.disable(logging.CRITICAL)
    formula, number = LatexExtractionConfig(), ExprExtractionConfig()

    @lru_cache(maxsize=4096)
    def read(text: str) -> list:
        # parsing_timeout=None: the library's own limit is SIGALRM, which only works in a main thread and kills others.
        latex = re.sub(r"(?<!\\)\$", "", text).replace("\n", " ").strip()
        # In broken LaTeX a stray number is no answer; in words ("about 5 coins") it is.
        targets = [formula] if "\\" in latex else [formula, number]
        return parse(f"${latex}$", targets, parsing_timeout=None, raise_on_error=True)

    def judge(answer: str, gold: str) -> tuple[bool, str]:
        try:
            expected, found = read(gold), read(answer)
            if not expected or not found:
                return False, "unparsable"
            correct = bool(verify(expected, found, timeout_seconds=None))
        except MemoryError:
            return False, "memory"
        except Exception as error:  # text from a model can break a parser anywhere; the verdict says where
            return False, f"unparsable: {type(error).__name__}"
        return correct, "equal" if correct else "different"

    judge("\\frac{1}{2}", "0.5")
    return judge


def limit_processor(seconds: float) -> None:
    """Let this process use `seconds` more of processor time (whole seconds, rounded up)."""
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(time.process_time() + seconds), hard))


def send(pipe: int, message: dict) -> None:
    """Write one frame."""
    body = json.dumps(message).encode()
    os.write(pipe, struct.pack(">I", len(body)) + body)


def receive(pipe: int, parent: int) -> dict | None:
    """The next request, or None when the parent closed the pipe or died (another child may hold its end open)."""
    while not select.select([pipe], [], [], ORPHAN_CHECK_SECONDS)[0]:
        if os.getppid() != parent:
            return None
    head = read_exactly(pipe, 4)
    body = head and read_exactly(pipe, struct.unpack(">I", head)[0])
    return json.loads(body) if body else None


def read_exactly(pipe: int, count: int) -> bytes | None:
    """Read `count` bytes, or None at the end of the stream."""
    data = b""
    while len(data) < count:
        chunk = os.read(pipe, count - len(data))
        if not chunk:
            return None
        data += chunk
    return data


if __name__ == "__main__":
    main()
