"""Checkpoints come back bit by bit, the right ones are kept, and one process at a time writes them."""

import json
import math
import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open

from checkpoint_samples import SMALL, content_of, read_bytes, small
from undertow.errors import ArgumentError, RunError
from undertow.train import CheckpointStore, HistoryFile, Snapshot
from undertow.train.disk import DISK
from undertow.train.record import read_record, write_record
from undertow.train.snapshot import seal

SOURCE = Path(__file__).parents[2] / "src"
DTYPES = ["bool", *"bBhHiIlLefd", "F"]
# What is written comes back


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (1,), (3, 5)])
def test_arrays_of_every_dtype_and_shape_come_back_bit_by_bit(tmp_path, dtype, shape):
    """Any bits, so any NaN too; 0-d and empty arrays stay what they are; the caller may write to what comes back."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    bits = np.random.default_rng(0).integers(0, 2 if dtype == "bool" else 256, size, np.uint8)
    array = np.frombuffer(bits.tobytes(), dtype).reshape(shape)
    found = read_bytes(tmp_path, content_of(Snapshot({"a/ü[0]": array, "b": np.ones(3)}))).arrays["a/ü[0]"]
    assert (found.dtype, found.shape, found.tobytes()) == (array.dtype, array.shape, array.tobytes())
    assert found.flags.writeable and found.flags.aligned


def test_arrays_in_any_layout_come_back(tmp_path):
    """Transposed, strided, reversed, of the other byte order, and NumPy numbers that are no arrays."""
    a = np.arange(12.0).reshape(3, 4)
    arrays = {
        "T": a.T,
        "strided": a[::2, ::-1],
        "swapped": a.astype(">f8"),
        "number": np.float32(2.5),
        "F": np.asfortranarray(a),
    }
    found = read_bytes(tmp_path, content_of(Snapshot(arrays))).arrays
    for name, value in arrays.items():
        np.testing.assert_array_equal(found[name], value)
        assert found[name].dtype == np.asarray(value).dtype.newbyteorder("=")


def test_the_file_is_plain_safetensors(tmp_path):
    """The library of the format reads arrays and record."""
    with CheckpointStore(tmp_path) as store:
        file = store.write(SMALL, 3)
    with safe_open(file, "numpy") as opened:
        assert set(opened.keys()) == {"model/W", "step"}
        np.testing.assert_array_equal(opened.get_tensor("model/W"), SMALL.arrays["model/W"])
        assert json.loads(opened.metadata()["record"]) == SMALL.record


def test_nothing_is_copied_on_the_way_out():
    """What is written is the memory of the arrays themselves."""
    W = np.ones((300, 200), np.float32)
    *_, part = seal(Snapshot({"W": W}))
    assert np.shares_memory(np.frombuffer(part, np.float32), W)


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


def same(a, b):
    if isinstance(a, float):
        return type(b) is float and (a.hex() == b.hex() or (math.isnan(a) and math.isnan(b)))
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


@given(PLAIN)
def test_records_come_back_exactly(value):
    """Every float to its last bit, −0, NaN and infinity; integers of any size; any text."""
    assert same(value, read_record(write_record(value)))


def test_a_record_holds_the_state_of_random_streams(tmp_path):
    """128-bit integers of PCG64 and the array of MT19937."""
    for kind in (np.random.PCG64, np.random.MT19937, np.random.Philox):
        generator = np.random.Generator(kind(5))
        generator.standard_normal(3)
        found = read_bytes(tmp_path, content_of(Snapshot({}, {"random": generator.bit_generator.state}))).record
        again = np.random.Generator(kind())
        state = found["random"]
        again.bit_generator.state = {
            **state,
            "state": {k: np.uint64(v) if isinstance(v, list) else v for k, v in state["state"].items()},
        }
        np.testing.assert_array_equal(again.standard_normal(9), generator.standard_normal(9))


@pytest.mark.parametrize(
    ("snapshot", "message"),
    [
        (Snapshot({"x": np.array([None])}), "x is object"),
        (Snapshot({"x": np.ones(2, complex)}), "x is complex128"),
        (Snapshot({"x": np.array(["a"])}), "x is <U1"),
        (Snapshot({"__metadata__": np.ones(2)}), "no name"),
        (Snapshot({3: np.ones(2)}), "no name"),
        (Snapshot({"\ud800": np.ones(2)}), "no name"),
        (Snapshot({}, {"x": object()}), "not JSON serializable"),
        (Snapshot({}, {"x": {1: 2}}), "key 1 is no text"),
        (Snapshot({}, {"x": {"float": "nan"}}), "would come back as a number"),
        (Snapshot({}, [1]), "Give a dict"),
    ],
)  # fmt: skip
def test_what_would_not_come_back_is_refused(tmp_path, snapshot, message):
    """One clear error before anything is written."""
    with CheckpointStore(tmp_path) as store:
        with pytest.raises(RunError, match=message):
            store.write(snapshot, 1)
        assert store.numbers() == []


def test_a_record_too_large_for_any_reader_is_refused(monkeypatch):
    """Readers of the format refuse headers above 100 MB."""
    monkeypatch.setattr(sys.modules["undertow.train.tensors"], "HEADER_BYTES_AT_MOST", 1000)
    with pytest.raises(RunError, match="safetensors allows 100"):
        seal(Snapshot({}, {"x": "a" * 1000}))


def test_a_record_that_contains_itself_is_refused():
    """Nesting without an end is an error, not a crash."""
    record = {}
    record["self"] = record
    with pytest.raises(RunError, match="too deeply"):
        seal(Snapshot({}, record))


# Which are kept


def names(folder):
    return sorted(name.removesuffix(".safetensors").removeprefix("checkpoint-0000000") for name in os.listdir(folder))


@pytest.mark.parametrize(
    ("keep", "written", "kept"),
    [
        (1, "1 2 3", "3"),
        (2, "1 2 3", "2 3"),
        (2, "1b 2 3 4", "1-best 3 4"),
        (2, "1b 2b 3 4", "2-best 3 4"),
        (1, "1b 2b 3b", "3-best"),
        (3, "1b 2b 3b", "1-best 2-best 3-best"),
        (2, "1 1b", "1-best"),
        (9, "1 2 3 4 5 6 7 8 9", "1 2 3 4 5 6 7 8 9"),
    ],
)
def test_the_last_and_the_best_are_kept(tmp_path, keep, written, kept):
    """Also where one number is written twice, once as the best."""
    with CheckpointStore(tmp_path, keep) as store:
        for word in written.split():
            store.write(small(int(word[0])), int(word[0]), best="b" in word)
            assert store.latest().record["epoch"] == int(word[0])
    assert names(tmp_path) == [*kept.split(), "lock"]


def test_an_empty_folder_has_no_checkpoint(tmp_path):
    """Reading makes nothing."""
    store = CheckpointStore(tmp_path / "no")
    assert (store.latest(), store.best(), store.numbers(), store.remarks) == (None, None, [], [])
    assert not os.listdir(tmp_path)


def test_an_old_course_is_only_left_where_that_was_asked_for(tmp_path):
    """A training from the beginning never takes the place of one that got further; going on from the best may."""
    with CheckpointStore(tmp_path, keep=5) as store:
        for number in range(1, 6):
            store.write(small(number), number, best=number == 3)
    with CheckpointStore(tmp_path, keep=5) as store:
        for number in (1, 5):
            with pytest.raises(RunError, match="holds checkpoint 5 already"):
                store.write(small(number), number)
        assert store.numbers() == [1, 2, 3, 4, 5]
        assert store.best().record["epoch"] == 3
        store.write(small(4), 4)
        assert store.numbers() == [1, 2, 3, 4] and store.latest().record["epoch"] == 4
        store.clear()
        assert store.latest() is None
        store.write(small(1), 1)


@pytest.mark.parametrize("keep", [0, -1, 1.5, True, "2"])
def test_arguments_are_checked(tmp_path, keep):
    """A count is a whole number."""
    with pytest.raises(ArgumentError, match="keep must be"):
        CheckpointStore(tmp_path, keep)
    with pytest.raises(ArgumentError, match="number of a checkpoint"):
        CheckpointStore(tmp_path).write(SMALL, keep if keep != 0 else -3)


# Writing in the background


def test_a_checkpoint_can_be_written_in_the_background(tmp_path, monkeypatch):
    """`write_later` returns at once; the next call waits."""
    go, write = threading.Event(), DISK.write
    monkeypatch.setattr(DISK, "write", lambda *arguments: go.wait(600) and write(*arguments))
    with CheckpointStore(tmp_path) as store:
        store.write_later(small(1), 1)
        assert not list(tmp_path.glob("checkpoint-*"))
        go.set()
        store.write_later(small(2), 2)
        assert store.latest().record["epoch"] == 2


def test_an_error_in_the_background_comes_out_at_the_next_call(tmp_path, monkeypatch):
    """Once, at whichever call comes next; the checkpoint before is kept."""
    calls = [
        lambda store: store.wait(),
        lambda store: store.latest(),
        lambda store: store.write(small(3), 3),
        lambda store: store.write_later(small(3), 3),
        lambda store: store.__exit__(None, None, None),
    ]
    for i, call in enumerate(calls):
        with CheckpointStore(tmp_path / str(i)) as store:
            store.write(small(1), 1)
            with monkeypatch.context() as patch:
                patch.setattr(DISK, "force", lambda file: (_ for _ in ()).throw(OSError(28, "No space left on device")))
                store.write_later(small(2), 2)
                with pytest.raises(RunError, match="No space left on device"):
                    call(store)
            store.wait()
            assert store.latest().record["epoch"] == 1


# Disks that are full or only read


@contextmanager
def small_disk(place, options):
    """A file system in memory of its own."""
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError as error:
        pytest.skip(f"no mount here: {error}")
    if done.returncode:
        pytest.skip(f"no file system may be mounted here: {done.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_keeps_the_checkpoint_before(tmp_path):
    """On a real disk of 1 MB: the one that does not fit is refused, nothing of it stays, smaller ones go on."""
    with small_disk(tmp_path / "disk", "size=1m") as disk, CheckpointStore(disk / "checkpoints", keep=1) as store:
        store.write(small(1), 1)
        large = Snapshot({"W": np.ones(2_000_000, np.uint8)}, {})
        with pytest.raises(RunError, match=r"No space left on device. The checkpoints before it are kept\."):
            store.write(large, 2)
        assert sorted(os.listdir(store.folder)) == ["checkpoint-00000001.safetensors", "lock"]
        store.write(small(2), 2)
        assert store.latest().record["epoch"] == 2
        with HistoryFile(disk / "history.jsonl") as history:
            history.append({"epoch": 1})
            with pytest.raises(RunError, match="No space left"):
                history.append({"text": "x" * 2_000_000})
            history.append({"epoch": 2})
            assert history.rows() == [{"epoch": 1}, {"epoch": 2}]


def test_a_disk_that_is_only_read_can_be_read(tmp_path):
    """Reading needs no lock and writes nothing; writing is one clear error."""
    with small_disk(tmp_path / "disk", "size=1m") as disk:
        with CheckpointStore(disk) as store:
            store.write(small(1), 1)
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        with CheckpointStore(disk) as store:
            assert store.latest().record["epoch"] == 1
            with pytest.raises(RunError, match="Read-only file system"):
                store.write(small(2), 2)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_leave_to_write_is_one_clear_error(tmp_path):
    """The reason is the system's."""
    tmp_path.chmod(0o500)
    try:
        for folder in (tmp_path, tmp_path / "new"):
            with pytest.raises(RunError, match="Permission denied"):
                CheckpointStore(folder).write(SMALL, 1)
    finally:
        tmp_path.chmod(0o700)


