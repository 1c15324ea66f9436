"""Commands that train: train, resume, find-lr."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from undertow.cli.app import INTERRUPTED, app
from undertow.cli.options import (
    Controlled,
    Memory,
    Metrics,
    Quiet,
    RunFolder,
    Watch,
    WatchStay,
    limit_memory,
    read_clip,
    read_names,
    read_seconds,
    read_sizes,
    text,
)
from undertow.cli.output import Page, show_findings, show_flow, show_gradients, tell_findings
from undertow.cli.watching import watched
from undertow.errors import ArgumentError, RunError

File = Annotated[
    str | None,
    typer.Argument(
        help="A CSV, JSON lines, Parquet, Arrow or Excel file, a folder or pattern of large ones, an .npz file, or a "
        "folder of images.",
        show_default=False,
    ),
]
Text = Annotated[str | None, typer.Option()]
Flow = Annotated[bool | None, typer.Option("--flow/--no-flow", help="Record the gradient flow, and report it.")]
Init = Annotated[str | None, text("Initial weights: auto, he_normal, orthogonal, normal:deviation=0.1, …")]
Residual = Annotated[bool | None, typer.Option("--residual/--no-residual", help="x + f(x) around hidden layers.")]
End = Annotated[str | None, text("That the network ends in: softplus, …, none.")]
Noise = Annotated[float | None, typer.Option(help="Deviation of noise that is added to the inputs.", min=0.0)]
Start = Annotated[
    bool | None,
    typer.Option(
        "--start-at-frequencies/--no-start-at-frequencies",
        help="Small weights in the last layer, and biases from how often each class occurs.",
    ),
]
TargetScaling = Annotated[str | None, text("Of a number to predict: standard, log, log1p, mean, none.")]
Copies = Annotated[
    bool | None,
    typer.Option("--drop-copies/--no-drop-copies", help="Rows that are the same in all columns count once."),
]

CacheFolder = Annotated[
    str | None, text("A folder for encoded rows of a file larger than memory: written once, read from there.")
]
Refit = Annotated[
    bool | None, typer.Option("--refit/--no-refit", help="Train again on all rows, for the best number of epochs.")
]
Other = Annotated[
    bool | None, typer.Option("--other/--no-other", help="Try other settings beside, and take the better.")
]
Folds = Annotated[int | None, typer.Option(help="Parts of a small table held out in turn; 1: one.", min=1)]
Header = Annotated[
    bool | None, typer.Option("--header/--no-header", help="Whether a CSV file's first line names its columns.")
]
Commas = Annotated[str | None, text("What 1,234 is where it may be either: point (1234), comma (1.234), auto.")]

Seed = Annotated[int | None, typer.Option(min=0)]
Missing = Annotated[list[str] | None, text("A mark of a missing value beside the usual ones: ., -999; once for each.")]


@app.command()
def train(
    data: File = None,
    target: Annotated[str | None, text("The column to predict.")] = None,
    dataset: Annotated[str | None, text("A data set that is shipped: digits.")] = None,
    header: Header = None,
    config: Annotated[Path | None, text("Settings from a file, such as runs/x/config.toml.")] = None,
    out: Annotated[Path | None, text("The run folder [default: runs/<name>].")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing run folder.")] = False,
    task: Annotated[str | None, text("classification or regression [default: by the target].")] = None,
    weights: Annotated[str | None, text("The column that says how much a row counts.")] = None,
    groups: Annotated[str | None, text("Hold out whole groups of this column.")] = None,
    time: Annotated[str | None, text("Hold out the last rows by this column.")] = None,
    leave_out: Annotated[str | None, text("Columns that are no features: id,name.")] = None,
    validation: Annotated[float | None, typer.Option(help="Share of the rows held out.", min=0.0, max=0.9)] = None,
    scaling: Annotated[str | None, text("Of numbers: standard, robust, quantile, both, none, auto.")] = None,
    categories: Annotated[str | None, text("one_hot, or codes: an embedding for each.")] = None,
    max_categories: Annotated[int | None, typer.Option(help="Most distinct texts of a column.", min=1)] = None,
    min_count: Annotated[int | None, typer.Option(help="Texts in fewer rows are joined.", min=1)] = None,
    dates: Annotated[str | None, text("auto, days, or parts: also year, month, weekday, hour.")] = None,
    decimal: Commas = None,
    as_text: Annotated[str | None, text("Columns of numbers that are names: zip,article.")] = None,
    missing: Missing = None, target_scaling: TargetScaling = None, drop_copies: Copies = None, memory: Memory = None,
    cache: CacheFolder = None,
    hidden: Annotated[str | None, text("Sizes of the hidden layers: 128,64.")] = None,
    activation: Annotated[str | None, text("relu, tanh, gelu, leaky_relu:slope=0.1, …")] = None,
    norm: Annotated[str | None, text("Normalisation: none, batch, layer, rms.")] = None,
    dropout: Annotated[float | None, typer.Option(help="Share of units left out.", min=0.0, max=0.95)] = None,
    residual: Residual = None, init: Init = None, noise: Noise = None, output_activation: End = None,
    start_at_frequencies: Start = None,
    loss: Annotated[str | None, text("huber:delta=2, poisson, binary_cross_entropy, …")] = None,
    label_smoothing: Annotated[float | None, typer.Option(help="Of classes, 0 to below 1.", min=0.0, max=0.99)] = None,
    class_weights: Annotated[str | None, text("balanced, or yes=5,no=1.")] = None,
    optimizer: Annotated[str | None, text("adamw, adam, momentum, sgd, lion, adamw:beta2=0.99, …")] = None,
    rate: Annotated[float | None, typer.Option(help="The learning rate.")] = None,
    decay: Annotated[float | None, typer.Option(help="Decoupled weight decay.", min=0.0)] = None,
    schedule: Annotated[str | None, text("constant, cosine, one_cycle, reduce_on_plateau:patience=5, …")] = None,
    warmup: Annotated[float | None, typer.Option(help="Epochs in which the rate rises.", min=0.0)] = None,
    epochs: Annotated[int | None, typer.Option(help="Most passes over the rows.", min=1)] = None,
    steps: Annotated[int | None, typer.Option(help="Most steps.", min=1)] = None,
    time_budget: Annotated[str | None, text("Most time: 30s, 10m, 2h.")] = None,
    early_stopping: Annotated[int | None, typer.Option(help="Epochs without progress; 0: none.", min=0)] = None,
    refit: Refit = None, other: Other = None, folds: Folds = None,
    batch_size: Annotated[int | None, typer.Option(help="Rows a step.", min=1)] = None,
    accumulate: Annotated[int | None, typer.Option(help="Batches an update.", min=1)] = None,
    l1: Annotated[float | None, typer.Option(help="Factor of Σ|W| in the loss.", min=0.0)] = None,
    l2: Annotated[float | None, typer.Option(help="Factor of ½ ΣW² in the loss.", min=0.0)] = None,
    max_norm: Annotated[float | None, typer.Option(help="Largest norm of a unit's weights.")] = None,
    mixup: Annotated[float | None, typer.Option(help="α of mixed pairs of rows; 0: none.", min=0.0)] = None,
    average: Annotated[float | None, typer.Option(help="Of the weights of epochs: 0.8; 0: none.", min=0.0)] = None,
    clip: Annotated[str | None, text("Gradients: 1 (global norm), value=, each=, layer=, adaptive=.")] = None,
    clip_value: Annotated[float | None, typer.Option(help="Largest size of one entry of the gradient.")] = None,
    non_finite: Annotated[str | None, text("Gradients that are not finite: raise, skip, zero.")] = None,
    metrics: Metrics = None,
    seed: Seed = None, dtype: Annotated[str | None, text("float32 or float64.")] = None,
    threads: Annotated[int | None, typer.Option(help="Threads to use.", min=1)] = None,
    checkpoint_every: Annotated[int | None, typer.Option(help="Steps between checkpoints.", min=1)] = None,
    flow: Flow = None, watch: Watch = False, watch_stay: WatchStay = False, control: Controlled = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Train a network on a table, and keep it as a run folder. What is not told is chosen, and said.

    Ctrl-C ends it early and keeps what was trained; undertow resume goes on with it, also after a crash. The folder
    holds config.toml, with which the training can be repeated to the last bit.

    Example: undertow train houses.csv --target price --hidden 128,64 --time-budget 10m
    """
    _train(locals())


