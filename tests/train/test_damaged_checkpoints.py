"""A damaged or hostile file is one clear error; what is no file is not waited for."""

import json
import os
import random
import stat

import numpy as np
import pytest

from checkpoint_samples import SMALL, content_of, crafted, mutations, read_bytes, sealed, small
from undertow import nn
from undertow.errors import RunError
from undertow.train import CheckpointStore, HistoryFile, Run, Snapshot, load
from undertow.train.snapshot import read_snapshot
from undertow.train.tensors import pack, unpack

ROUNDS = int(os.environ.get("UNDERTOW_TEST_ROUNDS", "1"))  # of changed files


def test_every_flipped_bit_is_found(tmp_path):
    """Each byte of a small file, with one bit and with all bits changed."""
    content = content_of(SMALL)
    for place in range(len(content)):
        for mask in (1 << place % 8, 255):
            changed = bytearray(content)
            changed[place] ^= mask
            with pytest.raises(RunError, match="is damaged"):
                read_bytes(tmp_path, bytes(changed))


def test_every_shorter_and_longer_file_is_found(tmp_path):
    """Cut after each byte, and with bytes behind its end."""
    content = content_of(SMALL)
    for size in range(len(content)):
        with pytest.raises(RunError, match="is damaged"):
            read_bytes(tmp_path, content[:size])
    for more in (b"\0", b"\0" * 4096, content):
        with pytest.raises(RunError, match="is damaged"):
            read_bytes(tmp_path, content + more)


def test_a_damaged_checkpoint_is_skipped_with_a_remark_and_replaced(tmp_path):
    """Training goes on from the one before, and what is damaged counts for nothing."""
    with CheckpointStore(tmp_path, keep=2) as store:
        for number in (1, 2, 3):
            file = store.write(small(number), number)
    os.truncate(file, 300)
    with CheckpointStore(tmp_path, keep=2) as store:
        assert store.latest().record["epoch"] == 2 == store.latest().record["epoch"]
        (remark,) = store.remarks
        assert "checkpoint-00000003.safetensors is damaged" in remark and remark.endswith("It was skipped.")
        store.write(small(4), 4)
        assert store.numbers() == [2, 4]
    for file in tmp_path.glob("checkpoint-*"):
        file.write_bytes(b"")
    with CheckpointStore(tmp_path) as store:
        assert store.latest() is None and len(store.remarks) == 2
        with pytest.raises(RunError, match="All that is there is damaged"):
            store.write(small(1), 1)


def test_a_checkpoint_of_another_version_is_neither_read_nor_replaced(tmp_path):
    """What a newer Undertow wrote is whole: passing it over would lose what it holds."""
    with CheckpointStore(tmp_path) as store:
        store.write(small(1), 1)
        newer = tmp_path / "checkpoint-00000002.safetensors"
        newer.write_bytes(crafted("", version="2"))
        for read in (store.latest, lambda: read_snapshot(newer)):
            with pytest.raises(RunError, match="has version 2, this Undertow reads 1"):
                read()


HUGE = 10**18
HOSTILE = {
    "huge": f',"a":{{"dtype":"F32","shape":[{HUGE}],"data_offsets":[0,{4 * HUGE}]}}',
    "huge without bytes": f',"a":{{"dtype":"F32","shape":[{HUGE},0,{HUGE}],"data_offsets":[0,0]}}',
    "overflow": f',"a":{{"dtype":"F32","shape":[{2**62},{2**62}],"data_offsets":[0,0]}}',
    "shape not as long": ',"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}',
    "overlap": ',"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},'
    '"b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}',
    "hole": ',"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}',
    "backward": ',"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}',
    "negative": ',"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}',
    "negative place": ',"a":{"dtype":"F32","shape":[2],"data_offsets":[-8,0]}',
    "no whole numbers": ',"a":{"dtype":"F32","shape":[2.5],"data_offsets":[0,8]}',
    "beyond integers": f',"a":{{"dtype":"F32","shape":[{10**400}],"data_offsets":[0,8]}}',
    "unknown dtype": ',"a":{"dtype":"O","shape":[2],"data_offsets":[0,8]}',
    "dtype of no NumPy": ',"a":{"dtype":"BF16","shape":[4],"data_offsets":[0,8]}',
    "truth of 3": ',"a":{"dtype":"BOOL","shape":[8],"data_offsets":[0,8]}',
    "too many axes": ',"a":{"dtype":"F32","shape":[' + "1," * 99 + '2],"data_offsets":[0,8]}',
    "twice": ',"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}' * 2,
    "metadata twice": ',"__metadata__":{"record":"[]"},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}',
    "metadata no text": ',"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"__metadata__":{"record":[]}',
    "deep": ',"a":' + "[" * 100_000,
    "deep objects": ',"a":' + '{"a":' * 100_000,
    "no JSON": ',"a":',
    "lone surrogate": ',"\\ud800":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}',
}  # fmt: skip


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_header_is_one_clear_error(tmp_path, what):
    """The checksum is right, so that it is the reading of the header that must withstand."""
    with pytest.raises(RunError, match="is damaged"):
        read_bytes(tmp_path, crafted(HOSTILE[what], b"\x03" * 8))


