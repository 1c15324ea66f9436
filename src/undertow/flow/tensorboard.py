"""A record for TensorBoard: event files of its numbers and histograms."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import numpy as np

from undertow.errors import ArgumentError, RunError
from undertow.flow.record import Flow
from undertow.train.disk import make_folders
from undertow.train.files import explain_failure, read_path

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
        from tensorboardX.event_file_writer import EventsWriter
    except ImportError:
        raise ArgumentError(
            "event files are written by tensorboardX, which is not installed. Install it with: pip install tensorboardX"
        ) from None
    target = read_path(folder, "the folder of event files")
    values = {name: flow.stat(name) for name in stats}
    try:
        make_folders(target)
        writer = EventsWriter(str(target / "events"))  # not a SummaryWriter, whose thread waits for ever on a full disk
        try:
            for step, summary in _summaries(flow, values):
                writer.write_event(_event(step, summary))
            writer.flush()
        finally:
            with suppress(OSError):  # what is in its buffer still cannot be written
                writer._py_recordio_writer.close()
    except OSError as error:
        raise RunError(f"{target} cannot be written: {explain_failure(target, error)}.") from None
    return target


def _summaries(flow: Flow, values: dict[str, Any]) -> Iterator[tuple[int, Any]]:
    """What is written: steps, and a number or a histogram at each."""
    from tensorboardX.summary import scalar

    rows = np.unique(np.linspace(0, max(len(flow) - 1, 0), min(len(flow), STEPS)).astype(int))
    for row in rows:
        step = int(flow.steps[row])
        numbers = {name: column[row] for name, column in flow.scalars.items()}
        for name, stat in values.items():
            numbers |= {f"{name}/layer_{layer.number}": stat[row, i] for i, layer in enumerate(flow.layers)}
        yield from ((step, scalar(name, float(x))) for name, x in numbers.items() if not np.isnan(x))
    for epoch in flow.history:
        for name, value in epoch.items():
            if isinstance(value, int | float) and name not in ("epoch", "step") and not np.isnan(value):
                yield int(epoch.get("step", epoch["epoch"])), scalar(f"epoch/{name}", float(value))
    yield from _histograms(flow)


def _event(step: int, summary: Any) -> Any:
    """A number or a histogram with its step and the time."""
    from tensorboardX.proto.event_pb2 import Event

    return Event(wall_time=time.time(), step=step, summary=summary)


def _histograms(flow: Flow) -> Iterator[tuple[int, Any]]:
    """The histograms of the looks."""
    from tensorboardX.summary import histogram_raw

    for look in flow.looks:
        for layer, row in zip(flow.layers, look.layers, strict=False):
            for name, found in (row.get("histograms") or {}).items():
                if not found or not sum(found["counts"]):
                    continue
                edges, counts = np.array(found["edges"]), np.array(found["counts"], float)
                middles = (edges[1:] + edges[:-1]) / 2
                yield look.step, histogram_raw(
                    f"{name}/layer_{layer.number}", min=float(edges[0]), max=float(edges[-1]),
                    num=float(counts.sum()), sum=float(counts @ middles), sum_squares=float(counts @ middles**2),
                    bucket_limits=edges[1:].tolist(), bucket_counts=counts.tolist(),
                )  # fmt: skip
