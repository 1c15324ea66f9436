"""NumPy's functions that make plain arrays take traced values too, while a function runs that needs that.

NumPy does not ask the elements of a list, ``np.array([x[0], x[1]])``, nor what is written into an array of its own,
``out = np.zeros(3); out[0] = x[0]``; Python's math wants numbers. A function that fails at one of these is called
again, with such functions exchanged for some that ask. An array that traced values are written into is then a traced
constant from the call on that makes it. Functions that need nothing of this run as they are, with NumPy's own.
"""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from threading import RLock
from types import CodeType, FrameType
from typing import Any, Final
from weakref import ref

import numpy as np

from undertow import primitives as P
from undertow.errors import InPlaceError, RefusedError
from undertow.graph import INPUT
from undertow.trace.remedy import numpy_name
from undertow.trace.tracer import Trace, Tracer, constant, made_of_sizes
from undertow.trace.where import is_user_code

Site = tuple[CodeType, int]  # a call in the user's code: its function and the instruction
Exchange = tuple[Any, str, Any, Any]  # a module, class or dict of names, a name, what it means, what it shall mean

_ARRAYS = ("array", "asarray", "asanyarray", "ascontiguousarray", "asfortranarray")
_MAKERS = ("zeros", "ones", "empty", "eye", "identity", "arange", "linspace", "logspace", "geomspace", "tri",
           "zeros_like", "ones_like", "empty_like", "full_like")  # fmt: skip
_OF_LISTS = ("stack", "concatenate", "hstack", "vstack", "dstack", "column_stack", "select", "choose", "lexsort",
             "multi_dot", "block")  # fmt: skip
_OF_SHAPES = ("reshape", "broadcast_to", "tile", "resize", "roll", "transpose", "moveaxis", "pad", "split",
              "array_split", "repeat")  # fmt: skip
MOST_NUMBERS = 64  # arguments that are listed one by one
_MATH = ("exp", "expm1", "exp2", "log", "log1p", "log2", "log10", "sqrt", "cbrt", "sin", "cos", "tan", "asin", "acos",
         "atan", "atan2", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "pow", "hypot", "fabs", "degrees",
         "radians", "copysign", "fmod", "erf", "erfc", "gamma", "lgamma", "fsum", "prod", "dist")  # fmt: skip


class Needs:
    """What a function needs in order to be traced; found out while it is called.

    Attributes:
        sites: calls whose arrays traced values are written into.
        spaces: of modules that have NumPy's functions by names of their own, what is exchanged there, by id.
        used: of what is exchanged, what made a difference.
    """

    def __init__(self) -> None:
        self.sites: set[Site] = set()
        self.spaces: dict[int, list[Exchange]] = {}
        self.used: set[Any] = set()
        self._chosen: tuple[int, list[Exchange]] = 0, []  # for so many used

    def exchanges(self, everything: bool) -> list[Exchange]:
        """Return what is to be exchanged while the function runs: all there is, or what made a difference before."""
        if everything or self._chosen[0] != len(self.used):
            found = [*_numpys(), *(x for space in self.spaces.values() for x in space)]
            self._chosen = len(self.used), [x for x in found if x[3] in self.used]
            return found if everything else self._chosen[1]
        return self._chosen[1]

    def learn(self, error: Exception, lost: RefusedError, made: dict[int, tuple[ref[Any], Site]]) -> bool:
        """Find out from an error what is missing; tell whether that is new."""
        fresh = False
        frame = _failing(error)
        if frame is not None and id(frame.f_globals) not in self.spaces:
            self.spaces[id(frame.f_globals)] = found = _find_exchanges(frame.f_globals)
            fresh = bool(found)
        root = lost.plain
        while isinstance(root, np.ndarray) and isinstance(root.base, np.ndarray):
            root = root.base
        known = made.get(id(root))
        if known is not None and known[0]() is root and known[1] not in self.sites:
            self.sites.add(known[1])
            fresh = True
        return fresh