def _train(options: dict[str, Any]) -> None:
    """Train with the settings of the options, of a file, and those that are chosen."""
    from undertow.train.diverged import Diverged
    from undertow.train.table import find_folder, train_table
    from undertow.train.table_settings import TableSettings, read_config

    config, out, overwrite, quiet, value = (
        options.pop(name) for name in ("config", "out", "overwrite", "quiet", "clip_value")
    )
    shown = {name: options.pop(name) for name in ("watch", "watch_stay", "control")}
    told = TableSettings(**{**options, **read_texts(options, value)})
    settings = told
    if config is not None:
        base = read_config(config)
        if told.refit is False or told.groups is not None or told.time is not None:  # then there are none
            base = replace(base, folds=None)
        if told.data is not None or told.dataset is not None:  # other data than that of the file
            base = TableSettings(
                **{k: v for k, v in base.given().items() if k not in ("data", "dataset", "data_digest", "data_bytes")}
            )
        settings = told.over(base)
    settings = _check_source(settings)
    folder = find_folder(settings, out)
    page = Page()
    tell_peak = limit_memory(settings.memory, page.say)
    with watched(folder, page, **shown) as callbacks:
        try:
            run, table = train_table(
                settings, folder, overwrite=overwrite, progress=not quiet, say=page.say, callbacks=callbacks
            )
        except Diverged as error:
            tell_findings(error, page)
            raise
        code = _finish(run, table, folder, page, tell_peak)
    raise typer.Exit(code)


