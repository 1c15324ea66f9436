"""Products that finish their results while these are in registers: to the last bit what passes over them give."""

from __future__ import annotations

import numpy as np
import pytest

import undertow as ut
from undertow import nn, optim, trees
from undertow.compile import finished, products, split
from undertow.compile import threads as known
from undertow.compile.resident import Resident
from undertow.compile.statistics import KINDS, Measure, measure_now, statistics
from undertow.graph import Graph
from undertow.trace import Tracer, trace_function
from undertow.trace.tracer import NotingTrace
from undertow.train.derive import numbers_of
from undertow.train.step import make_step

NEVER, ALWAYS = 1 << 60, -1


KERNELS = ["own", "packed", "interleaved"]


@pytest.fixture(autouse=True, params=KERNELS)
def kernel(request, monkeypatch):
    """One of our own: OpenBLAS, which some processors leave large products to, finishes nothing."""
    for module in (finished, products):
        monkeypatch.setattr(module, "choose_kernel", lambda *args: request.param)
    return request.param


@pytest.fixture
def share(monkeypatch):
    """What lets work be shared among up to three threads."""
    monkeypatch.setattr(known, "usable_processors", lambda: 3)
    monkeypatch.setattr(split, "FLOPS", 1 << 60)  # sums that threads share are joined by a pass over their parts
    yield ut.set_threads
    ut.set_threads(None)


def threads_for(kernel, number):
    """One, two or three threads, so that each kernel and each case meets all of them, if not each other's."""
    return 1 + (KERNELS.index(kernel) + number) % 3


def finishes(program):
    return [call.what for call in program.calls if call.finish is not None]


def both(monkeypatch, make):
    """Compute with and without: what is found, and the calls that finish."""
    results = []
    for far in (NEVER, ALWAYS):
        monkeypatch.setattr(finished, "FAR", far)
        results.append(make())
    return results


CHAINS = {
    "bias and relu": lambda np, z, b, c, s: (np.maximum(z + b, 0),),
    "a mask that is kept": lambda np, z, b, c, s: (np.where(z > b, z, 0), z > b),
    "with another array": lambda np, z, b, c, s: (s * z + c, c * z),
    "a mean and a root": lambda np, z, b, c, s: (c - s * z / (np.sqrt(z * z + 1) + 1e-3),),
    "its own sign": lambda np, z, b, c, s: (np.sign(z) * np.abs(z) ** 1.5 + np.exp(-abs(c)),),
}


SIZES = [(3, 1, 13), (7, 300, 33), (64, 32, 40), (129, 64, 257), (31, 1000, 77), (300, 5, 16), (70, 513, 64)]


