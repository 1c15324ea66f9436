"""What a function reads from outside: a program holds it as constants, and is made anew when it is something else."""

from __future__ import annotations

import inspect
import warnings
from array import array
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from types import BuiltinFunctionType, FunctionType, MappingProxyType, MethodType
from typing import Any, Final

import numpy as np

from undertow import trees
from undertow.trace.function import code_of, describe_function
from undertow.trace.places import Place, Search, is_member

KEPT: Final = 4  # programs for arguments of one kind, each for other values from outside
LOOKED_AT: Final = 1024  # elements of an array or container: all of a small one, some of every part of a large one
ADDED_UP: Final = 2**23  # bytes of an array whose elements are all read: 0.15 ms, as a program takes to read them
_VALUES: Final = (int, float, complex, np.generic, str, bytes, range, type(None))
_SAME: Final = frozenset({BuiltinFunctionType, np.ufunc, type})  # told from others by what they are
_CODE: Final = "its own code"
_CONTAINERS: Final = (tuple, list, dict, deque)

Marks = tuple[tuple[Any, ...], ...]


class Outside:
    """The arrays, numbers and functions that a function finds in globals, in the functions around it and in objects.

    Args:
        f: the function; see `undertow.trace.places.Search` for what is looked into.
        objects: arguments that are no arrays: they are looked into likewise.

    Source: derived here.

    Example:
        >>> rate = 0.5
        >>> outside = Outside(lambda w: w * rate)
        >>> first, _ = outside.now()
        >>> rate = 0.25
        >>> outside.now()[0] == first
        False
    """

    def __init__(self, f: Callable[..., Any], objects: Sequence[Any] = ()) -> None:
        self.function, self.objects = f, tuple(objects)
        self.places: list[Place] = list(Search(f, objects).places.values())
        self._own = _function_of(f)
        self._first = int(self._own is not None)  # where the marks of places begin
        self._left_out: set[Hashable] = set()
        self._traced: Marks | None = None  # as it was when the function was traced last

    def now(self) -> tuple[Marks, list[Any]]:
        """Tell what is there, place by place, by what is equal as long as it is the same; and the values themselves."""
        held: list[Any] = []  # what is held keeps its id
        marks = [_marks(place.read(), held) for place in self.places]
        if self._own is None:
            return tuple(marks), held
        code = self._own.__code__  # notebooks that read a module again put new code into its functions
        held.append(code)
        return (id(code), *marks), held

    def settle(self, before: Marks) -> tuple[Marks, list[Any]]:
        """Leave out what tracing the function has itself changed, such as a counter; return what `now` does."""
        after = self.now()[0]
        pairs = list(zip(self.places, before[self._first :], after[self._first :], strict=True))
        self._left_out |= {place.key for place, a, b in pairs if a != b}
        self.places = [place for place, a, b in pairs if a == b]
        self._traced, held = self.now()
        return self._traced, held

    def look_again(self) -> None:
        """Add the places that there are since something else is where the function looked: another layer, a method."""
        known = {place.key for place in self.places} | self._left_out
        self.places += [place for key, place in Search(self.function, self.objects).places.items() if key not in known]

    def check(self, known: dict[Any, Any], key: tuple[Any, Marks]) -> Marks:
        """Warn where a program is made anew because of what comes from outside; let go of the oldest of them.

        Args:
            known: the programs, by signature and by what `now` told.
            key: of the program to be.

        Returns:
            What `now` tells: where something has changed, the function may read from other places too.
        """
        alike = [other for other in known if other[0] == key[0]]
        for other in alike[: -KEPT + 1]:
            known.pop(other, None)
        if alike:
            self._warn(self.name_change(alike[-1][1], key[1]))
        if key[1] == self._traced or self._traced is None:
            return key[1]
        self.look_again()
        return self.now()[0]

    def name_change(self, before: Marks, after: Marks) -> str:
        """Name the first place where something else is."""
        if self._own is not None and before[:1] != after[:1]:
            return _CODE
        pairs = zip(self.places, before[self._first :], after[self._first :], strict=False)
        return next((place.name for place, a, b in pairs if a != b), "a value")

    def _warn(self, name: str) -> None:
        code = code_of(inspect.unwrap(self.function))
        which = describe_function(self.function)
        sentence = (
            f"{which} reads {name} from outside, and it is not what it was, so the function is compiled again. That "
            f"takes as long as the first call: pass {name} as an argument if it often changes."
        )
        if name == _CODE:
            sentence = f"{which} has other code than when it was compiled, so it is compiled again."
        if code is None:
            warnings.warn(sentence, UserWarning, stacklevel=5)
        else:
            warnings.warn_explicit(sentence, UserWarning, code.co_filename, code.co_firstlineno)


