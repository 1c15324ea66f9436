"""Tables in other files than plain CSV: each gives the rows, types and lines that were written by other libraries."""

from __future__ import annotations

import bz2
import datetime
import gzip
import json
import lzma
import os
import tempfile

import numpy as np
import polars as pl
import pytest

from undertow.data import read_table, read_table_with_origin, stream_table
from undertow.data.csv_index import index_csv
from undertow.data.json_lines import index_json
from undertow.data.table_pieces import FilePieces, takes_more
from undertow.data.text_files import TemporaryText, open_text
from undertow.errors import DataError
from undertow.train.table_data import column_names

N = 3000


def make_frame(n: int = N) -> pl.DataFrame:
    rng = np.random.default_rng(0)
    return pl.DataFrame(
        {
            "n": rng.integers(0, 1000, n),
            "x": rng.normal(size=n).round(9),  # openpyxl writes 16 digits
            "town": rng.choice(["Oslo", "Zürich", "Rome, Italy", 'the "Hague"'], n).tolist(),
            "day": pl.date_range(pl.date(2000, 1, 1), pl.date(2000, 1, 1) + pl.duration(days=n - 1), eager=True),
            "yes": rng.random(n) < 0.5,
            "lost": pl.Series(np.where(rng.random(n) < 0.2, np.nan, 1.5)).fill_nan(None),
        }
    )


def write_zstd(path, content):
    zstd = pytest.importorskip("backports.zstd") if not has_zstd() else __import__("compression.zstd").zstd
    path.write_bytes(zstd.compress(content))


def has_zstd():
    import importlib.util

    return importlib.util.find_spec("compression") is not None


def write_workbook(path, frame, skip=0):
    openpyxl = pytest.importorskip("openpyxl")
    pytest.importorskip("python_calamine")
    book = openpyxl.Workbook()
    for row in [*[[None]] * skip, frame.columns, *frame.rows()]:
        book.active.append(list(row))
    book.save(path)


def write(folder, kind, frame):
    """The frame as a file of some kind."""
    path = folder / f"t.{kind}"
    text = frame.write_csv()
    packers = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}
    if kind == "csv":
        path.write_text(text)
    elif kind == "csv.zst":
        write_zstd(path, text.encode())
    elif kind == "utf16.csv":
        path.write_bytes(text.encode("utf-16"))
    elif kind == "utf16.tsv.gz":
        path.write_bytes(gzip.compress(frame.write_csv(separator="\t").encode("utf-16-be").join([b"\xfe\xff", b""])))
    elif kind == "jsonl.gz":
        path.write_bytes(gzip.compress(frame.write_ndjson().encode()))
    elif kind == "ndjson":
        path.write_text(frame.write_ndjson())
    elif kind in ("arrow", "feather"):
        frame.write_ipc(path, compression="zstd" if kind == "arrow" else "uncompressed", record_batch_size=500)
    elif kind == "xlsx":
        write_workbook(path, frame)
    elif kind == "tsv":
        frame.write_csv(path, separator="\t")
    else:
        path.write_bytes(packers[kind.rpartition(".")[2]](text.encode()))
    return path


KINDS = ["csv", "tsv", "csv.gz", "csv.bz2", "csv.xz", "csv.zst", "utf16.csv", "utf16.tsv.gz", "ndjson", "jsonl.gz",
         "arrow", "feather", "xlsx"]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_gives_the_table_that_was_written(tmp_path, kind):
    """Values to the last bit, types and names; JSON has dates as texts."""
    frame = make_frame()
    found = read_table(write(tmp_path, kind, frame))
    if "json" in kind:
        found = found.with_columns(pl.col("day").str.to_date())
    assert found.equals(frame.cast({"n": found.schema["n"]}))


