"""Packages import their names when asked: each name resolves, and a process loads no more than it needs."""

import ast
import importlib
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import undertow as ut

SOURCE = Path(ut.__file__).parent
PACKAGES = ("undertow", *(f"undertow.{name}" for name in ("nn", "optim", "data", "train", "compile", "flow")))
LAZY = {name: importlib.import_module(name) for name in PACKAGES}  # undertow.train itself is a function
HEAVY = {"polars.dataframe", "rich", "typer", "numba", "llvmlite", "scipy", "sklearn", "torch", "jax", "matplotlib"}
PREDICT_NEEDS_NOT = HEAVY | {
    "decimal", "fractions", "statistics", "subprocess", "numpy.random", "tempfile",
    "undertow.compile", "undertow.emit", "undertow.simplify", "undertow.api", "undertow.check", "undertow.bridges",
    "undertow.optim", "undertow.train.trainer", "undertow.train.loop", "undertow.train.progress", "undertow.train.plot",
    "undertow.flow", "undertow.report", "undertow.export", "undertow.nn.summary", "undertow.nn.from_data",
}  # fmt: skip


def loaded_by(code: str, *arguments: object) -> set[str]:
    """The modules that a fresh process has loaded after some code."""
    code += "\nimport sys; print('\\n'.join(['', 'LOADED', *sys.modules]))"
    command = [sys.executable, "-c", code, *map(str, arguments)]
    result = subprocess.run(command, cwd=SOURCE.parent, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return set(result.stdout.partition("LOADED\n")[2].split())


def run_fresh(code: str) -> str:
    result = subprocess.run([sys.executable, "-c", code], cwd=SOURCE.parent, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def imports_for_checkers(package: str) -> dict[str, str]:
    """The names under TYPE_CHECKING in a package's file, by the module that they come from."""
    path = SOURCE.joinpath(*package.split(".")[1:], "__init__.py")
    blocks = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.If)]
    (block,) = [node for node in blocks if ast.unparse(node.test) == "TYPE_CHECKING"]
    return {
        alias.asname or alias.name: node.module or ""
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A run without tables, and a run of a table with the file to predict."""
    folder = tmp_path_factory.mktemp("runs")
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 2)).astype(np.float32)
    model = ut.nn.Sequential(ut.nn.Dense(2, 3), ut.nn.relu, ut.nn.Dense(3, 1))
    loss = ut.nn.mean_squared_error
    ut.train(model, (X, X[:, :1]), loss=loss, epochs=1, progress=False).save(folder / "plain")
    rows = [f"{a},{'xy'[i % 2]},{'no' if a > 0 else 'yes'}" for i, a in enumerate(X[:, 0])]
    (folder / "rows.csv").write_text("\n".join(["a,b,target", *rows, ""]))
    (folder / "one.csv").write_text("a,b\n0.5,x\n")
    return folder


# Names


@pytest.mark.parametrize("package", LAZY)
def test_the_table_is_what_type_checkers_see(package):
    module = LAZY[package]
    told = {name: origin for name, origin in imports_for_checkers(package).items() if origin != package}
    assert told == module.LAZY_NAMES
    parts = {"data", "flow", "nn", "optim"} if package == "undertow" else set()
    assert set(module.__all__) == (told.keys() | parts)


@pytest.mark.parametrize("package", LAZY)
def test_every_name_resolves_to_what_its_module_has(package):
    module = LAZY[package]
    assert set(module.__all__) <= set(dir(module))
    for name, origin in module.LAZY_NAMES.items():
        assert getattr(module, name) is getattr(importlib.import_module(origin), name), name
    assert len(set(module.__all__)) == len(module.__all__)


@pytest.mark.parametrize("package", LAZY)
def test_a_star_import_in_a_fresh_process_gives_all_names(package):
    code = f"from {package} import *\nimport sys\nm = sys.modules['{package}']\nprint(set(m.__all__) - set(globals()))"
    assert run_fresh(code) == "set()"


def test_names_that_nobody_imported_are_found_after_the_package():
    code = "import undertow as ut; print(ut.nn.relu(-1.0), ut.trees.flatten([1.0])[0], ut.optim.registry.__name__)"
    assert run_fresh(code) == "0.0 [1.0] undertow.optim.registry"


@pytest.mark.parametrize(
    ("names", "first"),
    [("compile train", "import undertow.compile.function, undertow.train.run"), ("compile train", "pass"),
     ("nn.summary nn.gain nn.orthogonal nn.class_weights", "import undertow.nn.summary, undertow.nn.orthogonal"),
     ("data.as_frame data.datasets data.open_source", "import undertow.data.as_frame, undertow.data.datasets"),
     ("resume", "import undertow.train.resume")],
)  # fmt: skip
def test_a_function_keeps_its_name_where_a_module_is_called_the_same(names, first):
    shown = ", ".join(f"type(ut.{name}).__name__" for name in names.split())
    code = f"{first}\nimport undertow as ut\nprint({{{shown}}})"
    assert run_fresh(code) == "{'function'}"
    assert run_fresh(f"import undertow as ut\nut.train\n{first}\nprint({{{shown}}})") == "{'function'}"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("undertow.tarin", "undertow has no attribute 'tarin'. Did you mean 'train'?"),
        ("undertow.nn.rellu", "undertow.nn has no attribute 'rellu'. Did you mean 'relu'?"),
        ("undertow.nn.Linear", "undertow.nn has no attribute 'Linear'. Use Dense(fan_in, fan_out)."),
        ("undertow.optim.Adam", "undertow.optim has no attribute 'Adam'. Did you mean 'adam'?"),
        ("undertow.data.load_digit", "undertow.data has no attribute 'load_digit'. Did you mean 'load_digits'?"),
        ("undertow.__path_of__", "undertow has no attribute '__path_of__'"),
    ],
)
def test_a_misspelt_name_is_told(name, message):
    package, _, attribute = name.rpartition(".")
    with pytest.raises(AttributeError) as caught:
        getattr(LAZY[package], attribute)
    assert str(caught.value) == message
    with pytest.raises(ImportError):
        exec(f"from {package} import {attribute}")


def test_python_adds_no_guess_of_its_own_to_ours():
    """It prints "Did you mean: 'relu'?" behind an error that knows the module."""
    code = "import undertow as ut\nut.nn.rellu"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.stderr.rstrip().endswith("undertow.nn has no attribute 'rellu'. Did you mean 'relu'?")


def test_a_name_can_be_replaced_and_put_back(monkeypatch):
    before = ut.train
    monkeypatch.setattr(ut, "train", len)
    assert ut.train is len
    monkeypatch.undo()
    assert ut.train is before


def test_functions_and_classes_are_pickled_by_their_own_modules():
    for value in (ut.train, ut.compile, ut.nn.relu, ut.nn.Dense, ut.optim.adam, ut.load):
        assert pickle.loads(pickle.dumps(value)) is value


def test_threads_may_ask_for_names_at_once():
    code = """
import sys, threading
sys.setswitchinterval(1e-6)
import undertow as ut
names = [f"{package}{name}" for package, module in (("", ut), ("nn.", ut.nn), ("optim.", ut.optim), ("data.", ut.data))
         for name in module.__all__]
wrong, begin = [], threading.Barrier(8)
def ask(first):
    begin.wait()
    for name in names[first:] + names[:first]:
        try:
            value = ut
            for part in name.split("."):
                value = getattr(value, part)
            values.setdefault(name, value) is value or wrong.append(name)
        except BaseException as error:
            wrong.append((name, repr(error)))
values = {}
threads = [threading.Thread(target=ask, args=(i * len(names) // 8,)) for i in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(wrong, len(values) == len(names))
"""
    assert run_fresh(code) == "[] True"


# What is registered when it is imported


def test_layers_and_losses_are_all_known_whoever_asks_first():
    layers, losses = set(ut.nn.LAYERS), set(ut.nn.LOSSES)
    assert {"Dense", "BatchNorm", "Embedding", "PReLU"} <= layers and {"huber", "binary_focal"} <= losses
    names = run_fresh("from undertow.nn import LAYERS, LOSSES; print(*LAYERS, *LOSSES)").split()
    assert set(names) >= {"Dense", "BatchNorm", "Embedding", "PReLU", "huber", "binary_focal"}


def test_a_layer_of_ones_own_cannot_take_the_name_of_one_that_is_not_imported_yet():
    code = """
import dataclasses, undertow as ut
@dataclasses.dataclass
class BatchNorm:
    def __call__(self, x):
        return x
try:
    ut.nn.register_layer(BatchNorm)
except ut.ArgumentError as error:
    print(error)
"""
    assert "there is a layer BatchNorm already" in run_fresh(code)


# What the collector of garbage does meanwhile


def test_an_import_sets_off_no_collection():
    code = """
import gc, numpy, undertow as ut
collections = []
gc.callbacks.append(lambda phase, details: collections.append(phase))
gc.collect(); collections.clear(); ut.train
print(gc.isenabled(), gc.get_freeze_count(), collections)
"""
    assert run_fresh(code) == "True 0 []"


def test_garbage_made_before_an_import_is_collected_after_it_and_frozen_objects_stay_frozen():
    code = """
import gc, weakref, undertow as ut
class Node: pass
node = Node(); node.itself = node; seen = weakref.ref(node); del node
ut.train; gc.collect(); print(seen() is None)
kept = Node(); kept.itself = kept; gc.freeze(); frozen = gc.get_freeze_count()
ut.nn.gelu, ut.data; print(gc.get_freeze_count() == frozen > 0)
gc.disable(); ut.optim.lamb; print(gc.isenabled())
"""
    assert run_fresh(code).split() == ["True", "True", "False"]


# What is not loaded


def test_import_undertow_loads_hardly_anything():
    loaded = {name for name in loaded_by("import undertow") if name.startswith("undertow")}
    assert loaded == {"undertow", "undertow.allocation", "undertow.lazy"}


def test_predicting_a_few_rows_loads_no_compiler_and_no_training(saved):
    code = "import sys, numpy as np, undertow as ut\nut.load(sys.argv[1]).predict(np.zeros((1, 2), np.float32))"
    loaded = loaded_by(code, saved / "plain")
    assert "undertow.train.run" in loaded
    assert loaded & PREDICT_NEEDS_NOT == set()


def test_training_without_progress_loads_no_tables_and_no_terminal():
    code = """
import numpy as np, undertow as ut
X = np.ones((8, 2), np.float32)
ut.train(ut.nn.Dense(2, 1), (X, X[:, :1]), loss=ut.nn.mean_squared_error, epochs=1, progress=False)
"""
    loaded = loaded_by(code)
    assert "undertow.train.trainer" in loaded
    assert loaded & (HEAVY - {"llvmlite"} | {"undertow.report", "undertow.export", "undertow.sklearn"}) == set()


def test_help_loads_neither_numpy_nor_training():
    code = "import sys; from undertow.cli import start; start.run(['--help'])"
    loaded = loaded_by(code)
    assert "typer" in loaded
    assert loaded & {"numpy", "polars", "undertow.nn", "undertow.primitives", "undertow.train.trainer", "rich"} == set()


def test_predicting_a_table_loads_no_compiler_and_no_typer(saved):
    train = ["train", saved / "rows.csv", "--target", "target", "--epochs", "1", "--out", saved / "table"]
    run = "import sys; from undertow.cli import start; assert start.run(sys.argv[1:]) == 0"
    loaded_by(run, *train)
    loaded = loaded_by(run, "predict", saved / "table", saved / "one.csv")
    assert "polars.dataframe" in loaded
    assert (
        loaded & (HEAVY - {"polars.dataframe"} | {"undertow.compile", "undertow.emit", "undertow.train.trainer"})
        == set()
    )
