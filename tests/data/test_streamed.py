"""Tables larger than memory: the same encoder as in memory, every row once, bounded memory."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from itertools import chain
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from undertow.data import ArraySource, TabularEncoder, cache, stream_table
from undertow.data.column_statistics import NumberStatistics, TextStatistics
from undertow.data.reading import watch_reading
from undertow.data.roles import Roles
from undertow.data.streamed import _choose_share
from undertow.errors import ArgumentError, DataError


def make_table(m: int, seed: int = 0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "row": range(m),
            "size": pl.Series(np.where(rng.random(m) < 0.1, np.nan, rng.normal(100, 20, m))).fill_nan(None),
            "town": rng.choice(["Oslo", "Rome", "Lima", None], m).tolist(),
            "patient": rng.integers(0, 30, m),
            "day": pl.date_range(pl.date(2000, 1, 1), pl.date(2000, 1, 1) + pl.duration(days=m - 1), eager=True),
            "w": rng.random(m),
            "kind": rng.choice(["flat", "house", None], m, p=[0.6, 0.3, 0.1]).tolist(),
        }
    )


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A table of 20,000 rows as Parquet, as CSV, and as a folder of both."""
    folder = tmp_path_factory.mktemp("files")
    frame = make_table(20_000)
    frame.write_parquet(folder / "t.parquet", row_group_size=3000)
    frame.write_csv(folder / "t.csv")
    (folder / "both").mkdir()
    frame.head(9000).write_csv(folder / "both" / "a.csv")
    frame.tail(11_000).write_parquet(folder / "both" / "b.parquet")
    return {"frame": frame, "parquet": folder / "t.parquet", "csv": folder / "t.csv", "folder": folder / "both"}


@pytest.mark.parametrize("kind", ["frame", "parquet", "csv", "folder"])
def test_the_encoder_is_that_of_the_whole_table(files, kind):
    """Fitted piece by piece, columns and target equal those fitted at once, but for rounding; so do the features."""
    table = stream_table(files[kind], "kind", validation=0, memory=2e7, shuffle=False)
    frame = files["frame"].drop_nulls("kind")
    whole = TabularEncoder.fit(frame, "kind")
    assert table.encoder.feature_names == whole.feature_names and table.encoder.target == whole.target
    for mine, reference in zip(table.encoder.columns, whole.columns, strict=True):
        if hasattr(mine, "mean"):
            assert mine.fill == reference.fill
            assert (mine.mean, mine.scale) == pytest.approx((reference.mean, reference.scale), rel=1e-12)
        else:
            assert mine == reference
    with table.train.epoch(0) as blocks:
        parts = list(blocks)
    X, y = (np.concatenate(part) for part in zip(*parts, strict=True))
    assert np.array_equal(X, table.encoder.transform(frame, report=[]))
    assert np.array_equal(y, whole.encode_target(frame))
    assert TabularEncoder.from_json_dict(table.encoder.to_json_dict()) == table.encoder


@pytest.mark.parametrize("kind", ["parquet", "csv", "folder"])
def test_every_row_once_and_resumed(files, kind):
    """Training and validation rows together are all rows; an epoch begun at any batch goes on bit for bit."""
    table = stream_table(files[kind], "kind", validation=0.2, seed=3, memory=1e6, weights="w")
    assert table.validation is not None
    row = table.encoder.feature_names.index("row")
    column = table.encoder.columns[0]

    def rows(source, start=0):
        with source.epoch(1, start, batch_size=100, seed=5) as blocks:
            return [block for block in blocks]

    train = rows(table.train)
    numbers = [
        np.rint(b[0][:, row] * column.scale + column.mean).astype(int) for b in [*train, *rows(table.validation)]
    ]
    expected = files["frame"].with_row_index().drop_nulls("kind")["index"].to_list()
    assert sorted(chain(*(part.tolist() for part in numbers))) == expected
    whole = [np.concatenate(parts) for parts in zip(*train, strict=True)]
    for start in (1, 17, table.train.n_batches(100) - 1):
        rest = [np.concatenate(parts) for parts in zip(*rows(table.train, start), strict=True)]
        assert all(np.array_equal(a[start * 100 :], b) for a, b in zip(whole, rest, strict=True))
    weights = files["frame"]["w"].to_numpy()[np.concatenate(numbers[: len(train)])]
    np.testing.assert_allclose(whole[2], weights, rtol=1e-6)


