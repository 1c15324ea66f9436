"""What the primitives that move elements are in ONNX: shapes, indices, products over chosen axes."""

from __future__ import annotations

from typing import Any

import numpy as np

from undertow.errors import UnsupportedError
from undertow.export.onnx_builder import INT64_MAX, Builder
from undertow.export.onnx_operations import Rule
from undertow.graph import Dim, Node, Size
from undertow.primitives.index import Pick, Slice

_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_PAD_MODES = {"constant": "constant", "reflect": "reflect", "edge": "edge", "wrap": "wrap"}


def _transpose(b: Builder, node: Node, x: str, axes: tuple[int, ...]) -> str:
    return b.add("Transpose", x, perm=list(axes)) if axes else x


def _reshape(b: Builder, node: Node, x: str, shape: tuple[Size, ...]) -> str:
    symbolic = [isinstance(size, Dim) for size in shape]
    if sum(symbolic) == 1 and 0 not in shape:
        return b.add("Reshape", x, b.constant([-1 if s else n for s, n in zip(symbolic, shape, strict=True)], np.int64))
    return b.add("Reshape", x, b.shape(shape), allowzero=1)


def _broadcast_to(b: Builder, node: Node, x: str, shape: tuple[Size, ...]) -> str:
    own = node.inputs[0].spec.shape
    if 0 in shape:
        raise UnsupportedError("an array without elements")
    own = (1,) * (len(shape) - len(own)) + own
    return b.add("Expand", x, b.shape([1 if have == size else size for have, size in zip(own, shape, strict=True)]))


def _expand_dims(b: Builder, node: Node, x: str, axis: tuple[int, ...]) -> str:
    return b.add("Unsqueeze", x, b.axes(axis)) if axis else x


def _squeeze(b: Builder, node: Node, x: str, axis: tuple[int, ...]) -> str:
    return b.add("Squeeze", x, b.axes(axis)) if axis else x


def _concatenate(b: Builder, node: Node, *xs: str, axis: int) -> str:
    return b.add("Concat", *[b.cast(x, node.spec.dtype) for x in xs], axis=axis)


def _one_hot(b: Builder, node: Node, labels: str, depth: int, dtype: Any) -> str:
    column = b.add("Unsqueeze", b.cast(labels, np.int64), b.axes((-1,)))
    return b.cast(b.add("Equal", column, b.constant(np.arange(depth)), dtype=bool), dtype)


def _matmul(b: Builder, node: Node, x: str, y: str) -> str:
    return b.add("MatMul", b.cast(x, node.spec.dtype), b.cast(y, node.spec.dtype))


def _einsum(b: Builder, node: Node, *xs: str, subscripts: str, **_: Any) -> str:
    sizes: dict[str, Size] = {}
    for term, x in zip(subscripts.replace(" ", "").partition("->")[0].split(","), node.inputs, strict=True):
        for letter, size in zip(term, x.spec.shape, strict=False):
            if sizes.setdefault(letter, size) != size and "." not in term:
                raise UnsupportedError(f"in {subscripts!r} sizes of 1 broadcast, which ONNX's Einsum does not")
    return b.add("Einsum", *[b.cast(x, node.spec.dtype) for x in xs], equation=subscripts.replace(" ", ""))


def _tensordot(b: Builder, node: Node, x: str, y: str, over_a: tuple[int, ...], over_b: tuple[int, ...]) -> str:
    a_ndim, b_ndim = (i.spec.ndim for i in node.inputs)
    left = list(_LETTERS[:a_ndim])
    right = list(_LETTERS[a_ndim : a_ndim + b_ndim])
    for i, j in zip(over_a, over_b, strict=True):
        right[j] = left[i]
    kept = [c for i, c in enumerate(left) if i not in over_a] + [c for j, c in enumerate(right) if j not in over_b]
    return _einsum(b, node, x, y, subscripts=f"{''.join(left)},{''.join(right)}->{''.join(kept)}")


