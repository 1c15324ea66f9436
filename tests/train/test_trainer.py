"""What a training can be told: weights, penalties, accumulated and mixed batches, limits, blocks of data."""

import itertools
import warnings
from types import SimpleNamespace

import numpy as np
import pytest

import undertow as ut
from undertow import nn, optim, trees
from undertow.data import ArraySource, IterableSource
from undertow.errors import ArgumentError, DataError, DataWarning
from undertow.nn.mode import example_keys, training
from undertow.train import Trainer, trainer

RNG = np.random.default_rng(0)
X = RNG.standard_normal((160, 4))
LABELS = (X @ RNG.standard_normal((4, 3))).argmax(axis=1)
WEIGHTS = RNG.uniform(0.5, 2.0, 160)


def build(*middle):
    return nn.Sequential(nn.Dense(4, 8), "tanh", *middle, nn.Dense(8, 3))


def fit(model=None, data=(X, LABELS), **settings):
    settings = {
        "loss": "categorical_cross_entropy", "optimizer": optim.sgd(0.1), "epochs": 2, "batch_size": 20,
        "validation": None, "progress": False, **settings,
    }  # fmt: skip
    return ut.train(build() if model is None else model, data, **settings)


def numbers(model):
    return [np.asarray(x) for x in trees.flatten(model)[0] if not callable(x)]


def assert_close(a, b, **bounds):
    for x, y in zip(numbers(a.model), numbers(b.model), strict=True):
        np.testing.assert_allclose(x, y, **{"rtol": 1e-9, "atol": 1e-12, **bounds})


def steps_by_hand(model, weights, l1=0.0, l2=0.0, rate=0.1, max_norm=None, epochs=2):
    """Gradient descent on the same batches, written out."""
    W1, b1, W2, b2 = (x.copy() for x in numbers(model))
    for epoch in range(epochs):
        order = np.random.default_rng([0, epoch]).permutation(len(X))
        for rows in order.reshape(-1, 20):
            w, y = weights[rows] / weights[rows].sum(), np.eye(3)[LABELS[rows]]
            h = np.tanh(X[rows] @ W1 + b1)
            z = h @ W2 + b2
            p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
            d2 = (p - y) * w[:, None]
            d1 = d2 @ W2.T * (1 - h * h)
            grads = X[rows].T @ d1, d1.sum(axis=0), h.T @ d2, d2.sum(axis=0)
            W1 = W1 - rate * (grads[0] + l2 * W1 + l1 * np.sign(W1))
            W2 = W2 - rate * (grads[2] + l2 * W2 + l1 * np.sign(W2))
            b1, b2 = b1 - rate * grads[1], b2 - rate * grads[3]
            if max_norm:
                W1, W2 = (W * np.minimum(1, max_norm / np.linalg.norm(W, axis=0)) for W in (W1, W2))
    return W1, b1, W2, b2


