import subprocess
import sys
import tracemalloc

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pde_world import PROBLEMS, mined, surrogate
from stepward.core.seeding import Rng
from stepward.domains.pde.data import fields_of, pde_states
from stepward.domains.pde.generators import DeterministicGenerator, StructuredGenerator, StructuredSettings
from stepward.domains.pde.rankings import (
    Ranker,
    RankingContent,
    kept_ranks,
    ranked_candidates,
    triplets,
    write_rankings,
)
from stepward.domains.pde.states import PDE
from stepward.domains.pde.verifier import ReferenceVerifier

K, KEPT = 12, 5


def ranker(horizons=(1,), proposer=None, **changes):
    proposer = proposer or StructuredGenerator(surrogate(), StructuredSettings())
    policy = DeterministicGenerator(surrogate()) if max(horizons) > 1 else None
    labels = RankingContent(num_candidates=K, num_kept=KEPT, horizons=horizons)
    parts = {"domain": PDE(), "proposer": proposer, "verifier": ReferenceVerifier(), "policy": policy}
    return Ranker(labels, **parts, **changes)


def labels_of(table, **options):
    return pa.concat_tables(ranker(**options)(table))


def test_errors_and_ranking_are_those_of_the_candidates():
    table = mined()
    labels = labels_of(table)
    states = pde_states(table)
    rng = Rng.from_ids(0, table["id"].to_pylist(), "candidates")
    children = StructuredGenerator(surrogate(), StructuredSettings()).propose(states, num_candidates=K, rng=rng)
    errors = -ReferenceVerifier().outcome(children).reshape(-1, K)
    assert np.allclose(fields_of(labels, "errors"), errors, rtol=1e-5)
    ranked = np.take_along_axis(fields_of(labels, "errors"), fields_of(labels, "ranking"), axis=1)
    assert (np.diff(ranked, axis=1) >= 0).all() and np.array_equal(ranked, np.sort(fields_of(labels, "errors"), axis=1))
    best, median, worst = np.moveaxis(triplets(labels), 1, 0)
    order = np.argsort(errors, axis=1)
    sets = children.fields.reshape(len(states), K, 4, 16, 16)
    for got, rank in ((best, 0), (median, K // 2), (worst, K - 1)):
        assert np.allclose(got, sets[np.arange(len(states)), order[:, rank]], atol=1e-5)


def test_kept_ranks_hold_best_median_and_worst():
    for k, kept in ((100, 15), (12, 5), (7, 7), (101, 3)):
        ranks = kept_ranks(k, kept)
        assert ranks[0] == 0 and ranks[-1] == k - 1 and ranks[kept // 2] == k // 2 and (np.diff(ranks) > 0).all()


def test_a_label_does_not_depend_on_the_batch_it_is_made_in():
    table = mined()
    whole, alone = labels_of(table, in_flight=10_000), labels_of(table.slice(3, 1), in_flight=1)
    for name in ("errors", "candidates", "kept_errors"):
        assert np.allclose(fields_of(whole, name)[3], fields_of(alone, name)[0], atol=1e-5), name
    other = labels_of(table.slice(3, 1), seed=1)
    assert not np.allclose(fields_of(other, "errors"), fields_of(alone, "errors"))


def test_realised_errors_are_those_of_a_rollout_by_the_policy():
    table = mined(share=1.0)
    labels = labels_of(table, horizons=(1, 2, 4))
    found = fields_of(labels, "horizon_errors")
    assert np.array_equal(found[:, :, 0], fields_of(labels, "kept_errors"))
    states = pde_states(table)
    # a rollout ends at its horizon: h steps on exist where steps + h <= horizon
    for column, h in enumerate((1, 2, 4)):
        assert np.array_equal(np.isfinite(found[:, :, column]).all(axis=1), states.steps + h <= PROBLEMS.horizon)
    row = int(np.flatnonzero(states.steps == 0)[0])
    start = states.take([row] * KEPT).replace(fields=fields_of(labels, "candidates")[row])
    start = start.replace(steps=start.steps + 1, frame=start.frame + 1)
    policy = DeterministicGenerator(surrogate())
    second = policy.propose(start, num_candidates=1, rng=Rng.from_seed(0, KEPT, "x"))
    assert np.allclose(-ReferenceVerifier().outcome(second), found[row, :, 1], rtol=1e-4)


def test_horizons_beyond_one_need_a_policy():
    labels = RankingContent(num_candidates=K, num_kept=KEPT, horizons=(1, 2))
    proposer = StructuredGenerator(surrogate(), StructuredSettings())
    with pytest.raises(ValueError, match="expected a policy"):
        Ranker(labels, domain=PDE(), proposer=proposer, verifier=ReferenceVerifier())


@pytest.mark.parametrize("bad", [{"num_kept": 200}, {"horizons": (2, 1)}, {"horizons": (0,)}])
def test_settings_that_make_no_sense_are_errors(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        RankingContent(**bad)


def test_labels_become_arrays_to_learn_from():
    labels = labels_of(mined(share=1.0), horizons=(1, 4))
    one = ranked_candidates(labels)[1]
    assert one.candidates.shape == (32, KEPT, 4, 16, 16) and one.patch_errors.shape == (32, KEPT, 2, 2)
    assert (np.diff(one.errors, axis=1) >= 0).all()
    four = ranked_candidates(labels, horizon=4, horizons=(1, 4))[1]
    assert len(four) == 8  # only first frames have a fourth step
    with pytest.raises(ValueError, match="labelled"):
        ranked_candidates(labels, horizon=2, horizons=(1, 4))


class Breaking:
    """A structured generator one of whose candidates blows up in every state."""

    num_parameters = nfe = 0

    def propose(self, states, *, num_candidates, rng):
        inner = StructuredGenerator(surrogate(), StructuredSettings())
        children = inner.propose(states, num_candidates=num_candidates, rng=rng)
        fields = children.fields.copy()
        fields[3::num_candidates] = np.nan
        return children.replace(fields=fields)


def test_a_candidate_that_blew_up_is_recorded_as_infinite_and_last():
    labels = labels_of(mined(), proposer=Breaking())
    assert (fields_of(labels, "errors")[:, 3] == np.inf).all()
    assert (fields_of(labels, "ranking")[:, -1] == 3).all()
    with pytest.raises(ValueError, match="all finite"):
        ranked_candidates(labels)


class Watching:
    """Counts the most candidates that were made at once."""

    num_parameters = nfe = 0

    def __init__(self):
        self.most, self.calls = 0, 0

    def propose(self, states, *, num_candidates, rng):
        self.most, self.calls = max(self.most, len(states) * num_candidates), self.calls + 1
        return StructuredGenerator(surrogate(), StructuredSettings()).propose(
            states, num_candidates=num_candidates, rng=rng
        )


def test_labels_stream_into_one_file_and_memory_does_not_grow_with_rows(tmp_path):
    table = mined(share=1.0)
    peaks = []
    for name, rows in (("warm", 4), ("few", 8), ("many", 32)):
        watching = Watching()
        tracemalloc.start()
        count = write_rankings(
            ranker(proposer=watching, in_flight=4 * K)(table.slice(0, rows)), tmp_path / f"{name}.parquet"
        )
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert count == rows and watching.most == 4 * K and watching.calls == rows // 4
    assert peaks[2] < 1.5 * peaks[1]  # four times the rows
    assert sorted(p.name for p in tmp_path.iterdir()) == ["few.parquet", "many.parquet", "warm.parquet"]
    read = pq.read_table(tmp_path / "many.parquet")
    assert len(read) == 32 and len(ranked_candidates(read)[1]) == 32


def test_no_labels_are_an_error_and_leave_no_file(tmp_path):
    with pytest.raises(ValueError, match="expected labels to write"):
        write_rankings([], tmp_path / "none.parquet")
    assert not list(tmp_path.iterdir())


STREAM = """
import resource, sys
sys.path.insert(0, {tests!r})
import pyarrow as pa, torch
from pde_world import PROBLEMS
from stepward.domains.pde.data import PDEMining
from stepward.domains.pde.generators import StructuredGenerator, StructuredSettings
from stepward.domains.pde.states import PDE
from stepward.domains.pde.surrogates import UNetSettings, build_surrogate
from stepward.domains.pde.verifier import ReferenceVerifier
from stepward.domains.pde.rankings import Ranker, RankingContent, write_rankings
problems = PROBLEMS.model_copy(update={{"cells": 32}}).problems("train", 0)[0]
table = PDEMining(share=1.0).mine(problems, 0)
network = build_surrogate(UNetSettings()).eval()
parts = {{"domain": PDE(), "proposer": StructuredGenerator(network, StructuredSettings())}}
ranker = Ranker(RankingContent(), verifier=ReferenceVerifier(), **parts)
def blocks():
    for repeat in range(32):
        ids = pa.array([f"{{name}}/{{repeat}}" for name in table["id"].to_pylist()])
        yield from ranker(table.set_column(0, "id", ids))
rows = write_rankings(blocks(), {path!r})
print(rows * 100, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


@pytest.mark.slow
def test_a_hundred_thousand_candidates_stream_under_two_gibibytes(tmp_path, project_root):
    script = STREAM.format(tests=str(project_root / "tests"), path=str(tmp_path / "rankings.parquet"))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    candidates, peak_mib = map(int, done.stdout.split())
    assert candidates >= 100_000 and peak_mib < 2048
