"""Text to typed columns: numbers, booleans and dates, where every value of a column is one."""

from __future__ import annotations

from collections.abc import Collection

from undertow.data.decimals import parse_either, reads_both_ways
from undertow.data.late import pl

# The last two lines: errors of spreadsheets (ECMA-376, part 1, 18.17.3; #NV is the German #N/A), and "not available",
# "keine Angabe". A dash may be a category, so it is none.
MISSING_SPELLINGS = (
    "", "NA", "N/A", "n/a", "#N/A", "<NA>", "<null>", "NaN", "nan", "NULL", "null", "None", "?",
    "#NULL!", "#DIV/0!", "#VALUE!", "#REF!", "#NAME?", "#NUM!", "#NV",
    "n.a.", "N.A.", "k.A.", "k. A.",
)  # fmt: skip
_DATETIME_FORMATS = (
    "%Y-%m-%d %H:%M",
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%dT%H:%M",
    "%Y-%m-%dT%H:%M:%S%.f",
    "%Y-%m-%d %H:%M:%S%.f%#z",
    "%Y-%m-%dT%H:%M:%S%.f%#z",
)
_DECIMAL_COMMA = r"^[+-]?\d+,\d+(?:[eE][+-]?\d+)?$"
_TRIED = 100  # values that are read first: most columns of texts are known by these
_BOOLEANS = {"true": True, "false": False}


def mark_missing(texts: pl.Series) -> pl.Series:
    """The texts without outer spaces, and null where one of ``MISSING_SPELLINGS`` stands."""
    stripped = texts.str.strip_chars()
    return stripped.set(stripped.is_in(MISSING_SPELLINGS), None)


def _list_missing(known: Collection[str], marks: Collection[str]) -> list[str]:
    """The spellings, without those that are known: categories of a run. The empty text is missing in any file."""
    return [*(text for text in MISSING_SPELLINGS if not text or text not in known), *marks]


def parse_numbers(texts: pl.Series) -> pl.Series:
    """Float64 numbers; null where a text is none."""
    return texts.str.strip_chars().cast(pl.Float64, strict=False)


def parse_booleans(texts: pl.Series) -> pl.Series:
    """Booleans from true and false in any case; null where a text is neither."""
    folded = texts.str.strip_chars().str.to_lowercase()
    return folded.replace_strict(_BOOLEANS, default=None, return_dtype=pl.Boolean)


def parse_dates(texts: pl.Series) -> pl.Series:
    """Dates or datetimes in ISO 8601 order; of the known formats, the one that reads most texts."""
    best = texts.str.to_date("%Y-%m-%d", strict=False)
    for pattern in _DATETIME_FORMATS:
        if best.null_count() == texts.null_count():
            break
        found = texts.str.to_datetime(pattern, strict=False, time_unit="us")
        if found.null_count() < best.null_count():
            best = found
    return best


def infer_type(texts: pl.Series, decimal_comma: bool = False) -> pl.Series:
    """A text column as the narrowest type that reads every value that is present.

    Args:
        texts: String column, missing values null.
        decimal_comma: read ``3,14`` as a number too (files whose separator is not a comma).

    Returns:
        Int64, Float64, Boolean, Date or Datetime column; the texts themselves where none of them fits, and where a
        comma may part thousands as well as a fraction.

    Example:
        >>> infer_type(pl.Series(["1", None, "2.5"])).to_list()
        [1.0, None, 2.5]
        >>> infer_type(pl.Series(["3,5", "4"]), decimal_comma=True).to_list()
        [3.5, 4.0]
        >>> infer_type(pl.Series(["TRUE", "false"])).to_list()
        [True, False]
    """
    present = texts.drop_nulls()
    parsers = [_parse_integers, parse_numbers, parse_booleans, parse_dates]
    if decimal_comma and not reads_both_ways(texts):
        parsers.append(parse_decimal_commas)
    for parse in parsers if len(present) else ():
        if parse(present.head(_TRIED)).null_count():
            continue
        parsed = parse(texts)
        if parsed.null_count() == texts.null_count():
            return parsed
    return texts


def _parse_integers(texts: pl.Series) -> pl.Series:
    return texts.cast(pl.Int64, strict=False)


def parse_decimal_commas(texts: pl.Series) -> pl.Series:
    """Float64 numbers from ``3,14`` and ``3``; null where a text is neither."""
    with_comma = texts.str.contains(_DECIMAL_COMMA).fill_null(False)
    return parse_numbers(texts.zip_with(~with_comma, texts.str.replace(",", ".", literal=True)))


PARSERS = (_parse_integers, parse_numbers, parse_decimal_commas, parse_booleans, parse_dates, parse_either)
DECIMAL_COMMA, EITHER = 2, 5  # places; the commas of the second may part thousands as well
_WIDER: dict[int, tuple[int, ...]] = {0: (0, 1, 5, 2), 1: (1, 5, 2), 2: (2,), 3: (3,), 4: (4,), 5: (5, 2)}  # read more


def narrow_type(texts: pl.Series, known: int | None, seen: bool, decimal_comma: bool) -> int | None:
    """The type that reads the texts of one more piece of a column, and all those before it.

    Args:
        texts: String column with at least one value, missing ones null.
        known: the place in ``PARSERS`` of what read the pieces before; None where nothing did.
        seen: whether there were values before.
        decimal_comma: whether ``3,14`` may be a number.

    Returns:
        The place in ``PARSERS`` of the narrowest type, None for text.

    Example:
        >>> narrow_type(pl.Series(["1", "2"]), 0, seen=False, decimal_comma=False)
        0
        >>> narrow_type(pl.Series(["1", "2.5"]), 0, seen=True, decimal_comma=False)
        1
        >>> narrow_type(pl.Series(["1", "true"]), 1, seen=True, decimal_comma=False) is None
        True
    """
    if known is None:
        return None
    for place in _WIDER[known] if seen else (0, 1, 3, 4, 5, 2):
        if place in (DECIMAL_COMMA, EITHER) and not decimal_comma:
            continue
        parse = PARSERS[place]
        if parse(texts.drop_nulls().head(_TRIED)).null_count() == 0 and parse(texts).null_count() == texts.null_count():
            return place
    return None


PLAIN = (0, 1)  # places of what a cast reads


def express_present(name: str, known: Collection[str] = (), marks: Collection[str] = ()) -> pl.Expr:
    """The texts of a column without outer spaces, null where a value is missing.

    Args:
        name: of the column.
        known: spellings that are none of a missing value in this column.
        marks: further texts that stand for one, see `undertow.data.missing`.
    """
    stripped = pl.col(name).str.strip_chars()
    return pl.when(stripped.is_in(_list_missing(known, marks))).then(None).otherwise(stripped).alias(name)


def express_plain(name: str, place: int | None) -> pl.Expr:
    """A column of texts as the integers (place 0) or numbers (1) that they are; null where they are none."""
    return pl.col(name).cast(pl.Int64 if place == 0 else pl.Float64, strict=False)