def test_the_rows_held_out_do_not_depend_on_memory(files):
    """The same seed holds out the same rows, whatever the pieces; another seed others; the share is nearly reached."""
    held = {
        (memory, seed): stream_table(files["parquet"], "kind", seed=seed, memory=memory).validation.n_examples
        for memory in (1e6, 5e6)
        for seed in (0, 1)
    }
    assert held[1e6, 0] == held[5e6, 0] != held[1e6, 1] == held[5e6, 1]
    m = files["frame"]["kind"].count()
    assert abs(held[1e6, 0] - 0.1 * m) < 4 * np.sqrt(m * 0.1 * 0.9)


def test_groups_and_time_in_a_stream(files):
    """No group is on both sides; the rows held out by time are the last ones."""
    table = stream_table(files["parquet"], "kind", validation=0.3, groups="patient", memory=1e6)
    assert "patient" not in table.encoder.feature_names and any("whole groups of 'patient'" in s for s in table.report)
    frame = files["frame"].drop_nulls("kind")
    total = {n for (n,) in frame.group_by("patient").len().select("len").iter_rows()}
    assert table.train.n_examples + table.validation.n_examples == frame.height
    assert table.validation.n_examples not in (0, frame.height) and len(total) > 1
    table = stream_table(files["parquet"], "kind", validation=0.25, time="day", memory=1e6)
    day = [c.name for c in table.encoder.columns].index("day")
    place = sum(len(c.feature_names) for c in table.encoder.columns[:day])
    last = max(block[0][:, place].max() for block in table.train.epoch(0))
    assert min(block[0][:, place].min() for block in table.validation.epoch(0)) > last
    assert table.validation.n_examples == pytest.approx(frame.height / 4, rel=0.02)


def test_validation_rows_that_fit_are_kept_in_memory(files):
    """A small validation part is read once; a large one is read again each time."""
    assert type(stream_table(files["parquet"], "kind").validation) is ArraySource
    large = stream_table(files["parquet"], "kind", validation=0.5, memory=1e6).validation
    assert type(large) is not ArraySource and large.shuffle is False


@pytest.mark.parametrize("long", [False, True])
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_rows_held_out_are_kept_from_the_pass_that_fits_the_encoder(files, tmp_path, kind, long):
    """They are those that the whole table encodes to, also where a text takes more memory than they may."""
    frame = files["frame"].with_columns(note=pl.lit("n" * (1000 if long else 1)) + pl.col("row").cast(pl.String))
    path = tmp_path / f"t.{kind}"
    frame.write_csv(path) if kind == "csv" else frame.write_parquet(path, row_group_size=2000)
    passes = []
    with watch_reading(lambda what, share: passes.append(what)):
        table = stream_table(path, "kind", validation=0.05, memory=2e6, leave_out="note", scaling="none", weights="w")
    assert ("the rows held out" in passes) == long and type(table.validation) is ArraySource
    names = [*frame.columns[:5], "kind"]
    present = frame.drop_nulls("kind")
    X, y = table.encoder.transform(present.select(names), report=[]), table.encoder.encode_target(present)
    held = np.flatnonzero(np.isin(X[:, 0], table.validation.arrays[0][:, 0]))
    assert np.array_equal(table.validation.arrays[0], X[held]) and np.array_equal(table.validation.arrays[1], y[held])
    np.testing.assert_array_equal(table.validation.arrays[2], present["w"].to_numpy()[held].astype(np.float32))
    (trained,) = zip(*((block[0],) for block in table.train.epoch(0)), strict=True)
    assert len(held) + sum(map(len, trained)) == present.height


def test_fewer_rows_are_held_out_where_memory_does_not_hold_a_tenth(files):
    """As many as it holds are kept there; where more are told, the files are read again, which the report says."""
    chosen = stream_table(files["parquet"], "kind", validation=None, memory=1e6)
    assert chosen.share == 0.056  # 1e6 / 8 bytes, 7 columns of 16 bytes, 20,000 rows
    assert type(chosen.validation) is ArraySource and chosen.validation.n_examples < 1300
    assert "read from the files anew" not in " ".join(chosen.report)
    told = stream_table(files["parquet"], "kind", validation=0.3, memory=1e6)
    assert told.share == 0.3 and "read from the files anew" in " ".join(told.report)


