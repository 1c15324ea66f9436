"""Clipping is told as a remedy where it is one, and only there: each case is trained with it."""

from __future__ import annotations

from typing import Any

import pytest

import undertow as ut
from undertow import nn, optim

DIGITS = ut.data.load_digits()
CLIP = optim.clip_by_global_norm(1.0)


def train(rule: Any, clip: Any = None) -> Any:
    model = nn.Sequential(nn.Dense(64, 64), "relu", nn.Dense(64, 10))
    settings = {"loss": "categorical_cross_entropy", "epochs": 10, "validation": 0.2, "progress": False}
    return ut.train(model, (DIGITS.X, DIGITS.y), optimizer=rule, clip=clip, **settings)


def remedies(run: Any) -> list[str]:
    (found,) = run.findings
    assert found.kind == "step-too-large"
    return list(dict.fromkeys(remedy.name for remedy in found.remedies))  # two rates count once


@pytest.mark.parametrize(
    ("rule", "helps"), [(optim.sgd(2.0), True), (optim.sgd(8.0), False), (optim.adam(1.0), False)], ids=repr
)
def test_clipping_is_told_where_it_lets_a_training_work_whose_steps_are_too_large(rule: Any, helps: bool) -> None:
    assert remedies(train(rule)) == (["rate", "clipping"] if helps else ["rate"])
    assert (train(rule, CLIP).history[-1]["validation_accuracy"] > 0.9) == helps


def test_what_is_clipped_already_is_not_told_to_be_clipped() -> None:
    assert remedies(train(optim.sgd(8.0), CLIP)) == ["rate"]
