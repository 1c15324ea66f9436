"""The chain rule for every operation of a program: each value gets a name and a step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from undertow.emit.chain import Chain
from undertow.graph import CONSTANT, INPUT, Graph, Node, ancestors


class EveryOperation(Chain):
    """The chain rule operation by operation, told of the simplified program.

    Args:
        graph: outputs (loss, *gradients).
        wrt: the inputs that the gradients are by.
        names: what the source calls values.
        more: values that the loss does not depend on, and that are told of as well.
    """

    def __init__(self, graph: Graph, wrt: Sequence[Node], names: Mapping[Node, str], more: Sequence[Node] = ()) -> None:
        self.graph, self.latex = graph, False
        self.loss = graph.outputs[0]
        self.nodes = ancestors([self.loss, *more])
        self.before_loss = set(ancestors([self.loss]))
        self.wrt = set(wrt)
        self.active = self._find_active() & self.before_loss
        self.users = {node: [] for node in self.nodes}
        for node in self.nodes:
            for position, x in enumerate(node.inputs):
                self.users[x].append((node, position))
        self.names = {}
        taken: set[str] = set()
        for node in self.nodes:
            op: Any = node.op
            number = node.spec.weak and node not in self.active and op is not INPUT  # of sizes and constants alone
            if op is not CONSTANT and op.name != "size" and not number:
                wish = node.name or names.get(node) or ""
                self.names[node] = wish if wish and wish not in taken else f"a{node.index}"
                taken.add(self.names[node])
        self._number_rest(taken)
        steps = [self._step(x) for x in self.nodes if x in self.names and x in self.active and x is not self.loss]
        self.steps = sorted([step for step in steps if step.uses], key=self._order)

    def _number_rest(self, taken: set[str]) -> None:
        """Number the values that neither the user nor the source names, in order."""
        free = (f"a{i}" for i in range(1, 2 * len(self.nodes) + 2) if f"a{i}" not in taken)
        for node, name in self.names.items():
            if name == f"a{node.index}" and node.name != name:
                self.names[node] = next(free)
