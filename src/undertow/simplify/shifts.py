"""Which shifts of scores cancel without hiding that a value is not finite."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from undertow import primitives as P
from undertow.graph import CONSTANT, Node
from undertow.simplify.engine import constant_along, number

# What is finite where its inputs are, unless it overflows, and NaN where one that it reads is.
_FINITE = frozenset((P.max_, P.min_, P.mean_, P.sum_, P.logsumexp, P.maximum, P.minimum, P.add, P.subtract, P.multiply,
                     P.negative, P.absolute, P.getitem, P.transpose, P.reshape, P.squeeze, P.expand_dims,
                     P.broadcast_to, P.stop_gradient, P.identity))  # fmt: skip
_MOVES = (P.transpose, P.reshape, P.squeeze, P.expand_dims, P.negative, P.identity)
_SCALES = (P.add, P.subtract, P.multiply, P.divide)
_DEEPEST = 12


def cancels(c: Node, z: Node, shape: Sequence[Any], axis: tuple[int, ...]) -> bool:
    """Tell whether a shift c of z drops out along these axes, as the largest of z does.

    It is constant along them. And it is made of z and finite numbers alone: of anything else it might be NaN or
    infinite where z is not, which the result would no longer tell.

    Args:
        c: what is subtracted or added.
        z: from what.
        shape: of the result.
        axis: along which the result does not change by a constant.
    """
    return constant_along(c, shape, axis) and _made_of(c, _origins(z), _DEEPEST)


def _origins(z: Node) -> set[Node]:
    """Return z and what it is a moved or scaled form of: as the largest of z.T is written of z."""
    found = {z}
    while True:
        if z.op in _MOVES or (z.op in _SCALES and number(z.inputs[1]) is not None):
            z = z.inputs[0]
        elif z.op in _SCALES[:3] and number(z.inputs[0]) is not None:
            z = z.inputs[1]
        else:
            return found
        found.add(z)


def _made_of(c: Node, origins: set[Node], deepest: int) -> bool:
    """Tell whether a value is finite where the origins are."""
    if c in origins:
        return True
    if c.op is CONSTANT:
        return c.spec.dtype.kind in "biuf" and bool(np.all(np.isfinite(c.value)))
    if deepest == 0 or not c.inputs:
        return False
    if c.op is P.divide:
        by = number(c.inputs[1])
        return by is not None and by != 0 and np.isfinite(by) and _made_of(c.inputs[0], origins, deepest - 1)
    return c.op in _FINITE and all(_made_of(x, origins, deepest - 1) for x in c.inputs)
