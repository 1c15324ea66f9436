"""Sources: every example once, an order of (seed, epoch) alone, resumed at any batch, read by a thread that ends."""

from __future__ import annotations

import functools
import gc
import os
import signal
import threading
import time
from itertools import chain

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from undertow.data import ArraySource, Batches, IterableSource, open_arrays, open_source, stream_table
from undertow.data.background import Blocks
from undertow.errors import ArgumentError, DataError, ShapeError


def make_arrays(m: int) -> tuple[np.ndarray, np.ndarray]:
    return np.arange(2 * m, dtype=np.float32).reshape(m, 2), np.arange(m)


def in_batches(m: int, size: int = 7):
    X, y = make_arrays(m)
    return lambda: ((X[i : i + size], y[i : i + size]) for i in range(0, m, size))


KINDS = {
    "arrays": lambda m, memory: ArraySource(*make_arrays(m)),
    "memory maps": lambda m, memory: open_arrays(*make_arrays(m), memory=memory),
    "iterable": lambda m, memory: IterableSource(in_batches(m), memory=memory),
}


def read_batches(source, size: int, seed: int, epoch: int, start: int = 0) -> list[list[int]]:
    """The targets of each batch; X must belong to them, and blocks hold whole batches."""
    found = []
    with source.epoch(epoch, start, batch_size=size, seed=seed) as blocks:
        for X, y in blocks:
            assert X.flags.c_contiguous and X.dtype == np.float32
            assert np.array_equal(X[:, 0], 2 * y) and np.array_equal(X[:, 1], 2 * y + 1)
            assert not found or len(found[-1]) == size
            found += [y[i : i + size].tolist() for i in range(0, len(y), size)]
    return found


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60, deadline=None)
@given(
    m=st.integers(1, 300),
    size=st.integers(1, 64),
    memory=st.integers(200, 8000),
    seed=st.integers(0, 9),
    epoch=st.integers(0, 9),
    data=st.data(),
)
def test_every_example_once_and_resumed_at_any_batch(kind, m, size, memory, seed, epoch, data):
    """An epoch has every example once in batches of one size; begun at batch k it gives the rest bit for bit."""
    source = KINDS[kind](m, memory)
    whole = read_batches(source, size, seed, epoch)
    assert sorted(chain(*whole)) == list(range(m))
    assert [len(batch) for batch in whole] == [size] * (m // size) + [m % size] * (m % size > 0)
    if source.n_examples is not None:
        assert source.n_batches(size) == len(whole)
    start = data.draw(st.integers(0, len(whole) + 1))
    assert read_batches(KINDS[kind](m, memory), size, seed, epoch, start) == whole[start:]
    ordered = read_batches(source.in_order(), size, seed, epoch)
    assert list(chain(*ordered)) == list(range(m))


@pytest.mark.parametrize("kind", KINDS)
def test_order_depends_on_seed_and_epoch(kind):
    """Another seed or epoch gives another order; the batch size does not change it."""
    source = KINDS[kind](200, 4000)
    orders = {(s, e): list(chain(*read_batches(source, 10, s, e))) for s in (0, 1) for e in (0, 1)}
    assert len({tuple(order) for order in orders.values()}) == 4
    assert list(chain(*read_batches(source, 33, 1, 1))) == orders[1, 1]


def test_arrays_are_taken_as_batches_takes_them():
    """The order of arrays in memory is that of Batches."""
    X, y = make_arrays(50)
    expected = [y.tolist() for _, y in Batches(X, y, 8, seed=3).epoch(5)]
    assert read_batches(ArraySource(X, y), 8, 3, 5) == expected


@pytest.mark.parametrize(("part", "correlation", "spread"), [(1, 0.02, 1.2), (1 / 40, 0.05, 1.6)])
def test_a_file_sorted_by_class_gives_mixed_batches(part, correlation, spread):
    """Place and place of origin are uncorrelated, and the classes of batches vary little more than in a full shuffle.

    In batches of 64 of a full shuffle, the count of one of 10 classes has the variance 64 · 0.1 · 0.9 = 5.76; pools
    of about 64 pieces add as much again at most, so the deviations stay below √2 of that, and chance.
    """
    m = 64 * 1000
    X = np.arange(m, dtype=np.float32)[:, None]
    y = np.repeat(np.arange(10), m // 10)
    memory = 5 * m * (4 + 8) * part
    with open_arrays(X, y, memory=memory).epoch(0, batch_size=64) as blocks:
        rows, labels = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
    places = rows[:, 0]
    assert abs(np.corrcoef(np.arange(m), places)[0, 1]) < correlation
    neighbours = np.corrcoef(places[1:], places[:-1])[0, 1]
    assert abs(neighbours) < correlation
    counts = np.stack([(labels.reshape(-1, 64) == k).sum(axis=1) for k in range(10)])
    assert np.sqrt(counts.var(axis=1).mean() / 5.76) < spread


def test_weights_beyond_float32_are_refused():
    """As they are kept in float32, they would be infinite, and so would the loss."""
    with pytest.raises(DataError, match=r"weights\[1\] is 1e\+39, too large for float32\. Divide all of them by the"):
        ArraySource(np.ones((2, 1)), np.ones((2, 1)), np.array([1.0, 1e39]))


def test_sources_of_weights():
    """Weights travel with their rows; a negative one or a wrong shape is refused."""
    X, y = make_arrays(40)
    for source in (
        ArraySource(X, y, y / 2),
        open_arrays(X, y, y / 2, memory=2000),
        IterableSource([(X[:30], y[:30], y[:30] / 2), (X[30:], y[30:], y[30:] / 2)]),
    ):
        assert source.weighted
        with source.epoch(0, batch_size=8) as blocks:
            for block in blocks:
                assert np.array_equal(block[2], block[1].astype(np.float32) / 2) and block[2].dtype == np.float32
    with pytest.raises(DataError, match=r"weights\[1\] is -1"):
        ArraySource(X[:2], y[:2], [1, -1])
    with pytest.raises(ShapeError, match=r"weights is \(1,\), but there are 2 examples"):
        ArraySource(X[:2], y[:2], [1])


def test_head_shows_the_first_examples():
    """The first examples as they lie, for tracing."""
    for kind in KINDS.values():
        assert kind(30, 1000).head(3)[1].tolist() == [0, 1, 2]


# Memory maps


def test_npy_files(tmp_path):
    """Files are read through memory maps; integers become float32; what is wrong is named with its place."""
    X, y = np.arange(20).reshape(10, 2), np.arange(10)
    np.save(tmp_path / "X.npy", X)
    np.save(tmp_path / "y.npy", y)
    source = open_source((str(tmp_path / "X.npy"), tmp_path / "y.npy"))
    assert sorted(chain(*read_batches(source, 4, 0, 0))) == list(range(10))
    bad = X.astype(np.float64)
    bad[7, 1] = np.nan
    np.save(tmp_path / "X.npy", bad)
    with pytest.raises(DataError, match=r"X.npy\[7, 1\] is nan"):
        list(open_arrays(tmp_path / "X.npy", tmp_path / "y.npy", memory=400).epoch(0))
    (tmp_path / "X.npy").write_bytes((tmp_path / "X.npy").read_bytes()[:-8])
    with pytest.raises(DataError, match=r"X.npy: this is no .npy file of numbers, or cut short"):
        open_arrays(tmp_path / "X.npy", tmp_path / "y.npy")
    with pytest.raises(DataError, match="no such file"):
        open_arrays(tmp_path / "Z.npy", tmp_path / "y.npy")
    with pytest.raises(ShapeError, match="their leading sizes differ"):
        open_arrays(X, y[:9])
    with pytest.raises(DataError, match="no real numbers"):
        open_arrays(np.array([["a"]]), y[:1])


def test_a_private_memory_map_keeps_its_changes(tmp_path):
    """Pages are given back only where the file holds what they hold."""
    np.save(tmp_path / "X.npy", np.zeros((10, 2)))
    X = np.load(tmp_path / "X.npy", mmap_mode="c")
    X[:] = 1
    source = open_arrays(X, np.arange(10), memory=500)
    for _ in range(2):
        assert all((block[0] == 1).all() for block in source.epoch(0))


# Iterables


def test_an_iterator_is_good_for_one_epoch():
    """A running generator gives one epoch, then says what to give instead; a list gives as many as wanted."""
    source = IterableSource(in_batches(20)())
    assert sorted(chain(*read_batches(source, 4, 0, 0))) == list(range(20))
    with pytest.raises(DataError, match=r"used up: it was good for one epoch. Give the function"):
        source.epoch(1)
    source = IterableSource(list(in_batches(20)()))
    assert len(read_batches(source, 4, 0, 0)) == len(read_batches(source, 4, 0, 1)) == 5


def test_a_stream_without_end():
    """With a number of examples an epoch, a generator may go on for ever; it may take the epoch's number."""

    def make(epoch):
        while True:
            yield np.full((3, 2), epoch, np.float32), np.full(3, epoch)

    source = IterableSource(make, examples=10)
    with source.epoch(4, batch_size=4) as blocks:
        found = np.concatenate([y for _, y in blocks])
    assert found.tolist() == [4] * 10
    with pytest.raises(DataError, match="ended after 20 of 30 examples"):
        list(IterableSource(in_batches(20), examples=30).epoch(0))


def test_what_a_generator_gives_is_checked():
    """Batches that differ in shape, hold no numbers or are no pairs are named by their number."""
    X, y = make_arrays(4)
    for second, message in (
        ((X[:, :1], y), r"batch 2 holds examples of the shapes \(\(1,\), \(\)\), but the ones before it"),
        ((X, y + 0.5), "batch 2 holds float64, but what came before it int64"),
        (X, "batch 2 is a ndarray. Give"),
        ((X * np.nan, y), r"batch 2 X\[0, 0\] is NaN"),
    ):
        with pytest.raises((DataError, ShapeError), match=message):
            list(IterableSource([(X, y), second], shuffle=False).epoch(0, batch_size=2))
    with pytest.raises(DataError, match="gives no batches"):
        IterableSource([])
    with pytest.raises(ArgumentError, match="given a int"):
        IterableSource(3)


# The thread that reads


def count_readers() -> int:
    return sum(thread.name == "undertow-reader" for thread in threading.enumerate())


def wait_for_readers() -> int:
    """The readers that are left after a moment to end in."""
    until = time.monotonic() + 60
    while count_readers() and time.monotonic() < until:
        time.sleep(0.01)
    return count_readers()


def test_an_error_in_the_reader_comes_out_where_blocks_are_taken():
    """The blocks before it are given, then the error itself; the thread has ended."""

    def fail():
        yield make_arrays(8)
        raise OSError("the disk is gone")

    blocks = IterableSource(fail, shuffle=False).epoch(0, batch_size=4)
    with pytest.raises(OSError, match="the disk is gone"):
        list(blocks)
    assert list(blocks) == [] and count_readers() == 0


def test_leaving_early_ends_the_thread():
    """Closing, an exception in the loop, and forgetting the iterator end the thread and close the generator."""
    closed = []

    def make():
        try:
            while True:
                yield (np.zeros(1),)
        finally:
            closed.append(True)

    with Blocks(make()) as blocks:
        next(blocks)
    assert count_readers() == 0 and len(closed) == 1
    with pytest.raises(ZeroDivisionError), Blocks(make()) as blocks:
        next(blocks)
        1 / 0  # noqa: B018
    assert count_readers() == 0 and len(closed) == 2
    blocks = Blocks(make())
    next(blocks)
    del blocks
    gc.collect()
    assert wait_for_readers() == 0 and len(closed) == 3


def test_ctrl_c_while_waiting_for_a_block():
    """Ctrl-C breaks off the wait for a slow reader, which ends."""
    begun = threading.Event()

    def make():
        begun.wait()
        while not blocks._handover.changed._waiters:  # until the main thread waits
            time.sleep(0.001)
        os.kill(os.getpid(), signal.SIGINT)
        yield (np.zeros(1),)

    blocks = Blocks(make())
    begun.set()
    with pytest.raises(KeyboardInterrupt):
        next(blocks)
    assert list(blocks) == [] and wait_for_readers() == 0


def test_at_most_one_block_waits():
    """The reader makes a block only once the one before it was taken."""
    made = []

    def make():
        for number in range(10):
            made.append(number)
            yield (number,)

    with Blocks(make()) as blocks:
        for number, _ in enumerate(blocks):
            time.sleep(0.005)
            assert len(made) <= number + 2


# One door


def test_open_source():
    """Each kind of data finds its source; a table is sent to where its target is known."""
    X, y = make_arrays(10)
    assert type(open_source((X, y))) is ArraySource
    assert open_source(open_source((X, y), shuffle=False)).shuffle is False
    assert type(open_source([(X, y), (X, y)])) is IterableSource
    assert open_source([(X, y), (X, y)], shuffle=False).head(99)[1].tolist() == [*range(10), *range(10)]
    for table in ("people.csv", pl.DataFrame({"x": [1]})):
        with pytest.raises(ArgumentError, match=r"is a table. Use undertow.data.stream_table\(table, target\)"):
            open_source(table)
    for arguments in ({"epoch": -1}, {"epoch": 0, "start": -1}, {"epoch": 0, "batch_size": 0}):
        with pytest.raises(ArgumentError, match="must be a whole number"):
            open_source((X, y)).epoch(**arguments)
    with pytest.raises(ArgumentError, match="memory is 8 bytes, but an example takes 16"):
        open_arrays(X, y, memory=8)
    table = stream_table(pl.DataFrame({"x": X[:, 0], "y": y % 2}), "y", validation=0)
    assert open_source(table.train) is table.train


def test_a_default_of_the_function_that_makes_batches_is_no_number_of_an_epoch():
    """It stays as it is, unless it is that of `epoch`."""
    X, y = np.ones((4, 1), np.float32), np.arange(4)
    seen = []

    def make(size=2):
        seen.append(size)
        return ((X[i : i + size], y[i : i + size]) for i in range(0, 4, size))

    def numbered(epoch=None):
        seen.append(epoch)
        return [(X, y)]

    for function in (make, lambda size=2: make(size), functools.partial(make, size=2), numbered):
        source = IterableSource(function, shuffle=False)
        for epoch in (0, 1):
            with source.epoch(epoch, batch_size=4) as blocks:
                assert [block[1].tolist() for block in blocks] == [[0, 1, 2, 3]]
    assert seen == [2] * 9 + [0, 0, 1]
