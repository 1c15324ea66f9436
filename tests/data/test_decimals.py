"""1,234 is a thousand and more, or a little above one: which is taken is told, and can be chosen."""

import numpy as np
import polars as pl
import pytest

from undertow.data import encode_table, read_table, read_table_with_origin, stream_table
from undertow.errors import ArgumentError
from undertow.train.predictions import predict_portions, read_encoder
from undertow.train.table import train_table
from undertow.train.table_settings import TableSettings

RNG = np.random.default_rng(4)
VALUES = RNG.integers(1000, 9999, 60)
GROUPED = [f"{v // 1000},{v % 1000:03}" for v in VALUES]


def write(path, separator, **columns):
    names = list(columns)
    rows = zip(*columns.values(), strict=True)
    path.write_text("\n".join([separator.join(names), *(separator.join(map(str, row)) for row in rows)]) + "\n")
    return path


def rows(**more):
    return {"x": GROUPED, **more, "y": [0, 1] * 30}


@pytest.mark.parametrize(
    ("separator", "more", "asked", "divisor"),
    [
        (";", {}, "auto", 1000),
        (";", {}, "comma", 1000),
        (";", {}, "point", 1),
        ("\t", {}, "auto", 1),
        ("\t", {}, "comma", 1000),
        ("\t", {"z": ["0,5"] * 30 + ["1,25"] * 30}, "auto", 1000),
        (";", {"z": ["0.5"] * 30 + ["1.25"] * 30}, "auto", 1),
        (";", {"z": ["0.5"] * 30 + ["1.25"] * 30}, "comma", 1000),
    ],
)
def test_a_comma_before_three_digits(tmp_path, separator, more, asked, divisor):
    """By the other columns, else by the separator, else as asked for; in pieces as in one."""
    file = write(tmp_path / "t.csv", separator, **rows(**more))
    remarks = []
    frame, origin = read_table_with_origin(file, decimal=asked, remarks=remarks)
    whole = encode_table(frame, "y", origin=origin, validation=0, decimal=asked)
    pieces = stream_table(str(file), "y", validation=0, decimal=asked, memory=1e6)
    want = encode_table(pl.DataFrame({**rows(**more), "x": VALUES / divisor}), "y", validation=0)
    for encoder in (whole.encoder, pieces.encoder):
        found, expected = (next(c for c in x.columns if c.name == "x") for x in (encoder, want.encoder))
        np.testing.assert_allclose([found.mean, found.scale], [expected.mean, expected.scale], rtol=1e-12)
    said = " ".join([*remarks, *whole.report])
    assert "'x': decimal commas" in said if divisor == 1000 else "'x': numbers written as 1,234.50" in said
    assert ("--decimal" in said) == (asked == "auto")
    assert {line for line in pieces.report if "'x': " in line} == {*remarks, *(x for x in whole.report if "'x': " in x)}


@pytest.mark.parametrize("values", [["0,234", "2,500"], ["1,2345", "7"], ["1234,5", "2,500"], ["3,14", "2,71"]])
def test_what_can_be_a_fraction_alone_needs_no_remark(tmp_path, values, recwarn):
    frame = read_table(write(tmp_path / "t.csv", ";", x=values * 5, y=[1, 2] * 5), decimal="point")
    assert frame["x"].to_list() == [float(value.replace(",", ".")) for value in values] * 5
    assert not recwarn.list


def test_a_later_piece_decides(tmp_path):
    """The first 9,000 rows may be either, the last one is a fraction: all are; then the last has thousands twice."""
    for last, dtype in (("3,14", 2), ("1,234,567", None)):
        file = write(tmp_path / "t.csv", ";", x=["1,234"] * 9000 + [last], y=[0, 1, 0] * 3000 + [1])
        found = stream_table(str(file), "y", validation=0, memory=1e6)
        column = found.encoder.columns[0]
        assert column.layout == ("" if dtype else "1,234.50")
        assert column.mean == pytest.approx(1.2342 if dtype else 1371.0, rel=1e-3)


def test_a_reader_without_a_list_warns(tmp_path):
    file = write(tmp_path / "t.csv", ";", **rows())
    with pytest.warns(UserWarning, match=r"t.csv: column 'x': decimal commas, so \S+ is \S+, as semicolons part"):
        read_table(file)
    with pytest.raises(ArgumentError, match=r"decimal is 'coma'\. Did you mean 'comma'"):
        read_table(file, decimal="coma")


def test_quoted_thousands_can_be_fractions():
    """In a frame, or between commas, a comma parts thousands; where that is wrong, it is said once."""
    frame = pl.DataFrame({"x": GROUPED, "y": GROUPED})
    for asked, divisor in (("auto", 1), ("point", 1), ("comma", 1000)):
        table = encode_table(frame, "y", validation=0, decimal=asked)
        target = table.encoder.target
        assert target.mean == pytest.approx(VALUES.mean() / divisor)
        assert table.encoder.columns[0].mean == pytest.approx(VALUES.mean() / divisor)
        assert any("--decimal comma" in line for line in table.report) == (asked == "auto")


@pytest.mark.parametrize("asked", [None, "point", "comma"])
def test_a_run_reads_later_files_as_it_was_trained(tmp_path, asked):
    """The choice is in config.toml, and predictions follow it: 1,234 and what it was trained as are one number."""
    file = write(tmp_path / "t.csv", ";", x=GROUPED, y=(VALUES * 2).tolist())
    said = []
    settings = TableSettings(data=str(file), target="y", decimal=asked, epochs=2, hidden=[4], flow=False)
    run, _ = train_table(settings, tmp_path / "run", progress=False, say=said.append)
    assert f'decimal = "{asked or "auto"}"' in (tmp_path / "run" / "config.toml").read_text()
    new = write(tmp_path / "new.csv", ";", x=["7,500", "2,250"], y=[1, 1])
    remarks = []
    (found,) = predict_portions(run, new, remarks=remarks)
    values = [7500, 2250] if asked == "point" else [7.5, 2.25]
    encoder = read_encoder(run)
    X = (np.array(values) - encoder.columns[0].mean) / encoder.columns[0].scale
    want = encoder.decode(run.predict(X[:, None].astype(np.float32)))
    np.testing.assert_allclose(found["prediction"], np.ravel(want), rtol=1e-5)
    assert any("decimal commas" in remark for remark in remarks) == (asked != "point")
