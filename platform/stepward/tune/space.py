"""A search space: a YAML file whose keys are dotted names of a train job's settings.

    optimisation.num_epochs: 8                              a plain value: the same in every trial
    optimisation.learning_rate: {loguniform: [1e-3, 1e-2]}  a dimension: see `stepward.tune.dimensions`
    objective: {choice: [{kind: soft_bce}, {kind: focal, gamma: 1.0}]}    whole blocks, where one setting needs another

A name that does not exist, and a value that the train job would refuse, are found here, before anything starts.
"""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stepward.core.config import dotted_fields, override
from stepward.core.seeding import Rng
from stepward.core.stage import StageSettings
from stepward.tune import dimensions
from stepward.tune.dimensions import Dimension, Grid

# Settings that all trials of a sweep share with it: which labels, and where artifacts go.
OF_THE_SWEEP = frozenset({"domain", "name", "store", "overwrite", "label", "labels"})


@dataclass(frozen=True)
class Space:
    """Settings that are fixed, and dimensions of those that are not, by dotted name."""

    fixed: dict[str, Any]
    dimensions: dict[str, Dimension]

    @property
    def grids(self) -> dict[str, Grid]:
        """The dimensions of which every value is tried."""
        return {name: one for name, one in self.dimensions.items() if isinstance(one, Grid)}

    def draw(self, num_samples: int, seed: int) -> list[dict[str, object]]:
        """Settings of every trial: each point of the grid `num_samples` times, with its own draw of all else.

        What a trial draws for a setting depends on (seed, trial, name) alone, so more samples or more dimensions leave
        the draws that were there.

        Raises:
            ValueError: all dimensions are grids, so that further samples would repeat the same trials.
        """
        grids = self.grids
        drawn = {name: one for name, one in self.dimensions.items() if name not in grids}
        if num_samples > 1 and not drawn:
            raise ValueError(
                f"search.num_samples: expected 1, because all dimensions are grids, got {num_samples}; "
                "more would repeat the same trials"
            )
        crossed = list(itertools.product(*(grid.values for grid in grids.values()))) * num_samples
        trials = [dict(zip(grids, values, strict=True)) for values in crossed]
        for name, one in drawn.items():
            points = Rng.from_ids(seed, range(len(trials)), f"tune {name}").uniform(1)[:, 0]
            for trial, point in zip(trials, points, strict=True):
                trial[name] = one.at(point)
        return [{name: trial[name] for name in self.dimensions} for trial in trials]

    def settings(
        self, config_class: type[StageSettings], base: Mapping[str, object], trial: Mapping[str, object]
    ) -> Any:
        """Settings of a trial.

        Args:
            base: plain settings that are not of the space.
            trial: value of each dimension.
        """
        return override(config_class, base, self.fixed | dict(trial))

    def check(
        self, config_class: type[StageSettings], base: Mapping[str, object], trials: Sequence[Mapping[str, object]]
    ) -> None:
        """Find out whether a train job accepts all trials, and the ends of every dimension.

        Raises:
            ValueError: says of the first one that it does not accept what is wrong with it.
        """
        first = {name: one.extremes[0] for name, one in self.dimensions.items()}
        ends = [first | {name: value} for name, one in self.dimensions.items() for value in one.extremes]
        for trial in [*ends, *trials]:
            try:
                self.settings(config_class, base, trial)
            except ValueError as error:
                shown = ", ".join(f"{name}={value}" for name, value in trial.items())
                raise ValueError(f"space: no trial with {shown} is possible:\n{error}") from None


def read_space(content: Mapping[str, object], path: str, config_class: type[StageSettings]) -> Space:
    """The space that plain values describe.

    Args:
        content: dotted name -> value or dimension, as `stepward.tune.places.space_values` reads them.
        path: where they come from, for messages.
        config_class: settings that the names are of.

    Raises:
        ValueError: no dimension, or names and values that cannot be; all of them are named.
    """
    known = [name for name in dotted_fields(config_class) if name.split(".")[0] not in OF_THE_SWEEP]
    fixed: dict[str, Any] = {}
    found: dict[str, Dimension] = {}
    wrong = []
    for name, value in content.items():
        try:
            _check_name(str(name), known)
            if isinstance(value, Mapping):
                found[str(name)] = dimensions.read(value)
            else:
                fixed[str(name)] = value
        except ValueError as error:
            wrong.append(f"{path}: {name}: {error}")
    if not found and not wrong:
        wrong.append(f"{path}: expected at least one dimension, such as learner.depth: {{grid: [2, 3]}}, got none.")
    if wrong:
        raise ValueError("\n".join(wrong))
    return Space(fixed, found)


def _check_name(name: str, known: list[str]) -> None:
    if name.split(".")[0] in OF_THE_SWEEP:
        raise ValueError("is the same for all trials; set it for the sweep, not in its space")
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f"did you mean {close[0]!r}?" if close else f"known settings: {', '.join(known)}."
        raise ValueError(f"there is no such setting of a train job; {hint}")
