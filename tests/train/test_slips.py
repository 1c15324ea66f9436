"""Slips of people from other libraries, in own layers, losses and callbacks: messages name the place and a remedy."""

import json
import math
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import undertow as ut
from undertow import nn
from undertow.errors import ArgumentError, InPlaceError, ShapeError, UndertowError
from undertow.train import Diverged

RNG = np.random.default_rng(0)
X = RNG.standard_normal((40, 4)).astype(np.float32)
Y = RNG.integers(0, 3, 40)


def train(model, loss="categorical_cross_entropy", **settings):
    return ut.train(model, (X, Y), loss=loss, **{"epochs": 1, "progress": False, **settings})


@dataclass
class Linear:
    W: np.ndarray

    def __call__(self, x):
        return x @ self.W


@dataclass
class Forward:
    W: np.ndarray

    def forward(self, x):
        return x @ self.W


@dataclass
class Branch(Linear):
    def __call__(self, x):
        z = x @ self.W
        if np.mean(z) > 0:
            z = z * 2
        return z


@dataclass
class Masked(Linear):
    def __call__(self, x):
        return (x * (np.random.rand(*x.shape) > 0.5)) @ self.W


def test_an_own_layer_that_does_not_fit_is_told_with_both_shapes():
    told = r"cannot be applied to X of shape \(m, 4\): x @ W \(test_slips.py:\d+\): x is \(m, 4\), W is \(3, 2\)"
    with pytest.raises(ShapeError, match=told + r": the inner sizes 4 and 3 differ. Give the right side 4 rows.$"):
        train(Linear(np.ones((3, 2))))


def test_a_layer_with_a_method_forward():
    with pytest.raises(ArgumentError, match=r"^Forward has a method forward, and none called __call__. Rename it.$"):
        train(Forward(np.ones((4, 3))))
    with pytest.raises(
        ArgumentError, match=r"^Sequential: Forward has a method forward, and none called __call__. Rena"
    ):
        nn.Sequential(Forward(np.ones((4, 3))))


def test_a_list_for_an_array_in_an_own_layer():
    with pytest.raises(InPlaceError, match=r"self.W is a list of numbers, .* Pass np.array\(self.W\) in its place.$"):
        train(Linear([[0.0] * 3] * 4))


def test_what_keeps_a_step_from_being_compiled_is_said_with_its_line_and_a_remedy(capsys):
    table = np.eye(3)

    def by_table(output, y):
        return np.mean((output - table[y]) ** 2)

    said = (
        r"Not all of a step is compiled: .*py:\d+, `return .*`: table is a plain .* Write `ut.one_hot\(y, 3\) @ table`"
    )
    with pytest.warns(UserWarning, match=said):
        train(nn.Sequential(nn.Dense(4, 3)), by_table)
    with pytest.warns(
        UserWarning, match=r"`if np.mean\(z\) > 0:`: .* Write `z = np.where\(np.mean\(z\) > 0, z \* 2, z\)`"
    ):
        train(Branch(np.ones((4, 3))))
    train(Branch(np.ones((4, 3))), progress=True)
    assert re.search(r"test_slips.py:\d+, `if np.mean\(z\) > 0:`", capsys.readouterr().out)


def test_random_numbers_in_a_layer_are_not_said_to_be_the_losses():
    with pytest.warns(
        UserWarning, match=r"^a layer of the model, or the loss, draws .* undertow.nn.uniform_like\(x\) or"
    ):
        train(Masked(np.ones((4, 3))))


@pytest.mark.parametrize(("f", "guard"), [(np.log, "np.log(np.maximum(x, 1e-12))"), (np.sqrt, "np.sqrt(np.maximum")])
def test_a_loss_that_is_not_finite_from_the_first_step_on_says_what_to_write(f, guard):
    with pytest.raises(Diverged, match=rf"\(test_slips.py:\d+\) gives nan for .*{re.escape(guard)}"):
        train(nn.Sequential(nn.Dense(4, 3)), lambda output, y: np.mean(f(-np.abs(output) - 1.0)))


@pytest.mark.parametrize(
    ("f", "guard"),
    [(lambda z: (z - z) / (z * 0.0), "x / np.where(y == 0, 1, y)"), (lambda z: (-np.abs(z) - 1) ** 0.3, "fractional")],
)
def test_a_quotient_by_0_and_a_root_of_less_than_0_are_told_what_to_write(f, guard):
    with pytest.raises(Diverged, match=rf"gives nan for .* the learning rate is not the cause\..*{re.escape(guard)}"):
        train(nn.Sequential(nn.Dense(4, 3)), lambda output, y: np.mean(f(output)))


