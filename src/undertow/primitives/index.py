"""Picking elements and writing them: basic and advanced indexing, and its transpose."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from undertow.errors import ArgumentError, PositionError, ShapeError
from undertow.graph import Shape, Spec, broadcast_shapes, show_shape, total
from undertow.primitives.record import (
    NO_GRADIENT,
    Code,
    Primitive,
    Sample,
    Traced,
    check_number,
    dtype_of,
    known_value,
    shape_of,
)
from undertow.primitives.sampling import draw
from undertow.primitives.shape import astype, broadcast_to
from undertow.primitives.template import Pick as Pick
from undertow.primitives.template import Slice as Slice
from undertow.primitives.template import (
    Template,
    indexed_shape,
    is_whole,
    put_together,
    spell_key,
    take_apart,
)


def _infer(x: Spec, *picks: Spec, index: Template) -> Spec:
    return Spec(indexed_shape(x.shape, index, tuple(p.shape for p in picks)), x.dtype)


_MASK = np.array([[True, False, True], [False, True, True]])
_KEYS: tuple[tuple[tuple[int, ...], Any], ...] = (
    ((4,), 1), ((4,), -1), ((4,), slice(1, 3)), ((4,), slice(None, None, -2)), ((2, 3), (slice(None), 1)),
    ((2, 3), (None, slice(None), None)), ((2, 3), (Ellipsis, 0)), ((4,), np.array([0, 2, 2])), ((1, 3), 0),
    ((2, 3), (np.array([0, 1, 1]), np.array([2, 0, 0]))), ((2, 3), (slice(None), np.array([[0, 2], [2, 2]]))),
    ((2, 3, 4), (np.array([0, 1]), slice(None), np.array([3, 3]))), ((2, 3, 4), (1, slice(None), np.array([0, 3]))),
    ((4,), np.array([True, False, True, True])), ((2, 3), _MASK), ((0, 3), (slice(None), 1)), ((3,), slice(0, 0)),
    ((2, 3), ()), ((2, 3), ...), ((5,), slice(3, 0, -2)), ((2, 3, 4), (_MASK, slice(1, 3))), ((3,), [2, -1]),
    ((3, 4), np.ix_([2, 0], [1, 1, 3])), ((2, 3, 4), (_MASK, np.array([0, 1, 2, 0]))), ((2, 3), True),
    ((2, 3), (slice(None), False)), ((3,), []), ((4, 3), np.array([True, False, True, True])), ((), ()), ((), None),
    ((2, 3, 4), (slice(None), np.array([2, 0]), None, 1)), ((2, 3), np.array([[0, 0], [1, 0]])), ((), (True, None)),
    ((2, 3, 4), np.s_[1, ..., ::-1]), ((2, 3, 4), (slice(None), np.array([0, 2, 1]), ..., np.array([3, 0, 0]))),
    ((4,), np.array([False] * 4)), ((3,), np.array([-1, 2, 0])),
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


getitem = Primitive(
    name="getitem",
    forward=lambda x, *picks, index: x[put_together(index, picks)],
    infer=_infer,
    vjps=lambda position, *args, **params: _get_back(position, *args, **params),
    spell=lambda x, *picks, index, **_: Code(f"{x.within(9)}[{spell_key(index, picks)}]"),
    text="{0}[…]",
    latex=r"{0}_{{[\cdot]}}",
    flow=("{ct} put back where it was picked, zeros elsewhere",),
    latex_flow=(r"\operatorname{{put}}({ct})",),
    view=True,
    samples=_get_samples,
)


def add_up(values: Any, key: tuple[Any, ...], shape: tuple[int, ...]) -> Any:
    """Return zeros with the values added at places that may repeat; float32 numbers are added up as float64."""
    values = np.asarray(values)
    size = math.prod(shape)
    many = 4 * values.size > size and values.size > 64  # then the whole array is worth numbering
    narrow = values.dtype in (np.float32, np.float16)
    if many and len(shape) > 1 and (narrow or values.dtype == np.float64):
        places = np.arange(size).reshape(shape)[key]
        return np.bincount(places.ravel(), values.ravel(), size).astype(values.dtype, copy=False).reshape(shape)
    wide = np.zeros(shape, np.float64 if narrow else values.dtype)
    np.add.at(wide, key, values.astype(wide.dtype, copy=False))  # NumPy is slow where the dtypes differ
    if not narrow or many:
        return wide.astype(values.dtype, copy=False)
    result = np.zeros(shape, values.dtype)
    result[key] = wide[key]
    return result


def _add_at(ct: Any, *picks: Any, index: Template, shape: tuple[int, ...]) -> Any:
    if picks:
        return add_up(ct, put_together(index, picks), shape)
    result = np.zeros(shape, np.asarray(ct).dtype)
    result[put_together(index, picks)] = ct
    return result


def _spell_add(ct: Code, *picks: Code, index: Template, shape: Shape, out: Spec | None = None, **_: Any) -> Code:
    key = spell_key(index, picks)
    if picks:
        return Code(f"add_at({show_shape(shape)}, np.s_[{key}], {ct.text})")
    sizes = str(shape[0]) if len(shape) == 1 else show_shape(shape)
    dtype = "" if out is None or out.dtype == np.float64 else f", dtype=np.{out.dtype}"
    return Code(f"put_at(np.zeros({sizes}{dtype}), np.s_[{key}], {ct.text})")


index_add = Primitive(
    name="index_add",
    forward=_add_at,
    infer=lambda ct, *picks, index, shape: Spec(shape, ct.dtype),
    vjps=lambda position, ct, out, x, *picks, index, shape: getitem(ct, *picks, index=index),
    spell=_spell_add,
    text="put({0})",
    latex=r"\operatorname{{put}}({0})",
    flow=("{ct}[…]",),
    latex_flow=(r"{ct}_{{[\cdot]}}",),
    helper='''def add_at(shape, key, values):
    """Zeros with the values added at these places; places that repeat add up."""
    total = np.zeros(shape)
    np.add.at(total, key, np.asarray(values, total.dtype))
    return total.astype(np.asarray(values).dtype)''',
    samples=lambda: [
        Sample(
            (draw(np.shape(getitem.forward(*s.args, **s.params)), 7), *s.args[1:]),
            {**s.params, "shape": np.shape(s.args[0])},
            note=s.note,
        )
        for s in _get_samples()
    ],
)


# ---- writing -------------------------------------------------------------------------------------


def _last(*picks: Any, index: Template, shape: Any) -> Any:
    """Tell which of the elements written at these places remain: of those at one place, the last."""
    key = put_together(index, picks)
    places = np.zeros(shape, np.intp)
    numbers = np.arange(places[key].size).reshape(places[key].shape)
    places[key] = numbers
    return places[key] == numbers


last_written = Primitive(
    name="last_written",
    forward=_last,
    infer=lambda *picks, index, shape: Spec(indexed_shape(shape, index, tuple(p.shape for p in picks)), np.dtype(bool)),
    vjps=lambda *_, **__: None,
    constant=tuple(range(64)),
    spell=lambda *picks, index, shape, **_: Code(
        f"last_written({show_shape(shape)}, np.s_[{spell_key(index, picks)}])"
    ),
    text="[last at its place]",
    latex=r"[\text{{last at its place}}]",
    helper='''def last_written(shape, key):
    """Which of the values written at these places remain: of those at one place, the last."""
    places = np.zeros(shape, dtype=int)
    numbers = np.arange(places[key].size).reshape(places[key].shape)
    places[key] = numbers
    return places[key] == numbers''',
    samples=lambda: [
        Sample(s.args[1:], {**s.params, "shape": np.shape(s.args[0])}, s.note) for s in _get_samples() if s.args[1:]
    ],
)


def _still_there(value: Any, picks: tuple[Any, ...], index: Template, shape: Shape) -> Any:
    """Return the values that were not overwritten by others of the same write, zeros for the rest."""
    known = [known_value(pick) for pick in picks]
    together = broadcast_shapes(*[shape_of(pick) for pick in picks])
    for pick in known:
        if pick is not None and np.shape(pick) == together and (not np.size(pick) or np.min(pick) >= 0):
            count = np.bincount(np.ravel(pick))
            if not np.size(count) or count.max() == 1:  # no position repeats on this axis: none does
                return value
    if all(pick is not None for pick in known) and all(isinstance(size, int) for size in shape):
        kept = _last(*known, index=index, shape=shape)
        return value if np.all(kept) else np.where(kept, value, 0)
    kept = last_written(*picks, index=index, shape=shape)
    return np.where(kept, value, 0)


def _updated(x: Any, v: Any, *picks: Any, index: Template) -> Any:
    result = np.array(x)
    result[put_together(index, picks)] = v
    return result


def _update_back(position: int, ct: Any, out: Any, x: Any, v: Any, *picks: Any, index: Template) -> Any:
    if position == 0:
        return index_update(ct, np.zeros((), dtype_of(ct))[()], *picks, index=index)
    value = getitem(ct, *picks, index=index)
    return _still_there(value, picks, index, shape_of(x)) if picks else value


def _infer_update(x: Spec, v: Spec, *picks: Spec, index: Template) -> Spec:
    wanted = indexed_shape(x.shape, index, tuple(p.shape for p in picks))
    if broadcast_shapes(v.shape, wanted) != wanted:
        raise ShapeError(f"{show_shape(v.shape)} cannot be written where {show_shape(wanted)} is.")
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
        *[
            Sample(
                (s.args[0], draw(np.shape(getitem.forward(*s.args, **s.params)), 8), *s.args[1:]),
                s.params,
                note=s.note,
            )
            for s in _get_samples()
        ],
        Sample((draw((2, 3), 1), draw((2, 1), 2)), {"index": take_apart(np.ones((2, 3)), ...)[0]}, "a column"),
        Sample((draw((4,), 1), draw((), 2), np.array([1, 1])), {"index": (Pick(0),)}, "a number, twice"),
    ],
)


def index(x: Any, key: Any) -> Any:
    """Return ``x[key]`` for any index that NumPy takes."""
    template, picks = take_apart(x, key)
    return getitem(x, *picks, index=template)


def stacked(value: Any) -> Any:
    """Return what is to be written as an array or number; a list that holds traced values becomes a traced array."""
    if isinstance(value, list | tuple) and any(isinstance(item, Traced | list | tuple) for item in value):
        return np.stack([stacked(item) for item in value])
    return value


def fill(x: Any, value: Any) -> Any:
    """Return an array of the shape and dtype of the traced x that holds the value, broadcast."""
    shape, dtype = shape_of(x), dtype_of(x)
    if not isinstance(value, Traced):
        check_number(value, dtype)
        value = np.asarray(value).astype(dtype)[()]
    elif value.spec.dtype != dtype or value.spec.weak:
        value = astype(value, dtype=dtype)
    if shape_of(value) == shape and isinstance(value, Traced):
        return value
    return x.bind(broadcast_to, (value,), {"shape": shape})


def update(x: Any, key: Any, value: Any) -> Any:
    """Return a copy of x with ``x[key] = value`` done, cast to the dtype of x; where places repeat, the last one wins.

    Raises:
        UnsupportedError: a mask that is traced without values picks the places of more than one value.
    """
    check_number(value, dtype_of(x))
    value = stacked(value)
    one = total(shape_of(value)) == 1
    if isinstance(key, Traced) and dtype_of(key).kind == "b" and known_value(key) is None and one:
        if shape_of(key) != shape_of(x)[: len(shape_of(key))]:
            raise PositionError(
                f"a mask of shape {show_shape(shape_of(key))} does not fit an array of shape {show_shape(shape_of(x))}."
            )
        missing = len(shape_of(x)) - len(shape_of(key))
        spread: Any = index(key, (slice(None),) * len(shape_of(key)) + (None,) * missing) if missing else key
        return np.where(spread, fill(x, value), x)
    template, picks = take_apart(x, key)
    wanted = indexed_shape(shape_of(x), template, tuple(shape_of(pick) for pick in picks))
    extra = len(shape_of(value)) - len(wanted)
    if extra > 0 and all(size == 1 for size in shape_of(value)[:extra]):  # NumPy drops leading axes of size 1
        value = np.reshape(value, shape_of(value)[extra:])
    if is_whole(template) and isinstance(x, Traced) and broadcast_shapes(shape_of(value), wanted) == wanted:
        return fill(x, value)
    return index_update(x, value, *picks, index=template)


# ---- labels --------------------------------------------------------------------------------------


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