class Following:
    """One call of a function while others are exchanged.

    Attributes:
        needs: of the function.
        trace: that of its arguments.
        made: by the id of an array that the function has made, a reference to it and the call.
    """

    def __init__(self, needs: Needs, trace: Trace) -> None:
        self.needs, self.trace = needs, trace
        self.made: dict[int, tuple[ref[Any], Site]] = {}

    # ---- what the functions do that are exchanged ---------------------------------------------

    def join(self, x: Any, own: Any) -> Any:
        """Make an array of a list that holds traced values; return anything else as it is."""
        if isinstance(x, list | tuple) and _holds_traced(x) and not _is_table(x):
            self.needs.used.add(own)
            return np.stack([self.join(part, own) for part in x])
        return x

    def keep(self, made: Any, own: Any, frame: FrameType, args: Sequence[Any] = ()) -> Any:
        """Note what call has made a plain array, or return it as a traced constant where that is to be written to."""
        if type(made) is not np.ndarray or made.base is not None or any(made is x for x in args):
            return made
        site = frame.f_code, frame.f_lasti
        if site in self.needs.sites and made.dtype.kind in "fiub":
            self.needs.used.add(own)
            if own.__name__.startswith("empty"):
                made.fill(0)  # what happens to be there is nobody's value
            return Tracer(constant(made), self.trace)
        self.made[id(made)] = ref(made), site
        return made


_known: dict[int, tuple[ref[CodeType], Needs]] = {}  # by the id of a function's code
_now: ContextVar[Following | None] = ContextVar("undertow_following", default=None)
_exchanged: dict[tuple[int, str], list[Any]] = {}  # by namespace and name: how often, and what it is
_lock = RLock()


def call_following(call: Callable[[], Any], code: CodeType | None, tracers: list[Tracer]) -> Any:
    """Call a function of traced arguments; where plain arrays stand in the way, again so that they do not.

    Args:
        call: calls it.
        code: the function's.
        tracers: all traced values among its arguments; whenever it is called, they are what they were at first.

    Returns:
        What it returned.

    Raises:
        InPlaceError: a derivative would be lost in spite of all that, and other errors of the function.
    """
    known = _known.get(id(code))
    before = [(x, x._node, x._view, x._memory) for x in tracers]
    if known is not None:
        needs = known[1]
    else:
        try:
            return call()
        except Exception as error:
            lost = _lost(error)
            if lost is None or not tracers:
                raise
            needs = Needs()
            needs.learn(error, lost, {})
    everything = known is None
    innermost = max((x.tape for x in tracers), key=lambda trace: trace.depth)
    while True:
        for x, node, view, memory in before:
            x._node, x._view, x._memory = node, view, memory
        following = Following(needs, innermost)
        try:
            with _exchange(following, everything):
                result = call()
        except Exception as error:
            lost = _lost(error)
            if lost is None or not (needs.learn(error, lost, following.made) or not everything):
                raise
            everything = True
            continue
        if code is not None:
            _known[id(code)] = ref(code, functools.partial(_forget, id(code))), needs
        return result


def _forget(number: int, gone: ref[CodeType]) -> None:
    _known.pop(number, None)


def _lost(error: BaseException) -> RefusedError | None:
    """Return the error that a plain array caused; None for others."""
    for found in (error, error.__cause__):
        if isinstance(found, RefusedError) and (isinstance(found, InPlaceError) or found.plain is not None):
            return found
    return None


def _failing(error: Exception) -> FrameType | None:
    """Return the innermost frame of the user's code that an error went through."""
    trace, found = error.__traceback__, None
    while trace is not None:
        if is_user_code(trace.tb_frame.f_code.co_filename):
            found = trace.tb_frame
        trace = trace.tb_next
    return found


@contextmanager
def _exchange(following: Following, everything: bool) -> Iterator[None]:
    """Exchange functions; in other threads they go on as NumPy's own."""
    chosen = following.needs.exchanges(everything)
    token = _now.set(following)
    with _lock:
        for space, name, original, own in chosen:
            entry = _exchanged.setdefault((id(space), name), [0, original])
            entry[0] += 1
            _bind(space, name, own)
    try:
        yield
    finally:
        with _lock:
            for space, name, original, own in chosen:
                entry = _exchanged[id(space), name]
                entry[0] -= 1
                if not entry[0]:
                    del _exchanged[id(space), name]
                    if (space.get(name) if isinstance(space, dict) else getattr(space, name)) is own:
                        _bind(space, name, original)
        _now.reset(token)


def _bind(space: Any, name: str, meaning: Any) -> None:
    if isinstance(space, dict):
        space[name] = meaning
    else:
        setattr(space, name, meaning)


