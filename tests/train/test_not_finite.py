"""A gradient that is not finite while the loss still is: named where it was, and the model before it kept."""

import re
from dataclasses import dataclass

import numpy as np
import pytest

import undertow as ut
from undertow import nn, optim, trees
from undertow.train import Diverged

RNG = np.random.default_rng(1)
X = RNG.normal(size=(200, 4)).astype(np.float32)
X[117] = 0.0  # there the square of what a layer without bias gives is 0, and so is the slope of its root: 0 · ∞
Y = RNG.normal(size=200).astype(np.float32)


def roots(z, y):
    return np.mean((z[:, 0] - y) ** 2 + 0.1 * np.sqrt(z[:, 0] ** 4))


def roots_by_value(z, y):
    return roots(z, y) if np.sum(y) < np.inf else np.sum(z)


class Note:
    """The models after each step, by epoch and step."""

    def __init__(self):
        self.models = []

    def on_step_end(self, epoch, step, loss, model):
        self.models.append(((epoch, step), np.array(model.layers[0].W)))


def fail(loss=roots, **more):
    model = nn.Sequential(nn.Dense(4, 1, bias=False, W=np.full((4, 1), 0.5, np.float32)))
    told = {"optimizer": optim.adam(0.01), "batch_size": 16, "validation": None, "progress": False, "flow": False}
    with pytest.raises(Diverged) as error, np.errstate(all="ignore"):
        ut.train(model, (X, Y), loss=loss, epochs=3, **{**told, **more})
    return error.value


@pytest.mark.parametrize("loss", [roots, roots_by_value])
@pytest.mark.parametrize("seed", [0, 3, 5])
@pytest.mark.parametrize("batch_size", [16, 17, 200])
@pytest.mark.filterwarnings("ignore")
def test_the_step_is_named_and_the_model_before_it_kept(loss, seed, batch_size):
    """Whether steps are done many at a time or one by one, which tells what the model was before each of them."""
    note = Note()
    errors = [fail(loss, seed=seed, batch_size=batch_size, callbacks=x) for x in ([note], [])]
    finite = [(at, W) for at, W in note.models if np.isfinite(W).all()]
    step = len(finite) + 1
    kept = finite[-1][1] if finite else np.full((4, 1), 0.5, np.float32)
    for error in errors:
        found = re.match(r"epoch 1, step (\d+): the gradient of layers\[0\]\.W is not finite \(4 of 4", str(error))
        assert found and int(found[1]) == step
        assert error.run.model.layers[0].W.tobytes() == kept.tobytes()
        assert error.run.stopped == "diverged"


def test_it_is_the_step_that_a_record_tells_of():
    """Where steps are looked at one by one, the operation is told as well."""
    recorded, plain = fail(flow=True, seed=3), fail(seed=3)
    assert str(recorded).startswith(str(plain)) and "the derivative of sqrt (test_not_finite.py:" in str(recorded)
    for mine, its in zip(*(trees.flatten(x.run.model)[0] for x in (recorded, plain)), strict=True):
        assert np.array_equal(mine, its)


@pytest.mark.parametrize("flow", [True, False])
def test_a_batch_of_ones_own_leaves_the_model_as_it_was(flow):
    """The step before it is that of plain gradient descent, written out."""
    W, rows = np.full((4, 1), 0.5), X[:8].astype(np.float64)
    y = Y[:8, None].astype(np.float64)
    trainer = ut.Trainer(
        nn.Sequential(nn.Dense(4, 1, bias=False, W=W.copy())), (rows, y), loss=lambda z, y: roots(z, y[:, 0]),
        optimizer=optim.sgd(0.1), validation=None, progress=False, flow=flow, dtype="float64",
    )  # fmt: skip
    trainer.train_on(rows, y)
    z = rows @ W
    W -= 0.1 / 8 * rows.T @ (2 * (z - y) + 0.2 * z)  # the root of z⁴ is z²
    np.testing.assert_allclose(trainer.model.layers[0].W, W, rtol=1e-12)
    rows[3] = 0.0
    with pytest.raises(Diverged, match=r"^train_on: the gradient of layers\[0\]\.W is not finite \(4 of 4"):
        trainer.train_on(rows, y)
    np.testing.assert_allclose(trainer.model.layers[0].W, W, rtol=1e-12)


@dataclass(eq=False)
class Masked:
    """Scores of classes, some of which never are."""

    mask: np.ndarray

    def __call__(self, z):
        return np.where(np.isfinite(self.mask), z, -1e9)


def test_a_constant_that_is_not_finite_by_nature_is_no_update_that_is_not():
    rows, labels = X[:8], np.arange(8) % 2
    model = nn.Sequential(nn.Dense(4, 3), Masked(np.array([0.0, 0.0, -np.inf], np.float32)))
    trainer = ut.Trainer(
        model, (rows, labels), loss="categorical_cross_entropy", optimizer=optim.sgd(0.1), validation=None,
        progress=False, flow=False,
    )  # fmt: skip
    assert np.isfinite(trainer.train_on(rows, labels))
