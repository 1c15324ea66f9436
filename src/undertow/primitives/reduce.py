"""Reductions: sum, mean, largest and smallest, any and all, with all of NumPy's options."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from undertow.primitives.compare import where
from undertow.primitives.record import (
    NO_GRADIENT,
    Kink,
    Primitive,
    Sample,
    Traced,
    answers,
    call_axis,
    count_of,
    dtype_of,
    float_like,
    refuse,
    shape_of,
)
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
    keep_only,
    option_samples,
    reduce_with,
    reduction_calls,
    reduction_samples,
    spell_options,
    spread,
)
from undertow.primitives.shape import astype, broadcast_to

# ---- sum and mean --------------------------------------------------------------------------------

_BLOCK, _FEW = 16, 128


def _sum(x: Any, axis: Axes, keepdims: Any = False) -> Any:
    """Sum; over many rows of single precision by blocks of rows, for NumPy adds one row after the other there.

    The error then grows as for the pairwise summation that NumPy does along the last axis.
    """
    if isinstance(x, np.ndarray) and x.dtype == bool and len(axis) == x.ndim:
        return np.asarray(np.count_nonzero(x, keepdims=keepdims), np.intp)[()]
    rows = axis == tuple(range(len(axis))) and 0 < len(axis) < np.ndim(x)
    if not rows or not isinstance(x, np.ndarray) or x.dtype not in (np.float32, np.float16):
        return np.sum(x, axis=axis, keepdims=keepdims)
    kept = x.shape[len(axis) :]
    total = x.reshape(math.prod(x.shape[: len(axis)]), *kept)  # −1 would not do where kept holds a 0, here and below
    while len(total) > _FEW:
        whole = len(total) // _BLOCK * _BLOCK
        blocks = np.sum(total[:whole].reshape(whole // _BLOCK, _BLOCK, *kept), axis=1)
        total = blocks if whole == len(total) else np.concatenate([blocks, total[whole:]])
    total = np.sum(total, axis=0)
    return total.reshape((1,) * len(axis) + kept) if keepdims else total


def _mean(x: Any, axis: Axes, keepdims: Any = False) -> Any:
    """Mean; of many rows of single precision by the sum above."""
    if isinstance(x, np.ndarray) and x.dtype == np.float32 and x.size and axis and axis[-1] != x.ndim - 1:
        count = int(np.prod([x.shape[i] for i in axis]))
        return _sum(x, axis, keepdims) / np.float32(count)
    return np.mean(x, axis=axis, keepdims=keepdims)


sum_ = Primitive(
    name="sum",
    forward=_sum,
    infer=infer_reduction(add_dtype),
    vjps=(lambda ct, out, x, axis, keepdims: broadcast_to(expand(ct, axis, keepdims), shape=shape_of(x)),),
    spell=call_axis("np.sum"),
    text="Σ {0}",
    latex=r"\sum {0}",
    flow=("{ct} for each term",),
    latex_flow=(r"{ct} \cdot \mathbf{{1}}",),
    samples=lambda: reduction_samples(((2, 0), (1,)), ((2, 0), (0,)), ((0, 3), (0, 1))),
)


def _sum_options_rule(
    position: int, ct: Any, out: Any, x: Any, *extras: Any, axis: Axes, keepdims: bool, options: Options
) -> Any:
    if position and options[position - 1] == "initial":
        return ct
    return keep_only(given(options, extras).get("where"), expand(ct, axis, keepdims), 0)


sum_options = Primitive(
    name="sum_options",
    forward=forward_options(np.sum),
    infer=infer_reduction(add_dtype),
    vjps=_sum_options_rule,
    spell=spell_options("np.sum"),
    text="Σ {0}",
    latex=r"\sum {0}",
    flow=("{ct} for each term that takes part",),
    latex_flow=(r"{ct} \cdot \mathbf{{1}}",),
    samples=lambda: option_samples(("initial",), ("where",), ("initial", "where")),
)


def count_chosen(x: Any, mask: Any, axis: Axes, keepdims: bool, dtype: np.dtype[Any]) -> Any:
    """Return how many elements a reduction reads: a number, or an array of them if ``where=`` leaves some out."""
    if mask is None:
        return count_of(x, axis)
    return astype(sum_(spread(mask, x), axis=axis, keepdims=keepdims), dtype=dtype)


def _mean_rule(ct: Any, out: Any, x: Any, axis: Axes, keepdims: bool) -> Any:
    share, count = expand(ct, axis, keepdims), count_of(x, axis)
    if dtype_of(ct) == np.float16:  # whose largest number is 65504: NumPy too divides in float32
        share = astype(astype(share, dtype=np.dtype(np.float32)) / count, dtype=dtype_of(ct))
    else:
        share = share / count
    return broadcast_to(share, shape=shape_of(x))


mean_ = Primitive(
    name="mean",
    forward=_mean,
    infer=infer_reduction(float_like),
    vjps=(_mean_rule,),
    spell=call_axis("np.mean"),
    text="mean({0})",
    latex=r"\operatorname{{mean}}({0})",
    flow=("{ct} / n for each of the n terms",),
    latex_flow=(r"\tfrac{{1}}{{n}} {ct} \cdot \mathbf{{1}}",),
    samples=reduction_samples,
)


def _mean_where_rule(ct: Any, out: Any, x: Any, mask: Any, axis: Axes, keepdims: bool, options: Options) -> Any:
    count = np.maximum(count_chosen(x, mask, axis, keepdims, dtype_of(ct)), 1)  # of no elements, none has a share
    return where(mask, expand(ct / count, axis, keepdims), 0)


mean_where = Primitive(
    name="mean_where",
    forward=forward_options(np.mean),
    infer=infer_reduction(float_like),
    vjps=(_mean_where_rule, NO_GRADIENT),
    spell=spell_options("np.mean"),
    text="mean({0} where {1})",
    latex=r"\operatorname{{mean}}({0} \mid {1})",
    flow=("{ct} / n for each of the n terms that take part",),
    latex_flow=(r"\tfrac{{1}}{{n}} {ct} \odot {1}",),
    samples=lambda: option_samples(("where",)),
)


# ---- largest and smallest ------------------------------------------------------------------------


def _extremum_rule(ct: Any, out: Any, x: Any, axis: Axes, keepdims: bool) -> Any:
    """Split the cotangent evenly among the elements that are the extremum."""
    chosen = x == expand(out, axis, keepdims)
    if type(chosen) is np.ndarray and np.count_nonzero(chosen) == np.size(out) and not np.isnan(out).any():
        share = ct  # one in each line
    else:
        share = ct / astype(sum_(chosen, axis=axis, keepdims=keepdims), dtype=dtype_of(ct))
    return give_to(expand(share, axis, keepdims), chosen)


def give_to(share: Any, chosen: Any) -> Any:
    """Return ``share * chosen``; of one number among plain elements, only the few that are chosen are written."""
    few = type(chosen) is np.ndarray and not isinstance(share, Traced) and np.size(share) == 1 and np.isfinite(share)
    if not few or np.count_nonzero(chosen) > chosen.size // 8:
        return share * chosen
    result = np.zeros(chosen.shape, share.dtype)
    result[chosen] = share.item()
    return result


def extremum_back(
    position: int,
    ct: Any,
    out: Any,
    x: Any,
    mask: Any,
    initial: Any,
    axis: Axes,
    keepdims: bool,
    *,
    started: bool,
) -> Any:
    """Split evenly, the initial value counting as one more element.

    A constant one (not ``started``) takes all, as in np.maximum.
    """
    chosen = x == expand(out, axis, keepdims)
    if mask is not None:
        chosen = np.logical_and(chosen, mask)
    ties = astype(sum_(spread(chosen, x), axis=axis, keepdims=keepdims), dtype=dtype_of(ct))
    first = None if initial is None else out == initial
    if started:
        ties = ties + astype(first, dtype=dtype_of(ct))
    share = ct / np.maximum(ties, 1)
    if mask is None and initial is None:
        return give_to(expand(share, axis, keepdims), chosen)
    if position:
        return where(first, share, 0)
    if first is not None and not started:
        share = where(first, 0, share)
    return where(chosen, expand(share, axis, keepdims), 0)


def _extremum_options_rule(
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
    values = given(options, extras)
    started = active[1 + options.index("initial")]
    return extremum_back(position, ct, out, x, values.get("where"), values["initial"], axis, keepdims, started=started)


def _extremum(name: str, function: Callable[..., Any]) -> tuple[Primitive, Primitive]:
    """Make the primitive without options and the one with them."""
    words: dict[str, Any] = {
        "infer": infer_reduction(lambda dtype: dtype, empty=False),
        "text": f"{name} {{0}}",
        "latex": rf"\{name} {{0}}",
        "flow": ("{ct} where {0} = {out}, in equal parts, else 0",),
        "latex_flow": (rf"\tfrac{{{{1}}}}{{{{n_{{{{\{name}}}}}}}}} {{ct}} \odot [{{0}} = {{out}}]",),
    }
    plain = Primitive(
        name=name,
        forward=function,
        vjps=(_extremum_rule,),
        spell=call_axis(f"np.{name}"),
        samples=reduction_samples,
        kinks=(
            Kink(([1.0, 1.0, 0.0] if name == "max" else [0.0, 0.0, 1.0],), ([0.5, 0.5, 0.0],), "ties split evenly",
                 {"axis": (0,), "keepdims": False}),
        ),
        **words,
    )  # fmt: skip
    optional = Primitive(
        name=f"{name}_options",
        forward=forward_options(function),
        vjps=_extremum_options_rule,
        tells_active=True,
        spell=spell_options(f"np.{name}"),
        samples=lambda: option_samples(("initial",), ("initial", "where"), initial=0.3),
        **words,
    )
    return plain, optional


max_, max_options = _extremum("max", np.max)
min_, min_options = _extremum("min", np.min)


# ---- any and all ---------------------------------------------------------------------------------


def _quantifier(name: str, forward: Callable[..., Any], text: str, latex: str) -> Primitive:
    def samples() -> list[Sample]:
        plain = [*reduction_samples(((2, 0), (1,))), *option_samples(("where",))]
        return [Sample((s.args[0] > 0, *s.args[1:]), s.params, s.note) for s in plain]

    return Primitive(
        name=name,
        forward=forward_options(forward),
        infer=infer_reduction(lambda dtype: np.dtype(bool)),
        vjps=(NO_GRADIENT, NO_GRADIENT),
        spell=spell_options(f"np.{name}"),
        text=text,
        latex=latex,
        samples=samples,
    )


any_ = _quantifier("any", np.any, "any {0}", r"\bigvee {0}")
all_ = _quantifier("all", np.all, "all {0}", r"\bigwedge {0}")


# ---- the answers to NumPy's functions ------------------------------------------------------------


def answer_with_dtype(
    plain: Primitive, optional: Primitive, function: Callable[..., Any], kinks: tuple[Kink, ...] = (), **start: Any
) -> None:
    """Answer a reduction that is called like ``np.sum(a, axis, dtype, out, keepdims, initial, where)``."""
    name = f"np.{function.__name__}"

    @answers(function, samples=lambda: reduction_calls(dtype=True, **start), kinks=kinks)
    def reduction(
        a: Any,
        axis: Any = None,
        dtype: Any = None,
        out: Any = None,
        keepdims: Any = MISSING,
        initial: Any = MISSING,
        where: Any = MISSING,
    ) -> Any:
        refuse(name, out=out)
        result = reduce_with(plain, optional, cast(a, dtype), axes_of(name, a, axis), keepdims, initial, where)
        return cast(result, dtype)  # whole numbers are added up as int64, and wrap around alike in what was asked for


_TIES = "ties split evenly"


def _answer_extremum(plain: Primitive, optional: Primitive, *functions: Callable[..., Any]) -> None:
    name = f"np.{plain.name}"
    far = -0.9 if plain.name == "max" else 0.9
    tie = Kink(
        ([2.0, 2.0, 2.0],),
        ([0.5, 0.0, 0.5],),
        f"{_TIES} among those that where= lets take part",
        {"where": [True, False, True], "initial": np.inf if plain.name == "min" else -np.inf},
    )
    zero = Kink(([0.0, 0.0],), ([0.0, 0.0],), "a tie with initial= gives 0, as with any constant", {"initial": 0.0})
    kinks = (Kink(([2.0, 2.0],), ([0.5, 0.5],), _TIES), tie, zero)

    @answers(*functions, samples=lambda: reduction_calls(initial=far), kinks=kinks)
    def extremum(
        a: Any,
        axis: Any = None,
        out: Any = None,
        keepdims: Any = MISSING,
        initial: Any = MISSING,
        where: Any = MISSING,
    ) -> Any:
        refuse(name, out=out)
        return reduce_with(plain, optional, a, axes_of(name, a, axis), keepdims, initial, where)


def _answer_quantifier(primitive: Primitive, function: Callable[..., Any]) -> None:
    @answers(function, samples=reduction_calls)
    def quantifier(a: Any, axis: Any = None, out: Any = None, keepdims: Any = MISSING, *, where: Any = MISSING) -> Any:
        refuse(f"np.{primitive.name}", out=out)
        return reduce_with(primitive, primitive, a, axes_of(f"np.{primitive.name}", a, axis), keepdims, MISSING, where)


answer_with_dtype(sum_, sum_options, np.sum, initial=0.7)
answer_with_dtype(mean_, mean_where, np.mean)
_answer_extremum(max_, max_options, np.max, np.amax)
_answer_extremum(min_, min_options, np.min, np.amin)
_answer_quantifier(any_, np.any)
_answer_quantifier(all_, np.all)
