"""Arrays and images become tables: the numbers are those that NumPy, Pillow or `struct` wrote, in their places."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import undertow as ut
from undertow.data import as_frame, read_table, read_table_with_origin
from undertow.data.examples import find_examples, holds_examples, name_target, read_examples
from undertow.data.memory import find_memory
from undertow.data.table_pieces import find_files
from undertow.errors import ArgumentError, DataError

RNG = np.random.default_rng(0)
X = RNG.integers(0, 256, (12, 3, 4), dtype=np.uint8)
Y = np.arange(12, dtype=np.uint8) % 3


def idx(array: np.ndarray, kind: int = 8) -> bytes:
    """The bytes of an IDX file, as its description has them: big-endian."""
    return struct.pack(f">HBB{array.ndim}I", 0, kind, array.ndim, *array.shape) + array.tobytes()


def pixels(frame: pl.DataFrame, name: str = "pixel", shape: tuple[int, ...] = (3, 4)) -> np.ndarray:
    """The numbers of the columns `pixel_row_column`, laid out as an array again."""
    columns = [f"{name}_" + "_".join(map(str, place)) for place in np.ndindex(shape)]
    return frame.select(columns).to_numpy().reshape(-1, *shape)


def save_images(folder: Path, images, labels, mode: str = "L") -> None:
    image = pytest.importorskip("PIL.Image")
    for number, (array, label) in enumerate(zip(images, labels, strict=True)):
        (folder / str(label)).mkdir(parents=True, exist_ok=True)
        image.fromarray(array, mode).save(folder / str(label) / f"{number:02}.png")


# ---- arrays of NumPy ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "names", [("x_train", "y_train", "x_test", "y_test"), ("train_x", "train_y", "test_x", "test_y")]
)
def test_a_file_with_two_parts(tmp_path, names):
    """Training takes the first part, what is measured or predicted the second; columns have the names without it."""
    file = tmp_path / "d.npz"
    np.savez(file, **dict(zip(names, (X[:8], Y[:8], X[8:], Y[8:, None]), strict=True)), val_x=X)
    said: list[str] = []
    train = read_table_with_origin(file, remarks=said)[0]
    assert train.columns[0] == "y" and train["y"].to_list() == Y[:8].tolist()
    np.testing.assert_array_equal(pixels(train, "x"), X[:8])
    assert said == [f"d.npz: {names[0]!r}, {names[1]!r}; left aside: {names[2]!r}, {names[3]!r}, 'val_x'."]
    test = read_examples(file, "test", [])
    np.testing.assert_array_equal(pixels(test, "x"), X[8:])
    assert test["y"].to_list() == Y[8:].tolist() and name_target(file, "y_train") == "y"


def test_a_file_with_one_part(tmp_path):
    """All arrays are taken, by their own names: texts, dates, NaN and half precision too."""
    file = tmp_path / "d.npz"
    days = np.array(["2020-01-01", "2020-01-02"], "datetime64[s]")
    half = np.array([[1, np.nan], [3, 4]], np.float16)
    np.savez_compressed(
        file, half=half, word=np.array(["a", "b"]), raw=np.array([b"c", b"d"]), day=days, big=np.array([1, 2], ">i4")
    )
    frame = read_table(file)
    assert frame.columns == ["word", "raw", "day", "big", "half_0", "half_1"]
    assert frame.drop("day").rows() == [("a", "c", 1, 1.0, None), ("b", "d", 2, 3.0, 4.0)]
    assert frame["day"].dt.day().to_list() == [1, 2] and name_target(file, "big") == "big"


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": X, "y": Y[:5]}, "its arrays have not as many rows: 'x' is (12, 3, 4), 'y' is (5,). Give each a row"),
        (
            {"x": np.array([{}, {}]), "y": Y[:2]},
            "it holds Python objects, which only pickle reads, and reading may run",
        ),
        ({"x": X * 1j, "y": Y}, "'x' holds values of the type complex128. Give numbers or texts."),
        ({"x": X[:0], "y": Y[:0]}, "it holds no example"),
        ({"n": np.array(3)}, "it holds no arrays. Save them"),
    ],
)
def test_arrays_that_are_no_table(tmp_path, arrays, message):
    np.savez(tmp_path / "d.npz", **arrays)
    with pytest.raises(DataError) as caught:
        read_table(tmp_path / "d.npz")
    assert f"d.npz: {message}" in str(caught.value)


def test_a_damaged_file_of_arrays_is_an_error(tmp_path):
    """Whatever byte is another, or wherever it ends: a DataError, or arrays: ZIP checks sums."""
    file = tmp_path / "d.npz"
    np.savez(file, x=X, y=Y)
    whole, wanted = file.read_bytes(), read_table(file).rows()
    rng = np.random.default_rng(1)
    for k in range(300):
        damaged = bytearray(whole[: rng.integers(len(whole))] if k % 3 == 0 else whole)
        for place in rng.integers(0, len(damaged), 1 + k % 4) if damaged else ():
            damaged[place] ^= 1 << rng.integers(8)
        file.write_bytes(damaged)
        try:
            rows = read_table(file).rows()
        except DataError:
            continue
        assert rows == wanted or len(rows) == len(wanted)


# ---- MNIST's files ------------------------------------------------------------------------------


@pytest.mark.parametrize("packed", [False, True])
def test_idx_files(tmp_path, packed):
    """Images with the labels that lie beside them; without these where there are none."""
    name = "train-images-idx3-ubyte" + ".gz" * packed
    pack = gzip.compress if packed else bytes
    (tmp_path / name).write_bytes(pack(idx(X)))
    assert read_examples(tmp_path / name, "test", []).width == 12
    with pytest.raises(
        DataError, match=r"its labels are not beside it\. Give the file of images, and put .*train-labels-"
    ):
        name_target(tmp_path / name, None)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(Y))
    frame = read_table(tmp_path / name)
    np.testing.assert_array_equal(pixels(frame), X)
    assert frame["label"].to_list() == Y.tolist() and name_target(tmp_path / name, None) == "label"
    assert [file.name for file in find_files(tmp_path / name)] == [name, "train-labels-idx1-ubyte"]


def test_idx_files_of_other_types(tmp_path):
    values = RNG.normal(size=(4, 3))
    for kind, dtype in ((9, "i1"), (11, ">i2"), (12, ">i4"), (13, ">f4"), (14, ">f8")):
        (tmp_path / "a.idx2-ubyte").write_bytes(idx((values * 50).astype(dtype), kind))
        found = read_table(tmp_path / "a.idx2-ubyte").to_numpy()
        np.testing.assert_array_equal(found, (values * 50).astype(dtype))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "this is no IDX file"),
        (b"PK\x03\x04", "this is no IDX file"),
        (idx(X)[:-1], "its head tells of 12 × 3 × 4 values, and there are fewer"),
        (idx(X) + b"0", "its head tells of 12 × 3 × 4 values, and there are more"),
        (struct.pack(">HBB3I", 0, 8, 3, 2**32 - 1, 2**32 - 1, 2**32 - 1), "and there are fewer"),
        (struct.pack(">HBB", 0, 8, 200), "cannot be read"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_idx_files_that_are_damaged(tmp_path, content, message, packed):
    """Also a head that tells of more than there can be, for which no memory is taken."""
    file = tmp_path / ("a-idx3-ubyte" + ".gz" * packed)
    file.write_bytes(gzip.compress(content) if packed else content)
    with pytest.raises(DataError, match=message):
        read_table(file)
    if packed and content:
        file.write_bytes(gzip.compress(content)[:-9])
        with pytest.raises(DataError):
            read_table(file)


# ---- images -------------------------------------------------------------------------------------


def test_folders_of_images(tmp_path):
    """The label is the folder's name; rows are in the order of the paths, which `file` tells where it is asked for."""
    save_images(tmp_path / "d", X, Y)
    (tmp_path / "d" / "0" / ".hidden.png").write_text("no image")
    (tmp_path / "d" / "notes.md").write_text("no image")
    frame = read_table(tmp_path / "d")
    order = np.argsort(Y, kind="stable")
    np.testing.assert_array_equal(pixels(frame), X[order])
    assert frame["label"].to_list() == [str(label) for label in Y[order]] and "file" not in frame.columns
    named = read_examples(tmp_path / "d", "test", [], name_files=True)
    assert named["file"].to_list()[:2] == ["0/00.png", "0/03.png"]
    flat = read_examples(tmp_path / "d" / "1", "test", [], name_files=True)
    np.testing.assert_array_equal(pixels(flat), X[Y == 1])
    assert "label" not in flat.columns and flat["file"][0] == "01.png"
    one = read_examples(tmp_path / "d" / "1" / "04.png", "test", [])
    np.testing.assert_array_equal(pixels(one), X[4:5])
    with pytest.raises(DataError, match="its images are not in folders"):
        name_target(tmp_path / "d" / "1", None)
    with pytest.raises(DataError, match=r"Of folders of images, give one whose folders are the classes: .*d\."):
        find_files(tmp_path)
    pl.DataFrame({"x": [1]}).write_csv(tmp_path / "d" / "t.csv")  # a folder with tables is one of tables
    assert not holds_examples(tmp_path / "d") and [file.name for file in find_files(tmp_path / "d")] == ["t.csv"]


