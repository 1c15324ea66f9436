"""Random networks: both exports give what the run gives, and the exported source trains as Undertow does."""

import numpy as np
import pytest

import undertow as ut
from exported import LayerNorm, clipped, gelu, load_source, mish_like, rows_for
from undertow import nn, optim
from undertow.export import export_onnx, export_source

ACTIVATIONS = ["relu", "tanh", "sigmoid", "identity", gelu, mish_like, clipped, np.arctan, np.exp2, np.square, np.sign]
OPTIMIZERS = [optim.sgd(0.01), optim.momentum(0.01), optim.adam(0.01)]
CLIPS = [None, optim.clip_by_value(0.01), optim.clip_by_global_norm(0.01)]


def random_layers(rng, width, depth):
    """Layers that take `width` columns, and the number they give."""
    layers = []
    for _ in range(depth):
        kind = rng.integers(6)
        if kind <= 1:
            fan_out = 2 * int(rng.integers(1, 5))
            layers.append(nn.Dense(width, fan_out, bias=bool(rng.integers(4))))
            width = fan_out
        elif kind == 2:
            inner, given = random_layers(rng, width, int(rng.integers(1, 4)))
            layers.append(nn.Residual(*inner, nn.Dense(given, width)))
        elif kind == 3:
            layers.append(LayerNorm(rng.normal(size=width).astype("f"), rng.normal(size=width).astype("f")))
        else:
            layers.append(ACTIVATIONS[rng.integers(len(ACTIVATIONS))])
    return layers, width


def random_run(seed):
    """An untrained run of a random network, with biases that are not 0."""
    rng = np.random.default_rng(seed)
    layers, width = random_layers(rng, 6, int(rng.integers(1, 7)))
    loss = ["mean_squared_error", "categorical_cross_entropy_with_logits", "categorical_cross_entropy"][rng.integers(3)]
    end = ["softmax"] if loss == "categorical_cross_entropy" else []
    model = nn.initialize(nn.Sequential(*layers, nn.Dense(width, 3), *end), seed=seed)
    for _, layer in nn.list_layers(model):
        if getattr(layer, "b", None) is not None:
            layer.b = rng.normal(size=layer.b.shape).astype("f")
    optimizer, clip = OPTIMIZERS[rng.integers(3)], CLIPS[rng.integers(3)]
    settings = {
        "loss": loss, "optimizer": {"name": optimizer.name, **optimizer.settings},
        "clip": clip and {"name": clip.name, **clip.settings},
    }  # fmt: skip
    return ut.Run(model, settings=settings), optimizer, clip


@pytest.mark.parametrize("seed", range(12))
def test_random_networks(seed, tmp_path):
    run, optimizer, clip = random_run(seed)
    X = rows_for("", 9, seed)
    wanted = run.outputs(X)
    scale = max(1.0, float(np.abs(wanted).max()))
    module = load_source(export_source(run, tmp_path / "model.py", example=X))
    np.testing.assert_allclose(module.outputs(module.PARAMS, X) / scale, wanted / scale, rtol=1e-5, atol=1e-6)
    params, state = module.PARAMS, module.init_state(module.PARAMS)
    y = X[:, :3] if run.settings["loss"] == "mean_squared_error" else np.arange(9) % 3
    loss = nn.LOSSES[run.settings["loss"]].function
    for _ in range(2):
        given = dict(params)
        before, grads = ut.value_and_grad(lambda p: loss(module.outputs(p, X), y))(given)
        keys = list(grads)
        limited = clip.apply([grads[k] for k in keys]) if clip else [grads[k] for k in keys]
        found, params, state = module.step(params, state, X, y)
        np.testing.assert_allclose(found, before, rtol=1e-5)
        if optimizer.name == "sgd":
            for key, g in zip(keys, limited, strict=True):
                step = np.asarray(given[key] - optimizer.settings["rate"] * g)
                size = max(1.0, float(np.abs(g).max()))
                np.testing.assert_allclose(params[key], step, rtol=2e-5, atol=2e-5 * size)
    pytest.importorskip("onnx")
    session = pytest.importorskip("onnxruntime").InferenceSession(export_onnx(run, tmp_path / "model.onnx", example=X))
    (found, *_) = session.run(["output"], {"X": X})
    np.testing.assert_allclose(found / scale, wanted / scale, rtol=1e-5, atol=1e-5)
