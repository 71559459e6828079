"""Candidate rankings: generate, rank and write, against the surrogate's bare forward pass and the one-by-one form.

    OMP_NUM_THREADS=1 python benchmarks/pde_candidates.py

One core. The surrogate is the default U-Net on 32 x 32 cells; its weights do not matter for speed. MC dropout is the
generator that runs the network once a candidate, so it can be held against as many forward passes; the structured
generator shares one pass among all candidates of a state. The one-by-one form proposes, scores and saves each candidate
by itself, one file a triplet. Forms take turns; ratios are those of the medians.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import torch

from stepward.core.seeding import Rng
from stepward.domains.pde.data import PDEMining, PDEProblems, pde_states
from stepward.domains.pde.generators import DropoutGenerator, StructuredGenerator, StructuredSettings
from stepward.domains.pde.rankings import Ranker, RankingContent, write_rankings
from stepward.domains.pde.states import PDE
from stepward.domains.pde.surrogates import Draws, RowNoise, UNetSettings, build_surrogate
from stepward.domains.pde.verifier import ReferenceVerifier

STATES, K, ROUNDS, ONE_BY_ONE = 8, 100, 3, 60


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    surrogate = build_surrogate(UNetSettings(dropout=0.1)).eval().requires_grad_(False)
    problems, _ = PDEProblems(num_train=8, num_steps=4, horizon=3).problems("train", 0)
    table = PDEMining(share=1.0).mine(problems, 0).slice(0, STATES)
    dropout, structured = DropoutGenerator(surrogate), StructuredGenerator(surrogate, StructuredSettings())
    ReferenceVerifier().truth(pde_states(table))  # compile the solver and fill the cache before the clock starts
    rates: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        forms: dict[str, tuple[int, Callable[[], object]]] = {
            "bare forward pass": (STATES * K, lambda: forward(surrogate, STATES * K)),
            "MC dropout: generate, rank, write": (STATES * K, lambda: rank(dropout, table, folder)),
            "structured: generate, rank, write": (STATES * K, lambda: rank(structured, table, folder)),
            "MC dropout, one by one": (ONE_BY_ONE, lambda: one_by_one(dropout, table, folder, ONE_BY_ONE)),
        }
        for _ in range(ROUNDS):
            for name, (count, form) in forms.items():
                start = time.process_time()
                form()
                rates.setdefault(name, []).append(count / (time.process_time() - start))
    for name, values in rates.items():
        print(f"{name:36} {median(values):7.0f} candidates a CPU-second")
    bare, ours, _, single = (median(values) for values in rates.values())
    print(f"share of the bare forward pass: {ours / bare:.2f}   against one by one: {ours / single:.1f} x")


def forward(surrogate: torch.nn.Module, rows: int) -> None:
    """As many forward passes, in pieces of 128, with dropout of torch's own."""
    fields = torch.rand(rows, 4, 32, 32)
    surrogate.train()
    with torch.inference_mode():
        for piece in fields.split(128):
            surrogate(piece)
    surrogate.eval()


def rank(generator: object, table: object, folder: str) -> None:
    """The project's form."""
    labels = RankingContent(num_candidates=K)
    ranker = Ranker(labels, domain=PDE(), proposer=generator, verifier=ReferenceVerifier())  # type: ignore[arg-type]
    write_rankings(ranker(table), Path(folder) / "rankings.parquet")  # type: ignore[arg-type]


def one_by_one(generator: DropoutGenerator, table: object, folder: str, count: int) -> None:
    """A forward pass at a time (the deterministic one not counted), an error at a time, a file every three
    candidates.
    """
    state, verifier = pde_states(table).take(np.arange(1)), ReferenceVerifier()  # type: ignore[arg-type]
    following = state.replace(frame=state.frame + 1)
    for index in range(count):
        noise = RowNoise.from_rng(Rng.from_seed(0, 1, f"one/{index}"))
        with torch.inference_mode():
            candidate = generator.forward(torch.tensor(state.fields), Draws(noise, dropout=True)).numpy()
        float(verifier.outcome(following.replace(fields=candidate))[0])
        if index % 3 == 2:
            np.savez(Path(folder) / f"triplet-{index}.npz", *[candidate] * 3, state=state.fields)


if __name__ == "__main__":
    main()
