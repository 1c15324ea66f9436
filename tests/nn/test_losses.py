"""Losses against PyTorch, scikit-learn and formulas of SciPy; corners, far numbers, compiled programs."""

import numpy as np
import pytest

import undertow as ut
from undertow import nn
from undertow.differentiate import value_and_grad
from undertow.errors import DataError, ShapeError

special = pytest.importorskip("scipy.special")
scipy_stats = pytest.importorskip("scipy.stats")

M, K = 6, 4
RNG = np.random.default_rng(3)
Z = RNG.standard_normal((M, K)) * 2
Y = RNG.standard_normal((M, K))
LABELS = RNG.integers(0, K, M)
ONE_HOT = np.eye(K)[LABELS]
BINARY = RNG.integers(0, 2, (M, 1)).astype(float)
COUNTS = RNG.integers(0, 4, (M, K)).astype(float)
MANY = (COUNTS > 1).astype(float)  # of several columns, each of which is 0 or 1
SOFT = special.softmax(RNG.standard_normal((M, K)), axis=1)
P_ROWS, P_ONE = special.softmax(Z, axis=1), special.expit(Z[:, :1])
WEIGHTS = np.array([0.5, 2, 0, 1, 3, 0.25])


def cross_entropy(p, y):
    return -special.xlogy(y, p).sum(1)


def binary_entropy(p, y, w=1.0):
    return -(w * special.xlogy(y, p) + special.xlog1py(1 - y, -p)).sum(1)


def crammer_singer(z, labels):
    return np.array(
        [max(0, 1 + max(row[k] for k in range(K) if k != i) - row[i]) for row, i in zip(z, labels, strict=True)]
    )


S = Z[:, :1] * (2 * BINARY - 1)
Z2, Y2 = np.hsplit(Z, 2)[0], Y[:, :2]  # of two columns, of which the other two of Z are the logarithms of variances
V2 = np.exp(Z[:, 2:])

