"""Where in the user's source we are: the statement, and the expression within it that is being computed."""

from __future__ import annotations

import ast
import linecache
import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from types import CodeType, FrameType
from typing import Any

import numpy as np

from undertow.trace.where import file_name, user_frame

_LONGEST = 72  # characters of a quoted piece of source


@dataclass(frozen=True)
class Place:
    """A place in the user's source.

    Attributes:
        line: ``"model.py:12"``.
        frame: the function call that is there now.
        path: the syntax from the expression being computed outwards to its statement; empty without source.
        after: the statement that follows in the same block, if one does.
        text: the source of the line.
    """

    line: str
    frame: FrameType | None
    path: tuple[ast.AST, ...] = ()
    after: ast.stmt | None = None
    text: str = ""

    @property
    def expression(self) -> ast.AST | None:
        """The expression that is being computed."""
        return self.path[0] if self.path else None

    @property
    def statement(self) -> ast.AST | None:
        """The statement it belongs to."""
        return self.path[-1] if self.path else None

    @property
    def start(self) -> str:
        """How a message begins: ``model.py:12, `if x > 0:` ``."""
        return f"{self.line}, `{self.text}`" if self.text else self.line

    def value(self, node: ast.AST) -> Any:
        """Return what a name, an attribute, or an element of a list, dict or array stands for here; None if unknown."""
        if self.frame is None:
            return None
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, ast.Subscript):
            whole, key = self.value(node.value), self.value(node.slice)
            known = type(whole) in (list, tuple, dict, np.ndarray) and type(key) in (int, str)
            try:
                return whole[key] if known else None
            except LookupError:
                return None
        if isinstance(node, ast.Name):
            for names in (self.frame.f_locals, self.frame.f_globals):
                if node.id in names:
                    return names[node.id]
            return None
        if isinstance(node, ast.Attribute):
            return getattr(self.value(node.value), node.attr, None)
        return None

    def made(self, name: str) -> ast.expr | None:
        """Return what a variable of this function was last bound to above this line; None where that is not seen."""
        module = _parse(self.frame.f_code.co_filename) if self.frame else None
        if module is None or self.frame is None:
            return None
        first, last = self.frame.f_code.co_firstlineno, self.frame.f_lineno
        found = [
            value
            for node in ast.walk(module)
            if isinstance(node, ast.Assign) and first <= node.lineno <= last and len(node.targets) == 1
            for target, value in _pairs(node.targets[0], node.value)
            if show(target) == name
        ]
        return max(found, key=lambda value: value.lineno) if found else None

    def math_function(self) -> str | None:
        """Return the name of the function of Python's math module that is being called, if one is."""
        node = self.expression
        if not isinstance(node, ast.Call):
            return None
        function = self.value(node.func)
        name = getattr(function, "__name__", None)
        return name if name is not None and getattr(math, name, None) is function else None

    def flat_target(self) -> ast.expr | None:
        """Return the array of ``x.flat[i] = v`` or ``x.flat = v``, where that is being done."""
        target = self.expression
        if not isinstance(target, ast.Subscript | ast.Attribute) or not isinstance(target.ctx, ast.Store):
            return None
        node = target.value if isinstance(target, ast.Subscript) else target
        return node.value if isinstance(node, ast.Attribute) and node.attr == "flat" else None

    def calls(self, *names: str) -> bool:
        """Tell whether a call of one of these names is being computed."""
        return isinstance(self.expression, ast.Call) and called(self.expression) in names


def _pairs(target: ast.expr, value: ast.expr) -> list[tuple[ast.expr, ast.expr]]:
    """Each target of an assignment with its value: of ``a, b = 1, 2`` two pairs."""
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) and len(target.elts) == len(value.elts):
        return list(zip(target.elts, value.elts, strict=True))
    return [(target, value)]


def called(node: ast.AST) -> str:
    """Return the last part of the name of what a call calls: ``array`` for ``np.array(…)``."""
    function = node.func if isinstance(node, ast.Call) else None
    return (
        function.id if isinstance(function, ast.Name) else function.attr if isinstance(function, ast.Attribute) else ""
    )


