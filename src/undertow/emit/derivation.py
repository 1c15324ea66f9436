"""The derivation of a backward pass: the chain rule step by step, as text or as a LaTeX document."""

from __future__ import annotations

import re
import textwrap
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, Protocol

import numpy as np

from undertow.emit import words
from undertow.emit.chain import Chain, Step
from undertow.emit.program import plan
from undertow.errors import ArgumentError
from undertow.graph import CONSTANT, INPUT, Graph, Node


class FiredRule(Protocol):
    """What is told of a simplification."""

    name: str
    equation: str
    exactness: Any
    at: str
    count: int
    routine: bool


_EXACTNESS: Final = {
    "exact": "exact: the same bits",
    "rounding": "the same real number; only the rounding differs",
    "extends": "the same real number, and finite where the original overflows",
}

_WHY: Final = {
    "softmax": "both sides are the same quotient; softmax subtracts the largest z first, so that exp cannot overflow",
    "softmax does not change with a shift": "exp(−c) is a factor of numerator and denominator, and cancels",
    "log of a softmax": "the logarithm of a quotient is a difference, and log exp(z) = z",
    "log of a sum of exponentials": "a name for the same value, computed with the largest z taken out",
    "sigmoid": "a name for the same value; computed by the exponential that cannot overflow",
    "complement of a sigmoid": "1 − 1/(1 + exp(−z)) = exp(−z)/(1 + exp(−z)) = 1/(1 + exp(z))",
    "log of a sigmoid": "the logarithm of a reciprocal is minus the logarithm",
    "log of what is never 0": "a softmax or a sigmoid is never 0, so the guard of 0 log 0 chooses p everywhere",
    "softplus": "a name for the same value; log(1 + exp(z)) without the overflow",
    "collected terms": "the products are multiplied out, equal terms cancel, and the common factor is taken out",
    "factor out of a sum": "each term has the same factor",
    "rows of one-hot labels sum to 1": "each row holds a single 1",
    "one and zero": "1 changes no product, and 0 no sum",
    "broadcasting is implied": "NumPy repeats the smaller operand by itself",
}


def derive(
    plain: Graph,
    simplified: Graph,
    rules: Sequence[FiredRule],
    *,
    values: Mapping[str, Any] | None = None,
    format: Literal["text", "latex"] = "text",
) -> str:
    """Tell the chain rule from the loss back to the arguments.

    Args:
        plain: outputs (loss, *gradients) as the chain rule gives them.
        simplified: the same after simplification; what the emitted source computes.
        rules: the simplifications that were used.
        values: numbers to show, by name: ``z1``, ``dz1``.
        format: ``"text"``, or ``"latex"`` for a document that compiles with amsmath alone.

    Returns:
        The derivation.

    Raises:
        ArgumentError: another format.
    """
    if format == "text":
        return _Text(plain, simplified, rules, values or {}).write()
    if format == "latex":
        return _Latex(plain, simplified, rules, values or {}).write()
    raise ArgumentError(f"format={format!r}: there are 'text' and 'latex'.")


