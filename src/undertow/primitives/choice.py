"""Choosing by conditions: where, select, piecewise, and the places where a condition holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from undertow.errors import ArgumentError, ShapeError, UnsupportedError
from undertow.graph import show_shape
from undertow.primitives.compare import where
from undertow.primitives.index import fill, index
from undertow.primitives.record import Sample, Traced, answers, dtype_of, kind_of, known_value, refuse, shape_of
from undertow.primitives.reduction import axis_of
from undertow.primitives.sampling import draw
from undertow.primitives.shape import astype


def condition_value(function: str, condition: Any, instead: str) -> Any:
    """Return what a condition is, as an array.

    Raises:
        UnsupportedError: it depends on values while only shapes are traced; says what to write instead.
    """
    value = known_value(condition)
    if value is None:
        raise UnsupportedError(
            f"{function}: how many elements there are depends on values, which are not known while only shapes are "
            f"traced. {instead} (ut.grad sees values; ut.backprop does not.)"
        )
    return np.asarray(value)


_X = np.array([[0.5, 0.0, -1.5], [2.0, -0.3, 0.0]])
_MASK = np.array([[True, False, True], [False, True, False]])


# ---- where and the places of what holds ------------------------------------------------------------


@answers(
    np.where,
    samples=lambda: [
        Sample((_MASK, draw((2, 3), 1), draw((3,), 2))),
        Sample((_MASK[0], draw((2, 3), 1), 0.0)),
        Sample((_MASK, 1, draw((2, 1), 2))),
        Sample((True, draw((3,), 1), draw((3,), 2))),
        Sample((np.array([1.0, 0.0, 2.0]) > 0.5, draw((), 1), draw((3,), 2))),
        Sample((_X,), note="the places of what is not zero"),
    ],
)
def _where(condition: Any, *branches: Any) -> Any:
    if not branches:
        return _nonzero(condition)
    if len(branches) != 2:
        raise ArgumentError("np.where takes a condition alone, or a condition and both branches.")
    x, y = branches
    if dtype_of(condition).kind != "b":
        condition = np.not_equal(condition, 0)
    return where(condition, *[np.asarray(v) if isinstance(v, list | tuple) else v for v in (x, y)])


@answers(np.nonzero, samples=lambda: [Sample((_X,)), Sample((_X[0] > 0,)), Sample((np.zeros((0, 2)),))])
def _nonzero(a: Any) -> Any:
    return np.nonzero(condition_value("np.nonzero", a, "Write np.where(condition, a, b) with both branches."))


@answers(np.argwhere, samples=lambda: [Sample((_X,)), Sample((np.array(2.0),)), Sample((_X[0],))])
def _argwhere(a: Any) -> Any:
    return np.argwhere(condition_value("np.argwhere", a, "Write np.where(condition, a, b)."))


@answers(np.flatnonzero, samples=lambda: [Sample((_X,)), Sample((_X[0],))])
def _flatnonzero(a: Any) -> Any:
    return np.flatnonzero(condition_value("np.flatnonzero", a, "Write np.where(condition, a, b)."))


@answers(
    np.ix_,
    samples=lambda: [Sample((np.array([1, 0]), [True, False, True])), Sample((np.array([2]),)), Sample(([0, 1], [2]))],
)
def _ix(*args: Any) -> Any:
    parts = []
    for i, part in enumerate(args):
        if dtype_of(part).kind == "b":
            part = np.flatnonzero(condition_value("np.ix_", part, "Write np.where(mask, x, 0)."))
        parts.append(np.reshape(part, [-1 if j == i else 1 for j in range(len(args))]))
    return tuple(parts)


# ---- compress, extract -----------------------------------------------------------------------------


@answers(
    np.compress,
    samples=lambda: [
        Sample(([True, False], draw((2, 3), 1)), {"axis": 0}),
        Sample((np.array([False, True, True]), draw((2, 3), 1)), {"axis": -1}),
        Sample(([0, 1, 1, 0, 1], draw((2, 3), 1)), note="of the flattened array, and shorter"),
        Sample(([False], draw((3,), 1)), note="nothing"),
        Sample((draw((3,), 2), draw((2, 3), 1)), {"axis": 1}, "a condition that depends on values"),
    ],
)
def _compress(condition: Any, a: Any, axis: Any = None, out: Any = None) -> Any:
    refuse("np.compress", out=out)
    kept = condition_value("np.compress", condition, "Write np.where(condition, x, 0), which keeps the shape.")
    if kept.ndim != 1:
        raise ShapeError(f"np.compress: the condition must have one axis, it is {show_shape(kept.shape)}.")
    if axis is None:
        a, axis = np.ravel(a), 0
    at = axis_of("np.compress", a, axis)
    return index(a, (*(slice(None),) * at, np.flatnonzero(kept)))


@answers(
    np.extract,
    samples=lambda: [
        Sample((_MASK, draw((2, 3), 1))),
        Sample((np.arange(6) % 2, draw((2, 3), 1))),
        Sample((draw((3,), 2), draw((3,), 1)), note="a condition that depends on values"),
    ],
)
def _extract(condition: Any, arr: Any) -> Any:
    kept = condition_value("np.extract", condition, "Write np.where(condition, x, 0), which keeps the shape.")
    return index(np.ravel(arr), np.flatnonzero(kept))


# ---- select, piecewise -----------------------------------------------------------------------------


@answers(
    np.select,
    samples=lambda: [
        Sample(([_MASK, ~_MASK], [draw((2, 3), 1), draw((3,), 2)])),
        Sample(([_MASK, _MASK[0]], [draw((2, 3), 1), draw((2, 3), 2)], draw((2, 1), 3)), note="the first that holds"),
        Sample(([_MASK[0]], [draw((3,), 1)], -1.5)),
        Sample(([_MASK, True], [draw((), 1), 2.0]), {"default": 7}, "numbers"),
    ],
)
def _select(condlist: Any, choicelist: Any, default: Any = 0) -> Any:
    if len(condlist) != len(choicelist) or not len(condlist):
        raise ArgumentError(
            f"np.select: {len(condlist)} conditions and {len(choicelist)} choices. Give one choice for each condition."
        )
    dtype = np.result_type(*map(kind_of, (*choicelist, default)))
    *choices, result = [_of_dtype(c, dtype) for c in (*choicelist, default)]
    for condition, choice in reversed(list(zip(condlist, choices, strict=True))):
        if dtype_of(condition).kind != "b":
            raise ArgumentError(f"np.select: conditions must be truth values, not {dtype_of(condition)}.")
        result = where(condition, choice, result)
    return result


def _of_dtype(x: Any, dtype: np.dtype[Any]) -> Any:
    if isinstance(x, Traced):
        return x if x.spec.dtype == dtype else astype(x, dtype=dtype)
    return np.asarray(x).astype(dtype)[()]


def _double(x: Any, by: float = 2.0) -> Any:
    return by * x


@answers(
    np.piecewise,
    samples=lambda: [
        Sample((draw((2, 3), 1), [_MASK], [_double])),
        Sample((draw((2, 3), 1), [_MASK, ~_MASK], [np.square, 3.0])),
        Sample((draw((3,), 1), [_MASK[0], _MASK[1]], [np.square, _double, np.negative]), note="and otherwise"),
        Sample((draw((3,), 1), _MASK[0], [_double, -1.0]), note="one condition, not in a list"),
        Sample((draw((3,), 1), [_MASK[0]], [_double, _double], 5.0), note="a further argument"),
    ],
)
def _piecewise(x: Any, condlist: Any, funclist: Any, *args: Any, **kw: Any) -> Any:
    if not isinstance(condlist, list | tuple) or (shape_of(x) != () and not shape_of(condlist[0])):
        condlist = [condlist]
    conditions = [
        condition_value("np.piecewise", c, "Write np.where(condition, f(x), g(x)), or np.select.").astype(bool)
        for c in condlist
    ]
    if len(funclist) == len(conditions) + 1:
        conditions.append(~np.any(conditions, axis=0))
    if len(funclist) != len(conditions):
        raise ArgumentError(f"np.piecewise: {len(conditions)} conditions and {len(funclist)} functions.")
    if not isinstance(x, Traced):
        x = conditions_traced(condlist).bind(astype, (np.asarray(x),), {"dtype": dtype_of(x)})
    result = fill(x, 0)
    for condition, function in zip(conditions, funclist, strict=True):
        if not isinstance(function, Callable):  # type: ignore[arg-type]
            result[condition] = function
        elif condition.any():
            result[condition] = function(x[condition], *args, **kw)
    return result


def conditions_traced(conditions: Any) -> Any:
    """Return the first of the conditions that is traced."""
    return next(c for c in conditions if isinstance(c, Traced))
