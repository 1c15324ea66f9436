"""Truth values: comparisons, logic, and the choice that `where` makes by them."""

from __future__ import annotations

from typing import Any

import numpy as np

from undertow.graph import Spec, broadcast_shapes
from undertow.primitives.elementwise import elementwise, everywhere
from undertow.primitives.record import (
    COMPARE,
    NO_GRADIENT,
    SUM,
    UNARY,
    Code,
    Primitive,
    Sample,
    Spelling,
    Traced,
    call,
    dtype_of,
    infer_ufunc,
    promote,
)
from undertow.primitives.sampling import binary_samples, draw, unary_samples

_BITWISE = SUM - 1  # & and | bind less tightly than +, and tighter than <


def _between(sign: str, rank: int) -> Spelling:
    """Spell as ``x < y``; x and y never are bare comparisons, because Python chains ``a < b < c``."""
    return lambda x, y, **_: Code(f"{x.within(rank + 1)} {sign} {y.within(rank + 1)}", rank)


def _comparison_samples() -> list[Sample]:
    return [
        *binary_samples(),
        Sample((np.array([1.0, 2.0, np.nan]), np.array([1.0, -2.0, np.nan])), note="equal, unequal, NaN"),
        Sample((np.array([1, 2, 3]), 2), note="integers"),
    ]


def _comparison(name: str, ufunc: np.ufunc, sign: str, text: str, latex: str) -> Primitive:
    return Primitive(
        name=name,
        forward=ufunc,
        infer=infer_ufunc(ufunc),
        vjps=(NO_GRADIENT, NO_GRADIENT),
        broadcasts=True,
        spell=_between(sign, COMPARE),
        text=f"[{{0}} {text} {{1}}]",
        latex=f"[{{0}} {latex} {{1}}]",
        samples=_comparison_samples,
        numpy=(ufunc,),
    )


greater = _comparison("greater", np.greater, ">", ">", ">")
greater_equal = _comparison("greater_equal", np.greater_equal, ">=", "≥", r"\ge")
less = _comparison("less", np.less, "<", "<", "<")
less_equal = _comparison("less_equal", np.less_equal, "<=", "≤", r"\le")
equal = _comparison("equal", np.equal, "==", "=", "=")
not_equal = _comparison("not_equal", np.not_equal, "!=", "≠", r"\ne")


def _truth_samples() -> list[Sample]:
    """Pairs of truth values, broadcasting both ways."""
    return [Sample(tuple(np.greater(x, 0) for x in s.args), note=s.note) for s in binary_samples()]


def _logic(name: str, ufunc: np.ufunc, spell: Spelling, text: str, latex: str, bits: bool = False) -> Primitive:
    """Make an operation on two truth values; the logical ones also take numbers, 0 being false."""
    return Primitive(
        name=name,
        forward=ufunc,
        infer=infer_ufunc(ufunc),
        vjps=(NO_GRADIENT, NO_GRADIENT),
        broadcasts=True,
        spell=spell,
        text=f"({{0}} {text} {{1}})",
        latex=rf"({{0}} \{latex} {{1}})",
        samples=_truth_samples if bits else lambda: [*_truth_samples(), *binary_samples()],
        numpy=(ufunc,),
    )


logical_and = _logic("logical_and", np.logical_and, call("np.logical_and"), "and", "land")
logical_or = _logic("logical_or", np.logical_or, call("np.logical_or"), "or", "lor")
logical_xor = _logic("logical_xor", np.logical_xor, call("np.logical_xor"), "xor", "oplus")
bitwise_and = _logic("bitwise_and", np.bitwise_and, _between("&", _BITWISE), "and", "land", bits=True)
bitwise_or = _logic("bitwise_or", np.bitwise_or, _between("|", _BITWISE), "or", "lor", bits=True)


bitwise_xor = _logic("bitwise_xor", np.bitwise_xor, _between("^", _BITWISE), "xor", "oplus", bits=True)


def _whole_samples() -> list[Sample]:
    return [Sample((np.array([[12], [7]]), np.array([1, 2, 3])), note="a column and a row of whole numbers")]


def _whole(ufunc: np.ufunc, text: str, latex: str) -> Primitive:
    """Make an operation on whole numbers."""
    return elementwise(
        ufunc, *[NO_GRADIENT] * ufunc.nin, text=text, latex=latex,
        samples=_whole_samples if ufunc.nin == 2 else lambda: [Sample((np.array([12, 7, 0]),))],
    )  # fmt: skip


