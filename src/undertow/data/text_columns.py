"""Columns of numbers that are names: postcodes, article numbers. They stay texts where somebody or a text says so."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from undertow.data.late import pl
from undertow.data.missing import OddTexts
from undertow.data.parse import parse_numbers
from undertow.data.wording import Origin, list_names, name_row, shorten, suggest_name
from undertow.errors import ArgumentError, DataError

AsText = str | Sequence[str]
IDENTIFIER = re.compile(
    r"(?i:(.*[ _.-])?(id|uuid|guid)|unnamed(_|: ?)\d+(\.\d+)?|row[ _.-]?(names?|numbers?|id))|.*[a-z](Id|ID)"
)
_MAY_IDENTIFY = re.compile(  # in one word: others that end so by chance, such as paid and grid, do not
    "(?i:(.*[ _.-])?(u|account|case|child|client|customer|household|item|member|observation|order|participant|patient|"
    "person|product|record|resp|respondent|sample|school|student|subject|user)id)"
)
_CODES = re.compile(
    r"(?i:(.*[ _.-])?(zip|zip[ _.-]?code|post[ _.-]?code|postal[ _.-]?code|plz|postleitzahl|code|kod|cod))|.*[a-z]Code"
)
NEARLY_UNIQUE = 0.9
_DIGITS, _ZERO_FIRST = r"^[0-9]+$", r"^0[0-9]+$"
_LETTERS_FIRST = r"^[A-Za-z]{1,3}[-_ ]?[0-9]+[A-Za-z]?$"  # c118, AB-12
_ANY_ORDER = r"^[A-Za-z0-9](?:[A-Za-z0-9 _/-]*[A-Za-z0-9])?$"  # also 136A, 02139-4307
_NO_CODE = r"^(?:[^0-9]+|[0-9OoIl]+|(?i:USD|EUR|GBP|CHF|JPY|INR|CNY)[-_ ]?[0-9]+)$"  # unknown, 1O3, EUR 20


def read_as_text(given: AsText) -> tuple[str, ...]:
    """The names of the columns that stay texts.

    Args:
        given: a name, or several.

    Returns:
        The names.

    Raises:
        ArgumentError: ``as_text names 3. Give names of columns.``

    Source: derived here.

    Example:
        >>> read_as_text("postcode"), read_as_text(["postcode", "article"])
        (('postcode',), ('postcode', 'article'))
    """
    names = (given,) if isinstance(given, str) else tuple(given)
    for name in names:
        if not isinstance(name, str):
            raise ArgumentError(f"as_text names {name!r}. Give names of columns.")
    return names


def check_as_text(names: Sequence[str], columns: Sequence[str], target: str) -> None:
    """Refuse columns that cannot stay texts.

    Args:
        names: from `read_as_text`.
        columns: of the table.
        target: the column to predict.

    Raises:
        DataError: ``there is no column 'zipcode' (did you mean 'zip code'?) for as_text. …``
        ArgumentError: ``as_text names 'class', the column to predict. …``

    Source: derived here.

    Example:
        >>> check_as_text(["zip"], ["zip", "price"], "price")
    """
    for name in names:
        if name == target:
            raise ArgumentError(
                f"as_text names {name!r}, the column to predict. Name features; numbers to predict are classes with "
                "task='classification' (--task classification)."
            )
        if name not in columns:
            found = suggest_name(name, list(columns))
            raise DataError(f"there is no column {found} for as_text. The columns are {list_names(columns)}.")


def tell_codes(name: str, numbers: NDArray[np.float64], most: int) -> list[str]:
    """Say of a column of whole numbers that, by its name, they are names: of a place, a shop, a person.

    Args:
        name: of the column.
        numbers: those that are present, (m,), or a sample of them.
        most: categories that a column may have.

    Returns:
        A sentence where the name ends in ``id``, ``code``, ``zip`` and the like, and there are three numbers at least,
        no more than the most, which stand in two rows each on average; or where it is ``uid``, ``caseid`` and the
        like, and nearly every row has another number; else none.

    Source: derived here.

    Example:
        >>> tell_codes("zip", np.array([98101.0, 98102, 98103] * 4), 50)[0][:51]
        "'zip': 3 whole numbers, taken as amounts; by the na"
        >>> tell_codes("rooms", np.array([1.0, 2, 3] * 4), 50)
        []
        >>> tell_codes("uid", 7 * np.arange(20.0), 50)[0][:50]
        "'uid': nearly every row has another whole number; "
    """
    if _MAY_IDENTIFY.fullmatch(name) and np.unique(numbers).size > NEARLY_UNIQUE * numbers.size:
        return [
            f"{name!r}: nearly every row has another whole number; by the name of the column it identifies rows. Kept "
            f"as a number; leave it out if new rows have other ones: leave_out={name!r} (--leave-out)."
        ]
    if not (IDENTIFIER.fullmatch(name) or _CODES.fullmatch(name)):
        return []
    n = np.unique(numbers).size
    if n < 3 or n > most or 2 * n > numbers.size:  # two numbers say the same as two categories
        return []
    return [
        f"{name!r}: {n} whole numbers, taken as amounts; by the name of the column they are codes. If so, make each a "
        f"category: as_text={name!r} (--as-text)."
    ]


@dataclass(eq=False)
class NumbersAmongTexts:
    """What the texts of a column are that are numbers, and what the others are, part by part.

    The numbers are codes, which are names, where each is written with digits alone, and each other text is one to three
    letters and a number behind them (``c118``, ``AB-12``), or, where some number begins with a zero (``089``), letters,
    digits and hyphens in any order (``136A``, ``02139-4307``). A text without a digit, an amount of money and what may
    be a number with a letter mistyped (``1O3``) is none.

    Args:
        name: of the column.

    Source: derived here.

    Example:
        >>> found = NumbersAmongTexts("station")
        >>> found.update(pl.Series(["117", "1083", "c118", None]), None)
        >>> found.n, found.n_numbers, found.are_codes
        (3, 2, True)
        >>> found.update(pl.Series(["12.5"]), None)
        >>> found.are_codes
        False
    """

    name: str
    n: int = 0
    n_numbers: int = 0
    odd: str = ""  # the first text that is no number, and
    place: str = ""
    digits: bool = True  # whether all numbers are written so
    zero_first: bool = False  # whether some number begins with a zero
    letters_first: bool = True  # whether all others begin with letters
    any_order: bool = True
    others: OddTexts = field(default_factory=OddTexts)
    kind: ClassVar[str] = "numbers"
    what: ClassVar[str] = "numbers"

    def update(self, texts: pl.Series, origin: Origin | None, held: bool = False) -> None:
        """Add a part, missing texts null; ``held``: of the rows held out."""
        numbers = parse_numbers(texts)
        n_numbers = len(numbers) - numbers.null_count()
        self.n += len(texts) - texts.null_count()
        self.n_numbers += n_numbers
        odd = numbers.is_null() & texts.is_not_null()
        self.others.update(texts.filter(odd))
        if not self.odd and odd.any():
            at = int(odd.arg_true()[0])
            place = name_row(at, origin)
            self.odd, self.place = shorten(texts[at]), f"{place} of those held out" if held and not origin else place
        if self.digits and n_numbers:
            found = texts.filter(numbers.is_not_null()).str.strip_chars()
            self.digits = bool(found.str.contains(_DIGITS).all())
            self.zero_first = self.zero_first or bool(found.str.contains(_ZERO_FIRST).any())
        if self.digits and self.any_order and odd.any():
            others = texts.filter(odd).str.strip_chars()
            self.any_order = bool((others.str.contains(_ANY_ORDER) & ~others.str.contains(_NO_CODE)).all())
            self.letters_first = self.letters_first and bool(others.str.contains(_LETTERS_FIRST).all())

    @property
    def mostly(self) -> bool:
        """Whether more than half of the texts are numbers, but not all."""
        return self.n < 2 * self.n_numbers < 2 * self.n

    @property
    def are_codes(self) -> bool:
        """Whether the numbers are names."""
        return self.mostly and self.digits and self.any_order and (self.letters_first or self.zero_first)

    def count_others(self) -> str:
        """How many texts are no numbers, and the first of them."""
        return f"{self.n - self.n_numbers} of {self.n} values are no numbers, first {self.odd}"

    def say(self) -> list[str]:
        """A sentence about a column of texts of which most are numbers."""
        if self.are_codes:
            zeros = ", some with a zero in front" if self.zero_first else ""
            return [
                f"{self.name!r}: read as codes, so all its values are texts: {self.count_others()} ({self.place}), but "
                f"letters and digits as in codes, and all others are digits alone{zeros}. If they are amounts, correct "
                "those or leave them empty."
            ]
        if self.mostly:
            return [
                f"{self.name!r}: {self.count_others()} ({self.place}); so all its values are categories."
                + self.others.offer()
            ]
        return []
