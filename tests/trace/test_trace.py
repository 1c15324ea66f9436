"""A tracer behaves like the array it stands for: dtypes, methods, constants; and says so where it cannot."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import undertow as ut
from undertow.graph import evaluate
from undertow.trace import Tracer, argument_names, trace_function

X = np.array([[0.5, -1.0, 2.0], [1.5, 0.25, -0.75]])
PASSES = {
    "grad": lambda f, *args: ut.grad(f)(*args),
    "backprop": lambda f, *args: ut.backprop(f, *args)()[1],
}
both = pytest.mark.parametrize("run", PASSES.values(), ids=PASSES.keys())


def traced_value(f: Any, *args: Any) -> Any:
    graph = trace_function(f, args).graph
    return evaluate(graph, args)[0]


# ---- dtypes --------------------------------------------------------------------------------------

MIXED: dict[str, Any] = {
    "plus int": lambda x: x + 1,
    "plus float": lambda x: 2.5 + x,
    "power": lambda x: x**2,
    "power of a float": lambda x: np.abs(x) ** 0.5,
    "number to an array": lambda x: 2.0**x,
    "divide": lambda x: x / 3,
    "reflected divide": lambda x: 1 / (x + 3),
    "python numbers first": lambda x: (2 * 3.5) * x,
    "mean": lambda x: np.mean(x, axis=0),
    "maximum": lambda x: np.maximum(x, 0),
    "where": lambda x: np.where(x > 0, x, 0.1 * x),
    "where of numbers": lambda x: x * np.where(x > 0, 1, 0),
    "bool": lambda x: x * (x > 0),
    "sqrt of a size": lambda x: x / math.sqrt(x.shape[1]),
    "float64 number": lambda x: x * np.float64(2),
    "float64 array": lambda x: x * np.array([1.0, 2.0, 3.0]),
    "int64 array": lambda x: x * np.array([1, 2, 3]),
    "int8 array": lambda x: x * np.array([1, 2, 3], np.int8),
    "float32 array": lambda x: x * np.array([1, 2, 3], np.float32),
    "uint8 array": lambda x: x + np.array([1, 2, 255], np.uint8),
    "0-d array": lambda x: x * np.array(2.0),
    "astype": lambda x: x.astype(np.float64) * 2,
    "linspace": lambda x: x * np.linspace(0, 1, 3, dtype=np.float32),
    "clip": lambda x: np.clip(x, -1, 1),
    "var": lambda x: np.var(x, axis=1),
    "sum of bools": lambda x: np.sum(x > 0) * x,
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", MIXED)
def test_dtypes_follow_numpys_promotion(name: str, dtype: Any) -> None:
    """Python numbers are weak, everything else promotes as in NumPy; the gradient has the argument's dtype."""
    f, x = MIXED[name], X.astype(dtype)
    wanted = f(x)
    found = traced_value(f, x)
    assert np.asarray(found).dtype == wanted.dtype
    np.testing.assert_array_equal(found, wanted)
    seen: list[Any] = []

    def loss(x: Any) -> Any:
        out = f(x)
        seen.append(out.dtype)
        return np.sum(out)

    assert ut.grad(loss)(x).dtype == dtype
    bp = ut.backprop(loss, x)
    assert bp()[1].dtype == dtype
    assert bp.backward(bp.forward(x)[1]).dtype == dtype
    assert set(seen) == {wanted.dtype}


def test_python_arguments_stay_weak() -> None:
    """A Python float argument does not promote a float32 array, and its gradient is a Python float."""
    x = X.astype(np.float32)

    def f(x: Any, rate: Any) -> Any:
        out = x * rate
        assert out.dtype == np.float32
        return np.sum(out)

    assert ut.grad(f)(x, 0.5).dtype == np.float32
    rate = ut.grad(f, wrt=1)(x, 0.5)
    assert type(rate) is float
    np.testing.assert_allclose(rate, X.sum(), rtol=1e-6)
    assert traced_value(lambda x, rate: x * rate, x, 0.5).dtype == np.float32


# ---- constants -----------------------------------------------------------------------------------


