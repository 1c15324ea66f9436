"""Layers of a user's own, and what models hold: parameters by path, put in and taken out."""

import dataclasses
import json
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import undertow as ut
from own_layers import Gate, Twice, every_layer
from undertow import nn, trees
from undertow.errors import ArgumentError, RunError, UndertowError


def rng(seed=0):
    return np.random.default_rng(seed)


def test_a_layer_of_ones_own_is_filled_trained_saved_and_loaded(tmp_path):
    """Registered, it works as the built-in ones: initial values, training, a run on the disk, the same predictions."""
    X = rng().standard_normal((64, 3)).astype(np.float32)
    model = nn.Sequential(Gate(3, power=2.0), Twice(nn.Dense(3, 3), 1.5), nn.BatchNorm(3), nn.Dense(3, 1))
    run = ut.train(model, (X, X[:, :1]), loss="mean_squared_error", epochs=2, progress=False)
    gate, twice = run.model.layers[:2]
    assert gate.power == 2.0 and np.abs(gate.gain - 1).max() > 1e-4
    assert abs(float(twice.factor) - 1.5) > 1e-4  # a float that is not static is trained
    run.save(tmp_path / "run")
    again = type(run).load(tmp_path / "run")
    np.testing.assert_array_equal(again.predict(X), run.predict(X))
    assert again.model.layers[0].power == 2.0


@dataclass
class Shifted:
    """A shift of its own around layers that are made here: `initial` fills the shift alone."""

    size: int
    shift: Any = None
    inner: Any = None
    static = ("size",)

    def __post_init__(self):
        self.inner = self.inner or nn.Sequential(nn.Dense(self.size, self.size), "tanh", nn.BatchNorm(self.size))

    def initial(self, rng, dtype, follows):
        return dataclasses.replace(self, shift=np.full(self.size, 2, dtype))

    def __call__(self, x):
        return self.inner(x) + self.shift


def test_layers_beside_arrays_of_a_layers_own_are_filled_too():
    model = nn.initialize(nn.Sequential(Shifted(3), nn.Dense(3, 1)), seed=0, dtype=np.float64)
    shifted = model.layers[0]
    x = rng(1).normal(size=(5, 3))
    dense = shifted.inner.layers[0]
    np.testing.assert_allclose(
        shifted(x), np.tanh(x @ dense.W + dense.b) / np.sqrt(1 + shifted.inner.layers[2].epsilon) + 2
    )
    assert dense.W.dtype == np.float64 and np.abs(dense.W).max() <= np.sqrt(6 / 6)  # glorot_uniform: √(6 / (3 + 3))
    filled = dataclasses.replace(shifted, inner=nn.Sequential(nn.Dense(3, 3, W=np.eye(3), b=np.ones(3))))
    kept = nn.initialize(filled, seed=1, dtype=np.float64).inner.layers[0]
    np.testing.assert_array_equal(kept.W, np.eye(3))


@dataclass
class Scaled:
    """Draws its scale whenever it is asked to."""

    size: int
    scale: Any = None
    static = ("size",)

    def initial(self, rng, dtype, follows):
        return dataclasses.replace(self, scale=rng.normal(size=self.size).astype(dtype))

    def __call__(self, x):
        return x * self.scale


@dataclass
class Beginning:
    """Begins as 0: its `initial` fills the scale of the one layer, and leaves that of the other."""

    size: int
    shift: Any = None
    made: Any = None
    left: Any = None
    static = ("size",)

    def __post_init__(self):
        self.made, self.left = self.made or Scaled(self.size), self.left or Scaled(self.size)

    def initial(self, rng, dtype, follows):
        zeros = np.zeros(self.size, dtype)
        return dataclasses.replace(self, shift=zeros, made=dataclasses.replace(self.made, scale=zeros))

    def __call__(self, x):
        return self.left(self.made(x)) + self.shift


def test_what_a_layers_own_initial_made_of_its_layers_stays():
    beginning = nn.initialize(nn.Sequential(Beginning(3)), seed=0).layers[0]
    np.testing.assert_array_equal(beginning.made.scale, np.zeros(3))
    assert np.all(beginning.left.scale)