def _holds_traced(x: Any) -> bool:
    """Tell whether traced values are in a list, of lists perhaps; sizes are numbers as others."""
    if isinstance(x, Tracer):
        return x.dtype.kind == "f" or x._node.spec.ndim > 0 or not made_of_sizes(x._node)
    return isinstance(x, list | tuple) and any(map(_holds_traced, x))


def _is_table(x: Any) -> bool:
    """Tell whether many arguments, each a number, are listed: an array as an argument serves better, and is told of."""
    numbers = [x]
    while numbers and isinstance(numbers[0], list | tuple):
        numbers = [part for row in numbers if isinstance(row, list | tuple) for part in row]
    return len(numbers) > MOST_NUMBERS and all(isinstance(v, Tracer) and v._node.op is INPUT for v in numbers)


# ---- the functions that are exchanged ---------------------------------------------------------------


def _asks(call: Callable[..., Any], original: Any) -> Any:
    """Make the function that stands in for another: ``call(following, own, frame, args, kwargs)`` does its work."""

    @functools.wraps(original)
    def own(*args: Any, **kwargs: Any) -> Any:
        following, frame = _now.get(), sys._getframe(1)
        if following is None or not is_user_code(frame.f_code.co_filename):
            return original(*args, **kwargs)
        return call(following, own, frame, args, kwargs)

    own.stands_for = original  # type: ignore[attr-defined]
    return own


def _of_array(original: Any) -> Any:
    """``np.array`` and its like: what it is made of may be traced."""
    name = original.__name__

    def make(obj: Any, dtype: Any = None, order: Any = None, *, copy: Any = True, ndmin: int = 0, **rest: Any) -> Any:
        found = obj if isinstance(obj, Tracer) else np.stack(obj)
        if dtype is not None and np.dtype(dtype) != found.dtype:
            found = found.astype(dtype)
        elif name == "array" and found is obj and copy:
            found = found.copy()
        return np.reshape(found, (*[1] * (ndmin - found.ndim), *found.shape)) if ndmin > found.ndim else found

    def call(following: Following, own: Any, frame: FrameType, args: Any, kwargs: Any) -> Any:
        given = args or tuple(kwargs[key] for key in ("object", "a") if key in kwargs)
        if not given or not _holds_traced(given[0]) or _is_table(given[0]):
            return following.keep(original(*args, **kwargs), own, frame, args)
        following.needs.used.add(own)
        rest = {key: value for key, value in kwargs.items() if key not in ("object", "a")}
        first = given[0] if isinstance(given[0], Tracer) else [following.join(x, own) for x in given[0]]
        return make(first, *given[1:], **rest)

    return _asks(call, original)


def _of_lists(original: Any) -> Any:
    """A function of a list of arrays, which may be lists."""

    def call(following: Following, own: Any, frame: FrameType, args: Any, kwargs: Any) -> Any:
        joined = [type(x)(following.join(part, own) for part in x) if isinstance(x, list | tuple) else x for x in args]
        return following.keep(original(*joined, **kwargs), own, frame, args)

    return _asks(call, original)


def _of_arrays(original: Any, most: int | None) -> Any:
    """A function of arrays, which may be lists; of those after ``most``, none."""

    def call(following: Following, own: Any, frame: FrameType, args: Any, kwargs: Any) -> Any:
        joined = [following.join(x, own) if most is None or i < most else x for i, x in enumerate(args)]
        return following.keep(original(*joined, **kwargs), own, frame, args)

    return _asks(call, original)


def _full(original: Any) -> Any:
    """``np.full``: what fills it may be traced."""

    def call(following: Following, own: Any, frame: FrameType, args: Any, kwargs: Any) -> Any:
        given = {**dict(zip(("shape", "fill_value", "dtype", "order"), args, strict=False)), **kwargs}
        if not _holds_traced(given.get("fill_value")):
            return following.keep(original(*args, **kwargs), own, frame)
        following.needs.used.add(own)
        value = following.join(given["fill_value"], own)
        filled = np.broadcast_to(value, given["shape"]).copy()
        return filled if given.get("dtype") is None else filled.astype(given["dtype"])

    return _asks(call, original)


