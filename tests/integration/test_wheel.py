"""What is installed from a wheel is the whole platform: commands, models, presets, spaces."""

import os
import subprocess
import sys
import sysconfig
import zipfile

import pytest

pytestmark = pytest.mark.slow  # builds a wheel and starts some interpreters


CLEAN = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def _run(*command, env=CLEAN, **options):
    ran = subprocess.run(command, capture_output=True, text=True, timeout=300, env=env, **options)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory, project_root):
    folder = tmp_path_factory.mktemp("wheel")
    _run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, project_root)
    [built] = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """An environment that has this package from the wheel, and of the libraries those that the tests have."""
    place = tmp_path_factory.mktemp("installed")
    _run(sys.executable, "-m", "venv", place)
    _run(place / "bin" / "python", "-m", "pip", "install", "-q", "--no-deps", wheel)
    return place / "bin", {**CLEAN, "PYTHONPATH": sysconfig.get_path("purelib"), "PYTHONSAFEPATH": "1"}


def test_models_presets_and_spaces_are_inside(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    for wanted in ("embedded/model.safetensors", "presets/paper.yaml", "report/page.html", "tune_spaces/walk_prm.yaml"):
        assert any(name.endswith(wanted) for name in names), wanted
    [metadata] = [name for name in names if name.endswith("METADATA")]
    assert "# Stepward" in zipfile.ZipFile(wheel).read(metadata).decode()


def test_the_console_script_runs_a_stage_in_a_folder_of_its_own(installed, tmp_path):
    scripts, environment = installed
    where = _run(scripts / "python", "-c", "import stepward; print(stepward.__file__)", env=environment, cwd=tmp_path)
    assert where.startswith(str(scripts.parent))
    sizes = ["problems.num_train=20", "problems.num_validation=5", "problems.num_test=5", "mining.per_problem=2"]
    options = [*sizes, "tracking.enabled=false", "cluster.num_cpus=1"]
    said = _run(scripts / "stepward", "label", *options, env=environment, cwd=tmp_path)
    assert "Labelled in" in said


def test_spaces_are_found_from_anywhere(installed, tmp_path):
    scripts, environment = installed
    code = "from stepward.core.wing import find_wing; from stepward.tune.places import *; w = find_wing('walk'); "
    code += "print(default_space(w), len(space_values(default_space(w), w)) > 0)"
    assert _run(scripts / "python", "-c", code, env=environment, cwd=tmp_path).split() == [
        "tune_spaces/walk_prm.yaml",
        "True",
    ]
