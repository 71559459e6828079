"""What every test shares: run-time type checks, hypothesis profiles, one Ray cluster, the optional data folder.

The import hook below checks every annotated call inside `stepward`, array shapes included, in this process only: Ray
workers are processes of their own that import the plain package. `STEPWARD_TYPECHECK=0` switches it off, to tell a
wrong annotation from a wrong result. It must be installed before anything imports `stepward`.
"""

import logging
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

# Before numpy and torch are imported: one thread each, so that tests do not fight for the cores with Ray's workers.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("MPLBACKEND", "Agg")
# Ray reads these once, at its import. The token is of this session alone, so nothing is written to the home folder.
os.environ["RAY_AUTH_MODE"] = "token"
os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)

import hypothesis
import pytest
from jaxtyping import install_import_hook

ROOT = Path(__file__).resolve().parents[1]

if os.environ.get("STEPWARD_TYPECHECK", "1") == "1":
    install_import_hook("stepward", "typechecking.checked")

# `ci`, the default: the same examples on every run, and no failure because a shared core was busy.
# `explore` looks for new counter-examples: HYPOTHESIS_PROFILE=explore make test
hypothesis.settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True)
hypothesis.settings.register_profile("explore", max_examples=1000, deadline=None, print_blob=True)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


@pytest.fixture(scope="session")
def project_root() -> Path:
    """The folder of pyproject.toml."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """`../shared/data`, where larger data sets may lie beside the project; without it the test is skipped."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no folder ../shared/data beside the project; see datasets/ for how to get the data sets")
    return folder


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[str]:
    """One local Ray cluster of two CPUs for the whole test session (a start takes several seconds); its address.

    Use it from tests marked `ray`. The temporary folder is short because Unix socket paths end at 107 bytes.
    """
    import ray

    folder = tempfile.mkdtemp(prefix="sw-", dir="/tmp")
    patch = pytest.MonkeyPatch()
    patch.setenv("RAY_TMPDIR", folder)
    try:
        context = ray.init(
            address="local",
            num_cpus=2,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.WARNING,
            object_store_memory=256 * 2**20,
            _temp_dir=folder,
        )
        yield context.address_info["address"]
    finally:
        ray.shutdown()
        patch.undo()
        shutil.rmtree(folder, ignore_errors=True)
