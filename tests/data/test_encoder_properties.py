"""The tabular encoder on any table: through JSON and back, and row by row."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from undertow.data import TabularEncoder
from undertow.errors import DataError

LABELS = st.sampled_from([["yes", "no"], [0, 7, -3], [True, False], ["", "ü", "1"], [0.25, 0.5]])
CELLS = st.sampled_from(
    [
        st.none() | st.integers(-(2**40), 2**40),
        st.none() | st.floats(-1e6, 1e6),
        st.none() | st.booleans(),
        st.none() | st.sampled_from(["a", "b", "", "c d", "ß", "x=y", "\0", "null"]),
        st.none() | st.dates(),
        st.none() | st.datetimes(),
    ]
)


@st.composite
def tables(draw):
    """A table of one to four columns of any kind, and a target."""
    m = draw(st.integers(2, 12))
    columns = {}
    for name in draw(st.lists(st.sampled_from(["a", "b", "is it?", "é"]), min_size=1, max_size=4, unique=True)):
        cell = draw(CELLS)
        columns[name] = draw(st.lists(cell, min_size=m, max_size=m))
    labels = draw(LABELS)
    columns["target"] = draw(st.lists(st.sampled_from(labels), min_size=m, max_size=m))
    return pl.DataFrame(columns)


@settings(max_examples=300, deadline=None)
@given(frame=tables(), task=st.sampled_from([None, "classification"]))
def test_json_round_trip(frame, task):
    """An encoder that went through JSON text is equal and encodes and decodes bit for bit alike."""
    try:
        encoder = TabularEncoder.fit(frame, "target", task=task)
    except DataError as error:
        assert any(why in str(error) for why in ("no column is left", "one class only", "one value only"))
        return
    twin = TabularEncoder.from_json_dict(json.loads(json.dumps(encoder.to_json_dict())))
    assert twin == encoder
    assert [type(label) for label in twin.classes] == [type(label) for label in encoder.classes]
    silent: list[str] = []
    X, y = encoder.transform(frame, report=silent), encoder.encode_target(frame)
    assert np.isfinite(X).all() and silent == []
    assert X.shape == (frame.height, len(encoder.feature_names))
    assert np.array_equal(X, twin.transform(frame, report=silent))
    assert np.array_equal(y, twin.encode_target(frame))
    decoded = twin.decode(y).tolist()
    if encoder.task == "classification":
        assert decoded == frame["target"].to_list()
    else:
        np.testing.assert_allclose(decoded, frame["target"].to_list(), rtol=1e-5, atol=1e-6)


@settings(max_examples=100, deadline=None)
@given(frame=tables(), rows=st.integers(1, 11))
def test_rows_are_encoded_one_by_one(frame, rows):
    """The encoding of a row does not depend on the rows beside it."""
    try:
        encoder = TabularEncoder.fit(frame, "target")
    except DataError:
        return
    whole = encoder.transform(frame, report=[])
    assert np.array_equal(whole[:rows], encoder.transform(frame.head(rows), report=[]))
