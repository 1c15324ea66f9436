"""Wherever a function finds what it reads from outside, its compiled form sees that it changed, as NumPy does."""

import argparse
import copy
import dataclasses
import enum
import functools
import sys
import types
import warnings
from itertools import pairwise

import numpy as np
import pytest

import undertow as ut

X = np.array([1.0, 2.0, 3.0])


class Mode(enum.Enum):
    PLAIN = 1
    OTHER = 2


class Scale:
    def __init__(self, gain=2.0):
        self.gain = gain

    def __call__(self, z):
        return z * self.gain

    def __getitem__(self, i):
        return self.gain + i

    def __iter__(self):
        return iter([self.gain])


class Shift:
    """Of another class than Scale, with other attributes and globals."""

    def __init__(self, offset):
        self.offset = offset

    def __call__(self, z):
        return z + self.offset * slope


class Base:
    def moved(self, z):
        return z + self.offset


class Net(Base):
    def __init__(self):
        self.offset, self.head, self.layers, self.named = 1.0, Scale(), [Scale(), Scale()], {"a": Scale()}
        self.act, self.ops, self.W0 = np.tanh, [np.sin], 1.0

    def moved(self, z):
        return super().moved(z) * 2

    def through(self, z):
        for layer in [*self.layers, *self.named.values(), self.head]:
            z = layer(z)
        return self.act(z) + self.ops[0](z)

    def by_names(self, z):
        return z * getattr(self, f"W{0}") + vars(self)["offset"] + self.__dict__["W0"]

    def by_name(self, z):
        return z * getattr(self, "W0")  # noqa: B009

    def masked(self, z):
        return z * self.mask if hasattr(self, "mask") else z


@dataclasses.dataclass
class Record:
    rate: float = 1.0
    kind: str = "a"
    act: object = np.tanh

    def __call__(self, z):
        return self.act(z) * self.rate * slope * (2 if self.kind == "a" else 3)


class DotDict(dict):
    def __getattr__(self, name):
        if name.startswith("__"):  # pytest looks for examples in each object, and asks it for __wrapped__
            raise AttributeError(name)
        return self[name]


# What the functions below read. Each test begins with these values.
slope, zero, word, turns, part = 1.0, 0.0, b"a", range(2), slice(0, 2)
mode, act, dtype, clipped = Mode.PLAIN, np.tanh, np.float32, functools.partial(np.clip, a_min=0, a_max=2)
chosen, table, first, second, dots = {"a"}, {"a": 1.0}, {"gain": 1.0}, {"gain": 2.0}, DotDict(rate=1.0)
spaces, options = types.SimpleNamespace(rate=1.0), argparse.Namespace(rate=1.0)
array, many = np.ones(3), [0.0] * 600
NAMES = (
    "slope", "zero", "word", "turns", "part", "mode", "act", "dtype", "clipped", "chosen", "table", "first", "second",
    "dots", "spaces", "options", "array", "many",
)  # fmt: skip
BEGIN = {name: globals()[name] for name in NAMES}


def decorated(f):
    @functools.wraps(f)
    def inner(z):
        return f(z) * slope

    return inner


def weighed(z):
    return z * weighed.weight


def imports(z):
    import elsewhere as module
    from elsewhere import shift

    return z * module.rate + shift


elsewhere = types.ModuleType("elsewhere")
elsewhere.__file__ = "elsewhere.py"


def made(known):
    return lambda z: z * known["gain"]


def both(a, b):
    return lambda z: a(b(z))


def begin(monkeypatch):
    for name, value in BEGIN.items():
        monkeypatch.setitem(globals(), name, copy.copy(value))
    monkeypatch.setitem(sys.modules, "elsewhere", elsewhere)
    elsewhere.rate, elsewhere.shift, weighed.weight = 1.0, 2.0, 1.0
    return Net(), Record(), Scale()


def put(name, value):
    return lambda: globals().__setitem__(name, value)


def power(z):
    return np.sum(z**3) * slope


compiled_power = ut.value_and_grad(power, compile=True)