# For each loss, with and without settings: (name, settings, output, target, its value for each example by definition).
CASES = [
    ("mean_squared_error", {}, Z, Y, ((Z - Y) ** 2).sum(1)),
    ("half_squared_error", {}, Z, Y, ((Z - Y) ** 2).sum(1) / 2),
    ("mean_absolute_error", {}, Z, Y, abs(Z - Y).sum(1)),
    ("huber", {}, Z, Y, special.huber(1.0, Z - Y).sum(1)),
    ("huber", {"delta": 2.0}, Z, Y, special.huber(2.0, Z - Y).sum(1)),
    ("log_cosh", {}, Z, Y, np.log(np.cosh(Z - Y)).sum(1)),
    ("quantile", {}, Z, Y, abs(Z - Y).sum(1) / 2),
    ("quantile", {"q": 0.9}, Z, Y, np.where(Y > Z, 0.9 * (Y - Z), 0.1 * (Z - Y)).sum(1)),
    ("poisson", {}, Z, COUNTS, (np.exp(Z) - COUNTS * Z).sum(1)),
    ("poisson", {"log_input": False}, abs(Z), COUNTS, (abs(Z) - special.xlogy(COUNTS, abs(Z))).sum(1)),
    ("mean_squared_logarithmic_error", {}, Z, COUNTS, ((Z - np.log(1 + COUNTS)) ** 2).sum(1)),
    (
        "mean_squared_logarithmic_error", {"log_input": False}, Z, COUNTS,
        (np.log((1 + np.maximum(Z, 0)) / (1 + COUNTS)) ** 2).sum(1),
    ),
    (
        "gaussian", {}, Z, Y2,
        ((np.log(1e-6 + V2) + (Y2 - Z2) ** 2 / (1e-6 + V2)) / 2).sum(1),
    ),
    (
        "gaussian", {"least": 0.5}, Z, Y2,
        -(scipy_stats.norm.logpdf(Y2, Z2, np.sqrt(V2 + 0.5)) + np.log(2 * np.pi) / 2).sum(1),
    ),
    ("cosine", {}, Z, Y, [1 - z @ y / (np.linalg.norm(z) * np.linalg.norm(y)) for z, y in zip(Z, Y, strict=True)]),
    ("binary_cross_entropy", {}, P_ONE, BINARY, binary_entropy(P_ONE, BINARY)),
    (
        "binary_cross_entropy", {"label_smoothing": 0.1, "pos_weight": 3.0}, P_ONE, BINARY,
        binary_entropy(P_ONE, 0.9 * BINARY + 0.05, 3.0),
    ),
    ("binary_cross_entropy_with_logits", {}, Z[:, :1], BINARY, binary_entropy(P_ONE, BINARY)),
    (
        "binary_cross_entropy_with_logits", {"label_smoothing": 0.1, "pos_weight": 3.0}, Z[:, :1], BINARY,
        binary_entropy(P_ONE, 0.9 * BINARY + 0.05, 3.0),
    ),
    (
        "binary_cross_entropy", {"pos_weight": [3.0, 1.0, 0.5, 2.0]}, special.expit(Z), MANY,
        binary_entropy(special.expit(Z), MANY, np.array([3.0, 1.0, 0.5, 2.0])),
    ),
    (
        "binary_cross_entropy_with_logits", {"pos_weight": [3.0, 1.0, 0.5, 2.0], "label_smoothing": 0.2}, Z, MANY,
        binary_entropy(special.expit(Z), 0.8 * MANY + 0.1, np.array([3.0, 1.0, 0.5, 2.0])),
    ),
    ("categorical_cross_entropy", {}, P_ROWS, LABELS, cross_entropy(P_ROWS, ONE_HOT)),
    (
        "categorical_cross_entropy", {"label_smoothing": 0.1}, P_ROWS, LABELS,
        cross_entropy(P_ROWS, 0.9 * ONE_HOT + 0.025),
    ),
    ("categorical_cross_entropy_with_logits", {}, Z, SOFT, cross_entropy(P_ROWS, SOFT)),
    (
        "categorical_cross_entropy_with_logits", {"label_smoothing": 0.2}, Z, LABELS,
        cross_entropy(P_ROWS, 0.8 * ONE_HOT + 0.05),
    ),
    ("kullback_leibler", {}, P_ROWS, SOFT, special.rel_entr(SOFT, P_ROWS).sum(1)),
    ("kullback_leibler_with_logits", {}, Z, SOFT, special.rel_entr(SOFT, P_ROWS).sum(1)),
    ("hinge", {}, Z[:, :1], BINARY, np.maximum(0, 1 - S).sum(1)),
    ("squared_hinge", {}, Z[:, :1], BINARY, (np.maximum(0, 1 - S) ** 2).sum(1)),
    ("categorical_hinge", {}, Z, LABELS, crammer_singer(Z, LABELS)),
    ("binary_focal", {}, P_ONE, BINARY, (special.expit(-S) ** 2 * -special.log_expit(S)).sum(1)),
    (
        "binary_focal_with_logits", {"gamma": 0.5, "alpha": 0.25}, Z[:, :1], BINARY,
        (np.where(BINARY == 1, 0.25, 0.75) * special.expit(-S) ** 0.5 * -special.log_expit(S)).sum(1),
    ),
    ("categorical_focal", {}, P_ROWS, LABELS, cross_entropy(P_ROWS, ONE_HOT) * (1 - (P_ROWS * ONE_HOT).sum(1)) ** 2),
    (
        "categorical_focal_with_logits", {"gamma": 0.5}, Z, LABELS,
        cross_entropy(P_ROWS, ONE_HOT) * (1 - (P_ROWS * ONE_HOT).sum(1)) ** 0.5,
    ),
]  # fmt: skip
each = pytest.mark.parametrize(
    ("name", "settings", "output", "y", "expected"),
    CASES,
    ids=[f"{name} {' '.join(f'{k}={v}' for k, v in settings.items())}".strip() for name, settings, *_ in CASES],
)


def test_every_loss_has_a_formula_here():
    assert {name for name, *_ in CASES} == set(nn.LOSSES)


@each
def test_values_are_those_of_the_definition(name, settings, output, y, expected):
    """For each example, as mean, and as weighted mean."""
    loss = nn.build_loss({"name": name, **settings})
    np.testing.assert_allclose(loss.per_example(output, y), expected, rtol=1e-12, atol=1e-14)
    assert loss(output, y) == pytest.approx(np.mean(expected), rel=1e-12)
    assert loss(output, y, weights=WEIGHTS) == pytest.approx(np.average(expected, weights=WEIGHTS), rel=1e-12)
    assert getattr(nn, name)(output, y, weights=WEIGHTS, **settings) == loss(output, y, WEIGHTS)


