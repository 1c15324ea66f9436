"""How many processors a process may use, as its cgroups say."""

import importlib
from pathlib import Path

import pytest

threads = importlib.import_module("undertow.compile.threads")


@pytest.fixture
def cgroups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(threads, "CGROUPS", tmp_path)
    monkeypatch.setattr(threads, "OWN_CGROUPS", tmp_path / "own")
    monkeypatch.setattr(threads.os, "sched_getaffinity", lambda _: range(64), raising=False)
    monkeypatch.setattr(threads.os, "cpu_count", lambda: 64)
    return tmp_path


def count(cgroups: Path, own: str, **files: str) -> int:
    (cgroups / "own").write_text(own)
    for name, text in files.items():
        path = cgroups / name.replace("__", "/").replace("cpu_", "cpu.")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return int(threads.usable_processors.__wrapped__())


def test_a_container_sees_its_limit_as_the_outermost(cgroups: Path) -> None:
    assert count(cgroups, "0::/\n", cpu_max="250000 100000\n") == 3


def test_a_service_has_a_limit_of_its_own(cgroups: Path) -> None:
    assert count(cgroups, "0::/system.slice/a.service\n", system__a__cpu_max="max 100000\n") == 64
    assert count(cgroups, "0::/slice/a\n", slice__a__cpu_max="max 100000\n", slice__cpu_max="200000 100000\n") == 2
    assert count(cgroups, "0::/slice/a\n", slice__a__cpu_max="100000 100000\n") == 1


def test_the_first_version_of_cgroups_has_two_files(cgroups: Path) -> None:
    own = "9:name=systemd:/\n4:cpu,cpuacct:/job/a:b\n0::/\n"
    for name, text in (("quota", "400000"), ("period", "100000")):
        for folder in ("cpu,cpuacct", "cpu,cpuacct/job/a:b"):
            path = cgroups / folder / f"cpu.cfs_{name}_us"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("-1" if name == "quota" and folder == "cpu,cpuacct" else text)
    assert count(cgroups, own) == 4


def test_what_is_not_there_or_not_understood_limits_nothing(cgroups: Path) -> None:
    assert count(cgroups, "0::/docker/elsewhere\nrubbish\n") == 64
    assert count(cgroups, "0::/a\n", a__cpu_max="what\n", cpu_max="100000 0\n") == 64
    (cgroups / "own").unlink()
    assert threads.usable_processors.__wrapped__() == 64
