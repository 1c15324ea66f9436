"""A fit that stopped being finite: which layer it began in, and what to try."""

from __future__ import annotations

from typing import Any

import numpy as np

from undertow.nn import Sequential
from undertow.nn.layer import show_item
from undertow.train.diverged import Diverged


class FitDiverged(Diverged, ValueError):
    """The loss or a gradient stopped being finite while an estimator was fitted; a ValueError, as scikit-learn's is.

    Attributes:
        run: the run so far; its model is the last one whose parameters were all finite.
    """


def name_layer(model: Any, X: Any) -> str:
    """Say which layer is the first to give values that are not finite; an empty text where none does.

    Args:
        model: the model.
        X: inputs, (m, …).

    Returns:
        A sentence.

    Source: derived here.

    Example:
        >>> from undertow.nn import Dense
        >>> W = np.array([[1e308]])
        >>> name_layer(Sequential(Dense(1, 1, W=W, b=W[0]), "relu"), np.array([[9.0]]))
        'The first values that are not finite come out of layer 1, Dense(1, 1).'
    """
    if not isinstance(model, Sequential) or type(model) is not Sequential:
        return ""
    h = X
    with np.errstate(all="ignore"):
        for number, layer in enumerate(model.layers, 1):
            h = layer(h)
            if not np.isfinite(h).all():
                return f"The first values that are not finite come out of layer {number}, {show_item(layer)}."
    return ""