@pytest.mark.parametrize("kind", KINDS)
def test_pieces_of_each_kind_are_its_rows(tmp_path, kind, monkeypatch):
    """Of many pieces, in any order and by columns, the same rows, and the same lines of the file."""
    for module in ("csv_index", "json_lines"):
        monkeypatch.setattr(f"undertow.data.{module}._LEAST_BYTES", 1000)
    path = write(tmp_path, kind, make_frame())
    whole, origin = read_table_with_origin(path)
    pieces = FilePieces([path], 20_000)
    assert len(pieces.heights) > 5 and sum(pieces.heights) == N
    parts = [pieces.read(number) for number in reversed(range(len(pieces.heights)))][::-1]
    assert pl.concat([frame for frame, _ in parts]).equals(whole)
    assert np.array_equal(np.concatenate([place.rows for _, place in parts]), origin.rows)
    assert pieces.read(2, ["x", "town"])[0].columns == ["x", "town"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_encoder_of_a_stream_is_that_of_plain_text(tmp_path, kind):
    """Fitted on any kind, columns are those fitted on CSV."""
    frame = make_frame()
    expected = stream_table(write(tmp_path, "csv", frame), "x", memory=1e6, validation=0.2).encoder
    found = stream_table(write(tmp_path, kind, frame), "x", memory=1e6, validation=0.2).encoder
    assert found.feature_names == expected.feature_names
    assert (found.target.mean, found.target.scale) == pytest.approx((expected.target.mean, expected.target.scale))


# Compressed texts


@pytest.mark.parametrize("kind", ["csv.gz", "csv.bz2", "csv.xz", "csv.zst"])
def test_damaged_archives_are_one_clear_error(tmp_path, kind):
    """Cut anywhere, or with bytes turned: the file is named; nothing else is raised."""
    path = write(tmp_path, kind, make_frame(300))
    content, rng = path.read_bytes(), np.random.default_rng(1)
    for trial in range(60):
        bad = bytearray(content[: rng.integers(1, len(content))] if trial % 2 else content)
        bad[rng.integers(len(bad))] ^= 1 << rng.integers(8)
        path.write_bytes(bad)
        try:
            read_table(path)
        except DataError as error:
            assert str(error).startswith("t.csv") and "\n" not in str(error)
    path.write_bytes(content[:-6])
    with pytest.raises(DataError, match="damaged or cut short"):
        read_table(path)


def test_what_is_compressed_goes_beside_memory(tmp_path, monkeypatch):
    """A file without a name, which ends with its process; what the disk refuses is told with a remedy."""
    path = tmp_path / "t.csv.gz"
    path.write_bytes(gzip.compress(b"a,b\n" + b"1,2\n" * 8_000_000))
    before = set((tmp_path / "tmp").mkdir() or (tmp_path / "tmp").iterdir())
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    text = open_text(path, [])
    assert isinstance(text, TemporaryText) and text.size == 32_000_004
    assert text.read(4 * 10**6, 4 * 10**6 + 4) == b"1,2\n" and set((tmp_path / "tmp").iterdir()) == before
    assert takes_more(path, 6e6) and not takes_more(path, 600e6)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    with pytest.raises(DataError, match=r"^t.csv.gz: there is no room to unpack it in .*none .* Set TMPDIR"):
        open_text(path, [])


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")
@pytest.mark.parametrize("rows", [1, 2_000_000])
def test_a_disk_that_is_full_is_told_however_little_is_left_to_write(tmp_path, monkeypatch, rows):
    """The last bytes are buffered, and would be written where they are read."""
    path = tmp_path / "t.csv.gz"
    path.write_bytes(gzip.compress(b"a,b\n" + b"1,2\n" * rows))
    full = lambda size: open("/dev/full", "wb")  # noqa: SIM115 (it lives as long as the text)
    monkeypatch.setattr(tempfile, "SpooledTemporaryFile", full)
    with pytest.raises(DataError, match=r"^t.csv.gz: there is no room to unpack it .*No space left .* Set TMPDIR"):
        open_text(path, [])


def test_a_text_that_unpacks_to_more_than_memory_is_named(tmp_path, monkeypatch):
    """Before it is parsed."""
    path = tmp_path / "t.csv.gz"
    path.write_bytes(gzip.compress(b"a,b\n" + b"1,2\n" * 500_000))
    monkeypatch.setattr("undertow.data.memory.find_memory", lambda: 1e6)
    with pytest.raises(DataError, match=r"^t.csv.gz takes 2 MB of memory, and this process may use 1 MB. .*--memory"):
        read_table(path)


def test_a_library_that_is_not_there_is_named(tmp_path, monkeypatch):
    """And how to install it."""
    import sys

    for name in ("backports", "compression", "python_calamine"):
        monkeypatch.setitem(sys.modules, name, None)
    for name, library in (("t.csv.zst", "backports.zstd"), ("t.xlsx", "python-calamine")):
        (tmp_path / name).write_bytes(b"\x28\xb5\x2f\xfd")
        with pytest.raises(DataError, match=rf"^{name}: .*pip install {library}"):
            read_table(tmp_path / name)


# Lines of JSON


def test_json_lines_have_any_names_and_types(tmp_path, monkeypatch):
    """Names that some rows lack are null there; numbers beside texts are texts, whichever piece they stand in."""
    monkeypatch.setattr("undertow.data.json_lines._LEAST_BYTES", 1)
    rows = [{"a": 1, "b": "x"}, {}, {"a": 2.5, "c": True}, {"b": 7, " d ": None}, {"d2": [1, 2]}]
    path = tmp_path / "t.jsonl"
    path.write_text("\n\n".join(json.dumps(row) for row in rows))
    found = index_json(path, 4, [])
    assert len(found.bounds) == 9 and found.names == ("a", "b", "c", "d", "d2")
    parts = [found.read(number) for number in range(9)]
    frame = pl.concat([frame for frame, _ in parts])
    assert frame["a"].to_list() == [1.0, None, 2.5, None, None] and frame["b"].to_list() == ["x", None, None, "7", None]
    assert [int(line) for _, lines in parts for line in lines] == [1, 3, 5, 7, 9]


def test_lists_in_json_lines_are_spread(tmp_path):
    """As those of Parquet."""
    path = tmp_path / "t.jsonl"
    path.write_text('{"x": [1, 2.5], "y": "a"}\n{"x": [3, 4], "y": "b"}\n')
    assert read_table(path).rows(named=True) == [{"y": "a", "x_0": 1.0, "x_1": 2.5}, {"y": "b", "x_0": 3.0, "x_1": 4.0}]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1}\n\n{"a": 2\n{"a": 3}\n', "row 3: this is no JSON that can be read"),
        ('{"a": 1}\n[1, 2]\n', r"row 2: this is no JSON object. Write one a line"),
        (
            '{"a": 1}\n' * 100 + '{"a": NaN}\n' + '{"a": 1}\n' * 100,
            "row 101: this is no JSON .* null",
        ),
        ("a,b\n1,2\n", "row 1: this is no JSON object"),
        ("", "the file is empty"),
        ("\n \n", "its lines hold no values"),
        ("{}\n{}\n", "its lines hold no values"),
        ('{"a": {"b": 1}}\n{"a": [1]}\n', "do not fit together|no JSON that can be read"),
    ],
)
def test_bad_json_lines_are_one_clear_error(tmp_path, text, message):
    """With the row."""
    path = tmp_path / "bad.jsonl"
    path.write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        read_table(path)
    assert str(caught.value).startswith("bad.jsonl") and "\n" not in str(caught.value)