def test_what_leaves_a_domain_later_is_told_what_to_write_before_the_rate():
    def loss(output, y):
        return np.mean(np.log(output + 1.0))  # it falls, until it is no number

    model = nn.Sequential(nn.Dense(4, 3, init="zeros"))
    told = r"epoch \d+, step \d: log .* np.log\(np.maximum\(x, 1e-12\)\). Or try a learning rate"
    with pytest.raises(Diverged, match=told):
        train(model, loss, optimizer=ut.optim.sgd(0.5), epochs=50)


def test_callbacks_that_look_for_the_row_elsewhere():
    model = nn.Sequential(nn.Dense(4, 3))
    with pytest.raises(TypeError, match=r"a callback's info is no dict. Use info.row\['loss'\].$"):
        train(model, callbacks=lambda info: info["loss"] < 1)
    with pytest.raises(AttributeError, match=r"a callback's info has no attribute 'loss'. Use info.row\['loss'\].$"):
        train(model, callbacks=lambda info: info.loss < 1)
    with pytest.raises(KeyError) as told:
        train(model, validation=0.2, callbacks=lambda info: info.row["val_loss"] < 1)
    assert isinstance(told.value, UndertowError)
    assert re.fullmatch(
        r"a row of the history has no 'val_loss'. Use row\['validation_loss'\]. It has epoch, .*, validation_loss, .*",
        str(told.value),
    )
    with pytest.raises(KeyError) as own:  # a key of something else is not explained
        train(model, callbacks=lambda info: {}["loss"])
    assert type(own.value) is KeyError
    row = train(model).history[-1]
    assert row.get("val_loss") is None and dict(row) == row and json.loads(json.dumps(row)) == row


def test_the_rows_of_a_run_that_was_loaded_or_resumed_tell_their_columns_too(tmp_path):
    train(nn.Dense(4, 3), checkpoint=tmp_path / "kept").save(tmp_path / "run")
    resumed = ut.resume(tmp_path / "kept", (X, Y), epochs=3, progress=False)
    for run in (ut.load(tmp_path / "run"), resumed):
        for row in (run.history[0], run.history[-1]):
            with pytest.raises(KeyError, match=r"a row of the history has no 'lost'\. Use row\['loss'\]"):
                row["lost"]


def test_what_is_left_out_of_a_call_is_told_with_the_call():
    model, rule, w = nn.Dense(4, 3), ut.optim.sgd(0.1), np.ones(3)
    with pytest.raises(ArgumentError, match=r"needs a loss. Give one: loss='categorical_cross_entropy' for classes"):
        ut.train(model, (X, Y))
    for call in (lambda: rule.update(w, w), lambda: rule.update(w, params=w)):
        with pytest.raises(
            ArgumentError, match=r"sgd.update takes .*, got 2 arguments. Begin with state = optimizer.i"
        ):
            call()
    np.testing.assert_array_equal(rule.update(grads=w, state=(), params=w)[0], w - 0.1)
    with pytest.raises(ArgumentError, match=r"or is a function of info, got 'early'.$"):
        train(model, callbacks="early")


def test_a_model_without_weights_is_told_to_be_initialised():
    model = nn.Sequential(nn.Dense(4, 3), nn.relu)
    with pytest.raises(
        ArgumentError, match=r"holds no floats to differentiate by. A model has weights after model = unde"
    ):
        ut.value_and_grad(lambda model, X: np.mean(model(X)))(model, X)


@dataclass
class Counting(Linear):
    seen: float = 0.0

    def __call__(self, x):
        self.seen = np.mean(x)
        return x @ self.W


@dataclass
class Caching(Linear):
    def __call__(self, x):
        if not hasattr(self, "sign"):
            self.sign = np.ones(3, np.float32)
        return (x @ self.W) * self.sign


@dataclass
class Remaking(Linear):
    def __call__(self, x):
        self.shape, self.names, self.scale = x.shape, {"rows": [f"{len(x)} rows"]}, 1 / np.sqrt(1e6 * x.shape[1])
        self.mask = np.tril(np.full((3, 3), np.nan, np.float32), -2)
        return (x @ self.W) * self.scale


@dataclass
class Keeping(Linear):
    def __call__(self, x):
        self.sums = x.sum(axis=0)
        return x @ self.W


