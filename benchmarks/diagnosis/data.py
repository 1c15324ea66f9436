"""Small sets to train on: scikit-learn's, and some that are drawn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Rng = np.random.Generator


@dataclass(frozen=True)
class Task:
    """Rows to train on, and what the last layer and the loss must be for them.

    X has columns of mean 0 and deviation 1, none constant, no row twice; so do targets that are numbers.
    """

    name: str
    X: Array
    y: Array
    n_out: int
    loss: str

    @property
    def n_in(self) -> int:
        return int(self.X.shape[1])

    @property
    def classifies(self) -> bool:
        return "cross_entropy" in self.loss

    @property
    def data(self) -> tuple[Array, Array]:
        return self.X, self.y

    def one_hot(self) -> Array:
        return np.eye(self.n_out, dtype=np.float32)[self.y]

    def with_data(self, X: Any = None, y: Any = None) -> Task:
        return replace(self, X=self.X if X is None else X, y=self.y if y is None else y)

    def rows(self, chosen: Array) -> Task:
        return replace(self, X=self.X[chosen], y=self.y[chosen])


def scaled(X: Array) -> Array:
    """Columns of mean 0 and deviation 1, without those that are constant."""
    X = np.asarray(X, np.float64)
    X = X[:, X.std(axis=0) > 0]
    return ((X - X.mean(axis=0)) / X.std(axis=0)).astype(np.float32)


def make_task(name: str, X: Array, y: Array, n_out: int, loss: str, rng: Rng, rows: int) -> Task:
    """Rows without repetitions, shuffled, at most so many."""
    _, first = np.unique(X, axis=0, return_index=True)
    chosen = rng.permutation(first)[:rows]
    X = scaled(X[chosen])
    y = y[chosen]
    if loss == "mean_squared_error":
        y = ((y - y.mean(axis=0)) / y.std(axis=0)).astype(np.float32)
    return Task(name, X, y, n_out, loss)


@cache
def _load(name: str) -> tuple[Array, Array]:
    from sklearn import datasets

    found = getattr(datasets, f"load_{name}")()
    return found.data, found.target


CATEGORICAL, NUMBER = "categorical_cross_entropy", "mean_squared_error"


def digits(rng: Rng, rows: int = 700) -> Task:
    X, y = _load("digits")
    keep = (X != 0).mean(axis=0) > 0.02  # pixels that hardly ever differ make columns with a few huge values
    return make_task("digits", X[:, keep], y, 10, CATEGORICAL, rng, rows)


def iris(rng: Rng, rows: int = 150) -> Task:
    return make_task("iris", *_load("iris"), 3, CATEGORICAL, rng, rows)


def wine(rng: Rng, rows: int = 178) -> Task:
    return make_task("wine", *_load("wine"), 3, CATEGORICAL, rng, rows)


def cancer(rng: Rng, rows: int = 569) -> Task:
    return make_task("breast_cancer", *_load("breast_cancer"), 2, CATEGORICAL, rng, rows)


def cancer_binary(rng: Rng, rows: int = 569) -> Task:
    return replace(cancer(rng, rows), name="breast_cancer, one output", n_out=1, loss="binary_cross_entropy")


def diabetes(rng: Rng, rows: int = 442) -> Task:
    return make_task("diabetes", *_load("diabetes"), 1, NUMBER, rng, rows)


def moons(rng: Rng, rows: int = 600) -> Task:
    """Two interleaved half circles with noise."""
    angle, y = rng.uniform(0, np.pi, rows), rng.integers(0, 2, rows)
    side = np.where(y == 0, 1.0, -1.0)
    X = np.stack([side * np.cos(angle) + (y == 1), side * np.sin(angle) + 0.5 * (y == 1)], 1)
    return make_task("moons", X + 0.15 * rng.standard_normal(X.shape), y, 2, CATEGORICAL, rng, rows)


def rings(rng: Rng, rows: int = 600) -> Task:
    """Three rings around one another."""
    angle, y = rng.uniform(0, 2 * np.pi, rows), rng.integers(0, 3, rows)
    radius = 1 + y + 0.2 * rng.standard_normal(rows)
    X = np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1)
    return make_task("rings", X, y, 3, CATEGORICAL, rng, rows)


def blobs(rng: Rng, rows: int = 600) -> Task:
    """Five classes around centres in 12 dimensions, which overlap a little."""
    centres, y = rng.standard_normal((5, 12)) * 1.2, rng.integers(0, 5, rows)
    return make_task("blobs", centres[y] + rng.standard_normal((rows, 12)), y, 5, CATEGORICAL, rng, rows)


def teacher(rng: Rng, rows: int = 700) -> Task:
    """Three classes of a random network of 10 inputs."""
    X = rng.standard_normal((rows, 10))
    z = np.tanh(X @ rng.standard_normal((10, 8)) / 2) @ rng.standard_normal((8, 3))
    z = (z - z.mean(axis=0)) / z.std(axis=0)
    return make_task("teacher", X, z.argmax(axis=1), 3, CATEGORICAL, rng, rows)


def friedman(rng: Rng, rows: int = 700) -> Task:
    """A number of five of ten columns; Friedman, Multivariate adaptive regression splines, 1991, eq. 56."""
    X = rng.uniform(size=(rows, 10))
    y = 10 * np.sin(np.pi * X[:, 0] * X[:, 1]) + 20 * (X[:, 2] - 0.5) ** 2 + 10 * X[:, 3] + 5 * X[:, 4]
    return make_task("friedman", X, y + rng.standard_normal(rows), 1, NUMBER, rng, rows)


def sine(rng: Rng, rows: int = 500) -> Task:
    X = rng.uniform(-3, 3, (rows, 1))
    return make_task("sine", X, np.sin(2 * X[:, 0]) + 0.1 * rng.standard_normal(rows), 1, NUMBER, rng, rows)


def linear(rng: Rng, rows: int = 500) -> Task:
    X = rng.standard_normal((rows, 8))
    y = X @ rng.standard_normal(8) + 0.3 * rng.standard_normal(rows)
    return make_task("linear", X, y, 1, NUMBER, rng, rows)


def several(rng: Rng, rows: int = 600) -> Task:
    """Three numbers of six columns."""
    X = rng.standard_normal((rows, 6))
    y = np.tanh(X @ rng.standard_normal((6, 5))) @ rng.standard_normal((5, 3)) + 0.1 * rng.standard_normal((rows, 3))
    return make_task("three numbers", X, y, 3, NUMBER, rng, rows)


MakeTask = Callable[..., Task]
CLASSES: Final[tuple[MakeTask, ...]] = (digits, iris, wine, cancer, cancer_binary, moons, rings, blobs, teacher)
MANY: Final[tuple[MakeTask, ...]] = (digits, blobs, teacher, cancer)  # classes, of enough columns for deep networks
NUMBERS: Final[tuple[MakeTask, ...]] = (diabetes, friedman, sine, linear, several)
ALL: Final = (*CLASSES, *NUMBERS)
