"""A run as files: parameters in safetensors, everything else in JSON. Loading runs no code.

The folder is written beside its place under another name, forced to the disk and renamed, so that it is whole or not
there. ``run.json`` holds a checksum of the parameters.
"""

from __future__ import annotations

import json
import os
import shutil
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from undertow.errors import RunError, UndertowError
from undertow.nn import (
    Sequential,
    build_model,
    describe_model,
    expected_shapes,
    is_initialized,
    parameters_of,
    put_parameters,
)
from undertow.nn.description import UnknownLayerError
from undertow.train.disk import DISK, PARTS, make_folders, open_file, replace_file, write_new
from undertow.train.files import TEMPORARY, check_place, check_run_folder, explain_failure, read_path
from undertow.train.history import Row
from undertow.train.record import read_record, write_record
from undertow.train.run import Run
from undertow.train.tensors import checksum, pack, unpack

MODEL, RECORD, FLOW = "model.safetensors", "run.json", "flow"
BESIDE = {
    "checkpoints",
    "history.jsonl",
    "config.toml",
    "held_out.json",
    "report.html",
    "control.json",
    "controls.jsonl",
    FLOW,
}  # what training itself writes into the folder of a run
FORMAT, VERSION = "undertow-run", 1
LISTS, OBJECTS = ("history", "gradient_history"), ("settings", "versions", "extras")


def save(run: Run, path: str | Path, overwrite: bool = False) -> Path:
    """Save a run as a folder of ``model.safetensors`` and ``run.json``.

    Args:
        run: the run; its model must be made of built-in layers, and of what `undertow.nn.register_layer` knows.
        path: the folder; its parent is made if missing.
        overwrite: True replaces a folder that holds a run.

    Returns:
        The folder.

    Raises:
        RunError: ``runs/a exists already. …``; a layer or function of the user's own that is not registered; the disk
            refuses.

    Source: derived here.

    Example:
        >>> from undertow.nn import Dense, initialize
        >>> run = Run(initialize(Sequential(Dense(2, 1))))
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     sorted(file.name for file in save(run, Path(folder) / "run").iterdir())
        ['model.safetensors', 'run.json']
    """
    import tempfile  # loads much, which a process that only reads does without

    target = read_path(path, "the folder of a run")
    check_target(target, overwrite)
    parts, record = _take_apart(run)
    try:
        make_folders(target.parent)
        if target.is_dir() and BESIDE & set(os.listdir(target)):  # the run's own, which stay where they are
            replace_file(target / MODEL, parts)
            replace_file(target / RECORD, [record])
            _save_flow(run, target)
            for name in _leftovers(target):
                if (target / name).is_dir():
                    shutil.rmtree(target / name, ignore_errors=True)
                else:
                    DISK.remove(target / name)
            return target
        with tempfile.TemporaryDirectory(prefix=TEMPORARY, dir=target.parent) as temporary:
            new = Path(temporary) / "new"
            new.mkdir()
            write_new(new / MODEL, parts)
            write_new(new / RECORD, [record])
            _save_flow(run, new)
            DISK.force_folder(new)
            _move(new, target, Path(temporary) / "old")
            DISK.force_folder(target.parent)  # before what was replaced is removed
    except OSError as error:
        reason = str(error) if isinstance(error, RunError) else f"{explain_failure(target, error)}."
        raise RunError(f"{target}: the run could not be saved: {reason}") from error
    return target


def _save_flow(run: Run, folder: Path) -> None:
    """Write how the gradient flowed, if that was recorded."""
    if run.record is not None:
        import_module("undertow.flow").save_flow(run.flow, folder)


def _move(new: Path, target: Path, old: Path) -> None:
    """Put the new folder in its place; one that is there changes places with it."""
    if not target.exists():
        DISK.rename(new, target)
        return
    try:
        DISK.exchange(new, target)
        return
    except OSError:
        pass  # not every system has it
    DISK.rename(target, old)
    try:
        DISK.rename(new, target)
    except OSError:
        DISK.rename(old, target)
        raise


