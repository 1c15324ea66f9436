"""Taking elements by position along an axis, putting them there, and choosing among arrays by number."""

from __future__ import annotations

from typing import Any

import numpy as np

from undertow.errors import PositionError, ShapeError
from undertow.graph import Dim, NeedsConcreteSize, Shape, Spec, broadcast_shapes, show_shape
from undertow.primitives.index import index
from undertow.primitives.record import (
    Code,
    Primitive,
    Sample,
    Traced,
    answers,
    dtype_of,
    kind_of,
    refuse,
    shape_of,
    spec_of,
)
from undertow.primitives.reduction import axis_of
from undertow.primitives.sampling import draw
from undertow.primitives.shape import astype, broadcast_to


def within(indices: Any, size: Any, mode: str, function: str) -> Any:
    """Bring positions into an axis as ``mode`` says: as they are, around the end, or to the nearest end."""
    if not isinstance(indices, Traced):
        array = np.asarray(indices)
        indices = array.astype(np.intp) if array.dtype.kind == "b" or not array.size else array
    if dtype_of(indices).kind not in "iu":
        raise PositionError(f"{function}: positions must be integers, not {dtype_of(indices)}.")
    if mode == "raise":
        return indices
    if isinstance(size, Dim):
        raise NeedsConcreteSize(f"{function} with mode={mode!r} counts the rows of the batch")
    if mode == "wrap":
        return np.remainder(indices, size)
    if mode == "clip":
        return np.minimum(np.maximum(indices, 0), size - 1)
    raise ShapeError(f"{function}: mode must be 'raise', 'wrap' or 'clip', not {mode!r}.")


def _take_samples() -> list[Sample]:
    x, cube = draw((2, 3), 1), draw((2, 3, 4), 2)
    return [
        Sample((x, 4), note="a number, of the flattened array"),
        Sample((x, np.array([5, 0, 0, -1]))),
        Sample((x, [[1, 0], [1, 1]], 0), note="a list of lists"),
        Sample((x, np.array([2, 2]), 1)),
        Sample((cube, np.array([[3, 0]])), {"axis": -1}),
        Sample((cube, 1), {"axis": 1}),
        Sample((x, np.array([4, -4, 2])), {"axis": 1, "mode": "wrap"}),
        Sample((x, np.array([4, -4, 2])), {"axis": 1, "mode": "clip"}),
        Sample((x, np.array([7, -1])), {"mode": "wrap"}),
        Sample((x, []), {"axis": 0}, "nothing"),
        Sample((x, [True, False]), {"axis": 1}, "truth values count as 0 and 1"),
        Sample((draw((1,), 3), np.array([0, 0]))),
        Sample((draw((), 3), np.array([0, 0])), note="of a 0-d array"),
        Sample((draw((0, 3), 3), np.array([1, 1])), {"axis": 1}),
    ]


@answers(np.take, samples=_take_samples)
def _take(a: Any, indices: Any, axis: Any = None, out: Any = None, mode: str = "raise") -> Any:
    refuse("np.take", out=out)
    if axis is None:
        a, axis = np.ravel(a), 0
    at = axis_of("np.take", a, axis)
    if isinstance(indices, int) and mode == "raise" and not isinstance(indices, bool):
        part = index(a, (*(slice(None),) * at, indices))
        return np.copy(part) if shape_of(part) else part  # NumPy makes no view here
    return index(a, (*(slice(None),) * at, within(indices, shape_of(a)[at], mode, "np.take")))


# ---- along an axis -------------------------------------------------------------------------------


def _along_samples() -> list[Sample]:
    return [
        Sample((draw(shape, 4), np.array(indices)), {"axis": axis}, f"{shape} along {axis}")
        for shape, indices, axis in (
            ((4,), [3, 0, 0], 0),
            ((2, 3), [[2, 0], [1, 1]], 1),
            ((2, 3), [[1, 0, 1]], 0),
            ((2, 3), [[-1], [0]], 1),
            ((2, 1, 3), [[[0, 2]], [[2, 2]]], 2),
            ((1,), [0, 0], 0),
        )
    ] + [Sample((draw((0, 3), 4), np.zeros((0, 2), int)), {"axis": 1}, "an empty axis")]


def matched(arr: Any, indices: Any, axis: Any, function: str) -> tuple[Any, Any, int]:
    """Broadcast an array and positions against each other on all axes but one; None as axis flattens the array."""
    if axis is None:
        arr, axis = np.ravel(arr), 0
    if dtype_of(indices).kind not in "iu":
        raise PositionError(f"{function}: positions must be integers, not {dtype_of(indices)}.")
    shape, own = shape_of(arr), shape_of(indices)
    if len(shape) != len(own):
        raise ShapeError(f"{function}: the array is {show_shape(shape)}, the positions {show_shape(own)}: not alike.")
    at = axis_of(function, arr, axis)
    both = broadcast_shapes((*shape[:at], 1, *shape[at + 1 :]), (*own[:at], 1, *own[at + 1 :]))
    return (
        _spread(arr, (*both[:at], shape[at], *both[at + 1 :]), indices),
        _spread(indices, (*both[:at], own[at], *both[at + 1 :]), arr),
        at,
    )


