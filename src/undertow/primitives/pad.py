"""Padding: np.pad in all its modes that say what the new elements are.

Constants and copies of elements (edge, reflect, symmetric, wrap) are one primitive. The other modes compute
their elements, so they are written as what NumPy does: a piece before, the array, a piece behind, axis by axis.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from undertow.errors import ArgumentError, ShapeError, UnsupportedError
from undertow.graph import Dim, NeedsConcreteSize, Shape, Size, Spec, show_shape
from undertow.primitives.arrange import known_positions
from undertow.primitives.index import index
from undertow.primitives.join import concatenate
from undertow.primitives.record import FUNCTIONS, Code, Kink, Primitive, Sample, Traced, answers, dtype_of, shape_of
from undertow.primitives.sampling import draw
from undertow.primitives.shape import astype, broadcast_to, spread

Width = tuple[tuple[int, int], ...]
Options = tuple[tuple[str, Any], ...]

COPIES = ("edge", "reflect", "symmetric", "wrap")


def _padded(shape: Shape, width: Width, sign: int = 1) -> Shape:
    sizes: list[Size] = []
    for size, pair in zip(shape, width, strict=True):
        if any(pair) and isinstance(size, Dim):
            raise NeedsConcreteSize("a padded batch needs its size as a number")
        sizes.append(size + sign * sum(pair) if any(pair) else size)  # type: ignore[operator]
    return tuple(sizes)


def _infer_pad(x: Spec, width: Width, mode: str, options: Options) -> Spec:
    empty = next((i for i, size in enumerate(x.shape) if size == 0 and any(width[i])), None)
    if empty is not None and mode != "constant":
        raise ShapeError(f"axis {empty} of {show_shape(x.shape)} has no element to pad with. Use mode='constant'.")
    return Spec(_padded(x.shape, width), x.dtype)


def _pad_back(ct: Any, out: Any, x: Any, width: Width, mode: str, options: Options) -> Any:
    if mode == "constant":
        return index(ct, tuple(slice(before or None, -after or None) for before, after in width))
    return fold_pad(ct, width=width, mode=mode)


def _write_pairs(pairs: tuple[tuple[Any, Any], ...]) -> str:
    """Write pairs as shortly as np.pad reads them: ``1``, ``(1, 2)``, ``((1, 1), (0, 2))``."""
    rows = [f"({_write(before)}, {_write(after)})" for before, after in pairs]
    if len(set(rows)) > 1:
        return f"({', '.join(rows)})"
    before, after = map(_write, pairs[0])
    return before if before == after else rows[0]


def _write(value: Any) -> str:
    return repr(value) if math.isfinite(value) else f"{'-' if value < 0 else ''}np.{str(value).lstrip('-')}"


def _spell_pad(x: Code, *, width: Width, mode: str, options: Options, **_: Any) -> Code:
    tail = "" if mode == "constant" else f", mode={mode!r}"
    for key, value in options:
        tail += f", {key}={_write_pairs(value) if isinstance(value, tuple) else repr(value)}"
    return Code(f"np.pad({x.text}, {_write_pairs(width)}{tail})")


_WIDTHS: tuple[tuple[tuple[int, ...], Width], ...] = (
    ((3,), ((1, 2),)),
    ((2, 3), ((1, 0), (2, 1))),
    ((2, 3), ((0, 0), (2, 2))),
    ((1, 3), ((2, 1), (0, 0))),
    ((3,), ((0, 0),)),
    ((3,), ((7, 8),)),
    ((0, 2), ((0, 0), (1, 0))),
)


def _pad_samples() -> list[Sample]:
    rows: list[tuple[str, Options]] = [(mode, ()) for mode in ("constant", *COPIES)]
    rows += [("constant", (("constant_values", ((1.5, -2.0),)),)), ("symmetric", (("reflect_type", "even"),))]
    return [
        Sample((draw(shape, 1),), {"width": width, "mode": mode, "options": options})
        for mode, options in rows
        for shape, width in _WIDTHS
    ]


pad: Primitive = Primitive(
    name="pad",
    forward=lambda x, width, mode, options: np.pad(x, width, mode, **dict(options)),
    infer=_infer_pad,
    vjps=(_pad_back,),
    spell=_spell_pad,
    text="pad({0})",
    latex=r"\operatorname{{pad}}({0})",
    flow=("the inner part of {ct}, and the rest where it was copied from",),
    latex_flow=(r"\operatorname{{fold}}({ct})",),
    samples=_pad_samples,
)


def _fold_pad(x: Any, width: Width, mode: str) -> Any:
    for axis, (before, after) in enumerate(width):
        if before or after:
            rows = np.moveaxis(x, axis, 0)
            end = len(rows) - after
            inner = rows[before:end].copy()
            source = np.pad(np.arange(end - before), (before, after), mode)  # type: ignore[call-overload]
            for i in (*range(before), *range(end, len(rows))):
                inner[source[i]] += rows[i]
            x = np.moveaxis(inner, 0, axis)
    return x


fold_pad: Primitive = Primitive(
    name="fold_pad",
    forward=_fold_pad,
    infer=lambda x, width, mode: Spec(_padded(x.shape, width, -1), x.dtype),
    vjps=(lambda ct, out, x, width, mode: pad(ct, width=width, mode=mode, options=()),),
    spell=lambda x, *, width, mode, **_: Code(f"fold_pad({x.text}, {width}, {mode!r})"),
    text="fold({0})",
    latex=r"\operatorname{{fold}}({0})",
    flow=("pad({ct})",),
    latex_flow=(r"\operatorname{{pad}}({ct})",),
    helper='''def fold_pad(x, width, mode):
    """The transpose of np.pad: every row of padding is added to the row that it was copied from."""
    for axis, (before, after) in enumerate(width):
        if before or after:
            rows = np.moveaxis(x, axis, 0)
            end = len(rows) - after
            inner = rows[before:end].copy()
            source = np.pad(np.arange(end - before), (before, after), mode)
            for i in (*range(before), *range(end, len(rows))):
                inner[source[i]] += rows[i]
            x = np.moveaxis(inner, 0, axis)
    return x''',
    samples=lambda: [
        Sample((draw(_padded(shape, width), 2),), {"width": width, "mode": mode})  # type: ignore[arg-type]
        for mode in COPIES
        for shape, width in _WIDTHS
    ],
)


# ---- the arguments -----------------------------------------------------------------------------------


def pairs_of(function: str, values: Any, ndim: int) -> list[list[Any]]:
    """Return a (before, after) for each axis from what np.pad takes; its numbers may be traced.

    Raises:
        ShapeError: the values broadcast to no such pairs.
    """
    if isinstance(values, Traced):
        spread = np.broadcast_to(values, (ndim, 2))  # type: ignore[call-overload]
        return [[spread[i, 0], spread[i, 1]] for i in range(ndim)]
    rows = [list(v) if np.iterable(v) else v for v in values] if np.iterable(values) else values
    shape = () if not isinstance(rows, list) else (len(rows), *((len(rows[0]),) if isinstance(rows[0], list) else ()))
    cells = np.empty(shape, object)
    for place in np.ndindex(*shape):
        cell = rows
        for i in place:
            cell = cell[i]
        cells[place] = cell.item() if isinstance(cell, np.generic | np.ndarray) else cell
    try:
        return np.broadcast_to(cells, (ndim, 2)).tolist()
    except ValueError:
        raise ShapeError(f"{function}: {values!r} gives no (before, after) for each of {ndim} axes.") from None


def widths_of(pad_width: Any, ndim: int) -> Width:
    """Return np.pad's ``pad_width`` as a pair of ints for each axis.

    Raises:
        ArgumentError: a width that is negative or no integer.
    """
    pad_width = known_positions("np.pad", pad_width)
    if isinstance(pad_width, dict):
        rows: list[Any] = [(0, 0)] * ndim
        for axis, entry in pad_width.items():
            rows[axis] = entry if isinstance(entry, tuple) else (entry, entry)
        pad_width = rows
    pairs = pairs_of("np.pad", pad_width, ndim)
    try:
        width = tuple((before.__index__(), after.__index__()) for before, after in pairs)
    except AttributeError:
        raise ArgumentError(f"np.pad: pad_width must be integers, not {pad_width!r}.") from None
    if any(n < 0 for pair in width for n in pair):
        raise ArgumentError(f"np.pad: pad_width must not be negative, and it is {pad_width!r}.")
    return width


# ---- the modes that compute their elements: axis by axis -----------------------------------------------

# Given the array as padded so far, an axis, a width and the side (0 before, 1 behind): the piece to add there.
Piece = Callable[[Any, int, int, int], Any]


def _part(x: Any, axis: int, part: slice) -> Any:
    return index(x, (*(slice(None),) * axis, part))


def _repeated(piece: Any, axis: int, width: int) -> Any:
    shape = shape_of(piece)
    return broadcast_to(piece, shape=(*shape[:axis], width, *shape[axis + 1 :]))


def _assemble(x: Any, width: Width, piece: Piece) -> Any:
    for axis, (before, after) in enumerate(width):
        if isinstance(shape_of(x)[axis], Dim) and (before or after):
            raise NeedsConcreteSize("a padded batch needs its size as a number")
        parts = [piece(x, axis, before, 0)] if before else []
        parts += [x, *([piece(x, axis, after, 1)] if after else [])]
        x = concatenate(*parts, axis=axis) if len(parts) > 1 else x
    return x if any(map(any, width)) else x.copy()


def _constant_piece(values: list[list[Any]]) -> Piece:
    def piece(x: Any, axis: int, width: int, side: int) -> Any:
        value, shape = values[axis][side], shape_of(x)
        value = astype(value, dtype=dtype_of(x)) if isinstance(value, Traced) else dtype_of(x).type(value)
        return spread(value, (*shape[:axis], width, *shape[axis + 1 :]), x)

    return piece


def _edge(x: Any, axis: int, side: int) -> Any:
    return _part(x, axis, slice(-1, None) if side else slice(0, 1))


def _ramp_piece(values: list[list[Any]]) -> Piece:
    def piece(x: Any, axis: int, width: int, side: int) -> Any:
        end, dtype = values[axis][side], dtype_of(x)
        whole, edge = dtype.kind != "f", _edge(x, axis, side)
        edge = astype(edge, dtype=np.dtype(np.float64)) if whole else edge
        end = astype(end, dtype=dtype_of(edge)) if isinstance(end, Traced) else end
        steps = np.arange(width, dtype=dtype_of(edge)).reshape(
            [-1 if i == axis else 1 for i in range(len(shape_of(x)))]
        )
        ramp = (np.flip(steps, axis) if side else steps) * ((edge - end) / width) + end
        return astype(np.floor(ramp), dtype=dtype) if whole else ramp

    return piece


def _statistic_piece(mode: str, lengths: list[list[Any]]) -> Piece:
    statistic: Any = {"mean": np.mean, "maximum": np.max, "minimum": np.min, "median": np.median}[mode]

    def piece(x: Any, axis: int, width: int, side: int) -> Any:
        size, length, dtype = shape_of(x)[axis], lengths[axis][side], dtype_of(x)
        if length is not None and length <= size:
            x = _part(x, axis, slice(size - length, None) if side else slice(0, length))
        found = statistic(x, axis=axis, keepdims=True)
        return _repeated(found if dtype_of(found) == dtype else astype(np.rint(found), dtype=dtype), axis, width)

    return piece


def _reflected_piece(mode: str, shape: Shape) -> Piece:
    """Reflect about the edge's value: 2 edge − x. It takes several turns where the piece is longer than the array."""
    skip = 1 if mode == "reflect" else 0

    def piece(x: Any, axis: int, width: int, side: int) -> Any:
        if shape[axis] == 1:
            return _repeated(_edge(x, axis, side), axis, width)
        pieces: list[Any] = []
        while width:
            chunk = min(width, shape[axis] - skip)  # type: ignore[operator]
            part = slice(-chunk - skip, -skip or None) if side else slice(skip, chunk + skip)
            new = 2 * _edge(x, axis, side) - np.flip(_part(x, axis, part), axis)
            pieces = [*pieces, new] if side else [new, *pieces]
            x, width = concatenate(*((x, new) if side else (new, x)), axis=axis), width - chunk
        return concatenate(*pieces, axis=axis) if len(pieces) > 1 else pieces[0]

    return piece


