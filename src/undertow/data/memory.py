"""How much memory this process may use, and what is larger than that."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any, Final

import numpy as np

from undertow.errors import DataError

MEMORY: Final = 256_000_000  # bytes that a source larger than memory may take, unless told otherwise
_FEWER: Final = (
    "Give fewer rows or smaller images, a smaller type such as uint8, or memory maps to ut.train: save each array by "
    "np.save('x.npy', x), and give ut.data.open_arrays('x.npy', 'y.npy')."
)


def find_memory() -> float:
    """Find how many bytes of memory this process may use: containers and limits of the process are counted.

    Returns:
        The bytes; those of the machine where nothing else is known.

    Source: cgroup-v2(7), memory.max; getrlimit(2), RLIMIT_AS.
    """
    found = [8e9]
    if hasattr(os, "sysconf"):
        found = [float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))]
    for file in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            found.append(float(Path(file).read_text()))
        except (OSError, ValueError):  # "max"
            continue
    try:
        import resource
    except ImportError:  # a system without such limits
        return min(found)
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return min(found) if limit == resource.RLIM_INFINITY else min(*found, float(limit))


def check_fits(place: str, n_bytes: float, remedy: str) -> None:
    """Refuse what takes more memory than there is, before any of it is read.

    Args:
        place: what it is: the file, and what is in it.
        n_bytes: that it takes at least.
        remedy: what to do instead, a sentence.

    Raises:
        DataError: ``big.npz: 'x', (50000, 12288) float64, takes 4.9 GB of memory, and this process may use 2 GB. …``

    Source: derived here.

    Example:
        >>> check_fits("a.npz: 'x'", 1e30, "Give fewer rows.")
        Traceback (most recent call last):
        undertow.errors.DataError: a.npz: 'x' takes 1e+21 GB of memory, and this process may use ... Give fewer rows.
    """
    most = find_memory()
    if n_bytes > most:
        raise DataError(
            f"{place} takes {show_bytes(n_bytes)} of memory, and this process may use {show_bytes(most)}. {remedy}"
        )


def check_array_fits(place: str, shape: tuple[int, ...], dtype: np.dtype[Any], others: float = 0) -> float:
    """Refuse an array that takes more memory than there is as a table.

    Args:
        place: the file, and what is in it.
        shape: of the array.
        dtype: its own; as a table it is there twice, and its numbers as float32 features twice.
        others: bytes that arrays beside it take.

    Returns:
        The bytes that it takes, and the others.

    Raises:
        DataError: ``big.npz: 'x', (60000, 12288) float64, takes 17.7 GB of memory, and this process may use 8 GB. …``

    Source: measured: 784 columns of uint8, float32 and float64 took 1.04 to 1.6 times as much.

    Example:
        >>> check_array_fits("a.npz: 'x'", (10, 5), np.dtype(np.uint8))
        500
    """
    n = math.prod(shape)
    n_bytes = others + n * (2 * dtype.itemsize + 8)
    check_fits(f"{place}, {shape} {dtype},", n_bytes, _FEWER)
    return n_bytes


def show_bytes(n: float) -> str:
    """Show a number of bytes with its unit.

    Example:
        >>> show_bytes(512), show_bytes(1.25e9), show_bytes(3.2e6)
        ('512 bytes', '1.25 GB', '3.2 MB')
    """
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n >= size:
            return f"{n / size:.3g} {unit}"
    return f"{n:.0f} bytes"
