"""Where a function finds what it reads from outside: variables, attributes of objects, items of containers."""

from __future__ import annotations

import dis
import enum
import functools
import sys
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from types import CodeType, FunctionType, MemberDescriptorType, MethodType, ModuleType
from typing import Any, Final, NamedTuple

import numpy as np

from undertow.trace.where import is_library, is_ours

MISSING: Final = object()  # what stands for an attribute or item that is not there
_OBJECTS: Final = 64  # that are looked into
_RECORDS: Final = (("types", "SimpleNamespace"), ("argparse", "Namespace"))  # of Python's, of what the user puts there
_MADE: Final = ("__init__", "__new__", "__post_init__", "__init_subclass__")  # run where an object is made
_BY_NAME: Final = ("getattr", "hasattr")
_PLAIN: Final = (np.ndarray, np.generic, int, float, complex, str, bytes, range, slice, type(None))


_AROUND: Final = (
    (property, "fget"),
    (functools.cached_property, "func"),
    (staticmethod, "__func__"),
    (classmethod, "__func__"),
)
_CALLED: Final = (FunctionType, MethodType, functools.partial)


class Place(NamedTuple):
    """What it is called, what tells it from others, and how to read it."""

    name: str
    key: Hashable
    read: Callable[[], Any]


def is_open(cls: Any) -> bool:
    """Tell whether attributes of a class's objects are looked at: of classes of the user's, and of plain records."""
    return _is_open(cls)


@functools.lru_cache(maxsize=1024)
def _is_open(cls: Hashable) -> bool:
    module = getattr(cls, "__module__", "")
    home = sys.modules.get(module)
    return (module, getattr(cls, "__name__", "")) in _RECORDS or (home is not None and _is_users(home))


def _is_users(module: ModuleType) -> bool:
    file = getattr(module, "__file__", None) or ""
    return not (module.__name__ in sys.builtin_module_names or is_library(file) or is_ours(file))


