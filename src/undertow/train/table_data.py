"""The data of a training on a table: a file that fits into memory, a larger one, or a data set that is shipped."""

from __future__ import annotations

import glob
import hashlib
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from undertow.data import (
    ArraySource,
    TabularEncoder,
    encode_table,
    load_dataset,
    read_table_with_origin,
    split,
    stream_table,
)
from undertow.data.decimals import check_decimal
from undertow.data.examples import holds_examples, read_examples
from undertow.data.file_names import COLUMNAR, JSON_EXTENSIONS, find_extension, is_table
from undertow.data.footprint import OWN, find_reading, keep_small
from undertow.data.memory import MEMORY
from undertow.data.reading import tell_reading
from undertow.data.scales import prefers_own_scales
from undertow.data.table_pieces import find_files, takes_more
from undertow.data.text_files import SMALLER
from undertow.data.weekdays import without_idle_weekdays
from undertow.data.wording import count, join_alike
from undertow.errors import ArgumentError, DataError, RunError, UndertowError
from undertow.train.choices import choose_validation
from undertow.train.table_settings import TableSettings, read_rule

TASKS = ("classification", "regression")
_MB = 1_000_000
_OWN = "standard"  # a scaling in which each column of numbers has its own scale
_TARGET_SCALINGS = {"poisson": "mean", "mean_squared_logarithmic_error": "none"}  # by losses of numbers of 0 or more
_RARE = 0.1  # a class with a smaller share of the rows is remarked on
_DIGEST_CHUNK = 1 << 22
_OF_COLUMNS = {  # what is told of a table's columns and rows, and what stands in config.toml where nothing is told
    "target": None, "weights": None, "groups": None, "time": None, "leave_out": None, "as_text": None,
    "missing": None,
    "scaling": "auto", "categories": "one_hot", "max_categories": None, "min_count": 1, "dates": "auto",
    "decimal": "auto", "header": True, "drop_copies": False, "cache": None,
}  # fmt: skip
_HEAD = 1 << 18  # bytes in which the column names stand


@dataclass(frozen=True)
class Table:
    """A table ready for training.

    Attributes:
        train: (X, y) or (X, y, weights): X float32 (m, n_features), y int64 (m,) or float32 (m, 1); or a source.
        validation: the same for the rows held out; None if there are none.
        n_features: columns of X.
        n_outputs: classes, or columns of the target.
        n_rows: rows to train on.
        encoder: what encoded the table; None for a data set that is shipped.
        settings: those given, with what reading the table decided.
        report: what was decided, in sentences.
    """

    train: Any
    validation: Any
    n_features: int
    n_outputs: int
    n_rows: int
    encoder: TabularEncoder | None
    settings: TableSettings
    report: list[str]

    @property
    def classifies(self) -> bool:
        """Whether the target is a class."""
        return self.encoder is None or self.encoder.task == "classification"


def load_table(settings: TableSettings) -> Table:
    """Load and encode a file, or a data set by name.

    Args:
        settings: data and target, or dataset; what they leave open is decided by the table.

    Returns:
        The table.

    Raises:
        DataError: the file or a column cannot be used.
        ArgumentError: no such data set or task; a scaling of a target that is a class.
        RunError: ``people.csv has changed since …``, where the settings have a digest that is another.

    Source: derived here.

    Example:
        >>> table = load_table(TableSettings(dataset="digits", validation=0.25))
        >>> table.n_features, table.n_outputs, table.n_rows
        (64, 10, 1348)
    """
    try:
        table = _load(settings)
    except MemoryError:
        raise DataError(f"{settings.data}: there is not enough memory for its table. {SMALLER}") from None
    if settings.target_scaling is not None and table.classifies:
        more = "" if settings.dataset else ", or give --task regression"
        raise ArgumentError(
            f"--target-scaling {settings.target_scaling}: the target is a class, not a number. Leave it out{more}."
        )
    return table


def _load(settings: TableSettings) -> Table:
    """Load a table in the way that suits it."""
    task = settings.task
    if task not in (None, *TASKS):
        raise ArgumentError(f"--task {task}: choose auto, classification or regression.")
    if settings.dataset is not None:
        return _load_shipped(settings)
    if settings.data is None or settings.target is None:
        raise ArgumentError("the settings name no file and target, nor a dataset. Give them, or restore config.toml.")
    examples = holds_examples(Path(settings.data))
    several = not examples and _is_several(settings.data)
    if not several and not examples:
        read = Path(settings.data)
        if not read.exists() or not is_table(read):
            read_table_with_origin(read)  # which says what is wrong
    files = find_files(settings.data)
    size = sum(file.stat().st_size for file in files if file.is_file())
    if settings.memory is not None and not 1 <= settings.memory < math.inf:
        raise ArgumentError(f"--memory {settings.memory:g}: give MB, 1 or more.")
    if settings.cache is not None and not settings.cache.strip():
        raise ArgumentError(f"--cache {settings.cache!r}: give the name of a folder for encoded rows, such as rows.")
    settings = replace(settings, data_digest=_check_digest(settings, files), data_bytes=size)
    if not examples and (several or takes_more(files[0], find_reading(settings.memory))):
        return _load_streamed(replace(settings, memory=settings.memory or (MEMORY + OWN) / _MB))
    return _load_whole(settings)


