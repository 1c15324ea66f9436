"""What ties the passes together: the backward pass of a function as an object."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import numpy as np

from undertow import trees
from undertow.differentiate import (
    backward,
    finish,
    own,
    scalar_output,
)
from undertow.errors import ArgumentError, DTypeError
from undertow.graph import CONSTANT, INPUT, Graph, Node, ancestors, evaluate
from undertow.simplify import Fired, FiredRules, simplify
from undertow.trace import (
    NotingTrace,
    Traced,
    Tracer,
    argument_names,
    constant,
    describe_function,
    is_array_like,
    trace_function,
)
from undertow.trace.chosen import check_function, check_positions, no_floats
from undertow.trace.crossed import warn_of_squares
from undertow.trace.independent import warn_of_independence
from undertow.trace.warned import at_user_line

# The derivation tells the chain rule as the textbook does: of a sigmoid and a softmax, however they were spelt.
NAMING = ("sigmoid", "sigmoid as a reciprocal", "softmax", "softmax does not change with a shift", "identity")


@dataclass(frozen=True, repr=False)
class Backprop:
    """The backward pass of a function: readable, runnable, checkable. Made by `backprop`.

    Attributes:
        graph: the loss and the gradients as one simplified graph; prints itself.
        rules: the simplifications that were used, in order, each with its equation and exactness.
    """

    function: Callable[..., Any]
    args: tuple[Any, ...]
    wrt: int | tuple[int, ...]
    traced: Traced
    graph: Graph
    rules: FiredRules

    @cached_property
    def _by_chain_rule(self) -> tuple[Graph, tuple[str, ...]]:
        places = self.wrt if isinstance(self.wrt, tuple) else (self.wrt,)
        nodes = [x for i in places for x in self.traced.arguments[i] if isinstance(x, Node)]
        plain, unreached = differentiate_graph(simplify(self.traced.graph, only=NAMING).graph, nodes)
        return plain, tuple(x.name or "?" for x in unreached)

    @property
    def plain(self) -> Graph:
        """The graph as the chain rule gives it; only sigmoid and softmax have been recognised."""
        return self._by_chain_rule[0]

    @property
    def unreached(self) -> tuple[str, ...]:
        """The inputs, among those to differentiate by, that the result does not depend on."""
        return self._by_chain_rule[1]

    @cached_property
    def source(self) -> str:
        """A module that needs only NumPy: ``forward(...)`` gives (loss, cache), ``backward(cache)`` the gradient."""
        from undertow import emit

        return emit.Text(
            emit.write_source(self.graph, self.signature, self.wrt, title=self.graph.title, sizes=self.sizes)
        )

    @cached_property
    def sizes(self) -> dict[int, tuple[int, ...]]:
        """The axes whose sizes stand in the source as numbers, by the positions of the graph's inputs."""
        return import_module("undertow.written_sizes").written_sizes(self)

    def __repr__(self) -> str:
        """What it is and where to read it; the arguments are arrays, and may be long."""
        names = argument_names(self.function, len(self.args))
        by = ", ".join(names[i] for i in (self.wrt if isinstance(self.wrt, tuple) else (self.wrt,)))
        return f"Backprop({self.graph.title} by {by}: print .source or .derivation())"

    @property
    def signature(self) -> list[tuple[str, Any]]:
        """Each argument's name and its tree, with the input node in place of each array."""
        names = argument_names(self.function, len(self.args))
        trees_ = [trees.flatten(arg)[1](row) for arg, row in zip(self.args, self.traced.arguments, strict=True)]
        return list(zip(names, trees_, strict=True))

    @cached_property
    def _module(self) -> dict[str, Any]:
        module: dict[str, Any] = {"__name__": f"backprop_{self.graph.title}"}
        exec(compile(self.source, f"<backward pass of {self.graph.title}>", "exec"), module)
        return module

    @property
    def forward(self) -> Callable[..., Any]:
        """``forward(*args) -> (loss, cache)``, made from the source."""
        return self._module["forward"]

    @property
    def backward(self) -> Callable[..., Any]:
        """``backward(cache) -> gradient`` in the tree of the argument differentiated, made from the source."""
        return self._module["backward"]

    def __call__(self, *args: Any) -> tuple[Any, Any]:
        """Return (loss, gradient) at these arguments, computed by the engine itself."""
        given = args or self.args
        check_arguments(self, given)
        values = input_values(self.traced, given)
        with at_user_line():
            loss, *grads = evaluate(self.graph, values)
        taken = list(values)
        found = iter([own(g, taken) for g in grads])
        places = self.wrt if isinstance(self.wrt, tuple) else (self.wrt,)
        result = []
        for i in places:
            leaves, rebuild = trees.flatten(given[i])
            pairs = zip(self.traced.arguments[i], leaves, strict=True)
            result.append(rebuild([finish(next(found), leaf) if isinstance(x, Node) else x for x, leaf in pairs]))
        return loss, tuple(result) if isinstance(self.wrt, tuple) else result[0]

    def values(self, *args: Any) -> dict[str, Any]:
        """Return every named value at these arguments: z1, h1, …, and the gradients dz1, dh1, …

        Args:
            args: arguments like those traced; those themselves if none are given.
        """
        from undertow import emit

        check_arguments(self, args or self.args)
        named = {
            name: node for node in self.graph.nodes if (name := emit.reader_name(node)) and node.op is not CONSTANT
        }
        with at_user_line():
            found = evaluate(self.graph, input_values(self.traced, args or self.args), list(named.values()))
        return dict(zip(named, found, strict=True))

    def derivation(self, values: bool = False, format: Literal["text", "latex"] = "text") -> str:
        """Tell the chain rule step by step, in the textbook's words.

        Args:
            values: add the numbers at the arguments that were traced.
            format: ``"text"``, or ``"latex"`` for a document that compiles.
        """
        from undertow import emit

        numbers = self.values() if values else None
        return emit.Text(emit.derive(self.plain, self.graph, self.rules, values=numbers, format=format))

    def walk(self, path: str | Path | None = None, example: int = 0, update: Any = None) -> Any:
        """Write a page in which a person steps through this backward pass, see `undertow.report.walk`.

        Args:
            path: of the file, such as ``"walk.html"``; it needs no other file and no network. None writes none.
            example: the row of the batch that is shown first, from 0.
            update: an optimizer whose first step ends the walk, such as ``ut.optim.sgd(0.5)``, or its name; None for
                none.

        Returns:
            The path; without one the walk, a `undertow.report.Walk`, which a notebook shows.
        """
        made = import_module("undertow.report.walks").walk(self, example, update)
        return made if path is None else made.write(path)

    def __str__(self) -> str:
        return self.source

    def _repr_html_(self) -> str:
        return str(import_module("undertow.report.notebook").backprop_html(self))


