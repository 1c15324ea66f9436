"""Names of options and attributes that are not there, and those that were meant."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Final

from undertow.errors import ArgumentError
from undertow.spelling import did_you_mean

_ELSEWHERE: Final = {
    "test_size": "validation",
    "validation_split": "validation",
    "validation_fraction": "validation",
    "random_state": "seed",
    "sample_weight": "weights",
    "weight": "weights",
    "label": "target",
    "y": "target",
    "group": "groups",
    "scale": "scaling",
    "scaler": "scaling",
    "normalize": "scaling",
    "min_frequency": "min_count",
    **dict.fromkeys(("na_values", "null_values", "missing_values", "nan_values"), "missing"),
}

ENCODERS: Final[dict[str, str]] = {
    **dict.fromkeys(("inverse_target", "inverse_transform", "decode_target"), "Use encoder.decode(outputs)."),
    "fit_transform": "Use fit, then transform.",
    "get_feature_names_out": "Use encoder.feature_names.",
    "feature_names_in_": "Use [column.name for column in encoder.columns].",
    "classes_": "Use encoder.classes.",
    "save": "It is saved with the run; by itself, json.dumps(encoder.to_json_dict()).",
    "transform_target": "Use encoder.encode_target(frame).",
}
"""Names looked for in the encoder of a table."""


def refuse_options(others: Mapping[str, Any], function: Callable[..., Any]) -> None:
    """ArgumentError for options that a function does not have.

    Args:
        others: what it was given beside its own options.
        function: the function.

    Raises:
        ArgumentError: ``encode_table has no option 'scalling'. Did you mean 'scaling'? There are target, …``

    Source: derived here.

    Example:
        >>> refuse_options({"rows": 3}, lambda table, seed=0, **others: None)
        Traceback (most recent call last):
        undertow.errors.ArgumentError: <lambda> has no option 'rows'. There are table, seed.
    """
    if not others:
        return
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    names = [name for name, x in inspect.signature(function).parameters.items() if x.kind in kinds]
    name = next(iter(others))
    usual = _ELSEWHERE.get(name)
    hint = f"Did you mean {usual!r}? " if usual in names else did_you_mean(name, names)
    raise ArgumentError(
        f"{function.__qualname__.removesuffix('.<locals>')} has no option {name!r}. {hint}There are {', '.join(names)}."
    )
