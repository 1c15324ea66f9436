"""Arrays from whatever the user has: NumPy arrays, lists, frames and series."""

from __future__ import annotations

from typing import Never

import numpy as np
from numpy.typing import NDArray

from undertow.data.batches import check_leading_sizes
from undertow.data.datasets import Dataset
from undertow.data.wording import count, shorten
from undertow.errors import DataError, ShapeError


def as_arrays(data: object, part: str = "training") -> tuple[NDArray[np.floating], NDArray[np.generic]]:
    """Check a pair (X, y) and give it as NumPy arrays, without copying where nothing changes.

    Args:
        data: (X, y), each an array, nested list, or a frame or series with ``__array__``; or a ``Dataset``.
            X is (m, …) with two axes or more, y is (m, …).
        part: what messages call the data: training or validation.

    Returns:
        X as float32 or float64 (float64 stays; booleans, integers and float16 become float32), and y
        with its own dtype (integers stay integers).

    Raises:
        DataError: ``X[3, 2] is NaN (1 of 600 values is not finite). …``, or text, objects, complex numbers.
        ShapeError: ``train data: X is (150, 4), y is (149,): their leading sizes 150 and 149 differ. …``

    Example:
        >>> X, y = as_arrays(([[1, 2], [3, 4]], [0, 1]))
        >>> X.dtype, y.dtype
        (dtype('float32'), dtype('int64'))
    """
    if isinstance(data, Dataset):
        data = (data.X, data.y)
    if not isinstance(data, tuple | list) or len(data) != 2:
        size = f" of {len(data)}" if isinstance(data, tuple | list) else ""
        table = ", or undertow.data.encode_table(frame, target)" if hasattr(data, "columns") else ""
        kind = type(data).__name__
        raise DataError(f"{part} data must be a pair (X, y), got {_with_article(kind)}{size}. Give (X, y){table}.")
    if all(map(_is_pair, data)):
        raise DataError(
            f"{part} data are two pairs (X, y). Give one of them, and what is held out beside it: validation=(X, y)."
        )
    owner = "" if part == "training" else f"the {part} "
    X, y = read_array(data[0], f"{owner}X"), read_array(data[1], f"{owner}y")
    check_leading_sizes(f"{part} data", X, y)
    if X.ndim == 1:
        raise ShapeError(
            f"{owner}X is {X.shape}: one axis only. Give it a feature axis: X[:, None] for one feature an example."
        )
    wide = np.issubdtype(X.dtype, np.floating) and X.dtype.itemsize >= 8
    numbers: NDArray[np.floating] = X.astype(np.float64 if wide else np.float32, copy=False)
    return numbers, y


def _is_pair(part: object) -> bool:
    """Whether a part of (X, y) is X and y itself: arrays that are no rows of one."""
    arrays = isinstance(part, tuple) and len(part) == 2 and all(isinstance(x, np.ndarray) for x in part)
    return arrays and np.shape(part[0]) != np.shape(part[1])  # type: ignore[index]


def read_array(value: object, name: str) -> NDArray[np.generic]:
    """One array of finite real numbers.

    Args:
        value: an array, nested list, or a frame or series with ``__array__``.
        name: what messages call it.

    Returns:
        The array, of boolean, integer or floating dtype; missing entries count as NaN.

    Raises:
        DataError: ``X holds text ('red'). …``, or the first entry that is not finite, and their number.

    Example:
        >>> read_array([1.5, 2], "y")
        array([1.5, 2. ])
    """
    if isinstance(value, np.ma.MaskedArray):
        value = np.where(np.ma.getmaskarray(value), np.nan, value.data) if np.ma.is_masked(value) else value.data
    try:
        array = np.asarray(value)
    except (TypeError, ValueError) as error:
        reason = str(error).partition(". ")[0].rstrip(".")
        raise DataError(f"{name} is no array: {reason}. Give rows of equal length that hold numbers only.") from None
    if array.dtype.kind not in "biuf":
        _refuse_dtype(array, name)
    _check_finite(array, name)
    return array


def _refuse_bare(value: object, name: str) -> Never:
    """DataError on what is no array at all: nothing, a text, which may be meant as a path, or an object."""
    if value is None:
        raise DataError(f"{name} is None, no array. Give a NumPy array.")
    if isinstance(value, str):
        raise DataError(
            f"{name} is the text {shorten(str(value))}, no array. Give a NumPy array; a file is read by "
            "undertow.data.read_table, and encoded by undertow.data.encode_table."
        )
    raise DataError(
        f"{name} is {_with_article(type(value).__name__)}, no array. Give a NumPy array (a sparse matrix through "
        ".toarray(), a table through undertow.data.encode_table)."
    )


def _with_article(kind: str) -> str:
    """A type's name with its article."""
    return f"{'an' if kind[0] in 'AEIOaeio' or kind == 'ndarray' else 'a'} {kind}"


def _refuse_dtype(array: NDArray[np.generic], name: str) -> None:
    """DataError that says what the array holds instead of real numbers."""
    if array.dtype.kind == "c":
        raise DataError(f"{name} holds complex numbers ({array.dtype}). Give real and imaginary parts as columns.")
    if array.dtype.kind in "mM":
        raise DataError(f"{name} holds dates or durations ({array.dtype}). Give numbers, such as days.")
    if array.ndim == 0:
        _refuse_bare(array[()], name)
    for index in np.ndindex(array.shape):
        entry = array[index]
        if not isinstance(entry, bool | int | float | np.number | np.bool_):
            shown = shorten(str(entry) if isinstance(entry, str) else entry)  # np.str_ has a repr of its own
            if name == "y" and isinstance(entry, str):
                raise DataError(
                    f"{_name_entry(name, index)} is {shown}, no number. Number the classes from 0: "
                    "classes, y = np.unique(y, return_inverse=True)."
                )
            raise DataError(
                f"{_name_entry(name, index)} is {shown}, no number (dtype {array.dtype}). "
                "Encode texts and missing values as numbers first: undertow.data.TabularEncoder does."
            )
    raise DataError(f"{name} has the dtype {array.dtype}. Give numbers: {name}.astype('float32').")


def _check_finite(array: NDArray[np.generic], name: str) -> None:
    """DataError at the first entry that is NaN or infinite."""
    if array.dtype.kind != "f":
        return
    finite = np.isfinite(array)
    if finite.all():
        return
    bad = array.size - int(np.count_nonzero(finite))
    index = np.unravel_index(int(np.argmin(finite)), array.shape)
    kind = "NaN" if np.isnan(array[index]) else f"{array[index]}"
    entry = _name_entry(name, tuple(int(i) for i in index))
    verb = "is" if bad == 1 else "are"
    raise DataError(
        f"{entry} is {kind} ({bad} of {count(array.size, 'value')} {verb} not finite). "
        "Fill or drop such rows; undertow.data.TabularEncoder fills missing values."
    )


def _name_entry(name: str, index: tuple[int, ...]) -> str:
    """``X[3, 2]``."""
    return f"{name}[{', '.join(map(str, index))}]"
