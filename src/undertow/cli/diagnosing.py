"""Commands that say what is wrong with a training: diagnose, report."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import Annotated, Any

import typer

from undertow.cli.app import app
from undertow.cli.options import RunFolder, read_seconds, read_sizes, text
from undertow.cli.output import as_text, say, show_findings, show_flow, show_remedies
from undertow.errors import ArgumentError


@app.command()
def diagnose(
    run: Annotated[Path, typer.Argument(help="A run folder; with --before also a table.", show_default=False)],
    before: Annotated[
        bool, typer.Option("--before", help="What theory and an untrained pass say of the network before training.")
    ] = False,
    target: Annotated[str | None, text("With --before: the column of the table to predict.")] = None,
    hidden: Annotated[str | None, text("With --before: sizes of the hidden layers: 128,64.")] = None,
    activation: Annotated[str | None, text("With --before: relu, tanh, …")] = None,
    norm: Annotated[str | None, text("With --before: normalisation: none, batch, layer, rms.")] = None,
    init: Annotated[str | None, text("With --before: initial weights: he_normal, …")] = None,
    residual: Annotated[
        bool | None, typer.Option("--residual/--no-residual", help="With --before: x + f(x) around hidden layers.")
    ] = None,
    attempt: Annotated[
        bool, typer.Option("--try", help="Train again, shortly, with each remedy, and compare.")
    ] = False,
    epochs: Annotated[
        int | None, typer.Option(help="Epochs of each trial [default: as many as the run].", min=1)
    ] = None,
    time_budget: Annotated[str | None, text("Time of each trial: 30s, 10m.")] = None,
    out: Annotated[Path | None, text("A .json file for what was found.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No table of the flow, no progress.")] = False,
) -> None:
    """Say what is wrong with a training, why, and what to try.

    Also while it goes on, or after it was killed.

    Example: undertow diagnose runs/houses --try

    Example: undertow diagnose houses.csv --before --target price --hidden 64,64,64 --activation sigmoid
    """
    network = {
        "target": target, "hidden": read_sizes(hidden), "activation": activation, "norm": norm, "residual": residual,
        "init": init,
    }  # fmt: skip
    if out is not None and out.suffix != ".json":
        raise ArgumentError(f"--out {out}: give a file that ends in .json.")
    _check_trials(before, attempt, epochs, time_budget)
    if before:
        return _forecast(run, network, out, quiet)
    if told_network := [name for name, value in network.items() if value is not None]:
        raise ArgumentError(f"--{told_network[0]} says what a network is to be. Add --before, or leave it out.")
    if run.is_file():
        raise ArgumentError(
            f"{run}: this is a file, no folder. Give the folder of a run; or add --before and --target, for what is to "
            "be expected of a network on this table."
        )
    from undertow.flow import diagnose as find
    from undertow.flow import load_flow

    flow = load_flow(run)
    if attempt:
        from undertow.flow.cure import check_rows

        check_rows(run, "--try")
    found = find(flow)
    if not quiet:
        say(lambda: show_flow(flow))
    python = not (run / "config.toml").is_file()  # it was not trained by a command
    say(lambda: show_findings(found, python) if len(flow) else "no step is recorded, so there is nothing to judge.")
    told: dict[str, Any] = {"findings": [finding.plain() for finding in found]}
    if attempt and not any(finding.remedies for finding in found):
        why = "what was found has none" if found else "nothing is to be mended"
        say(f"no remedy is tried: {why}.")
        told["trials"] = None
    elif attempt:
        told["trials"] = _try(run, epochs, read_seconds(time_budget), quiet)
    _write(out, told)
    return None


def _check_trials(before: bool, attempt: bool, epochs: int | None, time_budget: str | None) -> None:
    """Refuse options of trials where none is made."""
    lasting = [name for name, x in (("epochs", epochs), ("time-budget", time_budget)) if x is not None]
    if before and (attempt or lasting):
        name = "try" if attempt else lasting[0]
        raise ArgumentError(f"--{name} trains, and --before trains nothing. Give one of them.")
    if lasting and not attempt:
        raise ArgumentError(f"--{lasting[0]} says how long each trial is. Add --try, or leave it out.")


def _try(folder: Path, epochs: int | None, seconds: float | None, quiet: bool) -> Any:
    """Train again with each remedy."""
    from undertow.flow import try_remedies

    trials = try_remedies(folder, epochs=epochs, seconds=seconds, progress=not quiet)
    say(lambda: as_text(trials).rstrip())
    if trials.best is None and any(row.tried for row in trials):
        sound = not trials.note and trials.control.stopped != "diverged"
        end = ": the training is best left as it is" if sound else ""
        say(f"none gains more than chance does, judged by {trials.judged_by}{end}.")
    if trials.best is not None and trials.best.option:
        config, better = quote(str(folder / "config.toml")), quote(f"{folder}-better")
        say(f"to train so: undertow train --config {config} {trials.best.option} --out {better}")
    return trials.plain()


def _forecast(subject: Path, network: dict[str, Any], out: Path | None, quiet: bool) -> None:
    """Say what is to be expected of a network before its training."""
    from undertow.flow.before import forecast_subject
    from undertow.train.reading_progress import ReadingProgress

    with ReadingProgress(not quiet):
        found = forecast_subject(subject, **network)
    say(lambda: as_text(found).rstrip())
    if found.findings:
        say(lambda: show_remedies(found.findings))
    _write(out, {"forecast": found.plain()})


def _write(out: Path | None, told: dict[str, Any]) -> None:
    """Write what was found as JSON."""
    if out is None:
        return
    from undertow.train.files import write_whole
    from undertow.train.record import write_record

    write_whole(out, write_record(told, indent=1).encode())
    say(f"written to {out}")


@app.command()
def report(
    run: RunFolder,
    out: Annotated[Path | None, text("The page [default: report.html in the folder].")] = None,
    tensorboard: Annotated[Path | None, text("A folder for TensorBoard's event files, in place of the page.")] = None,
) -> None:
    """Write a report on a training: one HTML page without a network.

    Example: undertow report runs/houses --out houses.html
    """
    if tensorboard is not None:
        from undertow.flow import load_flow
        from undertow.flow.tensorboard import write_events

        return say(f"event files: {write_events(load_flow(run), tensorboard)}")
    from undertow.report import report_run

    say(f"report: {report_run(run, out or run / 'report.html')}")
