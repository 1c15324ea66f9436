"""The forward and backward pass as a Python module that needs only NumPy, laid out for reading."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

from undertow.emit.helpers import HELPERS
from undertow.emit.program import Program, Statement, holds, mentions, plan
from undertow.emit.structure import LIKE, WIDTH, needs_original, nodes_of, put_together, unpack, wrap
from undertow.graph import INPUT, Dim, Graph, Node, show_shape

COMMENT_COLUMN = 52  # comments stand no further right than this, unless the code does
_SHORT = 44  # characters of a quoted forward statement


def write_source(
    graph: Graph, signature: Sequence[tuple[str, Any]], wrt: int | tuple[int, ...] = 0, *, title: str = "f"
) -> str:
    """Write a graph of loss and gradients as a Python module.

    Args:
        graph: outputs (loss, *gradients by the leaves of the arguments ``wrt``, in order).
        signature: each argument's name and its tree with the graph's input nodes at the leaves.
        wrt: the position or positions of the arguments differentiated; decides the tree that comes back.
        title: the name of the function.

    Returns:
        Source with ``forward(*arguments) -> (loss, cache)`` and ``backward(cache) -> gradients``.

    Raises:
        UndertowError: the function holds a constant array of more than a megabyte.
        UnsupportedError: an argument is a container that has no source form.
    """
    return _Module(graph, signature, wrt, title).text()


class _Module:
    def __init__(
        self, graph: Graph, signature: Sequence[tuple[str, Any]], wrt: int | tuple[int, ...], title: str
    ) -> None:
        self.graph, self.title = graph, title
        self.places = wrt if isinstance(wrt, tuple) else (wrt,)
        self.single = not isinstance(wrt, tuple)
        bare = {tree: name for name, tree in signature if isinstance(tree, Node)}
        whole = {name for name, tree in signature if not isinstance(tree, Node)}
        leaves = [node for i in self.places for node in nodes_of(signature[i][1])]
        self._name_gradients(leaves)
        self.program: Program = plan(graph, bare, whole)
        self.names = self.program.names
        self.signature = [(self.names[tree] if isinstance(tree, Node) else name, tree) for name, tree in signature]
        self.gradients = dict(zip(self._leaves(), self.program.result[1:], strict=True))
        self.originals = [self.signature[i][0] for i in self.places if needs_original(self.signature[i][1])]

    def _leaves(self) -> list[Node]:
        # optree orders dicts by key; the graph's outputs follow that order, as the inputs do
        order = {node: i for i, node in enumerate(self.graph.inputs)}
        return [x for i in self.places for x in sorted(nodes_of(self.signature[i][1]), key=order.__getitem__)]

    def _name_gradients(self, leaves: list[Node]) -> None:
        order = {node: i for i, node in enumerate(self.graph.inputs)}
        del order, leaves

    # -- the module --------------------------------------------------------------------------------

    def text(self) -> str:
        """Write the module."""
        body = [self._forward(), self._backward()]
        helpers = [
            text for name, text in HELPERS.items() if any(f"{name}(" in part and _calls(part, name) for part in body)
        ]
        copies = any(_calls(part, "like") for part in body)
        if copies:
            helpers.append(LIKE)
        line = next((node.line for node in self.graph.nodes if node.line and not node.backward), None)
        where = f" ({line.rsplit(':', 1)[0]})" if line else ""
        imports = ["import copy\n"] if copies else []
        imports += ["from collections import OrderedDict\n"] if any("OrderedDict(" in part for part in body) else []
        head = f'"""Forward and backward pass of {self.title}{where}, written by Undertow."""\n'
        start = "\n".join([head, *imports, "import numpy as np"])
        return "\n\n\n".join([start, *helpers, *body, *self.program.constants]) + "\n"

    def _forward(self) -> str:
        statements = self.program.forward
        read = {x for s in statements for x in self._reads(s)} | set(self.program.cache)
        sizes = self._sizes([s.code for s in statements])
        read.update(self.graph.inputs[self.graph.symbols()[symbol][0]] for symbol in sizes)
        read.add(self.graph.outputs[0])
        texts = [s.code for s in statements] + [self.program.result[0]]
        read.update(x for x in self.graph.inputs if any(mentions(text, self.names[x]) for text in texts))
        lines: list[str] = []
        for name, tree in self.signature:
            lines += unpack(tree, name, lambda node: self.names[node] if node in read else None)
        for symbol in sizes:
            position, axis, count = self.graph.symbols()[symbol]
            lines.append(_size(symbol, self.names[self.graph.inputs[position]], axis, count))
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

    def _reads(self, statement: Statement) -> Iterable[Node]:
        return statement.node.inputs

    def _sizes(self, texts: list[str]) -> list[str]:
        return [symbol for symbol in self.graph.symbols() if any(mentions(text, symbol) for text in texts)]

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
            return shape, statement.rule
        through = self._origin(node)
        return shape, f"through {through}" if through else node.line or ""

    def _origin(self, node: Node) -> str | None:
        """Return the forward statement whose chain rule made a cotangent, quoted if it is short."""
        source = next((x for x in self.graph.nodes if node.ct_of and x.name == node.ct_of), None)
        if source is None or node.line is None:
            return None
        users = [
            s for s in self.program.forward if s.node.line == node.line and mentions(s.code, self.names.get(source, ""))
        ]
        if not users:
            users = [s for s in self.program.forward if mentions(s.code, self.names.get(source, ""))]
        if not users:
            return node.line
        user = users[-1]
        text = f"{user.name} = {user.code}"
        return text if len(text) <= _SHORT else f"{user.name}, {user.node.line}" if user.node.line else user.name


def _calls(text: str, name: str) -> bool:
    return mentions(text, name) and f"{name}(" in text


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
    body = "\n".join([note, *lines])
    indented = textwrap.indent(body, "    ", lambda line: bool(line.strip()))
    return f"{head}\n{_restore(indented)}"


def _restore(text: str) -> str:
    """Undo the second indentation of the broken lines, which carry their own."""
    out = []
    open_brackets = 0
    for line in text.split("\n"):
        out.append(line[4:] if open_brackets > 0 else line)
        code = line.split("  # ", 1)[0] if open_brackets == 0 else line
        open_brackets += sum(code.count(c) for c in "([{") - sum(code.count(c) for c in ")]}")
    return "\n".join(out)


__all__ = ["INPUT", "write_source"]
