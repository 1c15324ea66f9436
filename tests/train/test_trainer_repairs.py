"""What once went wrong in a training: resumed within an epoch, steps left out, layers shared, many sizes, copies."""

import copy
import itertools
import pickle
import signal
import warnings
from importlib import import_module
from types import SimpleNamespace

import numpy as np
import pytest

import undertow as ut
from undertow import nn, optim, trees
from undertow.data import ArraySource, IterableSource
from undertow.errors import ArgumentError, DataError, ShapeError
from undertow.train import Diverged, Plan, Trainer
from undertow.train.session import Session

RNG = np.random.default_rng(0)
X = RNG.standard_normal((100, 4)).astype(np.float32)
LABELS = (X @ RNG.standard_normal((4, 3))).argmax(axis=1)
VALUES = X @ RNG.standard_normal((4, 1)).astype(np.float32)


def build(*middle):
    return nn.Sequential(nn.Dense(4, 8), "tanh", *middle, nn.Dense(8, 3))


def settings(**more):
    usual = {"loss": "categorical_cross_entropy", "batch_size": 16, "validation": None, "progress": False}
    return usual | more


def bits(run):
    return [np.asarray(x).tobytes() for x in trees.flatten(run.model)[0] if not callable(x)]


def rows(run):
    times = "seconds", "examples_per_second"
    return [{name: value for name, value in row.items() if name not in times} for row in run.history]


def blocks():
    return IterableSource(lambda: ((X[i : i + 30], LABELS[i : i + 30]) for i in range(0, 100, 30)))


@pytest.mark.parametrize("data", [lambda: (X, LABELS), blocks], ids=["arrays", "source"])
@pytest.mark.parametrize("steps", [5, 7, 8, 11])
def test_a_training_that_its_steps_ended_within_an_epoch_goes_on_there(tmp_path, data, steps):
    """An epoch has 7 steps, the last of 4 examples."""

    def chosen(**more):
        return settings(accumulate=3, mixup=0.4, dtype="float64", optimizer=optim.momentum(0.1), **more)

    model = build(nn.BatchNorm(8), nn.Dropout(0.2))
    whole = ut.train(model, data(), **chosen(steps=23))
    part = ut.train(model, data(), **chosen(steps=steps, checkpoint=tmp_path))
    again = ut.resume(tmp_path, data(), progress=False)  # nothing is left to do
    assert bits(again) == bits(part) and rows(again) == rows(part)
    run = ut.resume(tmp_path, data(), steps=23, progress=False)
    assert bits(run) == bits(whole) and rows(run) == rows(whole)


def test_a_source_goes_on_after_the_short_batch_that_ends_an_epoch(tmp_path):
    class Interrupt:
        def on_step_end(self, epoch, step, loss, model):
            if (epoch, step) == (2, 7):
                signal.raise_signal(signal.SIGINT)

    whole = ut.train(build(), blocks(), **settings(epochs=4))
    ut.train(build(), blocks(), **settings(epochs=4, checkpoint=tmp_path, callbacks=Interrupt()))
    run = ut.resume(tmp_path, blocks(), progress=False)
    assert bits(run) == bits(whole) and rows(run) == rows(whole)


def test_a_training_that_early_stopping_ended_is_over_unless_told(tmp_path):
    chosen = settings(optimizer=optim.adam(0.3), validation=0.3, early_stopping=3)
    whole = ut.train(build(), (X, LABELS), epochs=30, checkpoint=tmp_path, **chosen)
    assert whole.stopped == "callback" and len(whole.history) < 25
    run = ut.resume(tmp_path, (X, LABELS), progress=False)
    assert run.stopped == "callback" and bits(run) == bits(whole) and rows(run) == rows(whole)
    run = ut.resume(tmp_path, (X, LABELS), progress=False, epochs=30)
    assert len(run.history) > len(whole.history)


def test_weights_by_class_are_kept_and_come_back(tmp_path):
    chosen = settings(class_weights={np.int64(0): 1, 2: np.float32(0.5)}, checkpoint=tmp_path / "a")
    whole = ut.train(build(), (X, LABELS), epochs=4, **chosen | {"checkpoint": None})
    ut.train(build(), (X, LABELS), epochs=2, **chosen).save(tmp_path / "run")
    assert bits(ut.resume(tmp_path / "a", (X, LABELS), epochs=4, progress=False)) == bits(whole)


