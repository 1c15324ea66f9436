"""The larger and the smaller of two, and values kept between bounds."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from undertow.errors import UnsupportedError
from undertow.graph import Spec, broadcast_shapes
from undertow.primitives.compare import keep
from undertow.primitives.elementwise import elementwise
from undertow.primitives.record import (
    Code,
    Kink,
    Primitive,
    Sample,
    answers,
    call,
    check_number,
    dtype_of,
    infer_like,
    promote,
    refuse,
)
from undertow.primitives.sampling import binary_samples, draw, unary_samples
from undertow.primitives.special import identity


def _share_by(better: Callable[[Any, Any], Any]) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Make the rules of maximum (better is >) and minimum (better is <)."""

    def first(ct: Any, out: Any, x: Any, y: Any, active: tuple[bool, ...]) -> Any:
        if all(active):  # a tie goes half and half: each side's share is the subgradient of least norm
            return ct * np.where(x == y, 0.5, better(x, y))
        return ct * better(x, y)  # as the lesson writes it: dh * (z > 0)

    def second(ct: Any, out: Any, x: Any, y: Any, active: tuple[bool, ...]) -> Any:
        return first(ct, out, y, x, active)

    return first, second


_TIES = "½ each when both are differentiated; 0 when the other is a constant"
_TIE_KINKS = (Kink((0.0, 0.0), (0.5, 0.5), _TIES), Kink((0.0, 0.0), (0.0, None), _TIES))

_larger, _smaller = _share_by(lambda x, y: x > y), _share_by(lambda x, y: x < y)


def _extremum(ufunc: np.ufunc, sign: str, rules: tuple[Callable[..., Any], ...], **more: Any) -> Primitive:
    """Make the record of the larger (sign is >) or the smaller (<) of two."""
    word = "max" if sign == ">" else "min"
    return elementwise(
        ufunc,
        *rules,
        tells_active=True,
        text=f"{word}({{0}}, {{1}})",
        latex=rf"\{word}({{0}}, {{1}})",
        flow=tuple(f"{{ct}} where {{{i}}} {sign} {{{1 - i}}}, else 0" for i in (0, 1)),
        latex_flow=tuple(rf"{{ct}} \odot [{{{i}}} {sign} {{{1 - i}}}]" for i in (0, 1)),
        finite_slope=True,
        **more,
    )


maximum = _extremum(np.maximum, ">", _larger, kinks=_TIE_KINKS, samples=binary_samples)
minimum = _extremum(np.minimum, "<", _smaller, kinks=_TIE_KINKS, samples=binary_samples)

_NAN_KINKS = (
    *_TIE_KINKS,
    Kink((np.nan, 1.0), (0.0, 1.0), "a NaN is passed over"),
    Kink((1.0, np.nan), (1.0, 0.0), "a NaN is passed over"),
    Kink((1.0, np.nan), (1.0, None), "a NaN is passed over"),
)


def _nan_samples() -> list[Sample]:
    pair = np.array([1.0, np.nan, -2.0, 0.5]), np.array([np.nan, 2.0, -1.0, 0.25])
    return [*binary_samples(), Sample(tuple(np.nan_to_num(x, nan=9.0) for x in pair), note="beside NaN")]


fmax = _extremum(
    np.fmax, ">", _share_by(lambda x, y: np.logical_or(x > y, np.isnan(y))), kinks=_NAN_KINKS, samples=_nan_samples
)
fmin = _extremum(
    np.fmin, "<", _share_by(lambda x, y: np.logical_or(x < y, np.isnan(y))), kinks=_NAN_KINKS, samples=_nan_samples
)


# ---- clip ----------------------------------------------------------------------------------------


def _infer_clip(x: Spec, low: Spec, high: Spec) -> Spec:
    first = Spec(broadcast_shapes(x.shape, low.shape), *promote(np.maximum, (x, low)))
    return Spec(broadcast_shapes(first.shape, high.shape), *promote(np.minimum, (first, high)))


def _clip_samples() -> list[Sample]:
    x = np.array([-2.0, -0.5, 0.25, 0.75, 3.0])
    return [
        *[Sample((s.args[0], -0.5, 0.75), note=s.note) for s in unary_samples()],
        Sample((draw((2, 3), 1), -np.ones((2, 1)), np.full(3, 0.5)), note="a bound by row and by column"),
        Sample((x * 1.01, 0, 1), note="whole numbers"),
        Sample((np.array(0.3), np.array([-1.0, 0.4]), np.array([0.2, 1.0])), note="the bounds are larger than x"),
    ]


def _clip_rule(position: int, ct: Any, out: Any, x: Any, low: Any, high: Any, active: tuple[bool, ...]) -> Any:
    if active == (True, False, False):
        return keep(np.logical_and(x > low, x < high), ct)
    raised = np.maximum(x, low)  # a bound is differentiated: clip is min(max(x, low), high), with the ties of these
    either = active[0] or active[1]
    if position == 2:
        return _smaller[1](ct, out, raised, high, active=(either, True))
    ct = _smaller[0](ct, out, raised, high, active=(True, active[2]))
    return _larger[position](ct, out, x, low, active=active[:2])


