"""Angles unwrapped: every jump is a whole number of turns, so the derivative is that of the angles themselves."""

from __future__ import annotations

from typing import Any

import numpy as np

from undertow.graph import Spec
from undertow.primitives.record import Code, Kink, Primitive, Sample, answers
from undertow.primitives.reduction import axis_of
from undertow.primitives.sampling import draw


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
    ],
    kinks=(Kink(([0.0, 2.0, 4.0],), ([1.0, 1.0, 1.0],), "between its jumps it adds a constant", {"period": 4.0}),),
)
def _answer_unwrap(p: Any, discont: Any = None, axis: int = -1, *, period: float = 2 * np.pi) -> Any:
    at = axis_of("np.unwrap", p, axis)
    whole = isinstance(period, int | np.integer)  # whole numbers then stay whole
    turn = int(period) if whole else float(period)
    return _unwrap(p, discont=None if discont is None else float(discont), axis=at, period=turn)
