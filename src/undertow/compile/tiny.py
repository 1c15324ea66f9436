"""Many products of tiny matrices: the sizes stand in the code, and nothing else is decided for each matrix.

The kernel for all sizes (`product`) takes longer to find its way through one product of 3 × 3 than the product takes.
"""

from __future__ import annotations

from typing import NamedTuple

from undertow.compile.ir import Emitter, Module, Value
from undertow.compile.product_args import begin_kernel, read_args, share

MANY = 16  # so many products pay for the time that their kernel takes to compile
MOST = 64  # multiplications that are written out


class Tiny(NamedTuple):
    """Sizes that stand in the code, and strides in elements.

    Attributes:
        kind: ``f32`` or ``f64``.
        m: rows of A.
        n: columns of B.
        k: columns of A.
        row_a: from one row of A to the next.
        col_a: between its columns.
        row_b: from one row of B to the next.
        col_b: between its columns.
        adds: the result is added to what C holds.
        turned: all of this is told of Cᵀ = Bᵀ Aᵀ.
    """

    kind: str
    m: int
    n: int
    k: int
    row_a: int
    col_a: int
    row_b: int
    col_b: int
    adds: bool
    turned: bool


def tiny(
    kind: str, sizes: tuple[int, int, int], strides: tuple[int, int, int, int], adds: bool, lanes: int
) -> Tiny | None:
    """Return what a kernel of tiny products is made for; None where the one for all sizes is as good.

    Args:
        kind: ``f32`` or ``f64``.
        sizes: rows of A, columns of B, columns of A.
        strides: between the rows and columns of A, then of B, in elements.
        adds: the result is added to what C holds.
        lanes: numbers in a vector register.
    """
    (m, n, k), (row_a, col_a, row_b, col_b) = sizes, strides
    turned = n == 1 and row_a == 1  # vectors run along the rows of C, and here they are its columns
    if turned:
        m, n, row_a, col_a, row_b, col_b = n, m, col_b, row_b, col_a, row_a
    steps = m * k * (1 if n and col_b == 1 and n <= lanes else n)
    if not 0 < steps <= MOST:
        return None
    return Tiny(kind, m, n, k, row_a, col_a, row_b, col_b, adds, turned)


def write_tiny(module: Module, shape: Tiny) -> str:
    """Write the function of such products into a module.

    Args:
        module: where it goes.
        shape: what it is made for.

    Returns:
        The function's name; it takes the table ``ARGS``, the thread and the number of threads. Products are what
        threads share, if any.
    """
    name = f"tiny_{shape.kind}"
    e = begin_kernel(module, name)
    x = read_args(e, shape.kind)
    begin, end = share(e, x, "count", 2)
    if shape.turned:
        x |= {"a": x["b"], "b": x["a"], "batch_a": x["batch_b"], "batch_b": x["batch_a"]}
    with e.loop(begin, end) as i:
        a, b, c = (e.address(x[at], i * x[f"batch_{at}"], shape.kind) for at in ("a", "b", "c"))
        if shape.n > 1 and shape.col_b == 1:
            _write_rows(e, shape, a, b, c, shape.n)
        else:
            for j in range(shape.n):
                _write_rows(e, shape, a, e.address(b, j * shape.col_b, shape.kind), e.address(c, j, shape.kind), 0)
    e.finish()
    return name


def _write_rows(e: Emitter, shape: Tiny, a: Value, b: Value, c: Value, lanes: int) -> None:
    """Write every row of A times columns of B that are neighbours, or times one column."""
    kind = shape.kind
    right = [e.load(e.address(b, p * shape.row_b, kind), kind, lanes) for p in range(shape.k)]
    for i in range(shape.m):
        total = e.const(0.0, kind, lanes)
        for p, vector in enumerate(right):
            left = e.load(e.address(a, i * shape.row_a + p * shape.col_a, kind), kind)
            total = e.fma(e.splat(left, lanes), vector, total)
        place = e.address(c, i * shape.n, kind)
        e.store(total + e.load(place, kind, lanes) if shape.adds else total, place)
