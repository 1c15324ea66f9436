"""What to write instead: the errors for Python's control flow, Python's math, and plain arrays that take traced values.

Each shows the user's line and proposes a replacement made from it.
"""

from __future__ import annotations

import ast
from typing import Any

import numpy as np

from undertow import primitives as P
from undertow.errors import ControlFlowError, InPlaceError, RefusedError, ShapeError, UndertowError, UnsupportedError
from undertow.graph import INPUT, Node, ancestors, show_shape
from undertow.trace.foreign import meets_foreign, scipy_remedy, takes_numbers
from undertow.trace.joining import write_array, write_call, write_grid, write_operand, write_start, write_unasked
from undertow.trace.place import Place, called, here, show

_NUMPY_NAMES = {
    "acos": "np.arccos", "acosh": "np.arccosh", "asin": "np.arcsin", "asinh": "np.arcsinh", "atan": "np.arctan",
    "atan2": "np.arctan2", "atanh": "np.arctanh", "pow": "np.power", "fsum": "np.sum", "erf": "scipy.special.erf",
    "erfc": "scipy.special.erfc", "gamma": "scipy.special.gamma", "lgamma": "scipy.special.gammaln",
    "dist": "np.linalg.norm", "comb": "scipy.special.comb", "factorial": "scipy.special.factorial",
}  # fmt: skip


_CONDITIONAL = (ast.If, ast.IfExp, ast.While, ast.Assert, ast.BoolOp, ast.UnaryOp)


def numpy_name(function: str) -> str:
    """Return NumPy's function for one of Python's math module: ``np.sin`` for ``sin``."""
    return _NUMPY_NAMES.get(function, f"np.{function}" if hasattr(np, function) else "a function of NumPy's")


def name_of(tracer: Any) -> str:
    """Say which value it is: its name, if it has one, and its shape."""
    name = tracer._node.name
    if not name or not name.isidentifier():  # p[0][1] has a name of ours, which nobody knows
        name = "a traced number" if not tracer._node.spec.shape else "a traced array"
    return f"{name} {show_shape(tracer._node.spec.shape)}" if tracer._node.spec.shape else name


# ---- control flow --------------------------------------------------------------------------------


def is_given(node: Node) -> bool:
    """Tell whether a number depends on an argument, so that no trace of shapes can know it."""
    return any(x.op is INPUT for x in ancestors([node]))


def unknown_value(tracer: Any, wish: str) -> UndertowError:
    """Make the error for asking for a value where only shapes are traced."""
    place, node = here(), tracer._node
    end = "(ut.grad sees values; ut.backprop does not.)"
    asked, verb = place.expression, "are" if wish == "the values" else "is"
    computed = place.math_function() is not None or (isinstance(asked, ast.Call) and called(asked) == "float")
    if wish == "the number" and node.op is INPUT and node.spec.weak and not computed:  # for range(n) or np.zeros(n)
        name = node.name if node.name and node.name.isidentifier() else "n"
        return ControlFlowError(
            f"{place.start}: {name} is an argument, and arguments have no values while only shapes are traced. Bind it "
            f"before, with functools.partial(f, {name}=…), or let f read it from outside. {end}"
        )
    return ControlFlowError(
        f"{place.start}: {wish} of {name_of(tracer)} {verb} not known while only shapes are traced. {advice(place)} "
        f"{end}"
    )


def ambiguous(tracer: Any) -> UndertowError:
    """Make the error for asking an array of several elements whether it is true."""
    place = here()
    return ShapeError(
        f"{place.start}: the truth value of {name_of(tracer)} is ambiguous: each of its elements has its own. "
        f"{advice(place)} Or ask for one answer, with np.any or np.all."
    )


def advice(place: Place) -> str:
    """Propose what to write instead of what is at a place that asks for a value."""
    node = place.expression
    function = place.math_function()
    if function is not None and isinstance(node, ast.Call):
        return f"Write `{numpy_name(function)}({', '.join(map(show, node.args))})`."
    for inner, outer, around in zip((None, *place.path), place.path, (*place.path[1:], None), strict=False):
        if isinstance(outer, ast.BoolOp | ast.UnaryOp) and isinstance(around, _CONDITIONAL):
            continue  # the condition as a whole is what to rewrite
        found = _advice_for(place, inner, outer)
        if found:
            return found
    return "Write a choice as np.where(condition, a, b), and a loop over a number that does not depend on array values."


