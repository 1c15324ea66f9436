"""The options of calls: where a result is written to, and of ufuncs, whose dtype= is a conversion before the call."""

from __future__ import annotations

import functools
import inspect
from typing import Any

import numpy as np

from undertow import primitives as P
from undertow.errors import ArgumentError, UnsupportedError
from undertow.trace.remedy import lost_output
from undertow.trace.where import user_line


def with_options(name: str, args: tuple[Any, ...], options: dict[str, Any]) -> tuple[Any, ...]:
    """Return the arguments of a ufunc's call that does what these options say, without any.

    Raises:
        UnsupportedError: an option that cannot be traced; names the function, the option and the way out.
    """
    dtype = options.get("dtype")
    usual = {"dtype": dtype, "where": True, "casting": "same_kind", "order": "K", "subok": True}
    option = next(
        (
            key
            for key, value in options.items()
            if key not in usual or isinstance(value, np.ndarray | P.Traced) or value != usual[key]
        ),
        None,
    )
    if option == "where":
        raise UnsupportedError(
            f"{user_line()}: {name}(…, where=…) leaves the other elements to chance. Write "
            f"np.where(condition, {name}(…), other)."
        )
    if option is not None:
        raise UnsupportedError(f"{user_line()}: {name}(…, {option}=…) cannot be traced. Call it without {option}=.")
    if dtype is None:
        return args
    wanted = np.dtype(dtype)
    if wanted.kind != "f" or any(P.dtype_of(x).kind == "f" and P.dtype_of(x) > wanted for x in args):
        raise UnsupportedError(
            f"{user_line()}: {name}(…, dtype={wanted}) cannot be traced. Convert with .astype instead."
        )
    return tuple(P.astype(x, dtype=wanted) for x in args)


@functools.cache
def place_of_out(answer: P.Answer) -> int | None:
    """Where ``out`` stands among the arguments of a NumPy function; None where it has to be named, or there is none."""
    for function in (answer.apply, answer.function):
        try:
            parameters = list(inspect.signature(function).parameters.values())
        except ValueError:  # of a function in C that tells nothing
            continue
        for place, parameter in enumerate(parameters):
            if parameter.name == "out":
                return place if parameter.kind is parameter.POSITIONAL_OR_KEYWORD else None
    return None


def check_output(name: str, out: Any) -> None:
    """See that a traced result can be written into what ``out=`` was given.

    Raises:
        InPlaceError: a traced value would be written into a plain array.
        ArgumentError: it is no array.
    """
    if isinstance(out, np.ndarray):
        raise lost_output(name, out)
    if not isinstance(out, P.Traced):
        raise ArgumentError(
            f"{user_line()}: {name}(…, out={out!r}): out= is the array that takes the result. Leave out= out, or give "
            "it an array."
        )
