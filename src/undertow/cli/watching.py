"""The command watch: the page of a run while it is trained."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from undertow.cli.app import app
from undertow.cli.options import text
from undertow.cli.output import Page, say

Watched = Annotated[Path, typer.Argument(help="A run folder; it need not be there yet.", show_default=False)]


@app.command()
def watch(
    run: Watched,
    port: Annotated[int, typer.Option(help="0: one that is free.", min=0, max=65535)] = 0,
    host: Annotated[str, typer.Option(help="Others than this machine's own need a token.")] = "127.0.0.1",
    token: Annotated[str | None, text("What a watcher must show; made where it is needed.")] = None,
    control: Annotated[
        bool, typer.Option("--control", help="Let watchers pause and stop, and change the learning rate.")
    ] = False,
    open: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
) -> None:
    """Show a run on a page that goes on while it is trained.

    How it stands, the findings, the flow of the gradient.

    It reads the run folder only, and only while somebody looks. Ctrl-C ends it, and leaves the training alone.

    Example: undertow watch runs/houses --open
    """
    from undertow.report.live.watch import give_way, serve

    give_way()

    def tell(url: str) -> None:
        say(f"{run} is shown at {url}\nCtrl-C ends this page, not the training.")
        if host in ("0.0.0.0", "::"):
            say("From other machines, put the name of this one in place of that address.")
        if open:
            import webbrowser

            webbrowser.open(url)

    with suppress(KeyboardInterrupt):
        serve(run, host=host, port=port, token=token, control=control, ready=tell)


@contextmanager
def watched(
    folder: Path, page: Page, *, watch: bool, watch_stay: bool, control: bool, listened: bool = False
) -> Iterator[list[Any]]:
    """Show a training while it goes on, if that is wanted.

    Args:
        folder: of the run.
        page: what prints.
        watch: whether to show it.
        watch_stay: whether the page stays after the end of the training, until Ctrl-C.
        control: whether training listens to the controls of a page; also of one that `undertow watch` serves.
        listened: whether it did so before it was interrupted, and thus goes on doing so.

    Yields:
        The callbacks that the training needs.
    """
    callbacks: list[Any] = []
    if control or listened:
        from undertow.report.live import Control

        callbacks.append(Control(folder))
    if not watch and not watch_stay:
        yield callbacks
        return
    from undertow.report.live import start_watching

    with start_watching(folder, control=control) as server:
        page.say(f"  watch it at {server.url}")
        yield callbacks
        if watch_stay and server.alive:
            page.say(f"The page stays at {server.url} until Ctrl-C.")
            with suppress(KeyboardInterrupt):
                server.wait()
