"""Rules about sums: what is constant along one, and labels, whose rows sum to 1."""

from __future__ import annotations

from typing import Any

import numpy as np

from undertow import primitives as P
from undertow.graph import CONSTANT, Dim, Node
from undertow.primitives.index import Pick, Slice
from undertow.simplify.engine import Simplifier, alike, constant_along, rule
from undertow.simplify.shifts import cancels


@rule("factor out of a sum", "Σ c x = c Σ x for c constant along the sum", "rounding", P.sum_)
def _hoist(s: Simplifier, x: Node, axis: tuple[int, ...], keepdims: bool) -> Any:
    if not s.in_backward or x.op not in (P.multiply, P.divide) or not alike(*x.inputs):
        return None
    pairs = (x.inputs,) if x.op is P.divide else (x.inputs, x.inputs[::-1])
    for a, c in pairs:
        free = c.spec.ndim == 0 or (keepdims and constant_along(c, x.spec.shape, axis))
        if free and a.spec.shape == x.spec.shape and (not a.backward or a.op is P.index_add or _is_one_hot(a)):
            total = P.sum_(s(a), axis=axis, keepdims=keepdims)
            return x.op(total, s(c))
    return None


@rule("rows of one-hot labels sum to 1", "Σₖ yₖ = 1", "rounding", P.sum_)
def _one_hot_sum(s: Simplifier, x: Node, axis: tuple[int, ...], keepdims: bool) -> Any:
    while x.op is P.astype:
        x = x.inputs[0]
    return 1.0 if _is_one_hot(x) and axis == (x.spec.ndim - 1,) else None


def _is_one_hot(node: Node) -> bool:
    """Tell whether each row of a value holds a single 1."""
    picks = node.op is P.getitem and node.params["index"] == _ROWS and _is_eye(node.inputs[0])
    return picks or node.op is P.one_hot_rows


_ROWS = (Pick(0), Slice())  # the index in eye[labels]
_MOST_CLASSES = 1024


def _is_eye(node: Node) -> bool:
    """Tell whether a constant is the unit matrix."""
    if node.op is not CONSTANT or node.spec.ndim != 2 or node.spec.shape[0] != node.spec.shape[1]:
        return False
    return bool(np.array_equal(node.value, np.eye(len(node.value))))


def _counts_rows(rows: Node, size: Any) -> bool:
    """Tell whether positions are 0, 1, …, one for each of ``size`` rows; as a column, too."""
    if rows.op in (P.expand_dims, P.reshape) and rows.spec.shape == (size, 1):
        rows = rows.inputs[0]
    if rows.spec.shape not in ((size,), (size, 1)):
        return False
    return rows.op is P.positions or (
        rows.op is CONSTANT and np.ravel(rows.value).tolist() == list(range(len(rows.value)))
    )


def _flat(s: Simplifier, column: Node) -> Node:
    """Return labels (m, 1) as (m,)."""
    if column.spec.ndim == 1:
        return column
    if column.op is P.expand_dims and column.params["axis"] == (1,):
        return column.inputs[0]
    flat: Node = P.reshape(s(column), shape=column.spec.shape[:1]).node
    return flat


def _is_known(node: Node) -> bool:
    """Tell whether a number is made of constants and sizes only: finite, whatever the data."""
    if node.spec.ndim:
        return False
    return node.op in (CONSTANT, P.size) or (bool(node.inputs) and all(map(_is_known, node.inputs)))


@rule("labels as one-hot rows", "c at column yᵢ of each row i, else 0, is c one-hot(y)", "rounding", P.index_add)
def _one_hot_rows(s: Simplifier, ct: Node, *picks: Node, index: Any, shape: Any) -> Any:
    if len(picks) != 2 or index != (Pick(0), Pick(1)) or len(shape) != 2 or not _counts_rows(picks[0], shape[0]):
        return None
    c = ct
    while c.op is P.broadcast_to or (c.op is P.negative and c.spec.ndim):
        c = c.inputs[0]
    negative = sum(x.op is P.negative and x.spec.ndim > 0 for x in _down(ct, c)) % 2 == 1
    if not _is_known(c) or isinstance(shape[1], Dim) or shape[1] > _MOST_CLASSES:
        return None
    eye = np.eye(shape[1], dtype=ct.spec.dtype)
    eye.flags.writeable = False
    unit = s(s.shared(("eye", shape[1], ct.spec.dtype), Node(CONSTANT, (), {}, P.spec_of(eye), eye)))
    if picks[1].spec.shape not in (shape[:1], (shape[0], 1)):
        return None
    rows = P.getitem(unit, s(_flat(s, picks[1])), index=_ROWS)
    return rows * (-s(c) if negative else s(c))


@rule("a shift of scores cancels", "log Σ exp(z − c) − (zᵢ − c) = log Σ exp(z) − zᵢ", "extends", P.subtract)
def _shifted_scores(s: Simplifier, a: Node, b: Node) -> Any:
    total, picked = (a, b) if a.op is P.logsumexp else (b, a)
    if total.op is not P.logsumexp or picked.op is not P.getitem or picked.inputs[0] is not total.inputs[0]:
        return None
    x, *picks = picked.inputs
    if total.params != {"axis": (1,), "keepdims": False} or picked.params["index"] != (Pick(0), Pick(1)):
        return None
    if x.op is not P.subtract or x.spec.ndim != 2 or not _counts_rows(picks[0], x.spec.shape[0]):
        return None
    z, c = x.inputs
    if z.spec.shape != x.spec.shape or not alike(z, c) or not cancels(c, z, x.spec.shape, (1,)):
        return None
    if picked.spec.shape != total.spec.shape:
        return None
    scores = P.logsumexp(s(z), **total.params), P.getitem(s(z), *[s(y) for y in picks], **picked.params)
    return scores[0] - scores[1] if total is a else scores[1] - scores[0]


def _down(top: Node, bottom: Node) -> list[Node]:
    """The nodes from one to another along first inputs, the last one left out."""
    found = []
    while top is not bottom:
        found.append(top)
        top = top.inputs[0]
    return found


@rule("sum of what was put at one place in each row", "Σₖ (v at k = yᵢ) = v", "rounding", P.sum_)
def _scatter_sum(s: Simplifier, x: Node, axis: tuple[int, ...], keepdims: bool) -> Any:
    if x.op is not P.index_add or x.spec.ndim != 2 or axis != (1,) or len(x.inputs) != 3:
        return None
    ct, rows, columns = x.inputs
    if x.params["index"] != (Pick(0), Pick(1)) or ct.spec.shape != rows.spec.shape:
        return None
    if rows.spec.ndim != 1 or not _counts_rows(rows, x.spec.shape[0]) or columns.spec.shape != rows.spec.shape:
        return None
    return P.expand_dims(s(ct), axis=(1,)) if keepdims else ct


@rule("sum of equal numbers", "Σ c = n c", "rounding", P.sum_)
def _sum_broadcast(s: Simplifier, x: Node, axis: tuple[int, ...], keepdims: bool) -> Any:
    if x.op is P.broadcast_to and x.inputs[0].spec.ndim == 0 and not s.collecting and x.spec.dtype.kind == "f":
        return s(x.inputs[0]) * P.count_of(s(x), axis)
    return None
