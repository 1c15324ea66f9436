"""What a linear function explains, held against what the network has learned."""

from __future__ import annotations

import math
from typing import Final

from undertow.flow.record import Flow
from undertow.flow.rules.measures import Course, held_out_skill

SURE: Final = 3.0  # deviations of chance beyond which a linear function surely explains something
CHANCE: Final = 2.0  # deviations by which the skill on rows held out varies by their choice
HALF: Final = 0.5  # share of what a linear function explains that a network explains at least that is not held up


def expected_skill(flow: Flow) -> float:
    """Return the skill that a linear function of the inputs has on the rows held out; NaN where it explains nothing.

    A function that explains the share ρ of the targets' variance has a correlation of √ρ with them, so its skill on n
    rows (`held_out_skill`) is √(n − 1) √ρ, give or take 1.

    Args:
        flow: the record.

    Returns:
        The skill; NaN where it is not sure that a linear function explains anything.

    Source: derived here.
    """
    told, rows = flow.facts.get("linear") or {}, held_out_skill(flow)[1]
    if not told or told["sure"] < SURE or rows < 2:
        return math.nan
    return math.sqrt((rows - 1) * told["share"])


def learned_as_linear(flow: Flow, course: Course) -> bool:
    """Tell whether the network explains what a linear function does, as far as can be told from the rows held out.

    On these its skill is beyond chance and that of a linear function; or it is less by no more than their choice makes,
    and of the rows trained on the network explains half as much as a linear function at least. Where targets are
    classes, the loss falls by (K − 1) ρ / 2 for the share ρ: cross-entropy to the second order in what probabilities
    differ from the shares of the classes.

    Args:
        flow: the record.
        course: of its loss.

    Returns:
        The answer; False where it is not sure that a linear function explains anything.

    Source: derived here.
    """
    expected, skill = expected_skill(flow), held_out_skill(flow)[0]
    if math.isnan(expected) or not skill > expected - CHANCE:
        return False
    if skill > max(expected, CHANCE):
        return True
    end = float(course.epochs[-1]) - course.penalty if len(course.epochs) else course.end  # over all examples
    return end < course.reference - HALF * _fall(flow, course)


def loss_of_linear(flow: Flow, course: Course, at_least: bool = False) -> float:
    """Return the loss of a linear function of the inputs, as far as the share that it explains tells.

    Args:
        flow: the record.
        course: of its loss.
        at_least: whether not to trust the series beyond the share itself: of many classes it falls too far.

    Returns:
        The loss; NaN where it is not sure that a linear function explains anything.

    Source: derived here.
    """
    if math.isnan(expected_skill(flow)):
        return math.nan
    most = flow.facts["linear"]["share"] * course.reference if at_least else math.inf
    return course.reference - min(_fall(flow, course), most)


def _fall(flow: Flow, course: Course) -> float:
    """By how much the loss of a constant output falls where a linear function explains its share."""
    share, target = flow.facts["linear"]["share"], flow.facts.get("target") or {}
    classes = target.get("kind") == "classes"
    return float(share * ((target["n_classes"] - 1) / 2 if classes else course.reference))