def test_classes_that_cannot_be_registered_are_told_why():
    """No dataclass, parameters of unknown shape, a name that is taken."""
    with pytest.raises(ArgumentError, match="no dataclass"):
        nn.register_layer(int)

    @dataclass
    class Unknown:
        def initial(self, rng, dtype, follows):
            return self

        def __call__(self, x):
            return x

    with pytest.raises(ArgumentError, match="initial but no shapes"):
        nn.register_layer(Unknown)

    @dataclass
    class Dense:
        def __call__(self, x):
            return x

    with pytest.raises(ArgumentError, match="a layer Dense already"):
        nn.register_layer(Dense)
    assert nn.register_layer(nn.Dense) is nn.Dense  # again, as when a notebook's cell is run twice


def test_a_run_with_a_layer_that_is_not_registered_here_is_not_damaged(tmp_path, monkeypatch):
    """Its file is whole: what is missing is the class, and the error says how it gets known."""
    X = rng().standard_normal((64, 3)).astype(np.float32)
    run = ut.train(nn.Sequential(Gate(3), nn.Dense(3, 1)), (X, X[:, :1]), loss="mean_squared_error", progress=False)
    run.save(tmp_path)
    monkeypatch.delitem(nn.LAYERS, "Gate")
    with pytest.raises(RunError, match=r"cannot be read here: layer 1: there is no layer 'Gate'.*import the module"):
        ut.load(tmp_path)


def test_an_initial_that_breaks_its_own_shapes_is_an_error():
    """What initial returns is compared with what shapes says."""

    @dataclass
    class Short(Gate):
        def initial(self, rng, dtype, follows):
            return dataclasses.replace(self, gain=np.ones(self.size + 1, dtype))

    @dataclass
    class Forgetful(Gate):
        def initial(self, rng, dtype, follows):
            return None

    with pytest.raises(ArgumentError, match=r"its initial made gain \(4,\), its shapes say \(3,\)"):
        nn.initialize(Short(3))
    with pytest.raises(ArgumentError, match=r"its initial returned NoneType\. Return a Forgetful"):
        nn.initialize(Forgetful(3))


def test_every_layer_survives_a_round_trip_through_json():
    """Description, JSON, model, parameters: the same structure, the same function; all registered layers are in it."""
    model = nn.initialize(every_layer(), 3)
    text = json.dumps(nn.describe_model(model))
    again = nn.build_model(json.loads(text))
    assert nn.describe_model(again) == json.loads(text) and repr(again) == repr(every_layer())
    assert not nn.is_initialized(again)
    assert nn.expected_shapes(again) == {path: np.shape(x) for path, x in nn.parameters_of(model).items()}
    again = nn.put_parameters(again, nn.parameters_of(model))
    assert nn.is_initialized(again) and trees.same_structure(again, model)
    X = rng().standard_normal((9, 5)).astype(np.float32)
    X[:, 1] = 3
    np.testing.assert_array_equal(again(X), model(X))
    named = set(text.replace('"', " ").split())
    # an example in a docstring may have registered a layer under a module's name
    ours = {name: layer for name, layer in nn.LAYERS.items() if layer.__module__.startswith("undertow.")}
    shipped = {name for name, layer in ours.items() if hasattr(sys.modules[layer.__module__], name)}
    assert len(shipped) > 10 and shipped - {"Embedding", "Lambda", "Sequential"} <= named
    assert nn.describe_model(nn.build_model(nn.describe_model(nn.Embedding(3, 2)))) == nn.describe_model(
        nn.Embedding(3, 2)
    )


def test_put_parameters_checks_everything_and_leaves_the_model_alone():
    """Missing and foreign paths, shapes and dtypes are named; the given model keeps its None."""
    model = nn.Sequential(nn.Dense(2, 3))
    W, b = np.ones((2, 3), np.float32), np.zeros(3, np.float32)
    filled = nn.put_parameters(model, {"layers[0].W": W, "layers[0].b": b})
    assert filled.layers[0].W is W and model.layers[0].W is None
    for values, message in [
        ({"layers[0].W": W}, r"layers\[0\].b is missing"),
        ({"layers[0].W": W, "layers[0].b": b, "c": b}, "'c', which the model does not have"),
        ({"layers[0].W": W.T, "layers[0].b": b}, r"layers\[0\].W is \(3, 2\), the model needs \(2, 3\)"),
        ({"layers[0].W": W, "layers[0].b": np.zeros(3, int)}, "int64, not float32 or float64"),
    ]:
        with pytest.raises(UndertowError, match=message):
            nn.put_parameters(model, values)


