"""The layers of a loss of one's own that nobody has named: products with parameters, read from the program."""

from __future__ import annotations

import math
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from undertow.flow.layers import FlowLayer
from undertow.flow.program import made_of, unmoved
from undertow.flow.record import Flow
from undertow.graph import CONSTANT, INPUT, Graph, Node, ancestors, evaluate

Array = NDArray[Any]
KIND: Final = "product"  # of a layer that was found in a program
MOST: Final = 200  # layers that are looked at
SMALL: Final = 100  # numbers of a constant that are compared with those of others


@dataclass(frozen=True)
class Product:
    """A layer z = h @ W + b in the program of a loss.

    Attributes:
        name: as the loss writes it: ``"h1 @ W2 + b2"``.
        node: that gives z.
        weights: the place of W among the parameters; None where it is made of several, or of one and constants.
        bias: the place of b; None where nothing is added.
        turned: whether units come first and examples second, as of ``W @ h``.
        fan_in, fan_out: how many numbers of an example it takes and gives.
        alone: whether all that examples bring to the loss goes through it, and through it once.
        turn: of a parameter that meets what it has made itself, at which of its calls, and of how many; else None.
        made_of: the places of all parameters that W is made of.
        given: what W is multiplied by.
    """

    name: str
    node: Node
    weights: int | None
    bias: int | None
    turned: bool
    fan_in: int
    fan_out: int
    alone: bool = True
    turn: tuple[int, int] | None = None
    made_of: tuple[int, ...] = ()
    given: Node | None = None

    def by_examples(self, x: Any) -> Any:
        """Bring z, or the gradient by it, to (examples, …, units): a single example counts as a batch of one.

        Args:
            x: an array of the shape of z.

        Returns:
            A view.
        """
        if self.fan_out == 1 and (not np.ndim(x) or np.shape(x)[-1] != 1 or self.turned):
            return np.reshape(x, (-1, 1))
        if np.ndim(x) == 1:
            return np.reshape(x, (1, -1))
        return np.swapaxes(x, 0, 1) if self.turned else x


def find_products(loss: Node, nodes: Sequence[Node], params: Sequence[Node], names: Sequence[str]) -> list[Product]:
    """Find the products of what depends on data with parameters, and the biases that are added to them.

    Of parameters that meet what they have made themselves, as those of a recurrent network do at each step, the first
    and the last call are found.

    Args:
        loss: the node of the loss.
        nodes: those that it is computed by, oldest first.
        params: the inputs that are trained.
        names: what these are called.

    Returns:
        The layers, in the order of the forward pass; none with several parameters on both sides.

    Source: derived here; what all paths go through: Prosser, Applications of Boolean matrices to the analysis of flow
        diagrams, 1959 (dominators).

    Example:
        >>> from undertow.trace import trace_function
        >>> def loss(W, c, X):
        ...     h = np.tanh(X @ W + c)
        ...     return np.mean(h)
        >>> graph = trace_function(loss, (np.ones((3, 2)), np.zeros(2), np.ones((4, 3)))).graph
        >>> (found,) = find_products(graph.outputs[0], graph.nodes, graph.inputs[:2], ["W", "c"])
        >>> found.name, found.weights, found.bias, found.turned, found.fan_in, found.alone
        ('X @ W + c', 0, 1, False, 3, True)
    """
    fed, trained = _fed(nodes, params), set[Node]().union(*(made_of(nodes, [x]) for x in params))
    after: dict[Node, list[Node]] = {}
    for node in nodes:
        for x in node.inputs:
            after.setdefault(x, []).append(node)
    places = {node: i for i, node in enumerate(params)}
    found: list[Product] = []
    for node in nodes:
        sides = _sides(node, fed)
        if sides is None or len(found) == MOST:
            continue
        product = _read(node, *sides, after, places, names, trained)
        if product is not None:
            found.append(product)
    found = _not_recurrent(found, nodes, places)
    return _named_apart([replace(x, alone=_is_alone(x, found, nodes, loss)) for x in found])


def _fed(nodes: Iterable[Node], params: Sequence[Node]) -> dict[Node, bool]:
    """Of each node whether it depends on data: on what is given beside the parameters, or on arrays of constants."""
    fed: dict[Node, bool] = dict.fromkeys(params, False)
    for node in nodes:
        if node not in fed:
            outside = node.op is INPUT or (node.op is CONSTANT and len(node.spec.shape) > 0)
            fed[node] = outside or any(fed[x] for x in node.inputs)
    return fed


