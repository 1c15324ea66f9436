"""The methods of ufuncs that NumPy functions do: reduce and accumulate; and outer, of those where people use it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from undertow.errors import UnsupportedError
from undertow.graph import Dim, Spec
from undertow.primitives.index import index_add
from undertow.primitives.record import (
    NO_GRADIENT,
    Code,
    Kink,
    Primitive,
    Sample,
    answers,
    dtype_of,
    infer_like,
    name_of,
    refuse,
    shape_of,
)
from undertow.primitives.reduction import axis_of
from undertow.primitives.sampling import draw
from undertow.primitives.shape import astype, expand_dims
from undertow.primitives.special import positions
from undertow.primitives.stable import logsumexp
from undertow.primitives.template import take_apart

_MISSING: Any = np._NoValue


# ---- reduce --------------------------------------------------------------------------------------


def _cases(*options: dict[str, Any]) -> Callable[[], list[Sample]]:
    """Make samples of calls: along the first axis, another, several, all, each once; then with more options."""
    axes: tuple[dict[str, Any], ...] = (
        {},
        {"axis": 1},
        {"axis": -1, "keepdims": True},
        {"axis": (0, 2)},
        {"axis": None},
    )
    return lambda: [
        Sample((draw((3,), 1),), {}, "a vector"),
        *[Sample((draw((2, 3, 2), 1),), params, str(params)) for params in axes],
        *[Sample((draw((2, 3), 2),), params, ", ".join(params)) for params in options],
    ]


_SOME = np.array([[True, False, True], [False, True, True]])


def _answer_reduce(ufunc: np.ufunc, function: Callable[..., Any], neutral: Any, kinks: tuple[Kink, ...] = ()) -> None:
    """Answer ``ufunc.reduce`` by the NumPy function that reduces the same way; ``neutral`` changes no result."""
    name = name_of(ufunc.reduce)
    options: list[dict[str, Any]] = [
        {"initial": 0.5},
        {"initial": -9.0, "where": _SOME},
        {"axis": 1, "where": _SOME, "initial": 9.0},
    ]
    if neutral is not None:
        options.append({"axis": 1, "where": _SOME})

    @answers(ufunc.reduce, samples=_cases(*options, {"dtype": np.float64}), kinks=kinks)
    def reduce(
        array: Any,
        axis: Any = 0,
        dtype: Any = None,
        out: Any = None,
        keepdims: bool = False,
        initial: Any = _MISSING,
        where: Any = True,
    ) -> Any:
        refuse(name, out=out)
        if dtype is not None:
            array = astype(array, dtype=np.dtype(dtype))
        start = neutral if initial is _MISSING or initial is None else initial
        if where is not True:
            if start is None:
                raise UnsupportedError(
                    f"{name}(..., where=...) needs initial=: some elements may have nothing to reduce."
                )
            array = np.where(where, array, start if neutral is None else neutral)
        if start is not None and neutral is None and 0 in shape_of(array):
            return function(array, axis=axis, keepdims=keepdims, initial=start)
        result = function(array, axis=axis, keepdims=keepdims)
        result = result if initial is _MISSING or initial is None else ufunc(result, initial)
        return result if dtype is None or dtype_of(result) == np.dtype(dtype) else astype(result, dtype=np.dtype(dtype))


_EVEN = "ties share evenly"
_answer_reduce(np.add, np.sum, 0)
_answer_reduce(np.multiply, np.prod, 1, (Kink(([2.0, 0.0],), ([0.0, 2.0],), "the product of the others"),))
_answer_reduce(np.maximum, np.max, None, (Kink(([1.0, 1.0],), ([0.5, 0.5],), _EVEN),))
_answer_reduce(np.minimum, np.min, None, (Kink(([1.0, 1.0],), ([0.5, 0.5],), _EVEN),))


@answers(np.logaddexp.reduce, samples=_cases())
def _logaddexp_reduce(
    array: Any, axis: Any = 0, dtype: Any = None, out: Any = None, keepdims: bool = False, initial: Any = None
) -> Any:
    refuse("np.logaddexp.reduce", dtype=dtype, out=out, initial=initial)
    given = dtype_of(array)
    made = np.logaddexp.resolve_dtypes((given, given, None))[2]  # that of 8 bits is float16
    array = array if made == given else astype(array, dtype=made)
    single = shape_of(array) == () and axis in (0, -1)  # a number has an axis where ufuncs reduce
    return logsumexp(array, None if single else axis, keepdims)


def _answer_quantifier(ufunc: np.ufunc, function: Callable[..., Any]) -> None:
    """Answer ``logical_and.reduce`` and ``logical_or.reduce``."""

    @answers(ufunc.reduce, samples=_cases())
    def reduce(
        array: Any, axis: Any = 0, dtype: Any = None, out: Any = None, keepdims: bool = False, **options: Any
    ) -> Any:
        refuse(name_of(ufunc.reduce), dtype=dtype, out=out, **options)
        return function(array, axis=axis, keepdims=keepdims)


_answer_quantifier(np.logical_and, np.all)
_answer_quantifier(np.logical_or, np.any)


# ---- accumulate ----------------------------------------------------------------------------------


def _record_holders(x: Any, axis: int, largest: bool) -> Any:
    """The position along an axis of the extremum so far: the first of equal ones; NaN beats every number."""
    x = np.moveaxis(x, axis, 0)
    extremum = (np.maximum if largest else np.minimum).accumulate(x)
    news = np.ones(x.shape, bool)
    news[1:] = (extremum[1:] != extremum[:-1]) & ~np.isnan(extremum[:-1])
    steps = np.arange(len(x)).reshape(-1, *[1] * (x.ndim - 1))
    return np.moveaxis(np.maximum.accumulate(np.where(news, steps, 0)), 0, axis)


record_holders = Primitive(
    name="record_holders",
    forward=_record_holders,
    infer=lambda x, **_: Spec(x.shape, np.dtype(np.int64)),
    vjps=(NO_GRADIENT,),
    spell=lambda x, *, axis, largest, **_: Code(f"record_holders({x.text}, {axis}, {largest})"),
    text="argmax so far {0}",
    latex=r"\operatorname{{argmax}}_{{j \le i}} {0}",
    helper='''def record_holders(x, axis, largest):
    """The position along an axis of the extremum so far: the first of equal ones."""
    x = np.moveaxis(x, axis, 0)
    extremum = (np.maximum if largest else np.minimum).accumulate(x)
    news = np.ones(x.shape, bool)
    news[1:] = (extremum[1:] != extremum[:-1]) & ~np.isnan(extremum[:-1])
    steps = np.arange(len(x)).reshape(-1, *[1] * (x.ndim - 1))
    return np.moveaxis(np.maximum.accumulate(np.where(news, steps, 0)), 0, axis)''',
    samples=lambda: [
        Sample((draw((5,), 1),), {"axis": 0, "largest": True}),
        Sample((draw((2, 5), 1),), {"axis": 1, "largest": False}),
        Sample((np.array([1.0, 3.0, 3.0, np.nan, 4.0]),), {"axis": 0, "largest": True}, "a tie and a NaN"),
    ],
)


def _places(like: Any, size: Dim) -> Any:
    """The rows of a batch, whose size is a name, in the graph of another value."""
    return like.bind(positions, (), {"dim": size, "dtype": np.dtype(np.int64)})


def _extremum_rule(ct: Any, out: Any, x: Any, axis: int, largest: bool) -> Any:
    """Send each cotangent to the element that held the record."""
    key: list[Any] = []
    shape = shape_of(x)
    for i, size in enumerate(shape):
        if i == axis:
            key.append(record_holders(x, axis=axis, largest=largest))
            continue
        every = np.arange(size) if not isinstance(size, Dim) else _places(ct, size)
        key.append(expand_dims(every, axis=tuple(j for j in range(len(shape)) if j != i)))
    template, picks = take_apart(x, tuple(key))
    return index_add(ct, *picks, index=template, shape=shape)


def _running(ufunc: np.ufunc, largest: bool, word: str) -> Primitive:
    name = f"{ufunc.__name__}_accumulate"

    def spell(x: Code, *, axis: int, **_: Any) -> Code:
        return Code(f"{name_of(ufunc.accumulate)}({x.text}{f', axis={axis}' if axis else ''})")

    return Primitive(
        name=name,
        forward=lambda x, axis, largest: ufunc.accumulate(x, axis=axis),
        infer=infer_like,
        vjps=(_extremum_rule,),
        spell=spell,
        text=f"{word} so far {{0}}",
        latex=rf"\{word}_{{{{j \le i}}}} {{0}}",
        flow=("{ct} summed up where {out} was reached first",),
        latex_flow=(rf"\sum_{{{{i}}}} {{ct}}_i [\arg\{word}_{{{{j \le i}}}} {{0}}_j]",),
        samples=lambda: [
            Sample((draw(shape, 3),), {"axis": axis, "largest": largest})
            for shape, axis in (((5,), 0), ((1,), 0), ((2, 4), 0), ((2, 4), 1), ((2, 3, 2), 1))
        ],
        kinks=(Kink(([1.0, 1.0],), ([2.0, 0.0],), "to the first of equal ones", {"axis": 0, "largest": largest}),),
    )


def _answer_accumulate(ufunc: np.ufunc, apply: Callable[[Any, int], Any]) -> None:
    name = name_of(ufunc.accumulate)

    @answers(
        ufunc.accumulate,
        samples=lambda: [
            Sample((draw((4,), 1),)),
            *[Sample((draw((2, 3, 2), 1),), {"axis": axis}, f"axis {axis}") for axis in (0, 1, -1)],
            Sample((draw((3,), 1),), {"dtype": np.float64}, "in float64"),
        ],
    )
    def accumulate(array: Any, axis: int = 0, dtype: Any = None, out: Any = None) -> Any:
        refuse(name, out=out)
        if dtype is not None:
            array = astype(array, dtype=np.dtype(dtype))
        result = apply(array, axis_of(name, array, axis))
        return result if dtype is None or dtype_of(result) == np.dtype(dtype) else astype(result, dtype=np.dtype(dtype))


maximum_so_far = _running(np.maximum, True, "max")
minimum_so_far = _running(np.minimum, False, "min")
_answer_accumulate(np.add, lambda x, axis: np.cumsum(x, axis=axis))
_answer_accumulate(np.multiply, lambda x, axis: np.cumprod(x, axis=axis))
_answer_accumulate(np.maximum, lambda x, axis: maximum_so_far(x, axis=axis, largest=True))
_answer_accumulate(np.minimum, lambda x, axis: minimum_so_far(x, axis=axis, largest=False))


# ---- outer ---------------------------------------------------------------------------------------


def _outer_samples() -> list[Sample]:
    return [
        Sample((draw((3,), 1, positive=True), 2.1 + draw((2,), 2, positive=True)), note="two vectors"),
        Sample((draw((2, 1), 1, positive=True), np.array(2.5)), note="a matrix and a 0-d array"),
        Sample((draw((2,), 1, positive=True), 2.1 + draw((2, 3), 2, positive=True)), note="a vector and a matrix"),
    ]


def _answer_outer(ufunc: np.ufunc) -> None:
    @answers(ufunc.outer, samples=_outer_samples)
    def outer(a: Any, b: Any, **options: Any) -> Any:
        refuse(name_of(ufunc.outer), **options)
        ndim, more = len(shape_of(a)), len(shape_of(b))
        return ufunc(expand_dims(a, axis=tuple(range(ndim, ndim + more))) if more else a, b)


for _ufunc in (
    np.add, np.subtract, np.multiply, np.divide, np.power, np.maximum, np.minimum, np.fmax, np.fmin, np.hypot,
    np.arctan2, np.logaddexp, np.remainder, np.floor_divide, np.greater, np.greater_equal, np.less, np.less_equal,
    np.equal, np.not_equal, np.float_power, np.fmod, np.copysign, np.logaddexp2, np.logical_and, np.logical_or,
):  # fmt: skip
    _answer_outer(_ufunc)
