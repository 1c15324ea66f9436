"""A graph as two lists of statements: which values get a line and a name, which stand inside an expression."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from undertow.emit.literals import write_filled, write_large_array, write_scalar, write_small_array
from undertow.emit.names import Names, helpers
from undertow.graph import CONSTANT, INPUT, Dim, Graph, Node
from undertow.primitives.record import PRODUCT, SUM, UNARY, Code

LONGEST = 76  # characters of a statement; longer ones are split
LONGEST_INSIDE = 62  # of an expression inside another

_METHODS = {"reshape", "transpose", "getitem", "astype", "expand_dims"}
_REPEATED = {"reshape", "transpose", "expand_dims", "squeeze"}  # views: written again rather than named
_FLOAT_HELPERS = {
    "softmax",
    "log_softmax",
    "logsumexp",
}  # ours convert integers first; the written ones need not
_LEFT_FIRST = {"add": SUM, "multiply": PRODUCT}
_TAKE_NUMBERS = {"add", "subtract", "multiply", "divide", "power", "index_update", "maximum", "minimum", "where"}
_OPERATORS = {"add", "subtract", "multiply", "divide", "floor_divide", "remainder", "negative", "power", "size"}


@dataclass(frozen=True)
class Statement:
    """One line: the value, its name, the expression, and the rule of algebra that is behind it, if one is."""

    node: Node
    name: str
    code: str
    rule: str | None = None


@dataclass
class Program:
    """The two functions before they are laid out.

    Attributes:
        names: the identifier of each argument leaf and of each value with a line of its own.
        forward: the statements of the forward pass, in order.
        backward: those of the backward pass.
        cache: the values that the backward pass reads, in the order of their making.
        result: the expressions of the graph's outputs.
        constants: arrays too large for a line, as statements for the end of the module.
        claim: makes a wish a name that nothing else has.
    """

    names: dict[Node, str]
    forward: list[Statement] = field(default_factory=list)
    backward: list[Statement] = field(default_factory=list)
    cache: list[Node] = field(default_factory=list)
    result: list[str] = field(default_factory=list)
    constants: list[str] = field(default_factory=list)
    claim: Callable[[str], str] = str


def plan(
    graph: Graph,
    arguments: Mapping[Node, str] | None = None,
    reserved: Iterable[str] = (),
    wrt: Sequence[Node] = (),
) -> Program:
    """Decide what each value is called and which values share a line.

    Args:
        graph: outputs (loss, *gradients).
        arguments: the names of the inputs that are arguments by themselves.
        reserved: names that are taken: the other arguments.
        wrt: the inputs that the outputs after the first are gradients of.

    Returns:
        The program. Its forward pass holds what the loss needs, and what the user wrote that only the
        gradients need.
    """
    return _Planner(graph, arguments or {}, reserved, wrt).run()


class _Planner:
    def __init__(
        self, graph: Graph, arguments: Mapping[Node, str], reserved: Iterable[str], wrt: Sequence[Node]
    ) -> None:
        self.graph, self.wrt = graph, wrt
        self.names = Names({*helpers(), *graph.symbols(), "like", *reserved})
        self.named: dict[Node, str] = {node: self.names.claim(name) for node, name in arguments.items()}
        self.program = Program(self.named, claim=self.names.claim)
        self.uses: Counter[Node] = Counter(x for node in graph.nodes for x in node.inputs)
        self.uses.update(graph.outputs)
        self.inside: dict[Node, Code] = {}  # expressions that wait for their user
        self.rules: dict[Node, str] = {}
        self.large: dict[Node, str] = {}
        self.double = all(node.spec.dtype.itemsize == 8 for node in graph.nodes if node.spec.dtype.kind == "f")
        self.free = self._find_free()
        self.forward = self._find_forward()
        self.pinned: set[Node] = set()
        self._pin()

    # -- what is where -----------------------------------------------------------------------------

    def _find_free(self) -> set[Node]:
        """Constants, sizes, and Python numbers made of these: written out wherever they are used."""
        free: set[Node] = set()
        for node in self.graph.nodes:
            if (
                node.op is CONSTANT
                or node.op.name in ("size", "positions")
                or (node.spec.weak and node.inputs and all(x in free for x in node.inputs))
            ):
                free.add(node)
        return free

    def _find_forward(self) -> set[Node]:
        """The loss and all it needs, and whatever else the user wrote that needs no gradient."""
        forward = {self.graph.outputs[0]}
        for node in reversed(self.graph.nodes):
            if node in forward:
                forward.update(node.inputs)
        for node in self.graph.nodes:
            if node.op is INPUT or (not node.backward and all(x in forward or x in self.free for x in node.inputs)):
                forward.add(node)
            elif node.name and all(x in forward for x in node.inputs):
                forward.add(node)  # the user's p, which only the gradients need after simplification
        return forward

    def cotangent_of(self, node: Node) -> str | None:
        """Return the name of the value whose gradient this is; None for zeros of the user's that are one by chance."""
        return None if self._is_written_zeros(node) else node.ct_of

    def _is_written_zeros(self, node: Node) -> bool:
        return node in self.forward and node.op.name == "broadcast_to" and node.inputs[0].op is CONSTANT

    def is_repeated(self, node: Node) -> bool:
        """Tell whether a value is a view like W.T that is written again at each use."""
        return node.op.name in _REPEATED and not node.name and node not in self.pinned and not node.spec.weak

    def root(self, node: Node) -> Node:
        """Return the value behind views that are written again at each use."""
        while self.is_repeated(node):
            node = node.inputs[0]
        return node

    def _pin(self) -> None:
        """Choose the values that get a line and a name."""
        called: set[str] = set()
        for node in self.graph.nodes:
            if node.op is INPUT or node in self.free:
                continue
            value = self.cotangent_of(node)
            wish = node.name or (f"d{value}" if value else None)
            if (
                wish
                and wish not in called
                and not (node.op.name in _REPEATED and not node.name and self.uses[node] < 2)
            ):
                called.add(wish)
                self.pinned.add(node)
        for node in self.graph.nodes:
            if node.op is INPUT or node in self.free or node in self.pinned:
                continue
            if self.is_repeated(node):
                if self.uses[node] > 1:
                    self._pin_root(node)
            elif self.uses[node] > 1:
                self.pinned.add(node)
        self._pin_root(self.graph.outputs[0])
        for node in self.graph.outputs[1:]:
            if self.root(node) not in self.free:
                self.pinned.add(node) if node.op is not INPUT and not self.is_repeated(node) else self._pin_root(node)
        for node in self.graph.nodes:
            if node not in self.forward:
                for x in node.inputs:
                    if x in self.forward:
                        self._pin_root(x)

    def _pin_root(self, node: Node) -> None:
        root = self.root(node)
        if root.op is not INPUT and root not in self.free:
            self.pinned.add(root)

    # -- names -------------------------------------------------------------------------------------

    def _name_all(self) -> None:
        real: dict[str, Node] = {}
        for node in self.graph.nodes:
            if node.op is INPUT and node not in self.named:
                self.named[node] = self.names.claim(node.name or "x")
            if node.name:
                real.setdefault(node.name, node)
        for node in self.graph.nodes:
            if node in self.pinned and node.name:
                self.named[node] = self.names.claim(node.name)
        called: set[str] = set()
        for node in self.graph.nodes:
            value = self.cotangent_of(node)
            if node in self.pinned and node not in self.named and value and value not in called:
                called.add(value)
                source = real.get(value)
                plain = (self.named.get(source) if source else None) or value
                self.named[node] = self.names.claim(f"d{plain}")
        for node, leaf in zip(self.graph.outputs[1:], self.wrt, strict=False):
            if node in self.pinned and node not in self.named:
                self.named[node] = self.names.claim(f"d{self.named[leaf]}")

    def name_of(self, node: Node) -> str:
        """Return the identifier of a value with its own line; unnamed ones are numbered as they come."""
        if node not in self.named:
            self.named[node] = self.names.number("t" if node in self.forward else "g")
        return self.named[node]

    # -- expressions -------------------------------------------------------------------------------

    def code_of(self, node: Node) -> Code:
        """Return how a value is written where it is used."""
        if node in self.inside:
            return self.inside[node]
        if node.op is CONSTANT:
            return self.constant(node)
        if node.op is INPUT or node in self.pinned:
            return Code(self.name_of(node))
        return self.spell(node)

    def constant(self, node: Node) -> Code:
        """Write a constant; one too large for a line gets a name at the end of the module."""
        if node.spec.shape == ():
            return write_scalar(node.value, node.spec.weak)
        if node not in self.large:
            text = write_small_array(node.value)
            if text is not None:
                self.inside[node] = Code(text, UNARY) if text.startswith("~") else Code(text)
                return self.inside[node]
            name = self.large[node] = self.names.number("C")
            self.program.constants.append(write_large_array(name, node.value))
        return Code(self.large[node])

    def spell(self, node: Node) -> Code:
        """Write an operation by the spelling in its record."""
        op: Any = node.op
        x = node.inputs[0] if node.inputs else None
        if x is not None and x.spec.shape == () and op.name == "broadcast_to" and x.op is CONSTANT:
            return Code(write_filled(x.value, x.spec.dtype, node.params["shape"]))
        if x is not None and x.spec.weak and op.name == "astype":
            return Code(f"np.{node.spec.dtype.name}({self.code_of(x).text})")
        codes = [self._operand(node, x) for x in node.inputs]
        if op.name in _LEFT_FIRST and codes[1].rank == _LEFT_FIRST[op.name]:
            codes[1] = Code(f"({codes[1].text})")  # a + (b + c) rounds otherwise than (a + b) + c
        ndim = node.inputs[0].spec.ndim if node.inputs else 0
        code: Code = op.spell(*codes, out=node.spec, ndim=ndim, **node.params)
        if node.spec.weak and op.name not in _OPERATORS:
            kind = {"b": "bool", "i": "int", "u": "int"}.get(node.spec.dtype.kind, "float")
            return Code(f"{kind}({code.text})")
        return code

    def _operand(self, node: Node, x: Node) -> Code:
        """Write an operand; a NumPy scalar is a plain number where that changes no dtype."""
        name = node.op.name
        if x.op is CONSTANT and x.spec.shape == () and not x.spec.weak and name in _TAKE_NUMBERS:
            others = [y for y in node.inputs if y is not x]
            same = any(y.spec.dtype == x.spec.dtype and not y.spec.weak for y in others)
            sizes = self.double and any(map(_is_size, others))  # no other float could meet the result
            if (same or sizes) and x.spec.dtype.kind in "fi":
                return write_scalar(_whole(x.value, node, x), weak=True)
        if x.op is CONSTANT and x.spec.weak:
            return write_scalar(_whole(x.value, node, x), weak=True)
        code = self.code_of(x)
        if x.spec.weak and name in _METHODS:
            return Code(f"np.asarray({code.text})")
        if name in _FLOAT_HELPERS and x.spec.dtype.kind != "f":
            return Code(f"np.asarray({code.text}, dtype=np.float64)")
        return code

    # -- statements --------------------------------------------------------------------------------

    def run(self) -> Program:
        """Write both functions."""
        self._name_all()
        for statements, members in ((self.program.forward, True), (self.program.backward, False)):
            for node in self.graph.nodes:
                if (node in self.forward) is not members or node.op is INPUT or node in self.free:
                    continue
                if not self.is_repeated(node) or self.uses[node] == 1:
                    self.write(node, statements)
        self.program.result = [self.code_of(node).text for node in self.graph.outputs]
        self._fill_cache()
        last = [s for s in self.program.forward if s.node is self.graph.outputs[0]]
        if last and not any(last[0].name in identifiers(s.code) for s in self.program.forward):
            self.program.forward.remove(last[0])
            self.program.forward.append(last[0])
        return self.program

    def write(self, node: Node, statements: list[Statement]) -> None:
        """Write a value: a statement, or an expression that waits for its only user."""
        code = self.spell(node)
        own = None if self._is_written_zeros(node) else node.rule
        rule = own or next((self.rules[x] for x in node.inputs if x in self.inside and x in self.rules), None)
        if rule and node not in self.pinned:
            self.rules[node] = rule
        if node in self.pinned:
            room = LONGEST - len(self.named.get(node, "t1")) - 3
            while len(code.text) > room and (x := self._longest(node)) is not None:
                self.lift(x, statements)
                code = self.spell(node)
            statements.append(Statement(node, self.name_of(node), code.text, rule))
        else:
            self.inside[node] = code
            if len(code.text) > LONGEST_INSIDE and not self.is_repeated(node):
                self.lift(node, statements)

    def lift(self, node: Node, statements: list[Statement]) -> None:
        """Give an expression that waits a line and a name of its own."""
        code = self.inside.pop(node)
        self.pinned.add(node)
        statements.append(Statement(node, self.name_of(node), code.text, self.rules.get(node)))

    def _longest(self, node: Node) -> Node | None:
        waiting = [
            x for x in node.inputs if x in self.inside and x.op is not CONSTANT and len(self.inside[x].text) > 16
        ]
        return max(waiting, key=lambda x: len(self.inside[x].text), default=None)

    def _fill_cache(self) -> None:
        wanted: set[Node] = set()
        stack = [node for node in self.graph.nodes if node not in self.forward]
        stack += [node for node in self.graph.outputs[1:] if node in self.forward]
        seen: set[Node] = set()
        while stack:
            node = stack.pop()
            if node in seen:
                continue
            seen.add(node)
            reads = node.inputs if node not in self.forward else (node,)
            for x in reads:
                if x not in self.forward or x in self.free:
                    stack.extend(y for y in x.inputs if x in self.free)
                    continue
                root = self.root(x)
                if root not in self.free:
                    wanted.add(root)
        for name, (position, _, _) in self.graph.symbols().items():
            if self._backward_reads(name) and not any(holds(node, name) for node in wanted):
                wanted.add(self.graph.inputs[position])
        self.program.cache = [node for node in self.graph.nodes if node in wanted]

    def _backward_reads(self, symbol: str) -> bool:
        texts = [s.code for s in self.program.backward] + self.program.result[1:]
        return any(symbol in identifiers(text) for text in texts)


