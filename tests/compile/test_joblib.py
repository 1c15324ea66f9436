"""Compiled functions and training in joblib's processes and threads, beside scikit-learn's own threads."""

import copy
import pickle
import subprocess
import sys
import threading

import numpy as np
import pytest

import undertow as ut
from undertow.compile import pool, threads


@ut.compile
def decorated(x):
    return np.sum(np.exp(-x * x), axis=1)


def plain(x):
    return np.tanh(x @ x.T).sum(axis=0)


SCRIPT = """
import sys, threading
import numpy as np
import undertow as ut
from joblib import Parallel, delayed

try:  # whose OpenMP and OpenBLAS are in this process as well
    from sklearn.ensemble import HistGradientBoostingClassifier
    HistGradientBoostingClassifier(max_iter=3).fit(np.eye(300), np.arange(300) % 2)
except ImportError:
    pass
np.ones((600, 600)) @ np.ones((600, 600))

def product(x):
    return np.tanh(x @ x.T).sum(axis=0)

@ut.compile
def bell(x):
    return np.sum(np.exp(-x * x), axis=1)

def train(seed):
    ut.set_threads(2)
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(256, 64))
    model = ut.nn.Sequential(ut.nn.Dense(64, 96), ut.nn.relu, ut.nn.Dense(96, 2))
    settings = dict(loss="categorical_cross_entropy", epochs=3, seed=seed, batch_size=128, progress=False)
    return ut.train(model, (X, (X[:, 0] > 0).astype(int)), **settings)

if __name__ == "__main__":
    ut.set_threads(2)
    compiled = ut.compile(product)
    xs = [np.random.default_rng(i).normal(size=(160, 90)) for i in range(6)]
    losses = [[row["loss"] for row in train(seed).history] for seed in range(4)]
    for backend in ("threading", "loky"):
        together = Parallel(n_jobs=2, backend=backend)
        for f, wanted in ((compiled, product), (bell, bell.function)):
            for x, found in zip(xs, together(delayed(f)(x) for x in xs)):
                np.testing.assert_allclose(found, wanted(x), rtol=1e-9)
        runs = together(delayed(train)(seed) for seed in range(4))
        assert [[row["loss"] for row in run.history] for run in runs] == losses, backend
    print("right")
"""


def test_joblib_runs_compiled_programs_in_processes_and_threads(tmp_path):
    pytest.importorskip("joblib")
    (tmp_path / "script.py").write_text(SCRIPT)
    code = f"import runpy, sys; sys.path[:0] = {[p for p in sys.path if p]!r}; sys.argv = ['script.py']\n"
    code += f"runpy.run_path({str(tmp_path / 'script.py')!r}, run_name='__main__')"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600)
    assert (found.returncode, found.stdout) == (0, "right\n"), found.stderr[-3000:]


def test_compiled_functions_are_copied_by_name_or_with_their_function():
    assert pickle.loads(pickle.dumps(decorated)) is decorated
    copied = pickle.loads(pickle.dumps(ut.compile(plain, fallback="numpy")))
    x = np.random.default_rng(0).normal(size=(4, 3))
    np.testing.assert_allclose(copied(x), plain(x), rtol=1e-12)
    assert copied.fallback == "numpy"


def test_programs_of_several_threads_take_turns(monkeypatch):
    """Two processors, programs of two jobs: no two are under way at once, unless one has waited for long."""
    monkeypatch.setattr(pool, "usable_processors", lambda: 2)
    monkeypatch.setattr(pool, "PATIENCE", 600.0)
    under_way, most = [], []

    def job():
        under_way.append(1)
        most.append(len(under_way))
        for _ in range(2000):
            pass
        under_way.pop()

    def program():
        for _ in range(50):
            assert pool.run_together([job, lambda: None]) is None

    callers = [threading.Thread(target=program) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert max(most) == 1 and len(most) == 200 and pool._running == 0


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"OMP_NUM_THREADS": "1"}, 1),
        ({"OMP_NUM_THREADS": "3", "UNDERTOW_NUM_THREADS": "2"}, 2),
        ({"OMP_NUM_THREADS": "2,1"}, 2),
        ({"OMP_NUM_THREADS": "3", "UNDERTOW_NUM_THREADS": "zero"}, 3),
        ({}, 4),
    ],
)
def test_the_environment_says_how_many_threads(monkeypatch, given, wanted):
    monkeypatch.setattr(threads, "usable_processors", lambda: 4)
    before = threads._chosen
    for name in threads.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    ut.set_threads(None)  # what the environment says is looked up once
    try:
        assert ut.get_threads() == wanted
    finally:
        monkeypatch.undo()
        ut.set_threads(before)


def slope_of_bells(w):
    return np.sum(np.exp(-w * w))


def test_compiled_gradients_are_sent_after_their_calls_too():
    """A copy is compiled anew: what the first has compiled, with its locks, stays behind."""
    gradient = ut.value_and_grad(slope_of_bells, (0,), compile=True, fallback="numpy")
    w = np.array([0.3, -1.2])
    gradient(w)
    for copied in (pickle.loads(pickle.dumps(gradient)), copy.deepcopy(gradient), copy.copy(gradient)):
        value, (slope,) = copied(w)
        np.testing.assert_allclose(value, slope_of_bells(w), rtol=1e-12)
        np.testing.assert_allclose(slope, -2 * w * np.exp(-w * w), rtol=1e-12)
        assert copied.fallback == "numpy"


def test_a_function_of_a_script_that_calls_a_compiled_gradient_is_sent_to_processes(tmp_path):
    """What stands in ``__main__`` is sent with the globals that it reads."""
    pytest.importorskip("joblib")
    script = """
import numpy as np, undertow as ut
from joblib import Parallel, delayed
gradient = ut.value_and_grad(lambda w: np.sum(np.exp(-w * w)), compile=True)

def work(k):
    return gradient(np.full(3, 0.1 * k))[1]

if __name__ == "__main__":
    here = [work(k) for k in range(4)]
    there = Parallel(n_jobs=2)(delayed(work)(k) for k in range(4))
    print(np.array_equal(here, there))
"""
    (tmp_path / "script.py").write_text(script)
    code = f"import runpy, sys; sys.path[:0] = {[p for p in sys.path if p]!r}; sys.argv = ['script.py']\n"
    code += f"runpy.run_path({str(tmp_path / 'script.py')!r}, run_name='__main__')"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600)
    assert (found.returncode, found.stdout) == (0, "True\n"), found.stderr[-3000:]


def test_a_compiled_gradient_binds_as_a_method_does():
    class Net:
        gradient = ut.value_and_grad(lambda self, w: self.scale * np.sum(w * w), 1, compile=True)
        scale = 3.0

    value, slope = Net().gradient(np.array([1.0, 2.0]))
    assert value == 15.0 and slope.tolist() == [6.0, 12.0]
