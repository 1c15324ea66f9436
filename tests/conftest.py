"""What every test shares: reproducible examples, verified graphs, and one thread a process beside other processes."""

import os

if "PYTEST_XDIST_WORKER" in os.environ:
    # Read once, when NumPy loads its BLAS: two processes with two threads each only wait for one another.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("UNDERTOW_NUM_THREADS", "1")

import tempfile
from pathlib import Path

# Kernels that tests compile are shared by the processes of a run, and by the next run; the user's own stay untouched.
os.environ.setdefault("UNDERTOW_CACHE_DIR", str(Path(tempfile.gettempdir()) / f"undertow-test-kernels-{os.getuid()}"))

import functools
import signal
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

import undertow as ut
from undertow import api, trace
from undertow.compile import kept, program, resident
from undertow.flow.training import TrainingRecorder
from undertow.graph import Graph, verify
from undertow.trace import following, stand_ins

kept.FEWEST = sys.maxsize  # tests change how plans are made, which no entry on disk knows of

# A busy machine makes examples slowly, and that is no fault of theirs.
lasting = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow], "print_blob": True}
settings.register_profile("reproducible", derandomize=True, **lasting)
settings.register_profile("search", max_examples=1000, **lasting)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "reproducible"))

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in what a shell runs in the background, and its children
    signal.signal(signal.SIGINT, signal.default_int_handler)


def verify_results(function: Callable[..., Any], graph_of: Callable[[Any], Graph]) -> None:
    """Verify every graph that a pass returns from now on, under whatever name a module of ours calls it."""

    @functools.wraps(function)
    def verified(*args: Any, **kwargs: Any) -> Any:
        result = function(*args, **kwargs)
        verify(graph_of(result))
        return result

    code = verified.__code__  # errors name the user's line: this frame must not be taken for it
    verified.__code__ = code.replace(co_filename=str(api.__file__))
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == ut.__name__:
            for key, value in list(vars(module).items()):
                if value is function:
                    setattr(module, key, verified)


verify_results(trace.trace_function, lambda traced: traced.graph)
verify_results(api.differentiate_graph, lambda result: result[0])
verify_results(api.simplify, lambda simplified: simplified.graph)

GUARD = 256  # bytes before and behind the memory of compiled programs
guarded: list[tuple[np.ndarray, int, int]] = []


def with_guards(size: int) -> np.ndarray:
    """What `undertow.compile.program.aligned` returns, between bytes that nobody may write."""
    whole = np.zeros(size + 3 * GUARD, np.uint8)  # what is never used costs nothing
    start = -whole.ctypes.data % GUARD + GUARD
    whole[:start] = whole[start + size :] = 0x5A
    guarded.append((whole, start, size))
    return whole[start : start + size]


for module in (program, resident):
    module.aligned = with_guards


@pytest.fixture(autouse=True)
def nothing_is_written_beside_the_memory_of_programs():
    """A kernel that writes behind its memory changes what Python keeps there, and any line may fail later."""
    yield
    beside = [
        size for whole, start, size in guarded if (whole[:start] != 0x5A).any() or (whole[start + size :] != 0x5A).any()
    ]
    guarded.clear()
    assert not beside, f"a compiled program wrote beside its memory, of {beside} bytes"


# It registers layers, which a module can do once: tests import it, the search for doctests would do so again.
collect_ignore = ["own_layers.py"]


@pytest.fixture(autouse=True)
def no_limit_of_memory():
    """A command with a limit leaves the process giving memory back; the tests behind it would take twice as long."""
    yield
    footprint = sys.modules.get("undertow.data.footprint")
    if footprint is not None:
        footprint.keep_no_longer()


@pytest.fixture(autouse=True)
def faults_of_records(monkeypatch):
    """What went wrong in records that trainings leave unsaid but for a line: no test has any, unless it takes them."""
    faults: list[str] = []
    attempt = TrainingRecorder._try

    def attempt_and_note(self: Any, trainer: Any, work: Callable[[], Any]) -> None:
        before, self.failed = self.failed, False
        attempt(self, trainer, work)
        if self.failed:
            faults.append(self.flow.facts["failed"])
        self.failed = self.failed or before

    monkeypatch.setattr(TrainingRecorder, "_try", attempt_and_note)
    yield faults
    assert not faults, faults


@pytest.fixture
def plain_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    """NumPy's functions stay what they are: as where code reaches them by ways that nobody sees."""
    for module in (following, stand_ins):
        monkeypatch.setattr(module, "numpys", list)
    monkeypatch.setattr(following, "_known", {})
