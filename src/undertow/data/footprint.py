"""What this process takes of memory, and how it is kept within a limit for all of it."""

from __future__ import annotations

import math
import mmap
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

from undertow.allocation import free_at_once, keep_freed_memory, trim
from undertow.data.memory import MEMORY, find_memory

_MB: Final = 1e6
OWN: Final = 165 * _MB  # Python, NumPy, Polars, a network and its report, beside what reading takes; measured
LEAST: Final = 260 * _MB  # what a process takes while LLVM compiles, with the least reading; measured
_kept_small = [False]  # whether a limit holds for this process
_code: list[tuple[int, int]] = []  # of LLVM, found once in 20 ms: no page that is read-only changes later
_READING: Final = 24 * _MB  # that is read with, at least, where the limit cannot be kept


def find_reading(megabytes: float | None) -> float:
    """Find what reading may take so that the process as a whole keeps within a limit.

    Args:
        megabytes: that the process may take; None where nobody has said.

    Returns:
        Bytes: what the process does not take itself, and of a limit that cannot be kept some 24 MB, or the limit; where
        there is none a quarter of the memory.

    Source: derived here.

    Example:
        >>> find_reading(300), find_reading(100), find_reading(1)
        (135000000.0, 24000000.0, 1000000.0)
    """
    if megabytes is None:
        return max(find_memory() / 4, MEMORY)
    limit = megabytes * _MB
    return max(limit - OWN, min(limit, _READING))


def tell_least(limit: float) -> list[str]:
    """A sentence where a limit (bytes) is below what the process takes by itself.

    Example:
        >>> tell_least(500e6)
        []
    """
    if limit >= LEAST:
        return []
    return [
        f"--memory {limit / _MB:g} cannot be kept: Python and its libraries take more. The least that can be kept is "
        f"{LEAST / _MB:g}; files are read with as little as is of use."
    ]


def tell_peak(limit: float) -> str:
    """A sentence about the most memory that the process has taken, beside its limit (bytes).

    Example:
        >>> tell_peak(5e11)
        'memory: ... MB at most, of the 500000 MB that were allowed'
    """
    peak = measure_peak() / _MB
    if math.isnan(peak):
        return f"memory: this system does not tell how much of the {limit / _MB:g} MB that were allowed was taken"
    beyond = "" if peak * _MB <= limit else ": more than that"
    return f"memory: {peak:.0f} MB at most, of the {limit / _MB:g} MB that were allowed{beyond}"


def measure_peak() -> float:
    """Measure the most memory that this process has had, in bytes.

    Returns:
        The bytes; NaN where the system does not tell.

    Source: proc(5), VmHWM; getrusage(2), ru_maxrss, in bytes on macOS.
    """
    with suppress(OSError), open("/proc/self/status") as status:
        for line in status:
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1024.0
    try:
        import resource
    except ImportError:  # Windows
        return float("nan")
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(most if sys.platform == "darwin" else most * 1024)


def keep_small() -> None:
    """Have the allocators of this process give memory back soon; before tables are touched, since Polars has its own.

    Source: jemalloc(3), TUNING.
    """
    os.environ.setdefault("_RJEM_MALLOC_CONF", "dirty_decay_ms:100,muzzy_decay_ms:0")
    free_at_once()
    _kept_small[0] = True


def keep_no_longer() -> None:
    """Have memory kept for the next array again, as it is without a limit."""
    if _kept_small[0]:
        keep_freed_memory()
        _kept_small[0] = False


def give_back() -> None:
    """Give memory back that nobody uses, where a limit holds: what is free in the heap, and the code of LLVM.

    It takes time, which small data without a limit would pay for in each epoch. That code, 70 MB, is needed for
    moments only; its pages come back from the file where it is.

    Source: madvise(2), MADV_DONTNEED.
    """
    if not _kept_small[0]:
        return
    trim()
    if sys.platform == "linux" and "llvmlite.binding" in sys.modules:
        import ctypes

        give = ctypes.CDLL(None).madvise
        give.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
        _code[:] = _code or _find_code("libllvmlite")
        for start, size in _code:
            give(start, size, mmap.MADV_DONTNEED)


def _find_code(name: str) -> list[tuple[int, int]]:
    """(address, bytes) of what is mapped of a library and is as the file has it: read-only, no page of it changed."""
    found: list[tuple[int, int]] = []
    with suppress(OSError, ValueError):
        for line in Path("/proc/self/smaps").read_text().splitlines():
            fields = line.split()
            if not fields[0].endswith(":"):
                first, _, last = fields[0].partition("-")
                place, plain = (int(first, 16), int(last, 16) - int(first, 16)), name in line and "w" not in fields[1]
            elif fields[0] == "Anonymous:" and plain and fields[1] == "0":
                found.append(place)
            elif fields[0] == "Swap:" and fields[1] != "0" and found and found[-1] == place:
                found.pop()  # pages that were changed, and moved out of memory since
    return found
