"""Models are told apart by the content of their folders."""

from pathlib import Path

import pytest

from stepward.core.stage import FOLDERS, StageSettings
from stepward.core.weights import data_digest, weights_digest


class Naming(StageSettings):
    model: str = ""


def folder(path: Path, weights: bytes = b"weights", **files: str) -> Path:
    path.mkdir()
    (path / "model.safetensors").write_bytes(weights)
    for name, text in files.items():
        (path / f"{name}.json").write_text(text)
    return path


def test_equal_content_elsewhere_is_the_same_and_other_content_is_not(tmp_path: Path) -> None:
    first = folder(tmp_path / "a", config="{}")
    (first / "checkpoint").mkdir()
    (first / "notes.md").write_text("nothing of weight")
    assert weights_digest(str(first)) == weights_digest(str(folder(tmp_path / "b", config="{}")))
    others = [
        folder(tmp_path / "c", b"others", config="{}"),
        folder(tmp_path / "d", config='{"x": 1}'),
        folder(tmp_path / "e", config="{}", tokenizer="{}"),
    ]
    digests = [weights_digest(str(path)) for path in (first, *others)]
    assert len(set(digests)) == 4
    (first / "model.safetensors").write_bytes(b"retrained")
    assert weights_digest(str(first)) not in digests


def test_chat_templates_and_files_of_weights_count(tmp_path: Path) -> None:
    first = folder(tmp_path / "a")
    before = weights_digest(str(first))
    (first / "chat_template.jinja").write_text("{{ messages }}")
    assert weights_digest(str(first)) != before
    packed = tmp_path / "model.gguf"
    packed.write_bytes(b"GGUF")
    before = weights_digest(str(packed))
    packed.write_bytes(b"GGUF, other")
    assert before is not None and weights_digest(str(packed)) not in (before, None)


@pytest.mark.parametrize("text", ["", "embedded", "Qwen/Qwen2.5-0.5B", "{question}\n", "x" * 5000, "a\0b"])
def test_texts_that_name_no_folder(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert weights_digest(text) is None
    assert FOLDERS not in Naming(model=text).identity()


def test_identities_hold_the_digest_of_what_settings_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(folder(tmp_path / "model"))
    before = Naming(model=path).identity()
    assert before[FOLDERS] == {path: weights_digest(path)}
    (tmp_path / "model" / "model.safetensors").write_bytes(b"retrained")
    assert Naming(model=path).identity() != before
    monkeypatch.chdir(tmp_path)
    (tmp_path / "artifacts" / "walk" / "pretrain").mkdir(parents=True)
    folder(tmp_path / "artifacts" / "walk" / "pretrain" / "default")
    assert FOLDERS not in Naming(model="artifacts/walk/pretrain/default").identity(), "artifacts are inputs"


def test_problems_of_a_file_or_a_folder_are_told_by_what_they_hold(tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "deep").mkdir(parents=True)
    (data / "a.jsonl").write_text("1")
    (data / "deep" / "b.jsonl").write_text("2")
    first = data_digest(str(data))
    assert first == data_digest(str(data)) is not None
    (data / "deep" / "b.jsonl").write_text("3")
    second = data_digest(str(data))
    (data / "deep" / "b.jsonl").rename(data / "deep" / "c.jsonl")
    assert len({first, second, data_digest(str(data)), data_digest(str(data / "a.jsonl"))}) == 4
    assert data_digest(str(tmp_path / "none")) is None


def test_the_digest_of_a_pattern_is_of_its_files(tmp_path: Path) -> None:
    pattern = str(tmp_path / "*.csv")
    assert data_digest(pattern) is None
    (tmp_path / "a.csv").write_text("1")
    (tmp_path / "b.jsonl").write_text("2")
    first = data_digest(pattern)
    (tmp_path / "b.jsonl").write_text("other")
    assert data_digest(pattern) == first is not None
    (tmp_path / "a.csv").write_text("22")
    assert data_digest(pattern) != first
