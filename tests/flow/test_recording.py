"""What a training records is what a training by hand measures, step by step."""

import io
import math

import numpy as np
import pytest

import undertow as ut
from undertow import nn, optim
from undertow.errors import UndertowError
from undertow.flow import Flow
from undertow.flow.record import STATS
from undertow.train import Trainer

RNG = np.random.default_rng(0)
X = RNG.standard_normal((48, 5))
LABELS = RNG.integers(0, 3, 48)
SETTINGS = {"loss": "categorical_cross_entropy", "progress": False, "validation": None, "epochs": 3, "batch_size": 48}


def build():
    """A network of two layers, in float64."""
    return nn.initialize(nn.Sequential(nn.Dense(5, 7), "tanh", nn.Dense(7, 3)), seed=3, dtype=np.float64)


def by_hand(model, steps, rate, limit=math.inf):
    """Train with whole batches as the lesson does, and tell everything of each step."""
    W1, b1, W2, b2 = (np.array(x) for x in (model.layers[0].W, model.layers[0].b, model.layers[2].W, model.layers[2].b))
    Y, told = np.eye(3)[LABELS], []
    for _ in range(steps):
        z1 = X @ W1 + b1
        h1 = np.tanh(z1)
        z2 = h1 @ W2 + b2
        p = np.exp(z2 - z2.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        d2 = (p - Y) / len(X)
        d1 = (d2 @ W2.T) * (1 - h1 * h1)
        grads = [X.T @ d1, d1.sum(axis=0), h1.T @ d2, d2.sum(axis=0)]
        norm = math.sqrt(sum(float(np.sum(g * g)) for g in grads))
        factor = min(1.0, limit / norm)
        updates = [-rate * factor * g for g in grads]
        told.append({
            "loss": -np.mean(np.log(p[np.arange(len(X)), LABELS])), "norm": norm, "factor": factor,
            "z": [z1, z2], "h": [h1, z2], "delta": [d1, d2], "dW": [grads[0], grads[2]], "db": [grads[1], grads[3]],
            "W": [W1, W2], "update": [updates[0], updates[2]],
        })  # fmt: skip
        W1, b1, W2, b2 = (x + u for x, u in zip((W1, b1, W2, b2), updates, strict=True))
    return told


@pytest.mark.parametrize("quantity", ["z", "h", "delta", "dW", "db", "W", "update"])
def test_every_number_of_every_step_is_that_of_the_lesson(quantity):
    run = ut.train(build(), (X, LABELS), optimizer=optim.sgd(0.5), **SETTINGS)
    flow = run.flow
    for row, told in enumerate(by_hand(build(), 3, 0.5)):
        for layer, wanted in enumerate(told[quantity]):
            found = [float(flow.stat(f"{quantity}.{kind}")[row, layer]) for kind in ("rms", "mean", "max")]
            right = [np.sqrt(np.mean(wanted**2)), np.mean(wanted), np.abs(wanted).max()]
            assert found == pytest.approx(right, rel=2e-6, abs=1e-9), (quantity, row, layer)


def test_the_numbers_of_a_whole_step_are_those_of_the_lesson():
    clip = optim.clip_by_global_norm(0.1)
    flow = ut.train(build(), (X, LABELS), optimizer=optim.sgd(0.5), clip=clip, **SETTINGS).flow
    for row, told in enumerate(by_hand(build(), 3, 0.5, limit=0.1)):
        found = {name: values[row] for name, values in flow.scalars.items()}
        assert found["loss"] == pytest.approx(told["loss"], rel=1e-12)
        assert found["grad_norm"] == pytest.approx(told["norm"], rel=1e-6)  # before clipping
        assert found["clip"] == pytest.approx(told["factor"], rel=1e-6) and found["clip"] < 1
        assert found["rate"] == 0.5
        ratio = [
            np.sqrt(np.mean(u**2)) / np.sqrt(np.mean(W**2)) for u, W in zip(told["update"], told["W"], strict=True)
        ]
        assert flow.stat("ratio")[row] == pytest.approx(ratio, rel=1e-5)


def test_a_training_is_the_same_with_and_without_a_record():
    model = nn.Sequential(nn.Dense(5, 16), nn.BatchNorm(16), "relu", nn.Dropout(0.3), nn.Dense(16, 3))
    settings = {**SETTINGS, "batch_size": 7, "optimizer": "adam", "clip": optim.clip_by_global_norm(0.5)}
    runs = [ut.train(model, (X.astype(np.float32), LABELS), flow=flow, **settings) for flow in (True, False)]
    for first, second in zip(*(nn.parameters_of(run.model).values() for run in runs), strict=True):
        assert np.array_equal(first, second)
    assert [row["loss"] for row in runs[0].history] == [row["loss"] for row in runs[1].history]


def test_shares_of_zeros_and_of_saturated_units():
    model = nn.initialize(nn.Sequential(nn.Dense(5, 400), "relu", nn.Dense(400, 3), "sigmoid"), dtype=np.float64)
    model.layers[2].W[:] *= 40
    settings = {**SETTINGS, "loss": "mean_squared_error", "epochs": 1}
    flow = ut.train(model, (X, np.eye(3)[LABELS]), optimizer=optim.sgd(1e-9), **settings).flow
    h = np.maximum(X @ model.layers[0].W, 0)
    p = 1 / (1 + np.exp(-(h @ model.layers[2].W)))
    assert flow.stat("zeros")[0, 0] == pytest.approx(np.mean(h == 0), rel=1e-6)
    assert flow.stat("saturated")[0, 1] == pytest.approx(np.mean((p < 0.01) | (p > 0.99)), rel=1e-6)
    assert np.isnan(flow.stat("saturated")[0, 0])  # relu has no flat part beside its zeros


def test_each_layer_is_named_with_what_follows_it():
    model = nn.Sequential(
        nn.Dense(5, 8), nn.LayerNorm(8), "gelu", nn.Residual(nn.Dense(8, 8), "tanh"), nn.Dropout(0.1), nn.Dense(8, 3)
    )
    flow = ut.train(model, (X.astype(np.float32), LABELS), **{**SETTINGS, "epochs": 1}).flow
    assert [(x.kind, x.activation, x.within) for x in flow.layers] == [
        ("Dense", None, None), ("LayerNorm", "gelu", None), ("Dense", "tanh", "layers[3]"), ("Residual", None, None),
        ("Dense", None, None),
    ]  # fmt: skip
    assert flow.layers[2].label == "layer 3, Dense(8, 8)"
    assert np.isfinite(flow.stat("delta.rms")).all() and np.isfinite(flow.stat("h.rms")).all()


def test_the_record_has_a_row_for_every_step_and_looks_at_chosen_epochs():
    flow = ut.train(build(), (X, LABELS), **{**SETTINGS, "epochs": 12, "batch_size": 13}).flow
    assert flow.steps.tolist() == list(range(1, 49)) and flow.epochs.tolist() == np.repeat(range(1, 13), 4).tolist()
    assert [look.epoch for look in flow.looks] == [0, 12]
    assert flow.looks[0].loss == pytest.approx(by_hand(build(), 1, 0.1)[0]["loss"], rel=1e-12)
    assert set(flow.names) == set(STATS) and all(flow.stat(name).shape == (48, 2) for name in STATS)


def test_rates_are_those_of_the_schedule():
    schedule = optim.exponential(0.5, 0.1, steps=2)
    flow = ut.train(build(), (X, LABELS), optimizer=optim.sgd(schedule), **{**SETTINGS, "batch_size": 16}).flow
    assert flow.scalars["rate"] == pytest.approx([0.5 * 0.1 ** (step / 2) for step in range(9)], rel=1e-6)


def test_without_a_record_there_is_an_error_that_says_so():
    run = ut.train(build(), (X, LABELS), flow=False, **SETTINGS)
    with pytest.raises(ut.RunError, match="Train with flow=True"):
        _ = run.flow
    with pytest.raises(ut.ArgumentError, match=r"no 'delta.std'.*Did you mean"):
        Flow.empty(()).stat("delta.std")


def test_a_loss_that_asks_for_values_is_recorded_too():
    def loss(p, y):
        error = np.mean((p[:, 0] - y) ** 2)
        return error if error > 1e9 else 2 * error

    settings = {**SETTINGS, "loss": loss, "epochs": 2}
    flow = ut.train(build(), (X, LABELS.astype(float)), **settings).flow
    assert len(flow) == 2 and np.isfinite(flow.stat("dW.rms")).all()


def _lay_out(shown, width):
    from rich.console import Console

    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(shown)
    return console.file.getvalue()


def test_a_narrow_terminal_cuts_no_number_and_no_bar_off():
    model = nn.Sequential(*[x for _ in range(9) for x in (nn.Dense(32, 32), "sigmoid")], nn.Dense(32, 3))
    X, y = np.random.default_rng(0).normal(size=(60, 32)).astype(np.float32), np.arange(60) % 3
    run = ut.train(model, (X, y), loss="categorical_cross_entropy", optimizer=optim.sgd(0.1), epochs=1, progress=False)
    for shown in (run.flow, ut.flow.forecast(model, X)):
        assert "…" not in _lay_out(shown, 80), shown


def test_a_loop_of_ones_own_is_told_factors_and_no_rates():
    """Its rate is not known, so remedies name no rate to set."""
    measured, w = ut.flow.recorded(lambda w, x: np.mean((x @ w - 1) ** 2)), np.full((4, 1), 0.5)
    x = np.random.default_rng(0).normal(size=(50, 4))
    for _ in range(40):
        w = w - 1e-9 * measured(w, x)[1]
    (finding,) = [f for f in measured.findings if f.kind == "step-too-small"]
    assert "At this learning rate" in finding.cause
    remedy = next(x for x in finding.remedies if x.name == "rate")
    assert "times larger" in remedy.sentence and "factor" in remedy.change and not remedy.option


def test_steps_on_batches_of_ones_own_are_recorded():
    """Those of `Trainer.train_on`: their numbers are those of the training by hand; a NaN is traced back, too."""
    settings = {**SETTINGS, "optimizer": optim.sgd(0.1)}
    trainer = Trainer(build(), (X, LABELS), **settings)
    for _ in range(3):
        trainer.train_on(X, LABELS)
    flow = trainer.run.flow
    assert flow.steps.tolist() == [1, 2, 3] and [look.step for look in flow.looks] == [0]
    for i, told in enumerate(by_hand(build(), 3, 0.1)):
        wanted = [math.sqrt(np.mean(delta**2)) for delta in told["delta"]]
        np.testing.assert_allclose(flow.stat("delta.rms")[i], wanted, rtol=1e-5)
        np.testing.assert_allclose(flow.scalars["loss"][i], told["loss"], rtol=1e-6)
    model = nn.Sequential(nn.Dense(5, 7), "tanh", nn.Dense(7, 3, W=np.full((7, 3), 1e308)))
    trainer = Trainer(nn.initialize(model, seed=3, dtype=np.float64), (X, LABELS), **settings)
    with pytest.raises(UndertowError, match=r"train_on: the loss is .* It began here: .*layers\[2"):
        trainer.train_on(X, LABELS)
    assert trainer.run.flow.facts["non_finite"]["step"] == 1
