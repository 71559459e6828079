"""Rows of files that users bring: JSON, JSON lines, CSV, Parquet, Arrow; compressed, in folders, or by a pattern.

Every row comes with its place, ``file:number``; what cannot be read is a `Rejected` row, or the file is refused. The
number is the line of JSON lines, and the count of the row, from 1, elsewhere.
"""

from __future__ import annotations

import bz2
import codecs
import csv
import glob
import gzip
import io
import json
import lzma
import math
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any, NoReturn

import pyarrow as pa
import pyarrow.parquet as pq

from stepward.core.config import Plain
from stepward.core.wing import Rejected

__all__ = ["Row", "bad_row", "read_rows", "stem"]

Row = dict[str, Any]
PlacedRows = Iterator[tuple[str, Row | Rejected]]

_COMPRESSED: dict[bytes, Callable[[bytes], bytes]] = {
    b"\x1f\x8b": gzip.decompress,
    b"BZh": bz2.decompress,
    b"\xfd7zXZ\x00": lzma.decompress,
    b"\x28\xb5\x2f\xfd": lambda data: pa.CompressedInputStream(pa.BufferReader(data), "zstd").read(),
}
_TABLES: dict[bytes, Callable[[bytes], pa.Table]] = {
    b"PAR1": lambda data: pq.read_table(pa.BufferReader(data)),
    b"ARROW1": lambda data: pa.ipc.open_file(data).read_all(),
    b"\xff\xff\xff\xff": lambda data: pa.ipc.open_stream(data).read_all(),
}
_BOMS = {  # the longer first: UTF-32 begins as UTF-16 does
    codecs.BOM_UTF32_LE: "utf-32-le", codecs.BOM_UTF32_BE: "utf-32-be", codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}  # fmt: skip
_LINES, _DELIMITERS = (".jsonl", ".ndjson"), {".csv": ",", ".tsv": "\t"}
_IN_FOLDERS = (".json", *_LINES, *_DELIMITERS, ".parquet", ".arrow", ".feather")
_PACKED = (".gz", ".bz2", ".xz", ".zst")
_SPLITS = ("train", "validation", "test")
_LISTS = ("data", "rows", "examples", *_SPLITS)  # names under which a document keeps its rows
_ABOUT = ("version", "name", "description", "license", "citation", "url", "info", "metadata", "features", "num_rows")


def read_rows(path: str | Path) -> PlacedRows:
    """Yield (place, row) of every row, in order; a row that cannot be read is a `Rejected` with its place as id.

    Args:
        path: a file, a folder (all files of rows in it, sorted by path; or what `datasets.save_to_disk` wrote), or a
            pattern such as ``data/*.jsonl``. Compression, Parquet and Arrow are told by their first bytes, CSV and TSV
            by suffix. All else is JSON: lines, or one document, a list of rows or an object that keeps such a list
            under ``data``, ``rows``, ``examples``, ``train``, ``validation`` or ``test``; rows of a named split carry
            its name as field ``split``, unless they have one. Text is UTF-8, or what its byte-order mark says.

    Raises:
        ValueError: there is nothing at `path`, or a file that holds no rows that can be read.
    """
    source = Path(path)
    if source.is_file():
        yield from _file_rows(source, source.name)
    elif source.is_dir():
        yield from _folder_rows(source, "")
    elif found := sorted(name for name in glob.glob(str(source), recursive=True) if Path(name).is_file()):
        root = Path(*takewhile(lambda part: not glob.has_magic(part), source.parts))
        for name in found:
            yield from _file_rows(Path(name), Path(name).relative_to(root).as_posix())
    else:
        raise ValueError(f"expected a file, a folder or a pattern such as 'data/*.jsonl', but there is no {path}.")


def stem(path: str | Path) -> str:
    """The name of a file without suffixes of format and compression: ``test`` for ``test.jsonl.gz``."""
    bare = Path(path)
    return (bare.with_suffix("") if bare.suffix.lower() in _PACKED else bare).stem


def bad_row(place: str, error: str, row: object) -> Rejected:
    """A `Rejected` of the row at `place`, its content cut to 1,000 characters that every file takes."""
    text = row if isinstance(row, str) else json.dumps(row, default=str)
    return Rejected(place, error, text[:1000].encode(errors="backslashreplace").decode())


