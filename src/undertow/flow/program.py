"""What the program of a loss of one's own tells, whatever the numbers are: its outputs, its targets, its softmax."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from undertow.flow.ends import MOVES, are_shares
from undertow.graph import INPUT, Graph, Node

Array = NDArray[Any]
PRODUCTS: Final = ("matmul", "dot", "einsum", "tensordot", "inner", "vecdot")
SOFTMAX: Final = ("softmax", "log_softmax", "logsumexp")


def find_outputs(graph: Graph, params: Sequence[Node], seen: Sequence[tuple[str, int]]) -> list[str]:
    """Find the watched values that are outputs: whatever is made of them meets nothing more that is trained.

    What is one number, such as a penalty on the weights that is added to the loss, counts for nothing.

    Args:
        graph: the forward pass of a loss.
        params: the inputs that are trained.
        seen: the names of watched values, each with the number of its node.

    Returns:
        Their names, in the order of the forward pass.

    Source: derived here.

    Example:
        >>> from undertow.trace import trace_function
        >>> traced = trace_function(lambda V, W: np.sum(np.tanh(np.ones((2, 3)) @ V) @ W), (np.eye(3), np.eye(3)))
        >>> graph = traced.graph
        >>> hidden, output = (x.index for x in graph.nodes if getattr(x.op, "name", "") == "matmul")
        >>> find_outputs(graph, graph.inputs, [("hidden", hidden), ("output", output)])
        ['output']
    """
    nodes = [x for x in graph.nodes if x.op is not INPUT]
    trained = made_of(nodes, params)
    places = {x.index: x for x in nodes}
    found = []
    for name, index in seen:
        value = places.get(index)
        if value is None or value not in trained:
            continue
        made = made_of(nodes, [value])
        later = [x for x in nodes if x in made and x is not value and x.spec.shape]
        if all(made.issuperset(trained.intersection(x.inputs)) for x in later):
            found.append(name)
    return found


def find_targets(graph: Graph, params: Sequence[Node], given: Sequence[Node]) -> int | None:
    """Find which of the arrays that a loss is given holds the targets: the last one that no product brings to weights.

    A single number, such as the strength of a penalty, holds none. Where there are others, nor does what values are
    made of that meet weights later, such as a mask for hidden units.

    Args:
        graph: the forward pass of a loss.
        params: the inputs that are trained.
        given: the other inputs, in their order.

    Returns:
        Its place among those given; the last one where there is a single one; None where all are inputs of the network,
        as what a generator made is beside what is real.

    Source: derived here.
    """
    nodes = [x for x in graph.nodes if x.op is not INPUT]
    trained, fed = made_of(nodes, params), set[Node]()
    for node in nodes:
        if getattr(node.op, "name", "") in PRODUCTS and not trained.isdisjoint(node.inputs):
            fed.update(unmoved(x) for x in node.inputs)
    places = [i for i, x in enumerate(given) if x.spec.shape] or list(range(len(given)))
    if len(places) == 1:
        return places[0]
    found = [i for i in places if given[i] not in fed]
    late = [i for i in found if not _meets_weights(given[i], nodes, trained)]
    return next(reversed(late or found), None)


def _meets_weights(value: Node, nodes: Sequence[Node], trained: Collection[Node]) -> bool:
    """Whether a product brings what is made of a value to what is made of parameters, and not of it."""
    made = made_of(nodes, [value])
    products = (x for x in nodes if getattr(x.op, "name", "") in PRODUCTS and not made.isdisjoint(x.inputs))
    return any(x in trained and x not in made for node in products for x in node.inputs)


def find_inputs(graph: Graph, params: Sequence[Node], given: Sequence[Node]) -> int | None:
    """Find which of the arrays that a loss is given holds the inputs: the first one that meets weights in a product.

    Args:
        graph: the forward pass of a loss.
        params: the inputs that are trained.
        given: the other inputs, in their order.

    Returns:
        Its place among those given; None where none does as it is.

    Source: derived here.

    Example:
        >>> from undertow.trace import trace_function
        >>> f = lambda W, A, X: np.sum(A @ (X @ W))  # of a graph: A tells which examples are neighbours
        >>> graph = trace_function(f, (np.ones((2, 3)), np.eye(4), np.ones((4, 2)))).graph
        >>> find_inputs(graph, graph.inputs[:1], graph.inputs[1:])
        1
    """
    met = set[Node]()
    for node in graph.nodes:
        if getattr(node.op, "name", "") in PRODUCTS:
            origins = [unmoved(x) for x in node.inputs]
            met.update(origins if not set(params).isdisjoint(origins) else ())
    return next((i for i, x in enumerate(given) if x in met), None)


def softmax_over_examples(graph: Graph, params: Sequence[Node], given: Sequence[tuple[Node, Any]]) -> Any:
    """Find a softmax whose probabilities add up over the examples, though those of targets add up over the classes.

    Args:
        graph: the forward pass of a loss, simplified.
        params: the inputs that are trained.
        given: the other inputs, each with what it is.

    Returns:
        The name of the ``operation``, its ``line``, and of how many examples (``n``) and ``classes`` it is; None where
        there is none.

    Source: derived here.

    Example:
        >>> import undertow as ut
        >>> from undertow.trace import trace_function
        >>> z, y = np.ones((4, 2)), np.eye(2)[[0, 1, 1, 1]]
        >>> for axis in (0, 1):
        ...     graph = trace_function(lambda z, y: -np.mean(y * ut.log_softmax(z, axis=axis)), (z, y)).graph
        ...     found = softmax_over_examples(graph, graph.inputs[:1], [(graph.inputs[1], y)])
        ...     print(found and (found["operation"], found["n"], found["classes"]))
        ('log_softmax', 4, 2)
        None
    """
    nodes = [x for x in graph.nodes if x.op is not INPUT]
    trained = made_of(nodes, params)
    shapes = {node.spec.shape for node, value in given if are_classes(np.asarray(value))}
    for node in nodes:
        shape = node.inputs[0].spec.shape if node.inputs else ()
        if getattr(node.op, "name", "") not in SOFTMAX or node not in trained or len(shape) != 2:
            continue
        axis = node.params.get("axis")
        over = axis in (0, -2, (0,), (-2,)) and shape[0] != shape[1]  # each against each: both axes are examples
        if over and (shape in shapes or _is_picked(nodes, node, shape)):
            return {"operation": node.op.name, "line": node.line, "n": shape[0], "classes": shape[1]}
    return None


def are_classes(y: Array) -> bool:
    """Return whether the rows of an array are probabilities of classes, and its columns are none."""
    return y.ndim == 2 and y.dtype.kind in "fiub" and are_shares(y) and not are_shares(y.T)


def _is_picked(nodes: Sequence[Node], softmax: Node, shape: tuple[Any, ...]) -> bool:
    """Whether of each row one number is picked, as labels do: ``p[np.arange(m), y]``."""
    made = {x for x in made_of(nodes, [softmax]) if x.spec.shape == shape}
    picks = [x for x in nodes if getattr(x.op, "name", "") == "getitem" and x.inputs[0] in made and len(x.inputs) == 3]
    return any(x.spec.shape == shape[:1] for x in picks)


def made_of(nodes: Sequence[Node], origins: Sequence[Node]) -> set[Node]:
    """These nodes, and all that is made of them; the nodes come oldest first."""
    made = set(origins)
    for node in nodes:
        if not made.isdisjoint(node.inputs):
            made.add(node)
    return made


def unmoved(node: Node) -> Node:
    """What was only moved or copied."""
    while node.inputs and getattr(node.op, "name", "") in MOVES:
        node = node.inputs[0]
    return node
