"""Arrays and images on the command line: trained on, measured, predicted and gone on with as tables are."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import undertow as ut
from command_line import make_runner

QUIET = ("--epochs", 6, "--hidden", 8, "--rate", 0.02, "--quiet", "--no-flow")


@pytest.fixture
def undertow(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    return make_runner(capsys, monkeypatch)


def make_images(n: int = 240) -> tuple[np.ndarray, np.ndarray]:
    """Images of 4 × 5 within noise, bright at the top, on the left or nowhere."""
    rng = np.random.default_rng(0)
    y = np.arange(n) % 3
    X = rng.integers(0, 120, (n, 4, 5))
    X[y == 0, 0] += 100
    X[y == 1, :, 0] += 100
    return X.astype(np.uint8), y.astype(np.uint8)


def accuracy(out: str) -> float:
    return float(next(line.split()[1] for line in out.splitlines() if line.startswith("accuracy")))


def test_a_file_of_arrays(undertow):
    """As Keras's mnist.npz is laid out: trained on one part, measured and predicted on the other, said each time."""
    X, y = make_images()
    np.savez("d.npz", x_train=X[:180], y_train=y[:180], x_test=X[180:], y_test=y[180:])
    code, _, err = undertow("train", "d.npz")
    assert code == 2 and "Name it with --target. The columns are 'y', 'x_0_0'" in err
    code, out, err = undertow("train", "d.npz", "--target", "y_train", "--out", "r", *QUIET)
    assert code == 0 and "d.npz: 'x_train', 'y_train'; left aside: 'x_test', 'y_test'." in out, err
    code, out, err = undertow("evaluate", "r", "d.npz")
    assert code == 0 and err.splitlines()[0] == "note: d.npz: 'x_test', 'y_test'; left aside: 'x_train', 'y_train'."
    assert "remembers" not in err and out.splitlines()[0].split() == ["rows", "60"]
    undertow("predict", "r", "d.npz", "--out", "p.csv")
    right = np.mean(pl.read_csv("p.csv")["prediction"].to_numpy() == y[180:])
    assert right == pytest.approx(accuracy(out), abs=1e-5) and right > 0.8
    np.savez("new.npz", x=X[:7])
    assert undertow("predict", "r", "new.npz")[1].split()[0] == "prediction"
    assert undertow("resume", "r", "--epochs", 8, "--quiet")[0] == 0 and len(ut.load("r").history) == 8


def test_folders_of_images(undertow):
    """The folders are the classes, so no target need be named; files can be put beside what is predicted."""
    image = pytest.importorskip("PIL.Image")
    X, y = make_images()
    for number, (pixels, label) in enumerate(zip(X, y, strict=True)):
        folder = Path("train" if number < 180 else "test", ("top", "left", "none")[label])
        folder.mkdir(parents=True, exist_ok=True)
        image.fromarray(pixels).save(folder / f"{number:03}.png")
    code, _, err = undertow("train", "train/top")
    assert code == 2 and "train/top: its images are not in folders. Put those of each class into a folder" in err
    assert undertow("train", "train", "--out", "r", *QUIET)[0] == 0
    code, out, _ = undertow("evaluate", "r", "test")
    assert code == 0 and accuracy(out) > 0.8
    undertow("predict", "r", "test", "--keep", "file,label", "--out", "p.csv")
    found = pl.read_csv("p.csv")
    assert found.columns == ["file", "label", "prediction"] and found["file"].str.starts_with(found["label"]).all()
    assert (found["label"] == found["prediction"]).mean() == pytest.approx(accuracy(out), abs=1e-5)
    one = next(iter(Path("test/left").iterdir()))
    alone = undertow("predict", "r", one)[1].split()[1]
    assert alone == found.filter(file=f"left/{one.name}")["prediction"].item()
    assert undertow("resume", "r", "--epochs", 8, "--quiet")[0] == 0
    Path("train/top/new.png").write_bytes(one.read_bytes())
    code, _, err = undertow("resume", "r", "--epochs", 9, "--quiet")
    assert code == 2 and "train has changed since the training began" in err


def test_files_of_mnist(undertow):
    X, y = make_images()
    for name, rows in (("train", slice(180)), ("t10k", slice(180, None))):
        for what, array in (("images-idx3", X[rows]), ("labels-idx1", y[rows])):
            head = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
            Path(f"{name}-{what}-ubyte").write_bytes(head + array.tobytes())
    code, _, err = undertow("train", ".")
    assert code == 2 and "Of 4 files with arrays, give one: t10k-images-idx3-ubyte." in err
    assert undertow("train", "train-images-idx3-ubyte", "--out", "r", *QUIET)[0] == 0
    assert accuracy(undertow("evaluate", "r", "t10k-images-idx3-ubyte")[1]) > 0.8
    assert undertow("find-lr", "train-images-idx3-ubyte", "--hidden", 8, "--steps", 40)[0] in (0, 1)
    Path("train-labels-idx1-ubyte").unlink()
    code, _, err = undertow("train", "train-images-idx3-ubyte", "--out", "q", *QUIET)
    assert code == 2 and "train-images-idx3-ubyte: its labels are not beside it" in err


def test_many_columns_are_told_of_in_few_sentences(undertow):
    """What is said of 300 columns alike stands once, with their number, in training as in prediction."""
    rng = np.random.default_rng(0)
    X = np.hstack([rng.normal(size=(200, 3)), np.zeros((200, 300))])
    names = ["a", "b", "c", *(f"p{k}" for k in range(300))]
    table = pl.DataFrame(X, schema=names).with_columns(y=pl.Series(X[:, 0] + X[:, 1]))
    table.write_csv("t.csv")
    code, out, err = undertow("train", "t.csv", "--target", "y", "--out", "r", *QUIET)
    assert code == 0 and sum("'p" in line for line in out.splitlines()) == 4, err
    assert "The same of 297 more columns: 'p3', 'p4', " in out
    wide = pl.DataFrame(rng.normal(size=(200, 30)), schema=[f"q{k}" for k in range(30)]).with_columns(y=table["y"])
    wide.write_csv("w.csv")
    undertow("train", "w.csv", "--target", "y", "--out", "w", *QUIET)
    wide.with_columns(pl.exclude("y") * 1000).write_csv("far.csv")
    err = undertow("predict", "w", "far.csv", "--out", "p.csv")[2]
    assert err.count("far outside of training's range") == 3
    assert "note: The same of 27 more columns, each with its own values: 'q3', " in err


def test_numbers_with_units_are_told_of_where_they_stay_texts(undertow):
    """As features of many categories, and as a target of many classes."""
    rng = np.random.default_rng(0)
    weight = rng.integers(50, 90, 400)
    pl.DataFrame({"w": [f"{w} kg" for w in weight], "x": rng.normal(size=400), "y": weight * 0.5}).write_csv("t.csv")
    said = "They look like numbers with the unit 'kg': write the numbers alone to use them."
    out = undertow("train", "t.csv", "--target", "y", "--out", "r", *QUIET)[1]
    assert f"'w': 40 categories, one feature each. {said}" in out
    out = undertow("train", "t.csv", "--target", "w", "--out", "q", *QUIET)[1]
    assert f"(40 in all). {said}" in out
