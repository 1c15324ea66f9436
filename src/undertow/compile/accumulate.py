"""Sums of matrix products: a product is added to what lies in memory already, so that a sum of many needs one place.

Where weights are used in several places, as in every step of a recurrent network, their gradient is such a sum. Each
product written by itself, a sum of 20 takes the memory of 20 and passes over it twice.
"""

from __future__ import annotations

from typing import Any

from undertow.compile.access import Reader, whole
from undertow.compile.scalars import kind_of
from undertow.graph import Node


def fold_sums(reader: Reader, outputs: list[Node]) -> dict[Node, Node]:
    """Find sums one of whose terms is a product that nothing else reads, and the other a product or such a sum too.

    The product is taken out of what has to be computed for itself; ``reader.folded`` names it by its sum.

    Args:
        reader: of the graph.
        outputs: values that lie in memory of their own.

    Returns:
        By term, the sum that takes its place in memory.
    """
    users: dict[Node, list[Node]] = {}
    for node in reader.order:
        for base in reader.bases(node):
            users.setdefault(base, []).append(node)
    kept, heirs, position = set(outputs), {}, {node: i for i, node in enumerate(reader.order)}

    def may_join(x: Node, total: Node) -> bool:
        access = reader.read(x)
        base = access.base
        product = is_product(base) or base in reader.folded
        alone = users.get(base) == [total] and base not in kept
        return product and alone and access == whole(base) and base.spec == total.spec

    for node in list(reader.order):
        op: Any = node.op
        if op.name != "add" or not all(may_join(x, node) for x in node.inputs):
            continue
        products = [x for x in (reader.read(x).base for x in node.inputs) if x not in reader.folded]
        if products:
            last = max(products, key=position.__getitem__)
            reader.fold(node, last)
            (first,) = (x for x in (reader.read(x).base for x in node.inputs) if x is not last)
            heirs[first] = node
    gone = set(reader.folded.values())
    reader.order = [node for node in reader.order if node not in gone]
    return heirs


def is_product(node: Node) -> bool:
    """Tell whether a node is a matrix product that compiles."""
    op: Any = node.op
    kind = kind_of(node.spec.dtype) if op.name == "matmul" else None
    return kind in ("f32", "f64") and all(x.spec.dtype == node.spec.dtype for x in node.inputs)
