"""Expressions that nearly match a rule: where the equation does not hold, the value stays as it was."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import undertow as ut
from undertow.graph import CONSTANT, INPUT, evaluate
from undertow.simplify import simplify
from undertow.trace import trace_function

RNG = np.random.default_rng(8)
A, B, C = RNG.normal(size=(3, 3)), RNG.normal(size=(3, 3)), RNG.normal(size=(3, 3))
ROW, COLUMN, ZEROS = RNG.normal(size=3), RNG.normal(size=(3, 1)), np.zeros((3, 3))
LABELS = np.array([2, 0, 2])


def lse(z: Any, axis: int = 1) -> Any:
    return np.log(np.sum(np.exp(z), axis=axis, keepdims=True))


def soft(z: Any, axis: int = 1) -> Any:
    return np.exp(z) / np.sum(np.exp(z), axis=axis, keepdims=True)


# All arguments are square or of sizes that broadcast the wrong way round without an error.
TRAPS: dict[str, tuple[Any, ...]] = {
    "shift that is not constant along the sum": (lambda z, c: c + lse(z - c), A, B),
    "shift along the other axis": (lambda z, c: c + lse(z - c), A, ROW),
    "shift of another size": (lambda z, c: c[:, 0] + np.log(np.sum(np.exp(z - c), axis=1)), A, COLUMN),
    "shift without keepdims": (lambda z, c: c + np.log(np.sum(np.exp(z - c), axis=1)), A, ROW),
    "shift that grows the array": (lambda z, c: c + lse(z - c), A[:1], COLUMN),
    "shift of another value, without an axis of its own": (
        lambda z, y: np.max(y, axis=0) + np.log(np.sum(np.exp(z - np.max(y, axis=0, keepdims=True)), axis=2)),
        RNG.normal(size=(3, 3, 2)), RNG.normal(size=(2, 3, 1)),
    ),
    "first entry of a shift of fewer axes": (
        lambda z, c: c[:, 0] + np.log(np.sum(np.exp(z - c), axis=1)), RNG.normal(size=(3, 2, 3)), ROW[None],
    ),
    "scalar shift without keepdims": (lambda z, c: c + np.log(np.sum(np.exp(z - c))), A, 2.0),
    "another shift comes back": (lambda z, c: 2 * c + lse(z - c), A, COLUMN),
    "a shift the other way": (lambda z, c: c + lse(c - z), A, COLUMN),
    "softmax of a shift per entry": (lambda z, c: soft(z - c), A, B),
    "softmax of a shift along the other axis": (lambda z, c: soft(z - c), A, ROW),
    "softmax of a shift that grows the array": (lambda z, c: soft(z - c), A[:1], COLUMN),
    "softmax with another sum": (lambda z, c: np.exp(z) / np.sum(np.exp(c), axis=1, keepdims=True), A, B),
    "softmax along the wrong axis": (lambda z: np.exp(z) / np.sum(np.exp(z), axis=1), A),
    "softmax over two axes": (lambda z: np.exp(z) / np.sum(np.exp(z)), A),
    "softmax with an inverse": (lambda z: np.sum(np.exp(z), axis=1, keepdims=True) / np.exp(z), A),
    "transposed softmax along the wrong axis": (lambda z: np.exp(z).T / np.sum(np.exp(z), axis=0), A),
    "log-softmax along the wrong axis": (lambda z: z - np.log(np.sum(np.exp(z), axis=1)), A),
    "log-softmax of another value": (lambda z, c: z - lse(c), A, B),
    "log-softmax over two axes": (lambda z: z - np.log(np.sum(np.exp(z))), A),
    "sum of a softmax over the other axis": (lambda z: np.sum(ut.softmax(z, axis=0), axis=1) * z, A),
    "sum of one-hot rows over the batch": (lambda z: np.sum(ut.one_hot(LABELS, 3), axis=0) * z, A),
    "two plus exp": (lambda z: 1 / (2 + np.exp(-z)), A),
    "one minus exp": (lambda z: 1 / (1 - np.exp(-z)), A),
    "two over one plus exp": (lambda z: 2 / (1 + np.exp(-z)), A),
    "exp of another over one plus exp": (lambda z, c: np.exp(c) / (1 + np.exp(z)), A, B),
    "log of two plus exp": (lambda z: np.log(2 + np.exp(z)), A),
    "log1p of a sigmoid": (lambda z: np.log1p(ut.sigmoid(z)), A),
    "reciprocal squared": (lambda z: (1 + np.exp(-z)) ** -2, A),
    "two minus a sigmoid": (lambda z: 2 - ut.sigmoid(z), A),
    "a sigmoid minus one": (lambda z: ut.sigmoid(z) - 1, A),
    "a half of another tanh": (lambda z: 0.5 * (2 + np.tanh(z)), A),
    "a quarter of one plus tanh": (lambda z: 0.25 * (1 + np.tanh(z)), A),
    "softplus parts of two values": (lambda z, c: np.maximum(z, 0) + np.log1p(np.exp(-np.abs(c))), A, B),
    "softplus parts with a minimum": (lambda z: np.minimum(z, 0) + np.log1p(np.exp(-np.abs(z))), A),
    "softplus parts, one subtracted": (lambda z: np.maximum(z, 0) - np.log1p(np.exp(-np.abs(z))), A),
    "softplus parts with another corner": (lambda z: np.maximum(z, 1) + np.log1p(np.exp(-np.abs(z))), A),
    "logaddexp with one": (lambda z: np.logaddexp(1, z), A),
    "x over x": (lambda x: x / x, ZEROS),
    "x minus x": (lambda x: x - x, np.full((3, 3), np.inf)),
    "x times y over y": (lambda x, y: x * y / y, A, ZEROS),
    "x over y times y": (lambda x, y: x / y * y, A, ZEROS),
    "zero times x": (lambda x: x * 0, np.full((3, 3), np.nan)),
    "log of an exp, the other way": (lambda x: np.exp(np.log(x)), A),
    "root of a square": (lambda x: np.sqrt(x**2), A),
    "square of a root": (lambda x: np.sqrt(x) ** 2, A),
    "equal branches by value only": (lambda x: np.where(x > 0, x * 1.5, x + 1), A),
    "axis kept in the wrong place": (lambda x: np.sum(x, axis=0)[:, None] * x, A),
    "axis kept by reshaping": (lambda x: np.sum(x, axis=0).reshape(3, 1) * x, A),
    "double transpose that is none": (
        lambda x: np.transpose(np.transpose(x, (1, 2, 0)), (1, 2, 0)),
        RNG.random((2, 3, 4)),
    ),
    "transposed product of stacks": (lambda x: np.swapaxes(x @ x, 0, 1), RNG.random((3, 3, 3))),
    "transposed vector product": (lambda x, y: (x @ y).T, A, ROW),
    "squeeze of another axis": (lambda x: np.squeeze(np.expand_dims(x, 0), 1), RNG.random((1, 3))),
    "inserted axis with a slice": (lambda x: x[None, 1:], A),
    "inserted axis with a step": (lambda x: x[:, None, ::-1], A),
    "broadcast that matters": (lambda x, y: np.sum(np.broadcast_to(x, (2, 3)) + y), ROW, 1.0),
    "broadcast that matters in a product": (lambda x, y: np.sum(np.broadcast_to(x, (2, 3)) * y), ROW, ROW),
    "power one half": (lambda x: np.abs(x) ** 0.5, A),
    "zero minus x": (lambda x: 0 - x, A),
    "two over minus one": (lambda x: 2 / (x - 1), A),
    "factor that varies along the sum": (lambda c, x: np.sum(c * x, axis=0), A, B),
    "factor that grows the sum": (lambda c, x: np.sum(c * x, axis=0), COLUMN, A[:1]),
    "divisor that grows the sum": (lambda c, x: np.sum(x / c, axis=0, keepdims=True), COLUMN, A[:1]),
    "row factor without keepdims": (lambda c, x: np.sum(c * x, axis=1), ROW, A),
    "number over a sum": (lambda c, x: np.sum(c / x, axis=0), 2.0, A),
    "same rows twice": (lambda x: x[np.array([0, 0, 1]), LABELS], A),
}  # fmt: skip


@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
@pytest.mark.parametrize("name", TRAPS)
def test_where_the_equation_does_not_hold_the_value_stays(name: str, backward: bool) -> None:
    """As the user's code and as code that differentiation made, the simplified graph has NumPy's value."""
    f, *args = TRAPS[name]
    graph = trace_function(f, args).graph
    for node in graph.nodes:
        node.backward = backward and node.op not in (INPUT, CONSTANT)
    with np.errstate(all="ignore"):
        found = evaluate(simplify(graph).graph, args)[0]
        wanted = f(*args)
    assert np.shape(found) == np.shape(wanted)
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-14)


def is_smooth(args: tuple[Any, ...]) -> bool:
    return all(np.all(np.isfinite(x)) and np.any(x) for x in args)


@pytest.mark.parametrize("name", [name for name, (_, *args) in TRAPS.items() if is_smooth(tuple(args))])
def test_the_gradients_of_traps_equal_differences(name: str) -> None:
    """Through differentiation and both simplifications: the gradient by every array agrees with differences."""
    f, *args = TRAPS[name]
    with np.errstate(all="ignore"):
        weights = np.cos(np.arange(np.size(f(*args)))).reshape(np.shape(f(*args)))

    def loss(*args: Any) -> Any:
        out = f(*args)
        return np.sum(np.where(np.isfinite(out), out, 0) * weights) if "root" in name else np.sum(out * weights)

    if "root" in name or "the other way" in name:
        args = [np.abs(x) for x in args]
    bp = ut.backprop(loss, *args, wrt=tuple(range(len(args))))
    for place, found in enumerate(bp()[1]):
        wanted = np.zeros(np.shape(args[place]))
        for entry in np.ndindex(wanted.shape):
            ends = []
            for h in (1e-6, -1e-6):
                moved = [np.array(x, float) for x in args]
                moved[place][entry] += h
                ends.append(float(np.sum(f(*moved) * weights)))
            wanted[entry] = (ends[0] - ends[1]) / 2e-6
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("cube", [lambda z: z**3, lambda z: z * z * z], ids=["power", "product"])
def test_the_slope_of_a_gelu_keeps_its_digits_where_tanh_is_flat(cube):
    """Multiplied out, z (1 − t²) (c + g) would add terms of hundreds before they cancel."""
    k, a = 0.7978845608028654, 0.044715

    def gelu(z):
        return 0.5 * z * (1 + np.tanh(k * (z + a * cube(z))))

    for dtype in (np.float64, np.float32):
        x = np.concatenate([np.linspace(-20, 20, 401), np.random.default_rng(0).normal(size=99) * 4]).astype(dtype)
        wide = x.astype(np.longdouble)
        t = np.tanh(k * (wide + a * wide**3))
        exact = (1 + t) / 2 + wide / 2 * (1 - t * t) * k * (1 + 3 * a * wide**2)
        eager = ut.grad(lambda z: np.sum(gelu(z)))(x)
        limit = max(2 * float(np.max(np.abs(eager - exact))), 4 * float(np.finfo(dtype).eps))
        for slope in (
            ut.backprop(lambda z: np.sum(gelu(z)), x)()[1],
            ut.value_and_grad(lambda z: np.sum(gelu(z)), compile=True)(x)[1],
        ):
            assert np.max(np.abs(slope - exact)) <= limit


def test_a_factor_of_several_terms_is_written_once():
    """With divisions among the terms, too: 1 / x is no multiple of 1 by 1 − x."""
    x, y, w = np.random.default_rng(1).uniform(0.5, 2, (3, 50))

    def f(x, y, w):
        return np.sum((x * y + w) * (1 - x * w) / y + np.tanh(x) * (w + y) / x)

    wanted = ut.value_and_grad(f, wrt=(0, 1, 2))(x, y, w)[1]
    bp = ut.backprop(f, x, y, w, wrt=(0, 1, 2))
    for found in (bp(x, y, w)[1], ut.value_and_grad(f, wrt=(0, 1, 2), compile=True)(x, y, w)[1]):
        for mine, theirs in zip(found, wanted, strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-12, atol=1e-13)


def test_a_coefficient_of_half_precision_is_one_number() -> None:
    """Written as 819 c / 4096, twice the nearest to 0.1 overflows where c is 91."""
    c = np.array([1, 20, 91, -91], np.float16)
    found = ut.grad(lambda c: np.sum(c * c) * np.float16(0.1), compile=True)(c)
    np.testing.assert_allclose(found, 0.2 * c.astype(np.float64), rtol=2e-3)
