"""Which rule should choose among a surrogate's candidates? Every rule of the domain against the same baselines.

    OMP_NUM_THREADS=1 python benchmarks/studies/pde_ablation.py [--folder F] [--regimes rich scarce] [--seeds 0 1 2]

Two regimes: a base surrogate from 160 trajectories, and from 16. A seed decides the training trajectories, the first
weights, the order of training and the labels; validation (32) and test (64) trajectories are those of seed 0 for all.
Everything trained and every rollout is kept in the folder: a run that was stopped goes on, another run only prints.

The rule, its temperature and its patch size are chosen per regime by the validation rollouts, mean of all seeds; then
the test split is rolled out. Numbers: NRMSE (`metrics.py`: nrmse), the mean over ten steps, lower is better; gain in
per cent of the deterministic rollout's error. Each test trajectory counts once, with its mean over the seeds; intervals
are paired BCa intervals over trajectories. FLOPs are a step's, scorers included. The rules in `ONCE` are rolled out for
the first seed only, and compared on that seed. About an hour of one core for two regimes and three seeds.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from stepward.core.cost import Cost
from stepward.core.seeding import Rng
from stepward.core.storage import Folder
from stepward.domains.pde.data import PDEMining, PDEProblems, fields_of, pde_states
from stepward.domains.pde.generators import (
    DeterministicGenerator,
    MeanOfK,
    NearestToMean,
    Patchwork,
    Select,
    SolverProposer,
    SolverSettings,
    StructuredGenerator,
    StructuredSettings,
    WeightedMean,
)
from stepward.domains.pde.references import keep, trajectories
from stepward.domains.pde.rewards import (
    ARMSettings,
    CNNSettings,
    FeatureCriticSettings,
    NearDeterministicSettings,
    NoRewardSettings,
    PhysicsSettings,
    RandomSettings,
    RankedCandidates,
    fit_reward,
    load_reward,
    save_reward,
    score_candidates,
)
from stepward.domains.pde.rewards.fitting import RewardFit
from stepward.domains.pde.rewards.objectives import ranking_metrics
from stepward.domains.pde.rollouts import errors_over_time, read_rollouts
from stepward.domains.pde.states import PDE, PDEStates
from stepward.domains.pde.surrogates import (
    SurrogateFit,
    UNetSettings,
    build_surrogate,
    fit_surrogate,
    load_surrogate,
    save_surrogate,
)
from stepward.domains.pde.surrogates.corrected import CorrectedSettings
from stepward.domains.pde.verifier import ReferenceVerifier
from stepward.evaluate.statistics.bootstrap import bootstrap_mean
from stepward.label.rankings import Ranker, RankingLabels, ranked_candidates
from stepward.rewards import Composite, Lookahead, Part
from stepward.search import Beam, Particles
from stepward.search.scoring import Scoring

K, HORIZON = 16, 10
SPREAD = StructuredSettings(sharpness=0.4, progress=0.1)
LABELS = RankingLabels(num_candidates=100, num_kept=9)
FIT = RewardFit(epochs=10, batch_size=16, learning_rate=1e-3, patch_weight=1.0)
TEMPERATURES, PATCHES, ARM_WEIGHTS = (0.25, 0.5), (4, 8), (0.5, 1.0, 2.0)
DOMAIN, TRUTH = PDE(), ReferenceVerifier()
ONCE = (
    "feature critic argmax",
    "corrector of the PRM's size",
    "PRM lookahead 1",
    "PRM beam 4",
    "PRM particles",
    "PRM argmax, K = 4",
    "PRM + 0.5 ARM argmax",
    "PRM + 2 ARM argmax",
)
Rule = Callable[["Models"], dict[str, Any]]


@dataclass(frozen=True)
class Regime:
    """How many trajectories there are, for the surrogate and for the labels, and how long it is trained."""

    name: str
    num_train: int
    epochs: int
    share: float  # of the states, labelled


REGIMES = {r.name: r for r in (Regime("rich", 160, 12, 0.125), Regime("scarce", 16, 66, 1.0))}


@dataclass(frozen=True)
class Models:
    """What one regime and seed has trained, and what is made of it."""

    surrogate: Any
    corrected: Any
    prm: Any
    critic: Any
    arm_unit: float

    @property
    def generator(self) -> StructuredGenerator:
        return StructuredGenerator(self.surrogate, SPREAD)


class Oracle:
    """Minus the true error, as a step's score and patch by patch: the most that a choice can gain."""

    num_parameters = 0

    def __init__(self, patch: int = 8) -> None:
        self.patch = patch

    def score(self, parents: PDEStates, children: PDEStates) -> np.ndarray:
        return TRUTH.outcome(children)

    def score_map(self, parents: PDEStates, children: PDEStates) -> np.ndarray:
        return -TRUTH.patch_errors(children, self.patch)


