"""Initialisers: variances, orthogonality, one seed in each dtype; gains against SciPy; starts that look at the data."""

import math

import numpy as np
import pytest

from undertow import nn
from undertow.errors import ArgumentError, DataError, ShapeError
from undertow.nn.gain import GAINS, expected_gain
from undertow.nn.initialisers import default_initialiser, find_initialiser
from undertow.nn.variance_scaling import fans

SHAPE = (120, 80)
KERNEL = (3, 3, 20, 80)


def draw(initialiser, shape=SHAPE, seed=0, dtype=np.float64):
    return initialiser(shape, np.random.default_rng(seed), dtype)


@pytest.mark.parametrize(
    ("initialiser", "variance"),
    [
        (nn.he_normal, 2 / 120),
        (nn.he_uniform, 2 / 120),
        (nn.he_normal(slope=0.5), 2 / 1.25 / 120),
        (nn.he_uniform(slope=0.5), 2 / 1.25 / 120),
        (nn.glorot_normal, 2 / 200),
        (nn.glorot_uniform, 2 / 200),
        (nn.glorot_uniform(gain=5 / 3), (5 / 3) ** 2 * 2 / 200),
        (nn.lecun_normal, 1 / 120),
        (nn.lecun_uniform, 1 / 120),
        (nn.normal, 1e-4),
        (nn.normal(deviation=0.5), 0.25),
        (nn.uniform(limit=0.3), 0.03),
        (nn.truncated_normal(deviation=2.0), 4 * 0.7737413),  # scipy.stats.truncnorm(-2, 2).var()
        (nn.orthogonal, 1 / 120),
        (nn.orthogonal(gain=2.0), 4 / 120),
    ],
    ids=lambda x: getattr(x, "__name__", x),
)
def test_the_variance_is_the_stated_one(initialiser, variance):
    """Of 9600 numbers; a normal variance is known to ±1.4 %, and 5 % is 3.5 deviations."""
    W = draw(initialiser)
    assert W.shape == SHAPE
    assert abs(W.mean()) < 5 * math.sqrt(variance / W.size)
    assert W.var() == pytest.approx(variance, rel=0.05)


@pytest.mark.parametrize(
    ("initialiser", "limit"),
    [
        (nn.he_uniform, math.sqrt(6 / 120)),
        (nn.glorot_uniform, math.sqrt(6 / 200)),
        (nn.lecun_uniform, math.sqrt(3 / 120)),
        (nn.uniform, 0.05),
        (nn.truncated_normal, 0.02),
    ],
    ids=lambda x: getattr(x, "__name__", x),
)
def test_limits_are_reached_and_kept(initialiser, limit):
    assert 0.98 * limit < np.abs(draw(initialiser)).max() <= limit


@pytest.mark.parametrize("name", nn.INITIALISERS)
def test_a_seed_gives_the_same_in_each_dtype_and_another_seed_another(name):
    initialiser = nn.INITIALISERS[name]
    W = draw(initialiser, (20, 30))
    assert W.dtype == np.float64 and W.shape == (20, 30)
    np.testing.assert_array_equal(draw(initialiser, (20, 30), dtype=np.float32), W.astype(np.float32))
    assert draw(initialiser, (20, 30), dtype=np.float32).dtype == np.float32
    if name not in ("zeros", "constant"):
        assert (draw(initialiser, (20, 30), seed=1) != W).any()


def test_constants():
    assert (
        (draw(nn.zeros) == 0).all() and (draw(nn.constant) == 1).all() and (draw(nn.constant(value=-2.5)) == -2.5).all()
    )


def test_fans_of_kernels_and_embeddings():
    """fan_in is the product of all axes but the last."""
    assert fans((64, 10)) == (64, 10)
    assert fans(KERNEL) == (180, 720)
    assert fans((1000, 16)) == (1000, 16)
    assert fans((7,)) == (1, 7)
    assert draw(nn.he_normal, KERNEL).var() == pytest.approx(2 / 180, rel=0.05)
    assert draw(nn.glorot_uniform, KERNEL).var() == pytest.approx(2 / 900, rel=0.05)


@pytest.mark.parametrize("shape", [(6, 6), (9, 4), (4, 9), (3, 2, 5, 4), (2, 2, 3, 20)])
def test_orthogonal_columns_or_rows(shape):
    W = draw(nn.orthogonal(gain=1.5), shape).reshape(-1, shape[-1])
    product = W.T @ W if W.shape[0] >= W.shape[1] else W @ W.T
    np.testing.assert_allclose(product, 1.5**2 * np.eye(len(product)), atol=1e-12)


def test_orthogonal_matrices_are_drawn_evenly():
    """Of 2 by 2: determinant and sign of the first entry are ±1 half of the time. LAPACK alone fixes a sign."""
    rng = np.random.default_rng(0)
    drawn = np.array([nn.orthogonal((2, 2), rng, np.float64) for _ in range(2000)])
    for share in ((np.linalg.det(drawn) > 0).mean(), (drawn[:, 0, 0] > 0).mean(), (drawn[:, 1, 1] > 0).mean()):
        assert abs(share - 0.5) < 0.045  # 4 deviations


