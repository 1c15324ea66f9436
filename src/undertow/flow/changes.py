"""Changes of a model, each a pure function: another activation, other weights to begin with, normalisation, residuals.

A layer that stays keeps its parameters; `cleared` takes them out of a model that is to be trained from the beginning.
What comes back is made of layers of this package, so that it can be described and saved where the model could.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Collection
from typing import Any, Final

from undertow import nn
from undertow.errors import ArgumentError
from undertow.flow.activations import name_function
from undertow.nn.activations import find_activation, name_activation
from undertow.nn.layer import Container, holds_parameters, show_item
from undertow.nn.parameters import map_layers

NORMS: Final[dict[str, Any]] = {"layer": nn.LayerNorm, "batch": nn.BatchNorm, "rms": nn.RMSNorm}
NORM_KINDS: Final[Any] = tuple(NORMS.values())
_Items = list[tuple[str, Any]]  # the items of a container with their paths
_Change = Callable[[_Items, Any], list[Any]]


def cleared(model: Any) -> Any:
    """Take the parameters out of a model, so that they are drawn again.

    Args:
        model: of layers that tell the shapes of their parameters.

    Returns:
        The same model, its parameters None. Arrays that no layer tells of stay.

    Source: derived here.

    Example:
        >>> cleared(nn.initialize(nn.Sequential(nn.Dense(2, 3)))).layers[0].W is None
        True
    """

    def clear(layer: Any) -> Any:
        if not hasattr(layer, "shapes"):
            return layer
        made = copy.copy(layer)
        for name in layer.shapes():
            object.__setattr__(made, name, None)
        return made

    return map_layers(model, clear)


def with_activation(model: Any, to: Any, of: str | None = None, paths: Collection[str] = ()) -> Any:
    """Put another activation in the place of the hidden ones.

    Args:
        model: a container.
        to: an activation, or its name or description (``{"name": "leaky_relu", "slope": 0.1}``).
        of: the name of those that are replaced; None for all.
        paths: of those that are replaced, or of the layers before them; none for all.

    Returns:
        The model. The activation that it ends in stays; weights whose init is ``"auto"`` will suit the new one.

    Raises:
        ArgumentError: ``there is no activation 'rleu'. …``; there is none to replace.

    Source: derived here.

    Example:
        >>> with_activation(nn.Sequential(nn.Dense(2, 3), "sigmoid", nn.Dense(3, 1), "sigmoid"), "relu")
        Sequential(Dense(2, 3), relu, Dense(3, 1), sigmoid)
    """
    new, end = _read_activation(to), _end_path(model)

    def change(items: _Items, _: Any) -> list[Any]:
        found = []
        for i, (path, item) in enumerate(items):
            name = activation_of(item)
            near = {path, items[i - 1][0] if i else ""}
            meant = name is not None and path != end and of in (None, name) and (not paths or bool(near & set(paths)))
            found.append(new if meant else item)
        return found

    return _changed(model, change, "no hidden activation to replace")


def with_initialisation(model: Any, to: Any = "auto", paths: Collection[str] = ()) -> Any:
    """Draw the weights of dense layers another way; biases begin at 0.

    Args:
        model: a model of layers.
        to: an initialiser, its name or description; ``"auto"`` chooses by the activation that follows.
        paths: of the layers; none for all.

    Returns:
        The model.

    Raises:
        ArgumentError: ``there is no initialiser 'he'. …``; there is no dense layer.

    Source: derived here.

    Example:
        >>> with_initialisation(nn.Sequential(nn.Dense(2, 3, init="zeros")), "he_normal").layers[0].init
        'he_normal'
    """
    init = nn.build_initialiser(to) if isinstance(to, dict) else to

    def change(items: _Items, _: Any) -> list[Any]:
        return [
            dataclasses.replace(item, init=init, W=None, b=None)
            if isinstance(item, nn.Dense) and (not paths or path in paths)
            else item
            for path, item in items
        ]

    return _changed(model, change, "no dense layer there")


def with_gains(model: Any) -> Any:
    """Let normalisations begin with gains of 1 and shifts of 0, whatever was set by hand.

    Args:
        model: a model of layers.

    Returns:
        The model.

    Raises:
        ArgumentError: there is no normalisation.

    Source: derived here.

    Example:
        >>> import numpy as np
        >>> with_gains(nn.Sequential(nn.LayerNorm(3, gain=np.zeros(3)))).layers[0].gain is None
        True
    """

    def change(items: _Items, _: Any) -> list[Any]:
        return [
            dataclasses.replace(item, **{name: None for name in ("gain", "shift") if hasattr(item, name)})
            if isinstance(item, NORM_KINDS)
            else item
            for _, item in items
        ]

    return _changed(model, change, "no normalisation there")


def with_normalisation(model: Any, to: str | None = "layer") -> Any:
    """Normalise what comes into each hidden activation; or take batch normalisation out.

    Where layers of the user's own are all there is before the output, what comes into that is normalised.

    Args:
        model: a container.
        to: ``"layer"``, ``"batch"`` or ``"rms"``, also in the place of normalisation of another kind that is there;
            None takes it out.

    Returns:
        The model.

    Raises:
        ArgumentError: another word; there is no place for it.

    Source: Ioffe and Szegedy, Batch normalization, ICML 2015, section 3.2; Ba, Kiros and Hinton, Layer normalization,
        2016, section 3.1.

    Example:
        >>> with_normalisation(nn.Sequential(nn.Dense(2, 3), "tanh", nn.Dense(3, 1)))
        Sequential(Dense(2, 3), LayerNorm(3), tanh, Dense(3, 1))
    """
    if to is not None and to not in NORMS:
        raise ArgumentError(f"there is no normalisation {to!r}. Use one of {', '.join(NORMS)}, or None.")
    end = _end_path(model)

    def change(items: _Items, _: Any) -> list[Any]:
        found: list[Any] = []
        for path, item in items:
            before = found[-1] if found else None
            if isinstance(item, NORM_KINDS):
                found += [] if to is None else [NORMS[to](item.size)]
                continue
            if to is not None and activation_of(item) and path != end and isinstance(before, nn.Dense):
                found.append(NORMS[to](before.fan_out))
            found.append(item)
        return found

    place = None if to is None else _before_output(model)
    if place is not None:
        i, width = place
        return nn.Sequential(*model.layers[:i], NORMS[str(to)](width), *model.layers[i:])
    return _changed(model, change, "no place for it")


def _before_output(model: Any) -> tuple[int, int] | None:
    """The place of the output layer, and the width of what it is given by layers of the user's own alone."""
    if type(model) is not nn.Sequential:
        return None
    found = [i for i, item in enumerate(model.layers) if isinstance(item, nn.Dense)]
    before = list(model.layers[: found[0]]) if len(found) == 1 else []
    if not any(holds_parameters(x) and not type(x).__module__.startswith(nn.__name__) for x in before):
        return None
    if isinstance(before[-1], NORM_KINDS) or any(isinstance(x, NORM_KINDS) for x in model.layers[found[0] :]):
        return None
    return found[0], model.layers[found[0]].fan_in


