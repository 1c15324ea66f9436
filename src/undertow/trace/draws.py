"""What a function draws while it is traced is a constant of its program: the user is told."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType, ModuleType
from typing import Any

import numpy as np

State = tuple[Any, ...]


def random_states(f: Callable[..., Any]) -> list[tuple[Any, State]]:
    """Look at the random numbers that a function may draw: NumPy's and Python's, and the generators that it names.

    Args:
        f: a function that is going to be traced.

    Returns:
        Each bit generator or module, and where it stands; see `warn_of_draws`.

    Source: derived here.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> before = random_states(lambda x: x + rng.normal())
        >>> _ = rng.normal()
        >>> [_stands_at(bits) == state for bits, state in before[-1:]]  # the one that it names
        [False]
    """
    found: list[Any] = [sys.modules["random"]] if "random" in sys.modules else []
    if "numpy.random" not in sys.modules:  # nobody has drawn anything: a generator that is new tells where that is
        return [*((x, _stands_at(x)) for x in found), (None, ())]
    code = getattr(f, "__code__", None)
    cells = [cell.cell_contents for cell in getattr(f, "__closure__", None) or () if _is_filled(cell)]
    named = [f.__globals__.get(name) for name in code.co_names] if isinstance(code, CodeType) else []
    found += [x.bit_generator for x in (*cells, *named) if isinstance(x, np.random.Generator)]
    return [(bits, _stands_at(bits)) for bits in (vars(np.random)["get_bit_generator"](), *found)]


def warn_of_draws(f: Callable[..., Any], code: CodeType | None, before: list[tuple[Any, State]]) -> None:
    """Warn where random numbers were drawn since.

    Args:
        f: the function that was traced.
        code: its code, which says where it stands.
        before: from `random_states`.

    Source: derived here.
    """
    if code is None or all(_stands_at(bits) == state for bits, state in before):
        return
    name = getattr(f, "__name__", type(f).__name__)
    who, remedy = getattr(f, "draws", (name, "Draw them outside, and pass them as an argument."))
    warnings.warn_explicit(
        f"{who} draws random numbers. It is traced once, so the program that is made of it has these numbers as "
        f"constants, the same at each call. {remedy}",
        UserWarning,
        code.co_filename,
        code.co_firstlineno,
    )


@contextmanager
def undrawn(f: Callable[..., Any]) -> Iterator[None]:
    """Let the generators that a function may draw from stand, behind a block that calls it, where they stood before."""
    found = [x for x, _ in random_states(f) if x is not None]
    states = [x.getstate() if isinstance(x, ModuleType) else x.state for x in found]
    try:
        yield
    finally:
        for x, state in zip(found, states, strict=True):
            if isinstance(x, ModuleType):
                x.setstate(state)
            else:
                x.state = state


def _stands_at(bits: Any) -> State:
    """Where a generator stands, to be compared; () for NumPy's own where it is as new."""
    if bits is None and "numpy.random" not in sys.modules:
        return ()
    if bits is None:
        own, new = vars(np.random)["get_bit_generator"](), np.random.MT19937()
        return () if own.state["state"]["pos"] == new.state["state"]["pos"] else _stands_at(own)
    if isinstance(bits, ModuleType):
        return tuple(bits.getstate())
    return tuple(x.tobytes() if isinstance(x, np.ndarray) else x for x in bits.state["state"].values())


def _is_filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018 - a name that is assigned later has no contents yet
    except ValueError:
        return False
    return True


@contextmanager
def draws_any(f: Callable[..., Any]) -> Iterator[list[Any]]:
    """Do as `undrawn`, and fill a list with the generators that were drawn from.

    Args:
        f: the function that the block calls.

    Source: derived here.
    """
    before, drawn = random_states(f), []  # type: tuple[list[tuple[Any, State]], list[Any]]
    with undrawn(f):
        yield drawn
        drawn += [x for x, state in before if _stands_at(x) != state]
