"""Group operations that pass over the same elements, so that they share one pass over memory.

A cluster has a space: the long axes of what it computes, those before ``split`` called rows, the others columns.
In it a value is *full* (one element a place), *row* (one a row: a sum over the columns and what follows from it), or
*total*: a sum over the rows, which is known only when the cluster is done.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass, field

from undertow.compile.access import Access, Reader, is_reduction, long_axes, row_major, squeeze
from undertow.compile.scalars import is_point
from undertow.graph import CONSTANT, INPUT, Node

LARGEST = 48  # nodes of a cluster: more need more registers than there are


@dataclass(eq=False)
class Item:
    """What is done in one go: a cluster, or one operation that is no loop over elements.

    Attributes:
        number: its place in the list of all items.
        nodes: what it computes, oldest first.
        before: the items it reads from; ``after`` those that read from it. Their order is the same in each process.
        bit: a cluster in sets of clusters, one bit for each: its own, and those of the clusters merged into it.
        ancestors: the set of all clusters that must be done before it; of other items nobody asks.
        early: the place in the graph behind which it is done, if that is before the place of its last node.
    """

    number: int
    nodes: list[Node] = field(default_factory=list)
    before: dict[Item, None] = field(default_factory=dict)
    after: dict[Item, None] = field(default_factory=dict)
    bit: int = 0
    ancestors: int = 0
    early: int | None = None


@dataclass(eq=False)
class Cluster(Item):
    """A loop over a space.

    Attributes:
        space: the long axes.
        split: the number of row axes; None while nothing asks for one.
        level: of each node: ``full``, ``row``, ``total``.
        order: for a reduction along axes in the middle, the order in which its operand's axes are walked.
    """

    space: tuple[int, ...] = ()
    split: int | None = None
    level: dict[Node, str] = field(default_factory=dict)
    order: tuple[int, ...] | None = None

    def rows(self) -> tuple[int, ...]:
        """The row axes."""
        return self.space[: self.split or 0]


def is_number(item: Item) -> bool:
    """Tell whether an item computes single numbers, such as a rate."""
    return isinstance(item, Cluster) and not item.space


def reduced_axes(node: Node) -> tuple[int, ...]:
    """Return which of the operand's long axes a reduction runs along."""
    shape = node.inputs[0].spec.shape
    numbers = {axis: i for i, axis in enumerate(j for j, size in enumerate(shape) if size != 1)}
    return tuple(numbers[axis] for axis in node.params["axis"] if axis in numbers)


