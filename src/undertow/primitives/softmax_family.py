"""The softmax family: softmax, its logarithm, and the logarithm of the sum of exponentials."""

from __future__ import annotations

from typing import Any

import numpy as np

from undertow.primitives.compare import where
from undertow.primitives.exponential import as_float, infer_float
from undertow.primitives.record import Code, Primitive, Sample, Spelling, call_axis, float_like
from undertow.primitives.reduce import sum_
from undertow.primitives.reduction import Axes, expand, infer_reduction, reduction_samples
from undertow.primitives.sampling import draw


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
