"""What rules that write an operation by simpler ones have in common."""

from __future__ import annotations

from typing import Any

import numpy as np

from undertow import primitives as P
from undertow.graph import Node, Shape
from undertow.primitives.record import float_like


def cast(x: Any, dtype: np.dtype[Any]) -> Any:
    """Bring a value, traced or known, to a dtype."""
    if isinstance(x, np.ndarray | np.generic):
        return np.asarray(x).astype(dtype)
    return x if x.dtype == dtype else P.astype(x, dtype=dtype)


def as_float(x: Any) -> Any:
    """Bring a value to the floats that NumPy computes with."""
    return cast(x, float_like(x.dtype))


def filled(like: Any, value: Any, shape: Shape) -> Any:
    """Return an array of one number, in the trace of another."""
    return like.bind(P.broadcast_to, (value,), {"shape": shape})


def swapped(ndim: int) -> tuple[int, ...]:
    """The order of axes that transposes a stack of matrices."""
    return (*range(ndim - 2), ndim - 1, ndim - 2)


def is_transposed(x: Node) -> bool:
    """Tell whether a node transposes matrices."""
    return x.op is P.transpose and x.spec.ndim >= 2 and tuple(x.params["axes"]) == swapped(x.spec.ndim)
