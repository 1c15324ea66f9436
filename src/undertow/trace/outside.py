"""What a function reads from outside: a program holds it as constants, and is made anew when it is something else."""

from __future__ import annotations

import dis
import functools
import inspect
import warnings
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType
from typing import Any, Final

import numpy as np

from undertow import trees
from undertow.trace.function import code_of, describe_function
from undertow.trace.where import is_library, is_ours

KEPT: Final = 4  # programs for arguments of one kind, each for other values from outside
_LOOKED_AT: Final = 1024  # elements of an array: all of a small one, some of every part of a large one
_MOST: Final = 256  # leaves of a container

Place = tuple[str, Callable[[], Any]]
Marks = tuple[tuple[Any, ...], ...]


class Outside:
    """The arrays, numbers and functions that a function finds in globals and in the functions around it.

    Args:
        f: the function. Those of the user's that it calls are looked into, those of libraries are not.

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
        self._look(f)

    def _look(self, f: Any) -> None:
        f = inspect.unwrap(f)
        while isinstance(f, functools.partial):
            f = f.func
        f = getattr(f, "__func__", f)
        code = code_of(f)
        if code is None or id(code) in self._seen or is_ours(code.co_filename):
            return
        self._seen.add(id(code))
        inner = f if isinstance(f, FunctionType) else type(f).__call__
        around = getattr(inner, "__globals__", {})
        places = [(name, functools.partial(around.get, name)) for name in _names(code) if name in around]
        cells = zip(code.co_freevars, getattr(inner, "__closure__", None) or (), strict=False)
        for name, read in [*places, *[(name, functools.partial(_content, cell)) for name, cell in cells]]:
            value = read()
            if isinstance(value, FunctionType):
                file = value.__code__.co_filename
                if not is_ours(file) and not is_library(file):
                    self.places.append((name, read))
                    self._look(value)
            elif _is_data(value):
                self.places.append((name, read))

    def now(self) -> tuple[Marks, list[Any]]:
        """Tell what is there, place by place, by what is equal as long as it is the same; and the values themselves."""
        marks: list[Any] = []
        held: list[Any] = []
        for _, read in self.places:
            leaves = trees.flatten(read())[0][:_MOST]
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


def _names(code: CodeType) -> Iterator[str]:
    """The names that code, and the functions written in it, look up among globals."""
    wanted = ("LOAD_GLOBAL", "LOAD_NAME")
    yield from dict.fromkeys(str(step.argval) for step in dis.get_instructions(code) if step.opname in wanted)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not there yet
        return None


def _is_data(value: Any) -> bool:
    if isinstance(value, np.ndarray | np.generic | int | float | tuple | list | dict):
        return True
    return hasattr(value, "__dataclass_fields__") and not isinstance(value, type)


def _mark(leaf: Any) -> Any:
    if isinstance(leaf, np.ndarray):
        flat = leaf.reshape(-1) if leaf.flags.c_contiguous else leaf.ravel()
        return id(leaf), flat[:: max(1, -(-flat.size // _LOOKED_AT))].tobytes() if leaf.dtype != object else None
    if isinstance(leaf, int | float | np.generic | str | None):
        return type(leaf), leaf if leaf == leaf else "NaN"
    return id(leaf)
