"""The parallelism dividend: what several candidates together gain over one, predicted and realised."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Real, Shaped

from stepward.statistics.bootstrap import Estimate, bootstrap_mean


@dataclass(frozen=True)
class ParallelismDividend:
    """Predicted and realised success of groups of candidates; means over groups, intervals over groups.

    Attributes:
        single: mean predicted success of one candidate, picked at random in its group.
        predicted: mean of 1 - Π (1 - p_c).
        realised: share of groups in which some candidate succeeded.
        excess: realised minus predicted. An interval below 0 says that the candidates fail together (or that the p_c
            are too high); around 0, that independence is no worse than the data can tell.
    """

    single: float
    predicted: float
    realised: float
    excess: Estimate


def any_success(
    probabilities: Real[np.ndarray, " n"], groups: Int[np.ndarray, " n"]
) -> tuple[Int[np.ndarray, " g"], Float[np.ndarray, " g"]]:
    """Group ids in ascending order, and 1 - Π (1 - p_c) of each: success of at least one of independent candidates."""
    if not ((probabilities >= 0) & (probabilities <= 1)).all():
        raise ValueError("Expected probabilities in [0, 1]; calibrate the scores first.")
    ids, codes = np.unique(groups, return_inverse=True)
    with np.errstate(divide="ignore"):  # p = 1 is log 0: that group succeeds with certainty
        log_failure = np.log1p(-np.asarray(probabilities, np.float64))
    return ids, -np.expm1(np.bincount(codes.reshape(-1), log_failure))


def parallelism_dividend(
    probabilities: Real[np.ndarray, " n"],
    successes: Shaped[np.ndarray, " n"],
    groups: Int[np.ndarray, " n"],
    *,
    rng: np.random.Generator,
) -> ParallelismDividend:
    """1 - Π (1 - p_c) over the candidates of a group against what happened.

    **Assumption** The product is right if, given their p_c, the candidates of a group succeed independently, and if p_c
    is the probability of the very event counted: one continuation of candidate c by the labelling policy. Candidates
    that share a hidden cause of failure (the same wrong step, a problem without solution) break it, and the product
    then promises too much. Errors of p_c that are independent between siblings, as of Monte-Carlo shares, leave it
    unbiased.

    Args:
        probabilities: p_c, predicted or exact (V^π), in [0, 1].
        successes: what one continuation of each candidate came to, 0/1 or bool.
        groups: any integer id a group, usually the parent state.
        rng: source of the bootstrap over groups.
    """
    if len(successes) == 0 or not np.isin(successes, (0, 1)).all():
        raise ValueError("Expected 0/1 successes, one continuation a candidate, for at least one candidate.")
    ids, predicted = any_success(probabilities, groups)
    codes = np.searchsorted(ids, groups)
    sizes = np.bincount(codes)
    realised = (np.bincount(codes, successes) > 0).astype(np.float64)
    return ParallelismDividend(
        single=float(np.mean(np.bincount(codes, probabilities) / sizes)),
        predicted=float(predicted.mean()),
        realised=float(realised.mean()),
        excess=bootstrap_mean(realised - predicted, rng=rng),
    )
