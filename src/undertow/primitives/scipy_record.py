"""What the records of SciPy's ufuncs share: how they are written, and positive samples."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from undertow.primitives.elementwise import elementwise
from undertow.primitives.record import Kink, Primitive, Sample, Vjp
from undertow.primitives.sampling import draw, unary_samples
from undertow.primitives.trigonometric import inside_one


def positive() -> list[Sample]:
    """Positive samples."""
    return unary_samples(positive=True)


def unit_interval() -> list[Sample]:
    """Samples between 0 and 1."""
    return [Sample((np.asarray(0.5 + 0.5 * s.args[0]),), note=s.note) for s in inside_one()[:-1]]


def pairs() -> list[Sample]:
    """Positive pairs that broadcast."""
    return [
        Sample((draw((2, 1), 2, positive=True), draw((3,), 3, positive=True)), note="a column and a row"),
        Sample((draw((), 2, positive=True), draw((2, 3), 3, positive=True)), note="a 0-d array and a matrix"),
        Sample((draw((2, 3), 4, positive=True), 1.5), note="a matrix and a number"),
    ]


def with_repeats(samples: list[Sample]) -> list[Sample]:
    """Add samples in which one argument meets two of each of the others: its gradient is a sum then.

    Orders, given as numbers, are repeated as integers: there is no derivative by them.
    """
    first = next((s for s in samples if len(s.args) > 1 and np.broadcast_shapes(*map(np.shape, s.args))), None)
    if first is None:
        return samples
    shape = np.broadcast_shapes(*map(np.shape, first.args))
    more = []
    for i, own in enumerate(first.args):
        if not isinstance(own, np.ndarray):
            continue
        args = [
            np.broadcast_to(x if isinstance(x, np.ndarray) else np.array(max(1, round(x))), (2, *shape)).copy()
            for x in first.args
        ]
        args[i] = np.broadcast_to(own, shape).copy()
        more.append(Sample(tuple(args), first.params, f"argument {i + 1} is repeated"))
    return [*samples, *more]


def special_function(
    ufunc: np.ufunc,
    *vjps: Vjp,
    text: str = "",
    latex: str = "",
    flow: tuple[str, ...] = (),
    samples: Callable[[], list[Sample]] = unary_samples,
    kinks: tuple[Kink, ...] = (),
    source: str = "",
    finite_slope: bool = False,
) -> Primitive:
    """Make the record of a ufunc of ``scipy.special``, called by its name wherever no other words are given."""
    name = ufunc.__name__.lstrip("_")  # one of them is private behind a Python function
    arguments = ", ".join(f"{{{i}}}" for i in range(ufunc.nin))
    roman = name.replace("_", r"\_")
    return elementwise(
        ufunc,
        *vjps,
        name=f"scipy_{name}",
        module="scipy.special",
        text=text or f"{name}({arguments})",
        latex=latex or rf"\operatorname{{{{{roman}}}}}({arguments})",
        flow=flow,
        samples=lambda: with_repeats(samples()),
        kinks=kinks,
        finite_slope=finite_slope,
        source=source or f"scipy.special.{name}",
    )