def _whole(value: Any, node: Node, x: Node) -> Any:
    """Write 2.0 as 2 where the other operand is a float anyway: ``2 * x``, ``1 - h ** 2``, ``1 / m``."""
    others = [y for y in node.inputs if y is not x]
    floats = any(y.spec.dtype.kind == "f" for y in others) or (node.op.name == "divide" and x.spec.dtype.kind == "f")
    if not floats or node.op.name not in _TAKE_NUMBERS or not np.isfinite(value):
        return value
    whole = value == int(value) and abs(value) < 1e6 and not (value == 0 and np.signbit(value))
    return int(value) if whole else value


def _is_size(node: Node) -> bool:
    """Tell whether a node is the size of an axis, or a product of such."""
    name = getattr(node.op, "name", "")
    return name == "size" or (name == "multiply" and all(map(_is_size, node.inputs)))


def holds(node: Node, symbol: str) -> bool:
    """Tell whether a symbolic size can be read off a value's shape."""
    return any(isinstance(size, Dim) and size.symbol == symbol for size in node.spec.shape)


@lru_cache(maxsize=4096)
def identifiers(text: str) -> frozenset[str]:
    """Return the names that a piece of source reads; attributes are not among them."""
    return frozenset(re.findall(r"(?<![\w.])[^\W\d]\w*", text))
