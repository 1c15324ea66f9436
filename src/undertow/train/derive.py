"""The loss of a model on a batch and its gradient: traced and differentiated once for each kind of batch."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from undertow import primitives as P
from undertow import trees
from undertow.api import name_loss, simplified_gradient
from undertow.differentiate import scalar_output, value_and_grad
from undertow.errors import ArgumentError, ControlFlowError, ShapeError
from undertow.graph import INPUT, Graph, Node, ancestors, evaluate
from undertow.nn.mode import TrainingPass, training
from undertow.optim import name_leaves
from undertow.trace import NotingTrace, Tracer, describe_function, is_array_like, trace_function
from undertow.trace.crossed import warn_of_squares

LossFunction = Callable[[Any, Any, Any], Any]


@dataclass(frozen=True)
class Gradients:
    """The forward and backward pass of a loss as one graph.

    Attributes:
        graph: its inputs are the numbers of the model and the arrays of the batch; its outputs the loss, what replaces
            running statistics, what was observed, the gradients, and the gradients by what was observed.
        replaced: which numbers of the model are replaced rather than trained.
        trained: which numbers of the model the gradients belong to.
        seen: the paths of the layers whose values were observed.
        unreached: which numbers of the model no gradient reaches, though they are to be trained.
    """

    graph: Graph
    replaced: tuple[int, ...]
    trained: tuple[int, ...]
    seen: tuple[str, ...] = ()
    unreached: tuple[int, ...] = ()

    def take_apart(self, outputs: Sequence[Any]) -> Outcome:
        """Sort outputs by what they are."""
        loss, *rest = outputs
        r, s, t = len(self.replaced), len(self.seen), len(self.trained)
        values, cts = rest[r : r + s], rest[r + s + t :]
        return Outcome(
            loss,
            dict(zip(self.trained, rest[r + s : r + s + t], strict=True)),
            dict(zip(self.replaced, rest[:r], strict=True)),
            {path: pair for path, *pair in zip(self.seen, values, cts, strict=True)},
        )


class Outcome(NamedTuple):
    """What the forward and backward pass of a batch give.

    Attributes:
        loss: the loss.
        grads: the gradients, by the places of the trained numbers among those of the model.
        replaced: what replaces running statistics, by their places.
        seen: of each layer observed, by its path: what it gave, and the gradient by that.
    """

    loss: Any
    grads: dict[int, Any]
    replaced: dict[int, Any]
    seen: dict[str, list[Any]]


class Gradient:
    """The loss and its gradient by the model; made by `make_gradient`."""

    scalars = False  # whether numbers that the loss watches are observed as arrays are

    def __init__(self, loss_function: LossFunction, observe: bool = False) -> None:
        self.loss_function, self.observe = loss_function, observe
        self.told: Callable[..., Any] = loss_function  # what messages name
        self.programs: dict[Any, Gradients | None] = {}
        self.asked: str | None = None  # where the loss asks for values, and what to write instead

    def __call__(self, model: Any, X: Any, y: Any) -> tuple[Any, Any]:
        """Compute (loss, a tree like the model)."""
        leaves, rebuild = trees.flatten(model)
        with np.errstate(all="ignore"):
            loss, grads, *_ = self.of_leaves(leaves, rebuild, X, y)
        zeros = [np.zeros_like(x) for x in numbers_of(leaves)]
        return loss, rebuild(put_numbers(leaves, [grads.get(i, zero) for i, zero in enumerate(zeros)]))

    def of_leaves(self, leaves: list[Any], rebuild: trees.Rebuild, X: Any, y: Any) -> Outcome:
        """Compute the loss, the gradients, what replaces running statistics, and what is observed."""
        chosen = self.program_for(leaves, rebuild, X, y)
        if chosen is None:
            return self._by_values(leaves, rebuild, X, y)
        batch = [leaf for tree in (X, y) for leaf in trees.flatten(tree)[0] if is_array_like(leaf)]
        return chosen.take_apart(evaluate(chosen.graph, [*numbers_of(leaves), *batch]))

    def _by_values(self, leaves: list[Any], rebuild: trees.Rebuild, X: Any, y: Any) -> Outcome:
        """The same for a loss that asks for values; nothing is observed."""
        trained = trained_numbers(rebuild(leaves))
        with training(getattr(y, "keys", None)):
            loss, grads = value_and_grad(lambda model: self.loss_function(model, X, y))(rebuild(leaves))
        found = numbers_of(trees.flatten(grads)[0])
        with training(getattr(y, "keys", None)) as made:
            model = rebuild(leaves)
            self.loss_function(model, X, y)
        return Outcome(loss, {i: found[i] for i in trained}, _places(model, made), {})

    def program_for(self, leaves: list[Any], rebuild: trees.Rebuild, X: Any, y: Any) -> Gradients | None:
        """Return the backward pass for arguments like these; None where it depends on values."""
        params, batch = numbers_of(leaves), [leaf for tree in (X, y) for leaf in trees.flatten(tree)[0]]
        specs: Any = tuple(map(describe_leaf, params)), functions_of(leaves), trees.key_of(rebuild(leaves))
        shapes = trees.key_of((X, y)), tuple(map(describe_leaf, batch))
        any_batch = (specs, shapes[0], tuple((shape[1:], dtype) for shape, dtype in shapes[1]))
        key = any_batch if any_batch in self.programs else (specs, shapes)
        if key not in self.programs:
            program = self._differentiate(rebuild(leaves), X, y)
            key = any_batch if program is not None and program.graph.symbols() else key
            self.programs[key] = program
        return self.programs[key]

    def _nothing_to_train(self, loss: Node, wrt: Sequence[Node]) -> str:
        """Say why no gradient reaches any parameter: a flat operation stands between, or the loss reads none."""
        who = describe_function(self.told)
        flat = [node for x in wrt for node in flat_after(x, ancestors([loss]))]
        if not flat:
            return (
                f"{who} does not depend on the model's parameters, so there is nothing to train. Compute it of what "
                "they give."
            )
        last = max(flat, key=lambda node: node.index)
        return (
            f"{who} depends on the parameters only by way of {last.op.name} ({last.line}), which has no slope: the "
            "gradient is 0 everywhere, and there is nothing to train. Let the loss measure by how much, such as a "
            "cross-entropy, where this counts."
        )

    def _differentiate(self, model: Any, X: Any, y: Any) -> Gradients | None:
        """The simplified forward and backward pass; None where it depends on values."""
        replaced: tuple[int, ...] = ()
        seen: list[tuple[str, Any]] = []

        def forward(model: Any, X: Any, y: Any) -> Any:
            nonlocal replaced, seen
            with training(getattr(y, "keys", None), self.observe) as made:
                loss = self.loss_function(model, X, y)
            found = _places(model, made)
            replaced, seen = tuple(found), _observable(made, self.scalars)
            return (loss, *found.values(), *[value for _, value in seen]) if found or seen else loss

        forward.draws = (  # type: ignore[attr-defined]
            "a layer of the model, or the loss,",
            "Draw with undertow.nn.uniform_like(x) or normal_like(x): their numbers are others in each step.",
        )
        forward.__name__ = getattr(self.loss_function, "__name__", "loss")
        forward.__wrapped__ = self.loss_function  # type: ignore[attr-defined]
        try:
            traced = trace_function(forward, (model, X, y), batch=[1, 2])
        except ControlFlowError as error:
            self.asked = str(error).split(" (ut.grad sees values")[0]
            return None
        scalar_output(Tracer(traced.graph.outputs[0], NotingTrace()), self.loss_function)
        name_loss(traced.graph)
        params = [x for x in traced.arguments[0] if isinstance(x, Node)]
        trained = trained_numbers(model)
        wrt = [params[i] for i in trained]
        warn_of_squares(traced.graph, wrt)
        looked_at = range(1 + len(replaced), len(traced.graph.outputs))
        graph, _, unreached = simplified_gradient(traced.graph, wrt, looked_at)
        if all(x in unreached for x in wrt):
            raise ArgumentError(self._nothing_to_train(traced.graph.outputs[0], wrt))
        lost = tuple(i for i, x in zip(trained, wrt, strict=True) if x in unreached)
        return Gradients(graph, replaced, trained, tuple(path for path, _ in seen), lost)


def passes(node: Node, position: int) -> bool:
    """Whether a gradient passes an operation to one of its inputs."""
    op: Any = node.op
    return node.inputs[position].spec.dtype.kind == "f" and op.rule(position) not in (P.ZERO, P.NO_GRADIENT)


def flat_after(param: Node, behind: list[Node]) -> list[Node]:
    """The operations at which the gradient by a parameter ends, in the order of the program."""
    reached, flat = {param}, []
    for node in behind:
        here = [position for position, x in enumerate(node.inputs) if x in reached]
        if here and node.spec.dtype.kind == "f" and any(passes(node, position) for position in here):
            reached.add(node)
        elif here:
            flat.append(node)
    return flat


def _observable(made: TrainingPass, scalars: bool) -> list[tuple[str, Any]]:
    """What was observed and is an array of floats that the program computes; a layer called twice counts once."""
    found: dict[str, Any] = {}
    for path, value in made.seen or ():
        if (
            isinstance(value, Tracer)
            and value.node.op is not INPUT
            and value.dtype.kind == "f"
            and (value.ndim or scalars)
        ):
            found.setdefault(path, value)
    return list(found.items())


def _places(model: Any, made: TrainingPass) -> dict[int, Any]:
    """The places of what is replaced among the numbers of a model."""
    if not made.replaced:
        return {}
    numbers = numbers_of(trees.flatten(model)[0])
    found = {}
    for old, new in made.replaced:
        place = next((i for i, x in enumerate(numbers) if x is old), None)
        if place is None:
            raise ArgumentError(
                "a layer replaces an array that the model does not hold. Give nn.replace the field of the layer itself."
            )
        found[place] = new
    return found


def trained_numbers(model: Any) -> tuple[int, ...]:
    """Return the places, among the numbers of a model, of those that gradients train.

    A layer's class attribute ``not_trained`` names the fields that they do not.
    """
    return tuple(i for i, (leaf, trained) in enumerate(_marked(model)) if trained)


def _marked(model: Any) -> list[tuple[Any, bool]]:
    leaves = trees.flatten(model)[0]
    return [
        (leaf, trained)
        for leaf, trained in zip(leaves, trees.unmarked(model, "not_trained"), strict=True)
        if is_array_like(leaf)
    ]


def number_paths(model: Any) -> list[str]:
    """Name the numbers of a model: ``layers[0].W``."""
    leaves, names = trees.flatten(model)[0], name_leaves(model)
    return [name or "parameter" for leaf, name in zip(leaves, names, strict=True) if is_array_like(leaf)]


def numbers_of(leaves: list[Any]) -> list[Any]:
    """Take the arrays and floats out of a model's leaves, which hold its activation functions, names and flags too."""
    return [leaf for leaf in leaves if is_array_like(leaf)]