def _advice_for(place: Place, inner: ast.AST | None, node: ast.AST) -> str | None:
    """Propose a replacement for a piece of syntax; ``inner`` is the part of it that is being computed."""
    if isinstance(node, ast.If) and (inner is node.test or inner is None):
        return f"Write {_choice(node, place.after)}."
    if isinstance(node, ast.IfExp) and (inner is node.test or inner is None):
        return f"Write `np.where({condition(node.test)}, {show(node.body)}, {show(node.orelse)})`."
    if isinstance(node, ast.While):
        return (
            f"Loop a number of times that does not depend on values, for step in range(n), and keep the old value "
            f"where the loop would have ended: `x = np.where({condition(node.test)}, new, x)`."
        )
    if isinstance(node, ast.Assert):
        return "Leave the assertion out, or check the result outside the function."
    if isinstance(node, ast.comprehension):
        return f"Write `np.where({' & '.join(condition(test) for test in node.ifs)}, value, 0)` for each element."
    if isinstance(node, ast.Call):
        return _advice_for_call(node)
    if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.In | ast.NotIn):
        sign = "==" if isinstance(node.ops[0], ast.In) else "!="
        quantifier = "any" if sign == "==" else "all"
        return f"Write `np.{quantifier}(np.stack({show(node.comparators[0])}) {sign} {show(node.left)})`."
    if isinstance(node, ast.Subscript) and not isinstance(node.slice, ast.Slice):
        return f"Write {look_up(place, node.value, node.slice)}."
    if isinstance(node, ast.Subscript):
        return f"Write `np.where(np.arange(len({show(node.value)})) < n, {show(node.value)}, 0)` for a slice up to n."
    if isinstance(node, ast.BoolOp) or (isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not)):
        return f"Write `{condition(node)}`."
    return None


def _advice_for_call(node: ast.Call) -> str | None:
    """Propose NumPy's function for one of Python's own."""
    name, args = called(node), [show(arg) for arg in node.args]
    if node.keywords:  # max(x, key=abs) is another thing than np.max(x)
        return None
    if name in ("max", "min") and isinstance(node.func, ast.Name):
        if len(args) == 2:
            return f"Write `np.{name}imum({args[0]}, {args[1]})`."
        several = args[0] if len(args) == 1 else f"np.stack([{', '.join(args)}])"
        return f"Write `np.{name}({several})`."
    if not isinstance(node.func, ast.Name) or len(args) != 1:
        return None
    return {
        "sorted": f"Write `np.sort(np.stack({args[0]}))`.",
        "any": f"Write `np.any({args[0]})`.",
        "all": f"Write `np.all({args[0]})`.",
        "int": f"Write `{args[0]}.astype(int)`, or use a number that does not depend on array values.",
        "float": f"Write `{args[0]}` itself.",
        "range": "Loop over a number that does not depend on array values.",
        "round": f"Write `np.round({args[0]})`.",
    }.get(name)


def condition(test: ast.AST) -> str:
    """Write a condition of Python's as one for arrays: ``a < x < b`` as ``(a < x) & (x < b)``."""
    if isinstance(test, ast.BoolOp):
        sign = " & " if isinstance(test.op, ast.And) else " | "
        return sign.join(f"({condition(value)})" for value in test.values)
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        return f"~({condition(test.operand)})"
    if isinstance(test, ast.Compare) and len(test.ops) > 1:
        sides = [test.left, *test.comparators]
        pairs = [ast.Compare(a, [op], [b]) for a, op, b in zip(sides, test.ops, sides[1:], strict=False)]
        return " & ".join(f"({show(pair)})" for pair in pairs)
    return show(test)


def _choice(node: ast.If, after: ast.stmt | None) -> str:
    """Write an if statement with np.where; where its branches are too long for that, only the choice itself."""
    test = condition(node.test)
    first = node.body[0] if len(node.body) == 1 else None
    second = node.orelse[0] if len(node.orelse) == 1 else None
    if isinstance(first, ast.Return) and first.value is not None:
        other = second if node.orelse else after
        if isinstance(other, ast.Return) and other.value is not None:
            return f"`return np.where({test}, {show(first.value)}, {show(other.value)})`"
    a, b = _assigned(first), _assigned(second)
    if a is not None and (b is not None or not node.orelse):
        target, value = a
        if b is None or b[0] == target:
            return f"`{target} = np.where({test}, {value}, {target if b is None else b[1]})`"
    return f"`np.where({test}, a, b)`, where a and b are the results of the two branches"


