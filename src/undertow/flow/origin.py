"""Where a value stopped being finite: the first operation forward, and only if all are finite there, backward."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from undertow import nn, trees
from undertow.api import name_loss
from undertow.differentiate import backward
from undertow.errors import UndertowError
from undertow.graph import CONSTANT, INPUT, Graph, Node, evaluate
from undertow.nn.mode import training
from undertow.trace import Tracer, is_array_like, trace_function
from undertow.train.derive import number_paths, numbers_of, trained_numbers

TARGET = ["y", "weights", "keys", "mix"]
OURS = str(Path(nn.__file__).parent)  # whose lines tell a reader less than the layer
N_SHOWN = 5  # numbers of an input that are shown


def find_origin(loss_function: Any, model: Any, X: Any, target: Any) -> dict[str, Any] | None:
    """Find the first operation of a step whose inputs are finite and whose result is not.

    Args:
        loss_function: a function of (model, X, target), such as the objective of a training.
        model: with its parameters.
        X: the inputs of the batch.
        target: what else belongs to it.

    Returns:
        Plain data: ``where`` (``"data"``, ``"parameters"``, ``"forward"``, ``"backward"``), ``operation``, ``line`` of
        the user's code, ``name`` of the value, ``layer`` (the path), ``values`` (what the operation was given where it
        went wrong), ``found`` (the first such number), ``sentence``. None where everything is finite, or the function
        cannot be traced.

    Source: derived here.

    Example:
        >>> found = find_origin(lambda w, X, y: np.sum(np.sqrt(np.sqrt(w - 2))), np.array(1.0), np.ones(1), np.ones(1))
        >>> found["where"], found["operation"], found["values"]
        ('forward', 'sqrt', [-1.0])
    """
    outside = _given(model, X, target)
    if outside is not None:
        return outside
    with np.errstate(all="ignore"):
        try:
            graph, inputs, params, seen = trace_loss(loss_function, model, X, target)
        except UndertowError:  # it asks for values
            return None
        nodes = [x for x in graph.nodes if x.op is not INPUT]
        env: dict[Node, Any] = dict(zip(nodes, evaluate(graph, inputs, nodes), strict=True))
        env |= dict(zip(graph.inputs, inputs, strict=True))
        found = _first_forward(graph.outputs[0], nodes, env)
        if found is None:
            found = _first_backward(graph, nodes, [params[i] for i in trained_numbers(model)], env)
    if found is None:
        return None
    node = found.pop("node")
    layer, last = next(((path, index) for path, index in seen if index >= node.index), (None, None))
    file = Path(node.file or "")
    if str(file.parent) == OURS and (layer is not None or file.name == "loss_record.py" or "_losses" in file.name):
        found["line"] = found["name"] = None
    elif last == node.index and layer != found["name"]:
        found["name"] = None  # what the layer returns is named where it is called, in this package
    found["layer"] = layer
    if found["where"] == "backward" and "rule" in node.params:  # a derivative that the user wrote
        rule = node.params["rule"]
        found |= {"operation": rule.name, "line": rule.line or found["line"], "name": None}
    return {**found, "sentence": _tell(found)}


def _given(model: Any, X: Any, target: Any) -> dict[str, Any] | None:
    """The first thing that is not finite before anything is computed."""
    for what, leaves, names in (
        ("data", trees.flatten(X)[0], ["X"] * 99),
        ("data", trees.flatten(target)[0], TARGET * 9),
        ("parameters", numbers_of(trees.flatten(model)[0]), number_paths(model)),
    ):  # fmt: skip
        for name, leaf in zip(names, leaves, strict=False):
            array = np.asarray(leaf)
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                place = [int(i) for i in np.argwhere(~np.isfinite(np.atleast_1d(array)))[0]]
                value = float(np.atleast_1d(array)[tuple(place)])
                n = int(array.size - np.isfinite(array).sum())
                there = f"{name}[{', '.join(map(str, place))}]"
                return {
                    "where": what, "operation": None, "line": None, "name": name, "values": [],
                    "layer": name.rpartition(".")[0] if what == "parameters" else None,
                    "found": value, "count": n,
                    "sentence": f"{there} is {value} before anything is computed ({n} of {array.size} numbers)",
                }  # fmt: skip
    return None


def trace_loss(
    loss_function: Any, model: Any, X: Any, target: Any
) -> tuple[Graph, list[Any], list[Any], list[tuple[str, int]]]:
    """Trace the forward pass of a loss as it was written.

    Args:
        loss_function: a function of (model, X, target).
        model: with its parameters.
        X: the inputs of a batch.
        target: what else belongs to it.

    Returns:
        The graph; what goes into it; the nodes of the parameters; of each layer and watched value, in the order of
        the calls, its path and the number of the node that it gave.

    Raises:
        UndertowError: it cannot be traced.
    """
    seen: list[tuple[str, int]] = []

    def forward(model: Any, X: Any, y: Any) -> Any:
        with training(getattr(y, "keys", None), observe=True) as made:
            loss = loss_function(model, X, y)
        seen.extend((path, value.node.index) for path, value in made.seen or () if isinstance(value, Tracer))
        return loss

    forward.__name__ = getattr(loss_function, "__name__", "loss")
    forward.__wrapped__ = loss_function  # type: ignore[attr-defined]
    traced = trace_function(forward, (model, X, target))
    name_loss(traced.graph)
    params = [x for x in traced.arguments[0] if isinstance(x, Node)]
    leaves = [leaf for tree in (X, target) for leaf in trees.flatten(tree)[0]]
    batch = [x for x in leaves if is_array_like(x)]  # flags, names and functions are no inputs of the graph
    return traced.graph, [*numbers_of(trees.flatten(model)[0]), *batch], params, seen


def _first_forward(loss: Node, nodes: Sequence[Node], env: Mapping[Node, Any]) -> dict[str, Any] | None:
    """The first node that made the loss not finite: its inputs are finite, and its value is not.

    A branch that `np.where` leaves out, and infinities that are written down, such as those of a mask, are no cause.
    """
    meant: set[Node] = set()  # infinities that come of constants alone
    for node in nodes:
        bad = [x for x in node.inputs if not _is_finite(env[x])]
        if node.op is CONSTANT or (bad and meant.issuperset(bad) and not np.isnan(env[node]).any()):
            meant.add(node)
    led_to = {loss} if not _is_finite(env[loss]) else set()
    origin: Node | None = None
    for node in reversed(nodes):
        if node in led_to and node not in meant:
            bad = [x for x in _taken(node, env) if not _is_finite(env[x]) and x not in meant]
            led_to.update(bad)
            origin = origin if bad else node
    return None if origin is None else _describe("forward", origin, env[origin], [env[x] for x in origin.inputs])


def _taken(node: Node, env: Mapping[Node, Any]) -> Sequence[Node]:
    """The inputs of a node; of a choice, those that gave the numbers which are not finite."""
    if node.op.name != "where" or len(node.inputs) != 3:
        return node.inputs
    condition, bad = np.asarray(env[node.inputs[0]]).astype(bool), ~np.isfinite(env[node])
    return [x for x, chosen in zip(node.inputs[1:], (condition, ~condition), strict=True) if (chosen & bad).any()]


def _first_backward(
    graph: Graph, nodes: Sequence[Node], params: Sequence[Node], env: Mapping[Node, Any]
) -> dict[str, Any] | None:
    """The first node, from the loss on, that makes a cotangent that is not finite of one that is."""
    reached = set(params)
    for x in nodes:
        if x.spec.dtype.kind == "f" and not reached.isdisjoint(x.inputs):
            reached.add(x)
    wrt = list(reached)
    loss = graph.outputs[0]
    cts = dict(zip(wrt, backward({loss: np.ones_like(env[loss])}, wrt, env.__getitem__), strict=True))
    readers: dict[Node, list[Node]] = {}
    for node in reversed(nodes):
        for x in dict.fromkeys(node.inputs):
            readers.setdefault(x, []).append(node)
    for x in sorted(wrt, key=lambda x: -x.index):
        if cts[x] is None or _is_finite(cts[x]):
            continue
        for node in readers[x]:
            if cts.get(node) is not None and _is_finite(cts[node]):
                (share,) = backward({node: cts[node]}, [x], env.__getitem__)
                if share is not None and not _is_finite(share):
                    if not _is_finite(env[node]) and all(_is_finite(env[i]) for i in node.inputs):
                        return _describe("forward", node, env[node], [env[i] for i in node.inputs])
                    return _describe("backward", node, share, [*(env[i] for i in node.inputs), cts[node]])
    return None


def _is_finite(value: Any) -> bool:
    array = np.asarray(value)
    return array.dtype.kind != "f" or bool(np.isfinite(array).all())


def _describe(where: str, node: Node, value: Any, inputs: Iterable[Any]) -> dict[str, Any]:
    """Tell of a node, and of what it was given where its result is not finite."""
    array = np.asarray(value)
    bad = ~np.isfinite(array)
    place = tuple(np.argwhere(bad)[0]) if array.ndim else ()
    given: list[float] = []
    for x in inputs:
        taken = _at(np.asarray(x), array, place)
        given += [float(v) for v in np.ravel(taken)[:N_SHOWN]]
    return {
        "where": where, "node": node, "operation": node.op.name, "line": node.line, "name": node.name,
        "values": given[:N_SHOWN], "found": float(array[place]), "count": int(bad.sum()), "size": int(array.size),
        "place": [int(i) for i in place],
    }  # fmt: skip


def _at(x: NDArray[Any], result: NDArray[Any], place: tuple[Any, ...]) -> NDArray[Any]:
    """What an operation read of an input at a place of its result, where that can be told; else its extremes."""
    try:
        if np.broadcast_shapes(x.shape, result.shape) == result.shape:
            return np.asarray(np.broadcast_to(x, result.shape)[place])
    except ValueError:
        pass
    return np.array([x.min(), x.max()]) if x.size and x.dtype.kind in "fiu" else np.empty(0)


def _tell(found: Mapping[str, Any]) -> str:
    """Say where it happened, for people."""
    at = f" ({found['line']})" if found["line"] else f" in {found['layer'] or 'the loss'}"
    what = f"the derivative of {found['operation']}" if found["where"] == "backward" else found["operation"]
    name = f", which makes {found['name']}," if found["name"] else ""
    given = ", ".join(f"{v:.6g}" for v in found["values"])
    count = f"in {found['count']} of {found['size']} places" if found["size"] > 1 else ""
    return f"{what}{at}{name} gives {found['found']} for {given}{' ' if count else ''}{count}"
