"""Trainings as people write them: what was missed, told of the wrong cause, or of a training that is well."""

import itertools
from dataclasses import dataclass, replace

import numpy as np
import pytest

import undertow as ut
from undertow import nn, optim
from undertow.flow.diagnose import explains
from undertow.flow.ends import activation_before, squashed_by
from undertow.flow.findings import Finding
from undertow.flow.rules.measures import held_out_slope
from undertow.flow.rules.written import train_call, write_optimizer

RNG = np.random.default_rng(0)
X = RNG.normal(size=(600, 6)).astype(np.float32)
CLASSES = ((X[:, 0] > 0) + (X[:, 1] > 0)).astype(np.int64)  # 0, 1, 2
CROSS = "categorical_cross_entropy"
SQUARES = "mean_squared_error"


def dense(*sizes, activation="relu", end=()):
    hidden = [item for a, b in itertools.pairwise(sizes[:-1]) for item in (nn.Dense(a, b), activation)]
    return nn.Sequential(*hidden, nn.Dense(*sizes[-2:]), *end)


def train(model, y, loss, X=X, **settings):
    settings = {"epochs": 10, "validation": 0.2, "progress": False, "optimizer": optim.adam(5e-3), **settings}
    return ut.train(model, (X, y), loss=loss, **settings)


def kinds(run):
    return [finding.kind for finding in run.findings]


# Targets


@pytest.mark.parametrize("signal", [0.35, 0.5])
def test_noisy_targets_that_are_learned_as_far_as_they_can_be_are_no_plateau(signal):
    """The best possible R² is signal² / (1 + signal²): 0.11 and 0.2."""
    rng = np.random.default_rng(1)
    wide = rng.normal(size=(4000, 6)).astype(np.float32)
    noisy = (signal * wide[:, 0] + rng.normal(size=4000)).astype(np.float32)
    run = train(dense(6, 16, 1, activation="tanh"), noisy, SQUARES, X=wide, epochs=15, optimizer=optim.adam(1e-3))
    assert kinds(run) == []
    assert 0.6 < held_out_slope(run.flow) < 1.6


def test_a_rate_that_ends_at_once_is_not_taken_for_noise():
    digits = ut.data.load_digits()
    rule = optim.sgd(optim.cosine(0.05, steps=20))
    run = train(dense(64, 64, 32, 10), digits.y, CROSS, X=digits.X, optimizer=rule, epochs=20)
    assert set(kinds(run)) <= {"plateau", "step-too-small"} and kinds(run)


def test_rows_of_one_class_and_targets_that_are_all_the_same():
    (one,) = train(dense(6, 8, 2), np.zeros(600, np.int64), CROSS).findings
    assert (one.kind, one.severity) == ("imbalanced-classes", "error") and "All rows are of class 0" in one.cause
    (same,) = train(dense(6, 8, 1), np.full(600, 0.7, np.float32), SQUARES).findings
    assert (same.kind, same.severity) == ("target-not-scaled", "error") and "0.7 in all rows" in same.cause


def test_shares_of_two_classes_are_no_labels():
    shares = (1 / (1 + np.exp(-X[:, :1] - X[:, 1:2]))).astype(np.float32)
    run = train(dense(6, 16, 1, end=["sigmoid"]), shares, "binary_cross_entropy", epochs=20)
    assert run.flow.facts["target"]["kind"] == "other" and kinds(run) == []


def test_the_bottleneck_of_an_autoencoder_is_meant():
    digits = ut.data.load_digits()
    model = dense(64, 48, 2, 48, 64, activation="tanh")
    run = train(model, digits.X, SQUARES, X=digits.X, epochs=12)
    assert run.flow.facts["target"]["is_input"] and "rank-collapse" not in kinds(run)


# The end of the network


@pytest.mark.parametrize(
    ("model", "y", "loss"),
    [
        (dense(6, 16, 3, end=["relu", "softmax"]), CLASSES, CROSS),
        (dense(6, 16, 1, end=["relu", "sigmoid"]), CLASSES[:, None] > 0, "binary_cross_entropy"),
        (dense(6, 16, 1, end=["sigmoid", "sigmoid"]), CLASSES[:, None] > 0, "binary_cross_entropy"),
    ],
)
def test_scores_that_are_bounded_before_they_become_probabilities(model, y, loss):
    found = train(model, np.asarray(y, np.int64), loss, epochs=5).findings
    assert [x.kind for x in found] == ["loss-activation-mismatch"]
    (remedy,) = found[0].remedies
    names = {"ut": ut, "model": model, "X": X, "y": np.asarray(y, np.int64)}
    exec(remedy.code.replace("epochs=5", "epochs=1, progress=False"), names)
    assert activation_before(names["better"]) is None