@each
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["", "weighted"])
def test_gradients_are_those_of_difference_quotients(name, settings, output, y, expected, weights):
    loss = nn.build_loss({"name": name, **settings})
    ut.check_gradient(lambda z: loss(z, y, weights), output)


@each
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_compiled_is_what_numpy_computes(name, settings, output, y, expected, dtype):
    """Value and gradient, weighted, compile without NumPy's help and keep the dtype."""
    loss = nn.build_loss({"name": name, **settings})
    output = output.astype(dtype)
    y = y if y.dtype.kind == "i" else y.astype(dtype)
    value, ct = value_and_grad(loss.function)(output, y, weights=WEIGHTS.astype(dtype))
    compiled = ut.compile(lambda z, y, w: ut.value_and_grad(lambda z: loss.function(z, y, weights=w))(z))
    found, found_ct = compiled(output, y, WEIGHTS.astype(dtype))
    rtol = 64 * np.finfo(dtype).eps
    assert value.dtype == ct.dtype == found_ct.dtype == dtype
    np.testing.assert_allclose(found, value, rtol=rtol)
    np.testing.assert_allclose(found_ct, ct, rtol=rtol, atol=rtol)


def torch_losses():
    torch = pytest.importorskip("torch")
    F, t = torch.nn.functional, torch.tensor
    weight = t(3.0)
    return torch, {
        "mean_squared_error": (lambda z: F.mse_loss(z, t(Y)) * K, {}, Z, Y),
        "half_squared_error": (lambda z: F.mse_loss(z, t(Y)) * K / 2, {}, Z, Y),
        "mean_absolute_error": (lambda z: F.l1_loss(z, t(Y)) * K, {}, Z, Y),
        "huber": (lambda z: F.huber_loss(z, t(Y), delta=2.0) * K, {"delta": 2.0}, Z, Y),
        "poisson": (lambda z: F.poisson_nll_loss(z, t(COUNTS)) * K, {}, Z, COUNTS),
        "mean_squared_logarithmic_error": (
            lambda z: F.mse_loss(torch.log1p(z.expm1()), torch.log1p(t(COUNTS))) * K, {}, Z, COUNTS,
        ),
        "gaussian": (
            lambda z: F.gaussian_nll_loss(z[:, :2], t(Y2), 0.01 + z[:, 2:].exp()) * 2, {"least": 0.01}, Z, Y2,
        ),
        "squared_hinge": (  # of one score: the margin to the class 0, whose score is 0; PyTorch divides by 2 classes
            lambda z: F.multi_margin_loss(
                torch.cat([torch.zeros_like(z), z], 1), t(BINARY[:, 0]).long(), p=2
            ) * 2, {}, Z[:, :1], BINARY,
        ),
        "cosine": (lambda z: (1 - F.cosine_similarity(z, t(Y))).mean(), {}, Z, Y),
        "kullback_leibler": (lambda p: F.kl_div(p.log(), t(SOFT), reduction="batchmean"), {}, P_ROWS, SOFT),
        "binary_cross_entropy": (lambda z: F.binary_cross_entropy(z, t(BINARY)), {}, P_ONE, BINARY),
        "binary_cross_entropy_with_logits": (
            lambda z: F.binary_cross_entropy_with_logits(z, t(BINARY), pos_weight=weight),
            {"pos_weight": 3.0}, Z[:, :1], BINARY,
        ),
        "binary_cross_entropy_with_logits, columns": (
            lambda z: F.binary_cross_entropy_with_logits(z, t(MANY), pos_weight=t([3.0, 1.0, 0.5, 2.0])) * K,
            {"pos_weight": [3.0, 1.0, 0.5, 2.0]}, Z, MANY,
        ),
        "categorical_cross_entropy": (lambda z: F.nll_loss(torch.log(z), t(LABELS)), {}, P_ROWS, LABELS),
        "categorical_cross_entropy_with_logits": (
            lambda z: F.cross_entropy(z, t(LABELS), label_smoothing=0.1), {"label_smoothing": 0.1}, Z, LABELS,
        ),
    }  # fmt: skip


TORCH = [
    "mean_squared_error", "half_squared_error", "mean_absolute_error", "huber", "poisson", "cosine", "kullback_leibler",
    "mean_squared_logarithmic_error", "gaussian", "squared_hinge",
    "binary_cross_entropy", "binary_cross_entropy_with_logits", "binary_cross_entropy_with_logits, columns",
    "categorical_cross_entropy", "categorical_cross_entropy_with_logits",
]  # fmt: skip


