"""Print a graph for people, and check that it is one."""

from __future__ import annotations

from typing import Any

import numpy as np

from undertow.errors import GraphError
from undertow.graph.node import CONSTANT, INPUT, Graph, Node
from undertow.graph.spec import Dim, show_shape


def label_nodes(graph: Graph) -> dict[Node, str]:
    """Give every node a name of its own: the user's where there is one, else t1, t2, … in order."""
    labels: dict[Node, str] = {}
    taken: set[str] = set()
    number = 0
    for node in graph.nodes:
        label = node.name or (f"d{node.ct_of}" if node.ct_of else None)
        if node.op is CONSTANT and not label:
            label = show_constant(node.value)
        elif label is None or label in taken:
            number += 1
            label = f"t{number}"
        labels[node] = label
        taken.add(label)
    return labels


def show_constant(value: Any) -> str:
    """Print a constant: a number as it is, an array by its shape and dtype."""
    if np.ndim(value) == 0:
        return repr(value.item() if hasattr(value, "item") else value)
    return f"<{value.dtype} {show_shape(np.shape(value))}>"


def show(graph: Graph) -> str:
    """Print a graph, a node a line: name, operation, shape, dtype, and the user's line; the backward pass set apart."""
    labels = label_nodes(graph)
    rows: list[tuple[str, str, str]] = []
    gap: int | None = None
    for node in graph.nodes:
        if node.op in (INPUT, CONSTANT):
            continue
        if node.backward and gap is None:
            gap = len(rows)
        shown = [
            f"{key}={show_param(value)}"
            for key, value in node.params.items()
            if value is not None and value is not False
        ]
        call = f"{node.op.name}({', '.join([*(labels[x] for x in node.inputs), *shown])})"
        rows.append((f"{labels[node]} = {call}", show_shape(node.spec.shape), f"{node.spec.dtype}  {node.line or ''}"))
    wide = max((len(row[0]) for row in rows), default=0)
    middle = max((len(row[1]) for row in rows), default=0)
    head = ", ".join(f"{labels[x]}: {x.spec.dtype} {show_shape(x.spec.shape)}" for x in graph.inputs)
    body = [f"    {a:<{wide}}  {b:<{middle}}  {c}".rstrip() for a, b, c in rows]
    if gap:
        body.insert(gap, "")
    return "\n".join([f"{graph.title}({head})", *body, f"    return {', '.join(labels[x] for x in graph.outputs)}"])


def show_param(value: Any) -> str:
    """Print a parameter of an operation."""
    if isinstance(value, np.dtype):
        return str(value)
    if isinstance(value, tuple) and all(isinstance(size, int | Dim) and not isinstance(size, bool) for size in value):
        return show_shape(value)
    return str(value)


def verify(graph: Graph) -> Graph:
    """Check a graph's invariants and return it; the tests run this after every pass.

    Raises:
        GraphError: a node is used before it is made, has another shape or dtype than its operation
            gives, has an unhashable parameter, or is an argument that the graph does not have.
    """
    made: set[Node] = set()
    for node in graph.nodes:
        missing = [x for x in node.inputs if x not in made]
        if missing:
            raise GraphError(f"{node} reads {missing[0]} before it is made")
        if node in made:
            raise GraphError(f"{node} is made twice")
        made.add(node)
        if node.op is INPUT:
            if node not in graph.inputs:
                raise GraphError(f"{node} is an argument of another graph")
        elif node.op is CONSTANT:
            if np.shape(node.value) != node.spec.shape:
                raise GraphError(f"{node} holds a value of shape {np.shape(node.value)}")
        else:
            try:
                hash(tuple(node.params.items()))
            except TypeError as error:
                raise GraphError(f"{node} has a parameter that cannot be hashed: {node.params}") from error
            spec = node.op.infer(*[x.spec for x in node.inputs], **node.params)
            if (spec.shape, spec.dtype) != (node.spec.shape, node.spec.dtype):
                raise GraphError(f"{node} should be {spec}")
    absent = [node for node in graph.outputs if node not in made]
    if absent:
        raise GraphError(f"the output {absent[0]} is not among the nodes")
    return graph
