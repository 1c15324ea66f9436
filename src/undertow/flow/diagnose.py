"""What is wrong with a training: every rule is asked, and what follows from something else is told with it."""

from __future__ import annotations

from dataclasses import replace
from os import PathLike
from typing import Final

from undertow.errors import ArgumentError
from undertow.flow.findings import SEVERITIES, Evidence, Finding
from undertow.flow.record import Flow
from undertow.flow.rules import RULES

# From causes to what follows from them. A finding whose cause was found too becomes a line of evidence there.
FOLLOWS: Final[dict[str, tuple[str, ...]]] = {
    "non-finite": ("step-too-large", "exploding"),
    "dead-units": (
        "born-dead-layer", "identical-units", "exploding", "vanishing", "step-too-large", "input-not-scaled",
        "target-not-scaled", "over-regularised",
    ),
    "saturation": (
        "input-not-scaled", "target-not-scaled", "exploding", "vanishing", "step-too-large", "identical-units",
        "initial-loss", "over-regularised",
    ),
    "vanishing": (
        "born-dead-layer", "identical-units", "dead-units", "saturation", "step-too-large", "over-regularised",
    ),
    "rank-collapse": (
        "born-dead-layer", "identical-units", "dead-units", "saturation", "vanishing", "exploding", "step-too-large",
        "over-regularised",
    ),
    "initial-loss": (
        "input-not-scaled", "target-not-scaled", "exploding", "saturation", "loss-activation-mismatch",
        "identical-units",
    ),
    "step-too-large": (
        "input-not-scaled", "target-not-scaled", "exploding", "initial-loss", "oscillation",
        "identical-units", "over-regularised",
    ),
    "oscillation": (
        "step-too-large", "input-not-scaled", "target-not-scaled", "tiny-batch-normalisation", "exploding",
        "over-regularised",
    ),
    "always-clipped": ("exploding", "input-not-scaled", "target-not-scaled", "step-too-large", "initial-loss"),
    "step-too-small": (
        "born-dead-layer", "identical-units", "vanishing", "saturation", "always-clipped", "dead-units",
        "tiny-batch-normalisation", "exploding", "initial-loss",
        "input-not-scaled", "target-not-scaled",
    ),
    "over-fitting": (
        "step-too-large", "oscillation", "tiny-batch-normalisation", "initial-loss", "exploding", "saturation",
    ),
    "plateau": (
        "born-dead-layer", "identical-units", "dead-units", "saturation", "vanishing", "exploding", "rank-collapse",
        "step-too-large", "step-too-small", "oscillation", "non-finite", "input-not-scaled", "target-not-scaled",
        "loss-activation-mismatch", "always-clipped", "imbalanced-classes", "tiny-batch-normalisation",
        "over-regularised",
    ),
    "identical-units": ("over-regularised",),
    "exploding": ("over-regularised",),
}  # fmt: skip

# What the network is like, rather than what its training does.
STRUCTURE: Final = ("vanishing", "exploding", "saturation", "dead-units", "rank-collapse", "identical-units")

# What comes first where two are as severe: data, then what is there before the first step, then what training does.
ORDER: Final = (
    "non-finite", "leakage", "input-not-scaled", "target-not-scaled", "loss-activation-mismatch", "born-dead-layer",
    "identical-units", "over-regularised", "exploding", "saturation", "vanishing", "dead-units", "rank-collapse",
    "step-too-large", "step-too-small", "initial-loss", "tiny-batch-normalisation", "oscillation", "always-clipped",
    "plateau", "over-fitting", "imbalanced-classes", "constant-columns",
)  # fmt: skip


def diagnose(flow: Flow) -> list[Finding]:
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
    return sorted(_join(found), key=lambda x: (SEVERITIES.index(x.severity), _place(x.kind)))


def _join(found: list[Finding]) -> list[Finding]:
    """Put what follows from something else into the evidence of its cause."""
    causes = {i: [x for x in found if explains(x, finding)] for i, finding in enumerate(found)}
    kept = {i: x for i, x in enumerate(found) if not causes[i]}
    for i, finding in enumerate(found):
        at = next((j for j, x in kept.items() if any(x.kind == c.kind for c in causes[i])), None)
        if at is not None:
            line = Evidence(f"follows from it: {finding.kind}", finding.cause)
            kept[at] = replace(kept[at], evidence=(*kept[at].evidence, line))
    return list(kept.values())


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
    late = ("step-too-large", "oscillation", "over-regularised")
    if cause.kind in late and finding.kind in STRUCTURE and (finding.step or 0) < 2:
        return False  # it was there before any step
    if finding.kind not in FOLLOWS.get(cause.kind, ()):
        return True
    if "oscillation" in (cause.kind, finding.kind):  # the finer name, unless the steps have ruined all
        severe = "error" in (cause.severity, finding.severity)
        return (cause.kind == "oscillation") != severe
    mine, its = ((x.step or 0, SEVERITIES.index(x.severity), _place(x.kind)) for x in (cause, finding))
    return mine < its


def _place(kind: str) -> int:
    return ORDER.index(kind) if kind in ORDER else len(ORDER)
