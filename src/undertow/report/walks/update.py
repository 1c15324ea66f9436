"""What an optimizer makes of the gradients: a step for each parameter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from undertow import trees
from undertow.emit import words
from undertow.graph import Node
from undertow.optim import Optimizer
from undertow.report.walks.level import UPDATE, Panel, Step
from undertow.report.walks.scene import Scene


@dataclass(frozen=True)
class Change:
    """A parameter before and after the step of an optimizer."""

    node: Node
    name: str
    before: Any
    after: Any
    gradient: Any


def apply(scene: Scene, optimizer: Optimizer, reached: set[str]) -> list[Change]:
    """Apply the first step of an optimizer to the parameters of a backward pass.

    Args:
        scene: the backward pass and its gradients.
        optimizer: the update rule, with a fresh state.
        reached: the names of the parameters that the loss depends on; others are left out.
    """
    bp = scene.bp
    places = bp.wrt if isinstance(bp.wrt, tuple) else (bp.wrt,)
    params = tuple(bp.args[i] for i in places) if isinstance(bp.wrt, tuple) else bp.args[bp.wrt]
    with np.errstate(all="ignore"):
        _, gradients = bp()
        new, _ = optimizer.update(gradients, optimizer.init(params), params)
    rows = [x for i in places for x in bp.traced.arguments[i]]
    leaves = [trees.flatten(tree)[0] for tree in (params, new, gradients)]
    return [
        Change(node, node.name or "", before, after, gradient)
        for node, before, after, gradient in zip(rows, *leaves, strict=True)
        if isinstance(node, Node) and node.name in reached
    ]


def write(optimizer: Optimizer, changes: list[Change]) -> tuple[list[str], dict[str, int]]:
    """Write the step in Python: a line for each parameter where that says all of it, else the optimizer's own call.

    Args:
        optimizer: the update rule.
        changes: of the parameters.

    Returns:
        The lines, which stand behind those of a backward pass, and for each parameter the place of its line, from 0.
    """
    lines = ["", "", f"# one step of {optimizer!r}"]
    if _is_plain_descent(optimizer):
        rate = words.number(optimizer.settings["rate"], True)
        at = {change.name: len(lines) + i for i, change in enumerate(changes)}
        return [*lines, *(f"{x.name} = {x.name} - {rate} * d{x.name}" for x in changes)], at
    lines += ["parameters, state = optimizer.update(gradients, state, parameters)"]
    return lines, dict.fromkeys((change.name for change in changes), len(lines) - 1)


def steps(
    scene: Scene, optimizer: Optimizer, changes: list[Change], place: dict[str, int], lines: dict[str, int]
) -> list[Step]:
    """Tell the changes, each at the node of a drawing that ``place`` gives for its name, with its line."""
    made = []
    for change in changes:
        name = change.name
        if name not in place:
            continue

        def keep(value: Any, shape: Any = change.node.spec.shape) -> int:
            return scene.arrays.add(value, shape)

        before, gradient = keep(change.before), keep(change.gradient)
        difference = np.asarray(change.after) - np.asarray(change.before)
        symbol = words.derivative("L", name, False)
        formulas = [("Rule", f"{name} ← {name} + Δ{name}"), (optimizer.name, f"Δ{name} = {_rule(optimizer, symbol)}")]
        work = None
        if _is_plain_descent(optimizer):
            rate = words.number(optimizer.settings["rate"], False)
            formulas = [(optimizer.name, f"{name} ← {name} − {rate} · {symbol}")]
            work = (f"new {name}", [["v", before], f" − {rate} · ", ["v", gradient]])
        panels = [
            Panel(f"new {name}", keep(change.after), "value"),
            Panel(f"Δ{name}", keep(difference), "update"),
            Panel(symbol, gradient, "gradient"),
            Panel(name, before, "operand"),
        ]
        notes = [f"the first step of {optimizer!r}, with nothing remembered of earlier ones"]
        size, moved = _rms(change.before), _rms(difference)
        if size and np.isfinite(moved):
            notes.append(f"the update is {moved / size:.2g} times as large as {name} (root mean squares)")
        line = lines[name]
        made.append(Step(UPDATE, place[name], f"Update {name}", formulas, panels, notes, line, True, work))
    return made


def _rule(optimizer: Optimizer, symbol: str) -> str:
    settings = ", ".join(f"{key} = {value}" for key, value in optimizer.settings.items() if not isinstance(value, dict))
    return f"{optimizer.name}({symbol}{', ' if settings else ''}{settings})"


def _is_plain_descent(optimizer: Optimizer) -> bool:
    """Whether a step is − rate · gradient, and nothing else."""
    told = optimizer.settings
    return optimizer.name == "sgd" and set(told) == {"rate"} and isinstance(told["rate"], float)


def _rms(x: Any) -> float:
    with np.errstate(over="ignore", invalid="ignore"):  # of a training that diverged
        return float(np.sqrt(np.mean(np.square(np.asarray(x, np.float64))))) if np.size(x) else 0.0