clip = Primitive(
    name="clip",
    forward=np.clip,
    infer=_infer_clip,
    vjps=tuple(partial(_clip_rule, position) for position in range(3)),
    broadcasts=True,
    finite_slope=True,
    tells_active=True,
    spell=call("np.clip"),
    text="clip({0}, {1}, {2})",
    latex=r"\operatorname{{clip}}({0}, {1}, {2})",
    flow=("{ct} where {1} < {0} < {2}, else 0", "{ct} where {0} < {1}, else 0", "{ct} where {0} > {2}, else 0"),
    latex_flow=(r"{ct} \odot [{1} < {0} < {2}]", r"{ct} \odot [{0} < {1}]", r"{ct} \odot [{0} > {2}]"),
    kinks=(
        Kink((1.0, -1.0, 1.0), (0.0, None, None), "the subgradient of least norm in [0, 1]"),
        Kink((-1.0, -1.0, 1.0), (0.0, None, None), "the subgradient of least norm in [0, 1]"),
        Kink((-1.0, -1.0, 1.0), (0.5, 0.5, 0.0), "½ each at a bound that is differentiated"),
        Kink((1.0, -1.0, 1.0), (0.5, None, 0.5), "½ each at a bound that is differentiated"),
        Kink((0.5, 2.0, 1.0), (0.0, 0.0, 1.0), "the upper bound wins where the bounds cross"),
    ),
    samples=_clip_samples,
)


def _answer_samples() -> list[Sample]:
    x = draw((2, 3), 1)
    return [
        *_clip_samples(),
        Sample((x, None, 0.5), note="no lower bound"),
        Sample((x, 0.1, None), note="no upper bound"),
        Sample((x,), {"min": -0.5, "max": 0.5}, "the new names of the bounds"),
        Sample((x,), {"a_min": -0.5, "a_max": 0.5}, "the old names of the bounds"),
        Sample((0.3, draw((3,), 2), 1.0 + draw((3,), 3, positive=True)), note="only the bounds are traced"),
    ]


@answers(
    np.clip,
    samples=_answer_samples,
    kinks=(
        Kink(([-1.0, 0.5, 1.0], -1.0, 1.0), ([0.0, 1.0, 0.0], None, None), "0 at a bound"),
        Kink(([-1.0, 0.5, 1.0], -1.0, 1.0), ([0.5, 1.0, 0.5], 0.5, 0.5), "½ each at a bound that is differentiated"),
    ),
)
def _clip(a: Any, a_min: Any = None, a_max: Any = None, out: Any = None, *, min: Any = None, max: Any = None) -> Any:
    refuse("np.clip", out=out)
    low, high = a_min if min is None else min, a_max if max is None else max
    if (dtype := dtype_of(a)).kind in "iu":  # a bound beyond those of the dtype is none, in NumPy as well
        low = np.iinfo(dtype).min if type(low) is int and low < np.iinfo(dtype).min else low
        high = np.iinfo(dtype).max if type(high) is int and high > np.iinfo(dtype).max else high
        kind = np.result_type(dtype, *(dtype_of(x) for x in (low, high) if x is not None and type(x) is not int))
        check_number(low, kind)  # not of what a fraction makes floats of
        check_number(high, kind)
    if low is None:
        return identity(a) if high is None else np.minimum(a, high)
    return np.maximum(a, low) if high is None else clip(a, low, high)


# ---- NaN and infinities replaced -----------------------------------------------------------------


def _spell_nan_to_num(x: Code, *, nan: float, posinf: float | None, neginf: float | None, **_: Any) -> Code:
    options = {"nan": nan or None, "posinf": posinf, "neginf": neginf}
    text = "".join(f", {name}={value!r}" for name, value in options.items() if value is not None)
    return Code(f"np.nan_to_num({x.text}{text.replace('=inf', '=np.inf').replace('=-inf', '=-np.inf')})")


_nan_to_num = Primitive(
    name="nan_to_num",
    forward=lambda x, **options: np.nan_to_num(x, **options),
    infer=infer_like,
    vjps=(lambda ct, out, x, **_: keep(np.isfinite(x), ct),),
    broadcasts=True,
    finite_slope=True,
    spell=_spell_nan_to_num,
    text="finite({0})",
    latex=r"\operatorname{{finite}}({0})",
    flow=("{ct} where {0} is finite, else 0",),
    latex_flow=(r"{ct} \odot [\lvert {0} \rvert < \infty]",),
    kinks=tuple(
        Kink((x,), (0.0,), "what is replaced has no influence", {"nan": 0.0, "posinf": None, "neginf": None})
        for x in (np.nan, np.inf, -np.inf)
    ),
    samples=lambda: [
        Sample(s.args, options, s.note)
        for s in unary_samples()
        for options in (
            {"nan": 0.0, "posinf": None, "neginf": None},
            {"nan": 1.5, "posinf": 9.0, "neginf": -9.0},
        )
    ],
)


@answers(
    np.nan_to_num,
    samples=lambda: [
        *[Sample(s.args) for s in unary_samples()],
        Sample((draw((3,), 1),), {"nan": -1.0, "posinf": 1e6, "neginf": -1e6}, "other values instead"),
    ],
    kinks=(Kink(([np.nan, np.inf, 2.0],), ([0.0, 0.0, 1.0],), "what is replaced has no influence", {"posinf": 1.0}),),
)
def _answer_nan_to_num(x: Any, copy: bool = True, nan: Any = 0.0, posinf: Any = None, neginf: Any = None) -> Any:
    refuse("np.nan_to_num", copy=None if copy else False)
    if dtype_of(x).kind != "f":
        return identity(x)  # whole numbers are finite
    options = {"nan": nan, "posinf": posinf, "neginf": neginf}
    for name, value in options.items():
        if value is not None and not isinstance(value, int | float):
            raise UnsupportedError(f"np.nan_to_num(..., {name}=...) is traced with a number only. Use np.where.")
    return _nan_to_num(x, **{name: value if value is None else float(value) for name, value in options.items()})
