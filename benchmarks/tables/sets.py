"""The tables: what scikit-learn ships, and generated ones that are hard in different ways."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from sklearn import datasets


@dataclass(frozen=True)
class Task:
    """A table, the column to predict ("target"), and how many of its rows are held out for the comparison."""

    name: str
    frame: pl.DataFrame
    classifies: bool
    test: float = 0.3


def _frame(X: Any, y: Any) -> pl.DataFrame:
    columns = {f"x{j}": X[:, j] for j in range(X.shape[1])}
    return pl.DataFrame({**columns, "target": y})


def _shipped(load: Callable[[], Any], classifies: bool) -> Callable[[], Task]:
    def make() -> Task:
        found = load()
        y = [f"c{k}" for k in found.target] if classifies else found.target.astype(float)
        return Task(load.__name__.removeprefix("load_"), _frame(found.data.astype(float), y), classifies)

    return make


def _linnerud(column: int) -> Callable[[], Task]:
    def make() -> Task:
        found = datasets.load_linnerud()
        return Task(f"linnerud {column}", _frame(found.data, found.target[:, column].astype(float)), False)

    return make


def _classes(name: str, **settings: Any) -> Callable[[], Task]:
    def make() -> Task:
        X, y = datasets.make_classification(random_state=0, **settings)
        return Task(name, _frame(X, [f"c{k}" for k in y]), True)

    return make


def _friedman(number: int, n: int = 1000) -> Callable[[], Task]:
    def make() -> Task:
        maker = getattr(datasets, f"make_friedman{number}")
        noise = {1: 1.0, 2: 125.0, 3: 0.1}[number]
        X, y = maker(n_samples=n, noise=noise, random_state=0)
        return Task(f"friedman{number}", _frame(X, y), False)

    return make


def _moons() -> Task:
    X, y = datasets.make_moons(1000, noise=0.25, random_state=0)
    return Task("moons", _frame(X, [f"c{k}" for k in y]), True)


def _circles() -> Task:
    X, y = datasets.make_circles(1500, noise=0.1, factor=0.5, random_state=0)
    noise = np.random.default_rng(0).normal(size=(len(X), 8))
    return Task("circles and 8 noise columns", _frame(np.hstack([X, noise]), [f"c{k}" for k in y]), True)


def _towns() -> Task:
    """Two categories of 200 and 30 texts, with effects of their own; most texts are rare."""
    rng = np.random.default_rng(1)
    n = 6000
    shares = 1 / np.arange(1, 201) ** 0.8
    town = rng.choice(200, n, p=shares / shares.sum())
    trade = rng.choice(30, n)
    effects = rng.normal(size=200), rng.normal(size=30), rng.normal(size=30)
    x = rng.normal(size=n)
    score = effects[0][town] + effects[1][trade] + x * effects[2][trade] + rng.logistic(size=n) * 0.5
    frame = {"town": [f"t{k}" for k in town], "trade": [f"r{k}" for k in trade], "x": x}
    return Task(
        "categories of 200 and 30 texts", pl.DataFrame({**frame, "target": np.where(score > 0, "a", "b")}), True
    )


def _skewed() -> Task:
    rng = np.random.default_rng(2)
    n = 3000
    X = np.exp(rng.normal(size=(n, 6)) * 1.5)
    X[rng.integers(0, n, 15), rng.integers(0, 6, 15)] *= 1000
    Z = np.log(np.clip(X, 1e-9, None))
    y = 2 * np.tanh(Z[:, 0]) + Z[:, 1] * (Z[:, 2] > 0) - 0.5 * np.clip(Z[:, 3], -2, 2) ** 2 + rng.normal(size=n) * 0.3
    return Task("skewed numbers with outliers", _frame(X, y), False)


def _prices() -> Task:
    """A target over three powers of ten, of numbers and categories."""
    rng = np.random.default_rng(5)
    n = 4000
    size, age, kind = rng.gamma(3, 30, n), rng.uniform(0, 100, n), rng.integers(0, 12, n)
    y = np.exp(7 + 0.012 * size - 0.01 * age + rng.normal(size=12)[kind] * 0.5 + rng.normal(size=n) * 0.15)
    return Task("prices", pl.DataFrame({"size": size, "age": age, "kind": [f"k{k}" for k in kind], "target": y}), False)


def _mixed() -> Task:
    rng = np.random.default_rng(3)
    n = 2000
    age, pay, job = rng.integers(18, 80, n).astype(float), np.exp(rng.normal(10, 0.7, n)), rng.integers(0, 8, n)
    member, effect = rng.random(n) < 0.4, rng.normal(size=8)
    score = 0.04 * (age - 45) + np.log(pay) - 10 + effect[job] + 1.5 * member * (age < 40) + rng.logistic(size=n) * 0.5
    lost = rng.random((3, n)) < 0.12
    frame = pl.DataFrame({
        "age": [None if gone else a for a, gone in zip(age.tolist(), lost[0], strict=True)],
        "pay": [None if gone else p for p, gone in zip(pay.tolist(), lost[1], strict=True)],
        "job": [None if gone else f"j{j}" for j, gone in zip(job.tolist(), lost[2], strict=True)],
        "member": member,
        "target": np.where(score > 0.5, "yes", "no"),
    })  # fmt: skip
    return Task("mixed types with missing values", frame, True)


def _wide() -> Task:
    X, y = datasets.make_classification(200, 500, n_informative=20, n_redundant=20, class_sep=2.0, random_state=4)
    return Task("wide: 200 rows, 500 columns", _frame(X, [f"c{k}" for k in y]), True)


def _mnist1d() -> Task:
    from mnist1d.data import get_dataset_args, make_dataset

    found = make_dataset(get_dataset_args())
    X, y = np.vstack([found["x"], found["x_test"]]), np.concatenate([found["y"], found["y_test"]])
    return Task("mnist1d", _frame(X.astype(float), [f"c{k}" for k in y]), True)


def _sum_of_sines() -> Task:
    rng = np.random.default_rng(6)
    X = rng.uniform(-3, 3, (5000, 4))
    y = np.sin(2 * X[:, 0]) + np.sin(X[:, 1] * X[:, 2]) + 0.3 * X[:, 3] + rng.normal(size=5000) * 0.1
    return Task("sines", _frame(X, y), False)


SETS: dict[str, Callable[[], Task]] = {
    "iris": _shipped(datasets.load_iris, True),
    "wine": _shipped(datasets.load_wine, True),
    "breast_cancer": _shipped(datasets.load_breast_cancer, True),
    "digits": _shipped(datasets.load_digits, True),
    "diabetes": _shipped(datasets.load_diabetes, False),
    "linnerud0": _linnerud(0),
    "linnerud1": _linnerud(1),
    "tiny": _classes("tiny: 60 rows", n_samples=60, n_features=10, n_informative=4, class_sep=1.2),
    "small_noisy": _classes("500 rows, labels noisy", n_samples=500, n_features=20, n_informative=8, flip_y=0.2),
    "medium": _classes(
        "5000 rows, 4 classes", n_samples=5000, n_features=20, n_informative=12, n_classes=4, class_sep=0.8
    ),
    "imbalanced": _classes(
        "5000 rows, 3 % in one class", n_samples=5000, n_features=15, n_informative=8, weights=[0.97], flip_y=0.01
    ),
    "large": _classes(
        "100,000 rows, 50 columns", n_samples=100_000, n_features=50, n_informative=20, n_clusters_per_class=6,
        n_classes=3, class_sep=0.7,
    ),
    "friedman1": _friedman(1),
    "friedman2": _friedman(2),
    "friedman3": _friedman(3),
    "moons": _moons,
    "circles": _circles,
    "towns": _towns,
    "skewed": _skewed,
    "prices": _prices,
    "mixed": _mixed,
    "wide": _wide,
    "sines": _sum_of_sines,
    "mnist1d": _mnist1d,
}  # fmt: skip
