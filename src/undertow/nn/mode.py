"""Training or predicting: what a layer may ask for, and what it may leave, while a model trains.

A layer calls `is_training`, `draws_numbers`, `uniform_like`, `normal_like`, `current` and `replace` in its
``__call__``. Random numbers follow from a key that each example has, the place of the call among those of the forward
pass, and the place within the array: neither threads nor the way that examples are split into batches change them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from undertow.custom import watched_values
from undertow.errors import ArgumentError, ControlFlowError, ShapeError
from undertow.graph import show_shape
from undertow.nn.within import with_told_calls
from undertow.primitives import Traced, astype, dtype_of, random, shape_of, uniform_at
from undertow.trace.running import mode_around, tracing
from undertow.trace.where import line_outside


@dataclass
class TrainingPass:
    """A forward pass while a model trains.

    Attributes:
        keys: int64 (m,), one for each example; None where there are no random numbers.
        draws: how many arrays of random numbers were asked for so far.
        replaced: pairs of a part of the model that is no parameter, and its value after this step.
        seen: what each layer of a model gave, with its path, and what `undertow.watch` named, in the order of the
            calls; None where nobody looks.
        place: the path of the layer that is being called, in parts.
        around: whether it was opened outside of a function that is traced.
    """

    keys: Any
    draws: int = 0
    replaced: list[tuple[Any, Any]] = field(default_factory=list)
    seen: list[tuple[str, Any]] | None = None
    place: list[str] = field(default_factory=list)
    around: bool = False


_current: ContextVar[TrainingPass | None] = ContextVar("undertow_training_pass", default=None)
_measuring: ContextVar[bool] = ContextVar("undertow_measuring", default=False)


def _asked() -> TrainingPass | None:
    """Return the training pass that is going on, if one is, for a layer that depends on it.

    Raises:
        ControlFlowError: it was opened around a function that is traced once, and would be the same in each call.
    """
    made = _current.get()
    if made is not None and made.around and tracing.get():
        raise ControlFlowError(
            f"{line_outside()}: a layer asks whether the model trains, and nn.training is open around a function that "
            "is traced once: each later call would repeat what it does now. Write `with nn.training(keys):` inside of "
            "the function, and give it the keys as an argument."
        )
    return made


@contextmanager
def training(keys: Any, observe: bool = False) -> Iterator[TrainingPass]:
    """Let layers act as they do while a model trains, as long as the block lasts.

    Args:
        keys: int64 (m,), see `example_keys`; None makes random numbers an error.
        observe: whether to keep what each layer gives.

    Returns:
        What the layers left.

    Source: derived here.

    Example:
        >>> with training(example_keys(seed=0, epoch=1, n=4)):
        ...     is_training()
        True
        >>> is_training()
        False
    """
    made = TrainingPass(keys, seen=[] if observe else None, around=not tracing.get())
    token = _current.set(made)
    outside = mode_around.set(made.around)
    watching = watched_values.set(made.seen)
    try:
        yield made
    finally:
        watched_values.reset(watching)
        mode_around.reset(outside)
        _current.reset(token)


def call_inner(path: str, layer: Any, _x: Any) -> Any:
    """Call a layer within a container, so that what it gives can be observed, and what the layers in its fields give.

    Args:
        path: from the container: ``"layers[0]"``.
        layer: the layer or function.
        _x: what it is called with; a name with an underscore is not read, so that the layers' own names stay.

    Returns:
        ``layer(_x)``.

    Source: derived here.

    Example:
        >>> with training(None, observe=True) as made:
        ...     call_inner("layers[0]", abs, -2.0)
        2.0
        >>> made.seen
        [('layers[0]', 2.0)]
    """
    made = _current.get()
    if made is None or made.seen is None:
        return layer(_x)
    return _observe(path, layer, lambda: with_told_calls(layer, _observe)(_x))


def _observe(path: str, layer: Any, run: Callable[[], Any]) -> Any:
    """Call a layer, and keep what it gives."""
    made = _current.get()
    if made is None or made.seen is None:
        return run()
    made.place.append(path)
    _value = run()
    made.seen.append((".".join(filter(None, made.place)), _value))
    made.place.pop()
    return _value


def is_training() -> bool:
    """Tell whether the model trains: dropout then leaves units out, and normalisation looks at the batch.

    Returns:
        False outside of a training step: in ``run.predict``, and when a model is called by hand.

    Source: derived here.

    Example:
        >>> is_training()
        False
    """
    return _asked() is not None


@contextmanager
def measuring() -> Iterator[None]:
    """Let training passes within the block do without random numbers where examples have no keys.

    Source: derived here.

    Example:
        >>> with measuring(), training(None):
        ...     is_training(), draws_numbers()
        (True, False)
    """
    token = _measuring.set(True)
    try:
        yield
    finally:
        _measuring.reset(token)


def draws_numbers() -> bool:
    """Tell whether a layer is to draw random numbers now.

    Returns:
        True while a model trains; False otherwise, and where the gradient of examples without keys is only measured.

    Source: derived here.

    Example:
        >>> draws_numbers()
        False
    """
    made = _asked()
    return made is not None and (made.keys is not None or not _measuring.get())


def example_keys(seed: int, epoch: int, n: int) -> NDArray[np.int64]:
    """Make the keys of n examples for one epoch.

    Args:
        seed: 0 or more.
        epoch: 0 or more.
        n: how many examples.

    Returns:
        int64 (n,).

    Source: Steele, Lea and Flood, Fast splittable pseudorandom number generators, OOPSLA 2014.

    Example:
        >>> example_keys(0, 1, 5)[:2].tolist() == example_keys(0, 1, 2).tolist()
        True
    """
    start = random.mix(random.mix(seed, 1), epoch + 1)
    return random.mix(start, np.arange(1, n + 1)).view(np.int64)


def uniform_like(x: Any) -> Any:
    """Draw numbers from [0, 1), other ones at each call, for each example and in each step.

    Args:
        x: an array whose first axis is the batch, (m, …), floating.

    Returns:
        An array of the shape and dtype of x; nothing flows back through it.

    Raises:
        ArgumentError: the model does not train, or its examples have no keys.
        ShapeError: ``random numbers are drawn by example, but x is (64, 3) and there are 32 examples. …``

    Source: derived here.

    Example:
        >>> with training(example_keys(0, 0, 2)):
        ...     a, b = uniform_like(np.zeros((2, 3))), uniform_like(np.zeros((2, 3)))
        >>> a.shape, bool((a == b).any())
        ((2, 3), False)
    """
    made = _asked()
    if made is None or made.keys is None:
        raise ArgumentError(
            "random numbers are drawn in the steps of ut.train, where each example has a key. Ask nn.is_training() "
            "first, or call the model within nn.training(nn.example_keys(seed, epoch, n))."
        )
    shape = shape_of(x)
    if not shape or shape[0] != shape_of(made.keys)[0]:
        raise ShapeError(
            f"random numbers are drawn by example, but x is {show_shape(shape)} and there are "
            f"{shape_of(made.keys)[0]} examples. Keep the batch axis first."
        )
    made.draws += 1
    inner: Any = shape[1:]
    places = np.arange(math.prod(inner), dtype=np.int64).reshape(1, *inner) + made.draws * 2**40
    keys = np.reshape(made.keys, (-1, *[1] * len(inner))) if inner else made.keys
    counter = places if inner else np.int64(made.draws * 2**40)
    return uniform_at(keys, counter, bits=24 if dtype_of(x) == np.float32 else 53)


def normal_like(x: Any) -> Any:
    """Draw numbers from the standard normal distribution; see `uniform_like`.

    Args:
        x: an array whose first axis is the batch, (m, …), floating.

    Returns:
        An array of the shape and dtype of x.

    Raises:
        ShapeError: as `uniform_like`.

    Source: Box and Muller, A note on the generation of random normal deviates, Ann. Math. Statist. 29, 1958.

    Example:
        >>> with training(example_keys(0, 0, 1000)):
        ...     x = normal_like(np.zeros((1000, 10)))
        >>> bool(abs(x.mean()) < 0.05), round(float(x.std()), 1)
        (True, 1.0)
    """
    u, v = uniform_like(x), uniform_like(x)
    return np.sqrt(-2.0 * np.log1p(-u)) * np.cos(2 * math.pi * v)


def current(old: Any) -> Any:
    """Return what a part of the model is worth by now: a layer that is called twice in a step goes on from there.

    Args:
        old: the array that the model holds, a field of the layer: ``self.mean``.

    Returns:
        The last value that `replace` was given for it in this pass, or the array itself.

    Source: derived here.

    Example:
        >>> old = np.zeros(1)
        >>> with training(None):
        ...     replace(old, old + 1)
        ...     replace(old, current(old) + 1)
        ...     current(old)
        array([2.])
    """
    made = _current.get()
    return old if made is None else next((new for held, new in reversed(made.replaced) if held is old), old)


def replace(old: Any, new: Any) -> None:
    """Say what a part of the model that no gradient changes is worth after this step: running statistics.

    Outside of training it does nothing.

    Args:
        old: the array that the model holds, a field of the layer: ``self.mean``.
        new: its value after the step, of the same shape. It takes on the dtype of the old one: of float64 data, means
            are float64 beside parameters in float32.

    Source: derived here.

    Example:
        >>> old = np.zeros(1, np.float32)
        >>> with training(None):
        ...     replace(old, np.ones(1))
        ...     current(old)
        array([1.], dtype=float32)
    """
    made = _current.get()
    if made is not None:
        dtype = dtype_of(old)
        if isinstance(old, np.ndarray | Traced) and dtype.kind == "f" and dtype_of(new) != dtype:
            new = astype(new, dtype=dtype)
        made.replaced.append((old, new))
