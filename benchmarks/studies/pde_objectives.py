"""What a reward model of candidates should be trained for: four objectives, errors h steps on, and two forms of input.

    OMP_NUM_THREADS=1 python benchmarks/studies/pde_objectives.py --folder pde_ablation [--regime rich] [--seed 0]

Every variant differs from the first in one thing, has the same labels and the same few passes over them, and is judged
on the candidates of held-out test states: by their errors one step on, and by those realised eight steps of the
deterministic surrogate later. The surrogate is that of `pde_ablation.py`, from the same folder. About four minutes of
one core on top of it. Intervals are BCa intervals over test trajectories of the paired difference to the first row.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from pde_ablation import DOMAIN, REGIMES, SPREAD, TRUTH, Regime, problems, train_surrogate

from stepward.domains.pde.data import PDEMining, fields_of
from stepward.domains.pde.generators import DeterministicGenerator, StructuredGenerator
from stepward.domains.pde.rewards import CNNSettings, RankedCandidates, fit_reward, score_candidates
from stepward.domains.pde.rewards.fitting import BradleyTerry, Listwise, Regression, RewardFit, TwoHinge
from stepward.domains.pde.rewards.objectives import ranking_metrics
from stepward.evaluate.bootstrap import bootstrap_mean
from stepward.label.rankings import Ranker, RankingLabels, ranked_candidates

HORIZONS = (1, 2, 4, 8)
FIT = RewardFit(epochs=5, batch_size=16, learning_rate=1e-3)
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
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.folder.mkdir(parents=True, exist_ok=True)
    regime = REGIMES[options.regime]
    labels = {split: rankings(options.folder, regime, split, options.seed) for split in ("train", "validation", "test")}
    print("| reward model | pairs, h = 1 | against the first | best > median > worst | Spearman | pairs, h = 8 |")
    print("|---|---|---|---|---|---|", flush=True)
    first = None
    for name, (learner, objective, horizon) in VARIANTS.items():
        fit = FIT.model_copy(update={"objective": objective})
        train, validation = (_candidates(labels[split], horizon) for split in ("train", "validation"))
        network = learner.module()
        weights = fit_reward(learner, train, validation, fit, seed=options.seed).latest
        network.load_state_dict({key: torch.from_numpy(value) for key, value in weights.items()})
        soon, late = (_judged(network, _candidates(labels["test"], h)) for h in (1, 8))
        first = soon["pairs"] if first is None else first
        print(_row(name, soon, late, first, labels["test"]["problem_id"].to_pylist()), flush=True)


def rankings(folder: Path, regime: Regime, split: str, seed: int) -> pa.Table:
    """Labels of states that have eight more frames, with the errors realised at every horizon."""
    surrogate = train_surrogate(folder, regime, seed)
    table = problems(folder, split, seed if split == "train" else 0)
    table = table.slice(0, regime.num_train) if split == "train" else table
    table = table.set_column(table.column_names.index("horizon"), "horizon", pa.array([20] * len(table), pa.int32()))
    share = 0.125 if regime.num_train > 16 or split != "train" else 1.0
    states = PDEMining(share=share).mine(table, seed)
    states = states.filter(pc.less_equal(states["steps"], 20 - max(HORIZONS)))
    ranker = Ranker(
        RankingLabels(num_candidates=100, num_kept=5 if split == "train" else 9, horizons=HORIZONS),
        domain=DOMAIN,
        proposer=StructuredGenerator(surrogate, SPREAD),
        verifier=TRUTH,
        policy=DeterministicGenerator(surrogate),
        seed=seed,
    )
    found = pa.concat_tables(ranker(states))
    return found.filter(pa.array(np.isfinite(fields_of(found, "horizon_errors")).all(axis=(1, 2))))


def _candidates(labels: pa.Table, horizon: int) -> RankedCandidates:
    return ranked_candidates(labels, horizon=horizon, horizons=HORIZONS)


def _judged(network: Any, data: RankedCandidates) -> dict[str, np.ndarray]:
    scores = torch.from_numpy(score_candidates(network, data))
    errors = torch.from_numpy(data.errors.astype(np.float64))
    return {name: values.numpy() for name, values in ranking_metrics(scores, errors).items()}


def _row(name: str, soon: dict[str, Any], late: dict[str, Any], first: np.ndarray, owners: list[str]) -> str:
    lead, owner = soon["pairs"] - first, np.asarray(owners)
    interval = bootstrap_mean(
        np.array([lead[owner == one].mean() for one in sorted(set(owners))]), rng=np.random.default_rng(0)
    )
    against = f"{interval.value:+.3f} [{interval.low:+.3f}, {interval.high:+.3f}]" if lead.any() else "–"
    means = [f"{values.mean():.3f}" for values in (soon["triplet"], soon["spearman"], late["pairs"])]
    return f"| {name} | {soon['pairs'].mean():.3f} | {against} | " + " | ".join(means) + " |"


if __name__ == "__main__":
    main()
