"""Labels in the forms of other libraries, and back through their own loaders and ours."""

import json
from pathlib import Path
from typing import Any

import datasets
import pyarrow.parquet as pq
import pytest

from stepward.core.config import parse_config
from stepward.core.wing import find_wing
from stepward.domains.math.readers import read_openrlhf, read_prm800k, read_trl
from stepward.label import LabelSettings, LabelWork, finish, label_settings, plan
from stepward.runtime.exporting import export_job, run_export

WING = find_wing("math")
ROWS: list[dict[str, Any]] = [
    {"question": "2+3?", "answer": "5", "steps": ["2 and 3", "make 6", "A: 6"], "ratings": [1, -1, None], "id": "a"},
    {"question": "2+3?", "answer": "5", "steps": ["2 and 3", "make 5"], "labels": [True, True], "id": "b"},
    {"question": "1+1?", "answer": "2", "steps": ["hm", "A: ки"], "ratings": [None, 1], "id": "c"},
]
A, B = ("2 and 3", "make 6"), ("2 and 3", "make 5")  # what is labelled of them


def labelled(store: Path, path: Path, form: str = "steps", name: str = "default") -> LabelSettings:
    """Given labels as an artifact."""
    values = [f"store={store}", "labels.kind=given", f"labels.path={path}", f"labels.format={form}", f"name={name}"]
    settings = parse_config(label_settings(WING), ["domain=math", *values, "labels.split=train"])
    work = LabelWork(settings.artifact("label"), settings.identity())
    work.artifact.begin(settings.identity())
    plan(settings, work, 100)
    task = settings.labels.task(settings, 1)
    for batch in work.left():
        work.commit(batch, *task(work.rows(batch)))
    finish(settings, work, 0.0)
    return settings


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("store")
    (folder / "rated.jsonl").write_text("\n".join(json.dumps(row) for row in ROWS))
    labelled(folder, folder / "rated.jsonl")
    return folder


def exported(store: Path, kind: str, *values: str) -> Path:
    common = [f"store={store}", "domain=math", f"name={kind}{len(''.join(values))}", "tracking.enabled=false"]
    settings = parse_config(export_job(WING), [*common, f"form.kind={kind}", *values])
    made = run_export(settings)
    assert run_export(settings).was_finished and made.manifest.inputs["label"]
    return Path(made.url)


def test_trl_reads_prompt_completions_and_labels(store: Path, tmp_path: Path) -> None:
    folder = exported(store, "trl")
    data = datasets.load_dataset("json", data_files=str(folder / "train.jsonl"), split="train", cache_dir=str(tmp_path))
    assert data.features == datasets.Features(
        prompt=datasets.Value("string"),
        completions=datasets.List(datasets.Value("string")),
        labels=datasets.List(datasets.Value("bool")),
    ), "the columns that TRL's documentation names"
    found = {tuple(row["completions"]): row["labels"] for row in data}
    assert found == {A: [True, False], B: [True, True]}
    [dead] = pq.read_table(folder / "dead_letters.parquet").to_pylist()
    assert dead["id"] == "c/2" and "expected a label of the first step" in dead["error"]
    back, _ = read_trl(folder / "train.jsonl")
    assert {s.steps: s.ratings for s in back} == {A: (1, -1), B: (1, 1)}


def test_openrlhf_reads_a_placeholder_and_a_value_a_step(store: Path) -> None:
    for values, expected in (
        ([], {A: ["+", "-"], B: ["+", "+"]}),
        (["form.reward_tokens=null"], {A: [1, 0], B: [1, 1]}),
    ):
        file = exported(store, "openrlhf", *values) / "train.jsonl"
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        assert all(row["input"].count("ки") == len(row["value"]) for row in rows)
        back, rejected = read_openrlhf(file)
        assert {s.steps: row["value"] for s, row in zip(back, rows, strict=True)} == expected and not rejected
        assert {s.steps: s.ratings for s in back} == {A: (1, -1), B: (1, 1)}
        assert {s.problem.question for s in back} == {"2+3?"}


def test_prm800k_rows_keep_steps_without_a_label(store: Path) -> None:
    back, rejected = read_prm800k(exported(store, "prm800k") / "train.jsonl")
    assert not rejected
    assert {s.steps: s.ratings for s in back} == {A: (1, -1), B: (1, 1), ("hm", "A: ки"): (None, 1)}
    assert {s.problem.answer for s in back} == {"5", "2"}


def test_datasets_open_the_folder_and_given_labels_come_back_as_they_were(store: Path, tmp_path: Path) -> None:
    folder = exported(store, "datasets")
    data = datasets.load_from_disk(str(folder))["train"]
    assert {tuple(row["steps"]): row["values"] for row in data} == {A: [1, 0], B: [1, 1], ("hm", "A: ки"): [None, 1]}
    for form in ("steps", "prm800k"):
        labelled(tmp_path, exported(store, form) / "train.jsonl", form, form)
        assert counts(tmp_path, form) == counts(store, "default")
    labelled(tmp_path, folder, "steps", "folder")
    assert counts(tmp_path, "folder") == counts(store, "default")


def counts(store: Path, name: str) -> set[tuple[str, int, int]]:
    settings = parse_config(label_settings(WING), ["domain=math", f"store={store}", f"name={name}"])
    rows = settings.artifact("label").folder.read_table("labels").to_pylist()
    return {(row["text"], row["successes"], row["num_rollouts"]) for row in rows}


def test_what_a_form_cannot_say(store: Path) -> None:
    with pytest.raises(ValueError, match="expected solutions with labelled steps, got none"):
        exported(store, "openrlhf", "form.placeholder=2")
