"""Parquet files with row groups larger than memory may be: read within bounds; their footers are read with care."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import undertow as ut
from undertow.data.columnar import open_columnar
from undertow.data.parquet_footer import RowGroup, row_groups
from undertow.data.streamed import open_pieces

N, WIDTH = 300_000, 24
GROWTH = """
import sys
import polars as pl
from undertow.data.streamed import open_pieces

def memory(what):  # of this process, in MB
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) / 1e3 for line in file if line.startswith(what))

small = sys.argv[1] + ".small"
pl.DataFrame({"a": [1.0]}).write_parquet(small)
pl.scan_parquet(small).slice(0, 1).collect()  # what polars loads once
pieces = open_pieces(sys.argv[1], 2_000_000)
before = memory("VmRSS")
n = sum(pieces.read(number)[0].height for number in range(len(pieces.heights)))
print(memory("VmHWM") - before, n)  # the most there ever was
"""


def write(path: Path, rows: int, group: int | None, width: int = 3, **more) -> Path:
    rng = np.random.default_rng(0)
    pl.DataFrame({f"x{i}": rng.normal(size=rows) for i in range(width)}).write_parquet(
        path, row_group_size=group, **more
    )
    return path


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is measured by Linux's /proc")
def test_one_row_group_of_the_whole_file(tmp_path):
    """58 MB in one row group, read in pieces of 2 MB: the memory grows by a fraction of it."""
    path = write(tmp_path / "one.parquet", N, N, WIDTH, compression="uncompressed")
    assert path.stat().st_size > 50e6
    environment = {**os.environ, "PYTHONPATH": str(Path(ut.__file__).parents[1]), "POLARS_MAX_THREADS": "1"}
    found = subprocess.run(
        [sys.executable, "-c", GROWTH, str(path)], capture_output=True, text=True, env=environment, check=True
    )
    most, n = map(float, found.stdout.split())
    assert n == N and most < 30, found.stdout


def test_pieces_hold_the_rows_that_were_written(tmp_path):
    """However many columns are read at once; chosen ones too."""
    rng = np.random.default_rng(1)
    frame = pl.DataFrame({
        "a": rng.normal(size=5000), " b ": rng.choice(["x", "y", None], 5000).tolist(), "c": rng.integers(0, 9, 5000),
        "d": pl.Series(np.arange(5000)).cast(pl.Date), "e": rng.normal(size=5000) > 0,
    })  # fmt: skip
    for group in (5000, 700):
        frame.write_parquet(tmp_path / "t.parquet", row_group_size=group)
        wanted = frame.rename({" b ": "b"})
        for size in (2_000, 20_000, 10**9):
            pieces = open_pieces(tmp_path / "t.parquet", size)
            whole = pl.concat([pieces.read(i)[0] for i in range(len(pieces.heights))])
            assert whole.equals(wanted)
            some = pl.concat([pieces.read(i, ["e", "b"])[0] for i in range(len(pieces.heights))])
            assert some.equals(wanted.select("b", "e"))
    assert (
        open_columnar(tmp_path / "t.parquet", 10**9).at_once == 5 > open_columnar(tmp_path / "t.parquet", 2_000).at_once
    )


@pytest.mark.parametrize("group", [5000, 1300, 100])
@pytest.mark.parametrize("size", [2_000, 20_000])
def test_pieces_that_are_read_together_are_the_pieces(group, size, tmp_path):
    """Whatever others lie between them, within a row group and over its end, of all columns and of some."""
    rng = np.random.default_rng(2)
    frame = pl.DataFrame({
        "a": rng.normal(size=5000), "b": rng.choice(["x", "y", None], 5000).tolist(), "c": rng.integers(0, 9, 5000)
    })  # fmt: skip
    for name in ("s.parquet", "t.parquet"):
        frame.write_parquet(tmp_path / name, row_group_size=group)
    pieces = open_pieces(tmp_path, size)
    firsts = np.cumsum([0, *pieces.heights])
    whole = pl.concat([frame, frame])
    for share in (0.1, 0.5, 1.0):
        for columns in (None, ["c", "b"]):
            numbers = [k for k in range(len(pieces.heights)) if rng.random() < share] or [0]
            found = list(pieces.read_several(numbers, columns))
            assert len(found) == len(numbers)
            for number, (part, origin) in zip(numbers, found, strict=True):
                wanted = whole.slice(int(firsts[number]), pieces.heights[number])
                assert part.equals(wanted if columns is None else wanted.select("b", "c"))
                alone = pieces.read(number)[1]
                assert origin.file == alone.file and origin.rows.tolist() == alone.rows.tolist()


def test_an_epoch_is_the_same_whatever_is_read_together(tmp_path, monkeypatch):
    """Also with pieces read one by one."""
    frame = pl.DataFrame({"x": np.arange(40_000.0), "y": np.arange(40_000) % 3})
    frame.write_parquet(tmp_path / "t.parquet", row_group_size=40_000)
    epochs = []
    for most in (1, 8):
        monkeypatch.setattr("undertow.data.table_pieces._TOGETHER", most)
        table = ut.data.stream_table(tmp_path / "t.parquet", "y", memory=1e6, validation=0.1)
        with table.train.epoch(0, batch_size=64, seed=1) as blocks:
            epochs.append([array for block in blocks for array in block])
    assert len(epochs[0]) == len(epochs[1]) > 4
    for one, other in zip(*epochs, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(("rows", "group"), [(1000, 1000), (1000, 300), (1000, 7), (1, 1), (0, None)])
def test_the_row_groups(rows, group, tmp_path):
    """Of plain float64 they have 8 bytes a value and some headers."""
    path = write(tmp_path / "t.parquet", rows, group, compression="uncompressed")
    found = row_groups(path)
    assert found is not None and sum(x.rows for x in found) == rows and all(x.rows <= (group or 0) for x in found)
    assert all(8 * 3 * x.rows <= x.n_bytes <= 8 * 3 * x.rows + 3 * 600 for x in found)
    file = open_columnar(path, 10**9)
    assert rows == 0 or (file.group_of(0), file.group_of(rows - 1).stop) == (range(found[0].rows), rows)


def test_damaged_footers_are_no_row_groups(tmp_path):
    """Cut, changed and made up: some or None, and never an error."""
    content = write(tmp_path / "t.parquet", 500, 50).read_bytes()
    choose, path = random.Random(0), tmp_path / "damaged.parquet"
    size = int.from_bytes(content[-8:-4], "little")
    for _ in range(1500):
        changed = bytearray(content)
        for _ in range(choose.randint(1, 6)):
            changed[-choose.randint(1, size + 8)] = choose.randrange(256)
        path.write_bytes(changed[: len(changed) if choose.random() < 0.8 else choose.randrange(len(changed))])
        found = row_groups(path)
        assert found is None or all(isinstance(x, RowGroup) for x in found)
    for made in (
        b"",
        b"PAR1",
        b"PAR1" + b"\xff" * 8 + b"PAR1",
        b"\x4c" * 60_000 + (60_000).to_bytes(4, "little") + b"PAR1",
    ):
        path.write_bytes(made)
        assert row_groups(path) is None
