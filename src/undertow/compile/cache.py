"""Machine code by what it was made of: in memory, on disk, or compiled now.

An entry's name is a digest of the kernel's structure, of our own source, of LLVM's version and of the processor. It is
written to a file of its own and renamed, so that several processes may do so at once; it begins with a digest of its
name and of what it holds, so that a damaged one, or one that lies under another's name, is compiled again. A folder
that cannot be written costs time, never a result.

The folder is kept below a size. Whoever has written to it looks once a day, at the process's end, and removes what was
not used for the longest time; whoever misses a removed entry compiles it again.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import importlib.util
import os
import sys
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

from undertow.compile.image import MAGIC, are_made_here, link, load
from undertow.compile.ir import Module

_DIGEST = 32
LIMIT = 256  # MB of machine code on disk, unless UNDERTOW_CACHE_MB says otherwise
DAY = 86_400.0  # seconds
_addresses: dict[str, int] = {}
_libraries: list[object] = []  # machine code is never let go: programs hold bare addresses

Writer = Callable[[Module], object]


def folder() -> Path:
    """Return the folder of compiled kernels: UNDERTOW_CACHE_DIR, or the platform's folder for caches."""
    given = os.environ.get("UNDERTOW_CACHE_DIR")
    if given:
        return Path(given)
    if sys.platform == "linux":  # as platformdirs has it, whose import takes as long as a hundred steps of training
        return Path(os.environ.get("XDG_CACHE_HOME", "").strip() or os.path.expanduser("~/.cache")) / "undertow"
    from platformdirs import user_cache_path

    return user_cache_path("undertow", appauthor=False)


@cache
def _origin() -> bytes:
    """What machine code depends on besides the kernel: our source, LLVM, the processor."""
    from undertow.compile.processor import processor

    digest = hashlib.sha256(processor().encode())
    llvm = importlib.util.find_spec("llvmlite")  # which is not imported, since that takes long
    versions = Path(llvm.origin or "").with_name("_version.py") if llvm else None
    for path in (*sorted(Path(__file__).parent.glob("*.py")), *([versions] if versions else ())):
        digest.update(path.read_bytes())
    return digest.digest()


def name_of(structure: object) -> str:
    """Return the name under which a kernel is kept: a digest of its structure's text."""
    return _known_digest(repr(structure))  # the structures of 0.0 and -0.0 are equal, their texts are not


@cache
def _known_digest(text: str) -> str:
    return digest_of(text)


def digest_of(text: str) -> str:
    """Return the name of what follows from a text, our own source and the processor."""
    return hashlib.sha256(_origin() + text.encode()).hexdigest()


def find_kernels(wanted: dict[str, tuple[Writer, str]]) -> dict[str, int]:
    """Return the addresses of kernels; those that are nowhere yet are compiled.

    Args:
        wanted: by name, what writes the kernel into a module, and the name of the function.
    """
    missing = {name: entry for name, entry in wanted.items() if name not in _addresses}
    if missing:
        place = folder()
        codes = {name: read(place, name) or _compile(place, name, *entry) for name, entry in missing.items()}
        images = {name: code for name, code in codes.items() if code.startswith(MAGIC)}
        if images:
            _addresses.update(zip(images, load(list(images.values())), strict=True))
        objects = {name: code for name, code in codes.items() if name not in images}
        if objects:
            from undertow.compile.llvm import Library

            library = Library(list(objects.values()))  # all in one, as each takes LLVM a millisecond
            _libraries.append(library)
            _addresses.update({name: library.address(symbol_of(name)) for name in objects})
    return {name: _addresses[name] for name in wanted}


def _compile(place: Path, name: str, write: Writer, function: str) -> bytes:
    """Make a kernel's machine code, and keep it."""
    from undertow.compile.llvm import assemble

    module = Module()
    write(module)
    code = assemble(str(module), {function: symbol_of(name)})
    code = (link(code, symbol_of(name)) if are_made_here() else None) or code
    keep(place, name, code)
    return code


def symbol_of(name: str) -> str:
    """Return what a kernel's function is called among those of other kernels."""
    return f"undertow_{name}"


def read(place: Path, name: str) -> bytes | None:
    """Return an entry from disk; None if it is not there or damaged."""
    path = place / name[:2] / name
    try:
        data, used = path.read_bytes(), path.stat().st_mtime
    except OSError:
        return None
    if used < time.time() - DAY:
        with contextlib.suppress(OSError):
            os.utime(path)  # the day of its last use
    code = data[_DIGEST:]
    return code if _check(name, code) == data[:_DIGEST] else None


def _check(name: str, code: bytes) -> bytes:
    """Return what an entry begins with."""
    return hashlib.sha256(name.encode() + code).digest()


def keep(place: Path, name: str, code: bytes) -> None:
    """Write an entry to disk, if that is possible."""
    import tempfile  # loads much, which a process that finds all it needs does without

    with contextlib.suppress(OSError):
        target = place / name[:2]
        target.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=target)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(_check(name, code) + code)
            os.replace(temporary, target / name)
            _prune_at_exit(place)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise


@cache
def _prune_at_exit(place: Path) -> None:
    """Look after the folder's size when this process ends."""
    atexit.register(prune, place)


def entries(place: Path) -> Iterator[tuple[float, int, Path]]:
    """List what is kept in a folder: the day of its last use, bytes, file."""
    for path in place.glob("[0-9a-f][0-9a-f]/*"):
        with contextlib.suppress(OSError):  # another process has removed or renamed it
            if path.name.startswith(("tmp", path.parent.name)):
                state = path.stat()
                yield state.st_mtime, state.st_size, path


def prune(place: Path) -> None:
    """Remove what was not used for the longest time, if there is too much; at most once a day.

    Args:
        place: the folder of compiled kernels; other files in it stay.
    """
    given = os.environ.get("UNDERTOW_CACHE_MB", "")
    limit = 1e6 * (int(given) if given.isascii() and given.isdigit() else LIMIT)
    note = place / "pruned"
    with contextlib.suppress(OSError):
        if note.exists() and time.time() - note.stat().st_mtime < DAY:
            return
        note.touch()
        found = list(entries(place))
        total = sum(size for _, size, _ in found)
        for _, size, path in sorted(found):
            if total <= limit:
                break
            with contextlib.suppress(OSError):
                path.unlink()
            total -= size
