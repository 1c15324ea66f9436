"""Deciding from training values how a column is encoded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

import numpy as np

from undertow.data.column_statistics import NumberStatistics, TextStatistics
from undertow.data.columns import (
    CategoryColumn,
    Column,
    Kind,
    Scaling,
    ScalingOption,
    ValueColumn,
    read_numbers,
    read_texts,
    show_value,
)
from undertow.data.dates import PARTS, PartsSeen, choose_cycles
from undertow.data.decimals import Decimal, check_decimal
from undertow.data.late import pl
from undertow.data.layouts import COMPACT, COMPACT_RANGE, LayoutsSeen
from undertow.data.likeness import SAMPLE, tell_likeness, tell_sentences
from undertow.data.nearly import NearlyWritten
from undertow.data.parse import mark_missing
from undertow.data.ranks import find_knots
from undertow.data.sentinels import tell_sentinel
from undertow.data.target_checks import FEW_DISTINCT, tell_alike
from undertow.data.text_columns import IDENTIFIER, NEARLY_UNIQUE, AsText, NumbersAmongTexts, read_as_text, tell_codes
from undertow.data.wording import Origin, count, list_names, shorten
from undertow.errors import ArgumentError, DataError
from undertow.spelling import did_you_mean

_KINDS: dict[str, Kind] = {
    "Boolean": "boolean",
    "Date": "date",
    "Datetime": "date",
    "Duration": "duration",
    "Time": "duration",
}
_TEXTS = ("String", "Categorical", "Enum")
_DECISIONS = {"date": "a date, encoded as days since 1970-01-01", "duration": "a time, encoded in days"}
_EXACT = 2.0**53  # above this float64 has not every whole number
_FEW_ROWS = 20  # below this, "nearly unique" says nothing
_MANY_TEXTS, _MOSTLY_SINGLE = 50, 0.5  # so many, in less than two rows each, are an identifier or free text as well
_HALF_REPEATED = 0.5  # of the values have a text that stands in another row too: then they do not identify rows
_MOSTLY_NUMBERS = 0.95
_ALIKE = 5  # times the smallest deviation
_HEAVY = 10  # standard deviations from the mean: standardised, such a value would drown all others


@dataclass(frozen=True)
class EncoderOptions:
    """How columns are to be encoded; see ``TabularEncoder.fit``."""

    max_categories: int = 50
    scaling: ScalingOption | Mapping[str, ScalingOption] = "standard"
    categories: Literal["one_hot", "codes"] = "one_hot"
    min_count: int = 1
    dates: Literal["auto", "days", "parts"] = "auto"
    decimal: Decimal = "auto"
    as_text: AsText = ()
    missing: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "as_text", read_as_text(self.as_text))
        for name in ("max_categories", "min_count"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ArgumentError(f"{name} must be 1 or more, got {value}.")
        given = list(self.scaling.values()) if isinstance(self.scaling, Mapping) else [self.scaling]
        _check_choices("scaling", given, (*get_args(Scaling), "auto"))
        _check_choices("categories", [self.categories], ("one_hot", "codes"))
        check_decimal(self.decimal)
        _check_choices("dates", [self.dates], ("auto", "days", "parts"))

    def scaling_of(self, name: str) -> ScalingOption:
        """The scaling of a column of numbers."""
        return self.scaling.get(name, "standard") if isinstance(self.scaling, Mapping) else self.scaling


def _check_choices(name: str, given: Sequence[object], choices: tuple[str, ...]) -> None:
    for value in given:
        if value not in choices:
            raise ArgumentError(f"{name} is {value!r}. {did_you_mean(value, choices)}Choose {', '.join(choices)}.")


@dataclass(eq=False)
class ColumnFit:
    """What was seen of one training column, part by part, and the decision at the end.

    Args:
        name: of the column.
        options: of the encoder.
        sample: the most numbers kept for quantiles; None keeps all.
        distinct: the most different texts counted; None counts all.
    """

    name: str
    options: EncoderOptions
    sample: int | None = None
    distinct: int | None = None
    dtype: pl.DataType | None = None
    numbers: NumberStatistics | None = None
    texts: TextStatistics | None = None
    whole: bool = True  # of an integer type
    kind: Kind = "number"
    among: NumbersAmongTexts = field(init=False)
    nearly: NearlyWritten = field(init=False)
    parts: PartsSeen = field(default_factory=PartsSeen.none)
    layouts: LayoutsSeen | None = None  # of texts
    _unfilled: int = 0  # missing values before the first that says of what type the column is

    def __post_init__(self) -> None:
        self.among = NumbersAmongTexts(self.name)
        self.nearly = NearlyWritten(self.name, self.options.decimal)

    @property
    def stays_text(self) -> bool:
        """Whether its values are texts because somebody says so."""
        return self.name in self.options.as_text

    def update(self, series: pl.Series, origin: Origin | None) -> None:
        """Add a part of the column."""
        if self.stays_text:
            series = read_texts(series, origin)
        dtype = series.dtype
        if self.dtype is None:
            present = series.fill_nan(None) if dtype.is_float() else series
            if present.count() == 0:
                self._unfilled += len(series)
                return
            self._begin(dtype)
        if self.texts is not None:
            self._update_texts(series, origin)
        elif self.numbers is not None:
            numbers = read_numbers(series, self.kind, origin)
            self.whole &= dtype.is_integer()
            self.numbers.update(numbers)
            if self.layouts is not None and self.layouts.names:
                if bool(np.any((numbers < COMPACT_RANGE[0]) | (numbers >= COMPACT_RANGE[1]))):
                    self.layouts = None  # most whole numbers: these are no days
                else:
                    self.layouts.update(series.cast(pl.String))
            if self.kind == "date" and self.options.dates != "days":
                self.parts.update(numbers)

    def _begin(self, dtype: pl.DataType) -> None:
        self.dtype = dtype
        if dtype.base_type().__name__ in _TEXTS:
            self.texts = TextStatistics(self.distinct, n_missing=self._unfilled)
            if dtype == pl.String and not self.stays_text:
                self.layouts = LayoutsSeen(self.sample, n_missing=self._unfilled)
            return
        self.kind = _KINDS.get(dtype.base_type().__name__, "number")
        self.numbers = NumberStatistics(self.sample, n_missing=self._unfilled)
        if dtype.is_integer():
            self.layouts = LayoutsSeen(self.sample, [COMPACT], plain=False, n_missing=self._unfilled)

    def _update_texts(self, series: pl.Series, origin: Origin | None) -> None:
        assert self.texts is not None
        texts = read_texts(series, origin)
        self.texts.update(texts)
        if self.stays_text:
            return
        self.among.update(texts, origin)
        if self.layouts is not None:
            texts, before = mark_missing(texts), self.layouts.names
            self.layouts.update(texts)
            self.nearly.update(texts, before, self.layouts.names, origin)

    def check(self, series: pl.Series, origin: Origin | None = None) -> None:
        """See of rows that are held out whether they are written as the others; nothing else is taken of them."""
        if series.dtype.base_type().__name__ in _TEXTS and not self.stays_text:
            self.among.update(read_texts(series, origin), origin, held=True)
        if self.layouts is not None and series.dtype == pl.String:
            texts, before = mark_missing(series), self.layouts.names
            self.layouts.check(texts)
            self.nearly.update(texts, before, self.layouts.names, origin, held=True)
        elif self.layouts is not None and self.layouts.names and series.dtype.is_integer():
            self.layouts.check(series.cast(pl.String))

    def decide(self) -> tuple[Column | None, list[str]]:
        """Say how the column is encoded.

        Returns:
            The fitted column, or None where it is dropped; and the sentences that say what was decided.
            Where it is dropped, the last sentence is the reason.
        """
        if self.texts is not None:
            return self._decide_layout(self.layouts) or self._decide_categories(self.texts)
        if self.numbers is None:
            return None, [f"{self.name!r}: dropped, it holds no value."]
        if self.layouts is not None and self.layouts.are_days() and (decided := self._decide_layout(self.layouts)):
            return decided
        said = []
        if (
            self.whole
            and IDENTIFIER.fullmatch(self.name)
            and (share := _share_of_distinct(self.numbers)) > NEARLY_UNIQUE
        ):
            rows = "every row" if share == 1 else "nearly every row"
            return None, [f"{self.name!r}: dropped, {rows} has another number: it identifies rows."]
        if self.whole and _counts_rows(self.numbers):
            said.append(
                f"{self.name!r}: every row has another whole number, almost without gaps; kept as a number. "
                f"Leave it out if it only counts the rows: leave_out={self.name!r} (--leave-out)."
            )
        elif self.whole:
            said += tell_codes(self.name, self.numbers.sample, self.options.max_categories)
        column, decisions = self._decide_values(self.numbers)
        return column, said + decisions

    def _decide_layout(self, found: LayoutsSeen | None) -> tuple[Column | None, list[str]] | None:
        """Texts that are numbers or dates, all written in one way; None where they are not."""
        layout, remarks = (None, []) if found is None else found.choose(self.options.decimal)
        if found is None or layout is None:
            return None
        self.kind, self.whole = layout.kind, False
        self.parts = found.parts.get(layout.name, self.parts)
        column, said = self._decide_values(found.numbers[layout.name])
        written = "; ".join([f"{self.name!r}: {layout.kind}s written as {layout.show()}", *remarks])
        return None if column is None else replace(column, layout=layout.name), [f"{written}.", *said]

    def _decide_values(self, found: NumberStatistics) -> tuple[ValueColumn | None, list[str]]:
        """Median, mean and standard deviation of a column's numbers, in float64."""
        name, kind = self.name, self.kind
        constant = found.least == found.largest
        if constant and not found.n_missing:
            same = show_value(found.least, kind)
            if kind == "number" and abs(found.least) > _EXACT:
                lost = f"float64 has no digits to tell its values apart (all are near {same})"
                return None, [f"{name!r}: dropped, {lost}."]
            return None, [f"{name!r}: dropped, it holds the same value ({same}) in every row."]
        fill = found.median
        if kind == "boolean":
            fill = float(fill > 0.5)
        mean, scale = (0.0, 1.0) if kind == "boolean" else found.filled(fill)
        if not np.isfinite([fill, mean, scale]).all():
            raise DataError(f"column {name!r} holds numbers too large to average. Give it in a larger unit.")
        value = not constant and scale > 0
        if not value and not found.n_missing:
            return None, [f"{name!r}: dropped, its values differ by less than float64 can tell."]
        column = ValueColumn(
            name, kind, fill, mean, scale if scale > 0 else 1.0, value, found.n_missing > 0,
            range=(found.least, found.largest), absent=found.n_missing / (found.n + found.n_missing),
        )  # fmt: skip
        said = [f"{name!r}: {_DECISIONS[kind]}."] if kind in _DECISIONS else []
        if value and kind == "number":
            column, remarks = self._scale(column, found)
            said += [*remarks, *tell_sentinel(name, found.sample, found.exact)]
        if value and kind == "date" and self.options.dates != "days":
            column, remarks = self._add_parts(column, found.largest - found.least)
            said += remarks
        shown = show_value(fill, kind)
        if found.n_missing and value:
            said.append(f"{name!r}: {count(found.n_missing, 'missing value')} filled with {shown}, and flagged.")
        elif found.n_missing:
            said.append(f"{name!r}: the value is constant ({shown}), only whether it is missing is kept.")
        return column, said

    def _scale(self, column: ValueColumn, found: NumberStatistics) -> tuple[ValueColumn, list[str]]:
        """The scaling that was asked for; standard already is there."""
        scaling, base = self.options.scaling_of(self.name), dict(vars(column))
        with np.errstate(over="ignore"):
            far = max(found.largest - found.mean, found.mean - found.least)
        if scaling == "auto":
            scaling = "both" if far > _HEAVY * found.deviation else "standard"
        if scaling == "none":
            return ValueColumn(**{**base, "scaling": scaling, "mean": 0.0, "scale": 1.0}), []
        if scaling == "robust":
            low, high = (float(value) for value in np.percentile(found.sample, [25, 75]))
            if not (np.isfinite(high - low) and high - low > 8 * np.finfo(np.float64).eps * abs(column.fill)):
                same = "its quartiles are equal, so it is standardised by mean and deviation instead"
                return column, [f"{self.name!r}: {same}."]
            return ValueColumn(**{**base, "scaling": scaling, "mean": column.fill, "scale": high - low}), []
        if scaling in ("quantile", "both"):
            knots, levels = find_knots(found.sample)
            fitted: dict[str, object] = {
                "scaling": scaling,
                "knots": tuple(knots.tolist()),
                "levels": tuple(levels.tolist()),
            }
            if scaling == "both" and np.isfinite(far):
                fitted["scale"] = max(column.scale, far / _HEAVY)
            return ValueColumn(**{**base, **fitted}), []
        return column, []

    def _add_parts(self, column: ValueColumn, days: float) -> tuple[ValueColumn, list[str]]:
        """The parts of a date that spans so many days."""
        parts = tuple(part for part in PARTS if part in self.parts.varied)
        how = "all but the year as sine and cosine"
        if self.options.dates == "auto":
            parts = choose_cycles(parts, days)
            how = f"as sine and cosine, since {'it varies' if len(parts) == 1 else 'they vary'} over two cycles or more"
        base = {**vars(column), "parts": parts, "year": self.parts.describe_years()}
        return ValueColumn(**base), [f"{self.name!r}: also its {', '.join(parts)}; {how}."] if parts else []

    def _decide_categories(self, found: TextStatistics) -> tuple[CategoryColumn | None, list[str]]:
        """The distinct texts of a column, unless they identify rows."""
        name, options = self.name, self.options
        n_present, n_distinct = found.n, found.n_distinct
        flag = found.n_missing + self._unfilled > 0
        too_many = n_distinct > options.max_categories or found.overflowed
        joins = options.min_count > 1
        most = NEARLY_UNIQUE if n_distinct <= _MANY_TEXTS else _MOSTLY_SINGLE
        identifies = n_present >= _FEW_ROWS and n_distinct > most * n_present and found.share_repeated < _HALF_REPEATED
        said = [f"{name!r}: texts, as asked for."] if self.stays_text else []
        among = self.nearly if self.nearly.n_numbers > self.among.n_numbers else self.among
        offer = among.others.offer()
        if (too_many or identifies) and among.n > among.n_numbers >= _MOSTLY_NUMBERS * among.n and not among.are_codes:
            raise DataError(
                f"{among.place}: column {name!r} holds {among.what}, but {among.count_others()}. Correct them, leave "
                f"them empty if unknown, or keep all of them as texts with as_text={name!r} (--as-text).{offer}"
            )
        distinct = f"{n_distinct} distinct texts in {count(n_present, 'value')}"
        if found.overflowed:
            distinct = f"more than {n_distinct - 1} distinct texts in {count(n_present, 'value')}"
        if found.overflowed or ((too_many or identifies) and not joins):
            reason = f"{name!r}: dropped, {distinct}: like an identifier, or free text"
            if among.mostly and not among.are_codes:
                like = (
                    f" But {among.count_others()} ({among.place}). Leave those empty to use it as {among.kind}.{offer}"
                )
            else:
                said += among.say()
                texts = found.counts["text"].head(SAMPLE).to_list()
                like = tell_likeness(texts) or tell_sentences(texts)
            return None, [*said, reason + _offer_to_keep(found, options, identifies) + like]
        said += among.say()
        kept, rare = _keep_frequent(found.counts, options)
        if not kept:
            least = f"no text stands in {count(options.min_count, 'row')}"
            return None, [*said, f"{name!r}: dropped, {least} ({distinct}): like an identifier."]
        if len(kept) == 1 and not flag and not rare:
            return None, [*said, f"{name!r}: dropped, it holds the same value ({shorten(kept[0])}) in every row."]
        column = CategoryColumn(
            name, tuple(kept), flag, rare=bool(rare), codes=options.categories == "codes",
            absent=found.n_missing / (found.n + found.n_missing),
        )  # fmt: skip
        if rare:
            total = sum(n for _, n in rare)
            joined = f"{count(len(rare), 'rare text')} ({list_names((text for text, _ in rare), 3)})"
            said.append(f"{name!r}: {joined} in {count(total, 'row')} joined to one category.")
        like = tell_likeness(kept[:SAMPLE]) if len(kept) > FEW_DISTINCT else ""
        alike = tell_alike(repr(name), kept, "category")
        return column, [*said, _describe_categories(column) + like, *alike]


