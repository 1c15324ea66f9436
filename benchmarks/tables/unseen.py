"""Two further sets of tables: "unseen", on which the refit and the decay were found, and "fresh", which was looked at
once, when all choices were made.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
from benchmarks.tables.sets import Task

from sklearn import datasets

Array = Any


def _frame(X: Array, y: Array) -> pl.DataFrame:
    return pl.DataFrame({**{f"x{j}": X[:, j] for j in range(X.shape[1])}, "target": y})


def _classified(name: str, X: Array, y: Array, test: float = 0.3) -> Task:
    return Task(name, _frame(X, [f"c{k}" for k in y]), True, test)


def _measured(name: str, X: Array, y: Array, test: float = 0.3) -> Task:
    return Task(name, _frame(X, np.asarray(y, float)), False, test)


def _clusters(name: str, seed: int, **settings: Any) -> Callable[[], Task]:
    return lambda: _classified(name, *datasets.make_classification(random_state=seed, **settings))


def _linear(name: str, seed: int, test: float = 0.3, **settings: Any) -> Callable[[], Task]:
    return lambda: _measured(name, *datasets.make_regression(random_state=seed, **settings), test)


def _column_of(load: Callable[[], Any], column: int) -> Callable[[], Task]:
    """Another column of a table that scikit-learn ships, predicted from all the others and the old target."""

    def make() -> Task:
        found = load()
        X = np.column_stack([np.delete(found.data, column, 1), found.target])
        return _measured(f"{load.__name__.removeprefix('load_')}, column {column}", X, found.data[:, column])

    return make


def _spirals() -> Task:
    rng = np.random.default_rng(11)
    t, side = np.sqrt(rng.random(800)) * 9, rng.integers(0, 2, 800)
    angle = t + np.pi * side
    X = np.column_stack([t * np.cos(angle), t * np.sin(angle)]) + rng.normal(size=(800, 2)) * 0.3
    return _classified("two spirals", X, side)


def _parity() -> Task:
    rng = np.random.default_rng(12)
    X = rng.normal(size=(1500, 6))
    y = (np.sign(X[:, 0] * X[:, 1] * X[:, 2]) > 0) ^ (rng.random(1500) < 0.05)
    return _classified("XOR of 3 of 6 columns", X, y.astype(int))


def _words() -> Task:
    """Counts of 300 words in 1200 texts of 5 kinds, most of them 0."""
    rng = np.random.default_rng(13)
    kinds = rng.integers(0, 5, 1200)
    shares = rng.dirichlet(np.full(300, 0.3), 6)
    p = 0.35 * shares[kinds] + 0.65 * shares[5]
    X = np.array([rng.multinomial(rng.integers(15, 60), row) for row in p])
    return _classified("bag of 300 words", X.astype(float), kinds)


def _grades() -> Task:
    rng = np.random.default_rng(14)
    X = rng.normal(size=(900, 8))
    score = X[:, 0] - X[:, 1] + np.abs(X[:, 2]) + 0.5 * rng.normal(size=900)
    return _measured("grades of 1 to 5", X, np.digitize(score, np.quantile(score, [0.15, 0.4, 0.7, 0.9])) + 1)


def _counts() -> Task:
    rng = np.random.default_rng(15)
    X = rng.normal(size=(2500, 6))
    return _measured("counts", X, rng.poisson(np.exp(0.5 + 0.7 * X[:, 0] - 0.5 * X[:, 1] * (X[:, 2] > 0))))


def _heavy() -> Task:
    rng = np.random.default_rng(16)
    X = rng.standard_t(2, size=(1500, 8))
    y = np.arctan(X[:, 0]) * 2 + np.clip(X[:, 1], -3, 3) + 0.2 * rng.standard_t(3, size=1500)
    return _measured("columns and noise with heavy tails", X, y)


def _genes() -> Task:
    rng = np.random.default_rng(17)
    y = rng.integers(0, 2, 80)
    X = rng.normal(size=(80, 400))
    X[:, :15] += 0.9 * y[:, None]
    return _classified("80 rows, 400 columns", X, y)


def _spectra() -> Task:
    """60 smooth curves of 150 points, of which the target is a linear function."""
    rng = np.random.default_rng(18)
    basis = np.cumsum(rng.normal(size=(6, 150)), 1) / 10
    parts = rng.normal(size=(60, 6))
    y = parts[:, 0] - 2 * parts[:, 1] + 0.1 * rng.normal(size=60)
    return _measured("60 curves of 150 points", parts @ basis + 0.02 * rng.normal(size=(60, 150)), y)


def _letters() -> Task:
    rng = np.random.default_rng(19)
    y = rng.integers(0, 50, 4000)
    return _classified("50 classes", rng.normal(size=(50, 12))[y] * 1.6 + rng.normal(size=(4000, 12)), y)


def _correlated() -> Task:
    rng = np.random.default_rng(20)
    X = rng.normal(size=(700, 1)) + 0.1 * rng.normal(size=(700, 20))
    return _measured("columns correlated at 0.99", X, 10 * (X[:, 0] - X[:, 1]) + X[:, 2] + 0.2 * rng.normal(size=700))


def _trend() -> Task:
    rng = np.random.default_rng(21)
    t = np.arange(1200.0)
    X = np.column_stack([t, np.sin(2 * np.pi * t / 12), np.cos(2 * np.pi * t / 12), rng.normal(size=1200)])
    y = 0.02 * t + (3 + 0.003 * t) * X[:, 1] + X[:, 3] + rng.normal(size=1200)
    return _measured("trend and season", X, y)


def _doubled() -> Task:
    X, y = datasets.make_classification(800, 10, n_informative=6, random_state=22)
    return _classified("every column twice", np.hstack([X, X + 0]), y)


def _needle() -> Task:
    rng = np.random.default_rng(23)
    X = rng.normal(size=(1000, 200))
    return _classified("1 of 200 columns tells", X, (X[:, 7] + 0.3 * rng.normal(size=1000) > 0).astype(int))


def _surface(name: str, make: Callable[..., Any], seed: int) -> Callable[[], Task]:
    """The place along a rolled surface, of its three coordinates."""
    return lambda: _measured(name, *make(1500, noise=0.3 if name == "swiss roll" else 0.05, random_state=seed))


def _hastie() -> Task:
    X, y = datasets.make_hastie_10_2(3000, random_state=24)
    return _classified("hastie 10.2", X, (y > 0).astype(int))


def _quantiles(seed: int, n: int, width: int, classes: int) -> Callable[[], Task]:
    def make() -> Task:
        X, y = datasets.make_gaussian_quantiles(n_samples=n, n_features=width, n_classes=classes, random_state=seed)
        return _classified(f"{classes} shells in {width} dimensions", X, y)

    return make


def _blobs() -> Task:
    return _classified("40 rows, 3 blobs", *datasets.make_blobs(40, 5, centers=3, cluster_std=3.5, random_state=25))


def _wine_half() -> Task:
    found = datasets.load_wine()
    return _classified("wine, trained on 53 rows", found.data, found.target, 0.7)


def _cancer_few() -> Task:
    found = datasets.load_breast_cancer()
    return _classified("breast cancer, trained on 85 rows", found.data, found.target, 0.85)


def _digits_few() -> Task:
    found = datasets.load_digits()
    return _classified("digits, trained on 180 rows", found.data, found.target, 0.9)


def _texts() -> Task:
    """Categories and numbers together, 400 rows, a number to predict."""
    rng = np.random.default_rng(26)
    n = 400
    shop, day, x = rng.integers(0, 25, n), rng.integers(0, 7, n), rng.gamma(2, 1, n)
    y = rng.normal(size=25)[shop] + rng.normal(size=7)[day] * x + 0.3 * rng.normal(size=n)
    frame = {"shop": [f"s{k}" for k in shop], "day": [f"d{k}" for k in day], "x": x, "target": y}
    return Task("400 sales of 25 shops", pl.DataFrame(frame), False)


UNSEEN: dict[str, Callable[[], Task]] = {
    "blobs40": _blobs,
    "wine53": _wine_half,
    "cancer85": _cancer_few,
    "digits180": _digits_few,
    "genes": _genes,
    "spectra": _spectra,
    "clusters100": _clusters("100 rows, 3 classes", 30, n_samples=100, n_features=8, n_informative=5, n_classes=3),
    "clusters300": _clusters("300 rows, 30 columns", 31, n_samples=300, n_features=30, n_informative=10),
    "clusters8": _clusters(
        "2000 rows, 8 classes", 32, n_samples=2000, n_features=16, n_informative=10, n_classes=8, class_sep=1.5
    ),
    "linear50": _linear("linear, 50 rows", 33, n_samples=50, n_features=8, n_informative=4, noise=20),
    "linear200": _linear("linear, 100 columns", 34, n_samples=250, n_features=100, n_informative=10, noise=10),
    "linear_low": _linear("linear of low rank", 35, n_samples=600, n_features=40, effective_rank=5, noise=0.5),
    "wine_alcohol": _column_of(datasets.load_wine, 0),
    "wine_proline": _column_of(datasets.load_wine, 12),
    "cancer_texture": _column_of(datasets.load_breast_cancer, 1),
    "cancer_fractal": _column_of(datasets.load_breast_cancer, 9),
    "diabetes_bmi": _column_of(datasets.load_diabetes, 2),
    "diabetes_s4": _column_of(datasets.load_diabetes, 7),
    "iris_petal": _column_of(datasets.load_iris, 2),
    "quantiles3": _quantiles(36, 900, 4, 3),
    "quantiles10": _quantiles(37, 1500, 10, 2),
    "hastie": _hastie,
    "swiss_roll": _surface("swiss roll", datasets.make_swiss_roll, 38),
    "s_curve": _surface("s curve", datasets.make_s_curve, 39),
    "spirals": _spirals,
    "parity": _parity,
    "words": _words,
    "grades": _grades,
    "counts": _counts,
    "heavy": _heavy,
    "letters": _letters,
    "correlated": _correlated,
    "trend": _trend,
    "doubled": _doubled,
    "needle": _needle,
    "sales": _texts,
}

FRESH: dict[str, Callable[[], Task]] = {
    "fresh60": _clusters("60 rows, 2 classes", 130, n_samples=60, n_features=12, n_informative=4),
    "fresh150": _clusters("150 rows, 4 classes", 131, n_samples=150, n_features=10, n_informative=6, n_classes=4),
    "fresh400": _clusters("400 rows, 60 columns", 132, n_samples=400, n_features=60, n_informative=15, flip_y=0.1),
    "fresh1500": _clusters("1500 rows, 5 classes", 133, n_samples=1500, n_features=25, n_informative=8, n_classes=5),
    "fresh3000": _clusters(
        "3000 rows, 3 classes", 134, n_samples=3000, n_features=12, n_informative=12, n_redundant=0, n_classes=3
    ),
    "fresh_wide": _clusters("120 rows, 300 columns", 135, n_samples=120, n_features=300, n_informative=25),
    "fresh_linear": _linear("linear, 80 rows", 136, n_samples=80, n_features=30, n_informative=5, noise=10),
    "fresh_rank": _linear("low rank, 150 rows", 137, n_samples=150, n_features=60, effective_rank=8, noise=0.3),
    "fresh_shells": _quantiles(138, 500, 3, 4),
    "fresh_shells6": _quantiles(139, 2500, 6, 3),
    "wine_ash": _column_of(datasets.load_wine, 2),
    "wine_flavanoids": _column_of(datasets.load_wine, 6),
    "cancer_smoothness": _column_of(datasets.load_breast_cancer, 4),
    "diabetes_pressure": _column_of(datasets.load_diabetes, 3),
    "iris_sepal": _column_of(datasets.load_iris, 1),
}
