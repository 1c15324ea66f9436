"""What stands at the end of the network, and batch sizes that a layer cannot work with."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Final

from undertow.flow.findings import Finding, Remedy
from undertow.flow.record import Flow
from undertow.flow.rules import remedies as R
from undertow.flow.rules.measures import FOUND, output_layer, show
from undertow.flow.rules.registry import Rule, rule
from undertow.nn import LOSSES

# What an activation can give: the least and the most.
RANGES: dict[str, tuple[float, float]] = {
    "sigmoid": (0.0, 1.0), "hard_sigmoid": (0.0, 1.0), "softmax": (0.0, 1.0), "tanh": (-1.0, 1.0),
    "hard_tanh": (-1.0, 1.0), "softsign": (-1.0, 1.0), "lecun_tanh": (-1.7159, 1.7159), "relu": (0.0, float("inf")),
    "relu6": (0.0, 6.0), "softplus": (0.0, float("inf")), "log_softmax": (-float("inf"), 0.0),
}  # fmt: skip

SAME: Final = 0.05  # by how much the size of outputs may differ, of which others were looked at
POSITIVE = ("relu", "relu6", "softplus", "sigmoid", "hard_sigmoid", "softmax")
BOUNDED = (*POSITIVE, "tanh", "hard_tanh", "softsign", "lecun_tanh", "gelu", "silu", "mish", "elu", "selu", "celu")


@rule(
    "loss-activation-mismatch",
    beyond=(0.1, "by how many deviations targets must lie outside of what the last activation can give"),
)
def find_mismatch(flow: Flow, rule: Rule) -> Iterator[Finding]:
    """The last activation does not go with the loss: it cannot give the targets, or it flattens the loss's gradient.

    A cross-entropy takes either probabilities or logits, and `train` pairs it with the model's end; what is left are
    squared errors after softmax or sigmoid on classes, margins and logits after an activation, scores that an
    activation bounds before softmax or sigmoid, probabilities of which a loss makes probabilities once more, or
    which add up to 1 over the examples instead of the classes, and numbers to predict outside of the range of the last
    activation. A loss of one's own is known by its gradient: of it a binary cross-entropy after softmax is told as
    well. In a loop of one's own, predictions (m, 1) that meet targets (m,) are told, too: together they make (m, m).
    So are targets beyond the range of a last activation that meet squares, and targets of a binary cross-entropy, which
    is known by its gradient by them, that lie outside of 0 to 1, such as −1 and 1.

    Source: Goodfellow et al., Deep Learning, 2016, sections 6.2.2.2 and 6.2.2.3 (output units); Glorot and Bengio 2010,
        section 4.1 (quadratic cost).
    """
    if flow.facts.get("crossed"):
        yield _crossed(rule, flow.facts["crossed"])
    if flow.facts.get("twice"):
        yield _made_twice(flow, rule, flow.facts["twice"])
        return
    if flow.facts.get("over_examples"):
        yield _made_over_examples(rule, flow.facts["over_examples"])
        return
    if flow.of_loop:
        yield from _of_loop(flow, rule)
        return
    output, target = flow.facts.get("output") or {}, flow.facts.get("target") or {}
    output = {**output, "activation": output.get("activation") or output.get("end_function")}
    end, loss = output["activation"], str(output.get("loss"))
    last = output_layer(flow)
    problem = _twice(output) or _problem(output, target, rule.beyond) or _advice(flow, end, loss)
    if problem is None:
        return
    end, (sentence, remedy) = end or "no activation", problem
    yield rule.found(
        "warning",
        f"The model ends in {end} and is trained by {loss}: {sentence}.",
        [("last activation", end, "one that goes with the loss"), ("loss", loss, None)],
        [*remedy(flow)],
        layers=[] if last is None else [flow.layers[last]],
        step=0,
    )


def _made_twice(flow: Flow, rule: Rule, told: dict[str, Any]) -> Finding:
    """The finding of a loss of one's own that makes probabilities of probabilities."""
    n, first, again = told["n"], told["first"], told["again"]
    least = math.log(1 + (n - 1) / math.e)  # of scores 1 and 0, the farthest apart that probabilities can be
    at = f" ({told['line']})" if told.get("line") else ""
    return rule.found(
        "warning",
        f"{again}{at} is given what {first} made: probabilities are made of probabilities, so that the right one of "
        f"{n} cannot come above {show(math.exp(-least))}, and a cross-entropy not below {show(least)}.",
        [("first", first, None), ("and again", again, "scores of any size"),
         ("least cross-entropy", least, "0")],
        [R.mend_data(f"The loss of the scores, which {first} was given.", f"p = {first}(z)  # once")],
        step=0,
    )  # fmt: skip


