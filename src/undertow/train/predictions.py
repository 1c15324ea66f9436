"""Predictions for the rows of a file, and how good they are; files larger than memory in portions."""

from __future__ import annotations

import glob
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from undertow import nn
from undertow.data import TabularEncoder, as_frame, read_table_with_origin
from undertow.data.column_notes import EncodingNotes
from undertow.data.examples import holds_examples
from undertow.data.file_names import check_file_name, is_table
from undertow.data.footprint import give_back
from undertow.data.header import Header, are_numbered, number_columns
from undertow.data.late import pl
from undertow.data.memory import MEMORY
from undertow.data.reading import tell_reading
from undertow.data.roles import read_weight_column
from undertow.data.table_pieces import FilePieces, find_files, takes_more
from undertow.data.target import keep_present_target, tell_dropped
from undertow.data.wording import Origin, join_alike, list_names, suggest_name
from undertow.errors import ArgumentError, DataError, DataWarning, RunError
from undertow.nn.layer import widths
from undertow.train.run import Run
from undertow.train.table_data import column_names

if TYPE_CHECKING:
    from undertow.train.threshold import Threshold

_PIECES = 32  # a portion takes this part of the memory when it is read


def read_encoder(run: Run) -> TabularEncoder:
    """Return the encoder of the table that a run was trained on.

    Args:
        run: loaded from its folder.

    Returns:
        The encoder.

    Raises:
        RunError: ``this run was not trained on a table, …``, or the run is damaged.

    Source: derived here.

    Example:
        >>> read_encoder(Run(None))
        Traceback (most recent call last):
        undertow.errors.RunError: this run was not trained on a table, so it cannot read one. Use run.predict(X) in ...
    """
    record = run.extras.get("encoder")
    if not record:
        raise RunError("this run was not trained on a table, so it cannot read one. Use run.predict(X) in Python.")
    encoder = TabularEncoder.from_json_dict(record)
    taken, given = widths(run.model)
    loss = nn.LOSSES.get(str(run.settings.get("loss")))
    task = "classification" if loss is not None and loss.task in ("categorical", "binary") else "regression"
    wanted = encoder.n_outputs * (1 if loss is None else loss.columns)
    wanted = 1 if loss is not None and loss.task == "binary" and encoder.n_outputs == 2 else wanted
    for what, model, table in (
        ("features", taken, encoder.n_features),
        ("outputs", given, wanted),
        ("task", task, encoder.task),
    ):
        if model != table:
            raise RunError(
                f"the run is damaged: its model and its table encoder do not fit ({what}: {model} and {table})."
            )
    return encoder


def find_header(run: Run, file: Path, encoder: TabularEncoder, remarks: list[str]) -> Header:
    """Find how the columns of a file are named.

    Args:
        run: where its table had no line of names, files to predict have none either.
        file: a CSV or Parquet file, a folder or a pattern.
        encoder: of the run.
        remarks: where the file lacks one column, a sentence says that it is taken for the target.

    Returns:
        What ``read_table`` takes: True where names stand in the file; False, or a name for each of its columns.

    Source: derived here.
    """
    if run.extras.get("header") is not False:
        return True
    names = column_names(str(file), header=True)
    if names and are_numbered(names):
        return True  # it has been given the names that training gave
    n_known = 1 + len(encoder.columns) + len(encoder.dropped)
    found = column_names(str(file), header=False)
    if len(found) != n_known - 1:
        return False
    target = encoder.target.name
    remarks.append(
        f"{file.name} has {len(found)} columns, training had {n_known}: the one that is not there is taken for "
        f"{target!r}, the target."
    )
    return [name for name in number_columns(n_known) if name != target]


