"""From a graph to a plan."""

from __future__ import annotations

from typing import Any

from undertow.compile.access import row_major, whole
from undertow.compile.finished import Finished, Finishes
from undertow.compile.fuse import Cluster, Item
from undertow.compile.lapack import LinearAlgebra
from undertow.compile.orders import Orders
from undertow.compile.plan import Buffer, Place, Plan
from undertow.compile.split import split_products
from undertow.graph import Graph, Node


def make_plan(graph: Graph, threads: int, donated: dict[int, int] | None = None, fallback: str | None = None) -> Plan:
    """Plan a graph whose sizes are numbers.

    Args:
        graph: made by `expand`.
        threads: that take part.
        donated: for an output, by number, the input whose memory it takes.
        fallback: ``"numpy"`` lets NumPy do what does not compile.

    Returns:
        The plan.

    Raises:
        UnsupportedError: an operation does not compile, and there is no fallback.
    """
    planner = _Planner(split_products(graph, threads), threads, fallback)
    planner.write(donated or {})
    return planner.plan


class _Planner(Finishes, LinearAlgebra, Orders):
    def write(self, donated: dict[int, int]) -> None:
        self.copies: list[tuple[Node, int]] = []
        self.claim_outputs(donated)
        for i, item in enumerate(self.items):
            self.now = i
            self.write_item(item)
        for node, target in self.copies:
            self.now = len(self.items)
            shape: Any = node.spec.shape
            self.write_copy(whole(node), Place(Buffer(0, "input", target)), row_major(shape), node)
        self.lay_out()

    def write_item(self, item: Item) -> None:
        if isinstance(item, Cluster):
            self.write_cluster(item)
            return
        if isinstance(item, Finished):
            self.write_finished(item)
            return
        (node,) = item.nodes
        if node in self.reader.folded:
            self.write_matmul(self.reader.folded[node], node)
            return
        op: Any = node.op
        writer = getattr(self, f"write_{op.name}", None)
        if writer is None or not writer(node):
            self.write_by_numpy(node)

    def claim_outputs(self, donated: dict[int, int]) -> None:
        """Give each output its memory: the caller's, or in place of an input that nothing reads any more."""
        inputs = list(self.number)
        for number, node in enumerate(self.outputs):
            target = donated.get(number)
            if target is None:
                self.buffers[node] = Buffer(self.bytes_of(node), "output", number)
            elif self.may_replace(node, inputs[target]):
                self.buffers[node] = Buffer(self.bytes_of(node), "input", target)
            else:
                self.copies.append((node, target))
        self.plan.outputs = [self.buffers.get(node) or self.buffer(node) for node in self.outputs]
