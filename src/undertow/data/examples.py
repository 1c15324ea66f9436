"""Examples that lie in arrays or images, as tables with a column for each of their numbers.

They are read whole: NumPy's .npz, the IDX files of MNIST, images, and folders of images with a folder for each class.
"""

from __future__ import annotations

import gzip
import math
import re
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray

from undertow.data.file_names import IMAGES, check_file_name, find_extension, is_table
from undertow.data.images import check_width, find_images, images_beside, read_images
from undertow.data.late import pl
from undertow.data.memory import check_array_fits
from undertow.data.wording import count, list_names
from undertow.errors import DataError

Part = Literal["train", "test"]
LABEL: Final = "label"
_NOTES: Final = ".txt"  # beside images what somebody wrote of them, README.txt
_IDX: Final = re.compile(r"idx\d+-ubyte(\.gz)?$")
_IDX_TYPES: Final = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
_MOST_AXES: Final = 32  # of NumPy's arrays, in all its versions
_DEFLATED: Final = 1032  # times that deflate makes something smaller at most
_PARTS: Final = {"train": "train", "test": "test", "val": "validation", "valid": "validation"}
_HEADS: Final = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
_DAMAGED: Final = (
    ValueError, OSError, EOFError, LookupError, MemoryError, ArithmeticError, RuntimeError, SyntaxError, TypeError,
    zipfile.BadZipFile, zlib.error, struct.error,
)  # fmt: skip


def holds_examples(path: Path) -> bool:
    """Tell whether a path names arrays or images, by its name; a folder, by the files in it."""
    check_file_name(path)
    if path.is_dir():
        tables = (entry for entry in path.iterdir() if is_table(entry) and find_extension(entry) != _NOTES)
        return bool(find_images(path)) and not any(tables)
    return path.suffix.lower() in (".npz", *IMAGES) or bool(_IDX.search(path.name))


def name_target(path: Path, target: str | None) -> str | None:
    """Name the target of a path's examples, where it is not told or told as an array of one part.

    Args:
        path: of a table or of examples.
        target: what was told, if anything.

    Returns:
        ``label`` for images in folders and IDX files; ``y`` for ``y_train`` where ``y_test`` is there too; else what
        was told.

    Raises:
        DataError: ``train-images-idx3-ubyte: its labels are not beside it. …``, images without folders for classes.

    Example:
        >>> name_target(Path("houses.csv"), "price")
        'price'
    """
    check_file_name(path)
    if path.suffix.lower() == ".npz":
        return _find_part(target)[1] if target is not None and path.is_file() and has_test_part(path) else target
    if not path.exists() or not holds_examples(path):
        return target
    if path.is_dir() and not any(file.parent != path for file in find_images(path)):
        raise DataError(f"{path}: its images are not in folders. Put those of each class into a folder of its name.")
    if not path.is_dir() and _IDX.search(path.name) and _find_labels(path) is None:
        place = path.with_name(_labels_of(path))
        raise DataError(f"{path.name}: its labels are not beside it. Give the file of images, and put {place} there.")
    return LABEL if target is None else target


def find_examples(path: Path) -> list[Path]:
    """Name the files in which the examples of a path lie, those with labels among them."""
    if path.is_dir():
        return find_images(path)
    labels = _find_labels(path) if _IDX.search(path.name) else None
    return [path] if labels is None else [path, labels]


def read_examples(path: Path, part: Part, remarks: list[str], name_files: bool = False) -> pl.DataFrame:
    """Read examples as a table.

    Args:
        path: an .npz file, an IDX file of images, an image, or a folder of images.
        part: of arrays such as ``x_train`` and ``x_test`` in one file, those to take.
        remarks: a sentence is appended where only some of the arrays, or of the images, are taken.
        name_files: whether images have a column ``file`` too, the path within the folder.

    Returns:
        A column for each number, ``x_3_4`` or ``pixel_3_4`` (row, column), and one for each array with a number or text
        an example; of images in folders, and of IDX files with labels beside them, ``label``.

    Raises:
        DataError: ``digits.npz: 'y' has 10 rows, 'x' has 20. …``, a damaged file, images that differ in size.

    Source: numpy.lib.format; Y. LeCun, "The MNIST database of handwritten digits"; Keras, ``mnist.load_data``.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder, "digits.npz")
        ...     np.savez(file, x_train=np.zeros((3, 2, 2)), y_train=[1, 2, 3], x_test=np.ones((1, 2, 2)), y_test=[4])
        ...     read_examples(file, "test", []).rows(named=True)
        [{'y': 4, 'x_0_0': 1.0, 'x_0_1': 1.0, 'x_1_0': 1.0, 'x_1_1': 1.0}]
    """
    if path.suffix.lower() == ".npz":
        return spread(_read_npz(path, part, remarks), path.name)
    if not path.is_dir() and _IDX.search(path.name):
        images = _read_idx(path)
        labels = _find_labels(path)
        return spread(({} if labels is None else {LABEL: _read_idx(labels)}) | {"pixel": images}, path.name)
    files = find_images(path) or [path]
    if beside := images_beside(path, files):
        names = list_names([_name_within(file, path) for file in beside], 3)
        remarks.append(
            f"{path.name}: {count(len(beside), 'image')} in no folder of a class, or deeper, left out: {names}."
        )
    found: dict[str, Any] = {"pixel": read_images(files, [_name_within(file, path) for file in files])}
    if any(file.parent != path for file in files) and path.is_dir():
        found[LABEL] = np.array([file.parent.name for file in files])
    if name_files:
        found["file"] = np.array([_name_within(file, path) for file in files])
    return spread(found, path.name)


