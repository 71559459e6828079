"""One process at a time makes an artifact behind a URL, where no operating system locks anything.

A lease is a file of a store that its holder writes again every few seconds. Leases of a name are numbered, and the
newest counts. The next one is taken by creating its file, which of many that try at once one does; it may be taken when
the newest says that it is free, or its holder is dead: a process of this machine that is gone, or one that did not
write for a minute, by the clock of the process that waits. Where a store cannot create a file only if there is none, no
lease is taken, and nothing refused.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from stepward.core.config import Plain
from stepward.core.storage import Folder, StoreError, writable

logger = logging.getLogger("stepward.store")

BEAT = 10.0  # seconds between two writes of a holder
DEAD = 60.0  # seconds without one, after which its lease may be taken
FREE = b"free"


@contextmanager
def leased(place: Folder, what: str) -> Iterator[None]:
    """Hold the newest lease of a folder for as long as the block lasts.

    Args:
        place: where the leases of one name are.
        what: that which is leased, for messages.

    Raises:
        StoreError: another process holds it.
    """
    try:
        with writable(place):
            number, holder = _take(place, what)
    except (ImportError, NotImplementedError) as error:  # fsspec's, of a storage that cannot make a file only once
        logger.warning("%s: nothing keeps another job from making it at the same time (%s)", what, error)
        yield
        return
    over = threading.Event()
    keeper = threading.Thread(target=_keep, args=(place, number, holder, what, over), daemon=True)
    keeper.start()
    try:
        yield
    finally:
        over.set()
        keeper.join()
        with suppress(OSError):  # else it is free in a minute, by itself
            place.write_bytes(number, FREE)


def _take(place: Folder, what: str) -> tuple[str, Plain]:
    newest = max(place.files(), default="000000")
    if newest != "000000":
        _require_free(place, newest, what)
    holder = {"host": _machine(), "process": os.getpid(), "token": uuid.uuid4().hex, "beat": 0}
    number = f"{int(newest) + 1:06d}"
    created = place.create(number, json.dumps(holder).encode())
    leases = place.files()
    if not created or max(leases) != number:  # others were faster, even by more than one lease
        if created:
            place.delete(number)
        raise _refusal(what, "has just begun to make")
    for old in leases:
        if old < number:
            place.delete(old)
    return number, holder


def _require_free(place: Folder, number: str, what: str) -> None:
    """Wait until a lease is free or its holder must be dead.

    Raises:
        StoreError: its holder writes it again.
    """
    before, started = _content(place, number), time.monotonic()
    while before != FREE and not _gone(json.loads(before)):
        if time.monotonic() - started >= DEAD:
            logger.warning("%s: the job that was making it is silent for %g s: going on with it", what, DEAD)
            return
        if time.monotonic() - started < BEAT / 10:
            logger.warning("%s: another job was making it; waiting up to %g s whether it still is", what, DEAD)
        time.sleep(BEAT / 10)
        now = _content(place, number)
        if now not in (before, FREE):
            known = json.loads(now)
            raise _refusal(what, f"(process {known['process']} on {known['host'].split()[0]}) is making")
        before = now


def _content(place: Folder, number: str) -> bytes:
    """A lease as it stands; one that is gone was free and is followed by another, which `_take` will see."""
    try:
        return place.read_bytes(number)
    except FileNotFoundError:
        return FREE


def _machine() -> str:
    """Name of this machine, and which start of it, where the system says so: names alone may occur twice."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    return f"{socket.gethostname()} {boot.read_text().strip() if boot.exists() else ''}".strip()


def _gone(holder: Plain) -> bool:
    """Whether a holder was a process of this machine that is there no more."""
    if holder["host"] != _machine() or " " not in holder["host"]:
        return False
    try:
        os.kill(holder["process"], 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return False


def _keep(place: Folder, number: str, holder: Plain, what: str, over: threading.Event) -> None:
    beat = 0
    while not over.wait(BEAT):
        beat += 1
        try:
            if max(place.files(), default=number) != number:
                logger.warning("%s: another job took this one for dead and is making it, too: stop one of them", what)
                return
            place.write_bytes(number, json.dumps(holder | {"beat": beat}).encode())
        except OSError as error:
            logger.warning("%s: the store cannot be written now (%s)", what, error)


def _refusal(what: str, does: str) -> StoreError:
    return StoreError(f"{what}: another job {does} it. Wait until that one ends, stop it, or choose another name.")
