"""What a compiled function reads from outside: it is what NumPy would read, at every call."""

import dataclasses
import warnings

import numpy as np
import pytest

import undertow as ut

rate = 0.5
weights = np.ones(3)
tables = {"a": np.ones(3), "b": [1.0, 2.0]}
counter = 0
log: list = []
size = 3


def helper(x):
    return x * rate + tables["a"]


@dataclasses.dataclass
class Layer:
    W: np.ndarray

    def __call__(self, x):
        return x * self.W


layer = Layer(np.full(3, 2.0))


def both(f):
    """The function compiled, and with its gradient: the second is that of the sum."""
    gradient = ut.value_and_grad(lambda x: np.sum(f(x)), compile=True)
    return ut.compile(f), lambda x: gradient(x)[0]


def agree(f, compiled, x):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        np.testing.assert_allclose(compiled[0](x), f(x))
        np.testing.assert_allclose(compiled[1](x), np.sum(f(x)))


def test_globals_that_are_bound_anew_or_written_into(monkeypatch):
    x = np.arange(3.0)

    def f(x):
        return helper(x) + layer(x) * weights + tables["b"][1]

    compiled = both(f)
    agree(f, compiled, x)
    changes = [
        lambda: monkeypatch.setitem(globals(), "rate", 0.25),
        lambda: monkeypatch.setitem(globals(), "weights", np.zeros(3)),
        lambda: weights.__setitem__(1, 7.0),
        lambda: tables["a"].__iadd__(1),
        lambda: tables["b"].__setitem__(1, -5.0),
        lambda: setattr(layer, "W", np.full(3, -1.0)),
        lambda: monkeypatch.setitem(globals(), "helper", lambda x: x - 1),
        lambda: monkeypatch.setitem(globals(), "rate", 0.5),
    ]
    for change in changes:
        change()
        agree(f, compiled, x)


def test_variables_of_the_function_around():
    scale, large = 2.0, np.ones((300, 300))

    def f(x):
        return x * scale + large[0, :3]

    compiled, x = both(f), np.arange(3.0)
    agree(f, compiled, x)
    scale = 3.0
    agree(f, compiled, x)
    large -= 0.5
    agree(f, compiled, x)


def test_what_changed_is_named_once_and_nothing_is_said_without_need():
    step = 1.0
    f = ut.compile(lambda x: x * step)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        f(np.ones(2)), f(np.ones(2)), f(np.ones(3))
    step = 2.0
    with pytest.warns(
        UserWarning, match=r"reads step from outside, and it is not what it was, so the function is comp"
    ):
        f(np.ones(2))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        f(np.ones(2))


def test_what_the_function_changes_itself_and_names_of_attributes_do_not_count():
    def f(x):
        global counter
        counter += 1
        log.append(1)
        return x * x.size

    compiled, before = ut.compile(f), counter
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for n in range(5):
            globals()["size"] = n
            compiled(np.ones(2))
    assert counter == before + 1  # traced once
    globals()["size"] = 3


def test_a_value_that_changes_often_does_not_keep_every_program():
    step = 0.0
    f = ut.compile(lambda x: x + step)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for n in range(12):
            step = float(n)
            assert f(np.zeros(1))[0] == n
    assert len(f._known) <= 4