def _check_source(settings: Any) -> Any:
    """ArgumentError unless there is one table with a target, or a data set; else the settings, the target named."""
    from undertow.data.examples import name_target
    from undertow.data.table_pieces import find_files

    if (settings.data is None) == (settings.dataset is None):
        raise ArgumentError("give either a file with --target, or --dataset digits.")
    if settings.data is not None:
        settings = replace(settings, target=name_target(Path(settings.data), settings.target))
    if settings.data is not None and settings.target is None:
        find_files(settings.data)  # which says so where a folder has none
        name, known = Path(settings.data).name, _tell_columns(settings.data, settings.header)
        raise ArgumentError(f"which column of {name} is to be predicted? Name it with --target.{known}")
    return settings


def _tell_columns(data: str, header: bool | None) -> str:
    """Name the columns of a table; nothing where it cannot be read, which the training then says."""
    from polars import DataFrame

    from undertow.data.header import offer_no_header
    from undertow.data.wording import list_names
    from undertow.train.table_data import column_names

    names = column_names(data, header)
    return f" The columns are {list_names(names)}.{offer_no_header(DataFrame(schema=names))}" if names else ""


def read_texts(options: dict[str, Any], clip_value: float | None) -> dict[str, Any]:
    """Read the options that are texts."""
    return {
        "task": None if options["task"] == "auto" else options["task"],
        "hidden": read_sizes(options["hidden"]),
        "clip": read_clip(options["clip"], clip_value),
        "metrics": read_names(options["metrics"]),
        "leave_out": read_names(options["leave_out"]),
        "as_text": read_names(options["as_text"]),
        "missing": options["missing"] or None,
        "time_budget": read_seconds(options["time_budget"]),
    }


def _finish(run: Any, table: Any, folder: Path, page: Page, tell_peak: Callable[[], None]) -> int:
    """Say what came of it; return the exit code. A Ctrl-C meanwhile does nothing: the run is saved already."""
    from undertow.data.footprint import give_back
    from undertow.train.interrupt import hold_interrupts
    from undertow.train.table_words import summarize

    recorded = run.record is not None
    failure: RunError | None = None
    give_back()
    with hold_interrupts():
        page.say(lambda: f"\n{show_flow(run.flow) if recorded else show_gradients(run)}\n{summarize(run, table)}")
        if recorded:
            page.say(lambda: show_findings(run.findings))
            try:
                page.say(f"report: {run.report(folder / 'report.html')}")
            except RunError as error:  # the run is saved: what else there is to say comes first
                failure = error
        tell_peak()
        page.say(f"saved in {folder}; read its backward pass with: undertow explain {folder}")
        if run.stopped == "interrupted":
            page.say(f"interrupted; go on with: undertow resume {folder}")
    page.failure = page.failure or failure
    page.close(f" The run is saved in {folder}.")
    return INTERRUPTED if run.stopped == "interrupted" else 0


