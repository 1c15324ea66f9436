"""Derivatives of one's own: custom rules, recomputation, solvers, names and limits for what flows back."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from functools import update_wrapper
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import numpy as np

from undertow import primitives as P
from undertow import trees
from undertow.derivatives import jacobian, vjp
from undertow.errors import ArgumentError, ShapeError
from undertow.graph import show_shape
from undertow.keywords import check_rule
from undertow.trace import NotingTrace, Tracer, is_array_like

T = TypeVar("T")


# ---- a function with a rule of its own -----------------------------------------------------------


class _Attached:
    """The rule of one call: pulls a cotangent of one result back to all arguments, once."""

    def __init__(self, name: str, pull: Callable[..., Sequence[Any]], rebuild: trees.Rebuild) -> None:
        self.name, self.pull, self.rebuild = name, pull, rebuild
        self.line: str | None = None  # where a rule of the user's own is written
        self.last: tuple[Any, list[Any]] | None = None  # the engine asks for one argument after the other

    def share(self, position: int, ct: Any, out: Any, leaves: tuple[Any, ...]) -> Any:
        """Return what reaches one argument leaf."""
        if self.last is None or self.last[0] is not ct:
            shares = list(self.pull(ct, out, self.rebuild(list(leaves))))
            if _is_traced(tuple(shares)) and not _is_traced((ct, out, *leaves)):
                refuse_closure(self.name)
            self.last = (ct, shares)
        share = self.last[1][position]
        if position == len(leaves) - 1:
            self.last = None
        return share


def refuse_closure(name: str) -> NoReturn:
    """Refuse a function that reads a traced value from outside its arguments.

    Raises:
        ArgumentError: names the function and says how to go on.
    """
    raise ArgumentError(
        f"{name} reads a traced value that is none of its arguments, so its gradient would be lost. "
        f"Pass the value to {name} as an argument."
    )


def _attach(
    name: str, result: Any, args: tuple[Any, ...], pull: Callable[..., Any], written: Callable[..., Any] | None = None
) -> Any:
    """Give the leaves of a result a derivative of one's own by the leaves of the arguments.

    ``pull(number, ct, out, args)`` returns the cotangents of the argument leaves for the result leaf of this number;
    ``written`` is the user's function that tells them.
    """
    leaves, rebuild_args = trees.flatten(args)
    outs, rebuild = trees.flatten(result)
    if any(isinstance(x, Tracer) and x.node.value is not None for x in outs):
        refuse_closure(name)
    tracer = next(x for x in leaves if isinstance(x, Tracer))
    numbers = [i for i, x in enumerate(leaves) if is_array_like(x)]

    def put_back(new: list[Any]) -> Any:
        full = list(leaves)
        for i, x in zip(numbers, new, strict=True):
            full[i] = x
        return rebuild_args(full)

    attached = []
    for number, out in enumerate(outs):
        if not is_array_like(out) or P.dtype_of(out).kind != "f":
            attached.append(out)
            continue

        def shares(ct: Any, value: Any, given: Any, number: int = number) -> list[Any]:
            found = pull(number, ct, value, given)
            return [found[i] for i in numbers]

        rule = _Attached(name, shares, put_back)
        code = getattr(written, "__code__", None)
        rule.line = None if code is None else f"{Path(code.co_filename).name}:{code.co_firstlineno}"
        attached.append(tracer.bind(P.attach, (out, *[leaves[i] for i in numbers]), {"rule": rule}))
    return rebuild(attached)


def _call_plain(f: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    """Call a function with numbers where they are known; while only shapes are traced, with the tracers."""
    leaves, rebuild = trees.flatten(args)
    if any(isinstance(x, Tracer) and x.node.value is None for x in leaves):
        return f(*args)
    return f(*rebuild([x.node.value if isinstance(x, Tracer) else x for x in leaves]))


def _by_position(f: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
    """Fill in what a call names or leaves to its defaults: a rule takes all arguments by position.

    Raises:
        ArgumentError: a name belongs to an argument that can be given by name only.
    """
    if hasattr(f, "__code__"):
        try:
            bound = inspect.signature(f).bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{f.__name__}(): {error}") from None
        given = set(bound.kwargs)
        bound.apply_defaults()
        args, kwargs = bound.args, {name: x for name, x in bound.kwargs.items() if name in given}
    if kwargs:
        raise ArgumentError(
            f"{getattr(f, '__name__', 'f')}: a rule takes arguments by position, and {', '.join(kwargs)} can be given "
            f"by name only. Let the function take it by position."
        )
    return args


def _zeros(leaf: Any, ct: Any) -> Any:
    """Zeros of the shape and dtype of a leaf; its sizes may be symbolic where the cotangent is traced."""
    shape, dtype = P.shape_of(leaf), P.dtype_of(leaf)
    return (
        ct.bind(P.broadcast_to, (dtype.type(0),), {"shape": shape})
        if isinstance(ct, Tracer)
        else np.zeros(shape, dtype)
    )


def _to_read(leaf: Any) -> Any:
    """Return an array as one that cannot be written to."""
    if type(leaf) is not np.ndarray:
        return leaf
    leaf = leaf.view()
    leaf.flags.writeable = False
    return leaf


def _is_traced(args: tuple[Any, ...]) -> bool:
    return any(isinstance(x, Tracer) for x in trees.flatten(args)[0])


class custom_vjp:
    """Give a function a derivative of your own.

    The rule follows by the decorator ``@f.rule``: ``rule(ct, out, *args)`` returns ctᵀ ∂out/∂arg for each
    argument (None for one without a derivative), in its structure; a single argument needs no tuple. It is
    written in NumPy and can itself be differentiated. The function's own code may be anything while values
    are known (`grad`); under `backprop` it has to be traceable, and the rule becomes part of the source.

    Args:
        f: the function; its result may be a tree of arrays, and ct then has that structure.

    Raises:
        ArgumentError: called under differentiation before a rule was given, or the rule returned
            another number of cotangents than there are arguments.
        ShapeError: ``the rule of f returned (3,) for argument 1, which is (2,). …``

    Source: derived here.

    Example:
        >>> import undertow as ut
        >>> @custom_vjp
        ... def log1pexp(x):
        ...     return np.logaddexp(0, x)
        >>> @log1pexp.rule
        ... def log1pexp_rule(ct, out, x):
        ...     return ct / (1 + np.exp(-x))
        >>> ut.grad(log1pexp)(0.0)
        0.5
    """

    def __init__(self, f: Callable[..., Any]) -> None:
        self.f = f
        self._rule: Callable[..., Any] | None = None
        update_wrapper(self, f)

    def rule(self, rule: Callable[..., Any]) -> Callable[..., Any]:
        """Register ``rule(ct, out, *args)``, and return it.

        Raises:
            ArgumentError: it takes another number of arguments: ``rule takes 2 arguments, …``
        """
        check_rule(rule, self.f)
        self._rule = rule
        return rule

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function; under differentiation its rule stands for its derivative."""
        if not _is_traced((args, kwargs)):
            return self.f(*args, **kwargs)
        args = _by_position(self.f, args, kwargs)
        if self._rule is None:
            raise ArgumentError(f"{self.f.__name__} has no rule yet. Give one with @{self.f.__name__}.rule.")
        result = _call_plain(self.f, args)
        outs, rebuild = trees.flatten(result)

        def pull(number: int, ct: Any, out: Any, given: Any) -> list[Any]:
            zeros = [_zeros(x, ct) if is_array_like(x) else x for x in outs]
            if isinstance(ct, Tracer):
                values = [Tracer(x.node, ct.tape) if isinstance(x, Tracer) else x for x in outs]
            elif any(isinstance(x, Tracer) for i, x in enumerate(outs) if i != number):
                # a program is read backwards with numbers, to see where they stop being finite
                values = trees.flatten(self.f(*given))[0]
            else:
                values = list(outs)
            zeros[number], values[number] = (ct.copy() if type(ct) is np.ndarray else ct), out
            assert self._rule is not None  # it may write to ct, which is its own; all else is read by others too
            found = self._rule(
                rebuild(zeros), rebuild([_to_read(x) for x in values]), *trees.map_leaves(_to_read, given)
            )
            return self._read(found if isinstance(found, tuple) else (found,), given)

        return _attach(self.f.__name__, result, args, pull, self._rule)

    def _read(self, found: tuple[Any, ...], args: tuple[Any, ...]) -> list[Any]:
        """Flatten what the rule returned, and compare it with the arguments."""
        if len(found) != len(args):
            raise ArgumentError(
                f"the rule of {self.f.__name__} returned {len(found)} cotangents for {len(args)} arguments. "
                f"Return one for each, None for an argument without a derivative."
            )
        flat: list[Any] = []
        for position, (ct, arg) in enumerate(zip(found, args, strict=True)):
            leaves = trees.flatten(arg)[0]
            parts = [None] * len(leaves) if ct is None else trees.flatten(ct)[0]
            if len(parts) != len(leaves):
                raise ShapeError(
                    f"the rule of {self.f.__name__} returned {len(parts)} arrays for argument {position}, which holds "
                    f"{len(leaves)}. Return the argument's structure."
                )
            for part, leaf in zip(parts, leaves, strict=True):
                if part is not None and is_array_like(leaf) and P.shape_of(part) != P.shape_of(leaf):
                    raise ShapeError(
                        f"the rule of {self.f.__name__} returned {show_shape(P.shape_of(part))} for argument "
                        f"{position}, which is {show_shape(P.shape_of(leaf))}. Sum over what was broadcast."
                    )
                flat.append(
                    np.zeros(P.shape_of(leaf), P.dtype_of(leaf)) if part is None and is_array_like(leaf) else part
                )
        return flat


