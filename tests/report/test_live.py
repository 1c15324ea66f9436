"""The server of the live page: many watchers and one reader, who is let in, and how it ends."""

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import undertow as ut
from undertow.errors import ArgumentError, RunError
from undertow.report.live import RunFolder, start_watching
from undertow.report.live.changes import apply_changes
from undertow.report.live.guard import Door, choose_token

pytest.importorskip("uvicorn")
pytest.importorskip("starlette")

from live_pages import PATIENCE, Watcher, Writer, ask, control, page_token, process, served
from undertow.report.live.feed import Feed

N_WATCHERS = 50
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(ut.__file__).parents[1])}
COMMAND = [sys.executable, "-c", "from undertow.cli import main; main()"]


# Watchers


def test_fifty_watchers_and_one_reader(tmp_path):
    """They come at any time and see the same at last; the files are read once a tick, and not when nobody looks."""
    writer = Writer(tmp_path)
    writer.write(20)
    with served(tmp_path) as (url, feed):
        assert feed.ticks == 0
        begun = time.monotonic()
        watchers = []
        for i in range(N_WATCHERS):
            watchers.append(Watcher(url))
            if i % 5 == 0:
                writer.write(20)
        for _ in range(20):
            writer.write(20)
            time.sleep(0.02)
        writer.end()
        for watcher in watchers:
            watcher.wait_for(lambda w: w.status.get("kind") == "ended" and w.status["step"] == writer.n)
        assert feed.watchers == N_WATCHERS
        versions = {watcher.version for watcher in watchers}
        assert versions == {feed.folder.version}
        wanted = json.loads(json.dumps(feed.folder.state()["data"]))
        assert all(watcher.data == wanted for watcher in watchers)
        assert wanted["map"]["n_steps"] == writer.n and len(wanted["map"]["first"]) <= 400
        reads, ticks, passed = feed.folder.reads, feed.ticks, time.monotonic() - begun
        assert reads <= ticks <= passed / feed.tick + 1  # not fifty times as many
        assert {tuple(w.events[-2:]) for w in watchers} <= {("update", "ended"), ("start", "ended")}
        for watcher in watchers:
            watcher.leave()
        end = time.monotonic() + PATIENCE
        while feed.watchers or not feed._poller.done():  # it ends a look that is under way
            assert time.monotonic() < end
            time.sleep(0.02)
        ticks, reads = feed.ticks, feed.folder.reads
        writer.write(20)
        time.sleep(0.3)
        assert (feed.watchers, feed.ticks, feed.folder.reads) == (0, ticks, reads)
        late = Watcher(url).wait_for(lambda w: w.data is not None)
        assert late.data["map"]["n_steps"] == writer.n  # not what was known when the others left


def test_a_watcher_that_is_too_slow_begins_again(tmp_path):
    """One that sleeps through more updates than are kept is sent all data instead of a part that does not fit."""
    writer = Writer(tmp_path)
    feed = Feed(RunFolder(tmp_path), 0.001)

    async def watch():
        kinds, data, version = [], None, None
        async for chunk in feed.watch():
            for event in chunk.decode().split("\n\n"):
                if not event.startswith("event: "):
                    continue
                kind, told = event.split("\n")[0][7:], json.loads(event.split("\n")[1][6:])
                kinds.append(kind)
                if kind == "start":
                    data, version = told["data"], told["version"]
                    for _ in range(40 if kinds.count("start") == 1 else 3):  # sleeps
                        writer.write(5)
                        await feed.refresh()
                elif kind == "update":
                    assert told["since"] == version
                    data, version = apply_changes(data, told["changes"]), told["version"]
            if kinds.count("start") == 2 and not feed.closing:
                await feed.close()
            if "closed" in kinds:
                return kinds, data

    kinds, data = asyncio.run(asyncio.wait_for(watch(), PATIENCE))
    assert kinds.count("start") >= 2 and kinds[-1] == "closed"
    assert data == json.loads(json.dumps(feed.folder.state()["data"]))


def test_what_cannot_be_read_is_told_and_the_next_look_succeeds(tmp_path, monkeypatch):
    writer, feed = Writer(tmp_path), Feed(RunFolder(tmp_path), 0.01)
    writer.write(10)
    look, failures = feed.folder.look, []

    def fail_at_first():
        if len(failures) < 3:
            failures.append(1)
            raise ZeroDivisionError("a fault")
        return look()

    monkeypatch.setattr(feed.folder, "look", fail_at_first)

    async def watch():
        kinds = []
        async for chunk in feed.watch():
            kinds += re.findall("^event: (.*)$", chunk.decode(), re.MULTILINE)
            if "start" in kinds:
                await feed.close()
        return kinds

    kinds = asyncio.run(asyncio.wait_for(watch(), PATIENCE))
    assert kinds[0] == "trouble" and kinds.count("trouble") == 1 and kinds[-1] == "closed"


# Who is let in

