"""What is exported: a trained model as a graph of its own, its parameters by name, and what its outputs mean."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from undertow import trees
from undertow.data import TabularEncoder
from undertow.data.header import number_columns
from undertow.emit.names import Names
from undertow.errors import ArgumentError, UnsupportedError
from undertow.graph import Dim, Graph, Node
from undertow.nn import LOSSES, Loss, build_loss, is_initialized
from undertow.nn.layer import widths
from undertow.trace import Traced, trace_function
from undertow.train import Run
from undertow.train.derive import numbers_of, trained_numbers
from undertow.train.files import read_path

_LONGEST_TITLE = 300
_ROWS = 4  # of the batch that is traced; any number above 1 does
_HEAD = 1 << 16  # bytes of an export in which it says who wrote it


@dataclass(frozen=True)
class Subject:
    """A trained model, ready to be written in another language.

    Attributes:
        model: the model.
        graph: its parameters and X → its output; the batch size is the symbol m.
        traced: the trace that the graph is from; its arguments are the model's leaves and X.
        parameters: each parameter's name and value, in the order of the graph's inputs.
        dtype: of X.
        example: an X of a few rows; only its shape and dtype count.
        loss: what it was trained with; None for one of the user's own.
        encoder: what reads a table for the model, if it was trained on one.
        unnamed: the names of that table's columns, where its file had no line of them; else none.
    """

    model: Any
    graph: Graph
    traced: Traced
    parameters: dict[str, Any]
    dtype: np.dtype[Any]
    example: NDArray[Any]
    loss: Loss | None
    encoder: TabularEncoder | None
    unnamed: list[str] = field(default_factory=list)

    @property
    def x(self) -> Node:
        """The graph's input that is X."""
        return self.graph.inputs[-1]

    @property
    def output(self) -> Node:
        """The graph's only output."""
        return self.graph.outputs[0]

    @property
    def target_shape(self) -> tuple[int, ...]:
        """The shape of a target of numbers, without its batch axis: fewer columns than the output for some losses."""
        shape = tuple(size for size in self.output.spec.shape[1:] if isinstance(size, int))
        return (*shape[:-1], shape[-1] // (self.loss.columns if self.loss else 1)) if shape else ()

    @property
    def title(self) -> str:
        """The model in one line, not too long."""
        with np.printoptions(threshold=3, edgeitems=1, precision=3):
            text = " ".join(repr(self.model).split())
        return text if len(text) <= _LONGEST_TITLE else f"{text[:_LONGEST_TITLE]}…"

    @property
    def task(self) -> str:
        """``"regression"``, ``"binary"``, ``"categorical"`` or ``"own"``."""
        return self.loss.task if self.loss else "own"

    @property
    def logits(self) -> bool:
        """Whether the output is z, not p."""
        return bool(self.loss and self.loss.logits)

    @property
    def classifies(self) -> bool:
        """Whether the outputs stand for classes."""
        return self.task in ("binary", "categorical")

    @property
    def knows_probabilities(self) -> bool:
        """Whether the outputs are probabilities of classes, or logits of them."""
        return bool(self.classifies and self.loss and self.loss.knows_probabilities)

    @property
    def trained(self) -> list[str]:
        """The names of the parameters that training changes by their gradients."""
        names = list(self.parameters)
        return [names[i] for i in trained_numbers(self.model)]

    @property
    def fixed(self) -> list[str]:
        """The names of the others: running statistics."""
        trained = set(self.trained)
        return [name for name in self.parameters if name not in trained]


def read_subject(run: Run, example: Any = None) -> Subject:
    """Trace the model of a run.

    Args:
        run: a run.
        example: inputs as the model takes them, (m, …), where neither a training nor the model tells their shape; only
            shape and dtype count.

    Returns:
        The model as a graph, with all that an export says of it.

    Raises:
        ArgumentError: no run; a model without weights; the shape of X is not known.
        UnsupportedError: the model's code depends on the number of rows.

    Source: derived here.

    Example:
        >>> from undertow.nn import Dense, Sequential, initialize
        >>> subject = read_subject(Run(initialize(Sequential(Dense(2, 3), "relu"))))
        >>> list(subject.parameters), subject.task
        (['W', 'b'], 'own')
    """
    if not isinstance(run, Run):
        raise ArgumentError(f"only a run can be exported, got {type(run).__name__}. Give what undertow.train returned.")
    if not is_initialized(run.model):
        raise ArgumentError("the model has no weights yet. Train it, or call undertow.nn.initialize first.")
    record = run.extras.get("encoder")
    encoder = TabularEncoder.from_json_dict(record) if record else None
    dtype = np.dtype(run.settings.get("dtype", "float32"))
    X = _find_example(run, encoder, example).astype(dtype, copy=False)
    traced = trace_function(_caller(run.model), [run.model, X], batch=[1])
    if len(traced.graph.outputs) != 1 or traced.rows:
        what = "counts the rows of its batch" if traced.rows else "gives more than one array"
        raise UnsupportedError(f"{type(run.model).__name__} {what}, so it cannot be exported for batches of any size.")
    name = run.settings.get("loss")
    loss = build_loss({"name": name, **run.settings.get("loss_settings", {})}) if name in LOSSES else None
    if encoder is not None and bool(encoder.classes) != bool(loss and loss.task in ("binary", "categorical")):
        raise ArgumentError(
            f"the run's loss is {run.settings.get('loss')!r}, but its table encoder is for a {encoder.task}: they do "
            "not fit together. Remove run.extras['encoder'], or train with another loss."
        )
    return Subject(
        run.model,
        traced.graph,
        traced,
        _name_parameters(run.model, traced),
        dtype,
        X,
        loss,
        encoder,
        _name_columns(run, encoder),
    )


def _name_columns(run: Run, encoder: TabularEncoder | None) -> list[str]:
    """The names of the columns of a file that has no line of them."""
    if encoder is None or run.extras.get("header") is not False:
        return []
    return number_columns(1 + len(encoder.columns) + len(encoder.dropped))


def _caller(model: Any) -> Any:
    def call(model: Any, X: Any) -> Any:
        return model(X)

    call.__name__ = type(model).__name__
    return call


def _find_example(run: Run, encoder: TabularEncoder | None, example: Any) -> NDArray[Any]:
    """A few rows of X, all 0."""
    if example is None:
        rows = run.extras.get("example")
        example = rows.get("X") if isinstance(rows, dict) else None
    if example is not None:
        shape = np.shape(example)
        if not shape:
            raise ArgumentError("example is a single number. Give rows as the model takes them, of shape (m, …).")
        return np.zeros((_ROWS, *shape[1:]), np.asarray(example).dtype)
    if encoder is None and "example_shape" in run.settings:  # of a training; a run put together by hand has none
        return np.zeros((_ROWS, *run.settings["example_shape"]))
    width = encoder.n_features if encoder else widths(run.model)[0]
    if width is None:
        raise ArgumentError(
            "the model does not say how wide its input is. Give a few rows of it: export(run, path, example=X[:4])."
        )
    return np.zeros((_ROWS, width))


def _name_parameters(model: Any, traced: Traced) -> dict[str, Any]:
    """The parameters by names that are identifiers, each once; X keeps its name."""
    names = Names({"X", "y", "params", "state", "fixed", "keys"})
    values = numbers_of(trees.flatten(model)[0])
    nodes = [x for x in traced.arguments[0] if isinstance(x, Node)]
    return {names.claim(node.name or "w"): value for node, value in zip(nodes, values, strict=True)}


def trace_decision(subject: Subject) -> Graph:
    """Trace what makes predictions of a model's outputs.

    Args:
        subject: the model; its loss has a rule for it.

    Returns:
        The graph: outputs → predictions.
    """
    loss, spec = subject.loss, subject.output.spec
    assert loss is not None
    shape = tuple(_ROWS if isinstance(size, Dim) else size for size in spec.shape)
    return trace_function(lambda z: loss.decide(z), [np.zeros(shape, spec.dtype)], batch=[0]).graph


def own_files(model: Any) -> set[str]:
    """Return the names of the source files of a model's classes and functions that are not Undertow's.

    Args:
        model: the model.

    Returns:
        Names such as ``"net.py"``.

    Source: derived here.

    Example:
        >>> from undertow.nn import Dense
        >>> own_files(Dense(2, 3))
        set()
    """
    found: set[str] = set()
    stack = [model]
    while stack:
        item = stack.pop()
        if isinstance(item, dict | list | tuple):
            stack += item.values() if isinstance(item, dict) else item
            continue
        if hasattr(item, "__dataclass_fields__"):
            stack += vars(item).values() if hasattr(item, "__dict__") else []
        elif not inspect.isfunction(item):
            continue
        kind = item if inspect.isfunction(item) else type(item)
        if not (kind.__module__ or "").startswith("undertow."):
            try:
                found.add(Path(inspect.getfile(kind)).name)
            except (TypeError, OSError):
                continue
    return found


def read_target(path: Any, suffix: str) -> Path:
    """Read the path of a file to be written.

    Args:
        path: a text or a path.
        suffix: the ending it must have.

    Returns:
        The path.

    Raises:
        ArgumentError: ``model.txt: the file's name must end in .onnx.``; a Python file that is no export of ours.

    Source: derived here.

    Example:
        >>> read_target("model.txt", ".onnx")
        Traceback (most recent call last):
        undertow.errors.ArgumentError: model.txt: the file's name must end in .onnx.
    """
    target = read_path(path, "the file to export to")
    if target.suffix != suffix:
        raise ArgumentError(f"{target}: the file's name must end in {suffix}.")
    if suffix == ".py" and target.is_file():
        with open(target, "rb") as file:
            head = file.read(_HEAD)
        if head.strip() and b"Written by Undertow" not in head:
            raise ArgumentError(
                f"{target} is a program that no export wrote, and would be lost. Give another name, or remove it first."
            )
    return target
