"""What a diagnosis got right: recall, precision and the layer of the cause, kind by kind."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from benchmarks.diagnosis.case import KINDS, Case
from benchmarks.diagnosis.truth import fit, is_broken, observe

FOLLOWS: Final = "follows from it: "  # how the text of evidence begins that names a consequence


@dataclass
class Verdict:
    """What came of one network.

    Attributes:
        found: kinds with the path of the cause, or None: findings of their own.
        follows: kinds that a finding names among what follows from it.
        allowed: kinds that are no false alarm.
        valid: whether it is what it is meant to be: broken, or healthy.
        why: why it is not.
        lifted: by how much the best remedy lifts it; None where none was tried.
    """

    name: str
    kind: str
    must: list[str]
    allowed: list[str]
    cause: list[str]
    found: dict[str, Any] = field(default_factory=dict)
    follows: list[str] = field(default_factory=list)
    evidence: dict[str, Any] = field(default_factory=dict)
    valid: bool = True
    why: str = ""
    seconds: float = 0.0
    cure: dict[str, Any] | None = None

    @property
    def misses(self) -> list[str]:
        return [kind for kind in self.must if kind not in self.told]

    @property
    def alarms(self) -> list[str]:
        return [kind for kind in self.told if kind not in self.must and kind not in self.allowed]

    @property
    def told(self) -> list[str]:
        """All kinds that are named."""
        return [*self.found, *(kind for kind in self.follows if kind not in self.found)]

    def plain(self) -> dict[str, Any]:
        return asdict(self)


def judge(case: Case, check: bool = True) -> tuple[Verdict, Any]:
    """Train a network, diagnose it, and hold what is found against what is known.

    Args:
        case: the network.
        check: whether its healthy twin is trained too.

    Returns:
        The verdict, and the run with its findings.
    """
    verdict = Verdict(case.name, case.kind, sorted(case.must), sorted(case.may), list(case.cause))
    begun = time.perf_counter()
    try:
        run = fit(case.train_arguments(), flow=True)
        findings = run.findings
    except Exception as error:  # a fault of ours: it is told, and the bench goes on
        verdict.valid, verdict.why = False, f"{type(error).__name__}: {error}"
        return verdict, (None, [])
    verdict.seconds = time.perf_counter() - begun
    for finding in findings:
        verdict.found.setdefault(finding.kind, finding.paths[0] if finding.paths else None)
        shown = "; ".join(f"{x.text}: {x.value}" for x in finding.evidence)
        for part in finding.evidence:
            if part.text.startswith(FOLLOWS):
                kind = part.text.removeprefix(FOLLOWS)
                verdict.follows.append(kind)
                verdict.evidence.setdefault(kind, f"named as what follows from {finding.kind}: {part.value}")
        verdict.evidence.setdefault(finding.kind, f"{finding.severity}, step {finding.step}, {shown}")
    clear, faint = observe(case, run)
    verdict.allowed = sorted({*verdict.allowed, *clear, *faint})
    if case.healthy and clear - case.may:
        verdict.valid, verdict.why = False, f"it shows {', '.join(sorted(clear))}"
    elif case.worse == "seen" and not case.must <= clear:
        verdict.valid, verdict.why = False, "it does not show what it is meant to"
    elif check and not case.healthy and not is_broken(case, run):
        verdict.valid, verdict.why = False, "it does as well as its healthy twin"
    return verdict, (run, findings)


@dataclass
class Line:
    """One line of the table."""

    kind: str
    broken: int = 0
    hits: int = 0
    own: int = 0  # of these, the findings of their own
    reported: int = 0
    right: int = 0
    asked: int = 0
    placed: int = 0

    @property
    def recall(self) -> float:
        return self.hits / self.broken if self.broken else float("nan")

    @property
    def own_recall(self) -> float:
        return self.own / self.broken if self.broken else float("nan")

    @property
    def precision(self) -> float:
        return self.right / self.reported if self.reported else float("nan")

    @property
    def cause(self) -> float:
        return self.placed / self.asked if self.asked else float("nan")


def tally(verdicts: list[Verdict]) -> list[Line]:
    """Count, for each kind, over all networks that are what they are meant to be."""
    lines = {kind: Line(kind) for kind in KINDS}
    for verdict in verdicts:
        if not verdict.valid:
            continue
        for kind, line in lines.items():
            line.broken += kind in verdict.must
            line.hits += kind in verdict.must and kind in verdict.told
            line.own += kind in verdict.must and kind in verdict.found
            line.reported += kind in verdict.told
            line.right += kind in verdict.told and kind not in verdict.alarms
            if kind in verdict.must and kind in verdict.found and verdict.cause:
                line.asked += 1
                line.placed += verdict.found[kind] in verdict.cause
    return list(lines.values())
