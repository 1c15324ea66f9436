"""Functions about shapes beyond their samples: views and copies, writing, values, sizes of the batch, errors."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import undertow as ut
from undertow.graph import evaluate
from undertow.trace import trace_function

X = np.arange(6.0).reshape(2, 3) + 1
windows = np.lib.stride_tricks.sliding_window_view

VIEWS: dict[str, Callable[[Any], Any]] = {
    "reshape": lambda x: x.reshape(-1),
    "ravel": lambda x: x.ravel(),
    "T": lambda x: x.T,
    "mT": lambda x: x.mT,
    "swapaxes": lambda x: np.swapaxes(x, 0, 1),
    "moveaxis": lambda x: np.moveaxis(x, 0, 1),
    "rollaxis": lambda x: np.rollaxis(x, 1),
    "permute_dims": np.permute_dims,
    "expand_dims": lambda x: np.expand_dims(x, 0),
    "squeeze": lambda x: np.squeeze(x[None]),
    "broadcast_to": lambda x: np.broadcast_to(x, (2, 2, 3)),
    "broadcast_arrays": lambda x: np.broadcast_arrays(x, np.zeros((2, 2, 3)))[0],
    "flip": np.flip,
    "fliplr": np.fliplr,
    "flipud": np.flipud,
    "rot90": np.rot90,
    "split": lambda x: np.split(x, 2)[0],
    "array_split": lambda x: np.array_split(x, 2)[0],
    "hsplit": lambda x: np.hsplit(x, 3)[0],
    "vsplit": lambda x: np.vsplit(x, 2)[0],
    "unstack": lambda x: np.unstack(x)[0],
    "a row": lambda x: next(iter(x)),
    "diagonal": np.diagonal,
    "diag": np.diag,
    "sliding_window_view": lambda x: windows(x, 2, axis=1),
    "atleast_3d": np.atleast_3d,
    "meshgrid without copy": lambda x: np.meshgrid(x[0], x[0], copy=False)[0],
}

COPIES: dict[str, Callable[[Any], Any]] = {
    "roll": lambda x: np.roll(x, 1),
    "roll along an axis": lambda x: np.roll(x, 1, axis=1),
    "tile": lambda x: np.tile(x, 1),
    "repeat": lambda x: np.repeat(x, 1),
    "flatten": lambda x: x.flatten("F"),
    "copy": np.copy,
    "copy.copy": copy.copy,
    "copy.deepcopy": copy.deepcopy,
    "astype": lambda x: x.astype(float),
    "reshape with copy": lambda x: x.reshape(3, 2, copy=True),
    "concatenate": lambda x: np.concatenate([x]),
    "stack": lambda x: np.stack([x]),
    "vstack": lambda x: np.vstack([x]),
    "hstack": lambda x: np.hstack([x]),
    "dstack": lambda x: np.dstack([x]),
    "column_stack": lambda x: np.column_stack([x]),
    "block": np.block,
    "meshgrid": lambda x: np.meshgrid(x[0], x[0])[0],
    "append": lambda x: np.append(x, 1.0),
    "insert": lambda x: np.insert(x, 0, 1.0),
    "delete": lambda x: np.delete(x, []),
    "resize": lambda x: np.resize(x, (3, 2)),
    "tril": np.tril,
    "pad": lambda x: np.pad(x, 0),
    "pad with means": lambda x: np.pad(x, 0, mode="mean"),
    "diag of a vector": lambda x: np.diag(x[0]),
    "full_like": lambda x: np.full_like(x, x[0, 0]),
    "apply_along_axis": lambda x: np.apply_along_axis(np.sum, 0, x),
    "flat[:]": lambda x: x.flat[:],
}


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_a_view_shows_what_its_array_is_or_is_an_error(view: Callable[[Any], Any]) -> None:
    """What NumPy gives as a view changes with its array: the gradient is right, or there is an error that says so."""

    def f(x: Any) -> Any:
        x = x * 1.0
        seen = view(x)
        x[0] = 7.0 * x[1]
        return np.sum(seen**2)

    try:
        gradient = ut.grad(f)(X)
    except ut.InPlaceError as error:
        assert "view" in str(error)
    else:
        assert ut.check_gradient(f, X, gradient=lambda x: gradient)


@pytest.mark.parametrize("make", COPIES.values(), ids=COPIES)
def test_a_copy_and_its_array_are_written_to_independently(make: Callable[[Any], Any]) -> None:
    """What NumPy gives as a copy keeps its values, and writing to it changes nothing else."""

    def f(x: Any) -> Any:
        x = x * 1.0
        mine, other = make(x), make(x)
        mine[0] = 2.0 * np.sum(x)
        x[0] = 7.0
        return np.sum(mine**2) + np.sum(other) + np.sum(x)

    report = ut.check_gradient(f, X)
    assert report, str(report)


# ---- in place, and element by element ------------------------------------------------------------------


def _fill_diagonal(x: Any) -> Any:
    np.fill_diagonal(x, x[0] * 2)
    return np.sum(x**2)


def _fill_diagonal_of_tall(x: Any) -> Any:
    np.fill_diagonal(x, 3.0, wrap=True)
    return np.sum(x**2)


def _fill(x: Any) -> Any:
    y = x**2
    x.fill(y[0, 1])
    return np.sum(x * y)


def _write_flat(x: Any) -> Any:
    x.flat[1] = 5 * x[0, 0]
    x.flat[[2, 3]] = [1.0, 2.0]
    x.flat[4:] = x.flat[0] ** 2
    return np.sum(x**2)


def _set_flat(x: Any) -> Any:
    x.flat = x[0]
    return np.sum(x**2)


def _read_flat(x: Any) -> Any:
    return sum(v**2 for v in x.flat) + len(x.flat) * x.flat[2] + np.sum(x.flat[1:3])


def _unpack(x: Any) -> Any:
    a, b = x
    return np.sum(a) * np.sum(b)


def _ndindex(x: Any) -> Any:
    return sum(x[i] ** 2 * (1 + sum(i)) for i in np.ndindex(x.shape))


def _insert_list(x: Any) -> Any:
    return np.sum(np.insert(x, 1, [x[0, 0] * 2, 5.0]) * np.arange(8.0))


def _pad_traced_constants(x: Any) -> Any:
    padded = np.pad(x, ((1, 2), (0, 3)), constant_values=[(x[0, 0], x[0, 1]), (3, x[1, 1])])
    return np.sum(padded * np.arange(30.0).reshape(5, 6))


def _pad_constants_in_an_array(x: Any) -> Any:
    return np.sum(np.pad(x, ((1, 2), (0, 3)), constant_values=x[:, :2]) ** 2)


def _pad_traced_ramp(x: Any) -> Any:
    return np.sum(np.pad(x, 2, mode="linear_ramp", end_values=x[0, 0]) ** 2)


@pytest.mark.parametrize(
    "f",
    [_fill_diagonal, _fill_diagonal_of_tall, _fill, _write_flat, _set_flat, _read_flat, _unpack, _ndindex, _insert_list,
     _pad_traced_constants, _pad_constants_in_an_array, _pad_traced_ramp],
)  # fmt: skip
@pytest.mark.parametrize("shape", [(2, 3), (3, 3), (5, 2)])
def test_written_and_read_in_place(f: Callable[[Any], Any], shape: tuple[int, int]) -> None:
    """Writes through NumPy's own functions and attributes, traced constants: NumPy's values, right gradients."""
    x = np.random.default_rng(1).normal(size=shape)
    try:
        wanted = f(x.copy())
    except ValueError:
        pytest.skip("not for this shape")
    value, gradient = ut.value_and_grad(f)(x)
    np.testing.assert_allclose(value, wanted)
    report = ut.check_gradient(lambda x: f(x * 1.0), x, gradient=lambda x: gradient)
    assert report, str(report)


# ---- where values are needed -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "f",
    [
        lambda x: np.sum(np.trim_zeros(x) ** 2),
        lambda x: np.sum(np.trim_zeros(x, "b") * 3),
        lambda x: np.sum(np.trim_zeros(np.stack([x, 0 * x]), axis=1)[0] ** 2),
        lambda x: np.sum(np.repeat(x, (x > 2).astype(int)) ** 2),
        lambda x: np.sum(np.delete(x, np.argmax(x)) ** 2),
        lambda x: np.sum(np.roll(x, np.argmax(x)) * np.arange(5.0)),
        lambda x: np.sum(np.split(x, np.sum(x > 0, keepdims=True))[0] ** 2),
        lambda x: np.sum(np.ravel(np.stack([x, x]).T, "K") * np.arange(10.0)),
        lambda x: np.sum(x) * x[np.argsort(x).tolist()[3]] * x[np.argmax(x).item()],
    ],
)
def test_what_depends_on_values_works_where_they_are_known(f: Callable[[Any], Any]) -> None:
    """ut.grad sees values, so shapes may depend on them; a trace without values says so."""
    x = np.array([0.0, 3.0, 1.0, 2.5, 0.0])
    value, gradient = ut.value_and_grad(f)(x)
    assert value == f(x)
    assert gradient.shape == x.shape and np.any(gradient)
    with pytest.raises((ut.UnsupportedError, ut.ControlFlowError), match="known"):
        ut.backprop(f, x)


def test_questions_about_a_traced_array() -> None:
    """dtype questions answer as for an array; a Python number gives way to arrays, as in NumPy's promotion."""

    def f(x: Any, number: Any) -> Any:
        assert np.result_type(x, np.float32) == np.float64
        assert np.result_type(number, np.float32(1)) == np.float32
        assert np.can_cast(x, np.float64) and not np.can_cast(x, np.float32)
        assert np.min_scalar_type(x) == np.float64 and np.common_type(x) is np.float64
        assert np.iterable(x) and not np.iterable(number)
        assert (np.shape(x), np.ndim(x), np.size(x), np.size(x, 1)) == ((2, 3), 2, 6, 3)
        assert (len(x), x.itemsize, x.nbytes) == (2, 8, 48)
        assert not hasattr(x, "strides") and not hasattr(x, "__array_interface__")
        assert "1. 2. 3." in f"{x}" and "1. 2. 3." in np.array2string(x) and "1. 2. 3." in repr(x)
        return np.sum(x) * number

    assert ut.grad(f, wrt=(0, 1))(X, 2.0)[1] == 21.0


