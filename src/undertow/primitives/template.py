"""An index taken apart: a hashable template with an entry per axis, and the arrays of positions in it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from types import EllipsisType
from typing import Any

import numpy as np

from undertow.errors import PositionError, ShapeError, UnsupportedError
from undertow.graph import Dim, NeedsConcreteSize, Shape, Size, broadcast_shapes, show_shape
from undertow.primitives.record import Code, Traced, dtype_of, known_value, shape_of, spec_of


@dataclass(frozen=True)
class Slice:
    """A slice that can be hashed."""

    start: int | None = None
    stop: int | None = None
    step: int | None = None

    def __str__(self) -> str:
        ends = [("" if e is None else str(e)) for e in (self.start, self.stop)]
        return ":".join(ends if self.step is None else [*ends, str(self.step)])


@dataclass(frozen=True)
class Pick:
    """The place of an array of positions; the array itself is an input of the operation."""

    number: int


Entry = int | bool | None | EllipsisType | Slice | Pick  # a bool is a mask of no axes: it adds an axis of size 1 or 0
Template = tuple[Entry, ...]

_FULL = Slice()


def take_apart(x: Any, key: Any) -> tuple[Template, list[Any]]:
    """Split an index into a hashable template with an entry per axis, and the arrays of positions in it.

    Raises:
        PositionError: more indices than axes, a mask of another shape, an index of another kind.
        UnsupportedError: a mask that is traced: which elements it picks is not known.
    """
    if type(key) is int:  # by far the most frequent index
        shape = shape_of(x)
        if shape:
            return (key, *(_FULL,) * (len(shape) - 1)), []
    entries = [_plain(e) for e in (key if isinstance(key, tuple) else (key,))]
    used = sum(_axes_used(e) for e in entries)
    shape = shape_of(x)
    if used > len(shape):
        raise PositionError(f"{used} indices for {show_shape(shape)}, which has {len(shape)} axes.")
    where = next((i for i, e in enumerate(entries) if e is Ellipsis), len(entries))
    gap = [slice(None)] * (len(shape) - used)
    if any(e is Ellipsis for e in entries[where + 1 :]):
        raise PositionError("an index can only have a single ellipsis ('...').")
    if gap or where == len(entries):
        entries[where : where + 1] = gap
    # An ellipsis that stands for no axis stays: arrays of positions on both its sides are not together.
    template: list[Entry] = []
    picks: list[Any] = []
    axis = 0
    for e in entries:
        if isinstance(e, slice):
            template.append(Slice(*[_end(v) for v in (e.start, e.stop, e.step)]))
        elif e is None or e is Ellipsis or isinstance(e, bool | int):
            template.append(e)
        elif isinstance(e, Traced) and dtype_of(e).kind in "iu":
            template.append(Pick(len(picks)))
            picks.append(e)
        elif dtype_of(e).kind == "b":
            places = _places_of(e, shape[axis : axis + len(shape_of(e))])
            template += [Pick(len(picks) + i) for i in range(len(places))]
            picks += places
        else:
            template.append(Pick(len(picks)))
            picks.append(e.astype(np.intp))
        axis += _axes_used(e)
    if not is_copy(tuple(template)):
        template = [e for e in template if e is not Ellipsis]
    return tuple(template), picks


def _end(v: Any) -> int | None:
    """Bring the start, stop or step of a slice to a number."""
    if v is None:
        return None
    if not hasattr(v, "__index__") or (isinstance(v, Traced) and dtype_of(v).kind not in "iu"):
        what = f"{dtype_of(v)}" if isinstance(v, Traced) else f"{v!r}, which is a {type(v).__name__}"
        raise PositionError(f"a slice begins, ends and steps by integers, not {what}.")
    return v.__index__()


def _plain(e: Any) -> Any:
    """Bring an entry of an index to a slice, None, Ellipsis, int, bool, an array or a tracer.

    Raises:
        PositionError: it is none of these, or an array of something else than integers and truth values.
    """
    if e is None or e is Ellipsis or isinstance(e, slice | int):
        return e
    if isinstance(e, Traced):
        kind, value = dtype_of(e).kind, known_value(e)
        if kind == "b" and not shape_of(e) and value is not None:
            return bool(value)
        if kind in "iub":
            return e
    else:
        array = np.asarray(e)
        if isinstance(e, np.generic) or (array.ndim == 0 and array.dtype.kind == "b"):
            e = array.item()
            if isinstance(e, int):
                return e
        elif array.dtype.kind in "iub" or (not array.size and not isinstance(e, np.ndarray)):
            return array
    raise PositionError(f"an index must be integers, slices or truth values, not {dtype_of(e)}.")


def _axes_used(e: Any) -> int:
    if e is None or e is Ellipsis or isinstance(e, bool):
        return 0
    if isinstance(e, slice | int) or spec_of(e).dtype.kind != "b":
        return 1
    return len(shape_of(e))


def _places_of(mask: Any, shape: Shape) -> list[Any]:
    """Return the positions that a mask picks, an array per axis."""
    value = known_value(mask)
    if value is None:
        raise UnsupportedError(
            "how many elements a traced mask picks is not known from shapes alone. Write np.where(mask, x, 0), or "
            "x = np.where(mask, new, x) for x[mask] = new."
        )
    if any(isinstance(size, Dim) for size in shape):
        raise NeedsConcreteSize("a mask picks rows of the batch by number")
    if np.shape(value) != shape:
        raise PositionError(
            f"a mask of shape {show_shape(np.shape(value))} does not fit the axes it picks from, {show_shape(shape)}."
        )
    return list(np.nonzero(value))


def put_together(template: Template, picks: tuple[Any, ...]) -> tuple[Any, ...]:
    """Make the index that NumPy takes."""
    return tuple(
        picks[e.number] if isinstance(e, Pick) else slice(e.start, e.stop, e.step) if isinstance(e, Slice) else e
        for e in template
    )


def is_whole(template: Template) -> bool:
    """Tell whether the index is ``[...]``: all elements, in their order."""
    return all(e == _FULL for e in template)


def is_copy(template: Template) -> bool:
    """Tell whether NumPy makes a copy of what the index picks, and no view."""
    return any(isinstance(e, Pick | bool) for e in template)


def indexed_shape(shape: Shape, template: Template, picks: tuple[Shape, ...]) -> Shape:
    """Return the shape of ``x[index]``.

    Raises:
        PositionError: a position beyond the end of its axis.
        NeedsConcreteSize: part of a symbolic axis is asked for.
    """
    parts: list[Size] = []
    places: list[int] = []  # where positions stand among the entries; an int beside arrays counts as one
    sizes: Iterator[Size] = iter(shape)
    advanced = is_copy(template)
    first: int | None = None
    for i, e in enumerate(template):
        if e is None:
            parts.append(1)
            continue
        if e is Ellipsis:
            continue
        if not isinstance(e, bool):
            size = next(sizes)
            if isinstance(e, Slice):
                parts.append(_sliced(size, e))
                continue
            if isinstance(e, int):
                _check_position(e, size)
                if not advanced:
                    continue
        first = len(parts) if first is None else first
        places.append(i)
    if not advanced:
        return tuple(parts)
    together = places == list(range(places[0], places[-1] + 1))
    at = (first or 0) if together else 0
    picks = (*picks, *[(int(e),) for e in template if isinstance(e, bool)])
    try:
        return (*parts[:at], *broadcast_shapes(*picks), *parts[at:])
    except ShapeError as error:
        raise PositionError(f"arrays of positions do not broadcast against each other: {error}") from None


def _check_position(e: int, size: Size) -> None:
    if isinstance(size, Dim) and e != 0:
        raise NeedsConcreteSize(f"whether position {e} exists depends on the batch size")
    if not isinstance(size, Dim) and not -size <= e < size:
        raise PositionError(f"position {e} is beyond an axis of size {size}.")


def _sliced(size: Size, e: Slice) -> Size:
    if isinstance(size, Dim):
        if e.start is None and e.stop is None and e.step in (None, 1, -1):
            return size
        raise NeedsConcreteSize("a part of the batch depends on its size")
    return len(range(*slice(e.start, e.stop, e.step).indices(size)))


def spell_key(template: Template, picks: tuple[Code, ...]) -> str:
    """Write an index; trailing full slices are left out."""
    entries = [picks[e.number].text if isinstance(e, Pick) else "..." if e is ... else str(e) for e in template]
    while len(entries) > 1 and entries[-1] == ":":
        entries.pop()
    return ", ".join(entries) or "()"
