"""One training step: forward, backward, clipping, update. What computes it is decided here alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from undertow import trees
from undertow.compile.resident import Resident
from undertow.compile.statistics import Measure, statistics
from undertow.errors import ArgumentError
from undertow.graph import INPUT, Graph, Node
from undertow.lazy import uncollected
from undertow.optim import (
    Clip,
    Optimizer,
    all_finite,
    check_finite,
    clip_trained,
    keep_if,
    read_policy,
    zero_non_finite,
)
from undertow.primitives import astype, spec_of
from undertow.trace import Tracer
from undertow.trace.tracer import NotingTrace, constant
from undertow.train.derive import (
    Gradient,
    Gradients,
    LossFunction,
    check_rows,
    describe_leaf,
    functions_of,
    number_paths,
    numbers_of,
    take_rows,
    trained_numbers,
)
from undertow.train.session import PlainSession, Session

# Called with what layers gave and the gradients by that, by the layers' paths; the gradients before clipping, the
# parameters and the new ones, by their paths: it returns what is to be measured of them in every step, by name.
Observer = Callable[[dict[str, Any], dict[str, Any], dict[str, Any], dict[str, Any]], dict[str, Measure]]


class Step:
    """One step of training; made by `make_step`.

    Called with (model, state, X, y) it returns (loss before the step, new model, new state) and changes
    none of its arguments. `open` begins a series of steps on parameters that stay in memory of its own.

    Attributes:
        uncompiled: why the steps are done by NumPy, for people; None where they are compiled.
        results: what a step tells, by name: its loss first.
        watched: the names of the arrays whose statistics a step tells.
    """

    def __init__(
        self,
        loss_function: LossFunction,
        optimizer: Optimizer,
        clip: Clip | None,
        non_finite: str = "raise",
        project: Callable[[Any], Any] | None = None,
        observer: Observer | None = None,
    ) -> None:
        self.optimizer, self.clip, self.project = optimizer, clip, project
        self.non_finite = read_policy(non_finite)
        self.observer = observer
        self.gradient = Gradient(loss_function, observer is not None)
        self.uncompiled: str | None = None
        self.results: tuple[str, ...] = ("loss",)
        if clip is not None or non_finite == "skip":
            self.results += ("finite",)
        if clip is not None:
            self.results += ("clipped",)
            if observer is not None:
                self.results += ("clip",)
        self.watched: tuple[str, ...] = ()
        self._programs: dict[Any, Resident | None] = {}

    def init(self, model: Any) -> Any:
        """Make the state before the first step; its trees are dicts of the trained arrays by their paths."""
        numbers, paths = numbers_of(trees.flatten(model)[0]), number_paths(model)
        return self.optimizer.init({paths[i]: numbers[i] for i in trained_numbers(model)})

    def apply(
        self, loss: Any, grads: dict[str, Any], state: Any, params: dict[str, Any], seen: dict[str, Any]
    ) -> tuple[dict[str, Any], Any, Any, dict[str, Measure]]:
        """Make of gradients new parameters and a new state: what a step does after its backward pass.

        Returns:
            The results by name, the parameters, the state, what is to be measured.
        """
        results, raw = {"loss": loss}, grads
        if self.non_finite == "zero":
            grads = zero_non_finite(grads)
        if self.clip is not None:
            grads, factor, results["finite"] = clip_trained(self.clip, self.optimizer, grads, params)
            results["clipped"] = factor < 1
            if self.observer is not None:
                results["clip"] = factor
        elif "finite" in self.results:
            results["finite"] = all_finite(grads)
        new, new_state = self.optimizer.update(grads, state, params)
        if not isinstance(new, dict) or new.keys() != params.keys() or not trees.same_structure(new_state, state):
            raise ArgumentError(
                f"{self.optimizer.name}: update returned other parameters than it was given, or a state of another "
                "structure than init made. Return a tree like params, and a state like the one before."
            )
        if self.project is not None:
            moves = self.optimizer.trains
            new = {**new, **self.project({path: w for path, w in new.items() if moves is None or moves(path, w)})}
        if self.non_finite == "skip":
            taken = np.logical_and(results["finite"], np.isfinite(loss))
            new, new_state = keep_if(taken, new, params), keep_if(taken, new_state, state)
        measures = {} if self.observer is None else self.observer(seen, raw, params, new)
        return results, new, new_state, measures

    def keep_statistics(self, results: dict[str, Any], new: list[Any], old: list[Any]) -> list[Any]:
        """Return what replaces running statistics: the old ones if the step is left out, or not all are finite."""
        if self.non_finite == "raise" or not new:
            return new
        taken = all_finite(new)
        if self.non_finite == "skip":
            taken = np.logical_and(taken, np.logical_and(results["finite"], np.isfinite(results["loss"])))
        return list(keep_if(taken, new, old))

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

    def forget(self) -> None:
        """Let go of the programs, to trace the next steps anew."""
        self._programs.clear()
        self.gradient.programs.clear()

    def let_go(self) -> None:
        """Let go of the examples of the last steps; the programs stay."""
        for resident in self._programs.values():
            if resident is not None:
                resident.release()

    def _find(
        self, leaves: list[Any], rebuild: trees.Rebuild, structure: Any, state: Any, X: Any, y: Any, rows: int
    ) -> Resident | None:
        """Return the compiled step for arguments like these; None where there is none."""
        params, batch = numbers_of(leaves), [leaf for tree in (X, y) for leaf in trees.flatten(tree)[0]]
        examples = trees.key_of((X, y)), tuple((np.shape(x)[1:], getattr(x, "dtype", type(x))) for x in batch)
        key = tuple(map(describe_leaf, params)), examples, functions_of(leaves), structure
        for known in (key, (*key, rows)):
            if known in self._programs:
                return self._programs[known]
        with uncollected(), np.errstate(all="ignore"):  # of constants that are computed
            return self._compile(leaves, rebuild, state, X, y, rows, key)

    def _compile(
        self, leaves: list[Any], rebuild: trees.Rebuild, state: Any, X: Any, y: Any, rows: int, key: tuple[Any, ...]
    ) -> Resident | None:
        params = numbers_of(leaves)
        program = self.gradient.program_for(leaves, rebuild, take_rows(X, slice(rows)), take_rows(y, slice(rows)))
        resident = None
        if program is None:
            self.uncompiled = f"the loss asks for values while it is traced. {self.gradient.asked or ''}".rstrip(" .")
        else:
            n_state = len(params) + len(trees.flatten(state)[0])
            graph = self._join(program, number_paths(rebuild(leaves)), state)
            resident = Resident(graph, n_state, len(self.results), "numpy", self.watched)
            by_numpy = resident.prepare(rows).plan.read_by_numpy
            if by_numpy:
                self.uncompiled = "NumPy does " + ", ".join(sorted({f"{x.op.name} ({x.line})" for x in by_numpy}))
        self._programs[key if program is None or program.graph.symbols() else (*key, rows)] = resident
        return resident

    def _join(self, program: Gradients, paths: list[str], state: Any) -> Graph:
        """Write clipping and update behind the gradient: one graph of parameters, state and batch."""
        memory, restate = trees.flatten(state)
        trace = NotingTrace()
        graph = program.graph
        numbers, batch = graph.inputs[: len(paths)], graph.inputs[len(paths) :]
        kept = [Node(INPUT, (), {}, spec_of(x)) for x in memory]
        found = program.take_apart([Tracer(x, trace) for x in graph.outputs])
        grads = {paths[i]: g for i, g in found.grads.items()}
        params = {paths[i]: Tracer(numbers[i], trace) for i in program.trained}
        before = restate([Tracer(x, trace) for x in kept])
        results, new, new_state, measures = self.apply(found.loss, grads, before, params, found.seen)
        self.watched = tuple(measures)
        after: list[Any] = list(numbers)
        old = [Tracer(numbers[i], trace) for i in found.replaced]
        kept_statistics = self.keep_statistics(results, list(found.replaced.values()), old)
        for i, x in zip(found.replaced, kept_statistics, strict=True):
            after[i] = x
        for i in program.trained:
            after[i] = new[paths[i]]
        pairs = zip([*after, *trees.flatten(new_state)[0]], [*numbers, *kept], strict=True)
        nodes = [self._like(x, old) for x, old in pairs]
        told = [x.node if isinstance(x, Tracer) else constant(x) for x in (results[name] for name in self.results)]
        watched = [statistics(*x).node for x in measures.values()]
        return Graph((*numbers, *kept, *batch), (*told, *nodes, *watched), title="step")

    def _like(self, new: Any, old: Node) -> Node:
        """Return a new parameter or part of the state, which must be like the one before."""
        node = new if isinstance(new, Node) else new.node if isinstance(new, Tracer) else constant(new)
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
        check_finite(grads, self.clip.name if self.clip else "")


def make_step(
    loss_function: LossFunction,
    optimizer: Optimizer,
    clip: Clip | None = None,
    non_finite: str = "raise",
    project: Callable[[Any], Any] | None = None,
    observer: Observer | None = None,
) -> Step:
    """Make the function that does one step of training.

    Args:
        loss_function: ``loss_function(model, X, y)`` → one number.
        optimizer: the update rule.
        clip: a clipping rule, or None.
        non_finite: what becomes of a step whose gradient is not finite: ``"raise"``; ``"skip"`` leaves parameters and
            state as they were; ``"zero"`` puts 0 in place of what is not finite.
        project: a function of the new parameters, a dict by path, that returns those to keep.
        observer: see `Observer`; what it measures is among what a step tells.

    Returns:
        ``step(model, state, X, y)`` → (loss before the step, new model, new state); ``step.init(model)``
        makes the first state.

    Raises:
        TrainingError: the step's ``clip`` met a gradient that is not finite.
        ArgumentError: ``non_finite is 'ignore'. Use one of raise, skip, zero.``

    Source: derived here.

    Example:
        >>> from undertow.optim import sgd
        >>> step = make_step(lambda w, X, y: np.mean((X * w - y) ** 2), sgd(0.25))
        >>> w = np.array([1.0])
        >>> step(w, step.init(w), np.array([1.0, 1.0]), np.array([3.0, 3.0]))
        (4.0, array([2.]), ())
    """
    return Step(loss_function, optimizer, clip, non_finite, project, observer)