# Arrow


def test_other_arrow_files_are_named(tmp_path):
    """A stream, Feather of version 1, a cut file, and a name with the signs of patterns."""
    frame = make_frame(300)
    frame.write_ipc(tmp_path / "a[1]*.arrow")
    assert read_table(tmp_path / "a[1]*.arrow").equals(frame)
    frame.write_ipc_stream(tmp_path / "s.arrow")
    (tmp_path / "f.feather").write_bytes(b"FEA1" + bytes(100))
    (tmp_path / "c.arrow").write_bytes((tmp_path / "a[1]*.arrow").read_bytes()[:-20])
    (tmp_path / "t.arrow").write_bytes(b"a,b\n1,2\n")
    for name, message in (
        ("s.arrow", "a stream of Arrow's.*read_ipc_stream"), ("f.feather", "Feather of version 1"),
        ("c.arrow", "damaged or cut short"), ("t.arrow", "no Arrow file"),
    ):  # fmt: skip
        for read in (read_table, lambda path: FilePieces([path], 1000)):
            with pytest.raises(DataError, match=message):
                read(tmp_path / name)


# Workbooks


def test_a_sheet_is_read_as_its_export(tmp_path):
    """Places of rows, dates with and without a time of day, whole numbers, small ones, texts with any sign."""
    openpyxl, _ = pytest.importorskip("openpyxl"), pytest.importorskip("python_calamine")
    book, date, time = openpyxl.Workbook(), datetime.date, datetime.datetime
    sheet = book.create_sheet("numbers")
    rows = [
        ["id", "at", "on", "x", "t"],
        [1, time(2020, 1, 2), date(2020, 1, 2), 1e-17, 'a "b", c\nd'],
        [2, time(2020, 1, 2, 3, 4, 5), date(2021, 1, 2), 1 / 3, "NA"],
        [3, None, None, -12345678901234.0, "e"],
    ]
    for number, row in enumerate(rows):
        for column, value in enumerate(row):
            sheet.cell(3 + number + (number > 1), 2 + column, value)
    book.create_sheet("more").cell(1, 1, "q")
    book.save(tmp_path / "t.xlsx")
    remarks: list[str] = []
    frame, origin = read_table_with_origin(tmp_path / "t.xlsx", remarks=remarks)
    assert remarks == ["t.xlsx: the sheet 'numbers'; left aside: 'more'."]
    assert origin.rows.tolist() == [4, 7, 8]  # the text of row 4 goes over two lines
    assert frame.to_dict(as_series=False) == {
        "id": [1, 2, 3],
        "at": [time(2020, 1, 2), time(2020, 1, 2, 3, 4, 5), None],
        "on": [date(2020, 1, 2), date(2021, 1, 2), None],
        "x": [1e-17, 1 / 3, -12345678901234.0],
        "t": ['a "b", c\nd', None, "e"],
    }
    with pytest.warns(UserWarning, match=r"^t.xlsx: the sheet 'numbers'; left aside: 'more'.$"):
        read_table(tmp_path / "t.xlsx")