def functions_of(leaves: list[Any]) -> tuple[Any, ...]:
    """Take the functions, names and flags out of a model's leaves, as `describe_leaf` tells them from others."""
    return tuple(describe_leaf(leaf)[1] for leaf in leaves if not is_array_like(leaf))


def put_numbers(leaves: list[Any], numbers: list[Any]) -> list[Any]:
    """Put numbers back between the functions, names and flags: the inverse of `numbers_of`."""
    rest = iter(numbers)
    return [next(rest) if is_array_like(leaf) else leaf for leaf in leaves]


def describe_leaf(leaf: Any) -> tuple[tuple[int, ...], Any]:
    """Return the shape and dtype of an array, by which programs are known; of a flag, name or function itself."""
    if is_array_like(leaf):
        return np.shape(leaf), getattr(leaf, "dtype", type(leaf))
    return (), (type(leaf), leaf if isinstance(leaf, Hashable) else id(leaf))


def check_rows(X: Any, y: Any) -> None:
    """ShapeError unless all arrays of a batch have as many rows."""
    shapes = [np.shape(leaf) for tree in (X, y) for leaf in trees.flatten(tree)[0]]
    if any(not shape or shape[0] != shapes[0][0] for shape in shapes):
        raise ShapeError(
            f"the arrays of a batch are {', '.join(map(str, shapes))}: their leading sizes differ. Give each a row an "
            "example."
        )


def take_rows(tree: Any, rows: Any) -> Any:
    """Take rows of all arrays of a batch."""
    leaves, rebuild = trees.flatten(tree)
    return rebuild([leaf[rows] for leaf in leaves])


def make_gradient(loss_function: LossFunction) -> Gradient:
    """Make the function of (model, X, y) that computes the loss and its gradient by the model.

    The loss is traced, differentiated and simplified once for each kind of arguments; the batch size is
    a symbol, so that a short last batch needs no second trace. A loss whose Python code asks for values
    is differentiated anew at each call.

    Args:
        loss_function: ``loss_function(model, X, y)`` → one number.

    Returns:
        ``gradient(model, X, y)`` → (loss, a tree like the model).

    Source: derived here.

    Example:
        >>> gradient = make_gradient(lambda w, X, y: np.sum(w * X * y))
        >>> gradient(np.array([2.0]), np.array([3.0, 1.0]), np.array([4.0, 1.0]))
        (np.float64(26.0), array([13.]))
    """
    return Gradient(loss_function)
