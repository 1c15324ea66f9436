"""Convolution and correlation of two vectors, and linear interpolation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from undertow.errors import ArgumentError, ShapeError
from undertow.graph import Spec, show_shape
from undertow.primitives.compare import where
from undertow.primitives.counting import search
from undertow.primitives.cumulative import filled_like
from undertow.primitives.index import Pick, getitem, index_add
from undertow.primitives.record import Code, Kink, Primitive, Sample, Traced, answers, shape_of
from undertow.primitives.reduction import fixed_size
from undertow.primitives.sampling import draw

MODES = ("full", "same", "valid")


# ---- convolution ---------------------------------------------------------------------------------


def _size(n: int, m: int, mode: str) -> int:
    return {"full": n + m - 1, "same": max(n, m), "valid": max(n, m) - min(n, m) + 1}[mode]


def _infer_pair(a: Spec, v: Spec, mode: str) -> Spec:
    """Apply NumPy's rule: two vectors, neither empty.

    Raises:
        ShapeError: something else is given.
    """
    if a.ndim != 1 or v.ndim != 1 or a.shape[0] == 0 or v.shape[0] == 0:
        raise ShapeError(f"two vectors are needed, not {show_shape(a.shape)} and {show_shape(v.shape)}.")
    n, m = fixed_size(a.shape, 0, "a convolution"), fixed_size(v.shape, 0, "a convolution")
    return Spec((_size(n, m, mode),), np.result_type(a.dtype, v.dtype))


def _whole(ct: Any, n: int, m: int, mode: str) -> Any:
    """Put zeros around a cotangent where mode="full" has more elements."""
    before = {"full": 0, "same": (min(n, m) - 1) // 2, "valid": min(n, m) - 1}[mode]
    after = n + m - 1 - before - _size(n, m, mode)
    parts = [filled_like(ct, 0, before, 0)] if before else []
    parts += [ct, filled_like(ct, 0, after, 0)] if after else [ct]
    return np.concatenate(parts) if len(parts) > 1 else ct


def _convolve_back(position: int, ct: Any, out: Any, a: Any, v: Any, mode: str) -> Any:
    """Correlate the cotangent with the other vector."""
    n, m = (fixed_size(shape_of(x), 0, "a convolution") for x in (a, v))
    return correlate(_whole(ct, n, m, mode), a if position else v, mode="valid")


def _correlate_back(position: int, ct: Any, out: Any, a: Any, v: Any, mode: str) -> Any:
    """Differentiate it as a convolution: with v reversed; if v is the longer one, NumPy swaps and reverses."""
    if shape_of(a)[0] < shape_of(v)[0]:  # type: ignore[operator]
        back = _correlate_back(1 - position, ct[::-1], None, v, a, mode)
    else:
        back = _convolve_back(position, ct, None, a, v[::-1], mode)
        back = back[::-1] if position else back
    return back


def _pair_samples() -> list[Sample]:
    sizes = ((5, 3), (3, 5), (4, 2), (2, 4), (1, 1), (3, 3), (1, 4), (6, 1))
    return [Sample((draw((n,), 71), draw((m,), 72)), {"mode": mode}) for n, m in sizes for mode in MODES]


def _pair(name: str, function: Callable[..., Any], rule: Any, default: str, text: str, latex: str) -> Primitive:
    def spell(a: Code, v: Code, *, mode: str, **_: Any) -> Code:
        return Code(f"np.{name}({a.text}, {v.text}{'' if mode == default else f', mode={mode!r}'})")

    primitive = Primitive(
        name=name,
        forward=lambda a, v, mode: function(a, v, mode=mode),
        infer=_infer_pair,
        vjps=rule,
        spell=spell,
        text=f"{{0}} {text} {{1}}",
        latex=rf"{{0}} {latex} {{1}}",
        flow=("{ct} correlated with {1}", "{ct} correlated with {0}"),
        latex_flow=(r"{ct} \star {1}", r"{ct} \star {0}"),
        samples=_pair_samples,
    )

    @answers(
        function,
        samples=lambda: [
            *(Sample(s.args, s.params) for s in _pair_samples()[:9]),
            Sample((draw((4,), 71), draw((3,), 72)), {}),
            Sample((draw((4,), 71), np.array([1.0, -1.0]), "same"), {}),
            *([Sample((draw((4,), 71), 2.0), {}, "a number is a vector of one")] if name == "convolve" else []),
        ],
    )
    def answer(a: Any, v: Any, mode: str = default) -> Any:
        short = {0: "valid", 1: "same", 2: "full", "v": "valid", "s": "same", "f": "full"}
        if (mode := short.get(mode, mode)) not in MODES:
            raise ArgumentError(f'np.{name}: mode={mode!r}. Give "full", "same" or "valid".')
        pair = [np.atleast_1d(x) if not len(shape_of(x)) else x for x in (a, v)]
        return primitive(*pair, mode=mode)

    return primitive


convolve = _pair("convolve", np.convolve, _convolve_back, "full", "∗", "*")
correlate = _pair("correlate", np.correlate, _correlate_back, "valid", "⋆", r"\star")


# ---- interpolation -------------------------------------------------------------------------------


def _segments(x: Any, xp: Any) -> tuple[Any, Any, Any]:
    """Return the two points that each x lies between, and how far along it is."""
    last = fixed_size(shape_of(xp), 0, "np.interp") - 1
    i = np.minimum(np.maximum(search(xp, x, side="right") - 1, 0), max(last - 1, 0))
    j = np.minimum(i + 1, last)
    left, width = take(xp, i), take(xp, j) - take(xp, i)
    inside = np.minimum(np.maximum(x, xp[0]), xp[last])
    return i, j, (inside - left) / where(width == 0, 1, width)


def take(x: Any, places: Any) -> Any:
    """Return the elements of a vector at these places."""
    return getitem(x, places, index=(Pick(0),))


def _slope_at(x: Any, xp: Any, fp: Any) -> Any:
    """Return the slope by x: at a corner the least between those of its two sides, 0 outside."""
    rise, run = fp[1:] - fp[:-1], xp[1:] - xp[:-1]
    zero = filled_like(fp, 0, 1, 0)
    slopes = np.concatenate([zero, rise / where(run == 0, 1, run), zero])
    before, after = take(slopes, search(xp, x, side="left")), take(slopes, search(xp, x, side="right"))
    return np.maximum(np.minimum(before, after), 0) + np.minimum(np.maximum(before, after), 0)


def _interp_back(
    position: int, ct: Any, out: Any, x: Any, xp: Any, fp: Any, left: float | None, right: float | None
) -> Any:
    n = fixed_size(shape_of(xp), 0, "np.interp")
    if n == 0:  # from NumPy 2.5 on: nothing between no points
        return ct if position == 0 else fp * 0
    if position == 0:
        return ct * _slope_at(x, xp, fp)
    if position == 1:
        ct = -(ct * _slope_at(x, xp, fp))
    if left is not None:
        ct = where(x < xp[0], 0, ct)
    if right is not None:
        ct = where(x > xp[n - 1], 0, ct)
    i, j, along = _segments(x, xp)
    start = index_add(ct * (1 - along), i, index=(Pick(0),), shape=(n,))
    return start + index_add(ct * along, j, index=(Pick(0),), shape=(n,))


def _infer_interp(x: Spec, xp: Spec, fp: Spec, left: float | None, right: float | None) -> Spec:
    if xp.ndim != 1 or xp.shape != fp.shape or xp.shape[0] == 0:
        raise ShapeError(
            f"np.interp needs two vectors of one length, not {show_shape(xp.shape)} and {show_shape(fp.shape)}."
        )
    fixed_size(xp.shape, 0, "np.interp")
    return Spec(x.shape, np.dtype(np.float64))


def _spell_interp(x: Code, xp: Code, fp: Code, *, left: float | None, right: float | None, **_: Any) -> Code:
    ends = "".join(f", {name}={value!r}" for name, value in (("left", left), ("right", right)) if value is not None)
    return Code(f"np.interp({x.text}, {xp.text}, {fp.text}{ends})")


_XP = np.array([-1.0, 0.0, 0.5, 2.0])
_X = np.array([-2.0, -0.7, 0.1, 0.45, 1.0, 1.9, 3.0])

interp = Primitive(
    name="interp",
    forward=lambda x, xp, fp, left, right: np.interp(x, xp, fp, left=left, right=right),
    infer=_infer_interp,
    vjps=_interp_back,
    spell=_spell_interp,
    text="{2} interpolated at {0}",
    latex=r"\operatorname{{interp}}({0}; {1}, {2})",
    flow=("{ct} ⊙ the slope at {0}", "−{ct} ⊙ the slope, at the neighbours", "{ct}, at the neighbours"),
    latex_flow=(r"{ct} \odot {2}'({0})", r"-{ct} \odot {2}'({0})", r"\operatorname{{put}}({ct})"),
    kinks=(
        Kink((0.0, [-1.0, 0.0, 2.0], [0.0, 1.0, 5.0]), (1.0, None, None), "the least slope between those of both sides",
             {"left": None, "right": None}),
    ),
    samples=lambda: [
        Sample((x, _XP, draw((4,), 73)), {"left": left, "right": right})
        for x, left, right in (
            (_X, None, None), (_X, 0.5, None), (_X.reshape(7, 1), None, -1.0), (np.array(0.3), 1.0, 2.0),
            (np.zeros((0,)), None, None),
        )
    ],
)  # fmt: skip


def _interp_calls() -> list[Sample]:
    fp = draw((4,), 73)
    return [
        Sample((_X, _XP, fp), {}),
        Sample((np.array(0.3), _XP, fp), {}),
        Sample((_X, _XP, fp, 0.5, -0.5), {}),
        Sample((_X, _XP, fp), {"left": 0.0}),
        Sample((_X, _XP, fp, np.array(0.5)), {"right": 1.0}, "a traced end"),
        Sample((_X, [0.0, 1.0, 2.0], fp[:3]), {}),
        Sample((np.array([-1.0, 2.0]), np.array([0.5]), np.array([3.0])), {}, "one point"),
        Sample((3 * _X, _XP, fp, 9.0), {"period": 4.0}, "a circle, whose ends do not count"),
        Sample((3 * _X, _XP[::-1].copy(), fp), {"period": -2.5}, "points out of order, and in several periods"),
    ]


def _fold(x: Any, xp: Any, fp: Any, period: Any) -> tuple[Any, Any, Any]:
    """Bring x and the points into one period, and repeat the last point before it and the first one behind it."""
    if not isinstance(period, Traced) and not period:
        raise ArgumentError("np.interp: period=0. Give a number that is not 0.")
    if shape_of(xp) != shape_of(fp) or len(shape_of(xp)) != 1:
        raise ShapeError(
            f"np.interp needs two vectors of one length, not {show_shape(shape_of(xp))} and {show_shape(shape_of(fp))}."
        )
    turn: Any = period
    turn = np.absolute(turn)
    both: list[Any] = [v if isinstance(v, Traced) else np.asarray(v, np.float64) for v in (x, xp)]
    x, xp = (np.remainder(v, turn) for v in both)
    order = np.argsort(xp)
    xp, fp = xp[order], fp[order]
    return x, np.concatenate((xp[-1:] - turn, xp, xp[:1] + turn)), np.concatenate((fp[-1:], fp, fp[:1]))


_CORNER = "the least slope between those of both sides"


@answers(
    np.interp,
    samples=_interp_calls,
    kinks=(
        Kink((1.0, [0.0, 1.0, 2.0], [0.0, 3.0, 4.0]), (1.0, [0.0, -1.0, 0.0], [0.0, 1.0, 0.0]), _CORNER),
        Kink((1.0, [0.0, 1.0, 2.0], [0.0, 3.0, 0.0]), (0.0, [0.0, 0.0, 0.0], [0.0, 1.0, 0.0]), "0, at a peak"),
        Kink((0.0, [0.0, 1.0], [2.0, 3.0]), (0.0, [0.0, 0.0], [1.0, 0.0]), "it is flat outside"),
    ),
)
def _interp(x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None, period: Any = None) -> Any:
    xp, fp = (v if isinstance(v, Traced) else np.asarray(v) for v in (xp, fp))
    if period is not None:
        x, xp, fp = _fold(x, xp, fp, period)
        left = right = None  # as in NumPy: a circle has no ends
    fixed = [None if value is None or isinstance(value, Traced) else float(value) for value in (left, right)]
    result = interp(x, xp, fp, left=fixed[0], right=fixed[1])
    if isinstance(left, Traced):
        result = where(np.less(x, xp[0]), left, result)
    if isinstance(right, Traced):
        result = where(np.greater(x, xp[-1]), right, result)
    return result
