"""A category that training did not have is predicted like the mean of those that it had."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from undertow import data, nn, optim, train
from undertow.errors import DataWarning


@pytest.mark.parametrize("missing", ["new", None])
def test_an_embedding_that_was_never_trained_counts_as_the_mean(missing):
    """The reference are the effects by which the target was made; a category drawn at random is 2 off on average."""
    off = []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        effects = 2 * rng.normal(size=12)
        codes, x = rng.integers(0, 12, 600), rng.normal(size=600)
        y = x + effects[codes] + 0.3 * rng.normal(size=600)
        table = data.encode_table(
            pl.DataFrame({"x": x, "c": [f"k{k}" for k in codes], "y": y}), "y", categories="codes"
        )
        (code,) = table.encoder.codes
        embedded = nn.EmbedColumns(2, {code.index: (code.cardinality, 4)})
        model = nn.Sequential(embedded, nn.Dense(5, 32), "silu", nn.Dense(32, 1))
        rule = optim.adamw(optim.cosine(0.01, steps=40 * 17), decay=0.05)
        run = train(
            model, table, loss="mean_squared_error", optimizer=rule, epochs=40, batch_size=32, seed=seed, flow=False,
            progress=False,
        )  # fmt: skip
        assert run.history[-1]["validation_loss"] < 0.1
        new = pl.DataFrame({"x": [0.0], "c": pl.Series([missing], dtype=pl.String)})
        with pytest.warns(DataWarning):
            off.append(float(run.predict(new)[0]) - effects[codes].mean())
    assert np.sqrt(np.mean(np.square(off))) < 0.7