def test_delta_orthogonal_keeps_lengths():
    """A circular convolution with such a kernel does not change the norm of an image: written out by shifts."""
    W = draw(nn.delta_orthogonal, (3, 3, 4, 6))
    image = np.random.default_rng(1).standard_normal((8, 8, 4))
    out = sum(np.roll(image, (1 - i, 1 - j), (0, 1)) @ W[i, j] for i in range(3) for j in range(3))
    assert np.linalg.norm(out) == pytest.approx(np.linalg.norm(image), rel=1e-12)
    np.testing.assert_allclose(out, image @ W[1, 1])
    np.testing.assert_array_equal(draw(nn.delta_orthogonal, (5, 3)), draw(nn.orthogonal, (5, 3)))
    with pytest.raises(ShapeError, match=r"\(3, 3, 6, 4\) makes 4 channels of 6"):
        draw(nn.delta_orthogonal, (3, 3, 6, 4))
    with pytest.raises(ShapeError, match="has one axis"):
        draw(nn.orthogonal, (3,))


# Gains


def test_gains_of_the_literature():
    """PyTorch's calculate_gain has the same, but 3/4 for selu."""
    expected = {"identity": 1, "sigmoid": 1, "tanh": 5 / 3, "relu": math.sqrt(2), "selu": 1, None: 1}
    assert {name: nn.gain(name) for name in expected} == pytest.approx(expected)
    assert nn.gain("leaky_relu") == pytest.approx(math.sqrt(2 / (1 + 0.01**2)))
    assert nn.gain(nn.leaky_relu(slope=0.3)) == pytest.approx(math.sqrt(2 / (1 + 0.3**2)))
    assert nn.gain(nn.relu) == nn.gain("relu")


@pytest.mark.parametrize("name", [name for name in nn.ACTIVATIONS if "softmax" not in name])
def test_derived_gains_are_those_of_adaptive_quadrature(name):
    """1/√E[φ²] by SciPy's adaptive rule, in pieces between the corners."""
    integrate = pytest.importorskip("scipy.integrate")
    function = nn.ACTIVATIONS[name]
    density = lambda z: math.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    square, _ = integrate.quad(
        lambda z: float(function(np.float64(z))) ** 2 * density(z), -12, 12, points=[-3, -1, 0, 1, 3, 6], epsabs=1e-12
    )
    assert expected_gain(function) == pytest.approx(1 / math.sqrt(square), rel=1e-6)
    if name not in GAINS:
        assert nn.gain(name) == pytest.approx(1 / math.sqrt(square), rel=1e-6)


@pytest.mark.parametrize("name", ["relu", "leaky_relu", "elu", "gelu", "silu", "mish", "hard_tanh", "selu"])
def test_weights_with_the_gain_keep_the_signal(name):
    """What the next layer gives has the mean square 1 again (1 ± 0.07 for 400 units); without gain ½ and less."""
    rng = np.random.default_rng(0)
    h = nn.ACTIVATIONS[name](rng.standard_normal((100, 400)))
    z = h @ nn.lecun_normal((400, 400), rng, np.float64, gain=nn.gain(name))
    assert np.mean(z**2) == pytest.approx(1, abs=0.25)


def test_a_gain_that_cannot_be():
    with pytest.raises(ArgumentError, match=r"E\[φ\(z\)²\].* is 0"):
        nn.gain(lambda z: 0 * z)
    with pytest.raises(ArgumentError, match="there is no activation 'rleu'"):
        nn.gain("rleu")


def test_the_default_goes_by_the_activation():
    for name in ("relu", "leaky_relu", "relu6", "elu", "celu", "gelu", "silu", "mish", "prelu"):
        assert default_initialiser(name) == "he_normal"
    assert default_initialiser("selu") == default_initialiser("lecun_tanh") == "lecun_normal"
    for name in ("tanh", "sigmoid", "softmax", "identity", None):
        assert default_initialiser(name) == "glorot_uniform"


def test_settings_are_described_and_built_again():
    for initialiser in (nn.orthogonal(gain=1.4), nn.normal(deviation=0.1), nn.constant(value=3.0), nn.he_normal):
        again = nn.build_initialiser(nn.describe_initialiser(initialiser))
        assert again == initialiser
        np.testing.assert_array_equal(draw(again), draw(initialiser))
    assert nn.describe_initialiser(np.zeros) is None
    with pytest.raises(ArgumentError, match="there is no initialiser 'he'"):
        nn.build_initialiser({"name": "he"})
    with pytest.raises(ArgumentError, match="deviation is -1"):
        nn.normal(deviation=-1)
    with pytest.raises(ArgumentError, match="there is no initialiser 'he'"):
        find_initialiser("he")


def test_an_initialiser_with_settings_fills_a_layer():
    model = nn.initialize(nn.Sequential(nn.Dense(8, 8, init=nn.orthogonal(gain=2.0)), "tanh"), seed=3, dtype=np.float64)
    np.testing.assert_allclose(model.layers[0].W.T @ model.layers[0].W, 4 * np.eye(8), atol=1e-12)


