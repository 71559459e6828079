"""Step labels to train on for PRMBench that have nothing of PRMBench: errors planted into GSM8K, and verdicts.

    python benchmarks/studies/math_foreign_steps.py --gsm8k FOLDER --out FOLDER [--planted 400] [--judged 200]

Writes rated solutions, rows for `labels.format=steps`:

planted.jsonl   human solutions of GSM8K's training part. Into every second one an error is planted at a step drawn at
                random: the last number of the line is another one (half of them), or the line is one of another
                solution. It is rated -1, what is before 1, and nobody rates what is after.
judged.jsonl    solutions that four models wrote of its test part, half of them right: every line of a right one is
                rated 1, and of a wrong one the last line -1.
both.jsonl      the two together.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from stepward.domains.math.readers import read_gsm8k, read_gsm8k_model_solutions

NUMBER = re.compile(r"\d+(?:\.\d+)?")


def planted(lines: list[str], others: list[list[str]], rng: np.random.Generator) -> tuple[list[str], list[int | None]]:
    """A solution with an error at a step drawn at random, and its ratings."""
    at = int(rng.integers(len(lines) - 1))  # not in the line that states the answer
    numbers = list(NUMBER.finditer(lines[at]))
    if numbers and rng.random() < 0.5:
        last = numbers[-1]
        old = float(last.group())
        new = old + float(rng.choice([-10, -2, -1, 1, 2, 10]))
        wrong = f"{lines[at][: last.start()]}{abs(new):g}{lines[at][last.end() :]}"
    else:
        other = others[int(rng.integers(len(others)))]
        wrong = other[int(rng.integers(len(other) - 1))]
    ratings = [1] * at + [-1] + [None] * (len(lines) - at - 1)
    return [*lines[:at], wrong, *lines[at + 1 :]], ratings


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--gsm8k", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--planted", type=int, default=400)
    parser.add_argument("--judged", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    settings = parser.parse_args()
    rng = np.random.default_rng(settings.seed)
    problems, _ = read_gsm8k(settings.gsm8k / "train.jsonl")
    chosen = [problems[i] for i in rng.permutation(len(problems))[: settings.planted]]
    solutions = [[line for line in problem.solution.splitlines() if line.strip()] for problem in chosen]
    rows: list[dict[str, Any]] = []
    for i, (problem, lines) in enumerate(zip(chosen, solutions, strict=True)):
        ratings: list[int | None] = [1] * len(lines)
        if i % 2 and len(lines) > 1:
            lines, ratings = planted(lines, solutions, rng)
        rows.append({"id": f"planted/{problem.id}", "question": problem.question, "steps": lines, "ratings": ratings})
    written, _ = read_gsm8k_model_solutions(settings.gsm8k / "example_model_solutions.jsonl")
    judged: list[dict[str, Any]] = []
    for right in (True, False):
        those = [solution for solution in written if solution.correct == right]
        for i in rng.permutation(len(those))[: settings.judged // 2]:
            lines = [line for line in those[i].text.splitlines() if line.strip()]
            last: list[int | None] = [1] * len(lines) if right else [None] * (len(lines) - 1) + [-1]
            judged.append({"id": those[i].id, "question": those[i].problem.question, "steps": lines, "ratings": last})
    settings.out.mkdir(parents=True, exist_ok=True)
    for name, found in {"planted": rows, "judged": judged, "both": rows + judged}.items():
        (settings.out / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in found))
        print(f"{settings.out / name}.jsonl: {len(found)} solutions")


if __name__ == "__main__":
    main()
