"""What was chosen for a table, in sentences."""

from __future__ import annotations

import math
from typing import Any

from undertow.nn import expected_shapes
from undertow.train.table_data import Table
from undertow.train.table_settings import TableSettings


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
    count = sum(math.prod(shape) for shape in expected_shapes(model).values())
    hidden = settings.hidden or []
    widths = [table.n_features, *hidden, table.n_outputs]
    extras = [f"{settings.norm} normalisation"] * (settings.norm != "none")
    extras += [f"dropout {settings.dropout:g}"] * bool(settings.dropout) + ["residual"] * bool(settings.residual)
    kind = ", ".join([*([settings.activation or ""] if hidden else []), *extras])
    shown = " → ".join(map(str, widths))
    said = [f"network {shown}{f', {kind}' if kind else ''}, {settings.loss}: {count:,} parameters."]
    decay = f", weight decay {settings.decay:g}" if settings.decay else ""
    warm = f", after a warm-up of {settings.warmup:g} epochs" if settings.warmup else ""
    said.append(
        f"{settings.optimizer}: learning rate {settings.rate:g} ({settings.schedule}{warm}){decay}, batches of "
        f"{settings.batch_size}."
    )
    ends = [f"{settings.epochs} epochs"] if settings.epochs else []
    ends += [f"{settings.steps} steps"] if settings.steps else []
    ends += [f"{settings.time_budget:g} seconds"] if settings.time_budget else []
    end = f"at most {' or '.join(ends)}"
    if settings.early_stopping:
        watched = "validation loss" if table.validation is not None else "training loss"
        end += f"; ends when the {watched} has not fallen for {settings.early_stopping}, and keeps the best epoch"
    again = ", then again on all rows for as many epochs" if settings.refit else ""
    said.append(f"{end}{again}.")
    return said