@pytest.mark.parametrize(
    "settings", [{}, {"l2": 0.05}, {"l1": 0.01}, {"l1": 0.01, "l2": 0.1, "max_norm": 0.7}], ids=str
)
@pytest.mark.parametrize("weighted", [False, True])
def test_weights_and_penalties_are_those_of_the_formulas(weighted, settings):
    start = nn.initialize(build(), 0, np.float64)
    weights = WEIGHTS.astype(np.float32).astype(float) if weighted else np.ones(160)
    run = fit(start, (X, LABELS, WEIGHTS) if weighted else (X, LABELS), **settings)
    wanted = steps_by_hand(start, weights, **settings)
    for found, expected in zip(numbers(run.model), wanted, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def test_an_example_of_weight_two_is_as_two_examples():
    start, batch = nn.initialize(build(), 0, np.float64), {"batch_size": 320, "epochs": 3}
    twice = np.r_[np.arange(160), np.arange(80)]
    a = fit(start, (X, LABELS, np.r_[np.full(80, 2.0), np.ones(80)]), **batch)
    b = fit(start, (X[twice], LABELS[twice]), **batch)
    assert_close(a, b)
    assert a.history[-1]["loss"] == pytest.approx(b.history[-1]["loss"])


def test_balanced_classes_are_scikit_learns():
    """n / (K · count of the class), multiplied into the weights of the examples."""
    counts = np.bincount(LABELS)
    balanced = 160 / (3 * counts[LABELS])
    assert_close(fit(class_weights="balanced"), fit(data=(X, LABELS, balanced)), rtol=1e-6)
    both = fit(data=(X, LABELS, WEIGHTS), class_weights={0: 1.0, 1: 2.0, 2: 3.0})
    assert_close(both, fit(data=(X, LABELS, WEIGHTS * (1 + LABELS))), rtol=1e-6)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", ["labels", "rows", "binary"])
def test_the_validation_loss_weighs_classes_as_training_does(kind, weighted):
    """Σ w c l / Σ w c over the rows held out, by NumPy, and the metrics those of examples that count alike."""
    by_class = np.array([1.0, 4.0] if kind == "binary" else [1.0, 4.0, 0.5])
    labels = np.minimum(LABELS, 1) if kind == "binary" else LABELS
    y = np.eye(3)[labels] if kind == "rows" else labels
    train, held = np.arange(100), np.arange(100, 160)
    part = lambda rows: (X[rows], y[rows], *([WEIGHTS[rows]] if weighted else []))
    loss = "binary_cross_entropy" if kind == "binary" else "categorical_cross_entropy"
    model = nn.Sequential(nn.Dense(4, 1 if kind == "binary" else 3))
    run = ut.train(model, part(train), loss=loss, validation=part(held), epochs=2, progress=False,
                   dtype=np.float64, class_weights=by_class)  # fmt: skip
    p = run.predict_probability(X).astype(np.float64)
    p = np.hstack([1 - p.reshape(-1, 1), p.reshape(-1, 1)]) if p.size == len(X) else p
    w = WEIGHTS if weighted else np.ones(160)
    right = (np.argmax(p, axis=1) == labels).astype(float)
    for rows, before in ((held, "validation_"), (train, "")):
        costs = -np.log(p[rows, labels[rows]])
        if before:
            wanted = np.average(costs, weights=(w * by_class[labels])[rows])
            assert run.history[-1]["validation_loss"] == pytest.approx(wanted, rel=1e-6)
        found = run.history[-1][f"{before}accuracy"]
        assert found == pytest.approx(np.average(right[rows], weights=w[rows]), abs=1e-6)


def test_a_batch_of_no_weight_changes_nothing():
    """No loss and no gradient is a number of it; a training none of whose examples count is refused."""
    start = nn.initialize(build(), 0, np.float64)
    run = fit(start, lambda: iter([(X, LABELS, np.zeros(160))]))
    assert_close(run, ut.train(start, (X, LABELS), loss="categorical_cross_entropy", steps=1, progress=False,
                               optimizer=optim.sgd(1e-300), validation=None))  # fmt: skip


@pytest.mark.parametrize("clip", [None, optim.clip_by_global_norm(0.05)])
def test_accumulated_batches_are_one_large_batch(clip):
    a = fit(batch_size=40, clip=clip, epochs=4)
    b = fit(batch_size=20, clip=clip, epochs=4, accumulate=2)
    assert_close(a, b)


def test_mixed_examples_are_those_of_the_paper():
    """One step on pairs (x_i, x_j): inputs and losses are mixed with the share that is drawn for i."""
    start = nn.initialize(build(), 0, np.float64)
    run = fit(start, mixup=0.4, steps=1, epochs=None)
    order = np.random.default_rng([0, 0]).permutation(160)[:20]
    from undertow.train.feed import MIXING

    share = np.random.default_rng([0, 0, MIXING, 0]).beta(0.4, 0.4, 160)[order]
    assert 0.3 < share.mean() < 0.7 and share.std() > 0.2
    partner = order[::-1]
    mixed = share[:, None] * X[order] + (1 - share[:, None]) * X[partner]
    y = share[:, None] * np.eye(3)[LABELS[order]] + (1 - share[:, None]) * np.eye(3)[LABELS[partner]]
    _, grads = ut.value_and_grad(lambda model: nn.categorical_cross_entropy_with_logits(model(mixed), y))(start)
    for new, old, g in zip(numbers(run.model), numbers(start), numbers(grads), strict=True):
        np.testing.assert_allclose(new, old - 0.1 * g, rtol=1e-9, atol=1e-12)


def test_steps_and_seconds_end_a_training(monkeypatch):
    run = fit(steps=11, epochs=None)
    assert [row["step"] for row in run.history] == [8, 11] and run.stopped == "finished"
    ticks = itertools.count()  # a clock that goes on by 0.01 s whenever it is asked
    monkeypatch.setattr(trainer, "time", SimpleNamespace(perf_counter=lambda: 0.01 * next(ticks)))
    run = fit(seconds=0.3, epochs=None)
    assert 0.3 <= run.history[-1]["seconds"] < 0.4 and run.stopped == "finished"


def test_gradients_that_are_not_finite_can_be_skipped_or_zeroed():
    """A NaN in one example spoils one batch of eight: skipped, the others train as if it were not there."""
    broken = X.copy()

    def loss(p, y):  # at one example, a root of 0, whose slope is infinite
        root = np.sqrt(np.where(y[:, 0] > 50, p[:, 0] - ut.stop_gradient(p[:, 0]), 1.0))
        return np.mean(np.sum((p - y) ** 2, axis=1)) + 1e-30 * np.sum(root)

    targets = np.eye(3)[LABELS]
    targets[7] = 100.0
    with pytest.raises(ut.TrainingError):
        fit(data=(broken, targets), loss=loss, epochs=3)
    run = fit(data=(broken, targets), loss=loss, epochs=1, non_finite="skip")
    assert np.isfinite(run.history[-1]["loss"]) and run.history[-1]["step"] == 8
    order = np.random.default_rng([0, 0]).permutation(160)
    kept = [rows for rows in order.reshape(8, 20) if 7 not in rows]
    assert len(kept) == 7
    trainer = Trainer(nn.initialize(build(), 0, np.float64), (broken, targets), loss=loss, validation=None,
                      optimizer=optim.sgd(0.1), progress=False)  # fmt: skip
    for rows in kept:
        trainer.train_on(broken[rows], targets[rows])
    for a, b in zip(numbers(run.model), numbers(trainer.model), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)
    zeroed = fit(data=(broken, targets), loss=loss, epochs=1, non_finite="zero")
    assert all(np.isfinite(x).all() for x in numbers(zeroed.model))


def test_dropout_draws_other_units_in_each_step_and_none_when_predicting():
    seen = []

    class Look:
        def on_step_end(self, epoch, step, loss, model):
            seen.append(loss)

    same = np.repeat(X[:1], 160, axis=0), np.repeat(LABELS[:1], 160)
    fit(build(nn.Dropout(0.5)), same, optimizer=optim.sgd(1e-300), callbacks=Look())
    assert len(set(seen)) == len(seen) == 16
    run = fit(build(nn.Dropout(0.5)), epochs=150, optimizer="adam")
    np.testing.assert_array_equal(run.outputs(X), run.outputs(X))
    assert np.mean(run.predict(X) == LABELS) > 0.8


def test_dropout_does_not_depend_on_threads_or_on_how_batches_are_split():
    start = nn.initialize(build(nn.Dropout(0.3)), 0, np.float64)
    before = ut.get_threads()
    try:
        ut.set_threads(1)
        a = fit(start, batch_size=40)
        ut.set_threads(2)
        b = fit(start, batch_size=40)
    finally:
        ut.set_threads(before)
    assert_close(a, b)
    assert_close(a, fit(start, batch_size=10, accumulate=4))


def test_batch_norm_keeps_running_statistics():
    """After one epoch of one step the running mean is a tenth of the batch's, as in PyTorch."""
    run = fit(nn.Sequential(nn.BatchNorm(4), nn.Dense(4, 3)), batch_size=160, epochs=1)
    norm = run.model.layers[0]
    np.testing.assert_allclose(norm.mean, 0.1 * X.mean(axis=0), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(norm.variance, 0.9 + 0.1 * X.var(axis=0, ddof=1), rtol=1e-9)


def test_layers_act_as_in_training_within_the_block_alone():
    layer = nn.Dropout(0.5)
    with training(example_keys(0, 0, 160)):
        assert (layer(X) == 0).mean() == pytest.approx(0.5, abs=0.1)
    np.testing.assert_array_equal(layer(X), X)


def blocks_of(order, size):
    def make():
        for first in range(0, len(order), size):
            rows = order[first : first + size]
            yield X[rows], LABELS[rows], WEIGHTS[rows].astype(np.float32)

    return make


def test_a_source_trains_as_arrays_do():
    """The same batches, in blocks of any size, lead to the same parameters."""
    found = []
    for size in (160, 60, 37):
        source = IterableSource(blocks_of(np.arange(160), size), shuffle=False)
        held = ArraySource(X[:50], LABELS[:50])
        run = fit(nn.initialize(build(nn.Dropout(0.2)), 0, np.float64), source, validation=held, epochs=3)
        found.append(run)
        assert len(run.history) == 3 and "validation_accuracy" in run.history[-1]
    assert_close(found[0], found[1], rtol=0, atol=0)
    assert_close(found[0], found[2], rtol=0, atol=0)
    blocks = IterableSource(blocks_of(np.arange(160), 60))
    with pytest.raises(ArgumentError, match=r"is 0\.2, but data .* cannot be split by a share"):
        fit(data=blocks, validation=0.2)


def test_a_trainer_can_be_looked_into_between_epochs():
    trainer = Trainer(build(), (X, LABELS), loss="categorical_cross_entropy", epochs=5, progress=False)
    rows = list(itertools.islice(trainer, 2))
    assert [row["epoch"] for row in rows] == [1, 2] and not trainer.done
    measured = trainer.evaluate(X, LABELS)
    assert set(measured) == {"loss", "accuracy"}
    run = trainer.fit()
    assert len(run.history) == 5 and trainer.done
    whole = ut.train(build(), (X, LABELS), loss="categorical_cross_entropy", epochs=5, progress=False)
    assert_close(run, whole, rtol=0, atol=0)


def test_the_history_tells_rate_and_share_of_clipped_steps():
    run = fit(optimizer=optim.sgd(optim.cosine(0.1, 16)), clip=optim.clip_by_global_norm(1e-6), metrics=["f1_macro"])
    assert [row["rate"] for row in run.history] == pytest.approx([0.05, 0.0], abs=1e-12)
    assert run.history[0]["clipped"] == 1.0
    assert "f1_macro" in run.history[0] and "accuracy" not in run.history[0]


def test_a_run_measures_what_it_was_trained_with(tmp_path):
    """Metrics of one's own too, as long as the run is in memory; of a run that was loaded they are asked for."""

    def near(y, p):
        return float(np.mean(np.abs(y - p) <= 1))

    run = fit(metrics=["f1_macro", near])
    found = run.evaluate(X, LABELS)
    assert list(found) == ["loss", "f1_macro", "near"]
    assert found["near"] == pytest.approx(np.mean(np.abs(LABELS - run.predict(X)) <= 1))
    assert list(run.evaluate(X, LABELS, metrics="accuracy")) == ["loss", "accuracy"]
    loaded = ut.load(run.save(tmp_path / "run"))
    with pytest.warns(UserWarning, match=r"metrics of your own, .* not saved and so not measured: near\. Give them"):
        assert list(loaded.evaluate(X, LABELS)) == ["loss", "f1_macro"]
    assert loaded.evaluate(X, LABELS, metrics=["f1_macro", near]) == found


def test_a_schedule_that_asks_for_values_is_followed_too():
    """A plain Python function of the step, with an if in it."""

    def rate(t):
        return 0.1 if t < 8 else 0.0

    run = fit(optimizer=optim.sgd(rate))
    assert_close(run, fit(epochs=1))


def in_batches(X, y, size=25):
    """A function that makes batches, and one of the kind that other libraries' loaders are."""

    class Loader:
        def __iter__(self):
            return iter([(X[k : k + size], y[k : k + size]) for k in range(0, len(X), size)])

        def __len__(self):
            return -(-len(X) // size)

    return lambda epoch: iter(Loader()), Loader()


def test_batches_are_trained_and_validated_on_in_whatever_they_come():
    """A function that makes them, a loader, a list of pairs: as arrays are, also held out; a generator, once."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 3)).astype(np.float32)
    y = (X[:, 0] > 0).astype(np.int64)
    held = X[150:], y[150:]
    told = {"loss": "categorical_cross_entropy", "epochs": 2, "progress": False, "batch_size": 25}

    def rows(data, validation):
        history = ut.train(nn.Dense(3, 2), data, validation=validation, **told).history
        return [(row["loss"], row["validation_loss"], row["validation_accuracy"]) for row in history]

    function, loader = in_batches(X, y)
    ways = [function, loader, list(loader)]
    beside, its_loader = in_batches(*held)
    wanted = rows(function, held)
    for data in ways:
        for validation in (held, beside, its_loader, list(its_loader), ArraySource(*held)):
            np.testing.assert_allclose(rows(data, validation), wanted, rtol=1e-6)
    np.testing.assert_allclose(rows((X, y), beside), rows((X, y), held), rtol=1e-6)
    once = ut.train(nn.Dense(3, 2), iter(loader), validation=None, **{**told, "epochs": 1})
    assert once.history[0]["loss"] == wanted[0][0]
    with pytest.raises(DataError, match="the generator is used up"):
        ut.train(nn.Dense(3, 2), iter(loader), validation=None, **told)


def test_a_generator_to_validate_on_is_refused_before_training():
    """It would be used up when it is measured for the second time; for one epoch it is enough."""
    X, y = np.ones((100, 3), np.float32), np.arange(100) % 2
    function, loader = in_batches(X, y)
    seen = []
    told = {"loss": "categorical_cross_entropy", "progress": False, "callbacks": [lambda info: seen.append(info)]}
    for data in ((X, y), function):
        with pytest.raises(DataError, match=r"validation is a generator, .* Give the function that makes it"):
            ut.train(nn.Dense(3, 2), data, validation=iter(loader), epochs=2, **told)
    assert not seen
    assert "validation_loss" in ut.train(nn.Dense(3, 2), (X, y), validation=iter(loader), epochs=1, **told).history[0]
    ut.train(nn.Dense(3, 2), (X, y), validation=iter(loader), steps=2, **told)


def test_rows_to_train_on_and_rows_held_out_are_not_both_trained_on():
    """Two pairs, as data sets of other libraries come; a list of pairs is one of batches."""
    X, y = np.ones((100, 3), np.float32), np.arange(100) % 2
    told = {"loss": "categorical_cross_entropy", "progress": False, "epochs": 1}
    with pytest.raises(DataError, match=r"training data are two pairs \(X, y\)\. Give one .*validation=\(X, y\)"):
        ut.train(nn.Dense(3, 2), ((X, y), (X[:20], y[:20])), **told)
    with pytest.raises(DataError, match="there are no examples"):
        ut.train(nn.Dense(3, 2), [(), ()], **told)
    assert ut.train(nn.Dense(3, 2), [(X, y), (X, y)], validation=None, **told).settings["n_examples"] in (None, 200)


def test_nothing_is_held_out_of_batches_unless_it_is_told():
    """The usual share of data that are there is none of data that come: said once, and kept for resuming."""
    function, _ = in_batches(np.ones((100, 3), np.float32), np.arange(100) % 2)
    told = {"loss": "categorical_cross_entropy", "epochs": 1, "progress": False}
    with pytest.warns(DataWarning, match="^nothing is held out for validation, .* Give validation=None, or what to"):
        run = ut.train(nn.Dense(3, 2), function, **told)
    assert run.settings["validation"] is None and "validation_loss" not in run.history[0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for none in (None, 0):
            assert ut.train(nn.Dense(3, 2), function, validation=none, **told).settings["validation"] is None
    with pytest.raises(ArgumentError, match=r"validation is 0.2, but data that are read in blocks cannot be split"):
        ut.train(nn.Dense(3, 2), function, validation=0.2, **told)
