"""The two ends of the label stage, which need no cluster: settings to batches, and batches to a finished artifact."""

from __future__ import annotations

import time
from collections import Counter

import numpy as np

from stepward.core.artifacts import Manifest, content_digest
from stepward.label.mining import mine, read_problems
from stepward.label.settings import LabelSettings
from stepward.label.work import LabelWork


def plan(settings: LabelSettings, work: LabelWork, batch_size: int) -> None:
    """Read problems, mine partial solutions, and write them as batches; memory does not grow with the rows."""
    problems, rejected = read_problems(settings)
    work.folder.write_table("problems.parquet", problems)
    work.plan(mine(settings, problems, rejected), rejected, batch_size)


def finish(settings: LabelSettings, work: LabelWork, started: float) -> Manifest:
    """Audit the labels of all batches and write the manifest; from now on the artifact can be read.

    Args:
        started: `time.monotonic` of when this run began.

    Raises:
        ValueError: a row was lost or doubled, or not a single row could be labelled.
    """
    work.audit()
    dead = work.dead_letters()
    rows, metrics, rollouts = _summary(work)
    if not rows["labels"]:
        raise ValueError(
            f"Labels: expected at least one, but all {len(dead)} rows failed, "
            f"the first with: {dead['error'][0].as_py()}. Nothing was finished; "
            "mend the cause and run again with overwrite=true."
        )
    work.folder.write_table("dead_letters.parquet", dead)
    work.folder.write_json("metrics.json", metrics | {"dead_letters": float(len(dead))})
    batches, begun = work.batches(), sum(work.begun().values())
    manifest = work.artifact.finish(
        identity=settings.identity(),
        seed=settings.seed,
        digest=content_digest(work.labels()),
        rows=rows | {"dead_letters": len(dead)},
        cost={"seconds": time.monotonic() - started, "rollouts": float(rollouts)},
        facts={"batches": len(batches), "batches_begun": begun},
    )
    work.clear()
    return manifest


def _summary(work: LabelWork) -> tuple[dict[str, int], dict[str, float], int]:
    """Rows by split, the mean label and the share of labels at 0 and at 1 by split, and the number of rollouts."""
    rows: Counter[str] = Counter(labels=0)
    shares: dict[str, list[np.ndarray]] = {}
    rollouts = 0
    for part in work.labels(["split", "successes", "num_rollouts"]):
        if not len(part):
            continue
        split, num = part["split"][0].as_py(), part["num_rollouts"].to_numpy()
        rows.update({"labels": len(part), split: len(part)})
        shares.setdefault(split, []).append(part["successes"].to_numpy() / num)
        rollouts += int(num.sum())
    metrics: dict[str, float] = {}
    for split, parts in shares.items():
        share = np.concatenate(parts)
        metrics |= {
            f"rows.{split}": float(len(share)),
            f"mean_label.{split}": float(share.mean()),
            f"share_at_0.{split}": float((share == 0).mean()),
            f"share_at_1.{split}": float((share == 1).mean()),
        }
    return dict(rows), metrics, rollouts
