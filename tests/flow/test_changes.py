"""Changed models compute what they say, keep their widths, and can still be described and saved."""

from dataclasses import dataclass

import numpy as np
import pytest

from undertow import nn
from undertow.errors import ArgumentError
from undertow.flow import changes, widths
from undertow.nn.from_data import start_near
from undertow.train.checkpoint import load
from undertow.train.run import Run

X = np.random.default_rng(0).standard_normal((20, 6)).astype(np.float32)


def deep() -> nn.Sequential:
    return nn.Sequential(
        nn.Dense(6, 8), "sigmoid", nn.Sequential(nn.Dense(8, 8), "sigmoid"), nn.Residual(nn.Dense(8, 8), "sigmoid"),
        nn.Parallel(nn.Sequential(nn.Dense(8, 4), "sigmoid"), nn.Dense(8, 4)), nn.Dense(8, 3), "softmax",
    )  # fmt: skip


def flat() -> nn.Sequential:
    return nn.Sequential(nn.Dense(6, 8), "tanh", nn.Dense(8, 8), "tanh", nn.Dense(8, 3), "tanh")


CHANGED = {
    "activation": lambda: changes.with_activation(deep(), "relu"),
    "activation with settings": lambda: changes.with_activation(deep(), {"name": "leaky_relu", "slope": 0.1}),
    "activation with parameters": lambda: changes.with_activation(deep(), "prelu"),
    "initialisation": lambda: changes.with_initialisation(deep(), {"name": "orthogonal", "gain": 1.4}),
    "gains": lambda: changes.with_gains(nn.Sequential(nn.Dense(6, 3), nn.RMSNorm(3, gain=np.zeros(3, np.float32)))),
    "layer normalisation": lambda: changes.with_normalisation(deep()),
    "batch normalisation": lambda: changes.with_normalisation(deep(), "batch"),
    "residual": lambda: changes.with_residuals(flat()),
    "end": lambda: changes.with_end(deep(), None),
    "dropout": lambda: changes.with_dropout(deep(), 0.3),
    "width": lambda: widths.with_width(flat(), 32),
    "start": lambda: start_near(flat(), np.zeros(3)),
}


@pytest.mark.parametrize("name", CHANGED)
def test_a_changed_model_gives_the_same_shape_and_can_be_saved(name, tmp_path):
    model = nn.initialize(CHANGED[name](), seed=1)
    outputs = model(X)
    assert outputs.shape == (20, 3) and outputs.dtype == np.float32 and np.isfinite(outputs).all()
    again = load(Run(model, settings={"loss": "huber", "dtype": "float32"}).save(tmp_path / "run"))
    np.testing.assert_array_equal(again.model(X), outputs)
    assert nn.describe_model(again.model) == nn.describe_model(model)


def test_the_model_that_is_changed_stays_as_it_is():
    model = deep()
    before = nn.describe_model(model)
    for change in (changes.cleared, changes.with_normalisation, changes.with_dropout, changes.with_initialisation):
        change(model)
    changes.with_activation(model, "relu")
    assert nn.describe_model(model) == before


def test_every_hidden_activation_changes_and_the_last_one_stays():
    model = changes.with_activation(deep(), "relu")
    assert model.layers[1] is nn.relu and model.layers[2].layers[1] is nn.relu and model.layers[3].layers[1] is nn.relu
    assert model.layers[4].layers[0].layers[1] is nn.relu and model.layers[6] is nn.softmax


def test_one_activation_is_chosen_by_its_name_or_its_place():
    model = nn.Sequential(nn.Dense(6, 8), "sigmoid", nn.Dense(8, 8), "tanh", nn.Dense(8, 3))
    by_name = changes.with_activation(model, "relu", of="tanh")
    by_place = changes.with_activation(model, "relu", paths=["layers[2]"])  # the layer before it
    for made in (by_name, by_place):
        assert made.layers[1] is nn.sigmoid and made.layers[3] is nn.relu


def test_numpys_own_tanh_is_an_activation_too():
    assert changes.with_activation(nn.Sequential(nn.Dense(6, 8), np.tanh, nn.Dense(8, 3)), "relu").layers[1] is nn.relu


def test_weights_follow_the_new_activation():
    model = nn.initialize(changes.with_activation(nn.Sequential(nn.Dense(400, 400), "tanh", nn.Dense(400, 2)), "relu"))
    assert np.std(model.layers[0].W) == pytest.approx(np.sqrt(2 / 400), rel=0.02)  # He; Glorot's would be half of it


def test_residual_blocks_add_what_comes_in():
    model = changes.with_residuals(nn.Sequential(nn.Dense(6, 6), "tanh", nn.Dense(6, 6), "relu", nn.Dense(6, 2)))
    filled = nn.initialize(model)
    h = X
    for block, f in zip(filled.layers[:2], (np.tanh, lambda z: np.maximum(z, 0)), strict=True):
        dense = block.layers[0]
        h = h + np.float32(2**-0.5) * f(h @ dense.W + dense.b)
    np.testing.assert_allclose(filled(X), h @ filled.layers[2].W + filled.layers[2].b, rtol=1e-5, atol=1e-6)


