"""NumPy's warnings of numbers that overflow or are invalid, told at the user's line and not at ours that computes."""

from __future__ import annotations

import ast
import linecache
import sys
import warnings
from contextlib import AbstractContextManager, nullcontext
from functools import cache, lru_cache
from itertools import islice
from types import CodeType, FrameType
from typing import Any, Final

import numpy as np

from undertow.graph import Node
from undertow.trace.tracer import Trace
from undertow.trace.where import is_library, is_ours

_OPERATORS: Final[dict[type[ast.operator], str]] = {
    ast.Add: "add", ast.Sub: "subtract", ast.Mult: "multiply", ast.Div: "divide", ast.FloorDiv: "floor_divide",
    ast.Mod: "remainder", ast.Pow: "power", ast.MatMult: "matmul",
}  # fmt: skip
_told: dict[Any, int] = {}  # which warnings of a graph's lines were shown, as modules remember it of their own


def at_user_line() -> AbstractContextManager[Any]:
    """Make the context in which NumPy's warnings name the line that the user wrote, or that a graph comes from.

    Only what would warn is changed: where the user ignores, raises, logs or calls, that goes on.

    Example:
        >>> with warnings.catch_warnings(record=True) as seen:
        ...     warnings.simplefilter("always")
        ...     with at_user_line():
        ...         y = np.exp(np.array([1e3]))
        >>> str(seen[0].message)
        'overflow encountered in exp'
    """
    changed = _changed(*np.geterr().values())
    return np.errstate(call=_tell, **changed) if changed else nullcontext()


@cache
def _changed(*modes: str) -> dict[str, Any]:
    """What becomes a call of ours, of NumPy's modes in the order of `numpy.geterr`; nothing where others are called."""
    if "call" in modes or "log" in modes:
        return {}
    return {kind: "call" for kind, mode in zip(np.geterr(), modes, strict=True) if mode == "warn"}


def _tell(kind: str, flag: int) -> None:
    """Warn as NumPy does, with another place (a hook of `numpy.seterrcall`)."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and (is_ours(file := frame.f_code.co_filename) or is_library(file)):
        if frame.f_code is Trace.add.__code__:
            _warn_in(_user_frame(frame), kind, frame.f_locals["op"].name)
            return
        node = frame.f_locals.get("node")  # of a graph that is evaluated
        if isinstance(node, Node) and node.line:
            name, _, line = node.line.rpartition(":")
            text = f"{kind} encountered in {node.op.name}"
            warnings.warn_explicit(text, RuntimeWarning, node.file or name, int(line), registry=_told)
            return
        frame = frame.f_back
    _warn_in(frame, kind, None)


def _user_frame(frame: FrameType | None) -> FrameType | None:
    while frame is not None and (is_ours(file := frame.f_code.co_filename) or is_library(file)):
        frame = frame.f_back
    return frame


def _warn_in(frame: FrameType | None, kind: str, operation: str | None) -> None:
    """Warn at the line of a frame; of plain arrays its source says which operation it was."""
    if frame is None:
        warnings.warn(f"{kind} encountered in {operation}", RuntimeWarning, stacklevel=3)
        return
    operation = operation or _operation_at(frame.f_code, frame.f_lasti)
    text = f"{kind} encountered" + (f" in {operation}" if operation else "")
    registry = frame.f_globals.setdefault("__warningregistry__", {})
    module = frame.f_globals.get("__name__")
    warnings.warn_explicit(text, RuntimeWarning, frame.f_code.co_filename, frame.f_lineno, module, registry)


@lru_cache(maxsize=1024)
def _operation_at(code: CodeType, at: int) -> str | None:
    """The function or operator that an instruction belongs to, read off the source; None where there is none."""
    line, end, left, right = next(islice(code.co_positions(), at // 2, None), (None, None, None, None))
    if line is None or line != end or left is None or right is None:
        return None
    text = linecache.getline(code.co_filename, line).encode()[left:right].decode(errors="replace")
    try:
        (found,) = ast.parse(text).body
    except (SyntaxError, ValueError):
        return None
    inner = found.value if isinstance(found, ast.Expr) else found
    if isinstance(inner, ast.Call):
        return getattr(inner.func, "attr", getattr(inner.func, "id", None))
    operator = getattr(inner, "op", None)
    return _OPERATORS.get(type(operator)) if isinstance(operator, ast.operator) else None
