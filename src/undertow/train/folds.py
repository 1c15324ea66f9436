"""Cross-validation: a model trained k times, each time measured on examples that it has never met."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from undertow.data import k_folds, split_groups
from undertow.data.batches import read_whole
from undertow.data.header import Header
from undertow.errors import ArgumentError, ShapeError
from undertow.nn import find_loss
from undertow.train.few import LEFT_OUT_ONCE, warn_of_single
from undertow.train.plan import make_plan
from undertow.train.run import Run
from undertow.train.setup import check_model, read_examples, read_source
from undertow.train.table_folds import is_table, read_folds
from undertow.train.trainer import Trainer

Array = NDArray[Any]
HELD_FOR_STOPPING = 0.1  # of a training part, where early stopping is wanted and nothing is held out for it


@dataclass(frozen=True, eq=False, repr=False)
class CrossValidation:
    """What `cross_validate` found.

    Attributes:
        runs: the run of each fold.
        parts: of each fold the indices of the examples trained on, and of those held out.
        scores: the loss and each metric by name, (folds,) float64, on the examples held out.
        predictions: of each example, by the run that did not see it: labels or values, (m, …).
        probabilities: the same as probabilities of the classes, (m, K), or of class 1; None where there are none.
    """

    runs: list[Run]
    parts: list[tuple[NDArray[np.int64], NDArray[np.int64]]]
    scores: dict[str, NDArray[np.float64]]
    predictions: Array
    probabilities: Array | None

    @property
    def mean(self) -> dict[str, float]:
        """The mean of each score over the folds."""
        return {name: float(np.mean(values)) for name, values in self.scores.items()}

    @property
    def deviation(self) -> dict[str, float]:
        """The standard deviation of each score over the folds, with k − 1."""
        return {name: float(np.std(values, ddof=1)) for name, values in self.scores.items()}

    def frame(self) -> Any:
        """Return the scores as a polars frame, a row a fold."""
        import polars as pl

        return pl.DataFrame({"fold": range(1, len(self.runs) + 1), **self.scores})

    def __repr__(self) -> str:
        lines = [f"{len(self.runs)} folds of {len(self.predictions)} examples, mean ± deviation over the folds"]
        width = max(map(len, self.scores))
        for name, values in self.scores.items():
            folds = " ".join(f"{value:.4g}" for value in values)
            lines.append(f"  {name:<{width}}  {self.mean[name]:.4g} ± {self.deviation[name]:.2g}  ({folds})")
        return "\n".join(lines)


def cross_validate(
    model: Any,
    data: Any,
    *,
    folds: int = 5,
    groups: ArrayLike | str | None = None,
    target: str | None = None,
    weights: str | None = None,
    encode: Mapping[str, Any] | None = None,
    header: Header = True,
    prepare: Callable[[Array], Callable[[Array], Array]] | None = None,
    validation: float | None = None,
    seed: int = 0,
    **settings: Any,
) -> CrossValidation:
    """Train a model once for each fold, and measure it on the part held out.

    The part held out takes no part in training: early stopping looks at a share of the training part instead.
    Classes have their shares in every fold, unless ``groups`` decides.

    Args:
        model: see `train`; each fold begins with it as it is given, so give one that was not trained on the data. Of a
            table, a function of the encoder may make it, whose ``n_features`` and ``n_outputs`` are those of the fold.
        data: (X, y) or (X, y, weights), or frames, see `train`; or with ``target`` a table: a frame, or the path of a
            CSV or Parquet file. Its encoder is fitted in each fold, on the rows that are trained on.
        folds: how many, 2 … m.
        groups: the group (patient, machine) of each example, (m,): no group is on both sides. Of a table, the name of
            the column.
        target: the column of a table that is to be predicted.
        weights: the column of a table that says how much each row counts.
        encode: how columns of a table are encoded: options of `undertow.data.encode_table`, such as
            ``{"scaling": "robust"}``.
        header: False where a text file has no line of column names: they are column_1, column_2, …; or a list of them.
        prepare: called with the X of the training part, gives the function that is applied to the X of both parts:
            a mean or a scale that is taken of all examples would tell of those held out.
        validation: the share of each training part that is held out for early stopping, whole groups where there are
            groups; 0.1 unless told where ``early_stopping`` or ``reduce_on_plateau`` is given, else none.
        seed: decides the folds; the run of fold i, from 0, has seed + i.
        settings: as `train` takes them; no progress is shown unless told. ``checkpoint`` gets a folder a fold in it. Of
            a table, loss and metrics are chosen by the target unless told.

    Returns:
        The runs, scores and predictions; of a table, predictions are as in the column of the target, and the metrics of
        a number in its unit. The deviation over folds says how much one run's score may be off; that of
        the mean is not known from it, as the training parts overlap.

    Raises:
        ArgumentError: ``k_folds: 5 folds of 3 examples. …``, data that are read in blocks, and as `train`.
        ShapeError, DataError: as `train`.
        KeyboardInterrupt: Ctrl-C, at once: folds that are not all done have no mean.

    Source: T. Hastie, R. Tibshirani, J. Friedman, The Elements of Statistical Learning, 2009, section 7.10; of the
        deviation: Y. Bengio and Y. Grandvalet, JMLR 5, 2004.

    Example:
        >>> from undertow.nn import Dense
        >>> X = np.linspace(-1, 1, 60, dtype=np.float32)[:, None]
        >>> found = cross_validate(Dense(1, 2), (X, X[:, 0] > 0), folds=3, loss="categorical_cross_entropy",
        ...                        optimizer="momentum", epochs=50, batch_size=8)
        >>> found.mean["accuracy"] > 0.9, found.predictions.shape
        (True, (60,))
    """
    seed, folds = read_whole(seed, "seed", 0), read_whole(folds, "folds", 2)
    if target is not None or is_table(data):
        columns = {"groups": groups, "weights": weights, "encode": encode or {}, "header": header}
        return _validate_table(model, data, target, folds, columns, prepare, validation, seed, settings)
    for name, value in (("weights", weights), ("encode", encode), ("header", None if header is True else header)):
        if value is not None:
            raise ArgumentError(f"{name} is for a table. Name the column to predict: target=, or give (X, y, weights).")
    if read_source(data) is not None:
        raise ArgumentError("cross_validate takes arrays or frames, not data that are read in blocks. Give (X, y).")
    check_model(model)
    X, y, counts = read_examples(data)
    labels = None if groups is not None else _classes(settings, model, y)
    parts = k_folds(len(X), folds, seed, stratify=labels, groups=groups)
    if labels is not None:
        warn_of_single(labels, LEFT_OUT_ONCE)
    given = None if groups is None else np.asarray(groups)
    validation = _hold_out(validation, settings)
    settings = {"progress": False, **settings}
    runs, scores, found = [], [], []
    for fold, (rows, held) in enumerate(parts):
        change = _prepare(prepare, X[rows])
        inner = None if given is None else given[rows]
        examples = (change(X[rows]), y[rows], None if counts is None else counts[rows])
        one = _settings_of(settings, fold)
        run = _train_part(model, examples, inner, validation, seed + fold, one)
        X_held = change(X[held])
        w = None if counts is None else counts[held]
        scores.append(run.evaluate(X_held, y[held], w, metrics=settings.get("metrics")))
        found.append((run.predict(X_held), _probabilities(run, X_held)))
        runs.append(run)
    return _join(runs, parts, scores, found)


def _join(runs: list[Run], parts: Any, scores: list[dict[str, float]], found: list[Any]) -> CrossValidation:
    """Put the folds together, predictions in the order of the examples."""
    order = np.argsort(np.concatenate([held for _, held in parts]))
    predictions = np.concatenate([p for p, _ in found])[order]
    chances = [p for _, p in found if p is not None]
    table = {name: np.array([row[name] for row in scores]) for name in scores[0]}
    return CrossValidation(runs, parts, table, predictions, np.concatenate(chances)[order] if chances else None)


def _validate_table(
    model: Any,
    data: Any,
    target: str | None,
    folds: int,
    columns: dict[str, Any],
    prepare: Any,
    validation: float | None,
    seed: int,
    settings: dict[str, Any],
) -> CrossValidation:
    """Cross-validate on a table."""
    if target is None:
        raise ArgumentError("which column is to be predicted? Name it: target=.")
    if prepare is not None:
        raise ArgumentError("prepare is for arrays: columns of a table are scaled by its encoder. Use encode=.")
    table = read_folds(data, target, folds=folds, seed=seed, **columns)
    validation = _hold_out(validation, settings)
    given = table.settings(settings)
    runs, scores, found = [], [], []
    for fold in range(len(table.parts)):
        run, measured, predictions, chances = table.train(
            model, fold, validation, seed + fold, _settings_of(given, fold)
        )
        runs.append(run)
        scores.append(measured)
        found.append((predictions, chances))
    return _join(runs, table.parts, scores, found)


def _hold_out(validation: float | None, settings: Mapping[str, Any]) -> float | None:
    """The share of a training part that is held out: that told, else some where something watches it."""
    watched = any(settings.get(name) is not None for name in ("early_stopping", "reduce_on_plateau"))
    return HELD_FOR_STOPPING if validation is None and watched else validation


def _classes(settings: dict[str, Any], model: Any, y: Array) -> Array | None:
    """The class of each example, or None where there are no classes."""
    if find_loss(make_plan(settings).loss, model).task not in ("categorical", "binary"):
        return None
    if y.ndim == 2:
        y = np.argmax(y, axis=1) if y.shape[1] > 1 else y[:, 0]
    return y if y.ndim == 1 and np.array_equal(y, np.round(y)) else None  # probabilities are no classes


def _prepare(prepare: Callable[[Array], Callable[[Array], Array]] | None, X: Array) -> Callable[[Array], Array]:
    """The function that is applied to the X of a fold."""
    if prepare is None:
        return lambda X: X
    change = prepare(X)
    if not callable(change):
        raise ArgumentError(
            f"prepare gave {type(change).__name__}. Let it take the X to train on, and return a function of X."
        )

    def checked(X: Array) -> Array:
        new = np.asarray(change(X))
        if new.shape[:1] != X.shape[:1]:
            raise ShapeError(f"the function of prepare made {new.shape} of {X.shape}. Let it keep every row.")
        return new.astype(X.dtype, copy=False) if X.dtype.kind == new.dtype.kind == "f" else new

    return checked


def _settings_of(settings: dict[str, Any], fold: int) -> dict[str, Any]:
    """The settings of one fold: its own folder of checkpoints."""
    folder = settings.get("checkpoint")
    if not isinstance(folder, str | Path):
        return settings
    return {**settings, "checkpoint": Path(folder) / f"fold-{fold + 1}"}


def _train_part(
    model: Any, examples: Any, groups: Array | None, validation: Any, seed: int, settings: dict[str, Any]
) -> Run:
    """Train on the training part of a fold."""
    held: Any = validation
    if groups is not None and isinstance(validation, int | float) and validation > 0:
        kept, out = split_groups(groups, validation, seed)
        take = lambda rows: tuple(x[rows] for x in examples if x is not None)  # noqa: E731
        examples, held = take(kept), take(out)
    data = tuple(x for x in examples if x is not None)
    run = Trainer(model, data, validation=held, seed=seed, **settings).fit()
    if run.stopped == "interrupted":
        raise KeyboardInterrupt
    return run


def _probabilities(run: Run, X: Array) -> Array | None:
    try:
        return run.predict_probability(X)
    except ArgumentError:  # values, or classes without probabilities
        return None
