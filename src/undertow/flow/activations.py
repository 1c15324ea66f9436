"""Which activation a function of one's own is, or applies to a value that it watches, told by the numbers it gives."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from undertow.errors import UndertowError
from undertow.flow.origin import trace_loss
from undertow.graph import CONSTANT, INPUT, Graph, Node, evaluate, measure_sizes, resolve
from undertow.nn import ACTIVATIONS, Sequential
from undertow.nn.layer import Container, holds_parameters

Array = NDArray[Any]
KNOWN: Final = (
    "relu", "tanh", "sigmoid", "leaky_relu", "elu", "selu", "gelu", "silu", "softplus", "softsign", "relu6",
    "hard_tanh", "hard_sigmoid", "lecun_tanh", "mish",
)  # fmt: skip
NEAR: Final = 1e-4  # by the size of the numbers
ALIKE: Final = 1e-3  # the same on the grid: gelu is written by tanh, too, which differs by 5e-4
GRID: Final = np.linspace(-7, 7, 64, dtype=np.float32).reshape(16, 4)  # where no two of them are alike


def name_function(item: Any) -> str | None:
    """Return the name of the activation that a function of one's own in a model is, however it is written.

    Args:
        item: of a model: a function of an array, by itself or in `undertow.nn.Lambda`.

    Returns:
        A key of ``ACTIVATIONS``; None for another function, a container, and a layer with parameters.

    Source: derived here.

    Example:
        >>> [name_function(f) for f in (lambda z: np.maximum(z, 0), lambda z: 1 / (1 + np.exp(-z)), np.sin)]
        ['relu', 'sigmoid', None]
    """
    if isinstance(item, Container) or holds_parameters(item):
        return None
    with suppress(Exception), np.errstate(all="ignore"):  # it may ask more of an array than to be one
        h = np.asarray(item(GRID.copy()))
        if h.shape == GRID.shape and h.dtype.kind == "f":
            return next((x for x in KNOWN if np.allclose(h, ACTIVATIONS[x](GRID), ALIKE, ALIKE)), None)
    return None


def last_function(model: Any) -> str | None:
    """Return the name of the activation that the function of one's own is in which a model ends, or None."""
    while type(model) is Sequential and model.layers:
        model = model.layers[-1]
    return name_function(model)


def read_activations(loss: Callable[..., Any], params: Any, args: Any, names: Iterable[str]) -> dict[str, str]:
    """Find what activation comes after each of the values that a loss watches.

    Whatever is computed of the value and of constants alone, element by element or not, and gives what an activation
    gives for it, is that activation, however it is written.

    Args:
        loss: a function (params, *args) → one number.
        params: a tree of arrays.
        args: its other arguments, a batch.
        names: of the watched values.

    Returns:
        The names of the activations, by those of the values; without those after which none is known.

    Source: derived here.

    Example:
        >>> import undertow as ut
        >>> def loss(w, X):
        ...     h = 1 / (1 + np.exp(-ut.watch(X @ w, "z1")))
        ...     return np.mean(np.where(ut.watch(h - 0.5, "z2") > 0, h - 0.5, 0.0))
        >>> read_activations(loss, np.ones(2), [np.array([[1.0, 2.0], [-3.0, 1.0]])], ["z1", "z2"])
        {'z1': 'sigmoid'}
    """
    with np.errstate(all="ignore"):
        try:
            graph, inputs, _, seen = trace_loss(lambda params, args, _: loss(params, *args), params, args, ())
        except UndertowError:  # it asks for values
            return {}
        nodes = [x for x in graph.nodes if x.op is not INPUT]
        env = dict(zip(nodes, evaluate(graph, inputs, nodes), strict=True))
        places, sizes = {node.index: node for node in nodes}, measure_sizes(graph, inputs)
        found = {}
        for name in names:
            node = next((places[index] for path, index in seen if path == name and index in places), None)
            after = None if node is None else _after(graph, node, env, sizes)
            if after is not None:
                found[name] = after
    return found


def _after(graph: Graph, z: Node, env: dict[Node, Any], sizes: Any) -> str | None:
    """The activation that is computed last of a value alone, and of the value with its sign turned.

    Numbers that are all below 0 do not tell relu from a product with a state that begins at 0.
    """
    chosen, value = None, np.asarray(env[z])
    if value.dtype.kind != "f" or not np.isfinite(value).all() or not value.size:
        return None
    expected = {name: [np.asarray(ACTIVATIONS[name](x)) for x in (value, -value)] for name in KNOWN}
    turned: dict[Node, Any] = {z: -value}
    for node in graph.nodes:
        if turned.keys().isdisjoint(node.inputs) or not all(x in turned or x.op is CONSTANT for x in node.inputs):
            continue
        params = {key: resolve(x, sizes) for key, x in node.params.items()}
        op: Any = node.op
        try:
            turned[node] = op.forward(*[x.value if x.op is CONSTANT else turned[x] for x in node.inputs], **params)
        except Exception:  # a factor of what is positive, an index: with the sign turned there is none
            continue
        h = [np.asarray(x) for x in (env[node], turned[node])]
        if h[0].shape == value.shape and h[0].dtype.kind == "f" and not np.array_equal(h[0], value):
            same = (n for n, x in expected.items() if all(map(np.allclose, h, x, (NEAR, NEAR), (NEAR, NEAR))))
            chosen = next(same, chosen)
    return chosen
