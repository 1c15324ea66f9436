"""Where training and validation part: rows known by heart."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from undertow.flow.findings import Finding, Remedy
from undertow.flow.names import name_feature
from undertow.flow.record import Flow
from undertow.flow.rules import remedies as R
from undertow.flow.rules.data import scaled_otherwise
from undertow.flow.rules.measures import Array, course_of, held_out_skill, show
from undertow.flow.rules.nothing import compare_with_chance, tell_signal
from undertow.flow.rules.registry import Rule, rule


@rule(
    "over-fitting",
    rise=(0.3, "by how much of its best the validation loss rises"),
    size=(0.1, "rise by the loss of a constant output"),
    useless=(0.75, "validation loss at the end by that of a constant output, from which on nothing useful is left"),
    sure=(2.0, "rise in its standard errors that counts though the loss stays below that"),
    large=(0.5, "by how much of its best the loss of numbers rises where the rise is smaller"),
    small=(0.03, "the rise that is told then, by the loss of a constant output"),
    fall=(0.5, "training loss at the end by that at the best epoch, at most"),
    above=(0.8, "the same where the validation loss comes to lie above that of a constant output"),
    epochs=(3, "fewest epochs after the best one"),
    by_heart=(0.15, "training loss at the end by that of a constant output, below which rows are known by heart"),
    all=(0.01, "the same below which every row is"),
    half=(0.5, "validation loss by that of a constant output, from which on this is told"),
    learned=(0.85, "training loss where outputs for rows held out say nothing of their targets, or harm"),
    skill=(2.0, "skill on rows held out, in deviations of chance, below which they say nothing"),
    rows=(
        50,
        "rows held out from which on this counts though the validation loss lies below that of a constant output",
    ),
    beyond=(2.0, "by how much it is less than what is learned of training rows would make, so that rows can tell"),
    chance=(3.0, "the same of a network that has too few weights to have learned so much by heart"),
    weights=(3.0, "share of the targets that so many times the share of weights by rows can hold by heart"),
    elsewhere=(
        0.3,
        "share of rows held out that lie beyond all rows trained on, in a column, from which on that is why",
    ),
    against=(-3.5, "skill on rows held out below which their targets are others than those trained on"),
    harm=(2.0, "by how much outputs for rows held out are worse than a constant, in standard errors, to be harm"),
    few=(20, "fewest rows held out that can tell that"),
)
def find_over_fitting(flow: Flow, rule: Rule) -> Iterator[Finding]:
    """The validation loss rose clearly after its best epoch while the training loss fell on, or never fell with it.

    The rise must be larger than the noise of the validation loss, from epoch to epoch and by the choice of rows: where
    what is predicted moves by δ from its best, the loss of a row with the error r rises by 2 r δ + δ², in the mean by
    E δ². Of squares a smaller rise counts than of cross-entropies, which also rise where as many rows are right but
    the network is surer of them. A training that stops early and keeps its best model is left alone. Where the
    validation loss never fell below that of a constant output, a training loss that did means rows known by heart: if
    outputs for rows held out go with their targets no better than by chance, though what was learned of the training
    rows would surely show on as many, or are surely worse than a constant.
    So it does if every row is known while the validation loss is half that of a constant output: of what is noise in
    the loss, learning by heart makes twice as much.
    By heart P weights hold a share P/n of n targets, as a linear function does of any: where far more was learned, rows
    held out that do not show it are few, and rather so by chance.
    Rows held out may also be others than those trained on: where many lie beyond all of these, or outputs go against
    their targets, that is said instead. Where they are scaled otherwise, it is no over-fitting.
    In a loop of one's own the validation loss is what it tells by `recorded(loss).note(validation_loss=…)`, or a number
    that its loss watches, without a gradient and with a name such as "validation_loss", "val" or "test".

    Source: Prechelt, Early stopping — but when?, 1998, sections 2 and 3; Goodfellow et al. 2016, sections 5.2 and 7.8;
        twice the noise: Cover, Estimation by the nearest neighbor rule, IEEE Transactions on Information Theory 14,
        1968, theorem 1; the error of the rise: derived here, for errors that are normal.
    """
    told = flow.facts.get("noted") or flow.history  # of a loop of one's own, which has no epochs
    rows = [row for row in told if R.is_number(row.get("validation_loss")) and R.is_number(row.get("loss"))]
    if flow.settings.get("early_stopping") is not None or len(rows) < 2 + rule.epochs or scaled_otherwise(flow):
        return
    held = np.array([row["validation_loss"] for row in rows])
    train = np.array([row["loss"] for row in rows])
    best = int(np.argmin(held))
    tail = max(min(len(held) - best - 1, max(len(held) // 5, 2)), 1)
    end, trained, reference = float(held[-tail:].mean()), float(train[-tail:].mean()), abs(course_of(flow).reference)
    parted = _rises(flow, rule, held, end) and len(held) - 1 - best >= rule.epochs
    parted = parted and trained < min((rule.above if end > reference else rule.fall) * train[best], end)
    lasting = float(np.median(held[-max(len(held) // 5, 3) :]))
    if not parted and not _by_heart(flow, rule, trained, lasting):
        return
    epoch, step = int(rows[best]["epoch"]), rows[best].get("step")
    why, more, first = _reason(flow, rule)
    at = f"step {step}" if flow.of_loop else f"epoch {epoch}"
    seen = (
        f"The validation loss was lowest at {at} with {show(held[best])} and is {show(end)} at the end, "
        f"while the training loss went from {show(train[best])} to {show(train[-1])}"
        if parted
        else f"The training loss is {show(train[-1])} at the end, and the validation loss {show(lasting)}, where a "
        f"constant output has {show(reference)}"
    )
    yield rule.found(
        "warning",
        f"{seen}: {why}.",
        [
            ("validation loss, best", float(held[best]), None),
            ("validation loss, at the end", end, f"near {show(float(held[best]))}, below {show(reference)}"),
            ("training loss, then and at the end", f"{show(train[best])}, {show(train[-1])}", None),
            *more,
        ],
        [*first, R.stop_early(flow), R.drop_units(flow), R.regularise(flow)],
        step=None if step is None else int(step),
    )


def _reason(flow: Flow, rule: Rule) -> tuple[str, list[tuple[str, Any, str | None]], list[Remedy]]:
    """Why training and validation part: what is said, the evidence of it, and what helps first."""
    apart, (skill, n_rows) = flow.facts.get("held_apart") or {}, held_out_skill(flow)
    if apart.get("beyond", 0.0) >= rule.elsewhere:
        column, share = name_feature(flow, apart["column"]), apart["beyond"]
        return (
            f"rows held out are others than those trained on, as {share:.0%} of them lie beyond all of these in column "
            f"{column} of X",
            [(f"share of rows held out beyond all rows trained on, in column {column}", share, "near 0")],
            [
                R.mend_data(
                    "Hold out rows of the same kind, if the network is for such.", "ut.train(..., validation=0.2)"
                )
            ],
        )
    if n_rows >= rule.rows and skill < rule.against:
        return (
            "outputs for rows held out go against their targets, as if these were numbered otherwise, or belonged to "
            "other rows",
            [(f"skill on {n_rows} rows held out, in deviations of chance", skill, "above 2")],
            [
                R.mend_data(
                    "Look whether each row held out has the target that is meant.",
                    "print(*zip(X_held[:5], y_held[:5]), sep='\\n')",
                )
            ],
        )
    why = "the network learns the training rows by heart"
    if n_rows < rule.rows or not skill < rule.skill:
        return why, [], []
    signal, rows = tell_signal(flow)
    return why + signal.rstrip(".").replace(" ", ". ", 1), rows, compare_with_chance(flow)


def _rises(flow: Flow, rule: Rule, held: Array, end: float) -> bool:
    """Whether the validation loss rises clearly from its best, beyond its noise."""
    best, reference = float(held.min()), abs(course_of(flow).reference)
    up = end - best
    squares = "squared_error" in str(flow.settings.get("loss"))
    n_held = max(flow.facts.get("n_validation") or 0, 1)
    spread = math.sqrt(max(4 * best * up + 2 * up * up, 0.0)) if squares else 2 * end  # about twice its mean
    sure = up > rule.sure * spread / math.sqrt(n_held)
    clear = up > rule.size * reference and (end > rule.useless * reference or sure)
    if squares and sure and up > max(rule.large * best, rule.small * reference):
        clear = True
    return clear and up > max(rule.rise * best, 2 * float(np.median(np.abs(np.diff(held)))))


def _by_heart(flow: Flow, rule: Rule, trained: float, lasting: float) -> bool:
    """Whether training rows are known by heart, by the losses of these and of those held out at the end."""
    course = course_of(flow)
    # a mean over epochs lags behind a loss that falls on, which would be no plateau either, and holds spikes on the way
    reference, trained = abs(course.reference), min(trained, course.end)
    if lasting > rule.half * reference and trained < rule.all * reference:
        return True
    if not lasting > rule.useless * reference:
        return False
    skill, n_rows = held_out_skill(flow)
    told = n_rows >= rule.rows or lasting > reference
    # of a signal that is as weak on rows trained on, so many rows could not tell either
    share = _share_of_training(flow, trained)
    beyond = rule.beyond if share < rule.weights * _weights_by_rows(flow) else rule.chance
    blind = skill < rule.skill and told and math.sqrt(max(n_rows - 1, 0) * share) > skill + beyond
    known = rule.learned if blind or _harm(flow, rule.few) > rule.harm else rule.by_heart
    return trained < known * reference


def _share_of_training(flow: Flow, trained: float) -> float:
    """The share that is explained of the targets trained on.

    A network that does as well on n rows held out has a skill of √((n − 1) ρ) there, for this share ρ: of numbers the
    fall of the loss by that of a constant output, of K classes the fall times 2/(K − 1), to the second order in what
    probabilities differ from the shares of the classes.
    """
    reference, target = abs(course_of(flow).reference), flow.facts.get("target") or {}
    share = 1 - trained / reference if reference else 0.0
    if target.get("kind") == "classes":
        share *= 2 * reference / max(target["n_classes"] - 1, 1)
    return min(max(share, 0.0), 1.0)


def _weights_by_rows(flow: Flow) -> float:
    """How many weights there are for each row trained on; infinity where layers do not say how many they have."""
    sizes = [(x.fan_in or math.inf) * (x.fan_out or math.inf) for x in flow.layers if x.weights is not None]
    return sum(sizes) / max(flow.facts.get("n_examples") or 1, 1) if sizes else math.inf


def _harm(flow: Flow, few: float) -> float:
    """By how much outputs for rows held out are worse than a constant: the mean difference in its standard errors.

    0 where rows are fewer than so many, and with losses that are neither squares nor cross-entropies.
    """
    kept, target, name = (
        flow.facts.get("held_out") or {},
        flow.facts.get("target") or {},
        str(flow.settings.get("loss")),
    )
    outputs, targets = (np.asarray(kept.get(x) or [], np.float64) for x in ("outputs", "targets"))
    n, logits = len(outputs), bool(flow.settings.get("logits"))
    if n < few or len(targets) != n:
        return 0.0
    outputs, targets = outputs.reshape(n, -1), targets.reshape(n, -1)
    if "squared_error" in name and outputs.shape == targets.shape and len(target.get("mean") or []) == outputs.shape[1]:
        worse = np.sum((outputs - targets) ** 2 - (targets - target["mean"]) ** 2, axis=1)
    elif "cross_entropy" in name and target.get("kind") == "classes":
        one = outputs.shape[1] == 1
        labels = (targets[:, 0] if targets.shape[1] == 1 else targets.argmax(axis=1)).astype(np.int64)
        told = (
            np.log(np.maximum(np.hstack([1 - outputs, outputs]) if one else outputs, 1e-30))
            if not logits
            else (np.hstack([np.zeros_like(outputs), outputs]) if one else outputs)
        )
        told = told - np.logaddexp.reduce(told, axis=1, keepdims=True)
        worse = np.log(np.maximum(target["priors"], 1e-30))[labels] - told[np.arange(n), labels]
    else:
        return 0.0
    error = float(worse.std()) / math.sqrt(n)
    return float(worse.mean()) / error if error > 0 else 0.0
