"""Arrays of positions in compiled programs: gathers, and scatters whose places repeat."""

import math

import numpy as np
import pytest

import undertow as ut
from compiled_graphs import graph_of, run_compiled
from undertow import nn, optim
from undertow.primitives import REGISTRY
from undertow.primitives.template import take_apart
from undertow.train.session import PlainSession
from undertow.train.step import make_step

# Shapes and indices whose arrays of positions stand anywhere, repeat, count from the end, broadcast, or are narrow.
INDICES = [
    ((6,), np.array([1, 1, -1, 0, 1])),
    ((6, 3), np.array([[1, 2], [1, -1], [-6, 1]])),
    ((6, 3), np.array([1, 1, 5], np.int32)),
    ((4, 6), (slice(None), np.array([[5, 0], [0, 0]]))),
    ((4, 6), (slice(None, None, -2), np.array([3, -3, 3]))),
    ((4, 6), (np.array([0, 3, 3]), np.array([-1, 2, 2]))),
    ((4, 6, 3), (np.array([[0], [3]]), slice(1, None), np.array([2, -1, 2]))),
    ((4, 6, 3), (slice(None), np.array([0, 5, 5]), np.array([2, 2, 2]))),
    ((4, 6, 3), (slice(1, 3), 2, np.array([0, 0, 1]))),
    ((4, 6, 3), (1, slice(None), np.array([0, 0, 1]))),
    ((4, 3), np.ix_([2, 0, 2], [1, 1])),
    ((4, 3), np.array([], np.int64)),
    ((4, 0), np.array([1, 1, 3])),
]


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("shape,index", INDICES, ids=str)
def test_gathers_and_scatters_are_numpys(shape, index, threads):
    x = np.random.default_rng(0).normal(size=shape)
    graph, values = index_graph("getitem", x, x, index)
    (found,) = run_compiled(graph, values, threads)
    np.testing.assert_array_equal(found, x[index])
    added = np.random.default_rng(1).normal(size=x[index].shape)
    graph, values = index_graph("index_add", added, x, index)
    (found,) = run_compiled(graph, values, threads)
    wanted = np.zeros(shape)
    np.add.at(wanted, index, added)
    np.testing.assert_allclose(found, wanted, rtol=1e-15, atol=1e-15)


def index_graph(name, given, x, index):
    """A graph of one gather or scatter; its positions are arguments."""
    template, picks = take_apart(x, index)
    params = {"index": template} if name == "getitem" else {"index": template, "shape": x.shape}
    return graph_of(REGISTRY[name], (given, *[np.asarray(p) for p in picks]), params)


def test_a_scatter_reads_a_view_where_it_lies():
    def f(W, x, codes):
        h = np.concatenate([x, W[codes], W[codes[::-1]]], axis=1)
        return np.sum(np.tanh(h) * np.arange(h.shape[1]))

    W, x = np.random.default_rng(0).normal(size=(5, 3)), np.ones((40, 2))
    codes = np.random.default_rng(1).integers(-5, 5, 40)
    _, found = ut.value_and_grad(f, compile=True)(W, x, codes)
    np.testing.assert_allclose(found, ut.grad(f)(W, x, codes), rtol=1e-13)
    views = lambda W, i: np.sum(W.T[i] ** 2) + np.sum(W[:, ::-1][i] ** 3) + np.sum(np.exp(W)[1:][i])
    W, i = np.random.default_rng(0).normal(size=(4, 4)), np.array([[0, -1], [0, 2]])
    _, found = ut.value_and_grad(views, compile=True)(W, i)
    np.testing.assert_allclose(found, ut.grad(views)(W, i), rtol=1e-13)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("threads", [1, 2])
