"""What came of trying remedies: a row for each, the best first."""

from __future__ import annotations

import html
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from undertow.train.fitted_table import fit_table

if TYPE_CHECKING:
    from rich.table import Table

BAR: Final = 10
LEAST_SHARE, LEAST_PART = 0.005, 0.02  # gains below these are chance
LEAST: Final = 24  # characters of a remedy, for which columns are left out
LONGEST: Final = 20  # characters of the findings it is against
LEFT_OUT: Final = ("", "seconds", "still", "against", "before", "after")  # in a narrow terminal
COLUMNS: Final = ("remedy", "against", "before", "after", "gain", "", "still", "seconds")


@dataclass(frozen=True)
class Trial:
    """One remedy, tried.

    Attributes:
        finding: the kind of the finding that it is for.
        remedy: what was changed, in a sentence.
        code: the same in Python.
        option: the same as options of `undertow train`; empty where there are none.
        change: the same as plain data: the names of the changes, each with its settings.
        loss: after training, on the rows that judge; NaN where it has another meaning than before.
        share: of right answers on these rows; None for numbers.
        gain: by how much the share grew, or by which part the loss fell; NaN where it was not tried.
        found: whether the finding is still there; None where nothing was recorded.
        seconds: that it took.
        stopped: how the training ended.
        note: why it was not tried, or what is to be said beside.
        run: the training, an `undertow.train.Run`.
    """

    finding: str
    remedy: str
    code: str = ""
    option: str = ""
    change: tuple[tuple[str, dict[str, Any]], ...] = ()
    loss: float = math.nan
    share: float | None = None
    gain: float = math.nan
    found: bool | None = None
    seconds: float = 0.0
    stopped: str = ""
    note: str = ""
    run: Any = field(default=None, repr=False, compare=False)

    @property
    def tried(self) -> bool:
        """Whether it was trained."""
        return self.stopped != ""

    @property
    def together(self) -> bool:
        """Whether several changes were made at once."""
        return len(self.change) > 1

    def plain(self) -> dict[str, Any]:
        """Return it as plain data, without the run."""
        names = ("finding", "remedy", "code", "option", "loss", "share", "gain", "found", "seconds", "stopped", "note")
        found = {name: getattr(self, name) for name in names}
        numbers = {name: None if isinstance(x, float) and not math.isfinite(x) else x for name, x in found.items()}
        return {**numbers, "change": [[name, dict(settings)] for name, settings in self.change]}


