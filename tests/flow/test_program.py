"""What the program of a loss of one's own tells: outputs, targets, a softmax over examples, each against each."""

import warnings

import numpy as np
import pytest

import undertow as ut
from undertow import nn
from undertow.flow.looks import effective_rank
from undertow.flow.origin import trace_loss
from undertow.flow.program import find_outputs, find_targets

RNG = np.random.default_rng(3)
X = RNG.normal(size=(240, 9))
LABELS = (X[:, 0] * X[:, 1] > 0).astype(int) + (X[:, 2] > 0.4)
Y = np.eye(3)[LABELS]


def begin(k=3, width=16):
    rng = np.random.default_rng(0)
    W = {"W1": rng.normal(size=(9, width)) / 3, "W2": rng.normal(size=(width, k)) / np.sqrt(width)}
    return {**W, "b1": np.zeros(width), "b2": np.zeros(k)}


def loop(loss, params, *data, rate=0.1, n=60, size=30):
    measured, rng = ut.flow.recorded(loss), np.random.default_rng(1)
    for _ in range(n):
        rows = rng.integers(0, len(data[0]), size)
        _, gradient = measured(params, *(x[rows] for x in data))
        params = {name: x - rate * gradient[name] for name, x in params.items()}
    return measured, params


def scores(p, X):
    h = np.tanh(ut.watch(X @ p["W1"] + p["b1"], "z1"))
    return ut.watch(h @ p["W2"] + p["b2"], "z2")


def entropy(z, Y, axis=1):
    return -np.mean(np.sum(Y * ut.log_softmax(z, axis=axis), axis=1))


def test_the_outputs_of_a_loop_are_no_layer_that_others_could_read():
    """Three scores of classes have two directions: nothing has collapsed, and nothing trained reads them."""
    params = begin()
    params["W2"][:, 2] = -params["W2"][:, :2].sum(axis=1)  # probabilities leave one direction free
    measured, _ = loop(lambda p, X, Y: entropy(scores(p, X), Y), params, X, Y, n=120)
    assert measured.flow.facts["outputs"] == ["z2"]
    assert measured.flow.looks[0].layers[1]["rank"] < 2.2  # by which a hidden layer would be told
    assert [x.kind for x in measured.findings] == []


def outputs_of(loss):
    graph, _, params, seen = trace_loss(lambda p, args, y: loss(p, *args), begin(), (X, Y), ())
    return find_outputs(graph, params, seen)


def test_what_comes_after_a_watched_value_tells_whether_it_is_an_output():
    penalised = lambda p, X, Y: entropy(scores(p, X), Y) + 0.1 * np.sum(p["W1"] ** 2)
    assert outputs_of(penalised) == ["z2"]  # the penalty is one number beside the loss

    def shares(p, X, Y):
        q = ut.watch(ut.softmax(scores(p, X), axis=1), "q")
        return -np.mean(np.sum(Y * np.log(q), axis=1))

    assert outputs_of(shares) == ["z2", "q"]

    def past(p, X, Y):  # what the first layer gives goes past the second one, too
        z = ut.watch(X @ p["W1"] + p["b1"], "z1")
        return entropy(ut.watch(np.tanh(z) @ p["W2"], "z2") + z[:, :3], Y)

    assert outputs_of(past) == []


@pytest.mark.parametrize(
    ("loss", "place"),
    [
        (lambda p, X, Y: entropy(scores(p, X), Y), 1),
        (lambda p, Y, X: entropy(scores(p, X), Y), 0),
        (lambda p, X: np.mean((np.tanh(X @ p["W1"]) @ p["W1"].T - X) ** 2), 0),
        (lambda p, a, b: np.mean(ut.softplus(scores(p, a))) + np.mean(ut.softplus(-scores(p, b))), None),
        (lambda p, X, Y: entropy(scores(p, X.T.T), Y), 1),
    ],
    ids=["last", "first", "autoencoder", "real and made", "moved"],
)
def test_targets_are_what_no_product_brings_to_weights(loss, place):
    n = loss.__code__.co_argcount - 1
    args = {"first": (Y, X)}.get("first" if place == 0 and n == 2 else "", (X, Y if place else X)[:n])
    graph, _, params, _ = trace_loss(lambda p, args, y: loss(p, *args), begin(), args, ())
    assert find_targets(graph, params, graph.inputs[len(params) :]) == place


def share_between(n):
    """Of means at k / 20 of batches whose rows have a variance of 1."""
    between = np.var(np.arange(n) / 20, ddof=1)
    return between / (between + 1)


def test_what_a_generator_makes_is_not_taken_for_targets_in_an_order():
    """A discriminator is given what comes of a generator that moves: batches differ, and no row has an order."""

    def loss(p, real, made):
        return np.mean(ut.softplus(-scores(p, real))) + np.mean(ut.softplus(scores(p, made)))

    measured, params, rng = ut.flow.recorded(loss), begin(1), np.random.default_rng(2)
    for step in range(80):
        _, gradient = measured(params, rng.normal(2, 1, (30, 9)), rng.normal(step / 20, 1, (30, 9)))
        params = {name: x - 0.02 * gradient[name] for name, x in params.items()}
    told = measured.flow.facts["mixture"]
    assert told.keys() == {"batches", "drift", "drifts"} and told["drifts"] > 100
    assert told["drift"] == pytest.approx(share_between(80), abs=0.1)
    assert not {"oscillation", "plateau"} & {x.kind for x in measured.findings}