def with_residuals(model: Any) -> Any:
    """Add what comes into a layer to what its activation gives, wherever both have the same width.

    Args:
        model: a container; blocks that it has already stay.

    Returns:
        The model. Each block is scaled by 1/√L, for L new blocks, so that their sum keeps its size.

    Raises:
        ArgumentError: no layer keeps the width.

    Source: He et al., Deep residual learning, CVPR 2016, eq. 1; the scale: Zhang et al., Fixup initialization, ICLR
        2019, section 2, where the variance doubles with each block that is not scaled.

    Example:
        >>> with_residuals(nn.Sequential(nn.Dense(2, 3), "tanh", nn.Dense(3, 3), "tanh", nn.Dense(3, 1)))
        Sequential(Dense(2, 3), tanh, Residual(Dense(3, 3), tanh, scale=1), Dense(3, 1))
    """
    blocks: list[tuple[str, int, int]] = []
    end = _end_path(model)

    def find(items: _Items, container: Any) -> list[Any]:
        if type(container) is nn.Sequential:
            blocks.extend((items[first][0], first, last) for first, last in _equal_widths(items, end))
        return [item for _, item in items]

    _rewritten(model, find)
    if not blocks:
        raise ArgumentError("there is no layer of equal width on both sides, with an activation after it.")
    starts = {path: last - first for path, first, last in blocks}
    scale = len(blocks) ** -0.5

    def change(items: _Items, container: Any) -> list[Any]:
        found: list[Any] = []
        i = 0
        while i < len(items):
            size = starts.get(items[i][0], 0) if type(container) is nn.Sequential else 0
            inner = [item for _, item in items[i : i + size]]
            found.append(nn.Residual(*inner, scale=scale) if size else items[i][1])
            i += size or 1
        return found

    return _rewritten(model, change)


def _equal_widths(items: _Items, end: str | None) -> list[tuple[int, int]]:
    """Where [Dense(n, n), normalisation, activation] stands, but not at the model's end: first and last."""
    found = []
    for i, (_, item) in enumerate(items):
        if not isinstance(item, nn.Dense) or item.fan_in != item.fan_out:
            continue
        j = i + 1
        while j < len(items) and isinstance(items[j][1], NORM_KINDS):
            j += 1
        if j < len(items) and items[j][0] != end and activation_of(items[j][1]) is not None:
            found.append((i, j + 1))
    return found


