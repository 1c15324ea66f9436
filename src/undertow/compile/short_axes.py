"""Arrays of all pairs with a few coordinates in their last axis, ``p[:, None] - p``: coordinates go first.

Of rows of three numbers a vector holds little, and sums over them are many. Where everything that large arrays of such
rows are made of is small, or has one number a row, they are computed with their short axes in front: vectors run along
the long ones, and a sum over coordinates adds whole vectors. Small operands are copied so that they lie that way, too.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from undertow import primitives as P
from undertow.compile.access import REDUCTIONS
from undertow.compile.parts import readers_of
from undertow.compile.scalars import SCALARS
from undertow.compile.statistics import is_statistics
from undertow.graph import CONSTANT, Graph, Node, Spec
from undertow.trace import Tracer

SHORT = 8  # an axis of fewer elements fills no vector
FEW = 16  # elements of all short axes: so many passes over the long ones there may be
LONG = 32  # the axis that vectors run along then
SHARE = 8  # what is copied to lie the other way is less than this part of one of the arrays


def turn_short_axes(graph: Graph, trace: Any) -> Graph:
    """Bring the short last axes of large arrays to the front, where that is cheap.

    Args:
        graph: made by `expand`.
        trace: makes a trace in which nodes stand for another.

    Returns:
        A graph of the same inputs and outputs.
    """
    chosen = _choose(graph)
    return Turning(graph, chosen, trace).graph() if chosen else graph


def _choose(graph: Graph) -> set[Node]:
    """Find the nodes whose values lie the other way."""
    users = readers_of(graph)
    chosen: set[Node] = set()
    for group in _groups(graph, users):
        copied, short = _cost(group, users)
        if short and copied * SHARE <= _size(group[0]):
            chosen.update(group)
    return chosen


def _shape(node: Node) -> tuple[int, ...]:
    shape: Any = node.spec.shape
    return tuple(shape)


def _size(node: Node) -> int:
    return math.prod(_shape(node))


def count_short(shape: tuple[int, ...]) -> int:
    """Return how many axes at the end are short: 0 unless those before them fill vectors."""
    count = 0
    while count < len(shape) and shape[-1 - count] < SHORT and math.prod(shape[-1 - count :]) <= FEW:
        count += 1
    leads = shape[: len(shape) - count]
    return count if leads and leads[-1] >= LONG and math.prod(shape[len(leads) :]) > 1 else 0


def _groups(graph: Graph, users: dict[Node, list[Node]]) -> Iterator[list[Node]]:
    """Give what is computed element by element of arrays of one shape, those together that read each other."""
    left = {x for x in graph.nodes if _is_by_element(x) and count_short(_shape(x))}
    for first in graph.nodes:
        if first not in left:
            continue
        left.remove(first)
        group = [first]
        for node in group:
            near = [x for x in (*node.inputs, *users.get(node, ())) if x in left and _shape(x) == _shape(first)]
            left.difference_update(near)
            group.extend(dict.fromkeys(near))
        yield group


def _is_by_element(node: Node) -> bool:
    op: Any = node.op
    return op is P.broadcast_to or op.name in SCALARS


def _cost(group: list[Node], users: dict[Node, list[Node]]) -> tuple[int, bool]:
    """Return how many numbers would be copied, and whether short axes matter: whether rows are more than numbers."""
    inside, shape = set(group), _shape(group[0])
    count = count_short(shape)
    copied, short = 0, False
    for x in {x for node in group for x in node.inputs} - inside:
        short |= _shape(x) != shape and _size(x) > 1
        if x.op is not CONSTANT and any(n != 1 for n in _shape(x)[-count:]):
            copied += _size(x)
    for node in group:
        for user in set(users.get(node, ())) - (inside - {node}):
            op: Any = user.op
            if user is not node and op.name in REDUCTIONS:
                short |= any(i % len(shape) >= len(shape) - count for i in user.params["axis"])
            elif not (user is not node and is_statistics(user)):  # whether anybody looks on must not matter
                copied += _size(node)
    return copied, short


class Turning:
    """Writes a graph once more.

    Args:
        graph: made by `expand`.
        chosen: the nodes whose values lie the other way.
        trace: makes a trace in which nodes stand for another.
    """

    def __init__(self, graph: Graph, chosen: set[Node], trace: Any) -> None:
        self.old, self.chosen, self.trace = graph, chosen, trace
        self.moved: dict[Node, Node] = {}  # as they were
        self.turned: dict[tuple[Node, int, int], Node] = {}  # the other way, by how many axes there are and are short

    def graph(self) -> Graph:
        """Return the graph."""
        for node in self.old.nodes:
            if node in self.chosen:
                self.turn(node)
            elif any(x in self.chosen for x in node.inputs) and node.op.name in REDUCTIONS:
                self.moved[node] = self.reduce(node)
            else:
                inputs = tuple([self.as_it_was(x) for x in node.inputs])
                self.moved[node] = node if inputs == node.inputs else _like(node, inputs, node.params, node.spec)
        outputs = tuple([self.as_it_was(x) for x in self.old.outputs])
        return Graph(self.old.inputs, outputs, title=self.old.title)

    def turn(self, node: Node) -> None:
        """Compute a chosen node's value the other way round."""
        shape = _shape(node)
        n, count = len(shape), count_short(shape)
        new = _to_front(shape, count)
        inputs = tuple([self.turn_operand(x, n, count) for x in node.inputs])
        params = {**node.params, "shape": new} if node.op is P.broadcast_to else node.params
        spec = Spec(new, node.spec.dtype, node.spec.weak)
        self.turned[node, n, count] = _like(node, inputs, params, spec)

    def turn_operand(self, x: Node, n: int, count: int) -> Node:
        """Return what a chosen node reads, of ``n`` axes of which ``count`` are short, the other way round."""
        shape = _shape(x)
        if not shape:
            return self.moved[x]
        key = x, n, count
        if key not in self.turned:
            full = (*[1] * (n - len(shape)), *shape)
            new, order = _to_front(full, count), _to_front(tuple(range(n)), count)
            if x.op is CONSTANT:
                value = np.ascontiguousarray(np.reshape(x.value, full).transpose(order))
                self.turned[key] = Node(CONSTANT, (), {}, Spec(new, x.spec.dtype, x.spec.weak), value)
                return self.turned[key]
            now: Any = Tracer(self.as_it_was(x), self.trace(x))
            if len(shape) < n:
                now = P.reshape(now, shape=full)
            now = P.transpose(now, axes=order)
            if any(size != 1 for size in new[:count]):
                now = P.concatenate(now, axis=0)  # a copy, which lies as it is read
            self.turned[key] = now.node
        return self.turned[key]

    def reduce(self, node: Node) -> Node:
        """Reduce a chosen node's value."""
        (x,) = node.inputs
        shape = _shape(x)
        n, count = len(shape), count_short(shape)
        order = _to_front(tuple(range(n)), count)  # by place, the axis that stands there
        gone = {i % n for i in node.params["axis"]}
        at = self.trace(node)
        params = {**node.params, "axis": tuple([place for place, i in enumerate(order) if i in gone])}
        op: Any = node.op
        found = op(Tracer(self.turned[x, n, count], at), **params)
        left = order if node.params.get("keepdims") else [i for i in order if i not in gone]
        back = tuple(np.argsort(left).tolist())
        return (P.transpose(found, axes=back) if back != tuple(range(len(back))) else found).node

    def as_it_was(self, x: Node) -> Node:
        """Return a value with its axes where they were."""
        if x not in self.moved:
            shape = _shape(x)
            n, count = len(shape), count_short(shape)
            now: Any = Tracer(self.turned[x, n, count], self.trace(x))
            self.moved[x] = P.transpose(now, axes=(*range(count, n), *range(count))).node
        return self.moved[x]


def _to_front(axes: tuple[int, ...], count: int) -> tuple[int, ...]:
    """Bring the last ones to the front."""
    cut = len(axes) - count
    return axes[cut:] + axes[:cut]


def _like(node: Node, inputs: tuple[Node, ...], params: dict[str, Any], spec: Spec) -> Node:
    """Return an operation with what is told of another one."""
    new = Node(node.op, inputs, params, spec, node.value)
    new.line, new.name, new.backward = node.line, node.name, node.backward
    return new
