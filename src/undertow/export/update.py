"""An optimizer's update as source: for one parameter at a time where it treats all alike, else for all at once."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from undertow import optim, trees
from undertow.emit.names import Names
from undertow.emit.structure import put_together
from undertow.errors import UnsupportedError
from undertow.export.functions import Function, write_function
from undertow.graph import INPUT, Graph, Node
from undertow.graph.node import ancestors
from undertow.optim import Optimizer
from undertow.trace import Traced, trace_function


def nodes_at(traced: Traced, position: int) -> list[Node]:
    """The nodes of one argument, in the order of its leaves."""
    return [x for x in traced.arguments[position] if isinstance(x, Node)]


def inputs_of(node: Node) -> set[Node]:
    """The inputs that a value depends on."""
    return {x for x in ancestors([node]) if x.op is INPUT}


def dictionary(keys: Sequence[str]) -> Callable[[list[str]], str]:
    """Put expressions into a dictionary by these keys."""

    def result(codes: list[str]) -> str:
        names = {key: Node(INPUT, (), {}, None) for key in keys}  # type: ignore[arg-type]
        code = dict(zip(names.values(), codes, strict=True))
        return put_together(names, "", code.__getitem__, 4)

    return result


MOST_GROUPS = 3  # with more, one function for all parameters is easier to read


class Update:
    """The optimizer's update as source: for one parameter at a time where each goes its own way, else for all at once.

    Attributes:
        functions: the function ``update``; or ``update_1``, …, where some parameters are treated otherwise than others.
        groups: the parameters that each function is for, by their numbers.
        init_state: the source of the function that makes the first state.
        fields: what each part of the state is called.
        shared: the parts of the state that all parameters share, such as t.
        alone: whether the functions take one parameter.
    """

    def __init__(self, rule: Optimizer, paths: list[str], keys: list[str], values: list[Any]) -> None:
        self.order = keys
        order = sorted(range(len(paths)), key=paths.__getitem__)  # as trees order dictionaries
        self.rule, self.keys, self.values = rule, [keys[i] for i in order], [values[i] for i in order]
        arrays = {paths[i]: values[i] for i in order}
        state = rule.init(arrays)
        own = [f"[{paths[i]!r}]" for i in order]
        self.paths = [_shorten(path, own) for path in trees.paths(state)] if _leaves(state) else []
        self.memory = _leaves(state)
        traced = trace_function(lambda g, s, w: rule.update(g, s, w), [arrays, state, arrays])
        self.grads, self.kept, self.params = (nodes_at(traced, i) for i in range(3))
        outputs = list(traced.graph.outputs)
        n = len(keys)
        if len(self.kept) != len(self.memory) or len(outputs) != n + len(self.kept):
            raise UnsupportedError(f"{rule.name}: its state holds other things than numbers. Use training=False.")
        self.new, self.new_kept = outputs[:n], outputs[n:]
        known = getattr(optim, rule.name, None)
        self.note = (known.__doc__ or "").splitlines()[0] if callable(known) else f"{rule!r}."
        self.owners = self._find_owners()
        self.shared = [i for i, owner in enumerate(self.owners) if owner is None]
        self.groups = self._find_groups()
        self.alone = 0 < len(self.groups) <= MOST_GROUPS
        self.fields = self._name_fields()
        self.functions = [self._write_all()] if not self.alone else [
            self._write_one(group[0], self.name_of(number)) for number, group in enumerate(self.groups)
        ]  # fmt: skip
        self.init_state = self._write_state()

    def _find_owners(self) -> list[int | None]:
        """The parameter to which each part of the state belongs; None where to all, −1 where to several."""
        owner = {x: i for nodes in (self.grads, self.params) for i, x in enumerate(nodes)}
        found: list[int | None] = []
        for out in self.new_kept:
            who = {owner[x] for x in inputs_of(out) if x in owner}
            found.append(None if not who else who.pop() if len(who) == 1 else -1)
        return found

    def own(self, i: int) -> list[int]:
        """The parts of the state that belong to one parameter."""
        return [k for k, owner in enumerate(self.owners) if owner == i]

    def name_of(self, group: int) -> str:
        """What the function of a group is called."""
        return "update" if len(self.groups) == 1 else f"update_{group + 1}"

    def _find_groups(self) -> list[list[int]]:
        """The parameters by the formula of their update; none where one reads the values of another."""
        common = {self.kept[k] for k in self.shared}
        if -1 in self.owners or any(not inputs_of(self.new_kept[k]) <= common for k in self.shared):
            return []
        groups: dict[Any, list[int]] = {}
        for i in range(len(self.keys)):
            mine = {self.grads[i], self.params[i], *(self.kept[k] for k in self.own(i))}
            outputs = [self.new[i], *(self.new_kept[k] for k in self.own(i))]
            if len(self.own(i)) != len(self.own(0)) or any(not inputs_of(out) <= mine | common for out in outputs):
                return []
            groups.setdefault(form_of(self._inputs(i), outputs), []).append(i)
        return list(groups.values())

    def _inputs(self, i: int) -> list[Node]:
        return [
            self.params[i], self.grads[i], *(self.kept[k] for k in self.shared), *(self.kept[k] for k in self.own(i))
        ]  # fmt: skip

    def _name_fields(self) -> dict[int, str]:
        """What the parts of the state are called: t, m, v; or m_W1 where each stands by itself."""
        names = Names({"w", "dw", "params", "grads", "state", *self.keys})
        short = {path: path.rsplit("inner_", 1)[-1] for path, _ in self.paths}
        found = Counter(short.values())
        fields: dict[int, str] = {}
        known: dict[str, str] = {}
        for k, (path, beside) in enumerate(self.paths):
            plain = short[path] if found[short[path]] == 1 else path
            if not self.alone and beside is not None:
                plain = f"{plain}_{self.keys[beside]}"
            if plain not in known or not self.alone:
                known[plain] = names.claim(plain or "s")
            fields[k] = known[plain]
        return fields

    def _write_one(self, i: int, name: str) -> Function:
        """The update of one parameter."""
        outputs = [self.new[i], *(self.new_kept[k] for k in (*self.shared, *self.own(i)))]
        labels = ["w", *(self.fields[k] for k in (*self.shared, *self.own(i)))]
        inputs = self._inputs(i)
        arguments = ["w", "dw", *labels[1:]]
        for label, node in zip(arguments, inputs, strict=True):
            node.name = label
        for label, node in zip(labels, outputs, strict=True):
            if node.op is not INPUT:
                node.name = f"new_{label}"
        graph = Graph(tuple(inputs), tuple(outputs))
        pairs = list(zip(arguments, inputs, strict=True))
        keep = _keep_numbers(inputs[2:], outputs[1:])
        return write_function(
            name, pairs, graph, self.note, lambda codes: ", ".join([codes[0], *keep(codes[1:])]), comments=False
        )

    def _write_all(self) -> Function:
        """The update of all parameters."""
        for key, w, g, out in zip(self.keys, self.params, self.grads, self.new, strict=True):
            w.name, g.name = key, f"d{key}"
            if out.op is not INPUT:
                out.name = f"new_{key}"
        for k, (node, out) in enumerate(zip(self.kept, self.new_kept, strict=True)):
            node.name = self.fields[k]
            if out.op is not INPUT:
                out.name = f"new_{self.fields[k]}"
        arguments: list[tuple[str, Any]] = [
            ("params", dict(zip(self.keys, self.params, strict=True))),
            ("grads", dict(zip(self.keys, self.grads, strict=True))),
            ("state", {self.fields[k]: node for k, node in enumerate(self.kept)}),
        ]
        graph = Graph((*self.params, *self.grads, *self.kept), (*self.new, *self.new_kept))
        n = len(self.keys)

        keep = _keep_numbers((*self.params, *self.kept), graph.outputs)

        def result(codes: list[str]) -> str:
            codes = keep(codes)
            new_state = dictionary(list(self.fields.values()))(codes[n:]) if self.fields else "{}"
            return f"{dictionary(self.keys)(codes[:n])}, {new_state}"

        return write_function("update", arguments, graph, self.note, result, comments=False)

    def _write_state(self) -> str:
        """The function that makes the first state."""
        rows: dict[str, list[str]] = {}
        for k, field in self.fields.items():
            codes = self._begin(k)
            rows[field] = [code for code in rows.get(field, codes) if code in codes]  # what holds for all parameters
        if not all(rows.values()):
            raise self._refuse()
        inner = "".join(f'\n        "{field}": {codes[0]},' for field, codes in rows.items())
        body = f"{{{inner}\n    }}" if rows else "{}"
        note = '"""The optimizer\'s memory before the first step."""'
        return f"def init_state(params):\n    {note}\n    return {body}"

    def _begin(self, k: int) -> list[str]:
        """The expressions that give what a part of the state begins as: a number, or made of a parameter."""
        value, owner = self.memory[k], self.owners[k]
        own = owner if owner is not None and owner >= 0 else None
        if isinstance(value, bool | int | float) and (own is None or not self.alone):
            return [repr(value)]
        if self.alone:
            codes = [] if own is None else _made_of(value, self.values[own], "w")
            return [f"{{name: {code} for name, w in params.items()}}" for code in codes]
        places = [*([] if own is None else [own]), *range(len(self.keys))]
        return [code for i in places for code in _made_of(value, self.values[i], f'params["{self.keys[i]}"]')]

    def _refuse(self) -> UnsupportedError:
        return UnsupportedError(
            f"{self.rule.name}: its state begins with other values than numbers, zeros, ones or the parameters, so it "
            "cannot be written as source. Leave training out with training=False."
        )


