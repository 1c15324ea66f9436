"""What several rules measure on a record: the course of the loss, the layers that can be compared, their profile."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from undertow.flow.directions import climbs
from undertow.flow.layers import FlowLayer
from undertow.flow.neighbours import chance_skill
from undertow.flow.penalty import loss_of_nothing
from undertow.flow.record import Flow

Array = NDArray[np.float64]

EARLY: Final = 50  # recorded steps that count as the beginning
BLOCKS: Final = 40  # pieces into which the course of the loss is cut
DRIFT: Final = 0.3  # share of the variance of what a loop without targets is given that lies between batches
SURE: Final = 10.0  # or by how many deviations these differ more than chance has it
USELESS: Final = 0.01  # deviation of outputs by that of their targets, or of scores, that tells nothing
NORMS: Final = ("BatchNorm", "LayerNorm", "RMSNorm")
# Those whose entries have a scale of their own, which says nothing of the layers around.
APART: Final = (*NORMS, "PReLU", "Scale", "activation", "parameter", "Embedding", "EmbedColumns")
FOUND: Final = ("watched", "product")  # entries of a loop of one's own that are no parameters
# Rules that divide the gradient of each parameter by its own size: small gradients still move.
RESCALING: Final = ("adam", "adamw", "adamax", "amsgrad", "nadam", "radam", "lamb", "lion", "rmsprop", "adagrad",
                    "adadelta")  # fmt: skip


@dataclass(frozen=True)
class Course:
    """How the loss went.

    Attributes:
        loss: of the recorded steps, those that are finite; with a turned sign where a loop makes large what is below 0.
        smooth: its mean in at most 40 pieces of equal length.
        spread: its standard deviation within these pieces, the median of all.
        initial: before the first step.
        constant: the loss of the best constant output; None where it is not known.
        full_batch: whether each step sees all examples, and nothing else in it is up to chance, as dropout is.
        diverged: whether the loss or a gradient stopped being finite.
        epochs: mean loss of each epoch: all examples, so that the choice of batches cancels.
        penalty: what penalties add to the loss at the end, as far as it is known.
        moving: whether what the loss measures changes while it is trained, so that its course tells nothing.
    """

    loss: Array
    smooth: Array
    spread: float
    initial: float
    constant: float | None
    full_batch: bool
    diverged: bool
    epochs: Array
    penalty: float = 0.0
    moving: bool = False

    @property
    def reference(self) -> float:
        """The loss of a network that has learned nothing of the inputs."""
        return self.initial if self.constant is None else self.constant

    @property
    def end(self) -> float:
        """The loss at the end; without the penalties where it is held against that of a constant output."""
        end = float(self.smooth[-3:].mean()) if len(self.smooth) else math.nan
        return end if self.constant is None else end - self.penalty

    @property
    def best(self) -> float:
        """The lowest loss."""
        return float(self.smooth.min()) if len(self.smooth) else math.nan

    def fails(self, share: float = 0.05) -> bool:
        """Whether less than this share of the loss of a constant output has been learned at the end."""
        return self.diverged or not (self.moving or self.end < (1 - share) * self.reference)

    def delay(self, share: float) -> float:
        """The share of the training that passed before this share of the loss of a constant output was learned."""
        below = np.flatnonzero(self.smooth < (1 - share) * self.reference)
        return float(below[0] / len(self.smooth)) if len(below) else 1.0


def course_of(flow: Flow) -> Course:
    """Measure how the loss went.

    Args:
        flow: the record.

    Returns:
        The course.

    Source: derived here.
    """
    sign = -1 if climbs(flow) else 1
    loss = sign * flow.scalars["loss"]
    finite = loss[np.isfinite(loss)]
    n = min(BLOCKS, max(len(finite) // 5, 1)) if len(finite) else 0
    pieces = np.array_split(finite, n) if n else []
    output = flow.facts.get("output", {})
    # BatchNorm has no running statistics before training, so the loss of predictions may be far too high
    told = [output.get("initial_loss"), flow.looks[0].loss if flow.looks and flow.looks[0].step == 0 else None]
    if output.get("is_mean") is False:
        told = []  # the look has another number of rows than a step
    if draws_numbers(flow):
        told = told[1:]  # steps tell the loss with noise, predictions have none
    known = [sign * x for x in told if x is not None and math.isfinite(x)]
    if flow.settings.get("l1") or flow.settings.get("l2"):  # the recorded loss holds the penalty, these do not
        known = []
    initial = min(known) if known else float(finite[0]) if len(finite) else math.nan
    with np.errstate(over="ignore"):  # losses of a training that diverges in float64
        spread = float(np.median([piece.std() for piece in pieces])) if n else math.nan
    # weights by which classes count the same make the loss of a constant output that of equal classes
    constant = output.get("uniform_loss" if flow.settings.get("class_weights") else "expected_loss")
    if flow.of_loop and sign > 0:
        constant = loss_of_nothing(flow)
    by_epoch = [row.get("loss") for row in flow.history]
    diverged = flow.stopped == "diverged" or "non_finite" in flow.facts or len(finite) < len(loss)
    return Course(
        finite, np.array([piece.mean() for piece in pieces]), spread, float(initial), constant,
        is_full_batch(flow) and not draws_numbers(flow), diverged,
        np.array([x for x in by_epoch if isinstance(x, int | float)], np.float64), _penalty_of(flow), _moves(flow),
    )  # fmt: skip


def held_end(flow: Flow) -> float:
    """Return the loss of rows held out at the end, the median of the last fifth of the epochs; −inf without them."""
    told = [row.get("validation_loss") for row in flow.history]
    known = [x for x in told if isinstance(x, int | float) and math.isfinite(x)]
    return float(np.median(known[-max(len(known) // 5, 1) :])) if known else -math.inf


def _penalty_of(flow: Flow) -> float:
    """What penalties add to the loss at the end: ½ l2 Σ W² and l1 Σ |W|; 0 where it was not measured."""
    if flow.facts.get("penalty"):
        return float(flow.facts["penalty"]["end"])
    pull = (flow.facts.get("restraints") or {}).get("pull") or {}  # by how much each rises for weights that grow e-fold
    return float(pull.get("l2") or 0.0) / 2 + float(pull.get("l1") or 0.0)


def _moves(flow: Flow) -> bool:
    """Whether a loop of one's own plays against another, follows a target that is trained, or is given what drifts."""
    mixture = flow.facts.get("mixture") or {}
    drifts = mixture.get("drift", 0.0) > DRIFT or mixture.get("drifts", 0.0) > SURE
    return bool(flow.facts.get("moving")) or drifts


