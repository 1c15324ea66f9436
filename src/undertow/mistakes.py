"""What a wrong gradient looks like: a factor that is missing, a sign, a transpose, rows that were not added up."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, is_dataclass
from types import ModuleType
from typing import Any

import numpy as np

from undertow import trees
from undertow.errors import GradientError, UndertowError
from undertow.graph import INPUT, Node
from undertow.trace import argument_names, trace_function
from undertow.trace.function import leaf_name


@dataclass(frozen=True)
class LeafCheck:
    """The worst entry of one array.

    Attributes:
        name: the parameter, ``params[0]``.
        entry: its index there; None for a random direction through the whole array.
        gradient: the derivative that was checked.
        numeric: the numeric derivative.
        relative_error: their difference over the larger of the two; 0 where the numeric one cannot tell
            them apart.
        method: ``complex step``, ``differences``, ``kink`` (the function has a corner there and the
            gradient lies between the slopes of the two sides), ``constant`` (the function does not change with
            this array here) or ``empty`` (there is nothing to check).
        checked: how many entries and directions were compared.
    """

    name: str
    entry: tuple[int, ...] | None
    gradient: float
    numeric: float
    relative_error: float
    method: str
    checked: int
    factor: float | None = None
    transposed: bool = False


def common_factor(own: np.ndarray, numeric: np.ndarray) -> float | None:
    """Return what all entries of a gradient are of the numeric ones; None where each is something else.

    Args:
        own: the entries that were checked, (n,).
        numeric: their numeric derivatives, (n,).

    Source: derived here, least squares of one unknown.

    Example:
        >>> common_factor(np.array([2.0, 4.0]), np.array([1.0, 2.0])), common_factor(np.ones(2), np.arange(2.0))
        (2.0, None)
    """
    size = float(numeric @ numeric) if np.all(np.isfinite(numeric)) and np.all(np.isfinite(own)) else 0.0
    factor = float(own @ numeric) / size if size else 0.0
    fits = np.abs(own - factor * numeric) <= 1e-5 * np.max(np.abs(own), initial=0.0)
    return factor if factor and np.all(fits) else None


def is_transposed(grad: np.ndarray, shape: tuple[int, ...], entries: np.ndarray, numeric: np.ndarray) -> bool:
    """Tell whether the transpose of a square gradient is right in the entries that were checked.

    Args:
        grad: the gradient, flat.
        shape: of the array it belongs to.
        entries: the places that were checked, in the flat array.
        numeric: their numeric derivatives.

    Source: derived here.
    """
    if len(shape) != 2 or shape[0] != shape[1] or shape[0] < 2:
        return False
    turned = grad.reshape(shape).T.ravel()[entries]
    return bool(np.allclose(turned, numeric, rtol=1e-5, atol=1e-8 * float(np.max(np.abs(numeric), initial=0.0))))


def explain_factor(factor: float, rows: Sequence[int]) -> str:
    """Say what a gradient that is a multiple of the right one lacks.

    Args:
        factor: what it is of the right one.
        rows: how many examples the batch may have: the sizes of the first axes of its arrays.

    Source: derived here.

    Example:
        >>> explain_factor(32.0, [32])
        'is 32 times the right one, and 32 is the number of rows: the 1/m of a mean is missing'
    """
    size, turned = abs(factor), " and has the other sign" if factor < 0 else ""

    def near(number: float) -> bool:
        return abs(size - number) <= 1e-4 * number

    m = next((m for m in rows if m > 1 and (near(m) or near(1 / m))), None)
    if near(1) and turned:
        return "has the other sign"
    if near(1):
        return f"is off by {abs(size - 1):.1g} of its size, more than rounding: is a small number added, such as an ε?"
    if m is not None and near(m):
        return f"is {m} times the right one{turned}, and {m} is the number of rows: the 1/m of a mean is missing"
    if m is not None:
        return f"is 1/{m} of the right one{turned}, and {m} is the number of rows: a sum over them is a mean here"
    if near(2):
        return f"is twice the right one{turned}: a 2, as that of a square, is there once too often"
    if near(0.5):
        return f"is half the right one{turned}: a 2, as that of the derivative of a square, is missing"
    return f"is {size:.4g} times the right one{turned}"


def explain_shape(wanted: tuple[int, ...], found: tuple[int, ...], rows: Sequence[int]) -> str:
    """Say what would bring a gradient to the shape of its array; nothing if that is not known.

    Args:
        wanted: the shape of the array.
        found: that of its gradient.
        rows: how many examples the batch may have.

    Source: derived here.

    Example:
        >>> explain_shape((2, 8), (8, 2), [4])
        ' It is transposed: (a.T @ b).T is b.T @ a.'
        >>> explain_shape((8,), (4, 8), [4])
        ' It has a row for each example: add them up, np.sum(…, axis=0).'
    """
    if len(wanted) == 2 and found == wanted[::-1]:
        return " It is transposed: (a.T @ b).T is b.T @ a."
    added = len(found) > 1 and wanted[:1] == (1,) and wanted[1:] == found[1:]
    if (found[1:] == wanted or added) and found and found[0] in rows and found[0] > 1:
        keeps = ", keepdims=True" if added else ""
        return f" It has a row for each example: add them up, np.sum(…, axis=0{keeps})."
    added = len(found) > 1 and wanted[-1:] == (1,) and wanted[:-1] == found[:-1]
    if (found[:-1] == wanted or added) and found and found[-1] in rows and found[-1] > 1:
        keeps = ", keepdims=True" if added else ""
        return f" It has a column for each example: add them up, np.sum(…, axis=-1{keeps})."
    long = [tuple(n for n in shape if n != 1) for shape in (wanted, found)]
    if len(long[1]) == 1 and long[1][0] in rows and len(long[0]) <= 1 and long[0] != long[1]:
        return " It was added up along the other axis: one number for each example is left."
    if long[0] == long[1]:
        keeps = "without keepdims=True" if len(found) > len(wanted) else "with keepdims=True"
        return f" It was added up with an axis of 1 too {'many' if len(found) > len(wanted) else 'few'}: sum {keeps}."
    return ""


def rows_of(args: Sequence[Any], positions: Sequence[int]) -> list[int]:
    """The sizes that a batch may have: those of the first and the last axes of what is not differentiated by.

    Args:
        args: the arguments of a loss.
        positions: those it is differentiated by.

    Source: derived here.

    Example:
        >>> rows_of((np.ones(3), np.ones((5, 3)), np.ones(5)), [0])
        [5, 3]
    """
    others = [leaf for i, arg in enumerate(args) if i not in positions for leaf in trees.flatten(arg)[0]]
    shapes = [np.shape(leaf) for leaf in others if np.ndim(leaf)]
    return list(dict.fromkeys([*(shape[0] for shape in shapes), *(shape[-1] for shape in shapes)]))


def _of_object(f: Callable[..., Any], argument: Any) -> str:
    """What to do where the parameters are attributes of an object that is no tree; empty elsewhere."""
    held = getattr(f, "__self__", argument)
    plain = isinstance(held, np.ndarray | np.generic | list | tuple | dict | float | int | ModuleType | type(None))
    if plain or (is_dataclass(held) and held is argument):
        return ""
    return (
        f" What a {type(held).__name__} keeps in its attributes is no argument. {_own_class(f, held, 'check_gradient')}"
    )


def _own_class(f: Callable[..., Any], held: Any, call: str) -> str:
    """How to differentiate by what an object of the user's keeps in its attributes."""
    name = type(held).__name__
    make = "Write" if is_dataclass(held) else "Make the class a dataclass whose fields are the parameters, and write"
    return f"{make} ut.{call}({name}.{getattr(f, '__name__', 'f')}, net, …), net being the {name}."


