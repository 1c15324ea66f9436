"""The kinds of values that kernels know, and how LLVM writes them and their numbers."""

from __future__ import annotations

import struct

FLOATS = ("f16", "f32", "f64")
UNSIGNED = ("u8", "u16", "u32", "u64")
TYPES = {
    "f16": "half", "f32": "float", "f64": "double", "i1": "i1", "i8": "i8", "i16": "i16", "i32": "i32", "i64": "i64",
    "u8": "i8", "u16": "i16", "u32": "i32", "u64": "i64", "ptr": "ptr",
}  # fmt: skip
BITS = {"i1": 1, "ptr": 64, **{kind: int(kind[1:]) for kind in TYPES if kind[1:].isdigit() and kind != "i1"}}
_SIGNED = dict(zip(UNSIGNED, ("i8", "i16", "i32", "i64"), strict=True))
_PATTERNS = {"f16": "e", "f32": "f"}


def type_of(kind: str, lanes: int) -> str:
    """Write a type: ``float``, ``<16 x float>``."""
    return f"<{lanes} x {TYPES[kind]}>" if lanes else TYPES[kind]


def suffix_of(kind: str, lanes: int) -> str:
    """Write a type in the name of a function of LLVM's: ``f32``, ``v16f32``; it tells no sign of whole numbers."""
    return f"v{lanes}{signed_kind(kind)}" if lanes else signed_kind(kind)


def signed_kind(kind: str) -> str:
    """Return the kind of whole numbers with a sign and as many bits; other kinds as they are."""
    return _SIGNED.get(kind, kind)


def rounded(value: float, kind: str) -> float:
    """Round a number to a kind of floats; it is infinite beyond their range."""
    if kind not in _PATTERNS:
        return float(value)
    try:
        return float(struct.unpack(_PATTERNS[kind], struct.pack(_PATTERNS[kind], value))[0])
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


def literal(value: float | int | bool, kind: str) -> str:
    """Write a number as LLVM does; a float by its bits, so that nothing is rounded twice."""
    if kind == "f16":
        return f"0xH{struct.unpack('H', struct.pack('e', rounded(value, kind)))[0]:04X}"
    if kind in FLOATS:
        return f"0x{struct.unpack('Q', struct.pack('d', rounded(value, kind)))[0]:016X}"
    if kind == "i1":
        return "true" if value else "false"
    if kind in UNSIGNED:
        value = int(value) % (1 << BITS[kind])
        value -= (value >> BITS[kind] - 1) << BITS[kind]
    return str(int(value))
