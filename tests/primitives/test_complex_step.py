"""Functions that a complex step passes through: right, or refused, and never without the imaginary part."""

import numpy as np
import pytest

import undertow as ut
from undertow import primitives as P

Z = np.array([-3 + 1e-3j, -1 + 1j, 0.5 - 2j, 3 + 1j, 0j, 2 + 3j])


def test_the_softplus_takes_complex_numbers():
    np.testing.assert_allclose(P.softplus(Z), np.log(1 + np.exp(Z)), rtol=1e-14)
    far = np.array([-1000 + 1e-200j, 1000 + 1e-200j])
    np.testing.assert_allclose(P.softplus(far), [0, 1000 + 1e-200j], atol=1e-300)


def test_its_complex_step_is_its_gradient():
    x = np.linspace(-30, 30, 61)
    wanted = ut.grad(lambda x: np.sum(P.softplus(x)))(x)
    np.testing.assert_allclose(np.imag(P.softplus(x + 1e-40j)) / 1e-40, wanted, rtol=1e-13)
    report = ut.check_gradient(lambda x: np.sum(P.softplus(x) * P.softplus(-x)), x[::7])
    assert report and {row.method for row in report.rows} == {"complex step"}


@pytest.mark.parametrize("f", [P.softmax, P.log_softmax], ids=["softmax", "log_softmax"])
def test_others_refuse_them(f):
    with pytest.raises(ut.DTypeError, match="x is complex128 numbers"):
        f(Z, axis=0)


def test_the_sigmoid_refuses_them_and_is_checked_by_differences():
    with pytest.raises(ut.DTypeError, match="x is complex128 numbers"):
        P.sigmoid(Z)
    report = ut.check_gradient(lambda x: np.sum(P.sigmoid(x) ** 2), np.array([0.3, -2.0, 36.0]))
    assert report and {row.method for row in report.rows} == {"differences"}
