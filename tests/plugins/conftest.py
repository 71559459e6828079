"""The packages of docs/extending.md, built and installed as anybody's would be."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

HERE = Path(__file__).parent
PACKAGES = ("extras", "game24", "heat")
Run = Callable[..., subprocess.CompletedProcess]


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the packages in it."""
    target, source = tmp_path_factory.mktemp("site"), tmp_path_factory.mktemp("source")
    for name in PACKAGES:  # copied, since building leaves files beside the sources
        (source / name).mkdir()
        for file in (*(HERE / name).glob("*.py"), HERE / name / "pyproject.toml"):
            (source / name / file.name).write_bytes(file.read_bytes())
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--target", str(target), *(str(source / name) for name in PACKAGES)], check=True)
    return target


@pytest.fixture(scope="session")
def run(site: Path) -> Run:
    """Run a Python command line with the packages installed, in a process of its own."""

    def run(*arguments: str, **options: object) -> subprocess.CompletedProcess:
        path = os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])
        environment = {**os.environ, "PYTHONPATH": path, **options.pop("environment", {})}
        command = [sys.executable, *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, **options)

    return run