def test_images_in_colour(tmp_path):
    """As soon as one has colours or is transparent, all have channels; depths above 8 bits keep their numbers."""
    image = pytest.importorskip("PIL.Image")
    colours = RNG.integers(0, 256, (2, 3, 4, 3), dtype=np.uint8)
    save_images(tmp_path / "c", colours, [0, 1], "RGB")
    np.testing.assert_array_equal(pixels(read_table(tmp_path / "c"), shape=(3, 4, 3)), colours)
    save_images(tmp_path / "c", X[:1], [2])
    mixed = pixels(read_table(tmp_path / "c"), shape=(3, 4, 3))
    np.testing.assert_array_equal(mixed[2], np.repeat(X[0, :, :, None], 3, axis=2))
    clear = RNG.integers(0, 256, (1, 3, 4, 4), dtype=np.uint8)
    save_images(tmp_path / "c", clear, [3], "RGBA")
    found = pixels(read_table(tmp_path / "c"), shape=(3, 4, 4))
    np.testing.assert_array_equal(found[3], clear[0])
    assert (found[:3, ..., 3] == 255).all()
    (tmp_path / "deep").mkdir()
    image.fromarray(np.array([[0, 40_000]], np.uint16)).save(tmp_path / "deep" / "a.png")
    assert read_table(tmp_path / "deep").rows() == [(0, 40_000)]
    image.fromarray(X[0, :1, :2]).save(tmp_path / "deep" / "b.png")
    with pytest.raises(DataError, match=r"more than 8 bits of grey, some not\. Give images of one kind"):
        read_table(tmp_path / "deep")


