"""A hundred thousand inputs that nobody meant: every reader, settings file, manifest, step splitter and the grader.

Each input ends in a result that is sound, or in an error that says what was wrong; within seconds, and nothing in
between. The sizes below are counted, and the last test says the sum.
"""

from __future__ import annotations

import io
import json
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from stepward.core.artifacts import Manifest
from stepward.core.config import parse_config
from stepward.core.rows import read_rows
from stepward.core.wing import Rejected, find_wing
from stepward.domains.math.grading import Grader, GraderLimits, final_answer
from stepward.domains.math.readers import arithmetic, gsm8k, math, math_shepherd, prm800k, prmbench, processbench
from stepward.domains.math.steps import StepRule, is_final_answer
from stepward.domains.pde.readers.hdf5 import open_hdf5
from stepward.domains.pde.readers.parquet import read_grid
from stepward.domains.walk.data import read_problems
from stepward.train import train_settings
from stepward.tune.space import read_space

pytestmark = pytest.mark.slow  # some minutes of one core

SECONDS = 10.0  # an input may take, on a machine that does other things beside
TRIED: Counter[str] = Counter()


def fuzz(number: int) -> Any:
    """Try so many inputs; none is shrunk or remembered."""
    return settings(
        max_examples=number,
        deadline=None,
        phases=[Phase.generate],
        database=None,
        suppress_health_check=list(HealthCheck),
    )


@contextmanager
def tried(what: str, number: int = 1) -> Iterator[None]:
    started = time.monotonic()
    yield
    TRIED[what] += number
    assert time.monotonic() - started < SECONDS * max(1, number / 10), what


PIECES = [
    "\\boxed{", "\\frac{1}{2}", "\\frac12", "####", "}", "{", "$", "\\(", "\\)", "Answer:", "the answer is ", "Step 1:",
    "Step 2.", "\n", "\n\n", " ", "1,234", "3.5", "-", "1/2", "50%", "12:30", "2:1", "x = ", "\\sqrt", "^", "_", "10^",
    "9" * 40, "\\text{cm}", "km", "€", "…", "\\left", "\\infty", "[", "]", "(", ")", "one", "yes", "\t", "\x00", "٣",
    "e5", "0x1f", "__import__('os').system('true')", "**", "factorial(9**9)", "<b>", "&amp;", "\ud800", "½", "π",
]  # fmt: skip
text = st.lists(st.sampled_from(PIECES) | st.text(max_size=4), max_size=10).map("".join)
value = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=6,
)


RULES = [StepRule(by=by) for by in ("line", "blank_line", "sentence", "marker")]


@fuzz(45_000)
@given(text)
def test_splitting_steps_loses_no_character(written: str) -> None:
    with tried("step splitter"):
        for rule in RULES:
            steps = rule.split(written)
            assert "".join(steps) == written
            assert all(steps) and isinstance(any(is_final_answer(step) for step in steps), bool)
            own = rule.written(written)
            assert own.strip() == "" or rule.split(own + written)[0].strip()


@fuzz(40_000)
@given(text)
def test_an_answer_that_is_found_was_written(written: str) -> None:
    with tried("final answer"):
        found = final_answer(written)
        assert isinstance(found, str) and len(found) <= 12 * len(written)  # "½" becomes "\\frac{1}{2}"


@fuzz(600)
@given(st.lists(st.tuples(text, text), min_size=10, max_size=10))
def test_the_grader_judges_whatever_it_gets(grader: Grader, pairs: list[tuple[str, str]]) -> None:
    answers, golds = ([pair[i].encode(errors="replace").decode() for pair in pairs] for i in (0, 1))
    with tried("grader", len(pairs)):
        verdicts = grader.grade(answers, golds)
        assert len(verdicts) == len(pairs)
        for answer, gold, verdict in zip(answers, golds, verdicts, strict=True):
            assert not (verdict.correct and not answer.strip() and gold.strip()), (answer, gold, verdict)


@pytest.fixture(scope="module")
def grader() -> Iterator[Grader]:
    with Grader(limits=GraderLimits(seconds=1)) as made:
        yield made


ROW = {
    "question": "1+1?", "answer": "so 2\n#### 2", "problem": "1+1?", "solution": "\\boxed{2}", "level": "Level 1",
    "subject": "Algebra", "unique_id": "a", "Body": "One and one", "Question": "?", "Answer": "2.0", "Equation": "1+1",
    "input": "1+1? Step 1: 2 ки", "label": "1+1? Step 1: 2 +", "task": "GSM8K", "steps": ["1+1=2"],
    "original_process": ["a"], "modified_process": ["a"], "error_steps": [1], "original_question": "q",
    "id": "gsm8k-1", "generator": "g", "final_answer_correct": True, "start": 1, "target": 5,
}  # fmt: skip
READERS = {
    "gsm8k": gsm8k.read_gsm8k, "model solutions": gsm8k.read_gsm8k_model_solutions, "math": math.read_math,
    "math_shepherd": math_shepherd.read_math_shepherd, "prm800k": prm800k.read_prm800k,
    "prmbench": prmbench.read_prmbench, "processbench": processbench.read_processbench,
    "svamp": arithmetic.read_svamp, "mawps": arithmetic.read_mawps,
    "walk": lambda path: read_problems(str(path), "train", 100, 8),
}  # fmt: skip
changed = st.builds(
    lambda row, field, new, drop: {k: v for k, v in (row | {field: new}).items() if k != drop},
    st.just(ROW), st.sampled_from(sorted(ROW)), value, st.none() | st.sampled_from(sorted(ROW)),
)  # fmt: skip


