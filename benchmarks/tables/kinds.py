"""Kinds of tables that are met in practice, drawn anew for each seed: coefficients, rows to train on, rows to judge by.

What is worse on one of these for several seeds is worse on the kind, not on a table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from sklearn import datasets

Array = Any
Columns = dict[str, Any]


@dataclass(frozen=True)
class Kind:
    """A generator of tables; the first rows are trained on.

    Attributes:
        draw: a function of (rng, rows) that gives columns, "target" among them.
        rows: to train on.
        classifies: whether the target is a class.
        test: rows to judge by.
    """

    draw: Callable[[np.random.Generator, int], Columns]
    rows: int
    classifies: bool
    test: int = 4000

    def make(self, seed: int, salt: int) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Draw a table: the rows to train on, and those to judge by."""
        frame = pl.DataFrame(self.draw(np.random.default_rng([seed, salt]), self.rows + self.test))
        if self.classifies:
            frame = frame.with_columns(target="c" + pl.col("target").cast(pl.String))
        return frame[: self.rows], frame[self.rows :]


def _named(X: Array) -> Columns:
    return {f"x{j}": X[:, j] for j in range(X.shape[1])}


def _texts(name: str, codes: Array) -> list[str]:
    return [f"{name}{k}" for k in codes]


def _cut(score: Array, *shares: float) -> Array:
    return np.digitize(score, np.quantile(score, shares))


def _lost(values: Array, where: Array) -> list[float | None]:
    return [None if gone else value for value, gone in zip(values.tolist(), where.tolist(), strict=True)]


def _incomes(rng: np.random.Generator, n: int) -> Columns:
    """A multiplicative, skewed target of numbers and categories."""
    years, age = rng.integers(6, 21, n), rng.integers(18, 66, n)
    job, town = rng.integers(0, 9, n), rng.integers(0, 5, n)
    log = 0.08 * years + 0.06 * age - 0.0006 * age**2 + 0.3 * rng.normal(size=9)[job] + 0.1 * rng.normal(size=5)[town]
    y = np.exp(8 + log + 0.4 * rng.normal(size=n))
    return {"years": years, "age": age, "job": _texts("j", job), "town": _texts("t", town), "target": y}


def _losses(rng: np.random.Generator, n: int) -> Columns:
    """Sums of money with a tail of power 2.5, which the columns move by a factor."""
    X = rng.normal(size=(n, 6))
    y = np.exp(X @ rng.normal(size=6) * 0.3) * (rng.pareto(2.5, n) + 1)
    return {**_named(X), "target": y}


def _claims(rng: np.random.Generator, n: int) -> Columns:
    """Mostly 0, else a skewed amount."""
    X, kind = rng.normal(size=(n, 5)), rng.integers(0, 6, n)
    chance = 1 / (1 + np.exp(1.2 - X[:, 0] - rng.normal(size=6)[kind]))
    y = (rng.random(n) < chance) * rng.gamma(2, np.exp(5 + 0.4 * X[:, 1]))
    return {**_named(X), "kind": _texts("k", kind), "target": y}


def _counted(rng: np.random.Generator, n: int) -> Columns:
    X, day = rng.normal(size=(n, 4)), rng.integers(0, 7, n)
    rate = np.exp(2 + 0.5 * X[:, 0] - 0.3 * X[:, 1] * (X[:, 2] > 0) + 0.4 * rng.normal(size=7)[day])
    return {**_named(X), "day": _texts("d", day), "target": rng.poisson(rate).astype(float)}


def _slips(rng: np.random.Generator, n: int) -> Columns:
    """One value in two hundred is a slip: a factor of 10 or 100, or 9999."""
    X = rng.normal(size=(n, 6)) * 2 + 8
    y = (X[:, 0] - 8) * (X[:, 1] > 8) + np.sin(X[:, 2]) + 0.5 * X[:, 3] + 0.3 * rng.normal(size=n)
    bad = rng.random((n, 6)) < 0.005
    X = np.where(bad, np.where(rng.random((n, 6)) < 0.3, 9999.0, X * rng.choice([10.0, 100.0], (n, 6))), X)
    return {**_named(X), "target": y}


def _heavy(rng: np.random.Generator, n: int) -> Columns:
    X = rng.standard_cauchy((n, 6))
    score = np.arctan(X[:, 0]) + np.sign(X[:, 1]) * np.log1p(np.abs(X[:, 2])) + 0.5 * rng.logistic(size=n)
    return {**_named(X), "target": _cut(score, 0.5)}


