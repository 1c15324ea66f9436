"""The command predict; a plain call of it starts without typer, which takes as long to load as all else it needs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any


def predict_file(
    run: Path,
    data: Path,
    out: Path | None,
    probabilities: bool,
    memory: float | None,
    say: Callable[..., Any],
    note: Callable[[str], Any],
    quiet: bool = False,
    keep: Sequence[str] = (),
    threshold: str | None = None,
) -> None:
    """Predict the rows of a file, onto the screen or into another file.

    Args:
        run: a run folder.
        data: a CSV or Parquet file.
        out: where to; None for the screen.
        probabilities: whether to add a column for each class.
        memory: MB that the process may take; None for a quarter of the memory beside what it takes by itself.
        say: prints a text; called with ``nl=False`` for texts that end in a line break.
        note: prints a remark about the data.
        quiet: whether not to show how far reading has come.
        keep: columns of the file that are put beside the predictions.
        threshold: above which probability one of two classes is predicted.
    """
    from undertow.data.footprint import find_reading
    from undertow.train.checkpoint import load
    from undertow.train.predictions import predict_portions
    from undertow.train.written_predictions import check_predictions_place, write_predictions

    if out is not None:
        check_predictions_place(out, data)
    remarks: list[str] = []
    trained = load(run)
    note_divergence(trained, note)
    portions = predict_portions(trained, data, probabilities, remarks, find_reading(memory), keep, threshold)

    def tell() -> None:
        while remarks:
            note(remarks.pop(0))

    if out is None:
        for number, frame in enumerate(portions):
            tell()
            say(frame.write_csv(include_header=number == 0), nl=False)
        tell()  # what is said of all rows
        return
    from undertow.train.reading_progress import ReadingProgress

    with ReadingProgress(not quiet, stderr=True):
        n = write_predictions(portions, out)
    tell()
    say(f"{n} prediction{'s' * (n != 1)} in {out}")


def note_divergence(run: Any, note: Callable[[str], Any]) -> None:
    """Warn of a model whose training diverged: it predicts, but not well."""
    if run.stopped == "diverged":
        note(
            "the training of this run diverged, so its predictions are of little use. What is wrong: undertow diagnose "
            f"{run.folder}"
        )


def read_plain(arguments: list[str]) -> dict[str, Any] | None:
    """Read a plain call of predict: two paths, ``--out`` and ``--probabilities``.

    Args:
        arguments: of the command line, without the program.

    Returns:
        Arguments for `predict_file`; None for all else, which typer reads: other commands, help, mistakes.

    Source: derived here.

    Example:
        >>> read_plain(["predict", "run", "new.csv", "--out", "found.csv"])["out"].name
        'found.csv'
        >>> read_plain(["predict", "run", "--help"]) is None
        True
    """
    if arguments[:1] != ["predict"]:
        return None
    paths: list[str] = []
    found: dict[str, Any] = {"out": None, "probabilities": False}
    rest = iter(arguments[1:])
    for argument in rest:
        if argument == "--probabilities":
            found["probabilities"] = True
        elif argument == "--out":
            out = next(rest, "-")
            if out.startswith("-"):
                return None
            found["out"] = Path(out)
        elif argument.startswith("-"):
            return None
        else:
            paths.append(argument)
    return {"run": Path(paths[0]), "data": Path(paths[1]), **found} if len(paths) == 2 else None


def predict_plainly(arguments: list[str]) -> bool:
    """Run a plain call of predict.

    Args:
        arguments: of the command line, without the program.

    Returns:
        Whether it was one; if not, nothing is done.
    """
    told = read_plain(arguments)
    if told is None:
        return False
    predict_file(**told, memory=None, say=_print, note=lambda remark: print(f"note: {remark}", file=sys.stderr))
    return True


def _print(text: str, nl: bool = True) -> None:
    """Print as `undertow.cli.output.say` does."""
    from undertow.errors import RunError

    try:
        print(text, end="\n" if nl else "", flush=True)
    except BrokenPipeError:
        raise SystemExit(0) from None
    except (OSError, ValueError) as error:
        raise RunError(f"the standard output cannot be written: {getattr(error, 'strerror', None) or error}.") from None
