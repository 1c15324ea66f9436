"""Sliding windows, and the sum of windows that overlap, which is their transpose."""

from __future__ import annotations

from typing import Any

import numpy as np

from undertow.errors import ShapeError, UnsupportedError
from undertow.graph import Dim, NeedsConcreteSize, Shape, Spec, show_shape
from undertow.primitives.axes import one_axis
from undertow.primitives.record import Code, Primitive, Sample, answers, shape_of
from undertow.primitives.sampling import calls, draw

Ints = tuple[int, ...]


def _windowed(shape: Shape, window: Ints, axis: Ints) -> Shape:
    left = list(shape)
    for i, width in zip(axis, window, strict=True):
        size = left[i]
        if isinstance(size, Dim):
            raise NeedsConcreteSize("how many windows fit into the batch depends on its size")
        if not 0 <= width <= size:
            raise ShapeError(f"a window of {width} does not fit into an axis of size {size}. Make it smaller.")
        left[i] = size - width + 1
    return (*left, *window)


def _write(entries: Ints) -> str:
    return str(entries[0]) if len(entries) == 1 else str(entries)


def _spell_windows(x: Code, *, window: Ints, axis: Ints, ndim: int, **_: Any) -> Code:
    tail = "" if axis == tuple(range(ndim)) else f", axis={_write(axis)}"
    return Code(f"np.lib.stride_tricks.sliding_window_view({x.text}, {_write(window)}{tail})")


_CASES: tuple[tuple[tuple[int, ...], Ints, Ints], ...] = (
    ((5,), (3,), (0,)),
    ((5,), (1,), (0,)),
    ((3,), (3,), (0,)),
    ((2, 5), (2,), (1,)),
    ((3, 4), (2, 3), (0, 1)),
    ((3, 4), (2, 2), (1, 0)),
    ((5,), (2, 2), (0, 0)),
    ((0, 4), (2,), (1,)),
)

sliding_windows: Primitive = Primitive(
    name="sliding_windows",
    forward=lambda x, window, axis: np.lib.stride_tricks.sliding_window_view(x, window, axis),
    infer=lambda x, window, axis: Spec(_windowed(x.shape, window, axis), x.dtype),
    vjps=(lambda ct, out, x, window, axis: add_windows(ct, shape=shape_of(x), window=window, axis=axis),),
    spell=_spell_windows,
    text="windows({0})",
    latex=r"\operatorname{{windows}}({0})",
    flow=("Σ {ct} over the windows that hold an element",),
    latex_flow=(r"\sum_{{\text{{windows}}}} {ct}",),
    view=True,
    samples=lambda: [Sample((draw(s, 1),), {"window": window, "axis": axis}) for s, window, axis in _CASES],
)


def _add_windows(windows: Any, shape: tuple[int, ...], window: Ints, axis: Ints) -> Any:
    result = np.zeros(shape, windows.dtype)
    view = np.lib.stride_tricks.sliding_window_view(result, window, axis, writeable=True)
    for place in np.ndindex(*window):  # the elements at one place of all windows are different ones
        view[(..., *place)] += windows[(..., *place)]
    return result


add_windows: Primitive = Primitive(
    name="add_windows",
    forward=_add_windows,
    infer=lambda windows, shape, window, axis: Spec(shape, windows.dtype),
    vjps=(lambda ct, out, windows, shape, window, axis: sliding_windows(ct, window=window, axis=axis),),
    spell=lambda windows, *, shape, window, axis, **_: Code(
        f"add_windows({windows.text}, {show_shape(shape)}, {_write(window)}, {_write(axis)})"
    ),
    text="Σ windows {0}",
    latex=r"\sum_{{\text{{windows}}}} {0}",
    flow=("windows({ct})",),
    latex_flow=(r"\operatorname{{windows}}({ct})",),
    helper='''def add_windows(windows, shape, window, axis):
    """The transpose of sliding_window_view: an array of this shape in which overlapping windows add up."""
    result = np.zeros(shape, windows.dtype)
    view = np.lib.stride_tricks.sliding_window_view(result, window, axis, writeable=True)
    for place in np.ndindex(window):
        view[(..., *place)] += windows[(..., *place)]
    return result''',
    samples=lambda: [
        Sample((draw(_windowed(s, window, axis), 2),), {"shape": s, "window": window, "axis": axis})  # type: ignore[arg-type]
        for s, window, axis in _CASES
    ],
)


@answers(
    np.lib.stride_tricks.sliding_window_view,
    samples=calls(
        ((5,), 3), ((5,), (2,), 0), ((2, 5), 2, -1), ((3, 4), (2, 3)), ((3, 4), [2, 2], (1, 0)), ((5,), (2, 2), (0, 0)),
        ((3,), 1), ((1,), 1), ((3,), 3), ((0, 4), {"window_shape": 2, "axis": 1}),
    ),
)  # fmt: skip
def _sliding_window_view(
    x: Any, window_shape: Any, axis: Any = None, *, subok: bool = False, writeable: bool = False
) -> Any:
    if writeable:
        raise UnsupportedError("np.lib.stride_tricks.sliding_window_view(…, writeable=True) cannot be traced.")
    shape = shape_of(x)
    window = tuple(int(n) for n in (window_shape if np.iterable(window_shape) else (window_shape,)))
    named = range(len(shape)) if axis is None else axis if np.iterable(axis) else (axis,)
    axes = tuple(one_axis("np.lib.stride_tricks.sliding_window_view", i, shape) for i in named)
    if len(window) != len(axes):
        raise ShapeError(
            f"a window {window} has {len(window)} sizes for {len(axes)} axes. Give one for each, or axis=."
        )
    return sliding_windows(x, window=window, axis=axes)