def _cumsum(b: Builder, node: Node, x: str, axis: int) -> str:
    return b.add("CumSum", b.cast(x, node.spec.dtype), b.constant(axis, np.int64))


def _sort(b: Builder, node: Node, x: str, axis: int) -> str:
    return _ranked(b, node, x, axis)[0]


def _argsort(b: Builder, node: Node, x: str, axis: int, stable: bool = False) -> str:
    """Equal values keep their order in ONNX."""
    return _ranked(b, node, x, axis)[1]


def _ranked(b: Builder, node: Node, x: str, axis: int) -> tuple[str, str]:
    spec = node.inputs[0].spec
    if spec.ndim == 0 or spec.dtype.kind == "b":
        raise UnsupportedError(f"{node.op.name} of booleans or of a number has no operator in ONNX")
    length = b.shape((spec.shape[axis],))
    return b.add_two("TopK", (x, length), (spec.dtype, np.int64), axis=axis, largest=0)


def _tile(b: Builder, node: Node, x: str, reps: tuple[Size, ...]) -> str:
    ndim = node.inputs[0].spec.ndim
    if len(reps) > ndim:
        x = b.add("Unsqueeze", x, b.axes(range(len(reps) - ndim)))
    return b.add("Tile", x, b.shape((1,) * (ndim - len(reps)) + reps))


def _repeat(b: Builder, node: Node, x: str, repeats: Size | tuple[int, ...], axis: int) -> str:
    size = node.inputs[0].spec.shape[axis]
    if isinstance(size, Dim) or isinstance(repeats, Dim):
        raise UnsupportedError("np.repeat along the batch, or as often as it has examples, has no operator in ONNX")
    return b.add("Gather", x, b.constant(np.repeat(np.arange(size), repeats)), axis=axis)


def _flip(b: Builder, node: Node, x: str, axis: tuple[int, ...]) -> str:
    return _slice(b, x, dict.fromkeys(axis, (-1, -INT64_MAX - 1, -1)))


def _pad(b: Builder, node: Node, x: str, width: Any, mode: str, options: Any = ()) -> str:
    values = dict(options).get("constant_values", ())
    numbers = set(np.ravel(values).tolist())
    if mode not in _PAD_MODES or len(numbers) > 1 or set(dict(options)) - {"constant_values"}:
        raise UnsupportedError(f"np.pad with mode={mode!r} and {options} has no operator in ONNX")
    sizes = node.inputs[0].spec.shape
    if mode in ("reflect", "wrap") and any(max(w) >= n for w, n in zip(width, sizes, strict=True)):
        raise UnsupportedError(f"np.pad(…, mode={mode!r}) by more than the array holds has no operator in ONNX")
    pads = b.constant([before for before, _ in width] + [after for _, after in width], np.int64)
    number = b.constant(numbers.pop() if numbers else 0, node.spec.dtype)
    return b.add("Pad", x, pads, *([number] if mode == "constant" else []), mode=_PAD_MODES[mode])


def _windows(b: Builder, node: Node, x: str, window: tuple[int, ...], axis: tuple[int, ...]) -> str:
    """Gather rows of positions, and move the window's own axis to the end; one window after the other."""
    shape = list(node.inputs[0].spec.shape)
    for width, i in zip(window, axis, strict=True):
        n: Any = shape[i] - width + 1  # type: ignore[operator]
        x = b.add("Gather", x, b.constant(np.arange(n)[:, None] + np.arange(width)), axis=i)
        order = [k for k in range(len(shape) + 1) if k != i + 1] + [i + 1]
        x = b.add("Transpose", x, perm=order)
        shape[i] = n
        shape.append(width)
    return x


# ---- indices -------------------------------------------------------------------------------------


def _slice(b: Builder, x: str, ranges: dict[int, tuple[int, int, int]]) -> str:
    if not ranges:
        return x
    columns = [b.constant([row[k] for row in ranges.values()], np.int64) for k in range(3)]
    return b.add("Slice", x, columns[0], columns[1], b.axes(list(ranges)), columns[2])


