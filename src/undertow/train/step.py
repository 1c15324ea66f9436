"""One training step: forward, backward, clipping, update. What computes it is decided here alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from undertow import trees
from undertow.api import Backprop, backprop
from undertow.compile.resident import Resident
from undertow.differentiate import value_and_grad
from undertow.errors import ArgumentError, ControlFlowError, ShapeError
from undertow.graph import INPUT, Graph, Node, evaluate
from undertow.optim import Clip, Optimizer, check_finite, clip_trained, name_leaves
from undertow.primitives import astype, spec_of
from undertow.trace import Tracer, describe_function
from undertow.trace.tracer import NotingTrace, constant

LossFunction = Callable[[Any, Any, Any], Any]


class Step:
    """One step of training; made by `make_step`.

    Called with (model, state, X, y) it returns (loss before the step, new model, new state) and changes
    none of its arguments. `open` begins a series of steps on parameters that stay in memory of its own.

    Attributes:
        uncompiled: why the steps are done by NumPy, for people; None where they are compiled.
    """

    def __init__(self, loss_function: LossFunction, optimizer: Optimizer, clip: Clip | None) -> None:
        self.optimizer = optimizer
        self.clip = clip
        self.gradient = Gradient(loss_function)
        self.uncompiled: str | None = None
        self._programs: dict[Any, Resident | None] = {}

    def init(self, model: Any) -> Any:
        """Make the state before the first step; its trees are dicts of the model's arrays by name."""
        leaves = trees.flatten(model)[0]
        return self.optimizer.init(by_name(names_of(model, leaves), numbers_of(leaves)))

    def __call__(self, model: Any, state: Any, X: Any, y: Any) -> tuple[float, Any, Any]:
        """Do one step."""
        check_rows(X, y)
        rows = len(trees.flatten(X)[0][0])
        session = self.open(model, state, X, y, rows)
        (loss,) = session.run(np.arange(rows), rows)
        return (float(loss), *session.values())

    def open(self, model: Any, state: Any, X: Any, y: Any, batch_size: int) -> Session | PlainSession:
        """Begin a series of steps.

        Args:
            model: before the first step; it stays as it is.
            state: before the first step; it stays as it is.
            X: all examples, a tree of arrays whose batch axis is the first.
            y: their targets, the same.
            batch_size: the number of rows that most batches have.

        Returns:
            The session: ``run(order, batch_size)`` does steps, ``values()`` returns the model and state they led to.
        """
        check_rows(X, y)
        leaves, rebuild, structure = trees.flatten_with_key(model)
        resident = self._find(leaves, rebuild, structure, state, X, y, batch_size)
        if resident is None:
            return PlainSession(self, model, state, X, y)
        return Session(self, resident, (model, leaves, rebuild), state, X, y)

    def _find(
        self, leaves: list[Any], rebuild: trees.Rebuild, structure: Any, state: Any, X: Any, y: Any, rows: int
    ) -> Resident | None:
        """Return the compiled step for arguments like these; None where there is none."""
        params, batch = numbers_of(leaves), [leaf for tree in (X, y) for leaf in trees.flatten(tree)[0]]
        examples = tuple((np.shape(x)[1:], getattr(x, "dtype", type(x))) for x in batch)
        key = tuple(map(_describe, params)), examples, functions_of(leaves), structure
        for known in (key, (*key, rows)):
            if known in self._programs:
                return self._programs[known]
        program = self.gradient.program_for(leaves, rebuild, _take(X, slice(rows)), _take(y, slice(rows)))
        resident = None
        if program is None:
            self.uncompiled = "the loss asks for values while it is traced"
        else:
            n_state = len(params) + len(trees.flatten(state)[0])
            names = names_of(rebuild(leaves), leaves)
            resident = Resident(self._join(program, state, names), n_state, 1 + (self.clip is not None), "numpy")
            by_numpy = resident.prepare(rows).plan.read_by_numpy
            if by_numpy:
                self.uncompiled = "NumPy does " + ", ".join(sorted({f"{x.op.name} ({x.line})" for x in by_numpy}))
        self._programs[key if program is None or program.graph.symbols() else (*key, rows)] = resident
        return resident

    def _join(self, program: Backprop, state: Any, names: list[str]) -> Graph:
        """Write clipping and update behind the gradient: one graph of parameters, state and batch."""
        memory, restate = trees.flatten(state)
        trace = NotingTrace()
        graph = program.graph
        n_params = len(graph.outputs) - 1
        params = graph.inputs[:n_params]
        kept = [Node(INPUT, (), {}, spec_of(x)) for x in memory]
        loss, *found = [Tracer(x, trace) for x in graph.outputs]
        grads, before = by_name(names, found), restate([Tracer(x, trace) for x in kept])
        weights = by_name(names, [Tracer(x, trace) for x in params])
        results = [loss.node]
        if self.clip is not None:
            grads, _, finite = clip_trained(self.clip, self.optimizer, grads, weights)
            results.append(finite.node if isinstance(finite, Tracer) else constant(np.bool_(finite)))
        new, new_state = self.optimizer.update(grads, before, weights)
        if not trees.same_structure(new, weights) or not trees.same_structure(new_state, state):
            raise ArgumentError(
                f"{self.optimizer.name}: update returned other parameters than the {n_params} given, or a state of "
                "another structure than init made. Return a tree of each like the one before."
            )
        pairs = zip([*(new[name] for name in names), *trees.flatten(new_state)[0]], [*params, *kept], strict=True)
        nodes = [self._like(x, old) for x, old in pairs]
        return Graph((*params, *kept, *graph.inputs[n_params:]), (*results, *nodes), title="step")

    def _like(self, new: Any, old: Node) -> Node:
        """Return a new parameter or part of the state, which must be like the one before."""
        node = new.node if isinstance(new, Tracer) else constant(new)
        if node.spec.shape != old.spec.shape or (node.spec.dtype != old.spec.dtype and not old.spec.weak):
            raise ArgumentError(
                f"{self.optimizer.name}: update makes {node.spec} of {old.spec}. Keep shapes and dtypes: Python floats "
                "take on the dtype of the arrays they meet, np.float64 does not."
            )
        if node.spec.dtype != old.spec.dtype:
            node = astype(Tracer(node, NotingTrace()), dtype=old.spec.dtype).node
        return node

    def check(self, model: Any, X: Any, y: Any) -> None:
        """Raise the error of a gradient that is not finite, if it is not."""
        _, grads = self.gradient(model, X, y)
        check_finite(grads, self.clip.name if self.clip else "the gradient")