@pytest.mark.parametrize("name", TORCH)
def test_loss_and_gradient_are_those_of_torch(name):
    """Value and gradient agree with PyTorch's, up to the factor that the docstring states."""
    torch, losses = torch_losses()
    reference, settings, output, y = losses[name]
    z = torch.tensor(output, requires_grad=True)
    wanted = reference(z)
    wanted.backward()
    value, ct = value_and_grad(nn.build_loss({"name": name.split(",")[0], **settings}).function)(output, y)
    assert value == pytest.approx(wanted.item(), rel=1e-12)
    np.testing.assert_allclose(ct, z.grad.numpy(), rtol=1e-10, atol=1e-12)


def test_factors_against_scikit_learn():
    """What the docstrings say of scikit-learn's metrics."""
    metrics = pytest.importorskip("sklearn.metrics")
    assert nn.mean_squared_error(Z, Y) == pytest.approx(K * metrics.mean_squared_error(Y, Z))
    assert nn.mean_absolute_error(Z, Y) == pytest.approx(K * metrics.mean_absolute_error(Y, Z))
    assert nn.quantile(Z, Y, q=0.9) == pytest.approx(K * metrics.mean_pinball_loss(Y, Z, alpha=0.9))
    assert nn.categorical_cross_entropy(P_ROWS, LABELS) == pytest.approx(
        metrics.log_loss(LABELS, P_ROWS, labels=range(K))
    )
    assert nn.binary_cross_entropy(P_ONE, BINARY) == pytest.approx(metrics.log_loss(BINARY[:, 0], P_ONE[:, 0]))
    assert nn.hinge(Z[:, 0], BINARY[:, 0]) == pytest.approx(metrics.hinge_loss(BINARY[:, 0], Z[:, 0]))
    assert nn.categorical_hinge(Z, LABELS) == pytest.approx(metrics.hinge_loss(LABELS, Z, labels=range(K)))
    y, rate = COUNTS[:, 0] + 1, np.exp(Z[:, 0])
    least = nn.poisson(np.log(y), y)
    assert 2 * (nn.poisson(np.log(rate), y) - least) == pytest.approx(metrics.mean_poisson_deviance(y, rate))
    logarithmic = metrics.mean_squared_log_error(COUNTS, abs(Z))
    assert nn.mean_squared_logarithmic_error(np.log1p(abs(Z)), COUNTS) == pytest.approx(K * logarithmic)
    assert nn.mean_squared_logarithmic_error(abs(Z), COUNTS, log_input=False) == pytest.approx(K * logarithmic)
    weights = pytest.importorskip("sklearn.utils.class_weight").compute_sample_weight("balanced", [0, 2, 2, 5])
    np.testing.assert_allclose(nn.class_weights([0, 2, 2, 5]), weights)


# Gradients that have a name


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


@each
def test_lists_are_arrays(name, settings, output, y, expected):
    """Output, target and weights may be lists; the gradient by a target in a list is the same too."""
    loss = nn.LOSSES[name].function
    assert loss(output.tolist(), y.tolist(), **settings) == pytest.approx(np.mean(expected), rel=1e-12)
    weighed = np.average(expected, weights=WEIGHTS)
    assert loss(output.tolist(), y.tolist(), weights=list(WEIGHTS), **settings) == pytest.approx(weighed, rel=1e-12)
    found, wanted = (ut.grad(lambda p, y=t: loss(p, y, **settings))(output) for t in (y.tolist(), y))
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("name", ["binary_cross_entropy_with_logits", "categorical_cross_entropy_with_logits"])
def test_losses_of_logits_are_finite_far_out(name):
    """At logits of ±1e4 loss and gradient are finite and right: the loss is the distance to the boundary."""
    z = np.array([[1e4, -1e4], [-1e4, 1e4]], np.float32)
    y = np.array([[1, 0], [1, 0]], np.float32)
    with np.errstate(over="raise", invalid="raise"):
        value, ct = value_and_grad(nn.LOSSES[name].function)(z, y)
    assert value == pytest.approx(1e4)
    assert ct.dtype == np.float32 and np.isfinite(ct).all()


FAR = np.array([[1e4, -1e4], [-1e4, 1e4], [0, 0]], np.float32)