def by_turns(z):
    for _ in turns:
        z = z * 2
    return z


def cases():
    """For each: a function of the objects that makes the function, and what makes the changes."""
    yield "super", lambda n, r, s: n.moved, lambda n, r, s: [lambda: setattr(n, "offset", 5.0)]
    yield "layers in containers", lambda n, r, s: n.through, lambda n, r, s: [
        lambda: setattr(n.head, "gain", 3.0), lambda: setattr(n.layers[1], "gain", -0.1),
        lambda: setattr(n.named["a"], "gain", 0.4), lambda: n.layers.append(Scale(0.7)),
        lambda: setattr(n.layers[2], "gain", 0.9), lambda: setattr(n, "head", Shift(0.2)),
        lambda: setattr(n.head, "offset", 0.3), put("slope", 4.0), lambda: setattr(n, "act", np.cos),
        lambda: n.ops.__setitem__(0, np.exp), lambda: n.layers.pop(), lambda: n.named.update(b=Scale(1.1)),
    ]  # fmt: skip
    yield "names made up", lambda n, r, s: n.by_names, lambda n, r, s: [
        lambda: setattr(n, "W0", 2.0), lambda: setattr(n, "offset", 3.0)
    ]  # fmt: skip
    yield "getattr", lambda n, r, s: n.by_name, lambda n, r, s: [lambda: setattr(n, "W0", 2.0)]
    yield "hasattr", lambda n, r, s: n.masked, lambda n, r, s: [lambda: setattr(n, "mask", np.array([0.0, 1.0, 0.0]))]
    yield "dataclass", lambda n, r, s: r, lambda n, r, s: [
        lambda: setattr(r, "rate", 2.0), lambda: setattr(r, "kind", "b"), lambda: setattr(r, "act", np.sin),
        put("slope", 3.0),
    ]  # fmt: skip
    yield "operators", lambda n, r, s: lambda z: z * s[1] + sum(s), lambda n, r, s: [lambda: setattr(s, "gain", 7.0)]
    yield "defaults", lambda n, r, s: lambda z, s=s, a=array: s(z) * a, lambda n, r, s: [
        lambda: setattr(s, "gain", 7.0), lambda: array.__setitem__(0, 9.0)
    ]  # fmt: skip
    yield "bound arguments", lambda n, r, s: functools.partial(lambda s, a, z: s(z) * a, s, array), lambda n, r, s: [
        lambda: setattr(s, "gain", 7.0), lambda: array.__setitem__(0, 9.0)
    ]  # fmt: skip
    yield "decorator", lambda n, r, s: decorated(s.__call__), lambda n, r, s: [
        put("slope", 3.0), lambda: setattr(s, "gain", 5.0)
    ]  # fmt: skip
    yield "two of one code", lambda n, r, s: both(made(first), made(second)), lambda n, r, s: [
        lambda: first.update(gain=3.0), lambda: second.update(gain=5.0)
    ]  # fmt: skip
    yield "compiled functions", lambda n, r, s: both(ut.compile(decorated(s)), np.cos), lambda n, r, s: [
        put("slope", 3.0), lambda: setattr(s, "gain", 5.0)
    ]  # fmt: skip
    for name, g in {
        "grad": ut.grad(power), "hvp": lambda z: ut.hvp(power)(z, z), "a made hvp": functools.partial(ut.hvp(power), X),
        "compiled grad": lambda z: compiled_power(z)[1] + 0,
    }.items():  # fmt: skip
        yield name, lambda n, r, s, g=g: lambda z: g(z), lambda n, r, s: [put("slope", 3.0)]
    for name, f, *changes in [
        ("attributes of a function", lambda z: weighed(z), lambda: setattr(weighed, "weight", 3.0)),
        ("imports within", imports, *[lambda x=x: setattr(elsewhere, x, 3.0) for x in ("rate", "shift")]),
        ("enum", lambda z: z if mode is Mode.PLAIN else -z, put("mode", Mode.OTHER)),
        ("set", lambda z: -z if "b" in chosen else z, lambda: chosen.add("b")),
        ("keys", lambda z: -z if "b" in table else z, put("table", {"b": 1.0})),
        ("sign of zero", lambda z: np.copysign(z, zero), put("zero", -0.0)),
        ("SimpleNamespace", lambda z: z * spaces.rate, lambda: setattr(spaces, "rate", 3.0)),
        ("argparse", lambda z: z * options.rate, lambda: setattr(options, "rate", 3.0)),
        ("dict with dots", lambda z: z * dots.rate, lambda: dots.update(rate=3.0)),
        ("bytes", lambda z: -z if word == b"b" else z, put("word", b"b")),
        ("range", by_turns, put("turns", range(4))),
        ("slice", lambda z: z[part] + 0, put("part", slice(1, 3))),
        ("dtype", lambda z: z.astype(dtype) / 3, put("dtype", np.float16)),
        ("ufunc", lambda z: act(z), put("act", np.sin)),
        ("partial", lambda z: clipped(z), put("clipped", functools.partial(np.clip, a_min=0, a_max=1))),
        ("list", lambda z: z * sum(many), put("many", [0.0] * 599 + [1.0])),
    ]:
        yield name, lambda n, r, s, f=f: f, lambda n, r, s, changes=changes: changes


