"""Training on a table: from a file to a network, its figures on rows held out, and predictions for new rows."""

from __future__ import annotations

import io
import itertools
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from undertow import nn
from undertow.data import TabularEncoder, encode_table, load_dataset, read_table_with_origin, split
from undertow.data.late import pl
from undertow.errors import ArgumentError, RunError
from undertow.nn import Dense, Sequential
from undertow.nn.layer import widths
from undertow.train.files import write_whole
from undertow.train.loop import train
from undertow.train.run import Run

ACTIVATIONS = ("relu", "tanh", "sigmoid")
_MOST_PARAMETERS = 2_000_000_000
_BYTES_A_PARAMETER = (
    4 * 6
)  # float32: the parameter, its gradient, Adam's two moments, and the new values while a step lasts
_EXAMPLES = 4  # rows kept in the run, for the pages that explain it


@dataclass(frozen=True)
class Table:
    """A table ready for training.

    Attributes:
        train: X float32 (m, n_features), y int64 (m,) or float32 (m, 1).
        validation: the same for the rows held out; None if there are none.
        n_outputs: classes, or columns of the target.
        encoder: what encoded the table; None for a data set that is shipped.
        report: what was decided, in sentences.
    """

    train: tuple[Any, Any]
    validation: tuple[Any, Any] | None
    n_outputs: int
    encoder: TabularEncoder | None
    report: list[str]

    @property
    def classifies(self) -> bool:
        """Whether the target is a class."""
        return bool(self.train[1].dtype.kind == "i")


def load_table(
    file: Path | None, target: str | None, dataset: str | None, *, validation: float, seed: int, task: str | None
) -> Table:
    """Load and encode a file, or a data set by name.

    Raises:
        DataError: the file or a column cannot be used; ArgumentError: no such data set or task.
    """
    if task not in (None, "classification", "regression"):
        raise ArgumentError(f"--task {task}: choose auto, classification or regression.")
    if dataset is not None:
        data = load_dataset(dataset)
        rows, held = split(len(data.X), validation, seed, stratify=data.y)
        parts = [(data.X[part], data.y[part]) for part in (rows, held)]
        said = [f"{dataset}: {data.source}", f"{len(rows)} examples to train on, {len(held)} held out."]
        return Table(parts[0], parts[1] if len(held) else None, int(data.y.max()) + 1, None, said)
    frame, origin = read_table_with_origin(cast(Path, file))
    found = encode_table(
        frame, cast(str, target), validation=validation, seed=seed, task=cast(Any, task), origin=origin
    )
    held_out = 0 if found.validation is None else len(found.validation[0])
    said = [*found.report, f"{len(found.train[0])} rows to train on, {held_out} held out."]
    return Table(found.train, found.validation, found.encoder.n_outputs, found.encoder, said)


def train_table(table: Table, say: Callable[[str], Any], *, hidden: list[int], activation: str, **settings: Any) -> Run:
    """Train a network of dense layers on a table.

    Args:
        table: from `load_table`.
        say: called with the sentence that describes the network.
        hidden: sizes of the hidden layers.
        activation: of the hidden layers: relu, tanh or sigmoid.
        settings: passed on to `train`.

    Returns:
        The run; see `summarize` for its figures on the rows held out.

    Raises:
        ArgumentError: a network larger than memory.
    """
    X, y = table.train
    sizes = [X.shape[1], *hidden, table.n_outputs]
    count = check_size(sizes)
    layers: list[Any] = []
    for fan_in, fan_out in itertools.pairwise(sizes):
        layers += [Dense(fan_in, fan_out), nn.ACTIVATIONS[activation]]
    loss = "categorical_cross_entropy" if table.classifies else "mean_squared_error"
    shown = " → ".join(map(str, sizes))
    say(f"  network {shown}, {activation}, {loss}: {count:,} parameters.")
    run = train(Sequential(*layers[:-1]), (X, y), loss=loss, validation=table.validation, **settings)
    run.extras = {
        "encoder": None if table.encoder is None else table.encoder.to_json_dict(),
        "example": {"X": X[:_EXAMPLES].tolist(), "y": y[:_EXAMPLES].tolist()},
    }
    return run


