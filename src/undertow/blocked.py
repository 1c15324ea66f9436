"""Zero cotangents that must stay zero: those of the branches that `where` did not take.

The chain rule gives such a branch a cotangent of 0, and 0 times the slope of log at 0 would be NaN. While
cotangents flow back, this keeps where each of them can be anything but zero.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from undertow import primitives as P
from undertow.graph import Node
from undertow.primitives.reduce import any_

# The gradient of a sum, a view, … only moves elements around: what is blocked moves with them.
_MOVING = (P.sum_, P.mean_, P.broadcast_to, P.expand_dims, P.reshape, P.transpose, P.squeeze)


class Blocked:
    """For each value below a `where`, the elements that its cotangent may reach."""

    def __init__(self) -> None:
        self.open: dict[Node, Any] = {}  # a mask that broadcasts to the node's shape; None: all of it

    def guard(self, node: Node, position: int, share: Any, args: list[Any]) -> Any:
        """Take note of what flows from a node to one input, and hold back what is not a number there."""
        mask, x = self.open.get(node), node.inputs[position]
        if node.op is P.where:
            taken = args[0] if position == 1 else np.logical_not(args[0])
            self._note(x, node, taken if mask is None else np.logical_and(mask, taken))
            return share
        if mask is None:
            self._note(x, node, None)
            return share
        op: Any = node.op
        if op in _MOVING:
            moved = op.rule(position)(P.astype(mask_of(mask, node), dtype=node.spec.dtype), None, *args, **node.params)
            self._note(x, node, moved != 0, moved=True)
            return share
        if not op.elementwise:
            self._note(x, node, None)
            return share
        self._note(x, node, mask)
        return share if op.finite_slope else np.where(mask, share, 0)

    def _note(self, x: Node, node: Node, mask: Any, moved: bool = False) -> None:
        """Add the elements that one use of a value reaches to those of the other uses."""
        if mask is not None and not moved and x.spec.shape != node.spec.shape:
            mask = _reduce(mask_of(mask, node), len(node.spec.shape), x.spec.shape)
        if x in self.open:
            before = self.open[x]
            mask = None if before is None or mask is None else np.logical_or(before, mask)
        self.open[x] = mask


def mask_of(mask: Any, node: Node) -> Any:
    """Bring a mask to the shape of its node."""
    return mask if P.shape_of(mask) == node.spec.shape else P.broadcast_to(mask, shape=node.spec.shape)


def _reduce(mask: Any, ndim: int, shape: Any) -> Any:
    """Tell of each element of an operand that was repeated whether any of its copies is reached."""
    new = ndim - len(shape)
    grown = tuple(i for i, size in enumerate(shape) if size == 1 and P.shape_of(mask)[i + new] != 1)
    if new:
        mask = any_(mask, axis=tuple(range(new)), keepdims=False)
    return any_(mask, axis=grown, keepdims=True) if grown else mask
