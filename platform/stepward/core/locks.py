"""One process at a time makes an artifact, and a store that cannot be written is said in a sentence."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from filelock import FileLock, Timeout
from pyarrow import fs

from stepward.core.storage import Folder


class StoreError(ValueError):
    """The store cannot be written, or another process is writing here."""


@contextmanager
def alone(folder: Folder) -> Iterator[None]:
    """No other process is in such a block for this folder, as long as the block lasts.

    The lock is the operating system's, on a file beside the folder: it goes with its process, however that ends. Object
    stores have no locks, so there the block is entered at once.

    Raises:
        StoreError: another process is in such a block, or no lock can be made here.
    """
    if not isinstance(folder.filesystem, fs.LocalFileSystem):
        yield
        return
    parent, name = os.path.split(folder.path)
    lock = FileLock(f"{parent}/.locks/{name}", timeout=0)
    try:
        with writable(folder):
            os.makedirs(f"{parent}/.locks", exist_ok=True)
            lock.acquire()
    except Timeout:
        raise StoreError(
            f"{folder.url}: another job is making it. Wait until that one ends, stop it, or choose another name."
        ) from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def writable(folder: Folder) -> Iterator[None]:
    """Say of an OSError in the block which store it is about.

    Raises:
        StoreError: in place of it.
    """
    try:
        yield
    except Timeout:
        raise
    except OSError as error:
        raise StoreError(
            f"{folder.url}: expected a store that can be written, got {type(error).__name__}: {error}. "
            "Name another with store=…, or mend this one."
        ) from None
