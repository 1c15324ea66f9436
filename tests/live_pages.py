"""A live page as tests see it: a server whose feed can be looked at, watchers, and requests with chosen headers."""

import http.client
import json
import re
import socket
import subprocess
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from recorded_flows import make_flow
from undertow.flow.store import FlowStore
from undertow.report.live import RunFolder
from undertow.report.live.changes import apply_changes
from undertow.report.live.feed import Feed
from undertow.report.live.guard import Door
from undertow.report.live.server import LiveServer
from undertow.train.history import HistoryFile

PATIENCE = 120  # seconds after which a test gives up waiting; no test is right or wrong by how long anything takes


def ask(url, path="/", method="GET", body=None, **headers):
    """A request with just these headers: what is not given is not sent."""
    place = urlsplit(url)
    connection = http.client.HTTPConnection(place.hostname, place.port, timeout=PATIENCE)
    try:
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        told = {"Host": f"127.0.0.1:{place.port}", **{name.replace("_", "-"): value for name, value in headers.items()}}
        if body is not None:
            told["Content-Length"] = str(len(body))
        for name, value in told.items():
            for one in value if isinstance(value, list) else [value]:
                connection.putheader(name, one)
        connection.endheaders(body)
        answer = connection.getresponse()
        return answer.status, dict((k.lower(), v) for k, v in answer.getheaders()), answer.read().decode()
    finally:
        connection.close()


class Watcher(threading.Thread):
    """Reads the stream, and does what the page does with it."""

    def __init__(self, url, **headers):
        super().__init__(daemon=True)
        place = urlsplit(url)
        self.connection = http.client.HTTPConnection(place.hostname, place.port, timeout=PATIENCE)
        self.headers, self.events, self.version, self.data, self.status = headers, [], None, None, {}
        self.start()

    def run(self):
        kind = ""
        try:
            self.connection.request("GET", "/events", headers=self.headers)
            with self.connection.getresponse() as answer:
                for raw in iter(answer.readline, b""):
                    line = raw.decode().rstrip()
                    if line.startswith("event: "):
                        kind = line[7:]
                    elif line.startswith("data: "):
                        self.take(kind, json.loads(line[6:]))
        except (OSError, http.client.HTTPException):  # the connection broke off
            pass
        finally:
            self.connection.close()

    def leave(self):
        self.connection.sock.shutdown(socket.SHUT_RDWR)
        self.join(PATIENCE)

    def take(self, kind, told):
        if kind == "start":
            self.version, self.data, self.status = told["version"], told["data"], told["status"]
        elif kind == "update":
            assert told["since"] == self.version
            self.version, self.data = told["version"], apply_changes(self.data, told["changes"])
            self.status = told["status"]
        self.events.append(kind)

    def wait_for(self, condition):
        end = time.monotonic() + PATIENCE
        while not condition(self):
            assert time.monotonic() < end, f"events: {self.events[-5:]}, status: {self.status}"
            time.sleep(0.01)
        return self


@contextmanager
def process(command, **options):
    """A process that ends with the test, however that ends."""
    with subprocess.Popen(command, **options) as child:
        try:
            yield child
        finally:
            child.kill()


@contextmanager
def served(folder, tick=0.05, control=False, token=None, port=0):
    """A server in a thread of this process, so that its feed can be looked at."""
    listening = socket.create_server(("127.0.0.1", port))
    door = Door("127.0.0.1", listening.getsockname()[1], token)
    feed = Feed(RunFolder(folder), tick)
    server = LiveServer(feed, door, control)
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    try:
        yield door.url, feed
    finally:
        server.should_exit = True
        thread.join(PATIENCE)
        listening.close()


def page_token(url, path="/", **headers):
    text = ask(url, path, **headers)[2]
    told = re.search('<meta name="undertow-live" content="([^"]*)"', text)[1].replace("&quot;", '"')
    return json.loads(told)["token"]


def control(url, token, told, **headers):
    origin = f"http://{urlsplit(url).netloc}"
    given = {"Origin": origin, "Content_Type": "application/json", "X_Undertow_Page": token, **headers}
    body = told if isinstance(told, bytes) else json.dumps(told).encode()
    return ask(url, "/control", "POST", body, **{k: v for k, v in given.items() if v is not None})


class Writer:
    """Writes a record as a training does, step after step."""

    def __init__(self, folder, n_steps=3000):
        self.flow, self.n = make_flow(n_steps, 3, 1), 0
        self.store, self.rows = FlowStore(folder), HistoryFile(Path(folder) / "history.jsonl")
        self.store.begin(self.part(0, 0))

    def part(self, first, last, stopped=""):
        flow = make_flow(1, 3, 1)
        flow.looks, flow.stopped = [], stopped
        flow.steps, flow.epochs, flow.values = (
            x[first:last] for x in (self.flow.steps, self.flow.epochs, self.flow.values)
        )
        flow.scalars = {name: column[first:last] for name, column in self.flow.scalars.items()}
        return flow

    def write(self, n):
        self.store.append(self.part(self.n, self.n + n))
        self.n += n
        self.rows.append({"epoch": 1, "step": self.n, "loss": 1 / self.n})

    def end(self):
        self.store.write_about(self.part(0, 0, "finished"))
