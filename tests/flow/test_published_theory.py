"""Published figures of networks at their beginning: forecast, mean-field functions and Jacobians agree with them."""

import itertools
import math

import numpy as np
import pytest

import undertow as ut
from undertow import nn, trees
from undertow.data import load_digits
from undertow.flow import forecast
from undertow.flow.gaussian import moments
from undertow.flow.meanfield import correlation_map, critical_variance, fixed_point

RNG = np.random.default_rng(0)


def stack(depth, width, activation, init, **settings):
    layers = [x for _ in range(depth) for x in (nn.Dense(width, width, init=init, bias=False, **settings), activation)]
    return nn.initialize(nn.Sequential(*layers), 0, np.float64)


def jacobian_at(model, x):
    """∂ output / ∂ input for one example, (units, inputs)."""
    return ut.jacobian(lambda x: model(x)[0])(x)[:, 0]


@pytest.mark.parametrize(("activation", "gain", "size"), [("relu", math.sqrt(2), 1.0), ("tanh", 1.0, 0.25)])
@pytest.mark.parametrize("orthogonal", [True, False])
def test_the_spread_of_the_squared_singular_values_of_the_jacobian(activation, gain, size, orthogonal):
    """Pennington et al., Resurrecting the sigmoid, NIPS 2017: at χ = 1 it is L (μ₂/μ₁² − 1 − s₁), where μₖ is
    E[φ'(z)²ᵏ], and s₁ is −1 for normal and 0 for orthogonal weights. For relu that is at least L, whatever the weights
    are; for tanh it is near 0 where z is small and the weights are orthogonal.
    """
    n, depth, found = 150, 6, []
    init = nn.orthogonal(gain=gain) if orthogonal else nn.normal(deviation=gain / math.sqrt(n))
    for _ in range(4):
        layers = [nn.Dense(n, n, init=init, bias=False) for _ in range(depth)]
        items = [x for layer in layers for x in (layer, activation)]
        model = nn.initialize(nn.Sequential(*items), int(RNG.integers(1000)), np.float64)
        squares = np.linalg.svd(jacobian_at(model, size * RNG.standard_normal((1, n))), compute_uv=False) ** 2
        found.append(np.var(squares / np.mean(squares)))
    q, expected = gain**2 * size**2, 0.0
    for _ in range(depth):
        slopes = moments(lambda z: _slope(activation, z), q)  # of φ', its square and fourth power
        squared = moments(lambda z: _slope(activation, z) ** 2, q)
        expected += float(squared.square[0] / slopes.square[0] ** 2) - (1 if orthogonal else 0)
        q = gain**2 * float(moments(nn.ACTIVATIONS[activation], q).square[0])
    assert np.mean(found) == pytest.approx(expected, rel=0.2, abs=0.01)


def _slope(activation, z):
    return np.heaviside(z, 0.0) if activation == "relu" else 1 / np.cosh(z) ** 2


def test_orthogonal_linear_networks_are_isometries_and_normal_ones_are_not():
    """Saxe et al. 2014, section 3; Pennington et al. 2017, section 2.5: the largest squared singular value of a product
    of L normal matrices tends to (L + 1)^(L + 1) / L^L."""
    n, depth = 200, 8
    x = RNG.standard_normal((1, n))
    singular = [
        np.linalg.svd(jacobian_at(stack(depth, n, "identity", init), x), compute_uv=False)
        for init in (nn.orthogonal, nn.normal(deviation=1 / math.sqrt(n)))
    ]
    assert np.allclose(singular[0], 1.0)
    assert singular[1].max() ** 2 == pytest.approx((depth + 1) ** (depth + 1) / depth**depth, rel=0.15)


