"""Vectors of texts in files, so that a training finds what an earlier one has read.

They lie in the folder (or URL) that STEPWARD_CACHE names, by default `~/.cache/stepward`. All of it may be deleted.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import TypeVar

import numpy as np

from stepward.core.storage import Folder

__all__ = ["VectorFiles"]

T = TypeVar("T")

DEFAULT = "~/.cache/stepward"
SAVED = 256  # vectors to make from which on files are looked into, and written: fewer are made sooner


class VectorFiles:
    """Vectors by the hash of their text.

    Args:
        kind: of vector: the name of a folder.
        source: all that a vector depends on beside its text; anything with a `repr` that tells it.
    """

    def __init__(self, kind: str, *source: object) -> None:
        digest = hashlib.sha256(repr(source).encode()).hexdigest()[:24]
        self.url = f"{os.path.expanduser(os.environ.get('STEPWARD_CACHE', DEFAULT))}/{kind}/{digest}"
        self._known: dict[int, np.ndarray] = {}
        self._seen: set[str] = set()

    def completed(self, texts: Mapping[int, T], make: Callable[[list[T]], np.ndarray]) -> dict[int, np.ndarray]:
        """Vectors of texts by their hash: those that are here, and the others made, and written where they are many.

        Args:
            texts: hash -> text, or whatever `make` takes.
            make: texts -> their vectors [n, c].
        """
        many = len(texts) >= SAVED
        found = self._read(texts) if many else {}
        rest = {key: text for key, text in texts.items() if key not in found}
        if not rest:
            return found
        vectors = make(list(rest.values()))
        if many:
            keys = np.array(list(rest), np.uint64)
            name = f"{hashlib.sha256(keys.tobytes()).hexdigest()[:24]}.safetensors"
            self._folder.write_weights(name, {"keys": keys, "vectors": np.ascontiguousarray(vectors)})
        return found | dict(zip(rest, vectors, strict=True))

    def _read(self, keys: Iterable[int]) -> dict[int, np.ndarray]:
        for name in self._folder.files() if self._folder.exists() else []:
            if name not in self._seen:
                self._take(name)
        return {key: self._known[key] for key in keys if key in self._known}

    def _take(self, name: str) -> None:
        found = self._folder.read_weights(name)
        self._known.update(zip(found["keys"].tolist(), found["vectors"], strict=True))
        self._seen.add(name)

    @cached_property
    def _folder(self) -> Folder:
        return Folder(self.url)
