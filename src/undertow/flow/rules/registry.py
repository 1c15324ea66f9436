"""The rules by which a training is judged: what each looks for, from which number on, and who says so."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from undertow.errors import ArgumentError
from undertow.flow.findings import Evidence, Finding, Remedy
from undertow.flow.layers import FlowLayer
from undertow.flow.record import Flow


@dataclass(frozen=True)
class Rule:
    """A rule: a function of a record that yields what it finds.

    Attributes:
        kind: of the findings: ``"vanishing"``.
        find: ``find(flow, rule)`` → the findings.
        limits: the numbers it goes by, each with what it means.

    Raises:
        AttributeError: asked for a limit that it does not have.

    Source: derived here.
    """

    kind: str
    find: Callable[[Flow, Rule], Iterator[Finding]]
    limits: dict[str, tuple[float, str]]

    def __getattr__(self, name: str) -> float:
        """Return a limit by its name."""
        try:
            return self.limits[name][0]
        except KeyError:
            raise AttributeError(f"the rule {self.kind} has no limit {name!r}") from None

    @property
    def text(self) -> str:
        """What it judges and against what."""
        return (inspect.getdoc(self.find) or "").partition("\nSource:")[0].strip()

    @property
    def source(self) -> str:
        """Who says so."""
        return " ".join((inspect.getdoc(self.find) or "").partition("\nSource:")[2].split())

    def found(
        self,
        severity: str,
        cause: str,
        evidence: list[tuple[Any, ...]],
        remedies: list[Remedy],
        *,
        layers: list[FlowLayer] | None = None,
        step: int | None = None,
    ) -> Finding:
        """Make a finding of this kind.

        Args:
            severity: ``"error"``, ``"warning"`` or ``"note"``.
            cause: a sentence.
            evidence: (what, number, what is expected), the last may be left out.
            remedies: what to try, the most promising first.
            layers: where it shows, the cause first.
            step: at which it showed first.
        """
        shown = layers or []
        return Finding(
            self.kind, severity, cause, tuple(x.label for x in shown), tuple(x.path for x in shown), step,
            tuple(Evidence(*row) for row in evidence), tuple(remedies), self.source,
        )  # fmt: skip


RULES: Final[dict[str, Rule]] = {}

Find: TypeAlias = Callable[[Flow, Rule], Iterator[Finding]]


def rule(kind: str, **limits: tuple[float, str]) -> Callable[[Find], Find]:
    """Enter a function into ``RULES``.

    Args:
        kind: of its findings.
        limits: the numbers it goes by and what each means; the function reads them from its second argument.

    Returns:
        A decorator.

    Raises:
        ArgumentError: ``there is a rule 'plateau' already.``

    Source: derived here.

    Example:
        >>> @rule("slow", seconds=(60, "longest time of an epoch, in seconds"))
        ... def find_slow(flow, rule):
        ...     '''Epochs that take long.
        ...
        ...     Source: derived here.
        ...     '''
        ...     if any(row["seconds"] > rule.seconds for row in flow.history):
        ...         yield rule.found("note", "An epoch takes long.", [], [])
        >>> made = RULES.pop("slow")
        >>> flow = Flow.empty(())
        >>> flow.history = [{"seconds": 90.0}]
        >>> [x.cause for x in made.find(flow, made)], made.text, made.source
        (['An epoch takes long.'], 'Epochs that take long.', 'derived here.')
    """

    def decorate(find: Find) -> Find:
        if kind in RULES:
            raise ArgumentError(f"there is a rule {kind!r} already. Give this one another name.")
        RULES[kind] = Rule(kind, find, limits)
        return find

    return decorate
