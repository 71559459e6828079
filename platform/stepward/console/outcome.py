"""How a job ends: with the line that says what was made and where, or with what was wrong and what to do about it."""

from __future__ import annotations

import errno
import logging
import sys
import traceback
from collections.abc import Callable
from typing import TypeVar

from rich.console import Console
from rich.logging import RichHandler

FULL_OR_CLOSED = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM}

S = TypeVar("S")


def report(run: Callable[[S], object], settings: S) -> None:
    """Run a stage, print its result, or its error without a traceback and exit 1; or with the result's `exit_code`.

    A ValueError is about what the user gave, a RuntimeError about what the job met (`is_sentence`); any other error is
    one of ours and keeps its traceback.
    """
    handler = RichHandler(console=Console(stderr=True), show_path=False, show_level=False, markup=False)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", datefmt="%H:%M:%S", handlers=[handler])
    logging.getLogger("stepward").setLevel(logging.INFO)
    tracking = getattr(settings, "tracking", None)
    try:
        if tracking is not None:
            tracking.check()
        result = run(settings)
        print(result)
        if code := getattr(result, "exit_code", 0):
            raise SystemExit(code)
    except Exception as error:
        if not is_sentence(error):
            raise
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        print("Stopped. The same command goes on where it stopped.", file=sys.stderr)
        raise SystemExit(130) from None


def is_sentence(error: BaseException) -> bool:
    """Whether an error says all a user needs.

    These are plain ValueErrors and RuntimeErrors, those of this package, and a storage that is full or closed. Classes
    that libraries derive from them, such as pyarrow's ArrowInvalid, do not know what the user did: their place matters.
    """
    if isinstance(error, OSError):
        return error.errno in FULL_OR_CLOSED
    kind = type(error)
    ours = kind.__module__.split(".")[0] == "stepward"
    return kind in (ValueError, RuntimeError) or (ours and isinstance(error, ValueError | RuntimeError))


def in_words(error: BaseException) -> str:
    """An error of a worker for the driver to say: unless it is a sentence, with the last place outside of libraries."""
    words = f"{type(error).__name__}: {error}"
    frames = traceback.extract_tb(error.__traceback__)
    if is_sentence(error) or not frames:
        return words
    place = ([f for f in frames if f.filename.endswith(".py") and "site-packages" not in f.filename] or frames)[-1]
    return f"{words} ({place.filename}:{place.lineno}, in {place.name})"
