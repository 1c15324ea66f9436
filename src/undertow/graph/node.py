"""The graph in single-assignment form. It knows no single operation: those are records in `primitives`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Protocol

from undertow.graph.spec import Dim, Spec


class Operation(Protocol):
    """What the graph asks of an operation; `undertow.primitives.Primitive` is the one that exists."""

    @property
    def name(self) -> str: ...
    @property
    def forward(self) -> Callable[..., Any]: ...
    @property
    def infer(self) -> Callable[..., Spec]: ...


@dataclass(frozen=True)
class _Leaf:
    """An operation without inputs that the graph itself knows: an argument or a constant."""

    name: str

    def forward(self, *_: Any, **__: Any) -> Any:
        raise AssertionError("leaves are not evaluated")

    def infer(self, *_: Any, **__: Any) -> Spec:
        raise AssertionError("leaves have a spec of their own")


INPUT = _Leaf("input")
CONSTANT = _Leaf("constant")

_next_index = count().__next__


class Node:
    """One value: the operation that makes it, its inputs, and what people call it.

    Attributes:
        op: the primitive, or INPUT, or CONSTANT.
        inputs: the nodes it is computed from; all have a smaller ``index``.
        params: the operation's other arguments; every value is hashable.
        spec: shape and dtype.
        value: the number itself, for constants and while tracing with values; else None.
        name: the user's own name for it (``z1``), if there is one.
        ct_of: the name of the value whose cotangent this is (``z1`` for what people read as ``dz1``).
        line: the user's source line, ``"model.py:12"``.
        file: the whole path of that file.
        backward: True if differentiation made it, False if the user wrote it.
        rule: the name of the simplification that made it, if one did.
        watched: a person asked to see this value (or its cotangent): it keeps a line of its own.
    """

    __slots__ = (
        "backward",
        "ct_of",
        "file",
        "index",
        "inputs",
        "line",
        "name",
        "op",
        "params",
        "rule",
        "spec",
        "value",
        "watched",
    )

    def __init__(
        self,
        op: Operation,
        inputs: tuple[Node, ...],
        params: dict[str, Any],
        spec: Spec,
        value: Any = None,
    ) -> None:
        self.op = op
        self.inputs = inputs
        self.params = params
        self.spec = spec
        self.value = value
        self.name: str | None = None
        self.ct_of: str | None = None
        self.line: str | None = None
        self.file: str | None = None
        self.backward = False
        self.rule: str | None = None
        self.watched = False
        self.index = _next_index()

    def __repr__(self) -> str:
        return f"<{self.name or f't{self.index}'}: {self.op.name} {self.spec}>"


def ancestors(outputs: Iterable[Node]) -> list[Node]:
    """Return every node that the outputs are computed from, themselves included, oldest first."""
    stack = list(outputs)
    seen = set(stack)
    while stack:  # an explicit stack, because graphs are deeper than Python's
        for x in stack.pop().inputs:
            if x not in seen:
                seen.add(x)
                stack.append(x)
    return sorted(seen, key=_age)


def _age(node: Node) -> int:
    return node.index


@dataclass
class Graph:
    """A program: inputs, the nodes in an order in which they can be computed, outputs.

    Attributes:
        inputs: the argument nodes, in order; ones that nothing uses are among them.
        outputs: the result nodes.
        nodes: all nodes, oldest first; nothing that the outputs do not need.
        title: what it is called when printed.
    """

    inputs: tuple[Node, ...]
    outputs: tuple[Node, ...]
    nodes: tuple[Node, ...] = field(init=False)
    title: str = "f"

    def __post_init__(self) -> None:
        used = set(self.inputs)
        rest = [node for node in ancestors(self.outputs) if node not in used]
        self.nodes = (*self.inputs, *rest)

    def __len__(self) -> int:
        return len(self.nodes)

    def __str__(self) -> str:
        from undertow.graph.show import show

        return show(self)

    def users(self) -> dict[Node, list[Node]]:
        """Map each node to the nodes that read it, once for each reading."""
        users: dict[Node, list[Node]] = {node: [] for node in self.nodes}
        for node in self.nodes:
            for x in node.inputs:
                users[x].append(node)
        return users

    def symbols(self) -> dict[str, tuple[int, int, int]]:
        """Map each symbolic size to where it can be read: (input, axis, count on that axis)."""
        found: dict[str, tuple[int, int, int]] = {}
        for position, node in enumerate(self.inputs):
            for axis, size in enumerate(node.spec.shape):
                if isinstance(size, Dim):
                    found.setdefault(size.symbol, (position, axis, size.count))
        return found
