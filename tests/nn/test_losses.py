"""Losses and gradients against PyTorch and their formulas; targets that do not fit are refused."""

import numpy as np
import pytest

from undertow import nn
from undertow.differentiate import value_and_grad
from undertow.errors import ArgumentError, DataError, ShapeError

M, K = 6, 4
RNG = np.random.default_rng(3)
Z = RNG.standard_normal((M, K)) * 2
Y = RNG.standard_normal((M, K))
LABELS = RNG.integers(0, K, M)
ONE_HOT = np.eye(K)[LABELS]
BINARY = RNG.integers(0, 2, (M, 1)).astype(float)


def torch_losses():
    torch = pytest.importorskip("torch")
    F = torch.nn.functional
    return torch, {
        "mean_squared_error": (lambda z: F.mse_loss(z, torch.tensor(Y)) * K, Z, Y),
        "half_squared_error": (lambda z: F.mse_loss(z, torch.tensor(Y)) * K / 2, Z, Y),
        "binary_cross_entropy": (
            lambda z: F.binary_cross_entropy(z, torch.tensor(BINARY)),
            1 / (1 + np.exp(-Z[:, :1])),
            BINARY,
        ),
        "binary_cross_entropy_with_logits": (
            lambda z: F.binary_cross_entropy_with_logits(z, torch.tensor(BINARY)),
            Z[:, :1],
            BINARY,
        ),
        "categorical_cross_entropy": (
            lambda z: F.nll_loss(torch.log(z), torch.tensor(LABELS)),
            np.exp(Z) / np.exp(Z).sum(1, keepdims=True),
            LABELS,
        ),
        "categorical_cross_entropy_with_logits": (
            lambda z: F.cross_entropy(z, torch.tensor(LABELS)),
            Z,
            LABELS,
        ),
    }


@pytest.mark.parametrize("name", list(nn.LOSSES))
def test_loss_and_gradient_are_those_of_torch(name):
    """Value and gradient agree with PyTorch's, up to the factor that the docstring states."""
    torch, losses = torch_losses()
    reference, output, y = losses[name]
    z = torch.tensor(output, requires_grad=True)
    wanted = reference(z)
    wanted.backward()
    value, ct = value_and_grad(nn.LOSSES[name].function)(output, y)
    assert value == pytest.approx(wanted.item(), rel=1e-12)
    np.testing.assert_allclose(ct, z.grad.numpy(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "activation", "y"),
    [
        ("categorical_cross_entropy", nn.softmax, ONE_HOT),
        ("binary_cross_entropy", nn.sigmoid, np.round(ONE_HOT)),
    ],
)
def test_the_gradient_after_softmax_or_sigmoid_is_p_minus_y(name, activation, y):
    """With probabilities and with logits, the gradient by z is (p − y)/m."""
    p = activation(Z)
    for function in (
        lambda z: nn.LOSSES[name].function(activation(z), y),
        lambda z: nn.LOSSES[f"{name}_with_logits"].function(z, y),
    ):
        np.testing.assert_allclose(value_and_grad(function)(Z)[1], (p - y) / M, rtol=1e-9, atol=1e-12)


def test_gradients_of_squared_errors_have_the_stated_factors():
    """The mean squared error gives (2/m)(p − y), the halved one (p − y)/m."""
    np.testing.assert_allclose(value_and_grad(nn.mean_squared_error)(Z, Y)[1], 2 / M * (Z - Y))
    np.testing.assert_allclose(value_and_grad(nn.half_squared_error)(Z, Y)[1], (Z - Y) / M)


@pytest.mark.parametrize("name", ["categorical_cross_entropy", "categorical_cross_entropy_with_logits"])
def test_labels_and_one_hot_rows_are_the_same_target(name):
    """Integer labels give exactly what one-hot rows of the same classes give."""
    function = nn.LOSSES[name].function
    p = nn.softmax(Z)
    assert function(p, LABELS) == function(p, ONE_HOT)
    assert function(p, LABELS.astype(np.uint8)) == function(p, ONE_HOT)


