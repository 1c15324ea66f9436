"""Arrays that share memory in NumPy: a write to one of them is seen by all.

A tracer that NumPy would make a view remembers what it is a view of. When the array it belongs to is written
to, it is read from it anew at its next use; a write to the view is put back into the array it views, and so
on up to the owner of the memory. All of this is functional: nodes never change, tracers get other nodes.

NumPy makes ``reshape`` a view where the memory allows, else a copy. Where it is not known which of the two,
a write that would tell them apart is an error.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from undertow import primitives as P
from undertow.errors import InPlaceError
from undertow.graph import CONSTANT, INPUT, Node, resolve, total
from undertow.primitives.einsum import einsum_diagonal, spread
from undertow.primitives.template import put_together
from undertow.trace.where import user_line

_REDUCTIONS: Final = frozenset(("sum", "mean", "max", "min", "prod", "logsumexp"))  # of all axes: a NumPy scalar
_KEEP_ORDER: Final = frozenset(("index_update", "identity", "astype", "stop_gradient", "expand_dims", "squeeze"))
_BATCH: Final = 7  # stands for the batch size where memory is thought through; no other size follows from it


class Memory:
    """What an array and its views share: how often it was written to, and how it lies in memory.

    Attributes:
        first: the node that the owner was before the first write, or another that lies in memory as it does.
        version: the number of writes.
        row_by_row: it is certain that the elements lie row by row.
    """

    __slots__ = ("_layout", "first", "row_by_row", "version")

    def __init__(self, first: Node) -> None:
        self.first = first
        self.version = 0
        self.row_by_row = False
        self._layout: Any = ()

    @property
    def layout(self) -> Any:
        """An array of bytes that lies in memory as the owner does in NumPy; None where that is not known."""
        if isinstance(self._layout, tuple):
            shape = resolve(self.first.spec.shape, {"m": _BATCH})
            self._layout = np.empty(shape, np.uint8) if self.row_by_row else _layout_of(self.first)
        return self._layout


class View:
    """How a tracer follows from the one that it views.

    Attributes:
        base: that tracer; None for one that may be read no more.
        op, picks, params: the operation; ``picks`` are its inputs besides the base.
        memory: the owner's.
        seen: the version of the memory that the tracer's node belongs to.
        sure: it is a view; None where it may be a copy.
    """

    __slots__ = ("base", "memory", "op", "params", "picks", "seen", "sure")

    def __init__(
        self, base: Any, op: P.Primitive, picks: tuple[Any, ...], params: dict[str, Any], sure: bool | None
    ) -> None:
        self.base = base
        self.op = op
        self.picks = picks
        self.params = params
        self.sure = sure
        self.memory: Memory = base._memory
        self.seen = self.memory.version


UNSURE: Final = Memory(Node(CONSTANT, (), {}, P.spec_of(0.0), 0.0))  # of what may be a number or a 0-d array


def is_number(tracer: Any) -> bool | None:
    """Tell whether NumPy has a number here, which no write changes, rather than a 0-d array; None where unknown."""
    node = tracer._node
    if node.spec.shape or tracer._view is not None or tracer._memory is UNSURE:
        return None if tracer._memory is UNSURE else False
    if node.spec.weak:
        return True
    if node.op is INPUT or node.op is CONSTANT:
        return tracer._memory is None if node.value is None else not isinstance(node.value, np.ndarray)
    op = node.op
    if op is P.getitem or op.name in _REDUCTIONS or (op.numpy and op is not P.identity):
        return True
    return None


def connect(tracer: Any, base: Any, op: P.Primitive, picks: tuple[Any, ...], params: dict[str, Any]) -> None:
    """Make a new tracer a view of its first argument, if NumPy would."""
    sure: bool | None = True
    if op is P.getitem:
        if not tracer._node.spec.shape or any(type(entry) is bool for entry in params["index"]):
            return  # a number, a copy
        for pick in picks:
            number = False if P.shape_of(pick) or not isinstance(pick, P.Traced) else is_number(pick)
            if number is False:
                return  # a copy, as for every array of positions
            sure = sure and number
    if base._view is None and not base._node.spec.shape:
        number = is_number(base)
        if number:
            return
        sure = None if number is None else sure
    if base._memory is None or base._memory is UNSURE:
        base._memory = Memory(base._node)
    if op is P.reshape:
        shares = _reshape_shares(base, params["shape"])
        if shares is False:
            return
        sure = sure and shares
    view = View(base, op, picks, params, sure)
    tracer._view, tracer._memory = view, view.memory


def lie_like(tracer: Any, prototype: Any) -> None:
    """Note that an array made by ``np.zeros_like`` and kin lies in memory as the one that it is made like."""
    if tracer._memory is None and tracer._view is None:
        old, new = prototype._node.spec.shape, tracer._node.spec.shape
        if old == new:
            tracer._memory = Memory(prototype._node)
        elif len(old) != len(new):
            tracer._memory = Memory(tracer._node)
            tracer._memory.row_by_row = True


def show_as_array(part: Any, base: Any) -> None:
    """Make an element that was asked for with an ellipsis, ``x[0, ...]``, the view that it is: a 0-d array."""
    node = part._node
    if node.op is P.getitem and len(node.inputs) == 1 and not any(type(e) is bool for e in node.params["index"]):
        if base._memory is None or base._memory is UNSURE:
            base._memory = Memory(base._node)
        view = View(base, P.getitem, (), node.params, True)
        part._view, part._memory = view, view.memory


def count_as_array(tracer: Any) -> None:
    """Note that an argument is a 0-d array, and no number, although its shape does not tell."""
    tracer._memory = Memory(tracer._node)


def refresh(tracer: Any) -> None:
    """Read a view anew from an array that was written to."""
    stale = []
    while tracer._view is not None and tracer._view.seen != tracer._view.memory.version:
        if tracer._view.base is None:
            raise InPlaceError(
                f"{user_line()}: this 0-d array was changed in place by +=, *= or the like under another name; whether "
                f"NumPy changes it here too depends on its kind. Write s = s + v instead of s += v."
            )
        stale.append(tracer)
        tracer = tracer._view.base
    for view in reversed(stale):
        own = view._view
        _be_sure(own)
        new = own.base.bind(own.op, (own.base, *own.picks), own.params)
        view._node = new._node
        own.seen = own.memory.version


def write(tracer: Any, new: Any) -> None:
    """Give an array a new value of the same shape and dtype, and with it the arrays that it is a view of."""
    chain = [
        (tracer, _laid_out_like(tracer._node, new.node))
    ]  # nodes, not tracers: x[:] = x[::-1] writes a view of x, which is stale in a moment
    while tracer._view is not None:
        view = tracer._view
        _be_sure(view)
        new = _put_back(view, new)
        tracer = view.base
        chain.append((tracer, _laid_out_like(tracer._node, new.node)))
    if tracer._memory is None or tracer._memory is UNSURE:
        tracer._memory = Memory(tracer._node)
    memory = tracer._memory
    memory.version += 1
    for changed, node in chain:
        changed._node = node
        if changed._view is not None:
            changed._view.seen = memory.version


def _laid_out_like(old: Node, new: Node) -> Node:
    """Return a node whose value lies in memory in the order of another's, as what is written into an array does."""
    if old.spec.ndim < 2 or old.value is None or new.value is None or _order(old.value) == _order(new.value):
        return new
    node = Node(P.identity, (new,), {}, new.spec)
    order = _order(old.value)
    value = np.empty([np.shape(new.value)[axis] for axis in order], new.spec.dtype)
    node.value = value.transpose([order.index(axis) for axis in range(len(order))])
    node.value[...] = new.value
    return node


