"""Shifts of scores that cancel, and those that may be NaN where the scores are not, which stay."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import undertow as ut
from undertow.simplify import simplify
from undertow.trace import trace_function

RNG = np.random.default_rng(3)
Z, COLUMN, LABELS = RNG.normal(size=(4, 3)), RNG.normal(size=(4, 1)), np.array([2, 0, 1, 2])


def lse(z: Any) -> Any:
    return np.log(np.sum(np.exp(z), axis=1, keepdims=True))


def scores(z: Any) -> Any:
    return np.log(np.sum(np.exp(z), axis=1)) - z[np.arange(4), LABELS]


OTHER = {
    "softmax": lambda z, c: ut.softmax(z - c, axis=1),
    "log-softmax": lambda z, c: ut.log_softmax(z - c, axis=1),
    "plus": lambda z, c: ut.log_softmax(z + c, axis=1),
    "written out": lambda z, c: np.exp(z - c) / np.sum(np.exp(z - c), axis=1, keepdims=True),
    "log-sum-exp": lambda z, c: c + lse(z - c),
    "shifted scores": lambda z, c: scores(z - c),
    "root of the scores": lambda z, c: ut.softmax(z - np.sqrt(np.max(z - 50, axis=1, keepdims=True)) + 0 * c, axis=1),
}


@pytest.mark.parametrize("f", OTHER.values(), ids=OTHER)
def test_a_shift_by_another_value_that_is_nan_shows(f: Any) -> None:
    """Where NumPy gives it, in the value and in the gradient by the scores; of one row, and of one number for all."""
    column = COLUMN.copy()
    column[2] = np.nan
    for c in (column, np.array([np.nan])):
        with np.errstate(all="ignore"):
            wanted = np.isnan(f(Z, c))
            found = ut.compile(f)(Z, c)
            slopes = ut.grad(lambda z, c: np.sum(f(z, c)), compile=True)(Z, c)
        np.testing.assert_array_equal(np.isnan(found), wanted)
        assert np.any(wanted)
        rows = np.any(wanted.reshape(4, -1), axis=1)
        np.testing.assert_array_equal(np.isnan(slopes).any(axis=1)[rows], True)


OWN = {
    "largest": lambda z: z - np.max(z, axis=1, keepdims=True),
    "largest of all": lambda z: z - np.max(z),
    "without a gradient": lambda z: z - ut.stop_gradient(np.max(z, axis=1, keepdims=True)),
    "a new axis": lambda z: z - z.max(axis=1)[:, None],
    "reshaped": lambda z: z - np.reshape(np.max(z, axis=1), (4, 1)),
    "mean": lambda z: z - np.mean(z, axis=1, keepdims=True),
    "first": lambda z: z - z[:, :1],
    "a number": lambda z: z - 3.0,
    "of turned scores": lambda z: z.T.T - np.max(z.T, axis=0)[:, None],
    "of scaled scores": lambda z: z / 2 - np.max(z, axis=1, keepdims=True) / 2,
    "of a difference": lambda z: (z - 1) - (np.max(z, axis=1, keepdims=True) - 1),
    "constants": lambda z: z - np.array([[1.0], [2.0], [3.0], [4.0]]),
}


@pytest.mark.parametrize("shifted", OWN.values(), ids=OWN)
def test_a_shift_of_the_scores_own_cancels(shifted: Any) -> None:
    graph = trace_function(lambda z: ut.softmax(shifted(z), axis=1), (Z,)).graph
    fired = [rule.name for rule in simplify(graph).fired]
    assert "softmax does not change with a shift" in fired
    z = Z.copy()
    z[2, 1] = np.nan
    found = ut.compile(lambda z: ut.softmax(shifted(z), axis=1))(z)
    assert np.isnan(found[2]).all()
    np.testing.assert_allclose(found[:2], ut.softmax(shifted(Z), axis=1)[:2], rtol=1e-12)
