"""What was trained and how it ended: a sentence, and the few numbers that people look for first."""

from __future__ import annotations

import math
from typing import Any, Final

from undertow.errors import UndertowError
from undertow.nn import summary
from undertow.report.curves import best_row, plain_number
from undertow.report.recorded import Recorded
from undertow.report.table_names import purpose_words
from undertow.train.columns import is_number, is_share, scores
from undertow.train.metrics import find_direction

ENDS: Final = {
    "finished": ("finished", "It ran to its end."),
    "callback": ("stopped early", "It was stopped early by a callback."),
    "interrupted": ("interrupted", "It was interrupted."),
    "diverged": ("diverged", "It diverged: the loss or a gradient stopped being finite."),
    "": ("not ended", "It has not ended yet, or was killed."),
}
LOSS_WORDS: Final = {"_with_logits": "", "_": " "}
METRICS_AT_MOST: Final = 3


def summary_data(found: Recorded, model: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    """Say what was trained, how it ended and what was best.

    Args:
        found: what there is of the training.
        model: of `model_data`; None makes it.

    Returns:
        Plain data: ``title``, ``sentence``, ``state`` (a word), ``mark`` (``"error"`` where one was found, else
        empty), ``ended`` (as `Run.stopped`), ``tiles``: label, value, note.

    Source: derived here.

    Example:
        >>> found = Recorded(settings={"epochs": 2}, history=[{"epoch": 1, "loss": 0.5}], stopped="finished")
        >>> summary_data(found)["sentence"]
        'A model was trained for 1 epoch. It ran to its end. The best training loss is 0.5, in epoch 1.'
    """
    if found.flow is not None and found.flow.of_loop:
        return _of_loop(found)
    state, ending = ENDS.get(found.stopped, (found.stopped, f"It ended: {found.stopped}."))
    errors = [finding.kind for finding in found.findings or () if finding.severity == "error"]
    if errors and found.stopped in ("finished", "callback"):
        state += ", with an error" if len(errors) == 1 else f", with {len(errors)} errors"
        ending += f" {'An error was' if len(errors) == 1 else 'Errors were'} found: {' and '.join(errors)}."
    ending += _origin(found) + _held_out(found)
    what = _describe_model(found, model_data(found) if model is None else model)
    bests, verb = _bests(found.history), "was" if found.stopped else "has been"
    best = "".join(f" The best {_called(name)} is {_show(row[name], name)}{_when(row)}." for name, row in bests[:2])
    return {
        "title": found.name or what[:1].upper() + what[1:],
        "sentence": f"{what[:1].upper()}{what[1:]} {verb} trained{_how(found)}. {ending}{best}",
        "state": state,
        "mark": "error" if errors else "",
        "ended": found.stopped,
        "tiles": _tiles(found, bests),
    }


def _of_loop(found: Recorded) -> dict[str, Any]:
    """The same of a loop of one's own, of which nobody tells how it ends."""
    assert found.flow is not None
    n, kinds = len(found.flow), [layer.kind for layer in found.flow.layers]
    parts = [
        f"{count:,} {name}{'s' * (count != 1)}"
        for name, count in (("watched value", kinds.count("watched")), ("parameter", kinds.count("parameter")))
        if count
    ]
    return {
        "title": found.name or "A loop of your own",
        "sentence": f"{n:,} step{'s' * (n != 1)} of a loop of your own {'were' if n != 1 else 'was'} recorded"
        f"{', with ' if parts else ''}{' and '.join(parts)}.{_origin(found)}",
        "state": "recorded",
        "ended": found.stopped,
        "tiles": _tiles(found, []),
    }


def _held_out(found: Recorded) -> str:
    """What the rows that a first training held out say of one that ended on all rows: none is left to judge it."""
    told = {} if found.run is None else found.run.extras.get("held_out") or {}
    return f" Before it was trained again on all rows: {told['summary']}." if "summary" in told else ""


def _origin(found: Recorded) -> str:
    """Where something stopped being finite, if that was found."""
    origin = found.flow.facts.get("non_finite") if found.flow is not None else None
    if not isinstance(origin, dict) or not origin.get("sentence"):
        return ""
    return f" At step {origin.get('step', '?')}: {str(origin['sentence']).rstrip('.')}."


def _describe_model(found: Recorded, model: list[dict[str, Any]]) -> str:
    """A model in half a sentence."""
    rows = [row for row in model if not row["container"] and row.get("trained", 1)]
    n_layers = len(rows) or None
    size = count_parameters(found)
    if n_layers is None and size is None:
        return "a model"
    parts = [f"{n_layers} layer{'s' * (n_layers != 1)}" if n_layers is not None else ""]
    parts.append(f"{size:,} parameters" if size is not None else "")
    return "a network of " + " and ".join(part for part in parts if part)


def count_parameters(found: Recorded) -> int | None:
    """Count the numbers of a model's parameters.

    Args:
        found: what there is of the training.

    Returns:
        The number; None where the model is not there.

    Source: derived here.

    Example:
        >>> count_parameters(Recorded()) is None
        True
    """
    if found.run is None or found.run.model is None:
        return None
    from undertow.trees import flatten

    leaves = [leaf for leaf in flatten(found.run.model)[0] if hasattr(leaf, "shape")]
    return sum(math.prod(leaf.shape) for leaf in leaves) if leaves else None


def _how(found: Recorded) -> str:
    """What for, on what, with what and how long."""
    settings, text = found.settings, purpose_words(found)
    if is_number(settings.get("n_examples")):
        text += "," * bool(text)
        text += f" on {settings['n_examples']:,} examples"
        if settings.get("n_validation"):
            text += f" ({settings['n_validation']:,} held out for validation)"
    if settings.get("loss"):
        text += f" with {_loss_words(str(settings['loss']))}"
        name = (settings.get("optimizer") or {}).get("name") if isinstance(settings.get("optimizer"), dict) else None
        text += f" and {name}" if name else ""
    n_epochs = len({row["epoch"] for row in found.history if "epoch" in row}) or len(found.history)
    if n_epochs:
        most = settings.get("epochs") if not found.stopped else None
        text += f" for {n_epochs:,}{f' of {most:,}' if is_number(most) else ''} epoch{'s' * ((most or n_epochs) != 1)}"
    return text


def _loss_words(name: str) -> str:
    for old, new in LOSS_WORDS.items():
        name = name.replace(old, new)
    return name


def _words(column: str) -> str:
    return column.replace("_", " ")


def _called(column: str) -> str:
    """A loss or metric, and on which rows it is measured."""
    return _words(column) if column.startswith("validation_") else f"training {_words(column)}"


def _show(value: Any, column: str = "") -> str:
    """A number for people."""
    if not is_number(value):
        return "–"
    if not math.isfinite(value):
        return "not finite"
    return f"{100 * value:.1f} %" if is_share(column) else f"{value:.4g}"


def _when(row: dict[str, Any]) -> str:
    return f", in epoch {row['epoch']}" if is_number(row.get("epoch")) else ""


def _bests(history: list[dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    """Losses and metrics with the row in which each is best; those on validation data where there are some."""
    names = scores(dict.fromkeys(name for row in history for name in row))
    held_out = [name for name in names if name.startswith("validation_")]
    found = []
    for name in held_out or names:
        direction = find_direction(name)
        row = best_row(history, name, direction) if direction else None
        if row is not None:
            found.append((name, row))
    return found


def _tiles(found: Recorded, bests: list[tuple[str, dict[str, Any]]]) -> list[dict[str, str]]:
    """The few numbers at the top."""
    last = found.history[-1] if found.history else {}
    tiles = [
        {"label": f"Best {_called(name)}", "value": _show(row[name], name), "note": _when(row)[2:]}
        for name, row in bests[: 1 + METRICS_AT_MOST]
    ]
    if is_number(last.get("loss")):
        tiles.append({"label": "Last training loss", "value": _show(last["loss"]), "note": _when(last)[2:]})
    if is_number(last.get("step")):
        tiles.append({"label": "Steps", "value": f"{last['step']:,}", "note": _batches(found)})
    elif found.flow is not None and len(found.flow):
        tiles.append({"label": "Steps", "value": f"{int(found.flow.steps[-1]):,}", "note": _batches(found)})
    if is_number(last.get("seconds")):
        note = ""
        if is_number(last.get("examples_per_second")) and math.isfinite(last["examples_per_second"]):
            note = f"{last['examples_per_second']:,.0f} examples/s"
        tiles.append({"label": "Time", "value": show_seconds(last["seconds"]), "note": note})
    return tiles


def _batches(found: Recorded) -> str:
    size = found.settings.get("batch_size")
    return f"of {size:,} examples" if is_number(size) else ""


def show_seconds(seconds: float) -> str:
    """Write a time for people.

    Args:
        seconds: 0 or more.

    Returns:
        The text.

    Source: derived here.

    Example:
        >>> show_seconds(0.25), show_seconds(75), show_seconds(7300)
        ('0.25 s', '1 min 15 s', '2 h 1 min')
    """
    if not math.isfinite(seconds):
        return "–"
    if seconds < 60:
        return f"{seconds:.3g} s"
    whole = round(seconds)
    return f"{whole // 60} min {whole % 60} s" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60} min"


def model_data(found: Recorded) -> list[dict[str, Any]]:
    """List a model's layers with shapes and costs.

    Args:
        found: what there is of the training.

    Returns:
        Plain data: name, depth, output, trained and not trained numbers, operations; of the record's layers alone
        where the model is not there or cannot be laid out.

    Source: derived here.

    Example:
        >>> model_data(Recorded())
        []
    """
    if found.run is not None and found.run.model is not None:
        try:
            shape = found.settings.get("example_shape")
            rows = summary(found.run.model, tuple(shape) if shape else None).rows
        except (UndertowError, TypeError, ValueError, AttributeError):
            rows = []
        if rows:
            return [
                {
                    "name": row.name, "depth": row.depth, "container": row.container, "output": row.output,
                    "trained": row.trained, "not_trained": row.not_trained, "forward": plain_number(row.forward),
                    "backward": plain_number(row.backward),
                }
                for row in rows
            ]  # fmt: skip
    if found.flow is None:
        return []
    blocks = {layer.within for layer in found.flow.layers}  # what they hold is listed too
    return [
        {
            "name": layer.name,
            "depth": 0,
            "container": layer.path in blocks,
            "output": "" if layer.kind == "parameter" else f"({', '.join(['m', *map(str, layer.shape)])})",
        }
        for layer in found.flow.layers
    ]
