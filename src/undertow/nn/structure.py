"""Models as structure: filling in parameters, and the activation that a model ends in."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import numpy as np
from numpy.typing import DTypeLike

from undertow import trees
from undertow.errors import ArgumentError, DTypeError
from undertow.nn.activations import ACTIVATIONS, name_activation
from undertow.nn.containers import Sequential
from undertow.nn.layer import Container, children, is_layer
from undertow.nn.parameters import rebuilt

M = TypeVar("M")


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
        layer has an ``init`` of its own; biases are 0. A layer of one's own is filled by its method
        ``initial(rng, dtype, follows)``, which returns the filled layer; whatever it returns, parameters that the layer
        has stay, all but those that are equal to the default of their field. ``follows`` names the activation
        that comes next, dropout and normalisation passed over. Layers in its fields need not be filled there; those
        that are stay as they are.

    Raises:
        DTypeError: ``parameters cannot be int64. Use float32 or float64.``
        ArgumentError: an initialiser returned another shape, or the seed is negative.

    Source: He et al. 2015, eq. 10; Glorot and Bengio 2010, eq. 16.

    Example:
        >>> from undertow.nn import Dense
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
    if is_layer(item) and hasattr(item, "initial"):
        given = copy.copy(item)  # an `initial` that writes into its layer changes no model that is in use
        made = given.initial(np.random.default_rng([seed, next(numbers)]), dtype, follows)
        return _fill_parts(_check_filled(item, made), seed, numbers, dtype, dict(children(item)))
    if isinstance(item, Container):
        return _fill_container(item, follows, seed, numbers, dtype)
    if isinstance(item, str | np.ndarray):
        return item
    _check_fields(item)
    if not (is_layer(item) or isinstance(item, tuple | list | dict)):
        return item
    return _fill_parts(item, seed, numbers, dtype)


def _fill_parts(
    item: Any, seed: int, numbers: Iterator[int], dtype: np.dtype[Any], before: Mapping[str, Any] | None = None
) -> Any:
    """Fill what a layer of one's own, a tuple, a list or a dict holds.

    Of what there was ``before`` the layer's own ``initial``, parts to which that gave arrays stay as it made them.
    """
    parts = dict(children(item))

    def is_made(name: str, part: Any) -> bool:
        changed = before is not None and part is not before.get(name)
        return changed and any(isinstance(x, np.ndarray) for x in trees.flatten(part)[0])

    new = {
        name: part if is_made(name, part) else _fill(part, None, seed, numbers, dtype) for name, part in parts.items()
    }
    return rebuilt(item, new) if any(new[name] is not parts[name] for name in parts) else item


def _keep_given(before: Any, after: Any) -> Any:
    """What ``initial`` made, with the parameters put back that the layer had: it may have drawn all of them anew."""
    if after is before or before is None:
        return after
    if isinstance(before, np.ndarray | np.generic | float):
        return before
    old, new = dict(children(before)), dict(children(after))
    if type(after) is not type(before) or old.keys() != new.keys():
        return before if any(not callable(x) for x in trees.flatten(before)[0]) else after
    kept = {name: new[name] if _is_default(before, name) else _keep_given(old[name], new[name]) for name in new}
    return rebuilt(after, kept) if any(kept[name] is not new[name] for name in new) else after


def _is_default(layer: Any, name: str) -> bool:
    """Whether a number or an array in a layer's field is what the class says where none is given: no one gave it."""
    if not is_layer(layer):
        return False
    field = next(field for field in dataclasses.fields(layer) if f".{field.name}" == name)
    value = getattr(layer, field.name)
    if not isinstance(value, np.ndarray | np.generic | float):
        return False
    made = field.default_factory
    default = made() if made is not dataclasses.MISSING else field.default
    return isinstance(default, np.ndarray | np.generic | float | int) and np.array_equal(value, default)


def _check_fields(item: Any) -> None:
    """ArgumentError where a layer of one's own keeps layers in attributes that are no fields: none would be filled."""
    own = dataclasses.is_dataclass(item) and not isinstance(item, type)
    known = {field.name for field in dataclasses.fields(item)} if own else ()
    for name, value in getattr(item, "__dict__", {}).items():
        inner = next((x for x in (value if isinstance(value, list | tuple) else [value]) if is_layer(x)), None)
        if name in known or inner is None or not callable(item):
            continue
        who = type(item).__name__
        told = f"{who} keeps {inner!r} in {name}, which is no field of a dataclass, and would not be trained."
        way = f"Declare it in the class, `{name}: Any = None`; __post_init__ may fill it where it is None."
        raise ArgumentError(f"{told} {way if own else f'Make {who} a dataclass with the field {name}.'}")


def _fill_container(
    item: Container, follows: str | None, seed: int, numbers: Iterator[int], dtype: np.dtype[Any]
) -> Container:
    """Fill the layers of a container; each knows the activation after it."""
    inner = [layer for _, layer in item.inner()]
    filled = [_fill(x, name, seed, numbers, dtype) for x, name in zip(inner, item.ends(follows), strict=True)]
    return item.with_inner(filled)


def _check_filled(layer: Any, made: Any) -> Any:
    """What ``initial`` made of a layer, what was given kept; ArgumentError unless it is what ``shapes`` says."""
    if type(made) is not type(layer):
        wanted = type(layer).__name__
        raise ArgumentError(f"{layer!r}: its initial returned {type(made).__name__}. Return a {wanted}.")
    filled = _keep_given(layer, made)
    for name, shape in (filled.shapes() if hasattr(filled, "shapes") else {}).items():
        value: Any = getattr(filled, name, None)
        found = np.shape(value)
        if found != tuple(shape):
            who = "its initial made" if value is getattr(made, name, None) else "it was given"
            raise ArgumentError(f"{layer!r}: {who} {name} {found}, its shapes say {tuple(shape)}.")
    return filled


def final_activation(model: Any) -> str | None:
    """Return the name of the built-in activation that a model ends in, or None.

    Args:
        model: a layer or a container.

    Returns:
        ``"softmax"``, ``"sigmoid"``, …, or None.

    Source: derived here.

    Example:
        >>> from undertow.nn import Dense
        >>> final_activation(Sequential(Dense(4, 3), "softmax"))
        'softmax'
    """
    while type(model) is Sequential and model.layers:
        *_, model = [item for item in model.layers if item is not ACTIVATIONS["identity"]] or [None]
    return name_activation(model)


def drop_final_activation(model: Sequential) -> Sequential:
    """Return the model without the activation it ends in: its output is then z, not p.

    Args:
        model: a `Sequential` for which `final_activation` finds one.

    Returns:
        A model of the same layers; nothing is copied.

    Source: derived here.

    Example:
        >>> from undertow.nn import Dense
        >>> drop_final_activation(Sequential(Dense(4, 3), "softmax"))
        Sequential(Dense(4, 3))
    """
    layers = list(model.layers)
    while layers and layers[-1] is ACTIVATIONS["identity"]:
        layers.pop()
    last = layers.pop()
    return Sequential(*layers, drop_final_activation(last)) if type(last) is Sequential else Sequential(*layers)
