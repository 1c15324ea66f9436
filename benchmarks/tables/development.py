"""Tables of 600 to 12,000 rows to choose by; 6,000 further rows each (297 digits) judge; seeds that no other set has.

Those of 600 to 1,100 rows ("dev_s_…") are where one hidden layer becomes two.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
from benchmarks.tables.sets import Task

from sklearn import datasets

Array = Any
_TEST = 6000


def _task(name: str, X: Array, y: Array, classifies: bool = True, **texts: Array) -> Task:
    columns = {f"x{j}": X[:, j] for j in range(X.shape[1])}
    found = {key: [f"{key}{k}" for k in codes] for key, codes in texts.items()}
    target = [f"c{k}" for k in y] if classifies else np.asarray(y, float)
    return Task(name, pl.DataFrame({**columns, **found, "target": target}), classifies, _TEST / len(X))


def _clusters(n: int, p: int, informative: int, classes: int, seed: int, **others: Any) -> Callable[[], Task]:
    """Classes made of clusters at the corners of a cube; the other columns are noise, or redundant where told."""

    def make() -> Task:
        others.setdefault("n_redundant", 0)
        X, y = datasets.make_classification(
            n + _TEST, p, n_informative=informative, n_classes=classes, random_state=seed, **others
        )
        return _task(f"clusters: {n} rows, {informative} of {p} columns, {classes} classes", X, y)

    return make


def _teacher(n: int, p: int, classes: int, seed: int) -> Callable[[], Task]:
    """What a random network of 20 hidden units says: its largest output, or the only one with noise."""

    def make() -> Task:
        rng = np.random.default_rng(seed)
        X = rng.normal(size=(n + _TEST, p))
        hidden = np.tanh(X @ rng.normal(size=(p, 20)) * 1.5 / p**0.5 + rng.normal(size=20) * 0.5)
        found = hidden @ rng.normal(size=(20, classes)) / 20**0.5
        if classes > 1:
            return _task(f"teacher: {n} rows, {p} columns", X, np.argmax(found - found.mean(0), 1))
        return _task(f"teacher: {n} rows, {p} columns", X, found[:, 0] + 0.2 * rng.normal(size=len(X)), False)

    return make


def _products(n: int, p: int, classifies: bool, seed: int) -> Callable[[], Task]:
    """A sum of products of pairs of columns, or its sign."""

    def make() -> Task:
        rng = np.random.default_rng(seed)
        X = rng.normal(size=(n + _TEST, p))
        score = X[:, 0] * X[:, 1] + X[:, 2] * X[:, 3] - 0.7 * X[:, 4] * X[:, 0] + 0.5 * X[:, 5]
        score = score + 0.5 * rng.normal(size=len(X))
        y = (score > 0).astype(int) if classifies else score
        return _task(f"products: {n} rows, {p} columns", X, y, classifies)

    return make


def _gaussians(n: int, p: int, classes: int, seed: int) -> Callable[[], Task]:
    """Overlapping normal distributions, each with a covariance of its own."""

    def make() -> Task:
        rng = np.random.default_rng(seed)
        y = rng.integers(0, classes, n + _TEST)
        shapes = rng.normal(size=(classes, p, p)) / p**0.5
        X = np.einsum("ni,nij->nj", rng.normal(size=(len(y), p)), shapes[y]) + 0.3 * rng.normal(size=(classes, p))[y]
        return _task(f"{classes} normal distributions: {n} rows, {p} columns", X, y)

    return make


def _rules(n: int, p: int, classifies: bool, seed: int) -> Callable[[], Task]:
    """Thresholds on single columns, as in a decision tree."""

    def make() -> Task:
        rng = np.random.default_rng(seed)
        X = rng.uniform(size=(n + _TEST, p))
        low, high = X[:, 0] < 0.4, X[:, 1] > 0.6
        cell = 2 * (low & (X[:, 2] > 0.5)) + 1.5 * (high & (X[:, 3] < 0.7)) - (X[:, 4] > 0.5) * ~low
        if classifies:
            return _task(f"rules: {n} rows, {p} columns", X, (cell + 0.3 * rng.normal(size=len(X)) > 0.5).astype(int))
        return _task(f"rules: {n} rows, {p} columns", X, cell + 0.3 * rng.normal(size=len(X)), False)

    return make


def _categories(n: int, classifies: bool, seed: int) -> Callable[[], Task]:
    """Four categories of 4 to 20 texts and ten numbers, whose slopes depend on the categories."""

    def make() -> Task:
        rng = np.random.default_rng(seed)
        sizes = {"town": 20, "kind": 9, "size": 5, "way": 4}
        codes = {name: rng.integers(0, k, n + _TEST) for name, k in sizes.items()}
        X = rng.normal(size=(n + _TEST, 10)) * rng.gamma(2, 2, 10) + rng.normal(size=10) * 5
        Z = (X - X.mean(0)) / X.std(0)
        score = sum(rng.normal(size=k)[codes[name]] for name, k in sizes.items())
        score = score + Z[:, 0] * rng.normal(size=9)[codes["kind"]]
        score = score + np.abs(Z[:, 1]) * rng.normal(size=5)[codes["size"]]
        score = score + 0.7 * Z[:, 2] + 0.5 * rng.logistic(size=len(X))
        y = np.digitize(score, np.quantile(score, [0.4, 0.75])) if classifies else score
        return _task(f"categories: {n} rows", X, y, classifies, **codes)

    return make


def _waves(n: int, p: int, seed: int) -> Callable[[], Task]:
    def make() -> Task:
        rng = np.random.default_rng(seed)
        X = rng.uniform(-2, 2, (n + _TEST, p))
        y = np.sin(2 * X[:, 0]) + np.sin(1.5 * X[:, 1] + X[:, 2]) + X[:, 3] ** 2 / 2 + 0.2 * rng.normal(size=len(X))
        return _task(f"waves: {n} rows, {p} columns", X, y, False)

    return make


def _function(name: str, draw: Callable[..., Any], n: int, p: int, **others: Any) -> Callable[[], Task]:
    """A number that one of scikit-learn's functions makes of p columns."""

    def make() -> Task:
        X, y = draw(n + _TEST, p, **others)
        return _task(f"{name}: {n} rows, {p} columns", X, y, False)

    return make


