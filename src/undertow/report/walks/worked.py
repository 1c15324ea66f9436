"""Formulas with numbers in place of names: the template from which the page writes one element out."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from undertow.errors import ShapeError
from undertow.graph import Shape, broadcast_shapes

_MARKS = "ᵀ²³ᵏⁿ⁻¹"  # letters to a regular expression, but no part of a name
_NAME = rf"(?:∂L/∂)?(?!(?:where|else)\b)(?![{_MARKS}])[^\W\d](?:(?![{_MARKS}])\w)*"
_BARE = rf"(?<![\w∂/.]){_NAME}(?![(\[]|\w(?<![{_MARKS}]))"
_ONE = rf"(?:\({_BARE}\)|{_BARE})"
NAME = re.compile(_NAME)
_PARTS = re.compile(
    rf"(?P<log>log )?softmax\((?P<f>{_BARE})\)|mean\((?P<e>{_BARE})\)|(?:^|(?<=\())Σ (?P<q>{_BARE})(?=\)|$)"
    rf"|Σ_rows (?P<r>{_ONE})|(?P<a>{_ONE})(?P<s>ᵀ?) (?P<b>{_ONE})(?P<t>ᵀ?)|(?P<v>{_BARE})"
)
# What may stand between the names of a formula that holds element by element.
_BETWEEN = re.compile(
    r"(?:[\d.\s+−⊙·/()²³√|^]|e[−-]?\d+|(?:tanh|exp|log|sin|cos|tan|sinh|cosh|arctan|sign|step|σ)(?=\())*"
    r"|max\([\d.\s]*, [\d.\s]*\)|[\s⊙·−\d.()]* where [\s\d.]*[<>≥≤][\s\d.]*, else [\s⊙·−\d.()]*"
)


@dataclass(frozen=True)
class Named:
    """What a symbol of a formula stands for: the number of an array of the page, and its shape."""

    array: int
    shape: Shape


def work_out(
    formula: str,
    result: Shape,
    known: Mapping[str, Named],
    sizes: Mapping[str, int],
    whole: Collection[tuple[str, str]] = (),
) -> list[Any] | None:
    """Take a formula apart into text and names, for the page to put in the numbers of one element.

    Args:
        formula: ``"δ2 W2ᵀ"``, ``"∂L/∂h1 ⊙ (1 − h1²)"``.
        result: the shape of what it gives.
        known: what each symbol stands for.
        sizes: the numbers of symbolic sizes.
        whole: pairs such as ("softmax", "z2"): what is taken along rows, or of all of a vector, here.

    Returns:
        Text, and in place of names: ``["v", a]`` for a number of the array a at the element's place;
        ``["d", a, b, s, t]`` for a product of matrices, s and t telling whether each is transposed; ``["r", a]`` for
        a sum over rows; ``["f", a, log]`` for a softmax of a row or its logarithm; ``["q", a]`` and ``["e", a]`` for
        the sum and the mean of a row or a vector. None for a formula that does not hold element by element.
    """
    parts: list[Any] = []
    rest, at = "", 0
    for found in _PARTS.finditer(formula):
        text = formula[at : found.start()]
        part: Any = str(sizes[found["v"]]) if found["v"] in sizes else _part(found, result, known, whole)
        if part is None:
            return None
        rest += text
        parts += [text, part]
        at = found.end()
    rest += formula[at:]
    parts.append(formula[at:])
    if not _BETWEEN.fullmatch(rest) or all(isinstance(part, str) for part in parts):
        return None
    joined: list[Any] = []
    for part in parts:
        if isinstance(part, str) and joined and isinstance(joined[-1], str):
            joined[-1] += part
        elif part:
            joined.append(part)
    return [part.replace("⊙", "·") if isinstance(part, str) else part for part in joined]


def _part(
    found: re.Match[str], result: Shape, known: Mapping[str, Named], whole: Collection[tuple[str, str]]
) -> list[Any] | None:
    """One name, product or sum, if its shape goes with the result's."""

    def look(key: str) -> Named | None:
        return known.get(found[key].strip("()"))

    if found["v"]:
        x = look("v")
        return ["v", x.array] if x is not None and _fits(x.shape, result) else None
    for key, name in (("f", "softmax"), ("q", "sum"), ("e", "mean")):
        if found[key]:
            x = look(key)
            if x is None or (name, found[key]) not in whole:
                return None
            if key == "f":
                return ["f", x.array, int(bool(found["log"]))] if x.shape == result else None
            return [key, x.array] if x.shape[:-1] in (result, result[:-1]) else None
    if found["r"]:
        x = look("r")
        return ["r", x.array] if x is not None and len(x.shape) == 2 and x.shape[1:] == result else None
    a, b = look("a"), look("b")
    if a is None or b is None or len(a.shape) != 2 or len(b.shape) != 2:
        return None
    rows, inner = a.shape[::-1] if found["s"] else a.shape
    inner_too, columns = b.shape[::-1] if found["t"] else b.shape
    if (rows, columns) != result or inner != inner_too:
        return None
    return ["d", a.array, b.array, int(bool(found["s"])), int(bool(found["t"]))]


def _fits(shape: Shape, result: Shape) -> bool:
    if len(result) > 2 or len(shape) > 2:
        return shape == result or not shape
    try:
        return broadcast_shapes(shape, result) == result and len(shape) <= len(result)
    except ShapeError:
        return False