def warn_of_held(f: Callable[..., Any], args: Sequence[Any], places: Sequence[int]) -> None:
    """Warn where a method of an object is differentiated by data, and its own arrays are then constants.

    An argument is data where another one has as many rows: the X of ``net.loss(X, y)``. The w of ``problem.loss(w)``,
    whose object holds the data, is what to differentiate by.

    Args:
        f: the function.
        args: its arguments.
        places: of those that it is differentiated by.

    Warns:
        UserWarning: it is a method of an object that holds arrays of floats; says how to differentiate by these.

    Source: derived here.
    """
    held = getattr(f, "__self__", None)
    own = getattr(held, "__dict__", None)
    if held is None or own is None or isinstance(held, ModuleType | type):
        return
    if not any(_is_float(x) and np.ndim(x) for x in trees.flatten(list(own.values()))[0]):
        return
    rows = [{len(x) for x in trees.flatten(arg)[0] if np.ndim(x)} for arg in args]
    if all(rows[i].isdisjoint(rows[k]) for i in places for k in range(len(args)) if k not in places):
        return
    every = argument_names(f, len(args))
    names = ", ".join(every[i] for i in places)
    kind = type(held).__name__
    text = (
        f"{getattr(f, '__name__', 'f')} is a method of a {kind}, whose arrays are constants here: the gradient is that "
        f"by {names}. {_own_class(f, held, 'backprop')}"
    )
    warnings.warn(text, UserWarning, stacklevel=3)


