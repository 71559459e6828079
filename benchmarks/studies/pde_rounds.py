"""Should a reward model learn from the states that its own choices lead to? Rounds on policy against true states.

    OMP_NUM_THREADS=1 python benchmarks/studies/pde_rounds.py --folder pde_ablation [--regime scarce] [--seeds 0 1 2]

Round 0 is the PRM of `pde_ablation.py`, from the same folder: candidates of true states. The others learn, in as many
steps of training, from states of the same trajectories as a rollout meets them (`mining.on_policy`, `mining.policy`):
one of the surrogate alone, or one in which the PRM of round 0 chose; and from true states and those together. All are
judged by rollouts of the test trajectories in which they take the best of 16 candidates: gain over the deterministic
rollout, and over round 0. Each trajectory counts once, with its mean over the seeds; intervals are paired BCa intervals
over trajectories. What is trained and rolled out stays in the folder. About five minutes of one core a seed.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pde_parts import DOMAIN, FIT, REGIMES, SPREAD, K, Regime, rankings, rollout, train_surrogate

from stepward.core.storage import Folder
from stepward.domains.pde.generators import DeterministicGenerator, StructuredGenerator
from stepward.domains.pde.rewards import CNNSettings, RankedCandidates, fit_reward, load_reward, save_reward
from stepward.search.greedy import Greedy
from stepward.statistics.bootstrap import bootstrap_mean

# variant -> kinds of states it learns from
VARIANTS: dict[str, tuple[str, ...]] = {
    "true states (round 0)": ("true",),
    "states of the surrogate's own rollout": ("own",),
    "states that the PRM of round 0 led to (round 1)": ("chosen",),
    "true states and those of round 1": ("true", "chosen"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("pde_ablation"))
    parser.add_argument("--regime", default="scarce", choices=sorted(REGIMES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    options = parser.parse_args()
    torch.set_num_threads(1)
    regime = REGIMES[options.regime]
    errors: dict[str, list[np.ndarray]] = {"deterministic": []} | {name: [] for name in VARIANTS}
    for seed in options.seeds:
        surrogate = train_surrogate(options.folder, regime, seed)
        generator = StructuredGenerator(surrogate, SPREAD)
        rewards = {name: trained(options.folder, regime, seed, kinds) for name, kinds in VARIANTS.items()}
        proposers: dict[str, Any] = {"deterministic": DeterministicGenerator(surrogate)}
        proposers |= {name: Greedy(generator, reward, DOMAIN, K) for name, reward in rewards.items()}
        for name, proposer in proposers.items():
            title = name if name == "deterministic" else f"chosen by {'-'.join(VARIANTS[name])}"
            rule: Any = lambda made: {"proposer": made}  # noqa: E731
            errors[name].append(rollout(options.folder, regime, seed, "test", title, rule, proposer)["errors"])
    print_table(errors, options.regime, options.seeds)


def trained(folder: Path, regime: Regime, seed: int, kinds: tuple[str, ...]) -> Any:
    """The reward model that learned from these kinds of states, from the folder where it is there already.

    Raises:
        ValueError: there is no round 0 yet.
    """
    place = folder / f"{regime.name}-{seed}"
    if not (place / "prm" / "reward.json").exists():
        raise ValueError(f"{place}: expected a PRM of round 0. Run pde_ablation.py with this regime and seed first.")
    if kinds == ("true",):
        return load_reward(str(place / "prm"))
    target = place / f"prm-{'-'.join(kinds)}"
    if not (target / "reward.json").exists():
        parts = [labelled(folder, regime, seed, kind) for kind in kinds]
        fit = FIT.model_copy(update={"num_epochs": FIT.num_epochs // len(parts)})
        held_out = rankings(folder, train_surrogate(folder, regime, seed), regime, "validation", seed)[0]
        learner = CNNSettings()
        network = learner.module()
        weights = fit_reward(learner, joined(parts), held_out, fit, seed=seed).latest
        network.load_state_dict({name: torch.from_numpy(values) for name, values in weights.items()})
        save_reward(Folder(str(target)), learner, network)
        print(f"{target.name}, seed {seed}: {sum(map(len, parts))} states", flush=True)
    return load_reward(str(target))


def labelled(folder: Path, regime: Regime, seed: int, kind: str) -> RankedCandidates:
    """Ranked candidates of the training states of one kind."""
    place = folder / f"{regime.name}-{seed}"
    surrogate = str(place / "surrogate")
    chooses = {
        "kind": "select",
        "generator": SPREAD.model_copy(update={"surrogate": surrogate}).model_dump(),
        "reward": {"kind": "saved", "folder": str(place / "prm")},
        "num_candidates": K,
    }
    mining: dict[str, Any] = {"true": {}, "own": {"on_policy": surrogate}, "chosen": {"policy": chooses}}[kind]
    return rankings(folder, train_surrogate(folder, regime, seed), regime, "train", seed, **mining)[0]


def joined(parts: list[RankedCandidates]) -> RankedCandidates:
    """All states of several sets."""
    names = ("state", "deterministic", "candidates", "errors", "patch_errors")
    return RankedCandidates(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


def print_table(errors: dict[str, list[np.ndarray]], regime: str, seeds: list[int]) -> None:
    """NRMSE of every variant, its gain over the deterministic rollout and over round 0."""
    lost = {name: int((~np.isfinite(runs).all(axis=2)).sum()) for name, runs in errors.items()}
    if any(lost.values()):
        raise ValueError(f"expected whole rollouts, got some that blew up: {lost}; they have no mean error")
    means = {name: np.mean(runs, axis=(0, 2)) for name, runs in errors.items()}
    base, zero = means["deterministic"], means[next(iter(VARIANTS))]
    print(f"\n{regime}, seeds {seeds}: {len(base)} test trajectories, deterministic NRMSE {base.mean():.4f}\n")
    print("| learned from | NRMSE | gain % | gain a seed | over round 0 % |\n|---|---|---|---|---|")
    for name in VARIANTS:
        a_seed = (100 * (1 - run.mean() / plain.mean())
                  for run, plain in zip(errors[name], errors["deterministic"], strict=True))  # fmt: skip
        gain, over = _interval(base - means[name], base), _interval(zero - means[name], zero)
        print(f"| {name} | {means[name].mean():.4f} | {gain} | {' '.join(f'{g:.1f}' for g in a_seed)} | {over} |")


def _interval(saved: np.ndarray, base: np.ndarray) -> str:
    if not saved.any():
        return "–"
    found = bootstrap_mean(100 * saved / base.mean(), rng=np.random.default_rng(0))
    return f"{found.value:+.1f} [{found.low:+.1f}, {found.high:+.1f}]"


if __name__ == "__main__":
    main()
