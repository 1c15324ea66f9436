"""What a compiled function reads from outside: it is what NumPy would read, at every call."""

import array
import dataclasses
import functools
import subprocess
import sys
import types
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
shown = {"rate": 0.5}


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


class Inner:
    __slots__ = ("gain",)

    def __init__(self):
        self.gain = 1.0


class Net:
    """A plain class, as people write networks by hand."""

    kind = "plain"

    def __init__(self):
        self.W, self.training, self.offset, self.inner = np.ones(3), True, None, Inner()
        self.steps, self._rate, self.power = 0, 1.0, 1.0

    @property
    def rate(self):
        return self._rate

    @staticmethod
    def shifted(z):
        return z + rate

    def raised(self, z):
        return z * self.power

    def loss(self, w):
        z = w * self.W if self.training else w * self.W * 0.5
        if self.offset is not None:
            z = z + self.offset
        if self.kind == "other":
            z = z * 100
        return np.sum(self.shifted(self.raised(z)) * self.rate * self.inner.gain)


def test_attributes_of_objects_that_are_bound_anew_or_written_into(monkeypatch):
    net, x = Net(), np.array([1.0, 2.0, 3.0])
    gradient = ut.value_and_grad(net.loss, compile=True)
    compiled = [ut.compile(net.loss), lambda x: gradient(x)[0], ut.compile(lambda w: net.loss(w))]
    inner = Inner()
    inner.gain = 9.0
    changes = [
        lambda: None,
        lambda: setattr(net, "training", False),
        lambda: setattr(net, "W", np.full(3, 10.0)),
        lambda: net.W.__setitem__(0, 5.0),
        lambda: setattr(net, "offset", np.ones(3)),
        lambda: setattr(net, "kind", "other"),  # so far an attribute of the class
        lambda: setattr(net, "power", 3.0),  # which another method reads
        lambda: setattr(net, "_rate", 7.0),  # which a property reads
        lambda: setattr(net.inner, "gain", 2.0),
        lambda: setattr(net, "inner", inner),
        lambda: monkeypatch.setattr(Net, "shifted", staticmethod(lambda z: z - 1)),
    ]
    seen = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for change in changes:
            change()
            seen.append(net.loss(x))
            for f in compiled:
                np.testing.assert_allclose(f(x), seen[-1])
    assert len(set(seen)) == len(changes)  # each made a difference


def test_attributes_that_the_function_does_not_read_do_not_count():
    net = Net()
    f = ut.compile(net.loss)
    f(np.ones(3))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for net.steps in range(3):
            f(np.ones(3))


