"""Models as structure: filling in parameters, and the declarative description that is saved with them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, TypeVar

import numpy as np
from numpy.typing import DTypeLike

from undertow.errors import ArgumentError, DTypeError
from undertow.nn.activations import ACTIVATIONS
from undertow.nn.initialisers import INITIALISERS, default_initialiser, find_initialiser
from undertow.nn.layers import AUTO, Dense, Residual, Sequential, show_item, walk_layers

M = TypeVar("M")
CONTAINERS: dict[str, type[Sequential]] = {"Sequential": Sequential, "Residual": Residual}


def read_dtype(dtype: DTypeLike) -> np.dtype[Any]:
    """Read a dtype of parameters.

    Args:
        dtype: float32 or float64, or what NumPy takes for one.

    Returns:
        The dtype.

    Raises:
        DTypeError: ``parameters cannot be 'foo'. Use float32 or float64.``

    Source: derived here.

    Example:
        >>> read_dtype("float32")
        dtype('float32')
    """
    try:
        found = np.dtype(dtype)
    except TypeError:
        raise DTypeError(f"parameters cannot be {dtype!r}. Use float32 or float64.") from None
    if found not in (np.float32, np.float64):
        raise DTypeError(f"parameters cannot be {found}. Use float32 or float64.")
    return found


def initialize(model: M, seed: int = 0, dtype: DTypeLike = np.float32) -> M:
    """Fill the parameters that are None; those that are there stay as they are.

    Args:
        model: a layer, a container, or a dataclass with layers in its fields.
        seed: 0 or more; the k-th layer draws from the generator (seed, k), so that a layer filled
            beforehand leaves the others as they would have been.
        dtype: float32 or float64.

    Returns:
        A new model. Weights before relu are ``he_normal``, all others ``glorot_uniform``, unless the
        layer has an ``init`` of its own; biases are 0.

    Raises:
        DTypeError: ``parameters cannot be int64. Use float32 or float64.``
        ArgumentError: an initialiser returned another shape, or the seed is negative.

    Source: He et al. 2015, eq. 10; Glorot and Bengio 2010, eq. 16.

    Example:
        >>> model = initialize(Sequential(Dense(2, 3), "relu", Dense(3, 1)), seed=0)
        >>> model.layers[0].W.shape, model.layers[0].W.dtype, model.layers[2].b
        ((2, 3), dtype('float32'), array([0.], dtype=float32))
    """
    dtype = read_dtype(dtype)
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise ArgumentError(f"seed must be a whole number of 0 or more, got {seed!r}.")
    numbers = iter(range(10**9))
    return _fill(model, None, int(seed), numbers, np.dtype(dtype))


def _fill(item: Any, follows: str | None, seed: int, numbers: Iterator[int], dtype: np.dtype[Any]) -> Any:
    """Fill one item; ``follows`` is the activation after it."""
    if isinstance(item, Dense):
        return _fill_dense(item, follows, np.random.default_rng([seed, next(numbers)]), dtype)
    if isinstance(item, Sequential):
        names = [*map(_name_activation, item.layers[1:]), follows][: len(item.layers)]
        filled = [_fill(x, name, seed, numbers, dtype) for x, name in zip(item.layers, names, strict=True)]
        return type(item)(*filled)
    if isinstance(item, list | tuple) and not hasattr(item, "_fields"):
        return type(item)(_fill(x, None, seed, numbers, dtype) for x in item)
    if isinstance(item, dict):
        return {key: _fill(x, None, seed, numbers, dtype) for key, x in item.items()}
    if dataclasses.is_dataclass(item) and not isinstance(item, type):
        fields = {f.name: getattr(item, f.name) for f in dataclasses.fields(item) if f.init}
        changed = {key: _fill(x, None, seed, numbers, dtype) for key, x in fields.items()}
        if any(changed[key] is not fields[key] for key in fields):
            return dataclasses.replace(item, **changed)
    return item


def _name_activation(item: Any) -> str | None:
    """The name of a built-in activation, else None."""
    return next((name for name, activation in ACTIVATIONS.items() if activation is item), None)


def _fill_dense(layer: Dense, follows: str | None, rng: np.random.Generator, dtype: np.dtype[Any]) -> Dense:
    """Fill W and b of a Dense layer."""
    W, b = layer.W, layer.b
    shape = (layer.fan_in, layer.fan_out)
    if W is None:
        init = layer.init
        if isinstance(init, str):
            init = find_initialiser(default_initialiser(follows) if init == AUTO else init)
        W = np.asarray(init(shape, rng, dtype), dtype=dtype)
        if W.shape != shape:
            raise ArgumentError(f"{layer!r}: its init returned {W.shape} instead of {shape}.")
    if b is None and layer.bias:
        b = np.zeros(layer.fan_out, W.dtype)
    return dataclasses.replace(layer, W=W, b=b)


def is_initialized(model: Any) -> bool:
    """Tell whether every `Dense` layer has its parameters.

    Args:
        model: a layer or a container.

    Returns:
        False if a parameter is still None.

    Source: derived here.

    Example:
        >>> is_initialized(Dense(2, 3)), is_initialized(initialize(Dense(2, 3)))
        (False, True)
    """
    return all(
        layer.W is not None and (layer.b is not None or not layer.bias)
        for layer in walk_layers(model)
        if isinstance(layer, Dense)
    )


def list_layers(model: Any) -> list[tuple[str, Any]]:
    """List the layers that hold parameters, first to last.

    Args:
        model: a layer or a container.

    Returns:
        Pairs of the path in the tree (``"layers[0]"``; ``""`` for the model itself) and the layer.

    Source: derived here.

    Example:
        >>> list_layers(Sequential(Dense(2, 3), "relu", Residual(Dense(3, 3))))
        [('layers[0]', Dense(2, 3)), ('layers[2].layers[0]', Dense(3, 3))]
    """
    if not isinstance(model, Sequential):
        return [("", model)] if dataclasses.is_dataclass(model) else []
    found = []
    for position, item in enumerate(model.layers):
        for path, layer in list_layers(item):
            found.append((f"layers[{position}]{'.' if path else ''}{path}", layer))
    return found


def final_activation(model: Any) -> str | None:
    """Return the name of the built-in activation that a model ends in, or None.

    Args:
        model: a layer or a container.

    Returns:
        ``"softmax"``, ``"sigmoid"``, …, or None.

    Source: derived here.

    Example:
        >>> final_activation(Sequential(Dense(4, 3), "softmax"))
        'softmax'
    """
    while type(model) is Sequential and model.layers:
        *_, model = [item for item in model.layers if item is not ACTIVATIONS["identity"]] or [None]
    return _name_activation(model)


def drop_final_activation(model: Sequential) -> Sequential:
    """Return the model without the activation it ends in: its output is then z, not p.

    Args:
        model: a `Sequential` for which `final_activation` finds one.

    Returns:
        A model of the same layers; nothing is copied.

    Source: derived here.

    Example:
        >>> drop_final_activation(Sequential(Dense(4, 3), "softmax"))
        Sequential(Dense(4, 3))
    """
    layers = list(model.layers)
    while layers and layers[-1] is ACTIVATIONS["identity"]:
        layers.pop()
    last = layers.pop()
    return Sequential(*layers, drop_final_activation(last)) if type(last) is Sequential else Sequential(*layers)


def describe_model(model: Any) -> list[dict[str, Any]]:
    """Describe a model made of built-in layers, as plain data for JSON.

    Args:
        model: a `Sequential`.

    Returns:
        One record a layer: ``{"layer": "Dense", "fan_in": 64, …}``, ``{"layer": "relu"}``,
        ``{"layer": "Residual", "layers": […]}``.

    Raises:
        ArgumentError: ``a layer of your own (Mine) cannot be saved: …``

    Source: derived here.

    Example:
        >>> describe_model(Sequential(Dense(2, 3), "relu"))
        [{'layer': 'Dense', 'fan_in': 2, 'fan_out': 3, 'bias': True, 'init': 'auto'}, {'layer': 'relu'}]
    """
    if type(model) is not Sequential:
        return [_describe_item(model)]
    return [_describe_item(item) for item in model.layers]


def _describe_item(item: Any) -> dict[str, Any]:
    """Describe one layer."""
    if type(item) is Dense:
        init = item.init
        if not isinstance(init, str):  # how the weights began no longer matters once they are there
            init = next((name for name, function in INITIALISERS.items() if function is init), AUTO)
        return {
            "layer": "Dense",
            "fan_in": item.fan_in,
            "fan_out": item.fan_out,
            "bias": item.bias,
            "init": init,
        }
    for name, container in CONTAINERS.items():
        if type(item) is container:
            return {"layer": name, "layers": [_describe_item(x) for x in item.layers]}
    name_found = _name_activation(item)
    if name_found is None:
        what = show_item(item) if hasattr(item, "__name__") else type(item).__name__
        raise ArgumentError(
            f"a layer of your own ({what}) cannot be saved: a model file holds no code. "
            f"Build the model of Dense, Residual, Sequential and {', '.join(ACTIVATIONS)}, or save its "
            "arrays yourself."
        )
    return {"layer": name_found}


def build_model(description: Any) -> Sequential:
    """Build the model that a description tells of; its parameters are None.

    Args:
        description: what `describe_model` returned; checked, because it may come from a file.

    Returns:
        The model.

    Raises:
        ArgumentError: ``layer 2: there is no layer 'Dens'. …``, sizes that are no numbers, unknown keys.
        ShapeError: layers that do not fit together.

    Source: derived here.

    Example:
        >>> build_model([{"layer": "Dense", "fan_in": 2, "fan_out": 3}, {"layer": "softmax"}])
        Sequential(Dense(2, 3), softmax)
    """
    if not isinstance(description, list):
        raise ArgumentError(f"a model's description is a list of layers, got {type(description).__name__}.")
    return Sequential(*[_build_item(record, str(number), 0) for number, record in enumerate(description, 1)])


def _build_item(record: Any, where: str, depth: int) -> Any:
    """Build one layer from its record."""
    if not isinstance(record, dict) or not isinstance(record.get("layer"), str) or depth > 50:
        raise ArgumentError(f"layer {where}: expected a record such as {{'layer': 'relu'}}, got {str(record)[:80]}.")
    name, rest = record["layer"], {key: value for key, value in record.items() if key != "layer"}
    allowed = {"fan_in", "fan_out", "bias", "init"} if name == "Dense" else {"layers"} if name in CONTAINERS else set()
    needed = {"fan_in", "fan_out"} if name == "Dense" else allowed
    if name != "Dense" and name not in CONTAINERS and name not in ACTIVATIONS:
        raise ArgumentError(
            f"layer {where}: there is no layer {name[:40]!r}. Known are Dense, "
            f"{', '.join([*CONTAINERS, *ACTIVATIONS])}."
        )
    if not needed <= set(rest) <= allowed:
        raise ArgumentError(f"layer {where}, {name}: expected {sorted(allowed)}, got {sorted(rest)}.")
    if name == "Dense":
        if not isinstance(rest.get("bias", True), bool) or not isinstance(rest.get("init", AUTO), str):
            raise ArgumentError(f"layer {where}, Dense: bias must be true or false, and init a name.")
        return Dense(**rest)
    if name in CONTAINERS:
        if not isinstance(rest["layers"], list):
            raise ArgumentError(f"layer {where}, {name}: layers must be a list.")
        items = [_build_item(x, f"{where}.{number}", depth + 1) for number, x in enumerate(rest["layers"], 1)]
        return CONTAINERS[name](*items)
    return ACTIVATIONS[name]
