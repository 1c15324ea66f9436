"""NumPy code that makes plain arrays of traced values, and Python's math: differentiated as it stands."""

import math
import threading
from math import exp
from typing import Any

import numpy as np
import pytest
from numpy import array, zeros

import undertow as ut

X = np.array([0.3, 0.7, 1.1])
KEPT = np.zeros(3)


def rotated(x: Any) -> Any:
    R = np.array([[np.cos(x[0]), -np.sin(x[0])], [np.sin(x[0]), np.cos(x[0])]])
    return np.sum(R @ np.array([1.0, 2.0]) * x[1])


def filled(x: Any) -> Any:
    out = np.zeros((4, 3))
    for i in range(4):
        for j in range(3):
            out[i, j] = math.cos(i * x[0] + j * x[1])
    return np.trace(out.T @ out)


def derivative(y: Any) -> Any:
    d = np.empty(3)
    d[0] = 10 * (y[1] - y[0])
    d[1] = y[0] * (28 - y[2]) - y[1]
    d[2] = y[0] * y[1] - 8 / 3 * y[2]
    return d


def lorenz(x: Any) -> Any:
    for _ in range(5):
        x = x + 0.01 * derivative(x)
    return np.sum(x)


def through_views(x: Any) -> Any:
    A = np.eye(3)
    A[0, 1] = x[0]
    row = A[2]
    row[:] = x
    A[1:, 0] *= 2
    return np.sum(np.linalg.inv(A + 2 * np.eye(3)) @ x)


def added(x: Any) -> Any:
    s = np.zeros(3)
    s += x
    s[1] += x[0] ** 2
    np.add.at(s, [0, 0, 1], x)
    np.copyto(s[1:], x[:2])
    t = np.ones(3)
    np.exp(x, out=t)
    np.add(t, x, out=t, where=np.array([True, False, True]))
    return np.sum(s * t)


def named(x: Any) -> Any:
    y = zeros(3)
    y[1] = exp(x[0])
    return np.sum(y * array([x[1], x[2], x[0]]))


def of_lists(x: Any) -> Any:
    far = np.linalg.norm([x[0], x[1]]) + np.sum([v**2 for v in x]) * np.mean([x[0], 2.0])
    return far + np.sum(np.r_[x[0], 1.0, x[1:]] * 2) + np.sum(np.c_[x, [x[0], 1.0, x[2]]] ** 2)


def of_numbers(x: Any) -> Any:
    return math.log(x[0], 2) + math.fsum([x[0], x[1]]) + math.dist([x[0], x[1]], [1.0, 2.0]) + math.pow(x[1], 3)


def started(x: Any) -> Any:
    like, full = np.zeros_like(np.ones(3)), np.full((2, 3), x[1])
    like[2] = x[0]
    full[1] = x
    return np.sum(like) * np.sum(full**2) + np.sum(np.full(3, 2.0))


def each(x: Any) -> Any:
    return np.sum(np.vectorize(lambda v, w: v * v * w)(x[:, None], np.array([1.0, 2.0])))


def diffused(x: Any) -> Any:
    u = np.zeros(8)
    u[3] = 1.0
    for _ in range(4):
        new = u.copy()
        new[1:-1] = u[1:-1] + x[0] * (u[2:] - 2 * u[1:-1] + u[:-2])
        u = new
    return np.sum(u**2)


def computed(x: Any) -> Any:
    twice, half = np.ones(3) * 2, np.linspace(0, 1, 3).astype(float)
    twice[0] = x[0]
    half[1:] += x[1:]
    return np.sum(twice * half)


def kept_elsewhere(x: Any) -> Any:
    parts, rows = {"a": np.zeros(2)}, [np.zeros(3) for _ in range(2)]
    parts["a"][0] = x[0]
    rows[0][1], rows[1][:] = x[1] ** 2, x

    def put() -> None:
        parts["a"][1] = x[2]

    put()
    return np.sum(parts["a"]) + np.sum(rows[0] * rows[1])


FUNCTIONS = [rotated, filled, lorenz, through_views, added, named, of_lists, of_numbers, started, each, diffused,
             computed, kept_elsewhere]  # fmt: skip


def by_differences(f: Any, x: Any, h: float = 1e-6) -> Any:
    return np.array([(f(x + h * e) - f(x - h * e)) / (2 * h) for e in np.eye(x.size)])


