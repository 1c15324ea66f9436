"""What is measured in a step: as NumPy measures it, and without a trace in what the step computes."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

import undertow as ut
from compiled_graphs import ones_by_numpy
from undertow import nn, optim, trees
from undertow.flow.layers import read_layers
from undertow.flow.observe import make_observer
from undertow.train.session import NotFinite, PlainSession
from undertow.train.step import make_step


def cross_entropy(model, X, y):
    return nn.categorical_cross_entropy_with_logits(model(X), y)


def squares(model, X, y):
    return np.mean((model(X) - y[:, None]) ** 2)


def dense(*widths, activation="relu"):
    layers = []
    for n, m in pairwise(widths):
        layers += [nn.Dense(n, m), activation]
    return nn.Sequential(*layers[:-1])


NETWORKS = {
    "small": lambda: dense(4, 16, 3),
    "middle": lambda: dense(64, 128, 64, 3),
    "wide": lambda: dense(33, 1100, 3, activation="tanh"),
    "narrow": lambda: dense(5, 7, 1, 3, activation="sigmoid"),
    "deep": lambda: nn.Sequential(
        nn.Dense(20, 24), *[nn.Residual(nn.LayerNorm(24), nn.Dense(24, 24), "tanh") for _ in range(2)], nn.Dense(24, 3)
    ),
    "branches": lambda: nn.Sequential(
        nn.Parallel(nn.Dense(9, 12), nn.Dense(9, 12, bias=False), nn.Dense(9, 12, bias=False), combine="add"),
        "gelu",
        nn.Dense(12, 3, bias=False),
    ),
}
OPTIMIZERS = {
    "small": optim.sgd(0.1),
    "middle": optim.momentum(0.05),
    "wide": optim.adam(1e-2),
    "narrow": optim.adamw(1e-2),
    "deep": optim.adam(1e-2),
    "branches": optim.momentum(0.05),
}


def prepare(network, dtype=np.float32, rows=150):
    model = nn.initialize(NETWORKS[network](), 0, dtype)
    rng = np.random.default_rng(0)
    width = {"small": 4, "middle": 64, "wide": 33, "narrow": 5, "deep": 20, "branches": 9}[network]
    return model, rng.normal(size=(rows, width)).astype(dtype), rng.integers(0, 3, rows)


def make(network, model, X, observe=True, clip=None, loss=cross_entropy, **options):
    observer = make_observer(read_layers(model, X[:2])) if observe else None
    return make_step(loss, OPTIMIZERS[network], clip, observer=observer, **options)


def train(step, model, X, y, batch=32, epochs=4):
    session = step.open(model, step.init(model), X, y, batch)
    losses = [session.run(np.arange(len(X)), batch) for _ in range(epochs)]
    return losses, trees.flatten(session.values())[0], session


def agree(mine, other, rtol=1e-5):
    """Sums are compared in units of what the magnitudes add up to at most."""
    assert [x.names for x in mine] == [x.names for x in other]
    for a, b in zip(mine, other, strict=True):
        assert np.array_equal(a.counts, b.counts)
        found = dict(zip(b.names, np.abs(b.values.T), strict=True))
        for name, x, y, n in zip(a.names, a.values.T, b.values.T, a.counts, strict=True):
            scale = np.sqrt(n * found[name[:-1] + "ss"]) if name.endswith(".s") else np.abs(y)
            np.testing.assert_array_less(np.abs(x - y), rtol * scale + 1e-30, err_msg=name)


@pytest.fixture(params=[1, 2])
def threads(request):
    ut.set_threads(request.param)
    yield request.param
    ut.set_threads(None)


@pytest.mark.parametrize("network", NETWORKS)
def test_a_step_is_the_same_to_the_last_bit_whoever_looks_on(network, threads):
    model, X, y = prepare(network, np.float32 if threads == 2 else np.float64)
    clip = optim.clip_by_global_norm(0.5) if network in ("middle", "deep") else None
    plain = train(make(network, model, X, observe=False, clip=clip), model, X, y)
    watched = train(make(network, model, X, clip=clip), model, X, y)
    assert np.array_equal(plain[0], watched[0])
    for a, b in zip(plain[1], watched[1], strict=True):
        assert np.array_equal(a, b)
    assert [len(x.values) for x in watched[2].told] == [4, 1]
    assert plain[2].told[0].values.shape == (4, 0)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_compiled_step_tells_what_numpy_tells(network, dtype):
    """The first step of each; NumPy's goes through other arrays, whose last bits are others."""
    model, X, y = prepare(network, dtype)
    step = make(network, model, X)
    for batch in (50, 1):
        session = step.open(model, step.init(model), X, y, batch)
        session.run(np.arange(batch), batch)
        plain = PlainSession(step, model, step.init(model), X, y)
        plain.run(np.arange(batch), batch)
        agree(session.told, plain.told, 3e-4 if dtype == np.float32 else 1e-11)
        assert np.isfinite(session.told[0].values).all()


