"""Training on a file larger than memory: a run that was killed goes on from its checkpoint to the same bytes."""

import json

import numpy as np
import polars as pl
import pytest

from undertow.train.table import resume_table, train_table
from undertow.train.table_settings import TableSettings


def write_large(path, kind):
    """A file that is more than the megabyte which reading may take; its target is of one kind."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(8000, 3)).round(4)
    target = {
        "fractions": x[:, 0].round(2),
        "whole": rng.integers(0, 400, 8000),
        "counts": rng.poisson(1.5, 8000),
        "texts": np.where(x[:, 0] > 0, "up", "down"),
        "booleans": x[:, 1] > 0,
        "money": [f"${value:,.2f}" for value in np.exp(3 + x[:, 0] * 3)],
    }[kind]
    pl.DataFrame({"a": x[:, 0], "b": x[:, 1], "c": x[:, 2], "y": target}).write_csv(path)
    return path


@pytest.mark.parametrize("kind", ["fractions", "whole", "counts", "texts", "booleans", "money"])
def test_a_large_file_is_resumed_to_the_same_bytes(tmp_path, kind):
    """Its config names the task that the target had set, which is no other reason and no other encoder."""
    told = TableSettings(
        data=str(write_large(tmp_path / "t.csv", kind)), target="y", memory=1.0, hidden=[4], epochs=3, flow=False,
        checkpoint_every=40,
    )  # fmt: skip
    whole, table = train_table(told, tmp_path / "run", progress=False, say=lambda said: None)
    assert any("Larger than" in sentence for sentence in table.report)
    model, record = (tmp_path / "run/model.safetensors"), (tmp_path / "run/run.json")
    before, extras = model.read_bytes(), json.loads(record.read_text())["extras"]
    for lost in (model, record, max((tmp_path / "run/checkpoints").glob("*.safetensors"))):
        lost.unlink()
    resumed, _ = resume_table(tmp_path / "run", progress=False, say=lambda said: None)
    assert model.read_bytes() == before and json.loads(record.read_text())["extras"] == extras
    assert [row["loss"] for row in resumed.history] == [row["loss"] for row in whole.history]
