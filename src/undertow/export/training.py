"""The training step as source: forward, backward, clipping, and the optimizer's update."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from undertow import emit, optim, trees
from undertow.emit.structure import wrap
from undertow.errors import ArgumentError, UnsupportedError
from undertow.export.besides import Besides, make_objective, read_besides, write_batch, write_functions
from undertow.export.clipping import write_clip
from undertow.export.functions import find_helpers, name_origins, write_function
from undertow.export.subject import Subject, own_files
from undertow.export.update import Update, dictionary
from undertow.graph import Graph
from undertow.nn import Loss
from undertow.optim import Clip, Optimizer
from undertow.train import Run
from undertow.train.derive import Gradient, number_paths, trained_numbers
from undertow.train.objective import Objective
from undertow.train.setup import draws_numbers


@dataclass(frozen=True)
class Training:
    """The parts of a training step in source.

    Attributes:
        helpers: functions that NumPy lacks, by name.
        blocks: the functions, in the order of reading.
        constants: statements for the end.
        optimizer: what the update is, in one line.
        left_out: settings of the run that the step does not follow.
    """

    helpers: dict[str, str]
    blocks: list[str]
    constants: list[str]
    optimizer: str
    left_out: list[str]


def find_loss(run: Run, subject: Subject, loss: Any) -> Loss:
    """Find the loss that a run was trained with.

    Args:
        run: the run.
        subject: its model.
        loss: the loss itself, where the run's record holds but its name; else None.

    Returns:
        The loss.

    Raises:
        ArgumentError: ``the run's record holds only the name of its loss, 'mine'. …``

    Source: derived here.

    Example:
        >>> from undertow.export.subject import read_subject
        >>> from undertow.nn import Dense, initialize
        >>> run = Run(initialize(Dense(2, 1)), settings={"loss": "mean_squared_error"})
        >>> find_loss(run, read_subject(run), None).task
        'regression'
    """
    if callable(loss):
        return loss if isinstance(loss, Loss) else Loss(getattr(loss, "__name__", "loss"), loss, "own")
    if subject.loss is None:
        raise ArgumentError(
            f"the run's record holds only the name of its loss, {run.settings.get('loss')!r}. Give the function, "
            "loss=…, or leave training out with training=False."
        )
    return subject.loss


def find_optimizer(run: Run, optimizer: Any) -> tuple[Optimizer, Clip | None]:
    """Make the optimizer and the clipping that a run was trained with again from its settings.

    Args:
        run: the run.
        optimizer: the optimizer itself, where settings do not tell enough; else None.

    Returns:
        The optimizer and the clipping rule, or None.

    Raises:
        ArgumentError: ``the run's optimizer cannot be made again from its record: …``

    Source: derived here.

    Example:
        >>> find_optimizer(Run(None, settings={"optimizer": {"name": "sgd", "rate": 0.5}}), None)
        (sgd(rate=0.5), None)
    """
    settings = run.settings
    try:
        rule = optim.find_optimizer(optimizer)
        if optimizer is None:
            rule = optim.build_optimizer(settings.get("optimizer") or {"name": "adam"})
        clip = optim.build_clip(settings.get("clip"))
    except ArgumentError as error:
        raise ArgumentError(
            f"the run's optimizer cannot be made again from its record: {error} Give it, optimizer=…, or leave "
            "training out with training=False."
        ) from None
    n = settings.get("accumulate", 1)
    return (rule, clip) if n == 1 else (optim.accumulate(rule, n, clip=clip), None)


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
    chosen, (rule, clip) = find_loss(run, subject, loss), find_optimizer(run, optimizer)
    besides = read_besides(run, subject, chosen)
    passes = _write_passes(run, subject, chosen, _find_target(subject, chosen, target), besides)
    paths = [number_paths(subject.model)[i] for i in trained_numbers(subject.model)]
    values = [subject.parameters[name] for name in subject.trained]
    clipping = write_clip(clip, rule, paths, subject.trained, values) if clip else None
    update = Update(rule, paths, subject.trained, values)
    written = [*(clipping or ())[:1], *update.functions]
    constants = [*passes.constants, *(text for function in written for text in function.constants)]
    own = [function.text for function in written]
    if len(update.groups) > 1 and update.alone:
        rules = {update.keys[i]: update.name_of(k) for k, group in enumerate(update.groups) for i in group}
        own.append(wrap([f'"{key}": {rules[key]}' for key in update.keys], "UPDATES = {", "}", 0))
    own += write_functions(besides, rule, subject, paths)
    step = _write_step(update, clipping[1] if clipping else "", subject, passes, besides)
    used = frozenset[str]().union(*(function.used for function in written))
    first = [f"FIXED = {tuple(subject.fixed)}  # what training changes otherwise than by gradients"]
    blocks = [*(first if subject.fixed else []), *passes.blocks, *own, update.init_state, step]
    return Training({**passes.helpers, **find_helpers(used)}, blocks, constants, repr(rule), list(besides.left_out))


def _find_target(subject: Subject, loss: Loss, target: Any) -> Any:
    """A few targets of the shape that the loss takes."""
    n = len(subject.example)
    if loss.task == "categorical":
        return np.zeros(n, np.int64)
    if loss.task in ("regression", "binary"):
        return np.zeros((n, *subject.target_shape), subject.output.spec.dtype)
    if target is None:
        raise ArgumentError("what targets a loss of your own takes is not known. Give a few of them: target=y[:4].")
    return np.zeros((n, *np.shape(target)[1:]), np.asarray(target).dtype)


@dataclass(frozen=True)
class _Passes:
    """Forward and backward pass, and running statistics, as source."""

    helpers: dict[str, str]
    blocks: list[str]
    constants: list[str]
    arguments: list[str]  # of forward
    replaced: tuple[str, ...]  # the names of the running statistics


def _write_passes(run: Run, subject: Subject, loss: Loss, y: Any, besides: Besides) -> _Passes:
    """Write forward and backward pass, and the function ``statistics`` if the model has running ones."""
    penalised = Objective(loss, float(run.settings.get("l1", 0.0)), float(run.settings.get("l2", 0.0)))
    objective = make_objective(penalised, besides)
    keys = np.zeros(len(subject.example), np.int64) if draws_numbers(subject.model, subject.example) else None
    leaves, rebuild = trees.flatten(subject.model)
    program = Gradient(objective).program_for(
        leaves, rebuild, subject.example, besides.target(y, keys, np.dtype(subject.dtype))
    )
    if program is None or not program.graph.symbols():
        raise UnsupportedError(
            "the loss depends on values or on the number of rows: leave training out, training=False."
        )
    graph, own = program.graph, own_files([subject.model, loss.function])
    name_origins(graph, own)
    here = graph.outputs[0].line or ""
    for node in graph.nodes:  # the mean over the batch and the penalties are not from any line of the user's
        if node.line == here and here.rsplit(":", 1)[0] not in own and ":" in here:
            node.line = None
    names = list(subject.parameters)
    nodes = dict(zip(names, graph.inputs, strict=False))
    batch = dict(zip(("X", "y", *besides.names(keys is not None)), graph.inputs[len(names) :], strict=False))
    fixed: list[tuple[str, Any]] = [("fixed", {name: nodes[name] for name in subject.fixed})] if subject.fixed else []
    signature = [("params", {name: nodes[name] for name in subject.trained}), *fixed, *batch.items()]
    n = len(program.replaced)
    gradients = Graph(graph.inputs, (graph.outputs[0], *graph.outputs[1 + n :]))
    text = emit.write_source(gradients, signature, 0, title=loss.name)
    helpers, blocks, constants = {}, [], []
    for block in text.rstrip().split("\n\n\n")[1:]:
        name = re.match(r"def (\w+)\(", block)
        if name is None:
            constants.append(block)
        elif name[1] in ("forward", "backward"):
            blocks.append(block)
        else:
            helpers[name[1]] = block
    replaced = tuple(names[i] for i in program.replaced)
    if replaced:
        running = Graph(graph.inputs, tuple(graph.outputs[1 : 1 + n]))
        note = "The running statistics after a step."
        reserved = {line.split(" = ")[0] for line in constants}
        function = write_function("statistics", signature, running, note, dictionary(list(replaced)), reserved=reserved)
        blocks.append(function.text)
        constants += function.constants
        helpers |= find_helpers(function.used)
    return _Passes(helpers, blocks, constants, [argument for argument, _ in signature], replaced)


def _describe_target(subject: Subject) -> tuple[str, list[str]]:
    """What y holds, and the statements that bring it to the shape and dtype that the loss takes."""
    if subject.task == "categorical":
        return "class numbers, (m,)", ["y = np.asarray(y, dtype=np.int64).reshape(len(X))"]
    if subject.task == "own":
        return "what the loss takes", []
    shape, dtype = subject.target_shape, subject.output.spec.dtype
    sizes = "".join(f", {size}" for size in shape)
    what = "0 or 1" if subject.task == "binary" else "numbers"
    return f"{what}, (m{sizes or ','})", [f"y = np.asarray(y, dtype=np.{dtype}).reshape(len(X){sizes})"]


def _write_step(update: Update, clip: str, subject: Subject, passes: _Passes, besides: Besides) -> str:
    """The function that does one step."""
    told, y = _describe_target(subject)
    lines = ['"""One step: the loss before it, and the parameters and the state after it.', ""]
    shape = ", ".join(map(str, subject.x.spec.shape))
    lines += [f"X is ({shape}) {subject.dtype}, y holds {told}."]
    keys = "keys" in passes.arguments
    if keys:
        lines += ["keys, int64 (m,), decide the random numbers of each example; they are drawn unless given."]
    more, batch = write_batch(besides, subject)
    lines += [*more, '"""', f"X = np.asarray(X, dtype=np.{subject.dtype})", *y, *batch]
    given_to_forward = ", ".join(passes.arguments)
    if keys:
        lines += ["if keys is None:", "    keys = np.random.default_rng().integers(0, 2**62, len(X))"]
    if besides.non_finite == "skip":
        lines += ["before = params"]
    if subject.fixed:
        lines += ["fixed = {name: params[name] for name in FIXED}"]
        lines += ["params = {name: w for name, w in params.items() if name not in FIXED}"]
    lines += [f"loss, cache = forward({given_to_forward})", "grads = backward(cache)"]
    if besides.non_finite == "zero":
        lines += ["grads = {name: np.where(np.isfinite(dw), dw, 0.0) for name, dw in grads.items()}"]
    if besides.non_finite == "skip":
        lines += [
            "if not (np.isfinite(loss) and finite(grads)):  # the step is left out",
            "    return loss, before, state",
        ]
    lines += [f"grads = {clip}"] if clip else []
    end = _write_end(subject, passes, given_to_forward, besides)
    return _indent([*lines, *_write_update(update), *end], besides.names(keys))


