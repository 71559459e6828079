"""Batched finite-volume solver of the 2-D compressible Euler equations on a uniform grid.

    d_t U + d_x F(U) + d_y G(U) = 0,   U = (rho, m_x, m_y, E),   p = (gamma - 1) (E - rho |v|^2 / 2)

Second-order MUSCL reconstruction of primitive variables with van Leer's limiter (van Leer 1979), HLLC fluxes (Toro,
Spruce and Speares 1994) with Einfeldt-Batten wave speeds, Heun's SSP-RK2 in time (Shu and Osher 1988), unsplit.

**Symbols.** gamma: ratio of specific heats; cfl: the share of a cell the fastest signal may cross in a step, per axis.

**Good values.** gamma = 1.4 (air), cfl = 0.4, 64 x 64 cells averaged to 32 x 32, 20 frames 0.05 apart.

**Notes.** Arithmetic is fp64 whatever comes in. Every sample takes its own time steps, so a result does not depend on
the batch it was computed in. Steps that lose positivity are repeated at first order, then with half the step
(``kernel.py``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from stepward.domains.pde.solver.kernel import OUTFLOW, PERIODIC, WALL, advance_batch, flux_divergence_batch
from stepward.domains.pde.solver.state import check_physical, coarsen, prolong, unphysical

__all__ = ["Boundary", "EulerSolver"]

Boundary = Literal["periodic", "outflow", "wall"]
_EDGES: dict[str, int] = {"periodic": PERIODIC, "outflow": OUTFLOW, "wall": WALL}
_MIN_CELLS = 2


@dataclass(frozen=True)
class EulerSolver:
    """Advance batches of conserved fields ``[n, 4, nx, ny]``.

    Attributes:
        gamma: ratio of specific heats, > 1.
        cfl: Courant number per axis, in (0, 0.5].
        boundary: of each axis: ``"periodic"`` (both axes: conserves all four fields to round-off), ``"outflow"`` (zero
            gradient) or ``"wall"`` (a mirror: conserves mass and energy).
        extent: side lengths (L_x, L_y) of the domain.
    """

    gamma: float = 1.4
    cfl: float = 0.4
    boundary: tuple[Boundary, Boundary] = ("periodic", "periodic")
    extent: tuple[float, float] = (1.0, 1.0)

    def __post_init__(self) -> None:
        if not self.gamma > 1.0:
            raise ValueError(f"expected gamma > 1; got {self.gamma}. Air has 1.4.")
        if not 0.0 < self.cfl <= 0.5:
            raise ValueError(f"expected 0 < cfl <= 0.5; got {self.cfl}. Both axes share one step; 0.4 is a good value.")
        if len(self.boundary) != 2 or not set(self.boundary) <= set(_EDGES):
            raise ValueError(f"expected a boundary for each of two axes, out of {list(_EDGES)}; got {self.boundary!r}.")
        if not all(length > 0 for length in self.extent):
            raise ValueError(f"expected positive side lengths; got extent {self.extent}.")

    def advance(
        self,
        fields: Float[ndarray, "n 4 nx ny"],
        duration: float,
        *,
        coarsen_by: int = 1,
        on_unphysical: Literal["raise", "nan"] = "raise",
    ) -> Float[ndarray, "n 4 nx ny"]:
        """The fields after ``duration``, fp64; the input is left alone.

        With ``coarsen_by`` > 1 the step is made on a grid coarser by that factor and brought back by conservative
        piecewise-linear interpolation: the cheap classical baseline (cost falls with the third power of the factor).

        ``on_unphysical="nan"`` fills samples that are, or become, unphysical with NaN and goes on with the others: for
        states that a surrogate made up.

        Raises:
            UnphysicalStateError: (``"raise"``) names the first bad sample and cell.
            ValueError: wrong shape, or a negative duration.
        """
        coarse = self._prepare(fields, coarsen_by)
        if not duration >= 0.0:
            raise ValueError(f"expected a duration >= 0; got {duration}. The equations are not solved backwards.")
        bad_cell = np.empty(len(coarse), dtype=np.int64)
        counts = np.zeros((len(coarse), 2), dtype=np.int64)
        dx, dy = self._spacing(coarse)
        advance_batch(coarse, float(duration), dx, dy, self.cfl, self.gamma, self._edges, bad_cell, counts)
        self._handle_bad(coarse, bad_cell, on_unphysical)
        return prolong(coarse, coarsen_by, boundary=self.boundary) if coarsen_by > 1 else coarse

    def simulate(
        self, initial: Float[ndarray, "n 4 nx ny"], *, num_steps: int, dt: float, average_by: int = 1
    ) -> Float[ndarray, "n frames 4 mx my"]:
        """Trajectories of ``num_steps`` + 1 frames ``dt`` apart, the first being the initial state.

        Frames are averaged over ``average_by`` x ``average_by`` cells after the computation: a reference at the
        resolution of the data from a finer grid.
        """
        state = self._prepare(initial, 1)
        check_physical(state, gamma=self.gamma)
        first = coarsen(state, average_by)
        frames = np.empty((len(state), num_steps + 1, *first.shape[1:]))
        frames[:, 0] = first
        for step in range(1, num_steps + 1):
            state = self.advance(state, dt)
            frames[:, step] = coarsen(state, average_by)
        return frames

    def flux_divergence(
        self,
        fields: Float[ndarray, "n 4 nx ny"],
        *,
        order: Literal[1, 2] = 2,
        on_unphysical: Literal["raise", "nan"] = "raise",
    ) -> Float[ndarray, "n 4 nx ny"]:
        """div(F, G) per cell, by the reconstruction and the flux of :meth:`advance`: d_t U is its negative."""
        state = self._prepare(fields, 1)
        out = np.empty_like(state)
        bad_cell = np.empty(len(state), dtype=np.int64)
        dx, dy = self._spacing(state)
        slope_scale = 0.5 if order == 2 else 0.0
        flux_divergence_batch(state, out, dx, dy, self.gamma, self._edges, slope_scale, bad_cell)
        if (bad_cell >= 0).any():
            self._handle_bad(state, bad_cell, on_unphysical)
            out[bad_cell >= 0] = np.nan
        return out

    @property
    def _edges(self) -> tuple[int, int]:
        return _EDGES[self.boundary[0]], _EDGES[self.boundary[1]]

    def _spacing(self, fields: ndarray) -> tuple[float, float]:
        return self.extent[0] / fields.shape[-2], self.extent[1] / fields.shape[-1]

    def _prepare(self, fields: ndarray, coarsen_by: int) -> ndarray:
        """A private, contiguous fp64 copy on the grid to compute on."""
        if fields.ndim != 4 or fields.shape[1] != 4 or min(fields.shape[2:]) < _MIN_CELLS * coarsen_by:
            raise ValueError(
                f"expected fields [n, 4, nx, ny] of (rho, m_x, m_y, E) with at least {_MIN_CELLS} cells an axis after "
                f"coarsening by {coarsen_by}; got shape {tuple(fields.shape)}."
            )
        state = np.array(fields, dtype=np.float64, order="C", copy=True)
        return np.ascontiguousarray(coarsen(state, coarsen_by)) if coarsen_by != 1 else state

    def _handle_bad(self, fields: ndarray, bad_cell: ndarray, on_unphysical: str) -> None:
        """Raise for the first bad sample, or fill the bad ones with NaN in place."""
        (bad,) = np.nonzero(bad_cell >= 0)
        if not len(bad):
            return
        if on_unphysical == "nan":
            fields[bad] = np.nan
            return
        sample = int(bad[0])
        i, j = divmod(int(bad_cell[sample]), fields.shape[-1])
        raise unphysical(fields[sample], sample, (i, j), gamma=self.gamma, num_bad=len(bad))