def spread(arrays: Mapping[str, NDArray[Any]], file: str, others: Collection[str] = ()) -> pl.DataFrame:
    """Lay arrays with a row an example side by side, those with one number an example first.

    Args:
        arrays: (m,) or (m, …) each, by name.
        file: the name used in messages.
        others: names of columns that there are beside.

    Returns:
        The table; a number at ``x[:, 3, 4]`` is in the column ``x_3_4``.

    Raises:
        DataError: arrays of different lengths, without an example, with too many numbers each, complex ones, bytes that
            are no UTF-8; an array ``x`` beside one of the name ``x_0``.

    Source: derived here.

    Example:
        >>> spread({"x": np.zeros((2, 2)), "y": np.array(["a", "b"])}, "a.npz").columns
        ['y', 'x_0', 'x_1']
    """
    sizes = {name: len(array) for name, array in arrays.items()}
    if len(set(sizes.values())) > 1:
        each = ", ".join(f"{name!r} is {arrays[name].shape}" for name in sizes)
        raise DataError(f"{file}: its arrays have not as many rows: {each}. Give each a row an example.")
    if not any(sizes.values()):
        raise DataError(f"{file}: it holds no example. Give at least one.")
    single: dict[str, Any] = {}
    columns: dict[str, Any] = {}
    names = list(others)
    for name, array in arrays.items():
        if array.dtype.kind not in "biufUSM":
            raise DataError(f"{file}: {name!r} holds values of the type {array.dtype}. Give numbers or texts.")
        check_width(f"{file}: {name!r}", array.shape[1:], array.nbytes)
        try:
            flat = np.asfortranarray(_as_plain(array).reshape(len(array), -1))
        except UnicodeDecodeError as error:
            raise DataError(f"{file}: {name!r} holds bytes that are no UTF-8: {error.reason}. Give texts.") from None
        if flat.shape[1] == 1:
            single[name] = flat[:, 0]
            names.append(name)
            continue
        found = {"_".join([name, *map(str, place)]): flat[:, k] for k, place in enumerate(np.ndindex(array.shape[1:]))}
        columns |= found
        names += found
    if len(set(names)) < len(names):
        twice = Counter(names).most_common(1)[0][0]
        raise DataError(f"{file}: numbers of an array and another column would both be {twice!r}. Rename one.")
    return pl.DataFrame(single | columns).fill_nan(None)


def _as_plain(array: NDArray[Any]) -> NDArray[Any]:
    """The same values in a type that columns have."""
    if array.dtype.kind == "S":
        return np.char.decode(array, "utf-8")
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        return array.astype(np.float64)
    if array.dtype.kind == "M":
        return array.astype("datetime64[us]")
    native = array.astype(array.dtype.newbyteorder("="), copy=False)
    return native.astype(np.float32) if native.dtype == np.float16 else native


def has_test_part(path: Path) -> bool:
    """Tell whether a file has arrays to train on and others to test with."""
    if path.suffix.lower() != ".npz":
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            parts = {_find_part(name.removesuffix(".npy"))[0] for name in archive.namelist()}
    except _DAMAGED:  # which reading it says
        return False
    return {"train", "test"} <= parts


def _find_part(name: str) -> tuple[str, str]:
    """Which part of the examples an array holds by its name, and the rest of it: ``x_train``, ``test_images``."""
    words = name.split("_")
    for word, rest in ((words[-1], words[:-1]), (words[0], words[1:])):
        if rest and word.lower() in _PARTS:
            return _PARTS[word.lower()], "_".join(rest)
    return "", name


