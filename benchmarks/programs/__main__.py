"""The command line: ``python -m benchmarks.programs attention "LSTM" --threads 1 2 --out results.json``."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from benchmarks.programs.catalogue import GROUPS, find
from benchmarks.programs.report import draw, pairs_of, print_pair, summary, thread_counts, to_markdown
from benchmarks.programs.runner import measure
from benchmarks.training.report import describe_machine, read_json, write_json
from benchmarks.training.runner import Results, Settings


def read_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.programs", description=__doc__)
    groups = ", ".join(module.__name__.rpartition(".")[2] for module in GROUPS)
    parser.add_argument("names", nargs="*", help=f"groups ({groups}) or parts of names; default all")
    parser.add_argument("--threads", type=int, nargs="+", default=[1], help="default 1")
    parser.add_argument("--rounds", type=int, default=7, help="default 7")
    parser.add_argument("--seconds", type=float, default=0.05, help="time for a system in a round; default 0.05")
    parser.add_argument("--patience", type=float, default=0.1, help="longest wait for a quiet moment; default 0.1 s")
    parser.add_argument("--read", type=Path, nargs="+", default=[], help="JSON files to show instead of measuring")
    parser.add_argument("--out", type=Path, help="a JSON file, such as benchmarks/results/programs.json")
    parser.add_argument("--markdown", type=Path, help="a page, such as docs/programs.md")
    parser.add_argument("--plot", type=Path, help="an SVG file; needs matplotlib")
    found = parser.parse_args(arguments)
    if min(*found.threads, found.rounds) < 1:
        parser.error("--threads and --rounds take numbers of 1 or more.")
    try:
        found.programs = find(found.names)
    except KeyError as error:
        parser.error(f"there is no {error.args[0]}. Name groups ({groups}) or parts of the programs' names.")
    return found


def main() -> int:
    """Measure, print and write; 1 where a program failed."""
    asked = read_arguments()
    started = time.monotonic()
    settings = Settings([], asked.threads, [], asked.rounds, asked.seconds, patience=asked.patience)

    def show(results: Results, name: str, threads: int) -> None:
        print_pair(results, name, threads)
        if asked.out:  # what is measured is kept, also when the run is ended
            write_json(results, asked.out)

    results = read_json(asked.read) if asked.read else measure(asked.programs, settings, show, describe_machine())
    for threads in thread_counts(results):
        print(f"{threads} thread{'s' * (threads > 1)}: {summary(pairs_of(results, threads))}")
    if asked.out:
        write_json(results, asked.out)
    if asked.markdown:
        asked.markdown.parent.mkdir(parents=True, exist_ok=True)
        asked.markdown.write_text(to_markdown(results), encoding="utf-8")
    if asked.plot:
        draw(results, asked.plot)
    print(f"finished after {time.monotonic() - started:.0f} s")
    return int(any(pair.failed for threads in thread_counts(results) for pair in pairs_of(results, threads)))


if __name__ == "__main__":
    sys.exit(main())
