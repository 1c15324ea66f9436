"""What is found in a training: a name, where and when it shows, the numbers, why it happens, and what mends it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

SEVERITIES: Final = ("error", "warning", "note")


@dataclass(frozen=True)
class Evidence:
    """A number that speaks for a finding.

    Attributes:
        text: what it is: ``"RMS of δ in layer 1 by that in layer 30"``.
        value: what was found.
        expected: what a healthy training has, as a number or a sentence such as ``"between 0.1 and 10"``.
    """

    text: str
    value: float | str | None
    expected: float | str | None = None


@dataclass(frozen=True)
class Remedy:
    """What may mend it.

    Attributes:
        sentence: for people.
        code: what to write in Python.
        option: of `undertow train`; empty where there is none.
        name: of the change, as `undertow.flow.cure` knows it: ``"activation"``, ``"rate"``, …
        change: its settings, as plain data: ``{"to": "relu"}``.
    """

    sentence: str
    code: str
    option: str = ""
    name: str = ""
    change: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, repr=False)
class Finding:
    """Something that is wrong with a training.

    Attributes:
        kind: ``"vanishing"``, ``"dead-units"``, …
        severity: ``"error"`` (it cannot learn so), ``"warning"`` (it learns badly), ``"note"``.
        cause: why, in a sentence.
        layers: the labels of the layers where it shows, the cause first.
        paths: their paths.
        step: at which it showed first; None where that has no meaning.
        evidence: the numbers.
        remedies: what to try, the most promising first.
        source: where the rule comes from.

    ``print`` shows all of it, as `undertow diagnose` does, as wide as the terminal.

    Source: derived here.

    Example:
        >>> again = Remedy("More epochs: 9.", "run = ut.train(model, (X, y), epochs=9)", "--epochs 9")
        >>> found = Finding("plateau", "warning", "The loss stands still.", step=7, remedies=(again,))
        >>> Finding.read(found.plain()) == found, found
        (True, Finding(plateau, warning, step 7))
        >>> print(found)
        warning: plateau, from step 7 on
          The loss stands still.
          1. More epochs: 9.  --epochs 9
             run = ut.train(model, (X, y), epochs=9)
    """

    kind: str
    severity: str
    cause: str
    layers: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    step: int | None = None
    evidence: tuple[Evidence, ...] = ()
    remedies: tuple[Remedy, ...] = ()
    source: str = ""

    def __repr__(self) -> str:
        where = f", {self.layers[0]}" if self.layers else ""
        when = "" if self.step is None else f", step {self.step}"
        return f"Finding({self.kind}, {self.severity}{where}{when})"

    def __str__(self) -> str:
        from undertow.flow.tell import finding_text

        return finding_text(self)

    def __rich__(self) -> Any:
        from undertow.flow.tell import show_findings

        return show_findings([self])

    def _repr_html_(self) -> str:
        from undertow.flow.tell import finding_html

        return finding_html(self)

    def plain(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> Finding:
        """Make it of plain data."""
        many = {"evidence": Evidence, "remedies": Remedy}
        rest: dict[str, Any] = {name: tuple(kind(**x) for x in data[name]) for name, kind in many.items()}
        rest |= {name: tuple(data[name]) for name in ("layers", "paths")}
        return cls(**{**data, **rest})


class Findings(list[Finding]):
    """The findings of a training, the worst first: a list that says all of it where it is shown.

    A line for each with its severity, kind, place and cause; in a notebook each is to unfold.

    Source: derived here.

    Example:
        >>> Findings([Finding("plateau", "warning", "The loss stands at 2.3.", step=7)])
        warning: plateau, from step 7 on: The loss stands at 2.3.
    """

    def __repr__(self) -> str:
        from undertow.flow.tell import finding_line

        return "\n".join(map(finding_line, self)) or "[]"

    def __rich__(self) -> Any:
        from undertow.flow.tell import show_findings

        return show_findings(self) if self else "[]"

    def _repr_html_(self) -> str:
        from undertow.flow.tell import findings_html

        return findings_html(self)
