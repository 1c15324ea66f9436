"""Which files are read, by the ends of their names, and what to do with others."""

from __future__ import annotations

from typing import Final

TEXT_EXTENSIONS: Final = (".csv", ".tsv", ".txt")
PARQUET_EXTENSIONS: Final = (".parquet", ".pq")
TABLES: Final = TEXT_EXTENSIONS + PARQUET_EXTENSIONS
IMAGES: Final = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".pgm", ".ppm")
_COMPRESSED: Final = (".gz", ".zip", ".bz2", ".xz", ".zst", ".7z", ".rar", ".tar", ".tgz")
_PICKLES: Final = (".pkl", ".pickle", ".joblib", ".pt", ".pth")
PICKLE: Final = (
    "it is a pickle, and to read one may run what is in it. Where you trust it, read it yourself and save the arrays: "
    "np.savez('data.npz', x=x, y=y), x with a row an example."
)
_REMEDIES: Final = {
    ".npy": "one array has no target beside it. Save both in one: np.savez('data.npz', x=np.load(…), y=np.load(…)).",
    **dict.fromkeys(_COMPRESSED, "the file is compressed. Unpack it first, and give what was in it."),
    **dict.fromkeys(_PICKLES, PICKLE),
}


def refuse_extension(name: str, extension: str) -> str:
    """Say why a file cannot be read, and what can be done.

    Args:
        name: of the file.
        extension: the end of the name, with its dot, in lower case.

    Example:
        >>> refuse_extension("train.csv.gz", ".gz")
        'train.csv.gz: the file is compressed. Unpack it first, and give what was in it.'
    """
    if extension in _REMEDIES:
        return f"{name}: {_REMEDIES[extension]}"
    found = f"the extension {extension!r} is unknown" if extension else "it has no extension"
    return (
        f"{name}: {found}; tables are read from {', '.join(TABLES)}, arrays from .npz and MNIST's …-idx3-ubyte, images "
        "from folders. Export the data as CSV or Parquet."
    )