def draws_numbers(flow: Flow) -> bool:
    """Tell whether layers draw random numbers while the model trains."""
    model = str((flow.facts.get("output") or {}).get("model"))
    return bool((flow.facts.get("restraints") or {}).get("noise")) or "Dropout(" in model or "Noise(" in model


def is_full_batch(flow: Flow) -> bool:
    """Tell whether each step sees all examples."""
    n, size = flow.facts.get("n_examples"), flow.facts.get("batch_size")
    return bool((n and size and size >= n) or flow.facts.get("same_batch"))


def end_of_rates(flow: Flow) -> int | None:
    """Return the step from which on a schedule has nearly ended, if that is in the first half of the training.

    Args:
        flow: the record.

    Returns:
        The number of the step; None where the rate lasts.

    Source: derived here.
    """
    rates = np.nan_to_num(flow.scalars["rate"])
    large = np.flatnonzero(rates > 0.01 * rates.max(initial=0.0))
    ended = len(large) > 0 and large[-1] + 1 < len(rates) / 2
    return int(flow.steps[large[-1]]) + 1 if ended else None


def held_out_skill(flow: Flow) -> tuple[float, int]:
    """Return how well the outputs for rows held out go with their targets, beyond chance, and for how many rows.

    If outputs say nothing of targets, any target might as well belong to any row. For outputs f and targets t about
    their means, over all orders of the targets Σ ⟨f, t⟩ has mean 0 and variance tr(FᵀF TᵀT) / (n − 1). The sum by the
    root of this is the skill, near N(0, 1) without any; scale and offset of the outputs do not matter, unless they are
    all the same to a hundredth of what targets need. For a single number it is √(n − 1) times the correlation.

    Args:
        flow: the record.

    Returns:
        The skill, and the number of rows; NaN and 0 where no rows were held out, or their outputs were not kept.

    Source: Hoeffding, A combinatorial central limit theorem, Annals of Mathematical Statistics 22, 1951, theorems 2 and
        3.
    """
    kept = flow.facts.get("held_out") or {}
    outputs, targets = (np.asarray(kept.get(name) or [], np.float64) for name in ("outputs", "targets"))
    n = len(outputs)
    if n < 2 or len(targets) != n:
        return math.nan, 0
    outputs, targets = outputs.reshape(n, -1), targets.reshape(n, -1)
    classes = flow.settings.get("task") == "categorical"
    if classes and targets.shape[1] == 1 < outputs.shape[1]:
        targets = (targets == np.arange(outputs.shape[1])).astype(np.float64)
    if outputs.shape != targets.shape or not (np.isfinite(outputs).all() and np.isfinite(targets).all()):
        return math.nan, 0
    outputs, targets = outputs - outputs.mean(axis=0), targets - targets.mean(axis=0)
    needed = targets.std(axis=0) if flow.settings.get("task") == "regression" else 1.0  # that of scores is near 1
    if (outputs.std(axis=0) < USELESS * needed).all():
        return 0.0, n
    if not classes:  # columns may have scales of their own
        outputs, targets = (x / np.maximum(x.std(axis=0), 1e-30) for x in (outputs, targets))
    return chance_skill(outputs, targets), n