def check_target(target: Path, overwrite: bool) -> None:
    """Check before training that a run can be saved in a folder; nothing is changed.

    Args:
        target: the folder to be.
        overwrite: whether a run that is there may be replaced.

    Raises:
        RunError: ``runs/a exists already. …``, or the system refuses.

    Source: derived here.

    Example:
        >>> check_target(Path(__file__), overwrite=True)
        Traceback (most recent call last):
        undertow.errors.RunError: ...checkpoint.py exists already and is no folder of its own. Choose another path.
    """
    try:
        if os.path.lexists(target):
            _check_replaceable(target, overwrite)
    except OSError as error:
        if isinstance(error, RunError):
            raise
        raise RunError(f"{target} cannot be read: {explain_failure(target, error)}. Choose another path.") from None
    check_place(target)


def _check_replaceable(target: Path, overwrite: bool) -> None:
    """RunError unless the folder may be replaced."""
    if not target.is_dir() or target.is_symlink():
        raise RunError(f"{target} exists already and is no folder of its own. Choose another path.")
    found = set(os.listdir(target))
    own = found - BESIDE - _leftovers(target)
    if not own:
        return
    if not overwrite:
        raise RunError(
            f"{target} exists already. Choose another path, or overwrite it (overwrite=True, or --overwrite)."
        )
    if found & BESIDE and own == {MODEL}:  # a process was killed while it saved
        return
    if not (target / RECORD).is_file() or not (target / MODEL).is_file():
        raise RunError(f"{target} holds something other than a run, so it is not overwritten. Choose another path.")


def _leftovers(target: Path) -> set[str]:
    """The names of files that a process was writing in the folder of a run when it was killed, and of their folders."""
    starts = (f".{MODEL}.", f".{RECORD}.")
    files = {name for name in os.listdir(target) if name.startswith(starts) and name.endswith(PARTS)}
    return files | {name for name in os.listdir(target) if name.startswith(TEMPORARY)}


def _take_apart(run: Run) -> tuple[list[bytes | memoryview], bytes]:
    """The parts of the file of the model, and the record."""
    model = run.model if type(run.model) is Sequential else Sequential(run.model)
    try:
        architecture = describe_model(model)
    except UndertowError as error:
        raise RunError(f"this run cannot be saved: {error}") from None
    if not is_initialized(model):
        raise RunError("this run cannot be saved: its model has no weights yet. Call undertow.nn.initialize first.")
    tensors = {path: np.asarray(value) for path, value in parameters_of(model).items()}
    for name, value in tensors.items():
        if not np.isfinite(value).all():
            raise RunError(f"this run cannot be saved: {name} holds {_show_bad(value)}, so that it predicts nothing.")
    header = {"format": FORMAT, "version": str(VERSION), "architecture": json.dumps(architecture)}
    start, data = pack(tensors, header)
    checksums = {MODEL: checksum(start, *data)}
    content: dict[str, Any] = {"format": FORMAT, "version": VERSION, "checksums": checksums, "stopped": run.stopped}
    content |= {key: getattr(run, key) for key in (*OBJECTS, *LISTS)}
    try:
        record = write_record(content, indent=1, exact=False).encode()
    except (TypeError, ValueError) as error:
        raise RunError(f"this run cannot be saved: its record is no plain data: {error}") from None
    return [start, *data], record


def _show_bad(value: Any) -> str:
    """What an array holds that is no number."""
    return "NaN" if np.isnan(value).any() else "infinite numbers"


def load(path: str | Path) -> Run:
    """Load a run that `Run.save` wrote. Everything is checked, and no code is run.

    Args:
        path: the folder.

    Returns:
        The run.

    Raises:
        RunError: ``runs/a: there is no such folder.``; checkpoints alone; a file that is missing,
            damaged or does not fit.

    Source: derived here.

    Example:
        >>> load("no/such/run")
        Traceback (most recent call last):
        undertow.errors.RunError: no/such/run: there is no such folder. Give the folder of a run.
    """
    folder = read_path(path, "the folder of a run")
    check_run_folder(folder)
    if not os.path.exists(folder / MODEL) and os.path.isdir(folder / "checkpoints"):
        from undertow.train.table_folder import how_to_go_on

        raise RunError(
            f"{folder}: no run was saved here with run.save, there are only the checkpoints of a training, which goes "
            f"on, was broken off, or has ended. {how_to_go_on(folder)}"
        )
    content = _read_file(folder / MODEL)
    model = _load_model(folder / MODEL, content)
    record = _load_record(folder / RECORD)
    if record["checksums"].get(MODEL, found := checksum(content)) != found:
        raise RunError(
            f"{folder / MODEL} is damaged, or not the one that was saved with {RECORD}: its checksum is another. "
            f"If it was changed on purpose, take its checksum out of {RECORD}."
        )
    values = {key: record[key] for key in (*OBJECTS, *LISTS)}
    values["history"] = [Row(row) for row in record["history"]]
    recorded = folder if os.path.exists(folder / FLOW) else None
    return Run(model, stopped=record["stopped"], record=recorded, folder=folder, **values)


