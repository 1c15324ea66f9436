"""Zero cotangents that must stay zero: those of the branches that `where` did not take, and of what sums leave out.

The chain rule gives such a branch a cotangent of 0, and 0 times the slope of log at 0 would be NaN. While
cotangents flow back, this keeps where each of them can be anything but zero. What a reduction leaves out, NaN or by
``where=``, is blocked like a branch.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from undertow import primitives as P
from undertow.graph import Node
from undertow.primitives.compare import keep
from undertow.primitives.reduce import any_
from undertow.primitives.reduction import expand

# The gradient of a sum, a view, … only moves elements around and adds them up: what is blocked moves with them.
_MOVING = frozenset((
    "sum", "mean", "broadcast_to", "expand_dims", "reshape", "transpose", "squeeze", "getitem", "index_add",
    "concatenate", "astype", "roll", "flip", "rot90", "tile", "repeat", "cumsum", "diagonal", "put_diagonal", "trace",
    "tril", "triu", "delete", "sliding_windows", "add_windows",
))  # fmt: skip
_PASS_OVER_NAN = frozenset(("nansum", "nanprod", "nanmean", "nanvar", "nanstd", "nanmax", "nanmin", "nan_to_num"))


def leaves_out(node: Node) -> bool:
    """Tell whether a node gives some elements of its inputs a cotangent of zero, whatever they are."""
    return node.op is P.where or node.op.name in _PASS_OVER_NAN or "where" in node.params.get("options", ())


def _takes_part(node: Node, args: list[Any]) -> Any:
    """The elements of the first input of a reduction that it does not leave out; None: all of them."""
    options = node.params.get("options", ())
    mask = args[1 + options.index("where")] if "where" in options else None
    if node.op.name not in _PASS_OVER_NAN:
        return mask
    number = np.isfinite(args[0]) if node.op.name == "nan_to_num" else np.logical_not(np.isnan(args[0]))
    return number if mask is None else np.logical_and(number, mask)


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
        taken = _takes_part(node, args) if position == 0 and leaves_out(node) else None
        if taken is not None:
            reach = None if mask is None else _reach(node, position, mask_of(mask, node))
            self._note(x, node, taken if reach is None else np.logical_and(reach, taken), moved=True)
            return share if reach is None else keep(reach, share)
        if mask is None:
            self._note(x, node, None)
            return share
        op: Any = node.op
        if op.elementwise:
            self._note(x, node, mask)
            return share if op.finite_slope else keep(mask, share)
        if op.name in _MOVING:
            ones = P.astype(mask_of(mask, node), dtype=node.spec.dtype)
            moved = op.rule(position)(ones, None, *args, **node.params)
            self._note(x, node, moved != 0, moved=True)
            return share
        reach = _reach(node, position, mask_of(mask, node))
        self._note(x, node, reach, moved=True)
        # A product is 0 where its cotangent is, and the rest of it where the other factor is not a number.
        return share if reach is None or op is P.matmul else keep(reach, share)

    def _note(self, x: Node, node: Node, mask: Any, moved: bool = False) -> None:
        """Add the elements that one use of a value reaches to those of the other uses."""
        if mask is not None and not moved and x.spec.shape != node.spec.shape:
            mask = _reduce(mask_of(mask, node), len(node.spec.shape), x.spec.shape)
        if x in self.open:
            before = self.open[x]
            mask = None if before is None or mask is None else np.logical_or(before, mask)
        self.open[x] = mask


def _reach(node: Node, position: int, mask: Any) -> Any:
    """Tell which elements of an input the open elements of a result may come from; None: any of them.

    Along the axes of a reduction, a softmax or a sort each may come from each. Of other operations it is known
    only whether the result is open at all.
    """
    x = node.inputs[position]
    if node.op is P.matmul:
        if position or x.spec.ndim < 2 or node.spec.ndim < 1:
            return None
        rows = mask if node.inputs[1].spec.ndim == 1 else any_(mask, axis=(mask.ndim - 1,), keepdims=False)
        return _to(P.expand_dims(rows, axis=(P.spec_of(rows).ndim,)), x) if rows.ndim == x.spec.ndim - 1 else None
    axis = node.params.get("axis")
    if position == 0 and isinstance(axis, int | tuple) and not isinstance(axis, bool):
        axes = (axis,) if isinstance(axis, int) else axis
        found = None
        if node.spec.ndim == x.spec.ndim:
            found = any_(mask, axis=axes, keepdims=True)
        elif node.spec.ndim == x.spec.ndim - len(axes):
            found = expand(mask, axes, False)
        if found is not None and _fits(P.shape_of(found), x.spec.shape):
            return _to(found, x)
    return _to(np.any(mask), x)


def _fits(shape: Any, wanted: Any) -> bool:
    """Tell whether a shape broadcasts to another."""
    return all(n in (1, own) for n, own in zip(reversed(shape), reversed(wanted), strict=False))


def _to(mask: Any, x: Node) -> Any:
    return P.broadcast_to(mask, shape=x.spec.shape)


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
