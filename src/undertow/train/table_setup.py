"""A training on a table, set up: settings completed by the table, the network, the plan."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from undertow.data.wording import closest_name, list_names, suggest_name
from undertow.errors import ArgumentError
from undertow.nn import Sequential, bias_from_frequencies
from undertow.nn.from_data import start_near
from undertow.nn.layers import AUTO
from undertow.train.choices import choose_folds, choose_refit, choose_settings
from undertow.train.class_metrics import place_of_class, read_class_metrics
from undertow.train.table_data import Table
from undertow.train.table_network import build_network, complete, count_outputs, make_plan
from undertow.train.table_settings import TableSettings
from undertow.train.trainer import Trainer

SetUp = Callable[[Path | None, bool], Trainer]
_TOLD: Final = (
    "hidden", "dropout", "rate", "decay", "activation", "norm", "residual", "init", "noise", "output_activation",
    "start_at_frequencies", "loss", "optimizer", "schedule",
)  # fmt: skip
_ENOUGH: Final = 40  # rows held out that tell one network from another
_LEAST: Final = 20  # rows that are trained on, of which several parts can be held out
_EXAMPLES = 4  # rows kept in the run, for the pages that explain it


def prepare(
    table: Table, settings: TableSettings, callbacks: Sequence[Any] = ()
) -> tuple[TableSettings, Sequential, SetUp]:
    """Complete settings by a table.

    Args:
        table: from `load_table`.
        settings: those given.
        callbacks: of a training that is kept in a folder.

    Returns:
        The complete settings, the network, and a function of (folder, progress) that sets the training up; without
        a folder nothing is kept.

    Raises:
        ArgumentError: what does not go with the table.

    Source: derived here.
    """
    task = "classification" if table.classifies else "regression"
    choice = choose_settings(table.n_rows, table.n_features, task, table.n_outputs)
    refit = decide_refit(settings, table)
    folds = decide_folds(settings, table, refit)
    other = decide_other(settings, table, refit, folds)
    settings = complete(settings.over(table.settings), choice, table.classifies, table.n_rows)
    settings = replace(settings, refit=refit, folds=folds, other=other)
    known = ("task", "data_digest", "data_bytes", "memory", "cache")
    settings = replace(settings, **{name: getattr(table.settings, name) for name in known})
    settings = replace(settings, scaling=table.settings.scaling or settings.scaling)  # "auto" may have been decided
    if settings.threads is not None:
        from undertow.compile import set_threads

        set_threads(settings.threads)
    codes = [] if table.encoder is None else table.encoder.codes
    model = build_network(settings, table.n_features, count_outputs(settings, table.n_outputs), codes)
    model = start_network(model, settings, table)
    extras = {
        "encoder": None if table.encoder is None else table.encoder.to_json_dict(),
        "example": _examples(table),
        "report": table.report,
        "weights": settings.weights,
    } | ({"header": False} if settings.header is False else {})
    plan = make_plan(replace(settings, class_weights=None), table.n_rows, table.classifies, validation=table.validation)
    names = read_class_metrics(settings.metrics, _classes(table), count_outputs(settings, table.n_outputs))
    plan = replace(plan, class_weights=read_class_weights(settings.class_weights, table), metrics=names)
    if settings.refit_epochs is not None:
        plan = replace(plan, epochs=settings.refit_epochs, early_stopping=None)

    def set_up(folder: Path | None, progress: bool) -> Trainer:
        called = () if folder is None else callbacks
        trainer = Trainer(model, table.train, replace(plan, checkpoint=folder, progress=progress, callbacks=called))
        trainer.run.extras = extras
        return measure_in_units(trainer, table)

    return settings, model, set_up


def start_network(model: Sequential, settings: TableSettings, table: Table) -> Sequential:
    """Let a network begin by giving the frequencies of the classes, where that was told; or as one that knows nothing.

    The latter where a loss takes the logarithm of a variance: by a small one that is drawn at random, squares are
    divided. It begins near 0 then, that of a target which is standardised.

    Args:
        model: its parameters not drawn.
        settings: complete.
        table: what it is to be trained on.

    Returns:
        The network; the last layer has small weights still to be drawn, and biases.

    Raises:
        ArgumentError: the target is a number, or is read in blocks.

    Source: as `undertow.nn.start_at_frequencies`.
    """
    n = count_outputs(settings, table.n_outputs)
    if n > table.n_outputs and settings.init in (None, AUTO):
        return start_near(model, np.zeros(n), dtype=settings.dtype or np.float32)
    if not settings.start_at_frequencies:
        return model
    if not table.classifies:
        raise ArgumentError(
            "--start-at-frequencies: the target is a number, not a class. Leave it out; --target-scaling standard lets "
            "a number begin at its mean."
        )
    if not isinstance(table.train, tuple):
        raise ArgumentError("--start-at-frequencies counts classes in memory. Leave it out, or give more --memory.")
    biases = bias_from_frequencies(table.train[1], n)
    return start_near(model, biases, dtype=settings.dtype or np.float32)


def measure_in_units(trainer: Trainer, table: Table) -> Trainer:
    """Let the metrics of a number be measured in the unit of its column; the loss stays that of the scaled one.

    Args:
        trainer: before its first step.
        table: what it trains on.

    Returns:
        The same trainer.

    Source: derived here.
    """
    if table.encoder is not None and not table.classifies:
        trainer.task = replace(trainer.task, decode=table.encoder.decode)
    return trainer


def decide_refit(settings: TableSettings, table: Table) -> bool:
    """Whether to train again on all rows: as told, else of small tables where no other end of training was told."""
    held = table.validation is not None
    if settings.refit is None:
        ends = (settings.epochs, settings.steps, settings.time_budget, settings.early_stopping, settings.validation)
        small = isinstance(table.train, tuple) and table.encoder is not None and choose_refit(table.n_rows)
        return held and small and all(end is None for end in ends)
    if settings.refit and not (held and isinstance(table.train, tuple) and table.encoder is not None):
        raise ArgumentError(
            "--refit: it takes a table that fits into memory, and rows held out to find the number of epochs. Give "
            "--validation 0.2, or --no-refit."
        )
    if settings.refit and (settings.steps is not None or settings.time_budget is not None):
        raise ArgumentError("--refit goes by epochs: give --epochs instead of --steps or --time-budget, or --no-refit.")
    return settings.refit


def decide_folds(settings: TableSettings, table: Table, refit: bool) -> int:
    """Decide how many parts of the rows are held out in turn.

    Args:
        settings: those given.
        table: to train on.
        refit: whether a second training follows, on all rows.

    Returns:
        The number; 1 where the part that the first training holds out is the only one.

    Raises:
        ArgumentError: several are asked for where there can be none.

    Source: derived here.
    """
    dealt = refit and settings.groups is None and settings.time is None
    if settings.folds is None:
        return choose_folds(table.n_rows) if dealt and table.n_rows > _LEAST and settings.refit is None else 1
    if settings.folds > 1 and not dealt:
        raise ArgumentError(
            f"--folds {settings.folds}: rows are held out in turn where all are trained on again, and none belong to "
            "groups or times. Leave it out, or give --refit."
        )
    if settings.folds > 1 and table.n_rows <= _LEAST:
        raise ArgumentError(
            f"--folds {settings.folds}: {table.n_rows} rows to train on are too few to hold parts of them out in turn, "
            f"which takes {_LEAST + 1}. Give --folds 1."
        )
    if settings.folds != 1 and not 3 <= settings.folds <= table.n_rows:  # two would train on the part held out alone
        raise ArgumentError(f"--folds {settings.folds}: give 1, or 3 to {table.n_rows}, the rows to train on.")
    return settings.folds


def decide_other(settings: TableSettings, table: Table, refit: bool, folds: int) -> bool:
    """Decide whether another training is tried.

    Args:
        settings: those given.
        table: to train on.
        refit: whether a second training follows, on all rows.
        folds: how many parts are held out in turn.

    Returns:
        Whether: as told, else where enough rows are held out and nothing is told of the network.

    Raises:
        ArgumentError: it is asked for where it cannot be.

    Source: derived here.
    """
    if settings.other and not refit:
        raise ArgumentError("--other: it is for where all rows are trained on again. Leave it out, or give --refit.")
    if settings.other is not None:
        return settings.other
    enough = refit and len(table.validation[0]) + (table.n_rows if folds > 1 else 0) >= _ENOUGH
    return enough and all(getattr(settings, name) is None for name in _TOLD)


def read_class_weights(text: str | None, table: Table) -> Any:
    """Read weights of classes: ``"balanced"``, or ``"yes=5,no=1"``; classes that are not named count 1."""
    if text is None or text == "balanced":
        return text
    if not table.classifies:
        raise ArgumentError(f"--class-weights {text}: the target is a number, not a class. Leave it out.")
    labels = _classes(table) or []
    found: dict[int, float] = {}
    write = f"Write {_meant_class_weights(text, labels)}."
    if "=" not in text:
        raise ArgumentError(f"--class-weights {text}: there is no such rule. Write balanced, or {write[6:]}")
    for part in text.split(","):
        label, _, weight = part.rpartition("=")
        place = place_of_class(label, labels)
        if place is None:
            raise ArgumentError(
                f"--class-weights {text}: there is no class {suggest_name(label.strip(), labels)}. The classes are "
                f"{list_names(labels)}. {write}"
            )
        if not _is_number(weight):
            raise ArgumentError(f"--class-weights {text}: {weight.strip()!r} is no number. {write}")
        if place in found:
            raise ArgumentError(f"--class-weights {text}: {labels[place]!r} is named twice. Name each class once.")
        found[place] = float(weight)
    return [found.get(place, 1.0) for place in range(len(labels))]


def _classes(table: Table) -> list[str] | None:
    """The names of the classes; None where the target is a number."""
    if not table.classifies:
        return None
    return [str(k) for k in range(table.n_outputs)] if table.encoder is None else [*map(str, table.encoder.classes)]


def _meant_class_weights(text: str, labels: Sequence[str]) -> str:
    """The weights that were meant: numbers as they were given, with classes that there are."""
    told = [part.rpartition("=") if "=" in part else (part, "=", "") for part in text.split(",")]
    left = [label for label in labels if label not in [name.strip() for name, _, _ in told]]
    found: dict[str, str] = {}
    for name, _, weight in told:
        label = name.strip()
        if label not in labels:
            label = closest_name(label, left) or next(iter(left), labels[0])
        left = [x for x in left if x != label]
        found.setdefault(label, weight.strip() if _is_number(weight) else "5")
    return ",".join(f"{label}={weight}" for label, weight in found.items())


def _is_number(text: str) -> bool:
    """Whether a text is a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def _examples(table: Table) -> dict[str, Any]:
    """A few rows, for the pages that explain the run."""
    data = table.train
    X, y = data[:2] if isinstance(data, tuple) else data.head(_EXAMPLES)[:2]
    return {"X": np.asarray(X[:_EXAMPLES]).tolist(), "y": np.asarray(y[:_EXAMPLES]).tolist()}