left_shift = _whole(np.left_shift, "({0} ⋅ 2 ^ {1})", r"({0} \cdot 2^{{{1}}})")
right_shift = _whole(np.right_shift, "⌊{0} / 2 ^ {1}⌋", r"\lfloor {0} / 2^{{{1}}} \rfloor")
gcd = _whole(np.gcd, "gcd({0}, {1})", r"\gcd({0}, {1})")
lcm = _whole(np.lcm, "lcm({0}, {1})", r"\operatorname{{lcm}}({0}, {1})")
bitwise_count = _whole(np.bitwise_count, "bits({0})", r"\operatorname{{bits}}({0})")


def _test(name: str, ufunc: np.ufunc, text: str, latex: str) -> Primitive:
    """Make an operation that asks a question of each element."""
    return Primitive(
        name=name,
        forward=ufunc,
        infer=infer_ufunc(ufunc),
        vjps=(NO_GRADIENT,),
        broadcasts=True,
        spell=call(f"np.{name}"),
        text=text,
        latex=latex,
        samples=lambda: [
            *unary_samples(),
            Sample((np.array([0.0, -np.inf, np.inf, np.nan]),), note="zero and numbers that are not finite"),
        ],
        numpy=(ufunc,),
    )


logical_not = _test("logical_not", np.logical_not, "not {0}", r"\lnot {0}")
isfinite = _test("isfinite", np.isfinite, "[{0} is finite]", r"[\lvert {0} \rvert < \infty]")
isnan = _test("isnan", np.isnan, "[{0} is NaN]", r"[{0} = \mathrm{{NaN}}]")
isinf = _test("isinf", np.isinf, "[{0} is infinite]", r"[\lvert {0} \rvert = \infty]")
signbit = _test("signbit", np.signbit, "[{0} has a minus sign]", r"[{0} < 0]")

invert = Primitive(
    name="invert",
    forward=np.invert,
    infer=infer_ufunc(np.invert),
    vjps=(NO_GRADIENT,),
    broadcasts=True,
    spell=lambda x, **_: Code(f"~{x.within(UNARY)}", UNARY),
    text="not {0}",
    latex=r"\lnot {0}",
    samples=lambda: [Sample((s.args[0] > 0,), note=s.note) for s in unary_samples()],
    numpy=(np.invert,),
)


def _infer_where(condition: Spec, x: Spec, y: Spec) -> Spec:
    dtype, weak = promote(np.maximum, (x, y))
    return Spec(broadcast_shapes(condition.shape, x.shape, y.shape), dtype, weak and condition.weak)


def _where_samples() -> list[Sample]:
    samples = []
    for s in binary_samples():
        condition = draw(np.broadcast_shapes(*map(np.shape, s.args)), 7) > 0
        samples.append(Sample((condition, *s.args), note=s.note))
    return [
        *samples,
        Sample((draw((2, 1), 7) > 0, draw((3,), 8), 0), note="the condition broadcasts; a number if it fails"),
        Sample((draw((4, 3), 7) > 0, 0, draw((3,), 8)), note="a number if it holds"),
        Sample((True, draw((2, 3), 8), draw((3,), 9)), note="a condition that is one truth value"),
    ]


def _choose(condition: Any, x: Any, y: Any) -> Any:
    chosen: Any = np.where(condition, x, y)
    return chosen[()]


where = Primitive(
    name="where",
    forward=_choose,
    infer=_infer_where,
    vjps=(
        NO_GRADIENT,
        lambda ct, out, condition, x, y: keep(condition, ct),
        lambda ct, out, condition, x, y: keep(np.logical_not(condition), ct),
    ),
    broadcasts=True,
    finite_slope=True,
    spell=call("np.where"),
    text="({1} where {0}, else {2})",
    latex=r"\begin{{cases}} {1} & \text{{if }} {0} \\ {2} & \text{{else}} \end{{cases}}",
    flow=("", "{ct} where {0}, else 0", "0 where {0}, else {ct}"),
    latex_flow=("", r"{ct} \odot {0}", r"{ct} \odot (1 - {0})"),
    samples=_where_samples,
)


def keep(condition: Any, ct: Any) -> Any:
    """Return ``np.where(condition, ct, 0)``: 0 where the condition is false, whatever ct is there, NaN or ∞."""
    if isinstance(ct, Traced) or isinstance(condition, Traced) or dtype_of(condition).kind != "b":
        return np.where(condition, ct, 0)
    number = everywhere(ct)
    if number is not None and type(condition) is np.ndarray and condition.shape == np.shape(ct) and np.isfinite(number):
        kept = np.asarray(condition, dtype_of(ct))  # below a sum one number comes back to every place
        return kept if number == 1 else kept * number
    product = ct * condition  # several times as fast as np.where, and the same unless ∞ or NaN is multiplied by 0
    return np.where(condition, ct, 0) if np.isnan(np.sum(product)) else product
