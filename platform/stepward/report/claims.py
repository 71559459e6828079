"""Claims as code: every published figure is recomputed from stored trials, and one that no longer holds is an error.

python -m stepward.report.claims docs/claims/claims.yaml      # or: make claims
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import yaml
from pydantic import Field

from stepward.core.config import Config, validate
from stepward.core.storage import Folder
from stepward.statistics.paired import ArmComparison, paired_comparison

ROUNDING = 0.0006  # figures are printed with three digits


class Holds(Config):
    """What must be true of one paired comparison; what is not named is not asked."""

    mean: float | None = Field(None, description="mean of the arm, to three digits")
    reference_mean: float | None = Field(None, description="mean of the reference, to three digits")
    difference: float | None = Field(None, description="arm minus reference, to three digits")
    low_above: float | None = Field(None, description="the lower end of the interval is above this")
    high_below: float | None = Field(None, description="the upper end of the interval is below this")
    p_below: float | None = Field(None, description="the p-value of the comparison is below this")
    p_above: float | None = Field(None, description="the p-value of the comparison is above this")

    def broken(self, found: ArmComparison) -> list[str]:
        """What is asked and not so, in words."""
        wrong = []
        for name in ("mean", "reference_mean", "difference"):
            said, is_now = getattr(self, name), getattr(found, name)
            if said is not None and abs(said - is_now) > ROUNDING:
                wrong.append(f"{name}: claimed {said:.3f}, the trials say {is_now:.4f}")
        ends = {"low_above": (found.low, 1), "high_below": (found.high, -1)}
        for name, (value, sign) in (ends | {"p_below": (found.p_value, -1), "p_above": (found.p_value, 1)}).items():
            limit = getattr(self, name)
            if limit is not None and not sign * (value - limit) > 0:
                wrong.append(f"{name} {limit:g}: the trials say {value:.4g}")
        return wrong


class Claim(Config):
    """A sentence, the trials it rests on, and what must be true of them."""

    says: str = Field(description="the claim, as a sentence")
    trials: str = Field(description="name of the stored trials")
    arm: str = Field(description="the arm it is about")
    reference: str = Field(description="the arm that it is compared with, problem by problem")
    solved_within: float | None = Field(None, description="expansions within which a problem counts as solved")
    measure: str | None = Field(None, description="column that is compared, where it is not solved or not")
    holds: Holds = Field(description="what must be true")

    def recomputed(self, trials: pa.Table) -> ArmComparison:
        """The comparison from the trials.

        Raises:
            ValueError: an arm has no trials, or the two have other problems.
        """
        values = [self._values(trials, arm) for arm in (self.arm, self.reference)]
        return paired_comparison(*values, names=(self.arm, self.reference), rng=np.random.default_rng(0))

    def _values(self, trials: pa.Table, arm: str) -> np.ndarray:
        mine = trials.filter(pc.equal(trials["arm"], arm)).sort_by("problem_id")
        if not len(mine):
            known = pc.unique(trials["arm"]).to_pylist()
            raise ValueError(f"{self.says}: expected trials of one of {known}, got {arm!r}")
        if self.solved_within is not None:
            return np.asarray(mine["expansions_at_solve"].to_numpy() <= self.solved_within)
        return np.asarray(mine[self.measure or "solved"].to_numpy(zero_copy_only=False), np.float64)


def check_claims(path: str) -> list[tuple[Claim, ArmComparison, list[str]]]:
    """Every claim of a file with its comparison as the stored trials have it now, and what of it is not so."""
    given: dict[str, Any] = yaml.safe_load(Path(path).read_text())
    folder = Folder(str(Path(path).parent))
    tables = {name: folder.read_table(source["file"]) for name, source in given["trials"].items()}
    claims = [validate(Claim, claim) for claim in given["claims"]]
    found = [claim.recomputed(tables[claim.trials]) for claim in claims]
    return [(claim, row, claim.holds.broken(row)) for claim, row in zip(claims, found, strict=True)]