# Starts that look at the data

X = np.random.default_rng(5).uniform(2, 4, (300, 6)).astype(np.float32)


def outputs(model, x):
    """What each layer of a plain Sequential gives."""
    for layer in model.layers:
        x = layer(x)
        yield layer, x


def test_lsuv_gives_each_layer_unit_variance():
    """Also for inputs of mean 3 and a sigmoid, where no rule by fan-in does."""
    model = nn.Sequential(nn.Dense(6, 30), "sigmoid", nn.Dense(30, 20), "relu", nn.Dense(20, 3), "softmax")
    found = nn.lsuv(model, X, seed=1)
    for layer, z in outputs(found, X):
        if isinstance(layer, nn.Dense):
            assert z.std() == pytest.approx(1, abs=0.01) and layer.W.dtype == np.float32
            assert type(layer) is nn.Dense
            product = layer.W.T @ layer.W if layer.fan_in >= layer.fan_out else layer.W @ layer.W.T
            np.testing.assert_allclose(product, product[0, 0] * np.eye(len(product)), atol=1e-5 * product[0, 0])
    assert not any(abs(z.std() - 1) < 0.01 for _, z in outputs(nn.initialize(model, 1), X))
    assert model.layers[0].W is None


def test_lsuv_within_blocks_and_what_it_refuses():
    model = nn.Sequential(nn.Dense(6, 8), nn.Residual("relu", nn.Dense(8, 8)), nn.Dense(8, 2))
    found = nn.lsuv(model, X, dtype=np.float64)
    h = found.layers[0](X.astype(np.float64))
    assert h.std() == pytest.approx(1, abs=0.01)
    assert found.layers[1].layers[1](np.maximum(h, 0)).std() == pytest.approx(1, abs=0.01)
    assert found(X.astype(np.float64)).std() == pytest.approx(1, abs=0.01)
    with pytest.raises(ArgumentError, match="has no Dense layer"):
        nn.lsuv(nn.Sequential("relu"), X)
    with pytest.raises(DataError, match=r"layer 1, Dense\(6, 1\), gives the same number for every example"):
        nn.lsuv(nn.Sequential(nn.Dense(6, 1)), np.zeros((5, 6)))


def test_biases_predict_the_frequencies():
    y = np.array([0] * 6 + [1] * 3 + [2])
    b = nn.bias_from_frequencies(y)
    np.testing.assert_allclose(nn.softmax(b), [0.6, 0.3, 0.1])
    np.testing.assert_array_equal(nn.bias_from_frequencies(np.eye(3)[y]), b)
    np.testing.assert_allclose(nn.sigmoid(nn.bias_from_frequencies(y[:9], 1)), [1 / 3])
    rare = nn.bias_from_frequencies([0, 0, 0], 2)  # class 1 counts as half an example
    np.testing.assert_allclose(nn.softmax(rare), [6 / 7, 1 / 7])
    with pytest.raises(DataError, match="the label 2, but the 2 classes are 0 to 1"):
        nn.bias_from_frequencies(y, 2)


def test_a_model_starts_at_the_frequencies():
    """The loss begins at the entropy of the labels, and the other parameters are those of initialize."""
    y = np.array([0] * 60 + [1] * 30 + [2] * 10)
    quiet = nn.Sequential(nn.Dense(6, 8), "relu", nn.Dense(8, 3, init="zeros"))
    model = nn.start_at_frequencies(quiet, y, seed=2, dtype=np.float64)
    entropy = -sum(p * math.log(p) for p in (0.6, 0.3, 0.1))
    assert nn.categorical_cross_entropy_with_logits(model(X[:100]), y) == pytest.approx(entropy, rel=1e-12)
    np.testing.assert_array_equal(model.layers[0].W, nn.initialize(quiet, 2, np.float64).layers[0].W)
    one = nn.start_at_frequencies(nn.Sequential(nn.Dense(6, 1), "sigmoid"), [0, 0, 0, 1])
    np.testing.assert_allclose(one(np.zeros((1, 6), np.float32)), [[0.25]], rtol=1e-6)
    loud = nn.Sequential(nn.Dense(400, 3, init=nn.normal(deviation=5.0)), "softmax")
    small = nn.start_at_frequencies(nn.initialize(loud, 1), y, scale=0.1).layers[0]
    assert np.std(small.W) == pytest.approx(0.1 / 20, rel=0.1)
    np.testing.assert_allclose(nn.softmax(small.b), [0.6, 0.3, 0.1], rtol=1e-6)
    exact = nn.start_at_frequencies(loud, y, dtype=np.float64, scale=0.1).layers[0]
    assert exact.W.dtype == exact.b.dtype == np.float64
    np.testing.assert_allclose(np.exp(exact.b), [0.6, 0.3, 0.1], rtol=1e-15)
    with pytest.raises(ArgumentError, match="does not end in a Dense layer with biases"):
        nn.start_at_frequencies(nn.Sequential(nn.Dense(6, 3, bias=False)), y)
