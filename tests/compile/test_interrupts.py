"""Ctrl-C while a program runs: it ends early, and what it keeps is that of a whole number of steps."""

import os
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest

import undertow as ut
from compiled_graphs import ones_by_numpy
from undertow.compile import pool
from undertow.compile.program import Program, Slot
from undertow.errors import UndertowError
from undertow.train.step import make_step

WIDTH, ROWS = 24, 30


def loss(weights, X, y):
    return np.mean((np.tanh(X @ weights[0]) @ weights[1] - y) ** 2)


def loss_by_numpy(weights, X, y):
    return np.mean(((np.tanh(X @ weights[0]) * ones_by_numpy(X)) @ weights[1] - y) ** 2)


def make_session(f, width=WIDTH, rows=ROWS, batch=ROWS):
    rng = np.random.default_rng(3)
    weights = [rng.normal(size=(width, width)) / width**0.5, rng.normal(size=(width, 2))]
    X, y = rng.normal(size=(rows, width)), rng.normal(size=(rows, 2))
    step = make_step(f, ut.optim.adam(1e-2), None)
    return step.open(weights, step.init(weights), X, y, batch)


def leaves(session):
    model, state = session.values()
    return [*model, *ut.trees.flatten(state)[0]]


@pytest.fixture(params=[1, 2])
def threads(request):
    ut.set_threads(request.param)
    yield request.param
    ut.set_threads(None)


def test_a_program_that_is_asked_to_stop_does_not_begin(threads):
    session = make_session(loss, 96, 900, 900)
    before = leaves(session)
    session.resident.load(before)
    program = session.resident.prepare(900)
    program.stop[0] = 1
    assert program.run_parts(5) == 0
    for mine, old in zip(session.resident.copies(), before, strict=True):
        np.testing.assert_array_equal(mine, old)
    program.stop[0] = 0
    assert program.leave_until > 4, "a step could be left at its beginning only"


def test_a_step_is_left_before_it_changes_what_is_kept(threads, monkeypatch):
    """NumPy's part of the third step asks to stop: the rest of that step is not done."""
    whole, broken = make_session(loss_by_numpy), make_session(loss_by_numpy)
    calls, compute = [], Program.let_numpy_do

    def count(self, node):
        calls.append(node)
        if len(calls) == at:
            self.stop[0] = 1
        compute(self, node)

    at = None
    order = np.arange(ROWS)
    whole.run(np.tile(order, 2), ROWS)
    per_step = len(whole.resident.prepare(ROWS).plan.read_by_numpy)
    monkeypatch.setattr(Program, "let_numpy_do", count)
    at = 2 * per_step + 1
    losses = broken.run(np.tile(order, 6), ROWS)
    assert len(losses) == 2 and len(calls) == at
    for mine, other in zip(leaves(broken), leaves(whole), strict=True):
        np.testing.assert_array_equal(mine, other)


