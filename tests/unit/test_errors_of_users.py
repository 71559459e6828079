"""What a person is told who typed something wrong: what was expected, what came, what to do. One list of them all."""

import re
import shlex

import pytest

from stepward.cli import main
from stepward.cli.main import as_jobs

# command line -> pieces of what is said
WRONG = {
    "lable": ["no command 'lable'", "Did you mean 'label'"],
    "label problms.num_train=3": ["problms: there is no such setting; did you mean 'problems'"],
    "label problems.num_train=many": ["problems.num_train", "valid integer", "'many'"],
    "label problems.num_train=0": ["problems.num_train", "greater than or equal to 1"],
    "label name=../x": ["name: expected a name of letters", "got '../x'", "not its path"],
    "label 'name=my run'": ["name: expected a name of letters", "got 'my run'", "Choose another"],
    "label domain=wlak": ["'wlak'", "walk"],
    "label settings.yaml": ["settings.yaml: expected a YAML file, but there is none", "overrides are key=value"],
    "label folder": ["folder: expected a YAML file, got a folder"],
    "label bad.yaml": ["bad.yaml: not valid YAML"],
    "label --name": ["--name: expected a value after it"],
    "label store=file": ["expected a store that can be written"],
    "label problems.path=none.jsonl": ["none.jsonl"],
    "label domain=math proposer.model=/nonexistent": ["model: expected 'embedded', a folder", "'/nonexistent'"],
    "label domain=math mining.model.model=./none.gguf": ["model: expected 'embedded'", "'./none.gguf'"],
    "label domain=math labels.kind=givn": ["labels.kind: expected one of continuations", "'givn'"],
    "label tracking.uri=foo": ["tracking.uri=foo: expected sqlite:///FILE", "Did you mean sqlite:///foo"],
    "train": [
        "expected a finished walk label artifact",
        "python jobs/label.py domain=walk store=artifacts name=default",
    ],
    "train domain=math store=other": ["python jobs/label.py domain=math store=other name=default"],
    "train label=artifacts/walk/label/default": ["Give its name alone, not its path"],
    "train learner.kind=transformer": ["learner.kind: expected one of mlp, hmm", "'transformer'"],
    "train learner.kind=hmm optimisation.num_epochs=3": ["would have no effect", "optimisation"],
    "tune space=none.yaml": ["expected a YAML file or a space of the domain", "tune_spaces/walk_prm.yaml"],
    "evaluate searches.x.search.kind=best_frst searches.x.budget=9": ["best_first", "best_frst"],
    "evaluate measure=solvd": ["solved"],
    "report": ["Nothing to report", "python jobs/evaluate.py"],
    "track artifact=artifacts/walk/evaluate/default": ["does not exist"],
    "experiment tune.search.num_samples=0": ["num_samples"],
    "experiment label.store=elsewhere": ["expected store once, for the whole experiment"],
    "pretrain domain=walk": ["nothing that is pretrained"],
}


def _said(words, capsys):
    with pytest.raises(SystemExit) as stop:
        main(shlex.split(words))
    assert stop.value.code not in (0, None)
    out = capsys.readouterr()
    return re.sub(r"\s+", " ", out.err + out.out)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a file that is no store, a folder that is no file, and a file that is no YAML."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    (tmp_path / "bad.yaml").write_text("a: [1")


@pytest.mark.parametrize("words", WRONG)
def test_an_error_says_what_was_expected_what_came_and_what_to_do(words, here, capsys):
    said = _said(words, capsys)
    print(f"$ stepward {words}\n{said}")  # noqa: T201  pytest -s shows them all
    assert "Traceback" not in said
    for piece in WRONG[words]:
        assert as_jobs(piece) in said, said