def test_a_step_with_embedded_columns_compiles(dtype, threads):
    before = ut.get_threads()
    ut.set_threads(threads)
    try:
        layers = [nn.EmbedColumns(5, columns={1: (6, 3), 3: (4, 130)}), nn.Dense(136, 7), "tanh", nn.Dense(7, 2)]
        model = nn.initialize(nn.Sequential(*layers), 0, dtype)
        rng = np.random.default_rng(0)
        X, y = rng.integers(0, 4, (203, 5)).astype(dtype), rng.integers(0, 2, 203)
        step = make_step(lambda m, X, y: nn.categorical_cross_entropy_with_logits(m(X), y), optim.momentum(0.05))
        order, state = np.arange(203), step.init(model)
        losses = step.open(model, state, X, y, 100).run(order, 100)
        wanted = PlainSession(step, model, state, X, y).run(order, 100)
        np.testing.assert_allclose(losses, wanted, rtol=1e-5 if dtype == np.float32 else 1e-12)
        assert step.uncompiled is None
    finally:
        ut.set_threads(before)


def test_a_table_of_whole_numbers_compiles_as_well():
    model = nn.initialize(nn.Sequential(nn.EmbedColumns(3, columns={1: (6, 3)}), nn.Dense(5, 2)), 0, np.float32)
    X = np.random.default_rng(0).integers(0, 6, (50, 3))
    f = lambda model, X: np.sum(model(X) ** 2)
    value, found = ut.value_and_grad(f, compile=True)(model, X)
    wanted_value, wanted = ut.value_and_grad(f)(model, X)
    np.testing.assert_allclose(value, wanted_value, rtol=1e-6)
    np.testing.assert_allclose(found.layers[0].embeddings[0].W, wanted.layers[0].embeddings[0].W, rtol=1e-4, atol=1e-4)


def test_many_float32_numbers_in_one_place_are_added_up_as_float64():
    codes, values = np.zeros(100_000, np.int64), np.random.default_rng(0).uniform(size=(100_000, 2))
    values = values.astype(np.float32)
    graph, given = index_graph("index_add", values, np.zeros((3, 2)), codes)
    (found,) = run_compiled(graph, given)
    exact = np.array([math.fsum(column) for column in values.T])
    assert np.abs(found[0] - exact).max() <= np.spacing(np.float32(exact.max()))
    assert not found[1:].any()


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("count", [5, 10, 17, 40, 300])
@pytest.mark.parametrize("width", [(), (1,), (3,), (8,), (130,), (2, 5)])
def test_float32_sums_are_those_of_float64_rounded(count, width, threads):
    """Fewer values than rows or more; every second row gets some, among them values that cancel in the end."""
    rng = np.random.default_rng(count)
    places = 2 * rng.integers(-20, 20, count)
    places[[0, count // 2, -1]] = 4
    values = rng.normal(size=(count, *width)).astype(np.float32)
    values[0], values[-1] = 1e8, -1e8
    given = np.zeros((80, *width), np.float32)
    graph, arrays = index_graph("index_add", values, given, places)
    (found,) = run_compiled(graph, arrays, threads)
    wanted = np.zeros(given.shape)
    np.add.at(wanted, places, values.astype(np.float64))
    assert found.dtype == np.float32
    if 4 * count > 80:
        np.testing.assert_array_equal(found, wanted.astype(np.float32))
    else:  # of few values, in float32
        np.add.at(given, places, values)
        np.testing.assert_array_equal(found, given)


@pytest.mark.parametrize("shape", [(7, 17, 0), (7, 0, 5), (0, 3, 4), (3, 1, 0)])
def test_nothing_is_copied_of_what_has_no_elements(shape):
    """Picks along an inner axis copy their source; what was written beside it, the guards of memory would tell."""
    x = np.zeros(shape, np.float32)
    for axis, n in enumerate(shape):
        for picks in (np.zeros(0, int), np.arange(n), np.zeros((2, 0), int)):
            found = ut.compile(lambda x, axis=axis, picks=picks: np.take(x + 1, picks, axis=axis) * 2)(x)
            np.testing.assert_array_equal(found, np.take(x + 1, picks, axis=axis) * 2)
