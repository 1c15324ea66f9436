"""Who may ask: checks on every request, before anything else looks at it.

A page of another site can make a browser send requests to this machine, and a name under its control can be made to
point here (DNS rebinding). So the names in Host and Origin are checked, and what the browser says of where a request
comes from; beyond this machine, a token is needed as well.
"""

from __future__ import annotations

import hmac
import ipaddress
import secrets
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, urlsplit

from undertow.errors import ArgumentError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

LEAST_TOKEN: Final = 8  # characters
HEADERS: Final = {
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}
NOTHING_ALLOWED: Final = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
TOKEN_COOKIE, TOKEN_QUERY = "undertow-watch", "token"


@dataclass(frozen=True)
class Door:
    """Under which names a server is asked, and with which token.

    Attributes:
        host: the address on which it listens.
        port: its port.
        token: what a watcher must show, or None.
        page_token: what a page that came from here shows when it writes; new with every server.
    """

    host: str
    port: int
    token: str | None = None
    page_token: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)

    @property
    def url(self) -> str:
        """Where to point a browser, with the token."""
        shown = "127.0.0.1" if self.host in ("0.0.0.0", "") else "::1" if self.host == "::" else self.host
        shown = f"[{shown}]" if ":" in shown else shown
        return f"http://{shown}:{self.port}/" + (f"?{TOKEN_QUERY}={self.token}" if self.token else "")

    @property
    def cookie(self) -> str:
        """The name of the cookie: cookies know no ports, so servers on one machine would take each other's."""
        return f"{TOKEN_COOKIE}-{self.port}"

    def refuse(self, method: str, headers: dict[str, str], query: str = "") -> str | None:
        """Say why a request is refused.

        Args:
            method: ``"GET"``, ….
            headers: of the request, with names in lower case.
            query: of its address.

        Returns:
            A sentence, or None where it is let in.
        """
        host = headers.get("host", "")
        if not self.knows_host(host):
            return (
                f"This page is not served under the name {host[:80]!r}. Open the address that undertow watch printed."
            )
        origin = headers.get("origin")
        if origin is not None and origin.lower() != f"http://{host.lower()}":
            return f"A page of another origin ({origin[:80]}) asked for this. Open it in a window of its own."
        site, navigates = headers.get("sec-fetch-site"), headers.get("sec-fetch-mode") == "navigate"
        opened = navigates and headers.get("sec-fetch-dest", "document") == "document" and method in ("GET", "HEAD")
        if site not in (None, "same-origin", "none") and not opened:
            return "A page of another site asked for this. Open it in a window of its own."
        if not self.knows_token(headers.get("cookie", ""), headers.get("authorization", ""), query):
            return "The token is missing or wrong. Open the address that undertow watch printed, with its token."
        if method == "POST" and not same(headers.get("x-undertow-page", ""), self.page_token):
            return "This was not sent by the page that this server gave. Load the page again."
        if method == "POST" and origin is None and site is None:
            return "A control must come from the page: the request says no origin."
        return None

    def knows_host(self, host: str) -> bool:
        """Whether Host is a name of this server; on loopback only names that cannot be made to point elsewhere."""
        try:
            name = urlsplit(f"//{host}").hostname or ""
            urlsplit(f"//{host}").port  # noqa: B018 (a ValueError where it is none)
        except ValueError:
            return False
        if any(mark in host for mark in "/@?#\\ "):
            return False
        if is_loopback(self.host):
            return is_loopback(name)
        own = {self.host.lower(), "localhost", socket.gethostname().lower(), socket.getfqdn().lower()}
        return is_address(name) or name in own

    def knows_token(self, cookie: str, authorization: str, query: str) -> bool:
        """Whether the token is shown: in the address, in a cookie, or as ``Authorization: Bearer``."""
        if self.token is None:
            return True
        asked = parse_qs(query).get(TOKEN_QUERY, [])
        kept = [pair.strip().removeprefix(f"{self.cookie}=") for pair in cookie.split(";") if self.cookie in pair]
        told = [authorization.removeprefix("Bearer ")] if authorization.startswith("Bearer ") else []
        return any([same(found, self.token) for found in (*asked, *kept, *told)])


def same(found: str, wanted: str) -> bool:
    """Compare two secrets in a time that does not tell where they differ."""
    return hmac.compare_digest(found.encode("utf-8", "surrogateescape"), wanted.encode())


def is_address(name: str) -> bool:
    """Whether a name is an address in numbers."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def is_loopback(name: str) -> bool:
    """Whether a name means this machine itself."""
    return name.lower() == "localhost" or (is_address(name) and ipaddress.ip_address(name).is_loopback)


def choose_token(host: str, token: str | None, control: bool) -> str | None:
    """Choose the token of a server.

    Args:
        host: the address on which it listens.
        token: what was given.
        control: whether a watcher may change anything.

    Returns:
        That which was given; else a new one where the server can be reached from other machines, or can be written
        to; else None.

    Raises:
        ArgumentError: ``a token must have 8 characters or more, …``

    Source: derived here.

    Example:
        >>> choose_token("127.0.0.1", None, control=False) is None, len(choose_token("0.0.0.0", None, control=False))
        (True, 32)
    """
    if token is None:
        return secrets.token_urlsafe(24) if control or not is_loopback(host) else None
    plain = token.isascii() and all(c.isalnum() or c in "-_.~" for c in token)
    if len(token) < LEAST_TOKEN or not plain:
        raise ArgumentError(
            f"a token must have {LEAST_TOKEN} characters or more, of letters, digits and -_.~, as it is part of an "
            "address. Leave it out, and one is made."
        )
    return token


class Guard:
    """Refuses what `Door` refuses, with 403 and a sentence, and puts the headers that protect on every answer.

    Args:
        app: what answers the others.
        door: whom to let in.
    """

    def __init__(self, app: ASGIApp, door: Door) -> None:
        self.app, self.door = app, door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # a web socket: this server has none
            return
        pairs = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"]]
        headers = dict(pairs)
        query = scope["query_string"].decode("latin-1")
        reason = self.door.refuse(scope["method"], headers, query)
        if [name for name, _ in pairs].count("host") != 1:
            reason = "A request must name one host."

        async def guarded(message: Any) -> None:
            if message["type"] == "http.response.start":
                given = {name.lower() for name, _ in message["headers"]}
                more = {**HEADERS, "content-security-policy": NOTHING_ALLOWED}
                message["headers"] = [
                    *message["headers"],
                    *((k.encode(), v.encode()) for k, v in more.items() if k.encode() not in given),
                ]
            await send(message)

        if reason is None:
            await self.app(scope, receive, guarded)
            return
        from starlette.responses import PlainTextResponse

        await PlainTextResponse(f"{reason}\n", 403)(scope, receive, guarded)
