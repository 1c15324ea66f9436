"""Cross-validation of a table: its encoder is fitted anew in each fold, on the rows that are trained on."""

from __future__ import annotations

import functools
import os
import types
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from undertow.data import TabularEncoder, as_frame, encode_table, k_folds, read_table_with_origin
from undertow.data.header import Header
from undertow.data.missing import mark_and_type, read_missing
from undertow.data.roles import Roles, read_group_column, read_weight_column
from undertow.data.target import choose_task, drop_missing_target, find_target
from undertow.data.text_columns import read_as_text
from undertow.data.wording import Origin, list_names
from undertow.errors import ArgumentError, DataError, ShapeError
from undertow.nn.layer import widths
from undertow.train.few import find_single
from undertow.train.run import Run
from undertow.train.setup import check_model
from undertow.train.trainer import Trainer

if TYPE_CHECKING:
    import polars as pl

Array = NDArray[Any]
LOSSES = {"classification": "categorical_cross_entropy", "regression": "mean_squared_error"}
METRICS = {"classification": ["accuracy"], "regression": ["rmse", "mae", "r2"]}


def is_table(data: Any) -> bool:
    """Tell whether data is a table with its target in it: a file's path, or a frame."""
    if isinstance(data, str | os.PathLike | dict):
        return True
    return type(data).__module__.partition(".")[0] in ("polars", "pandas") and hasattr(data, "columns")


