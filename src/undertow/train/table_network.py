"""From settings to a network and a plan of its training."""

from __future__ import annotations

import inspect
import itertools
import os
from dataclasses import replace
from typing import Any

from undertow import nn, optim
from undertow.errors import ArgumentError
from undertow.nn.configured import settings_of
from undertow.nn.layers import AUTO
from undertow.train.choices import Choice, choose_average, share_dropout
from undertow.train.plan import Plan, read_count
from undertow.train.stopping import EarlyStopping
from undertow.train.table_rate import make_optimizer, make_plateau
from undertow.train.table_settings import TableSettings, choose_name, offer_names, read_rule

NORMS = {"none": None, "batch": nn.BatchNorm, "layer": nn.LayerNorm, "rms": nn.RMSNorm}
CLIPS = {
    "norm": "clip_by_global_norm",
    "value": "clip_by_value",
    "each": "clip_by_norm",
    "layer": "clip_by_layer_norm",
    "adaptive": "clip_adaptive",
}
_MOST_PARAMETERS = 2_000_000_000
BYTES_A_PARAMETER = 4 * 6  # float32: the parameter, its gradient, two moments, and the new values while a step lasts
_EMBEDDING = (2, 32)  # the smallest and the largest size


def complete(settings: TableSettings, choice: Choice, classifies: bool, n_rows: int = 0) -> TableSettings:
    """Fill in what was not told.

    Args:
        settings: those given.
        choice: from `choose_settings`.
        classifies: whether the target is a class.
        n_rows: rows to train on.

    Returns:
        Settings of which none is left to choose, except for those that mean "none" where they are absent: completed
        once more, of other rows too, they stay as they are.

    Raises:
        ArgumentError: an unknown name among the settings, with the names that there are.

    Source: derived here.
    """
    given = settings.optimizer is not None
    rule = read_rule(settings.optimizer or choice.optimizer, "--optimizer")
    name = choose_name(rule["name"], "--optimizer", optim.OPTIMIZERS)
    rate = choice.rate if name == choice.optimizer else usual_rate(name)
    plain = given and settings.schedule is None  # an optimizer of one's own keeps its rate and decay, unless told
    decay = choice.decay if name == choice.optimizer and not plain else usual_decay(name)
    chosen = TableSettings(
        validation=0.0, scaling="auto", categories="one_hot", min_count=1, dates="auto", decimal="auto", seed=0,
        dtype="float32", hidden=choice.hidden, activation=choice.activation, norm="none", residual=False,
        init=AUTO, noise=0.0, output_activation="none", start_at_frequencies=False,
        dropout=share_dropout(choice.dropout, len(choice.hidden if settings.hidden is None else settings.hidden)),
        loss="categorical_cross_entropy" if classifies else "mean_squared_error",
        optimizer=name, rate=rate, decay=None if "decay" in rule else decay,
        schedule="constant" if plain else choice.schedule,
        warmup=0.0 if plain else choice.warmup,
        epochs=choice.epochs if settings.steps is None else None,
        batch_size=choice.batch_size, early_stopping=choice.early_stopping, accumulate=1, l1=0.0, l2=0.0, mixup=0.0,
        non_finite="raise", metrics=["accuracy"] if classifies else ["rmse"],
    )  # fmt: skip
    found = settings.over(chosen)
    return replace(found, average=choose_average(n_rows, found.epochs)) if found.average is None else found


def usual_rate(name: str) -> float:
    """Return the learning rate of an optimizer that is not told one; sgd and momentum take larger ones here."""
    usual = {"sgd": 0.1, "momentum": 0.05, "nesterov": 0.05}
    found = usual.get(name) or inspect.signature(optim.OPTIMIZERS[name]).parameters["rate"].default
    return 1e-3 if found is inspect.Parameter.empty else float(found)


def usual_decay(name: str) -> float | None:
    """Return the weight decay of an optimizer that is not told one: that of adamw; None of the others."""
    if name != "adamw":
        return None
    return float(inspect.signature(optim.adamw).parameters["decay"].default)


