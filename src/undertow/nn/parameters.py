"""What a model holds: its arrays by their paths, the shapes they must have, and which of them gradients train."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import numpy as np

from undertow import trees
from undertow.errors import ArgumentError, ShapeError
from undertow.nn.layer import children, is_layer, show_item

M = TypeVar("M")


def rebuilt(item: Any, parts: Mapping[str, Any]) -> Any:
    """The same tree with other parts."""
    if is_layer(item):
        made = copy.copy(item)
        for name, value in parts.items():
            object.__setattr__(made, name[1:], value)
        return made
    if isinstance(item, dict):
        return dict(zip(item, parts.values(), strict=True))
    return type(item)(*parts.values()) if hasattr(item, "_fields") else type(item)(parts.values())


def map_layers(model: M, change: Callable[[Any], Any]) -> M:
    """Put other layers in the place of those of a model, first to last, wherever they stand.

    Args:
        model: a layer, a container, or any tree with layers in it.
        change: a function of a layer that returns another to put in its place, or the layer itself to have it opened.

    Returns:
        A new model; the model itself where nothing changes.

    Source: derived here.

    Example:
        >>> from undertow.nn import Dense, Dropout, Sequential
        >>> map_layers(Sequential(Dense(2, 3), Dropout(0.5)), lambda x: Dropout(0.1) if isinstance(x, Dropout) else x)
        Sequential(Dense(2, 3), Dropout(rate=0.1))
    """
    if is_layer(model):
        changed = change(model)
        if changed is not model:
            return changed
    parts = dict(children(model))
    new = {name: map_layers(part, change) for name, part in parts.items()}
    return rebuilt(model, new) if any(new[name] is not parts[name] for name in parts) else model


def parameters_of(model: Any) -> dict[str, Any]:
    """Return the arrays and floats of a model by their paths, running statistics among them.

    Args:
        model: a layer, a container, or any tree.

    Returns:
        ``{"layers[0].W": …}``, in the order of `trees.flatten`; what is None is left out.

    Source: derived here.

    Example:
        >>> from undertow.nn import Dense, Sequential, initialize
        >>> {path: x.shape for path, x in parameters_of(initialize(Sequential(Dense(2, 3)))).items()}
        {'layers[0].W': (2, 3), 'layers[0].b': (3,)}
    """
    found = zip(trees.paths(model), trees.flatten(model)[0], strict=True)
    return {path.lstrip("."): leaf for path, leaf in found if not callable(leaf)}


def expected_shapes(model: Any) -> dict[str, tuple[int, ...]]:
    """Return the shapes that the arrays of a model have, or must have where they are None.

    Args:
        model: a layer, a container, or any tree; a layer tells the shapes of its own by ``shapes()``.

    Returns:
        Shapes by the paths of `parameters_of`.

    Source: derived here.

    Example:
        >>> from undertow.nn import BatchNorm, Sequential
        >>> expected_shapes(Sequential(BatchNorm(3)))["layers[0].variance"]
        (3,)
    """
    return dict(_shapes(model, ""))


def _shapes(item: Any, path: str) -> Iterator[tuple[str, tuple[int, ...]]]:
    if isinstance(item, float | np.ndarray | np.generic):
        yield path.lstrip("."), np.shape(item)
        return
    own = item.shapes() if is_layer(item) and hasattr(item, "shapes") else {}
    for name, part in children(item):
        if name[1:] in own and name[0] == ".":
            yield f"{path}{name}".lstrip("."), tuple(own[name[1:]])
        elif not callable(part) or is_layer(part):
            yield from _shapes(part, f"{path}{name}")


def is_initialized(model: Any) -> bool:
    """Tell whether every layer has its parameters.

    Args:
        model: a layer or a container.

    Returns:
        False if a parameter is still None.

    Source: derived here.

    Example:
        >>> from undertow.nn import Dense, initialize
        >>> is_initialized(Dense(2, 3)), is_initialized(initialize(Dense(2, 3)))
        (False, True)
    """
    return expected_shapes(model).keys() <= parameters_of(model).keys()


def check_fields(model: Any) -> None:
    """Check that each layer of the user's own that has no ``initial`` was given all it needs.

    Args:
        model: a layer, a container, or any tree, after `initialize`.

    Raises:
        ArgumentError: ``Gain(size=3): gain is None, and no method fills it. …``

    Source: derived here.

    Example:
        >>> check_fields([3.0])
    """
    for _, part in children(model):
        check_fields(part)
    if not is_layer(model) or hasattr(model, "initial") or type(model).__module__.startswith("undertow."):
        return
    for field in dataclasses.fields(model):
        if getattr(model, field.name) is None:
            raise ArgumentError(
                f"{show_item(model)}: {field.name} is None, and no method fills it. Give it an array, or the layer a "
                f"method initial(self, rng, dtype, follows) that returns dataclasses.replace(self, {field.name}=…)."
            )


def put_parameters(model: M, values: Mapping[str, Any]) -> M:
    """Put arrays into a model.

    Args:
        model: a layer, a container, or any tree; its own arrays may be None.
        values: an array for each path of `expected_shapes`, float32 or float64.

    Returns:
        A new model.

    Raises:
        ArgumentError: ``put_parameters: layers[0].b is missing.``, a path that the model does not have, another dtype.
        ShapeError: ``put_parameters: layers[0].W is (2, 3), the model needs (2, 4).``

    Source: derived here.

    Example:
        >>> from undertow.nn import Scale
        >>> put_parameters(Scale(), {"gain": np.array([2.0])}).gain
        array([2.])
    """
    wanted = expected_shapes(model)
    extra = sorted(values.keys() - wanted.keys())
    if missing := sorted(wanted.keys() - values.keys()):
        told = f" There is {extra[0][:80]!r}, which the model does not have." if extra else ""
        raise ArgumentError(f"put_parameters: {missing[0]} is missing.{told}")
    if extra:
        raise ArgumentError(f"put_parameters: there is {extra[0][:80]!r}, which the model does not have.")
    for path, shape in wanted.items():
        value = values[path]
        if np.shape(value) != shape:
            turned = " Transpose it: W is (fan_in, fan_out) here." if np.shape(value) == shape[::-1] else ""
            raise ShapeError(f"put_parameters: {path} is {np.shape(value)}, the model needs {shape}.{turned}")
        if np.asarray(value).dtype not in (np.float32, np.float64):
            raise ArgumentError(f"put_parameters: {path} is {np.asarray(value).dtype}, not float32 or float64.")
    return _put(model, "", values)


def _put(item: Any, path: str, values: Mapping[str, Any]) -> Any:
    if (name := path.lstrip(".")) in values:
        value = values[name]
        return float(value) if type(item) is float and np.asarray(value).dtype == np.float64 else value
    parts = dict(children(item))
    new = {end: _put(part, f"{path}{end}", values) for end, part in parts.items()}
    return rebuilt(item, new) if any(new[end] is not parts[end] for end in parts) else item


def trained_leaves(model: Any) -> list[bool]:
    """Tell of each leaf of a model, in the order of `trees.flatten`, whether gradients train it.

    Args:
        model: a layer, a container, or any tree.

    Returns:
        False for functions, and for fields that their layer's ``not_trained`` names.

    Source: derived here.

    Example:
        >>> from undertow.nn import BatchNorm, initialize
        >>> trained_leaves(initialize(BatchNorm(3)))
        [True, True, False, False]
    """
    leaves = trees.flatten(model)[0]
    return [
        free and not callable(leaf) for leaf, free in zip(leaves, trees.unmarked(model, "not_trained"), strict=True)
    ]


def trained_paths(model: Any) -> list[str]:
    """List the paths of the arrays that gradients train.

    Args:
        model: a layer, a container, or any tree.

    Returns:
        Paths as those of `parameters_of`.

    Source: derived here.

    Example:
        >>> from undertow.nn import BatchNorm, initialize
        >>> trained_paths(initialize(BatchNorm(3)))
        ['gain', 'shift']
    """
    return [path.lstrip(".") for path, free in zip(trees.paths(model), trained_leaves(model), strict=True) if free]
