"""Sweeps: reading a search space, drawing trials, judging them, picking the winner. Nothing here knows of Ray."""

from stepward.tune.dimensions import KINDS, Choice, Dimension, Grid, Integers, LogUniform, Uniform
from stepward.tune.settings import (
    Asha,
    OptunaSearch,
    Plan,
    RandomSearch,
    RunAll,
    Selection,
    TuneSettings,
    make_plan,
    tune_settings,
)
from stepward.tune.space import Space, read_space
from stepward.tune.trials import Trial, history_table, trials_table
from stepward.tune.winner import behind, pick_winner, runner_up

__all__ = [
    "TuneSettings",
    "tune_settings",
    "RandomSearch",
    "OptunaSearch",
    "Asha",
    "RunAll",
    "Selection",
    "Plan",
    "make_plan",
    "Space",
    "read_space",
    "Dimension",
    "KINDS",
    "Grid",
    "Choice",
    "Uniform",
    "LogUniform",
    "Integers",
    "Trial",
    "trials_table",
    "history_table",
    "pick_winner",
    "runner_up",
    "behind",
]
