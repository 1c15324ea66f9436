"""What a schedule is: a learning rate that is a function of the step's number t, which is 0 at the first step.

Eagerly t is a Python float; inside a compiled step it is a traced number, so schedules are written with
``np.where`` and ``np.minimum`` in place of Python's ``if`` and ``min``.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, is_dataclass
from typing import Any

import numpy as np

from undertow.errors import ArgumentError, ControlFlowError, UndertowError
from undertow.keywords import explain_keywords
from undertow.optim.settings import is_ours, read_amount, read_count, read_number
from undertow.primitives import Traced, spec_of
from undertow.trace import describe_function

_steps: ContextVar[int | None] = ContextVar("undertow_steps_in_all", default=None)


@contextmanager
def steps_in_all(steps: int | None) -> Iterator[None]:
    """Say how many steps there will be, as long as the block lasts: a schedule that cannot be traced is then tabulated.

    Args:
        steps: the number, or None where it is not known.

    Source: derived here.

    Example:
        >>> with steps_in_all(100):
        ...     pass
    """
    token = _steps.set(steps)
    try:
        yield
    finally:
        _steps.reset(token)


@dataclass(frozen=True)
class Schedule:
    """A learning rate that depends on the step's number.

    Attributes:
        name: ``"cosine"``.
        function: of t, a number of 0 or more.
        settings: what describes it, as plain data; `build_schedule` reads them.

    Raises:
        ArgumentError: called, it gave something other than a finite number of 0 or more.

    Source: derived here.

    Example:
        >>> schedule = table([0.1, 0.05])
        >>> schedule(1), schedule
        (0.05, table(rates=[0.1, 0.05]))
    """

    name: str
    function: Callable[[Any], Any]
    settings: dict[str, Any] = field(default_factory=dict)

    def __reduce__(self) -> str | tuple[Any, ...]:
        """Copy and pickle a built-in schedule by its settings."""
        from undertow.optim.registry import SCHEDULES, build_schedule

        known = is_ours(self.function) and self.name in SCHEDULES
        return (build_schedule, ({"schedule": self.name, **self.settings},)) if known else super().__reduce__()

    def __call__(self, t: Any) -> Any:
        """Return the rate of step t: a float, or a traced number where t is one."""
        if isinstance(t, Traced):
            return self._trace(t)
        return self._read(self.function(float(t)), f"at step {t:g}")

    def _trace(self, t: Traced) -> Any:
        try:
            rate = self.function(t)
        except (UndertowError, TypeError, ValueError) as error:
            if (steps := _steps.get()) is not None:
                return tabulate(self, steps).function(t)
            raise ControlFlowError(
                f"the schedule {self.name} needs the value of the step's number, not known while the step is "
                "compiled. Give undertow.optim.tabulate(schedule, steps), or write it with NumPy's functions: np.where "
                "in place of if."
            ) from error
        if isinstance(rate, Traced) and spec_of(rate).shape == ():
            self._check_all(_steps.get())
            return rate
        return self._read(rate, "while the step is compiled")

    def _check_all(self, steps: int | None) -> None:
        """Raise an error where a rate of the training is none, which a compiled step would not notice."""
        if steps is None or is_ours(self.function):
            return
        with np.errstate(all="ignore"):
            try:
                rates = np.broadcast_to(self.function(np.arange(steps, dtype=np.float64)), steps)
            except (UndertowError, TypeError, ValueError):  # it takes one number alone
                rates = np.array([self.function(float(t)) for t in range(steps)])
        bad = np.flatnonzero(~((rates >= 0) & (rates < math.inf)))
        if len(bad):
            self._read(float(rates[bad[0]]), f"at step {bad[0]}")

    def _read(self, rate: Any, when: str) -> float:
        try:
            value = math.nan if isinstance(rate, str | Traced) else float(rate)
        except (TypeError, ValueError, OverflowError):
            value = math.nan
        if not 0 <= value < math.inf:
            raise ArgumentError(
                f"the schedule {self.name} gave {rate!r:.80} {when}. Let it return a finite number of 0 or more."
            )
        return value

    def __repr__(self) -> str:
        given = ", ".join(f"{key}={reprlib.repr(value)}" for key, value in self.settings.items() if key != "schedule")
        return f"{self.name}({given})"


Rate = float | Schedule | Callable[[Any], Any]


def read_rate(rule: str, rate: Rate) -> float | Schedule:
    """Return a rate as a float above 0 or as a `Schedule`, which a function of the step becomes too."""
    if isinstance(rate, Schedule):
        return rate
    if is_dataclass(rate) or isinstance(rate, list | tuple | dict | np.ndarray):
        raise ArgumentError(
            f"{rule}: the rate is a {type(rate).__name__}. Give a number, {rule}(1e-3): parameters are given to "
            f"init(parameters) and update(gradient, state, parameters)."
        )
    if callable(rate):
        return of_function(rate)
    return read_number(rule, "rate", rate)


@explain_keywords
def of_function(function: Callable[[Any], Any]) -> Schedule:
    """Make a schedule of any function of the step's number.

    Args:
        function: t → rate, of NumPy's functions; one with Python's ``if`` needs `tabulate`.

    Returns:
        The schedule. Its settings name the function, and cannot bring it back.

    Raises:
        ArgumentError: ``the schedule is 3. Give a function of the step's number.``

    Source: derived here.

    Example:
        >>> of_function(lambda t: 0.1 / (1 + t))(4)
        0.02
    """
    if not callable(function):
        raise ArgumentError(f"the schedule is {function!r}. Give a function of the step's number.")
    name = describe_function(function)
    return Schedule(name, function, {"schedule": "function", "function": name})


@explain_keywords
def tabulate(schedule: Callable[[Any], Any], steps: int) -> Schedule:
    """Make a table of a schedule's first steps, which compiles whatever Python the schedule is written in.

    Args:
        schedule: a function of t, called here with 0.0, 1.0, …
        steps: how many rates the table holds; the last holds for all steps after it. Each step reads the whole
            table: 10,000 rates take some microseconds.

    Returns:
        The schedule.

    Raises:
        ArgumentError: the function gave something other than a finite number of 0 or more.

    Source: derived here.

    Example:
        >>> schedule = tabulate(lambda t: 0.1 if t < 2 else 0.01, steps=4)
        >>> [schedule(t) for t in range(6)]
        [0.1, 0.1, 0.01, 0.01, 0.01, 0.01]
    """
    steps = read_count("tabulate", "steps", steps)
    found = schedule if isinstance(schedule, Schedule) else of_function(schedule)
    return table([found(float(t)) for t in range(steps)])


@explain_keywords
def table(rates: Sequence[float]) -> Schedule:
    """Look the rate up: ratesₜ, and the last rate after the end.

    Args:
        rates: one a step, each 0 or more.

    Returns:
        The schedule.

    Raises:
        ArgumentError: ``table: rates must be a list of numbers, got [].``

    Source: derived here.

    Example:
        >>> table([0.1, 0.2])(5)
        0.2
    """
    values = read_list("table", "rates", rates)
    column, places = np.array(values), np.arange(float(len(values)))

    def find(t: Any) -> Any:
        return np.sum(np.where(places == np.minimum(t, len(values) - 1.0), column, 0.0))

    return describe("table", find, rates=values)


def describe(schedule: str, function: Callable[[Any], Any], **settings: Any) -> Schedule:
    """Make a schedule whose settings name it."""
    return Schedule(schedule, function, {"schedule": schedule, **settings})


def read_list(rule: str, name: str, values: Any) -> list[float]:
    """Return a list of numbers of 0 or more; ArgumentError for anything else."""
    if not isinstance(values, list | tuple | np.ndarray) or not len(values):
        raise ArgumentError(f"{rule}: {name} must be a list of numbers, got {values!r:.80}.")
    return [read_amount(rule, f"{name}[{i}]", value) for i, value in enumerate(values)]
