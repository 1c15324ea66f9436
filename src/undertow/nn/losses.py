"""Losses: plain NumPy functions of the model's output and the target; each averages over the batch.

Outputs of several columns are summed over the columns, then averaged over the m rows, so that the
gradient by the output is (1/m) times the textbook's. Where other libraries differ by a factor, the
docstring says which. Every loss takes ``weights=``, one for each example: the mean is then Σ w e / Σ w.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

from undertow.errors import ArgumentError, PairingWarning
from undertow.nn import classification_losses, focal_losses, regression_losses  # noqa: F401 (they fill LOSSES)
from undertow.nn.activations import identity
from undertow.nn.containers import Sequential
from undertow.nn.layers import Dense
from undertow.nn.loss_record import LOSSES as LOSSES
from undertow.nn.loss_record import Loss, find_record
from undertow.nn.structure import final_activation
from undertow.trace.where import frames_of_ours


def build_loss(record: Mapping[str, Any]) -> Loss:
    """Build the loss that a description tells of.

    Args:
        record: what ``loss.describe()`` returned; checked, because it may come from a file.

    Returns:
        The loss.

    Raises:
        ArgumentError: ``there is no loss 'mse'. …``, ``huber: delta is -1. Give a number above 0.``

    Source: derived here.

    Example:
        >>> build_loss({"name": "huber", "delta": 2.0}).settings
        {'delta': 2.0}
    """
    found = find_record(record) if isinstance(record, Mapping) else None
    if found is None:
        raise ArgumentError(f"a loss is described by a record such as {{'name': 'huber'}}, got {str(record)[:80]}.")
    return found


def find_loss(loss: str | Mapping[str, Any] | Loss | Callable[..., Any], model: Any) -> Loss:
    """Pair a loss with a model: a cross-entropy takes p if the model ends in softmax or sigmoid, else z.

    Args:
        loss: a name of ``LOSSES``, one of its functions, with or without settings (``huber(delta=2.0)``),
            a description (``{"name": "huber", "delta": 2.0}``), or a function (output, y) → one number.
        model: the model.

    Returns:
        The loss, with or without logits as the model's end asks for.

    Raises:
        ArgumentError: ``there is no loss 'mse'. …``; or a last activation that does not go with the loss.

    Warns:
        PairingWarning: the last activation is odd for the loss: a squared error after softmax.

    Source: Goodfellow et al., Deep Learning, 2016, section 6.2.2.

    Example:
        >>> from undertow.nn import Dense, Sequential
        >>> find_loss("categorical_cross_entropy", Sequential(Dense(4, 3))).name
        'categorical_cross_entropy_with_logits'
    """
    found = find_record(loss)
    if found is None:
        return Loss(getattr(loss, "__name__", type(loss).__name__), loss, "own")  # type: ignore[arg-type]
    end, wanted = final_activation(model), found.end
    if wanted is None:
        end = end or ("identity" if isinstance(_last_layer(model), Dense) else None)
        advice = found.advise(found.settings, end) if found.advise and end else None
        if advice:
            where = "no activation" if end == "identity" else end
            message = f"{found.name} with a model that ends in {where}: {advice}."
            warnings.warn(message, PairingWarning, stacklevel=frames_of_ours())
        return found
    if end not in (wanted, None, "identity"):
        raise ArgumentError(
            f"{found.name} needs a model that ends in {wanted} or in no activation, but it ends in {end}. "
            f"Remove the last {end}."
        )
    if found.logits and end == wanted:
        raise ArgumentError(
            f"{found.name} takes logits, but the model ends in {end}. Remove the {end}, or use "
            f"{found.name.removesuffix('_with_logits')!r}."
        )
    return found if end == wanted else found.on_logits()


def _last_layer(model: Any) -> Any:
    """The layer or function that a model ends in."""
    while type(model) is Sequential and model.layers:
        *_, model = [item for item in model.layers if item is not identity] or [None]
    return model
