"""What commands print: a failure to print is an error of its own, and never stops a long job."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import typer

from undertow.errors import RunError


def say(text: str | Callable[[], str], nl: bool = True) -> None:
    """Print a text, or what a function lays out, on the standard output; where that fails, the error says so."""
    try:
        typer.echo(text() if callable(text) else text, nl=nl)
    except BrokenPipeError:
        raise
    except (OSError, ValueError) as error:  # a full disk; a stream that someone closed
        reason = getattr(error, "strerror", None) or error
        raise RunError(f"the standard output cannot be written: {reason}.") from None


class Page:
    """What a long job prints: once printing fails, the job goes on, and the failure is told at its end."""

    def __init__(self) -> None:
        self.failure: BrokenPipeError | RunError | None = None

    def say(self, text: str | Callable[[], str]) -> None:
        """Print, unless it failed before."""
        if self.failure is None:
            try:
                say(text)
            except (BrokenPipeError, RunError) as error:
                self.failure = error

    def close(self, remark: str) -> None:
        """Raise what failed; a closed pipe is no failure."""
        if isinstance(self.failure, RunError):
            raise RunError(f"{self.failure}{remark}")


def as_text(*shown: Any) -> str:
    """Lay out what rich can show as text, as wide as the terminal."""
    from rich.console import Console

    console = Console(highlight=False)
    with console.capture() as captured:
        for item in shown:
            console.print(item)
    return captured.get()


def show_gradients(run: Any) -> str:
    """Lay out the gradient table as text."""
    from rich.console import Console

    from undertow.train.gradients import print_gradient_table

    console = Console(highlight=False)
    with console.capture() as captured:
        print_gradient_table(run, console)
    return captured.get()


def show_flow(flow: Any) -> str:
    """Lay out how the gradient flowed in the last step as text, as wide as the terminal."""
    return as_text(flow)


def show_remedies(found: Sequence[Any]) -> str:
    """Lay out what findings tell to try as text: a sentence and the option of the command line for each."""
    from rich.padding import Padding
    from rich.text import Text

    remedies = [remedy for finding in found for remedy in finding.remedies]
    rows = [f"{number}. {x.sentence}  {x.option}".rstrip() for number, x in enumerate(remedies, 1)]
    return as_text(*(Padding(Text(row), (0, 0, 0, 2)) for row in rows)).rstrip()


def tell_findings(error: Any, page: Page) -> None:
    """Print what is wrong with a training that ended in an error, where it was recorded, and write its report."""
    run = getattr(error, "run", None)
    if run is None or run.record is None:
        return
    if run.findings:
        page.say(lambda: show_findings(run.findings))
    if run.folder is not None:
        try:
            page.say(f"report: {run.report(run.folder / 'report.html')}")
        except RunError as failure:  # the error of the training counts for more
            page.say(f"the report could not be written: {failure}")


def show_findings(found: list[Any], python: bool = False) -> str:
    """Lay out findings as text; what an option of the command line mends needs no Python, where that trained."""
    from dataclasses import replace

    from undertow.flow import show_findings as lay_out

    if not found:
        return "nothing wrong was found in the gradient flow."
    shown = []
    for finding in found:
        remedies = [replace(x, code="") if x.option and not python else x for x in finding.remedies]
        shown.append(replace(finding, remedies=tuple(remedies)))
    return as_text(lay_out(shown)).rstrip()