def own_softmax(z):
    e = np.exp(z - np.max(z, axis=1, keepdims=True))
    return e / np.sum(e, axis=1, keepdims=True)


def own_cross_entropy(z, y):
    return -np.mean(np.sum(y * np.log(own_softmax(z)), axis=1))


def test_probabilities_of_which_the_loss_makes_probabilities_again():
    one_hot = ut.one_hot(CLASSES, 3).astype(np.float32)
    told = lambda model, loss, y: kinds(train(model, y, loss, epochs=4, optimizer=optim.adam(0.02)))
    assert "loss-activation-mismatch" in told(dense(6, 16, 3, end=["softmax"]), own_cross_entropy, one_hot)
    assert "loss-activation-mismatch" in told(dense(6, 16, 3, end=[nn.Lambda(own_softmax, "own")]), CROSS, CLASSES)
    assert "loss-activation-mismatch" not in told(dense(6, 16, 3), own_cross_entropy, one_hot)
    record = nn.find_loss(own_cross_entropy, dense(6, 3))
    assert squashed_by(record, np.ones((4, 3)), np.eye(3)[[0, 1, 2, 0]]) == "log_softmax"


# Regularisation


def test_a_penalty_is_not_taken_for_a_loss_that_falls():
    found = train(dense(6, 32, 3, activation="tanh"), CLASSES, CROSS, epochs=60, l2=3.0).findings
    assert [x.kind for x in found] == ["over-regularised"]


def test_alpha_of_an_estimator_counts_as_the_penalty_that_it_is():
    from undertow.sklearn import MLPRegressor

    y = X[:, 0] + 0.5 * X[:, 1]
    net = MLPRegressor(hidden_layer_sizes=(40,), alpha=300.0, learning_rate_init=0.01, flow=True, random_state=0)
    (found,) = net.fit(X, y).run_.findings
    assert found.kind == "over-regularised" and "alpha=300" in found.cause
    assert net.run_.settings["l2"] == 300.0 / 200


def test_batches_of_one_explain_what_shrinks_and_dies():
    lone, few = (Finding("tiny-batch-normalisation", x, "", step=0) for x in ("error", "warning"))
    for kind in ("over-regularised", "dead-units"):
        found = Finding(kind, "error", "", step=5)
        assert explains(lone, found) and not explains(few, found)


# What is not finite


def test_a_validation_loss_that_is_not_finite_is_told():
    def naive(p, y):
        return -np.mean(y * np.log(p) + (1 - y) * np.log(1 - p))

    y = (X[:, :1] > 0).astype(np.float32)
    far = (X[:50] * 500, y[:50])
    run = train(dense(6, 16, 1, end=["sigmoid"]), y, naive, validation=far, epochs=3)
    assert np.isfinite([row["loss"] for row in run.history]).all()
    found = next(x for x in run.findings if x.kind == "non-finite")
    assert found.severity == "warning" and "The validation loss is" in found.cause and "log (" in found.cause
    assert "np.log(np.maximum" in found.remedies[0].code


def test_a_gradient_that_is_not_finite_is_traced_before_it_spoils_the_parameters():
    """The derivative of x^0.3 at 0 is infinite, though the loss is finite."""

    def loss(w, X):
        return np.mean(np.maximum(X @ w, 0) ** 0.3)

    measured, w = ut.flow.recorded(loss), np.ones(6)
    for _ in range(3):
        _, gradient = measured(w, X)
        w = w - 0.1 * gradient
    (found,) = measured.findings
    assert found.cause.startswith("the derivative of power") and found.step == 1


# Loops of one's own


def loop(loss, params, *data, rate, steps):
    measured = ut.flow.recorded(loss)
    for _ in range(steps):
        _, gradient = measured(params, *data)
        params = {name: x - rate * gradient[name] for name, x in params.items()}
    return measured