def test_steps_that_are_left_out_are_told_of_as_they_were():
    """The loss of a batch that holds one of the first eight examples twice over is NaN."""
    told = []

    class Note:
        def on_step_end(self, epoch, step, loss, model):
            told.append((step, loss))

    def loss(output, y):
        return np.mean(output**2) * np.where(np.sum(y) > 1, np.nan, 1.0)

    y = (np.arange(96) < 8).astype(np.float32)
    order = np.random.default_rng([0, 0]).permutation(96).reshape(-1, 16)
    run = ut.train(build(), (X[:96], y), **settings(loss=loss, non_finite="skip", epochs=1, callbacks=Note()))
    assert [step for step, _ in told] == [1, 2, 3, 4, 5, 6]
    left_out = [bool(y[batch].sum() > 1) for batch in order]
    assert any(left_out) and [bool(np.isnan(loss)) for _, loss in told] == left_out
    assert run.history[0]["loss"] == pytest.approx(np.mean([loss for _, loss in told if np.isfinite(loss)]))
    told.clear()
    run = ut.train(build(), (X[:96], y + 1), **settings(loss=loss, non_finite="skip", epochs=1, callbacks=Note()))
    assert len(told) == 6 and np.isnan(run.history[0]["loss"])  # every step was left out


def test_the_seconds_of_a_loop_of_ones_own_are_those_of_its_epochs(monkeypatch):
    ticks, asleep = itertools.count(), [0.0]
    clock = SimpleNamespace(perf_counter=lambda: 0.01 * next(ticks) + asleep[0])
    monkeypatch.setattr(import_module("undertow.train.trainer"), "time", clock)
    trainer = Trainer(build(), (X, LABELS), **settings(epochs=4, seconds=60.0))
    for _ in itertools.islice(trainer, 2):
        asleep[0] += 1000.0
    before = trainer.elapsed()
    asleep[0] += 1000.0
    assert trainer.elapsed() == before
    seconds = [row["seconds"] for row in trainer.fit().history]
    assert len(seconds) == 4 and seconds == sorted(seconds)
    assert seconds[3] > seconds[2] > before > 0 and seconds[3] < 60


def test_the_shortest_time_has_room_for_a_step():
    run = ut.train(build(), (X, LABELS), **settings(seconds=1e-9))
    assert len(run.history) == 1 and run.history[0]["step"] >= 1 and np.isfinite(run.history[0]["loss"])


@pytest.mark.parametrize(
    ("batch", "error", "message"),
    [
        ((X[:3] * np.nan, LABELS[:3]), DataError, r"the batch X\[0, 0\] is NaN"),
        ((X[:0], LABELS[:0]), DataError, "there are no examples"),
        ((X[:3], LABELS[:4]), ShapeError, r"X is \(3, 4\), y is \(4,\)"),
        ((X[:3], LABELS[:3], [1.0, 2.0]), ShapeError, r"weights is \(2,\), but there are 3 examples"),
        ((X[:3] * 1e30, LABELS[:3]), Diverged, "train_on: the loss is .* Try a lower learning rate"),
    ],
    ids=["NaN", "empty", "lengths", "weights", "diverges"],
)
def test_a_batch_of_ones_own_is_checked(batch, error, message):
    model = nn.Sequential(nn.Dense(4, 8), "relu", nn.Dense(8, 3, W=np.full((8, 3), 1e30, np.float32)))
    trainer = Trainer(model, (X, LABELS), **settings(optimizer=optim.sgd(lambda t: 0.1 if t < 3 else 0.01), epochs=2))
    before = bits(trainer.run)
    with pytest.raises(error, match=message):
        trainer.train_on(*batch)
    assert bits(trainer.run) == before


def test_a_batch_of_ones_own_may_be_lists_and_its_schedule_any_python():
    schedule = optim.sgd(lambda t: 0.1 if t < 3 else 0.01)
    trainer = Trainer(build(), (X, LABELS), **settings(optimizer=schedule, epochs=2))
    loss = trainer.train_on(X[:3].tolist(), LABELS[:3].tolist(), [1, 1, 1])
    fresh = Trainer(build(), (X, LABELS), **settings(epochs=2))
    assert loss == pytest.approx(fresh.evaluate(X[:3], LABELS[:3])["loss"], rel=1e-5)