def held_out_slope(flow: Flow) -> float:
    """Return by how much targets of rows held out change with what is predicted for them: 1 where that is right.

    A network that has hardly learned says too little of what it knows, so its slope is far above 1; one that has
    learned by heart says too much, and its slope is near 0. Where targets are noisy, neither need be the case.

    Args:
        flow: the record.

    Returns:
        The slope of targets over predictions, about the means of the columns; of classes over probabilities. NaN where
        it is not known.

    Source: Cox, Two further applications of a model for binary regression, Biometrika 45, 1958 (the slope of outcomes
        over predictions).
    """
    kept = flow.facts.get("held_out") or {}
    outputs, targets = (np.asarray(kept.get(name) or [], np.float64) for name in ("outputs", "targets"))
    n, task = len(outputs), flow.settings.get("task")
    if n < 2 or len(targets) != n or task not in ("categorical", "binary", "regression"):
        return math.nan
    outputs, targets = outputs.reshape(n, -1), targets.reshape(n, -1)
    if task == "categorical" and targets.shape[1] == 1 < outputs.shape[1]:
        targets = (targets == np.arange(outputs.shape[1])).astype(np.float64)
    if outputs.shape != targets.shape:
        return math.nan
    if flow.settings.get("logits") and task == "categorical":
        outputs = np.exp(outputs - outputs.max(axis=1, keepdims=True))
        outputs /= outputs.sum(axis=1, keepdims=True)
    elif flow.settings.get("logits"):
        outputs = 1 / (1 + np.exp(-np.clip(outputs, -500, 500)))
    outputs, targets = outputs - outputs.mean(axis=0), targets - targets.mean(axis=0)
    size = float(np.sum(outputs * outputs))
    return float(np.sum(outputs * targets)) / size if size > 0 else math.nan


def found_of(flow: Flow, label: int) -> tuple[int, float]:
    """Return how many rows held out are of a class, and the share of them that the network takes for it.

    Args:
        flow: the record.
        label: the class, 0 or 1 where there is one output.

    Returns:
        The number and the share; 0 and NaN where there are none, or their outputs were not kept.

    Source: derived here.
    """
    kept = flow.facts.get("held_out") or {}
    outputs, targets = (np.asarray(kept.get(name) or [], np.float64) for name in ("outputs", "targets"))
    if not len(outputs) or len(targets) != len(outputs) or targets.size != len(targets):
        return 0, math.nan
    outputs = outputs.reshape(len(outputs), -1)
    if outputs.shape[1] == 1:
        logits = "logits" in str(flow.settings.get("loss"))
        taken: NDArray[np.generic] = outputs[:, 0] > (0.0 if logits else 0.5)
    else:
        taken = outputs.argmax(axis=1)
    rows = targets.reshape(-1) == label
    return int(rows.sum()), float(np.mean(taken[rows] == label)) if rows.any() else math.nan


def stream(flow: Flow) -> list[int]:
    """List the layers whose gradients can be compared: along the stream, without branches and normalisations.

    Args:
        flow: the record.

    Returns:
        Their indices, in the order of the forward pass.

    Source: derived here; the stream of a residual network: He et al., ECCV 2016, eq. 3 to 5.
    """
    groups: dict[str | None, list[int]] = {}
    for i, layer in enumerate(flow.layers):
        if layer.kind not in APART and layer.shape:
            groups.setdefault(layer.within, []).append(i)
    if len(groups.get(None, ())) > 1:
        return groups[None]
    return max(groups.values(), key=len, default=[])


def carriers(flow: Flow, chosen: list[int]) -> list[int]:
    """Return where the gradient of each of these layers is read: behind its normalisation, where one follows it.

    Before a normalisation δ is divided by the size of z, which says nothing of what flows.
    """
    found = []
    for i in chosen:
        after = flow.layers[i + 1] if i + 1 < len(flow.layers) else None
        here = flow.layers[i]
        follows = after is not None and after.kind in NORMS and (after.within, after.shape) == (here.within, here.shape)
        found.append(i + 1 if follows and here.h_path == here.path else i)
    return found


def early(flow: Flow, name: str) -> Array:
    """Return what a number of each layer was at the beginning: the median of the first recorded steps.

    Args:
        flow: the record.
        name: as `Flow.stat` takes it; where no step is recorded, that of the first look.

    Returns:
        float64 (layers,); NaN where a layer has no such number.

    Source: derived here.
    """
    values = flow.stat(name)[:EARLY].astype(np.float64)
    return median(values) if len(values) else at_first_look(flow, name)


