"""Which layers of a model are looked at while it trains, and what is seen of each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from undertow.flow.activations import name_function
from undertow.nn import Sequential
from undertow.nn.activations import name_activation
from undertow.nn.layer import Container, holds_parameters, show_item
from undertow.nn.mode import call_inner, example_keys, training
from undertow.nn.within import own_layers
from undertow.train.derive import number_paths, numbers_of, trained_numbers
from undertow.trees import flatten


@dataclass(frozen=True)
class FlowLayer:
    """A layer as a record knows it: one that has parameters, or a block whose output is put together of several.

    z is what the layer gives, h what the activation after it makes of z. Of a layer that is called several times in a
    forward pass these are of its first call, and so is the gradient by z; those of its parameters are of all calls.

    Attributes:
        number: from 1, in the order of the forward pass.
        path: in the model, ``"layers[0]"``; of a value in a function of one's own, its name.
        name: what people call it: ``"Dense(64, 128)"``.
        kind: ``"Dense"``, ``"BatchNorm"``, ``"Residual"``, …; ``"watched"`` for a value that `undertow.watch` names,
            ``"product"`` for a layer that was found in a loop of one's own, ``"parameter"`` for an array that belongs
            to none of the layers.
        h_path: the path of what gives h; equal to ``path`` where nothing comes after z.
        activation: the name of the activation between z and h, or None.
        shape: of z, without the batch axis.
        fan_in, fan_out: how many columns it takes and gives; None where it has none or does not say.
        weights: the path of W, or None.
        bias: the path of b, or None.
        within: the path of the innermost block around it whose output is put together of several: a residual or
            parallel block, or a layer of the user's own that gives another value than the last layer in it; or None.
        reads: of a layer that was found in a loop of one's own, the path of the parameter that it multiplies by, which
            has an entry of its own; or None.
        turn: of a parameter that meets what it has made, as in a recurrent network: at which of its calls, of how many.
    """

    number: int
    path: str
    name: str
    kind: str
    h_path: str
    activation: str | None = None
    shape: tuple[int, ...] = ()
    fan_in: int | None = None
    fan_out: int | None = None
    weights: str | None = None
    bias: str | None = None
    within: str | None = None
    reads: str | None = None
    turn: tuple[int, int] | None = None

    @property
    def label(self) -> str:
        """What messages call it: ``layer 3, Dense(64, 10)``; an array of a loop of one's own, ``parameter W1``."""
        if self.kind == "parameter":
            return "the parameter" if self.name == "parameter" else f"parameter {self.name}"
        return f"layer {self.number}, {self.name}"

    def plain(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {**asdict(self), "shape": list(self.shape)}

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> FlowLayer:
        """Make it of plain data."""
        turn = data.get("turn")
        return cls(**{**data, "shape": tuple(data["shape"]), "turn": None if turn is None else tuple(turn)})


def read_layers(model: Any, X: Any) -> tuple[FlowLayer, ...]:
    """List what is looked at in a model.

    Args:
        model: with its parameters filled.
        X: a few examples, (m, …).

    Returns:
        The layers with parameters, in the order of the forward pass; blocks after the layers within them; last the
        trained arrays that belong to none of these.

    Source: derived here.

    Example:
        >>> from undertow.nn import Dense, initialize
        >>> model = initialize(Sequential(Dense(2, 3), "tanh", Dense(3, 1)))
        >>> [(x.label, x.activation, x.h_path) for x in read_layers(model, np.zeros((2, 2), np.float32))]
        [('layer 1, Dense(2, 3)', 'tanh', 'layers[1]'), ('layer 2, Dense(3, 1)', None, 'layers[2]')]
    """
    with training(example_keys(0, 0, len(X)), observe=True) as made, np.errstate(all="ignore"):
        call_inner("", model, X)
    seen = first_calls(made.seen or ())
    if isinstance(model, Container):
        seen.pop("")
    return describe_layers(model, seen)


def describe_layers(model: Any, seen: Mapping[str, Any]) -> tuple[FlowLayer, ...]:
    """List what is looked at, of what was seen in a forward pass; see `read_layers`.

    Args:
        model: with its parameters; any tree of them where there are no layers.
        seen: what layers gave, by their paths, and values by the names that `undertow.watch` was given.

    Returns:
        As `read_layers`.

    Source: derived here.
    """
    found = _entries(dict(walk(model)), seen)
    numbers, names = numbers_of(flatten(model)[0]), number_paths(model)
    trained = {names[i]: numbers[i] for i in trained_numbers(model)}
    for entry in found:
        if entry["kind"] not in ("activation", "watched", "Residual", "Parallel"):
            _claim(entry, trained)
    for path in trained:
        found.append({"path": path, "name": path, "kind": "parameter", "h_path": path, "weights": path})
    return tuple(FlowLayer(number, **entry) for number, entry in enumerate(found, 1))


def first_calls(calls: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """What layers gave, by their paths; of one that is called several times, what it gave first.

    Example:
        >>> first_calls([("a", 1), ("b", 2), ("a", 3)])
        {'a': 1, 'b': 2}
    """
    seen: dict[str, Any] = {}
    for path, value in calls:
        seen.setdefault(path, value)
    return seen


def _entries(items: Mapping[str, Any], seen: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What is looked at, without its parameters: each value is the z of an entry, or the h of the one before it."""
    found: list[dict[str, Any]] = []
    last: dict[str, dict[str, Any]] = {}  # of each container, the entry that its latest item gave
    for path, value in seen.items():
        shape = np.shape(value)[1:]
        if path not in items:
            found.append({"path": path, "name": path, "kind": "watched", "h_path": path, "shape": shape})
            continue
        item, around = items[path], path.rpartition(".")[0]
        if type(item) is Sequential:
            if path in last:
                last[around] = last[path]
            continue
        hands_on = next((x for x in reversed(found) if seen[x["h_path"]] is value and x["path"].startswith(path)), None)
        if hands_on is not None and any(True for _ in own_layers(item)):
            last[around] = hands_on  # a layer of the user's own that gives what a layer in it gives
            continue
        activation = getattr(item, "activation_name", None) or name_activation(item) or name_function(item)
        if activation == "identity":
            continue
        before = last.get(around)
        if activation and before is not None and before["activation"] is None and before["shape"] == shape:
            before["h_path"], before["activation"] = path, activation
            continue
        if not (isinstance(item, Container) or activation or holds_parameters(item)):
            continue  # dropout and the like: h is what the activation gave
        entry = {
            "path": path, "name": _name(item), "kind": type(item).__name__ if activation is None else "activation",
            "h_path": path, "activation": activation, "shape": shape,
            "fan_in": getattr(item, "fan_in", None), "fan_out": getattr(item, "fan_out", None),
        }  # fmt: skip
        found.append(entry)
        last[around] = entry
    named = {entry["path"] for entry in found}
    for entry in found:
        if entry["kind"] != "watched":
            entry["within"] = _block_around(items, entry["path"], named)
    return found


def _name(item: Any) -> str:
    """What people call it; a block without all that is in it."""
    return f"{type(item).__name__} block" if isinstance(item, Container) else show_item(item)


def _block_around(items: Mapping[str, Any], path: str, named: Set[str]) -> str | None:
    """The path of the innermost block around an item whose output is put together of several, and is looked at."""
    while path:
        path = path.rpartition(".")[0]
        if path and (path in named or (isinstance(items.get(path), Container) and type(items[path]) is not Sequential)):
            return path
    return None


def _claim(entry: dict[str, Any], trained: dict[str, Any]) -> None:
    """Give an entry its weights and biases, and take them out of those that nobody has."""
    start = f"{entry['path']}." if entry["path"] else ""
    mine = [path for path in trained if path.startswith(start) and "." not in path[len(start) :]]
    weights = next((path for path in mine if np.ndim(trained[path]) > 1), mine[0] if mine else None)
    bias = next((path for path in mine if path != weights and np.ndim(trained[path]) == 1), None)
    entry["weights"], entry["bias"] = weights, bias
    for path in (weights, bias):
        if path is not None:
            del trained[path]


def walk(item: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """List a model and all that is within it: layers, blocks and functions; the layers in the fields of one's own.

    Args:
        item: a layer, a container or a function.
        path: its own path.

    Yields:
        Paths and items, each container before what is in it.

    Source: derived here.

    Example:
        >>> [path for path, _ in walk(Sequential("relu", Sequential("tanh")))]
        ['', 'layers[0]', 'layers[1]', 'layers[1].layers[0]']
    """
    yield path, item
    for here, inner in item.inner() if isinstance(item, Container) else own_layers(item):
        yield from walk(inner, f"{path}{'.' if path else ''}{here}")
