"""Reductions: sum, mean, largest and smallest, any and all, and the softmax family.

``axis`` is a sorted tuple of non-negative numbers here; the answers to NumPy's functions make it one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from undertow.errors import ShapeError
from undertow.graph import Spec, show_shape
from undertow.primitives.compare import where
from undertow.primitives.exponential import as_float, infer_float
from undertow.primitives.record import (
    NO_GRADIENT,
    Code,
    Primitive,
    Sample,
    Spelling,
    answers,
    call_axis,
    count_of,
    dtype_of,
    float_like,
    normalize_axis,
    reduced_shape,
    refuse,
    shape_of,
)
from undertow.primitives.sampling import draw
from undertow.primitives.shape import astype, broadcast_to, expand_dims

Axes = tuple[int, ...]
_MISSING: Any = np._NoValue


def expand(x: Any, axis: Axes, keepdims: bool) -> Any:
    """Bring a reduced value where it broadcasts against what was reduced; leading axes need nothing."""
    return x if keepdims or axis == tuple(range(len(axis))) else expand_dims(x, axis=axis)


def add_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the dtype of a sum: NumPy adds small integers and truth values up as 64-bit integers."""
    if dtype.kind in "bi":
        return np.dtype(np.int64)
    return np.dtype(np.uint64) if dtype.kind == "u" else dtype


def infer_reduction(dtype: Callable[[np.dtype[Any]], np.dtype[Any]], empty: bool = True) -> Callable[..., Spec]:
    """Make a shape rule from the rule for the dtype; not ``empty``: at least one element is needed."""

    def infer(x: Spec, axis: Axes, keepdims: bool = False) -> Spec:
        if not empty and any(x.shape[i] == 0 for i in axis):
            raise ShapeError(f"{show_shape(x.shape)} has no element to choose along axis {axis}. Pass at least one.")
        return Spec(reduced_shape(x.shape, axis, keepdims), dtype(x.dtype), x.weak)

    return infer


def reduction_samples(*empty: tuple[tuple[int, ...], Axes]) -> list[Sample]:
    """Return samples for a reduction, with and without keepdims; ``empty``: shapes without elements."""
    cases: list[tuple[tuple[int, ...], Axes]] = [
        ((), ()),
        ((1,), (0,)),
        ((3,), (0,)),
        ((2, 3), (0,)),
        ((2, 3), (1,)),
        ((2, 3), (0, 1)),
        ((1, 3), (0,)),
        ((2, 3), ()),
        ((2, 3, 4), (1,)),
        ((2, 3, 4), (0, 2)),
        ((0, 3), (1,)),
        *empty,
    ]
    return [
        Sample((draw(shape, 11),), {"axis": axis, "keepdims": keep}, f"shape {shape} along {axis}")
        for shape, axis in cases
        for keep in (False, True)
    ]


sum_ = Primitive(
    name="sum",
    forward=np.sum,
    infer=infer_reduction(add_dtype),
    vjps=(lambda ct, out, x, axis, keepdims: broadcast_to(expand(ct, axis, keepdims), shape=shape_of(x)),),
    spell=call_axis("np.sum"),
    text="Σ {0}",
    latex=r"\sum {0}",
    flow=("{ct} for each term",),
    latex_flow=(r"{ct} \cdot \mathbf{{1}}",),
    samples=lambda: reduction_samples(((2, 0), (1,)), ((0, 3), (0, 1))),
)


def _mean_rule(ct: Any, out: Any, x: Any, axis: Axes, keepdims: bool) -> Any:
    return broadcast_to(expand(ct, axis, keepdims) / count_of(x, axis), shape=shape_of(x))


mean_ = Primitive(
    name="mean",
    forward=np.mean,
    infer=infer_reduction(float_like),
    vjps=(_mean_rule,),
    spell=call_axis("np.mean"),
    text="mean({0})",
    latex=r"\operatorname{{mean}}({0})",
    flow=("{ct} / n for each of the n terms",),
    latex_flow=(r"\tfrac{{1}}{{n}} {ct} \cdot \mathbf{{1}}",),
    samples=reduction_samples,
)


def _extremum_rule(ct: Any, out: Any, x: Any, axis: Axes, keepdims: bool) -> Any:
    """Split the cotangent evenly among the elements that are the extremum."""
    chosen = x == expand(out, axis, keepdims)
    ties = astype(sum_(chosen, axis=axis, keepdims=keepdims), dtype=dtype_of(ct))
    return expand(ct / ties, axis, keepdims) * chosen


