"""The power may fail at any instant: the last whole checkpoint is found on whatever the disk then holds.

`FailingDisk` carries out every call in a real folder, and notes which of them a power cut would undo: the content of a
file that was not forced, and names that were changed after their folder was forced last. After each cut, the folders
that the disk may then hold are made, and opened again.
"""

import contextlib
import errno
import itertools
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from undertow.errors import RunError
from undertow.train import CheckpointStore, HistoryFile, Snapshot
from undertow.train.disk import DISK, Disk

SOURCE = Path(__file__).parents[2] / "src"
CALLS = [name for name in vars(Disk) if not name.startswith("_")]


class PowerCut(BaseException):
    """The end of everything; no handler of ours may need to run."""


class File:
    """A file of the failing disk: what was written, and what is certain to be on the disk."""

    def __init__(self, content=b""):
        self.content, self.certain, self.forced = content, content, True

    def after_cut(self):
        """What a power cut may leave of it."""
        if self.forced:
            return [self.content]
        kept = self.certain if self.content.startswith(self.certain) else b""  # what is appended harms nothing before
        tail = self.content[len(kept) :]
        ends = [tail, b"", tail[: len(tail) // 2], bytes(len(tail)), random.Random(0).randbytes(len(tail))]
        return list(dict.fromkeys([self.certain, *(kept + end for end in ends)]))


class FailingDisk(Disk):
    """Carries out calls in a real folder until the power fails, or the n-th call fails with an error."""

    def __init__(self, monkeypatch, folder, fail_at=None, error=None):
        self.folder, self.fail_at, self.error, self.count, self.dead = folder, fail_at, error, 0, False
        self.names = {name: File((folder / name).read_bytes()) for name in os.listdir(folder)}
        self.certain = dict(self.names)
        self.changes = []  # of names, not yet forced: {name: file or None}
        self.open = {}
        for name in CALLS:
            monkeypatch.setattr(DISK, name, self.watch(name))

    def watch(self, name):
        def call(*arguments):
            if self.dead:
                raise PowerCut
            self.count += 1
            if self.count == self.fail_at:
                if self.error is not None:
                    raise OSError(self.error, os.strerror(self.error))
                self.dead = True
                raise PowerCut
            result = getattr(type(self), name)(self, *arguments)
            getattr(self, f"note_{name}", lambda *_: None)(result, *arguments)
            return result

        return call

    def write(self, file, content):
        return super().write(file, content[:256])  # as POSIX allows, so that cuts come midway

    def force(self, file):
        """What is certain is noted below; the real disk need not be waited for."""

    def force_folder(self, path):
        """As above."""

    def note_create(self, file, path):
        self.open[file] = new = File()
        self.change({path.name: new})

    def note_open_end(self, file, path):
        if path.name not in self.names:
            self.change({path.name: File()})
        self.open[file] = self.names[path.name]

    def note_write(self, count, file, content):
        self.open[file].content += bytes(content[:count])
        self.open[file].forced = False

    def note_truncate(self, _, file, size):
        self.open[file].content = self.open[file].content[:size]
        self.open[file].forced = False

    def note_force(self, _, file):
        self.open[file].forced, self.open[file].certain = True, self.open[file].content

    def note_rename(self, _, old, new):
        self.change({old.name: None, new.name: self.names[old.name]})

    def note_remove(self, _, path):
        self.change({path.name: None})

    def note_force_folder(self, _, path):
        if path == self.folder:
            self.certain, self.changes = dict(self.names), []

    def change(self, names):
        self.changes.append(names)
        self.names.update(names)

    def after_cut(self):
        """Every folder that the disk may hold: any of the last changes of names, any state of a file not forced."""
        for happened in itertools.product((True, False), repeat=len(self.changes)):
            names = dict(self.certain)
            for change, done in zip(self.changes, happened, strict=True):
                names.update(change if done else {})
            names = {name: file for name, file in names.items() if file is not None}
            for contents in itertools.product(*(file.after_cut() for file in names.values())):
                yield dict(zip(names, contents, strict=True))


def snapshot(number):
    W = np.arange(6, dtype=np.float32).reshape(2, 3) + number
    return Snapshot({"model/W": W, "step": np.int64(number)}, {"number": number})


def number_of(found):
    """The number of a snapshot, which must be whole."""
    if found is None:
        return None
    np.testing.assert_array_equal(found.arrays["model/W"], snapshot(found.record["number"]).arrays["model/W"])
    return found.record["number"]


def fill(folder, contents):
    folder.mkdir(parents=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)


@pytest.mark.parametrize("keep", [1, 2])
def test_a_power_cut_at_any_call_loses_no_checkpoint(tmp_path, keep):
    """Four checkpoints, the second the best: after every cut, the last that was written is there, or the next."""
    cuts = states = 0
    for cut in itertools.count(1):
        folder = tmp_path / f"{cut}" / "checkpoints"
        folder.mkdir(parents=True)
        returned = best = None
        with pytest.MonkeyPatch.context() as patch:
            disk = FailingDisk(patch, folder, cut)
            store = CheckpointStore(folder, keep)
            try:
                for number in (1, 2, 3, 4):
                    store.write(snapshot(number), number, best=number == 2)
                    returned = number
                    best = 2 if number >= 2 else None
            except PowerCut:
                cuts += 1
        store.close()
        if not disk.dead:
            break
        for contents in disk.after_cut():
            states += 1
            again = tmp_path / f"{cut}-{states}"
            fill(again, contents)
            with pytest.MonkeyPatch.context() as patch, CheckpointStore(again, keep) as store:
                FailingDisk(patch, again)
                found = number_of(store.latest())
                assert found in (returned, (returned or 0) + 1) and not store.remarks, (cut, contents)
                assert number_of(store.best()) in {best, 2 if found == 2 else best}
                store.write(snapshot(5), 5)
                assert number_of(store.latest()) == 5
                assert [name for name in os.listdir(again) if name.endswith(".part")] == []
            for file in again.iterdir():
                file.unlink()
    assert cuts > 30 and states > 100


@pytest.mark.parametrize("left_out", ["force", "force_folder"])
def test_a_cut_with_calls_left_out_is_noticed(tmp_path, left_out):
    """The test above can fail: without forcing files, or their folder before removing, a checkpoint is lost."""

    def loses(cut):
        folder, returned = tmp_path / str(cut), 0
        folder.mkdir()
        with pytest.MonkeyPatch.context() as patch:
            disk = FailingDisk(patch, folder, cut)
            patch.setattr(disk, f"note_{left_out}", lambda *_: None)
            store = CheckpointStore(folder, keep=1)
            with contextlib.suppress(PowerCut):
                for number in (1, 2, 3):
                    store.write(snapshot(number), number)
                    returned = number
        store.close()
        for i, contents in enumerate(itertools.islice(disk.after_cut(), 20)):
            fill(folder / str(i), contents)
            if (number_of(CheckpointStore(folder / str(i)).latest()) or 0) < returned:
                return True
        return False

    assert any(map(loses, range(1, 40)))


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
def test_an_error_of_any_call_is_one_clear_error_and_loses_nothing(tmp_path, code):
    """The disk fails at each call in turn: RunError or a remark, the checkpoint before stays, no litter."""
    for failing in itertools.count(1):
        folder = tmp_path / str(failing)
        with CheckpointStore(folder, keep=1) as store:
            store.write(snapshot(1), 1)
            with pytest.MonkeyPatch.context() as patch:
                disk = FailingDisk(patch, folder, failing, code)
                try:
                    store.write(snapshot(2), 2)
                    wrote = True
                except RunError as error:
                    wrote = False
                    assert os.strerror(code) in str(error) and "are kept" in str(error)
            if disk.count < failing:
                assert wrote
                break
            assert number_of(store.latest()) == 2 if wrote else number_of(store.latest()) in (1, 2)
            store.write(snapshot(3), 3)
            assert number_of(store.latest()) == 3
        assert not [name for name in os.listdir(folder) if name.endswith(".part")]
    assert failing > 8


WRITER = r"""
import os, sys, numpy as np
from undertow.train import CheckpointStore, HistoryFile, Snapshot

def write(place):
    store, history = CheckpointStore(place + "/checkpoints"), HistoryFile(place + "/history.jsonl")
    found = store.latest()
    number = found.record["number"] if found else 0
    history.rewind(number)
    while True:
        number += 1
        history.append({"epoch": number})
        history.force()
        W = np.full(2000, number, np.float32)
        store.write(Snapshot({"W": W}, {"number": number}), number, best=number % 7 == 1)
        os.write(1, b"%d\n" % number)  # in one piece, or not at all

for _ in sys.stdin:
    child = os.fork()
    if not child:
        os.write(1, b"child %d\n" % os.getpid())
        write(sys.argv[1])
    os.waitpid(child, 0)
    os.write(1, b"dead\n")
"""


def kill_at_random(folder, times, seed):
    """Kill a process that writes checkpoints, at random instants; check what is there; the last number."""
    choose, reached = random.Random(seed), 0
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder)],  # each writer is a fork of this one, so as to begin at once
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    )
    with process:
        for i in range(times):
            process.stdin.write("\n")
            word, pid = process.stdout.readline().split()
            assert word == "child"
            printed = [process.stdout.readline()] if i % 2 else []  # every other one has written something
            time.sleep(choose.uniform(0, 0.05))
            os.kill(int(pid), signal.SIGKILL)
            printed += iter(process.stdout.readline, "dead\n")
            reached = check_after_kill(folder, max([reached, *(int(number) for number in printed)]))
        process.stdin.close()
    return reached