@pytest.mark.parametrize(
    ("rows", "n_columns", "memory", "roles", "share"),
    [
        (20_000, 7, 1e6, {}, 0.056),  # 1e6 / 8 bytes for columns of 16
        (11_250_000, 26, 300e6, {}, 0.008),
        (20_000, 67, 1e6, {}, 0.05),  # 1000 rows, not 117
        (20_000, 7, 1e8, {}, 0.1),
        (20_000, 7, 1e6, {"groups": "patient"}, 0.1),
        (20_000, 7, 1e6, {"time": "day"}, 0.1),
    ],
)
def test_the_share_that_is_held_out(rows, n_columns, memory, roles, share):
    """A tenth, or of rows at random as many as memory keeps, but no fewer than tell something."""
    pieces = SimpleNamespace(columns=[f"c{k}" for k in range(n_columns)], heights=[rows // 2, rows - rows // 2])
    assert _choose_share(pieces, Roles("kind", **roles), memory) == share


def test_one_row_and_none():
    """One row has no second class; rows that are all held out leave none to train on."""
    with pytest.raises(DataError, match="one class only"):
        stream_table({"x": [1], "y": ["a"]}, "y", validation=0)
    with pytest.raises(DataError, match="every target is missing"):
        stream_table({"x": [1, 2], "y": pl.Series([None, None], dtype=pl.String)}, "y", validation=0)
    with pytest.raises(DataError, match="the table has no rows"):
        stream_table(pl.DataFrame({"x": [], "y": []}), "y")
    with pytest.raises(ArgumentError, match="memory must be 1000000 bytes or more"):
        stream_table({"x": [1], "y": ["a"]}, "y", memory=10)
    with pytest.raises(DataError, match=r"there is no column 'weight' \(did you mean 'weights'\?\) for weights"):
        stream_table({"weights": [1, 2], "x": [1, 2], "y": ["a", "b"]}, "y", weights="weight")


def test_regression_from_a_stream(files):
    """Mean and deviation of the target are those of all rows."""
    table = stream_table(files["csv"], "w", validation=0, memory=1e6)
    w = files["frame"]["w"].to_numpy()
    assert table.encoder.task == "regression"
    assert (table.encoder.target.mean, table.encoder.target.scale) == pytest.approx((w.mean(), w.std()), rel=1e-12)
    assert table.train.example.shapes[1] == (1,)


def test_encoded_rows_on_disk(files, tmp_path):
    """A cache holds the encoded rows, is used again while nothing changed, and is made anew where something did."""
    folder = tmp_path / "made" / "encoded"
    plain = stream_table(files["parquet"], "kind", memory=2e6, weights="w")
    table = stream_table(files["parquet"], "kind", memory=2e6, weights="w", cache=folder)
    for mine, reference in zip(table.train.head(10**6), plain.train.head(10**6), strict=True):
        assert mine.dtype == reference.dtype and np.array_equal(mine, reference)
    written = (folder / "X.npy").stat().st_mtime_ns
    stream_table(files["parquet"], "kind", memory=2e6, weights="w", cache=folder)
    assert (folder / "X.npy").stat().st_mtime_ns == written
    other = stream_table(files["parquet"], "kind", memory=2e6, cache=folder, seed=1)
    assert (folder / "X.npy").stat().st_mtime_ns != written and not other.train.weighted
    assert sorted(entry.name for entry in folder.parent.iterdir()) == ["encoded"]
    wanted = other.train.head(10**6)
    for name in ("X.npy", "y.npy"):
        (folder / name).write_bytes((folder / name).read_bytes()[:-4])
        again = stream_table(files["parquet"], "kind", memory=2e6, cache=folder, seed=1)
        assert all(map(np.array_equal, again.train.head(10**6), wanted))
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match=r"the folder holds other files \(notes.txt\)"):
        stream_table(files["parquet"], "kind", cache=folder)
    with pytest.raises(DataError, match=r"is a file\. Give the name of a folder"):
        stream_table(files["parquet"], "kind", cache=folder / "notes.txt")


WRITER = """
import sys
from undertow.data import cache, stream_table
write = cache._write_arrays
def wait(source, folder):
    write(source, folder)
    print("there", flush=True)
    sys.stdin.read()
cache._write_arrays = wait
stream_table({"x": [1.0, 2.0] * 50, "y": ["a", "b"] * 50}, "y", cache=sys.argv[1])
"""


@pytest.mark.skipif(os.name != "posix", reason="locks of folders are those of POSIX systems")
def test_what_a_writer_that_was_killed_has_left_is_removed(tmp_path):
    """By the next writer; what a living one writes stays, as do other files of the user's."""
    (tmp_path / ".rows-mine").mkdir()
    (tmp_path / ".rows-mine" / "notes.txt").write_text("mine")
    (tmp_path / ".rowsX-abcdefgh").mkdir()
    (tmp_path / ".rowsX-abcdefgh" / "X.npy").write_text("of another cache")
    (tmp_path / ".rows-2").mkdir()
    (tmp_path / ".rows-2" / "X.npy").write_text("of one whose name begins alike")
    kept = {entry.name for entry in tmp_path.iterdir()}
    command = [sys.executable, "-c", WRITER, str(tmp_path / "rows")]
    writers = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(2)]
    for writer in writers:
        assert writer.stdout.readline() == b"there\n"
    writers[0].kill()
    writers[0].communicate()
    assert len({entry.name for entry in tmp_path.iterdir()} - kept) == 2
    stream_table({"x": [1.0, 2.0] * 50, "y": ["a", "b"] * 50}, "y", cache=tmp_path / "rows", seed=3)
    left = {entry.name for entry in tmp_path.iterdir()} - kept - {"rows"}
    assert len(left) == 1 and (tmp_path / left.pop() / "X.npy").exists()
    writers[1].communicate()  # its input ends: it writes to the end, in the place of what was written since
    assert writers[1].returncode == 0 and {entry.name for entry in tmp_path.iterdir()} == kept | {"rows"}


