"""Who makes an artifact behind a URL: one job at a time, also after a kill, and on a real S3 server that throttles."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from s3_server import S3Server, s3_server
from stepward.core import leases, storage
from stepward.core.artifacts import Artifact
from stepward.core.leases import leased
from stepward.core.storage import Folder, StoreError


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "BEAT", 0.05)
    monkeypatch.setattr(leases, "DEAD", 0.5)
    monkeypatch.setattr(storage, "WAITS", (0.05,) * 5)


@pytest.fixture
def place(tmp_path: Path) -> Folder:
    return Folder(f"memory://{tmp_path.name}/.locks/a")


def test_a_lease_that_is_held_is_refused_and_one_that_ended_is_free_at_once(place: Folder) -> None:
    with leased(place, "a"), pytest.raises(StoreError, match=r"another job \(process \d+ on .*\) is making it"):
        leases._take(place, "a")
    for _ in range(3):
        started = time.monotonic()
        with leased(place, "a"):
            assert time.monotonic() - started < leases.DEAD
        assert len(place.files()) == 1


def test_what_a_dead_job_held_is_taken_after_a_while_and_at_once_where_its_process_is_known_to_be_gone(
    place: Folder,
) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        pass
    for machine, seconds in (
        ({"host": leases._machine(), "process": gone.pid}, 0.0),
        ({"host": "other", "process": 1}, 0.5),
    ):
        number, _ = leases._take(place, "a")
        place.write_bytes(number, json.dumps(machine).encode())
        started = time.monotonic()
        with leased(place, "a"):
            assert seconds <= time.monotonic() - started < seconds + 0.4


def test_a_job_that_was_taken_for_dead_is_told(place: Folder, caplog: pytest.LogCaptureFixture) -> None:
    with leased(place, "a"):
        place.write_bytes("000002", b"{}")
        time.sleep(0.3)
    assert "another job took this one for dead" in caplog.text


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with pytest.MonkeyPatch.context() as patch, s3_server(patch) as found:
        yield found


def test_of_many_jobs_on_s3_that_begin_at_once_one_makes_the_artifact(server: S3Server) -> None:
    """Answers are lost now and then: who wrote its lease and does not know it must find it."""
    server.lose, inside, most, refused = 7, [], [], []
    gate = threading.Barrier(8)

    def job(_: int) -> None:
        gate.wait()
        try:
            with Artifact("s3://store/many", "walk", "label", "a").claim({}):
                inside.append(1)
                most.append(len(inside))
                time.sleep(0.3)
                inside.pop()
        except StoreError as error:
            refused.append(str(error))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(job, range(8)))
    server.lose = 0
    assert all("another job" in text for text in refused)
    assert len(most) >= 1 and max(most) == 1 and len(most) + len(refused) == 8


def test_files_on_s3_are_whole_in_one_request_and_survive_throttling(server: S3Server) -> None:
    folder = Folder("s3://store/files")
    server.counts.clear()
    folder.write_bytes("a/b", b"1")
    assert server.counts["PUT"] == 1 and server.counts["POST"] == 0
    server.slow_down, server.fail = 4, 3
    for i in range(3):
        folder.write_bytes(f"many/{i}", bytes(i))
    assert [folder.read_bytes(f"many/{i}") for i in range(3)] == [bytes(i) for i in range(3)]
    assert folder.create("once", b"mine") and not folder.create("once", b"other") and folder.create("once", b"mine")
    folder.delete("many")
    server.slow_down = server.fail = 0
    assert folder.files() == ["a/b", "once"] and server.counts["slow_down"] and server.counts["fail"]


def test_a_store_that_is_not_there_is_said(server: S3Server) -> None:
    with (
        pytest.raises(StoreError, match=r"s3://nowhere.*expected a store that can be written"),
        Artifact("s3://nowhere/x", "walk", "label", "a").claim({}),
    ):
        pass
    with pytest.raises(ValueError, match="expected a URL without options"):
        Folder("s3://store/a?region=eu-west-1")