def refuse_misfits(f: Callable[..., Any], args: Sequence[Any], positions: Sequence[int], i: int, given: Any) -> None:
    """GradientError unless a gradient has the structure and the shapes of the argument it belongs to.

    Args:
        f: the loss.
        args: its arguments.
        positions: those it is differentiated by.
        i: the one that the gradient belongs to.
        given: the gradient.

    Raises:
        GradientError: it is None, a dict for a tuple, has too few arrays, or arrays of other shapes; says which, and
            what the shape looks like: that of the transpose, of rows that were not added up, of another parameter.

    Source: derived here.
    """
    argument = argument_names(f, len(args))[i]
    wanted, found = trees.flatten(args[i])[0], trees.flatten(given)[0]
    if given is None:
        raise GradientError(f"the gradient is None. Return one array for each of {argument}, in the same structure.")
    by_name, wants_names = isinstance(given, dict), isinstance(args[i], dict)
    if by_name != wants_names and (by_name or len(wanted) > 1):
        kinds = f"a {type(given).__name__}, {argument} a {type(args[i]).__name__}"
        like = f", {type(args[i]).__name__}(**gradient)" if by_name and is_dataclass(args[i]) else ""
        raise GradientError(f"the gradient is {kinds}. Give it in the same structure{like}, in the same order.")
    paths = [argument + path for path in trees.paths(args[i])]
    if by_name and given.keys() != args[i].keys():
        keys = [", ".join(map(str, tree)) for tree in (given, args[i])]
        raise GradientError(f"the gradient has the keys {keys[0]}, {argument} {keys[1]}.")
    if len(wanted) != len(found):
        names = with_own_names(f, args, positions)
        each = ", ".join(names.get(path, path) for path in paths)
        raise GradientError(
            f"the gradient has {len(found)} arrays, the argument {len(wanted)}. Give one for each: {each}."
            f"{_of_object(f, args[i])}"
        )
    wrong = [
        k for k, (x, g) in enumerate(zip(wanted, found, strict=True)) if _is_float(x) and np.shape(x) != np.shape(g)
    ]
    if not wrong:
        return
    names, rows = with_own_names(f, args, positions), rows_of(args, positions)
    shapes = [np.shape(x) for x in wanted], [np.shape(g) for g in found]
    lines = [
        f"{names.get(paths[k], paths[k])} is {shapes[0][k]}, its gradient is {shapes[1][k]}."
        f"{explain_shape(shapes[0][k], shapes[1][k], rows)}"
        for k in wrong
    ]
    if len(wrong) > 1 and sorted(shapes[0]) == sorted(shapes[1]):
        each = ", ".join(names.get(path, path) for path in paths)
        lines.append(f"They are the shapes of other parameters: give the gradients in the order {each}.")
    raise GradientError("\n".join(lines))


