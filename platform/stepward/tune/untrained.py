"""Kinds of trials that train nothing: what is swept is how a guide is used, and validation problems are the judges."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from stepward.core.artifacts import Artifact
from stepward.core.stage import StageSettings
from stepward.core.wing import Wing


@dataclass(frozen=True)
class Untrained:
    """What a sweep needs to know of trials that train nothing.

    Attributes:
        settings: of a trial, of this domain.
        judge: trial -> loss of each validation problem, lower is better, and mean costs of a problem.
        inputs: trial -> artifacts that it reads beside the labels.
        unit: what the mean loss is a number of.
    """

    settings: type[StageSettings]
    judge: Callable[[Any], tuple[Float[np.ndarray, " p"], dict[str, float]]]
    inputs: Callable[[Any], dict[str, Artifact]]
    unit: str


def untrained(of: str, wing: Wing) -> Untrained:
    """The trials called `of` of a domain.

    Raises:
        ValueError: the outcomes of the domain are of another sort.
    """
    if of == "rollouts":
        if wing.outcome != "error":
            raise ValueError(f"of=rollouts: expected a domain whose outcomes are errors, not {wing.name!r}.")
        from stepward.evaluate.rollouts import trial as rollout  # needs the domain's networks

        unit = "mean error of a rollout"
        return Untrained(rollout.rollout_trial_settings(wing), rollout.roll_out_trial, rollout.trial_inputs, unit)
    if wing.outcome != "solved":
        raise ValueError(f"of=searches: expected a domain whose problems are solved or not, not {wing.name!r}.")
    from stepward.evaluate import search_trial as search

    unit = "share of problems not solved"
    return Untrained(search.search_trial_settings(wing), search.judge_search, search.search_trial_inputs, unit)
