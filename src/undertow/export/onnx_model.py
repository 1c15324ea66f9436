"""A run as an ONNX model: what reads the table, the network, and what its outputs mean."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from undertow.errors import UnsupportedError
from undertow.export.onnx_builder import ML_DOMAIN, ML_OPSET, OPSET, Builder, import_onnx
from undertow.export.onnx_graph import write_graph
from undertow.export.onnx_table import add_inputs, write_encoder, write_labels, write_numbers
from undertow.export.subject import Subject, read_subject, read_target, trace_decision
from undertow.graph import Dim, Shape
from undertow.train import Run
from undertow.train.files import write_whole

_LARGEST = 2**31 - 1  # bytes of a protocol buffer


def export_onnx(run: Run, path: str | Path, *, example: Any = None) -> Path:
    """Write a trained model as ONNX, for onnxruntime and other programs that run networks.

    Inputs: ``X`` (m, …) of the run's dtype; for a run on a table one input a column instead, (m, 1): float64,
    NaN where missing (dates and durations in days, booleans 0 or 1), or texts, '' where missing. Outputs:
    ``output`` (what the model gives); for classes also ``label`` and ``probabilities``; for a regression on a
    table ``prediction``, in the target's unit. The batch size m is free.

    Args:
        run: a run.
        path: the file, ending in .onnx.
        example: a few rows of X, (m, …), where neither a training nor the model tells it; only the shape counts.

    Returns:
        The path.

    Raises:
        UnsupportedError: onnx is not installed, ``… pip install onnx``; an operation that ONNX
            does not have, ``searchsorted (net.py:12) cannot be written in ONNX: …``
        ArgumentError: another kind of file; the shape of X is not known.
        RunError: the file cannot be written.

    Source: derived here; operators by the ONNX specification, opset 24.

    Example:
        >>> import tempfile
        >>> from undertow.nn import Dense, Sequential, initialize
        >>> run = Run(initialize(Sequential(Dense(2, 3), "tanh")))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     export_onnx(run, Path(folder) / "model.onnx").name
        'model.onnx'
    """
    target = read_target(path, ".onnx")
    onnx = import_onnx()
    subject = read_subject(run, example)
    content = _make_model(onnx, run, subject).SerializeToString()
    write_whole(target, content)
    return target


def _make_model(onnx: Any, run: Run, subject: Subject) -> Any:
    """The model as ONNX's own object, checked."""
    b = Builder(onnx)
    encoder = subject.encoder
    size = sum(np.asarray(value).nbytes for value in subject.parameters.values())
    if size > _LARGEST:
        raise UnsupportedError(
            f"the parameters are {size / 2**30:.1f} GiB, an ONNX file holds 2. Export a smaller one."
        )
    x = subject.x
    if encoder is not None:
        described = add_inputs(b, encoder)
    else:
        b.dtypes["X"] = x.spec.dtype
        described = [_describe(b, "X", x.spec.shape)]
    inputs = {node: b.constant(value, node.spec.dtype, wish=name) for node, (name, value) in zip(
        subject.graph.inputs, subject.parameters.items(), strict=False
    )}  # fmt: skip
    inputs[x] = write_encoder(b, encoder, x.spec.dtype) if encoder is not None else "X"
    (result,) = write_graph(b, subject.graph, inputs)
    outputs = _write_outputs(b, subject, b.add("Identity", result, wish="output"))
    read = {name for node in b.nodes for name in node.input}
    constants = [tensor for tensor in b.constants if tensor.name in read]
    graph = onnx.helper.make_graph(
        b.nodes, "network", described, [_describe(b, name, shape) for name, shape in outputs.items()], constants
    )
    opsets = [onnx.helper.make_opsetid("", OPSET), onnx.helper.make_opsetid(ML_DOMAIN, ML_OPSET)]
    version = onnx.helper.find_min_ir_version_for(opsets)
    model = onnx.helper.make_model(
        graph, producer_name="undertow", producer_version=run.versions.get("undertow", ""), opset_imports=opsets,
        ir_version=version, doc_string=f"{subject.title}, trained with Undertow",
    )  # fmt: skip
    onnx.helper.set_model_props(model, _describe_run(run, subject))
    onnx.checker.check_model(model, full_check=True)
    return model


def _describe(b: Builder, name: str, shape: Shape) -> Any:
    sizes = [str(size) if isinstance(size, Dim) else size for size in shape]
    return b.onnx.helper.make_tensor_value_info(name, b.type_of(b.dtypes[name]), sizes)


def _write_outputs(b: Builder, subject: Subject, output: str) -> dict[str, Shape]:
    """The outputs of the model by name, with their shapes; see `undertow.train.task.Task.decide`."""
    shape = subject.output.spec.shape
    outputs = {output: shape}
    encoder, dtype = subject.encoder, subject.output.spec.dtype
    if subject.task == "categorical":
        index = b.add("ArgMax", output, dtype=np.int64, axis=1, keepdims=0)
        label = write_labels(b, encoder, index, "label") if encoder else b.add("Identity", index, wish="label")
        if not subject.knows_probabilities:
            return {**outputs, label: shape[:1]}
        p = b.add("Softmax", output, axis=-1) if subject.logits else output
        p = b.add("Identity", p, wish="probabilities")
        return {**outputs, label: shape[:1], p: shape}
    if subject.task == "binary":
        above = b.add("Greater", output, b.constant(0 if subject.logits else 0.5, dtype), dtype=bool)
        label = b.cast(above, np.int64)
        if shape[1:] == (1,):
            label, shape = b.add("Squeeze", label, b.axes((1,))), shape[:1]
        label = write_labels(b, encoder, label, "label") if encoder else b.add("Identity", label, wish="label")
        if not subject.knows_probabilities:
            return {**outputs, label: shape}
        p = b.add("Sigmoid" if subject.logits else "Identity", output, wish="probabilities")
        return {**outputs, label: shape, p: outputs[output]}
    if subject.loss is not None and subject.loss.decision is not None:
        decision = trace_decision(subject)
        (output,) = write_graph(b, decision, {decision.inputs[0]: output})
        shape = decision.outputs[0].spec.shape
        if encoder is None:
            return {**outputs, b.add("Identity", output, wish="prediction"): shape}
    if encoder is not None:
        return {**outputs, write_numbers(b, encoder, output, "prediction"): shape}
    return outputs


def _describe_run(run: Run, subject: Subject) -> dict[str, str]:
    """What the file says about itself."""
    told = {
        "task": subject.task,
        "loss": str(run.settings.get("loss", "")),
        "undertow": run.versions.get("undertow", ""),
    }
    encoder = subject.encoder
    if encoder is not None:
        told |= {
            "feature_names": json.dumps(encoder.feature_names, ensure_ascii=False),
            "target": encoder.target.name,
            "classes": json.dumps(list(encoder.classes), ensure_ascii=False),
        }
    return {key: value for key, value in told.items() if value}