@app.command()
def resume(
    run: RunFolder,
    epochs: Annotated[int | None, typer.Option(help="Epochs in all, those done included.", min=1)] = None,
    steps: Annotated[int | None, typer.Option(help="Steps in all, those done included.", min=1)] = None,
    time_budget: Annotated[str | None, text("Time in all, that spent included: 30s, 10m, 2h.")] = None,
    watch: Watch = False,
    watch_stay: WatchStay = False,
    control: Controlled = False,
    quiet: Quiet = False,
) -> None:
    """Go on with a training that was interrupted or killed.

    It ends as if it had never stopped.

    --epochs N is the number of all epochs, not of further ones: a run of 100 epochs gets 300 more with --epochs 400.
    The data file must be as it was. The schedule of the learning rate stays that of the first training.

    Example: undertow resume runs/houses --epochs 400
    """
    from undertow.train.diverged import Diverged
    from undertow.train.table import resume_table
    from undertow.train.table_settings import CONFIG, read_config

    page = Page()
    memory = read_config(run / CONFIG).memory if (run / CONFIG).is_file() else None
    tell_peak = limit_memory(memory, page.say)
    seconds = read_seconds(time_budget)
    shown = {"watch": watch, "watch_stay": watch_stay, "control": control}
    with watched(run, page, **shown, listened=(run / "controls.jsonl").is_file()) as callbacks:
        try:
            found, table = resume_table(
                run, epochs=epochs, steps=steps, seconds=seconds, progress=not quiet, say=page.say, callbacks=callbacks
            )
        except Diverged as error:
            tell_findings(error, page)
            raise
        code = _finish(found, table, run, page, tell_peak)
    raise typer.Exit(code)


@app.command("find-lr")
def find_lr(
    data: File = None,
    target: Annotated[str | None, text("The column to predict.")] = None,
    dataset: Annotated[str | None, text("A data set that is shipped: digits.")] = None,
    header: Header = None,
    config: Annotated[Path | None, text("Further settings from a file.")] = None,
    task: Annotated[str | None, text("classification or regression.")] = None,
    weights: Annotated[str | None, text("The column that says how much a row counts.")] = None,
    leave_out: Annotated[str | None, text("Columns that are no features: id,name.")] = None,
    missing: Missing = None,
    loss: Annotated[str | None, text("huber:delta=2, poisson, …")] = None,
    optimizer: Annotated[str | None, text("Whose rate it is.")] = None,
    hidden: Annotated[str | None, text("Sizes of the hidden layers.")] = None,
    batch_size: Annotated[int | None, typer.Option(min=1)] = None,
    low: Annotated[float, typer.Option(help="The first rate.")] = 1e-6,
    high: Annotated[float, typer.Option(help="The last rate.")] = 10.0,
    steps: Annotated[int, typer.Option(help="Steps between them.", min=10)] = 200,
    seed: Seed = None,
    memory: Memory = None,
    cache: CacheFolder = None,
    quiet: Quiet = False,
) -> None:
    """Look for a learning rate.

    It grows from step to step, until the loss does not fall any more.

    Example: undertow find-lr houses.csv --target price --optimizer momentum
    """
    from undertow.train.table import probe_rates
    from undertow.train.table_settings import TableSettings, read_config

    told = TableSettings(
        data=data, target=target, dataset=dataset, optimizer=optimizer, hidden=read_sizes(hidden),
        batch_size=batch_size, seed=seed, header=header, memory=memory, cache=cache, weights=weights, loss=loss,
        task=None if task == "auto" else task, leave_out=read_names(leave_out),
        missing=missing or None,
    )  # fmt: skip
    settings = told if config is None else told.over(read_config(config))
    settings = _check_source(settings)
    page = Page()
    tell_peak = limit_memory(settings.memory, page.say)
    found = probe_rates(settings, low=low, high=high, steps=steps, progress=not quiet)
    tell_peak()
    page.say(found.reason)
    if found.rate is not None:
        page.say(f"try: --rate {found.rate:g}")
    page.close("")
    if found.rate is None:
        raise typer.Exit(1)