class Fuser:
    """Groups the nodes of a graph."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.items: list[Item] = []
        self.clusters = 0  # how many there were
        self.home: dict[Node, Item] = {}
        self.position = {node: i for i, node in enumerate(reader.order)}
        self.added: set[Node] = set()  # what only statistics ask for
        for node in reader.order:
            if node.op is INPUT or node.op is CONSTANT:
                continue
            if node in reader.folded:
                self.start(Item(len(self.items)), node)
            elif is_point(node):
                self.place_point(node)
            elif is_reduction(node):
                self.place_reduction(node)
            else:
                self.start(Item(len(self.items)), node)

    def operands(self, node: Node) -> list[Access]:
        """Return how a node reads its inputs."""
        return self.reader.operands(node)

    def sources(self, node: Node, item: Item | None = None) -> dict[Item, None]:
        """Return the items that a node reads from, but for one."""
        homes = (self.home.get(base) for base in self.reader.bases(node))
        return {home: None for home in homes if home is not None and home is not item}

    # ---- placing ------------------------------------------------------------------------------

    def start(self, item: Item, node: Node) -> None:
        """Begin a new item with a node."""
        self.add(item)
        self.join(item, node)

    def add(self, item: Item) -> None:
        """Take up a new item; a cluster gets its bit."""
        self.items.append(item)
        if isinstance(item, Cluster):
            item.bit = 1 << self.clusters
            self.clusters += 1

    def join(self, item: Item, node: Node) -> None:
        """Add a node to an item."""
        item.nodes.append(node)
        self.home[node] = item
        self.depend(item, self.sources(node, item))

    def depend(self, item: Item, before: Iterable[Item]) -> None:
        """Note that an item reads from others."""
        more = 0
        for other in before:
            item.before[other] = other.after[item] = None
            more |= other.ancestors | other.bit
        self.spread(item, more)

    def spread(self, item: Item, more: int) -> None:
        """Note that others come before an item, and so before all that comes after it."""
        reached = [item]
        while reached:
            item = reached.pop()
            if more | item.ancestors != item.ancestors:
                item.ancestors |= more
                reached += item.after

    def candidates(self, node: Node) -> list[Cluster]:
        """Return the clusters that a node reads from, the latest first."""
        found = [item for item in self.sources(node) if isinstance(item, Cluster)]
        return sorted(found, key=lambda cluster: cluster.number, reverse=True)

    def fits_order(self, cluster: Cluster, node: Node) -> bool:
        """Tell whether nothing that the node reads needs the cluster to be done first."""
        others = self.sources(node, cluster)
        return len(cluster.nodes) < LARGEST and not any(x.ancestors & cluster.bit for x in others)

    def place_point(self, node: Node) -> None:
        """Put a point into a cluster that it reads from, or into a new one."""
        space = long_axes(node.spec.shape)  # type: ignore[arg-type]
        for cluster in self.candidates(node):
            level = self.level_in(cluster, space)
            if level and self.fits_order(cluster, node) and self.reads_in_place(cluster, node, level):
                for other in self.candidates(node):
                    same = other is not cluster and self.level_in(other, space) == level
                    if same and self.reads_in_place(other, node, level) and self.fits_order(other, node):
                        self.merge(cluster, other)
                self.join(cluster, node)
                cluster.level[node] = level
                return
        cluster = Cluster(len(self.items), space=space)
        self.start(cluster, node)
        cluster.level[node] = "full"

    def level_in(self, cluster: Cluster, space: tuple[int, ...]) -> str | None:
        """Return the level that values of this space have in a cluster; None if they have no place there."""
        if cluster.order is not None:
            return "row" if space == cluster.rows() and cluster.split else None
        if space == cluster.space:
            return "full"
        if cluster.split is not None and cluster.split > 0 and space == cluster.rows():
            return "row"
        return None

    def reads_in_place(self, cluster: Cluster, node: Node, level: str) -> bool:
        """Tell whether all that a node reads of its own cluster lies at its own place."""
        for access in self.operands(node):
            base = access.base
            if self.home.get(base) is not cluster:
                continue
            own = cluster.level[base]
            if own == "total" or (own == "full" and level == "row"):
                return False
            strides = squeeze(access, access.shape)
            space = cluster.space if level == "full" else cluster.rows()
            if strides != self.strides_at(cluster, own, space) or access.offset:
                return False
        return True

    def strides_at(self, cluster: Cluster, own: str, space: tuple[int, ...]) -> tuple[int, ...]:
        """Return the strides by which a value of the cluster is read at its own place."""
        if own == "full" or len(space) == len(cluster.rows()):
            return row_major(space)
        return (*row_major(cluster.rows()), *[0] * (len(space) - len(cluster.rows())))

    def merge(self, a: Cluster, b: Cluster) -> None:
        """Make one cluster of two, where nothing lies between them."""
        if a.space != b.space or a.order or b.order or (None not in (a.split, b.split) and a.split != b.split):
            return
        if len(a.nodes) + len(b.nodes) > LARGEST:
            return
        for first, second in ((a, b), (b, a)):
            if any(x.ancestors & first.bit for x in second.before if x is not first):
                return
        if any(level == "total" for level in (*a.level.values(), *b.level.values())):
            for first, second in ((a, b), (b, a)):  # a total is known only when its cluster is done
                for node in second.nodes:
                    for access in self.operands(node):
                        if self.home.get(access.base) is first and first.level[access.base] == "total":
                            return
        for first, second in ((a, b), (b, a)):
            for node in second.nodes:
                for access in self.operands(node):
                    if self.home.get(access.base) is first and (
                        access.offset
                        or squeeze(access, access.shape)
                        != self.strides_at(
                            first,
                            first.level[access.base],
                            second.space if second.level[node] != "row" else second.rows(),
                        )
                    ):
                        return
        a.split = a.split if a.split is not None else b.split
        a.nodes = sorted([*a.nodes, *b.nodes], key=self.position.__getitem__)
        a.level.update(b.level)
        for node in b.nodes:
            self.home[node] = a
        b.nodes = []
        self.replace(a, b)
        for item in a.after:
            self.spread(item, a.ancestors)

    def replace(self, item: Item, other: Item) -> None:
        """Let an item stand where another stood. Who comes after the other knows its bit, which is the item's now."""
        for x in other.before:
            del x.after[other]
            x.after[item] = item.before[x] = None
        for x in other.after:
            del x.before[other]
            x.before[item] = item.after[x] = None
        for found in (item.before, item.after):
            found.pop(item, None)
        item.bit |= other.bit
        item.ancestors = (item.ancestors | other.ancestors) & ~item.bit

    def place_reduction(self, node: Node) -> None:
        """Put a reduction into the cluster that makes its operand, or into a new one."""
        axes = reduced_axes(node)
        access = self.operands(node)[0]
        space = long_axes(access.shape)
        n = len(space)
        leading, trailing = axes == tuple(range(len(axes))), axes == tuple(range(n - len(axes), n))
        for cluster in self.candidates(node):
            if not self.fits_order(cluster, node):
                continue
            level = self.level_in(cluster, space)
            if level is None or not self.reads_in_place(cluster, node, level):
                continue
            if len(axes) == n and n:
                self.join(cluster, node)
                cluster.level[node] = "total"
                return
            if level != "full" or not axes:
                continue
            split = n - len(axes) if trailing else len(axes) if leading else None
            if split is None or cluster.split not in (None, split):
                continue
            cluster.split = split
            self.join(cluster, node)
            cluster.level[node] = "row" if trailing else "total"
            return
        self.start_reduction(node, access, axes, space)

    def start_reduction(self, node: Node, access: Access, axes: tuple[int, ...], space: tuple[int, ...]) -> None:
        """Begin a cluster with a reduction; axes in the middle are walked first or last."""
        n = len(space)
        kept = tuple(i for i in range(n) if i not in axes)
        strides = squeeze(access, access.shape)
        inner = bool(axes) and (n - 1 in axes or not kept or abs(strides[axes[-1]]) == 1)
        order = kept + axes if inner or not axes else axes + kept
        cluster = Cluster(len(self.items), space=tuple(space[i] for i in order))
        if order != tuple(range(n)):
            cluster.order = order
        self.start(cluster, node)
        if not axes:
            cluster.level[node] = "full"
        elif not kept:
            cluster.level[node] = "total"
        else:
            cluster.split = len(kept) if inner else len(axes)
            cluster.level[node] = "row" if inner else "total"

    def find_users(self) -> dict[Node, list[Node]]:
        """List what reads each value."""
        users: dict[Node, list[Node]] = {}
        for item in self.items:
            for node in item.nodes:
                for base in self.reader.bases(node):
                    users.setdefault(base, []).append(node)
        return users

    # ---- afterwards ---------------------------------------------------------------------------

    def sink(self, outputs: frozenset[Node]) -> None:
        """Compute a value where it is used, if all that it is computed from is in memory anyway."""
        users = self.find_users()

        def in_memory(base: Node, home: Item) -> bool:
            if base.op is INPUT or base.op is CONSTANT:
                return True
            owner = self.home[base]
            return (
                base in outputs
                or not isinstance(owner, Cluster)
                or (
                    any(self.home[u] is not owner for u in users[base] if u not in moving)
                    and owner.level[base] != "total"
                )
            )

        for node in reversed(self.reader.order):
            home = self.home.get(node)
            if node in outputs or not isinstance(home, Cluster) or home.level[node] != "full" or not is_point(node):
                continue
            using = users.get(node, [])
            targets = {self.home[u] for u in using}
            if len(targets) != 1 or home in targets:
                continue
            target = targets.pop()
            if not isinstance(target, Cluster) or target.order or target.space != home.space:
                continue
            moving = {node}
            if len(target.nodes) >= LARGEST or any(target.level[u] == "row" for u in using if is_point(u)):
                continue
            if not all(in_memory(x, home) for x in self.reader.bases(node)):
                continue
            if any(not self._at_place(u, node, target) for u in using):
                continue
            home.nodes.remove(node)
            target.nodes.insert(0, node)
            target.level[node] = home.level.pop(node)
            self.home[node] = target
            self.depend(target, self.sources(node, target))

    def join_readers(self) -> None:
        """Merge clusters that read one product, or the like, for it to be read once: what LayerNorm's gradients sum."""
        users: dict[Node, list[Node]] = {}
        for node in self.reader.order:
            for base in dict.fromkeys(self.reader.bases(node)):
                if base in self.home and not isinstance(self.home[base], Cluster):
                    users.setdefault(base, []).append(node)
        for using in users.values():
            homes = dict.fromkeys(self.home[node] for node in using)
            clusters = [home for home in homes if isinstance(home, Cluster)]
            for other in clusters[1:]:
                self.merge(clusters[0], other)

    def _at_place(self, user: Node, node: Node, target: Cluster) -> bool:
        return all(
            squeeze(a, a.shape) == row_major(target.space) and not a.offset
            for a in self.operands(user)
            if a.base is node
        )

    def hurry(self, item: Item, place: int, when: dict[int, int]) -> None:
        """Do an item at a place in the graph, and the numbers that it reads no later."""
        when[item.number] = place
        for source in item.before:
            if is_number(source) and when[source.number] > place:
                self.hurry(source, place, when)

    def schedule(self) -> list[Item]:
        """Put the items in an order in which they can be done, close to that of the graph."""
        items = [item for item in self.items if item.nodes]
        position = self.position
        needs = {item: {x: None for node in item.nodes for x in self.sources(node, item)} for item in items}
        wanted = {x for sources in needs.values() for x in sources}
        # A scalar that only the outside wants, such as the loss, comes last: threads need not wait for it.
        last = {x.number: len(position) for x in items if isinstance(x, Cluster) and not x.space and x not in wanted}
        when = {x.number: max(position[node] for node in x.nodes) + last.get(x.number, 0) for x in items}
        for item in items:
            if item.early is not None:
                self.hurry(item, item.early, when)
        after: dict[int, list[Item]] = {}
        waiting: dict[int, int] = {}
        ready: list[tuple[int, int]] = []
        for item in items:
            waiting[item.number] = len(needs[item])
            for source in needs[item]:
                after.setdefault(source.number, []).append(item)
            if not needs[item]:
                heapq.heappush(ready, (when[item.number], item.number))
        result: list[Item] = []
        while ready:
            item = self.items[heapq.heappop(ready)[1]]
            result.append(item)
            for later in after.get(item.number, []):
                waiting[later.number] -= 1
                if not waiting[later.number]:
                    heapq.heappush(ready, (when[later.number], later.number))
        assert len(result) == len(items), "clusters wait for each other"
        return result