@pytest.mark.parametrize("name", [name for name in nn.LOSSES if nn.LOSSES[name].end is None or nn.LOSSES[name].logits])
def test_far_outputs_overflow_nowhere(name):
    """At ±1e4 in float32 value and gradient are finite, without a warning, whatever the target."""
    if name == "poisson":
        return  # e^10000 is no float
    for y in (np.array([[1, 0]] * 3, np.float32), np.array([[0, 1]] * 3, np.float32)):
        y = y[:, :1] if name == "gaussian" else y
        with np.errstate(over="raise", invalid="raise", divide="raise"):
            value, ct = value_and_grad(nn.LOSSES[name].function)(FAR, y)
        assert value.dtype == ct.dtype == np.float32
        assert np.isfinite(value) and np.isfinite(ct).all()


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("name", ["binary_focal_with_logits", "categorical_focal_with_logits"])
def test_focal_losses_are_finite_far_out_for_every_gamma(name, gamma):
    y = np.array([[1, 0]] * 3, np.float32)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        value, ct = value_and_grad(lambda z: nn.build_loss({"name": name, "gamma": gamma})(z, y))(FAR)
    assert np.isfinite(value) and np.isfinite(ct).all()


def test_log_cosh_keeps_the_digits_of_small_errors():
    """log cosh e is e²/2 − e⁴/12: in float32, log 2 − log 2 would leave nothing of 5e−9."""
    e = np.array([1e-4, 1e-2, 0.5], np.float32)
    wanted = [np.log(np.cosh(x)) if x > 0.1 else x**2 / 2 - x**4 / 12 for x in e.astype(float)]
    np.testing.assert_allclose(nn.LOSSES["log_cosh"].per_example(e, np.zeros(3, np.float32)), wanted, rtol=1e-6)
    np.testing.assert_allclose(value_and_grad(nn.log_cosh)(e, np.zeros(3, np.float32))[1] * 3, np.tanh(e), rtol=1e-6)


@pytest.mark.parametrize(
    ("loss", "output", "y", "gradient"),
    [
        (nn.mean_absolute_error, [1.0, 2.0], [1.0, 1.0], [0, 0.5]),
        (nn.huber(delta=1.0), [1.0, -1.0], [0.0, 0.0], [0.5, -0.5]),
        (nn.quantile(q=0.9), [1.0, 2.0, 0.0, 1.0], [1.0] * 4, [0, 0.1 / 4, -0.9 / 4, 0]),
        (nn.hinge, [1.0, 0.0], [1, 0], [0, 0.5]),
        (nn.categorical_hinge, [[1.0, 0.0, -1.0], [0.0, 0.0, -1.0]], [0, 0], [[0, 0, 0], [-0.5, 0.5, 0]]),
        (nn.cosine, [[0.0, 0.0], [0.0, 2.0]], [[0.0, 3.0], [0.0, 1.0]], [[0, -0.5], [0, 0]]),
        (nn.poisson(log_input=False), [0.0, 2.0], [0.0, 1.0], [0.5, 0.25]),
    ],
)
def test_gradients_at_corners(loss, output, y, gradient):
    """The subgradient of least norm, and no NaN where a row or a count is 0."""
    np.testing.assert_allclose(value_and_grad(loss)(np.array(output), np.array(y))[1], gradient, atol=1e-15)


@pytest.mark.parametrize(
    "name",
    [name for name, loss in nn.LOSSES.items() if loss.task != "categorical" and loss.columns == 1],
)
def test_a_column_against_a_vector_is_an_error_and_no_broadcast(name):
    """(m, 1) against (m,) would silently become (m, m): refused with the remedy, either way round."""
    function = nn.LOSSES[name].function
    half = np.full(3, 0.5)
    with pytest.raises(ShapeError, match=r"is \(3, 1\), y is \(3,\).*y\[:, None\]"):
        function(half[:, None], half)
    with pytest.raises(ShapeError, match=r"is \(3,\), y is \(3, 1\).*y\[:, 0\]"):
        function(half, half[:, None])


def test_means_and_variances_are_two_columns_each():
    for z, y in ((Z[:, :1], Y[:, :1]), (Z[:, :2], Y[:, 0]), (Z[:, 0], Y[:, 0]), (Z[:5, :2], Y[:, :1])):
        with pytest.raises(ShapeError, match=r"^gaussian: z is .*, y is .*\. Give z two columns for each of y"):
            nn.gaussian(z, y)


