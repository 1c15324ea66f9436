"""Derivatives of one's own: rules, recomputation, solvers, watched values, clipped cotangents."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest

import undertow as ut

RNG = np.random.default_rng(5)


def make_log1pexp() -> Any:
    @ut.custom_vjp
    def log1pexp(x: Any) -> Any:
        return np.logaddexp(0, x)

    @log1pexp.rule
    def log1pexp_rule(ct: Any, out: Any, x: Any) -> Any:
        return ct * (1 - np.exp(-out))

    return log1pexp


def test_a_rule_of_ones_own_is_used_and_differentiated() -> None:
    """First and second derivative of log(1 + eˣ) by a rule written with its result: σ and σ(1 − σ)."""
    f = make_log1pexp()
    x = np.array([-2.0, 0.0, 3.0])
    p = 1 / (1 + np.exp(-x))
    assert f(0.0) == np.log(2)
    np.testing.assert_allclose(ut.grad(lambda x: np.sum(f(x)))(x), p, rtol=1e-12)
    np.testing.assert_allclose(ut.jacobian(ut.grad(lambda x: np.sum(f(x))))(x), np.diag(p * (1 - p)), rtol=1e-12)
    bp = ut.backprop(lambda x: np.sum(f(x)), x)
    np.testing.assert_allclose(bp()[1], p, rtol=1e-12)
    np.testing.assert_allclose(bp.backward(bp.forward(x)[1]), p, rtol=1e-12)


def test_the_rule_wins_over_the_functions_own_derivative() -> None:
    """A straight-through rounding: its derivative is 1, though that of round is 0."""
    rounded = ut.custom_vjp(lambda x: np.floor(x + 0.5) if isinstance(x, np.ndarray) else x)
    rounded.rule(lambda ct, out, x: ct)
    x = np.array([0.2, 1.7])
    np.testing.assert_array_equal(ut.grad(lambda x: np.sum(rounded(x) ** 2))(x), 2 * np.array([0.0, 2.0]))


def test_trees_and_several_results() -> None:
    """Arguments and results may be trees; a None in the rule means no derivative."""
    f = ut.custom_vjp(lambda p, k: (p["a"] * p["b"], {"s": p["a"] + p["b"]}))

    @f.rule
    def rule(ct: Any, out: Any, p: Any, k: Any) -> Any:
        return {"a": ct[0] * p["b"] + ct[1]["s"], "b": ct[0] * p["a"] + ct[1]["s"]}, None

    def loss(p: Any, k: Any) -> Any:
        product, other = f(p, k)
        return np.sum(product**2 + np.sin(other["s"])) + k

    def plain(p: Any, k: Any) -> Any:
        return np.sum((p["a"] * p["b"]) ** 2 + np.sin(p["a"] + p["b"])) + k

    p = {"a": RNG.normal(size=3), "b": RNG.normal(size=3)}
    for found, wanted in (
        (ut.grad(loss)(p, 2.0), ut.grad(plain)(p, 2.0)),
        (ut.backprop(loss, p, 2.0)()[1], ut.grad(plain)(p, 2.0)),
        (ut.hvp(loss)(p, 2.0, p), ut.hvp(plain)(p, 2.0, p)),
    ):
        np.testing.assert_allclose(found["a"], wanted["a"], rtol=1e-12)
        np.testing.assert_allclose(found["b"], wanted["b"], rtol=1e-12)
    assert ut.grad(loss, wrt=1)(p, 2.0) == 1.0


def test_a_function_that_cannot_be_traced_can_have_a_rule() -> None:
    """With values known, the function gets plain arrays: a table look-up in pure Python serves."""
    table = {0: 5.0, 1: 7.0}
    f = ut.custom_vjp(lambda x: np.array([table[int(v)] for v in x]))
    f.rule(lambda ct, out, x: ct * 100)
    np.testing.assert_array_equal(ut.grad(lambda x: np.sum(f(x)))(np.array([0.0, 1.0])), [100, 100])


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (lambda ct, out, x, y: ct, "returned 1 cotangents for 2 arguments"),
        (lambda ct, out, x, y: (ct, np.ones(5)), r"returned \(5,\) for argument 1, which is \(2,\)"),
        (lambda ct, out, x, y: ((ct, ct), ct), "returned 2 arrays for argument 0, which holds 1"),
    ],
)
def test_a_wrong_rule_is_told(rule: Any, message: str) -> None:
    """What a rule returns is compared with the arguments."""
    f = ut.custom_vjp(lambda x, y: x * y)
    f.rule(rule)
    with pytest.raises((ut.ArgumentError, ut.ShapeError), match=message):
        ut.grad(lambda x, y: np.sum(f(x, y)), wrt=(0, 1))(np.ones(2), np.ones(2))


def test_a_missing_rule_is_told() -> None:
    """Without a rule the function computes, but is not differentiated by guess."""
    f = ut.custom_vjp(np.sin)
    assert f(0.0) == 0
    with pytest.raises(ut.ArgumentError, match=r"sin has no rule yet. Give one with @sin.rule"):
        ut.grad(f)(0.0)


def deep(piece: Any, pieces: int) -> Any:
    def loss(h: Any) -> Any:
        for _ in range(pieces):
            h = piece(h)
        return np.sum(h)

    return loss


def repeated(count: int) -> Any:
    def piece(h: Any) -> Any:
        for _ in range(count):
            h = np.tanh(1.01 * h)
        return h

    return piece


def test_checkpoint_changes_memory_and_nothing_else() -> None:
    """900 layers in 30 pieces of 30: the same bits, for less than a fifth of the memory."""
    h = RNG.normal(size=4000)
    peaks, grads = [], []
    for loss in (deep(repeated(30), 30), deep(ut.checkpoint(repeated(30)), 30)):
        ut.grad(loss)(h[:5])
        tracemalloc.start()
        grads.append(ut.grad(loss)(h))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    np.testing.assert_array_equal(*grads)
    assert peaks[1] < peaks[0] / 5, peaks


def test_checkpoint_of_trees_and_higher_orders() -> None:
    """d²/dw² sin(2 w) = −4 sin(2 w), through a piece with dictionaries; integers pass through."""
    piece = ut.checkpoint(lambda p, x, k: {"o": np.sin(p["w"] * x), "k": k})
    second = ut.grad(ut.grad(lambda w: piece({"w": w}, 2.0, 3)["o"]))
    np.testing.assert_allclose(second(0.3), -4 * np.sin(0.6), rtol=1e-12)
    bp = ut.backprop(lambda w, x: np.sum(piece({"w": w}, x, 3)["o"]), np.ones(3), np.ones(3))
    np.testing.assert_allclose(bp()[1], np.cos(np.ones(3)), rtol=1e-12)


def test_implicit_root_differentiates_what_is_solved() -> None:
    """x³ + a x = 1 by Newton's method: dx/da = −x / (3 x² + a), and once more."""

    @ut.implicit_root(lambda x, a: x**3 + a * x - 1)
    def root(a: Any) -> Any:
        x = np.ones_like(a)
        for _ in range(60):
            x = x - (x**3 + a * x - 1) / (3 * x**2 + a)
        return x

    a = np.array([1.0, 2.0])
    x = root(a)
    first = -x / (3 * x**2 + a)
    np.testing.assert_allclose(ut.grad(lambda a: np.sum(root(a)))(a), first, rtol=1e-10)
    h = 1e-6
    value = ut.grad(lambda a: np.sum(root(a) ** 2))(a)
    differences = (root(a + h) ** 2 - root(a - h) ** 2) / (2 * h)
    np.testing.assert_allclose(value, differences, rtol=1e-7)


