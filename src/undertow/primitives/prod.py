"""Products along axes, whose derivative is the product of the other factors: zeros included."""

from __future__ import annotations

from typing import Any

import numpy as np

from undertow.primitives.record import Code, Kink, Primitive, Sample, call_axis, count_of, infer_like, shape_of
from undertow.primitives.reduce import answer_with_dtype, sum_
from undertow.primitives.reduction import (
    Axes,
    Options,
    add_dtype,
    expand,
    forward_options,
    given,
    infer_reduction,
    keep_only,
    option_samples,
    reduction_samples,
    spell_options,
)
from undertow.primitives.shape import expand_dims, reshape, transpose


def _prod_samples() -> list[Sample]:
    zeros = np.array([[0.0, 2.0, -3.0], [0.0, 0.0, 4.0], [1.5, -2.0, 0.5]])
    notes = ((), "kept"), ((0,), "rows"), ((1,), "one zero, two zeros, none"), ((0, 1), "three zeros")
    return reduction_samples(((2, 0), (1,))) + [
        Sample((zeros,), {"axis": axis, "keepdims": False}, f"zeros: {note}") for axis, note in notes
    ]


def _flat_last(x: Any, axis: Axes) -> tuple[Any, Axes, Any]:
    """Return an array with these axes as one, the last; and the order of axes and the shape before that."""
    order = (*(i for i in range(len(shape_of(x))) if i not in axis), *axis)
    moved = np.transpose(x, order)
    kept = shape_of(moved)[: len(order) - len(axis)]
    count = int(np.prod(np.shape(moved)[len(kept) :], dtype=np.int64))
    return np.reshape(moved, (*kept, count)), order, shape_of(moved)


def _prod_others(x: Any, axis: Axes) -> Any:
    """Multiply all factors before each one by all those after it: no division where zeros would do harm."""
    flat, order, moved = _flat_last(x, axis)
    whole = np.prod(flat, axis=-1, keepdims=True)
    if flat.dtype.kind == "f" and np.all((np.abs(whole) > np.finfo(flat.dtype).tiny) & np.isfinite(whole)):
        return np.transpose(np.reshape(whole / flat, moved), np.argsort(order))[()]
    before, after = np.ones_like(flat), np.ones_like(flat)
    np.cumprod(flat[..., :-1], axis=-1, out=before[..., 1:])
    np.cumprod(flat[..., :0:-1], axis=-1, out=after[..., -2::-1])
    return np.transpose(np.reshape(before * after, moved), np.argsort(order))[()]


def _prod_others_rule(ct: Any, out: Any, x: Any, axis: Axes) -> Any:
    """Row j of a square holds the factors without the j-th; its own products of others lack two factors."""
    ndim = len(shape_of(x))
    order = (*(i for i in range(ndim) if i not in axis), *axis)
    moved = tuple(shape_of(x)[i] for i in order)
    count = int(count_of(x, axis))
    flat = (*moved[: ndim - len(axis)], count)
    last = len(flat) - 1
    factors, shares = (reshape(transpose(v, axes=order), shape=flat) for v in (x, ct))
    diagonal = np.eye(count, dtype=bool)
    rows = np.where(diagonal, 1, expand_dims(factors, axis=(last,)))
    pairs = np.where(diagonal, 0, prod_others(rows, axis=(last + 1,)))
    total = sum_(expand_dims(shares, axis=(last + 1,)) * pairs, axis=(last,), keepdims=False)
    return transpose(reshape(total, shape=moved), axes=tuple(int(i) for i in np.argsort(order)))


prod_others = Primitive(
    name="prod_others",
    forward=_prod_others,
    infer=infer_like,
    vjps=(_prod_others_rule,),
    spell=lambda x, *, axis, **_: Code(f"prod_others({x.text}, axis={axis})"),
    text="the product of the factors of {0} other than each",
    latex=r"\prod_{{j \ne i}} {0}_j",
    flow=("{ct} times the products without two factors",),
    latex_flow=(r"\sum_{{k \ne i}} {ct}_k \prod_{{j \ne i, k}} {0}_j",),
    helper='''def prod_others(x, axis):
    """For each element, the product of the others along these axes; zeros do no harm."""
    order = (*(i for i in range(x.ndim) if i not in axis), *axis)
    moved = np.transpose(x, order)
    kept = moved.shape[: x.ndim - len(axis)]
    flat = np.reshape(moved, (*kept, int(np.prod(moved.shape[len(kept) :], dtype=np.int64))))
    whole = np.prod(flat, axis=-1, keepdims=True)
    if flat.dtype.kind == "f" and np.all((np.abs(whole) > np.finfo(flat.dtype).tiny) & np.isfinite(whole)):
        return np.transpose(np.reshape(whole / flat, moved.shape), np.argsort(order))
    before, after = np.ones_like(flat), np.ones_like(flat)
    np.cumprod(flat[..., :-1], axis=-1, out=before[..., 1:])
    np.cumprod(flat[..., :0:-1], axis=-1, out=after[..., -2::-1])
    return np.transpose(np.reshape(before * after, moved.shape), np.argsort(order))''',
    samples=lambda: [
        Sample(s.args, {"axis": s.params["axis"]}, s.note) for s in _prod_samples() if not s.params["keepdims"]
    ],
)


prod = Primitive(
    name="prod",
    forward=np.prod,
    infer=infer_reduction(add_dtype),
    vjps=(lambda ct, out, x, axis, keepdims: expand(ct, axis, keepdims) * prod_others(x, axis=axis),),
    spell=call_axis("np.prod"),
    text="Π {0}",
    latex=r"\prod {0}",
    flow=("{ct} ⊙ the product of the other factors",),
    latex_flow=(r"{ct} \odot \prod_{{j \ne i}} {0}_j",),
    samples=_prod_samples,
)


def _prod_options_rule(
    position: int, ct: Any, out: Any, x: Any, *extras: Any, axis: Axes, keepdims: bool, options: Options
) -> Any:
    values = given(options, extras)
    mask = values.get("where")
    factors = keep_only(mask, x, 1)
    if position:  # the initial value is one more factor
        return ct * prod(factors, axis=axis, keepdims=keepdims)
    if "initial" in values:
        ct = ct * values["initial"]
    return keep_only(mask, expand(ct, axis, keepdims) * prod_others(factors, axis=axis), 0)


prod_options = Primitive(
    name="prod_options",
    forward=forward_options(np.prod),
    infer=infer_reduction(add_dtype),
    vjps=_prod_options_rule,
    spell=spell_options("np.prod"),
    text="Π {0}",
    latex=r"\prod {0}",
    flow=("{ct} ⊙ the product of the other factors",),
    latex_flow=(r"{ct} \odot \prod_{{j \ne i}} {0}_j",),
    samples=lambda: option_samples(("initial",), ("where",), ("initial", "where")),
)

_ZEROS = (
    Kink(([2.0, 0.0, 3.0],), ([0.0, 6.0, 0.0],), "one zero: its derivative is the product of the others"),
    Kink(([0.0, 0.0, 3.0],), ([0.0, 0.0, 0.0],), "two zeros: each product of others holds one"),
    Kink(([0.0, np.nan],), ([1.0, 0.0],), "a factor left out has no say", {"where": [True, False]}),
)

answer_with_dtype(prod, prod_options, np.prod, kinks=_ZEROS, initial=0.7)
