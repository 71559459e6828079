"""The reader of rows: every format gives the same rows; what cannot be read is rejected at its place or refused."""

import bz2
import gzip
import json
import lzma
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepward.core.rows import read_rows
from stepward.core.wing import Rejected

ROWS = [{"question": "Wie groß?", "answer": 3}, {"question": "a\u2028b", "answer": 4}]
LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS).encode()
LIST = json.dumps(ROWS, indent=1, ensure_ascii=False)
TABLE = pa.Table.from_pylist(ROWS)


def arrow(writer) -> bytes:
    sink = pa.BufferOutputStream()
    with writer(sink, TABLE.schema) as file:
        file.write_table(TABLE)
    return sink.getvalue().to_pybytes()


def parquet() -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(TABLE, sink)
    return sink.getvalue().to_pybytes()


FILES = {
    "lines.jsonl": LINES,
    "lines.ndjson": LINES,
    "lines.json": LINES,
    "lines.txt": LINES,
    "carriage.jsonl": LINES.replace(b"\n", b"\r\n"),
    "mark.jsonl": b"\xef\xbb\xbf" + LINES,
    "utf16.jsonl": LINES.decode().encode("utf-16"),
    "utf16be.json": b"\xfe\xff" + LIST.encode("utf-16-be"),
    "utf32.jsonl": LINES.decode().encode("utf-32"),
    "list.json": LIST.encode(),
    "list.txt": LIST.encode(),
    "named.json": json.dumps({"version": "1.0", "data": ROWS}).encode(),
    "named.jsonl": json.dumps({"rows": ROWS}).encode(),
    "lines.jsonl.gz": gzip.compress(LINES[:20]) + gzip.compress(LINES[20:]),
    "lines.jsonl.bz2": bz2.compress(LINES),
    "lines.jsonl.xz": lzma.compress(LINES),
    "lines.jsonl.zst": pa.compress(LINES, "zstd", asbytes=True),
    "list.json.gz": gzip.compress(LIST.encode()),
    "packed.jsonl": gzip.compress(LINES),
    "table.parquet": parquet(),
    "table.jsonl": parquet(),
    "stream.arrow": arrow(pa.ipc.new_stream),
    "file.arrow": arrow(pa.ipc.new_file),
}


@pytest.mark.parametrize("name", FILES)
def test_every_format_gives_the_same_rows(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(FILES[name])
    assert list(read_rows(tmp_path / name)) == [(f"{name}:1", ROWS[0]), (f"{name}:2", ROWS[1])]


@pytest.mark.parametrize(("suffix", "mark"), [("csv", ","), ("tsv", "\t"), ("csv.gz", ",")])
def test_csv_holds_texts_with_line_breaks_and_nothing_where_a_field_is_empty(tmp_path, suffix, mark) -> None:
    text = f'question{mark}answer\n"two\nlines, one ""quote"""{mark}3\n\nempty{mark}\n'.encode()
    (tmp_path / f"t.{suffix}").write_bytes(gzip.compress(text) if suffix.endswith("gz") else text)
    assert [row for _, row in read_rows(tmp_path / f"t.{suffix}")] == [
        {"question": 'two\nlines, one "quote"', "answer": "3"},
        {"question": "empty", "answer": None},
    ]


def test_an_open_quote_takes_the_rest_of_a_csv_file_along_and_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text('a,b\n1,2\n3,"4\n5,6\n')
    (_, good), (place, bad) = read_rows(tmp_path / "t.csv")
    assert (good, place) == ({"a": "1", "b": "2"}, "t.csv:2")
    assert bad.content == '3,"4\n5,6\n'


def test_lists_inside_a_row_are_never_opened(tmp_path: Path) -> None:
    row = {"question": "q", "data": [{"answer": 1}], "examples": [{"answer": 2}]}
    for name in ("one.json", "one.jsonl"):
        (tmp_path / name).write_text(json.dumps(row))
        assert list(read_rows(tmp_path / name)) == [(f"{name}:1", row)]


def test_rows_of_a_named_split_say_so(tmp_path: Path) -> None:
    (tmp_path / "d.json").write_text(json.dumps({"train": [{"a": 1}], "test": [{"a": 2}, {"a": 3, "split": "train"}]}))
    assert [row["split"] for _, row in read_rows(tmp_path / "d.json")] == ["train", "test", "train"]


def test_folders_of_the_datasets_package(tmp_path: Path) -> None:
    datasets.Dataset.from_list(ROWS).save_to_disk(tmp_path / "one", num_shards=2)
    places, rows = zip(*read_rows(tmp_path / "one"), strict=True)
    assert list(rows) == ROWS
    assert places == ("data-00000-of-00002.arrow:1", "data-00001-of-00002.arrow:1")
    both = datasets.DatasetDict({name: datasets.Dataset.from_list(ROWS[:1]) for name in ("train", "test")})
    both.save_to_disk(tmp_path / "two")
    assert list(read_rows(tmp_path / "two")) == [
        (f"{split}/data-00000-of-00001.arrow:1", {"split": split, **ROWS[0]}) for split in ("train", "test")
    ]


def test_folders_and_patterns_give_their_files_by_name(tmp_path: Path) -> None:
    for name in ("b.jsonl", "a/c.jsonl.gz", "README.md", ".hidden.jsonl"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(LINES)
    assert [place for place, _ in read_rows(tmp_path)] == [
        "a/c.jsonl.gz:1", "a/c.jsonl.gz:2", "b.jsonl:1", "b.jsonl:2",
    ]  # fmt: skip
    assert list(read_rows(str(tmp_path / "*.jsonl"))) == [("b.jsonl:1", ROWS[0]), ("b.jsonl:2", ROWS[1])]
    (tmp_path / "none").mkdir()
    for nothing in ("none", "*.csv", "gone.jsonl"):
        with pytest.raises(ValueError, match=r"there (is|are) no"):
            list(read_rows(tmp_path / nothing))


@pytest.mark.parametrize("name", ["l.jsonl", "l.json", "l.csv"])
def test_latin_1_is_refused_with_the_line_and_the_remedy(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b'{"q": "plain"}\n' + '{"q": "groß"}\n'.encode("latin-1"))
    with pytest.raises(ValueError, match=rf"{name}:2: expected text in UTF-8.*iconv -f LATIN1 -t UTF-8 {name}"):
        list(read_rows(tmp_path / name))


@pytest.mark.parametrize("name", ["u.jsonl", "u.json"])
def test_one_broken_line_among_good_ones_is_rejected_alone(tmp_path: Path, name: str) -> None:
    good, bad = '{"q": "groß"}'.encode(), b'{"q": "gro\xdf"}'
    if name.endswith("l"):
        (tmp_path / name).write_bytes(b"\n".join([good, bad, good]))
    else:
        (tmp_path / name).write_bytes(b"[" + b",\n".join([good, bad, good]) + b"]")
    first, (place, rejected), last = read_rows(tmp_path / name)
    assert first[1] == last[1] == {"q": "groß"}
    assert isinstance(rejected, Rejected)
    assert place == rejected.id == f"{name}:2"
    rejected.content.encode()


@pytest.mark.parametrize(
    "value",
    ["NaN", "Infinity", "1e999", "9" * 5000, "[" * 100_000, '"\\ud800"', "{"],
    ids=["nan", "infinity", "too large", "digits", "deep", "surrogate", "open"],
)
def test_hostile_values_are_bad_rows_at_their_place(tmp_path: Path, value: str) -> None:
    (tmp_path / "h.jsonl").write_text(f'{{"a": {value}}}\n\n{{"a": 1}}\n[1]\n')
    (_, bad), (place, good), (_, listed) = read_rows(tmp_path / "h.jsonl")
    assert (bad.id, place, good, listed.id) == ("h.jsonl:1", "h.jsonl:3", {"a": 1}, "h.jsonl:4")
    assert len(bad.content) <= 1000


def test_a_table_with_a_number_that_is_none_loses_that_row_alone(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1.0, float("nan"), 2.0]}), tmp_path / "t.parquet")
    (_, first), (_, bad), (_, last) = read_rows(tmp_path / "t.parquet")
    assert (first, bad.id, last) == ({"a": 1.0}, "t.parquet:2", {"a": 2.0})


