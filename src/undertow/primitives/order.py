"""Sorting: sort, partition and their positions, and the way back from sorted places to the old ones.

Equal elements have no order of their own: the derivative of each of the places they hold is shared
evenly among them, as the derivative of max is.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from undertow.errors import PositionError, UnsupportedError
from undertow.graph import Dim, Spec
from undertow.primitives.cumulative import along_calls, along_samples, spell_along
from undertow.primitives.record import (
    ATOM,
    NO_GRADIENT,
    Code,
    Kink,
    Primitive,
    Sample,
    Spelling,
    answers,
    refuse,
    shape_of,
)
from undertow.primitives.reduction import axis_of
from undertow.primitives.sampling import draw


def _share(ct: Any, ranked: Any, axis: int) -> Any:
    """Give each of a run of equal elements the mean of their cotangents."""
    ct, ranked = np.moveaxis(ct, axis, -1), np.moveaxis(ranked, axis, -1)
    new = np.ones(ranked.shape, dtype=bool)
    new[..., 1:] = ranked[..., 1:] != ranked[..., :-1]
    if not new.all():
        starts = np.flatnonzero(new)
        sizes = np.diff(starts, append=new.size)
        means = np.add.reduceat(np.ravel(ct), starts) / sizes.astype(ct.dtype)
        ct = np.repeat(means, sizes).reshape(ct.shape)
    return np.moveaxis(ct, -1, axis)


def _ranked_samples() -> list[Sample]:
    tied = np.array([[1.0, 1.0, 2.0, 2.0], [0.0, 3.0, 3.0, 3.0]])
    return [
        *(Sample((draw(s.args[0].shape, 41), np.sort(s.args[0], axis=s.params["axis"])), s.params)
          for s in along_samples()),
        Sample((draw((2, 4), 41), tied), {"axis": 1}, "ties"),
        Sample((draw((4, 2), 41), tied.T), {"axis": 0}, "ties down the columns"),
    ]  # fmt: skip


share_ties: Primitive = Primitive(
    name="share_ties",
    forward=_share,
    infer=lambda ct, ranked, axis: ct,
    vjps=(lambda ct, out, x, ranked, axis: share_ties(ct, ranked, axis=axis), NO_GRADIENT),
    spell=lambda ct, ranked, *, axis, ndim, **_: Code(
        f"share_ties({ct.text}, {ranked.text}{f', axis={axis}' if axis != ndim - 1 else ''})"
    ),
    text="{0}, shared where {1} has ties",
    latex=r"\operatorname{{share}}({0})",
    flow=("{ct}, shared where {1} has ties",),
    latex_flow=(r"\operatorname{{share}}({ct})",),
    helper='''def share_ties(ct, ranked, axis=-1):
    """Give each of a run of equal elements of a sorted array the mean of their cotangents."""
    ct, ranked = np.moveaxis(ct, axis, -1), np.moveaxis(ranked, axis, -1)
    new = np.ones(ranked.shape, dtype=bool)
    new[..., 1:] = ranked[..., 1:] != ranked[..., :-1]
    if not new.all():
        starts = np.flatnonzero(new)
        sizes = np.diff(starts, append=new.size)
        means = np.add.reduceat(np.ravel(ct), starts) / sizes.astype(ct.dtype)
        ct = np.repeat(means, sizes).reshape(ct.shape)
    return np.moveaxis(ct, -1, axis)''',
    samples=_ranked_samples,
)


def _put_back(ct: Any, order: Any, axis: int) -> Any:
    result = np.empty_like(ct)
    np.put_along_axis(result, order, ct, axis=axis)
    return result


def _permutations() -> list[Sample]:
    return [
        Sample((draw(s.args[0].shape, 42), np.argsort(s.args[0], axis=s.params["axis"])), s.params)
        for s in along_samples()
    ]


def _spell_permute(x: Code, order: Code, *, axis: int, ndim: int, **_: Any) -> Code:
    if ndim == 1:
        return Code(f"{x.within(ATOM)}[{order.text}]")
    return Code(f"np.take_along_axis({x.text}, {order.text}, axis={axis})")


permute: Primitive = Primitive(
    name="permute",
    forward=lambda x, order, axis: np.take_along_axis(x, order, axis=axis),
    infer=lambda x, order, axis: x,
    vjps=(lambda ct, out, x, order, axis: put_back(ct, order, axis=axis), NO_GRADIENT),
    spell=_spell_permute,
    text="{0} in the order {1}",
    latex=r"{0}_{{{1}}}",
    flow=("{ct} in the order before",),
    latex_flow=(r"\operatorname{{back}}({ct})",),
    samples=_permutations,
)

put_back: Primitive = Primitive(
    name="put_back",
    forward=_put_back,
    infer=lambda ct, order, axis: ct,
    vjps=(lambda ct, out, x, order, axis: permute(ct, order, axis=axis), NO_GRADIENT),
    spell=lambda ct, order, *, axis, ndim, **_: Code(
        f"put_back({ct.text}, {order.text}{f', axis={axis}' if axis != ndim - 1 else ''})"
    ),
    text="{0} in the order before {1}",
    latex=r"\operatorname{{back}}({0})",
    flow=("{ct} in the order {1}",),
    latex_flow=(r"{ct}_{{{1}}}",),
    helper='''def put_back(ct, order, axis=-1):
    """Undo np.take_along_axis(x, order, axis) by a permutation."""
    result = np.empty_like(ct)
    np.put_along_axis(result, order, ct, axis=axis)
    return result''',
    samples=_permutations,
)


def _infer_positions(x: Spec, axis: int, **_: Any) -> Spec:
    return Spec(x.shape, np.dtype(np.intp))


def _spell_argsort(x: Code, *, axis: int, stable: bool = False, ndim: int, **_: Any) -> Code:
    text = spell_along("np.argsort")(x, axis=axis, ndim=ndim).text
    return Code(f"{text[:-1]}, kind='stable')" if stable else text)


argsort = Primitive(
    name="argsort",
    forward=lambda x, axis, stable=False: np.argsort(x, axis=axis, kind="stable" if stable else None),
    infer=_infer_positions,
    vjps=(NO_GRADIENT,),
    spell=_spell_argsort,
    text="argsort {0}",
    latex=r"\operatorname{{argsort}} {0}",
    samples=along_samples,
)

sort = Primitive(
    name="sort",
    forward=np.sort,
    infer=lambda x, axis: Spec(x.shape, x.dtype),
    vjps=(lambda ct, out, x, axis: unsort(ct, x, axis, ranked=out),),
    spell=spell_along("np.sort"),
    text="{0} sorted",
    latex=r"\operatorname{{sort}}({0})",
    flow=("{ct} in the order before sorting",),
    latex_flow=(r"\operatorname{{unsort}}({ct})",),
    samples=along_samples,
)


def unsort(ct: Any, x: Any, axis: int, ranked: Any = None) -> Any:
    """Bring cotangents of the sorted array back to where its elements came from; equal elements share theirs."""
    order = argsort(x, axis=axis)
    ranked = permute(x, order, axis=axis) if ranked is None else ranked
    return put_back(share_ties(ct, ranked, axis=axis), order, axis=axis)


def _partition_back(ct: Any, out: Any, x: Any, kth: tuple[int, ...], axis: int) -> Any:
    """Sort the cotangents by the values that they belong to, then undo the sorting of x."""
    return unsort(permute(ct, argsort(out, axis=axis), axis=axis), x, axis)


def _spell_partition(function: str) -> Spelling:
    def spell(x: Code, *, kth: tuple[int, ...], axis: int, ndim: int, **_: Any) -> Code:
        place = kth[0] if len(kth) == 1 else list(kth)
        return Code(f"{function}({x.text}, {place}{f', axis={axis}' if axis != ndim - 1 else ''})")

    return spell


def _partition_samples() -> list[Sample]:
    cases = ((1,), 0, (0,)), ((4,), 0, (2,)), ((4,), 0, (-1,)), ((4, 3), 0, (1, 2)), ((2, 5), 1, (1, 3))
    return [Sample((draw(shape, 43),), {"kth": kth, "axis": axis}) for shape, axis, kth in cases]


partition = Primitive(
    name="partition",
    forward=np.partition,
    infer=lambda x, kth, axis: Spec(x.shape, x.dtype),
    vjps=(_partition_back,),
    spell=_spell_partition("np.partition"),
    text="{0} partitioned",
    latex=r"\operatorname{{partition}}({0})",
    flow=("{ct} in the order before",),
    latex_flow=(r"\operatorname{{unsort}}({ct})",),
    samples=_partition_samples,
)

argpartition = Primitive(
    name="argpartition",
    forward=np.argpartition,
    infer=lambda x, kth, axis: Spec(x.shape, np.dtype(np.intp)),
    vjps=(NO_GRADIENT,),
    spell=_spell_partition("np.argpartition"),
    text="argpartition {0}",
    latex=r"\operatorname{{argpartition}} {0}",
    samples=_partition_samples,
)


# ---- the answers ---------------------------------------------------------------------------------


def _line(name: str, a: Any, axis: Any) -> tuple[Any, int]:
    """Return the array and the axis to order along: all elements in one line for None."""
    if axis is None or (name.startswith("np.arg") and not shape_of(a) and axis in (0, -1)):
        return np.ravel(a), 0
    return a, axis_of(name, a, axis)


_TIED = (
    Kink(([3.0, 1.0, 3.0],), ([1.0, 1.0, 1.0],), "equal elements share their places evenly"),
)  # the sum of all places: the test of unequal shares is in test_reductions.py


@answers(np.sort, samples=lambda: along_calls(Sample((draw((3,), 22),), {"kind": "stable"})), kinks=_TIED)
def _sort(a: Any, axis: Any = -1, kind: Any = None, order: Any = None, *, stable: Any = None) -> Any:
    refuse("np.sort", order=order)
    x, at = _line("np.sort", a, axis)
    return sort(x, axis=at)


@answers(np.argsort, samples=lambda: along_calls(Sample((draw((3,), 22), -1, "stable")), Sample((draw((3,), 2),))))
def _argsort(a: Any, axis: Any = -1, kind: Any = None, order: Any = None, *, stable: Any = None) -> Any:
    refuse("np.argsort", order=order)
    x, at = _line("np.argsort", a, axis)
    return argsort(x, axis=at, stable=bool(stable) or kind in ("stable", "mergesort"))


def _partition_calls() -> list[Sample]:
    x = draw((3, 5), 43)
    return [
        Sample((x, 2), {}),
        Sample((x, (1, 3)), {}),
        Sample((x, 1, 0), {}),
        Sample((x, 4), {"axis": None}),
        Sample((x[0], -2), {"kind": "introselect"}),
        Sample((draw((1,), 43), 0), {}),
    ]


def _places(function: str, x: Any, kth: Any, axis: int) -> tuple[int, ...]:
    places, size = tuple(int(k) for k in np.atleast_1d(kth)), shape_of(x)[axis]
    if isinstance(size, Dim) or 0 in shape_of(x):  # of no elements NumPy takes any
        return places
    if (beyond := next((k for k in places if not -size <= k < size), None)) is not None:
        raise PositionError(f"{function}: kth={beyond} is beyond an axis of size {size}. Count from 0 to {size - 1}.")
    return places


@answers(np.partition, samples=_partition_calls)
def _partition(a: Any, kth: Any, axis: Any = -1, kind: str = "introselect", order: Any = None) -> Any:
    refuse("np.partition", order=order)
    x, at = _line("np.partition", a, axis)
    return partition(x, kth=_places("np.partition", x, kth, at), axis=at)


@answers(np.argpartition, samples=_partition_calls)
def _argpartition(a: Any, kth: Any, axis: Any = -1, kind: str = "introselect", order: Any = None) -> Any:
    refuse("np.argpartition", order=order)
    x, at = _line("np.argpartition", a, axis)
    return argpartition(x, kth=_places("np.argpartition", x, kth, at), axis=at)


lexsort = Primitive(
    name="lexsort",
    forward=lambda *keys, axis: np.lexsort(keys, axis=axis),
    infer=lambda *keys, axis: Spec(keys[0].shape, np.dtype(np.intp)),
    vjps=lambda position, *args, **params: None,
    spell=lambda *keys, axis, ndim, **_: Code(
        f"np.lexsort(({', '.join(key.text for key in keys)},){f', axis={axis}' if ndim > 1 else ''})"
    ),
    text="lexsort {0}",
    latex=r"\operatorname{{lexsort}} {0}",
    samples=lambda: [
        Sample((np.array([1.0, 1.0, 0.0]), np.array([2.0, 1.0, 1.0])), {"axis": 0}),
        Sample((draw((2, 3), 44),), {"axis": 1}),
        Sample((draw((2, 3), 44), draw((2, 3), 45)), {"axis": 0}),
    ],
)


@answers(
    np.lexsort,
    samples=lambda: [
        Sample(((draw((4,), 44), draw((4,), 45)),), {}),
        Sample(((draw((2, 3), 44), draw((2, 3), 45)), 0), {}),
        Sample((draw((2, 4), 44),), {"axis": -1}),
    ],
)
def _lexsort(keys: Any, axis: Any = -1) -> Any:
    rows = keys if isinstance(keys, tuple) else tuple(keys)
    return lexsort(*rows, axis=axis_of("np.lexsort", rows[0], axis))


@answers(
    np.unique,
    samples=lambda: [
        Sample((np.array([[2.0, -1.0, 2.0], [0.5, -1.0, 3.0]]), *args), params, needs_values=True)
        for args, params in (
            ((), {}),
            ((True, True, True), {}),
            ((), {"return_inverse": True}),
            ((), {"axis": 0, "return_counts": True}),
        )
    ],
)
def _unique(
    ar: Any,
    return_index: bool = False,
    return_inverse: bool = False,
    return_counts: bool = False,
    axis: Any = None,
    **options: Any,
) -> Any:
    value = getattr(getattr(ar, "node", None), "value", None)
    if value is None:
        raise UnsupportedError(
            "np.unique returns as many elements as there are different ones, which is not known from shapes alone. "
            "Call it on an array of your own, outside the function; ut.grad, which sees values, takes it as it is."
        )
    unique: Any = np.unique
    found = unique(value, True, return_inverse, return_counts, axis, **options)
    first = found[1]  # where each value stands first: the gradient goes there
    values = np.ravel(ar)[first] if axis is None else np.take(ar, first, axis)
    rest = found[2:] if not return_index else found[1:]
    return (values, *rest) if rest else values