def test_images_that_cannot_be_used(tmp_path, monkeypatch):
    save_images(tmp_path, X, Y)
    save_images(tmp_path, [X[0, :2]], ["9"])
    with pytest.raises(
        DataError, match=r"9/00\.png is 4 × 2 \(width × height\), 0/00\.png 4 × 3\. Give images of one size"
    ):
        read_table(tmp_path)
    (tmp_path / "9" / "00.png").write_bytes((tmp_path / "0" / "00.png").read_bytes()[:45])
    with pytest.raises(DataError, match=r"9/00\.png: the image cannot be read: .* Remove it, or get it again"):
        read_table(tmp_path)
    monkeypatch.setitem(__import__("sys").modules, "PIL", None)
    with pytest.raises(DataError, match=r"to read images takes Pillow\. Install it: pip install pillow"):
        read_table(tmp_path)


# ---- columns of lists and images ----------------------------------------------------------------


def encoded(array: np.ndarray) -> bytes:
    image, buffer = pytest.importorskip("PIL.Image"), io.BytesIO()
    image.fromarray(array).save(buffer, "png")
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["lists", "nested", "arrays", "structures", "bytes"])
def test_columns_with_many_numbers_are_spread(tmp_path, kind):
    """From a Parquet file and from a frame, the numbers stand in columns named by their places."""
    columns = {
        "lists": pl.Series(X.reshape(12, -1).tolist()),
        "nested": pl.Series(X.tolist()),
        "arrays": pl.Series(X.astype(np.float32)),
        "structures": pl.Series([{"bytes": encoded(x), "path": "a.png"} for x in X]) if kind == "structures" else None,
        "bytes": pl.Series([encoded(x) for x in X]) if kind == "bytes" else None,
    }
    frame = pl.DataFrame({"image": columns[kind], "label": Y})
    frame.write_parquet(tmp_path / "d.parquet")
    for found in (read_table(tmp_path / "d.parquet"), as_frame(frame)):
        assert found["label"].to_list() == Y.tolist()
        shape = (12,) if kind == "lists" else (3, 4)
        np.testing.assert_array_equal(pixels(found, "image", shape).reshape(12, 3, 4), X)


