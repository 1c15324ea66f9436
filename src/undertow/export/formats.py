"""The format of an export by the name of its file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from undertow.errors import ArgumentError
from undertow.export.onnx_model import export_onnx
from undertow.export.source import export_source
from undertow.train import Run
from undertow.train.files import read_path

_FORMATS = {".onnx": export_onnx, ".py": export_source}


def export(run: Run, path: str | Path, **options: Any) -> Path:
    """Write a trained model for programs that know nothing of Undertow.

    Args:
        run: a run.
        path: ``model.onnx`` for ONNX, ``model.py`` for one Python file that needs only NumPy.
        options: as `export_onnx` and `export_source` take them.

    Returns:
        The path.

    Raises:
        ArgumentError: ``model.h5: a run is exported as .onnx or .py. …``, and what the formats raise.

    Source: derived here.

    Example:
        >>> export(Run(None), "model.h5")
        Traceback (most recent call last):
        undertow.errors.ArgumentError: model.h5: a run is exported as .onnx or .py. Give the file such a name.
    """
    suffix = read_path(path, "the file to export to").suffix
    if suffix not in _FORMATS:
        raise ArgumentError(f"{path}: a run is exported as {' or '.join(_FORMATS)}. Give the file such a name.")
    return _FORMATS[suffix](run, path, **options)