def read_portions(
    run: Run, table: Any, encoder: TabularEncoder, memory: float, remarks: list[str], keep: Sequence[str] = ()
) -> Iterator[tuple[pl.DataFrame, Origin | None]]:
    """Read a table whole, or in portions where it is larger than memory.

    Args:
        run: which knows whether files have a line of column names.
        table: a CSV or Parquet file, or for large ones a folder or a pattern; or a frame, see `undertow.data.as_frame`.
        encoder: whose texts stay texts.
        memory: bytes that reading may take.
        remarks: sentences about numbers that may be read in two ways are appended here.
        keep: further columns that stay texts, where they are no features.

    Returns:
        Frames with at least one row, and where their rows stand.

    Raises:
        DataError: the file cannot be read.

    Source: derived here.
    """
    if not isinstance(table, str | Path):
        yield as_frame(table), None
        return
    file = Path(table)
    check_file_name(file)
    header = find_header(run, file, encoder, remarks)
    features = {column.name for column in encoder.columns}
    texts = {name: () for name in keep if name not in features} | encoder.known_texts
    small = file.is_file() and not (is_table(file) and takes_more(file, memory))
    if small or holds_examples(file) or not (file.exists() or glob.has_magic(str(file))):
        yield read_table_with_origin(
            file, as_text=texts, decimal="comma", remarks=remarks, header=header, part="test",
            name_files="file" in keep, missing=encoder.missing,
        )  # fmt: skip
        return
    pieces = FilePieces(find_files(file), int(memory / _PIECES), texts, "comma", header, encoder.missing, in_order=True)
    remarks += pieces.remarks
    for number, height in enumerate(tell_reading("the rows", pieces.heights, len(pieces.heights))):
        if height:
            yield pieces.read(number)
            give_back()


def predict_portions(
    run: Run,
    table: Any,
    probabilities: bool = False,
    remarks: list[str] | None = None,
    memory: float = MEMORY,
    keep: Sequence[str] = (),
    threshold: Any = None,
) -> Iterator[pl.DataFrame]:
    """Predict for the rows of a table, portion by portion.

    Args:
        run: trained on a table.
        table: as `read_portions` takes it, with the columns of training; the target need not be there.
        probabilities: whether to add a column for each class.
        remarks: sentences about the data are appended here: about the rows, once all have been read.
        memory: bytes that reading may take.
        keep: columns of the table that are put in front; of a file as texts where they are no features.
        threshold: above which probability one of two classes is predicted, see `read_threshold`.

    Returns:
        Frames with ``prediction``, and ``p(class)`` for each class where asked for.

    Raises:
        RunError: the run was not trained on a table.
        DataError: the file does not fit the encoder, or lacks a column to keep.
        ArgumentError: probabilities of a number; a column to keep is called like one of the predictions.

    Source: derived here.
    """
    encoder = read_encoder(run)
    if encoder.task == "regression" and probabilities:
        raise ArgumentError("probabilities are for classes; this run predicts a number.")
    said: list[str] = [] if remarks is None else remarks
    limit = _find_threshold(threshold, run, encoder, said)
    notes = EncodingNotes()
    for frame, origin in read_portions(run, table, encoder, memory, said, keep):
        kept = _keep_columns(frame, keep, origin)
        X = encoder.transform(frame, origin=origin, notes=notes)
        found = _predict(run, encoder, X, probabilities, limit)
        for name in kept.columns:
            if name in found.columns:
                raise ArgumentError(f"keep names {name!r}, which is what a column of predictions is called. Rename it.")
        yield kept.hstack(found.get_columns()) if keep else found
    said += join_alike(encoder.tell(notes))


def _keep_columns(frame: pl.DataFrame, keep: Sequence[str], origin: Origin | None) -> pl.DataFrame:
    """The columns that are put in front of predictions, each once."""
    where = "" if origin is None else f"{origin.file}: "
    for name in keep:
        if name not in frame.columns:
            found = suggest_name(name, frame.columns)
            raise DataError(f"{where}there is no column {found} to keep. The columns are {list_names(frame.columns)}.")
    return frame.select(list(dict.fromkeys(keep)))


