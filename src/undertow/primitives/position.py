"""Where the largest and smallest element is, and how many elements are not zero: no derivatives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from undertow.graph import Spec
from undertow.primitives.record import (
    NO_GRADIENT,
    Code,
    Primitive,
    Sample,
    answers,
    call_axis,
    normalize_axis,
    reduced_shape,
    refuse,
    shape_of,
)
from undertow.primitives.reduction import (
    MISSING,
    axes_of,
    axis_of,
    infer_reduction,
    kept,
    no_elements,
    reduction_calls,
    reduction_samples,
)
from undertow.primitives.sampling import draw


def _infer_position(x: Spec, axis: int | None, keepdims: bool = False) -> Spec:
    axes = normalize_axis(axis, x.ndim)
    if any(x.shape[i] == 0 for i in axes):
        raise no_elements(x.shape, axis)
    return Spec(reduced_shape(x.shape, axes, keepdims), np.dtype(np.intp), x.weak)


def _calls() -> list[Sample]:
    samples = [s for s in reduction_calls(where=False) if not isinstance(s.params.get("axis"), tuple)]
    return [Sample((np.asarray(s.args[0]),), s.params) for s in samples]


def _position(name: str, function: Callable[..., Any]) -> Primitive:
    """Make the primitive of ``np.argmax`` or one like it, and the answer to it."""

    def spell(x: Code, *, axis: int | None, keepdims: bool = False, **_: Any) -> Code:
        along = "" if axis is None else f", axis={axis}"
        return Code(f"np.{name}({x.text}{along}{', keepdims=True' if keepdims else ''})")

    primitive = Primitive(
        name=name,
        forward=function,
        infer=_infer_position,
        vjps=(NO_GRADIENT,),
        spell=spell,
        text=f"{name} {{0}}",
        latex=rf"\operatorname{{{{{name}}}}} {{0}}",
        samples=lambda: [
            Sample((draw(shape, 12),), {"axis": axis, "keepdims": keep}, f"shape {shape} along {axis}")
            for shape, axis in (((), None), ((2, 3), None), ((3,), 0), ((2, 3), 1), ((2, 1), 1), ((2, 3, 4), 1))
            for keep in (False, True)
        ],
    )

    @answers(function, samples=_calls)
    def position(a: Any, axis: Any = None, out: Any = None, *, keepdims: Any = MISSING) -> Any:
        refuse(f"np.{name}", out=out)
        axes_of(f"np.{name}", a, axis)  # of a number the axis 0 is allowed
        flat = axis is None or len(shape_of(a)) < 2
        return primitive(a, axis=None if flat else axis_of(f"np.{name}", a, axis), keepdims=kept(keepdims))

    return primitive


argmax = _position("argmax", np.argmax)
argmin = _position("argmin", np.argmin)
nanargmax = _position("nanargmax", np.nanargmax)
nanargmin = _position("nanargmin", np.nanargmin)


count_nonzero = Primitive(
    name="count_nonzero",
    forward=lambda x, axis, keepdims: np.intp(1) * np.count_nonzero(x, axis=axis, keepdims=keepdims),
    infer=infer_reduction(lambda dtype: np.dtype(np.intp)),
    vjps=(NO_GRADIENT,),
    spell=call_axis("np.count_nonzero"),
    text="the number of {0} ≠ 0",
    latex=r"\#\{{{0} \ne 0\}}",
    samples=lambda: reduction_samples(((2, 0), (1,))),
)


@answers(np.count_nonzero, samples=lambda: reduction_calls(where=False))
def _count_nonzero(a: Any, axis: Any = None, *, keepdims: Any = False) -> Any:
    return count_nonzero(a, axis=axes_of("np.count_nonzero", a, axis), keepdims=bool(keepdims))