@pytest.mark.parametrize("chain", CHAINS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_results_are_those_of_numpy_and_of_a_pass_by_itself(chain, dtype, kernel, share, monkeypatch):
    rng = np.random.default_rng(0)
    for number, (m, k, n) in enumerate(SIZES):
        share(threads_for(kernel, number + list(CHAINS).index(chain)))
        for turned in ("", "x", "w"):
            x, w = rng.normal(size=(m, k)), rng.normal(size=(k, n)) / k**0.5
            given = [x, w, rng.normal(size=n), rng.normal(size=(m, n)), np.array(0.7)]
            given = [a.astype(dtype) for a in given]
            if turned:
                at = "xw".index(turned)
                given[at] = np.ascontiguousarray(given[at].T)

            def f(x, w, b, c, s, turned=turned):
                z = (x.T if turned == "x" else x) @ (w.T if turned == "w" else w)
                return CHAINS[chain](np, z, b, c, s)

            def make(f=f, given=given):
                compiled = ut.compile(f)
                return compiled(*given), finishes(compiled.program)

            (apart, none), (found, some) = both(monkeypatch, make)
            assert not none and len(some) == 1, (m, k, n, some)
            with np.errstate(all="ignore"):
                wanted = f(*given)
            for a, b, c in zip(found, apart, wanted, strict=True):
                np.testing.assert_array_equal(a, b)
                if c.dtype != bool:
                    np.testing.assert_allclose(a, c, rtol=200 * np.finfo(dtype).eps, atol=50 * np.finfo(dtype).eps)


def test_what_is_not_finite_goes_where_numpys_goes(monkeypatch):
    monkeypatch.setattr(finished, "FAR", ALWAYS)
    rng = np.random.default_rng(0)
    x, w, b = rng.normal(size=(9, 20)), rng.normal(size=(20, 40)), rng.normal(size=40)
    x[2, 3], x[4, 5], b[7] = np.nan, np.inf, -np.inf
    f = lambda x, w, b: np.maximum(x @ w + b, 0)
    compiled = ut.compile(f)
    found = compiled(x, w, b)
    assert finishes(compiled.program)
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(found, f(x, w, b), rtol=1e-13)


RULES = {
    "sgd": lambda: optim.sgd(0.05, decay=0.01),
    "momentum": lambda: optim.momentum(optim.cosine(0.05, 20)),
    "nesterov": lambda: optim.nesterov(0.05),
    "adam": lambda: optim.adam(1e-2),
    "lamb": lambda: optim.lamb(1e-2),
}


def tied(model, X, y):
    """A loss whose gradients read weights late, from both sides, and beside their norm."""
    W, b, V = model
    h = np.tanh(X @ W + b)
    h = np.tanh(h @ V) @ V.T
    return nn.categorical_cross_entropy_with_logits(h, y) + 1e-3 * np.sum(W * W)


def train(rule, clip=None, dtype=np.float32, rows=40, epochs=3):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(4 * rows, 50)), rng.integers(0, 3, 4 * rows)
    model = [rng.normal(size=s) * 0.3 for s in ((50, 30), (30,), (30, 30))]
    model, X = [a.astype(dtype) for a in model], X.astype(dtype)
    step = make_step(tied, rule, clip)
    session = step.open(model, step.init(model), X, y, rows)
    losses = [session.run(np.random.default_rng(i).permutation(len(X)), rows) for i in range(epochs)]
    program = session.resident.prepare(rows)
    return [*losses, *numbers_of(trees.flatten(session.values())[0])], program


CASES = [
    (clip, dtype)
    for clip in (None, optim.clip_by_value(0.1), optim.clip_by_global_norm(0.5))
    for dtype in (np.float32, np.float64)
]


@pytest.mark.parametrize("rule", RULES)
def test_a_training_is_the_same_to_the_last_bit(rule, kernel, share, monkeypatch):
    """Each rule with each kernel and each number of threads, and each of these with each other."""
    number = list(RULES).index(rule)
    share(threads_for(kernel, number))
    clip, dtype = CASES[(number + 2 * KERNELS.index(kernel)) % len(CASES)]
    (apart, usual), (found, program) = both(monkeypatch, lambda: train(RULES[rule](), clip, dtype))
    assert not finishes(usual) and finishes(program)
    for a, b in zip(found, apart, strict=True):
        np.testing.assert_array_equal(a, b)


def told(x, w, watched, threads):
    """Do w ← 0.9 w + xᵀx as a step that keeps w; measure the product and the new w."""
    ut.set_threads(threads)
    n = len(w)

    def f(w, x):
        g = x.T @ x
        return np.sum(x), 0.9 * w + g, g

    graph = trace_function(f, (w, x)).graph
    total, kept, g = graph.outputs
    arrays = {"g": g, "w": kept} if watched else {}
    numbers = [statistics(Tracer(a, NotingTrace()), KINDS, (-0.5, 0.25)).node for a in arrays.values()]
    resident = Resident(Graph(graph.inputs, (total, kept, *numbers)), 1, 1, None, list(arrays))
    resident.load([w])
    resident.run([x], np.arange(len(x)), len(x), 0, 1)
    (new,) = resident.copies()
    assert finishes(resident.prepare(len(x))) and new.shape == (n, n)
    return new, resident.told


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [13, 64, 100, 257])
def test_statistics_of_what_is_finished_are_numpys_and_change_nothing(n, dtype, kernel, share, monkeypatch):
    monkeypatch.setattr(finished, "FAR", ALWAYS)
    threads = threads_for(kernel, n)
    rng = np.random.default_rng(n)
    x, w = rng.normal(size=(300, n)).astype(dtype), rng.normal(size=(n, n)).astype(dtype)
    w[0] = 0
    (new, found), (same, _) = told(x, w, True, threads), told(x, w, False, threads)
    np.testing.assert_array_equal(new, same)
    wanted = measure_now({k: Measure(a, KINDS, (-0.5, 0.25)) for k, a in {"g": x.T @ x, "w": new}.items()})
    assert found.names == wanted.names
    for name, a, b in zip(found.names, found.values[0], wanted.values[0], strict=True):
        scale = np.sum(np.abs(x.T @ x)) if name.endswith(".s") else abs(b)
        assert abs(a - b) <= (1e-5 if dtype == np.float32 else 1e-12) * scale, (name, a, b)


