"""Keep freed memory for the next array.

Differentiation keeps the values of the forward pass until the backward pass has read them, and then frees
all of them at once. glibc's malloc gives such memory back to the system, which must clear it page by page
when it is asked for again: measured at 100,000 float64, that took four fifths of a gradient's time. Importing
Undertow tells malloc to keep up to 256 MiB of freed memory. UNDERTOW_MALLOC=0 leaves malloc as it is.
"""

from __future__ import annotations

import ctypes
import os
import platform

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # names of parameters in malloc.h


def keep_freed_memory() -> bool:
    """Set glibc's thresholds; tell whether they were set. Other C libraries are left alone."""
    if os.environ.get("UNDERTOW_MALLOC") == "0" or platform.libc_ver()[0] != "glibc":
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):  # another malloc is linked in
        return False
    # 32 MiB is the largest threshold that malloc accepts: larger arrays come from the system as before.
    return bool(mallopt(_MMAP_THRESHOLD, 2**25) and mallopt(_TRIM_THRESHOLD, 2**28))


KEEPS_FREED_MEMORY = keep_freed_memory()
