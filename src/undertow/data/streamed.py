"""Tables larger than memory: the encoder is fitted on a stream of pieces, which are encoded as they are read."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Never

import numpy as np
from numpy.typing import NDArray

from undertow.data.as_frame import as_frame
from undertow.data.batches import read_fraction, read_whole
from undertow.data.cache import open_cached
from undertow.data.column_statistics import MOST_DISTINCT, SAMPLE, LeakCheck
from undertow.data.columns import ScalingOption, ValueColumn
from undertow.data.decimals import Decimal
from undertow.data.encoder import TabularEncoder, assemble
from undertow.data.fitting import ColumnFit, EncoderOptions
from undertow.data.footprint import give_back
from undertow.data.header import Header
from undertow.data.late import pl
from undertow.data.memory import MEMORY
from undertow.data.missing import Missing, mark_and_type, read_missing
from undertow.data.number_target import TargetScaling
from undertow.data.option_names import refuse_options
from undertow.data.ordered import rows_looked_at
from undertow.data.pieces import PieceSource
from undertow.data.reading import tell_reading
from undertow.data.roles import HoldOut, RandomGroups, RandomRows, Roles, TimeSample, read_weight_column
from undertow.data.source import ArraySource, Block, Example, Source
from undertow.data.table_pieces import FilePieces, FramePieces, Paths, ReadsPieces, TablePieces, find_files
from undertow.data.target import check_task, find_target
from undertow.data.target_fit import TargetFit
from undertow.data.tasks import Task
from undertow.data.text_columns import AsText, check_as_text, read_as_text
from undertow.data.weekdays import drop_weekdays, find_idle_weekdays
from undertow.data.wording import Origin, count
from undertow.errors import ArgumentError, DataError

_PIECES = 32  # a piece takes this part of the memory when it is read
_LEAST_MEMORY = 1_000_000
_SPREAD = 8  # pieces that stand for a table
_OF_EACH = 2000  # rows of such a piece
_KEPT = 1 / 8  # of the memory is for rows held out
_SHARE = 0.1  # of the rows is held out
_FEWEST = 1000  # rows that say how good a network is, to 1.6 % of an accuracy
_WIDTH = 16  # bytes that a column takes when it is encoded, roughly: four features


@dataclass(frozen=True, eq=False)
class StreamedTable:
    """A table to train on that may be larger than memory.

    Args:
        encoder: fitted on the training rows.
        train: the training rows, shuffled within bounded memory.
        validation: the rows held out, in order; None where none are.
        report: what was decided, as plain sentences.
        share: of the rows to be held out, as it was told or chosen.
    """

    encoder: TabularEncoder
    train: Source
    validation: Source | None
    report: list[str]
    share: float = 0.0


def stream_table(
    table: Any,
    target: str,
    *,
    validation: float | None = _SHARE,
    seed: int = 0,
    task: Task | None = None,
    memory: float = MEMORY,
    shuffle: bool = True,
    cache: str | os.PathLike[str] | None = None,
    max_categories: int = 50,
    weights: str | None = None,
    groups: str | None = None,
    time: str | None = None,
    leave_out: str | Sequence[str] = (),
    scaling: ScalingOption | Mapping[str, ScalingOption] = "standard",
    categories: Literal["one_hot", "codes"] = "one_hot",
    min_count: int = 1,
    dates: Literal["auto", "days", "parts"] = "auto",
    target_scaling: TargetScaling = "standard",
    decimal: Decimal = "auto",
    as_text: AsText = (),
    header: Header = True,
    missing: Missing = (),
    idle_weekdays: bool = True,
    **others: Never,
) -> StreamedTable:
    """Fit an encoder on a table in files, and open its rows as sources that are encoded as they are read.

    The files are read once to fit the encoder (text files twice: types are found first), then once an
    epoch. Quantiles are those of a random sample where there are more numbers than it holds.

    Args:
        table: a file as of ``read_table``, a folder or a pattern (``"data/*.parquet"``), a list of these, or a
            frame.
        target: the column to predict; rows without it are dropped.
        validation: the share of rows held out, 0 ≤ share < 1; drawn for each row by itself, so nearly reached. None
            holds out a tenth; of many rows drawn at random fewer, as many as are kept in memory between epochs.
        seed: of the rows held out.
        task: as in ``TabularEncoder.fit``.
        memory: bytes that reading may take, 1e6 or more.
        shuffle: False keeps the order of the files.
        cache: a folder to which the encoded training rows are written, once, as .npy files: they are as
            large as the encoded table is, read far faster, and mixed better. None encodes them each epoch.
        max_categories: as in ``TabularEncoder.fit``.
        weights: as in ``encode_table``.
        groups: as in ``encode_table``.
        time: as in ``encode_table``.
        leave_out: as in ``encode_table``.
        scaling: as in ``TabularEncoder.fit``.
        categories: as in ``TabularEncoder.fit``.
        min_count: as in ``TabularEncoder.fit``.
        dates: as in ``TabularEncoder.fit``.
        target_scaling: as in ``TabularEncoder.fit``.
        decimal: as in ``TabularEncoder.fit``; of text files as in ``read_table``.
        as_text: as in ``TabularEncoder.fit``.
        header: of text files, as in ``read_table``.
        missing: as in ``TabularEncoder.fit``.
        idle_weekdays: False leaves the weekdays of dates out where the target does not depend on them, in up to 2000
            rows of each of eight pieces spread over the table, which are read once more for it.
        **others: nothing: an option that is not there gets an error that says which was meant.

    Returns:
        The ``StreamedTable``.

    Raises:
        DataError: what is wrong with the files, with file and row; as ``TabularEncoder.fit``.
        ArgumentError: an option out of range.

    Source: derived here.

    Example:
        >>> table = stream_table({"x": range(100), "y": ["a", "b"] * 50}, "y", validation=0.2)
        >>> table.train.n_examples + table.validation.n_examples
        100
        >>> with table.train.epoch(0, batch_size=10) as blocks:
        ...     print(*(X.shape for X, y in blocks))
        (81, 1)
    """
    refuse_options(others, stream_table)
    roles = Roles(target, weights, groups, time, leave_out)
    texts = read_as_text(as_text)
    marks = read_missing(missing)
    options = EncoderOptions(max_categories, scaling, categories, min_count, dates, decimal, texts, marks)
    fraction, seed = None if validation is None else read_fraction(validation), read_whole(seed, "seed", 0)
    check_task(task)
    if isinstance(memory, bool) or not isinstance(memory, int | float) or not memory >= _LEAST_MEMORY:
        raise ArgumentError(f"memory must be {_LEAST_MEMORY} bytes or more, got {memory!r}.")
    if cache is not None and not os.fspath(cache).strip():
        raise ArgumentError(f"cache is {cache!r}. Give the name of a folder for encoded rows, or None.")
    pieces = open_pieces(table, int(memory / _PIECES), decimal, texts, header, marks)
    if target not in pieces.columns:
        find_target(pieces.read(int(np.argmax(pieces.heights)))[0], target)  # which says so
    roles.check(pieces.columns)
    check_as_text(texts, pieces.columns, target)
    if fraction is None:
        fraction = _choose_share(pieces, roles, memory)
    hold_out = _find_hold_out(pieces, roles, fraction, seed, decimal)
    kept = KeptRows(memory * _KEPT)
    encoder, sizes, report = _fit(
        pieces, roles, options, TargetFit(target, task, target_scaling, decimal), hold_out, memory, kept
    )
    give_back()
    if not idle_weekdays:
        encoder = _drop_idle_weekdays(EncodedPieces(pieces, encoder, roles, hold_out, sizes, held=False))
        report = encoder.report
    report += pieces.remarks
    parts = [EncodedPieces(pieces, encoder, roles, hold_out, sizes, held) for held in (False, True)]
    train = _open_rows(parts[0], memory, shuffle, cache, report)
    held = _open_held(parts[1], memory, kept, report)
    give_back()
    return StreamedTable(encoder, train, held, report, fraction)


def _open_rows(
    rows: EncodedPieces, memory: float, shuffle: bool, cache: str | os.PathLike[str] | None, report: list[str]
) -> Source:
    """The rows to train on: read from the files, or from a folder to which they are written once."""
    train = PieceSource(rows, memory, shuffle)
    if cache is not None:
        split = {"split": repr(rows.hold_out), "roles": vars(rows.roles), "version": rows.pieces.version()}
        report.append(f"Encoded rows: written to {Path(cache).name}, and read from there.")
        return open_cached(
            train, Path(cache), {**rows.describe(), "encoder": rows.encoder.to_json_dict(), **split}, memory
        )
    if isinstance(rows.pieces, FilePieces):
        report += rows.pieces.tell_groups(train.n_examples * train.example.bytes)
    return train


def _open_held(rows: EncodedPieces, memory: float, kept: KeptRows, report: list[str]) -> Source | None:
    """The rows held out, in memory where they fit: otherwise all files are read for them each time."""
    if not rows.sizes.sum():
        return None
    held = PieceSource(rows, memory).in_order()
    if held.n_examples * held.example.bytes > memory * _KEPT:
        report.append("The rows held out are read from the files anew each time: they are more than memory holds.")
        return held
    if kept.parts:
        arrays = [np.concatenate(blocks) for blocks in zip(*(rows.encode(*part) for part in kept.parts), strict=True)]
    else:
        with held.epoch(0) as found:
            told = tell_reading("the rows held out", found, held.n_examples, lambda block: len(block[0]))
            arrays = [np.concatenate(blocks) for blocks in zip(*told, strict=True)]
    return ArraySource(arrays[0], arrays[1], arrays[2] if len(arrays) > 2 else None, shuffle=False)


def _choose_share(pieces: TablePieces, roles: Roles, memory: float) -> float:
    """A tenth of the rows, or as many of those drawn at random as memory holds: to read all files again takes long."""
    if roles.groups is not None or roles.time is not None:
        return _SHARE
    n = max(memory * _KEPT / (_WIDTH * len(pieces.columns)), _FEWEST)
    return min(_SHARE, float(f"{n / sum(pieces.heights):.2g}"))


def open_pieces(
    table: Any,
    piece_bytes: int,
    decimal: Decimal = "auto",
    as_text: Sequence[str] = (),
    header: Header = True,
    marks: Sequence[str] = (),
) -> TablePieces:
    """Open files or a frame in pieces."""
    if isinstance(table, str) or hasattr(table, "__fspath__") or isinstance(table, list | tuple):
        paths: Paths = table
        return FilePieces(find_files(paths), piece_bytes, as_text, decimal, header, marks)
    frame = mark_and_type(as_frame(table), marks, as_text)
    if frame.height == 0 or frame.width == 0:
        raise DataError("the table has no rows. Give at least one.")
    return FramePieces(frame, max(piece_bytes // (16 * frame.width), 1))


def _read_pieces(
    pieces: TablePieces, what: str, columns: list[str] | None = None
) -> Iterator[tuple[int, int, pl.DataFrame, Origin | None]]:
    """(number, first row, frame, origin) of each piece that has rows; what they are read for is told."""
    first, ordered = 0, pieces.in_order()
    for number, height in enumerate(tell_reading(what, pieces.heights, len(pieces.heights))):
        if height:
            frame, origin = ordered.read(number, columns)
            yield number, first, frame, origin
        first += height


def _find_hold_out(pieces: TablePieces, roles: Roles, fraction: float, seed: int, decimal: Decimal) -> HoldOut | None:
    if fraction == 0:
        return None
    if roles.groups is not None:
        return RandomGroups(roles.groups, fraction, seed)
    if roles.time is None:
        return RandomRows(fraction, seed)
    sample = TimeSample(roles.time, decimal)
    for _, _, frame, origin in _read_pieces(pieces, "which rows are the latest", [roles.time]):
        sample.update(frame[roles.time], origin)
    return sample.hold_out(fraction)


class KeptRows:
    """The rows held out, as they were read, unless they take more memory than they may.

    Args:
        most: bytes.

    Attributes:
        parts: rows of each piece that has some, and where they stand; none where they are too many.
    """

    def __init__(self, most: float) -> None:
        self.parts: list[tuple[pl.DataFrame, Origin | None]] = []
        self._left = most

    def add(self, frame: pl.DataFrame, origin: Origin | None) -> None:
        """Keep rows of one more piece."""
        self._left -= frame.estimated_size()
        if self._left < 0:
            self.parts.clear()
        elif frame.height:
            self.parts.append((frame, origin))


def choose_rows(
    frame: pl.DataFrame, origin: Origin | None, target: str, first: int, hold_out: HoldOut | None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The rows of a piece to train on, and those held out; rows without a target are neither."""
    present = find_target(frame, target, origin).is_not_null().to_numpy()
    if hold_out is None:
        return np.flatnonzero(present), np.zeros(0, dtype=np.int64)
    held = hold_out.mask(first, frame, origin)
    return np.flatnonzero(present & ~held), np.flatnonzero(present & held)


