"""What to say of operands that do not fit: where, how the user calls them, both shapes, the remedy."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from types import FrameType
from typing import Any, Final

import numpy as np

from undertow import primitives as P
from undertow.errors import DTypeError, NumberError, PositionError, ShapeError, UndertowError
from undertow.graph import show_shape
from undertow.trace.place import here
from undertow.trace.where import file_name, user_frame, user_line

_LONGEST: Final = 40  # characters of an operand in a message
_LONGEST_CODE: Final = 72  # of an operation


class Operands:
    """What a failing operation was given, as the user's code calls it.

    Attributes:
        names: of each operand: a variable's name, or the expression that stands there; None where nobody knows.
        code: the operation as the user wrote it, where operands are expressions; else None.
    """

    def __init__(self, args: Sequence[Any], frame: FrameType | None) -> None:
        known = {
            id(value): name
            for name, value in (frame.f_locals if frame else {}).items()
            if isinstance(value, P.Traced | np.ndarray) and not name.startswith("_")
        }
        self.args = args
        self.code: str | None = None
        self.names: list[str | None] = [known.get(id(x)) or _name_of(x) for x in args]
        if None in self.names:
            place = here()
            parts = parts_of(place.expression, len(args))
            if parts:
                self.names = [name or _short(part) for name, part in zip(self.names, parts, strict=True)]
                if isinstance(place.expression, ast.BinOp):
                    self.code = _short(place.expression, _LONGEST_CODE)

    def shapes(self) -> str:
        """Say what shape each has: ``"X is (5, 4), w is (3,)"``."""
        return ", ".join(
            f"{name or f'operand {i + 1}'} is {show_shape(P.shape_of(x))}"
            for i, (name, x) in enumerate(zip(self.names, self.args, strict=True))
        )

    def labels(self) -> str | None:
        """Return what to write where one operand holds the numbers of classes and the other a column a class."""
        if len(self.args) != 2:
            return None
        for x, y, name in ((*self.args, self.names[1]), (*self.args[::-1], self.names[0])):
            whole = P.dtype_of(y).kind in "iu" and P.dtype_of(x).kind == "f"
            shape, rows = P.shape_of(x), P.shape_of(y)
            if whole and len(shape) == 2 and rows in (shape[:1], (shape[0], 1)) and isinstance(shape[1], int):
                return f"If {name or 'it'} holds the numbers of classes, write ut.one_hot({name or 'y'}, {shape[1]})."
        return None


def _name_of(x: Any) -> str | None:
    name = getattr(getattr(x, "node", None), "name", None)
    return str(name) if name and str(name).isidentifier() else None


def parts_of(node: ast.AST | None, n: int) -> list[ast.AST]:
    """List the operands in the syntax of an operation of n; empty where they cannot be told."""
    if isinstance(node, ast.BinOp):
        parts: list[ast.AST] = [node.left, node.right]
    elif isinstance(node, ast.AugAssign):
        parts = [node.target, node.value]
    elif isinstance(node, ast.Call):
        parts = list(node.args)
        if len(parts) == 1 and isinstance(parts[0], ast.List | ast.Tuple):
            parts = list(parts[0].elts)
    else:
        return []
    return parts if len(parts) == n and not any(isinstance(part, ast.Starred) for part in parts) else []


def _short(node: ast.AST, longest: int = _LONGEST) -> str | None:
    text = " ".join(ast.unparse(node).split())
    return text if len(text) <= longest else None


def locate_index(error: PositionError, x: Any) -> PositionError:
    """Say where an index stands that does not fit, and of which array, unless the error does."""
    frame, line = user_frame(), user_line()
    if line is None or line in str(error):
        return error
    return PositionError(f"{line}: {Operands([x], frame).shapes().replace('operand 1', 'the array')}: {error}")


def explain_failure(primitive: P.Primitive, args: Sequence[Any], params: dict[str, Any], error: Exception) -> Exception:
    """Make the error people see when an operation cannot be applied: where, both shapes, the remedy."""
    frame = user_frame()
    where = f" ({file_name(frame.f_code.co_filename)}:{frame.f_lineno})" if frame else ""
    if not isinstance(error, UndertowError):
        try:
            primitive.infer(*[P.spec_of(x) for x in args], **params)
        except UndertowError as better:
            error = better
        except Exception:  # the shape rule failed as well: NumPy's own words are the best there are
            pass
    operands = Operands(args, frame)
    names = [name or f"x{i + 1}" for i, name in enumerate(operands.names)]
    try:
        code = primitive.spell(*[P.Code(n) for n in names], out=None, ndim=P.spec_of(args[0]).ndim, **params).text
    except Exception:  # an operation whose spelling needs its result
        code = primitive.name
    code = operands.code or code
    labels = operands.labels()
    told = str(error)
    if labels and "Make them equal, or insert" in told:
        told = f"{told.split(' Make them equal')[0]} {labels}"
    if isinstance(error, np.linalg.LinAlgError):  # a singular matrix: people catch it by NumPy's name
        return np.linalg.LinAlgError(f"{code}{where}: {operands.shapes()}: {told}")
    kinds = {IndexError: PositionError, ValueError: ShapeError, OverflowError: NumberError}
    kind = type(error) if isinstance(error, UndertowError) else kinds.get(type(error), DTypeError)
    return kind(f"{code}{where}: {operands.shapes()}: {told}")


def refuse(value: Any, dtype: np.dtype[Any]) -> DTypeError:
    """Make the error for something that meets a traced value and is no real number: which it is, and the remedy."""
    frame = user_frame()
    names = [
        name for name, found in (frame.f_locals if frame else {}).items() if found is value and not name.startswith("_")
    ]
    name = names[0] if len(names) == 1 else "a value"
    line = f"{user_line() or 'a constant'}: "
    if dtype.kind in "US":
        way = "Number the classes first: classes, y = np.unique(y, return_inverse=True)."
        return DTypeError(f"{line}{name} holds texts ({dtype}), which cannot be traced. {way}")
    if is_sparse(value):
        what = (
            f"{name} is a {type(value).__name__} of SciPy's, which takes part in products of matrices, A @ x and x @ A"
        )
        return DTypeError(f"{line}{what}. Write @, or elsewhere {name if names else 'A'}.toarray().")
    if dtype.kind == "O" and not isinstance(value, np.ndarray):
        what = "None" if value is None else f"a {type(value).__name__}"
        return DTypeError(f"{line}{name} is {what}, which cannot be traced. Give a number or an array.")
    if dtype.kind == "O":
        way = f"Convert it: {name if names else 'x'}.astype(float); texts are numbered with np.unique first."
        return DTypeError(f"{line}{name} has the dtype object, which cannot be traced. {way}")
    scope = "; complex ones are out of scope for now" if dtype.kind == "c" else ""
    return DTypeError(f"{line}{name} is {dtype}, which cannot be traced. Use real numbers{scope}.")


def is_sparse(x: Any) -> bool:
    """Tell whether something is a sparse matrix of SciPy's, with two axes."""
    return type(x).__module__.startswith("scipy.sparse") and hasattr(x, "tocoo") and len(x.shape) == 2
