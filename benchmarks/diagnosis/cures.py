"""Whether the remedies of the findings lift a broken network."""

from __future__ import annotations

from typing import Any

from benchmarks.diagnosis.case import Case
from benchmarks.diagnosis.judge import Verdict

from undertow.errors import UndertowError

LEAST_METRIC, LEAST_LOSS = 0.02, 0.1  # a share of right answers; a part of the loss


def try_cure(case: Case, run: Any, findings: list[Any]) -> dict[str, Any] | None:
    """Try the remedies; None where nothing is to be lifted: a column that is constant does no harm."""
    from undertow.flow.cure import try_remedies

    if case.worse == "" and case.kind not in ("imbalanced-classes", "dead-units"):
        return None
    given = case.settings.get("validation")
    try:
        trials = try_remedies(
            run,
            data=case.data,
            model=case.model,
            validation=given if isinstance(given, tuple) else None,
            findings=findings,
            progress=False,
        )
    except UndertowError as error:
        return {"error": f"{type(error).__name__}: {error}", "lifted": False}
    best = trials.best
    return {
        "lifted": best is not None and best.gain >= (LEAST_METRIC if trials.is_share else LEAST_LOSS),
        "best": None if best is None else best.remedy,
        "gain": None if best is None else best.gain,
        "trials": trials.plain(),
    }


def show_cures(verdicts: list[Verdict]) -> str:
    tried = [x for x in verdicts if x.cure is not None]
    lifted = [x for x in tried if x.cure and x.cure["lifted"]]
    lines = [
        f"The best remedy lifts {len(lifted)} of {len(tried)} broken networks ({len(lifted) / max(len(tried), 1):.0%})."
    ]
    for x in tried:
        if x.cure and not x.cure["lifted"]:
            why = x.cure.get("error") or f"best: {x.cure['best']}, {x.cure['gain']}"
            lines.append(f"- not lifted: {x.kind}: {x.name}: {why}")
    return "\n".join(lines)