def check_size(sizes: list[int]) -> int:
    """Count the parameters of dense layers of these widths; ArgumentError for more than can be trained here."""
    count = sum(a * b + b for a, b in itertools.pairwise(sizes))
    most, why = _MOST_PARAMETERS, f"more than {_MOST_PARAMETERS:,}"
    if hasattr(os, "sysconf") and (memory := os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")) > 0:
        most, room = min(most, memory // _BYTES_A_PARAMETER), memory / 2**30
        why = f"more than the {most:,} that training has room for here ({room:.0f} GiB of memory)"
    if count > most:
        hidden = ",".join(map(str, sizes[1:-1]))
        raise ArgumentError(
            f"--hidden {hidden}: the network would have {count:,} parameters, {why}. Give smaller sizes."
        )
    return count


def summarize(run: Run, table: Table) -> str:
    """Say how good a run is on the rows held out, in the target's own unit."""
    if table.validation is None:
        return "no rows were held out: how well it predicts new rows is not known."
    X, y = table.validation
    if table.classifies:
        accuracy = float(np.mean(run.predict(X) == y))
        return f"held-out accuracy {accuracy:.2%} ({len(y)} rows)"
    encoder = cast(TabularEncoder, table.encoder)
    wanted, found = np.ravel(encoder.decode(y)), np.ravel(encoder.decode(run.outputs(X)))
    error = float(np.mean((wanted - found) ** 2))
    spread = float(np.var(wanted))
    share = f", R² {1 - error / spread:.4f}" if spread else ""
    return f"held-out root mean squared error {error**0.5:.6g}{share} ({len(wanted)} rows)"


def predict_table(run: Run, file: Path, probabilities: bool) -> tuple[pl.DataFrame, list[str]]:
    """Predict for the rows of a file.

    Returns:
        A frame with ``prediction`` (and a column ``p(class)`` for each class), and remarks about the data.

    Raises:
        RunError: the run was not trained on a table; DataError: the file does not fit the encoder.
    """
    record = run.extras.get("encoder")
    if not record:
        raise RunError("this run was not trained on a table, so it cannot read one. Use run.predict(X) in Python.")
    encoder = TabularEncoder.from_json_dict(record)
    if encoder.task == "regression" and probabilities:
        raise ArgumentError("--probabilities is for classes; this run predicts a number.")
    frame, origin = read_table_with_origin(file, as_text=encoder.text_columns)
    _check_fit(run, encoder)
    remarks: list[str] = []
    X = encoder.transform(frame, origin=origin, report=remarks)
    if encoder.task == "regression":
        return pl.DataFrame({"prediction": np.ravel(encoder.decode(run.outputs(X)))}), remarks
    columns: dict[str, Any] = {"prediction": encoder.decode(run.predict(X)).tolist()}
    if probabilities:
        p = run.predict_probability(X)
        columns |= {f"p({label})": p[:, k] for k, label in enumerate(encoder.classes or ())}
    return pl.DataFrame(columns, strict=False), remarks


def _check_fit(run: Run, encoder: TabularEncoder) -> None:
    """RunError unless a run's model takes what its encoder gives, and gives what it decodes."""
    taken, given = widths(run.model)
    loss = nn.LOSSES.get(str(run.settings.get("loss")))
    task = "classification" if loss is not None and loss.task == "categorical" else "regression"
    for what, model, table in (
        ("features", taken, encoder.n_features),
        ("outputs", given, encoder.n_outputs),
        ("task", task, encoder.task),
    ):
        if model != table:
            raise RunError(
                f"the run is damaged: its model and its table encoder do not fit ({what}: {model} and {table})."
            )


def write_predictions(frame: pl.DataFrame, out: Path) -> None:
    """Write predictions as CSV or Parquet, by the name's end; a failure leaves what was there before.

    Raises:
        RunError: ``found.csv cannot be written: …``
    """
    if out.suffix == ".csv":
        content = frame.write_csv().encode()
    else:
        buffer = io.BytesIO()
        frame.write_parquet(buffer)
        content = buffer.getvalue()
    write_whole(out, content)


def check_predictions_place(out: Path, data: Path) -> None:
    """Check where predictions are to go, before they are made.

    Raises:
        ArgumentError: another kind of file, a folder, or the file that is read.
    """
    if out.suffix not in (".csv", ".parquet"):
        raise ArgumentError(f"{out.name}: predictions are written as .csv or .parquet.")
    if os.path.isdir(out):
        raise ArgumentError(f"{out} is a folder. Give the name of a file.")
    if os.path.exists(out) and os.path.exists(data) and os.path.samefile(out, data):
        raise ArgumentError(f"--out {out} is the file that is read, and would be lost. Give another name.")
