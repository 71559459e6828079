"""Make the reference densities that `test_solver_pyro.py` compares the Euler solver with.

pyro-hydro (Zingale's teaching code: unsplit corner-transport-upwind, piecewise-linear with a fourth-order limiter,
HLLC) is an independent implementation of the same equations. It is not a dependency; make an environment for it::

    python -m venv pyro-env && pyro-env/bin/pip install pyro-hydro==4.5.1
    pyro-env/bin/python tests/unit/pde/reference/make_pyro_reference.py

Both problems are pyro's own, with its own input files; only resolution and end time are set here. Results are averaged
to 64 x 64 cells and stored as float32, [channel, x, y] with channels (density, mx, my, energy).
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from pyro.pyro_sim import Pyro

STORED_CELLS = 64
RUNS = {"quad": [(128, 0.8), (256, 0.8)], "kh": [(128, 1.0)]}


def run_pyro(problem: str, cells: int, end_time: float) -> np.ndarray:
    """Run one of pyro's compressible problems; returns the conserved fields [4, cells, cells]."""
    pyro = Pyro("compressible")
    settings = {
        "mesh.nx": cells,
        "mesh.ny": cells,
        "driver.tmax": end_time,
        "driver.max_steps": 100_000,
        "driver.verbose": 0,
        "vis.dovis": 0,
        "io.do_io": 0,
        "eos.gamma": 1.4,
    }
    pyro.initialize_problem(problem, inputs_file=f"inputs.{problem}", inputs_dict=settings)
    pyro.run_sim()
    names = ("density", "x-momentum", "y-momentum", "energy")
    return np.stack([np.asarray(pyro.get_var(name).v()) for name in names])


def average(fields: np.ndarray, cells: int) -> np.ndarray:
    """Average [4, N, N] over square blocks to [4, cells, cells]."""
    factor = fields.shape[-1] // cells
    return fields.reshape(fields.shape[0], cells, factor, cells, factor).mean(axis=(2, 4))


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    for problem, runs in RUNS.items():
        for cells, end_time in runs:
            fields = average(run_pyro(problem, cells, end_time), STORED_CELLS).astype(np.float32)
            path = folder / f"pyro_{problem}_{cells}_t{end_time:g}.npz"
            np.savez_compressed(path, fields=fields, cells=cells, end_time=end_time)
            sys.stdout.write(f"{path} {fields.shape}\n")


if __name__ == "__main__":
    main()
