"""Angles unwrapped: every jump is a whole number of turns, so the derivative is that of the angles themselves."""

from __future__ import annotations

from typing import Any

import numpy as np

from undertow.graph import Spec
from undertow.primitives.record import Code, Kink, Primitive, Sample, answers, dtype_of
from undertow.primitives.reduction import axis_of
from undertow.primitives.sampling import draw
from undertow.primitives.shape import astype


def _spell(p: Code, *, discont: float | None, axis: int, period: float, ndim: int, **_: Any) -> Code:
    options = [f"discont={discont!r}"] if discont is not None else []
    options += [f"axis={axis}"] if axis != ndim - 1 else []
    options += [f"period={period!r}"] if period != 2 * np.pi else []
    return Code(f"np.unwrap({', '.join([p.text, *options])})")


_unwrap = Primitive(
    name="unwrap",
    forward=np.unwrap,
    infer=lambda p, period, **_: Spec(p.shape, np.result_type(p.dtype, period)),
    vjps=(lambda ct, out, p, **_: ct,),
    finite_slope=True,
    spell=_spell,
    text="unwrap({0})",
    latex=r"\operatorname{{unwrap}}({0})",
    flow=("{ct}",),
    latex_flow=("{ct}",),
    kinks=(
        Kink(
            ([0.0, 1.0, 2.0],), ([1.0, 1.0, 1.0],), "between its jumps it adds a constant",
            {"discont": None, "axis": 0, "period": 2.0},
        ),
    ),
    samples=lambda: [
        Sample((4 * draw((5,), 1),), {"discont": None, "axis": 0, "period": 2 * np.pi}),
        Sample((4 * draw((2, 3), 1),), {"discont": 4.0, "axis": 1, "period": 2 * np.pi}),
        Sample((4 * draw((3, 2), 1),), {"discont": None, "axis": 0, "period": 1.0}),
    ],
)  # fmt: skip


@answers(
    np.unwrap,
    samples=lambda: [
        Sample((4 * draw((5,), 1),)),
        Sample((4 * draw((3, 4), 1),), {"axis": 0}, "along the first axis"),
        Sample((4 * draw((3, 4), 1),), {"period": 1.0}, "another period"),
        Sample((4 * draw((5,), 1), 4.0), note="larger jumps only"),
        Sample((4 * draw((5,), 1),), {"period": 3}, "a whole period"),
        Sample((4 * draw((5,), 1),), {"period": np.int64(3)}, "a period with a type"),
    ],
    kinks=(Kink(([0.0, 2.0, 4.0],), ([1.0, 1.0, 1.0],), "between its jumps it adds a constant", {"period": 4.0}),),
)
def _answer_unwrap(p: Any, discont: Any = None, axis: int = -1, *, period: Any = 2 * np.pi) -> Any:
    at = axis_of("np.unwrap", p, axis)
    if isinstance(period, np.ndarray) and not period.ndim:
        period = period[()]
    dtype, typed = dtype_of(p), isinstance(period, np.generic)
    unsigned = dtype.kind in "bu" or isinstance(period, np.unsignedinteger)
    if unsigned or (typed and np.result_type(dtype, period) != dtype):
        return _by_steps(p, period / 2 if discont is None else discont, at, period)
    whole = isinstance(period, int | np.integer)  # whole numbers then stay whole
    turn = int(period) if whole else float(period)
    return _unwrap(p, discont=None if discont is None else float(discont), axis=at, period=turn)


def _by_steps(p: Any, discont: Any, axis: int, period: Any) -> Any:
    """Unwrap as NumPy does, step after step, where a type decides what wraps around: of angles, or of the period."""
    steps = np.diff(p, axis=axis)
    dtype = np.result_type(dtype_of(steps), period)
    high, odd = divmod(period, 2) if dtype.kind in "iu" else (period / 2, 0)
    with np.errstate(over="ignore"):  # NumPy's low end of a period without a sign wraps around
        low = -high
    turned = np.remainder(steps - low, period) + low
    if not odd:  # half a turn is one forwards
        turned = np.where((turned == low) & (steps > 0), np.asarray(high).astype(dtype_of(turned)), turned)
    more = np.where(np.abs(steps) < discont, np.zeros((), dtype_of(turned)), turned - steps)
    first, rest = np.split(p, [1], axis=axis)
    return np.concatenate([astype(first, dtype=dtype), astype(rest + np.cumsum(more, axis=axis), dtype=dtype)], axis)
