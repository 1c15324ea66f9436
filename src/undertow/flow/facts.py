"""Facts about data and task that are measured once, before the first step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from undertow.flow.activations import last_function
from undertow.flow.alike import find_alike
from undertow.flow.company import find_mixing
from undertow.flow.constant import ROWS as ROWS_OF_CONSTANT
from undertow.flow.constant import is_mean, loss_of_constant
from undertow.flow.copies import ROWS, measure_copies
from undertow.flow.ends import activation_before, are_shares, read_loss, squashed_by, squashed_twice
from undertow.flow.layers import walk
from undertow.flow.linear import fit_linear
from undertow.flow.program import softmax_over_examples
from undertow.flow.telling import find_telling
from undertow.nn.layer import show_item
from undertow.nn.structure import final_activation
from undertow.train.task import Task

Array = NDArray[Any]
LOOKED_AT: Final = 512  # rows of which outputs are looked at
LARGEST: Final = 2_000_000  # numbers in them
N_KEPT: Final = 6  # examples that are kept, for the page that walks through a backward pass
RARE: Final = 0.02  # share of rows that differ, in a column that hardly ever does
LARGEST_KEPT: Final = 10_000  # numbers in them
FAR: Final = 15.0  # middle distances from the median
TINY: Final = np.finfo(np.float64).tiny  # of a count of 0 the logarithm counts for nothing
N_LABELS: Final = 1000  # classes whose counts are kept


def measure_facts(
    model: Any,
    task: Task,
    train: tuple[Array, Array],
    held: tuple[Array, Array] | None,
    features: Sequence[Sequence[str]] | None = None,
    batch_size: int | None = None,
) -> dict[str, Any]:
    """Measure what can be wrong with data and task before any training.

    Args:
        model: with its parameters.
        task: the loss, paired with it.
        train: X (m, …) and y as the loss takes it.
        held: the same of the validation part, or None.
        features: for each column of X its name, and the column of the table that it was made of; None without a table.
        batch_size: examples in a step; None where it is not known.

    Returns:
        Plain data: ``n_examples``, ``n_validation``, ``n_features``, ``columns``, ``target``, ``telling``, ``linear``,
        ``output``, ``shared_rows``, ``repeated_rows``, ``shared_by_chance``, ``normalised_by_batch``, ``example``;
        docs/flow.md tells of each.

    Source: derived here.
    """
    X, y = _some_rows(*train)
    flat = np.asarray(X).reshape(len(X), -1)
    facts: dict[str, Any] = {
        "n_examples": len(train[0]),
        "n_validation": 0 if held is None else len(held[0]),
        "n_features": flat.shape[1],
        "columns": measure_columns(flat, train[0]) if flat.dtype.kind == "f" and len(flat) > 1 else {},
        "target": _target(task, y),
        "normalised_by_batch": [path for path, item in walk(model) if type(item).__name__ == "BatchNorm"],
        **measure_copies(train, held),
    }
    if np.shape(X) == np.shape(y) and np.array_equal(X, y):
        facts["target"]["is_input"] = True
    first = train[0][:N_KEPT], train[1][:N_KEPT]
    if first[0].size <= LARGEST_KEPT:
        facts["example"] = {"X": first[0].tolist(), "y": first[1].tolist(), "dtype": str(first[1].dtype)}
    mixes = find_mixing(model, X)
    facts |= {"mixes": mixes} if mixes else {}
    facts["telling"] = find_telling(X, y, facts["target"]["kind"], features)
    with np.errstate(all="ignore"):
        facts["linear"] = fit_linear(np.asarray(X), y, facts["target"]["kind"])
    facts["output"] = _output(model, task, X, y, facts["target"], batch_size)
    if task.loss.task == "own":
        target = task.encode(y[:LOOKED_AT])
        graph = read_loss(task.loss, np.asarray(model(X[:LOOKED_AT])), target)
        if graph is not None:
            output, *given = graph.inputs
            over = softmax_over_examples(graph, [output], [(x, target) for x in given])
            told = {"twice": squashed_twice(graph), "over_examples": over}
            facts |= {name: found for name, found in told.items() if found}
    return facts


def _some_rows(X: Array, y: Array) -> tuple[Array, Array]:
    """Rows from all over the data, which may be sorted: 20,000, or fewer where they are long."""
    most = min(ROWS, max(LARGEST // max(X[:1].size, 1), 200))
    if len(X) <= most:
        return X, y
    rows = np.sort(np.random.default_rng(0).choice(len(X), most, replace=False, shuffle=False))
    return X[rows], y[rows]


def measure_columns(X: Array, whole: Array) -> dict[str, Any]:
    """Measure how the columns of the inputs are scaled.

    Args:
        X: rows of them, (m, n), floating.
        whole: all rows; a column is constant if it is in all of these.

    Returns:
        Plain data, ``facts["columns"]`` of docs/flow.md.

    Source: derived here.

    Example:
        >>> found = measure_columns(np.array([[0.0, 1.0], [3000.0, 1.0]]), np.array([[0.0, 1.0], [3000.0, 1.0]]))
        >>> found["std_range"], found["constant"]
        ([1500.0, 1500.0], [1])
    """
    with np.errstate(all="ignore"):
        X = X.astype(np.float64)
        mean, std, largest = X.mean(axis=0), X.std(axis=0), np.abs(X).max(axis=0)
    constant = np.flatnonzero(std <= 1e-7 * np.maximum(largest, 1e-30))
    portion = max(LARGEST // max(X.shape[1], 1), 1)
    for begin in range(0, len(whole) if len(whole) > len(X) else 0, portion):
        part = whole[begin : begin + portion].reshape(-1, X.shape[1])[:, constant]
        constant = constant[(np.abs(part - X[0, constant]) <= 1e-6 * np.abs(X[0, constant])).all(axis=0)]
    varied = np.setdiff1d(np.arange(X.shape[1]), constant)
    rare = 0
    if len(constant):  # the middle number of a column is its commonest one, where nearly all rows have that
        rare = int((np.mean(X[:, varied] != np.median(X[:, varied], axis=0), axis=0) <= RARE).sum())
    found: dict[str, Any] = {
        "constant": constant[:200].tolist(), "n_constant": len(constant),
        "n_rare": rare, "constant_values": X[0, constant[:200]].tolist() if len(X) else [],
        "range": [float(X.min(initial=np.inf)), float(X.max(initial=-np.inf))],
        "largest": float(largest.max(initial=0.0)), "worst": int(np.argmax(largest)) if X.shape[1] else 0,
        "rms": float(np.sqrt(np.mean(np.square(X)))),
    }  # fmt: skip
    if len(varied):
        seen = varied[std[varied] > 0]  # others vary in rows alone that are not among these
        found |= {
            "mean_range": [float(mean[varied].min()), float(mean[varied].max())],
            "std_range": [float(std[varied].min()), float(std[varied].max())],
            "std_median": float(np.median(std[varied])),
            "mean_by_std": float(np.median(np.abs(mean[seen] / std[seen]))) if len(seen) else 0.0,
        }  # fmt: skip
    return found


def _target(task: Task, y: Array) -> dict[str, Any]:
    """What the targets are: classes and how often each comes, or numbers and their scale."""
    kind = task.loss.task
    certain = kind == "binary" and np.size(y) == len(y) and bool(np.isin(y, (-1, 0, 1)).all())  # no shares
    if kind == "categorical" or certain:
        labels = np.argmax(y, axis=1) if np.ndim(y) == 2 and kind == "categorical" else np.ravel(y).astype(np.int64)
        n_classes = task.output_shape[0] if kind == "categorical" and task.output_shape else 2
        counts = np.bincount(np.clip(labels, 0, n_classes - 1), minlength=n_classes)
        return {
            "kind": "classes", "n_classes": int(n_classes), "counts": counts[:N_LABELS].tolist(),
            "priors": (counts[:N_LABELS] / max(len(labels), 1)).tolist(),
        }  # fmt: skip
    if np.asarray(y).dtype.kind not in "fiu":
        return {"kind": "other"}
    return {"kind": "number" if kind == "regression" else "other", **measure_numbers(y)}


def measure_numbers(y: Array) -> dict[str, Any]:
    """Measure numbers to predict.

    Args:
        y: (m, …).

    Returns:
        ``mean`` and ``std`` of each column, the ``largest`` magnitude, the ``least`` and ``most``, and ``far`` where
        some lie far from all others, as in ``facts["target"]`` of docs/flow.md.

    Source: derived here.

    Example:
        >>> found = measure_numbers(np.array([1.0, 3.0]))
        >>> found["mean"], found["std"], found["most"]
        ([2.0], [1.0], 3.0)
    """
    values = np.asarray(y, np.float64).reshape(len(y), -1)
    return {
        "mean": values.mean(axis=0)[:50].tolist(), "std": values.std(axis=0)[:50].tolist(),
        "largest": float(np.abs(values).max(initial=0.0)), "least": float(values.min(initial=np.inf)),
        "most": float(values.max(initial=-np.inf)), **_far(values),
    }  # fmt: skip


def _far(values: Array) -> dict[str, Any]:
    """How many numbers lie far from the others of their column, and which share of the squares they are of.

    Far is what the middle distance from the median tells: 15 of it, 10 deviations of normal numbers. Of columns the one
    is told in which they are most of the squares.

    Source: Hampel, The influence curve and its role in robust estimation, JASA 69, 1974, section 4.
    """
    distance = np.abs(values - np.median(values, axis=0)) if len(values) else values
    middle = np.median(distance, axis=0) if len(values) else np.zeros(0)
    far = (distance > FAR * middle) & (middle > 0)
    with np.errstate(all="ignore"):
        squares = distance**2
        shares = np.nan_to_num(np.sum(squares * far, axis=0) / squares.sum(axis=0))
    if not far.any():
        return {}
    worst = int(np.argmax(shares))
    rows = int(far[:, worst].sum())
    return {"far": {"rows": rows, "part": rows / len(values), "share": float(shares[worst])}}


def _output(
    model: Any, task: Task, X: Array, y: Array, target: dict[str, Any], batch_size: int | None
) -> dict[str, Any]:
    """The loss before training, beside that of the best constant output."""
    loss = task.loss
    end = final_activation(model)
    found: dict[str, Any] = {
        "activation": end, "loss": loss.name, "logits": loss.logits, "task": loss.task, "model": show_item(model)[:200],
        "expected_loss": None, "uniform_loss": None, "initial_loss": None, "before": activation_before(model),
        "end_function": last_function(model) if end is None else None,
    }  # fmt: skip
    rows = slice(0, LOOKED_AT)
    with np.errstate(all="ignore"):
        outputs = np.asarray(model(X[rows]))
        found["output_rms"] = float(np.sqrt(np.mean(np.square(outputs, dtype=np.float64))))
        found["output_mean"], found["output_std"] = float(np.mean(outputs)), float(np.std(outputs))
        found["shares"] = are_shares(outputs)
        if loss.task == "own":
            found["squashed_by"] = squashed_by(loss, outputs, task.encode(y[rows]))
            found["alike"] = find_alike(loss, outputs, task.encode(y[rows]))
        else:
            known = None if loss.end is not None and not loss.logits else (lambda model, X: outputs)
            found["initial_loss"] = task.evaluate(model, [(X[rows], y[rows], None)], (), known)["loss"]
    cross_entropy = "cross_entropy" in loss.name and not loss.settings
    if target["kind"] == "classes" and cross_entropy:
        priors = np.array(target["priors"])
        found["uniform_loss"] = math.log(len(priors))
        found["expected_loss"] = float(-np.sum(priors[priors > 0] * np.log(priors[priors > 0])))
    elif target["kind"] == "number" and loss.name in ("mean_squared_error", "half_squared_error"):
        variance = float(np.asarray(y, np.float64).reshape(len(y), -1).var(axis=0).sum())  # the loss sums over columns
        found["expected_loss"] = variance if loss.name == "mean_squared_error" else variance / 2
    else:
        found |= _constant(task, outputs, y, end, batch_size)
    return found


def _constant(task: Task, outputs: Array, y: Array, end: str | None, batch_size: int | None) -> dict[str, Any]:
    """The loss of the best constant output, for losses without a formula for it; whether the loss is a mean."""
    loss, shape = task.loss, outputs.shape[1:]
    rows = slice(0, ROWS_OF_CONSTANT)
    found: dict[str, Any] = {}
    if loss.task == "own":
        found["is_mean"] = is_mean(loss, outputs, task.encode(y[: len(outputs)]))
        if not found["is_mean"]:  # it is of another size on another number of rows
            rows = slice(0, min(batch_size or len(y), len(y)))
    elif loss.name == "poisson":
        found["counts"] = _of_counts(np.asarray(y, np.float64).reshape(len(y), -1))
    elif loss.end is not None and not loss.logits:
        loss, end = loss.on_logits(), None
    found["expected_loss"] = loss_of_constant(loss, end, task.encode(y[rows]), shape)
    return found


def _of_counts(y: Array) -> dict[str, float]:
    """The loss of the best constant rate, and that of a rate which is each count: the least, which may be below 0.

    Source: McCullagh and Nelder, Generalized linear models, 1989, section 6.2 (the deviance is twice what is between).
    """
    rates = {"constant": y.mean(axis=0), "least": y}
    losses = {name: rate - y * np.log(np.maximum(rate, TINY)) for name, rate in rates.items()}
    return {name: float(loss.mean(axis=0).sum()) for name, loss in losses.items()}