def test_float32_and_float64_meet() -> None:
    """Joined arrays have NumPy's dtype; each gradient has its own array's."""
    a, b = np.ones(2, np.float32), np.ones(3)
    for join in (lambda a, b: np.concatenate([a, b]), lambda a, b: np.concatenate([a, b], dtype=np.float32)):
        da, db = ut.grad(lambda a, b, join=join: np.sum(join(a, b) ** 2), wrt=(0, 1))(a, b)
        assert (da.dtype, db.dtype) == (np.float32, np.float64)
        np.testing.assert_array_equal([*da, *db], 2)
    assert ut.grad(lambda a: np.sum(a.astype(np.float64) ** 2))(a).dtype == np.float32


# ---- the batch --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("f", "any_size"),
    [
        (lambda x: np.roll(x, 1, axis=0), True),
        (lambda x: np.roll(x, 2), True),
        (lambda x: np.rot90(x, 1, (1, 2)), True),
        (lambda x: np.tile(x, (2, 1, 3)), True),
        (lambda x: np.repeat(x, 2, axis=0), True),
        (lambda x: np.repeat(x, [1, 2], axis=1), True),
        (lambda x: np.repeat(np.sum(x, axis=0, keepdims=True), x.shape[0], axis=0) * x, True),
        (lambda x: np.pad(x, ((0, 0), (1, 1), (0, 2)), mode="edge"), True),
        (lambda x: np.pad(x, ((0, 0), (1, 1), (0, 2)), constant_values=x[0, 0, 0]), True),
        (lambda x: np.pad(x, ((0, 0), (1, 1), (0, 2)), mode="linear_ramp", end_values=1.0), True),
        (lambda x: windows(x, 2, axis=2), True),
        (lambda x: np.diagonal(x, 0, 1, 2), True),
        (lambda x: np.insert(x, [0, 1], x[:, :1], axis=1), True),
        (lambda x: np.delete(x, 0, axis=2), True),
        (lambda x: np.reshape(x, (x.shape[0], 6), order="F"), True),
        (lambda x: np.meshgrid(x[:, 0, 0], np.arange(3.0))[0], True),
        (lambda x: np.block([x, x[:, :, :1]]), True),
        (lambda x: np.split(x, 2, axis=1)[0], True),
        (lambda x: np.apply_over_axes(np.sum, x, [0, 2]), True),
        (lambda x: np.concatenate([x, x]), False),
        (lambda x: np.pad(x, 1), False),
        (lambda x: np.array_split(x, 3)[0], False),
        (lambda x: sum(row * i for i, row in enumerate(x)), False),
        (lambda x: np.tile(np.ones(3), (x.shape[0], 1)) * x[:, 0], True),
        (lambda x: x * 2 if x.shape[0] > 3 else x, False),
    ],
)
def test_the_batch_may_have_any_size_or_the_trace_takes_its_number(f: Callable[[Any], Any], any_size: bool) -> None:
    """What leaves the batch axis alone holds for every size of it; what does not, is traced with the number."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4, 2, 3))
    traced = trace_function(lambda x: np.sum(np.sin(f(x))), (x,), batch=(0,))
    assert (traced.graph.inputs[0].spec.shape[0] == 4) is not any_size
    other = rng.normal(size=(6 if any_size else 4, 2, 3))
    np.testing.assert_allclose(evaluate(traced.graph, [other])[0], np.sum(np.sin(f(other))))


# ---- emitted source ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("f", "forward", "backward"),
    [
        (lambda x: np.roll(x, 1, axis=1), "np.roll(x, 1, axis=1)", "np.roll(do, -1, axis=1)"),
        (lambda x: np.flip(x, 0), "np.flip(x, axis=0)", "np.flip(do, axis=0)"),
        (lambda x: np.rot90(x), "np.rot90(x)", "np.rot90(do, -1)"),
        (lambda x: np.tile(x, 2), "np.tile(x, (1, 2))", "np.sum(do.reshape(2, 2, 3), axis=1)"),
        (lambda x: np.repeat(x, 2, axis=0), "np.repeat(x, 2, axis=0)", "np.sum(do.reshape(2, 2, 3), axis=1)"),
        (lambda x: np.pad(x, 1), "np.pad(x, 1)", "do[1:-1, 1:-1]"),
        (lambda x: np.pad(x, 1, mode="edge"), "np.pad(x, 1, mode='edge')", "fold_pad(do, ((1, 1), (1, 1)), 'edge')"),
        (lambda x: np.pad(x, (0, 1), constant_values=np.inf)[:2, :3], "constant_values=np.inf)", "[:-1, :-1]"),
        (lambda x: np.tril(x, -1), "np.tril(x, -1)", "np.tril(do, -1)"),
        (lambda x: np.delete(x, 1, axis=1), "np.delete(x, 1, axis=1)", "np.insert(do, [1], 0.0, axis=1)"),
        (lambda x: np.insert(x, 1, 5.0, axis=1), "np.insert(x, 1, 5.0, axis=1)", "np.delete(do, 1, axis=1)"),
        (lambda x: np.concatenate([x, x**2]), "np.concatenate([x, x ** 2])", "do[:2]"),
        (lambda x: np.diag(x[0]), "np.diag(x[0])", "np.diagonal(do)"),
    ],
)
def test_the_source_reads_like_numpy(f: Callable[[Any], Any], forward: str, backward: str) -> None:
    """A function is written by its own name, and so is its derivative."""

    def loss(x: Any) -> Any:
        o = f(x)
        return np.sum(np.sin(o))

    source = ut.backprop(loss, X).source
    assert forward in source, source
    assert backward in source, source


# ---- errors ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("f", "message"),
    [
        (lambda x: np.pad(x, 1, mode="empty"), "mode='empty'.* leaves its elements undefined"),
        (lambda x: np.pad(x, 1, mode=lambda *_: None), "has no derivative here"),
        (lambda x: np.pad(x, 1, mode="mean", constant_values=3), "takes no constant_values="),
        (lambda x: np.pad(x, -1), "must not be negative"),
        (lambda x: np.pad(x, 1.5), "must be integers"),
        (lambda x: np.pad(x, ((1, 1),) * 3), "for each of 2 axes"),
        (lambda x: np.pad(x, 1, mode="maximum", stat_length=0), "leaves no element"),
        (lambda x: np.pad(x[:0], 1, mode="edge"), "no element to pad with"),
        (lambda x: np.concatenate([x, x], out=np.zeros((4, 2))), r"out= of \(4, 2\) does not hold"),
        (lambda x: np.concatenate([x, x], dtype=int), "float64 does not become int64"),
        (lambda x: np.concatenate([x[0, 0], x[0, 1]]), "a number has no axis"),
        (lambda x: np.stack([x, x.T]), r"\(2, 3\), \(3, 2\) differ"),
        (lambda x: np.block([[x], x]), r"\[1, 2\] lists deep"),
        (lambda x: np.block([x, (x, x)]), "a tuple is none"),
        (lambda x: np.swapaxes(x, 0, 5), "no axis 5"),
        (lambda x: np.moveaxis(x, (0, 1), 0), "moves 2 axes to 1"),
        (lambda x: np.expand_dims(x, 5), "axis 5 is out of bounds"),
        (lambda x: np.squeeze(x, 0), "a size other than 1"),
        (lambda x: np.rot90(x, 1, (0, 0)), "names one twice"),
        (lambda x: np.fliplr(x[0]), "no axis 1"),
        (lambda x: np.split(x, 2, axis=1), "no 2 equal parts"),
        (lambda x: np.dsplit(x, 1), "at least 3 axes"),
        (lambda x: np.insert(x, 9, 1.0), "beyond an axis of size 6"),
        (lambda x: np.delete(x, 9), "index 9 is out of bounds"),
        (lambda x: np.repeat(x, -1), "not negative"),
        (lambda x: np.resize(x, (-1, 2)), "negative size"),
        (lambda x: np.diag(x[None]), "a vector or a matrix"),
        (lambda x: np.fill_diagonal(x[0], 1.0), "takes a matrix"),
        (lambda x: windows(x, 9, axis=0), "does not fit into an axis of size 2"),
        (lambda x: windows(x, 1, axis=0, writeable=True), "writeable=True"),
        (lambda x: x.astype(complex), "complex numbers are out of scope"),
        (lambda x: np.zeros_like(x, dtype=complex), "complex numbers are out of scope"),
        (lambda x: x.astype(int, casting="safe"), "does not become int64"),
        (lambda x: np.array([1.0], like=x), "Leave like= out"),
        (lambda x: np.zeros(3, like=x), "Leave like= out"),
        (lambda x: x.strides, r"x.strides of a traced array is not there: .* Take windows by .*sliding_window_view\(x"),
        (lambda x: x.tobytes(), "x.tobytes of a traced array is not there"),
        (lambda x: x.resize(3, 2), "np.resize"),
        (lambda x: x.view(np.int64), r"x.view\(…\) cannot be traced"),
        (lambda x: np.rot90(x, axes=(0, 1, 0)), r"a plane of two axes, not axes=\(0, 1, 0\)"),
        (lambda x: np.expand_dims(x, (1, 1)), r"test_shapes.py:\d+: np.expand_dims: repeated axis"),
        (lambda x: np.squeeze(x[None], (0, 0)), r"test_shapes.py:\d+: np.squeeze: repeated axis"),
        (lambda x: np.moveaxis(x, (0, 0), (0, 1)), r"test_shapes.py:\d+: np.moveaxis: repeated axis in `source`"),
        (lambda x: list(np.nditer(x)), "cannot become a plain NumPy array"),
        (lambda x: list(np.ndenumerate(x)), "cannot become a plain NumPy array"),
    ],
)
def test_errors_say_where_and_what(f: Callable[[Any], Any], message: str) -> None:
    """Each misuse gives an error of ours that names the line and what is wrong."""
    with pytest.raises(ut.UndertowError, match=message) as caught:
        ut.grad(f)(X)
    assert "test_shapes.py:" in str(caught.value)


@pytest.mark.parametrize("axis", [0, -1])
@pytest.mark.parametrize("name", [
    "argmax", "argmin", "nanargmax", "nanargmin", "argsort", "sum", "max", "ptp", "any", "count_nonzero", "nansum",
    "cumsum", "cumprod", "nancumsum", "cumulative_sum", "cumulative_prod", "expand_dims",
])  # fmt: skip
def test_a_number_has_an_axis_where_numpy_says_so(name, axis):
    function, x = getattr(np, name), np.array(3.0)
    wanted = function(x, axis=axis)
    by_values = ut.vjp(lambda x: (x, function(x, axis=axis)), x)[0][1]
    by_shapes = ut.compile(lambda x: (x, function(x, axis=axis)), fallback="numpy")(x)[1]
    for found in (by_values, by_shapes):
        assert np.shape(found) == np.shape(wanted) and np.array_equal(found, wanted)


@pytest.mark.parametrize("name", ["sort", "diff", "gradient", "trapezoid"])
def test_where_numpy_needs_an_axis_a_number_is_an_error_that_says_so(name):
    with pytest.raises(ut.ShapeError, match=rf"np\.{name} needs at least one axis, and this is a single number"):
        ut.grad(lambda x: getattr(np, name)(x, axis=0))(np.array(3.0))
