"""What people read of a trace: the names of the user's variables, and the user's lines."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pytest

import undertow as ut
from undertow.graph import INPUT, Graph, evaluate
from undertow.trace import trace_function

X = np.linspace(-1, 1, 12).reshape(4, 3)


def graph_of(f: Any, *args: Any) -> Graph:
    return trace_function(f, args).graph


def made(graph: Graph) -> dict[str, str]:
    """The operation behind each named value that is not an argument."""
    return {node.name: node.op.name for node in graph.nodes if node.name and node.op is not INPUT}


def arguments(graph: Graph) -> list[str | None]:
    return [node.name for node in graph.inputs]


# ---- names ---------------------------------------------------------------------------------------


def test_locals_name_their_values() -> None:
    """Each local variable's value carries the variable's name; expressions without one have none."""

    def f(x: Any) -> Any:
        z = x * 2
        h = np.tanh(z + 1)
        total = np.sum(h)
        return total

    graph = graph_of(f, X)
    assert made(graph) == {"z": "multiply", "h": "tanh", "total": "sum"}
    assert arguments(graph) == ["x"]


def test_the_last_local_before_return_is_named() -> None:
    """A value assigned just before ``return`` is seen although no operation follows."""

    def f(x: Any) -> Any:
        loss = np.sum(x)
        return loss

    assert made(graph_of(f, X)) == {"loss": "sum"}


def test_loops_number_the_values_of_one_variable() -> None:
    """h, assigned three times, becomes h1, h2, h3, and a value of its own name is never reused."""

    def f(x: Any) -> Any:
        h = np.tanh(x)
        for _ in range(2):
            h = np.tanh(h)
        return np.sum(h)

    assert list(made(graph_of(f, X))) == ["h1", "h2", "h3"]


def test_numbering_avoids_names_that_people_use() -> None:
    """A variable h2 of the user's own keeps its name; the loop's numbers step over it."""

    def f(x: Any) -> Any:
        h2 = x * 3
        h = np.tanh(h2)
        for _ in range(2):
            h = np.tanh(h)
        return np.sum(h)

    names = made(graph_of(f, X))
    assert names["h2"] == "multiply"
    assert len(names) == 4


def test_an_argument_keeps_its_name_where_the_variable_is_assigned_again() -> None:
    """``x = x @ W``: the argument is still x, for people call the function by that name."""

    def f(x: Any, W: Any) -> Any:
        for _ in range(2):
            x = x @ W
        return np.sum(x)

    graph = graph_of(f, X, np.eye(3))
    assert arguments(graph) == ["x", "W"]
    assert len(made(graph)) == 2
    assert "x" not in made(graph)


def test_the_source_of_a_reassigned_argument_runs() -> None:
    """The emitted forward pass takes the argument under its own name."""

    def f(x: Any, W: Any) -> Any:
        x = np.tanh(x @ W)
        x = np.tanh(x @ W)
        return np.sum(x)

    bp = ut.backprop(f, X, np.eye(3))
    assert "def forward(x, W):" in bp.source
    np.testing.assert_allclose(bp.backward(bp.forward(X, np.eye(3))[1]), ut.grad(f)(X, np.eye(3)), rtol=1e-12)
    np.testing.assert_allclose(bp.forward(x=X, W=np.eye(3))[0], f(X, np.eye(3)))


def test_unpacked_parameters_take_the_names_they_are_unpacked_to() -> None:
    """``W1, b1 = params`` names the leaves; those never unpacked keep the argument's name with their place."""

    def f(params: Any) -> Any:
        W1, b1 = params[:2]
        return np.sum(W1) * np.sum(b1) * np.sum(params[2])

    assert arguments(graph_of(f, (X, X, X))) == ["W1", "b1", "params_2"]


def test_keys_and_fields_name_leaves() -> None:
    """A dict's key, a named tuple's and a dataclass's field are names already."""

    def f(p: Any, layer: Any, pair: Any) -> Any:
        return np.sum(p["W"]) + np.sum(layer.gain) + np.sum(pair.left) + np.sum(pair.right)

    graph = graph_of(f, {"W": X}, Layer(X), Pair(X, X))
    assert arguments(graph) == ["W", "gain", "left", "right"]


def test_helpers_name_what_they_hold_and_the_caller_names_what_they_return() -> None:
    """Inside a helper its own names hold; for its result the caller's name comes before the callee's."""

    def activation(t: Any) -> Any:
        squashed = np.tanh(t)
        out = squashed * 2
        return out

    def f(x: Any) -> Any:
        z = x + 1
        h = activation(z)
        return np.sum(h)

    names = made(graph_of(f, X))
    assert names["z"] == "add"
    assert names["squashed"] == "tanh"
    assert names["h"] == "multiply"
    assert not {"t", "out"} & set(names)