def test_implicit_root_of_several_unknowns_and_arguments() -> None:
    """A linear system: the gradient equals that of its solution, b by b and entry by entry of A."""
    A, b = RNG.normal(size=(3, 3)) + 3 * np.eye(3), RNG.normal(size=3)
    solve = ut.implicit_root(lambda x, A, b: A @ x - b)(lambda A, b: np.linalg.solve(A, b))
    c = RNG.normal(size=3)
    by_A, by_b = ut.grad(lambda A, b: np.sum(c * solve(A, b)), wrt=(0, 1))(A, b)
    u = np.linalg.solve(A.T, c)
    np.testing.assert_allclose(by_b, u, rtol=1e-10)
    np.testing.assert_allclose(by_A, -np.outer(u, np.linalg.solve(A, b)), rtol=1e-10)
    with pytest.raises(ut.ShapeError, match="2 equations for 3 unknowns"):
        wrong = ut.implicit_root(lambda x, b: x[:2] - b[:2])(lambda b: b)
        ut.grad(lambda b: np.sum(wrong(b)))(b)


def test_watch_names_a_value_everywhere() -> None:
    """A watched value and its gradient have the name in source, derivation and values; wrong names are told."""

    def loss(w: Any) -> Any:
        return np.sum(ut.watch(w * w, "squares") ** 3)

    bp = ut.backprop(loss, np.array([1.0, 2.0]))
    assert "    squares = " in bp.source and "    dsquares = " in bp.source and "∂L/∂squares" in bp.derivation()
    np.testing.assert_allclose(bp.values()["squares"], [1, 4])
    np.testing.assert_allclose(bp.values()["dsquares"], [3, 48])
    np.testing.assert_allclose(bp()[1], ut.grad(loss)(np.array([1.0, 2.0])), rtol=1e-12)
    assert ut.watch(3.0, "x") == 3.0
    with pytest.raises(ut.ArgumentError, match="'h 1' is no name"):
        ut.watch(3.0, "h 1")


