"""What can be described as plain data, and so be saved: the layers of this package, and what is registered.

A function of one's own is saved by its name. It is found again where it is registered, or stands in the script or the
notebook that loads; no module is imported because a file names it.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from types import FunctionType, MethodType
from typing import Any, Final, TypeVar

from undertow.errors import ArgumentError
from undertow.keywords import explain_keywords
from undertow.nn.activations import ACTIVATIONS

C = TypeVar("C", bound=Callable[..., Any])

LAYERS: Final[dict[str, type]] = {}
FUNCTIONS: Final[dict[str, Callable[..., Any]]] = {}  # of the user's own


def register_layer(cls: C) -> C:
    """Let models with a layer of one's own be saved and loaded, wherever this was called before; a decorator.

    Files then hold the layer's fields: plain data, layers and activations by name, arrays as parameters; of a function
    its name.

    Args:
        cls: a dataclass with ``__call__``; where it has parameters, with ``shapes()`` that tells their shapes. Or a
            function of one array, such as an activation, with a name of its own: no lambda.

    Returns:
        The class or function itself.

    Raises:
        ArgumentError: ``register_layer: Gate is no dataclass. …``, a lambda, or another layer has that name.

    Source: derived here.

    Example:
        >>> @register_layer
        ... @dataclasses.dataclass
        ... class Halved:
        ...     def __call__(self, x):
        ...         return x / 2
        >>> LAYERS["Halved"] is Halved
        True
        >>> @register_layer
        ... def softsigned(z):
        ...     return z / (1 + abs(z))
        >>> FUNCTIONS["softsigned"] is softsigned
        True
    """
    if callable(cls) and not isinstance(cls, type) and not dataclasses.is_dataclass(cls):
        name = name_of(cls)
        if name is None:
            raise ArgumentError(
                f"register_layer: {getattr(cls, '__name__', cls)!s:.80} has no name by which it could be found. Write "
                "it as def name(x): …"
            )
        _check_free(name, cls, "function")
        FUNCTIONS[name] = cls
    else:
        _register_class(cls)
    return cls


def _register_class(given: Any) -> None:
    cls: Any = given
    name = getattr(cls, "__name__", repr(cls))
    called = isinstance(cls, type) and any("__call__" in base.__dict__ for base in cls.__mro__)
    if not called or not dataclasses.is_dataclass(given):
        raise ArgumentError(f"register_layer: {name} is no dataclass with __call__. Write @dataclass above the class.")
    if hasattr(cls, "initial") and not hasattr(cls, "shapes"):
        raise ArgumentError(
            f"register_layer: {name} has initial but no shapes. Add shapes(), which returns the shapes of its "
            "parameters by their names, so that a file can be checked before it is believed."
        )
    _check_free(name, cls, "class")
    if cls.__module__.startswith("undertow."):
        cls.__init__ = explain_keywords(cls.__init__)
    LAYERS[name] = cls  # the same class again: a notebook's cell was run twice


def _check_free(name: str, item: Any, what: str) -> None:
    """ArgumentError where another layer or function has a name already."""
    before = FUNCTIONS.get(name, LAYERS.get(name))
    if name in ACTIVATIONS or (before is not None and not is_same(before, item)):
        raise ArgumentError(f"register_layer: there is a layer {name} already. Give the {what} another name.")


def is_same(a: Any, b: Any) -> bool:
    """Whether two functions or classes are defined at one place, as where a notebook's cell was run twice."""
    return a is b or all(getattr(a, x, a) == getattr(b, x, b) for x in ("__module__", "__qualname__"))


def stands_for(found: Any, function: Any) -> bool:
    """Tell whether a function computes what another one does, in whose place it would be loaded.

    Args:
        found: what has the name.
        function: what is to be saved by it.

    Returns:
        True for one function, and for two of one place with the same code and the same numbers around it: what a
        notebook's cell makes that was run twice. False where the cell was changed in between, where one function makes
        several, each with a number of its own, and for methods of two objects.

    Source: derived here.

    Example:
        >>> def times(factor):
        ...     return lambda x: factor * x
        >>> stands_for(times(2.0), times(2.0)), stands_for(times(2.0), times(3.0))
        (True, False)
    """
    if found is function or (isinstance(found, MethodType) and found == function):
        return True
    if not (isinstance(found, FunctionType) and isinstance(function, FunctionType) and is_same(found, function)):
        return False
    (code, values), (other, its_values) = map(_contents, (found, function))
    return bool(code == other and len(values) == len(its_values) and all(map(_equal, values, its_values)))


def _contents(function: FunctionType) -> tuple[Any, list[Any]]:
    """The code of a function, wherever in its cell it begins, and the values that it holds."""
    around = [cell.cell_contents for cell in function.__closure__ or ()]
    named = [x for pair in sorted((function.__kwdefaults__ or {}).items()) for x in pair]
    return function.__code__.replace(co_firstlineno=1), [*around, *(function.__defaults__ or ()), *named]


def _equal(a: Any, b: Any) -> bool:
    """Whether two values are one, or the same plain one."""
    return a is b or (type(a) is type(b) and isinstance(a, bool | int | float | str) and bool(a == b))


def name_of(function: Any) -> str | None:
    """The name of a function, by which a file can tell of it; None for a lambda, and what has none."""
    name = getattr(function, "__name__", None)
    return name if isinstance(name, str) and name.isidentifier() else None


def find_function(name: str) -> Callable[..., Any] | None:
    """Find a function of the user's own by its name.

    Args:
        name: from a model's description, perhaps of a file.

    Returns:
        The one that is registered, or stands at the top of the script or the notebook that runs; else None.

    Source: derived here.

    Example:
        >>> find_function("system") is None
        True
    """
    if name in FUNCTIONS:
        return FUNCTIONS[name]
    found = vars(sys.modules["__main__"]).get(name)
    own = isinstance(found, FunctionType) and (found.__module__, found.__qualname__) == ("__main__", name)
    return found if own else None
