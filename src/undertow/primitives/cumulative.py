"""Running sums and products, and the linear recurrence that is behind the derivative of a product."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from undertow.errors import ArgumentError
from undertow.graph import Dim, Spec
from undertow.primitives.compare import where
from undertow.primitives.record import (
    Code,
    Kink,
    Primitive,
    Sample,
    Spelling,
    answers,
    dtype_of,
    refuse,
    shape_of,
)
from undertow.primitives.reduction import add_dtype, axis_of, cast, fixed_size
from undertow.primitives.sampling import draw
from undertow.primitives.shape import expand_dims


def backwards(x: Any, axis: int) -> Any:
    """Return x in reverse order along an axis."""
    return x[(slice(None),) * axis + (slice(None, None, -1),)]


def part(x: Any, axis: int, start: int | None, stop: int | None) -> Any:
    """Return ``x[start:stop]`` along an axis."""
    return x[(slice(None),) * axis + (slice(start, stop),)]


def filled_like(x: Any, axis: int, count: int, value: float) -> Any:
    """Return ``count`` entries of one number, to join with x along an axis."""
    shape: Any = shape_of(x)
    if any(isinstance(size, Dim) for size in shape):
        return np.full_like(x, value, shape=(*shape[:axis], count, *shape[axis + 1 :]))
    return np.full((*shape[:axis], count, *shape[axis + 1 :]), value, dtype_of(x))


def spell_along(function: str) -> Spelling:
    """Spell as ``np.cumsum(x, axis=1)``; the only axis is not written."""

    def spell(x: Code, *, axis: int, ndim: int, **_: Any) -> Code:
        return Code(f"{function}({x.text}{f', axis={axis}' if ndim > 1 else ''})")

    return spell


def along_samples(*extra: Sample) -> list[Sample]:
    """Return samples of an operation along one axis that keeps the shape."""
    shapes = ((1,), 0), ((3,), 0), ((2, 3), 0), ((2, 3), 1), ((2, 1), 1), ((2, 3, 4), 1), ((0, 3), 1), ((2, 0), 1)
    return [*(Sample((draw(shape, 21),), {"axis": axis}) for shape, axis in shapes), *extra]


def along_calls(*extra: Sample) -> list[Sample]:
    """Return calls of a NumPy function that works along one axis or on all elements."""
    x = draw((2, 3), 22)
    plain: tuple[dict[str, Any], ...] = ({}, {"axis": 0}, {"axis": 1}, {"axis": -1}, {"axis": None})
    more = Sample((draw((4,), 22),)), Sample((draw((1, 2), 22), 0)), Sample((draw((2, 3, 2), 23),), {"axis": -2})
    return [*(Sample((x,), params) for params in plain), *more, *extra]


# ---- running sums --------------------------------------------------------------------------------


def _infer_running(x: Spec, axis: int) -> Spec:
    return Spec(x.shape, add_dtype(x.dtype))


def _infer_product(x: Spec, axis: int) -> Spec:
    fixed_size(x.shape, axis, "the derivative of a running product")
    return _infer_running(x, axis)


def running_total(ct: Any, axis: int) -> Any:
    """Return the sums of what comes at and after each place: how a running sum passes its cotangent back."""
    return backwards(cumsum(backwards(ct, axis), axis=axis), axis)


cumsum = Primitive(
    name="cumsum",
    forward=np.cumsum,
    infer=_infer_running,
    vjps=(lambda ct, out, x, axis: running_total(ct, axis),),
    spell=spell_along("np.cumsum"),
    text="the running sum of {0}",
    latex=r"\operatorname{{cumsum}}({0})",
    flow=("the sum of {ct} from each place to the end",),
    latex_flow=(r"\textstyle\sum_{{j \ge i}} {ct}_j",),
    samples=along_samples,
)

nancumsum = Primitive(
    name="nancumsum",
    forward=np.nancumsum,
    infer=_infer_running,
    vjps=(lambda ct, out, x, axis: where(np.isnan(x), 0, running_total(ct, axis)),),
    spell=spell_along("np.nancumsum"),
    text="the running sum of {0} without NaN",
    latex=r"\operatorname{{nancumsum}}({0})",
    flow=("the sum of {ct} from each place to the end, 0 where {0} is NaN",),
    latex_flow=(r"\textstyle\sum_{{j \ge i}} {ct}_j",),
    kinks=(Kink(([1.0, np.nan, 2.0],), ([3.0, 0.0, 1.0],), "NaN takes no part", {"axis": 0}),),
    samples=along_samples,
)


# ---- the linear recurrence -----------------------------------------------------------------------


def _recurrence(b: Any, a: Any, axis: int, reverse: bool) -> Any:
    """Compute y[i] = b[i] + a[i] y[i − 1], or y[i + 1] if ``reverse``; the first factor plays no role."""
    b, a = (np.moveaxis(x, axis, 0) for x in np.broadcast_arrays(b, a))
    if reverse:
        b, a = b[::-1], a[::-1]
    y = np.array(b)
    scale = np.cumprod(np.concatenate([np.ones_like(a[:1]), a[1:]]), axis=0)
    size, limits = np.abs(scale), np.finfo(scale.dtype)
    if np.all((size > limits.tiny**0.5) & (size < limits.max**0.5)):  # no zero, nothing near the bounds
        y = scale * np.cumsum(b / scale, axis=0)
    else:
        for i in range(1, len(y)):
            y[i] += a[i] * y[i - 1]
    return np.moveaxis(y[::-1] if reverse else y, 0, axis)


def _shifted(x: Any, axis: int, forward: bool, fill: float) -> Any:
    """Return x one place further (or back) along an axis, ``fill`` where nothing moves to."""
    count = fixed_size(shape_of(x), axis, "a recurrence")
    if count == 0:
        return x
    edge = filled_like(x, axis, 1, fill)
    if forward:
        return np.concatenate([edge, part(x, axis, None, count - 1)], axis=axis)
    return np.concatenate([part(x, axis, 1, None), edge], axis=axis)


def _recurrence_start(ct: Any, out: Any, b: Any, a: Any, axis: int, reverse: bool) -> Any:
    """Run the recurrence the other way, with the factor that each place meets there."""
    return recurrence(ct, _shifted(a, axis, reverse, 0), axis=axis, reverse=not reverse)


def _recurrence_factor(ct: Any, out: Any, b: Any, a: Any, axis: int, reverse: bool) -> Any:
    return _recurrence_start(ct, out, b, a, axis, reverse) * _shifted(out, axis, not reverse, 0)


recurrence = Primitive(
    name="recurrence",
    forward=_recurrence,
    infer=lambda b, a, axis, reverse: Spec(b.shape, np.result_type(b.dtype, a.dtype)),
    vjps=(_recurrence_start, _recurrence_factor),
    spell=lambda b, a, *, axis, reverse, **_: Code(
        f"recurrence({b.text}, {a.text}, axis={axis}{', reverse=True' if reverse else ''})"
    ),
    text="the y with yᵢ = {0} + {1} yᵢ₋₁",
    latex=r"(y_i = {0}_i + {1}_i y_{{i-1}})",
    flow=("the recurrence run backwards over {ct}", "that, times the value before"),
    latex_flow=(r"\operatorname{{recurrence}}^\top({ct})", r"\operatorname{{recurrence}}^\top({ct}) \odot y_{{i-1}}"),
    helper='''def recurrence(b, a, axis, reverse=False):
    """y[i] = b[i] + a[i] * y[i - 1] along an axis, or y[i + 1] in reverse; zeros do no harm."""
    b, a = (np.moveaxis(x, axis, 0) for x in np.broadcast_arrays(b, a))
    if reverse:
        b, a = b[::-1], a[::-1]
    y = np.array(b)
    scale = np.cumprod(np.concatenate([np.ones_like(a[:1]), a[1:]]), axis=0)
    size, limits = np.abs(scale), np.finfo(scale.dtype)
    if np.all((size > limits.tiny**0.5) & (size < limits.max**0.5)):
        y = scale * np.cumsum(b / scale, axis=0)
    else:
        for i in range(1, len(y)):
            y[i] += a[i] * y[i - 1]
    return np.moveaxis(y[::-1] if reverse else y, 0, axis)''',
    samples=lambda: [
        Sample((draw(shape, 24), factor), {"axis": axis, "reverse": reverse})
        for shape, axis in (((1,), 0), ((4,), 0), ((2, 3), 0), ((2, 3), 1), ((2, 0), 1))
        for reverse in (False, True)
        for factor in (draw(shape, 25), np.where(draw(shape, 26) > 0, draw(shape, 25), 0))
    ],
)


# ---- running products ----------------------------------------------------------------------------


def running_product_back(ct: Any, out: Any, x: Any, axis: int) -> Any:
    """Pass a cotangent back: the product before each factor, times what follows it, without a division."""
    after = recurrence(ct, _shifted(x, axis, False, 0), axis=axis, reverse=True)
    return after * _shifted(out, axis, True, 1)


def _zeros() -> Sample:
    return Sample((np.array([[2.0, 0.0, 3.0, 0.0, -1.5], [1.5, -2.0, 0.5, 3.0, 0.0]]),), {"axis": 1}, "zeros")


cumprod = Primitive(
    name="cumprod",
    forward=np.cumprod,
    infer=_infer_product,
    vjps=(running_product_back,),
    spell=spell_along("np.cumprod"),
    text="the running product of {0}",
    latex=r"\operatorname{{cumprod}}({0})",
    flow=("Σ {ct} ⊙ the products without each factor",),
    latex_flow=(r"\textstyle\sum_{{j \ge i}} {ct}_j \prod_{{k \le j, k \ne i}} {0}_k",),
    kinks=(Kink(([2.0, 0.0, 3.0],), ([1.0, 8.0, 0.0],), "zeros divide nothing", {"axis": 0}),),
    samples=lambda: along_samples(_zeros()),
)

nancumprod = Primitive(
    name="nancumprod",
    forward=np.nancumprod,
    infer=_infer_product,
    vjps=(
        lambda ct, out, x, axis: where(np.isnan(x), 0, running_product_back(ct, out, where(np.isnan(x), 1, x), axis)),
    ),
    spell=spell_along("np.nancumprod"),
    text="the running product of {0} without NaN",
    latex=r"\operatorname{{nancumprod}}({0})",
    flow=("Σ {ct} ⊙ the products without each factor, 0 where {0} is NaN",),
    latex_flow=(r"\textstyle\sum_{{j \ge i}} {ct}_j \prod_{{k \le j, k \ne i}} {0}_k",),
    kinks=(Kink(([2.0, np.nan, 3.0],), ([5.0, 0.0, 2.0],), "NaN takes no part", {"axis": 0}),),
    samples=lambda: along_samples(_zeros()),
)


def _answer_running(primitive: Primitive, function: Callable[..., Any]) -> None:
    name = f"np.{primitive.name}"
    nan = np.array([[1.0, np.nan, 2.0], [np.nan, 3.0, 0.5]])
    kinks = {
        "nancumsum": (Kink((nan,), ([[6.0, 0.0, 4.0], [0.0, 2.0, 1.0]],), "NaN takes no part"),),
        "nancumprod": (Kink(([np.nan, 2.0, 0.0],), ([0.0, 1.0, 2.0],), "NaN takes no part"),),
        "cumprod": (Kink(([2.0, 0.0, 3.0],), ([1.0, 8.0, 0.0],), "zeros divide nothing"),),
    }

    def samples() -> Any:
        extra = Sample((draw((3,), 22),), {"dtype": np.float64}), Sample((draw((), 22),)), Sample((draw((0,), 22),))
        return along_calls(*extra)

    @answers(function, samples=samples, kinks=kinks.get(primitive.name, ()))
    def running(a: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> Any:
        refuse(name, out=out)
        if axis is None:
            return cast(primitive(cast(np.ravel(a), dtype), axis=0), dtype)
        if not shape_of(a) and axis in (0, -1):
            return cast(primitive(expand_dims(cast(a, dtype), axis=(0,)), axis=0), dtype)
        return cast(primitive(cast(a, dtype), axis=axis_of(name, a, axis)), dtype)


for _primitive, _function in (
    (cumsum, np.cumsum),
    (cumprod, np.cumprod),
    (nancumsum, np.nancumsum),
    (nancumprod, np.nancumprod),
):
    _answer_running(_primitive, _function)


def _answer_cumulative(primitive: Primitive, function: Callable[..., Any], start: int) -> None:
    """Answer ``np.cumulative_sum`` and its kin, which NumPy has since 2.1."""

    def samples() -> list[Sample]:
        x = draw((2, 3), 22)
        return [Sample((x,), {"axis": 1}), Sample((x,), {"axis": -2, "include_initial": True}), Sample((x[0],)),
                Sample((x[0],), {"include_initial": True, "dtype": np.float64}), Sample((np.array(0.7),))]  # fmt: skip

    @answers(function, samples=samples)
    def cumulative(
        x: Any, /, *, axis: Any = None, dtype: Any = None, out: Any = None, include_initial: bool = False
    ) -> Any:
        name = f"np.{function.__name__}"
        refuse(name, out=out)
        if not shape_of(x) and axis in (None, 0, -1):
            x = expand_dims(x, axis=(0,))  # as NumPy does
        if axis is None and len(shape_of(x)) != 1:
            raise ArgumentError(f"{name} needs axis= for an array of {len(shape_of(x))} axes.")
        at = axis_of(name, x, axis)
        result = cast(primitive(cast(x, dtype), axis=at), dtype)
        if not include_initial:
            return result
        return np.concatenate([filled_like(result, at, 1, start), result], axis=at)


if hasattr(np, "cumulative_sum"):
    _answer_cumulative(cumsum, np.cumulative_sum, 0)
    _answer_cumulative(cumprod, np.cumulative_prod, 1)
