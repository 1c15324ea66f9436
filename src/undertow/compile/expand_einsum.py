"""einsum and tensordot as matrix products of two arrays at a time, in an order that multiplies and stores little."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import combinations
from string import ascii_letters
from typing import Any

import numpy as np

from undertow import primitives as P
from undertow.compile.access import layout_of

FEW = 5  # arrays of which all orders are looked at: 180; of more the next product is the one that takes least
STORED = 8  # multiplications that take as long as a number that is written and read again


def _einsum(*arrays: Any, subscripts: str, **_: Any) -> Any:
    """Contract two at a time, each time by a matrix product; None for an ellipsis."""
    inputs, arrow, output = subscripts.replace(" ", "").partition("->")
    if "." in subscripts or not arrow:
        return None
    dtype = np.result_type(*(x.dtype for x in arrays))  # as NumPy brings them together
    arrays = tuple(x if x.dtype == dtype else P.astype(x, dtype=dtype) for x in arrays)
    left = [_diagonals(x, term) for x, term in zip(arrays, inputs.split(","), strict=True)]
    sizes: dict[str, int] = {}
    for x, term in left:
        for letter, size in zip(term, x.shape, strict=True):
            sizes[letter] = size if sizes.get(letter, 1) == 1 else sizes[letter]
    for i, j in find_order([term for _, term in left], sizes, output):
        other, more = left.pop(j)
        later = set(output).union(*(term for k, (_, term) in enumerate(left) if k != i))
        left[i] = _contract(*left[i], other, more, later, output if len(left) == 1 else "")
    x, labels = _sum_own(*left[0], set(output))
    return P.transpose(x, axes=tuple(labels.index(c) for c in output)) if labels != output else x


def find_order(terms: Sequence[str], sizes: dict[str, int], output: str) -> list[tuple[int, int]]:
    """Which two arrays to multiply at each step; the product takes the place of the first of them.

    The gradient of ``abc,ia,jb,kc->ijk`` by the second array is ``ijk,abc,jb,kc->ia``: from left to right its first
    product has ijkabc numbers, the largest one of its best order jkbc.

    Args:
        terms: the letters of each array.
        sizes: of each letter.
        output: the letters of the result.
    """
    return _search([frozenset(term) for term in terms], sizes, frozenset(output), math.inf)[1]


def _search(
    terms: list[frozenset[str]], sizes: dict[str, int], output: frozenset[str], bound: float
) -> tuple[float, list[tuple[int, int]]]:
    """The cost of the best order and that order; none where it costs ``bound`` or more."""
    if len(terms) < 2:
        return 0.0, []
    steps = []
    for i, j in combinations(range(len(terms)), 2):
        rest = [term for k, term in enumerate(terms) if k not in (i, j)]
        later = output.union(*rest)
        kept = (terms[i] | terms[j]) & later
        multiplied = kept | (terms[i] & terms[j])  # what stands in one alone and is not kept is summed before
        cost = math.prod(sizes[c] for c in multiplied) + STORED * math.prod(sizes[c] for c in kept)
        steps.append((cost, (i, j), [*rest[:i], kept, *rest[i:]]))
    if len(terms) > FEW:
        steps = [min(steps, key=lambda step: step[0])]
    best: list[tuple[int, int]] = []
    for cost, pair, after in steps:
        if cost < bound:
            more, order = _search(after, sizes, output, bound - cost)
            if cost + more < bound:
                bound, best = cost + more, [pair, *order]
    return bound, best


def _diagonals(x: Any, labels: str) -> tuple[Any, str]:
    """Read a diagonal wherever a letter is there twice; it is the last axis then."""
    for c in dict.fromkeys(labels):
        while labels.count(c) > 1:
            i, j = labels.index(c), labels.rindex(c)
            x = P.diagonal(x, offset=0, axis1=i, axis2=j)
            labels = "".join(d for k, d in enumerate(labels) if k not in (i, j)) + c
    return x, labels


def _contract(a: Any, la: str, b: Any, lb: str, later: set[str], wanted: str = "") -> tuple[Any, str]:
    """Multiply two arrays and sum over the letters that nothing later asks for; where known, as ``wanted``."""
    a, la = _drop_single(a, la, dict(zip(lb, b.shape, strict=True)))
    b, lb = _drop_single(b, lb, dict(zip(la, a.shape, strict=True)))
    a, la = _sum_own(a, la, set(lb) | later)
    b, lb = _sum_own(b, lb, set(la) | later)
    shared = [c for c in la if c in lb]
    batch, summed = [c for c in shared if c in later], [c for c in shared if c not in later]
    own_a, own_b = [c for c in la if c not in lb], [c for c in lb if c not in la]
    sizes = {**dict(zip(la, a.shape, strict=True)), **dict(zip(lb, b.shape, strict=True))}

    far_a, far_b = (_distances(x, labels) for x, labels in ((a, la), (b, lb)))
    own_a.sort(key=far_a.__getitem__, reverse=True)
    own_b.sort(key=far_b.__getitem__, reverse=True)
    summed.sort(key=(far_a if a.size >= b.size else far_b).__getitem__, reverse=True)
    if not summed:
        letters = "".join(c for c in wanted if c in sizes) or "".join((*batch, *own_a, *own_b))
        return _along(a, la, letters) * _along(b, lb, letters), letters

    def matrix(x: Any, labels: str, far: dict[str, int], rows: list[str], columns: list[str]) -> Any:
        """Neighbours in memory stay neighbours: a copy of windows is then one of long runs, and made once."""
        turned = bool(rows and columns) and min(far[c] for c in rows) < min(far[c] for c in columns)
        first, last = (columns, rows) if turned else (rows, columns)
        order = tuple(labels.index(c) for c in (*batch, *first, *last))
        shape = (*[sizes[c] for c in batch], math.prod(sizes[c] for c in first), math.prod(sizes[c] for c in last))
        x = P.reshape(P.transpose(x, axes=order), shape=shape)
        n = len(batch)
        return P.transpose(x, axes=(*range(n), n + 1, n)) if turned else x

    product = P.matmul(matrix(a, la, far_a, own_a, summed), matrix(b, lb, far_b, summed, own_b))
    letters = "".join((*batch, *own_a, *own_b))
    return P.reshape(product, shape=tuple(sizes[c] for c in letters)), letters


def _along(x: Any, labels: str, letters: str) -> Any:
    """Bring an array's axes to where their letters are among those of a product, which may have more."""
    x = P.transpose(x, axes=tuple(sorted(range(len(labels)), key=lambda i: letters.index(labels[i]))))
    missing = tuple(i for i, c in enumerate(letters) if c not in labels)
    return P.expand_dims(x, axis=missing) if missing else x


