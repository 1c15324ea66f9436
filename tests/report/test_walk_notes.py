"""What the steps of a walk say of the simplifications behind them."""

import numpy as np
import pytest

from undertow import nn
from undertow.report import walk_model


@pytest.mark.parametrize(
    ("outputs", "loss", "squash"), [(3, "categorical_cross_entropy", "softmax"), (1, "binary_cross_entropy", "sigmoid")]
)
def test_where_output_and_loss_meet_is_said(outputs, loss, squash):
    """The step at which p − y comes out names both, as the program does, and the rule that found it."""
    model = nn.initialize(nn.Sequential(nn.Dense(4, 3), "tanh", nn.Dense(3, outputs)), 0)
    X, y = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32), np.arange(6) % 2
    y = y if outputs > 1 else y[:, None].astype(np.float32)
    (layers,) = [part for part in walk_model(model, X, y, loss).data()["levels"] if part["name"] == "Layers"]
    notes = [note for step in layers["steps"] for note in step.get("notes", [])]
    assert len([note for note in notes if note.startswith(f"{squash} and cross-entropy: p − y; simplified by")]) == 1
