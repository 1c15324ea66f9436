"""Products of traced arrays with SciPy's sparse matrices, and what happens where something asks for a plain array."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from undertow.errors import ShapeError, UnsupportedError
from undertow.graph import show_shape
from undertow.trace.failure import is_sparse
from undertow.trace.foreign import scipy_remedy
from undertow.trace.remedy import lost_array, name_of
from undertow.trace.where import user_line


class PlainArrays:
    """The part of a traced array that meets SciPy's sparse matrices, and those who want a plain array of it."""

    __slots__ = ()

    def __matmul__(self, other: Any) -> Any:
        if is_sparse(other):
            return multiply_sparse(other.T, np.transpose(self), other, self).T
        return np.matmul(self, other)

    def __rmatmul__(self, other: Any) -> Any:
        return multiply_sparse(other, self, other, self) if is_sparse(other) else np.matmul(other, self)

    def __array__(self: Any, dtype: Any = None, copy: Any = None) -> Any:
        if asked_for_product():
            return np.array(None, object)  # so SciPy leaves the product to __rmatmul__
        self._ask_for_sizes((self,), "a plain array")
        if self.dtype.kind != "f" and self.node.value is not None:
            return np.array(self.node.value, dtype)  # an index or a truth value: there is no derivative to lose
        remedy = scipy_remedy()
        if remedy is not None:
            raise UnsupportedError(f"{user_line()}: {remedy}")
        self.tape.asked = lost_array(self)
        raise self.tape.asked


def asked_for_product() -> bool:
    """Tell whether a sparse matrix of SciPy's asks what the other factor of a product is."""
    caller = sys._getframe(2)
    return caller.f_code.co_name in ("_matmul_dispatch", "_rmatmul_dispatch") and "scipy" in caller.f_code.co_filename


def multiply_sparse(A: Any, x: Any, given: Any, traced: Any) -> Any:
    """Multiply a sparse matrix by a traced array, by a gather and a sum over what lies in the same row.

    Args:
        A: the sparse matrix, (m, n).
        x: the traced array, (n,) or (n, k).
        given: the matrix as it was given, for messages: A, or its transpose where it stands on the right.
        traced: the array as it was given.

    Returns:
        A x, (m,) or (m, k): traced, so that it has derivatives of any order, and compiles.

    Raises:
        ShapeError: the inner sizes differ, or x is a number or a stack of matrices.

    Source: derived here.
    """
    rows, columns = A.shape
    if x.ndim not in (1, 2) or x.shape[0] != columns:
        why = "the inner sizes differ" if x.ndim in (1, 2) else "it multiplies vectors and matrices"
        raise ShapeError(
            f"{user_line()}: the sparse matrix is {show_shape(given.shape)}, and it meets {name_of(traced)}: {why}."
        )
    entries = A.tocoo()
    data = entries.data if x.ndim == 1 else entries.data[:, None]
    parts = data * x[entries.col]
    total = np.zeros_like(parts, shape=(rows, *x.shape[1:]))
    np.add.at(total, entries.row, parts)
    return total
