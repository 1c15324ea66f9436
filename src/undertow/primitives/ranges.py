"""Numbers at even steps: linspace, logspace, geomspace, and the powers of numbers (vander)."""

from __future__ import annotations

from typing import Any

import numpy as np

from undertow.errors import ShapeError
from undertow.graph import Spec, broadcast_shapes, show_shape
from undertow.primitives.axes import leading_axes
from undertow.primitives.record import Code, Primitive, Sample, Traced, answers, dtype_of, float_like, refuse, shape_of
from undertow.primitives.sampling import calls, draw
from undertow.primitives.shape import _expand_dims, astype, real_dtype


def _infer(start: Spec, stop: Spec, num: int, endpoint: bool, axis: int) -> Spec:
    shape = broadcast_shapes(start.shape, stop.shape)
    dtype = np.result_type(*[0.0 if x.weak else x.dtype for x in (start, stop)])
    return Spec((*shape[:axis], num, *shape[axis:]), float_like(dtype))


def _share(ct: Any, rising: bool, num: int, endpoint: bool, axis: int) -> Any:
    """Add up a cotangent with weights that rise from 0 to 1, or fall from 1 to 0."""
    zero, one = dtype_of(ct).type(0), dtype_of(ct).type(1)
    ends = (zero, one) if rising else (one, zero)
    params = {"num": num, "endpoint": endpoint, "axis": 0}
    weights = ct.bind(linspace, ends, params) if isinstance(ct, Traced) else linspace(*ends, **params)
    after = len(shape_of(ct)) - axis - 1
    return np.sum(ct * (_expand_dims(weights, tuple(range(1, after + 1))) if after else weights), axis=axis)


def _spell(start: Code, stop: Code, *, num: int, endpoint: bool, axis: int, **_: Any) -> Code:
    tail = f"{'' if endpoint else ', endpoint=False'}{f', axis={axis}' if axis else ''}"
    return Code(f"np.linspace({start.text}, {stop.text}, {num}{tail})")


def _samples() -> list[Sample]:
    made = []
    for a, b, num, endpoint, axis in (
        ((), (), 5, True, 0), ((), (), 4, False, 0), ((), (), 1, True, 0), ((), (), 1, False, 0), ((), (), 0, True, 0),
        ((3,), (), 4, True, 0), ((3,), (2, 1), 3, True, 1), ((2, 3), (3,), 3, False, 2), ((1,), (1,), 2, True, 1),
    ):  # fmt: skip
        made.append(Sample((draw(a, 1), draw(b, 2)), {"num": num, "endpoint": endpoint, "axis": axis}))
    return made


linspace: Primitive = Primitive(
    name="linspace",
    forward=lambda start, stop, num, endpoint, axis: np.linspace(start, stop, num, endpoint, axis=axis),
    infer=_infer,
    vjps=(
        lambda ct, out, start, stop, **how: _share(ct, False, **how),
        lambda ct, out, start, stop, **how: _share(ct, True, **how),
    ),
    spell=_spell,
    text="from {0} to {1}",
    latex=r"{0} \ldots {1}",
    flow=("Σ {ct} with weights falling from 1 to 0", "Σ {ct} with weights rising from 0 to 1"),
    latex_flow=(r"\sum (1 - t) {ct}", r"\sum t {ct}"),
    samples=_samples,
)


def _calls(positive: bool = False) -> list[Sample]:
    a, b = draw((), 1, positive=True), draw((), 2, positive=True)
    v, w = draw((3,), 3, positive=True), draw((2, 1), 4, positive=True)
    made = [
        Sample((a, b), {"num": 4}),
        Sample((a, b, 3, False)),
        Sample((v, b, 3), {"axis": -1}),
        Sample((v, w, 3), {"axis": 1}),
        Sample((1.5, v, 2)),
        Sample((a, 2, 1)),
        Sample((a, b, 5), {"dtype": np.float64}),
    ]
    return made if positive else [*made, Sample((a, b, 4), {"retstep": True})]


@answers(np.linspace, samples=_calls)
def _linspace(
    start: Any, stop: Any, num: int = 50, endpoint: bool = True, retstep: bool = False, dtype: Any = None,
    axis: int = 0, *, device: Any = None,
) -> Any:  # fmt: skip
    num = num.__index__()
    ndim = max(len(shape_of(start)), len(shape_of(stop))) + 1
    if num < 0 or not -ndim <= axis < ndim:
        raise ShapeError(f"np.linspace: num={num} along axis {axis} of {ndim} is not possible.")
    line = linspace(start, stop, num=num, endpoint=bool(endpoint), axis=axis % ndim)
    line = line if dtype is None else _as_floats("np.linspace", line, dtype)
    gaps = num - 1 if endpoint else num
    return (line, (stop - start) / gaps if gaps > 0 else np.nan) if retstep else line


def _as_floats(function: str, x: Any, dtype: Any) -> Any:
    wanted = real_dtype(dtype)
    refuse(function, dtype=None if wanted.kind == "f" else dtype)
    return astype(x, dtype=wanted)


@answers(
    np.logspace,
    samples=lambda: [
        *_calls(positive=True),
        Sample((draw((2,), 1), draw((2,), 2), 3), {"base": draw((2,), 3, positive=True), "axis": 1}),
        Sample((draw((), 1), draw((), 2), 3), {"base": 2.0}),
    ],
)
def _logspace(
    start: Any, stop: Any, num: int = 50, endpoint: bool = True, base: Any = 10.0, dtype: Any = None, axis: int = 0
) -> Any:
    if shape_of(base):  # then it says, like the ends, how many axes there are
        ndim = max(len(shape_of(x)) for x in (start, stop, base))
        start, stop, base = (leading_axes(x, ndim) for x in (start, stop, base))
        base = _expand_dims(base, axis)
    result = np.power(base, np.linspace(start, stop, num, endpoint, axis=axis))
    return result if dtype is None else _as_floats("np.logspace", result, dtype)


@answers(np.geomspace, samples=lambda: [*_calls(positive=True), Sample((-draw((), 1, positive=True), -3.0, 4))])
def _geomspace(start: Any, stop: Any, num: int = 50, endpoint: bool = True, dtype: Any = None, axis: int = 0) -> Any:
    start, stop = (np.multiply(x, np.float64(1)) for x in (start, stop))  # NumPy computes it in float64 always
    line = np.exp(np.linspace(np.log(np.abs(start)), np.log(np.abs(stop)), num, endpoint, axis=axis))
    signs = np.sign(start)
    if shape_of(signs):
        signs = _expand_dims(signs, axis)
    result = signs * line
    return result if dtype is None else _as_floats("np.geomspace", result, dtype)


@answers(np.vander, samples=calls(((3,),), ((3,), 4), ((3,), 2, True), ((2,), {"N": 1}), ((2,), 0), ((1,),)))
def _vander(x: Any, N: int | None = None, increasing: bool = False) -> Any:
    shape = shape_of(x)
    if len(shape) != 1:
        raise ShapeError(f"np.vander takes a vector, not an array of shape {show_shape(shape)}.")
    count = int(shape[0]) if N is None else N.__index__()  # type: ignore[arg-type]
    powers = np.arange(count) if increasing else np.arange(count)[::-1]
    return x[:, None] ** powers
