"""A process that dies at a chosen operation on storage: the test that databases use.

with dying_at(7, "half"):
    stage()            # raises Killed at its 7th operation, and so does every later one
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from stepward.core.storage import Folder

HOW = ("before", "half", "after")


class Killed(BaseException):
    """Stands for SIGKILL: nothing that runs after it can touch storage."""


@contextmanager
def dying_at(operation: int, how: str) -> Iterator[list[str]]:
    """Writes and removals are counted from 1; the given one is done not at all, by half, or wholly. Yields all of them.

    Half a write is a whole temporary file that was not moved into place; half a removal of a folder leaves all but its
    first file.
    """
    done: list[str] = []
    real_write, real_delete = Folder.write_bytes, Folder.delete

    def die_within(name: str, whole: Callable[[], None], half: Callable[[], None]) -> None:
        done.append(name)
        if len(done) < operation:
            return whole()
        if len(done) == operation and how != "before":
            (half if how == "half" else whole)()
        raise Killed(name)

    def write(folder: Folder, name: str, content: bytes) -> None:
        def half() -> None:
            def stay(source: str, target: str) -> None:
                raise Killed(name)

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(folder, "filesystem", _Unmovable(folder.filesystem, stay))
                real_write(folder, name, content)

        die_within(f"write {name}", lambda: real_write(folder, name, content), half)

    def delete(folder: Folder, name: str) -> None:
        def half() -> None:
            inside = [path for path in folder.files() if path.startswith(f"{name}/" if name else "")]
            for path in inside[:1]:
                folder.filesystem.delete_file(f"{folder.path}/{path}")

        die_within(f"delete {name}", lambda: real_delete(folder, name), half)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Folder, "write_bytes", write)
        patch.setattr(Folder, "delete", delete)
        yield done


class _Unmovable:
    """A file system on which the process dies before a file is moved into place, and so does not tidy up."""

    def __init__(self, real: Any, move: Callable[[str, str], None]) -> None:
        self._real, self.move = real, move

    def __getattr__(self, name: str) -> Any:
        if name == "get_file_info" or name == "delete_file":
            raise Killed(name)
        return getattr(self._real, name)


def every_point(stage: Callable[[], Any]) -> Iterator[tuple[int, str]]:
    """All (operation, how) of a stage, whose whole run is counted first."""
    with dying_at(10**9, "before") as done:
        stage()
    for operation in range(1, len(done) + 1):
        for how in HOW:
            yield operation, how


def kill(stage: Callable[[], Any], operation: int, how: str) -> None:
    """Run a stage until it dies there."""
    with pytest.raises(Killed), dying_at(operation, how):
        stage()
