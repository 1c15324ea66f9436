"""Functions of the user's own in a model: saved by their names, found again where they are registered or at hand."""

import functools
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

import undertow as ut
from undertow import nn
from undertow.errors import ArgumentError, RunError

ROOT = Path(__file__).parents[2]
X = np.random.default_rng(0).normal(size=(32, 3)).astype(np.float32)
SETTINGS = {"loss": "mean_squared_error", "epochs": 2, "progress": False}


def own_swish(x):
    return x * np.tanh(x)


def train(function, **more):
    return ut.train(nn.Sequential(nn.Dense(3, 2), function, nn.Dense(2, 1)), (X, X[:, :1]), **SETTINGS, **more)


@pytest.fixture
def registered():
    """`own_swish` is registered, while a test runs."""
    nn.register_layer(own_swish)
    yield
    del nn.registry.FUNCTIONS["own_swish"]


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize(
    "item", [own_swish, nn.Lambda(own_swish, "own"), nn.Residual(own_swish)], ids=["function", "Lambda", "Residual"]
)
def test_a_registered_function_is_saved_and_loaded_by_its_name(item, tmp_path):
    """Wherever in the model it stands; a training with checkpoints goes on without being given the model."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run = train(item, checkpoint=tmp_path / "kept")
    run.save(tmp_path / "run")
    loaded = ut.load(tmp_path / "run")
    np.testing.assert_array_equal(loaded.predict(X), run.predict(X))
    z = X @ loaded.model.layers[0].W + loaded.model.layers[0].b
    own = z * np.tanh(z) + (z if isinstance(item, nn.Residual) else 0)
    np.testing.assert_allclose(
        run.predict(X), own @ run.model.layers[2].W + run.model.layers[2].b, rtol=1e-5, atol=1e-6
    )
    again = ut.resume(tmp_path / "kept", (X, X[:, :1]), epochs=4, progress=False)
    assert len(again.history) == 4


def test_a_function_that_is_not_registered_is_told_before_training_and_by_save(tmp_path):
    """In one warning, with the remedy. Registered after all, the run is saved; the model is taken by `resume`."""
    with pytest.warns(
        UserWarning, match=r"will hold no model.*own_swish.*register_layer\(own_swish\).*model="
    ) as caught:
        run = train(own_swish, checkpoint=tmp_path / "kept")
    assert len(caught) == 1
    with pytest.raises(RunError, match=r"own_swish.*register_layer\(own_swish\)"):
        run.save(tmp_path / "run")
    with pytest.raises(ArgumentError, match=r"not registered\. Give it again: model="):
        ut.resume(tmp_path / "kept", (X, X[:, :1]), epochs=4, progress=False)
    model = nn.Sequential(nn.Dense(3, 2), own_swish, nn.Dense(2, 1))
    assert len(ut.resume(tmp_path / "kept", (X, X[:, :1]), model=model, epochs=4, progress=False).history) == 4
    nn.register_layer(own_swish)
    run.save(tmp_path / "run")
    del nn.registry.FUNCTIONS["own_swish"]
    with pytest.raises(RunError, match=r"no layer 'own_swish'.*register_layer"):
        ut.load(tmp_path / "run")


def test_what_has_no_name_is_refused():
    """A lambda, and names that other functions have."""
    with pytest.raises(ArgumentError, match=r"<lambda> has no name.*def name"):
        nn.register_layer(lambda x: x)
    with pytest.raises(ArgumentError, match=r"<lambda>.*Write it as def name"):
        nn.describe_model(nn.Sequential(nn.Dense(2, 2), lambda x: x * 2))

    class Plain:
        def __call__(self, x):
            return x

    with pytest.raises(
        ArgumentError, match=r"layer of your own \(Plain\).*@undertow.nn.register_layer above class Plain"
    ):
        nn.describe_model(nn.Sequential(nn.Dense(2, 2), Plain()))
    with pytest.raises(ArgumentError, match=r"function of your own .*partial.*Write it as def name"):
        nn.describe_model(nn.Sequential(nn.Dense(2, 2), functools.partial(np.clip, a_min=0, a_max=1)))

    def relu(x):
        return x

    with pytest.raises(ArgumentError, match="there is a layer relu already"):
        nn.register_layer(relu)
    with pytest.raises(ArgumentError, match=r"\(relu\) cannot be saved: Undertow's own is called so"):
        nn.describe_model(nn.Sequential(nn.Dense(2, 2), relu))


@pytest.mark.usefixtures("registered")
def test_another_function_of_a_registered_name_is_not_saved_as_that_one():
    def own_swish(x):
        return x

    with pytest.raises(ArgumentError, match="own_swish"):
        nn.describe_model(nn.Sequential(nn.Dense(2, 2), own_swish))
    with pytest.raises(ArgumentError, match="there is a layer own_swish already"):
        nn.register_layer(own_swish)


def times(factor):
    """Functions of one name and one place, which compute different things."""

    def scaled(x, power=1):
        return factor * x**power

    return scaled


class Times:
    def __init__(self, factor):
        self.factor = factor

    def scaled(self, x):
        return self.factor * x


@pytest.mark.parametrize("make", [times, lambda factor: Times(factor).scaled], ids=["closure", "method"])
def test_a_function_is_not_saved_as_another_one_of_the_same_place(make, monkeypatch):
    """It would be loaded as that one, and predict otherwise."""
    monkeypatch.setattr(nn.registry, "FUNCTIONS", {})
    one = nn.register_layer(make(1.0))
    assert nn.build_model(nn.describe_model(nn.Sequential(one))).layers[0](2.0) == 2.0
    with pytest.raises(ArgumentError, match=r"\(scaled\) cannot be saved: another one has that name now"):
        nn.describe_model(nn.Sequential(make(5.0)))


def test_a_cell_that_was_run_twice_is_saved_and_one_that_was_changed_is_not(monkeypatch):
    """The model still has the function of before, which the new one stands for where it computes the same."""
    monkeypatch.setattr(nn.registry, "FUNCTIONS", {})

    def run_cell(text):
        found = {"__name__": "a_notebook"}
        exec(text, found)  # as a notebook does
        return nn.register_layer(found["scaled"])

    before = run_cell("def scaled(x, factor=2.0):\n    return factor * x\n")
    run_cell("\n\ndef scaled(x, factor=2.0):\n    return factor * x\n")
    assert nn.build_model(nn.describe_model(nn.Sequential(before))).layers[0](1.0) == 2.0
    for changed in ("factor=3.0", "*, factor=2.0", "factor=2"):
        run_cell(f"def scaled(x, {changed}):\n    return factor * x\n")
        with pytest.raises(ArgumentError, match="another one has that name now"):
            nn.describe_model(nn.Sequential(before))
    run_cell("def scaled(x, factor=2.0):\n    return factor * x + 1\n")
    with pytest.raises(ArgumentError, match="another one has that name now"):
        nn.describe_model(nn.Sequential(before))


@pytest.mark.parametrize("name", ["system", "eval", "print", "load", "register_layer", "subprocess.run", "os:system"])
def test_a_file_names_no_function_that_nobody_registered(name):
    with pytest.raises(ArgumentError, match="there is no layer"):
        nn.build_model([{"layer": name}])


def test_a_function_of_the_script_itself_needs_no_registering(tmp_path):
    """One process trains and saves, another loads; a script without the function is told what is missing."""
    model = "nn.Sequential(nn.Dense(3, 2), own_swish)"
    begin = "import numpy as np, undertow as ut\nfrom undertow import nn\n"
    own = "def own_swish(x):\n    return x * np.tanh(x)\n"
    save = f"run = ut.Run(nn.initialize({model}, 3)); run.save('run')\n"
    tell = "print(ut.load('run').predict(np.ones((1, 3))).tolist())\n"
    first, second, third = (execute(x, tmp_path) for x in (begin + own + save + tell, begin + own + tell, begin + tell))
    assert first.returncode == 0 and first.stdout == second.stdout and first.stdout
    assert "there is no layer 'own_swish'" in third.stderr


def execute(text, folder):
    (folder / "script.py").write_text(text)
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    return subprocess.run([sys.executable, "script.py"], cwd=folder, env=environment, capture_output=True, text=True)
