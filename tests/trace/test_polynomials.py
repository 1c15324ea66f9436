"""NumPy's polynomials, of traced coefficients and at traced points: its plain Python is followed."""

from typing import Any

import numpy as np
import pytest
from numpy.polynomial import Chebyshev, Legendre, Polynomial, chebyshev, hermite, legendre, polynomial

import undertow as ut

C = np.array([1.0, 2.0, -0.5, 0.7])
T = np.linspace(-0.9, 0.8, 5)


def values(c: Any) -> Any:
    series = polynomial.polyval(T, c), chebyshev.chebval(T, c), legendre.legval(T, c), hermite.hermval(T, c)
    return np.stack(series) @ np.arange(5.0) @ np.arange(1.0, 5.0)


def matrices(c: Any) -> Any:
    made = polynomial.polyvander(c, 3) + legendre.legvander(c, 3), chebyshev.chebvander(c, 2)
    return np.sum(made[0] @ c) + np.sum(made[1] ** 2)


def classes(c: Any) -> Any:
    fitted = Polynomial(c), Chebyshev(c, domain=[0, 2]), Legendre([1.0, 2.0, 3.0])
    return np.sum(fitted[0](T) * fitted[1](T)) + np.sum(fitted[2](c)) + fitted[0].deriv()(0.3) * fitted[0].integ()(2.0)


@pytest.mark.parametrize("f", [values, matrices, classes], ids=lambda f: f.__name__)
@pytest.mark.parametrize("options", [{}, {"compile": True}], ids=["evaluated", "compiled"])
def test_the_gradient_is_that_of_central_differences(f: Any, options: dict[str, Any]) -> None:
    value, gradient = ut.value_and_grad(f, **options)(C)
    np.testing.assert_allclose(value, f(C), rtol=1e-12)
    np.testing.assert_allclose(gradient, [(f(C + h) - f(C - h)) / 2e-6 for h in 1e-6 * np.eye(4)], rtol=1e-7)
    assert type(Polynomial(C).coef) is np.ndarray  # and NumPy's own modules are as they were


def test_what_depends_on_values_is_told() -> None:
    """A product drops zeros at its end: how many coefficients there are depends on their values."""
    f = lambda c: np.sum(polynomial.polymul(c, c))
    np.testing.assert_allclose(ut.grad(f)(C), np.full(4, 2 * C.sum()))
    with pytest.raises(ut.ControlFlowError, match=r"test_polynomials.py:\d+"):
        ut.compile(f)(C)


@pytest.mark.parametrize("function", ["polyval", "chebval", "legval", "hermeval", "hermval", "lagval", "roots"])
@pytest.mark.parametrize("options", [{}, {"compile": True}], ids=["evaluated", "compiled"])
def test_several_polynomials_have_an_axis_each(function: str, options: dict[str, Any]) -> None:
    """NumPy asks whether the points are an array, and gives coefficients an axis for them."""
    modules = {"p": polynomial, "c": chebyshev, "l": legendre, "h": hermite}
    apply = {
        "hermeval": np.polynomial.hermite_e.hermeval, "lagval": np.polynomial.laguerre.lagval,
        "roots": lambda x, c: polynomial.polyvalfromroots(x, c),
    }.get(function) or getattr(modules[function[0]], function)  # fmt: skip
    x, c = np.array([1.0, 2.0, 3.0]), np.arange(9.0).reshape(3, 3) / 7
    f = lambda x, c: np.sum(np.sin(apply(x, c)))
    value, (by_x, by_c) = ut.value_and_grad(f, wrt=(0, 1), **options)(x, c)
    np.testing.assert_allclose(value, f(x, c), rtol=1e-12)
    steps = 1e-6 * np.eye(9).reshape(9, 3, 3)
    np.testing.assert_allclose(by_c.ravel(), [(f(x, c + h) - f(x, c - h)) / 2e-6 for h in steps], rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(
        by_x, [(f(x + h, c) - f(x - h, c)) / 2e-6 for h in 1e-6 * np.eye(3)], rtol=1e-6, atol=1e-7
    )
