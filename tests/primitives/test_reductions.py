"""Reductions and orders beyond their samples: ties, NaN that is left out, accuracy, errors, writing in place."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import undertow as ut

NAN = float("nan")


def test_equal_elements_share_the_places_that_they_hold() -> None:
    """Sorting has no order among equals, so each gets the mean of what their places get."""
    weights = np.array([1.0, 2.0, 4.0, 8.0])
    x = np.array([3.0, 1.0, 3.0, 0.0])
    assert ut.grad(lambda v: np.sort(v) @ weights)(x).tolist() == [6.0, 2.0, 6.0, 1.0]
    assert ut.grad(lambda v: np.partition(v, (2,)) @ weights)(x)[[0, 2]].tolist() == [6.0, 6.0]
    assert ut.grad(lambda v: np.sort(v)[-1])(x).tolist() == ut.grad(np.max)(x).tolist()


def test_arrays_sort_in_place() -> None:
    """x.sort() and x.partition() change the traced array, and only that."""
    x = np.array([[3.0, 1.0], [2.0, 5.0]])

    def f(v: Any) -> Any:
        v = v * 1.0
        v.sort(axis=0)
        v[1].copy()
        return np.sum(v * np.array([[1.0, 2.0], [3.0, 4.0]]))

    assert ut.grad(f)(x).tolist() == [[3.0, 2.0], [1.0, 4.0]]
    assert x.tolist() == [[3.0, 1.0], [2.0, 5.0]]

    def smallest(v: Any) -> Any:
        v = v * 1.0
        v.partition(1)
        return v[0]

    assert ut.grad(smallest)(np.array([3.0, 1.0, 2.0])).tolist() == [0.0, 1.0, 0.0]


@pytest.mark.parametrize("name", ["sum", "mean", "prod", "max", "min", "var", "std"])
def test_what_where_leaves_out_reaches_no_gradient(name: str) -> None:
    """A NaN or infinity that where= leaves out is in neither the first nor the second derivative."""
    x = np.array([[1.0, NAN, 2.0], [np.inf, 3.0, 0.5]])
    mask = np.isfinite(x)
    start = {"max": {"initial": -9.0}, "min": {"initial": 9.0}}.get(name, {})

    def f(v: Any) -> Any:
        return np.sum(getattr(np, name)(v, axis=1, where=mask, **start) ** 2)

    first = ut.grad(f)(x)
    second = ut.grad(lambda v: np.sum(ut.grad(f)(v) ** 2))(x)
    for g in (first, second):
        assert np.all(np.isfinite(g))
        assert np.all(g[~mask] == 0)


@pytest.mark.parametrize(
    "name",
    ["nansum", "nanmean", "nanprod", "nanmax", "nanmin", "nanvar", "nanstd", "nanmedian", "nancumsum", "nancumprod"],
)
def test_nan_takes_no_part_to_second_order(name: str) -> None:
    """The functions that pass over NaN give it the derivative 0, and the others a finite one."""
    x = np.array([[1.0, NAN, 2.0, -0.5], [0.7, 3.0, NAN, 0.5]])

    def f(v: Any) -> Any:
        return np.sum(getattr(np, name)(v, axis=1) ** 3)

    second = ut.grad(lambda v: np.sum(ut.grad(f)(v) ** 2))(x)
    for g in (ut.grad(f)(x), second):
        assert np.all(np.isfinite(g)) and np.all(g[np.isnan(x)] == 0)


def test_float32_sums_stay_as_accurate_as_numpys() -> None:
    """The engine calls np.sum, which sums pairwise."""
    x = np.random.default_rng(0).uniform(size=1_000_000).astype(np.float32)
    value, gradient = ut.value_and_grad(lambda v: np.sum(v) / np.float32(1e6))(x)
    assert value == np.sum(x) / np.float32(1e6)
    assert gradient.dtype == np.float32


def test_the_source_holds_numpys_own_calls() -> None:
    """A reduction with options is written as people write it."""
    x, mask = np.arange(6.0).reshape(2, 3), np.array([[True, False, True], [True, True, True]])

    def f(v: Any) -> Any:
        total = np.sum(v, axis=1, where=mask)
        spread = np.std(v, axis=0, ddof=1)
        middle = np.median(v, axis=1, keepdims=True)
        running = np.cumsum(v, axis=1)
        ordered = np.sort(v, axis=0)
        quartile = np.quantile(v, 0.25, axis=1)
        return sum(np.sum(out) for out in (total, spread, middle, running, ordered, quartile, np.diff(v)))

    source = ut.backprop(f, x).source
    for call in (
        "np.sum(v, axis=1, where=",
        "np.std(v, axis=0, ddof=1)",
        "np.median(v, axis=1, keepdims=True)",
        "np.cumsum(v, axis=1)",
        "np.sort(v, axis=0)",
        "np.quantile(v, 0.25, axis=1)",
        "np.diff(v)",
    ):
        assert call in source, source


SYMBOLIC = (
    lambda v: np.sum(np.mean(v, axis=1, where=np.array([True, False, True])) ** 2),
    lambda v: np.sum(np.sum(v, axis=0, where=np.array([True, False, True])) ** 2),
    lambda v: np.sum(np.max(v, axis=0, initial=0.1, where=np.array([True, False, True])) ** 2),
    lambda v: np.sum(np.var(v, axis=0)) + np.sum(np.std(v, axis=1)),
    lambda v: np.sum(np.nanmean(v, axis=0) ** 2) + np.nanstd(v, ddof=1),
    lambda v: np.sum(np.average(v, axis=0) ** 2) + np.sum(np.ptp(v, axis=0)),
    lambda v: np.sum(np.cumsum(v, axis=0) ** 2),
    lambda v: np.sum(np.sort(v, axis=0) ** 2) + np.sum(np.median(v, axis=1)),
    lambda v: np.sum(np.quantile(v, [0.1, 0.6], axis=1) ** 2) + np.sum(np.diff(v, axis=1) ** 2),
)
CONCRETE = (
    lambda v: np.sum(np.cumprod(v, axis=0)),
    lambda v: np.sum(np.median(v, axis=0) ** 2),
    lambda v: np.sum(np.percentile(v, 30, axis=0) ** 2),
    lambda v: np.sum(np.diff(v, axis=0) ** 2) + np.sum(np.trapezoid(v, axis=0)),
    lambda v: np.sum(np.gradient(v, axis=0) ** 2),
    lambda v: np.sum(np.interp(v[0], v[:, 0], v[:, 1])),
)


@pytest.mark.parametrize("f", SYMBOLIC + CONCRETE)
def test_a_symbolic_batch_goes_through_reductions(f: Any) -> None:
    """Masks and counts follow the batch size; where its number matters, it is traced as a number."""

    def loss(w: Any, v: Any) -> Any:
        return f(v * w)

    x, w = np.sin(np.arange(12.0)).reshape(4, 3), np.array([1.0, 2.0, 3.0])
    bp = ut.backprop(loss, w, x)
    for data in (x, np.cos(np.arange(18.0)).reshape(6, 3)) if f in SYMBOLIC else (x,):
        _, cache = bp.forward(w, data)
        np.testing.assert_allclose(bp.backward(cache), ut.grad(loss)(w, data), rtol=1e-11)


@pytest.mark.parametrize(
    ("f", "words"),
    [
        (lambda v: np.quantile(v, 0.5, method="inverted_cdf", weights=np.ones(3)), "weights="),
        (lambda v: np.sort(v, order="a")[0], "order="),
        (lambda v: np.polydiv(v, v)[0][0], "np.polydiv"),
    ],
)
def test_what_cannot_be_traced_is_refused_by_name(f: Any, words: str) -> None:
    with pytest.raises(ut.UnsupportedError, match=words):
        ut.grad(f)(np.array([1.0, 2.0, 3.0]))


@pytest.mark.parametrize(
    ("f", "words"),
    [
        (lambda v: np.sum(v, axis=2), "np.sum.*axis 2 is out of bounds"),
        (lambda v: np.max(v, where=np.array([True, False, True])), "initial="),
        (lambda v: np.sum(v, where=np.array([True, False])), "where"),
        (lambda v: np.min(v[:0]), "no element"),
    ],
)
def test_shapes_that_do_not_fit_are_told(f: Any, words: str) -> None:
    with pytest.raises(ut.ShapeError, match=words):
        ut.grad(f)(np.array([1.0, 2.0, 3.0]))


def test_interp_on_a_circle_is_that_of_numpy_by_every_argument() -> None:
    """Angles in any order and several turns away, as in NumPy's own test; the slopes are difference quotients."""
    knots = np.array([-180.0, -170, -185, 185, -10, -5, 0.5, 365])
    x = knots + 0.25  # some were points of xp themselves, where the slope is chosen
    xp, fp = np.array([190.0, -190, 350, -350]), np.array([5.0, 10, 3, 4])

    def f(x: Any, xp: Any, fp: Any, left: Any = None) -> Any:
        return np.sum(np.interp(x, xp, fp, left=left, period=-360) * np.arange(1.0, 9.0))

    value, grads = ut.value_and_grad(f, wrt=(0, 1, 2))(x, xp, fp)
    assert value == f(x, xp, fp) == f(x, xp, fp, left=99.0)
    published = np.array([7.5, 5.0, 8.75, 6.25, 3.0, 3.25, 3.525, 3.75])
    off = ut.value_and_grad(lambda v: np.sum((np.interp(v, xp, fp, period=360) - published) ** 2))(knots)[0]
    assert off < 1e-25
    assert ut.check_gradient(f, x, xp, fp, wrt=(0, 1, 2))
    assert ut.grad(lambda v: f(v, xp, fp, left=99.0))(x).tolist() == grads[0].tolist()
    with pytest.raises(ut.ArgumentError, match=r"np\.interp: period=0"):
        ut.grad(lambda v: np.sum(np.interp(v, xp, fp, period=0)))(x)