# -- what is trained ---------------------------------------------------------------------------------------------------


def problems(folder: Path, split: str, seed: int) -> pa.Table:
    """Problems of a split whose trajectories are kept in the folder, since they take a fifth of a second each."""
    settings = PDEProblems(horizon=HORIZON)
    names, path = settings.references(split, seed), folder / f"{split}-{seed}.npy"
    if not path.exists():
        np.save(path, np.stack(trajectories(names)))
    for name, frames in zip(names, np.load(path), strict=True):
        keep(name, frames)
    return settings.problems(split, seed)[0]


def train(folder: Path, regime: Regime, seed: int, *, extras: bool) -> Models:
    """Everything of one regime and seed, from the folder where it is there already; critic and corrector as extras."""
    place = folder / f"{regime.name}-{seed}"
    surrogate = train_surrogate(folder, regime, seed)
    rewards: dict[str, Any] = {"critic": None}
    critic_fit = FIT.model_copy(update={"patch_weight": 0.0, "epochs": 30})
    wanted: list[tuple[str, Any, RewardFit]] = [("prm", CNNSettings(), FIT)]
    for name, learner, fit in wanted + [("critic", FeatureCriticSettings(), critic_fit)] * extras:
        if not (place / name / "reward.json").exists():
            ranked, held_out = (
                rankings(folder, surrogate, regime, split, seed)[0] for split in ("train", "validation")
            )
            found, start = learner.module(), time.process_time()
            weights = fit_reward(learner, ranked, held_out, fit, seed=seed).latest
            found.load_state_dict({n: torch.from_numpy(w) for n, w in weights.items()})
            save_reward(Folder(str(place / name)), learner, found)
            _say(f"{place.name}: {name} trained in {time.process_time() - start:.0f} CPU-seconds")
        rewards[name] = load_reward(str(place / name))
    corrected = _corrected(folder, surrogate, regime, seed) if extras else None
    models = Models(surrogate, corrected, **rewards, arm_unit=1.0)
    return replace(models, arm_unit=_arm_unit(folder, models, seed))


def train_surrogate(folder: Path, regime: Regime, seed: int) -> Any:
    """The base surrogate of one regime and seed."""
    settings = UNetSettings()
    make: Callable[[], Any] = lambda: fitted(build_surrogate(settings), folder, regime, seed, regime.epochs)  # noqa: E731
    return kept_surrogate(folder / f"{regime.name}-{seed}" / "surrogate", settings, make)


