"""Records the gradient flow of a loop of one's own, around a loss that is a plain NumPy function."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from html import escape
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from undertow import trees
from undertow.compile.statistics import measure_now
from undertow.errors import ArgumentError, UndertowError
from undertow.flow.activations import read_activations
from undertow.flow.beyond import find_beyond
from undertow.flow.company import find_mixing_program
from undertow.flow.dealt import Last, deal_anew, go_against, highest
from undertow.flow.diagnose import diagnose
from undertow.flow.directions import climbs, goes_by_sums, is_plain, note_direction, rates_of
from undertow.flow.ends import squashed_twice
from undertow.flow.findings import Findings
from undertow.flow.given import Constant, Labels, ask_rare, target_of
from undertow.flow.layers import FlowLayer, describe_layers, first_calls
from undertow.flow.looks import due_mark, take_look
from undertow.flow.mixed import Mixture, held_of
from undertow.flow.moving import Moving
from undertow.flow.neighbours import measure_signal
from undertow.flow.noted import Noted
from undertow.flow.origin import trace_loss
from undertow.flow.own_gradient import BEHIND, OwnGradient
from undertow.flow.penalty import Penalty
from undertow.flow.products import Product, as_layers, find_products, last_products, values_given
from undertow.flow.program import are_classes, find_inputs, find_outputs, find_targets, softmax_over_examples
from undertow.flow.record import Flow
from undertow.flow.recorder import Recorder
from undertow.flow.rules import RULES
from undertow.flow.rules.data import rare_classes
from undertow.flow.scaled import normalises, sizes_of_gradients, standard
from undertow.flow.squares import Squares
from undertow.graph import Graph, Node, evaluate
from undertow.mistakes import local_names
from undertow.nn.mode import training
from undertow.simplify import simplify
from undertow.trace import argument_names, is_array_like, trace_function
from undertow.trace.crossed import warn_of_squares
from undertow.train.derive import number_paths, numbers_of, put_numbers

Array = NDArray[Any]


class OwnRecorder:
    """A loss and its gradient, recorded call by call; made by `recorded`."""

    def __init__(self, loss: Callable[..., Any]) -> None:
        self.loss = loss
        self.gradient = OwnGradient(loss)
        self.recorder: Recorder | None = None
        self.mixture, self.moving, self.squares = Mixture(), Moving(), Squares(loss)
        self.entering = Mixture()  # how much batches differ in what goes into the network
        self.last_batches = Last()
        self.constant, self.labels, self.penalty = Constant(), Labels(), Penalty()
        self.named: tuple[Any, list[str]] = (None, [])
        self.sums: dict[str, Array] | None = {}  # the gradients of all steps so far, added up; None where steps go else
        self.noted = Noted()
        self.step = 0
        self.read_at = 0  # the step after which the last batches were measured
        self.given: dict[str, Any] = {}  # what layers are given, of the first batch
        self.scales = False  # the network scales its inputs itself
        self.labelled = False  # targets are classes
        self.targets = False  # a batch holds targets, beside inputs
        self.whole: list[Any] | None = None  # what the first batch holds, while all are the same
        self.at_zero = math.nan  # the first batch's loss with a last layer of 0
        self.inputs: int | None = None  # the place of the network's inputs among the arrays of a batch
        self.last: tuple[Any, Any, float, dict[str, Any], dict[str, Any], dict[str, Any]] | None = None

    def __call__(self, params: Any, *args: Any) -> tuple[Any, Any]:
        """Compute (loss, gradient) as `undertow.value_and_grad` does, and record them."""
        leaves, rebuild, key = trees.flatten_with_key(params)
        numbers, paths = numbers_of(leaves), self._paths(params, (key, tuple(map(type, leaves))))
        self._finish(dict(zip(paths, numbers, strict=True)))
        if self.recorder is None:
            self.recorder = Recorder(self._layers(params, args))
        with np.errstate(all="ignore"):
            outcome = self.gradient.of_leaves(leaves, rebuild, args, ())
        if not self.step:
            self._read_program(params, args)
            self._scale(params, args)
        if not self.step or due_mark(self.step - 1, self.step) is not None:
            self._look(params, args)
            self.given = {}
        if not self.step or self.whole is not None:
            now = held_of(args)
            self.whole = now if not self.step or now == self.whole else None
        self.step += 1
        self.mixture.add(args)
        if (X := self._inputs_of(args)) is not None:
            self.entering.add([X])
        self.squares.add(args)
        self.moving.add(numbers, args)
        self.last_batches.add(args)
        self.constant.compare(args)
        self.constant.add(self._inputs_of(args))
        self.labels.add(args)
        # what is given too: of an infinite bias tanh makes 1, and its gradient 0
        bad = not all(np.isfinite(x).all() for x in (outcome.loss, *outcome.grads.values(), *numbers))
        if bad and "non_finite" not in self.recorder.flow.facts:
            place = (self.gradient.loss_function, params, args, ())
            self.recorder.trace_back(*place, step=self.step, epoch=1, loss=float(outcome.loss))
        by_path = {paths[i]: g for i, g in outcome.grads.items()}
        held = {path: np.array(x) for path, x in zip(paths, numbers, strict=True)}
        self.last = params, args, float(outcome.loss), outcome.seen, by_path, held
        zeros = [np.zeros_like(x) for x in numbers]
        grads = [outcome.grads.get(i, zero) for i, zero in enumerate(zeros)]
        return outcome.loss, rebuild(put_numbers(leaves, grads))

    def _paths(self, params: Any, kind: Any) -> list[str]:
        """The paths of the parameters, which take as long to write as a small product."""
        if self.named[0] != kind:
            self.named = kind, number_paths(params)
        return self.named[1]

    def __repr__(self) -> str:
        n = 0 if self.recorder is None else len(self.recorder.current())
        return f"recorded({getattr(self.loss, '__name__', 'loss')}, {n} steps)"

    @property
    def flow(self) -> Flow:
        """The record so far; the last call is in it once the next one shows how the parameters changed."""
        if self.recorder is None:
            raise ArgumentError("nothing is recorded yet. Call the recorder with parameters and a batch.")
        flow, facts = self.recorder.current(), self.recorder.flow.facts
        entering = self.entering.told().get("between")
        facts["mixture"] = {
            **self.mixture.told(),
            **({"entering": entering} if entering is not None and self.targets else {}),
        }
        facts["noted"] = self.noted.rows(flow)
        facts["moving"], facts["targets"] = self.moving.told(), self.targets
        facts["same_batch"] = self.whole is not None and len(self.gradient.known) < 2  # what it reads from outside, too
        if is_plain(facts) and len(flow):
            flow.scalars["rate"][:] = rates_of(flow)
        if self.last is not None and self.read_at != self.step:
            self.read_at = self.step
            facts |= self._columns() | self._classes()
            if "mixes" in facts:
                facts["mixes"]["drawn"] = self.constant.drawn
            facts["squares"] = self.squares.told(self.last[0], self.last_batches.batches)
            facts["penalty"] = self.penalty.told(self.loss, self.last[0], self.last_batches.batches)
            facts.pop("dealt", None)
            # it takes 48 losses, or 6 for each batch
            facts.pop("signal", None)
            stands = any(RULES["plateau"].find(flow, RULES["plateau"]))
            turned = any(RULES["turned-sign"].find(flow, RULES["turned-sign"]))
            against = self._against(flow) if len(flow) and flow.scalars["loss"][0] < 0 else {}
            facts["against"] = against
            if self.labelled or self.squares.place is not None or stands or turned or against:
                sign = -1 if climbs(flow) else 1  # of what is made large, it is the fall
                dealt = (self.last[0], self.last_batches.batches, self.mixture.place)
                facts["dealt"] = deal_anew(self.loss, *dealt, sign)
                facts |= self._signal() if any(RULES["plateau"].find(flow, RULES["plateau"])) else {}
        return flow

    def _against(self, flow: Flow) -> dict[str, float]:
        """Whether the outputs of the last batch go with its targets, where these have as many numbers."""
        assert self.last is not None
        seen, y = self.last[3], target_of(self.last[1], self.mixture.place)
        outputs = [seen[name][0] for name in flow.facts.get("outputs") or () if name in seen]
        told = go_against(outputs[-1], y) if outputs and y is not None else {}
        return told | {"most": highest(self.loss, *self.last[:2], self.mixture.place or 0)} if told else {}

    def _inputs_of(self, args: Sequence[Any]) -> Array | None:
        """The network's inputs among what a loss is given; None where no array of numbers holds them."""
        leaves = [np.asarray(x) for x in trees.flatten(args)[0] if is_array_like(x)]
        if self.inputs is None or self.scales or self.inputs >= len(leaves):
            return None
        X = leaves[self.inputs]
        return X if X.ndim > 1 and X.dtype.kind == "f" and X.size and len(X) > 1 else None

    def _has_classes(self, given: Sequence[Any]) -> bool:
        """Whether the targets are probabilities of classes, and stand beside inputs of the network."""
        place = self.mixture.place
        return None not in (place, self.inputs) and place != self.inputs and are_classes(np.asarray(given[place or 0]))

    def _signal(self) -> dict[str, Any]:
        """Whether inputs tell anything of targets in the last batches, where both are known."""
        kind = "number" if self.squares.place is not None else "classes" if self.labels.told() else ""
        pairs = [(self._inputs_of(x), target_of(x, self.mixture.place)) for x in self.last_batches.batches]
        told = [(X, y) for X, y in pairs if X is not None and y is not None and len(X) == len(y)]
        if not kind or not told or any(X.shape[1:] != told[0][0].shape[1:] for X, _ in told):
            return {}
        X, first = np.unique(np.concatenate([X.reshape(len(X), -1) for X, _ in told]), axis=0, return_index=True)
        found = measure_signal(X, np.concatenate([y for _, y in told])[first], kind)  # a row may be in many batches
        return {} if found is None else {"signal": found}

    def _columns(self) -> dict[str, Any]:
        """How the columns of the network's inputs are scaled, in the last batches; nothing where that is not known."""
        found = [X for X in map(self._inputs_of, self.last_batches.batches) if X is not None]
        rows = [X.reshape(len(X), -1) for X in found if X.shape[1:] == found[-1].shape[1:]]
        return self.constant.told(np.concatenate(rows)) if rows else {}

    def _classes(self) -> dict[str, Any]:
        """How often each class comes, where targets are classes, and what the loop does for those that are rare."""
        told, place = self.labels.told(), self.labels.place
        if not told or place is None or self.last is None:
            return {}
        rare = rare_classes(told["priors"], RULES["imbalanced-classes"].share)
        if rare:
            asked = ask_rare(self.loss, self.last[0], self.last_batches.batches, place, told, rare)
            told["asked"] = asked or {"weighed": True}  # where it is not known, nothing is said
        return {"target": told, "at_zero": self.at_zero}

    def _scale(self, params: Any, args: Sequence[Any]) -> None:
        """Note how large the first gradient would be for scaled inputs, and whether the network scales them itself."""
        assert self.recorder is not None
        X, (leaves, rebuild) = self._inputs_of(args), trees.flatten(args)
        if X is None:
            return
        arrays = [x for x in leaves if is_array_like(x)]
        given = arrays[self.inputs or 0]  # as it was given: X is a view of a memory map
        y = self.squares.targets(args)  # numbers to predict, which are scaled too
        scaled_y = None if y is None else standard(np.asarray(y))
        size = X.dtype.type(np.sqrt(np.mean(np.square(X, dtype=np.float64))) or 1.0)
        others = [[other if x is given else x for x in leaves] for other in (X, X / 2, X / size, standard(X))]
        others[-1] = [scaled_y if x is y and scaled_y is not None else x for x in others[-1]]
        others = [rebuild(x) for x in others]
        now, half, unit, scaled = (
            sizes_of_gradients(self.gradient, self.recorder.layers, params, x, ()) for x in others
        )
        flat = any(x == 0 for x in now[1])  # of units that saturate the half is the same, too
        self.scales = normalises(now, half) and not (flat and not normalises(now, unit))
        self.recorder.flow.facts["dW_if_scaled"] = scaled[1]

    @property
    def findings(self) -> Findings:
        """What is wrong, the worst first. Remedies have no code where that is for `undertow.train`."""
        return diagnose(self.flow)

    def _repr_html_(self) -> str:
        """What a notebook shows: what is wrong, and the table of the gradient flow."""
        told = f"<p>{escape(repr(self))}</p>"
        return (
            told
            if self.recorder is None
            else f"<div>{told}{self.findings._repr_html_()}{self.flow._repr_html_()}</div>"
        )

    def note(self, *, validation_loss: float) -> None:
        """Tell the loss on rows held out, with the parameters of the last step, so that over-fitting can be found.

        Args:
            validation_loss: one number, computed as that of a batch is.

        Raises:
            ArgumentError: ``note: the validation loss has shape (3,), and must be one number. …``

        Source: derived here.

        Example:
            >>> import numpy as np
            >>> measured = recorded(lambda w, X, y: np.mean((X @ w - y) ** 2))
            >>> loss, gradient = measured(np.zeros(2), np.eye(2), np.ones(2))
            >>> measured.note(validation_loss=1.5)
        """
        self.noted.add(self.step, validation_loss)

    def report(self, path: str | Path = "report.html") -> Path:
        """Write a report as one HTML page, with the walk through the backward pass: `undertow.report.report_run`."""
        written: Path = import_module("undertow.report").report_run(self, path)
        return written

    def _finish(self, new: dict[str, Any]) -> None:
        """Record the last call, now that it is known what became of the parameters."""
        if self.last is None or self.recorder is None:
            return
        _, _, loss, seen, grads, params = self.last
        self.noted.watch(self.step, seen)
        note_direction(self.recorder.flow.facts, grads, params, new, self.sums)
        if not goes_by_sums(self.recorder.flow.facts):
            self.sums = None
        with np.errstate(all="ignore"):
            told = measure_now(self.recorder.observer(seen, grads, params, new))
        self.recorder.add_steps((told,), {"loss": np.array([loss])}, self.step, 1, np.nan)

    def _layers(self, params: Any, args: Sequence[Any]) -> list[FlowLayer]:
        """The layers and the values that are watched, in the order in which they are computed, and the parameters."""
        with training(None, observe=True) as made, np.errstate(all="ignore"):
            self.loss(params, *args)
        seen = first_calls((name, value) for name, value in made.seen or () if np.ndim(value))
        names, argument = _own_names(self.loss, params, args), argument_names(self.loss, 1 + len(args))[0]
        if not seen:
            seen = self._find_products(params, args, names)
        self.gradient.activations = read_activations(self.gradient.observed, params, args, seen)
        layers = [
            replace(x, name=names.get(x.path, argument + x.name if x.name[0] == "[" else x.name))
            if x.kind == "parameter"
            else x
            for x in describe_layers(params, seen)
        ]
        products, paths = self.gradient.products, number_paths(params)
        return as_layers(layers, products, paths, self.gradient.activations, BEHIND)

    def _find_products(self, params: Any, args: Sequence[Any], names: dict[str, str]) -> dict[str, Any]:
        """Find the layers of a loss that watches nothing, and what they give for a batch."""
        with np.errstate(all="ignore"), suppress(UndertowError):
            graph, numbers, weights, _ = trace_loss(self.gradient.loss_function, params, args, ())
            argument = argument_names(self.loss, 1 + len(args))[0]
            whole = [
                names.get(path, argument if path == "parameter" else f"{argument}{path}" if path[0] == "[" else path)
                for path in number_paths(params)
            ]
            found = find_products(graph.outputs[0], graph.nodes, weights, whole)
            values = evaluate(graph, numbers, [x.node for x in found])
            self.gradient.products = {x.name: x for x in found}
            return {x.name: x.by_examples(np.asarray(z)) for x, z in zip(found, values, strict=True)}
        return {}

    def _read_program(self, params: Any, args: Any) -> None:
        """Note what the program itself tells: what gets no gradient, which values are outputs, what becomes of them."""
        assert self.recorder is not None
        self.recorder.note_blocked(self.gradient, params, args, ())
        facts = self.recorder.flow.facts
        with np.errstate(all="ignore"), suppress(UndertowError):
            graph, numbers, weights, seen = trace_loss(self.gradient.loss_function, params, args, ())
            given = list(zip(graph.inputs, numbers, strict=True))[len(weights) :]
            layers = find_products(graph.outputs[0], graph.nodes, weights, [""] * len(weights))
            named = dict(zip(self.gradient.products, layers, strict=False))
            paths, self.given = number_paths(params), values_given(graph, numbers, named)
            facts["fan_in"] = {paths[x.weights]: x.fan_in for x in layers if x.weights is not None}
            facts["outputs"] = list(
                dict.fromkeys(find_outputs(graph, weights, seen) + last_products(named, graph.nodes))
            )
            self.mixture.place = find_targets(graph, weights, [node for node, _ in given])
            self.inputs = find_inputs(graph, weights, [node for node, _ in given])
            self.squares.read(params, args, self.mixture.place)
            self.penalty.read(graph, numbers, weights)
            self._without_last(params, args, [named[name] for name in last_products(named, graph.nodes)])
            self._mixing(graph, numbers, [node for node, _ in given], layers)
            self.targets = self.mixture.place is not None and len(given) > 1 and self.mixture.place != self.inputs
            self.labelled = self._has_classes(numbers[len(weights) :])
            self.labels.read(graph, [node for node, _ in given], self.mixture.place, self.inputs)
            simple = simplify(graph).graph
            told = {"twice": squashed_twice(simple), "over_examples": softmax_over_examples(simple, weights, given)}
            facts.update({name: found for name, found in told.items() if found})
            traced = trace_function(self.loss, (params, *args), batch=range(1, 1 + len(args)), value_alone=True)
            crossed = warn_of_squares(traced.graph, [x for x in traced.arguments[0] if isinstance(x, Node)])
            beyond = find_beyond(self.loss, params, args, self.mixture.place)
            facts.update({name: x for name, x in (("crossed", crossed), ("beyond", beyond)) if x})

    def _without_last(self, params: Any, args: Any, last: Sequence[Product]) -> None:
        """Note the loss of the first batch with last layers of 0, which answer the same for all examples."""
        leaves, rebuild = trees.flatten(params)
        numbers = numbers_of(leaves)
        places = {i for x in last for i in (x.weights, x.bias) if i is not None}
        if last and all(x.weights is not None for x in last):
            zeroed = [np.zeros_like(x) if i in places else x for i, x in enumerate(numbers)]
            with suppress(Exception), np.errstate(all="ignore"):  # of a user's function, which may divide by them
                slopes = self.gradient.of_leaves(put_numbers(leaves, zeroed), rebuild, args, ()).grads
                if not any(np.any(slopes[i]) for i in places & slopes.keys()):  # distances, which 0 makes none
                    return
                self.at_zero = float(self.loss(rebuild(put_numbers(leaves, zeroed)), *args))

    def _mixing(self, graph: Graph, numbers: list[Any], given: list[Node], layers: list[Product]) -> None:
        """Note what mixes examples in the network."""
        assert self.recorder is not None
        if self.mixture.place is None:  # batches beside one another, as of a discriminator that looks at a whole one
            return
        lone = len(given) == 1  # inputs that are targets, too
        place, others = self.inputs, [i for i in range(len(given)) if lone or i != self.mixture.place]
        if place is None and len(others) == 1:  # something is done with the inputs before they meet weights
            place = others[0]
        if place is None or not layers or any(x.turned for x in layers):
            return
        found = find_mixing_program(graph, numbers, given[place], [x.node for x in layers])
        if found:
            self.recorder.flow.facts["mixes"] = found

    def _look(self, params: Any, args: Any) -> None:
        assert self.recorder is not None
        place = self.gradient, self.recorder.layers, params, args, ()
        known: Any = {"noise": False, "inputs": self.inputs, "given": self.given}
        self.recorder.flow.looks.append(take_look(*place, step=self.step, epoch=1, **known))


