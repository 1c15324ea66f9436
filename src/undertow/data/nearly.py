"""Columns of texts of which most are numbers or dates as people write them, and some are none: 114,6 and unknown"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from undertow.data.decimals import Decimal
from undertow.data.late import pl
from undertow.data.layouts import LAYOUTS, clean_text, order_layouts
from undertow.data.missing import OddTexts
from undertow.data.wording import Origin, name_row, shorten

_SAMPLE = 100  # different texts that are enough to know what most are


@dataclass(eq=False)
class NearlyWritten:
    """Which layout most texts of a column have, where not all have one, and what the others are, part by part.

    Args:
        name: of the column.
        decimal: see ``LayoutsSeen.choose``.

    Source: derived here.

    Example:
        >>> found = NearlyWritten("area")
        >>> found.update(pl.Series(["114,6", "90,0"]), None, ["1234,50"], None)
        >>> found.update(pl.Series(["71,5", "80,2", "unknown", None]), ["1234,50"], [], None)
        >>> found.mostly, found.what, found.count_others(), found.place
        (True, 'numbers written as 1234,50', "1 of 5 values are not written so, first 'unknown'", 'row 3')
    """

    name: str
    decimal: Decimal = "auto"
    layout: str = ""  # of most texts, a name in ``LAYOUTS``; "" while all have one, or where most have none
    n: int = 0
    n_numbers: int = 0  # written so
    odd: str = ""  # the first text that is not, and
    place: str = ""
    others: OddTexts = field(default_factory=OddTexts)
    are_codes: ClassVar[bool] = False
    _looked: bool = False

    def update(
        self,
        texts: pl.Series,
        before: Sequence[str] | None,
        after: Sequence[str] | None,
        origin: Origin | None,
        held: bool = False,
    ) -> None:
        """Add a part.

        Args:
            texts: without outer spaces, missing ones null.
            before: the layouts that fit all texts of the parts before; None where there was no text.
            after: the layouts that fit these texts too.
            origin: where the rows came from.
            held: whether they are held out.
        """
        n = len(texts) - texts.null_count()
        if n == 0 or (self._looked and not self.layout):
            return
        self.n += n
        if after:
            self.n_numbers += n
            return
        if not self._looked:
            self._looked = True
            self.layout = _find_layout(texts, before or list(LAYOUTS), self.decimal)
        if not self.layout:
            return
        odd = LAYOUTS[self.layout].parse(texts).is_null() & texts.is_not_null()
        n_odd = int(odd.sum())
        self.n_numbers += n - n_odd
        self.others.update(texts.filter(odd))
        if n_odd and not self.odd:
            at = int(odd.arg_true()[0])
            place = name_row(at, origin)
            self.odd, self.place = shorten(texts[at]), f"{place} of those held out" if held and not origin else place

    @property
    def mostly(self) -> bool:
        """Whether more than half of the texts are written so, but not all."""
        return bool(self.layout) and self.n < 2 * self.n_numbers < 2 * self.n

    @property
    def kind(self) -> str:
        """What the texts are."""
        return f"{LAYOUTS[self.layout].kind}s" if self.layout else "texts"

    @property
    def what(self) -> str:
        """What they are, and how they are written."""
        return f"{self.kind} written as {LAYOUTS[self.layout].show()}" if self.layout else "texts"

    def count_others(self) -> str:
        """How many texts are not written so, and the first of them."""
        return f"{self.n - self.n_numbers} of {self.n} values are not written so, first {self.odd}"

    def say(self) -> list[str]:
        """A sentence about a column of texts of which most are written so."""
        if not self.mostly:
            return []
        others = self.count_others()
        return [
            f"{self.name!r}: {self.what}, but {others} ({self.place}); so all its values are categories."
            + self.others.offer()
        ]


def _find_layout(texts: pl.Series, names: Sequence[str], decimal: Decimal) -> str:
    """The one of these layouts that most of the texts have, "" where no more than half have one."""
    sample = texts.drop_nulls().unique(maintain_order=True).head(_SAMPLE)
    cleaned = [clean_text(text) for text in sample]
    fits = {name: sum(map(LAYOUTS[name].may_fit, cleaned)) for name in order_layouts(names, decimal)}
    most = max(fits.values(), default=0)
    if 2 * most <= len(cleaned):
        return ""
    likely = [name for name, n in fits.items() if n == most]
    return max(likely, key=lambda name: len(sample) - LAYOUTS[name].parse(sample).null_count())