def _tensordot(a: Any, b: Any, over_a: tuple[int, ...], over_b: tuple[int, ...]) -> Any:
    """Sum over pairs of axes; the others follow each other."""
    la, lb = ascii_letters[: a.ndim], list(ascii_letters[a.ndim : a.ndim + b.ndim])
    for i, j in zip(over_a, over_b, strict=True):
        lb[j] = la[i]
    x, labels = _contract(a, la, b, "".join(lb), {c for c in (*la, *lb) if (c in la) != (c in lb)})
    kept = [*[c for c in la if c not in lb], *[c for c in lb if c not in la]]
    return P.transpose(x, axes=tuple(labels.index(c) for c in kept))


def _distances(x: Any, labels: str) -> dict[str, int]:
    """How far apart in memory neighbours along each axis are."""
    found = layout_of(x.node)
    return {
        c: 2**62 if size == 1 else abs(stride)
        for c, size, stride in zip(labels, found.shape, found.strides, strict=True)
    }


def _drop_single(x: Any, labels: str, size: dict[str, int]) -> tuple[Any, str]:
    """Leave out the axes of size 1 that the other array is longer along."""
    gone = tuple(i for i, c in enumerate(labels) if x.shape[i] == 1 and size.get(c, 1) != 1)
    kept = "".join(c for i, c in enumerate(labels) if i not in gone)
    return (P.squeeze(x, axis=gone), kept) if gone else (x, labels)


def _sum_own(x: Any, labels: str, wanted: set[str]) -> tuple[Any, str]:
    gone = tuple(i for i, c in enumerate(labels) if c not in wanted)
    kept = "".join(c for c in labels if c in wanted)
    return (P.sum_(x, axis=gone, keepdims=False), kept) if gone else (x, labels)


EINSUM: dict[str, Callable[..., Any]] = {"einsum": _einsum, "einsum_diagonal": _einsum, "tensordot": _tensordot}
