"""Gradient sizes layer by layer, whatever the layers are."""

import numpy as np
import pytest

import undertow as ut
from own_layers import Own
from undertow import nn
from undertow.train.derive import make_gradient
from undertow.train.gradients import measure_gradients


def rng(seed=0):
    return np.random.default_rng(seed)


def test_gradient_sizes_of_all_layers_are_those_of_the_training_pass():
    """dW, db and δ of each Dense layer, also beside, within and behind others, are what differentiation gives."""
    model = nn.initialize(
        nn.Sequential(
            nn.Embedding(6, 4), nn.Dense(4, 5), "tanh", nn.Flatten(), nn.BatchNorm(10),
            nn.Residual(nn.Dense(10, 3), nn.Dropout(0.5), projection="auto"),
            nn.Parallel(nn.Dense(3, 2), nn.Dense(3, 2, bias=False), combine="add"), Own(np.eye(2)), nn.LayerNorm(2),
        ), 0, np.float64,
    )  # fmt: skip
    X, y = rng().integers(0, 6, (8, 2)).astype(float), rng().standard_normal((8, 2))
    loss = lambda model, X, y: np.mean((model(X) - y) ** 2)
    rows = measure_gradients(make_gradient(loss), model, X, y)
    names = [
        "Embedding",
        "Dense(4, 5)",
        "BatchNorm",
        "Dense(10, 3)",
        "Dense(10, 3)",
        "Dense(3, 2)",
        "Dense(3, 2)",
        "Own",
    ]
    assert [row["name"] for row in rows] == [*names, "LayerNorm"]
    assert [row["layer"] for row in rows] == list(range(1, 10))
    still = nn.map_layers(model, lambda x: nn.Dropout(0.0) if isinstance(x, nn.Dropout) else x)
    with nn.training(None):
        grads = nn.parameters_of(ut.grad(loss)(still, X, y))
    rms = lambda *arrays: np.sqrt(np.mean(np.concatenate([np.ravel(x) ** 2 for x in arrays])))
    for row in rows:
        at = row["path"]
        if row["name"].startswith("Dense"):
            assert row["dW"] == pytest.approx(rms(grads[f"{at}.W"]), rel=1e-9)
            assert row["db"] is None if f"{at}.b" not in grads else row["db"] == pytest.approx(rms(grads[f"{at}.b"]))
            assert row["delta"] > 0
        else:
            own = [
                x
                for path, x in grads.items()
                if path.startswith(f"{at}.") and path.split(".")[-1] in ("W", "gain", "shift")
            ]
            assert row["dW"] == pytest.approx(rms(*own), rel=1e-9)
    # δ of the last Dense layers is the gradient by their common output
    with nn.training(None):
        head = nn.Sequential(*still.layers[:7])(X)
        delta = ut.grad(lambda z: np.mean((nn.Sequential(*still.layers[7:])(z) - y) ** 2))(head)
    assert rows[5]["delta"] == pytest.approx(rms(delta), rel=1e-9) == rows[6]["delta"]


def test_gradient_sizes_where_rows_are_no_examples():
    """A model that folds a sequence into the batch has no δ by example; dW is still measured."""
    fold = nn.Lambda(lambda h: h.reshape(-1, 2))
    model = nn.initialize(nn.Sequential(nn.Dense(4, 4), fold, nn.Dense(2, 1)), 0, np.float64)
    X = rng().standard_normal((6, 4))
    rows = measure_gradients(make_gradient(lambda model, X, y: np.mean(model(X) ** 2)), model, X, np.zeros((6, 1)))
    assert rows[0]["delta"] > 0 and rows[1]["delta"] is None and rows[1]["dW"] > 0
