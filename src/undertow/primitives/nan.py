"""Reductions that pass over NaN: each is the reduction of the elements that are there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from undertow.primitives.compare import where
from undertow.primitives.moments import deviation_back, spell_ddof, var_about, variance_back
from undertow.primitives.prod import prod, prod_others
from undertow.primitives.record import Kink, Primitive, Sample, answers, dtype_of, float_like, refuse
from undertow.primitives.reduce import count_chosen, extremum_back
from undertow.primitives.reduction import (
    MISSING,
    Axes,
    Options,
    add_dtype,
    axes_of,
    cast,
    expand,
    forward_options,
    given,
    infer_reduction,
    kept,
    option_samples,
    options_of,
    read_ddof,
    reduction_calls,
    reduction_samples,
    spell_options,
)
from undertow.primitives.sampling import draw


def present(x: Any, mask: Any = None) -> Any:
    """Tell which elements take part: those that are numbers, and that ``where=`` lets in."""
    number = np.logical_not(np.isnan(x))
    return number if mask is None else np.logical_and(number, mask)


def _nan_samples(least: int, *options: Options, **params: Any) -> list[Sample]:
    """Return samples with a NaN here and there; at least ``least`` numbers are left along each axis."""
    plain = [Sample(s.args, {**s.params, "options": ()}, s.note) for s in reduction_samples()]
    samples = []
    for s in [*plain, *option_samples(*options, initial=0.3)]:
        x = np.array(s.args[0])
        if x.ndim and all(size == 0 or size > least for size in x.shape) and (s.params["axis"] or not least):
            x[np.indices(x.shape).sum(axis=0) % 3 == 2] = np.nan
        mask = [np.full_like(e, True) if least and np.ndim(e) else e for e in s.args[1:]]
        if least < 2 or (x.size > 2 and all(x.shape[i] > 1 for i in s.params["axis"] or (0,)) and s.params["axis"]):
            samples.append(Sample((x, *mask), {**s.params, **params}, s.note))
    return samples


def _sum_rule(
    position: int, ct: Any, out: Any, x: Any, *extras: Any, axis: Axes, keepdims: bool, options: Options
) -> Any:
    if position:
        return ct
    return where(present(x, given(options, extras).get("where")), expand(ct, axis, keepdims), 0)


def _prod_rule(
    position: int, ct: Any, out: Any, x: Any, *extras: Any, axis: Axes, keepdims: bool, options: Options
) -> Any:
    values = given(options, extras)
    here = present(x, values.get("where"))
    factors = where(here, x, 1)
    if position:
        return ct * prod(factors, axis=axis, keepdims=keepdims)
    if "initial" in values:
        ct = ct * values["initial"]
    return where(here, expand(ct, axis, keepdims) * prod_others(factors, axis=axis), 0)


def _extremum_rule(
    position: int,
    ct: Any,
    out: Any,
    x: Any,
    *extras: Any,
    axis: Axes,
    keepdims: bool,
    options: Options,
    active: tuple[bool, ...],
) -> Any:
    values = given(options, extras)  # NaN equals nothing, so it never is the extremum
    started = "initial" in values and active[1 + options.index("initial")]
    return extremum_back(
        position, ct, out, x, values.get("where"), values.get("initial"), axis, keepdims, started=started
    )


def _mean_rule(
    position: int, ct: Any, out: Any, x: Any, *extras: Any, axis: Axes, keepdims: bool, options: Options
) -> Any:
    here = present(x, given(options, extras).get("where"))
    count = np.maximum(count_chosen(x, here, axis, keepdims, dtype_of(ct)), 1)
    return where(here, expand(ct / count, axis, keepdims), 0)


def _var_rule(
    position: int, ct: Any, out: Any, x: Any, *extras: Any, axis: Axes, keepdims: bool, options: Options, ddof: float
) -> Any:
    here = present(x, given(options, extras).get("where"))
    return variance_back(expand(ct, axis, keepdims), x, here, axis, ddof)


def _std_rule(
    position: int, ct: Any, out: Any, x: Any, *extras: Any, axis: Axes, keepdims: bool, options: Options, ddof: float
) -> Any:
    here = present(x, given(options, extras).get("where"))
    return deviation_back(expand(ct, axis, keepdims), expand(out, axis, keepdims), x, here, axis, ddof)


def _reduction(
    function: Callable[..., Any],
    rule: Callable[..., Any],
    dtype: Callable[[np.dtype[Any]], np.dtype[Any]],
    flow: str,
    samples: Callable[[], list[Sample]],
    *,
    empty: bool = True,
    active: bool = False,
) -> Primitive:
    name = function.__name__
    spell = spell_ddof if name in ("nanvar", "nanstd") else spell_options
    return Primitive(
        name=name,
        forward=forward_options(function),
        infer=_infer(dtype, empty),
        vjps=rule,
        tells_active=active,
        spell=spell(f"np.{name}"),
        text=f"{name}({{0}})",
        latex=rf"\operatorname{{{{{name}}}}}({{0}})",
        flow=(f"{flow}, 0 where {{0}} is NaN",),
        latex_flow=(r"\mathrm{{vjp}}({ct}) \odot [{0} \ne \mathrm{{NaN}}]",),
        samples=samples,
    )


def _infer(dtype: Callable[[np.dtype[Any]], np.dtype[Any]], empty: bool) -> Callable[..., Any]:
    plain = infer_reduction(dtype, empty)

    def infer(x: Any, *extras: Any, options: Options = (), **params: Any) -> Any:
        if not empty and "initial" not in options and "where" in options:
            options, extras = (), ()  # NumPy's nanmax and nanmin start at NaN
        return plain(x, *extras, options=options, **params)

    return infer


_ANY: tuple[Options, ...] = (("initial",), ("where",), ("initial", "where"))
_MASK: tuple[Options, ...] = (("where",),)

nansum = _reduction(np.nansum, _sum_rule, add_dtype, "{ct} for each term", lambda: _nan_samples(0, *_ANY))
nanprod = _reduction(
    np.nanprod, _prod_rule, add_dtype, "{ct} ⊙ the product of the other factors", lambda: _nan_samples(0, *_ANY)
)
nanmax = _reduction(
    np.nanmax, _extremum_rule, lambda dtype: dtype, "{ct} where {0} = {out}, in equal parts",
    lambda: _nan_samples(1, ("initial",)), empty=False, active=True,
)  # fmt: skip
nanmin = _reduction(
    np.nanmin, _extremum_rule, lambda dtype: dtype, "{ct} where {0} = {out}, in equal parts",
    lambda: _nan_samples(1, ("initial",)), empty=False, active=True,
)  # fmt: skip
nanmean = _reduction(np.nanmean, _mean_rule, float_like, "{ct} / n for each term", lambda: _nan_samples(1, *_MASK))
nanvar = _reduction(
    np.nanvar, _var_rule, float_like, "{ct} ⊙ 2({0} − nanmean({0})) / n", lambda: _nan_samples(2, *_MASK, ddof=0)
)
nanstd = _reduction(
    np.nanstd, _std_rule, float_like, "{ct} ⊙ ({0} − nanmean({0})) / (n {out})",
    lambda: _nan_samples(2, *_MASK, ddof=0),
)  # fmt: skip


# ---- the answers ---------------------------------------------------------------------------------


def nan_calls(*, initial: float | None = None, dtype: bool = False, where: bool = True) -> list[Sample]:
    """Return calls with a NaN in the array, and every option."""
    x = draw((3, 4), 31)
    x[0, 1] = x[2, 3] = np.nan
    mask = np.array([[True, True, True, True], [True, True, False, True], [True, True, True, False]])
    start = {} if initial is None else {"initial": initial}
    params: list[dict[str, Any]] = [{}, {"axis": 0}, {"axis": -1}, {"axis": (0, 1)}, {"axis": 1, "keepdims": True}]
    params += [start, {**start, "axis": 0}] if start else []
    params += [{"axis": 0, "dtype": np.float64}] if dtype else []
    params += [{"where": mask, **start}, {"axis": 0, "where": mask, **start}] if where else []
    return [*(Sample((x,), p) for p in params), Sample((draw((2, 3), 32),), {"axis": 0}, "no NaN")]


def _apply(primitive: Primitive, a: Any, axis: Any, keepdims: Any, options: dict[str, Any], **params: Any) -> Any:
    axes = axes_of(f"np.{primitive.name}", a, axis)
    return primitive(a, *options.values(), axis=axes, keepdims=kept(keepdims), options=tuple(options), **params)


def _answer_sum(primitive: Primitive, function: Callable[..., Any], neutral: int, kink: Kink) -> None:
    def samples() -> list[Sample]:
        more = [s for s in reduction_calls() if "axis" in s.params]
        return [*nan_calls(initial=0.7, dtype=True), *more]

    @answers(function, samples=samples, kinks=(kink,))
    def total(
        a: Any,
        axis: Any = None,
        dtype: Any = None,
        out: Any = None,
        keepdims: Any = MISSING,
        initial: Any = MISSING,
        where: Any = MISSING,
    ) -> Any:
        refuse(f"np.{primitive.name}", out=out)
        if dtype is not None and np.dtype(dtype).kind != "f" and dtype_of(a).kind == "f":
            a = np.where(np.isnan(a), neutral, a)  # whole numbers have no NaN to leave out
        return cast(_apply(primitive, cast(a, dtype), axis, keepdims, options_of(initial, where)), dtype)


def _answer_extremum(primitive: Primitive, function: Callable[..., Any], sign: float) -> None:
    kinks = (
        Kink(([2.0, np.nan, 2.0],), ([0.5, 0.0, 0.5],), "ties split evenly, NaN takes no part"),
        Kink(([np.nan, np.nan],), ([0.0, 0.0],), "nothing is there that could be the extremum"),
    )

    @answers(function, samples=lambda: nan_calls(initial=-0.9 * sign), kinks=kinks)
    def extremum(
        a: Any,
        axis: Any = None,
        out: Any = None,
        keepdims: Any = MISSING,
        initial: Any = MISSING,
        where: Any = MISSING,
    ) -> Any:
        refuse(f"np.{primitive.name}", out=out)
        return _apply(primitive, a, axis, keepdims, options_of(initial, where))


_answer_sum(nansum, np.nansum, 0, Kink(([1.0, np.nan],), ([1.0, 0.0],), "NaN takes no part"))
_answer_sum(
    nanprod, np.nanprod, 1, Kink(([0.0, np.nan, 3.0],), ([3.0, 0.0, 0.0],), "NaN takes no part, zeros are right")
)
_answer_extremum(nanmax, np.nanmax, 1)
_answer_extremum(nanmin, np.nanmin, -1)


@answers(
    np.nanmean,
    samples=lambda: nan_calls(dtype=True),
    kinks=(
        Kink(([1.0, np.nan],), ([1.0, 0.0],), "NaN takes no part"),
        Kink(([np.nan],), ([0.0],), "nothing is there"),
    ),
)
def _nanmean(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = MISSING, *, where: Any = MISSING
) -> Any:
    refuse("np.nanmean", out=out)
    return _apply(nanmean, cast(a, dtype), axis, keepdims, options_of(where=where))


def _moment_calls() -> list[Sample]:
    x = nan_calls()[0].args[0]
    mean = np.nanmean(x, axis=1, keepdims=True)
    more: tuple[dict[str, Any], ...] = ({"ddof": 1}, {"axis": 0, "correction": 1}, {"axis": 1, "mean": mean})
    return [*nan_calls(dtype=True), *(Sample((x,), params) for params in more)]


def _answer_moment(primitive: Primitive, function: Callable[..., Any], root: bool, kinks: tuple[Kink, ...]) -> None:
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
        name = f"np.{primitive.name}"
        refuse(name, out=out)
        a, ddof = cast(a, dtype), read_ddof(name, ddof, correction)
        options = options_of(where=where)
        if mean is MISSING:
            return _apply(primitive, a, axis, keepdims, options, ddof=ddof)
        here, axes = present(a, options.get("where")), axes_of(name, a, axis)
        mean = cast(mean, float_like(dtype_of(a)))  # NumPy subtracts it in place
        variance = var_about(a, mean, axes, ddof, kept(keepdims), here)
        return np.sqrt(variance) if root else variance


_answer_moment(nanvar, np.nanvar, False, ())
_answer_moment(
    nanstd,
    np.nanstd,
    True,
    (Kink(([2.0, np.nan, 2.0],), ([0.0, 0.0, 0.0],), "constant where it is not NaN"),),
)
