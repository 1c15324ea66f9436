"""A run as one Python file that needs only NumPy: it predicts, and it can go on training."""

from __future__ import annotations

import base64
import inspect
import io
import json
import textwrap
from pathlib import Path
from typing import Any

import numpy as np

from undertow.data import ClassTarget, TabularEncoder
from undertow.data.parse import MISSING_SPELLINGS
from undertow.emit.structure import wrap
from undertow.export import source_parts as parts
from undertow.export.functions import Function, find_helpers, name_origins, write_function
from undertow.export.subject import Subject, own_files, read_subject, read_target, trace_decision
from undertow.export.table_functions import TABLE_FUNCTIONS
from undertow.export.training import Training, write_training
from undertow.graph import Node
from undertow.train import Run
from undertow.train.files import write_whole

LARGEST = 8_000_000  # bytes of parameters that go into the file itself; more go into a .npz beside it
_WIDTH = 100


def export_source(
    run: Run,
    path: str | Path,
    *,
    example: Any = None,
    training: bool = True,
    loss: Any = None,
    optimizer: Any = None,
    target: Any = None,
) -> Path:
    """Write a trained model as one Python file that needs only NumPy.

    The file predicts (``predict(X)``; for a run on a table ``predict_rows(rows)``; ``python model.py data.csv``)
    and goes on training: ``step(params, state, X, y)`` is the forward pass, the backward pass and the update,
    readable, a value a line. More than 8 MB of parameters stand in a file beside it, ``model.npz``.

    Args:
        run: a run.
        path: the file, ending in .py.
        example: a few rows of X, (m, …), where neither a training nor the model tells it; only the shape counts.
        training: False leaves training out.
        loss: the loss, where it is a function of the user's own.
        optimizer: the optimizer, where it is one of the user's own; that of the run unless told.
        target: a few targets, for a loss of the user's own; only shape and dtype count.

    Returns:
        The path.

    Raises:
        ArgumentError: another kind of file; the shape of X, the loss or the optimizer is not known.
        UnsupportedError: the model's code depends on the number of rows.
        RunError: the file cannot be written.

    Source: derived here.

    Example:
        >>> import tempfile
        >>> from undertow.nn import Dense, Sequential, initialize
        >>> run = Run(initialize(Sequential(Dense(2, 3), "tanh")), settings={"loss": "mean_squared_error"})
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = export_source(run, Path(folder) / "model.py")
        ...     print("def step(params, state, X, y):" in file.read_text())
        True
    """
    place = read_target(path, ".py")
    subject = read_subject(run, example)
    learned = write_training(run, subject, loss, optimizer, target) if training else None
    small = sum(np.asarray(value).nbytes for value in subject.parameters.values()) <= LARGEST
    text = _write(run, subject, learned, small, place.name)
    compile(text, place.name, "exec")
    if not small:
        content = io.BytesIO()
        arrays: dict[str, Any] = {name: np.asarray(value) for name, value in subject.parameters.items()}
        np.savez(content, **arrays)
        write_whole(place.with_suffix(".npz"), content.getvalue())
    write_whole(place, text.encode())
    return place


def _write(run: Run, subject: Subject, learned: Training | None, small: bool, name: str) -> str:
    """The file's text."""
    constants = list(learned.constants) if learned else []
    reserved = {line.split(" = ")[0] for line in constants}
    network, helpers, more = _write_network(subject, reserved)
    helpers |= learned.helpers if learned else {}
    constants += more
    scipy = "scipy.special." in "".join([*network, *helpers.values(), *(learned.blocks if learned else ())])
    table = _write_table(subject.encoder, subject.unnamed) if subject.encoder else []
    blocks = [_write_head(run, subject, learned, name, scipy, small)]
    blocks += [_heading("The network"), _write_layout(subject), *network]
    blocks += [_heading("The table"), *table] if table else []
    if learned:
        blocks += [_heading("Training"), *learned.blocks]
    if helpers:
        blocks += [_heading("Functions that NumPy does not have"), *helpers.values()]
    blocks += [_heading("The command line"), *parts.write_main(subject)]
    blocks += [_heading("The parameters"), *_write_parameters(subject, small), *constants]
    blocks += ['if __name__ == "__main__":\n    main()']
    return _join(blocks)


