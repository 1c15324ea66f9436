"""Layers compute z = x W + b, say early which of them do not fit, and are filled by the right rule."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import undertow as ut
from undertow import nn, trees
from undertow.differentiate import value_and_grad
from undertow.errors import ArgumentError, DTypeError, ShapeError


def rng():
    return np.random.default_rng(0)


def model_of_the_readme():
    return nn.Sequential(nn.Dense(64, 128), nn.relu, nn.Residual(nn.Dense(128, 128), nn.tanh), nn.Dense(128, 10))


def test_a_model_computes_what_its_formula_says():
    """The README's model is x W + b, relu, h + tanh(h W + b), h W + b, written out by hand."""
    model = nn.initialize(model_of_the_readme(), seed=1)
    x = rng().standard_normal((5, 64)).astype(np.float32)
    a, _, block, c = model.layers
    h = np.maximum(x @ a.W + a.b, 0)
    h = h + np.tanh(h @ block.layers[0].W + block.layers[0].b)
    wanted = h @ c.W + c.b
    z = model(x)
    assert z.dtype == np.float32
    np.testing.assert_array_equal(z, wanted)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: nn.Sequential(nn.Dense(64, 128), nn.relu, nn.Dense(64, 10)),
            "layer 1, Dense(64, 128), gives 128 columns, but layer 2, Dense(64, 10), takes 64. Make it Dense(128, 10).",
        ),
        (lambda: nn.Sequential(nn.Dense(4, 8), nn.Residual(nn.Dense(9, 9))), "layer 2, Dense(9, 9), takes 9"),
        (lambda: nn.Residual(nn.Dense(8, 4)), "takes 8 columns and gives 4"),
        (lambda: nn.Sequential(nn.Residual(nn.tanh), nn.Dense(4, 2), nn.Dense(3, 1)), "Make it Dense(2, 1)."),
    ],
)
def test_layers_that_do_not_fit_are_named_when_the_model_is_made(make, message):
    """A wrong width is found before any data is there, and the message names both layers and the remedy."""
    with pytest.raises(ShapeError) as caught:
        make()
    assert message in str(caught.value)


def test_an_input_of_the_wrong_width_names_the_layer_by_its_number():
    """Inside containers the layer is counted among all layers that hold parameters."""
    model = nn.initialize(
        nn.Sequential(nn.Dense(4, 8), nn.Residual(nn.Dense(8, 8)), lambda h: h[:, :6], nn.Dense(8, 2))
    )
    with pytest.raises(ShapeError, match=r"^layer 1, Dense\(4, 8\): x is \(3, 5\)"):
        model(np.ones((3, 5), np.float32))
    with pytest.raises(ShapeError, match=r"^layer 3, Dense\(8, 2\): x is \(3, 6\)\. .*or use Dense\(6, 2\)\."):
        model(np.ones((3, 4), np.float32))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.Dense(0, 3), "whole numbers"),
        (lambda: nn.Dense(2.0, 3), "whole numbers"),
        (lambda: nn.Dense(2, 3, init="he"), "no initialiser 'he'"),
        (lambda: nn.Dense(2, 3, init=3), "init is 3"),
        (lambda: nn.Sequential(nn.Dense(2, 3), "rleu"), "no activation 'rleu'"),
        (lambda: nn.Sequential(nn.Dense(2, 3), 4), "4 is no layer"),
        (lambda: nn.Sequential(nn.Dense(2, 3), nn.leaky_relu(0.2)), r"0\.2 is no layer\. .*leaky_relu\(slope=0\.1\)"),
        (
            lambda: nn.Dense(2, 3, init=nn.normal(0.1)),
            r"normal: settings are given by name\. Use normal\(deviation=0\.1\)",
        ),
        (
            lambda: nn.LayerNorm((3, 4)),
            r"size is a number of columns\. .*\(Flatten\(\), LayerNorm\(12\), Reshape",
        ),
        (lambda: nn.RMSNorm("3"), r"size must be a whole number"),
        (lambda: nn.Sequential(nn.Dense), "is no layer"),
        (lambda: nn.Dense(2, 3)(np.ones((1, 2))), "no weights yet"),
    ],
)
def test_wrong_arguments_are_refused(make, message):
    """Each wrong argument is an ArgumentError that says which."""
    with pytest.raises(ArgumentError, match=message):
        make()


