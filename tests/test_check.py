"""check_gradient accepts right gradients of every kind of function, and rejects every kind of wrong one by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import undertow as ut

RNG = np.random.default_rng(4)
W, B = RNG.normal(size=(4, 3)), RNG.normal(size=3)
X, Y = RNG.normal(size=(5, 4)), RNG.normal(size=(5, 3))


def loss(params: Any, X: Any, Y: Any) -> Any:
    W, b = params
    return np.mean((np.tanh(X @ W + b) - Y) ** 2)


def by_hand(params: Any, X: Any, Y: Any) -> Any:
    W, b = params
    h = np.tanh(X @ W + b)
    dz = 2 / h.size * (h - Y) * (1 - h**2)
    return X.T @ dz, dz.sum(axis=0)


# ---- right gradients -----------------------------------------------------------------------------

RIGHT: dict[str, tuple[Any, Any, Any]] = {
    # the function, where, and its gradient by hand
    "quadratic": (lambda x: np.sum(x**2), RNG.normal(size=4), lambda x: 2 * x),
    "exponential": (lambda x: np.sum(np.exp(x)), RNG.normal(size=4) * 5, np.exp),
    "cubic at 0": (lambda x: np.sum(x**3), np.zeros(3), lambda x: 0 * x),
    "linear": (lambda x: np.sum(3 * x), RNG.normal(size=3), lambda x: 3 + 0 * x),
    "constant": (lambda x: np.sum(0 * x) + 1.0, RNG.normal(size=3), lambda x: 0 * x),
    "absolute values": (lambda x: np.sum(np.abs(x)), np.array([1.0, -2.0, 0.5]), np.sign),
    "relu": (lambda x: np.sum(np.maximum(x, 0) ** 2), np.array([1.0, -2.0, 1e-3]), lambda x: 2 * np.maximum(x, 0)),
    "maximum": (lambda x: np.max(x), np.array([1.0, 3.0, 2.0]), lambda x: np.array([0.0, 1, 0])),
    "a branch": (lambda x: np.sum(x**2) if x[0] > 0 else np.sum(x), np.array([1.0, 2.0]), lambda x: 2 * x),
    "a norm": (lambda x: np.linalg.norm(x), np.array([3.0, 4.0]), lambda x: x / 5),
    "log": (lambda x: np.sum(np.log(x)), np.array([1e-3, 1.0, 1e3]), lambda x: 1 / x),
    "root near 0": (lambda x: np.sum(np.sqrt(x)), np.array([1e-6, 1.0]), lambda x: 0.5 / np.sqrt(x)),
    "oscillating": (lambda x: np.sum(np.sin(30 * x)), np.array([0.1, 2.0]), lambda x: 30 * np.cos(30 * x)),
    "large numbers": (lambda x: np.sum(x**2), np.array([1e6, -2e5]), lambda x: 2 * x),
    "small numbers": (lambda x: np.sum(x**2), np.array([1e-6, -2e-5]), lambda x: 2 * x),
    "numbers of many sizes": (lambda x: np.sum(x**3), np.array([1e-4, 1.0, 1e4]), lambda x: 3 * x**2),
    "a large loss": (lambda x: 1e12 * np.sum(np.sin(x)), np.array([0.3, 1.0]), lambda x: 1e12 * np.cos(x)),
    "a small loss": (lambda x: 1e-12 * np.sum(np.sin(x)), np.array([0.3, 1.0]), lambda x: 1e-12 * np.cos(x)),
    "a loss far from 0": (lambda x: 1e6 + np.sum(np.sin(x)), np.array([0.3, 1.0]), np.cos),
    "kink of abs": (lambda x: np.sum(np.abs(x)), np.array([0.0, 1.0]), np.sign),
    "kink of relu": (lambda x: np.sum(np.maximum(x, 0)), np.array([0.0, -1.0]), lambda x: 0 * x),
    "beside a kink": (lambda x: np.sum(np.abs(x)), np.array([1e-5, -1e-7, 1.0]), np.sign),
    "a step function": (lambda x: np.sum(np.sign(x)) + np.sum(x), np.array([0.5, -0.2]), lambda x: 1 + 0 * x),
    "conjugates": (lambda x: np.sum(np.abs(x) ** 2), np.array([1.0, -2.0]), lambda x: 2 * x),
    "where": (lambda x: np.sum(np.where(x > 0, x**2, -x)), np.array([1.0, -2.0]), lambda x: np.where(x > 0, 2 * x, -1)),
    "a scalar": (lambda x: x**2, 3.0, lambda x: 6.0),
    "a 0-d array": (lambda x: x**2, np.array(3.0), lambda x: np.array(6.0)),
    "one entry": (lambda x: np.sum(np.tanh(x)), np.array([0.2]), lambda x: 1 - np.tanh(x) ** 2),
    "steep": (lambda x: np.sum(1 / (1 + np.exp(-50 * x))), np.array([0.02]), None),
}  # fmt: skip


@pytest.mark.parametrize("name", RIGHT)
def test_right_gradients_are_accepted(name: str) -> None:
    """Smooth or with kinks, large or small, where the complex step holds and where it does not."""
    f, x, gradient = RIGHT[name]
    with np.errstate(all="ignore"):
        report = ut.check_gradient(f, x)
        assert report, str(report)
        if gradient is not None:
            report = ut.check_gradient(f, x, gradient=gradient)
            assert report, str(report)
    assert "the gradient is right" in str(report)


def test_functions_that_are_hostile_to_complex_numbers() -> None:
    """A function that takes no complex numbers, or drops or mistreats the imaginary part, is checked by differences."""

    def refuses(x: Any) -> Any:
        if np.iscomplexobj(x):
            raise TypeError("real numbers, please")
        return np.sum(np.tanh(x))

    def drops(x: Any) -> Any:
        return np.sum(np.tanh(np.real(x)))

    def conjugates(x: Any) -> Any:
        return np.sum(np.tanh(np.conj(x)))

    x = np.array([0.3, -1.0])
    slope = lambda x: 1 - np.tanh(x) ** 2
    for f in (refuses, drops, conjugates):
        report = ut.check_gradient(f, x, gradient=slope)
        assert report, str(report)
        assert report.worst is not None
        assert report.worst.method == "differences"
        assert not ut.check_gradient(f, x, gradient=lambda x: 1.01 * slope(x), raises=False)


def test_a_smooth_function_is_checked_to_all_digits() -> None:
    """Where the complex step holds the error is of the size of rounding."""
    report = ut.check_gradient(loss, (W, B), X, Y, tolerance=1e-12)
    assert {row.method for row in report.rows} == {"complex step"}
    assert [row.name for row in report.rows] == ["params[0]", "params[1]"]
    assert [row.checked for row in report.rows] == [12, 3]


def test_large_arrays_are_sampled_and_checked_along_directions() -> None:
    """Of a million entries some are checked one by one, all along random directions, in a moment."""
    x = RNG.normal(size=(100, 100))
    calls = 0

    def f(x: Any) -> Any:
        nonlocal calls
        calls += 1
        return np.sum(np.tanh(x) ** 2)

    report = ut.check_gradient(f, x, gradient=lambda x: 2 * np.tanh(x) * (1 - np.tanh(x) ** 2))
    assert report
    assert 10 <= report.rows[0].checked <= 100
    assert calls < 10_000
    for wrong in (0.99, 1.01, -1.0):
        gradient = lambda x, wrong=wrong: wrong * 2 * np.tanh(x) * (1 - np.tanh(x) ** 2)
        assert not ut.check_gradient(f, x, gradient=gradient, raises=False)


def test_one_wrong_entry_of_a_large_array_is_found_along_a_direction() -> None:
    """An entry that is not in the sample, off by its whole size, shows in the random directions."""
    x = RNG.normal(size=5000)

    def gradient(x: Any) -> Any:
        g = 2 * x
        g[4321] += 5
        return g

    report = ut.check_gradient(lambda x: np.sum(x**2), x, gradient=gradient, raises=False)
    assert not report


# ---- wrong gradients -----------------------------------------------------------------------------


def spoiled(change: Any) -> Any:
    """The gradient by hand, changed in a copy."""

    def gradient(*args: Any) -> Any:
        dW, db = (g.copy() for g in by_hand(*args))
        return change(dW, db)

    return gradient


def entry(place: tuple[int, int], factor: float) -> Any:
    def change(dW: Any, db: Any) -> Any:
        dW[place] *= factor
        return dW, db

    return change


WRONG: dict[str, Any] = {
    "one percent more": lambda dW, db: (1.01 * dW, 1.01 * db),
    "a hundred-thousandth": lambda dW, db: (1.00001 * dW, db),
    "the sign": lambda dW, db: (-dW, -db),
    "no factor 2": lambda dW, db: (dW / 2, db / 2),
    "not averaged": lambda dW, db: (dW * 5, db * 5),
    "zeros": lambda dW, db: (0 * dW, db),
    "one entry's sign": entry((1, 2), -1),
    "one entry's factor": entry((3, 0), 2),
    "one entry zero": entry((0, 0), 0),
    "an entry of NaN": entry((2, 1), np.nan),
    "an entry of infinity": entry((2, 1), np.inf),
    "two entries exchanged": lambda dW, db: (dW[[1, 0, 2, 3]], db),
    "columns exchanged": lambda dW, db: (dW[:, ::-1], db),
    "the bias only": lambda dW, db: (dW, db + 1e-3),
    "the bias averaged": lambda dW, db: (dW, np.full(3, db.mean())),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_gradients_are_rejected(name: str) -> None:
    """Off by a percent, in one entry, in sign, factor, order, NaN: an error, or a report that is false."""
    gradient = spoiled(WRONG[name])
    with pytest.raises(ut.GradientError, match=r"the gradient of loss by [Wb] .params"):
        ut.check_gradient(loss, (W, B), X, Y, gradient=gradient)
    report = ut.check_gradient(loss, (W, B), X, Y, gradient=gradient, raises=False)
    assert not report
    assert "THE GRADIENT IS WRONG" in str(report)
    assert ut.check_gradient(loss, (W, B), X, Y, gradient=spoiled(lambda dW, db: (dW, db)))


def test_a_transposed_gradient_is_rejected() -> None:
    """Of a square matrix the shape does not tell: the values do."""
    A = RNG.normal(size=(3, 3))
    f = lambda A: np.sum(np.tanh(A @ A))
    gradient = ut.grad(f)
    assert ut.check_gradient(f, A, gradient=gradient)
    assert not ut.check_gradient(f, A, gradient=lambda A: gradient(A).T, raises=False)


def test_a_gradient_of_another_shape_is_rejected_with_both_shapes() -> None:
    """A transposed weight gradient, a bias gradient not summed, one array too few."""
    for change, message in (
        (lambda dW, db: (dW.T, db), r"W \(params\[0\]\) is \(4, 3\), its gradient is \(3, 4\)"),
        (lambda dW, db: (dW, np.tile(db, (5, 1))), r"b \(params\[1\]\) is \(3,\), its gradient is \(5, 3\)"),
        (lambda dW, db: (dW, np.sum(db)), r"b \(params\[1\]\) is \(3,\), its gradient is \(\)"),
        (lambda dW, db: (dW,), "1 arrays, the argument 2"),
    ):
        with pytest.raises(ut.GradientError, match=message):
            ut.check_gradient(loss, (W, B), X, Y, gradient=spoiled(change))


def test_a_small_wrong_entry_beside_large_ones_is_found() -> None:
    """Entries of 1e6 beside one of 1e-3: the small one is compared by its own size."""
    scale = np.array([1e6, 1e-3, 1e3])
    f = lambda x: np.sum(scale * np.tanh(x))
    x = np.array([0.2, 0.4, -0.3])
    right = lambda x: scale * (1 - np.tanh(x) ** 2)
    assert ut.check_gradient(f, x, gradient=right)
    for factor in (0.0, 0.5, 1.01, -1.0):
        wrong = lambda x, factor=factor: right(x) * np.array([1, factor, 1])
        with pytest.raises(ut.GradientError, match=r"\[1\]"):
            ut.check_gradient(f, x, gradient=wrong)


def test_a_wrong_entry_that_should_be_zero_is_found() -> None:
    """Where the true derivative is 0, any clear other number is wrong."""
    f = lambda x: np.sum(x[1:] ** 2)
    x = np.array([1.0, 2.0, 3.0])
    wrong = lambda x: np.array([1e-4, 2 * x[1], 2 * x[2]])
    with pytest.raises(ut.GradientError, match=r"entry \[0\].*it is 0\.0001"):
        ut.check_gradient(f, x, gradient=wrong)


@pytest.mark.parametrize("scale", [1e-12, 1e-6, 1e6, 1e12])
def test_wrong_gradients_of_losses_of_any_size(scale: float) -> None:
    """The size of the loss does not hide an error of one percent."""
    f = lambda x: scale * np.sum(np.sin(x))
    x = np.array([0.3, 1.0])
    assert not ut.check_gradient(f, x, gradient=lambda x: 1.01 * scale * np.cos(x), raises=False)
    g = lambda x: scale * np.sum(np.abs(np.sin(x)))  # no complex step
    assert not ut.check_gradient(g, x, gradient=lambda x: 1.01 * scale * np.cos(x), raises=False)


def test_curvature_is_no_kink() -> None:
    """Steep but smooth, without a complex step: a slope between the two sides' is still wrong."""
    f = lambda x: 1e6 * np.sum(np.abs(x) ** 2)
    x = np.array([1e-4])
    assert ut.check_gradient(f, x, gradient=lambda x: 2e6 * x)
    assert not ut.check_gradient(f, x, gradient=lambda x: 1.002 * 2e6 * x, raises=False)


