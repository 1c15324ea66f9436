"""Picking elements and writing them: basic and advanced indexing, and its transpose."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from undertow.errors import ArgumentError, ShapeError, UnsupportedError
from undertow.graph import Dim, NeedsConcreteSize, Shape, Size, Spec, broadcast_shapes, show_shape
from undertow.primitives.record import (
    NO_GRADIENT,
    Code,
    Primitive,
    Sample,
    Traced,
    answers,
    dtype_of,
    normalize_axis,
    refuse,
    shape_of,
    spec_of,
)
from undertow.primitives.sampling import draw


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


Entry = int | None | Slice | Pick
Template = tuple[Entry, ...]


def take_apart(x: Any, key: Any) -> tuple[Template, list[Any]]:
    """Split an index into a hashable template with an entry per axis, and the arrays of positions in it.

    Raises:
        UnsupportedError: a mask that is traced: which elements it picks is not known.
    """
    entries = list(key) if isinstance(key, tuple) else [key]
    used = sum(_axes_used(e) for e in entries)
    ndim = len(shape_of(x))
    if used > ndim:
        raise ShapeError(f"{used} indices for {show_shape(shape_of(x))}, which has {ndim} axes.")
    rest = [slice(None)] * (ndim - used)
    where = next((i for i, e in enumerate(entries) if e is Ellipsis), len(entries))
    entries[where : where + 1] = rest
    template: list[Entry] = []
    picks: list[Any] = []
    for e in entries:
        if isinstance(e, slice):
            template.append(Slice(*[None if v is None else v.__index__() for v in (e.start, e.stop, e.step)]))
        elif e is None:
            template.append(None)
        elif isinstance(e, Traced) and dtype_of(e).kind == "b":
            value = getattr(getattr(e, "node", None), "value", None)
            if value is None:
                raise UnsupportedError(
                    "how many elements a traced mask picks is not known from shapes alone. Write np.where(mask, x, 0)."
                )
            picks, template = _add_mask(value, picks, template)
        elif isinstance(e, int | np.integer) and not isinstance(e, bool | np.bool_):
            template.append(int(e))
        elif isinstance(e, Traced) and dtype_of(e).kind in "iu":
            template.append(Pick(len(picks)))
            picks.append(e)
        else:
            array = np.asarray(e)
            if array.dtype.kind == "b":
                picks, template = _add_mask(array, picks, template)
            elif array.dtype.kind in "iu" or not array.size:
                template.append(Pick(len(picks)))
                picks.append(array.astype(np.intp))
            else:
                raise ArgumentError(f"an index must be integers, slices or truth values, not {array.dtype}.")
    return tuple(template), picks


def _axes_used(e: Any) -> int:
    if e is None or e is Ellipsis:
        return 0
    if isinstance(e, slice | int | np.integer) or spec_of(e).dtype.kind != "b":
        return 1
    return len(shape_of(e))


def _add_mask(mask: Any, picks: list[Any], template: list[Entry]) -> tuple[list[Any], list[Entry]]:
    places = np.nonzero(mask)
    return [*picks, *places], [*template, *(Pick(len(picks) + i) for i in range(len(places)))]


def put_together(template: Template, picks: tuple[Any, ...]) -> tuple[Any, ...]:
    """Make the index that NumPy takes."""
    return tuple(
        picks[e.number] if isinstance(e, Pick) else slice(e.start, e.stop, e.step) if isinstance(e, Slice) else e
        for e in template
    )


def indexed_shape(shape: Shape, template: Template, picks: tuple[Shape, ...]) -> Shape:
    """Return the shape of ``x[index]``.

    Raises:
        ShapeError: a position beyond the end of its axis.
        NeedsConcreteSize: part of a symbolic axis is asked for.
    """
    parts: list[Size] = []
    places: list[int] = []  # where positions stand among the entries; an int beside arrays counts as one
    sizes: Iterator[Size] = iter(shape)
    advanced = bool(picks)
    first: int | None = None
    for i, e in enumerate(template):
        if e is None:
            parts.append(1)
            continue
        size = next(sizes)
        if isinstance(e, Slice):
            parts.append(_sliced(size, e))
            continue
        if isinstance(e, int):
            if isinstance(size, Dim) and e != 0:
                raise NeedsConcreteSize(f"whether position {e} exists depends on the batch size")
            if not isinstance(size, Dim) and not -size <= e < size:
                raise ShapeError(f"position {e} is beyond an axis of size {size}.")
            if not advanced:
                continue
        first = len(parts) if first is None else first
        places.append(i)
    if not advanced:
        return tuple(parts)
    together = places == list(range(places[0], places[-1] + 1))
    at = (first or 0) if together else 0
    return (*parts[:at], *broadcast_shapes(*picks), *parts[at:])


def _sliced(size: Size, e: Slice) -> Size:
    if isinstance(size, Dim):
        if e.start is None and e.stop is None and e.step in (None, 1, -1):
            return size
        raise NeedsConcreteSize("a part of the batch depends on its size")
    return len(range(*slice(e.start, e.stop, e.step).indices(size)))


def _infer(x: Spec, *picks: Spec, index: Template) -> Spec:
    return Spec(indexed_shape(x.shape, index, tuple(p.shape for p in picks)), x.dtype)


def spell_key(template: Template, picks: tuple[Code, ...]) -> str:
    """Write an index; trailing full slices are left out."""
    entries = [picks[e.number].text if isinstance(e, Pick) else str(e) for e in template]
    while len(entries) > 1 and entries[-1] == ":":
        entries.pop()
    return ", ".join(entries) or "()"


_KEYS: tuple[tuple[tuple[int, ...], Any], ...] = (
    ((4,), 1), ((4,), -1), ((4,), slice(1, 3)), ((4,), slice(None, None, -2)), ((2, 3), (slice(None), 1)),
    ((2, 3), (None, slice(None), None)), ((2, 3), (Ellipsis, 0)), ((4,), np.array([0, 2, 2])), ((1, 3), 0),
    ((2, 3), (np.array([0, 1, 1]), np.array([2, 0, 0]))), ((2, 3), (slice(None), np.array([[0, 2], [2, 2]]))),
    ((2, 3, 4), (np.array([0, 1]), slice(None), np.array([3, 3]))), ((2, 3, 4), (1, slice(None), np.array([0, 3]))),
    ((4,), np.array([True, False, True, True])), ((2, 3), np.array([[True, False, True], [False, True, True]])),
    ((0, 3), (slice(None), 1)), ((3,), slice(0, 0)), ((2, 3), ()),
)  # fmt: skip


def _get_samples() -> list[Sample]:
    samples = []
    for number, (shape, key) in enumerate(_KEYS):
        x = draw(shape, number)
        template, picks = take_apart(x, key)
        samples.append(Sample((x, *picks), {"index": template}, note=str(key)))
    return samples


def _get_back(position: int, ct: Any, out: Any, x: Any, *picks: Any, index: Template) -> Any:
    return index_add(ct, *picks, index=index, shape=shape_of(x))


def _get_rule(position: int, *args: Any, **params: Any) -> Any:
    return _get_back(position, *args, **params)


getitem = Primitive(
    name="getitem",
    forward=lambda x, *picks, index: x[put_together(index, picks)],
    infer=_infer,
    vjps=_get_rule,
    spell=lambda x, *picks, index, **_: Code(f"{x.within(9)}[{spell_key(index, picks)}]"),
    text="{0}[…]",
    latex=r"{0}_{{[\cdot]}}",
    flow=("{ct} put back where it was picked, zeros elsewhere",),
    latex_flow=(r"\operatorname{{put}}({ct})",),
    view=True,
    samples=_get_samples,
)


def _add_at(ct: Any, *picks: Any, index: Template, shape: tuple[int, ...]) -> Any:
    result = np.zeros(shape, np.asarray(ct).dtype)
    if picks:
        np.add.at(result, put_together(index, picks), ct)
    else:
        result[put_together(index, picks)] = ct
    return result


index_add = Primitive(
    name="index_add",
    forward=_add_at,
    infer=lambda ct, *picks, index, shape: Spec(shape, ct.dtype),
    vjps=lambda position, ct, out, x, *picks, index, shape: getitem(ct, *picks, index=index),
    spell=lambda ct, *picks, index, shape, **_: Code(
        f"add_at({show_shape(shape)}, np.s_[{spell_key(index, picks)}], {ct.text})"
    ),
    text="put({0})",
    latex=r"\operatorname{{put}}({0})",
    flow=("{ct}[…]",),
    latex_flow=(r"{ct}_{{[\cdot]}}",),
    helper='''def add_at(shape, key, values):
    """Zeros with the values added at these places; places that repeat add up."""
    result = np.zeros(shape, np.asarray(values).dtype)
    np.add.at(result, key, values)
    return result''',
    samples=lambda: [
        Sample(
            (draw(np.shape(getitem.forward(*s.args, **s.params)), 7), *s.args[1:]),
            {**s.params, "shape": np.shape(s.args[0])},
            note=s.note,
        )
        for s in _get_samples()
    ],
)


def _updated(x: Any, v: Any, *picks: Any, index: Template) -> Any:
    result = np.array(x)
    result[put_together(index, picks)] = v
    return result


def _update_back(position: int, ct: Any, out: Any, x: Any, v: Any, *picks: Any, index: Template) -> Any:
    if position == 0:
        return index_update(ct, np.zeros((), dtype_of(ct))[()], *picks, index=index)
    return getitem(ct, *picks, index=index)


def _infer_update(x: Spec, v: Spec, *picks: Spec, index: Template) -> Spec:
    wanted = indexed_shape(x.shape, index, tuple(p.shape for p in picks))
    if broadcast_shapes(v.shape, wanted) != wanted:
        raise ShapeError(f"{show_shape(v.shape)} cannot be written where {show_shape(wanted)} is.")
    if not np.can_cast(v.dtype, x.dtype, "same_kind") and not v.weak:
        raise ShapeError(f"{v.dtype} cannot be written into {x.dtype}. Convert it with .astype first.")
    return x


index_update = Primitive(
    name="index_update",
    forward=_updated,
    infer=_infer_update,
    vjps=_update_back,
    broadcasts=True,
    whole=True,
    spell=lambda x, v, *picks, index, **_: Code(f"put_at({x.text}, np.s_[{spell_key(index, picks)}], {v.text})"),
    text="{0} with {1} written in",
    latex=r"\operatorname{{write}}({0}, {1})",
    flow=("{ct}, zero where it was overwritten", "{ct}[…]"),
    latex_flow=(r"\operatorname{{clear}}({ct})", r"{ct}_{{[\cdot]}}"),
    helper='''def put_at(x, key, values):
    """A copy of x with x[key] = values done."""
    result = np.array(x)
    result[key] = values
    return result''',
    samples=lambda: [
        Sample(
            (s.args[0], draw(np.shape(getitem.forward(*s.args, **s.params)), 8), *s.args[1:]),
            s.params,
            note=s.note,
        )
        for s in _get_samples()
        if not any(len(np.unique(pick)) < np.size(pick) for pick in s.args[1:]) or "True" in s.note
    ],
)


def index(x: Any, key: Any) -> Any:
    """Return ``x[key]`` for any index that NumPy takes."""
    template, picks = take_apart(x, key)
    return getitem(x, *picks, index=template)


def update(x: Any, key: Any, value: Any) -> Any:
    """Return a copy of x with ``x[key] = value`` done; where positions repeat, which value stays is not defined."""
    template, picks = take_apart(x, key)
    return index_update(x, value, *picks, index=template)


@answers(np.take)
def _take(a: Any, indices: Any, axis: Any = None, out: Any = None, mode: str = "raise") -> Any:
    refuse("np.take", out=out, mode=None if mode == "raise" else mode)
    if axis is None:
        return index(np.ravel(a), indices)
    at = normalize_axis(axis, len(shape_of(a)))[0]
    return index(a, (*(slice(None),) * at, indices))


@answers(np.take_along_axis)
def _take_along_axis(arr: Any, indices: Any, axis: Any = -1) -> Any:
    if axis is None:
        return index(np.ravel(arr), indices)
    shape, at = shape_of(indices), normalize_axis(axis, len(shape_of(arr)))[0]
    key: list[Any] = []
    for i, size in enumerate(shape):
        if isinstance(size, Dim):
            raise NeedsConcreteSize("np.take_along_axis counts the rows of the batch")
        key.append(indices if i == at else np.arange(size).reshape([-1 if j == i else 1 for j in range(len(shape))]))
    return index(arr, tuple(key))


def _rows(labels: Any, depth: int, dtype: np.dtype[Any]) -> Any:
    labels = np.asarray(labels)
    if labels.size and (labels.min() < 0 or labels.max() >= depth):
        bad = labels[(labels < 0) | (labels >= depth)].flat[0]
        raise ArgumentError(f"label {bad} is not one of 0 … {depth - 1}. Give one_hot as many classes as there are.")
    return (labels[..., None] == np.arange(depth)).astype(dtype)


one_hot_rows = Primitive(
    name="one_hot",
    forward=_rows,
    infer=lambda labels, depth, dtype: Spec((*labels.shape, depth), dtype),
    vjps=(NO_GRADIENT,),
    spell=lambda labels, *, depth, dtype, **_: Code(f"one_hot({labels.text}, {depth}, np.{dtype})"),
    text="one-hot({0})",
    latex=r"\operatorname{{onehot}}({0})",
    helper='''def one_hot(labels, depth, dtype):
    """Integer labels as rows with a single 1."""
    return (np.asarray(labels)[..., None] == np.arange(depth)).astype(dtype)''',
    samples=lambda: [
        Sample((np.array(labels),), {"depth": 3, "dtype": np.dtype(np.float64)})
        for labels in ([0, 2, 1], [1], [[0, 1], [2, 2]], 2)
    ],
)


def one_hot(labels: Any, depth: int, dtype: Any = np.float64) -> Any:
    """Write integer labels as rows with a single 1.

    Args:
        labels: integers 0 … depth − 1, any shape.
        depth: the number of classes.
        dtype: of the result.

    Returns:
        Shape (*labels.shape, depth); each row sums to 1, which the simplifier knows.

    Raises:
        ArgumentError: a label is not an integer, or outside 0 … depth − 1.

    Example:
        >>> one_hot(np.array([0, 2]), 3)
        array([[1., 0., 0.],
               [0., 0., 1.]])
    """
    if dtype_of(labels).kind not in "iu":
        raise ArgumentError(f"labels must be integers, not {dtype_of(labels)}. Convert them with .astype(int).")
    return one_hot_rows(labels, depth=int(depth), dtype=np.dtype(dtype))
