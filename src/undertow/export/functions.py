"""A graph as one Python function: arguments taken apart, a line a value, the result put together."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from undertow import nn
from undertow.emit.names import helpers
from undertow.emit.program import identifiers, plan
from undertow.emit.structure import unpack
from undertow.graph import Graph, Node, show_shape

_WIDEST = 56  # comments stand no further right than this, unless the code does


@dataclass(frozen=True)
class Function:
    """A written function.

    Attributes:
        text: its source.
        used: the names that it reads.
        constants: statements that define its large constants.
    """

    text: str
    used: frozenset[str]
    constants: tuple[str, ...] = ()


def write_function(
    name: str,
    arguments: Sequence[tuple[str, Any]],
    graph: Graph,
    note: str,
    result: Callable[[list[str]], str],
    *,
    reserved: Iterable[str] = (),
    comments: bool = True,
) -> Function:
    """Write a graph as a function.

    Args:
        name: of the function.
        arguments: each argument's name and its tree, with the graph's inputs at the leaves.
        graph: what it computes.
        note: its docstring.
        result: makes of the outputs' expressions the one that is returned.
        reserved: names that the lines must not use.
        comments: whether shape and origin stand behind each line.

    Returns:
        The function.

    Source: derived here.

    Example:
        >>> from undertow.trace import trace_function
        >>> traced = trace_function(lambda x: 2 * x, [1.0])
        >>> (node,) = traced.graph.inputs
        >>> write_function("double", [("x", node)], traced.graph, "Twice x.", ", ".join).text.splitlines()[0]
        'def double(x):'
    """
    bare = {tree: argument for argument, tree in arguments if isinstance(tree, Node)}
    whole = {argument for argument, tree in arguments if not isinstance(tree, Node)}
    program = plan(graph, bare, {*whole, *reserved})
    texts = [s.code for s in program.forward] + program.result
    used = frozenset[str]().union(*map(identifiers, texts))
    lines = []
    for argument, tree in arguments:
        lines += unpack(tree, argument, lambda node: program.names[node] if program.names[node] in used else None)
    for symbol, (position, axis, count) in graph.symbols().items():
        if symbol in used:
            size = f"{program.names[graph.inputs[position]]}.shape[{axis}]"
            lines.append(f"{symbol} = {size}{f' // {count}' if count != 1 else ''}")
    rows = [(f"{s.name} = {s.code}", show_shape(s.node.spec.shape), s.node.line or "") for s in program.forward]
    lines += [""] if lines and rows else []
    lines += align(rows) if comments else [code for code, _, _ in rows]
    head = f"def {name}({', '.join(argument for argument, _ in arguments)}):"
    body = [f'"""{note}"""', *lines, f"return {result(program.result)}"]
    text = "\n".join([head, *(f"    {line}" if line else "" for line in body)])
    return Function(text, used, tuple(program.constants))


def align(rows: Sequence[tuple[str, str, str]]) -> list[str]:
    """Set comments in columns: the code, the shape, the origin.

    Args:
        rows: these three for each line.

    Returns:
        The lines.

    Source: derived here.

    Example:
        >>> align([("z = x @ W", "(m, 3)", "Dense"), ("h = z", "(m, 3)", "")])
        ['z = x @ W  # (m, 3)  Dense', 'h = z      # (m, 3)']
    """
    column = max((len(code) for code, _, _ in rows if len(code) <= _WIDEST), default=0)
    wide = max((len(shape) for _, shape, _ in rows), default=0)
    return [f"{code:<{column}}  # {shape:<{wide}}  {origin}".rstrip() for code, shape, origin in rows]


def find_helpers(used: Iterable[str]) -> dict[str, str]:
    """Find the definitions of functions that NumPy lacks, with those that they call themselves.

    Args:
        used: names that are read.

    Returns:
        Their sources by name.

    Source: derived here.

    Example:
        >>> list(find_helpers({"softmax", "np"}))
        ['softmax']
    """
    known = helpers()
    found: dict[str, str] = {}
    stack = list(used)
    while stack:
        name = stack.pop()
        if name in known and name not in found:
            found[name] = known[name]
            stack += identifiers(known[name]) - {name}
    return {name: text for name, text in known.items() if name in found}


@cache
def _owners() -> dict[str, list[tuple[int, int, str]]]:
    """The classes and functions of each file of `undertow.nn`, with their first and last lines."""
    found: dict[str, list[tuple[int, int, str]]] = {}
    for path in Path(str(nn.__file__)).parent.glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found[path.name] = [
            (x.lineno, x.end_lineno or x.lineno, x.name)
            for x in tree.body
            if isinstance(x, ast.ClassDef | ast.FunctionDef)
        ]
    return found


def name_origins(graph: Graph, own: set[str]) -> None:
    """Write ``Dense`` and ``relu`` for lines of Undertow's own layers, which a reader of the file does not have.

    Args:
        graph: its nodes are changed.
        own: names of the user's source files: what is from these stays.

    Source: derived here.

    Example:
        >>> from undertow.trace import trace_function
        >>> import numpy as np
        >>> graph = trace_function(lambda z: nn.ACTIVATIONS["tanh"](z), [np.zeros(2)]).graph
        >>> name_origins(graph, set())
        >>> graph.outputs[0].line
        'tanh'
    """
    for node in graph.nodes:
        match = re.fullmatch(r"(.+):(\d+)", node.line or "")
        if match is None or match[1] in own:
            continue
        line = int(match[2])
        names = [name for first, last, name in _owners().get(match[1], ()) if first <= line <= last]
        if names:
            node.line = names[-1].strip("_").replace("_", " ") if names[-1].startswith("_") else names[-1]
