"""Functions that another library computes: SciPy's ufuncs without a kernel here, called by the loops that NumPy calls.

A ufunc is a structure of C (``PyUFuncObject``) that names its loops: for each combination of dtypes a function and what
it is given. Kernels call it for a vector at a time, so that the numbers are those of SciPy to the bit. The addresses
come with the table of a kernel, whose code is the same for every process.

Source: NumPy C-API, ``PyUFuncObject`` and ``PyUFuncGenericFunction``.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from undertow.compile.kinds import FLOATS, UNSIGNED
from undertow.primitives.record import REGISTRY

if TYPE_CHECKING:
    from undertow.compile.ir import Emitter, Value

PREFIX = "scipy_"  # of the primitives concerned


class _Ufunc(ctypes.Structure):
    """The beginning of a ufunc, behind what every object of Python begins with."""

    _fields_ = (
        ("nin", ctypes.c_int),
        ("nout", ctypes.c_int),
        ("nargs", ctypes.c_int),
        ("identity", ctypes.c_int),
        ("functions", ctypes.POINTER(ctypes.c_void_p)),
        ("data", ctypes.POINTER(ctypes.c_void_p)),
        ("ntypes", ctypes.c_int),
        ("reserved", ctypes.c_int),
        ("name", ctypes.c_char_p),
        ("types", ctypes.c_void_p),
    )


class Loop(NamedTuple):
    """A loop of a ufunc.

    Attributes:
        function: its address, ``void (char **args, intptr_t *count, intptr_t *steps, void *data)``.
        data: what it is given besides, an address.
    """

    function: int
    data: int


@lru_cache(maxsize=1024)
def find_loop(name: str, kinds: tuple[str, ...], kind: str) -> Loop | None:
    """Return the loop that computes a primitive; None where there is none, or none that can be called.

    Args:
        name: of the primitive.
        kinds: of what it is given.
        kind: of the result.
    """
    primitive = REGISTRY.get(name) if name.startswith(PREFIX) else None
    ufunc = primitive.numpy[0] if primitive is not None and primitive.numpy else None
    if not isinstance(ufunc, np.ufunc) or ufunc.nout != 1:
        return None
    wanted = [_dtype_of(x) for x in (*kinds, kind)]
    for i, types in enumerate(ufunc.types):
        if [np.dtype(x) for x in types.replace("->", "")] == wanted:
            return _loop(ufunc, i)
    return None


def _loop(ufunc: np.ufunc, i: int) -> Loop | None:
    """Read a loop's addresses, if the structure is what it should be."""
    head = _Ufunc.from_address(id(ufunc) + object.__basicsize__)
    told = (head.nin, head.nout, head.nargs, head.ntypes)
    if told != (ufunc.nin, ufunc.nout, ufunc.nargs, ufunc.ntypes) or head.name != ufunc.__name__.encode():
        return None
    function = head.functions[i]
    return Loop(function, head.data[i] or 0) if function and head.data else None


def _dtype_of(kind: str) -> np.dtype[Any]:
    letter = "f" if kind in FLOATS else "u" if kind in UNSIGNED else "i"
    return np.dtype(bool) if kind == "i1" else np.dtype(f"{letter}{int(kind[1:]) // 8}")


def without_errors() -> AbstractContextManager[object]:
    """Have SciPy's loops raise and warn of nothing, as compiled operations do: nobody there could take an error."""
    from scipy import special

    return special.errstate(all="ignore")


def call_loop(e: Emitter, function: Value, data: Value, inputs: Sequence[Value], kind: str) -> Value:
    """Write the call of a loop for the lanes of a vector.

    Args:
        e: writes the kernel.
        function: the loop's address.
        data: what it is given besides.
        inputs: of the kinds that the loop takes.
        kind: of the result.
    """
    from undertow.compile.ir import BITS, Value

    lanes = max(x.lanes for x in inputs)
    held = [e.variable(e.splat(x, lanes)) for x in inputs] + [e.variable(e.const(0, kind, lanes))]
    args, steps, count = (Value(e, e.reserve(f"[{n} x i64]"), "ptr", 0) for n in (len(held), len(held), 1))
    e.store(e.const(max(lanes, 1), "i64"), count)
    for i, x in enumerate(held):
        e.store(Value(e, x.place, "ptr", 0), e.address(args, i, "i64"))
        e.store(e.const(BITS[x.kind] // 8, "i64"), e.address(steps, i, "i64"))
    e.line(f"call void {function.text}(ptr {args.text}, ptr {count.text}, ptr {steps.text}, ptr {data.text})")
    return held[-1].get()
