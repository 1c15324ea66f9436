"""Starting a server: in this process for a command, or in one of its own beside a training."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from undertow.errors import ArgumentError, RunError, UnsupportedError
from undertow.report.live.guard import Door, choose_token
from undertow.train.files import read_path

STARTING: Final = 60.0  # seconds after which a server that says nothing is given up
ENDING: Final = 5.0
MISSING: Final = "watching needs the libraries Starlette and uvicorn. Install them with: pip install starlette uvicorn"
LAST_PORT: Final = 65535
NICE: Final = 10  # training goes first
ONE_THREAD: Final = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "POLARS_MAX_THREADS", "UNDERTOW_NUM_THREADS")


def give_way() -> None:
    """Let this process, which only serves, have what trainings leave: a low priority, and one thread for reading.

    Source: derived here.
    """
    if hasattr(os, "nice"):
        with suppress(OSError):
            os.nice(NICE)
    for name in ONE_THREAD:
        os.environ.setdefault(name, "1")


def serve(
    folder: str | Path,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    token: str | None = None,
    control: bool = False,
    ready: Callable[[str], Any] = print,
    until: Callable[[], Any] | None = None,
) -> None:
    """Serve the live page of a run, until Ctrl-C.

    Args:
        folder: of the run; it need not be there yet.
        host: the address on which to listen; others than those of this machine itself need a token.
        port: 0 for one that is free.
        token: what a watcher must show; made where host or control need one.
        control: whether watchers may pause, resume and stop the training and change its learning rate.
        ready: called with the address, token included, when the server listens.
        until: called in a thread of its own; when it returns, the server ends.

    Raises:
        ArgumentError: a port or token that is none.
        RunError: the folder is a file; ``port 8000 of 127.0.0.1 cannot be used: Address already in use. …``
        UnsupportedError: Starlette or uvicorn is not installed.

    Source: derived here.
    """
    _check_installed()
    place = read_path(folder, "the folder of a run")
    if os.path.lexists(place) and not place.is_dir():
        raise RunError(f"{folder} is a file, not a folder. Give the folder of a run.")
    door, listening = _open_door(host, port, choose_token(host, token, control))
    with listening:
        from undertow.report.live.feed import Feed
        from undertow.report.live.folder import RunFolder
        from undertow.report.live.server import LiveServer

        server = LiveServer(Feed(RunFolder(place)), door, control)
        ready(door.url)
        if until is not None:
            threading.Thread(target=_end_after, args=(until, server), daemon=True).start()
        server.run([listening])


def _end_after(until: Callable[[], Any], server: Any) -> None:
    until()
    server.should_exit = True


def _check_installed() -> None:
    if find_spec("starlette") is None or find_spec("uvicorn") is None:
        raise UnsupportedError(MISSING)


def _open_door(host: str, port: int, token: str | None) -> tuple[Door, socket.socket]:
    """Listen, and tell under which names."""
    if isinstance(port, bool) or not isinstance(port, int) or not 0 <= port <= LAST_PORT:
        raise ArgumentError(f"a port is a whole number from 0 to {LAST_PORT}, got {port!r}.")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError):
        raise ArgumentError(f"{host!r} is no address of this machine. Give one such as 127.0.0.1 or 0.0.0.0.") from None
    family, _, _, _, address = found[0]
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(128)
    except OSError as error:
        listening.close()
        reason = error.strerror or error
        raise RunError(
            f"port {port} of {host} cannot be used: {reason}. Choose another, or leave it out for one that is free."
        ) from None
    return Door(host, listening.getsockname()[1], token), listening


@dataclass(eq=False)
class Watch:
    """A server in a process of its own, that shows a run.

    Attributes:
        url: where to point a browser, with the token if there is one.
        folder: of the run.
        process: the number of the server's process.
    """

    url: str
    folder: Path
    process: int
    _child: Any = field(repr=False, default=None)

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def alive(self) -> bool:
        """Whether the server runs."""
        return self._child.poll() is None

    def stop(self) -> None:
        """End the server; watchers get what was last written before. A second call does nothing."""
        _end(self._child, 2 * ENDING)

    def wait(self) -> None:
        """Return when the server has ended."""
        self._child.wait()

    def _repr_html_(self) -> str:
        from html import escape

        return f'<a href="{escape(self.url)}" target="_blank" rel="noopener">{escape(str(self.folder))}, live</a>'


def start_watching(
    folder: str | Path,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    token: str | None = None,
    control: bool = False,
) -> Watch:
    """Start a server that shows a run while it is trained, in a process of its own.

    It reads the folder and nothing else, so training is not slowed; it ends with this process, however that ends.

    Args:
        folder: of the run, as given to ``train(..., checkpoint=folder)``; it need not be there yet.
        host: see `serve`.
        port: see `serve`.
        token: see `serve`.
        control: see `serve`; the training also needs ``callbacks=Control(folder)``.

    Returns:
        The server: its ``url``, and ``stop()``.

    Raises:
        ArgumentError, RunError, UnsupportedError: see `serve`.

    Source: derived here.

    Example:
        >>> watch = start_watching("runs/a")
        >>> watch.url.startswith("http://127.0.0.1:"), watch.alive
        (True, True)
        >>> watch.stop()
        >>> watch.alive
        False
    """
    _check_installed()
    place = Path(os.path.abspath(read_path(folder, "the folder of a run")))
    choose_token(host, token, control)  # what is wrong with it is said here
    source = str(Path(__file__).parents[3])
    paths = os.pathsep.join(filter(None, [source, os.environ.get("PYTHONPATH", "")]))
    child = subprocess.Popen(
        [sys.executable, "-m", "undertow.report.live"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, **dict.fromkeys(ONE_THREAD, "1"), "PYTHONPATH": paths},
        start_new_session=True,  # Ctrl-C is for the training; the server ends after it
    )
    told = {"folder": str(place), "host": host, "port": port, "token": token, "control": control}
    answer = _ask(child, told)
    if "url" not in answer:
        _end(child, 0)
        kinds = {kind.__name__: kind for kind in (ArgumentError, RunError, UnsupportedError)}
        raise kinds.get(answer.get("kind", ""), RunError)(
            answer.get("error", "the server of the live page did not start.")
        )
    return Watch(answer["url"], Path(folder), child.pid, child)


def _end(child: Any, seconds: float) -> None:
    """End a server: it ends by itself when its pipe is closed, or is killed after some seconds."""
    for stream in (child.stdin, child.stdout):
        with suppress(OSError):
            stream.close()
    try:
        child.wait(seconds)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _ask(child: Any, told: dict[str, Any]) -> dict[str, Any]:
    """Tell a server its settings, and read where it is; by a pipe, so that no other user sees the token."""
    late = threading.Timer(STARTING, child.kill)
    late.start()
    try:
        child.stdin.write(json.dumps(told).encode() + b"\n")
        child.stdin.flush()
        found = json.loads(child.stdout.readline() or b"{}")
        return found if isinstance(found, dict) else {}
    except (OSError, ValueError):
        return {}
    finally:
        late.cancel()