def _articles(rng: np.random.Generator, n: int) -> Columns:
    """600 articles, some of them sold often; their effects are of groups that nobody wrote down."""
    shares = 1 / np.arange(1, 601)
    article, x = rng.choice(600, n, p=shares / shares.sum()), rng.normal(size=(n, 3))
    y = rng.normal(size=600)[article] + x @ [0.5, -0.5, 0.2] + 0.5 * rng.normal(size=n)
    return {**_named(x), "article": _texts("a", article), "target": y}


def _streets(rng: np.random.Generator, n: int) -> Columns:
    street, x = rng.integers(0, 40, n), rng.normal(size=(n, 4))
    score = 1.5 * rng.normal(size=40)[street] + x[:, 0] + x[:, 1] ** 2 - 1 + rng.logistic(size=n)
    return {**_named(x), "street": _texts("s", street), "target": (score > 0).astype(int)}


def _questions(rng: np.random.Generator, n: int) -> Columns:
    """Only categories, 12 of 2 to 8 texts; pairs of them tell."""
    sizes = [2, 3, 4, 5, 8, 2, 3, 4, 6, 5, 2, 3]
    codes = [rng.integers(0, k, n) for k in sizes]
    score = sum(rng.normal(size=k)[c] for k, c in zip(sizes[:6], codes, strict=False))
    score = score + rng.normal(size=(5, 8))[codes[3], codes[4]] + rng.logistic(size=n) * 0.7
    return {**{f"q{j}": _texts("v", c) for j, c in enumerate(codes)}, "target": _cut(score, 0.5)}


def _withheld(rng: np.random.Generator, n: int) -> Columns:
    """Large values are missing more often, and who does not answer differs."""
    X = rng.normal(size=(n, 6))
    shy = rng.normal(size=n)
    score = X[:, 0] + X[:, 1] * (X[:, 2] > 0) - 0.8 * shy + 0.7 * rng.logistic(size=n)
    gone = [rng.random(n) < 1 / (1 + np.exp(2 - 1.5 * X[:, j] - shy)) for j in range(6)]
    return {**{f"x{j}": _lost(X[:, j], gone[j]) for j in range(6)}, "target": _cut(score, 0.6)}


def _sparse(rng: np.random.Generator, n: int) -> Columns:
    """Half of all values are missing, by chance."""
    X = rng.normal(size=(n, 10)) @ (rng.normal(size=(10, 10)) / 2 + np.eye(10))
    y = X[:, 0] - X[:, 1] + np.abs(X[:, 2]) + 0.5 * rng.normal(size=n)
    return {**{f"x{j}": _lost(X[:, j], rng.random(n) < 0.5) for j in range(10)}, "target": y}


def _rare(rng: np.random.Generator, n: int) -> Columns:
    """Two classes in a hundred rows, told by where several columns are high together."""
    X = rng.normal(size=(n, 10))
    score = np.maximum(X[:, 0], 0) * np.maximum(X[:, 1], 0) + 0.7 * X[:, 2] + 0.5 * rng.normal(size=n)
    return {**_named(X), "target": _cut(score, 0.98)}


def _several(rng: np.random.Generator, n: int) -> Columns:
    """Six classes with shares from a half to one in fifty."""
    y = rng.choice(6, n, p=[0.5, 0.25, 0.12, 0.07, 0.04, 0.02])
    X = rng.normal(size=(6, 12))[y] + rng.normal(size=(n, 12))
    return {**_named(X * rng.gamma(2, 2, 12)), "target": y}


def _patients(rng: np.random.Generator, n: int) -> Columns:
    age, sex, treated = rng.normal(60, 12, n), rng.integers(0, 2, n), rng.integers(0, 2, n)
    marks = rng.lognormal(size=(n, 5))
    score = 0.05 * (age - 60) + 0.5 * sex + np.log(marks[:, 0]) - 0.8 * treated + rng.logistic(size=n)
    texts = {"sex": _texts("s", sex), "arm": _texts("a", treated)}
    return {"age": age.round(), **texts, **_named(marks), "target": _cut(score, 0.6)}


def _assay(rng: np.random.Generator, n: int) -> Columns:
    """80 rows, 10 columns, a curve."""
    X = rng.uniform(size=(n, 10))
    y = 10 / (1 + np.exp(-8 * (X[:, 0] - 0.5))) + 3 * X[:, 1] - 2 * X[:, 2] + rng.normal(size=n)
    return {**_named(X), "target": y}