@pytest.mark.parametrize("name", READERS)
@fuzz(700)
@given(rows=st.lists(changed | value, min_size=1, max_size=3))
def test_readers_take_rows_or_say_why_not(name: str, tmp_path_factory: pytest.TempPathFactory, rows: list[Any]) -> None:
    """No row vanishes: it is taken, or a bad row."""
    file = tmp_path_factory.getbasetemp() / "rows.jsonl"
    file.write_text("\n".join(json.dumps(row) for row in rows))
    with tried(f"reader {name}", len(rows)):
        try:
            good, bad = READERS[name](file)
        except ValueError as error:
            assert str(error)
            return
        assert len(good) + len(bad) >= (1 if name != "walk" else 0)
        assert all(isinstance(row, Rejected) and row.error for row in bad)


@fuzz(3_000)
@given(data=st.binary(max_size=80), suffix=st.sampled_from(["json", "jsonl", "csv", "tsv", "parquet", "jsonl.gz"]))
def test_bytes_are_rows_or_an_error_that_names_the_file(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, suffix: str
) -> None:
    file = tmp_path_factory.getbasetemp() / f"bytes.{suffix}"
    file.write_bytes(data)
    with tried("rows of bytes"):
        try:
            list(read_rows(file))
        except ValueError as error:
            assert file.name in str(error)


FIELDS = ["learner.depth", "optimisation.num_epochs", "optimisation.batch_size", "objective.kind", "name", "seed"]
fields = st.sampled_from([*FIELDS, "store", "learner", "optimisation"]) | text
words = st.builds(lambda field, new: f"{field}={new}", fields, text | value.map(repr))


@fuzz(1_500)
@given(given_words=st.lists(words, min_size=1, max_size=2))
def test_settings_are_taken_as_written_or_refused(given_words: list[str]) -> None:
    with tried("settings"):
        try:
            made = parse_config(train_settings(find_wing("walk")), given_words)
        except ValueError as error:
            assert str(error).strip()
            return
        assert isinstance(made.seed, int) and made.optimisation.num_epochs >= 1 and made.learner.depth >= 0
        assert not made.name.startswith(".") and "/" not in made.name


@fuzz(1_000)
@given(content=value, drawn=st.text(max_size=60))
def test_files_of_settings_are_taken_or_refused(
    tmp_path_factory: pytest.TempPathFactory, content: Any, drawn: str
) -> None:
    file = tmp_path_factory.getbasetemp() / "settings.yaml"
    for number, written in enumerate((drawn, yaml.safe_dump(content, allow_unicode=False))):
        file.write_text(written.encode(errors="replace").decode())
        with tried("settings files"):
            try:
                parse_config(train_settings(find_wing("walk")), [str(file)])
            except ValueError as error:
                assert str(error).strip(), number


KINDS = ["grid", "choice", "integers", "uniform", "loguniform"]
dimensions = value | st.dictionaries(st.sampled_from(KINDS), value, max_size=2)
SPACES = st.dictionaries(fields, dimensions, max_size=3)


@fuzz(1_500)
@given(content=SPACES)
def test_search_spaces_are_taken_or_refused(content: dict[str, Any]) -> None:
    with tried("search spaces"):
        try:
            space = read_space(content, "space.yaml", train_settings(find_wing("walk")))
        except ValueError as error:
            assert str(error).strip()
            return
        assert set(space.dimensions) <= set(content)


MANIFEST = {
    "domain": "walk", "stage": "label", "name": "a", "seed": 0, "identity": {}, "inputs": {}, "files": {}, "rows": {},
    "digest": "d", "cost": {}, "facts": {}, "versions": {}, "git_commit": None, "created": "now",
}  # fmt: skip
paths = st.lists(st.sampled_from(["..", "a", ".", "", "~", "C:", "b\\c", "labels"]) | st.text(max_size=3), max_size=4)


@fuzz(3_000)
@given(field=st.sampled_from(sorted(MANIFEST)), new=value, name=paths.map("/".join))
def test_manifests_name_no_file_outside_of_their_folder(field: str, new: Any, name: str) -> None:
    with tried("manifests", 2):
        for content in (MANIFEST | {field: new}, MANIFEST | {"files": {name: {"bytes": 1, "sha256": "s"}}}):
            try:
                made = Manifest.model_validate_json(json.dumps(content).encode())
            except (ValidationError, ValueError):
                continue
            assert made.fingerprint
            for inside in made.files:
                place = Path("/store/artifact", inside)
                assert ".." not in place.parts and place.is_relative_to("/store/artifact")


def _fields() -> bytes:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file["tensor"] = np.zeros((2, 3, 8), np.float32)
        file["t-coordinate"] = np.arange(4.0)
    return buffer.getvalue()


def _parquet() -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"a": [1, 2]}), sink)
    return sink.getvalue().to_pybytes()


damaged = st.builds(
    lambda whole, at, noise, end: (whole[:at] + noise + whole[at + len(noise) :])[: len(whole) - end],
    st.sampled_from([_fields(), _parquet()]), st.integers(0, 4000), st.binary(max_size=6), st.integers(0, 900),
)  # fmt: skip


@fuzz(1_000)
@given(data=damaged)
def test_damaged_files_of_fields_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    file = tmp_path_factory.getbasetemp() / "fields.h5"
    file.write_bytes(data)
    with tried("files of fields", 2):
        for read in (lambda: _all_of(file), lambda: read_grid(file)):
            try:
                read()
            except (ValueError, OSError, KeyError, RuntimeError) as error:
                assert str(error)


def _all_of(path: Path) -> None:
    with open_hdf5(path) as file:
        for name in file:
            file[name][()]


def test_a_hundred_thousand_inputs_were_tried() -> None:
    assert sum(TRIED.values()) >= 100_000, dict(TRIED)
