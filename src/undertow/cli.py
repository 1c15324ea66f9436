"""The command line: reads arguments and calls the library; every error of ours is one line and exit code 2."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from undertow.errors import ArgumentError, RunError, UndertowError

app = typer.Typer(
    help="Backpropagation you can read, watch and trust.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Activation = Annotated[str, typer.Option(help="relu, tanh or sigmoid.")]


def show_version(wanted: bool) -> None:
    """Print the version and stop."""
    if wanted:
        from undertow import __version__

        typer.echo(f"undertow {__version__}")
        raise typer.Exit


@app.callback()
def root(version: Annotated[bool, typer.Option("--version", callback=show_version, is_eager=True)] = False) -> None:
    """Backpropagation you can read, watch and trust."""


@app.command()
def train(
    data: Annotated[Path | None, typer.Argument(help="A CSV or Parquet file.", show_default=False)] = None,
    target: Annotated[str | None, typer.Option(help="The column to predict.")] = None,
    dataset: Annotated[str | None, typer.Option(help="A data set that is shipped: digits.")] = None,
    out: Annotated[Path | None, typer.Option(help="The run folder [default: runs/<name>].")] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace an existing run folder.")] = False,
    task: Annotated[str, typer.Option(help="auto, classification or regression.")] = "auto",
    hidden: Annotated[str, typer.Option(help="Sizes of the hidden layers.")] = "256,128",
    activation: Activation = "relu",
    optimizer: Annotated[str, typer.Option(help="adam, momentum or sgd.")] = "adam",
    rate: Annotated[float | None, typer.Option(help="Learning rate [default: the optimizer's own].")] = None,
    epochs: Annotated[int, typer.Option(min=1)] = 25,
    batch_size: Annotated[int, typer.Option(min=1)] = 32,
    validation: Annotated[float, typer.Option(help="Share of the rows held out.", min=0.0, max=0.9)] = 0.2,
    clip: Annotated[float | None, typer.Option(help="Largest global norm of the gradient.")] = None,
    clip_value: Annotated[float | None, typer.Option(help="Largest size of one entry of the gradient.")] = None,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
) -> None:
    """Train a network on a table, and save it as a run folder.

    Example: undertow train houses.csv --target price --epochs 100
    """
    from undertow.train.checkpoint import check_replaceable
    from undertow.train.gradients import print_gradient_table
    from undertow.train.table import load_table, train_table

    if (data is None) == (dataset is None):
        raise ArgumentError("give either a file with --target, or --dataset digits.")
    if data is not None and target is None:
        raise ArgumentError(f"which column of {data.name} is to be predicted? Name it with --target.")
    folder = out or Path("runs") / (dataset or data.stem)  # type: ignore[union-attr]
    if folder.exists():
        check_replaceable(folder, overwrite)
    settings = {
        "hidden": read_sizes(hidden),
        "activation": activation,
        "optimizer": make_optimizer(optimizer, rate),
        "clip": make_clip(clip, clip_value),
        "epochs": epochs,
        "batch_size": batch_size,
        "seed": seed,
        "progress": not quiet,
    }
    table = load_table(data, target, dataset, validation=validation, seed=seed, task=None if task == "auto" else task)
    for sentence in table.report:
        typer.echo(f"  {sentence}")
    run, summary = train_table(table, typer.echo, **settings)
    typer.echo("")
    print_gradient_table(run)
    typer.echo("")
    typer.echo(summary)
    run.save(folder, overwrite=overwrite)
    typer.echo(f"saved in {folder}; read its backward pass with: undertow explain {folder}")


@app.command()
def predict(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    data: Annotated[Path, typer.Argument(help="A CSV or Parquet file with the same columns.")],
    out: Annotated[Path | None, typer.Option(help="A .csv or .parquet file; the screen unless given.")] = None,
    probabilities: Annotated[bool, typer.Option(help="Add a column for each class.")] = False,
) -> None:
    """Apply a trained network to new rows.

    Example: undertow predict runs/houses new.csv --out predictions.csv
    """
    from undertow.train.checkpoint import load
    from undertow.train.table import predict_table

    if out is not None and out.suffix not in (".csv", ".parquet"):
        raise ArgumentError(f"{out.name}: predictions are written as .csv or .parquet.")
    frame, remarks = predict_table(load(run), data, probabilities)
    for remark in remarks:
        typer.echo(f"note: {remark}", err=True)
    if out is None:
        typer.echo(frame.write_csv(), nl=False)
        return
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        if out.suffix == ".csv":
            frame.write_csv(out)
        else:
            frame.write_parquet(out)
    except OSError as error:
        raise RunError(f"{out} cannot be written: {error.strerror}.") from error
    typer.echo(f"{frame.height} predictions in {out}")


@app.command()
def explain(
    what: Annotated[str, typer.Argument(help="A run folder, or file.py:loss.")],
    derivation: Annotated[bool, typer.Option(help="The chain rule step by step, instead of source.")] = False,
    values: Annotated[bool, typer.Option(help="The derivation with numbers.")] = False,
    latex: Annotated[bool, typer.Option(help="The derivation as a LaTeX document.")] = False,
) -> None:
    """Print the backward pass of a run or of a loss of your own, as NumPy source.

    Of file.py:loss, the arguments to try it with are what example() in the file returns, or variables of the
    file that are called like the parameters, or the parameters' defaults.

    Example: undertow explain net.py:loss --derivation
    """
    from undertow.api import backprop
    from undertow.report import read_subject, run_user_code

    subject = read_subject(what)
    with run_user_code(subject.file):
        found = backprop(subject.function, *subject.args)
    if derivation or values or latex:
        typer.echo(found.derivation(values=values, format="latex" if latex else "text"))
    else:
        typer.echo(found.source)


@app.command()
def check(
    what: Annotated[str, typer.Argument(help="file.py:loss")],
    tolerance: Annotated[float, typer.Option(help="Largest relative error.")] = 1e-6,
) -> None:
    """Compare the gradient of a loss of your own with numeric derivatives; exit code 1 where it is wrong.

    The arguments to try it with are what example() in the file returns, or variables of the file that are called
    like the parameters, or the parameters' defaults.

    Example: undertow check net.py:loss
    """
    from undertow.check import check_gradient
    from undertow.report import read_subject, run_user_code

    subject = read_subject(what)
    with run_user_code(subject.file):
        report = check_gradient(subject.function, *subject.args, tolerance=tolerance, raises=False)
    typer.echo(str(report))
    if not report:
        raise typer.Exit(1)


def read_sizes(text: str) -> list[int]:
    """Read the sizes of hidden layers, ``"128,64"``; an empty text means none."""
    try:
        sizes = [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        sizes = [0]
    if any(size < 1 for size in sizes):
        raise ArgumentError(f"--hidden {text}: give sizes separated by commas, for example 128,64.")
    return sizes


def make_optimizer(name: str, rate: float | None) -> Any:
    """Make the update rule of this name."""
    from undertow import optim

    usual = {"adam": 1e-3, "momentum": 0.05, "sgd": 0.1}
    if name not in usual:
        raise ArgumentError(f"--optimizer {name}: choose {', '.join(usual)}.")
    return optim.OPTIMIZERS[name](usual[name] if rate is None else rate)


def make_clip(norm: float | None, value: float | None) -> Any:
    """Make the clipping that the options ask for."""
    from undertow import optim

    if norm is not None and value is not None:
        raise ArgumentError("choose one of --clip (global norm) and --clip-value.")
    if norm is not None:
        return optim.clip_by_global_norm(norm)
    return optim.clip_by_value(value) if value is not None else None


def main() -> None:
    """Run the command line."""
    try:
        app()
    except UndertowError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(2)
    except KeyboardInterrupt:
        typer.echo("interrupted", err=True)
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(0)
    except Exception as error:  # a fault of ours: still no traceback, unless it is asked for
        if os.environ.get("UNDERTOW_DEBUG"):
            raise
        typer.echo(
            f"error: {type(error).__name__}: {error}. This is a fault in Undertow; UNDERTOW_DEBUG=1 shows where.",
            err=True,
        )
        sys.exit(2)
