"""Median, quantiles and percentiles, and those of the elements that are not NaN."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from undertow.errors import UnsupportedError
from undertow.graph import Shape, Spec
from undertow.primitives.rank import METHODS, fixed_places_rule, line_length, numbers_of, traced_places_rule
from undertow.primitives.record import Code, Kink, Primitive, Sample, Traced, answers, reduced_shape, refuse, shape_of
from undertow.primitives.reduction import MISSING, Axes, axes_of, kept, no_elements, reduction_samples
from undertow.primitives.sampling import draw


@lru_cache
def result_dtype(function: str, x: Any, q: Any, method: str) -> np.dtype[Any]:
    """Return the dtype that NumPy gives its result; q is the dtype of the quantiles, None for a Python number."""
    one: Any = np.ones(1, x)
    if function.endswith("median"):
        return np.asarray(getattr(np, function)(one)).dtype
    ask = 0.5 if q is None else np.array([0.5], q)
    return np.asarray(getattr(np, function)(one, ask, method=method)).dtype


def _spell_fixed(
    x: Code,
    *,
    axis: Axes,
    keepdims: bool,
    q: Any,
    dtype: Any,
    method: str,
    function: str,
    nan: bool,
    ndim: int,
    **_: Any,
) -> Code:
    numbers = repr(np.array(q).tolist())
    if dtype is not None and not np.ndim(q):
        numbers = f"np.{dtype}({numbers})"
    elif dtype is not None and dtype.kind == "f" and dtype != np.float64:
        numbers = f"np.array({numbers}, dtype=np.{dtype})"
    text = "" if function == "median" else f", {numbers}"
    if len(axis) < ndim:
        text += f", axis={axis[0] if len(axis) == 1 else axis}"
    text += "" if method == "linear" else f", method={method!r}"
    return Code(f"np.{'nan' if nan else ''}{function}({x.text}{text}{', keepdims=True' if keepdims else ''})")


def _compute_fixed(
    x: Any, axis: Axes, keepdims: bool, q: Any, dtype: Any, method: str, function: str, nan: bool
) -> Any:
    ask = getattr(np, ("nan" if nan else "") + function)
    if function == "median":
        return ask(x, axis=axis, keepdims=keepdims)
    return ask(x, numbers_of(q, dtype), axis=axis, keepdims=keepdims, method=method)


def _infer_fixed(
    x: Spec, axis: Axes, keepdims: bool, q: Any, dtype: Any, method: str, function: str, nan: bool
) -> Spec:
    name = ("nan" if nan else "") + function
    line_length(x.shape, axis)
    if function != "median" and not nan and any(x.shape[i] == 0 for i in axis):  # else they are NaN
        raise no_elements(x.shape, axis)
    shape = (*leading_axes(np.shape(q), x.shape, nan), *reduced_shape(x.shape, axis, keepdims))
    return Spec(shape, result_dtype(name, x.dtype, dtype, method))


def leading_axes(q: Shape, x: Shape, nan: bool) -> Shape:
    """Return the axes of the result that belong to the quantiles: NumPy leaves them out where x has no element."""
    return () if nan and 0 in x else q


def _compute_traced(x: Any, q: Any, axis: Axes, keepdims: bool, method: str, function: str, nan: bool) -> Any:
    ask = getattr(np, ("nan" if nan else "") + function)
    return ask(x, q, axis=axis, keepdims=keepdims, method=method)


def _infer_traced(x: Spec, q: Spec, axis: Axes, keepdims: bool, method: str, function: str, nan: bool) -> Spec:
    line_length(x.shape, axis)
    if not nan and any(x.shape[i] == 0 for i in axis):
        raise no_elements(x.shape, axis)
    dtype = result_dtype(("nan" if nan else "") + function, x.dtype, None if q.weak else q.dtype, method)
    return Spec((*leading_axes(q.shape, x.shape, nan), *reduced_shape(x.shape, axis, keepdims)), dtype)


def _spell_traced(
    x: Code, q: Code, *, axis: Axes, keepdims: bool, method: str, function: str, nan: bool, ndim: int, **_: Any
) -> Code:
    text = f", axis={axis[0] if len(axis) == 1 else axis}" if len(axis) < ndim else ""
    text += "" if method == "linear" else f", method={method!r}"
    name = f"np.{'nan' if nan else ''}{function}"
    return Code(f"{name}({x.text}, {q.text}{text}{', keepdims=True' if keepdims else ''})")


def _with_nan(x: Any) -> Any:
    x = np.array(x)
    if x.ndim and min(x.shape) > 1:
        x[np.indices(x.shape).sum(axis=0) % 4 == 1] = np.nan
    return x


def _fixed_samples(function: str, nan: bool) -> list[Sample]:
    scale = 100.0 if function == "percentile" else 1.0
    how = {"function": function, "nan": nan}
    samples = []
    for s in reduction_samples():
        if s.params["keepdims"] != (len(s.args[0].shape) == 2) or (nan and not s.params["axis"]):
            continue
        x = _with_nan(s.args[0]) if nan else s.args[0]
        one = {**s.params, **how, "q": 0.3 * scale if function != "median" else 0.5, "dtype": None, "method": "linear"}
        samples.append(Sample((x,), one, s.note))
    if function == "median":
        return samples
    several: tuple[Any, ...] = (0.1 * scale, 0.55 * scale, scale), ((0.2 * scale,), (0.7 * scale,))
    for (shape, axis), q in zip(
        (((5,), (0,)), ((4, 3), (1,)), ((2, 3, 2), (0, 2))), (*several, several[0]), strict=True
    ):
        x = _with_nan(draw(shape, 52)) if nan else draw(shape, 52)
        more = {"axis": axis, "keepdims": len(shape) == 3, "q": q, "dtype": np.dtype(np.float64), "method": "hazen"}
        samples.append(Sample((x,), {**more, **how}))
    return samples


def _traced_samples(function: str, nan: bool) -> list[Sample]:
    cases: list[tuple[Any, Axes, Any, str]] = [
        ((5,), (0,), 0.37, "linear"), ((4, 3), (1,), [0.21, 0.83], "linear"), ((2, 3, 2), (0, 2), [0.37, 0.9], "hazen"),
        ((2, 3), (0, 1), 0.42, "weibull"), ((1,), (0,), 0.37, "linear"), ((4, 3), (0,), [[0.42]], "midpoint"),
    ]  # fmt: skip
    scale = 100 if function == "percentile" else 1
    return [
        Sample(
            (_with_nan(draw(shape, 52)) if nan else draw(shape, 52), np.array(q) * scale),
            {"axis": axis, "keepdims": len(shape) == 2, "method": method, "function": function, "nan": nan},
        )
        for shape, axis, q, method in cases
    ]


def _words(name: str) -> dict[str, Any]:
    return {
        "text": f"{name}({{0}})",
        "latex": rf"\operatorname{{{{{name}}}}}({{0}})",
        "flow": ("{ct} at the elements that make up {out}, by their weights", "{ct} ⊙ the slope between neighbours"),
        "latex_flow": (r"\mathrm{{vjp}}({ct})", r"\mathrm{{vjp}}({ct})"),
    }


def _primitives(function: str, nan: bool) -> tuple[Primitive, Primitive | None]:
    """Make the primitive for quantiles that are plain numbers, and the one for traced ones."""
    name = f"{'nan' if nan else ''}{function}"
    how: dict[str, Any] = {"axis": (0,), "keepdims": False, "method": "linear", "function": function, "nan": nan}
    half = 50.0 if function == "percentile" else 0.5
    split = Kink(([1.0, 2.0, 2.0],), ([0.0, 0.5, 0.5],), "ties split evenly", {**how, "q": half, "dtype": None})
    fixed = Primitive(
        name=name,
        forward=_compute_fixed,
        infer=_infer_fixed,
        vjps=(fixed_places_rule,),
        spell=_spell_fixed,
        kinks=(split,),
        samples=lambda: _fixed_samples(function, nan),
        **_words(name),
    )
    if function == "median":
        return fixed, None
    traced = Primitive(
        name=f"{name}_traced",
        forward=_compute_traced,
        infer=_infer_traced,
        vjps=traced_places_rule,
        spell=_spell_traced,
        samples=lambda: _traced_samples(function, nan),
        **_words(name),
    )
    return fixed, traced


# ---- the answers ---------------------------------------------------------------------------------


def _median_calls(nan: bool) -> list[Sample]:
    x = draw((3, 4), 53)
    if nan:
        x[0, 1] = x[2, 3] = x[2, 0] = np.nan
    params: tuple[dict[str, Any], ...] = (
        {}, {"axis": 0}, {"axis": -1}, {"axis": (0, 1)}, {"axis": 1, "keepdims": True},
        {"axis": (1, 0), "keepdims": True},
    )  # fmt: skip
    more = Sample((draw((5,), 53),), {}), Sample((draw((2, 3, 2), 53), (0, -1)), {}), Sample((draw((1,), 53),), {})
    return [*(Sample((x,), p) for p in params), *more, Sample((draw((), 53),), {})]


def _answer_median(function: Callable[..., Any], nan: bool, kinks: tuple[Kink, ...]) -> None:
    primitive, _ = _primitives("median", nan)
    name = f"np.{primitive.name}"

    @answers(function, samples=lambda: _median_calls(nan), kinks=kinks)
    def median(
        a: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False, keepdims: Any = MISSING
    ) -> Any:
        refuse(name, out=out)
        return primitive(
            a,
            axis=axes_of(name, a, axis),
            keepdims=kept(keepdims),
            q=0.5,
            dtype=None,
            method="linear",
            function="median",
            nan=nan,
        )


_TIES = Kink(([2.0, 1.0, 2.0, 5.0],), ([0.5, 0.0, 0.5, 0.0],), "ties split evenly")
_BETWEEN = Kink(([1.0, 1.0, 3.0, 3.0],), ([0.25, 0.25, 0.25, 0.25],), "each of the two neighbours splits evenly")

_answer_median(np.median, False, (_TIES, _BETWEEN, Kink(([4.0, 4.0],), ([0.5, 0.5],), "all equal")))
_answer_median(np.nanmedian, True, (
    _TIES, _BETWEEN, Kink(([np.nan, 1.0, 3.0],), ([0.0, 0.5, 0.5],), "NaN takes no part"),
    Kink(([np.nan, np.nan],), ([0.0, 0.0],), "nothing is there"),
))  # fmt: skip


def _quantile_calls(scale: float, nan: bool) -> list[Sample]:
    x = _median_calls(nan)[0].args[0]
    q = np.array([0.15, 0.61]) * scale
    calls = [Sample((s.args[0], 0.3 * scale, *s.args[1:]), s.params) for s in _median_calls(nan)]
    calls += [Sample((x, [0.3 * scale, 0.85 * scale]), {"axis": axis, "keepdims": True}) for axis in (0, 1, (0, 1))]
    calls += [Sample((x, q), {"axis": axis}) for axis in (None, 0, -1, (0, 1))]
    calls += [Sample((x, q[0] + np.zeros(()), 0), {"keepdims": True}), Sample((x, q.reshape(2, 1), -1), {})]
    calls += [Sample((x, 1 if scale == 1 else 25, 0), {}, "an integer")]
    for method in METHODS if scale == 1 and not nan else METHODS[4:9:2]:
        calls.append(Sample((x, 0.37 * scale), {"axis": 0, "method": method}))
        calls.append(Sample((x, q), {"axis": 0, "method": method}))
    return calls


def _hashable(numbers: Any) -> Any:
    return tuple(map(_hashable, numbers)) if isinstance(numbers, list) else numbers


def _answer_quantile(function: Callable[..., Any], kind: str, nan: bool) -> None:
    fixed, traced = _primitives(kind, nan)
    assert traced is not None
    name, scale = f"np.{fixed.name}", 100.0 if kind == "percentile" else 1.0
    kinks = (
        Kink(([2.0, 1.0, 2.0], 0.5 * scale), ([0.5, 0.0, 0.5], None), "ties split evenly"),
        Kink(([1.0, 2.0, 5.0], 0.5 * scale), ([0.0, 1.0, 0.0], 2.0 / scale), "on an element: the smaller slope by q"),
        Kink(([1.0, 2.0, 5.0], 0.0), ([1.0, 0.0, 0.0], 2.0 / scale), "the end of the domain has one side"),
        Kink(([1.0, 2.0, 5.0], 1.0 * scale), ([0.0, 0.0, 1.0], 6.0 / scale), "the end of the domain has one side"),
    )

    @answers(function, samples=lambda: _quantile_calls(scale, nan), kinks=kinks)
    def quantile(
        a: Any,
        q: Any,
        axis: Any = None,
        out: Any = None,
        overwrite_input: bool = False,
        method: str = "linear",
        keepdims: Any = MISSING,
        *,
        weights: Any = None,
        interpolation: Any = None,
    ) -> Any:
        refuse(name, out=out, weights=weights, interpolation=interpolation)
        how: dict[str, Any] = {"axis": axes_of(name, a, axis), "keepdims": kept(keepdims), "method": method,
                               "function": kind, "nan": nan}  # fmt: skip
        if nan and len(how["axis"]) > 1 and len(shape_of(q)) > 1:
            raise UnsupportedError(
                f"{name}: NumPy mixes the axes of a q of several axes up here. Pass np.ravel(q) and reshape the result."
            )
        if isinstance(q, Traced):
            return traced(a, q, **how)
        if isinstance(q, int | float) and not isinstance(q, np.generic):
            return fixed(a, q=q, dtype=None, **how)
        numbers = np.asarray(q)
        return fixed(a, q=_hashable(numbers.tolist()), dtype=numbers.dtype, **how)


_answer_quantile(np.quantile, "quantile", False)
_answer_quantile(np.nanquantile, "quantile", True)
_answer_quantile(np.percentile, "percentile", False)
_answer_quantile(np.nanpercentile, "percentile", True)