def column_names(data: str, header: bool | None = None) -> list[str]:
    """Read the names of a table's columns off its first bytes.

    Args:
        data: a file, a folder or a pattern, as `TableSettings` takes it.
        header: False where a text file has no line of them.

    Returns:
        The names; none where they cannot be read.

    Source: derived here.

    Example:
        >>> column_names("no such file.csv")
        []
    """
    import polars as pl

    from undertow.data.columnar import open_columnar
    from undertow.data.frames import clean_text, name_columns, read_header
    from undertow.data.layout import find_layout
    from undertow.data.text_files import open_text

    try:
        file = find_files(data)[0]
        if holds_examples(Path(data)):
            return read_examples(Path(data), "train", []).columns
        kind = find_extension(file)
        if kind in COLUMNAR:
            return list(open_columnar(file, MEMORY).names)
        text = open_text(file, [])
        head = text.read(0, _HEAD)
        head = head[: head.rfind(b"\n") + 1] if len(head) == _HEAD else head
        if kind in JSON_EXTENSIONS:
            rows = pl.read_ndjson(clean_text(head, file.name), infer_schema_length=None)
            return name_columns(rows.columns, file.name)
        layout = find_layout(clean_text(head, file.name).rstrip(b"\n"), file.name)
        return read_header(head, layout, file.name, header is not False)[0]
    except (UndertowError, OSError, ValueError, pl.exceptions.PolarsError):
        return []


def _is_several(data: str) -> bool:
    """Whether a text names a folder, or is a pattern."""
    return os.path.isdir(data) or (glob.has_magic(data) and not os.path.exists(data))


def digest_of(files: list[Path]) -> str:
    """Compute the checksum of the content of files, BLAKE2b with 16 bytes, in hexadecimal."""
    found = hashlib.blake2b(digest_size=16)
    size = sum(file.stat().st_size for file in files)
    for chunk in tell_reading("whether it has changed", _read_chunks(files), size, len):
        found.update(chunk)
    return found.hexdigest()


def _read_chunks(files: list[Path]) -> Iterator[bytes]:
    for file in files:
        with open(file, "rb") as opened:
            while chunk := opened.read(_DIGEST_CHUNK):
                yield chunk


def _check_digest(settings: TableSettings, files: list[Path]) -> str:
    try:
        digest = digest_of(files)
    except OSError as error:
        raise DataError(f"{settings.data} cannot be read: {error.strerror or error}. Check the file.") from None
    if settings.data_digest not in (None, digest):
        raise RunError(
            f"{settings.data} has changed since the training began, so that it cannot be gone on with or repeated. "
            "Restore the file, or train anew: undertow train with the file and --target."
        )
    return digest


def _refuse_columns(settings: TableSettings) -> None:
    """ArgumentError for what is told of columns where a data set that is shipped has none."""
    for name, usual in _OF_COLUMNS.items():
        if getattr(settings, name) not in (None, usual):
            option = "--" + name.replace("_", "-") if name != "header" else "--no-header"
            raise ArgumentError(f"{option} is for tables, and --dataset {settings.dataset} is none. Leave it out.")
    if settings.task == "regression":
        raise ArgumentError(f"--task regression: --dataset {settings.dataset} has classes. Leave it out.")


def _load_shipped(settings: TableSettings) -> Table:
    """A data set that comes with Undertow."""
    name = settings.dataset
    assert name is not None
    _refuse_columns(settings)
    data = load_dataset(name)
    share = choose_validation(len(data.X)) if settings.validation is None else settings.validation
    rows, held = split(len(data.X), share, settings.seed or 0, stratify=data.y)
    parts = [(data.X[part], data.y[part]) for part in (rows, held)]
    said = [f"{name}: {data.source}", f"{len(rows)} examples to train on, {len(held)} held out."]
    settings = replace(settings, validation=share, task="classification")
    width, n_outputs = data.X.shape[1], int(data.y.max()) + 1
    return Table(parts[0], parts[1] if len(held) else None, width, n_outputs, len(rows), None, settings, said)


def _options(settings: TableSettings) -> dict[str, Any]:
    """How columns are encoded, as far as it was told."""
    names = ("weights", "groups", "time", "leave_out", "task", "scaling", "categories", "max_categories", "min_count",
             "dates", "decimal", "as_text", "missing", "target_scaling")  # fmt: skip
    found = {name: getattr(settings, name) for name in names if getattr(settings, name) is not None}
    most = 1000 if settings.categories != "codes" else 100_000
    scaling = _TARGET_SCALINGS.get(read_rule(settings.loss or "", "--loss")["name"])
    if scaling is not None:
        found = {"target_scaling": scaling, **found, "task": settings.task or "regression"}
    return {"max_categories": most, "scaling": "auto", **found, "seed": settings.seed or 0}


