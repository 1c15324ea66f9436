"""Commands about a trained run: predict, evaluate, summary, export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from undertow.cli.app import app
from undertow.cli.options import Memory, Metrics, Quiet, RunFolder, limit_memory, read_names
from undertow.cli.output import say
from undertow.cli.predicting import note_divergence, predict_file

Limit = Annotated[
    str | None,
    typer.Option("--threshold", help="Probability above which the rarer of two classes is predicted: 0.2; yes=0.2."),
]
Rows = Annotated[Path, typer.Argument(help="A CSV, Parquet or other file with the same columns.", show_default=False)]


@app.command()
def predict(
    run: RunFolder,
    data: Rows,
    out: Annotated[Path | None, typer.Option(help="A .csv or .parquet file; the screen unless given.")] = None,
    probabilities: Annotated[bool, typer.Option("--probabilities", help="Add a column for each class.")] = False,
    keep: Annotated[str | None, typer.Option(help="Columns of the file to put in front: id,name.")] = None,
    threshold: Limit = None,
    memory: Memory = None,
    quiet: Quiet = False,
) -> None:
    """Apply a trained network to new rows; large files in portions.

    Example: undertow predict runs/houses new.csv --out predictions.csv
    """
    tell_peak = limit_memory(memory, _note)
    predict_file(run, data, out, probabilities, memory, say, _note, quiet, read_names(keep) or (), threshold)
    tell_peak()


def _note(remark: str) -> None:
    typer.echo(f"note: {remark}", err=True)


def _tell(remarks: list[str]) -> None:
    """Print remarks about the data, once."""
    while remarks:
        _note(remarks.pop(0))


@app.command()
def evaluate(
    run: RunFolder,
    data: Rows,
    metrics: Metrics = None,
    threshold: Limit = None,
    memory: Memory = None,
    quiet: Quiet = False,
) -> None:
    """Measure a trained network on rows whose target is known.

    It tells the loss, metrics, and for classes the confusion matrix.

    Of two classes it also tells precision, recall and F1 of the rare one; f1_of_yes is that of the class yes.

    Example: undertow evaluate runs/houses sold.csv --metrics mae,r2

    Example: undertow evaluate runs/customers new.csv --metrics recall_of_yes,f1_macro
    """
    from undertow.data.footprint import find_reading
    from undertow.nn.layer import widths
    from undertow.train.checkpoint import load
    from undertow.train.class_metrics import CLASS_SCORES
    from undertow.train.predictions import evaluate_table, read_encoder, show_confusion
    from undertow.train.reading_progress import ReadingProgress

    tell_peak = limit_memory(memory, _note)
    trained = load(run)
    note_divergence(trained, _note)
    with ReadingProgress(not quiet, stderr=True):
        found = evaluate_table(trained, data, read_names(metrics), find_reading(memory), threshold)
        own = _are_own_rows(trained, data)
    _tell(found.pop("remarks"))
    if own:
        _note(
            f"{data} is the file that this run was trained on, so these figures tell how well it remembers, not how it "
            f"does on new rows. For those see what it held out: undertow summary {trained.folder}"
        )
    confusion = found.pop("confusion", None)
    if widths(trained.model)[1] not in (None, 1):  # classes side by side: of these the mean
        found = {f"{name}_macro" if name in CLASS_SCORES else name: value for name, value in found.items()}
    width = max(map(len, found))
    lines = [f"{name.ljust(width)}  {_number(value)}" for name, value in found.items()]
    if confusion is not None:
        lines += ["", show_confusion(confusion, read_encoder(trained).classes)]
    say("\n".join(lines))
    tell_peak()


def _are_own_rows(run: Any, data: Path) -> bool:
    """Whether the rows are those that a network was trained on; a file of another size is not read for it."""
    from undertow.data.examples import has_test_part
    from undertow.train.table_data import digest_of
    from undertow.train.table_settings import CONFIG, read_config

    place = None if run.folder is None else run.folder / CONFIG
    if place is None or not place.is_file() or not data.is_file() or has_test_part(data):
        return False
    settings = read_config(place)
    if settings.data_bytes not in (None, data.stat().st_size):
        return False
    return settings.data_digest == digest_of([data])


def _number(value: Any) -> str:
    return str(value) if isinstance(value, int) else f"{value:.6g}"


@app.command()
def summary(run: RunFolder) -> None:
    """Show a run: its layers, how it was trained, its best epoch.

    Of the layers it shows shapes and parameters.

    Example: undertow summary runs/houses
    """
    from undertow.nn import summary as lay_out
    from undertow.train.checkpoint import load
    from undertow.train.run import ENDS

    trained = load(run)
    say(str(lay_out(trained.model)))
    settings = {name: value for name, value in trained.settings.items() if value not in (None, {}, [])}
    width = max(map(len, settings), default=0)
    say("\n" + "\n".join(f"{name.ljust(width)}  {_show(value)}" for name, value in settings.items()))
    column = "validation_loss" if trained.history and "validation_loss" in trained.history[-1] else "loss"
    rows = [row for row in trained.history if row.get(column) == row.get(column)]
    epochs = "1 epoch" if len(trained.history) == 1 else f"{len(trained.history)} epochs"
    say(f"\n{epochs}, {ENDS.get(trained.stopped, trained.stopped)}.")
    again = "held_out" in trained.extras  # on all rows: the run holds what its last epoch made
    if rows:
        chosen = rows[-1] if again else min(rows, key=lambda row: row[column])
        measured = [(name, value) for name, value in chosen.items() if "loss" in name or name.startswith("validation_")]
        told = ", ".join(f"{name} {value:.4g}" for name, value in measured)
        epoch = f"all rows, last epoch {chosen['epoch']}" if again else f"best epoch {chosen['epoch']} by {column}"
        say(f"{epoch}: {told}.")
    if "held_out" in trained.extras:
        say(f"{trained.extras['held_out']['summary']}, before training again on all rows.")


def _show(value: Any) -> str:
    """A setting on one line."""
    if isinstance(value, dict):
        if value.get("schedule") == "warmup":
            return f"{_show(value['then'])} after a warm-up of {value['steps']} steps from {_show(value['start'])}"
        rest = ", ".join(f"{key} {_show(x)}" for key, x in value.items() if key not in ("name", "schedule"))
        name = value.get("name") or value.get("schedule") or ""
        return f"{name} ({rest})" if name and rest else str(name or rest)
    return (
        ", ".join(map(_show, value))
        if isinstance(value, list)
        else f"{value:g}"
        if isinstance(value, float)
        else str(value)
    )


@app.command()
def export(
    run: RunFolder,
    out: Annotated[Path, typer.Argument(help="model.onnx, or model.py.", show_default=False)],
) -> None:
    """Write a trained network as ONNX, or as Python with NumPy alone.

    Example: undertow export runs/houses model.onnx
    """
    from undertow.export import export as write
    from undertow.export import find_left_out
    from undertow.train.checkpoint import load

    trained = load(run)
    note_divergence(trained, _note)
    say(f"exported to {write(trained, out)}")
    if out.suffix == ".py" and (missing := find_left_out(trained)):
        _note(f"its step leaves out what training had besides: {', '.join(missing)}.")
