"""One way to look at a network: its nodes, the edges between them, and the steps of both passes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from undertow.graph import Node
from undertow.report.walks.layout import lay_out

FORWARD, LOSS, BACKWARD, UPDATE = "forward", "loss", "backward", "update"


@dataclass
class Panel:
    """An array of a step: what it is called, its number among the arrays, and which part it plays.

    ``role`` is ``"value"``, ``"gradient"``, ``"local"`` (a local derivative), ``"update"`` or ``"operand"``.
    """

    label: str
    array: int
    role: str

    def plain(self) -> list[Any]:
        """Return it as JSON."""
        return [self.label, self.array, self.role]


@dataclass
class Step:
    """One moment of a walk.

    Attributes:
        phase: forward, loss, backward or update.
        node: the number of the node it is about.
        title: what happens, in a few words.
        formulas: pairs (what the line is, the formula).
        panels: the arrays to show, the one that the step computes first.
        notes: what is to be said beside the formulas.
        line: of the source, from 1; 0 where there is none.
        quote: whether that line computes what the step shows, and is told with the formulas.
        also: further lines that compute something of it.
        work: the label of the result and the parts of its formula, see `work_out`.
    """

    phase: str
    node: int
    title: str
    formulas: list[tuple[str, str]]
    panels: list[Panel]
    notes: list[str] = field(default_factory=list)
    line: int = 0
    quote: bool = False
    work: tuple[str, list[Any]] | None = None
    also: list[int] = field(default_factory=list)

    def plain(self) -> dict[str, Any]:
        """Return it as JSON; what is empty is left out."""
        made: dict[str, Any] = {
            "phase": self.phase,
            "node": self.node,
            "title": self.title,
            "formulas": [list(row) for row in self.formulas],
            "panels": [panel.plain() for panel in self.panels],
        }
        if self.notes:
            made["notes"] = self.notes
        if self.line:
            made["line"] = self.line
        if self.quote:
            made["quote"] = 1
        if self.also:
            made["also"] = self.also
        if self.work:
            made["work"] = list(self.work)
        return made


@dataclass
class Item:
    """A node of the drawing: its name, its shape, what is said of it, a kind (input, parameter, value, loss)."""

    label: str
    shape: str
    about: str
    kind: str


@dataclass
class Level:
    """A drawing and its steps.

    Attributes:
        name: what a person chooses it by.
        about: what it shows, in a sentence.
        owns: the names of the parameters that a node stands for, where they have no nodes of their own.
    """

    name: str
    about: str
    items: list[Item]
    edges: list[tuple[int, int]]
    steps: list[Step]
    owns: list[list[str]] = field(default_factory=list)

    def plain(self) -> dict[str, Any]:
        """Return it as JSON, with the places of the nodes."""
        below = [i for i, item in enumerate(self.items) if item.kind == "parameter"]
        last = next(i for i, item in enumerate(self.items) if item.kind == "loss")
        layout = lay_out(len(self.items), self.edges, last, below)
        return {
            "name": self.name,
            "about": self.about,
            "width": layout.width,
            "height": layout.height,
            "nodes": [
                {"label": item.label, "shape": item.shape, "about": item.about, "kind": item.kind, "x": x, "y": y}
                for item, (x, y) in zip(self.items, layout.places, strict=True)
            ],
            "edges": [[a, b, path] for (a, b), path in zip(self.edges, layout.paths, strict=True)],
            "steps": [step.plain() for step in self.steps],
        }


def connect(nodes: Sequence[Node]) -> list[tuple[int, int]]:
    """Return the edges between chosen nodes of a graph: which are reached from which without a third between.

    Args:
        nodes: the chosen ones, in the order of the graph.
    """
    numbers = {node: i for i, node in enumerate(nodes)}
    edges = []
    for node in nodes:
        for x in _sources(node.inputs, numbers):
            edges.append((numbers[x], numbers[node]))
    return edges


def _sources(inputs: Iterable[Node], chosen: dict[Node, int]) -> list[Node]:
    stack, seen, found = list(inputs), set(inputs), []
    while stack:
        x = stack.pop()
        if x in chosen:
            found.append(x)
        else:
            fresh = [y for y in x.inputs if y not in seen]
            seen.update(fresh)
            stack.extend(fresh)
    return sorted(found, key=lambda node: chosen[node])
