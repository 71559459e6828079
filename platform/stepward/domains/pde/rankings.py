"""Candidate rankings: how good is each of K candidates of a state, by the truth one step on, and h steps on?

A label of a state is the errors of all K candidates, their full ranking, and the fields of some of them (evenly spaced
in rank, the best, the median and the worst among them), in one row of one table. Rows are made block by block: memory
does not depend on how many there are. Source of K = 100 and of ranking by the true error: arXiv:2509.02846.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float, Int
from pydantic import Field

from stepward.core.config import Config
from stepward.core.interfaces import Domain, Proposer
from stepward.core.rollout import forked, rollout
from stepward.core.seeding import Rng
from stepward.core.tensors import tensor_column
from stepward.domains.pde.combine import weighted_mean
from stepward.domains.pde.constants import NUM_TERMS, change_terms
from stepward.domains.pde.data import fields_of, pde_states
from stepward.domains.pde.grids import is_periodic
from stepward.domains.pde.rewards import RankedCandidates
from stepward.domains.pde.states import PDEStates, as_numpy, is_finite
from stepward.domains.pde.verifier import FIXED, WORDS, ReferenceVerifier
from stepward.search.composing import uniform_weights

IN_FLIGHT = 2048
ARRAYS = {  # of `RankedCandidates`, and their columns
    "state": "fields",
    "deterministic": "deterministic",
    "candidates": "candidates",
    "patch_errors": "patch_errors",
    "guesses": "guesses",
    "history": "history",
}


class RankingContent(Config):
    """What a candidate ranking holds."""

    num_candidates: int = Field(100, ge=3, description="candidates K a state")
    num_kept: int = Field(16, ge=3, description="candidates whose fields are kept, evenly spaced in rank")
    horizons: tuple[int, ...] = Field((1,), min_length=1, description="steps h after which the realised error is taken")
    convention: str = Field(
        "nrmse", description=f"error that candidates are ranked by and headroom is a share of: {', '.join(WORDS)}"
    )
    patch: int = Field(8, ge=1, description="cells of a patch along an axis, for errors a patch")

    def model_post_init(self, _: object) -> None:
        """Refuses to keep more candidates than there are, and horizons that do not increase."""
        if self.num_kept > self.num_candidates:
            raise ValueError(f"num_kept: expected at most num_candidates = {self.num_candidates}, got {self.num_kept}")
        ReferenceVerifier(self.convention)
        if min(self.horizons) < 1 or list(self.horizons) != sorted(set(self.horizons)):
            raise ValueError(f"horizons: expected increasing numbers of at least 1, got {list(self.horizons)}")


class Ranker:
    """Labels tables of states; the same class serves a loop, an actor of a pool, and a test.

    Args:
        labels: what a label holds.
        domain, verifier: of the wing.
        proposer: makes the candidates.
        policy: rolls candidates on for horizons beyond 1; usually the deterministic surrogate.
        seed: root seed; a row's candidates depend on (seed, id) alone.
        in_flight: candidates in memory at once; changes speed and memory, never a label.

    Raises:
        ValueError: horizons beyond 1 without a policy.
    """

    def __init__(
        self,
        labels: RankingContent,
        *,
        domain: Domain,
        proposer: Proposer,
        verifier: ReferenceVerifier,
        policy: Proposer | None = None,
        seed: int = 0,
        in_flight: int = IN_FLIGHT,
    ) -> None:
        if max(labels.horizons) > 1 and policy is None:
            raise ValueError(
                f"horizons {list(labels.horizons)}: expected a policy to roll candidates on with, got none."
            )
        self.labels, self.domain, self.proposer, self.verifier = labels, domain, proposer, verifier
        self.policy, self.seed = policy, seed
        self.rows = max(1, in_flight // labels.num_candidates)

    def __call__(self, table: pa.Table) -> Iterator[pa.Table]:
        """Labels of mined states, some rows at a time, in order."""
        for first in range(0, len(table), self.rows):
            yield self.label(table.slice(first, self.rows))

    def label(self, table: pa.Table) -> pa.Table:
        """Labels of a few states.

        Columns beside those of the table: deterministic, candidates [kept, C, H, W], kept_ranks, kept_errors, guesses
        [kept] (the constants they took for true, NaN where they took none), errors [K], ranking [K] (candidate of rank
        0, 1, …), patch_errors [kept, p, q], horizon_errors [kept, num_horizons], baseline_errors [2] (of the
        deterministic output and of the mean of all K), change_terms (what constants would gain; `constants.py`).
        Errors of candidates that blew up are inf, and of horizons beyond the trajectory NaN.
        """
        states, k = pde_states(table), self.labels.num_candidates
        rng = Rng.from_ids(self.seed, table["id"].to_pylist(), "candidates")
        children = self.proposer.propose(states, num_candidates=k, rng=rng)
        errors = -self.verifier.outcome(children).reshape(len(states), k)
        ranking = np.argsort(errors, axis=1, kind="stable")
        ranks = kept_ranks(k, self.labels.num_kept)
        rows = (np.arange(len(states))[:, None] * k + ranking[:, ranks]).ravel()
        kept = children.take(rows)
        plain = as_numpy(children.take(np.arange(len(states)) * k).deterministic)
        shape = (len(states), len(ranks))
        patches = self.verifier.patch_errors(kept, self.labels.patch)
        added = {
            "deterministic": plain,
            "candidates": as_numpy(kept.fields).reshape(*shape, *kept.fields.shape[1:]),
            "kept_ranks": np.tile(ranks, (len(states), 1)),
            "kept_errors": np.take_along_axis(errors, ranking[:, ranks], axis=1),
            "errors": errors,
            "ranking": ranking,
            "patch_errors": patches.reshape(*shape, *patches.shape[1:]),
            "baseline_errors": self._baselines(children, plain),
            "change_terms": self._terms(states, children, plain),
            "guesses": kept.guess.reshape(shape),
            "horizon_errors": self._realised(kept).reshape(*shape, len(self.labels.horizons)),
        }
        for name, values in added.items():
            table = table.append_column(name, tensor_column(values))
        return table

    def _baselines(self, children: PDEStates, plain: Float[np.ndarray, "n c h w"]) -> Float[np.ndarray, "n 2"]:
        """Errors of what needs no choice: the deterministic output, and the mean of the candidates that are finite."""
        k, firsts = self.labels.num_candidates, children.take(np.arange(len(plain)) * self.labels.num_candidates)
        sets = as_numpy(children.fields).reshape(len(plain), k, *plain.shape[1:])
        mean = weighted_mean(sets, uniform_weights(is_finite(children.fields).reshape(-1, k))).astype(np.float32)
        errors = [-self.verifier.outcome(firsts.replace(fields=fields)) for fields in (plain, mean)]
        return np.stack(errors, axis=1)

    def _terms(self, states: PDEStates, children: PDEStates, plain: Float[np.ndarray, "n c h w"]) -> np.ndarray:
        """Terms of the squared error under a constant change, in the convention of the errors; NaN where that is of
        another kind.
        """
        firsts = children.take(np.arange(len(plain)) * self.labels.num_candidates).replace(fields=plain)
        truth, periodic = self.verifier.truth(firsts), is_periodic(states.reference)
        terms = change_terms(as_numpy(states.fields), plain, truth, periodic=periodic)
        scale = np.ones(len(plain)) if self.labels.convention == "nrmse" else np.full(len(plain), np.nan)
        if self.labels.convention == FIXED:
            scale = (self.verifier.outcome(firsts) / ReferenceVerifier().outcome(firsts)) ** 2
        terms[:, :NUM_TERMS] *= scale[:, None]
        return terms

    def _realised(self, kept: PDEStates) -> Float[np.ndarray, "m h"]:
        """Error of each kept candidate h − 1 steps of the policy later."""
        horizons = self.labels.horizons
        found = np.full((len(kept), len(horizons)), np.nan)
        if 1 in horizons:
            found[:, horizons.index(1)] = -self.verifier.outcome(kept)
        if self.policy is None:
            return found
        streams, most = forked(Rng.from_seed(self.seed, len(kept), "policy")), max(horizons) - 1
        for step in rollout(kept, domain=self.domain, proposer=self.policy, streams=streams, max_steps=most):
            if step.number + 1 in horizons:
                found[step.rows, horizons.index(step.number + 1)] = -self.verifier.outcome(step.children)
        return found


def kept_ranks(num_candidates: int, num_kept: int) -> Int[np.ndarray, " m"]:
    """Evenly spaced ranks from the best (0) to the worst (K − 1); with an odd number the median, K // 2, is one."""
    return np.floor(np.linspace(0, num_candidates - 1, num_kept) + 0.5).astype(np.int64)


