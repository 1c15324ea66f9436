"""Every remedy of every finding: its code runs, and `undertow train` takes its option and goes by it.

The networks are those of the bench, a few of each kind, and some for remedies that these do not need.
"""

from __future__ import annotations

import importlib
import inspect
import shlex
import types
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import undertow as ut
from command_line import make_runner
from undertow import nn, optim
from undertow.cli.options import read_names, read_sizes
from undertow.flow.rules import RULES
from undertow.flow.rules import remedies as R
from undertow.train import Diverged
from undertow.train.table import train_table
from undertow.train.table_settings import TableSettings, read_config

pytest.importorskip("sklearn")
ROOT = Path(__file__).parents[2]
EACH = 2  # networks of a kind, and those with one of these in their name
ALSO = ("bottleneck", "Noise(", "smooth", "decay", "0.99 at 0.07", "before a number")
ROWS = 120  # with which code is run
RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 4)).astype(np.float32)
LABELS = (X[:, 0] + 0.3 * RNG.normal(size=300) > 0) * 1
CROSS = "categorical_cross_entropy"

# How the sentence of a remedy begins that has no option, and why there is none.
WITHOUT_OPTION = {
    "what was given is to be looked at": ("Look ",),
    "it is in a function of the user's own": ("Keep ", "Turn the sign"),
    "a network of the command line does not begin so": ("Keep the gains of normalisations at 1",),
    "undertow train does it by itself": (
        "Leave the constant columns out, as",
        "Leave out the rows that are not finite",
    ),
}
OF_LOOPS = {"gradient-not-reset"}  # no training of ours does so: test_summed_gradients
NOT_REMEDIES = {"rate_of", "changed", "write_leave_out", "is_number", "index"}


def small(*ends, width=16):
    return nn.Sequential(nn.Dense(4, width), "relu", nn.Dense(width, 2), *ends)


def noisy_table(folder):
    """A class that one column tells, beside one that does not."""
    told = RNG.choice(["r", "b"], 200)
    pl.DataFrame({"x": RNG.normal(size=200), "tells": told, "y": np.where(told == "r", "up", "down")}).write_csv(
        folder / "t.csv"
    )
    settings = TableSettings(data=str(folder / "t.csv"), target="y", epochs=2, hidden=[8], refit=False)
    return train_table(settings, folder / "run", progress=False, say=lambda _: None)[0]


def minus_log(output, y):
    return np.mean(np.sum(y * nn.log_softmax(output), axis=1))


def mine(model, y, **settings):
    """A training on X, which may diverge."""
    try:
        run = ut.train(model, (X, y), **{"epochs": 6, "validation": 0.2, "progress": False, **settings})
    except Diverged as error:
        run = error.run
    return run, model, X, y, settings


@nn.register_layer
@dataclass
class Unread:
    """A layer that forgets its shift."""

    size: int
    shift: Any = None

    def shapes(self):
        return {"shift": (self.size,)}

    def initial(self, rng, dtype, follows):
        return replace(self, shift=np.zeros(self.size, dtype))

    def __call__(self, x):
        return 2 * x


def own_cases():
    """Trainings whose remedies are in no network of the bench."""
    positive = np.exp(X[:, :1]).astype(np.float32)
    yield mine(small(), LABELS, loss=CROSS, optimizer=optim.sgd(optim.cosine(0.01, 3)), epochs=30)
    yield mine(small(), np.eye(2, dtype=np.float32)[LABELS], loss=minus_log, optimizer=optim.sgd(0.05), epochs=10)
    yield mine(small("relu", "softmax"), LABELS, loss=CROSS, optimizer=optim.adam(1e-3))
    yield mine(
        nn.Sequential(nn.Dense(4, 8), "tanh", nn.Dense(8, 1)),
        np.round(positive),
        loss="poisson",
        optimizer=optim.adam(1e-3),
    )
    flat = nn.LayerNorm(8, gain=np.zeros(8, np.float32))
    yield mine(nn.Sequential(nn.Dense(4, 8), flat, "relu", nn.Dense(8, 2)), LABELS, loss=CROSS)
    mixing = nn.Sequential(nn.Dense(4, 8), lambda h: h - h.mean(axis=0), Unread(8), "relu", nn.Dense(8, 2))
    yield mine(mixing, LABELS, loss=CROSS)


@pytest.fixture(scope="module")
def tried(tmp_path_factory):
    """(finding, remedy, what its code knows), each kind of option and code once; and which functions made them."""
    made, found = set(), {}
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT))
        patch.setattr("warnings.warn", lambda *a, **k: None)
        for name, function in inspect.getmembers(R, inspect.isfunction):
            if function.__module__ == R.__name__ and not name.startswith("_"):
                patch.setattr(R, name, lambda *a, _f=function, _n=name, **k: (made.add(_n), _f(*a, **k))[1])
        importlib.import_module("benchmarks.diagnosis.__main__")
        case, truth = (importlib.import_module(f"benchmarks.diagnosis.{name}") for name in ("case", "truth"))
        runs = [(noisy_table(tmp_path_factory.mktemp("table")), None, X, LABELS, {})]
        for kind in case.KINDS:
            for x in (x for i, x in enumerate(case.make_cases(0, kind)) if i < EACH or any(a in x.name for a in ALSO)):
                runs.append((truth.fit(x.train_arguments(), flow=True), x.model, *x.data, x.settings))
        for run, model, data, y, settings in [*runs, *own_cases()]:
            for finding in run.findings:
                for remedy in finding.remedies:
                    key = finding.kind, remedy.name, remedy.option.split(" ")[0], remedy.code.partition("\n")[0][:30]
                    names = {"model": model, "X": data[:ROWS], "y": y[:ROWS], "x": data, "run": run}
                    held = settings.get("validation")
                    held = held if isinstance(held, tuple) else (None, None)
                    names |= {"loss": settings.get("loss"), "X_validation": held[0], "y_validation": held[1]}
                    found.setdefault(key, (finding, remedy, names))
    return list(found.values()), made


