"""How well broken networks are diagnosed, and healthy ones left alone.

python -m benchmarks.diagnosis [--only KIND] [--n N] [--seed S] [--no-check] [--cure] [--json FILE]

A kind is found where a finding has its name, or names it among what follows from it ("found apart" counts the former
alone); a false alarm is counted in the same way. Rules are written with the networks of seed 0 before the eyes. The
table that is published is of another seed.
"""

from __future__ import annotations

import argparse
import json
import math
import time
import warnings
from dataclasses import fields
from pathlib import Path
from typing import Any

from benchmarks.diagnosis import (  # noqa: F401 (they enter)
    broken_data,
    broken_restraints,
    broken_sign,
    broken_signal,
    broken_steps,
    broken_units,
    healthy,
)
from benchmarks.diagnosis.case import HEALTHY, KINDS, make_cases
from benchmarks.diagnosis.cures import show_cures, try_cure
from benchmarks.diagnosis.judge import Line, Verdict, judge, tally

from undertow.compile import set_threads
from undertow.errors import PairingWarning


def show_table(verdicts: list[Verdict]) -> str:
    lines = tally(verdicts)
    whole = Line("all", *(sum(getattr(x, f.name) for x in lines) for f in fields(Line)[1:]))
    head = ["kind", "networks", "recall", "found apart", "reported", "precision", "cause layer right"]
    rows = [head, ["---"] * len(head)]
    for x in [*(x for x in lines if x.broken or x.reported), whole]:
        placed = f"{show_number(x.cause)} of {x.asked}" if x.asked else "–"
        shares = [show_number(x.recall), show_number(x.own_recall), str(x.reported), show_number(x.precision)]
        rows.append([x.kind, str(x.broken), *shares, placed])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def show_number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.2f}"


def show_faults(verdicts: list[Verdict]) -> str:
    """Misses, false alarms, causes in the wrong place, and networks that are not what they are meant to be."""
    found: dict[str, list[str]] = {"Misses": [], "False alarms": [], "Wrong layer": [], "Left out": []}
    for x in verdicts:
        where = f"{x.kind}: {x.name}"
        if not x.valid:
            found["Left out"].append(f"{where}: {x.why}")
            continue
        others = ", ".join(kind for kind in x.told if kind not in x.must) or "nothing"
        found["Misses"] += [f"{where}: no {kind}; found {others}" for kind in x.misses]
        found["False alarms"] += [f"{where}: {kind} ({x.evidence[kind]})" for kind in x.alarms]
        for kind in x.must:
            if kind in x.found and x.cause and x.found[kind] not in x.cause:
                found["Wrong layer"].append(f"{where}: {kind} at {x.found[kind]}, not {' or '.join(x.cause)}")
    parts = [f"{title}: {len(lines)}\n" + "\n".join(f"- {line}" for line in lines) for title, lines in found.items()]
    return "\n\n".join(parts)


def show_health(verdicts: list[Verdict]) -> str:
    healthy_ones = [x for x in verdicts if x.kind == HEALTHY and x.valid]
    quiet = sum(not x.alarms for x in healthy_ones)
    return f"{quiet} of {len(healthy_ones)} healthy networks have no false alarm."


def main() -> None:
    parser = argparse.ArgumentParser(description="How well broken networks are diagnosed.")
    parser.add_argument("--only", choices=(HEALTHY, *KINDS), help="networks of one kind")
    parser.add_argument("--n", type=int, help="the first N networks of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-check", action="store_true", help="do not train the healthy twins")
    parser.add_argument("--cure", action="store_true", help="try the remedies of the findings, too")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    set_threads(given.threads)
    warnings.simplefilter("ignore", PairingWarning)
    begun, verdicts, counts = time.perf_counter(), list[Verdict](), dict[str, int]()
    for case in make_cases(given.seed, given.only):
        counts[case.kind] = counts.get(case.kind, 0) + 1
        if given.n is not None and counts[case.kind] > given.n:
            continue
        verdict, (run, findings) = judge(case, not given.no_check)
        if given.cure and verdict.valid and not case.healthy:
            verdict.cure = try_cure(case, run, findings)
        verdicts.append(verdict)
        if given.json:
            given.json.write_text(json.dumps([x.plain() for x in verdicts], indent=1, ensure_ascii=False))
    text: list[Any] = [show_table(verdicts), show_health(verdicts), show_faults(verdicts)]
    text += [show_cures(verdicts)] if given.cure else []
    print("\n\n".join(text))
    print(f"\n{len(verdicts)} networks, seed {given.seed}, {time.perf_counter() - begun:.0f} s")


if __name__ == "__main__":
    main()