def test_clip_cotangent_limits_what_flows_back() -> None:
    """The value passes unchanged; each entry of the gradient is clipped; the emitted source clips too."""
    x = np.array([1.0, -50.0, 0.1])
    loss = lambda x: np.sum(ut.clip_cotangent(x, -1.0, 1.0) ** 2)
    assert loss(x) == np.sum(x**2)
    np.testing.assert_allclose(ut.grad(loss)(x), [1.0, -1.0, 0.2])
    bp = ut.backprop(loss, x)
    np.testing.assert_allclose(bp.backward(bp.forward(x)[1]), [1.0, -1.0, 0.2])
    with pytest.raises(ut.ArgumentError, match="Give low ≤ high"):
        ut.clip_cotangent(x, 1.0, -1.0)


def test_stop_gradient_stops_it() -> None:
    """What is stopped counts as a number: d/dw w · stop(w) = w; under backprop too."""
    w = np.array([2.0, 3.0])
    loss = lambda w: np.sum(w * ut.stop_gradient(w))
    np.testing.assert_array_equal(ut.grad(loss)(w), w)
    np.testing.assert_array_equal(ut.backprop(loss, w)()[1], w)


def test_a_rule_gets_all_arguments_by_position() -> None:
    """Named arguments and defaults arrive where the function has them; a keyword-only one is refused."""

    @ut.custom_vjp
    def scale(x: Any, k: Any = 2.0) -> Any:
        return x * k

    @scale.rule
    def scale_rule(ct: Any, out: Any, x: Any, k: Any) -> Any:
        return ct * k, np.sum(ct * x)

    x = np.array([1.0, 4.0])
    for f, wanted in ((lambda x: np.sum(scale(x)), 2.0), (lambda x: np.sum(scale(k=3.0, x=x)), 3.0)):
        np.testing.assert_array_equal(ut.grad(f)(x), [wanted, wanted])
        np.testing.assert_array_equal(ut.backprop(f, x)(x)[1], [wanted, wanted])
    assert ut.grad(lambda k: np.sum(scale(x, k=k)))(3.0) == 5.0
    with pytest.raises(TypeError, match=r"scale\(\): too many positional arguments"):
        ut.grad(lambda x: np.sum(scale(x, 1.0, 2.0)))(x)
    named = ut.custom_vjp(lambda x, *, k: x * k)
    named.rule(lambda ct, out, x: ct)
    with pytest.raises(ut.ArgumentError, match="k can be given by name only"):
        ut.grad(lambda x: np.sum(named(x, k=2.0)))(x)


def test_a_rule_may_write_to_its_cotangent() -> None:
    """The cotangent that a rule gets is its own: what it writes there reaches no other use of the value."""

    @ut.custom_vjp
    def twice(x: Any) -> Any:
        return 2 * x

    @twice.rule
    def _(ct: Any, out: Any, x: Any) -> Any:
        ct *= 2
        return ct

    x, w = np.array([1.0, 2.0]), np.array([3.0, 4.0])
    np.testing.assert_array_equal(ut.grad(lambda x: np.sum((twice(x) + x) * w))(x), 3 * w)
    np.testing.assert_array_equal(ut.grad(lambda x: np.mean((twice(x) + x) * w))(x), 1.5 * w)
    np.testing.assert_array_equal(w, [3.0, 4.0])


def test_a_rule_cannot_write_to_values() -> None:
    """Arguments and results are read by other rules: writing to them is an error, not a wrong gradient elsewhere."""

    @ut.custom_vjp
    def square(x: Any) -> Any:
        return x * x

    @square.rule
    def _(ct: Any, out: Any, x: Any) -> Any:
        x *= 2
        return ct * x

    with pytest.raises(ValueError, match="read-only"):
        ut.grad(lambda x: np.sum(square(x * 1.5)))(np.array([1.0, 2.0]))


def test_a_function_of_several_results_is_computed_once() -> None:
    """One that draws random numbers would not give its rule those that it has given."""
    rng, given = np.random.default_rng(0), []

    @ut.custom_vjp
    def noisy(x: Any) -> Any:
        given.append(rng.normal(size=x.shape))
        return x * given[-1], given[-1]

    @noisy.rule
    def noisy_rule(ct: Any, out: Any, x: Any) -> Any:
        return ct[0] * out[1]

    found = ut.grad(lambda x: np.sum(noisy(x)[0]))(np.ones(3))
    assert len(given) == 1
    np.testing.assert_array_equal(found, given[0])