def test_methods_name_values_and_self_is_no_argument() -> None:
    """A bound method and a callable object are traced like functions."""

    class Model:
        rate = 0.5

        def layer(self, x: Any) -> Any:
            hidden = x * self.rate
            return np.tanh(hidden)

        def __call__(self, x: Any) -> Any:
            h = self.layer(x)
            return np.sum(h)

        loss = __call__

    for f in (Model(), Model().loss):
        graph = graph_of(f, X)
        assert arguments(graph) == ["x"]
        assert made(graph) == {"hidden": "multiply", "h": "tanh"}


def test_attributes_and_entries_name_what_is_kept_there() -> None:
    """``self.z = …`` and ``cache["z"] = …`` name a value; a variable of the same value comes first."""

    class Net:
        def forward(self, x: Any) -> Any:
            self.z = x * 2
            self._kept = np.exp(self.z)
            self.h = h_own = np.tanh(self._kept)
            self.p = h_own + 1
            return self.p

    def f(x: Any, net: Any) -> Any:
        cache: dict[Any, Any] = {}
        cache["a"] = net.forward(x)
        cache["A 2"] = np.sqrt(cache["a"])
        cache[3] = np.log(cache["A 2"])
        return np.sum(cache[3])

    net = Net()
    found = made(graph_of(lambda x: f(x, net), X + 3))
    assert found == {"z": "multiply", "h_own": "tanh", "a": "add", "cache": "log"}
    kept = net.h._node.name
    made(graph_of(lambda x: np.sum(np.tanh(x) * 2), X))
    assert net.h._node.name == kept


def test_items_of_lists_and_numbered_entries_are_called_as_what_holds_them() -> None:
    """``h[t]`` and what is appended to ``outs`` are h1, h2, … and outs1, …; what is unpacked has a name of its own."""

    class Net:
        def __init__(self) -> None:
            self.cache: dict[str, Any] = {}

        def forward(self, x: Any) -> Any:
            self.cache["z"] = x * 2
            return np.tanh(self.cache["z"])

    def f(x: Any) -> Any:
        h: dict[int, Any] = {}
        outs = []
        for t in range(2):
            h[t] = np.tanh(x + t)
            outs.append(h[t] * h[t])
        a, b = [np.sin(x), np.cos(x)]
        return np.sum(outs[0] + outs[1]) + np.sum(a * b) + np.sum(Net().forward(x))

    found = made(graph_of(f, X))
    expected = {"h1": "tanh", "h2": "tanh", "outs1": "multiply", "outs2": "multiply", "a": "sin", "b": "cos"}
    assert {name: found.get(name) for name in [*expected, "z"]} == {**expected, "z": "multiply"}


def test_parameters_in_a_list_take_the_names_that_they_are_unpacked_to() -> None:
    def f(params: Any, x: Any) -> Any:
        y = np.tanh(x)  # an operation before they are unpacked
        W, b = params
        return np.sum(y * W) + np.sum(b)

    assert arguments(graph_of(f, [X, X], X)) == ["W", "b", "x"]


def test_the_result_of_a_method_has_the_callers_name() -> None:
    """What a method keeps and returns is called as the caller calls it, else as it is called there."""

    class Net:
        def forward(self, x: Any) -> Any:
            self.out = np.tanh(x)
            return self.out

    def named(x: Any) -> Any:
        p = Net().forward(x)
        return np.sum(p)

    assert made(graph_of(named, X)) == {"p": "tanh"}
    assert made(graph_of(lambda x: np.sum(Net().forward(x)), X)) == {"out": "tanh"}


def test_aliases_do_not_rename() -> None:
    """``y = x`` is no new value: the argument keeps its name, and a value its first."""

    def f(x: Any) -> Any:
        y = x
        z = np.tanh(y)
        again = z
        return np.sum(again)

    graph = graph_of(f, X)
    assert arguments(graph) == ["x"]
    assert set(made(graph)) == {"z"}


def test_private_and_comprehension_variables_give_no_names() -> None:
    """Names that begin with an underscore, and those of Python's own making, are not shown."""

    def f(x: Any) -> Any:
        _hidden = x * 2
        parts = [np.sum(row) for row in (_hidden, x)]
        return parts[0] + parts[1]

    assert "_hidden" not in made(graph_of(f, X))
    assert not any(name.startswith((".", "_")) for name in made(graph_of(f, X)))


def test_all_names_of_a_graph_are_different() -> None:
    """Loops, helpers and arguments of one name never share it in the graph."""

    def step(h: Any) -> Any:
        z = h * 2
        return np.tanh(z)

    def f(z: Any, h: Any) -> Any:
        for _ in range(3):
            h = step(h) + z
        return np.sum(h)

    graph = graph_of(f, X, X)
    names = [node.name for node in graph.nodes if node.name]
    assert len(set(names)) == len(names)
    assert arguments(graph) == ["z", "h"]


