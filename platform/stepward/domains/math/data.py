"""Where math problems come from: the synthetic family, GSM8K, MATH, SVAMP, MAWPS, or a file of your own."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice, zip_longest
from typing import Any, Literal, get_args

import numpy as np
import pyarrow as pa
from pydantic import Field, model_validator

from stepward.core.config import Config
from stepward.core.rows import read_rows, stem
from stepward.core.wing import Rejected
from stepward.domains.math.problems import Problem
from stepward.domains.math.readers import read_gsm8k, read_math, read_mawps, read_svamp
from stepward.domains.math.readers.rows import Row, RowError, collect, is_files, optional_text, required_text
from stepward.domains.math.synthetic import LARGER_NUMBERS, MORE_STEPS, Split, WordProblemFamily
from stepward.domains.math.variants import variants

__all__ = ["SPLITS", "MathProblems", "problem_table", "split_by_text"]

SPLITS: tuple[Split, ...] = get_args(Split)
READERS: dict[str, Any] = {"gsm8k": read_gsm8k, "math": read_math, "svamp": read_svamp, "mawps": read_mawps}
FAMILIES = {"default": WordProblemFamily(), "more_steps": MORE_STEPS, "larger_numbers": LARGER_NUMBERS}


class MathProblems(Config):
    """Where math problems come from, and which split they belong to."""

    source: Literal["words", "gsm8k", "math", "svamp", "mawps", "file"] = Field(
        "words",
        description="words: generated chains of sentences; gsm8k, math, svamp and mawps: published; file: your own",
    )
    path: str | None = Field(
        None,
        description="for gsm8k and math a file, a folder or a data set id, none: the published id; for svamp and "
        "mawps the file; for file: your file (JSON, CSV, Parquet, Arrow), folder or pattern, with question, answer, "
        "and maybe id, split",
    )
    file_split: Literal["hash", "train", "validation", "test"] = Field(
        "hash",
        description="split of a file's rows; hash: 70, 10 and 20 % by the text of the question (svamp: 50, 10 and 40); "
        "variants of a problem of svamp or mawps are in one split",
    )
    more_train: str | None = Field(
        None,
        description="file of further training problems (question, answer), such as MAWPS beside SVAMP; variants of "
        "validation and test problems are left out",
    )
    family: Literal["default", "more_steps", "larger_numbers"] = Field(
        "default", description="generated problems: as the embedded proposer learned them, longer, or of larger numbers"
    )
    num_train: int = Field(4500, ge=1, description="training problems, at most")
    num_validation: int = Field(200, ge=1, description="validation problems, at most")
    num_test: int = Field(1000, ge=1, description="test problems, at most")

    @model_validator(mode="after")
    def _no_setting_without_effect(self) -> MathProblems:
        generated = self.source == "words"
        useless = {"path", "file_split", "more_train"} if generated else {"family"}
        given = sorted(name for name in useless if getattr(self, name) != type(self).model_fields[name].default)
        if given:
            raise ValueError(f"source={self.source!r}: {given} would have no effect; leave it out, or change source")
        if self.source in ("svamp", "mawps", "file") and self.path is None:
            raise ValueError(f"source={self.source!r}: expected path, the file with the problems")
        return self

    def problems(self, split: Split, seed: int) -> tuple[pa.Table, list[Rejected]]:
        """Problems of a split: columns id, question, answer, solution, source; and the rows that cannot be used.

        Questions belong to one split for ever, whatever the seed. Of a published data set, the test part is the test
        split, and the training part is cut by question into train (90 %) and validation (10 %).
        """
        if split not in SPLITS:
            raise ValueError(f"split: expected one of {list(SPLITS)}, got {split!r}.")
        wanted = getattr(self, f"num_{split}")
        if self.source == "words":
            family = FAMILIES[self.family]
            return problem_table(family.problems(seed, split, wanted)), []
        rows, rejected = self._read(split)
        if self.more_train is not None and split == "train":
            held_out = [problem for other in ("validation", "test") for problem in self._read(other)[0]]
            more, bad = further(self.more_train, held_out)
            turns = chain.from_iterable(zip_longest(rows, more))  # so that the first ones hold some of both
            rows, rejected = (problem for problem in turns if problem is not None), rejected + bad
        return problem_table(islice(rows, wanted)), rejected

    def _read(self, split: Split) -> tuple[Iterator[Problem], list[Rejected]]:
        if self.source == "file":
            own, rejected = read_own(str(self.path))
            return (p for p, named in own if (named or self._split_of(p.question)) == split), rejected
        read = READERS[self.source]
        if self.path is not None and (self.source in ("svamp", "mawps") or is_files(self.path)):
            found, rejected = read(self.path)
            names = [p.question for p in found]
            if self.source in ("svamp", "mawps"):
                groups = variants(names)
                names = [names[first] for first in np.unique(groups, return_index=True)[1][groups]]
            return (p for p, name in zip(found, names, strict=True) if self._split_of(name) == split), rejected
        source = {} if self.path is None else {"source": self.path}
        found, rejected = read(split="test" if split == "test" else "train", **source)
        if split != "test":
            found = [p for p in found if split_by_text(p.question, (90, 10)) == SPLITS.index(split)]
        return iter(found), rejected

    def _split_of(self, text: str) -> Split:
        if self.file_split != "hash":
            return self.file_split
        return SPLITS[split_by_text(text, (50, 10, 40) if self.source == "svamp" else (70, 10, 20))]


def further(path: str, held_out: Sequence[Problem]) -> tuple[list[Problem], list[Rejected]]:
    """A user's problems but for variants of `held_out` ones, and the rows that cannot be used."""
    own, rejected = read_own(path)
    groups = variants([p.question for p in held_out] + [p.question for p, _ in own])
    taken = set(groups[: len(held_out)].tolist())
    kept = zip(own, groups[len(held_out) :].tolist(), strict=True)
    return [p for (p, _), group in kept if group not in taken], rejected


def read_own(path: str) -> tuple[list[tuple[Problem, str]], list[Rejected]]:
    """A user's problems, rows of files: question, answer, and optionally id, split, solution.

    Each comes with the split it names, "" where it names none.
    """
    seen = set()

    def build(row: Row, number: int) -> Iterator[tuple[Problem, str]]:
        question, answer = required_text(row, "question", "problem"), required_text(row, "answer")
        row_id = optional_text(row, "id") or f"{stem(path)}/{number}"
        split = optional_text(row, "split")
        if split and split not in SPLITS:
            raise RowError(f"split: expected one of {list(SPLITS)}, got {split!r}")
        if row_id in seen:
            raise RowError(f"id: expected a unique id, got {row_id!r} again")
        seen.add(row_id)
        yield Problem(row_id, question, answer, "file", optional_text(row, "solution")), split

    return collect(read_rows(path), build)


def problem_table(problems: Iterable[Problem]) -> pa.Table:
    """Problems as a table: id, question, answer, solution, source."""
    rows, names = list(problems), ("id", "question", "answer", "solution", "source")
    return pa.table({name: pa.array([getattr(p, name) for p in rows], pa.string()) for name in names})


def split_by_text(text: str, percent: tuple[int, ...]) -> int:
    """Which of several parts, of given percentages, a text belongs to: a function of its hash."""
    place = int.from_bytes(hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=8).digest(), "big") % 100
    bounds = [sum(percent[: i + 1]) for i in range(len(percent))]
    return next(i for i, bound in enumerate(bounds) if place < bound)
