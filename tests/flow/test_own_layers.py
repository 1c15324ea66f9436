"""Layers that a layer of one's own calls are recorded as those of a container are."""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pytest

import undertow as ut
from undertow import nn, optim
from undertow.errors import UndertowError
from undertow.flow.layers import read_layers
from undertow.flow.record import STATS

RNG = np.random.default_rng(5)
X = RNG.standard_normal((40, 3)).astype(np.float32)
Y = RNG.standard_normal((40, 2)).astype(np.float32)
SETTINGS = {"loss": "mean_squared_error", "progress": False, "validation": None, "epochs": 3, "batch_size": 8}


@dataclass
class Two:
    """Two layers in fields."""

    first: nn.Dense
    last: nn.Dense

    def __call__(self, x):
        return self.last(np.tanh(self.first(x)))


@dataclass(frozen=True)
class Listed:
    """Layers in a list, a dict and a named tuple, of a class that nothing can be set on."""

    blocks: list
    named: dict = field(default_factory=dict)

    def __call__(self, x):
        for block in self.blocks:
            x = block(x)
        return self.named["end"](x)


@dataclass
class Again:
    """A layer that is called twice, and an array of its own."""

    inner: nn.Dense
    gain: np.ndarray

    def __call__(self, x):
        return self.gain * self.inner(self.inner(x))


class Pair(NamedTuple):
    """Two layers."""

    left: nn.Dense
    right: nn.Dense


@dataclass
class Slotted:
    """Layers in a named tuple."""

    pair: Pair

    def __call__(self, x):
        return self.pair.left(x) + self.pair.right(x)


def test_the_numbers_are_those_of_the_same_layers_in_a_sequential():
    layers = nn.initialize(nn.Sequential(nn.Dense(3, 4), "tanh", nn.Dense(4, 2)), seed=1)
    mine = Two(layers.layers[0], layers.layers[2])
    runs = [ut.train(model, (X, Y), optimizer=optim.sgd(0.1), **SETTINGS) for model in (layers, mine)]
    wanted, found = (run.flow for run in runs)
    assert [(x.path, x.kind, x.weights, x.bias) for x in found.layers] == [
        ("first", "Dense", "first.W", "first.b"),
        ("last", "Dense", "last.W", "last.b"),
    ]
    assert "failed" not in found.facts
    for name in STATS:
        if not name.startswith("h.") and name not in ("zeros", "saturated"):  # what tanh made is its own affair
            assert np.allclose(found.stat(name), wanted.stat(name), rtol=1e-5, atol=1e-9, equal_nan=True), name
    assert np.array_equal(runs[0].model.layers[0].W, runs[1].model.first.W)  # it is trained as it was without
    assert type(runs[1].model.first) is nn.Dense


def test_layers_in_lists_dicts_and_frozen_classes():
    end = Two(nn.Dense(4, 4), nn.Dense(4, 2))
    model = Listed([nn.Dense(3, 4), nn.Sequential(nn.Dropout(0.1), nn.Dense(4, 4))], {"end": end})
    run = ut.train(nn.initialize(model, 0), (X, Y), optimizer=optim.sgd(0.1), **SETTINGS)
    ends = ["blocks[0]", "blocks[1].layers[1]", "named.end.first", "named.end.last"]
    assert run.flow.paths == ends
    assert [x.weights for x in run.flow.layers] == [f"{path}.W" for path in run.flow.paths]
    assert np.isfinite(run.flow.stat("delta.rms")).all() and run.flow.stat("delta.rms").min() > 0
    pair = nn.initialize(Slotted(Pair(nn.Dense(3, 2), nn.Dense(3, 2))), 0)
    assert [x.path for x in read_layers(pair, X[:2])] == ["pair.left", "pair.right", ""]
    within = nn.initialize(nn.Sequential(pair, nn.Dense(2, 2)), 0)
    assert [x.within for x in read_layers(within, X[:2])] == ["layers[0]", "layers[0]", None, None]


