"""What a loss of a loop of one's own is given beside arrays: flags, names, functions, nothing."""

import numpy as np
import pytest

import undertow as ut

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(60, 5)), RNG.normal(size=60)


def loss(w, X, how, y):
    """Another function for another flag or name."""
    p = X @ w
    p = how(p) if callable(how) else np.tanh(p) if how in (True, "tanh") else p
    return np.mean((p - y) ** 2)


@pytest.mark.parametrize("hows", [(True, False), ("tanh", "line"), (np.tanh, np.sin), (None, "tanh"), (slice(3), True)])
def test_a_flag_name_or_function_is_recorded_with_the_value_that_it_has_in_each_step(hows):
    """As finite differences and `value_and_grad` have them; the targets are known behind it."""
    measured, w = ut.flow.recorded(loss), RNG.normal(size=5)
    for how in hows * 3:
        value, gradient = measured(w, X, how, Y)
        expected = ut.value_and_grad(loss)(w, X, how, Y)
        assert value == pytest.approx(expected[0]) and np.allclose(gradient, expected[1])
        slope = [(loss(w + 1e-6 * e, X, how, Y) - loss(w - 1e-6 * e, X, how, Y)) / 2e-6 for e in np.eye(5)]
        np.testing.assert_allclose(gradient, slope, rtol=1e-5, atol=1e-7)
        w = w - 0.05 * gradient
    flow = measured.flow
    assert len(flow) == 5 and flow.facts["squares"]["std"] == [pytest.approx(Y.std())]
    np.testing.assert_allclose(flow.facts["columns"]["std_range"], [X.std(axis=0).min(), X.std(axis=0).max()])
    assert flow.facts["dealt"]["rows"] == 6 * 60
