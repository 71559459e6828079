"""Do intervals hold what they say where rows of one problem depend on one another? Simulations of every statistic."""

import numpy as np
import pytest

from stepward.statistics.bootstrap import bootstrap_mean, bootstrap_saving
from stepward.statistics.calibration import expected_calibration_error
from stepward.statistics.clusters import clustered_mean, clustered_spearman
from stepward.statistics.paired import paired_comparison
from stepward.statistics.ranking import sibling_accuracy, sibling_spearman, spearman, top1_regret

PROBLEMS, ROWS, CHILDREN = 150, 4, 4
SHIFT = 0.05  # of predictions, whose calibration error it is


def states(rng, num=PROBLEMS):
    """Predictions and soft targets of `ROWS` states a problem that share what the prediction cannot see."""
    problem = np.repeat(np.arange(num), ROWS)
    seen, hidden = (np.repeat(rng.standard_normal(num), ROWS) * 0.12 for _ in range(2))
    value = 0.5 + seen + 0.08 * rng.standard_normal(len(problem))
    target = value + hidden + 0.08 * rng.standard_normal(len(problem))
    return np.clip(value + SHIFT, 0, 1), np.clip(target, 0, 1), problem


def families(rng, num=PROBLEMS):
    """Scores and values of `CHILDREN` children of each of `ROWS` states a problem, scored well or badly a problem."""
    shape, skill = (num, ROWS, CHILDREN), rng.uniform(0, 2, (num, 1, 1))
    truths = rng.standard_normal(shape)
    scores = skill * truths + rng.standard_normal(shape)
    sets = np.arange(num * ROWS)
    return scores.ravel(), truths.ravel(), np.repeat(sets, CHILDREN), np.repeat(sets // ROWS, CHILDREN)


def pairs(rng, num=PROBLEMS):
    """Errors of two arms on the same problems."""
    hard = np.exp(0.4 * rng.standard_normal(num))
    return hard * np.exp(0.2 * rng.standard_normal(num)) * 0.9, hard * np.exp(0.2 * rng.standard_normal(num))


def solved(rng, num=PROBLEMS):
    hard = rng.uniform(0, 1, num)
    return rng.uniform(0, 1, num) < 0.9 * hard, rng.uniform(0, 1, num) < 0.8 * hard


FEW = {"num_resamples": 1000}
STATISTICS = {
    "spearman": (states, lambda f, t, p, rng: clustered_spearman(f, t, p)),
    "brier": (states, lambda f, t, p, rng: clustered_mean((f - t) ** 2, p, rng=rng, **FEW)),
    "calibration error": (states, lambda f, t, p, rng: expected_calibration_error(f, t, rng=rng, clusters=p, **FEW)),
    "sibling spearman": (families, lambda s, t, g, p, rng: sibling_spearman(s, t, g, rng=rng, clusters=p)),
    "sibling accuracy": (families, lambda s, t, g, p, rng: sibling_accuracy(s, t, g, rng=rng, clusters=p)),
    "top-1 regret": (families, lambda s, t, g, p, rng: top1_regret(s, t, g, rng=rng, clusters=p)),
    "mean": (pairs, lambda a, b, rng: bootstrap_mean(a, rng=rng, **FEW)),
    "paired difference": (pairs, lambda a, b, rng: paired_comparison(a, b, rng=rng, **FEW)),
    "share saved": (pairs, lambda a, b, rng: bootstrap_saving(a, b, rng=rng, **FEW)),
    "solve rate difference": (solved, lambda a, b, rng: paired_comparison(a, b, rng=rng, **FEW)),
}
VALUE = {
    "spearman": lambda f, t, p: spearman(f, t),
    "brier": lambda f, t, p: ((f - t) ** 2).mean(),
    "calibration error": lambda f, t, p: SHIFT,
    "sibling spearman": lambda s, t, g, p: sibling_spearman(s, t, g, rng=np.random.default_rng(0)).value,
    "sibling accuracy": lambda s, t, g, p: sibling_accuracy(s, t, g, rng=np.random.default_rng(0)).value,
    "top-1 regret": lambda s, t, g, p: top1_regret(s, t, g, rng=np.random.default_rng(0)).value,
    "mean": lambda a, b: a.mean(),
    "paired difference": lambda a, b: (a - b).mean(),
    "share saved": lambda a, b: 1 - a.sum() / b.sum(),
    "solve rate difference": lambda a, b: a.mean() - b.mean(),
}


def covered(name, times):
    """Share of simulated data sets whose interval holds the value of a data set of very many problems."""
    make, estimate = STATISTICS[name]
    truth = VALUE[name](*make(np.random.default_rng(99), 40_000))
    rng, inside = np.random.default_rng(7), 0
    for _ in range(times):
        found = estimate(*make(rng), rng=rng)
        inside += found.low <= truth <= found.high
    return inside / times


@pytest.mark.slow  # a thousand data sets of each: about a minute in all
@pytest.mark.parametrize("name", STATISTICS)
def test_intervals_of_every_statistic_hold_what_they_say(name):
    assert 0.93 <= covered(name, 1000) <= 0.97


def test_rows_of_one_problem_repeated_change_no_clustered_interval():
    """Each state five times over is no more evidence; an interval over rows would shrink by √5."""
    predictions, targets, problem = states(np.random.default_rng(3))
    once, often = ((np.repeat(x, n) for x in (predictions, targets, problem)) for n in (1, 5))
    few, many = (clustered_spearman(*parts) for parts in (once, often))
    assert (few.low, few.high) == pytest.approx((many.low, many.high), abs=2e-3)
    errors = (predictions - targets) ** 2
    rng = np.random.default_rng
    few = clustered_mean(errors, problem, rng=rng(0))
    many = clustered_mean(np.repeat(errors, 5), np.repeat(problem, 5), rng=rng(0))
    assert (few.low, few.high, few.num_units) == pytest.approx((many.low, many.high, PROBLEMS))
    assert clustered_spearman(predictions, 0 * targets, problem).value != 0, "NaN: a constant truth has no order"
    assert np.isnan(clustered_spearman(predictions[:8], targets[:8], problem[:8]).low), "two problems say nothing"
