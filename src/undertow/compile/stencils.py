"""Gradients of shifted parts that overlap: read out of one padded copy, instead of each from zeros of its own.

Of ``x[1:] - x[:-1]``, or the neighbours on a grid, the gradient by x is a sum of the same cotangent, times numbers, put
to several places among zeros. Each of these terms is a view of the cotangent with zeros around it. Numbers that are
arguments are taken to be finite: times one that is not, the zeros around are NaN.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from undertow import primitives as P
from undertow.compile.parts import leaves_of, readers_of, sums_of
from undertow.compile.repeats import again
from undertow.graph import CONSTANT, Graph, Node
from undertow.primitives.index import Slice
from undertow.trace import Tracer


class Shifted(NamedTuple):
    """A term: ``source`` times numbers, put among zeros at ``starts``; ``signs`` tells whether it is negative."""

    source: Node
    starts: tuple[int, ...]
    factors: tuple[Node, ...]
    negative: bool


class Margins(NamedTuple):
    """How a source is padded: where it begins along each axis, and the sizes of the whole."""

    before: tuple[int, ...]
    shape: tuple[int, ...]


def read_shifted(graph: Graph, trace: Any) -> Graph:
    """Let terms of sums that are the same values at several places be views of one padded copy.

    Args:
        graph: made by `expand`.
        trace: makes a trace in which nodes stand for another.

    Returns:
        A graph of the same inputs and outputs.
    """
    terms, margins = _plan(graph)
    if not terms:
        return graph
    moved: dict[Node, Node] = {}
    padded: dict[tuple[Node, Margins], Any] = {}
    for node in graph.nodes:
        term = terms.get(node)
        if term is None:
            inputs = tuple([moved[x] for x in node.inputs])
            moved[node] = node if inputs == node.inputs else again(node, inputs)
            continue
        margin = margins[node]
        at = trace(node)
        key = term.source, margin
        if key not in padded:
            index = tuple([Slice(b, b + n) for b, n in zip(margin.before, _shape(term.source), strict=True)])
            padded[key] = P.index_add(Tracer(moved[term.source], at), index=index, shape=margin.shape)
        starts = [b - s for b, s in zip(margin.before, term.starts, strict=True)]
        view = P.getitem(
            Tracer(padded[key].node, at),
            index=tuple([Slice(b, b + n) for b, n in zip(starts, _shape(node), strict=True)]),
        )
        for factor in term.factors:
            view = view * Tracer(moved[factor], at)
        moved[node] = (-view if term.negative else view).node
    return Graph(graph.inputs, tuple([moved[x] for x in graph.outputs]), title=graph.title)


def _shape(node: Node) -> tuple[int, ...]:
    shape: Any = node.spec.shape
    return tuple(shape)


def _plan(graph: Graph) -> tuple[dict[Node, Shifted], dict[Node, Margins]]:
    """Find the terms that are read out of a padded copy, and how that is padded."""
    users = readers_of(graph)
    terms: dict[Node, Shifted] = {}
    margins: dict[Node, Margins] = {}
    for node in sums_of(graph, users):
        alike: dict[Node, list[Node]] = {}
        for leaf in leaves_of(node, users):
            found = _shifted(leaf)
            if found is not None and len(users[leaf]) == 1:
                terms[leaf] = found
                alike.setdefault(found.source, []).append(leaf)
        for leaves in alike.values():
            starts = [terms[leaf].starts for leaf in leaves]
            before, first = (tuple(map(f, zip(*starts, strict=True))) for f in (max, min))
            sizes = _shape(terms[leaves[0]].source)
            if before == first or not _overlap(starts, sizes):  # one place, or `join_parts` puts them side by side
                for leaf in leaves:
                    del terms[leaf]
                continue
            whole = zip(before, first, _shape(node), strict=True)
            margin = Margins(before, tuple([b - f + n for b, f, n in whole]))
            margins.update(dict.fromkeys(leaves, margin))
    return terms, margins


def _overlap(starts: list[tuple[int, ...]], sizes: tuple[int, ...]) -> bool:
    """Tell whether two of several places of equal size have an element in common."""
    return any(all(abs(i - j) < n for i, j, n in zip(a, b, sizes, strict=True)) for a, b in combinations(starts, 2))


def _is_finite(number: Node) -> bool:
    """Tell whether zeros times a number are zeros, as far as the number is known."""
    return number.op is not CONSTANT or bool(np.isfinite(number.value))


def _shifted(node: Node) -> Shifted | None:
    """Tell which value, times which numbers, stands where among zeros; None for other terms."""
    if node.op is not P.index_add or len(node.inputs) != 1:
        return None
    source, factors, negative = node.inputs[0], [], False
    while source.op is P.negative or source.op is P.multiply:
        if source.op is P.negative:
            source, negative = source.inputs[0], not negative
            continue
        numbers = [x for x in source.inputs if x.spec.shape == () and (x.spec.weak or x.spec.dtype == node.spec.dtype)]
        others = [x for x in source.inputs if x.spec == source.spec]
        if len(numbers) != 1 or len(others) != 1 or not _is_finite(numbers[0]):
            break
        factors.append(numbers[0])
        source = others[0]
    shape, starts = _shape(node), []
    if source.spec.dtype != node.spec.dtype or source.spec.ndim != len(shape):
        return None
    index = (*node.params["index"], *[Slice()] * (len(shape) - len(node.params["index"])))
    if len(index) != len(shape) or not all(isinstance(entry, Slice) for entry in index):
        return None
    for entry, size, own in zip(index, shape, _shape(source), strict=True):
        start, stop, step = slice(entry.start, entry.stop, entry.step).indices(size)
        if step != 1 or stop - start != own or not own:
            return None
        starts.append(start)
    return Shifted(source, tuple(starts), tuple(factors), negative)
