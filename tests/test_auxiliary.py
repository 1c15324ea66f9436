"""`value_and_grad(f, has_aux=True)`: what a loss gives besides its value is passed on."""

import numpy as np
import pytest

import undertow as ut

RNG = np.random.default_rng(0)
W, X = RNG.normal(size=(3, 2)), RNG.normal(size=(5, 3))


def loss(params, X, scale=1.0):
    h = np.tanh(X @ params["W"]) * scale
    return np.sum(h**2), {"h": h, "best": np.argmax(h, axis=1), "X": X, "W": params["W"], "n": 3}


def by_hand(W, X):
    h = np.tanh(X @ W)
    return h, X.T @ (2 * h * (1 - h**2))


@pytest.mark.parametrize("compile", [False, True])
def test_value_and_gradient_are_those_of_the_first_and_the_others_are_passed_on(compile):
    both = ut.value_and_grad(loss, has_aux=True, compile=compile)
    for x in (X, X[:3]):
        h, dW = by_hand(W, x)
        (value, aux), gradient = both({"W": W}, X=x)
        np.testing.assert_allclose(value, np.sum(h**2), rtol=1e-12)
        np.testing.assert_allclose(gradient["W"], dW, rtol=1e-12)
        np.testing.assert_allclose(aux["h"], h, rtol=1e-12)
        np.testing.assert_array_equal(aux["best"], np.argmax(h, axis=1))
        np.testing.assert_array_equal(aux["X"], x)
        assert aux["n"] == 3
        assert not np.shares_memory(aux["W"], W)
        aux["h"][:] = 0  # an array of its own


def test_the_gradient_alone_has_the_others_beside_it():
    gradient, aux = ut.grad(loss, has_aux=True)({"W": W}, X)
    np.testing.assert_allclose(gradient["W"], by_hand(W, X)[1], rtol=1e-12)
    np.testing.assert_allclose(aux["h"], by_hand(W, X)[0], rtol=1e-12)


def test_several_arguments():
    (value, aux), (dx, dy) = ut.value_and_grad(lambda x, y: (x * y, x + y), wrt=(0, 1), has_aux=True)(2.0, 5.0)
    assert (value, aux, dx, dy) == (10.0, 7.0, 5.0, 2.0)


def test_both_can_be_differentiated_again():
    def inner(x):
        return ut.grad(lambda y: (y**3, y**4), has_aux=True)(x)

    assert ut.grad(lambda x: inner(x)[0])(2.0) == 6 * 2.0
    assert ut.grad(lambda x: inner(x)[1])(2.0) == 4 * 2.0**3


@pytest.mark.parametrize("compile", [False, True])
def test_the_state_of_a_recurrent_network_is_carried_on(compile):
    """Two pieces of a sequence, with the state handed over, give the values of the whole."""

    def run(w, x, h):
        total = 0.0
        for t in range(x.shape[0]):
            h = np.tanh(w * h + x[t])
            total = total + np.sum(h**2)
        return total, h

    x, h = RNG.normal(size=(6, 4)), np.zeros(4)
    step = ut.value_and_grad(run, has_aux=True, compile=compile)
    (first, between), _ = step(0.5, x[:3], h)
    (second, end), slope = step(0.5, x[3:], between)
    total, whole = run(0.5, x, h)
    np.testing.assert_allclose(first + second, total, rtol=1e-12)
    np.testing.assert_allclose(end, whole, rtol=1e-12)
    step_size = 1e-20  # the complex step
    np.testing.assert_allclose(slope, run(0.5 + step_size * 1j, x[3:], between)[0].imag / step_size, rtol=1e-10)


@pytest.mark.parametrize(
    ("f", "told"),
    [
        (lambda x: x * x, "returned one value, not a pair"),
        (lambda x: (x, x, x), "returned a tuple of 3, not a pair"),
        (lambda x: [x, x], "returned list, not a pair"),
        (lambda x: (np.array([1.0, 2.0]) * x, x), r"returned an array of shape \(2,\), not one number"),
    ],
)
@pytest.mark.parametrize("compile", [False, True])
def test_what_is_no_pair_is_refused(f, told, compile):
    with pytest.raises(ut.errors.NonScalarError, match=told):
        ut.value_and_grad(f, has_aux=True, compile=compile)(2.0)


def test_a_pair_without_it_is_told_of_it():
    with pytest.raises(ut.errors.NonScalarError, match=r"returned tuple, not one number.* or give has_aux=True"):
        ut.grad(lambda x: (x * x, x))(2.0)
