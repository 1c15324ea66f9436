"""The tabular encoder: a table of mixed columns to a matrix of float32, and predictions back to labels."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Never

import numpy as np
from numpy.typing import ArrayLike, NDArray

from undertow.data.column_notes import EncodingNotes, check_columns, join_errors
from undertow.data.column_statistics import LeakCheck
from undertow.data.columns import CategoryColumn, CodeFeature, Column, ScalingOption, ValueColumn, list_kinds
from undertow.data.decimals import Decimal
from undertow.data.encoder_record import read_encoder
from undertow.data.fitting import ColumnFit, EncoderOptions, share_scale
from undertow.data.late import pl
from undertow.data.missing import Missing, mark_given, read_missing, say_missing
from undertow.data.number_blocks import encode_blocks
from undertow.data.number_target import TargetScaling
from undertow.data.option_names import ENCODERS, refuse_options
from undertow.data.reading import tell_reading
from undertow.data.state import Label
from undertow.data.target import (
    ClassTarget,
    Target,
    check_frame,
    choose_task,
    drop_missing_target,
    find_target,
    fit_target,
)
from undertow.data.target_checks import check_one_value
from undertow.data.target_layout import read_target_layout, with_layout
from undertow.data.tasks import Task
from undertow.data.text_columns import AsText, check_as_text, read_as_text
from undertow.data.wording import Origin, count, join_alike, list_names
from undertow.errors import DataError, DataWarning
from undertow.habits import missing_attribute

ENCODER_VERSION = 2


@dataclass(frozen=True)
class TabularEncoder:
    """What a table's columns became in training, and the same for every later table.

    Numbers are standardised (a missing one becomes the training median and, where training had missing
    values too, sets a flag), booleans are 0 and 1, dates are days, texts are one feature a category.
    Made by ``TabularEncoder.fit`` from training rows alone, so that nothing of the validation rows
    leaks in.

    Args:
        target: the column to predict, ``ClassTarget`` or ``NumberTarget``.
        columns: the fitted feature columns, in the table's order.
        dropped: the columns that are not used, each with the reason.
        report: every decision as a plain sentence.
        missing: what stood for a missing value beside the usual marks, and does in later tables.

    Example:
        >>> columns = {"age": [20, 40, None], "city": ["Oslo", "Rome", "Oslo"], "buys": ["no", "yes", "no"]}
        >>> frame = pl.DataFrame(columns)
        >>> encoder = TabularEncoder.fit(frame, "buys")
        >>> encoder.feature_names
        ['age', 'age is missing', 'city=Oslo', 'city=Rome']
        >>> encoder.transform(frame).round(2).tolist()
        [[-1.2200000286102295, 0.0, 1.0, 0.0], [1.2200000286102295, 0.0, 0.0, 1.0], [0.0, 1.0, 1.0, 0.0]]
        >>> encoder.encode_target(frame)
        array([0, 1, 0])
        >>> encoder.decode([0, 1]).tolist()
        ['no', 'yes']
    """

    target: Target
    columns: tuple[Column, ...]
    dropped: dict[str, str] = field(default_factory=dict)
    report: list[str] = field(default_factory=list)
    missing: tuple[str, ...] = ()

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Never:
            raise missing_attribute("a table's encoder", name, ENCODERS)

    @staticmethod
    def fit(
        frame: pl.DataFrame,
        target: str,
        *,
        task: Task | None = None,
        max_categories: int = 50,
        origin: Origin | None = None,
        scaling: ScalingOption | Mapping[str, ScalingOption] = "standard",
        categories: Literal["one_hot", "codes"] = "one_hot",
        min_count: int = 1,
        dates: Literal["auto", "days", "parts"] = "auto",
        left_out: Mapping[str, str] | None = None,
        beside: pl.DataFrame | None = None,
        beside_origin: Origin | None = None,
        target_scaling: TargetScaling = "standard",
        decimal: Decimal = "auto",
        as_text: AsText = (),
        missing: Missing = (),
        **others: Never,
    ) -> TabularEncoder:
        """Decide from training rows how every column is encoded.

        Args:
            frame: the training rows, a polars DataFrame; rows without a target are left out.
            target: the name of the column to predict.
            task: "classification" or "regression"; None finds it from the target (``find_task``).
            max_categories: a text column with more distinct values is dropped, or its rarest ones are joined
                where ``min_count`` is above 1.
            origin: where the rows came from (``read_table_with_origin``), for messages.
            scaling: of numbers, for all columns or by column name: "standard" (mean 0, deviation 1),
                "robust" (median 0, distance of the quartiles 1), "quantile" (normal values of the same
                ranks), "both" ("standard" and "quantile"), "none", or "auto": "both" where a training value is more
                than 10 deviations from the mean, else "standard", with one common scale for columns that vary alike.
            categories: "one_hot", or "codes": one column of whole numbers for an embedding (``codes``).
            min_count: texts in fewer training rows are joined to one category, as are texts not seen.
            dates: "days", "parts": also year, month, weekday, day of year and hour where they vary, or "auto": beside
                the days hour, weekday and day of year where they vary and two whole cycles of them are there.
            left_out: columns that are no features, each with the reason.
            beside: rows held out, whose texts must be written as the others are: ``25.07.2023``, ``$1,234.50``.
            beside_origin: where those came from.
            target_scaling: of a number to predict: "standard", "log", "log1p", "mean" (counts divided by it), "none".
            decimal: what 1,234 is in a column of texts that may have a decimal "comma" or "point"; "auto": 1234.
            as_text: columns of numbers or dates that are names, such as postcodes: categories; a name, or several.
            missing: texts or numbers that stand for a missing value, in any column, kept for later tables: [".", -999].
            **others: nothing: an option that is not there gets an error that says which was meant.

        Returns:
            The fitted encoder; ``encoder.report`` says what was decided.

        Raises:
            ArgumentError: ``task must be 'classification' or 'regression', got 'cluster'.``
            DataError: ``there is no column 'prize' (did you mean 'price'?) to predict. …``; one class
                only; an infinite number; or no column left to learn from.

        Example:
            >>> encoder = TabularEncoder.fit(pl.DataFrame({"x": [1.0, 3.0], "y": [0.5, 1.5]}), "y")
            >>> encoder.task, encoder.target.mean, encoder.target.scale
            ('regression', 1.0, 0.5)
        """
        refuse_options(others, TabularEncoder.fit)
        marks = read_missing(missing)
        options = EncoderOptions(max_categories, scaling, categories, min_count, dates, decimal, as_text, marks)
        check_frame(frame)
        frame = mark_given(frame, marks)
        check_as_text(read_as_text(as_text), frame.columns, target)
        frame, layout, written = read_target_layout(frame, target, task, origin, decimal)
        task, why = choose_task(frame, target, task, left_out or ())
        n_rows = frame.height
        frame, origin, said = drop_missing_target(frame, target, origin)
        report = [why, *written, *said]
        labels = find_target(frame, target, origin)
        check_one_value(labels, task == "classification", n_rows - frame.height)
        fitted, said = fit_target(labels, task, origin, target_scaling)
        reasons = dict(left_out or {})
        columns = []
        for series in tell_reading("what is in the columns", frame.drop(target), frame.width - 1):
            if series.name not in reasons:
                column, leak = ColumnFit(series.name, options), LeakCheck(series.name, target)
                column.update(series, origin)
                if beside is not None:
                    column.check(mark_given(beside.select(series.name), marks)[series.name], beside_origin)
                leak.update(series, labels)
                columns.append((column, leak))
        return assemble(with_layout(fitted, layout), report + said, columns, reasons, marks)

    @property
    def task(self) -> Task:
        """What the target sets: "classification" or "regression"."""
        return "classification" if isinstance(self.target, ClassTarget) else "regression"

    @property
    def classes(self) -> tuple[Label, ...]:
        """The class labels, sorted; empty for a regression."""
        return self.target.classes if isinstance(self.target, ClassTarget) else ()

    @property
    def n_outputs(self) -> int:
        """How many outputs a network needs: one a class, or one number."""
        return len(self.classes) or 1

    @property
    def feature_names(self) -> list[str]:
        """The name of every column of the encoded matrix: "age", "age is missing", "city=Paris"."""
        return [name for column in self.columns for name in column.feature_names]

    @property
    def n_features(self) -> int:
        """The number of columns of the encoded matrix."""
        return sum(len(column.feature_names) for column in self.columns)

    @property
    def codes(self) -> list[CodeFeature]:
        """The features that hold codes, for networks with embeddings; see ``categories="codes"``.

        Example:
            >>> frame = pl.DataFrame({"x": [1, 2, 3], "town": ["Oslo", "Rome", "Oslo"], "y": [0, 1, 0]})
            >>> TabularEncoder.fit(frame, "y", categories="codes").codes
            [CodeFeature(index=1, name='town', cardinality=3)]
        """
        found, index = [], 0
        for column in self.columns:
            if isinstance(column, CategoryColumn) and column.codes:
                found.append(CodeFeature(index, column.name, column.cardinality))
            index += len(column.feature_names)
        return found

    @property
    def text_columns(self) -> list[str]:
        """The columns that hold text, for ``read_table(path, as_text=encoder.text_columns)``."""
        return list(self.known_texts)

    @property
    def known_texts(self) -> dict[str, tuple[str, ...]]:
        """The same with their categories or classes, for a text of training is no missing value later."""
        texts = [column for column in self.columns if isinstance(column, CategoryColumn) or column.layout]
        known = {x.name: x.categories if isinstance(x, CategoryColumn) else () for x in texts}
        labels = tuple(label for label in self.classes if isinstance(label, str))
        return known | ({self.target.name: labels} if labels or getattr(self.target, "layout", "") != "" else {})

    def transform(
        self,
        frame: pl.DataFrame,
        *,
        origin: Origin | None = None,
        report: list[str] | None = None,
        notes: EncodingNotes | None = None,
    ) -> NDArray[np.float32]:
        """Encode a table's feature columns; the target need not be there.

        Args:
            frame: m rows with at least the columns of training, in any order.
            origin: where the rows came from, for messages.
            report: sentences about unseen categories, filled values, columns without a value, numbers far outside of
                training's range and ignored columns are appended here; where it is None, each is a ``DataWarning``.
            notes: of a table in pieces: what is to be said is added here instead, for ``tell`` to say at its end.

        Returns:
            Float32 array (m, n_features), finite, C-contiguous.

        Raises:
            DataError: ``the table lacks 1 column that training had: 'age' (did you mean 'Age'?). …``, or
                ``people.csv, row 7: column 'age' holds 'abc', which is no number as in training …``.

        Example:
            >>> encoder = TabularEncoder.fit(pl.DataFrame({"x": ["a", "b"], "y": [0, 1]}), "y")
            >>> said = []
            >>> encoder.transform(pl.DataFrame({"x": ["b", "c"]}), report=said)
            array([[0., 1.],
                   [0., 0.]], dtype=float32)
            >>> print(*said)
            'x': 1 value not seen in training ('c'); encoded as no category.
        """
        check_frame(frame)
        check_columns(frame, [column.name for column in self.columns], origin)
        numbers = [x.name for x in self.columns if isinstance(x, ValueColumn) and x.kind == "number"]
        frame = mark_given(frame, self.missing, numbers)
        found = EncodingNotes() if notes is None else notes
        known = {self.target.name, *self.dropped, *(column.name for column in self.columns)}
        found.add_extra([name for name in frame.columns if name not in known])
        X = np.zeros((frame.height, self.n_features), dtype=np.float32)
        start, done, bad = 0, encode_blocks(self.columns, frame, X), {}
        for column in self.columns:
            stop, x = start + len(column.feature_names), frame[column.name]
            try:
                found.add(column.name, done.get(column.name) or column.encode(x, X[:, start:stop], origin))
            except DataError as error:
                bad[column.name] = error
            start = stop
        if bad:
            raise join_errors(bad)
        if notes is not None:
            return X
        if report is None:
            for sentence in self.tell(found):
                warnings.warn(sentence, DataWarning, stacklevel=2)
        else:
            report += self.tell(found)
        return X

    def tell(self, notes: EncodingNotes) -> list[str]:
        r"""Say what a table holds that training did not have.

        Args:
            notes: of ``transform``, of all pieces of the table.

        Returns:
            Sentences, at most two a column.

        Example:
            >>> encoder = TabularEncoder.fit(pl.DataFrame({"x": [1.0, 3.0], "y": [0.5, 1.5]}), "y")
            >>> notes = EncodingNotes()
            >>> X = [encoder.transform(pl.DataFrame({"x": [x]}), notes=notes) for x in (2.0, 50.0, None)]
            >>> print(*encoder.tell(notes), sep="\n")
            'x': 1 missing value where training had none; filled with 2.
            'x': 1 value far outside of training's range, 1 to 3; the farthest is 50 (row 1), counted as 5.
        """
        said = []
        if notes.extra:
            found = count(len(notes.extra), "column")
            said.append(f"Ignored {found} that training did not have: {list_names(notes.extra)}.")
        for column in self.columns:
            if column.name in notes.columns:
                said += column.tell(notes.columns[column.name])
        return said

    def encode_target(
        self, frame: pl.DataFrame, *, origin: Origin | None = None
    ) -> NDArray[np.int64] | NDArray[np.float32]:
        """Encode a table's target column.

        Args:
            frame: m rows with the target column, no value missing (``drop_missing_target``).
            origin: where the rows came from, for messages.

        Returns:
            Classification: int64 class indices (m,). Regression: standardised float32 (m, 1).

        Raises:
            DataError: ``row 3: target 'price' is missing (1 such row). …``, or a class that training
                did not have.

        Example:
            >>> encoder = TabularEncoder.fit(pl.DataFrame({"x": [1, 2], "y": [10.5, 20.5]}), "y")
            >>> encoder.encode_target(pl.DataFrame({"y": [15.5, 20.5]})).tolist()
            [[0.0], [1.0]]
        """
        labels = find_target(mark_given(frame, self.missing), self.target.name, origin)
        return self.target.encode(labels, origin)

    def decode(self, outputs: ArrayLike) -> NDArray[np.generic]:
        """Turn a model's outputs into values of the target column.

        Args:
            outputs: classification: integer class indices (m,) or scores (m, n_classes), the largest of
                which wins; regression: standardised numbers (m,) or (m, 1).

        Returns:
            Array (m,): labels (object for str, else int64, bool or float64), or float64 numbers in the
            target's unit.

        Raises:
            ShapeError: ``decode: the scores are (5, 3), but there are 2 classes. …``
            ArgumentError: a class index out of range, or indices that are no integers.

        Example:
            >>> encoder = TabularEncoder.fit(pl.DataFrame({"x": [1, 2], "y": [False, True]}), "y")
            >>> encoder.decode([[0.2, 0.8], [0.9, 0.1]])
            array([ True, False])
        """
        return self.target.decode(np.asarray(outputs))

    def to_json_dict(self) -> dict[str, object]:
        """The encoder as JSON values (``json.dumps`` takes them).

        Returns:
            A dictionary that ``TabularEncoder.from_json_dict`` turns back into an equal encoder.

        Example:
            >>> import json
            >>> encoder = TabularEncoder.fit(pl.DataFrame({"x": [1, 2], "y": [False, True]}), "y")
            >>> TabularEncoder.from_json_dict(json.loads(json.dumps(encoder.to_json_dict()))) == encoder
            True
        """
        return {
            "version": ENCODER_VERSION,
            "target": self.target.to_json_dict(),
            "columns": [column.to_json_dict() for column in self.columns],
            "dropped": dict(self.dropped),
            "report": list(self.report),
            **({"missing": list(self.missing)} if self.missing else {}),
        }

    @staticmethod
    def from_json_dict(record: Mapping[str, object]) -> TabularEncoder:
        """Rebuild an encoder from ``to_json_dict``; every value is checked and no code is run.

        Args:
            record: the dictionary, as ``json.loads`` gives it.

        Returns:
            An encoder equal to the one that was saved.

        Raises:
            RunError: ``table encoder: lacks target. The encoder's record is damaged: restore the file …``

        Example:
            >>> TabularEncoder.from_json_dict({"version": 99})
            Traceback (most recent call last):
            undertow.errors.RunError: table encoder: version 99 is unknown, 2 is read. Train again, or ...
        """
        return TabularEncoder(*read_encoder(record, ENCODER_VERSION))


def assemble(
    target: Target,
    report: list[str],
    columns: list[tuple[ColumnFit, LeakCheck]],
    left_out: dict[str, str],
    missing: tuple[str, ...] = (),
) -> TabularEncoder:
    """Make an encoder of what was seen of the training rows.

    Args:
        target: the fitted target.
        report: what was said of it.
        columns: what was seen of each column.
        left_out: columns that are no features, each with the reason.
        missing: marks of a missing value.

    Returns:
        The encoder; DataError where no column is left.
    """
    dropped = {name: f"{name!r}: {reason}." for name, reason in left_out.items()}
    report = [*report, *say_missing(missing), *dropped.values()]
    kept: list[Column] = []
    for fit, leak in columns:
        column, said = fit.decide()
        report += said
        if column is None:
            dropped[fit.name] = said[-1]
        else:
            kept.append(column)
            report += leak.say()
    if all(fit.options.scaling == "auto" for fit, _ in columns):
        kept, said = share_scale(kept)
        report += said
    if not kept:
        reasons = " ".join(join_alike(dropped.values())) or "The table has no other column."
        raise DataError(f"no column is left to predict {target.name!r} from. {reasons} Give other columns.")
    return TabularEncoder(target, tuple(kept), dropped, report + list_kinds(kept), missing)
