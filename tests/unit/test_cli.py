"""The command line: one entry point, main settings first, errors that say what was expected."""

import subprocess
import sys
from contextlib import suppress

import pytest

from stepward.cli import main
from stepward.cli.commands import COMMANDS
from stepward.cli.completion import complete
from stepward.cli.main import as_jobs
from stepward.core.config import dotted_fields
from stepward.core.storage import Folder
from stepward.core.wing import find_wing
from stepward.runtime.doctor import doctor_job, run_doctor


def _shown(capsys, *argv):
    with suppress(SystemExit):
        main(list(argv))
    return capsys.readouterr().out


def test_every_command_is_listed_and_every_file_of_jobs_is_a_command(capsys, project_root):
    shown = _shown(capsys)
    assert all(f"  {name} " in shown for name in COMMANDS)
    jobs = {path.stem for path in (project_root / "jobs").glob("[a-z]*.py")}
    assert jobs == set(COMMANDS)


@pytest.mark.parametrize("domain", ["walk", "math", "pde"])
@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in ("data", "track")])
def test_help_shows_the_main_settings_that_exist(capsys, name, domain):
    settings_for, _ = COMMANDS[name].load()
    try:
        settings_for(find_wing(domain))
    except ValueError as error:
        pytest.skip(str(error))  # the domain has nothing of that
    shown = _shown(capsys, name, f"domain={domain}", "--help")
    known = dotted_fields(settings_for(find_wing(domain)))
    wanted = [setting for setting in COMMANDS[name].main if setting in known]
    assert all(f"--{setting} " in shown for setting in wanted)
    assert len(shown.splitlines()) < 60
    if wanted:
        assert "settings in all: --help-all" in shown


@pytest.mark.parametrize("name", COMMANDS)
def test_main_settings_are_settings_of_some_domain(name):
    settings_for, _ = COMMANDS[name].load()
    known: set[str] = set()
    for domain in ("walk", "math", "pde"):
        with suppress(ValueError):  # a domain that has nothing of that
            known |= set(dotted_fields(settings_for(find_wing(domain))))
    kinds = {setting.removesuffix(".kind") for setting in COMMANDS[name].main}
    assert {setting for setting in kinds if setting not in known} == set()


def test_all_settings_stand_under_their_kind(capsys):
    shown = _shown(capsys, "label", "--help-all")
    lines = [line.strip() for line in shown.splitlines()]
    choice = next(i for i, line in enumerate(lines) if line.startswith("--labels.method.kind"))
    assert "[fixed|adaptive|first_error|outcome; default fixed]" in lines[choice]
    kind = next(i for i, line in enumerate(lines) if line.startswith("labels.method.kind=adaptive"))
    assert lines[kind + 1].startswith("--labels.method.width")


def test_an_experiment_says_shared_settings_once(capsys):
    shown = _shown(capsys, "experiment", "--help-all")
    assert "--store " in shown
    assert "--label.store" not in shown
    assert "--evaluate.cluster" not in shown


def test_an_unknown_command_is_named(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["lable"])
    assert stop.value.code == 2
    assert "there is no command 'lable'. Did you mean 'label'?" in capsys.readouterr().err


def test_words_speak_of_files_for_who_runs_files():
    assert (
        as_jobs("    stepward label x=1\nof stepward train") == "    python jobs/label.py x=1\nof python jobs/train.py"
    )


def test_completion_knows_commands_and_settings():
    assert complete(["tr"]) == ["train", "track"]
    assert complete(["label", "problems.num_t"]) == ["problems.num_train=", "problems.num_test="]
    assert complete(["label", "domain=math", "--proposer.mod"]) == ["--proposer.model="]
    assert complete(["nothing", "x"]) == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts_of_shells(capsys, shell):
    assert "stepward complete" in _shown(capsys, "completion", shell)


def test_another_shell_is_refused():
    with pytest.raises(SystemExit, match="expected one of bash, zsh, fish, got 'tcsh'"):
        main(["completion", "tcsh"])


def test_the_overview_needs_no_library():
    code = "import sys; from stepward.cli import main; main([]); print({'torch', 'ray'} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip().endswith("set()")


def _doctor(**settings):
    return run_doctor(doctor_job(find_wing("math")).model_validate(settings))


def test_the_doctor_finds_nothing_wrong_here(tmp_path):
    found = _doctor(store=str(tmp_path / "store"), tracking={"uri": f"sqlite:///{tmp_path}/mlflow.db"})
    assert found.exit_code == 0, str(found)
    assert "can be written and read" in str(found)
    assert not Folder(str(tmp_path / "store")).files()


def test_the_doctor_says_what_is_wrong_and_looks_at_the_rest(tmp_path):
    (tmp_path / "file").write_text("")
    uri = "http://someone:hush@127.0.0.1:9"
    found = _doctor(
        store=str(tmp_path / "file"),
        proposer={"model": str(tmp_path / "no-model")},
        tracking={"uri": uri, "timeout": 1},
    )
    wrong = {finding.what: finding.words for finding in found.found if finding.state == "wrong"}
    assert set(wrong) == {"store", "proposer", "MLflow"}
    assert "expected 'embedded', a folder" in wrong["proposer"]
    assert "hush" not in str(found)
    assert found.exit_code == 1


def test_the_doctor_tries_a_proposer(tmp_path):
    found = _doctor(store=str(tmp_path), proposer={"model": "embedded"}, tracking={"enabled": False})
    assert "8 first steps in" in str(found)
