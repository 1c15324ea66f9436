"""Expressions in the textbook's words or in LaTeX, from the templates in the primitives' records."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from string import Formatter
from typing import Any

from undertow.emit.literals import write_number
from undertow.graph import CONSTANT, Dim, Graph, Node
from undertow.primitives.record import Code
from undertow.primitives.template import spell_key

_FIELDS = 0xE000  # private characters stand for the fields of a template while it is taken apart
_OPENING, _CLOSING = "([{", ")]}"
WORDS, SUM, PRODUCT, ATOM = 0, 1, 2, 3


def level(text: str) -> int:
    """Tell how tightly a piece of text binds: words, sums, products, atoms."""
    outer = _outside_brackets(text)
    if re.search(r" where |, else| for each| with | put back", outer):
        return WORDS
    if re.search(r" [+−-] |^[−-]|^Σ|^\\sum", outer):
        return SUM
    return PRODUCT if " " in outer.strip() or "/" in outer else ATOM


def _outside_brackets(text: str) -> str:
    out, depth = [], 0
    for c in text:
        depth -= c in _CLOSING
        if depth == 0 and c not in _CLOSING:
            out.append("_" if c in _OPENING else c)
        depth += c in _OPENING
    return "".join(out)


def fill(template: str, values: Mapping[str, str]) -> str:
    """Fill a template; a value that binds less tightly than its place is set in parentheses."""
    names: list[str] = []
    skeleton = ""
    for literal, name, _, _ in Formatter().parse(template):
        skeleton += literal
        if name is not None:
            skeleton += chr(_FIELDS + len(names))
            names.append(name)
    result = skeleton
    for i, name in enumerate(names):
        mark = chr(_FIELDS + i)
        value = values.get(name, "…")
        at = skeleton.index(mark)
        bare = value[1:] if at == 0 and value[:1] in "−-" else value  # −1 / m needs no parentheses at the front
        if value[:1] in "−-" and skeleton[:at] in ("−", "-") and level(value[1:]) >= PRODUCT:
            inside = _unwrap(value[1:]) if len(skeleton) == 2 else value[1:]
            result = result[1:].replace(mark, inside)  # minus minus is plus
            continue
        if level(bare) < _needed(skeleton, at):
            value = f"({value})"
        if skeleton[at + 1 : at + 2] in ("^", "_"):
            value = f"{{{value}}}"  # LaTeX takes no second index or exponent
        result = result.replace(mark, value)
    # a factor 1 is not written
    return re.sub(r"(^|[(−-])1 (?:⊙|\\odot) ", r"\1", result)


def _unwrap(text: str) -> str:
    """Take off parentheses around the whole of a text."""
    whole = text[:1] == "(" and _edge(text[1:], _OPENING, _CLOSING) == len(text) - 2 and ", " not in text
    return text[1:-1] if whole else text


def _needed(skeleton: str, at: int) -> int:
    """Tell how tightly the value at one place of a template has to bind."""
    before, after = skeleton[:at], skeleton[at + 1 :]
    if after[:1] in ("ᵀ", "²", "^", "[", "_") or before[-1:] in ("√", "2"):
        return ATOM
    start = _edge(before[::-1], _CLOSING, _OPENING)
    stop = _edge(after, _OPENING, _CLOSING)
    segment = before[len(before) - start :] + skeleton[at] + after[:stop]
    if len(segment.strip()) == 1:
        return WORDS
    if re.fullmatch(r".(ᵀ|\^\\top)? .(ᵀ|\^\\top)?", segment.strip()):
        return ATOM  # a matrix product, written side by side: δ₂ W₂ᵀ, but (δ₂ ⊙ h) W₂ᵀ
    if re.search(r"(^|[(\s])−$|(^|[(\s{])-$", before):
        return PRODUCT
    if before.endswith((" − ", " - ")):
        return PRODUCT
    if before.endswith(("/ ", "^ ")) or after.startswith(" ^"):
        return ATOM
    return max(level(segment), SUM)


def _edge(text: str, opening: str, closing: str) -> int:
    depth = 0
    for i, c in enumerate(text):
        if depth == 0 and (c in closing or text[i : i + 2] in (", ", " ,")):
            return i
        depth += (c in opening) - (c in closing)
    return len(text)


def symbol(name: str, latex: bool) -> str:
    """Write a name; in LaTeX its number becomes an index."""
    if not latex:
        return name
    stem, digits = re.fullmatch(r"(.*?)_?(\d*)", name).groups()  # type: ignore[union-attr]
    stem = "".join(map(_letter, stem.replace("_", r"\_")))
    body = stem if len(stem) == 1 or stem.startswith("\\") else rf"\mathrm{{{stem}}}"
    return f"{body}_{{{digits}}}" if digits and stem else body if stem else digits


_LETTERS = {
    "α": r"\alpha ", "β": r"\beta ", "γ": r"\gamma ", "δ": r"\delta ", "ε": r"\epsilon ", "η": r"\eta ",
    "θ": r"\theta ", "λ": r"\lambda ", "μ": r"\mu ", "σ": r"\sigma ", "φ": r"\phi ", "ψ": r"\psi ", "ω": r"\omega ",
}  # fmt: skip


_ACCENTS = {"\u0302": "hat", "\u0303": "tilde", "\u0304": "bar", "\u0307": "dot", "\u0308": "ddot", "\u0301": "acute"}


def _letter(c: str) -> str:
    """Write one letter of a name in LaTeX: Greek by its command, accents by theirs, others by their code."""
    if c.isascii() or c in _LETTERS:
        return _LETTERS.get(c, c)
    base, *marks = list(unicodedata.normalize("NFD", c))
    if not base.isascii():
        return f"u{ord(c):04x}"
    for mark in marks:
        base = rf"\{_ACCENTS[mark]}{{{base}}}" if mark in _ACCENTS else base
    return base


def gradient(name: str, latex: bool) -> str:
    """Write ∂L/∂h1; by a pre-activation z1 it is called δ1."""
    found = re.fullmatch(r"z_?(\d*)", name)
    if found:
        digits = found.group(1)
        return (rf"\delta_{{{digits}}}" if digits else r"\delta") if latex else f"δ{digits}"
    return derivative("L", symbol(name, latex), latex)


def derivative(above: str, below: str, latex: bool) -> str:
    """Write ∂a/∂b."""
    return rf"\frac{{\partial {above}}}{{\partial {below}}}" if latex else f"∂{above}/∂{below}"


def number(value: Any, latex: bool) -> str:
    """Write a constant number as people do: 2, not 2.0."""
    text = write_number(value)
    text = text.removesuffix(".0").replace("np.inf", r"\infty" if latex else "∞").replace("np.", "")
    found = re.fullmatch(r"(.*)e([+-]?)0*(\d+)", text)
    if latex and found:
        text = rf"{found[1]} \cdot 10^{{{found[2].strip('+')}{found[3]}}}"
    return text if latex else text.replace("-", "−", 1) if text.startswith("-") else text


def size_text(size: int | Dim, latex: bool) -> str:
    """Write a size."""
    text = str(size)
    return text.replace(" * ", r" \cdot " if latex else "·")


def meeting(node: Node, graph: Graph) -> str | None:
    """Name the place where an output function and its loss cancel to p − y, if a gradient is that.

    Args:
        node: the gradient.
        graph: that it stands in.

    Returns:
        ``softmax and cross-entropy: p − y``, or the same of a sigmoid; else None.

    Source: derived here.
    """
    inner = node
    while inner.op.name in ("divide", "multiply", "negative"):  # (p − y) / m
        arrays = [x for x in inner.inputs if x.spec.ndim]
        if len(arrays) != 1:
            return None
        inner = arrays[0]
    if inner.op.name != "subtract":
        return None
    sides = [x for side in inner.inputs for x in (side, *(side.inputs if side.op.name == "multiply" else ()))]
    for squash, losses in (("softmax", ("log_softmax", "logsumexp")), ("sigmoid", ("softplus",))):
        for p in (x for x in sides if x.op.name == squash):
            near = [y for x in graph.nodes if x.op.name in losses for y in (*x.inputs, *x.inputs[0].inputs)]
            if p.inputs[0] in near:
                return f"{squash} and cross-entropy: p − y"
    return None


def expression(node: Node, called: Callable[[Node], str | None], latex: bool, top: bool = False) -> str:
    """Write a value by its operation; operands that have a name are written by it.

    Args:
        node: the value.
        called: returns the name of a value, already a symbol; None for one to be written out.
        latex: LaTeX instead of text.
        top: write this node out even if it has a name.
    """
    if not top:
        name = called(node)
        if name is not None:
            return name
    if node.op is CONSTANT:
        if node.spec.shape == ():
            return number(node.value, latex)
        return r"\mathrm{const}" if latex else "const"
    if node.op.name == "size":
        return size_text(node.params["dim"], latex)
    op: Any = node.op
    operands = [expression(x, called, latex) for x in node.inputs]
    if op.name == "broadcast_to":
        return operands[0]
    if op.name == "concatenate":
        parts = ", ".join(operands)
        return rf"[{parts}]" if latex else f"join({parts})"
    template = op.latex if latex else op.text
    if op.name == "getitem":
        key = spell_key(node.params["index"], tuple(Code(text) for text in operands[1:]))
        array = operands[0] if level(operands[0]) == ATOM else f"({operands[0]})"
        return rf"{{{array}}}_{{[{key}]}}" if latex else f"{array}[{key}]"
    if op.name == "multiply" and any(not x.spec.shape for x in node.inputs):
        template = r"{0} \cdot {1}" if latex else "{0} · {1}"
    return fill(template, {str(i): text for i, text in enumerate(operands)})
