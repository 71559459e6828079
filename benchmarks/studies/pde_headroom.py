"""Which candidates can help at all? The oracle's gain for every kind of chance a surrogate can have.

    OMP_NUM_THREADS=1 python benchmarks/studies/pde_headroom.py --folder pde_ablation [--regimes rich scarce] [--seed 0]

Each kind of chance comes with the surrogate that has it, trained on the same trajectories for as many passes as the
U-Net of `pde_ablation.py`, which is taken from the same folder. K = 16 candidates of validation states, one step on:
the share of the error that the best of K by the truth saves against the surrogate's deterministic output and against
the mean of K (± two standard errors over states), how much the candidates' errors differ, how far the candidates lie
apart in units of a step, and whether the gate in front of reward models lets them pass. Then the same oracle chooses
every step of ten-step rollouts of the validation trajectories: gain against the deterministic rollout of the same
surrogate, with a BCa interval over trajectories. About a quarter of an hour of one core a regime, most of it training.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pde_parts import DOMAIN, REGIMES, SPREAD, TRUTH, K, Oracle, Regime, problems, rollout, train_surrogate

from stepward.core.seeding import Rng
from stepward.domains.pde.data import PDEMining, pde_states
from stepward.domains.pde.generators import (
    CodeSettings,
    DeterministicGenerator,
    DropoutSettings,
    NoiseSettings,
    StructuredSettings,
    TauSettings,
)
from stepward.domains.pde.generators import LatentSettings as LatentNoise
from stepward.domains.pde.generators.headroom import Headroom, NoHeadroomError, measure_headroom
from stepward.domains.pde.surrogates import LatentSettings, UNetSettings, ViTSettings
from stepward.search.greedy import Greedy
from stepward.statistics.bootstrap import bootstrap_mean

# folder -> settings of a surrogate; "surrogate" is that of pde_ablation.py
SURROGATES: dict[str, Any] = {
    "surrogate": UNetSettings(),
    "dropout": UNetSettings(dropout=0.1),
    "code": UNetSettings(code_dim=8),
    "vit": ViTSettings(width=128, depth=4, num_heads=4, dropout=0.1),
    "latent": LatentSettings(),
}

# name -> surrogate, generator
GENERATORS: dict[str, tuple[str, Any]] = {
    "structured (sharpness .4, progress .1)": ("surrogate", SPREAD),
    "structured, every channel by itself": ("surrogate", SPREAD.model_copy(update={"per_channel": True})),
    "structured, wide (.8, .25)": ("surrogate", StructuredSettings(sharpness=0.8, progress=0.25)),
    "noise, schedule .08 .05 .02": ("surrogate", NoiseSettings()),
    "latent noise, σ .05": ("surrogate", LatentNoise()),
    "MC dropout .1 of a U-Net": ("dropout", DropoutSettings()),
    "MC dropout .1 of a vision transformer": ("vit", DropoutSettings()),
    "random code, trained with the CRPS": ("code", CodeSettings()),
    "corrector at τ of .3 to .7": ("latent", TauSettings(low=0.3, high=0.7)),
    "corrector at τ of .15 to .85": ("latent", TauSettings(low=0.15, high=0.85)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("pde_ablation"))
    parser.add_argument("--regimes", nargs="+", default=["rich", "scarce"], choices=sorted(REGIMES))
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.folder.mkdir(parents=True, exist_ok=True)
    for name in options.regimes:
        study(options.folder, REGIMES[name], options.seed)


def study(folder: Path, regime: Regime, seed: int) -> None:
    """Train what is missing, measure, print one table."""
    states = pde_states(PDEMining(share=0.125).mine(problems(folder, "validation", 0), seed))
    rows = []
    for name, (kind, settings) in GENERATORS.items():
        place = _trained(folder, regime, seed, kind)
        generator = settings.model_copy(update={"surrogate": str(place)}).build()
        rng = Rng.from_seed(seed, len(states), "headroom")
        found = measure_headroom(states, proposer=generator, verifier=TRUTH, num_candidates=K, rng=rng)
        best, base = (
            rollout(folder, regime, seed, "validation", title, lambda made: {"proposer": made}, proposer)["errors"]
            for title, proposer in (
                (f"oracle among {name}", Greedy(generator, Oracle(), DOMAIN, K)),
                (f"deterministic of {kind}", DeterministicGenerator(generator.surrogate)),
            )
        )
        rows.append(f"| {name} | " + " | ".join([*_cells(found), _over_ten_steps(best, base)]) + " |")
    print(f"\n{regime.name}, seed {seed}: {len(states)} validation states, K = {K}\n")
    print("| candidates | deterministic NRMSE | best of K over deterministic % | over the mean of K % |"
          " spread of errors % | diversity % | gate | oracle over ten steps % |")  # fmt: skip
    print("\n".join(["|---|---|---|---|---|---|---|---|", *rows]), flush=True)


def _trained(folder: Path, regime: Regime, seed: int, kind: str) -> Path:
    """Where the surrogate of a kind lies, trained there if it was not."""
    train_surrogate(folder, regime, seed, SURROGATES[kind], kind)
    return folder / f"{regime.name}-{seed}" / kind


def _cells(found: Headroom) -> list[str]:
    gains = [found.gain(base) for base in ("deterministic", "mean_of_k")]
    try:
        found.gate()
        verdict = "passes"
    except NoHeadroomError:
        verdict = "refused"
    shares = [f"{100 * values.mean():.1f}" for values in (found.error_spread, found.diversity)]
    errors = [f"{100 * gain:+.1f} ± {200 * error:.1f}" for gain, error in gains]
    return [f"{found.deterministic.mean():.4f}", *errors, *shares, verdict]


def _over_ten_steps(best: np.ndarray, base: np.ndarray) -> str:
    """Gain of the oracle's rollouts; those that blew up are counted, and left out on both sides."""
    whole = np.isfinite(best).all(axis=1) & np.isfinite(base).all(axis=1)
    saved = (base[whole] - best[whole]).mean(axis=1)
    found = bootstrap_mean(100 * saved / base[whole].mean(), rng=np.random.default_rng(0))
    lost = f"; {(~whole).sum()} blew up" if not whole.all() else ""
    return f"{found.value:+.1f} [{found.low:+.1f}, {found.high:+.1f}]{lost}"


if __name__ == "__main__":
    main()
