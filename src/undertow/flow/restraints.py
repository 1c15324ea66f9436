"""What regularisation costs at the end of a training: the loss without its noise, and with larger weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from undertow import trees
from undertow.flow.layers import FlowLayer, walk
from undertow.nn import Dropout, Noise
from undertow.nn.mode import call_inner, example_keys, training
from undertow.train.derive import number_paths, trained_numbers
from undertow.train.task import Task

Array = NDArray[Any]
FACTORS: Final = (1.25, 1.5, 2.0, 3.0, 4.0, 8.0, 16.0)  # by which weights are tried larger
DRAWS: Final = 8  # forward passes with other random numbers
LEAST: Final = 20  # rows held out that can judge; with fewer, those trained on do
AT_BOUND: Final = 0.999  # of the largest norm that is allowed


def measure_restraints(
    model: Any, task: Task, settings: Mapping[str, Any], layers: tuple[FlowLayer, ...], train: tuple[Array, Array],
    held: tuple[Array, Array] | None,
) -> dict[str, Any] | None:  # fmt: skip
    """Measure what holds a trained model back: penalties, decay, bounds, and noise within it.

    Args:
        model: as it is at the end of the training.
        task: its loss.
        settings: of the training, as plain data.
        layers: what is looked at.
        train: X (m, …) and y of some rows that it was trained on, as the loss takes them.
        held: the same of rows that it was not trained on, or None.

    Returns:
        Plain data: ``held`` (whether rows held out judge), ``loss`` on these rows without noise and penalty,
        ``larger`` (``factor``, ``loss`` and ``gain`` in standard errors of the best of the weights times 1.25 to 16),
        ``push`` and ``pull`` (by how much the loss on the rows trained on falls, and each penalty rises, for weights
        that grow e-fold, to first order), ``at_bound`` (share of units whose weights have the largest norm that is
        allowed), ``noise`` (layers that draw numbers), ``noisy_loss`` and ``quiet_loss`` (on the rows trained on, with
        and without them), ``signal`` (share of the variance of the outputs that comes from the inputs). None where
        nothing of the kind is set, or the loss tells nothing of single examples.

    Source: derived here; that a penalty balances the gradient at a minimum: Goodfellow et al., Deep Learning, 2016,
        section 7.1.1.
    """
    noise = list_noise(model, layers)
    sizes = [name for name in ("l1", "l2", "max_norm") if settings.get(name)]
    sizes += ["decay"] if decay_of(settings.get("optimizer")) else []
    if not (noise or sizes) or task.loss.per_example is None:
        return None
    judged = held if held is not None and len(held[0]) >= LEAST else train
    found: dict[str, Any] = {"held": judged is held, "noise": noise}
    with np.errstate(all="ignore"):
        found["loss"] = float(_losses(model, task, *judged).mean())
        if sizes:
            found |= _weights(model, task, settings, train, judged)
        if noise:
            found |= _disturbed(model, task, *train)
    return found


def decay_of(optimizer: Any) -> float:
    """The decoupled weight decay of an update rule, also within wrappers; 0 without.

    Example:
        >>> decay_of({"name": "lookahead", "optimizer": {"name": "adamw", "rate": 1e-3, "decay": 0.01}})
        0.01
    """
    while isinstance(optimizer, dict):
        if isinstance(optimizer.get("decay"), int | float) and not isinstance(optimizer["decay"], bool):
            return float(optimizer["decay"])
        optimizer = optimizer.get("optimizer")
    return 0.0


def list_noise(model: Any, layers: tuple[FlowLayer, ...]) -> list[dict[str, Any]]:
    """List the layers that draw numbers: their kind, how strong they are, and the layer looked at before them.

    Args:
        model: of layers.
        layers: what is looked at.

    Returns:
        Plain data: ``path``, ``kind``, ``value`` (rate or deviation), ``behind`` (a path, or None).

    Source: derived here.

    Example:
        >>> from undertow.nn import Sequential
        >>> list_noise(Sequential("relu", Dropout(0.5)), ())
        [{'path': 'layers[1]', 'kind': 'Dropout', 'value': 0.5, 'behind': None}]
    """
    ends = {x.h_path: x.path for x in layers}
    found: list[dict[str, Any]] = []
    behind = None
    for path, item in walk(model):
        value = item.rate if isinstance(item, Dropout) else item.deviation if isinstance(item, Noise) else 0
        if value > 0:
            found.append({"path": path, "kind": type(item).__name__, "value": float(value), "behind": behind})
        behind = ends.get(path, behind)
    return found


def _losses(model: Any, task: Task, X: Array, y: Array) -> Array:
    """The loss of each example, as in predictions."""
    per_example: Any = task.loss.per_example
    return np.asarray(per_example(call_inner("", model, X), y), np.float64)


def _weights(
    model: Any, task: Task, settings: Mapping[str, Any], train: tuple[Array, Array], judged: tuple[Array, Array]
) -> dict[str, Any]:
    """What larger weights would do to the loss, and what the penalties make of it."""
    before = _losses(model, task, *judged)
    tried = [(factor, _losses(_larger(model, factor), task, *judged)) for factor in FACTORS]
    factor, after = min(tried, key=lambda x: np.nan_to_num(x[1].mean(), nan=np.inf))
    fall = before - after
    error = float(fall.std() / np.sqrt(len(fall)))
    small = FACTORS[0]
    push = float((_losses(model, task, *train) - _losses(_larger(model, small), task, *train)).mean() / np.log(small))
    weights = [np.asarray(W, np.float64) for W in _trained(model).values()]
    pull = {
        "l2": float(settings.get("l2") or 0.0) * sum(float(np.sum(W * W)) for W in weights),
        "l1": float(settings.get("l1") or 0.0) * sum(float(np.sum(np.abs(W))) for W in weights),
    }
    found: dict[str, Any] = {
        "larger": {"factor": factor, "loss": float(after.mean()), "gain": float(fall.mean()) / max(error, 1e-300)},
        "push": push,
        "pull": {name: value for name, value in pull.items() if value > 0},
    }
    if settings.get("max_norm"):
        norms = np.concatenate([np.sqrt(np.sum(W * W, axis=tuple(range(W.ndim - 1)))) for W in weights])
        found["at_bound"] = float(np.mean(norms >= AT_BOUND * float(settings["max_norm"])))
    return found


def _trained(model: Any) -> dict[str, Any]:
    """The weights that penalties and bounds know: trained arrays of two axes or more, by path."""
    numbers = [x for x in trees.flatten(model)[0] if not callable(x)]
    paths = number_paths(model)
    return {paths[i]: numbers[i] for i in trained_numbers(model) if np.ndim(numbers[i]) > 1}


def _larger(model: Any, factor: float) -> Any:
    """The model with its weights so many times as large; biases and gains stay."""
    leaves, rebuild = trees.flatten(model)
    grown: set[int] = {id(W) for W in _trained(model).values()}
    change: Callable[[Any], Any] = lambda x: (x * factor).astype(x.dtype) if id(x) in grown else x  # noqa: E731
    return rebuild([change(x) for x in leaves])


def _disturbed(model: Any, task: Task, X: Array, y: Array) -> dict[str, Any]:
    """What the noise of the layers does to outputs and loss."""
    per_example: Any = task.loss.per_example
    outputs, losses = [], []
    for seed in range(DRAWS):
        with training(example_keys(seed, 0, len(X))):
            output = call_inner("", model, X)
        outputs.append(np.asarray(output, np.float64).reshape(len(X), -1))
        losses.append(float(np.mean(per_example(output, y))))
    whole = np.array(outputs)
    drawn = float(whole.var(axis=0, ddof=1).sum(axis=-1).mean())
    of_means = float(whole.mean(axis=0).var(axis=0, ddof=1).sum()) - drawn / DRAWS
    signal = max(of_means, 0.0)
    return {
        "noisy_loss": float(np.mean(losses)), "quiet_loss": float(_losses(model, task, X, y).mean()),
        "signal": signal / (signal + drawn) if signal + drawn > 0 else 1.0,
    }  # fmt: skip