def _digits() -> Task:
    found = datasets.load_digits()
    return Task("digits, 1500 rows", _task("", found.data, found.target).frame, True, 297 / len(found.data))


DEVELOPMENT: dict[str, Callable[[], Task]] = {
    "dev_full3": _clusters(1500, 12, 12, 3, 5001),
    "dev_full2": _clusters(2100, 10, 10, 2, 5002, n_clusters_per_class=4),
    "dev_full4": _clusters(2300, 20, 15, 4, 5003),
    "dev_full5": _clusters(3000, 16, 16, 5, 5004),
    "dev_full8k": _clusters(12_000, 20, 20, 3, 5005, n_clusters_per_class=4),
    "dev_redundant": _clusters(3000, 30, 10, 2, 5006, n_redundant=10, flip_y=0.05),
    "dev_60": _clusters(5000, 60, 20, 2, 5007, n_clusters_per_class=3),
    "dev_6": _clusters(8000, 40, 12, 6, 5008, flip_y=0.1),
    "dev_noisy": _clusters(1800, 25, 5, 2, 5009, flip_y=0.2),
    "dev_rare": _clusters(6000, 20, 8, 2, 5010, weights=[0.9], n_clusters_per_class=3),
    "dev_teacher": _teacher(4000, 20, 3, 5011),
    "dev_teacher2": _teacher(1900, 12, 2, 5012),
    "dev_products": _products(3000, 15, True, 5013),
    "dev_normal": _gaussians(2500, 20, 4, 5014),
    "dev_rules": _rules(5000, 12, True, 5015),
    "dev_texts": _categories(4000, True, 5016),
    "dev_digits": _digits,
    "dev_r_teacher": _teacher(3000, 15, 1, 5021),
    "dev_r_friedman": _function("friedman1", datasets.make_friedman1, 2000, 20, noise=1, random_state=5022),
    "dev_r_linear": _function(
        "linear", datasets.make_regression, 3000, 30, n_informative=15, noise=60, random_state=5023
    ),
    "dev_r_waves": _waves(6000, 10, 5024),
    "dev_r_texts": _categories(4000, False, 5025),
    "dev_r_rules": _rules(2500, 12, False, 5026),
    "dev_r_products": _products(8000, 40, False, 5027),
    "dev_s_full3": _clusters(600, 12, 12, 3, 5031),
    "dev_s_full2": _clusters(1000, 10, 10, 2, 5032, n_clusters_per_class=4),
    "dev_s_part": _clusters(1000, 30, 10, 4, 5033),
    "dev_s_noisy": _clusters(800, 20, 6, 2, 5034, flip_y=0.2),
    "dev_s_teacher": _teacher(800, 12, 3, 5035),
    "dev_s_products": _products(1100, 10, True, 5036),
    "dev_s_normal": _gaussians(900, 12, 3, 5037),
    "dev_s_rules": _rules(1100, 8, True, 5038),
    "dev_s_texts": _categories(1000, True, 5039),
}
