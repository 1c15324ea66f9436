"""Variance and standard deviation, weighted averages, spread, covariance and correlation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from undertow.errors import ShapeError
from undertow.graph import show_shape
from undertow.primitives.compare import where
from undertow.primitives.record import (
    Code,
    Kink,
    Primitive,
    Sample,
    Spelling,
    Traced,
    answers,
    count_of,
    dtype_of,
    float_like,
    refuse,
    shape_of,
)
from undertow.primitives.reduce import count_chosen, max_, max_options, mean_, mean_where, min_, min_options, sum_
from undertow.primitives.reduction import (
    MISSING,
    Axes,
    Options,
    axes_of,
    cast,
    expand,
    forward_options,
    given,
    infer_reduction,
    keep_only,
    kept,
    option_samples,
    options_of,
    read_ddof,
    reduction_calls,
    reduction_samples,
    spell_options,
    spread,
)
from undertow.primitives.sampling import draw
from undertow.primitives.shape import expand_dims

# ---- variance and standard deviation -------------------------------------------------------------


def centred(x: Any, mask: Any, axis: Axes) -> Any:
    """Return x without its mean; 0 for what takes no part, so that a NaN there multiplies nothing."""
    if mask is None:
        return x - mean_(x, axis=axis, keepdims=True)
    return where(mask, x - mean_where(x, mask, axis=axis, keepdims=True, options=("where",)), 0)


def is_constant(x: Any, mask: Any, axis: Axes) -> Any:
    """Tell whether all elements that take part are the same number; the axes are kept.

    The variance does not tell: for a constant it may be a rounding error.
    """
    if mask is None:
        return max_(x, axis=axis, keepdims=True) == min_(x, axis=axis, keepdims=True)
    how: dict[str, Any] = {"axis": axis, "keepdims": True, "options": ("initial", "where")}
    return max_options(x, -np.inf, mask, **how) <= min_options(x, np.inf, mask, **how)


def scaled(scale: Any, away: Any) -> Any:
    """Return ``scale * away``, in the memory of ``away`` where that is an array made for this."""
    if type(away) is not np.ndarray or isinstance(scale, Traced) or dtype_of(scale) != away.dtype:
        return scale * away
    away *= scale
    return away


def variance_back(ct: Any, x: Any, mask: Any, axis: Axes, ddof: float) -> Any:
    """Pass a cotangent back through the variance: 2 (x − mean) / (n − ddof); ``ct`` has the axes kept."""
    left = count_chosen(x, mask, axis, True, dtype_of(ct)) - ddof
    slope = np.inf if isinstance(left, int | float) and left <= 0 else 2 / left  # NumPy divides by 0 then
    return scaled(ct * slope, centred(x, mask, axis))


def deviation_back(ct: Any, out: Any, x: Any, mask: Any, axis: Axes, ddof: float) -> Any:
    """Pass a cotangent back through the standard deviation, which has slope 0 where x is constant, not 0/0."""
    if any(shape_of(x)[i] == 0 for i in axis):
        return x * 0
    constant = is_constant(x, mask, axis)
    count = count_chosen(x, mask, axis, True, dtype_of(ct))
    scale = where(constant, 0, ct / where(constant, 1, out * (count - ddof)))
    return scaled(scale, centred(x, mask, axis))


def spell_ddof(function: str) -> Spelling:
    """Spell as ``np.var(x, axis=1, ddof=1)``."""
    spell = spell_options(function)

    def with_ddof(x: Code, *extras: Code, ddof: float = 0, **params: Any) -> Code:
        code = spell(x, *extras, **params)
        return Code(f"{code.text[:-1]}, ddof={ddof})") if ddof else code

    return with_ddof


def moment_samples() -> list[Sample]:
    """Return samples of a variance or standard deviation: with several elements, of which some are left out."""
    plain = [s for s in reduction_samples() if s.args[0].ndim and s.params["axis"] and s.args[0].shape != (1,)]
    plain = [s for s in plain if s.args[0].shape[0] != 1]
    masked = [s for s in option_samples(("where",)) if s.args[0].ndim]
    for s in masked:  # at least two elements take part everywhere
        s.args[1][..., :2] = True
        s.args[1][:2] = True
    return [
        *(Sample(s.args, {**s.params, "ddof": ddof}, s.note) for s in plain for ddof in (0, 1)),
        *(Sample(s.args, {**s.params, "ddof": 0}, s.note) for s in masked),
    ]


def _var_rule(
    position: int,
    ct: Any,
    out: Any,
    x: Any,
    *extras: Any,
    axis: Axes,
    keepdims: bool,
    ddof: float,
    options: Options = (),
) -> Any:
    return variance_back(expand(ct, axis, keepdims), x, given(options, extras).get("where"), axis, ddof)


def _std_rule(
    position: int,
    ct: Any,
    out: Any,
    x: Any,
    *extras: Any,
    axis: Axes,
    keepdims: bool,
    ddof: float,
    options: Options = (),
) -> Any:
    ct, out = expand(ct, axis, keepdims), expand(out, axis, keepdims)
    return deviation_back(ct, out, x, given(options, extras).get("where"), axis, ddof)


var = Primitive(
    name="var",
    forward=forward_options(np.var),
    infer=infer_reduction(float_like),
    vjps=_var_rule,
    spell=spell_ddof("np.var"),
    text="var({0})",
    latex=r"\operatorname{{var}}({0})",
    flow=("{ct} ⊙ 2({0} − mean({0})) / {count}",),
    latex_flow=(r"{ct} \odot \tfrac{{2}}{{{count}}} ({0} - \operatorname{{mean}}({0}))",),
    samples=moment_samples,
)

std = Primitive(
    name="std",
    forward=forward_options(np.std),
    infer=infer_reduction(float_like),
    vjps=_std_rule,
    spell=spell_ddof("np.std"),
    text="std({0})",
    latex=r"\operatorname{{std}}({0})",
    flow=("{ct} ⊙ ({0} − mean({0})) / ({count} {out})",),
    latex_flow=(r"{ct} \odot ({0} - \operatorname{{mean}}({0})) / ({count} \, {out})",),
    kinks=(
        Kink(([2.0, 2.0, 2.0],), ([0.0, 0.0, 0.0],), "the least of the cone of slopes at a constant",
             {"axis": (0,), "keepdims": False, "ddof": 0}),
    ),
    samples=moment_samples,
)  # fmt: skip


def var_about(a: Any, mean: Any, axis: Axes, ddof: float, keepdims: bool, mask: Any) -> Any:
    """Compute the variance about a mean that is given: as a function of both."""
    squares = np.square(keep_only(mask, a - mean, 0))
    count = count_chosen(a, mask, axis, keepdims, dtype_of(squares))
    return sum_(spread(squares, a), axis=axis, keepdims=keepdims) / (count - ddof)


def _moment_calls() -> list[Sample]:
    x = draw((3, 4), 15)
    mask = np.array([[True, False, True, True], [True, True, False, True], [True, True, True, False]])
    return [
        *(s for s in reduction_calls(dtype=True, where=False) if s.args[0].size > 1 and s.params.get("axis") != ()),
        *(Sample((x,), p) for p in (
            {"ddof": 1}, {"ddof": 0.5, "axis": 0}, {"correction": 1, "axis": 1}, {"where": mask, "ddof": 1},
            {"where": mask, "axis": 0}, {"where": mask[0], "axis": 1, "keepdims": True},
            {"mean": np.mean(x, axis=1, keepdims=True), "axis": 1},
            {"mean": np.mean(x, axis=0, keepdims=True), "axis": 0, "where": mask, "ddof": 1},
        )),
        Sample((x, 0, None, None, 1, True), {}, "by position"),
        Sample((draw((0, 3), 15),), {"axis": 1}),
    ]  # fmt: skip


def _answer_moment(primitive: Primitive, function: Callable[..., Any], root: bool, kinks: tuple[Kink, ...]) -> None:
    name = f"np.{primitive.name}"

    @answers(function, samples=_moment_calls, kinks=kinks)
    def moment(
        a: Any,
        axis: Any = None,
        dtype: Any = None,
        out: Any = None,
        ddof: Any = 0,
        keepdims: Any = MISSING,
        *,
        where: Any = MISSING,
        mean: Any = MISSING,
        correction: Any = MISSING,
    ) -> Any:
        refuse(name, out=out)
        ddof = read_ddof(name, ddof, correction)
        a, axes = cast(a, dtype), axes_of(name, a, axis)
        options = options_of(where=where)
        if mean is MISSING:
            return primitive(
                a, *options.values(), axis=axes, keepdims=kept(keepdims), ddof=ddof, options=tuple(options)
            )
        variance = var_about(a, mean, axes, ddof, kept(keepdims), options.get("where"))
        return np.sqrt(variance) if root else variance


_CONSTANT = (
    Kink(([2.0, 2.0],), ([0.0, 0.0],), "the least of the cone of slopes at a constant"),
    Kink(([0.1, 0.1, 0.1],), ([0.0, 0.0, 0.0],), "a constant whose deviation is a rounding error"),
    Kink(([1.0, 1.0, 5.0],), ([0.0, 0.0, 0.0],), "constant where= elements take part", {"where": [True, True, False]}),
    Kink(([3.0],), ([0.0],), "one element is a constant"),
)

_answer_moment(var, np.var, False, ())
_answer_moment(std, np.std, True, _CONSTANT)


# ---- spread and weighted averages ----------------------------------------------------------------


@answers(
    np.ptp,
    samples=lambda: reduction_calls(where=False),
    kinks=(Kink(([1.0, 1.0, 0.0],), ([0.5, 0.5, -1.0],), "ties split evenly"),),
)
def _ptp(a: Any, axis: Any = None, out: Any = None, keepdims: Any = MISSING) -> Any:
    refuse("np.ptp", out=out)
    axes, keep = axes_of("np.ptp", a, axis), kept(keepdims)
    return max_(a, axis=axes, keepdims=keep) - min_(a, axis=axes, keepdims=keep)


def _average_calls() -> list[Sample]:
    x, w = draw((2, 3), 15), draw((2, 3), 16, positive=True)
    cube = draw((2, 3, 4), 17)
    return [
        *(s for s in reduction_calls(where=False) if s.args[0].size),
        Sample((x, None, w), {}),
        Sample((x, 0, w), {}),
        Sample((x, -1, w[0]), {}, "weights along one axis"),
        Sample((x, 1, w[0]), {"keepdims": True}),
        Sample((x, 1, w[0], True), {}, "the sum of the weights too"),
        Sample((x,), {"returned": True}),
        Sample((x, 0), {"returned": True}),
        Sample((cube, (0, 1), w), {}, "weights along two axes"),
        Sample((cube, (1, 0), np.ascontiguousarray(w.T)), {"returned": True}, "and in another order"),
        Sample((x, 1, np.array([1, 2, 3])), {}, "integer weights"),
    ]


def _line_up(weights: Any, a: Any, axis: Any) -> Any:
    """Bring weights along some axes where they broadcast against the array.

    Raises:
        ShapeError: the weights have neither the array's shape nor that of the axes.
    """
    shape, ndim = shape_of(a), len(shape_of(a))
    given_axes = tuple(axis) if isinstance(axis, tuple | list) else () if axis is None else (axis,)
    order = [int(i) % ndim for i in given_axes if -ndim <= i < ndim]
    if shape_of(weights) != tuple(shape[i] for i in order) or not order:
        raise ShapeError(
            f"np.average: weights are {show_shape(shape_of(weights))}, the array is {show_shape(shape)}. Give weights "
            f"of that shape, or axis= and weights of the size of that axis."
        )
    if sorted(order) != order:
        weights = np.transpose(weights, [order.index(i) for i in sorted(order)])
    return expand_dims(weights, axis=tuple(i for i in range(ndim) if i not in order))


@answers(np.average, samples=_average_calls)
def _average(a: Any, axis: Any = None, weights: Any = None, returned: bool = False, *, keepdims: Any = MISSING) -> Any:
    axes, keep = axes_of("np.average", a, axis), kept(keepdims)
    if weights is None:
        mean = mean_(a, axis=axes, keepdims=keep)
        return (mean, np.ones_like(mean) * count_of(a, axes)) if returned else mean
    if isinstance(weights, list | tuple):
        weights = np.asarray(weights)
    if shape_of(weights) != shape_of(a):
        weights = _line_up(weights, a, axis)
    wanted = float_like(np.result_type(dtype_of(a), dtype_of(weights)))
    total = cast(sum_(weights, axis=axes, keepdims=keep), wanted)
    mean = sum_(np.multiply(a, weights), axis=axes, keepdims=keep) / total
    return (mean, total + np.zeros_like(mean)) if returned else mean
