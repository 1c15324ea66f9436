"""No rule is wrong anywhere: random expressions mean the same before and after, and their gradients too."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import undertow as ut
from undertow.graph import evaluate
from undertow.simplify import simplify
from undertow.trace import trace_function

UNARY: dict[str, Any] = {
    "negative": lambda x: -x,
    "exp": lambda x: np.exp(0.3 * x),
    "log1p exp": lambda x: np.log(1 + np.exp(x)),
    "tanh": np.tanh,
    "half tanh": lambda x: 0.5 * (1 + np.tanh(x)),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "complement": lambda x: 1 - ut.sigmoid(x),
    "log sigmoid": lambda x: np.log(ut.sigmoid(x)),
    "softmax rows": lambda x: np.exp(x) / np.sum(np.exp(x), axis=1, keepdims=True),
    "softmax columns": lambda x: np.exp(x) / np.sum(np.exp(x), axis=0),
    "log softmax": lambda x: np.log(np.exp(x) / np.sum(np.exp(x), axis=1, keepdims=True)),
    "shifted": lambda x: x - np.max(x, axis=1, keepdims=True),
    "centred": lambda x: x - np.mean(x, axis=0),
    "logsumexp": lambda x: np.log(np.sum(np.exp(x), axis=1, keepdims=True)) + 0 * x,
    "transpose": lambda x: x.T,
    "row sums": lambda x: np.broadcast_to(np.sum(x, axis=1)[:, None], (3, 3)),
    "column sums": lambda x: np.broadcast_to(np.sum(x, axis=0), (3, 3)),
    "reshape": lambda x: x.reshape(9).reshape(3, 3),
    "add axis": lambda x: np.squeeze(x[:, None], 1),
    "times one": lambda x: 1.0 * x,
    "plus zero": lambda x: x + 0.0,
    "minus two": lambda x: x * -2,
    "square": lambda x: x**2,
    "reciprocal": lambda x: 1 / (1 + x**2),
    "number first": lambda x: 3 - x,
    "relu": lambda x: np.maximum(x, 0),
    "absolute": np.abs,
    "where": lambda x: np.where(x > 0.1, x, 0.5 * x),
    "reversed": lambda x: x[::-1],
    "picked": lambda x: x[np.array([0, 2, 2])],
    "divide": lambda x: x / 4,
    "mean": lambda x: x - np.mean(x),
}
BINARY: dict[str, Any] = {
    "add": lambda x, y: x + y,
    "subtract": lambda x, y: x - y,
    "multiply": lambda x, y: x * y,
    "divide": lambda x, y: x / (2 + np.tanh(y)),
    "matmul": lambda x, y: x @ y / 3,
    "maximum": np.maximum,
    "shift by": lambda x, y: y + np.log(np.sum(np.exp(x - y), axis=1, keepdims=True)),
    "softmax of a difference": lambda x, y: ut.softmax(x - y, axis=1),
    "common factor": lambda x, y: x * y + x,
    "difference of products": lambda x, y: x * (1 - y) - (1 - x) * y,
    "times a reciprocal": lambda x, y: x * (1 / (3 + y**2)),
    "row of y": lambda x, y: x * y[0],
    "column of y": lambda x, y: x + y[:, :1],
    "number of y": lambda x, y: x * np.sum(y),
}
# One step takes what was made before: which operation, and which one or two earlier values.
STEPS = st.lists(
    st.tuples(st.sampled_from([*UNARY, *BINARY]), st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=8
)


def build(steps: Any, squash: bool = True) -> Any:
    """Make the function of two 3 × 3 arrays that a list of steps describes."""

    def f(x: Any, y: Any) -> Any:
        made = [x, y]
        for name, i, j in steps:
            a, b = made[i % len(made)], made[j % len(made)]
            new = UNARY[name](a) if name in UNARY else BINARY[name](a, b)
            made.append(4 * np.tanh(new / 4) if squash else new)  # keeps numbers of a size that can be compared
        return made[-1]

    return f


def values(seed: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(3, 3)), rng.normal(size=(3, 3))


@given(STEPS, st.integers(0, 100), st.booleans())
def test_random_expressions_mean_the_same(steps: Any, seed: int, backward: bool) -> None:
    """The simplified graph has NumPy's value, whether the user wrote the expression or differentiation did."""
    f, args = build(steps), values(seed)
    graph = trace_function(f, args).graph
    for node in graph.nodes:
        node.backward = backward and bool(node.inputs) and node.spec.dtype.kind == "f"
    with np.errstate(all="ignore"):
        found = evaluate(simplify(graph).graph, args)[0]
        wanted = f(*args)
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-10)