def _join(blocks: list[str]) -> str:
    """Two empty lines between blocks, one behind a heading."""
    text = ""
    for block in blocks:
        text += block + ("\n\n" if block.startswith("# ----") else "\n\n\n")
    return text.rstrip("\n") + "\n"


def _heading(title: str) -> str:
    return f"# ---- {title} {'-' * (_WIDTH - len(title) - 8)}"


def _write_head(run: Run, subject: Subject, learned: Training | None, name: str, scipy: bool, small: bool) -> str:
    """Docstring and imports."""
    encoder = subject.encoder
    version = run.versions.get("undertow")
    shape = ", ".join(map(str, subject.x.spec.shape))
    takes = "rows of a table" if encoder else f"X ({shape}) {subject.dtype}"
    lines = [f"A trained network that needs only NumPy{' and SciPy' if scipy else ''} and Python 3.11 or later.", ""]
    lines += textwrap.wrap(f"Network: {subject.title}", _WIDTH, subsequent_indent="    ")
    lines += [f"Takes:   {takes}", f"Gives:   {_describe_output(subject)}"]
    if learned:
        lines += [f"Trained: {run.settings.get('loss') or 'a loss of its own'}, {learned.optimizer}"]
    lines += ["", f"    python {name} data.csv          predictions for the rows of a file", ""]
    stem = Path(name).stem
    module = stem if stem.isidentifier() else "model"
    lines += [f"    import {module}", "    " + _usage(subject, module), ""]
    if learned:
        lines += [
            "Going on training:", "",
            *([f"    X, y = {module}.encode(rows, {module}.COLUMNS), {module}.encode_target(rows)"] if encoder else []),
            f"    params, state = {module}.PARAMS, {module}.init_state({module}.PARAMS)",
            f"    loss, params, state = {module}.step(params, state, X, y)", "",
        ]  # fmt: skip
    if learned and learned.left_out:
        lines += textwrap.wrap(
            f"The step leaves out what training had besides: {', '.join(learned.left_out)}.", _WIDTH
        ) + [""]
    where = "at the end of this file" if small else f"in {stem}.npz beside this file"
    lines += [f"Written by Undertow{f' {version}' if version else ''}. The parameters are {where}."]
    doc = "\n".join(line.replace("\\", "\\\\").replace('"""', "'''") for line in lines)
    imports = ["import argparse", "import base64", "import csv"]
    if encoder:
        imports += ["import math"]
    imports += ["import os", *(["import re"] if encoder else []), "import sys"]
    if encoder:
        imports += ["from datetime import UTC, date, datetime, time, timedelta"]
    if not small:
        imports.remove("import base64")
        imports += ["from pathlib import Path"]
    third = ["import numpy as np", *(["import scipy.special"] if scipy else [])]
    return f'"""{doc}\n"""\n\n' + "\n".join(imports) + "\n\n" + "\n".join(third)


def _describe_output(subject: Subject) -> str:
    shape = f"({', '.join(map(str, subject.output.spec.shape))}{',' if subject.output.spec.ndim == 1 else ''})"
    if not subject.classifies:
        return f"numbers {shape}"
    return f"{'logits' if subject.logits else 'probabilities'} {shape}, from which classes follow"


def _usage(subject: Subject, module: str) -> str:
    if subject.encoder is None:
        return f"{module}.predict(X)"
    names = [column.name for column in subject.encoder.columns]
    shown = ", ".join(f"{name!r}: …" for name in names[:3]) + (", …" if len(names) > 3 else "")
    return f"{module}.predict_rows([{{{shown}}}])"


def _write_layout(subject: Subject) -> str:
    """The parameters' dtypes and shapes."""
    rows = []
    for name, value in subject.parameters.items():
        array = np.asarray(value)
        kind = "number" if isinstance(value, float | int) else str(array.dtype)
        rows.append(f'    "{name}": ("{kind}", {array.shape}),')
    return "\n".join(["SHAPES = {  # of the parameters, in the order in which they are stored", *rows, "}"])


