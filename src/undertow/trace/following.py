"""NumPy's functions that make plain arrays take traced values too, while a function runs that needs that.

NumPy does not ask the elements of a list, ``np.array([x[0], x[1]])``, nor what is written into an array of its own,
``out = np.zeros(3); out[0] = x[0]``; Python's math wants numbers. A function that fails at one of these is called
again, with such functions exchanged for some that ask. An array that traced values are written into is then a traced
constant from the call on that makes it. Functions that need nothing of this run as they are, with NumPy's own.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import RLock
from types import CodeType
from typing import Any
from weakref import ref

import numpy as np

from undertow.errors import InPlaceError, RefusedError
from undertow.trace.place import Place, place_in, show
from undertow.trace.stand_ins import Exchange, Following, Site, find_exchanges, now, numpys
from undertow.trace.tracer import Trace, Tracer
from undertow.trace.where import POLYNOMIALS, is_user_code


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
        self._chosen: tuple[tuple[int, int], list[Exchange]] = (0, 0), []  # for so many used, and spaces

    def exchanges(self, everything: bool) -> list[Exchange]:
        """Return what is to be exchanged while the function runs: all there is, or what made a difference before."""
        state = len(self.used), len(self.spaces)
        if everything or self._chosen[0] != state:
            found = [*numpys(), *(x for space in self.spaces.values() for x in space)]
            self._chosen = state, [x for x in found if x[3] in self.used]
            return found if everything else self._chosen[1]
        return self._chosen[1]

    def learn(self, error: Exception, lost: RefusedError, following: Following | None = None) -> bool:
        """Find out from an error what is missing, and from the call that it ended; tell whether that is new."""
        fresh = False
        place = _failing(error)
        if place.frame is not None and id(place.frame.f_globals) not in self.spaces:
            self.spaces[id(place.frame.f_globals)] = found = find_exchanges(place.frame.f_globals)
            fresh = bool(found)
        if following is None:
            return fresh
        site = following.site_of(lost.plain)
        sites = {site} if site is not None else _sites_behind(place, following)
        fresh = fresh or not sites <= self.sites
        self.sites |= sites
        return fresh


_known: dict[int, tuple[ref[CodeType], Needs]] = {}  # by the id of a function's code
_exchanged: dict[tuple[int, str], list[Any]] = {}  # by namespace and name: how often, and what it is
_lock = RLock()


def call_following(call: Callable[[], Any], code: CodeType | None, trace: Trace, outer: Sequence[Tracer]) -> Any:
    """Call a function of traced arguments; where plain arrays stand in the way, again so that they do not.

    Args:
        call: calls it, with arguments made anew each time: it may have written to them.
        code: the function's.
        trace: that of its arguments.
        outer: values of other traces among them, which are what they were at first whenever it is called.

    Returns:
        What it returned.

    Raises:
        InPlaceError: a derivative would be lost in spite of all that, and other errors of the function.
    """
    known = _known.get(id(code))
    before = [(x, x._node, x._view, x._memory) for x in outer]
    if known is not None:
        needs = known[1]
    else:
        try:
            return call()
        except Exception as error:
            lost = _lost(error, trace)
            if lost is None:
                raise
            needs = Needs()
            needs.learn(error, lost)
    everything = known is None
    while True:
        for x, node, view, memory in before:
            x._node, x._view, x._memory = node, view, memory
        following = Following(trace, needs.sites, needs.used)
        try:
            with _exchange(needs.exchanges(everything), following):
                result = call()
        except Exception as error:
            lost = _lost(error, trace)
            if lost is None or not (needs.learn(error, lost, following) or not everything):
                raise
            everything = True
            continue
        if known is None and code is not None:
            _known[id(code)] = ref(code, functools.partial(_forget, id(code))), needs
        return result


def _forget(number: int, gone: ref[CodeType], known: dict[int, Any] = _known) -> None:
    known.pop(number, None)  # not by the module's name for it, which is gone where Python ends


def _lost(error: BaseException, trace: Trace) -> RefusedError | None:
    """Return the error that a plain array caused; None for others."""
    hidden = trace.asked if type(error) is ValueError and "single item" in str(error) else None  # of a.flat[i] = x
    for found in (error, error.__cause__, hidden):
        if isinstance(found, RefusedError) and (isinstance(found, InPlaceError) or found.plain is not None):
            return found
    return None


def _failing(error: Exception) -> Place:
    """Return the innermost place in the user's code, or in NumPy's polynomials, that an error went through."""
    trace, found = error.__traceback__, Place("", None)
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if is_user_code(file) or file.startswith(POLYNOMIALS):
            found = place_in(trace.tb_frame, trace.tb_lasti, trace.tb_lineno)
        trace = trace.tb_next
    return found


def _sites_behind(place: Place, following: Following) -> set[Site]:
    """Return the calls behind an array that NumPy has computed of others: ``new = old.copy()``, ``np.ones(3) * 2``.

    Without source, as of lines that were typed in, it may be any of the function's.
    """
    if place.frame is None:
        return set()
    calls = {site for site in following.calls if site[0] is place.frame.f_code}
    if place.expression is None:
        held = {following.site_of(x) for x in place.frame.f_locals.values() if isinstance(x, np.ndarray)}
        return calls | {site for site in held if site is not None}
    target = place.statement.target if isinstance(place.statement, ast.AugAssign) else place.expression
    array = target.value if isinstance(target, ast.Subscript) else target
    came_from = place.made(show(array)) if isinstance(array, ast.Name | ast.Attribute) else array
    if came_from is None:
        return set()
    names = [place.value(node) for node in ast.walk(came_from) if isinstance(node, ast.Name | ast.Attribute)]
    sites = {following.site_of(x) for x in names if isinstance(x, np.ndarray)}
    inside = {id(node) for node in ast.walk(came_from)}
    sites |= {site for site in calls if id(place_in(place.frame, site[1], None).expression) in inside}
    return {site for site in sites if site is not None}


@contextmanager
def _exchange(chosen: list[Exchange], following: Following) -> Iterator[None]:
    """Exchange functions; in other threads they go on as NumPy's own."""
    token = now.set(following)
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
        now.reset(token)


def _bind(space: Any, name: str, meaning: Any) -> None:
    if isinstance(space, dict):
        space[name] = meaning
    else:
        setattr(space, name, meaning)
