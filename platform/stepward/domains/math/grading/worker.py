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
from functools import lru_cache, partial
from typing import Any

MEMORY_BYTES = 1 << 30
ORPHAN_CHECK_SECONDS = 10.0
OR = re.compile(r"\\text\s*\{\s*or\s*\}|(?<![A-Za-z\\])or(?![A-Za-z])")
RELATION = re.compile(r"[<>]|\\[lg](?:eq?|t)(?![A-Za-z])")


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

    from latex2sympy2_extended.math_normalization import NormalizationConfig
    from math_verify import LatexExtractionConfig, grader, parse, verify
    from sympy import Union

    logging.disable(logging.CRITICAL)
    grader.sympy_numeric_eq = partial(same_values, grader.sympy_numeric_eq)
    # Units were taken off before: the library's list of them has single letters, so that 3t would be 3.
    plain = NormalizationConfig(basic_latex=True, units=False, malformed_operators=True, nits=True, boxed="none")
    formula = LatexExtractionConfig(normalization_config=plain, boxed_match_priority=-1)

    @lru_cache(maxsize=4096)
    def read(text: str) -> list:
        # parsing_timeout=None: the library's own limit is SIGALRM, which only works in a main thread and kills others.
        latex = re.sub(r"(?<!\\)\$", "", text).replace("\n", " ").strip()
        parts = OR.split(latex) if RELATION.search(latex) else []
        if len(parts) > 1:  # x < 2 or x > 5
            sets = [parse(f"${part}$", [formula], parsing_timeout=None, raise_on_error=True) for part in parts]
            if all(part and grader.is_relation(part[0]) for part in sets):
                return [Union(*(part[0].as_set() for part in sets))]
        return parse(f"${latex}$", [formula], parsing_timeout=None, raise_on_error=True)

    def judge(answer: str, gold: str) -> tuple[bool, str]:
        try:
            expected, found = read(gold), read(answer)
            if not expected or not found:
                return False, "unparsable"
            if not comparable(expected[0], found[0]):
                return False, "different"
            correct = bool(verify(expected, found, allow_set_relation_comp=True, timeout_seconds=None))
        except MemoryError:
            return False, "memory"
        except Exception as error:  # text from a model can break a parser anywhere; the verdict says where
            return False, f"unparsable: {type(error).__name__}"
        return correct, "equal" if correct else "different"

    judge("\\frac{1}{2}", "0.5")
    return judge


def comparable(gold: Any, answer: Any) -> bool:
    """False where only one of the two is an equation, and the other cannot be what it says of its left side.

    ``x = 5`` and ``a + b = 5`` say 5; ``x^2 = 5`` and ``2x + 3y = 5`` do not, though the library reads both as 5.
    """
    from math_verify import grader
    from sympy import Abs, Basic, Symbol
    from sympy.core.function import AppliedUndef

    if not isinstance(gold, Basic) or not isinstance(answer, Basic):
        return True
    if grader.is_equation(answer) and not grader.is_equation(gold):
        left = grader.take_first_relation(answer).lhs
        is_line = {"x", "y"} <= {symbol.name for symbol in left.free_symbols}
        if is_line or (isinstance(left, Abs) and left.args[0].is_Symbol):  # |x| = 3 says two values of x
            return False
        return not left.free_symbols or isinstance(left, AppliedUndef) or grader.is_assignment_relation(answer)
    if grader.is_equation(gold) and not grader.is_equation(answer):
        return isinstance(grader.take_first_relation(gold).lhs, (Symbol, AppliedUndef))
    return True


def same_values(library_rule: Callable[..., bool], a: Any, b: Any, *precision: int) -> bool:
    """Whether two values are equal: exactly, or where one is a decimal to 6 places and 5 parts in a million.

    It takes the place of the library's rule for numbers, which compares to 6 places whatever the size (so that 3/2^80
    is 3/2^81). What has variables is left to the library.
    """
    from math_verify.grader import get_pct_val
    from sympy import Float, MatrixBase, MatrixExpr, Rational

    same = partial(same_values, library_rule)
    if isinstance(a, (MatrixBase, MatrixExpr)) or isinstance(b, (MatrixBase, MatrixExpr)):
        a, b = a.doit(), b.doit()
        if not (isinstance(a, MatrixBase) and isinstance(b, MatrixBase) and a.shape == b.shape):
            return False
        return all(same(x, y, *precision) for x, y in zip(a.flat(), b.flat(), strict=True))
    if a.free_symbols or b.free_symbols:
        return library_rule(a, b, *precision)
    percents = [get_pct_val(value) for value in (a, b)]
    if (percents[0] is None) != (percents[1] is None):
        whole, percent = (b, percents[0]) if percents[1] is None else (a, percents[1])
        return any(same(whole, value) for value in (percent, percent * Rational(1, 100)))
    a, b = a.doit(), b.doit()
    if isinstance(a, Rational) and isinstance(b, Rational):
        return bool(a == b)
    x, y = a.evalf(50), b.evalf(50)
    if not (x.is_finite and y.is_finite):
        return bool(x == y)
    difference, size = abs(x - y), max(abs(x), abs(y))
    if a.has(Float) or b.has(Float):
        return bool(difference <= min(5e-7, 5e-6 * size))
    return bool(difference <= size * Float("1e-40"))


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
