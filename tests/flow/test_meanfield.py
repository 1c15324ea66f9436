"""Mean-field theory agrees with closed forms, with published figures and with simulated wide networks."""

import math

import numpy as np
import pytest
from scipy.special import erf

from undertow import nn
from undertow.errors import ArgumentError
from undertow.flow.gaussian import is_elementwise, moments, normal_places, slope
from undertow.flow.meanfield import (
    backward_factor,
    correlation_map,
    critical_variance,
    depth_scale,
    fixed_point,
    forward_variance,
)

ELEMENTWISE = [name for name in nn.ACTIVATIONS if name not in ("softmax", "log_softmax")]
CORRELATIONS = (-0.9, -0.3, 0.0, 0.5, 0.9, 0.99, 1.0)


# Closed forms


@pytest.mark.parametrize("degree", [0, 2, 4, 10])
def test_moments_of_normal_numbers_are_exact(degree):
    z, weights, _ = normal_places()
    assert weights @ z**degree == pytest.approx(math.prod(range(degree - 1, 0, -2)), rel=1e-9)


@pytest.mark.parametrize("q", [0.01, 1.0, 1e4])
@pytest.mark.parametrize("c", CORRELATIONS)
def test_relu_has_the_arc_cosine_kernel(q, c):
    """Cho and Saul, Kernel methods for deep learning, NIPS 2009, eq. 6."""
    angle = math.acos(c)
    kernel = q * (math.sin(angle) + (math.pi - angle) * math.cos(angle)) / (2 * math.pi)
    found = moments(nn.relu, q)
    assert found.products(np.array([[c]]))[0, 0] == pytest.approx(kernel, abs=1e-4 * q)
    assert found.square[0] == pytest.approx(q / 2, rel=1e-9)
    assert found.slope[0] == pytest.approx(0.5, rel=1e-9)


@pytest.mark.parametrize("q", [0.01, 0.5, 4.0])
@pytest.mark.parametrize("c", CORRELATIONS)
def test_erf_has_the_arcsine_kernel(q, c):
    """Williams, Computing with infinite networks, NIPS 1996, eq. 11; the slope derived here."""
    found = moments(erf, q)
    kernel = 2 / math.pi * math.asin(2 * q * c / (1 + 2 * q))
    assert found.products(np.array([[c]]))[0, 0] == pytest.approx(kernel, abs=1e-4)
    assert found.square[0] == pytest.approx(2 / math.pi * math.asin(2 * q / (1 + 2 * q)), rel=1e-9)
    assert found.slope[0] == pytest.approx(4 / math.pi / math.sqrt(1 + 4 * q), rel=1e-9)


@pytest.mark.parametrize("q", [1e-4, 1.0, 1e2, 1e6])
def test_hard_tanh_has_an_error_function_for_its_slope(q):
    """Pennington et al., Resurrecting the sigmoid, NIPS 2017, section 2.5: E[φ'(z)²] = erf(1/√(2q))."""
    assert backward_factor("hard_tanh", q, 1.0) == pytest.approx(erf(1 / math.sqrt(2 * q)), rel=0.02)


@pytest.mark.parametrize("deviation", [1.0, 30.0, 1000.0])
def test_a_saturated_tanh_keeps_its_slope_around_zero(deviation):
    """For large q, E[φ'(z)²] tends to ∫ sech⁴ / √(2πq) = (4/3) / √(2πq); at q = 1 SciPy integrates."""
    from scipy.integrate import quad

    density = lambda u: math.exp(-0.5 * (u / deviation) ** 2) / (deviation * math.sqrt(2 * math.pi))
    exact, _ = quad(lambda u: density(u) / math.cosh(u) ** 4, -20, 20)
    assert backward_factor("tanh", deviation**2, 1.0) == pytest.approx(exact, rel=1e-6)


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_slopes_are_those_of_differences(name):
    phi, z = nn.ACTIVATIONS[name], np.linspace(-2.9, 2.8, 30)
    assert slope(phi, z) == pytest.approx((phi(z + 1e-6) - phi(z - 1e-6)) / 2e-6, abs=1e-7)