def _read_npz(path: Path, part: Part, remarks: list[str]) -> dict[str, NDArray[Any]]:
    """The arrays of one part, by their names without it."""
    try:
        with open(path, "rb") as opened, NpzFile(opened, allow_pickle=False) as file:
            parts = {name: _find_part(name) for name in file.files}
            both = {"train", "test"} <= {found for found, _ in parts.values()}
            taken = [name for name, (found, _) in parts.items() if found == part or not both]
            chosen = {parts[name][1] if both else name: name for name in taken}
            assert file.zip is not None
            _check_sizes(file.zip, list(chosen.values()), path.name)
            arrays: dict[str, NDArray[Any]] = {new: file[name] for new, name in chosen.items()}
    except DataError:
        raise
    except _DAMAGED as error:
        if "pickle" in str(error):
            raise DataError(
                f"{path.name}: it holds Python objects, which only pickle reads, and reading may run what is in them. "
                "Save arrays of numbers or texts: np.savez(file, x=np.stack(x), y=np.array(y))."
            ) from None
        raise DataError(f"{path.name}: the file is damaged, or no .npz: {error or type(error).__name__}.") from None
    if lost := [name for name in taken if name not in chosen.values()]:
        kept = chosen[parts[lost[0]][1]]
        raise DataError(f"{path.name}: {lost[0]!r} and {kept!r} are the same part of the same array. Leave one out.")
    arrays = {new: array for new, array in arrays.items() if np.ndim(array)}  # what else stands in a ZIP file is bytes
    if not arrays:
        raise DataError(f"{path.name}: it holds no arrays. Save them: np.savez(file, x=x, y=y).")
    taken = [chosen[new] for new in arrays]
    if aside := [name for name in parts if name not in taken]:
        remarks.append(f"{path.name}: {list_names(taken)}; left aside: {list_names(aside)}.")
    return arrays


def _check_sizes(archive: zipfile.ZipFile, names: list[str], file: str) -> None:
    """DataError where arrays are larger than memory, or than what is there of them, before any is read."""
    members = {entry.filename.removesuffix(".npy"): entry for entry in archive.infolist()}
    total = 0.0
    for name in names:
        with archive.open(members[name]) as member:
            try:
                read = _HEADS[np.lib.format.read_magic(member)]
            except (ValueError, LookupError):  # bytes, or an array whose fields have names
                continue
            shape, _, dtype = read(member)
        if not dtype.hasobject and math.prod(shape) * dtype.itemsize > members[name].file_size:
            raise DataError(f"{file}: {name!r} is damaged: its head tells of {shape} {dtype}, and there is less.")
        total = check_array_fits(f"{file}: {name!r}", shape, dtype, total)


def _labels_of(path: Path) -> str:
    """The name of the IDX file of labels that belongs to one of images."""
    return re.sub(r"idx\d+", "idx1", path.name.replace("images", "labels").removesuffix(".gz"))


def _find_labels(path: Path) -> Path | None:
    """The IDX file of labels beside one of images."""
    name = _labels_of(path)
    for found in (path.with_name(name), path.with_name(f"{name}.gz")):
        if found != path and found.is_file():
            return found
    return None


def _read_idx(path: Path) -> NDArray[Any]:
    """An array in MNIST's format: two zero bytes, a type, the number of axes, their sizes, the values."""
    packed = path.suffix == ".gz"
    try:
        with gzip.open(path) if packed else open(path, "rb") as file:
            head = file.read(4)
            if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in _IDX_TYPES or not head[3]:
                raise DataError(f"{path.name}: this is no IDX file. Check where it came from.")
            shape = struct.unpack(f">{head[3]}I", file.read(4 * head[3]))
            if len(shape) > _MOST_AXES:
                raise DataError(f"{path.name}: this is no IDX file, of {len(shape)} axes. Check where it came from.")
            dtype = np.dtype(_IDX_TYPES[head[2]])
            size = math.prod(shape) * dtype.itemsize
            possible = size <= path.stat().st_size * (_DEFLATED if packed else 1)
            if possible:
                check_array_fits(path.name, shape, dtype)
            content = file.read(size + 1) if possible else b""
    except DataError:
        raise
    except _DAMAGED as error:
        raise DataError(f"{path.name}: the file cannot be read: {error or type(error).__name__}.") from None
    if len(content) != size:
        raise DataError(
            f"{path.name}: its head tells of {' × '.join(map(str, shape))} values, and there are "
            f"{'more' if len(content) > size else 'fewer'}. Get it again: it is damaged or cut short."
        )
    return np.frombuffer(content, dtype).reshape(shape)


def _name_within(file: Path, folder: Path) -> str:
    return file.name if file == folder else file.relative_to(folder).as_posix()


def tell_examples(path: Path) -> str:
    """Say what a folder may hold that is no table, for an error that says so."""
    found = sorted(entry.name for entry in path.iterdir() if _IDX.search(entry.name) or entry.suffix == ".npz")
    if found:
        return f" Of {count(len(found), 'file')} with arrays, give one: {path / found[0]}."
    inner = [entry for entry in sorted(path.iterdir()) if entry.is_dir() and find_images(entry)]
    inner.sort(key=lambda entry: not entry.name.lower().startswith("train"))
    return f" Of folders of images, give one whose folders are the classes: {inner[0]}." if inner else ""