def test_equal_units_before_a_vector_that_reads_them():
    def loss(p, X, y):
        z = np.tanh(X @ p["W1"] + p["b1"]) @ p["w2"]
        return np.mean(np.logaddexp(0, z) - y * z)

    wide, y = X.astype(np.float64), (X[:, 0] > 0) * 1.0
    zeros = {"W1": np.zeros((6, 12)), "b1": np.zeros(12), "w2": np.zeros(12)}
    (found,) = loop(loss, zeros, wide, y, rate=0.5, steps=60).findings
    assert found.kind == "identical-units" and found.layers[0] == "parameter W1"
    rng = np.random.default_rng(0)
    drawn = {"W1": rng.normal(size=(6, 12)) / 3, "b1": np.zeros(12), "w2": rng.normal(size=12) / 4}
    assert kinds(loop(loss, drawn, wide, y, rate=0.5, steps=60)) == []


def test_weights_from_a_normal_distribution_of_deviation_one_explode():
    def loss(p, X, Y):
        h = X
        for name, W in p.items():
            z = ut.watch(h @ W, f"z{name[1:]}")
            h = np.maximum(z, 0)
        return -np.mean(np.sum(Y * ut.log_softmax(z, axis=1), axis=1))

    rng = np.random.default_rng(3)
    params = {f"W{i}": rng.normal(size=size) for i, size in enumerate([(6, 50), (50, 50), (50, 50), (50, 50), (50, 3)])}
    found = loop(loss, params, X.astype(np.float64), ut.one_hot(CLASSES, 3), rate=0.05, steps=40).findings
    assert found[0].kind == "exploding"


def test_a_loop_is_told_of_steps_and_not_of_epochs():
    measured = loop(lambda p, X: np.mean((X @ p["w"] - 1) ** 2), {"w": np.ones(6)}, X, rate=1e-7, steps=60)
    sentences = [remedy.sentence for finding in measured.findings for remedy in finding.remedies]
    assert any(x.startswith("More steps: ") for x in sentences) and not any("epochs" in x for x in sentences)


