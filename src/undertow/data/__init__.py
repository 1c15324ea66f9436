"""Data: arrays, tables from CSV and Parquet, sources larger than memory, the tabular encoder, splits, data sets."""

from undertow.data.arrays import as_arrays
from undertow.data.as_frame import as_frame
from undertow.data.batches import Batches, split
from undertow.data.columns import CodeFeature
from undertow.data.datasets import Dataset, datasets, load_dataset, load_digits
from undertow.data.encoder import TabularEncoder
from undertow.data.folds import k_folds, split_groups, split_time
from undertow.data.frames import read_table, read_table_with_origin
from undertow.data.open_source import open_source
from undertow.data.pieces import PieceSource, open_arrays
from undertow.data.source import ArraySource, Source
from undertow.data.streamed import StreamedTable, stream_table
from undertow.data.streams import IterableSource
from undertow.data.tables import EncodedTable, encode_table
from undertow.data.target import ClassTarget, NumberTarget, drop_missing_target, find_task
from undertow.data.wording import Origin

__all__ = [
    "ArraySource",
    "Batches",
    "ClassTarget",
    "CodeFeature",
    "Dataset",
    "EncodedTable",
    "IterableSource",
    "NumberTarget",
    "Origin",
    "PieceSource",
    "Source",
    "StreamedTable",
    "TabularEncoder",
    "as_arrays",
    "as_frame",
    "datasets",
    "drop_missing_target",
    "encode_table",
    "find_task",
    "k_folds",
    "load_dataset",
    "load_digits",
    "open_arrays",
    "open_source",
    "read_table",
    "read_table_with_origin",
    "split",
    "split_groups",
    "split_time",
    "stream_table",
]