@pytest.mark.parametrize("imported", ["", "import numpy.random; numpy.random.rand()"])
@pytest.mark.parametrize("drawn", ["np.random.rand(3)", "random.random()"])
def test_the_first_numbers_that_a_process_draws_are_told_of_too(imported, drawn):
    code = f"import random, warnings\nimport numpy as np, undertow as ut\n{imported}\n" + (
        f"def f(w): return np.sum(w * {drawn})\n"
        "with warnings.catch_warnings(record=True) as told:\n"
        "    warnings.simplefilter('always')\n    ut.compile(f)(np.ones(3))\n"
        "    ut.compile(lambda w: w * 2)(np.ones(3))\n"
        "print([str(x.message)[:22] for x in told])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert found.stdout.strip() == "['f draws random numbers']", found.stderr


@pytest.mark.parametrize("dtype", ["float64", "float32", "int8", "bool", "float16"])
@pytest.mark.parametrize("size", [1025, 5003, 100_001])
def test_a_change_anywhere_in_a_large_array_is_seen(dtype, size):
    """One element, several that change alike, and a part that is filled: none of them need be among those looked at."""
    table = (np.arange(size) % 2).astype(dtype)
    f = ut.compile(lambda x: x * np.sum(table, dtype=np.float64))

    def compare():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert f(1.0) == np.sum(table, dtype=np.float64)

    compare()
    rng = np.random.default_rng(0)
    for place in rng.integers(0, size, 5):
        table[place] = not table[place]
        compare()
    table[-3:-1] = [1, 1] if not table[-2] else [0, 0]
    compare()
    table[size // 3 : size // 3 + 8] = 1
    compare()


@pytest.mark.parametrize(
    ("kept", "read", "change"),
    [
        (
            np.ma.masked_array(np.ones(3000), mask=np.arange(3000) < 5),
            lambda a: np.sum(a.filled(0.0)),
            lambda a: a.mask.__setitem__(2001, True),
        ),
        (np.ma.masked_array(np.ones(3000)), lambda a: np.sum(a.data), lambda a: a.data.__setitem__(2001, 5.0)),
        (np.asmatrix(np.ones(3000)), lambda a: np.sum(np.asarray(a)), lambda a: a.__setitem__((0, 2001), 5.0)),
        (np.ones(3000, [("a", "f4"), ("b", "i1")]), lambda a: np.sum(a["a"]), lambda a: a.__setitem__(2001, (5.0, 1))),
    ],
    ids=["mask", "masked", "matrix", "fields"],
)
def test_every_kind_of_array_is_looked_at(kept, read, change):
    f = ut.compile(lambda x: x * read(kept))
    assert f(2.0) == 2 * read(kept)
    change(kept)
    with pytest.warns(UserWarning, match="it is not what it was"):
        assert f(2.0) == 2 * read(kept)


@pytest.mark.parametrize(
    ("kept", "read", "change"),
    [
        (np.array([0.5, None], dtype=object), lambda a: a[0], lambda a: a.__setitem__(0, 2.0)),
        (bytearray(b"\x04\x02"), lambda a: a[1], lambda a: a.__setitem__(1, 9)),
        (array.array("d", [0.5]), lambda a: a[0], lambda a: a.__setitem__(0, 2.0)),
        (memoryview(bytearray(b"abcd"))[::2], lambda a: a[1], lambda a: a.__setitem__(1, 9)),
        (types.MappingProxyType(shown), lambda a: a["rate"], lambda a: shown.__setitem__("rate", 2.0)),
    ],
    ids=["objects", "bytearray", "array", "memoryview", "mappingproxy"],
)
def test_what_python_keeps_numbers_in_is_looked_at(kept, read, change):
    f = ut.compile(lambda x: x * read(kept))
    assert f(2.0) == 2 * read(kept)
    change(kept)
    with pytest.warns(UserWarning, match="it is not what it was"):
        assert f(2.0) == 2 * read(kept)


def test_globals_that_are_found_by_their_names(monkeypatch):
    f = ut.compile(lambda x: x * globals()["rate"])
    assert f(2.0) == 1.0
    monkeypatch.setitem(globals(), "rate", 0.25)
    with pytest.warns(UserWarning, match="reads rate from outside"):
        assert f(2.0) == 0.5


def test_code_that_is_exchanged_within_a_function():
    """As IPython's autoreload does where a module has changed: of the function itself, and of one that it calls."""

    def inner(x):
        return 2 * x

    def other(x):
        return 3 * x

    def outer(x):
        return np.sum(inner(x)) + 1

    def another(x):
        return np.sum(inner(x)) + 5

    f, x = ut.compile(outer), np.arange(3.0)
    assert f(x) == 7
    inner.__code__ = other.__code__
    with pytest.warns(UserWarning, match="reads inner from outside"):
        assert f(x) == 10
    outer.__code__ = another.__code__
    with pytest.warns(UserWarning, match=r"outer \(.*\) has other code than when it was compiled"):
        assert f(x) == 14


@pytest.mark.parametrize("kind", ["method", "partial", "object"])
def test_code_that_is_exchanged_within_what_is_called(kind):
    class Doubling:
        def __call__(self, x):
            return 2 * np.sum(x)

    def tripling(self, x):
        return 3 * np.sum(x)

    made = Doubling()
    given = {"method": made.__call__, "partial": functools.partial(Doubling.__call__, made), "object": made}[kind]
    f, x = ut.compile(given), np.arange(3.0)
    assert f(x) == 6
    Doubling.__call__.__code__ = tripling.__code__
    with pytest.warns(UserWarning, match="has other code than when it was compiled"):
        assert f(x) == 9


def test_what_cannot_be_hashed_or_shows_itself_is_read():
    octets, inner = np.array([np.void(b"abc")], dtype=object), {"rate": 0.5}
    inner["self"] = shown = types.MappingProxyType(inner)
    assert ut.compile(lambda x: x * len(octets[0].tobytes()) * shown["rate"])(2.0) == 3


def test_arrays_with_fields_of_objects_are_read():
    array = np.zeros(3000, [("a", float), ("b", object)])
    array["a"] = 0.5
    assert ut.compile(lambda x: x * np.sum(array["a"]))(2.0) == 3000


def test_values_of_a_function_that_is_being_traced_around():
    """A compiled function that reads one is part of that function, as without compiling; the values are by hand."""

    def inner(x):  # x · d/dy (x y³) at 2 = 12 x²
        return x * ut.grad(lambda y: x * y**3, compile=True)(2.0)

    def row(x):  # Σ sin(x y)
        return ut.compile(lambda y: np.sum(np.sin(x * y)))(np.arange(3.0))

    def with_aux(x):  # 4x and x²
        slope, kept = ut.grad(lambda y: (x * y * y, x * x), has_aux=True, compile=True)(2.0)
        return slope + kept

    for f, value, slope in (
        (inner, 12 * 0.7**2, 24 * 0.7),
        (row, np.sin(0.7) + np.sin(1.4), np.cos(0.7) + 2 * np.cos(1.4)),
        (with_aux, 4 * 0.7 + 0.7**2, 4 + 2 * 0.7),
    ):
        np.testing.assert_allclose([f(0.7), ut.compile(f)(0.7)], value)
        for compile in (False, True):
            np.testing.assert_allclose(ut.value_and_grad(f, compile=compile)(0.7), (value, slope))


def test_a_value_that_outlives_its_trace_is_told_of_with_the_line():
    kept = []
    ut.grad(lambda x: kept.append(x * 2) or x * x)(1.0)
    for f in (ut.compile(lambda y: y * kept[0]), ut.grad(lambda y: y * kept[0], compile=True)):
        with pytest.raises(ut.EscapedTracerError, match=r"test_outside\.py:\d+: a traced value is used after"):
            f(2.0)


def test_a_program_of_a_value_of_another_function_is_refused():
    with pytest.raises(ut.EscapedTracerError, match=r"\(test_outside\.py:\d+\) uses x, .* Pass it as an argument"):
        ut.grad(lambda x: ut.backprop(lambda y: x * y, 2.0).forward(2.0)[0])(1.0)