def _write_update(update: Update) -> list[str]:
    """The statements that make new parameters and a new state of the gradients."""
    if not update.alone:
        return ["new_params, new_state = update(params, grads, state)"]
    shared = [update.fields[k] for k in update.shared]
    own = [update.fields[k] for k in update.own(0)]
    given = ["w", "grads[name]", *(f'state["{s}"]' for s in shared), *(f'state["{s}"][name]' for s in own)]
    taken = ["new_params[name]", *(f'new_state["{s}"]' for s in shared), *(f'new_state["{s}"][name]' for s in own)]
    start = ", ".join(f'"{s}": {{}}' for s in own)
    call = "UPDATES[name]" if len(update.groups) > 1 else "update"
    lines = [f"new_params, new_state = {{}}, {{{start}}}", "for name, w in params.items():"]
    lines += [f"    {', '.join(taken)} = {call}(", f"        {', '.join(given)}", "    )"]
    if any(isinstance(value, float | int) for value in update.values):  # NumPy's numbers would widen float32
        lines += ["for name in new_params:", '    if SHAPES[name][0] == "number":']
        lines += ["        new_params[name] = float(new_params[name])"]
    return lines


def _write_end(subject: Subject, passes: _Passes, given: str, besides: Besides) -> list[str]:
    """The statements after the update: norms, running statistics, the result."""
    lines = []
    if besides.max_norm is not None:
        lines += ["new_params |= {name: bound(new_params[name]) for name in BOUND}"]
    if subject.fixed:
        lines += ["new_params |= fixed"]
    if passes.replaced and besides.non_finite == "raise":
        lines[-1] += f" | statistics({given})"
    elif passes.replaced:
        lines += [f"renewed = statistics({given})", "if finite(renewed):", "    new_params |= renewed"]
    return [*lines, "return loss, new_params, new_state"]


def _indent(lines: list[str], optional: list[str]) -> str:
    head = f"def step({', '.join(['params', 'state', 'X', 'y', *(f'{name}=None' for name in optional)])}):"
    return "\n".join([head, *(f"    {line}" if line else "" for line in lines)])