def here() -> Place:
    """Return where the user's code is now."""
    frame = user_frame()
    return place_in(frame, frame.f_lasti, frame.f_lineno) if frame else Place("your function", None)


def place_in(frame: FrameType, instruction: int, number: int | None) -> Place:
    """Return where a function call is, at an instruction of its code and a line of its file."""
    file = frame.f_code.co_filename
    path, after = _find(frame.f_code, instruction)
    text = linecache.getline(file, number or 0).strip()
    return Place(f"{file_name(file)}:{number}", frame, path, after, shorten(text))


def shorten(text: str) -> str:
    """Cut a piece of source that is too long to quote."""
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} …"


def show(node: ast.AST) -> str:
    """Write syntax as source."""
    return shorten(" ".join(ast.unparse(node).split()))


def is_only_looked_at() -> bool:
    """Tell whether ``float(x)`` stands where its number cannot flow into a result: a comparison, a text, a print."""
    frame = user_frame()
    return frame is not None and _only_looked_at(frame.f_code, frame.f_lasti)


@lru_cache(maxsize=1024)
def _only_looked_at(code: CodeType, instruction: int) -> bool:
    path, _ = _find(code, instruction)
    for inner, outer in pairwise(path):
        if isinstance(outer, ast.Compare | ast.FormattedValue | ast.Assert):
            return True
        if isinstance(outer, ast.If | ast.While | ast.IfExp) and inner is outer.test:
            return True
        if isinstance(outer, ast.Call) and called(outer) in _LOOKERS and inner is not outer.func:
            return True
        if isinstance(outer, ast.stmt | ast.Subscript | ast.Call):
            return False
    first = path[0] if path else None
    return isinstance(first, ast.BinOp) and isinstance(first.op, ast.Mod) and isinstance(first.left, ast.Constant)


_LOOKERS = frozenset(
    ("print", "format", "str", "repr", "bool", "int", "range", "isnan", "isinf", "isfinite", "isclose", "allclose")
)


@lru_cache(maxsize=1024)
def _find(code: CodeType, instruction: int) -> tuple[tuple[ast.AST, ...], ast.stmt | None]:
    """Return the syntax at an instruction, from the innermost outwards to the statement, and the statement after it."""
    module = _parse(code.co_filename)
    position = next((p for i, p in enumerate(code.co_positions()) if 2 * i == instruction), None)
    if module is None or position is None or None in position:
        return (), None
    start, end = (position[0], position[2]), (position[1], position[3])
    path: list[ast.AST] = []
    after: ast.stmt | None = None
    block: Any = module.body
    node: ast.AST | None = module
    while node is not None:
        inner = None
        for name, field in ast.iter_fields(node):
            items = field if isinstance(field, list) else [field]
            for number, item in enumerate(items):
                if isinstance(item, ast.AST) and _holds(item, start, end):
                    inner = item
                    if isinstance(item, ast.stmt):
                        path.clear()
                        block = items if name in ("body", "orelse", "finalbody") else block
                        after = items[number + 1] if number + 1 < len(items) else None
        if inner is not None:
            path.append(inner)
        node = inner
    return tuple(reversed(path)), after


def _holds(node: ast.AST, start: tuple[Any, Any], end: tuple[Any, Any]) -> bool:
    if not hasattr(node, "lineno"):
        return isinstance(node, ast.comprehension | ast.arguments | ast.keyword | ast.withitem) and any(
            _holds(child, start, end) for child in ast.iter_child_nodes(node)
        )
    opening: Any = next(iter(getattr(node, "decorator_list", ())), node)  # decorators stand before their definition
    first, last = (opening.lineno, opening.col_offset), (node.end_lineno, node.end_col_offset)  # type: ignore[attr-defined]
    return first <= start and end <= last


@lru_cache(maxsize=16)
def _parse(file: str) -> ast.Module | None:
    text = "".join(linecache.getlines(file))
    try:
        return ast.parse(text) if text else None
    except SyntaxError:  # the file has changed since it was run
        return None