def _read_file(file: Path) -> bytes:
    """All of one file of a run."""
    try:
        with open_file(file) as opened:
            return opened.read()
    except FileNotFoundError:
        raise RunError(f"{file} is missing, so this is not the folder of a run.") from None
    except MemoryError:
        raise RunError(f"{file} cannot be read: it does not fit into memory.") from None
    except OSError as error:
        raise RunError(f"{file} cannot be read: {error.strerror or error}.") from None


def _load_record(file: Path) -> dict[str, Any]:
    """Read run.json."""
    content = _read_file(file)
    try:
        record = read_record(content)
    except ValueError as error:
        raise RunError(f"{file} cannot be read: {error}") from None
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise RunError(f"{file} is no record of a run.")
    if record.get("version") != VERSION:
        raise RunError(f"{file} has version {record.get('version')!r}, this Undertow reads {VERSION}.")
    for key in LISTS:
        rows = record.get(key)
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise RunError(f"{file} is damaged: {key} is not a list of rows.")
    for key in OBJECTS:
        if not isinstance(record.get(key), dict):
            raise RunError(f"{file} is damaged: {key} is not an object.")
    if not isinstance(record.setdefault("checksums", {}), dict):  # runs of earlier versions have none
        raise RunError(f"{file} is damaged: checksums is not an object.")
    if not isinstance(record.get("stopped"), str):
        raise RunError(f"{file} is damaged: stopped is not a text.")
    if not isinstance(record["settings"].get("loss", ""), str):
        raise RunError(f"{file} is damaged: its loss is no name.")
    if record["settings"].get("dtype", "float32") not in ("float32", "float64"):
        raise RunError(f"{file} is damaged: its dtype is {record['settings']['dtype']!r}.")
    return record


def _load_model(file: Path, content: bytes) -> Sequential:
    """Read model.safetensors."""
    try:
        tensors, header = unpack(content)
    except RunError as error:
        raise RunError(f"{file} cannot be read: {error}.") from None
    if header.get("format") != FORMAT or header.get("version") != str(VERSION):
        raise RunError(
            f"{file} holds no model of this Undertow (format {header.get('format')!r}, version "
            f"{header.get('version')!r})."
        )
    try:
        model = build_model(json.loads(header.get("architecture", "")))
    except UnknownLayerError as error:
        raise RunError(f"{file} cannot be read here: {error}") from None
    except (UndertowError, ValueError, RecursionError) as error:
        raise RunError(f"{file} is damaged: its architecture: {error}") from None
    return _fill(model, tensors, file)


def _fill(model: Sequential, tensors: dict[str, Any], file: Path) -> Sequential:
    """Put arrays into a model that was just built, checking name, shape and dtype of each."""
    wanted = expected_shapes(model)
    if missing := sorted(wanted.keys() - tensors.keys()):
        raise RunError(f"{file} is damaged: {missing[0]} is missing.")
    if extra := sorted(tensors.keys() - wanted.keys()):
        raise RunError(f"{file} is damaged: it holds {extra[0]!r}, which the architecture does not have.")
    for name, shape in wanted.items():
        value = tensors[name]
        if value.shape != shape:
            raise RunError(f"{file} is damaged: {name} is {value.shape}, the architecture says {shape}.")
        if value.dtype not in (np.float32, np.float64):
            raise RunError(f"{file} is damaged: {name} is {value.dtype}, not float32 or float64.")
        if not np.isfinite(value).all():
            raise RunError(f"{file} is damaged: {name} holds {_show_bad(value)}.")
    return put_parameters(model, tensors)
