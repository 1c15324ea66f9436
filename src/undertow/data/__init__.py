"""Data: arrays, tables from CSV and Parquet, the tabular encoder, batches, and shipped data sets."""

from undertow.data.arrays import as_arrays
from undertow.data.batches import Batches, split
from undertow.data.datasets import Dataset, datasets, load_dataset, load_digits
from undertow.data.encoder import TabularEncoder
from undertow.data.frames import read_table, read_table_with_origin
from undertow.data.tables import EncodedTable, encode_table
from undertow.data.target import ClassTarget, NumberTarget, drop_missing_target, find_task
from undertow.data.wording import Origin

__all__ = [
    "Batches",
    "ClassTarget",
    "Dataset",
    "EncodedTable",
    "NumberTarget",
    "Origin",
    "TabularEncoder",
    "as_arrays",
    "datasets",
    "drop_missing_target",
    "encode_table",
    "find_task",
    "load_dataset",
    "load_digits",
    "read_table",
    "read_table_with_origin",
    "split",
]