def _assigned(statement: ast.stmt | None) -> tuple[str, str] | None:
    """Return the target and the value of ``y = value`` and ``y += value``."""
    if isinstance(statement, ast.Assign) and len(statement.targets) == 1 and isinstance(statement.targets[0], ast.Name):
        return show(statement.targets[0]), show(statement.value)
    if isinstance(statement, ast.AugAssign) and isinstance(statement.target, ast.Name):
        return show(statement.target), show(ast.BinOp(statement.target, statement.op, statement.value))
    return None


def unknown_count(tracer: Any) -> UndertowError:
    """Make the error for ``x[mask]`` with a traced mask where only shapes are traced."""
    place = here()
    node, statement = place.expression, place.statement
    way = "`np.where(mask, x, 0)` for x[mask], and `x = np.where(mask, new, x)` for x[mask] = new"
    if isinstance(node, ast.Subscript):
        array, mask = show(node.value), show(node.slice)
        way = f"`np.where({mask}, {array}, 0)`, which keeps the shape"
        if isinstance(statement, ast.AugAssign) and statement.target is node:
            value = show(ast.BinOp(node.value, statement.op, statement.value))
            way = f"`{array} = np.where({mask}, {value}, {array})`"
        elif isinstance(statement, ast.Assign) and statement.targets[0] is node:
            way = f"`{array} = np.where({mask}, new, {array})`, where new has the shape of {array}"
    return UnsupportedError(
        f"{place.start}: how many elements a mask picks of {name_of(tracer)} is not known while only shapes are "
        f"traced. Write {way}. (ut.grad sees values; ut.backprop does not.)"
    )


# ---- numbers and plain arrays ----------------------------------------------------------------------


def lost_number(tracer: Any) -> UndertowError:
    """Make the error for turning a traced value into a Python number, which has no derivative."""
    place = here()
    function = place.math_function()
    if function is not None and isinstance(place.expression, ast.Call):
        name = numpy_name(function)
        args = ", ".join(map(show, place.expression.args))
        return InPlaceError(
            f"{place.start}: math.{function} turns {name_of(tracer)} into a plain number, and its derivative would be "
            f"lost. Write `{name}({args})`."
        )
    if isinstance(place.expression, ast.Subscript) and isinstance(place.expression.ctx, ast.Store):
        return lost_write(tracer, place)
    if place.calls("fill") and isinstance(array := place.value(place.expression.func.value), np.ndarray):  # type: ignore[union-attr]
        return _followed(_lost_number(tracer, place), array)
    return _lost_number(tracer, place)


def _lost_number(tracer: Any, place: Place) -> UndertowError:
    if place.calls("array", "asarray"):
        return lost_array(tracer)
    if (remedy := scipy_remedy()) is not None:  # such as quad, which calls float of what a function gives
        return UnsupportedError(f"{place.start}: {remedy}")
    foreign = meets_foreign(tracer, name_of(tracer), place)
    if foreign is not None:
        return foreign
    node = place.expression
    what, way = (
        "float(x), math functions and a[i] = x on a plain NumPy array",
        "Use the value itself, and NumPy's functions.",
    )
    if isinstance(node, ast.Call) and called(node) == "float" and len(node.args) == 1:
        what, way = show(node), f"Write `{show(node.args[0])}` itself."
    return InPlaceError(
        f"{place.start}: {what} would lose the derivative of {name_of(tracer)}. {way} To look at the number, print it."
    )