max_ = Primitive(
    name="max",
    forward=np.max,
    infer=infer_reduction(lambda dtype: dtype, empty=False),
    vjps=(_extremum_rule,),
    spell=call_axis("np.max"),
    text="max {0}",
    latex=r"\max {0}",
    flow=("{ct} where {0} = {out}, in equal parts, else 0",),
    latex_flow=(r"\tfrac{{1}}{{n_{{\max}}}} {ct} \odot [{0} = {out}]",),
    samples=reduction_samples,
)

min_ = Primitive(
    name="min",
    forward=np.min,
    infer=infer_reduction(lambda dtype: dtype, empty=False),
    vjps=(_extremum_rule,),
    spell=call_axis("np.min"),
    text="min {0}",
    latex=r"\min {0}",
    flow=("{ct} where {0} = {out}, in equal parts, else 0",),
    latex_flow=(r"\tfrac{{1}}{{n_{{\min}}}} {ct} \odot [{0} = {out}]",),
    samples=reduction_samples,
)


def _quantifier(name: str, forward: Callable[..., Any], text: str, latex: str) -> Primitive:
    return Primitive(
        name=name,
        forward=forward,
        infer=infer_reduction(lambda dtype: np.dtype(bool)),
        vjps=(NO_GRADIENT,),
        spell=call_axis(f"np.{name}"),
        text=text,
        latex=latex,
        samples=lambda: [Sample((s.args[0] > 0,), s.params, s.note) for s in reduction_samples(((2, 0), (1,)))],
    )


any_ = _quantifier("any", np.any, "any {0}", r"\bigvee {0}")
all_ = _quantifier("all", np.all, "all {0}", r"\bigwedge {0}")


def _infer_position(x: Spec, axis: int | None) -> Spec:
    axes = normalize_axis(axis, x.ndim)
    if any(x.shape[i] == 0 for i in axes):
        raise ShapeError(f"{show_shape(x.shape)} has no element to choose along axis {axis}. Pass at least one.")
    return Spec(reduced_shape(x.shape, axes, False), np.dtype(np.intp), x.weak)


def _spell_axis(function: str) -> Spelling:
    """Spell as ``softmax(x, axis=1)``; None is the default."""
    return lambda x, *, axis, **_: Code(f"{function}({x.text}{'' if axis is None else f', axis={axis}'})")


def _axis_samples(*cases: tuple[tuple[int, ...], int | None]) -> list[Sample]:
    return [
        Sample((draw(shape, 12),), {"axis": axis}, f"shape {shape} along {axis}")
        for shape, axis in (
            *cases,
            ((3,), 0),
            ((2, 3), 0),
            ((2, 3), 1),
            ((2, 1), 1),
            ((2, 3, 4), 1),
            ((0, 3), 1),
        )
    ]


def _position(name: str, forward: Callable[..., Any]) -> Primitive:
    return Primitive(
        name=name,
        forward=forward,
        infer=_infer_position,
        vjps=(NO_GRADIENT,),
        spell=_spell_axis(f"np.{name}"),
        text=f"{name} {{0}}",
        latex=rf"\operatorname{{{{{name}}}}} {{0}}",
        samples=lambda: _axis_samples(((), None), ((2, 3), None)),
    )


argmax = _position("argmax", np.argmax)
argmin = _position("argmin", np.argmin)


# ---- the softmax family --------------------------------------------------------------------------


def _shifted(x: Any, axis: int | Axes) -> tuple[Any, Any, Any]:
    """Return x − shift, exp of that, and the shift: the largest element, where it is finite."""
    x = as_float(x)
    shift = np.max(x, axis=axis, keepdims=True, initial=-np.inf)
    shift = np.where(np.isfinite(shift), shift, 0)
    shifted = x - shift
    return shifted, np.exp(shifted), shift


def _softmax(x: Any, axis: int) -> Any:
    """Softmax; where every element is −∞, nothing has a share: 0."""
    with np.errstate(over="ignore", invalid="ignore"):
        _, e, _ = _shifted(x, axis)
        total = np.sum(e, axis=axis, keepdims=True)
        return e / np.where(total == 0, 1, total)


