"""Which files are read, by the ends of their names, and what to do with others."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Final

from undertow.errors import DataError

_THERE_IS_NONE: Final = (errno.ENOTDIR, errno.EACCES, errno.EPERM)
TEXT_EXTENSIONS: Final = (".csv", ".tsv", ".txt")
JSON_EXTENSIONS: Final = (".jsonl", ".ndjson")
EXCEL_EXTENSIONS: Final = (".xlsx", ".xlsm", ".xlsb", ".xls", ".ods")
PARQUET_EXTENSIONS: Final = (".parquet", ".pq")
ARROW_EXTENSIONS: Final = (".arrow", ".feather", ".ipc")
COLUMNAR: Final = PARQUET_EXTENSIONS + ARROW_EXTENSIONS
PACKED: Final = (".gz", ".bz2", ".xz", ".zst")  # of texts
TABLES: Final = TEXT_EXTENSIONS + JSON_EXTENSIONS + COLUMNAR + EXCEL_EXTENSIONS
IMAGES: Final = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".pgm", ".ppm")
_ARCHIVES: Final = (".zip", ".7z", ".rar", ".tar", ".tgz")
_PICKLES: Final = (".pkl", ".pickle", ".joblib", ".pt", ".pth")
PICKLE: Final = (
    "it is a pickle, and to read one may run what is in it. Where you trust it, read it yourself and save the arrays: "
    "np.savez('data.npz', x=x, y=y), x with a row an example."
)
_REMEDIES: Final = {
    ".npy": "one array has no target beside it. Save both in one: np.savez('data.npz', x=np.load(…), y=np.load(…)).",
    ".json": "one JSON document is not read, lines of JSON are: polars.read_json(…).write_ndjson('data.jsonl').",
    **dict.fromkeys(
        PACKED,
        "its name tells no text that was compressed. Name it such as data.csv.gz, or unpack it first.",
    ),
    **dict.fromkeys(_ARCHIVES, "it is an archive. Unpack it first, and give what was in it."),
    **dict.fromkeys(_PICKLES, PICKLE),
}


def find_extension(path: Path) -> str:
    """Find the end of a file's name that tells what is in it, in lower case; of a compressed text that of the text.

    Example:
        >>> find_extension(Path("a.CSV.gz")), find_extension(Path("a.parquet")), find_extension(Path("a.gz"))
        ('.csv', '.parquet', '.gz')
    """
    end = path.suffix.lower()
    inner = Path(path.stem).suffix.lower()
    return inner if end in PACKED and inner in TEXT_EXTENSIONS + JSON_EXTENSIONS else end


def check_file_name(path: Path) -> None:
    """Refuse what can name no file: too long a name, a zero byte.

    Raises:
        DataError: ``'zzz…' is no file name: File name too long. Give the path of a table.``

    Example:
        >>> check_file_name(Path("houses.csv"))
    """
    try:
        path.stat()
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno in _THERE_IS_NONE:
            return
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(f"{str(path)[:100]!r} is no file name: {reason}. Give the path of a table.") from None


def is_table(path: Path) -> bool:
    """Tell whether a file is a table, by its name.

    Example:
        >>> is_table(Path("a.tsv.bz2")), is_table(Path("a.png"))
        (True, False)
    """
    return find_extension(path) in TABLES


def refuse_extension(name: str, extension: str) -> str:
    """Say why a file cannot be read, and what can be done.

    Args:
        name: of the file.
        extension: the end of the name, with its dot, in lower case.

    Example:
        >>> refuse_extension("train.zip", ".zip")
        'train.zip: it is an archive. Unpack it first, and give what was in it.'
    """
    if extension in _REMEDIES:
        return f"{name}: {_REMEDIES[extension]}"
    found = f"the extension {extension!r} is unknown" if extension else "it has no extension"
    return (
        f"{name}: {found}; tables are read from {', '.join(TABLES)}, texts also compressed as {', '.join(PACKED)}; "
        "arrays from .npz and MNIST's …-idx3-ubyte, images from folders. Export the data as CSV or Parquet."
    )
