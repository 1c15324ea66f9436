"""Clipping as source: of one gradient at a time where each goes its own way, else of all at once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from undertow import optim
from undertow.export.functions import Function, write_function
from undertow.export.update import dictionary, form_of, inputs_of, nodes_at
from undertow.graph import INPUT, Graph
from undertow.optim import Clip, Optimizer
from undertow.trace import trace_function

# Traced, this rule would be two lines a parameter; a test holds these loops against it.
_CLIP_BY_GLOBAL_NORM = '''def clip(grads):
    """{note}"""
    largest = {limit!r}
    for dw in grads.values():
        largest = np.maximum(largest, np.max(np.abs(dw)))
    total = 0.0
    for dw in grads.values():
        scaled = dw / largest
        total = total + np.sum(scaled * scaled)
    norm = largest * np.sqrt(total)
    scale = {limit!r} / np.maximum(norm, {limit!r})
    return {{name: dw * scale for name, dw in grads.items()}}'''


def write_clip(
    clip: Clip, rule: Optimizer, paths: list[str], keys: list[str], values: list[Any]
) -> tuple[Function, str] | None:
    """Write the function ``clip``, of the gradients of those parameters that the optimizer moves.

    Args:
        clip: the rule.
        rule: the optimizer; what it leaves as it is counts in no norm, as `undertow.optim.clip_trained` has it.
        paths: of the trained parameters in the model.
        keys: their names.
        values: their values.

    Returns:
        The function, and the expression that applies it to ``grads``; None where nothing moves.

    Source: derived here.

    Example:
        >>> import numpy as np
        >>> write_clip(optim.clip_by_value(0.5), optim.sgd(), ["W"], ["W"], [np.ones((2, 3))])[1]
        '{name: clip(dw) for name, dw in grads.items()}'
    """
    moves = rule.trains or (lambda path, w: True)
    moved = [i for i, (path, w) in enumerate(zip(paths, values, strict=True)) if moves(path, w)]
    if not moved:
        return None
    whole = len(moved) == len(paths)
    paths, keys, values = ([row[i] for i in moved] for row in (paths, keys, values))
    note = (getattr(optim, clip.name).__doc__ or clip.name).splitlines()[0]
    moving = () if whole else (f"MOVED = {tuple(keys)}  # the parameters that training moves",)
    others = "" if whole else "grads | "
    if clip.name == "clip_by_global_norm":
        text = _CLIP_BY_GLOBAL_NORM.format(note=note, **clip.settings)
        given = "grads" if whole else "{name: grads[name] for name in MOVED}"
        return Function(text, frozenset(), moving), f"{others}clip({given})"
    order = sorted(range(len(paths)), key=paths.__getitem__)  # as trees order dictionaries
    paths, keys, values = ([row[i] for i in order] for row in (paths, keys, values))
    arrays = dict(zip(paths, values, strict=True))
    traced = trace_function(lambda grads, params: clip.apply(grads, params), [arrays, arrays])
    grads, params, outputs = nodes_at(traced, 0), nodes_at(traced, 1), list(traced.graph.outputs)
    pairs = list(zip(grads, params, strict=True))
    separate = all(inputs_of(out) <= {*pair} for out, pair in zip(outputs, pairs, strict=True))
    if separate and len({form_of(pair, [out]) for out, pair in zip(outputs, pairs, strict=True)}) == 1:
        reads = params[0] in inputs_of(outputs[0])
        grads[0].name, params[0].name = "dw", "w"
        arguments = [("dw", grads[0]), *([("w", params[0])] if reads else [])]
        graph = Graph(tuple(node for _, node in arguments), (outputs[0],))
        function = write_function("clip", arguments, graph, note, ", ".join, comments=False)
        of, given = ("name, dw in grads.items()", "dw") if whole else ("name in MOVED", "grads[name]")
        call = f"{others}{{name: clip({given}{', params[name]' if reads else ''}) for {of}}}"
        return replace(function, constants=(*function.constants, *moving)), call
    for key, g, w, out in zip(keys, grads, params, outputs, strict=True):
        g.name, w.name = f"d{key}", key
        if out.op is not INPUT:
            out.name = f"new_d{key}"
    trees_ = [("grads", dict(zip(keys, grads, strict=True))), ("params", dict(zip(keys, params, strict=True)))]
    graph = Graph((*grads, *params), tuple(outputs))
    function = write_function("clip", trees_, graph, note, dictionary(keys), comments=False)
    return function, f"{others}clip(grads, params)"