def test_initialize_fills_only_what_is_missing_and_leaves_the_caller_alone():
    """Given arrays stay the same objects, the caller's model stays empty, other layers draw as they would."""
    W = np.ones((2, 3), np.float32)
    empty = nn.Sequential(nn.Dense(2, 3, W=W), nn.relu, nn.Dense(3, 1))
    filled = nn.initialize(empty, seed=5)
    other = nn.initialize(nn.Sequential(nn.Dense(2, 3), nn.relu, nn.Dense(3, 1)), seed=5)
    assert filled.layers[0].W is W and empty.layers[2].W is None
    np.testing.assert_array_equal(filled.layers[2].W, other.layers[2].W)
    assert not nn.is_initialized(empty) and nn.is_initialized(filled)
    assert np.array_equal(nn.initialize(empty, seed=5).layers[2].W, filled.layers[2].W)
    assert not np.array_equal(nn.initialize(empty, seed=6).layers[2].W, filled.layers[2].W)


@pytest.mark.parametrize(
    ("follows", "variance"), [("relu", 2 / 300), ("tanh", 2 / 500), ("softmax", 2 / 500), (None, 2 / 500)]
)
def test_the_initial_variance_is_that_of_the_paper(follows, variance):
    """He's 2/fan_in before relu, Glorot's 2/(fan_in + fan_out) before all others, within 3 %."""
    model = nn.initialize(nn.Sequential(nn.Dense(300, 200), *([follows] if follows else [])), seed=0)
    assert np.var(model.layers[0].W, dtype=np.float64) == pytest.approx(variance, rel=0.03)
    assert not model.layers[0].b.any()


def test_a_relu_after_a_block_decides_for_its_last_layer():
    """The activation after a Residual is the one that follows the last layer inside it."""
    model = nn.initialize(nn.Sequential(nn.Residual(nn.Dense(400, 400)), nn.relu), seed=0)
    assert np.var(model.layers[0].layers[0].W) == pytest.approx(2 / 400, rel=0.03)


@pytest.mark.parametrize("name", list(nn.INITIALISERS))
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_initialisers_obey_shape_dtype_and_seed(name, dtype):
    """Each gives the shape and dtype asked for, the same from the same generator, and is accepted by name."""
    W = nn.INITIALISERS[name]((3, 4), rng(), dtype)
    assert W.shape == (3, 4) and W.dtype == dtype
    np.testing.assert_array_equal(W, nn.INITIALISERS[name]((3, 4), rng(), dtype))
    assert nn.initialize(nn.Dense(3, 4, init=name), 0, dtype).W.dtype == dtype


@pytest.mark.parametrize(("uniform", "variance"), [(nn.he_uniform, 2 / 300), (nn.glorot_uniform, 2 / 500)])
def test_uniform_initialisers_have_the_same_variance_as_the_normal_ones(uniform, variance):
    """A uniform distribution in ±limit has variance limit²/3."""
    assert np.var(uniform((300, 200), rng(), np.float64)) == pytest.approx(variance, rel=0.03)


def test_initialize_refuses_what_it_cannot_do():
    """Integer parameters, negative seeds and initialisers of the wrong shape are errors of ours."""
    with pytest.raises(DTypeError, match="int64"):
        nn.initialize(nn.Dense(2, 3), 0, np.int64)
    with pytest.raises(ArgumentError, match="seed"):
        nn.initialize(nn.Dense(2, 3), -1)
    with pytest.raises(ArgumentError, match=r"returned \(2,\)"):
        nn.initialize(nn.Dense(2, 3, init=lambda shape, rng, dtype: np.ones(2)))


@dataclass
class Scaled:
    inner: Any
    gain: Any

    def __call__(self, x):
        return self.gain * self.inner(x)


def test_a_layer_of_the_users_own_is_a_parameter_tree_too():
    """A dataclass with a Dense inside is filled, called, and differentiated like any other layer."""
    model = nn.initialize(nn.Sequential(Scaled(nn.Dense(3, 2), np.float32(2.0)), nn.tanh), seed=0)
    x = np.ones((4, 3), np.float32)
    value, grads = value_and_grad(lambda model: np.sum(model(x)))(model)
    W = model.layers[0].inner.W
    h = np.tanh(2 * (x @ W))
    np.testing.assert_allclose(grads.layers[0].inner.b, 2 * np.sum(1 - h * h, axis=0), rtol=1e-5)
    assert value == pytest.approx(h.sum(), rel=1e-5)


def test_a_model_is_a_tree_with_readable_paths():
    """Leaves are reached as Python would reach them, and rebuilding gives the same function."""
    model = nn.initialize(nn.Sequential(nn.Dense(2, 3), nn.relu, nn.Residual(nn.Dense(3, 3))))
    leaves, rebuild = trees.flatten(model)
    names = [path.lstrip(".") for path, leaf in zip(trees.paths(model), leaves, strict=True) if not callable(leaf)]
    assert names == ["layers[0].W", "layers[0].b", "layers[2].layers[0].W", "layers[2].layers[0].b"]
    x = np.ones((2, 2), np.float32)
    np.testing.assert_array_equal(rebuild(leaves)(x), model(x))