def test_a_variance_near_nothing_leaves_the_loss_finite_and_moves_back():
    """Where the error is large and e^s is far below the least variance, the loss still falls where s grows."""
    value, ct = value_and_grad(nn.gaussian)(np.array([[0.0, -30.0]]), np.array([[1.0]]))
    assert value == pytest.approx((np.log(1e-6) + 1e6) / 2) and ct[0, 1] < 0


# The source of the gradient


def test_softmax_and_cross_entropy_collapse_to_p_minus_y():
    """Read in the emitted source: also weighted, and with smoothed targets y2, whose sum is not known to be 1."""

    def source(loss, *weights):
        def function(W, X, y, *w):
            z = X @ W
            p = nn.softmax(z)
            return loss(p, y, *w)

        return ut.backprop(function, np.zeros((3, K)), np.zeros((M, 3)), LABELS, *weights).source

    assert "dz = (p - y1) / m " in source(nn.categorical_cross_entropy)
    assert "dz = (p - y1) * (" in source(lambda p, y, w: nn.categorical_cross_entropy(p, y, weights=w), WEIGHTS)
    smooth = source(nn.categorical_cross_entropy(label_smoothing=0.1))
    assert "dz = (p * np.sum(y2, axis=1, keepdims=True) - y2) / m" in smooth


@pytest.mark.parametrize(
    ("name", "z", "y"),
    [
        ("categorical_cross_entropy", Z, LABELS),
        ("binary_cross_entropy", Z[:, :1], BINARY),
        ("categorical_focal", Z, LABELS),
        ("binary_focal", Z[:, :1], BINARY),
        ("kullback_leibler", Z, LABELS),
    ],
)
def test_logits_in_place_of_probabilities_are_refused(name, z, y):
    """Their logarithm would be NaN, with a warning of NumPy's alone; the loss that is offered takes them."""
    with pytest.raises(DataError, match=rf"{name}: p holds .*, but probabilities are 0 to 1.*use {name}_with_logits\."):
        getattr(nn, name)(z, y)
    right = special.softmax(z, axis=1) if z.shape[1] > 1 else special.expit(z)
    assert getattr(nn, f"{name}_with_logits")(z, y) == pytest.approx(getattr(nn, name)(right, y))
    diverged = np.full_like(right, np.nan)
    assert np.isnan(getattr(nn, name)(diverged, y))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "name",
    ["categorical_cross_entropy", "binary_cross_entropy", "categorical_focal", "binary_focal", "kullback_leibler"],
)
def test_what_rounding_alone_explains_counts_as_a_probability(name, dtype):
    """0, 1 and what is a few units of the last place beyond give the limit, not NaN; more is refused, by its digits."""
    eps, single = np.finfo(dtype).eps, np.finfo(np.float32).eps  # float64 may hold what float32 has computed
    several = not name.startswith("binary")
    for off in (0, 2 * eps, -2 * eps, 2 * single, -2 * single):
        p = np.array([1 + off, -off], dtype)
        right = getattr(nn, name)(p[None], np.array([0])) if several else getattr(nn, name)(p, np.array([1, 0], dtype))
        wrong = getattr(nn, name)(p[None], np.array([1])) if several else getattr(nn, name)(p, np.array([0, 1], dtype))
        assert 0 <= right <= 5 * max(eps, abs(off)) and 15 < wrong < np.inf and right.dtype == wrong.dtype == dtype
    for far in (1.04, 1.001, 1 + 100 * single, -0.04):
        p = np.array([far, 1 - far], dtype)
        with pytest.raises(DataError, match=rf"{name}: p holds [-\d.e]+, but probabilities are 0 to 1") as error:
            getattr(nn, name)(p[None], np.array([0])) if several else getattr(nn, name)(p, np.array([1, 0], dtype))
        assert "holds 1," not in str(error.value)


def test_zeros_and_ones_are_probabilities_as_in_scipy():
    """Those that are right cost nothing; xlogy has no 0 · log 0 either."""
    p, y = np.array([0, 1, 1, 0]), np.array([0, 1, 1, 0])
    assert nn.binary_cross_entropy(p, y) == pytest.approx(binary_entropy(p[:, None], y[:, None]).mean(), abs=1e-15)
