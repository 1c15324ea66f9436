"""Arithmetic on the bits of whole numbers, against NumPy's unsigned integers."""

import ctypes

import numpy as np
import pytest

import undertow as ut
from undertow.compile.cache import name_of
from undertow.compile.ir import Emitter, Module
from undertow.compile.llvm import Library, assemble


@pytest.mark.parametrize("lanes", [0, 8])
def test_a_mixer_of_bits_is_numpys(lanes):
    """Multiply, xor, logical shift, and an unsigned number as a float: what counter-based random numbers take."""
    module = Module()
    e = Emitter(module, "mix", [("x", "ptr"), ("bits", "ptr"), ("real", "ptr"), ("size", "i64")])
    with e.loop(0, e.args["size"], max(lanes, 1)) as i:
        x = e.load(e.address(e.args["x"], i, "i64"), "i64", lanes)
        x = (x ^ e.shift_right(x, 30)) * 0xBF58476D1CE4E5B9
        x = (x ^ e.shift_right(x, 27)) * 0x94D049BB133111EB
        x = x ^ e.shift_right(x, 31)
        e.store(x, e.address(e.args["bits"], i, "i64"))
        e.store(e.unsigned_to_float(x, "f64"), e.address(e.args["real"], i, "f64"))
    e.finish()
    library = Library([assemble(str(module))])
    run = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 3, ctypes.c_int64)(library.address("mix"))

    values = np.random.default_rng(0).integers(0, 2**64, 64, np.uint64)
    bits, real = np.empty_like(values), np.empty(64)
    run(values.ctypes.data, bits.ctypes.data, real.ctypes.data, 64)

    x = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    x ^= x >> np.uint64(31)
    np.testing.assert_array_equal(bits, x)
    np.testing.assert_array_equal(real, x.astype(np.float64))


@pytest.mark.parametrize("zeros", [(0.0, -0.0), (-0.0, 0.0)])
def test_a_kernel_for_one_zero_does_not_serve_for_the_other(zeros):
    """Structures with 0.0 and -0.0 are equal in Python."""
    x = np.array([np.nan, 1.0])
    for zero in zeros:
        found = ut.compile(lambda x, zero=zero: np.nan_to_num(x, nan=zero))(x)
        np.testing.assert_array_equal(np.signbit(found), np.signbit([zero, 1.0]))
    assert name_of(("a kernel", zeros[0])) != name_of(("a kernel", zeros[1]))