SAME = {"Sec_Fetch_Site": "same-origin"}


@pytest.fixture(scope="module")
def open_page(tmp_path_factory):
    with served(tmp_path_factory.mktemp("run")) as (url, _):
        yield url


@pytest.fixture(scope="module")
def locked_page(tmp_path_factory):
    with served(tmp_path_factory.mktemp("run"), token="secret-token") as (url, _):
        yield url


@pytest.mark.parametrize("path", ["/", "/events", "/nothing"])
@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "127.0.0.1.evil.example"},
        {"Host": "localhost.evil.example:80"},
        {"Host": "localhost@evil.example"},
        {"Host": "192.168.0.7"},
        {"Host": ""},
        {"Host": "127.0.0.1:notaport"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "https://127.0.0.1"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site", "Sec_Fetch_Mode": "cors"},
        {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "iframe"},
    ],
    ids=lambda headers: " ".join(map(str, headers.values())),
)
def test_others_are_refused_with_a_sentence(open_page, path, headers):
    status, found, text = ask(open_page, path, **headers)
    assert status == 403 and text.rstrip().endswith(".") and text.count("\n") == 1
    assert "access-control-allow-origin" not in found and "default-src 'none'" in found["content-security-policy"]


def test_a_request_that_names_two_hosts_is_refused(open_page):
    host = urlsplit(open_page).netloc
    assert ask(open_page, Host=[host, "evil.example"])[0] in (400, 403)