def picked(p, X, labels, axis):
    return -np.mean(ut.log_softmax(scores(p, X), axis=axis)[np.arange(len(X)), labels])


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("labels", [False, True])
def test_a_softmax_over_the_examples_is_told(axis, labels):
    """Of it, and not of one over the classes, the loss of a row depends on the rows beside it."""
    loss = (lambda p, X, y: picked(p, X, y, axis)) if labels else (lambda p, X, Y: entropy(scores(p, X), Y, axis))
    y = LABELS if labels else Y
    alone = loss(begin(), X[:1], y[:1]) + loss(begin(), X[1:2], y[1:2])
    assert (abs(2 * loss(begin(), X[:2], y[:2]) - alone) > 0.1) == (axis == 0)
    found = [x for x in loop(loss, begin(), X, y)[0].findings if x.kind == "loss-activation-mismatch"]
    assert bool(found) == (axis == 0)
    if found:
        assert "add up to 1 over the 30 examples" in found[0].cause and "test_program.py" in found[0].cause


def test_a_softmax_over_the_examples_is_told_of_a_loss_for_train():
    def over(z, Y):
        e = np.exp(z)
        return -np.mean(np.sum(Y * np.log(e / e.sum(axis=0)), axis=1))

    model = nn.Sequential(nn.Dense(9, 8), "tanh", nn.Dense(8, 3))
    run = ut.train(model, (X, Y), loss=over, epochs=2, progress=False)
    assert "loss-activation-mismatch" in [x.kind for x in run.findings]


def test_each_against_each_and_attention_over_a_set_are_meant():
    def pairs(p, A, B):  # both axes are examples; Radford et al., CLIP, 2021, figure 3
        z = (A @ p["W1"]) @ (B @ p["W1"]).T
        same = np.eye(len(A))
        return -np.mean(same * (ut.log_softmax(z, axis=0) + ut.log_softmax(z, axis=1)))

    def pooled(p, X, y):  # a bag of instances; Ilse et al., Attention-based deep multiple instance learning, 2018
        share = ut.softmax(np.tanh(X @ p["W1"]) @ p["W2"], axis=0)
        return np.mean((np.sum(share * X[:, :1], axis=0) - y[0, 0]) ** 2)

    for loss, data, k in ((pairs, (X, X + 0.1), 3), (pooled, (X, Y), 1)):
        measured, _ = loop(loss, begin(k), *data, n=3, rate=0.01)
        assert not measured.flow.facts.get("over_examples")


@pytest.mark.parametrize("crossed", [True, False])
def test_predictions_that_are_held_against_each_target_are_told_in_a_loop(crossed):
    """All predictions end near the mean then: the loss is that of a constant."""
    target = 2 * X[:, 0] + X[:, 1]

    def loss(p, X, y):
        return np.mean((scores(p, X) - (y if crossed else y[:, None])) ** 2)

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        measured, params = loop(loss, begin(1), X, target, n=150, rate=0.05)
    told = [x for x in measured.findings if x.kind == "loss-activation-mismatch"]
    spread = np.std(scores(params, X)) / np.std(target)
    assert (spread < 0.3, bool(told), any("each held against each" in str(x.message) for x in said)) == (crossed,) * 3
    if crossed:
        assert told[0].severity == "error" and "y[:, None]" in told[0].cause


def test_all_pairs_that_are_meant_are_told_nothing():
    measured, _ = loop(lambda p, X, y: np.mean((scores(p, X) - y[None, :]) ** 2), begin(1), X, X[:, 0], n=3)
    assert not measured.findings and "crossed" not in measured.flow.facts


def test_a_loss_that_stands_far_below_its_beginning_is_not_said_to_stay_high_where_none_is_known():
    """A linear function of noisy targets, from weights that are far off: its loss ends at the variance of the noise."""
    w = np.array([1.0, -0.5, 0.3])
    rng = np.random.default_rng(5)
    A = rng.normal(size=(400, 3))
    target = A @ w + 0.5 * rng.normal(size=400)
    fit = lambda rate: loop(lambda p, A, y: np.mean((A @ p["w"] - y) ** 2), {"w": np.full(3, 0.1)}, A,
                            target, rate=rate, n=300, size=16)[0]  # fmt: skip
    measured = fit(0.2)
    loss = measured.flow.scalars["loss"]
    assert 0.2 < loss[100:].mean() < 0.4 * loss[0]
    assert [x.kind for x in measured.findings] == []


def test_a_penalty_that_takes_all_weights_is_told_though_the_rows_held_out_are_easier():
    """They vary half as much, so that a constant is no worse for them than a network that learned half for the rest."""
    target = X[:, 0] + 0.5 * X[:, 1]
    model = nn.Sequential(nn.Dense(9, 16), "tanh", nn.Dense(16, 1))
    data = (X[:160], target[:160], X[160:], 0.6 * target[160:])
    run = ut.train(model, data[:2], loss="mean_squared_error", optimizer=ut.optim.adam(5e-3), l1=0.5, epochs=40,
                   validation=data[2:], batch_size=32, progress=False)  # fmt: skip
    assert run.history[-1]["validation_loss"] < 0.6 * target[:160].var()
    assert "over-regularised" in [x.kind for x in run.findings]


def test_the_rank_of_what_goes_in_is_that_of_the_inputs_wherever_they_are_given():
    """Kipf and Welling, Semi-supervised classification with graph convolutional networks, ICLR 2017, eq. 2: Â X W."""
    rng = np.random.default_rng(0)
    A, features = np.eye(40) + (rng.uniform(size=(40, 40)) < 0.1), rng.standard_normal((40, 3))

    def convolution(W, A, y, X):
        return np.mean((A @ np.tanh(ut.watch(A @ (X @ W), "z")) - y) ** 2)

    measured = ut.flow.recorded(convolution)
    measured(rng.standard_normal((3, 16)), A, np.ones((40, 16)), features)
    (look,) = measured.flow.looks
    assert look.layers[0]["rank_of_input"] == pytest.approx(effective_rank(features))
    assert effective_rank(features) < 3 < effective_rank(A)
