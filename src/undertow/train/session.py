"""Steps in a row, on parameters that stay where the program has them between the steps."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from undertow import trees
from undertow.compile.pool import undisturbed
from undertow.compile.resident import Resident
from undertow.compile.statistics import Told, first_steps, join_told, measure_now
from undertow.train.derive import number_paths, numbers_of, put_numbers, take_rows

if TYPE_CHECKING:
    from undertow.train.step import Step


class Session:
    """Compiled steps in a row; between them the parameters stay where the program has them.

    Attributes:
        model: before the first step.
        state: before the first step.
        results: what each step of the last `run` told, by name.
        told: its statistics: those of whole batches, then of the short one.
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
        self.results: dict[str, NDArray[Any]] = {}
        self.told: tuple[Told, ...] = ()

    def run(self, order: NDArray[Any], batch_size: int) -> NDArray[Any]:
        """Do the steps on these rows; a last batch may be short.

        Returns:
            The loss before each step; of fewer steps than asked for, if Ctrl-C came and they take long.

        Raises:
            NotFinite: a loss, or a gradient that the step clips, is not finite; `values` are those before that step.
        """
        with self.resident.lock, undisturbed():
            return self._run(order, batch_size)

    def _run(self, order: NDArray[Any], batch_size: int, may_stop: bool = True) -> NDArray[Any]:
        self._take_over()
        whole, rest = divmod(len(order), batch_size)
        found: list[list[NDArray[Any]]] = []
        parts: list[Told] = []
        if whole:
            found.append(self.resident.run(self.batch, order, batch_size, 0, whole, may_stop))
            parts.append(self.resident.told)
        if rest and (not found or len(found[0][0]) == whole):
            short, told = self._run_short(order[whole * batch_size :], may_stop)
            found.append(short)
            parts.append(told)
        results = {
            name: found[0][i] if len(found) == 1 else np.concatenate([part[i] for part in found])
            for i, name in enumerate(self.step.results)
            if found
        }
        losses = results["loss"]
        finite = is_taken(self.step, results, parts)
        if not finite.all():
            at = int(np.argmin(finite))
            self._go_back(order[: at * batch_size], batch_size)
            rows = order[at * batch_size : (at + 1) * batch_size]
            X, y = take_rows(self.X, rows), take_rows(self.y, rows)
            until = {name: values[: at + 1] for name, values in results.items()}
            raise NotFinite(losses[:at], float(losses[at]), X, y, until, first_steps(parts, at + 1))
        self.done.append((order[: len(losses) * batch_size], batch_size))
        self.results, self.told = results, tuple(parts)
        return losses

    def _take_over(self) -> None:
        """Bring the parameters into the program's memory, if another session has it."""
        owner = self.resident.owner()
        if owner is not self:
            if owner is not None:
                owner.values()
            model, state = self.values()
            leaves = self.leaves if model is self.model else trees.flatten(model)[0]
            self.resident.load([*numbers_of(leaves), *trees.flatten(state)[0]])
            self.resident.owner = weakref.ref(self)
        self.led_to = None

    def _run_short(self, order: NDArray[Any], may_stop: bool) -> tuple[list[NDArray[Any]], Told]:
        """Do a step on fewer rows; a program that holds for one batch size needs another one for it."""
        if self.resident.fits(len(order)):
            results = self.resident.run(self.batch, order, len(order), 0, 1, may_stop)
            self.resident.let_go(len(order))  # its program runs again after an epoch only, on other examples
            return results, self.resident.told
        model, state = self._values()
        other = self.step.open(model, state, take_rows(self.X, order), take_rows(self.y, order), len(order))
        if isinstance(other, Session):
            with other.resident.lock:
                other._take_over()
                results = other.resident.run(other.batch, np.arange(len(order)), len(order), 0, 1, may_stop)
                told = other.resident.told
        else:
            other.run(np.arange(len(order)), len(order))
            results, (told,) = [other.results[name] for name in self.step.results], other.told
        model, state = other.values()
        self.resident.load([*numbers_of(trees.flatten(model)[0]), *trees.flatten(state)[0]])
        return results, told

    def _go_back(self, order: NDArray[Any], batch_size: int) -> None:
        """Do all again up to here: steps are the same to the last bit."""
        self.resident.load([*numbers_of(self.leaves), *trees.flatten(self.state)[0]])
        self.led_to = self.model, self.state
        earlier, self.done = self.done, []
        for rows, size in [*earlier, (order, batch_size)]:
            if len(rows):
                self._run(rows, size, may_stop=False)

    def step_back(self) -> tuple[Any, Any] | None:
        """Go back to before the last step that was done; return the inputs and targets of its batch, None of none."""
        if not self.done:
            return None
        with self.resident.lock, undisturbed():
            self._take_over()
            rows, size = self.done.pop()
            at = (len(rows) - 1) // size * size
            self._go_back(rows[:at], size)
        return take_rows(self.X, rows[at:]), take_rows(self.y, rows[at:])

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
    """Steps in a row by NumPy, for a loss that cannot be traced without values; see `Session`."""

    def __init__(self, step: Step, model: Any, state: Any, X: Any, y: Any) -> None:
        self.step, self.model, self.state, self.X, self.y = step, model, state, X, y
        self.before: tuple[Any, Any, Any, Any] | None = None  # model, state and batch of the last step
        self.results: dict[str, NDArray[Any]] = {}
        self.told: tuple[Told, ...] = ()

    def run(self, order: NDArray[Any], batch_size: int) -> NDArray[Any]:
        """Do the steps on these rows; see `Session.run`."""
        told: list[dict[str, Any]] = []
        watched: list[Told] = []
        with np.errstate(all="ignore"):  # whoever trains asks whether the loss is finite
            for first in range(0, len(order), batch_size):
                rows = order[first : first + batch_size]
                X, y = take_rows(self.X, rows), take_rows(self.y, rows)
                leaves, rebuild = trees.flatten(self.model)
                numbers, paths = numbers_of(leaves), number_paths(self.model)
                loss, grads, replaced, seen = self.step.gradient.of_leaves(leaves, rebuild, X, y)
                by_path = {paths[i]: g for i, g in grads.items()}
                params = {paths[i]: numbers[i] for i in grads}
                results, new, state, measures = self.step.apply(loss, by_path, self.state, params, seen)
                watched.append(measure_now(measures))
                if not is_taken(self.step, results, watched[-1:]):
                    losses = np.array([float(x["loss"]) for x in told])
                    raise NotFinite(losses, float(loss), X, y, stack([*told, results]), tuple(watched))
                after = [new.get(path, old) for path, old in zip(paths, numbers, strict=True)]
                kept = self.step.keep_statistics(results, list(replaced.values()), [after[i] for i in replaced])
                for i, value in zip(replaced, kept, strict=True):
                    after[i] = value
                self.before = self.model, self.state, X, y
                self.model, self.state = rebuild(put_numbers(leaves, after)), state
                told.append(results)
        self.results, self.told = stack(told), join_told(watched)
        return self.results["loss"].astype(np.float64)

    def step_back(self) -> tuple[Any, Any] | None:
        """Go back to before the last step; see `Session.step_back`."""
        if self.before is None:
            return None
        (self.model, self.state, X, y), self.before = self.before, None
        return X, y

    def values(self) -> tuple[Any, Any]:
        """Return the model and the state after the last step."""
        return self.model, self.state