def test_the_page_is_for_those_who_come_from_here(open_page):
    port = urlsplit(open_page).port
    for headers in (
        {}, {"Host": f"localhost:{port}"}, {"Host": "[::1]:9"}, SAME, {"Sec_Fetch_Site": "none"},
        {"Origin": f"http://127.0.0.1:{port}"},
        {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"},  # a link
    ):  # fmt: skip
        status, found, text = ask(open_page, **headers)
        assert status == 200 and "<!DOCTYPE html>" in text
        assert found["cache-control"] == "no-store" and found["x-content-type-options"] == "nosniff"
        policy = found["content-security-policy"]
        assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy and "unsafe-inline'; img" in policy
        assert "'unsafe-inline'" not in policy.split("script-src")[1].split(";")[0]
        assert "server" not in found and "set-cookie" not in found


@pytest.mark.parametrize(
    "path",
    [
        "/flow/steps.arrows",
        "/history.jsonl",
        "/../../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "//etc/passwd",
        "/static/",
        "/.",
    ],
)
def test_no_address_leads_to_a_file(open_page, path):
    status, found, text = ask(open_page, path)
    assert status == 404 and "root:" not in text and found["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "POST", "TRACE", "CONNECT"])
def test_only_reading_is_allowed(open_page, method):
    for path in ("/", "/events", "/control"):
        assert ask(open_page, path, method)[0] in (400, 403, 404, 405)


def test_a_page_that_only_shows_cannot_be_written_to(tmp_path):
    with served(tmp_path) as (url, _):
        token = page_token(url)
        assert token == ""
        status, _, text = control(url, "secret", {"action": "stop"})
        assert status == 403 and not list(tmp_path.iterdir()), text


def test_the_token_is_asked_for_and_kept_in_a_cookie(locked_page):
    port = urlsplit(locked_page).port
    name = f"undertow-watch-{port}"
    for path in ("/", "/events", "/?token=", "/?token=secret-toke", "/?token=secret-token2", "/?other=secret-token"):
        status, found, text = ask(locked_page, path)
        assert status == 403 and "token" in text and "set-cookie" not in found
    for cookie in ("", f"{name}=wrong", f"{name}", "undertow-watch-1=secret-token", f"x{name}=secret-token", "=;;="):
        assert ask(locked_page, Cookie=cookie)[0] == 403
    status, found, text = ask(locked_page, "/?token=secret-token")
    cookie = found["set-cookie"]
    assert status == 200 and "HttpOnly" in cookie and "SameSite=strict" in cookie and "Path=/" in cookie
    assert "secret-token" not in text
    kept = cookie.split(";")[0]
    assert kept == f"{name}=secret-token"
    assert ask(locked_page, Cookie=f"a=b; {kept}")[0] == 200
    assert ask(locked_page, Authorization="Bearer secret-token")[0] == 200
    assert ask(locked_page, Authorization="Bearer wrong-token")[0] == 403
    assert ask(locked_page, Cookie=kept, Origin="http://evil.example")[0] == 403
    assert ask(locked_page, "/?token=s%C3%A9cret-token%ff")[0] == 403
    Watcher(locked_page, Cookie=kept).wait_for(lambda w: w.events)


def test_beyond_this_machine_there_is_always_a_token():
    assert choose_token("127.0.0.1", None, control=False) is None
    made = {choose_token("0.0.0.0", None, control=False), choose_token("::1", None, control=True)}
    assert len(made) == 2 and all(len(token) >= 32 for token in made)
    assert choose_token("0.0.0.0", "my-own-token", control=False) == "my-own-token"
    for wrong in ("", "short", "with space", "a/b/c/d/e/f", "ünïcödé-token", "line\nbreak-token"):
        with pytest.raises(ArgumentError, match="a token must have 8 characters or more"):
            choose_token("0.0.0.0", wrong, control=False)
    door = Door("0.0.0.0", 80, "secret-token")
    token = {"cookie": "undertow-watch-80=secret-token"}
    assert door.refuse("GET", {"host": "192.168.0.7", **token}) is None
    assert "token" in door.refuse("GET", {"host": "192.168.0.7"})
    assert "not served under the name" in door.refuse("GET", {"host": "evil.example", **token})
    assert door.refuse("GET", {"host": socket.gethostname(), **token}) is None


# A server in a process of its own


def test_a_server_beside_a_training_ends_with_it(tmp_path, monkeypatch):
    """It says where it is, shows what is written, and sends the last of it when it is stopped."""
    monkeypatch.setattr("undertow.report.live.watch.ENDING", PATIENCE)  # it has time to say that it ends
    writer = Writer(tmp_path)
    with start_watching(tmp_path) as watch:
        watcher = Watcher(watch.url).wait_for(lambda w: w.data is not None)
        writer.write(30)
        writer.end()
        watch.stop()
        watcher.join(PATIENCE)
        assert watcher.events[-1] == "closed" and watcher.data["map"]["n_steps"] == 30
    assert not watch.alive and watch.stop() is None
    assert f'href="{watch.url}"' in watch._repr_html_()


def test_a_server_ends_when_the_training_is_killed(tmp_path):
    code = "import sys, time; from undertow.report.live import start_watching; w = start_watching(sys.argv[1]); "
    code += "print(w.process, flush=True); time.sleep(600)"
    with process([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, env=ENVIRONMENT) as child:
        server = int(child.stdout.readline())
        child.kill()
    end = time.monotonic() + PATIENCE
    while is_running(server):
        assert time.monotonic() < end
        time.sleep(0.05)


def is_running(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().split(")")[1].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def test_what_cannot_be_served_is_said(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(RunError, match=rf"port {port} of 127\.0\.0\.1 cannot be used: .*in use.* Choose another"):
            start_watching(tmp_path, port=port)
    with pytest.raises(ArgumentError, match=r"a port is a whole number from 0 to 65535, got 70000"):
        start_watching(tmp_path, port=70000)
    with pytest.raises(ArgumentError, match=r"'no such host' is no address of this machine"):
        start_watching(tmp_path, host="no such host")
    with pytest.raises(ArgumentError, match=r"a token must have 8 characters"):
        start_watching(tmp_path, token="x")
    with pytest.raises(ArgumentError, match=r"the folder of a run is 3"):
        start_watching(3)
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match=r"file is a file, not a folder\. Give the folder of a run\."):
        start_watching(tmp_path / "file")


# Commands


def test_the_command_watch_serves_until_it_is_interrupted(tmp_path):
    settings = {"cwd": tmp_path, "env": ENVIRONMENT, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with process([*COMMAND, "watch", "run", "--control", "--token", "my-own-token"], **settings) as child:
        line = child.stdout.readline()
        url = re.search(r"run is shown at (http://127\.0\.0\.1:\d+/\?token=my-own-token)", line)[1]
        assert ask(url)[0] == 403 and ask(url, "/?token=my-own-token")[0] == 200
        watcher = Watcher(url, Cookie=f"undertow-watch-{urlsplit(url).port}=my-own-token").wait_for(lambda w: w.events)
        assert watcher.status["kind"] == "waiting" and "not there yet" in watcher.status["sentence"]
        child.send_signal(signal.SIGINT)
        _, error = child.communicate(timeout=PATIENCE)
    assert child.returncode == 0 and error == ""
    watcher.join(PATIENCE)
    assert watcher.events[-1] == "closed"


def test_train_watch_shows_the_training(tmp_path):
    (tmp_path / "t.csv").write_text("x,y\n" + "".join(f"{i % 7},{i % 3}\n" for i in range(60)))
    command = [*COMMAND, "train", "t.csv", "--target", "y", "--epochs", "2", "--hidden", "4", "--out", "r", "--quiet"]
    settings = {"cwd": tmp_path, "env": ENVIRONMENT, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with process([*command, "--watch-stay"], **settings) as child:
        said = []
        for line in child.stdout:
            said.append(line)
            if "The page stays at" in line:
                break
        assert re.search(r"watch it at http://127\.0\.0\.1:\d+/\n", "".join(said)), said
        watcher = Watcher(line.split()[4]).wait_for(lambda w: w.status.get("kind") == "ended")
        assert watcher.data["summary"]["title"] == "r" and watcher.data["history"]["n_rows"] == 2
        child.send_signal(signal.SIGINT)
        child.communicate(timeout=PATIENCE)
    assert child.returncode == 0
