"""What all levels of a walk share: the program, its source by lines, the numbers of one batch."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import numpy as np

from undertow.api import Backprop, input_values
from undertow.emit.chain import Chain
from undertow.emit.source import find_lines
from undertow.graph import CONSTANT, INPUT, Node, evaluate, measure_sizes
from undertow.report.walks.arrays import Arrays
from undertow.report.walks.numbers import Numbers, differentiated


class Scene:
    """A backward pass at the arguments that it was traced with.

    Args:
        bp: the backward pass.

    Attributes:
        wrt: the inputs that the gradients are by.
        source: the lines of the program.
        first: the line on which its forward pass begins; functions that it calls stand before.
        middle: the line on which its backward pass begins.
        named: the value of each name of the program.
        gradients: the gradient by each name of the program.
        least: differences between gradients that are below it are rounding.
    """

    def __init__(self, bp: Backprop) -> None:
        self.bp = bp
        self.inputs = bp.graph.inputs
        self.values = input_values(bp.traced, bp.args)
        self.sizes = measure_sizes(bp.graph, self.values)
        self.arrays = Arrays(self.sizes.get(next(iter(bp.graph.symbols()), "")))
        self.wrt = differentiated(bp)
        self.source = bp.source.rstrip("\n").split("\n")
        self.lines, self.names = find_lines(bp.graph, bp.signature, bp.wrt, title=bp.graph.title, sizes=bp.sizes)
        self.first = next(i for i, text in enumerate(self.source, 1) if text.startswith("def forward("))
        self.middle = self.source.index("def backward(cache):") + 1
        self.places: dict[str, int] = {}
        for number, text in enumerate(self.source[self.first :], self.first + 1):
            if found := re.match(r"    (\w+) = ", text):
                self.places.setdefault(found[1], number)
        self.named: dict[str, Any] = {}
        self.gradients: dict[str, Any] = {}
        self._evaluate()
        rules = {rule.name: rule for rule in bp.rules if not rule.routine}
        # the simplification behind a gradient's line, by the name of what the gradient is by
        self.rewritten = {x.ct_of: rules[x.rule] for x in bp.graph.nodes if x.ct_of and x.rule in rules}

    def _evaluate(self) -> None:
        """Compute the program: what the source names, the gradients, and the loss."""
        named = {x.name: x for x in self.bp.graph.nodes if x.name and x.op is not CONSTANT}
        cts = {x.ct_of: x for x in self.bp.graph.nodes if x.ct_of and not x.name}
        cts.update({x.name: ct for x, ct in zip(self.wrt, self.bp.graph.outputs[1:], strict=True) if x.name})
        with np.errstate(all="ignore"):
            found = evaluate(self.bp.graph, self.values, [*named.values(), *cts.values()])
        self.named = dict(zip(named, found[: len(named)], strict=True))
        largest = [np.abs(x[np.isfinite(x)]).max(initial=0) for x in map(np.asarray, found[len(named) :])]
        self.least = float(max(largest, default=0)) * float(np.finfo(self.bp.graph.outputs[0].spec.dtype).eps) ** 0.5
        self.gradient_nodes = cts
        self.gradients = dict(zip(cts, found[len(named) :], strict=True))

    def numbers(self, chain: Chain) -> Numbers:
        """Compute the values of a chain, the loss's derivative by each, and the local derivatives of its steps."""
        pairs = [(user, step.node) for step in chain.steps for user in local_users(chain, step)]
        return Numbers(chain.names, chain.loss, self.inputs, self.wrt, self.values, chain.names, pairs)

    def line_of(self, name: str, nodes: Iterable[Node] = ()) -> int:
        """Return the line that computes a name, or one of these nodes; 0 where there is none."""
        return self.places.get(name) or next((self.lines[node] for node in nodes if node in self.lines), 0)

    def in_forward(self) -> list[Node]:
        """Return the values that the forward pass computes in lines of their own."""
        return [node for node, line in self.lines.items() if line < self.middle and node in self.names]

    def is_data(self, node: Node) -> bool:
        """Tell whether an input is data, not something the loss is differentiated by."""
        return node.op is INPUT and node not in self.wrt


def local_users(chain: Chain, step: Any) -> list[Node]:
    """Return the values that read a value element by element, in all places where they read it."""
    users = dict.fromkeys(use.user for use in step.uses)
    return [
        user
        for user in users
        if user.spec.shape == step.node.spec.shape
        and user.spec.shape != ()
        and all(use.elementwise for use in step.uses if use.user is user)
        and user.op is not INPUT
    ]
