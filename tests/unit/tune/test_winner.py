"""Picking the winner on trials written by hand, and the tables of a sweep."""

from typing import Any

import numpy as np
import pytest

from stepward.tune import Trial, behind, history_table, pick_winner, runner_up, trials_table

BASE = np.array([0.5, 0.3, 0.8, 0.4])  # losses of four problems; mean .5


def trial(name: str, losses: Any = BASE, **facts: Any) -> Trial:
    values = {"status": "finished", "num_rollouts": 64.0, "num_parameters": 100, "best_epoch": 1, **facts}
    return Trial(id=name, settings={}, problem_losses=np.asarray(losses, float), **values)


def test_the_lowest_loss_wins_and_the_next_is_next() -> None:
    trials = [trial("0000", BASE + 0.2), trial("0001", BASE), trial("0002", BASE + 0.1)]
    winner = pick_winner(trials)
    assert winner.id == "0001"
    assert runner_up(trials, winner).id == "0002"
    assert runner_up([winner], winner) is None


def test_ties_go_to_fewer_rollouts_then_fewer_parameters_then_the_first() -> None:
    assert pick_winner([trial("0000"), trial("0001", num_rollouts=4.0)]).id == "0001"
    assert pick_winner([trial("0000"), trial("0001", num_parameters=9)]).id == "0001"
    assert pick_winner([trial("0000", num_parameters=9), trial("0001", num_rollouts=4.0)]).id == "0001"
    assert pick_winner([trial("0000", flops=2.0), trial("0001", flops=1.0)]).id == "0001"
    assert pick_winner([trial("0001"), trial("0000")]).id == "0000"


def test_failed_trials_never_win() -> None:
    trials = [trial("0000", BASE - 0.3, status="failed", error="boom"), trial("0001"), Trial("0002", {}, "failed")]
    assert pick_winner(trials).id == "0001"
    assert trials[0].loss == float("inf")
    with pytest.raises(ValueError, match="none among 1"):
        pick_winner(trials[2:])


def test_one_standard_error_is_that_of_the_paired_difference() -> None:
    """Differences (0, −.01, 0, .04) have mean .0075 and standard error .0111; four times (.02) has none."""
    best, edge = trial("0000"), np.array([0.0, -0.01, 0.0, 0.04])
    within = trial("0001", BASE + edge, num_rollouts=4.0)
    beyond = trial("0002", BASE + 0.02, num_rollouts=1.0)
    assert pick_winner([best, within, beyond], "one_standard_error").id == "0001"
    assert pick_winner([best, within, beyond], "lowest").id == "0000"
    further = trial("0001", BASE + edge + 0.004, num_rollouts=4.0)
    assert pick_winner([best, further, beyond], "one_standard_error").id == "0000"


def test_one_standard_error_takes_the_lower_loss_of_equally_cheap_ones() -> None:
    noise = np.array([0.1, -0.1, 0.1, -0.08])
    cheap = [trial(f"000{i}", BASE + noise + gap, num_rollouts=4.0) for i, gap in ((1, 0.01), (2, 0.0))]
    assert pick_winner([trial("0000"), *cheap], "one_standard_error").id == "0002"


def test_intervals_are_paired() -> None:
    """A constant difference is known exactly, however much the problems differ."""
    best, other = trial("0000"), trial("0001", BASE + 0.25)
    mine, gap, none = behind([best, other, Trial("0002", {}, "failed")], best, seed=0)
    assert (mine.value, none) == (0.0, None)
    np.testing.assert_allclose([gap.value, gap.low, gap.high], 0.25, atol=1e-12)


def test_tables() -> None:
    history = [{"epoch": 1, "validation_loss": 0.6}, {"epoch": 2, "validation_loss": 0.5}]
    trials = [
        Trial("0000", {"objective": {"kind": "focal"}, "seed": 1}, "finished", history=history, best_epoch=2,
              problem_losses=BASE, num_rollouts=16.0, seconds=3.0),
        Trial("0001", {"objective": {"kind": "soft_bce"}, "seed": 2}, "failed", error="boom"),
    ]  # fmt: skip
    rows = trials_table(trials, [{"behind": 0.0}, {}]).to_pylist()
    assert rows[0]["config/objective"] == '{"kind": "focal"}' and rows[0]["config/seed"] == 1
    assert (rows[0]["validation_loss"], rows[0]["epochs"], rows[0]["best_epoch"]) == (0.5, 2, 2)
    assert (rows[1]["status"], rows[1]["error"], rows[1]["validation_loss"], rows[1]["behind"]) == (
        "failed", "boom", None, None,
    )  # fmt: skip
    steps = history_table(trials).to_pylist()
    assert [(row["trial"], row["step"], row["validation_loss"]) for row in steps] == [
        ("0000", 1, 0.6),
        ("0000", 2, 0.5),
    ]
