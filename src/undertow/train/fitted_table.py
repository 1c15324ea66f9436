"""Tables for terminals of any width: a row is one line, whatever has to be left out for it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rich.table import Table

LEAST: Final = 12  # characters of the first column that are kept rather than another column
_BETWEEN: Final = 2  # characters between two columns


def fit_table(
    title: str,
    names: Sequence[str],
    rows: Sequence[Sequence[str]],
    width: int,
    *,
    drop: Sequence[str] = (),
    left: Collection[str] = (),
    least: int = LEAST,
) -> Table:
    """Lay out texts as a table of which no row is longer than a line.

    Args:
        title: above the table.
        names: of the columns; the first one's texts are shortened where there is no room for them.
        rows: a text for each column.
        width: of the terminal, in characters.
        drop: columns that may be left out, in this order, as long as there is no room.
        left: columns whose texts begin on the left, as those of the first do.
        least: characters of the first column, for which others are left out.

    Returns:
        A table for rich.

    Source: derived here.

    Example:
        >>> row = ["1  Dense(4, 2)", "1.0", "2.0"]
        >>> table = fit_table("", ["layer", "h", "dW"], [row], 16, drop=["h", "dW"], least=10)
        >>> [column.header for column in table.columns], list(table.columns[0].cells)
        (['layer', 'dW'], ['1  Dense(4…'])
    """
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    sizes = {name: max(_length(text) for text in (name, *(row[i] for row in rows))) for i, name in enumerate(names)}
    first, *shown = names
    roomy = sum(sizes.values()) + 2 * len(names) + 1 <= width
    for name in drop:
        if _room(shown, sizes, width) >= min(sizes[first], least):
            break
        shown.remove(name)
    room = sizes[first] if roomy else max(min(_room(shown, sizes, width), sizes[first]), 1)
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.show_edge = table.pad_edge = roomy
    table.add_column(shorten_text(first, room), no_wrap=True)
    for name in shown:
        table.add_column(name, justify="left" if name in left else "right", no_wrap=True)
    places = [names.index(name) for name in shown]
    for row in rows:
        table.add_row(shorten_text(row[0], room), *(row[i] for i in places))
    return table


def shorten_text(text: str, width: int) -> str:
    """Shorten a text to a width; an ellipsis tells where it was cut.

    Example:
        >>> shorten_text("Dense(64, 10)", 8), shorten_text("relu", 8)
        ('Dense(6…', 'relu')
    """
    from rich.cells import set_cell_size

    return text if _length(text) <= width else f"{set_cell_size(text, max(width - 1, 0)).rstrip()}…"


def _length(text: str) -> int:
    """How many characters of a terminal a text takes."""
    from rich.cells import cell_len

    return cell_len(text)


def _room(shown: Sequence[str], sizes: dict[str, int], width: int) -> int:
    """What is left for the first column."""
    return width - sum(sizes[name] + _BETWEEN for name in shown)
