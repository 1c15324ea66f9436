"""How well broken networks are diagnosed, and healthy ones left alone.

python -m benchmarks.diagnosis [--only KIND] [--n N] [--seed S] [--no-check] [--cure] [--json FILE]

Rules are written with the networks of seed 0 before the eyes. The table that is published is of another seed.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.diagnosis import broken_data, broken_signal, broken_steps, broken_units, healthy  # noqa: F401 (they enter)
from benchmarks.diagnosis.case import HEALTHY, KINDS, make_cases
from benchmarks.diagnosis.cures import show_cures, try_cure
from benchmarks.diagnosis.judge import Verdict, judge, tally

from undertow.compile import set_threads
from undertow.errors import PairingWarning


def show_table(verdicts: list[Verdict]) -> str:
    lines = tally(verdicts)
    rows = ["| kind | networks | recall | reported | precision | cause layer right |", "|---|---|---|---|---|---|"]
    number = lambda x: "–" if np.isnan(x) else f"{x:.2f}"  # noqa: E731
    rows += [
        f"| {x.kind} | {x.broken} | {number(x.recall)} | {x.reported} | {number(x.precision)} | "
        f"{number(x.cause)}{f' of {x.asked}' if x.asked else ''} |"
        for x in lines
        if x.broken or x.reported
    ]
    sums = {
        name: sum(getattr(x, name) for x in lines)
        for name in ("broken", "hits", "reported", "right", "asked", "placed")
    }
    share = lambda a, b: number(sums[a] / sums[b] if sums[b] else float("nan"))  # noqa: E731
    rows.append(
        f"| all | {sums['broken']} | {share('hits', 'broken')} | {sums['reported']} | {share('right', 'reported')} | "
        f"{share('placed', 'asked')} of {sums['asked']} |"
    )
    return "\n".join(rows)


def show_faults(verdicts: list[Verdict]) -> str:
    """Misses, false alarms, causes in the wrong place, and networks that are not what they are meant to be."""
    found: dict[str, list[str]] = {"Misses": [], "False alarms": [], "Wrong layer": [], "Left out": []}
    for x in verdicts:
        where = f"{x.kind}: {x.name}"
        if not x.valid:
            found["Left out"].append(f"{where}: {x.why}")
            continue
        others = ", ".join(kind for kind in x.found if kind not in x.must) or "nothing"
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