class _Document:
    """What both formats share."""

    latex = False

    def __init__(self, plain: Graph, simplified: Graph, rules: Sequence[FiredRule], values: Mapping[str, Any]) -> None:
        self.title, self.rules, self.values = plain.title, rules, values
        self.chain = Chain(plain, self.latex)
        program = plan(simplified)
        self.program = {s.name: s.code for s in (*program.forward, *program.backward)}
        self.told = set(self.chain.names.values())  # what the reader knows by its name
        self.own = {f"d{self.chain.names[step.node]}" for step in self.chain.steps}

    def forward(self) -> list[Node]:
        """Return the named values of the forward pass, in order."""
        chain = self.chain
        return [x for x in chain.nodes if x in chain.names and x.op is not INPUT and x.op is not CONSTANT]

    def inputs(self) -> list[Node]:
        """Return the arguments that the loss depends on."""
        return [x for x in self.chain.graph.inputs if x in self.chain.names]

    def in_program(self, step: Step) -> list[str]:
        """Return the names that the emitted source computes for this gradient, those before that were not told yet."""
        found: list[str] = []
        self._find(f"d{self.chain.names[step.node]}", found)
        return found

    def _find(self, name: str, found: list[str]) -> None:
        """Add a name of the program behind those that its line reads; a gradient that has a step is told there."""
        if name not in self.program or name in self.told:
            return
        self.told.add(name)
        for part in re.findall(r"(?<![.\w])[^\W\d]\w*", self.program[name]):
            if part not in self.own:
                self._find(part, found)
        found.append(name)

    def uses(self, step: Step) -> list[str]:
        """Return the definitions of the values that read this one, each once."""
        chain = self.chain
        users = list(dict.fromkeys(use.user for use in step.uses))
        return [f"{chain.called(user)} = {chain.definition(user)}" for user in users]

    def notes(self, step: Step) -> list[str]:
        """Return what is to be said of a step, each remark once."""
        return list(dict.fromkeys(note for use in step.uses for note in use.notes))

    def number(self, name: str) -> str | None:
        """Return a value's numbers, a large array's in part."""
        if name not in self.values:
            return None
        value, texts = np.asarray(self.values[name]), [""]

        def show(x: Any) -> str:
            texts.append(f"{x:.4g}" if x else "0")
            return texts[-1].rjust(len(texts[0]))

        for _ in range(2):  # the second time all are as wide as the widest
            text = np.array2string(value, formatter={"float_kind": show}, threshold=24, edgeitems=2)
            texts = [max(texts, key=len)]
        return text

    def main_rules(self) -> tuple[list[FiredRule], list[str]]:
        """Return the rules worth telling, and the names of those about shapes, copies and signs."""
        told = [rule for rule in self.rules if not rule.routine]
        return told, [rule.name for rule in self.rules if rule.routine]

    def why(self, rule: FiredRule) -> tuple[str, str]:
        """Return why a rule holds, and how exact it is."""
        return _WHY.get(rule.name, ""), _EXACTNESS.get(str(rule.exactness), str(rule.exactness))


class _Text(_Document):
    def write(self) -> str:
        """Write the whole."""
        parts = [self._head(), self._forward(), "\n\n".join(["Backward pass", *self._steps()])]
        if self.rules:
            parts.append(self._simplifications())
        return "\n\n\n".join(parts) + "\n"

    def _head(self) -> str:
        title = f"The backward pass of {self.title}, derived"
        notes = (
            f"L is {self.chain.called(self.chain.loss)}, the loss: one number. ∂L/∂v has the shape of v; each element "
            f"says how much L changes with that element of v. δ is short for ∂L/∂z, the gradient by a pre-activation. "
            f"⊙ multiplies element by element; two names side by side are a matrix product."
        )
        return "\n".join([title, "=" * len(title), "", textwrap.fill(notes, 96)])

    def _forward(self) -> str:
        chain = self.chain
        given = ", ".join(f"{chain.called(x)} {chain.shape(x)}" for x in self.inputs())
        rows = [(f"{chain.called(x)} = {chain.definition(x)}", chain.shape(x), x) for x in self.forward()]
        wide = min(max((len(row[0]) for row in rows), default=0), 60)
        middle = max((len(row[1]) for row in rows), default=0)
        lines = []
        for text, shape, node in rows:
            lines.append(f"    {text:<{wide}}  {shape:<{middle}}  {node.line or ''}".rstrip())
            lines += self._numbers(chain.names[node])
        given = textwrap.fill(f"Given {given}.", 96, initial_indent="    ", subsequent_indent="    ")
        return "\n".join(["Forward pass", "", given, "", *lines])

    def _steps(self) -> list[str]:
        chain = self.chain
        loss = chain.called(chain.loss)
        steps = [f" 1. L = {loss}. Start: ∂L/∂L = 1."]
        for number, step in enumerate(chain.steps, 2):
            name = chain.names[step.node]
            symbol, partial = chain.symbol(step.node), words.derivative("L", name, False)
            uses = self.uses(step)
            times = f" {len(step.uses)} times" if len(step.uses) > 1 else ""
            lines = [f"{number:2}. {name}  {chain.shape(step.node)}"]
            lines += textwrap.wrap(
                f"used{times} in {'; in '.join(uses)}", 96, initial_indent="    ", subsequent_indent="      "
            )
            if len(step.uses) > 1:
                lines.append("    What flows back along each use adds up.")
            head = f"{symbol} = {partial}" if symbol != partial else symbol
            rule = chain.chain_rule(step)
            pad = " " * (len(head) + 4)
            lines += [
                "",
                f"    {head} = {rule}" if rule != partial else f"    {head}",
                f"{pad} = {chain.formula(step)}",
            ]
            if rule == partial:
                lines[-2:] = [f"    {head} = {chain.formula(step)}"]
            lines += [f"    ({note})" for note in self.notes(step)]
            for code, start in zip(
                self.in_program(step), ["in the program:", *[" " * 15] * len(self.program)], strict=False
            ):
                lines.append(f"    {start} {code} = {self.program[code]}")
                lines += self._numbers(code)
            steps.append("\n".join(lines))
        return steps

    def _numbers(self, name: str) -> list[str]:
        text = self.number(name)
        if text is None:
            return []
        return [
            f"        {line}" for line in f"{name} = {text}".replace("\n", "\n" + " " * (len(name) + 3)).split("\n")
        ]

    def _simplifications(self) -> str:
        lines = ["Simplifications", "", "The program computes the formulas above after these rewrites:", ""]
        told, small = self.main_rules()
        for rule in told:
            why, exactness = self.why(rule)
            times = f", {rule.count} times" if rule.count > 1 else ""
            lines.append(f"  - {rule.name}: {rule.equation}")
            lines.append(f"      first at {rule.at}{times}; {exactness}")
            if why:
                lines.append(f"      {why}")
        if small:
            text = f"and, exact but for the sign of a zero: {', '.join(small)}"
            lines += textwrap.wrap(text, 96, initial_indent="  - ", subsequent_indent="      ")
        return "\n".join(lines)


