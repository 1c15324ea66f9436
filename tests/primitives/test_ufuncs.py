"""What ufuncs do beside computing: their options, their methods, SciPy's through the same protocol, what is refused."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import undertow as ut

X = np.array([0.5, 1.5, -2.5])
OUTSIDE = np.zeros(3)


def gradient(f: Any, *args: Any) -> Any:
    return ut.grad(lambda *xs: np.sum(f(*xs)))(*args)


# Options


@pytest.mark.parametrize(
    ("f", "error", "message"),
    [
        (lambda x: np.sin(x, where=x > 0), ut.UnsupportedError, r"np.sin\(…, where=…\).*np.where\(condition, np.sin"),
        (lambda x: np.sin(x, out=OUTSIDE), ut.InPlaceError, r"x = np.sin\(…\)"),
        (lambda x: np.sin(x, casting="unsafe"), ut.UnsupportedError, "Call it without casting="),
        (lambda x: np.sin(x, dtype=np.int64), ut.UnsupportedError, "Convert with .astype"),
        (lambda x: np.subtract.reduceat(x, [0, 1]), ut.UnsupportedError, r"np\.subtract\.reduceat"),
        (lambda x: np.maximum.reduce(x, where=[True, False, True]), ut.UnsupportedError, "needs initial="),
        (lambda x: np.add.reduce(x, out=np.zeros(2)), ut.ShapeError, r"gives \(\), .*of \(2,\) does not hold"),
        (lambda x: np.clip(x, 0, 1, out=OUTSIDE), ut.InPlaceError, r"x = np.clip\(…\)"),
        (lambda x: np.nan_to_num(x, copy=False), ut.UnsupportedError, r"np\.nan_to_num.*copy="),
        (lambda x: np.nan_to_num(x, nan=x), ut.UnsupportedError, r"nan=.*np\.where"),
        (lambda x: np.isclose(x, 0, rtol=x), ut.UnsupportedError, r"np\.isclose.*rtol="),
    ],
)
def test_options_that_cannot_be_traced_are_refused_by_name(f, error, message):
    with pytest.raises(error, match=message):
        gradient(f, X)


def test_options_that_change_nothing_pass():
    np.testing.assert_array_equal(
        gradient(lambda x: np.sin(x, where=True, casting="same_kind", order="K"), X), np.cos(X)
    )


def test_dtype_converts_before_the_call():
    """np.add(x, 1, dtype=float64) of a float32 array is a float64 array, and its gradient is float32 again."""
    single = X.astype(np.float32)
    assert ut.value_and_grad(lambda x: np.sum(np.add(x, 1, dtype=np.float64)))(single)[0].dtype == np.float64
    assert gradient(lambda x: np.add(x, 1, dtype=np.float64), single).dtype == np.float32


# Values and copies


def test_a_plus_sign_makes_a_copy():
    """y = +x keeps its value when x is changed in place afterwards."""

    def f(x):
        y = +x
        x += 1
        return y * x

    np.testing.assert_array_equal(gradient(f, np.array([1.0, 2.0])), [3.0, 5.0])


def test_a_real_array_is_its_own_real_part():
    np.testing.assert_array_equal(gradient(lambda x: x.real * x + x.imag * x + x.conj() * x, X), 4 * X)


def test_derivatives_of_sinc_of_any_order_at_zero():
    """sinc(x) = Σ (−1)ᵏ (πx)²ᵏ / (2k + 1)!, so its derivatives at 0 are 0, −π²/3, 0, π⁴/5."""
    f, found = np.sinc, []
    for _ in range(4):
        f = ut.grad(f)
        found.append(f(0.0))
    np.testing.assert_allclose(found, [0, -(math.pi**2) / 3, 0, math.pi**4 / 5], atol=1e-14)


def test_powers_at_zero_to_third_order():
    """Each of 1, x, x², x³ has its derivatives at 0, whether the exponents are one array or numbers."""

    def f(x):
        return np.sum(x ** np.array([0, 1, 2, 3]))

    def g(x):
        return x**0 + x**1 + x**2 + x**3

    for h in (f, g):
        assert (ut.grad(h)(0.0), ut.grad(ut.grad(h))(0.0), ut.grad(ut.grad(ut.grad(h)))(0.0)) == (1.0, 2.0, 6.0)


def test_remainders_of_quotients_that_round_up():
    """1 / 0.1 rounds to 10, yet fmod(1, 0.1) is 1 − 9 · 0.1 and remainder the same: the slope by y is −9."""
    for f in (np.fmod, np.remainder, lambda x, y: divmod(x, y)[1]):
        assert ut.grad(f, wrt=(0, 1))(1.0, 0.1) == (1.0, -9.0)


# SciPy


def test_importing_undertow_does_not_import_scipy():
    """SciPy is optional; its records arrive with the first of its ufuncs."""
    code = (
        "import sys, numpy as np, undertow as ut\n"
        "assert 'scipy' not in sys.modules\n"
        "try:\n    from scipy import special\nexcept ImportError:\n    sys.exit()\n"
        "assert 'undertow.primitives.scipy_special' not in sys.modules\n"
        "assert ut.grad(special.expit)(0.0) == 0.25\n"
        "assert abs(ut.grad(special.gammaln)(1.0) + np.euler_gamma) < 1e-15\n"
    )
    source = Path(ut.__file__).parents[1]
    result = subprocess.run([sys.executable, "-c", code], cwd=source, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda special, x: special.softmax(x), r"SciPy's softmax .* Use ut\.softmax"),
        (lambda special, x: special.log_softmax(x), r"Use ut\.log_softmax"),
        (lambda special, x: special.logsumexp(x), r"Use ut\.logsumexp"),
        (lambda special, x: special.polygamma(2, x), r"Use ut\.polygamma"),
        (lambda special, x: special.gammainc(x, 2.0), r"scipy\.special\.gammainc has no derivative by its first"),
        (lambda special, x: special.zeta(x, 2.0), r"scipy\.special\.zeta has no derivative by its first"),
        (lambda special, x: special.ellipj(x, 0.5)[0], r"scipy\.special\.ellipj cannot be traced yet"),
    ],
)
def test_what_scipy_cannot_do_with_traced_values_is_said(call, message):
    special = pytest.importorskip("scipy.special")
    with pytest.raises(ut.UnsupportedError, match=message):
        gradient(lambda x: call(special, x), np.array([0.5, 1.5]))


def test_a_function_of_scipys_is_named_by_its_name_not_by_what_stands_around_it():
    """SciPy's decorators make arrays of the arguments before the function itself is called."""
    linalg, stats = pytest.importorskip("scipy.linalg"), pytest.importorskip("scipy.stats")
    with pytest.raises(ut.UnsupportedError, match="makes a plain array of a traced value") as caught:
        gradient(lambda x: linalg.solve_sylvester(x, x, x), np.eye(2))
    assert "wrapper" not in str(caught.value) and "SciPy's" in str(caught.value)
    with pytest.raises(ut.UnsupportedError, match=r"SciPy's logpdf makes a plain array of a traced value"):
        gradient(lambda x: stats.norm.logpdf(x), np.ones(2))


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda scipy, x: scipy.linalg.cho_solve(scipy.linalg.cho_factor(x), np.ones(2)), r"Use np\.linalg\.cholesky"),
        (lambda scipy, x: scipy.integrate.solve_ivp(lambda t, y: x[0] * y, (0, 1), [1.0, 1.0]).y, "steps as a loop"),
        (
            lambda scipy, x: scipy.interpolate.CubicSpline([0, 1], x)(0.5),
            r"`.*CubicSpline`, of SciPy's, .*ut\.custom_vjp",
        ),
        (lambda scipy, x: scipy.spatial.distance.cdist(x, x), r"np\.linalg\.norm\(x\[:, None\] - y\[None\]"),
        (lambda scipy, x: scipy.stats.norm.cdf(x), r"scipy\.special\.ndtr"),
    ],
)
def test_what_stands_for_a_function_of_scipys_is_said(call, told):
    scipy = pytest.importorskip("scipy")
    for part in ("linalg", "integrate", "interpolate", "spatial.distance", "stats"):
        pytest.importorskip(f"scipy.{part}")
    with pytest.raises(ut.UnsupportedError, match=told):
        gradient(lambda x: call(scipy, x), np.eye(2))


