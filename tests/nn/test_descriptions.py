"""Descriptions are read with suspicion: whatever a file holds, the answer is a model or an error of ours."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import own_layers
import undertow as ut
from undertow import nn
from undertow.errors import ArgumentError, UndertowError
from undertow.nn.registry import LAYERS


def nested(depth):
    record = {"layer": "relu"}
    for _ in range(depth):
        record = {"layer": "Residual", "layers": [record]}
    return record


@pytest.mark.parametrize(
    "record",
    [
        {"layer": "BatchNorm"},
        {"layer": "BatchNorm", "size": "3"},
        {"layer": "BatchNorm", "size": True},
        {"layer": "BatchNorm", "size": 3.0},
        {"layer": "BatchNorm", "size": 3, "momentum": 7},
        {"layer": "BatchNorm", "size": 3, "momentum": math.nan},
        {"layer": "BatchNorm", "size": 3, "epsilon": math.inf},
        {"layer": "BatchNorm", "size": 3, "mean": 0.0},
        {"layer": "BatchNorm", "size": 10**30},
        {"layer": "BatchNorm", "size": 3, "static": []},
        {"layer": "BatchNorm", "size": 3, "__class__": "x"},
        {"layer": "Dense", "fan_in": 2, "fan_out": 3, "init": {"name": "normal", "deviation": "x"}},
        {"layer": "Dense", "fan_in": 2, "fan_out": 3, "init": {"name": "os.system"}},
        {"layer": "Dense", "fan_in": 2, "fan_out": 3, "init": {"layer": "relu"}},
        {"layer": "Dense", "fan_in": 2, "fan_out": 3, "bias": 1},
        {"layer": "Dropout", "rate": 1},
        {"layer": "Dropout", "rate": [0.5]},
        {"layer": "Dropout"},
        {"layer": "Noise", "deviation": -1.0},
        {"layer": "Reshape", "shape": [3, -2]},
        {"layer": "Reshape", "shape": list(range(1, 5000))},
        {"layer": "Reshape", "shape": [[[[1]]]]},
        {"layer": "Reshape", "shape": "ab"},
        {"layer": "EmbedColumns", "fan_in": 3, "columns": [[0, 2]]},
        {"layer": "EmbedColumns", "fan_in": 3, "columns": [[0, 2, 10**15]]},
        {"layer": "EmbedColumns", "fan_in": 3, "columns": {"layer": "relu"}},
        {"layer": "EmbedColumns", "fan_in": 3, "columns": [[0, 2, 2]], "embeddings": [{"layer": "relu"}]},
        {"layer": "Embedding", "n": -3, "size": 2},
        {"layer": "Parallel", "layers": []},
        {"layer": "Parallel", "layers": [{"layer": "relu"}], "combine": "sum"},
        {"layer": "Parallel", "layers": [{"layer": "relu"}], "combine": ["add"]},
        {"layer": "Parallel", "layers": "relu"},
        {"layer": "Parallel", "combine": "add"},
        {"layer": "Residual", "layers": [{"layer": "relu"}], "projection": "auto"},
        {"layer": "Residual", "layers": [{"layer": "relu"}], "projection": 3},
        {"layer": "Residual", "layers": [{"layer": "relu"}], "scale": "x"},
        {"layer": "Residual", "layers": [{"layer": "Dense", "fan_in": 2, "fan_out": 3}]},
        {"layer": "Sequential", "layers": [3]},
        {"layer": "leaky_relu", "slope": "x"},
        {"layer": "leaky_relu", "slop": 0.1},
        {"layer": "Lambda", "function": "print"},
        {"layer": "LayerShapeError"},
        {"layer": "Gate", "size": "3"},
        {"layer": "Gate", "size": 3, "gain": [1.0, 1.0, 1.0]},
        {"layer": "Twice", "inner": 3, "factor": "x"},
        {"layer": "Gate" * 100_000},
        nested(60),
        nested(900),
        {"layer": ["Dense"]},
        {},
        None,
    ],
)
def test_a_hostile_description_is_an_error_of_ours(record):
    """Whatever a file holds, the answer is one short sentence of ours, and nothing is allocated or run."""
    with pytest.raises(UndertowError) as caught:
        nn.build_model([{"layer": "relu"}, record])
    assert len(str(caught.value)) < 1000


def test_a_description_of_too_many_layers_is_not_read():
    """The number of layers is bounded, also where they are spread over containers."""
    wide = {"layer": "Sequential", "layers": [{"layer": "relu"}] * 400}
    with pytest.raises(ArgumentError, match="more than 100,000 layers"):
        nn.build_model([wide] * 400)


def test_large_sizes_in_a_description_allocate_nothing():
    """A layer of 2^39 columns is described, expected and refused without memory for it."""
    model = nn.build_model([{"layer": "BatchNorm", "size": 2**39}, {"layer": "Embedding", "n": 2**39, "size": 2**39}])
    assert nn.expected_shapes(model)["layers[1].W"] == (2**39, 2**39)
    with pytest.raises(ArgumentError, match="missing"):
        nn.put_parameters(model, {})


@pytest.mark.parametrize("inner", [None, nn.Dense(3, 3)])
@pytest.mark.parametrize("activation", [None, "tanh"])
def test_a_field_that_is_none_comes_back_as_none(inner, activation, tmp_path):
    """Left out of the description, it would be its class's default: another model, without a word."""
    model = nn.initialize(nn.Sequential(nn.Dense(2, 3), own_layers.Switch(inner, activation)), 0)
    ut.Run(model, settings={"loss": "mean_squared_error"}).save(tmp_path / "run")
    X = np.linspace(-1, 1, 8, dtype=np.float32).reshape(4, 2)
    wanted = X @ model.layers[0].W + model.layers[0].b
    wanted = wanted if inner is None else wanted @ model.layers[1].inner.W + model.layers[1].inner.b
    wanted = wanted if activation is None else np.tanh(wanted)
    np.testing.assert_allclose(ut.load(tmp_path / "run").model(X), wanted, rtol=1e-6)


def test_none_in_a_field_of_numbers_is_told_when_it_is_saved():
    with pytest.raises(ArgumentError, match=r"^Switch\.slope: None is no float\.$"):
        nn.describe_model(own_layers.Switch(None, slope=None))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["layer", "layers", "size", "shape", "name", "inner"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.sampled_from(sorted(LAYERS)), st.data())
@settings(max_examples=150, deadline=None)
def test_random_descriptions_give_a_model_or_an_error_of_ours(name, data):
    """Any plain data in the fields of any layer is either a model that can be described again, or an UndertowError."""
    fields = [field.name for field in dataclasses.fields(LAYERS[name])]
    record = {"layer": name, **data.draw(st.dictionaries(st.sampled_from(fields or ["x"]), json_values, max_size=4))}
    try:
        model = nn.build_model([record])
    except UndertowError:
        return
    assert nn.describe_model(nn.build_model(nn.describe_model(model))) == nn.describe_model(model)