def test_a_plan_and_settings_beside_it_are_one_too_many():
    with pytest.raises(ArgumentError, match="a plan and epochs beside it"):
        Trainer(build(), (X, LABELS), Plan(loss="categorical_cross_entropy"), epochs=3)


def test_a_loss_of_ones_own_is_measured_by_the_run_too(tmp_path):
    run = ut.train(nn.Dense(4, 1), (X, VALUES), **settings(loss=lambda output, y: np.mean((output - y) ** 4), epochs=1))
    wanted = np.mean((run.outputs(X) - VALUES) ** 4)
    assert run.evaluate(X, VALUES)["loss"] == pytest.approx(float(wanted), rel=1e-5)
    with pytest.raises(ArgumentError, match="cannot be weighed"):
        run.evaluate(X, VALUES, np.ones(100))
    with pytest.raises(ArgumentError, match=r"a loss of your own .* is not saved"):
        ut.Run.load(run.save(tmp_path / "run")).evaluate(X, VALUES)


def test_weights_of_validation_need_a_loss_of_examples():
    held = (X[:10], VALUES[:10], np.ones(10))
    with pytest.raises(ArgumentError, match="examples cannot be"):
        ut.train(
            nn.Dense(4, 1), (X, VALUES), **settings(loss=lambda output, y: np.mean((output - y) ** 2), validation=held)
        )


def test_arrays_may_be_validated_on_a_source():
    chosen = settings(epochs=2)
    a = ut.train(build(), (X, LABELS), **chosen | {"validation": ArraySource(X[:10], LABELS[:10])})
    b = ut.train(build(), (X, LABELS), **chosen | {"validation": (X[:10], LABELS[:10])})
    assert rows(a) == rows(b) and a.settings["n_validation"] == 10
    with pytest.raises(ShapeError, match=r"the validation X is \(10, 2\), X is \(100, 4\)"):
        ut.train(build(), (X, LABELS), **chosen | {"validation": ArraySource(X[:10, :2], LABELS[:10])})


def test_a_frozen_layer_stays_whatever_the_largest_norm():
    start = nn.initialize(build(), 0, np.float32)
    rule = optim.grouped(optim.sgd(0.1), {"layers[0]*": "frozen"})
    run = ut.train(start, (X, LABELS), **settings(optimizer=rule, max_norm=0.1, epochs=1))
    assert np.array_equal(run.model.layers[0].W, start.layers[0].W)
    assert np.linalg.norm(run.model.layers[2].W, axis=0).max() <= 0.1 + 1e-6


def test_a_layer_in_two_places_is_no_silent_copy():
    twice = nn.Dense(4, 4)
    with pytest.raises(ArgumentError, match=r"one Dense in two places, layers\[0\] and layers\[2\]"):
        ut.train(nn.Sequential(twice, "tanh", twice, nn.Dense(4, 3)), (X, LABELS), **settings())
    once = nn.Dropout(0.5)  # has nothing to share
    ut.train(nn.Sequential(nn.Dense(4, 4), once, nn.Dense(4, 3), once), (X, LABELS), **settings(epochs=1))


def test_programs_for_many_numbers_of_rows_do_not_pile_up():
    run = ut.train(build(), (X, LABELS), **settings(epochs=1))
    many = RNG.standard_normal((330, 4)).astype(np.float32)
    for n in range(300, 330):
        np.testing.assert_allclose(run.outputs(many[:n]), run.model(many[:n]), rtol=1e-5, atol=1e-6)
    assert max(len(known.compiled.programs) for known in run.forward.known.values()) <= 8
    trainer = Trainer(build(), (X, LABELS), **settings(epochs=1))
    for n in range(20, 50):
        trainer.train_on(X[:n], LABELS[:n])
    assert max(len(known.prepared) for known in trainer.step._programs.values()) <= 8


@pytest.mark.parametrize("again", [copy.deepcopy, lambda run: pickle.loads(pickle.dumps(run))], ids=["copy", "pickle"])
def test_a_run_that_predicted_can_be_copied(again):
    run = ut.train(build(nn.BatchNorm(8)), (X, LABELS), **settings(epochs=1))
    many = RNG.standard_normal((300, 4)).astype(np.float32)
    wanted = run.outputs(many)
    assert np.array_equal(again(run).outputs(many), wanted)