def test_polygamma_is_scipys_and_has_a_gradient():
    special = pytest.importorskip("scipy.special")
    x = np.array([0.5, 1.5, 7.0, -0.5])
    for n in (0, 1, 2, 5):
        np.testing.assert_allclose(ut.polygamma(n, x), special.polygamma(n, x), rtol=1e-14)
        positive = x[:3]
        wanted = special.polygamma(n + 1, positive)
        np.testing.assert_allclose(gradient(lambda x, n=n: ut.polygamma(n, x), positive), wanted, rtol=1e-13)
        bp = ut.backprop(lambda x, n=n: np.sum(ut.polygamma(n, x)), positive)
        np.testing.assert_allclose(bp(positive)[1], wanted, rtol=1e-13)
    assert ut.polygamma(1, np.ones(2, np.float32)).dtype == np.float32
    for wrong in (1.5, -1, True):
        with pytest.raises(ut.ArgumentError, match="whole number of 0 or more"):
            ut.polygamma(wrong, x)


def test_emitted_source_imports_scipy_only_where_it_needs_it():
    special = pytest.importorskip("scipy.special")
    bp = ut.backprop(lambda x: np.sum(special.erf(x) * special.expit(x)), X)
    assert "\nimport scipy.special\n" in bp.source
    assert "scipy.special.erf(x)" in bp.source
    np.testing.assert_allclose(
        bp.backward(bp.forward(X)[1]), gradient(lambda x: special.erf(x) * special.expit(x), X), rtol=1e-14
    )
    assert "scipy" not in ut.backprop(lambda x: np.sum(special.expit(x)), X).source


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("x", "y", "slopes"),
    [
        (0.0, 0.5, (np.inf, -np.inf)),  # y x^(y−1) and −x^(y−2) / 4
        (1e200, 3.0, (np.inf, 6e200)),
        (-2.0, 0.5, (np.nan, np.nan)),  # Python's own power is complex here
    ],
)
def test_power_of_python_numbers_is_numpys(x: float, y: float, slopes: tuple[float, float]) -> None:
    """Where Python's ** raises an error or turns complex, the derivatives are still those that NumPy computes."""
    first = ut.grad(lambda x: np.power(x, y))
    np.testing.assert_allclose((first(x), ut.grad(first)(x)), slopes)
