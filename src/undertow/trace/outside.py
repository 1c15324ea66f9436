"""What a function reads from outside: a program holds it as constants, and is made anew when it is something else."""

from __future__ import annotations

import dis
import functools
import inspect
import sys
import warnings
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType, MemberDescriptorType, MethodType, ModuleType
from typing import Any, Final

import numpy as np

from undertow import trees
from undertow.trace.function import code_of, describe_function
from undertow.trace.where import is_library, is_ours

KEPT: Final = 4  # programs for arguments of one kind, each for other values from outside
_LOOKED_AT: Final = 1024  # elements of an array: all of a small one, some of every part of a large one
_MOST: Final = 256  # leaves of a container
_OBJECTS: Final = 64  # that are looked into
_MISSING: Final = object()
_LEAVES: Final = (np.ndarray, np.generic, int, float, str, FunctionType, type(None))
_GLOBALS: Final = ("LOAD_GLOBAL", "LOAD_NAME")
_ATTRIBUTES: Final = ("LOAD_ATTR", "LOAD_METHOD")

Place = tuple[str, Callable[[], Any]]
Marks = tuple[tuple[Any, ...], ...]


class Outside:
    """The arrays, numbers and functions that a function finds in globals, in the functions around it and in objects.

    Args:
        f: the function. Those of the user's that it calls are looked into, those of libraries are not. Of an object of
            a class of the user's, a class or a module of hers, the attributes count whose names stand in their code.

    Source: derived here.

    Example:
        >>> rate = 0.5
        >>> outside = Outside(lambda w: w * rate)
        >>> first, _ = outside.now()
        >>> rate = 0.25
        >>> outside.now()[0] == first
        False
    """

    def __init__(self, f: Callable[..., Any]) -> None:
        self.function = f
        self.places: list[Place] = []
        self._seen: set[int] = set()
        self._objects: list[Place] = []
        self._asked: dict[str, None] = {}  # the names of attributes
        self._look(f)
        done: set[tuple[str, str]] = set()
        while wanted := [(x, name) for x in self._objects for name in self._asked if (x[0], name) not in done]:
            for (name, read), attribute in wanted:  # in which more objects are found, and functions that ask for more
                done.add((name, attribute))
                self._take(f"{name}.{attribute}", functools.partial(_attribute, read, attribute))

    def _look(self, f: Any) -> None:
        f = inspect.unwrap(f)
        while isinstance(f, functools.partial):
            f = f.func
        if not isinstance(f, FunctionType):  # a method, or an object that can be called
            of = getattr(f, "__self__", f)
            self._take("self", lambda: of)
            f = getattr(f, "__func__", f)
        code = code_of(f)
        if code is None or id(code) in self._seen or is_ours(code.co_filename):
            return
        self._seen.add(id(code))
        inner = f if isinstance(f, FunctionType) else type(f).__call__
        around = getattr(inner, "__globals__", {})
        places = [(name, functools.partial(around.get, name)) for name in _names(code, _GLOBALS) if name in around]
        cells = zip(code.co_freevars, getattr(inner, "__closure__", None) or (), strict=False)
        self._asked |= dict.fromkeys(_names(code, _ATTRIBUTES))
        for name, read in [*places, *[(name, functools.partial(_content, cell)) for name, cell in cells]]:
            self._take(name, read)

    def _take(self, name: str, read: Callable[[], Any]) -> None:
        """Note a place where something is, if a program depends on it."""
        value = read()
        if isinstance(value, FunctionType | MethodType):
            file = value.__code__.co_filename
            if not is_ours(file) and not is_library(file):
                self.places.append((name, read))
                self._look(value)
        elif _is_data(value):
            self.places.append((name, read))
        elif value is not _MISSING:
            self._meet(name, read)

    def _meet(self, name: str, read: Callable[[], Any]) -> None:
        """Note an object of a class of the user's, or a class or module of hers, to be looked into."""
        value = read()
        if id(value) in self._seen or len(self._objects) == _OBJECTS:
            return
        home = value if isinstance(value, ModuleType) else sys.modules.get(_class_of(value).__module__)
        file = getattr(home, "__file__", None) or ""
        if home is not None and home is not sys.modules["builtins"] and not is_library(file) and not is_ours(file):
            self._seen.add(id(value))
            self._objects.append((name, read))

    def now(self) -> tuple[Marks, list[Any]]:
        """Tell what is there, place by place, by what is equal as long as it is the same; and the values themselves."""
        marks: list[Any] = []
        held: list[Any] = []
        for _, read in self.places:
            value = read()
            leaves = [value] if isinstance(value, _LEAVES) else trees.flatten(value)[0][:_MOST]
            held += leaves  # what is held keeps its id
            marks.append(tuple(map(_mark, leaves)))
        return tuple(marks), held

    def settle(self, before: Marks) -> tuple[Marks, list[Any]]:
        """Leave out what tracing the function has itself changed, such as a counter; return what `now` does."""
        after = self.now()[0]
        self.places = [place for place, a, b in zip(self.places, before, after, strict=True) if a == b]
        return self.now()

    def check(self, known: dict[Any, Any], key: tuple[Any, Marks]) -> None:
        """Warn where a program is made anew because of what comes from outside; let go of the oldest of them.

        Args:
            known: the programs, by signature and by what `now` told.
            key: of the program to be.
        """
        alike = [other for other in known if other[0] == key[0]]
        for other in alike[: -KEPT + 1]:
            known.pop(other, None)
        if not alike:
            return
        pairs = zip(self.places, alike[-1][1], key[1], strict=False)
        name = next((place[0] for place, a, b in pairs if a != b), "a value")
        code = code_of(inspect.unwrap(self.function))
        sentence = (
            f"{describe_function(self.function)} reads {name} from outside, and it is not what it was, so the function "
            f"is compiled again. That takes as long as the first call: pass {name} as an argument if it often changes."
        )
        if code is None:
            warnings.warn(sentence, UserWarning, stacklevel=4)
        else:
            warnings.warn_explicit(sentence, UserWarning, code.co_filename, code.co_firstlineno)


