"""Writing to a traced array: ``x[i] = v``, ``x += v``, and the methods that change an array in place.

Nodes never change: the tracer gets another node, and so do the arrays whose memory it shares (see `views`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from undertow import primitives as P
from undertow.errors import DTypeError, NumberError, PositionError, ShapeError, UnsupportedError
from undertow.graph import Node, show_shape
from undertow.trace.failure import locate_index
from undertow.trace.options import check_output
from undertow.trace.remedy import unknown_count
from undertow.trace.views import UNSURE, View, forbid, is_number, write
from undertow.trace.where import locate, user_line


class InPlace:
    """The half of a tracer that is written to."""

    __slots__ = ()

    _node: Node
    _view: View | None
    _memory: Any

    def __setitem__(self: Any, key: Any, value: Any) -> None:
        view = getattr(value, "_view", None)
        if view is not None and view.base is self and view.op is P.getitem and not view.picks:
            template, picks = P.take_apart(self, key)
            if not picks and template == view.params["index"] and view.seen == view.memory.version:
                return  # the second half of x[i] += v, which was written through the view x[i]
        try:
            new = P.update(self, key, value)
        except UnsupportedError:
            raise unknown_count(self) from None
        except PositionError as error:
            raise locate_index(error, self) from None
        except NumberError as error:
            raise locate(error, "x[i] = v") from None
        self._write(new)

    def _write(self: Any, new: Any) -> Any:
        """Take on a new value, in place: whatever shares the memory changes too."""
        if P.shape_of(new) != P.shape_of(self):
            raise ShapeError(
                f"{user_line()}: {show_shape(P.shape_of(new))} cannot be written into {show_shape(P.shape_of(self))} "
                f"in place. Write x = x + v."
            )
        if new.spec != self.spec:
            new = new.astype(self.dtype)
        write(self, new)
        return self

    def _combine(self: Any, new: Any) -> Any:
        """Finish ``x += v``: an array takes on the sum, a name for a number is given the new one."""
        if not self._node.spec.shape:
            number = is_number(self)
            if number:
                return new
            if number is None and P.shape_of(new) == ():
                result = type(self)(new.node, new.tape)
                result._memory = UNSURE
                forbid(self)
                return result
        if not np.can_cast(new.dtype, self.dtype, "same_kind"):
            raise DTypeError(
                f"{user_line()}: {new.dtype} cannot be written into {self.dtype} in place. Write x = x + v."
            )
        return self._write(new)

    def _take(self: Any, new: Any, where: Any) -> Any:
        """Take on the result of a ufunc's call that is to be written here, ``out=x``; elsewhere it stays as it is."""
        if not np.can_cast(new.dtype, self.dtype, "same_kind"):
            raise DTypeError(f"{user_line()}: {new.dtype} cannot be written into {self.dtype}. Leave out= out.")
        new = new if where is True else np.where(where, new, self)
        return self._write(np.broadcast_to(new, self.shape) if P.shape_of(new) != P.shape_of(self) else new)

    def _call_into(self: Any, ufunc: np.ufunc, args: Any, kwargs: dict[str, Any]) -> Any:
        """Call a ufunc that writes its results into arrays, ``out=``; of several results some may be arrays of ours."""
        outputs, where = kwargs["out"], kwargs.get("where", True)
        for out in outputs:
            if out is not None:
                check_output(P.name_of(ufunc), out)
        rest = {key: value for key, value in kwargs.items() if key not in ("out", "where")}
        made = self.__array_ufunc__(ufunc, "__call__", *args, **rest)
        results = made if ufunc.nout > 1 else (made,)
        taken = [new if out is None else out._take(new, where) for new, out in zip(results, outputs, strict=True)]
        return tuple(taken) if ufunc.nout > 1 else taken[0]

    def _apply_into(self: Any, function: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Call a function of NumPy's that writes its result into an array, ``out=x``, and return that."""
        out, name = kwargs["out"], P.name_of(function)
        out = out[0] if isinstance(out, tuple) and len(out) == 1 else out
        check_output(name, out)
        result = self._apply(function, args, {key: value for key, value in kwargs.items() if key != "out"})
        shapes, dtypes = [P.shape_of(x) for x in (result, out)], [P.dtype_of(x) for x in (result, out)]
        if shapes[0] != shapes[1]:
            raise ShapeError(
                f"{user_line()}: {name} gives {show_shape(shapes[0])}, which out= of {show_shape(shapes[1])} does not "
                "hold. Give it an array of that shape."
            )
        if dtypes[0] != dtypes[1]:  # which NumPy may add up in, or refuse
            raise DTypeError(
                f"{user_line()}: {name} gives {dtypes[0]}, and out= is {dtypes[1]}. Give it an array of "
                f"{dtypes[0]}, or write x[...] = {name}(…)."
            )
        out[...] = result
        return out

    def __iadd__(self: Any, other: Any) -> Any:
        return self._combine(self + other)

    def __isub__(self: Any, other: Any) -> Any:
        return self._combine(self - other)

    def __imul__(self: Any, other: Any) -> Any:
        return self._combine(self * other)

    def __itruediv__(self: Any, other: Any) -> Any:
        return self._combine(self / other)

    def __ifloordiv__(self: Any, other: Any) -> Any:
        return self._combine(self // other)

    def __imod__(self: Any, other: Any) -> Any:
        return self._combine(self % other)

    def __ipow__(self: Any, other: Any) -> Any:
        return self._combine(self**other)

    def __imatmul__(self: Any, other: Any) -> Any:
        return self._combine(self @ other)

    def __iand__(self: Any, other: Any) -> Any:
        return self._combine(self & other)

    def __ior__(self: Any, other: Any) -> Any:
        return self._combine(self | other)

    def __ixor__(self: Any, other: Any) -> Any:
        return self._combine(self ^ other)

    def __ilshift__(self: Any, other: Any) -> Any:
        return self._combine(self << other)

    def __irshift__(self: Any, other: Any) -> Any:
        return self._combine(self >> other)

    # -- methods -------------------------------------------------------------------------------------

    def fill(self: Any, value: Any) -> None:
        """Write one number everywhere."""
        self[...] = value

    def sort(self: Any, axis: int = -1, kind: Any = None, order: Any = None, **options: Any) -> None:
        """Sort in place."""
        self._write(np.sort(self, axis, kind, order, **options))

    def partition(self: Any, kth: Any, axis: int = -1, kind: Any = "introselect", order: Any = None) -> None:
        """Partition in place."""
        self._write(np.partition(self, kth, axis, kind, order))

    def put(self: Any, indices: Any, values: Any, mode: Any = "raise") -> None:
        """The same as ``np.put``."""
        np.put(self, indices, values, mode)

    def compress(self: Any, condition: Any, axis: Any = None, out: Any = None) -> Any:
        """The elements where the condition holds, along an axis."""
        return np.compress(condition, self, axis, out)
