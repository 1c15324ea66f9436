"""What of a model is trained, and what looks as if it were."""

from __future__ import annotations

import functools
import types
import warnings
from typing import Any, Final

import numpy as np

from undertow import trees
from undertow.errors import ArgumentError, DTypeError
from undertow.optim import name_leaves
from undertow.trace import is_array_like
from undertow.trace.where import frames_of_ours
from undertow.train.derive import number_paths, numbers_of, trained_numbers

_FUNCTIONS: Final = (
    types.FunctionType, types.BuiltinFunctionType, types.MethodType, functools.partial, np.ufunc, type,
)  # fmt: skip


def check_parameters(model: Any) -> None:
    """Refuse a model with nothing to train, or with whole numbers to train; warn of arrays that are no parameters.

    Args:
        model: an initialised model.

    Raises:
        ArgumentError: ``the model … has no parameters to train. …``
        ArgumentError: ``the model's seen is a deque, which cannot be trained. …``
        DTypeError: ``the model's W is int64: only floats are trained. …``

    Source: derived here.

    Example:
        >>> from undertow.nn import Dense, initialize
        >>> check_parameters(initialize(Dense(2, 1)))
    """
    leaves = trees.flatten(model)[0]
    numbers = numbers_of(leaves)
    hidden = [(leaf, names) for leaf in leaves if (names := _arrays_of(leaf))]
    told = " ".join(_tell_hidden(leaf, names) for leaf, names in hidden[:1])
    if not numbers:
        remedy = told or "Give it a layer such as Dense(4, 3)."
        raise ArgumentError(f"the model {model!r} has no parameters to train. {remedy}")
    if told:
        warnings.warn(told, UserWarning, stacklevel=frames_of_ours())
    paths = number_paths(model)
    for path, leaf in zip(name_leaves(model), leaves, strict=True):
        if not is_array_like(leaf) and not callable(leaf) and not isinstance(leaf, bool | complex):
            name = path.rpartition(".")[2].partition("[")[0]
            raise ArgumentError(
                f"the model's {path} is a {type(leaf).__name__}, which cannot be trained. Name it in the attribute "
                f'static of its class, static = ("{name}",), or hold it elsewhere.'
            )
    for i in trained_numbers(model):
        if isinstance(numbers[i], np.ndarray) and numbers[i].dtype.kind in "iub":
            raise DTypeError(
                f"the model's {paths[i]} is {numbers[i].dtype}: only floats are trained. Give floats, such as W * 1.0; "
                "a field that is to stay as it is, the class names in its attribute not_trained."
            )


def _arrays_of(leaf: Any) -> list[str]:
    """The attributes of an object that is no tree which hold floats, as those of a layer would."""
    if not callable(leaf) or isinstance(leaf, _FUNCTIONS):
        return []
    held = getattr(leaf, "__dict__", {})
    return [name for name, x in held.items() if isinstance(x, np.ndarray) and x.dtype.kind == "f"]


def _tell_hidden(leaf: Any, names: list[str]) -> str:
    kind, verb = type(leaf).__name__, "is" if len(names) == 1 else "are"
    fields = " and ".join(f"{name}: np.ndarray" for name in names)
    return (
        f"{' and '.join(names)} of {kind} {verb} not trained, since {kind} is no dataclass. Make it one, with "
        f"{fields}; its attribute not_trained names what is to stay as it is."
    )
