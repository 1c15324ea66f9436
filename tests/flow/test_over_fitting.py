"""Over-fitting: a clear rise of the validation loss, rows known by heart, and what is neither."""

import numpy as np
import pytest

import undertow as ut
from made_flows import made_flow
from undertow import nn, optim
from undertow.flow import diagnose
from undertow.flow.rules.fitting import _harm

SQUARES = "mean_squared_error"


def epochs(held, train, n=100, loss=SQUARES, **facts):
    """A record with these losses at the ends of its epochs, where a constant output has a loss of 1."""
    told = {"loss": loss, "task": "regression" if loss == SQUARES else "categorical", "logits": loss != SQUARES}
    curve = np.interp(np.linspace(0, len(train) - 1, 100), np.arange(len(train)), train)
    output = {"expected_loss": 1.0, "initial_loss": 1.5, "uniform_loss": 1.0}
    target = {"kind": "number", "mean": [0.0], "std": [1.0], "largest": 3.0} if loss == SQUARES else {}
    flow = made_flow(loss=curve, facts={"output": output, "target": target, "n_validation": n, **facts})
    flow.settings |= told
    flow.history = [
        {"epoch": k, "step": 5 * k, "loss": t, "validation_loss": h}
        for k, (t, h) in enumerate(zip(train, held, strict=True), 1)
    ]
    return flow


def kinds(flow):
    return [x.kind for x in diagnose(flow)]


def course(best, end, n=20):
    """A validation loss that falls for a quarter of the epochs and rises from there, beside a training loss."""
    quarter = n // 4
    held = np.concatenate([np.geomspace(1.0, best, quarter), np.linspace(best, end, n - quarter)])
    return held.tolist(), np.geomspace(1.0, 0.005, n).tolist()


@pytest.mark.parametrize(
    ("best", "end", "n", "found"),
    [
        (0.045, 0.115, 100, True),  # R² from 0.955 to 0.885
        (0.045, 0.115, 8, False),  # that few rows do not tell
        (0.14, 0.29, 40, True),
        (0.14, 0.16, 1000, False),  # surely, but by little
        (0.002, 0.006, 1000, False),  # three times next to nothing
    ],
)
def test_of_squares_a_rise_counts_that_is_clear_and_sure(best, end, n, found):
    assert kinds(epochs(*course(best, end), n)) == ["over-fitting"] * found


def test_a_cross_entropy_may_rise_a_little_where_the_network_is_only_surer():
    assert kinds(epochs(*course(0.045, 0.115), loss="categorical_cross_entropy_with_logits")) == []


def test_the_spread_of_a_rise_is_that_of_errors_which_move():
    """The loss (r + δ)² of many rows less r²: mean δ², deviation √(4 r² δ² + 2 δ⁴)."""
    rng = np.random.default_rng(0)
    r, moved = rng.normal(size=200_000) * 0.4, rng.normal(size=200_000) * 0.3
    rise = (r + moved) ** 2 - r**2
    best, up = 0.4**2, 0.3**2
    assert rise.mean() == pytest.approx(up, rel=0.02)
    assert rise.std() == pytest.approx(np.sqrt(4 * best * up + 2 * up**2), rel=0.02)


@pytest.mark.parametrize(("end", "found"), [(1.4, True), (0.9, False)])
def test_above_the_loss_of_a_constant_a_smaller_fall_of_the_training_loss_is_enough(end, found):
    """A quarter of the labels are wrong, and the network knows some of these rows by heart."""
    held, _ = course(0.8, end)
    train = np.concatenate([np.geomspace(1.0, 0.8, 5), np.linspace(0.8, 0.55, 15)]).tolist()
    name = "categorical_cross_entropy_with_logits"
    assert ("over-fitting" in kinds(epochs(held, train, n=1000, loss=name))) == found


