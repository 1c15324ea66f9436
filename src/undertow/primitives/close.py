"""Questions of equality and closeness, of single elements and of whole arrays: they have no derivative."""

from __future__ import annotations

from typing import Any

import numpy as np

from undertow.errors import ShapeError, UnsupportedError
from undertow.graph import Dim, NeedsConcreteSize, broadcast_shapes
from undertow.primitives.record import NO_GRADIENT, Code, Primitive, Sample, answers, infer_ufunc, shape_of
from undertow.primitives.sampling import binary_samples, draw, unary_samples

_DEFAULTS = {"rtol": 1e-05, "atol": 1e-08, "equal_nan": False}


def _spell(x: Code, y: Code, **options: Any) -> Code:
    changed = [f"{name}={options[name]!r}" for name, value in _DEFAULTS.items() if options[name] != value]
    return Code(f"np.isclose({', '.join([x.text, y.text, *changed])})")


_isclose = Primitive(
    name="isclose",
    forward=lambda x, y, **options: np.isclose(x, y, **options),
    infer=lambda x, y, **_: infer_ufunc(np.equal)(x, y),
    vjps=(NO_GRADIENT, NO_GRADIENT),
    broadcasts=True,
    spell=_spell,
    text="[{0} ≈ {1}]",
    latex=r"[{0} \approx {1}]",
    samples=lambda: [Sample(s.args, options) for s in _pairs() for options in (_DEFAULTS, {**_DEFAULTS, "rtol": 0.1})],
)


def _pairs() -> list[Sample]:
    x = np.array([1.0, 2.0, np.inf, np.nan])
    return [*binary_samples()[:5], Sample((x, np.array([1.0 + 1e-9, 2.1, np.inf, np.nan])), note="close, far, ∞, NaN")]


def _close_samples() -> list[Sample]:
    pairs = _pairs()
    return [
        *[Sample(s.args) for s in pairs],
        Sample(pairs[-1].args, {"equal_nan": True}, "NaN equals NaN"),
        Sample(pairs[-1].args, {"rtol": 0.0, "atol": 0.5}, "an absolute tolerance"),
    ]


@answers(np.isclose, samples=_close_samples)
def isclose(a: Any, b: Any, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> Any:
    """Answer ``np.isclose``."""
    if not isinstance(rtol, int | float) or not isinstance(atol, int | float):
        raise UnsupportedError(
            "np.isclose(..., rtol=..., atol=...) is traced with numbers only. Compare by np.abs(a - b)."
        )
    return _isclose(a, b, rtol=float(rtol), atol=float(atol), equal_nan=bool(equal_nan))


@answers(np.allclose, samples=_close_samples)
def _allclose(a: Any, b: Any, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> Any:
    return np.all(isclose(a, b, rtol, atol, equal_nan))


def _same_sizes(a: tuple[Any, ...], b: tuple[Any, ...]) -> bool:
    """Tell whether two shapes are equal; a size with a name is equal to itself, and needs its number for more."""
    if len(a) == len(b):
        for x, y in zip(a, b, strict=True):
            if x != y and (isinstance(x, Dim) or isinstance(y, Dim)):
                raise NeedsConcreteSize(f"whether {x} and {y} are equal depends on the batch size")
    return a == b


@answers(
    np.array_equal,
    samples=lambda: [
        Sample((draw((3,), 1), draw((3,), 1))),
        Sample((draw((3,), 1), draw((2, 3), 2)), note="other shapes"),
        Sample((np.array([1.0, np.nan]), np.array([1.0, np.nan])), {"equal_nan": True}, "NaN equals NaN"),
    ],
)
def _array_equal(a1: Any, a2: Any, equal_nan: bool = False) -> Any:
    if not _same_sizes(shape_of(a1), shape_of(a2)):
        return False
    same = np.equal(a1, a2)
    return np.all(np.logical_or(same, np.logical_and(np.isnan(a1), np.isnan(a2))) if equal_nan else same)


@answers(
    np.array_equiv,
    samples=lambda: [
        Sample((draw((3,), 1), np.stack([draw((3,), 1)] * 2)), note="equal rows"),
        Sample((draw((3,), 1), draw((2,), 2)), note="shapes that do not fit"),
    ],
)
def _array_equiv(a1: Any, a2: Any) -> Any:
    try:
        broadcast_shapes(shape_of(a1), shape_of(a2))
    except ShapeError:
        return False
    return np.all(np.equal(a1, a2))


def _infinite_samples() -> list[Sample]:
    return [*unary_samples(), Sample((np.array([np.inf, -np.inf, np.nan, 0.0]),), note="infinities and NaN")]


@answers(np.isposinf, samples=_infinite_samples)
def _isposinf(x: Any) -> Any:
    return np.equal(x, np.inf)


@answers(np.isneginf, samples=_infinite_samples)
def _isneginf(x: Any) -> Any:
    return np.equal(x, -np.inf)


@answers(np.isreal, samples=unary_samples)
def _isreal(x: Any) -> Any:
    return np.ones_like(x, dtype=bool)


@answers(np.iscomplex, samples=unary_samples)
def _iscomplex(x: Any) -> Any:
    return np.zeros_like(x, dtype=bool)


@answers(np.isrealobj, samples=lambda: [Sample((draw((3,), 1),))])
def _isrealobj(x: Any) -> bool:
    return True


@answers(np.iscomplexobj, samples=lambda: [Sample((draw((3,), 1),))])
def _iscomplexobj(x: Any) -> bool:
    return False
