"""Products with Jacobians and Hessians, and nested derivatives: against closed forms and differences."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest

import undertow as ut
from undertow import trees

RNG = np.random.default_rng(3)
A = RNG.normal(size=(4, 3))
x0 = RNG.normal(size=3)


def f(x: Any) -> Any:
    return np.tanh(A @ x) * np.sum(x**2)


def numeric_jacobian(f: Any, x: np.ndarray, h: float = 1e-6) -> np.ndarray:
    columns = []
    for place in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[place] = h
        columns.append((np.asarray(f(x + step)) - np.asarray(f(x - step))) / (2 * h))
    return np.stack(columns, axis=-1).reshape(*columns[0].shape, *x.shape)


def test_jacobian_equals_differences() -> None:
    """A function of a vector to a vector, to a matrix, and to one number."""
    np.testing.assert_allclose(ut.jacobian(f)(x0), numeric_jacobian(f, x0), rtol=1e-7, atol=1e-9)
    g = lambda x: np.outer(x, np.sin(x))
    np.testing.assert_allclose(ut.jacobian(g)(x0), numeric_jacobian(g, x0), rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(ut.jacobian(np.sum)(x0), np.ones(3))
    assert ut.jacobian(lambda x: np.zeros((0, 2)) + np.sum(x))(x0).shape == (0, 2, 3)


def curve(p: Any) -> Any:
    """Many numbers of few: as the residuals of a fit are."""
    t = np.linspace(0.0, 1.0, 30)
    return {"y": p["a"][0] * np.exp(-p["a"][1] * t) + p["b"], "end": p["a"] ** 2, "one": np.ones(3)}


def test_a_jacobian_of_more_rows_than_columns_is_that_of_differences() -> None:
    """It is put together by columns then; values, structure, shapes and dtypes are those of rows."""
    p = {"a": np.array([1.2, 0.7]), "b": 0.3, "name": "decay"}
    found = ut.jacobian(curve)(p)

    def flat(x: np.ndarray, key: str) -> Any:
        return curve({"a": x[:2], "b": x[2]})[key]

    x = np.array([1.2, 0.7, 0.3])
    for key in ("y", "end", "one"):
        expected = numeric_jacobian(lambda x, key=key: flat(x, key), x)
        np.testing.assert_allclose(found[key]["a"], expected[:, :2], rtol=1e-7, atol=1e-9)
        np.testing.assert_allclose(found[key]["b"], expected[:, 2], rtol=1e-7, atol=1e-9)
    assert found["y"]["name"] == "decay"
    single = ut.jacobian(lambda x: np.outer(np.ones(40, np.float32), x))(np.ones(2, np.float32))
    assert single.shape == (40, 2, 2) and single.dtype == np.float32
    both = ut.jacobian(lambda x, y: np.ones((9, 1)) * x * y, wrt=(0, 1))(np.array([2.0]), np.array([5.0]))
    np.testing.assert_allclose(np.squeeze(both), [9 * [5.0], 9 * [2.0]])


def test_a_jacobian_by_columns_is_differentiated_and_compiled() -> None:
    def f(x: Any) -> Any:
        return np.stack([np.sin(i * x[0]) * x[1] ** 2 for i in range(25)])

    def total(x: Any) -> Any:
        return np.sum(ut.jacobian(f)(x) ** 2)

    x = np.array([0.4, 1.3])
    assert ut.check_gradient(total, x)
    np.testing.assert_allclose(ut.compile(ut.jacobian(f))(x), numeric_jacobian(f, x), rtol=1e-6, atol=1e-7)


def test_a_jacobian_by_columns_does_not_pull_back_once_a_row() -> None:
    """A thousand residuals of two numbers take two pull-backs of the pull-back, whatever the number of rows."""
    calls = 0

    @ut.custom_vjp
    def twice(x: Any) -> Any:
        return 2 * x

    @twice.rule
    def twice_rule(ct: Any, out: Any, x: Any) -> Any:
        nonlocal calls
        calls += 1
        return 2 * ct

    t = np.arange(1000.0)
    np.testing.assert_allclose(ut.jacobian(lambda x: twice(x)[0] * t + x[1])(np.ones(2))[:, 0], 2 * t)
    assert calls < 5


def test_a_jacobian_of_clipped_cotangents_is_made_of_gradients() -> None:
    """Whatever the number of rows: each is the gradient of one number, clipped on its way."""

    def f(x: Any) -> Any:
        return ut.clip_cotangent(x, -0.5, 0.5) * np.arange(40.0)

    rows = [ut.grad(lambda x, i=i: f(x)[i])(2.0) for i in range(40)]
    np.testing.assert_array_equal(ut.jacobian(f)(2.0), rows)
    np.testing.assert_array_equal(rows[:3], [0.0, 0.5, 0.5])


def test_a_rule_that_takes_numbers_alone_gives_its_rows() -> None:
    """One that calls what cannot be traced, such as a library in C, is differentiated once, as rows need it."""
    t = np.arange(40.0)

    @ut.custom_vjp
    def curve_of(x: Any) -> Any:
        return t * x

    @curve_of.rule
    def curve_rule(ct: Any, out: Any, x: Any) -> Any:
        return float(np.dot(np.asarray(ct, dtype=float), t))

    np.testing.assert_allclose(ut.jacobian(curve_of)(1.5), t)


def test_jacobian_of_the_jacobian() -> None:
    """Composed, it gives the array of second derivatives."""
    found = ut.jacobian(ut.jacobian(f))(x0)
    assert found.shape == (4, 3, 3)
    np.testing.assert_allclose(found, numeric_jacobian(ut.jacobian(f), x0), rtol=1e-6, atol=1e-8)


class Pair(NamedTuple):
    a: Any
    b: Any


def test_jacobian_of_trees() -> None:
    """The result's tree with the argument's tree at each leaf."""
    p = Pair(np.array([1.0, 2.0]), 3.0)
    found = ut.jacobian(lambda p, k: {"s": p.a * p.b, "n": np.sum(p.a) * k})(p, 10.0)
    np.testing.assert_allclose(found["s"].a, 3 * np.eye(2))
    np.testing.assert_allclose(found["s"].b, p.a)
    np.testing.assert_allclose(found["n"].a, [10, 10])
    assert found["n"].b == 0
    both = ut.jacobian(lambda x, y: x * y, wrt=(0, 1))(np.array([2.0]), np.array([5.0]))
    assert [g.tolist() for g in both] == [[[5.0]], [[2.0]]]


def test_hessian_equals_differences_and_is_symmetric() -> None:
    """The Hessian of a scalar function; of a tree, block by block."""
    loss = lambda x: np.sum(np.log1p(np.exp(A @ x))) + np.prod(x)
    H = ut.hessian(loss)(x0)
    np.testing.assert_allclose(H, H.T, rtol=1e-12)
    np.testing.assert_allclose(H, numeric_jacobian(ut.grad(loss), x0), rtol=1e-6, atol=1e-8)
    H = ut.hessian(lambda p: p["w"] ** 2 * p["b"])({"w": 3.0, "b": 5.0})
    assert (H["w"]["w"], H["w"]["b"], H["b"]["w"], H["b"]["b"]) == (10.0, 6.0, 6.0, 0.0)


def test_hvp_is_the_hessian_times_the_vector() -> None:
    """Without the Hessian, the same product; also for trees and other positions."""
    loss = lambda k, x: k * np.sum(np.tanh(A @ x) ** 2)
    v = RNG.normal(size=3)
    np.testing.assert_allclose(ut.hvp(loss, wrt=1)(2.0, x0, v), ut.hessian(loss, wrt=1)(2.0, x0) @ v, rtol=1e-12)
    found = ut.hvp(lambda p: np.sum(p["w"] ** 3) * p["b"])({"w": x0, "b": 2.0}, {"w": v, "b": 1.0})
    np.testing.assert_allclose(found["w"], 12 * x0 * v + 3 * x0**2, rtol=1e-12)
    np.testing.assert_allclose(found["b"], 3 * x0**2 @ v, rtol=1e-12)


def test_hvp_of_a_large_matrix_needs_no_hessian() -> None:
    """A million parameters: the Hessian would have 10¹² entries. In closed form: of Σ W³, 6 W v."""
    W, v = RNG.normal(size=(2, 1000, 1000))
    np.testing.assert_allclose(ut.hvp(lambda W: np.sum(W**3))(W, v), 6 * W * v, rtol=1e-12)


def test_vjp_and_jvp_are_rows_and_columns_of_the_jacobian() -> None:
    """cᵀJ by pulling back, J v by pushing forward, and both agree with the whole J."""
    J = numeric_jacobian(f, x0)
    value, pull = ut.vjp(f, x0)
    np.testing.assert_array_equal(value, f(x0))
    for ct in RNG.normal(size=(2, 4)):  # the same record pulls back more than once
        np.testing.assert_allclose(pull(ct)[0], ct @ J, rtol=1e-7)
    v = RNG.normal(size=3)
    value, tangent = ut.jvp(f, (x0,), (v,))
    np.testing.assert_array_equal(value, f(x0))
    np.testing.assert_allclose(tangent, J @ v, rtol=1e-7)


def test_vjp_of_trees() -> None:
    """A cotangent in the structure of the value, gradients in the structure of each argument."""
    value, pull = ut.vjp(lambda p, y: {"u": p[0] * y, "i": np.argmax(p[0]), "c": 1.0}, (x0, None), 2.0)
    assert value["i"] == np.argmax(x0) and value["c"] == 1.0
    by_p, by_y = pull({"u": np.ones(3), "i": 0, "c": 0.0})
    np.testing.assert_allclose(by_p[0], [2, 2, 2])
    assert by_p[1] is None
    np.testing.assert_allclose(by_y, x0.sum())


def test_jvp_can_be_differentiated() -> None:
    """d/ds of the derivative of sin(s z) by z at 1 is cos s − s sin s."""
    g = ut.grad(lambda s: ut.jvp(lambda z: np.sin(z * s), (1.0,), (1.0,))[1])
    np.testing.assert_allclose(g(0.7), np.cos(0.7) - 0.7 * np.sin(0.7), rtol=1e-12)


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        (lambda: ut.grad(lambda x: x * ut.grad(lambda y: x + y)(1.0))(1.0), 1.0),
        (lambda: ut.grad(lambda x: x * ut.grad(lambda y: x * y)(2.0))(3.0), 6.0),
        (lambda: ut.grad(lambda s: ut.grad(lambda z: np.sin(z) * s)(1.0))(2.0), np.cos(1.0)),
        (lambda: ut.grad(ut.grad(lambda s: ut.grad(lambda z: np.sin(z * s))(1.0) * s))(2.0), None),
        (lambda: ut.grad(lambda x: ut.grad(lambda y: x**2 * ut.grad(lambda z: x * y * z**2)(2.0))(3.0))(5.0), 300.0),
    ],
)
def test_derivatives_inside_derivatives_are_not_confused(found: Any, wanted: float | None) -> None:
    """The inner derivative sees the outer variable as a number, and the outer one differentiates the inner one."""
    if wanted is None:  # (s² cos s)'' = 2 cos s − 4 s sin s − s² cos s, less what is: s·s cos s
        wanted = 2 * np.cos(2) - 8 * np.sin(2) - 4 * np.cos(2)
    assert isinstance(found(), float)
    np.testing.assert_allclose(found(), wanted, rtol=1e-12)


def test_an_inner_gradient_under_backprop() -> None:
    """A loss that holds a gradient (a gradient penalty) is one program, and equals the engine's gradient."""

    def loss(W: Any, X: Any) -> Any:
        by_x = ut.grad(lambda X: np.sum(np.tanh(X @ W)))(X)
        return np.mean(np.sum(by_x**2, axis=1))

    W, X = RNG.normal(size=(3, 2)), RNG.normal(size=(5, 3))
    bp = ut.backprop(loss, W, X)
    np.testing.assert_allclose(bp()[1], ut.grad(loss)(W, X), rtol=1e-10)
    np.testing.assert_allclose(ut.grad(loss)(W, X), numeric_jacobian(lambda W: loss(W, X), W), rtol=1e-6)


