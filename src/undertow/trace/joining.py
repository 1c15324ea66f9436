"""What makes an array of traced values in place of a list of them, of ``np.r_``, or of an array that is filled.

Written from the user's source.
"""

from __future__ import annotations

import ast
from typing import Any

import numpy as np

from undertow.trace.place import Place, called, show

_LISTS = (ast.List, ast.Tuple, ast.ListComp)
_JOINERS = frozenset(
    ("stack", "concatenate", "hstack", "vstack", "dstack", "column_stack", "block")
)  # of a list of arrays
_UNASKED = {
    "full": ("shape", "fill_value"),
    "select": ("condlist", "choicelist", "default"),
    "piecewise": ("x", "condlist", "funclist"),
}
_EMPTY = frozenset(("zeros", "empty", "zeros_like", "empty_like"))


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
    rows = [_parsed(_write_list(part, None, scalar)) for part in _parts(argument)]
    if isinstance(argument, ast.ListComp):
        return f"np.stack({ast.unparse(ast.ListComp(rows[0], argument.generators))})"
    return f"np.stack([{', '.join(map(ast.unparse, rows))}])"


def write_call(node: ast.Call, tracer: Any) -> str | None:
    """Write what to put in place of a call that makes a plain array of a list: ``np.sum(np.stack([a, b]))``.

    Args:
        node: the call.
        tracer: the traced value that was met there.

    Returns:
        The call with arrays in place of its lists; None where none of its arguments is written as a list.
    """
    scalar = not tracer.shape
    args = list(node.args)
    axes_in_lists = called(node) == "einsum" and bool(args) and not isinstance(args[0], ast.Constant)
    if called(node) in _JOINERS or axes_in_lists:
        args = [_join_inside(x, scalar) for x in args]
    else:
        lists = [isinstance(x, ast.List | ast.ListComp) or (not i and _holds_more(x)) for i, x in enumerate(args)]
        pairs = zip(args, lists, strict=True)
        args = [_parsed(_write_list(x, None, scalar)) if is_list else x for x, is_list in pairs]
    if all(new is old for new, old in zip(args, node.args, strict=True)):
        return None
    return ast.unparse(ast.Call(node.func, args, node.keywords))


def write_unasked(node: ast.Call, place: Place) -> str | None:
    """Write what to put in place of a call in which NumPy asks some arguments alone whether they are traced.

    Args:
        node: the call: of np.full, of np.select, whose default is not asked, or np.piecewise, whose functions are not.
        place: where.

    Returns:
        A product with np.ones, or the choice by np.where; None for other calls, and where their lists have a name.
    """
    kind = called(node)
    if place.value(node.func) is not getattr(np, kind, node):
        return None
    given = dict(zip(_UNASKED.get(kind, ()), node.args, strict=False))
    given |= {keyword.arg: keyword.value for keyword in node.keywords if keyword.arg}
    if kind == "full" and {"shape", "fill_value"} <= given.keys():
        return ast.unparse(ast.BinOp(given["fill_value"], ast.Mult(), _parsed(f"np.ones({show(given['shape'])})")))
    choices, conditions = given.get("choicelist", given.get("funclist")), given.get("condlist")
    if not isinstance(choices, ast.List | ast.Tuple) or conditions is None:
        return None
    tests = conditions.elts if isinstance(conditions, ast.List | ast.Tuple) else [conditions]
    values, text = [show(x) for x in choices.elts], show(given.get("default", ast.Constant(0)))
    pairs = list(zip(tests, values, strict=False))[::-1]  # of several that hold, np.select takes the first
    if kind == "piecewise":
        at = show(given["x"])
        called_or_not = [isinstance(x, ast.Lambda) or callable(place.value(x)) for x in choices.elts]
        values = [f"({v})({at})" if calls else v for v, calls in zip(values, called_or_not, strict=True)]
        pairs, text = list(zip(tests, values, strict=False)), values[-1] if len(values) > len(tests) else "0"
    for test, value in pairs:
        text = f"np.where({show(test)}, {value}, {text})"
    return text


def _join_inside(argument: ast.expr, scalar: bool) -> ast.expr:
    """A list of arrays, whose lists become arrays."""
    if not any(isinstance(part, ast.List | ast.ListComp) for part in _parts(argument)):
        return argument
    rows = [
        _parsed(_write_list(x, None, scalar)) if isinstance(x, ast.List | ast.ListComp) else x for x in _parts(argument)
    ]
    if isinstance(argument, ast.ListComp):
        return ast.ListComp(rows[0], argument.generators)
    return ast.List(rows, ast.Load())


def write_operand(node: ast.AST | None, tracer: Any) -> str | None:
    """Write what to put in place of an operation one side of which is written as a list; None for others."""
    if not isinstance(node, ast.BinOp):
        return None
    sides = [
        _parsed(_write_list(x, None, not tracer.shape)) if isinstance(x, ast.List | ast.ListComp) else x
        for x in (node.left, node.right)
    ]
    if sides[0] is node.left and sides[1] is node.right:
        return None
    return ast.unparse(ast.BinOp(sides[0], node.op, sides[1]))


def write_start(name: str, like: str, place: Place) -> str:
    """Write how an array begins that traced values are written into; it begins with what it holds.

    Args:
        name: of the array, a plain one.
        like: the name of a traced value.
        place: where it is written into.

    Returns:
        An assignment: ``out = np.zeros_like(x, shape=(3,))``, and where it holds something ``… + np.eye(3)``.
    """
    array = place.value(ast.parse(name, mode="eval").body)
    if not isinstance(array, np.ndarray):
        return f"{name} = np.zeros_like({like}, shape=…)"
    zeros = f"np.zeros_like({like}, shape={array.shape})"
    made = place.made(name)
    if (made is not None and called(made) in _EMPTY) or (array.dtype.kind in "biuf" and not array.any()):
        return f"{name} = {zeros}"
    return f"{name} = {zeros} + {show(made) if made is not None else name}"


def _parsed(source: str) -> ast.expr:
    return ast.parse(source, mode="eval").body


def _holds_more(argument: ast.expr) -> bool:
    """Whether it is a tuple of more than written numbers, which would be a shape."""
    return isinstance(argument, ast.Tuple) and not all(isinstance(x, ast.Constant) for x in argument.elts)


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
