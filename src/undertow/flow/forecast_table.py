"""A forecast as people see it: a table in a terminal, in text and in a notebook."""

from __future__ import annotations

import html
import io
import math
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from undertow.flow.verdicts import scientific

if TYPE_CHECKING:
    from rich.table import Table

    from undertow.flow.expected import LayerForecast
    from undertow.flow.forecast import Forecast

BAR: Final = 14
HEAD: Final = "|δ|, log"
LEAST: Final = 6  # characters of a column of numbers
WIDE: Final = 130
_Columns: TypeAlias = tuple[tuple[str, str], ...]
COLUMNS: Final[_Columns] = (("z", "z"), ("h", "h"), ("χ", "chi"), ("|δ|", "length"))
MEANINGS: Final[dict[str, str]] = {
    "z": "z, h: root mean square before and after the activation.",
    "χ": "χ: by how much the square of |δ| changes from the next layer to this one.",
    "|δ|": "|δ|: length of ∂L/∂z of an example, by that of the last layer.",
}
# From the widest to the narrowest: columns, length of the bars, blanks after a column beside the one between two.
LAYOUTS: Final[tuple[tuple[_Columns, int, int], ...]] = (
    (COLUMNS, BAR, 1), (COLUMNS[2:], BAR, 1), (COLUMNS[2:], BAR, 0), (COLUMNS[2:], len(HEAD), 0),
    (COLUMNS[3:], BAR, 0), (COLUMNS[3:], len(HEAD), 0), (COLUMNS[3:], 0, 0),
)  # fmt: skip


def forecast_table(found: Forecast, width: int = WIDE) -> Table:
    """Lay out a forecast as a table, the first layer on top.

    Args:
        found: the forecast.
        width: of the terminal, in characters. Where it is too narrow for all, z and h are left out, bars are shorter,
            then χ is left out too, and in the end the bars: each row is one line down to 60 characters, unless the
            layers have long names.

    Returns:
        A table for rich; bars show |δ| on a logarithmic scale from the smallest to the largest, at least 3 decades.

    Source: derived here.

    Example:
        >>> from undertow.flow.forecast import forecast
        >>> from undertow.nn import Dense, Sequential
        >>> forecast_table(forecast(Sequential(Dense(2, 3), "tanh", Dense(3, 1)), [[1.0, 2.0], [3.0, 4.0]])).row_count
        2
    """
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    columns, bar, blanks = _layout(found, width)
    title = "Before training: measured, and by theory"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, blanks, 0, 0))
    table.add_column("layer", overflow="fold")  # a long name is broken rather than a number cut off
    for name, _ in columns:
        table.add_column(name, justify="right", no_wrap=True, min_width=LEAST)
        table.add_column("theory", justify="right", no_wrap=True, min_width=LEAST, style="dim")
    if bar:
        table.add_column(HEAD, no_wrap=True, min_width=bar)
    for row, drawn in zip(found.layers, _bars(found.layers, bar), strict=True):
        table.add_row(name_of(row), *cells(row, columns), *[drawn] * bool(bar))
    return table


def _layout(found: Forecast, width: int) -> tuple[_Columns, int, int]:
    """The widest layout whose rows fit; the narrowest one if none do."""
    name = max((len(name_of(row)) for row in found.layers), default=0)
    for columns, bar, blanks in LAYOUTS:
        rows = [cells(row, columns) for row in found.layers]
        numbers = [max([LEAST, *map(len, column)]) for column in zip(*rows, strict=True)]
        if 1 + sum(n + 1 + blanks for n in (name, *numbers, *[bar] * bool(bar))) <= width:
            return columns, bar, blanks
    return LAYOUTS[-1]


def name_of(row: LayerForecast) -> str:
    """Name a row: ``3  Dense(64, 10)``, further to the right within a block."""
    activation = f", {row.layer.activation}" if row.layer.activation and row.layer.kind != "activation" else ""
    name = row.layer.name if len(row.layer.name) <= 24 else f"{row.layer.name[:23]}…"
    return f"{row.layer.number}  {'  ' if row.layer.within else ''}{name}{activation}"


def cells(row: LayerForecast, columns: _Columns = COLUMNS) -> list[str]:
    """Write the numbers of a row: measured, theory, for each column."""
    found = []
    for _, field in columns:
        pair = getattr(row, field)
        found += [scientific(pair.measured), scientific(pair.predicted)]
    return found


