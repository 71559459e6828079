"""A real `transformers serve` as proposer: the texts of this process, and labels that survive its death."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from stepward.core.artifacts import Artifact
from stepward.core.config import parse_config
from stepward.core.seeding import Rng
from stepward.core.wing import find_wing
from stepward.domains.math import LanguageModelSettings, MathProblems, ServerSettings, math_states
from stepward.runtime.labelling import label_job

pytest.importorskip("openai", reason="transformers serve needs the package openai")
pytestmark = [pytest.mark.slow, pytest.mark.ray]  # a server, a job that is stopped and goes on: two minutes
GREEDY = {"temperatures": "[0.0]"}


@contextmanager
def serving(folder: Path, port: int) -> Iterator[Callable[[], None]]:
    """`transformers serve` on a port; yields what kills it."""
    command = [Path(sys.executable).parent / "transformers", "serve", folder, "--port", str(port), "--device", "cpu"]
    with (folder / "serve.log").open("ab") as log:
        process = subprocess.Popen([*command, "--dtype", "float32"], stdout=log, stderr=log, start_new_session=True)

    def kill() -> None:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    try:
        for _ in range(240):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
                break
            except OSError:
                assert process.poll() is None, (folder / "serve.log").read_text()[-2000:]
                time.sleep(0.5)
        yield kill
    finally:
        kill()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served") / "embedded"
    shutil.copytree(str(files("stepward.domains.math") / "embedded"), folder)
    return folder


@pytest.fixture(scope="module")
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def test_greedy_texts_are_those_of_this_process_with_32_requests_in_flight(folder: Path, port: int) -> None:
    problems = math_states(MathProblems(num_test=48).problems("test", 0)[0])
    with serving(folder, port):
        server = ServerSettings(url=f"http://127.0.0.1:{port}/v1", model=str(folder), temperatures=(0.0,), in_flight=32)
        own = LanguageModelSettings(temperatures=(0.0,)).build()
        rng = Rng.from_seed(0, len(problems), "test")
        here, there = (p.complete(problems, num_continuations=1, rng=rng) for p in (own, server.build()))
        for name in ("text", "ending", "num_steps", "num_tokens"):
            np.testing.assert_array_equal(getattr(here, name), getattr(there, name))
        begun = there.replace(text=problems.text, ending=problems.ending, num_steps=problems.num_steps)
        lines = [p.propose(begun, num_candidates=1, rng=rng) for p in (own, server.build())]
        for name in ("text", "ending", "last_tokens"):
            np.testing.assert_array_equal(getattr(lines[0], name), getattr(lines[1], name))


def test_a_server_that_is_killed_and_started_again_loses_nothing(
    folder: Path, port: int, tmp_path: Path, project_root: Path
) -> None:
    few = ["problems.num_train=20", "problems.num_validation=2", "problems.num_test=2"]
    few += [f"labels.num_rollouts_{split}=1" for split in ("train", "validation", "test")]
    few += ["pool.num_actors=1", "pool.batch_size=10", "mining.samples_per_problem=1"]
    served = {"kind": "server", "url": f"http://127.0.0.1:{port}/v1", "model": str(folder), "deadline": "4", **GREEDY}
    blocks = [f"{part}.{key}={value}" for part in ("proposer", "mining.model") for key, value in served.items()]
    settings = ["domain=math", f"store={tmp_path}", "tracking.enabled=false", *few]
    command = [sys.executable, "jobs/label.py", *settings, *blocks]
    artifact, run = Artifact(str(tmp_path), "math", "label", "default"), {"cwd": project_root, "text": True}
    with serving(folder, port) as kill:
        job = subprocess.Popen(command, stderr=subprocess.PIPE, **run)
        while len(artifact.folder.files("labels")) < 2:
            assert job.poll() is None, job.stderr.read()
            time.sleep(0.1)
        kill()
        error = job.communicate(timeout=120)[1]
    assert job.returncode == 1 and "took no request" in error and "then run the same command again" in error
    done = len(artifact.folder.files("labels"))
    with serving(folder, port):
        again = subprocess.run(command, capture_output=True, timeout=300, check=False, **run)
        assert again.returncode == 0, again.stderr
    manifest = artifact.open()
    assert manifest.rows["dead_letters"] == 0 and 2 <= done < manifest.facts["batches"]
    found = artifact.folder.read_table("labels")
    here = parse_config(label_job(find_wing("math")), [*settings, "proposer.temperatures=[0.0]"])
    task = here.labels.task(here, 64)
    for split in ("train", "validation", "test"):
        rows = found.filter([name == split for name in found["split"].to_pylist()])
        assert task.label(rows.drop_columns(["successes", "num_rollouts", "status"]))["successes"] == rows["successes"]
