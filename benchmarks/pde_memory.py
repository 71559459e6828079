"""Does memory grow with the number of candidates that are ranked? Peaks of processes that stream more and more of them.

    OMP_NUM_THREADS=1 python benchmarks/pde_memory.py [--candidates 10000 100000]

Each number is streamed by a process of its own: K = 100 candidates a state on 32 x 32 cells are generated, ranked and
written, as a worker of the label stage does it. Printed are the peaks of resident memory, the size of the file, and the
growth of memory between the smallest and the largest number over that of the file. About two minutes of one core.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import torch

from stepward.domains.pde.data import PDEMining, PDEProblems
from stepward.domains.pde.generators import StructuredGenerator, StructuredSettings
from stepward.domains.pde.rankings import Ranker, RankingContent, write_rankings
from stepward.domains.pde.states import PDE
from stepward.domains.pde.surrogates import UNetSettings, build_surrogate
from stepward.domains.pde.verifier import ReferenceVerifier

K = 100
MIB = 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--candidates", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--stream", type=int, help="be the process that streams so many")
    options = parser.parse_args()
    if options.stream:
        stream(options.stream)
        return
    found = []
    for number in options.candidates:
        command = [sys.executable, __file__, "--stream", str(number)]
        text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        found.append(tuple(map(int, text.split())))
        print(
            f"{number:8,} candidates: peak {found[-1][0] / MIB:7.0f} MiB, file {found[-1][1] / MIB:7.0f} MiB",
            flush=True,
        )
    grown, written = (found[-1][i] - found[0][i] for i in (0, 1))
    print(
        f"memory grew by {grown / MIB:.0f} MiB while the file grew by {written / MIB:.0f}: {grown / written:.3f} of it"
    )


def stream(number: int) -> None:
    """Rank candidates of the same few states under ever new ids, so that only the labels grow in number."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    surrogate = build_surrogate(UNetSettings()).eval().requires_grad_(False)
    problems, _ = PDEProblems(num_train=4, num_steps=9, horizon=8).problems("train", 0)
    states = PDEMining(share=1.0).mine(problems, 0)
    generator = StructuredGenerator(surrogate, StructuredSettings())
    ranker = Ranker(RankingContent(), domain=PDE(), proposer=generator, verifier=ReferenceVerifier())

    def tables() -> Iterator[pa.Table]:
        for first in range(0, number // K, len(states)):
            ids = pa.array([f"{name}/{first}" for name in states["id"].to_pylist()])
            yield from ranker(states.set_column(0, "id", ids).slice(0, number // K - first))

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rankings.parquet"
        assert write_rankings(tables(), path) == number // K
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, path.stat().st_size)


if __name__ == "__main__":
    main()