def _order(value: Any) -> list[int]:
    """Return the axes from the one with the longest steps in memory to the one with the shortest."""
    return sorted(range(value.ndim), key=lambda axis: (-abs(value.strides[axis]), axis))


def forbid(tracer: Any) -> None:
    """Make a tracer one that may be read no more: who reads it cannot know what NumPy would have there."""
    memory = Memory(tracer._node)
    tracer._memory = memory
    tracer._view = View(tracer, P.identity, (), {}, None)
    tracer._view.base = None
    memory.version += 1


def _put_back(view: View, new: Any) -> Any:
    """Return the base with a new value where the view is.

    Raises:
        InPlaceError: such a view is read-only in NumPy.
    """
    base = view.base
    if view.op is P.getitem:
        return base.bind(P.index_update, (base, new, *view.picks), view.params)
    if view.op is einsum_diagonal:
        return _put_on_diagonal(base, new, view.params["subscripts"])
    if total(new.spec.shape) != total(base.spec.shape) or not isinstance(view.op.vjps, tuple):
        raise InPlaceError(
            f"{user_line()}: what {view.op.name} returns is a read-only view in NumPy. Write to a copy of it, "
            f".copy(), or to the array itself."
        )
    rule: Any = view.op.vjps[0]
    return rule(new, new, base, **view.params)  # it shows each element once: its transpose is its inverse