def along(indices: Any, axis: int, function: str) -> tuple[Any, ...]:
    """Return the index that picks by positions along one axis, and each its own place on the others."""
    sizes: Any = shape_of(indices)
    if any(isinstance(size, Dim) for i, size in enumerate(sizes) if i != axis):
        raise NeedsConcreteSize(f"{function} counts the rows of the batch")
    rest = [1 if i == axis else size for i, size in enumerate(sizes)]
    return (*np.indices(rest, sparse=True)[:axis], indices, *np.indices(rest, sparse=True)[axis + 1 :])


def _spread(x: Any, shape: Shape, other: Any) -> Any:
    if shape_of(x) == shape:
        return x
    like = x if isinstance(x, Traced) else other
    if isinstance(like, Traced):
        return like.bind(broadcast_to, (x,), {"shape": shape})
    return np.broadcast_to(x, shape)  # type: ignore[arg-type]


@answers(
    np.take_along_axis,
    samples=lambda: [
        *[Sample((s.args[0], s.args[1], s.params["axis"])) for s in _along_samples()],
        Sample((draw((2, 3), 1), np.array([5, 0])), {"axis": None}),
        Sample((draw((2, 3), 1), np.array([[2, 0]])), {"axis": 1}, "positions broadcast"),
        Sample((draw((1, 3), 1), np.array([[2, 0], [1, 1]])), {"axis": -1}, "the array broadcasts"),
        Sample((draw((2, 3), 1), np.array([[2, 0], [1, 1]])), note="along the last axis"),
    ],
)
def _take_along_axis(arr: Any, indices: Any, axis: Any = -1) -> Any:
    arr, indices, at = matched(arr, indices, axis, "np.take_along_axis")
    return index(arr, along(indices, at, "np.take_along_axis"))


# ---- choose --------------------------------------------------------------------------------------


def _choose_back(position: int, ct: Any, out: Any, a: Any, *choices: Any) -> Any:
    return np.where(a == position - 1, ct, 0)


def _infer_choose(a: Spec, *choices: Spec) -> Spec:
    dtype = np.result_type(*[c.dtype for c in choices])
    return Spec(broadcast_shapes(a.shape, *[c.shape for c in choices]), dtype)


_CHOICE = np.array([[0, 2, 1], [1, 1, 0]])

choose = Primitive(
    name="choose",
    forward=lambda a, *choices: np.choose(a, choices),
    infer=_infer_choose,
    vjps=_choose_back,
    constant=(0,),
    broadcasts=True,
    spell=lambda a, *choices, **_: Code(f"np.choose({a.text}, [{', '.join(c.text for c in choices)}])"),
    text="the {0}-th of ({1}, {2}, …)",
    latex=r"({1}, {2}, \ldots)_{{{0}}}",
    flow=("", "{ct} where it was chosen, else 0"),
    latex_flow=("", r"{ct} \odot [\text{{chosen}}]"),
    samples=lambda: [
        Sample((_CHOICE, draw((3,), 4), draw((2, 3), 5), draw((2, 3), 6)), note="the first choice is repeated"),
        Sample((_CHOICE, draw((2, 3), 1), draw((3,), 2), draw((2, 1), 3))),
        Sample((_CHOICE, draw((2, 3), 1), draw((3,), 2), draw((), 3))),
        Sample((np.array(1), draw((3,), 1), draw((3,), 2))),
        Sample((np.array([0]), draw((1,), 1))),
        Sample((np.zeros((0,), int), draw((0,), 1), draw((1,), 2))),
    ],
)


def as_list(choices: Any) -> list[Any]:
    """Return the choices one by one; an array holds one in each row."""
    if isinstance(choices, Traced):
        return [choices[i] for i in range(shape_of(choices)[0])]  # type: ignore[index, arg-type]
    return list(choices)


@answers(
    np.choose,
    samples=lambda: [
        Sample((_CHOICE, [draw((2, 3), 1), draw((3,), 2), draw((), 3)])),
        Sample((_CHOICE, draw((3, 2, 3), 1)), note="an array of choices"),
        Sample((_CHOICE - 1, (draw((3,), 1), 2.0)), {"mode": "wrap"}, "a number among them"),
        Sample((_CHOICE * 4 - 3, [draw((2, 3), 1), draw((3,), 2)]), {"mode": "clip"}, "beyond both ends"),
        Sample((_CHOICE, [draw((2, 3), 1), draw((3,), 2)]), {"mode": "clip"}),
        Sample((1, [draw((3,), 1), draw((3,), 2)])),
    ],
)
def _choose(a: Any, choices: Any, out: Any = None, mode: str = "raise") -> Any:
    refuse("np.choose", out=out)
    every = as_list(choices)
    dtype = np.result_type(*map(kind_of, every))
    every = [astype(c, dtype=dtype) if isinstance(c, Traced) and spec_of(c).weak else c for c in every]
    every = [c if isinstance(c, Traced) else np.asarray(c, dtype) for c in every]
    return choose(within(a, len(every), mode, "np.choose"), *every)