class Session:
    """Compiled steps in a row; between them the parameters stay where the program has them.

    Attributes:
        model: before the first step.
        state: before the first step.
    """

    def __init__(
        self, step: Step, resident: Resident, taken: tuple[Any, list[Any], trees.Rebuild], state: Any, X: Any, y: Any
    ) -> None:
        self.step, self.resident, self.state, self.X, self.y = step, resident, state, X, y
        self.model, self.leaves, self.rebuild = taken  # apart already
        self.restate = trees.flatten(state)[1]
        self.batch = [np.ascontiguousarray(leaf) for tree in (X, y) for leaf in trees.flatten(tree)[0]]
        self.done: list[tuple[Any, int]] = []  # what was run, to do it again up to a step that failed
        self.led_to: tuple[Any, Any] | None = (self.model, state)

    def run(self, order: NDArray[Any], batch_size: int) -> NDArray[Any]:
        """Do the steps on these rows; a last batch may be short.

        Returns:
            The loss before each step.

        Raises:
            NotFinite: a loss, or a gradient that the step clips, is not finite; `values` are those before that step.
        """
        with self.resident.lock:
            return self._run(order, batch_size)

    def _run(self, order: NDArray[Any], batch_size: int) -> NDArray[Any]:
        self._take_over()
        whole, rest = divmod(len(order), batch_size)
        found = [self.resident.run(self.batch, order, batch_size, 0, whole)] if whole else []
        if rest:
            found.append(self._run_short(order[whole * batch_size :]))
        losses = np.concatenate([results[0] for results in found])
        finite = np.isfinite(losses)
        if self.step.clip is not None:
            finite &= np.concatenate([results[1] for results in found])
        if not finite.all():
            at = int(np.argmin(finite))
            self._go_back(order[: at * batch_size], batch_size)
            rows = order[at * batch_size : (at + 1) * batch_size]
            raise NotFinite(losses[:at], float(losses[at]), _take(self.X, rows), _take(self.y, rows))
        self.done.append((order, batch_size))
        return losses

    def _take_over(self) -> None:
        """Bring the parameters into the program's memory, if another session has it."""
        owner = self.resident.owner
        if owner is not self:
            if owner is not None:
                owner.values()
            model, state = self.values()
            leaves = self.leaves if model is self.model else trees.flatten(model)[0]
            self.resident.load([*numbers_of(leaves), *trees.flatten(state)[0]])
            self.resident.owner = self
        self.led_to = None

    def _run_short(self, order: NDArray[Any]) -> list[NDArray[Any]]:
        """Do a step on fewer rows; a program that holds for one batch size needs another one for it."""
        if self.resident.fits(len(order)):
            return self.resident.run(self.batch, order, len(order), 0, 1)
        model, state = self._values()
        other = self.step.open(model, state, _take(self.X, order), _take(self.y, order), len(order))
        if isinstance(other, Session):
            with other.resident.lock:
                other._take_over()
                results = other.resident.run(other.batch, np.arange(len(order)), len(order), 0, 1)
        else:
            results = [other.run(np.arange(len(order)), len(order)), np.array([True])]
        model, state = other.values()
        self.resident.load([*numbers_of(trees.flatten(model)[0]), *trees.flatten(state)[0]])
        return results

    def _go_back(self, order: NDArray[Any], batch_size: int) -> None:
        """Do all again up to here: steps are the same to the last bit."""
        self.resident.load([*numbers_of(self.leaves), *trees.flatten(self.state)[0]])
        self.led_to = self.model, self.state
        earlier, self.done = self.done, []
        for rows, size in [*earlier, (order, batch_size)]:
            if len(rows):
                self._run(rows, size)

    def values(self) -> tuple[Any, Any]:
        """Return the model and the state after the last step, in arrays of their own."""
        with self.resident.lock:
            if self.led_to is None:
                self.led_to = self._values()
            return self.led_to

    def _values(self) -> tuple[Any, Any]:
        values = self.resident.copies()
        n = len(numbers_of(self.leaves))
        return self.rebuild(put_numbers(self.leaves, values[:n])), self.restate(values[n:])


