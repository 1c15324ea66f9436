"""Numbers such as 1,234, which are one thousand and more, or one and a fraction: which of them, and why."""

from __future__ import annotations

from typing import Literal, get_args

from undertow.data.late import pl
from undertow.data.layout import SEPARATORS
from undertow.data.wording import shorten
from undertow.errors import ArgumentError
from undertow.spelling import did_you_mean

Decimal = Literal["auto", "point", "comma"]
_GROUPED = r"^[+-]?[1-9]\d{0,2},\d{3}$"  # a zero in front, or another number of digits, tells of a fraction


def check_decimal(decimal: object) -> Decimal:
    """ArgumentError for another choice than "auto", "point" and "comma"; else the choice."""
    for choice in get_args(Decimal):
        if decimal == choice:
            return choice
    hint = did_you_mean(decimal, get_args(Decimal))
    raise ArgumentError(f"decimal is {decimal!r}. {hint}Choose {', '.join(get_args(Decimal))}.")


def parse_either(texts: pl.Series) -> pl.Series:
    """Float64 numbers of ``1,234`` by its digits, and of numbers as programs write them; null where a text is neither.

    Example:
        >>> parse_either(pl.Series(["1,234", "7", "0,500", "3,14"])).to_list()
        [1234.0, 7.0, None, None]
    """
    grouped = texts.str.contains(_GROUPED).fill_null(False)
    return texts.zip_with(~grouped, texts.str.replace(",", "", literal=True)).cast(pl.Float64, strict=False)


def reads_both_ways(texts: pl.Series) -> bool:
    """Whether every comma of a column may part thousands as well as a fraction.

    Args:
        texts: missing ones null.

    Returns:
        False too where there is no comma, or a text is no number.

    Example:
        >>> reads_both_ways(pl.Series(["1,234", "7"])), reads_both_ways(pl.Series(["1,234", "0,5"]))
        (True, False)
    """
    commas = texts.str.contains(",", literal=True)
    return bool(commas.any()) and parse_either(texts).null_count() == texts.null_count()


def choose_decimal(asked: Decimal, separator: str, commas: bool, points: bool) -> tuple[bool, str]:
    """Whether 1,234 is a little more than 1 in a file, and why.

    Args:
        asked: "auto" decides by the file: as its other columns are written, else as its separator suggests.
        separator: of its fields.
        commas: whether another column has decimal commas.
        points: whether another column has decimal points.

    Returns:
        Whether the comma is a decimal one, and the reason.

    Source: derived here: semicolons part fields where commas are taken by the numbers.

    Example:
        >>> choose_decimal("auto", ";", commas=False, points=True)
        (False, 'as other columns have decimal points')
    """
    if asked != "auto":
        return asked == "comma", "as asked for"
    if commas != points:
        return commas, f"as other columns have decimal {'commas' if commas else 'points'}"
    return separator == ";", f"as {SEPARATORS[separator.encode()]}s part the columns"


def tell_comma(name: str, texts: pl.Series, why: str) -> str:
    """The sentence about a column whose commas are read as decimal ones."""
    example = texts.filter(texts.str.contains(",", literal=True).fill_null(False))[0]
    other = "" if why == "as asked for" else ". If these are thousands, choose decimal='point' (--decimal point)"
    return f"{name!r}: decimal commas, so {shorten(example)} is {example.replace(',', '.')}, {why}{other}."