def test_bad_workbooks_are_one_clear_error(tmp_path, monkeypatch):
    """None, cut, empty, larger than memory when unpacked."""
    write_workbook(tmp_path / "t.xlsx", make_frame(300))
    content = (tmp_path / "t.xlsx").read_bytes()
    (tmp_path / "cut.xlsx").write_bytes(content[:-100])
    (tmp_path / "text.xls").write_text("a,b\n1,2\n")
    write_workbook(tmp_path / "empty.xlsx", pl.DataFrame())
    for name, message in (("cut.xlsx", "cannot be read"), ("text.xls", "cannot be read"), ("empty.xlsx", "is empty")):
        with pytest.raises(DataError, match=message) as caught:
            read_table(tmp_path / name)
        assert str(caught.value).startswith(name) and "\n" not in str(caught.value)
    monkeypatch.setattr("undertow.data.memory.find_memory", lambda: 1e4)
    with pytest.raises(DataError, match=r"^t.xlsx, unpacked, takes .* may use 10 kB. Export the sheet as CSV"):
        read_table(tmp_path / "t.xlsx")


def test_the_index_of_a_compressed_text_is_that_of_the_text(tmp_path):
    """Pieces begin at the same bytes and lines."""
    frame = make_frame()
    plain, packed = (index_csv(write(tmp_path, kind, frame), 1000, []) for kind in ("csv", "csv.gz"))
    assert (plain.starts, plain.ends, plain.lines) == (packed.starts, packed.ends, packed.lines) and plain.starts[2:]


def test_all_names_of_json_lines_are_told_where_the_target_is_not(tmp_path):
    """Also those that come after the first hundred rows; without the byte-order mark and outer spaces."""
    rows = [{" x ": 1.5, **({"late": k} if k > 200 else {}), "y": k} for k in range(300)]
    file = tmp_path / "a.jsonl"
    file.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8-sig")
    assert sorted(column_names(str(file))) == ["late", "x", "y"] == sorted(read_table(file).columns)
