"""The reverse pass: fan-out summed, broadcasting undone, any order, and nothing computed that nobody asked for."""

from __future__ import annotations

import inspect
from typing import Any, NamedTuple

import numpy as np
import pytest

import undertow as ut
from undertow import differentiate, trees
from undertow import primitives as P
from undertow.trace import trace_function

RNG = np.random.default_rng(0)
X = RNG.normal(size=(4, 3))


def differences(f: Any, x: Any, h: float = 1e-6) -> Any:
    x = np.asarray(x, float)
    g = np.zeros_like(x)
    for place in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[place] = h
        g[place] = (f(x + step) - f(x - step)) / (2 * h)
    return g


# ---- fan-out and broadcasting --------------------------------------------------------------------


def test_every_use_of_a_value_contributes() -> None:
    """d/dx (x³ written as x · x · x, plus 2x, plus sin x) sums what arrives on five ways."""
    f = lambda x: np.sum(x * x * x + x + x + np.sin(x))
    np.testing.assert_allclose(ut.grad(f)(X), 3 * X**2 + 2 + np.cos(X), rtol=1e-12)


def test_one_array_given_as_two_arguments_is_two_arguments() -> None:
    """f(x, x) differentiated by each place gives each partial derivative, not their sum."""
    f = lambda a, b: np.sum(a * b**2)
    da, db = ut.grad(f, wrt=(0, 1))(X, X)
    np.testing.assert_allclose(da, X**2)
    np.testing.assert_allclose(db, 2 * X * X)
    pair = ut.grad(lambda p: f(*p))((X, X))
    np.testing.assert_allclose(pair[0], X**2)
    np.testing.assert_allclose(pair[1], 2 * X * X)


