"""How many threads compiled programs use."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from undertow.errors import ArgumentError

# Ours, and the one that joblib, Dask and batch systems set for the processes that share a machine.
VARIABLES = ("UNDERTOW_NUM_THREADS", "OMP_NUM_THREADS")
CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUPS = Path("/proc/self/cgroup")
_chosen: int | None = None


@cache
def usable_processors() -> int:
    """Return how many processors this process may use: its affinity and the limits of its cgroup are counted."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(count, _cgroup_limit()))


def _cgroup_limit() -> int:
    """The processors that the cgroups of this process grant, rounded up; many where they do not say."""
    return min((granted for folder in _cgroups() if (granted := _granted(folder))), default=1 << 16)


def _cgroups() -> Iterator[Path]:
    """List the folders of the cgroups that may limit this process: its own, and all around it.

    A service or a job has one of its own; a container sees its own as the outermost.
    """
    yield CGROUPS
    yield CGROUPS / "cpu"
    try:
        lines = OWN_CGROUPS.read_text().splitlines()
    except OSError:
        return
    for line in lines:  # such as 0::/system.slice/a.service, or 4:cpu,cpuacct:/a
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if not controllers or "cpu" in controllers.split(","):
            home = CGROUPS / controllers
            place = home / path.lstrip("/")
            while place != home:
                yield place
                place = place.parent
            yield home


def _granted(folder: Path) -> int:
    """The processors that a cgroup grants, rounded up; 0 where it does not say."""
    try:
        quota, period = (folder / "cpu.max").read_text().split()[:2]
    except (OSError, ValueError):
        try:
            quota = (folder / "cpu.cfs_quota_us").read_text().strip()
            period = (folder / "cpu.cfs_period_us").read_text().strip()
        except OSError:
            return 0
    return math.ceil(int(quota) / int(period)) if quota.isdigit() and period.isdigit() and int(period) > 0 else 0


def get_threads() -> int:
    """Return the number of threads that compiled programs use.

    Example:
        >>> get_threads() >= 1
        True
    """
    return _default() if _chosen is None else _chosen


@cache
def _default() -> int:
    """The number that nobody has chosen: looked up once, since every call of a compiled function asks for it."""
    for name in VARIABLES:
        given = os.environ.get(name, "").split(",")[0]  # OpenMP's may name a number for each level
        if given.isascii() and given.isdigit() and int(given) > 0:
            return min(int(given), usable_processors())
    return usable_processors()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_default.cache_clear)


def set_threads(n: int | None) -> None:
    """Choose how many threads compiled programs use.

    Results are the same to the last bit for the same number of threads.

    Args:
        n: 1 or more; more than the process may use counts as that many. None goes back to the default: the
            environment variable UNDERTOW_NUM_THREADS or OMP_NUM_THREADS as it is now, or all processors that affinity
            and cgroup allow.

    Raises:
        ArgumentError: ``set_threads takes a whole number of 1 or more, or None, not 0.``

    Example:
        >>> set_threads(1)
        >>> get_threads()
        1
        >>> set_threads(None)
    """
    global _chosen
    if n is not None and (isinstance(n, bool) or not isinstance(n, int) or n < 1):
        raise ArgumentError(f"set_threads takes a whole number of 1 or more, or None, not {n!r}.")
    _default.cache_clear()
    _chosen = None if n is None else min(n, usable_processors())
