"""The command line: reads arguments and calls the library; every error is one line and exit code 2."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from undertow.errors import ArgumentError, RunError, UndertowError

app = typer.Typer(
    help="Backpropagation you can read, watch and trust.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

INTERRUPTED = 130  # the exit code

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
    from undertow.train.checkpoint import check_target
    from undertow.train.interrupt import hold_interrupts, interrupt_once
    from undertow.train.table import load_table, summarize, train_table

    if (data is None) == (dataset is None):
        raise ArgumentError("give either a file with --target, or --dataset digits.")
    if data is not None and target is None:
        raise ArgumentError(f"which column of {data.name} is to be predicted? Name it with --target.")
    settings = {
        "hidden": read_sizes(hidden),
        "activation": read_activation(activation),
        "optimizer": make_optimizer(optimizer, rate),
        "clip": make_clip(clip, clip_value),
        "epochs": epochs,
        "batch_size": batch_size,
        "seed": seed,
        "progress": not quiet,
    }
    table = load_table(data, target, dataset, validation=validation, seed=seed, task=None if task == "auto" else task)
    folder = out or Path("runs") / (dataset or data.stem)  # type: ignore[union-attr]
    check_target(folder, overwrite)
    page = Page()
    for sentence in table.report:
        page.say(f"  {sentence}")
    with interrupt_once():
        run = train_table(table, page.say, **settings)
        if not run.history:
            raise KeyboardInterrupt  # before the first step: there is nothing to save
        with hold_interrupts():  # saved before anything is said, whatever becomes of the output
            run.save(folder, overwrite=overwrite)
            page.say(lambda: f"\n{show_gradients(run)}\n{summarize(run, table)}")
            page.say(f"saved in {folder}; read its backward pass with: undertow explain {folder}")
    page.close(f" The run is saved in {folder}.")
    if run.stopped == "interrupted":
        raise typer.Exit(INTERRUPTED)


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
    from undertow.train.table import check_predictions_place, predict_table, write_predictions

    if out is not None:
        check_predictions_place(out, data)
    frame, remarks = predict_table(load(run), data, probabilities)
    for remark in remarks:
        typer.echo(f"note: {remark}", err=True)
    if out is None:
        say(frame.write_csv(), nl=False)
        return
    write_predictions(frame, out)
    say(f"{frame.height} predictions in {out}")


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
    for name in found.unreached:
        typer.echo(f"note: the loss does not depend on {name}: its gradient is zero.", err=True)
    if derivation or values or latex:
        say(found.derivation(values=values, format="latex" if latex else "text"))
    else:
        say(found.source)


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
    say(str(report))
    if not report:
        raise typer.Exit(1)


@app.command()
def bench(
    workloads: Annotated[str, typer.Option(help="Some of S, M, L, W, XL.")] = "S,M,L,W",
    threads: Annotated[int | None, typer.Option(help="Threads to use [default: all that the process may use].")] = None,
    profile: Annotated[bool, typer.Option(help="Add the time of every kernel.")] = False,
) -> None:
    """Time compiled training steps on this machine. Peers side by side: `make bench` in a checkout.

    Example: undertow bench --workloads M --threads 1 --profile
    """
    from undertow.compile import set_threads
    from undertow.report.bench import bench as measure

    set_threads(threads)
    measure([name for name in workloads.split(",") if name], profile, say)


def read_sizes(text: str) -> list[int]:
    """Read the sizes of hidden layers, ``"128,64"``; an empty text means none."""
    try:
        sizes = [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        sizes = [0]
    if any(size < 1 for size in sizes):
        raise ArgumentError(f"--hidden {text}: give sizes separated by commas, for example 128,64.")
    return sizes


def read_activation(name: str) -> str:
    """Check the name of an activation."""
    from undertow.train.table import ACTIVATIONS

    if name not in ACTIVATIONS:
        raise ArgumentError(f"--activation {name}: choose relu, tanh or sigmoid.")
    return name


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


def show_gradients(run: Any) -> str:
    """Lay out the gradient table as text, as wide as the terminal."""
    from rich.console import Console

    from undertow.train.gradients import print_gradient_table

    console = Console(highlight=False)
    with console.capture() as captured:
        print_gradient_table(run, console)
    return captured.get()


def say(text: str | Callable[[], str], nl: bool = True) -> None:
    """Print a text, or what a function lays out, on the standard output; where that fails, the error says so."""
    try:
        typer.echo(text() if callable(text) else text, nl=nl)
    except BrokenPipeError:
        raise
    except (OSError, ValueError) as error:  # a full disk; a stream that someone closed
        reason = getattr(error, "strerror", None) or error
        raise RunError(f"the standard output cannot be written: {reason}.") from None


class Page:
    """What a long job prints: once printing fails, the job goes on, and the failure is told at its end."""

    def __init__(self) -> None:
        self.failure: BrokenPipeError | RunError | None = None

    def say(self, text: str | Callable[[], str]) -> None:
        """Print, unless it failed before."""
        if self.failure is None:
            try:
                say(text)
            except (BrokenPipeError, RunError) as error:
                self.failure = error

    def close(self, remark: str) -> None:
        """Raise what failed; a closed pipe is no failure."""
        if isinstance(self.failure, RunError):
            raise RunError(f"{self.failure}{remark}")


_AS_OPTIONS = {
    "clip=undertow.optim.clip_by_global_norm(1.0)": "--clip 1",
    "task='classification'": "--task classification",
    "or overwrite it (overwrite=True, or --overwrite)": "or overwrite it with --overwrite",
}


def fail(message: str) -> int:
    """Print an error on one line, with options in place of Python's arguments; return the exit code."""
    for python, option in _AS_OPTIONS.items():
        message = message.replace(python, option)
    with suppress(OSError, ValueError):
        typer.echo(f"error: {' '.join(message.split())}", err=True)
    return 2


def attempt(command: Callable[[], Any]) -> int:
    """Run a command; every error becomes one line. Return the exit code."""
    try:
        code = command()
        return code if isinstance(code, int) else 0
    except UndertowError as error:
        return fail(str(error))
    except KeyboardInterrupt:
        typer.echo("interrupted", err=True)
        return INTERRUPTED
    except SystemExit:  # how typer ends where the output is a closed pipe, which is no failure
        return 0
    except MemoryError:
        return fail("there is not enough memory for this. Try fewer rows or a smaller network.")
    except Exception as error:
        if hasattr(error, "format_message"):  # how typer says that arguments are wrong
            if type(error).__name__ == "NoArgsIsHelpError":
                typer.echo(error.format_message())
                return 2
            return fail(error.format_message())
        if os.environ.get("UNDERTOW_DEBUG"):  # a fault of ours: no traceback, unless it is asked for
            raise
        return fail(f"{type(error).__name__}: {error}. This is a fault in Undertow; UNDERTOW_DEBUG=1 shows where.")


def main() -> None:
    """Run the command line."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal without δ shows ? in its place
    code = attempt(lambda: app(standalone_mode=False))
    try:
        sys.stdout.flush()
    except (OSError, ValueError):  # what is left cannot be written: Python would try again at its end, and complain
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if code == INTERRUPTED:  # all is saved: a Ctrl-C while Python ends must not change the exit code
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.exit(code)
