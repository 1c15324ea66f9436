"""The gradient-flow map as data: layers × steps, binned to what a page can show, in a form that is small as JSON."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from undertow.flow.layers import FlowLayer
    from undertow.flow.record import Flow

Array = NDArray[Any]
COLUMNS_AT_MOST: Final = 400
CELLS_AT_MOST: Final = 40_000  # a map; a record of more layers has fewer columns
COLUMNS_AT_LEAST: Final = 20
PER_DECADE: Final = 700  # steps of the code to a factor of 10: 0.33 % apart, and float32's range fits
PER_UNIT: Final = 30_000  # steps of the code from 0 to 1
NOT_THERE, ZERO, NOT_FINITE = -32768, -32767, 32767


@dataclass(frozen=True)
class Quantity:
    """What a map can show.

    Attributes:
        name: as the page calls it.
        title: what people read.
        explains: one sentence.
        stat: of the record, ``"delta.rms"``.
        largest: the statistic whose maximum is told beside it, or None.
        linear: whether it is a share from 0 to 1; else its logarithm counts.
    """

    name: str
    title: str
    explains: str
    stat: str
    largest: str | None = None
    linear: bool = False


QUANTITIES: Final = (
    Quantity("delta", "delta ∂L/∂z", "The gradient that reaches each layer: ∂L/∂z, root mean square.", "delta.rms",
             "delta.max"),
    Quantity("dW", "weight gradient ∂L/∂W", "What the weights are told to change, before clipping: ∂L/∂W, root mean "
             "square. It can look even where delta fades.", "dW.rms", "dW.max"),
    Quantity("h", "activation h", "What each layer hands on: h, root mean square.", "h.rms", "h.max"),
    Quantity("z", "pre-activation z", "What each layer gives before its activation: z, root mean square.", "z.rms",
             "z.max"),
    Quantity("ratio", "update ratio", "The size of an update against that of its weights. Around 0.001 is usual.",
             "ratio"),
    Quantity("saturated", "saturated", "The share of h in the flat parts of the activation, where no gradient passes.",
             "saturated", linear=True),
    Quantity("zeros", "zeros", "The share of h that is exactly 0. About half is usual of relu.", "zeros", linear=True),
)  # fmt: skip


def bin_edges(steps: ArrayLike, n_layers: int) -> Array:
    """Cut a record's rows into columns of equal numbers of steps: 1, 2, 4, …, so that columns stay as a record grows.

    Args:
        steps: the numbers of the recorded steps, rising, (s,).
        n_layers: layers of the record.

    Returns:
        Row numbers, int64 (n_columns + 1,), from 0 to s; at most 400 columns, fewer above 100 layers. No column is
        empty, so a record with gaps has wider ones.

    Source: derived here.

    Example:
        >>> bin_edges([1, 2, 3, 5], 3).tolist()
        [0, 1, 2, 3, 4]
        >>> [len(bin_edges(np.arange(10_000), n)) - 1 for n in (100, 400)]
        [313, 79]
    """
    rows = np.asarray(steps, np.int64)
    if not len(rows):
        return np.zeros(1, np.int64)
    most = max(COLUMNS_AT_LEAST, min(COLUMNS_AT_MOST, CELLS_AT_MOST // max(n_layers, 1)))
    if len(rows) <= most:
        return np.arange(len(rows) + 1)
    span = int(rows[-1] - rows[0]) + 1
    width = 1 << (-(-span // most) - 1).bit_length()  # the smallest power of two with which they are no more than most
    bounds = rows[0] + width * np.arange(-(-span // width) + 1)
    return np.unique(np.searchsorted(rows, bounds, "left"))


def bin_sizes(values: ArrayLike, edges: Array, bad: Array | None = None) -> Array:
    """Take the geometric mean of sizes over each column.

    Args:
        values: (s, n_layers), 0 or more; NaN where a layer has none.
        edges: of `bin_edges`.
        bad: bool (s, n_layers), where something was not finite; None where nothing was.

    Returns:
        float64 (n_columns, n_layers): the mean over what is above 0; 0 where all is 0, inf where something was
        not finite, NaN where there is nothing.

    Source: derived here.

    Example:
        >>> bin_sizes([[1.0], [100.0], [0.0]], np.array([0, 2, 3])).ravel().tolist()
        [10.0, 0.0]
    """
    x = np.asarray(values, np.float64)
    if not len(x):
        return np.zeros((0, x.shape[1]))
    starts = edges[:-1]
    above = x > 0
    above &= x < np.inf
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.where(above, np.log10(x, where=above, out=np.zeros_like(x)), 0.0)
        n = np.add.reduceat(above, starts, axis=0, dtype=np.int64)
        mean = 10.0 ** (np.add.reduceat(logs, starts, axis=0) / n)
    result = np.where(n > 0, mean, np.where(np.logical_or.reduceat(x == 0, starts, axis=0), 0.0, np.nan))
    return _mark(result, x, starts, bad)


def bin_shares(values: ArrayLike, edges: Array) -> Array:
    """Take the mean of shares over each column; NaN where there is nothing.

    Args:
        values: (s, n_layers), from 0 to 1; NaN where a layer has none.
        edges: of `bin_edges`.

    Returns:
        float64 (n_columns, n_layers).

    Source: derived here.

    Example:
        >>> bin_shares([[0.5], [1.0], [np.nan]], np.array([0, 2, 3])).ravel().tolist()
        [0.75, nan]
    """
    x = np.asarray(values, np.float64)
    if not len(x):
        return np.zeros((0, x.shape[1]))
    known = np.isfinite(x)
    with np.errstate(invalid="ignore"):
        return np.asarray(
            np.add.reduceat(np.where(known, x, 0.0), edges[:-1], axis=0)
            / np.add.reduceat(known, edges[:-1], axis=0, dtype=np.int64)
        )


def bin_largest(values: ArrayLike, edges: Array, bad: Array | None = None) -> Array:
    """Take the maximum over each column, with the marks of `bin_sizes`.

    Args:
        values: (s, n_layers); NaN where a layer has none.
        edges: of `bin_edges`.
        bad: as `bin_sizes` takes it.

    Returns:
        float64 (n_columns, n_layers).

    Source: derived here.

    Example:
        >>> bin_largest([[1.0], [100.0], [np.nan]], np.array([0, 2, 3])).ravel().tolist()
        [100.0, nan]
    """
    x = np.asarray(values, np.float64)
    if not len(x):
        return np.zeros((0, x.shape[1]))
    return _mark(np.fmax.reduceat(x, edges[:-1], axis=0), x, edges[:-1], bad)


def _mark(result: Array, x: Array, starts: Array, bad: Array | None) -> Array:
    """Infinity wherever something in a column was not finite."""
    infinite = np.isinf(x)
    if bad is not None:
        infinite |= bad & ~np.isfinite(x)
    if infinite.any():
        result[np.logical_or.reduceat(infinite, starts, axis=0)] = np.inf
    return result


def encode(values: ArrayLike, linear: bool = False) -> str:
    """Write numbers of 0 or more as text: 16 bits each, little-endian, in base64.

    A logarithm is kept to 1/700 of a decade, a share to 1/30,000.

    Args:
        values: (n_columns, n_layers), as the functions above give them.
        linear: whether they are shares.

    Returns:
        The text, column after column. ``-32768`` stands for nothing, ``-32767`` for 0, ``32767`` for not finite.

    Source: derived here.

    Example:
        >>> np.frombuffer(base64.b64decode(encode([0.0, 1.0, 100.0, np.nan, np.inf])), "<i2").tolist()
        [-32767, 0, 1400, -32768, 32767]
    """
    x = np.asarray(values, np.float64)
    usable = np.isfinite(x) if linear else np.isfinite(x) & (x > 0)
    scaled = x * PER_UNIT if linear else PER_DECADE * np.log10(x, where=usable, out=np.zeros_like(x))
    code = np.where(usable, np.clip(np.rint(np.where(usable, scaled, 0.0)), -32000, 32000), float(NOT_THERE))
    if not linear:
        code[x == 0] = ZERO
    code[np.isinf(x)] = NOT_FINITE
    return base64.b64encode(code.astype("<i2").tobytes()).decode()


def decode(text: str, linear: bool = False) -> Array:
    """Read what `encode` wrote, as the page does.

    Args:
        text: of `encode`.
        linear: as it was written.

    Returns:
        float64 (n,).

    Source: derived here.

    Example:
        >>> decode(encode([0.0, 100.0, np.nan, np.inf])).tolist()
        [0.0, 100.0, nan, inf]
    """
    code = np.frombuffer(base64.b64decode(text), "<i2").astype(np.float64)
    values = code / PER_UNIT if linear else 10.0 ** (code / PER_DECADE)
    values[code == NOT_THERE] = np.nan
    values[code == ZERO] = 0.0
    values[code == NOT_FINITE] = np.inf
    return values


def map_data(flow: Flow) -> dict[str, Any] | None:
    """Make the data of the map of a record.

    Args:
        flow: the record.

    Returns:
        Plain data: the layers, first and last step and epoch of each column (None in a loop of one's own), and the
        quantities; None where the record has no layer or no step.

    Source: derived here.
    """
    steps, layers = np.asarray(flow.steps), flow.layers
    if not len(steps) or not layers:
        return None
    edges = bin_edges(steps, len(layers))
    names = set(flow.names)
    bad = np.asarray(flow.stat("nonfinite")) > 0 if "nonfinite" in names else None
    if bad is not None and not bad.any():
        bad = None
    return {
        "layers": [describe_layer(layer) for layer in layers],
        "first": steps[edges[:-1]].tolist(),
        "last": steps[edges[1:] - 1].tolist(),
        "epoch": None if flow.of_loop else np.asarray(flow.epochs)[edges[1:] - 1].tolist(),
        "n_steps": len(steps),
        "per_decade": PER_DECADE,
        "per_unit": PER_UNIT,
        "quantities": [_quantity(flow, item, edges, bad) for item in QUANTITIES if item.stat in names],
    }


def describe_layer(layer: FlowLayer) -> dict[str, Any]:
    """What the page tells of a layer, as plain data.

    Args:
        layer: the layer.

    Returns:
        Its number, label, name, path, activation, shape and block.
    """
    return {
        "number": int(layer.number),
        "label": layer.label,
        "name": layer.name,
        "path": layer.path,
        "activation": layer.activation,
        "shape": list(layer.shape),
        "within": layer.within,
    }


def _quantity(flow: Flow, item: Quantity, edges: Array, bad: Array | None) -> dict[str, Any]:
    """One quantity of the map."""
    values = flow.stat(item.stat)
    binned = bin_shares(values, edges) if item.linear else bin_sizes(values, edges, bad)
    return {
        "name": item.name,
        "title": item.title,
        "explains": item.explains,
        "scale": "linear" if item.linear else "log",
        "values": encode(binned, item.linear),
        "largest": encode(bin_largest(flow.stat(item.largest), edges, bad)) if item.largest else None,
    }
