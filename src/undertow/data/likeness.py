"""What the texts of a column that is dropped look like, and how to write them so that they are used."""

from __future__ import annotations

import re
from collections.abc import Sequence

from undertow.data.late import pl
from undertow.data.layouts import LAYOUTS
from undertow.data.parse import parse_dates
from undertow.data.wording import list_names

_ENOUGH = 0.9  # of the texts
_WORDS = 3  # on average, of texts that are sentences
SENTENCES = "They look like sentences"
SAMPLE = 200  # different texts that are enough
_TIME = re.compile(r"\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?: ?[AaPp][Mm])?|\d{1,2} ?[AaPp][Mm]")
_NEGATIVE = re.compile(r"\([$€£¥]?\d[\d.,' ]*%?\)")
_OF_ACCOUNTS = re.compile(rf"{_NEGATIVE.pattern}|[+-]?[$€£¥]? ?\d[\d.,' ]*%?|[-–]")  # a dash is 0 there
_WITH_UNIT = re.compile(r"[+-]?\d[\d.,' ]*?\s?([^\W\d_][^\d\s]{0,9}|[°%µ\"′″][^\d\s]{0,3})")


def tell_likeness(texts: Sequence[str]) -> str:
    """The end of a sentence about a column of texts that is dropped: what they look like, and how to write them.

    Args:
        texts: different ones.

    Returns:
        A sentence with a space before it; "" where they look like nothing that can be used.

    Source: derived here.

    Example:
        >>> tell_likeness(["12 cm", "9.5 cm", "11 cm"])
        " They look like numbers with the unit 'cm': write the numbers alone to use them."
        >>> tell_likeness(["2023-07-25", "26.07.2023"])
        ' They look like dates written in several ways: write all as 2023-07-25 to use them.'
        >>> tell_likeness(["12.50", "(3.20)"])
        ' They look like numbers of accounts, (12.50) for −12.50: write them with a minus sign to use them.'
        >>> tell_likeness(["a long walk", "nothing"]), tell_likeness(["a long walk", "(1)"])
        ('', '')
    """
    found = [text.strip() for text in texts[:SAMPLE]]
    enough = _ENOUGH * len(found)
    times = sum(_TIME.fullmatch(text) is not None for text in found)
    if times and times >= enough:
        return " They look like times of day: write them as hours, 14.5 for 14:30, to use them."
    if found and _count_dates(found) >= enough:
        return " They look like dates written in several ways: write all as 2023-07-25 to use them."
    if any(map(_NEGATIVE.fullmatch, found)) and sum(map(bool, map(_OF_ACCOUNTS.fullmatch, found))) >= enough:
        return " They look like numbers of accounts, (12.50) for −12.50: write them with a minus sign to use them."
    units = [match[1] for text in found if (match := _WITH_UNIT.fullmatch(text))]
    different = sorted(set(units), key=units.index)
    codes = len(different) > 1 and all(len(unit) == 1 and unit.isupper() for unit in different)  # 12A, 12B, 14A
    if units and len(units) >= enough and len(different) <= 5 and not codes:
        if len(different) == 1:
            return f" They look like numbers with the unit {different[0]!r}: write the numbers alone to use them."
        names = list_names(different)
        return f" They look like numbers with units, {names}: write the numbers alone, in one unit, to use them."
    return ""


def tell_sentences(texts: Sequence[str]) -> str:
    """The end of a sentence about a column of texts that is dropped although its words may tell something.

    Args:
        texts: different ones.

    Returns:
        A sentence with a space before it; "" where they are hardly words.

    Source: derived here.

    Example:
        >>> tell_sentences(["the match was lost", "a new law was voted on"]).split(":")[0]
        ' They look like sentences'
        >>> tell_sentences(["P100", "P200"])
        ''
    """
    words = [len([word for word in text.split() if any(map(str.isalpha, word))]) for text in texts[:SAMPLE]]
    if not words or sum(words) < _WORDS * len(words):
        return ""
    return f" {SENTENCES}: to use their words, count these first, as scikit-learn's TfidfVectorizer does."


def _count_dates(texts: list[str]) -> int:
    """How many texts are dates, written in any way that is known."""
    series = pl.Series(texts, dtype=pl.String)
    dates = parse_dates(series).is_not_null()
    for layout in LAYOUTS.values():
        left = series.filter(~dates)
        if not len(left):
            break
        if layout.kind == "date" and any(map(layout.may_fit, left)):
            dates = dates | layout.parse(series).is_not_null()
    return int(dates.sum())
