"""How a job ends: a sentence for what the user can mend, a traceback for what is a fault of ours."""

import errno
import json
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

from stepward.console.outcome import in_words, report
from stepward.core.artifacts import ArtifactError


def ragged(_: Any) -> None:
    """What pyarrow raises of lists of unequal length: an ArrowInvalid, which is a ValueError."""
    pa.FixedSizeListArray.from_arrays(pa.array([1, 2, 3]), 2).validate(full=True)


def raising(error: BaseException) -> Callable[[Any], None]:
    def run(_: Any) -> None:
        raise error

    return run


@pytest.mark.parametrize("error", [
    ValueError("x: expected 1, got 2"), RuntimeError("workers died"), ArtifactError("damaged"),
    OSError(errno.ENOSPC, "No space left on device"), PermissionError(errno.EACCES, "Permission denied"),
])  # fmt: skip
def test_what_the_user_can_mend_is_one_sentence(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        report(raising(error), None)
    assert end.value.code == 1
    assert capsys.readouterr().err == f"{type(error).__name__}: {error}\n"


@pytest.mark.parametrize(("run", "kind"), [
    (ragged, pa.ArrowInvalid), (lambda _: json.loads("{"), json.JSONDecodeError),
    (raising(RecursionError("deep")), RecursionError), (raising(FileNotFoundError(2, "x")), FileNotFoundError),
])  # fmt: skip
def test_errors_of_libraries_keep_their_traceback(run: Callable[[Any], None], kind: type[Exception]) -> None:
    with pytest.raises(kind):
        report(run, None)


def test_an_interrupt_is_no_fault(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        report(raising(KeyboardInterrupt()), None)
    assert end.value.code == 130
    assert "The same command goes on" in capsys.readouterr().err


def test_a_worker_says_where_an_unexpected_error_arose() -> None:
    with pytest.raises(pa.ArrowInvalid) as raised:
        ragged(None)
    assert "test_outcome.py:" in in_words(raised.value) and "in ragged)" in in_words(raised.value)
    assert in_words(ValueError("a sentence")) == "ValueError: a sentence"
