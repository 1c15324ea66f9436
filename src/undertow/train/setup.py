"""From what a caller gives to what a training needs: what cannot work is said here, before the first step."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from undertow import trees
from undertow.data import ArraySource, IterableSource, Source, as_arrays, open_source, split
from undertow.data.batches import read_whole
from undertow.data.datasets import Dataset
from undertow.data.source import read_weights
from undertow.errors import ArgumentError, DataError, DataWarning, ShapeError
from undertow.nn import Loss, class_weights, find_loss, initialize
from undertow.nn.layer import children, holds_parameters, is_layer
from undertow.nn.mode import example_keys, training
from undertow.nn.structure import read_dtype
from undertow.trace import describe_function
from undertow.trace.where import frames_of_ours
from undertow.train.assignments import read_attributes, warn_of_assignments
from undertow.train.calls import takes
from undertow.train.feed import ArrayFeed, Draws, Feed, SourceExamples, SourceFeed
from undertow.train.few import warn_of_none_held, warn_of_single
from undertow.train.forward import CHUNK
from undertow.train.metric import CLASSES, Metric, find_task
from undertow.train.metrics import is_told_by_name, read_metrics
from undertow.train.parameters import check_parameters
from undertow.train.plan import Plan, UsualShare
from undertow.train.task import Examples, Task, make_task

Array = NDArray[Any]

LARGEST_SEED = 2**64 - 1


@dataclass(frozen=True)
class Setup:
    """What a training needs.

    Attributes:
        model: with all its parameters.
        task: the loss, paired with the model.
        feed: the batches.
        held: what is held out, portion by portion: X, y, weights.
        metrics: what is measured.
        settings: all of it as plain data, for the run.
        extras: what the run keeps besides: of a table, its encoder.
    """

    model: Any
    task: Task
    feed: Feed
    held: Iterable[Examples] | None
    metrics: list[Metric]
    settings: dict[str, Any]
    extras: dict[str, Any]


def set_up(model: Any, data: Any, plan: Plan) -> Setup:
    """Check a model, data and settings against each other.

    Args:
        model: see `train`.
        data: see `train`.
        plan: the settings.

    Returns:
        What a training needs.

    Raises:
        ShapeError, DataError, ArgumentError: see `train`.

    Source: derived here.

    Example:
        >>> from undertow.nn import Dense
        >>> made = set_up(Dense(2, 1), (np.zeros((8, 2)), np.zeros(8)), Plan(loss="mean_squared_error"))
        >>> made.feed.n_examples, len(made.held[0][0])
        (7, 1)
    """
    check_model(model)
    seed = _read_seed(plan.seed)
    data, plan, extras = read_encoded(data, plan)
    whole = read_source(data)
    X, y, weights = read_examples(data) if whole is None else _read_head(whole)
    dtype = read_dtype(X.dtype if plan.dtype is None else plan.dtype)
    model = initialize(model, seed, dtype)
    check_parameters(model)
    X = X.astype(dtype, copy=False)
    chosen = _read_loss(plan.loss, model)
    n_leaves = len(trees.flatten(model)[0])
    task = make_task(chosen, model, X)
    y = task.read_target(y)
    before = read_attributes(model)
    draws = Draws(seed, draws_numbers(model, X), plan.mixup, dtype)
    warn_of_assignments(model, before, n_leaves)
    held: Iterable[Examples] | None
    n_held: int | None
    by_class: Array | None = None
    if whole is None:
        beside = _read_beside(plan.validation)
        (X, y, weights), part = _check_counts(*_hold_out(X, y, weights, plan.validation, seed, task, beside))
        by_class = _weigh_classes(y, plan.class_weights, task)
        feed: Feed = ArrayFeed(X, y, weights, plan.batch_size, draws, task, by_class)
        n_held, held = (0, None) if part is None else (len(part[0]), [part])
        held, n_held = (held, n_held) if beside is None else _held_in_blocks(beside, X, task, dtype, plan)
    else:
        feed = SourceFeed(whole, plan.batch_size, draws, task)
        held, n_held = _held_beside(plan, X, task, dtype)
    plan.check_updates(feed.n_examples)
    weighted = (
        weights is not None
        or by_class is not None
        or plan.mixup > 0
        or (whole is not None and whole.weighted)
        or _is_weighted(held)
    )
    if chosen.per_example is None and weighted:
        raise ArgumentError(
            f"the loss {describe_function(chosen.function)} gives one number for a batch, so examples cannot be "
            "weighed or mixed. Use one of undertow.nn.LOSSES, or leave weights, class_weights and mixup out."
        )
    metrics = choose_metrics(plan.metrics, task)
    settings = {
        "loss": chosen.name, "task": chosen.task, "logits": chosen.logits, "loss_settings": dict(chosen.settings),
        **plan.describe(), "seed": seed, "dtype": str(dtype), "metrics": [metric.name for metric in metrics],
        "example_shape": list(X.shape[1:]), "n_examples": feed.n_examples, "n_validation": n_held,
        **({"validation": None} if whole is not None and held is None else {}),
    }  # fmt: skip
    if own := [metric.name for metric in metrics if not is_told_by_name(metric)]:
        settings["own_metrics"] = own
    if by_class is not None:  # what "balanced" came to, for an export
        settings["class_weight_values"] = by_class.tolist()
    return Setup(model, task, feed, held, metrics, settings, extras)


def _read_loss(loss: Any, model: Any) -> Loss:
    """Find the loss, and see that it can be called."""
    chosen = find_loss(loss, model)
    if not takes(chosen.function, 2):
        raise ArgumentError(
            f"the loss {describe_function(chosen.function)} cannot be called with (output, y). "
            "Let it take two arguments: what the model gives, and the target."
        )
    return chosen


def _read_seed(given: Any) -> int:
    seed = read_whole(given, "seed", 0)
    if seed > LARGEST_SEED:
        raise ArgumentError(f"seed must be {LARGEST_SEED} at most, got {seed}.")
    return seed


def read_encoded(data: Any, plan: Plan) -> tuple[Any, Plan, dict[str, Any]]:
    """Take an encoded table apart.

    Args:
        data: an `undertow.data.EncodedTable` or `StreamedTable`; anything else stays as it is.
        plan: the settings; the rows that the table holds out are those to validate on unless others are told.

    Returns:
        What is trained on, the settings, and what the run keeps: the encoder, by which it takes tables.

    Source: derived here.

    Example:
        >>> read_encoded((1, 2), Plan(loss="mean_squared_error"))[0]
        (1, 2)
    """
    if not is_encoded(data):
        return data, plan, {}
    weights = getattr(data, "train_weights", None)
    share = plan.validation
    if isinstance(share, UsualShare):
        plan = replace(plan, validation=held_of(data))
    elif isinstance(data.train, Source) and isinstance(share, int | float | np.number) and share:
        raise ArgumentError(
            f"validation is {share!r}, but a streamed table holds rows out itself: "
            f"stream_table(…, validation={share!r}). Leave validation out to measure on these."
        )
    train = data.train if weights is None else (*data.train, weights)
    return train, plan, {"encoder": data.encoder.to_json_dict()}


def is_encoded(data: Any) -> bool:
    """Tell whether data are an encoded table; whoever has one has imported its module."""
    return type(data).__module__.startswith("undertow.data.") and hasattr(data, "encoder")


def held_of(table: Any) -> Any:
    """The rows that an encoded table holds out, with their weights; None where it holds out none."""
    weights = getattr(table, "validation_weights", None)
    return table.validation if weights is None or table.validation is None else (*table.validation, weights)


def read_source(data: Any) -> Source | None:
    """Return what reads the data block by block; None for arrays that are there."""
    if isinstance(data, Source):
        return None if isinstance(data, ArraySource) else data
    mapped = isinstance(data, tuple | list) and any(
        isinstance(part, np.memmap | str) or hasattr(part, "__fspath__") for part in data
    )
    return open_source(data) if mapped or callable(data) or _gives_batches(data) else None


def _read_beside(validation: Any) -> Source | None:
    """The source of what is held out, if it is one."""
    return validation if isinstance(validation, Source) else read_source(validation)


def _gives_batches(data: Any) -> bool:
    """Whether data are an iterable of batches: a generator, a list of pairs, a loader of another library."""
    if isinstance(data, list):
        return len(data) > 0 and all(isinstance(part, tuple) and part and hasattr(part[0], "shape") for part in data)
    if isinstance(data, tuple):  # of pairs: what is to be trained on, and what is held out
        return False
    is_array = any(hasattr(data, name) for name in ("__array__", "__dataframe__", "columns", "shape", "keys"))
    return isinstance(data, Iterable) and not is_array and not isinstance(data, str | bytes | Dataset)


def _read_head(source: Source) -> tuple[Array, Array, Array | None]:
    """The first examples of a source, to try things on."""
    X, y, *weights = source.head(CHUNK)
    return X, y, weights[0] if weights else None


def _held_beside(
    plan: Plan, X: Array, task: Task, dtype: np.dtype[Any]
) -> tuple[Iterable[Examples] | None, int | None]:
    """The validation part of a training on a source: given beside it."""
    if plan.class_weights is not None:
        raise ArgumentError("class_weights counts classes in arrays. For data read in blocks, give (X, y, weights).")
    wanted = plan.validation
    beside = _read_beside(wanted)
    if beside is not None:
        return _held_in_blocks(beside, X, task, dtype, plan)
    remedy = "Give validation=None, or what to validate on: a pair (X, y), a function that makes batches, or a source."
    if isinstance(wanted, UsualShare) or (isinstance(wanted, int | float | np.number) and wanted == 0):
        if wanted:
            told = "nothing is held out for validation, as data that are read in blocks cannot be split by a share."
            warnings.warn(f"{told} {remedy}", DataWarning, stacklevel=frames_of_ours())
        return None, 0
    if wanted is None:
        return None, 0
    if not isinstance(wanted, tuple | list):
        raise ArgumentError(
            f"validation is {wanted!r}, but data that are read in blocks cannot be split by a share. {remedy}"
        )
    _, part = _hold_out(X, X, None, wanted, 0, task)
    return (None, 0) if part is None else ([part], len(part[0]))


def _held_in_blocks(
    source: Source, X: Array, task: Task, dtype: np.dtype[Any], plan: Plan
) -> tuple[Iterable[Examples] | None, int | None]:
    """A source to validate on, of which the first examples are tried."""
    if isinstance(source, IterableSource) and source.once and plan.epochs != 1 and plan.steps is None:
        raise DataError(
            "validation is a generator, which is used up after one epoch, but it is measured after each. Give the "
            "function that makes it, not its result."
        )
    X_held, y_held, _ = _read_head(source)
    _check_columns(X_held, X)
    task.read_target(y_held, "the validation y")
    return SourceExamples(source, task, dtype), source.n_examples


def _check_columns(X_held: Array, X: Array) -> None:
    if X_held.shape[1:] != X.shape[1:]:
        raise ShapeError(
            f"the validation X is {X_held.shape}, X is {X.shape}: their columns differ. Give both the same columns."
        )


def _is_weighted(held: Iterable[Examples] | None) -> bool:
    """Whether held out examples have weights."""
    if isinstance(held, SourceExamples):
        return held.source.weighted
    return held is not None and any(weights is not None for _, _, weights in held)


def check_model(model: Any) -> None:
    """ArgumentError unless a model can be applied to X, and holds each of its layers once."""
    if hasattr(model, "forward") and not isinstance(model, type) and not callable(model):
        raise ArgumentError(f"{type(model).__name__} has a method forward, and none called __call__. Rename it.")
    if isinstance(model, type) or not callable(model):
        what = f"the class {model.__name__}" if isinstance(model, type) else f"{type(model).__name__}, not callable"
        raise ArgumentError(
            f"the model is {what}. Give a model such as undertow.nn.Sequential(Dense(4, 16), 'relu', Dense(16, 3)), "
            "or an instance of a dataclass with __call__(self, X)."
        )
    _check_once(model, "the model", {})


def _check_once(item: Any, place: str, seen: dict[int, str]) -> None:
    """ArgumentError for a layer with parameters in two places of a model: each place would train its own."""
    if is_layer(item) and holds_parameters(item):
        if id(item) in seen:
            raise ArgumentError(
                f"the model holds one {type(item).__name__} in two places, {seen[id(item)]} and {place}, which would "
                "be trained apart. Give each place a layer of its own; to share one, hold it in one field of a "
                "dataclass and call it twice in its __call__."
            )
        seen[id(item)] = place
    for end, part in children(item):
        _check_once(part, end.removeprefix(".") if place == "the model" else place + end, seen)


def draws_numbers(model: Any, X: Array) -> bool:
    """Tell whether a model draws random numbers while it trains, by applying it to the last rows."""
    rows = X[-2:]
    with np.errstate(all="ignore"), training(example_keys(0, 0, len(rows))) as made:
        model(rows)
    return made.draws > 0


def read_examples(data: Any, part: str = "training") -> tuple[Array, Array, Array | None]:
    """X, y and weights of the examples."""
    weights = None
    if isinstance(data, ArraySource):
        return data.X, data.y, data.weights
    if isinstance(data, tuple | list) and len(data) == 3:
        *data, weights = data
    X, y = as_arrays(tuple(data) if isinstance(data, list) else data, part)
    if weights is not None:
        weights = read_weights(weights, len(X), "weights" if part == "training" else f"the {part} weights")
    return X, y, weights


def _hold_out(
    X: Array, y: Array, weights: Array | None, validation: Any, seed: int, task: Task, beside: Source | None = None
) -> tuple[Examples, Examples | None]:
    """Split off the validation part, unless it is given beside, in blocks."""
    if validation is None or beside is not None:
        return (X, y, weights), None
    if isinstance(validation, tuple | list):
        X_held, y_held, w_held = read_examples(validation, "validation")
        _check_columns(X_held, X)
        held = X_held.astype(X.dtype, copy=False), task.read_target(y_held, "the validation y"), w_held
        return (X, y, weights), held
    if isinstance(validation, bool) or not isinstance(validation, int | float | np.number):
        found = repr(validation) if isinstance(validation, str | bool) else type(validation).__name__
        raise ArgumentError(f"validation is {found}. Give a share such as 0.1, a pair (X, y), or None.")
    labels = y if task.classifies and y.ndim == 1 else None
    kept, out = split(len(X), float(validation), seed, labels)
    if len(out) == 0:
        warn_of_none_held(float(validation))
    elif labels is not None:
        warn_of_single(labels, "trained on, so that no example held out tells how well it is known.")
    take: Callable[[Any], Examples] = lambda rows: (X[rows], y[rows], None if weights is None else weights[rows])  # noqa: E731
    return take(kept), take(out) if len(out) else None


def _check_counts(kept: Examples, held: Examples | None) -> tuple[Examples, Examples | None]:
    """The parts; DataError where all examples of one have the weight 0: no loss of them is a number."""
    weights = kept[2]
    if weights is not None and not weights.any():
        raise DataError(
            f"the weights of all {len(weights)} examples to train on are 0: none counts. Give some a weight above 0."
        )
    if held is not None and held[2] is not None and not held[2].any():
        raise DataError(
            f"the weights of all {len(held[2])} examples held out are 0: none counts. Hold others out, with another "
            "validation= or seed=, or none."
        )
    return kept, held


def _weigh_classes(y: Array, wanted: Any, task: Task) -> Array | None:
    """What an example of each class counts; None where all count alike."""
    if wanted is None:
        return None
    if not task.classifies:
        raise ArgumentError(f"class_weights needs classes, but the loss is {task.loss.name}. Leave it out.")
    labels = task.find_classes(y)
    if len(labels) != len(y):
        raise ArgumentError(
            "class_weights needs one class an example, but y has several columns. Give weights instead."
        )
    n_classes = task.output_shape[0] if task.loss.task == "categorical" else 2
    found = class_weights(labels, wanted, n_classes).astype(np.float32)
    by_class = np.ones(n_classes, np.float32)
    by_class[labels] = found
    if not found.any():
        raise ArgumentError(f"class_weights are {by_class.tolist()}: no example counts. Give a class a weight above 0.")
    return by_class


def choose_metrics(metrics: Any, task: Task) -> list[Metric]:
    """Read the metrics to measure: accuracy wherever there are classes, unless told."""
    kind = find_task(task.loss.task, task.output_shape)
    if metrics is None:
        metrics = ["accuracy"] if kind in CLASSES else []
    return read_metrics(metrics, kind, task.n_classes)
