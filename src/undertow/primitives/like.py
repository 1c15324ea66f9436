"""Arrays made after a traced one, and questions about it that need no value."""

from __future__ import annotations

from typing import Any

import numpy as np

from undertow.errors import DTypeError, UnsupportedError
from undertow.primitives.record import (
    Sample,
    Traced,
    answers,
    count_of,
    dtype_of,
    kind_of,
    known_value,
    normalize_axis,
    shape_of,
)
from undertow.primitives.sampling import calls, draw
from undertow.primitives.shape import astype, broadcast_to, real_dtype, sizes_of

# Functions that make an array from numbers and take like=.
CONSTRUCTORS = frozenset((
    "array", "asarray", "asanyarray", "ascontiguousarray", "asfortranarray", "require", "zeros", "ones", "empty",
    "full", "eye", "identity", "tri", "arange", "frombuffer", "fromfunction", "fromiter", "fromstring", "fromfile",
    "loadtxt", "genfromtxt",
))  # fmt: skip


def fill_like(x: Any, value: Any, dtype: Any = None, shape: Any = None) -> Any:
    """Make a traced array of the shape of ``x`` (or ``shape``) that holds one number."""
    number = real_dtype(dtype if dtype is not None else dtype_of(x)).type(value)
    return x.bind(broadcast_to, (number,), {"shape": shape_of(x) if shape is None else sizes_of(shape)})


_LIKE = calls(
    ((2, 3),),
    ((),),
    ((1,), np.float32),
    ((2, 0), {"dtype": np.float64}),
    ((3,), {"shape": (2, 2)}),
    ((3,), {"shape": 2, "dtype": int}),
)


@answers(np.zeros_like, samples=_LIKE)
def _zeros_like(a: Any, dtype: Any = None, order: Any = "K", subok: bool = True, shape: Any = None, **_: Any) -> Any:
    return fill_like(a, 0, dtype, shape)


# Nobody knows what np.empty_like holds; only the shape can be compared.
@answers(np.empty_like, samples=calls(((2, 0),), ((3,), {"shape": (0, 2)}), ((0,), np.float32)))
def _empty_like(prototype: Any, /, *args: Any, **options: Any) -> Any:
    return _zeros_like(prototype, *args, **options)


@answers(np.ones_like, samples=_LIKE)
def _ones_like(a: Any, dtype: Any = None, order: Any = "K", subok: bool = True, shape: Any = None, **_: Any) -> Any:
    return fill_like(a, 1, dtype, shape)


@answers(
    np.full_like,
    samples=lambda: [
        Sample((draw((2, 3), 1), 2.5)),
        Sample((draw((), 1), 2)),
        Sample((draw((3,), 1), draw((), 2))),
        Sample((draw((2, 3), 1), draw((3,), 2))),
        Sample((draw((3,), 1), draw((2, 1), 2)), {"shape": (2, 4), "dtype": np.float64}),
        Sample((draw((3,), 1), 7), {"dtype": int, "shape": 2}),
    ],
)
def _full_like(
    a: Any, fill_value: Any, dtype: Any = None, order: Any = "K", subok: bool = True, shape: Any = None, **_: Any
) -> Any:
    if not isinstance(fill_value, Traced) and np.ndim(fill_value) == 0:
        return fill_like(a, fill_value, dtype, shape)
    wanted = real_dtype(dtype if dtype is not None else dtype_of(a))
    sizes = shape_of(a) if shape is None else sizes_of(shape)
    owner = fill_value if isinstance(fill_value, Traced) else a
    filled = owner.bind(broadcast_to, (fill_value,), {"shape": sizes})
    return filled.copy() if dtype_of(filled) == wanted else astype(filled, dtype=wanted)


@answers(np.copy, samples=calls(((2, 3),), ((),), ((0, 2), "F")))
def _copy(a: Any, order: Any = "K", subok: bool = False) -> Any:
    return a.copy()


@answers(
    np.astype,
    samples=calls(((2, 3), np.float64), ((1,), "d"), ((), "f8", {"copy": False}), ((0, 2), np.float64), ((3,), int)),
)
def _astype(x: Any, dtype: Any, /, *, copy: bool = True, casting: str = "unsafe", **_: Any) -> Any:
    wanted = real_dtype(dtype)
    if not np.can_cast(dtype_of(x), wanted, casting):  # type: ignore[arg-type]
        raise DTypeError(f"{dtype_of(x)} does not become {wanted} with casting={casting!r}. Leave casting= out.")
    return astype(x, dtype=wanted) if copy or wanted != dtype_of(x) else x


# ---- questions: the answers are plain Python, unless they hold the batch size ---------------------


@answers(np.shape, samples=calls(((2, 3),), ((),)))
def _shape(a: Any) -> Any:
    return a.shape


@answers(np.ndim, samples=calls(((2, 3),), ((),)))
def _ndim(a: Any) -> int:
    return len(shape_of(a))


@answers(np.size, samples=calls(((2, 3),), ((2, 3), 1), ((2, 3, 4), (0, -1)), ((),)))
def _size(a: Any, axis: Any = None) -> Any:
    return count_of(a, None if axis is None else normalize_axis(axis, len(shape_of(a))))


def _of_integers(*more: Any) -> Any:
    """The answers below are no arrays: they are not traced in the common tests, but in their own."""
    return lambda: [Sample((np.array([1, 2]), *more))]


@answers(np.result_type, samples=_of_integers(1.5))
def _result_type(*arrays_and_dtypes: Any) -> np.dtype[Any]:
    return np.result_type(*[kind_of(x) if isinstance(x, Traced) else x for x in arrays_and_dtypes])


@answers(np.can_cast, samples=_of_integers(np.float64))
def _can_cast(from_: Any, to: Any, casting: Any = "safe") -> bool:
    return np.can_cast(dtype_of(from_) if isinstance(from_, Traced) else from_, to, casting)


@answers(np.common_type, samples=_of_integers())
def _common_type(*arrays: Any) -> Any:
    return np.common_type(*[np.empty(0, dtype_of(x)) for x in arrays])


@answers(np.min_scalar_type, samples=_of_integers())
def _min_scalar_type(a: Any, /) -> np.dtype[Any]:
    if shape_of(a):
        return dtype_of(a)
    value = known_value(a)
    if value is None:
        raise UnsupportedError("np.min_scalar_type of a number needs its value, and here only shapes are known.")
    return np.min_scalar_type(value)


@answers(np.array_repr, np.array_str, np.array2string, samples=_of_integers())
def _array_repr(arr: Any, *_: Any, **__: Any) -> str:
    return repr(arr)
