"""A damaged or hostile encoder record is a RunError, never a crash and never a wrong encoder."""

from __future__ import annotations

import copy
import datetime
import json

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from undertow.data import TabularEncoder
from undertow.errors import RunError

FRAME = pl.DataFrame(
    {
        "age": [1.5, None, 3.0, 9.0],
        "city": ["Oslo", "Rome", None, "Oslo"],
        "member": [True, False, True, True],
        "since": [datetime.date(2020, 1, day) for day in (1, 2, 3, 4)],
        "same": [1, 1, 1, 1],
        "label": ["no", "yes", "no", "yes"],
    }
)
RECORD = json.loads(json.dumps(TabularEncoder.fit(FRAME, "label").to_json_dict()))
REGRESSION = json.loads(
    json.dumps(TabularEncoder.fit(FRAME.with_columns(label=pl.Series([0.5, 1.5, 2.5, 9.0])), "label").to_json_dict())
)


def places(value, path=()):
    """The path of every value inside a record."""
    yield path
    if isinstance(value, dict):
        for key in value:
            yield from places(value[key], (*path, key))
    elif isinstance(value, list):
        for index in range(len(value)):
            yield from places(value[index], (*path, index))


def change(record, path, new):
    """A copy of the record with one value replaced, or removed where new is ...."""
    if not path:
        return new
    record = copy.deepcopy(record)
    parent = record
    for key in path[:-1]:
        parent = parent[key]
    if new is ...:
        del parent[path[-1]]
    else:
        parent[path[-1]] = new
    return record


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from([10**400, -(10**400), 2**63, "\ud800", "category", "date", "", 0, -1.0]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
PATHS = [(RECORD, path) for path in places(RECORD)] + [(REGRESSION, path) for path in places(REGRESSION)]


@settings(max_examples=1500, deadline=None)
@given(place=st.sampled_from(PATHS), new=JSON_VALUES | st.just(...))
def test_any_damage_is_a_run_error_or_a_working_encoder(place, new):
    """A record with one value replaced or removed gives a RunError, or an encoder that still works."""
    record, path = place
    if not path and new is ...:
        return
    damaged = change(record, path, new)
    try:
        encoder = TabularEncoder.from_json_dict(damaged)
    except RunError as error:
        assert "\n" not in str(error) and len(str(error)) < 400
        return
    assert encoder.n_features == len(encoder.feature_names) >= 1
    assert TabularEncoder.from_json_dict(json.loads(json.dumps(encoder.to_json_dict()))) == encoder
    names = [column.name for column in encoder.columns]
    empty = pl.DataFrame({name: pl.Series([None], dtype=pl.String) for name in names})
    with np.errstate(all="ignore"):
        try:
            X = encoder.transform(empty, report=[])
        except ValueError as error:
            assert "further from the training values" in str(error)
        else:
            assert X.shape == (1, encoder.n_features) and np.isfinite(X).all()
    assert len(encoder.decode(np.zeros((1, encoder.n_outputs)))) == 1


@settings(max_examples=300, deadline=None)
@given(record=JSON_VALUES)
def test_any_value_is_refused(record):
    """Values that are no record at all are a RunError."""
    with pytest.raises(RunError):
        TabularEncoder.from_json_dict(record)


@pytest.mark.parametrize(
    ("path", "new", "message"),
    [
        (("version",), 3, "version 3 is unknown, 2 is read. Train again"),
        (("version",), True, "the version is no whole number"),
        (("target",), ..., "lacks target"),
        (("hook",), "os.system", "unknown entries, first 'hook'"),
        (("columns",), {}, "columns: expected a list, found dict"),
        (("columns",), [], "no feature column is left"),
        (("columns", 0, "scale"), 0.0, "column 1, scale: expected a finite number above zero"),
        (("columns", 0, "mean"), float("nan"), "column 1, mean: expected a finite number"),
        (("columns", 0, "mean"), "0", "expected a number, found str"),
        (("columns", 0, "mean"), True, "expected a number, found bool"),
        (("columns", 0, "kind"), "pickle", "the kind of the column is unknown"),
        (("columns", 1, "categories"), ["a", "a"], "a text stands twice"),
        (("columns", 1, "categories"), ["\ud800"], "no valid Unicode"),
        (("columns", 1, "name"), "age", "a column stands twice"),
        (("columns", 1, "name"), "label", "a column stands twice"),
        (("columns", 2, "value"), 1, "expected true or false, found int"),
        (("target", "classes"), ["yes"], "two or more classes of one type"),
        (("target", "classes"), [0, True], "two or more classes of one type"),
        (("target", "classes"), ["yes", "no"], "not sorted"),
        (("target", "classes"), [0, 2**64], "does not fit 64 bits"),
        (("target", "task"), "rank", "the task is unknown"),
        (("dropped",), ["same"], "dropped: expected an object"),
        (("report",), [1], "report: expected text, found int"),
    ],
)
def test_each_fault_is_named(path, new, message):
    """The error says which part of the record is wrong and what to do."""
    with pytest.raises(RunError, match=message) as caught:
        TabularEncoder.from_json_dict(change(RECORD, path, new))
    assert str(caught.value).startswith("table encoder")
    assert "rain again" in str(caught.value)


def test_a_deep_record_is_refused():
    """A record nested a thousand deep is refused like any other."""
    deep: object = []
    for _ in range(900):
        deep = [deep]
    for path in (("target",), ("columns",), ("columns", 0), ("report",), ("dropped", "same")):
        with pytest.raises(RunError):
            TabularEncoder.from_json_dict(change(RECORD, path, deep))