def check_after_kill(folder, returned):
    """What was written last is there, or what was being written; its number."""
    found = CheckpointStore(folder / "checkpoints").latest()
    if found is None:
        assert returned == 0
        return 0
    number = found.record["number"]
    assert number in (returned, returned + 1) and (found.arrays["W"] == number).all()
    rows = HistoryFile(folder / "history.jsonl").rows()
    assert [row["epoch"] for row in rows] == list(range(1, len(rows) + 1)) and len(rows) in (number, number + 1)
    return number


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_killed_process_loses_nothing_and_the_next_goes_on(tmp_path):
    """SIGKILL at random instants, again and again in one folder; each process takes over its lock."""
    times = int(os.environ.get("UNDERTOW_TEST_KILLS", "20"))
    last = kill_at_random(tmp_path, times, seed=times)
    assert last >= times // 2
    with CheckpointStore(tmp_path / "checkpoints") as store:
        store.latest()
        store.write(snapshot(last + 1), last + 1)
        assert len(os.listdir(store.folder)) <= 4  # the last two, the best, the lock: what was left is cleared away


# The history


def test_a_history_survives_a_power_cut_at_any_call(tmp_path):
    """After a cut, rows that were forced are there; what follows them is whole rows or dropped."""
    rows = [{"epoch": i, "loss": 1 / i} for i in range(1, 5)]
    for cut in itertools.count(1):
        folder = tmp_path / str(cut)
        folder.mkdir()
        with pytest.MonkeyPatch.context() as patch:
            disk = FailingDisk(patch, folder, cut)
            history, forced = HistoryFile(folder / "history.jsonl"), 0
            try:
                for i, row in enumerate(rows):
                    history.append(row)
                    history.force()
                    forced = i + 1
            except PowerCut:
                pass
            history.close()
        if not disk.dead:
            break
        for i, contents in enumerate(disk.after_cut()):
            fill(folder / str(i), contents)
            with HistoryFile(folder / str(i) / "history.jsonl") as again:
                found = again.rows()
                assert found == rows[: len(found)] and len(found) >= forced
                again.rewind(forced)
                again.append({"new": True})
                assert again.rows() == [*rows[:forced], {"new": True}]