CASES = {name: (make, changes) for name, make, changes in cases()}


@pytest.mark.parametrize("name", CASES)
def test_what_changed_outside_is_seen_at_the_next_call(name, monkeypatch):
    objects = begin(monkeypatch)
    make, changes = CASES[name]
    f = make(*objects)
    compiled, seen = ut.compile(f), [f(X)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        np.testing.assert_allclose(compiled(X), seen[0], rtol=1e-6)
        for change in changes(*objects):
            change()
            seen.append(f(X))
            np.testing.assert_allclose(compiled(X), seen[-1], rtol=1e-6)
    for before, after in pairwise(seen):
        assert not np.array_equal(before, after)  # each made a difference
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        compiled(X)


@pytest.mark.parametrize("kind", [Scale, lambda: {"b"}, lambda: DotDict(gain=2.0)])
def test_objects_that_are_arguments_are_looked_into(kind):
    def f(z, given):
        return z * (len(given) if isinstance(given, set) else given.gain)

    compiled, given = ut.compile(f), kind()
    np.testing.assert_array_equal(compiled(X, given), f(X, given))
    for change in (
        (lambda: setattr(given, "gain", 5.0)) if isinstance(given, Scale)
        else (lambda: given.add("c")) if isinstance(given, set)
        else (lambda: given.update(gain=5.0)),
    ):  # fmt: skip
        change()
        with pytest.warns(UserWarning, match=f"reads the {type(given).__name__}.* from outside, and it is not what"):
            np.testing.assert_array_equal(compiled(X, given), f(X, given))


def test_functions_that_are_arguments_are_looked_into(monkeypatch):
    compiled = ut.compile(lambda g, z: g(z))
    gradient = ut.value_and_grad(lambda z, g: g(z), compile=True)
    for value in (1.0, 4.0):
        monkeypatch.setitem(globals(), "slope", value)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert compiled(power, X) == power(X)
            assert gradient(X, power)[0] == power(X)


def test_objects_that_come_and_go_are_not_taken_for_each_other():
    """Where one is gone the next may have its id."""
    compiled = ut.compile(lambda z, names: z * len(names))
    for n in range(20):
        np.testing.assert_array_equal(compiled(X, set(range(n))), X * n)


def test_objects_that_hold_each_other_have_an_end():
    inner, outer = Scale(), Net()
    inner.outer, outer.layers = outer, [inner, [outer]]
    compiled = ut.compile(lambda z: inner.outer.layers[0](z) * outer.layers[1][0].offset)
    for inner.gain, outer.offset in ((2.0, 3.0), (5.0, 3.0), (5.0, 7.0)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            np.testing.assert_array_equal(compiled(X), X * inner.gain * outer.offset)
