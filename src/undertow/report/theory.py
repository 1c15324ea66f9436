"""What mean-field theory expects of a network before it is trained, for the profile over depth."""

from __future__ import annotations

import math
from importlib import import_module
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from undertow.errors import UndertowError
from undertow.nn import build_model, describe_model
from undertow.report.curves import plain_number
from undertow.report.recorded import Recorded

ROWS: Final = 64
LAYERS_AT_MOST: Final = 150  # theory takes some 10 ms a layer


def theory_data(found: Recorded, X: ArrayLike | None = None) -> dict[str, list[Any]] | None:
    """Say how delta is expected to run over depth at initialisation.

    Args:
        found: what there is of the training.
        X: examples; None for normal numbers of the size of the training data.

    Returns:
        ``delta``: for each layer of the record its root mean square by that of the last, or None; None where there is
        no model, no theory for it, or no module that knows.

    Source: derived here.

    Example:
        >>> theory_data(Recorded()) is None
        True
    """
    if found.run is None or found.flow is None or len(found.flow.layers) > LAYERS_AT_MOST:
        return None
    try:
        forecast = import_module("undertow.flow.forecast").forecast
    except ModuleNotFoundError:
        return None
    try:
        fresh = build_model(describe_model(found.run.model))
        rows = _draw(found) if X is None else np.asarray(X)[:ROWS]
        layers = forecast(fresh, rows, seed=int(found.settings.get("seed") or 0)).layers
    except (UndertowError, TypeError, ValueError):  # a model of one's own, which cannot be described or traced
        return None
    expected = {row.layer.path: row.delta.predicted for row in layers}
    values = [expected.get(layer.path, math.nan) for layer in found.flow.layers]
    usable = [math.isfinite(value) and value > 0 for value in values]
    if not any(usable):
        return None
    return {"delta": [plain_number(v) if use else None for v, use in zip(values, usable, strict=True)]}


def _draw(found: Recorded) -> NDArray[Any]:
    """Normal numbers in place of inputs."""
    shape = found.settings.get("example_shape")
    facts = found.flow.facts if found.flow is not None else {}
    size = facts.get("columns", {}).get("rms", 1.0)
    if not shape:
        raise ValueError("the shape of an example is not known")
    size = size if isinstance(size, float) and math.isfinite(size) and size > 0 else 1.0
    return size * np.random.default_rng(0).standard_normal((ROWS, *shape))