def _sides(node: Node, fed: Mapping[Node, bool]) -> tuple[int, bool] | None:
    """Which input of a product is made of parameters alone, and whether its units come first; None for no layer."""
    if len(node.inputs) != 2 or not node.spec.shape or node.spec.dtype.kind != "f":
        return None
    a, b = node.inputs
    if fed[a] == fed[b]:
        return None
    weights = 1 if fed[a] else 0
    W, h = node.inputs[weights], node.inputs[1 - weights]
    wide, deep = len(W.spec.shape), len(h.spec.shape)
    name = getattr(node.op, "name", "")
    if name == "einsum":
        return _of_einsum(node, weights)
    if name == "tensordot":
        over = node.params.get("over_b" if weights else "over_a"), node.params.get("over_a" if weights else "over_b")
        straight = over[0] == (0,) and over[1] == (deep - 1,) if weights else over[0] == (1,) and over[1] == (0,)
        if not straight:
            return None
    elif name not in ("matmul", "dot"):
        return None
    if wide not in (1, 2) or (weights == 0 and deep > 2):
        return None
    return weights, weights == 0 and deep == 2


def _of_einsum(node: Node, weights: int) -> tuple[int, bool] | None:
    """The same of an einsum of two arrays."""
    left, _, out = str(node.params.get("subscripts", "")).replace(" ", "").partition("->")
    parts = left.split(",")
    if len(parts) != 2 or "." in left or len(parts[weights]) != 2 or not out:
        return None
    free = set(parts[weights]) - set(parts[1 - weights])
    if len(free) != 1 or free != set(out) - set(parts[1 - weights]):
        return None
    last, first = out[-1] in free, out[0] in free and len(out) == 2
    return (weights, not last) if last or first else None


def _read(
    node: Node, weights: int, turned: bool, after: Mapping[Node, list[Node]], places: Mapping[Node, int],
    names: Sequence[str], trained: Container[Node],
) -> Product | None:  # fmt: skip
    """The layer that a product is, with what is added to it."""
    W, h = node.inputs[weights], node.inputs[1 - weights]
    units = 1 if len(W.spec.shape) == 1 else node.spec.shape[0 if turned else -1]
    size = W.spec.shape[0] if len(W.spec.shape) == 1 else _other(W.spec.shape, units)
    if not isinstance(units, int) or not isinstance(size, int):
        return None
    place, origin = places.get(unmoved(W)), unmoved(h)
    label = (origin.name if origin.op is INPUT else h.name) or ("h" if h in trained else "X")
    name = f"{label} @ {names[place] if place is not None else W.name or 'W'}"
    if weights == 0:
        name = " @ ".join(reversed(name.split(" @ ")))
    z, bias = node, None
    follows = after.get(node, [])
    if len(follows) == 1 and getattr(follows[0].op, "name", "") == "add" and follows[0].spec.shape == node.spec.shape:
        other = next((x for x in follows[0].inputs if x is not node), node)
        bias = places.get(unmoved(other))
        if bias is not None and math.prod(x for x in other.spec.shape if isinstance(x, int)) in (units, 1):
            z, name = follows[0], f"{name} + {names[bias]}"
        else:
            bias = None
    reads = tuple(sorted(places[x] for x in ancestors([W]) if x in places)) if place is None else (place,)
    return Product(name, z, place, bias, turned, size, units, made_of=reads, given=h)


def _other(shape: Sequence[Any], units: Any) -> Any:
    """The size of the axis of a matrix that the units do not have."""
    return shape[0] if shape[1] == units else shape[1]


def _not_recurrent(found: list[Product], nodes: Sequence[Node], places: Mapping[Node, int]) -> list[Product]:
    """The first layer of each parameter; of those that meet what they have made, the last one, too.

    Of these the first one that is given what depends on data.
    """
    kept, taken, same = list[Product](), dict[Any, dict[int, Product]](), _same(nodes)
    for x in found:  # what is computed twice in the same way, as where a loss asks for predictions twice, is one
        taken.setdefault(x.weights if x.weights is not None else x.node, {}).setdefault(same[x.node], x)
    for calls in (list(x.values()) for x in taken.values()):
        made = made_of(nodes, [calls[0].node])
        if not any(x.node in made for x in calls[1:]):
            kept.append(calls[0] if len(calls) == 1 else replace(calls[0], alone=False))
            continue
        n = len(calls)
        begin = next((i for i, x in enumerate(calls) if x.given is None or _is_made(x.given)), 0)
        for i in dict.fromkeys((begin, n - 1)):
            name = f"{calls[-1].name}, call {i + 1} of {n}"
            kept.append(replace(calls[i], alone=False, turn=(i + 1, n), name=name))
    return sorted(kept, key=lambda x: x.node.index)


def _is_made(value: Node) -> bool:
    """Whether a value is made of anything that is given: a state that begins as zeros is not, and has no gradient."""
    return any(x.op is INPUT for x in ancestors([value]))


def _same(nodes: Sequence[Node]) -> dict[Node, int]:
    """Numbers of nodes; those that compute the same of the same have one."""
    numbers, found = dict[Any, int](), dict[Node, int]()
    for node in nodes:
        key: Any = node.op, tuple(found.get(x, x) for x in node.inputs), repr(node.params)
        if node.op is INPUT or not node.inputs:
            small = node.op is CONSTANT and np.size(node.value) <= SMALL
            key = (node.op, np.asarray(node.value).tobytes(), repr(node.spec)) if small else node
        found[node] = numbers.setdefault(key, len(numbers))
    return found