def lost_array(tracer: Any) -> UndertowError:
    """Make the error for turning a traced value into a plain array."""
    place = here()
    node = place.expression
    if place.flat_target() is not None:
        return lost_write(tracer, place)
    if isinstance(node, ast.Subscript):
        if isinstance(node.ctx, ast.Store):
            return lost_write(tracer, place)
        if isinstance(node.value, ast.Attribute) and node.value.attr in ("r_", "c_", "mgrid", "ogrid"):
            return _lost_grid(tracer, place, node.value, node.slice)
        return _plain_index(tracer, place, node.value, node.slice)
    if place.calls("take") and isinstance(node, ast.Call) and len(node.args) > 1:
        return _plain_index(tracer, place, node.args[0], node.args[1])
    if tracer.dtype.kind != "f":
        return _followed(unknown_value(tracer, "the values" if tracer.ndim else "the number"), ())
    if isinstance(node, ast.Call) and (told := takes_numbers(name_of(tracer), place, node)) is not None:
        return told
    foreign = meets_foreign(tracer, name_of(tracer), place)
    if foreign is not None:
        return foreign
    if isinstance(node, ast.Call):
        told = _lost_in_call(tracer, place, node)
        if told is not None:
            return told
    instead = write_operand(node, tracer)
    way = "Build the array with np.stack or np.concatenate, or start from np.zeros_like of a traced array."
    if instead is not None:
        way = f"Write `{instead}`."
    elif tracer._node.op is INPUT and tracer._node.spec.weak:  # a Python number, perhaps of a list
        way = f"If it stands in a list of numbers that is an argument, pass np.array(list) instead. Else b{way[1:]}"
    return InPlaceError(
        f"{place.start}: {name_of(tracer)} cannot become a plain NumPy array (np.array, np.asarray, or writing it into "
        f"one with a[i] = x): its derivative would be lost. {way}"
    )


def _lost_in_call(tracer: Any, place: Place, node: ast.Call) -> UndertowError | None:
    """Make the error for a call that makes a plain array of a traced value, with what to call instead."""
    if place.calls("array", "asarray", "asanyarray", "ascontiguousarray") and node.args:
        dtype = next((show(keyword.value) for keyword in node.keywords if keyword.arg == "dtype"), None)
        return InPlaceError(
            f"{place.start}: np.{called(node)} makes a plain array, and the derivative of {name_of(tracer)} would be "
            f"lost. Write {write_array(node.args[0], tracer, place, dtype)}."
        )
    if node.args:
        kind = getattr(np, called(node), None)
        if isinstance(kind, type) and issubclass(kind, np.generic):
            return InPlaceError(
                f"{place.start}: np.{called(node)} makes a plain number or array of {name_of(tracer)}. Write "
                f"`{show(node.args[0])}.astype(np.{called(node)})`."
            )
    method = isinstance(node.func, ast.Attribute) and place.value(node.func.value) is not np
    if method and called(node) == "dot" and node.args:
        left, right = show(node.func.value), show(node.args[0])  # type: ignore[attr-defined]
        return InPlaceError(
            f"{place.start}: {left} is a plain NumPy array, whose method dot does not ask {name_of(tracer)}: the "
            f"derivative would be lost. Write `{left} @ {right}` or `np.dot({left}, {right})`."
        )
    if isinstance(node.func, ast.Call) and called(node.func) == "vectorize":
        each, args = show(node.func.args[0]), ", ".join(map(show, node.args))
        return InPlaceError(
            f"{place.start}: np.vectorize calls its function with plain numbers, and the derivative of "
            f"{name_of(tracer)} would be lost. Write the function with NumPy's for whole arrays, and call it itself: "
            f"`({each})({args})`, or stack what it makes of each element: `np.stack([({each})(v) for v in {args}])`."
        )
    if (instead := write_unasked(node, place)) is not None:
        return InPlaceError(
            f"{place.start}: {show(node.func)} makes a plain array of {name_of(tracer)}, whose derivative would be "
            f"lost. Write `{instead}`."
        )
    if (instead := write_call(node, tracer)) is not None:
        return InPlaceError(
            f"{place.start}: {show(node.func)} makes a plain array of the list, and the derivative of "
            f"{name_of(tracer)} would be lost. Write `{instead}`."
        )
    return None


def _lost_grid(tracer: Any, place: Place, tool: ast.Attribute, key: ast.expr) -> UndertowError:
    """Make the error for ``np.r_[x, 1.0]`` and its like: the index asks for plain numbers, and no array is asked."""
    parts = key.elts if isinstance(key, ast.Tuple) else [key]
    if tool.attr in ("mgrid", "ogrid"):
        way = "np.linspace or np.arange, and np.meshgrid"
    elif any(isinstance(part, ast.Slice | ast.Constant) and not _is_number(part) for part in parts):
        way = "np.hstack, np.column_stack and np.arange"
    else:
        way = f"`{write_grid(tool.attr, parts, tracer)}`"
    return InPlaceError(
        f"{place.start}: {show(tool)} makes a plain array, and the derivative of {name_of(tracer)} would be lost. "
        f"Write {way}."
    )


def _is_number(part: ast.AST) -> bool:
    return isinstance(part, ast.Constant) and isinstance(part.value, int | float)