@pytest.mark.parametrize(
    "weights", [{"fweights": [1, -1, 2]}, {"aweights": [1.0, -0.5, 2.0]}, {"fweights": [1.0, 1.5, 2.0]}]
)
def test_weights_that_numpy_refuses_are_refused(weights: Any) -> None:
    x = np.array([[1.0, 2.0, 4.0], [0.5, 0.0, 1.0]])
    with pytest.raises((ValueError, TypeError)):
        np.cov(x, **{name: np.array(w) for name, w in weights.items()})
    with pytest.raises(ut.ArgumentError, match=r"np\.cov: [fa]weights holds"):
        ut.grad(lambda v: np.sum(np.cov(v, **weights)))(x)


@pytest.mark.parametrize("function", [np.var, np.std, np.nanvar, np.nanstd])
def test_two_names_of_one_number_are_refused_as_by_numpy(function: Any) -> None:
    x = np.array([1.0, 2.0, 4.0])
    with pytest.raises(ValueError, match="simultaneously"):
        function(x, ddof=1, correction=1)
    with pytest.raises(ut.ArgumentError, match=f"np.{function.__name__}: ddof=1 and correction=1 are one number"):
        ut.grad(lambda v: function(v, ddof=1, correction=1))(x)


def test_results_whose_shape_depends_on_values_work_where_values_are_known() -> None:
    """ut.grad sees values; ut.backprop says what it does not know, and the way out."""
    x = np.array([2.0, 1.0, 2.0])
    assert ut.grad(lambda v: np.sum(np.unique(v) ** 2))(x).tolist() == [4.0, 2.0, 0.0]
    for f in (lambda v: np.sum(np.unique(v)), lambda v: np.sum(np.bincount(np.argsort(v), v))):
        with pytest.raises(ut.UnsupportedError, match="outside the function"):
            ut.backprop(f, x)