@pytest.mark.parametrize("f", FUNCTIONS, ids=lambda f: f.__name__)
def test_the_gradient_is_that_of_the_code_as_it_stands(f: Any) -> None:
    for _ in range(2):  # the second call knows what the first found out
        value, slope = ut.value_and_grad(f)(X)
        np.testing.assert_allclose(value, f(X), rtol=1e-12)
        np.testing.assert_allclose(slope, by_differences(f, X), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("f", FUNCTIONS, ids=lambda f: f.__name__)
def test_so_are_the_compiled_one_its_source_and_higher_derivatives(f: Any) -> None:
    wanted = by_differences(f, X)
    value, slope = ut.value_and_grad(f, compile=True)(X)
    np.testing.assert_allclose(value, f(X), rtol=1e-12)
    np.testing.assert_allclose(slope, wanted, rtol=1e-6, atol=1e-6)
    bp = ut.backprop(f, X)
    written: dict[str, Any] = {}
    exec(bp.source, written)
    loss, kept = written["forward"](X)
    np.testing.assert_allclose(loss, f(X), rtol=1e-12)
    np.testing.assert_allclose(written["backward"](kept), wanted, rtol=1e-6, atol=1e-6)
    curved = by_differences(ut.grad(f), X)
    np.testing.assert_allclose(ut.hessian(f)(X), curved, rtol=1e-5, atol=1e-5)


def test_labels_pick_rows_of_a_table_that_the_function_makes() -> None:
    w, labels, table = np.ones((4, 3)), np.array([0, 2, 1, 2]), np.arange(9.0).reshape(3, 3)

    def written(w: Any, labels: Any) -> Any:
        Y = np.zeros((4, 3))
        Y[np.arange(4), labels] = 1
        return np.sum(w * Y)

    for f, wanted in (
        (lambda w, labels: np.sum(w * np.eye(3)[labels]), np.eye(3)[labels]),
        (lambda w, labels: np.sum(w * np.take(table, labels, axis=0)), table[labels]),
        (lambda w, labels: np.sum(w * np.array([labels[0], labels[3], 1])), np.tile([0, 2, 1], (4, 1))),
        (written, np.eye(3)[labels]),
    ):
        for found in (ut.backprop(f, w, labels)()[1], ut.value_and_grad(f, compile=True)(w, labels)[1]):
            np.testing.assert_array_equal(found, wanted)


def test_arguments_by_name_are_joined_too() -> None:
    table = np.arange(6.0).reshape(3, 2)

    def f(x: Any) -> Any:
        rows = np.take(a=np.array([x, 2 * x]), indices=[0, 1, 1], axis=0)
        return np.sum(rows) + np.sum(a=[x[0], x[1] ** 2]) + np.dot(table[0], b=[x[2], x[0]])

    for gradient in (ut.grad(f), lambda x: ut.value_and_grad(f, compile=True)(x)[1]):
        np.testing.assert_allclose(gradient(X), by_differences(f, X), atol=1e-8)
    w, labels = np.ones((4, 2)), np.array([0, 2, 1, 2])
    taken = ut.backprop(lambda w, labels: np.sum(w * np.take(table, indices=labels, axis=0)), w, labels)()[1]
    np.testing.assert_array_equal(taken, table[labels])


def test_what_fills_a_plain_array_may_be_traced() -> None:
    def f(x: Any) -> Any:
        y, D, z = np.zeros(3), np.zeros((3, 3)), np.zeros(4)
        y.fill(x[0])
        np.fill_diagonal(D, x)
        np.put(z, [0, 2], x[:2])
        return np.sum(y) + np.sum(D @ x) + np.sum(z) + np.sum(x[:2] + [x[2], 1.0])

    for gradient in (ut.grad(f), lambda x: ut.value_and_grad(f, compile=True)(x)[1]):
        np.testing.assert_allclose(gradient(X), by_differences(f, X), atol=1e-8)


def test_lines_without_source_follow_too() -> None:
    """As those that are typed in, or given to exec."""
    names: dict[str, Any] = {"np": np}
    exec(
        "def make():\n    return np.zeros(2)\n\ndef f(x):\n    y, z = make(), np.ones(3)\n    y[0] = x[0] ** 2\n"
        "    z[1:] = y * x[1]\n    return np.sum(z * np.array([1.0, x[2], 2.0]))\n",
        names,
    )
    for gradient in (ut.grad(names["f"]), lambda x: ut.value_and_grad(names["f"], compile=True)(x)[1]):
        np.testing.assert_allclose(gradient(X), by_differences(names["f"], X), atol=1e-8)


def test_parts_of_several_shapes_are_told_by_the_call_that_joins_them() -> None:
    with pytest.raises(ut.ShapeError, match=r"test_following.py:\d+: np.array: the shapes \(2,\), \(1,\) differ"):
        ut.grad(lambda x: np.sum(np.array([[x[0], x[1]], [x[2]]])))(X)


def test_what_is_made_is_what_numpy_makes() -> None:
    for dtype in (np.float32, np.float64):
        x = X.astype(dtype)
        for f in (
            lambda x: np.array([x[0], 1]),
            lambda x: np.array([x, 2 * x], ndmin=3),
            lambda x: np.asarray(x),
            lambda x: np.array([[x[0], 2.0], [1, x[1]]], dtype=np.float32),
            lambda x: np.full((2, 2), x[0], dtype=np.float64),
            lambda x: np.full(2, x[0]),
            lambda x: np.r_[x, 1],
            lambda x: np.vstack([[x[0], 1], [2, 3]]),
        ):
            wanted = f(x)
            for found in (ut.vjp(f, x)[0], ut.compile(f)(x)):
                assert found.shape == wanted.shape and found.dtype == wanted.dtype
                np.testing.assert_array_equal(found, wanted)


def test_arrays_that_are_not_written_to_stay_plain() -> None:
    """A branch on one is no branch on a traced value, with shapes alone too."""

    def f(x: Any) -> Any:
        weights, mask = np.zeros(3), np.zeros(3, bool)
        weights[0], mask[1] = 2.0, True
        out = np.zeros(2)
        if weights[0] > 1 and type(weights) is np.ndarray:
            out[0] = x[0] ** 2
        return np.sum(out) + np.sum(x[mask]) * len(range(int(weights[0])))

    for run in (ut.grad(f), lambda x: ut.value_and_grad(f, compile=True)(x)[1]):
        np.testing.assert_allclose(run(X), [0.6, 2, 0])


def test_an_array_from_outside_is_not_written_to_and_told_of() -> None:
    def outside(x: Any) -> Any:
        KEPT[0] = x[0]
        return np.sum(KEPT)

    def seen_from(x: Any) -> Any:
        view = np.asarray(KEPT)
        view += x
        return np.sum(view)

    for f in (outside, seen_from):
        with pytest.raises(ut.InPlaceError, match="plain NumPy array, which cannot take traced values"):
            ut.grad(f)(X)
    assert not KEPT.any()


def test_what_had_been_written_before_the_function_failed_is_undone() -> None:
    def f(x: Any) -> Any:
        x[0] = x[0] * 2
        x *= x
        return np.sum(np.array([x[0], x[1]]))

    np.testing.assert_allclose(ut.grad(f)(X), by_differences(lambda x: f(x.copy()), X), atol=1e-8)
    nested = lambda x: np.sum(ut.grad(lambda y: np.sum(np.array([y[0] ** 3, y[1] * y[0] * x[2]])))(x))
    np.testing.assert_allclose(ut.grad(nested)(X), [6 * X[0] + X[2], X[2], X[0] + X[1]], rtol=1e-12)


def test_a_function_that_needs_nothing_runs_once_and_another_as_often_as_it_takes() -> None:
    calls: list[str] = []

    def plain(x: Any) -> Any:
        calls.append("plain")
        return np.sum(np.stack([x[0], x[1]]))

    def joined(x: Any) -> Any:
        calls.append("joined")
        return np.sum(np.array([x[0], x[1]]))

    ut.grad(plain)(X)
    assert calls == ["plain"]
    gradient = ut.grad(joined)
    gradient(X)
    assert calls[1:] == ["joined"] * 2
    gradient(X)
    assert calls[3:] == ["joined"]


def test_another_branch_that_needs_more_is_found_when_it_is_taken() -> None:
    def f(x: Any) -> Any:
        if x[0] > 0:
            return np.sum(np.array([x[0], x[1]]))
        return math.exp(x[0]) + np.linalg.norm([x[1], x[2]])

    gradient = ut.grad(f)
    for x in (X, -X, X, -X):
        np.testing.assert_allclose(gradient(x), by_differences(f, x), atol=1e-6)


def test_numpy_is_as_it_was_also_after_an_error() -> None:
    before = [dict(vars(module)) for module in (np, np.linalg, math)]
    names, call = dict(globals()), np.vectorize.__call__

    def broken(x: Any) -> Any:
        y = zeros(2)
        y[0] = x[0]
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        ut.grad(broken)(X)
    ut.grad(named)(X)
    for module, wanted in zip((np, np.linalg, math), before, strict=True):
        assert all(vars(module)[name] is x for name, x in wanted.items())
    assert all(globals()[name] is x for name, x in names.items())
    assert np.vectorize.__call__ is call


def test_other_threads_have_numpys_own_functions_meanwhile() -> None:
    inside, done, seen = threading.Event(), threading.Event(), list[Any]()

    def f(x: Any) -> Any:
        y = np.array([x[0], x[1]])
        inside.set()
        assert done.wait(60)
        return np.sum(y)

    worker = threading.Thread(target=lambda: seen.append(ut.grad(f)(X)))
    worker.start()
    assert inside.wait(60)
    made = np.zeros(3)
    made[0] = 1.0
    assert type(made) is np.ndarray and type(np.array([1.0])) is np.ndarray and math.exp(0) == 1
    np.testing.assert_allclose(ut.grad(rotated)(X), by_differences(rotated, X), atol=1e-6)
    done.set()
    worker.join()
    np.testing.assert_array_equal(seen[0], [1, 1, 0])
    assert np.array.__module__ == "numpy" and type(np.array).__name__ == "builtin_function_or_method"


def test_a_training_step_follows_too() -> None:
    """A model of one's own that builds its weights from a few numbers."""
    from dataclasses import dataclass

    @dataclass
    class Turn:
        angle: Any

        def __call__(self, x: Any) -> Any:
            c, s = np.cos(self.angle), np.sin(self.angle)
            return x @ np.array([[c, s], [-s, c]])

    rng = np.random.default_rng(0)
    x = rng.normal(size=(64, 2))
    wanted = Turn(np.array(0.8))(x)
    run = ut.train(Turn(np.array(0.1)), (x, wanted), loss="mean_squared_error", optimizer=ut.optim.adam(0.05),
                   epochs=60, batch_size=16, progress=False)  # fmt: skip
    np.testing.assert_allclose(run.model.angle, 0.8, atol=1e-2)


def test_lists_of_many_arguments_are_to_be_an_array() -> None:
    many = [float(v) for v in range(100)]
    with pytest.raises(ut.InPlaceError, match=r"w is a list of numbers|np.stack"):
        ut.grad(lambda w: np.sum(np.array(w) ** 2))(many)
    np.testing.assert_allclose(ut.grad(lambda w: np.sum(np.array(w) ** 2))([1.0, 2.0]), [2.0, 4.0])


def test_math_of_an_array_is_no_number() -> None:
    with pytest.raises(ut.InPlaceError, match=r"math.sin turns a traced array \(3,\) into a plain number"):
        ut.grad(lambda x: np.sum(math.sin(x)))(X)


def test_copies_and_types_are_those_of_numpy() -> None:
    def copied(x: Any) -> Any:
        a = np.zeros(3)
        a[:] = x
        b = np.asarray(a, copy=True)
        b[0] = 5.0
        return np.sum(a * x)

    for f in (
        copied,
        lambda x: math.hypot(x[0], x[1], x[2]) + math.hypot(x[0]),
        lambda x: np.sum(np.vectorize(lambda v: v * 3, otypes=[int])(x) * x),
        lambda x: np.sum(np.vectorize(lambda v: 0 if v < 0.5 else v)(x) * x),
    ):
        value, slope = ut.value_and_grad(f)(X + 0.05)
        np.testing.assert_allclose(value, f(X + 0.05), rtol=1e-12)
        np.testing.assert_allclose(slope, by_differences(f, X + 0.05), atol=1e-6)


def test_a_write_to_what_may_be_a_copy_is_an_error() -> None:
    def f(x: Any) -> Any:
        A = np.zeros((3, 3))
        A[0] = x
        np.ascontiguousarray(A.T)[0, 1] = 5.0
        return np.sum(A @ x)

    with pytest.raises(ut.UndertowError):
        ut.grad(f)(X)


def test_what_the_function_puts_into_its_arguments_before_it_fails_is_undone() -> None:
    def f(p: Any) -> Any:
        p["w"] = p["w"] * 2
        return np.sum(np.array([p["w"][0], p["w"][1]]))

    for gradient in (ut.grad(f), lambda p: ut.value_and_grad(f, compile=True)(p)[1]):
        np.testing.assert_array_equal(gradient({"w": X})["w"], [2, 2, 0])


def test_an_array_that_an_object_or_a_name_gives_is_one_from_outside() -> None:
    class Holder:
        def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
            return KEPT

    def f(x: Any) -> Any:
        v = np.asarray(Holder())
        v[0] = x[0]
        return np.sum(KEPT * x)

    def named_argument(x: Any) -> Any:
        v = np.asarray(a=KEPT)
        v[0] = x[0]
        return np.sum(KEPT * x)

    for function in (f, named_argument):
        with pytest.raises(ut.InPlaceError):
            ut.grad(function)(X)


def test_an_inner_function_that_was_known_within_another_is_so_alone() -> None:
    def inner(y: Any) -> Any:
        z = zeros(2)
        z[0] = y[0]
        return np.sum(z) * y[1]

    def outer(x: Any) -> Any:
        q = zeros(3)
        q[0] = x[0]
        return np.sum(q) + np.sum(ut.grad(inner)(x))

    np.testing.assert_allclose(ut.grad(outer)(X), [2, 1, 0])
    np.testing.assert_allclose(ut.grad(inner)(X), [X[1], X[0], 0])
