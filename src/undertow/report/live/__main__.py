"""The server beside a training: reads its settings from a pipe, and ends when that is closed."""

from __future__ import annotations

import json
import sys

from undertow.errors import UndertowError
from undertow.report.live.watch import give_way, serve


def main() -> int:
    """Serve until the standard input ends, as it does when the training does."""
    told = json.loads(sys.stdin.buffer.readline())

    def answer(found: dict[str, str]) -> None:
        print(json.dumps(found), flush=True)

    def ready(url: str) -> None:
        answer({"url": url})
        give_way()  # not before: the training waits for the address

    try:
        serve(told.pop("folder"), **told, ready=ready, until=sys.stdin.buffer.read)
    except UndertowError as error:
        answer({"kind": type(error).__name__, "error": str(error)})
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
