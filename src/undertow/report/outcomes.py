"""How predictions compare with their targets, as data: a confusion matrix, or residuals."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from undertow.data import TabularEncoder
from undertow.errors import ArgumentError, UndertowError
from undertow.report.curves import plain_number, plain_numbers
from undertow.train import Run
from undertow.train.metric import Predictions

Array = NDArray[Any]
CLASSES_AT_MOST: Final = 60
POINTS_AT_MOST: Final = 1500
OUTPUTS_AT_MOST: Final = 4
CONFUSIONS_AT_MOST: Final = 10


def outcome_data(run: Run, X: ArrayLike, y: ArrayLike) -> dict[str, Any]:
    """Compare a run's predictions with their targets.

    Args:
        run: the run.
        X: inputs, (m, …).
        y: targets, (m,) or (m, K), as `Run.predictions` takes them.

    Returns:
        Plain data: of classes ``kind`` ``"classes"``, the confusion matrix and the commonest confusions; of several
        labels each ``"labels"`` and counts for each; of numbers ``"numbers"``, targets and predictions; ``"none"``
        and why where there is nothing to compare.

    Raises:
        DataError, ShapeError: X and y are not what the model takes.

    Source: derived here.
    """
    try:
        found = run.predictions(X, y)
    except ArgumentError as error:
        return {"kind": "none", "why": str(error)}
    return paired_data(run, found)


def paired_data(run: Run, found: Predictions) -> dict[str, Any]:
    """Compare predictions that are there already with their targets; see `outcome_data`.

    Args:
        run: the run.
        found: outputs paired with targets.

    Returns:
        As `outcome_data`.

    Source: derived here.
    """
    encoder = _read_encoder(run)
    if found.task in ("categorical", "binary"):
        return _classes(found, encoder)
    if found.task == "multilabel":
        return _labels(found)
    if found.task == "regression":
        return _numbers(found, encoder)
    return {"kind": "none", "why": "The loss is one of your own, so it is not known what the targets are."}


def _read_encoder(run: Run) -> TabularEncoder | None:
    """The encoder of the table that the run was trained on, if there is one."""
    record = run.extras.get("encoder")
    try:
        return TabularEncoder.from_json_dict(record) if record else None
    except UndertowError:
        return None


def _classes(found: Predictions, encoder: TabularEncoder | None) -> dict[str, Any]:
    """The confusion matrix."""
    y, p = np.ravel(found.target_labels), np.ravel(np.asarray(found.labels))
    n_classes = int(max(y.max(initial=0), p.max(initial=0))) + 1
    if found.probabilities is not None:
        n_classes = max(n_classes, found.probabilities.shape[1] if found.probabilities.ndim == 2 else 2)
    names = [str(label) for label in encoder.classes] if encoder is not None else []
    names = names if len(names) >= n_classes else [str(k) for k in range(n_classes)]
    counts = np.zeros((n_classes, n_classes), np.int64)
    np.add.at(counts, (y, p), 1)
    wrong = counts - np.diag(np.diag(counts))
    order = np.argsort(-wrong, axis=None, kind="stable")[:CONFUSIONS_AT_MOST]
    places = [np.unravel_index(i, wrong.shape) for i in order.tolist()]
    return {
        "kind": "classes",
        "n": len(y),
        "right": int(np.trace(counts)),
        "n_classes": n_classes,
        "labels": names[:n_classes],
        "matrix": counts.tolist() if n_classes <= CLASSES_AT_MOST else None,
        "confusions": [
            {"true": names[i], "predicted": names[j], "n": int(wrong[i, j])} for i, j in places if wrong[i, j]
        ],
    }


def _labels(found: Predictions) -> dict[str, Any]:
    """Of several labels each: how often each was found, missed, and seen where it was not."""
    y, p = found.target_labels.astype(bool), np.asarray(found.labels).astype(bool)
    counts = {"right": y & p, "missed": y & ~p, "wrong": ~y & p, "neither": ~y & ~p}
    return {
        "kind": "labels",
        "n": len(y),
        "rows": [
            {"label": str(k), **{name: int(hits[:, k].sum()) for name, hits in counts.items()}}
            for k in range(y.shape[1])
        ],
    }


def _numbers(found: Predictions, encoder: TabularEncoder | None) -> dict[str, Any]:
    """Targets and predictions of a regression, in the target's own unit where that is known."""
    y, p = np.asarray(found.targets, np.float64), np.asarray(found.values, np.float64)
    y, p = y.reshape(len(y), -1), p.reshape(len(p), -1)
    name = "y"
    if encoder is not None and y.shape[1] == 1:
        y, p = (np.asarray(encoder.decode(x), np.float64)[:, None] for x in (y, p))
        name = encoder.target.name
    names = [name] if y.shape[1] == 1 else [f"{name}[{k}]" for k in range(y.shape[1])]
    return {
        "kind": "numbers",
        "n": len(y),
        "n_outputs": len(names),
        "outputs": [_output(names[k], y[:, k], p[:, k]) for k in range(min(len(names), OUTPUTS_AT_MOST))],
    }


@np.errstate(over="ignore", invalid="ignore")  # squares of the largest numbers
def _output(name: str, y: Array, p: Array) -> dict[str, Any]:
    """One output of a regression: its errors in all, and up to 1500 of its points."""
    known = np.isfinite(y) & np.isfinite(p)
    n_broken, y, p = int((~known).sum()), y[known], p[known]
    residual, spread = p - y, float(np.var(y)) if len(y) else math.nan
    at = np.unique(np.linspace(0, max(len(y) - 1, 0), min(len(y), POINTS_AT_MOST)).astype(int))
    squared = float(np.mean(residual**2)) if len(y) else math.nan
    quantiles = np.quantile(residual, [0, 0.05, 0.25, 0.5, 0.75, 0.95, 1]) if len(y) else []
    return {
        "name": name,
        "n_broken": n_broken,
        "rmse": plain_number(math.sqrt(squared)),
        "mae": plain_number(float(np.mean(np.abs(residual))) if len(y) else math.nan),
        "bias": plain_number(float(np.mean(residual)) if len(y) else math.nan),
        "r2": plain_number(1 - squared / spread if spread else math.nan),
        "quantiles": plain_numbers(quantiles),
        "target": plain_numbers(y[at]),
        "predicted": plain_numbers(p[at]),
    }