def _log_softmax(x: Any, axis: int) -> Any:
    """The logarithm of softmax; where every element is −∞, so is the result."""
    with np.errstate(over="ignore", invalid="ignore"):
        shifted, e, _ = _shifted(x, axis)
        total = np.sum(e, axis=axis, keepdims=True)
        return shifted - np.log(np.where(total == 0, 1, total))


def _logsumexp(x: Any, axis: Axes, keepdims: bool) -> Any:
    with np.errstate(over="ignore", divide="ignore"):
        _, e, shift = _shifted(x, axis)
        result = np.log(np.sum(e, axis=axis, keepdims=True)) + shift
    return result[()] if keepdims else np.squeeze(result, axis=axis)[()]


def _along(x: Any, axis: int) -> Any:
    return sum_(x, axis=(axis,), keepdims=True)


def _extreme_samples(axis: Any, **params: Any) -> list[Sample]:
    x = np.array([[1000.0, -1000.0, 999.0], [-1000.0, -1001.0, -1000.5]])
    return [Sample((x,), {"axis": axis, **params}, "large numbers of both signs")]


softmax = Primitive(
    name="softmax",
    forward=_softmax,
    infer=infer_float,
    vjps=(lambda ct, out, x, axis: out * (ct - _along(ct * out, axis)),),
    spell=_spell_axis("softmax"),
    text="softmax({0})",
    latex=r"\operatorname{{softmax}}({0})",
    flow=("{out} ⊙ ({ct} − Σ {ct} ⊙ {out})",),
    latex_flow=(r"{out} \odot ({ct} - \sum {ct} \odot {out})",),
    helper='''def softmax(x, axis):
    """exp(x) / Σ exp(x), shifted by the largest element so that nothing overflows."""
    shift = np.max(x, axis=axis, keepdims=True, initial=-np.inf)
    e = np.exp(x - np.where(np.isfinite(shift), shift, 0))
    total = np.sum(e, axis=axis, keepdims=True)
    return e / np.where(total == 0, 1, total)''',
    samples=lambda: [*_axis_samples(((2, 0), 1)), *_extreme_samples(1)],
)

log_softmax = Primitive(
    name="log_softmax",
    forward=_log_softmax,
    infer=infer_float,
    vjps=(lambda ct, out, x, axis: ct - softmax(x, axis=axis) * _along(ct, axis),),
    spell=_spell_axis("log_softmax"),
    text="log softmax({0})",
    latex=r"\log \operatorname{{softmax}}({0})",
    flow=("{ct} − softmax({0}) ⊙ Σ {ct}",),
    latex_flow=(r"{ct} - \operatorname{{softmax}}({0}) \odot \sum {ct}",),
    helper='''def log_softmax(x, axis):
    """x − log Σ exp(x), shifted by the largest element so that nothing overflows."""
    shift = np.max(x, axis=axis, keepdims=True, initial=-np.inf)
    shifted = x - np.where(np.isfinite(shift), shift, 0)
    total = np.sum(np.exp(shifted), axis=axis, keepdims=True)
    return shifted - np.log(np.where(total == 0, 1, total))''',
    samples=lambda: [*_axis_samples(((2, 0), 1)), *_extreme_samples(1)],
)


def _logsumexp_rule(ct: Any, out: Any, x: Any, axis: Axes, keepdims: bool) -> Any:
    if len(axis) == 1:
        return expand(ct, axis, keepdims) * softmax(x, axis=axis[0])
    out = expand(out, axis, keepdims)
    return expand(ct, axis, keepdims) * np.exp(x - where(out == -np.inf, 0, out))


logsumexp = Primitive(
    name="logsumexp",
    forward=_logsumexp,
    infer=infer_reduction(float_like),
    vjps=(_logsumexp_rule,),
    spell=call_axis("logsumexp"),
    text="log Σ exp({0})",
    latex=r"\log \sum e^{{{0}}}",
    flow=("{ct} ⊙ softmax({0})",),
    latex_flow=(r"{ct} \odot \operatorname{{softmax}}({0})",),
    helper='''def logsumexp(x, axis=None, keepdims=False):
    """log Σ exp(x), shifted by the largest element so that nothing overflows."""
    shift = np.max(x, axis=axis, keepdims=True, initial=-np.inf)
    shift = np.where(np.isfinite(shift), shift, 0)
    result = np.log(np.sum(np.exp(x - shift), axis=axis, keepdims=True)) + shift
    return result if keepdims else np.squeeze(result, axis=axis)''',
    samples=lambda: [*reduction_samples(((2, 0), (1,))), *_extreme_samples((1,), keepdims=False)],
)


