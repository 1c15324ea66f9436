"""A record for people to read: a table with bars in a terminal, the same in a notebook."""

from __future__ import annotations

import html
import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from undertow.flow.layers import FlowLayer
from undertow.flow.record import Flow
from undertow.train.fitted_table import fit_table

if TYPE_CHECKING:
    from rich.table import Table

BAR: Final = 12
DECADES: Final = 6
RISING: Final = "▁▂▃▄▅▆▇█"
COLUMNS: Final = ("layer", "h", "0 / flat", "δ", "dW", "dW / W", "update / W", "δ over the steps", "δ, log")
LEFT_OUT: Final = ("h", "dW / W", "δ over the steps", "0 / flat", "dW", "update / W", "δ, log")  # in a narrow terminal
LEAST: Final = 22  # characters of a layer's name, for which columns are left out


def flow_rows(flow: Flow, step: int | None = None) -> list[dict[str, Any]]:
    """Lay out a record at a step, layer by layer, as texts.

    Args:
        flow: the record.
        step: the number of a step; the last one unless told.

    Returns:
        A dict for each layer, the first on top: a text for each of ``COLUMNS``.

    Source: derived here.

    Example:
        >>> flow_rows(Flow.empty(()))
        []
    """
    if not len(flow):
        return []
    row = len(flow) - 1 if step is None else flow.at(step)
    delta = flow.stat("delta.rms")
    now = delta[row].astype(float)
    largest = np.nanmax(np.where(np.isfinite(now), now, np.nan), initial=0.0)
    found = []
    for i, layer in enumerate(flow.layers):
        value = {q: float(flow.stat(f"{q}.rms")[row, i]) for q in ("h", "delta", "dW", "W")}
        share = [float(flow.stat(name)[row, i]) for name in ("zeros", "saturated")]
        ratio = value["dW"] / value["W"] if value["W"] else math.nan
        texts = [
            layer_name(layer), _size(value["h"]), _share(share), _size(value["delta"]), _size(value["dW"]),
            _size(ratio), _size(float(flow.stat("ratio")[row, i])), sparkline(delta[:, i]), bar(now[i], largest),
        ]  # fmt: skip
        found.append(dict(zip(COLUMNS, texts, strict=True)))
    return found


def flow_table(flow: Flow, step: int | None = None, width: int = 120) -> Table:
    """Lay out a record at a step as a table for a terminal; bars are logarithmic.

    Args:
        flow: the record.
        step: the number of a step; the last one unless told.
        width: of the terminal; a narrow one gets fewer columns and shorter names, never a row of two lines.

    Returns:
        A table for rich.

    Source: derived here.

    Example:
        >>> flow_table(Flow.empty(())).row_count
        0
    """
    rows = [list(row.values()) for row in flow_rows(flow, step)]
    return fit_table(title(flow, step), COLUMNS, rows, width, drop=LEFT_OUT, left=COLUMNS[-2:], least=LEAST)


def flow_html(flow: Flow, step: int | None = None) -> str:
    """Lay out a record at a step as a table for a notebook.

    Args:
        flow: the record.
        step: the number of a step; the last one unless told.

    Returns:
        HTML, with everything in it escaped.

    Source: derived here.

    Example:
        >>> flow_html(Flow.empty(())).startswith("<table")
        True
    """
    head = "".join(f'<th scope="col" style="text-align:left">{html.escape(name)}</th>' for name in COLUMNS)
    lines = []
    for row in flow_rows(flow, step):
        first, *rest = row.values()
        cells = "".join(f'<td style="text-align:left;white-space:pre">{html.escape(text)}</td>' for text in rest)
        lines.append(f'<tr><th scope="row" style="text-align:left">{html.escape(first)}</th>{cells}</tr>')
    caption = f'<caption style="text-align:left">{html.escape(title(flow, step))}</caption>'
    return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def title(flow: Flow, step: int | None = None) -> str:
    """Say what a table shows."""
    if not len(flow):
        return "No step is recorded."
    row = len(flow) - 1 if step is None else flow.at(step)
    return f"Gradient flow at step {flow.steps[row]} of {flow.steps[-1]}, root mean squares, first layer to last"


def layer_name(layer: FlowLayer) -> str:
    """Return a layer's number, its name and its activation: ``1  Dense(64, 128) relu``."""
    more = f" {layer.activation}" if layer.activation and layer.kind != "activation" else ""
    return f"{layer.number}  {layer.name}{more}"


def bar(value: float, largest: float) -> str:
    """Draw a size as a bar, logarithmic: full for the largest, a point for less than a millionth of it.

    Example:
        >>> bar(1.0, 1.0), bar(1e-3, 1.0), bar(0.0, 1.0), bar(float("nan"), 1.0)
        ('████████████', '██████', '·', '')
    """
    if math.isnan(value):
        return ""
    if not (0 < value < math.inf and largest > 0):
        return "·" if value <= 0 else "∞"
    return "█" * max(0, round(BAR * (1 + math.log10(value / largest) / DECADES))) or "·"


def sparkline(values: NDArray[Any], width: int = 12) -> str:
    """Draw how a size changed over the steps, logarithmic, from its least to its largest.

    Example:
        >>> sparkline(np.array([1.0, 10.0, 100.0]))
        '▁▅█'
    """
    whole = np.asarray(values, float)
    parts = np.array_split(whole, min(width, len(whole))) if len(whole) else []
    with np.errstate(all="ignore"):
        logs = np.array([np.nanmean(np.log(part[part > 0])) if (part > 0).any() else np.nan for part in parts])
    known = logs[np.isfinite(logs)]
    if not len(known):
        return ""
    low, span = known.min(), max(float(np.ptp(known)), 1e-12)
    if span < 0.05:  # nothing moved
        return "".join(RISING[3] if math.isfinite(x) else " " for x in logs)
    return "".join(RISING[round(7 * (x - low) / span)] if math.isfinite(x) else " " for x in logs)


def _size(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.1e}"


def _share(shares: list[float]) -> str:
    zero, flat = shares
    if not math.isnan(flat):
        return f"{flat:.0%} flat"
    return "–" if math.isnan(zero) or zero == 0 else f"{zero:.0%} 0"
