"""Where statistics are computed: by a kernel that passes over the array anyway.

They come last, when all else has its place: what a step computes is the same to the last bit whoever looks on.
"""

from __future__ import annotations

from undertow.compile.access import is_reduction, long_axes, row_major, squeeze
from undertow.compile.fuse import LARGEST, Cluster, Fuser, Item, reduced_axes
from undertow.compile.scalars import is_point
from undertow.compile.statistics import is_statistics
from undertow.graph import CONSTANT, INPUT, Node


class Watched:
    """Places statistics, and what only they ask for.

    Args:
        fuser: has placed all else.
        lost: products that are added to others where those lie, and what they are added to: never in memory as such.

    Attributes:
        moved: of each node that was placed, the one that stands for it.
    """

    def __init__(self, fuser: Fuser, lost: set[Node]) -> None:
        self.fuser, self.lost = fuser, lost
        self.moved: dict[Node, Node] = {}
        self.passers: dict[Node, list[Cluster]] = {}  # what passes over an array in the order of its elements
        for item in fuser.items:
            if isinstance(item, Cluster):
                for node in item.nodes:
                    self.note_passing(item, node)

    def place(self, nodes: list[Node]) -> None:
        """Place the nodes, oldest first."""
        reader = self.fuser.reader
        first = len(reader.order)
        for node in nodes:
            if not is_statistics(self.again(node)):
                reader.read(self.moved[node])
        for node in reader.order[first:]:
            if node.op is not CONSTANT:
                self.place_one(node)
        for node in nodes:
            if is_statistics(node):
                self.place_statistics(self.moved[node])

    def again(self, node: Node) -> Node:
        """Return what stands for a node: itself, or where it would read what is lost, the same computed once more."""
        if node not in self.moved:
            found, reader = node, self.fuser.reader
            if node in reader.found:
                anew = reader.found[node].base in self.lost
            else:
                anew = any(self.again(x) is not x for x in node.inputs)
            if anew:
                found = Node(node.op, tuple(self.again(x) for x in node.inputs), node.params, node.spec)
                found.line, found.name = node.line, node.name
                if not is_statistics(found):
                    reader.read(found)
            self.moved[node] = found
        return self.moved[node]

    def place_one(self, node: Node) -> None:
        """Place a node that is no statistics."""
        fuser = self.fuser
        self.note_added(node)
        if is_point(node):
            cluster = self.passing(node)
            if cluster is None:
                cluster = Cluster(len(fuser.items), space=long_axes(node.spec.shape))  # type: ignore[arg-type]
                fuser.add(cluster)
            self.join(cluster, node, "full")
        elif is_reduction(node):
            access = fuser.operands(node)[0]
            axes = reduced_axes(node)
            fuser.start_reduction(node, access, axes, long_axes(access.shape))
        else:
            fuser.start(Item(len(fuser.items)), node)

    def place_statistics(self, node: Node) -> None:
        """Place statistics."""
        fuser = self.fuser
        self.note_added(node)
        cluster = self.passing(node)
        if cluster is None:
            (access,) = fuser.operands(node)
            cluster = Cluster(len(fuser.items), space=long_axes(access.shape))
            fuser.add(cluster)
        self.join(cluster, node, "total")

    def note_added(self, node: Node) -> None:
        """Note that only statistics ask for a node, and its place among the others: behind what it reads."""
        fuser = self.fuser
        fuser.added.add(node)
        fuser.position[node] = max((fuser.position.get(x, 0) for x in fuser.reader.bases(node)), default=0)

    def join(self, cluster: Cluster, node: Node, level: str) -> None:
        """Add a node to a cluster."""
        cluster.level[node] = level
        self.fuser.join(cluster, node)
        self.note_passing(cluster, node)

    def note_passing(self, cluster: Cluster, node: Node) -> None:
        """Note which arrays a node of a cluster passes over."""
        if cluster.order is None:
            at_place = row_major(cluster.space)
            for access in self.fuser.operands(node):
                if not access.offset and squeeze(access, access.shape) == at_place and access.base.op is not CONSTANT:
                    known = self.passers.setdefault(access.base, [])
                    if cluster not in known:
                        known.append(cluster)

    def passing(self, node: Node) -> Cluster | None:
        """Return a cluster that passes over what a node reads, where it can be computed on the way."""
        bases = self.fuser.reader.bases(node)
        homes = [self.fuser.home[x] for x in bases if x in self.fuser.home]
        others = sorted((c for x in bases for c in self.passers.get(x, ())), key=self.last_position, reverse=True)
        for cluster in (*homes, *others):
            if isinstance(cluster, Cluster) and cluster.nodes and self.can_join(cluster, node):
                return cluster
        return None

    def last_position(self, cluster: Cluster) -> int:
        """The place of a cluster among the others."""
        return max((self.fuser.position[x] for x in cluster.nodes), default=0)

    def can_join(self, cluster: Cluster, node: Node) -> bool:
        """Tell whether a node can be computed in a cluster and changes nothing of the loops that this consists of."""
        fuser = self.fuser
        reads = fuser.operands(node)
        if cluster.order is not None or cluster.space != long_axes(reads[0].shape) or len(cluster.nodes) > 2 * LARGEST:
            return False
        at_place, nowhere = row_major(cluster.space), (0,) * len(cluster.space)
        for access in reads:
            strides = squeeze(access, access.shape)
            if fuser.home.get(access.base) is cluster:
                if cluster.level[access.base] != "full" or strides != at_place or access.offset:
                    return False
            elif strides not in (at_place, nowhere):
                return False
        if any(x.ancestors & cluster.bit for x in fuser.sources(node, cluster)):
            return False
        known = {x.spec.dtype for x in cluster.nodes} | {x.spec.dtype for y in cluster.nodes for x in y.inputs}
        mine = {x.spec.dtype for x in node.inputs} | (set() if is_statistics(node) else {node.spec.dtype})
        return mine <= known


def watch(fuser: Fuser, lost: set[Node]) -> list[Node]:
    """Place the statistics of a graph in the clusters of what it computes.

    Args:
        fuser: has placed all else.
        lost: see `Watched`.

    Returns:
        The statistics, in the order of the graph's outputs.
    """
    nodes = fuser.reader.watched
    placing = Watched(fuser, {x for x in lost if x.op is not INPUT})
    placing.place(nodes)
    return [placing.moved[x] for x in fuser.reader.told]
