"""A record for TensorBoard: event files of its numbers and histograms."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np

from undertow.errors import ArgumentError, RunError
from undertow.flow.record import Flow
from undertow.train.files import read_path

STATS_SHOWN: Final = ("delta.rms", "dW.rms", "W.rms", "h.rms", "ratio", "zeros", "saturated")
STEPS: Final = 1000  # at most that many are written of each curve


def write_events(flow: Flow, folder: str | Path, stats: tuple[str, ...] = STATS_SHOWN) -> Path:
    """Write a record as event files for TensorBoard.

    Args:
        flow: the record, such as ``run.flow``, or ``load_flow("runs/a")``.
        folder: where to; what is there stays.
        stats: which numbers of the layers, by their names; see `Flow.stat`.

    Returns:
        The folder.

    Raises:
        ArgumentError: tensorboardX is not installed; an unknown name.
        RunError: the disk refuses.

    Source: derived here; the files are written by tensorboardX.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as place:
        ...     [path.name[:6] for path in write_events(Flow.empty(()), place).iterdir()]
        ['events']
    """
    try:
        from tensorboardX import SummaryWriter
    except ImportError:
        raise ArgumentError(
            "event files are written by tensorboardX, which is not installed. Install undertow[tensorboard]."
        ) from None
    target = read_path(folder, "the folder of event files")
    values = {name: flow.stat(name) for name in stats}
    rows = np.unique(np.linspace(0, max(len(flow) - 1, 0), min(len(flow), STEPS)).astype(int))
    try:
        with SummaryWriter(str(target)) as writer:
            for row in rows:
                step = int(flow.steps[row])
                for name, column in flow.scalars.items():
                    _add(writer, name, column[row], step)
                for name, stat in values.items():
                    for i, layer in enumerate(flow.layers):
                        _add(writer, f"{name}/layer_{layer.number}", stat[row, i], step)
            for epoch in flow.history:
                for name, value in epoch.items():
                    if isinstance(value, int | float) and name not in ("epoch", "step"):
                        _add(writer, f"epoch/{name}", value, int(epoch.get("step", epoch["epoch"])))
            _add_histograms(writer, flow)
    except OSError as error:
        raise RunError(f"{target} cannot be written: {error.strerror or error}.") from None
    return target


def _add(writer: Any, tag: str, value: float, step: int) -> None:
    """Write a number, unless there is none."""
    if not np.isnan(value):
        writer.add_scalar(tag, float(value), step)


def _add_histograms(writer: Any, flow: Flow) -> None:
    """Write the histograms of the looks."""
    for look in flow.looks:
        for layer, row in zip(flow.layers, look.layers, strict=False):
            for name, found in (row.get("histograms") or {}).items():
                if not found or not sum(found["counts"]):
                    continue
                edges, counts = np.array(found["edges"]), np.array(found["counts"], float)
                middles = (edges[1:] + edges[:-1]) / 2
                writer.add_histogram_raw(
                    f"{name}/layer_{layer.number}", min=float(edges[0]), max=float(edges[-1]),
                    num=float(counts.sum()), sum=float(counts @ middles), sum_squares=float(counts @ middles**2),
                    bucket_limits=edges[1:].tolist(), bucket_counts=counts.tolist(), global_step=look.step,
                )  # fmt: skip