def train_shortly(*arguments, **settings):
    """`ut.train`, for an epoch."""
    try:
        return ut.train(*arguments, **{**settings, "epochs": 1, "progress": False, "flow": False})
    except Diverged as error:
        return error.run


def test_every_rule_and_every_remedy_is_among_them(tried):
    found, made = tried
    assert {finding.kind for finding, *_ in found} == set(RULES) - OF_LOOPS
    ours = {name for name, x in vars(R).items() if inspect.isfunction(x) and x.__module__ == R.__name__}
    assert {name for name in ours if not name.startswith("_")} - NOT_REMEDIES - made == set()


def test_the_code_of_every_remedy_runs(tried):
    shown = types.SimpleNamespace(**{name: getattr(ut, name) for name in ("nn", "optim", "flow")}, train=train_shortly)
    for finding, remedy, names in tried[0]:
        if names["model"] is None:  # of a table, in Polars
            continue
        known = {**names, "ut": shown, "np": np}
        try:
            exec(remedy.code, known)
        except Exception as error:
            raise AssertionError(f"{finding.kind}: {remedy.code}") from error
        assert remedy.code and ("ut.train(" not in remedy.code or known["run"].history), finding.kind


def test_only_some_remedies_have_no_option_and_it_is_known_why(tried):
    begins = tuple(begin for x in WITHOUT_OPTION.values() for begin in x)
    without = {remedy.sentence for _, remedy, _ in tried[0] if not remedy.option}
    assert not [x for x in without if not x.startswith(begins)]


@pytest.fixture
def undertow(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    a, b, c = RNG.normal(size=(3, 90)).round(3)
    kind = np.where(a + b > 0, "up", "down")
    columns = {"a": a, "b": b, "tells": kind, "c": c}
    pl.DataFrame({**columns, "y": kind}).write_csv("classes.csv")
    pl.DataFrame({**columns, "y": np.exp(a) + 0.1}).write_csv("numbers.csv")
    return make_runner(capsys, monkeypatch)


def read_option(option):
    """The settings that an option stands for, as config.toml has them."""
    kinds = {field.name: str(field.type) for field in fields(TableSettings)}
    found = {}
    words = shlex.split(option)
    while words:
        name = words.pop(0).removeprefix("--").replace("-", "_")
        if "bool" in kinds[name]:
            found[name] = True
            continue
        text = words.pop(0)
        readers = {"list[int]": read_sizes, "list[str]": read_names, "int": int, "float": float}
        found[name] = next((read(text) for kind, read in readers.items() if kind in kinds[name]), text)
    return found


def test_every_option_is_taken_by_train(tried, undertow):
    """In a training of the same task; its settings stand in config.toml."""
    options = {(remedy.option, names["run"].settings["task"]) for _, remedy, names in tried[0] if remedy.option}
    assert len({option.split()[0] for option, _ in options}) > 20
    for option, task in sorted(options):
        classes = task != "regression" or "cross_entropy" in option
        table = "classes.csv" if classes else "numbers.csv"
        loss = ("--loss", "binary_cross_entropy") if task == "binary" and "--loss" not in option else ()
        told = ("train", table, "--target", "y", "--epochs", 1, "--hidden", "4", "--no-refit", "--no-flow", *loss)
        code, _, err = undertow(*told, *shlex.split(option), "--quiet", "--overwrite", "--out", "run")
        assert code == 0, (option, err)
        written = read_config("run/config.toml").given()
        assert {name: written[name] for name in read_option(option)} == read_option(option)


def test_what_is_tried_can_be_trained_so(undertow):
    """The option of the best trial makes the network of that trial, with its score."""
    deep = ("--hidden", ",".join(["16"] * 9), "--activation", "sigmoid", "--optimizer", "sgd", "--rate", "0.1")
    settings = ("--epochs", 8, "--leave-out", "tells", "--dropout", 0, "--average", 0, "--quiet")
    assert undertow("train", "classes.csv", "--target", "y", *deep, *settings, "--out", "deep")[0] == 0
    code, out, _ = undertow("diagnose", "deep", "--try", "--quiet")
    line = out.rpartition("to train so: undertow ")[2].strip()
    assert code == 0 and line.startswith("train --config deep/config.toml --") and line.endswith("--out deep-better")
    assert undertow(*shlex.split(line), "--quiet")[0] == 0
    best = ut.load("deep").try_remedies(progress=False).best
    better = ut.load("deep-better")
    assert best.option in line and repr(better.model) == repr(best.run.model)
