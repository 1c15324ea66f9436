"""Which arguments a function is differentiated by: what was asked for, and what is wrong with that."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from undertow import trees
from undertow.errors import ArgumentError
from undertow.trace.function import argument_names, code_of


def check_positions(f: Callable[..., Any], positions: tuple[int, ...], count: int) -> list[int]:
    """Return the positions to differentiate by, counted from the front.

    Raises:
        ArgumentError: no position, one that is no whole number or twice there, or an argument that does not exist.
    """
    if len(positions) == 1 and type(positions[0]) is int and 0 <= positions[0] < count:
        return list(positions)
    if not positions:
        raise ArgumentError("wrt=() names no argument. Give the position of one, such as wrt=0, or several.")
    names = argument_names(f, count)
    called = f"{getattr(f, '__name__', 'f')} was called with {count} arguments ({', '.join(names)})"
    found: list[int] = []
    for i in positions:
        if isinstance(i, bool) or not hasattr(i, "__index__"):
            hint = f" {i!r} is wrt={names.index(i)}." if isinstance(i, str) and i in names else ""
            raise ArgumentError(f"wrt={i!r}: {called}. Give a position, such as 0, or a tuple of positions.{hint}")
        place = operator.index(i)
        if not -count <= place < count:
            remedy = " Give example arguments, by position and not by name." if not count else ""
            raise ArgumentError(f"wrt={place}: {called}.{remedy}")
        if place % count in found:
            raise ArgumentError(f"wrt={positions}: {names[place]} is named twice. Name each argument once.")
        found.append(place % count)
    return found


def refuse_arguments(f: Callable[..., Any], positions: tuple[Any, ...]) -> None:
    """ArgumentError where the arguments of f stand in the place of their positions: ``grad(loss, params)``."""
    wrong = next((x for x in positions if isinstance(x, np.ndarray | dict | list)), None)
    if wrong is not None:
        code = code_of(f)
        names = ", ".join(argument_names(f, code.co_argcount if code else 1))
        name = getattr(f, "__name__", "f")
        raise ArgumentError(
            f"wrt is the position of an argument of {name}, such as 0, and not the argument itself, got "
            f"{type(wrong).__name__}. What is made is a function of the same arguments: ut.grad({name})({names})."
        )


def check_function(f: Any) -> None:
    """ArgumentError unless f can be called."""
    if not callable(f):
        raise ArgumentError(
            f"expected a function to differentiate, got {type(f).__name__}. Give the function itself, not its result."
        )


def no_floats(f: Callable[..., Any], args: Sequence[Any], places: Sequence[int]) -> str:
    """Say that arguments hold nothing to differentiate by, and what would."""
    names = ", ".join(argument_names(f, len(args))[i] for i in places)
    plain = [
        x for i in places for x in trees.flatten(args[i])[0] if type(x).__module__ != "builtins" and not callable(x)
    ]
    remedy = ""
    if plain:
        frame = hasattr(plain[0], "to_numpy")  # of pandas or Polars
        name = type(plain[0]).__name__
        instead = "make the class a dataclass, or pass a dict"
        if frame or hasattr(plain[0], "__array__") or hasattr(plain[0], "tobytes"):  # of others, such as torch's
            instead = "pass its x.to_numpy()" if frame else "pass np.asarray(x)"
        remedy = f" {'An' if name[0].lower() in 'aeiou' else 'A'} {name} is no tree of arrays: {instead}."
    elif any(callable(args[i]) for i in places):
        remedy = " A model has weights after model = undertow.nn.initialize(model, seed=0)."
    return f"{getattr(f, '__name__', 'f')}: {names} holds no floats to differentiate by.{remedy}"
