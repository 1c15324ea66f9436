"""The kinds of values that kernels know, and how LLVM writes them and their numbers."""

from __future__ import annotations

import struct

FLOATS = ("f32", "f64")
TYPES = {
    "f32": "float", "f64": "double", "i1": "i1", "i8": "i8", "i16": "i16", "i32": "i32", "i64": "i64", "ptr": "ptr",
}  # fmt: skip
BITS = {"f32": 32, "f64": 64, "i1": 1, "i8": 8, "i16": 16, "i32": 32, "i64": 64, "ptr": 64}


def type_of(kind: str, lanes: int) -> str:
    """Write a type: ``float``, ``<16 x float>``."""
    return f"<{lanes} x {TYPES[kind]}>" if lanes else TYPES[kind]


def literal(value: float | int | bool, kind: str) -> str:
    """Write a number as LLVM does; a float by its bits, so that nothing is rounded twice."""
    if kind in FLOATS:
        if kind == "f32":
            try:
                value = struct.unpack("f", struct.pack("f", value))[0]
            except OverflowError:
                value = float("inf") if value > 0 else float("-inf")
        return f"0x{struct.unpack('Q', struct.pack('d', value))[0]:016X}"
    if kind == "i1":
        return "true" if value else "false"
    return str(int(value))
