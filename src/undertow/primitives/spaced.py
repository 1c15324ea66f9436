"""Evenly spaced numbers between traced ends, powers in columns and polynomials."""

from __future__ import annotations

from typing import Any

import numpy as np

from undertow.graph import Spec, broadcast_shapes
from undertow.primitives.record import (
    Code,
    Primitive,
    Sample,
    Traced,
    answers,
    dtype_of,
    refuse,
    shape_of,
)
from undertow.primitives.reduce import sum_
from undertow.primitives.reduction import cast, fixed_size
from undertow.primitives.sampling import draw
from undertow.primitives.shape import expand_dims


def _steps(num: int, endpoint: bool) -> Any:
    """Return how far along each number is, from 0 to 1."""
    return np.arange(num) / max(num - 1 if endpoint else num, 1)


def _spaced_dtype(start: Spec, stop: Spec) -> np.dtype[Any]:
    """Return the dtype that NumPy gives evenly spaced numbers between such ends."""
    one = [1.0 if s.weak else np.ones((1,) * s.ndim, s.dtype)[()] for s in (start, stop)]
    return np.asarray(np.linspace(one[0], one[1], 2)).dtype


def _infer_spaced(start: Spec, stop: Spec, num: int, endpoint: bool, axis: int) -> Spec:
    shape = broadcast_shapes(start.shape, stop.shape)
    return Spec((*shape[:axis], num, *shape[axis:]), _spaced_dtype(start, stop))


def _spaced_back(position: int, ct: Any, out: Any, start: Any, stop: Any, num: int, endpoint: bool, axis: int) -> Any:
    """Give each end its share: the first 1 − t of it, the last t."""
    share = _steps(num, endpoint)
    share = share if position else 1 - share
    share = share.astype(dtype_of(ct)).reshape(-1, *[1] * (len(shape_of(ct)) - axis - 1))
    return sum_(ct * share, axis=(axis,), keepdims=False)


def _spell_spaced(start: Code, stop: Code, *, num: int, endpoint: bool, axis: int, **_: Any) -> Code:
    rest = f"{'' if endpoint else ', endpoint=False'}{f', axis={axis}' if axis else ''}"
    return Code(f"np.linspace({start.text}, {stop.text}, {num}{rest})")


linspace = Primitive(
    name="linspace",
    forward=lambda start, stop, num, endpoint, axis: np.linspace(start, stop, num, endpoint, axis=axis),
    infer=_infer_spaced,
    vjps=_spaced_back,
    spell=_spell_spaced,
    text="evenly from {0} to {1}",
    latex=r"\operatorname{{linspace}}({0}, {1})",
    flow=("Σ {ct} ⊙ (1 − t)", "Σ {ct} ⊙ t"),
    latex_flow=(r"\textstyle\sum {ct} \odot (1 - t)", r"\textstyle\sum {ct} \odot t"),
    samples=lambda: [
        Sample((draw(a, 91), draw(b, 92)), {"num": num, "endpoint": endpoint, "axis": axis})
        for a, b, num, endpoint, axis in (
            ((), (), 5, True, 0), ((), (), 4, False, 0), ((3,), (), 3, True, 1), ((2, 1), (3,), 4, True, 0),
            ((2,), (2,), 1, True, 0), ((), (), 0, True, 0), ((2, 3), (2, 3), 3, True, 1),
        )
    ],
)  # fmt: skip


def _spaced_calls(positive: bool = False) -> list[Sample]:
    a, b = draw((3,), 91, positive=positive), draw((3,), 92, positive=positive) + 2
    return [
        Sample((np.array(0.5), np.array(2.0)), {}),
        Sample((np.array(0.5), 3.0, 5), {}),
        Sample((1, np.array(2.5)), {"num": 4, "endpoint": False}),
        Sample((a, b, 4), {}),
        Sample((a, b, 3), {"axis": -1}),
        Sample((a, 5.0, 1), {}),
    ]


def _number_of(num: Any) -> int:
    return int(num.__index__())


