"""Each way to write to an array, and each way to see its memory under another name, one at a time."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import undertow as ut
from undertow.primitives import FUNCTIONS, Traced


def weigh(x: Any, seed: int) -> Any:
    """A number in which each element has a weight of its own."""
    weights = np.cos(np.arange(math.prod(x.shape)) * (1.0 + seed) + 1.0).reshape(x.shape)
    return np.sum(weights * x)


X = np.array([[0.5, -1.0, 2.0], [1.5, 0.25, -0.75]])


def check(f: Any, *args: Any) -> None:
    """The value is NumPy's, the gradient by every argument that of NumPy's result, and no argument is changed."""
    kept = [arg.copy() for arg in args]
    places = tuple(range(len(args)))
    value, grads = ut.value_and_grad(f, wrt=places)(*args)
    np.testing.assert_allclose(value, f(*[arg.copy() for arg in args]), rtol=1e-12)
    assert ut.check_gradient(f, *args, wrt=places)
    assert all(np.array_equal(a, b) for a, b in zip(args, kept, strict=True))
    try:
        bp = ut.backprop(f, *args, wrt=places)
    except (ut.ControlFlowError, ut.UnsupportedError):  # it depends on values
        return
    _, cache = bp.forward(*args)
    for found, wanted in zip(bp.backward(cache), grads, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-12)


def weighted(x: Any) -> Any:
    return weigh(x, 1)


def program(write: Any) -> Any:
    """A function that squares its argument, lets a program write to that, and weighs what came of it."""

    def f(x: Any) -> Any:
        y = x * x
        out = write(y)
        return weighted(y) + (0.0 if out is None else 2.0 * weighted(out))

    return f


def swap_rows(y: Any) -> None:
    y[0], y[1] = y[1], y[0]  # both rows end up alike: the right side holds views


def swap_elements(y: Any) -> None:
    y[0, 0], y[0, 1] = y[0, 1], y[0, 0]


def swap_by_list(y: Any) -> None:
    y[[0, 1]] = y[[1, 0]]


def rows(y: Any) -> None:
    for i, row in enumerate(y):
        row += i + 1.0
        row[1] *= 3.0


def elements(y: Any) -> None:
    for element in y[0]:
        element += 1.0  # a number: only its name changes


def view(y: Any) -> Any:
    z = y.view()
    z[0] *= 3.0
    y[:, 1] += z[:, 0]
    return z


def alias(y: Any) -> Any:
    z = y
    z += 1.0
    return z


def full_view(y: Any) -> Any:
    z = y[:]
    z *= 2.0
    y += 1.0
    return z


def number_alias(y: Any) -> Any:
    total = np.sum(y)
    before = total
    total += 1.0
    total *= 3.0
    return before * total


def filled_in_a_loop(y: Any) -> Any:
    out = np.zeros_like(y)
    for i in range(2):
        for j in range(3):
            out[i, j] = y[i, j] ** 2 if i else y[i, j]
    return out


def other_shape(y: Any) -> Any:
    out = np.zeros_like(y, shape=(4,))
    for i in range(4):
        out[i] = y[i % 2, i % 3]
    return out


def recurrence(y: Any) -> Any:
    y[:, 1] += y[:, 0] * 0.5
    y[:, 2] += y[:, 1] * y[:, 0]
    return y.T[1:]


def helper(y: Any) -> None:
    def normalise(part: Any) -> None:
        part -= np.mean(part)
        part /= np.sqrt(np.sum(part * part) + 1.0)

    normalise(y[0])
    normalise(y[:, 1])


def zero_dimensional(y: Any) -> Any:
    corner = y[0, 0, ...]
    corner += 5.0
    return y[0]


def diagonal_by_steps(y: Any) -> None:
    y.reshape(-1)[::4] = 0.0


def repeated_places(y: Any) -> None:
    y[0, [0, 0, 1]] = y[1] * np.array([1.0, 2.0, 3.0])


def repeated_additions(y: Any) -> None:
    np.add.at(y, (np.array([0, 1, 0]), np.array([2, 0, 2])), np.array([1.0, 2.0, 3.0]) * y[1])


def overlap(y: Any) -> None:
    y[:, 1:] = y[:, :-1]
    y[0, 1:] += y[0, :-1]


def masked(y: Any) -> None:
    y[y > 1.0] *= 0.5
    y[y < 0.3] = 0.3


def masked_rows(y: Any) -> None:
    y[np.array([False, True])] += y[0]


def broadcast_column(y: Any) -> None:
    y[...] = y[:, :1] * 2.0
    y[:, 0] = y[0, 1]


def leading_axes(y: Any) -> None:
    y[0] = np.ones((1, 1, 3)) * y[1]


def lists(y: Any) -> None:
    y[0] = [y[1, 0], 2.0, y[1, 2]]


def methods(y: Any) -> None:
    y[0].fill(2.0)
    y.put([4, 5], [y[1, 0], 1.0])


def matrix(y: Any) -> None:
    square = y[:, :2]
    square @= np.array([[1.0, 2.0], [0.5, -1.0]])


@pytest.mark.parametrize(
    "write",
    [
        swap_rows, swap_elements, swap_by_list, rows, elements, view, alias, full_view, number_alias, filled_in_a_loop,
        other_shape, recurrence, helper, zero_dimensional, diagonal_by_steps, repeated_places, repeated_additions,
        overlap, masked, masked_rows, broadcast_column, leading_axes, lists, methods, matrix,
    ],
)  # fmt: skip
def test_each_way_to_write(write: Any) -> None:
    """What NumPy does, numerically confirmed."""
    check(program(write), X)


def test_the_callers_arrays_stay_as_they_are() -> None:
    """A function may write to its arguments; whoever differentiates it keeps them."""

    def f(params: Any, y: Any) -> Any:
        params["W"] *= 2.0
        params["b"][0] = 3.0
        y[...] = 0.0
        return weighted(params["W"]) * np.sum(params["b"]) + np.sum(y)

    params, y = {"W": X.copy(), "b": np.ones(2)}, np.ones(2)
    grads, dy = ut.grad(f, wrt=(0, 1))(params, y)
    bp = ut.backprop(f, params, y, wrt=(0, 1))
    bp()
    bp.forward(params, y)
    assert np.array_equal(params["W"], X)
    assert np.array_equal(params["b"], np.ones(2))
    assert np.array_equal(y, np.ones(2))
    assert grads["b"][0] == 0.0
    assert not dy.any()


def test_a_written_value_takes_the_dtype_of_the_array() -> None:
    """As in NumPy: float64 into float32, a float into integers loses its fraction and its derivative."""

    def into_float32(x: Any, v: Any) -> Any:
        x[0] = v * v
        assert x.dtype == np.float32
        return np.sum(x)

    gx, gv = ut.grad(into_float32, wrt=(0, 1))(np.ones(2, np.float32), np.float64(3.0))
    assert gx.dtype == np.float32
    assert gx.tolist() == [0.0, 1.0]
    assert gv == 6.0

    def into_integers(x: Any) -> Any:
        whole = np.zeros_like(x, dtype=int)
        whole[0] = x[0] * 1.9
        return whole[0] * x[0]

    assert ut.value_and_grad(into_integers)(np.array([2.0])) == (6.0, np.array([3.0]))
    with pytest.raises(ut.DTypeError, match=r"float64 cannot be written into int64 in place\. Write x = x \+ v"):

        def add_to_integers(x: Any) -> Any:
            whole = np.zeros_like(x, dtype=int)
            whole += x
            return np.sum(whole)

        ut.grad(add_to_integers)(np.ones(2))


def test_writes_of_traced_places_and_masks_where_only_shapes_are_traced() -> None:
    """A traced integer index works; a traced mask does where its count does not matter."""
    labels, w = np.array([2, 0, 2, 1]), np.array([0.5, -1.0, 2.0])

    def f(w: Any, labels: Any) -> Any:
        counts = np.zeros_like(w)
        np.add.at(counts, labels, w[labels] ** 2)
        w = w * 1.0
        w[w < 0] = 0.25
        w[labels[0]] = w[labels[1]] * 3.0
        last = np.zeros_like(w)
        last[labels] = w[0] * np.arange(1.0, 5.0)  # a place that repeats keeps the last value
        return np.sum(counts * counts) + weighted(w) + weighted(last)

    wanted = ut.value_and_grad(f)(w, labels)
    found = ut.backprop(f, w, labels)()
    np.testing.assert_allclose(found[1], wanted[1], rtol=1e-12)
    assert ut.check_gradient(lambda w: f(w, labels), w)
    assert math.isclose(found[0], wanted[0])

    def row_of(w: Any, k: Any) -> Any:
        table = w * 1.0
        row = table[k]  # a view, also where k is not known
        row *= 5.0
        return weighted(table)

    k = np.int64(1)
    assert ut.backprop(row_of, X, k)()[0] == row_of(X.copy(), k) == ut.value_and_grad(row_of)(X, k)[0]


def test_what_numpy_makes_read_only_cannot_be_written_to() -> None:
    """NumPy refuses to write to a broadcast array; so do we."""

    def f(x: Any) -> Any:
        wide = np.broadcast_to(x, (2, 3))
        wide += 1.0
        return np.sum(wide)

    with pytest.raises(ut.InPlaceError, match="broadcast_to returns is a read-only view"):
        ut.grad(f)(np.ones(3))


@pytest.mark.parametrize(
    ("subscripts", "shape"),
    [
        ("ii->i", (3, 3)),
        ("iji->ij", (2, 3, 2)),
        ("iji->ji", (2, 3, 2)),
        ("...ii->...i", (2, 3, 3)),
        ("iii->i", (2, 2, 2)),
        ("iijj->ji", (2, 2, 3, 3)),
    ],
)
def test_the_diagonal_that_einsum_shows_can_be_written_to(subscripts: str, shape: tuple[int, ...]) -> None:
    """NumPy's documentation sets a diagonal so; the derivative is that of NumPy's own result, by the complex step."""
    rng = np.random.default_rng(0)
    x, weights, direction = rng.normal(size=(3, *shape))

    def f(x: Any) -> Any:
        y = x * x
        np.einsum(subscripts, y)[...] *= 3.0
        shown = np.einsum(subscripts, y)
        shown += np.einsum(subscripts, x)[..., ::-1] * y[0].sum()
        y *= 1.5
        return np.sum(y * weights) + np.sum(shown**2)

    np.testing.assert_allclose(ut.compile(f, fallback="numpy")(x), f(x), rtol=1e-12)
    for found in (ut.value_and_grad(f)(x), ut.backprop(f, x)(x)):
        np.testing.assert_allclose(found[0], f(x), rtol=1e-12)
        slope = np.imag(f(x + 1e-30j * direction)) / 1e-30
        np.testing.assert_allclose(np.vdot(found[1], direction), slope, rtol=1e-9)


def test_where_a_copy_and_a_view_cannot_be_told_apart_it_is_an_error() -> None:
    """Without values nobody knows how a transposed result lies in memory."""

    def f(x: Any) -> Any:
        flat = (x.T * 2.0).ravel()
        flat += 1.0
        return np.sum(flat)

    with pytest.raises(ut.InPlaceError, match=r"test_writes.py:\d+: whether NumPy makes a view or a copy"):
        ut.backprop(f, X)
    assert ut.value_and_grad(f)(X)[0] == f(X)


def test_functions_that_return_views_are_known_to() -> None:
    """What shares memory with the argument in NumPy is a view of the tracer, and nothing else is."""
    wrong = []

    def probe(function: Any, args: tuple[Any, ...], params: dict[str, Any], name: str) -> None:
        plain = np.array(args[0])
        result = function(plain, *args[1:], **params)
        if not isinstance(result, np.ndarray) or not result.size or isinstance(result, np.generic):
            return
        shares = np.shares_memory(result, plain)

        def f(x: Any) -> Any:
            out = function(x, *args[1:], **params)
            if isinstance(out, Traced):
                mine = out._view is not None and x._memory is not None and out._view.memory is x._memory
                if (out is x or mine) != shares:
                    wrong.append((name, shares))
            return np.sum(x)

        ut.grad(f)(plain)

    for answer in FUNCTIONS.values():
        for sample in answer.samples():
            if sample.args and isinstance(sample.args[0], np.ndarray) and sample.args[0].dtype == np.float64:
                try:
                    probe(answer.function, sample.args, sample.params, answer.name)
                except ut.UndertowError:
                    continue
    assert not wrong, sorted(set(wrong))


def scattered(w: Any, x: Any) -> Any:
    y = x * w
    np.add.at(y, [0, 0, 1], 1.0)
    return np.sum(np.tanh(y))


def sliced(w: Any, x: Any) -> Any:
    y = x * w
    np.add.at(y, slice(None), 1.0)
    np.subtract.at(y, slice(1, None, 2), [[1.0, 2.0]])
    return np.sum(np.tanh(y))


@pytest.mark.parametrize("f", [scattered, sliced])
def test_plain_numbers_are_added_at_plain_places_where_the_number_of_rows_is_not_known(f: Any) -> None:
    w = np.array([0.5, -0.25])
    step = ut.value_and_grad(f, compile=True)
    for rows in (6, 4):
        x = np.random.default_rng(rows).normal(size=(rows, 2))
        value, gradient = step(w, x)
        np.testing.assert_allclose(value, f(w, x), rtol=1e-12)
        slopes = [np.imag(f(w + 1e-30j * e, x)) / 1e-30 for e in np.eye(2)]
        np.testing.assert_allclose(gradient, slopes, rtol=1e-10)
