"""The code of docs/notebook.md runs as it stands."""

import json
import re
import runpy
from pathlib import Path

import pytest

from stepward.domains.math.synthetic import WordProblemFamily

GUIDE = Path(__file__).parents[2] / "docs" / "notebook.md"
SIZES = (("train", 6), ("validation", 2), ("test", 3))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A user's folder: a model and a file of problems; optimisation and studies at sizes of a test."""
    family = WordProblemFamily()
    rows = [
        {"question": problem.question, "answer": problem.answer, "split": split}
        for split, number in SIZES
        for problem in family.problems(5, split, number)
    ]
    (tmp_path / "mine.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    (tmp_path / "my-model").symlink_to(
        Path(importlib.util.find_spec("stepward").origin).parent / "domains/math/embedded"
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _blocks():
    return re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)


@pytest.mark.slow  # half a minute: a language model samples, a PRM is trained and evaluated
def test_the_code_of_the_guide_runs_as_it_stands(folder):
    (folder / "guide.py").write_text("\n".join(_blocks()))
    names = runpy.run_path(str(folder / "guide.py"))
    assert names["found"].solutions[0][-1] == "#### 7"
    assert {"prm", "majority", "likelihood"} <= set(names["comparison"].summary["arm"])
    assert len(names["prm"].score("a?", ["b", "c"])) == 2


def test_the_first_block_is_at_most_fifteen_lines():
    assert len(_blocks()[0].strip().splitlines()) <= 15
