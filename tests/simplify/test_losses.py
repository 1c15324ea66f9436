"""p − y by algebra: every common spelling of softmax + cross-entropy and sigmoid + binary cross-entropy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import undertow as ut
from undertow import nn
from undertow.simplify import structure

RNG = np.random.default_rng(5)
M, K = 6, 4
LABELS = RNG.integers(0, K, M)
Y = np.eye(K)[LABELS]
SOFT = RNG.dirichlet(np.ones(K), M)
ANY = RNG.random((M, K)) * 3  # rows that do not sum to 1
W = RNG.normal(size=(3, K))


def logits(scale: float, rows: int = M) -> tuple[Any, Any]:
    """Rows X, and z = X @ W with entries up to about ``scale``."""
    X = scale * RNG.uniform(-1, 1, size=(rows, 3))
    return X, X @ W


def layer(loss: Any) -> Any:
    """The last layer of a network with this loss of its logits."""

    def f(W: Any, X: Any, y: Any) -> Any:
        z = X @ W
        return loss(z, y)

    return f


def dz_line(bp: ut.Backprop) -> str:
    """How the backward pass writes dz."""
    (line,) = [line for line in bp.source.splitlines() if line.strip().startswith("dz = ")]
    return line.split("  #")[0].strip()


def assert_dz(bp: ut.Backprop, args: Any, value: float, dz: Any) -> None:
    """The engine and the emitted module give this loss and this gradient of the logits, without a warning."""
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        np.testing.assert_allclose(bp.values(*args)["dz"], dz, rtol=1e-9, atol=1e-14)
        loss, cache = bp.forward(*args)
        for found, gradient in (bp(*args), (loss, bp.backward(cache))):
            np.testing.assert_allclose(found, value, rtol=1e-12)
            scale = np.max(np.abs(args[1]))
            np.testing.assert_allclose(gradient, args[1].T @ dz, rtol=1e-9, atol=1e-13 * scale)


def wanted_softmax(z: Any) -> Any:
    e = np.exp(z - np.max(z, axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def wanted_log_softmax(z: Any) -> Any:
    z = z - np.max(z, axis=1, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=1, keepdims=True))


# ---- ways to write the softmax and its logarithm ---------------------------------------------------


def naive(z: Any) -> Any:
    return np.log(np.exp(z) / np.sum(np.exp(z), axis=1, keepdims=True))


def named(z: Any) -> Any:
    e = np.exp(z)
    p = e / e.sum(axis=1, keepdims=True)
    return np.log(p)


def shifted(z: Any) -> Any:
    e = np.exp(z - np.max(z, axis=1, keepdims=True))
    return np.log(e / np.sum(e, axis=1, keepdims=True))


def shifted_by_index(z: Any) -> Any:
    e = np.exp(z - z.max(axis=1)[:, None])
    return np.log(e / e.sum(axis=-1)[:, None])


def shifted_by_all(z: Any) -> Any:
    e = np.exp(z - np.max(z))
    return np.log(e / np.sum(e, axis=1, keepdims=True))


def transposed(z: Any) -> Any:
    e = np.exp(z)
    return np.log((e.T / e.sum(axis=1)).T)


def difference(z: Any) -> Any:
    return z - np.log(np.sum(np.exp(z), axis=1, keepdims=True))


def difference_shifted(z: Any) -> Any:
    s = z - np.max(z, axis=1, keepdims=True)
    return s - np.log(np.sum(np.exp(s), axis=1, keepdims=True))


def two_part_logsumexp(z: Any) -> Any:
    top = np.max(z, axis=1, keepdims=True)
    return z - (top + np.log(np.sum(np.exp(z - top), axis=1, keepdims=True)))


def reciprocal(z: Any) -> Any:
    e = np.exp(z)
    return np.log(e * (1 / e.sum(axis=1, keepdims=True)))


def ours(z: Any) -> Any:
    return ut.log_softmax(z, axis=1)


def log_of_ours(z: Any) -> Any:
    return np.log(ut.softmax(z))


SPELLINGS = [naive, named, shifted, shifted_by_index, shifted_by_all, transposed, difference, difference_shifted,
             two_part_logsumexp, reciprocal, ours, log_of_ours]  # fmt: skip
spellings = pytest.mark.parametrize("log_p", SPELLINGS, ids=lambda f: f.__name__)


def given(log_p: Any) -> Any:
    return lambda z, y: -np.mean(np.sum(y * log_p(z), axis=1))


def one_hot(log_p: Any) -> Any:
    return lambda z, labels: -np.sum(ut.one_hot(labels, K) * log_p(z)) / len(labels)


def by_arange(log_p: Any) -> Any:
    return lambda z, labels: -np.mean(log_p(z)[np.arange(len(labels)), labels])


def by_range(log_p: Any) -> Any:
    return lambda z, labels: -log_p(z)[range(len(labels)), labels].mean()


def by_take_along_axis(log_p: Any) -> Any:
    return lambda z, labels: -np.mean(np.take_along_axis(log_p(z), labels[:, None], axis=1))


def summed_by_index(log_p: Any) -> Any:
    return lambda z, labels: -np.sum(log_p(z)[np.arange(z.shape[0]), labels]) / z.shape[0]


LABELLED = [one_hot, by_arange, by_range, by_take_along_axis, summed_by_index]


@spellings
def test_given_targets(log_p: Any) -> None:
    """With y an argument: (p Σy − y) / m in value and form, its row sums kept; finite and right at ±1000."""
    bp = ut.backprop(layer(given(log_p)), W, logits(1.0)[0], Y)
    for scale in (1.0, 1000.0):
        for y in (Y, SOFT, ANY):
            X, z = logits(scale)
            value = -np.mean(np.sum(y * wanted_log_softmax(z), axis=1))
            assert_dz(bp, (W, X, y), value, (wanted_softmax(z) * y.sum(axis=1, keepdims=True) - y) / M)
    assert dz_line(bp).endswith("np.sum(y, axis=1, keepdims=True) - y) / m")


@spellings
@pytest.mark.parametrize("labelled", LABELLED, ids=lambda f: f.__name__)
def test_integer_labels(log_p: Any, labelled: Any) -> None:
    """With labels, by one-hot rows or by index: (p − y) / m, in value, in form and at ±1000."""
    bp = ut.backprop(layer(labelled(log_p)), W, logits(1.0)[0], LABELS)
    for scale in (1.0, 1000.0):
        X, z = logits(scale)
        value = -np.mean(wanted_log_softmax(z)[np.arange(M), LABELS])
        assert_dz(bp, (W, X, LABELS), value, (wanted_softmax(z) - Y) / M)
    names = {node.op.name for node in bp.graph.nodes if node.backward}
    assert not names & {"log", "power", "index_add", "sum"}, "p − y needs none of these"
    assert dz_line(bp).endswith(") / m")


@pytest.mark.parametrize("labelled", LABELLED, ids=lambda f: f.__name__)
def test_label_gradients_read_as_p_minus_one_hot(labelled: Any) -> None:
    """The backward pass is one line: the softmax by its name, less the labels' rows, over m."""

    def f(W: Any, X: Any, labels: Any) -> Any:
        z = X @ W
        p = np.exp(z) / np.sum(np.exp(z), axis=1, keepdims=True)
        return labelled(np.log)(p, labels)

    line = dz_line(ut.backprop(f, W, logits(1.0)[0], LABELS))
    assert line.startswith("dz = (p - ")
    assert line.endswith(") / m")