def find_again(known: Mapping[str, Product], found: Sequence[Product]) -> dict[str, Product]:
    """Find layers in another program of the same loss, which may have more of them, or fewer: by what they read.

    Args:
        known: the layers, by their names.
        found: those of the other program, in the order of its forward pass.

    Returns:
        Those of the other program, by the names of the first; without those that are not in it.

    Source: derived here.
    """
    others = _by_reading(found)
    return {name: others[key] for name, key in zip(known, _by_reading(known.values()), strict=True) if key in others}


def _by_reading(found: Iterable[Product]) -> dict[Any, Product]:
    """Layers by what they read, at which call, and how many were so before."""
    made, seen = dict[Any, Product](), dict[Any, int]()
    for x in found:
        key = x.made_of, x.turned, x.fan_out, x.turn is None or x.turn[0] < x.turn[1]
        seen[key] = n = seen.get(key, 0) + 1
        made[key, n] = x
    return made


def values_given(graph: Graph, numbers: Sequence[Any], found: Mapping[str, Product]) -> dict[str, Any]:
    """Compute what layers are given, which may be made of what the one before gives, as by pooling.

    Args:
        graph: the program of the loss in which they were found.
        numbers: what it is given.
        found: the layers, by their names.

    Returns:
        The arrays, (examples, …, inputs), by the names; without those of layers whose units come first.

    Source: derived here.
    """
    known = {name: x.given for name, x in found.items() if x.given is not None and not x.turned}
    return dict(zip(known, evaluate(graph, numbers, list(known.values())), strict=True))


def last_products(found: Mapping[str, Product], nodes: Sequence[Node]) -> list[str]:
    """Return the names of the layers of which no other is made: those that give outputs.

    Args:
        found: the layers, by their names.
        nodes: of the program in which they were found, oldest first.

    Returns:
        Their names.

    Source: derived here.
    """
    return [
        name
        for name, x in found.items()
        if not any(y.node in made_of(nodes, [x.node]) for y in found.values() if y is not x)
    ]


def _is_alone(product: Product, found: Sequence[Product], nodes: Sequence[Node], loss: Node) -> bool:
    """Whether no way from an earlier layer to the loss leads around this one, and none stands beside it."""
    if not product.alone:
        return False
    later = made_of(nodes, [product.node])
    around = set[Node]()
    for node in nodes:
        if node is not product.node and (
            any(node is x.node and node not in later for x in found) or not around.isdisjoint(node.inputs)
        ):
            around.add(node)
    return loss not in around


def _named_apart(found: Sequence[Product]) -> list[Product]:
    """Give those that are written alike numbers."""
    seen: dict[str, int] = {}
    made = []
    for x in found:
        seen[x.name] = n = seen.get(x.name, 0) + 1
        made.append(x if n == 1 else replace(x, name=f"{x.name} ({n})"))
    return made


def as_layers(
    layers: Iterable[FlowLayer], found: Mapping[str, Product], paths: Sequence[str], activations: Mapping[str, str],
    behind: str,
) -> list[FlowLayer]:  # fmt: skip
    """Make layers of the entries of what was found, and put activations to all that have one.

    Args:
        layers: as `undertow.flow.layers.describe_layers` lists them, with entries of the names that were found.
        found: by their names.
        paths: of the parameters.
        activations: their names, by those of the layers.
        behind: what ends the path of what an activation gives.

    Returns:
        The layers.

    Source: derived here.
    """
    kept: list[FlowLayer] = []
    for layer in layers:
        product = found.get(layer.path) if layer.kind == "watched" else None
        if product is not None:
            layer = replace(
                layer, kind=KIND, fan_in=product.fan_in, fan_out=product.fan_out,
                reads=None if product.weights is None else paths[product.weights],
                within=None if product.alone else layer.path, turn=product.turn,
            )  # fmt: skip
        if layer.path in activations and layer.kind != "parameter":
            layer = replace(layer, activation=activations[layer.path], h_path=layer.path + behind)
        kept.append(layer)
    return kept


def by_layers(flow: Flow, values: Array) -> Array:
    """Put what is known of parameters to the layers of a loop of one's own that read them.

    Args:
        flow: the record.
        values: of each entry, (layers,).

    Returns:
        The same shape.

    Source: derived here.

    Example:
        >>> reads = FlowLayer(1, "X @ W", "X @ W", "product", "X @ W", reads="W")
        >>> W = FlowLayer(2, "W", "W", "parameter", "W", weights="W")
        >>> by_layers(Flow.empty((reads, W)), np.array([np.nan, 2.0]))
        array([2., 2.])
    """
    places = {layer.path: i for i, layer in enumerate(flow.layers) if layer.kind == "parameter"}
    return np.array([values[places.get(layer.reads or "", i)] for i, layer in enumerate(flow.layers)])
