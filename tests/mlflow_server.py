"""An MLflow server of a test's own, on a free port, ended with all its workers."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil


def free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return held.getsockname()[1]


def answers(url: str) -> bool:
    """Whether a server says that it is well."""
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=5) as reply:
            return reply.status == 200
    except urllib.error.HTTPError as error:
        return error.code == 401
    except OSError:
        return False


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process and what it started, by their ids."""
    family = [process.pid]
    with suppress(psutil.NoSuchProcess):
        family += [child.pid for child in psutil.Process(process.pid).children(recursive=True)]
    for pid in family:
        with suppress(ProcessLookupError):
            os.kill(pid, 9)
    process.wait(timeout=30)


@contextmanager
def mlflow_server(folder: Path, *options: str) -> Iterator[str]:
    """The server with a database in a folder; its address."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
               "--backend-store-uri", f"sqlite:///{folder}/server.db", *options]  # fmt: skip
    with (folder / "mlflow-server.log").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 120
        while not answers(url):
            assert process.poll() is None and time.monotonic() < deadline, (folder / "mlflow-server.log").read_text()
            time.sleep(0.3)
        yield url
    finally:
        end(process)