@dataclass(frozen=True, eq=False)
class TableFolds:
    """A table that is to be trained on in folds.

    Attributes:
        frame: the rows that have a target.
        origin: where they came from, or None.
        roles: which columns have a part of their own.
        task: ``"classification"`` or ``"regression"``.
        parts: of each fold the rows to train on and those held out, as numbers of rows of the frame.
        encode: options of the encoder.
        header: False where the file had no line of column names, so that files to predict have none either.
    """

    frame: pl.DataFrame
    origin: Origin | None
    roles: Roles
    task: str
    parts: list[tuple[NDArray[np.int64], NDArray[np.int64]]]
    encode: dict[str, Any]
    header: bool = True

    def settings(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The settings of a training, with a loss and metrics where none are given."""
        return {"progress": False, "loss": LOSSES[self.task], "metrics": METRICS[self.task], **given}

    def train(
        self, model: Any, fold: int, validation: float | None, seed: int, settings: dict[str, Any]
    ) -> tuple[Run, dict[str, float], Array, Array | None]:
        """Train and measure one fold.

        Args:
            model: or a function of the encoder that makes it.
            fold: its number, from 0.
            validation: the share of the training part that is held out for early stopping.
            seed: of the run, and of what is held out for early stopping.
            settings: of the training.

        Returns:
            The run, which carries its encoder; scores of the rows held out, those of a number in its own unit;
            predictions, as in the column of the target; probabilities, or None.
        """
        rows, held = self.parts[fold]
        options: dict[str, Any] = {
            "task": self.task, "weights": self.roles.weights, "groups": self.roles.groups,
            "leave_out": self.roles.leave_out, **self.encode
        }  # fmt: skip
        table = encode_table(
            self.frame[rows], self.roles.target, origin=self._origin(rows), validation=validation or 0.0, seed=seed,
            **options,
        )  # fmt: skip
        encoder = table.encoder
        data = (*table.train, *(() if table.train_weights is None else (table.train_weights,)))
        beside: Any = table.validation
        if beside is not None and table.validation_weights is not None:
            beside = (*beside, table.validation_weights)
        network = build_for(model, encoder)
        trainer = Trainer(network, data, validation=beside, seed=seed, **settings)
        if self.task == "regression":
            trainer.task = replace(trainer.task, decode=encoder.decode)
        trainer.run.extras |= {"encoder": encoder.to_json_dict(), "weights": self.roles.weights}
        trainer.run.extras |= {} if self.header else {"header": False}
        run = trainer.fit()
        if run.stopped == "interrupted":
            raise KeyboardInterrupt
        part, origin = self.frame[held], self._origin(held)
        X, y = encoder.transform(part, origin=origin, report=[]), encoder.encode_target(part, origin=origin)
        name = self.roles.weights
        w = None if name is None else read_weight_column(part[name], origin)
        examples = (X.astype(trainer.task.dtype, copy=False), trainer.task.read_target(y), w)
        scores = trainer.evaluate_on([examples])
        chances = run.predict_probability(X) if self.task == "classification" and knows(run) else None
        predictions = run.predict(X)
        return (
            run,
            scores,
            encoder.decode(np.ravel(predictions) if len(predictions.shape) > 1 else predictions),
            chances,
        )

    def _origin(self, rows: NDArray[np.int64]) -> Origin | None:
        return None if self.origin is None else self.origin.take(rows)


def knows(run: Run) -> bool:
    """Whether a run of classes knows their probabilities."""
    return bool(run._task(np.zeros((1, 2), np.float32)).loss.knows_probabilities)


def read_folds(
    data: Any,
    target: str,
    *,
    folds: int,
    seed: int,
    groups: Any,
    weights: Any,
    encode: Mapping[str, Any],
    header: Header = True,
) -> TableFolds:
    """Read a table and cut it into folds; classes have their shares in each, unless groups decide.

    Args:
        data: the path of a CSV or Parquet file, or a frame.
        target: the column to predict.
        folds: how many.
        seed: decides them.
        groups: the column of groups, none of which is on both sides, or None.
        weights: the column of weights, or None.
        encode: options of `undertow.data.encode_table`.
        header: of a text file, see `undertow.data.read_table`.

    Returns:
        The folds.

    Raises:
        DataError, ArgumentError: as `undertow.data.encode_table`.

    Source: derived here.

    Example:
        >>> found = read_folds({"x": range(9), "y": ["a", "b", "c"] * 3}, "y", folds=3, seed=0, groups=None,
        ...                    weights=None, encode={})
        >>> found.task, [len(held) for _, held in found.parts]
        ('classification', [3, 3, 3])
    """
    for name, column in (("groups", groups), ("weights", weights)):
        if column is not None and not isinstance(column, str):
            raise ArgumentError(f"{name} is a {type(column).__name__}. Of a table, give the name of a column.")
    if not isinstance(target, str):
        raise ArgumentError(f"target is {target!r}. Give the name of the column to predict.")
    origin: Origin | None = None
    if isinstance(data, str | os.PathLike):
        frame, origin = read_table_with_origin(
            Path(data), as_text=read_as_text(encode.get("as_text", ())), decimal=encode.get("decimal", "auto"),
            header=header, missing=encode.get("missing", ()),
        )  # fmt: skip
    elif header is not True:
        raise ArgumentError("header is for a text file, which may have no line of column names. Leave it out.")
    else:
        frame = mark_and_type(
            as_frame(data), read_missing(encode.get("missing", ())), read_as_text(encode.get("as_text", ()))
        )
    options = dict(encode)
    roles = Roles(target, weights, groups, None, options.pop("leave_out", ()))
    if "time" in options:
        raise ArgumentError("encode: time decides which rows are held out, which folds do here. Leave it out.")
    task, _ = choose_task(frame, target, options.pop("task", None), roles.left_out)
    roles.check(frame.columns)
    frame, origin, _ = drop_missing_target(frame, target, origin)
    by = None if groups is None else read_group_column(frame[groups], origin).to_numpy().astype(str)
    labels = None
    if task == "classification" and by is None:
        texts = find_target(frame, target).cast(str).to_numpy().astype(str)
        labels = np.unique(texts, return_inverse=True)[1]
    parts = k_folds(frame.height, folds, seed, stratify=labels, groups=by)
    if labels is not None:
        _check_single(texts, target)
    return TableFolds(frame, origin, roles, task, parts, options, header is not False)


def _check_single(labels: Any, target: str) -> None:
    """DataError for a class with a single row: the fold that holds it out has an encoder that does not know it."""
    single = find_single(labels)
    if single:
        who = "class" if len(single) == 1 else "classes"
        raise DataError(
            f"target {target!r}: a single row of the {who} {list_names(single)}, of which the fold that holds it out "
            "knows nothing. Give more rows of each class, or leave these out."
        )


def build_for(model: Any, encoder: TabularEncoder) -> Any:
    """Return the model for a fold's columns.

    Args:
        model: or a function of the encoder that makes it.
        encoder: of the fold.

    Returns:
        The model.

    Raises:
        ShapeError: ``the model takes 4 columns, but the encoder makes 7 of this table. …``

    Source: derived here.
    """
    if isinstance(model, types.FunctionType | types.MethodType | functools.partial):
        made = model(encoder)
        check_model(made)
        return made
    check_model(model)
    wanted = widths(model)[0]
    if wanted is not None and wanted != encoder.n_features:
        raise ShapeError(
            f"the model takes {wanted} columns, but the encoder makes {encoder.n_features} of this table. Give a "
            "function that makes the model: lambda encoder: Sequential(Dense(encoder.n_features, 16), 'relu', "
            "Dense(16, encoder.n_outputs))."
        )
    return model
