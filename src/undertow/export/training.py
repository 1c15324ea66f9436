"""The training step as source: forward, backward, clipping, and the optimizer's update."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from undertow import emit, optim
from undertow.api import backprop
from undertow.emit.structure import wrap
from undertow.errors import ArgumentError
from undertow.export.functions import Function, find_helpers, name_origins, write_function
from undertow.export.subject import Subject, own_files
from undertow.export.update import Update, dictionary, inputs_of, nodes_at
from undertow.graph import INPUT, Graph, Node
from undertow.nn import LOSSES, Loss
from undertow.optim import OPTIMIZERS, Clip, Optimizer
from undertow.trace import trace_function
from undertow.train import Run


@dataclass(frozen=True)
class Training:
    """The parts of a training step in source.

    Attributes:
        helpers: functions that NumPy lacks, by name.
        blocks: the functions, in the order of reading.
        constants: statements for the end.
        optimizer: what the update is, in one line.
    """

    helpers: dict[str, str]
    blocks: list[str]
    constants: list[str]
    optimizer: str


def find_loss(run: Run, loss: Any) -> Loss:
    """Find the loss that a run was trained with.

    Args:
        run: the run.
        loss: the loss itself, where the run's record holds but its name; else None.

    Returns:
        The loss.

    Raises:
        ArgumentError: ``the run's record holds only the name of its loss, 'mine'. …``

    Source: derived here.

    Example:
        >>> find_loss(Run(None, settings={"loss": "mean_squared_error"}), None).task
        'regression'
    """
    if callable(loss):
        return Loss(getattr(loss, "__name__", "loss"), loss, "own")
    name = str(run.settings.get("loss", ""))
    if name not in LOSSES:
        raise ArgumentError(
            f"the run's record holds only the name of its loss, {name!r}. Give the function, loss=…, or leave "
            "training out with training=False."
        )
    return LOSSES[name]


def find_optimizer(run: Run, optimizer: Any) -> Optimizer:
    """Make the optimizer that a run was trained with again from its settings.

    Args:
        run: the run.
        optimizer: the optimizer itself, where settings do not tell enough; else None.

    Returns:
        The optimizer.

    Raises:
        ArgumentError: ``the run's optimizer 'mine' cannot be made again from its record. …``

    Source: derived here.

    Example:
        >>> find_optimizer(Run(None, settings={"optimizer": {"name": "sgd", "rate": 0.5}}), None)
        sgd(rate=0.5)
    """
    if optimizer is not None:
        return optim.find_optimizer(optimizer)
    settings = dict(run.settings.get("optimizer") or {"name": "adam"})
    name = settings.pop("name", None)
    try:
        return OPTIMIZERS[str(name)](**settings)
    except (KeyError, TypeError, ArgumentError):
        raise ArgumentError(
            f"the run's optimizer {name!r} cannot be made again from its record. Give it, optimizer=…, or leave "
            "training out with training=False."
        ) from None


def _find_clip(run: Run) -> Clip | None:
    settings = dict(run.settings.get("clip") or {})
    name = settings.pop("name", None)
    rule = getattr(optim, str(name), None) if name else None
    if name and rule is None:
        raise ArgumentError(f"the run's clipping {name!r} is not known. Leave training out with training=False.")
    return rule(**settings) if rule else None


def write_training(run: Run, subject: Subject, loss: Any, optimizer: Any, target: Any) -> Training:
    """Write forward, backward, clip, update, init_state and step.

    Args:
        run: the run.
        subject: its model, traced.
        loss: see `find_loss`.
        optimizer: see `find_optimizer`.
        target: a few targets, for a loss of the user's own.

    Returns:
        The source in parts.

    Raises:
        ArgumentError: a loss, an optimizer or a target that is not known.
        UnsupportedError: an optimizer whose state does not begin with zeros.

    Source: derived here.

    Example:
        >>> from undertow.export.subject import read_subject
        >>> from undertow.nn import Dense, initialize
        >>> run = Run(initialize(Dense(2, 1)), settings={"loss": "mean_squared_error"})
        >>> parts = write_training(run, read_subject(run), None, "sgd", None)
        >>> [block.split("(")[0] for block in parts.blocks]
        ['def forward', 'def backward', 'def update', 'def init_state', 'def step']
    """
    chosen, rule, clip = find_loss(run, loss), find_optimizer(run, optimizer), _find_clip(run)
    helpers, blocks, constants = _write_passes(subject, chosen, _find_target(subject, chosen, target))
    values = list(subject.parameters.values())
    keys = list(subject.parameters)
    clipping = _write_clip(clip, keys, values) if clip else None
    update = Update(rule, keys, values)
    written = [*(clipping or ())[:1], *update.functions]
    for function in written:
        constants += function.constants
    own = [function.text for function in written]
    if len(update.groups) > 1 and update.alone:
        rules = {update.keys[i]: update.name_of(k) for k, group in enumerate(update.groups) for i in group}
        own.append(wrap([f'"{key}": {rules[key]}' for key in update.keys], "UPDATES = {", "}", 0))
    blocks += [*own, update.init_state, _write_step(update, clipping[1] if clipping else "", subject)]
    used = frozenset[str]().union(*(function.used for function in written))
    return Training({**helpers, **find_helpers(used)}, blocks, constants, repr(rule))


def _find_target(subject: Subject, loss: Loss, target: Any) -> Any:
    """A few targets of the shape that the loss takes."""
    n = len(subject.example)
    shape = subject.output.spec.shape[1:]
    if loss.task == "categorical":
        return np.zeros(n, np.int64)
    if loss.task in ("regression", "binary"):
        return np.zeros((n, *shape), subject.output.spec.dtype)
    if target is None:
        raise ArgumentError("what targets a loss of your own takes is not known. Give a few of them: target=y[:4].")
    return np.zeros((n, *np.shape(target)[1:]), np.asarray(target).dtype)


def _write_passes(subject: Subject, loss: Loss, y: Any) -> tuple[dict[str, str], list[str], list[str]]:
    """Forward and backward pass; helpers, the two functions, and constants."""

    def compute(model: Any, X: Any, y: Any) -> Any:
        return loss.function(model(X), y)

    compute.__name__ = loss.name
    program = backprop(compute, subject.model, subject.example, y)
    name_origins(program.graph, own_files(subject.model))
    nodes = [x for x in program.traced.arguments[0] if isinstance(x, Node)]
    params = dict(zip(subject.parameters, nodes, strict=True))
    signature = [("params", params), *program.signature[1:]]
    text = emit.write_source(program.graph, signature, 0, title=loss.name, rows=program.traced.rows)
    helpers, blocks, constants = {}, [], []
    for block in text.rstrip().split("\n\n\n")[1:]:
        name = re.match(r"def (\w+)\(", block)
        if name is None:
            constants.append(block)
        elif name[1] in ("forward", "backward"):
            blocks.append(block)
        else:
            helpers[name[1]] = block
    return helpers, blocks, constants


# ---- clipping ------------------------------------------------------------------------------------


# Traced, this rule would be two lines a parameter; a test holds these loops against it.
_CLIP_BY_GLOBAL_NORM = '''def clip(grads):
    """{note}"""
    largest = {limit!r}
    for dw in grads.values():
        largest = np.maximum(largest, np.max(np.abs(dw)))
    total = 0.0
    for dw in grads.values():
        scaled = dw / largest
        total = total + np.sum(scaled * scaled)
    norm = largest * np.sqrt(total)
    scale = {limit!r} / np.maximum(norm, {limit!r})
    return {{name: dw * scale for name, dw in grads.items()}}'''


def _write_clip(clip: Clip, keys: list[str], values: list[Any]) -> tuple[Function, str]:
    """The function, and the expression that applies it to ``grads``."""
    traced = trace_function(clip.apply, [values])
    inputs, outputs = nodes_at(traced, 0), list(traced.graph.outputs)
    note = (getattr(optim, clip.name).__doc__ or clip.name).splitlines()[0]
    if clip.name == "clip_by_global_norm":
        text = _CLIP_BY_GLOBAL_NORM.format(note=note, **clip.settings)
        return Function(text, frozenset()), "clip(grads)"
    separate = all(inputs_of(out) <= {own} for out, own in zip(outputs, inputs, strict=True))
    if separate:
        inputs[0].name = "dw"
        graph = Graph((inputs[0],), (outputs[0],))
        function = write_function("clip", [("dw", inputs[0])], graph, note, ", ".join, comments=False)
        return function, "{name: clip(dw) for name, dw in grads.items()}"
    for key, node, out in zip(keys, inputs, outputs, strict=True):
        node.name = f"d{key}"
        if out.op is not INPUT:
            out.name = f"new_d{key}"
    grads = dict(zip(keys, inputs, strict=True))
    graph = Graph(tuple(inputs), tuple(outputs))
    result = dictionary(keys)
    return write_function("clip", [("grads", grads)], graph, note, result, comments=False), "clip(grads)"


def _describe_target(subject: Subject) -> tuple[str, list[str]]:
    """What y holds, and the statements that bring it to the shape and dtype that the loss takes."""
    if subject.task == "categorical":
        return "class numbers, (m,)", ["y = np.asarray(y, dtype=np.int64).reshape(len(X))"]
    if subject.task == "own":
        return "what the loss takes", []
    shape, dtype = subject.output.spec.shape[1:], subject.output.spec.dtype
    sizes = "".join(f", {size}" for size in shape)
    what = "0 or 1" if subject.task == "binary" else "numbers"
    return f"{what}, (m{sizes or ','})", [f"y = np.asarray(y, dtype=np.{dtype}).reshape(len(X){sizes})"]


def _write_step(update: Update, clip: str, subject: Subject) -> str:
    """The function that does one step."""
    told, y = _describe_target(subject)
    lines = ['"""One step: the loss before it, and the parameters and the state after it.', ""]
    shape = ", ".join(map(str, subject.x.spec.shape))
    lines += [f"X is ({shape}) {subject.dtype}, y holds {told}.", '"""']
    lines += [f"X = np.asarray(X, dtype=np.{subject.dtype})", *y]
    lines += ["loss, cache = forward(params, X, y)", "grads = backward(cache)"]
    lines += [f"grads = {clip}"] if clip else []
    if not update.alone:
        lines += ["params, state = update(params, grads, state)", "return loss, params, state"]
        return _indent(lines)
    shared = [update.fields[k] for k in update.shared]
    own = [update.fields[k] for k in update.own(0)]
    given = ["w", "grads[name]", *(f'state["{s}"]' for s in shared), *(f'state["{s}"][name]' for s in own)]
    taken = ["new_params[name]", *(f'new_state["{s}"]' for s in shared), *(f'new_state["{s}"][name]' for s in own)]
    start = ", ".join(f'"{s}": {{}}' for s in own)
    lines += [f"new_params, new_state = {{}}, {{{start}}}", "for name, w in params.items():"]
    call = "update"
    if len(update.groups) > 1:
        call = "UPDATES[name]"
    lines += [f"    {', '.join(taken)} = {call}(", f"        {', '.join(given)}", "    )"]
    if any(isinstance(value, float | int) for value in update.values):  # NumPy's numbers would widen float32
        lines += ["for name, (kind, _) in SHAPES.items():", '    if kind == "number":']
        lines += ["        new_params[name] = float(new_params[name])"]
    lines += ["return loss, new_params, new_state"]
    return _indent(lines)


def _indent(lines: list[str]) -> str:
    return "\n".join(["def step(params, state, X, y):", *(f"    {line}" if line else "" for line in lines)])
