"""docs/extending.md shows the code of these packages, and nothing else."""

import re
from pathlib import Path

import yaml

from stepward.core.wing import find_wing
from stepward.evaluate.settings import evaluate_settings

HERE = Path(__file__).parent
ELSEWHERE = ("class MyNetSettings", "torch.export", "from stepward.testing")  # fields; and what is tested in its place


def blocks(project_root: Path, language: str) -> list[str]:
    text = (project_root / "docs" / "extending.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)


def test_every_block_of_python_is_of_a_package_that_is_run(project_root):
    sources = [file.read_text(encoding="utf-8") for file in HERE.glob("*/*.py")]
    found = [block for block in blocks(project_root, "python") if not any(word in block for word in ELSEWHERE)]
    assert len(found) >= 10
    for block in found:
        for part in block.strip().split("\n\n\n"):
            assert any(part in source for source in sources), part


def test_every_entry_point_is_of_a_package(project_root):
    points = "".join(file.read_text(encoding="utf-8") for file in HERE.glob("*/pyproject.toml"))
    for block in blocks(project_root, "toml"):
        assert block in points or "mynet" in block, block


def test_the_settings_of_a_search_are_what_an_evaluation_takes(project_root, monkeypatch, site):
    monkeypatch.syspath_prepend(str(site))
    (block,) = (text for text in blocks(project_root, "yaml") if "curious" in text)
    made = evaluate_settings(find_wing("walk")).model_validate(yaml.safe_load(block))
    assert made.searches["curious"].search == {"kind": "curious", "epsilon": 0.2}
