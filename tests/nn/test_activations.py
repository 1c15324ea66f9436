"""Activations against formulas of SciPy and against PyTorch; corners, far numbers, compiled programs, settings."""

import math

import numpy as np
import pytest

import undertow as ut
from undertow import nn, primitives
from undertow.errors import ArgumentError, DTypeError, ShapeError
from undertow.nn.activations import SAME_FUNCTIONS, build_activation, describe_activation, name_activation

special = pytest.importorskip("scipy.special")

SELU = 1.0507009873554805, 1.6732632423543773

# What each is, written in other functions than ours: erf, expit and logsumexp are SciPy's.
FORMULAS = {
    "identity": lambda z: z,
    "relu": lambda z: (z > 0) * z,
    "leaky_relu": lambda z: np.maximum(z, 0.01 * z),
    "relu6": lambda z: np.minimum(np.maximum(z, 0), 6),
    "elu": lambda z: np.maximum(z, 0) + np.minimum(np.expm1(np.minimum(z, 0)), 0),
    "selu": lambda z: SELU[0] * (np.maximum(z, 0) + SELU[1] * np.expm1(np.minimum(z, 0))),
    "celu": lambda z: np.maximum(z, 0) + np.expm1(np.minimum(z, 0)),
    "gelu": lambda z: 0.5 * z * (1 + special.erf(z / math.sqrt(2))),
    "silu": lambda z: z * special.expit(z),
    "mish": lambda z: z * np.tanh(-special.log_expit(-z)),
    "softplus": lambda z: -special.log_expit(-z),
    "tanh": lambda z: 2 * special.expit(2 * z) - 1,
    "lecun_tanh": lambda z: 1.7159 * (2 * special.expit(4 * z / 3) - 1),
    "hard_tanh": lambda z: np.sign(z) * np.minimum(abs(z), 1),
    "softsign": lambda z: z / (1 + abs(z)),
    "sigmoid": special.expit,
    "hard_sigmoid": lambda z: np.minimum(np.maximum(z / 6 + 0.5, 0), 1),
    "softmax": lambda z: special.softmax(z, axis=-1),
    "log_softmax": lambda z: special.log_softmax(z, axis=-1),
}
# With settings: (activation, formula).
SETTINGS = {
    "leaky_relu": (nn.leaky_relu(slope=0.2), lambda z: np.maximum(z, 0.2 * z)),
    "elu": (nn.elu(alpha=0.5), lambda z: np.maximum(z, 0) + 0.5 * np.expm1(np.minimum(z, 0))),
    "celu": (nn.celu(alpha=2.0), lambda z: np.maximum(z, 0) + 2 * np.expm1(np.minimum(z, 0) / 2)),
    "gelu": (
        nn.gelu(approximate="tanh"),
        lambda z: z * special.expit(2 * math.sqrt(2 / math.pi) * (z + 0.044715 * z**3)),
    ),
}
ALL = [
    *((name, nn.ACTIVATIONS[name], FORMULAS[name]) for name in FORMULAS),
    *((repr(activation), activation, formula) for activation, formula in SETTINGS.values()),
]
Z = np.random.default_rng(0).standard_normal((7, 5)) * 3
each = pytest.mark.parametrize(("name", "activation", "formula"), ALL, ids=[name for name, *_ in ALL])


def gradient(activation, z):
    """The slope at each element: of the sum for what is element-wise."""
    return ut.grad(lambda z: np.sum(activation(z)))(np.asarray(z))


def test_every_activation_has_a_formula_here():
    assert set(FORMULAS) == set(nn.ACTIVATIONS)


@each
def test_values_are_those_of_the_formula(name, activation, formula):
    np.testing.assert_allclose(activation(Z), formula(Z), rtol=1e-13, atol=1e-15)


