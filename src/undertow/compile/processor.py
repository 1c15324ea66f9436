"""What the processor at hand can do, told without LLVM where possible: to load that may take longer than a training."""

from __future__ import annotations

import platform
import sys
from functools import cache


@cache
def processor() -> str:
    """Return what machine code is made for: the processor's model and features, in the system's words or LLVM's."""
    if sys.platform == "linux":
        told = _told_by_linux()
        if told:
            return told
    import llvmlite.binding as llvm

    return f"{llvm.get_host_cpu_name()} {llvm.get_host_cpu_features().flatten()}"


def _told_by_linux() -> str:
    """Model and features of the first processor in ``/proc/cpuinfo``; empty where there is nothing of the kind."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            first = file.read(1 << 16).partition("\n\n")[0]
    except OSError:
        return ""
    fields = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in first.splitlines())}
    # Other processors say it in other words; an emulator may show what its host is.
    if "flags" not in fields or platform.machine() != "x86_64":
        return ""
    kind = " ".join(fields.get(name, "?") for name in ("vendor_id", "cpu family", "model", "stepping"))
    return f"{kind} {' '.join('+' + flag for flag in fields['flags'].split())}"


@cache
def has(feature: str) -> bool:
    """Return whether the processor has a feature, such as ``avx512f``."""
    return f"+{feature}" in processor().replace(",", " ").split()


@cache
def lanes_of(kind: str) -> int:
    """Return how many floats of a kind (``f32``, ``f64``) a vector register holds."""
    bits = 512 if has("avx512f") else 256 if has("avx2") else 128
    return bits // (32 if kind == "f32" else 64)


@cache
def has_float16() -> bool:
    """Return whether the processor turns float16 into float32 and back; all of the last ten years do."""
    return platform.machine().lower() not in ("x86_64", "amd64", "i386", "i686") or has("f16c")
