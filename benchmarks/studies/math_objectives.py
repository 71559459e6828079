"""What a text reward model should be trained for: objectives, rollouts a label, first weights, and how many labels.

    python jobs/label.py domain=math
    OMP_NUM_THREADS=1 python benchmarks/studies/math_objectives.py --folder math_study [--only soft scratch …]

Every variant differs from the first in what its name says, and all take the same number of steps. They are judged on
the same eight sampled solutions of 500 validation problems: the share solved by a vote weighted by the product of step
scores, and by the best solution, with paired intervals to the first variant (BCa; Holm over the rows for the vote); and
by Spearman's correlation with the M = 64 labels of validation beginnings. What is trained stays in the folder, with
what it was judged on the way: a stopped study goes on with the variant it was stopped in. About 300 seconds
of one core a variant.

Labels of the label artifact have M = 8 continuations; fewer are drawn from these, more and adaptive ones are rolled out
here. "Equal rollouts" are those of the first variant, spent on more beginnings or fewer.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from math_solutions import AGGREGATIONS, WING, Solutions

from stepward.core.seeding import Rng
from stepward.core.storage import Folder
from stepward.domains.math import MathStates
from stepward.domains.math.rewards.text import TextPRM
from stepward.evaluate import holm_adjusted, paired_comparison, spearman
from stepward.label import count_successes
from stepward.label.methods import Adaptive, Fixed
from stepward.train import (
    Binomial,
    HardBCE,
    LabelledStates,
    Optimisation,
    SoftBCE,
    epochs,
    make_examples,
    read_labels,
    seeded_module,
    state_arrays,
    thin,
)

ANY = HardBCE()
BATCH, LOOKS = 64, 6  # beginnings a step, half of the default; times that a training is judged


@dataclass(frozen=True)
class Variant:
    """One training.

    Attributes:
        problems: training problems whose beginnings are learned from.
        rollouts: M of a beginning; 0: adaptive, interval of .2 and at most 32. Where it is not the 8 of the labels, as
            many beginnings are kept as take the rollouts of the first variant.
    """

    objective: Any = ANY
    problems: int = 1500
    rollouts: int = 8
    learner: TextPRM = field(default_factory=TextPRM)


FIRST = Variant()
VARIANTS: dict[str, Variant] = {
    "any success": FIRST,
    "success share": Variant(SoftBCE()),
    "more than half": Variant(HardBCE(threshold=0.5)),
    "from scratch": Variant(learner=TextPRM(init="scratch")),
    "M = 4, twice the beginnings": Variant(problems=3200, rollouts=4),
    "M = 16, half the beginnings": Variant(problems=800, rollouts=16),
    "adaptive M, any success": Variant(problems=800, rollouts=0),
    "adaptive M, binomial": Variant(Binomial(), problems=800, rollouts=0),
    "3 k labels": Variant(problems=375),
    "6 k labels": Variant(problems=750),
    "all labels": Variant(problems=10**9),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("math_study"))
    parser.add_argument(
        "--labels", default="runs/math/label/default", help="label artifact with at least 3,000 problems"
    )
    parser.add_argument("--only", nargs="*", choices=list(VARIANTS), help="variants to train; none: all")
    parser.add_argument("--problems", type=int, default=500, help="validation problems, eight solutions each")
    parser.add_argument("--steps", type=int, default=1140, help="steps of every training")
    parser.add_argument("--until", type=int, default=10**9, help="step at which to stop all alike, before the last")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.until = min(options.until, options.steps)
    torch.set_num_threads(1)
    options.folder.mkdir(parents=True, exist_ok=True)
    labels = {split: read_labels(Folder(options.labels), WING, split) for split in ("train", "validation")}
    judge = Judge(options.problems, labels["validation"])
    for name in options.only or VARIANTS:
        if wanted(name, options):
            train(name, labels["train"], judge, options)
    report(options.folder, judge)


class Judge:
    """Eight solutions of validation problems, and labelled beginnings."""

    def __init__(self, num_problems: int, labels: LabelledStates) -> None:
        self.solutions, self._labels = Solutions(num_problems, 8), labels

    def __call__(self, reward: Any) -> dict[str, Any]:
        """Problems solved by each choice, as lists of 0 and 1, and the correlation with labels."""
        values = self.solutions.values(reward)
        solved = {f"vote {how}": self.solutions.vote(value, 8) for how, value in values.items()}
        solved |= {f"best {how}": self.solutions.best(value, 8) for how, value in values.items()}
        scores = reward.score(self._labels.states, self._labels.states)
        shares = self._labels.successes / self._labels.num_rollouts
        return {
            "spearman": spearman(scores, shares),
            **{name: each.astype(int).tolist() for name, each in solved.items()},
        }


def labels_of(variant: Variant, labels: LabelledStates, folder: Path) -> tuple[MathStates, np.ndarray, np.ndarray]:
    """States, successes and rollouts that a variant learns from. The problems of a smaller one are part of a larger."""
    owner, rows_of = np.unique(labels.table["problem_id"].to_numpy(zero_copy_only=False), return_inverse=True)
    draws = Rng.from_ids(0, owner.tolist(), "study").uniform(1)[:, 0]
    place = draws.argsort().argsort()[rows_of]
    rows = np.flatnonzero(place < variant.problems)
    rows = rows[np.argsort(place[rows], kind="stable")]
    states, ids = labels.states.take(rows), labels.table["id"].take(pa.array(rows)).to_pylist()
    successes, recorded = labels.successes[rows], labels.num_rollouts[rows]
    if variant.rollouts == FIRST.rollouts:
        return states, successes, recorded
    if 0 < variant.rollouts < FIRST.rollouts:
        num_rollouts = np.full(len(rows), float(variant.rollouts))
        successes = thin(successes, recorded, num_rollouts, Rng.from_ids(0, ids, "thin"))
    else:
        successes, num_rollouts = _rolled_out(states, ids, variant.rollouts, folder)
    budget = labels.num_rollouts[place < FIRST.problems].sum()
    kept = np.flatnonzero(np.cumsum(num_rollouts) <= budget)
    return states.take(kept), successes[kept], num_rollouts[kept]


def _rolled_out(states: MathStates, ids: list[str], rollouts: int, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """New labels, kept in the folder: `rollouts` of every state, or as many as it needs."""
    path = folder / f"labels_{rollouts}.parquet"
    if not path.exists():
        proposer = WING.proposers["lm"]().build()  # type: ignore[attr-defined]

        def roll_out(which: np.ndarray, num: int, part: int) -> np.ndarray:
            rng = Rng.from_ids(0, ids, f"study {rollouts} {part}").take(which)
            return count_successes(
                states.take(which),
                domain=WING.domain,
                proposer=proposer,
                verifier=WING.verifier(),
                num_rollouts=num,
                rng=rng,
            )

        method, limit = (Fixed(), rollouts) if rollouts else (Adaptive(width=0.2), 32)
        counts = method.count(len(ids), limit, roll_out, None)
        pq.write_table(pa.table({"id": ids, "successes": counts.successes, "num_rollouts": counts.num_rollouts}), path)
    table = pq.read_table(path)
    assert table["id"].to_pylist() == ids, f"{path} is of other labels; take another folder"
    return table["successes"].to_numpy().astype(float), table["num_rollouts"].to_numpy().astype(float)


def train(name: str, labels: LabelledStates, judge: Judge, options: argparse.Namespace) -> None:
    """Train one variant and write what it was judged, on the way and at the end."""
    variant = VARIANTS[name]
    states, successes, num_rollouts = labels_of(variant, labels, options.folder)
    learner = variant.learner
    examples = make_examples(
        learner.encode(states), successes, num_rollouts, variant.objective, bundles=learner.bundles(states)
    )
    per_epoch = len(examples) // BATCH
    settings = Optimisation(
        num_epochs=max(round(options.steps / per_epoch), 1), batch_size=BATCH, learning_rate=1e-3, keep="last"
    )
    few = make_examples(
        {k: v[:1] for k, v in learner.encode(states.take(np.arange(1))).items()}, successes[:1], num_rollouts[:1], ANY
    )
    looks = {round(settings.num_epochs * (i + 1) / LOOKS) for i in range(LOOKS)}
    found: dict[str, Any] = {"rows": len(states), "rollouts": float(num_rollouts.sum()), "looks": {}}
    module = seeded_module(learner.module, options.seed)
    for checkpoint in epochs(module, examples, few, variant.objective, settings, seed=options.seed):
        step, loss = checkpoint.progress.epochs_done * per_epoch, checkpoint.progress.history[-1]["train_loss"]
        if checkpoint.progress.epochs_done not in looks:
            continue
        weights = state_arrays(checkpoint.weights)
        look = judge(learner.reward(weights)) | {"train_loss": loss}
        found["looks"][step] = look
        _judged(options.folder, name).write_text(json.dumps(found))
        print(f"{name}: step {step}, loss {loss:.3f}, {_short(look)}", flush=True)
        if step >= options.until:
            break


def wanted(name: str, options: argparse.Namespace) -> bool:
    """Whether a variant has not been trained as far as asked for, up to one part of an epoch."""
    path = _judged(options.folder, name)
    return not path.exists() or max(map(int, json.loads(path.read_text())["looks"])) < 0.95 * options.until


def report(folder: Path, judge: Judge) -> None:
    """The tables: bounds, variants at their last step, and what they were judged on the way."""
    print({name: round(float(solved.mean()), 3) for name, solved in judge.solutions.bounds(8).items()})
    found = {name: json.loads(_judged(folder, name).read_text()) for name in VARIANTS if _judged(folder, name).exists()}
    against = {choice: _against_first(found, f"{choice} product") for choice in ("vote", "best")}
    names = "product, min, mean, last | against the first"
    print(f"| variant | labels | rollouts | steps | vote by {names} | Holm p | best by {names} | Holm p | Spearman |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for name, variant in found.items():
        step, look = list(variant["looks"].items())[-1]
        cells = [name, f"{variant['rows']:,}", f"{variant['rollouts']:,.0f}", step]
        for choice, others in against.items():
            rates = ", ".join(f"{np.mean(look[f'{choice} {how}']):.3f}" for how in AGGREGATIONS)
            cells += [rates, *others.get(name, ("–", "–"))]
        print("| " + " | ".join([*cells, f"{look['spearman']:.3f}"]) + " |")
    print("\n| variant | step: vote by product, best by product, Spearman |\n|---|---|")
    for name, variant in found.items():
        print(f"| {name} | " + "; ".join(f"{step}: {_short(look)}" for step, look in variant["looks"].items()) + " |")


def _against_first(found: dict[str, Any], choice: str) -> dict[str, tuple[str, str]]:
    """Variant -> its difference to the first at the nearest step, with the interval, and Holm's p."""
    first = next(iter(VARIANTS))
    rows = []
    for name in found if first in found else ():
        step, look = list(found[name]["looks"].items())[-1]
        reference = found[first]["looks"][min(found[first]["looks"], key=lambda other: abs(int(other) - int(step)))]
        pair = (np.array(each[choice], float) for each in (look, reference))
        if name != first:
            rows.append(paired_comparison(*pair, names=(name, first), rng=np.random.default_rng(0)))
    return {
        row.arm: (f"{row.difference:+.3f} [{row.low:+.3f}, {row.high:+.3f}]", f"{row.holm_p_value:.3f}")
        for row in holm_adjusted(rows)
    }


def _short(look: dict[str, Any]) -> str:
    return f"{np.mean(look['vote product']):.3f}, {np.mean(look['best product']):.3f}, {look['spearman']:.3f}"


def _slug(name: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in name)


def _judged(folder: Path, name: str) -> Path:
    return folder / f"{_slug(name)}.json"


if __name__ == "__main__":
    main()
