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
from undertow.data.parquet_footer import largest_row_group
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


@pytest.mark.parametrize(("rows", "group"), [(1000, 1000), (1000, 300), (1000, 7), (1, 1), (0, None)])
def test_the_largest_row_group(rows, group, tmp_path):
    """Of plain float64 it has 8 bytes a value and some headers."""
    path = write(tmp_path / "t.parquet", rows, group, compression="uncompressed")
    found = largest_row_group(path)
    most = min(rows, group or rows)
    values = 8 * 3 * most
    assert found is not None and found.rows == most
    assert values <= found.n_bytes <= values + 3 * 600 and (rows or found.n_bytes == 0)


def test_damaged_footers_are_no_row_groups(tmp_path):
    """Cut, changed and made up: a number or None, and never an error."""
    content = write(tmp_path / "t.parquet", 500, 50).read_bytes()
    choose, path = random.Random(0), tmp_path / "damaged.parquet"
    size = int.from_bytes(content[-8:-4], "little")
    for _ in range(1500):
        changed = bytearray(content)
        for _ in range(choose.randint(1, 6)):
            changed[-choose.randint(1, size + 8)] = choose.randrange(256)
        path.write_bytes(changed[: len(changed) if choose.random() < 0.8 else choose.randrange(len(changed))])
        found = largest_row_group(path)
        assert found is None or all(isinstance(x, int) for x in found)
    for made in (
        b"",
        b"PAR1",
        b"PAR1" + b"\xff" * 8 + b"PAR1",
        b"\x4c" * 60_000 + (60_000).to_bytes(4, "little") + b"PAR1",
    ):
        path.write_bytes(made)
        assert largest_row_group(path) is None