def test_wrong_shapes_are_told() -> None:
    """Cotangents, tangents and vectors of another shape or structure: an error with both."""
    _, pull = ut.vjp(f, x0)
    with pytest.raises(ut.ShapeError, match=r"the value is \(4,\), the cotangent \(3,\)"):
        pull(np.ones(3))
    with pytest.raises(ut.ShapeError, match="the value holds 1 array, the cotangent 2"):
        pull((np.ones(4), 1.0))
    with pytest.raises(ut.ArgumentError, match="1 arguments and 2 tangents"):
        ut.jvp(f, (x0,), (x0, x0))
    with pytest.raises(ut.ShapeError, match=r"hvp: the argument is \(3,\), the vector \(2,\)"):
        ut.hvp(np.sum)(x0, np.ones(2))
    with pytest.raises(ut.ArgumentError, match="give the arguments of the function, then the vector"):
        ut.hvp(np.sum)(x0)
    with pytest.raises(ut.ArgumentError, match="position of one argument"):
        ut.hessian(np.sum, wrt=(0, 1))  # type: ignore[arg-type]


def test_float32_stays_float32() -> None:
    """Every one of them, in single precision."""
    x = x0.astype(np.float32)
    g = lambda x: np.tanh(x) * np.sum(x * x)
    found = [
        ut.jacobian(g)(x),
        ut.hessian(lambda x: np.sum(g(x)))(x),
        ut.hvp(lambda x: np.sum(g(x)))(x, x),
        ut.vjp(g, x)[1](x)[0],
        *ut.jvp(g, (x,), (x,)),
    ]
    assert {leaf.dtype for leaf in trees.flatten(found)[0]} == {np.dtype(np.float32)}


def test_jvp_wants_tuples() -> None:
    """An array in place of a tuple would be taken apart into arguments."""
    with pytest.raises(ut.ArgumentError, match=r"primals is ndarray, not a tuple.*\(primal,\)"):
        ut.jvp(np.sin, np.ones(1), (np.ones(1),))
    with pytest.raises(ut.ArgumentError, match="tangents is ndarray"):
        ut.jvp(np.sin, (np.ones(1),), np.ones(1))
