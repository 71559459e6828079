"""Outcome and process models on real text: four models' published solutions of each GSM8K test question.

    python benchmarks/studies/math_real_text.py --data ../shared/data/gsm8k/example_model_solutions.jsonl

1,000 problems are learned from (of these 150 decide when to stop and how to read a process model), 319 are for the
test. Labels are the published verdicts, for the process models at every line of the solution: nobody rated the lines.
Printed are, on the test problems,

- AUC: the chance that a right solution scores higher than a wrong one, over all solutions, and over pairs of solutions
  of the same problem, which is what a choice among them needs;
- the share solved by the best of the four solutions, with its paired difference to majority vote (BCa, Holm).

Two of the four generators are themselves filtered by a verifier and better than the others, so "always the one that
was best on the training problems" is among the baselines: a model could score well by telling authors apart.
Networks are trained from three seeds and scored by their mean logit. Nothing is read from a hub: lines are embedded by
the shipped proposer, which never saw such text, so this is a lower bound on what an encoder trained on text would do.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from scipy.special import expit
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from stepward.core.seeding import stable_hash
from stepward.domains.math.grading import final_answer
from stepward.domains.math.problems import ModelSolution
from stepward.domains.math.readers import read_gsm8k_model_solutions
from stepward.domains.math.readers.gsm8k import strip_calculator
from stepward.domains.math.rewards.hmm import MathHMM
from stepward.domains.math.rewards.step_transformer import StepTransformer
from stepward.domains.math.states import Ending, MathStates, math_states
from stepward.evaluate import best_of_n, compare_arms, majority_vote, oracle_bound, right_at
from stepward.train import Binomial, epochs, make_examples, seeded_module
from stepward.train.optimisation import Optimisation

SEEDS = (0, 1, 2)
SPLIT = (850, 150, 319)  # problems that are learned from, that decide, and that are for the test
NETWORK = {"width": 128, "num_layers": 2, "num_heads": 4, "dropout": 0.2, "max_steps": 40}


@dataclass(frozen=True)
class Solutions:
    """m solutions of P problems, with every beginning that ends at a line.

    Attributes:
        problem: problem of each solution, 0 … P − 1; four solutions in a row are of one.
        right: published verdicts. answer: what each says. generator: who wrote it.
        states: all beginnings. owner: the solution of each beginning; its last one is the whole solution.
    """

    problem: np.ndarray
    right: np.ndarray
    answer: np.ndarray
    generator: np.ndarray
    states: MathStates
    owner: np.ndarray

    @property
    def last(self) -> np.ndarray:
        """Row of `states` with each whole solution."""
        return np.flatnonzero(np.append(self.owner[1:] != self.owner[:-1], True))


def collect(rows: list[ModelSolution]) -> Solutions:
    names = {name: i for i, name in enumerate(dict.fromkeys(row.problem.id for row in rows))}
    texts = [strip_calculator(row.text).strip() for row in rows]
    table, owner = [], []
    for i, (row, text) in enumerate(zip(rows, texts, strict=True)):
        lines = [line for line in text.split("\n") if line.strip()]
        for count in range(1, len(lines) + 1):
            over = count == len(lines)
            table.append(
                {"question": row.problem.question, "answer": row.problem.answer, "problem_id": row.problem.id}
                | {"text": "\n".join(lines[:count]) + "\n", "num_steps": count, "num_tokens": 0, "last_tokens": 0}
                | {"log_prob": 0.0, "ending": int(Ending.ANSWERED if over else Ending.OPEN)}
            )
            owner.append(i)
    return Solutions(
        problem=np.array([names[row.problem.id] for row in rows]),
        right=np.array([row.correct for row in rows]),
        answer=np.array([final_answer(text) for text in texts], dtype=object),
        generator=np.array([row.generator for row in rows]),
        states=math_states(pa.Table.from_pylist(table)),
        owner=np.array(owner),
    )


def split(path: Path) -> list[Solutions]:
    """The solutions of the three sets of problems; the order of problems is drawn once, by their ids."""
    rows, rejected = read_gsm8k_model_solutions(path)
    assert not rejected, rejected[:3]
    ids = sorted({row.problem.id for row in rows}, key=lambda name: stable_hash("real text", name))
    ends = np.cumsum((0, *SPLIT))
    sets = [set(ids[a:b]) for a, b in pairwise(ends)]
    return [collect([row for row in rows if row.problem.id in chosen]) for chosen in sets]


def step_network(train: Solutions, validation: Solutions, test: Solutions, *, process: bool) -> list[np.ndarray]:
    """Mean logits over seeds at every beginning in `validation` and `test`; the best epoch is validation's."""
    learner = StepTransformer(**NETWORK)
    encoded = [learner.encode(part.states) for part in (train, validation, test)]
    rows = [np.arange(len(part.owner)) if process else part.last for part in (train, validation)]
    examples = [
        make_examples(
            {name: array[row] for name, array in inputs.items()},
            part.right[part.owner[row]].astype(float), np.ones(len(row)), Binomial(), pool=False,
        )
        for part, inputs, row in zip((train, validation), encoded[:2], rows, strict=True)
    ]  # fmt: skip
    optimisation = Optimisation(num_epochs=8, batch_size=128, learning_rate=5e-4, weight_decay=0.05, patience=2)
    logits: list[list[np.ndarray]] = [[], []]
    for seed in SEEDS:
        module = seeded_module(learner.module, seed)
        *_, last = epochs(module, *examples, Binomial(), optimisation, seed=seed)
        reward = learner.reward({name: np.asarray(value) for name, value in last.best.items()})
        for kept, part in zip(logits, (validation, test), strict=True):
            kept.append(reward.logits(part.states))
    return [np.mean(kept, axis=0) for kept in logits]


