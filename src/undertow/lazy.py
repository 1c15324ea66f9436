"""Packages whose names are imported when they are first asked for.

A process that loads a model and predicts needs a third of the modules, and importing is most of the time it takes.
PEP 562 gives a module its ``__getattr__`` and ``__dir__``. A package that calls `attach` lists its names twice: as
imports under ``TYPE_CHECKING``, which type checkers, editors and the test of the order of imports read, and in a
table, by which they are found. A test holds the two to be the same.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from opcode import opmap
from types import FrameType, ModuleType
from typing import Any, Final

_PARTS: Final = ("nn", "optim", "data")
_IMPORT_FROM: Final = opmap["IMPORT_FROM"]


class LazyPackage(ModuleType):
    """A package that keeps a function's name for the function, where a module is called the same.

    Python binds a module to its package when it has been imported: ``undertow.train`` would become the package of
    that name as soon as anything imports ``undertow.train.run``.
    """

    def __reduce__(self) -> tuple[Any, ...]:  # modules are pickled by their names
        return import_module, (self.__name__,)

    def __setattr__(self, name: str, value: Any) -> None:
        is_part = isinstance(value, ModuleType) and value.__name__ == f"{self.__name__}.{name}"
        if not (is_part and name in self.__dict__["LAZY_NAMES"]):
            super().__setattr__(name, value)


def attach(package: str, table: Mapping[str, str], remedies: str | None = None) -> None:
    """Let a package import its names, and its modules, when they are first asked for.

    Args:
        package: the name of the package, whose ``__init__`` calls this at its end.
        table: the public names, with spaces between them, by the module that has them.
        remedies: a table of `undertow.habits`, by name: what to say of names from other libraries.

    Source: PEP 562, https://peps.python.org/pep-0562/; the rest is derived here.

    Example:
        >>> import undertow.nn
        >>> float(undertow.nn.relu(-1.0)), "relu" in vars(undertow.nn), "gelu" in dir(undertow.nn)
        (0.0, True, True)
        >>> undertow.nn.rellu
        Traceback (most recent call last):
            ...
        AttributeError: undertow.nn has no attribute 'rellu'. Did you mean 'relu'?
    """
    module = sys.modules[package]
    names = {name: origin for origin, listed in table.items() for name in listed.split()}

    def __getattr__(name: str) -> Any:
        if name in names:
            with uncollected(stays=True):
                value = getattr(import_module(names[name]), name)
        elif _is_part(module, name):
            with uncollected(stays=True):
                value = import_module(f"{package}.{name}")
        else:
            from undertow import habits

            told = _in_parts(package, name) | (getattr(habits, remedies) if remedies else {})
            error = habits.missing_attribute(package, name, told, names)
            if _is_imported(sys._getframe(1)):  # else Python puts words of its own in the place of ours
                raise ImportError(f"cannot import {name!r}: {error}", name=package)
            raise error
        module.__dict__.setdefault(name, value)
        return value

    def __dir__() -> list[str]:
        return sorted({*module.__dict__, *names})

    module.__dict__.update(LAZY_NAMES=names, __getattr__=__getattr__, __dir__=__dir__)
    module.__class__ = LazyPackage


@contextmanager
def uncollected(stays: bool = False) -> Iterator[None]:
    """Let garbage wait for the end of the block, in which much is made at once: modules, graphs, programs.

    A collection looks at all objects there are. Beside scikit-learn and pandas it takes 0.07 s, and importing or
    compiling would set off several. What ``stays``, as modules do, is called old at the end of the block, or the next
    collection would look at all of it. Graphs hold cycles and may be garbage: they stay young.
    """
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if stays and not gc.get_freeze_count():  # else the caller's frozen objects would thaw
            gc.freeze()
            gc.unfreeze()  # into the oldest generation, without a look at any object
        if before:
            gc.enable()


def _in_parts(package: str, name: str) -> dict[str, str]:
    """What to say of a name that a package does not have, and one of its own does."""
    if "." in package or name.startswith("_"):
        return {}
    parts = [part for part in _PARTS if name in import_module(f"{package}.{part}").LAZY_NAMES]
    return {name: f"Use {package}.{parts[0]}.{name}."} if parts else {}


def _is_imported(frame: FrameType) -> bool:
    """Whether a name is asked for by ``from package import name``."""
    return frame.f_code.co_code[frame.f_lasti] == _IMPORT_FROM


def _is_part(package: ModuleType, name: str) -> bool:
    """Whether a package has a module of this name, which nobody may have imported yet."""
    if name.startswith("__") or not name.isidentifier():
        return False
    places = [os.path.join(folder, name) for folder in package.__path__]  # pathlib takes long to load
    return any(os.path.isfile(f"{place}.py") or os.path.isfile(f"{place}/__init__.py") for place in places)
