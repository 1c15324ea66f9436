"""Results that are written into arrays: ``out=`` of NumPy's functions, and ``x.flat``."""

from typing import Any

import numpy as np
import pytest

import undertow as ut

X = np.array([0.3, 0.7, 1.1])


def written_to(x: Any) -> Any:
    b, c, m = np.zeros(3), np.ones((2, 2)), np.zeros((2, 3))
    np.sum(np.outer(x, x), axis=0, out=b)
    np.cumsum(b, out=b)
    np.add.reduce(np.outer(x, b), axis=1, out=b)
    np.clip(b, 0.0, 2.0, out=b)
    np.concatenate([x[:1], b[1:]], out=b)
    b.max(out=c[0, 1:].reshape(()))
    np.dot(c, c * x[1], out=c)
    m.flat[1], m.flat[3:] = x[0], x * b
    c.flat = [1.0, 2.0, 3.0, 4.0]
    c.flat[::2] *= x[:2]
    return np.sum(b) + np.sum(c**2) + np.sum(m**3)


def laid_flat(x: Any) -> Any:
    c = np.zeros((3, 1))
    c.flat = x**2
    return np.sum(c * x)


def by_differences(f: Any, h: float = 1e-6) -> Any:
    return np.array([(f(X + h * e) - f(X - h * e)) / (2 * h) for e in np.eye(X.size)])


@pytest.mark.parametrize("f", [written_to, laid_flat], ids=lambda f: f.__name__)
def test_the_gradient_is_that_of_the_code_as_it_stands(f: Any) -> None:
    bp = ut.backprop(f, X)
    for found in (ut.value_and_grad(f)(X), ut.value_and_grad(f, compile=True)(X), (bp(X)[0], bp(X)[1])):
        np.testing.assert_allclose(found[0], f(X), rtol=1e-12)
        np.testing.assert_allclose(found[1], by_differences(f), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("out", "error", "message"),
    [
        (np.zeros(2), ut.ShapeError, r"np\.sum gives \(3,\), which out= of \(2,\) does not hold"),
        (
            np.zeros(3, np.float32),
            ut.DTypeError,
            r"np\.sum gives float64, and out= is float32\. .* an array of float64",
        ),
    ],
    ids=["shape", "dtype"],
)
def test_an_output_that_does_not_fit_is_told_of(out: Any, error: type[Exception], message: str) -> None:
    """NumPy may add up in the dtype of the output, or refuse it."""

    def f(x: Any) -> Any:
        kept = np.zeros_like(x, shape=out.shape, dtype=out.dtype)
        np.sum(np.outer(x, x), axis=0, out=kept)
        return np.sum(kept)

    for run in (ut.grad(f), ut.compile(f)):
        with pytest.raises(error, match=r"test_outputs.py:\d+: " + message):
            run(X)


def test_an_array_from_outside_is_not_written_to() -> None:
    kept = np.zeros(3)

    def one(x: Any) -> Any:
        kept.flat[1] = x[0]
        return np.sum(kept)

    def every(x: Any) -> Any:
        kept.flat = x
        return np.sum(kept)

    for f in (one, every, lambda x: np.sum(np.cumsum(x, out=kept))):
        for run in (ut.grad(f), ut.compile(f)):
            with pytest.raises(ut.InPlaceError, match=r"test_outputs.py:\d+.* plain NumPy array"):
                run(X)
    assert not kept.any()


def by_position(x: Any) -> Any:
    b, c, i = np.zeros(3), np.zeros(3, dtype=np.float64), np.zeros(3, np.int64)
    A = np.outer(x, x)
    A.sum(0, None, b)
    np.mean(A, 0, None, c)
    np.argmax(A, 1, i)
    np.cumsum(b * c, 0, None, b)
    c.clip(0.2, 0.8, c)
    np.dot(A, x, out := np.empty(3))
    np.max(A[:, :2], 1, np.broadcast_to(c, (3,)).copy())
    whole, part = np.empty(3), np.empty(3)
    np.modf(3 * x, part, whole)
    np.divmod(b, x + 0.2, out=(None, c))
    return np.sum(b * c) + out @ part + whole @ x + i @ x


def test_an_output_may_stand_among_the_positional_arguments() -> None:
    for found in (ut.value_and_grad(by_position)(X), ut.value_and_grad(by_position, compile=True)(X)):
        np.testing.assert_allclose(found[0], by_position(X), rtol=1e-12)
        np.testing.assert_allclose(found[1], by_differences(by_position), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    "make",
    [
        lambda: np.zeros(3, np.float32),
        lambda: np.zeros(3, dtype=np.float32),
        lambda: np.full((3,), 2.0, dtype=np.float64),
        lambda: np.array([0, 0, 0], dtype=np.float32),
    ],
)
def test_an_array_whose_type_is_told_by_a_class_takes_traced_values(make: Any) -> None:
    def f(x: Any) -> Any:
        out = make()
        out[0], out[1:] = x[0] * x[1], x[1:]
        return np.sum(out**2)

    for run in (ut.value_and_grad(f), ut.value_and_grad(f, compile=True)):
        value, gradient = run(X)
        np.testing.assert_allclose(value, f(X), rtol=1e-6)
        np.testing.assert_allclose(
            gradient, [2 * X[0] * X[1] ** 2, 2 * X[0] ** 2 * X[1] + 2 * X[1], 2 * X[2]], rtol=1e-6
        )


@pytest.mark.parametrize("out", [(), [], 3, (None, None)])
def test_an_output_that_is_no_array_is_told_of(out: Any) -> None:
    calls = [lambda x: np.sum(x, out=out), lambda x: np.cumsum(x, out=out), lambda x: np.mean(x, 0, None, out)]
    for f in calls:
        for run in (ut.grad(f), ut.compile(f)):
            with pytest.raises(ut.ArgumentError, match=r"test_outputs.py:\d+: np\.\w+\(…, out=.*Leave out= out"):
                run(X)


@pytest.mark.parametrize(
    "call",
    [
        lambda x: np.sum(x, 0, None, None, True), lambda x: np.std(x, 0, None, None, 1), lambda x: x.max(0, None, True),
        lambda x: np.var(x, 0, None, None, 1, True), lambda x: x.std(0, None, None, 1),
        lambda x: np.ptp(x, 0, None, True),
        lambda x: np.percentile(x, 30, 0, None, False, "lower"), lambda x: np.nanmean(x, 1, None, None, True),
        lambda x: np.take(x, [0, 9], 0, None, "clip"), lambda x: np.median(x, 1, None, False, True),
    ],
)  # fmt: skip
def test_what_stands_behind_an_output_among_positional_arguments_counts(call) -> None:
    x = np.array([[1.0, -2.0, 4.0], [0.5, 3.0, -1.0]])
    for found in (ut.compile(call)(x), ut.value_and_grad(lambda x: np.sum(call(x)) * 1.0)(x)[0]):
        wanted = call(x) if np.ndim(found) else np.sum(call(x))
        assert np.shape(found) == np.shape(wanted)
        np.testing.assert_allclose(found, wanted, rtol=1e-13)
