"""Vectors of texts in files, so that a training finds what an earlier one has read.

They lie in the folder (or URL) that STEPWARD_CACHE names, by default `~/.cache/stepward`. All of it may be deleted.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np

from stepward.core.storage import Folder

__all__ = ["VectorFiles"]

DEFAULT = "~/.cache/stepward"


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

    def read(self, keys: Sequence[int]) -> dict[int, np.ndarray]:
        """Those of the vectors that are here."""
        for name in self._folder.files() if self._folder.exists() else []:
            if name not in self._seen:
                self._take(name)
        return {key: self._known[key] for key in keys if key in self._known}

    def write(self, vectors: Mapping[int, np.ndarray]) -> None:
        """Add vectors, as one file."""
        keys = np.array(list(vectors), np.uint64)
        name = f"{hashlib.sha256(keys.tobytes()).hexdigest()[:24]}.safetensors"
        self._folder.write_weights(name, {"keys": keys, "vectors": np.stack(list(vectors.values()))})

    def _take(self, name: str) -> None:
        found = self._folder.read_weights(name)
        self._known.update(zip(found["keys"].tolist(), found["vectors"], strict=True))
        self._seen.add(name)

    @cached_property
    def _folder(self) -> Folder:
        return Folder(self.url)
