"""One scale of columns that vary alike, or each its own: by neighbours, against plain loops."""

import numpy as np
import polars as pl
import pytest

from undertow.data import encode_table
from undertow.data.scales import compare_neighbours, prefers_own_scales
from undertow.train.table import train_table
from undertow.train.table_data import load_table
from undertow.train.table_settings import TableSettings, read_config

RNG = np.random.default_rng(4)


def wrong_by_loops(X, y):
    """Of each row, with its ten nearest found one by one."""
    found = []
    for i in range(len(X)):
        others = sorted((np.sum((X[i] - X[j]) ** 2), j) for j in range(len(X)) if j != i)[:10]
        total, mean = 1.0, y.mean(axis=0).copy()
        for rank, (_, j) in enumerate(others, start=1):
            total, mean = total + 1 / rank, mean + y[j] / rank
        p = mean / total
        found.append(-np.log(p @ y[i]) if y.shape[1] > 1 else ((p - y[i]) ** 2).item())
    return np.array(found)


@pytest.mark.parametrize("kind", ["classes", "number"])
def test_errors_of_neighbours_are_those_of_loops(kind):
    X = RNG.normal(size=(60, 3)).astype(np.float32)
    y = np.eye(3)[RNG.integers(0, 3, 60)] if kind == "classes" else RNG.normal(size=(60, 1))
    np.testing.assert_allclose(compare_neighbours(X, y), wrong_by_loops(X.astype(float), y), rtol=1e-9)


def write(path, *, small, classes=True, n=300):
    """Two columns of three times the deviation of two others; the target goes by the small ones, or by the large."""
    x = RNG.normal(size=(n, 4)) * [1, 1, 3, 3]
    a, b = (x[:, 0], x[:, 1]) if small else (x[:, 2] / 3, x[:, 3] / 3)
    y = np.where(a * b > 0, "yes", "no") if classes else a * b
    pl.DataFrame({**{f"x{k}": x[:, k] for k in range(4)}, "y": y}).write_csv(path)
    return TableSettings(data=str(path), target="y", flow=False)


@pytest.mark.parametrize("classes", [True, False])
@pytest.mark.parametrize("small", [True, False])
def test_columns_have_their_own_scales_where_the_small_ones_tell(tmp_path, small, classes):
    settings = write(tmp_path / "t.csv", small=small, classes=classes)
    table = load_table(settings)
    deviations = table.train[0].std(axis=0)
    said = " ".join(table.report)
    assert (table.settings.scaling == "standard") == small == ("Numbers keep each its own scale" in said)
    assert ("vary alike" in said) != small
    if small:
        np.testing.assert_allclose(deviations, 1, rtol=1e-5)
    else:
        np.testing.assert_allclose(deviations[2:] / deviations[:2], 3, rtol=0.25)
    told = load_table(TableSettings(**settings.given(), scaling="standard"))
    assert (np.array_equal(told.train[0], table.train[0])) == small


def test_it_is_told_as_is_where_columns_have_their_own_scales_already():
    frame = pl.DataFrame({"a": RNG.normal(size=50), "b": 1000 * RNG.normal(size=50), "y": ["u", "v"] * 25})
    assert not prefers_own_scales(encode_table(frame, "y", validation=0.2, scaling="auto"))
    gaps = frame.with_columns(a=pl.when(pl.int_range(50) % 3 > 0).then(pl.col("a")), y=pl.col("a") > 0)
    assert not prefers_own_scales(encode_table(gaps, "y", validation=0.2, scaling="auto"))
    few = pl.DataFrame({"a": RNG.normal(size=8), "b": 2 * RNG.normal(size=8), "y": ["u", "v"] * 4})
    assert not prefers_own_scales(encode_table(few, "y", validation=0.0, scaling="auto"))


@pytest.mark.parametrize("scaling", [None, "auto"])
def test_a_run_is_repeated_from_its_config(tmp_path, scaling):
    """What the first training decided is what the one on all rows goes by; the same bytes come of the file."""
    settings = write(tmp_path / "t.csv", small=True, n=120)
    train_table(TableSettings(**settings.given(), scaling=scaling, epochs=20), tmp_path / "run", progress=False, say=id)
    config = read_config(tmp_path / "run" / "config.toml")
    assert config.scaling == "standard"
    train_table(config, tmp_path / "again", progress=False, say=id)
    first, second = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("run", "again"))
    assert first == second