def _crossed(rule: Rule, said: str) -> Finding:
    """The finding of a loop's loss that holds each prediction against each target."""
    return rule.found(
        "error",
        f"Each prediction is held against each target, so that all predictions end near the mean. {said}",
        [("shape of what the loss makes of both", "(m, m)", "(m,) or (m, 1)")],
        [R.mend_data("Targets of the shape of the predictions.", "y = y[:, None]")],
        step=0,
    )


def _made_over_examples(rule: Rule, told: dict[str, Any]) -> Finding:
    """The finding of a loss of one's own whose probabilities add up to 1 over the examples."""
    n, classes, operation = told["n"], told["classes"], told["operation"]
    at = f" ({told['line']})" if told.get("line") else ""
    return rule.found(
        "warning",
        f"{operation}{at} makes probabilities that add up to 1 over the {n} examples of a batch (axis 0), where those "
        f"of the targets add up over the {classes} classes (axis 1): examples compete with one another, and what is "
        "learned of one depends on which others are drawn with it.",
        [("axis over which probabilities add up", 0, "1"), ("examples", n, None), ("classes", classes, None)],
        [R.mend_data("Probabilities over the classes of each example.", "p = ut.softmax(z, axis=1)")],
        step=0,
    )


def _twice(output: dict[str, Any]) -> Any:
    """What is bounded twice, and what mends it."""
    end, before, again = output.get("activation"), output.get("before"), output.get("squashed_by")
    if end in ("softmax", "sigmoid") and before in BOUNDED:
        scores = "scores of 0 and above alone" if before in POSITIVE else "scores in a narrow range"
        return f"{before} right before it leaves {scores}, so {end} cannot say all that it could", _once
    shares = end == "softmax" or (end is None and output.get("shares"))
    if shares and (again in ("softmax", "log_softmax", "logsumexp") or (end is None and output.get("logits"))):
        return "its outputs are probabilities, and the loss makes probabilities of them once more", _open
    if end == "sigmoid" and again in ("sigmoid", "softplus"):
        return "its outputs are probabilities, and the loss makes probabilities of them once more", _open
    return None


def _problem(output: dict[str, Any], target: dict[str, Any], beyond: float) -> Any:
    """What does not go together, and what mends it."""
    end, own = output.get("activation"), output.get("task") == "own"
    loss = str(output.get("alike") if own else output.get("loss"))
    squared = loss in ("mean_squared_error", "half_squared_error", "mean_absolute_error", "huber", "log_cosh")
    if end in ("softmax", "log_softmax") and squared:
        return "its gradient vanishes where the model is sure and wrong", _classes("categorical_cross_entropy")
    if end == "softmax" and loss == "binary_cross_entropy":
        return ("it asks of each output by itself whether its class is there, but softmax makes them share"), _classes(
            "categorical_cross_entropy"
        )
    if output.get("logits") and end not in (None, "identity"):
        return f"the loss takes scores of any size, but {end} bounds them", _open
    if squared and (own or target.get("kind") == "number") and end in RANGES and target.get("mean"):
        zero_one = all(abs(s * s - m * (1 - m)) < 1e-3 for m, s in zip(target["mean"], target["std"], strict=True))
        if end == "sigmoid" and zero_one and target.get("largest") == 1:
            return "its gradient vanishes where the model is sure and wrong", _classes("binary_cross_entropy")
        sentence = _out_of_reach(end, target, beyond)
        return (sentence, _open) if sentence else None
    return None


def _out_of_reach(end: str, target: dict[str, Any], beyond: float) -> str:
    """What of numbers to predict an activation cannot give; ``""`` where it can."""
    low, high = RANGES[end]
    for mean, std in zip(target["mean"], target["std"], strict=True):
        least, most = target.get("least", mean - 1.5 * std), target.get("most", mean + 1.5 * std)
        if least < low - beyond * std or most > high + beyond * std:
            return (
                f"{end} gives numbers from {show(low)} to {show(high)}, but the target has a mean of {show(mean)} and "
                f"a deviation of {show(std)}, so a part of it cannot be reached"
            )
    return ""