def _own_names(loss: Callable[..., Any], params: Any, args: Sequence[Any]) -> dict[str, str]:
    """What the loss itself calls its parameters, by the paths of `number_paths`; the others are called by these."""
    argument = argument_names(loss, 1 + len(args))[0]
    local = local_names(loss, (params, *args), [0])
    pairs = zip(trees.flatten(params)[0], trees.paths(params), strict=True)
    whole = [argument + path for leaf, path in pairs if is_array_like(leaf)]
    return {path: local[x] for path, x in zip(number_paths(params), whole, strict=True) if x in local}


def recorded(loss: Callable[..., Any]) -> OwnRecorder:
    """Record the gradient flow of a loss that is a plain NumPy function, in a loop of one's own.

    Args:
        loss: a function (params, ...) → one number. Values that it names with `undertow.watch` are recorded with the
            gradient by them, the parameters always.

    Returns:
        A function (params, ...) → (loss, gradient), to be called once a step with the parameters of the moment; its
        ``flow`` and ``findings`` are as those of a run.

    Raises:
        ArgumentError: ``recorded: the loss is int, not a function. …``

    Source: derived here.

    Example:
        >>> import undertow as ut
        >>> def loss(w, X, y):
        ...     p = ut.watch(X @ w, "p")
        ...     return np.mean((p - y) ** 2)
        >>> measured, w = recorded(loss), np.zeros(2)
        >>> X, y = np.eye(2), np.ones(2)
        >>> for _ in range(5):
        ...     value, grad = measured(w, X, y)
        ...     w = w - 0.5 * grad
        >>> flow = measured.flow
        >>> [layer.name for layer in flow.layers], flow.stat("delta.rms")[:2, 0].tolist(), len(flow)
        (['p', 'parameter'], [1.0, 0.5], 4)
    """
    if not callable(loss):
        raise ArgumentError(f"recorded: the loss is {type(loss).__name__}, not a function. Give one of (params, …).")
    return OwnRecorder(loss)
