"""What the records of element-wise functions share: NumPy's ufunc is the value, its promotion the shape rule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from undertow.primitives.record import (
    ZERO,
    Kink,
    Primitive,
    Sample,
    Spelling,
    Traced,
    Vjp,
    call,
    dtype_of,
    infer_ufunc,
    shape_of,
)
from undertow.primitives.sampling import unary_samples

Samples = Callable[[], list[Sample]]


def everywhere(x: Any) -> Any:
    """Return the number that a plain array is at each place, as a cotangent is below a sum; None if there is no one."""
    if type(x) is np.ndarray:
        return x[(0,) * x.ndim] if x.size and not any(x.strides) else None
    return None if isinstance(x, Traced) else x


def times(ct: Any, factor: Any) -> Any:
    """Return ``ct * factor``; of plain arrays the factor itself where ct is 1 everywhere, as it is below a sum.

    It is a view to read only, and nobody adds to a view or hands it out without a copy.
    """
    if type(factor) is not np.ndarray or everywhere(ct) != 1 or dtype_of(ct) != factor.dtype:
        return ct * factor
    if shape_of(ct) not in ((), factor.shape):
        return ct * factor
    one_times = factor.view()
    one_times.flags.writeable = False
    return one_times


def elementwise(
    ufunc: np.ufunc,
    *vjps: Vjp,
    text: str,
    latex: str,
    flow: tuple[str, ...] = (),
    latex_flow: tuple[str, ...] = (),
    name: str = "",
    spell: Spelling | None = None,
    samples: Samples = unary_samples,
    kinks: tuple[Kink, ...] = (),
    also: tuple[np.ufunc, ...] = (),
    tells_active: bool = False,
    finite_slope: bool = False,
    module: str = "np",
    source: str = "derived here",
) -> Primitive:
    """Make the record of a ufunc.

    Args:
        ufunc: the function; its name is the record's and its spelling unless told.
        vjps: a rule for each argument.
        text: as in the record, and so are the arguments below that are not mentioned.
        latex: the same.
        flow: the same.
        latex_flow: the same.
        name: of the record, where another one has the ufunc's.
        spell: how it is written, if not as a call.
        samples: makes the samples.
        kinks: its special points.
        also: other ufuncs that compute the same.
        tells_active: the rules take ``active``.
        finite_slope: a cotangent of 0 stays 0.
        module: where the ufunc is found.
        source: where the derivative is written down.
    """
    return Primitive(
        name=name or ufunc.__name__,
        forward=ufunc,
        infer=infer_ufunc(ufunc),
        vjps=vjps,
        broadcasts=True,
        tells_active=tells_active,
        finite_slope=finite_slope,
        spell=spell or call(f"{module}.{ufunc.__name__.lstrip('_')}"),
        text=text,
        latex=latex,
        flow=flow,
        latex_flow=latex_flow,
        kinks=kinks,
        samples=samples,
        numpy=(ufunc, *also),
        source=source,
    )


def steps(ufunc: np.ufunc, text: str, latex: str, samples: Samples, kinks: tuple[Kink, ...]) -> Primitive:
    """Make the record of a function that is constant between its jumps: its derivative is zero."""
    return elementwise(ufunc, *[ZERO] * ufunc.nin, text=text, latex=latex, samples=samples, kinks=kinks)


def shifted(samples: Samples, by: float) -> Samples:
    """Add a number to every float array of some samples."""

    def moved(x: Any) -> Any:
        return x + by if isinstance(x, np.ndarray) else x

    return lambda: [Sample(tuple(map(moved, s.args)), s.params, s.note) for s in samples()]