def _of_numbers(original: Any) -> Any:
    """A function of Python's math: of traced numbers, NumPy's or SciPy's of that name."""
    name = original.__name__

    def call(following: Following, own: Any, frame: FrameType, args: Any, kwargs: Any) -> Any:
        arrays = any(isinstance(x, Tracer) and x._node.spec.ndim for x in args)
        if arrays or not any(map(_holds_traced, args)):
            return original(*args, **kwargs)
        following.needs.used.add(own)
        joined = [following.join(x, own) for x in args]
        if name == "dist":
            return np.linalg.norm(joined[0] - joined[1])
        if name == "log" and len(joined) > 1:
            return np.log(joined[0]) / np.log(joined[1])
        module, _, function = numpy_name(name).rpartition(".")
        if module == "np":
            return getattr(np, function)(*joined)
        if not P.load_scipy():
            return original(*args, **kwargs)
        import scipy.special

        return getattr(scipy.special, function)(*joined)

    return _asks(call, original)


def _for_each(original: Any) -> Any:
    """The call of an ``np.vectorize``: its function is called with each element, as NumPy does it."""

    def call(following: Following, own: Any, frame: FrameType, args: Any, kwargs: Any) -> Any:
        vectorized, *given = args
        if kwargs or vectorized.signature or vectorized.excluded or not any(map(_holds_traced, given)):
            return original(*args, **kwargs)
        following.needs.used.add(own)
        arrays = np.broadcast_arrays(*[following.join(x, own) for x in given])
        shape = arrays[0].shape
        results = [vectorized.pyfunc(*each) for each in zip(*[np.ravel(x) for x in arrays], strict=True)]
        if not results or isinstance(results[0], tuple):
            return original(*args)
        return np.reshape(np.stack(results), shape)

    return _asks(call, original)


def _of_grids(original: Any) -> Any:
    """``np.r_`` or ``np.c_``, of traced values too."""

    class Grid(type(original)):  # type: ignore[misc]
        def __getitem__(self, key: Any) -> Any:
            following, frame = _now.get(), sys._getframe(1)
            parts = key if isinstance(key, tuple) else (key,)
            if following is None or not is_user_code(frame.f_code.co_filename) or not any(map(_holds_traced, parts)):
                return original[key]
            if any(isinstance(part, str) or (isinstance(part, slice) and _is_traced(part)) for part in parts):
                return original[key]
            following.needs.used.add(self)
            given = [original[part] if isinstance(part, slice) else following.join(part, self) for part in parts]
            dtype = np.result_type(*[getattr(x, "dtype", x) for x in given])  # 1 takes on that of others
            arrays = [np.atleast_1d(x).astype(dtype) for x in given]
            if type(original).__name__ == "CClass":
                most = max(x.ndim for x in arrays)
                return np.column_stack(arrays) if most < 3 else np.concatenate(arrays, axis=-1)
            return np.concatenate(arrays)

    return Grid()


def _is_traced(part: slice) -> bool:
    return any(isinstance(x, Tracer) for x in (part.start, part.stop, part.step))


@functools.cache
def _numpys() -> list[Exchange]:
    """What is exchanged in NumPy and in Python's math."""
    made: dict[int, Any] = {}
    found: list[Exchange] = []
    for module in (np, np.linalg):
        for name, original in list(vars(module).items()):
            if name in ("r_", "c_") and module is np:
                found.append((module, name, original, _of_grids(original)))
                continue
            if isinstance(original, np.ufunc | type) or not callable(original):
                continue
            called = getattr(original, "__name__", name)
            if original not in P.FUNCTIONS and called not in (*_ARRAYS, *_MAKERS, "full"):
                continue
            if id(original) not in made:
                made[id(original)] = _stand_in(original, called)
            found.append((module, name, original, made[id(original)]))
    for name in _MATH:
        if (original := getattr(math, name, None)) is not None:
            found.append((math, name, original, _of_numbers(original)))
    called_for_each = np.vectorize.__call__
    found.append((np.vectorize, "__call__", called_for_each, _for_each(called_for_each)))
    return found


def _stand_in(original: Any, name: str) -> Any:
    if name in _ARRAYS:
        return _of_array(original)
    if name in _OF_LISTS:
        return _of_lists(original)
    if name == "full":
        return _full(original)
    return _of_arrays(original, 0 if name in _MAKERS else 1 if name in _OF_SHAPES else None)


def _find_exchanges(space: dict[str, Any]) -> list[Exchange]:
    """Find NumPy's functions among the names of a module: ``from numpy import array``."""
    known: Final = {id(original): own for _, _, original, own in _numpys()}
    return [(space, name, x, known[id(x)]) for name, x in list(space.items()) if id(x) in known]
