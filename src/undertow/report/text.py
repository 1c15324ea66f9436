"""Tables and sentences in the terminal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TextIO

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from undertow.check import GradientReport
from undertow.nn import Sequential, is_initialized
from undertow.nn.layers import show_item, widths


def make_console(file: TextIO | None = None) -> Console:
    """Make a console that prints names as they are: no markup, no colours by chance.

    Args:
        file: where to; the standard output unless told.

    Returns:
        The console.

    Source: derived here.

    Example:
        >>> make_console().print("[id]")
        [id]
    """
    return Console(file=file, highlight=False, markup=False, emoji=False)


def say(console: Console, text: str = "") -> None:
    """Print a sentence without breaking its line.

    Args:
        console: where to.
        text: the sentence.

    Source: derived here.

    Example:
        >>> say(make_console(), "Trained.")
        Trained.
    """
    console.print(Text(text), soft_wrap=True)


def print_decisions(console: Console, report: Iterable[str], n_train: int, n_held: int) -> None:
    """Print what an encoder decided, and how many examples there are.

    Args:
        console: where to.
        report: sentences.
        n_train: examples to train on.
        n_held: examples held out.

    Source: derived here.

    Example:
        >>> print_decisions(make_console(), ["Target 'y': texts, so classification."], 8, 2)
        Data
          Target 'y': texts, so classification.
          8 examples to train on, 2 held out.
    """
    say(console, "Data")
    held = f"{n_held} held out" if n_held else "none held out"
    for line in [*report, f"{n_train} {'example' if n_train == 1 else 'examples'} to train on, {held}."]:
        say(console, f"  {line}")


def print_model(console: Console, model: Sequential) -> None:
    """Print the layers of a model, the shape of what each gives and how many parameters it has.

    Args:
        console: where to.
        model: a model, with or without weights.

    Source: derived here.

    Example:
        >>> from undertow.nn import Dense
        >>> print_model(make_console(), Sequential(Dense(4, 8), "relu"))
        <BLANKLINE>
         layer         output   parameters
        ──────────────────────────────────
         Dense(4, 8)   (m, 8)           40
         relu          (m, 8)            0
        <BLANKLINE>
         all                            40
        <BLANKLINE>
    """
    table = Table(box=SIMPLE_HEAD, show_footer=False)
    table.add_column("layer")
    table.add_column("output")
    table.add_column("parameters", justify="right")
    width: int | None = None
    total = 0
    for item in model.layers:
        given = widths(item)[1]
        width = width if given is None else given
        count = count_parameters(item)
        total += count
        table.add_row(show_item(item), f"(m, {'…' if width is None else width})", f"{count:,}")
    table.add_section()
    table.add_row("all", "", f"{total:,}")
    console.print(table)


def count_parameters(item: Any) -> int:
    """Count the numbers that training changes.

    Args:
        item: a layer, a container or an activation.

    Returns:
        The number.

    Source: derived here.

    Example:
        >>> from undertow.nn import Dense
        >>> count_parameters(Sequential(Dense(4, 8), "relu", Dense(8, 1, bias=False)))
        48
    """
    if isinstance(item, Sequential):
        return sum(map(count_parameters, item.layers))
    if not hasattr(item, "fan_in"):
        return 0
    if is_initialized(item):
        return sum(int(array.size) for array in (item.W, item.b) if array is not None)
    return int(item.fan_in * item.fan_out + (item.fan_out if item.bias else 0))


def show_metrics(metrics: dict[str, Any], unit: str = "") -> str:
    """Say how good a run is.

    Args:
        metrics: as `undertow.train.tabular.measure` found them.
        unit: the name of the target, in whose unit the error is.

    Returns:
        A sentence.

    Source: derived here.

    Example:
        >>> show_metrics({"part": "held-out", "n": 359, "accuracy": 0.9777})
        'Held-out accuracy: 97.8 % (359 examples)'
        >>> show_metrics({"part": "held-out", "n": 10, "rmse": 2.5, "r2": 0.75}, "price")
        "Held-out R²: 0.750, RMSE: 2.5 in the unit of 'price' (10 examples)"
    """
    part = str(metrics["part"]).capitalize()
    n = f"({metrics['n']} {'example' if metrics['n'] == 1 else 'examples'})"
    if "accuracy" in metrics:
        return f"{part} accuracy: {metrics['accuracy']:.1%} {n}".replace("%", " %")
    r2 = "not defined (the target does not vary there)" if metrics["r2"] is None else f"{metrics['r2']:.3f}"
    return f"{part} R²: {r2}, RMSE: {metrics['rmse']:.4g} in the unit of {unit!r} {n}"


def print_metrics(console: Console, metrics: dict[str, Any], unit: str = "") -> None:
    """Print how good a run is.

    Args:
        console: where to.
        metrics: as `undertow.train.tabular.measure` found them.
        unit: the name of the target.

    Source: derived here.

    Example:
        >>> print_metrics(make_console(), {"part": "training", "n": 1, "accuracy": 1.0})
        Training accuracy: 100.0 % (1 example)
    """
    say(console, show_metrics(metrics, unit))


def print_check(console: Console, report: GradientReport) -> None:
    """Print what `undertow.check_gradient` found, the worst entry of each array a row.

    Args:
        console: where to.
        report: what it found.

    Source: derived here.

    Example:
        >>> import numpy as np
        >>> from undertow.check import check_gradient
        >>> print_check(make_console(), check_gradient(lambda w: np.sum(w**2), np.array([3.0])))
        <BLANKLINE>
         parameter   entry   gradient   numeric   rel. error   method         ok
        ──────────────────────────────────────────────────────────────────────────
         w           [0]            6         6      0.0e+00   complex step   yes
        <BLANKLINE>
        The gradient is right (tolerance 1e-06, worst relative error 0.0e+00).
    """
    table = Table(box=SIMPLE_HEAD)
    for name in ("parameter", "entry", "gradient", "numeric", "rel. error", "method", "ok"):
        justify: Any = "right" if name in ("gradient", "numeric", "rel. error") else "left"
        table.add_column(name, justify=justify, overflow="fold")
    for row in report.rows:
        entry = "direction" if row.entry is None else str(list(row.entry))
        right = "yes" if row.relative_error <= report.tolerance else "NO"
        numbers = (f"{row.gradient:.7g}", f"{row.numeric:.7g}", f"{row.relative_error:.1e}")
        table.add_row(row.name, entry, *numbers, row.method, right)
    console.print(table)
    verdict = "The gradient is right" if report else "THE GRADIENT IS WRONG"
    worst = report.worst.relative_error if report.rows else 0.0
    say(console, f"{verdict} (tolerance {report.tolerance:.0e}, worst relative error {worst:.1e}).")
