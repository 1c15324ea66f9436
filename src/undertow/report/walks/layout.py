"""Where the nodes of a graph stand: columns by the longest way from an input, the way to the loss in one line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

WIDTH, HEIGHT = 132, 56  # of a node
ACROSS, DOWN = 174, 76  # from column to column, from lane to lane
MARGIN = 14
BEND = 26  # how far the curve of an edge reaches before it turns


@dataclass
class Layout:
    """Places of nodes (x and y of the upper left corner), paths of edges, and the size of the drawing."""

    places: list[tuple[int, int]]
    paths: list[str]
    width: int
    height: int


def lay_out(n: int, edges: Sequence[tuple[int, int]], last: int, below: Sequence[int]) -> Layout:
    """Place the nodes of an acyclic graph.

    Args:
        n: how many nodes; each comes after those that lead to it.
        edges: pairs (from, to).
        last: the node whose longest way from the front is drawn as a straight line: the loss.
        below: nodes to set beneath that line, the parameters; others go above it.

    Returns:
        The places and paths.
    """
    before: list[list[int]] = [[] for _ in range(n)]
    after: list[list[int]] = [[] for _ in range(n)]
    for a, b in edges:
        before[b].append(a)
        after[a].append(b)
    column = [0] * n
    for i in range(n):
        column[i] = max((column[x] + 1 for x in before[i]), default=0)
    for i in range(n):  # an input stands right before its first reader
        if not before[i] and after[i]:
            column[i] = min(column[x] for x in after[i]) - 1
    spine = _spine(last, before, column, set(below))
    lane = _lanes(n, column, spine, set(below), before)
    lifts = _lifts(edges, column, lane)
    top = min(lane)
    rise = max([lift for lift in lifts.values()], default=0) if top == 0 or lifts else 0
    y0 = MARGIN + max(0, rise - (0 - top) * DOWN)
    places = [(MARGIN + column[i] * ACROSS, y0 + (lane[i] - top) * DOWN) for i in range(n)]
    paths = [_path(places[a], places[b], lifts.get((a, b), 0)) for a, b in edges]
    width = max((x for x, _ in places), default=0) + WIDTH + MARGIN
    height = max((y for _, y in places), default=0) + HEIGHT + MARGIN
    return Layout(places, paths, width, height)


def _spine(last: int, before: list[list[int]], column: list[int], below: set[int]) -> set[int]:
    spine = {last}
    while before[last]:
        last = max(before[last], key=lambda x: (column[x], bool(before[x]), x not in below, -x))
        spine.add(last)
    return spine


def _lanes(n: int, column: list[int], spine: set[int], below: set[int], before: list[list[int]]) -> list[int]:
    """A lane for each node: 0 for the line to the loss, 1, 2, … beneath it, −1, −2, … above."""
    taken = {(column[i], 0) for i in spine}
    lane = [0] * n
    for i in range(n):
        if i in spine:
            continue
        step = 1 if i in below else -1
        near = [lane[x] for x in before[i] if lane[x] * step > 0]
        at = near[0] if near else step
        while (column[i], at) in taken:
            at += step
        taken.add((column[i], at))
        lane[i] = at
    return lane


def _lifts(edges: Sequence[tuple[int, int]], column: list[int], lane: list[int]) -> dict[Any, int]:
    """How far an edge has to be lifted over what stands between its ends in their lane."""
    taken = {(c, k) for c, k in zip(column, lane, strict=True)}
    lifts = {}
    for a, b in edges:
        between = range(column[a] + 1, column[b])
        if lane[a] == lane[b] and any((c, lane[a]) in taken for c in between):
            lifts[a, b] = min(HEIGHT + 8 * len(between), 2 * DOWN)
    return lifts


def _path(start: tuple[int, int], stop: tuple[int, int], lift: int) -> str:
    x, y = start[0] + WIDTH, start[1] + HEIGHT // 2
    u, v = stop[0] - 1, stop[1] + HEIGHT // 2
    if lift:
        x, y = start[0] + WIDTH - 16, start[1]
        u, v = stop[0] + 16, stop[1] - 1
        over = min(y, v) - lift
        rise = f"C{x} {over} {x + BEND} {over} {x + 2 * BEND} {over}"
        return f"M{x} {y}{rise}H{u - 2 * BEND}C{u - BEND} {over} {u} {over} {u} {v}"
    straight = max(x, u - ACROSS + WIDTH)  # along its own lane to the last gap
    bend = max(BEND, (u - straight) // 2)
    return f"M{x} {y}{f'H{straight}' if straight > x else ''}C{straight + bend} {y} {u - bend} {v} {u} {v}"
