"""Rewrite a graph by named rules, from the inputs to the outputs.

The simplifier is a trace: every operation that a rule writes passes through `Simplifier.add`, which
looks for an equal node first, then asks the rules of that operation, and only then makes a new node.
So one pass from the oldest node to the newest leaves nothing that a rule could still improve.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from undertow import primitives as P
from undertow.graph import CONSTANT, INPUT, Graph, Node
from undertow.trace import Trace, Tracer

Exactness = Literal["exact", "rounding", "extends"]


@dataclass(frozen=True)
class Rule:
    """A named equation and the function that applies it.

    Attributes:
        name: what people call it.
        equation: what it says, in mathematics.
        exactness: ``exact`` (same bits), ``rounding`` (the same real number wherever the original is
            finite and no value on the way leaves the range of the dtype; a zero may change its sign),
            ``extends`` (that, and finite where the original overflows).
        apply: ``apply(simplifier, *input nodes, **params)`` gives the better expression, or None.
        routine: it moves shapes, copies, signs or zeros only, and is no news to a reader.
    """

    name: str
    equation: str
    exactness: Exactness
    apply: Callable[..., Any]
    routine: bool = False


@dataclass
class Fired:
    """A rule that was used: how often, and where first (a person's name for the value, or an operation)."""

    name: str
    equation: str
    exactness: Exactness
    at: str
    count: int = 1
    routine: bool = False

    def __str__(self) -> str:
        times = f" ({self.count} times)" if self.count > 1 else ""
        return f"{self.name}: {self.equation}  [{self.exactness}] at {self.at}{times}"


class FiredRules(tuple[Fired, ...]):
    """The rules that were used, in order; printed, each has a line."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "\n".join(map(str, self))


@dataclass(frozen=True)
class Simplified:
    """A simplified graph, the rules that fired, in order, and where each old node went."""

    graph: Graph
    fired: list[Fired]
    moved: dict[Node, Node]


Quotient = tuple[Node, Counter[Node], int]  # the factors of what is divided, and their sign


@dataclass
class Quotients:
    """What has been divided by one value: what came since they were last looked up, and the others by a factor."""

    new: list[Node] = field(default_factory=list)
    by_factor: dict[Node, list[Quotient]] = field(default_factory=dict)


RULES: dict[str, list[Rule]] = {}


def rule(
    name: str, equation: str, exactness: Exactness, *ops: P.Primitive, routine: bool | None = None
) -> Callable[..., Callable[..., Any]]:
    """Register the decorated function as a rule for these operations."""

    def register(apply: Callable[..., Any]) -> Callable[..., Any]:
        for op in ops:
            plain = exactness == "exact" if routine is None else routine
            RULES.setdefault(op.name, []).append(Rule(name, equation, exactness, apply, plain))
        return apply

    return register


class Simplifier(Trace):
    """The trace that simplifies what is recorded in it."""

    def __init__(self, final: bool = False, only: Collection[str] | None = None) -> None:
        super().__init__()
        self.only = only  # the names of the rules to use; None: all
        self.final = final  # the graph will not be differentiated any more
        self.known: dict[Any, Node] = {}
        self.quotients: dict[Node, Quotients] = {}  # by what was divided
        self.fired: dict[str, Fired] = {}
        self.now: Node | None = None  # the node of the original graph that is being rewritten
        self.expansions: dict[bool, Any] = {}  # `polynomial`: by whether forward values are opened
        self.collecting = False  # while the terms collected by `polynomial` are written down
        self.applying: P.Primitive = P.identity  # the operation whose rules are being asked

    def __call__(self, node: Node) -> Tracer:
        """Return the node as a tracer to write expressions with."""
        return Tracer(node, self)

    @property
    def in_backward(self) -> bool:
        """True while rewriting what differentiation made; the user's own arithmetic is not reassociated."""
        return self.now is not None and self.now.backward

    def intern(self, node: Node) -> Node:
        """Return the one node for a constant number."""
        if node.op is not CONSTANT or node.spec.shape != ():
            return node
        key = (CONSTANT, type(node.value), node.spec, repr(node.value))
        return self.known.setdefault(key, node)

    def shared(self, key: Any, node: Node) -> Node:
        """Return the one node for a constant array that rules write."""
        return self.known.setdefault((CONSTANT, key), node)

    def add(self, op: P.Primitive, inputs: tuple[Node, ...], params: dict[str, Any]) -> Node:
        """Return the simplest known node for an operation."""
        inputs = tuple(self.intern(x) for x in inputs)
        key = (op, inputs, tuple(sorted(params.items(), key=lambda item: item[0])))
        node = self.known.get(key)
        if node is None:
            node = self.known[key] = self.rewrite(op, inputs, params)
        return node

    def rewrite(self, op: P.Primitive, inputs: tuple[Node, ...], params: dict[str, Any]) -> Node:
        """Apply the first rule that has something to say, else make the node."""
        spec = op.infer(*[x.spec for x in inputs], **params)
        if inputs and spec.shape == () and all(x.op is CONSTANT and x.spec.shape == () for x in inputs):
            value = op.forward(*[x.value for x in inputs], **params)
            if np.isfinite(value) and (op is not P.divide or _is_whole(inputs)):
                self.fire(
                    Rule("constants", "an operation on numbers is done once", "exact", op.forward, routine=True), op
                )
                value = value.item() if spec.weak else value
                return self.intern(Node(CONSTANT, (), {}, P.spec_of(value), value))
        for candidate in RULES.get(op.name, ()):
            if self.only is not None and candidate.name not in self.only:
                continue
            before, self.applying = self.applying, op
            try:
                result = candidate.apply(self, *inputs, **params)
            finally:
                self.applying = before
            if result is None:
                continue
            if not isinstance(result, Tracer):
                result = Tracer(self.intern(result if isinstance(result, Node) else _constant(result, spec)), self)
            if result.spec.shape != spec.shape:
                result = P.broadcast_to(result, shape=spec.shape)
            if result.dtype != spec.dtype:
                result = P.astype(result, dtype=spec.dtype)
            self.fire(candidate, op)
            node: Node = result.node
            if node.rule is None and node.index > inputs[-1].index and not candidate.routine:
                node.rule = candidate.name
            return node
        node = Node(op, inputs, params, spec)
        if self.now is not None:
            node.line, node.file, node.backward = self.now.line, self.now.file, self.now.backward
        if op is P.divide:
            self.quotients.setdefault(inputs[1], Quotients()).new.append(node)
        return node

    def fire(self, used: Rule, op: P.Primitive) -> None:
        """Remember that a rule was used."""
        before = self.fired.get(used.name)
        if before is not None:
            before.count += 1
            return
        now = self.now
        at = op.name if now is None else now.name or (now.ct_of and f"the gradient of {now.ct_of}") or op.name
        self.fired[used.name] = Fired(used.name, used.equation, used.exactness, at, routine=used.routine)


def _is_whole(inputs: tuple[Node, ...]) -> bool:
    """Tell whether a quotient is exact; 1 / 9 stays as it is, for (p − y) / 9 reads better than 0.111 (p − y)."""
    from fractions import Fraction  # which loads decimal numbers

    a, b = (Fraction(float(x.value)) for x in inputs)
    return Fraction(float(a / b)) == a / b


def _constant(value: Any, spec: Any) -> Node:
    number = spec.dtype.type(value).item() if spec.weak else spec.dtype.type(value)
    return Node(CONSTANT, (), {}, P.spec_of(number), number)


def simplify(
    graph: Graph, remember: Sequence[Node] = (), final: bool = False, only: Collection[str] | None = None
) -> Simplified:
    """Simplify a graph.

    Args:
        graph: any graph; it is not changed.
        remember: nodes that people named and that an earlier pass made needless; where the same value
            turns up again (a softmax in its own gradient), it gets its name back.
        final: nothing will be differentiated after this, so what only steers differentiation can go.
        only: the names of the rules to use; all unless told.

    Returns:
        A graph of the same inputs and outputs; people's names and lines are carried over.
    """
    s = Simplifier(final, only)
    moved: dict[Node, Node] = {}
    for node in graph.nodes:
        if node.op is INPUT or node.op is CONSTANT:
            moved[node] = s.intern(node)
            continue
        s.now = node
        new = s.add(node.op, tuple(moved[x] for x in node.inputs), node.params)  # type: ignore[arg-type]
        moved[node] = new
        if new.op is not CONSTANT and new.op is not INPUT and (new.name is None or node.watched):
            new.watched = new.watched or node.watched
            if node.name is not None:
                new.name = node.name
            elif new.ct_of is None:
                new.ct_of = node.ct_of
    for node in remember:
        inputs = tuple(moved.get(x, s.intern(x)) for x in node.inputs)
        again = s.known.get((node.op, inputs, tuple(sorted(node.params.items(), key=lambda item: item[0]))))
        if again is not None and again.name is None:
            again.name, again.line, again.file, again.ct_of = node.name, node.line, node.file, None
    outputs = tuple(moved[node] for node in graph.outputs)
    return Simplified(Graph(graph.inputs, outputs, title=graph.title), list(s.fired.values()), moved)


def number(node: Node) -> float | None:
    """Return the value of a constant number, else None."""
    if node.op is CONSTANT and node.spec.shape == ():
        return float(node.value)
    return None


def is_op(node: Node, op: P.Primitive) -> bool:
    """Tell whether a node is made by this operation."""
    return node.op is op


def constant_along(node: Node, shape: Sequence[Any], axis: tuple[int, ...]) -> bool:
    """Tell whether a value, broadcast to ``shape``, has one value along these axes and does not grow it."""
    offset = len(shape) - node.spec.ndim
    if offset < 0:
        return False
    return all(i < offset or node.spec.shape[i - offset] == 1 for i in (i % len(shape) for i in axis))


def alike(*nodes: Node) -> bool:
    """Tell whether all values that are no plain numbers are floats of one dtype, so that no order loses digits."""
    dtypes = {node.spec.dtype for node in nodes if not node.spec.weak}
    return len(dtypes) <= 1 and all(dtype.kind == "f" for dtype in dtypes)