_MATH: Final = {
    "Σ": r"\sum ", "−": "-", "σ": r"\sigma ", "½": r"\tfrac12 ", "¼": r"\tfrac14 ", "¾": r"\tfrac34 ", "·": r"\cdot ",
    "ᵀ": r"^\top ", "²": "^2", "³": "^3", "ᵏ": "^k ", "ⁿ": "^n ", "⁻": "^{-}", "¹": "^1", "×": r"\times ",
    "⊙": r"\odot ", "∂": r"\partial ", "δ": r"\delta ", "ε": r"\varepsilon ", "λ": r"\lambda ", "μ": r"\mu ",
    "π": r"\pi ", "∞": r"\infty ", "ₖ": "_k ", "ᵢ": "_i ", "ⱼ": "_j ", "₀": "_0", "₁": "_1", "₂": "_2", "′": "'",
    "≤": r"\le ", "≥": r"\ge ", "≠": r"\ne ", "≈": r"\approx ", "→": r"\to ", "√": r"\surd ", "Π": r"\prod ",
    "…": r"\ldots ", "⌊": r"\lfloor ", "⌋": r"\rfloor ",
}  # fmt: skip
_ESCAPES: Final = {
    "\\": r"\textbackslash{}", "_": r"\_", "{": r"\{", "}": r"\}", "&": r"\&", "%": r"\%", "#": r"\#", "$": r"\$",
    "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': "''",
}  # fmt: skip


def plain_letter(c: str) -> str:
    """Write a letter in ASCII: without its accents, or by its code."""
    base = unicodedata.normalize("NFD", c)[0]
    return base if base.isascii() else f"u{ord(c):04x}"


def latex_text(text: str) -> str:
    """Escape text for LaTeX; mathematical characters become formulas, and only ASCII remains."""
    out = []
    for c in text:
        if c in _ESCAPES:
            out.append(_ESCAPES[c])
        elif c.isascii():
            out.append(c)
        else:
            out.append(f"${{}}{_MATH[c].strip()}$" if c in _MATH else plain_letter(c))
    return "".join(out)


