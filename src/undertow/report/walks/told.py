"""A chain of values told as steps: forward in the order of the program, backward by the chain rule."""

from __future__ import annotations

from typing import Any

import numpy as np

from undertow.emit import words
from undertow.emit.chain import Chain
from undertow.emit.chain import Step as Rule
from undertow.graph import INPUT, Node
from undertow.report.walks.level import BACKWARD, FORWARD, LOSS, Item, Level, Panel, Step, connect
from undertow.report.walks.scene import Scene, local_users
from undertow.report.walks.worked import NAME, Named, work_out


class Told:
    """Tells the steps of a chain.

    Args:
        scene: the program and its numbers.
        chain: which values have a step.
    """

    def __init__(self, scene: Scene, chain: Chain) -> None:
        self.scene, self.chain = scene, chain
        self.numbers = scene.numbers(chain)
        self.nodes = [node for node in chain.nodes if node in chain.names]
        self.place = {node: i for i, node in enumerate(self.nodes)}
        self.value = {node: self._keep(node, self._value(node)) for node in self.nodes}
        self.rerouted: set[Node] = set()  # whose gradient the simplified program leads past them, in part
        self.gradient = {node: self._keep(node, ct) for node in self.nodes if (ct := self._gradient(node)) is not None}
        self.known: dict[str, Named] = {}
        for node in self.nodes:
            name = chain.names[node]
            self.known.setdefault(name, Named(self.value[node], node.spec.shape))
            if node in self.gradient:
                named = Named(self.gradient[node], node.spec.shape)
                self.known.setdefault(words.gradient(name, False), named)
                self.known.setdefault(words.derivative("L", name, False), named)
        self.whole = self._taken_whole()
        self.steps = {rule.node: rule for rule in chain.steps}

    # -- numbers ---------------------------------------------------------------------------------------

    def _keep(self, node: Node, value: Any) -> int:
        return self.scene.arrays.add(value, node.spec.shape)

    def _value(self, node: Node) -> Any:
        """The number that the program computes where it names the value, else the same operation's."""
        found = self.scene.named.get(node.name or "")
        own = self.numbers.values[node]
        return found if found is not None and np.shape(found) == np.shape(own) else own

    def _gradient(self, node: Node) -> Any:
        own = self.numbers.cts.get(node)
        found = self.scene.gradients.get(node.name or "")
        if node is self.chain.loss or found is None or np.shape(found) != np.shape(self.numbers.values[node]):
            return own
        if own is not None and not agree(own, found, self.scene.least):
            self.rerouted.add(node)
            return own
        return found

    def _taken_whole(self) -> set[tuple[str, str]]:
        """Of which named values a softmax, a sum or a mean is taken along their last axis, and along no other."""
        found: dict[tuple[str, str], set[bool]] = {}
        for node in self.scene.bp.graph.nodes + self.scene.bp.plain.nodes + tuple(self.chain.nodes):
            kind = node.op.name.removeprefix("log_")
            if kind in ("softmax", "sum", "mean") and node.op is not INPUT:
                x, axis = node.inputs[0], node.params["axis"]
                axes = axis if isinstance(axis, tuple) else (axis,)
                last = [i % max(x.spec.ndim, 1) for i in axes] == [x.spec.ndim - 1]
                name = self.chain.names.get(x) or x.name or ""
                found.setdefault((kind, name), set()).add(last)
        return {key for key, last in found.items() if last == {True}}

    # -- the drawing -----------------------------------------------------------------------------------

    def items(self) -> list[Item]:
        """Return the nodes of the drawing."""
        made = []
        for node in self.nodes:
            kind = "value"
            if node.op is INPUT:
                kind = "parameter" if node in self.scene.wrt else "input"
            elif node is self.chain.loss:
                kind = "loss"
            about = {"parameter": "parameter", "input": "data"}.get(kind) or self.chain.definition(node)
            made.append(Item(self.chain.names[node], self.chain.shape(node), about, kind))
        return made

    def level(self, name: str, about: str) -> Level:
        """Return the level."""
        computed = [node for node in self.nodes if node.op is not INPUT and node is not self.chain.loss]
        steps = [self.start(), *(self.forward(node) for node in (*computed, self.chain.loss))]
        steps += [self.seed(), *(self.backward(rule) for rule in self.chain.steps)]
        return Level(name, about, self.items(), connect(self.nodes), steps)

    # -- steps -----------------------------------------------------------------------------------------

    def start(self) -> Step:
        """The arguments."""
        data = [node for node in self.nodes if self.scene.is_data(node)]
        rest = [node for node in self.nodes if node.op is INPUT and node not in data]
        first = (data or rest or self.nodes)[0]
        given = ", ".join(f"{self.chain.names[x]} {self.chain.shape(x)}" for x in (*data, *rest)[:12])
        more = ", …" if len(data) + len(rest) > 12 else ""
        line = self.scene.first
        panels = [Panel(self.chain.names[x], self.value[x], "value") for x in (data or rest)[:4]]
        panels += [Panel(self.chain.names[x], self.value[x], "operand") for x in (rest if data else [])[:12]]
        return Step(FORWARD, self.place[first], "Given", [("Given", given + more)], panels, line=line)

    def forward(self, node: Node) -> Step:
        """A value is computed."""
        name, text = self.chain.names[node], self.chain.definition(node)
        is_loss = node is self.chain.loss
        formulas = [("Formula", f"{name} = {text}")]
        line = self.scene.line_of(name, self._program(node))
        panels = [Panel(name, self.value[node], "value"), *self._operands(text, name)]
        title = f"L = {name}: the loss" if is_loss else f"Compute {name}"
        return Step(
            LOSS if is_loss else FORWARD,
            self.place[node],
            title,
            formulas,
            panels,
            line=line,
            quote=bool(line),
            work=self._work(node, text, name),
        )

    def seed(self) -> Step:
        """The backward pass begins: L changes with L as 1."""
        loss = self.chain.loss
        array = self.scene.arrays.add(np.ones((), loss.spec.dtype), ())
        start = next((i for i, text in enumerate(self.scene.source, 1) if text == "def backward(cache):"), 0)
        panels = [Panel("∂L/∂L", array, "gradient"), Panel(self.chain.names[loss], self.value[loss], "value")]
        return Step(BACKWARD, self.place[loss], "Start the backward pass", [("Start", "∂L/∂L = 1")], panels, line=start)

    def backward(self, rule: Rule) -> Step:
        """The gradient by a value."""
        chain, node = self.chain, rule.node
        name = chain.names[node]
        symbol, partial = chain.symbol(node), words.derivative("L", name, False)
        told, text = chain.chain_rule(rule), chain.formula(rule)
        full = f"{symbol} = {partial}" if symbol != partial else symbol
        formulas = [("Chain rule", f"{full} = {told}")] if told != partial else []
        formulas.append(("Formula", f"{symbol} = {text}"))
        line = self.scene.line_of(f"d{name}", ()) if node not in self.rerouted else 0
        own = bool(line)
        simpler = self._simplified(node) if own else None
        if simpler:
            formulas.append(("Simplified", f"{symbol} = {simpler}"))
        line = line or self._nearest(rule)
        panels = [Panel(full, self.gradient[node], "gradient")] if node in self.gradient else []
        panels += [
            Panel(f"∂{chain.names[user]}/∂{name}", self._keep(node, self.numbers.locals[user, node]), "local")
            for user in local_users(chain, rule)
            if (user, node) in self.numbers.locals
        ]
        panels.append(Panel(name, self.value[node], "value"))
        panels += self._operands(f"{text} {simpler or ''}", symbol, name)
        notes = self._rewritten(node, text, own)
        notes += list(dict.fromkeys(note for use in rule.uses for note in use.notes))
        if len(rule.uses) > 1:
            notes.append(f"{name} is used {len(rule.uses)} times: what flows back along each use adds up")
        work = None
        if node in self.gradient:
            work = self._work(node, text, symbol) or (self._work(node, simpler, symbol) if simpler else None)
        return Step(BACKWARD, self.place[node], f"Gradient by {name}", formulas, panels, notes, line, own, work)

    # -- parts -----------------------------------------------------------------------------------------

    def _program(self, node: Node) -> list[Node]:
        """The node itself if it is one of the program, or those that the user wrote on the same line."""
        if node in self.scene.lines:
            return [node]
        same = [x for x in self.scene.lines if x.line and x.line == node.line and not x.backward]
        return sorted(same, key=lambda x: -self.scene.lines[x])[:1]

    def _rewritten(self, node: Node, text: str, own: bool) -> list[str]:
        """How the program comes to compute a gradient in another way than the formula says."""
        name = node.name or ""
        if node in self.rerouted:
            why = f"in the program, simplified, part of this goes past {name}, so that d{name} there is another number"
            return [why]
        if not own and text in self.known:
            return [f"the same numbers as {text}, which the program uses in its place"]
        if not own and name and self.chain.graph is self.scene.bp.plain:
            return [f"the program is simplified and needs no gradient by {name}; here the chain rule computes it"]
        rule = self.scene.rewritten.get(name) if own else None
        if rule is None:
            return []
        met = words.meeting(self.scene.gradient_nodes[name], self.scene.bp.graph)
        how = f"simplified by {rule.name}: {rule.equation}"
        return [f"{met}; {how}"] if met else [how]

    def _simplified(self, node: Node) -> str | None:
        """The formula of a gradient after simplification, where a rule worth telling made it."""
        made = self.scene.gradient_nodes.get(node.name or "")
        if made is None or node.name not in self.scene.rewritten:
            return None

        def called(x: Node) -> str | None:
            if x.name or x.op is INPUT:
                return x.name
            return words.gradient(x.ct_of, False) if x.ct_of else None

        return words.expression(made, called, False, top=True)

    def _nearest(self, rule: Rule) -> int:
        """The line of the gradient that this one flows into, where the program has none for it."""
        for x in rule.node.inputs:
            line = self.scene.line_of(f"d{x.name}") if x.name else 0
            if line:
                return line
        return 0

    def _operands(self, text: str, *shown: str) -> list[Panel]:
        """The arrays that a formula reads, in the order in which it names them."""
        panels: dict[int, Panel] = {}
        for symbol in dict.fromkeys(NAME.findall(text)):
            if symbol in self.known and symbol not in shown:
                panels.setdefault(self.known[symbol].array, Panel(symbol, self.known[symbol].array, "operand"))
        return list(panels.values())

    def _work(self, node: Node, text: str, label: str) -> tuple[str, list[Any]] | None:
        parts = work_out(text, node.spec.shape, self.known, self.scene.sizes, self.whole)
        return (label, parts) if parts else None


def agree(a: Any, b: Any, least: float) -> bool:
    """Tell whether two arrays hold the same numbers but for rounding; where one is not finite nothing is asked.

    Args:
        a: one array.
        b: the other.
        least: differences below it are rounding.
    """
    x, y = np.asarray(a, np.float64), np.asarray(b, np.float64)
    both = np.isfinite(x) & np.isfinite(y)
    x, y = x[both], y[both]
    return not x.size or bool(np.abs(x - y).max() <= max(least, 1e-3 * np.abs(y).max()))