@pytest.mark.parametrize("name", ELEMENTWISE)
@pytest.mark.parametrize("mean", [0.0, 0.7])
def test_averages_are_those_of_many_random_numbers(name, mean):
    rng, n, c = np.random.default_rng(0), 200_000, 0.6
    u = rng.standard_normal((2, n))
    a, b = 1.5 * u[0] + mean, 1.5 * (c * u[0] + math.sqrt(1 - c * c) * u[1]) + mean
    phi, found = nn.ACTIVATIONS[name], moments(nn.ACTIVATIONS[name], 2.25, mean)
    for value, sample in [
        (found.mean[0], phi(a)),
        (found.square[0], phi(a) ** 2),
        (found.products(np.array([[c]]))[0, 0], phi(a) * phi(b)),
        (found.slope[0], slope(phi, a) ** 2),
    ]:
        assert abs(value - sample.mean()) < 5 * sample.std() / math.sqrt(n) + 1e-4


# Published figures


def test_he_keeps_relu_at_depth_30_where_xavier_halves_it():
    """He et al. 2015, section 2.2: Xavier's weights lose √½ in size, so ½ in variance, at each layer of ReLU."""
    he = xavier = 1.0
    for _ in range(30):
        he, xavier = forward_variance("relu", he, 2.0), forward_variance("relu", xavier, 1.0)
    assert he == pytest.approx(1.0, rel=1e-6)
    assert math.sqrt(xavier) == pytest.approx(2.0**-15, rel=1e-6)
    assert backward_factor("relu", 1.0, 2.0) == pytest.approx(1.0)
    assert backward_factor("relu", 1.0, 1.0) == pytest.approx(0.5)


def test_the_critical_line_of_tanh():
    """Poole et al. 2016: σ_w = 1 without biases; Schoenholz et al. 2017: σ_w² = 1.76 for σ_b² = 0.05."""
    assert critical_variance("tanh") == pytest.approx(1.0, abs=1e-3)
    assert critical_variance("tanh", 0.05) == pytest.approx(1.76, abs=0.005)
    assert critical_variance("relu") == pytest.approx(2.0, abs=1e-3)


def test_sigmoid_shrinks_the_gradient_whatever_goes_in():
    """σ' ≤ 1/4, so χ ≤ σ_w²/16."""
    for q in (1e-6, 0.1, 1.0, 100.0):
        assert backward_factor("sigmoid", q, 1.0) <= 1 / 16
    end = fixed_point("sigmoid", 1.0)
    assert 0 < end.xi < 0.4 and end.c == 1.0


def test_selu_keeps_mean_zero_and_variance_one():
    """Klambauer et al. 2017, section 2: the fixed point (0, 1); E[φ'²] from the integrals of both branches."""
    found = moments(nn.selu, 1.0)
    assert found.mean[0] == pytest.approx(0.0, abs=1e-6)
    assert found.square[0] == pytest.approx(1.0, abs=1e-6)
    scale, alpha = 1.0507009873554805, 1.6732632423543772
    left = alpha**2 * math.exp(2) * (1 - 0.5 * (1 + math.erf(2 / math.sqrt(2))))  # ∫ e^2z over z < 0
    assert found.slope[0] == pytest.approx(scale**2 * (0.5 + left), rel=1e-6)
    assert fixed_point("selu", 1.0).q == pytest.approx(1.0, rel=1e-3)


def test_weights_of_glorots_heuristic_shrink_the_gradient_by_root_three():
    """Glorot and Bengio 2010, eq. 1: U(±1/√n) has n Var(W) = 1/3; near 0 tanh's slope is 1."""
    assert backward_factor("tanh", 1e-6, 1 / 3) == pytest.approx(1 / 3, rel=1e-4)


def test_in_the_chaotic_phase_examples_part():
    """Poole et al. 2016, figure 2: for σ_w = 2.5, σ_b = 0.3 equal examples move apart, to c* < 1."""
    found = fixed_point("tanh", 2.5**2, 0.3**2)
    assert found.chi > 1 and 0 < found.c < 1 and found.chi_c < 1
    assert found.xi < 0 < found.xi_c
    assert correlation_map("tanh", found.c, found.q, 2.5**2, 0.3**2) == pytest.approx(found.c, abs=1e-6)
    step = 1e-4
    apart = correlation_map("tanh", found.c + step, found.q, 2.5**2, 0.3**2) - found.c
    assert apart / step == pytest.approx(found.chi_c, rel=1e-2)


