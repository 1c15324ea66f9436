"""Sums over an axis before few columns, several rows beside each other, are those of exact numbers."""

from __future__ import annotations

import numpy as np
import pytest

import undertow as ut

SHAPES = [
    (5, 64, 3), (4, 70, 5), (3, 2, 200, 2), (7, 33, 2, 3), (2, 97, 16), (3, 12, 16), (3, 11, 16), (9, 65, 1),
    (1, 90, 3), (2, 30, 17), (2, 60, 60),
]  # fmt: skip


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_sums_of_every_dtype_are_numpys(shape: tuple[int, ...], keepdims: bool, threads: int) -> None:
    rng = np.random.default_rng(0)
    axis = int(np.argmax(shape))
    ut.set_threads(threads)
    try:
        for dtype in (np.float32, np.float64, np.int64, np.int8, np.bool_, np.float16):
            x = (8 * rng.normal(size=shape)).astype(dtype)
            found = ut.compile(lambda x: np.sum(x + x, axis=axis, keepdims=keepdims))(x)
            wanted = np.sum(x + x, axis=axis, keepdims=keepdims, dtype=np.longdouble if x.dtype.kind == "f" else None)
            assert found.shape == wanted.shape and found.dtype == np.sum(x + x, axis=axis).dtype
            eps = float(np.finfo(dtype).eps) if x.dtype.kind == "f" else 0.0
            bound = eps * np.sum(np.abs((x + x).astype(float)), axis=axis, keepdims=keepdims)
            assert np.all(np.abs(found.astype(np.longdouble) - wanted) <= bound), dtype
    finally:
        ut.set_threads(None)


def test_views_that_are_not_in_order_are_summed_as_they_are() -> None:
    x = np.random.default_rng(1).normal(size=(3, 6, 50))
    for read in (
        lambda x: np.swapaxes(x, 1, 2),
        lambda x: np.swapaxes(x, 1, 2)[:, ::-1, ::2],
        lambda x: x[:, :, :, None] + 0 * x[0, 0, :3],
    ):
        found = ut.compile(lambda x, read=read: np.sum(read(x), axis=1))(x)
        np.testing.assert_allclose(found, np.sum(read(x), axis=1), rtol=1e-13)


def test_forces_of_all_pairs_are_the_gradient() -> None:
    """The differences of all pairs are summed over both, three columns each; beside formulas written by hand."""
    rng = np.random.default_rng(2)
    p, mass = rng.normal(size=(90, 3)), rng.uniform(size=90)

    def energy(p, mass):
        d = p[:, None] - p[None]
        return -0.5 * np.sum(mass[:, None] * mass[None] / np.sqrt(np.sum(d * d, axis=-1) + 0.1))

    _, found = ut.value_and_grad(energy, compile=True)(p, mass)
    d = p[:, None] - p[None]
    pulls = mass[:, None] * mass[None] / (np.sum(d * d, axis=2) + 0.1) ** 1.5
    wanted = [np.sum(pulls[i][:, None] * d[i], axis=0) for i in range(90)]
    np.testing.assert_allclose(found, wanted, rtol=1e-11, atol=1e-11)