@pytest.mark.parametrize(("init", "figure"), [(nn.uniform(limit=1 / math.sqrt(400)), 0.5), (nn.glorot_uniform, 0.8)])
def test_mean_singular_values_of_a_layer(init, figure):
    """Glorot and Bengio 2010, section 4.2.1: the mean singular value of the Jacobian from a layer to the next is 0.5
    with weights of U(±1/√n), and 0.8 with theirs."""
    model = stack(1, 400, "tanh", init)
    x = np.tanh(0.5 * RNG.standard_normal((1, 400)))
    assert np.linalg.svd(jacobian_at(model, x), compute_uv=False).mean() == pytest.approx(figure, rel=0.08)


def arc_cosine(c):
    """Cho and Saul 2009, eq. 6: the correlation behind relu."""
    return (math.sqrt(max(1 - c * c, 0)) + c * (math.pi - math.acos(min(c, 1.0)))) / math.pi


def test_relu_makes_examples_alike_with_the_square_of_depth():
    """Hayou, Doucet and Rousseau, On the impact of the activation function on deep neural networks training, ICML 2019:
    1 − c tends to 9 π² / (2 l²), and not geometrically."""
    c = exact = 0.3
    for depth in range(1, 301):
        c, exact = correlation_map("relu", c, 1.0, 2.0), arc_cosine(exact)
        if depth in (3, 30):
            assert 1 - c == pytest.approx(1 - exact, rel=2e-3)
    assert (1 - c) * depth**2 == pytest.approx(4.5 * math.pi**2, rel=0.1)


def test_smooth_functions_on_the_edge_of_chaos_make_examples_alike_with_depth():
    """The same: 1 − c tends to β / l, β = 2 E[φ'(z)²] / (q E[φ''(z)²])."""
    sigma_b2 = 0.04
    sigma_w2 = critical_variance("tanh", sigma_b2)
    q = fixed_point("tanh", sigma_w2, sigma_b2).q
    second = moments(lambda z: -2 * np.tanh(z) / np.cosh(z) ** 2, q)
    beta = 2 * float(moments(np.tanh, q).slope[0]) / (q * float(second.square[0]))
    c = 0.5
    for _ in range(400):
        c = correlation_map("tanh", c, q, sigma_w2, sigma_b2)
    assert (1 - c) * 400 == pytest.approx(beta, rel=0.1)


@pytest.mark.parametrize(("activation", "figure"), [("tanh", 1.298), ("elu", 1.227), ("relu", math.sqrt(2))])
def test_points_on_the_edge_of_chaos(activation, figure):
    """The same: (σ_b, σ_w) = (0.2, 1.298) for tanh, (0.2, 1.227) for elu, (0, √2) for
    relu, where it is a single point."""
    found = critical_variance(activation, 0.0 if activation == "relu" else 0.04)
    assert math.sqrt(found) == pytest.approx(figure, rel=0.01)


@pytest.mark.parametrize(
    ("name", "q"), [("relu", 1.0), ("hard_tanh", 1.0), ("relu6", 9.0), ("tanh", 10.0), ("sign", 1.0)]
)
@pytest.mark.parametrize("gap", [0.3, 1e-2, 1e-4])
def test_products_of_examples_that_are_nearly_alike(name, q, gap):
    """E φ(z_a) φ(z_b) is E φ² − ½ E (φ(z_a) − φ(z_b))², which is summed here on a fine grid of both directions."""
    phi = np.sign if name == "sign" else nn.ACTIVATIONS[name]
    found = moments(phi, q)
    u, (v, weights) = np.linspace(-8.5, 8.5, 20_001), np.polynomial.hermite_e.hermegauss(60)
    along, across = math.sqrt(q * (1 - gap / 2)) * u[:, None], math.sqrt(q * gap / 2) * v
    density = np.exp(-u * u / 2)
    apart = (phi(along + across) - phi(along - across)) ** 2
    expected = density @ apart @ weights / (2 * density.sum() * weights.sum())
    got = found.square[0] - found.products(np.full((1, 1), 1 - gap))[0, 0]
    assert got == pytest.approx(expected, rel=0.01 if name != "sign" else 0.05)


def residual(depth, width, activation, deviation):
    blocks = [
        nn.Residual(nn.Dense(width, width, init=nn.normal(deviation=deviation)), activation) for _ in range(depth)
    ]
    return nn.Sequential(nn.Dense(width, width), *blocks, nn.Dense(width, 10))