def share_scale(columns: list[Column]) -> tuple[list[Column], list[str]]:
    """Give columns of numbers one scale where most of theirs are alike, as those of one unit are.

    Pixels, counts of words, expressions of genes: which of them vary more tells something, and columns of mere noise
    would be blown up to the size of the others. Deviations count as alike where nine tenths of them are below 5 times
    what nine tenths are above; the common scale is their root mean square. A column that varies more than 5 times as
    much, or less than a fifth, is scaled to that, so that it neither drowns the others nor is lost.

    Args:
        columns: fitted.

    Returns:
        The columns, and a sentence where they were given one scale.

    Source: derived here.
    """
    found = [c for c in columns if isinstance(c, ValueColumn) and c.kind == "number" and c.value]
    if len(found) < 2 or any(column.scaling != "standard" for column in found):
        return columns, []
    scales = np.array([column.scale for column in found])
    low, high = np.quantile(scales, [0.1, 0.9])
    if scales.max() == scales.min() or high >= _ALIKE * low:
        return columns, []
    common = float(scales.max() * np.sqrt(np.mean((scales / scales.max()) ** 2)))
    sizes = np.clip(scales / common, 1 / _ALIKE, _ALIKE)
    given = {column.name: float(column.scale / size) for column, size in zip(found, sizes, strict=True)}
    said = f"{len(found)} columns of numbers vary alike: divided by one common scale, {common:g}, not each by its own."
    return [
        replace(column, scale=given[column.name])
        if isinstance(column, ValueColumn) and column.name in given
        else column
        for column in columns
    ], [said]


