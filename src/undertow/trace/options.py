"""The options of ufuncs: dtype= is a conversion before the call, the others are refused with the way out."""

from __future__ import annotations

from typing import Any

import numpy as np

from undertow import primitives as P
from undertow.errors import UnsupportedError
from undertow.trace.remedy import lost_output
from undertow.trace.where import user_line


def with_options(name: str, args: tuple[Any, ...], options: dict[str, Any]) -> tuple[Any, ...]:
    """Return the arguments of a ufunc's call that does what these options say, without any.

    Raises:
        InPlaceError: a traced value would be written into a plain array.
        UnsupportedError: an option that cannot be traced; names the function, the option and the way out.
    """
    out = options.get("out")
    if out is not None and isinstance(out[0], np.ndarray):
        raise lost_output(name, out[0])
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
