"""Operands that are rare: vectors of two components beside infinities, sums of logarithms of whole numbers."""

import numpy as np
import pytest
from numpy.lib import NumpyVersion

import undertow as ut


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("sizes", [(2, 3), (3, 2), (2, 2), (3, 3)])
@pytest.mark.skipif(NumpyVersion(np.__version__) >= "2.5.0", reason="NumPy crosses vectors of three components alone")
def test_a_component_that_is_left_out_is_no_zero_beside_infinity(sizes):
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(4, sizes[0])), rng.normal(size=(5, 1, sizes[1]))
    a[0, 1], b[2, 0, 0], b[1, 0, 1], a[3, -1] = np.inf, -np.inf, np.nan, -np.inf
    cross = lambda a, b: np.cross(a, b)
    wanted = np.cross(a, b)
    np.testing.assert_allclose(ut.compile(cross)(a, b), wanted, rtol=1e-14)
    assert np.isinf(wanted).any()


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint8", "int16", "uint16", "int32", "int64", "float16", "float32"])
@pytest.mark.parametrize("axis", [0, -1, None])
def test_sums_of_logarithms_have_the_dtype_of_the_ufunc(dtype, axis):
    reduce = lambda x: np.logaddexp.reduce(x, axis=axis)
    for x in (np.array([[1, 0, 1], [0, 1, 1]], dtype), np.array(1, dtype)):
        wanted, found = reduce(x), ut.compile(reduce)(x)
        assert found.dtype == wanted.dtype
        np.testing.assert_allclose(found, wanted, rtol=4e-3 if wanted.dtype == np.float16 else 1e-6)