def build_network(settings: TableSettings, n_features: int, n_outputs: int, codes: Any = ()) -> nn.Sequential:
    """Build a network of dense layers.

    Args:
        settings: complete.
        n_features: columns of X.
        n_outputs: classes, or columns of the target.
        codes: features that hold codes, each for an embedding; `undertow.data.CodeFeature`.

    Returns:
        The network: noise; of each hidden layer Dense, normalisation, activation and dropout; then the last Dense and
        its activation.

    Raises:
        ArgumentError: a network larger than memory; an unknown name.

    Source: derived here; embeddings: Guo and Berkhahn, Entity embeddings of categorical variables, 2016.

    Example:
        >>> settings = TableSettings(hidden=[8], activation="tanh", norm="layer", dropout=0.1, residual=False)
        >>> build_network(settings, 4, 3)
        Sequential(Dense(4, 8), LayerNorm(8), tanh, Dropout(rate=0.1), Dense(8, 3))
    """
    activation = read_function(settings.activation or "relu", "--activation", nn.ACTIVATIONS)
    norm = NORMS[choose_name(settings.norm or "none", "--norm", NORMS)]
    init = read_initialiser(settings.init or AUTO)
    layers: list[Any] = []
    width = n_features
    if codes:
        columns = {code.index: (code.cardinality, size_of_embedding(code.cardinality)) for code in codes}
        layers.append(nn.EmbedColumns(n_features, columns))
        width = layers[0].fan_out
    layers += [nn.Noise(settings.noise)] if settings.noise else []
    hidden = settings.hidden or []
    check_size([width, *hidden, n_outputs])
    for size in hidden:
        block: list[Any] = [nn.Dense(width, size, init=init)]
        block += [] if norm is None else [norm(size)]
        block += [activation]
        block += [nn.Dropout(settings.dropout)] if settings.dropout else []
        layers += [nn.Residual(*block, projection="auto")] if settings.residual else block
        width = size
    return nn.Sequential(*layers, nn.Dense(width, n_outputs, init=init), *_read_end(settings.output_activation))


def _read_end(text: str | None) -> list[Any]:
    """The activation that a network ends in, if any."""
    return [] if text in (None, "none") else [read_function(text, "--output-activation", nn.ACTIVATIONS)]


def size_of_embedding(n: int) -> int:
    """Choose the size of an embedding of n codes: 1.6 n^0.56, as in fastai, from 2 to 32."""
    low, high = _EMBEDDING
    return int(min(high, max(low, round(1.6 * n**0.56))))