# ---- the answers to NumPy's functions ------------------------------------------------------------


def axes_of(function: str, x: Any, axis: Any) -> Axes:
    """Return the axes a NumPy function was given, normalized.

    Raises:
        ShapeError: there is no such axis; names the function, the axis and the shape.
    """
    shape = shape_of(x)
    try:
        return normalize_axis(axis, len(shape))
    except ValueError as error:
        raise ShapeError(f"{function}: {error}. The array is {show_shape(shape)}.") from None


def answer_reduction(primitive: Primitive, *functions: Callable[..., Any], dtype: bool = True) -> None:
    """Answer reductions that are called like ``np.sum(a, axis, dtype, out, keepdims, …)``."""
    name = f"np.{functions[0].__name__.replace('amax', 'max').replace('amin', 'min')}"

    def apply(a: Any, axis: Any, keepdims: Any, options: dict[str, Any]) -> Any:
        refuse(name, **options)
        keep = keepdims is not _MISSING and bool(keepdims)
        return primitive(a, axis=axes_of(name, a, axis), keepdims=keep)

    def with_dtype(
        a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = _MISSING, **options: Any
    ) -> Any:
        return apply(a, axis, keepdims, {"dtype": dtype, "out": out, **options})

    def without(a: Any, axis: Any = None, out: Any = None, keepdims: Any = _MISSING, **options: Any) -> Any:
        return apply(a, axis, keepdims, {"out": out, **options})

    answers(*functions)(with_dtype if dtype else without)


answer_reduction(sum_, np.sum)
answer_reduction(mean_, np.mean)
answer_reduction(max_, np.max, np.amax, dtype=False)
answer_reduction(min_, np.min, np.amin, dtype=False)
answer_reduction(any_, np.any, dtype=False)
answer_reduction(all_, np.all, dtype=False)


def _answer_position(primitive: Primitive, function: Callable[..., Any]) -> None:
    def position(a: Any, axis: Any = None, out: Any = None, *, keepdims: Any = _MISSING) -> Any:
        refuse(f"np.{primitive.name}", out=out, keepdims=keepdims or None)
        ndim = len(shape_of(a))
        axes = axes_of(f"np.{primitive.name}", a, axis)
        return primitive(a, axis=None if axis is None or ndim == 1 else axes[0])

    answers(function)(position)


_answer_position(argmax, np.argmax)
_answer_position(argmin, np.argmin)


@answers(np.var)
def _var(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    ddof: Any = 0,
    keepdims: Any = _MISSING,
    *,
    where: Any = _MISSING,
    mean: Any = _MISSING,
    correction: Any = _MISSING,
) -> Any:
    refuse("np.var", dtype=dtype, out=out, where=where, mean=mean)
    ddof = ddof if correction is _MISSING else correction
    axes, keep = axes_of("np.var", a, axis), keepdims is not _MISSING and bool(keepdims)
    squares = np.square(a - mean_(a, axis=axes, keepdims=True))
    if isinstance(ddof, int | float) and ddof == 0:
        return mean_(squares, axis=axes, keepdims=keep)
    return sum_(squares, axis=axes, keepdims=keep) / (count_of(a, axes) - ddof)


@answers(np.std)
def _std(a: Any, axis: Any = None, dtype: Any = None, out: Any = None, *args: Any, **options: Any) -> Any:
    refuse("np.std", dtype=dtype, out=out, where=options.get("where"), mean=options.get("mean"))
    variance = _var(a, axis, None, None, *args, **options)
    if dtype_of(a).kind != "f":
        return np.sqrt(variance)
    # A constant has slope 0, not 0/0. Its variance may be a rounding error, so the spread decides.
    axes = axes_of("np.std", a, axis)
    keep = len(shape_of(variance)) == len(shape_of(a))
    spread = max_(a, axis=axes, keepdims=keep) - min_(a, axis=axes, keepdims=keep)
    constant = spread == 0
    return np.where(constant, 0, np.sqrt(np.where(constant, 1, variance)))
