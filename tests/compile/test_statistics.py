"""Statistics of arrays, added up by kernels of every kind: they agree with NumPy's in float64."""

from __future__ import annotations

import numpy as np
import pytest

import undertow as ut
from undertow.compile.picking import Picker
from undertow.compile.resident import Resident
from undertow.compile.statistics import KINDS, Measure, join_told, measure_now, statistics
from undertow.graph import Graph
from undertow.trace import Tracer, trace_function
from undertow.trace.tracer import NotingTrace


def told_of(f, x, rows=None, flat=(-0.5, 0.25), shift=0, kinds=KINDS):
    """Measure what a function of an array returns, in a program that also keeps what it adds up to."""
    graph = trace_function(lambda w, x: (np.sum(f(x)[0]), w, *f(x)), (np.zeros(1), x), batch=[1] if rows else []).graph
    total, kept, *arrays = graph.outputs
    watched = [statistics(Tracer(a, NotingTrace()), kinds, flat, shift).node for a in arrays]
    resident = Resident(Graph(graph.inputs, (total, kept, *watched)), 1, 1, None, [str(i) for i in range(len(arrays))])
    resident.load([np.zeros(1)])
    resident.run([x], np.arange(len(x)), rows or len(x), 0, len(x) // (rows or len(x)))
    return resident.told


def check(f, x, rtol=1e-6, flat=(-0.5, 0.25)):
    told = told_of(f, x, flat=flat)
    wanted = measure_now({str(i): Measure(np.asarray(a), KINDS, flat) for i, a in enumerate(f(x))})
    assert told.names == wanted.names and np.array_equal(told.counts, wanted.counts)
    size = np.concatenate([[np.sum(np.abs(np.asarray(a, float)))] * len(KINDS) for a in f(x)])
    for name, a, b, n in zip(told.names, told.values[0], wanted.values[0], size, strict=True):
        scale = n if name.endswith(".s") else abs(b)
        assert abs(a - b) <= rtol * scale, (name, a, b)


@pytest.fixture(params=[1, 2])
def threads(request):
    ut.set_threads(request.param)
    yield request.param
    ut.set_threads(None)


FUNCTIONS = {
    "an input": lambda x: (x,),
    "a point": lambda x: (x * 2 + 1, np.maximum(x, 0)),
    "rows": lambda x: (x - np.mean(x, axis=1, keepdims=True), np.mean(x, axis=1)),
    "columns": lambda x: (np.sum(x, axis=0), x + np.sum(x, axis=0)),
    "softmax": lambda x: (np.exp(x) / np.sum(np.exp(x), axis=1, keepdims=True),),
    "a product": lambda x: (x @ x.T,),
    "a transposed array": lambda x: ((2 * x).T, x.T),
    "a part": lambda x: (x[1:, ::2], (2 * x)[:, :3]),
    "a broadcast array": lambda x: (np.broadcast_to(x[:, :1], x.shape) + 0 * x,),
}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_kernels_of_every_kind_measure_what_numpy_does(function):
    for shape in [(1, 1), (40, 7), (17, 33), (64, 128), (5, 3000)]:
        x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
        x[x > 1.5] = 0
        check(FUNCTIONS[function], x, 3e-6)
    check(FUNCTIONS[function], x.astype(np.float64), 1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_threads_share_the_work(dtype, threads):
    x = np.random.default_rng(0).normal(3, 1, size=(501, 203)).astype(dtype)
    for function in ("an input", "a point", "rows"):
        check(FUNCTIONS[function], x)


def test_a_long_sum_keeps_its_digits(threads):
    x = np.random.default_rng(0).uniform(0.9, 1.1, size=(1, 3_000_000)).astype(np.float32)
    check(lambda x: (x, 3 * x), x, 1e-6)
    check(lambda x: (x, 3 * x), x.reshape(-1, 3), 1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_largest_magnitude_is_not_finite_where_a_number_is_not(bad, dtype):
    x = np.ones((3, 35), dtype)
    x[0, 0] = x[1, 16] = x[2, 34] = bad
    told = told_of(lambda x: (x, 2 * x), x, rows=1)
    for i in range(3):
        plain = measure_now({"0": Measure(x[i], KINDS), "1": Measure(2 * x[i], KINDS)})
        for row in (told.values[i], plain.values[0]):
            values = dict(zip(told.names, row, strict=True))
            np.testing.assert_equal(values["0.max"], abs(bad))
            assert not np.isfinite(values["0.ss"]) and not np.isfinite(values["1.s"])
            assert values["0.zeros"] == 0


def test_one_number_that_is_not_finite_is_found_wherever_it_is():
    for bad in (np.nan, np.inf, -np.inf, np.float32(np.frombuffer(np.uint32(0x7F800001).tobytes(), np.float32)[0])):
        for place in range(70):
            x = np.full((1, 70), -2, np.float32)
            x[0, place] = bad
            assert not np.isfinite(told_of(lambda x: (x,), x, kinds=("ss", "s", "max")).values[0]).any()
    x = np.float32([[np.inf, *[1] * 14, -np.inf] * 2])
    assert told_of(lambda x: (x,), x, kinds=("ss", "s", "max")).values[0, 2] == np.inf


def test_squares_that_float32_cannot_hold():
    x = np.full((1, 40), 3e-25, np.float32)
    (squares,) = told_of(lambda x: (x,), x, shift=32, kinds=("ss",)).values[0]
    assert squares == pytest.approx(40 * 9e-50, rel=1e-5)
    (squares,) = told_of(lambda x: (x.astype(np.float64),), x, shift=32, kinds=("ss",)).values[0]
    assert squares == pytest.approx(40 * 9e-50, rel=1e-5)


def test_every_step_has_its_numbers():
    x = np.arange(12, dtype=np.float32)[:, None]
    told = told_of(lambda x: (x,), x, rows=3)
    assert told.values[:, told.names.index("0.s")].tolist() == [3, 12, 21, 30]
    assert told.counts.tolist() == [3] * len(KINDS)


def test_statistics_do_not_change_what_is_computed():
    """Neither products that are added up in place, nor sums that threads share."""
    rng = np.random.default_rng(0)
    a, b, x = (rng.normal(size=(60, 60)).astype(np.float32) for _ in range(3))

    def f(a, b, x):
        return a, b, x @ a, (x @ a) + (x @ b), np.sum(x @ a + x @ b)

    graph = trace_function(f, (a, b, x)).graph
    outputs, states, found = graph.outputs, graph.outputs[:2], []
    for watched in ([], [outputs[2]], [outputs[3]], list(outputs[2:4])):
        looks = [statistics(Tracer(node, NotingTrace())).node for node in watched]
        resident = Resident(Graph(graph.inputs, (outputs[4], *states, *looks)), 2, 1, None, ["x"] * len(looks))
        resident.load([a, b])
        (total,) = resident.run([x], np.arange(60), 60, 0, 1)
        found.append(total[0])
        for node, ss in zip(watched, resident.told.values[0][::3], strict=True):
            wanted = x @ a if node is outputs[2] else x @ a + x @ b
            assert ss == pytest.approx(np.sum(wanted.astype(float) ** 2), rel=1e-5)
    assert len(set(found)) == 1


def test_parts_of_one_size_are_joined():
    one, two = measure_now({"a": Measure(np.ones(3))}), measure_now({"a": Measure(np.ones(2))})
    assert [x.values.shape for x in join_told([one, one, two])] == [(2, 3), (1, 3)]


def test_numbers_are_picked_as_numpy_picks_them():
    rng = np.random.default_rng(0)
    values = rng.uniform(size=(7, 2, 30))[:, 1]  # rows that lie apart
    values[3, 5] = np.nan
    columns, factors, roots = rng.integers(0, 30, 21), rng.normal(size=21) ** 2, rng.uniform(size=21) < 0.5
    factors[4] = np.nan
    picked, sums = Picker(columns, factors, roots, [[0, 5, 7], [], [2]])(values)
    wanted = values[:, columns] * factors
    wanted[:, roots] = np.sqrt(wanted[:, roots])
    np.testing.assert_array_equal(picked, wanted.astype(np.float32))
    np.testing.assert_allclose(sums, np.stack([values[:, [0, 5, 7]].sum(1), np.zeros(7), values[:, 2]], 1), rtol=1e-15)


@pytest.mark.parametrize("large", [5e9, 1e19, 3e19, 1e20, 3e38])
def test_squares_that_are_too_large_are_infinite(large):
    """Whatever numbers are multiplied by before they are squared: no digit of theirs gets lost unseen."""
    for shape in ((1, 40), (24, 50)):
        x = np.full(shape, 3, np.float32)
        told = told_of(lambda x: (x, x - np.mean(x, axis=1, keepdims=True)), x, shift=32, kinds=("ss", "s", "max"))
        assert told.values[0, 0] == pytest.approx(9 * x.size, rel=1e-6)
        x[-1, 7] = -large
        squares, total, largest = told_of(lambda x: (x,), x, shift=32, kinds=("ss", "s", "max")).values[0]
        assert squares == np.inf and largest == np.float32(large)
        assert total == pytest.approx(-float(np.float32(large)) + 3 * (x.size - 1), rel=1e-6)


def test_squares_of_all_sizes_are_those_of_numpy():
    rng = np.random.default_rng(0)
    for shape in ((1, 47), (24, 50), (300, 64)):
        for size in (1e-28, 1e-20, 1e-9, 1.0, 4e4):
            x = (rng.normal(size=shape) * size).astype(np.float32)
            x[0, ::5] = 0
            x[-1, 1::5] = rng.normal(size=len(x[-1, 1::5])) * 1e-40  # beside these, denormal numbers do not count
            for kinds in (("ss", "s", "max"), ("ss", "max")):
                (told,) = told_of(lambda x: (x,), x, shift=32, kinds=kinds).values
                assert told[0] == pytest.approx(np.sum(x.astype(np.float64) ** 2), rel=3e-6)
                assert told[-1] == np.abs(x).max()


@pytest.mark.parametrize("width", [3, 16, 20, 64, 100, 200])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_is_measured_of_many_values_between_sums_over_rows(width, dtype):
    """As LayerNorm behind tanh: rows beside each other, statistics in whichever pass, sums folded together."""

    def f(x):
        h = np.tanh(x * 2)
        centred = h - np.mean(h, axis=1, keepdims=True)
        return x * 2, h, centred, centred / np.sqrt(np.mean(centred**2, axis=1, keepdims=True) + 1e-5)

    for rows in (1, 7, 64, 301):
        x = np.random.default_rng(rows).normal(0.3, 1, size=(rows, width)).astype(dtype)
        if width > 3:  # else a row may be centred to noise
            check(f, x, 1e-5 if dtype == np.float32 else 1e-12, (-0.9, 0.9))
            check(f, x, 1e-5 if dtype == np.float32 else 1e-12, (-0.9, 0.5))
