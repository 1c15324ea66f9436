"""What is exchanged for NumPy's functions while a function of traced values runs that needs it; see `following`."""

from __future__ import annotations

import functools
import math
import os
import sys
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from types import CodeType, FrameType
from typing import Any, Final
from weakref import ref

import numpy as np

from undertow import primitives as P
from undertow.errors import ShapeError
from undertow.primitives.write import target
from undertow.trace.foreign import ARRAYS_OF_THEIR_OWN
from undertow.trace.remedy import numpy_name
from undertow.trace.tracer import Trace, Tracer, constant, lists_arguments, made_of_sizes
from undertow.trace.views import Memory, View
from undertow.trace.where import POLYNOMIALS, is_user_code

Site = tuple[CodeType, int]  # a call in the user's code: its function and the instruction
Exchange = tuple[Any, str, Any, Any]  # a module, class or dict of names, a name, what it means, what it shall mean

_ARRAYS = ("array", "asarray", "asanyarray", "ascontiguousarray", "asfortranarray")
# Makers take nothing that is to be joined; the lists of np.block are no arrays, they say what stands beside what.
_MAKERS = ("zeros", "ones", "empty", "eye", "identity", "arange", "linspace", "logspace", "geomspace", "tri",
           "zeros_like", "ones_like", "empty_like", "full_like", "block")  # fmt: skip
_OF_LISTS = ("stack", "concatenate", "hstack", "vstack", "dstack", "column_stack", "select", "choose", "lexsort",
             "multi_dot")  # fmt: skip
_OF_SHAPES = ("reshape", "broadcast_to", "tile", "resize", "roll", "transpose", "moveaxis", "pad", "split",
              "array_split", "repeat", "piecewise")  # fmt: skip
_ASKING_FIRST = ("take", "fill_diagonal", "place", "putmask", "put_along_axis")  # and no other argument
MOST_NUMBERS = 64  # arguments that are listed one by one; an array as an argument serves better, and is told of
_MATH = ("exp", "expm1", "exp2", "log", "log1p", "log2", "log10", "sqrt", "cbrt", "sin", "cos", "tan", "asin", "acos",
         "atan", "atan2", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "pow", "hypot", "fabs", "degrees",
         "radians", "copysign", "fmod", "erf", "erfc", "gamma", "lgamma", "fsum", "prod", "dist")  # fmt: skip


