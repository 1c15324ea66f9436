"""What makes an array of traced values in place of a list of them, and of ``np.r_``: written from the user's source."""

from __future__ import annotations

import ast
from typing import Any

from undertow.trace.place import Place, show

_LISTS = (ast.List, ast.Tuple, ast.ListComp)


def write_array(argument: ast.expr, tracer: Any, place: Place, dtype: str | None) -> str:
    """Write what to put in place of ``np.array(argument)``.

    Args:
        argument: what is to become an array.
        tracer: the traced value that was met there.
        place: where.
        dtype: the source of the dtype that is asked for, if one is.

    Returns:
        One remedy, or two where it is not known whether the argument is a list.
    """
    cast = f".astype({dtype})" if dtype else ""
    value = place.value(argument)
    if isinstance(argument, _LISTS) or isinstance(value, list | tuple) or _makes_list(argument):
        return f"`{_write_list(argument, value, scalar=not tracer.shape)}{cast}`"
    itself = f"`{show(argument)}{cast}`" if cast else f"`{show(argument)}` itself, or `{show(argument)}.copy()`"
    if value is None and not isinstance(argument, ast.BinOp | ast.Subscript):
        return f"{itself}, or where that is a list or a tuple `np.stack({show(argument)}){cast}`"
    return itself


def _write_list(argument: ast.expr, value: Any, scalar: bool) -> str:
    """Write the array of a list, perhaps of lists; the rows of np.block are lists of numbers, elsewhere are stacked."""
    if not isinstance(argument, _LISTS):
        deep = any(isinstance(row, list | tuple) for row in value or ())
        return f"np.stack([np.stack(row) for row in {show(argument)}])" if deep else f"np.stack({show(argument)})"
    if not any(isinstance(part, _LISTS) for part in _parts(argument)):
        return f"np.stack({show(argument)})"
    if scalar and not any(isinstance(part, ast.Tuple) for part in [argument, *_parts(argument)]):
        return f"np.block({show(argument)})"
    rows = [ast.parse(_write_list(part, None, scalar), mode="eval").body for part in _parts(argument)]
    if isinstance(argument, ast.ListComp):
        return f"np.stack({ast.unparse(ast.ListComp(rows[0], argument.generators))})"
    return f"np.stack([{', '.join(map(ast.unparse, rows))}])"


def _makes_list(argument: ast.expr) -> bool:
    """Whether it is a call such as list(…)."""
    called = argument.func if isinstance(argument, ast.Call) else None
    return isinstance(called, ast.Name) and called.id in ("list", "tuple", "sorted")


def _parts(argument: ast.expr) -> list[ast.expr]:
    if isinstance(argument, ast.ListComp):
        return [argument.elt]
    return argument.elts if isinstance(argument, ast.List | ast.Tuple) else []


def write_grid(tool: str, parts: list[ast.expr], tracer: Any) -> str:
    """Write what to put in place of ``np.r_[parts]`` or ``np.c_[parts]``.

    Args:
        tool: ``r_`` or ``c_``.
        parts: what stands in the brackets.
        tracer: the traced value that was met there.

    Returns:
        A call, which joins along the first or the last axis as they do.
    """
    inside = f"[{', '.join(map(show, parts))}]"
    if tool == "r_":
        return f"np.concatenate({inside})" if len(tracer.shape) > 1 else f"np.hstack({inside})"
    return f"np.concatenate({inside}, axis=-1)" if len(tracer.shape) > 2 else f"np.column_stack({inside})"
