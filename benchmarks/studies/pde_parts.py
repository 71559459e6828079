"""What the studies of this domain share: regimes, what is trained in them, and rollouts, kept in a folder.

A regime says how many trajectories there are. A seed decides which, the first weights, the order of training and the
labels; validation and test trajectories are those of seed 0 for all. Everything lies in `<folder>/<regime>-<seed>`.
"""

from __future__ import annotations

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
    StructuredGenerator,
    StructuredSettings,
)
from stepward.domains.pde.rankings import Ranker, RankingContent, ranked_candidates
from stepward.domains.pde.references import keep, trajectories
from stepward.domains.pde.rewards import (
    ARMSettings,
    CNNSettings,
    FeatureCriticSettings,
    NoRewardSettings,
    RankedCandidates,
    fit_reward,
    load_reward,
    save_reward,
)
from stepward.domains.pde.rewards.fitting import RewardFit
from stepward.domains.pde.rollouts import errors_over_time, read_rollouts
from stepward.domains.pde.states import PDE, PDEStates
from stepward.domains.pde.surrogates import (
    SurrogateFit,
    UNetSettings,
    ViT,
    build_surrogate,
    fit_surrogate,
    load_surrogate,
    save_surrogate,
)
from stepward.domains.pde.surrogates.corrected import CorrectedSettings
from stepward.domains.pde.verifier import ReferenceVerifier
from stepward.search import Beam

K, HORIZON = 16, 10
WIDE = UNetSettings(width=92)  # one pass costs as much as one of the base and 16 scores of the PRM
SPREAD = StructuredSettings(sharpness=0.4, progress=0.1)
LABELS = RankingContent(num_candidates=100, num_kept=9)
FIT = RewardFit(num_epochs=10, batch_size=16, learning_rate=1e-3, patch_weight=1.0)
DOMAIN, TRUTH = PDE(), ReferenceVerifier()
Rule = Callable[[Any], dict[str, Any]]


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
    wide: Any  # None where it was not asked for: its training takes as long as all else
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


def problems(folder: Path, split: str, seed: int) -> pa.Table:
    """Problems of a split whose trajectories are kept in the folder, since they take a fifth of a second each."""
    settings = PDEProblems(horizon=HORIZON)
    names, path = settings.references(split, seed), folder / f"{split}-{seed}.npy"
    if not path.exists():
        np.save(path, np.stack(trajectories(names)))
    for name, frames in zip(names, np.load(path), strict=True):
        keep(name, frames)
    return settings.problems(split, seed)[0]


def train(folder: Path, regime: Regime, seed: int, *, wide: bool = False) -> Models:
    """Everything of one regime and seed, from the folder where it is there already; the wide surrogate if asked for."""
    place = folder / f"{regime.name}-{seed}"
    surrogate = train_surrogate(folder, regime, seed)
    rewards: dict[str, Any] = {}
    critic_fit = FIT.model_copy(update={"patch_weight": 0.0, "num_epochs": 30})
    wanted: list[tuple[str, Any, RewardFit]] = [
        ("prm", CNNSettings(), FIT),
        ("critic", FeatureCriticSettings(), critic_fit),
    ]
    for name, learner, fit in wanted:
        if not (place / name / "reward.json").exists():
            ranked, held_out = (
                rankings(folder, surrogate, regime, split, seed)[0] for split in ("train", "validation")
            )
            found, start = learner.module(), time.process_time()
            weights = fit_reward(learner, ranked, held_out, fit, seed=seed).latest
            found.load_state_dict({n: torch.from_numpy(w) for n, w in weights.items()})
            save_reward(Folder(str(place / name)), learner, found)
            say(f"{place.name}: {name} trained in {time.process_time() - start:.0f} CPU-seconds")
        rewards[name] = load_reward(str(place / name))
    corrected = _corrected(folder, surrogate, regime, seed)
    costly = train_surrogate(folder, regime, seed, WIDE, "wide") if wide else None
    models = Models(surrogate, corrected, costly, **rewards, arm_unit=1.0)
    return replace(models, arm_unit=_arm_unit(folder, models, seed))


def train_surrogate(folder: Path, regime: Regime, seed: int, settings: Any = None, name: str = "surrogate") -> Any:
    """A surrogate of one regime and seed: the base, or one of other settings under another name."""
    chosen = settings or UNetSettings()
    make: Callable[[], Any] = lambda: _fitted(build_surrogate(chosen), folder, regime, seed, regime.epochs)  # noqa: E731
    return _kept(folder / f"{regime.name}-{seed}" / name, chosen, make)


def _corrected(folder: Path, surrogate: Any, regime: Regime, seed: int) -> Any:
    """A corrector of the PRM's size on top of the surrogate, trained for about half as long as the surrogate."""
    settings = CorrectedSettings(base=surrogate.settings, depth=5)

    def make() -> Any:
        network: Any = build_surrogate(settings)
        network.base.load_state_dict(surrogate.state_dict())
        return _fitted(network, folder, regime, seed, regime.epochs // 2)

    return _kept(folder / f"{regime.name}-{seed}" / "corrected", settings, make)


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
    return ranked_candidates(labels)[1], np.asarray(labels["problem_id"].to_pylist())[good]


def _fitted(network: Any, folder: Path, regime: Regime, seed: int, epochs: int) -> Any:
    table = problems(folder, "train", seed).slice(0, regime.num_train)
    start = time.process_time()
    fit = SurrogateFit(epochs=epochs, learning_rate=5e-4 if isinstance(network, ViT) else 1e-3)
    fit_surrogate(network, np.stack(trajectories(table["reference"].to_pylist())), fit, seed=seed)
    say(f"{regime.name}-{seed}: {type(network).__name__} trained in {time.process_time() - start:.0f} CPU-seconds")
    return network


def _kept(place: Path, settings: Any, make: Callable[[], Any]) -> Any:
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
        say(f"{regime.name}-{seed} {split} {name}: {np.nanmean(np.load(path)['errors']):.4f}")
    with np.load(path) as kept:
        return {"errors": kept["errors"], "cost": json.loads(str(kept["cost"]))}


def say(text: str) -> None:
    """Print at once: these runs are watched."""
    print(text, flush=True)