def _genes(rng: np.random.Generator, n: int) -> Columns:
    """Many more columns than rows, in correlated groups; a few groups tell."""
    hidden = rng.normal(size=(n, 30))
    X = np.repeat(hidden, 20, axis=1) * 0.7 + rng.normal(size=(n, 600))
    return {**_named(X), "target": _cut(hidden[:, 0] - hidden[:, 1] + hidden[:, 2] + 0.5 * rng.normal(size=n), 0.5)}


def _spectra(rng: np.random.Generator, n: int) -> Columns:
    """Smooth curves of 200 points, of whose parts the target is a sum."""
    basis = np.cumsum(np.cumsum(rng.normal(size=(8, 200)), 1), 1)
    parts = rng.gamma(2, size=(n, 8))
    X = parts @ (basis / np.abs(basis).max(1, keepdims=True)) + 0.01 * rng.normal(size=(n, 200))
    return {**_named(X), "target": parts @ rng.normal(size=8) + 0.2 * rng.normal(size=n)}


def _grades(rng: np.random.Generator, n: int) -> Columns:
    """Answers of 1 to 5 to 15 questions, of two hidden opinions; the target is such an answer too, as a class."""
    hidden = rng.normal(size=(n, 2))
    seen = hidden @ rng.normal(size=(2, 16)) + rng.normal(size=(n, 16))
    X = np.stack([_cut(seen[:, j], 0.15, 0.35, 0.6, 0.85) + 1 for j in range(16)], axis=1)
    return {**_named(X[:, :15]), "target": X[:, 15]}


def _seasons(rng: np.random.Generator, n: int) -> Columns:
    """Hours, months and weekdays as numbers: what is far apart by number may be near."""
    hour, month, day = rng.integers(0, 24, n), rng.integers(1, 13, n), rng.integers(0, 7, n)
    warm = rng.normal(12, 8, n)
    y = 20 + 8 * np.sin(2 * np.pi * (hour - 9) / 24) + 4 * np.cos(2 * np.pi * month / 12) - 6 * (day > 4)
    y = y + 0.3 * warm * (np.abs(hour - 13) < 6) + 2 * rng.normal(size=n)
    return {"hour": hour, "month": month, "day": day, "warm": warm, "target": y}


def _drift(rng: np.random.Generator, n: int) -> Columns:
    """Rows in the order of time: levels of columns and target wander, and those to judge by come last."""
    level = np.cumsum(rng.normal(size=n)) * 3 / n**0.5
    X = rng.normal(size=(n, 5)) + 0.5 * level[:, None] * rng.normal(size=5)
    y = X @ rng.normal(size=5) + np.sin(2 * X[:, 0]) + 0.7 * rng.normal(size=n)
    return {"time": np.arange(n), **_named(X), "target": y}


def _surface(rng: np.random.Generator, n: int) -> Columns:
    """A sum of smooth bumps over two coordinates, beside three columns of noise."""
    X, places, heights = rng.uniform(-1, 1, (n, 5)), rng.uniform(-1, 1, (12, 2)), rng.normal(size=12)
    far = ((X[:, None, :2] - places) ** 2).sum(2)
    return {**_named(X), "target": np.exp(-far * 8) @ heights + 0.1 * rng.normal(size=n)}


def _map(rng: np.random.Generator, n: int) -> Columns:
    """Four classes in patches of a map."""
    X, places = rng.uniform(0, 100, (n, 2)), rng.uniform(0, 100, (25, 2))
    near = ((X[:, None] - places) ** 2).sum(2).argmin(1)
    y = np.where(rng.random(n) < 0.08, rng.integers(0, 4, n), rng.integers(0, 4, 25)[near])
    return {"east": X[:, 0], "north": X[:, 1], "target": y}


def _steps(rng: np.random.Generator, n: int) -> Columns:
    """Rules of thresholds, as a clerk follows them, and a few errors."""
    X, kind = rng.gamma(2, 20, (n, 8)), rng.integers(0, 4, n)
    y = ((X[:, 0] > 40) & (kind != 2)) | ((X[:, 1] < 20) & (X[:, 2] > 30)) | ((kind == 1) & (X[:, 3] > 60))
    return {**_named(X), "kind": _texts("k", kind), "target": (y ^ (rng.random(n) < 0.04)).astype(int)}