class Following:
    """One call of a function while others are exchanged.

    Args:
        trace: that of its arguments.
        sites: calls whose arrays traced values are written into.
        used: of what is exchanged, what made a difference; it grows.

    Attributes:
        made: by the id of an array that the function has made, a reference to it and the call.
        calls: all calls that made one.
    """

    def __init__(self, trace: Trace, sites: set[Site], used: set[Any]) -> None:
        self.trace, self.sites, self.used = trace, sites, used
        self.made: dict[int, tuple[ref[Any], Site]] = {}
        self.calls: set[Site] = set()

    def site_of(self, array: Any) -> Site | None:
        """Return the call that has made an array, or the one that it is a view of."""
        owner = _owner(array)
        known = self.made.get(id(owner))
        return known[1] if known is not None and known[0]() is owner else None

    # ---- what the functions do that are exchanged ---------------------------------------------

    def join(self, x: Any, own: Any) -> Any:
        """Make an array of a list that holds traced values; return anything else as it is."""
        if isinstance(x, list | tuple) and _holds_traced(x) and not lists_arguments(x, MOST_NUMBERS):
            self.used.add(own)
            try:
                return np.stack([self.join(part, own) for part in x])
            except ShapeError as error:
                raise ShapeError(str(error).replace("np.stack", f"np.{own.__name__}")) from None
        return x

    def apply(self, original: Any, own: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """Call a function of NumPy's; where an argument that NumPy does not ask is traced, as if it had asked."""
        traced = next((x for x in (*args, *kwargs.values()) if isinstance(x, Tracer) and _holds_traced(x)), None)
        if traced is None or original not in P.FUNCTIONS:
            return original(*args, **kwargs)
        self.used.add(own)
        return traced._apply(original, args, kwargs)

    def keep(self, made: Any, own: Any, frame: FrameType, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """Note what call has made a plain array, or return it as a traced constant where that is to be written to."""
        owner = _owner(made)
        given = (*args, *kwargs.values())
        if type(made) is not np.ndarray or owner.base is not None or any(_may_own(owner, x) for x in given):
            return made
        site = frame.f_code, frame.f_lasti
        if site in self.sites and made.dtype.kind in "fiub":
            self.used.add(own)
            if own.__name__.startswith("empty"):
                made.fill(0)  # what happens to be there is nobody's value
            return Tracer(constant(made), self.trace)
        self.made[id(owner)] = ref(owner), site
        self.calls.add(site)
        return made


def _owner(array: Any) -> Any:
    """Return the array whose memory another one is a view of."""
    while isinstance(array, np.ndarray) and isinstance(array.base, np.ndarray):
        array = array.base
    return array


def _may_own(array: np.ndarray, x: Any) -> bool:
    """Tell whether an array may be one that was given: itself, in a tuple of those for results, or by ``__array__``."""
    if isinstance(x, list | tuple):
        return any(_may_own(array, part) for part in x)
    if isinstance(x, type):  # np.float32, whose numbers are what has __array__
        return False
    return _owner(x) is array or (hasattr(x, "__array__") and not isinstance(x, np.ndarray | np.generic | Tracer))


now: ContextVar[Following | None] = ContextVar("undertow_following", default=None)


def _holds_traced(x: Any) -> bool:
    """Tell whether traced values are in a list, of lists perhaps; sizes are numbers as others."""
    if isinstance(x, Tracer):
        return x.dtype.kind == "f" or x._node.spec.ndim > 0 or not made_of_sizes(x._node)
    return isinstance(x, list | tuple) and any(map(_holds_traced, x))


# ---- the functions that are exchanged ---------------------------------------------------------------


@functools.cache
def _is_asked(file: str) -> bool:
    """Tell whether code of a file is served: the user's, what uses NumPy's arrays alone, NumPy's polynomials."""
    if file.startswith(POLYNOMIALS):
        return True
    package = file.partition(f"site-packages{os.sep}")[2].partition(os.sep)[0]
    return is_user_code(file) and package not in ARRAYS_OF_THEIR_OWN


def _asked_by(frame: FrameType) -> bool:
    return _is_asked(frame.f_code.co_filename)


def _asks(call: Callable[..., Any], original: Any) -> Any:
    """Make the function that stands in for another: ``call(following, own, frame, args, kwargs)`` does its work."""

    @functools.wraps(original)
    def own(*args: Any, **kwargs: Any) -> Any:
        following, frame = now.get(), sys._getframe(1)
        if following is None or not _asked_by(frame):
            return original(*args, **kwargs)
        return call(following, own, frame, args, kwargs)

    own.stands_for = original  # type: ignore[attr-defined]
    return own


def _of_array(original: Any) -> Any:
    """``np.array`` and its like: what it is made of may be traced."""
    name = original.__name__

    def make(obj: Any, dtype: Any = None, order: Any = None, *, copy: Any = None, ndmin: int = 0, **rest: Any) -> Any:
        found, traced = obj
        if name in ("ascontiguousarray", "asfortranarray"):
            order, ndmin = ("C", 1) if name == "ascontiguousarray" else ("F", 1)
        if dtype is not None and np.dtype(dtype) != found.dtype:
            found = found.astype(dtype)
        elif traced and copy:
            found = found.copy()
        elif traced and order in ("C", "F") and (found.ndim > 1 or found._view is not None):
            base, found = found, Tracer(found.node, found.tape)
            base._memory = base._memory or Memory(base._node)
            found._view = View(base, P.identity, (), {}, None)  # NumPy shares it or not, as it lies: no write
            found._memory = base._memory
        return np.reshape(found, (*[1] * (ndmin - found.ndim), *found.shape)) if ndmin > found.ndim else found

    def call(following: Following, own: Any, frame: FrameType, args: Any, kwargs: Any) -> Any:
        given = args or tuple(kwargs[key] for key in ("object", "a") if key in kwargs)
        if not given or not _holds_traced(given[0]) or lists_arguments(given[0], MOST_NUMBERS):
            return following.keep(original(*args, **kwargs), own, frame, args, kwargs)
        following.used.add(own)
        rest = {key: value for key, value in kwargs.items() if key not in ("object", "a")}
        if name == "array":
            rest.setdefault("copy", True)
        return make((following.join(given[0], own), isinstance(given[0], Tracer)), *given[1:], **rest)

    return _asks(call, original)


def _of_lists(original: Any) -> Any:
    """A function of a list of arrays, which may be lists."""

    def call(following: Following, own: Any, frame: FrameType, args: Any, kwargs: Any) -> Any:
        joined = [type(x)(following.join(part, own) for part in x) if isinstance(x, list | tuple) else x for x in args]
        rest = {key: following.join(x, own) for key, x in kwargs.items()}
        return following.keep(following.apply(original, own, joined, rest), own, frame, args, kwargs)

    return _asks(call, original)


def _of_arrays(original: Any, most: int | None) -> Any:
    """A function of arrays, which may be lists; of those after ``most``, none."""

    def call(following: Following, own: Any, frame: FrameType, args: Any, kwargs: Any) -> Any:
        joined = [following.join(x, own) if most is None or i < most else x for i, x in enumerate(args)]
        rest = {key: following.join(x, own) if most is None else x for key, x in kwargs.items()}
        plain = original.__name__ in _ASKING_FIRST and joined and type(joined[0]) is np.ndarray
        if plain and any(map(_holds_traced, (*joined[1:], *rest.values()))):
            following.used.add(own)
            if original.__name__ != "take":
                target(f"np.{original.__name__}", joined[0])  # which is refused, and made a traced one then
            joined[0] = Tracer(constant(joined[0]), following.trace)
        return following.keep(following.apply(original, own, joined, rest), own, frame, args, kwargs)

    return _asks(call, original)


def _full(original: Any) -> Any:
    """``np.full``: what fills it may be traced."""

    def call(following: Following, own: Any, frame: FrameType, args: Any, kwargs: Any) -> Any:
        given = {**dict(zip(("shape", "fill_value", "dtype", "order"), args, strict=False)), **kwargs}
        if not _holds_traced(given.get("fill_value")):
            return following.keep(original(*args, **kwargs), own, frame, args, kwargs)
        following.used.add(own)
        value = following.join(given["fill_value"], own)
        filled = np.broadcast_to(value, given["shape"]).copy()
        return filled if given.get("dtype") is None else filled.astype(given["dtype"])

    return _asks(call, original)


def _of_numbers(original: Any) -> Any:
    """A function of Python's math: of traced numbers, NumPy's or SciPy's of that name."""
    name = original.__name__

    def call(following: Following, own: Any, frame: FrameType, args: Any, kwargs: Any) -> Any:
        arrays = any(isinstance(x, Tracer) and x._node.spec.ndim for x in args)
        if arrays or kwargs or not any(map(_holds_traced, args)):
            return original(*args, **kwargs)
        following.used.add(own)
        joined = [following.join(x, own) for x in args]
        if name == "hypot":  # of as many as there are
            return functools.reduce(np.hypot, joined) if len(joined) > 1 else np.abs(joined[0])
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
        following.used.add(own)
        arrays = np.broadcast_arrays(*[following.join(x, own) for x in given])
        shape = arrays[0].shape
        results = [vectorized.pyfunc(*each) for each in zip(*[np.ravel(x) for x in arrays], strict=True)]
        if not results or isinstance(results[0], tuple):
            return original(*args)
        first = results[0]
        found = first.dtype if isinstance(first, Tracer) else np.asarray(first).dtype
        kind = vectorized.otypes[0] if vectorized.otypes else found
        return np.reshape(np.stack(results), shape).astype(kind)  # as NumPy: all are of the type of the first

    return _asks(call, original)


def _of_grids(original: Any) -> Any:
    """``np.r_`` or ``np.c_``, of traced values too."""

    class Grid(type(original)):  # type: ignore[misc]
        def __getitem__(self, key: Any) -> Any:
            following, frame = now.get(), sys._getframe(1)
            parts = key if isinstance(key, tuple) else (key,)
            if following is None or not _asked_by(frame) or not any(map(_holds_traced, parts)):
                return original[key]
            if any(isinstance(part, str) or (isinstance(part, slice) and _is_traced(part)) for part in parts):
                return original[key]
            following.used.add(self)
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
def numpys() -> list[Exchange]:
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


def find_exchanges(space: dict[str, Any]) -> list[Exchange]:
    """Find NumPy's functions among the names of a module: ``from numpy import array``."""
    known: Final = {id(x): (original, own) for _, _, original, own in numpys() for x in (original, own)}
    return [(space, name, *known[id(x)]) for name, x in list(space.items()) if id(x) in known]  # exchanged now, too
