"""Machine code that runs wherever it is put, made of LLVM's object files: kernels kept on disk start without LLVM.

To load LLVM takes a process longer than to read, place and run all kernels of a network. An object file, as LLVM emits
it for x86-64 on Linux, is code and constants that refer to each other by distance, and to a few functions of C by name.
`link` lays its sections side by side and fills in the distances, once; `load` puts such images into memory and fills in
where this process has C's functions. What is not of this kind (other systems, other references) stays an object file.

Source: System V Application Binary Interface, AMD64 supplement, 4.4 (relocation); ELF-64 object file format.
"""

from __future__ import annotations

import ctypes
import mmap
import platform
import struct
import sys
from functools import cache
from typing import NamedTuple

from undertow.errors import UnsupportedError

MAGIC = b"image "
ALIGN = 64  # bytes: a line of the cache, and the largest constant
JUMP = b"\xff\x25\x02\x00\x00\x00\x90\x90"  # jmp to the address that follows these 8 bytes
WRITABLE, ALLOCATED, SYMBOLS, RELOCATIONS = 1, 2, 2, 4
DISTANCES = (2, 4)  # R_X86_64_PC32, R_X86_64_PLT32: 32 bits, from the place itself

_regions: list[mmap.mmap] = []  # never let go: programs hold bare addresses


class _Section(NamedTuple):
    """The head of a section of an object file."""

    name: int
    type: int
    flags: int
    address: int
    offset: int
    size: int
    link: int
    info: int
    align: int
    entry: int


def are_made_here() -> bool:
    """Return whether object files of this system can become images."""
    return sys.platform == "linux" and platform.machine() == "x86_64" and sys.maxsize > 1 << 32


def link(code: bytes, function: str) -> bytes | None:
    """Return an object file as an image; None if it refers to something in a way that an image does not.

    Args:
        code: an object file (ELF, x86-64).
        function: the one that is to be called from outside.
    """
    start, count = struct.unpack_from("<Q", code, 40)[0], struct.unpack_from("<H", code, 60)[0]
    sections = [_Section(*struct.unpack_from("<IIQQQQIIQQ", code, start + 64 * i)) for i in range(count)]
    image, places = bytearray(), {}
    for i, s in enumerate(sections):
        # Tables for exceptions are left out, as there are none.
        if s.flags & ALLOCATED and _name(code, sections, s) != ".eh_frame":
            if s.flags & WRITABLE or s.align > ALIGN:
                return None
            image += bytes(-len(image) % max(s.align, 1))
            places[i] = len(image)
            image += code[s.offset : s.offset + s.size]
    symbols = _symbols(code, sections)
    jumps: dict[str, int] = {}  # of each function of C, where the jump to it is

    def place_of(symbol: tuple[str, int, int]) -> int | None:
        name, section, value = symbol
        if section:
            return places[section] + value if section in places else None
        if name not in jumps:
            image.extend(bytes(-len(image) % 8))
            jumps[name] = len(image)
            image.extend(JUMP + bytes(8))
        return jumps[name]

    for s in sections:
        if s.type == RELOCATIONS and s.info in places:
            for at in range(s.offset, s.offset + s.size, 24):
                offset, info, addend = struct.unpack_from("<QQq", code, at)
                target, place = place_of(symbols[info >> 32]), places[s.info] + offset
                if target is None or info & 0xFFFFFFFF not in DISTANCES:
                    return None
                struct.pack_into("<i", image, place, target + addend - place)
    entry = next(place_of(symbol) for symbol in symbols if symbol[0] == function)
    outside = " ".join(f"{name}@{place + len(JUMP)}" for name, place in jumps.items())
    return MAGIC + f"{entry} {outside}\n".encode() + image


def _name(code: bytes, sections: list[_Section], section: _Section) -> str:
    """What a section is called."""
    names = sections[struct.unpack_from("<H", code, 62)[0]]
    return _text(code, names.offset + section.name)


def _symbols(code: bytes, sections: list[_Section]) -> list[tuple[str, int, int]]:
    """Name, section (0 if it is elsewhere) and place in it of every symbol."""
    table = next(s for s in sections if s.type == SYMBOLS)
    names = sections[table.link].offset
    found = []
    for at in range(table.offset, table.offset + table.size, 24):
        name, _, _, section, value, _ = struct.unpack_from("<IBBHQQ", code, at)
        found.append((_text(code, names + name), section, value))
    return found


def _text(code: bytes, at: int) -> str:
    """The text that begins somewhere and ends with a 0."""
    return code[at : code.index(b"\0", at)].decode()


def load(images: list[bytes]) -> list[int]:
    """Put images into memory, once and for all; return the addresses of their functions.

    Raises:
        UnsupportedError: ``Compiled programs need memory for machine code, and this system does not give any (…)…``
    """
    heads = [image[len(MAGIC) : image.index(b"\n")].decode().split(" ") for image in images]
    codes = [image[image.index(b"\n") + 1 :] for image in images]
    places, size = [], 0
    for code in codes:
        places.append(size)
        size += len(code) + -len(code) % ALIGN
    region = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    base = ctypes.addressof(ctypes.c_char.from_buffer(region))
    for place, (_, *outside), code in zip(places, heads, codes, strict=True):
        region[place : place + len(code)] = code
        for name, at in (each.split("@") for each in outside if each):
            struct.pack_into("<Q", region, place + int(at), _address(name))
    _make_executable(base, size)
    _regions.append(region)
    return [base + place + int(entry) for place, (entry, *_) in zip(places, heads, strict=True)]


@cache
def _address(name: str) -> int:
    """Where a function of C is in this process."""
    for library in (None, "libm.so.6", "libc.so.6"):
        try:
            function = getattr(ctypes.CDLL(library), name)
        except (OSError, AttributeError):
            continue
        return ctypes.cast(function, ctypes.c_void_p).value or 0
    raise UnsupportedError(f"Compiled programs need C's function {name}, which this system's libraries do not have.")


def _make_executable(base: int, size: int) -> None:
    """Let memory be run, and no longer written."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mprotect(ctypes.c_void_p(base), ctypes.c_size_t(size), mmap.PROT_READ | mmap.PROT_EXEC):
        raise UnsupportedError(
            "Compiled programs need memory for machine code, and this system does not give any "
            f"(mprotect: error {ctypes.get_errno()}). Allow it for this process, or let NumPy do it: "
            "ut.value_and_grad(f) without compile=True."
        )