SHAPES = [(), (1,), (3,), (1, 1), (1, 3), (4, 1), (4, 3), (2, 1, 3), (2, 4, 1), (1, 4, 3), (0, 4, 3), (1, 1, 1)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(
    "op", [np.add, np.subtract, np.multiply, np.divide, np.maximum, np.power], ids=lambda f: f.__name__
)
def test_broadcasting_is_undone(shape: tuple[int, ...], op: Any) -> None:
    """Whatever was repeated to meet (4, 3), its gradient has its own shape and sums the copies, on both sides."""
    x = 0.5 + RNG.random(shape)
    y = 0.5 + RNG.random((4, 3))
    weights = RNG.normal(size=np.broadcast_shapes(shape, (4, 3)))
    for swap in (False, True):
        f = (lambda x, y: np.sum(weights * op(y, x))) if swap else (lambda x, y: np.sum(weights * op(x, y)))
        dx, dy = ut.grad(f, wrt=(0, 1))(x, y)
        assert dx.shape == x.shape
        assert dy.shape == y.shape
        np.testing.assert_allclose(dx, differences(lambda x, f=f: f(x, y), x), rtol=1e-6, atol=1e-8)
        np.testing.assert_allclose(dy, differences(lambda y, f=f: f(x, y), y), rtol=1e-6, atol=1e-8)


# ---- higher orders -------------------------------------------------------------------------------

CLOSED: dict[str, tuple[Any, Any, Any, Any]] = {
    "power": (lambda x: x**5, lambda x: 5 * x**4, lambda x: 20 * x**3, lambda x: 60 * x**2),
    "sin": (np.sin, np.cos, lambda x: -np.sin(x), lambda x: -np.cos(x)),
    "exp": (
        lambda x: np.exp(2 * x),
        lambda x: 2 * np.exp(2 * x),
        lambda x: 4 * np.exp(2 * x),
        lambda x: 8 * np.exp(2 * x),
    ),
    "log": (np.log, lambda x: 1 / x, lambda x: -1 / x**2, lambda x: 2 / x**3),
    "sqrt": (np.sqrt, lambda x: 0.5 * x**-0.5, lambda x: -0.25 * x**-1.5, lambda x: 0.375 * x**-2.5),
    "tanh": (
        np.tanh,
        lambda x: 1 - np.tanh(x) ** 2,
        lambda x: -2 * np.tanh(x) * (1 - np.tanh(x) ** 2),
        lambda x: (1 - np.tanh(x) ** 2) * (6 * np.tanh(x) ** 2 - 2),
    ),
    "reciprocal": (lambda x: 1 / x, lambda x: -1 / x**2, lambda x: 2 / x**3, lambda x: -6 / x**4),
    "relu squared": (lambda x: np.maximum(x, 0) ** 2, lambda x: 2 * x, lambda x: 2.0, lambda x: 0.0),
}  # fmt: skip


@pytest.mark.parametrize("name", CLOSED)
@pytest.mark.parametrize("x", [0.3, 1.0, 2.7])
def test_three_orders_equal_closed_forms(name: str, x: float) -> None:
    """grad, grad of grad, grad of grad of grad of a scalar function; each a Python float."""
    f, *wanted = CLOSED[name]
    for formula in wanted:
        f = ut.grad(f)
        found = f(x)
        assert type(found) is float
        np.testing.assert_allclose(found, formula(x), rtol=1e-10, atol=1e-12)


def test_orders_of_arrays() -> None:
    """For Σ x⁴: the gradient of the sum of the gradient is 12 x², and of that 24 x."""
    first = ut.grad(lambda x: np.sum(x**4))
    second = ut.grad(lambda x: np.sum(first(x)))
    third = ut.grad(lambda x: np.sum(second(x)))
    np.testing.assert_allclose(first(X), 4 * X**3, rtol=1e-12)
    np.testing.assert_allclose(second(X), 12 * X**2, rtol=1e-12)
    np.testing.assert_allclose(third(X), 24 * X, rtol=1e-12)


def test_mixed_orders_and_closures() -> None:
    """∂/∂y ∂/∂x of x²y³, the inner function closing over the outer's variable."""
    f = lambda x, y: x**2 * y**3
    assert ut.grad(ut.grad(f), wrt=1)(2.0, 3.0) == 2 * 2 * 3 * 9
    inner = lambda y: ut.grad(lambda x: x * y)(2.0) * y
    assert ut.grad(inner)(5.0) == 10.0
    assert ut.grad(lambda x: x * ut.grad(lambda y: x + y)(1.0))(3.0) == 1.0  # no perturbation is confused


def test_grad_of_a_gradient_penalty() -> None:
    """A loss that holds a gradient, of a network: differences agree."""
    W = RNG.normal(size=(3, 3))

    def penalty(W: Any) -> Any:
        g = ut.grad(lambda x: np.sum(np.tanh(x @ W) ** 2))(X)
        return np.sum(g**2)

    np.testing.assert_allclose(ut.grad(penalty)(W), differences(penalty, W), rtol=1e-6)


# ---- wrt and results -----------------------------------------------------------------------------


def polynomial(a: Any, b: Any, c: Any = 3.0, *, k: Any = 1.0) -> Any:
    return k * a**2 * b + c * a


def test_wrt_takes_positions_from_either_end_and_tuples() -> None:
    """An int gives one gradient, a tuple a tuple in its order; negative positions count from the end."""
    args = (2.0, 5.0, 7.0)
    assert ut.grad(polynomial)(*args) == 2 * 2 * 5 + 7
    assert ut.grad(polynomial, wrt=1)(*args) == 4
    assert ut.grad(polynomial, wrt=-1)(*args) == 2
    assert ut.grad(polynomial, wrt=(1,))(*args) == (4.0,)
    assert ut.grad(polynomial, wrt=(2, 0))(*args) == (2.0, 27.0)
    assert ut.grad(polynomial, wrt=(0, -1))(*args) == (27.0, 2.0)
    assert ut.backprop(polynomial, *args, wrt=(2, 0))()[1] == (2.0, 27.0)


@pytest.mark.parametrize("wrt", [3, -4, (0, 3), "a", 1.0, None], ids=repr)
def test_wrt_out_of_range_is_an_error_that_names_the_arguments(wrt: Any) -> None:
    """The message shows wrt and what the function's arguments are called."""
    for run in (
        lambda: ut.grad(polynomial, wrt=wrt)(1.0, 2.0, 3.0),
        lambda: ut.backprop(polynomial, 1.0, 2.0, 3.0, wrt=wrt),
    ):
        with pytest.raises(ut.ArgumentError, match=r"wrt=.*polynomial.*3 arguments.*a, b, c"):
            run()


def test_the_same_argument_twice_gives_the_gradient_twice() -> None:
    """wrt=(0, 0) and wrt=(0, -1) of one argument: both entries are the whole gradient, or a clear refusal."""
    f = lambda x: np.sum(x**2)
    try:
        first, second = ut.grad(f, wrt=(0, -1))(X)
    except ut.ArgumentError:
        return
    np.testing.assert_allclose(first, 2 * X)
    np.testing.assert_allclose(second, 2 * X)


def test_value_and_grad_gives_both() -> None:
    """The value is what the function returns, the gradient what grad gives."""
    f = lambda x: np.sum(np.exp(x))
    value, gradient = ut.value_and_grad(f)(X)
    assert value == f(X)
    np.testing.assert_allclose(gradient, np.exp(X))
    value, (da, db) = ut.value_and_grad(polynomial, wrt=(0, 1))(2.0, 5.0)
    assert (value, da, db) == (26.0, 23.0, 4.0)


def test_keyword_arguments_pass_through() -> None:
    """What is given by keyword is not differentiated, and reaches the function, arrays too."""
    assert ut.grad(polynomial)(2.0, 5.0, k=10.0) == 10 * 2 * 2 * 5 + 3
    assert ut.value_and_grad(polynomial)(2.0, b=5.0, c=1.0) == (22.0, 21.0)
    found = ut.grad(lambda x, *, w: np.sum(x * w))(X, w=2 * X)
    np.testing.assert_allclose(found, 2 * X)


def test_the_gradient_function_carries_a_name() -> None:
    """A traceback through it says what it is the gradient of."""
    assert ut.grad(polynomial).__name__ == "grad_polynomial"
    assert ut.value_and_grad(polynomial).__name__ == "value_and_grad_polynomial"


class Pair(NamedTuple):
    a: Any
    b: Any


@pytest.mark.parametrize(
    "x",
    [X, X.astype(np.float32), X[0], 2.0, np.float64(2), np.float32(2), np.array(2.0), X[:0], X.T, X[::2, ::-1]],
    ids=repr,
)  # fmt: skip
def test_a_gradient_has_its_arguments_kind_shape_and_dtype(x: Any) -> None:
    """Array for array, Python float for Python float, NumPy scalar for NumPy scalar; alone and within a tree."""
    for gradient in (ut.grad(lambda x: np.sum(x**2))(x), ut.grad(lambda p: np.sum(p.a**2))(Pair(x, None)).a):
        assert np.shape(gradient) == np.shape(x)
        assert isinstance(gradient, np.ndarray) == isinstance(x, np.ndarray)
        if isinstance(x, np.ndarray | np.generic):
            assert gradient.dtype == x.dtype
        else:
            assert type(gradient) is float
        np.testing.assert_allclose(gradient, 2 * np.asarray(x), rtol=1e-6)


ALIASING: dict[str, tuple[Any, Any]] = {
    "sum of two": (lambda p: np.sum(p[0] + p[1]), (X, X + 1)),
    "the same cotangent": (lambda p: np.sum((p[0] + p[1]) * X), (X, X)),
    "difference": (lambda p: np.sum(np.exp(p[0] - p[1])), (X, X)),
    "only a product with an argument": (lambda p: np.sum(p[0] * p[1]), (X.copy(), X + 1)),
    "a sum": (lambda p: np.sum(p[0]) + np.sum(p[1]), (X, X)),
    "a view": (lambda p: np.sum(p[0].T * X.T) + np.sum(p[1][0]), (X, X)),
    "reshaped": (lambda p: np.sum(p[0].reshape(12) * X.reshape(12)), (X,)),
    "broadcast": (lambda p: np.sum(np.broadcast_to(p[0], (2, 4, 3))), (X,)),
    "no path": (lambda p: np.sum(p[0]), (X, X)),
    "a scalar array": (lambda p: p[0] * p[1], (np.array(2.0), np.array(3.0))),
    "where": (lambda p: np.sum(np.where(X > 0, p[0], p[1])), (X, X + 1)),
    "concatenated": (lambda p: np.sum(np.concatenate([p[0], p[1]]) * np.ones((8, 3))), (X, X)),
    "matmul": (lambda p: np.sum(p[0] @ p[1]), (np.eye(3), np.eye(3))),
    "given twice": (lambda p: np.sum(p[0] * p[0]), (X,)),
    "identity": (lambda p: np.sum(p[0].copy() * X), (X,)),
}


@pytest.mark.parametrize("way", ["grad", "engine", "source"])
@pytest.mark.parametrize("name", ALIASING)
def test_gradients_are_arrays_of_their_own(name: str, way: str) -> None:
    """Written to in place (``g *= rate``), a gradient changes no other gradient, argument or constant."""
    f, params = ALIASING[name]
    before = [x.copy() for x in params]
    constant = X.copy()
    if way == "grad":
        gradients = ut.grad(f)(params)
    else:
        bp = ut.backprop(f, params)
        gradients = bp()[1] if way == "engine" else bp.backward(bp.forward(params)[1])
    for i, g in enumerate(gradients):
        assert isinstance(g, np.ndarray), "an array's gradient is an array"
        assert g.flags.writeable
        for other in (*gradients[:i], *params, X):
            assert not np.shares_memory(g, other)
        assert all(stride for stride, size in zip(g.strides, g.shape, strict=True) if size > 1)
        g += 1
    for x, kept in zip(params, before, strict=True):
        np.testing.assert_array_equal(x, kept)
    np.testing.assert_array_equal(X, constant)


# ---- work that nobody asked for ------------------------------------------------------------------


def count_rules(monkeypatch: pytest.MonkeyPatch, primitive: Any) -> list[int]:
    """Note which arguments' rules of a primitive are called from now on."""
    calls: list[int] = []

    def counted(position: int) -> Any:
        rule = primitive.vjps[position]

        def call(*args: Any, **params: Any) -> Any:
            calls.append(position)
            return rule(*args, **params)

        return call

    rules = tuple(counted(i) for i in range(len(primitive.vjps)))
    monkeypatch.setitem(primitive.__dict__, "vjps", rules)
    return calls


def test_cotangents_of_data_are_never_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    """In X @ W only the rule of W runs for the first layer: nobody asked for dX."""
    calls = count_rules(monkeypatch, P.matmul)

    def loss(params: Any, X: Any) -> Any:
        W1, W2 = params
        return np.sum(np.tanh(X @ W1) @ W2)

    params = (RNG.normal(size=(3, 2)), RNG.normal(size=(2, 1)))
    ut.grad(loss)(params, X)
    assert sorted(calls) == [0, 1, 1]
    calls.clear()
    ut.backprop(loss, params, X)
    assert 0 in calls
    assert sorted(calls) in ([0, 1, 1], [0, 0, 1, 1, 1, 1])  # backprop differentiates twice: plain and simplified
    calls.clear()
    ut.grad(lambda W, X: np.sum(X @ W))(params[0], X)
    assert calls == [1]


def test_branches_that_do_not_reach_the_loss_are_not_visited(monkeypatch: pytest.MonkeyPatch) -> None:
    """A value computed and thrown away costs nothing in the backward pass."""
    calls = count_rules(monkeypatch, P.exp)

    def loss(x: Any) -> Any:
        np.exp(x)
        return np.sum(x * 2)

    ut.grad(loss)(X)
    assert calls == []


def test_each_rule_runs_once_however_often_its_value_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """A value used three times gets its cotangents summed before the chain rule goes on."""
    calls = count_rules(monkeypatch, P.exp)

    def loss(x: Any) -> Any:
        e = np.exp(x)
        return np.sum(e * e + e)

    ut.grad(loss)(X)
    assert calls == [0]


def test_a_stopped_gradient_is_not_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind stop_gradient no rule runs."""
    calls = count_rules(monkeypatch, P.exp)
    np.testing.assert_array_equal(ut.grad(lambda x: np.sum(x * ut.stop_gradient(np.exp(x))))(X), np.exp(X))
    assert calls == []


def test_dead_cotangents_are_not_in_the_graph() -> None:
    """The graph of a first layer's gradient holds one product for dW and none for dX."""
    bp = ut.backprop(lambda W, X: np.sum(np.tanh(X @ W)), np.ones((3, 2)), X)
    assert [node.op.name for node in bp.graph.nodes].count("matmul") == 2


# ---- the rest ------------------------------------------------------------------------------------


def test_the_branch_not_taken_leaks_no_nan() -> None:
    """where(x > 0, √x or log x or x ** 0.5, 0): the gradient is finite where the other branch has none."""
    x = np.array([-1.0, 0.0, 4.0])
    with np.errstate(all="ignore"):
        for f, slope in (
            (lambda x: np.sqrt(x), 0.25),
            (lambda x: np.log(x), 0.25),
            (lambda x: x**0.5, 0.25),
            (lambda x: 1 / x, -1 / 16),
            (lambda x: np.sqrt(np.log(x)), 0.25 / 2 / np.sqrt(np.log(4))),
        ):
            loss = lambda x, f=f: np.sum(np.where(x > 1, f(x), 0.0))
            wanted = [0, 0, slope]
            np.testing.assert_allclose(ut.grad(loss)(x), wanted, rtol=1e-12)
            bp = ut.backprop(loss, x)
            np.testing.assert_allclose(bp()[1], wanted, rtol=1e-12)
            np.testing.assert_allclose(bp.backward(bp.forward(x)[1]), wanted, rtol=1e-12)


def test_the_reverse_pass_fits_one_screen() -> None:
    """The heart stays readable: at most 50 lines."""
    assert len(inspect.getsource(differentiate.backward).splitlines()) <= 50


def test_gradients_are_the_same_traced_and_computed() -> None:
    """Of values and of shapes alone, the same rules give the same numbers."""
    f = lambda x: np.sum(np.tanh(x @ x.T) * np.exp(-(x @ x.T)))
    assert trace_function(f, (X,)).graph.outputs[0].spec.shape == ()
    np.testing.assert_allclose(ut.backprop(f, X)()[1], ut.grad(f)(X), rtol=1e-12)
    assert trees.same_structure(ut.grad(f)(X), X)


def test_many_uses_add_up_without_touching_what_others_hold() -> None:
    """Sums of shares grow in place; the cotangent given, and cotangents that several values share, stay."""
    x, ct = np.array([1.0, 2.0]), np.array([1.0, 10.0])
    value, pull = ut.vjp(lambda x, y: x + y + x + x + y + x * x + x, x, x.copy())
    for _ in range(2):
        dx, dy = pull(ct)
        np.testing.assert_array_equal(dx, (4 + 2 * x) * ct)
        np.testing.assert_array_equal(dy, 2 * ct)
        np.testing.assert_array_equal(ct, [1.0, 10.0])
        dx += 1.0  # the caller's own
    np.testing.assert_array_equal(value, 6 * x + x * x)


def test_a_gradient_shares_no_memory_with_data() -> None:
    """Below a sum the gradient of a product is the other factor: the caller gets an array of its own."""
    x, w = np.array([1.0, 2.0]), np.array([3.0, 4.0])
    for f in (lambda x, w: np.sum(x * w), lambda x, w: x @ w, lambda x, w: np.vdot(x, w) + np.sum(np.exp(0 * x))):
        for gradient, other in zip(ut.grad(f, wrt=(0, 1))(x, w), (w, x), strict=True):
            np.testing.assert_array_equal(gradient, other)
            gradient[...] = 0.0
    value, pull = ut.vjp(np.exp, x)
    (gradient,) = pull(np.broadcast_to(1.0, 2))
    gradient[...] = 0.0
    np.testing.assert_array_equal((x, w, value, pull(np.ones(2))[0]), ([1, 2], [3, 4], np.exp(x), np.exp(x)))


@pytest.mark.parametrize("beside", [{1, 2}, slice(0, 2), frozenset([1]), range(2), "name", {"a": {3}}], ids=str)
def test_what_cannot_be_hashed_may_stand_among_parameters(beside: Any) -> None:
    """It is passed on as it is, as a name is, and comes back in the gradient: compiled, it always did."""

    def loss(p: Any) -> Any:
        assert p["beside"] == beside
        return np.sum(p["w"] ** 2)

    w, tangent = np.array([1.0, -2.0]), np.array([3.0, 0.5])
    for compiled in (False, True):
        gradient = ut.grad(loss, compile=compiled)({"w": w, "beside": beside})
        assert gradient["beside"] == beside and gradient["w"].tolist() == [2.0, -4.0]
    hessian = ut.hvp(loss)({"w": w, "beside": beside}, {"w": tangent, "beside": beside})
    assert hessian["w"].tolist() == [6.0, 1.0]
    assert ut.check_gradient(loss, {"w": w, "beside": beside})
