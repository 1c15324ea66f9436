"""Histograms by look, as data: forty counts a histogram in a few dozen characters."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from undertow.report.curves import plain_number

if TYPE_CHECKING:
    from undertow.flow.record import Flow, Look

TITLES: Final = {
    "W": "weights W",
    "h": "activation h",
    "delta": "delta ∂L/∂z",
    "dW": "weight gradient ∂L/∂W",
}
HISTOGRAMS_AT_MOST: Final = 4000
LOOKS_AT_MOST: Final = 12
NUMBERS: Final = (
    "units", "dead", "saturated_units", "constant_units", "identical", "rank", "rank_of_input", "correlation",
    "zeros", "saturated", "z_rms", "h_rms", "h_mean", "delta_rms", "dW_rms", "W_rms",
)  # fmt: skip


def look_data(flow: Flow) -> dict[str, Any] | None:
    """Make the data of the histograms.

    Args:
        flow: the record.

    Returns:
        Plain data: ``names`` and ``titles`` of the quantities and ``looks``; None where no look was taken. Of many
        looks, and of many layers, some looks are left out, never the last.

    Source: derived here.
    """
    if not flow.looks:
        return None
    n_layers = max(len(flow.layers), 1)
    names = [name for name in TITLES if any(name in _histograms(entry) for x in flow.looks for entry in x.layers)]
    n_kept = min(LOOKS_AT_MOST, max(1 + (n_layers < 1000), HISTOGRAMS_AT_MOST // (n_layers * max(len(names), 1))))
    looks = flow.looks
    if len(looks) > n_kept:
        looks = [looks[i] for i in sorted({round(x) for x in np.linspace(len(looks) - 1, 0, n_kept)})]
    return {
        "names": names,
        "titles": {name: TITLES[name] for name in names},
        "left_out": len(flow.looks) - len(looks),
        "looks": [_look(x, names) | ({"epoch": None} if flow.of_loop else {}) for x in looks],
    }


def _look(look: Look, names: list[str]) -> dict[str, Any]:
    """One look."""
    return {
        "step": int(look.step),
        "epoch": int(look.epoch),
        "n_examples": int(look.n_examples),
        "loss": plain_number(look.loss),
        "noise_scale": plain_number(look.noise_scale),
        "layers": [_entry(entry, names) for entry in look.layers],
    }


def _entry(entry: Mapping[str, Any], names: list[str]) -> dict[str, Any]:
    """One layer in one look."""
    shown = _histograms(entry)
    return {
        "histograms": {name: pack_histogram(shown[name]) for name in names if name in shown},
        **{name: plain_number(entry[name]) for name in NUMBERS if entry.get(name) is not None},
    }


def _histograms(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    """The histograms of a layer that hold something."""
    found = entry.get("histograms") or {}
    return {name: x for name, x in found.items() if x and sum(x.get("counts", ())) > 0}


def pack_histogram(histogram: Mapping[str, Any]) -> dict[str, Any]:
    """Write a histogram shortly.

    Args:
        histogram: ``edges`` (k + 1) and ``counts`` (k), of even or uneven widths.

    Returns:
        ``low``, ``high``, ``n`` (how many numbers), ``top`` (the largest count) and ``bars``: heights from 0 to 255 as
        base64, k bytes. Of uneven widths, densities over even ones take the place of counts.

    Source: derived here.

    Example:
        >>> found = pack_histogram({"edges": [0.0, 1.0, 2.0], "counts": [1, 2]})
        >>> found["low"], found["high"], found["n"], list(base64.b64decode(found["bars"]))
        (0, 2, 3, [128, 255])
    """
    edges = np.asarray(histogram["edges"], np.float64)
    counts = np.asarray(histogram["counts"], np.float64)
    n, widths = counts.sum(), np.diff(edges)
    if widths.max() > 1.01 * widths.min():
        even = np.linspace(edges[0], edges[-1], len(edges))
        counts = np.diff(np.interp(even, edges, np.concatenate([[0.0], np.cumsum(counts)])))
    top = counts.max()
    heights = np.rint(255 * counts / top) if top > 0 else np.zeros(len(counts))
    heights[(counts > 0) & (heights == 0)] = 1  # what is rare is still there
    return {
        "low": plain_number(edges[0]),
        "high": plain_number(edges[-1]),
        "n": int(n),
        "top": int(np.rint(top)),
        "bars": base64.b64encode(heights.astype(np.uint8).tobytes()).decode(),
    }