def _corrected(folder: Path, surrogate: Any, regime: Regime, seed: int) -> Any:
    """A corrector of the PRM's size on top of the surrogate, trained for about half as long as the surrogate."""
    settings = CorrectedSettings(base=surrogate.settings, depth=5)

    def make() -> Any:
        network: Any = build_surrogate(settings)
        network.base.load_state_dict(surrogate.state_dict())
        return fitted(network, folder, regime, seed, regime.epochs // 2)

    return kept_surrogate(folder / f"{regime.name}-{seed}" / "corrected", settings, make)


def rankings(
    folder: Path, surrogate: Any, regime: Regime, split: str, seed: int, **mining: Any
) -> tuple[RankedCandidates, np.ndarray]:
    """Ranked candidates of states of a split, and the trajectory of each; of those to train on, the regime's. The
    states are true ones, unless settings of `mining` say otherwise.
    """
    held_out = split != "train"
    table = problems(folder, split, 0 if held_out else seed)
    table = table if held_out else table.slice(0, regime.num_train)
    share = 0.125 if held_out else regime.share
    table = table.set_column(table.column_names.index("horizon"), "horizon", pa.array([20] * len(table), pa.int32()))
    kept = LABELS.model_copy(update={"num_kept": 17}) if held_out else LABELS
    generator = StructuredGenerator(surrogate, SPREAD)
    ranker = Ranker(kept, domain=DOMAIN, proposer=generator, verifier=TRUTH, seed=seed)
    labels = pa.concat_tables(ranker(PDEMining(share=share, **mining).mine(table, seed)))
    good = np.isfinite(fields_of(labels, "kept_errors")).all(axis=1)
    return ranked_candidates(labels), np.asarray(labels["problem_id"].to_pylist())[good]


def fitted(network: Any, folder: Path, regime: Regime, seed: int, epochs: int) -> Any:
    """A surrogate after training on the trajectories of a regime and seed."""
    table = problems(folder, "train", seed).slice(0, regime.num_train)
    start = time.process_time()
    fit_surrogate(
        network, np.stack(trajectories(table["reference"].to_pylist())), SurrogateFit(epochs=epochs), seed=seed
    )
    _say(f"{regime.name}-{seed}: {type(network).__name__} trained in {time.process_time() - start:.0f} CPU-seconds")
    return network


def kept_surrogate(place: Path, settings: Any, make: Callable[[], Any]) -> Any:
    """The surrogate kept at `place`, made where there is none yet; the folder above ends in -<seed>."""
    if not (place / "surrogate.json").exists():
        torch.manual_seed(int(place.parent.name.rpartition("-")[2]))
        save_surrogate(Folder(str(place)), make(), settings)
    return load_surrogate(str(place))


def _arm_unit(folder: Path, models: Models, seed: int) -> float:
    """What an ARM is multiplied by to spread as much as the PRM among the candidates of a validation state."""
    states = pde_states(problems(folder, "validation", 0))
    rng = Rng.from_seed(seed, len(states), "unit")
    children = models.generator.propose(states, num_candidates=K, rng=rng)
    parents = states.take(np.repeat(np.arange(len(states)), K))
    rewards = (models.prm, ARMSettings().build(DOMAIN))
    spread = [r.score(parents, children).reshape(len(states), -1).std(axis=1).mean() for r in rewards]
    return float(spread[0] / spread[1])


# -- what chooses ------------------------------------------------------------------------------------------------------


def rules() -> dict[str, Rule]:
    """Name -> parts of a search (proposer, and where it has one search and reward), without anything to be chosen."""

    def select(name: str) -> Rule:
        return lambda m: {"proposer": Select(m.generator, _reward(m, name), DOMAIN, K)}

    scored = Scoring(aggregation="sum", normalise_siblings=True)
    found: dict[str, Rule] = {
        "deterministic": lambda m: {"proposer": DeterministicGenerator(m.surrogate)},
        "mean of K": lambda m: {"proposer": MeanOfK(m.generator, DOMAIN, K)},
        "nearest to the mean": lambda m: {"proposer": NearestToMean(m.generator, DOMAIN, K)},
        "corrector of the PRM's size": lambda m: {"proposer": DeterministicGenerator(m.corrected)},
        "solver alone": lambda m: {"proposer": SolverProposer(SolverSettings())},
        "solver alone, 16 x 16": lambda m: {"proposer": SolverProposer(SolverSettings(coarsen_by=2))},
        "oracle": lambda m: {"proposer": Select(m.generator, Oracle(), DOMAIN, K)},
        "oracle, patches of 8": lambda m: {"proposer": Patchwork(m.generator, Oracle(8), DOMAIN, K, patch=8)},
        "oracle, patches of 4": lambda m: {"proposer": Patchwork(m.generator, Oracle(4), DOMAIN, K, patch=4)},
        "PRM argmax, K = 4": lambda m: {"proposer": Select(m.generator, m.prm, DOMAIN, 4)},
        "PRM lookahead 1": lambda m: {"proposer": Select(m.generator, m.prm, DOMAIN, K, refined=_lookahead(m))},
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
    return lambda m: {"proposer": WeightedMean(m.generator, _reward(m, reward), DOMAIN, K, temperature=temperature)}


def _patchwork(patch: int, temperature: float) -> Rule:
    return lambda m: {"proposer": Patchwork(m.generator, m.prm, DOMAIN, K, patch=patch, temperature=temperature)}


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


def rollout(
    folder: Path, regime: Regime, seed: int, split: str, name: str, rule: Rule, models: Models
) -> dict[str, Any]:
    """Errors [trajectories, steps] and cost a step of one rule, from the folder where they are there already.

    A rollout that blew up has NaN from there on, and is counted in `blew_up`.
    """
    path = folder / f"{regime.name}-{seed}" / split / f"{name.replace(' ', '-').replace(',', '')}.npz"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        states = pde_states(problems(folder, split, 0))
        parts: dict[str, Any] = {
            "reward": NoRewardSettings().build(DOMAIN),
            "search": Beam(width=1, num_candidates=1),
        } | rule(models)
        search, start = parts.pop("search"), time.process_time()
        rng = Rng.from_ids(seed, states.reference.tolist(), "rollout")
        budget = Cost.limit(expansions=100.0 * K)
        result = search(states, domain=DOMAIN, budget=budget, rng=rng, keep_tree=True, **parts)
        done = read_rollouts(result)
        cost = {kind: float(spent.mean()) / HORIZON for kind, spent in result.cost.items()}
        cost |= {"blew_up": float(done.blew_up.sum()), "cpu": (time.process_time() - start) / len(states) / HORIZON}
        np.savez(path, errors=errors_over_time(done, states, TRUTH)[:, 1:], cost=json.dumps(cost))
        _say(f"{regime.name}-{seed} {split} {name}: {np.nanmean(np.load(path)['errors']):.4f}")
    with np.load(path) as kept:
        return {"errors": kept["errors"], "cost": json.loads(str(kept["cost"]))}


# -- what is printed ---------------------------------------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("pde_ablation"))
    parser.add_argument("--regimes", nargs="+", default=sorted(REGIMES), choices=sorted(REGIMES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--main-rules", action="store_true", help="leave out the rules of the first seed alone")
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.folder.mkdir(parents=True, exist_ok=True)
    for name in options.regimes:
        study(options.folder, REGIMES[name], options.seeds, extras=not options.main_rules)


def study(folder: Path, regime: Regime, seeds: list[int], *, extras: bool = True) -> None:
    """Train, choose on validation, roll out on test, print."""
    models = {seed: train(folder, regime, seed, extras=extras and seed == seeds[0]) for seed in seeds}
    ranking_table(folder, regime, models)

    def run(split: str, name: str, rule: Rule) -> list[dict[str, Any]]:
        some = seeds[:1] if name in ONCE else seeds
        return [rollout(folder, regime, seed, split, name, rule, models[seed]) for seed in some]

    base = _mean_error(run("validation", "deterministic", rules()["deterministic"]))
    candidates = {"PRM argmax": rules()["PRM argmax"]} | {n: r for v in choices().values() for n, r in v.items()}
    gains = {n: 100 * (1 - _mean_error(run("validation", n, r)).mean() / base.mean()) for n, r in candidates.items()}
    winners = [max(variants, key=gains.__getitem__) for variants in choices().values()]
    _say("validation, gain in %: " + ", ".join(f"{n} {g:.1f}" for n, g in gains.items()))
    chosen = max(gains, key=gains.__getitem__)
    tested = {name: rule for name, rule in rules().items() if extras or name not in ONCE}
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
            errors, owners = torch.from_numpy(kept["errors"].astype(np.float64)), [*owners, *kept["owner"]]
            for name, scores_nk in zip(metrics, torch.from_numpy(kept["scores"]), strict=True):
                metrics[name].append({k: v.numpy() for k, v in ranking_metrics(scores_nk, errors).items()})
    _say(f"\n{regime.name}: candidates of held-out test states in order, seeds {list(models)}\n")
    _say("| scored by | states | pairs | best > median > worst | Spearman | pairs over near deterministic |")
    _say("|---|---|---|---|---|---|")
    for name, found in metrics.items():
        means = [np.mean([np.mean(f[key]) for f in found]) for key in ("pairs", "triplet", "spearman")]
        lead = np.concatenate(
            [f["pairs"] - g["pairs"] for f, g in zip(found, metrics["near deterministic"], strict=True)]
        )
        clusters = [lead[np.asarray(owners) == owner].mean() for owner in sorted(set(owners))]
        interval = bootstrap_mean(np.array(clusters), rng=np.random.default_rng(0))
        over = f"{interval.value:+.3f} [{interval.low:+.3f}, {interval.high:+.3f}]" if lead.any() else "–"
        _say(f"| {name} | {len(lead)} | " + " | ".join(f"{m:.3f}" for m in means) + f" | {over} |")


def rollout_table(regime: Regime, found: dict[str, list[dict[str, Any]]], chosen: str) -> None:
    """Every rule against the deterministic rollout, and the chosen rule against every rule."""
    errors = {name: _mean_error(runs) for name, runs in found.items()}
    num = len(errors[chosen])
    _say(f"\n{regime.name}: test rollouts, {num} trajectories, chosen on validation: {chosen}\n")
    _say("| rule | NRMSE | last step | gain % | gain a seed | gain of the chosen over it % | MFLOP | NFE | blew up |")
    _say("|---|---|---|---|---|---|---|---|---|")
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
        _say(f"| {name} | " + " | ".join(cells) + f" | {cost['flops'] / 1e6:.0f} | {cost['nfe']:.1f} | {blew:.0f} |")
    base, best, oracle = (errors[name] for name in ("deterministic", chosen, "oracle"))
    share = (base - best).mean() / (base - oracle).mean()
    _say(f"\n{chosen} realises {share:.0%} of the oracle's gain ({_share_interval(base, best, oracle)}).")


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


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    main()