def _bars(rows: list[LayerForecast], most: int = BAR) -> list[str]:
    """Bars of |δ|, on a logarithmic scale that all share."""
    sizes = [row.length.best for row in rows]
    logs = [math.log10(x) for x in sizes if x > 0 and math.isfinite(x)]
    high = max(logs, default=0.0)
    span = max(high - min(logs, default=0.0), 3.0)
    return [
        "█" * max(1, round(most * (1 + (math.log10(x) - high) / span))) if x > 0 and math.isfinite(x) else "·"
        for x in sizes
    ]


def forecast_words(found: Forecast, width: int = WIDE) -> str:
    """Say in words what the table holds, and what is to be expected.

    Args:
        found: the forecast.
        width: for which the table was laid out.

    Returns:
        Lines: the verdicts, the depth scale, what theory does not cover.

    Source: derived here.
    """
    sent = (
        f"the gradient of {found.loss.removesuffix('_with_logits')}"
        if found.loss
        else "a random gradient at the output"
    )
    shown = [name for name, _ in _layout(found, width)[0]]
    lines = [
        " ".join(text for name, text in MEANINGS.items() if name in shown),
        f"{found.n_examples} examples, {sent}.",
        "",
    ]
    lines += [f"{verdict.kind}: {verdict.sentence}" for verdict in found.verdicts]
    lines += scale_lines(found)
    lines += [f"Not covered by theory, measured instead: {note}." for note in dict.fromkeys(found.notes)]
    return "\n".join(lines)


def scale_lines(found: Forecast) -> list[str]:
    """Say over how many layers the gradient changes by e, and where signals would end."""
    lines = []
    if math.isfinite(found.xi) and found.xi != 0:
        verb = "falls" if found.xi > 0 else "grows"
        lines.append(
            f"Depth scale: |δ|² {verb} by e in {scientific(abs(found.xi))} layers (ξ); the network has {found.depth}."
        )
    end = found.end
    if end is not None:
        slowly = " slowly" if 0.9 < end.chi < 1.1 else ""
        q = f"falls{slowly} to 0" if end.q == 0 else f"grows{slowly}, without bound"
        q = f"tends to {scientific(end.q)}" if 0 < end.q < math.inf else q
        text = f"With more such layers the mean square of z {q}, χ = {scientific(end.chi)}"
        if math.isfinite(end.c):
            text += f", and the cosine of two examples tends to {end.c:.2f}"
            if math.isfinite(end.xi_c) and end.xi_c > 0:
                text += f" within some {scientific(end.xi_c)} layers (ξ_c)"
        lines.append(f"{text}.")
    return lines


def forecast_text(found: Forecast) -> str:
    """Write a forecast as plain text.

    Args:
        found: the forecast.

    Returns:
        The table, the words, and the remedies of its findings.

    Source: derived here.
    """
    from rich.console import Console

    console = Console(file=io.StringIO(), width=WIDE, color_system=None, force_jupyter=False)
    console.print(forecast_table(found))
    lines = [line.rstrip() for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]
    remedies = [remedy.sentence for finding in found.findings for remedy in finding.remedies]
    told = [f"  {number}. {sentence}" for number, sentence in enumerate(remedies, 1)]
    return "\n".join([*(line for line in lines if line), "", forecast_words(found), *told])


def forecast_html(found: Forecast) -> str:
    """Write a forecast as a plain table of HTML.

    Args:
        found: the forecast.

    Returns:
        Paragraphs and a table; names are escaped.

    Source: derived here.
    """
    heads = ["layer"] + [text for name, _ in COLUMNS for text in (name, f"{name} by theory")] + ["|δ|, log"]
    head = "".join(f'<th scope="col">{html.escape(text)}</th>' for text in heads)
    body = []
    for row, bar in zip(found.layers, _bars(found.layers), strict=True):
        numbers: list[Any] = [*cells(row), bar]
        rest = "".join(f"<td>{html.escape(text)}</td>" for text in numbers)
        body.append(f'<tr><th scope="row">{html.escape(name_of(row))}</th>{rest}</tr>')
    before, after = forecast_words(found).split("\n\n", 1)
    words = "".join(f"<p>{html.escape(line)}</p>" for line in after.splitlines())
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>"
    return f"<div>{words}{table}<p>{html.escape(before)}</p></div>"
