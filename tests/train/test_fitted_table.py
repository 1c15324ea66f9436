"""Tables in terminals of every width: a row is one line, and no number is cut."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from undertow.flow import Flow, Trial, flow_table
from undertow.flow.layers import FlowLayer
from undertow.flow.record import SCALARS, STATS
from undertow.flow.trials import Trials
from undertow.train.fitted_table import fit_table
from undertow.train.gradients import gradient_table

WIDTHS = (24, 40, 60, 72, 80, 100, 132, 200)
NAMES = ("Dense(64, 128)", "Dense(512, 512)", "LayerNorm(1024)", "MultiHeadAttentionOfMyOwn(16, heads=4, width=256)")


def lines_of(table, width):
    console = Console(width=width, color_system=None)
    with console.capture() as captured:
        console.print(table)
    return [line.rstrip() for line in captured.get().splitlines() if line.strip()]


def made_flow(n_layers=14):
    """A record whose numbers are as wide as numbers get."""
    layers = tuple(FlowLayer(i + 1, f"layers[{i}]", NAMES[i % 4], "Dense", "sigmoid") for i in range(n_layers))
    flow = Flow.empty(layers)
    rng = np.random.default_rng(0)
    n = 30
    flow.steps, flow.epochs = np.arange(1, n + 1), np.ones(n, np.int64)
    flow.scalars = {name: rng.normal(size=n) for name in SCALARS}
    flow.values = np.exp(rng.normal(size=(n, len(STATS), n_layers)) * 20).astype(np.float32)
    flow.values[:, STATS.index("zeros")] = 1.0
    return flow


@pytest.mark.parametrize("width", WIDTHS)
def test_a_layer_is_a_line(width):
    lines = lines_of(flow_table(made_flow(), width=width), width)
    rows = [line for line in lines if re.match(r"^ ?\d+  \w", line)]
    assert len(rows) == 14 and all(cell_len(line) <= width for line in lines)
    heads = lines[next(i for i, line in enumerate(lines) if "───" in line) - 1].split()
    assert "δ" in heads and (width < 80 or {"dW", "update", "log"} <= {*heads})
    size = r"(?<![\d.])\d\.\de[+-]\d\d(?!\d)"
    assert all(re.search(size, row) for row in rows)  # whole numbers, none of them cut


@pytest.mark.parametrize("width", WIDTHS)
def test_a_trial_is_a_line_and_what_has_no_room_stands_below(width):
    rows = (
        Trial("vanishing", "ReLU: it does not saturate.", share=0.9, gain=0.8, stopped="finished", seconds=1234.5),
        Trial("vanishing, saturation, plateau", f"{'scale ' * 20}inputs.", share=0.1, gain=-0.1, stopped="diverged"),
        Trial("leakage", "Leave rows out.", note="only you know which."),
    )
    trials = Trials(rows, Trial("", "unchanged", share=0.1, stopped="finished"), "validation accuracy")
    lines = lines_of(trials, width)
    table = [line for line in lines if re.match(r"^ ?[123] .*(%|–)", line)]
    assert len(table) == 3 and all(cell_len(line) <= width for line in lines)
    assert table[0].find("+80.0%") > 0 and table[1].find("-10.0%") > 0
    below = " ".join(lines[lines.index(table[2]) + 1 :])
    assert "Leave rows out. Not tried: only you know which." in below and "inputs." in below
    if width >= 80:
        assert "vanishing +2" in table[1] and "(diverged)" in table[1]


@pytest.mark.parametrize("width", WIDTHS)
def test_gradient_sizes_fit(width):
    rows = [
        {"layer": i, "name": name, "dW": 1e-30 * i, "db": 1e20, "delta": None, "ratio": 1e-12}
        for i, name in enumerate(NAMES, 8)
    ]
    lines = lines_of(gradient_table(rows, width), width)
    assert sum(bool(re.match(r"^ ?\d+  ", line)) for line in lines) == 4 and max(map(cell_len, lines)) <= width


@settings(max_examples=60, deadline=None)
@given(st.data(), st.integers(12, 120))
def test_any_table_fits(data, width):
    """Texts of any alphabet, wide characters too; as long as the columns that stay leave a place for the first."""
    text = st.text(st.characters(categories=("L", "N", "P")), max_size=30)
    n = data.draw(st.integers(1, 6))
    names = [f"c{i}" for i in range(n)]
    rows = data.draw(st.lists(st.lists(text, min_size=n, max_size=n), max_size=5))
    table = fit_table("t", names, rows, width, drop=names[1:])
    lines = lines_of(table, width)
    assert all(cell_len(line) <= width for line in lines) and len(table.columns) >= 1
    filled = [row for row in rows if any(x.strip() for x in row[:1])]
    assert len(lines) <= 3 + len(rows) and (not filled or len(lines) >= 3)