# ---- lines ---------------------------------------------------------------------------------------


def test_each_operation_knows_the_users_line() -> None:
    """The line is where the user wrote the operation, in a helper too, not a line of ours or of NumPy's."""

    def helper(z: Any) -> Any:
        return np.tanh(z)

    def f(x: Any) -> Any:
        a = x * 2
        b = helper(a)
        return np.mean(b)

    lines = {node.op.name: node.line for node in graph_of(f, X).nodes if node.op is not INPUT}
    first, inner = f.__code__.co_firstlineno, helper.__code__.co_firstlineno
    assert lines["multiply"] == f"test_names.py:{first + 1}"
    assert lines["tanh"] == f"test_names.py:{inner + 1}"
    assert lines["mean"] == f"test_names.py:{first + 3}"


def test_gradients_carry_the_line_they_come_from() -> None:
    """Every operation of the backward pass has the line of the operation it differentiates."""

    def f(x: Any) -> Any:
        a = np.exp(x)
        b = np.tanh(a)
        return np.sum(b)

    bp = ut.backprop(f, X)
    first = f.__code__.co_firstlineno
    known = {f"test_names.py:{first + i}" for i in (1, 2, 3)}
    behind = [node for node in bp.plain.nodes if node.backward and node.inputs]
    assert behind
    assert {node.line for node in behind} <= known


# ---- trees ---------------------------------------------------------------------------------------


class Pair(NamedTuple):
    left: Any
    right: Any


@dataclass
class Layer:
    gain: Any
    note: str = "layer"
    bias: Any = None


def test_arguments_five_deep() -> None:
    """Named tuples, dataclasses, OrderedDicts, lists and None, five levels: gradients in the same tree."""
    tree = {"net": [OrderedDict(b=Pair(Layer((X, {"k": 2.0})), None), a=Layer([X + 1], bias=3.0))], "none": None}

    def f(p: Any, scale: Any) -> Any:
        block = p["net"][0]
        inner = block["b"].left.gain
        outer = block["a"]
        assert p["none"] is None
        assert block["b"].right is None
        assert outer.note == "layer"
        return np.sum(inner[0] ** 2) * inner[1]["k"] * scale + np.sum(outer.gain[0]) * outer.bias

    for gradient in (ut.grad(f)(tree, 0.5), ut.backprop(f, tree, 0.5)()[1]):
        block = gradient["net"][0]
        assert type(block) is OrderedDict
        assert list(block) == ["b", "a"]
        assert type(block["b"]) is Pair
        assert block["b"].right is None
        assert gradient["none"] is None
        np.testing.assert_allclose(block["b"].left.gain[0], 2 * X * 2.0 * 0.5)
        np.testing.assert_allclose(block["b"].left.gain[1]["k"], np.sum(X**2) * 0.5)
        np.testing.assert_allclose(block["a"].gain[0], np.full_like(X, 3.0))
        np.testing.assert_allclose(block["a"].bias, np.sum(X + 1))
        assert block["a"].note == "layer"


def test_the_result_may_be_any_tree() -> None:
    """A traced function's result is put together as the function returned it, constants among it."""

    def f(x: Any) -> Any:
        return {"a": Pair(x * 2, [1.5, np.sum(x)]), "b": None}

    traced = trace_function(f, (X,))
    result = traced.rebuild(evaluate(traced.graph, [X]))
    np.testing.assert_array_equal(result["a"].left, X * 2)
    assert result["a"].right[0] == 1.5
    np.testing.assert_allclose(result["a"].right[1], np.sum(X))
    assert result["b"] is None


@pytest.mark.parametrize("static", ["text", None, True, np.tanh])
def test_what_is_no_number_goes_through_untouched(static: Any) -> None:
    """Strings, None, flags and functions among the arguments reach the function as they are."""

    def f(x: Any, option: Any) -> Any:
        assert option is static
        return np.sum(x)

    np.testing.assert_array_equal(ut.grad(f)(X, static), np.ones_like(X))
    np.testing.assert_array_equal(ut.backprop(f, X, static)()[1], np.ones_like(X))


@pytest.mark.parametrize("file", ["<stdin>", "<string>", "<console>", "<python-input-3>", "<ipython-input-3-abc>"])
def test_names_of_what_is_typed_in_are_kept(file: str) -> None:
    """A function from Python's prompt, from python -c or from exec has its names like one in a file."""
    text = "def f(params, X):\n    W, b = params\n    z = X @ W + b\n    h = np.tanh(z)\n    return np.mean(h)\n"
    space: dict[str, Any] = {"np": np}
    exec(compile(text, file, "exec"), space)
    source = ut.backprop(space["f"], (np.ones((3, 2)), np.zeros(2)), np.ones((5, 3))).source
    for line in ("W, b = params", "z = X @ W + b", "h = np.tanh(z)"):
        assert line in source