@each
def test_gradients_are_those_of_difference_quotients(name, activation, formula):
    weights = np.random.default_rng(1).standard_normal(Z.shape)  # else the slope of a softmax's sum is 0
    ut.check_gradient(lambda z: np.sum(weights * activation(z)), Z)
    h = 1e-6
    step = np.zeros_like(Z)
    step[2, 3] = h
    numeric = np.sum(weights * (formula(Z + step) - formula(Z - step))) / (2 * h)
    exact = ut.grad(lambda z: np.sum(weights * activation(z)))(Z)[2, 3]
    assert exact == pytest.approx(numeric, rel=1e-6, abs=1e-9)


@each
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_far_numbers_overflow_nowhere_and_the_dtype_stays(name, activation, formula, dtype):
    """At ±1e4 and 0 there is no warning, all is finite, and value and gradient keep the dtype."""
    z = np.array([[-1e4, -100.0, -1.5, 0.0, 1.5, 100.0, 1e4]], dtype)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        h = activation(z)
        dz = gradient(activation, z)
    assert h.dtype == dz.dtype == dtype
    assert np.isfinite(h).all() and np.isfinite(dz).all()
    with np.errstate(all="ignore"):
        wanted = formula(z.astype(np.float64))
    np.testing.assert_allclose(h, wanted, rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("activation", "at", "slope"),
    [
        (nn.relu, 0, 0),
        (nn.leaky_relu, 0, 0.01),
        (nn.leaky_relu(slope=0.0), 0, 0),
        (nn.relu6, [0, 3, 6], [0, 1, 0]),
        (nn.hard_tanh, [-1, 0, 1], [0, 1, 0]),
        (nn.hard_sigmoid, [-3, 0, 3], [0, 1 / 6, 0]),
        (nn.elu, 0, 1),
        (nn.elu(alpha=0.5), 0, 0.5),
        (nn.elu(alpha=2.0), 0, 1),
        (nn.celu(alpha=0.5), 0, 1),
        (nn.celu(alpha=3.0), 0, 1),
        (nn.selu, 0, SELU[0]),
        (nn.softsign, 0, 1),
        (nn.gelu, 0, 0.5),
        (nn.silu, 0, 0.5),
        (nn.mish, 0, 0.6),
        (nn.softplus, 0, 0.5),
        (nn.lecun_tanh, 0, 1.7159 * 2 / 3),
    ],
)
def test_the_slope_at_a_corner_is_the_least(activation, at, slope):
    """Where left and right differ it is the one of less size, 0 if they differ in sign or one is 0."""
    np.testing.assert_allclose(gradient(activation, np.asarray(at, float)), slope, rtol=1e-12)


@each
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_compiled_is_what_numpy_computes(name, activation, formula, dtype):
    """Value and gradient compile without NumPy's help, to a few units in the last place."""
    z = np.concatenate([Z, [[-1e4, -30, 0, 30, 1e4]]]).astype(dtype)
    weights = np.random.default_rng(1).standard_normal(z.shape).astype(dtype)

    def weighed(z, weights):
        return np.sum(weights * activation(z))

    rtol = 64 * np.finfo(dtype).eps
    if name == "identity":
        return
    np.testing.assert_allclose(ut.compile(lambda z: activation(z))(z), activation(z), rtol=rtol, atol=rtol)
    compiled = ut.compile(lambda z, weights: ut.grad(weighed)(z, weights))(z, weights)
    assert compiled.dtype == dtype
    np.testing.assert_allclose(compiled, ut.grad(weighed)(z, weights), rtol=rtol, atol=rtol)


@pytest.mark.parametrize("name", [name for name in FORMULAS if name not in ("identity", "lecun_tanh")])
def test_values_and_gradients_are_those_of_torch(name):
    torch = pytest.importorskip("torch")
    F = torch.nn.functional
    function = {
        "hard_tanh": F.hardtanh, "hard_sigmoid": F.hardsigmoid, "softmax": lambda z: F.softmax(z, 1),
        "log_softmax": lambda z: F.log_softmax(z, 1), "tanh": torch.tanh, "sigmoid": torch.sigmoid,
    }.get(name) or getattr(F, name)  # fmt: skip
    z = torch.tensor(Z, requires_grad=True)
    weights = np.random.default_rng(1).standard_normal(Z.shape)
    h = function(z)
    (h * torch.tensor(weights)).sum().backward()
    np.testing.assert_allclose(nn.ACTIVATIONS[name](Z), h.detach().numpy(), rtol=1e-12, atol=1e-14)
    found = ut.grad(lambda z: np.sum(weights * nn.ACTIVATIONS[name](z)))(Z)
    rtol = 1e-7 if name == "hard_sigmoid" else 1e-10  # PyTorch's backward pass has 1/6 in float32
    np.testing.assert_allclose(found, z.grad.numpy(), rtol=rtol, atol=1e-13)