def _folder_rows(folder: Path, prefix: str) -> PlacedRows:
    if (splits := folder / "dataset_dict.json").is_file():
        for split in json.loads(splits.read_text())["splits"]:
            yield from _of_split(split, _folder_rows(folder / split, f"{prefix}{split}/"))
        return
    if (state := folder / "state.json").is_file():
        files = [folder / file["filename"] for file in json.loads(state.read_text())["_data_files"]]
    else:
        files = sorted(file for file in folder.rglob("*") if _has_rows(file.relative_to(folder)) and file.is_file())
    if not files:
        raise ValueError(f"expected files of rows ({', '.join(_IN_FOLDERS)}) in folder {folder}, but there are none.")
    for file in files:
        yield from _file_rows(file, prefix + file.relative_to(folder).as_posix())


def _has_rows(file: Path) -> bool:
    hidden = any(part.startswith(".") for part in file.parts)
    return not hidden and _suffix(file) in _IN_FOLDERS and file.name not in ("dataset_info.json", "dataset_infos.json")


def _suffix(file: Path) -> str:
    return (file.with_suffix("") if file.suffix.lower() in _PACKED else file).suffix.lower()


def _file_rows(file: Path, name: str) -> PlacedRows:
    data = file.read_bytes()
    try:
        for magic, decompress in _COMPRESSED.items():
            if data.startswith(magic):
                data = decompress(data)
                break
        table = next((read(data) for magic, read in _TABLES.items() if data.startswith(magic)), None)
    except (OSError, EOFError, lzma.LZMAError, zlib.error, ValueError, pa.ArrowException) as error:
        _refuse(name, f"a whole file, as its first bytes promise, but it cannot be read ({error}). Get it again")
    if table is not None:
        return _checked(name, enumerate(_table_rows(table, name), 1))
    data = _as_utf8(data, name)
    if delimiter := _DELIMITERS.get(_suffix(file)):
        return _checked(name, enumerate(_csv_rows(data, name, delimiter), 1))
    return _json_rows(data, name, _suffix(file))


def _refuse(name: str, expected: str) -> NoReturn:
    raise ValueError(f"{name}: expected {expected}.")


def _checked(name: str, rows: Iterable[tuple[int, Any]]) -> PlacedRows:
    """Rows that JSON can say; others as `Rejected`."""
    for number, row in rows:
        place = f"{name}:{number}"
        try:
            if isinstance(row, _Bad):
                yield place, bad_row(place, row.error, row.text)
            elif not isinstance(row, dict):
                yield place, bad_row(place, f"expected an object, got {type(row).__name__}", row)
            else:
                json.dumps(row, ensure_ascii=False, allow_nan=False, default=str).encode()
                yield place, row
        except UnicodeEncodeError:
            yield place, bad_row(place, "expected Unicode text, got bytes that are no UTF-8, or a lone surrogate", row)
        except (ValueError, RecursionError) as error:
            yield place, bad_row(place, f"expected finite numbers and shallow lists: {error}", repr(row)[:1000])


@dataclass(frozen=True)
class _Bad:
    """A row that could not be parsed, with its text."""

    error: str
    text: str


def _table_rows(table: pa.Table, name: str) -> Iterator[Row]:
    try:
        table.validate(full=True)
        names = table.column_names
    except (ValueError, pa.ArrowException) as error:
        _refuse(name, f"a sound table ({error})")
    _refuse_twins(names, name)
    for batch in table.to_batches(max_chunksize=1000):
        try:
            yield from batch.to_pylist()
        except (ValueError, OverflowError) as error:  # a time that Python cannot say
            _refuse(name, f"values that Python can hold ({error})")


def _refuse_twins(names: list[str], name: str) -> None:
    if twins := sorted({column for column in names if names.count(column) > 1}):
        _refuse(name, f"a name for every column, got {twins} more than once")


def _as_utf8(data: bytes, name: str) -> bytes:
    """The text in UTF-8 without a mark; lines that are none stay, if few.

    Raises:
        ValueError: as many lines that use letters beyond ASCII are no UTF-8 as are, so it is another encoding.
    """
    if data.startswith(codecs.BOM_UTF8):
        data = data[len(codecs.BOM_UTF8) :]
    else:
        for mark, encoding in _BOMS.items():
            if data.startswith(mark):
                try:
                    return data[len(mark) :].decode(encoding).encode()
                except UnicodeError as error:
                    _refuse(name, f"text in {encoding}, as its first bytes promise ({error})")
    try:
        data.decode()
    except UnicodeDecodeError:
        _refuse_other_encodings(data, name)
    return data


