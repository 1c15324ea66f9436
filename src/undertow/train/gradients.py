"""How large the gradient is, layer by layer: what shows whether it vanishes on its way back."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from undertow import trees
from undertow.nn import Dense, list_layers, trained_leaves
from undertow.nn.layer import Container
from undertow.nn.mode import measuring
from undertow.primitives import shape_of
from undertow.train.fitted_table import fit_table

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from undertow.train.run import Run

DECADES = 6
BAR = 18


def measure_gradients(gradient: Callable[..., Any], model: Any, X: Any, y: Any) -> list[dict[str, Any]]:
    """Measure the root mean square of the gradient in every layer.

    δ, the gradient by a layer's pre-activation z, is the gradient by something that is added to z and has a row for
    each example: each `Dense` layer gets such zeros here. Layers act as they do in training; where the examples have no
    keys (``y.keys``), dropout and noise let everything pass.

    Args:
        gradient: what `make_gradient` returned.
        model: the model; it stays as it is.
        X: inputs of a batch, (m, …).
        y: targets as the loss takes them.

    Returns:
        A row for each layer, first to last: ``layer`` (from 1), ``name``, ``path``, ``dW``, ``db``,
        ``delta`` (None where the layer has none) and ``ratio``, dW by that of the last layer.

    Source: derived here.

    Example:
        >>> from undertow.nn import Sequential, initialize, mean_squared_error
        >>> from undertow.train.derive import make_gradient
        >>> model = initialize(Sequential(Dense(2, 3), "tanh", Dense(3, 1)))
        >>> gradient = make_gradient(lambda model, X, y: mean_squared_error(model(X), y))
        >>> rows = measure_gradients(gradient, model, np.ones((4, 2)), np.ones((4, 1)))
        >>> [row["name"] for row in rows], rows[-1]["ratio"]
        (['Dense(2, 3)', 'Dense(3, 1)'], 1.0)
    """
    with measuring():
        _, grads = gradient(_spread(model, len(X)), X, y)
    rows: list[dict[str, Any]] = []
    if isinstance(model, Container | Dense):
        for (path, layer), (_, by) in zip(list_layers(model), list_layers(grads), strict=True):
            if isinstance(layer, Dense):
                dense: Any = by.layer
                db = _rms(dense.b) if layer.b is not None else None
                dW, delta = _rms(dense.W), _rms(by.rows)
                rows.append(
                    {"name": repr(layer), "path": path, "dW": dW, "db": db, "delta": delta if delta or not dW else None}
                )
            elif (size := _rms(*_numbers(by))) is not None:
                rows.append({"name": type(layer).__name__, "path": path, "dW": size, "db": None, "delta": None})
    else:
        for leaf, path in zip(trees.flatten(grads)[0], trees.paths(grads), strict=True):
            if not callable(leaf):
                name = path.lstrip(".") or "parameter"
                rows.append({"name": name, "path": name, "dW": _rms(leaf), "db": None, "delta": None})
    last = rows[-1]["dW"] if rows else None
    return [
        {"layer": number, **row, "ratio": row["dW"] / last if last and math.isfinite(last) else None}
        for number, row in enumerate(rows, 1)
    ]


@dataclass(eq=False, repr=False)
class _Spread:
    """A Dense layer whose output has a row of zeros of its own for each example: its gradient is δ.

    Along further axes of the output, as those of a sequence, δ is summed.
    """

    layer: Dense
    rows: Any

    def __call__(self, x: Any) -> Any:
        z = self.layer(x)
        m, n = shape_of(self.rows)
        shape = shape_of(z)
        if isinstance(shape[0], int) and shape[0] != m:
            return z  # its rows are no examples
        return z + self.rows.reshape((m, *[1] * (len(shape) - 2), n))


def _spread(item: Any, m: int) -> Any:
    """The same model, in which each Dense layer of a container is a `_Spread`."""
    if isinstance(item, Container):
        return item.with_inner([_spread(layer, m) for _, layer in item.inner()])
    if isinstance(item, Dense):
        return _Spread(item, np.zeros((m, item.fan_out), item.W.dtype))
    return item


def _numbers(tree: Any) -> list[Any]:
    """The gradients of a layer; running statistics have none."""
    return [leaf for leaf, trained in zip(trees.flatten(tree)[0], trained_leaves(tree), strict=True) if trained]


def _rms(*arrays: Any) -> float | None:
    """The root mean square over arrays; None where there are none."""
    count = sum(np.size(x) for x in arrays)
    if not count:
        return None
    return math.sqrt(sum(float(np.sum(np.square(x, dtype=np.float64))) for x in arrays) / count)


def gradient_table(rows: list[dict[str, Any]], width: int = 80) -> Table:
    """Lay out gradient sizes as a table, the first layer on top.

    Args:
        rows: from `measure_gradients`, or ``run.gradient_sizes``.
        width: of the terminal; a narrow one gets fewer columns and shorter names.

    Returns:
        A table for rich; bars are logarithmic and span six decades below the largest.

    Source: derived here.

    Example:
        >>> gradient_table([]).row_count
        0
    """
    title = "Gradient size (RMS), first layer to last; × is dW / dW of the last"
    names = ("layer", "dW", "db", "δ", "×", f"dW, log, {DECADES} decades")
    largest = max((row["dW"] for row in rows if math.isfinite(row["dW"])), default=0.0)
    texts = []
    for row in rows:
        cells = [f"{row['layer']}  {row['name']}"]
        cells += ["–" if row[key] is None else f"{row[key]:.1e}" for key in ("dW", "db", "delta")]
        cells.append("–" if row["ratio"] is None else f"{row['ratio']:.2g}")
        length = 0
        if largest > 0 and 0 < row["dW"] < math.inf:
            length = max(0, round(BAR * (1 + math.log10(row["dW"] / largest) / DECADES)))
        texts.append([*cells, "█" * length or "·"])
    return fit_table(title, names, texts, width, drop=("db", "δ", names[-1], "×"), left=names[-1:], least=18)


def print_gradient_table(run: Run, console: Console | None = None) -> None:
    """Print how large the gradient was in each layer at the start of the last epoch.

    Args:
        run: a run.
        console: where to; the standard output unless told.

    Source: derived here.

    Example:
        >>> from undertow.train.run import Run
        >>> print_gradient_table(Run(None))
        This run holds no gradient sizes.
    """
    from rich.console import Console

    console = console or Console(highlight=False)
    if not run.gradient_sizes:
        console.print("This run holds no gradient sizes.")
        return
    console.print(gradient_table(run.gradient_sizes, console.width))
