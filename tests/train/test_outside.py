"""What a loss and a model read from outside of a training, and what changes there between epochs and steps."""

import collections
import contextvars
import os
import string
import warnings
from dataclasses import dataclass

import numpy as np
import pytest

import undertow as ut
from undertow import nn, optim

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(40, 3)), RNG.normal(size=(40, 1))
W = RNG.normal(size=(3, 1))
FACTORS = (1.0, 0.25, 2.0, 0.5)
factor = 1.0
context = contextvars.ContextVar("factor", default=1.0)
buffer, numbers, many = bytearray(8), collections.UserDict(factor=1.0), [1.0] * 5000
table = {"factor": 1.0}
array = np.ones(1)


@dataclass
class Scaled:
    """A layer whose method reads a global."""

    W: np.ndarray

    def __call__(self, x):
        return x @ self.W * np.sqrt(factor)


def by_global(z, y):
    return factor * np.mean((z - y) ** 2)


def by_entry(z, y):
    return table["factor"] * np.mean((z - y) ** 2)


def by_array(z, y):
    return array[0] * np.mean((z - y) ** 2)


def by_layer(z, y):
    return np.mean((z - np.sqrt(factor) * y) ** 2)


def by_environment(z, y):
    return float(os.environ["FACTOR_OF_A_LOSS"]) * np.mean((z - y) ** 2)


def by_context(z, y):
    return context.get() * np.mean((z - y) ** 2)


def by_library(z, y):
    return string.factor * np.mean((z - y) ** 2)


def by_buffer(z, y):
    return np.frombuffer(buffer)[0] * np.mean((z - y) ** 2)


def by_mapping(z, y):
    return numbers["factor"] * np.mean((z - y) ** 2)


def by_one_of_many(z, y):
    return many[3] * np.mean((z - y) ** 2)


def by_default(z, y, factor=1.0):
    return factor * np.mean((z - y) ** 2)


def put_where_none_looks(value):
    os.environ["FACTOR_OF_A_LOSS"] = str(value)
    context.set(value)
    string.factor = numbers["factor"] = many[3] = value
    by_default.__defaults__ = (value,)


def put(value):
    global factor
    factor = table["factor"] = array[0] = np.frombuffer(buffer)[0] = value


@pytest.fixture(autouse=True)
def begin(monkeypatch):
    monkeypatch.setenv("FACTOR_OF_A_LOSS", "1.0")
    monkeypatch.setattr(string, "factor", 1.0, raising=False)
    put(FACTORS[0])
    put_where_none_looks(FACTORS[0])
    yield
    put(FACTORS[0])


def descend(n):
    """Steps of size 0.1 down factor · mean (X w − y)², written out."""
    w = W.copy()
    for k in range(n):
        w -= 0.1 * FACTORS[k] * 2 / len(X) * X.T @ (X @ w - Y)
    return w


class EachEpoch:
    def on_epoch_end(self, info):
        put(FACTORS[min(info.epoch, len(FACTORS) - 1)])


class EachStep:
    def __init__(self):
        self.n = 0

    def on_step_end(self, epoch, step, loss, model):
        self.n += 1
        put(FACTORS[min(self.n, len(FACTORS) - 1)])


@pytest.mark.parametrize("loss", [by_global, by_entry, by_array, by_buffer, by_layer])
@pytest.mark.parametrize("flow", [True, False])
def test_each_epoch_has_the_loss_as_it_is_then(loss, flow):
    """As steps that are written out have it; the change is told once for each time."""
    model = nn.Sequential(Scaled(W.copy()) if loss is by_layer else nn.Dense(3, 1, bias=False, W=W.copy()))
    settings = {"optimizer": optim.sgd(0.1), "batch_size": 40, "validation": None, "progress": False, "flow": flow}
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        run = ut.train(model, (X, Y), loss=loss, epochs=4, callbacks=[EachEpoch()], **settings)
    np.testing.assert_allclose(run.model.layers[0].W, descend(4), rtol=1e-9)
    told = [str(x.message) for x in said if "from outside, and it is not what it was" in str(x.message)]
    assert len(told) == 3 and all(loss.__name__ in text for text in told)