def test_gelu_keeps_the_digits_of_its_left_tail():
    """1 + erf would lose them: Φ(−10) is 7.6e−24, which is below the rounding of 1."""
    assert nn.gelu(np.array(-10.0)) == pytest.approx(-10 * special.ndtr(-10.0), rel=1e-13)


def test_the_normal_distribution_function_is_that_of_scipy():
    """To a few units in the last place wherever it is a normal number, in both dtypes; ends and NaN too."""
    x = np.linspace(-37, 9, 5001)
    cdf = lambda x: primitives.normal_cdf.forward(x)
    np.testing.assert_allclose(cdf(x), special.ndtr(x), rtol=1e-13)
    np.testing.assert_allclose(cdf(x)[abs(x) < 6], special.ndtr(x)[abs(x) < 6], rtol=4e-15)
    single = np.linspace(-12, 9, 1001, dtype=np.float32)
    np.testing.assert_allclose(cdf(single), special.ndtr(single.astype(float)), rtol=1e-7)
    np.testing.assert_array_equal(cdf(np.array([-np.inf, 0, np.inf, np.nan])), [0, 0.5, 1, np.nan])
    with pytest.raises(DTypeError, match="Give real numbers"):
        cdf(1j)


def test_the_source_of_gelu_runs_without_us():
    """The emitted backward pass holds the normal distribution function itself."""
    program = ut.backprop(lambda z: np.sum(nn.gelu(z)), Z)
    assert "def normal_cdf(x)" in program.source
    value, cache = program.forward(Z)
    assert value == pytest.approx(FORMULAS["gelu"](Z).sum())
    np.testing.assert_allclose(program.backward(cache), gradient(nn.gelu, Z), rtol=1e-12)


# Settings as plain data


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_are_described_and_built_again(name):
    activation, _ = SETTINGS[name]
    record = describe_activation(activation)
    assert record["name"] == name and len(record) == 2
    again = build_activation(record)
    assert again == activation and hash(again) == hash(activation) and again is not activation
    np.testing.assert_array_equal(again(Z), activation(Z))
    assert name_activation(activation) == name


def test_an_activation_without_settings_is_the_function():
    assert build_activation({"name": "leaky_relu"}) is nn.leaky_relu is nn.leaky_relu()
    assert describe_activation(nn.tanh) == {"name": "tanh"}
    assert describe_activation(np.tanh) is None
    np.testing.assert_array_equal(nn.leaky_relu(Z, slope=0.2), SETTINGS["leaky_relu"][0](Z))
    np.testing.assert_array_equal(nn.leaky_relu(z=Z), nn.leaky_relu(Z))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.leaky_relu(slope=-1), r"leaky_relu: slope is -1. Give a number from 0 to 1."),
        (lambda: nn.leaky_relu(Z, slope=2), "slope is 2"),
        (lambda: nn.elu(alpha=0), "Give a number above 0"),
        (lambda: nn.elu(alpha=math.nan), "alpha is nan"),
        (lambda: nn.gelu(approximate="erf"), "Give 'none' or 'tanh'"),
        (lambda: nn.celu(beta=1), r"celu has no setting 'beta'. It has alpha."),
        (lambda: nn.leaky_relu(negative_slope=0.1), r"no setting 'negative_slope'\. Use slope\."),
        (lambda: build_activation({"name": "rleu"}), "there is no activation 'rleu'"),
        (lambda: build_activation({"name": "relu", "slope": 1}), "relu has no setting 'slope'"),
        (lambda: build_activation("relu"), "expected a record"),
    ],
)
def test_wrong_settings_are_refused(make, message):
    with pytest.raises(ArgumentError, match=message):
        make()


