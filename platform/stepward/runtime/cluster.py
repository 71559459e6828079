"""Connecting to Ray: a quiet cluster of this machine for the length of a job, or one that is there already."""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import Field

import stepward
from stepward.core.config import Config

logger = logging.getLogger("stepward.cluster")

JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"  # set by Ray in what `ray job submit` starts


class ClusterSettings(Config):
    """Which Ray cluster does the work."""

    address: str | None = Field(
        None,
        description="auto, host:port, or local for a cluster of the job's own; "
        "none: that of RAY_ADDRESS or of the submitted job, else local",
    )
    num_cpus: int | None = Field(None, ge=1, description="CPUs of a local cluster; none: all of this machine")
    num_gpus: int | None = Field(None, ge=0, description="GPUs of a local cluster; none: all of this machine")
    object_store_mb: int = Field(512, ge=80, description="shared memory of a local cluster in MB")

    def resolved_address(self) -> str:
        """The address after looking at the environment."""
        if self.address is not None:
            return self.address
        return "auto" if os.environ.get("RAY_ADDRESS") or os.environ.get(JOB) else "local"


@contextmanager
def connect(cluster: ClusterSettings) -> Iterator[None]:
    """Ray for the length of a block. Inside another such block, or where Ray runs in this process, that one is used.

    Workers get the copy of this package that the driver imported.

    Raises:
        ConnectionError: there is no cluster at the address.
    """
    address = cluster.resolved_address()
    if address == "local":
        _own_token()
        _own_package()
    import ray

    if ray.is_initialized():
        _quiet()
        yield
        return
    logger.info("Driver uses stepward from %s", package_path())
    ray.init(**_init_arguments(cluster, address))
    _quiet()
    try:
        yield
    finally:
        ray.shutdown()


def package_path() -> str:
    """Folder of the copy of this package that was imported."""
    return str(Path(stepward.__file__).parent)


def resources() -> dict[str, float]:
    """CPUs and GPUs of the cluster as it is now; an autoscaling cluster may grow."""
    import ray

    found = ray.cluster_resources()
    return {"CPU": found.get("CPU", 0.0), "GPU": found.get("GPU", 0.0)}


def _init_arguments(cluster: ClusterSettings, address: str) -> dict[str, Any]:
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address != "local":
        return quiet | {"address": address, "runtime_env": {"py_modules": [package_path()]}}
    return quiet | {
        "address": "local",
        "num_cpus": cluster.num_cpus,
        "num_gpus": cluster.num_gpus,
        "include_dashboard": False,
        "object_store_memory": cluster.object_store_mb * 2**20,
    }


def _own_token() -> None:
    """A local cluster gets a token of its own: nobody else on the machine gets in, and none is written to a file."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if not {"RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & set(os.environ):
        os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}


def _own_package() -> None:
    """Workers of a local cluster inherit the environment: they import the driver's copy, not an installed one."""
    root, known = str(Path(package_path()).parent), os.environ.get("PYTHONPATH", "")
    if root not in known.split(os.pathsep):
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [root, known]))


def _quiet() -> None:
    """One progress display, ours: Ray's own bars and notes are off; its logs stay in its session folder."""
    from ray.data import DataContext

    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
