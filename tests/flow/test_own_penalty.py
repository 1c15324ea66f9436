"""What a loop of one's own says in its loss alone: a penalty, targets it is not made for, and what is made large."""

import numpy as np
import pytest

import undertow as ut
from undertow.flow.directions import paces_of
from undertow.flow.products import find_again

RNG = np.random.default_rng(5)
X = RNG.normal(size=(600, 10))
SIGNS = np.where(X[:, 0] + X[:, 1] * X[:, 2] + 0.2 * RNG.normal(size=600) > 0, 1.0, -1.0)[:, None]
NUMBERS = np.sin(X[:, :1]) + 0.5 * X[:, 1:2] + 0.1 * RNG.normal(size=(600, 1))


def begin(n_out=1, dtype=np.float64):
    rng = np.random.default_rng(0)
    made = [rng.normal(size=(10, 16)) / 3, np.zeros(16), rng.normal(size=(16, n_out)) / 4, np.zeros(n_out)]
    return [x.astype(dtype) for x in made]


def network(p, X):
    return np.tanh(X @ p[0] + p[1]) @ p[2] + p[3]


def fit(loss, y, steps=300, rate=0.1, p=None, up=False):
    measured, rng, p = ut.flow.recorded(loss), np.random.default_rng(1), p or begin(np.shape(y)[1])
    for step in range(1, steps + 1):
        rows = rng.integers(0, len(X), 64)
        _, gradient = measured(p, X[rows].astype(p[0].dtype), y[rows].astype(p[0].dtype))
        now = rate(step) if callable(rate) else rate
        p = [(w + now * g if up else w - now * g).astype(w.dtype) for w, g in zip(p, gradient, strict=True)]
    return measured


def kinds(measured):
    return [x.kind for x in measured.findings]


def binary(p, X, y):
    z = 1 / (1 + np.exp(-network(p, X)))
    return -np.mean(y * np.log(z + 1e-9) + (1 - y) * np.log(1 - z + 1e-9))


@pytest.mark.parametrize(("strength", "told"), [(1e-4, False), (3e-3, False), (0.6, True)])
@pytest.mark.parametrize("classes", [True, False])
def test_a_penalty_that_the_loss_adds_is_told_where_it_keeps_the_network_from_learning(strength, told, classes):
    def loss(p, X, y):
        data = binary(p, X, y) if classes else np.mean((network(p, X) - y) ** 2)
        return data + strength * sum(np.sum(w**2) for w in p[::2])

    y = (SIGNS + 1) / 2 if classes else NUMBERS
    measured = fit(loss, y, 600)
    assert kinds(measured) == ["over-regularised"] * told
    if told:
        known, p = measured.flow.facts["penalty"], begin()
        assert known["begin"] == pytest.approx(strength * sum(np.sum(w**2) for w in p[::2]))


@pytest.mark.parametrize("targets", [SIGNS, (SIGNS + 3) / 2])
def test_a_binary_cross_entropy_is_told_that_targets_are_not_0_and_1(targets):
    found = fit(binary, targets).findings
    assert found[0].kind == "loss-activation-mismatch" and "made for targets of 0 and 1" in found[0].cause
    assert not kinds(fit(binary, (SIGNS + 1) / 2))


def test_losses_that_are_made_for_signs_are_left_alone():
    def logistic(p, X, y):
        return np.mean(np.log(1 + np.exp(-y * network(p, X))))

    def hinge(p, X, y):
        return np.mean(np.maximum(0, 1 - y * network(p, X)))

    assert not kinds(fit(logistic, SIGNS)) and not kinds(fit(hinge, SIGNS))


def test_numbers_that_a_last_activation_cannot_give_are_told_where_squares_are_made_small():
    ends = {
        "sigmoid": lambda z: 1 / (1 + np.exp(-z)), "relu": lambda z: np.maximum(z, 0), "tanh": np.tanh, "": lambda z: z,
    }  # fmt: skip
    for name, end in ends.items():
        wide = 2 * NUMBERS
        found = fit(lambda p, X, y, end=end: np.mean((end(network(p, X)) - y) ** 2), wide).findings
        assert ["loss-activation-mismatch" in [x.kind for x in found], name] == [bool(name), name]
        assert not name or f"ends in {name}" in found[0].cause
    within = fit(lambda p, X, y: np.mean((np.tanh(network(p, X)) - y) ** 2), np.tanh(NUMBERS))
    wider = lambda p, X, y: np.mean((5 * np.tanh(network(p, X)) - y) ** 2)
    scaled = fit(wider, 2 * NUMBERS, rate=0.01)  # what follows is known
    assert not kinds(within) and not kinds(scaled)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_rate_of_ones_own_that_is_spent_early_is_told_though_steps_are_lost_in_rounding(dtype):
    def loss(p, X, y):
        return np.mean((network(p, X) - y) ** 2)

    found = fit(loss, NUMBERS, 600, lambda step: 0.1 * 0.8**step, begin(dtype=dtype))
    assert kinds(found) == ["step-too-small"]
    rates = found.flow.scalars["rate"]
    assert rates[0] == pytest.approx(0.1 * 0.8, rel=1e-3)
    assert not kinds(fit(loss, NUMBERS, 600, lambda step: 0.1 * 0.995**step, begin(dtype=dtype)))


def test_the_pace_of_an_update_rule_of_ones_own_tells_that_it_is_spent():
    def loss(p, X, y):
        return np.mean((network(p, X) - y) ** 2)

    for fade, told in ((0.93, True), (0.996, False)):
        measured, rng, p = ut.flow.recorded(loss), np.random.default_rng(1), begin()
        m, v = [0 * w for w in p], [0 * w for w in p]
        for t in range(1, 601):
            rows = rng.integers(0, len(X), 64)
            _, g = measured(p, X[rows], NUMBERS[rows])
            m = [0.9 * a + 0.1 * b for a, b in zip(m, g, strict=True)]
            v = [0.999 * a + 0.001 * b * b for a, b in zip(v, g, strict=True)]
            rate = 1e-2 * fade**t / (1 - 0.9**t) * np.sqrt(1 - 0.999**t)
            p = [w - rate * a / (np.sqrt(b) + 1e-8) for w, a, b in zip(p, m, v, strict=True)]
        assert kinds(measured) == ["step-too-small"] * told
        assert np.isnan(measured.flow.scalars["rate"]).all() and len(paces_of(measured.flow)) == 599


def test_a_log_likelihood_that_is_made_large_learns():
    def likelihood(p, X, y):
        z = network(p, X)
        return np.mean(y * z - ut.softplus(z))

    assert not kinds(fit(likelihood, (SIGNS + 1) / 2, up=True))
    assert kinds(fit(likelihood, (SIGNS + 1) / 2))[0] == "turned-sign"


def test_layers_of_several_parameters_are_found_again_by_all_that_they_are_made_of():
    from undertow.flow.products import find_products
    from undertow.trace import trace_function

    def products(f):
        shapes = (np.ones((4, 3)), np.ones((3, 4)), np.ones((4, 3)), np.ones((3, 4)), np.ones((5, 4)))
        graph = trace_function(f, shapes).graph
        return find_products(graph.outputs[0], graph.nodes, graph.inputs[:4], list("ABCD"))

    first = products(lambda A, B, C, D, X: np.sum(np.tanh(X @ (A @ B)) @ (C @ D)))
    other = products(lambda A, B, C, D, X: np.sum(np.tanh(X @ (C @ D)) @ (A @ B)))
    found = find_again({x.name: x for x in first}, other)
    assert [found[x.name].made_of for x in first] == [x.made_of for x in first] == [(0, 1), (2, 3)]
