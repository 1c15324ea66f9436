"""A Python integer that does not fit the dtype of the array it meets is refused, as NumPy refuses it."""

import operator

import numpy as np
import pytest

import undertow as ut


def _written(b, k):
    b = b.copy()
    b[0] = k
    return b


def _added(b, k):
    b = b.copy()
    b += k
    return b


OPERATIONS = {
    "+": operator.add,
    "- from the right": lambda b, k: k - b,
    "*": operator.mul,
    "%": operator.mod,
    "//": operator.floordiv,
    "/": operator.truediv,
    "&": operator.and_,
    "<": operator.lt,
    "==": operator.eq,
    ">= from the right": lambda b, k: k >= b,
    "maximum": np.maximum,
    "clip from above": lambda b, k: np.clip(b, 0, k),
    "clip from below": lambda b, k: np.clip(b, k, 3),
    "clip to a fraction": lambda b, k: np.clip(b, k, 2.5),
    "x[0] = k": _written,
    "x += k": _added,
    "insert": lambda b, k: np.insert(b, 0, k),
    "append": lambda b, k: np.append(b, k),
    "sum": lambda b, k: np.sum(b, initial=k),
    "max": lambda b, k: np.max(b, initial=k),
    "hypot": np.hypot,
}
NUMBERS = [
    ("uint8", 300), ("uint8", 256), ("uint8", 255), ("uint8", -1), ("int8", 127), ("int8", 128), ("int8", -129),
    ("int16", 70000), ("int32", 2**31), ("int64", 2**31), ("uint64", -1), ("bool", 300), ("float32", 70000),
]  # fmt: skip


@pytest.mark.parametrize(("dtype", "number"), NUMBERS)
@pytest.mark.parametrize("name", OPERATIONS)
def test_numbers_beyond_a_dtype(name, dtype, number):
    """Where NumPy raises OverflowError we do, with the line; else the result is NumPy's."""
    operation, b = OPERATIONS[name], np.array([1, 2, 3], dtype)
    f = ut.compile(lambda b: operation(b, number))
    try:
        wanted = operation(b, number)
    except OverflowError:
        with pytest.raises(OverflowError, match=r"test_number_ranges\.py:\d+.*does not fit") as raised:
            f(b)
        assert isinstance(raised.value, ut.UndertowError)
        return
    except TypeError:  # truth values are not subtracted, floats have no bits
        with pytest.raises(TypeError):
            f(b)
        return
    found = f(b)
    assert found.dtype == wanted.dtype
    np.testing.assert_allclose(found, wanted, rtol=1e-3 if wanted.dtype == np.float16 else 1e-6)
