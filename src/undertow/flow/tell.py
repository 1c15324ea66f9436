"""Findings for people to read, in a terminal or a notebook."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape
from typing import TYPE_CHECKING, Any, Final

from undertow.flow.findings import Finding
from undertow.flow.fold import fold_code

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, Group, RenderableType

COLOURS: Final = {"error": "bold red", "warning": "bold yellow", "note": "bold cyan"}
WELL: Final = "Nothing found: the gradient flows, and the loss goes where it should."
N_ROWS: Final = 8  # of evidence
LEFT: Final = 'style="text-align:left"'


def show_findings(findings: Sequence[Finding], remedies: bool = True) -> Group:
    """Lay out findings for a terminal: the severity as a word and a colour, the numbers, what to try.

    Args:
        findings: as `diagnose` returns them.
        remedies: whether to show the code of the remedies.

    Returns:
        What `rich` prints.

    Source: derived here.

    Example:
        >>> from rich.console import Console
        >>> found = Finding("plateau", "warning", "The loss stands at 2.3.", layers=("layer 1, Dense(4, 3)",), step=7)
        >>> Console(width=60, color_system=None).print(show_findings([found]))
        warning: plateau, layer 1, Dense(4, 3), from step 7 on
          The loss stands at 2.3.
        <BLANKLINE>
    """
    from rich.console import Group
    from rich.text import Text

    if not findings:
        return Group(Text(WELL, style="green"))
    return Group(*(part for finding in findings for part in _parts(finding, remedies)))


def findings_html(findings: Sequence[Finding]) -> str:
    """Lay out findings for a notebook, each to unfold; what `show_findings` prints is in it.

    Args:
        findings: as `diagnose` returns them.

    Returns:
        HTML, with everything in it escaped.

    Source: derived here.

    Example:
        >>> findings_html([])
        '<p>Nothing found: the gradient flows, and the loss goes where it should.</p>'
    """
    if not findings:
        return f"<p>{escape(WELL)}</p>"
    return f"<ul>{''.join(f'<li>{finding_html(finding)}</li>' for finding in findings)}</ul>"


def finding_html(finding: Finding) -> str:
    """Lay out one finding for a notebook.

    Args:
        finding: the finding.

    Returns:
        HTML, with everything in it escaped.

    Source: derived here.

    Example:
        >>> print(finding_html(Finding("plateau", "warning", "The loss stands at 2.3.", step=7)))
        <details><summary><b>warning: plateau</b>, from step 7 on: The loss stands at 2.3.</summary></details>
    """
    head = f"<b>{escape(f'{finding.severity}: {finding.kind}')}</b>{escape(f'{_place(finding)}: {finding.cause}')}"
    parts = []
    if finding.evidence:
        cells = [(x.text, show_value(x.value), show_value(x.expected)) for x in finding.evidence]
        names = "".join(f'<th scope="col" {LEFT}>{name}</th>' for name in ("evidence", "found", "expected"))
        rows = "".join(f"<tr>{''.join(f'<td {LEFT}>{escape(x)}</td>' for x in row)}</tr>" for row in cells)
        parts.append(f"<table><thead><tr>{names}</tr></thead><tbody>{rows}</tbody></table>")
    for remedy in finding.remedies:
        option = f" <code>{escape(remedy.option)}</code>" if remedy.option else ""
        code = f'<pre style="white-space:pre-wrap">{escape(remedy.code)}</pre>' if remedy.code else ""
        parts.append(f"<p>{escape(remedy.sentence)}{option}</p>{code}")
    if finding.source:
        parts.append(f"<p>{escape(f'Source: {finding.source}')}</p>")
    return f"<details><summary>{head}</summary>{''.join(parts)}</details>"


def finding_line(finding: Finding) -> str:
    """Write a finding in a line: severity, kind, place and cause.

    Args:
        finding: the finding.

    Returns:
        The line.

    Source: derived here.

    Example:
        >>> finding_line(Finding("plateau", "warning", "The loss stands at 2.3.", step=7))
        'warning: plateau, from step 7 on: The loss stands at 2.3.'
    """
    return f"{finding.severity}: {finding.kind}{_place(finding)}: {finding.cause}"


def finding_text(finding: Finding) -> str:
    """Lay out one finding as text without colours: severity, place, cause, numbers, remedies, source.

    Args:
        finding: the finding.

    Returns:
        Lines as wide as the terminal, the last without an end.

    Source: derived here.

    Example:
        >>> print(finding_text(Finding("plateau", "warning", "The loss stands at 2.3.", step=7)))
        warning: plateau, from step 7 on
          The loss stands at 2.3.
    """
    from rich.console import Console

    console = Console(highlight=False, color_system=None)
    with console.capture() as captured:
        console.print(show_findings([finding]))
    return "\n".join(line.rstrip() for line in captured.get().rstrip().split("\n"))


def _parts(finding: Finding, remedies: bool) -> list[RenderableType]:
    """One finding, from its name to its source."""
    from rich.padding import Padding
    from rich.text import Text

    head = Text(finding.severity, style=COLOURS.get(finding.severity, "bold"))
    head.append(f": {finding.kind}", style="bold")
    head.append(_place(finding))
    parts: list[RenderableType] = [head, Padding(Text(finding.cause), (0, 0, 0, 2))]
    if finding.evidence:
        parts.append(Padding(_table(finding), (0, 0, 0, 2)))
    for number, remedy in enumerate(finding.remedies, 1):
        parts.append(Padding(_Remedy(f"{number}. {remedy.sentence}", remedy.option), (0, 0, 0, 2)))
        if remedies and remedy.code:
            parts.append(Padding(_Code(remedy.code), (0, 0, 0, 5)))
    if finding.source:
        parts.append(Padding(Text(f"Source: {finding.source}", style="dim"), (0, 0, 0, 2)))
    return [*parts, Text("")]


class _Remedy:
    """A sentence and an option of the command line, which is in one line, so that it can be pasted."""

    def __init__(self, sentence: str, option: str) -> None:
        self.sentence, self.option = sentence, option

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        from rich.text import Text

        lines = Text(self.sentence).wrap(console, options.max_width)
        option = Text(self.option, style="green")
        if self.option and lines[-1].cell_len + 2 + option.cell_len <= options.max_width:
            lines[-1].append("  ").append(option)
        elif self.option:
            lines.append(option)
        yield from lines


class _Code:
    """Code as wide as there is room; pasted from a terminal, it runs."""

    def __init__(self, code: str) -> None:
        self.code = code

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        from rich.text import Text

        yield Text(fold_code(self.code, options.max_width), style="cyan", overflow="fold")


def _place(finding: Finding) -> str:
    """Where and when it shows."""
    more = len(finding.layers) - 1
    where = f", {finding.layers[0]}" if finding.layers else ""
    where += f" and {more} more" if more > 0 else ""
    if finding.step is None:
        return where
    return f"{where}, from the beginning" if finding.step == 0 else f"{where}, from step {finding.step} on"


def _table(finding: Finding) -> Any:
    """The numbers beside those of a healthy training."""
    from rich.table import Table

    table = Table("evidence", "found", "expected", box=None, pad_edge=False, header_style="dim")
    for row in finding.evidence[:N_ROWS]:
        table.add_row(row.text, show_value(row.value), show_value(row.expected))
    if len(finding.evidence) > N_ROWS:
        table.add_row(f"and {len(finding.evidence) - N_ROWS} more", "", "")
    return table


def show_value(value: float | str | None) -> str:
    """Write a number of evidence: four digits, whole numbers whole; nothing for None.

    Args:
        value: of an `Evidence`.

    Returns:
        A text.

    Source: derived here.

    Example:
        >>> show_value(3.14159), show_value(120), show_value("near 1"), show_value(None)
        ('3.142', '120', 'near 1', '')
    """
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, int) or (math.isfinite(value) and value == int(value) and abs(value) < 1e6):
        return str(int(value))
    return f"{value:.4g}"