@dataclass(frozen=True, repr=False)
class Trials:
    """Remedies that were tried beside one another, each trained anew from the same seed; the best first.

    Attributes:
        rows: a `Trial` for each remedy.
        control: the same training again, without a change.
        judged_by: ``"validation accuracy"``, ``"validation loss"``, …
        note: what is to be said of all of them.

    Source: derived here.

    Example:
        >>> rows = (Trial("vanishing", "relu instead of sigmoid.", loss=0.2, share=0.9, gain=0.8, stopped="finished"),)
        >>> print(Trials(rows, Trial("", "unchanged", loss=2.3, share=0.1, stopped="finished"), "validation accuracy"))
        1 remedy tried, the best: relu instead of sigmoid. (validation accuracy 0.1 → 0.9)
    """

    rows: tuple[Trial, ...]
    control: Trial
    judged_by: str
    note: str = ""

    @property
    def is_share(self) -> bool:
        """Whether the share of right answers decides, and not the loss."""
        return self.control.share is not None

    @property
    def best(self) -> Trial | None:
        """The remedy that gains most; None where none gains more than chance does."""
        least = LEAST_SHARE if self.is_share else LEAST_PART
        return next((row for row in self.rows if row.gain >= least), None)

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Trial]:
        return iter(self.rows)

    def __repr__(self) -> str:
        n = sum(row.tried for row in self.rows)
        tried = f"{n} {'remedy' if n == 1 else 'remedies'} tried"
        best = self.best
        if best is None:
            return f"{tried}, none helps{f': {self.note}' if self.note else ''}"
        return f"{tried}, the best: {best.remedy} ({self.judged_by} {self._value(self.control)} → {self._value(best)})"

    def _value(self, trial: Trial) -> str:
        value = trial.share if self.is_share else trial.loss
        return "–" if value is None or math.isnan(value) else f"{value:.4g}"

    def texts(self) -> list[tuple[str, ...]]:
        """Lay the trials out as texts, a tuple for each with a text for each of ``COLUMNS``."""
        longest = max((row.gain for row in self.rows if math.isfinite(row.gain)), default=0.0)
        found: list[tuple[str, ...]] = []
        for row in self.rows:
            there = {True: "yes", False: "no", None: "–"}[row.found]
            if not row.tried:
                found.append((f"{row.remedy} Not tried: {row.note}", row.finding, "", "", "–", "", "", ""))
                continue
            ended = "" if row.stopped == "finished" or row.stopped == "callback" else f" ({row.stopped})"
            gain = f"{row.gain:+z.1%}" if math.isfinite(row.gain) else "–"
            remedy = "Together: " * row.together + row.remedy
            found.append((
                remedy, row.finding, self._value(self.control), self._value(row) + ended, gain,
                draw_bar(row.gain, longest), there, f"{row.seconds:.1f}",
            ))  # fmt: skip
        return found

    def table(self, width: int = 120) -> Table:
        """Lay the trials out as a table for rich, with a bar for each gain; each is one line of a terminal's width."""
        rows = []
        for number, (row, texts) in enumerate(zip(self.rows, self.texts(), strict=True), 1):
            kinds = texts[1].split(", ")
            against = texts[1] if len(texts[1]) <= LONGEST else f"{kinds[0]} +{len(kinds) - 1}"
            rows.append([f"{number} {'Together' if row.together else shorten(row.remedy)}", against, *texts[2:]])
        return fit_table(self._title(), COLUMNS, rows, width, drop=LEFT_OUT, left=("against", "", "still"), least=LEAST)

    def __rich_console__(self, console: Any, options: Any) -> Any:
        """Below the table stands what was changed in each, where its row has no room, and why some were not tried."""
        from rich.text import Text

        table = self.table(options.max_width)
        yield table
        for number, (row, cell) in enumerate(zip(self.rows, table.columns[0].cells, strict=True), 1):
            if not row.tried:
                yield Text(f"{number} {row.remedy} Not tried: {row.note}")
            elif row.together or str(cell).endswith("…"):
                yield Text(f"{number} {'Together: ' * row.together}{row.remedy}")

    def _title(self) -> str:
        return f"Remedies by {self.judged_by}{f'. {self.note}' if self.note else ''}"

    def _repr_html_(self) -> str:
        cells = lambda texts, tag: "".join(f"<{tag}>{html.escape(x)}</{tag}>" for x in texts)  # noqa: E731
        rows = "".join(f"<tr>{cells(texts, 'td')}</tr>" for texts in self.texts())
        head = f"<thead><tr>{cells(COLUMNS, 'th')}</tr></thead>"
        return f"<table><caption>{html.escape(self._title())}</caption>{head}<tbody>{rows}</tbody></table>"

    def plain(self) -> dict[str, Any]:
        """Return all of it as plain data."""
        return {
            "judged_by": self.judged_by,
            "note": self.note,
            "control": self.control.plain(),
            "rows": [row.plain() for row in self.rows],
        }


def shorten(sentence: str) -> str:
    """Return what is changed, without why."""
    return sentence.split(": ")[0].rstrip(".")


def draw_bar(gain: float, longest: float) -> str:
    """Draw a gain as a bar; a loss as nothing."""
    if not (math.isfinite(gain) and gain > 0 and longest > 0):
        return ""
    return "█" * max(round(BAR * min(gain / longest, 1.0)), 1)