def check_arguments(program: Backprop, args: Sequence[Any]) -> None:
    """ArgumentError unless arguments have the trees of those traced, with arrays and numbers in the same places."""
    name, wanted = getattr(program.function, "__name__", "f"), program.args
    names = argument_names(program.function, len(wanted))
    if len(args) != len(wanted):
        raise ArgumentError(
            f"{name} takes {len(wanted)} arguments ({', '.join(names)}), got {len(args)}. Give all of them, or none "
            "for those that were traced."
        )
    for argument, arg, like, row in zip(names, args, wanted, program.traced.arguments, strict=True):
        if not trees.same_structure(arg, like):
            found, expected = set(trees.paths(arg)), set(trees.paths(like))
            parts = [
                f"{word} {', '.join(f'{argument}{path}' for path in sorted(paths)[:4])}"
                for word, paths in (("it lacks", expected - found), ("it has", found - expected))
                if paths and paths != {""}
            ]
            said = "; ".join(parts) or f"it is a {type(arg).__name__}, not a {type(like).__name__}"
            raise ArgumentError(f"argument {argument} of {name} is not built like the one traced: {said}.")
        for x, leaf, path in zip(row, trees.flatten(arg)[0], trees.paths(arg), strict=True):
            if isinstance(x, Node) and not is_array_like(leaf):
                raise ArgumentError(
                    f"argument {argument}{path} of {name} is {type(leaf).__name__}, not numbers as when it was traced."
                )
            if not isinstance(x, Node) and leaf is not x and leaf != x:
                raise ArgumentError(
                    f"argument {argument}{path} of {name} is {leaf!r}, but the program was made for {x!r}."
                )


def input_values(traced: Traced, args: Sequence[Any]) -> list[Any]:
    """Take the arrays out of arguments, in the order of the graph's inputs."""
    return traced.values([trees.flatten(arg)[0] for arg in args])


def differentiate_graph(graph: Graph, wrt: Sequence[Node]) -> tuple[Graph, list[Node]]:
    """Extend a graph whose first output is a scalar by its gradients: outputs (loss, *the others, *gradients).

    Returns:
        The graph, and the nodes among ``wrt`` to which no path leads from the output.
    """
    output = graph.outputs[0]
    trace = NotingTrace()
    one = constant(output.spec.dtype.type(1))

    def read(node: Node) -> Any:
        return node.value if node.op is CONSTANT and node.spec.weak else Tracer(node, trace)

    cts = backward({output: Tracer(one, trace)}, wrt, read)
    outputs = list(graph.outputs)
    for ct, x in zip(cts, wrt, strict=True):
        gradient: Any = np.zeros_like(Tracer(x, trace)) if ct is None else ct
        node = gradient.node
        if node.op is INPUT or node.op is CONSTANT:
            pass
        elif node.ct_of is None:
            node.ct_of, node.backward = x.name, True
        outputs.append(node)
    unreached = [x for ct, x in zip(cts, wrt, strict=True) if ct is None]
    return Graph(graph.inputs, tuple(outputs), title=graph.title), unreached