def _made_of(value: Any, w: Any, code: str) -> list[str]:
    """The expressions of w, called ``code``, that give this value."""
    value = np.asarray(value)
    if value.shape != np.shape(w) or not value.size:
        return []
    first = value.flat[0]
    filled = [f"{code} * 0.0{f' + {float(first)!r}' if first else ''}"] if (value == first).all() else []
    return filled + [f"{code} * 1.0"] * np.array_equal(value, w)


def _keep_numbers(before: Sequence[Node], after: Sequence[Node]) -> Callable[[list[str]], list[str]]:
    """Write ``float(x)`` where a Python number became one of NumPy's, which would widen the arrays that it meets."""
    kinds = {"f": "float", "i": "int", "b": "bool"}

    def keep(codes: list[str]) -> list[str]:
        return [
            f"{kinds[old.spec.dtype.kind]}({code})" if old.spec.weak and not new.spec.weak else code
            for code, old, new in zip(codes, before, after, strict=True)
        ]

    return keep


def _shorten(path: str, own: Sequence[str]) -> tuple[str, int | None]:
    """A part of the state by its name, ``m``, and the number of the parameter that it stands beside."""
    place = next((i for i, end in enumerate(own) if path.endswith(end)), None)
    plain = path if place is None else path.removesuffix(own[place])
    return re.sub(r"\W+", "_", plain).strip("_"), place


def _leaves(state: Any) -> list[Any]:
    return trees.flatten(state)[0]


def form_of(inputs: Sequence[Node], outputs: Sequence[Node]) -> tuple[Any, ...]:
    """What a group of values computes, apart from the shapes of its inputs."""
    numbers = {node: i for i, node in enumerate(inputs)}
    rows: list[Any] = []
    for node in ancestors(outputs):
        if node in numbers:
            continue
        numbers[node] = len(numbers)
        value = None if node.value is None else (np.asarray(node.value).tobytes(), np.shape(node.value))
        params = tuple(sorted((key, str(item)) for key, item in node.params.items()))
        rows.append((node.op.name, tuple(numbers[x] for x in node.inputs), params, value))
    return (*rows, *(numbers[x] for x in outputs))