@pytest.mark.parametrize("labelled", LABELLED, ids=lambda f: f.__name__)
def test_labels_for_any_batch(labelled: Any) -> None:
    """Traced with one batch of labels, right for others: repeated labels, one class only, another size."""
    bp = ut.backprop(layer(labelled(naive)), W, logits(1.0)[0], LABELS)
    for labels in (np.zeros(5, int), np.array([3, 3]), RNG.integers(0, K, 31)):
        X, z = logits(1.0, len(labels))
        value = -np.mean(wanted_log_softmax(z)[np.arange(len(labels)), labels])
        assert_dz(bp, (W, X, labels), value, (wanted_softmax(z) - np.eye(K)[labels]) / len(labels))


def test_labels_that_pick_rows_of_an_identity_matrix_become_p_minus_y() -> None:
    """np.eye(K)[labels] is not one of a traced array's operations: the table is traced where it is made."""
    X, z = logits(1.0)
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    for rows in (lambda labels: np.eye(K)[labels], lambda labels: np.take(np.eye(K), labels, axis=0)):
        loss = lambda z, labels, rows=rows: -np.sum(rows(labels) * naive(z))
        assert ut.grad(loss)(z, LABELS).shape == (M, K)
        bp = ut.backprop(layer(loss), W, X, LABELS)
        assert {"log of a softmax", "rows of one-hot labels sum to 1"} <= {rule.name for rule in bp.rules}
        np.testing.assert_allclose(bp()[1], X.T @ (p - np.eye(K)[LABELS]), rtol=1e-10, atol=1e-12)


def test_the_rules_behind_labels_fire_and_are_named() -> None:
    """The list of rules shows each step by which labels become p − y."""
    for labelled, names in (
        (by_arange, {"labels as one-hot rows", "log of a softmax"}),
        (one_hot, {"rows of one-hot labels sum to 1", "log of a softmax"}),
    ):
        bp = ut.backprop(layer(labelled(naive)), W, logits(1.0)[0], LABELS)
        assert names <= {rule.name for rule in bp.rules}


