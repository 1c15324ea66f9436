"""docs/flow.md tells of every number that a record holds."""

import re
from pathlib import Path

import numpy as np
import pytest

import undertow as ut
from undertow import nn
from undertow.flow.record import SCALARS, STATS

PAGE = (Path(__file__).parents[2] / "docs" / "flow.md").read_text(encoding="utf-8")
NAMES = {name.strip('"') for name in re.findall(r"`([^`\n]+)`", PAGE)}


@pytest.fixture(scope="module")
def flow():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((64, 5)).astype(np.float32)
    model = nn.Sequential(nn.Dense(5, 8), "relu", nn.Dense(8, 2))
    settings = {"loss": "categorical_cross_entropy", "epochs": 1, "validation": 0.2, "progress": False}
    return ut.train(model, (X, np.arange(64) % 2), **settings).flow


def test_every_number_of_a_step_is_described():
    told = {f"{name.split('.')[0]}.rms" if "." in name else name for name in STATS} | set(SCALARS)
    assert told <= NAMES


def test_every_key_of_a_look_is_described(flow):
    look = flow.look()
    assert set(look.plain()) <= NAMES
    assert {key for entry in look.layers for key in entry} <= NAMES
    assert {key for entry in look.layers for key in entry["histograms"]} <= NAMES


def test_every_fact_is_described(flow):
    assert set(flow.facts) <= NAMES
    for part in ("columns", "target", "output"):
        assert set(flow.facts[part]) <= NAMES
