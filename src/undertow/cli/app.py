"""The commands' common frame: help, version, and errors that are one line."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated, Any, Final

import typer

from undertow.errors import UndertowError
from undertow.spelling import offer

app = typer.Typer(
    help="Backpropagation you can read, watch and trust.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

INTERRUPTED: Final = 130  # the exit code
_LONGEST = 500  # characters of a word that is told whole
_AS_OPTIONS: Final = {
    "clip=undertow.optim.clip_by_global_norm(1.0)": "--clip 1",
    "task='classification'": "--task classification",
    "Train with flow=True and checkpoint=, or save the run": "Train without --no-flow",
    "or overwrite it (overwrite=True, or --overwrite)": "or overwrite it with --overwrite",
}
_ELSEWHERE: Final = {
    "--lr": "--rate",
    "--learning-rate": "--rate",
    "--output": "--out",
    "--patience": "--early-stopping",
    "--weight-decay": "--decay",
    "--validation-split": "--validation",
    "--test-size": "--validation",
    "--layers": "--hidden",
    "--exclude": "--leave-out",
    "--drop": "--leave-out",
    "--ignore": "--leave-out",
    "--class-weight": "--class-weights",
    "--batch": "--batch-size",
    "--learning_rate": "--rate",
    "--batch_size": "--batch-size",
    "--label": "--target",
    "--y": "--target",
    "--force": "--overwrite",
    "--random-state": "--seed",
    "fit": "train",
    "test": "evaluate",
    "eval": "evaluate",
    "lr-find": "find-lr",
    "live": "watch",
    "serve": "watch",
}


def show_version(wanted: bool) -> None:
    """Print the version and stop."""
    if wanted:
        from undertow import __version__

        typer.echo(f"undertow {__version__}")
        raise typer.Exit


@app.callback()
def root(version: Annotated[bool, typer.Option("--version", callback=show_version, is_eager=True)] = False) -> None:
    """Backpropagation you can read, watch and trust."""


def fail(message: str) -> int:
    """Print an error on one line, with options in place of Python's arguments; return the exit code."""
    for python, option in _AS_OPTIONS.items():
        message = message.replace(python, option)
    words = (word if len(word) <= _LONGEST else f"{word[: _LONGEST // 4]}…" for word in message.split())
    with suppress(OSError, ValueError):
        typer.echo(f"error: {' '.join(words)}", err=True)
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
            return fail(_say_instead(error))
        if os.environ.get("UNDERTOW_DEBUG"):  # a fault of ours: no traceback, unless it is asked for
            raise
        said = f"{type(error).__name__}: {error}"
        said = said if len(said) <= _LONGEST else f"{said[:_LONGEST]} …"  # LLVM quotes each line that it refuses
        return fail(f"{said}. This is a fault in Undertow; UNDERTOW_DEBUG=1 shows where.")


def _say_instead(error: Any) -> str:
    """What is wrong with the arguments, and for what other programs call so, the option or command of ours."""
    told = error.format_message()
    option = _ELSEWHERE.get(getattr(error, "option_name", None) or "")
    context: Any = getattr(error, "ctx", None)
    params = getattr(getattr(context, "command", None), "params", ())
    if option is not None and any(option in param.opts for param in params):
        return f"No such option: {error.option_name}. Use {option}."
    if told.startswith("Got unexpected extra argument"):
        more = told.partition(" (")[2].removesuffix(")")
        return f"unexpected: {more}. To read several files as one table, quote their pattern: 'data/*.csv'."
    if told.startswith("No such command"):
        name = told.split("'")[1]
        if name == "help":
            return "there is no command 'help'. Use undertow --help, or undertow train --help."
        names = [info.name or getattr(info.callback, "__name__", "") for info in app.registered_commands]
        return f"there is no command {name!r}. {offer(_ELSEWHERE.get(name, name), names)}."
    if told.startswith("No such option") and "(" not in told:
        told = f"{told.rstrip('.')}. undertow {context.info_name} --help lists them."
    if told.startswith("Missing argument"):
        told = f"{told.rstrip('.')}. undertow {context.info_name} --help shows an example."
    return str(told)
