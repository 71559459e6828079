"""Make the reference densities that `test_solver_pyro.py` compares the Euler solver with.

pyro-hydro (Zingale's teaching code: unsplit corner-transport-upwind, piecewise-linear with a fourth-order limiter,
HLLC) is an independent implementation of the same equations. It is not a dependency; make an environment for it::

    python -m venv pyro-env && pyro-env/bin/pip install pyro-hydro==4.5.1
    pyro-env/bin/python tests/unit/pde/reference/make_pyro_reference.py

Both problems are pyro's own, with its own input files; only resolution and end time are set here. Results are averaged
to 64 x 64 cells and stored as float32, [channel, x, y] with channels (density, mx, my, energy).

A third run, "matched", is pyro with the choices of our solver where the two differ: its method-of-lines solver
(``compressible_rk``) with Heun's method (``TVD2``) and CFL number 0.4, without flattening and artificial viscosity, and
with van Leer's limiter in the place of its second-order one. It tells a difference of schemes from an error.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from pyro.mesh import reconstruction
from pyro.pyro_sim import Pyro

STORED_CELLS = 64
RUNS = {"quad": [(128, 0.8), (256, 0.8)], "kh": [(128, 1.0)]}
MATCHED = {
    "compressible.limiter": 1,
    "compressible.use_flattening": 0,
    "compressible.cvisc": 0.0,
    "compressible.temporal_method": "TVD2",
    "driver.cfl": 0.4,
}


def van_leer(a, grid, axis):
    """Van Leer's slope with the signature of pyro's limiters."""
    slope, shifted = grid.scratch_array(), a.ip if axis == 1 else a.jp
    above, below = shifted(1, buf=2) - a.v(buf=2), a.v(buf=2) - shifted(-1, buf=2)
    same = above * below > 0
    slope.v(buf=2)[:, :] = np.where(same, 2 * above * below / np.where(same, above + below, 1.0), 0.0)
    return slope


def run_pyro(problem: str, cells: int, end_time: float, matched: bool = False) -> np.ndarray:
    """Run one of pyro's compressible problems; returns the conserved fields [4, cells, cells]."""
    pyro = Pyro("compressible_rk" if matched else "compressible")
    if matched:
        reconstruction.limit2 = van_leer
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
    settings |= MATCHED if matched else {}
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
    fields = average(run_pyro("quad", 128, 0.8, matched=True), STORED_CELLS).astype(np.float32)
    np.savez_compressed(folder / "pyro_quad_128_t0.8_matched.npz", fields=fields, cells=128, end_time=0.8)


if __name__ == "__main__":
    main()
