"""The text of a file, read anywhere in it: as it lies, or unpacked or written anew as UTF-8 beside memory.

Compressed texts, texts in UTF-16 and the first sheet of a workbook go through a temporary file, which has no name and
so ends with its process, and is kept in memory while it is small.
"""

from __future__ import annotations

import codecs
import os
import threading
import weakref
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Final, Protocol

from undertow.data.file_names import EXCEL_EXTENSIONS, PACKED, find_extension
from undertow.data.memory import check_fits, show_bytes
from undertow.data.reading import tell_reading
from undertow.errors import DataError

CHUNK: Final = 1 << 20
_SMALL: Final = 1 << 24  # bytes that are kept in memory
_UTF16: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_UTF32: Final = codecs.BOM_UTF32_LE  # which begins as UTF-16 does
SMALLER: Final = "Give fewer rows, or let it be read in pieces: undertow train with --memory, or ut.data.stream_table."


class Text(Protocol):
    """Bytes of which any part is read."""

    size: int

    def read(self, start: int, stop: int) -> bytes:
        """The bytes from one place up to another, as far as there are any."""


class FileText:
    """A file as it lies.

    Args:
        path: its place.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.size = path.stat().st_size
        except OSError as error:
            raise _unreadable(path, error) from None

    def read(self, start: int, stop: int) -> bytes:
        """The bytes from one place up to another."""
        try:
            with self.path.open("rb") as file:
                file.seek(start)
                return file.read(max(stop - start, 0))
        except OSError as error:
            raise _unreadable(self.path, error) from None


class TemporaryText:
    """Text that was made of a file.

    Args:
        path: of the file, for messages.
        pieces: of the text.
    """

    def __init__(self, path: Path, pieces: Iterator[bytes]) -> None:
        import tempfile  # loads much, which a process that reads plain files does without

        self.file: IO[bytes] = tempfile.SpooledTemporaryFile(_SMALL)  # noqa: SIM115 (it lives as long as this)
        weakref.finalize(self, self.file.close)
        self.lock = threading.Lock()  # a thread reads ahead
        self.size = 0
        for piece in pieces:
            with self._tell_lack(path):
                self.file.write(piece)
            self.size += len(piece)
        with self._tell_lack(path):
            self.file.flush()  # what is buffered is written here, and once: not where it is read, nor by a fork

    @contextmanager
    def _tell_lack(self, path: Path) -> Iterator[None]:
        """DataError where there is no room."""
        import tempfile

        try:
            yield
        except OSError as error:
            with suppress(OSError):  # it would write what is left
                self.file.close()
            raise DataError(
                f"{path.name}: there is no room to unpack it in {tempfile.gettempdir()} (after "
                f"{show_bytes(self.size)}): {error.strerror or error}. Set TMPDIR to a folder with more, or unpack "
                "it yourself."
            ) from None

    def read(self, start: int, stop: int) -> bytes:
        """The bytes from one place up to another."""
        with self.lock:
            self.file.seek(start)
            return self.file.read(max(stop - start, 0))


def open_text(path: Path, remarks: list[str]) -> Text:
    """Open the text of a table: as UTF-8, where it tells that it is another encoding.

    Args:
        path: a text, compressed or not, or a workbook.
        remarks: a sentence is appended where a workbook has more sheets than the one that is taken.

    Returns:
        The text; its bytes are not checked.

    Raises:
        DataError: ``people.csv.gz: it is damaged or cut short: …``, a missing library, no room on the disk.

    Source: derived here.

    Example:
        >>> import gzip, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder, "a.csv.gz")
        ...     _ = file.write_bytes(gzip.compress(b"x,y"))
        ...     open_text(file, []).read(0, 10)
        b'x,y'
    """
    if find_extension(path) in EXCEL_EXTENSIONS:
        from undertow.data.workbooks import write_sheet

        return TemporaryText(path, write_sheet(path, remarks))
    if path.suffix.lower() in PACKED:
        return TemporaryText(path, _as_utf8(path, unpack(path)))
    text = FileText(path)
    if not _is_utf16(text.read(0, 4)):
        return text
    size = text.size
    pieces = (text.read(first, first + CHUNK) for first in range(0, size, CHUNK))
    return TemporaryText(path, _as_utf8(path, tell_reading("text in UTF-16", pieces, size, len)))


def read_text(path: Path, remarks: list[str]) -> bytes:
    """Read a text whole, as `open_text` has it; DataError where it is larger than memory, or empty."""
    text = open_text(path, remarks)
    check_fits(path.name, text.size, SMALLER)
    content = text.read(0, text.size)
    if not content:
        raise DataError(f"{path.name}: the file is empty. Give a table with column names and rows.")
    return content


def unpack(path: Path) -> Iterator[bytes]:
    """The unpacked bytes of a compressed file, chunk by chunk."""
    damaged: tuple[type[Exception], ...] = (
        EOFError,
        OSError,
        ValueError,
        RuntimeError,
        zlib.error,
        *_more_errors(path),
    )
    try:
        with path.open("rb") as raw:
            size = os.fstat(raw.fileno()).st_size
            places = [0]

            def advance(_: bytes) -> int:
                places.append(raw.tell())
                return places[-1] - places[-2]

            with _open_packed(path, raw) as file:
                chunks = iter(lambda: file.read(CHUNK), b"")
                yield from tell_reading("what is compressed", chunks, size, advance)
    except damaged as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise _unreadable(path, error) from None
        reason = str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__
        raise DataError(f"{path.name}: it is damaged or cut short: {reason}. Get it again.") from None


def unpacked_size(path: Path, most: float) -> float:
    """The bytes of a file as they are read: of a compressed one unpacked, counted up to somewhat above ``most``."""
    if path.suffix.lower() not in PACKED or find_extension(path) in PACKED:
        return path.stat().st_size
    n = 0
    for chunk in unpack(path):
        n += len(chunk)
        if n > most:
            break
    return n


def _open_packed(path: Path, raw: IO[bytes]) -> Any:
    """A reader of what is compressed in an open file."""
    kind = path.suffix.lower()
    if kind == ".gz":
        import gzip

        return gzip.GzipFile(fileobj=raw)
    if kind == ".bz2":
        import bz2

        return bz2.BZ2File(raw)
    if kind == ".xz":
        import lzma

        return lzma.LZMAFile(raw)
    return _import_zstd(path).ZstdFile(raw)


def _more_errors(path: Path) -> tuple[type[Exception], ...]:
    """What a library raises of its own for damaged content."""
    if path.suffix.lower() == ".xz":
        import lzma

        return (lzma.LZMAError,)
    return (_import_zstd(path).ZstdError,) if path.suffix.lower() == ".zst" else ()


def _import_zstd(path: Path) -> Any:
    """The module of Python 3.14 for Zstandard, or the same for an older one."""
    try:
        from compression import zstd  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        try:
            from backports import zstd  # type: ignore[import-not-found, no-redef, unused-ignore]
        except ImportError:
            raise DataError(
                f"{path.name}: to unpack .zst takes backports.zstd. Install it: pip install backports.zstd."
            ) from None
    return zstd


def _is_utf16(head: bytes) -> bool:
    return head[:2] in _UTF16 and head != _UTF32


def _as_utf8(path: Path, pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Text as UTF-8: as it is, unless its first bytes tell that it is UTF-16."""
    first = next(pieces, b"")
    if not _is_utf16(first[:4]):
        yield first
        yield from pieces
        return
    decoder, n_lines = codecs.getincrementaldecoder("utf-16")(), 1
    try:
        text = decoder.decode(first)
        for piece in pieces:
            n_lines += text.count("\n")
            yield text.encode()
            text = decoder.decode(piece)
        yield (text + decoder.decode(b"", final=True)).encode()
    except UnicodeError as error:
        raise DataError(
            f"{path.name}, near row {n_lines}: this is no whole text in UTF-16: {error.args[-1]}. Save it as UTF-8."
        ) from None


def _unreadable(path: Path, error: OSError) -> DataError:
    return DataError(f"{path}: the file cannot be read: {error.strerror or error}. Check its permissions.")