def test_an_activation_with_settings_is_a_layer():
    """It is shown by its settings, trained past, and holds no parameter."""
    model = nn.Sequential(nn.Dense(3, 4), nn.leaky_relu(slope=0.2), nn.Dense(4, 1))
    assert repr(model) == "Sequential(Dense(3, 4), leaky_relu(slope=0.2), Dense(4, 1))"
    X = np.random.default_rng(0).standard_normal((64, 3)).astype(np.float32)
    y = np.maximum(X[:, :1], 0.2 * X[:, :1])
    run = ut.train(
        model,
        (X, y),
        loss="mean_squared_error",
        optimizer=ut.optim.adam(0.05),
        epochs=30,
        batch_size=16,
        progress=False,
    )
    assert run.history[-1]["loss"] < 0.5 * run.history[0]["loss"]
    assert run.model.layers[1] == model.layers[1]


def test_public_functions_of_the_same_name_are_these_layers():
    for function, activation in SAME_FUNCTIONS:
        assert nn.Sequential(function).layers[0] is activation


# PReLU


def test_prelu_is_trained_by_its_slope():
    """h and both gradients are those of the definition; at z = 0 nothing flows to the slope."""
    slope = np.array([0.25, 0.5, -0.1, 0.0, 2.0])
    weights = np.random.default_rng(1).standard_normal(Z.shape)
    layer = nn.PReLU(5, slope=slope)
    z = Z.copy()
    z[0] = 0
    np.testing.assert_allclose(layer(z), np.where(z > 0, z, slope * z))
    d = ut.grad(lambda layer: np.sum(weights * layer(z)))(layer)
    np.testing.assert_allclose(d.slope, np.sum(weights * np.minimum(z, 0), axis=0))
    dz = ut.grad(lambda z: np.sum(weights * layer(z)))(z)
    np.testing.assert_allclose(dz, weights * np.where(z > 0, 1, slope))
    assert nn.initialize(nn.PReLU()).slope.tolist() == [0.25]


def test_prelu_says_what_does_not_fit():
    with pytest.raises(ArgumentError, match=r"PReLU\(0\): n_slopes must be"):
        nn.PReLU(0)
    with pytest.raises(ArgumentError, match="has no slope yet"):
        nn.PReLU(3)(Z)
    with pytest.raises(ShapeError, match=r"PReLU\(3\): z is \(7, 5\). Give z 3 columns, or use PReLU\(5\)"):
        nn.PReLU(3, slope=np.ones(3))(Z)


@pytest.mark.parametrize("axis", [None, (1, 2), (2, 0), (-1, 0), (1,), 1])
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax_along_several_axes_is_that_of_scipy(name, axis):
    """One tuple of axes, or all: the value is SciPy's, and so is the gradient, a row of its Jacobian by differences."""
    rng = np.random.default_rng(5)
    x, c, w = rng.normal(size=(2, 3, 4)) * 3, rng.normal(size=(2, 3, 4)), rng.normal(size=4)
    np.testing.assert_allclose(getattr(nn, name)(x, axis=axis), getattr(special, name)(x, axis=axis), rtol=1e-12)

    def loss(w, x):
        return np.sum(getattr(nn, name)(x * w, axis=axis) * c)

    def wanted(w):
        return np.sum(getattr(special, name)(x * w, axis=axis) * c)

    slopes = [(wanted(w + step) - wanted(w - step)) / 2e-6 for step in 1e-6 * np.eye(4)]
    for found in (
        ut.value_and_grad(loss)(w, x),
        ut.value_and_grad(loss, compile=True)(w, x),
        ut.backprop(loss, w, x)(),
    ):
        np.testing.assert_allclose(found[0], wanted(w), rtol=1e-12)
        np.testing.assert_allclose(found[1], slopes, atol=1e-8)
