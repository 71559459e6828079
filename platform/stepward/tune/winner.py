"""The winner of a sweep: ordinary code over validation losses. No test row is read here or anywhere in a sweep.

All trials are judged on the same validation problems, so they are compared problem by problem. The loss of the winner
is the least of many and so a little too good; the evaluation on test problems says what it is worth.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from stepward.core.seeding import stable_hash
from stepward.evaluate import Estimate, bootstrap_mean
from stepward.tune.trials import Trial

Rule = Literal["lowest", "one_standard_error"]
NUM_RESAMPLES = 2000


def pick_winner(trials: Sequence[Trial], rule: Rule = "lowest") -> Trial:
    """The trial to go on with.

    "lowest": the lowest validation loss. Of equal ones the cheapest: fewer rollouts a row, then fewer parameters, then
    fewer operations of a search or rollout; then the one begun first.

    "one_standard_error": the cheapest trial, in the same sense, whose loss exceeds the lowest by no more than one
    standard error of that difference over problems (Breiman et al. 1984, "Classification and regression trees", section
    3.4.3, with the paired error: theirs, of the loss itself, is mostly how problems differ and would admit nearly all).

    Raises:
        ValueError: no trial has a validation loss.
    """
    judged = [trial for trial in trials if trial.judged]
    if not judged:
        raise ValueError(f"expected at least one trial with a validation loss, got none among {len(trials)}")
    lowest = min(judged, key=lambda trial: (trial.loss, *_price(trial)))
    if rule == "lowest":
        return lowest
    near = [trial for trial in judged if trial.loss - lowest.loss <= _standard_error(trial, lowest)]
    return min(near, key=lambda trial: (*_price(trial)[:-1], trial.loss, trial.id))


def behind(trials: Sequence[Trial], winner: Trial, seed: int) -> list[Estimate | None]:
    """By how much each trial's loss exceeds the winner's, with the paired 95 % interval over problems."""
    return [
        bootstrap_mean(
            np.asarray(trial.problem_losses) - np.asarray(winner.problem_losses),
            rng=np.random.default_rng(stable_hash("behind", seed)),
            num_resamples=NUM_RESAMPLES,
        )
        if trial.judged
        else None
        for trial in trials
    ]


def runner_up(trials: Sequence[Trial], winner: Trial) -> Trial | None:
    """The best of the others; None if nobody else has a validation loss."""
    others = [trial for trial in trials if trial.id != winner.id and trial.judged]
    return pick_winner(others) if others else None


def _price(trial: Trial) -> tuple[object, ...]:
    return trial.num_rollouts, trial.num_parameters, trial.flops, trial.id


def _standard_error(trial: Trial, best: Trial) -> float:
    differences = np.asarray(trial.problem_losses) - np.asarray(best.problem_losses)
    return float(differences.std(ddof=1) / np.sqrt(len(differences))) if len(differences) > 1 else 0.0
