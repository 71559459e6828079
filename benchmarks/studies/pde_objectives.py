"""What a reward model of candidates should be trained for: four objectives, errors h steps on, and two forms of input.

    OMP_NUM_THREADS=1 python benchmarks/studies/pde_objectives.py --folder pde_ablation [--regime rich] [--seeds 0 1 2]

Every variant differs from the first in one thing, has the same labels and the same few passes over them, and is judged
on the candidates of held-out test states, by their errors one step on and by those realised eight steps of the
deterministic surrogate later; and by rollouts of the test trajectories in which it chooses (argmax). The surrogates are
those of `pde_ablation.py`, from the same folder. What is trained and rolled out stays there: a run that was stopped
goes on. About six minutes of one core a seed on top of it. Figures are means over seeds; intervals are BCa intervals
over test trajectories of the paired difference to the first row.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from pde_parts import DOMAIN, REGIMES, SPREAD, TRUTH, K, Regime, problems, rollout, train_surrogate

from stepward.core.storage import Folder
from stepward.domains.pde.data import PDEMining, fields_of
from stepward.domains.pde.generators import DeterministicGenerator, StructuredGenerator
from stepward.domains.pde.rankings import Ranker, RankingContent, ranked_candidates
from stepward.domains.pde.rewards import (
    CNNSettings,
    RankedCandidates,
    fit_reward,
    load_reward,
    save_reward,
    score_candidates,
)
from stepward.domains.pde.rewards.fitting import RewardFit
from stepward.domains.pde.rewards.ranking_objectives import BradleyTerry, Listwise, Regression, TwoHinge
from stepward.search.greedy import Greedy
from stepward.statistics.bootstrap import bootstrap_mean
from stepward.statistics.candidates import ranking_metrics

HORIZONS = (1, 2, 4, 8)
FIT = RewardFit(num_epochs=5, batch_size=16, learning_rate=1e-3)
RAW = CNNSettings(inputs="raw", padding="zeros", patch=1, depth=5)

# name -> learner, objective, horizon of the errors it learns from
VARIANTS: dict[str, tuple[CNNSettings, Any, int]] = {
    "anchored, Bradley–Terry, h = 1": (CNNSettings(), BradleyTerry(), 1),
    "listwise": (CNNSettings(), Listwise(), 1),
    "two hinges, margin .2": (CNNSettings(), TwoHinge(), 1),
    "regression of log error": (CNNSettings(), Regression(), 1),
    **{f"h = {h}": (CNNSettings(), BradleyTerry(), h) for h in HORIZONS[1:]},
    "raw input": (CNNSettings(inputs="raw"), BradleyTerry(), 1),
    "raw input, zero padding, no patches": (RAW, BradleyTerry(), 1),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("pde_ablation"))
    parser.add_argument("--regime", default="rich", choices=sorted(REGIMES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.folder.mkdir(parents=True, exist_ok=True)
    found: dict[str, list[dict[str, np.ndarray]]] = {name: [] for name in VARIANTS}
    for seed in options.seeds:
        study = Study(options.folder, REGIMES[options.regime], seed)
        for name in VARIANTS:
            found[name].append(study.judged(name))
            print(f"{study.place.name} {name}: pairs {found[name][-1]['pairs'].mean():.3f}", flush=True)
    print_table(found, options.regime, options.seeds)


class Study:
    """Every variant of one regime and seed, from the folder where it is there already."""

    def __init__(self, folder: Path, regime: Regime, seed: int) -> None:
        self.folder, self.regime, self.seed = folder, regime, seed
        self.place = folder / f"{regime.name}-{seed}"

    @cached_property
    def surrogate(self) -> Any:
        return train_surrogate(self.folder, self.regime, self.seed)

    @cached_property
    def labels(self) -> dict[str, pa.Table]:
        return {split: self._rankings(split) for split in ("train", "validation", "test")}

    def judged(self, name: str) -> dict[str, np.ndarray]:
        """Figures of one variant, a test state each, the trajectory of each, and errors of its rollouts."""
        path = self.place / "objectives" / f"{_slug(name)}.npz"
        if not path.exists():
            reward = self._trained(name).module
            soon, late = (_figures(reward, _candidates(self.labels["test"], h)) for h in (1, 8))
            owner = np.asarray(self.labels["test"]["problem_id"].to_pylist())
            np.savez(path, **soon, late=late["pairs"], owner=owner)
        with np.load(path) as kept:
            found = dict(kept)
        found["rollout"] = self._rolled_out(
            f"chosen by {_slug(name)}",
            lambda reward: Greedy(StructuredGenerator(self.surrogate, SPREAD), reward, DOMAIN, K),
            self._trained(name),
        )
        found["plain"] = self._rolled_out("deterministic", lambda _: DeterministicGenerator(self.surrogate), None)
        return found

    def _rolled_out(self, title: str, make: Callable[[Any], Any], reward: Any) -> np.ndarray:
        rule: Any = lambda made: {"proposer": make(made)}  # noqa: E731
        return np.asarray(rollout(self.folder, self.regime, self.seed, "test", title, rule, reward)["errors"])

    def _trained(self, name: str) -> Any:
        place = self.place / "objectives" / _slug(name)
        if not (place / "reward.json").exists():
            learner, objective, horizon = VARIANTS[name]
            train, validation = (_candidates(self.labels[split], horizon) for split in ("train", "validation"))
            fit = FIT.model_copy(update={"objective": objective})
            weights = fit_reward(learner, train, validation, fit, seed=self.seed).latest
            network = learner.module()
            network.load_state_dict({key: torch.from_numpy(value) for key, value in weights.items()})
            save_reward(Folder(str(place)), learner, network)
        return load_reward(str(place))

    def _rankings(self, split: str) -> pa.Table:
        """Labels of states that have eight more frames, with the errors realised at every horizon."""
        regime, seed, held_out = self.regime, self.seed, split != "train"
        table = problems(self.folder, split, 0 if held_out else seed)
        table = table if held_out else table.slice(0, regime.num_train)
        table = table.set_column(
            table.column_names.index("horizon"), "horizon", pa.array([20] * len(table), pa.int32())
        )
        states = PDEMining(share=0.125 if held_out else regime.share).mine(table, seed)
        states = states.filter(pc.less_equal(states["steps"], 20 - max(HORIZONS)))
        ranker = Ranker(
            RankingContent(num_candidates=100, num_kept=9 if held_out else 5, horizons=HORIZONS),
            domain=DOMAIN,
            proposer=StructuredGenerator(self.surrogate, SPREAD),
            verifier=TRUTH,
            policy=DeterministicGenerator(self.surrogate),
            seed=seed,
        )
        found = pa.concat_tables(ranker(states))
        return found.filter(pa.array(np.isfinite(fields_of(found, "horizon_errors")).all(axis=(1, 2))))


def print_table(found: dict[str, list[dict[str, np.ndarray]]], regime: str, seeds: list[int]) -> None:
    """Means over seeds of every variant, and paired intervals of its difference to the first."""
    first, *_ = found.values()
    states = sum(len(one["pairs"]) for one in first)
    print(f"\n{regime}, seeds {seeds}: {states} test states, {len(first[0]['plain'])} test trajectories\n")
    print("| reward model | pairs, h = 1 | against the first | best > median > worst | Spearman | pairs, h = 8 |"
          " rollouts: gain % | against the first |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|")
    base = _trajectory_errors(first, "plain")
    for name, runs in found.items():
        pairs, triplet, spearman, late = (
            np.mean([run[key].mean() for run in runs]) for key in ("pairs", "triplet", "spearman", "late")
        )
        lead = np.concatenate([run["pairs"] - one["pairs"] for run, one in zip(runs, first, strict=True)])
        owner = np.concatenate([one["owner"] for one in first])
        clusters = np.array([lead[owner == one].mean() for one in sorted(set(owner))])
        gain, ours = (100 * (base - _trajectory_errors(r, "rollout")) / base.mean() for r in (runs, first))
        cells = [f"{pairs:.3f}", _interval(clusters, 3), f"{triplet:.3f}", f"{spearman:.3f}", f"{late:.3f}"]
        print(f"| {name} | " + " | ".join([*cells, _interval(gain, 1), _interval(gain - ours, 1)]) + " |", flush=True)


def _trajectory_errors(runs: list[dict[str, np.ndarray]], key: str) -> np.ndarray:
    """Mean error of every trajectory over steps and seeds; a rollout that blew up is refused, not averaged.

    Raises:
        ValueError: a rollout blew up.
    """
    errors = np.stack([run[key] for run in runs])
    if not np.isfinite(errors).all():
        raise ValueError(f"{key}: {int((~np.isfinite(errors).all(axis=2)).sum())} rollouts blew up; judge them apart")
    return np.asarray(errors.mean(axis=(0, 2)))


def _interval(differences: np.ndarray, digits: int) -> str:
    if not differences.any():
        return "–"
    found = bootstrap_mean(differences, rng=np.random.default_rng(0))
    return f"{found.value:+.{digits}f} [{found.low:+.{digits}f}, {found.high:+.{digits}f}]"


def _candidates(labels: pa.Table, horizon: int) -> RankedCandidates:
    return ranked_candidates(labels, horizon=horizon, horizons=HORIZONS)[1]


def _figures(network: Any, data: RankedCandidates) -> dict[str, np.ndarray]:
    return ranking_metrics(score_candidates(network, data), data.errors)


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower().replace("–", "-")).strip("-")


if __name__ == "__main__":
    main()
