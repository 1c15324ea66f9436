"""Images as arrays, and folders of them."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from undertow.data.file_names import IMAGES
from undertow.data.memory import check_array_fits, check_fits
from undertow.data.wording import count
from undertow.errors import DataError

_PLAIN: Final = {"1": "L", "L": "L", "LA": "LA", "RGBA": "RGBA", "PA": "RGBA", "I;16": "I", "I": "I", "F": "F"}
_DEEP: Final = ("I", "F")  # of more than 8 bits
_COLUMN: Final = 10_000  # bytes that a column of a table takes beside its numbers, measured with 10,000 to 50,000


def find_images(folder: Path) -> list[Path]:
    """The images in the folders of a folder; else those that lie in it; by name.

    Args:
        folder: of which each folder may be a class.

    Returns:
        Paths; none where the path is no folder, or it has no images.

    Example:
        >>> find_images(Path("no such folder"))
        []
    """
    if not folder.is_dir():
        return []
    inner = [entry for entry in sorted(folder.iterdir()) if entry.is_dir() and not entry.name.startswith(".")]
    return [file for entry in inner for file in _images_in(entry)] or _images_in(folder)


def images_beside(folder: Path, taken: Sequence[Path]) -> list[Path]:
    """The images of a folder that `find_images` does not take where it takes those in its folders.

    Args:
        folder: the folder.
        taken: what `find_images` gave.

    Returns:
        Those that lie beside the folders, and those in folders within them, one level deep.

    Example:
        >>> images_beside(Path("no such folder"), [])
        []
    """
    classes = sorted({file.parent for file in taken} - {folder})
    if not classes or not folder.is_dir():
        return []
    deeper = [entry for kept in classes for entry in sorted(kept.iterdir()) if entry.is_dir()]
    return [*_images_in(folder), *(file for entry in deeper if entry.name[0] != "." for file in _images_in(entry))]


def _images_in(folder: Path) -> list[Path]:
    found = (entry for entry in folder.iterdir() if entry.suffix.lower() in IMAGES and not entry.name.startswith("."))
    return sorted(entry for entry in found if entry.is_file())


def read_images(sources: Sequence[Path | bytes], names: Sequence[str]) -> NDArray[Any]:
    """Decode images of one size.

    Args:
        sources: files, or what stands in them.
        names: of each, for messages.

    Returns:
        (m, rows, columns), or (m, rows, columns, channels) where some have colours or are transparent: uint8, or int32
        or float32 where they are grey with more than 8 bits.

    Raises:
        DataError: ``b.png is 31 × 40 (width × height), a.png 32 × 32. …``; more numbers than memory holds, before
            any is decoded; a damaged one; Pillow is not there.

    Source: Pillow's documentation, "Modes".
    """
    pillow = import_pillow()
    sizes, modes = [], set()
    for source, name in zip(sources, names, strict=True):
        with _open(pillow, source, name) as image:
            sizes.append(image.size)
            modes.add("RGBA" if "transparency" in image.info else _PLAIN.get(image.mode, "RGB"))
    for size, name in zip(sizes, names, strict=True):
        if size != sizes[0]:
            raise DataError(
                f"{name} is {size[0]} × {size[1]} (width × height), {names[0]} {sizes[0][0]} × {sizes[0][1]}. Give "
                "images of one size; Pillow makes them so: Image.open(file).resize((32, 32)).save(file)."
            )
    if len(modes) > 1 and modes & set(_DEEP):
        raise DataError(
            f"{names[0]} and others: some have more than 8 bits of grey, some not. Give images of one kind."
        )
    colour = "RGB" if any(found.startswith("RGB") for found in modes) else "L"
    mode = modes.pop() if len(modes) == 1 else colour + "A" * any("A" in found for found in modes)
    shape = (*sizes[0][::-1], 1 if mode in _DEEP else len(mode))
    dtype = np.dtype(np.int32 if mode == "I" else np.float32 if mode == "F" else np.uint8)
    check_array_fits(f"{count(len(names), 'image')} such as {names[0]}", (len(names), *shape), dtype)
    check_width(names[0], shape, len(names) * math.prod(shape) * dtype.itemsize)
    arrays = []
    for source, name in zip(sources, names, strict=True):
        try:
            with _open(pillow, source, name) as image:
                arrays.append(np.asarray(image.convert(mode)))
        except (OSError, ValueError, SyntaxError) as error:
            raise _damaged(name, error) from None
    return np.stack(arrays)


def check_width(name: str, shape: tuple[int, ...], values: float = 0) -> None:
    """Refuse examples of more numbers than memory has room for as columns of a table.

    Args:
        name: of what has them, for the message.
        shape: of an example.
        values: bytes that they take themselves, in all examples.

    Raises:
        DataError: ``a.png, (4000, 6000, 3): a table of 72000000 columns takes 720 GB of memory, …``

    Example:
        >>> check_width("a.png", (28, 28))
    """
    n = math.prod(shape)
    remedy = (
        "Make images smaller: 64 × 64 in colour are 12288 columns. Arrays as they are take less: give ut.train them."
    )
    check_fits(f"{name}, {shape}: a table of {n} columns", n * _COLUMN + values, remedy)


def import_pillow() -> Any:
    """Pillow's module Image; DataError where it is not installed."""
    try:
        from PIL import Image
    except ImportError:
        raise DataError("to read images takes Pillow. Install it: pip install pillow.") from None
    return Image


def _open(pillow: Any, source: Path | bytes, name: str) -> Any:
    try:
        return pillow.open(io.BytesIO(source) if isinstance(source, bytes) else source)
    except (OSError, ValueError, SyntaxError, pillow.DecompressionBombError) as error:
        raise _damaged(name, error) from None


def _damaged(name: str, error: BaseException) -> DataError:
    reason = str(error).strip().partition("\n")[0].partition(" '")[0].partition(" <")[0]
    return DataError(f"{name}: the image cannot be read: {reason}. Remove it, or get it again.")