class PlainSession:
    """Steps in a row by NumPy, for a loss that cannot be traced without values."""

    def __init__(self, step: Step, model: Any, state: Any, X: Any, y: Any) -> None:
        self.step, self.model, self.state, self.X, self.y = step, model, state, X, y
        self.names = names_of(model, trees.flatten(model)[0])

    def run(self, order: NDArray[Any], batch_size: int) -> NDArray[Any]:
        """Do the steps on these rows; see `Session.run`."""
        losses: list[float] = []
        with np.errstate(all="ignore"):  # whoever trains asks whether the loss is finite
            for first in range(0, len(order), batch_size):
                rows = order[first : first + batch_size]
                X, y = _take(self.X, rows), _take(self.y, rows)
                leaves, rebuild = trees.flatten(self.model)
                loss, found = self.step.gradient.of_leaves(leaves, rebuild, X, y)
                weights, grads = by_name(self.names, numbers_of(leaves)), by_name(self.names, found)
                finite: Any = True
                if self.step.clip is not None:
                    grads, _, finite = clip_trained(self.step.clip, self.step.optimizer, grads, weights)
                if not np.isfinite(loss) or not finite:
                    raise NotFinite(np.array(losses), float(loss), X, y)
                weights, self.state = self.step.optimizer.update(grads, self.state, weights)
                self.model = rebuild(put_numbers(leaves, [weights[name] for name in self.names]))
                losses.append(float(loss))
        return np.array(losses)

    def values(self) -> tuple[Any, Any]:
        """Return the model and the state after the last step."""
        return self.model, self.state


class NotFinite(Exception):
    """A step met a loss or a gradient that is not finite.

    Attributes:
        losses: of the steps before it.
        loss: of the step.
        X: the inputs of its batch.
        y: its targets.
    """

    def __init__(self, losses: NDArray[Any], loss: float, X: Any, y: Any) -> None:
        super().__init__(f"the loss is {loss}")
        self.losses, self.loss, self.X, self.y = losses, loss, X, y


def check_rows(X: Any, y: Any) -> None:
    """ShapeError unless all arrays of a batch have as many rows."""
    shapes = [np.shape(leaf) for tree in (X, y) for leaf in trees.flatten(tree)[0]]
    if any(not shape or shape[0] != shapes[0][0] for shape in shapes):
        raise ShapeError(
            f"the arrays of a batch are {', '.join(map(str, shapes))}: their leading sizes differ. Give each a row an "
            "example."
        )


def _take(tree: Any, rows: Any) -> Any:
    leaves, rebuild = trees.flatten(tree)
    return rebuild([leaf[rows] for leaf in leaves])