def test_in_the_ordered_phase_examples_become_one():
    found = fixed_point("tanh", 0.8, 0.1)
    assert found.chi < 1 and found.c == 1.0 and found.chi_c == found.chi
    assert found.q == pytest.approx(forward_variance("tanh", found.q, 0.8, 0.1), rel=1e-6)


def test_fixed_points_at_the_ends():
    assert fixed_point("tanh", 0.5).q == 0 and fixed_point("tanh", 0.5).chi == pytest.approx(0.5, rel=1e-3)
    assert fixed_point("relu", 2.5).q == math.inf
    assert fixed_point("relu", 2.0).q == 1.0


def test_depth_scales():
    assert depth_scale(math.exp(-1 / 7)) == pytest.approx(7.0)
    assert depth_scale(math.exp(1 / 7)) == pytest.approx(-7.0)
    assert depth_scale(1.0) == math.inf and depth_scale(0.0) == 0.0 and math.isnan(depth_scale(math.nan))


# Simulated wide networks, in plain NumPy


@pytest.mark.parametrize(
    ("name", "sigma_w2", "sigma_b2"), [("tanh", 1.5, 0.05), ("relu", 2.0, 0.0), ("gelu", 2.0, 0.1)]
)
def test_theory_is_what_wide_random_networks_do(name, sigma_w2, sigma_b2):
    """Forward variance, correlation of two examples, and the backward factor, at width 1000 and depth 5."""
    n, depth, seeds = 1000, 5, 4
    phi = nn.ACTIVATIONS[name]
    squares, cosines, factors = [], [], []
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        h = rng.standard_normal((2, n))
        zs, weights = [], []
        for _ in range(depth):
            W = rng.standard_normal((n, n)) * math.sqrt(sigma_w2 / n)
            zs.append(h @ W + rng.standard_normal(n) * math.sqrt(sigma_b2))
            weights.append(W)
            h = phi(zs[-1])
        delta = rng.standard_normal((2, n))
        start = np.mean(delta**2)
        for z, W in zip(reversed(zs[:-1]), reversed(weights[1:]), strict=True):
            delta = (delta @ W.T) * slope(phi, z)
        squares.append(np.mean(zs[-1] ** 2))
        cosines.append(zs[-1][0] @ zs[-1][1] / np.linalg.norm(zs[-1][0]) / np.linalg.norm(zs[-1][1]))
        factors.append(np.mean(delta**2) / start)
    q, c, factor = sigma_w2 + sigma_b2, sigma_b2 / (sigma_w2 + sigma_b2), 1.0  # z of the first layer
    for _ in range(depth - 1):
        factor *= backward_factor(name, q, sigma_w2)
        c = correlation_map(name, c, q, sigma_w2, sigma_b2)
        q = forward_variance(name, q, sigma_w2, sigma_b2)
    for expected, found in ((q, squares), (c, cosines), (factor, factors)):
        error = np.std(found, ddof=1) / math.sqrt(seeds)
        assert abs(np.mean(found) - expected) < 4 * error + 0.01 * abs(expected), (expected, found)


# What theory is not for


@pytest.mark.parametrize("name", list(nn.ACTIVATIONS))
def test_elementwise_functions_are_told_from_others(name):
    assert is_elementwise(nn.ACTIVATIONS[name]) is (name in ELEMENTWISE)


@pytest.mark.parametrize("function", [lambda h: h - h.mean(axis=0), lambda h: h[:, ::-1], lambda h: h.sum(), 3, len])
def test_other_functions_are_not_elementwise(function):
    assert not is_elementwise(function)


def test_a_function_of_rows_has_no_theory():
    with pytest.raises(ArgumentError, match="function of each number by itself, and 'softmax' is none"):
        fixed_point("softmax", 1.0)