def backprop(f: Callable[..., Any], *args: Any, wrt: int | tuple[int, ...] = 0) -> Backprop:
    """Derive the backward pass of a NumPy function as a program that people can read.

    Args:
        f: a NumPy function that returns one number.
        args: example arguments: any trees of arrays. Only shapes and dtypes are traced; the leading axis
            that the arguments not differentiated share is the batch, and may have another size later.
        wrt: the position of the argument to differentiate by, or a tuple of positions.

    Returns:
        The backward pass: ``.source``, ``.derivation()``, ``.forward``, ``.backward``, ``.graph``, ``.rules``.

    Raises:
        NonScalarError: f returned something other than one number.
        ControlFlowError: f asked for the value of an array (``if x > 0``).
        UnsupportedError: f uses a NumPy function that has no derivative here yet.
        ArgumentError: the arguments to differentiate by hold no floats; a position that does not exist.

    Warns:
        UserWarning: f is a method of an object whose arrays are constants then, and the argument is data: another one
            has as many rows; predictions (m, 1) meet targets (m,); the result does not depend on what it is
            differentiated by.

    Example:
        >>> import numpy as np
        >>> def loss(w, x, y):
        ...     p = 1 / (1 + np.exp(-(x @ w)))
        ...     return -np.mean(y * np.log(p) + (1 - y) * np.log(1 - p))
        >>> bp = backprop(loss, np.zeros(2), np.ones((4, 2)), np.ones(4))
        >>> value, gradient = bp()
        >>> gradient
        array([-0.5, -0.5])
    """
    check_function(f)
    places = check_positions(f, wrt if isinstance(wrt, tuple) else (wrt,), len(args))
    traced = trace_function(f, args, batch=[i for i in range(len(args)) if i not in places], value_alone=True)
    nodes = _differentiable(f, args, places, traced)
    warn_of_squares(traced.graph, nodes)
    if hasattr(f, "__self__"):
        import_module("undertow.mistakes").warn_of_held(f, args, places)
    scalar_output(traced.rebuild([Tracer(x, NotingTrace()) for x in traced.graph.outputs]), f)
    if set(nodes).isdisjoint(ancestors(traced.graph.outputs[:1])):
        warn_of_independence(f, places, len(args))
    name_loss(traced.graph)
    graph, fired, _ = simplified_gradient(traced.graph, nodes)
    wrt = tuple(places) if isinstance(wrt, tuple) else places[0]
    return Backprop(f, args, wrt, traced, graph, fired)


def name_loss(graph: Graph) -> None:
    """Call the first output of a graph the loss, unless it has a name."""
    output = graph.outputs[0]
    if output.name is None and output.op is not INPUT:
        output.name = "loss" if "loss" not in {x.name for x in graph.nodes} else "loss_value"


def simplified_gradient(
    graph: Graph, wrt: Sequence[Node], outputs: Sequence[int] = ()
) -> tuple[Graph, FiredRules, list[Node]]:
    """Differentiate the first output of a graph, and simplify what comes of it; see `differentiate_graph`.

    Args:
        graph: the graph.
        wrt: the inputs to differentiate by.
        outputs: the places of outputs to differentiate by as well; their gradients come last.

    Returns:
        The graph, the rules that were used, and the nodes among ``wrt`` to which no path leads.
    """
    first = simplify(graph)
    kept = set(first.graph.nodes)
    dropped = [x for x in first.moved.values() if x.name and x not in kept and x.op not in (INPUT, CONSTANT)]
    both, unreached = differentiate_graph(first.graph, [*wrt, *[first.graph.outputs[i] for i in outputs]])
    joint = simplify(both, remember=dropped, final=True)
    return joint.graph, merge(first.fired, joint.fired), unreached


def _differentiable(f: Callable[..., Any], args: Sequence[Any], places: Sequence[int], traced: Traced) -> list[Node]:
    """The inputs to differentiate by; an error where there are none, or one that is no float."""
    nodes = []
    for i in places:
        for x, path in zip(traced.arguments[i], trees.paths(args[i]), strict=True):
            if not isinstance(x, Node):
                continue
            if x.spec.dtype.kind != "f":
                argument = argument_names(f, len(args))[i]
                way = f"give it as an argument beside {argument}" if path else "choose another argument with wrt="
                raise DTypeError(
                    f"argument {argument}{path} of {describe_function(f)} is {x.spec.dtype}: only floats have a "
                    f"derivative. Pass floats, for example {argument}{path} * 1.0, or {way}."
                )
            nodes.append(x)
    if not nodes:
        raise ArgumentError(no_floats(f, args, places))
    return nodes


def merge(*lists: list[Fired]) -> FiredRules:
    """Join the rules that fired in several passes, each named once."""
    found: dict[str, Fired] = {}
    for fired in (rule for rules in lists for rule in rules):
        if fired.name in found:
            found[fired.name].count += fired.count
        else:
            found[fired.name] = fired
    return FiredRules(found.values())