def _linear(rng: np.random.Generator, n: int) -> Columns:
    X = rng.normal(size=(n, 15)) @ (np.eye(15) + 0.3 * rng.normal(size=(15, 15)))
    return {**_named(X), "target": 3000 + 100 * (X @ rng.normal(size=15) + 2 * rng.normal(size=n))}


def _logistic(rng: np.random.Generator, n: int) -> Columns:
    X = rng.normal(size=(n, 20))
    return {**_named(X), "target": (X @ rng.normal(size=20) * 0.4 + rng.logistic(size=n) > 0).astype(int)}


def _noise(rng: np.random.Generator, n: int) -> Columns:
    """Nearly nothing tells: 55 in 100 rows are right at best."""
    X = rng.normal(size=(n, 12))
    return {**_named(X), "target": (0.25 * X[:, 0] + rng.logistic(size=n) > 0).astype(int)}


def _exact(rng: np.random.Generator, n: int) -> Columns:
    """A formula without noise."""
    X = rng.uniform(0.5, 2, (n, 5))
    return {**_named(X), "target": X[:, 0] * X[:, 1] ** 2 / X[:, 2] + np.sqrt(X[:, 3])}


def _sensors(rng: np.random.Generator, n: int) -> Columns:
    """24 readings of one unit; kinds of movement differ in frequency and strength, not in their means."""
    y, t = rng.integers(0, 4, n), np.arange(24)
    turn = np.array([1.0, 2.0, 3.0, 5.0])[y][:, None] * t * 2 * np.pi / 24 + rng.uniform(0, 2 * np.pi, (n, 1))
    return {**_named(np.sin(turn) * rng.gamma(4, 0.25, (n, 1)) + 0.5 * rng.normal(size=(n, 24))), "target": y}


def _words(rng: np.random.Generator, n: int) -> Columns:
    """Counts of 120 words, most of them 0."""
    y, shares = rng.integers(0, 3, n), rng.dirichlet(np.full(120, 0.2), 4)
    X = rng.multinomial(30, 0.3 * shares[y] + 0.7 * shares[3])
    return {**_named(X), "target": y}


def _shells(rng: np.random.Generator, n: int) -> Columns:
    X = rng.normal(size=(n, 8))
    return {**_named(X), "target": _cut((X**2).sum(1), 1 / 3, 2 / 3)}


def _clusters(rng: np.random.Generator, n: int) -> Columns:
    """Four classes of three clusters each; of 20 columns 8 tell, and 4 are made of these."""
    X, y = datasets.make_classification(
        n, 20, n_informative=8, n_redundant=4, n_classes=4, n_clusters_per_class=3, random_state=int(rng.integers(9999))
    )
    return {**_named(X), "target": y}


KINDS: dict[str, Kind] = {
    "incomes": Kind(_incomes, 1200, False),
    "incomes_few": Kind(_incomes, 150, False),
    "losses": Kind(_losses, 2000, False),
    "claims": Kind(_claims, 3000, False),
    "counted": Kind(_counted, 600, False),
    "slips": Kind(_slips, 1500, False),
    "heavy": Kind(_heavy, 1200, True),
    "articles": Kind(_articles, 3000, False),
    "streets": Kind(_streets, 800, True),
    "questions": Kind(_questions, 1500, True),
    "withheld": Kind(_withheld, 900, True),
    "sparse": Kind(_sparse, 1200, False),
    "rare": Kind(_rare, 3000, True),
    "several": Kind(_several, 700, True),
    "patients": Kind(_patients, 120, True),
    "patients_more": Kind(_patients, 400, True),
    "assay": Kind(_assay, 80, False),
    "genes": Kind(_genes, 100, True),
    "spectra": Kind(_spectra, 70, False),
    "grades": Kind(_grades, 500, True),
    "seasons": Kind(_seasons, 2500, False),
    "drift": Kind(_drift, 1500, False, 500),
    "surface": Kind(_surface, 1000, False),
    "map": Kind(_map, 1500, True),
    "steps": Kind(_steps, 2000, True),
    "linear": Kind(_linear, 300, False),
    "logistic": Kind(_logistic, 1500, True),
    "logistic_few": Kind(_logistic, 200, True),
    "noise": Kind(_noise, 800, True),
    "exact": Kind(_exact, 600, False),
    "sensors": Kind(_sensors, 1000, True),
    "words": Kind(_words, 600, True),
    "shells": Kind(_shells, 900, True),
    "clustered": Kind(_clusters, 1800, True),
    "clustered_many": Kind(_clusters, 30_000, True),
    "seasons_many": Kind(_seasons, 50_000, False),
}
