"""Trainings that make the loss large: by a sign that is turned, in the loss or in the steps."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from undertow.flow.findings import Finding
from undertow.flow.record import Flow
from undertow.flow.rules import remedies as R
from undertow.flow.rules.measures import Array, course_of, held_out_skill, show
from undertow.flow.rules.registry import Rule, rule

PIECES = 4
LITTLE = 0.01  # of the loss before training, up to which another one counts as 0


@rule(
    "turned-sign",
    up=(0.9, "share of the steps that go up the gradient, from which on all are meant to"),
    cosine=(0.1, "mean cosine between steps and gradient, from which on that is no chance"),
    steps=(3, "fewest steps"),
    fall=(10.0, "fall of a loss below 0 by the size of its beginning, or by 1, from which on it has no bound"),
    steady=(0.8, "fall in the last quarter by the largest of the others, from which on it does not slow down"),
    faster=(1.5, "fall of a loss that begins above 0 in the second half by that in the first, from which on so, too"),
    against=(-3.5, "skill on these rows, in deviations of chance, below which outputs go against the classes"),
    rows=(50, "fewest rows held out that can tell"),
    farther=(2.5, "loss of a loop at the end by that at the beginning, both below 0, from which on it fell far"),
)
def find_turned_sign(flow: Flow, rule: Rule) -> Iterator[Finding]:
    """The loss is made large instead of small: steps add the gradient, or the loss has a turned sign.

    Steps: in a loop of one's own their direction is held against the gradient, and the loss rises. A quantity below 0
    that rises is left alone: a log likelihood is to be made large. The loss: it falls below 0 without slowing down,
    many times farther than where it began, as what is bounded below cannot; or, with a loss of one's own that
    is below 0, outputs for rows held out go against their classes far beyond chance; in a loop those of the last
    batch, where the loss falls far and is never above 0, also for targets in other orders parameters that are
    turned, 0 or larger, and classes that are swapped. One that begins above 0 and falls
    so, faster and faster, may also be given targets that it is not made for, as a cross-entropy is by −1 and 1.
    Of a binary cross-entropy in a loop of one's own that is said as a mismatch. There, one that is above 0 for targets
    in another order has no turned sign; a density may be, on its way from a saddle.

    Source: derived here; that descent on what is bounded below must slow down: Nesterov, Introductory lectures on
        convex optimization, 2004, section 1.2.3 (the squared norms of the gradient can be summed).
    """
    yield from _steps(flow, rule)
    yield from _loss(flow, rule)


@rule(
    "gradient-not-reset",
    share=(0.9, "share of the steps that go along the sum of all gradients so far, and not along the last one"),
    steps=(10, "fewest steps"),
    rises=(0.5, "loss at the end by that at the beginning, above which it is an error"),
)
def find_sums(flow: Flow, rule: Rule) -> Iterator[Finding]:
    """Steps go along the sum of all gradients so far: what the gradient is added to is never set back to 0.

    Held against it are the steps of a loop of one's own, to a cosine of −1 but for 1e-6. Momentum forgets: with 0.999
    the oldest of 100 gradients counts 0.9, which is told apart. A loop that adds up some batches before each step, and
    begins anew behind it, goes along the sum of these alone. Steps so never settle: on what is quadratic they are
    those of a spring without friction, and swing for ever.

    Source: derived here; momentum of 1, which is the same, does not converge: Goh, Why momentum really works, Distill
        2017, the section "The dynamics of momentum".
    """
    told = flow.facts.get("directions") or {}
    n, summed, loss = told.get("steps") or 0, told.get("summed") or 0, course_of(flow).loss
    if n < rule.steps or summed < rule.share * (n - 1) or len(loss) < 2:
        return
    begin, end = float(loss[0]), float(loss[-max(len(loss) // 20, 1) :].mean())
    yield rule.found(
        "warning" if end < rule.rises * begin else "error",
        f"{summed} of {n} steps go along the sum of all gradients since the first step, instead of along the last one: "
        f"what they are added to is never set back to 0. The loss came from {show(begin)} to {show(end)}.",
        [
            ("steps that go along the sum of all gradients", summed, "0"),
            ("loss at the end", end, None),
        ],
        [
            R.mend_data(
                "Begin each step with a gradient of 0, or take what the gradient function returns.",
                "total = np.zeros_like(w)  # before the batches of a step, not before the loop",
            )
        ],
        step=2,
    )


def _steps(flow: Flow, rule: Rule) -> Iterator[Finding]:
    """Steps that go up."""
    told = flow.facts.get("directions") or {}
    n, loss = told.get("steps") or 0, course_of(flow).loss
    if n < rule.steps or told["up"] < rule.up * n or told["cosine"] < rule.cosine or len(loss) < 2:
        return
    if not (loss[0] > 0 and loss[-1] > loss[0]):
        return
    yield rule.found(
        "error",
        f"{told['up']} of {n} steps go up the gradient, with a mean cosine of {show(told['cosine'])} to it, and the "
        f"loss rises from {show(float(loss[0]))} to {show(float(loss[-1]))}: the gradient is added where it is to be "
        "subtracted.",
        [
            ("steps that go up the gradient", told["up"], "0"),
            ("mean cosine between steps and gradient", told["cosine"], "below 0"),
            ("loss at the end", float(loss[-1]), f"below {show(float(loss[0]))}"),
        ],
        [R.mend_data("Subtract the gradient.", "params = params - rate * gradient")],
        step=1,
    )


def _loss(flow: Flow, rule: Rule) -> Iterator[Finding]:
    """A loss whose sign is turned."""
    course = course_of(flow)
    loss = course.loss
    if len(loss) < rule.steps or (flow.facts.get("beyond") or {}).get("binary"):  # which tells why it has no bound
        return
    begin, end = float(loss[0]), float(loss[-max(len(loss) // 20, 1) :].mean())
    skill, rows = _skill(flow, rule)
    against = begin < 0 and skill < rule.against
    if flow.of_loop:  # order of pairs and gains of decisions, which are to be large, at most double
        against = against and end < rule.farther * begin
    early = course.diverged and begin < 0  # one that stops being finite may not come as far
    far = abs(begin) if early else max(abs(begin), 1.0) * rule.fall
    # what leaves a saddle on its way to a bound falls more in the second half, too, but slows down in the last quarter
    unbounded = end < 0 and begin - end >= far and _steady(loss, PIECES) >= rule.steady
    unbounded = unbounded and (begin < 0 or _steady(loss, 2) >= rule.faster)
    unbounded = unbounded and not (flow.of_loop and _has_bound(flow, begin))
    if not (against or unbounded):
        return
    shown: list[tuple[object, ...]] = [("loss, at the beginning and at the end", f"{show(begin)}, {show(end)}", None)]
    if unbounded:
        quarters = "fall in the last quarter by the largest of the others"
        shown.append((quarters, _steady(loss, PIECES), "below 1: it slows down"))
        if begin > 0:
            shown.append(("fall in the second half by the first", _steady(loss, 2), f"below {rule.faster:g}"))
        why = (
            f"The loss falls from {show(begin)} to {show(end)}, faster and faster, as one that is bounded below cannot"
        )
    else:
        why = f"The loss falls from {show(begin)} to {show(end)} while outputs go against the classes"
    if against:
        where = f"{rows} rows of the last batch" if flow.of_loop else f"{rows} rows held out"
        shown.append((f"skill on {where}, in deviations of chance", skill, "above 2"))
    turned = "its sign is turned, so that training makes large what is to be small"
    within = R.mend_data(
        "Targets between 0 and 1, where the loss is a cross-entropy.",
        "y = (y - y.min()) / (y.max() - y.min())  # 0 and 1, where it was −1 and 1, or 1 and 2",
    )
    beyond = begin > 0
    yield rule.found(
        "error",
        f"{why}: targets lie outside of what it is made for, or {turned}." if beyond else f"{why}: {turned}.",
        shown,
        [*([within] if beyond else []), R.turn_loss(flow)],
        step=1,
    )


def _skill(flow: Flow, rule: Rule) -> tuple[float, int]:
    """The skill with which outputs tell classes, and in how many rows; NaN where the sign of a loss cannot matter.

    Of numbers it says nothing: a rate, a risk or a price is to be small where a time, a rank or a cost is large.
    """
    if flow.of_loop:
        told, dealt = flow.facts.get("against"), flow.facts.get("dealt")
        slack = LITTLE * abs(float(flow.scalars["loss"][0]))  # what is added within a logarithm makes it more than 0
        bound = told and dealt and max(dealt["most"], told["most"]) <= slack
        return (told["skill"], told["rows"]) if told and bound else (math.nan, 0)
    skill, rows = held_out_skill(flow)
    known = flow.settings.get("task") == "own" and rows >= rule.rows
    return (skill, rows) if known and len(np.unique(flow.facts["held_out"]["targets"])) == 2 else (math.nan, 0)


def _has_bound(flow: Flow, begin: float) -> bool:
    """Whether the loss of a loop is none whose sign is turned, nor one that is given targets it is not made for.

    A loss that is never below 0 is never above it when its sign is turned, whatever the targets. A density is, where
    they come in another order. What begins above 0 must be a straight line in targets that are not between 0 and 1.
    """
    if begin > 0:
        return flow.facts.get("targets") is not False and not flow.facts.get("beyond")
    return float((flow.facts.get("dealt") or {}).get("most", -math.inf)) > 0


def _steady(loss: Array, pieces: int) -> float:
    """The fall of the loss in the last of its pieces by the largest fall in another; −inf where there are too few.

    Where pieces meet it is the mean of a twentieth of all steps, so that the choice of a batch does not tell.
    """
    edges = np.linspace(0, len(loss) - 1, min(pieces, len(loss) - 1) + 1).round().astype(int)
    near = max(len(loss) // 20, 1)
    falls = -np.diff([loss[max(edge - near, -1) + 1 : edge + 1].mean() for edge in edges])
    if len(falls) < 2 or not falls[-1] > 0:
        return -math.inf
    most = float(falls[:-1].max())
    return float(falls[-1]) / most if most > 0 else math.inf
