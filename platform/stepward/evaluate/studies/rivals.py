"""Trivial rivals: fitted before anything else, and compared with every trained guide at equal cost.

shards/rivals/<rival>.json       what was chosen in fitting one; its weights are `rivals/<rival>.safetensors`
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from stepward.core.measures import measures_of
from stepward.evaluate.errors import ArmValues, compared
from stepward.evaluate.rivals import is_fitted
from stepward.evaluate.samples.settings import MAJORITY
from stepward.evaluate.solving import budgets_of
from stepward.evaluate.studies.base import Base
from stepward.evaluate.studies.shared import SharedSamples
from stepward.evaluate.tables import table_of
from stepward.evaluate.trials import select
from stepward.rewards.guides import is_trained
from stepward.statistics.paired import ArmComparison, holm_adjusted, paired_comparison

Row = dict[str, Any]


class RivalStudy(Base):
    """Trained guides against the rivals of the domain. Holm's adjustment is over the rivals of a guide at a budget."""

    kinds: ClassVar[tuple[str, ...]] = ("rivals",)

    def items(self) -> list[str]:
        """Rivals that are used and learn anything."""
        settings = self.settings
        used = {*settings.guides, *settings.arms} & set(settings.rivals)
        return [f"rivals/{name}" for name in settings.rivals if name in used and is_fitted(self.wing.rivals.get(name))]

    def first(self) -> list[str]:
        """All: arms need them."""
        return self.items()

    def do(self, item: str) -> None:
        """Fit one rival."""
        chosen = self.evaluation.rivals.fit(item.split("/")[1])
        self.evaluation.folder.write_json(f"shards/{item}.json", chosen)

    def tables(self, tables: Mapping[str, pa.Table]) -> dict[str, pa.Table]:
        """The comparisons; a rival's own parameters, as fitting chose them."""
        fitted = [
            {"rival": item.split("/")[1], "parameter": name, "value": str(value)}
            for item in self.items()
            for name, value in self.evaluation.folder.read_json(f"shards/{item}.json").items()
        ]
        found = list(self._of_samples() if self.settings.samples else self._of_family(tables["trials"]))
        made = {"rivals": found, "rival_choices": fitted}
        return {name: table_of(rows) for name, rows in made.items() if rows}

    def _of_family(self, trials: pa.Table) -> Iterator[Row]:
        settings, family = self.settings, self.settings.main
        arms = settings.families()[family]
        cells = {name: select(trials, family, name) for name in arms}
        ours = [name for name, arm in arms.items() if is_trained(arm.guide, settings.guides)]
        rivals = [name for name in arms if name in settings.rivals and name not in ours]
        costs = {name: float(cell["flops"].to_numpy().mean()) for name, cell in cells.items()}
        if settings.headline.binary:
            at = {name: cell["expansions_at_solve"].to_numpy() for name, cell in cells.items()}
            for budget in budgets_of(settings, family, list(cells.values())):
                words = f" at {budget:g} expansions"
                for name in ours:
                    pairs = [self._paired(at[name] <= budget, at[rival] <= budget, (name, rival)) for rival in rivals]
                    yield from self._rows(pairs, costs, budget, words)
            return
        values = {name: ArmValues(cell, measures_of(self.wing.verifier())) for name, cell in cells.items()}
        for name in ours:
            whole = [rival for rival in rivals if (values[name].whole & values[rival].whole).any()]
            pairs = [compared(name, values[name], rival, values[rival], settings) for rival in whole]
            yield from self._rows(pairs, costs, None, "")

    def _of_samples(self) -> Iterator[Row]:
        """Choices among the same samples, each with as many as the budget pays for."""
        settings, study = self.settings, self.settings.samples
        assert study is not None, "the caller has asked"
        found = SharedSamples(self.evaluation).outcomes()
        flops = found.flops_of(study.budget)
        sizes = {arm: found.affordable(arm, flops) for arm in found.arms}
        solved = {arm: found.expected(found.choice(arm), size) for arm, size in sizes.items() if size is not None}
        costs = {arm: found.expected_cost(arm, size) for arm, size in sizes.items() if size is not None}
        ours = [name for name in found.arms if name in settings.guides and is_trained(name, settings.guides)]
        rivals = [name for name in (MAJORITY, *settings.rivals) if name in solved]
        words = f" at the FLOPs of {study.budget} samples"
        for name in sorted(ours, key=lambda arm: arm != study.champions[0]):
            if name in solved and settings.rivals:
                pairs = [self._paired(solved[name], solved[rival], (name, rival)) for rival in rivals]
                yield from self._rows(pairs, costs, study.budget, words)

    def _paired(self, ours: np.ndarray, theirs: np.ndarray, names: tuple[str, str]) -> ArmComparison:
        rng = self.settings.resampling()
        return paired_comparison(ours, theirs, names=names, rng=rng, **self.settings.statistics)

    def _rows(
        self, pairs: Sequence[ArmComparison], costs: Mapping[str, float], budget: float | None, words: str
    ) -> Iterator[Row]:
        for pair in holm_adjusted(list(pairs)) if pairs else []:
            yield asdict(pair) | {
                "budget": budget,
                "at": words,
                "measure": self.settings.measure,
                "flops": costs[pair.arm],
                "reference_flops": costs[pair.reference],
            }