@both
def test_constants_are_copied(run: Any) -> None:
    """A write to an array after it was used changes nothing in what was recorded."""
    weights = np.array([1.0, 2.0, 3.0])

    def f(x: Any) -> Any:
        out = np.sum(x * weights)
        weights[:] = 0
        return out

    x = np.ones(3)
    gradient = run(f, x)
    np.testing.assert_array_equal(gradient, [1, 2, 3] if run is PASSES["grad"] else gradient)


def test_constants_of_a_traced_graph_are_copied() -> None:
    """The backward pass holds the numbers that stood there when it was traced."""
    weights = np.array([1.0, 2.0, 3.0])
    bp = ut.backprop(lambda x: np.sum(x * weights), np.ones(3))
    weights[:] = 0
    np.testing.assert_array_equal(bp()[1], [1, 2, 3])
    np.testing.assert_array_equal(bp.backward(bp.forward(np.ones(3))[1]), [1, 2, 3])


@both
def test_the_users_arrays_are_not_changed(run: Any) -> None:
    """Neither the arguments nor arrays closed over are written to, and they stay writeable."""
    x, weights = X.copy(), np.arange(3.0)

    def f(x: Any) -> Any:
        y = x * weights
        y += 1
        y[0] = 0
        return np.sum(y**2)

    run(f, x)
    np.testing.assert_array_equal(x, X)
    np.testing.assert_array_equal(weights, np.arange(3.0))
    assert weights.flags.writeable
    assert x.flags.writeable


# ---- methods -------------------------------------------------------------------------------------

METHODS: dict[str, Any] = {
    "sum": lambda x: x.sum(),
    "sum axis": lambda x: x.sum(axis=1, keepdims=True),
    "sum negative": lambda x: x.sum(-1),
    "mean": lambda x: x.mean(0),
    "max": lambda x: x.max(axis=1),
    "min": lambda x: x.min(),
    "prod": lambda x: x.prod(axis=0),
    "var": lambda x: x.var(axis=1),
    "var ddof": lambda x: x.var(axis=1, ddof=1),
    "std": lambda x: x.std(axis=1),
    "T": lambda x: x.T,
    "transpose": lambda x: x.transpose(),
    "transpose axes": lambda x: x.transpose(1, 0),
    "transpose tuple": lambda x: x.transpose((1, 0)),
    "reshape": lambda x: x.reshape(3, 2),
    "reshape tuple": lambda x: x.reshape((3, -1)),
    "ravel": lambda x: x.ravel(),
    "flatten": lambda x: x.flatten(),
    "squeeze": lambda x: x[:, None].squeeze(1),
    "swapaxes": lambda x: x.swapaxes(0, 1),
    "dot": lambda x: x.dot(np.array([1.0, 2.0, 3.0])),
    "clip": lambda x: x.clip(-0.9, 1.1),
    "copy": lambda x: x.copy(),
    "astype": lambda x: x.astype(np.float32),
    "argmax": lambda x: x * (x.argmax(axis=1)[:, None] == np.arange(3)),
    "take": lambda x: x.take(np.array([0, 2, 2]), axis=1),
    "item": lambda x: x.item(1, 2) * x + x.item(3) * x[:1, :1].item(),
    "tolist": lambda x: sum(a * b for a, b in zip(*x.tolist(), strict=True)) * x,
    "getitem": lambda x: x[1, ::-1],
    "len": lambda x: x / len(x),
    "iter": lambda x: sum(row * i for i, row in enumerate(x)),
    "ndim and size": lambda x: x * x.ndim / x.size,
    "neg and pos": lambda x: -x + (+x) * 2,
    "abs": lambda x: abs(x),
    "matmul": lambda x: x @ x.T,
    "rmatmul": lambda x: np.ones((4, 2)) @ x,
    "floats": lambda x: 2 - x * 3 / (1 + x**2),
}