@pytest.mark.parametrize(
    "rule", [optim.grouped(optim.adam(1e-3), {"layers*": "frozen"}), optim.sgd(lambda t: 0.1 * (t // 10**6))]
)
def test_weights_that_never_move_are_not_offered_another_rate(rule):
    (found,) = train(dense(6, 8, 3), CLASSES, CROSS, optimizer=rule).findings
    assert (found.kind, found.severity) == ("step-too-small", "error") and "No weight has moved" in found.cause
    assert not any(remedy.name == "rate" for remedy in found.remedies)


def test_weights_of_a_loop_that_never_move_are_told_why():
    """By a gradient of 0, or a loop that forgets what it made; the remedies are of a loop, and run."""

    def without_slope(p, X):
        return np.mean((np.clip(X @ p["w"], 50, 60) - 1) ** 2)

    def squares(p, X):
        return np.mean((X @ p["w"] - 1) ** 2)

    params = {"w": np.full(6, 0.3)}
    (found,) = loop(without_slope, params, X, rate=0.1, steps=30).findings
    assert found.kind == "step-too-small" and "the gradient by all of them is 0" in found.cause
    assert "np.clip" in found.remedies[0].sentence
    names = {"ut": ut, "loss": without_slope, "params": params, "X": X.astype(np.float64), "y": None}
    report = eval(found.remedies[0].code.removeprefix("print").replace(", y,", ","), names)
    assert "does not change" in str(report)
    measured = ut.flow.recorded(squares)
    for _ in range(30):
        _, gradient = measured(params, X)
    (found,) = measured.findings
    assert "goes on with the weights it began with" in found.cause
    names = {"ut": ut, "params": params, "gradient": gradient, "rate": 0.1}
    exec(found.remedies[0].code, names)
    np.testing.assert_allclose(names["params"]["w"], params["w"] - 0.1 * gradient["w"])


def test_weights_whose_relus_are_all_dead_are_told_so_though_a_bias_moves():
    """Nothing is watched: that the gradient by the weights is 0 tells, and not the bias of the output, which moves."""

    def loss(p, X, Y):
        h = np.maximum(X @ p["W1"] + p["b1"], 0)
        return -np.mean(np.sum(Y * ut.log_softmax(h @ p["W2"] + p["b2"], axis=1), axis=1))

    rng = np.random.default_rng(0)
    W1, W2 = rng.normal(size=(6, 8)), rng.normal(size=(8, 3))
    params = {"W1": W1, "b1": np.full(8, -50.0), "W2": W2, "b2": np.zeros(3)}
    measured, Y = ut.flow.recorded(loss), ut.one_hot(np.arange(len(X)) % 10 // 4, 3)  # 40 %, 40 %, 20 %
    for _ in range(30):
        _, gradient = measured(params, X.astype(np.float64), Y)
        params = {name: w - 0.1 * gradient[name] for name, w in params.items()}
    assert np.any(params["b2"]) and not np.any(gradient["W1"]) and not np.any(gradient["W2"])
    (found,) = measured.findings
    assert (found.kind, found.layers) == ("born-dead-layer", ("layer 1, X @ W1 + b1",))
    told = {x.text: str(x.value) for x in found.evidence}
    assert "the gradient by all of them is 0" in told["follows from it: step-too-small"]


@pytest.mark.parametrize("forgotten", [("W1",), ("b1", "b2"), ()])
def test_parameters_that_a_loop_forgets_to_update_are_named(forgotten):
    def loss(p, X, Y):
        h = np.tanh(X @ p["W1"] + p["b1"])
        return -np.mean(np.sum(Y * ut.log_softmax(h @ p["W2"] + p["b2"], axis=1), axis=1))

    rng = np.random.default_rng(0)
    params = {"W1": rng.normal(size=(6, 8)), "b1": np.zeros(8), "W2": rng.normal(size=(8, 3)), "b2": np.zeros(3)}
    measured = ut.flow.recorded(loss)
    for _ in range(40):
        _, gradient = measured(params, X.astype(np.float64), ut.one_hot(CLASSES, 3))
        params = {name: w if name in forgotten else w - 0.3 * gradient[name] for name, w in params.items()}
    found = [finding for finding in measured.findings if finding.kind == "step-too-small"]
    assert [finding.layers for finding in found] == [tuple(f"parameter {name}" for name in forgotten)] * bool(forgotten)
    if found:
        assert "not moved, though there is a gradient" in found[0].cause
        names = {"ut": ut, "params": params, "gradient": gradient, "rate": 0.3}
        exec(found[0].remedies[0].code, names)
        assert all(np.any(names["params"][name] != params[name]) for name in forgotten)


def test_parameters_of_a_loop_without_a_gradient_are_not_said_to_be_forgotten():
    """They are held by stop_gradient on purpose."""
    measured = ut.flow.recorded(lambda p, X: np.mean((np.tanh(X @ ut.stop_gradient(p["W"])) @ p["v"] - X[:, 0]) ** 2))
    params = {"W": np.eye(6), "v": np.zeros(6)}
    for _ in range(40):
        _, gradient = measured(params, X.astype(np.float64))
        params = {name: w - 0.3 * gradient[name] for name, w in params.items()}
    assert not [finding for finding in measured.findings if finding.kind == "step-too-small"]


# Remedies as code


def warm(t):
    return 0.01 * np.minimum((t + 1) / 10, 1)


@pytest.mark.parametrize(
    "rule",
    [
        optim.adamw(optim.warmup(optim.cosine(1e-3, steps=60), 10), decay=0.1),
        optim.momentum(optim.one_cycle(0.1, steps=60), beta=0.95),
        optim.sgd(warm),
        optim.grouped(optim.adam(1e-3, beta1=0.8), {"layers[0]*": "frozen", "*.b": optim.sgd(0.1)}),
        optim.lookahead(optim.rmsprop(optim.step_decay(0.01, 0.5, 10)), k=3),
    ],
)
def test_the_call_that_trains_again_does_the_same_to_the_last_bit(rule):
    settings = {"batch_size": 32, "mixup": 0.1, "l2": 1e-4, "average": 0.5, "epochs": 3}
    settings["class_weights"] = {0: 1.0, 1: 2.0, 2: 1.5}
    clip = optim.clip_adaptive(0.05)
    run = train(dense(6, 8, 3), CLASSES, CROSS, optimizer=rule, clip=clip, early_stopping=2, **settings)
    names = {"ut": ut, "model": dense(6, 8, 3), "X": X, "y": CLASSES, "warm": warm}
    exec(train_call(run.flow, progress="False"), names)
    for loss in ("loss", "validation_loss"):  # that of the last steps, and that of the average of the epochs
        assert names["run"].history[-1][loss] == run.history[-1][loss]
    slower = eval(write_optimizer(run.flow, factor=0.1), names)
    assert slower.name == rule.name


@nn.register_layer
@dataclass
class LoudLinear:
    fan_in: int
    fan_out: int
    weight: np.ndarray | None = None

    def shapes(self):
        return {"weight": (self.fan_in, self.fan_out)}

    def initial(self, rng, dtype, follows):
        return replace(self, weight=rng.normal(size=(self.fan_in, self.fan_out)).astype(dtype))

    def __call__(self, x):
        return np.maximum(x @ self.weight, 0)


def test_there_is_no_code_for_what_cannot_be_changed_in_layers_of_ones_own():
    model = nn.Sequential(LoudLinear(6, 30), *(LoudLinear(30, 30) for _ in range(4)), nn.Dense(30, 3))
    run = train(model, CLASSES, CROSS, optimizer=optim.sgd(1e-6), epochs=2)
    found = next(x for x in run.findings if x.kind == "exploding")
    codes = {remedy.name: remedy.code for remedy in found.remedies}
    assert codes["initialisation"] == codes["normalisation"] == "" and codes["clipping"]


# Recurrences


@dataclass
class Recurrence:
    """h ← relu(x W + h U) over the second axis of x."""

    size: int
    radius: float
    static = ("radius",)
    W: np.ndarray | None = None
    U: np.ndarray | None = None

    def initial(self, rng, dtype, follows):
        W = rng.normal(size=(2, self.size)) / np.sqrt(2)
        U = self.radius * rng.normal(size=(self.size, self.size)) / np.sqrt(self.size)
        return replace(self, W=W.astype(dtype), U=U.astype(dtype))

    def __call__(self, x):
        h = np.maximum(x[:, 0] @ self.W, 0)
        for t in range(1, x.shape[1]):
            h = np.maximum(x[:, t] @ self.W + h @ self.U, 0)
        return h


def test_a_recurrence_that_multiplies_is_named_and_not_the_layer_that_reads_it():
    """Pascanu et al. 2013, section 2.1: beyond a spectral radius of 1, of √2 behind relu, values grow with each step.

    A normalisation of what comes out divides values and gradient by that size; biases of 0 have no part in it.
    """
    rng = np.random.default_rng(0)
    x = rng.normal(size=(600, 20, 2)).astype(np.float32)
    y = (x[:, 0, 0] > 0).astype(int)  # what came first is what has grown most
    settings = {"optimizer": optim.sgd(0.01), "epochs": 15, "batch_size": 64, "validation": 0.2, "seed": 0}
    model = nn.Sequential(Recurrence(32, 3.0), nn.Dense(32, 2))
    grown = nn.initialize(model, 0).layers[0](x)
    with pytest.raises(ut.TrainingError) as caught:
        train(model, y, CROSS, X=x, **settings)
    (found,) = caught.value.run.findings
    assert (found.kind, found.severity, found.paths[0]) == ("initial-loss", "error", "layers[0]")
    assert np.sqrt(np.mean(grown**2)) > 1e3 and "which layer 1 makes so large" in found.cause
    assert "biases" not in found.cause
    names = {"ut": ut, "model": model, "X": x, "y": y}
    exec(found.remedies[0].code.replace("epochs=15", "epochs=60, progress=False"), names)
    assert names["better"].layers[1].size == 32 and names["run"].history[-1]["validation_accuracy"] > 0.7


@pytest.mark.parametrize("epochs", [10, 30])
def test_labels_of_other_rows_are_named_where_the_loss_stands_still(epochs):
    """Labels dealt out anew: after 10 epochs nothing is learned, after 30 some training rows, one by one."""
    digits = ut.data.load_digits()
    for seed in range(3):
        y = np.random.default_rng(seed).permutation(digits.y)
        run = train(dense(64, 64, 10), y, CROSS, X=digits.X, epochs=epochs, optimizer=optim.adam(1e-3))
        (found,) = run.findings
        assert found.kind == "plateau" and found.remedies[0].sentence.startswith("Look whether each row of y")
        assert "chance alone" in found.cause or "dealt out anew" in found.cause
