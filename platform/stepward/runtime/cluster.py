"""Connecting to Ray: a quiet cluster of this machine for the length of a job, or one that is there already."""

from __future__ import annotations

import logging
import os
import secrets
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pydantic import Field

from stepward.core.config import Config

logger = logging.getLogger("stepward.cluster")

JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"  # set by Ray in what `ray job submit` starts
PATIENCE = 15.0  # seconds in which a cluster must answer
_local = False  # whether the cluster in use was started here, and so has what it has


class WorkersDiedError(RuntimeError):
    """The workers of a pool died more often than they may."""


class ClusterError(RuntimeError):
    """No cluster answers at the address."""


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
        ClusterError: nobody answers at the address, or not as a Ray cluster does, or Ray was imported too early.
    """
    global _local
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
    _require_answer(os.environ.get("RAY_ADDRESS", address) if address == "auto" else address)
    try:
        ray.init(**_init_arguments(cluster, address))
    except ConnectionError as error:
        raise ClusterError(f"cluster.address={address}: {error}") from None
    _quiet()
    _local = address == "local"
    try:
        yield
    finally:
        _local = False
        ray.shutdown()


def _require_answer(address: str) -> None:
    """Ray itself waits for ever for a cluster that does not answer, and longer for one that is none."""
    if address in ("local", "auto"):
        return
    import grpc
    from ray._private.grpc_utils import init_grpc_channel

    try:
        with init_grpc_channel(address.removeprefix("ray://")) as channel:
            grpc.channel_ready_future(channel).result(timeout=PATIENCE)
    except grpc.FutureTimeoutError:
        raise ClusterError(
            f"cluster.address={address}: expected a Ray cluster, but none answered in {PATIENCE:g} s. Start one "
            "(docs/operations.md), correct the address, or leave it out for a cluster of this machine."
        ) from None


def package_path() -> str:
    """Folder of the copy of this package that was imported."""
    return str(Path(__file__).parents[1])


def resources() -> dict[str, float]:
    """CPUs and GPUs of the cluster as it is now; an autoscaling cluster may grow."""
    import ray

    found = ray.cluster_resources()
    return {"CPU": found.get("CPU", 0.0), "GPU": found.get("GPU", 0.0)}


def require_room(
    setting: str, number: int, cpus: float, gpus: float, reserved: Mapping[str, float] | None = None
) -> None:
    """Check that `number` workers of a pool fit at the same time.

    Args:
        setting: name of the block of settings, for the message.
        cpus, gpus: of a worker.
        reserved: what others will take of the cluster.

    Raises:
        ValueError: they never will, because the cluster is of this machine. On another one, which may grow, it is a
            warning.
    """
    have = {kind: number - (reserved or {}).get(kind, 0.0) for kind, number in resources().items()}
    if number * cpus <= have["CPU"] and number * gpus <= have["GPU"]:
        return
    text = (
        f"{setting}: expected room for {number} worker(s) of {cpus:g} CPUs and {gpus:g} GPUs each, but the cluster has "
        f"{have['CPU']:g} CPUs and {have['GPU']:g} GPUs for them."
    )
    if _local:
        raise ValueError(f"{text} Ask for less.")
    logger.warning("%s The job waits for it to grow; if it cannot, stop the job and ask for less.", text)


def _init_arguments(cluster: ClusterSettings, address: str) -> dict[str, object]:
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
    """A local cluster gets a token of its own: nobody else on the machine gets in, and none is written to a file.

    Raises:
        ClusterError: Ray is imported and not connected: it reads its token when it is imported.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if {"RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & set(os.environ):
        return
    if "ray" not in sys.modules:
        os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    elif not sys.modules["ray"].is_initialized():
        raise ClusterError(
            "cluster.address=local: expected to import Ray, which reads its token then, but it was imported before. "
            "Import ray later, or call ray.init() first: a Ray that runs in this process is used."
        )


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
