"""Summaries count what can be counted by hand; random stacks of layers are built, counted, described and applied."""

import json
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from own_layers import Own
from undertow import nn
from undertow.errors import UndertowError
from undertow.nn.layer import widths


def rng(seed=0):
    return np.random.default_rng(seed)


def test_a_summary_counts_what_can_be_counted_by_hand():
    """Dense: fan_in · fan_out + fan_out parameters, 2 · fan_in · fan_out + fan_out operations forward."""
    made = nn.summary(nn.Sequential(nn.Dense(4, 8), "relu", nn.BatchNorm(8), nn.Residual(nn.Dense(8, 8, bias=False))))
    rows = {row.name: row for row in made.rows}
    dense, norm, block = rows["Dense(4, 8)"], rows["BatchNorm(8)"], rows["Residual"]
    assert (dense.trained, dense.not_trained, dense.output, dense.depth) == (40, 0, "(m, 8)", 1)
    assert (dense.forward, dense.backward) == (2 * 4 * 8 + 8, 2 * 2 * 4 * 8 + 8)  # db is a sum over dz
    assert (norm.trained, norm.not_trained) == (16, 16)
    assert rows["relu"].forward == 8 and rows["Dense(8, 8)"].depth == 2 and block.container
    assert (made.trained, made.not_trained, made.parameters) == (40 + 16 + 64, 16, 136)
    assert (made.parameter_bytes, made.optimizer_bytes, made.activation_bytes) == (544, 960, 4 * 8 * 4)


def test_a_summary_prints_a_table():
    """Containers are indented, sizes stand in columns, totals come last."""
    text = str(nn.Sequential(nn.Dense(4, 300), nn.Parallel("tanh", nn.Dropout(0.5)), nn.Dense(600, 2)).summary())
    lines = [line.strip() for line in text.splitlines()]
    assert lines[2].split() == ["input", "(m,", "4)"] and lines[3].split() == ["Sequential", "(m,", "2)"]
    assert lines[4].split() == ["Dense(4,", "300)", "(m,", "300)", "1,500", "–", "2,700", "5,100"]
    assert text.splitlines()[6].startswith("     tanh ")
    assert lines[-3].split()[:3] == ["total", "2,702", "–"]
    assert "Adam's state 21.1 KiB" in lines[-2]


def test_a_summary_needs_to_know_x():
    """Shapes without the batch axis; embeddings, images, layers of one's own."""
    assert nn.summary(nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Dense(12, 1)), 3).rows[1].output == "(m, 3, 4)"
    assert nn.summary(nn.Sequential(nn.Flatten(), "relu"), (28, 28)).rows[-1].output == "(m, 784)"
    assert nn.summary(nn.Sequential(Own(np.ones((3, 2))), "relu"), 3).trained == 6
    unknown = nn.summary(nn.Sequential(nn.Lambda(lambda x: np.array([float(v.sum()) for v in x]))), 3)
    assert unknown.rows[1].output == "(m,)"
    for model, shape, message in [
        (nn.Sequential("relu"), None, "is not known. Give input_shape"),
        (nn.Dense(2, 3), (0,), "input_shape is"),
        (nn.Dense(2, 3), "3", "input_shape is"),
        (nn.Dense(2, 3), 4, r"Dense\(2, 3\): x is \(2, 4\)"),
        (nn.Sequential(nn.Lambda(lambda x: x.reshape(-1), "ravel")), 3, r"ravel: it makes \(6,\) of 2 examples"),
    ]:
        with pytest.raises(UndertowError, match=message):
            nn.summary(model, shape)


@st.composite
def stacks(draw, width=None, depth=2):
    """A random stack of layers that fit: (model, columns that it takes, columns that it gives)."""
    first = width = width or draw(st.integers(1, 5))
    layers = []
    for _ in range(draw(st.integers(1, 4))):
        kind = draw(
            st.sampled_from(
                ["dense", "norm", "layer", "rms", "dropout", "scale", "prelu", "relu"]
                + ["residual", "parallel", "concat"] * (depth > 0)
            )
        )
        new = width
        if kind == "dense":
            new = draw(st.integers(1, 5))
            layers.append(nn.Dense(width, new, bias=draw(st.booleans())))
        elif kind in ("residual", "concat"):
            inner, _, given_width = draw(stacks(width, depth - 1))
            auto = "auto" if widths(inner)[0] is not None else None
            made = nn.Concat(inner) if kind == "concat" else nn.Residual(inner, projection=auto)
            new = width + given_width if kind == "concat" else given_width
            layers.append(made)
        elif kind == "parallel":
            branches = [draw(stacks(width, depth - 1)) for _ in range(2)]
            new = sum(given_width for _, _, given_width in branches)
            layers.append(nn.Parallel(*[inner for inner, _, _ in branches]))
        else:
            layers.append(
                {
                    "norm": nn.BatchNorm(width), "layer": nn.LayerNorm(width), "rms": nn.RMSNorm(width),
                    "dropout": nn.Dropout(0.5), "scale": nn.Scale(), "prelu": nn.PReLU(), "relu": "relu",
                }[kind]
            )  # fmt: skip
        width = new
    return nn.Sequential(*layers), first, width


@given(stacks())
@settings(max_examples=25, deadline=None)
def test_random_stacks_count_build_and_train(stack):
    """The summary's count is the sum of all sizes; widths are what comes out; a description gives the same function."""
    model, taken, given_width = stack
    filled = nn.initialize(model, 1)
    made = nn.summary(model, taken)
    sizes = nn.parameters_of(filled)
    assert made.parameters == sum(x.size for x in sizes.values())
    assert made.trained == sum(sizes[path].size for path in nn.trained_paths(filled))
    assert widths(model)[0] in (None, taken) and widths(model)[1] in (None, given_width)
    x = rng().standard_normal((6, taken)).astype(np.float32)
    assert filled(x).shape == (6, given_width) and filled(x).dtype == np.float32
    again = nn.put_parameters(nn.build_model(json.loads(json.dumps(nn.describe_model(filled)))), sizes)
    np.testing.assert_array_equal(again(x), filled(x))


def test_layers_that_differ_in_numbers_alone_are_counted_once(monkeypatch):
    """Others by themselves: (m, 8) by (8, 8), (8, 4) and (4, 4) is 16, 8 and 4 multiplications and additions a unit."""
    traced, module = [], sys.modules["undertow.nn.summary"]
    trace = module.trace_function
    monkeypatch.setattr(module, "trace_function", lambda *args, **k: (traced.append(1), trace(*args, **k))[1])
    stack = [nn.Dense(8, 8) for _ in range(20)] + [nn.Dense(8, 4), nn.Dense(4, 4, bias=False), nn.Dense(4, 4)]
    made = nn.summary(nn.Sequential(*stack))
    assert len(traced) == 4
    expected = [8 * 16 + 8] * 20 + [4 * 16 + 4, 4 * 8, 4 * 8 + 4]
    assert [row.forward for row in made.rows[1:]] == expected