def _plain_index(tracer: Any, place: Place, table: ast.AST, index: ast.AST) -> UndertowError:
    """Make the error for ``table[labels]``, where the table is a plain array: NumPy does not ask the index."""
    error = ControlFlowError(
        f"{place.start}: {show(table)} is a plain NumPy array, and the values of its index {name_of(tracer)} are not "
        f"known while only shapes are traced. Write {look_up(place, table, index)}. (ut.grad sees values; ut.backprop "
        f"does not.)"
    )
    return _followed(error, place.value(table))


def look_up(place: Place, table: ast.AST, index: ast.AST) -> str:
    """Say how to look rows up in a plain array or list by positions that are traced."""
    if isinstance(table, ast.Call) and called(table) in ("eye", "identity") and table.args:
        return f"`ut.one_hot({show(index)}, {show(table.args[0])})`"
    argument = f"pass {show(table)} to the function as an argument"
    if isinstance(index, ast.Tuple | ast.Slice):
        return f"the index for a traced array: {argument}"
    value = place.value(table)
    rows = len(value) if isinstance(value, np.ndarray | list) else f"len({show(table)})"
    array = f"np.array({show(table)})" if isinstance(value, list) or isinstance(table, ast.List) else show(table)
    return f"`ut.one_hot({show(index)}, {rows}) @ {array}`, or {argument}"


def lost_write(tracer: Any, place: Place) -> UndertowError:
    """Make the error for ``out[i] = x``, where ``out`` is a plain array."""
    node: Any = place.expression
    written = place.flat_target() or node.value
    name, array = show(written), place.value(written)
    array = array.base if isinstance(array, np.flatiter) else array
    like = _some_tracer(place)
    ways = [
        f"make it with `{write_start(name, like, place)}`",
        "collect the parts in a list and join them with np.stack",
    ]
    if _is_one(place.statement) and np.ndim(array) == 2 and isinstance(node.slice, ast.Tuple):
        ways[1] = f"write `{name} = ut.one_hot({show(node.slice.elts[-1])}, {array.shape[1]})`"
        ways.reverse()
    remedy = f"{', or '.join(ways)}."
    remedy = remedy[0].upper() + remedy[1:]
    error: InPlaceError | ControlFlowError
    if tracer.dtype.kind != "f":
        error = ControlFlowError(
            f"{place.start}: {name} is a plain NumPy array, and the values of {name_of(tracer)} are not known while "
            f"only shapes are traced. {remedy} (ut.grad sees values; ut.backprop does not.)"
        )
    else:
        error = InPlaceError(
            f"{place.start}: {name} is a plain NumPy array, which cannot take traced values: the derivative would be "
            f"lost. {remedy}"
        )
    return _followed(error, array)


def _followed(error: UndertowError, array: Any) -> UndertowError:
    """Note which plain array was to take a traced value or position: `following` can do something about it."""
    if isinstance(error, RefusedError):
        error.plain = () if array is None else array
    return error


def _some_tracer(place: Place) -> str:
    """Return the name of a traced variable, an array if there is one."""
    found = {k: v for k, v in (place.frame.f_locals if place.frame else {}).items() if isinstance(v, P.Traced)}
    floats = [k for k, v in found.items() if P.dtype_of(v).kind == "f"]
    arrays = [k for k in floats if P.shape_of(found[k])]
    return next(iter([*arrays, *floats]), "x")


def _is_one(statement: ast.AST | None) -> bool:
    return (
        isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Constant) and statement.value.value == 1
    )


def lost_output(name: str, array: Any) -> UndertowError:
    """Make the error for ``s += x`` and ``np.add(a, x, out=s)``, where ``s`` is a plain array."""
    return _followed(InPlaceError(_tell_lost_output(name)), array)


def _tell_lost_output(name: str) -> str:
    place = here()
    statement = place.statement
    if isinstance(statement, ast.AugAssign):
        target = show(statement.target)
        way = f"{target} = {show(ast.BinOp(statement.target, statement.op, statement.value))}"
        return (
            f"{place.start}: {target} is a plain NumPy array, which cannot take traced values: the derivative would be "
            f"lost. Write `{way}`."
        )
    return (
        f"{place.start}: a traced value cannot be written into a plain NumPy array. Write x = {name}(…) instead of "
        f"{name}(…, out=x) or x += …; or start from np.zeros_like(traced)."
    )