def test_at_a_kink_only_what_lies_between_the_slopes_is_right() -> None:
    """|x| at 0: anything in [−1, 1] is a subgradient, 1.5 is not; and 1e-8 |x| has small ones."""
    f = lambda x: np.sum(np.abs(x))
    zero = np.array([0.0])
    for slope in (-1.0, 0.0, 0.3, 1.0):
        report = ut.check_gradient(f, zero, gradient=lambda x, slope=slope: np.array([slope]))
        assert report.rows[0].method == "kink" or slope == 0
    for slope in (1.5, -1.5, np.nan, np.inf):
        assert not ut.check_gradient(f, zero, gradient=lambda x, slope=slope: np.array([slope]), raises=False)
    small = lambda x: 1e-8 * np.sum(np.abs(x))
    assert ut.check_gradient(small, zero, gradient=lambda x: np.array([0.5e-8]))
    assert not ut.check_gradient(small, zero, gradient=lambda x: np.array([5e-7]), raises=False)


# ---- what the report says ------------------------------------------------------------------------


def test_the_error_names_parameter_entry_values_and_relative_error() -> None:
    """Everything a person needs to find the mistake stands in the message."""
    with pytest.raises(ut.GradientError) as caught:
        ut.check_gradient(loss, (W, B), X, Y, gradient=spoiled(entry((1, 2), 3)))
    right = by_hand((W, B), X, Y)[0][1, 2]
    text = str(caught.value)
    assert "gradient of loss by W (params[0]) is wrong at entry [1, 2]" in text
    assert f"it is {3 * right:.10g}" in text
    assert f"is {right:.6g}"[:-1] in text
    assert "relative error 6.7e-01" in text
    report = ut.check_gradient(loss, (W, B), X, Y, gradient=spoiled(entry((1, 2), 3)), raises=False)
    assert report.worst is not None
    assert (report.worst.name, report.worst.entry) == ("params[0]", (1, 2))
    np.testing.assert_allclose([report.worst.gradient, report.worst.numeric], [3 * right, right], rtol=1e-6)
    np.testing.assert_allclose(report.worst.relative_error, 2 / 3, rtol=1e-6)


