"""Reductions that are asked for a dtype: it is that of the result, and whole numbers wrap around in it as NumPy's."""

import numpy as np
import pytest

import undertow as ut

FUNCTIONS = {
    "sum": np.sum,
    "prod": np.prod,
    "nansum": np.nansum,
    "nanprod": np.nanprod,
    "cumsum": np.cumsum,
    "cumprod": np.cumprod,
    "nancumsum": np.nancumsum,
    "trace": np.trace,
    "add.reduce": np.add.reduce,
    "multiply.reduce": np.multiply.reduce,
    "add.accumulate": np.add.accumulate,
    "the method": lambda x, dtype: x.sum(dtype=dtype),
    "along an axis": lambda x, dtype: np.sum(x, axis=1, keepdims=True, dtype=dtype),
    "from a start": lambda x, dtype: np.sum(x, initial=3, dtype=dtype),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("given", ["int8", "uint8", "int32", "uint64", "bool", "float32", "float64"])
@pytest.mark.parametrize("wanted", ["int8", "uint8", "int16", "uint16", "int32", "int64", "float32", "float64"])
def test_the_dtype_that_is_asked_for_is_that_of_the_result(given, wanted):
    rng = np.random.default_rng(0)
    x = rng.integers(0, 2 if given == "bool" else 90, (4, 3)).astype(given)
    for name, function in FUNCTIONS.items():
        f = lambda x, function=function: function(x, dtype=wanted)
        expected, found = f(x), ut.compile(f)(x)
        assert found.dtype == expected.dtype, name
        np.testing.assert_allclose(found, expected, rtol=1e-6, err_msg=name)


@pytest.mark.parametrize("wanted", ["int16", "int64", "uint8"])
def test_nan_is_left_out_before_it_becomes_a_whole_number(wanted):
    x = np.array([1.0, np.nan, 3.0, 200.0])
    for function in (np.nansum, np.nanprod):
        f = lambda x, function=function: function(x, dtype=wanted)
        np.testing.assert_array_equal(ut.compile(f)(x), f(x))


def test_areas_where_x_has_more_axes_than_y():
    rng = np.random.default_rng(0)
    for shapes in (((3,), (2, 3)), ((4,), (2, 1, 4)), ((2,), (4, 1)), ((2, 3), (5, 2, 3)), ((3, 1), (2, 3, 1))):
        y, x = (rng.normal(size=shape) for shape in shapes)
        np.testing.assert_allclose(ut.compile(np.trapezoid)(y, x), np.trapezoid(y, x), rtol=1e-13)
        assert ut.check_gradient(lambda y, x: np.sum(np.sin(np.trapezoid(y, x))), y, x, wrt=(0, 1))


@pytest.mark.parametrize("axis", [None, 0, -1])
def test_a_number_is_repeated_along_the_axis_that_it_has_for_numpy(axis):
    f = lambda x: np.repeat(x, 3, axis=axis)
    np.testing.assert_array_equal(ut.compile(f)(np.float64(2.5)), f(np.float64(2.5)))
    assert ut.grad(lambda x: np.sum(f(x)))(2.5) == 3.0