def _names(code: CodeType, wanted: tuple[str, ...]) -> Iterator[str]:
    """The names that code, and the functions written in it, look up by instructions of some kinds."""
    yield from dict.fromkeys(str(step.argval) for step in dis.get_instructions(code) if step.opname in wanted)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant, wanted)


def _class_of(value: Any) -> type:
    return value if isinstance(value, type) else type(value)


def _attribute(read: Callable[[], Any], name: str) -> Any:
    """An attribute of the object at a place, or of its class; the function of a property or method. Nothing is run."""
    value = read()
    found = getattr(value, "__dict__", {}).get(name, _MISSING)
    if found is _MISSING:
        found = inspect.getattr_static(value, name, _MISSING)
    if isinstance(found, MemberDescriptorType):
        return getattr(value, name, _MISSING)  # of a class with __slots__
    for inner in ("fget", "func", "__func__"):  # property, cached_property, staticmethod and classmethod
        if isinstance(found, property | functools.cached_property | staticmethod | classmethod):
            found = getattr(found, inner, found)
    return found


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not there yet
        return None


def _is_data(value: Any) -> bool:
    if isinstance(value, np.ndarray | np.generic | int | float | str | tuple | list | dict | None):
        return True
    return hasattr(value, "__dataclass_fields__") and not isinstance(value, type)


def _mark(leaf: Any) -> Any:
    if isinstance(leaf, np.ndarray):
        flat = leaf.reshape(-1) if leaf.flags.c_contiguous else leaf.ravel()
        return id(leaf), flat[:: max(1, -(-flat.size // _LOOKED_AT))].tobytes() if leaf.dtype != object else None
    if isinstance(leaf, int | float | np.generic | str | None):
        return type(leaf), leaf if leaf == leaf else "NaN"
    return id(leaf)
