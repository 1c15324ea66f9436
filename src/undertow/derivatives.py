"""Derivatives made of the reverse pass: vector–Jacobian and Jacobian–vector products, Jacobians, Hessians."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from undertow import primitives as P
from undertow import trees
from undertow.differentiate import Record, grad
from undertow.errors import ArgumentError, ShapeError, UndertowError
from undertow.graph import Node, ancestors, show_shape
from undertow.keywords import explain_keywords
from undertow.trace import Tracer, is_array_like
from undertow.trace.chosen import refuse_arguments


def vjp(f: Callable[..., Any], *args: Any) -> tuple[Any, Callable[[Any], tuple[Any, ...]]]:
    """Compute ``f(*args)``, and the function that pulls a cotangent of the result back to the arguments.

    Args:
        f: a NumPy function; its result may be any tree of arrays.
        args: its arguments; each must hold floats.

    Returns:
        The value, and ``pull(ct)``: ct has the structure and shapes of the value; it returns a tuple with
        ctᵀ ∂f/∂x for each argument x, in the argument's structure. It may be called more than once.

    Raises:
        ShapeError: ``pull: the value is (3,), the cotangent (2,). …``
        DTypeError: an argument holds integers.

    Source:
        Griewank & Walther (2008), Evaluating Derivatives, section 3.2.

    Example:
        >>> value, pull = vjp(lambda x: x ** 2, np.array([1.0, 3.0]))
        >>> pull(np.array([1.0, 10.0]))
        (array([ 2., 60.]),)
    """
    # copies: the caller may change an array before pulling back
    args = trees.map(lambda leaf: leaf.copy() if isinstance(leaf, np.ndarray) else leaf, args)
    record = Record(f, args, {}, tuple(range(len(args))))
    leaves, rebuild = trees.flatten(record.result)

    def pull(ct: Any) -> tuple[Any, ...]:
        return record.pull(_pairs("pull: the value", "cotangent", leaves, ct))

    return rebuild([record.value(leaf) for leaf in leaves]), pull


def _pairs(value: str, other: str, leaves: list[Any], ct: Any) -> list[tuple[Node, Any]]:
    """Pair the traced leaves of a value with their cotangents, of the same shape and dtype."""
    parts = trees.flatten(ct)[0]
    if len(parts) != len(leaves):
        number = "1 array" if len(leaves) == 1 else f"{len(leaves)} arrays"
        is_list = len(leaves) == 1 and isinstance(ct, list | tuple) and len(parts) == np.size(leaves[0])
        remedy = f"Give an array in place of the {type(ct).__name__}: np.array(…)." if is_list else "Give as many."
        raise ShapeError(f"{value} holds {number}, the {other} {len(parts)}. {remedy}")
    pairs = []
    for leaf, part in zip(leaves, parts, strict=True):
        if P.shape_of(leaf) != P.shape_of(part):
            raise ShapeError(
                f"{value} is {show_shape(P.shape_of(leaf))}, the {other} {show_shape(P.shape_of(part))}. "
                f"Give a {other} of the same shape."
            )
        if isinstance(leaf, Tracer) and leaf.dtype.kind == "f":
            pairs.append((leaf.node, part if P.dtype_of(part) == leaf.dtype else P.astype(part, dtype=leaf.dtype)))
    return pairs


def jvp(f: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
    """Compute ``f(*primals)`` and how it changes along ``tangents``: the Jacobian times a vector.

    The pull-back of f is linear in its cotangent; pulling back through it gives the push-forward.

    Args:
        f: a NumPy function; its result may be any tree of arrays.
        primals: its arguments; each must hold floats.
        tangents: a direction for each argument, of its structure and shapes.

    Returns:
        The value, and the derivative along the direction, of the structure and shapes of the value.

    Raises:
        ArgumentError: primals and tangents are tuples; as many tangents as arguments are needed.
        ShapeError: a tangent has another shape than its argument.

    Source:
        J. Townsend (2017), "A new trick for calculating Jacobian vector products" (double transposition).

    Example:
        >>> jvp(np.sin, (0.0,), (2.0,))
        (np.float64(0.0), np.float64(2.0))
    """
    for name, given in (("primals", primals), ("tangents", tangents)):
        if not isinstance(given, tuple | list):
            raise ArgumentError(
                f"jvp: {name} is {type(given).__name__}, not a tuple. Give one entry for each argument of the "
                f"function, ({name[:-1]},) for one argument."
            )
    if len(primals) != len(tangents):
        raise ArgumentError(f"jvp: there are {len(primals)} arguments and {len(tangents)} tangents. Give one for each.")
    value, pull = vjp(f, *primals)
    zeros = trees.map(lambda leaf: np.zeros(np.shape(leaf), P.dtype_of(leaf))[()], value)
    _, push = vjp(pull, zeros)
    return value, push(tuple(tangents))[0]


@explain_keywords
def jacobian(f: Callable[..., Any], wrt: int | tuple[int, ...] = 0) -> Callable[..., Any]:
    """Make the function that computes the Jacobian of ``f``: row by row, or column by column where these are far fewer.

    Args:
        f: a NumPy function; its result may be any tree of arrays.
        wrt: the position of the argument to differentiate by, or a tuple of positions.

    Returns:
        A function of the same arguments. For a result of shape s and an argument of shape t it returns an
        array of shape (*s, *t); for trees, the result's tree with the argument's tree at each leaf.

    Raises:
        DTypeError: an argument to differentiate by holds integers.

    Source: Griewank & Walther (2008), Evaluating Derivatives, section 3.2; for columns that of `jvp`.

    Example:
        >>> jacobian(lambda x: x[::-1] ** 2)(np.array([1.0, 3.0]))
        array([[0., 6.],
               [2., 0.]])
    """
    positions = wrt if isinstance(wrt, tuple) else (wrt,)
    refuse_arguments(f, positions)

    def compute(*args: Any, **kwargs: Any) -> Any:
        record = Record(f, args, kwargs, positions)
        leaves, rebuild = trees.flatten(record.result)
        several = isinstance(wrt, tuple)
        if _is_tall(record, leaves):
            with suppress(UndertowError):  # a rule of the user's own may take numbers alone: rows ask no more of it
                return rebuild([_pick(tree, several) for tree in _columns(record, leaves)])
        return rebuild([_rows(record, leaf, several) for leaf in leaves])

    compute.__name__ = f"jacobian_{getattr(f, '__name__', 'f')}"
    return compute


def _rows(record: Record, leaf: Any, several: bool) -> Any:
    """The gradients of all elements of one result, stacked."""
    shape = _sizes(P.shape_of(leaf))
    dtype = P.dtype_of(leaf)
    traced = isinstance(leaf, Tracer) and dtype.kind == "f"
    rows = []
    for place in np.ndindex(shape):
        one = np.zeros(shape, dtype)
        one[place] = 1
        rows.append(record.pull([(leaf.node, one[()])] if traced else []))
    if not rows:
        empty = record.pull([])
        return _pick(trees.map(lambda g: np.zeros((*shape, *np.shape(g)), P.dtype_of(g)), empty), several)

    def stack(*parts: Any) -> Any:
        if not is_array_like(parts[0]):
            return parts[0]
        return np.reshape(np.stack([np.asarray(x) if isinstance(x, float) else x for x in parts]),
                          (*shape, *np.shape(parts[0])))  # fmt: skip

    return _pick(trees.map(stack, rows[0], *rows[1:]), several)


def _is_tall(record: Record, leaves: list[Any]) -> bool:
    """Tell whether columns are cheaper than rows: one costs up to four times as much, as it pulls back a pull-back.

    What `clip_cotangent` lets through is not linear in the cotangent: of it there are rows alone.
    """
    traced = [x for x in leaves if _is_traced(x)]
    n_rows = sum(math.prod(_sizes(x.shape)) for x in traced)
    if n_rows <= 4 * (1 + sum(math.prod(_sizes(x.spec.shape)) for x in record.own)):
        return False
    return not any(node.op is P.clip_cotangent for node in ancestors([x.node for x in traced]))


def _sizes(shape: Any) -> tuple[int, ...]:
    return tuple(int(size) for size in shape)


def _is_traced(leaf: Any) -> bool:
    return isinstance(leaf, Tracer) and leaf.dtype.kind == "f"


def _columns(record: Record, leaves: list[Any]) -> list[Any]:
    """The Jacobians of all results: a pull-back is linear in its cotangents, and its own pull-back gives a column."""
    traced = [x for x in leaves if _is_traced(x)]
    seeds = [np.zeros(_sizes(x.shape), x.dtype)[()] for x in traced]

    def pull(*cts: Any) -> tuple[Any, ...]:
        return record.pull([(x.node, ct) for x, ct in zip(traced, cts, strict=True)])

    back = Record(pull, seeds, {}, tuple(range(len(seeds))))
    parts, rebuild = trees.flatten(back.result)
    found: list[list[Any]] = [[] for _ in leaves]
    for part in parts:
        shape = _sizes(P.shape_of(part)) if is_array_like(part) else ()
        columns = [_column(back, part, shape, place) for place in np.ndindex(shape)]
        for k, leaf in enumerate(leaves):
            at = next((i for i, x in enumerate(traced) if x is leaf), None)
            if not is_array_like(part):
                found[k].append(part)
                continue
            here = _sizes(P.shape_of(leaf))
            if at is None or not columns:
                found[k].append(np.zeros((*here, *shape), P.dtype_of(part)))
                continue
            stacked = np.stack([column[at] for column in columns], axis=-1)
            found[k].append(np.reshape(P.astype(stacked, dtype=P.dtype_of(part)), (*here, *shape)))
    return [rebuild(row) for row in found]


def _column(back: Record, part: Any, shape: tuple[int, ...], place: tuple[int, ...]) -> tuple[Any, ...]:
    """How all results change with one element of an argument."""
    one = np.zeros(shape, P.dtype_of(part))
    one[place] = 1
    return back.pull([(part.node, one[()])] if isinstance(part, Tracer) else [])


def _pick(found: Any, several: bool) -> Any:
    return found if several else found[0]


@explain_keywords
def hessian(f: Callable[..., Any], wrt: int = 0) -> Callable[..., Any]:
    """Make the function that computes the Hessian of ``f``: the Jacobian of its gradient.

    Args:
        f: a NumPy function that returns one number.
        wrt: the position of the argument to differentiate by.

    Returns:
        A function of the same arguments. For an argument of shape t it returns an array of shape (*t, *t);
        for a tree, the tree with the tree at each leaf.

    Raises:
        NonScalarError: f returned something other than one number.

    Source: derived here.

    Example:
        >>> hessian(lambda x: x[0] ** 2 * x[1])(np.array([3.0, 5.0]))
        array([[10.,  6.],
               [ 6.,  0.]])
    """
    _one_position("hessian", wrt)
    return jacobian(grad(f, wrt), wrt)


@explain_keywords
def hvp(f: Callable[..., Any], wrt: int = 0, *more: Any) -> Callable[..., Any]:
    """Make the function that multiplies the Hessian of ``f`` by a vector, without the Hessian.

    Args:
        f: a NumPy function that returns one number.
        wrt: the position of the argument to differentiate by.
        *more: nothing: the arguments and the vector are given to what is made.

    Returns:
        ``product(*args, v)``: v has the structure and shapes of the argument, and so has the result. It costs
        a few times as much as the gradient.

    Raises:
        NonScalarError: f returned something other than one number.
        ShapeError: v has another shape than the argument.
        ArgumentError: called as ``hvp(f, x, v)``.

    Source: Pearlmutter (1994), Fast exact multiplication by the Hessian, Neural Computation 6(1).

    Example:
        >>> hvp(lambda x: x[0] ** 2 * x[1])(np.array([3.0, 5.0]), np.array([1.0, 0.0]))
        array([10.,  6.])
    """
    if more or not isinstance(wrt, int):
        name = getattr(f, "__name__", "f")
        raise ArgumentError(
            f"hvp makes a function, which takes the arguments of {name} and then the vector: ut.hvp({name})(x, v). "
            f"Beside {name}, hvp takes the position of an argument alone: wrt=0."
        )
    _one_position("hvp", wrt)
    first = grad(f, wrt)

    def product(*args: Any, **kwargs: Any) -> Any:
        if len(args) < 2:
            raise ArgumentError("hvp: give the arguments of the function, then the vector.")
        *given, v = args
        record = Record(first, given, kwargs, (wrt,))
        leaves = trees.flatten(record.result)[0]
        return record.pull(_pairs("hvp: the argument", "vector", leaves, v))[0]

    product.__name__ = f"hvp_{getattr(f, '__name__', 'f')}"
    return product


def _one_position(name: str, wrt: Any) -> None:
    if not isinstance(wrt, int) or isinstance(wrt, bool):
        shown = repr(wrt) if isinstance(wrt, bool | str | tuple | float) else f"a {type(wrt).__name__}"
        raise ArgumentError(
            f"{name}: wrt={shown:.80}: give the position of one argument. What is made takes the arguments: "
            f"{name}(f)(x)."
        )
