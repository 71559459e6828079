"""What a reward model of candidates is trained for, as pure functions of scores and errors [n, k] of k siblings a
state.

Scores: higher is better. Errors: the candidates' mean squared errors to the truth, lower is better. Every function
gives one loss a state, [n]; reductions are for the caller.

`two_hinge` is the source's (arXiv:2509.02846: margin .1; the seed: .2); it sees three candidates a state. The others
use all of them. All but `regression` are blind to a constant added to the scores of a state, and so to how good its
best is.
"""

from __future__ import annotations

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import relu, softplus

TINY = 1e-12


def two_hinge(scores: Float[Tensor, "n k"], errors: Float[Tensor, "n k"], margin: float = 0.2) -> Float[Tensor, " n"]:
    """relu(m − (s_best − s_median)) + relu(m − (s_median − s_worst)). Good values: m = .1 or .2."""
    order = errors.argsort(dim=1)
    k = order.shape[1]
    best, median, worst = (scores.gather(1, order[:, i : i + 1])[:, 0] for i in (0, k // 2, k - 1))
    return relu(margin - (best - median)) + relu(margin - (median - worst))


def bradley_terry(
    scores: Float[Tensor, "n k"], errors: Float[Tensor, "n k"], min_gap: float = 0.0
) -> Float[Tensor, " n"]:
    """Mean of −log sigmoid(s_i − s_j) over the pairs with log e_j − log e_i > min_gap; 0 where there is none.

    Source: Bradley and Terry 1952. Good values: min_gap 0, or .02 where near-ties dominate.
    """
    logs = (errors + TINY).log()
    better = (logs[:, None, :] - logs[:, :, None] > min_gap).to(scores)
    loss = softplus(-(scores[:, :, None] - scores[:, None, :])) * better
    return loss.sum(dim=(1, 2)) / better.sum(dim=(1, 2)).clamp(min=1)


def listwise(
    scores: Float[Tensor, "n k"], errors: Float[Tensor, "n k"], temperature: float = 1.0
) -> Float[Tensor, " n"]:
    """Cross-entropy between softmax(−z(log e) / T) and softmax(s), z standardised in the state: ListNet.

    Source: Cao et al. 2007, "Learning to rank: from pairwise approach to listwise approach". Good values: T = .5 to 1.
    """
    target = (_standard(-(errors + TINY).log()) / temperature).softmax(dim=1)
    return -(target * scores.log_softmax(dim=1)).sum(dim=1)


def regression(scores: Float[Tensor, "n k"], errors: Float[Tensor, "n k"]) -> Float[Tensor, " n"]:
    """Mean squared error of s to −log₁₀ e: scores with a unit, comparable between states."""
    return (scores + (errors + TINY).log10()).pow(2).mean(dim=1)


def _standard(values: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
    centred = values - values.mean(dim=1, keepdim=True)
    return centred / centred.pow(2).mean(dim=1, keepdim=True).sqrt().clamp(min=1e-6)


OBJECTIVES: dict[str, Callable[..., Tensor]] = {
    "two_hinge": two_hinge,
    "bradley_terry": bradley_terry,
    "listwise": listwise,
    "regression": regression,
}