@pytest.mark.parametrize("name", METHODS)
def test_methods_and_operators_are_numpys(name: str) -> None:
    """Each gives NumPy's value, shape and dtype, and its derivative agrees with differences."""
    f = METHODS[name]
    wanted = f(X)
    found = traced_value(f, X)
    assert np.asarray(found).dtype == wanted.dtype
    np.testing.assert_allclose(found, wanted, rtol=1e-14)
    weights = np.cos(np.arange(wanted.size)).reshape(wanted.shape)
    loss = lambda x: np.sum(f(x) * weights)
    gradient = ut.grad(loss)(X)
    h = 1e-3 if name == "astype" else 1e-6
    for place in np.ndindex(X.shape):
        step = np.zeros_like(X)
        step[place] = h
        slope = (loss(X + step) - loss(X - step)) / (2 * h)
        np.testing.assert_allclose(gradient[place], slope, rtol=1e-3 if name == "astype" else 1e-5, atol=1e-8)


EXCUSED = {  # memory, files, text: no mathematics
    "base", "byteswap", "ctypes", "data", "device", "dump", "dumps", "flags", "flat", "getfield", "itemset", "itemsize",
    "mT", "nbytes", "newbyteorder", "setfield", "setflags", "strides", "to_device", "tobytes", "tofile", "tostring",
    "view",
}  # fmt: skip


def test_every_other_array_method_works_or_is_refused_by_name() -> None:
    """No method of an array is a bare AttributeError: it is there, or an error of ours names it and the line."""
    bare = []

    def f(x: Any) -> Any:
        for name in dir(np.ndarray):
            if name[0] != "_" and name not in EXCUSED:
                try:
                    getattr(x, name)
                except ut.UndertowError as error:
                    assert name in str(error)
                except AttributeError:
                    bare.append(name)
        return x

    trace_function(f, (X,))
    assert bare == []


# ---- errors --------------------------------------------------------------------------------------

UNKNOWN: dict[str, tuple[Any, str]] = {
    "fft": (lambda x: np.fft.fft(x), r"np\.fft\.fft cannot"),
    "fftshift": (lambda x: np.fft.fftshift(x), r"np\.roll\(x, \(x\.shape\[axis\] // 2\), axis\)"),
    "ifftshift": (lambda x: np.fft.ifftshift(x), r"np\.fft\.ifftshift .*np\.roll\(x, -\("),
    "rfft": (lambda x: np.fft.rfft(x), r"np\.fft\.rfft cannot be traced: complex .*custom_vjp"),
    "frompyfunc": (lambda x: np.frompyfunc(lambda v: v, 1, 1)(x), r"np\.frompyfunc\(<lambda>, …\) cannot"),
    "roots": (lambda x: np.roots(x[0]), r"np\.roots cannot"),
    "polydiv": (lambda x: np.polydiv(x[0], x[1]), r"np\.polydiv cannot"),
    "exp where": (lambda x: np.exp(x, where=np.ones(3, bool)), r"np\.exp\(.*where="),
    "exp dtype": (lambda x: np.exp(x, dtype=np.float32), r"np\.exp\(.*dtype="),
    "subtract reduceat": (lambda x: np.subtract.reduceat(x, [0, 1]), r"np\.subtract\.reduceat"),
}


@both
@pytest.mark.parametrize("name", UNKNOWN)
def test_what_cannot_be_traced_is_named_with_the_users_line(run: Any, name: str) -> None:
    """A NumPy function or option that is not there gives an error with its name, the line and a way out."""
    f, message = UNKNOWN[name]
    with pytest.raises(ut.UnsupportedError, match=message) as caught:
        run(f, X)
    assert f"test_trace.py:{f.__code__.co_firstlineno}" in str(caught.value)


@both
def test_writing_into_a_plain_array_is_refused(run: Any) -> None:
    """An array from outside is no result, and a float has no derivative: an error that says how to go on."""
    kept = np.zeros((2, 3))
    for f in (
        lambda x: np.exp(x, out=kept),
        lambda x: kept.__setitem__((0, 0), x[0, 0]),
        lambda x: kept[0].__setitem__(slice(None), x[0]),
        lambda x: float(np.sum(x)),
    ):
        with pytest.raises(ut.InPlaceError, match=r"test_trace\.py:\d+.*(Write|Use|Build) "):
            run(f, X)