def is_taken(step: Step, results: dict[str, Any], told: Sequence[Told]) -> Any:
    """Tell of steps whether their losses and gradients let them be kept; the step may have a way of its own."""
    if step.non_finite != "raise":
        return np.ones(np.shape(results["loss"]), bool)
    finite = np.isfinite(results["loss"])
    if "finite" in results:
        return finite & results["finite"]
    largest = [part.values[:, columns].sum(axis=1) for part in told if (columns := _gradient_columns(part.names))]
    return finite & np.isfinite(np.concatenate(largest)) if largest else finite


@cache
def _gradient_columns(names: tuple[str, ...]) -> list[int]:
    """Where the largest magnitudes of the gradients are among what a step tells: finite where all of a gradient is."""
    return [i for i, name in enumerate(names) if name.endswith((".dW.max", ".db.max"))]


def stack(told: list[dict[str, Any]]) -> dict[str, NDArray[Any]]:
    """Put what single steps told into an array for each name."""
    return {name: np.array([x[name] for x in told]) for name in told[0]} if told else {}


class NotFinite(Exception):
    """A step met a loss or a gradient that is not finite.

    Attributes:
        losses: of the steps before it.
        loss: of the step.
        X: the inputs of its batch.
        y: its targets.
        results: what the steps told, and last the step itself.
        told: their statistics, and last those of the step itself.
    """

    def __init__(
        self,
        losses: NDArray[Any],
        loss: float,
        X: Any,
        y: Any,
        results: dict[str, NDArray[Any]],
        told: tuple[Told, ...] = (),
    ) -> None:
        super().__init__(f"the loss is {loss}")
        self.losses, self.loss, self.X, self.y, self.results, self.told = losses, loss, X, y, results, told
