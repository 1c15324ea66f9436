"""Gradients of parts that do not overlap, put side by side: instead of each among zeros, and all of them added up.

Of ``z[:, :n]``, ``z[:, n:2n]``, … each has a cotangent as large as z, mostly zeros, and their sum passes over them all.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from undertow import primitives as P
from undertow.compile.repeats import again
from undertow.compile.rewriting import filled
from undertow.graph import Graph, Node
from undertow.primitives.index import Slice
from undertow.trace import Tracer
from undertow.trace.tracer import Trace


class Part(NamedTuple):
    """Where a value among zeros stands: along one axis from ``start`` to ``stop``; an axis that it lacks is ``new``."""

    axis: int
    start: int
    stop: int
    new: bool


class Joined(NamedTuple):
    """Parts along one axis that do not overlap, from first to last."""

    members: tuple[Node, ...]
    places: tuple[Part, ...]


def join_parts(graph: Graph, trace: Any) -> Graph:
    """Put parts that are added up side by side, where that gives the same sums.

    Args:
        graph: made by `expand`.
        trace: makes a trace in which nodes stand for another.

    Returns:
        A graph of the same inputs and outputs.
    """
    joined, dropped = _plan(graph)
    if not joined:
        return graph
    moved: dict[Node, Node | None] = dict.fromkeys(dropped)

    def needs(node: Node) -> tuple[Node, ...]:
        return tuple([x.inputs[0] for x in joined[node].members]) if node in joined else node.inputs

    for node in _in_order(graph, needs, dropped):
        if node in joined:
            moved[node] = _side_by_side(node, joined[node], moved, trace(node))
            continue
        inputs = [moved[x] for x in node.inputs]
        kept = [x for x in inputs if x is not None]
        if len(kept) < len(inputs):
            moved[node] = kept[0] if kept else None
        else:
            moved[node] = node if inputs == list(node.inputs) else again(node, tuple(kept))
    outputs = [moved[x] for x in graph.outputs]
    return Graph(graph.inputs, tuple(x for x in outputs if x is not None), title=graph.title)


def _plan(graph: Graph) -> tuple[dict[Node, Joined], set[Node]]:
    """Find what is joined: by the part in whose place all of them come; and the parts that are then gone."""
    users = readers_of(graph)
    joined: dict[Node, Joined] = {}
    dropped: set[Node] = set()
    for node in sums_of(graph, users):
        by_axis: dict[int, list[tuple[Part, Node]]] = {}
        for leaf in leaves_of(node, users):
            part = _part_of(leaf)
            if part is not None and len(users[leaf]) == 1:
                by_axis.setdefault(part.axis, []).append((part, leaf))
        most = max(by_axis.values(), key=len, default=[])
        chosen = _apart(most)
        if len(chosen) > 1:
            first = most[0][1] if most[0] in chosen else chosen[0][1]
            joined[first] = Joined(tuple([x for _, x in chosen]), tuple([part for part, _ in chosen]))
            dropped.update(x for _, x in chosen if x is not first)
    return joined, dropped


def readers_of(graph: Graph) -> dict[Node, list[Node]]:
    """What reads each value; an output reads itself."""
    users: dict[Node, list[Node]] = {}
    for node in graph.nodes:
        for x in node.inputs:
            users.setdefault(x, []).append(node)
    for x in graph.outputs:
        users.setdefault(x, []).append(x)
    return users


def sums_of(graph: Graph, users: dict[Node, list[Node]]) -> list[Node]:
    """The sums that are no terms of others."""
    return [node for node in graph.nodes if node.op is P.add and not _goes_on(node, users)]


def _goes_on(node: Node, users: dict[Node, list[Node]]) -> bool:
    """Tell whether a sum is a term of one other sum alone."""
    using = users.get(node, [])
    return len(using) == 1 and using[0].op is P.add and using[0] is not node and using[0].spec == node.spec


def leaves_of(node: Node, users: dict[Node, list[Node]]) -> Iterator[Node]:
    """The terms of a sum, from left to right."""
    left = [node]
    while left:
        x = left.pop()
        if x is node or (x.op is P.add and x.spec == node.spec and _goes_on(x, users)):
            left += reversed(x.inputs)
        elif x.spec == node.spec:
            yield x


def _part_of(node: Node) -> Part | None:
    """Tell where a value among zeros stands; None for others."""
    if node.op is not P.index_add or len(node.inputs) != 1:
        return None
    shape: Any = node.spec.shape
    found = None
    for axis, entry in enumerate(node.params["index"]):
        if entry == Slice():
            continue
        if found is not None or isinstance(entry, bool) or not isinstance(entry, int | Slice):
            return None
        size = shape[axis]
        if isinstance(entry, int):
            found = Part(axis, entry % size, entry % size + 1, True)
        else:
            start, stop, step = slice(entry.start, entry.stop, entry.step).indices(size)
            if step != 1 or stop <= start:
                return None
            found = Part(axis, start, stop, False)
    return found


def _apart(parts: list[tuple[Part, Node]]) -> list[tuple[Part, Node]]:
    """Choose parts that do not overlap, in order."""
    chosen: list[tuple[Part, Node]] = []
    for part, node in sorted(parts, key=lambda each: (each[0].stop, each[0].start)):
        if not chosen or part.start >= chosen[-1][0].stop:
            chosen.append((part, node))
    return chosen


def _in_order(graph: Graph, needs: Any, dropped: set[Node]) -> Iterator[Node]:
    """The nodes of a graph, each behind what it needs."""
    seen = set(dropped)
    left = [(node, False) for node in reversed((*graph.inputs, *graph.outputs))]
    while left:
        node, ready = left.pop()
        if ready:
            yield node
        elif node not in seen:
            seen.add(node)
            left.append((node, True))
            left += [(x, False) for x in reversed(needs(node)) if x not in seen]


def _side_by_side(node: Node, parts: Joined, moved: dict[Node, Node | None], trace: Trace) -> Node:
    """Join the parts, and zeros where there is none."""
    shape: Any = node.spec.shape
    axis, at = parts.places[0].axis, 0
    pieces: list[Any] = []

    def of_length(n: int) -> tuple[int, ...]:
        return (*shape[:axis], n, *shape[axis + 1 :])

    for x, part in zip(parts.members, parts.places, strict=True):
        given: Any = Tracer(moved[x.inputs[0]], trace)  # type: ignore[arg-type]
        if part.new:
            rest = (*shape[:axis], *shape[axis + 1 :])
            given = given if given.shape == rest else P.broadcast_to(given, shape=rest)
            given = P.expand_dims(given, axis=(axis,))
        if given.dtype != node.spec.dtype:
            given = P.astype(given, dtype=node.spec.dtype)
        wanted = of_length(part.stop - part.start)
        given = given if given.shape == wanted else P.broadcast_to(given, shape=wanted)
        if part.start > at:
            pieces.append(filled(given, node.spec.dtype.type(0), of_length(part.start - at)))
        pieces.append(given)
        at = part.stop
    if at < shape[axis]:
        pieces.append(filled(pieces[-1], node.spec.dtype.type(0), of_length(shape[axis] - at)))
    made: Node = np.concatenate(pieces, axis=axis).node  # type: ignore[attr-defined]
    made.line, made.name = made.line or node.line, node.name
    return made