def with_end(model: Any, to: str | None) -> Any:
    """Let a model end in another activation, or in none.

    Args:
        model: a `Sequential`.
        to: the name of an activation, or None.

    Returns:
        The model.

    Raises:
        ArgumentError: the model is no Sequential.

    Source: derived here.

    Example:
        >>> with_end(nn.Sequential(nn.Dense(2, 3), "softmax"), None)
        Sequential(Dense(2, 3))
    """
    if type(model) is not nn.Sequential:
        raise ArgumentError(f"{show_item(model)} is no Sequential, whose end can be changed.")
    while nn.final_activation(model) is not None:
        model = nn.drop_final_activation(model)
    return nn.Sequential(*model.layers, *([] if to is None else [_read_activation(to)]))


def with_dropout(model: Any, rate: float = 0.2) -> Any:
    """Drop units after each hidden activation while the model trains.

    Args:
        model: a container.
        rate: the share that is dropped.

    Returns:
        The model.

    Raises:
        ArgumentError: there is no hidden activation.

    Source: Srivastava et al., Dropout, JMLR 15, 2014, section 4.

    Example:
        >>> with_dropout(nn.Sequential(nn.Dense(2, 3), "relu", nn.Dense(3, 1)), 0.5)
        Sequential(Dense(2, 3), relu, Dropout(rate=0.5), Dense(3, 1))
    """
    end = _end_path(model)

    def change(items: _Items, _: Any) -> list[Any]:
        found: list[Any] = []
        for path, item in items:
            found += [item, nn.Dropout(rate)] if activation_of(item) and path != end else [item]
        return found

    return _changed(model, change, "no hidden activation to drop units of")


def with_noise(model: Any, kind: str, value: float) -> Any:
    """Let the layers that draw random numbers disturb more or less.

    Args:
        model: a model of layers.
        kind: ``"Dropout"`` or ``"Noise"``.
        value: the rate, or the deviation.

    Returns:
        The model.

    Raises:
        ArgumentError: there is no such layer.

    Source: derived here.

    Example:
        >>> with_noise(nn.Sequential(nn.Dense(2, 3), nn.Residual(nn.Dropout(0.9))), "Dropout", 0.2)
        Sequential(Dense(2, 3), Residual(Dropout(rate=0.2)))
    """
    layer: Any = getattr(nn, kind)
    made = map_layers(model, lambda item: layer(value) if isinstance(item, layer) else item)
    if made is model:
        raise ArgumentError(f"{show_item(model)[:80]}: there is no {kind} there.")
    return made


def activation_of(item: Any) -> str | None:
    """Return the name of an activation, with parameters or without; None for anything else, and for identity."""
    name: str | None = getattr(item, "activation_name", None) or name_activation(item) or name_function(item)
    return None if name == "identity" else name


def _read_activation(to: Any) -> Any:
    if isinstance(to, str):
        return nn.PReLU() if to == "prelu" else find_activation(to)
    return nn.build_activation(to) if isinstance(to, dict) else to


def _end_path(model: Any) -> str | None:
    """The path of the activation that a model ends in; None where there is none."""
    path, item = "", model
    while type(item) is nn.Sequential and item.layers:
        at = max((i for i, x in enumerate(item.layers) if name_activation(x) != "identity"), default=None)
        if at is None:
            return None
        path, item = f"{path}{'.' if path else ''}layers[{at}]", item.layers[at]
    return path if activation_of(item) is not None else None


def _rewritten(item: Any, change: _Change, path: str = "") -> Any:
    """A model with the items of each row of layers changed, the innermost first; `change` may add and take out."""
    if not isinstance(item, Container):
        return item
    start = f"{path}." if path else ""
    inner = [(f"{start}{here}", _rewritten(x, change, f"{start}{here}")) for here, x in item.inner()]
    if not isinstance(item, nn.Sequential):  # each branch for itself
        branches = [change([branch], item) for branch in inner]
        return item.with_inner([found[0] if len(found) == 1 else nn.Sequential(*found) for found in branches])
    rest = [x for here, x in inner if not here.removeprefix(start).startswith("layers[")]  # a projection
    made = item.with_inner([x for _, x in inner]) if rest else copy.copy(item)
    made.layers = tuple(change([(p, x) for p, x in inner if p.removeprefix(start).startswith("layers[")], item))
    return made


def _changed(model: Any, change: _Change, problem: str) -> Any:
    """The changed model; ArgumentError where nothing changes."""
    touched = False

    def watch(items: _Items, container: Any) -> list[Any]:
        nonlocal touched
        found = change(items, container)
        touched = touched or len(found) != len(items) or any(a is not b for a, (_, b) in zip(found, items, strict=True))
        return found

    if not isinstance(model, Container):
        model = nn.Sequential(model)
    made = _rewritten(model, watch)
    if not touched:
        raise ArgumentError(f"{show_item(model)[:80]}: there is {problem}.")
    return made