def test_each_step_has_the_loss_as_it_is_then():
    """Where a callback is asked after each; here the batch is always the same, so that steps can be written out."""
    data = (np.tile(X, (4, 1)), np.tile(Y, (4, 1)))
    trainer = ut.Trainer(
        nn.Sequential(nn.Dense(3, 1, bias=False, W=W.copy())), data, loss=by_global, optimizer=optim.sgd(0.1),
        batch_size=40, epochs=1, validation=None, progress=False, callbacks=[EachStep()],
    )  # fmt: skip
    trainer.feed.pieces = lambda epoch, seen: iter_of(data, trainer)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.fit()
    np.testing.assert_allclose(trainer.model.layers[0].W, descend(4), rtol=1e-9)


def iter_of(data, trainer):
    from undertow.train.feed import Piece

    target = trainer.feed.draws.target(data[1], None, 0, 0, 40)
    yield Piece(data[0], target, np.arange(160))


def test_a_batch_that_is_given_has_the_loss_as_it_is_then():
    model = nn.Sequential(nn.Dense(3, 1, bias=False, W=W.copy()))
    trainer = ut.Trainer(model, (X, Y), loss=by_global, optimizer=optim.sgd(0.1), validation=None, progress=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for value in FACTORS:
            put(value)
            trainer.train_on(X, Y)
    np.testing.assert_allclose(trainer.model.layers[0].W, descend(4), rtol=1e-9)


def test_what_the_loss_itself_changes_is_left_alone():
    """A counter, of which nothing is told: the steps are those of one program."""
    count = {"calls": 0}

    def counting(z, y):
        count["calls"] += 1
        return np.mean((z - y) ** 2)

    model = nn.Sequential(nn.Dense(3, 1, bias=False, W=W.copy()))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ut.train(model, (X, Y), loss=counting, epochs=5, validation=(X, Y), progress=False)
    assert 0 < count["calls"] < 40


def test_a_layer_gives_for_many_rows_what_it_gives_for_few():
    """Of many a program is kept: at validation, and where the run predicts later. Weights that training moves are none
    of that."""
    rows, targets = np.tile(X, (10, 1)), np.tile(Y, (10, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run = ut.train(
            nn.Sequential(Scaled(W.copy())), (X, Y), loss="mean_squared_error", optimizer=optim.sgd(0.01), epochs=3,
            batch_size=40, validation=(rows, targets), progress=False, callbacks=[EachEpoch()],
        )  # fmt: skip
    w, found = W.copy(), []
    for value in FACTORS[:3]:
        w -= 0.01 * np.sqrt(value) * 2 / len(X) * X.T @ (np.sqrt(value) * X @ w - Y)
        found.append(np.mean((np.sqrt(value) * X @ w - Y) ** 2))
    np.testing.assert_allclose([row["validation_loss"] for row in run.history], found, rtol=1e-9)
    for value in (0.3, 3.0):
        put(value)
        np.testing.assert_allclose(run.predict(rows), np.sqrt(value) * rows @ w, rtol=1e-9)
    compiled = {id(known.compiled) for known in run.forward.known.values()}
    run.model = nn.Sequential(Scaled(2 * w))
    np.testing.assert_allclose(run.predict(rows), np.sqrt(3.0) * rows @ (2 * w), rtol=1e-9)
    assert {id(known.compiled) for known in run.forward.known.values()} == compiled


@pytest.mark.parametrize("loss", [by_environment, by_context, by_library, by_mapping, by_one_of_many, by_default])
@pytest.mark.parametrize("flow", [True, False])
def test_each_epoch_has_the_loss_as_it_is_then_wherever_that_comes_from(loss, flow):
    """Where no place is known the loss is called again, and told of where it gives something else."""
    settings = {"optimizer": optim.sgd(0.1), "batch_size": 40, "validation": None, "progress": False, "flow": flow}
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        run = ut.train(
            nn.Sequential(nn.Dense(3, 1, bias=False, W=W.copy())), (X, Y), loss=loss, epochs=4, **settings,
            callbacks=lambda info: put_where_none_looks(FACTORS[min(info.epoch, len(FACTORS) - 1)]),
        )  # fmt: skip
    np.testing.assert_allclose(run.model.layers[0].W, descend(4), rtol=1e-9)
    told = [str(x.message) for x in said if "gives another value than when its steps" in str(x.message)]
    assert len(told) == 3 and all(loss.__name__ in text for text in told)


def test_what_concerns_few_examples_alone_is_seen(tmp_path):
    """A factor, read from a file, of the squares of targets that are large, one in ten."""
    place, large, w = tmp_path / "factor", np.sort(np.abs(Y), axis=0)[-4], W.copy()

    def by_size(z, y):
        factor, squares = float(place.read_text()), (z - y) ** 2
        return np.mean(np.where(np.abs(y) >= large, factor * squares, squares))

    place.write_text(str(FACTORS[0]))
    with pytest.warns(UserWarning, match="gives another value than when its steps"):
        run = ut.train(
            nn.Sequential(nn.Dense(3, 1, bias=False, W=W.copy())), (X, Y), loss=by_size, epochs=4,
            optimizer=optim.sgd(0.1), batch_size=40, validation=None, progress=False,
            callbacks=lambda info: place.write_text(str(FACTORS[min(info.epoch, 3)])) and None,
        )  # fmt: skip
    for value in FACTORS:
        w -= 0.1 * 2 / len(X) * X.T @ (np.where(np.abs(Y) >= large, value, 1.0) * (X @ w - Y))
    np.testing.assert_allclose(run.model.layers[0].W, w, rtol=1e-9)


def test_batches_that_are_given_are_asked_of_again_at_times():
    """A step is not the slower for it; after ten at most the loss is as it is then."""
    model = nn.Sequential(nn.Dense(3, 1, bias=False, W=W.copy()))
    trainer = ut.Trainer(
        model, (X, Y), loss=by_environment, optimizer=optim.sgd(1e-15), validation=None, progress=False
    )
    trainer.train_on(X, Y)
    put_where_none_looks(0.25)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        losses = [trainer.train_on(X, Y) for _ in range(10)]
    np.testing.assert_allclose(losses[-1], 0.25 * np.mean((X @ W - Y) ** 2), rtol=1e-9)


def test_a_counter_of_the_loss_itself_is_told_of():
    """One by which its value grows: a program has it as it was, so each epoch has it as it is then."""
    count = {"calls": 0}

    def growing(z, y):
        count["calls"] += 1
        return (1 + count["calls"]) * np.mean((z - y) ** 2)

    with pytest.warns(UserWarning, match=r"growing \(.*\), or the model, gives another value .* a counter of its own"):
        ut.train(nn.Dense(3, 1), (X, Y), loss=growing, epochs=2, validation=None, progress=False)


def test_what_only_rounds_otherwise_is_no_change():
    """A loss that cancels digits, in float32; and one that draws, of which tracing warns, once."""

    def cancels(z, y):
        return np.mean((1e4 + z - y) ** 2 - 1e8)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ut.train(
            nn.Dense(3, 1), (X.astype(np.float32), Y.astype(np.float32)), loss=cancels, epochs=4, validation=None,
            optimizer=optim.sgd(1e-9), progress=False,
        )  # fmt: skip
    rng = np.random.default_rng(0)

    def draws(z, y):
        return np.mean((z - y + rng.normal()) ** 2)

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        ut.train(nn.Dense(3, 1), (X, Y), loss=draws, epochs=4, validation=None, progress=False)
    assert all("draws random numbers" in str(x.message) for x in said), [str(x.message) for x in said]
