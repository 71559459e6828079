"""Which weights a folder holds, so that a model is told by its content and not by where it lies."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

PARTS = {".safetensors", ".json", ".model", ".txt"}  # weights, configuration and tokenizer


def weights_digest(path: str) -> str | None:
    """SHA-256 of a local folder's weights, configuration and tokenizer; None where there are no safetensors.

    Files below the folder, such as checkpoints beside a model, are not read.
    """
    try:
        found = Path(path).glob("*") if path else ()
        files = sorted(file for file in found if file.suffix in PARTS and file.is_file())
    except (OSError, ValueError):  # a text too long for a path, or with a null byte
        return None
    if not any(file.suffix == ".safetensors" for file in files):
        return None
    return _digest(tuple((str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files))


@lru_cache(maxsize=16)
def _digest(files: tuple[tuple[str, int, int], ...]) -> str:
    digest = hashlib.sha256()
    for name, size, _ in files:
        digest.update(f"{Path(name).name}\x1f{size}\x1f".encode())
        with open(name, "rb") as file:
            while block := file.read(2**22):
                digest.update(block)
    return digest.hexdigest()