@answers(
    np.linspace,
    samples=lambda: [
        *_spaced_calls(),
        Sample((np.array([0.5]), np.array([2.0]), 4, True, True), {}, "the step too"),
        Sample((np.array([0.5]), np.array([2.0]), 4), {"dtype": np.float64}),
    ],
)
def _linspace(
    start: Any,
    stop: Any,
    num: Any = 50,
    endpoint: bool = True,
    retstep: bool = False,
    dtype: Any = None,
    axis: int = 0,
    *,
    device: Any = None,
) -> Any:
    num, ndim = _number_of(num), len(broadcast_shapes(shape_of(start), shape_of(stop)))
    if dtype is not None and np.dtype(dtype).kind != "f":
        refuse("np.linspace", dtype=dtype)
    result = cast(linspace(start, stop, num=num, endpoint=bool(endpoint), axis=axis % (ndim + 1)), dtype)
    parts = num - 1 if endpoint else num
    if not retstep:
        return result
    return result, (np.subtract(stop, start) / parts if parts > 0 else np.subtract(stop, start) * np.nan)


@answers(
    np.logspace,
    samples=lambda: [*_spaced_calls(), Sample((np.array(0.5), np.array(2.0), 4, True, 2.0), {}, "another base")],
)
def _logspace(
    start: Any, stop: Any, num: Any = 50, endpoint: bool = True, base: Any = 10.0, dtype: Any = None, axis: int = 0
) -> Any:
    if len(shape_of(base)):
        refuse("np.logspace", base=base)
    result = np.power(base, _linspace(start, stop, num, endpoint, axis=axis))
    return cast(result, dtype)


@answers(
    np.geomspace,
    samples=lambda: [
        *(Sample(tuple(np.atleast_1d(x) if isinstance(x, np.ndarray) else x for x in s.args), s.params)
          for s in _spaced_calls(positive=True)),
        Sample((np.array([-1.0]), np.array([-8.0]), 4), {}, "both ends negative"),
    ],
)  # fmt: skip
def _geomspace(start: Any, stop: Any, num: Any = 50, endpoint: bool = True, dtype: Any = None, axis: int = 0) -> Any:
    start, stop = (cast(x, np.float64) for x in (start, stop))  # NumPy's result is float64, whatever the ends are
    num, ratio = _number_of(num), stop / start
    shape: Any = broadcast_shapes(shape_of(start), shape_of(stop))
    at = axis % (len(shape) + 1)
    steps = _steps(num, endpoint).reshape(-1, *[1] * (len(shape) - at))
    if len(shape):
        start, ratio = (expand_dims(np.broadcast_to(x, shape), axis=(at,)) for x in (start, ratio))
    return cast(start * ratio**steps, dtype)


# ---- powers and polynomials ----------------------------------------------------------------------


@answers(
    np.vander,
    samples=lambda: [
        Sample((draw((3,), 93),), {}),
        Sample((np.array([0.0, 1.5, -2.0]), 4), {}, "0 ** 0 is 1"),
        Sample((draw((2,), 93), 3, True), {}),
        Sample((draw((2,), 93),), {"N": 0}),
    ],
)
def _vander(x: Any, N: int | None = None, increasing: bool = False) -> Any:
    count = fixed_size(shape_of(x), 0, "np.vander") if N is None else N
    x = cast(x, np.promote_types(dtype_of(x), np.int64))
    powers = np.arange(count).astype(dtype_of(x))
    return expand_dims(x, axis=(1,)) ** (powers if increasing else powers[::-1].copy())


@answers(
    np.polyval,
    samples=lambda: [
        Sample((np.array([2.0, -1.0, 0.5]), draw((2, 3), 94)), {}),
        Sample(([1.0, 2.0], draw((3,), 94)), {}),
        Sample((np.array([2.0, -1.0, 0.5]), 1.5), {}),
    ],
)
def _polyval(p: Any, x: Any) -> Any:
    p = p if isinstance(p, Traced) else np.asarray(p)
    value: Any = np.zeros_like(x)
    for i in range(fixed_size(shape_of(p), 0, "np.polyval")):
        value = value * x + p[i]
    return value
