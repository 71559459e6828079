"""A few trajectories of a new regime: fine-tune the surrogate, choose among its candidates, or both?

    OMP_NUM_THREADS=1 python benchmarks/studies/pde_regime.py --store regime [--seeds 0 1 2] [--numbers 2 4 8 16 32]

The preset `regime.yaml` for every seed and number of trajectories, in this process: a surrogate of four-quadrant
Riemann problems on Kelvin-Helmholtz layers. "Fine-tune and choose" has a reward model on the fine-tuned surrogate's own
candidates, of the same trajectories. Prints the share of the old surrogate's error that each saves over ten steps, on
64 held-out trajectories a seed (95 % interval, seeds resampled together with trajectories), and draws error against
number of trajectories. What is finished is passed over, so a stopped run goes on.
About a quarter of an hour of one quiet core a seed.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

import stepward as sw
import stepward.domains.pde
from stepward.core.artifacts import Artifact

PRESET = Path(stepward.domains.pde.__file__).parent / "presets" / "regime.yaml"
SHOWN = {
    "larger": "a larger surrogate",
    "constant": "best constant",
    "read_off_state": "predicted constant",
    "prm": "choose",
    "tuned": "fine-tune",
    "tuned_constant": "fine-tune, best constant",
    "both": "fine-tune and choose",
    "oracle": "the best of 16 (bound)",
}
Errors = dict[str, np.ndarray]  # arm -> error of every trajectory, NaN where a rollout blew up


def main() -> None:
    """Run what is missing, then print and draw."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--store", default="regime")
    options.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options.add_argument("--numbers", type=int, nargs="+", default=[2, 4, 8, 16, 32])
    options.add_argument("--set", nargs="*", default=[], help="settings of the preset, such as pretrain.fit.epochs=2")
    chosen = options.parse_args()
    found: dict[int, list[Errors]] = {}
    for number in chosen.numbers:
        for seed in chosen.seeds:
            found.setdefault(number, []).append(errors_of(chosen.store, number, seed, chosen.set))
    rows = [row for number, errors in found.items() for row in table(number, errors)]
    print(f"{'trajectories':>12}  {'method':24} {'saves':>7}   95 % interval      blown up")
    for row in rows:
        interval = f"[{row['low']:+.1%}, {row['high']:+.1%}]"
        print(f"{row['number']:>12}  {SHOWN[row['arm']]:24} {row['saves']:+7.1%}   {interval:18} {row['blown_up']}")
    draw(rows, Path(chosen.store) / "regime.png")


def errors_of(store: str, number: int, seed: int, overrides: list[str]) -> Errors:
    """The experiment of one seed and number, and the one on the fine-tuned surrogate."""
    name = f"regime-{number}-{seed}"
    shared = [f"pretrain.name=regime-old-{seed}", f"more_pretrained.larger.name=regime-larger-{seed}"]
    given = [f"name={name}", f"seed={seed}", f"store={store}", f"label.problems.num_train={number}", *shared]
    first = sw.experiment(str(PRESET), "domain=pde", *given, *overrides)
    second = both(first, Artifact(store, "pde", "label", name), f"artifacts/pde/pretrain/{name}-tuned", seed)
    names = {"prm": "both", "constant": "tuned_constant"}
    return arms_of(first) | {names[arm]: errors for arm, errors in arms_of(second).items() if arm in names}


def both(first: sw.api.Evaluation, labels: Artifact, tuned: str, seed: int) -> Any:
    """Choosing among the candidates of the fine-tuned surrogate, by a reward model of its own."""
    label = labels.manifest().identity
    train = Artifact(labels.root, "pde", "train", f"{labels.name}-prm").manifest().identity
    used = first.artifact.manifest().identity
    name, blocks = f"{labels.name}-both", ("problems", "mining", "labels")
    made = sw.label(
        "pde", name=name, store=labels.root, seed=seed, proposer=label["proposer"] | {"surrogate": tuned},
        **{block: label[block] for block in blocks},
    )  # fmt: skip
    blocks = ("learner", "objective", "optimisation", "patch_weight", "min_headroom")
    prm = sw.train(made, name=f"{name}-prm", seed=seed, **{block: train[block] for block in blocks})
    arms = {"tuned": {"proposer": {"kind": "deterministic", "surrogate": tuned}}, "prm": {"guide": "prm"}}
    options = {"num_candidates": used["num_candidates"], "num_resamples": used["num_resamples"], "seed": seed}
    beside = {"references": ["tuned"], "oracle": None, "rankings": None, "pictures": None, "num_logged": 0}
    return sw.evaluate(made, name=name, guides={"prm": prm}, arms=arms, **options, **beside)


def arms_of(evaluation: Any) -> Errors:
    """Mean error over the steps of each trajectory, by arm, trajectories in the order of their names."""
    trials = evaluation.table("trials").sort_values("problem_id")
    return {
        arm: np.array([np.mean(e) if w else np.nan for e, w in zip(t["nrmse"], t["whole"], strict=True)])
        for arm, t in trials.groupby("arm")
    }


def table(number: int, seeds: list[Errors]) -> list[dict[str, Any]]:
    """What every arm saves of the old surrogate's error, over trajectories that both finished."""
    rng, rows = np.random.default_rng(0), []
    for arm in SHOWN:
        if not all(arm in errors for errors in seeds):
            continue
        pairs = [np.stack([errors["old"], errors[arm]], axis=1) for errors in seeds]
        lost = sum(int(np.isnan(pair[:, 1]).sum()) for pair in pairs)
        pairs = [pair[np.isfinite(pair).all(axis=1)] for pair in pairs]
        picks = rng.integers(0, len(pairs), (2000, len(pairs)))
        drawn = [_saved([_resampled(pairs[i], rng) for i in pick]) for pick in picks]
        low, high = np.quantile(drawn, [0.025, 0.975])
        rows.append({"number": number, "arm": arm, "saves": _saved(pairs), "low": low, "high": high, "blown_up": lost})
    return rows


def _saved(pairs: list[np.ndarray]) -> float:
    old, new = np.concatenate(pairs).sum(axis=0)
    return float(1 - new / old)


def _resampled(pair: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return pair[rng.integers(0, len(pair), len(pair))]


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Error against number of trajectories, in units of the old surrogate's."""
    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    for arm in dict.fromkeys(row["arm"] for row in rows):
        mine = [row for row in rows if row["arm"] == arm]
        numbers = [row["number"] for row in mine]
        [line] = axes.plot(numbers, [1 - row["saves"] for row in mine], marker="o", label=SHOWN[arm])
        lows, highs = ([1 - row[end] for row in mine] for end in ("high", "low"))
        axes.fill_between(numbers, lows, highs, color=line.get_color(), alpha=0.12, linewidth=0)
    axes.axhline(1.0, color="black", linewidth=0.8)
    numbers = sorted({row["number"] for row in rows})
    axes.set(xscale="log", xlabel="trajectories of the new regime", ylabel="error over that of the old surrogate")
    axes.set_xticks(numbers, [str(number) for number in numbers])
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=150)
    print(path)


if __name__ == "__main__":
    main()