def _refuse_other_encodings(data: bytes, name: str) -> None:
    invalid, valid = [], 0
    for number, line in enumerate(io.BytesIO(data), 1):
        try:
            valid += not line.decode().isascii()
        except UnicodeDecodeError:
            invalid.append(number)
    if len(invalid) >= valid:
        raise ValueError(
            f"{name}:{invalid[0]}: expected text in UTF-8, got bytes that are none. If it is Latin-1, convert it: "
            f"iconv -f LATIN1 -t UTF-8 {name} > utf8-{Path(name).name}"
        )


def _csv_rows(data: bytes, name: str, delimiter: str) -> Iterator[Row | _Bad]:
    """Rows by the names in the first one, an empty field being None; those of too few or too many fields are bad."""
    lines = list(io.StringIO(data.decode(errors="surrogateescape"), newline=""))
    reader = csv.reader(iter(lines), delimiter=delimiter, strict=True)
    header: list[str] = []
    while True:
        begin = reader.line_num
        try:
            fields = next(reader, None)
        except csv.Error as error:
            if not header:
                _refuse(name, f"a first row with the names of the columns ({error})")
            yield _Bad(
                f"expected fields, quoted where they hold a quote: {error}", "".join(lines[begin : reader.line_num])
            )
            continue
        if fields is None:
            return
        if not header:
            header = fields
            _refuse_twins(header, name)
        elif len(fields) == len(header):
            yield {key: value or None for key, value in zip(header, fields, strict=True)}
        elif fields:
            yield _Bad(f"expected {len(header)} fields, got {len(fields)}", delimiter.join(fields))


def _json_rows(data: bytes, name: str, suffix: str) -> PlacedRows:
    lines = [(n, line) for n, line in enumerate(io.BytesIO(data), 1) if line.strip()]
    first = _parse(lines[0][1]) if lines else None
    if (len(lines) > 1 or not _lists(first)) and (suffix in _LINES or isinstance(first, dict)):
        return _checked(name, ((n, _parse(line)) for n, line in lines))
    document = _parse(data)
    if isinstance(document, list):
        return _checked(name, enumerate(document, 1))
    if named := _lists(document):
        rows = ((split, row) for split, listed in named.items() for row in listed)
        placed = ((n, _with_split(split, row)) for n, (split, row) in enumerate(rows, 1))
        return _checked(name, placed)
    if isinstance(document, _Bad) and any(isinstance(_parse(line), dict) for _, line in lines):
        return _checked(name, ((n, _parse(line)) for n, line in lines))
    if not isinstance(document, dict) and suffix != ".json":
        _refuse(name, f"rows of JSON (or .csv, .tsv, Parquet, Arrow), got {data[:30]!r}")
    return _checked(name, [(1, document)])


def _parse(text: bytes) -> object:
    """What JSON says, or a `_Bad`: no JSON, NaN, an infinite number, one of too many digits, too deep."""
    written = text.decode(errors="surrogateescape")
    try:
        return json.loads(written, parse_constant=_finite, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        return _Bad(f"malformed JSON: expected an object ({error})", written[:1000].rstrip())


def _finite(number: str) -> float:
    if not math.isfinite(value := float(number)):
        raise ValueError(f"expected finite numbers, got {number}")
    return value


def _lists(document: object) -> dict[str, list[Plain]]:
    """Lists of rows by name, where the document says nothing else but what describes a file."""
    if not isinstance(document, dict) or not all(key in _LISTS or key in _ABOUT for key in document):
        return {}
    lists = {key: rows for key, rows in document.items() if key in _LISTS}
    whole = all(isinstance(rows, list) and all(isinstance(row, dict) for row in rows) for rows in lists.values())
    return lists if whole else {}


def _with_split(split: str, row: object) -> Any:
    return {"split": split, **row} if split in _SPLITS and isinstance(row, dict) else row


def _of_split(split: str, rows: PlacedRows) -> PlacedRows:
    return ((place, _with_split(split, row)) for place, row in rows)
