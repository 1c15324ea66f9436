"""All programs, by their fields; the one place that hands them NumPy or what stands in for it."""

from __future__ import annotations

from types import ModuleType
from typing import Any, Final

from benchmarks.programs import (
    algebra,
    attention,
    convolution,
    formulas,
    graphs,
    losses,
    physics,
    probabilistic,
    recurrent,
    reductions,
)
from benchmarks.programs.program import PROGRAMS, Program

GROUPS: Final[tuple[ModuleType, ...]] = (
    attention, recurrent, convolution, losses, probabilistic, graphs, physics, algebra, reductions
)  # fmt: skip


def use(namespace: Any) -> None:
    """Let every program's ``np`` be this module from now on: ``numpy`` or ``jax.numpy``."""
    for module in (formulas, *GROUPS):
        module.np = namespace  # type: ignore[attr-defined]


def find(words: list[str]) -> list[Program]:
    """The programs whose name or group has one of these words in it, all without words; KeyError for unknown words."""
    if unknown := [w for w in words if not any(w in p.name or w == p.group for p in PROGRAMS.values())]:
        raise KeyError(", ".join(unknown))
    return [p for p in PROGRAMS.values() if not words or any(w in p.name or w == p.group for w in words)]


def title_of(group: str) -> str:
    """What a group is about: the first sentence of its module."""
    (module,) = (module for module in GROUPS if module.__name__.endswith(f".{group}"))
    return (module.__doc__ or "").split("\n")[0].split(";")[0].rstrip(".")