def test_tanh_blocks_grow_with_depth_and_their_gradient_with_its_root():
    """Yang and Schoenholz, Mean field residual networks: on the edge of chaos, NIPS 2017: the mean square of
    x + tanh(W x) grows linearly, and the logarithm of the squared gradient as √l; both by theory and measured.
    """
    rows = forecast(residual(80, 128, "tanh", 1 / math.sqrt(128)), RNG.standard_normal((32, 128))).layers
    rows = [row for row in rows if row.layer.kind == "Residual"]
    depths = np.arange(20, 80)
    for which in (0, 1):
        square = np.array([row.z[which] for row in rows])[20:] ** 2
        power = np.polyfit(np.log(depths), np.log(square), 1)[0]
        shrunk = 2 * np.log([rows[0].length[which] / row.length[which] for row in rows])[20:]
        assert power == pytest.approx(1.0, abs=0.2)
        assert np.polyfit(np.log(depths), np.log(shrunk), 1)[0] == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize(("scale", "deviation"), [(1.0, 1.0), (1.0, 1.4), (0.3, 1.4)])
def test_blocks_that_add_what_is_never_negative_let_the_gradient_grow_as_the_values_do(scale, deviation):
    """By Euler's theorem ⟨x, δ⟩ is the same at each place of x + relu(W x), so that δ grows at least as |x| by √n: more
    than by the root of 1 + χ a block, which is what Yang and Schoenholz 2017 give for independent terms."""
    n, depth, logs = 64, 40, []
    for seed in range(3):
        init = nn.normal(deviation=deviation / math.sqrt(n))
        blocks = [nn.Residual(nn.Dense(n, n, init=init), "relu", scale=scale) for _ in range(depth)]
        rows = forecast(
            nn.Sequential(nn.Dense(n, n), *blocks, nn.Dense(n, 10)), RNG.standard_normal((32, n)), seed=seed
        )
        first, last = rows.layers[0], [row for row in rows.layers if row.layer.kind == "Residual"][-1]
        logs.append([math.log(first.length[which] / last.length[which]) for which in (0, 1)])
    predicted, measured = np.mean(logs, axis=0)
    assert predicted == pytest.approx(measured, abs=0.5)
    assert predicted > depth / 2 * math.log(1 + scale**2 * deviation**2 / 2) + 0.5


@pytest.mark.parametrize("factor", [0.5, 1.1])
def test_scaled_shortcuts_multiply_the_gradient(factor):
    """He et al., Identity mappings in deep residual networks, ECCV 2016, eq. 7 and section 3.1: a shortcut of λ x
    multiplies the gradient by λ in each block, so that 0.5 does not converge."""

    def shortcut():
        return nn.Lambda(lambda h: factor * h, "shortcut")

    small = nn.normal(deviation=1e-3)
    blocks = [
        nn.Parallel(shortcut(), nn.Sequential(nn.Dense(64, 64, init=small), "relu"), combine="add") for _ in range(20)
    ]
    found = forecast(nn.Sequential(nn.Dense(64, 64), *blocks, nn.Dense(64, 10)), RNG.standard_normal((32, 64)))
    first, last = found.layers[0], next(x for x in found.layers[::-1] if x.layer.kind == "Parallel")
    for which in (0, 1):
        assert first.length[which] / last.length[which] == pytest.approx(factor**20, rel=0.02)
    assert [x.kind for x in found.findings] == (["vanishing"] if factor < 1 else [])


