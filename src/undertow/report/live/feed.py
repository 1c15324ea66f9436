"""One reader for all watchers: the folder of a run is read once a tick, and not at all while nobody looks on."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections import deque
from collections.abc import AsyncIterator
from typing import Any, Final

from undertow.report.live.folder import RunFolder

TICK: Final = 0.5  # seconds between two looks, at least
SHARE: Final = 0.05  # of one processor that reading may take: after a slow look the next one is the later
LONGEST: Final = 10.0  # seconds that a slow look may put off the next one
BYTES: Final = 20e6  # that are sent in a second at most, to all watchers together
HEARTBEAT: Final = 15.0  # seconds of silence after which a comment is sent, so that nothing between closes the stream
KEPT: Final = 32  # updates that are kept for watchers that are slow
RETRY: Final = 2000  # ms after which a browser asks again when a stream broke off


class Feed:
    """The stream of events about a run, for any number of watchers.

    A watcher gets ``start`` with all data, and then ``update`` with what is new; one that is too slow for that gets all
    data again. Each event is written once and shared. ``training``, ``paused``, ``waiting`` and ``ended`` tell that the
    state of the training has changed; ``trouble`` that the files could not be read; ``closed`` that this server ends.

    Args:
        folder: of the run.
        tick: seconds between two looks, at least.

    Attributes:
        ticks: how often it looked.
        watchers: how many look on.

    Source: Server-sent events: HTML Living Standard, section 9.2.

    Example:
        >>> async def first_event():
        ...     feed = Feed(RunFolder("no-such-run"))
        ...     async for chunk in feed.watch():
        ...         if b"event: waiting" in chunk:
        ...             await feed.close()
        ...             return [line for line in chunk.splitlines() if line.startswith(b"event")]
        >>> asyncio.run(first_event())
        [b'event: start', b'event: waiting']
    """

    def __init__(self, folder: RunFolder, tick: float = TICK) -> None:
        self.folder, self.tick = folder, tick
        self.ticks = self.watchers = self.number = 0
        self.closing = False
        self._fresh = False  # whether what is known is not older than a tick
        self._state: dict[str, Any] = {}  # as of the last update: the folder may already know more
        self._start: bytes | None = None
        self._updates: deque[tuple[int, bytes]] = deque(maxlen=KEPT)
        self._status = ""
        self._changed = asyncio.Event()
        self._wake = asyncio.Event()
        self._lock = asyncio.Lock()
        self._poller: asyncio.Task[None] | None = None

    async def watch(self) -> AsyncIterator[bytes]:
        """Stream the events to one watcher."""
        yield f"retry: {RETRY}\n\n".encode()
        self.watchers += 1
        if self._poller is None or self._poller.done():
            self._fresh = False
            self._poller = asyncio.create_task(self._poll())
        seen = -1
        try:
            while True:
                changed = self._changed
                if self._fresh:
                    events, seen = self._since(seen), self.number
                    for event in events:
                        yield event
                if seen == self.number or not self._fresh:
                    if self.closing:
                        yield write_event("closed", {})
                        return
                    try:
                        await asyncio.wait_for(changed.wait(), HEARTBEAT)
                    except TimeoutError:
                        yield b": nothing new\n\n"
        finally:
            self.watchers -= 1
            if not self.watchers:
                self._wake.set()

    async def refresh(self) -> None:
        """Look now."""
        async with self._lock:
            before = self.folder.version
            update = await asyncio.to_thread(self._look)
            self.ticks += 1
            if self.folder.version != before or not self._fresh:
                self._add(update)
                self._state, self._start = self.folder.state(), None
                self._fresh = True
                self._tell()

    def _look(self) -> bytes:
        """Look, and write what is new as events; empty where nothing is."""
        before = self.folder.version
        return self._write_update(before) if self.folder.look() else b""

    def _add(self, event: bytes) -> None:
        if event:
            self.number += 1
            self._updates.append((self.number, event))

    async def close(self) -> None:
        """Look a last time, tell the watchers, and end their streams."""
        if self.closing:
            return
        if self.watchers:
            with contextlib.suppress(Exception):  # then the last that could be read is the end
                await self.refresh()
        self.closing = True
        self._tell()
        self._wake.set()
        if self._poller is not None:
            await self._poller

    def _tell(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def _poll(self) -> None:
        """Look again and again, until nobody looks on."""
        while self.watchers and not self.closing:
            begun = time.process_time()
            try:
                await self.refresh()
            except Exception as error:  # whatever is in the files: the watchers are told, and the next look may succeed
                trouble = write_event("trouble", {"sentence": f"The run cannot be read: {error}"})
                if not self._updates or self._updates[-1][1] != trouble:
                    self._add(trouble)
                    self._start, self._fresh = None, True
                    self._tell()
            sent = len(self._updates[-1][1]) * self.watchers if self._updates else 0
            work = min((time.process_time() - begun) / SHARE, LONGEST)
            pause = max(self.tick, work, sent / BYTES)
            self._wake.clear()
            if not self.watchers or self.closing:
                break
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), pause)

    def _write_update(self, since: int) -> bytes:
        """What is new, as events."""
        news = self.folder.news(since)
        kind = self.folder.status.kind
        event = write_event("start" if "data" in news else "update", news)
        if kind != self._status:
            self._status = kind
            event += write_event(kind, news["status"])
        return event

    def _since(self, seen: int) -> list[bytes]:
        """The events that a watcher has not seen."""
        found = [event for number, event in self._updates if number > seen]
        if seen >= 0 and len(found) == self.number - seen:
            return found
        if self._start is None:
            if not self._state:  # nothing could be read yet
                return found
            status = self._state["status"]
            self._start = write_event("start", self._state) + write_event(status["kind"], status)
        return [self._start]


def write_event(kind: str, data: Any) -> bytes:
    """Write an event.

    Args:
        kind: its name.
        data: plain data; numbers that are not finite become null.

    Returns:
        The bytes of the stream.

    Source: HTML Living Standard, section 9.2.6.

    Example:
        >>> write_event("update", {"loss": float("nan")}).splitlines()
        [b'event: update', b'data: {"loss":null}', b'']
    """
    try:
        text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    except ValueError:
        text = json.dumps(_finite(data), allow_nan=False, separators=(",", ":"))
    return f"event: {kind}\ndata: {text}\n\n".encode()


def _finite(value: Any) -> Any:
    """Plain data without numbers that JSON does not have."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and value - value != 0 else value
