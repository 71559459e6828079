"""Is a proposer fit to be verified? How often it solves problems when sampled, and whether votes find its errors.

A proposer that is nearly always right, or whose errors a majority vote removes, leaves a verifier nothing to do. The
embedded one is accepted if it solves .35 to .65 of held-out problems with one sample, if the majority of eight wins at
most .15 over that, and if one of eight samples is right for at least .75 of the problems.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int, Shaped

from stepward.core.interfaces import Verifier
from stepward.core.seeding import Rng
from stepward.domains.math.grading import final_answer
from stepward.domains.math.problems import Problem
from stepward.domains.math.proposer import LanguageModelProposer
from stepward.domains.math.states import Ending, MathStates
from stepward.domains.math.synthetic import check_steps, is_ambiguous

__all__ = ["accepted", "error_rates", "majority", "sampling_metrics"]


def sampling_metrics(
    proposer: LanguageModelProposer, verifier: Verifier, problems: MathStates, *, num_samples: int, rng: Rng
) -> tuple[dict[str, float], MathStates]:
    """Solve rates of sampled solutions, each a mean over problems, with standard errors (names in ``_se``).

    Args:
        problems: bare questions.
        num_samples: solutions N of each.
        rng: one stream a problem.

    Returns:
        single (one sample), majority (the most frequent answer of N), pass (any of N), likelihood (the sample of
        highest log p), and answered (samples that end with an answer); and the samples, problem by problem.
    """
    samples = proposer.complete(problems, num_continuations=num_samples, rng=rng)
    shape = len(problems), num_samples
    solved = verifier.outcome(samples).reshape(shape) == 1
    rows = np.arange(len(problems))
    columns = {
        "single": solved.mean(axis=1),
        "majority": solved[rows, majority(_answers(samples).reshape(shape))],
        "pass": solved.any(axis=1),
        "likelihood": solved[rows, samples.log_prob.reshape(shape).argmax(axis=1)],
        "answered": (samples.ending == Ending.ANSWERED).reshape(shape).mean(axis=1),
    }
    metrics: dict[str, float] = {}
    for name, values in columns.items():
        metrics[name] = float(values.mean())
        metrics[f"{name}_se"] = float(values.std() / np.sqrt(len(problems)))
    return metrics, samples


def accepted(metrics: dict[str, float]) -> bool:
    """Whether the metrics of `sampling_metrics` (N = 8, temperature .8) are those of a fit embedded proposer."""
    single = metrics["single"]
    return 0.35 <= single <= 0.65 and metrics["majority"] <= single + 0.15 and metrics["pass"] >= 0.75


def majority(answers: Shaped[np.ndarray, "n k"]) -> Int[np.ndarray, " n"]:
    """Column of the most frequent text of every row, where it occurs first; "" has no vote unless it is alone."""
    chosen = np.zeros(len(answers), np.int64)
    for i, row in enumerate(answers.tolist()):
        votes = [(row.count(text) if text else 0, -j) for j, text in enumerate(row)]
        chosen[i] = -max(votes)[1]
    return chosen


def error_rates(problems: Sequence[Problem], samples: MathStates) -> dict[str, float]:
    """Error rates of single lines, given that all lines before were right, against the family's oracle.

    Args:
        problems: of the synthetic family, those the samples are of.
        samples: solutions, whose `problem` is an index into `problems`.

    Returns:
        ambiguous_error and other_error: share of wrong lines among those with and without an ambiguous phrase; and
        lines_ambiguous and lines_other, how many lines these shares are of.
    """
    wrong, total = np.zeros(2), np.zeros(2)
    for index, text in zip(samples.problem, samples.text, strict=True):
        problem, lines = problems[index], text.rstrip("\n").split("\n")
        for sentence, is_right in zip(problem.solution.split("\n")[:-1], check_steps(problem, lines), strict=False):
            kind = int(is_ambiguous(sentence))
            total[kind] += 1
            wrong[kind] += not is_right
            if not is_right:
                break
    rates = wrong / np.maximum(total, 1)
    return {
        "ambiguous_error": float(rates[1]),
        "other_error": float(rates[0]),
        "lines_ambiguous": float(total[1]),
        "lines_other": float(total[0]),
    }


def _answers(samples: MathStates) -> Shaped[np.ndarray, " n"]:
    answers = np.full(len(samples), "", dtype=object)
    for i in np.flatnonzero(samples.ending == Ending.ANSWERED):
        answers[i] = final_answer(samples.text[i])
    return answers
