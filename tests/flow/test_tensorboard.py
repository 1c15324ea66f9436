"""Event files hold the numbers of the record, as their own reader finds them."""

from pathlib import Path

import numpy as np
import pytest

import undertow as ut
from undertow import nn
from undertow.errors import ArgumentError, RunError
from undertow.flow.tensorboard import write_events

tensorboardX = pytest.importorskip("tensorboardX")
X = np.random.default_rng(0).standard_normal((64, 4)).astype(np.float32)


def read_events(folder):
    """All events of a folder, taken apart by the format: length, its checksum, the event, its checksum."""
    from tensorboardX.proto.event_pb2 import Event

    content = next(folder.iterdir()).read_bytes()
    place = 0
    while place < len(content):
        size = int.from_bytes(content[place : place + 8], "little")
        yield Event.FromString(content[place + 12 : place + 12 + size])
        place += 16 + size


def test_numbers_and_histograms_are_those_of_the_record(tmp_path):
    model = nn.Sequential(nn.Dense(4, 8), "relu", nn.Dense(8, 2))
    run = ut.train(model, (X, X[:, :2]), loss="mean_squared_error", epochs=3, batch_size=16, progress=False)
    write_events(run.flow, tmp_path / "events")
    numbers, histograms = {}, {}
    for event in read_events(tmp_path / "events"):
        for value in event.summary.value:
            if value.HasField("histo"):
                histograms[value.tag, event.step] = value.histo
            else:
                numbers[value.tag, event.step] = value.simple_value
    flow = run.flow
    for row, step in enumerate(flow.steps.tolist()):
        assert numbers["loss", step] == pytest.approx(flow.scalars["loss"][row], rel=1e-6)
        assert numbers["delta.rms/layer_1", step] == flow.stat("delta.rms")[row, 0]
    assert numbers["epoch/validation_loss", flow.history[-1]["step"]] == pytest.approx(
        flow.history[-1]["validation_loss"], rel=1e-6
    )
    last = histograms["W/layer_2", flow.looks[-1].step]
    assert list(last.bucket) == flow.looks[-1].layers[1]["histograms"]["W"]["counts"] and last.num == 16


def test_an_unknown_number_is_refused(tmp_path):
    flow = ut.train(nn.Dense(4, 2), (X, X[:, :2]), loss="mean_squared_error", epochs=1, progress=False).flow
    with pytest.raises(ArgumentError, match=r"no 'delta.rmsd'"):
        write_events(flow, tmp_path, stats=("delta.rmsd",))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a disk that is full is Linux's /dev/full")
def test_a_full_disk_is_an_error_and_not_a_wait(tmp_path, monkeypatch):
    """What writes runs in no thread of its own, which would end unseen."""
    from tensorboardX import record_writer

    flow = ut.train(nn.Dense(4, 2), (X, X[:, :2]), loss="mean_squared_error", epochs=1, progress=False).flow
    monkeypatch.setattr(record_writer, "open_file", lambda path: open("/dev/full", "wb"))  # noqa: SIM115
    with pytest.raises(RunError, match=r"events cannot be written: No space left on device"):
        write_events(flow, tmp_path / "events")
    monkeypatch.undo()
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"file is a file, not a folder"):
        write_events(flow, tmp_path / "file" / "events")
