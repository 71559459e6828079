"""The code of the tutorials runs as it stands."""

import json
import re
import runpy
from pathlib import Path

import pytest

import stepward
from stepward.domains.math.synthetic import WordProblemFamily

DOCS = Path(__file__).parents[2] / "docs"
SIZES = (("train", 6), ("validation", 2), ("test", 3))


def _blocks(page):
    return re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _run(page, folder):
    script = folder / "page.py"
    script.write_text("\n".join(_blocks(page)))
    return runpy.run_path(str(script))


@pytest.mark.slow  # half a minute: a language model samples, a PRM is trained and evaluated
def test_ones_own_model_and_problems(here):
    family = WordProblemFamily()
    rows = [
        {"question": problem.question, "answer": problem.answer, "split": split}
        for split, number in SIZES
        for problem in family.problems(5, split, number)
    ]
    (here / "mine.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    (here / "my-model").symlink_to(Path(stepward.__file__).parent / "domains" / "math" / "embedded")
    names = _run("notebook.md", here)
    assert names["found"].solutions[0][-1] == "#### 7"
    assert {"prm", "majority", "likelihood"} <= set(names["comparison"].summary["arm"])
    assert len(names["prm"].score("a?", ["b", "c"])) == 2


def test_ones_own_model_takes_at_most_fifteen_lines():
    assert len(_blocks("notebook.md")[0].strip().splitlines()) <= 15


@pytest.mark.slow  # a minute: everything of the walk at a tenth of its size
def test_the_number_walk(here):
    names = _run("tutorials/walk.md", here)
    rates = names["comparison"].table("frontier").set_index(["arm", "budget"])["solve_rate"]
    assert rates["prm", 20] > rates["random", 20]
    assert "exact" in names["labels"].table.columns
    assert Path(names["page"].path).is_file()


@pytest.mark.slow  # a minute: a surrogate is pretrained, its candidates are ranked, a PRM is trained
def test_flow_fields(here):
    names = _run("tutorials/fields.md", here)
    assert {"deterministic", "prm", "oracle"} <= set(names["comparison"].summary["arm"])


@pytest.mark.slow  # half a minute
def test_the_quickstart_of_the_readme(here, capsys):
    _run("../README.md", here)
    said = capsys.readouterr().out
    assert "prm" in said and "solved at 10:" in said
