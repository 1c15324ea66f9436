"""What is wrong with a training: every rule is asked, and what follows from something else is told with it."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import replace
from os import PathLike
from typing import Final

from undertow.errors import ArgumentError
from undertow.flow.findings import SEVERITIES, Evidence, Finding, Findings
from undertow.flow.record import Flow
from undertow.flow.restraints import decay_of
from undertow.flow.rules import RULES
from undertow.flow.rules.by_hand import by_hand
from undertow.flow.rules.gradients import vanishes_beside
from undertow.flow.rules.measures import rescales
from undertow.flow.rules.movement import begin_if_scaled

MISLED: Final = ("turned-sign", "gradient-not-reset")  # by which steps do not go where the gradient tells

# From causes to what follows from them. A finding whose cause was found too becomes a line of evidence there.
FOLLOWS: Final[dict[str, tuple[str, ...]]] = {
    "non-finite": (*MISLED, "step-too-large", "exploding"),
    "dead-units": (
        *MISLED, "born-dead-layer", "identical-units", "exploding", "vanishing", "step-too-large",
        "input-not-scaled", "target-not-scaled", "over-regularised", "tiny-batch-normalisation", "rank-collapse",
    ),
    "saturation": (
        *MISLED, "input-not-scaled", "target-not-scaled", "exploding", "vanishing", "step-too-large",
        "identical-units", "initial-loss", "over-regularised",
    ),
    "vanishing": (
        *MISLED, "born-dead-layer", "identical-units", "dead-units", "saturation", "exploding", "step-too-large",
        "over-regularised", "rank-collapse",
    ),  # what explodes before the first step is thrown by it to where it vanishes
    "rank-collapse": (
        *MISLED, "born-dead-layer", "identical-units", "dead-units", "saturation", "vanishing",
        "exploding", "step-too-large", "over-regularised", "mixed-examples",
    ),
    "born-dead-layer": ("identical-units",),  # weights that are all alike, or 0, make all units dead or none
    "over-regularised": ("tiny-batch-normalisation", "born-dead-layer"),  # without a gradient weights only shrink
    "initial-loss": (
        "input-not-scaled", "target-not-scaled", "exploding", "saturation", "loss-activation-mismatch",
        "identical-units",
    ),
    "step-too-large": (
        *MISLED, "input-not-scaled", "target-not-scaled", "exploding", "initial-loss", "oscillation",
        "identical-units", "over-regularised",
    ),
    "oscillation": (
        *MISLED, "step-too-large", "input-not-scaled", "target-not-scaled", "tiny-batch-normalisation",
        "exploding", "over-regularised",
    ),
    "always-clipped": (
        *MISLED, "exploding", "input-not-scaled", "target-not-scaled", "step-too-large", "initial-loss",
    ),
    "step-too-small": (
        "turned-sign", "born-dead-layer", "identical-units", "vanishing", "saturation", "always-clipped",
        "dead-units", "tiny-batch-normalisation", "exploding", "initial-loss", "input-not-scaled",
        "target-not-scaled",
    ),
    "over-fitting": (
        "over-regularised", *MISLED, "step-too-large", "oscillation", "tiny-batch-normalisation", "initial-loss",
        "exploding", "saturation", "mixed-examples",
    ),
    "plateau": (
        *MISLED, "born-dead-layer", "identical-units", "dead-units", "saturation", "vanishing",
        "exploding", "rank-collapse", "step-too-large", "step-too-small", "oscillation", "non-finite",
        "input-not-scaled", "target-not-scaled", "loss-activation-mismatch", "always-clipped",
        "imbalanced-classes", "tiny-batch-normalisation", "over-regularised", "mixed-examples",
    ),
}  # fmt: skip

# What the network is like, rather than what its training does.
STRUCTURE: Final = ("vanishing", "saturation", "dead-units", "rank-collapse")

# What comes first where two are as severe: data, then what is there before the first step, then what training does.
ORDER: Final = (
    *MISLED, "non-finite", "leakage", "telling-column", "mixed-examples", "input-not-scaled", "target-not-scaled",
    "loss-activation-mismatch", "born-dead-layer", "identical-units", "over-regularised", "exploding", "saturation",
    "vanishing", "dead-units", "rank-collapse", "step-too-large", "step-too-small", "initial-loss",
    "tiny-batch-normalisation", "oscillation", "always-clipped", "plateau", "over-fitting", "imbalanced-classes",
    "constant-columns", "unread-parameter",
)  # fmt: skip


def diagnose(flow: Flow) -> Findings:
    """Say what is wrong with a training.

    Args:
        flow: its record, such as ``run.flow``, or a part of it while it goes on.

    Returns:
        The findings, most severe first, causes before consequences; none for a training that is well. What follows
        from another finding is no finding of its own, but a line of evidence there.

    Raises:
        ArgumentError: ``diagnose takes the record of a training, such as run.flow, got Run.``

    Source: derived here; each rule has its own in docs/findings.md.

    Example:
        >>> diagnose(Flow.empty(()))
        []
    """
    if not isinstance(flow, Flow):
        hint = " Read that of a folder with undertow.flow.load_flow." if isinstance(flow, str | PathLike) else ""
        raise ArgumentError(
            f"diagnose takes the record of a training, such as run.flow, got {type(flow).__name__}.{hint}"
        )
    found = [finding for rule in RULES.values() for finding in rule.find(flow, rule)]
    if flow.of_loop:
        found = [replace(x, remedies=tuple(map(by_hand, x.remedies))) for x in found]
    apart = stand_apart(flow)
    later = ("saturation", "vanishing") in apart  # to mend it would leave the gradient as small as it is
    place = lambda x: _place("vanishing") + 0.5 if later and x.kind == "saturation" else _place(x.kind)  # noqa: E731
    order = lambda x: (SEVERITIES.index(x.severity), place(x))  # noqa: E731
    return Findings(sorted(_join(sorted(found, key=order), apart), key=order))


def stand_apart(flow: Flow) -> set[tuple[str, str]]:
    """List pairs of a cause and what usually follows from it, which the record shows not to follow from it.

    Args:
        flow: the record.

    Returns:
        ``("input-not-scaled", "step-too-large")`` and the like: where the first step turns the weights over even for
        columns and targets that are scaled, and before a penalty has shrunk them, or by more than the penalty does;
        ``("saturation", "vanishing")`` where the gradient vanishes over the layers alone that are not saturated.

    Source: derived here.
    """
    apart = (
        {("saturation", "vanishing")} if vanishes_beside(flow, RULES["saturation"].share) else set[tuple[str, str]]()
    )
    most = RULES["step-too-large"].turned
    first = begin_if_scaled(flow) if len(flow) else math.nan
    if not first > most:
        return apart
    causes = ["input-not-scaled", "target-not-scaled"]
    # shares of W that decay and penalty take in a step; the latter not where a rule divides gradients by their size
    shrinks = decay_of(flow.settings.get("optimizer")) + (0 if rescales(flow) else flow.settings.get("l2") or 0.0)
    # a bound on weights changes them in the first step, too
    if not flow.settings.get("max_norm") and not shrinks * flow.scalars["rate"][0] > first / 2:
        causes.append("over-regularised")
    return apart | {(cause, "step-too-large") for cause in causes}


def _join(found: list[Finding], apart: Collection[tuple[str, str]] = ()) -> list[Finding]:
    """Put what follows from something else into the evidence of its cause."""
    causes = {i: _causes(finding, found, apart) for i, finding in enumerate(found)}
    roots = {i: _reached(i, causes) for i in causes}
    kept = {i: x for i, x in enumerate(found) if not causes[i]}
    for i in sorted(causes, key=lambda i: _place(found[i].kind)):  # several that explain one another in a circle
        if i not in kept and not kept.keys() & roots[i]:
            kept[i] = found[i]
    for i, finding in enumerate(found):
        at = next((j for j in kept if j in roots[i]), None)
        if at is not None and i not in kept:
            line = Evidence(f"follows from it: {finding.kind}", finding.cause)
            kept[at] = replace(kept[at], evidence=(*kept[at].evidence, line))
    return list(kept.values())


def _reached(i: int, causes: Mapping[int, list[int]]) -> set[int]:
    """The causes of a finding, and theirs."""
    found, waiting = set[int](), list(causes[i])
    while waiting:
        j = waiting.pop()
        if j not in found:
            found.add(j)
            waiting += causes[j]
    return found


def _causes(finding: Finding, found: list[Finding], apart: Collection[tuple[str, str]]) -> list[int]:
    """The places of what explains a finding; not what it stands apart from, nor what follows from that."""
    aside = [x for x in found if (x.kind, finding.kind) in apart]
    follows = [x for x in found if any(explains(a, x) for a in aside)]
    return [j for j, x in enumerate(found) if explains(x, finding) and not any(x is y for y in (*aside, *follows))]


def explains(cause: Finding, finding: Finding) -> bool:
    """Tell whether one finding explains another: its kind can, and it showed no later.

    Args:
        cause: what may be the cause.
        finding: what may follow from it.

    Returns:
        The answer. Where each could explain the other, what showed first does, then the more severe one, then the one
        that comes first in ``ORDER``.

    Source: derived here.

    Example:
        >>> first, then = Finding("vanishing", "error", "", step=1), Finding("dead-units", "warning", "", step=50)
        >>> explains(first, then), explains(then, first)
        (True, False)
    """
    if cause.kind not in FOLLOWS.get(finding.kind, ()):
        return False
    late = ("step-too-large", "oscillation", "over-regularised", *MISLED)
    if cause.kind in late and finding.kind in STRUCTURE and (finding.step or 0) < 2:
        return False  # it was there before any step
    if cause.kind == "tiny-batch-normalisation" and finding.kind in ("over-regularised", "dead-units"):
        return cause.severity == "error"  # over a single example nothing passes; over a few, much does
    if finding.kind not in FOLLOWS.get(cause.kind, ()):
        return True
    if "oscillation" in (cause.kind, finding.kind):  # the finer name, unless the steps have ruined all
        if 0 in (cause.step, finding.step):  # the order of the batches, which is there before any step
            return cause.step == 0
        severe = "error" in (cause.severity, finding.severity)
        return (cause.kind == "oscillation") != severe
    if {cause.kind, finding.kind} == {"vanishing", "rank-collapse"} and (cause.step or 0) == (finding.step or 0):
        return cause.kind == "vanishing"
    mine, its = ((x.step or 0, SEVERITIES.index(x.severity), _place(x.kind)) for x in (cause, finding))
    return mine < its


def _place(kind: str) -> int:
    return ORDER.index(kind) if kind in ORDER else len(ORDER)