def test_dict_keys_and_fields_name_parameters() -> None:
    """The name is how Python would reach the array."""
    f = lambda p: np.sum(p["layer"][0] ** 2) + np.sum(p["b"])
    report = ut.check_gradient(f, {"layer": [W], "b": B})
    assert {row.name for row in report.rows} == {"p['layer'][0]", "p['b']"}


def test_several_arguments() -> None:
    """wrt as for grad: an int, a negative one, a tuple; each argument's rows carry its name."""
    f = lambda a, b: np.sum(a * b**2)
    a, b = RNG.normal(size=3), RNG.normal(size=3)
    assert [row.name for row in ut.check_gradient(f, a, b, wrt=(0, 1)).rows] == ["a", "b"]
    assert [row.name for row in ut.check_gradient(f, a, b, wrt=-1).rows] == ["b"]
    assert ut.check_gradient(f, a, b, wrt=1, gradient=lambda a, b: 2 * a * b)
    assert not ut.check_gradient(f, a, b, wrt=1, gradient=lambda a, b: a * b, raises=False)
    assert ut.check_gradient(f, a, b, wrt=(1, 0), gradient=lambda a, b: (2 * a * b, b**2))
    with pytest.raises(ut.ArgumentError):
        ut.check_gradient(f, a, b, wrt=())
    with pytest.raises(ut.ArgumentError):
        ut.check_gradient(f, a, b, wrt=2)