@pytest.mark.parametrize("name", ["binary_cross_entropy_with_logits", "categorical_cross_entropy_with_logits"])
def test_losses_of_logits_are_finite_far_out(name):
    """At logits of ±1e4 loss and gradient are finite and right: the loss is the distance to the boundary."""
    z = np.array([[1e4, -1e4], [-1e4, 1e4]], np.float32)
    y = np.array([[1, 0], [1, 0]], np.float32)
    with np.errstate(over="raise", invalid="raise"):
        value, ct = value_and_grad(nn.LOSSES[name].function)(z, y)
    assert value == pytest.approx(1e4)
    assert ct.dtype == np.float32 and np.isfinite(ct).all()


@pytest.mark.parametrize("name", list(nn.LOSSES))
def test_float32_stays_float32(name):
    """A float32 output and target give a float32 loss."""
    p = nn.softmax(Z.astype(np.float32))
    y = ONE_HOT.astype(np.float32)
    assert nn.LOSSES[name].function(p, y).dtype == np.float32


@pytest.mark.parametrize(
    "name",
    ["mean_squared_error", "half_squared_error", "binary_cross_entropy", "binary_cross_entropy_with_logits"],
)
def test_a_column_against_a_vector_is_an_error_and_no_broadcast(name):
    """(m, 1) against (m,) would silently become (m, m): refused with the remedy, either way round."""
    function = nn.LOSSES[name].function
    half = np.full(3, 0.5)
    with pytest.raises(ShapeError, match=r"is \(3, 1\), y is \(3,\).*y\[:, None\]"):
        function(half[:, None], half)
    with pytest.raises(ShapeError, match=r"is \(3,\), y is \(3, 1\).*y\[:, 0\]"):
        function(half, half[:, None])


def test_wrong_classes_are_refused():
    """A class count, a label or a probability that does not fit is an error that says what would."""
    p = np.full((3, 4), 0.25)
    with pytest.raises(ShapeError, match=r"p is \(3, 4\), y is \(3, 5\)"):
        nn.categorical_cross_entropy(p, np.zeros((3, 5)))
    with pytest.raises(ShapeError, match="one label for each row"):
        nn.categorical_cross_entropy(p, np.array([0, 1]))
    for label in (4, -1):
        with pytest.raises(DataError, match=f"the label {label}, but z has 4 classes, 0 to 3"):
            nn.categorical_cross_entropy_with_logits(p, np.array([0, 1, label]))
    with pytest.raises(DataError, match="y holds 2"):
        nn.binary_cross_entropy(np.full(2, 0.5), np.array([0, 2]))
    with pytest.raises(ShapeError, match="a column a class"):
        nn.categorical_cross_entropy(np.full(3, 0.5), np.array([0, 1, 2]))


@pytest.mark.parametrize(
    ("loss", "end", "name"),
    [
        ("categorical_cross_entropy", (), "categorical_cross_entropy_with_logits"),
        ("categorical_cross_entropy", ("softmax",), "categorical_cross_entropy"),
        ("binary_cross_entropy", (), "binary_cross_entropy_with_logits"),
        (nn.binary_cross_entropy, ("sigmoid",), "binary_cross_entropy"),
        ("categorical_cross_entropy_with_logits", (), "categorical_cross_entropy_with_logits"),
        ("mean_squared_error", ("softmax",), "mean_squared_error"),
    ],
)
def test_a_loss_is_paired_with_the_end_of_the_model(loss, end, name):
    """Cross-entropies take probabilities after softmax or sigmoid, logits elsewhere."""
    assert nn.find_loss(loss, nn.Sequential(nn.Dense(4, 3), *end)).name == name


@pytest.mark.parametrize(
    ("loss", "end", "message"),
    [
        ("mse", (), "there is no loss 'mse'"),
        ("categorical_cross_entropy", ("sigmoid",), "ends in sigmoid"),
        ("binary_cross_entropy", ("softmax",), "ends in softmax"),
        ("categorical_cross_entropy", ("relu",), "ends in relu"),
        ("categorical_cross_entropy_with_logits", ("softmax",), "Remove the softmax"),
    ],
)
def test_a_loss_that_does_not_go_with_the_model_is_refused(loss, end, message):
    """A softmax counted twice, or the wrong activation, is found before training."""
    with pytest.raises(ArgumentError, match=message):
        nn.find_loss(loss, nn.Sequential(nn.Dense(4, 3), *end))


def test_a_function_of_the_users_own_is_taken_as_it_is():
    """A loss without a name in the table has no task of ours."""
    found = nn.find_loss(lambda output, y: np.sum(output), nn.Dense(2, 3))
    assert found.task == "own" and not found.logits
