"""The average of the parameters over the ends of epochs: against a sum by hand, and resumed to the last bit."""

from __future__ import annotations

import itertools
import signal

import numpy as np
import pytest

import undertow as ut
from checkpoint_samples import Stop, StopAt
from undertow import nn, optim, trees
from undertow.errors import ArgumentError
from undertow.train import CheckpointStore, Trainer
from undertow.train.choices import choose_average
from undertow.train.resume import open_training

RNG = np.random.default_rng(0)
X = RNG.standard_normal((203, 4)).astype(np.float32)
LABELS = (X @ RNG.standard_normal((4, 3)).astype(np.float32)).argmax(axis=1)
LABELS[::4] = RNG.integers(0, 3, len(LABELS[::4]))  # so that a later epoch is not always better


def build():
    return nn.Sequential(nn.Dense(4, 16), nn.BatchNorm(16), "tanh", nn.Dense(16, 3))


def settings(**more):
    return {
        "loss": "categorical_cross_entropy", "optimizer": optim.adam(0.03), "batch_size": 16, "epochs": 7, "seed": 3,
        "progress": False, "flow": False, "validation": 0.3, **more,
    }  # fmt: skip


def arrays(model):
    return [np.asarray(x) for x in trees.flatten(model)[0] if not callable(x)]


def bits(run):
    return b"".join(x.tobytes() for x in arrays(run.model))


def by_hand(models, decay):
    """Σ decayᵏ W / Σ decayᵏ, the last epoch k = 0, in float64."""
    weights = decay ** np.arange(len(models) - 1, -1, -1, dtype=np.float64)
    return [np.tensordot(weights / weights.sum(), np.stack(each).astype(np.float64), 1) for each in zip(*models)]  # noqa: B905


def plain_models(epochs):
    """The models at the ends of the epochs of a training that averages nothing."""
    trainer = Trainer(build(), (X, LABELS), **settings(epochs=epochs))
    return [arrays(trainer.model) for _ in trainer]


@pytest.mark.parametrize("decay", [0.3, 0.8])
def test_the_run_holds_the_average_and_its_losses_are_that_of_it(decay):
    """Running statistics too; the steps are those of a training without."""
    models = plain_models(7)
    run = ut.train(build(), (X, LABELS), average=decay, **settings())
    for found, wanted in zip(arrays(run.model), by_hand(models, decay), strict=True):
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, wanted, rtol=2e-5, atol=2e-6)
    plain = ut.train(build(), (X, LABELS), **settings())
    assert [row["loss"] for row in run.history] == [row["loss"] for row in plain.history]  # of the steps
    trainer = Trainer(build(), (X, LABELS), average=decay, **settings())
    held = trainer.held[0]
    for n, row in enumerate(trainer, start=1):
        leaves, rebuild = trees.flatten(trainer.model)
        averaged = iter(by_hand(models[:n], decay))
        model = rebuild([x if callable(x) else next(averaged).astype(np.float32) for x in leaves])
        wanted = trainer.task.evaluate(model, [held], (), trainer.run.forward)["loss"]
        assert row["validation_loss"] == pytest.approx(wanted, rel=1e-4)
    assert settings()["epochs"] == n and run.settings["average"] == decay


def test_early_stopping_keeps_the_average_of_the_best_epoch():
    """Which is an epoch before the last."""
    run = ut.train(build(), (X, LABELS), average=0.6, **settings(epochs=40, early_stopping=3))
    losses = [row["validation_loss"] for row in run.history]
    best = int(np.argmin(losses)) + 1
    assert run.stopped == "callback" and best == len(losses) - 3
    for found, wanted in zip(arrays(run.model), by_hand(plain_models(best), 0.6), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("early", [None, 3])
@pytest.mark.parametrize("stop", [5, 9, 31, 60])
def test_a_training_that_crashed_goes_on_to_the_last_bit(tmp_path, stop, early):
    """In the first epoch, at the beginning of another, and within one."""
    more = settings(average=0.6, epochs=30, early_stopping=early)
    whole = ut.train(build(), (X, LABELS), **more)
    with pytest.raises(Stop):
        ut.train(build(), (X, LABELS), checkpoint=tmp_path, checkpoint_every=2, callbacks=[StopAt(stop)], **more)
    assert CheckpointStore(tmp_path / "checkpoints").numbers()
    run = ut.resume(tmp_path, (X, LABELS), progress=False)
    assert bits(run) == bits(whole)
    names = ("loss", "validation_loss", "validation_accuracy")
    assert [[row[x] for x in names] for row in run.history] == [[row[x] for x in names] for row in whole.history]


def test_the_best_epoch_before_a_resume_is_an_average(tmp_path):
    """A resumed training that Ctrl-C ends holds the average of the best epoch, although that was before the resume."""

    def worse(step):
        return 0.02 if step < 27 else 30.0  # from the fourth epoch on

    rule = optim.sgd(optim.of_function(worse))
    more = settings(average=0.6, epochs=12, optimizer=rule)
    with Trainer(build(), (X, LABELS), checkpoint=tmp_path, **more) as trainer:
        for _ in itertools.islice(trainer, 5):
            pass
        epoch, wanted = trainer.best
    resumed = open_training(tmp_path, (X, LABELS), optimizer=rule, progress=False, callbacks=[Interrupt()])
    assert resumed.best[0] == epoch < 5
    for found, other in zip(arrays(resumed.best[1]), arrays(wanted), strict=True):
        np.testing.assert_array_equal(found, other)
    run = resumed.fit()
    assert run.stopped == "interrupted"
    for found, other in zip(arrays(run.model), arrays(wanted), strict=True):
        np.testing.assert_array_equal(found, other)


class Interrupt:
    """Presses Ctrl-C in the seventh epoch."""

    def on_step_end(self, epoch, step, loss, model):
        if (epoch, step) == (7, 2):
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("bad", [1.0, -0.1, float("nan"), "0.5", True])
def test_what_is_no_factor_is_refused(bad):
    """It is 0 or more, and below 1."""
    with pytest.raises(ArgumentError, match="average must be 0 or more and"):
        ut.train(build(), (X, LABELS), average=bad, **settings())


def test_the_average_reaches_back_over_a_twentieth_of_the_epochs():
    """None of few epochs, nor where their number is not bounded."""
    for epochs in (30, 50, 100, 400):
        assert 1 / (1 - choose_average(1000, epochs)) == pytest.approx(epochs / 20, rel=0.15)
    assert choose_average(1000, 10**6) == 0.95
    assert choose_average(1000, 20) == choose_average(1000, 3) == choose_average(1000, None) == 0
