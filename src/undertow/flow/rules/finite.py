"""Values that are not finite, and where they came from."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from undertow.flow.findings import Finding, Remedy
from undertow.flow.record import Flow
from undertow.flow.rules import remedies as R
from undertow.flow.rules.registry import Rule, rule


@rule("non-finite")
def find_non_finite(flow: Flow, rule: Rule) -> Iterator[Finding]:
    """The loss or a gradient is NaN or infinite; named is the first operation that made it of finite numbers.

    The forward pass is read first: the first operation with finite inputs and a result that is not. Only where all
    forward values are finite, the backward pass is read, from the loss on. Data and parameters come before both.

    Source: derived here.
    """
    told = flow.facts.get("non_finite")
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
    yield rule.found(
        "error", f"{sentence[:1].upper()}{sentence[1:]}{name}.", rows, _remedies(flow, where), layers=cause, step=step
    )


def _remedies(flow: Flow, where: str) -> list[Remedy]:
    """What helps, by where it came from."""
    if where == "data":
        code = "whole = np.isfinite(X).all(axis=tuple(range(1, X.ndim)))\nX, y = X[whole], y[whole]"
        return [R.mend_data("Leave out the rows that are not finite, or fill them in.", code)]
    if where == "parameters":
        return [R.other_initialiser(flow, "glorot_uniform", "the given ones are not finite")]
    return [R.other_rate(flow, 0.1), R.clip(flow), R.scale_inputs(flow)]
