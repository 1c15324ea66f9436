"""A graph of primitives in ONNX: each by its rule, or by the simpler ones it consists of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from undertow.compile.expand import EXPANSIONS
from undertow.errors import UndertowError, UnsupportedError
from undertow.export.onnx_builder import Builder
from undertow.export.onnx_moves import MOVES
from undertow.export.onnx_operations import OPERATIONS
from undertow.export.onnx_parts import PARTS
from undertow.graph import CONSTANT, INPUT, Graph, Node
from undertow.graph.node import ancestors
from undertow.trace import NotingTrace, Tracer

RULES = {**OPERATIONS, **MOVES}


def write_graph(builder: Builder, graph: Graph, inputs: Mapping[Node, str]) -> list[str]:
    """Write a graph into an ONNX graph.

    Args:
        builder: what collects the operations.
        graph: primitives; sizes of the batch may be symbolic.
        inputs: the value that each input of the graph is.

    Returns:
        The values that its outputs are.

    Raises:
        UnsupportedError: ``searchsorted (net.py:12) cannot be written in ONNX. …``

    Source: derived here.

    Example:
        >>> import numpy as np
        >>> from undertow.export.onnx_builder import import_onnx
        >>> from undertow.trace import trace_function
        >>> builder, graph = Builder(import_onnx()), trace_function(lambda x: np.exp(-x), [np.zeros(2)]).graph
        >>> builder.dtypes["x"] = np.dtype(np.float64)
        >>> _ = write_graph(builder, graph, {graph.inputs[0]: "x"})
        >>> [node.op_type for node in builder.nodes]
        ['Neg', 'Exp']
    """
    for symbol, (position, axis, count) in graph.symbols().items():
        builder.sizes[symbol] = (inputs[graph.inputs[position]], axis, count)
    written = dict(inputs)
    for node in graph.nodes:
        _write(builder, node, written)
    return [written[node] for node in graph.outputs]


def _write(b: Builder, node: Node, written: dict[Node, str]) -> None:
    """Write one node, whose inputs are written already."""
    if node in written or node.op is INPUT:
        return
    if node.op is CONSTANT:
        written[node] = b.constant(node.value, node.spec.dtype)
        return
    rule = RULES.get(node.op.name)
    try:
        if rule is None or "where" in node.params.get("options", ()):
            written[node] = _write_parts(b, node, written)
        else:
            written[node] = rule(b, node, *[written[x] for x in node.inputs], **node.params)
    except UnsupportedError as error:
        raise _refusal(node, str(error)) from None
    dtype = node.spec.dtype
    if b.dtypes[written[node]] != dtype:
        written[node] = b.cast(written[node], dtype)


def _refusal(node: Node, reason: str) -> UnsupportedError:
    reason = reason.removesuffix(f". {_REMEDY}").rpartition(_REFUSED)[2]  # of a part: people wrote the whole
    place = f" ({node.line})" if node.line else ""
    return UnsupportedError(f"{node.op.name}{place}{_REFUSED}{reason}. {_REMEDY}")


_REFUSED = " cannot be written in ONNX: "
_REMEDY = "Write this layer with other NumPy functions, or export NumPy source (model.py)."


def _write_parts(b: Builder, node: Node, written: dict[Node, str]) -> str:
    """Write a node by simpler operations, ours for ONNX or those that the compiler makes of it."""
    expansion = PARTS.get(node.op.name) or EXPANSIONS.get(node.op.name)
    result: Any = None
    if expansion is not None:
        trace = NotingTrace()
        try:
            result = expansion(*[Tracer(x, trace) for x in node.inputs], **node.params)
        except (UndertowError, TypeError):  # the batch size would have to be a number
            result = None
    made = ancestors([result.node]) if isinstance(result, Tracer) else []
    if not made or any(part.op is node.op and part not in written for part in made):  # the compiler's own simplest form
        raise UnsupportedError("there is no operator for it")
    for part in made:
        if part.line is None or part not in written:
            part.line = part.line or node.line
        _write(b, part, written)
    return written[result.node]