# ---- np.pad --------------------------------------------------------------------------------------------

_ALLOWED = {
    "constant": "constant_values", "edge": "", "wrap": "", "linear_ramp": "end_values", "maximum": "stat_length",
    "mean": "stat_length", "median": "stat_length", "minimum": "stat_length", "reflect": "reflect_type",
    "symmetric": "reflect_type",
}  # fmt: skip


def _pad_calls() -> list[Sample]:
    width, one = ((1, 2), (0, 3)), (2,)
    rows: list[tuple[Any, Any, dict[str, Any]]] = [
        ((2, 3), width, {}),
        ((), 1, {}),
        ((3,), 0, {}),
        ((1, 3), {1: (1, 2)}, {}),
        ((0, 2), ((1, 0), (2, 0)), {}),
        ((2, 3), 1, {"mode": "constant", "constant_values": ((1.5, 2.5), (3.5, -1.0))}),
        ((2, 3), width, {"constant_values": (3, 4)}),
        ((3,), one, {"mode": "edge"}),
        ((2, 3), width, {"mode": "edge"}),
        ((0, 2), ((0, 0), (1, 1)), {"mode": "edge"}),
        ((2, 3), width, {"mode": "wrap"}),
        ((3,), (7, 8), {"mode": "wrap"}),
        ((2, 3), 1, {"mode": "reflect"}),
        ((1,), 2, {"mode": "reflect"}),
        ((3,), (7, 8), {"mode": "reflect", "reflect_type": "even"}),
        ((2, 3), width, {"mode": "symmetric"}),
        ((2, 3), 1, {"mode": "reflect", "reflect_type": "odd"}),
        ((3,), (7, 8), {"mode": "reflect", "reflect_type": "odd"}),
        ((3,), (7, 8), {"mode": "symmetric", "reflect_type": "odd"}),
        ((1, 2), ((2, 1), (5, 0)), {"mode": "symmetric", "reflect_type": "odd"}),
        ((2, 3), width, {"mode": "linear_ramp"}),
        ((3,), 2, {"mode": "linear_ramp", "end_values": (5.0, -4.0)}),
        ((2, 3), 1, {"mode": "linear_ramp", "end_values": ((1, 2), (3, 4))}),
    ]
    for mode in ("mean", "maximum", "minimum", *(["median"] if np.median in FUNCTIONS else [])):
        rows += [
            ((2, 3), width, {"mode": mode}),
            ((4,), 2, {"mode": mode, "stat_length": 2}),
            ((4, 3), ((1, 1), (2, 0)), {"mode": mode, "stat_length": ((2, 3), (9, 2))}),
            ((3,), 0, {"mode": mode}),
        ]
    return [Sample((draw(shape, 1), wide), params) for shape, wide, params in rows]