@pytest.mark.parametrize("kind", [Remaking, Keeping])
def test_what_is_made_anew_the_same_is_no_state(kind):
    """A shape, a scale, a mask; what follows from the examples is lost."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        train(kind(np.ones((4, 3), np.float32)))
    assert [" sets sums while it is called" in str(x.message) for x in caught] == [True] * (kind is Keeping)


def test_what_a_layer_sets_while_it_is_called_is_lost_and_its_line_is_told():
    """In a container too; a cache that is filled once is no state."""
    lines = Path(__file__).read_text(encoding="utf-8").splitlines()
    line = lines.index("        self.seen = np.mean(x)") + 1
    W = np.ones((4, 3), np.float32)
    for model in (Counting(W), nn.Sequential("tanh", Counting(W))):
        told = rf"test_slips.py:{line}: Counting sets seen while it is called.*undertow\.nn\.replace\(self\.seen, new\)"
        with pytest.warns(UserWarning, match=told) as caught:
            train(model)
        assert [x.filename for x in caught] == [__file__]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train(Caching(W))


def change_list(self, x):
    self.seen[0] = self.seen[0] + 1.0


def change_dictionary(self, x):
    self.seen["n"] = self.seen["n"] + 1.0


def change_array(self, x):
    self.seen += np.mean(x)


def change_part(self, x):
    self.seen["mean"][:] = 0.9 * self.seen["mean"] + x[0]


def grow_list(self, x):
    self.seen.append(1.0)


def grow_dictionary(self, x):
    self.seen.setdefault(f"of {len(self.seen)}", 1.0)


def fill_dictionary(self, x):
    self.seen.setdefault(x.shape[1], np.ones(4, np.float32))


@dataclass
class Changing(Linear):
    not_trained = ("seen",)
    change: Callable[..., None] = fill_dictionary
    seen: Any = None

    def __call__(self, x):
        self.change(self, x)
        return x @ self.W


def test_what_a_layer_changes_in_place_is_told():
    """Lists, dictionaries and arrays, also within one another; a cache that is filled once is no state."""
    W = np.ones((4, 3), np.float32)
    told = "Changing changes seen while it is called. Training is compiled, so what it changes is lost."
    for change, seen in (
        (change_list, [0.0]),
        (change_dictionary, {"n": 0.0}),
        (change_array, np.zeros(4, np.float32)),
        (change_part, {"mean": np.zeros(4, np.float32)}),
    ):
        with pytest.warns(UserWarning, match=re.escape(told)) as caught:
            train(Changing(W, change=change, seen=seen))
        assert [x.filename for x in caught] == [__file__], change
    for change, seen in ((grow_list, []), (grow_dictionary, {})):  # each call would add a parameter
        with pytest.raises(ArgumentError, match=re.escape(told)):
            train(Changing(W, change=change, seen=seen))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train(Changing(W, seen={}))


@dataclass
class Listing(Linear):
    seen: list[float] = field(default_factory=list)

    def __post_init__(self):
        self.seen = [0.0]

    def __call__(self, x):
        self.seen.append(float(len(x)))
        return x @ self.W


def test_the_line_of_a_change_in_place_is_that_of_the_call():
    """Not that at which the list is made."""
    lines = Path(__file__).read_text(encoding="utf-8").splitlines()
    line = lines.index("        self.seen.append(float(len(x)))") + 1
    with pytest.raises(ArgumentError, match=f"^test_slips.py:{line}: Listing changes seen"):
        train(Listing(np.ones((4, 3), np.float32)))


@pytest.mark.parametrize(("seen", "kind"), [({1}, "set"), (["a"], "str"), (object(), "object")])
def test_what_is_no_number_is_no_parameter(seen, kind):
    """Named with its field, and how to keep it; without that, the optimizer would multiply it."""
    model = Changing(np.ones((4, 3), np.float32), change=lambda self, x: None, seen=seen)
    field = "seen[0]" if kind == "str" else "seen"
    with pytest.raises(ArgumentError, match=re.escape(f"the model's {field} is a {kind}, which cannot be trained.")):
        train(model)


def test_an_embedding_without_flatten():
    """Both ways in which it goes wrong name Flatten, and the network that is offered trains."""
    codes = RNG.integers(0, 5, (40, 3))
    fit = lambda *layers: ut.train(
        nn.Sequential(*layers), (codes, Y), loss="categorical_cross_entropy", epochs=1, progress=False
    )
    with pytest.raises(ShapeError, match=r"output is \(m, 3, 3\)\. Put Flatten\(\) in front .* takes 3 times as many"):
        fit(nn.Embedding(5, 4), nn.Dense(4, 3))
    with pytest.raises(ShapeError, match=r"or put Flatten\(\) between them, where an example has 3 codes\."):
        fit(nn.Embedding(5, 4), "tanh", nn.Dense(12, 3))
    assert len(fit(nn.Embedding(5, 4), nn.Flatten(), nn.Dense(12, 3)).history) == 1


@dataclass
class Linked(Linear):
    links: dict[str, Any] = field(default_factory=lambda: {"n": 0})
    static = ("links",)

    def __post_init__(self):
        self.links["first"] = [self.links]

    def __call__(self, x):
        self.links["n"] += 1
        return x @ self.W


def test_what_holds_itself_is_looked_at_once():
    with pytest.warns(UserWarning, match=r"Linked changes links while it is called\."):
        train(Linked(np.ones((4, 3), np.float32)))


def test_a_class_at_each_place_is_told_the_loss_that_trains():
    """The loss of the message is that of PyTorch's cross_entropy over all places, as NumPy has it."""
    from undertow.train.task import PER_PLACE

    rng = np.random.default_rng(0)
    tokens, labels = rng.normal(size=(60, 7, 4)).astype(np.float32), rng.integers(0, 3, (60, 7))
    with pytest.raises(ShapeError, match=re.escape(PER_PLACE)):
        ut.train(nn.Sequential(nn.Dense(4, 3)), (tokens, labels), loss="categorical_cross_entropy", progress=False)
    loss = eval(PER_PLACE, {"np": np, "ut": ut})
    run = ut.train(nn.Sequential(nn.Dense(4, 3)), (tokens, labels), loss=loss, epochs=1, progress=False)
    z = run.outputs(tokens).astype(np.float64)
    p = np.exp(z) / np.exp(z).sum(axis=-1, keepdims=True)
    by_hand = -np.mean([np.log(p[i, t, labels[i, t]]) for i in range(60) for t in range(7)])
    assert loss(z, labels) == pytest.approx(by_hand, rel=1e-6)


