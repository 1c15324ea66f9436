"""Arrays as the bytes of a safetensors file, and back. Nothing is copied on the way out.

The library of that format reads: it checks sizes, places and dtypes. It does not write here, because it would put
the header's keys in any order, and a checksum needs a place that is known.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors

from undertow.errors import RunError

METADATA = "__metadata__"
HEADER_BYTES_AT_MOST = 100_000_000  # what readers of the format allow
NAMES = {
    "bool": "BOOL", "uint8": "U8", "int8": "I8", "uint16": "U16", "int16": "I16", "float16": "F16", "uint32": "U32",
    "int32": "I32", "float32": "F32", "uint64": "U64", "int64": "I64", "float64": "F64", "complex64": "C64",
}  # fmt: skip


class DamagedError(RunError):
    """A file that does not hold what was written to it."""


def pack(arrays: dict[str, Any], metadata: dict[str, str]) -> tuple[bytes, list[memoryview]]:
    """Lay arrays out as a safetensors file.

    Args:
        arrays: the arrays by name, of any shape; bool, integers, float16 to float64, complex64.
        metadata: texts by name; they come first in the header, in this order.

    Returns:
        The beginning of the file, and the bytes of the arrays that follow, which share their memory.

    Raises:
        RunError: ``x is complex128, which …``; a name that is no text; a header above 100 MB.

    Source: the safetensors format, README of the project, section Format.

    Example:
        >>> start, data = pack({"b": np.float32([1, 2])}, {"format": "mine"})
        >>> start[8:]
        b'{"__metadata__":{"format":"mine"},"b":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}  '
    """
    found = {name: _read(name, value) for name, value in arrays.items()}
    # The widest first, so that all of them are aligned.
    names = sorted(found, key=lambda name: (-found[name].itemsize, name))
    header: dict[str, Any] = {METADATA: metadata}
    parts, place = [], 0
    for name in names:
        value = found[name]
        header[name] = {
            "dtype": NAMES[value.dtype.name],
            "shape": list(value.shape),
            "data_offsets": [place, place + value.nbytes],
        }
        place += value.nbytes
        if value.nbytes:
            parts.append(value.reshape(-1).view(np.uint8).data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > HEADER_BYTES_AT_MOST:
        raise RunError(f"its header is {len(text) / 1e6:.0f} MB; safetensors allows 100. Keep less in the record.")
    return len(text).to_bytes(8, "little") + text, parts


def _read(name: Any, value: Any) -> NDArray[Any]:
    """The array, in one piece and the byte order of the format; a copy only where it is not so already."""
    if not isinstance(name, str) or name == METADATA or any("\ud800" <= letter <= "\udfff" for letter in name):
        raise RunError(f"{name!r} is no name of an array. Give it a text such as 'model/W'.")
    array = np.asarray(value, order="C")
    if array.dtype.name not in NAMES:
        raise RunError(f"{name} is {array.dtype}, which safetensors does not have. Convert it, such as to float64.")
    return array.astype(array.dtype.newbyteorder("<"), copy=False)


def unpack(content: bytes) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Read the bytes of a safetensors file.

    Args:
        content: all of the file.

    Returns:
        The arrays and the texts of its header, by name.

    Raises:
        DamagedError: it is no such file, or says what cannot be.

    Source: the safetensors format, README of the project, section Format.

    Example:
        >>> unpack(b"".join([pack({"b": np.float32([1, 2])}, {"a": "x"})[0], bytes(8)]))
        ({'b': array([0., 0.], dtype=float32)}, {'a': 'x'})
    """
    try:
        arrays = load_tensors(content)
        size = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + size], object_pairs_hook=_once)
    except KeyError as error:
        raise DamagedError(f"it holds {error}, a dtype that NumPy does not have") from None
    except (SafetensorError, ValueError, TypeError, RecursionError, OverflowError) as error:
        raise DamagedError(str(error)) from None
    for name, value in arrays.items():
        if value.dtype == np.bool_ and value.size and value.view(np.uint8).max() > 1:
            raise DamagedError(f"{name} holds truth values other than 0 and 1")
    return arrays, header.get(METADATA) or {}


def checksum(*parts: bytes | memoryview) -> str:
    """Compute BLAKE2b of 256 bits, as ``b2sum -l 256`` prints it.

    Args:
        parts: bytes, one after the other.

    Returns:
        64 hexadecimal digits.

    Source: RFC 7693.

    Example:
        >>> checksum(b"ab") == checksum(b"a", b"b")
        True
    """
    total = hashlib.blake2b(digest_size=32)
    for part in parts:
        total.update(part)
    return total.hexdigest()


def _once(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON in which no key comes twice."""
    pairs = list(pairs)
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key comes twice in its header")
    return found