def test_weighted_labels() -> None:
    """Each example with a weight of its own: w (p − y), by the sum of what was put at one place in each row."""
    weights = np.arange(1.0, M + 1)
    bp = ut.backprop(
        layer(lambda z, labels: -np.sum(naive(z)[np.arange(len(labels)), labels] * weights)), W, logits(1.0)[0], LABELS
    )
    assert "sum of what was put at one place in each row" in {rule.name for rule in bp.rules}
    X, z = logits(3.0)
    value = -np.sum(wanted_log_softmax(z)[np.arange(M), LABELS] * weights)
    assert_dz(bp, (W, X, LABELS), value, weights[:, None] * (wanted_softmax(z) - Y))


# ---- sigmoid and binary cross-entropy ------------------------------------------------------------


def stable_sigmoid(z: Any) -> Any:
    return np.exp(-np.logaddexp(0, -z))


def reciprocal_sigmoid(z: Any) -> Any:
    return 1 / (1 + np.exp(-z))


def power_sigmoid(z: Any) -> Any:
    return (1 + np.exp(-z)) ** -1


def exp_over_exp(z: Any) -> Any:
    return np.exp(z) / (1 + np.exp(z))


def other_order(z: Any) -> Any:
    return 1.0 / (np.exp(-z) + 1.0)


def by_tanh(z: Any) -> Any:
    return 0.5 * (1 + np.tanh(z / 2))


def by_name(z: Any) -> Any:
    return ut.sigmoid(z)


def by_reciprocal(z: Any) -> Any:
    return np.reciprocal(1 + np.exp(-z))


SIGMOIDS = [reciprocal_sigmoid, power_sigmoid, exp_over_exp, other_order, by_tanh, by_name, by_reciprocal]


def mean_of_both(p: Any, y: Any) -> Any:
    return -np.mean(y * np.log(p) + (1 - y) * np.log(1 - p))


def sum_over_m(p: Any, y: Any) -> Any:
    return -np.sum(y * np.log(p) + (1 - y) * np.log(1 - p)) / y.shape[0]


def two_means(p: Any, y: Any) -> Any:
    return -(np.mean(y * np.log(p)) + np.mean((1 - y) * np.log(1 - p)))


def negated_inside(p: Any, y: Any) -> Any:
    return np.mean(-y * np.log(p) - (1.0 - y) * np.log(1.0 - p))


def by_log1p(p: Any, y: Any) -> Any:
    return -np.mean(y * np.log(p) + (1 - y) * np.log1p(-p))


def one_over_m(p: Any, y: Any) -> Any:
    return -(1 / y.shape[0]) * np.sum(np.log(p) * y + np.log(1 - p) * (1 - y))


LOSSES = [mean_of_both, sum_over_m, two_means, negated_inside, by_log1p, one_over_m]


@pytest.mark.parametrize("loss", LOSSES, ids=lambda f: f.__name__)
@pytest.mark.parametrize("sigmoid", SIGMOIDS, ids=lambda f: f.__name__)
def test_sigmoid_and_binary_cross_entropy(sigmoid: Any, loss: Any) -> None:
    """Any spelling of the one with any of the other: (p − y) / m, for soft targets too, finite and right at ±1000."""

    def f(w: Any, X: Any, y: Any) -> Any:
        z = X @ w
        p = sigmoid(z)
        return loss(p, y)

    w, y = np.array([1.0, -2.0]), np.array([0.0, 1.0, 0.25, 1.0, 0.0])
    bp = ut.backprop(f, w, RNG.normal(size=(5, 2)), y)
    for scale in (1.0, 1000.0):
        X = scale * RNG.normal(size=(5, 2))
        z = X @ w
        assert_dz(bp, (w, X, y), np.mean(np.logaddexp(0, z) - y * z), (stable_sigmoid(z) - y) / 5)
    assert dz_line(bp) == "dz = (p - y) / m"


def softplus_loss(z: Any, y: Any) -> Any:
    return np.mean(np.log(1 + np.exp(z)) - y * z)


def keras_loss(z: Any, y: Any) -> Any:
    return np.mean(np.maximum(z, 0) - z * y + np.log1p(np.exp(-np.abs(z))))


def logaddexp_loss(z: Any, y: Any) -> Any:
    return np.mean(np.logaddexp(0, z) - y * z)


def two_softplus(z: Any, y: Any) -> Any:
    return np.mean(y * np.log1p(np.exp(-z)) + (1 - y) * np.log1p(np.exp(z)))


def signs_loss(z: Any, y: Any) -> Any:
    return np.mean(np.log1p(np.exp(-(2 * y - 1) * z)))