@answers(
    np.pad,
    samples=_pad_calls,
    kinks=(
        Kink(([1.0, 1.0, 0.0], (1, 1)), ([2.0, 2.0, 1.0], None), "a tie of the largest is split", {"mode": "maximum"}),
        Kink(([1.0, 0.0, 0.0], (1, 1)), ([1.0, 2.0, 2.0], None), "a tie of the smallest is split", {"mode": "minimum"}),
    ),
)
def _pad(array: Any, pad_width: Any, mode: Any = "constant", **options: Any) -> Any:
    if mode not in _ALLOWED:
        what = "leaves its elements undefined" if mode == "empty" else "has no derivative here"
        raise UnsupportedError(f"np.pad(…, mode={mode!r}) {what}. Use one of {', '.join(_ALLOWED)}.")
    if wrong := next((key for key in options if key != _ALLOWED[mode]), None):
        raise ArgumentError(f"np.pad(…, mode={mode!r}) takes no {wrong}=.")
    shape = shape_of(array)
    width = widths_of(pad_width, len(shape))
    if not shape:
        return array.copy()
    option = options.get(_ALLOWED[mode])
    plain = option is None or _ALLOWED[mode] == "reflect_type"
    pairs = [[None, None]] * len(shape) if plain else pairs_of("np.pad", option, len(shape))
    if mode == "constant" and any(isinstance(value, Traced) for pair in pairs for value in pair):
        return _assemble(array, width, _constant_piece(pairs))
    if (mode in ("constant", *COPIES) and option != "odd") or dtype_of(array).kind == "b":
        given = () if option is None else ((_ALLOWED[mode], option if plain else tuple(map(tuple, pairs))),)
        return pad(array, width=width, mode=mode, options=given)
    return _computed(array, width, mode, pairs)


def _computed(array: Any, width: Width, mode: str, pairs: list[list[Any]]) -> Any:
    """Pad in one of the modes that compute their elements; those of whole numbers are rounded as NumPy rounds them."""
    empty = next((i for i, size in enumerate(shape_of(array)) if size == 0 and any(width[i])), None)
    if empty is not None:
        raise ShapeError(f"np.pad: axis {empty} of {show_shape(shape_of(array))} has no element to pad with.")
    if mode in ("reflect", "symmetric"):
        return _assemble(array, width, _reflected_piece(mode, shape_of(array)))
    if mode == "linear_ramp":
        return _assemble(array, width, _ramp_piece([[0 if v is None else v for v in pair] for pair in pairs]))
    if mode in ("maximum", "minimum") and any(length == 0 for pair in pairs for length in pair):
        raise ArgumentError("np.pad: a stat_length of 0 leaves no element to choose from.")
    return _assemble(array, width, _statistic_piece(mode, pairs))