def test_a_description_builds_the_same_model_again():
    """What is saved of a model's structure is plain data and gives the same structure."""
    model = nn.Sequential(
        nn.Dense(4, 8, init=nn.zeros),
        "relu",
        nn.Residual(nn.Dense(8, 8, bias=False), "tanh"),
        nn.Sequential(nn.Dense(8, 2)),
    )
    again = nn.build_model(nn.describe_model(model))
    assert repr(again) == repr(model)
    assert nn.describe_model(again) == nn.describe_model(model)
    assert again.layers[0].init == "zeros" and not again.layers[2].layers[0].bias


@pytest.mark.parametrize(
    "description",
    [
        None,
        [3],
        [{"layer": "Dens"}],
        [{"layer": "Dense", "fan_in": 2}],
        [{"layer": "Dense", "fan_in": "2", "fan_out": 3}],
        [{"layer": "Dense", "fan_in": 2, "fan_out": 3, "bias": 1}],
        [{"layer": "Dense", "fan_in": 2, "fan_out": 3, "W": []}],
        [{"layer": "Residual", "layers": 3}],
        [{"layer": "Residual", "layers": [{"layer": "no"}]}],
        [{"layer": "relu", "x": 1}],
    ],
)
def test_a_damaged_description_is_an_argument_error(description):
    """Nothing in a file can lead to anything but an error of ours."""
    with pytest.raises(ArgumentError):
        nn.build_model(description)


def test_a_layer_of_the_users_own_cannot_be_described():
    """Code is never saved; the message says so and names the layer."""
    with pytest.raises(ArgumentError, match=r"\(<lambda>\) cannot be saved"):
        nn.describe_model(nn.Sequential(nn.Dense(2, 3), lambda h: h))
    with pytest.raises(ArgumentError, match=r"\(Scaled\) cannot be saved"):
        nn.describe_model(nn.Sequential(Scaled(nn.Dense(2, 3), 1.0)))


@pytest.mark.parametrize(
    ("model", "end"),
    [
        (nn.Sequential(nn.Dense(2, 3), "softmax"), "softmax"),
        (nn.Sequential(nn.Sequential(nn.Dense(2, 3), "sigmoid"), "identity"), "sigmoid"),
        (nn.Sequential(nn.Dense(2, 3)), None),
        (nn.Dense(2, 3), None),
        (nn.Sequential(nn.Dense(3, 3), nn.Residual(nn.Dense(3, 3), "softmax")), None),
    ],
)
def test_the_last_activation_is_found(model, end):
    """Nested containers are opened, an identity at the end is passed over, a residual sum is no softmax."""
    assert nn.final_activation(model) == end


@pytest.mark.parametrize("name", list(nn.ACTIVATIONS))
def test_activations_keep_shape_and_dtype_and_survive_extremes(name):
    """float32 stays float32, and nothing overflows at ±1000."""
    z = np.array([[-1000.0, 0.0, 3.0], [1000.0, -3.0, 0.5]], np.float32)
    with np.errstate(over="raise", invalid="raise"):
        h = nn.ACTIVATIONS[name](z)
    assert h.shape == z.shape and h.dtype == np.float32 and np.isfinite(h).all()


def test_activations_agree_with_torch():
    """Each activation is the function that PyTorch calls by its name."""
    torch = pytest.importorskip("torch")
    z = rng().standard_normal((4, 5))
    for name in ("relu", "tanh", "sigmoid"):
        np.testing.assert_allclose(nn.ACTIVATIONS[name](z), getattr(torch, name)(torch.tensor(z)).numpy(), rtol=1e-12)
    np.testing.assert_allclose(nn.softmax(z, axis=0), torch.softmax(torch.tensor(z), 0).numpy(), rtol=1e-12)


def test_sizes_of_numpys_are_whole_numbers_too(tmp_path):
    """As they come of ``y.max() + 1``."""
    y = np.array([0, 1, 2] * 10)
    model = ut.nn.Sequential(
        ut.nn.Dense(np.int32(4), np.int64(5)), ut.nn.LayerNorm(np.int64(5)), ut.nn.Dense(5, y.max() + 1)
    )
    assert {type(x) for layer in (model.layers[0], model.layers[2]) for x in (layer.fan_in, layer.fan_out)} == {int}
    run = ut.train(model, (np.ones((30, 4)), y), loss="categorical_cross_entropy", epochs=1, progress=False)
    run.save(tmp_path / "run")
    assert repr(ut.load(tmp_path / "run").model) == "Sequential(Dense(4, 5), LayerNorm(5), Dense(5, 3))"
    with pytest.raises(ut.ArgumentError, match="whole numbers of 1 or more"):
        ut.nn.Dense(np.int64(0), 3)