@pytest.mark.parametrize(
    "values", [[[1, 2], [3]], [[1, 2], None], [[1, None], [3, 4]], [["a"], ["b"]], [[], []], [b"a", b"b"]]
)
def test_other_lists_stay(values):
    frame = pl.DataFrame({"x": values, "y": [1, 2]})
    assert as_frame(frame).columns == ["x", "y"]


# ---- what is refused, and the whole way ---------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("data_batch_1", pickle.dumps({b"data": X}), "it is a pickle, and to read one may run what is in it"),
        ("d.pkl", b"", "it is a pickle"),
        ("x.npy", b"", "one array has no target beside it. Save both in one: np.savez("),
        ("d.xz", b"", "its name tells no text that was compressed. Name it such as data.csv.gz, or unpack it first."),
        ("d.zip", b"", "it is an archive. Unpack it first"),
        ("d.json", b"", "one JSON document is not read, lines of JSON are: polars.read_json(…)"),
        (
            "d.h5",
            b"",
            "the extension '.h5' is unknown; tables are read from .csv, .tsv, .txt, .jsonl, .ndjson, .parquet, .pq, "
            ".arrow, .feather, .ipc, .xlsx, .xlsm, .xlsb, .xls, .ods, texts also compressed as .gz, .bz2, .xz, .zst; "
            "arrays from",
        ),
    ],
)
def test_files_that_are_not_read(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_table(tmp_path / name)
    assert str(caught.value).startswith(f"{name}: {message}")


def test_several_targets_are_told_what_to_do():
    frame = pl.DataFrame({"a": [1.0, 2], "b": [1.0, 2], "c": [3.0, 4]})
    with pytest.raises(DataError, match=r"no column 'a, b' to predict\. .* Several take a network each"):
        ut.data.encode_table(frame, "a, b")
    with pytest.raises(ArgumentError, match=r"target is \['a', 'b'\]\. Give the name of the column"):
        ut.data.encode_table(frame, ["a", "b"])


def test_find_examples_names_every_file(tmp_path):
    save_images(tmp_path, X, Y)
    assert len(find_examples(tmp_path)) == 12


# ---- what would be lost, or fail elsewhere ------------------------------------------------------


def test_columns_of_one_name_are_refused(tmp_path):
    """An array's numbers are columns x_0, x_1: another column of that name would be lost without a word."""
    np.savez(tmp_path / "a.npz", x=np.zeros((3, 2)), x_0=np.arange(3))
    np.savez(tmp_path / "b.npz", x=np.zeros((3, 2, 2)), x_0=np.zeros((3, 2)))
    pl.DataFrame({"x": [[1, 2], [3, 4]], "x_0": [1, 2]}).write_parquet(tmp_path / "c.parquet")
    for name, column in (("a.npz", "x_0"), ("b.npz", "x_0_0"), ("c.parquet", "x_0")):
        with pytest.raises(DataError, match=f"{name}: .* would both be '{column}'"):
            read_table(tmp_path / name)
    np.savez(tmp_path / "d.npz", x_train=np.zeros(3), train_x=np.ones(3), x_test=np.ones(2))
    with pytest.raises(DataError, match=r"d\.npz: 'x_train' and 'train_x' are the same part of the same array"):
        read_table(tmp_path / "d.npz")
    np.savez(tmp_path / "a.npz", x=np.zeros((3, 2)), x_0=np.ones((3, 2)))
    assert read_table(tmp_path / "a.npz").columns == ["x_0", "x_1", "x_0_0", "x_0_1"]


def test_long_doubles_decimals_and_texts_as_bytes_are_numbers_and_texts(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.arange(3, dtype=np.longdouble) / 4, y=np.array(["é".encode(), b"b", b""]))
    frame = read_table(tmp_path / "a.npz")
    assert frame["x"].dtype == pl.Float64 and frame["x"].to_list() == [0.0, 0.25, 0.5]
    assert frame["y"].to_list()[:2] == ["é", "b"]
    np.savez(tmp_path / "b.npz", x=np.array([b"\xe9", b"b"]))
    with pytest.raises(DataError, match="'x' holds bytes that are no UTF-8"):
        read_table(tmp_path / "b.npz")
    decimals = pl.DataFrame({"x": [[1.5, 2.0], [3.0, 4.25]]}).with_columns(pl.col("x").cast(pl.List(pl.Decimal(9, 2))))
    decimals.write_parquet(tmp_path / "c.parquet")
    assert read_table(tmp_path / "c.parquet").rows() == [(1.5, 2.0), (3.0, 4.25)]


def test_an_idx_file_of_too_many_axes_is_none(tmp_path):
    file = tmp_path / "train-images-idx3-ubyte"
    for content in (b"\0\0\x08\x41" + b"\0\0\0\1" * 65 + b"\5", b""):
        file.write_bytes(content)
        with pytest.raises(DataError, match=r"^train-images-idx3-ubyte: this is no IDX file"):
            read_table(file)


def test_large_images_are_refused_before_any_is_decoded(tmp_path, monkeypatch):
    image = pytest.importorskip("PIL.Image")
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        image.new("RGB", (400, 300)).save(tmp_path / name / "0.png")
    monkeypatch.setattr(image.Image, "convert", lambda *_: pytest.fail("it was decoded"))
    monkeypatch.setattr("undertow.data.memory.find_memory", lambda: 2e9)
    with pytest.raises(
        DataError, match=r"^a/0\.png, \(300, 400, 3\): a table of 360000 columns takes 3.6 GB of .* 2 GB\."
    ):
        read_table(tmp_path)
    np.savez(tmp_path / "d.npz", x=np.zeros((2, 500, 500), np.uint8), y=[0, 1])
    with pytest.raises(
        DataError, match=r"^d.npz: 'x', \(500, 500\): a table of 250000 columns takes 2.5 GB .* smaller"
    ):
        read_table(tmp_path / "d.npz")
    broken = pl.DataFrame({"x": [b"\x89PNGxx", b"\x89PNGyy"]})
    with pytest.raises(DataError, match="the table, 'x', row 1: the image"):
        as_frame(broken)


def test_examples_may_have_as_many_numbers_as_memory_holds(tmp_path):
    x = np.arange(2 * 150 * 150).reshape(2, 150, 150)
    np.savez(tmp_path / "d.npz", x=x, y=[0, 1])
    found = read_table(tmp_path / "d.npz")
    assert found.shape == (2, 22_501) and np.array_equal(found.drop("y").to_numpy(), x.reshape(2, -1))


# ---- larger than memory -------------------------------------------------------------------------


def test_arrays_larger_than_memory_are_named_before_they_are_read(tmp_path, monkeypatch):
    """File, array, size and remedy; of several arrays the sum counts; what fits is read."""
    file = tmp_path / "big.npz"
    np.savez_compressed(file, x=np.zeros((20_000, 100)), y=np.zeros(20_000, np.int8))
    assert file.stat().st_size < 40_000
    monkeypatch.setattr("undertow.data.memory.find_memory", lambda: 40e6)
    with pytest.raises(DataError, match=r"^big.npz: 'x', \(20000, 100\) float64, takes 48 MB of memory.* 40 MB. Give"):
        read_table(file)
    monkeypatch.setattr("undertow.data.memory.find_memory", lambda: 48.1e6)
    with pytest.raises(DataError, match=r"^big.npz: 'y', \(20000,\) int8, takes 48.2 MB"):
        read_table(file)
    monkeypatch.setattr("undertow.data.memory.find_memory", lambda: 49e6)
    assert read_table(file).shape == (20_000, 101)


def test_an_idx_file_and_images_larger_than_memory_are_named(tmp_path, monkeypatch):
    """Before anything is unpacked or decoded."""
    pillow = pytest.importorskip("PIL.Image")
    images = tmp_path / "train-images-idx3-ubyte.gz"
    images.write_bytes(gzip.compress(b"\0\0\x08\x03" + struct.pack(">3I", 3000, 28, 28) + bytes(3000 * 784)))
    (tmp_path / "a").mkdir()
    for k in range(10):
        pillow.new("RGB", (64, 64)).save(tmp_path / f"a/{k}.png")
    monkeypatch.setattr("undertow.data.memory.find_memory", lambda: 1e6)
    with pytest.raises(DataError, match=r"^train-images-idx3-ubyte.gz, \(3000, 28, 28\) uint8, takes 23.5 MB"):
        read_table(images)
    with pytest.raises(DataError, match=r"10 images such as 0.png, \(10, 64, 64, 3\) uint8, takes? 1.23 MB of memory"):
        read_table(tmp_path / "a")


def test_a_head_that_claims_more_than_there_is_is_damage(tmp_path):
    """Not a lack of memory."""
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "<f8", "fortran_order": False, "shape": (10**10, 2)})
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", head.getvalue() + bytes(160))
    with pytest.raises(DataError, match=r"^a.npz: 'x' is damaged: its head tells of \(10000000000, 2\) float64, and"):
        read_table(tmp_path / "a.npz")


def test_a_lack_of_memory_while_reading_is_told(tmp_path, monkeypatch):
    """A process may get less than the system has."""

    def fail(*_):
        raise MemoryError

    np.savez(tmp_path / "a.npz", x=np.zeros((10, 2)), y=np.arange(10))
    monkeypatch.setattr("undertow.data.examples.spread", fail)
    with pytest.raises(DataError, match=r"^a.npz: there is not enough memory to read it, .* Give fewer rows"):
        read_table(tmp_path / "a.npz")


def test_the_limit_of_a_process_counts():
    """RLIMIT_AS, as ulimit -v sets it."""
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_AS)
    before = find_memory()
    try:
        resource.setrlimit(resource.RLIMIT_AS, (int(5e12), limits[1]))
        assert find_memory() == before < 5e12
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)
    code = "import resource as r; r.setrlimit(r.RLIMIT_AS, (3 * 10**9,) * 2)\n"
    code += "from undertow.data.memory import find_memory; print(find_memory())"
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src")}
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
    assert found.stdout == "3000000000.0\n", found.stderr
