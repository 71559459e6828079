"""One process at a time makes an artifact, and a store that cannot be written is said in a sentence."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from filelock import FileLock, Timeout
from pyarrow import fs

from stepward.core.leases import leased
from stepward.core.storage import Folder, StoreError, writable


@contextmanager
def alone(folder: Folder) -> Iterator[None]:
    """No other process is in such a block for this folder, as long as the block lasts.

    The lock is the operating system's, on a file beside the folder: it goes with its process, however that ends. Behind
    a URL it is a lease: see `stepward.core.leases`.

    Raises:
        StoreError: another process is in such a block, or no lock can be made here.
    """
    if not isinstance(folder.filesystem, fs.LocalFileSystem):
        parent, _, name = folder.url.rpartition("/")
        with leased(Folder(f"{parent}/.locks/{name}"), folder.url):
            yield
        return
    parent, name = os.path.split(folder.path)
    lock = FileLock(f"{parent}/.locks/{name}", timeout=0)
    with writable(folder):
        os.makedirs(f"{parent}/.locks", exist_ok=True)
        try:
            lock.acquire()
        except Timeout:
            raise StoreError(
                f"{folder.url}: another job is making it. Wait until that one ends, stop it, or choose another name."
            ) from None
    try:
        yield
    finally:
        lock.release()