def test_a_last_batch_of_one_example_is_trained_on_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run = ut.train(build(nn.BatchNorm(8)), (X[:3], LABELS[:3]), **settings(epochs=2, batch_size=2))
    assert all(np.isfinite(np.frombuffer(x, np.float32)).all() for x in bits(run))


def test_a_loss_that_asks_for_values_trains_dropout_and_normalisation_as_others_do():
    def asks(output, y):
        return np.mean((output - y) ** 2) if np.mean(output) > -1e30 else np.mean(output)

    model = nn.Sequential(nn.Dense(4, 8), nn.BatchNorm(8), nn.Dropout(0.4), "tanh", nn.Dense(8, 1))
    chosen = settings(epochs=2, dtype="float64", optimizer=optim.sgd(0.1))
    slow = ut.train(model, (X, VALUES), **chosen | {"loss": asks})
    fast = ut.train(model, (X, VALUES), **chosen | {"loss": "mean_squared_error"})
    for a, b in zip(bits(slow), bits(fast), strict=True):
        np.testing.assert_allclose(np.frombuffer(a), np.frombuffer(b), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("policy", ["skip", "zero"])
def test_a_batch_that_overflows_leaves_no_trace_in_running_statistics(policy):
    """1e25² is more than float32 holds; the gradient is 0/0."""
    large = X.copy()
    large[17] = 1e25
    model = nn.Sequential(nn.BatchNorm(4), nn.Dense(4, 1))
    chosen = settings(loss="mean_squared_error", non_finite=policy, epochs=2)
    run = ut.train(model, (large, VALUES), **chosen)
    assert all(np.isfinite(np.frombuffer(x, np.float32)).all() for x in bits(run))
    assert np.abs(run.model.layers[0].mean).max() < 1


def test_a_loop_of_ones_own_ends_as_a_training_does(tmp_path):
    def chosen(**more):
        return settings(optimizer=optim.adam(0.3), validation=0.3, early_stopping=3, epochs=30, **more)

    whole = ut.train(build(), (X, LABELS), **chosen())
    trainer = Trainer(build(), (X, LABELS), **chosen(checkpoint=tmp_path))
    assert len(list(trainer)) == len(whole.history)
    assert bits(trainer.run) == bits(whole)  # the best model, not the last
    assert bits(ut.resume(tmp_path, (X, LABELS), progress=False)) == bits(whole)  # the folder is free again


def test_callbacks_are_told_of_the_end_once():
    ends = []

    class Note:
        def on_train_end(self, info):
            ends.append(info.stopped)

    trainer = Trainer(build(), (X, LABELS), **settings(epochs=1, callbacks=Note()))
    trainer.fit()
    trainer.fit()
    assert ends == ["finished"]


@pytest.mark.parametrize("at", [1, 2, 5])
def test_ctrl_c_before_any_of_some_steps(at, monkeypatch):
    """A compiled step that is stopped before it has done anything tells of no steps, which the record takes too."""
    ordinary, calls = Session.run, []

    def run(self, order, batch_size):
        losses = ordinary(self, order, batch_size)
        calls.append(len(losses))
        if len(calls) != at:
            return losses
        self.told = tuple(part._replace(values=part.values[:0]) for part in self.told)
        self.results = {name: values[:0] for name, values in self.results.items()}
        signal.raise_signal(signal.SIGINT)
        return losses[:0]

    monkeypatch.setattr(Session, "run", run)
    rule = ut.optim.adam(ut.optim.warmup(ut.optim.cosine(0.01, 50), 3))
    X, y = np.ones((64, 3), np.float32), np.ones((64, 1), np.float32)
    told = {"loss": "huber", "optimizer": rule, "batch_size": 8, "progress": False, "callbacks": [Each()]}
    found = ut.train(ut.nn.Dense(3, 1), (X, y), **told)
    assert found.stopped == "interrupted" and len(found.flow) == at - 1


class Each:
    """Wants to be told of each step, so that they are done one by one."""

    def on_step_end(self, epoch, step, loss, model):
        pass
