"""What a file or folder holds, so that a model or data are told by their content and not by where they lie."""

from __future__ import annotations

import glob
import hashlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

PARTS = {".safetensors", ".json", ".model", ".txt", ".jinja"}  # weights, configuration, tokenizer, chat template


def weights_digest(path: str) -> str | None:
    """SHA-256 of a local folder's weights, configuration and tokenizer, or of a GGUF file; None where there is neither.

    Files below the folder, such as checkpoints beside a model, are not read.
    """
    try:
        if path.lower().endswith(".gguf") and Path(path).is_file():
            return _digest_of([Path(path)])
        found = Path(path).glob("*") if path else ()
        files = sorted(file for file in found if file.suffix in PARTS and file.is_file())
    except (OSError, ValueError):  # a text too long for a path, or with a null byte
        return None
    if not any(file.suffix == ".safetensors" for file in files):
        return None
    return _digest_of(files)


def data_digest(path: str) -> str | None:
    """SHA-256 of a file, or of all files of a local folder or a pattern with their names; None where there are none."""
    place = Path(path)
    if place.is_file():
        return hashlib.sha256(place.read_bytes()).hexdigest()
    if place.is_dir():
        files = sorted(file for file in place.rglob("*") if file.is_file())
        return _digest_of(files, place) if files else None
    files = [Path(name) for name in sorted(glob.glob(path, recursive=True)) if Path(name).is_file()]
    return _digest_of(files) if files else None


def _digest_of(files: Sequence[Path], root: Path | None = None) -> str:
    return _digest(tuple((str(f), str(f.relative_to(root)) if root else f.name, *_stamp(f)) for f in files))


def _stamp(file: Path) -> tuple[int, int]:
    stat = file.stat()
    return stat.st_size, stat.st_mtime_ns


@lru_cache(maxsize=16)
def _digest(files: tuple[tuple[str, str, int, int], ...]) -> str:
    digest = hashlib.sha256()
    for path, name, size, _ in files:
        digest.update(f"{name}\x1f{size}\x1f".encode())
        with open(path, "rb") as file:
            while block := file.read(2**22):
                digest.update(block)
    return digest.hexdigest()
