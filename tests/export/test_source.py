"""An exported source predicts and goes on training as the run does, where only NumPy can be imported."""

import csv
import io
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import pytest

import undertow as ut
from exported import MODELS, draw, load_source, rows_for, run_of, train_shortly
from undertow import nn, optim, trees
from undertow.errors import ArgumentError, UnsupportedError
from undertow.export import export_source
from undertow.export import source as source_module
from undertow.optim import Optimizer
from undertow.train import make_step
from undertow.train.derive import number_paths, numbers_of, put_numbers, trained_numbers
from undertow.train.objective import Objective, Target
from undertow.train.setup import draws_numbers

CLIPS = {"no clip": None, **{name: make(0.05) for name, make in optim.CLIPS.items()}}
RULES = {
    **{name: make() for name, make in optim.OPTIMIZERS.items()},
    "a schedule": optim.adamw(optim.cosine(0.1, 20), decay=0.01),
    "two groups": optim.grouped(optim.adam(0.01), {"*.b": optim.sgd(0.1)}),
    "averaged": optim.averaged(optim.sgd(0.1)),
    "lookahead": optim.lookahead(optim.momentum(0.01)),
    "accumulated": optim.accumulate(optim.adam(0.01), 2),
}
ALONE = """
import runpy, sys

class OnlyNumPy:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] not in {"numpy", *sys.stdlib_module_names}:
            raise ImportError(f"{name} is not there")

sys.meta_path.insert(0, OnlyNumPy())
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def run_alone(path, *arguments):
    """Run a file in a Python that has NumPy and the standard library, and no other module."""
    command = [sys.executable, "-I", "-c", ALONE, str(path), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", env={"PYTHONIOENCODING": "utf-8"})


def compare_training(run, module, X, y, loss, optimizer, clip, steps=5):
    """Steps by the exported source and by Undertow's own rules, without compiling, lead to the same parameters."""
    loss = loss if isinstance(loss, nn.Loss) else nn.Loss("own", loss, "own")
    objective = Objective(loss, run.settings.get("l1", 0.0), run.settings.get("l2", 0.0))
    step = make_step(objective, optimizer, clip)
    model, rebuild, paths = run.model, trees.flatten(run.model)[1], number_paths(run.model)
    state = step.init(model)
    draws = draws_numbers(model, X)
    params, memory = module.PARAMS, module.init_state(module.PARAMS)
    for number in range(steps):
        keys = nn.example_keys(0, number, len(X)) if draws else None
        leaves = trees.flatten(model)[0]
        numbers = numbers_of(leaves)
        wanted, grads, replaced, seen = step.gradient.of_leaves(leaves, rebuild, X, Target(y, keys=keys))
        grads = {paths[i]: g for i, g in grads.items()}
        params_now = {paths[i]: numbers[i] for i in trained_numbers(model)}
        _, new, state, _ = step.apply(wanted, grads, state, params_now, seen)
        model = rebuild(put_numbers(leaves, [replaced.get(i, new.get(paths[i], x)) for i, x in enumerate(numbers)]))
        found, params, memory = module.step(params, memory, X, y, *([keys] if draws else []))
        np.testing.assert_allclose(found, wanted, rtol=1e-5)
    assert any(not np.array_equal(params[name], old) for name, old in module.PARAMS.items())
    for name, wanted in zip(module.PARAMS, numbers_of(trees.flatten(model)[0]), strict=True):
        np.testing.assert_allclose(params[name], wanted, rtol=1e-5, atol=1e-5, err_msg=name)
        assert np.asarray(params[name]).dtype == np.asarray(module.PARAMS[name]).dtype


