"""Arrays of positions anywhere in an index: brought to the first axes, for which there are kernels."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from undertow import primitives as P
from undertow.primitives.index import Pick, Slice


class Split(NamedTuple):
    """An index as a part of an array, whose axes are then reordered, whose first axes are then picked from.

    Attributes:
        part: the index without its positions: slices and single numbers.
        numbers: of the arrays of positions, in the order of their axes.
        order: the axes of the part, those that are picked from first.
        back: the axes of what is picked, in the order in which NumPy has them.
    """

    part: tuple[Any, ...]
    numbers: tuple[int, ...]
    order: tuple[int, ...]
    back: tuple[int, ...]


def split(index: tuple[Any, ...], n_common: int) -> Split | None:
    """Take an index apart; None for one with new axes or masks.

    Args:
        index: an entry for each axis.
        n_common: axes of the positions, broadcast against each other.
    """
    if not all(isinstance(e, Pick | Slice | int) and not isinstance(e, bool) for e in index):
        return None
    kept = [e for e in index if not isinstance(e, int)]
    picked = tuple(i for i, e in enumerate(kept) if isinstance(e, Pick))
    rest = tuple(i for i, e in enumerate(kept) if isinstance(e, Slice))
    places = [i for i, e in enumerate(index) if not isinstance(e, Slice)]  # a number beside arrays counts as one
    together = places == list(range(places[0], places[-1] + 1))
    at = sum(isinstance(e, Slice) for e in index[: places[0]]) if together else 0
    back = (*range(n_common, n_common + at), *range(n_common), *range(n_common + at, n_common + len(rest)))
    part = tuple(Slice() if isinstance(e, Pick) else e for e in index)
    return Split(part, tuple(e.number for e in kept if isinstance(e, Pick)), picked + rest, back)


def transposed(x: Any, axes: tuple[int, ...]) -> Any:
    """Reorder axes, unless that changes nothing."""
    return x if axes == tuple(range(len(axes))) else P.transpose(x, axes=axes)


def positions(picks: tuple[Any, ...], numbers: tuple[int, ...], common: tuple[int, ...]) -> list[Any]:
    """Bring arrays of positions to int64 and one shape."""
    wide = [x if x.dtype == np.int64 else P.astype(x, dtype=np.dtype(np.int64)) for x in (picks[i] for i in numbers)]
    return [x if x.shape == common else P.broadcast_to(x, shape=common) for x in wide]


def _getitem(x: Any, *picks: Any, index: tuple[Any, ...]) -> Any:
    common = np.broadcast_shapes(*[p.shape for p in picks])
    found = split(index, len(common)) if picks else None
    if found is None:
        return None
    if any(e != Slice() for e in found.part):
        x = P.getitem(x, index=found.part)
    n, rest = len(found.numbers), (Slice(),) * (len(found.order) - len(found.numbers))
    x = transposed(x, found.order)
    x = P.getitem(x, *positions(picks, found.numbers, common), index=(*map(Pick, range(n)), *rest))
    return transposed(x, found.back)


def _index_add(x: Any, *picks: Any, index: tuple[Any, ...], shape: tuple[int, ...]) -> Any:
    common = np.broadcast_shapes(*[p.shape for p in picks])
    found = split(index, len(common)) if picks else None
    if found is None:
        return None
    part = _shape_of_part(shape, found.part)
    moved = tuple(part[i] for i in found.order)
    n, rest = len(found.numbers), (Slice(),) * (len(found.order) - len(found.numbers))
    dtype = x.dtype
    # Where many values may meet in one place, float32 is added up as float64, as NumPy's evaluator does it.
    many = dtype == np.float32 and 4 * math.prod(common) > math.prod(moved[:n])
    x = transposed(x, _inverse(found.back))
    x = P.astype(x, dtype=np.dtype(np.float64)) if many else x
    given = positions(picks, found.numbers, common)
    x = P.index_add(x, *given, index=(*map(Pick, range(n)), *rest), shape=moved)
    x = transposed(P.astype(x, dtype=dtype) if many else x, _inverse(found.order))
    return x if all(e == Slice() for e in found.part) else P.index_add(x, index=found.part, shape=shape)


def _shape_of_part(shape: tuple[int, ...], part: tuple[Any, ...]) -> tuple[int, ...]:
    pairs = zip(shape, part, strict=True)
    return tuple(len(range(*slice(e.start, e.stop, e.step).indices(n))) for n, e in pairs if isinstance(e, Slice))


def _inverse(order: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(order.index(i) for i in range(len(order)))


INDEX: dict[str, Callable[..., Any]] = {"getitem": _getitem, "index_add": _index_add}
