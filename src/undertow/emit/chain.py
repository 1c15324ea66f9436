"""The chain rule as a list of steps, read off the graph before simplification."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from undertow.emit import words
from undertow.graph import CONSTANT, INPUT, Graph, Node, ancestors, show_shape, total
from undertow.primitives import NO_GRADIENT, ZERO

_ROUNDS = 4  # of looking for formulas that are too long
LONGEST = 90  # characters of a formula; where it would be longer, an intermediate value gets a step


@dataclass(frozen=True)
class Use:
    """One way in which a value reaches another: what flows back along it, and what is to be said of it."""

    user: Node
    formula: str
    elementwise: bool
    notes: tuple[str, ...] = ()


@dataclass
class Step:
    """The gradient by one value: where it is used, and what flows back along each use."""

    node: Node
    uses: list[Use] = field(default_factory=list)


class Chain:
    """The named values of a forward pass and the steps of its backward pass.

    Args:
        graph: the joint graph as the chain rule gives it, not simplified.
        latex: write LaTeX instead of text.
    """

    def __init__(self, graph: Graph, latex: bool) -> None:
        self.graph, self.latex = graph, latex
        self.loss = graph.outputs[0]
        self.nodes = ancestors([self.loss])
        self.wrt = self._find_wrt()
        self.active = self._find_active()
        self.users: dict[Node, list[tuple[Node, int]]] = {node: [] for node in self.nodes}
        for node in self.nodes:
            for position, x in enumerate(node.inputs):
                self.users[x].append((node, position))
        self.names: dict[Node, str] = {}
        self._name()
        for _ in range(_ROUNDS):
            if not self._shorten():
                break
        self._number()
        steps = [self._step(x) for x in self.nodes if x in self.names and x in self.active and x is not self.loss]
        self.steps = sorted([step for step in steps if step.uses], key=self._order)

    def _find_wrt(self) -> set[Node]:
        """Return the inputs whose gradients are among the outputs."""
        wanted = Counter(x.ct_of for x in self.graph.outputs[1:])
        found = {x for x in self.graph.inputs if wanted.get(x.name, 0)}
        for output in self.graph.outputs[1:]:  # a bias that was not broadcast shares its gradient with z
            if len(found) < len(self.graph.outputs) - 1 and not any(x.name == output.ct_of for x in found):
                named = next((x for x in self.nodes if x.name == output.ct_of), None)
                near = [x for x in ancestors([named]) if x.op is INPUT] if named is not None else []
                same = [x for x in near if x not in found and x.spec == output.spec]
                found.update(same[-1:])
        return found

    def _find_active(self) -> set[Node]:
        active = set(self.wrt)
        for node in self.nodes:
            if node.spec.dtype.kind == "f" and any(x in active for x in node.inputs):
                active.add(node)
        return active

    def _name(self) -> None:
        """Name the values that get a step: the user's own, and those used more than once."""
        lengths: dict[Node, int] = {}
        for node in self.nodes:
            if node.op is CONSTANT or node.op.name == "size":
                continue
            inner = sum(lengths.get(x, 2) for x in node.inputs) + 4
            named = node.name is not None or node is self.loss
            if not named and not node.spec.weak:
                named = len(self.users[node]) > 1 or inner > LONGEST // 2
            if named:
                self.names[node] = node.name or f"a{node.index}"
            lengths[node] = len(self.names[node]) if named else inner
        self._number()

    def _shorten(self) -> bool:
        """Name values in the middle of the paths whose formulas are too long; tell whether there were any."""
        found: set[Node] = set()
        for node in self.nodes:
            if node not in self.names or node not in self.active or node is self.loss:
                continue
            step = self._step(node)
            if not step.uses or len(self.formula(step)) <= LONGEST * (2 if self.latex else 1):
                continue
            for path in (self._path(*use) for use in self.users[node]):
                use = self._use(path, node) if self._counts(path) else None
                if len(path) > 1 and use is not None and len(use.formula) > LONGEST // 2:
                    found.add(path[(len(path) - 1) // 2][0])
        self.names.update({node: f"a{node.index}" for node in found})
        return bool(found)

    def _number(self) -> None:
        """Number the values that nobody named in the order of the forward pass."""
        taken = {x.name for x in self.nodes if x.name}
        free = (f"a{i}" for i in range(1, len(self.nodes) + len(taken) + 1) if f"a{i}" not in taken)
        for node in self.nodes:
            if node in self.names and not node.name:
                self.names[node] = next(free)

    def _path(self, user: Node, position: int) -> list[tuple[Node, int]]:
        """Follow a use to the next value that has a name."""
        path = [(user, position)]
        while path[-1][0] not in self.names and path[-1][0] in self.active:
            following = self.users[path[-1][0]]
            if not following:
                break
            path.append(following[0])
        return path

    def _counts(self, path: Sequence[tuple[Node, int]]) -> bool:
        """Tell whether a gradient flows along a path: it ends at a named value and all of it is differentiated."""
        return path[-1][0] in self.names and all(node in self.active for node, _ in path)

    def _order(self, step: Step) -> tuple[int, int]:
        """Order steps from the loss back; an argument comes right after the last value that reads it."""
        if step.node.op is INPUT:
            return -min(use.user.index for use in step.uses), step.node.index
        return -step.node.index, -1

    def called(self, node: Node) -> str | None:
        """Return the symbol of a named value."""
        name = self.names.get(node)
        return words.symbol(name, self.latex) if name else None

    def definition(self, node: Node) -> str:
        """Write what a named value is."""
        return words.expression(node, self.called, self.latex, top=True)

    def symbol(self, node: Node) -> str:
        """Write the gradient by a named value: δ1, or ∂L/∂h1."""
        return "1" if node is self.loss else words.gradient(self.names[node], self.latex)

    def _step(self, value: Node) -> Step:
        step = Step(value)
        for user, position in self.users[value]:
            path = self._path(user, position)
            if self._counts(path):
                use = self._use(path, value)
                if use is not None:
                    step.uses.append(use)
        return step

    def _use(self, path: Sequence[tuple[Node, int]], value: Node) -> Use | None:
        """Compose what flows back along a path, from its last value to the first."""
        text = self.symbol(path[-1][0])
        notes: list[str] = []
        elementwise = True
        for node, position in reversed(path):
            op: Any = node.op
            rule = op.rule(position)
            if rule is ZERO or rule is NO_GRADIENT:
                return None
            x = node.inputs[position]
            text = words.fill(self._flow(node, position, notes), self._values(node, text))
            elementwise = elementwise and op.elementwise and x.spec.shape == node.spec.shape
            if op.broadcasts and x.spec.shape != node.spec.shape:
                text = self._unbroadcast(x, node, text, notes)
        return Use(path[-1][0], text, elementwise, tuple(notes))

    def _values(self, node: Node, ct: str) -> dict[str, str]:
        values = {str(i): words.expression(x, self.called, self.latex) for i, x in enumerate(node.inputs)}
        return {**values, "ct": ct, "out": words.expression(node, self.called, self.latex)}

    def _flow(self, node: Node, position: int, notes: list[str]) -> str:
        """Return the template of what flows back; sums and means in plain words."""
        op: Any = node.op
        if op.name in ("var", "std"):
            over = words.size_text(total(tuple(node.inputs[0].spec.shape[i] for i in node.params["axis"])), self.latex)
            if ddof := node.params["ddof"]:
                over += f" - {ddof:g}" if self.latex else f" − {ddof:g}"
            bare = self.latex or not ({" ", "·"} & set(over))
            return str(op.flows(position, self.latex)).replace("{count}", over if bare else f"({over})")
        if op.name in ("sum", "mean"):
            axes = node.params["axis"]
            count = total(tuple(node.inputs[0].spec.shape[i] for i in axes))
            text = words.size_text(count, self.latex)
            shown = f"${text}$" if self.latex else f"({text})" if "·" in text else text
            if op.name == "sum":
                notes.append(f"a sum passes its gradient on to each of its {shown} terms")
                return "{ct}"
            notes.append(f"a mean passes a part 1/{shown} on to each term")
            return f"{{ct}} / {f'({text})' if ' ' in text or '·' in text else text}"
        if op.name == "power" and position == 0:
            exponent = node.inputs[1]
            if exponent.op is CONSTANT and exponent.spec.shape == () and exponent.value == 2:
                return r"{ct} \odot 2 {0}" if self.latex else "{ct} ⊙ 2{0}"
        return str(op.flows(position, self.latex))

    def _unbroadcast(self, x: Node, node: Node, text: str, notes: list[str]) -> str:
        """Sum over the axes along which a value was repeated, and say why."""
        shape, wanted = node.spec.shape, x.spec.shape
        new = len(shape) - len(wanted)
        axes = [*range(new), *(i + new for i, size in enumerate(wanted) if size == 1 and shape[i + new] != 1)]
        if not axes:
            return text
        name = self.called(x) or words.expression(x, self.called, self.latex)
        name = f"${name}$" if self.latex else name
        verb = {"add": "added to", "subtract": "used in", "multiply": "multiplied into"}.get(node.op.name, "used in")
        if axes == [0] and len(shape) == 2:
            where, what = "rows", f"each of the {words.size_text(shape[0], False)} rows"
        elif axes == [1] and len(shape) == 2:
            where, what = "columns", f"each of the {words.size_text(shape[1], False)} columns"
        elif len(axes) == len(shape):
            where, what = "all", "every element"
        else:
            where = f"axes {', '.join(map(str, axes))}" if len(axes) > 1 else f"axis {axes[0]}"
            what = f"every place along {where}"
        notes.append(f"{name} was {verb} {what}, so its gradient sums over them")
        if words.level(text) < words.PRODUCT:
            text = f"({text})"
        if self.latex:
            return rf"\sum_{{\text{{{where}}}}} {text}"
        return f"Σ_{where} {text}" if " " not in where else f"Σ_[{where}] {text}"

    def chain_rule(self, step: Step) -> str:
        """Write ∂L/∂z1 = ∂L/∂h1 ⊙ ∂h1/∂z1, summed over the uses."""
        terms = []
        for user in dict.fromkeys(use.user for use in step.uses):
            uses = [use for use in step.uses if use.user is user]
            if user is self.loss:
                terms.append(words.derivative("L", self._plain(step.node), self.latex))
                continue
            above = words.derivative("L", self._plain(user), self.latex)
            local = words.derivative(self._plain(user), self._plain(step.node), self.latex)
            if len(uses) == 1 and uses[0].elementwise:
                times = r"\odot" if self.latex else "⊙"
            else:
                times = r"\cdot" if self.latex else "·"
            terms.append(f"{above} {times} {local}")
        if len(terms) > 1:  # the loss reads the value itself as well
            direct = r"\big|_{\text{direct}}" if self.latex else " (direct)"
            plain = words.derivative("L", self._plain(step.node), self.latex)
            terms = [f"{term}{direct}" if term == plain else term for term in terms]
        return " + ".join(terms)

    def _plain(self, node: Node) -> str:
        return words.symbol(self.names[node], self.latex)

    def formula(self, step: Step) -> str:
        """Write the gradient by this network's own names."""
        parts = [use.formula for use in step.uses]
        if len(parts) > 1:
            parts = [f"({part})" if words.level(part) == words.WORDS else part for part in parts]
        text = parts[0]
        for part in parts[1:]:
            sign = part[0] in "−-"
            text += (f" {'-' if self.latex else '−'} {part[1:].strip()}") if sign else f" + {part}"
        return text

    def shape(self, node: Node) -> str:
        """Write the shape of a value."""
        return show_shape(node.spec.shape)