@pytest.mark.parametrize(
    "record", ["", "[" * 100_000, '{"a":' * 100_000, "[1]", "nul", "1" * 5000, '{"a": 1', "\ud83d"]
)
def test_a_hostile_record_is_one_clear_error(tmp_path, record):
    """Deep nesting, numbers of thousands of digits, what is no object."""
    with pytest.raises(RunError, match="is damaged"):
        read_bytes(tmp_path, crafted("", record=record))


@pytest.mark.parametrize("size", [0, 1, 10**8, 10**8 + 1, 2**63 - 1, 2**63, 2**64 - 1])
def test_a_header_of_any_claimed_size_is_one_clear_error(tmp_path, size):
    """A size that the file does not have is not made room for, not even in a file that is 10¹² bytes of nothing."""
    content = size.to_bytes(8, "little") + content_of(SMALL)[8:]
    with pytest.raises(RunError, match="is damaged"):
        read_bytes(tmp_path, content)
    os.truncate(tmp_path / "x.safetensors", 10**12)
    with pytest.raises(RunError):
        read_snapshot(tmp_path / "x.safetensors")


def test_names_are_only_names(tmp_path):
    """A path as the name of an array leads nowhere."""
    arrays = {"../../etc/passwd": np.ones(2), "/": np.ones(1), "": np.ones(1), "a\0b\n": np.ones(1)}
    assert read_bytes(tmp_path, content_of(Snapshot(arrays))).arrays.keys() == arrays.keys()
    assert os.listdir(tmp_path) == ["x.safetensors"]


def test_thousands_of_changed_files_are_read_or_refused(tmp_path):
    """Nothing but RunError, whether the checksum finds the change or, where that was made right, the reader."""
    choose = random.Random(0)
    arrays = {"W": np.float32([1, 2]), "t": np.array([True]), "e": np.ones((0, 2))}
    content = content_of(Snapshot(arrays, {"epoch": 3}))
    size = int.from_bytes(content[:8], "little")
    header, data = content[8 : 8 + size], content[8 + size :]
    rest = header[header.index(b'"record"') - 1 :]
    plain = pack(arrays, {"record": "{}"})
    model = plain[0] + b"".join(map(bytes, plain[1]))
    assert read_bytes(tmp_path, sealed(rest, data)).record == {"epoch": 3}
    outcomes = {"read": 0, "refused": 0}
    for i in range(3000 * ROUNDS):
        if i % 3 == 0:
            attempt = lambda: read_bytes(tmp_path, mutations(content, choose))
        elif i % 3 == 1:
            attempt = lambda: read_bytes(tmp_path, sealed(mutations(rest, choose), data))
        else:
            attempt = lambda: unpack(mutations(model, choose))
        try:
            attempt()
            outcomes["read"] += 1
        except RunError:
            outcomes["refused"] += 1
    assert outcomes["refused"] > 2000 and outcomes["read"] > 10


# Places that are no files


def put_pipe(place):
    os.mkfifo(place)


def put_device(place):
    os.mknod(place, 0o600 | stat.S_IFCHR, os.makedev(1, 5))  # /dev/zero, which never ends


PLACES = {
    "a folder": lambda place: place.mkdir(),
    "a pipe": put_pipe,
    "a device": put_device,
    "a link to a device": lambda place: place.symlink_to("/dev/zero"),
    "a link to nothing": lambda place: place.symlink_to("nothing"),
    "a link to itself": lambda place: place.symlink_to(place),
}


