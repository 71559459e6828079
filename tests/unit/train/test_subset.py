"""Thinning against the exact hypergeometric law, and which rows a subset keeps."""

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom, chisquare, hypergeom

from stepward.core.seeding import Rng
from stepward.core.wing import find_wing
from stepward.train import LabelledStates, LabelSubset, read_labels, thin
from walk_artifacts import make_labels

N = 20_000


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> LabelledStates:
    artifact = make_labels(Path(tmp_path_factory.mktemp("store")))
    return read_labels(artifact.folder, find_wing("walk"), "train")


def thinned(successes: np.ndarray, total: int, kept: int, purpose: str = "thin") -> np.ndarray:
    full = np.full(len(successes), float(total))
    rng = Rng.from_ids(0, range(len(successes)), purpose)
    return thin(successes.astype(float), full, np.full(len(successes), float(kept)), rng)


@pytest.mark.parametrize(("good", "total", "kept"), [(20, 64, 8), (3, 64, 16), (60, 64, 4), (5, 7, 6)])
def test_the_law_is_hypergeometric(good: int, total: int, kept: int) -> None:
    drawn = thinned(np.full(N, good), total, kept)
    expected = N * hypergeom.pmf(np.arange(kept + 1), total, good, kept)
    counts = np.bincount(drawn.astype(int), minlength=kept + 1)
    assert counts[expected == 0].sum() == 0
    rare = expected < 5  # the usual condition of the chi-square test; rare outcomes join the rarest common one
    into = np.where(rare, np.where(rare, np.inf, expected).argmin(), np.arange(kept + 1))
    observed, wanted = (np.bincount(into, values) for values in (counts, expected))
    assert chisquare(observed[wanted > 0], wanted[wanted > 0]).pvalue > 1e-3


def test_thinned_binomial_counts_are_binomial() -> None:
    """S ~ Binomial(64, p) thinned to 8 is Binomial(8, p): what labelling with M = 8 gives."""
    recorded = np.random.default_rng(1).binomial(64, 0.3, N)
    counts = np.bincount(thinned(recorded, 64, 8).astype(int), minlength=9)
    expected = N * binom.pmf(np.arange(9), 8, 0.3)
    assert expected.min() > 1
    assert chisquare(counts, expected).pvalue > 1e-3


def test_settled_counts_stay_settled() -> None:
    assert thinned(np.zeros(50), 64, 8).max() == 0
    assert thinned(np.full(50, 64), 64, 8).min() == 8
    recorded = np.arange(65)
    np.testing.assert_array_equal(thinned(recorded, 64, 64), recorded)


def test_a_row_keeps_its_draw_in_any_company(labels: LabelledStates) -> None:
    """What a row keeps depends on the seed and its id, not on the rows beside it; fewer rows are part of more."""
    all_rows, few, fewer = (LabelSubset(num_rows=n, num_rollouts=16).of(labels, 5) for n in (None, 100, 40))
    known = dict(zip(all_rows.table["id"].to_pylist(), all_rows.successes, strict=True))
    assert [known[i] for i in few.table["id"].to_pylist()] == few.successes.tolist()
    assert set(fewer.table["id"].to_pylist()) < set(few.table["id"].to_pylist())
    assert few.table["id"].to_pylist() == sorted(few.table["id"].to_pylist())
    other = LabelSubset(num_rollouts=16).of(labels, 6)
    assert (other.successes != all_rows.successes).any()


def test_everything_of_a_row_goes_together(labels: LabelledStates) -> None:
    few = LabelSubset(num_rows=30, num_rollouts=4).of(labels, 0)
    assert len(few) == len(few.states) == len(few.successes) == 30
    assert few.table["num_rollouts"].to_pylist() == few.num_rollouts.tolist() == [4.0] * 30
    assert few.table["successes"].to_pylist() == few.successes.tolist()
    np.testing.assert_allclose(find_wing("walk").known.exact(few.states), few.exact, atol=1e-12)
    assert LabelSubset().of(labels, 0) is labels
    assert LabelSubset(num_rows=30).num_kept(400) == 30 == LabelSubset().num_kept(30)


def test_more_rollouts_than_recorded(labels: LabelledStates) -> None:
    with pytest.raises(ValueError, match=r"at most 64.*got 65"):
        LabelSubset(num_rollouts=65).of(labels, 0)


def test_filters_leave_out_undecided_rows_and_problems_of_other_difficulty(labels: LabelledStates) -> None:
    share = labels.successes / labels.num_rollouts
    decided = LabelSubset(min_decision=0.4).of(labels, 0)
    assert set(decided.table["id"].to_pylist()) == {
        row for row, p in zip(labels.table["id"].to_pylist(), share, strict=True) if abs(p - 0.5) >= 0.4 - 1e-9
    }
    problems = labels.table["problem_id"].to_numpy(zero_copy_only=False)
    kept = LabelSubset(solve_range=(0.2, 0.8)).of(labels, 0).table["problem_id"].to_pylist()
    assert set(kept) == {name for name in problems if 0.2 <= share[problems == name].mean() <= 0.8}
    assert 0 < len(decided) < len(labels)
    assert 0 < len(kept) < len(labels)


def test_filters_that_leave_nothing_say_so(labels: LabelledStates) -> None:
    share = (labels.successes / labels.num_rollouts).mean()
    with pytest.raises(ValueError, match="Loosen the filters"):
        LabelSubset(num_rows=1, solve_range=(0.0, 1e-9) if share > 0.5 else (1 - 1e-9, 1.0), min_decision=0.5).of(
            labels, 0
        )
    with pytest.raises(ValueError, match="low < high"):
        LabelSubset(solve_range=(0.5, 0.5))