@pytest.mark.parametrize("name", MODELS)
def test_it_predicts_and_trains_as_the_run_does(name, tmp_path):
    run = run_of(name)
    module = load_source(export_source(run, tmp_path / "model.py", example=rows_for(name, 2)))
    X = rows_for(name, 7, seed=1)
    np.testing.assert_allclose(module.outputs(module.PARAMS, X), run.outputs(X), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(module.predict_probability(X), run.predict_probability(X), rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(module.predict(X), run.predict(X))
    loss = nn.LOSSES[run.settings["loss"]].function
    compare_training(run, module, X, np.arange(7) % 3, loss, optim.adam(), None)


@pytest.mark.parametrize(
    ("rule", "clip"), [*((rule, "no clip") for rule in RULES), *(("momentum", clip) for clip in optim.CLIPS)]
)
def test_each_optimizer_and_clipping_goes_on(rule, clip, tmp_path):
    X = rows_for("", 40)
    optimizer, clip = RULES[rule], CLIPS[clip]
    model = nn.initialize(nn.Sequential(nn.Dense(6, 4), "tanh", nn.Dense(4, 2)))
    settings = {
        "loss": "mean_squared_error", "optimizer": {"name": optimizer.name, **optimizer.settings},
        "clip": clip and {"name": clip.name, **clip.settings},
    }  # fmt: skip
    run = ut.Run(model, settings=settings)
    module = load_source(export_source(run, tmp_path / "model.py"))
    y = X @ np.ones((6, 2), np.float32)
    compare_training(run, module, X, y, nn.LOSSES["mean_squared_error"], optimizer, clip)


def together(rate):
    """A rule that looks at all parameters at once, and whose state begins with the parameters themselves."""

    def init(params):
        return {"slow": {name: w * 1.0 for name, w in params.items()}, "n": 0.0}

    def update(grads, state, params):
        size = sum(np.sum(g * g) for g in grads.values()) ** 0.5
        new = {name: w - rate * grads[name] / (size + 1e-3) for name, w in params.items()}
        slow = {name: 0.9 * s + 0.1 * new[name] for name, s in state["slow"].items()}
        return {name: 0.5 * w + 0.5 * slow[name] for name, w in new.items()}, {"slow": slow, "n": state["n"] + 1.0}

    return Optimizer("together", init, update, {"rate": rate})


def test_an_optimizer_of_ones_own(tmp_path):
    """One that cannot be written for a parameter at a time is written for all; the run's record does not hold it."""
    X = rows_for("", 40)
    optimizer = together(0.05)
    run = train_shortly(nn.Sequential(nn.Dense(6, 2)), X, "mean_squared_error", optimizer=optimizer)
    with pytest.raises(ArgumentError, match=r"'together' is one of your own.*training=False"):
        export_source(run, tmp_path / "model.py")
    module = load_source(export_source(run, tmp_path / "model.py", optimizer=optimizer))
    y = X @ np.ones((6, 2), np.float32)
    compare_training(run, module, X, y, nn.LOSSES["mean_squared_error"].function, optimizer, None)


def decayed(rate):
    """A rule that lets matrices decay and leaves vectors alone, with a rate that falls by a NumPy function."""

    def init(params):
        return {"n": 0.0, "v": {name: w * 0.0 for name, w in params.items()}}

    def update(grads, state, params):
        now = rate * (1 + np.cos(state["n"] / 10)) / 2
        v = {name: 0.5 * v + grads[name] for name, v in state["v"].items()}
        new = {name: w - rate * v[name] - (0.01 * w if np.ndim(w) > 1 else 0.0) for name, w in params.items()}
        return new, {"n": state["n"] + now, "v": v}

    return Optimizer("decayed", init, update, {"rate": rate})


def test_an_optimizer_that_treats_matrices_otherwise(tmp_path):
    """Each kind of parameters has a function of its own, and a number in the state stays a Python number."""
    X = rows_for("", 40)
    optimizer = decayed(0.05)
    run = train_shortly(nn.Sequential(nn.Dense(6, 4), "tanh", nn.Dense(4, 2)), X, "mean_squared_error")
    path = export_source(run, tmp_path / "model.py", optimizer=optimizer)
    module = load_source(path)
    assert module.UPDATES["W1"] is module.UPDATES["W2"] is not module.UPDATES["b1"]
    y = X @ np.ones((6, 2), np.float32)
    compare_training(run, module, X, y, nn.LOSSES["mean_squared_error"].function, optimizer, None)


@dataclass(eq=False)
class Centred:
    """Takes off the mean of the batch while it trains, and a running mean afterwards."""

    shift: Any
    mean: Any

    not_trained = ("mean",)

    def __call__(self, x):
        if not nn.is_training():
            return x - self.mean + self.shift
        mean = np.mean(x, axis=0)
        nn.replace(self.mean, 0.9 * nn.current(self.mean) + 0.1 * mean)
        return x - mean + self.shift


LAYERS = {
    "running statistics": nn.Sequential(nn.Dense(6, 8), Centred(draw(8), draw(8, seed=1)), "relu", nn.Dense(8, 3)),
    "random numbers": nn.Sequential(nn.Dense(6, 8), nn.Dropout(0.4), "tanh", nn.Dense(8, 3)),
    "both": nn.Sequential(Centred(draw(6), draw(6)), nn.Dense(6, 8), nn.Dropout(0.2), nn.Dense(8, 3)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers_that_behave_otherwise_while_they_train(name, tmp_path):
    """Each step renews running statistics, which predictions use; dropout leaves out units of a step only."""
    run = train_shortly(LAYERS[name], rows_for("", 48), l1=0.001, l2=0.01)
    module = load_source(export_source(run, tmp_path / "model.py", example=rows_for("", 2)))
    X = rows_for("", 7, seed=1)
    np.testing.assert_allclose(module.predict_probability(X), run.predict_probability(X), rtol=1e-5)
    loss = nn.LOSSES[run.settings["loss"]]
    compare_training(run, module, X, np.arange(7) % 3, loss, optim.adam(), None)
    module.step(module.PARAMS, module.init_state(module.PARAMS), X, np.arange(7) % 3)  # numbers of its own


@pytest.mark.parametrize("name", nn.LOSSES)
def test_each_loss_predicts_and_trains(name, tmp_path):
    X = rows_for("", 40)
    kind = nn.LOSSES[name].task
    y = {"regression": np.abs(X[:, :2]), "binary": (X[:, :1] > 0).astype("f"), "categorical": np.arange(40) % 3}[kind]
    end = {"softmax": ["softmax"], "sigmoid": ["sigmoid"]}.get(nn.LOSSES[name].end, [])
    end = [] if nn.LOSSES[name].logits else end
    n = {"regression": 2, "binary": 1, "categorical": 3}[kind] * nn.LOSSES[name].columns
    model = nn.Sequential(nn.Dense(6, n), *end)
    run = ut.Run(nn.initialize(model), settings={"loss": name, "optimizer": {"name": "adam"}})
    module = load_source(export_source(run, tmp_path / "model.py"))
    np.testing.assert_allclose(module.predict(X), run.predict(X), rtol=1e-5)
    compare_training(run, module, X, y, nn.LOSSES[name], optim.adam(), None)


def test_an_untrained_run_begins_with_zero_biases(tmp_path):
    """The optimizer's memory, zeros too, is not taken for the biases."""
    model = nn.initialize(nn.Sequential(nn.Dense(6, 4), "relu", nn.Dense(4, 2)))
    module = load_source(export_source(ut.Run(model, settings={"loss": "mean_squared_error"}), tmp_path / "model.py"))
    memory = module.init_state(module.PARAMS)
    assert not any(value.any() for part in ("m", "v") for value in memory[part].values())


def test_a_loss_of_ones_own(tmp_path):
    def quartic(p, y):
        return np.mean((p - y) ** 4)

    X = rows_for("", 40)
    y = X @ np.ones((6, 2), np.float32)
    run = ut.train(nn.Dense(6, 2), (X, y), loss=quartic, epochs=1, validation=None, progress=False)
    with pytest.raises(ArgumentError, match="only the name of its loss, 'quartic'"):
        export_source(run, tmp_path / "model.py")
    with pytest.raises(ArgumentError, match="target=y"):
        export_source(run, tmp_path / "model.py", loss=quartic)
    module = load_source(export_source(run, tmp_path / "model.py", loss=quartic, target=y))
    compare_training(run, module, X, y, quartic, optim.adam(), None)
    plain = load_source(export_source(run, tmp_path / "model.py", training=False))
    assert not hasattr(plain, "step")
    np.testing.assert_allclose(plain.predict(X), run.predict(X), rtol=1e-6)


def test_two_classes_with_one_output(tmp_path):
    for end in ((), ("sigmoid",)):
        run = train_shortly(nn.Sequential(nn.Dense(6, 1), *end), rows_for("", 32), "binary_cross_entropy")
        module = load_source(export_source(run, tmp_path / "model.py"))
        X = rows_for("", 9, seed=1)
        np.testing.assert_array_equal(module.predict(X), run.predict(X))
        np.testing.assert_allclose(module.predict_probability(X), run.predict_probability(X), rtol=1e-6)


def test_it_runs_where_only_numpy_is(tmp_path):
    """As a command: predictions and probabilities for a CSV file; wrong files are one line, not a traceback."""
    run = run_of("a stack")
    path = export_source(run, tmp_path / "model.py")
    X = rows_for("", 5, seed=1)
    table = tmp_path / "data.csv"
    table.write_text("\n".join(["a,b,c,d,e,f", *(",".join(map(repr, map(float, row))) for row in X)]) + "\n")
    result = run_alone(path, table, "--probabilities")
    assert result.stderr == ""
    header, *rows = csv.reader(io.StringIO(result.stdout))
    assert header == ["prediction", "p(0)", "p(1)", "p(2)"]
    assert [int(row[0]) for row in rows] == run.predict(X).tolist()
    np.testing.assert_allclose(np.array(rows)[:, 1:].astype(float), run.predict_probability(X), rtol=1e-5)
    table.write_text("a,b,c,d,e,f\n")
    assert run_alone(path, table, "--probabilities").stderr.strip().endswith("data.csv holds no rows.")
    table.write_text("1,2,3\n")
    result = run_alone(path, table)
    assert result.returncode == 1
    assert result.stderr.strip().endswith("line 1: 3 numbers, but the network takes 6.")


def test_a_reader_that_stops_reading_is_no_error(tmp_path):
    """As of ``python model.py X.csv | head``: no traceback, and the exit code of success."""
    path = export_source(run_of("a stack"), tmp_path / "model.py")
    table = tmp_path / "X.csv"
    np.savetxt(table, rows_for("", 5), delimiter=",")
    reader, writer = os.pipe()
    os.close(reader)
    found = subprocess.run([sys.executable, str(path), str(table)], stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert (found.returncode, found.stderr) == (0, "")


def test_many_parameters_stand_beside_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(source_module, "LARGEST", 100)
    run = run_of("a stack")
    path = export_source(run, tmp_path / "model.py")
    assert sorted(x.name for x in tmp_path.iterdir()) == ["model.npz", "model.py"]
    np.testing.assert_allclose(load_source(path).predict(rows_for("", 5)), run.predict(rows_for("", 5)))


# ---- tables --------------------------------------------------------------------------------------

TABLE = '''age;city;since;when;member;weight;buys
31;Oslo;2024-02-28;2024-01-01 10:30;true;3,5;yes
NA;Rome;2024-03-01;2024-01-02 11:30;false;2,25;no
45,5;"São ""P""";2023-12-31;2024-01-03 00:00;true;?;no
22;;2024-07-01;;FALSE;-1e1;yes
''' + "".join(
    f"{20 + i};Oslo;2024-05-{i + 1:02};2024-02-03 04:05;true;{i};{'yes' if i % 2 else 'no'}\n" for i in range(20)
)
NEW = '''city;age;since;when;member;weight;extra
Kyoto;50;2025-01-01;2024-05-05 12:00:00;true;1,5;x
"São ""P""";;2024-01-01;;;;y
;19;;2024-05-05 12:00:30;false;7;z
'''


def train_on(text, target, tmp_path):
    table = tmp_path / "train.csv"
    table.write_text(text, encoding="utf-8")
    data = ut.data.encode_table(ut.data.read_table(table), target, validation=0.0)
    encoder = data.encoder
    loss = "categorical_cross_entropy" if encoder.classes else "mean_squared_error"
    model = nn.Sequential(nn.Dense(encoder.n_features, 5), "relu", nn.Dense(5, encoder.n_outputs))
    run = ut.train(model, data.train, loss=loss, epochs=2, validation=None, progress=False)
    run.extras["encoder"] = encoder.to_json_dict()
    return run, encoder, data


@pytest.mark.parametrize("target", ["buys", "weight"])
def test_tables_are_read_as_in_training(target, tmp_path):
    """From a CSV file with missing values, unknown categories, other columns: the same numbers go in and come out."""
    text = TABLE if target == "buys" else TABLE.replace(";?;", ";4;")
    run, encoder, data = train_on(text, target, tmp_path)
    path = export_source(run, tmp_path / "model.py")
    module = load_source(path)
    new = tmp_path / "new.csv"
    new.write_text(NEW, encoding="utf-8")
    frame = ut.data.read_table(new, as_text=encoder.text_columns)
    if target == "weight":
        frame = frame.with_columns(pl.lit("yes").alias("buys"))
        new.write_text("\n".join(f"{line};{'yes' if i else 'buys'}" for i, line in enumerate(NEW.splitlines())) + "\n")
    X = encoder.transform(frame, report=[])
    rows = module.read_csv(new, module.TEXTS)
    np.testing.assert_allclose(module.encode(rows, module.COLUMNS), X, rtol=1e-6)
    wanted = encoder.decode(run.predict(X) if encoder.classes else run.outputs(X)).tolist()
    if encoder.classes:
        assert module.predict_rows(rows) == wanted
    else:
        np.testing.assert_allclose(module.predict_rows(rows), wanted, rtol=1e-6)
    assert module.predict_rows(frame.to_dicts()) == module.predict_rows(rows)  # Python values instead of texts
    trained_on = module.read_csv(tmp_path / "train.csv", module.TEXTS)
    np.testing.assert_allclose(
        module.encode_target(trained_on), encoder.encode_target(ut.data.read_table(tmp_path / "train.csv"))
    )
    result = run_alone(path, new)
    assert result.returncode == 0, result.stderr
    printed = [row[0] for row in csv.reader(io.StringIO(result.stdout))]
    assert printed[0] == "prediction"
    if encoder.classes:
        assert printed[1:] == wanted
    else:
        np.testing.assert_allclose([float(number) for number in printed[1:]], wanted, rtol=1e-6)
    loss = nn.LOSSES[run.settings["loss"]].function
    compare_training(run, module, *data.train, loss, optim.adam(), None)


def test_wrong_tables_are_said_in_one_line(tmp_path):
    run, _, _ = train_on(TABLE, "buys", tmp_path)
    path = export_source(run, tmp_path / "model.py")
    module = load_source(path)
    row = dict(zip(TABLE.splitlines()[0].split(";"), ["x", "Oslo", None, None, True, 1.0, "yes"], strict=True))
    with pytest.raises(ValueError, match="row 1: column 'age' holds 'x', which is no number"):
        module.predict_rows([row])
    with pytest.raises(ValueError, match=r"rows is a dictionary, but a list of them is wanted: \[row\]"):
        module.predict_rows({**row, "age": 3})
    with pytest.raises(ValueError, match="row 1 lacks the column 'age'"):
        module.predict_rows([{"city": "Oslo"}])
    with pytest.raises(ValueError, match="column 'member' holds 2, which is no boolean"):
        module.predict_rows([{**row, "age": 3, "member": 2}])
    with pytest.raises(ValueError, match="row 1: 'buys' is 'perhaps', which is none of"):
        module.encode_target([{"buys": "perhaps"}])
    (tmp_path / "short.csv").write_text("age,city\n3\n")
    result = run_alone(path, tmp_path / "short.csv")
    assert result.returncode == 1
    assert "short.csv, line 2: 1 fields for 2 columns." in result.stderr
    assert "Traceback" not in result.stderr
    (tmp_path / "twice.csv").write_text("age,city,age\n3,Oslo,4\n")
    assert "twice.csv: two columns share the name 'age'. Give each" in run_alone(path, tmp_path / "twice.csv").stderr


def test_an_encoder_and_a_loss_that_do_not_fit_are_refused(tmp_path):
    run, _, _ = train_on(TABLE, "buys", tmp_path)
    run.settings["loss"] = "mean_squared_error"
    with pytest.raises(ArgumentError, match="is for a classification: they do not fit together"):
        export_source(run, tmp_path / "model.py")


def test_a_function_of_scipy_is_imported_and_said(tmp_path):
    special = pytest.importorskip("scipy.special")

    def exact_gelu(z):
        return z * special.ndtr(z)

    run = train_shortly(nn.Sequential(nn.Dense(6, 3), exact_gelu), rows_for("", 16))
    path = export_source(run, tmp_path / "model.py")
    assert path.read_text().startswith('"""A trained network that needs only NumPy and SciPy and')
    X = rows_for("", 3)
    np.testing.assert_allclose(load_source(path).predict_probability(X), run.predict_probability(X), rtol=1e-5)


def test_names_that_the_file_uses_itself(tmp_path):
    """A user's variables may be called as the file's functions are."""

    def outputs(x):
        predict = x + 1
        params = np.tanh(predict)
        np_ = params * 2
        return np_

    run = train_shortly(nn.Sequential(nn.Dense(6, 3), outputs), rows_for("", 16))
    module = load_source(export_source(run, tmp_path / "model.py"))
    X = rows_for("", 3)
    np.testing.assert_allclose(module.outputs(module.PARAMS, X), run.outputs(X), rtol=1e-6)
    compare_training(run, module, X, np.arange(3), nn.LOSSES[run.settings["loss"]].function, optim.adam(), None)


def test_large_constants_of_both_functions_stay_apart(tmp_path):
    """Arrays that a model's code holds are written once for the network and once for training, under other names."""
    first, second = (np.random.default_rng(i).normal(size=(6, 20)).astype(np.float32) for i in range(2))
    model = nn.Sequential(lambda x: np.sin(x @ first) + np.cos(x @ second), nn.Dense(20, 3))
    run = train_shortly(model, rows_for("", 16))
    module = load_source(export_source(run, tmp_path / "model.py", example=rows_for("", 2)))
    X = rows_for("", 3)
    np.testing.assert_allclose(module.outputs(module.PARAMS, X), run.outputs(X), rtol=1e-6)
    compare_training(run, module, X, np.arange(3), nn.LOSSES[run.settings["loss"]].function, optim.adam(), None)


def test_a_model_that_counts_its_rows_is_refused(tmp_path):
    def by_row(x):
        return np.stack([x[i] * (i + 1) for i in range(len(x))])

    run = ut.Run(nn.initialize(nn.Sequential(nn.Dense(6, 3), by_row)), settings={"loss": "mean_squared_error"})
    with pytest.raises(UnsupportedError, match="counts the rows of its batch"):
        export_source(run, tmp_path / "model.py")
