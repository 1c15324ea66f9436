"""Kernels on disk: shared by processes, mended when damaged, done without where the folder cannot be used."""

import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

import platformdirs
import pytest

from undertow.compile import cache

PROGRAM = """
import numpy as np, undertow as ut
f = ut.compile(lambda x: np.sum(np.exp(x) * x, axis=1))
x = np.arange(12.0).reshape(3, 4) / 7
assert np.allclose(f(x), (np.exp(x) * x).sum(axis=1))
print("right")
"""


def start(folder: Path) -> subprocess.Popen:
    source = str(Path(__file__).parents[2] / "src")
    env = {**os.environ, "UNDERTOW_CACHE_DIR": str(folder), "PYTHONPATH": source}
    return subprocess.Popen([sys.executable, "-c", PROGRAM], env=env, stdout=subprocess.PIPE, text=True)


def kernels(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("??/*") if path.is_file())


def run(folder: Path) -> None:
    process = start(folder)
    assert process.communicate(timeout=600)[0] == "right\n" and process.returncode == 0


def test_processes_compile_the_same_at_once(tmp_path):
    processes = [start(tmp_path) for _ in range(4)]
    assert [p.communicate(timeout=600)[0] for p in processes] == ["right\n"] * 4
    assert kernels(tmp_path) and not [path for path in kernels(tmp_path) if path.name.startswith("tmp")]


def test_damaged_entries_are_made_again(tmp_path):
    run(tmp_path)
    good = {path: path.read_bytes() for path in kernels(tmp_path)}
    for number, path in enumerate(good):
        path.write_bytes(
            [b"", b"rubbish" * 100, good[path][:-1], good[path][:200] + b"!" + good[path][201:]][number % 4]
        )
    run(tmp_path)
    assert {path: path.read_bytes() for path in kernels(tmp_path)} == good


def test_a_folder_that_cannot_be_used_costs_time_alone(tmp_path):
    (tmp_path / "file").write_text("no folder")
    run(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "no folder"


@pytest.mark.skipif(os.name == "nt", reason="folders are read-only in another way there")
def test_a_read_only_folder_costs_time_alone(tmp_path):
    folder = tmp_path / "kernels"
    folder.mkdir()
    folder.chmod(0o500)
    try:
        run(folder)
    finally:
        folder.chmod(0o700)
    if os.getuid():  # root may write anywhere
        assert not kernels(folder)


def test_what_was_not_used_for_long_is_removed(tmp_path, monkeypatch):
    """Of 30 entries of 100 kB, the 10 used last stay below 1 MB; a note lets nobody look again on the same day."""
    names = [hashlib.sha256(bytes([i])).hexdigest() for i in range(30)]
    for i, name in enumerate(names):
        cache.keep(tmp_path, name, bytes([i]) * 99_968)
        os.utime(tmp_path / name[:2] / name, (1e9 + 1e6 * i, 1e9 + 1e6 * i))
    (tmp_path / "openblas.json").write_text("{}")
    (tmp_path / "ab").mkdir(exist_ok=True)
    (tmp_path / "ab" / "notes").write_text("of somebody else's")
    others = {tmp_path / "ab" / "notes"}
    assert cache.read(tmp_path, names[3]) == bytes([3]) * 99_968  # used just now
    monkeypatch.setenv("UNDERTOW_CACHE_MB", "1")
    cache.prune(tmp_path)
    assert {path.name for path in {*kernels(tmp_path)} - others} == {names[3], *names[21:]}
    assert (tmp_path / "openblas.json").exists() and (tmp_path / "ab" / "notes").exists()

    monkeypatch.setenv("UNDERTOW_CACHE_MB", "0")
    cache.prune(tmp_path)
    assert len({*kernels(tmp_path)} - others) == 10
    os.utime(tmp_path / "pruned", (time.time() - 90_000,) * 2)
    cache.prune(tmp_path)
    assert {*kernels(tmp_path)} == others


def test_a_process_that_compiled_looks_after_the_size_at_its_end(tmp_path):
    old = tmp_path / "00" / f"{0:064x}"
    old.parent.mkdir()
    old.write_bytes(bytes(2_000_000))
    os.utime(old, (1e9, 1e9))
    os.environ["UNDERTOW_CACHE_MB"] = "1"
    try:
        run(tmp_path)
    finally:
        del os.environ["UNDERTOW_CACHE_MB"]
    assert not old.exists() and kernels(tmp_path)


def test_an_entry_under_another_name_is_not_read(tmp_path):
    names = [hashlib.sha256(bytes([i])).hexdigest() for i in range(2)]
    cache.keep(tmp_path, names[0], b"code")
    (tmp_path / names[1][:2]).mkdir()
    os.link(tmp_path / names[0][:2] / names[0], tmp_path / names[1][:2] / names[1])
    assert [cache.read(tmp_path, name) for name in names] == [b"code", None]


@pytest.mark.parametrize("variables", [{}, {"XDG_CACHE_HOME": "/x/y"}, {"XDG_CACHE_HOME": " "}, {"HOME": "/h"}])
def test_kernels_are_kept_where_platformdirs_puts_caches(monkeypatch, variables):
    for name in ("UNDERTOW_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert cache.folder() == platformdirs.user_cache_path("undertow", appauthor=False)
