"""Folders of images as they lie about: with notes beside them, images in no folder of a class, parts for testing."""

from pathlib import Path

import numpy as np
import pytest

from undertow.data import read_table
from undertow.data.examples import holds_examples, read_examples
from undertow.data.table_pieces import find_files
from undertow.errors import DataError

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 3, 4), dtype=np.uint8)


def save_images(folder: Path) -> Path:
    image = pytest.importorskip("PIL.Image")
    for number, array in enumerate(IMAGES):
        (folder / "ab"[number % 2]).mkdir(parents=True, exist_ok=True)
        image.fromarray(array, "L").save(folder / "ab"[number % 2] / f"{number}.png")
    return folder


def test_a_note_beside_them_is_no_table(tmp_path):
    """Data sets come with a README.txt, which is none of the tables that a folder may be one of."""
    folder = save_images(tmp_path / "d")
    frame = read_table(folder)
    (folder / "README.txt").write_text("what these images are")
    assert holds_examples(folder) and read_table(folder).equals(frame) and frame.height == 6
    (folder / "t.csv").write_text("x\n1\n")
    assert not holds_examples(folder)


def test_images_that_are_left_out_are_told(tmp_path):
    """Those beside the folders have no class, and of those deeper nobody said that they belong to it."""
    folder, remarks = save_images(tmp_path / "d"), []
    frame = read_examples(folder, "test", remarks)
    assert not remarks
    (folder / "b" / "old").mkdir()
    for name in ("loose.png", "b/old/a.png", "b/old/b.png"):
        (folder / name).write_bytes((folder / "a" / "0.png").read_bytes())
    assert read_examples(folder, "test", remarks).equals(frame)
    left = "d: 3 images in no folder of a class, or deeper, left out: 'loose.png', 'b/old/a.png', 'b/old/b.png'."
    assert remarks == [left]


def test_of_parts_that_to_train_on_is_named(tmp_path):
    """`data/test` and `data/train`, each with a folder for each class."""
    for part in ("test", "train"):
        save_images(tmp_path / part)
    with pytest.raises(DataError, match=r"give one whose folders are the classes: .*train\."):
        find_files(tmp_path)
