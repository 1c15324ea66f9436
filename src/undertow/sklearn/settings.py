"""The settings of an estimator, checked when it is fitted: scikit-learn's are, where they are its own."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

import numpy as np

from undertow.errors import ArgumentError
from undertow.optim import Clip

RATES: Final = ("constant", "invscaling", "adaptive")
MONITORS: Final = ("loss", "validation_loss", "validation_score")
TRUTHS: Final = ("shuffle", "warm_start", "nesterovs_momentum", "early_stopping", "residual", "flow")
# name, least, most, whether they are allowed themselves
NUMBERS: Final = (
    ("alpha", 0, math.inf, True, False), ("learning_rate_init", 0, math.inf, False, False),
    ("power_t", 0, math.inf, True, False), ("tol", 0, math.inf, True, False), ("momentum", 0, 1, True, True),
    ("validation_fraction", 0, 1, True, False), ("beta_1", 0, 1, True, False), ("beta_2", 0, 1, True, False),
    ("epsilon", 0, math.inf, False, False),
)  # fmt: skip
COUNTS: Final = ("max_iter", "max_fun", "n_iter_no_change", "batch_size", "n_threads")


def check_settings(estimator: Any) -> None:
    """Refuse settings that cannot be meant.

    Args:
        estimator: the estimator.

    Raises:
        ArgumentError: ``MLPClassifier: alpha must be 0 or more, got -1.``

    Source: derived here.

    Example:
        >>> from undertow.sklearn import MLPRegressor
        >>> check_settings(MLPRegressor())
    """
    who = type(estimator).__name__
    for name, least, most, least_too, most_too in NUMBERS:
        value = getattr(estimator, name)
        fits = _is_number(value) and least <= value <= most and (least_too or value > least)
        if not fits or (not most_too and value == most):
            rule = f"{least} or more" if least_too else f"above {least}"
            if most < math.inf:
                rule += f" and {'at most' if most_too else 'below'} {most}"
            raise ArgumentError(f"{who}: {name} must be {rule}, got {value!r}.")
    for name in COUNTS:
        value = getattr(estimator, name)
        if (name, value) in (("batch_size", "auto"), ("n_threads", None), ("n_iter_no_change", math.inf)):
            continue
        if not _is_number(value) or value != int(value) or value < 1:
            raise ArgumentError(f"{who}: {name} must be a whole number of 1 or more, got {value!r}.")
    for name in TRUTHS:
        if not isinstance(getattr(estimator, name), bool | np.bool_ | int):
            raise ArgumentError(f"{who}: {name} must be True or False, got {getattr(estimator, name)!r}.")
    if estimator.learning_rate not in RATES:
        raise ArgumentError(f"{who}: there is no learning_rate {estimator.learning_rate!r}. Use {', '.join(RATES)}.")
    if estimator.clip is not None and not isinstance(estimator.clip, Clip):
        raise ArgumentError(
            f"{who}: clip is {estimator.clip!r}. Give a rule such as undertow.optim.clip_by_global_norm(1.0)."
        )
    _check_loss(estimator, who)
    _check_monitor(estimator, who)


def _check_loss(estimator: Any, who: str) -> None:
    """Refuse widths where the loss stands: scikit-learn's regressor before 1.7 had hidden_layer_sizes first."""
    loss = estimator.loss
    if _is_number(loss) or (isinstance(loss, list | tuple | np.ndarray) and all(_is_number(x) for x in loss)):
        raise ArgumentError(f"{who}: {loss!r} is no loss. If these are widths, write hidden_layer_sizes={loss!r}.")


def _check_monitor(estimator: Any, who: str) -> None:
    monitor = estimator.monitor
    if monitor is not None and monitor not in MONITORS:
        raise ArgumentError(f"{who}: monitor is {monitor!r}. Use one of {', '.join(MONITORS)}, or None.")
    if monitor not in (None, "loss") and not estimator.early_stopping:
        raise ArgumentError(f"{who}: monitor is {monitor!r}, but nothing is held out. Set early_stopping=True too.")
    if monitor == "loss" and estimator.early_stopping:
        raise ArgumentError(f"{who}: early_stopping watches what is held out, not the loss. Leave monitor out.")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool | np.bool_)


def read_widths(estimator: Any) -> list[int]:
    """Read the widths of the hidden layers, from ``layers`` or ``hidden_layer_sizes``.

    Args:
        estimator: the estimator.

    Returns:
        The widths.

    Raises:
        ArgumentError: ``hidden_layer_sizes must be > 0, got [0].``

    Source: derived here.

    Example:
        >>> from undertow.sklearn import MLPRegressor
        >>> read_widths(MLPRegressor(hidden_layer_sizes=5)), read_widths(MLPRegressor(layers=[8, 4]))
        ([5], [8, 4])
    """
    name = "hidden_layer_sizes" if estimator.layers is None else "layers"
    given = getattr(estimator, name)
    widths = list(given) if isinstance(given, Iterable) and not isinstance(given, str) else [given]
    if not all(_is_number(width) and width == int(width) and width > 0 for width in widths):
        raise ArgumentError(f"{name} must be > 0, got {widths}. Give a whole number a hidden layer, such as [100].")
    return [int(width) for width in widths]


def spread(name: str, value: Any, n: int) -> list[Any]:
    """Give each hidden layer its own setting: one value for all of them, or a list of one each.

    Args:
        name: of the setting.
        value: what was given.
        n: how many hidden layers there are.

    Returns:
        A list of n.

    Raises:
        ArgumentError: ``activation has 2 entries, but there are 3 hidden layers. Give one for each, or one for all.``

    Source: derived here.

    Example:
        >>> spread("dropout", 0.5, 2)
        [0.5, 0.5]
    """
    if not isinstance(value, list | tuple):
        return [value] * n
    if len(value) != n:
        raise ArgumentError(
            f"{name} has {len(value)} entries, but there are {n} hidden layers. Give one for each, or one for all."
        )
    return list(value)


def check_class_weight(given: Any, classes: Any) -> None:
    """Refuse weights of classes that are not there, in words that name those that are.

    Args:
        given: the estimator's ``class_weight``, not None.
        classes: the classes, an array.

    Raises:
        ArgumentError: ``class_weight is 'balance'. Give 'balanced', or a dict of a weight for each class.``

    Source: derived here.

    Example:
        >>> check_class_weight({"no": 1, "yes": 5}, np.array(["no", "yes"]))
    """
    known = classes.tolist()
    if isinstance(given, str) and given != "balanced":
        raise ArgumentError(f"class_weight is {given!r}. Give 'balanced', or a dict of a weight for each class.")
    unknown = [key for key in given if key not in known] if isinstance(given, Mapping) else []
    if unknown:
        named = ", ".join(map(repr, known[:8])) + (", …" if len(known) > 8 else "")
        raise ArgumentError(f"class_weight has a weight for {unknown[0]!r}, but the classes are {named}. Name these.")