SCRIPT = """
import os, signal, sys, threading, time
import numpy as np
import undertow as ut
from test_interrupts import leaves, loss, make_session

ut.set_threads(int(sys.argv[1]))
make = lambda: make_session(loss, 512, 2048, 2048)
order, asked = np.tile(np.arange(2048), 200), 200
interrupt_after = lambda seconds: threading.Timer(seconds, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
session, times = make(), []
for _ in range(6):  # compiled, and its time is known: the least, which nothing else on the machine makes longer
    begun = time.perf_counter()
    session.run(order[:2048], 2048)
    times.append(time.perf_counter() - begun)
seconds = min(times)
session = make()
try:
    interrupt_after(5.5 * seconds)
    session.run(order, 2048)
    raise SystemExit("nobody heard of it")
except KeyboardInterrupt:
    done = sum(len(rows) // 2048 for rows, _ in session.done)
assert done < asked, done
again = make()
for _ in range(done):
    again.run(order[:2048], 2048)
for mine, other in zip(leaves(session), leaves(again), strict=True):
    np.testing.assert_array_equal(mine, other)

f = ut.compile(lambda x: np.sum(x @ x @ x @ x @ x @ x @ x @ x, axis=0))
x = np.random.default_rng(0).normal(size=(700, 700)) / 30
wanted = f(x)
f.program.step_seconds = 10.0
try:
    interrupt_after(0.5 * seconds)
    for _ in range(10000):
        f(x)
        f.program.step_seconds = 10.0
    raise SystemExit("nobody heard of it")
except KeyboardInterrupt:
    np.testing.assert_array_equal(f(x), wanted)

heard = []
signal.signal(signal.SIGINT, lambda number, frame: heard.append(number))
f.program.step_seconds = 10.0
interrupt_after(0.01)
while not heard:  # to a handler that only takes note, nothing is lost
    f.program.step_seconds = 10.0
    np.testing.assert_array_equal(f(x), wanted)
print("well", done)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals of Unix")
@pytest.mark.parametrize("n", ["1", "2"])
def test_ctrl_c_ends_a_long_run_after_whole_steps(n):
    paths = [p for p in sys.path if p]
    code = f"import sys; sys.path[:0] = {[*paths, __file__.rpartition('/')[0]]!r}\n{SCRIPT}"
    found = subprocess.run([sys.executable, "-c", code, n], capture_output=True, text=True, timeout=600)
    assert found.returncode == 0 and found.stdout.startswith("well"), found.stderr[-2000:]


def test_a_session_goes_on_where_it_was_stopped(threads):
    """Of the steps that a session is asked for while Ctrl-C is held back, none is done; the next call does them."""
    session, other = make_session(loss), make_session(loss)
    order = np.arange(ROWS)
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        take_over = session._take_over
        session._take_over = lambda: (take_over(), signal.raise_signal(signal.SIGINT))
        assert len(session.run(order, ROWS)) == 0
    finally:
        signal.signal(signal.SIGINT, before)
    del session._take_over
    np.testing.assert_array_equal(session.run(order, ROWS), other.run(order, ROWS))
    for mine, theirs in zip(leaves(session), leaves(other), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_a_thread_that_cannot_start_is_told_and_others_get_their_turn(monkeypatch):
    def refuse(self):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(pool, "_idle", [])
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(UndertowError, match=r"lets this process start no other thread.*use 2.*set_threads\(1\)"):
            pool.run_together([int, int])
    assert not pool._running
    assert pool.run_together([lambda: 3, int]) == 3


def test_an_interrupt_while_addresses_are_written_leaves_none_that_is_wrong():
    """Else the next call with the array of the last one would compute with memory that is not there any more."""

    class Interrupted(list):
        def __iter__(self):
            yield self[0]
            raise KeyboardInterrupt

    table = np.zeros(2, np.int64)
    slot = Slot(table)
    places = [(0, 0), (1, 8)]
    first, second = np.zeros(3), np.ones(3)
    slot.places = places
    slot.give(first)
    for again in (first, second):
        slot.places = Interrupted(places)
        with pytest.raises(KeyboardInterrupt):
            slot.give(second)
        slot.places = places
        slot.give(again)
        np.testing.assert_array_equal(table, again.ctypes.data + np.array([0, 8]))
        slot.give(first)


FORK = """
import os, signal, threading, time
from undertow.compile import pool

def fork():
    child = os.fork()
    if child:
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        return
    try:
        with pool.undisturbed():
            os.kill(os.getpid(), signal.SIGINT)
        time.sleep(20)
    except KeyboardInterrupt:
        os._exit(7 if pool.interrupted() else 5)
    os._exit(9)

with pool.undisturbed():
    thread = threading.Thread(target=fork)
    thread.start()
    thread.join()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_process_that_another_thread_forks_meanwhile_hears_of_ctrl_c():
    told = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True, timeout=60, check=True)
    assert told.stdout.split() == ["5"]
