"""The server of a page that is fed while a training goes on: three answers, and one way to write."""

from __future__ import annotations

import asyncio
import json

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from undertow.errors import UndertowError
from undertow.report.live.control import write_wish
from undertow.report.live.feed import Feed
from undertow.report.live.guard import Door, Guard
from undertow.report.live.page import Pages

LARGEST_BODY = 1000  # bytes of a control


def make_application(feed: Feed, door: Door, control: bool = False) -> Guard:
    """Make the server.

    Args:
        feed: of the run.
        door: whom to let in.
        control: whether watchers may pause, resume, stop, and change the learning rate.

    Returns:
        An ASGI application: ``GET /`` is the page, ``GET /events`` the stream, ``POST /control`` the way to write.

    Source: derived here.

    Example:
        >>> from undertow.report.live.folder import RunFolder
        >>> application = make_application(Feed(RunFolder("no-such-run")), Door("127.0.0.1", 8000))
        >>> application.door.url
        'http://127.0.0.1:8000/'
    """
    pages = Pages(feed.folder.path, feed.folder.name, door.page_token, control)

    async def show_page(request: Request) -> Response:
        page = await asyncio.to_thread(pages.current)
        answer = Response(page.text, headers={"content-security-policy": page.policy}, media_type="text/html")
        if door.token is not None:
            answer.set_cookie(door.cookie, door.token, httponly=True, samesite="strict", path="/")
        return answer

    async def stream_events(request: Request) -> Response:
        return StreamingResponse(feed.watch(), media_type="text/event-stream", headers={"x-accel-buffering": "no"})

    async def take_control(request: Request) -> Response:
        if not control:
            return PlainTextResponse("This page only shows: start it with --control to change anything.\n", 403)
        return await _take_control(feed, request)

    routes = [
        Route("/", show_page, methods=["GET"]),
        Route("/events", stream_events, methods=["GET"]),
        Route("/control", take_control, methods=["POST"]),
    ]
    return Guard(Starlette(routes=routes), door)


async def _take_control(feed: Feed, request: Request) -> Response:
    """Write what a watcher wishes, where somebody listens."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > LARGEST_BODY:
            return PlainTextResponse("A control is shorter than this.\n", 413)
    if request.headers.get("content-type", "").partition(";")[0] != "application/json":
        return PlainTextResponse("A control is JSON.\n", 415)
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        told = None
    if not isinstance(told, dict) or not isinstance(told.get("action"), str):
        return PlainTextResponse('A control is JSON such as {"action": "pause"}.\n', 400)
    await feed.refresh()
    if not feed.folder.status.listens:
        return PlainTextResponse(f"{feed.folder.status.why_deaf()}\n", 409)
    by = f"a watcher at {request.client.host}" if request.client else "a watcher"
    try:
        wish = write_wish(feed.folder.path, told["action"], told.get("factor"), by)
    except UndertowError as error:
        return PlainTextResponse(f"{error}\n", 400)
    return PlainTextResponse(f"{wish.number}\n")
