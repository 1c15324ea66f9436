"""Tables in files, piece by piece: the rows of the whole file, with errors that name file and row."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from undertow.data import csv_index, read_table_with_origin, stream_table
from undertow.data.table_pieces import FilePieces, find_files
from undertow.data.text_files import FileText
from undertow.errors import DataError

SMALL = 4 * 65536  # pieces of 64 KiB of text, the least


def read_all(pieces: FilePieces) -> tuple[pl.DataFrame, np.ndarray]:
    parts = [pieces.read(number) for number in range(len(pieces.heights)) if pieces.heights[number]]
    return pl.concat([frame for frame, _ in parts]), np.concatenate([origin.rows for _, origin in parts])


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_text_in_pieces_is_the_text_as_a_whole(tmp_path, end, separator):
    """Quotes, line breaks inside quotes, blank lines, byte-order mark: the same rows, types and line numbers."""
    rng = np.random.default_rng(0)
    m = 12_000
    frame = pl.DataFrame(
        {
            "number": rng.normal(size=m),
            "whole": rng.integers(0, 9, m),
            "text": rng.choice(["x", 'y "q"', "line\nbreak", "com,ma; and\ttab", "ü"], m),
            "hole": [None if i % 7 else True for i in range(m)],
            "day": pl.date_range(pl.date(2000, 1, 1), pl.date(2000, 1, 1) + pl.duration(days=m - 1), eager=True),
        }
    )
    path = tmp_path / "t.csv"
    text = frame.write_csv(separator=separator, line_terminator=end).replace(end, end + end, 3)
    path.write_bytes(b"\xef\xbb\xbf" + text.encode() + f"{end}{end}".encode())
    pieces = FilePieces([path], SMALL)
    assert len(pieces.heights) > 4
    whole, origin = read_table_with_origin(path)
    found, rows = read_all(pieces)
    assert found.equals(whole) and found.schema == whole.schema
    assert np.array_equal(rows, origin.rows)


def test_pieces_read_in_order_are_fewer_and_hold_the_same(tmp_path):
    """Each piece of a Parquet file is decoded from the head of its row group, so few are read where that is enough."""
    m = 5_000
    frame = pl.DataFrame({"a": np.arange(m), "b": np.sqrt(np.arange(m))})
    frame.write_parquet(tmp_path / "t.parquet", row_group_size=m)
    small, large = (FilePieces([tmp_path / "t.parquet"], 4_000, in_order=said) for said in (False, True))
    assert len(large.heights) * 4 < len(small.heights) and len(large.heights) > 1
    for pieces in (small, large):
        found, rows = read_all(pieces)
        assert found.equals(frame) and np.array_equal(rows, np.arange(1, m + 1))


@settings(max_examples=100, deadline=None)
@given(
    rows=st.lists(
        st.tuples(
            st.sampled_from(["", "1", "2.5", "x", "true", "2020-01-01", "NA"]),
            st.text('a,"\n ', max_size=6),
        ),
        min_size=1,
        max_size=30,
    ),
    size=st.integers(1, 40),
)
def test_any_cut_gives_the_same_rows(tmp_path_factory, rows, size):
    """Wherever the text is cut, pieces end with whole records."""
    path = tmp_path_factory.mktemp("cut") / "t.csv"
    pl.DataFrame(rows, schema=["a", "b"], orient="row").write_csv(path)
    text = path.read_bytes()
    bounds = csv_index.find_bounds(FileText(path), "t.csv", size)
    assert b"".join(text[begin:end] for begin, end, _ in bounds) == text
    for begin, end, line in bounds:
        assert text[begin:end].count(b'"') % 2 == 0 and text[begin:end].endswith(b"\n")
        assert line == text[:begin].count(b"\n") + 1


CELL = st.sampled_from(
    ["1", "2.5", "x", "", "NA", "true", "2020-01-01", '"q"', '"a\nb"', '"c,d;e"', '"a ""b"" c"', "3;5", " 4 ", "\t"]
)


@settings(max_examples=150, deadline=None)
@given(
    rows=st.lists(st.lists(CELL, min_size=2, max_size=2) | st.sampled_from([[], ["1", "2", "3"]]), max_size=15),
    end=st.sampled_from(["\n", "\r\n"]),
    piece_bytes=st.integers(8, 400),
)
def test_any_text_is_read_alike_in_pieces(tmp_path_factory, rows, end, piece_bytes):
    """Whatever the text, its pieces give the rows, types and lines of the whole, or both ways refuse it."""
    path = tmp_path_factory.mktemp("text") / "t.csv"
    path.write_bytes(end.join(["a,b", *map(",".join, rows), ""]).encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_index, "_LEAST_BYTES", 1)
        try:
            whole, origin = read_table_with_origin(path)
        except DataError:
            with pytest.raises(DataError):
                FilePieces([path], piece_bytes)
            return
        found, lines = read_all(FilePieces([path], piece_bytes))
    assert found.equals(whole) and found.schema == whole.schema and np.array_equal(lines, origin.rows)


NUMBERS = {"whole": ["1", "-20", "30"], "float": ["1.5", "2", "3e-3", ".5", "-0"]}
SPELLED = st.sampled_from(
    ["", "NA", " NA", "nan", "NaN", "NAN", "?", "+5", " 7 ", "007", "inf", '"3"', '""', "true", "1_0", "12.", "1e400",
     "99999999999999999999", "1.0000000000000000001", "123456789012345678", "4.9e-324", "x"]
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(data=st.data(), kinds=st.lists(st.sampled_from(["whole", "float"]), min_size=1, max_size=3))
def test_numbers_are_read_alike_in_pieces_however_they_and_missing_values_are_spelled(tmp_path_factory, data, kinds):
    """Pieces of plain numbers are not taken for texts first; what is spelled otherwise gives the same, bit by bit."""
    m = data.draw(st.integers(1, 40))
    columns = []
    for kind in kinds:
        odd = data.draw(st.lists(SPELLED, max_size=2))
        cell = st.sampled_from(NUMBERS[kind] * (4 if odd else 1) + odd)
        columns.append(data.draw(st.lists(cell, min_size=m, max_size=m)))
    names = [f"c{k}" for k in range(len(kinds))]
    path = tmp_path_factory.mktemp("numbers") / "t.csv"
    path.write_text("\n".join(map(",".join, [names, *zip(*columns, strict=True)])) + "\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_index, "_LEAST_BYTES", 1)
        whole, origin = read_table_with_origin(path)
        pieces = FilePieces([path], 120)
        for _ in range(2):  # the second time, as in a later epoch
            found, rows = read_all(pieces)
            assert found.equals(whole) and found.schema == whole.schema and np.array_equal(rows, origin.rows)
            for x, y in zip(found, whole, strict=True):
                if x.dtype.is_float():
                    assert np.array_equal(np.signbit(x.to_numpy()), np.signbit(y.to_numpy()))


def test_pieces_of_plain_numbers_are_not_read_as_texts(tmp_path, monkeypatch):
    """Neither where missing values have a spelling; where a column changes its mind, it is."""
    rng = np.random.default_rng(0)
    texts = [[f"{x:.3f}" if rng.random() > 0.1 else "NA" for x in rng.normal(size=60_000)] for _ in range(2)]
    texts[1][55_000:] = [x.replace("NA", "?") for x in texts[1][55_000:]]
    path = tmp_path / "t.csv"
    path.write_text("\n".join(map(",".join, [["a", "b"], *zip(*texts, strict=True)])) + "\n")
    as_texts = []
    read = csv_index.CsvFile.read_texts
    monkeypatch.setattr(csv_index.CsvFile, "read_texts", lambda self, k: as_texts.append(k) or read(self, k))
    pieces = FilePieces([path], SMALL)
    n = len(pieces.heights)
    assert n > 8 and as_texts[0] == 0 and len(as_texts) < 4
    as_texts.clear()
    found, _ = read_all(pieces)
    assert len(as_texts) < 4 and found.equals(read_table_with_origin(path)[0])


def test_parquet_in_pieces_and_folders(tmp_path):
    """A folder, a pattern and a list give the rows of their files in the order of the names."""
    frame = pl.DataFrame({" a ": range(5000), "b": [str(i) for i in range(5000)]})
    for number, part in enumerate(frame.iter_slices(1700)):
        part.write_parquet(tmp_path / f"part{number}.parquet", row_group_size=400)
    (tmp_path / "notes.md").write_text("no table")
    for where in (tmp_path, tmp_path / "part*.parquet", sorted(tmp_path.glob("*.parquet"))):
        pieces = FilePieces(find_files(where if isinstance(where, list) else str(where)), 10_000)
        found, rows = read_all(pieces)
        assert found.equals(frame.rename({" a ": "a"}))
        assert rows.tolist() == [*range(1, 1701), *range(1, 1701), *range(1, 1601)]
        assert pieces.read(1, ["b"])[0].columns == ["b"]


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def parquet_bytes(tmp_path: Path, **columns) -> bytes:
    pl.DataFrame(columns).write_parquet(tmp_path / "made.parquet")
    return (tmp_path / "made.parquet").read_bytes()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"t.csv: the file is empty"),
        ("\n\n", r"t.csv: the file is empty: it holds blank lines only"),
        ("x,y\n", r"t.csv: the table has column names but no rows"),
        ("x,y\n1,2\n1,2,3\n", r"t.csv, row 3: 3 fields, but the header names 2 columns"),
        ('x,y\n1,"2\n', r"t.csv, row 2: a quotation mark opens here and is never closed"),
        ("x:y\n1:2\n3:4\n", r"there is no column 'y' to predict. The columns are 'x:y'"),
        ("x,x\n1,2\n", r"t.csv, row 1: the columns 1, 2 share the name 'x'"),
        (b"x,y\n\xff,1\n", r"t.csv, row 2: the byte 0xff is not UTF-8"),
        (b"x,y\n\x00,1\n", r"t.csv, row 2: this is no text file"),
        (b"PK\x03\x04 something", r"t.csv: this is a zip archive or an Excel workbook"),
        ("x,y\r1,2\r", r"t.csv: its lines end with a carriage return alone"),
    ],
)
def test_text_files_that_cannot_be_read(tmp_path, content, message):
    """Each fault is one DataError with the file and, where there is one, the row."""
    with pytest.raises(DataError, match=message):
        stream_table(write(tmp_path / "t.csv", content), "y")


def test_a_fault_far_down_is_named_with_its_line(tmp_path):
    """A row that is too long and a byte that is no text are found in a later piece, with their line in the file."""
    rows = [f"{i},{i % 2}" for i in range(40_000)]
    for fault, message in (
        ("7,7,7", r"row 30002: 3 fields"),
        ('7,"7', r"row 30002: a quotation mark"),
    ):
        path = write(tmp_path / "t.csv", "\n".join(["x,y", *rows[:30_000], fault, *rows[30_000:], ""]))
        with pytest.raises(DataError, match=f"^t.csv, {message}"):
            stream_table(path, "y", memory=1e6)


def test_a_column_that_changes_its_type_late(tmp_path):
    """A text after a million numbers is named with its line; one that is a number all the same changes the type."""
    lines = "".join(f"{i},{i % 2}\n" for i in range(1_000_000))
    path = write(tmp_path / "t.csv", f"x,y\n{lines}oops,1\n")
    with pytest.raises(DataError, match=r"^t.csv, row 1000002: column 'x' holds numbers, but 1 of .* first 'oops'"):
        stream_table(path, "y", validation=0)
    path = write(tmp_path / "t.csv", f"x,y\n{lines[:400_002]}0.5,1\n")
    table = stream_table(path, "y", validation=0, memory=1e6)
    assert table.encoder.columns[0].kind == "number" and "standardised: 'x'" in table.report[-2]


def test_files_that_are_not_there(tmp_path):
    """No file, an empty folder, a pattern without match, an unknown ending, an empty list."""
    for where, message in (
        (tmp_path / "no.csv", "no.csv: there is no such file"),
        (tmp_path, "the folder holds no table"),
        (str(tmp_path / "*.csv"), "no file has such a name"),
        (write(tmp_path / "t.docx", "x"), "the extension '.docx' is unknown"),
        ([], "the list of files is empty"),
    ):
        with pytest.raises(DataError, match=message):
            stream_table(where, "y")


def test_files_that_do_not_fit_together(tmp_path):
    """Other columns and other types in a later file are named with both files."""
    (tmp_path / "a.parquet").write_bytes(parquet_bytes(tmp_path, x=[1], y=[0]))
    made = tmp_path / "made.parquet"
    for columns, message in (
        (
            {"X": [1], "y": [0]},
            r"made.parquet: its columns are not those of a.parquet: it lacks 'x' \(did you mean 'X'",
        ),
        ({"x": [1], "y": [0], "z": [1]}, r"it has 'z' more"),
        ({"x": ["1"], "y": [0]}, r"made.parquet: column 'x' is String, in a.parquet it is Int64"),
    ):
        parquet_bytes(tmp_path, **columns)
        with pytest.raises(DataError, match=message):
            stream_table([tmp_path / "a.parquet", made], "y")
    parquet_bytes(tmp_path, y=[1, 0], x=[2.5, 3.5])
    assert stream_table([tmp_path / "a.parquet", made], "y", validation=0).train.n_examples == 3


def test_damaged_parquet(tmp_path):
    """Cut short, empty, another format, or damaged in the middle: one error with the file, and the rows if known."""
    content = parquet_bytes(tmp_path, x=np.random.default_rng(0).normal(size=20_000), y=[0, 1] * 10_000)
    path = tmp_path / "t.parquet"
    for damaged, message in (
        (content[: len(content) // 2], "t.parquet: the Parquet file is damaged or cut short"),
        (b"", "t.parquet: the file is empty"),
        (b"x,y\n1,2\n", "t.parquet: this is no Parquet file"),
        (content[:20] + b"\xff" * 5000 + content[5020:], r"t.parquet, rows \d+ to \d+: the Parquet file is damaged"),
    ):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=message):
            stream_table(path, "y")


def test_a_file_that_changes_while_it_is_read(tmp_path):
    """Fewer rows than when it was opened are an error in the thread of whoever takes the blocks."""
    path = tmp_path / "t.parquet"
    pl.DataFrame({"x": range(100), "y": [0, 1] * 50}).write_parquet(path)
    table = stream_table(path, "y", validation=0)
    pl.DataFrame({"x": range(60), "y": [0, 1] * 30}).write_parquet(path)
    with pytest.raises(DataError, match=r"t.parquet has changed since it was opened. Open it again"):
        list(table.train.epoch(0))


def test_columns_and_their_values_together_are_held_against_memory(tmp_path, monkeypatch):
    """Each of both alone would fit: 100 columns take 1 MB, and their values 0.3."""
    np.savez(tmp_path / "d.npz", x=np.zeros((375, 10, 10)), y=np.arange(375) % 2)
    monkeypatch.setattr("undertow.data.memory.find_memory", lambda: 1.1e6)
    with pytest.raises(DataError, match=r"^d.npz: 'x', \(10, 10\): a table of 100 columns takes 1.3 MB of memory"):
        read_table_with_origin(tmp_path / "d.npz")
