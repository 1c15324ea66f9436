"""Runs and backward passes as a notebook shows them: short pieces of HTML in which everything is escaped."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import TYPE_CHECKING, Any, Final

from undertow.errors import UndertowError
from undertow.flow.show import flow_html
from undertow.flow.tell import findings_html
from undertow.report.summary import ENDS
from undertow.train.columns import is_number

if TYPE_CHECKING:
    from undertow.api import Backprop
    from undertow.train import Run

PRE: Final = '<pre style="font-family:monospace">'  # that of a notebook which is saved as a page is no monospace one
LEFT: Final = 'style="text-align:left"'
LONGEST: Final = 300  # characters of a model
NO_RECORD: Final = "Its gradient flow was not recorded (flow=False)."


def run_html(run: Run) -> str:
    r"""Lay out a run for a notebook: what was trained, the last row of its history, the findings, the gradient flow.

    Args:
        run: what `undertow.train` returned, or one that was loaded.

    Returns:
        HTML, with everything in it escaped.

    Source: derived here.

    Example:
        >>> from undertow.train import Run
        >>> print(run_html(Run("a model", [{"epoch": 1, "loss": 0.5}])).replace("</p>", "</p>\n"))
        <div><p><b>Run</b> of a model</p>
        <p>1 epoch, finished. Its gradient flow was not recorded (flow=False).</p>
        <table><caption style="text-align:left">The last row of run.history</caption>...</table></div>
    """
    n_epochs = len(run.history)
    state = ENDS.get(run.stopped, (run.stopped,))[0]
    told = f"{n_epochs} epoch{'s' * (n_epochs != 1)}, {state}."
    parts = [f"<p><b>Run</b> of {_model(run.model)}</p>"]
    rest = _last_row(run.history[-1]) if run.history else ""
    if run.record is None:
        told += f" {NO_RECORD}"
    else:
        try:
            rest += findings_html(run.findings) + flow_html(run.flow)
        except UndertowError as error:  # its files have gone, or are damaged
            told += f" {error}"
    return f"<div>{''.join(parts)}<p>{escape(told)}</p>{rest}</div>"


def backprop_html(program: Backprop) -> str:
    """Lay out a backward pass for a notebook: its source, and the derivation to unfold.

    Args:
        program: what `undertow.backprop` returned.

    Returns:
        HTML, with everything in it escaped.

    Source: derived here.

    Example:
        >>> import numpy as np
        >>> import undertow as ut
        >>> shown = backprop_html(ut.backprop(lambda w: np.sum(w * w), np.ones(3)))
        >>> shown.startswith("<div><pre ") and "<details><summary>The derivation" in shown
        True
    """
    try:
        derivation = escape(program.derivation())
    except UndertowError as error:
        derivation = escape(str(error))
    unfold = f"<details><summary>The derivation, step by step</summary>{PRE}{derivation}</pre></details>"
    return f"<div>{PRE}{escape(program.source)}</pre>{unfold}</div>"


def _model(model: Any) -> str:
    """A model by its own words, if they are not too many."""
    text = model if isinstance(model, str) else repr(model)
    return escape(text if len(text) <= LONGEST else f"{text[:LONGEST]}…")


def _last_row(row: dict[str, Any]) -> str:
    """A row of the history as a table."""
    shown = {name: value for name, value in row.items() if is_number(value) or isinstance(value, str)}
    head = _cells("th", shown)
    body = _cells("td", (f"{value:.4g}" if isinstance(value, float) else str(value) for value in shown.values()))
    caption = f"<caption {LEFT}>The last row of run.history</caption>"
    return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody><tr>{body}</tr></tbody></table>"


def _cells(tag: str, texts: Iterable[str]) -> str:
    more = ' scope="col"' if tag == "th" else ""
    return "".join(f"<{tag}{more} {LEFT}>{escape(text)}</{tag}>" for text in texts)