class Gradient:
    """The loss and its gradient by the model; made by `make_gradient`."""

    def __init__(self, loss_function: LossFunction) -> None:
        self.loss_function = loss_function
        self.programs: dict[Any, Backprop | None] = {}

    def __call__(self, model: Any, X: Any, y: Any) -> tuple[Any, Any]:
        """Compute (loss, a tree like the model)."""
        leaves, rebuild = trees.flatten(model)
        with np.errstate(all="ignore"):
            loss, grads = self.of_leaves(leaves, rebuild, X, y)
        return loss, rebuild(put_numbers(leaves, grads))

    def of_leaves(self, leaves: list[Any], rebuild: trees.Rebuild, X: Any, y: Any) -> tuple[Any, list[Any]]:
        """Compute the loss and the gradients by the numbers among a model's leaves."""
        chosen = self.program_for(leaves, rebuild, X, y)
        if chosen is None:
            loss, grads = value_and_grad(self.loss_function)(rebuild(leaves), X, y)
            return loss, numbers_of(trees.flatten(grads)[0])
        batch = [leaf for tree in (X, y) for leaf in trees.flatten(tree)[0]]
        loss, *found = evaluate(chosen.graph, [*numbers_of(leaves), *batch])
        return loss, found

    def program_for(self, leaves: list[Any], rebuild: trees.Rebuild, X: Any, y: Any) -> Backprop | None:
        """Return the backward pass for arguments like these; None where it depends on values."""
        params, batch = numbers_of(leaves), [leaf for tree in (X, y) for leaf in trees.flatten(tree)[0]]
        specs: Any = tuple(map(_describe, params)), functions_of(leaves), trees.key_of(rebuild(leaves))
        shapes = tuple(map(_describe, batch))
        any_batch = (specs, tuple((shape[1:], dtype) for shape, dtype in shapes))
        key = any_batch if any_batch in self.programs else (specs, shapes)
        if key not in self.programs:
            program = self._differentiate(rebuild(leaves), X, y)
            key = any_batch if program is not None and program.graph.symbols() else key
            self.programs[key] = program
        return self.programs[key]

    def _differentiate(self, model: Any, X: Any, y: Any) -> Backprop | None:
        """The simplified forward and backward pass; None where it depends on values."""
        try:
            program = backprop(self.loss_function, model, X, y)
        except ControlFlowError:
            return None
        if len(program.unreached) == len(program.graph.outputs) - 1:
            raise ArgumentError(
                f"{describe_function(self.loss_function)} does not depend on the model's parameters, so there is "
                "nothing to train. Compute it of the model's output."
            )
        return program


def numbers_of(leaves: list[Any]) -> list[Any]:
    """Take the arrays and floats out of a model's leaves, which hold its activation functions too."""
    return [leaf for leaf in leaves if not callable(leaf)]


def functions_of(leaves: list[Any]) -> tuple[Any, ...]:
    """Take the functions out of a model's leaves."""
    return tuple(leaf for leaf in leaves if callable(leaf))


def put_numbers(leaves: list[Any], numbers: list[Any]) -> list[Any]:
    """Put numbers back between the functions: the inverse of `numbers_of`."""
    rest = iter(numbers)
    return [leaf if callable(leaf) else next(rest) for leaf in leaves]


def names_of(model: Any, leaves: list[Any]) -> list[str]:
    """Name the numbers among a model's leaves: ``layers[0].W``."""
    return [name for name, leaf in zip(name_leaves(model), leaves, strict=True) if not callable(leaf)]


def by_name(names: list[str], numbers: list[Any]) -> dict[str, Any]:
    """Put numbers beside their names: the tree that optimizers and clipping work on."""
    return dict(zip(names, numbers, strict=True))


def _describe(leaf: Any) -> tuple[tuple[int, ...], Any]:
    return np.shape(leaf), getattr(leaf, "dtype", type(leaf))


def make_step(loss_function: LossFunction, optimizer: Optimizer, clip: Clip | None = None) -> Step:
    """Make the function that does one step of training.

    Args:
        loss_function: ``loss_function(model, X, y)`` → one number.
        optimizer: the update rule.
        clip: a clipping rule, or None.

    Returns:
        ``step(model, state, X, y)`` → (loss before the step, new model, new state); ``step.init(model)``
        makes the first state.

    Raises:
        TrainingError: the step's ``clip`` met a gradient that is not finite.

    Source: derived here.

    Example:
        >>> from undertow.optim import sgd
        >>> step = make_step(lambda w, X, y: np.mean((X * w - y) ** 2), sgd(0.25))
        >>> w = np.array([1.0])
        >>> step(w, step.init(w), np.array([1.0, 1.0]), np.array([3.0, 3.0]))
        (4.0, array([2.]), ())
    """
    return Step(loss_function, optimizer, clip)


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
