"""Models as plain data: what is saved with their parameters, and how it is read with suspicion."""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any, Final

import numpy as np

from undertow.errors import ArgumentError, UndertowError
from undertow.nn import containers, embedding, layers, normalisation, parallel, prelu, regularising, reshaping  # noqa: F401 (they fill LAYERS)
from undertow.nn.activations import ACTIVATIONS, build_activation, describe_activation
from undertow.nn.containers import Sequential
from undertow.nn.layer import Container, is_layer, show_item
from undertow.nn.registry import LAYERS as LAYERS
from undertow.nn.registry import find_function, name_of, stands_for
from undertow.nn.registry import register_layer as register_layer

DEEPEST: Final = 50  # layers within layers
MOST_LAYERS: Final = 100_000
LARGEST: Final = 2**40  # no number of columns or codes is larger
LONGEST: Final = 1000  # characters of a text, entries of a list of numbers


class UnknownLayerError(ArgumentError):
    """A description names a layer whose class this process does not know: it need not be damaged."""


def describe_model(model: Any) -> list[dict[str, Any]]:
    """Describe a model made of built-in and registered layers, as plain data for JSON.

    Args:
        model: a `Sequential`, or one layer.

    Returns:
        One record a layer: ``{"layer": "Dense", "fan_in": 64, …}``, ``{"layer": "relu"}``,
        ``{"layer": "leaky_relu", "slope": 0.1}``, ``{"layer": "Residual", "layers": […]}``. Fields that are
        None are left out where that is what they are unless told, and so are parameters.

    Raises:
        ArgumentError: ``a layer of your own (Mine) cannot be saved: …``

    Source: derived here.

    Example:
        >>> from undertow.nn import Dense
        >>> describe_model(Sequential(Dense(2, 3), "relu"))
        [{'layer': 'Dense', 'fan_in': 2, 'fan_out': 3, 'bias': True, 'init': 'auto'}, {'layer': 'relu'}]
    """
    if type(model) is not Sequential:
        return [_describe_item(model)]
    return [_describe_item(item) for item in model.layers]


def _describe_item(item: Any) -> dict[str, Any]:
    """Describe one layer."""
    activation = describe_activation(item)
    if activation is not None:
        return {"layer": activation["name"], **{key: value for key, value in activation.items() if key != "name"}}
    cls: Any = type(item)
    name: str = cls.__name__
    if callable(item) and not is_layer(item) and (hasattr(item, "__name__") or isinstance(item, functools.partial)):
        return {"layer": _name_function(item)}
    if LAYERS.get(name) != cls:
        raise ArgumentError(
            f"a layer of your own ({name}) cannot be saved: a model file holds no code. Register its class, a "
            f"dataclass, where it is trained and where it is loaded: @undertow.nn.register_layer above class {name}."
        )
    if hasattr(item, "describe"):
        return {"layer": name, **item.describe()}
    parameters = item.shapes() if hasattr(item, "shapes") else {}
    described = {"layer": name}
    for f in dataclasses.fields(cls):
        value = getattr(item, f.name)
        if f.name in parameters or (value is None and f.default is None):
            continue
        described[f.name] = _describe_value(value, f"{name}.{f.name}")
        if value is None:
            _check_kind(f.type, value, f"{name}.{f.name}")  # else it could be saved and not be read again
    return described


def _name_function(item: Any) -> str:
    """The name by which a function of the user's own is found again; ArgumentError where it would not be."""
    name = name_of(item)
    if name in ACTIVATIONS or name in LAYERS:
        raise ArgumentError(
            f"a function of your own ({name}) cannot be saved: Undertow's own is called so. Give it another name."
        )
    found = None if name is None else find_function(name)
    if found is not None and not stands_for(found, item):
        raise ArgumentError(
            f"a function of your own ({name}) cannot be saved: another one has that name now, and would be loaded in "
            "its place. Give each a name of its own, and build the model with the one that is registered."
        )
    if found is None:
        way = "Write it as def name(x): …, and register it" if name is None else "Register it"
        raise ArgumentError(
            f"a function of your own ({show_item(item)}) cannot be saved: a model file holds no code, and this one has "
            f"no name by which it would be found. {way}: undertow.nn.register_layer({name or 'name'}), where it is "
            "trained and where it is loaded."
        )
    return str(name)


def _describe_value(value: Any, where: str) -> Any:
    """The plain data of one field."""
    if isinstance(value, np.generic) or (isinstance(value, np.ndarray) and value.ndim == 0):
        value = value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, tuple | list):
        return [_describe_value(x, where) for x in value]
    if is_layer(value) or callable(value):
        return _describe_item(value)
    raise ArgumentError(
        f"{where} is {type(value).__name__}, which cannot be saved. Let the layer's shapes() tell of it, if it is an "
        "array, or give the layer a method describe() that returns its fields as plain data."
    )


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
    return Sequential(*_Builder().items(description, "", 0))