@pytest.mark.parametrize("name", ["", " "])
def test_encoded_rows_have_a_folder_with_a_name(name):
    with pytest.raises(ArgumentError, match=rf"cache is '{name}'\. Give the name of a folder for"):
        stream_table({"x": [1.0, 2.0] * 50, "y": ["a", "b"] * 50}, "y", cache=name)


@pytest.mark.parametrize("kind", ["file", "frame"])
def test_encoded_rows_of_a_table_that_has_changed(tmp_path, kind):
    """Encoded rows are written anew where two targets were exchanged, which no count and no mean tells."""
    frame = pl.DataFrame({"x": [float(i % 9) for i in range(90)], "y": ["cat", "dog", "dog"] * 30})
    other = frame.with_columns(pl.Series("y", ["dog", "cat", *frame["y"][2:]]))
    found = []
    for number, data in enumerate((frame, other)):
        path = tmp_path / "a.csv"
        data.write_csv(path)
        os.utime(path, (number, number))
        source = stream_table(path if kind == "file" else data, "y", validation=0.0, cache=tmp_path / "cache").train
        found.append(source.head(3)[1].tolist())
    assert found == [[0, 1, 1], [1, 0, 1]]


def test_encoded_rows_that_two_write_at_once(tmp_path, monkeypatch):
    """Rows that something else puts into the folder meanwhile are not trained on."""
    frame = pl.DataFrame({"x": [float(i % 9) for i in range(90)], "y": ["cat", "dog", "dog"] * 30})

    def go(seed):
        return stream_table(frame, "y", validation=0.5, seed=seed, cache=tmp_path / "cache", shuffle=False).train

    mine, times = go(1).head(10**3)[0].copy(), [0]
    write = cache._write

    def disturbed(source, folder, key, most=1):
        write(source, folder, key)
        if times[0] < most:
            times[0] += 1
            (folder / "cache.json").write_text("[]")

    (tmp_path / "cache" / "cache.json").unlink()
    monkeypatch.setattr(cache, "_write", disturbed)
    assert np.array_equal(go(1).head(10**3)[0], mine) and times == [1]
    monkeypatch.setattr(cache, "_write", partial(disturbed, most=99))
    with pytest.raises(DataError, match=r"cache: something else writes other rows there at the same time\. Give a"):
        go(2)