@pytest.mark.parametrize(
    ("held", "trained", "found"), [(0.6, 1e-4, True), (0.6, 0.05, False), (0.3, 1e-4, False), (0.9, 0.05, True)]
)
def test_rows_known_by_heart_though_the_validation_loss_hardly_rose(held, trained, found):
    flow = epochs([1.0, *[held] * 19], np.geomspace(1.0, trained, 20).tolist())
    assert kinds(flow) == ["over-fitting"] * found


def test_rows_are_known_by_heart_though_a_spike_of_the_loss_came_between():
    """The optimizer threw the loss up for an epoch, and all rows are known again by the end."""
    train = np.geomspace(1.0, 1e-5, 40)
    train[32] = 0.2
    assert np.mean(train[-8:]) > 0.01 > 100 * train[-1]
    assert kinds(epochs([1.0, *[0.6] * 39], train.tolist())) == ["over-fitting"]


def test_rows_held_out_tell_nothing_where_as_little_was_learned_of_those_trained_on():
    """Of a class with 1 % of the rows a fifth of its entropy was learned: 400 rows hold 4 of it."""
    n, prior = 400, 0.01
    rng, entropy = np.random.default_rng(0), -prior * np.log(prior) - (1 - prior) * np.log(1 - prior)
    labels = (np.arange(n) < prior * n).astype(int)

    def kinds_with(trained, skill):
        scores = rng.normal(size=n)
        scores -= scores.mean()
        y = labels - labels.mean()
        scores += y * (skill / np.sqrt(n - 1) * scores.std() * np.sqrt(n / (y @ y)) - scores @ y / (y @ y))
        scores = np.log(prior / (1 - prior)) + 0.05 * scores  # no worse than a constant
        told = {"outputs": np.stack([0 * scores, scores], 1).tolist(), "targets": labels[:, None].tolist()}
        held = [entropy, *[0.95 * entropy] * 19]
        flow = epochs(held, np.linspace(entropy, trained * entropy, 20).tolist(), n,
                      "categorical_cross_entropy_with_logits", held_out=told)  # fmt: skip
        flow.facts["output"] |= {"expected_loss": entropy, "initial_loss": 1.2 * entropy, "uniform_loss": entropy}
        flow.facts["target"] |= {"kind": "classes", "n_classes": 2, "priors": [1 - prior, prior]}
        return [(x.kind, x.cause) for x in diagnose(flow) if x.kind == "over-fitting"]

    assert kinds_with(0.81, 1.0) == []
    ((_, cause),) = kinds_with(0.1, 0.0)
    assert cause.startswith("The training loss is 0.0056 at the end, and the validation loss 0.0532, where a constant")


def test_harm_is_the_t_statistic_of_the_loss_by_that_of_a_constant():
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(2)
    outputs, targets = rng.normal(size=(30, 1)), rng.normal(size=(30, 1))
    flow = epochs(*course(0.5, 0.5), held_out={"outputs": outputs.tolist(), "targets": targets.tolist()})
    t = stats.ttest_rel((outputs - targets) ** 2, targets**2).statistic[0] * np.sqrt(30 / 29)
    assert _harm(flow, 20) == pytest.approx(t) and _harm(flow, 31) == 0.0
    labels, scores = rng.integers(0, 10, 40), rng.normal(size=(40, 10))
    told = {"outputs": scores.tolist(), "targets": labels.tolist()}
    flow = epochs(*course(0.5, 0.5), loss="categorical_cross_entropy_with_logits", held_out=told)
    p = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    t = stats.ttest_rel(-np.log(p[range(40), labels]), np.full(40, np.log(10))).statistic * np.sqrt(40 / 39)
    assert _harm(flow, 20) == pytest.approx(t)
    flow.settings["loss"] = "hinge"
    assert _harm(flow, 20) == 0.0


