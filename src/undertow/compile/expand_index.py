"""Arrays of positions anywhere in an index: brought to the first axes, for which there are kernels."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from undertow import primitives as P
from undertow.compile.rewriting import filled
from undertow.primitives.index import Pick, Slice
from undertow.primitives.template import indexed_shape


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
    """Take an index apart; None for one with new axes.

    Args:
        index: an entry for each axis, and an ellipsis between arrays that are not together.
        n_common: axes of the positions, broadcast against each other.
    """
    apart, index = Ellipsis in index, tuple(e for e in index if e is not Ellipsis)
    if not all(isinstance(e, Pick | Slice | int) and not isinstance(e, bool) for e in index):
        return None
    kept = [e for e in index if not isinstance(e, int)]
    picked = tuple(i for i, e in enumerate(kept) if isinstance(e, Pick))
    rest = tuple(i for i, e in enumerate(kept) if isinstance(e, Slice))
    places = [i for i, e in enumerate(index) if not isinstance(e, Slice)]  # a number beside arrays counts as one
    together = places == list(range(places[0], places[-1] + 1)) and not apart
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


class Widened(NamedTuple):
    """An index without new axes, of an array that has them already.

    Attributes:
        axes: the new ones.
        entries: whole slices in place of them; in place of a truth value, a place where it holds, and none where not.
        picks: arrays of positions.
    """

    axes: tuple[int, ...]
    entries: tuple[Any, ...]
    picks: tuple[Any, ...]


def widened(index: tuple[Any, ...], picks: tuple[Any, ...]) -> Widened | None:
    """Let new axes be old ones; None where there are none, or slices and numbers do it alone."""
    if not any(isinstance(e, bool) for e in index) and not (picks and None in index):
        return None
    axes: list[int] = []
    entries: list[Any] = []
    at = 0
    for e in index:
        if e is None or isinstance(e, bool):
            axes.append(at)
        if isinstance(e, bool):
            entries.append(Pick(len(picks)))
            picks = (*picks, np.zeros(int(e), np.int64))
        else:
            entries.append(Slice() if e is None else e)
        at += e is not Ellipsis
    return Widened(tuple(axes), tuple(entries), picks)


def _getitem(x: Any, *picks: Any, index: tuple[Any, ...]) -> Any:
    wide = widened(index, picks)
    if wide is not None:
        return _getitem(P.expand_dims(x, axis=wide.axes), *wide.picks, index=wide.entries)
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
    wide = widened(index, picks)
    if wide is not None:
        made = _index_add(x, *wide.picks, index=wide.entries, shape=_with_ones(shape, wide.axes))
        return P.squeeze(made, axis=wide.axes)
    common = np.broadcast_shapes(*[p.shape for p in picks])
    found = split(index, len(common)) if picks else None
    if found is None:
        return None
    part = _shape_of_part(shape, found.part)
    moved = tuple(part[i] for i in found.order)
    n, rest = len(found.numbers), (Slice(),) * (len(found.order) - len(found.numbers))
    x, given = transposed(x, _inverse(found.back)), positions(picks, found.numbers, common)
    x = P.index_add(x, *given, index=(*map(Pick, range(n)), *rest), shape=moved)
    x = transposed(x, _inverse(found.order))
    return x if all(e == Slice() for e in found.part) else P.index_add(x, index=found.part, shape=shape)


def _index_update(x: Any, v: Any, *picks: Any, index: tuple[Any, ...]) -> Any:
    """Positions come first: other axes are moved behind them, and a part is taken out, changed and put back."""
    wide = widened(index, picks)
    if wide is not None:
        made = _index_update(P.expand_dims(x, axis=wide.axes), v, *wide.picks, index=wide.entries)
        return P.squeeze(made, axis=wide.axes)
    common = np.broadcast_shapes(*[p.shape for p in picks])
    found = split(index, len(common)) if picks else None
    if found is None:
        return None
    whole = all(e == Slice() for e in found.part)
    inner = transposed(x if whole else P.getitem(x, index=found.part), found.order)
    n, rest = len(found.numbers), (Slice(),) * (len(found.order) - len(found.numbers))
    shape = (*common, *inner.shape[n:])
    wanted = tuple(shape[i] for i in found.back)
    v = v if v.dtype == x.dtype else P.astype(v, dtype=x.dtype)
    v = v if v.shape == wanted else P.broadcast_to(v, shape=wanted)
    v = transposed(v, _inverse(found.back))
    given = positions(picks, found.numbers, common)
    made = P.index_update(inner, v, *given, index=(*map(Pick, range(n)), *rest))
    made = transposed(made, _inverse(found.order))
    return made if whole else P.index_update(x, made, index=found.part)


def _last_written(*picks: Any, index: tuple[Any, ...], shape: tuple[int, ...]) -> Any:
    """Write their numbers, and see which are still there."""
    written: Any = indexed_shape(shape, index, tuple(p.shape for p in picks))
    numbers = np.arange(math.prod(written)).reshape(written)
    places = P.index_update(filled(picks[0], np.int64(0), shape), numbers, *picks, index=index)
    return P.getitem(places, *picks, index=index) == numbers


def _with_ones(shape: tuple[int, ...], axes: tuple[int, ...]) -> tuple[int, ...]:
    sizes = iter(shape)
    return tuple(1 if i in axes else next(sizes) for i in range(len(shape) + len(axes)))


def _shape_of_part(shape: tuple[int, ...], part: tuple[Any, ...]) -> tuple[int, ...]:
    pairs = zip(shape, part, strict=True)
    return tuple(len(range(*slice(e.start, e.stop, e.step).indices(n))) for n, e in pairs if isinstance(e, Slice))


def _inverse(order: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(order.index(i) for i in range(len(order)))


INDEX: dict[str, Callable[..., Any]] = {
    "getitem": _getitem,
    "index_add": _index_add,
    "index_update": _index_update,
    "last_written": _last_written,
}