def test_map_layers_reaches_layers_everywhere():
    """In containers, projections, and fields of layers of one's own."""
    quiet = nn.map_layers(every_layer(), lambda x: nn.Dropout(0.0) if isinstance(x, nn.Dropout) else x)
    assert "rate=0.0" in repr(quiet) and "rate=0.3" not in repr(quiet) and "rate=0.2" not in repr(quiet)
    seen = []
    model = every_layer()
    assert nn.map_layers(model, lambda x: seen.append(type(x).__name__) or x) is model
    assert seen.count("Dense") == 8


def test_layers_kept_outside_of_fields_are_refused():
    """As a module of PyTorch's keeps them: nothing would fill or train them, and the error says where they belong."""

    @dataclass
    class InAttributes:
        size: int
        static = ("size",)

        def __post_init__(self):
            self.inner = nn.Dense(self.size, self.size)

        def __call__(self, x):
            return x + self.inner(x)

    class NoDataclass:
        def __init__(self):
            self.parts = [nn.Dense(3, 3)]

        def __call__(self, x):
            return self.parts[0](x)

    told = r"InAttributes keeps Dense\(3, 3\) in inner, which is no field .* `inner: Any = None`; __post_init__ may"
    with pytest.raises(ut.ArgumentError, match=told):
        nn.initialize(nn.Sequential(InAttributes(3), nn.Dense(3, 1)))
    for model in (NoDataclass(), nn.Sequential(NoDataclass(), nn.Dense(3, 1))):
        with pytest.raises(ut.ArgumentError, match="Make NoDataclass a dataclass with the field parts"):
            ut.train(model, (np.ones((4, 3)), np.ones(4)), loss="mean_squared_error", epochs=1, progress=False)


def test_layers_in_fields_that_post_init_fills_are_trained():
    @dataclass
    class InFields:
        size: int
        inner: Any = None
        static = ("size",)

        def __post_init__(self):
            self.inner = self.inner or nn.Dense(self.size, self.size)

        def __call__(self, x):
            return x + self.inner(x)

    X = np.random.default_rng(0).normal(size=(40, 3))
    model = nn.initialize(nn.Sequential(InFields(3), nn.Dense(3, 1)))
    run = ut.train(model, (X, X[:, :1]), loss="mean_squared_error", epochs=2, progress=False)
    assert not np.array_equal(run.model.layers[0].inner.W, model.layers[0].inner.W)


def test_arrays_under_names_of_other_libraries():
    """Both names are told where one is missing and another is there; weights the other way round are told so."""
    model = nn.initialize(nn.Dense(2, 3))
    with pytest.raises(ut.ArgumentError, match=r"W is missing. There is 'weight', which the model does not have"):
        nn.put_parameters(model, {"weight": np.ones((3, 2)), "b": np.ones(3)})
    with pytest.raises(ut.ShapeError, match=r"W is \(3, 2\), the model needs \(2, 3\). Transpose it"):
        nn.put_parameters(model, {"W": np.ones((3, 2)), "b": np.ones(3)})


def test_a_layer_of_ones_own_is_shown_without_its_arrays():
    """Those of the layers in its fields neither: a run, a summary and a container show it in a line."""
    model = nn.initialize(Shifted(3), seed=0)
    run = ut.train(model, (np.ones((8, 3)), np.ones((8, 3))), loss="mean_squared_error", epochs=1, progress=False)
    shown = "Shifted(size=3, inner=Sequential(Dense(3, 3), tanh, BatchNorm(3)))"
    assert repr(run).startswith(f"Run({shown}, 1 epoch")
    assert repr(nn.Sequential(model)) == f"Sequential({shown})"
    held = dataclasses.make_dataclass("Held", [("parts", Any)])([model])
    assert nn.layer.show_item(held) == f"Held(parts=[{shown}])"
    many = dataclasses.make_dataclass("Many", [("parts", Any)])([nn.Dense(2, 2)] * 20)
    assert nn.layer.show_item(many) == "Many(…)"