def _of_loop(flow: Flow, rule: Rule) -> Iterator[Finding]:
    """The findings of a loop of one's own: targets beyond its last activation, or beyond what its loss is made for."""
    told, squares = flow.facts.get("beyond"), flow.facts.get("squares") or {}
    if told and told["binary"]:
        least, most = told["least"], told["most"]
        yield rule.found(
            "error",
            f"The loss is a binary cross-entropy, which is made for targets of 0 and 1, but they go from {show(least)} "
            f"to {show(most)}: beyond these it has no least value, and asks for scores without end.",
            [("least target", least, "0 or above"), ("largest target", most, "1 or below")],
            [R.mend_data("Targets of 0 and 1.", "y = (y - y.min()) / (y.max() - y.min())")],
            step=0,
        )
    ends = flow.facts.get("outputs") or ()
    places = [i for i, x in enumerate(flow.layers) if x.kind in FOUND and x.path in ends and x.activation in RANGES]
    if not squares.get("mean") or len(places) != 1 or not flow.looks:
        return
    layer, size = flow.layers[places[0]], flow.looks[0].layers[places[0]].get("h_rms") or 0.0
    # what squares tell of the outputs says whether something comes after the activation
    known = layer.activation and abs(size - squares["output_rms"]) < SAME * size
    sentence = _out_of_reach(layer.activation, squares, rule.beyond) if layer.activation and known else ""
    if sentence:
        yield rule.found(
            "warning",
            f"The network ends in {layer.activation} and is trained by squares: {sentence}.",
            [("last activation", layer.activation, "none, for numbers of any size")],
            [R.mend_data("Outputs without the last activation.", f"f = {layer.name}")],
            layers=[layer],
            step=0,
        )


def _advice(flow: Flow, end: str | None, loss: str) -> Any:
    """What the loss itself says of an end of this kind."""
    known = LOSSES.get(loss)
    if known is None or known.advise is None or end in ("relu", "relu6"):
        return None
    last = output_layer(flow)
    if end is None and last is not None and flow.layers[last].kind == "Dense":
        end = "identity"
    said = known.advise(flow.settings.get("loss_settings") or {}, end) if end else None
    return (said.partition(". ")[0], _open if end != "identity" else _keep) if said else None


def _keep(flow: Flow) -> list[Remedy]:
    return [R.with_end(flow, "softplus", "A model that ends in softplus, whose values are above 0.")]


def _classes(loss: str) -> Any:
    return lambda flow: [R.other_loss(flow, loss, f"{loss} in its place: its gradient by z is p − y.")]


def _open(flow: Flow) -> list[Remedy]:
    if (flow.facts.get("output") or {}).get("activation") is None:  # a function of one's own
        return [R.mend_data("A model without its last function.", "model = ut.nn.Sequential(*model.layers[:-1])")]
    return [R.without_end(flow, "A model without its last activation.")]


def _once(flow: Flow) -> list[Remedy]:
    output = flow.facts.get("output") or {}
    sentence = f"{output['activation']} alone, without {output['before']} before it."
    return [R.with_end(flow, output["activation"], sentence, drop=2)]


@rule(
    "tiny-batch-normalisation",
    size=(4, "largest batch over which mean and variance are too noisy to normalise by"),
    last=(0.15, "share of steps whose batch has a single example, from which on it is told"),
)
def find_tiny_batches(flow: Flow, rule: Rule) -> Iterator[Finding]:
    """BatchNorm takes mean and variance over a handful of examples, so its output is mostly noise.

    Over a single example z is its own mean, and the output is a constant.

    Source: Ioffe, Batch renormalization, NeurIPS 2017, section 1; Wu and He, Group normalization, ECCV 2018, figure 1.
    """
    facts = flow.facts
    if not facts.get("normalised_by_batch"):
        return
    n, size, least = facts.get("n_examples"), facts.get("batch_size") or 0, facts.get("smallest_batch") or 0
    size = min(size, n) if n else size
    steps = -(-n // size) if n and size else 0
    lone = least == 1 and steps and 1 / steps >= rule.last
    if size > rule.size and not lone:
        return
    paths = facts["normalised_by_batch"]
    layers = [x for x in flow.layers if x.path in paths]
    what = f"batches of {size}" if size <= rule.size else "a last batch of a single example"
    yield rule.found(
        "error" if size == 1 else "warning",
        f"BatchNorm normalises over {what}: "
        "mean and variance of so few say little of the data, and differ from those used for predictions.",
        [("examples a step", size, "16 or more"), ("examples of the last step of an epoch", least, "16 or more")],
        [R.other_batch_size(flow, 64), R.normalise(flow, "LayerNorm")],
        layers=layers,
        step=0,
    )
