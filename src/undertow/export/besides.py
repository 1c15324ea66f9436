"""What a step does besides gradient and update: weights of classes, mixed pairs, bound norms, what is not finite."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from undertow.emit.structure import wrap
from undertow.errors import UndertowError
from undertow.export.subject import Subject, read_subject
from undertow.nn import Loss, class_weights
from undertow.optim import Optimizer
from undertow.train import Run
from undertow.train.objective import Objective, Target, total_of

_BOUND = '''def bound(w):
    """Hold the weights that lead to one unit, w[:, j], within a norm of {limit!r}; Srivastava et al., 2014."""
    norm = np.sqrt(np.sum(w * w, axis=tuple(range(w.ndim - 1)), keepdims=True))
    return w * ({limit!r} / np.maximum(norm, {limit!r}))'''
_FINITE = '''def finite(arrays):
    """Whether all numbers of a dictionary of arrays are finite."""
    return all(np.isfinite(x).all() for x in arrays.values())'''


@dataclass(frozen=True)
class Besides:
    """What a run's steps do besides.

    Attributes:
        classes: a weight for each class, or None.
        weighted: whether examples have weights, of their classes or of their own.
        mixup: the α of the shares in which pairs are mixed; 0 mixes nothing.
        max_norm: of the weights into a unit, or None.
        non_finite: what becomes of a step whose gradient is not finite: raise, skip or zero.
        left_out: settings that a written step cannot follow, each with the reason.
    """

    classes: tuple[float, ...] | None = None
    weighted: bool = False
    mixup: float = 0.0
    max_norm: float | None = None
    non_finite: str = "raise"
    left_out: tuple[str, ...] = ()

    def target(self, y: Any, keys: Any, dtype: np.dtype[Any]) -> Target:
        """Make an example of what belongs to a batch."""
        ones = np.ones(len(y), dtype)
        return Target(y, ones if self.weighted else None, keys, ones / 2 if self.mixup else None)

    def names(self, keys: bool) -> list[str]:
        """Name what belongs to a batch beside X and y, in the order in which `Target` has it."""
        return ["weights"] * self.weighted + ["keys"] * keys + ["mix"] * bool(self.mixup)


def read_besides(run: Run, subject: Subject, loss: Loss) -> Besides:
    """Read from a run's settings what its steps did besides.

    Args:
        run: the run.
        subject: its model.
        loss: that it was trained with.

    Returns:
        What was found.

    Source: derived here.

    Example:
        >>> from undertow.export.subject import read_subject
        >>> from undertow.nn import LOSSES, Dense, initialize
        >>> run = Run(initialize(Dense(2, 1)), settings={"loss": "huber", "max_norm": 2.0})
        >>> read_besides(run, read_subject(run), LOSSES["huber"]).max_norm
        2.0
    """
    settings, left_out = run.settings, []
    wanted, classes = settings.get("class_weights"), None
    if wanted is not None:
        classes = _read_classes(settings.get("class_weight_values", wanted), subject)
        if classes is None:
            left_out.append("class_weights (their values are not among the settings of this run)")
    weighted = classes is not None or run.extras.get("weights") is not None
    mixup = float(settings.get("mixup", 0.0))
    if (weighted or mixup) and loss.per_example is None:
        left_out += ["weights"] * weighted + ["mixup"] * bool(mixup)
        classes, weighted, mixup = None, False, 0.0
    limit = settings.get("max_norm")
    return Besides(
        classes, weighted, mixup, None if limit is None else float(limit), str(settings.get("non_finite", "raise")),
        tuple(left_out),
    )  # fmt: skip


def find_left_out(run: Run) -> list[str]:
    """Say what the steps of an exported source leave out that those of the run had.

    Args:
        run: the run.

    Returns:
        The names of settings, with reasons; none where all is there.

    Source: derived here.

    Example:
        >>> from undertow.nn import Dense, initialize
        >>> find_left_out(Run(initialize(Dense(2, 1)), settings={"loss": "huber", "max_norm": 2.0}))
        []
    """
    try:
        subject = read_subject(run, None)
    except UndertowError:  # what cannot be exported has no step
        return []
    return [] if subject.loss is None else list(read_besides(run, subject, subject.loss).left_out)


def _read_classes(wanted: Any, subject: Subject) -> tuple[float, ...] | None:
    """A weight for each class; None where only a rule is known, not what it gave."""
    if isinstance(wanted, str):
        return None
    n = subject.output.spec.shape[1] if subject.task == "categorical" else 2
    if isinstance(wanted, Mapping):
        wanted = {int(label): float(weight) for label, weight in wanted.items()}
    try:
        found = class_weights(np.arange(int(n)), wanted, int(n))  # type: ignore[arg-type]
    except UndertowError:
        return None
    return tuple(float(np.float32(x)) for x in found)


def make_objective(objective: Objective, besides: Besides) -> Any:
    """Write the objective without local variables where that can be: values are then called as in the network.

    Args:
        objective: with its penalties.
        besides: whether examples are weighed or mixed.

    Returns:
        A function of (model, X, target).

    Source: as `undertow.train.objective.Objective`.
    """
    per_example: Any = objective.loss.per_example or objective.loss.function  # the mean of one number is that number

    def mean(model: Any, X: Any, target: Target) -> Any:
        if besides.mixup:
            kept = np.reshape(target.mix, (-1, *[1] * (np.ndim(X) - 1)))
            output = model(X * kept + X[::-1] * (1 - kept))
            first, second = target.mix, 1 - target.mix
            if besides.weighted:
                first, second = first * target.weights, second * target.weights[::-1]
            losses = np.sum(first * per_example(output, target.y)) + np.sum(
                second * per_example(output, target.y[::-1])
            )
            return losses / total_of(first + second)
        if besides.weighted:
            return np.sum(target.weights * per_example(model(X), target.y)) / total_of(target.weights)
        return np.mean(per_example(model(X), target.y))

    def compute(model: Any, X: Any, target: Target) -> Any:
        if objective.l1 or objective.l2:
            return mean(model, X, target) + objective.penalty(model)
        return mean(model, X, target)

    compute.__name__ = objective.loss.name
    compute.__wrapped__ = objective.loss.function  # type: ignore[attr-defined]
    return compute


def write_functions(besides: Besides, rule: Optimizer, subject: Subject, paths: list[str]) -> list[str]:
    """Write the functions and the constants that a step needs besides.

    Args:
        besides: what it does.
        rule: the optimizer, which may leave parameters as they are.
        subject: the model.
        paths: of its trained parameters.

    Returns:
        Blocks of source.

    Source: derived here.
    """
    blocks = []
    if besides.classes is not None:
        blocks.append(wrap([repr(x) for x in besides.classes], "CLASS_WEIGHTS = np.array([", "])", 0))
    if besides.max_norm is not None:
        moved = [
            name
            for name, path in zip(subject.trained, paths, strict=True)
            if np.ndim(subject.parameters[name]) > 1
            and (rule.trains is None or rule.trains(path, subject.parameters[name]))
        ]
        blocks.append(f"BOUND = {tuple(moved)}  # the weights whose norms are bound")
        blocks.append(_BOUND.format(limit=besides.max_norm))
    if besides.non_finite == "skip" or (besides.non_finite == "zero" and subject.fixed):
        blocks.append(_FINITE)
    return blocks


def write_batch(besides: Besides, subject: Subject) -> tuple[list[str], list[str]]:
    """Write what a step makes of its examples.

    Args:
        besides: what it does.
        subject: the model.

    Returns:
        What the docstring says of it, and the statements.

    Source: derived here.
    """
    told, lines = [], []
    if besides.weighted:
        own = "times those of their classes" if besides.classes else "1 unless given"
        told.append(f"weights, (m,), are those of the examples, {own}.")
        lines.append("weights = np.ones(len(X)) if weights is None else np.asarray(weights).reshape(len(X))")
        if besides.classes is not None:
            labels = "y" if subject.task == "categorical" else "y.reshape(len(X)).astype(np.int64)"
            lines.append(f"weights = weights * CLASS_WEIGHTS[{labels}]")
        lines.append(f"weights = weights.astype(np.{subject.dtype})")
    if besides.mixup:
        told.append("mix, (m,), are the shares of examples that are mixed with those of the mirrored batch; they are")
        told.append("drawn unless given.")
        lines += [
            "if mix is None:",
            f"    mix = np.random.default_rng().beta({besides.mixup!r}, {besides.mixup!r}, len(X))",
        ]
        lines.append(f"mix = np.asarray(mix, dtype=np.{subject.dtype})")
    return told, lines
