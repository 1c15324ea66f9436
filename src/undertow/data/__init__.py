"""Data: arrays, tables from CSV and Parquet, sources larger than memory, the tabular encoder, splits, data sets."""

from typing import TYPE_CHECKING

from undertow.lazy import attach

if TYPE_CHECKING:
    from undertow.data.arrays import as_arrays
    from undertow.data.as_frame import as_frame
    from undertow.data.batches import Batches, split
    from undertow.data.columns import CodeFeature
    from undertow.data.datasets import Dataset, datasets, load_dataset, load_digits
    from undertow.data.encoder import TabularEncoder
    from undertow.data.folds import k_folds, split_groups, split_time
    from undertow.data.frames import read_table, read_table_with_origin
    from undertow.data.number_target import NumberTarget
    from undertow.data.open_source import open_source
    from undertow.data.pieces import PieceSource, open_arrays
    from undertow.data.source import ArraySource, Source
    from undertow.data.streamed import StreamedTable, stream_table
    from undertow.data.streams import IterableSource
    from undertow.data.tables import EncodedTable, encode_table
    from undertow.data.target import ClassTarget, drop_missing_target, find_task
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

attach(
    __name__,
    {
        "undertow.data.arrays": "as_arrays",
        "undertow.data.as_frame": "as_frame",
        "undertow.data.batches": "Batches split",
        "undertow.data.columns": "CodeFeature",
        "undertow.data.datasets": "Dataset datasets load_dataset load_digits",
        "undertow.data.encoder": "TabularEncoder",
        "undertow.data.folds": "k_folds split_groups split_time",
        "undertow.data.frames": "read_table read_table_with_origin",
        "undertow.data.open_source": "open_source",
        "undertow.data.pieces": "PieceSource open_arrays",
        "undertow.data.source": "ArraySource Source",
        "undertow.data.streamed": "StreamedTable stream_table",
        "undertow.data.streams": "IterableSource",
        "undertow.data.tables": "EncodedTable encode_table",
        "undertow.data.number_target": "NumberTarget",
        "undertow.data.target": "ClassTarget drop_missing_target find_task",
        "undertow.data.wording": "Origin",
    },
    remedies="DATA",
)
