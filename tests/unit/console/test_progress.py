"""The progress display where there is no terminal: silent for short work, a line now and then for long work."""

import pytest

from stepward.console import progress as module
from stepward.console.progress import progress, training_progress
from stepward.runtime.train_progress import _progress
from stepward.train import Tick


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that stands where its last number says."""
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[-1])
    return now


def test_rows_in_a_log(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with progress("Labelling", 100) as advance:
        for second in range(1, 31):
            clock.append(float(second))
            advance(2)
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["Labelling: 30 of 100, 2 a second, 0:35 left", "Labelling: 60 of 100, 2 a second, 0:20 left"]


def test_a_training_in_a_log_counts_time_from_its_first_tick(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with training_progress("Train prm") as show:
        clock.append(10.0)
        show(*_progress(Tick(3, 10, 5, 10, 0.5, 1e-3), 4.0))  # workers needed ten seconds; two epochs were there
        clock.append(16.0)
        show(*_progress(Tick(4, 10, 5, 10, 0.25, 1e-3), 4.0))
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "Train prm: epoch 4/10, step 5/10, loss 0.25, 4 steps/s, 0:39 left"
