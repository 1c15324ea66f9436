"""Python numbers beside arrays: each function gives NumPy's value and dtype, whether the number is traced or not."""

import numpy as np
import pytest

import undertow as ut

ARRAYS = {kind: np.array([100, 2, 1]).astype(kind) for kind in ("float32", "float64", "int8", "int64", "bool")}
FUNCTIONS = {
    "dot": np.dot,
    "dot, the number first": lambda x, number: np.dot(number, x),
    "inner": np.inner,
    "kron": np.kron,
    "outer": np.outer,
    "tensordot": lambda x, number: np.tensordot(x, number, axes=0),
    "einsum": lambda x, number: np.einsum("i,->i", x, number),
    "multiply": np.multiply,
    "append": np.append,
    "where": lambda x, number: np.where(x > 1, x, number),
    "select": lambda x, number: np.select([x > 1, x > 0], [x, number]),
    "select, by default": lambda x, number: np.select([x > 1], [x], number),
    "choose": lambda x, number: np.choose([0, 1, 0], [x, number]),
    "clip": lambda x, number: np.clip(x, 0, number),
    "insert": lambda x, number: np.insert(x, 1, number),
    "polyval": np.polyval,
    "broadcast_arrays": lambda x, number: np.broadcast_arrays(x, number)[1],
}


@pytest.mark.parametrize("kind", ARRAYS)
@pytest.mark.parametrize("number", [3.0, 3])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_value_and_dtype_are_numpys(name, number, kind):
    f, x = FUNCTIONS[name], ARRAYS[kind]
    wanted = f(x, number)
    every = [ut.compile(lambda x: f(x, number), fallback="numpy")(x), ut.compile(f, fallback="numpy")(x, number)]
    if x.dtype.kind == "f":
        every.append(ut.vjp(lambda x: f(x, number), x)[0])
        every.append(ut.vjp(f, x, 3.0)[0] if isinstance(number, float) else every[-1])
    for found in every:
        assert (np.shape(found), np.asarray(found).dtype) == (wanted.shape, wanted.dtype)
        np.testing.assert_allclose(found, wanted)


@pytest.mark.parametrize("name", ["dot", "inner", "kron", "select", "choose", "where", "clip"])
def test_the_gradient_by_the_number_and_by_float32(name):
    """A product of float32 and a number is float64 where NumPy makes it that; the gradients are by hand."""
    f, x = FUNCTIONS[name], ARRAYS["float32"]
    by_x, by_number = {
        "select": ([1, 1, 0], 1),  # 100 and 2 are above 1
        "where": ([1, 1, 0], 1),
        "choose": ([1, 0, 1], 1),
        "clip": ([0, 1, 1], 1),  # 100 is above 3
    }.get(name, ([3, 3, 3], 103))
    for compile in (False, True):
        found = ut.grad(lambda x, number: np.sum(f(x, number)), (0, 1), compile=compile)(x, 3.0)
        assert found[0].dtype == np.float32
        np.testing.assert_allclose(found[0], by_x)
        np.testing.assert_allclose(found[1], by_number)
