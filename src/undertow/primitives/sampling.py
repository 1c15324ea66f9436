"""Sample inputs that many records share: every shape that a rule can get wrong, both signs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from undertow.primitives.record import Sample

_PAIRS = (
    ((), (), "two numbers"),
    ((3,), (), "a vector and a 0-d array"),
    ((2, 3), (3,), "a matrix and a row"),
    ((2, 3), (2, 1), "a matrix and a column"),
    ((2, 1), (1, 3), "a column and a row"),
    ((1,), (2, 3), "size 1 against a matrix"),
    ((2, 1, 3), (4, 1), "both grow"),
    ((0, 3), (3,), "an empty axis"),
)


def draw(shape: tuple[int, ...], seed: int, *, positive: bool = False, away_from_zero: bool = False) -> Any:
    """Draw float64 numbers of both signs, in [0.2, 2] by size if ``away_from_zero``, no two alike."""
    random = np.random.default_rng([seed, *shape])
    x = random.uniform(0.2, 2.0, shape) if positive or away_from_zero else random.normal(size=shape)
    return np.asarray(x if positive or not away_from_zero else x * random.choice([-1.0, 1.0], shape))


def unary_samples(**how: Any) -> list[Sample]:
    """Return samples for an element-wise function of one argument."""
    shapes: list[tuple[int, ...]] = [(), (1,), (3,), (2, 3), (2, 0)]
    return [Sample((draw(shape, 1, **how),), note=f"shape {shape}") for shape in shapes]


def binary_samples(**how: Any) -> list[Sample]:
    """Return samples for an element-wise function of two arguments, broadcasting both ways."""
    samples = [Sample((draw(a, 2, **how), draw(b, 3, **how)), note=note) for a, b, note in _PAIRS]
    samples.append(Sample((draw((2, 3), 4, **how), 1.5), note="a matrix and a Python number"))
    samples.append(Sample((1.5, draw((2, 3), 5, **how)), note="a Python number and a matrix"))
    return samples


def calls(*cases: Any) -> Callable[[], list[Sample]]:
    """Make samples from short rows: the shape of the array, further arguments, a dict of keyword arguments.

    A list in place of the shape is a list of shapes, whose arrays are passed as one list.
    """

    def samples() -> list[Sample]:
        made = []
        for shape, *rest in cases:
            params = rest.pop() if rest and isinstance(rest[-1], dict) else {}
            first = [draw(s, i) for i, s in enumerate(shape)] if isinstance(shape, list) else draw(shape, 1)
            made.append(Sample((first, *rest), params))
        return made

    return samples
