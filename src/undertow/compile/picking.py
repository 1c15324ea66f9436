"""Numbers of many steps picked, scaled and added up at once: by NumPy, that takes as long as a small step itself."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from undertow.compile.cache import find_kernels, name_of
from undertow.compile.ir import Emitter, Module
from undertow.compile.processor import lanes_of

Array = NDArray[Any]


class Picker:
    """Makes of a row of numbers another row, for many rows at once.

    Args:
        columns: (k,), the place of each number in a row that is given.
        factors: (k,), what it is multiplied by; NaN where there is none.
        roots: (k,), whether the root is taken then.
        groups: lists of places, whose numbers are added up.

    Source: derived here.

    Example:
        >>> picker = Picker([2, 0], [0.5, 1.0], [True, False], [[0, 1, 2]])
        >>> picker(np.array([[1.0, 2.0, 8.0]]))
        (array([[2., 1.]], dtype=float32), array([[11.]]))
    """

    def __init__(
        self,
        columns: Sequence[int] | Array,
        factors: Sequence[float] | Array,
        roots: Sequence[bool] | Array,
        groups: Sequence[Sequence[int]],
    ) -> None:
        self.columns = np.array(columns, np.int64)
        self.factors = np.array(factors, np.float64)
        self.roots = np.array(roots, np.int64)
        self.members = np.array([x for group in groups for x in group], np.int64)
        self.ends = np.cumsum([len(group) for group in groups], dtype=np.int64)
        kept = (self.columns, self.factors, self.roots, self.members, self.ends)
        self.args = np.array([0, *map(_address, kept), 0, 0, 0, 0, len(self.columns), len(self.ends)], np.int64)

    def __reduce__(self) -> tuple[Any, ...]:  # addresses hold in this process, for these arrays
        groups = np.split(self.members, self.ends[:-1])
        return Picker, (self.columns, self.factors, self.roots, groups)

    def __call__(self, values: Array, picked: Array | None = None) -> tuple[Array, Array]:
        """Pick numbers.

        Args:
            values: float64 (steps, n), the numbers of a step side by side.
            picked: where they go, float32 with k numbers a step, row by row; else to an array that is made.

        Returns:
            float32 (steps, k), and the sums, float64 (steps, number of groups).
        """
        if picked is None:
            picked = np.empty((len(values), len(self.columns)), np.float32)
        sums = np.empty((len(values), len(self.ends)))
        args = self.args.copy()
        args[0], args[6], args[7] = _address(values), _address(picked), _address(sums)
        args[8], args[9] = values.strides[0] // values.itemsize, len(values)
        _kernel()(_address(args))
        return picked, sums


def _address(array: Array) -> int:
    return int(array.__array_interface__["data"][0])


@cache
def _kernel() -> Any:
    name = name_of("pick")
    address = find_kernels({name: (_write, "pick")})[name]
    return ctypes.CFUNCTYPE(None, ctypes.c_void_p)(address)


def _write(module: Module) -> None:
    e = Emitter(module, "pick", [("args", "ptr")])
    pointers = [e.load(e.address(e.args["args"], i, "i64"), "ptr") for i in range(8)]
    apart, steps, count, n_groups = (e.load(e.address(e.args["args"], 8 + i, "i64"), "i64") for i in range(4))
    values, columns, factors, roots, members, ends, picked, sums = pointers
    lanes = lanes_of("f64")
    with e.loop(0, steps) as step:
        row = e.address(values, step * apart, "f64")
        with e.loop(0, count, lanes) as c:
            mask = e.first_lanes(count - c, lanes)
            places = e.load(e.address(columns, c, "i64"), "i64", lanes, mask)
            x = e.gather(row, places, "f64", mask) * e.load(e.address(factors, c, "f64"), "f64", lanes, mask)
            rooted = e.load(e.address(roots, c, "i64"), "i64", lanes, mask) != 0
            x = e.convert(e.select(rooted, e.sqrt(x), x), "f32")
            e.store(x, e.address(picked, step * count + c, "f32"), mask)
        first = e.variable(e.const(0, "i64"))
        with e.loop(0, n_groups) as group:
            end, total = e.load(e.address(ends, group, "i64"), "i64"), e.variable(e.const(0, "f64"))
            with e.loop(first.get(), end) as i:
                place = e.load(e.address(members, i, "i64"), "i64")
                total.set(total.get() + e.load(e.address(row, place, "f64"), "f64"))
            e.store(total.get(), e.address(sums, step * n_groups + group, "f64"))
            first.set(end)
    e.finish()
