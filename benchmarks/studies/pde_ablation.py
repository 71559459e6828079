"""Which rule should choose among a surrogate's candidates? Every rule of the domain against the same baselines.

    OMP_NUM_THREADS=1 python benchmarks/studies/pde_ablation.py [--folder F] [--regimes rich scarce] [--seeds 0 1 2]

Two regimes: a base surrogate from 160 trajectories, and from 16. A seed decides the training trajectories, the first
weights, the order of training and the labels; validation (32) and test (64) trajectories are those of seed 0 for all.
Everything trained and every rollout is kept in the folder: a run that was stopped goes on, another run only prints.

The rule, its temperature and its patch size are chosen per regime by the validation rollouts, mean of all seeds; then
the test split is rolled out. Numbers: NRMSE (`metrics.py`: nrmse), the mean over ten steps, lower is better; gain in
per cent of the deterministic rollout's error. Each test trajectory counts once, with its mean over the seeds; intervals
are paired BCa intervals over trajectories. FLOPs are a step's, scorers included. With --wide there is one rule more,
for the first seed only and compared on that seed: a surrogate alone whose pass costs as much as one of the base and 16
scores. About two hours of one core for two regimes and three seeds, and half an hour more with --wide.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pde_parts import (
    DOMAIN,
    REGIMES,
    K,
    Models,
    Oracle,
    Regime,
    Rule,
    rankings,
    rollout,
    say,
    train,
)

from stepward.domains.pde.generators import (
    DeterministicGenerator,
    SolverProposer,
    SolverSettings,
)
from stepward.domains.pde.rewards import (
    ARMSettings,
    NearDeterministicSettings,
    NearMeanSettings,
    PhysicsSettings,
    RandomSettings,
    score_candidates,
)
from stepward.rewards import Composite, Lookahead, Part
from stepward.search import Beam, Particles
from stepward.search.composing import MeanOfK, Patchwork, WeightedMean
from stepward.search.greedy import Greedy
from stepward.search.scoring import Scoring
from stepward.statistics.bootstrap import bootstrap_mean
from stepward.statistics.candidates import ranking_metrics

TEMPERATURES, PATCHES, ARM_WEIGHTS = (0.25, 0.5), (4, 8), (0.5, 1.0, 2.0)
WIDE = "surrogate of the cost of base and PRM"


def rules() -> dict[str, Rule]:
    """Name -> parts of a search (proposer, and where it has one search and reward), without anything to be chosen."""

    def select(name: str) -> Rule:
        return lambda m: {"proposer": Greedy(m.generator, _reward(m, name), DOMAIN, K)}

    scored = Scoring(aggregation="sum", normalise_siblings=True)
    found: dict[str, Rule] = {
        "deterministic": lambda m: {"proposer": DeterministicGenerator(m.surrogate)},
        "mean of K": lambda m: {"proposer": m.generator, "search": MeanOfK(num_candidates=K)},
        "nearest to the mean": lambda m: {"proposer": Greedy(m.generator, NearMeanSettings().build(DOMAIN), DOMAIN, K)},
        "corrector of the PRM's size": lambda m: {"proposer": DeterministicGenerator(m.corrected)},
        WIDE: lambda m: {"proposer": DeterministicGenerator(m.wide)},
        "solver alone": lambda m: {"proposer": SolverProposer(SolverSettings())},
        "solver alone, 16 x 16": lambda m: {"proposer": SolverProposer(SolverSettings(coarsen_by=2))},
        "oracle": lambda m: {"proposer": Greedy(m.generator, Oracle(), DOMAIN, K)},
        "oracle, patches of 8": lambda m: _patches(m, Oracle(8), patch=8),
        "oracle, patches of 4": lambda m: _patches(m, Oracle(4), patch=4),
        "PRM argmax, K = 4": lambda m: {"proposer": Greedy(m.generator, m.prm, DOMAIN, 4)},
        "PRM lookahead 1": lambda m: {"proposer": Greedy(m.generator, _lookahead(m), DOMAIN, K)},
        "PRM beam 4": lambda m: {
            "proposer": m.generator,
            "reward": m.prm,
            "search": Beam(width=4, num_candidates=4, scoring=scored),
        },
        "PRM particles": lambda m: {
            "proposer": m.generator,
            "reward": m.prm,
            "search": Particles(num_particles=K, potential="exponential", scoring=Scoring(aggregation="sum")),
        },
    }
    for name in ("random", "near deterministic", "ARM", "feature critic", "solver residual", "PRM"):
        found[f"{name} argmax"] = select(name)
    for weight in ARM_WEIGHTS:
        found[f"PRM + {weight:g} ARM argmax"] = select(f"PRM + {weight:g} ARM")
    return found


def choices() -> dict[str, dict[str, Rule]]:
    """Family -> variants, one of which the validation split chooses."""
    means: dict[str, Rule] = {f"PRM-weighted mean, T = {t:g}": _mean("PRM", t) for t in TEMPERATURES}
    patches: dict[str, Rule] = {
        f"PRM patchwork of {p}, T = {t:g}": _patchwork(p, t) for p in PATCHES for t in TEMPERATURES
    }
    return {"PRM-weighted mean": means, "PRM patchwork": patches}


def _mean(reward: str, temperature: float) -> Rule:
    search = WeightedMean(num_candidates=K, temperature=temperature)
    return lambda m: {"proposer": m.generator, "reward": _reward(m, reward), "search": search}


def _patchwork(patch: int, temperature: float) -> Rule:
    return lambda m: _patches(m, m.prm, patch=patch, temperature=temperature)


def _patches(models: Models, reward: Any, **settings: Any) -> dict[str, Any]:
    return {"proposer": models.generator, "reward": reward, "search": Patchwork(num_candidates=K, **settings)}


def _reward(models: Models, name: str) -> Any:
    if name.startswith("PRM + "):
        weight = name.removeprefix("PRM + ").removesuffix(" ARM")
        parts = {"prm": Part(models.prm), "arm": Part(ARMSettings().build(DOMAIN), float(weight) * models.arm_unit)}
        return Composite(parts, DOMAIN)
    makers: dict[str, Callable[[], Any]] = {
        "random": lambda: RandomSettings().build(DOMAIN),
        "near deterministic": lambda: NearDeterministicSettings().build(DOMAIN),
        "ARM": lambda: ARMSettings().build(DOMAIN),
        "feature critic": lambda: models.critic,
        "solver residual": lambda: PhysicsSettings(coarsen_by=2).build(DOMAIN),
        "PRM": lambda: models.prm,
    }
    return makers[name]()


def _lookahead(models: Models) -> Lookahead:
    return Lookahead(models.prm, DeterministicGenerator(models.surrogate), DOMAIN, depth=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("pde_ablation"))
    parser.add_argument("--regimes", nargs="+", default=sorted(REGIMES), choices=sorted(REGIMES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--wide", action="store_true", help="train the wide surrogate, too, for the first seed")
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.folder.mkdir(parents=True, exist_ok=True)
    for name in options.regimes:
        study(options.folder, REGIMES[name], options.seeds, wide=options.wide)


def study(folder: Path, regime: Regime, seeds: list[int], *, wide: bool) -> None:
    """Train, choose on validation, roll out on test, print."""
    models = {seed: train(folder, regime, seed, wide=wide and seed == seeds[0]) for seed in seeds}
    ranking_table(folder, regime, models)

    def run(split: str, name: str, rule: Rule) -> list[dict[str, Any]]:
        some = seeds[:1] if name == WIDE else seeds
        return [rollout(folder, regime, seed, split, name, rule, models[seed]) for seed in some]

    base = _mean_error(run("validation", "deterministic", rules()["deterministic"]))
    candidates = {"PRM argmax": rules()["PRM argmax"]} | {n: r for v in choices().values() for n, r in v.items()}
    gains = {n: 100 * (1 - _mean_error(run("validation", n, r)).mean() / base.mean()) for n, r in candidates.items()}
    winners = [max(variants, key=gains.__getitem__) for variants in choices().values()]
    say("validation, gain in %: " + ", ".join(f"{n} {g:.1f}" for n, g in gains.items()))
    chosen = max(gains, key=gains.__getitem__)
    tested = {name: rule for name, rule in rules().items() if wide or name != WIDE}
    tested |= {name: candidates[name] for name in winners}
    found = {name: run("test", name, rule) for name, rule in tested.items()}
    rollout_table(regime, found, chosen)


def ranking_table(folder: Path, regime: Regime, models: dict[int, Models]) -> None:
    """How well candidates of test states are ordered, beside the distance to the deterministic output."""
    metrics: dict[str, list[dict[str, np.ndarray]]] = {"PRM": [], "near deterministic": []}
    owners: list[str] = []
    for seed, made in models.items():
        path = folder / f"{regime.name}-{seed}" / "ranking.npz"
        if not path.exists():
            data, owner = rankings(folder, made.surrogate, regime, "test", seed)
            away = ((data.candidates - data.deterministic[:, None]).astype(np.float64) ** 2).sum(axis=(2, 3, 4))
            np.savez(path, errors=data.errors, scores=[score_candidates(made.prm.module, data), -away], owner=owner)
        with np.load(path) as kept:
            errors, owners = kept["errors"], [*owners, *kept["owner"]]
            for name, scores_nk in zip(metrics, kept["scores"], strict=True):
                metrics[name].append(ranking_metrics(scores_nk, errors))
    say(f"\n{regime.name}: candidates of held-out test states in order, seeds {list(models)}\n")
    say("| scored by | states | pairs | best > median > worst | Spearman | pairs over near deterministic |")
    say("|---|---|---|---|---|---|")
    for name, found in metrics.items():
        means = [np.mean([np.mean(f[key]) for f in found]) for key in ("pairs", "triplet", "spearman")]
        lead = np.concatenate(
            [f["pairs"] - g["pairs"] for f, g in zip(found, metrics["near deterministic"], strict=True)]
        )
        clusters = [lead[np.asarray(owners) == owner].mean() for owner in sorted(set(owners))]
        interval = bootstrap_mean(np.array(clusters), rng=np.random.default_rng(0))
        over = f"{interval.value:+.3f} [{interval.low:+.3f}, {interval.high:+.3f}]" if lead.any() else "–"
        say(f"| {name} | {len(lead)} | " + " | ".join(f"{m:.3f}" for m in means) + f" | {over} |")


def rollout_table(regime: Regime, found: dict[str, list[dict[str, Any]]], chosen: str) -> None:
    """Every rule against the deterministic rollout, and the chosen rule against every rule."""
    errors = {name: _mean_error(runs) for name, runs in found.items()}
    num = len(errors[chosen])
    say(f"\n{regime.name}: test rollouts, {num} trajectories, chosen on validation: {chosen}\n")
    say("| rule | NRMSE | last step | gain % | gain a seed | gain of the chosen over it % | MFLOP | NFE | blew up |")
    say("|---|---|---|---|---|---|---|---|---|")
    for name, error in sorted(errors.items(), key=lambda item: -item[1].mean()):
        cost = {k: np.mean([run["cost"][k] for run in found[name]]) for k in ("flops", "nfe")}
        blew = sum(run["cost"]["blew_up"] for run in found[name])
        seeds = " ".join(
            f"{100 * (1 - np.nanmean(run['errors']) / np.nanmean(ref['errors'])):.1f}"
            for run, ref in zip(found[name], found["deterministic"], strict=False)
        )
        base, best = (_mean_error(found[other][: len(found[name])]) for other in ("deterministic", chosen))
        last = np.nanmean([run["errors"][:, -1] for run in found[name]])
        cells = [f"{error.mean():.4f}", f"{last:.4f}", _gain(error, base), seeds, _gain(best, error)]
        say(f"| {name} | " + " | ".join(cells) + f" | {cost['flops'] / 1e6:.0f} | {cost['nfe']:.1f} | {blew:.0f} |")
    base, best, oracle = (errors[name] for name in ("deterministic", chosen, "oracle"))
    share = (base - best).mean() / (base - oracle).mean()
    say(f"\n{chosen} realises {share:.0%} of the oracle's gain ({_share_interval(base, best, oracle)}).")


def _mean_error(runs: list[dict[str, Any]]) -> np.ndarray:
    """Error of every trajectory, the mean over its steps and over seeds; steps after a blow-up are left out."""
    return np.nanmean([np.nanmean(run["errors"], axis=1) for run in runs], axis=0)


def _gain(error: np.ndarray, base: np.ndarray) -> str:
    if not (error - base).any():
        return "–"
    found = bootstrap_mean(100 * (base - error) / base.mean(), rng=np.random.default_rng(0))
    return f"{found.value:+.1f} [{found.low:+.1f}, {found.high:+.1f}]"


def _share_interval(base: np.ndarray, best: np.ndarray, oracle: np.ndarray) -> str:
    rows = np.random.default_rng(0).integers(0, len(base), (10_000, len(base)))
    shares = (base - best)[rows].mean(axis=1) / (base - oracle)[rows].mean(axis=1)
    low, high = np.quantile(shares, [0.025, 0.975])
    return f"percentile interval over trajectories {low:.0%} to {high:.0%}"


if __name__ == "__main__":
    main()