def test_blocks_within_blocks_stay():
    with pytest.raises(ArgumentError, match="no layer of equal width"):
        changes.with_residuals(nn.Sequential(nn.Residual(nn.Dense(6, 6), "tanh"), nn.Dense(6, 2)))


def test_normalisation_stands_before_each_hidden_activation():
    model = changes.with_normalisation(flat(), "rms")
    assert nn.describe_model(model)[1]["layer"] == "RMSNorm" and nn.describe_model(model)[4]["layer"] == "RMSNorm"
    assert len(model.layers) == 8  # none before the last tanh
    z = nn.initialize(model).layers[1](nn.initialize(model).layers[0](X))
    np.testing.assert_allclose(np.mean(z**2, axis=1), 1, rtol=1e-3)


def test_behind_layers_of_ones_own_alone_what_comes_into_the_output_is_normalised():
    @dataclass
    class Own:
        W: np.ndarray

        def __call__(self, x):
            return x @ self.W

    own, end = Own(100 * np.ones((6, 8), np.float32)), nn.Dense(8, 3, W=np.ones((8, 3)), b=np.zeros(3))
    made = changes.with_normalisation(nn.Sequential(own, end), "rms")
    h = nn.initialize(nn.Sequential(*made.layers[:2]), 0)(X)
    assert np.sqrt(np.mean(h * h, axis=1)) == pytest.approx(1, rel=1e-3) and made.layers[2] is end
    assert [type(x) for x in changes.with_normalisation(made).layers] == [Own, nn.LayerNorm, nn.Dense]
    for model in (nn.Sequential(nn.Flatten(), end), nn.Sequential(nn.Embedding(9, 8), end)):
        with pytest.raises(ArgumentError, match="no place for it"):
            changes.with_normalisation(model)


def test_one_normalisation_takes_the_place_of_another_or_goes():
    model = nn.Sequential(nn.Dense(6, 8), nn.BatchNorm(8), "relu", nn.Dense(8, 3))
    assert repr(changes.with_normalisation(model, "layer").layers[1]) == "LayerNorm(8)"
    assert len(changes.with_normalisation(model, None).layers) == 3


def test_a_model_begins_at_the_frequencies_of_its_classes():
    y = np.array([0] * 10 + [1] * 6 + [2] * 4)
    model = nn.initialize(
        start_near(nn.Sequential(nn.Dense(6, 8), "relu", nn.Dense(8, 3)), np.log(np.bincount(y) / 20))
    )
    p = nn.softmax(model(X)).mean(axis=0)
    np.testing.assert_allclose(p, [0.5, 0.3, 0.2], atol=0.05)


def test_a_bottleneck_is_widened_and_what_fits_keeps_its_parameters():
    model = nn.initialize(
        nn.Sequential(nn.Dense(6, 32), "tanh", nn.Dense(32, 1), nn.LayerNorm(1), "tanh", nn.Dense(1, 3))
    )
    made = widths.with_width(model, 16)
    assert made.layers[0].W is model.layers[0].W and made.layers[2].W is None
    assert [layer.fan_out for layer in made.layers if isinstance(layer, nn.Dense)] == [32, 16, 3]
    assert made.layers[3].size == 16 and nn.initialize(made)(X).shape == (20, 3)


def test_initialisation_drops_what_was_set_by_hand():
    model = nn.Sequential(nn.Dense(6, 8, b=np.full(8, -50.0)), "relu", nn.Dense(8, 3, b=np.ones(3)))
    made = changes.with_initialisation(model, "auto", paths=["layers[0]"])
    assert made.layers[0].b is None and made.layers[2].b is model.layers[2].b


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda: changes.with_activation(nn.Sequential(nn.Dense(6, 3), "softmax"), "relu"), "no hidden activation"),
        (lambda: changes.with_activation(deep(), "rleu"), "no activation 'rleu'"),
        (lambda: changes.with_normalisation(deep(), "group"), "no normalisation 'group'"),
        (lambda: changes.with_normalisation(nn.Sequential(nn.Dense(6, 3))), "no place for it"),
        (lambda: changes.with_end(nn.Dense(6, 3), None), "no Sequential"),
        (lambda: widths.with_width(deep(), 16), "more than dense layers"),
        (lambda: widths.with_width(flat(), 4), "fewer than 4"),
        (lambda: start_near(flat(), np.zeros(5)), "bias for each output"),
        (lambda: changes.with_initialisation(nn.Sequential("relu")), "no dense layer"),
    ],
)
def test_what_cannot_be_changed_is_told(change, message):
    with pytest.raises(ArgumentError, match=message):
        change()


def test_a_branch_that_is_an_activation_or_a_dense_layer_is_changed_too():
    model = nn.Sequential(nn.Parallel("sigmoid", nn.Dense(6, 6, init="zeros")), nn.Dense(12, 3))
    assert repr(changes.with_activation(model, "relu").layers[0]) == "Parallel(relu, Dense(6, 6))"
    assert changes.with_initialisation(model, "he_normal").layers[0].layers[1].init == "he_normal"
    assert "Sequential(sigmoid, Dropout(rate=0.5))" in repr(changes.with_dropout(model, 0.5))
