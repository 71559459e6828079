"""Raw rows from JSONL, JSON, a folder of either, or a Hugging Face data set id; bad rows come back as records."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from stepward.domains.math.problems import Rejected

__all__ = ["RowError", "collect", "optional_text", "read_rows", "required", "required_text", "source_name"]

T = TypeVar("T")
Row = Mapping[str, Any]
_JSON_SUFFIXES = (".json", ".jsonl")


class RowError(ValueError):
    """A row lacks what a reader needs; `collect` turns it into a `Rejected` record."""


def read_rows(source: str | Path, *, config: str | None = None, split: str = "test") -> Iterator[Row | str]:
    """Yield the rows of `source` in order; a row that is not a JSON object is yielded as its raw text.

    Args:
        source: a ``.jsonl`` file (one object a line), a ``.json`` file (a list of objects, or one object), a folder
            (all such files in it, sorted by path; without any, whatever ``datasets.load_dataset`` reads there), or a
            Hugging Face data set id such as ``openai/gsm8k``.
        config: configuration name of the data set; only for an id.
        split: split name of the data set; only for an id.

    Raises:
        FileNotFoundError: `source` looks like a path and does not exist.
    """
    path = Path(source)
    if path.is_file():
        yield from _file_rows(path)
    elif path.is_dir() and (files := sorted(p for p in path.rglob("*") if p.suffix in _JSON_SUFFIXES)):
        for file in files:
            yield from _file_rows(file)
    elif path.is_dir() or _is_dataset_id(str(source)):
        yield from _dataset_rows(str(source), config, split)
    else:
        raise FileNotFoundError(
            f"expected a JSON or JSONL file, a folder, or a data set id such as 'openai/gsm8k'; got {str(source)!r}, "
            "which does not exist. Check the path, or see the data card under datasets/ for how to get it."
        )


def collect(
    name: str, rows: Iterable[Row | str], build: Callable[[Row, int], Iterable[T]]
) -> tuple[list[T], list[Rejected]]:
    """Apply ``build(row, number)`` to every row; rows that are no object, or raise `RowError`, become `Rejected`."""
    records: list[T] = []
    rejected: list[Rejected] = []
    for number, row in enumerate(rows):
        try:
            if isinstance(row, str):
                raise RowError("malformed JSON: expected an object")
            records.extend(build(row, number))
        except RowError as error:
            excerpt = row if isinstance(row, str) else json.dumps(row, default=str)
            rejected.append(Rejected(name, number, str(error), excerpt[:200]))
    return records, rejected


def required(row: Any, name: str, kind: type[T]) -> T:
    """The value under `name`, checked to be of type `kind` (a bool does not pass as a number)."""
    if not isinstance(row, Mapping):
        raise RowError(f"expected an object with field {name!r}, got {type(row).__name__}")
    value = row.get(name)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise RowError(f"field {name!r}: expected {kind.__name__}, got {type(value).__name__}")
    if isinstance(value, str):
        _check_unicode(name, value)
    return value


def required_text(row: Row, *names: str) -> str:
    """The first non-empty text under `names` (synonyms), stripped; numbers are accepted as text."""
    for name in names:
        value = optional_text(row, name)
        if value:
            return value
    raise RowError(f"no {' or '.join(names)}")


def optional_text(row: Row, name: str) -> str:
    """The text under `name`, stripped, or "" where it is absent or no text."""
    value = row.get(name)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        return ""
    _check_unicode(name, value)
    return value.strip()


def _check_unicode(name: str, text: str) -> None:
    """JSON can hold halves of surrogate pairs, which no file and no tokenizer takes."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise RowError(f"field {name!r}: expected Unicode text, got a lone surrogate at {error.start}") from None


def source_name(dataset: str, source: str | Path, split: str) -> str:
    """The first part of a problem id: data set and file stem (or split), for instance ``gsm8k/test``."""
    return f"{dataset}/{Path(source).stem if Path(source).exists() else split}"


def _file_rows(path: Path) -> Iterator[Row | str]:
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        if path.suffix == ".jsonl":
            yield from (_as_row(line) for line in file if line.strip())
            return
        text = file.read()
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):  # no JSON, a number of too many digits, too deep
        yield text[:200]
        return
    for row in content if isinstance(content, list) else [content]:
        yield row if isinstance(row, dict) else json.dumps(row)


def _as_row(line: str) -> Row | str:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):  # no JSON, a number of too many digits, too deep
        return line
    return row if isinstance(row, dict) else line


def _is_dataset_id(source: str) -> bool:
    return not source.startswith((".", "/", "~")) and source.count("/") <= 1 and not source.endswith(_JSON_SUFFIXES)


def _dataset_rows(source: str, config: str | None, split: str) -> Iterator[Row]:
    import datasets  # the Hugging Face package; slow to import, and not needed for files

    yield from datasets.load_dataset(source, config, split=split)
