"""The batch size is the symbol m, also where Python needs a number: one trace serves every batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import undertow as ut
from undertow.graph import Dim, evaluate
from undertow.trace import trace_function

RNG = np.random.default_rng(0)
W = RNG.normal(size=(3, 2))
m = Dim("m")


def shape_zero(W: Any, X: Any, y: Any) -> Any:
    return np.sum((X @ W)[:, 0] * y) / X.shape[0]


def length(W: Any, X: Any, y: Any) -> Any:
    return np.sum(X @ W) / len(X) + np.sum(y) / len(y)


def length_as_float(W: Any, X: Any, y: Any) -> Any:
    return np.sum(X @ W) * (1.0 / len(X)) * (0.5 / (len(y) - 1))


def size_of(W: Any, X: Any, y: Any) -> Any:
    return np.sum(X @ W) / X.size + np.sum(X @ W) / (X @ W).size


def reshaped(W: Any, X: Any, y: Any) -> Any:
    m = X.shape[0]
    return np.mean(np.reshape(X, (m, -1)) @ W) + np.sum(X.reshape(-1, 3) @ W) + np.sum(np.reshape(X @ W, (m * 2,)))


def reshaped_length(W: Any, X: Any, y: Any) -> Any:
    return np.mean(X.reshape(len(X), -1) @ W * y.reshape(-1, 1))


def zeros_and_ones(W: Any, X: Any, y: Any) -> Any:
    start = np.zeros((X.shape[0], 2))
    return np.mean((start + X @ W) * np.ones(len(y))[:, None])


def labels_by_index(W: Any, X: Any, y: Any) -> Any:
    z = X @ W
    labels = (np.arange(len(y)) > -1) * 1
    return -np.mean(z[np.arange(len(y)), labels])


def column(W: Any, X: Any, y: Any) -> Any:
    return np.mean((X @ W - y[:, None]) ** 2)


def variance(W: Any, X: Any, y: Any) -> Any:
    return np.sum(np.var(X @ W, axis=0)) + np.sum(np.mean(X @ W, axis=0) ** 2)


def each_with_each(W: Any, X: Any, y: Any) -> Any:
    z = (X @ W)[:, 0]
    return np.mean((z - y[:, None]) ** 2) + np.var(X @ X.T * z) + np.sum(z) / (X @ X.T).size


BATCHED = [shape_zero, length, length_as_float, size_of, reshaped, reshaped_length, zeros_and_ones, labels_by_index,
           column, variance, each_with_each]  # fmt: skip


@pytest.mark.parametrize("f", BATCHED, ids=[f.__name__ for f in BATCHED])
def test_the_batch_size_stays_a_symbol(f: Any) -> None:
    """Traced with 6 rows, the graph reads (m, …) and has NumPy's value and gradient for 6, 4, 2 and 11 rows."""
    X, y = RNG.normal(size=(6, 3)), RNG.normal(size=6)
    bp = ut.backprop(f, W, X, y)
    assert [node.spec.shape for node in bp.graph.inputs] == [(3, 2), (m, 3), (m,)]
    for rows in (6, 4, 2, 11):
        X, y = RNG.normal(size=(rows, 3)), RNG.normal(size=rows)
        value, gradient = bp(W, X, y)
        np.testing.assert_allclose(value, f(W, X, y), rtol=1e-12)
        np.testing.assert_allclose(gradient, differences(lambda W, X=X, y=y: f(W, X, y), W), rtol=1e-6, atol=1e-8)
        loss, cache = bp.forward(W, X, y)
        np.testing.assert_allclose(loss, f(W, X, y), rtol=1e-12)
        np.testing.assert_allclose(bp.backward(cache), gradient, rtol=1e-12, atol=1e-15)


def differences(f: Any, x: np.ndarray, h: float = 1e-6) -> np.ndarray:
    g = np.zeros_like(x)
    for place in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[place] = h
        g[place] = (f(x + step) - f(x - step)) / (2 * h)
    return g


@pytest.mark.parametrize("f", [column, length, shape_zero], ids=lambda f: f.__name__)
def test_a_last_batch_of_one_row(f: Any) -> None:
    """A single example left over is a batch too."""
    bp = ut.backprop(f, W, np.ones((6, 3)), np.ones(6))
    X, y = RNG.normal(size=(1, 3)), RNG.normal(size=1)
    value, gradient = bp(W, X, y)
    np.testing.assert_allclose(value, f(W, X, y), rtol=1e-12)
    np.testing.assert_allclose(gradient, differences(lambda W: f(W, X, y), W), rtol=1e-6, atol=1e-9)


