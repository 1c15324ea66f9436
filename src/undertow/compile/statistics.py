"""Statistics of arrays that a step computes anyway: numbers of what passes by, which no result of the step depends on.

The sum of squares, the sum, the largest magnitude and counts of an array are added up by the kernel that makes the
array, or by one that passes over it: nothing is read twice. float32 is added up in float32 lanes and folded into
float64 every 128 vectors: enough to look at (relative error 1e-5 of the sum of magnitudes), and half of the work.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from undertow.graph import Node, Spec
from undertow.primitives.record import Traced

KINDS: Final = ("ss", "s", "max", "zeros", "flat")


class _Statistics:
    """The operation, as graphs know it. It has no derivative and is no primitive: no function of a user's holds it."""

    name = "statistics"
    numpy = ()
    view = tells_active = False

    def forward(self, x: Any, kinds: tuple[str, ...], flat: tuple[float, float], shift: int) -> NDArray[np.float64]:
        """Compute it with NumPy."""
        with np.errstate(all="ignore"):
            return np.array(_measure(np.asarray(x), kinds, flat), np.float64)

    def infer(self, x: Spec, kinds: tuple[str, ...], flat: tuple[float, float], shift: int) -> Spec:
        """The shape and dtype of the result."""
        return Spec((len(kinds),), np.dtype(np.float64))

    def __repr__(self) -> str:
        return "<operation statistics>"


def _measure(x: NDArray[Any], kinds: tuple[str, ...], flat: tuple[float, float]) -> list[float]:
    """The numbers. Ufuncs reduce a flat array for a third of what functions of the same name cost."""
    wide = x.astype(np.float64, copy=False).ravel()
    found: list[float] = []
    for kind in kinds:
        if kind == "ss":
            found.append(float(np.vdot(wide, wide)))
        elif kind == "s":
            found.append(np.add.reduce(wide))
        elif kind == "max":
            least, most = np.minimum.reduce(wide, initial=0.0), np.maximum.reduce(wide, initial=0.0)
            found.append(max(most, -least))  # NaN makes NaN of both
        elif kind == "zeros":
            found.append(float(x.size - np.count_nonzero(x)))
        else:
            found.append(float(np.count_nonzero((x < x.dtype.type(flat[0])) | (x > x.dtype.type(flat[1])))))
    return found


STATISTICS: Final = _Statistics()


def statistics(
    x: Any, kinds: tuple[str, ...] = KINDS[:3], flat: tuple[float, float] = (-math.inf, math.inf), shift: int = 0
) -> Any:
    """Measure an array.

    Args:
        x: float32 or float64; traced or not.
        kinds: what is wanted, of ``ss`` (sum of squares), ``s`` (sum), ``max`` (largest magnitude; not finite where an
            element is not), ``zeros`` (how many are 0), ``flat`` (how many lie beyond two bounds).
        flat: these bounds.
        shift: float32 numbers are multiplied by 2 to this power before they are squared, so that the squares of small
            ones are none that float32 cannot hold. It is taken out again.

    Returns:
        float64 (len(kinds),).

    Source: derived here.

    Example:
        >>> statistics(np.array([3.0, 0.0, -4.0]), ("ss", "s", "max", "zeros"))
        array([25., -1.,  4.,  1.])
    """
    params: dict[str, Any] = {"kinds": kinds, "flat": flat, "shift": shift}
    if isinstance(x, Traced):
        return x.bind(STATISTICS, (x,), params)  # type: ignore[arg-type]
    return STATISTICS.forward(x, **params)


def is_statistics(node: Node) -> bool:
    """Tell whether a node is of this operation."""
    return node.op is STATISTICS


class Measure(NamedTuple):
    """What is to be measured of an array; see `statistics`."""

    array: Any
    kinds: tuple[str, ...] = KINDS[:3]
    flat: tuple[float, float] = (-math.inf, math.inf)
    shift: int = 0


class Told(NamedTuple):
    """The statistics of steps on batches of one size.

    Attributes:
        names: (k,), what each number is: ``"0.delta.ss"``.
        counts: int64 (k,), of how many elements each is made.
        values: float64 (steps, k).
    """

    names: tuple[str, ...]
    counts: NDArray[np.int64]
    values: NDArray[np.float64]


def measure_now(measures: Mapping[str, Measure]) -> Told:
    """Measure arrays with NumPy.

    Args:
        measures: by name.

    Returns:
        The statistics of one step.
    """
    names = tuple(f"{name}.{kind}" for name, x in measures.items() for kind in x.kinds)
    counts = [np.size(x.array) for x in measures.values() for _ in x.kinds]
    with np.errstate(all="ignore"):
        values = [number for x in measures.values() for number in _measure(np.asarray(x.array), x.kinds, x.flat)]
    return Told(names, np.array(counts, np.int64), np.array(values, np.float64)[None])


def join_told(parts: Sequence[Told]) -> tuple[Told, ...]:
    """Put the statistics of steps in a row together, where the batches were of one size."""
    found: list[list[Told]] = []
    for part in parts:
        if found and np.array_equal(found[-1][0].counts, part.counts):
            found[-1].append(part)
        else:
            found.append([part])
    return tuple(x[0]._replace(values=np.concatenate([part.values for part in x])) for x in found)


def first_steps(parts: Sequence[Told], n: int) -> tuple[Told, ...]:
    """Take the statistics of the first n steps."""
    kept = []
    for part in parts:
        kept.append(part._replace(values=part.values[:n]))
        n = max(n - len(part.values), 0)
    return tuple(x for x in kept if len(x.values))