def test_float32_arguments_are_checked_in_float64() -> None:
    """The numeric derivative does not drown in float32's rounding."""
    x = RNG.normal(size=4).astype(np.float32)
    assert ut.check_gradient(lambda x: np.sum(np.exp(x)), x, tolerance=1e-9)


def test_arguments_are_left_as_they_were() -> None:
    """Neither values nor dtype of what is given change."""
    x = RNG.normal(size=4)
    kept = x.copy()
    ut.check_gradient(lambda x: np.sum(np.abs(x)), x)
    np.testing.assert_array_equal(x, kept)


def test_the_seed_decides_what_is_sampled() -> None:
    """The same seed gives the same report."""
    x = RNG.normal(size=1000)
    f = lambda x: np.sum(np.abs(x) ** 1.5)
    first, second = (ut.check_gradient(f, x, seed=3) for _ in range(2))
    assert str(first) == str(second)


def test_empty_arrays_are_reported_as_such() -> None:
    """An array without entries is in the report, with nothing checked, and does not count as a check."""
    f = lambda p: np.sum(p[0]) + np.sum(p[1] ** 2)
    report = ut.check_gradient(f, (np.zeros((0, 3)), B))
    assert report
    assert {row.name: row.checked for row in report.rows} == {"p[0]": 0, "p[1]": 3}
    assert "p[0]" in str(report)
    alone = ut.check_gradient(lambda x: np.sum(x), np.zeros((0, 3)))
    assert "right" not in str(alone)
    assert "nothing to check" in str(alone)
    with pytest.raises(ut.GradientError):
        ut.check_gradient(lambda x: np.sum(x), np.zeros((0, 3)), gradient=lambda x: np.zeros((3, 0)))


