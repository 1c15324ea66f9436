"""The web server of a live page."""

from __future__ import annotations

import socket
from typing import Final

import uvicorn

from undertow.report.live.application import make_application
from undertow.report.live.feed import Feed
from undertow.report.live.guard import Door

ENDING: Final = 5  # seconds that open streams have to end


class LiveServer(uvicorn.Server):
    """A server of one run, which ends its streams before it waits for them.

    Args:
        feed: of the run.
        door: whom to let in.
        control: whether watchers may pause, resume, stop, and change the learning rate.

    Source: derived here.
    """

    def __init__(self, feed: Feed, door: Door, control: bool = False) -> None:
        self.live = feed
        application = make_application(feed, door, control)
        config = uvicorn.Config(
            application, log_level="error", access_log=False, ws="none", lifespan="off", server_header=False,
            timeout_graceful_shutdown=ENDING, loop="asyncio", http="h11",
        )  # fmt: skip
        super().__init__(config)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Tell the watchers what is new a last time, and end."""
        await self.live.close()
        await super().shutdown(sockets)