def _write_network(subject: Subject, reserved: set[str]) -> tuple[list[str], dict[str, str], list[str]]:
    """The functions outputs, predict and predict_probability; helpers; constants."""
    graph = subject.graph
    name_origins(graph, own_files(subject.model))
    nodes = [x for x in subject.traced.arguments[0] if isinstance(x, Node)]
    params = dict(zip(subject.parameters, nodes, strict=True))
    arguments: list[tuple[str, Any]] = [("params", params), ("X", subject.x)]
    note = "What the network gives for X."
    function = write_function("outputs", arguments, graph, note, ", ".join, reserved=reserved)
    blocks = [function.text, parts.write_predict(subject)]
    used = set(function.used)
    constants = list(function.constants)
    if subject.loss is not None and subject.loss.decision is not None:
        decide = write_decision(subject, {*reserved, *(line.split(" = ")[0] for line in constants)})
        blocks.append(decide.text)
        used |= decide.used
    if subject.knows_probabilities:
        blocks.append(parts.write_probability(subject))
        if subject.logits:
            used.add("softmax" if subject.task == "categorical" else "sigmoid")
    return blocks, find_helpers(used), constants


def write_decision(subject: Subject, reserved: set[str]) -> Function:
    """The function ``decide``, which makes predictions of outputs."""
    graph = trace_decision(subject)
    graph.inputs[0].name = "z"
    note = "What the outputs predict."
    return write_function("decide", [("z", graph.inputs[0])], graph, note, ", ".join, reserved=reserved)


def _list_texts(encoder: TabularEncoder) -> list[str] | dict[str, list[str]]:
    """The columns that hold texts; where one holds what is missing elsewhere, a dict with these texts of each."""
    known = {name: [x for x in texts if x in MISSING_SPELLINGS[1:]] for name, texts in encoder.known_texts.items()}
    return known if any(known.values()) else encoder.text_columns


def _write_table(encoder: TabularEncoder, unnamed: list[str]) -> list[str]:
    """The columns, and the functions that read them."""
    marks = {"missing": encoder.missing} if encoder.missing else {}
    rows = [f"    {_write_value({**column.to_json_dict(), **marks}, 4)}," for column in encoder.columns]
    columns = "\n".join(["COLUMNS = [  # how each column became numbers in training", *rows, "]"])
    target = encoder.target
    known = [
        f"TEXTS = {_write_value(_list_texts(encoder), 0)}  # the columns that hold texts",
        f"TARGET = {_write_value(target.name, 0)}  # the column that is predicted",
    ]
    if unnamed:
        known.append(f"UNNAMED = {_write_value(unnamed, 0)}  # all columns: files have no line of names, or these")
    if isinstance(target, ClassTarget):
        known.append(f"CLASSES = {_write_value(list(target.classes), 0)}")
    else:
        y = {"": "y", "log": "log(y)", "log1p": "log(1 + y)"}[target.curve]
        known.append(f"MEAN, SCALE = {target.mean!r}, {target.scale!r}  # the network predicts ({y} − MEAN) / SCALE")
    functions = [parts.without_types(inspect.getsource(function).rstrip()) for function in TABLE_FUNCTIONS]
    return ["\n".join([columns, *known]), *parts.write_rows(target, encoder.missing), *functions]


def _write_value(value: Any, indent: int) -> str:
    """Plain data as Python, in lines that can be read."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, dict):
        items = [f"{_write_value(key, 0)}: {_write_value(item, indent + 4)}" for key, item in value.items()]
        return wrap(items, "{", "}", indent)
    if isinstance(value, list | tuple):
        return wrap([_write_value(item, indent + 4) for item in value], "[", "]", indent)
    return repr(value)


def _write_parameters(subject: Subject, small: bool) -> list[str]:
    """The function that reads them, and their bytes."""
    if not small:
        return [parts.READ_NPZ, 'PARAMS = read_parameters(Path(__file__).with_suffix(".npz"))']
    data = b"".join(
        np.ascontiguousarray(value, dtype=_little(value)).tobytes() for value in subject.parameters.values()
    )
    digits = base64.b64encode(data).decode()
    lines = "\n".join(digits[i : i + _WIDTH] for i in range(0, len(digits), _WIDTH))
    return [parts.READ_BASE64, f'PARAMS = read_parameters("""\n{lines}\n""")']


def _little(value: Any) -> np.dtype[Any]:
    """The dtype of a parameter with its low bytes first."""
    return np.asarray(value).dtype.newbyteorder("<")