def put(what, place):
    try:
        PLACES[what](place)
    except (OSError, AttributeError) as error:
        pytest.skip(f"{what} cannot be made here: {error}")


@pytest.mark.parametrize("what", PLACES)
def test_what_is_no_file_is_not_waited_for(tmp_path, what):
    """In place of a checkpoint it is skipped; of a history, a saved run or the lock, it is one clear error."""
    store = CheckpointStore(tmp_path / "store")
    store.write(small(1), 1)
    put(what, tmp_path / "store" / "checkpoint-00000002.safetensors")
    assert store.latest().record["epoch"] == 1 and len(store.remarks) == 1
    store.write(small(3), 3)
    assert store.latest().record["epoch"] == 3
    store.close()
    (tmp_path / "locked").mkdir()
    put(what, tmp_path / "locked" / "lock")
    with pytest.raises(RunError):
        CheckpointStore(tmp_path / "locked").write(small(1), 1)
    put(what, tmp_path / "history.jsonl")
    if what != "a link to nothing":  # that is followed, and the file made
        with pytest.raises(RunError):
            HistoryFile(tmp_path / "history.jsonl").append({})
    run = Run(nn.initialize(nn.Sequential(nn.Dense(2, 1))))
    for name in ("model.safetensors", "run.json"):
        file = run.save(tmp_path / f"run-{name}") / name
        file.unlink()
        put(what, file)
        with pytest.raises(RunError, match=name):
            load(file.parent)


def test_a_link_to_a_checkpoint_is_followed(tmp_path):
    """A folder of links to files elsewhere is read as if they lay there."""
    with CheckpointStore(tmp_path / "a") as store:
        file = store.write(SMALL, 1)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / file.name).symlink_to(file)
    assert CheckpointStore(tmp_path / "b").latest().record == SMALL.record


def test_a_folder_that_is_a_file_is_one_clear_error(tmp_path):
    """Writing and reading name it."""
    (tmp_path / "file").write_text("mine")
    for folder in (tmp_path / "file", tmp_path / "file" / "deeper"):
        with pytest.raises(RunError, match="file"):
            CheckpointStore(folder).write(SMALL, 1)
    with pytest.raises(RunError, match="file"):
        CheckpointStore(tmp_path / "file").latest()
    assert (tmp_path / "file").read_text() == "mine"


# Saved runs


def test_a_changed_byte_of_a_saved_model_is_found(tmp_path):
    """Also where the numbers stay plausible; a run saved before there were checksums still loads."""
    run = Run(nn.initialize(nn.Sequential(nn.Dense(3, 2))))
    run.save(tmp_path / "run")
    file, record = tmp_path / "run" / "model.safetensors", tmp_path / "run" / "run.json"
    content = bytearray(file.read_bytes())
    content[-2] ^= 1
    file.write_bytes(content)
    with pytest.raises(RunError, match="its checksum is another"):
        load(tmp_path / "run")
    values = json.loads(record.read_text())
    for checksums in ([], "x"):
        record.write_text(json.dumps({**values, "checksums": checksums}))
        with pytest.raises(RunError, match="checksums is not an object"):
            load(tmp_path / "run")
    del values["checksums"]
    record.write_text(json.dumps(values))
    load(tmp_path / "run")


def test_thousands_of_changed_runs_are_read_or_refused(tmp_path):
    """Either file of a saved run changed: nothing but RunError."""
    choose, folder = random.Random(1), tmp_path / "run"
    Run(nn.initialize(nn.Sequential(nn.Dense(2, 1))), history=[{"epoch": 1, "loss": 0.5}]).save(folder)
    record = json.loads((folder / "run.json").read_text())
    del record["checksums"]  # so that the reader itself must withstand
    (folder / "run.json").write_text(json.dumps(record))
    whole = {name: (folder / name).read_bytes() for name in ("model.safetensors", "run.json")}
    refused = 0
    for i in range(1000 * ROUNDS):
        name = list(whole)[i % 2]
        (folder / name).unlink()  # a new file is written faster than one that is there
        (folder / name).write_bytes(mutations(whole[name], choose))
        try:
            load(folder)
        except RunError:
            refused += 1
        (folder / name).unlink()
        (folder / name).write_bytes(whole[name])
    assert refused > 500
    load(folder)