@pytest.mark.parametrize(("block", "figure"), [(False, 0.5), (True, 0.75)])
def test_gradients_shatter_in_plain_stacks_and_less_in_residual_ones(block, figure):
    """Balduzzi et al., The shattered gradients problem, ICML 2017, theorems 1 and 2: with units that are active by
    chance, for one example and the other, the gradients for both have the correlation 2⁻ᴸ in a plain stack, and (3/4)ᴸ
    with blocks x + f(x)."""
    rng, n, m, depth = np.random.default_rng(0), 300, 16, 4
    weights = [math.sqrt(2 / n) * rng.standard_normal((n, n)) for _ in range(depth)]
    active, direction = rng.integers(0, 2, (depth, m, n)), rng.standard_normal(n)

    def score(x):
        for W, gate in zip(weights, active, strict=True):
            f = (gate * x) @ W
            x = x + f if block else f
        return np.sum(x @ direction)

    g = ut.grad(score)(rng.standard_normal((m, n)))
    cosines = np.corrcoef(g)[np.triu_indices(m, 1)]
    assert cosines.mean() == pytest.approx(figure**depth, abs=3 / math.sqrt(n) / math.sqrt(8))


def test_the_loss_falls_on_the_straight_line_to_what_is_learned():
    """Goodfellow, Vinyals and Saxe, Qualitatively characterizing neural network optimization problems, ICLR 2015,
    figure 1: from the weights before training to those after it the loss falls all the way."""
    digits = load_digits()
    data = digits.X[:600].astype(np.float32), digits.y[:600]
    first = nn.initialize(nn.Sequential(nn.Dense(64, 32), "relu", nn.Dense(32, 32), "relu", nn.Dense(32, 10)), 0)
    settings = {"optimizer": ut.optim.momentum(0.05), "epochs": 10, "validation": None, "progress": False}
    run = ut.train(first, data, loss="categorical_cross_entropy", **settings)
    begin, rebuild = trees.flatten(first)
    end = trees.flatten(run.model)[0]
    losses = []
    for part in np.linspace(0, 1, 15):
        leaves = [a if callable(a) else (1 - part) * a + part * b for a, b in zip(begin, end, strict=True)]
        z = rebuild(leaves)(data[0])
        losses.append(np.mean(np.log(np.exp(z).sum(axis=1)) - z[np.arange(600), data[1]]))
    assert all(b < a for a, b in itertools.pairwise(losses)) and run.findings == []


def relu_over_a_batch(m):
    """λ of relu behind BatchNorm, of a batch of m rows on a sphere; derived here.

    Rows have the correlation ρ = −1/(m − 1); E[y² φ'²] is ½, E[φ' φ'] = ¼ + asin ρ / 2π, E[φ φ] the arc-cosine kernel.
    """
    rho = -1 / (m - 1)
    pair = 0.25 + math.asin(rho) / (2 * math.pi)
    both = arc_cosine(rho) / 2
    left = 0.5 * (m - 2) + 0.5 / m + (m - 1) / m * (pair + both) - 0.5 * (1 - 1 / m)
    return m * left / ((0.5 - both) * (m - 3) * (m - 1))


@pytest.mark.parametrize("rows", [16, 64])
@pytest.mark.parametrize("activation", ["identity", "relu"])
def test_batch_normalisation_lets_the_gradient_grow_by_what_the_batch_is(rows, activation):
    """Yang et al., A mean field theory of batch normalization, ICLR 2019: by (m − 2)/(m − 3) a layer without an
    activation, for a batch of m rows, and with relu by π/(π − 1) in large ones; more in small ones."""
    n, depth = 64, 14
    exact = (rows - 2) / (rows - 3) if activation == "identity" else relu_over_a_batch(rows)
    items = [x for _ in range(depth) for x in (nn.Dense(n, n, bias=False), nn.BatchNorm(n), activation)]
    model = nn.Sequential(nn.Dense(1000, n, bias=False), *items, nn.Dense(n, n))  # rows in as many directions as rows
    found = forecast(model, RNG.standard_normal((rows, 1000))).layers
    lengths = [row.length.predicted for row in found if row.layer.kind == "BatchNorm"]
    assert (lengths[5] / lengths[11]) ** (2 / 6) == pytest.approx(exact, rel=0.025)
    assert relu_over_a_batch(10**6) == pytest.approx(math.pi / (math.pi - 1), rel=1e-4)