def _find_threshold(given: Any, run: Run, encoder: TabularEncoder, said: list[str]) -> Threshold | None:
    """The threshold that is told; a sentence says which class it is of."""
    if given is None:
        return None
    from undertow.train.threshold import read_threshold  # which few predictions take

    found = read_threshold(given, run, run._task(np.zeros((1, 1))).loss, encoder.classes)
    said += [] if found is None else [found.tell()]
    return found


def predict_table(run: Run, table: Any, probabilities: bool = False, threshold: Any = None) -> NDArray[Any]:
    """Predict for the rows of a table, as `Run.predict` does.

    Args:
        run: trained on a table.
        table: as `read_portions` takes it.
        probabilities: of the classes, instead of what is predicted.
        threshold: see `predict_portions`.

    Returns:
        Labels or numbers as they stand in the target's column, (m,); or (m, K), in the order of the encoder's classes.

    Raises:
        RunError, DataError, ArgumentError: as `predict_portions`.

    Source: derived here.
    """
    said: list[str] = []
    limit = _find_threshold(threshold, run, read_encoder(run), [])  # told in Python, it is known of which class it is
    found = pl.concat(list(predict_portions(run, table, probabilities, said, threshold=limit)))
    for sentence in said:
        warnings.warn(sentence, DataWarning, stacklevel=3)
    if probabilities:
        return found.drop("prediction").to_numpy()
    return np.array(found["prediction"].to_list()) if found.height else found["prediction"].to_numpy()


def _predict(run: Run, encoder: TabularEncoder, X: Any, probabilities: bool, limit: Threshold | None) -> pl.DataFrame:
    """The predictions of some rows."""
    if encoder.task == "regression":
        return pl.DataFrame({"prediction": np.ravel(encoder.decode(run.predict(X)))})
    kinds = {type(label) for label in encoder.classes}
    dtype = {str: pl.String, bool: pl.Boolean, int: pl.Int64}.get(kinds.pop()) if len(kinds) == 1 else None
    p = run.predict_probability(X) if probabilities or limit is not None else np.zeros((0, 1))
    places = run.predict(X) if limit is None else limit.decide(p)
    labels = pl.Series("prediction", encoder.decode(np.ravel(places)).tolist(), dtype=dtype, strict=False)
    columns: dict[str, Any] = {"prediction": labels}
    if probabilities:
        p = np.hstack([1 - p, p]) if p.shape[1] < len(encoder.classes) else p  # a binary loss has one output
        columns |= {f"p({label})": p[:, k] for k, label in enumerate(encoder.classes)}
    return pl.DataFrame(columns, strict=False)