def _function_of(f: Callable[..., Any]) -> FunctionType | None:
    """Return the function that is called in the end: of a method, a partial, an object that can be called."""
    own: Any = f.func if isinstance(f, partial) else f
    own = own if isinstance(own, FunctionType | MethodType) else vars(type(own)).get("__call__")
    own = getattr(own, "__func__", own)
    return own if isinstance(own, FunctionType) else None


def _marks(value: Any, held: list[Any]) -> Any:
    """Tell a value from others: by what it is, an array by some elements, a container by its structure and leaves."""
    held.append(value)
    if not isinstance(value, _CONTAINERS) and not hasattr(type(value), "__dataclass_fields__"):
        return _mark(value, held)
    leaves, _, structure = trees.flatten_with_key(value)
    held += leaves
    step = max(1, -(-len(leaves) // LOOKED_AT))
    return (structure, len(leaves), *[_mark(leaf, held) for leaf in leaves[::step]])


def _elements(whole: np.ndarray) -> tuple[bytes, int]:
    """Tell an array's elements: some as they are, which tell of order, and the sum of all, unless they are many."""
    whole = np.asarray(whole)  # a matrix has two axes whatever is made of it, and the sum of a masked array a mask
    flat = whole.reshape(-1) if whole.flags.c_contiguous else whole.ravel()
    some = flat[:: max(1, -(-flat.size // LOOKED_AT))].tobytes()
    if flat.size <= LOOKED_AT or not 0 < flat.nbytes <= ADDED_UP:
        return some, 0
    octets = flat.view(np.uint8)
    end = len(octets) // 8 * 8
    return some + octets[end:].tobytes(), int(np.add.reduce(octets[:end].view(np.uint64)))  # as bits, modulo 2⁶⁴


def _objects(things: np.ndarray, held: list[Any]) -> Any:
    """Tell an array of objects: numbers and texts by what they are, others by which they are."""
    if things.dtype != object:
        return None
    some = things.ravel()[:: max(1, -(-things.size // LOOKED_AT))].tolist()
    held += some
    return tuple([_mark(x, held) if isinstance(x, _VALUES) and not isinstance(x, np.void) else id(x) for x in some])


def _octets(buffer: Any) -> Any:
    """Tell what lies in a buffer; None of one that NumPy cannot read."""
    try:
        return _elements(np.asarray(memoryview(buffer)))
    except (ValueError, TypeError, BufferError):  # characters, or let go of
        return None


def _mark(leaf: Any, held: list[Any]) -> Any:
    kind = type(leaf)
    if kind is FunctionType:  # as in `now`
        code = leaf.__code__
        held.append(code)
        return id(leaf), id(code)
    if kind in _SAME:
        return id(leaf)
    if isinstance(leaf, _VALUES):
        return kind, leaf if leaf and leaf == leaf else str(leaf)  # -0.0 is equal to 0.0, NaN not to itself
    if isinstance(leaf, np.ndarray):
        mask = _elements(np.ma.getmaskarray(leaf)) if isinstance(leaf, np.ma.MaskedArray) else None
        return id(leaf), mask, _objects(leaf, held) if leaf.dtype.hasobject else _elements(leaf)
    if isinstance(leaf, bytearray | memoryview | array):
        return id(leaf), _octets(leaf)
    if isinstance(leaf, MappingProxyType):  # which shows what another dict holds
        try:
            return kind, _marks(dict(leaf), held)
        except RecursionError:  # it shows itself
            return id(leaf)
    if isinstance(leaf, slice):
        return slice, leaf.start, leaf.stop, leaf.step
    if isinstance(leaf, set | frozenset):
        return kind, frozenset(leaf)
    if isinstance(leaf, dict | list):  # of a class of its own, which is no tree
        return kind, _marks((dict if isinstance(leaf, dict) else list)(leaf), held)
    if isinstance(leaf, MethodType):
        return id(leaf.__func__), id(leaf.__self__)
    return id(leaf) if is_member(leaf) else kind