@dataclass
class Unfilled:
    n: int
    gain: np.ndarray | None = None

    def __call__(self, x):
        return x * self.gain


def branching(z):
    if z > 0:
        return z
    return 0.1 * z


@pytest.mark.parametrize(
    ("item", "told"),
    [
        (lambda z: math.sin(z), r"test_slips.py:\d+.*math.sin turns .* \(m, 4\) into a plain number.*`np.sin\(z\)`"),
        (lambda z: z if z > 0 else 0, r"test_slips.py:\d+.*ambiguous.*Write `np.where\(z > 0, z, 0\)`"),
        (branching, r"test_slips.py:\d+, `if z > 0:`.*Write `return np.where\(z > 0, z, 0.1 \* z\)`"),
        (Unfilled(4), r"Unfilled\(n=4\): gain is None, and no method fills it.*initial\(self, rng, dtype, follows\)"),
        (lambda z: nowhere * z, r"test_slips.py:\d+: .*NameError: name 'nowhere'(?!.*columns)"),  # noqa: F821
    ],
    ids=["math", "choice", "if", "unfilled", "name"],
)
@pytest.mark.parametrize("first", [True, False])
def test_what_numpy_refuses_in_a_model_is_told_as_a_gradient_tells_it(item, told, first):
    """The user's line and what to write instead, whether the function comes first or behind trained weights."""
    layers = (item, nn.Dense(4, 3)) if first else (nn.Dense(4, 4), item, nn.Dense(4, 3))
    with pytest.raises(UndertowError, match=told):
        train(nn.Sequential(*layers))


@pytest.mark.parametrize("kind", [str, Path])
def test_paths_of_arrays_are_data_as_memory_maps_are(kind, tmp_path):
    """They are read in blocks: to the same bits as those that `np.load` maps, and so is what is held out."""
    paths = []
    for name, array in (("X", X), ("y", Y), ("v", X[:10]), ("w", Y[:10])):
        np.save(tmp_path / f"{name}.npy", array)
        paths.append(tmp_path / f"{name}.npy")
    mapped = [np.load(path, mmap_mode="r") for path in paths]
    named = [kind(path) for path in paths]
    model = nn.initialize(nn.Sequential(nn.Dense(4, 3)), 0)
    settings = {"loss": "categorical_cross_entropy", "epochs": 3, "batch_size": 8, "progress": False}
    first, second = (
        ut.train(model, tuple(parts[:2]), validation=tuple(parts[2:]), **settings) for parts in (mapped, named)
    )
    assert np.array_equal(first.model.layers[0].W, second.model.layers[0].W)
    assert [row["validation_loss"] for row in first.history] == [row["validation_loss"] for row in second.history]


def test_a_confusion_matrix_is_told_where_it_is():
    with pytest.raises(AttributeError, match=r"METRICS\['confusion_matrix'\]\(run\.predictions\(X, y\)\)"):
        train(nn.Sequential(nn.Dense(4, 3))).confusion_matrix  # noqa: B018
