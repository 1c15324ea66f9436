"""Many products of tiny matrices, against NumPy in float64."""

import numpy as np
import pytest

import undertow as ut
from undertow.compile.tiny import MOST, tiny

SIZES = [
    (3, 3, 1), (1, 3, 3), (3, 1, 3), (3, 3, 3), (2, 2, 2), (4, 4, 4), (8, 8, 1), (1, 8, 8), (2, 3, 5), (7, 1, 2),
    (1, 1, 9), (2, 16, 2), (1, 1, 1), (5, 4, 3), (8, 8, 8), (2, 40, 1), (1, 17, 3),
]  # fmt: skip


def turned(layout):
    """How a program sees that layout: its operand lies row by row, and is turned or cut inside."""
    return {
        "rows": lambda x: x,
        "columns": lambda x: np.swapaxes(x, 1, 2),
        "apart": lambda x: x[:, ::2, ::3],
        "one": lambda x: x,
    }[layout]


def stack(rng, layout, count, rows, columns, dtype):
    shape = {
        "rows": (count, rows, columns),
        "columns": (count, columns, rows),
        "apart": (count, 2 * rows, 3 * columns),
        "one": (rows, columns),
    }[layout]
    return rng.standard_normal(shape).astype(dtype)


def exact(a, b):
    """The products, and how large a rounding error of their sums may be."""
    a, b = a.astype(float), b.astype(float)
    return a @ b, np.abs(a) @ np.abs(b)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("sizes", SIZES)
def test_products_of_stacks_are_those_of_numpy(sizes, dtype):
    """However their operands lie in memory."""
    m, k, n = sizes
    rng = np.random.default_rng(m * 100 + k * 10 + n)
    for left, right in (("rows", "rows"), ("columns", "rows"), ("rows", "columns"), ("apart", "one"), ("one", "apart")):
        turn_a, turn_b = turned(left), turned(right)
        product = ut.compile(lambda a, b, turn_a=turn_a, turn_b=turn_b: turn_a(a) @ turn_b(b))
        a, b = stack(rng, left, 37, m, k, dtype), stack(rng, right, 37, k, n, dtype)
        found = product(a, b)
        wanted, scale = exact(turn_a(a), turn_b(b))
        assert found.dtype == dtype and found.shape == wanted.shape
        assert np.all(np.abs(found - wanted) <= (k + 1) * np.finfo(dtype).eps * scale)


def test_a_sum_of_products_and_its_gradients():
    """The second product is added to the first where that lies; gradients by both factors, beside einsum's by hand."""
    rng = np.random.default_rng(3)
    a, b, c, d = (rng.standard_normal((50, 3, 3)) for _ in range(4))
    assert np.allclose(ut.compile(lambda a, b, c, d: a @ b + c @ d)(a, b, c, d), a @ b + c @ d, rtol=1e-14, atol=1e-14)
    value, (da, db) = ut.value_and_grad(lambda a, b: np.sum((a @ b) ** 2), wrt=(0, 1), compile=True)(a, b)
    above = 2 * (a @ b)
    assert np.isclose(value, np.sum((a @ b) ** 2), rtol=1e-13)
    assert np.allclose(da, np.einsum("nij,nkj->nik", above, b), rtol=1e-12, atol=1e-13)
    assert np.allclose(db, np.einsum("nji,njk->nik", a, above), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_share_products(threads):
    """So many that they are shared; the bits are those of one thread."""
    rng = np.random.default_rng(4)
    a, b = rng.standard_normal((20_001, 3, 3)).astype("f"), rng.standard_normal((20_001, 3, 2)).astype("f")
    product = ut.compile(lambda a, b: np.tanh(a @ b))
    try:
        ut.set_threads(1)
        alone = product(a, b)
        ut.set_threads(threads)
        assert np.array_equal(product(a, b), alone)
    finally:
        ut.set_threads(None)


def test_what_is_not_finite_stays_where_it_is():
    """NaN and infinity in one matrix do not reach another one's product."""
    rng = np.random.default_rng(5)
    a, b = rng.standard_normal((40, 3, 3)), rng.standard_normal((40, 3, 1))
    a[7, 1, 2], b[9, 0, 0] = np.nan, np.inf
    with np.errstate(invalid="ignore"):
        wanted = a @ b
    assert np.array_equal(np.isfinite(ut.compile(lambda a, b: a @ b)(a, b)), np.isfinite(wanted))


def test_which_products_are_tiny():
    """What is written out stays short, and none is made for sizes of zero."""
    assert tiny("f32", (3, 1, 3), (3, 1, 1, 1), False, 16) is not None
    assert tiny("f32", (8, 8, 8), (8, 1, 8, 1), False, 16) is not None
    assert tiny("f32", (8, 8, 8), (8, 1, 1, 8), False, 16) is None, "scalars: 512 of them"
    assert tiny("f32", (MOST + 1, 2, 1), (1, 1, 2, 1), False, 16) is None
    assert tiny("f32", (3, 0, 3), (3, 1, 0, 1), False, 16) is None
