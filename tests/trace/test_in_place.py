"""Writing in place and views: what NumPy does, or an error; never a wrong gradient."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import undertow as ut

# ---- random little programs ------------------------------------------------------------------------

VIEWS = ("tail", "step", "reverse", "column", "new axis", "T", "flat", "ravel", "fold", "swap", "item", "dots", "same")
COPIES = ("copy", "double", "mask", "list", "square", "take row", "element", "sum")
WRITES = (
    "set", "set to other", "add", "scale", "subtract other", "square", "set item", "add to item", "scale masked",
    "matmul", "set masked", "add to list", "set list", "swap list", "swap items", "rows", "add to part", "set part",
    "shift", "flat",
)  # fmt: skip


def make(kind: str, x: Any, n: int) -> Any:
    """Make another array from one: a view or a copy."""
    i = n % max(len(x), 1) if np.ndim(x) else 0
    if kind in ("tail", "step", "reverse", "take row", "list", "mask", "item", "column", "dots") and not np.ndim(x):
        return x
    if kind in ("item", "column", "swap") and np.ndim(x) < 2:
        return x
    return {
        "tail": lambda: x[i % 2 :],
        "step": lambda: x[::2],
        "reverse": lambda: x[::-1],
        "column": lambda: x[:, n % x.shape[1]],
        "new axis": lambda: x[None] if np.ndim(x) < 3 else x,
        "T": lambda: x.T,
        "flat": lambda: x.reshape(-1),
        "ravel": lambda: x.ravel(),
        "fold": lambda: x.reshape(2, -1) if x.size % 2 == 0 else x,
        "swap": lambda: np.swapaxes(x, 0, 1),
        "item": lambda: x[i],
        "dots": lambda: x[i, ...],
        "same": lambda: x,
        "copy": lambda: x.copy(),
        "double": lambda: x * 2,
        "mask": lambda: x[np.arange(len(x)) % 2 == 0],
        "list": lambda: x[[i, 0, i]],
        "square": lambda: x * x,
        "take row": lambda: x[np.array([i])],
        "element": lambda: x[(i,) + (0,) * (np.ndim(x) - 1)] if np.ndim(x) else x,
        "sum": lambda: np.sum(x),
    }[kind]()


def write(kind: str, x: Any, y: Any, n: int) -> Any:
    """Write to x in place; y is another array. Returns what the name x stands for afterwards."""
    c, i = 0.5 + 0.1 * n, n % max(len(x), 1) if np.ndim(x) else 0
    rows = np.ndim(x) > 0 and len(x) > 0
    mask = np.arange(math.prod(x.shape)).reshape(x.shape) % 3 != 1
    fits = np.broadcast_shapes(np.shape(x), np.shape(y)) == np.shape(x) if _broadcast(x, y) else False
    if not np.ndim(x) and kind not in ("add", "scale", "square", "subtract other"):
        return x  # a number: += gives its name another one, and there is nothing to write to
    if kind == "set":
        x[...] = c
    elif kind == "set to other" and fits:
        x[...] = y
    elif kind == "add":
        x += c
    elif kind == "scale":
        x *= c
    elif kind == "subtract other" and fits:
        x -= y
    elif kind == "square":
        x **= 2
    elif kind == "set item" and rows:
        x[i] = c * np.sum(y)
    elif kind == "add to item" and rows:
        x[i] += c * x[0]
    elif kind == "scale masked":
        x[mask] *= c
    elif kind == "set masked":
        x[mask] = np.sum(y) * c
    elif kind == "add to list" and rows:
        x[[i, 0, i]] += c
    elif kind == "set list" and np.ndim(x) == 1 and rows:
        x[[i, 0, i]] = c * np.sum(y) * np.array([1.0, 2.0, 3.0])
    elif kind == "swap list" and rows and len(x) > 1:
        x[[0, 1]] = x[[1, 0]]
    elif kind == "swap items" and rows and len(x) > 1:
        x[0], x[1] = x[1], x[0]
    elif kind == "rows" and np.ndim(x) > 1:
        for row in x:
            row *= c
    elif kind == "add to part" and rows:
        x[1:] += x[:-1] if len(x) > 1 else c
    elif kind == "set part" and rows:
        x[: i + 1] = c
    elif kind == "shift" and rows:
        x[1:] = x[:-1]
    elif kind == "matmul" and np.ndim(x) == 2:
        x @= np.eye(x.shape[1]) + 0.1
    elif kind == "flat" and rows:
        x.reshape(-1)[n % x.size] = c
    return x


def _broadcast(x: Any, y: Any) -> bool:
    try:
        np.broadcast_shapes(np.shape(x), np.shape(y))
    except ValueError:
        return False
    return True


def weigh(x: Any, seed: int) -> Any:
    """A number in which each element has a weight of its own."""
    weights = np.cos(np.arange(math.prod(x.shape)) * (1.0 + seed) + 1.0).reshape(x.shape)
    return np.sum(weights * x)


Step = tuple[str, str, int, int, int]
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("make"), st.sampled_from(VIEWS), st.integers(0, 9), st.integers(0, 9), st.integers(0, 4)),
        st.tuples(st.just("make"), st.sampled_from(COPIES), st.integers(0, 9), st.integers(0, 9), st.integers(0, 4)),
        st.tuples(st.just("write"), st.sampled_from(WRITES), st.integers(0, 9), st.integers(0, 9), st.integers(0, 4)),
        st.tuples(st.just("write"), st.sampled_from(WRITES), st.integers(0, 9), st.integers(0, 9), st.integers(0, 4)),
        st.tuples(st.just("read"), st.just(""), st.integers(0, 9), st.integers(0, 9), st.integers(0, 4)),
    ),
    min_size=2,
    max_size=9,
)
SHAPES = st.sampled_from([(4,), (3,), (2, 3), (3, 3), (2, 2, 2), (1, 4), (2, 1, 3)])


def run(steps: list[Step], a: Any, b: Any) -> Any:
    """Run a program on two arrays; the result is one number that depends on all that it made."""
    arrays = [a, b]
    total: Any = 0.0
    for action, kind, first, second, n in steps:
        i, j = first % len(arrays), second % len(arrays)
        if action == "make":
            arrays.append(make(kind, arrays[i], n))
        elif action == "write":
            arrays[i] = write(kind, arrays[i], arrays[j], n)
        else:
            total = total + weigh(arrays[i], n)
    for seed, x in enumerate(arrays):
        total = total + weigh(x, seed)
    return total


def inputs(shape: tuple[int, ...], other: tuple[int, ...]) -> tuple[Any, Any]:
    random = np.random.default_rng([*shape, *other])
    return random.uniform(-1, 1, shape), random.uniform(-1, 1, other)


def complex_step(steps: list[Step], a: Any, b: Any, da: Any, db: Any) -> float:
    """The derivative of NumPy's own result along a direction, exact but for rounding."""
    h = 1e-30
    with np.errstate(all="ignore"):
        return float(np.imag(run(steps, a + 1j * h * da, b + 1j * h * db)) / h)


