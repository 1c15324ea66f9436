"""np.where keeps what is not a number in the branch not taken out of the gradient, whatever stands between."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import undertow as ut

X = np.array([[0.0, 2.0, 0.5], [1.5, 0.0, 3.0]])  # log is -inf at two places
W = np.array([[1.0, -2.0], [0.5, 1.5], [2.0, 1.0]])
SAFE = np.where(X > 0, X, 1.0)


BETWEEN: dict[str, Any] = {
    "nothing": lambda z: z,
    "a slice": lambda z: z[:, 1:],
    "a column": lambda z: z[:, 0],
    "reversed": lambda z: z[::-1],
    "a new axis": lambda z: z[:, None],
    "positions": lambda z: z[[0, 1, 1], [1, 0, 2]],
    "transposed": lambda z: z.T,
    "reshaped": lambda z: z.reshape(3, 2),
    "joined": lambda z: np.concatenate([z, z * 2], axis=1),
    "stacked": lambda z: np.stack([z, z**2]),
    "rolled": lambda z: np.roll(z, 1, axis=1),
    "flipped": lambda z: np.flip(z, 0),
    "tiled": lambda z: np.tile(z, (2, 1)),
    "repeated": lambda z: np.repeat(z, 2, axis=0),
    "in float32": lambda z: z.astype(np.float32),
    "triangle": lambda z: np.tril(z),
    "squared": lambda z: z * z,
    "of itself": lambda z: np.sqrt(np.abs(z) + 0.1) / (1 + z * z),
}


@pytest.mark.parametrize("name", BETWEEN)
def test_the_branch_not_taken_has_no_influence(name: str) -> None:
    """First and second derivative equal those of a function that never computes the log of 0."""
    between = BETWEEN[name]
    mask = between(np.where(X > 0, 1.0, 0.0)) != 0
    if name == "of itself":
        mask = X > 0

    def by_where(x: Any) -> Any:
        return np.sum(np.where(mask, between(np.log(x)), 0.0) ** 2 + 1.0)

    def by_hand(x: Any) -> Any:
        return np.sum(mask * between(np.log(np.where(X > 0, x, 1.0))) ** 2 + 1.0)

    v = np.cos(np.arange(6.0)).reshape(2, 3)
    tolerance = 1e-5 if name == "in float32" else 1e-10
    with np.errstate(all="ignore"):
        for found, wanted in (
            (ut.grad(by_where)(X), ut.grad(by_hand)(X)),
            (ut.backprop(by_where, X)()[1], ut.grad(by_hand)(X)),
            (ut.hvp(by_where)(X, v), ut.hvp(by_hand)(X, v)),
        ):
            np.testing.assert_allclose(found, wanted, rtol=tolerance, atol=tolerance)
        bp = ut.backprop(by_where, X)
        np.testing.assert_allclose(bp.backward(bp.forward(X)[1]), ut.grad(by_hand)(X), rtol=tolerance, atol=tolerance)


ROWWISE: dict[str, Any] = {
    "max": lambda z: np.max(z, axis=1),
    "prod": lambda z: np.prod(z, axis=1),
    "std": lambda z: np.std(z, axis=1),
    "norm": lambda z: np.linalg.norm(z, axis=1),
    "logsumexp": lambda z: ut.logsumexp(z, axis=1),
    "softmax": lambda z: ut.softmax(z, axis=1)[:, 0],
    "cumsum": lambda z: np.cumsum(z, axis=1)[:, -1],
    "product": lambda z: z @ np.array([1.0, 2.0, 3.0]),
    "matrix product": lambda z: (z @ W)[:, 1],
    "median": lambda z: np.median(z, axis=1),
    "sort": lambda z: np.sort(z, axis=1)[:, 1],
}


@pytest.mark.parametrize("name", ROWWISE)
def test_rows_not_taken_have_no_influence(name: str) -> None:
    """The row that holds a log of 0 is not chosen: the gradient is that of the other row."""
    reduce = ROWWISE[name]
    x = np.array([[0.0, 2.0, 0.5], [1.5, 4.0, 3.0]])
    rows = np.array([False, True])

    def by_where(x: Any) -> Any:
        return np.sum(np.where(rows, reduce(np.log(x)), 0.0) ** 2)

    wanted = np.zeros((2, 3))
    wanted[1:] = ut.grad(lambda row: np.sum(reduce(np.log(row)) ** 2))(x[1:])
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(ut.grad(by_where)(x), wanted, rtol=1e-10)
        np.testing.assert_allclose(ut.backprop(by_where, x)()[1], wanted, rtol=1e-10)


def test_nested_choices() -> None:
    """A where inside a where blocks what either does not take."""

    def f(x: Any) -> Any:
        return np.sum(np.where(x > 1, np.where(x > 2, np.sqrt(x - 2), np.log(2 - x)), 0.0))

    x = np.array([0.5, 1.5, 2.5, 2.0])
    with np.errstate(all="ignore"):
        found = ut.grad(f)(x)
    np.testing.assert_allclose(found[:3], [0, -2, 0.5 / np.sqrt(0.5)], rtol=1e-12)


GAPS = np.array([[1.0, np.nan, 3.0], [np.nan, 2.0, -1.0]])
THERE = ~np.isnan(GAPS)
LEFT_OUT = {
    "nansum": np.nansum,
    "nanmean": np.nanmean,
    "nanvar": np.nanvar,
    "nanstd": np.nanstd,
    "nanmax": np.nanmax,
    "nanmin": np.nanmin,
    "nanprod": np.nanprod,
    "nan_to_num": lambda x: np.sum(np.nan_to_num(x)),
    "sum where": lambda x: np.sum(x, where=THERE),
    "mean where": lambda x: np.mean(x, where=THERE),
    "max where": lambda x: np.max(x, where=THERE, initial=0.0),
    "rows": lambda x: np.sum(np.nanmean(x, axis=1) ** 2),
    "a branch around it": lambda x: np.sum(np.where([True, False], np.nansum(x, axis=1), 0.0)),
}


@pytest.mark.parametrize("name", LEFT_OUT)
def test_nan_that_a_reduction_leaves_out_stays_out_of_the_gradient(name):
    """Missing measurements: 0 times the slope NaN of ``w * NaN`` would make the whole gradient NaN."""

    def loss(w):
        return LEFT_OUT[name]((w * GAPS - 1.0) ** 2)

    w, h = 1.1, 1e-5
    slope = (loss(w + h) - loss(w - h)) / (2 * h)
    curve = (loss(w + h) - 2 * loss(w) + loss(w - h)) / h**2
    np.testing.assert_allclose(ut.grad(loss)(w), slope, rtol=1e-7)
    np.testing.assert_allclose(ut.grad(ut.grad(loss))(w), curve, rtol=2e-4)
    np.testing.assert_allclose(ut.backprop(loss, w)()[1], slope, rtol=1e-7)
    np.testing.assert_allclose(ut.value_and_grad(loss, compile=True, fallback="numpy")(w)[1], slope, rtol=1e-7)