def test_the_largest_magnitude_tells_what_is_not_finite(monkeypatch):
    monkeypatch.setattr(finished, "FAR", ALWAYS)
    for bad, where in [(np.nan, (3, 5)), (np.inf, (299, 90)), (np.nan, (299, 99))]:
        x = np.random.default_rng(0).normal(size=(300, 100)).astype(np.float32)
        x[where] = bad
        with np.errstate(all="ignore"):
            _, found = told(x, np.zeros((100, 100), np.float32), True, 1)
        largest = dict(zip(found.names, found.values[0], strict=True))
        assert not np.isfinite(largest["g.max"]) and not np.isfinite(largest["w.max"])


def test_a_step_that_could_not_be_left_for_long_changes_parameters_at_its_end(monkeypatch):
    monkeypatch.setattr(finished, "FAR", ALWAYS)
    rng, programs = np.random.default_rng(0), []
    X, y = rng.normal(size=(64, 50)), rng.integers(0, 20, 64)
    for rest in (finished.REST, 0):
        monkeypatch.setattr(finished, "REST", rest)
        model = nn.initialize(nn.Sequential(nn.Dense(50, 40), "relu", nn.Dense(40, 30), "relu", nn.Dense(30, 20)), 0)
        step = make_step(lambda m, X, y: nn.categorical_cross_entropy_with_logits(m(X), y), optim.momentum(0.1))
        programs.append(step.open(model, step.init(model), X, y, 64).resident.prepare(64))
    early, late = programs
    products = [i for i, call in enumerate(late.calls) if call.kind]
    assert early.leave_until < products[-1] <= late.leave_until


def test_what_a_product_finishes_reads_weights_before_they_are_changed(monkeypatch):
    """Without biases, the gradient of a hidden layer is finished too, and reads what is then changed where it lies."""
    monkeypatch.setattr(finished, "FAR", ALWAYS)
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(64, 50)), rng.normal(size=(64, 20))
    weights = [rng.normal(size=s) * 0.1 for s in ((50, 40), (40, 30), (30, 20))]

    def loss(weights, X, y):
        A, B, C = weights
        return np.mean((np.tanh(np.tanh(X @ A) @ B) @ C - y) ** 2)

    step = make_step(loss, optim.momentum(0.1))
    program = step.open(weights, step.init(weights), X, y, 64).resident.prepare(64)
    assert len(finishes(program)) == 7  # two products forwards, two back to hidden layers, three gradients
    copies = [x.what for x in program.calls if program.plan.kernels[x.kernel][1].startswith("copy")]
    assert not copies, copies


@pytest.mark.parametrize(("width", "wanted"), [(600, 2), (100, 0)])
def test_products_update_large_weights_and_leave_small_ones_to_a_pass_by_itself(width, wanted):
    X, y = np.zeros((16, width)), np.zeros(16, int)
    model = nn.initialize(nn.Sequential(nn.Dense(width, width), "tanh", nn.Dense(width, width)), 0)
    step = make_step(lambda m, X, y: nn.categorical_cross_entropy_with_logits(m(X), y), optim.momentum(0.1))
    program = step.open(model, step.init(model), X, y, 16).resident.prepare(16)
    updates = [call for call in program.calls if call.finish and any(x.role == "input" for x in call.written())]
    assert len(updates) == wanted
