"""Rows of files and of Hugging Face data sets, and the records that readers build of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from stepward.core import rows
from stepward.core.wing import Rejected

__all__ = ["RowError", "collect", "is_files", "optional_text", "read_rows", "required", "required_text", "source_name"]

T = TypeVar("T")
Row = Mapping[str, Any]
PlacedRows = Iterator[tuple[str, rows.Row | Rejected]]


class RowError(ValueError):
    """A row lacks what a reader needs; `collect` turns it into a `Rejected` record."""


def read_rows(source: str | Path, *, config: str | None = None, split: str = "test") -> PlacedRows:
    """(place, row) of every row of `source`, in order; a row that cannot be read is a `Rejected`.

    Args:
        source: whatever `stepward.core.rows.read_rows` reads, or a Hugging Face data set id such as ``openai/gsm8k``.
        config: configuration name of the data set; only for an id.
        split: split name of the data set; only for an id.

    Raises:
        FileNotFoundError: `source` looks like a path and does not exist.
        ValueError: a file cannot be read at all.
    """
    if is_files(source):
        return rows.read_rows(source)
    if _is_dataset_id(str(source)):
        return _dataset_rows(str(source), config, split)
    raise FileNotFoundError(
        f"expected a file, a folder, a pattern, or a data set id such as 'openai/gsm8k'; got {str(source)!r}, "
        "which does not exist. Check the path, or see the data card under datasets/ for how to get it."
    )


def is_files(source: str | Path) -> bool:
    """Whether `source` is a file or a folder that exists, or a pattern, and so no data set id."""
    return Path(source).exists() or any(sign in str(source) for sign in "*?[")


def collect(placed: PlacedRows, build: Callable[[Row, int], Iterable[T]]) -> tuple[list[T], list[Rejected]]:
    """Apply ``build(row, number)`` to every row, numbered from 0; those that raise `RowError` become `Rejected`."""
    records: list[T] = []
    rejected: list[Rejected] = []
    for number, (place, row) in enumerate(placed):
        if isinstance(row, Rejected):
            rejected.append(row)
            continue
        try:
            records.extend(build(row, number))
        except RowError as error:
            rejected.append(rows.bad_row(place, str(error), row))
    return records, rejected


def required(row: object, name: str, kind: type[T]) -> T:
    """The value under `name`, checked to be of type `kind` (a bool does not pass as a number)."""
    if not isinstance(row, Mapping):
        raise RowError(f"expected an object with field {name!r}, got {type(row).__name__}")
    value = row.get(name)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise RowError(f"field {name!r}: expected {kind.__name__}, got {type(value).__name__}")
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
    return value.strip() if isinstance(value, str) else ""


def source_name(dataset: str, source: str | Path, split: str) -> str:
    """The first part of a problem id: data set and file stem (or split), for instance ``gsm8k/test``."""
    return f"{dataset}/{rows.stem(source) if Path(source).exists() else split or 'files'}"


def _is_dataset_id(source: str) -> bool:
    named = not source.startswith((".", "/", "~")) and source.count("/") <= 1
    return named and not source.endswith((".json", ".jsonl", ".csv", ".parquet"))


def _dataset_rows(source: str, config: str | None, split: str) -> PlacedRows:
    import datasets  # the Hugging Face package; slow to import, and not needed for files

    for number, row in enumerate(datasets.load_dataset(source, config, split=split), 1):
        yield f"{source}:{number}", row
