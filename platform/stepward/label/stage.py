"""The two ends of the label stage, which need no cluster: settings to batches, and batches to a finished artifact."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import pyarrow as pa

from stepward.core.artifacts import Manifest, content_digest
from stepward.label.mining import MiningWork, mine, read_problems
from stepward.label.quarantine import OVERRAN
from stepward.label.settings import SPLITS, LabelSettings
from stepward.label.work import LabelWork


def plan(settings: LabelSettings, work: LabelWork, batch_size: int) -> None:
    """Read problems, mine partial solutions, and write them as batches; memory does not grow with the rows."""
    problems, rejected = read_problems(settings)
    work.plan(mine(settings, problems, rejected), rejected, batch_size, whole(settings), problems=problems)


def plan_mining(settings: LabelSettings, mining: MiningWork, batch_size: int) -> None:
    """The first half of `plan` where workers mine: read problems, and write them as batches."""
    problems, rejected = read_problems(settings)
    splits = (settings.labelled(problems, split) for split in SPLITS)
    mining.plan(splits, rejected, batch_size, problems=problems)


def plan_mined(settings: LabelSettings, work: LabelWork, mining: MiningWork, batch_size: int) -> None:
    """The second half: write what was mined as batches of rows."""
    work.plan(mining.mined(), mining.rejected(), batch_size, whole(settings), problems=mining.problems())
    mining.clear()


def whole(settings: LabelSettings) -> str | None:
    """The column whose equal neighbours are labelled together, if any."""
    return "problem_id" if settings.labels.whole_problems else None


def mined_endings(settings: LabelSettings, work: LabelWork) -> dict[str, float]:
    """How many mined solutions ended in each way ("mined.answered", …), where batches of the domain say so by
    ``ended()``; so absurd output of a model shows as figures.
    """
    count: Counter[str] = Counter()
    for batch in work.batches():
        rows = work.rows(batch)
        states: Any = settings.wing.states(rows)
        if not hasattr(states, "ended"):
            return {}
        times = rows["multiplicity"].to_pylist() if "multiplicity" in rows.column_names else [1] * len(rows)
        for name, num in zip(states.ended(), times, strict=True):
            count[name] += num
    return {f"mined.{name}": float(num) for name, num in sorted(count.items()) if name}


def _num_overran(dead: pa.Table) -> int:
    """Rows that were lost to the time limit: not to what they are, maybe, but to a setting."""
    return sum(OVERRAN in error for error in dead["error"].to_pylist())


def finish(settings: LabelSettings, work: LabelWork, started: float) -> Manifest:
    """Audit the labels of all batches and write the manifest; from now on the artifact can be read.

    Args:
        started: `time.monotonic` of when this run began.

    Raises:
        ValueError: a row was lost or doubled, or not a single row could be labelled.
    """
    work.audit()
    dead = work.dead_letters()
    summary = settings.labels.summary(work)
    rows = summary.rows
    if not rows["labels"]:
        raise ValueError(
            f"Labels: expected at least one, but all {len(dead)} rows failed, "
            f"the first with: {dead['error'][0].as_py()}. Nothing was finished; "
            "mend the cause and run again with overwrite=true."
        )
    work.folder.write_table("problems.parquet", work.problems())
    work.folder.write_table("dead_letters.parquet", dead)
    metrics = summary.metrics | mined_endings(settings, work) | {"dead_letters": float(len(dead))}
    work.folder.write_json("metrics.json", metrics)
    batches, begun = work.batches(), sum(work.begun().values())
    return work.artifact.finish(
        identity=settings.identity(),
        seed=settings.seed,
        digest=content_digest(work.labels()),
        inputs=settings.inputs(),
        rows=rows | {"dead_letters": len(dead)},
        cost={"seconds": time.monotonic() - started} | summary.cost,
        facts={"batches": len(batches), "batches_begun": begun, "overran": _num_overran(dead)},
    )
