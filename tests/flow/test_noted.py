"""The loss on rows held out, in a loop of one's own: noted, or watched in the loss."""

import numpy as np
import pytest

import undertow as ut
from undertow.errors import ArgumentError

DIGITS = ut.data.load_digits()
X, Y = (DIGITS.X - 0.3) / 0.37, ut.one_hot(DIGITS.y, 10)
BY_CHANCE = ut.one_hot(np.random.default_rng(5).integers(0, 10, len(X)), 10)


def entropy(params, X, Y):
    W1, W2 = params
    return -np.mean(np.sum(Y * ut.log_softmax(np.maximum(X @ W1, 0) @ W2, axis=1), axis=1))


def watching(name):
    def loss(params, X, Y, held, targets):
        ut.watch(entropy(params, held, targets), name)
        return entropy(params, X, Y)

    return loss


def fit(Y, steps=400, watched=None, n=256):
    """Adam in NumPy; the validation loss is that of 300 other rows."""
    rng = np.random.default_rng(0)
    params = [rng.normal(size=(64, 48)) / 6, rng.normal(size=(48, 10)) / 6]
    measured = ut.flow.recorded(entropy if watched is None else watching(watched))
    first, second = [np.zeros_like(p) for p in params], [np.zeros_like(p) for p in params]
    held = (X[1000:1300], Y[1000:1300])
    for step in range(1, steps + 1):
        rows = rng.integers(0, n, 32)
        _, gradient = measured(params, X[rows], Y[rows], *(held if watched else ()))
        first = [0.9 * m + 0.1 * g for m, g in zip(first, gradient, strict=True)]
        second = [0.999 * v + 0.001 * g * g for v, g in zip(second, gradient, strict=True)]
        scales = zip(first, second, strict=True)
        moves = [m / (1 - 0.9**step) / (np.sqrt(v / (1 - 0.999**step)) + 1e-8) for m, v in scales]
        params = [p - 3e-3 * move for p, move in zip(params, moves, strict=True)]
        if watched is None and step % 20 == 0:
            measured.note(validation_loss=entropy(params, *held))
    measured(params, X[rows], Y[rows], *(held if watched else ()))
    return measured


@pytest.mark.parametrize("watched", [None, "validation_loss", "val", "test_loss"])
def test_labels_by_chance_that_are_learned_by_heart_are_told(watched):
    """No network can know labels of chance on other rows: what falls on its own rows is memory."""
    found = [x for x in fit(BY_CHANCE, watched=watched).findings if x.kind == "over-fitting"]
    assert found and "lowest at step" in found[0].cause and "by heart" in found[0].cause


@pytest.mark.parametrize("watched", [None, "validation_loss"])
def test_what_holds_on_other_rows_is_well(watched):
    assert not [x for x in fit(Y, watched=watched, n=900).findings if x.kind == "over-fitting"]


@pytest.mark.parametrize("name", ["interval", "latest", "val_accuracy", "test_r2", "validation_score", "std_dev"])
def test_a_number_by_another_name_is_no_validation_loss(name):
    """A skill is to rise, where a loss that rises is trouble."""
    assert fit(BY_CHANCE, 20, watched=name).flow.facts["noted"] == []


@pytest.mark.parametrize(
    "name", ["val", "dev", "held_out", "heldout_loss", "loss_test", "Val_MSE", "valid_cross_entropy"]
)
def test_names_of_validation_losses(name):
    assert len(fit(BY_CHANCE, 20, watched=name).flow.facts["noted"]) > 0


def test_a_course_is_cut_into_rows_of_means():
    measured, w = ut.flow.recorded(lambda w: np.sum(w**2)), np.ones(2)
    for step in range(1, 101):
        measured(w)
        w = 0.99 * w
        measured.note(validation_loss=float(step))
    measured(w)
    rows = measured.flow.facts["noted"]
    assert len(rows) == 50 and rows[0]["validation_loss"] == 1.5 and rows[-1]["step"] == 100
    np.testing.assert_allclose([row["loss"] for row in rows], [0.99 ** (4 * i) * (1 + 0.99**2) for i in range(50)])


@pytest.mark.parametrize("value", [np.ones(3), "0.5", None])
def test_what_is_no_number_is_refused(value):
    with pytest.raises(ArgumentError, match="note: the validation loss has"):
        ut.flow.recorded(entropy).note(validation_loss=value)
