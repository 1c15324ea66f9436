"""The walk as plain data."""

from __future__ import annotations

import json
from typing import Any

from undertow.api import Backprop
from undertow.emit.chain import Chain
from undertow.optim import Optimizer
from undertow.report.walks import update
from undertow.report.walks.arrays import DETAILS
from undertow.report.walks.chains import EveryOperation
from undertow.report.walks.layers import Observed, layers_level
from undertow.report.walks.level import Level
from undertow.report.walks.scene import Scene
from undertow.report.walks.told import Told

LIMIT = 1_400_000  # characters of JSON; arrays are cut further until it is less
VERSION = 1


def build(bp: Backprop, example: int, optimizer: Optimizer | None, observed: list[Observed]) -> dict[str, Any]:
    """Make the data of the page; see `Walk.data`."""
    scene = Scene(bp)
    named = Told(scene, Chain(bp.plain, False))
    every = Told(scene, EveryOperation(bp.graph, scene.wrt, scene.names, scene.in_forward()))
    layers = layers_level(named, observed) if observed else None
    levels = [layers] if layers else []
    levels.append(named.level("Values", "A box is a value that has a name: an argument, z, h, p, the loss."))
    levels.append(every.level("Operations", "A box is one operation of the program, simplified as it runs."))
    changes = _add_updates(scene, named, optimizer, levels) if optimizer is not None else []
    made = {
        "version": VERSION,
        "title": bp.graph.title,
        "batch": scene.arrays.batch,
        "example": example if scene.arrays.batch else None,
        "optimizer": repr(optimizer) if optimizer is not None and changes else None,
        "source": scene.source,
        "levels": [level.plain() for level in levels],
    }
    room = LIMIT - _length(made)
    for detail in DETAILS:
        made["examples"] = detail.examples(scene.arrays.batch, example)
        made["arrays"] = scene.arrays.plain(detail, example)
        if _length(made["arrays"]) < room:
            break
    return made


def _length(data: Any) -> int:
    return len(json.dumps(data, separators=(",", ":"), ensure_ascii=False))


def _add_updates(scene: Scene, named: Told, optimizer: Optimizer, levels: list[Level]) -> list[update.Change]:
    """Put the steps of the optimizer at the end of every level."""
    reached = {named.chain.names[node] for node in named.steps}
    changes = update.apply(scene, optimizer, reached)
    if not changes:
        return changes
    written, at = update.write(optimizer, changes)
    lines = {name: len(scene.source) + i + 1 for name, i in at.items()}
    scene.source = [*scene.source, *written]
    for level in levels:
        place = {item.label: i for i, item in enumerate(level.items) if item.kind == "parameter"}
        place = place or {name: i for i, names in enumerate(level.owns) for name in names}
        level.steps += update.steps(scene, optimizer, changes, place, lines)
    return changes