def test_a_parquet_file_sorted_by_class_is_mixed(tmp_path):
    """With 17 pieces a pool, the counts of 10 classes in batches of 64 vary as if drawn from 17 pieces, no more.

    Their variance is 5.76 for single rows, and (1 + 63/17) times that for whole pieces: 2.2 times the deviation. In the
    order of the file it would be 8 times.
    """
    m = 64_000
    path = tmp_path / "sorted.parquet"
    pl.DataFrame({"x": np.arange(m), "y": np.repeat(np.arange(10), m // 10)}).write_parquet(path, row_group_size=8000)
    table = stream_table(path, "y", validation=0, memory=1e6, scaling="none")
    correlations, variances = [], []
    for epoch in range(10):
        with table.train.epoch(epoch, batch_size=64) as blocks:
            x, y = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
        correlations.append(np.corrcoef(np.arange(m), x[:, 0])[0, 1])
        variances += [(y.reshape(-1, 64) == k).sum(axis=1).var() for k in range(10)]
    assert np.sqrt(np.mean(variances) / 5.76) < 2.3
    assert abs(np.mean(correlations)) < 4 / np.sqrt(10 * len(table.train.pieces.sizes))


# Statistics in parts


@settings(max_examples=100, deadline=None)
@given(
    values=st.lists(st.none() | st.floats(-1e12, 1e12), min_size=1, max_size=60),
    cuts=st.lists(st.integers(0, 60), max_size=5),
)
def test_statistics_of_parts_are_those_of_the_whole(values, cuts):
    """However numbers are cut into parts, mean, deviation, range and median are NumPy's of all of them."""
    numbers = np.array([np.nan if value is None else value for value in values])
    found = NumberStatistics()
    for part in np.split(numbers, sorted(min(cut, len(numbers)) for cut in cuts)):
        found.update(part)
    present = numbers[~np.isnan(numbers)]
    assert (found.n, found.n_missing) == (present.size, numbers.size - present.size)
    if present.size:
        tolerance = {"rel": 1e-9, "abs": 1e-9 * (1 + np.abs(present).max())}
        assert found.mean == pytest.approx(present.mean(), **tolerance)
        assert found.deviation == pytest.approx(present.std(), **tolerance)
        assert found.median == np.median(present) and found.exact
        assert (found.least, found.largest) == (present.min(), present.max())


def test_a_bounded_sample_is_a_fair_one():
    """Of a million numbers in order, a sample of 2000 has their quantiles within four standard errors."""
    found = NumberStatistics(limit=2000)
    for part in np.split(np.arange(1e6), 50):
        found.update(part)
    assert found.sample.size == 2000 and not found.exact
    for share in (0.1, 0.5, 0.9):
        error = np.sqrt(share * (1 - share) / 2000)
        assert abs(np.quantile(found.sample, share) / 1e6 - share) < 4 * error


def test_counting_texts_stops_at_the_limit():
    """Beyond the limit nothing more is counted, and the column is known to have too many."""
    found = TextStatistics(limit=10)
    for number in range(3):
        found.update(pl.Series([f"{number} {i}" for i in range(6)]))
    assert found.overflowed and found.n == 18


# Memory

MEMORY = """
import sys
from functools import partial
import numpy as np
import polars as pl
from undertow.data import open_arrays, stream_table
def status(key):
    return next(int(line.split()[1]) / 1024 for line in open("/proc/self/status") if line.startswith(key))
path, megabytes = sys.argv[1], float(sys.argv[2])
warm = pl.DataFrame({"x": [0.5, 1.5] * 50, "t": ["a", "b"] * 50, "y": [0, 1] * 50})
list(stream_table(warm, "y").train.epoch(0))  # libraries, thread pools
before = status("VmRSS")
open("/proc/self/clear_refs", "w").write("5")  # the peak begins anew
if path.endswith(".npy"):
    source = open_arrays(path, path.replace("X.npy", "y.npy"), memory=megabytes * 1e6)
else:
    source = stream_table(path, "y", validation=0, memory=megabytes * 1e6).train
n = 0
for block in source.epoch(0, batch_size=128):
    n += len(block[0])
print(n, status("VmHWM") - before)
"""


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="needs Linux to measure peaks of memory")
@pytest.mark.parametrize("kind", ["npy", "parquet", "csv"])
def test_sixty_megabytes_through_twenty(tmp_path, kind):
    """60 MB of data are read with a setting of 20 MB; the process grows by less than 45 MB, mapped files included."""
    rng = np.random.default_rng(0)
    m = {"npy": 600_000, "parquet": 300_000, "csv": 220_000}[kind]
    path = tmp_path / ("X.npy" if kind == "npy" else f"t.{kind}")
    if kind == "npy":
        np.save(path, rng.normal(size=(m, 25)).astype(np.float32))
        np.save(tmp_path / "y.npy", np.zeros(m, np.int64))
    elif kind == "parquet":
        frame = pl.DataFrame(rng.normal(size=(m, 25)), schema=[f"x{i}" for i in range(25)])
        frame.with_columns(y=pl.Series(rng.integers(0, 2, m))).write_parquet(path, row_group_size=20_000)
    else:
        notes = [letter * 220 for letter in "abcde"]
        frame = pl.DataFrame({"x": rng.normal(size=m), "z": rng.normal(size=m), "note": rng.choice(notes, m)})
        frame.with_columns(y=pl.Series(rng.integers(0, 12, m))).write_csv(path)  # of 12, rows are looked at
    assert path.stat().st_size > 56e6
    command = [sys.executable, "-c", MEMORY, str(path), "20"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "POLARS_MAX_THREADS": "2"}
    result = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert result.returncode == 0, result.stderr
    n, grown = result.stdout.split()
    assert int(n) == m
    assert float(grown) < 45, f"the process grew by {grown} MB"