@pytest.mark.parametrize("size", [3, 40])
def test_running_products_with_zeros_or_near_the_bounds(size: int) -> None:
    """The recurrence behind cumprod divides only where nothing is zero or near the bounds of its dtype."""
    random = np.random.default_rng(size)
    for scale in (1.0, 1e-12, 1e6):
        x = random.uniform(0.5, 1.5, size) * scale
        for zero in (False, True):
            x[size // 2] = 0.0 if zero else x[size // 2]
            got = ut.grad(lambda v: np.sum(np.cumprod(v)))(x)
            wanted = [sum(np.prod(np.delete(x[: j + 1], i)) for j in range(i, size)) for i in range(size)]
            np.testing.assert_allclose(got, wanted, rtol=1e-11)


def test_a_mean_of_more_half_floats_than_their_largest_number() -> None:
    """1/n of 100,000 elements is a float16, and n is not."""
    x = np.ones(100_000, np.float16)
    for gradient in (ut.grad(np.mean)(x), ut.backprop(lambda x: np.mean(x), x)(x)[1]):
        assert gradient.dtype == np.float16
        np.testing.assert_array_equal(gradient, np.float16(1e-5))


# Plain arrays take shorter ways than traced ones; these are the points where the ways could part


@pytest.mark.filterwarnings("ignore")
def test_extrema_of_nan_few_and_many_ties() -> None:
    """One largest element, several, more than an eighth of them, and a NaN, which has no slope to give."""
    few, many = np.arange(40.0), np.array([1.0] * 9 + [0.0] * 7)
    few[[3, 17]] = 100.0
    np.testing.assert_array_equal(ut.grad(np.max)(few), np.where(few == 100, 0.5, 0.0))
    np.testing.assert_array_equal(ut.grad(np.max)(many), np.where(many == 1, 1 / 9, 0.0))
    np.testing.assert_array_equal(ut.grad(np.min)(-few), np.where(few == 100, 0.5, 0.0))
    rows = np.array([[np.nan, 1.0, 2.0], [3.0, 3.0, 1.0]])  # as many chosen elements as rows, and yet a tie
    gradient = ut.grad(lambda x: np.sum(np.max(x, axis=1)))(rows)
    np.testing.assert_array_equal(gradient, [[np.nan] * 3, [0.5, 0.5, 0.0]])
    assert np.isnan(ut.grad(np.max)(rows[0])).all()


def test_where_takes_numbers_for_truth_values() -> None:
    """A condition of numbers is true where it is not 0: it chooses cotangents, and multiplies none."""
    condition = np.array([2, 0, -1])
    gradients = ut.grad(lambda x, y: np.sum(np.where(condition, x, y) ** 2), wrt=(0, 1))(np.ones(3), np.ones(3))
    np.testing.assert_array_equal(gradients, [[2, 0, 2], [0, 2, 0]])


def test_where_lets_no_infinite_cotangent_to_the_other_branch() -> None:
    """0 times ∞ is no 0: the cotangent of the branch not taken is 0 all the same."""
    x = np.array([0.0, 4.0])
    with np.errstate(all="ignore"):
        gradient = ut.grad(lambda x: np.sum(np.sqrt(np.where(x > 1, x, x * 0))))(x)
        other = ut.grad(lambda x, y: np.sum(np.sqrt(np.where(y > 1, y, x))), wrt=1)(x, x)
    np.testing.assert_array_equal(other, [0.0, 0.25])
    assert gradient[1] == 0.25


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("gaps", [0, 1, 3])
@pytest.mark.parametrize("axis", [None, 0, 1])
@pytest.mark.parametrize(
    "f", [np.nanmedian, lambda x, axis: np.nanquantile(x, 0.3, axis), lambda x, axis: np.nanpercentile(x, 55.0, axis)]
)
def test_quantiles_pass_over_nan(f: Any, axis: Any, gaps: int) -> None:
    """Lines with as many NaN as each other, and lines with fewer: both agree with differences."""
    rng = np.random.default_rng(gaps)
    x = rng.permutation(20.0 + np.arange(20)).reshape(4, 5)
    x.flat[rng.permutation(20)[:gaps]] = np.nan

    def loss(x: Any) -> Any:
        return np.sum(f(x, axis=axis) * 1.5)

    wanted = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[i] = 1e-5
        wanted[i] = 0 if np.isnan(x[i]) else (loss(x + step) - loss(x - step)) / 2e-5
    np.testing.assert_allclose(ut.grad(loss)(x), wanted, atol=1e-7)


@pytest.mark.parametrize("options", [
    {"ddof": 3}, {"ddof": 4}, {"ddof": 5, "fweights": [1, 2, 1]}, {"ddof": 4, "aweights": [1.0, 2.0, 3.0]}, {},
    {"ddof": 1, "aweights": [0.1, 0.2, 0.3]},
], ids=str)  # fmt: skip
@pytest.mark.parametrize("n", [0, 1, 3])
def test_a_covariance_of_too_few_is_what_numpy_makes_of_it(options, n):
    """What is left of the count after ddof is 0 at least."""
    options = {name: value if name == "ddof" else value[:n] for name, value in options.items()}
    x = np.random.default_rng(0).normal(size=(2, n))
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            wanted = np.cov(x, **options)
        except ZeroDivisionError:  # of no weights
            return
        for found in (
            ut.vjp(lambda x: np.cov(x, **options), x)[0],
            ut.compile(lambda x: np.cov(x, **options), fallback="numpy")(x),
        ):
            np.testing.assert_allclose(found, wanted, rtol=1e-12)


@pytest.mark.parametrize(
    "f",
    [
        lambda x: np.take(x, [0], axis=(0, 1)),
        lambda x: np.take_along_axis(x, np.zeros((1, 3), int), axis=(0, 1)),
        lambda x: np.compress([True], x, axis=(0, 1)),
        lambda x: np.cumsum(x, axis=(0, 1)),
        lambda x: np.add.accumulate(x, axis=(0, 1)),
        lambda x: np.add.accumulate(x, axis=None),
        lambda x: np.diff(x, axis=(0, 1)),
        lambda x: np.unwrap(x, axis=(0, 1)),
        lambda x: np.sort(x, axis=(0, 1)),
        lambda x: np.trapezoid(x, axis=(0, 1)),
        lambda x: x * np.argmax(x, axis=(0, 1)),
    ],
)
def test_several_axes_are_refused_where_numpy_goes_along_one(f: Any) -> None:
    """The first of them was taken in silence, where NumPy refuses them all."""
    x = np.arange(6.0).reshape(2, 3)
    with pytest.raises((TypeError, ValueError)):
        f(x)
    with pytest.raises(ut.errors.ArgumentError, match=r"axis is (\(0, 1\)|None), but it goes along one axis\. Give"):
        ut.grad(lambda v: np.sum(f(v)))(x)