OF_LOGITS = [softplus_loss, keras_loss, logaddexp_loss, two_softplus, signs_loss]


@pytest.mark.parametrize("loss", OF_LOGITS, ids=lambda f: f.__name__)
def test_losses_of_logits(loss: Any) -> None:
    """Written with logits: value and gradient finite and right at ±1000, and at 0."""
    w, y = np.array([1.0]), np.array([0.0, 1.0, 1.0, 0.0, 1.0])
    bp = ut.backprop(layer(loss), w, RNG.normal(size=(5, 1)), y)
    for z in (RNG.normal(size=5), np.array([1000.0, -1000.0, 1000.0, -1000.0, 0.0])):
        assert_dz(bp, (w, z[:, None], y), np.mean(np.logaddexp(0, z) - y * z), (stable_sigmoid(z) - y) / 5)


def test_a_product_of_the_forward_pass_is_not_computed_again():
    """(X W)ᵀ in the forward pass stays the product that is there, transposed."""

    def loss(W, X):
        z = X @ W
        return np.sum(np.tanh(z)) + np.sum(z.T**3)

    source = ut.backprop(loss, np.ones((3, 2)), np.ones((4, 3))).source
    code = [line.split("#")[0] for line in source.splitlines()]
    assert sum(line.count("@") for line in code) == 2  # the product, and what flows back to W


def test_a_layer_norm_keeps_what_it_divided_and_not_what_that_came_from() -> None:
    """The gradient of c / s by c² needs c / s alone: x and its mean go when the forward pass is done."""

    def loss(x: Any, W: Any, gain: Any, bias: Any) -> Any:
        centred = x - np.mean(x, axis=1, keepdims=True)
        variance = np.mean(centred * centred, axis=1, keepdims=True)
        return np.sum(np.tanh((centred / np.sqrt(variance + 1e-5) * gain + bias) @ W) ** 2)

    rng = np.random.default_rng(4)
    args = [rng.standard_normal(shape) for shape in ((6, 4), (4, 3), (4,), (4,))]
    bp = ut.backprop(loss, *args, wrt=(0, 1, 2, 3))
    kept = bp.source.partition(" = cache")[0].rpartition("\n")[2].split(",")
    assert "gain" in map(str.strip, kept)
    assert "x" not in map(str.strip, kept)
    assert "a known quotient" in bp.source
    for number, gradient in enumerate(ut.grad(loss, wrt=(0, 1, 2, 3))(*args)):
        step = 1e-30
        for place in np.ndindex(gradient.shape):
            shifted = [x.astype(complex) for x in args]
            shifted[number][place] += step * 1j
            assert np.isclose(gradient[place], loss(*shifted).imag / step, rtol=1e-10, atol=1e-12)


def test_quotients_of_a_long_loop_are_not_compared_each_with_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every step divides by one array: twice as many steps take products apart twice as often."""

    def count(steps: int, around: Any) -> int:
        def loss(h: Any, u: Any, c: Any) -> Any:
            for _ in range(steps):
                h = around(h) * u / c
            return np.sum(h)

        calls.clear()
        found = structure._factors

        def counted(s: Any, product: Any) -> Any:
            calls.append(product)
            return found(s, product)

        with monkeypatch.context() as patch:
            patch.setattr(structure, "_factors", counted)
            ut.backprop(loss, np.ones((3, 4)), np.ones((3, 4)), np.full(4, 2.0), wrt=(0, 1, 2))
        return len(calls)

    calls: list[Any] = []
    for around in (np.tanh, lambda h: h - np.mean(h, axis=1, keepdims=True)):
        few, many = count(15, around), count(30, around)
        assert 0 < many <= 2.2 * few


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["silu", "written out"])
def test_the_slope_of_z_sigmoid_z_stays_1_where_z_is_large(name: str, dtype: Any) -> None:
    """Of (z − zσ(z) + 1) σ(z) the 1 is added last: added first, a large z swallows it, and the slope became 0.

    The slope is σ(z) + z σ(z) σ(−z), in extended precision.
    """
    f = {"silu": nn.silu, "written out": lambda z: z / (1 + np.exp(-z))}[name]
    z = np.concatenate([np.linspace(-30, 30, 3001), np.geomspace(30, 1e30, 3000)]).astype(dtype)
    wide = z.astype(np.longdouble)
    with np.errstate(over="ignore"):
        wanted = 1 / (1 + np.exp(-wide)) * (1 + wide / (1 + np.exp(wide)))
    for compile in (False, True):
        found = ut.grad(lambda z: np.sum(f(z)), compile=compile)(z)
        np.testing.assert_allclose(found, wanted.astype(np.float64), rtol=0, atol=20 * np.finfo(dtype).eps)