def checkpoint(f: Callable[..., Any]) -> Callable[..., Any]:
    """Recompute a function in the backward pass instead of keeping what it computed in the forward pass.

    Of a call, only arguments and result are kept. A chain of n operations in √n such pieces needs memory
    for about 2√n values instead of n, and about one more forward pass of time. While only shapes are traced
    (`backprop`) the function is traced through: what to keep is then for the program to decide.

    Args:
        f: a NumPy function of any trees of arrays. It must get all that is traced as arguments.

    Returns:
        The function with the same values and derivatives.

    Source: Griewank & Walther (2000), Revolve, ACM TOMS 26(1); Chen et al. (2016), arXiv 1604.06174.

    Example:
        >>> import undertow as ut
        >>> layer = checkpoint(lambda h: np.tanh(h) ** 2)
        >>> ut.grad(lambda x: np.sum(layer(layer(x))))(np.array([0.5])).round(4)
        array([0.2923])
    """

    def kept(*args: Any) -> Any:
        leaves = trees.flatten(args)[0]
        if not _is_traced(args) or any(isinstance(x, Tracer) and x.node.value is None for x in leaves):
            return f(*args)
        result = _call_plain(f, args)

        def pull(number: int, ct: Any, out: Any, given: Any) -> list[Any]:
            floats, put_back = _floats(given)
            _, back = vjp(lambda xs: trees.flatten(f(*put_back(xs)))[0][number], floats)
            found = iter(back(ct)[0])
            return [next(found) if _is_float(x) else None for x in trees.flatten(given)[0]]

        return _attach(getattr(f, "__name__", "f"), result, args, pull)

    return update_wrapper(kept, f)