def test_control_flow_by_values_is_refused_where_there_are_none() -> None:
    """backprop sees shapes only: ``if x > 0`` gives the line, the name, and np.where as the way out; grad sees it."""

    def f(x: Any) -> Any:
        total = np.sum(x)
        if total > 100:
            return total * 2
        return total

    np.testing.assert_array_equal(ut.grad(f)(X), np.ones_like(X))
    np.testing.assert_array_equal(ut.grad(f)(X + 100), np.full_like(X, 2))
    line = f.__code__.co_firstlineno + 2
    with pytest.raises(ut.ControlFlowError, match=rf"test_trace\.py:{line}.*np\.where"):
        ut.backprop(f, X)
    for wish in (lambda x: int(x[0, 0] > 0) * np.sum(x), lambda x: np.sum(x[: int(np.argmax(x))])):
        with pytest.raises(ut.ControlFlowError):
            ut.backprop(wish, X)
    with pytest.raises(ut.ControlFlowError):
        ut.backprop(lambda x: np.sum(x) * (1 if np.all(x > 0) else 2), X)


@both
def test_a_traced_value_that_escapes_is_refused(run: Any) -> None:
    """Kept elsewhere and used after the function returned, it says so."""
    kept: list[Any] = []

    def f(x: Any) -> Any:
        kept.append(x * 2)
        return np.sum(x)

    run(f, X)
    assert isinstance(kept[0], Tracer)
    with pytest.raises(ut.EscapedTracerError, match=r"test_trace\.py:\d+.*[Rr]eturn it"):
        kept[0] + 1
    with pytest.raises(ut.EscapedTracerError):
        run(lambda x: np.sum(x * kept[0]), X)


@both
def test_a_shape_error_names_both_operands(run: Any) -> None:
    """Operands that do not fit: the expression, the line, both names and shapes."""

    def f(W: Any, X: Any) -> Any:
        return np.sum(X @ W)

    with pytest.raises(ut.ShapeError, match=r"X @ W.*test_trace\.py:\d+.*X is .*3\).*W is \(4, 2\)"):
        run(f, np.ones((4, 2)), X)
    with pytest.raises(ut.ShapeError, match=r"\(3, 2\).*\(2, 3\)|\(2, 3\).*\(3, 2\)"):
        run(lambda x: np.sum(x + x.T), X)


@both
@pytest.mark.parametrize("value", [1j, np.array([1j]), np.array(["a"]), np.array([None])], ids=repr)
def test_constants_that_are_no_real_numbers_are_refused(run: Any, value: Any) -> None:
    """Complex numbers, text and objects meet a traced array: an error that names the type."""
    with pytest.raises(ut.UndertowError, match=r"test_trace\.py:\d+"):
        run(lambda x: np.sum(x * value), X)


# ---- results and arguments -----------------------------------------------------------------------


@both
@pytest.mark.parametrize(
    "f",
    [lambda x: x, lambda x: x[0], lambda x: (np.sum(x), np.sum(x)), lambda x: None, lambda x: [np.sum(x)],
     lambda x: {"loss": np.sum(x)}, lambda x: np.ones(3), lambda x: np.sum(x, axis=1, keepdims=True)],
    ids=["array", "row", "tuple", "None", "list", "dict", "constant array", "keepdims"],
)  # fmt: skip
def test_a_loss_that_is_not_one_number_is_refused(run: Any, f: Any) -> None:
    """Arrays, tuples, None: NonScalarError names the function and what it returned."""
    with pytest.raises(ut.NonScalarError, match=r"<lambda> .*returned"):
        run(f, X)


@both
def test_a_loss_that_is_no_float_is_refused(run: Any) -> None:
    """An integer or a truth value has no derivative."""
    for f in (lambda x: np.sum(x > 0), lambda x: np.argmax(x), lambda x: x[0, 0] > 0):
        with pytest.raises(ut.DTypeError, match="only floats have a derivative"):
            run(f, X)
    for f in (lambda x: 3, lambda x: True):
        with pytest.raises((ut.DTypeError, ut.NonScalarError)):
            run(f, X)


