"""What a loss of a loop of one's own reads from outside of its arguments, and what changes there between steps."""

import warnings

import numpy as np
import pytest

import undertow as ut

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(40, 4)), RNG.normal(size=40)
power = 2.0
mask = np.ones(4)
options = {"power": 2.0}


class Settings:
    """An object whose fields are rebound; two of them are equal only where they are the same one."""

    def __init__(self, power: float) -> None:
        self.power = power

    def loss(self, w, X, y):
        """A method reads its object."""
        return np.mean(np.abs(X @ w - y) ** self.power)


class Unhashable(Settings):
    """The same, with which no dictionary can be asked."""

    __hash__ = None


def by_global(w, X, y):
    return np.mean(np.abs(X @ w - y) ** power)


def by_array(w, X, y):
    return np.mean((X @ (w * mask) - y) ** 2)


def by_entry(w, X, y):
    return np.mean(np.abs(X @ w - y) ** options["power"])


def by_object(w, X, y, settings):
    return np.mean(np.abs(X @ w - y) ** settings.power)


def change(step: int, settings: Settings) -> None:
    """Let something else stand everywhere."""
    global power
    power = options["power"] = settings.power = (2.0, 4.0, 3.0)[step % 3]
    mask[:] = RNG.random(4)


METHOD = Settings(2.0)


@pytest.mark.parametrize("kind", [Settings, Unhashable])
@pytest.mark.parametrize("loss", [by_global, by_array, by_entry, by_object, METHOD.loss])
def test_each_step_has_the_gradient_of_the_loss_as_it_is_then(loss, kind):
    """As finite differences have it, and as `value_and_grad` warns."""
    settings = kind(2.0)
    more = (settings,) if loss is by_object else ()
    measured, w = ut.flow.recorded(loss), RNG.normal(size=4)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for step in range(5):
            change(step, METHOD if loss == METHOD.loss else settings)
            value, gradient = measured(w, X, Y, *more)
            sides = [(loss(w + 1e-6 * e, X, Y, *more), loss(w - 1e-6 * e, X, Y, *more)) for e in np.eye(4)]
            assert value == pytest.approx(loss(w, X, Y, *more), rel=1e-12)
            np.testing.assert_allclose(gradient, [(a - b) / 2e-6 for a, b in sides], rtol=1e-5, atol=1e-6)
            w = w - 0.01 * gradient
    assert len(measured.flow) == 4
    assert sum("from outside, and it is not what it was" in str(x.message) for x in said) >= 2


@pytest.mark.parametrize("make", [lambda power: {power}, Unhashable])
def test_objects_that_are_made_anew_for_each_step_are_told_apart(make):
    """Where one is let go, the next may come to lie in its place."""

    def loss(w, X, y, given):
        given = next(iter(given)) if isinstance(given, set) else given.power
        return np.mean(np.abs(X @ w - y) ** given)

    measured, w = ut.flow.recorded(loss), np.ones(4)
    for power in (2.0, 4.0, 2.0, 3.0):
        assert measured(w, X, Y, make(power))[0] == pytest.approx(loss(w, X, Y, make(power)), rel=1e-12)


def test_targets_are_measured_by_the_loss_as_it_is_now():
    """Of squares at first and at the end, by outputs that a table from outside shifts: what is learned is of these."""
    shift = {"by": 0.0}

    def loss(w, X, y):
        return np.mean((X @ w + shift["by"] - y) ** 2)

    measured, w = ut.flow.recorded(loss), RNG.normal(size=4)
    measured(w, X, Y)
    for by in (0.0, 5.0):
        shift["by"] = by
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            measured(w, X, Y)
        learned = 1 - np.sum((X @ w + by - Y) ** 2) / np.sum((Y - Y.mean()) ** 2)
        assert measured.flow.facts["squares"]["learned"] == pytest.approx(learned, rel=1e-9)


def test_layers_are_found_by_what_they_read_where_another_comes_between():
    """What is recorded of the last layer stays its own: δ of a mean square is 2 (z − y) by the number of them."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(30, 4)), rng.normal(size=(30, 1))
    p = {"W": rng.normal(size=(4, 5)), "A": rng.normal(size=(5, 5)), "V": rng.normal(size=(5, 1))}

    def loss(p, X, y):
        h = np.tanh(X @ p["W"])
        h = np.tanh(h @ p["A"]) if deep else h
        return np.mean((h @ p["V"] - y) ** 2)

    def expected():
        h = np.tanh(X @ p["W"])
        h = np.tanh(h @ p["A"]) if deep else h
        return np.sqrt(np.mean((2 * (h @ p["V"] - y) / len(y)) ** 2))

    for order in ((False, True, False), (True, False, True)):
        measured, told = ut.flow.recorded(loss), []
        for deep in order:  # noqa: B007  (the loss reads it)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that the loss is compiled again
                measured(p, X, y)
            told.append(expected())
        measured(p, X, y)
        flow = measured.flow
        last = next(i for i, x in enumerate(flow.layers) if x.kind == "product" and x.reads == "V")
        np.testing.assert_allclose(flow.stat("delta.rms")[:, last], told, rtol=1e-6)  # a record is float32
        between = [i for i, x in enumerate(flow.layers) if x.kind == "product" and x.reads == "A"]
        assert all(np.isnan(flow.stat("delta.rms")[~np.array(order), i]).all() for i in between)
        assert bool(between) == order[0]
