"""Values that are not finite, and where they came from."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from undertow.flow.findings import Finding, Remedy
from undertow.flow.layers import FlowLayer
from undertow.flow.record import Flow
from undertow.flow.rules import remedies as R
from undertow.flow.rules.registry import Rule, rule
from undertow.train.diverged import GUARDS, divisor_of


@rule("non-finite")
def find_non_finite(flow: Flow, rule: Rule) -> Iterator[Finding]:
    """The loss or a gradient is NaN or infinite; named is the first operation that made it of finite numbers.

    The forward pass is read first: the first operation with finite inputs and a result that is not. Only where all
    forward values are finite, the backward pass is read, from the loss on. Data and parameters come before both. The
    loss of rows held out counts as well: no step notices it.

    Source: derived here.
    """
    told = flow.facts.get("non_finite")
    held = flow.facts.get("non_finite_held") if told is None else None
    if held is not None:
        yield _held_out(flow, rule, held)
    if told is None:
        bad = ~np.isfinite(flow.scalars["loss"]) | (flow.stat("nonfinite") > 0).any(axis=1)
        if not bad.any():
            return
        row = int(np.argmax(bad))
        counts = flow.stat("nonfinite")[row]
        layers = [flow.layers[i] for i in np.flatnonzero(counts > 0)]
        told = {"step": int(flow.steps[row]), "epoch": int(flow.epochs[row]), "where": "unknown", "sentence": ""}
        told["layer"] = layers[0].path if layers else None
    where, step = told.get("where", "unknown"), told.get("step")
    cause = [x for x in flow.layers if told.get("layer") in (x.path, x.h_path)]
    if not cause and told.get("name"):
        cause = [x for x in flow.layers if told["name"] in (x.weights, x.bias)]
    name = f" (step {step}, epoch {told.get('epoch')})"
    sentence = told.get("sentence") or "The loss or a gradient stopped being finite"
    rows: list[tuple[object, ...]] = [("step", step, None)]
    if told.get("operation"):
        rows.append(("operation", told["operation"], None))
    if told.get("line"):
        rows.append(("line", told["line"], None))
    if told.get("values"):
        rows.append(("what it was given there", ", ".join(f"{v:.6g}" for v in told["values"]), "a finite result"))
    finite = flow.scalars["loss"][np.isfinite(flow.scalars["loss"])]
    if len(finite):
        rows.append(("loss of the step before", float(finite[-1]), None))
    found = rule.found("error", f"{sentence}{name}.", rows, _remedies(flow, where, told), layers=cause, step=step)
    yield _placed(found, told, cause)


def _placed(found: Finding, told: dict[str, Any], cause: list[FlowLayer]) -> Finding:
    """The finding, with the place of a function among layers, which a record has no layer of."""
    place = told.get("layer")
    if not place or any(place in (x.path, x.h_path) for x in cause):
        return found
    return replace(found, layers=(place, *found.layers), paths=(place, *found.paths))


def _held_out(flow: Flow, rule: Rule, told: dict[str, Any]) -> Finding:
    """The finding of a validation loss that is not finite, though that of all steps is."""
    layers = [x for x in flow.layers if told.get("layer") in (x.path, x.h_path)]
    why = f" {told['sentence']}." if told.get("sentence") else ""
    rows: list[tuple[object, ...]] = [("validation loss", str(told.get("loss")), "a finite one")]
    rows += [(name, told[name], None) for name in ("operation", "line") if told.get(name)]
    if told.get("values"):
        rows.append(("what it was given there", ", ".join(f"{v:.6g}" for v in told["values"]), "a finite result"))
    found = rule.found(
        "warning",
        f"The validation loss is {told.get('loss')} at the end of epoch {told.get('epoch')}, though that of the "
        f"training is finite: nothing can be said of rows held out, and early stopping is blind.{why}",
        rows,
        _remedies(flow, told.get("where", "unknown"), told),
        layers=layers,
        step=told.get("step"),
    )
    return _placed(found, told, layers)


def _remedies(flow: Flow, where: str, told: dict[str, Any]) -> list[Remedy]:
    """What helps, by where it came from."""
    stepped = (told.get("step") or 2) > 1  # else nothing was made by a step
    smaller = [R.other_rate(flow, 0.1), *R.clip_where_it_helps(flow)] if stepped else []
    mended = GUARDS.get(told.get("operation") or "") if told.get("line") and where in ("forward", "backward") else None
    if mended is not None:
        return [R.mend_data(*mended), *smaller]
    if where == "data":
        code = "whole = np.isfinite(X).all(axis=tuple(range(1, X.ndim)))\nX, y = X[whole], y[whole]"
        return [R.mend_data("Leave out the rows that are not finite, or fill them in.", code)]
    if where == "parameters":
        return [R.other_initialiser(flow, "glorot_uniform", "the given ones are not finite")]
    if where == "update" and math.isnan(told.get("found") or 0.0):
        return [R.mend_data(divisor_of(flow.settings), "print(run.settings['optimizer'])")]
    return [*smaller, R.scale_inputs(flow)]