def _put_on_diagonal(base: Any, new: Any, subscripts: str) -> Any:
    """Return the base with a new value on the diagonal that ``np.einsum("ii->i", base)`` shows."""
    inside, _, outside = subscripts.partition("->")
    order = tuple(outside.index(letter) for letter in dict.fromkeys(inside))
    new = P.transpose(new, axes=order)
    there = spread(np.ones_like(new), subscripts=inside, shape=P.shape_of(base)) != 0
    return np.where(there, spread(new, subscripts=inside, shape=P.shape_of(base)), base)


def _be_sure(view: View) -> None:
    """Find out whether it is a view after all.

    Raises:
        InPlaceError: it is not known.
    """
    if view.sure:
        return
    shares = _reshape_shares(view.base, view.params["shape"], late=True) if view.op is P.reshape else None
    if not shares:
        raise InPlaceError(
            f"{user_line()}: whether NumPy makes a view or a copy here (reshape, ravel of an array that is not known "
            f"to lie row by row in memory) decides what this write changes. Take a copy with .copy() after the "
            f"reshape, or write to the array itself, x[i] = v."
        )
    view.sure = True


def _reshape_shares(base: Any, shape: Any, late: bool = False) -> bool | None:
    """Tell whether NumPy's reshape makes a view (True) or a copy (False) of this array; None where unknown."""
    owner = base._view is None
    first = base._memory.first
    if owner and first.spec.ndim <= 1:
        return True
    if first.value is None and not late:
        return None  # it costs a walk through the graph: only who writes pays for it
    layout = _layout(base)
    if layout is None:
        return None
    result = layout.reshape(resolve(shape, {"m": _BATCH}))
    if result.size and not np.may_share_memory(result, layout):
        return False
    # np.ravel copies what has gaps, .reshape(-1) does not; they cannot be told apart here
    return None if result.ndim == 1 and not layout.flags.c_contiguous else True


def _layout(tracer: Any) -> Any:
    """Return an array of bytes that lies in memory as this tracer would in NumPy; None where that is not known."""
    chain = []
    while tracer._view is not None:
        chain.append(tracer._view)
        tracer = tracer._view.base
    layout = tracer._memory.layout
    for view in reversed(chain):
        if layout is None or view.picks or view.sure is None:
            return None
        if view.op is P.getitem:
            layout = layout[(*put_together(view.params["index"], ()), ...)]
        else:
            layout = view.op.forward(
                layout, **{key: resolve(value, {"m": _BATCH}) for key, value in view.params.items()}
            )
    return layout


def _layout_of(node: Node) -> Any:
    """Lay bytes out as NumPy lays out a result: by the strides of its value, or row by row if all it comes from is."""
    if node.spec.weak:
        return np.empty((), np.uint8)
    if node.value is not None:
        strides = np.asarray(node.value).strides
        if any(step <= 0 and size > 1 for step, size in zip(strides, np.shape(node.value), strict=True)):
            return None  # a number repeated, whose array NumPy would write out
        order = _order(node.value)
        layout = np.empty([np.shape(node.value)[axis] for axis in order], np.uint8)
        return layout.transpose([order.index(axis) for axis in range(len(order))])
    return np.empty(resolve(node.spec.shape, {"m": _BATCH}), np.uint8) if _lies_row_by_row(node) else None


def _lies_row_by_row(node: Node) -> bool:
    """Tell whether it is certain that a result lies row by row, if the arguments of the function do."""
    stack, seen = [node], {node}
    while stack:
        node = stack.pop()
        if node.spec.ndim < 2 or node.op is INPUT:
            continue
        if node.op is CONSTANT:
            if not node.value.flags.c_contiguous:
                return False
            continue
        op: Any = node.op
        elementwise = bool(op.numpy) and op is not P.matmul
        picked = op is P.getitem and len(node.inputs) == 1
        if not (elementwise or picked or op is P.reshape or op.name in _KEEP_ORDER):
            return False
        for x in node.inputs if elementwise else node.inputs[:1]:
            if x not in seen:
                seen.add(x)
                stack.append(x)
    return True
