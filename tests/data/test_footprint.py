"""What a process takes of memory: it is measured, given back, and kept within a limit for all of it."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import weakref
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import undertow as ut
from undertow.compile.llvm import Library, assemble
from undertow.data import footprint
from undertow.data.footprint import find_reading, give_back, measure_peak, tell_least, tell_peak
from undertow.data.pieces import PieceSource, open_arrays
from undertow.data.streamed import open_pieces
from undertow.nn import Dense, Sequential
from undertow.train.step import make_step

linux = pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="memory is measured by Linux's /proc")

RUN = """
import sys
from undertow.cli.start import run
code = run(sys.argv[1:])
with open("/proc/self/status") as status:
    print("PEAK", next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM")))
sys.exit(code)
"""


def test_reading_has_what_the_process_leaves():
    """Above the least limit all of the rest; below it little, and never more than the limit; without one a quarter."""
    assert find_reading(1000) - find_reading(600) == 400e6
    assert find_reading(300) + footprint.OWN == 300e6
    sizes = [find_reading(limit) for limit in range(1, 2000)]
    assert sizes == sorted(sizes) and all(size <= limit * 1e6 for limit, size in enumerate(sizes, start=1))
    assert find_reading(None) == max(footprint.find_memory() / 4, footprint.MEMORY)


def test_what_is_said_of_a_limit(monkeypatch):
    """What cannot be kept is said with the least that can, and at the end what there was, and whether it is more."""
    assert tell_least(footprint.LEAST) == []
    (said,) = tell_least(100e6)
    assert said.startswith("--memory 100 cannot be kept") and f"{footprint.LEAST / 1e6:g};" in said
    monkeypatch.setattr(footprint, "measure_peak", lambda: 250e6)
    assert tell_peak(300e6) == "memory: 250 MB at most, of the 300 MB that were allowed"
    assert tell_peak(200e6) == "memory: 250 MB at most, of the 200 MB that were allowed: more than that"
    monkeypatch.setattr(footprint, "measure_peak", lambda: float("nan"))
    said = tell_peak(300e6)
    assert "does not tell" in said and "300 MB" in said and "more than that" not in said


@linux
def test_the_peak_is_that_of_the_system():
    """An array that is filled raises it by its size, at least where it was the most before."""
    code = "import numpy as np; from undertow.data.footprint import measure_peak; a = measure_peak();"
    code += "x = np.ones(30_000_000); print(a, measure_peak())"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    before, after = map(float, out.stdout.split())
    assert 235e6 < after - before < 250e6 and measure_peak() > 0


@linux
def test_llvm_works_after_its_code_was_given_back():
    """Its pages are taken out of memory, and come back where it compiles again."""

    def resident() -> int:  # kB
        parts = Path("/proc/self/smaps").read_text().split("libllvmlite")[1:]
        return sum(int(part.split("Rss:")[1].split()[0]) for part in parts)

    footprint.keep_small()
    for factor in (2, 3, 5):
        text = f"define double @times(double %x) {{ %y = fmul double %x, {factor}.0\n ret double %y }}"
        library = Library([assemble(text)])
        times = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double)(library.address("times"))
        assert times(1.5) == 1.5 * factor
        assert resident() > 30_000
        give_back()
        assert resident() < 12_000  # what the process has changed stays


def test_no_page_that_was_changed_is_given_back(tmp_path, monkeypatch):
    """Of what is mapped of a library, that alone which is read-only and has no pages of the process's own.

    Neither in memory nor, as where memory is short, in swap: proc(5), smaps.
    """
    lines = []
    for start, rights, name, own, swapped in (
        (0x1000, "r--p", "/lib/libllvmlite.so", 0, 0), (0x2000, "r-xp", "/lib/libllvmlite.so", 0, 0),
        (0x3000, "r--p", "/lib/libllvmlite.so", 8, 0), (0x4000, "rw-p", "/lib/libllvmlite.so", 0, 0),
        (0x5000, "r-xp", "/lib/libc.so.6", 0, 0), (0x6000, "rw-p", "", 4, 0),
        (0x7000, "r--p", "/lib/libllvmlite.so", 0, 8), (0x8000, "rw-p", "", 0, 4),
    ):  # fmt: skip
        lines += [f"{start:x}-{start + 0x1000:x} {rights} 00000000 08:01 1 {name}", "Rss: 4 kB"]
        lines += [f"Anonymous: {own} kB", "AnonHugePages: 0 kB", f"Swap: {swapped} kB", "SwapPss: 0 kB"]
    monkeypatch.setattr(Path, "read_text", lambda path: "\n".join(lines))
    assert footprint._find_code("libllvmlite") == [(0x1000, 0x1000), (0x2000, 0x1000)]


def test_the_examples_of_a_short_batch_are_let_go():
    """After steps on other examples nothing holds the first ones, though a program of their own did the short batch."""

    def make_examples() -> tuple[np.ndarray, np.ndarray]:
        return np.ones((50, 3), np.float32), np.ones((50, 1), np.float32)

    model = Sequential(Dense(3, 1, W=np.ones((3, 1), np.float32), b=np.zeros(1, np.float32)))
    step = make_step(lambda model, X, y: np.mean((model(X) - y) ** 2), ut.optim.sgd(0.1))
    state = step.init(model)
    X, y = make_examples()
    gone = weakref.ref(X)
    session = step.open(model, state, X, y, 20)
    session.run(np.arange(50), 20)  # 20, 20, 10
    model, state = session.values()
    others = make_examples()
    session = step.open(model, state, *others, 20)
    session.run(np.arange(40), 20)
    del X, y
    assert gone() is None


def test_the_step_is_compiled_before_blocks_take_memory(monkeypatch):
    """Of data in files; the numbers of the training are those of one that was not told ahead."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(3000, 4)).astype(np.float32), rng.normal(size=(3000, 1)).astype(np.float32)
    network = Sequential(Dense(4, 8), "tanh", Dense(8, 1))
    known: list[int] = []
    fill = PieceSource._fill

    def note_and_fill(source, *arguments):
        known.append(len(trainer.step._programs))
        return fill(source, *arguments)

    found = []
    for ahead in (True, False):
        source = open_arrays(X, y, memory=2e5)
        trainer = ut.Trainer(
            network, source, loss="mean_squared_error", epochs=2, progress=False, validation=None, seed=1
        )
        with monkeypatch.context() as patch:
            if not ahead:
                patch.setattr(type(trainer.feed), "sample", lambda feed: None)
            trainer.begin()
            patch.setattr(PieceSource, "_fill", note_and_fill)
            trainer.fit()
        found.append([np.asarray(leaf) for leaf in ut.trees.flatten(trainer.model)[0] if hasattr(leaf, "shape")])
        assert (known[0] > 0) == ahead
        known.clear()
    assert len(found[0]) == 4
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("columns", [None, ["d", "b"]])
def test_pieces_read_in_order_are_the_pieces(tmp_path, columns):
    """Several at once of a file with row groups, over the ends of files whose columns stand in another order."""
    rng = np.random.default_rng(3)
    for number, rows in enumerate((700, 90, 1000)):
        frame = pl.DataFrame({
            "a": rng.normal(size=rows), "b": rng.choice(["x", "y", None], rows).tolist(),
            "c": rng.integers(0, 9, rows), "d": rng.normal(size=rows) > 0,
        })  # fmt: skip
        frame.select(list("abcd" if number != 1 else "dbca")).write_parquet(
            tmp_path / f"{number}.parquet", row_group_size=300
        )
    pieces = open_pieces(tmp_path, 4000)
    ordered = pieces.in_order()
    assert len(pieces.heights) > 20
    for number in [*range(len(pieces.heights)), 3, 1]:
        (wanted, there), (found, where) = pieces.read(number, columns), ordered.read(number, columns)
        assert found.equals(wanted) and where.file == there.file
        np.testing.assert_array_equal(where.rows, there.rows)


def call(tmp_path: Path, *arguments: object) -> tuple[float, str]:
    """Run a command in a process of its own; return the most memory that it had, and what it said."""
    environment = {
        **os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "POLARS_MAX_THREADS": "2", "UNDERTOW_NUM_THREADS": "1",
        "UNDERTOW_CACHE_DIR": str(tmp_path / "kernels"),
    }  # fmt: skip
    command = [sys.executable, "-c", RUN, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    return float(done.stdout.split("PEAK ")[1]), done.stdout + done.stderr


@linux
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_limit_is_that_of_the_whole_process(tmp_path, kind):
    """60 MB, which would take 200 MB more as a table, and one row group; the first compilation is among it."""
    rng = np.random.default_rng(0)
    m, width = (170_000, 40) if kind == "csv" else (200_000, 40)
    X = rng.normal(size=(m, width))
    frame = pl.DataFrame(X if kind == "parquet" else X.round(5), schema=[f"x{i}" for i in range(width)])
    frame = frame.with_columns(y=pl.Series(np.where(X[:, 0] > X[:, 1], "yes", "no")))
    path = tmp_path / f"t.{kind}"
    frame.write_csv(path) if kind == "csv" else frame.write_parquet(path, row_group_size=m)
    del X, frame
    assert path.stat().st_size > 55e6
    peak, said = call(
        tmp_path, "train", path, "--target", "y", "--memory", 280, "--epochs", 1, "--hidden", "8", "--out", "run",
        "--checkpoint-every", 200, "--quiet",
    )  # fmt: skip
    assert "read again in each epoch" in said and "MB at most, of the 280 MB that were allowed\n" in said
    assert peak <= 280e6
    more = {"csv": ("evaluate", "run", path, "--memory", 280), "parquet": ("resume", "run", "--epochs", 2)}
    assert call(tmp_path, *more[kind], "--quiet")[0] <= 280e6, more[kind]
    peak, said = call(tmp_path, "predict", "run", path, "--out", "p.parquet", "--memory", 280, "--quiet")
    assert peak <= 280e6 and pl.scan_parquet(tmp_path / "p.parquet").select(pl.len()).collect().item() == m


def test_a_limit_below_the_process_itself_is_told(tmp_path):
    """With the least that can be kept; the command goes on."""
    pl.DataFrame({"x": range(100), "y": ["a", "b"] * 50}).write_csv(tmp_path / "t.csv")
    _, said = call(tmp_path, "train", "t.csv", "--target", "y", "--memory", 20, "--epochs", 1, "--quiet")
    assert f"The least that can be kept is {footprint.LEAST / 1e6:g};" in said
    assert "of the 20 MB that were allowed: more than that" in said
