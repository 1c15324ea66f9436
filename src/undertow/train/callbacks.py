"""Callbacks: what may be called while a model trains."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

from undertow.errors import ArgumentError, RunError
from undertow.habits import missing_attribute
from undertow.spelling import meant_name
from undertow.trace import describe_function
from undertow.train.calls import takes as takes


@dataclass(frozen=True)
class TrainInfo:
    """What a callback gets before the first epoch of a training and after the last.

    Attributes:
        epochs: how many there are to be; None where a number of steps or of seconds decides.
        model: the model as it is now; do not write to its arrays.
        history: the rows so far: some, before the first epoch, where a run is resumed.
        settings: how it is trained, as plain data.
        stopped: at the end ``"finished"``, ``"callback"``, …; at the beginning ``""``.
    """

    epochs: int | None
    model: Any
    history: list[dict[str, Any]] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    stopped: str = ""


@dataclass(frozen=True)
class EpochInfo:
    """What a callback gets at the beginning and at the end of an epoch.

    Attributes:
        epoch: its number, from 1.
        epochs: how many there are to be; None where a number of steps or of seconds decides.
        row: the new row of the history: loss, accuracy, validation_loss, …; empty at the beginning of an epoch.
        model: the model as it is now; do not write to its arrays.
        gradient_sizes: the rows of this epoch, see `undertow.train.measure_gradients`.
        step: how many steps the run has done.
        rate: the learning rate of the next step, if there is a single one and it changes.
        directions: ``"high"`` or ``"low"`` by name, for metrics of the user's own.
        reasons: why training is to stop; `stop` adds to it.
    """

    epoch: int
    epochs: int | None
    row: dict[str, Any]
    model: Any
    gradient_sizes: list[dict[str, Any]]
    step: int = 0
    rate: float | None = None
    directions: dict[str, str | None] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            meant = meant_name(name, self.__dict__.get("row", {}))
            raise missing_attribute("a callback's info", name, {name: f"Use info.row[{meant!r}]."} if meant else {})

        def __getitem__(self, key: Any) -> Any:
            raise TypeError(f"a callback's info is no dict. Use info.row[{key!r}].")

    def stop(self, reason: str = "") -> None:
        """Ask for training to stop after this epoch, for a reason: a sentence for people."""
        self.reasons.append(reason)

    @property
    def stopping(self) -> bool:
        """Whether a callback has asked for training to stop."""
        return bool(self.reasons)


class Callback(Protocol):
    """An object that is told of each epoch; a plain function of an `EpochInfo` serves as well.

    It has one or more of these methods; those that it has not are not called:

    - ``on_train_begin(info)``, with a `TrainInfo`, before the first epoch, also of a run that is resumed;
    - ``on_epoch_begin(info)``, with an `EpochInfo` whose row is empty;
    - ``on_step_end(epoch, step, loss, model)``, after every step, with the number of the epoch and of the step (both
      from 1), the loss before the step and the model after it. Steps are then done one at a time;
    - ``between_steps(epoch, step)``, between steps, about every 0.05 s, with the number of the epoch and of the steps
      done in all: it may wait, change its ``scale``, and return True to stop training there. Waiting counts as no time
      of training;
    - ``on_epoch_end(info)``, with an `EpochInfo`: True, or ``info.stop("why")``, stops training;
    - ``on_train_end(info)``, with a `TrainInfo`; a model that it returns becomes the model of the run.

    One that remembers something that decides how training goes on has two more, so that a resumed run goes on as an
    uninterrupted one would: ``state()`` gives what it remembers as plain data (None, numbers, texts, lists, dicts,
    and NumPy arrays), and ``restore(state)`` takes it back. ``restore`` is called before ``on_train_begin``.
    """

    def on_epoch_end(self, info: EpochInfo) -> bool | None:
        """Return True to stop training."""
        ...


ARGUMENTS: Final = {
    "on_train_begin": (1, "info"),
    "on_epoch_begin": (1, "info"),
    "on_step_end": (4, "epoch, step, loss, model"),
    "between_steps": (2, "epoch, step"),
    "on_epoch_end": (1, "info"),
    "on_train_end": (1, "info"),
}


@dataclass(frozen=True)
class Hooks:
    """The methods of callbacks by the moment they are for, each in the order in which the callbacks were given.

    Attributes:
        callbacks: the callbacks.
        on_train_begin, on_epoch_begin, on_step_end, between_steps, on_epoch_end, on_train_end: functions to call.
    """

    callbacks: list[Any]
    on_train_begin: list[Callable[[TrainInfo], Any]]
    on_epoch_begin: list[Callable[[EpochInfo], Any]]
    on_step_end: list[Callable[..., Any]]
    between_steps: list[Callable[[int, int], Any]]
    on_epoch_end: list[Callable[[EpochInfo], Any]]
    on_train_end: list[Callable[[TrainInfo], Any]]

    def end_epoch(self, info: EpochInfo) -> bool:
        """Tell all of an epoch, and say whether one of them wants to stop."""
        stops, failure = self.tell_epoch(info)
        if failure is not None:
            raise failure
        return stops

    def tell_epoch(self, info: EpochInfo) -> tuple[bool, BaseException | None]:
        """Tell all of an epoch, and say whether one of them wants to stop, and the first error of one.

        An error, or Ctrl-C, waits until all are told: what they remember is saved, and a resumed run would else miss
        the epoch.
        """
        wishes: list[bool] = []
        failure: BaseException | None = None
        for function in self.on_epoch_end:
            try:
                wishes.append(function(info) is True)
            except BaseException as error:
                failure = failure or error
        return failure is None and (any(wishes) or info.stopping), failure

    def end_training(self, info: TrainInfo) -> Any:
        """Tell all that training has ended, and return the model that one of them gives, or None."""
        models = [function(info) for function in self.on_train_end]
        return next((model for model in reversed(models) if model is not None), None)

    def state(self) -> list[dict[str, Any] | None]:
        """What the callbacks remember, as plain data; None for one that remembers nothing."""
        return [
            {"callback": type(callback).__name__, "state": callback.state()} if _remembers(callback) else None
            for callback in self.callbacks
        ]

    def restore(self, state: list[dict[str, Any] | None]) -> None:
        """Give callbacks back what `state` took of callbacks of the same kinds in the same order.

        Raises:
            RunError: ``the run was trained with the callbacks EarlyStopping, it is resumed with none. …``
        """
        saved = [entry["callback"] for entry in state if entry is not None]
        mine = [callback for callback in self.callbacks if _remembers(callback)]
        names = [type(callback).__name__ for callback in mine]
        if saved != names:
            raise RunError(
                f"the run was trained with the callbacks {', '.join(saved) or 'none'}, it is resumed with "
                f"{', '.join(names) or 'none'}. Give callbacks of the same kinds in the same order."
            )
        for callback, entry in zip(mine, (entry for entry in state if entry is not None), strict=True):
            callback.restore(entry["state"])


def _remembers(callback: Any) -> bool:
    return callable(getattr(callback, "state", None)) and callable(getattr(callback, "restore", None))


def read_hooks(callbacks: Any, *more: Any) -> Hooks:
    """Take the functions out of callbacks.

    Args:
        callbacks: callbacks and plain functions, or one of them; None for none.
        more: callbacks that are told after them.

    Returns:
        The functions by the moment they are for.

    Raises:
        ArgumentError: ``a callback has a method on_epoch_end(info) or is a function of info, got 3.``

    Source: derived here.

    Example:
        >>> hooks = read_hooks([print])
        >>> len(hooks.on_epoch_end), len(hooks.on_step_end)
        (1, 0)
    """
    if callbacks is None:
        callbacks = ()
    single = callable(callbacks) or isinstance(callbacks, str) or any(hasattr(callbacks, name) for name in ARGUMENTS)
    if single or not isinstance(callbacks, Iterable):
        callbacks = [callbacks]
    found = Hooks([*callbacks, *more], [], [], [], [], [], [])
    for callback in found.callbacks:
        if isinstance(callback, type):
            raise ArgumentError(f"the callback {callback.__name__} is a class. Give an instance of it.")
        methods = {name: getattr(callback, name, None) for name in ARGUMENTS}
        if not any(methods.values()):
            if not callable(callback):
                from undertow.optim.plateau import Plateau  # a process that predicts does without

                use = " Use train(…, reduce_on_plateau=10), or from undertow.train import ReduceOnPlateau."
                use = use if isinstance(callback, Plateau) else ""
                raise ArgumentError(
                    f"a callback has a method on_epoch_end(info) or is a function of info, got {callback!r}.{use}"
                )
            methods["on_epoch_end"] = callback
        for name, method in methods.items():
            if not method:
                continue
            count, given = ARGUMENTS[name]
            if not takes(method, count):
                raise ArgumentError(
                    f"a callback is called with ({given}), but {describe_function(method)} takes others."
                )
            getattr(found, name).append(method)
    return found