def at_first_look(flow: Flow, name: str) -> Array:
    """Return what a number of each layer was at the first look; NaN where it was not measured."""
    rows: list[dict[str, Any]] = flow.looks[0].layers if flow.looks else [{} for _ in flow.layers]
    key = name.replace(".", "_")
    return np.array([math.nan if row.get(key) is None else row[key] for row in rows])


def cosine_before(flow: Flow, i: int, rows: list[dict[str, Any]]) -> float:
    """The mean cosine between what two examples bring to a layer, at a look; of X that of its columns' means."""
    if i:
        return float(rows[i - 1].get("correlation") or 0.0)
    columns = flow.facts.get("columns")
    if columns is None and flow.layers[i].activation == "relu":  # what a loop of one's own is given is not measured
        return before_relu(float(rows[i].get("correlation") or 0.0))
    offset = float((columns or {}).get("mean_by_std") or 0.0)
    return offset**2 / (1 + offset**2)


def before_relu(cosine: float) -> float:
    """Return the cosine of two inputs of a random layer whose relu gives outputs of this cosine.

    Args:
        cosine: 0 to 1.

    Returns:
        That before it; 0 for what even inputs at right angles have, 1/π, and below.

    Source: Cho and Saul, Kernel methods for deep learning, NIPS 2009, eq. 6, solved for the angle.

    Example:
        >>> round(before_relu(1 / math.pi), 3), before_relu(1.0) > 0.999, round(before_relu(0.9), 2)
        (0.0, True, 0.89)
    """
    low, high = 0.0, 1.0
    for _ in range(40):
        c = (low + high) / 2
        behind = (math.sqrt(1 - c * c) + c * (math.pi - math.acos(c))) / math.pi
        low, high = (c, high) if behind < cosine else (low, c)
    return low


def late(flow: Flow, name: str) -> Array:
    """Return what a number of each layer was at the end: the median of the last fifth of the recorded steps."""
    return median(flow.stat(name)[-max(len(flow) // 5, 1) :].astype(np.float64))


def median(values: Array) -> Array:
    """The median of each column without what is NaN; NaN where nothing is left."""
    found = np.full(values.shape[1], math.nan)
    for i in range(values.shape[1]):
        column = values[:, i]
        column = column[~np.isnan(column)]
        if len(column):
            found[i] = np.median(column)
    return found


def norms(flow: Flow, values: Array) -> Array:
    """Make norms of root mean squares: an example's gradient in all units of a layer together."""
    return values * np.sqrt([max(math.prod(layer.shape), 1) for layer in flow.layers])


def trained(flow: Flow) -> list[int]:
    """List the layers that have weights."""
    return [i for i, layer in enumerate(flow.layers) if layer.weights is not None]


def output_layer(flow: Flow) -> int | None:
    """The index of the layer that gives the output; None for a function of one's own."""
    found = [i for i, layer in enumerate(flow.layers) if layer.kind not in ("parameter", *FOUND)]
    return found[-1] if found else None


def first_row(hit: NDArray[np.bool_], run: int = 1) -> int | None:
    """Return the first row from which on something holds for so many rows; None where it never does."""
    count = 0
    for i, value in enumerate(hit):
        count = count + 1 if value else 0
        if count == run:
            return i - run + 1
    return None


def optimizer_of(flow: Flow) -> str:
    """The name of the update rule; that within wrappers such as lookahead."""
    found: Any = flow.settings.get("optimizer") or {}
    while isinstance(found, dict) and isinstance(found.get("optimizer"), dict):
        found = found["optimizer"]
    return str(found.get("name", "")) if isinstance(found, dict) else ""


def rescales(flow: Flow) -> bool:
    """Whether the update rule divides each gradient by its own size."""
    return optimizer_of(flow) in RESCALING


def inner_layers(flow: Flow) -> list[tuple[int, FlowLayer]]:
    """List the layers before the output; of what follows the last of them, activations belong to the output too.

    In a loop of one's own, the values after which nothing more is trained are outputs.
    """
    last = output_layer(flow)
    told = flow.facts.get("outputs") or ()
    outer = {last, *(i for i, layer in enumerate(flow.layers) if layer.kind in FOUND and layer.path in told)}
    while last and flow.layers[last].kind == "activation":
        last -= 1
        outer.add(last)
    others = [(i, layer) for i, layer in enumerate(flow.layers) if i not in outer and layer.kind != "parameter"]
    return [(i, layer) for i, layer in others if layer.turn is None]


def show(value: float) -> str:
    """Write a number for people: three digits."""
    return f"{value:.3g}"


def show_times(value: float) -> str:
    """Write a ratio before what it is held against: 0.3 of, 2,450 times."""
    if value < 1:
        return f"{show(value)} of"
    return f"{value:,.0f} times" if 1e3 <= value < 1e6 else f"{show(value)} times"
