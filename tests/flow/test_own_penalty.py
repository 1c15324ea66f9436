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


def squares(p):
    return sum(np.sum(w**2) for w in p[::2])


PENALISED = {
    "in the mean": lambda p, X, y: np.mean((network(p, X) - y) ** 2 + 0.6 * squares(p)),
    "in the quotient": lambda p, X, y: (np.sum((network(p, X) - y) ** 2) + 0.6 * len(X) * squares(p)) / len(X),
    "in the sum": lambda p, X, y: np.sum((network(p, X) - y) ** 2 + 0.6 * squares(p)) / len(X),
    "less what is negative": lambda p, X, y: -(-np.mean((network(p, X) - y) ** 2) - 0.6 * squares(p)),
    "of a factor": lambda p, X, y, s=0.6: np.mean((network(p, X) - y) ** 2) + s * squares(p),
}


@pytest.mark.parametrize("name", PENALISED)
def test_a_penalty_is_found_wherever_the_loss_adds_it(name):
    """What it adds is the difference to the loss without it."""
    loss, measured, p = PENALISED[name], ut.flow.recorded(PENALISED[name]), begin()
    given = (0.6,) if name == "of a factor" else ()
    measured(p, X[:50], NUMBERS[:50], *given)
    told = measured.flow.facts["penalty"]
    data = np.mean((network(p, X[:50]) - NUMBERS[:50]) ** 2)
    assert told["begin"] == pytest.approx(loss(p, X[:50], NUMBERS[:50]) - data)
    assert told["loss"] == pytest.approx(data)


@pytest.mark.parametrize("given", [True, False])
def test_a_penalty_whose_strength_is_an_argument_is_told(given):
    measured, p = ut.flow.recorded(PENALISED["of a factor" if given else "in the mean"]), begin()
    for _ in range(300):
        _, gradient = measured(p, X, NUMBERS, *((0.6,) if given else ()))
        p = [w - 0.1 * g for w, g in zip(p, gradient, strict=True)]
    assert kinds(measured) == ["over-regularised"]


def test_a_bias_that_a_loss_is_a_mean_of_is_no_penalty():
    """The score of a critic is the mean of X w + b, which is the mean of X w, and b; rows written into it are none."""

    def critic(p, X, Z):
        return np.mean(X @ p["w"] + p["b"]) - np.mean(np.tanh(Z @ p["w"]))

    def whole(p):
        return np.mean((X[:50] @ p["w"] - NUMBERS[:50, 0]) ** 2)

    for loss, args in ((critic, (X[:20], X[20:40])), (whole, ())):
        measured = ut.flow.recorded(loss)
        measured({"w": np.ones(10), "b": 0.5}, *args)
        assert not measured.flow.facts["penalty"]


def test_a_penalty_on_a_vector_of_weights_is_told():
    measured, w = ut.flow.recorded(lambda w, X, y: np.mean((X @ w - y) ** 2) + 20.0 * np.sum(w**2)), np.ones(10)
    for _ in range(300):
        _, gradient = measured(w, X, X[:, 0] - 2 * X[:, 1])
        w = w - 0.01 * gradient
    assert kinds(measured) == ["over-regularised"]


@pytest.mark.parametrize("shape", [(10,), (1, 10)])
def test_deviations_that_are_learned_are_no_penalty(shape):
    """The sum of their logarithms is, of a normal density: below 0 they would make it less."""
    data, p = 0.3 + 1.5 * X, {"mean": np.zeros(shape), "log": np.zeros(shape)}

    def loss(p, X):
        return np.mean(np.sum(((X - p["mean"]) / np.exp(p["log"])) ** 2, axis=1)) / 2 + np.sum(p["log"])

    measured = ut.flow.recorded(loss)
    for step in range(200):
        _, gradient = measured(p, data[step % 6 * 100 : step % 6 * 100 + 100])
        p = {name: x - 0.1 * gradient[name] for name, x in p.items()}
    assert np.allclose(np.exp(p["log"]), 1.5, rtol=0.2) and measured.findings == []
    assert measured.flow.facts["penalty"] == {}


def test_a_strength_that_comes_down_is_that_of_each_batch():
    def loss(p, X, y, strength):
        return np.mean((network(p, X) - y) ** 2) + squares(p) * strength

    measured, p = ut.flow.recorded(loss), begin()
    for step in range(200):
        _, gradient = measured(p, X, NUMBERS, 0.1 * 0.95**step)
        p = [w - 0.1 * g for w, g in zip(p, gradient, strict=True)]
    told = measured.flow.facts["penalty"]
    assert told["loss"] == pytest.approx(float(np.mean((network(measured.last[0], X) - NUMBERS) ** 2)), rel=0.01)
    assert kinds(measured) == []


@pytest.mark.parametrize(("strength", "rate", "steps"), [(3e-3, 0.1, 120), (1e-3, 0.02, 120), (3e-3, 0.5, 300)])
def test_a_penalty_of_usual_strength_is_no_cause_where_training_has_only_begun(strength, rate, steps):
    """Larger weights would gain much, but the loss falls, and with more steps it comes to a sixth."""
    digits, rng = ut.data.load_digits(), np.random.default_rng(0)
    rows, Y = digits.X[:640] - 0.3, ut.one_hot(digits.y[:640], 10)
    he = [rng.normal(size=(64, 32)) * np.sqrt(2 / 64), np.zeros(32), rng.normal(size=(32, 10)) * 0.02, np.zeros(10)]

    def loss(p, X, Y):
        z = np.maximum(X @ p[0] + p[1], 0) @ p[2] + p[3]
        return np.mean(strength * squares(p) - np.sum(Y * ut.log_softmax(z, axis=1), axis=1))

    measured, p = ut.flow.recorded(loss), he
    for step in range(steps):
        part = slice(step % 10 * 64, step % 10 * 64 + 64)
        _, gradient = measured(p, rows[part], Y[part])
        p = [w - rate * g for w, g in zip(p, gradient, strict=True)]
    assert kinds(measured) == []


def test_a_penalty_that_is_divided_by_0_is_infinite():
    measured = ut.flow.recorded(lambda p, X, y, by: np.mean((network(p, X) - y) ** 2) + squares(p) / by)
    assert measured(begin(), X, NUMBERS, 0.0)[0] == np.inf


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