def test_the_names_say_what_is_measured_of_which_layer():
    model, X, y = prepare("narrow")
    step = make("narrow", model, X)
    _, _, session = train(step, model, X, y)
    told = session.told[0]
    assert step.watched[:7] == ("0.z", "0.h", "0.delta", "0.dW", "0.db", "0.W", "0.update")
    assert "0.h.flat" in told.names and "0.h.zeros" not in told.names and "2.h.ss" not in told.names
    counts = dict(zip(told.names, told.counts, strict=True))
    assert (counts["0.z.ss"], counts["0.h.flat"], counts["0.dW.max"], counts["0.db.s"]) == (32 * 7, 32 * 7, 35, 7)
    assert dict(zip(session.told[1].names, session.told[1].counts, strict=True))["0.z.ss"] == 22 * 7


def test_the_numbers_are_those_of_a_dense_layer_by_hand():
    X = np.array([[1.0, -2.0], [0.5, 3.0], [-1.0, 0.25]], np.float32)
    y = np.array([1.0, 0.0, -1.0], np.float32)
    W, b = np.array([[0.5], [-1.5]], np.float32), np.array([0.125], np.float32)
    model = nn.Sequential(nn.Dense(2, 1, W=W, b=b), "relu")
    step = make_step(
        squares, optim.sgd(0.5), optim.clip_by_global_norm(1.0), observer=make_observer(read_layers(model, X))
    )
    session = step.open(model, step.init(model), X, y, 3)
    session.run(np.arange(3), 3)
    z = X @ W + b
    delta = 2 / 3 * (np.maximum(z, 0) - y[:, None]) * (z > 0)
    dW, db = X.T @ delta, delta.sum(0)
    norm = np.sqrt(np.sum(dW**2) + np.sum(db**2))
    update = -0.5 * dW / max(norm, 1)
    arrays = {"z": z, "h": np.maximum(z, 0), "delta": delta, "dW": dW, "db": db, "W": W, "update": update}
    (told,) = session.told
    for name, value in zip(told.names, told.values[0], strict=True):
        _, q, kind = name.split(".")
        x = arrays[q].astype(float)
        wanted = {"ss": np.sum(x * x), "s": np.sum(x), "max": np.max(np.abs(x)), "zeros": np.sum(x == 0)}[kind]
        assert value == pytest.approx(wanted, rel=1e-5), name
    assert session.results["clip"] == pytest.approx(1 / norm)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_seen_where_they_are(bad, threads):
    model, X, y = prepare("middle")
    X[40, 3] = bad
    step = make("middle", model, X)
    session = step.open(model, step.init(model), X, y, 32)
    with pytest.raises(NotFinite) as caught:
        session.run(np.arange(len(X)), 32)
    (told,) = caught.value.told
    largest = dict(zip(told.names, told.values.T, strict=True))
    assert len(told.values) == 2 and np.isfinite(told.values[0]).all()
    assert not np.isfinite(largest["0.z.max"][1]) and not np.isfinite(largest["0.delta.max"][1])
    assert np.isfinite(largest["0.W.max"]).all()


def test_small_gradients_keep_their_digits():
    model, X, y = prepare("small")
    step = make("small", model, X, loss=lambda m, X, y: cross_entropy(m, X, y) * np.float32(1e-22))
    _, _, session = train(step, model, X, y, epochs=1)
    found = dict(zip(session.told[0].names, session.told[0].values[0], strict=True))
    assert 0 < found["0.delta.ss"] < 1e-40
    assert found["0.delta.max"] ** 2 <= found["0.delta.ss"] * 1.0001


def test_what_numpy_does_within_a_step_is_measured_too():
    model, X, y = prepare("small")

    def loss(model, X, y):
        return np.mean((model(X) * ones_by_numpy(X[:, :1]) - y[:, None]) ** 2)

    step = make("small", model, X, loss=loss)
    _, _, session = train(step, model, X, y, epochs=1)
    assert step.uncompiled is not None
    plain = PlainSession(step, model, step.init(model), X, y)
    plain.run(np.arange(len(X)), 32)
    agree(session.told, plain.told)


def test_steps_that_stand_still_move_nothing_and_tell_it():
    model, X, y = prepare("small")
    X[:32] = np.nan
    step = make("small", model, X, non_finite="skip")
    session = step.open(model, step.init(model), X, y, 32)
    session.run(np.arange(64), 32)
    found = dict(zip(session.told[0].names, session.told[0].values.T, strict=True))
    assert found["0.update.ss"][0] == 0 < found["0.update.ss"][1]