def _is_float(leaf: Any) -> bool:
    return is_array_like(leaf) and P.dtype_of(leaf).kind == "f"


def _floats(tree: Any) -> tuple[list[Any], Callable[[list[Any]], Any]]:
    """Take the floats out of a tree, and return how to put others in their place."""
    leaves, rebuild = trees.flatten(tree)

    def put_back(new: list[Any]) -> Any:
        rest = iter(new)
        return rebuild([next(rest) if _is_float(x) else x for x in leaves])

    return [x for x in leaves if _is_float(x)], put_back


def implicit_root(residual: Callable[..., Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Differentiate a solver by what it solves: ``residual(x, *args) = 0``.

    By the implicit function theorem ∂x/∂a = −(∂F/∂x)⁻¹ ∂F/∂a at the solution, however it was found.

    Args:
        residual: ``residual(x, *args)``, a NumPy function of the shape of x that is 0 at the solution.

    Returns:
        A decorator for ``solve(*args)``, which returns x, one array; its code may be anything that takes
        plain arrays: SciPy's solvers, loops until convergence.

    Raises:
        ShapeError: the residual has another number of elements than the solution.
        numpy.linalg.LinAlgError: ∂F/∂x is singular at the solution.

    Source: Griewank & Walther (2008), Evaluating Derivatives, section 15.1; Blondel et al. (2022), NeurIPS.

    Example:
        >>> import undertow as ut
        >>> @implicit_root(lambda x, a: x * x - a)
        ... def root(a):
        ...     return np.sqrt(a)
        >>> ut.grad(lambda a: np.sum(root(a)))(np.array([4.0]))
        array([0.25])
    """

    def decorate(solve: Callable[..., Any]) -> Callable[..., Any]:
        def solved(*args: Any) -> Any:
            if not _is_traced(args):
                return solve(*args)
            x = _call_plain(solve, args)
            if not is_array_like(x):
                raise ArgumentError(f"{solve.__name__}: a solver returns one array, not {type(x).__name__}.")

            def pull(number: int, ct: Any, out: Any, given: Any) -> list[Any]:
                n = int(np.size(x))
                by_x = np.reshape(jacobian(residual)(out, *given), (-1, n))
                if P.shape_of(by_x) != (n, n):
                    raise ShapeError(
                        f"{residual.__name__} returned {P.shape_of(by_x)[0]} equations for {n} unknowns. "
                        f"It needs as many as the solution has elements."
                    )
                u = np.linalg.solve(by_x.T, np.reshape(ct, (n, 1)))
                floats, put_back = _floats(given)
                value, back = vjp(lambda xs: residual(out, *put_back(xs)), floats)
                found = iter(back(np.reshape(-u, P.shape_of(value)))[0])
                return [next(found) if _is_float(leaf) else None for leaf in trees.flatten(given)[0]]

            return _attach(solve.__name__, x, args, pull)

        return update_wrapper(solved, solve)

    return decorate


# ---- names and limits for what flows back --------------------------------------------------------


_MOST_OF_ONE_NAME = 100  # beyond, a loop is one over time, and its first steps tell
watched_values: ContextVar[list[tuple[str, Any]] | None] = ContextVar("undertow_watched_values", default=None)


def watch(x: T, name: str) -> T:
    """Name a value inside a function: it and its gradient appear under this name in source and derivation.

    Args:
        x: an array; one that is not being traced is returned as it is.
        name: an identifier. Several values may have one name, as in a loop over layers: they are numbered.

    Returns:
        The same value.

    Raises:
        ArgumentError: the name is no identifier, or no text.

    Source: derived here.

    Example:
        >>> import undertow as ut
        >>> bp = ut.backprop(lambda w: np.sum(watch(w * w, "squares")), np.ones(3))
        >>> "squares" in bp.values()
        True
    """
    if not isinstance(name, str):
        raise ArgumentError(f"watch: the name comes second, as in watch(z, 'z'). Got {type(name).__name__}.")
    if not name.isidentifier():
        raise ArgumentError(f"watch: {name!r} is no name. Give an identifier such as 'h1'.")
    found = watched_values.get()
    watched: Any = x
    if isinstance(x, Tracer):
        watched = x.copy()
        if isinstance(watched.tape, NotingTrace):
            watched.node.name, watched.node.watched = name, True
    if found is not None:
        found.append((_another(name, {known for known, _ in found}), watched))
    return watched


def _another(name: str, known: set[str]) -> str:
    """The name of a value by which none is known yet: in a loop over layers, z, z2, z3, …"""
    number, another = 2, name
    while another in known and number <= _MOST_OF_ONE_NAME:
        another = f"{name}{number}"
        number += 1
    return name if another in known else another


def clip_cotangent(x: Any, low: float, high: float) -> Any:
    """Pass a value on unchanged, and clip the gradient that flows back through it.

    Args:
        x: an array of any shape.
        low: the smallest entry that passes.
        high: the largest.

    Returns:
        x.

    Raises:
        ArgumentError: low is above high, or one of them is NaN.

    Source: Graves (2013), arXiv 1308.0850, section 2.1.

    Example:
        >>> import undertow as ut
        >>> ut.grad(lambda x: 100 * clip_cotangent(x, -1.0, 1.0))(2.0)
        1.0
    """
    if not float(low) <= float(high):
        raise ArgumentError(f"clip_cotangent: low is {low!r}, high is {high!r}. Give low ≤ high.")
    return P.clip_cotangent(x, low=float(low), high=float(high))