def _fit(
    pieces: TablePieces,
    roles: Roles,
    options: EncoderOptions,
    target: TargetFit,
    hold_out: HoldOut | None,
    memory: float,
    kept: KeptRows,
) -> tuple[TabularEncoder, NDArray[np.int64], list[str]]:
    """Read all pieces once: the encoder, and how many rows of each piece are trained on and held out (kept)."""
    names = [name for name in pieces.columns if name != roles.target and name not in roles.left_out]
    limit = max(min(SAMPLE, int(memory / 8 / 16 / max(len(names), 1))), 1000)
    distinct = max(min(MOST_DISTINCT, int(memory / 8 / 64 / max(len(names), 1))), 10 * options.max_categories)
    columns = [(ColumnFit(name, options, limit, distinct), LeakCheck(name, roles.target)) for name in names]
    sizes = np.zeros((len(pieces.heights), 2), dtype=np.int64)
    weight = 0.0
    for number, first, frame, origin in _read_pieces(pieces, "what is in the columns"):
        rows, held = choose_rows(frame, origin, roles.target, first, hold_out)
        sizes[number] = rows.size, held.size
        beside, beside_origin = frame[held], None if origin is None else origin.take(held)
        kept.add(beside, beside_origin)
        frame, origin = frame[rows], None if origin is None else origin.take(rows)
        labels = find_target(frame, roles.target, origin)
        target.update(labels, origin)
        target.look_at(frame.drop(*roles.left_out), 1 + rows_looked_at(frame.width) // len(pieces.heights))
        if roles.weights is not None:
            weight += float(read_weight_column(frame[roles.weights], origin).sum())
        for fit, leak in columns:
            fit.update(frame[fit.name], origin)
            fit.check(beside[fit.name], beside_origin)
            leak.update(frame[fit.name], labels)
    n_rows = sum(pieces.heights)
    n_train, n_held = (int(n) for n in sizes.sum(axis=0))
    if n_train == 0:
        lost = "every target is missing" if n_held == 0 else f"{count(n_held, 'row')} held out"
        raise DataError(f"no row is left to train on ({lost}). Give more rows, or hold out fewer for validation.")
    if roles.weights is not None and weight == 0:
        raise DataError(f"weights {roles.weights!r} are 0 in every row to train on. Give some rows a weight above 0.")
    n_dropped = n_rows - n_train - n_held
    fitted, said = target.decide(n_dropped)
    if n_dropped:
        verb = "was" if n_dropped == 1 else "were"
        said.insert(1, f"Target {roles.target!r}: {count(n_dropped, 'row')} without a value {verb} dropped.")
    encoder = assemble(fitted, said, columns, roles.left_out, options.missing)
    if any(fit.numbers is not None and not fit.numbers.exact for fit, _ in columns):
        encoder.report.append(f"Medians and quantiles: of {limit} rows drawn at random, as there are {n_train}.")
    if hold_out is not None and n_held:
        encoder.report.append(hold_out.say(n_held / (n_train + n_held)))
    elif hold_out is not None:
        encoder.report.append(f"Validation: none of the {count(n_train, 'row')} was held out, as they are few.")
    return encoder, sizes, encoder.report


def _drop_idle_weekdays(parts: EncodedPieces) -> TabularEncoder:
    """The encoder without weekdays on which the target does not depend, as far as a part of the rows tells."""
    encoder = parts.encoder
    if not any(isinstance(column, ValueColumn) and "weekday" in column.parts for column in encoder.columns):
        return encoder
    filled = np.flatnonzero(parts.sizes)
    blocks = []
    for number in np.unique(filled[np.linspace(0, len(filled) - 1, _SPREAD).astype(np.int64)]):
        X, y, *_ = parts.read(int(number))
        step = -(-len(X) // _OF_EACH)
        blocks.append((X[::step], y[::step]))
    X, y = (np.concatenate(arrays) for arrays in zip(*blocks, strict=True))
    return drop_weekdays(encoder, find_idle_weekdays(encoder, X, y))


class EncodedPieces:
    """The training rows, or the rows held out, of a table in pieces, encoded as they are read.

    Args:
        pieces: the table.
        encoder: fitted.
        roles: of its columns.
        hold_out: which rows are held out.
        sizes: int64 (n_pieces, 2): rows to train on, rows held out.
        held: whether these are the rows held out.
    """

    def __init__(
        self,
        pieces: TablePieces,
        encoder: TabularEncoder,
        roles: Roles,
        hold_out: HoldOut | None,
        sizes: NDArray[np.int64],
        held: bool,
    ) -> None:
        self.pieces, self.encoder, self.roles, self.hold_out, self.held = pieces, encoder, roles, hold_out, held
        self.reader: ReadsPieces = pieces
        self.sizes = sizes[:, int(held)]
        self.firsts = np.append(0, np.cumsum(pieces.heights))
        classifies = encoder.task == "classification"
        shapes: list[tuple[int, ...]] = [(encoder.n_features,), () if classifies else (1,)]
        dtypes: list[Any] = [np.float32, np.int64 if classifies else np.float32]
        if roles.weights is not None:
            shapes, dtypes = [*shapes, ()], [*dtypes, np.float32]
        self.example = Example(tuple(shapes), tuple(np.dtype(dtype) for dtype in dtypes))
        used = [column.name for column in encoder.columns]
        self.columns = list(dict.fromkeys([*used, *(name for name in vars(roles).values() if name is not None)]))

    def read(self, number: int) -> Block:
        """The encoded rows of one piece."""
        frame, origin = self.reader.read(number, self.columns)
        chosen = choose_rows(frame, origin, self.roles.target, int(self.firsts[number]), self.hold_out)
        rows = chosen[int(self.held)]
        if rows.size != self.sizes[number]:
            place = "the table" if origin is None else origin.file
            raise DataError(f"{place} has changed since it was opened. Open it again.")
        return self.encode(frame[rows], None if origin is None else origin.take(rows))

    def encode(self, frame: pl.DataFrame, origin: Origin | None) -> Block:
        """Encode rows of the table."""
        silent: list[str] = []
        X = self.encoder.transform(frame, origin=origin, report=silent)
        block: Block = (X, self.encoder.encode_target(frame, origin=origin))
        if self.roles.weights is None:
            return block
        return (*block, read_weight_column(frame[self.roles.weights], origin))

    def in_order(self) -> EncodedPieces:
        """The same rows, where one piece is read after another: less of a Parquet file is decoded twice."""
        made = copy(self)
        made.reader = self.pieces.in_order()
        return made

    def describe(self) -> dict[str, object]:
        """What the table is, as JSON values."""
        return {**self.pieces.describe(), "part": "validation" if self.held else "train"}
