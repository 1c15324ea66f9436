"""The forward and backward pass as a Python module that needs only NumPy, laid out for reading."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from undertow.emit.names import helpers
from undertow.emit.program import Program, Statement, holds, identifiers, plan
from undertow.emit.structure import LIKE, WIDTH, needs_original, nodes_of, put_together, unpack, wrap
from undertow.emit.words import meeting
from undertow.graph import CONSTANT, INPUT, Dim, Graph, Node, show_shape

COMMENT_COLUMN = 52  # comments stand no further right than this, unless the code does
_TOLD = 4  # arrays whose shapes a refusal gives
_SHORT = 44  # characters of a quoted forward statement


def write_source(
    graph: Graph,
    signature: Sequence[tuple[str, Any]],
    wrt: int | tuple[int, ...] = 0,
    *,
    title: str = "f",
    sizes: Mapping[int, Sequence[int]] = MappingProxyType({}),
) -> str:
    """Write a graph of loss and gradients as a Python module.

    Args:
        graph: outputs (loss, *gradients by the leaves of the arguments ``wrt``, in order).
        signature: each argument's name and its tree with the graph's input nodes at the leaves.
        wrt: the position or positions of the arguments differentiated; decides the tree that comes back.
        title: the name of the function.
        sizes: the axes whose sizes the program holds for alone, by the positions of inputs.

    Returns:
        Source with ``forward(*arguments) -> (loss, cache)`` and ``backward(cache) -> gradients``.

    Raises:
        UndertowError: the function holds a constant array of more than a megabyte.
        UnsupportedError: an argument is a container that has no source form.
    """
    return _Module(graph, signature, wrt, title, sizes).text()


def write_codes(
    graph: Graph, signature: Sequence[tuple[str, Any]], wrt: int | tuple[int, ...] = 0, *, title: str = "f"
) -> list[str]:
    """Write what the module of `write_source` computes, without comments: two that are equal are one program."""
    program = _Module(graph, signature, wrt, title, {}).program
    statements = [f"{s.name} = {s.code}" for s in (*program.forward, *program.backward)]
    return [*statements, *program.result, *program.constants]


class Lines(NamedTuple):
    """Where values stand in a module.

    Attributes:
        lines: the line on which a value is computed, from 1; one inside an expression is on the line of the
            statement that reads it first. Inputs, and constants that have no line, are absent.
        names: what the module calls inputs, and values with a line of their own.
    """

    lines: dict[Node, int]
    names: dict[Node, str]


def find_lines(
    graph: Graph,
    signature: Sequence[tuple[str, Any]],
    wrt: int | tuple[int, ...] = 0,
    *,
    title: str = "f",
    sizes: Mapping[int, Sequence[int]] = MappingProxyType({}),
) -> Lines:
    """Tell where the values of a graph stand in the module that `write_source` makes of the same arguments."""
    module = _Module(graph, signature, wrt, title, sizes)
    text = module.text().split("\n")
    program = module.program
    found: dict[Node, int] = {}
    heads = (
        next(i for i, line in enumerate(text) if line.startswith("def forward(")),
        text.index("def backward(cache):"),
    )
    for statements, at in zip((program.forward, program.backward), heads, strict=True):
        for statement in statements:
            at = next(i for i in range(at, len(text)) if text[i].startswith(f"    {statement.name} = "))
            found[statement.node] = at + 1
    inside: dict[Node, int] = {}
    for node, line in found.items():
        stack = list(node.inputs)
        while stack:
            x = stack.pop()
            if x.op is not INPUT and x not in found and x not in inside:
                inside[x] = line
                stack.extend(x.inputs)
    names = {node: name for node, name in program.names.items() if node.op is INPUT or node in found}
    return Lines({**inside, **found}, names)


class _Module:
    def __init__(
        self,
        graph: Graph,
        signature: Sequence[tuple[str, Any]],
        wrt: int | tuple[int, ...],
        title: str,
        sizes: Mapping[int, Sequence[int]],
    ) -> None:
        self.graph, self.title = graph, title
        self.fixed = {graph.inputs[i]: axes for i, axes in sizes.items()}
        self.places = wrt if isinstance(wrt, tuple) else (wrt,)
        self.single = not isinstance(wrt, tuple)
        bare = {tree: name for name, tree in signature if isinstance(tree, Node)}
        whole = {name for name, tree in signature if not isinstance(tree, Node)}
        # optree orders dicts by key; the graph's outputs follow that order, as its inputs do
        order = {node: i for i, node in enumerate(graph.inputs)}
        leaves = [x for i in self.places for x in sorted(nodes_of(signature[i][1]), key=order.__getitem__)]
        self.program: Program = plan(graph, bare, whole, leaves)
        self.names = self.program.names
        self.signature = [(self.names[tree] if isinstance(tree, Node) else name, tree) for name, tree in signature]
        self.gradients = dict(zip(leaves, self.program.result[1:], strict=True))
        self.outputs = dict(zip(leaves, graph.outputs[1:], strict=True))
        self.users: dict[str, list[Statement]] = {}  # the forward statements that read a value, by its name
        called = {self.names[x]: x.name for x in self.names if x.name}
        for statement in self.program.forward:
            for word in identifiers(statement.code) & called.keys():
                self.users.setdefault(called[word] or word, []).append(statement)
        self.originals = [self.signature[i][0] for i in self.places if needs_original(self.signature[i][1])]

    # -- the module --------------------------------------------------------------------------------

    def text(self) -> str:
        """Write the module."""
        body = [self._forward(), self._backward()]
        codes = [s.code for s in self.program.forward + self.program.backward] + self.program.result
        used = frozenset[str]().union(*map(identifiers, codes))
        defined = [text for name, text in helpers().items() if name in used]
        copies = re.search(r"\blike\(", body[1]) is not None
        if copies:
            defined.append(LIKE)
        line = next((node.line for node in self.graph.nodes if node.line and not node.backward), None)
        where = f" ({line.rsplit(':', 1)[0]})" if line else ""
        imports = ["import copy\n"] if copies else []
        imports += ["from collections import OrderedDict\n"] if any("OrderedDict(" in part for part in body) else []
        head = f'"""Forward and backward pass of {self.title}{where}, written by Undertow."""\n'
        special = any("scipy.special." in code for code in codes)
        start = "\n".join([head, *imports, "import numpy as np", *(["import scipy.special"] if special else [])])
        return "\n\n\n".join([start, *defined, *body, *self.program.constants]) + "\n"

    def _forward(self) -> str:
        statements = self.program.forward
        read = {*self.program.cache}
        sizes = self._sizes([s.code for s in statements])
        read.update(self.graph.inputs[self.graph.symbols()[symbol][0]] for symbol in sizes)
        words = identifiers(self.program.result[0]).union(*(identifiers(s.code) for s in statements))
        read.update(x for x in self.graph.inputs if self.names[x] in words)
        read.update(self.fixed)  # the guard asks for their shapes
        lines: list[str] = []
        for name, tree in self.signature:
            lines += unpack(tree, name, lambda node: self.names[node] if node in read else None)
        for symbol in sizes:
            position, axis, count = self.graph.symbols()[symbol]
            lines.append(_size(symbol, self.names[self.graph.inputs[position]], axis, count))
        lines += self._guard()
        rows = [(f"{s.name} = {s.code}", self._forward_comment(s)) for s in statements]
        kept = [*self.originals, *(self.names[node] for node in self.program.cache)]
        cache = wrap(kept, "(", ",)" if len(kept) == 1 else ")", 4) if kept else "()"
        lines += [*([""] if lines else []), *_align(rows, _breaks(statements))]
        lines.append(f"return {self.program.result[0]}, {cache}")
        head = f"def forward({', '.join(name for name, _ in self.signature)}):"
        note = '"""Return the loss, and what the backward pass needs."""'
        return _function(head, note, lines)

    def _backward(self) -> str:
        statements = self.program.backward
        kept = [*self.originals, *(self.names[node] for node in self.program.cache)]
        lines = []
        if kept:
            target = f"({kept[0]},)" if len(kept) == 1 else ", ".join(kept)
            if len(target) + 12 > WIDTH:
                target = wrap(kept, "(", ")", 4)
            lines.append(f"{target} = cache")
        for symbol in self._sizes([s.code for s in statements] + self.program.result[1:]):
            for node in self.program.cache:
                if holds(node, symbol):
                    axis, size = next(
                        (i, d) for i, d in enumerate(node.spec.shape) if isinstance(d, Dim) and d.symbol == symbol
                    )
                    lines.append(_size(symbol, self.names[node], axis, size.count))
                    break
        rows = [(f"{s.name} = {s.code}", self._backward_comment(s)) for s in statements]
        rows += self._copies()
        lines += [*([""] if lines and rows else []), *_align(rows, _breaks(statements))]
        parts = [
            put_together(tree, name, lambda node: self.gradients[node], 4, top=self.single)
            for name, tree in (self.signature[i] for i in self.places)
        ]
        result = parts[0] if self.single else wrap(parts, "(", ",)" if len(parts) == 1 else ")", 4)
        if not self.single and len(parts) > 1 and len(", ".join(parts)) + 11 <= WIDTH and "\n" not in result:
            result = ", ".join(parts)
        lines.append(f"return {result}")
        names = " and ".join(self.signature[i][0] for i in self.places)
        return _function("def backward(cache):", f'"""Return the gradient of the loss by {names}."""', lines)

    # -- parts -------------------------------------------------------------------------------------

    def _copies(self) -> list[tuple[str, tuple[str, str]]]:
        """Give each gradient that is another value or a view a line and memory of its own: db1 = dz1.copy()."""
        rows = []
        made = {s.name for s in self.program.backward}
        for leaf, code in self.gradients.items():
            node, wish = self.outputs[leaf], f"d{self.names[leaf]}"
            if node.spec.weak or not ((code in made and code != wish) or _is_shared(node)):
                continue
            name = wish if code == wish else self.program.claim(wish)
            why = f"the same as {code}" if code.isidentifier() and code != name else "memory of its own"
            rows.append((f"{name} = {code}.copy()", (show_shape(node.spec.shape), why)))
            self.gradients[leaf] = name
        return rows

    def _guard(self) -> list[str]:
        """Refuse sizes that would make another program of the function: these are numbers in this one."""
        if not self.fixed:
            return []
        asked, told = [], []
        for node, axes in self.fixed.items():
            name, shape = self.names[node], node.spec.shape
            first = axes[0]
            if len(axes) == len(shape):
                asked.append(f"np.shape({name}) != {shape}")
            elif len(axes) == len(shape) - first:
                asked.append(f"{name}.shape[{first}:] != {shape[first:]}")
            else:
                asked += [f"{name}.shape[{axis}] != {shape[axis]}" for axis in axes]
            told.append(f"{name} {show_shape(shape)}")
        test = f"if {' or '.join(asked)}:"
        if len(test) + 4 > WIDTH:
            test = "\n".join(["if (", *[f"    {'or ' * (i > 0)}{x}" for i, x in enumerate(asked)], "):"])
        told = told[:_TOLD] + ["…"] * (len(told) > _TOLD)
        why = f"written for {', '.join(told)}: with other sizes, {self.title} is another program"
        return [*test.split("\n"), f'    raise ValueError("{why}")']

    def _sizes(self, texts: list[str]) -> list[str]:
        return [symbol for symbol in self.graph.symbols() if any(symbol in identifiers(text) for text in texts)]

    def _forward_comment(self, statement: Statement) -> tuple[str, str]:
        node = statement.node
        note = node.line or ""
        if statement.rule:
            note = f"{note}: {statement.rule}" if note else statement.rule
        return show_shape(node.spec.shape), note

    def _backward_comment(self, statement: Statement) -> tuple[str, str]:
        node = statement.node
        shape = show_shape(node.spec.shape)
        if statement.rule:
            return shape, meeting(node, self.graph) or f"simplified: {statement.rule}"
        through = self._origin(node)
        return shape, f"through {through}" if through else node.line or ""

    def _origin(self, node: Node) -> str | None:
        """Return the forward statement whose chain rule made a cotangent, quoted if it is short."""
        if node.ct_of is None or node.line is None:
            return None
        users = self.users.get(node.ct_of, [])
        users = [s for s in users if s.node.line == node.line] or users
        if not users:
            return node.line
        user = users[-1]
        text = f"{user.name} = {user.code}"
        return text if len(text) <= _SHORT else f"{user.name}, {user.node.line}" if user.node.line else user.name


def _is_shared(node: Node) -> bool:
    """Tell whether the code of a value gives an argument, a constant of the module, or a view of something."""
    op: Any = node.op
    if op is CONSTANT:
        return node.spec.ndim > 0
    filled = not isinstance(op, type(INPUT)) and op.name == "broadcast_to" and node.inputs[0].op is CONSTANT
    return op is INPUT or (op.view and not filled)


def _size(symbol: str, name: str, axis: int, count: int) -> str:
    return f"{symbol} = {name}.shape[{axis}]{f' // {count}' if count != 1 else ''}"


def _breaks(statements: Sequence[Statement]) -> set[int]:
    """Return before which statements a blank line stands: where a new line of the user's begins, in long passes."""
    if len(statements) <= 12:
        return set()
    found: set[int] = set()
    since = 0
    for i in range(1, len(statements)):
        if i - since >= 3 and statements[i].node.line != statements[i - 1].node.line:
            found.add(i)
            since = i
    return found


def _align(rows: Sequence[tuple[str, tuple[str, str]]], breaks: set[int]) -> list[str]:
    """Set the comments in columns: the shape, then where the line comes from."""
    fitting = [len(code) for code, _ in rows if len(code) <= COMMENT_COLUMN]
    column = max(fitting, default=0) + 2
    wide = max((len(shape) for _, (shape, _) in rows), default=0)
    lines = []
    for i, (code, (shape, note)) in enumerate(rows):
        if i in breaks:
            lines.append("")
        lines.append(f"{code:<{column - 2}}  # {shape:<{wide}}  {note}".rstrip())
    return lines


def _function(head: str, note: str, lines: Iterable[str]) -> str:
    return "\n".join([head, *(f"    {line}" if line else "" for line in (note, *lines))])
