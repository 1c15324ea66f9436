"""Keep freed memory for the next array, or where memory is short give it back.

Differentiation keeps the values of the forward pass until the backward pass has read them, and then frees
all of them at once. glibc's malloc gives such memory back to the system, which must clear it page by page
when it is asked for again: measured at 100,000 float64, that took four fifths of a gradient's time. Importing
Undertow tells malloc to keep up to 256 MiB of freed memory. UNDERTOW_MALLOC=0 leaves malloc as it is.
"""

from __future__ import annotations

import ctypes
import os
import platform
from typing import Any

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # names of parameters in malloc.h
_MAPPED = 2**22  # bytes of an array that is given back whole; with 2**18, reading tables took half as long again


def _library() -> Any:
    """The C library where it is glibc, and malloc is its own; None elsewhere."""
    if platform.libc_ver()[0] != "glibc":
        return None
    try:
        library = ctypes.CDLL(None)
        library.mallopt.argtypes, library.malloc_trim.argtypes = [ctypes.c_int, ctypes.c_int], [ctypes.c_size_t]
    except (AttributeError, OSError):  # another malloc is linked in
        return None
    return library


def keep_freed_memory() -> bool:
    """Set glibc's thresholds; tell whether they were set. Other C libraries are left alone."""
    if _LIBRARY is None or os.environ.get("UNDERTOW_MALLOC") == "0":
        return False
    # 32 MiB is the largest threshold that malloc accepts: larger arrays come from the system as before.
    return bool(_LIBRARY.mallopt(_MMAP_THRESHOLD, 2**25) and _LIBRARY.mallopt(_TRIM_THRESHOLD, 2**28))


def free_at_once() -> bool:
    """Have arrays given back to the system when they are freed; tell whether that was set.

    One arena serves all threads: a thread reads an epoch, and what it has freed would stay in an arena of its own.

    Source: mallopt(3).
    """
    if _LIBRARY is None or os.environ.get("UNDERTOW_MALLOC") == "0":
        return False
    settings = ((_ARENA_MAX, 1), (_MMAP_THRESHOLD, _MAPPED), (_TRIM_THRESHOLD, _MAPPED))
    return all(_LIBRARY.mallopt(name, value) for name, value in settings)


def trim() -> None:
    """Give back what is free in the heap now.

    Source: malloc_trim(3).
    """
    if _LIBRARY is not None:
        _LIBRARY.malloc_trim(0)


_LIBRARY = _library()
KEEPS_FREED_MEMORY = keep_freed_memory()