def _is_float(leaf: Any) -> bool:
    return isinstance(leaf, float | np.ndarray | np.floating) and np.asarray(leaf).dtype.kind == "f"


def explain(rows: Sequence[LeafCheck], tolerance: float, names: dict[str, str], sizes: Sequence[int]) -> str:
    """Say what the mistakes in a gradient look like, and which arrays have none.

    Args:
        rows: what was found, an array a row.
        tolerance: the largest relative error that counts as right.
        names: what a message calls the arrays, where that is not the path.
        sizes: how many examples the batch may have.

    Returns:
        Lines that begin with a line break; empty where nothing is known.

    Source: derived here.
    """
    lines: dict[str, list[str]] = {}
    wrong = [row for row in rows if row.relative_error > tolerance]
    looks = [None if row.factor is None else explain_factor(row.factor, sizes) for row in wrong]
    sure = {look for row, look in zip(wrong, looks, strict=True) if look and (row.checked > 1 or "rows" in look)}
    for row, look in zip(wrong, looks, strict=True):
        name = names.get(row.name, row.name)
        if row.transposed:
            lines.setdefault("is transposed: (a.T @ b).T is b.T @ a", []).append(name)
        elif look in sure:  # a single number is some multiple of any other: it counts with arrays of the same one
            lines.setdefault(look, []).append(name)
    told = [f"the gradient by {', '.join(who)} {what}" for what, who in lines.items()]
    right = [names.get(row.name, row.name) for row in rows if row.relative_error <= tolerance and row.numeric != 0]
    if right and len(rows) > 1:
        told.append(f"right: {', '.join(right)}. Look at what the others need and these do not")
    return "".join(f"\n{line}" for line in told)


def with_own_names(f: Callable[..., Any], args: Sequence[Any], positions: Sequence[int]) -> dict[str, str]:
    """What messages call the arrays of a function's arguments: ``{"params[0]": "W1 (params[0])"}``.

    Args:
        f: a NumPy function.
        args: its arguments.
        positions: of the arguments that are looked at.

    Source: derived here.
    """
    return {path: f"{name} ({path})" for path, name in local_names(f, args, positions).items()}


def local_names(f: Callable[..., Any], args: Sequence[Any], positions: Sequence[int]) -> dict[str, str]:
    """The names that a function gives to the arrays of its arguments: ``{"params[0]": "W1"}``.

    Args:
        f: a NumPy function.
        args: its arguments.
        positions: of the arguments that are looked at.

    Returns:
        Names by paths; those that have none of their own, and all of a function that cannot be traced, are left out.

    Source: derived here.

    Example:
        >>> def loss(params):
        ...     W, b = params
        ...     return np.sum(W) + b
        >>> local_names(loss, ((np.ones(2), 1.0),), [0])
        {'params[0]': 'W', 'params[1]': 'b'}
    """
    found: dict[str, str] = {}  # a loss that cannot be traced has no names to tell, and is checked all the same
    with suppress(UndertowError, TypeError, ValueError, IndexError, AttributeError), np.errstate(all="ignore"):
        names = argument_names(f, len(args))
        traced = trace_function(f, args)
        for i in positions:
            for path, node in zip(trees.paths(args[i]), traced.arguments[i], strict=True):
                name = node.name if isinstance(node, Node) and node.op is INPUT else None
                if path and name and name != leaf_name(names[i], path).rstrip("?"):
                    found[names[i] + path] = name
    return found