def same(value: float, wanted: float) -> bool:
    return math.isclose(value, wanted, rel_tol=1e-8, abs_tol=1e-8) or not math.isfinite(wanted)


@settings(max_examples=400, deadline=None)
@given(STEPS, SHAPES, SHAPES)
def test_writes_and_views_do_what_numpy_does(steps: list[Step], shape: Any, other: Any) -> None:
    """The value is NumPy's and the gradient is that of NumPy's result, or it is an InPlaceError."""
    a, b = inputs(shape, other)
    kept = a.copy(), b.copy()
    try:
        value, (ga, gb) = ut.value_and_grad(lambda a, b: run(steps, a, b), wrt=(0, 1))(a, b)
    except ut.InPlaceError:
        return
    finally:
        assert np.array_equal(a, kept[0]) and np.array_equal(b, kept[1])  # the caller's arrays are as they were
    assert same(value, run(steps, a.copy(), b.copy()))
    da, db = np.cos(np.arange(a.size) + 0.5).reshape(shape), np.sin(np.arange(b.size) + 0.5).reshape(other)
    assert same(float(np.sum(ga * da) + np.sum(gb * db)), complex_step(steps, a, b, da, db))


@settings(max_examples=150, deadline=None)
@given(STEPS, SHAPES, SHAPES)
def test_they_do_so_where_only_shapes_are_traced(steps: list[Step], shape: Any, other: Any) -> None:
    """The same without values: the backward pass, by the engine and as source, is that of NumPy's result."""
    a, b = inputs(shape, other)
    try:
        bp = ut.backprop(lambda a, b: run(steps, a, b), a, b, wrt=(0, 1))
    except ut.InPlaceError:
        return
    value, (ga, gb) = bp()
    assert same(value, run(steps, a.copy(), b.copy()))
    da, db = np.cos(np.arange(a.size) + 0.5).reshape(shape), np.sin(np.arange(b.size) + 0.5).reshape(other)
    slope = complex_step(steps, a, b, da, db)
    assert same(float(np.sum(ga * da) + np.sum(gb * db)), slope)
    written, cache = bp.forward(a, b)
    ga, gb = bp.backward(cache)
    assert same(written, value)
    assert same(float(np.sum(ga * da) + np.sum(gb * db)), slope)