def write_rankings(tables: Iterable[pa.Table], path: str | Path) -> int:
    """Stream labels into one Parquet file, a row group a table; returns the number of rows.

    The file appears under its name only when it is complete.

    Raises:
        ValueError: no table at all.
    """
    target, count, writer = Path(path), 0, None
    partial = target.with_name(target.name + ".partial")
    try:
        for table in tables:
            writer = writer or pq.ParquetWriter(partial, table.schema, compression="zstd")
            writer.write_table(table)
            count += len(table)
    finally:
        if writer is not None:
            writer.close()
    if writer is None:
        raise ValueError(f"expected labels to write to {path}; got none. Mine a larger share of the states.")
    partial.replace(target)
    return count


def ranked_candidates(
    table: pa.Table, *, horizon: int | None = None, horizons: tuple[int, ...] = (1,), where: str = "Rankings"
) -> tuple[Int[np.ndarray, " m"], RankedCandidates]:
    """The rows of labels that can be learned from, and these as arrays.

    Args:
        horizon: learn from the error realised after so many steps, of `horizons` that were labelled; None: one step's.
        where: the labels, for errors.

    States with a candidate whose error is not finite are left out: their order is known, their distances are not.

    Raises:
        ValueError: the horizon was not labelled, or no state is left.
    """
    if horizon is not None and horizon not in horizons:
        raise ValueError(f"horizon: expected one of the labelled {list(horizons)}, got {horizon}. Label it too.")
    late = fields_of(table, "horizon_errors")
    errors = fields_of(table, "kept_errors") if horizon is None else late[:, :, horizons.index(horizon)]
    good = np.flatnonzero(np.isfinite(errors).all(axis=1))
    if not len(good):
        raise ValueError(f"{where}: expected states whose errors are all finite, got none.")
    known = {name: column for name, column in ARRAYS.items() if column in table.column_names}
    arrays = {name: fields_of(table, column)[good] for name, column in known.items()}
    return good, RankedCandidates(errors=errors[good].astype(np.float32), **arrays)


def triplets(table: pa.Table) -> Float[np.ndarray, "n 3 c h w"]:
    """Best, median and worst kept candidate of each state, by the error one step on."""
    candidates = fields_of(table, "candidates")
    return candidates[:, [0, candidates.shape[1] // 2, -1]]
