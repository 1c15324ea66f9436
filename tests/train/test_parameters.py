"""What looks like a parameter and is none is told, and the remedy trains it."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import undertow as ut
from undertow import nn

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(80, 4)), RNG.integers(0, 3, 80)
W = RNG.normal(size=(4, 5))
SETTINGS: Any = {"loss": "categorical_cross_entropy", "epochs": 2, "progress": False}


class Plain:
    """A layer as one would write it elsewhere."""

    def __init__(self, W: Any) -> None:
        self.W = W

    def __call__(self, x: Any) -> Any:
        return np.tanh(x @ self.W)


@dataclass
class Tree:
    W: Any

    def __call__(self, x: Any) -> Any:
        return np.tanh(x @ self.W)


@dataclass
class Fixed(Tree):
    not_trained = ("W",)


def test_arrays_of_an_object_that_is_no_dataclass_are_told_not_to_be_trained() -> None:
    layer = Plain(W.copy())
    with pytest.warns(
        UserWarning, match=r"W of Plain is not trained, since Plain is no dataclass.*W: np\.ndarray"
    ) as told:
        ut.train(nn.Sequential(layer, nn.Dense(5, 3)), (X, Y), **SETTINGS)
    assert [x.filename for x in told] == [__file__]
    assert np.array_equal(layer.W, W)
    with pytest.raises(ut.ArgumentError, match=r"no parameters to train. W of Plain is not trained, since"):
        ut.train(Plain(W[:, :3]), (X, Y), **SETTINGS)


@pytest.mark.parametrize(("kind", "trained"), [(Tree, True), (Fixed, False)])
def test_a_dataclass_is_trained_unless_it_says_otherwise(kind: Any, trained: bool) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run = ut.train(nn.Sequential(kind(W.copy()), nn.Dense(5, 3)), (X, Y), **SETTINGS)
    assert np.allclose(run.model.layers[0].W, W) != trained


def test_whole_numbers_are_no_parameters() -> None:
    with pytest.raises(ut.DTypeError, match=r"the model's layers\[0\]\.W is int64: only floats are trained.*W \* 1\.0"):
        ut.train(nn.Sequential(Tree(np.ones((4, 5), int)), nn.Dense(5, 3)), (X, Y), **SETTINGS)
    ut.train(nn.Sequential(Tree(np.ones((4, 5), int) * 1.0), nn.Dense(5, 3)), (X, Y), **SETTINGS)
    ut.train(nn.Sequential(Fixed(np.ones((4, 5), int)), nn.Dense(5, 3)), (X, Y), **SETTINGS)
