"""Make src/undertow/data/digits.parquet from the copy of the digits that scikit-learn ships.

Run from the repository root: ``python benchmarks/make_digits.py``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
from sklearn.datasets import load_digits

TARGET = Path(__file__).parents[1] / "src" / "undertow" / "data" / "digits.parquet"


def make_digits(path: Path) -> None:
    """Write the 1797 images as one uint8 column a pixel, and the digit."""
    digits = load_digits()
    pixels = digits.data.astype(np.uint8)
    if not np.array_equal(pixels, digits.data):
        raise ValueError("the pixels are no whole numbers from 0 to 255: uint8 would change them")
    columns = {f"pixel_{place // 8}_{place % 8}": pixels[:, place] for place in range(64)}
    frame = pl.DataFrame({**columns, "digit": digits.target.astype(np.uint8)})
    frame.write_parquet(path, compression="zstd", compression_level=22, statistics=False)
    print(f"{path}: {frame.height} rows, {frame.width} columns, {path.stat().st_size} bytes")


if __name__ == "__main__":
    make_digits(TARGET)