def hidden_markov(train: Solutions, validation: Solutions, test: Solutions) -> list[np.ndarray]:
    learner = MathHMM()
    right = train.right[train.owner]
    reward = learner.reward(learner.fit(train.states, right.astype(float), np.ones(len(right)), 0))
    chances = [reward.score(part.states, part.states).clip(1e-6, 1 - 1e-6) for part in (validation, test)]
    return [np.log(p / (1 - p)) for p in chances]


def words(train: Solutions, validation: Solutions, test: Solutions) -> list[np.ndarray]:
    """Logistic regression on words and pairs of words, at whole solutions; its strength is validation's choice."""
    texts = [[part.states.text[row] for row in part.last] for part in (train, validation, test)]
    features = TfidfVectorizer(ngram_range=(1, 2), min_df=3, sublinear_tf=True, token_pattern=r"[^\W\d_]+|\d+|[^\w\s]")
    matrices = [features.fit_transform(texts[0]), *(features.transform(part) for part in texts[1:])]
    models = [LogisticRegression(C=c, max_iter=2000).fit(matrices[0], train.right) for c in (0.1, 0.3, 1, 3, 10)]
    best = max(models, key=lambda model: roc_auc_score(validation.right, model.decision_function(matrices[1])))
    return [best.decision_function(matrix) for matrix in matrices[1:]]


READINGS: dict[str, Callable[[np.ndarray], float]] = {
    "last": lambda p: p[-1], "min": np.min, "product": lambda p: np.exp(np.log(p).mean()), "mean": np.mean,
}  # fmt: skip


def read(logits: np.ndarray, part: Solutions, reading: str) -> np.ndarray:
    """One number a solution from the chances at its lines; the product is the geometric mean: lengths differ."""
    chances = expit(logits.astype(np.float64))
    return np.array([READINGS[reading](own) for own in np.split(chances, part.last[:-1] + 1)])


def pair_auc(score: np.ndarray, part: Solutions) -> float:
    """Chance that of a right and a wrong solution of one problem the right one scores higher; ties count one half."""
    wins = []
    for problem in range(part.problem.max() + 1):
        mine = part.problem == problem
        good, bad = score[mine & part.right], score[mine & ~part.right]
        wins.append((np.sign(good[:, None] - bad) / 2 + 0.5).ravel())
    return float(np.concatenate(wins).mean())


def chosen(score: np.ndarray, part: Solutions) -> np.ndarray:
    return right_at(best_of_n(part.problem, score, part.problem.max() + 1), part.right)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/gsm8k/example_model_solutions.jsonl"))
    parser.add_argument("--json", type=Path, help="also write the table to this file")
    options = parser.parse_args()
    if not options.data.is_file():
        parser.error(f"--data: expected GSM8K's example_model_solutions.jsonl, but there is no {options.data}")
    torch.manual_seed(0)
    parts = train, validation, test = split(options.data)

    scores: dict[str, tuple[np.ndarray, np.ndarray]] = {}  # of validation and test
    for name, logits in {
        "process, hidden Markov model": hidden_markov(*parts),
        "process, step transformer": step_network(*parts, process=True),
    }.items():
        readings = {how: [read(z, p, how) for z, p in zip(logits, parts[1:], strict=True)] for how in READINGS}
        best = max(readings, key=lambda how: pair_auc(readings[how][0], validation))
        scores[f"{name} ({best})"] = tuple(readings[best])
    outcome = step_network(*parts, process=False)
    scores["outcome, step transformer"] = tuple(z[p.last] for z, p in zip(outcome, parts[1:], strict=True))
    scores["outcome, words"] = tuple(words(*parts))
    authors = {name: train.right[train.generator == name].mean() for name in np.unique(train.generator)}
    rng = np.random.default_rng(0)
    for name, of in {
        "the best author": lambda part: np.array([authors[name] for name in part.generator]),
        "short": lambda part: -np.array([len(part.states.text[row]) for row in part.last], float),
        "random": lambda part: rng.random(len(part.right)),
    }.items():
        scores[name] = (of(validation), of(test))

    num = test.problem.max() + 1
    solved = {name: chosen(pair[1], test).astype(float) for name, pair in scores.items()}
    solved["majority"] = right_at(majority_vote(test.problem, test.answer, num), test.right).astype(float)
    rows = {row.arm: row for row in compare_arms(solved, "majority", rng=np.random.default_rng(1))}
    print(f"{len(train.right):,} solutions learned from, {len(test.right):,} of {num} problems in the test")
    print(f"right on their own: {test.right.mean():.3f}; majority of 4: {solved['majority'].mean():.3f}; "
          f"any of 4: {oracle_bound(test.problem, test.right, num).mean():.3f}")  # fmt: skip
    print(f"{'':<38}{'AUC':>6}{'pairs':>7}{'best of 4':>11}   minus majority          Holm p")
    table = {}
    for name, (_, score) in scores.items():
        row, auc, pairs = rows[name], roc_auc_score(test.right, score), pair_auc(score, test)
        shown = f"{row.difference:+.3f} [{row.low:+.3f}, {row.high:+.3f}]"
        print(f"{name:<38}{auc:>6.3f}{pairs:>7.3f}{row.mean:>11.3f}   {shown}   {row.holm_p_value:.3f}")
        table[name] = {"auc": auc, "pairs": pairs, "solved": row.mean, "low": row.low, "high": row.high}
    if options.json:
        options.json.write_text(json.dumps(table, indent=1))


if __name__ == "__main__":
    main()