class _Latex(_Document):
    latex = True

    def write(self) -> str:
        """Write the whole document."""
        title = latex_text(f"The backward pass of {self.title}, derived")
        parts = [
            "\\documentclass{article}\n\\usepackage{amsmath}\n\\allowdisplaybreaks\n"
            "\\textwidth=17cm \\oddsidemargin=-5mm \\emergencystretch=3em\n"
            f"\\title{{{title}}}\n\\author{{Undertow}}\n\\date{{}}\n\n\\begin{{document}}\n\\maketitle",
            self._head(),
            self._forward(),
            "\\section*{Backward pass}",
            *self._steps(),
        ]
        if self.rules:
            parts.append(self._simplifications())
        return "\n\n".join([*parts, "\\end{document}"]) + "\n"

    def _head(self) -> str:
        return (
            f"$L$ is ${self.chain.called(self.chain.loss)}$, the loss: one number. "
            r"$\frac{\partial L}{\partial v}$ has the shape of $v$; $\delta$ is short for "
            r"$\frac{\partial L}{\partial z}$, the gradient by a pre-activation. $\odot$ multiplies element by "
            r"element; two names side by side are a matrix product."
        )

    def _shape(self, node: Node) -> str:
        return self.chain.shape(node).replace(" * ", r" \cdot ")

    def _forward(self) -> str:
        chain = self.chain
        given = ", ".join(f"${chain.called(x)}$ ${self._shape(x)}$" for x in self.inputs())
        rows = [rf"{chain.called(x)} &= {chain.definition(x)} && {self._shape(x)}" for x in self.forward()]
        numbers = [self._numbers(chain.names[x]) for x in self.forward()]
        body = " \\\\\n".join(rows)
        table = f"\\begin{{align*}}\n{body}\n\\end{{align*}}" if rows else ""
        return "\n\n".join(["\\section*{Forward pass}", f"Given {given}.", table, *(text for text in numbers if text)])

    def _steps(self) -> list[str]:
        chain = self.chain
        steps = [rf"Start: $\frac{{\partial L}}{{\partial L}} = 1$, where $L = {chain.called(chain.loss)}$."]
        for step in chain.steps:
            name = chain.names[step.node]
            symbol, partial = chain.symbol(step.node), words.derivative("L", words.symbol(name, True), True)
            uses = "; in ".join(f"${text}$" for text in self.uses(step))
            times = f" {len(step.uses)} times" if len(step.uses) > 1 else ""
            more = " What flows back along each use adds up." if len(step.uses) > 1 else ""
            head = f"{symbol} = {partial}" if symbol != partial else symbol
            rule = chain.chain_rule(step)
            rows = (
                [f"{head} &= {rule}", f"&= {chain.formula(step)}"]
                if rule != partial
                else [f"{head} &= {chain.formula(step)}"]
            )
            body = " \\\\\n".join(rows)
            lines = [
                rf"\paragraph{{${chain.called(step.node)}$, ${self._shape(step.node)}$}} used{times} in {uses}.{more}",
                f"\\begin{{align*}}\n{body}\n\\end{{align*}}",
            ]
            notes = [f"{_upper(note)}." for note in self.notes(step)]
            names = self.in_program(step)
            if names:
                code = ", ".join(rf"\texttt{{{latex_text(f'{name} = {self.program[name]}')}}}" for name in names)
                notes.append(f"In the program: {code}.")
            lines += [_ascii(" ".join(notes))] if notes else []
            lines += [text for text in map(self._numbers, names) if text]
            steps.append("\n".join(lines))
        return [_ascii(text) for text in steps]

    def _numbers(self, name: str) -> str:
        text = self.number(name)
        if text is None:
            return ""
        return f"\\begin{{verbatim}}\n{_ascii(name)} =\n{text}\n\\end{{verbatim}}"

    def _simplifications(self) -> str:
        items = []
        told, small = self.main_rules()
        for rule in told:
            why, exactness = (latex_text(text) for text in self.why(rule))
            times = f", {rule.count} times" if rule.count > 1 else ""
            items.append(
                rf"\item \textbf{{{latex_text(rule.name)}}}: {latex_text(rule.equation)}"
                f"\n  (first at {latex_text(rule.at)}{times}; {exactness}).{' ' + _upper(why) + '.' if why else ''}"
            )
        if small:
            items.append(rf"\item Exact but for the sign of a zero: {latex_text(', '.join(small))}.")
        return "\\section*{Simplifications}\n\n\\begin{itemize}\n" + "\n".join(items) + "\n\\end{itemize}"


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:] if text[:1].isalpha() else text


def _ascii(text: str) -> str:
    return re.sub(r"[^\x00-\x7f]", lambda found: _MATH.get(found.group()) or plain_letter(found.group()), text)
