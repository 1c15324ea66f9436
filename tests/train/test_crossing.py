"""A loss of one's own that holds each output against each target is told before training; others are left alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import undertow as ut
from undertow import nn

RNG = np.random.default_rng(0)
X = RNG.normal(size=(90, 3)).astype(np.float32)
Y = X @ np.array([1.0, -2.0, 0.5], np.float32)
SETTINGS: Any = {"optimizer": ut.optim.adam(0.1), "epochs": 60, "seed": 0, "progress": False}


def squares(output: Any, y: Any) -> Any:
    return np.mean((output - y) ** 2)


def cast_first(output: Any, y: Any) -> Any:
    return np.mean(np.abs(y.astype(output.dtype) - output))


def flat(x: Any) -> Any:
    return x[:, 0]


@pytest.mark.parametrize("loss", [squares, cast_first])
def test_a_target_that_would_be_spread_over_all_outputs_is_refused_with_the_remedy(loss: Any) -> None:
    model = nn.Sequential(nn.Dense(3, 1))
    name = loss.__name__
    with pytest.raises(
        ut.ShapeError, match=rf"{name} \(test_crossing.*output \(m, 1\) with a target \(m,\).*y\[:, None\]"
    ):
        ut.train(model, (X, Y), loss=loss, **SETTINGS)
    run = ut.train(model, (X, Y[:, None]), loss=loss, **SETTINGS)  # the remedy
    assert run.history[-1]["loss"] < 0.05


def raveled(output: Any, y: Any) -> Any:
    return np.mean((output - np.ravel(y)) ** 2)


def reshaped(output: Any, y: Any) -> Any:
    return np.mean((output.reshape(-1) - y) ** 2)


def one_column(output: Any, y: Any) -> Any:
    return np.mean((output[:, 0] - y) ** 2)


@pytest.mark.parametrize("loss", [raveled, reshaped, one_column])
def test_a_loss_that_makes_shapes_differ_itself_is_refused_where_it_does(loss: Any) -> None:
    """NumPy makes (m, m) of them, which the plain function shows."""
    assert np.subtract(np.zeros((4, 1)), np.zeros(4)).shape == (4, 4)
    with pytest.raises(
        ut.ShapeError, match=r"\(test_crossing\.py:\d+\), which makes \(m, m\).*Bring both to one shape"
    ):
        ut.train(nn.Sequential(nn.Dense(3, 1)), (X, Y[:, None]), loss=loss, **SETTINGS)


def test_so_is_a_column_beside_a_flat_output() -> None:
    model = nn.Sequential(nn.Dense(3, 1), flat)
    with pytest.raises(ut.ShapeError, match=r"output \(m,\) with a target \(m, 1\).*y\[:, 0\]"):
        ut.train(model, (X, Y[:, None]), loss=squares, **SETTINGS)
    assert ut.train(model, (X, Y), loss=squares, **SETTINGS).history[-1]["loss"] < 0.05


def test_a_loss_that_brings_both_to_one_shape_or_means_all_pairs_is_left_alone() -> None:
    def one_shape(output: Any, y: Any) -> Any:
        return np.mean((output[:, 0] - y) ** 2)

    def all_pairs(output: Any, y: Any) -> Any:
        return np.mean(np.abs(output - y[None, :])) - 0.5 * np.mean(np.abs(output - output.T))

    for loss in (one_shape, all_pairs):
        ut.train(nn.Sequential(nn.Dense(3, 1)), (X, Y), loss=loss, **{**SETTINGS, "epochs": 1})