class _Builder:
    """Builds layers and counts them."""

    def __init__(self) -> None:
        self.count = 0

    def items(self, records: list[Any], where: str, depth: int) -> list[Any]:
        """Build the layers of a list; ``where`` is the number of the layer that holds it."""
        return [self.item(x, f"{where}{'.' if where else ''}{i}", depth) for i, x in enumerate(records, 1)]

    def item(self, record: Any, where: str, depth: int) -> Any:
        """Build one layer from its record."""
        self.count += 1
        if self.count > MOST_LAYERS:
            raise ArgumentError(f"layer {where}: a model of more than {MOST_LAYERS:,} layers is not read.")
        if not isinstance(record, dict) or not isinstance(record.get("layer"), str) or depth > DEEPEST:
            raise ArgumentError(
                f"layer {where}: expected a record such as {{'layer': 'relu'}}, got {_show(record)}."
                if depth <= DEEPEST
                else f"layer {where[:40]}…: layers within more than {DEEPEST} layers are not read."
            )
        name, rest = record["layer"], {key: value for key, value in record.items() if key != "layer"}
        if name in ACTIVATIONS:
            return _built(where, name, lambda: build_activation({"name": name, **rest}))
        cls = LAYERS.get(name)
        if cls is None and not rest and (function := find_function(name)) is not None:
            return function
        if cls is None:
            raise UnknownLayerError(
                f"layer {where}: there is no layer {name[:40]!r}. A layer or a function of one's own is registered "
                "with undertow.nn.register_layer before: import the module in which it is defined. Of Undertow are "
                f"{', '.join([*LAYERS, *ACTIVATIONS])}."
            )
        fields = {f.name: f for f in dataclasses.fields(cls)}
        if issubclass(cls, Container):
            needed = {"layers"}
        else:
            plain = [f for f in fields.values() if f.default is f.default_factory is dataclasses.MISSING]
            needed = {f.name for f in plain if f.init}
        if not needed <= set(rest) <= set(fields):
            found = _show(sorted(map(str, rest)))
            raise ArgumentError(f"layer {where}, {name[:40]}: expected {sorted(fields)}, got {found}.")
        values = {key: self.value(value, f"{where}, {name}.{key}", where, depth) for key, value in rest.items()}
        for key, value in values.items():
            _check_kind(fields[key].type, value, f"layer {where}, {name}.{key}")
        made = _built(where, name, lambda: cls(**values))
        if hasattr(made, "shapes") and (given := set(_built(where, name, made.shapes)) & set(rest)):
            raise ArgumentError(f"layer {where}, {name}: {min(given)} is a parameter, which no description holds.")
        return made

    def value(self, value: Any, what: str, where: str, depth: int) -> Any:
        """Read the value of a field: plain data, a layer, or a list of either."""
        if isinstance(value, dict):
            return self.item(value, where, depth + 1) if "layer" in value else _read_settings(value, what)
        if isinstance(value, list):
            if any(isinstance(x, dict) for x in value):
                return tuple(self.items(value, where, depth + 1))
            if len(value) > LONGEST or depth > DEEPEST:
                raise ArgumentError(f"layer {what}: a list of {len(value):,} entries is not read.")
            return tuple(self.value(x, what, where, depth + 1) for x in value)
        return _read_plain(value, what)


def _read_plain(value: Any, what: str) -> Any:
    """A number, a text, True, False or None of bounded size."""
    too_long = isinstance(value, str) and len(value) > LONGEST
    too_large = isinstance(value, int | float) and not abs(value) <= LARGEST
    if too_long or too_large or not (value is None or isinstance(value, bool | int | float | str)):
        raise ArgumentError(f"layer {what}: {_show(value)} is not a number or a text of the usual size.")
    return value


def _read_settings(value: dict[Any, Any], what: str) -> dict[str, Any]:
    """Settings of an initialiser."""
    if not isinstance(value.get("name"), str) or len(value) > LONGEST:
        raise ArgumentError(f"layer {what}: expected a record with 'layer' or 'name', got {_show(value)}.")
    return {str(key): _read_plain(x, what) for key, x in value.items()}


_KINDS: Final[dict[str, tuple[type, ...]]] = {
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "str": (str,),
}


def _check_kind(annotation: Any, value: Any, what: str) -> None:
    """ArgumentError where a field says what it is, and the value is something else."""
    name = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
    kinds = _KINDS.get(name)
    if kinds is None:
        if name.startswith("tuple[") and not isinstance(value, tuple):
            raise ArgumentError(f"{what}: {_show(value)} is no list.")
        return
    wrong = not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds)
    if wrong or (isinstance(value, float) and not math.isfinite(value)):
        raise ArgumentError(f"{what}: {_show(value)} is no {name}.")


def _built(where: str, name: str, make: Any) -> Any:
    """What a class or function makes; its errors become ours and say where."""
    try:
        return make()
    except UndertowError as error:
        raise type(error)(f"layer {where}, {error}") if type(error) is ArgumentError else error from None
    except Exception as error:
        raise ArgumentError(f"layer {where}, {name}: {type(error).__name__}: {str(error)[:200]}") from error


def _show(value: Any) -> str:
    """The beginning of what a file holds; a whole number of a million digits is not printed."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > LARGEST:
        return f"a whole number of {value.bit_length()} bits"
    if isinstance(value, list | tuple) and len(value) > 20:
        return f"a list of {len(value)}"
    if isinstance(value, dict | list):
        try:
            return str(value)[:80]
        except (ValueError, RecursionError):
            return type(value).__name__
    return repr(value)[:80]