def check_size(sizes: list[int]) -> int:
    """Count the parameters of dense layers of these widths; ArgumentError for more than can be trained here."""
    count = sum(a * b + b for a, b in itertools.pairwise(sizes))
    most, why = _MOST_PARAMETERS, f"more than {_MOST_PARAMETERS:,}"
    if hasattr(os, "sysconf") and (memory := os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")) > 0:
        most, room = min(most, memory // BYTES_A_PARAMETER), memory / 2**30
        why = f"more than the {most:,} that training has room for here ({room:.0f} GiB of memory)"
    if count > most:
        hidden = ",".join(map(str, sizes[1:-1]))
        raise ArgumentError(
            f"--hidden {hidden}: the network would have {count:,} parameters, {why}. Give smaller sizes."
        )
    return count


def make_plan(settings: TableSettings, n_rows: int | None, classifies: bool, **others: Any) -> Plan:
    """Make the plan of a training.

    Args:
        settings: complete.
        n_rows: rows to train on; None where the number is not known.
        classifies: whether the target is a class.
        others: further settings of the plan: validation, checkpoint, progress, callbacks.

    Returns:
        The plan.

    Raises:
        ArgumentError: an unknown name, a number out of range.

    Source: derived here.
    """
    patience = settings.early_stopping
    for name in ("batch_size", "accumulate"):  # before the schedule divides by them
        if getattr(settings, name) is not None:
            read_count(name, getattr(settings, name))
    held = others.get("validation") is not None
    stopping = EarlyStopping("validation_loss" if held else "loss", patience) if patience else None
    if patience is not None and patience < 0:
        raise ArgumentError(f"--early-stopping {patience}: give a number of epochs, or 0 for none.")
    return Plan(
        loss=read_loss(settings, classifies),
        optimizer=make_optimizer(settings, n_rows),
        clip=make_clip(settings.clip),
        early_stopping=stopping,
        reduce_on_plateau=make_plateau(settings, held),
        epochs=settings.epochs,
        steps=settings.steps,
        seconds=settings.time_budget,
        batch_size=64 if settings.batch_size is None else settings.batch_size,
        accumulate=1 if settings.accumulate is None else settings.accumulate,
        non_finite=settings.non_finite or "raise",
        l1=settings.l1 or 0.0,
        l2=settings.l2 or 0.0,
        max_norm=settings.max_norm,
        mixup=settings.mixup or 0.0,
        class_weights=settings.class_weights,
        average=settings.average or 0.0,
        metrics=settings.metrics,
        seed=settings.seed or 0,
        dtype=settings.dtype,
        checkpoint_every=settings.checkpoint_every,
        flow=settings.flow is not False,
        **others,
    )


def is_binary(settings: TableSettings) -> bool:
    """Whether the loss is one of two classes, with a single output."""
    loss = nn.LOSSES.get(read_rule(settings.loss or "", "--loss")["name"])
    return loss is not None and loss.task == "binary"


def count_outputs(settings: TableSettings, n_outputs: int) -> int:
    """Count the outputs of the network: one for a binary loss; ArgumentError where that meets more than two classes."""
    if not is_binary(settings):
        loss = nn.LOSSES.get(read_rule(settings.loss or "", "--loss")["name"])
        return n_outputs * (1 if loss is None else loss.columns)
    if n_outputs > 2:
        raise ArgumentError(
            f"--loss {settings.loss}: it is for two classes, but the target has {n_outputs}. Use "
            "categorical_cross_entropy."
        )
    return 1


def read_loss(settings: TableSettings, classifies: bool) -> Any:
    """Read the loss; ArgumentError where it does not go with the target."""
    record = read_rule(settings.loss or "", "--loss")
    tasks = ("categorical", "binary") if classifies else ("regression",)
    fitting = [
        name
        for name, loss in nn.LOSSES.items()
        if loss.task in tasks and (not loss.logits or loss.end is None) and name not in ("kullback_leibler", "cosine")
    ]
    if record["name"] not in fitting:
        what = "classes" if classifies else "a number"
        raise ArgumentError(f"--loss {record['name']}: the target is {what}. {offer_names(record['name'], fitting)}")
    if settings.label_smoothing:
        record["label_smoothing"] = settings.label_smoothing
    _check_end(settings, nn.LOSSES[record["name"]])
    return nn.build_loss(record)


def _check_end(settings: TableSettings, loss: nn.Loss) -> None:
    """ArgumentError where a network ends in what makes no probabilities of scores, for a loss that takes them."""
    text = settings.output_activation or "none"
    if loss.end is not None and read_rule(text, "--output-activation")["name"] not in ("none", "identity", loss.end):
        raise ArgumentError(
            f"--output-activation {text}: --loss {loss.name} takes probabilities, which {loss.end} makes of scores of "
            f"any size. Leave --output-activation out, or give {loss.end}."
        )


def make_clip(text: str | None) -> Any:
    """Make the clipping that a text tells of: ``"1"`` or ``"norm=1"``, ``"value=0.5"``, …"""
    if text is None:
        return None
    kind, equal, limit = text.rpartition("=")
    kind = kind if equal else "norm"
    name = CLIPS[choose_name(kind, "--clip", CLIPS)]
    try:
        return optim.build_clip({"name": name, "limit": float(limit)})
    except ValueError as error:
        if isinstance(error, ArgumentError):
            raise
        raise ArgumentError(f"--clip {text}: give a number, for example --clip norm=1.") from None


def read_function(text: str, option: str, table: Any) -> Any:
    """Read an activation with its settings: ``"leaky_relu:slope=0.1"``."""
    record = read_rule(text, option)
    choose_name(record["name"], option, table)
    if settings_of(table[record["name"]]) or len(record) > 1:
        return nn.build_activation(record)
    return record["name"]


def read_initialiser(text: str) -> Any:
    """Read an initialiser with its settings: ``"normal:deviation=0.1"``; ``"auto"`` goes by what follows a layer.

    Example:
        >>> read_initialiser("orthogonal:gain=1.4")
        orthogonal(gain=1.4)
    """
    record = read_rule(text, "--init")
    if text == AUTO:
        return text
    choose_name(record["name"], "--init", nn.INITIALISERS)
    return nn.build_initialiser(record) if len(record) > 1 else record["name"]


def with_epochs(settings: TableSettings, **longer: Any) -> TableSettings:
    """The settings with another end."""
    return replace(settings, **{name: value for name, value in longer.items() if value is not None})