def _offer_to_keep(found: TextStatistics, options: EncoderOptions, identifies: bool) -> str:
    """The end of the sentence about a column of texts that is dropped: how it may be kept."""
    n = found.n_distinct
    if found.overflowed:
        return ". Make fewer of them to keep it."
    if n == found.n:
        return ". No text stands in two rows, so none tells anything of another."
    if identifies:
        return ". Keep those that repeat with min_count=2 (--min-count 2)."
    return f" (more than {options.max_categories}). Keep it with max_categories={n} (--max-categories {n})."


def _describe_categories(column: CategoryColumn) -> str:
    categories = count(len(column.categories), "category", "categories")
    if column.codes:
        last = f"{column.cardinality - 1 - column.flag} is rare or not seen"
        missing = f", {column.cardinality - 1} is missing" if column.flag else ""
        return f"{column.name!r}: {categories} as codes 0 … {column.cardinality - 1}: {last}{missing}."
    more = [*["rare or not seen"] * column.rare, *["missing"] * column.flag]
    return f"{column.name!r}: {', and one for '.join([f'{categories}, one feature each', *more])}."


def _keep_frequent(counts: pl.DataFrame, options: EncoderOptions) -> tuple[list[str], list[tuple[str, int]]]:
    """The texts that become categories, sorted, and those that are too rare, with their counts."""
    pairs: list[tuple[str, int]] = counts.rows()
    if options.min_count == 1:
        return sorted(text for text, _ in pairs), []
    pairs.sort(key=lambda pair: (-pair[1], pair[0]))
    kept = [text for text, n in pairs if n >= options.min_count][: options.max_categories]
    known = set(kept)
    return sorted(kept), [pair for pair in pairs if pair[0] not in known]


def _share_of_distinct(found: NumberStatistics) -> float:
    """How many different numbers there are for one row, as far as the sample tells; 0 where that says nothing."""
    if found.n < _FEW_ROWS or found.n_missing:
        return 0.0
    return float(np.unique(found.sample).size / found.sample.size)


def _counts_rows(found: NumberStatistics) -> bool:
    """Whether whole numbers without repetition fill most of their range, as a row number does."""
    return found.largest - found.least < 2 * found.n and _share_of_distinct(found) == 1