@np.errstate(all="ignore")  # of a run that diverged, sums overflow
def evaluate_table(
    run: Run, table: Any, metrics: Any = None, memory: float = MEMORY, threshold: Any = None
) -> dict[str, Any]:
    """Measure a run on the rows of a table that has the target.

    Args:
        run: trained on a table.
        table: as `read_portions` takes it, with the columns of training and the target; rows without one are left out.
        metrics: see `undertow.train`; None for those of the task, and those that the run was trained with.
        memory: bytes that reading may take.
        threshold: see `predict_portions`; the loss and the area under the ROC curve know none.

    Returns:
        ``rows``, ``loss`` and each metric by its name (of a regression in the target's own unit, except for the loss),
        weighted where the training was and the file has the weights, ``remarks``; of two classes those of the rare one
        alone too, as ``f1_of_yes``, and the area under the ROC curve; for classes ``confusion``, (n_classes,
        n_classes): counts by true class (rows) and prediction.

    Raises:
        RunError, DataError, ArgumentError: as in prediction; a class that training did not have.

    Source: derived here.
    """
    from undertow.train.class_metrics import CLASS_SCORES, named_class, rare_class, read_class_metrics
    from undertow.train.metric import find_task, make_predictions

    encoder = read_encoder(run)
    remarks: list[str] = []
    limit = _find_threshold(threshold, run, encoder, remarks)
    task = run._task(np.zeros((1, widths(run.model)[1] or encoder.n_outputs), np.float32))
    classifies = encoder.task == "classification"
    usual = ["accuracy", "balanced_accuracy", "f1"] if classifies else ["rmse", "mae", "r2"]
    if classifies and encoder.n_outputs == 2:
        usual += [f"{score}_of_{rare_class(run)}" for score in CLASS_SCORES]
        usual += ["auc"] if task.loss.knows_probabilities else []
    kind, names = find_task(task.loss.task, task.output_shape), encoder.classes if classifies else None
    measured = run.read_metrics(read_class_metrics(metrics or None, names, task.output_shape[-1]), kind, usual)
    states = [metric.init() for metric in measured]
    confusion = np.zeros((encoder.n_outputs, encoder.n_outputs), np.int64)
    losses, total, n, n_dropped = 0.0, 0.0, 0, 0
    notes = EncodingNotes()
    for frame, origin in read_portions(run, table, encoder, memory, remarks):
        n_rows = frame.height
        frame, origin = keep_present_target(frame, encoder.target.name, origin)
        n_dropped += n_rows - frame.height
        if not frame.height:
            continue
        X, y = encoder.transform(frame, origin=origin, notes=notes), encoder.encode_target(frame, origin=origin)
        z = run.outputs(X)
        target, w = task.read_target(y), _read_weights(run, frame, origin, remarks)
        losses, n = losses + task.sum_losses(z, task.encode(target), w), n + len(y)
        total += len(y) if w is None else float(np.sum(w, dtype=np.float64))
        if classifies:
            found = make_predictions(kind, z, target, w, logits=True)
            found = found if limit is None else limit.apply(found)
            decided: Any = task.decide(z) if limit is None else found.labels
            np.add.at(confusion, (y.astype(np.int64), np.ravel(decided)), 1)
        else:
            found = make_predictions(kind, encoder.decode(task.decide(z))[:, None], encoder.decode(y)[:, None], w)
        states = [metric.add(state, found) for metric, state in zip(measured, states, strict=True)]
    remarks += tell_dropped(encoder.target.name, n_dropped) + join_alike(encoder.tell(notes))
    where = table if isinstance(table, str | Path) else "the table"
    if not n:
        raise DataError(f"{where}: no row has a target ({encoder.target.name!r}). Give at least one.")
    if not total:
        raise DataError(f"{where}: the weights {run.extras['weights']!r} are 0 in every row. Give one above 0.")
    values = {named_class(m.name, names): float(m.result(x)) for m, x in zip(measured, states, strict=True)}
    result = {"rows": n, "loss": losses / total, **values, "remarks": list(dict.fromkeys(remarks))}
    return {**result, "confusion": confusion} if classifies else result


def _read_weights(run: Run, frame: pl.DataFrame, origin: Origin | None, remarks: list[str]) -> Any:
    """The weights of the rows, (m,); None where training had none, or the file has not."""
    name = run.extras.get("weights")
    if name is None:
        return None
    if name not in frame.columns:
        remarks.append(f"The column of weights {name!r} is not there: all rows count alike.")
        return None
    return read_weight_column(frame[name], origin)


def show_confusion(confusion: Any, classes: Any) -> str:
    r"""Lay out a confusion matrix as text.

    Args:
        confusion: counts, (n_classes, n_classes), a row for each true class.
        classes: their names.

    Returns:
        Lines.

    Source: derived here.

    Example:
        >>> print(show_confusion(np.array([[3, 1], [0, 2]]), ["no", "yes"]))
        true \ predicted  no  yes
        no                 3    1
        yes                0    2
    """
    names = [str(name) for name in classes]
    head = "true \\ predicted"
    first = max(map(len, [head, *names]))
    sizes = [max(len(name), *(len(str(row[k])) for row in confusion)) for k, name in enumerate(names)]
    lines = ["  ".join([head.ljust(first), *(name.rjust(w) for name, w in zip(names, sizes, strict=True))])]
    for name, row in zip(names, confusion, strict=True):
        lines.append("  ".join([name.ljust(first), *(str(x).rjust(w) for x, w in zip(row, sizes, strict=True))]))
    return "\n".join(lines)
