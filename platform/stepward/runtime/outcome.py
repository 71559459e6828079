"""How a job ends: with the line that says what was made and where, or with what was wrong and what to do about it."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.logging import RichHandler


def report(run: Callable[[Any], Any], settings: Any) -> None:
    """Run a stage, print its result, or its error without a traceback and exit 1.

    A ValueError is about what the user gave, a RuntimeError about what the job met; any other error is one of ours and
    keeps its traceback.
    """
    handler = RichHandler(console=Console(stderr=True), show_path=False, show_level=False, markup=False)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", datefmt="%H:%M:%S", handlers=[handler])
    logging.getLogger("stepward").setLevel(logging.INFO)
    try:
        print(run(settings))  # noqa: T201
    except (ValueError, RuntimeError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)  # noqa: T201
        raise SystemExit(1) from None
