"""In which pass over a row each line of a kernel is computed."""

from __future__ import annotations

from functools import lru_cache

from undertow.compile.kernel import Line, Structure
from undertow.compile.short_rows import cost_of


@lru_cache(maxsize=1024)  # equal layers have equal kernels
def stages(structure: Structure) -> tuple[dict[int, int], int]:
    """Decide in which pass over the columns each line is computed.

    Returns:
        The pass of every line (of a row value: the pass before which it is known), and the number of passes.
    """
    lines = structure.lines
    earliest: dict[int, int] = {}
    for i, line in enumerate(lines):
        base = max((earliest[j] for word, j in line.reads if word == "v"), default=0)
        earliest[i] = base + 1 if line.reduces == "columns" else base
    place: dict[int, int] = {}
    wanted: dict[int, int] = {}
    for i in range(len(lines) - 1, -1, -1):
        line = lines[i]
        if line.reduces == "statistics":
            continue
        if line.reduces == "columns":
            place[i], reads_at = earliest[i], earliest[i] - 1
        elif line.level == "full" or line.reduces in ("rows", "all"):
            at = wanted.get(i, earliest[i])
            place[i] = reads_at = max(at, earliest[i])
        else:
            place[i] = reads_at = earliest[i]
        for word, j in line.reads:
            if word == "v" and lines[j].level == "full" and not lines[j].reduces:
                wanted[j] = min(wanted.get(j, reads_at), reads_at)
    place |= _measured_at(lines, place, structure.abreast > 1)
    every = ("rows", "all", "statistics")
    passes = [place[i] for i, line in enumerate(lines) if line.level == "full" or line.reduces in every]
    passes += [place[i] - 1 for i, line in enumerate(lines) if line.reduces == "columns"]
    return place, max(passes, default=-1) + 1


def _measured_at(lines: tuple[Line, ...], place: dict[int, int], near: bool) -> dict[int, int]:
    """Decide where statistics are taken: where the values pass by anyway, and in the pass that does least.

    Args:
        lines: of the kernel.
        place: of those that are no statistics.
        near: rows are so short that what an earlier pass has made is read again in no time. A pass that computes a
            tanh is what a processor looks ahead in, and has no room for more, where others wait for sums: the forward
            pass of LayerNorm and tanh takes 1.17 of the time that it takes unwatched, not 1.33.

    Returns:
        The passes of the statistics.
    """
    work: dict[int, int] = {}
    at_hand: dict[tuple[str, int], set[int]] = {}  # the passes that have a value
    for i, at in place.items():
        at -= lines[i].reduces == "columns"
        work[at] = work.get(at, 0) + 1 + cost_of(lines[i])
        if lines[i].level == "full" and not lines[i].reduces:
            at_hand.setdefault(("v", i), set()).add(at)
        for read in lines[i].reads:
            at_hand.setdefault(read, set()).add(max(at, 0))
    found = {}
    for i, line in enumerate(lines):
        if line.reduces == "statistics":
            (read,) = line.reads
            known = at_hand.get(read, {0})
            late = {at for at in work if at > min(known)} if near and read[0] == "v" else set()
            found[i] = at = min(known | late, key=lambda at: (work.get(at, 0) + (at not in known), at))
            work[at] = work.get(at, 0) + len(dict(line.params)["kinds"]) + (at not in known)
            known.add(at)
    return found


def saved_lines(structure: Structure) -> list[int]:
    """Return the lines whose values a later pass reads again from scratch memory."""
    place, _ = stages(structure)
    found = set()
    for i, line in enumerate(structure.lines):
        at = place[i] - 1 if line.reduces == "columns" else place[i]
        for word, j in line.reads:
            if word == "v" and structure.lines[j].level == "full" and not structure.lines[j].reduces and place[j] < at:
                found.add(j)
    return sorted(found - set(structure.stores))