@both
@pytest.mark.parametrize(
    "x", [3, np.array([1, 2]), np.array([True]), np.uint8(3), (1.0, np.array([1, 2])), np.array([1j])], ids=repr
)
def test_integer_arguments_are_refused(run: Any, x: Any) -> None:
    """Integers, truth values and complex numbers: DTypeError with the argument's name and the dtype."""

    def f(p: Any) -> Any:
        return np.sum(p[0]) * 1.0 if isinstance(p, tuple) else np.sum(p) * 1.0

    with pytest.raises(ut.DTypeError, match=r"int|bool|complex"):
        run(f, x)


@both
@pytest.mark.parametrize(
    "x", [X, X.astype(np.float32), 2.0, np.float32(2), np.float64(2), np.array(2.0), np.zeros((0, 3))], ids=repr
)
def test_no_path_gives_zeros_like_the_argument(run: Any, x: Any) -> None:
    """Where the loss does not depend on an argument, its gradient is zeros of its shape, dtype and kind."""
    for f in (lambda x: 1.5, lambda x: np.sum(np.ones(3)), lambda x: np.sum(np.sign(x)) * 1.0):
        gradient = run(f, x)
        assert np.shape(gradient) == np.shape(x)
        assert np.asarray(gradient).dtype == np.asarray(x).dtype
        np.testing.assert_array_equal(gradient, np.zeros(np.shape(x)))
        if run is PASSES["grad"]:
            assert isinstance(gradient, np.ndarray) == isinstance(x, np.ndarray)
            assert type(gradient) is float or not isinstance(x, float) or isinstance(x, np.floating)


@pytest.mark.parametrize(
    ("odd", "remedy"),
    [
        (np.ma.array([1.0, 2.0, 3.0], mask=[0, 1, 0]), "Pass x.data, and leave elements out with where=~x.mask"),
        (np.matrix([[1.0, 2.0, 3.0]]), "Pass np.asarray(x), and write @"),
    ],
)
def test_arrays_whose_operations_mean_something_else_are_refused(odd: Any, remedy: str) -> None:
    """As an argument and beside a traced value: a masked element would count, and * of a matrix is no product."""
    x = np.ones(3)
    for differentiate in (
        lambda: ut.grad(lambda a: np.sum(a * a))(odd),
        lambda: ut.backprop(lambda a: np.sum(a * a), odd),
        lambda: ut.grad(lambda a: np.sum(a * odd))(x),
        lambda: ut.backprop(lambda a: np.sum(np.multiply(odd, a)), x),
    ):
        with pytest.raises(ut.UnsupportedError) as caught:
            differentiate()
        assert remedy in str(caught.value)


def test_numbers_taken_out_with_item_and_tolist_keep_their_derivative() -> None:
    """A float stays traced; an integer is a plain number; more than one element is NumPy's error."""
    x = np.array([[1.0, 2.0], [3.0, 4.0]])
    for f, wanted in [
        (lambda x: np.sum(x * x).item() ** 2, 4 * np.sum(x * x) * x),
        (lambda x: x.item(1, 0) * x.item(-1), [[0, 0], [4, 3]]),
        (lambda x: x.item((0, 1)) ** 2, [[0, 4], [0, 0]]),
        (lambda x: sum(a * b for a, b in x.tolist()), [[2, 1], [4, 3]]),
        (lambda x: np.sum(x).tolist() * 3.0, np.full((2, 2), 3.0)),
    ]:
        np.testing.assert_allclose(ut.grad(f)(x), wanted)
        np.testing.assert_allclose(ut.backprop(f, x)(x)[1], wanted)
    assert ut.grad(lambda x: x.ravel()[np.argmax(x).item()])(x).tolist() == [[0.0, 0.0], [0.0, 1.0]]
    with pytest.raises(ValueError, match="size 1"):
        ut.grad(lambda x: x.item())(x)


def test_argument_names_of_functions_and_objects() -> None:
    """Only the object itself is left out of the names; a function's own argument may be called self."""

    def free(self: Any, w: Any) -> Any:
        return np.sum(self * w)

    class Net:
        def loss(self, w: Any) -> Any:
            return np.sum(w * w)

        def __call__(this, w: Any) -> Any:
            return np.sum(w * w)

    assert argument_names(free, 2) == ["self", "w"]
    assert argument_names(Net().loss, 1) == argument_names(Net(), 1) == ["w"]