# One process at a time


def test_two_trainings_do_not_write_into_one_folder(tmp_path):
    """The second is told who the first is; it may read; it may write when the first is done."""
    fcntl = pytest.importorskip("fcntl")
    assert fcntl.LOCK_NB
    first, second = CheckpointStore(tmp_path), CheckpointStore(tmp_path)
    first.write(small(1), 1)
    with pytest.raises(RunError, match="is in use by another training of this process"):
        second.lock()
    code = "import sys; from undertow.train import CheckpointStore; CheckpointStore(sys.argv[1]).lock()"
    command, environment = [sys.executable, "-c", code, str(tmp_path)], {**os.environ, "PYTHONPATH": str(SOURCE)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert f"{tmp_path} is in use by process {os.getpid()}. Wait" in done.stderr
    assert second.latest().record["epoch"] == 1
    first.close()
    second.write(small(2), 2)
    second.close()
    del first, second
    CheckpointStore(tmp_path).lock()  # and nobody keeps the store, so that the lock ends with it
    CheckpointStore(tmp_path).lock()


def test_a_lock_ends_with_its_process_though_children_live(tmp_path):
    """A child made by fork does not hold the lock of its parent; the name of a dead process is no lock."""
    pytest.importorskip("fcntl")
    (tmp_path / "lock").write_text("1")
    store = CheckpointStore(tmp_path)
    store.lock()
    ready, end = os.pipe(), os.pipe()
    child = os.fork()
    if not child:
        os.write(ready[1], b"x")
        os.close(end[1])
        os.read(end[0], 1)
        os._exit(0)
    try:
        os.read(ready[0], 1)
        store.close()
        CheckpointStore(tmp_path).lock()
    finally:
        for file in (*ready, *end):
            os.close(file)
        os.waitpid(child, 0)


def test_without_locks_one_is_told_and_writes(tmp_path, monkeypatch):
    """A file system that knows no locks does not keep anyone from training."""
    fcntl = pytest.importorskip("fcntl")

    def refuse(*_):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with CheckpointStore(tmp_path) as store:
        store.write(SMALL, 1)
        assert "cannot be locked" in store.remarks[0] and store.latest()
    monkeypatch.setitem(sys.modules, "fcntl", None)  # as on Windows
    with CheckpointStore(tmp_path / "b") as store:
        store.write(SMALL, 1)
        assert "cannot be locked" in store.remarks[0]


def test_what_a_killed_process_left_is_cleared_away(tmp_path):
    """Only files of ours that were being written; files of the user's stay."""
    (tmp_path / ".checkpoint-00000001.safetensors.abcd.part").write_bytes(b"half")
    (tmp_path / "notes.part").write_text("mine")
    with CheckpointStore(tmp_path) as store:
        store.write(SMALL, 1)
    assert sorted(os.listdir(tmp_path)) == ["checkpoint-00000001.safetensors", "lock", "notes.part"]
