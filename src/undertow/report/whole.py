"""The report of a run with all its parts: what was recorded, and the walk through its backward pass."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike

from undertow import trees
from undertow.api import backprop
from undertow.errors import UndertowError
from undertow.flow.own import OwnRecorder
from undertow.flow.record import Flow
from undertow.nn import LOSSES, build_loss, list_layers
from undertow.report.html import Section, write_report
from undertow.report.recorded import Recorded, read_recorded
from undertow.report.walks import Walk, walk, walk_model
from undertow.trace import is_array_like
from undertow.train import Run
from undertow.train.files import read_path

N_EXAMPLES: Final = 6  # of a batch, as a run keeps them
LARGEST: Final = 3_000_000  # parameters of a network that is walked through
MOST_LAYERS: Final = (
    80  # of a network that is walked through; data of more steps than these make is too long for a page
)
MOST_OPERATIONS: Final = 1_300  # of its forward and backward pass
LONGEST: Final = 1_600_000  # characters of a walk's data
TOO_DEEP: Final = (
    "The walk through the backward pass is left out: so deep a network has too many steps for a page. undertow explain "
    "prints it."
)


class TooDeep:
    """Stands for the walk through a network whose steps are too many for a page."""


def report_run(
    source: Run | Flow | OwnRecorder | str | Path,
    path: str | Path,
    *,
    X: ArrayLike | None = None,
    y: ArrayLike | None = None,
) -> Path:
    """Write a report on a training as one HTML page: findings, curves, the gradient-flow map, and the backward pass.

    Args:
        source: a run, its record, or the folder of one, which may still be training or have been killed.
        path: the file; one that is there is replaced.
        X: examples to compare predictions on, (m, …); those held out, where the run keeps them, unless told.
        y: their targets.

    Returns:
        The path.

    Raises:
        RunError: the folder holds no run; the disk refuses.
        ArgumentError: the source is none of these.

    Source: derived here.
    """
    target = read_path(path, "the file of a report")
    found = read_recorded(source)
    section = walk_section(source if isinstance(source, OwnRecorder) else found)
    left_out = [TOO_DEEP] if isinstance(section, TooDeep) else []
    sections = {"walk": section} if isinstance(section, Section) else {}
    return write_report(found, target, X=X, y=y, sections=sections, remarks=left_out)


def walk_section(source: Run | Flow | OwnRecorder | Recorded | str | Path) -> Section | TooDeep | None:
    """Make the walk through the backward pass of a run's network, on a few of its training examples.

    Of a loss of one's own it is on the first examples of the last batch, with the parameters of the last call.

    Args:
        source: as `report_run` takes it, or what was read of it.

    Returns:
        The section; ``TooDeep`` where the network has so many layers or operations that its steps have no place on a
        page; None where the run has no model or keeps no examples, or the network cannot be walked through.
    """
    if isinstance(source, OwnRecorder):
        return _walk_own(source)
    found = source if isinstance(source, Recorded) else read_recorded(source)
    run, flow = found.run, found.flow
    kept = None if flow is None else flow.facts.get("example")
    name = found.settings.get("loss", "")
    if run is None or not kept or name not in LOSSES:
        return None
    if sum(np.size(x) for x in trees.flatten(run.model)[0] if not callable(x)) > LARGEST:
        return None
    if sum(1 for _ in list_layers(run.model)) > MOST_LAYERS:
        return TooDeep()
    dtype = found.settings.get("dtype", "float32")
    X, y = np.array(kept["X"], dtype), np.array(kept["y"], kept["dtype"])
    try:
        loss = build_loss({"name": name, **found.settings.get("loss_settings", {})})
        optimizer: Any = found.settings.get("optimizer", {})
        return _fitting(walk_model(run.model, X, y, loss, update=_rule(optimizer)))
    except UndertowError:  # the model's end is a part of the loss, or a layer asks for values
        return None


def _walk_own(recorder: OwnRecorder) -> Section | TooDeep | None:
    """The walk through a loss of one's own; of the whole batch where a part of it does not go through the loss."""
    if recorder.last is None:
        return None
    params, args = recorder.last[:2]
    if sum(np.size(x) for x in trees.flatten((params, args))[0] if is_array_like(x)) > LARGEST:
        return None
    for given in (_first_examples(args), args):
        try:
            return _fitting(walk(backprop(recorder.loss, params, *given)))
        except UndertowError:
            continue
        except Exception:  # whatever a loss raises for a batch of another size
            if given is args:
                raise
    return None


def _first_examples(args: tuple[Any, ...]) -> tuple[Any, ...]:
    """A few rows of what shares the first axis of the batch."""
    leaves, rebuild = trees.flatten(args)
    sizes = [len(x) for x in leaves if is_array_like(x) and np.ndim(x)]
    rows = max(sizes, key=sizes.count, default=0)
    few = [x[:N_EXAMPLES] if is_array_like(x) and np.ndim(x) and len(x) == rows else x for x in leaves]
    return tuple(rebuild(few))


def _fitting(made: Walk) -> Section | TooDeep:
    """The section of a walk, unless it has too many steps for a page."""
    if len(made.bp.graph.nodes) > MOST_OPERATIONS:
        return TooDeep()
    section = made.section()
    return Section(section.html, section.css, section.js) if len(section.json) <= LONGEST else TooDeep()


def _rule(described: dict[str, Any]) -> Any:
    """The optimizer of a run; None where it is one of the user's own."""
    from undertow.optim import build_optimizer

    try:
        return build_optimizer(described)
    except UndertowError:
        return None
