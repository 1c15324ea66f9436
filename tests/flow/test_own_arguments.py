"""What a loss of a loop of one's own is given beside arrays: flags, names, functions, nothing."""

from dataclasses import dataclass

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


def test_parameters_hold_flags_names_and_functions_too():
    """As `value_and_grad` takes them; the gradient is by the numbers, and has the rest as it was."""

    def by_settings(p, X, y):
        z = p["squash"](X @ p["W"]) if p["kind"] == "squashed" else X @ p["W"]
        return np.mean((z + p["b"] - y) ** 2) if p["bias"] and p["of"] == {1, 2} else np.mean((z - y) ** 2)

    params = {"W": RNG.normal(size=5), "b": 0.5, "squash": np.tanh, "of": {1, 2}, "none": None}
    for kind, bias in (("squashed", True), ("plain", True), ("plain", False), ("squashed", False)):
        measured = ut.flow.recorded(by_settings)
        given = params | {"kind": kind, "bias": bias}
        for _ in range(3):
            value, gradient = measured(given, X, Y)
            assert value == pytest.approx(by_settings(given, X, Y))
            for name, e in [("W", e) for e in np.eye(5)] + [("b", 1.0)]:
                sides = [by_settings(given | {name: given[name] + step * e}, X, Y) for step in (1e-6, -1e-6)]
                assert np.vdot(gradient[name], e) == pytest.approx((sides[0] - sides[1]) / 2e-6, abs=1e-7)
            assert {k: v for k, v in gradient.items() if k not in "Wb"} == {
                k: v for k, v in given.items() if k not in "Wb"
            }
            given = given | {"W": given["W"] - 0.1 * gradient["W"], "b": given["b"] - 0.1 * gradient["b"]}
        names = [layer.name for layer in measured.flow.layers]
        assert names[-2:] == ["W", "b"] and set(names) <= {"X @ W", "X @ W + b", "W", "b"} and len(measured.flow) == 2


def test_a_flag_among_the_arrays_of_a_layer_is_left_as_it_is_in_training():
    """In a list, which is looked into: the layer trains as one without the flag."""

    @dataclass
    class Line:
        W: np.ndarray
        doubled: list[bool]

        def __call__(self, x):
            return x @ self.W * (2 if self.doubled[0] else 1)

    def train(doubled, W, rate):
        model = ut.nn.Sequential(Line(W, [doubled]))
        rule = ut.optim.sgd(rate)
        return ut.train(model, (X, Y[:, None]), loss="mean_squared_error", optimizer=rule, epochs=3, progress=False)

    W = RNG.normal(size=(5, 1))
    plain, doubled = train(False, W, 0.2), train(True, W / 2, 0.05)
    np.testing.assert_allclose(2 * doubled.model.layers[0].W, plain.model.layers[0].W, rtol=1e-9)
    assert doubled.model.layers[0].doubled == [True]
