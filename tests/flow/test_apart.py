"""Rows held out that are scaled otherwise, or come from elsewhere, are told so; those of the same kind never."""

import numpy as np
import pytest
from scipy.stats import binom, norm

import undertow as ut
from undertow import nn
from undertow.flow.apart import SURE, _chance, measure_apart

RNG = np.random.default_rng(0)
KINDS = {
    "normal": lambda n: RNG.standard_normal((n, 6)),
    "Cauchy": lambda n: RNG.standard_cauchy((n, 6)),
    "a single heavy column": lambda n: np.exp(3 * RNG.standard_normal((n, 1))),
    "rare ones": lambda n: (RNG.random((n, 64)) < 0.02) * 1.0,
    "codes": lambda n: RNG.integers(0, 3, (n, 4)) * 1.0,
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rows", [(60, 20), (300, 60), (5000, 1000)])
def test_parts_of_the_same_rows_are_alike_whatever_they_are(kind, rows):
    for _ in range(40):
        found = measure_apart(KINDS[kind](rows[0]), KINDS[kind](rows[1]))
        assert 1 / 5 < found["ratio"] < 5 and found["outside"] < 0.5 and found["beyond"] < 0.3
        assert found["side"] < 0.9


def test_the_bound_on_chance_is_none_too_small():
    """Above what the binomial distribution says, and near it where that decides."""
    for n, p in ((20, 0.03), (200, 0.03), (1000, 0.001)):
        for k in range(1, n + 1):
            exact = binom.sf(k - 1, n, p)
            assert _chance(k, n, p) >= exact * (1 - 1e-9)
            assert k < 0.3 * n or _chance(k, n, p) < SURE


SETTINGS = {"epochs": 40, "batch_size": 32, "optimizer": ut.optim.adam(3e-3), "progress": False}
X = (RNG.standard_normal((400, 5)) * [1, 3, 10, 30, 100] + [20, 5, 300, 0, 1000]).astype(np.float32)
Z = ((X - X[:300].mean(0)) / X[:300].std(0)).astype(np.float32)
CLASSES = (Z[:, 0] + Z[:, 1] ** 2 + 0.1 * RNG.standard_normal(400) > 0.5).astype(np.int64)
NUMBERS = (Z[:, 0] + 0.3 * RNG.standard_normal(400)).astype(np.float32)


def fit(held, y=CLASSES, target=None, loss="categorical_cross_entropy", n_out=2):
    model = nn.Sequential(nn.Dense(5, 32), "relu", nn.Dense(32, n_out))
    held_y = y[300:] if target is None else target
    return ut.train(model, (Z[:300], y[:300]), validation=(held, held_y), loss=loss, **SETTINGS)


def test_rows_held_out_that_lie_elsewhere_are_told_though_their_spread_is_the_same():
    """Two deviations higher all but 1 − Φ(2) lie above the median."""
    found = measure_apart(Z[:300].astype(float), Z[300:].astype(float) + 2)
    assert found["side"] == pytest.approx(norm.cdf(2), abs=0.02) and 1 / 5 < found["ratio"] < 5
    (told,) = fit(Z[300:] + 2).findings
    assert told.kind == "input-not-scaled" and "on one side of the median" in told.cause
    assert not any(x.kind == "input-not-scaled" for x in fit(Z[300:] + np.float32(0.5)).findings)


@pytest.mark.parametrize("scale", [1.0, 1e-3])
def test_rows_held_out_that_are_not_scaled_are_told_and_the_remedy_mends_it(scale):
    """As they came, or by a factor."""
    held = X[300:] if scale == 1 else (Z[300:] * np.float32(scale))
    (found,) = fit(held).findings
    assert (found.kind, found.severity) == ("input-not-scaled", "warning") and "held out" in found.cause
    if scale == 1:
        names = {"X": X[:300], "X_held": X[300:]}
        exec(found.remedies[0].code, names)
        np.testing.assert_allclose(names["X_held"], Z[300:], atol=1e-5)
        assert [x for x in fit(names["X_held"].astype(np.float32)).findings if x.kind == "input-not-scaled"] == []


def test_rows_held_out_that_lie_beyond_all_others_are_why_their_loss_rises():
    """The same training with rows of the same kind does not say so."""
    beyond = Z[300:] + np.array([0, 0, 6, 0, 0], np.float32)
    found = [x for x in fit(beyond).findings if x.kind == "over-fitting"]
    share = np.mean(beyond[:, 2] > Z[:300, 2].max())
    assert share > 0.9 and f"{share:.0%} of them lie beyond all of these in column 2 of X" in found[0].cause
    assert not [x for x in fit(Z[300:]).findings if "beyond" in x.cause]


def test_targets_held_out_that_are_numbered_otherwise_are_told():
    found = fit(Z[300:], target=1 - CLASSES[300:]).findings
    assert [x.kind for x in found] == ["over-fitting"]
    assert "go against their targets" in found[0].cause and "zip(X_held[:5], y_held[:5])" in found[0].remedies[0].code