class Search:
    """Find the places that a function reads.

    Functions of the user's that it calls are looked into, those of libraries are not. Of an object of a class of the
    user's, a class or a module of hers, the attributes count whose names stand in their code; where code makes up
    names (``getattr(self, f"W{i}")``, ``vars(self)``), all that the object has.

    Args:
        f: the function.
        objects: arguments of it that are no arrays and no containers of such.

    Attributes:
        places: where something is that a program depends on, by their keys.
    """

    def __init__(self, f: Callable[..., Any], objects: Sequence[Any] = ()) -> None:
        self.places: dict[Hashable, Place] = {}
        self._functions: set[int] = set()
        self._seen: set[int] = set()  # containers
        self._met: set[int] = set()  # objects
        self._objects: list[Place] = []
        self._asked: dict[str, None] = {}  # the names of attributes
        self._named: dict[str, None] = {}  # those that may be missing
        self._every = False
        self._call(f, "")
        for x in objects:
            name = getattr(x, "__name__", "") if isinstance(x, FunctionType) else f"the {type(x).__name__}"
            self._take(Place(name, ("argument", id(x)), functools.partial(_itself, x)))
        done: set[Hashable] = set()
        while wanted := [(x, name) for x in self._objects for name in self._names_of(x) if (x.key, name) not in done]:
            for place, name in wanted:  # in which more objects are found, and functions that ask for more
                done.add((place.key, name))
                self._ask(place, name)

    def _names_of(self, place: Place) -> list[str]:
        value = place.read()
        own = [] if isinstance(value, type | ModuleType) or not self._every else own_attributes(value)
        return [*dict.fromkeys([*self._asked, *self._named, *own])]

    def _ask(self, place: Place, name: str) -> None:
        """Take an attribute of an object."""
        value = place.read()
        attribute = Place(f"{place.name}.{name}", (place.key, name), functools.partial(_attribute, place.read, name))
        fields = getattr(type(value), "__dataclass_fields__", {})  # of an object they are looked at together
        self._take(attribute, note=name not in fields)
        if name in self._named and attribute.read() is MISSING and not isinstance(value, type | ModuleType):
            self.places.setdefault(attribute.key, attribute)
        for cls in _classes(value)[1:]:  # what ``super()`` leads to
            self._code(_bare(vars(cls).get(name)))

    def _call(self, f: Any, name: str) -> None:
        """Look into what is called: through bound arguments and decorators, each with what it reads itself."""
        while f is not None:
            if isinstance(f, functools.partial):
                for i in _bound(f):
                    self._take(
                        Place(f"argument {i}", (id(f), i), functools.partial(_item, functools.partial(_bound, f), i))
                    )
                f = f.func
                continue
            if isinstance(f, MethodType):
                self._take(Place("self", ("self", id(f.__self__)), functools.partial(_content, f, "__self__")))
                f = f.__func__
            elif not isinstance(f, FunctionType) and callable(f):
                self._take(Place(name or "self", ("self", id(f)), functools.partial(_itself, f)), called=False)
            if id(f) in self._functions:
                return
            self._code(f)
            self._functions.add(id(f))
            inner = own_attributes(f)
            f = inner.get("__wrapped__") or inner.get("differentiated")

    def _code(self, f: Any) -> None:
        """Look into a function of the user's: its globals, the variables around it, its defaults, what it asks for."""
        if not isinstance(f, FunctionType) or id(f) in self._functions:
            return
        self._functions.add(id(f))
        code = f.__code__
        if is_ours(code.co_filename):  # such as what `hvp` makes
            for cell in f.__closure__ or ():
                inner = _content(cell, "cell_contents")
                if isinstance(inner, FunctionType | MethodType):
                    self._call(inner, "")
        if is_ours(code.co_filename) or is_library(code.co_filename):
            return
        reads = _reads(code)
        self._asked |= dict.fromkeys(reads.attributes)
        self._named |= dict.fromkeys(reads.named)
        self._every |= reads.every
        around = f.__globals__
        for name in reads.imports:
            for full in (name, f"{around.get('__package__')}.{name}".rstrip(".")):  # a relative one too
                self._take(Place(name, ("module", full), functools.partial(sys.modules.get, full, MISSING)))
        for name in reads.globals:
            if name in around:
                self._take(Place(name, (id(around), name), functools.partial(around.get, name, MISSING)))
        for name, cell in zip(code.co_freevars, f.__closure__ or (), strict=True):
            self._take(Place(name, (id(cell), name), functools.partial(_content, cell, "cell_contents")))
        given = code.co_varnames[code.co_argcount - len(f.__defaults__ or ()) : code.co_argcount]
        for name, value in [*zip(given, f.__defaults__ or (), strict=True), *(f.__kwdefaults__ or {}).items()]:
            if not isinstance(value, _PLAIN[1:]):  # an array or object may be written into
                self._take(Place(name, (id(f), name), functools.partial(_itself, value)))

    def _take(self, place: Place, note: bool = True, called: bool = True) -> None:
        """Note a place where something is, if a program depends on it, and look into what it holds."""
        value = place.read()
        if isinstance(value, ModuleType):
            if _is_users(value):
                self._meet(place)
            return
        if value is MISSING:
            return
        if note:
            self.places.setdefault(place.key, place)
        if isinstance(value, _PLAIN) and not is_open(type(value)):
            return
        wraps = isinstance(value, _CALLED) or "__wrapped__" in own_attributes(value)
        if called and wraps:
            self._call(value, place.name)
        elif isinstance(value, list | tuple | dict) and id(value) not in self._seen:
            self._seen.add(id(value))
            for key, item in [*(value.items() if isinstance(value, dict) else enumerate(value))]:
                if not isinstance(item, _PLAIN) and len(self._objects) < _OBJECTS:
                    at = Place(f"{place.name}[{key!r}]", (place.key, key), functools.partial(_item, place.read, key))
                    self._take(at, note=False)
        if is_open(value if isinstance(value, type) else type(value)) or _holds_more(value):
            self._meet(place)  # a container too, if it is of a class of the user's

    def _meet(self, place: Place) -> None:
        """Note an object to be looked into, and look into what operators call of it."""
        value = place.read()
        if id(value) in self._met or len(self._objects) == _OBJECTS:
            return
        self._met.add(id(value))
        self._objects.append(place)
        for cls in _classes(value):
            for name, found in list(vars(cls).items()):
                if name.startswith("__") and (isinstance(value, type) or name not in _MADE):
                    self._code(_bare(found))


class _Reads(NamedTuple):
    globals: list[str]
    attributes: list[str]
    named: list[str]  # in strings, as for ``hasattr(self, "mask")``
    imports: list[str]  # modules that are imported within the code
    every: bool


