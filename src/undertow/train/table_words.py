"""What was chosen for a table, and how good the run became, in sentences."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from undertow.data.memory import show_bytes
from undertow.data.wording import count
from undertow.nn import expected_shapes
from undertow.nn.layers import AUTO
from undertow.train.class_metrics import rare_class, read_class_metrics, tell_class
from undertow.train.run import Run
from undertow.train.table_data import Table
from undertow.train.table_network import BYTES_A_PARAMETER, count_outputs
from undertow.train.table_rate import count_warmup
from undertow.train.table_settings import TableSettings

_WIDE: Final = 20_000  # numbers of an example


def tell_choices(settings: TableSettings, table: Table, model: Any) -> list[str]:
    """Say in sentences how a network is trained.

    Args:
        settings: complete.
        table: what it is trained on.
        model: the network.

    Returns:
        Sentences.

    Source: derived here.
    """
    parameters = sum(math.prod(shape) for shape in expected_shapes(model).values())
    hidden = settings.hidden or []
    widths = [table.n_features, *hidden, count_outputs(settings, table.n_outputs)]
    extras = [f"{settings.norm} normalisation"] * (settings.norm != "none")
    extras += [f"dropout {settings.dropout:g}"] * bool(settings.dropout) + ["residual"] * bool(settings.residual)
    extras += [f"initial weights {settings.init}"] * (settings.init not in (None, AUTO))
    extras += [f"noise {settings.noise or 0:g} on the inputs"] * bool(settings.noise)
    extras += [f"ends in {settings.output_activation}"] * (settings.output_activation not in (None, "none"))
    extras += ["begins at the frequencies of the classes"] * bool(settings.start_at_frequencies)
    kind = ", ".join([*([settings.activation or ""] if hidden else []), *extras])
    shown = " → ".join(map(str, widths))
    said = [f"network {shown}{f', {kind}' if kind else ''}, {settings.loss}: {parameters:,} parameters."]
    said += _tell_wide(table, widths)
    decay = f", weight decay {settings.decay:g}" if settings.decay else ""
    said.append(
        f"{settings.optimizer}: learning rate {settings.rate:g} "
        f"({settings.schedule}{_tell_warmup(settings, table.n_rows)}){decay}, batches of "
        f"{settings.batch_size}{_tell_large(settings, table)}."
    )
    ends = [count(settings.epochs, "epoch")] if settings.epochs else []
    ends += [count(settings.steps, "step")] if settings.steps else []
    ends += [f"{settings.time_budget:g} seconds"] if settings.time_budget else []
    end = f"at most {' or '.join(ends)}"
    if settings.early_stopping:
        watched = "validation loss" if table.validation is not None else "training loss"
        end += f"; ends when the {watched} has not fallen for {settings.early_stopping}, and keeps the best epoch"
    again = ", then again on all rows for as many epochs" if settings.refit else ""
    if settings.other:
        again = ", then once more with other settings, and with the better ones on all rows for as many epochs"
    if (settings.folds or 1) > 1:
        tried = ", with other settings too," if settings.other else ""
        again = f", then {settings.folds} parts held out in turn{tried} tell how to train again on all rows"
    said.append(f"{end}{again}.")
    if settings.average:
        reach = count(round(1 / (1 - settings.average)), "epoch")
        said.append(f"the weights are averaged over about {reach}: each counts {settings.average:g} of the next.")
    numbered = read_class_metrics(settings.metrics, (table.encoder.classes if table.encoder else ()) or None, 1)
    pairs = zip(settings.metrics or (), numbered or (), strict=True)
    said += [f"{number} in what follows is {name}." for name, number in pairs if name != number]
    in_units = [name for name in settings.metrics or () if name != "r2"]  # which has none
    if table.encoder is not None and not table.classifies and in_units:
        measured = " and ".join(in_units)
        verb = "are" if len(in_units) > 1 else "is"
        said.append(f"{measured} {verb} of {settings.target!r} in its own unit; the loss is of the scaled one.")
    return said


def _tell_warmup(settings: TableSettings, n_rows: int) -> str:
    """Say how long the rate rises; where there are too few updates for what was wanted, how many of them."""
    if not settings.warmup:
        return ""
    epochs = f"{settings.warmup:g} epoch{'s' * (settings.warmup != 1)}"
    rise, wanted, total = count_warmup(settings, n_rows)
    if rise == wanted:
        return f", after a warm-up of {epochs}"
    if not rise:
        return f", without the warm-up of {epochs}, as there is one update in all"
    return f", after a warm-up of {count(rise, 'update')}, not {epochs}, as there are {total} updates in all"


def _tell_wide(table: Table, widths: list[int]) -> list[str]:
    """Say what many numbers an example cost: parameters of the first layer, and memory for the rows."""
    if table.n_features < _WIDE or not isinstance(table.train, tuple):
        return []
    first = widths[0] * widths[1] + widths[1]
    return [
        f"{first:,} of them are in the first layer, as each of the {table.n_features} numbers of an example has its "
        f"own; training them takes about {show_bytes(first * BYTES_A_PARAMETER)} of memory, beside "
        f"{show_bytes(table.train[0].nbytes)} for the rows."
    ]


def _tell_large(settings: TableSettings, table: Table) -> str:
    """Say where a batch holds more rows than there are: an epoch is one step then."""
    n = table.n_rows
    return f", more than the {n} rows: an epoch is a single step" if n and (settings.batch_size or 0) > n else ""


def summarize(run: Run, table: Table) -> str:
    """Say how good a run is on the rows held out, in the target's own unit."""
    if "held_out" in run.extras:
        return f"{run.extras['held_out']['summary']}, before training again on all rows"
    if table.validation is None:
        return "no rows were held out: how well it predicts new rows is not known."
    encoder = table.encoder
    decode = np.ravel if table.classifies or encoder is None else lambda y: np.ravel(encoder.decode(y))
    parts = [(decode(y), decode(run.predict(X)), *rest) for X, y, *rest in _blocks(table.validation)]
    wanted, found, *rest = (np.concatenate(part) for part in zip(*parts, strict=True))
    weights = rest[0] if rest and rest[0].any() else np.ones(len(wanted))
    rows = f"({count(len(wanted), 'row')}{', weighed' if rest else ''})"
    if table.classifies:
        text = f"held-out accuracy {np.average(found == wanted, weights=weights):.2%} {rows}"
        if encoder is None or table.n_outputs != 2:
            return text
        rare = rare_class(run)
        return f"{text}; {tell_class(wanted, found, rare, encoder.classes[rare], weights)}"
    centre = np.average(wanted, weights=weights)
    error, spread = (_root_mean_square(x, weights) for x in (wanted - found, wanted - centre))
    share = f", R² {1 - (error / spread) ** 2:.4f}" if spread else ""
    return f"held-out root mean squared error {error:.6g}{share} {rows}"


def _root_mean_square(x: Any, weights: Any) -> float:
    """By the largest, whose square may overflow."""
    largest = float(np.max(np.abs(x)))
    if not 0 < largest < math.inf:
        return largest
    return largest * float(np.average((x / largest) ** 2, weights=weights)) ** 0.5


def _blocks(data: Any) -> Any:
    """X, y and, where there are some, weights of the rows held out, portion by portion."""
    if isinstance(data, tuple):
        yield data
        return
    with data.epoch(0, batch_size=4096) as blocks:
        yield from blocks
