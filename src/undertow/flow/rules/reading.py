"""What the program of a network tells, whatever its numbers are: parameters that are not read, examples that mix."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from undertow.flow.findings import Finding
from undertow.flow.record import Flow
from undertow.flow.rules import remedies as R
from undertow.flow.rules.measures import show
from undertow.flow.rules.registry import Rule, rule


@rule("unread-parameter", listed=(6, "parameters that are named"))
def find_unread(flow: Flow, rule: Rule) -> Iterator[Finding]:
    """The loss does not read a parameter: it stays as it began, whatever the data are.

    Told of the program as it is traced before the first step. One that gets a gradient at some later step, as in a
    network whose blocks are left out at random, is read.

    Source: derived here.
    """
    told: list[str] = flow.facts.get("unread") or []
    largest = flow.stat("dW.max")
    layers = [x for x in flow.layers if x.weights in told or x.bias in told]
    read = {x.weights for x in layers if len(flow) and np.nanmax(np.nan_to_num(largest[:, x.number - 1])) > 0}
    paths = [path for path in told if path not in read]
    if not paths:
        return
    names = {x.weights: x.label for x in flow.layers if x.kind == "parameter"}
    shown = [names.get(path, path) for path in paths]
    listed = ", ".join(shown[: int(rule.listed)]) + (
        f" and {len(shown) - int(rule.listed)} more" if len(shown) > rule.listed else ""
    )
    yield rule.found(
        "warning",
        f"The loss does not read {listed}: {'it stays' if len(paths) == 1 else 'they stay'} as before training.",
        [("parameters that are not read", len(paths), "0")],
        [
            R.mend_data(
                "Look whether the forward pass should use it; else leave it out of the parameters.",
                "z = h @ W + b  # with its b" if flow.of_loop else "print(run.flow.facts['unread'])",
            )
        ],
        layers=[x for x in layers if x.weights in paths or x.bias in paths],
        step=0,
    )


@rule("mixed-examples", change=(1e-6, "change of what other examples give, by the size of all, when one is changed"))
def find_mixed(flow: Flow, rule: Rule) -> Iterator[Finding]:
    """What the network gives for an example depends on the others of its batch, though no BatchNorm is declared.

    One example of a few is changed before training, and what is given for the others is compared: of a model as it
    predicts, where BatchNorm takes its running statistics; of a loop of one's own before its last layer, where batches
    differ from step to step, and what mixes is a reduction, a softmax or a reshape along axis 0. A normalisation over
    the batch that a loop writes itself is left alone, and so are products with a matrix that tells which examples are
    neighbours, and loops whose batches stand beside one another without targets, as those of adversarial networks do.

    Source: derived here.
    """
    told: dict[str, Any] = flow.facts.get("mixes") or {}
    if not told.get("change", 0.0) >= rule.change or not told.get("drawn", True):
        return
    place, operation = told.get("place"), told.get("operation")
    at = f" ({told['line']})" if told.get("line") else ""
    what = f"{operation}{at} goes over the examples of a batch" if operation else "Examples of a batch are mixed"
    what += f" in {place}" if place else ""
    yield rule.found(
        "warning",
        f"{what}: when one example is changed, what is given for others changes by up to {show(told['change'])} of its "
        "size, so a prediction depends on which examples it is made with.",
        [("change of what other examples give", told["change"], "0")],
        [
            R.mend_data(
                "Look which function goes along axis 0, which is examples: let it go over the numbers of each, or take "
                "nn.BatchNorm, which keeps running statistics for predictions.",
                "h = h - h.mean(axis=-1, keepdims=True)"
                if flow.of_loop
                else "print(run.predict(X[:9])[0], run.predict(X[:1])[0])  # the same where examples do not mix",
            )
        ],
        step=0,
    )
