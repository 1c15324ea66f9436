"""A model's own level: a node for each layer and activation, and the arguments of a walk through it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from undertow.api import Backprop, backprop
from undertow.errors import ShapeError
from undertow.graph import INPUT, Node
from undertow.nn import Loss, list_layers
from undertow.nn.layer import show_item
from undertow.nn.losses import find_loss
from undertow.nn.mode import TrainingPass, measuring, training
from undertow.report.walks.level import Item, Level, Step, connect
from undertow.report.walks.told import Told
from undertow.trace import Tracer


@dataclass(frozen=True)
class Observed:
    """What a layer of a model gives: its path, what a person calls it, and the name of the value."""

    path: str
    label: str
    name: str


def backprop_of_model(model: Any, X: Any, y: Any, loss: Any) -> tuple[Backprop, list[Observed]]:
    """Derive the backward pass of a model's loss as it is in training; dropout leaves nothing out.

    Args:
        model: a layer or a container whose parameters are filled.
        X: examples, (m, …).
        y: their targets.
        loss: as `undertow.train` takes it.

    Returns:
        The backward pass, and what the layers give. What a layer with weights gives is called z1, z2, …, what the
        activation after it makes of that h1, h2, ….
    """
    if len(X) != len(y):
        raise ShapeError(f"X has {len(X)} rows and y has {len(y)}. Give each example a row in both.")
    chosen: Loss = find_loss(loss, model)
    observed: list[Observed] = []

    def network(model: Any, X: Any, y: Any) -> Any:
        with measuring(), training(None, observe=True) as made:
            value = chosen(model(X), y)
        observed[:] = _name(model, made)
        return value

    network.__name__ = chosen.name
    return backprop(network, model, X, y), observed


def _name(model: Any, made: TrainingPass) -> list[Observed]:
    """Name what layers give in the textbook's way."""
    layers = dict(list_layers(model))
    items = dict(_items(model))
    found: list[Observed] = []
    taken: set[Node] = set()
    weights = sum(hasattr(layer, "W") for layer in layers.values())
    number, others, after = 0, 0, False
    for path, value in made.seen or ():
        node = value.node if isinstance(value, Tracer) else None
        if node is None or node in taken or node.op is INPUT or node.spec.dtype.kind != "f" or not node.spec.ndim:
            continue
        taken.add(node)
        layer = items.get(path)
        if hasattr(layer, "W"):
            number, after = number + 1, True
            node.name = f"z{number}" if weights > 1 else "z"
        elif after and path not in layers and not hasattr(layer, "layers"):
            after = False
            node.name = f"h{number}" if weights > 1 else "h"
        else:
            others, after = others + 1, False
            node.name = f"v{others}"
        found.append(Observed(path, show_item(layer) if layer is not None else path, node.name))
    return found


def _items(model: Any, path: str = "") -> list[tuple[str, Any]]:
    """Everything in a model with its path, containers before what they hold."""
    found = []
    for here, item in model.inner() if hasattr(model, "inner") else ():
        full = f"{path}.{here}" if path else here
        found += [(full, item), *_items(item, full)]
    return found


def layers_level(told: Told, observed: list[Observed]) -> Level | None:
    """Tell the steps layer by layer; None for a model whose layers cannot be told apart.

    Args:
        told: the steps by named values.
        observed: what the layers give.
    """
    by_name = {told.chain.names[node]: node for node in told.nodes}
    labels = {by_name[x.name]: x.label for x in observed if x.name in by_name}
    if not labels:
        return None
    nodes = [x for x in told.nodes if x in labels or told.scene.is_data(x) or x is told.chain.loss]
    place = {node: i for i, node in enumerate(nodes)}
    own = _parameters(told, nodes)
    numbers: dict[Node, int] = {}
    for node in nodes:
        if own[node]:
            numbers[node] = len(numbers) + 1
    items = []
    for node in nodes:
        name, shape = told.chain.names[node], told.chain.shape(node)
        if node in labels:
            items.append(Item(_short(labels[node]), "", f"{name} {shape}", "value"))
        else:
            items.append(Item(name, shape, *(("", "loss") if node is told.chain.loss else ("data", "input"))))
    start = told.start()
    start.node = place[next(node for node in nodes if told.scene.is_data(node))] if items[0].kind == "input" else 0
    steps = [start]
    for node in (*(x for x in nodes if x is not told.chain.loss), told.chain.loss):
        if node.op is not INPUT:
            steps.append(_of_layer(told.forward(node), place[node], _title(node, labels, numbers, "Compute")))
    seed = told.seed()
    seed.node = place[told.chain.loss]
    steps.append(seed)
    for node in reversed(nodes):
        rule = told.steps.get(node)
        if rule is not None:
            step = _of_layer(told.backward(rule), place[node], _title(node, labels, numbers, "Gradient at"))
            _add_parameters(step, told, own[node])
            steps.append(step)
    owns = [[told.chain.names[x] for x in own[node]] for node in nodes]
    return Level("Layers", "A box is a layer or an activation of the model.", items, connect(nodes), steps, owns)


def _parameters(told: Told, nodes: list[Node]) -> dict[Node, list[Node]]:
    """The parameters that are read between each of these nodes and those before it."""
    wanted = [x for x in told.nodes if x in told.scene.wrt and x in told.steps]
    both = sorted([*nodes, *wanted], key=lambda node: (node.op is not INPUT, node.index))
    found: dict[Node, list[Node]] = {node: [] for node in nodes}
    for a, b in connect(both):
        if both[a] in wanted and both[b] in found:
            found[both[b]].append(both[a])
    return found


def _short(label: str) -> str:
    """A label that fits a box: of a layer made of layers, its kind."""
    return label if len(label) <= 16 else label.split("(")[0]


def _title(node: Node, labels: dict[Node, str], numbers: dict[Node, int], verb: str) -> str:
    if node not in labels:
        return f"{verb} the loss" if verb == "Compute" else verb
    return f"{verb} layer {numbers[node]}, {labels[node]}" if node in numbers else f"{verb} {labels[node]}"


def _of_layer(step: Step, place: int, title: str) -> Step:
    step.node, step.title = place, title
    return step


def _add_parameters(step: Step, told: Told, parameters: list[Node]) -> None:
    """Put the gradients by a layer's own parameters beside that by what it gives."""
    panels = []
    for node in parameters:
        more = told.backward(told.steps[node])
        step.formulas += [row for row in more.formulas if row[0] != "Chain rule"]
        if more.quote:
            step.also.append(more.line)
        panels += [panel for panel in more.panels if panel.role == "gradient"]
    gradients = [panel for panel in step.panels if panel.role == "gradient"]
    seen: set[int] = set()
    step.panels = [
        panel
        for panel in [*gradients, *panels, *(x for x in step.panels if x.role != "gradient")]
        if not (panel.array in seen or seen.add(panel.array))  # type: ignore[func-returns-value]
    ]
