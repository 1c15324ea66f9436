"""The command line: ``python -m benchmarks.training --workloads S,M --threads 1,2 --systems undertow,numpy``."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from benchmarks.training.peers import SYSTEMS
from benchmarks.training.report import (
    count_cores,
    describe_machine,
    draw,
    print_rest,
    print_table,
    read_json,
    to_markdown,
    write_json,
)
from benchmarks.training.runner import LossesDiffer, Results, Settings, measure
from benchmarks.training.workloads import WORKLOADS


def read_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training", description=__doc__)
    about = "; ".join(f"{w.name}: {w.title}" for w in WORKLOADS.values())
    threads = ",".join(str(n) for n in (1, 2) if n <= count_cores())
    parser.add_argument("--workloads", default=",".join(WORKLOADS), help=f"default all of them. {about}")
    parser.add_argument("--threads", default=threads, help=f"default {threads}")
    parser.add_argument("--systems", default=",".join(SYSTEMS), help=f"of {', '.join(SYSTEMS)}; default %(default)s")
    parser.add_argument("--rounds", type=int, default=7, help="default 7; large workloads take fewer")
    parser.add_argument("--seconds", type=float, default=0.1, help="time for a system in a round; default 0.1")
    parser.add_argument("--cold-rounds", type=int, default=2, help="cold starts of M; default 2")
    parser.add_argument("--patience", type=float, default=0.2, help="longest wait for a quiet moment; default 0.2 s")
    parser.add_argument("--read", type=Path, nargs="+", default=[], help="JSON files to show instead of measuring")
    parser.add_argument("--out", type=Path, help="a JSON file, such as benchmarks/results/today.json")
    parser.add_argument("--markdown", type=Path, help="a page, such as docs/benchmarks.md")
    parser.add_argument("--plot", type=Path, help="an SVG file; needs matplotlib")
    found = parser.parse_args(arguments)
    for name, known in (("workloads", WORKLOADS), ("systems", SYSTEMS)):
        chosen = getattr(found, name).split(",")
        if unknown := [one for one in chosen if one not in known]:
            parser.error(f"there is no {', '.join(unknown)}. --{name} takes {', '.join(known)}.")
        setattr(found, name, chosen)
    try:
        found.threads = [int(n) for n in found.threads.split(",")]
    except ValueError:
        parser.error(f"--threads takes numbers such as 1,2, got {found.threads}.")
    if min(found.threads) < 1 or found.rounds < 1:
        parser.error("--threads and --rounds take numbers of 1 or more.")
    return found


def write(asked: argparse.Namespace, results: Results) -> None:
    """Print what belongs to no workload, and write the files asked for."""
    print_rest(results)
    if asked.out:
        write_json(results, asked.out)
    if asked.markdown:
        asked.markdown.parent.mkdir(parents=True, exist_ok=True)
        asked.markdown.write_text(to_markdown(results), encoding="utf-8")
    if asked.plot:
        draw(results, asked.plot)


def main() -> int:
    """Measure, print and write."""
    asked = read_arguments()
    started = time.monotonic()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - started:4.0f} s] {text}", flush=True)

    if asked.read:
        results = read_json(asked.read)
        for workload, threads in dict.fromkeys((row.workload, row.threads) for row in results.rows):
            say(f"{workload}, threads: {threads}")
            print_table(results, workload, threads)
        write(asked, results)
        return 0
    settings = Settings(
        asked.workloads,
        asked.threads,
        asked.systems,
        asked.rounds,
        asked.seconds,
        asked.cold_rounds,
        asked.patience,
        say,
    )

    def show(results: Results, workload: str, threads: int) -> None:
        print_table(results, workload, threads)
        if asked.out:  # what is measured is kept, also when the run is ended
            write_json(results, asked.out)

    try:
        results = measure(settings, show, describe_machine())
    except LossesDiffer as error:
        print(f"FAILED: {error}", file=sys.stderr)
        return 1
    write(asked, results)
    say("finished")
    return 0


if __name__ == "__main__":
    sys.exit(main())
