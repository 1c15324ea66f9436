"""Training: the step, the loop, callbacks, the run that is kept, and its files."""

from undertow.train.callbacks import Callback, EarlyStopping, EpochInfo
from undertow.train.checkpoint import load
from undertow.train.gradients import gradient_table, measure_gradients, print_gradient_table
from undertow.train.history import HistoryFile
from undertow.train.loop import Diverged, train
from undertow.train.run import Run
from undertow.train.snapshot import Snapshot
from undertow.train.step import make_gradient, make_step
from undertow.train.store import CheckpointStore

__all__ = [
    "train",
    "Run",
    "load",
    "CheckpointStore",
    "Snapshot",
    "HistoryFile",
    "Diverged",
    "Callback",
    "EpochInfo",
    "EarlyStopping",
    "gradient_table",
    "measure_gradients",
    "print_gradient_table",
    "make_gradient",
    "make_step",
]
