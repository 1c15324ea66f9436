"""The history of a run as it goes: rows come back, a torn one is dropped, damage loses nothing unasked."""

import os

import pytest

from undertow.errors import RunError
from undertow.train import HistoryFile


def test_a_history_goes_on_where_it_was(tmp_path):
    """Rows come back exactly, across processes; a rewound one forgets what came after."""
    rows = [{"epoch": i, "loss": 0.1 * i, "bad": float("inf")} for i in range(5)]
    path = tmp_path / "run" / "history.jsonl"
    for row in rows:
        with HistoryFile(path) as history:
            history.append(row)
    history = HistoryFile(path)
    assert history.rows() == rows
    assert history.rewind(3) == rows[:3]
    history.append({"epoch": 3})
    assert history.rows() == [*rows[:3], {"epoch": 3}]
    with pytest.raises(RunError, match="holds 4 whole rows, 5 are wanted"):
        history.rewind(5)
    assert history.rewind(0) == [] == HistoryFile(tmp_path / "none").rewind(0)
    history.close()


def test_a_torn_last_row_is_dropped(tmp_path):
    """Cut after each byte: all rows before are read, and the next row follows them."""
    path, other = tmp_path / "history.jsonl", tmp_path / "cut.jsonl"
    with HistoryFile(path) as history:
        history.append({"epoch": 1, "loss": 0.5})
        history.append({"epoch": 2, "text": "ü\n"})
    content = path.read_bytes()
    for size in range(len(content)):
        other.write_bytes(content[:size])
        with HistoryFile(other) as history:
            whole = content[:size].count(b"\n")
            assert history.rows() == HistoryFile(path).rows()[:whole]
            history.append({"next": True})
            assert history.rows() == [*HistoryFile(path).rows()[:whole], {"next": True}]


@pytest.mark.parametrize("line", [b"{", b"[1]", b"3", b"\xff", b"", b"[" * 99_999, b"\0\0"])
def test_damage_in_the_middle_of_a_history_loses_nothing_unasked(tmp_path, line):
    """Rows after it are not written over, until someone rewinds to before it."""
    path = tmp_path / "history.jsonl"
    content = b'{"epoch": 1}\n' + line + b'\n{"epoch": 3}\n'
    path.write_bytes(content)
    with HistoryFile(path) as history:
        assert history.rows() == [{"epoch": 1}]
        with pytest.raises(RunError, match="is damaged in row 2"):
            history.append({"epoch": 4})
        with pytest.raises(RunError, match="holds 1 whole rows"):
            history.rewind(2)
        assert path.read_bytes() == content
        history.rewind(1)
        history.append({"epoch": 2})
        assert history.rows() == [{"epoch": 1}, {"epoch": 2}]


@pytest.mark.parametrize("row", [{"x": object()}, {1: 2}, [1], {"float": "nan"}, 3])
def test_a_row_that_is_no_plain_data_is_refused(tmp_path, row):
    """Nothing is written then."""
    with (
        HistoryFile(tmp_path / "history.jsonl") as history,
        pytest.raises(RunError, match="this row cannot be written"),
    ):
        history.append(row)
    assert not os.listdir(tmp_path)
