"""Published experiments that loops of one's own rebuild: what looks wrong at first, and is well."""

import numpy as np
import pytest

import undertow as ut


def kinds(measured):
    return [finding.kind for finding in measured.findings]


def two_linear_layers(times, n=20, width=512, steps=150):
    """The squared error of two linear layers of NTK scale on full batches, at a rate of ``times`` / λ before training.

    λ is the largest eigenvalue of the tangent kernel by the examples, (h hᵀ / width + |v|² / width · X Xᵀ / 10) / n.
    """
    rng = np.random.default_rng(1)
    X = rng.normal(size=(n, 10)) / np.sqrt(10)
    y, W, v = np.sign(X[:, :1]), rng.normal(size=(10, width)), rng.normal(size=(width, 1))

    def largest(W, v):
        h = X @ W
        return np.linalg.eigvalsh((h @ h.T + np.sum(v**2) * X @ X.T) / width / n)[-1]

    before = largest(W, v)
    rate = times / before
    measured = ut.flow.recorded(lambda params, X, y: np.mean((X @ params[0] @ params[1] / np.sqrt(width) - y) ** 2) / 2)
    for _ in range(steps):
        _, (dW, dv) = measured((W, v), X, y)
        if not np.isfinite(dW).all():
            return measured, rate, before, np.nan
        W, v = W - rate * dW, v - rate * dv
    measured((W, v), X, y)
    return measured, rate, before, largest(W, v)


@pytest.mark.parametrize("times", [1.0, 2.5, 3.2])
def test_a_catapult_is_no_step_too_large(times):
    """Lewkowycz et al., The large learning rate phase of deep learning: the catapult mechanism, 2020, section 2: below
    2/λ the loss falls and λ stays; from there to 4/λ it first rises many times over, and then falls while λ comes down
    below 2/η."""
    measured, rate, before, after = two_linear_layers(times)
    loss = measured.flow.scalars["loss"]
    assert loss[-1] < 0.1 * loss[0] and kinds(measured) == []
    if times < 2:
        assert loss.max() == loss[0] and after == pytest.approx(before, rel=0.02)
    else:
        assert loss.max() > 4 * loss[0] and after < min(2 / rate, 0.6 * before)


def test_beyond_four_by_the_curvature_it_diverges():
    """The same, section 2: above 4/λ nothing stops what grows."""
    measured, *_ = two_linear_layers(4.5)
    assert set(kinds(measured)) & {"step-too-large", "non-finite"}
    assert measured.findings[0].severity == "error"


@pytest.mark.parametrize("scale", [1.0, 1000.0])
def test_weights_that_hardly_move_are_well_where_the_output_is_scaled(scale):
    """Chizat, Oyallon and Bach, On lazy training in differentiable programming, NeurIPS 2019, section 1.1: of a model
    that begins at 0 and is scaled by α, with a loss by α², weights move by 1/α, while outputs come as far."""
    rng = np.random.default_rng(2)
    X, width = rng.normal(size=(100, 6)), 400
    y = np.sin(X[:, :1]) + 0.3 * X[:, 1:2]
    W0, v0 = rng.normal(size=(6, width)), rng.normal(size=(width, 1))

    def output(params, X):
        return np.maximum(X @ params[0] / np.sqrt(6), 0) @ params[1] / np.sqrt(width)

    start = output((W0, v0), X)
    loss = lambda params, X, y: np.mean((scale * (output(params, X) - start) - y) ** 2) / scale**2
    measured, params = ut.flow.recorded(loss), (W0, v0)
    for _ in range(150):
        _, gradient = measured(params, X, y)
        params = tuple(p - 0.4 * g for p, g in zip(params, gradient, strict=True))
    measured(params, X, y)
    moved = np.linalg.norm(params[0] - W0) / np.linalg.norm(W0)
    fell = measured.flow.scalars["loss"][-1] / measured.flow.scalars["loss"][0]
    assert fell < 0.15 and 0.02 < moved * scale < 0.2
    assert kinds(measured) == []


@pytest.mark.parametrize("start", [0.0, 1.0])
def test_residual_weights_that_begin_at_0(start):
    """Bachlechner et al., ReZero is all you need, UAI 2021, section 3: x + α F(x) with α = 0 passes what comes in and
    its gradient unchanged, however deep; with α = 1 and He's weights mean squares grow by 2 a block or more."""
    rng, n, depth = np.random.default_rng(0), 32, 24
    digits = ut.data.load_digits()
    X, Y = (digits.X[:256] - 0.3) / 0.37, ut.one_hot(digits.y[:256], 10)
    params = {
        "first": rng.normal(size=(64, n)) / 8,
        "blocks": [rng.normal(size=(n, n)) * np.sqrt(2 / n) for _ in range(depth)],
        "alpha": np.full(depth, start),
        "last": rng.normal(size=(n, 10)) / np.sqrt(n),
    }

    def loss(params, X, Y):
        h = ut.watch(X @ params["first"], "x")
        for i, W in enumerate(params["blocks"]):
            h = ut.watch(h + params["alpha"][i] * np.maximum(h @ W, 0), "x")
        return -np.mean(np.sum(Y * ut.log_softmax(h @ params["last"], axis=1), axis=1))

    measured = ut.flow.recorded(loss)
    for _ in range(30):
        _, gradient = measured(params, X, Y)
        params = ut.trees.map(lambda p, g: p - 0.05 * g, params, gradient)
    measured(params, X, Y)
    size, delta = (measured.flow.stat(name)[0, : depth + 1] for name in ("z.rms", "delta.rms"))
    if start:
        assert size[-1] / size[0] > 2 ** (depth / 2) and "exploding" in kinds(measured)
    else:
        np.testing.assert_allclose(size, size[0])
        np.testing.assert_allclose(delta, delta[0])
        assert kinds(measured) == [] and measured.flow.scalars["loss"][-1] < 1.6


def test_selu_holds_mean_0_and_variance_1_at_any_depth():
    """Klambauer et al., Self-normalizing neural networks, NIPS 2017, section 2: with weights of variance 1/n the
    mean 0 and the variance 1 are a stable fixed point, which relu with these weights does not have."""
    digits = ut.data.load_digits()
    X = digits.X[:, digits.X.std(axis=0) > 0]
    X = ((X - X.mean(axis=0)) / X.std(axis=0)).astype(np.float32)
    nn = ut.nn

    def fit(activation):
        layers = [
            i for k in range(24) for i in (nn.Dense(X.shape[1] if not k else 96, 96, init="lecun_normal"), activation)
        ]
        return ut.train(nn.Sequential(*layers, nn.Dense(96, 10)), (X, digits.y), loss="categorical_cross_entropy",
                        optimizer=ut.optim.adam(3e-4), epochs=4, progress=False)  # fmt: skip

    run, relu = fit("selu"), fit("relu")
    np.testing.assert_allclose(run.flow.stat("h.rms")[0, 4:24], 1, atol=0.25)
    np.testing.assert_allclose(run.flow.stat("h.mean")[0, 4:24], 0, atol=0.2)
    assert run.findings == [] and relu.flow.stat("h.rms")[0, 23] < 0.01
