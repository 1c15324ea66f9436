"""The history of a run as pictures: with matplotlib for files and notebooks, with characters for a terminal."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from undertow.errors import ArgumentError, RunError
from undertow.train.columns import (
    CLIPPED,
    RATES,
    Rows,
    is_number,
    is_share,
    read_columns,
    scores,
    spans_decades,
)
from undertow.train.files import explain_failure, read_path

# Wong, Points of view: Color blindness, Nature Methods 8, 2011, p. 441; without yellow, which is faint on white.
COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
SUFFIXES: Final = (".png", ".svg", ".pdf")


def plot_history(history: Rows, columns: Iterable[str] | None = None, path: str | Path | None = None) -> Any:
    """Plot a history: loss, metrics, learning rate and clipped steps, each over the epochs.

    What is measured on validation data is dashed and of the colour of its partner. A loss, or a learning rate, that
    spans two decades or more has a logarithmic axis.

    Args:
        history: a row an epoch; ``run.history``.
        columns: which columns to show; all losses, metrics, rates and shares of clipped steps unless told.
        path: a file to write, .png, .svg or .pdf; None for none.

    Returns:
        The figure, a ``matplotlib.figure.Figure``, or the path where one was given.

    Raises:
        ArgumentError: ``plot_history: matplotlib is not installed. Install it with pip install matplotlib. …``;
            a column that is not there, another suffix, a history without rows.
        RunError: ``loss.png cannot be written: …``

    Source: derived here.

    Example:
        >>> plot_history([])
        Traceback (most recent call last):
        undertow.errors.ArgumentError: plot_history: the history has no rows. Train for an epoch first.
    """
    data = _choose("plot_history", history, columns)
    target = None if path is None else read_path(path, "the file of a plot")
    if target is not None and target.suffix.lower() not in SUFFIXES:
        raise ArgumentError(f"plot_history: {target.name} is no .png, .svg or .pdf. Give a name that ends so.")
    figure_class = _find_figure_class()
    across, x = _axis(read_columns(history))
    panels = _panels(list(data))
    figure = figure_class(figsize=(7.0, 0.6 + 2.4 * len(panels)), layout="constrained")
    for axes, (label, names) in zip(
        figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0], panels, strict=True
    ):
        _draw(axes, label, names, x, data)
    axes.set_xlabel(across)
    if target is None:
        return figure
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(target, dpi=150)
    except OSError as error:
        raise RunError(f"{target} cannot be written: {explain_failure(target, error)}.") from None
    return target


def _find_figure_class() -> Any:
    """matplotlib's figure, which a notebook shows also without pyplot, whose figures stay until they are closed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ArgumentError(
            "plot_history: matplotlib is not installed. Install it with pip install matplotlib. "
            "plot_text needs nothing."
        ) from None

    class ShownFigure(Figure):
        def _repr_png_(self) -> bytes:
            buffer = io.BytesIO()
            self.savefig(buffer, format="png", dpi=100)
            return buffer.getvalue()

    return ShownFigure


def _choose(who: str, history: Rows, columns: Iterable[str] | None) -> dict[str, list[float]]:
    """The columns to show, as numbers; NaN where there is none."""
    found = read_columns(history)
    if not found:
        raise ArgumentError(f"{who}: the history has no rows. Train for an epoch first.")
    numbers = [name for name, values in found.items() if any(is_number(value) for value in values)]
    if columns is None:
        chosen = [name for name in numbers if name in (*scores(numbers), *RATES, *CLIPPED)]
    else:
        chosen = [columns] if isinstance(columns, str) else list(columns)
    for name in chosen:
        if name not in numbers:
            raise ArgumentError(f"{who}: the history has no column {name!r} of numbers. It has {', '.join(numbers)}.")
    if not chosen:
        raise ArgumentError(f"{who}: there is no column to show. The history has {', '.join(numbers)}.")
    return {name: [float(value) if is_number(value) else math.nan for value in found[name]] for name in chosen}


def _axis(columns: dict[str, list[Any]]) -> tuple[str, list[Any]]:
    """What the rows are placed by: epochs, or steps where a number of epochs comes up twice or is not there."""
    for name in ("epoch", "step"):
        values = columns.get(name, [None])
        if all(is_number(value) for value in values) and len(set(values)) == len(values):
            return name, values
    return "row", list(range(1, len(next(iter(columns.values()))) + 1))


def _panels(names: list[str]) -> list[tuple[str, list[str]]]:
    """Columns by the axes that they share, with what is written beside: losses, shares, and each other column."""
    panels: dict[str, list[str]] = {}
    for name in names:
        base = name.removeprefix("validation_")
        if name in RATES:
            label = "learning rate"
        elif name in CLIPPED:
            label = "clipped steps (%)"
        else:
            label = "share (%)" if is_share(name) else base.replace("_", " ")
        panels.setdefault(label, []).append(name)
    for label, shown in list(panels.items()):
        bases = {name.removeprefix("validation_") for name in shown}
        if label == "share (%)" and len(bases) == 1:
            panels = {f"{bases.pop().replace('_', ' ')} (%)" if key == label else key: v for key, v in panels.items()}
    order = {"loss": 0, "learning rate": 2, "clipped steps (%)": 3}
    return sorted(panels.items(), key=lambda panel: order.get(panel[0], 1))


