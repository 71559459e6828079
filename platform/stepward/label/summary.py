"""What the labels of a finished artifact amount to, read batch by batch."""

from __future__ import annotations

from collections import Counter

import numpy as np

from stepward.core.labels import LabelParts, Summary


def count_summary(work: LabelParts) -> Summary:
    """Of continuation counts: the mean label and the share of labels at 0 and at 1 by split, and the rollouts."""
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
    return Summary(dict(rows), metrics, {"rollouts": float(rollouts)})
