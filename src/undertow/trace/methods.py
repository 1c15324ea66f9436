"""What a tracer has of an array's attributes and methods besides those that are NumPy functions of that name."""

from __future__ import annotations

import abc
import functools
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, ClassVar, Final, NoReturn

import numpy as np

from undertow import primitives as P
from undertow.errors import UnsupportedAttributeError, UnsupportedError
from undertow.trace.where import POLYNOMIALS, is_users, user_line

# What asks for the class on behalf of who called it: isinstance of abstract classes, np.isscalar, singledispatch.
_ISSCALAR: Final = np.isscalar.__code__
_ASK_FOR_OTHERS: Final = tuple(
    f.__code__.co_filename for f in (abc.ABCMeta.__instancecheck__, functools.singledispatch)
)
_INSTEAD = {"strides": " Take windows by np.lib.stride_tricks.sliding_window_view(x, window_shape, axis)."}


def _seen_class(tracer: Any) -> type:
    """Return the class of what a traced value stands for: an array, NumPy's number of a dtype, or Python's number."""
    spec = tracer.spec
    if spec.shape or tracer._memory is not None:
        return np.ndarray
    return {"f": float, "i": int, "b": bool}.get(spec.dtype.kind, int) if spec.weak else spec.dtype.type


class ArrayMethods(P.Traced):
    """The attributes and methods of an array, in terms of the primitives and of indexing."""

    __slots__ = ()
    __pandas_priority__: ClassVar[int] = 10_000  # above its tables: an operation of one and a traced array is ours

    node: Any

    def _value(self, wish: str) -> Any:
        raise NotImplementedError

    def _apply(self, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        raise NotImplementedError

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        """What ``isinstance`` goes by: in the user's code that of what NumPy has there, so that it branches alike."""
        frame: FrameType | None = sys._getframe(1)
        while frame is not None and (frame.f_code is _ISSCALAR or frame.f_code.co_filename in _ASK_FOR_OTHERS):
            frame = frame.f_back
        file = "" if frame is None else frame.f_code.co_filename
        return _seen_class(self) if frame and (is_users(file) or file.startswith(POLYNOMIALS)) else type(self)

    # -- the same array, seen otherwise --------------------------------------------------------------

    @property
    def T(self) -> Any:
        """The axes in reverse order."""
        return np.transpose(self)

    @property
    def mT(self) -> Any:
        """The last two axes exchanged."""
        return np.matrix_transpose(self)

    @property
    def flat(self) -> Flat:
        """The elements one after the other: to run through, to read by position, and to write."""
        return Flat(self)

    @flat.setter
    def flat(self, value: Any) -> None:
        self.flat[:] = value

    def reshape(self, *shape: Any, order: str = "C", copy: bool | None = None) -> Any:
        """The same as ``np.reshape``."""
        return np.reshape(self, shape[0] if len(shape) == 1 else shape, order=order, copy=copy)  # type: ignore[call-overload]

    def transpose(self, *axes: Any) -> Any:
        """The same as ``np.transpose``."""
        return np.transpose(self, None if not axes else axes[0] if len(axes) == 1 else axes)

    # -- copies --------------------------------------------------------------------------------------

    def copy(self, order: str = "C") -> Any:
        """A value of its own, that no view shares."""
        return P.identity(self)

    def __copy__(self) -> Any:
        return self.copy()

    def __deepcopy__(self, memo: Any) -> Any:
        return self.copy()

    def flatten(self, order: str = "C") -> Any:
        """A copy with one axis."""
        return np.ravel(self, order).copy()  # type: ignore[call-overload]

    def astype(
        self, dtype: Any, order: str = "K", casting: str = "unsafe", subok: bool = True, copy: bool = True
    ) -> Any:
        """The same values in another dtype."""
        return self._apply(np.astype, (self, dtype), {"casting": casting, "copy": copy})

    # -- values and sizes ----------------------------------------------------------------------------

    def item(self, *index: Any) -> Any:
        """The one number, or the one at an index: still traced if it is a float, so that its derivative is not lost."""
        if self.dtype.kind != "f":
            return np.asarray(self._value("the number")).item(*index)
        if not index:
            if self.size != 1:
                raise ValueError("can only convert an array of size 1 to a Python scalar")
            return np.reshape(self, ())
        place: Any = index[0] if len(index) == 1 else index
        return (self.copy() if isinstance(place, tuple) else np.ravel(self))[place]

    def tolist(self) -> Any:
        """The elements as nested lists: still traced if they are floats, so that their derivative is not lost."""
        if self.dtype.kind != "f":
            return np.asarray(self._value("the list")).tolist()
        return [row.tolist() for row in self] if self.ndim else self.copy()

    @property
    def itemsize(self) -> int:
        """Bytes of one element."""
        return self.spec.dtype.itemsize

    @property
    def nbytes(self) -> Any:
        """Bytes of all elements."""
        return P.count_of(self) * self.itemsize

    # -- in place ------------------------------------------------------------------------------------

    def resize(self, *_: Any, **__: Any) -> NoReturn:
        """Refused: it would change what the other names of this array hold."""
        raise UnsupportedError(f"{user_line()}: x.resize(…) in place cannot be traced. Write x = np.resize(x, shape).")

    def view(self, *given: Any, **named: Any) -> Any:
        """The array under another name; as another type it is refused: bytes read so have no derivative."""
        if not given and not named:
            array: Any = self
            return array[...]
        raise UnsupportedError(
            f"{user_line()}: x.view(…) cannot be traced. Write x[...] for a view, x.astype(…) for another dtype."
        )

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__") or not hasattr(np.ndarray, name):
            from undertow.habits import ARRAYS, missing_attribute

            raise missing_attribute("a traced array", name, ARRAYS)
        raise UnsupportedAttributeError(
            f"{user_line()}: x.{name} of a traced array is not there: it asks for the memory or the bytes of an array, "
            f"or writes to them, and while a function is traced there are none.{_INSTEAD.get(name, '')}"
        )


class Flat:
    """``x.flat``: reading gives copies, as in NumPy; writing writes to the array."""

    __slots__ = ("base",)

    def __init__(self, base: Any) -> None:
        self.base = base

    def __len__(self) -> int:
        return int(self.base.size)

    def __iter__(self) -> Iterator[Any]:
        line = self.copy()
        return (line[i] for i in range(len(self)))

    def __getitem__(self, key: Any) -> Any:
        return self.copy()[key].copy()

    def __setitem__(self, key: Any, value: Any) -> None:
        line = self.copy()
        if np.ndim(value):  # NumPy repeats the values, or takes as many as there is room for
            value = np.resize(value, np.shape(np.empty(len(self))[key]))
        line[key] = value
        self.base[...] = np.reshape(line, self.base.shape)

    def copy(self) -> Any:
        """A copy of the array with one axis."""
        return np.ravel(self.base).copy()