def test_of_a_layer_that_is_called_twice_the_first_call_counts():
    start = nn.initialize(nn.Dense(3, 3), 2, np.float64)
    X64 = X.astype(np.float64)
    Y3 = RNG.standard_normal((40, 3))
    run = ut.train(
        Again(start, np.full(3, 2.0)), (X64, Y3), optimizer=optim.sgd(0.1), **SETTINGS | {"epochs": 1, "batch_size": 40}
    )
    flow = run.flow
    z1 = X64 @ start.W + start.b
    output = 2.0 * (z1 @ start.W + start.b)
    d_output = 2 * (output - Y3) / len(X)
    d2 = 2.0 * d_output
    d1 = d2 @ start.W.T
    i = flow.paths.index("inner")
    for name, right in (("z", z1), ("delta", d1), ("dW", X64.T @ d1 + z1.T @ d2), ("db", d1.sum(0) + d2.sum(0))):
        assert flow.stat(f"{name}.rms")[0, i] == pytest.approx(np.sqrt(np.mean(right**2)), rel=1e-5), name
    own = flow.paths.index("")  # the layer around it: what it gives is its own, and so is its gain
    assert (flow.layers[own].kind, flow.layers[own].weights) == ("Again", "gain")
    assert flow.stat("z.rms")[0, own] == pytest.approx(np.sqrt(np.mean(output**2)), rel=1e-5)


def test_an_activation_after_a_layer_of_ones_own_belongs_to_the_last_layer_in_it():
    model = nn.initialize(nn.Sequential(Two(nn.Dense(3, 4), nn.Dense(4, 4)), "relu", nn.Dense(4, 2)), 0)
    found = [(x.path, x.h_path, x.activation) for x in read_layers(model, X[:2])]
    assert found == [
        ("layers[0].first", "layers[0].first", None),
        ("layers[0].last", "layers[1]", "relu"),
        ("layers[2]", "layers[2]", None),
    ]


def test_the_origin_of_a_nan_names_the_inner_layer():
    model = nn.initialize(Two(nn.Dense(3, 4), nn.Dense(4, 2)), 0)
    model.last.W = np.full_like(model.last.W, 3e38)
    model.first.b = np.full_like(model.first.b, 5.0)
    with pytest.raises(UndertowError, match=r"matmul in last gives inf"):
        ut.train(model, (X, Y), optimizer=optim.sgd(0.1), **SETTINGS)


def test_running_statistics_in_a_field_are_replaced():
    @dataclass
    class Normal:
        dense: nn.Dense
        normal: nn.BatchNorm

        def __call__(self, x):
            return self.normal(self.dense(x))

    model = nn.initialize(Normal(nn.Dense(3, 2), nn.BatchNorm(2)), 0)
    on, off = (ut.train(model, (X, Y), optimizer=optim.sgd(0.1), flow=flow, **SETTINGS) for flow in (True, False))
    assert np.array_equal(on.model.normal.mean, off.model.normal.mean) and on.model.normal.mean.any()
    assert on.flow.paths == ["dense", "normal"] and on.flow.facts["normalised_by_batch"] == ["normal"]


def steep(x):
    return np.log(1 + np.exp(60 * x))


def test_a_function_among_layers_that_spoils_the_rows_held_out_is_named():
    """Its rows reach 4 times as far: exp(60 x) of those alone is infinite in float32, as above an exponent of 88."""
    X = np.random.default_rng(0).uniform(-1, 1, (200, 4)).astype(np.float32)
    layer = nn.Dense(4, 4, W=np.eye(4, dtype=np.float32), b=np.zeros(4, np.float32))
    held = np.where(np.arange(40)[:, None] < 5, 4.0, 0.1) * np.ones((40, 4), np.float32)
    run = ut.train(nn.Sequential(layer, steep, nn.Dense(4, 1)), (X, X[:, :1]), loss="mean_squared_error", epochs=2,
                   validation=(held, held[:, :1]), optimizer=ut.optim.sgd(1e-6), progress=False)  # fmt: skip
    (found,) = [x for x in run.findings if x.kind == "non-finite"]
    assert found.severity == "warning" and found.paths[0] == "layers[1]" and "RMS of nan" not in str(run.findings)
    assert "exp" in found.cause and "test_own_layers.py" in found.cause