@given(STEPS, st.integers(0, 100))
def test_random_gradients_equal_those_of_the_plain_graph_and_differences(steps: Any, seed: int) -> None:
    """The simplified backward pass agrees with the chain rule as it stands, and along a direction with differences."""
    f, args = build(steps), values(seed)
    rng = np.random.default_rng(seed + 1)
    weights = rng.normal(size=(3, 3))
    loss = lambda x, y: np.sum(f(x, y) * weights)
    bp = ut.backprop(loss, *args, wrt=(0, 1))
    gradients = bp()[1]
    for found, plain in zip(gradients, evaluate(bp.plain, args)[1:], strict=True):
        np.testing.assert_allclose(found, plain, rtol=1e-8, atol=1e-9)
    loss_, cache = bp.forward(*args)
    np.testing.assert_allclose(loss_, loss(*args), rtol=1e-9, atol=1e-9)
    for found, written in zip(gradients, bp.backward(cache), strict=True):
        np.testing.assert_allclose(written, found, rtol=1e-10, atol=1e-12)
    if {name for name, *_ in steps} & {"relu", "absolute", "where", "maximum", "shifted"}:
        return  # a difference across a corner says nothing
    dx, dy = rng.normal(size=(3, 3)), rng.normal(size=(3, 3))
    slope = lambda h: (loss(args[0] + h * dx, args[1] + h * dy) - loss(args[0] - h * dx, args[1] - h * dy)) / (2 * h)
    extrapolated = (4 * slope(5e-4) - slope(1e-3)) / 3
    own = np.sum(gradients[0] * dx) + np.sum(gradients[1] * dy)
    np.testing.assert_allclose(own, extrapolated, rtol=1e-4, atol=1e-5)


@given(STEPS, st.integers(0, 100))
def test_random_float32_expressions_keep_their_dtype_and_precision(steps: Any, seed: int) -> None:
    """In float32 nothing is promoted, and before and after agree as far as float32 goes."""
    f = build(steps)
    args = tuple(x.astype(np.float32) for x in values(seed))
    graph = trace_function(f, args).graph
    with np.errstate(all="ignore"):
        found = evaluate(simplify(graph).graph, args)[0]
        wanted = f(*[x.astype(np.float64) for x in args])
        own = f(*args)
    assert found.dtype == np.float32
    limit = 1e-4 + 20 * np.max(np.abs(own - wanted))
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=limit)


@given(STEPS, st.sampled_from([0.0, 30.0, 1000.0, -1000.0]), st.integers(0, 20))
def test_random_expressions_of_large_numbers_stay_finite_where_they_were(steps: Any, scale: float, seed: int) -> None:
    """With logits up to ±1000: where NumPy's value is finite, so is the simplified one, and it is the same number."""
    f = build(steps)
    args = tuple(scale * x for x in values(seed))
    graph = trace_function(f, args).graph
    with np.errstate(all="ignore"):
        found = evaluate(simplify(graph).graph, args)[0]
        wanted = f(*args)
        wide = f(*[x.astype(np.longdouble) for x in args])
    finite = np.isfinite(wanted)
    assert np.all(np.isfinite(found[finite]))
    own = np.where(finite, np.abs(wanted - wide), np.inf).astype(float)
    off = np.abs(found - wide).astype(float)
    # A number that NumPy itself gets wrong (a cancelled sum of thousands) may come out better, not worse.
    assert np.all(off[finite] <= 1e-6 + 100 * own[finite]) or not np.all(np.isfinite(wide[finite]))