def _reads(code: CodeType) -> _Reads:
    """What code, and the functions written in it, look up; told by the kinds of instructions of Python 3.11 to 3.14."""
    found, every = _Reads([], [], [], [], False), False
    steps = list(dis.get_instructions(code))
    strings: list[str] = []
    for i, step in enumerate(steps):
        if step.opname in ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"):
            found.globals.append(step.argval)
            every |= step.argval in ("vars", "dir") or (step.argval in _BY_NAME and _makes_up(steps[i + 1 :]))
            if step.argval in _BY_NAME:
                strings = list(_strings(code.co_consts))
            if step.argval == "globals":  # as in ``globals()["rate"]``
                found.globals.extend(_strings(code.co_consts))
        elif step.opname == "IMPORT_NAME":
            found.imports.append(step.argval)
        elif step.opname.startswith(("LOAD_", "IMPORT_")) and step.opname.endswith(("_ATTR", "_METHOD", "_FROM")):
            found.attributes.append(step.argval)
            every |= step.argval == "__dict__"
        elif step.opname == "MATCH_CLASS":
            strings = list(_strings(code.co_consts))
    found.named.extend(strings)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            inner = _reads(constant)
            for mine, more in zip(found[:4], inner[:4], strict=True):
                mine.extend(more)
            every |= inner.every
    return found._replace(every=every)


def _strings(constants: tuple[Any, ...]) -> Iterator[str]:
    """The strings among constants that may be names, also in tuples."""
    for x in constants:
        if isinstance(x, tuple):
            yield from _strings(x)
        elif isinstance(x, str) and x.isidentifier():
            yield x


def _makes_up(steps: list[dis.Instruction]) -> bool:
    """Tell whether the name that ``getattr`` is given is something else than a string that stands there."""
    until = next((i for i, step in enumerate(steps) if step.opname.startswith("CALL")), len(steps))
    kinds = [step.opname for step in steps[:until]]
    whole = any(isinstance(step.argval, str) and step.opname == "LOAD_CONST" for step in steps[:until])
    return not whole or any(kind.startswith(("BUILD_STRING", "BINARY_", "FORMAT_")) for kind in kinds)


def _holds_more(value: Any) -> bool:
    """Tell whether a function of the user's has attributes, as in ``loss.weight = 0.5``."""
    return isinstance(value, FunctionType) and bool(value.__dict__) and not is_ours(value.__code__.co_filename)


def own_attributes(value: Any) -> Mapping[str, Any]:
    """What is in an object itself. No code of its class is run."""
    try:
        found: Mapping[str, Any] = object.__getattribute__(value, "__dict__")
    except AttributeError:
        return {}
    return found


def _classes(value: Any) -> list[type]:
    """The classes of the user's that an object has its methods from, the first to be asked first."""
    if isinstance(value, ModuleType):
        return []
    cls = value if isinstance(value, type) else type(value)
    return [x for x in cls.__mro__ if is_open(x)]


def _bare(found: Any) -> Any:
    """The function of a property, a cached one, a static or class method; what is something else stays."""
    for kind, inner in _AROUND:
        if isinstance(found, kind):
            return getattr(found, inner)
    return found


def _attribute(read: Callable[[], Any], name: str) -> Any:
    """An attribute of the object at a place, or of its class; the function of a property or method. Nothing is run."""
    value = read()
    if value is MISSING:
        return MISSING
    own = own_attributes(value)
    if name in own:
        return _bare(own[name]) if isinstance(value, type) else own[name]
    if isinstance(value, ModuleType):
        return MISSING
    for cls in (value if isinstance(value, type) else type(value)).__mro__:
        if name in cls.__dict__:
            found = cls.__dict__[name]
            if isinstance(found, MemberDescriptorType):
                return getattr(value, name, MISSING)  # of a class with __slots__
            return _bare(found)
    return MISSING


def _item(read: Callable[[], Any], key: Any) -> Any:
    """An item of the container at a place."""
    try:
        return read()[key]
    except (LookupError, TypeError):
        return MISSING


def _content(holder: Any, name: str) -> Any:
    """What is in a cell, or what a method is bound to."""
    try:
        return getattr(holder, name)
    except ValueError:  # not there yet
        return MISSING


def _itself(value: Any) -> Any:
    return value


def _bound(f: functools.partial[Any]) -> dict[Any, Any]:
    """What a partial function binds, by position or name."""
    return {**dict(enumerate(f.args)), **f.keywords}


def is_member(value: Any) -> bool:
    """Tell whether an object is told from others by what it is, and not by its attributes."""
    return isinstance(value, enum.Enum | type) or not is_open(type(value))
