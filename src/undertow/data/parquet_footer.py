"""How large the row groups of a Parquet file are: its footer, in Thrift's compact protocol, read as far as needed."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

_MAGIC: Final = b"PAR1"
_LARGEST_FOOTER: Final = 64_000_000  # bytes that are read
_DEEPEST: Final = 30  # structures within structures
_ROW_GROUPS, _BYTES, _ROWS = 4, 2, 3  # the numbers of these fields in FileMetaData and in RowGroup
_LIST, _STRUCT = 9, 12  # types of the compact protocol


class RowGroup(NamedTuple):
    """Its bytes, uncompressed, and its rows."""

    n_bytes: int
    rows: int


def largest_row_group(path: Path) -> RowGroup | None:
    """Find how large the largest row group of a file is.

    Args:
        path: the file.

    Returns:
        The one with the most bytes; None where the footer is none that this reads.

    Source: parquet-format, src/main/thrift/parquet.thrift, structures FileMetaData and RowGroup; Apache Thrift, Thrift
        Compact protocol.

    Example:
        >>> largest_row_group(Path("no-such-file.parquet")) is None
        True
    """
    try:
        with path.open("rb") as file:
            file.seek(-8, 2)
            end = file.tell()
            size, magic = struct.unpack("<I4s", file.read(8))
            if magic != _MAGIC or size > min(end, _LARGEST_FOOTER):
                return None
            file.seek(end - size)
            return _Reader(file.read(size)).largest_group()
    except (OSError, ValueError, IndexError, RecursionError):
        return None


class _Reader:
    """Reads a footer from its beginning; IndexError where it ends too early, ValueError where it is none."""

    def __init__(self, content: bytes) -> None:
        self.content, self.place = content, 0

    def largest_group(self) -> RowGroup | None:
        """Look through the fields of the whole file for the row groups."""
        for number, kind in self.fields():
            if number == _ROW_GROUPS and kind == _LIST:
                count, _ = self.list_head()
                return max((self.group() for _ in range(count)), default=RowGroup(0, 0))
            self.skip(kind, 0)
        return None

    def group(self) -> RowGroup:
        """One row group."""
        found = {_BYTES: 0, _ROWS: 0}
        for number, kind in self.fields():
            if number in found and kind in (5, 6):
                found[number] = self.number()
            else:
                self.skip(kind, 0)
        return RowGroup(found[_BYTES], found[_ROWS])

    def fields(self) -> Iterator[tuple[int, int]]:
        """The fields of a structure: their numbers and types."""
        number = 0
        while head := self.byte():
            step = head >> 4
            number = number + step if step else self.number()
            yield number, head & 15

    def byte(self) -> int:
        """The next byte."""
        value = self.content[self.place]
        self.place += 1
        return value

    def varint(self) -> int:
        """A number of 0 or more, seven bits a byte."""
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7
            if shift > 63:
                raise ValueError

    def number(self) -> int:
        """A number with a sign, zigzag."""
        value = self.varint()
        return (value >> 1) ^ -(value & 1)

    def list_head(self) -> tuple[int, int]:
        """How many entries a list has, and of which type."""
        head = self.byte()
        count = head >> 4
        return (self.varint() if count == 15 else count), head & 15

    def skip(self, kind: int, depth: int) -> None:
        """Pass over a value."""
        if depth > _DEEPEST:
            raise ValueError
        if kind in (1, 2):  # a truth value stands in the type
            return
        if kind == 3:
            self.byte()
        elif kind in (4, 5, 6):
            self.varint()
        elif kind == 7:
            self.place += 8
        elif kind == 8:
            size = self.varint()  # which moves the place
            self.place += size
        elif kind in (_LIST, 10):
            count, inner = self.list_head()
            for _ in range(count):
                if inner in (1, 2):
                    self.byte()
                else:
                    self.skip(inner, depth + 1)
        elif kind == _STRUCT:
            for _, inner in self.fields():
                self.skip(inner, depth + 1)
        else:
            raise ValueError
