"""The numbers of a walk: every value of a program, the loss's derivative by it, and local derivatives."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from undertow import primitives as P
from undertow.differentiate import backward
from undertow.graph import CONSTANT, INPUT, Graph, Node, ancestors, evaluate
from undertow.trace import NotingTrace, Tracer, constant

Pair = tuple[Node, Node]  # a value, and one that it is computed from


class Numbers:
    """What a forward program and its reverse pass give at the arguments of a batch.

    The program is copied first: differentiating notes on nodes what they are the gradient of, and the nodes of
    the program itself must keep what its source says.

    Args:
        nodes: the values to look at, with all they are computed from.
        loss: the one that is differentiated.
        inputs: the inputs of the program, all of them.
        wrt: those among the inputs that the gradients are by.
        values: an array or number for each input.
        stops: values that a local derivative takes as they are, though they may depend on one another.
        locals: pairs (a value, one that it is computed from), the derivatives between which are wanted; only such
            where every operation on the way is element by element.
    """

    def __init__(
        self,
        nodes: Iterable[Node],
        loss: Node,
        inputs: Sequence[Node],
        wrt: Iterable[Node],
        values: Sequence[Any],
        stops: Iterable[Node] = (),
        locals: Sequence[Pair] = (),
    ) -> None:
        found = list(dict.fromkeys([*inputs, *ancestors([loss, *nodes])]))
        copies = _copy(sorted(found, key=lambda node: node.index))
        self.active = _active(found, wrt)
        before_loss = set(ancestors([loss]))
        reached = [node for node in found if node in self.active and node in before_loss]
        cts = _pull(copies[loss], [copies[node] for node in reached], whole=False)
        fixed = set(stops)
        shares = [_pull(*_between(above, below, copies, fixed), whole=True)[0] for above, below in locals]
        wanted = {node: copies[node] for node in found}
        by_node = {node: ct for node, ct in zip(reached, cts, strict=True) if ct is not None}
        by_pair = {pair: ct for pair, ct in zip(locals, shares, strict=True) if ct is not None}
        keep = [*wanted.values(), *by_node.values(), *by_pair.values()]
        graph = Graph(tuple(copies[node] for node in inputs), tuple(dict.fromkeys(keep)))
        with np.errstate(all="ignore"):
            numbers = dict(zip(keep, evaluate(graph, values, keep), strict=True))
        self.values: dict[Node, Any] = {node: numbers[copy] for node, copy in wanted.items()}
        self.cts: dict[Node, Any] = {node: numbers[ct] for node, ct in by_node.items()}
        self.locals: dict[Pair, Any] = {pair: numbers[ct] for pair, ct in by_pair.items()}


def _copy(nodes: Sequence[Node]) -> dict[Node, Node]:
    copies: dict[Node, Node] = {}
    for node in nodes:
        copies[node] = copy = Node(node.op, tuple(copies[x] for x in node.inputs), node.params, node.spec, node.value)
        copy.name, copy.line = node.name, node.line
    return copies


def _between(above: Node, below: Node, copies: dict[Node, Node], fixed: set[Node]) -> tuple[Node, list[Node]]:
    """Copy what lies between two values once more, so that no other way between them is followed."""
    made = {below: Node(P.identity, (copies[below],), {}, below.spec)}
    stack, inner = [above], {above}
    while stack:
        for x in stack.pop().inputs:
            if x is not below and x not in fixed and x not in inner:
                inner.add(x)
                stack.append(x)
    for node in sorted(inner, key=lambda node: node.index):
        inputs = tuple(made.get(x) or copies[x] for x in node.inputs)
        made[node] = Node(node.op, inputs, node.params, node.spec, node.value)
    return made[above], [made[below]]


def _active(nodes: Iterable[Node], wrt: Iterable[Node]) -> set[Node]:
    """The values that depend on the arguments differentiated by."""
    active = set(wrt)
    for node in sorted(nodes, key=lambda node: node.index):
        if node.spec.dtype.kind == "f" and not active.isdisjoint(node.inputs):
            active.add(node)
    return active


def _pull(output: Node, wrt: Sequence[Node], whole: bool) -> list[Node | None]:
    """The nodes of the derivative of an output by others: of the loss, or ``whole`` of each of its elements."""
    trace = NotingTrace()
    start: Any = Tracer(constant(output.spec.dtype.type(1)), trace)
    if whole:
        start = np.ones_like(Tracer(output, trace))

    def read(node: Node) -> Any:
        return node.value if node.op is CONSTANT and node.spec.weak else Tracer(node, trace)

    found = backward({output: start}, wrt, read)
    return [ct.node if isinstance(ct, Tracer) else None if ct is None else constant(ct) for ct in found]


def differentiated(bp: Any) -> list[Node]:
    """Return the inputs of a backward pass that its gradients are by, in the order of the gradients."""
    places = bp.wrt if isinstance(bp.wrt, tuple) else (bp.wrt,)
    wanted = {x for i in places for x in bp.traced.arguments[i] if isinstance(x, Node) and x.op is INPUT}
    return [x for i in places for x in bp.traced.arguments[i] if x in wanted]