def test_a_training_of_one_layer_of_ones_own_is_resumed_without_being_given_it(tmp_path):
    """The model is no Sequential, and is made again from what the checkpoint says."""
    nn.register_layer(Whole)
    data, rate = (rng().normal(size=(20, 3)), rng(1).normal(size=(20, 3))), ut.optim.adam(0.01)
    settings = {"loss": "mean_squared_error", "optimizer": rate, "progress": False}
    whole = ut.train(Whole(3), data, epochs=4, **settings)
    ut.train(Whole(3), data, epochs=2, checkpoint=tmp_path / "run", **settings)
    resumed = ut.resume(tmp_path / "run", data, epochs=4, progress=False)
    assert type(resumed.model) is Whole
    np.testing.assert_array_equal(resumed.predict(data[0]), whole.predict(data[0]))


@dataclass
class Whole:
    size: int
    dense: Any = None
    static = ("size",)

    def __post_init__(self):
        self.dense = self.dense or nn.Dense(self.size, self.size)

    def __call__(self, x):
        return x + np.tanh(self.dense(x))


@dataclass
class Redrawn:
    """As layers are written by hand: `initial` draws everything anew, whatever is there."""

    size: int
    gain: Any = None
    shift: Any = None
    slope: float = 0.0
    parts: Any = None

    def initial(self, generator, dtype, follows):
        self.gain = generator.normal(size=self.size).astype(dtype)
        self.shift = np.ones(self.size, dtype)
        self.parts = [{"w": generator.normal(size=self.size).astype(dtype)}]
        self.slope = 0.25
        return self

    def __call__(self, x):
        return x * self.gain + self.shift + self.slope * self.parts[0]["w"]


def test_what_a_layer_has_is_kept_whatever_its_initial_returns():
    """Weights that were trained or given stay; what is None, or a number that nobody gave, is filled."""
    first = nn.initialize(Redrawn(3), seed=0)
    assert first.slope == 0.25 and np.array_equal(first.shift, [1, 1, 1])
    trained = trees.map(lambda w: w + np.float32(1.5), first)
    for again in (nn.initialize(trained, seed=1), nn.initialize(nn.Sequential(trained), seed=1).layers[0]):
        for kept, before in zip(trees.flatten(again)[0], trees.flatten(trained)[0], strict=True):
            np.testing.assert_array_equal(kept, before)
    partly = Redrawn(3, gain=np.array([5.0, 6.0, 7.0]), slope=0.5)
    filled = nn.initialize(partly)
    assert filled.gain is partly.gain and filled.slope == 0.5 and filled.shift.shape == (3,)
    assert partly.shift is None  # the model that was given is as it was


def test_a_run_is_trained_on_from_where_it_ended(tmp_path):
    """Also with layers of one's own, and where it was saved and loaded: at a rate of nearly 0, the weights stay."""
    nn.register_layer(Redone)
    X = rng().normal(size=(64, 3)).astype(np.float32)
    settings = {"loss": "mean_squared_error", "progress": False}
    model = nn.Sequential(Redone(3), nn.Dense(3, 1))
    run = ut.train(model, (X, X[:, :1] / 9), optimizer=ut.optim.adam(0.05), epochs=5, **settings)
    run.save(tmp_path / "run")
    assert np.abs(run.model.layers[0].gain - 1).max() > 0.1
    for start in (run.model, ut.load(tmp_path / "run").model):
        again = ut.train(start, (X, X[:, :1] / 9), optimizer=ut.optim.sgd(1e-9), epochs=1, **settings)
        np.testing.assert_allclose(again.model.layers[0].gain, run.model.layers[0].gain, atol=1e-6)
        np.testing.assert_allclose(again.predict(X), run.predict(X), atol=1e-5)


@dataclass
class Redone:
    size: int
    gain: Any = None

    def shapes(self):
        return {"gain": (self.size,)}

    def initial(self, generator, dtype, follows):
        return dataclasses.replace(self, gain=np.ones(self.size, dtype))

    def __call__(self, x):
        return x * np.tanh(self.gain)


def test_given_weights_of_another_shape_are_told_as_given():
    with pytest.raises(ArgumentError, match=r"it was given gain \(2,\), its shapes say \(3,\)"):
        nn.initialize(Redone(3, gain=np.ones(2)))