def _draw(axes: Any, label: str, names: list[str], x: list[Any], data: dict[str, list[float]]) -> None:
    """Draw the columns that share a pair of axes."""
    bases = list(dict.fromkeys(name.removeprefix("validation_") for name in names))
    factor = 100 if label.endswith("(%)") else 1
    for name in names:
        base = name.removeprefix("validation_")
        # Of a single quantity the two parts differ in colour, of several they differ in the dashes alone.
        colour = COLOURS[(bases.index(base) if len(bases) > 1 else int(name != base)) % len(COLOURS)]
        known = [(place, factor * value) for place, value in zip(x, data[name], strict=True) if math.isfinite(value)]
        axes.plot(
            [place for place, _ in known],
            [value for _, value in known],
            color=colour,
            linestyle="-" if name == base else "--",
            marker="o" if len(known) <= 20 else None,
            markersize=3,
            label=_name(name, bases, label),
        )
    if factor == 1 and spans_decades(value for name in names for value in data[name]):
        axes.set_yscale("log")
    alone = len(names) == 1 and names[0].startswith("validation_")
    axes.set_ylabel(f"validation {label}" if alone else label)
    axes.grid(True, alpha=0.3)
    if len(names) > 1:
        axes.legend(frameon=False)


def _name(name: str, bases: list[str], label: str) -> str:
    """What a line is called."""
    if len(bases) > 1:
        return name.replace("_", " ")
    return "validation" if name.startswith("validation_") else "training"


def plot_text(history: Rows, columns: str | Iterable[str] | None = None, *, width: int = 60, height: int = 10) -> str:
    """Draw a history with characters, for a terminal.

    Each character stands for the mean of the epochs that fall on its column. The scale is logarithmic where the
    numbers span two decades or more.

    Args:
        history: a row an epoch; ``run.history``.
        columns: up to four columns; the training loss (●) and the validation loss (○) unless told.
        width: of the drawing, in characters, 10 or more.
        height: of the drawing, in lines, 2 or more.

    Returns:
        Lines to print.

    Raises:
        ArgumentError: a column that is not there, a history without rows, a drawing too small.

    Source: derived here.

    Example:
        >>> print(plot_text([{"epoch": i, "loss": 2.0 / i} for i in range(1, 5)], width=12, height=3))
        2    ┤ ●
        1.25 ┤    ●
        0.5  ┤       ●  ●
             └────────────
              1 … 4 epoch
        ● loss
    """
    for what, size, least in (("width", width, 10), ("height", height, 2)):
        if isinstance(size, bool) or not isinstance(size, int) or size < least:
            raise ArgumentError(f"plot_text: {what} must be a whole number of {least} or more, got {size!r}.")
    found = read_columns(history)
    if columns is None and found:
        columns = [name for name in ("loss", "validation_loss") if name in found]
    data = _choose("plot_text", history, columns)
    if len(data) > len(MARKS):
        raise ArgumentError(f"plot_text: {len(data)} columns are too many for one drawing. Give up to {len(MARKS)}.")
    across, x = _axis(found)
    log = spans_decades(value for values in data.values() for value in values)
    cells = {name: _squeeze(values, width, log) for name, values in data.items()}
    shown = [value for line in cells.values() for _, value in line]
    legend = "   ".join(f"{mark} {name.replace('_', ' ')}" for mark, name in zip(MARKS, data, strict=False))
    if not shown:
        return f"{legend}: no finite number"
    low, high = min(shown), max(shown)
    grid = [[" "] * width for _ in range(height)]
    for mark, line in zip(MARKS, cells.values(), strict=False):
        for column, value in line:
            row = round((high - value) / (high - low) * (height - 1)) if high > low else height - 1
            grid[row][column] = mark if grid[row][column] == " " else BOTH
    labels = _labels(low, high, height, log)
    margin = max(map(len, labels))
    lines = [f"{label:<{margin}} ┤{''.join(cells)}".rstrip() for label, cells in zip(labels, grid, strict=True)]
    scale = ", logarithmic" if log else ""
    places = f"{x[0]} … {x[-1]} {across}" if len(x) > 1 else f"{across} {x[0]}"
    return "\n".join([*lines, " " * margin + " └" + "─" * width, f"{'':{margin}}  {places}{scale}", legend])


MARKS: Final = "●○◆◇"
BOTH: Final = "◉"  # two lines meet


def _squeeze(values: list[float], width: int, log: bool) -> list[tuple[int, float]]:
    """Columns of characters and the mean of what falls on each; few values are spread over the width."""
    groups: dict[int, list[float]] = {}
    for i, value in enumerate(values):
        if math.isfinite(value):
            column = int((i + 0.5) * width / len(values))
            groups.setdefault(column, []).append(math.log10(value) if log else value)
    return [(column, math.fsum(group) / len(group)) for column, group in groups.items()]


def _labels(low: float, high: float, height: int, log: bool) -> list[str]:
    """What stands beside the top, the middle and the bottom."""
    labels = [""] * height
    places = {0: high, (height - 1) // 2: high - (high - low) * ((height - 1) // 2) / (height - 1), height - 1: low}
    for row, value in places.items():
        labels[row] = f"{10**value if log else value:.3g}"
    if low == high:
        labels[:-1] = [""] * (height - 1)
    return labels
