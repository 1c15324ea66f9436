"""Where a gradient is NaN although the value is a number, the operation and its line are named."""

import re
import warnings

import numpy as np
import pytest

import undertow as ut

PLACES = np.array([[0.0, 0.0], [1.0, 0.5], [-0.3, 2.0]])


def kernel(log_scale, root):
    """A Matérn kernel of three places: the distance of each to itself is 0."""
    d = root(np.sum(((PLACES[:, None] - PLACES[None]) / np.exp(log_scale)) ** 2, axis=-1))
    return np.sum((1 + d) * np.exp(-d))


def told(f, *args, **given):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = ut.grad(f, **given)(*args)
    return found, [str(x.message) for x in said if "holds NaN" in str(x.message)]


@pytest.mark.parametrize(
    ("f", "x", "where"),
    [
        (
            lambda s: kernel(s, np.sqrt),
            0.1,
            r"the slope of np.sqrt \(test_nan_gradient.py:\d+, `d = root.* is infinite",
        ),
        (
            lambda x: np.sqrt(np.sum(x**2)),
            np.zeros(2),
            r"np.sqrt .* is infinite at 0, and np.power .* multiplies it by",
        ),
        (lambda x: np.sum(np.sqrt(x) * x), np.zeros(2), r"np.sqrt .* is infinite at 0, where it is multiplied by 0"),
        (lambda x: np.sum(x**1.5 * x**-0.5 * x), np.array([1.0, 4.0]), None),
        (lambda x: np.sum(x**0.5 * x), np.array([1.0, 0.0]), r"np.power .* is infinite at 0"),
    ],
)
def test_the_operation_and_the_line_are_named(f, x, where):
    found, said = told(f, x)
    if where is None:
        assert np.all(np.isfinite(found)) and not said
        return
    assert np.any(np.isnan(found))
    assert len(said) == 1 and re.search(where, said[0], re.DOTALL), said
    assert "although its value is" in said[0] and "np.where(s > 0, np.sqrt(s), 0)" in said[0]


def test_what_it_says_to_write_has_the_gradient_of_differences():
    h = 1e-6
    for root in (
        lambda s: np.where(s > 0, np.sqrt(s), 0),
        lambda s: np.linalg.norm(np.sqrt(np.where(s > 0, s, 1))[..., None] * (s > 0)[..., None], axis=-1),
    ):
        found, said = told(lambda s, root=root: kernel(s, root), 0.1)
        by_differences = (kernel(0.1 + h, np.sqrt) - kernel(0.1 - h, np.sqrt)) / (2 * h)
        assert found == pytest.approx(by_differences, rel=1e-8) and not said


def test_it_is_told_once_for_a_function_that_is_made_and_at_the_users_line():
    gradient = ut.value_and_grad(lambda x: np.sqrt(np.sum(x**2)))
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for _ in range(3):
            gradient(np.zeros(2))
    assert [x.filename for x in said] == [__file__]


def test_nothing_is_said_of_nan_that_was_given_or_that_the_value_has():
    with np.errstate(all="ignore"):
        assert told(lambda x: np.sum(x * 2), np.array([np.nan, 1.0]))[1] == []
        assert told(lambda x, y: np.sum(x * y), np.ones(2), np.array([np.nan, 1.0]))[1] == []
        assert told(lambda x: np.sum(x * np.log(x)), np.zeros(2))[1] == []
        assert told(lambda x: np.sum(np.log(x)), np.zeros(2))[1] == []
    assert told(lambda x: np.linalg.norm(x), np.zeros(2))[1] == []
    assert told(lambda x: (np.sqrt(np.sum(x**2)), x), np.zeros(2), has_aux=True)[1] != []


def test_a_gradient_of_a_gradient_is_as_before():
    inner = ut.grad(lambda x: np.sqrt(x**2 + 1))
    assert ut.grad(inner)(0.0) == 1.0
    np.testing.assert_array_equal(ut.hessian(lambda x: np.sum(x**3))(np.array([1.0, 2.0])), np.diag([6.0, 12.0]))


def test_check_gradient_says_where_it_begins():
    with pytest.raises(ut.GradientError, match=r"the gradient is NaN: the slope of np.sqrt \(test_nan_gradient.py:\d+"):
        ut.check_gradient(lambda s: kernel(s, np.sqrt), 0.1)


def test_grad_compiles():
    f, x = (lambda x, y: np.sum(np.tanh(x) ** 2 * y)), np.array([0.3, -1.0])
    for given in ({"compile": True}, {"compile": True, "fallback": "numpy"}):
        np.testing.assert_allclose(ut.grad(f, **given)(x, 2.0), 4 * np.tanh(x) / np.cosh(x) ** 2, rtol=1e-14)
    a, b = ut.grad(f, wrt=(0, 1), compile=True)(x, 2.0)
    assert b == pytest.approx(np.sum(np.tanh(x) ** 2)) and a.shape == (2,)
    found, aux = ut.grad(lambda x: (np.sum(x**2), x + 1), has_aux=True, compile=True)(x)
    np.testing.assert_array_equal(found, 2 * x)
    np.testing.assert_array_equal(aux, x + 1)
    with pytest.raises(TypeError, match=r"undertow.compile\(undertow.hessian\(f\)\)"):
        ut.hessian(f, compile=True)
    np.testing.assert_allclose(ut.compile(ut.hessian(lambda x: np.sum(x**3)))(x), np.diag(6 * x))


def test_a_function_that_cannot_be_called_twice_gets_its_gradient():
    rows = iter([np.zeros(2)])
    found, said = told(lambda x: np.sum(np.sqrt(x * next(rows))), np.ones(2))
    assert np.all(np.isnan(found))
    assert said == ["the gradient of <lambda> holds NaN, although its value is 0."]
