"""Batches of a loop of one's own that follow an order of the rows."""

from __future__ import annotations

from undertow.flow.findings import Finding
from undertow.flow.record import Flow
from undertow.flow.rules import remedies as R
from undertow.flow.rules.measures import Course
from undertow.flow.rules.registry import Rule


def find_unmixed(flow: Flow, rule: Rule, course: Course) -> Finding | None:
    """The finding of batches each of which holds rows of one kind, while the loss goes up and down, or stays high.

    Args:
        flow: the record.
        rule: with the limits ``order``, ``batches``, ``uneven``, ``high`` and ``own``.
        course: of the loss.

    Returns:
        The finding, or None.

    Source: Bengio, Practical recommendations for gradient-based training of deep architectures, Neural Networks:
        Tricks of the Trade, 2012, section 2.1 (examples are to be visited in an order that is random).
    """
    told, late = flow.facts.get("mixture") or {}, course.loss[len(course.loss) // 3 :]
    if (
        told.get("batches", 0) < rule.batches
        or told.get("between", 0.0) < rule.order
        or course.diverged
        or not len(late)
    ):
        return None
    uneven = float(late.std() / max(abs(late.mean()), 1e-300))
    if uneven < rule.uneven and late.mean() < rule.high * course.initial:
        return None
    between = told["between"]
    if told.get("entering", between) < rule.own * between:
        return None  # targets move by themselves, as those that a network makes of its own predictions
    return rule.found(
        "warning",
        f"The loss {'goes up and down' if uneven >= rule.uneven else 'stays high'} because batches are not mixed: "
        f"{between:.0%} of the targets' variance lies between batches, so that rows come in an order, and each step "
        "unlearns what those before it have learned.",
        [
            ("share of the targets' variance between batches", between, "near 0"),
            ("deviation of the loss of single steps by its mean", uneven, f"below {rule.uneven:g}"),
        ],
        [R.mend_data("Mix the rows before each epoch.", "order = rng.permutation(len(X))\nX, y = X[order], y[order]")],
        step=0,
    )