def test_nothing_differentiable_is_an_error() -> None:
    """Integers alone, or a tree without arrays, cannot be checked, and it is said."""
    for x in (np.array([1, 2]), "text", None):
        with pytest.raises(ut.UndertowError):
            ut.check_gradient(lambda x: np.float64(1.0), x)


@pytest.mark.parametrize("f", [lambda x: x, lambda x: (np.sum(x), 1.0), lambda x: None, lambda x: x[None]])
def test_a_function_that_gives_no_number_is_refused(f: Any) -> None:
    """NonScalarError, whether the gradient is ours or the caller's own."""
    with pytest.raises(ut.NonScalarError):
        ut.check_gradient(f, RNG.normal(size=3))
    with pytest.raises(ut.NonScalarError):
        ut.check_gradient(f, RNG.normal(size=3), gradient=lambda x: x)


def test_a_random_function_is_refused() -> None:
    """Two values at the same arguments: there is no derivative, and the gradient is not called wrong."""
    rng = np.random.default_rng(0)
    with pytest.raises(ut.ArgumentError, match=r"noisy .* returned .* and then .* pass them as an argument"):

        def noisy(w: Any) -> Any:
            return np.sum(w * rng.random(3))

        ut.check_gradient(noisy, np.ones(3))


@pytest.mark.parametrize("seed", [1, 7, 10])
def test_a_loss_that_casts_to_real_numbers_is_no_wrong_gradient(seed: int) -> None:
    """The complex step is 0 after a cast, and the corners of ReLU and max leave it unrefuted by rough differences."""
    rng = np.random.default_rng(seed)
    W, U, V = rng.normal(size=(9, 8)), rng.normal(size=(40, 16)), rng.normal(size=(16, 4))
    x, y = rng.normal(size=(3, 64, 1)), rng.integers(0, 4, 3)

    def windows(x: Any, width: int) -> Any:
        found = np.lib.stride_tricks.sliding_window_view(x, width, axis=1)[:, ::2]
        return found.reshape(*found.shape[:2], -1)

    def loss(W: Any) -> Any:
        h = np.maximum(windows(x, 9) @ W, 0)
        h = np.max(np.maximum(windows(h, 5) @ U, 0), axis=1)
        return ut.nn.categorical_cross_entropy_with_logits(h @ V, y)

    report = ut.check_gradient(loss, W)
    assert report and {row.method for row in report.rows} == {"differences"}