def test_integer_labels_of_the_batch() -> None:
    """Labels are an integer argument whose length is the batch."""

    def f(W: Any, X: Any, labels: Any) -> Any:
        z = X @ W
        return -np.mean(z[np.arange(len(labels)), labels])

    bp = ut.backprop(f, W, np.ones((6, 3)), np.zeros(6, int))
    for rows in (2, 5, 9):
        X, labels = RNG.normal(size=(rows, 3)), RNG.integers(0, 2, rows)
        value, gradient = bp(W, X, labels)
        np.testing.assert_allclose(value, f(W, X, labels))
        np.testing.assert_allclose(gradient, -X.T @ np.eye(2)[labels] / rows, atol=1e-15)


def test_arguments_of_different_lengths_are_right_or_refused() -> None:
    """Where the leading sizes differ, another size than the one traced gives NumPy's value or an error."""
    f = lambda W, a, b: np.sum(W) * np.mean(a) * np.sum(b) / len(b)
    bp = ut.backprop(f, W, np.ones(3), np.ones(4))
    for sizes in ((3, 4), (5, 4), (3, 2), (4, 3), (7, 7)):
        a, b = (RNG.normal(size=n) for n in sizes)
        try:
            value, gradient = bp(W, a, b)
        except ut.ShapeError:
            assert sizes != (3, 4)
            continue
        np.testing.assert_allclose(value, f(W, a, b))
        np.testing.assert_allclose(gradient, np.full_like(W, np.mean(a) * np.mean(b)))


def test_a_function_made_for_one_batch_size_keeps_the_number() -> None:
    """Weights for each example tie the batch to its size: it stays a number, and another one is an error."""
    rows = RNG.normal(size=6)

    def f(W: Any, X: Any) -> Any:
        return np.sum(X @ W * rows[:, None])

    bp = ut.backprop(f, W, RNG.normal(size=(6, 3)))
    assert bp.graph.inputs[1].spec.shape == (6, 3)
    with pytest.raises(ut.ShapeError, match=r"X is \(5, 3\).*\(6, 3\)"):
        bp(W, np.ones((5, 3)))


def test_equal_sizes_by_chance_are_not_the_batch() -> None:
    """Six features and six rows: only the rows become m."""
    V = RNG.normal(size=(6, 2))

    def f(V: Any, X: Any) -> Any:
        return np.sum(X @ V) / len(X) + np.sum(np.ones(6) @ V)

    bp = ut.backprop(f, V, np.ones((6, 6)))
    assert bp.graph.inputs[1].spec.shape == (m, 6)
    X = RNG.normal(size=(4, 6))
    np.testing.assert_allclose(bp(V, X)[1], np.repeat(X.sum(0)[:, None] / 4 + 1, 2, axis=1))


def test_loops_over_the_batch_are_unrolled_or_refused_never_wrong() -> None:
    """A Python loop over the rows needs the number of rows: the trace holds for that number only."""

    def f(W: Any, X: Any) -> Any:
        total = 0.0
        for i in range(len(X)):
            total = total + np.sum(np.tanh(X[i] @ W))
        return total

    X = RNG.normal(size=(5, 3))
    bp = ut.backprop(f, W, X)
    np.testing.assert_allclose(bp(W, X)[1], ut.grad(f)(W, X), rtol=1e-12)
    with pytest.raises(ut.ShapeError):
        bp(W, X[:4])


def test_a_number_that_depends_otherwise_on_the_size_is_not_generalised() -> None:
    """1 / √m is no multiple of m or 1 / m: right for the size traced, and never silently wrong for another."""

    def f(W: Any, X: Any) -> Any:
        return np.sum(X @ W) / float(np.sqrt(len(X)))

    X = RNG.normal(size=(5, 3))
    bp = ut.backprop(f, W, X)
    np.testing.assert_allclose(bp(W, X)[0], f(W, X))
    try:
        value, _ = bp(W, X[:3])
    except ut.ShapeError:
        return
    np.testing.assert_allclose(value, f(W, X[:3]))


def test_choices_by_the_size_are_not_generalised() -> None:
    """``if len(X) > 4`` goes one way for the size traced; a smaller batch is refused, or it goes the other way."""

    def f(W: Any, X: Any) -> Any:
        return np.sum(X @ W) if len(X) > 4 else np.mean(X @ W)

    X = RNG.normal(size=(6, 3))
    bp = ut.backprop(f, W, X)
    try:
        value, _ = bp(W, X[:3])
    except ut.ShapeError:
        return
    np.testing.assert_allclose(value, f(W, X[:3]))


@pytest.mark.parametrize("f", BATCHED, ids=[f.__name__ for f in BATCHED])
def test_trace_function_alone_gives_the_symbolic_graph(f: Any) -> None:
    """The graph before differentiation has the batch size m too, and evaluates to the function's value."""
    X, y = RNG.normal(size=(6, 3)), RNG.normal(size=6)
    graph = trace_function(f, (W, X, y), batch=(1, 2)).graph
    assert graph.inputs[1].spec.shape == (m, 3)
    X, y = RNG.normal(size=(3, 3)), RNG.normal(size=3)
    np.testing.assert_allclose(evaluate(graph, [W, X, y])[0], f(W, X, y), rtol=1e-12)