def _bounds(e: Slice, size: Size) -> tuple[int, int, int] | None:
    """Start, stop and step as ONNX takes them; None for all of an axis."""
    step = e.step or 1
    if isinstance(size, Dim):
        return None if step == 1 else (-1, -INT64_MAX - 1, -1)
    start, stop, step = slice(e.start, e.stop, e.step).indices(size)
    if (start, stop, step) == (0, size, 1):
        return None
    return start, stop if stop >= 0 else -INT64_MAX - 1, step


def _getitem(b: Builder, node: Node, x: str, *picks: str, index: tuple[Any, ...]) -> str:
    if any(isinstance(e, bool) for e in index):
        raise UnsupportedError("a truth value as an index has no operator in ONNX")
    if picks:
        return _gather(b, node, x, picks, index)
    shape = node.inputs[0].spec.shape
    entries = [e for e in index if e is not None and e is not Ellipsis]
    ranges: dict[int, tuple[int, int, int]] = {}
    for axis, e in enumerate(entries):
        bounds = (e, e + 1 or INT64_MAX, 1) if isinstance(e, int) else _bounds(e, shape[axis])
        if bounds is not None:
            ranges[axis] = bounds
    x = _slice(b, x, ranges)
    single = [axis for axis, e in enumerate(entries) if isinstance(e, int)]
    if single:
        x = b.add("Squeeze", x, b.axes(single))
    new = [
        place for place, e in enumerate(e for e in index if e is not Ellipsis and not isinstance(e, int)) if e is None
    ]
    return b.add("Unsqueeze", x, b.axes(new)) if new else x


def _gather(b: Builder, node: Node, x: str, picks: tuple[str, ...], index: tuple[Any, ...]) -> str:
    """Positions beside slices: the slices first, then the axes with positions to the front and GatherND."""
    shape = node.inputs[0].spec.shape
    if any(e is None or e is Ellipsis for e in index):
        raise UnsupportedError("positions beside None or an ellipsis in one index have no operator in ONNX")
    bounds = {axis: _bounds(e, shape[axis]) for axis, e in enumerate(index) if isinstance(e, Slice)}
    x = _slice(b, x, {axis: found for axis, found in bounds.items() if found is not None})
    at = [axis for axis, e in enumerate(index) if not isinstance(e, Slice)]
    positions = [
        b.cast(picks[e.number], np.int64) if isinstance(e, Pick) else b.constant(e, np.int64)
        for e in index
        if not isinstance(e, Slice)
    ]
    if len(at) == 1:
        return b.add("Gather", x, positions[0], axis=at[0])
    rest = [axis for axis in range(len(shape)) if axis not in at]
    x = b.add("Transpose", x, perm=at + rest)
    together = positions[0]
    for other in positions[1:]:
        together = b.add("Add", together, other)
    form = b.add("Shape", together, dtype=np.int64)
    columns = [b.add("Unsqueeze", b.add("Expand", p, form), b.axes((-1,))) for p in positions]
    x = b.add("GatherND", x, b.add("Concat", *columns, axis=-1))
    n_picked = node.spec.ndim - len(rest)
    first = at[0] if at == list(range(at[0], at[-1] + 1)) else 0  # NumPy puts them where they stood together
    order = [*range(n_picked, n_picked + first), *range(n_picked), *range(n_picked + first, node.spec.ndim)]
    return b.add("Transpose", x, perm=order) if first else x


MOVES: dict[str, Rule] = {
    "transpose": _transpose, "reshape": _reshape, "broadcast_to": _broadcast_to, "expand_dims": _expand_dims,
    "squeeze": _squeeze, "concatenate": _concatenate, "one_hot": _one_hot, "matmul": _matmul, "einsum": _einsum,
    "tensordot": _tensordot, "cumsum": _cumsum, "flip": _flip, "pad": _pad, "sliding_windows": _windows,
    "getitem": _getitem, "sort": _sort, "argsort": _argsort, "tile": _tile, "repeat": _repeat,
}  # fmt: skip
