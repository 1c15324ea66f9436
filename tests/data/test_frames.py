"""Tables from files: what is read, and that every bad file is one clear error."""

from __future__ import annotations

import datetime
import decimal
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from undertow.data import read_table, read_table_with_origin
from undertow.data.columnar import open_columnar
from undertow.errors import DataError

ALLOWED = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


@pytest.fixture
def write(tmp_path: Path):
    """Write content to a file of this name, and give its path."""

    def write_file(content: str | bytes, name: str = "table.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write_file


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_separator_is_found(write, separator):
    """Comma, semicolon and tab each give the same table."""
    text = "name,age\nAda,36\nGrace,85\n".replace(",", separator)
    assert read_table(write(text)).rows() == [("Ada", 36), ("Grace", 85)]


def test_separator_that_splits_rows_alike_wins(write):
    """A semicolon file is read as such although its texts hold commas."""
    frame = read_table(write("a;b\nx, y, z;1\nu, v;2\n"))
    assert frame.rows() == [("x, y, z", 1), ("u, v", 2)]


@pytest.mark.parametrize("spelling", ["", "NA", "N/A", "NaN", "nan", "null", "None", "?", "  NA "])
def test_null_spellings_are_missing(write, spelling):
    """Each usual spelling of a missing value is null in a column of numbers and of texts."""
    frame = read_table(write(f"a,b\n1,x\n{spelling},{spelling}\n"))
    assert frame.rows() == [(1, "x"), (None, None)]


def test_types_are_inferred(write):
    """A column becomes integers, numbers, booleans, dates or datetimes where every value is one."""
    frame = read_table(
        write("i,f,b,d,t,s\n1,1e3,TRUE,2024-02-29,2024-02-29 10:30,yes\n-2, .5,false,2023-01-01,2024-03-01 00:00,no\n")
    )
    assert frame.schema == {
        "i": pl.Int64,
        "f": pl.Float64,
        "b": pl.Boolean,
        "d": pl.Date,
        "t": pl.Datetime("us"),
        "s": pl.String,
    }
    assert frame.row(0) == (
        1,
        1000.0,
        True,
        datetime.date(2024, 2, 29),
        datetime.datetime(2024, 2, 29, 10, 30),
        "yes",
    )


def test_impossible_date_stays_text(write):
    """The 30th of February is no date, so its column stays text."""
    assert read_table(write("d,x\n2024-02-30,1\n2024-02-01,2\n")).schema["d"] == pl.String


def test_infinity_is_a_number(write):
    """The word inf in a column of numbers is read as a number, for the encoder to refuse with its row."""
    assert read_table(write("a,b\n1,x\ninf,y\n"))["a"].to_list() == [1.0, float("inf")]


def test_late_text_makes_a_column_text(write):
    """A single text behind hundreds of numbers is found: no value is lost to a guess from the first rows."""
    rows = [str(i) for i in range(500)] + ["oops"]
    frame = read_table(write("a,b\n" + "".join(f"{row},1\n" for row in rows)))
    assert frame["a"].to_list() == rows


def test_decimal_comma_in_semicolon_files(write):
    """3,14 is a number where the separator is no comma."""
    assert read_table(write("a;b\n3,14;x\n2;y\n"))["a"].to_list() == [3.14, 2.0]


def test_as_text_keeps_leading_zeros(write):
    """A column named in as_text is not turned into numbers, and its missing values stay missing."""
    frame = read_table(write("code,x\n007,1\nNA,2\n"), as_text=["code"])
    assert frame["code"].to_list() == ["007", None]


def test_names_are_stripped_and_made(write):
    """Outer spaces of names go, and a nameless column is named by its place."""
    assert read_table(write(' age ,,"a, b"\n1,2,3\n')).columns == ["age", "unnamed_2", "a, b"]


def test_line_ends_and_byte_order_mark(write):
    """Windows and old Mac line ends and a byte-order mark change nothing."""
    for text in ("\ufeffa,b\r\n1,x\r\n2,y\r\n", "a,b\r1,x\r2,y", "a,b\n1,x\n2,y"):
        assert read_table(write(text)).rows() == [(1, "x"), (2, "y")]


def test_quotes_hold_separators_and_line_breaks(write):
    """Quoted fields may hold separators, doubled marks and line breaks; rows are numbered by line."""
    frame, origin = read_table_with_origin(write('a,b\n1,"x, ""y""\nz"\n2,w\n'))
    assert frame.rows() == [(1, 'x, "y"\nz'), (2, "w")]
    assert origin.rows.tolist() == [2, 4]


def test_blank_lines_are_no_rows(write):
    """Blank lines are skipped, and the lines behind them keep their number."""
    frame, origin = read_table_with_origin(write("\n\na,b\n1,2\n\n   \n3,4\n\n"))
    assert frame.rows() == [(1, 2), (3, 4)]
    assert origin.rows.tolist() == [4, 7]
    assert origin.where(1) == "table.csv, row 7"


def test_blank_line_of_a_single_column_is_a_missing_value(write):
    """In a table of one column an empty line is a row; those at the end are not."""
    assert read_table(write("x\n1\n\n3\n\n\n"))["x"].to_list() == [1, None, 3]


def test_parquet_round_trip(tmp_path):
    """A Parquet file gives the table that was written, with stripped names and rows numbered from 1."""
    frame = pl.DataFrame({" a": [1.5, None], "b": ["x", "y"]})
    frame.write_parquet(tmp_path / "t.parquet")
    found, origin = read_table_with_origin(tmp_path / "t.parquet")
    assert found.equals(frame.rename({" a": "a"}))
    assert origin.rows.tolist() == [1, 2]


BAD_TEXTS = {
    "empty": (b"", "the file is empty"),
    "blank lines": (b"\n \n", "the file is empty"),
    "header only": (b"a,b\n", "column names but no rows"),
    "header without line end": (b"a,b", "column names but no rows"),
    "short row": (b"a,b\n1,2\n3\n4,5\n6,7\n", "row 3: 1 field, but the header names 2 columns"),
    "long row": (b"a,b\n1,2\n3,4\n4,5,6\n6,7\n", "row 4: 3 fields, but the header names 2 columns"),
    "two ragged rows": (b"a,b\n1,2\n3\n4,5\n6\n7,8\n", r"row 3: 1 field, .* \(2 rows differ in all\)"),
    "ragged behind a quoted line break": (b'a,b\n"1\n",2\n3\n4,5\n', "row 4: 1 field"),
    "duplicate names": (b"a,b, a\n1,2,3\n", "row 1: the columns 1, 3 share the name 'a'"),
    "latin-1": ("a,b\n1,x\n2,é\n".encode("latin-1"), "row 3: the byte 0xe9 is not UTF-8"),
    "utf-16 cut": ("a,b\n1,2\n".encode("utf-16")[:-1], "this is no whole text in UTF-16: truncated data"),
    "utf-16 unmarked": ("a,b\n1,2\n".encode("utf-16-le"), "this is no text file"),
    "utf-32": ("a,b\n1,2\n".encode("utf-32"), "row 1: (this is no text file|the byte 0xff is not UTF-8)"),
    "zero byte": (b"a,b\n1,\x002\n", "row 2: this is no text file"),
    "random bytes": (bytes(range(256)) * 4, "this is no text file"),
    "workbook": (b"PK\x03\x04\x14\x00\x06\x00", "Excel workbook: give it the extension .xlsx"),
    "gzip": (b"\x1f\x8b\x08\x00", "compressed with gzip: give its name the end .csv.gz"),
    "parquet inside": (b"PAR1....PAR1", "give it the extension .parquet|Give it the extension .parquet"),
    "prose without commas": (
        b"It was a dark and stormy night\nand the rain fell down\n",
        "does not look like a table: no comma, semicolon, tab or bar",
    ),
    "prose with commas": (
        b"Dear reader, here is prose\nIt goes on and on\nIt ends, finally, here, now\nBye\n",
        "does not look like a table: row 1",
    ),
    "open quote": (b'a,b\n1,"x\n2,y\n3,z\n', "row 2: a quotation mark opens here and is never closed"),
    "stray quote": (b'a,b\n1,x\n2,5" pipe\n3,6" pipe\n', "row 3: a quotation mark stands in the middle"),
}


@pytest.mark.parametrize("name", BAD_TEXTS)
def test_bad_text_is_one_clear_error(write, name):
    """Every kind of bad text file is a one-line DataError with the file's name and the fault."""
    content, message = BAD_TEXTS[name]
    with pytest.raises(DataError, match=message) as caught:
        read_table(write(content, "bad.csv"))
    assert str(caught.value).startswith("bad.csv")
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_bad_paths(tmp_path, write):
    """A missing file, a folder, an unknown extension and an impossible name are each told apart."""
    with pytest.raises(DataError, match="there is no such file"):
        read_table(tmp_path / "none.csv")
    with pytest.raises(DataError, match="is a folder"):
        read_table(tmp_path)
    with pytest.raises(DataError, match=r"the extension '\.docx' is unknown; tables are read from \.csv"):
        read_table(write("a,b\n1,2\n", "t.docx"))
    with pytest.raises(DataError, match=r"^t.ZIP: it is an archive\. Unpack it first"):
        read_table(write("a,b\n1,2\n", "t.ZIP"))
    for name in ("t.gz", "t.parquet.zst"):
        with pytest.raises(DataError, match=rf"^{name}: its name tells no text that was compressed"):
            read_table(write("a,b\n1,2\n", name))
    with pytest.raises(DataError, match="it has no extension"):
        read_table(write("a,b\n1,2\n", "table"))
    for name in ("a\0b.csv", "x" * 5000 + ".csv"):
        with pytest.raises(DataError):
            read_table(tmp_path / name)


def test_bad_parquet(tmp_path, write):
    """A Parquet file that is empty, cut short, of another kind, or without rows is a DataError."""
    path = tmp_path / "t.parquet"
    pl.DataFrame({"a": list(range(1000))}).write_parquet(path)
    content = path.read_bytes()
    for name, part, message in (
        ("empty.parquet", b"", "the file is empty"),
        ("cut.parquet", content[: len(content) // 2], "damaged or cut short"),
        ("ends.parquet", b"PAR1" + b"\xff" * 64 + b"PAR1", "damaged or cut short"),
        ("text.parquet", b"a,b\n1,2\n", "this is no Parquet file"),
    ):
        with pytest.raises(DataError, match=message) as caught:
            read_table(write(part, name))
        assert str(caught.value).startswith(name) and "\n" not in str(caught.value)
    pl.DataFrame({"a": pl.Series([], dtype=pl.Int64)}).write_parquet(path)
    with pytest.raises(DataError, match="column names but no rows"):
        read_table(path)
    pl.DataFrame({"a": [1], " a ": [2]}).write_parquet(path)
    with pytest.raises(DataError, match="share the name 'a'"):
        read_table(path)


def test_decimals_with_more_digits_than_can_be_read_are_named(tmp_path):
    """The file is not damaged: Arrow has decimals of 256 bits, which Polars does not read."""
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "t.parquet"
    long = arrow.array([decimal.Decimal(i) / 4 for i in range(50)], arrow.decimal256(50, 4))
    parquet.write_table(arrow.table({"x": range(50), "price": long}), path)
    for read in (read_table, lambda path: open_columnar(path, 1000)):
        with pytest.raises(DataError, match="column 'price' holds decimals of 50 digits, of which 38 at most"):
            read(path)
    parquet.write_table(arrow.table({"price": long.cast(arrow.decimal128(38, 4))}), path)
    np.testing.assert_array_equal(read_table(path)["price"].cast(pl.Float64), np.arange(50) / 4)


@settings(max_examples=400, deadline=None, suppress_health_check=ALLOWED)
@given(content=st.text(alphabet='a1,;\t\n\r" .?-é', max_size=60).map(str.encode) | st.binary(max_size=60))
def test_any_bytes_give_a_table_or_a_data_error(tmp_path, content):
    """Whatever a file holds, reading it gives a table with one origin a row, or a one-line DataError."""
    path = tmp_path / "fuzz.csv"
    path.write_bytes(content)
    try:
        frame, origin = read_table_with_origin(path)
    except DataError as error:
        assert "fuzz.csv" in str(error) and "\n" not in str(error)
    else:
        assert frame.height == origin.rows.size > 0
        assert np.all(np.diff(origin.rows) > 0)


@settings(max_examples=100, deadline=None, suppress_health_check=ALLOWED)
@given(
    rows=st.lists(
        st.tuples(
            st.integers(-(2**53), 2**53),
            st.floats(allow_nan=False, allow_infinity=False),
            st.text(alphabet='abc,;"\n x', min_size=1).map(lambda text: f"<{text}>"),
        ),
        min_size=1,
        max_size=8,
    )
)
def test_written_tables_come_back(tmp_path, rows):
    """A table written by polars, quotes and line breaks included, is read back equal."""
    frame = pl.DataFrame(rows, schema=["i", "f", "s"], orient="row")
    path = tmp_path / "t.csv"
    frame.write_csv(path)
    found = read_table(path)
    assert found["i"].to_list() == frame["i"].to_list()
    assert found["f"].to_list() == frame["f"].to_list()
    assert found["s"].to_list() == frame["s"].to_list()
