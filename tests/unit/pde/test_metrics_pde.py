"""Each convention against a literal transcription of its published formula, loop by loop, on recorded arrays."""

import math

import numpy as np
import pytest
from jaxtyping import TypeCheckError

from stepward.domains.pde import metrics

N, T, C, NX, NY = 5, 3, 4, 6, 7
RECORDED = {"pdebench_nrmse": 0.723316566, "well_vrmse": 0.791725492, "poseidon_l1": 6.768498168, "nrmse": 0.052472681}


@pytest.fixture
def arrays():
    rng = np.random.default_rng(20240607)
    target = rng.normal(0.5, 1.0, (N, T, C, NX, NY)) * np.array([1.0, 0.1, 10.0, 3.0])[:, None, None]
    return target + 0.2 * rng.standard_t(3, target.shape), target


def _pdebench(prediction, target):
    """arXiv:2210.07182, `metric_func`: rms error over rms target in space; mean over batch, then channels and time."""
    total = 0.0
    for n in range(N):
        for t in range(T):
            for c in range(C):
                error = sum(
                    (prediction[n, t, c, i, j] - target[n, t, c, i, j]) ** 2 for i in range(NX) for j in range(NY)
                )
                norm = sum(target[n, t, c, i, j] ** 2 for i in range(NX) for j in range(NY))
                total += math.sqrt(error / (NX * NY)) / math.sqrt(norm / (NX * NY))
    return total / (N * T * C)


def _well(prediction, target):
    """The Well: sqrt(mse / (std^2 + 1e-7)), std over space as torch computes it (cells - 1)."""
    total = 0.0
    for n in range(N):
        for t in range(T):
            for c in range(C):
                values = [float(v) for v in target[n, t, c].ravel()]
                mean = sum(values) / len(values)
                variance = sum((v - mean) ** 2 for v in values) / (len(values) - 1)
                pairs = zip(prediction[n, t, c].ravel(), values, strict=True)
                mse = sum((p - v) ** 2 for p, v in pairs) / len(values)
                total += math.sqrt(mse / (variance + 1e-7))
    return total / (N * T * C)


def _poseidon(prediction, target, groups):
    """Poseidon: per cent of sum|e| / sum|target| at the last frame; median over samples; mean over channel groups."""
    medians = []
    for first, last in groups:
        ratios = []
        for n in range(N):
            error = sum(abs(float(v)) for v in (prediction - target)[n, -1, first:last].ravel())
            norm = sum(abs(float(v)) for v in target[n, -1, first:last].ravel())
            ratios.append(100.0 * error / norm)
        medians.append(sorted(ratios)[N // 2])
    return sum(medians) / len(medians)


def _nrmse(prediction, target):
    total = 0.0
    for n in range(N):
        for t in range(T):
            error = sum(float(v) ** 2 for v in (prediction - target)[n, t].ravel())
            total += math.sqrt(error / sum(float(v) ** 2 for v in target[n, t].ravel()))
    return total / (N * T)


def test_values_equal_the_published_formulas(arrays):
    groups = [(0, 1), (1, 3), (3, 4)]
    assert metrics.evaluate("pdebench_nrmse", *arrays) == pytest.approx(_pdebench(*arrays), rel=1e-6)
    assert metrics.evaluate("well_vrmse", *arrays) == pytest.approx(_well(*arrays), rel=1e-6)
    assert metrics.evaluate("poseidon_l1", *arrays) == pytest.approx(_poseidon(*arrays, [(0, C)]), rel=1e-6)
    grouped = metrics.evaluate("poseidon_l1", *arrays, channel_groups=[slice(*group) for group in groups])
    assert grouped == pytest.approx(_poseidon(*arrays, groups), rel=1e-6)
    assert metrics.evaluate("nrmse", *arrays) == pytest.approx(_nrmse(*arrays), rel=1e-6)


def test_recorded_values(arrays):
    """The numbers of the transcriptions above on the seeded arrays, so that both cannot drift together."""
    for name, value in RECORDED.items():
        assert metrics.evaluate(name, *arrays) == pytest.approx(value, rel=1e-6)
    assert len(set(RECORDED.values())) == len(metrics.CONVENTIONS)  # four conventions, four different numbers


@pytest.mark.parametrize("name", sorted(metrics.CONVENTIONS))
def test_views_agree(name, arrays):
    frames, samples = metrics.per_frame(name, *arrays), metrics.per_sample(name, *arrays)
    assert frames.shape == (N, T)
    if name == "poseidon_l1":
        np.testing.assert_allclose(samples, frames[:, -1])
        assert metrics.evaluate(name, *arrays) == pytest.approx(np.median(samples))
    else:
        np.testing.assert_allclose(samples, frames.mean(axis=1))
        assert metrics.evaluate(name, *arrays) == pytest.approx(samples.mean())
    assert metrics.evaluate(name, arrays[1], arrays[1]) == 0.0
    np.testing.assert_allclose(metrics.per_sample(name, 2 * arrays[0], 2 * arrays[1]), samples, rtol=1e-5)


def test_one_dimensional_grids_and_single_precision(arrays):
    line = [array[..., 0].astype(np.float32) for array in arrays]
    expected = metrics.evaluate("pdebench_nrmse", *[array[..., :1].astype(np.float64) for array in arrays])
    assert metrics.evaluate("pdebench_nrmse", *line) == pytest.approx(expected, rel=1e-6)


def test_a_rollout_that_blew_up_is_not_averaged_away(arrays):
    prediction, target = arrays[0].copy(), arrays[1]
    prediction[2, 1] = np.nan
    for name in ("pdebench_nrmse", "well_vrmse", "nrmse"):
        assert math.isnan(metrics.evaluate(name, prediction, target))
        assert np.isnan(metrics.per_sample(name, prediction, target)).tolist() == [False, False, True, False, False]


def test_errors(arrays):
    prediction, target = arrays
    with pytest.raises(ValueError, match="expected a convention among"):
        metrics.evaluate("rmse", prediction, target)
    with pytest.raises((ValueError, TypeCheckError)):
        metrics.evaluate("nrmse", prediction[:, :2], target)
    with pytest.raises(ValueError, match="channel_groups has no meaning"):
        metrics.evaluate("nrmse", prediction, target, channel_groups=[slice(0, 1)])
    zero = target.copy()
    zero[1, 2, 3] = 0.0
    with pytest.raises(ValueError, match=r"\(1, 2, 3\)"):
        metrics.evaluate("pdebench_nrmse", prediction, zero)