@pytest.mark.parametrize("logits", [True, False])
def test_harm_of_a_single_probability(logits):
    rng = np.random.default_rng(3)
    z, labels = rng.normal(size=(40, 1)), rng.integers(0, 2, 40)
    p = 1 / (1 + np.exp(-z[:, 0]))
    told = {"outputs": (z if logits else p[:, None]).tolist(), "targets": labels[:, None].tolist()}
    flow = epochs(*course(0.5, 0.5), loss="binary_cross_entropy", held_out=told)
    flow.facts["target"] |= {"kind": "classes", "n_classes": 2, "priors": [0.3, 0.7]}
    flow.settings |= {"task": "binary", "logits": logits}
    worse = np.where(labels, np.log(0.7) - np.log(p), np.log(0.3) - np.log(1 - p))
    assert _harm(flow, 20) == pytest.approx(worse.mean() / worse.std() * np.sqrt(40))


def train_on(name, shuffle, seed, epochs=100):
    data = getattr(pytest.importorskip("sklearn.datasets"), f"load_{name}")()
    X = ((data.data - data.data.mean(axis=0)) / data.data.std(axis=0)).astype(np.float32)
    y = np.random.default_rng(seed).permutation(data.target) if shuffle else data.target
    layers = nn.Dense(X.shape[1], 32), "relu", nn.Dense(32, 3)
    return ut.train(nn.Sequential(*layers), (X, y), loss="categorical_cross_entropy", batch_size=16, epochs=epochs,
                    validation=0.25, optimizer=optim.adam(1e-3), progress=False)  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
def test_wine_with_the_labels_of_other_bottles(seed):
    """44 bottles are held out, too few to tell skill from chance, enough to tell that a constant is better."""
    assert [x.kind for x in train_on("wine", True, seed, epochs=150).findings] == ["over-fitting"]


@pytest.mark.parametrize("name", ["wine", "iris"])
def test_few_rows_that_are_learned_are_well(name):
    assert train_on(name, False, 0).findings == []


def test_a_wide_network_on_few_noisy_rows():
    """The best possible R² is 0.78; every row is known by heart, and rows held out are predicted with 0.4."""
    rng = np.random.default_rng(23)
    X = rng.normal(size=(150, 12)).astype(np.float32)
    y = X[:, 0] + 0.5 * X[:, 1] + 0.6 * rng.normal(size=150)
    y = ((y - y.mean()) / y.std()).astype(np.float32)
    layers = nn.Dense(12, 128), "relu", nn.Dense(128, 128), "relu", nn.Dense(128, 1)
    run = ut.train(nn.Sequential(*layers), (X, y), loss=SQUARES, batch_size=16, epochs=150, validation=0.3,
                   progress=False)  # fmt: skip
    assert [x.kind for x in run.findings] == ["over-fitting"]
    assert run.history[-1]["loss"] < 1e-6 and 0.5 < run.history[-1]["validation_loss"] < 0.7


# Units that die meanwhile


@pytest.mark.parametrize(
    ("before", "end", "loss", "held", "found"),
    [
        (0, 12, 0.002, 0.1, False),  # all rows are learned without them
        (0, 12, 0.002, 0.4, True),  # but not those held out
        (0, 12, 0.1, 0.1, True),
        (0, 28, 0.002, 0.1, True),  # hardly any is left
        (10, 12, 0.002, 0.1, True),  # dead before training
    ],
)
def test_units_that_died_while_all_rows_were_learned_were_not_needed(before, end, loss, held, found):
    curve = np.log(10) * (loss + (1 - loss) * np.exp(-np.arange(100) / 8))
    flow = made_flow(loss=curve, first={1: {"dead": before}}, last={1: {"dead": end}})
    flow.history = [{**row, "validation_loss": held * np.log(10)} for row in flow.history]
    assert kinds(flow) == ["dead-units"] * found
    if found:
        assert flow.looks[0].layers[1]["dead"] == before
        names = [x.name for x in diagnose(flow)[0].remedies]
        assert names[0] == ("initialisation" if before else "rate") and ("rate" in names) == (before == 0)