def test_a_compressed_file_with_a_wrong_byte_is_refused_by_name(tmp_path: Path) -> None:
    data = bytearray(gzip.compress(LINES))
    data[12] ^= 0xFF
    (tmp_path / "w.jsonl.gz").write_bytes(data)
    with pytest.raises(ValueError, match=r"w\.jsonl\.gz"):
        list(read_rows(tmp_path / "w.jsonl.gz"))


@pytest.mark.parametrize("name", ["lines.jsonl.gz", "lines.jsonl.xz", "table.parquet", "file.arrow"])
def test_a_file_that_was_cut_off_is_refused_by_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(FILES[name][:-30])
    with pytest.raises(ValueError, match=name):
        list(read_rows(tmp_path / name))


@pytest.mark.parametrize("name", ["x.xlsx", "x.txt"])
def test_what_holds_no_rows_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"PK\x03\x04 no rows\n")
    with pytest.raises(ValueError, match="expected rows of JSON"):
        list(read_rows(tmp_path / name))


def test_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b,a\n1,2,3\n")
    with pytest.raises(ValueError, match=r"\['a'\] more than once"):
        list(read_rows(tmp_path / "t.csv"))


hostile = st.one_of(
    st.binary(max_size=60),
    st.builds(lambda file, place, noise: file[:place] + noise + file[place + len(noise) :],
              st.sampled_from(sorted(FILES.values())), st.integers(0, 900), st.binary(max_size=5)),
)  # fmt: skip


@given(data=hostile, suffix=st.sampled_from(["json", "jsonl", "txt", "csv", "parquet", "jsonl.gz"]))
def test_no_bytes_crash_the_reader_and_what_it_gives_is_sound(tmp_path_factory, data: bytes, suffix: str) -> None:
    file = tmp_path_factory.getbasetemp() / f"fuzz.{suffix}"
    file.write_bytes(data)
    rows, refused = [], file.name
    try:
        rows = list(read_rows(file))
    except ValueError as error:
        refused = str(error)
    assert file.name in refused
    for place, row in rows:
        assert place.startswith(f"{file.name}:")
        if isinstance(row, Rejected):
            assert row.id == place
            row.content.encode()
        else:
            json.dumps(row, allow_nan=False, ensure_ascii=False, default=str).encode()


@given(st.lists(st.dictionaries(st.text(max_size=3), st.none() | st.text() | st.integers() | st.lists(st.integers()))))
def test_no_row_of_json_lines_is_lost_or_changed(tmp_path_factory, rows: list[dict]) -> None:
    file = tmp_path_factory.getbasetemp() / "kept.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    document = file.with_suffix(".json")
    document.write_text(json.dumps(rows))
    assert [row for _, row in read_rows(document)] == rows
    if len(rows) != 1:
        assert [row for _, row in read_rows(file)] == rows