def _load_whole(settings: TableSettings) -> Table:
    """A file that fits into memory."""
    assert settings.data is not None and settings.target is not None
    remarks: list[str] = []
    decimal = check_decimal(settings.decimal or "auto")
    frame, origin = read_table_with_origin(
        settings.data, as_text=settings.as_text or (), decimal=decimal, remarks=remarks,
        header=settings.header is not False, missing=settings.missing or (),
    )  # fmt: skip
    if settings.drop_copies:
        frame, origin, said = _drop_copies(frame, origin, settings)
        remarks += said
    share = choose_validation(frame.height) if settings.validation is None else settings.validation
    options = _options(settings)
    if settings.task is None and settings.target in frame.columns and not frame[settings.target].dtype.is_numeric():
        options.pop("task", None)  # classes: the loss will be refused
    found = encode_table(frame, settings.target, origin=origin, validation=share, **options)
    # A training on all rows goes by what the first one has decided.
    own = options["scaling"] == "auto" and settings.refit_epochs is None and prefers_own_scales(found)
    if own:
        found = encode_table(frame, settings.target, origin=origin, validation=share, **options | {"scaling": _OWN})
        remarks.insert(0, "Numbers keep each its own scale, by which rows near each other have more alike targets.")
    if settings.dates in (None, "auto"):
        found = without_idle_weekdays(found)
    train, held = found.train, found.validation
    n_rows, n_held = len(train[0]), 0 if held is None else len(held[0])
    if settings.cache is not None:
        remarks.append("The table fits into memory: nothing is written to the folder of --cache.")
    said = [*join_alike([*found.report, *remarks]), f"{n_rows} rows to train on, {n_held} held out."]
    encoder = found.encoder
    if encoder.task == "classification":
        said += _tell_imbalance(train[1], encoder, settings)
    parts: list[Any] = [train, held]
    if found.train_weights is not None:
        parts[0] = (*train, found.train_weights)
        parts[1] = None if held is None else (*held, found.validation_weights)
    settings = replace(_decided(settings, encoder, share, options), scaling=_OWN if own else settings.scaling)
    return Table(parts[0], parts[1], encoder.n_features, encoder.n_outputs, n_rows, encoder, settings, said)


def _drop_copies(frame: Any, origin: Any, settings: TableSettings) -> tuple[Any, Any, list[str]]:
    """The first of rows that are the same in all columns but those left out, and a sentence where there were others."""
    import polars as pl

    names = [name for name in frame.columns if name not in (settings.leave_out or ())]
    first = frame.select(pl.struct(names or frame.columns).is_first_distinct()).to_series().arg_true().to_numpy()
    n = frame.height - len(first)
    if not n:
        return frame, origin, []
    were = "is a copy of another was" if n == 1 else "are copies of others were"
    return frame[first], origin.take(first), [f"{count(n, 'row')} that {were} dropped."]


def _load_streamed(settings: TableSettings) -> Table:
    """Files that are read again in each epoch."""
    assert settings.data is not None and settings.target is not None and settings.memory is not None
    if settings.drop_copies:
        raise ArgumentError("--drop-copies: the file is read in blocks, which do not know one another. Leave it out.")
    keep_small()
    options = _options(settings)
    found = stream_table(
        settings.data, settings.target, validation=settings.validation, memory=find_reading(settings.memory),
        header=settings.header is not False, idle_weekdays=settings.dates not in (None, "auto"), cache=settings.cache,
        **options,
    )  # fmt: skip
    n_rows = found.train.n_examples or 0
    held = found.validation
    n_held = 0 if held is None else held.n_examples or 0
    again = "read again in each epoch" if settings.cache is None else "encoded rows are read again in each epoch"
    said = [
        *join_alike(found.report),
        f"Larger than fits into {settings.memory:g} MB: {again}.",
        f"{n_rows} rows to train on, {n_held} held out.",
    ]
    settings = _decided(settings, found.encoder, found.share, options)
    if isinstance(held, ArraySource):
        held = held.arrays  # type: ignore[assignment]
    encoder = found.encoder
    return Table(found.train, held, encoder.n_features, encoder.n_outputs, n_rows, encoder, settings, said)


def _decided(settings: TableSettings, encoder: TabularEncoder, share: float, options: dict[str, Any]) -> TableSettings:
    """The settings with what the table decided."""
    most = options["max_categories"]
    return replace(settings, task=encoder.task, validation=share, max_categories=most)


def _tell_imbalance(y: Any, encoder: TabularEncoder, settings: TableSettings) -> list[str]:
    """A sentence where a class is rare."""
    counts = np.bincount(y, minlength=encoder.n_outputs)
    rare = int(np.argmin(counts))
    share = counts[rare] / max(len(y), 1)
    if share >= _RARE * 2 / encoder.n_outputs or settings.class_weights is not None:
        return []
    usual = int(np.argmax(counts))
    return [
        f"Class {encoder.classes[rare]!r} is rare: {count(int(counts[rare]), 'row')} ({share:.1%}). Always saying "
        f"{encoder.classes[usual]!r} would be right for {counts[usual] / len(y):.1%}. All rows count alike; "
        "--class-weights balanced makes the classes do."
    ]
