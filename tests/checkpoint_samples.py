"""Small checkpoints, and files that are changed or made up, which the tests of checkpoints share."""

import json

import numpy as np

from undertow.train import Snapshot
from undertow.train.snapshot import read_snapshot, seal
from undertow.train.tensors import checksum

SMALL = Snapshot({"model/W": np.float32([[1, 2], [3, 4]]), "step": np.int64(7)}, {"epoch": 3, "rate": 0.1})


def small(number=3):
    return Snapshot(SMALL.arrays, {**SMALL.record, "epoch": number})


def content_of(snapshot):
    return b"".join(bytes(part) for part in seal(snapshot))


def crafted(header, data=b"", version="1", record="{}"):
    """A file with a right checksum around any header: what someone could make on purpose."""
    start = f'{{"__metadata__":{{"format":"undertow-checkpoint","version":"{version}","blake2b":"'
    rest = f'","record":{json.dumps(record)}}}{header}}}'
    size = (len(start) + 64 + len(rest)).to_bytes(8, "little")
    total = checksum(size, start.encode(), b"0" * 64, rest.encode(), data)
    return size + start.encode() + total.encode() + rest.encode() + data


def read_bytes(folder, content):
    file = folder / "x.safetensors"
    file.unlink(missing_ok=True)  # a new file is written faster than one that is there
    file.write_bytes(content)
    return read_snapshot(file)


def mutations(content, choose):
    """A changed copy: bits, bytes, pieces moved, cut out, doubled."""
    changed = bytearray(content)
    for _ in range(choose.randint(1, 4)):
        a, b = sorted(choose.randrange(len(changed) + 1) for _ in range(2))
        kind = choose.randrange(5)
        if kind == 0 and changed:
            changed[min(a, len(changed) - 1)] = choose.randrange(256)
        elif kind == 1:
            del changed[a : min(b, a + 16)]
        elif kind == 2:
            changed[a:a] = changed[a : min(b, a + 16)]
        elif kind == 3:
            changed[a:a] = choose.choice([b"0", b"9" * 20, b"-", b"[", b'"', b"{}", b"null", b"\xff", b"1e999", b","])
        else:
            changed[a : min(b, a + 8)] = choose.randbytes(min(b - a, 8))
    return bytes(changed)


def sealed(rest, data):
    """A file with the right beginning and checksum around a changed rest of the header."""
    start = b'{"__metadata__":{"format":"undertow-checkpoint","version":"1","blake2b":"'
    size = (len(start) + 65 + len(rest)).to_bytes(8, "little")
    total = checksum(size, start, b"0" * 64, b'"', rest, data)
    return size + start + total.encode() + b'"' + rest + data


class Stop(Exception):
    """What `StopAt` raises."""


class StopAt:
    """Ends a training from inside, at a step, as a crash would."""

    def __init__(self, step):
        self.step, self.count = step, 0

    def on_step_end(self, epoch, step, loss, model):
        self.count += 1
        if self.count == self.step:
            raise Stop
