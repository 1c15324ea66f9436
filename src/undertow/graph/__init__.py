"""Programs as data: nodes in single-assignment form, evaluated, verified and printed."""

from undertow.graph.evaluate import evaluate, measure_sizes
from undertow.graph.node import CONSTANT, INPUT, Graph, Node, Operation, ancestors
from undertow.graph.show import label_nodes, show, show_constant, verify
from undertow.graph.spec import (
    Dim,
    NeedsConcreteSize,
    Shape,
    Size,
    Spec,
    broadcast_shapes,
    divide_sizes,
    resolve,
    show_shape,
    total,
)

__all__ = [
    "CONSTANT",
    "INPUT",
    "Dim",
    "Graph",
    "NeedsConcreteSize",
    "Node",
    "Operation",
    "Shape",
    "Size",
    "Spec",
    "ancestors",
    "broadcast_shapes",
    "divide_sizes",
    "evaluate",
    "label_nodes",
    "measure_sizes",
    "resolve",
    "show",
    "show_constant",
    "show_shape",
    "total",
    "verify",
]
