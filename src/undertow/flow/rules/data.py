"""Data that make training hard: columns and targets of odd scales, rare classes, validation rows seen in training."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from undertow.flow.copies import ROWS
from undertow.flow.findings import Finding
from undertow.flow.names import name_class, name_feature
from undertow.flow.record import Flow
from undertow.flow.rules import remedies as R
from undertow.flow.rules.measures import course_of, found_of, show
from undertow.flow.rules.movement import begin_if_scaled, movement_of
from undertow.flow.rules.registry import RULES, Rule, rule

LOOKED_UP = ("Embedding", "EmbedColumns")
SQUARED = ("mean_squared_error", "half_squared_error")
_LOGARITHMS = ("poisson", "mean_squared_logarithmic_error")  # losses of them, in which a unit is a summand
UNLIKE = 5  # the largest deviation by the smallest, from which on columns are told to differ


def normalised_first(flow: Flow) -> bool:
    """Whether the inputs go through a normalisation over the batch, or are codes that are looked up."""
    return bool(flow.layers) and flow.layers[0].kind in ("BatchNorm", *LOOKED_UP)


def scaled_otherwise(flow: Flow) -> bool:
    """Whether rows held out that were given are scaled otherwise than those trained on, in most columns."""
    told, rule = flow.facts.get("held_apart") or {}, RULES["input-not-scaled"]
    spread = not 1 / rule.held < told.get("ratio", 1.0) < rule.held
    return bool(told) and (spread or told["outside"] > rule.outside or told.get("side", 0.5) > rule.side)


def _held_otherwise(flow: Flow, rule: Rule) -> Finding:
    """The finding of rows held out that are scaled otherwise."""
    told = flow.facts["held_apart"]
    ratio, outside, side = (told.get(name, 0.5) for name in ("ratio", "outside", "side"))
    spread = not 1 / rule.held < ratio < rule.held
    how = (
        f"their spread is {show(ratio)} times that of these"
        if spread
        else f"{outside:.0%} of them lie beyond all of these"
        if outside > rule.outside
        else f"{side:.0%} of them lie on one side of the median of these"
    )
    return rule.found(
        "warning",
        f"Rows held out are scaled otherwise than those trained on{'' if spread else ', or come from elsewhere'}: in "
        f"the middle column {how}, so the validation loss says nothing.",
        [
            ("spread of rows held out by that of rows trained on, of the middle column", ratio, "near 1"),
            ("share of rows held out beyond all rows trained on, of the middle column", outside, "near 0"),
            ("share of rows held out on one side of the median of these, of the middle column", side, "near 0.5"),
        ],
        [
            R.mend_data(
                "Scale both by the mean and deviation of the training part.",
                "mean, deviation = X.mean(axis=0), X.std(axis=0)\n"
                "X, X_held = (X - mean) / deviation, (X_held - mean) / deviation  # both from the numbers as they came",
            )
        ],
        layers=[flow.layers[0]] if flow.layers else [],
        step=0,
    )


@rule(
    "input-not-scaled",
    size=(15.0, "size (mean and deviation together) of the largest column"),
    offset=(8.0, "mean of columns by their deviation, the middle one, and size of the largest mean"),
    spread=(30.0, "deviation of the widest column by that of the middle one"),
    wide=(3.0, "deviation of the widest column from which on the spread counts"),
    small=(0.01, "size of the largest column below which all are too small"),
    held=(5.0, "spread of rows held out by that of rows trained on, or the inverse, of the middle column"),
    outside=(0.5, "share of rows held out that lie beyond all rows trained on, of the middle column"),
    side=(0.9, "share of them on one side of the median of rows trained on, of the middle column"),
)
def find_unscaled_input(flow: Flow, rule: Rule) -> Iterator[Finding]:
    """Columns of X are large, far from 0, of very different deviations, or all tiny.

    Columns between 0 and 1, such as pixels and those of categories, may differ as they like. A model that begins with
    BatchNorm or an embedding scales by itself. Rows held out that are given apart must be scaled as those trained on.

    Source: LeCun et al., Efficient BackProp, 1998, section 4.3.
    """
    if scaled_otherwise(flow):
        yield _held_otherwise(flow, rule)
    columns: dict[str, Any] = flow.facts.get("columns") or {}
    if "std_range" not in columns or normalised_first(flow):
        return
    (low, high), (least, most) = columns["std_range"], columns["mean_range"]
    offset = max(abs(least), abs(most))
    size = math.hypot(high, offset) if offset > high else max(high, offset)
    middle = columns.get("std_median") or low
    spread = high / middle if middle else math.inf
    worst = columns.get("worst", 0)
    rows = [
        ("deviation of columns", f"{show(low)} to {show(high)}", "near 1"),
        ("mean of columns", f"{show(least)} to {show(most)}", "near 0"),
        ("largest number", columns.get("largest"), "below 10"),
    ]
    if size >= rule.size:
        if high >= UNLIKE * low:
            why = "the largest columns decide alone, and steps that suit them are wrong for the others."
        elif offset > high:
            why = f"their means, up to {show(offset)}, make z and the gradient, not what differs between rows."
        else:
            why = "z and the gradient are as many times too large."
        cause = (
            f"Column {name_feature(flow, worst)} of X reaches {show(columns['largest'])}; the deviations of the "
            f"columns go from {show(low)} to {show(high)}: {why}"
        )
    elif spread >= rule.spread and high >= rule.wide:
        cause = (
            f"The deviations of the columns of X go from {show(low)} to {show(high)}, and that of the middle one is "
            f"{show(middle)}: a step that suits the widest is too small for most others."
        )
    elif min(offset, columns.get("mean_by_std") or 0.0) >= rule.offset:
        cause = (
            f"The columns of X lie far from 0 for their deviation: their means go from {show(least)} to {show(most)}, "
            f"{show(columns['mean_by_std'])} deviations in the middle, so what differs between rows is small beside "
            "what is common to all."
        )
    elif max(high, offset) <= rule.small:
        cause = (
            f"The columns of X are tiny, {show(columns['largest'])} at most: the first layer passes on almost nothing."
        )
    else:
        return
    now, scaled = movement_of(flow).begin, begin_if_scaled(flow)
    if "dW_if_scaled" in flow.facts and math.isfinite(now + scaled):
        text = "largest update ratio of the first step, and if columns and targets were scaled"
        rows.append((text, f"{show(now)}, {show(scaled)}", "near 0.001"))
    yield rule.found("warning", cause, rows, [R.scale_inputs(flow)], layers=list(flow.layers[:1]), step=0)


@rule(
    "constant-columns",
    share=(
        0.25,
        "share of columns that are constant, where the constants are 0 or an end of the range of all",
    ),
    ground=(0.143, "size of the constants by the middle deviation, up to which they are 0 but for a few rows"),
    wide=(50, "columns from which on a smaller share is left alone"),
)
def find_constant_columns(flow: Flow, rule: Rule) -> Iterator[Finding]:
    """Columns of X have the same value in all rows: they tell nothing, and act as a second bias.

    Images, counts of words and the like have columns that are 0 in nearly all rows, so in some they are 0 in all; of
    images that were shifted or inverted this is the least number of all, or the largest. Such columns are left alone
    where half as many columns as are always so differ from their commonest value in at most 2 % of the rows. Scaled to
    mean 0 and deviation 1, a column that does so in a share p of them is −√(p / (1 − p)) in all others, which may be
    all that are trained on: √(2 / 98) at most.

    Source: derived here; that what was seen once or twice tells how much was never seen: Good, The population
        frequencies of species, Biometrika 40, 1953, section 2.
    """
    columns: dict[str, Any] = flow.facts.get("columns") or {}
    n, total = columns.get("n_constant", 0), flow.facts.get("n_features", 0)
    if not n or not total or (flow.layers and flow.layers[0].kind in LOOKED_UP):
        return
    image = len(flow.settings.get("example_shape") or ()) > 1 or total >= rule.wide
    values = columns.get("constant_values") or [0.0]
    first = flow.layers[0] if flow.layers else None
    if flow.of_loop and n == 1 and values[0] == 1 and first is not None and " + " not in first.name:
        return  # of ones, by which the first layer has its bias
    empty = not any(values)
    scaled = max(map(abs, values)) <= rule.ground * (columns.get("std_median") or 0.0)
    ground = empty or scaled or set(values) in ({end} for end in columns.get("range") or ())
    sparse = len(flow.settings.get("example_shape") or ()) > 1 or 2 * columns.get("n_rare", n) >= n
    if image and ground and sparse and n / total < rule.share:
        return
    shown = ", ".join(name_feature(flow, i) for i in columns["constant"][:10]) + (", …" if n > 10 else "")
    yield rule.found(
        "warning" if n / total >= rule.share else "note",
        f"{n} of {total} columns of X have the same value in all rows ({shown}): "
        + ("they are 0, so their weights learn nothing." if empty else "their weights learn no more than a bias does."),
        [("constant columns", n, "0")],
        [R.drop_columns(flow, columns["constant"], total - n)],
        layers=list(flow.layers[:1]),
        step=0,
    )


@rule(
    "target-not-scaled",
    size=(10.0, "size (mean and deviation together) of a target column"),
    small=(0.01, "deviation below which a target is too small"),
    offset=(10.0, "mean of a target by its deviation"),
    reached=(0.3, "RMS of the output before training by that of the target, above which it has the right scale"),
    far=(0.9, "share of the squares that is of a few targets far from all others"),
    few=(0.05, "share of the rows that these may be"),
    learned=(0.3, "share of the constant output's loss whose learning shows that they do no harm"),
)
def find_unscaled_target(flow: Flow, rule: Rule) -> Iterator[Finding]:
    """The numbers to predict are large, far from 0 for their deviation, or tiny.

    An output layer begins near 0 with a deviation near 1, so it has to cross the distance by its bias alone, and the
    gradient has the units of the target. Losses of logarithms are left out, as is a model whose output has the right
    scale already. A target that is the same in all rows is an error. A few numbers that lie far from all others
    (15 times the middle distance from the median) may be nearly all that a loss of squares counts: that is told where
    the training does not learn. In a loop of one's own targets are known where its loss is one of squares, c/2 Σ (f −
    y)², as its gradient by them is then c (y − f), which also tells the outputs f; they are told where the loop does
    not learn.

    Source: Bishop, Neural Networks for Pattern Recognition, 1995, section 8.2 (inputs and targets).
    """
    target, output = flow.facts.get("target") or {}, flow.facts.get("output") or {}
    if target.get("kind") == "number" and target.get("std") and is_constant(target):
        yield rule.found(
            "error",
            f"The target is {show(target['most'])} in all rows: there is nothing to learn from the inputs.",
            [("largest and least target", f"{show(target['most'])}, {show(target['least'])}", "different")],
            [R.mend_data("Look at the targets as they are given to train.", "print(np.unique(y, return_counts=True))")],
            step=0,
        )
        return
    target, squared, learned = _to_predict(flow)
    if not target or output.get("loss") in _LOGARITHMS or not target.get("std"):
        return
    far = target.get("far") or {"share": 0.0, "part": 0.0}
    if squared and far["share"] >= rule.far and far["part"] <= rule.few and not learned(rule.learned):
        yield _far_apart(flow, rule, far)
        return
    if "learned" in target and learned(rule.learned):
        return
    pairs = list(zip(target["mean"], target["std"], strict=True))
    mean, std = max(pairs, key=lambda x: math.hypot(*x))
    expected, initial = output.get("expected_loss"), output.get("initial_loss")
    size = math.hypot(mean, std)
    if rule.reached < (target.get("output_rms", output.get("output_rms")) or 0.0) / max(size, 1e-30) < 3:
        return
    if not (size >= rule.size or 0 < std <= rule.small or (std > 0 and abs(mean) >= rule.offset * std)):
        return
    rows = [("mean of the target", mean, "near 0"), ("deviation of the target", std, "near 1")]
    if expected and initial is not None:
        rows.append(("loss before training", initial, f"near {show(expected)}, the variance of the target"))
    yield rule.found(
        "warning",
        f"The target has a mean of {show(mean)} and a deviation of {show(std)}, but an output begins near 0 with a "
        "deviation near 1: gradients have the scale of the target, and a rate that suits others is wrong.",
        rows,
        [R.scale_target(flow)],
        layers=list(flow.layers[-1:]),
        step=0,
    )


def _to_predict(flow: Flow) -> tuple[dict[str, Any], bool, Callable[[float], bool]]:
    """The numbers to predict, whether their loss is one of squares, and how to ask whether a share of it is learned."""
    target, output, own = (flow.facts.get(x) or {} for x in ("target", "output", "squares"))
    if own and not course_of(flow).moving:
        return own, True, lambda share: own["learned"] >= share
    squared = output.get("loss") in SQUARED or output.get("alike") in SQUARED
    number = target.get("kind") == "number" or (target.get("kind") == "other" and squared)
    return target if number else {}, squared, lambda share: not course_of(flow).fails(share)


def _far_apart(flow: Flow, rule: Rule, far: dict[str, Any]) -> Finding:
    """The finding of a few targets that are all that a loss of squares counts."""
    rows, part, share = far["rows"], far["part"], far["share"]
    which = f"{rows} of the targets ({part:.2g} of the rows) {'lies' if rows == 1 else 'lie'}"
    if flow.of_loop:  # a row may be in many of its batches
        which = f"{part:.2g} of the targets that batches held lie"
    return rule.found(
        "warning",
        f"{which} far from all others, more "
        f"than 15 times the middle distance from the median: {share:.1%} of the squares are theirs, so the loss and "
        "its gradient tell of them alone.",
        [("share of the squares that is of these targets", share, f"below {rule.far:g}")],
        [
            R.mend_data("Look at these rows.", "print(np.argsort(np.abs(y - np.median(y, axis=0)), axis=0)[-10:])"),
            R.other_loss(flow, "huber", "A loss that counts large differences as they are, not their squares."),
        ],
        layers=list(flow.layers[-1:]),
        step=0,
    )


def is_constant(target: dict[str, Any]) -> bool:
    """Whether a target of numbers is the same in all rows, but for rounding."""
    least, most = target.get("least", math.nan), target.get("most", math.nan)
    return bool(most - least <= 1e-7 * max(abs(most), abs(least)))


@rule(
    "imbalanced-classes",
    share=(0.2, "share of the rarest class by that of equal classes"),
    learned=(0.9, "share of such a class's rows held out that is found, from which on it has been learned"),
    rows=(3, "fewest such rows that tell"),
)
def find_imbalance(flow: Flow, rule: Rule) -> Iterator[Finding]:
    """One class is so rare that the loss hardly counts it, and nothing makes up for it.

    With class weights or a focal loss, something does. Nothing has to, where rows held out show that rare classes are
    found. That all rows are of one class is an error.

    Source: He and Garcia, Learning from imbalanced data, IEEE TKDE 21, 2009, section 2; Chawla et al., SMOTE, JAIR 16,
        2002, section 2.
    """
    target = flow.facts.get("target") or {}
    settings = flow.settings
    if target.get("kind") != "classes" or settings.get("class_weights") or "focal" in str(settings.get("loss")):
        return
    asked = target.get("asked") or {}  # of a loop of one's own
    if asked.get("weighed"):
        return
    priors = [p for p in target["priors"] if p > 0]
    if len(priors) == 1 and (flow.facts.get("n_examples") or sum(target.get("counts") or ())) > 1:
        yield _one_class(rule, target["priors"])
    if len(priors) < 2 or min(priors) * len(priors) > rule.share:
        return
    known = {int(k): tuple(x) for k, x in (asked.get("found") or {}).items()}
    rare = rare_classes(target["priors"], rule.share)
    if all(n >= rule.rows and share >= rule.learned for n, share in (known.get(k) or found_of(flow, k) for k in rare)):
        return
    places = [target["priors"].index(p) for p in (min(priors), max(priors))]
    labels = target.get("given_as")
    rarest, most = (name_class(flow, k) if labels is None else str(labels[k]) for k in places)
    rows = [
        (f"share of class {rarest}", min(priors), f"near {1 / len(priors):.2g}"),
        (f"share of class {most}", max(priors), f"near {1 / len(priors):.2g}"),
    ]
    accuracy = [row["accuracy"] for row in flow.history if R.is_number(row.get("accuracy"))]
    blind = bool(accuracy) and accuracy[-1] <= max(priors) + 0.01
    if accuracy:
        rows.append(("accuracy at the end", accuracy[-1], f"well above {max(priors):.4g}, that of always {most}"))
    if places[0] in known and known[places[0]][0]:
        blind = known[places[0]][1] < 0.5
        rows.append(
            (f"share of {known[places[0]][0]} rows of class {rarest} that are known", known[places[0]][1], "near 1")
        )
    yield rule.found(
        "warning" if blind else "note",
        f"Class {rarest} has {min(priors):.1%} of the examples, class {most} {max(priors):.1%}: always answering "
        f"{most} is right in {max(priors):.1%} of cases, so accuracy and loss say little of class {rarest}.",
        rows,
        [R.weigh_classes(flow)],
        step=0,
    )


def rare_classes(priors: Sequence[float], share: float) -> list[int]:
    """List the classes that are rare, where several come.

    Args:
        priors: how often each comes.
        share: of equal classes, up to which one is rare.

    Returns:
        Their places; none where a single class comes.

    Source: derived here.

    Example:
        >>> rare_classes([0.96, 0.04, 0.0], 0.2)
        [1]
    """
    n = sum(p > 0 for p in priors)
    return [k for k, p in enumerate(priors) if n > 1 and 0 < p * n <= share]


def _one_class(rule: Rule, priors: list[float]) -> Finding:
    """The finding of rows that are all of one class."""
    only = next(k for k, p in enumerate(priors) if p > 0)
    return rule.found(
        "error",
        f"All rows are of class {only}: there is nothing to tell apart, and whatever is learned says {only} always.",
        [(f"share of class {only}", 1.0, f"near {1 / len(priors):.2g}")],
        [R.mend_data("Look at the targets as they are given to train.", "print(np.unique(y, return_counts=True))")],
        step=0,
    )


@rule(
    "leakage",
    share=(0.05, "share of the validation rows that are training rows too, beyond those that are by chance"),
    rows=(3, "fewest such rows"),
    natural=(3.0, "how many times as many coincidences as chance explains are left alone"),
    sure=(2.0, "standard errors beyond that"),
    codes=(0.5, "share of rows of codes that are looked up, which repeat by nature"),
)
def find_leakage(flow: Flow, rule: Rule) -> Iterator[Finding]:
    """Rows of the validation part are rows of the training part, inputs and targets alike, to the last bit.

    In tables of few distinct values rows coincide by chance. How many of them is estimated from neighbours: training
    rows that agree with a row held out in all columns but some (`undertow.flow.copies.expect_copies`). Rows that were
    copied have none.

    Source: Kaufman et al., Leakage in data mining, ACM TKDD 6, 2012, section 3; what chance explains: derived here.
    """
    shared, n = flow.facts.get("shared_rows") or 0, flow.facts.get("n_validation") or 0
    n = min(n, ROWS)  # of more, only these are compared
    coded = bool(flow.layers) and flow.layers[0].kind in LOOKED_UP
    if not n or shared < rule.rows:
        return
    chance = flow.facts.get("shared_by_chance")
    if chance is None:  # a record of an earlier version
        chance = flow.facts.get("repeated_rows") or 0.0
    natural = 1 - (1 - min(chance, 1.0)) ** rule.natural
    natural += rule.sure * math.sqrt(natural * (1 - natural) / n)
    if shared / n <= max(rule.codes if coded else rule.share, natural, chance + rule.share):
        return
    yield rule.found(
        "error" if shared / n >= 0.5 else "warning",
        f"{shared} of {n} validation rows ({shared / n:.0%}) are training rows too: the validation loss tells how "
        "well rows "
        "are remembered, not how well the network does on new ones.",
        [
            ("validation rows that are training rows", shared, "0"),
            ("share", shared / n, f"{show(chance)}, for which chance would do"),
        ],
        [
            R.mend_data(
                "Remove copies before the data are split, or hold out whole groups.",
                "_, first = np.unique(X, axis=0, return_index=True)\nX, y = X[np.sort(first)], y[np.sort(first)]",
                "--drop-copies",
                drop_shared=True,
            )
        ],
        step=0,
    )
