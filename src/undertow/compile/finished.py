"""Which products finish their results themselves, and how their calls are planned."""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from undertow.compile.access import is_reduction, matrix, row_major, squeeze
from undertow.compile.accumulate import is_product
from undertow.compile.clusters import Clusters, Read
from undertow.compile.finish import Finish
from undertow.compile.fuse import Cluster, Item, is_number
from undertow.compile.operations import Operations
from undertow.compile.panels import NARROW
from undertow.compile.plan import TOLD, Argument, Place, called
from undertow.compile.processor import lanes_of
from undertow.compile.product import DOT_ROWS
from undertow.compile.product_args import SIZES
from undertow.compile.products import Ending
from undertow.compile.scalars import SCALARS, kind_of
from undertow.compile.statistics import is_statistics
from undertow.compile.ways import choose_kernel
from undertow.graph import INPUT, Node

FAR = 1 << 21  # bytes that are read and written with a result: fewer are near anyway, in the second-level cache
# Seconds that a step may still take once it has changed a parameter, as it cannot be left any more (Ctrl-C), and the
# operations that a lane of a processor that is not fast does in a second.
REST, RATE = 0.15, 1.2e10


@dataclass(eq=False)
class Finished(Item):
    """A product and the cluster that works on its result."""

    product: Any = None
    cluster: Any = None


class Finishes(Clusters, Operations):
    """Plans such products."""

    def finish_products(self) -> None:
        """Join products with the clusters that they are made for."""
        fuser, self.users = self.fuser, self.fuser.find_users()
        products = [x.nodes[0] for x in fuser.items if len(x.nodes) == 1 and is_product(x.nodes[0])]
        places = sorted(fuser.position[x] for x in products)
        seconds = {fuser.position[x]: self.seconds_of(x) for x in products}
        rest = [*accumulate(seconds[x] for x in reversed(places))][::-1] + [0.0]  # of the products from each on
        found = [(x, cluster) for x in products if (cluster := self.finish_of(x)) is not None]
        # Parameters may be changed behind what reads them, and so when that has its place.
        for product, cluster in sorted(found, key=lambda x: self.changes(x[1])):
            if not cluster.nodes:
                continue  # another product does that
            place = self.earliest(cluster, product)
            if self.changes(cluster) and rest[bisect_right(places, place)] > REST:
                continue
            self.ours.add(product)
            if all(fuser.home[x] is cluster for x in self.users[product]):
                self.join_finish(cluster, product, place)

    def finish_of(self, product: Node) -> Cluster | None:
        """Return the cluster that alone works on a product's result, if the product can do that itself."""
        # Whether anybody looks on must not matter: other kernels have other results, in their last bits.
        homes = {self.fuser.home[x] for x in self.users.get(product, []) if x not in self.fuser.added}
        cluster = homes.pop() if len(homes) == 1 else None
        if isinstance(cluster, Cluster) and self.can_finish(product) and self.is_finish(cluster, product):
            return cluster
        return None

    def seconds_of(self, product: Node) -> float:
        """Guess how long a product takes."""
        k, lanes = self.reader.read(product.inputs[0]).shape[-1], lanes_of(str(kind_of(product.spec.dtype)))
        return 2.0 * math.prod(product.spec.shape) * k / (lanes * RATE)  # type: ignore[arg-type]

    def changes(self, cluster: Cluster) -> bool:
        """Tell whether a cluster may change in its place what was given: parameters, or what an optimizer remembers."""
        given = {x for node in cluster.nodes for x in self.reader.bases(node) if x.op is INPUT}
        return any(x in self.given for x in cluster.nodes) and any(_same_shape(x, cluster) for x in given)

    def can_finish(self, node: Node) -> bool:
        """Tell whether a product is done by kernels of our own, which can finish its result."""
        if node in self.heirs or node in self.given:
            return False
        a, b = (self.reader.read(x) for x in node.inputs)
        if len(a.shape) != 2 or len(b.shape) != 2:
            return False
        kind, (m, k), n = str(kind_of(node.spec.dtype)), a.shape, b.shape[1]
        if m <= DOT_ROWS or n <= NARROW:
            return False
        strides = (*matrix(a), *matrix(b))
        shared = self.is_shared(2.0 * m * n * k)
        rows = -(-m // self.threads) if shared and self.split_of(kind, m, n, k, strides) == 0 else m
        # With vectors of 64 bytes our own are nearly as fast as OpenBLAS where that is the fastest.
        return lanes_of(kind) * SIZES[kind] >= 64 or choose_kernel(kind, m, n, k, strides, rows) != "OpenBLAS"

    def is_finish(self, cluster: Cluster, product: Node) -> bool:
        """Tell whether all that a cluster does is done element by element along a product's result, and is much."""
        if cluster.space != product.spec.shape or cluster.order is not None:
            return False
        nodes = [x for x in cluster.nodes if not is_statistics(x)]
        if any(_name(x) not in SCALARS for x in nodes):  # another library's loop does it
            return False
        if any(cluster.level[x] != "full" or is_reduction(x) for x in nodes):
            return False
        reads = {access for node in nodes for access in self.reader.operands(node)}
        how = {x: self.how_read(x.offset, squeeze(x, x.shape), cluster) for x in reads}
        if None in how.values() or any(how[x] != "full" for x in reads if x.base is product):
            return False
        if any(is_reduction(x.base) for x in reads):  # the parts of a total are joined by who reads it
            return False
        own = [x for x in nodes if x not in self.fuser.added]
        far = {access.base for x in own for access in self.reader.operands(x) if how[access] == "full"} - {*own}
        far |= {
            x for x in own if x in self.given or any(self.fuser.home[y] is not cluster for y in self.users.get(x, ()))
        }
        return sum(self.bytes_of(x) for x in far) > FAR

    def how_read(self, offset: int, strides: tuple[int, ...], cluster: Cluster) -> str | None:
        """Name how elements are read along a product's result; None for a way that is not known there."""
        known = {row_major(cluster.space): "full", (0, 1): "row", (0, 0): "scalar", (): "scalar"}
        how = known.get(strides)
        return None if how == "full" and offset else how

    def join_finish(self, cluster: Cluster, product: Node, place: int) -> None:
        """Make one item of a product and a cluster. Nothing lies between them, as nothing else reads the product."""
        fuser, item = self.fuser, self.fuser.home[product]
        work = Cluster(cluster.number, nodes=cluster.nodes, space=cluster.space, level=cluster.level)
        made = Finished(len(fuser.items), [product, *work.nodes], early=place, product=product, cluster=work)
        fuser.add(made)
        item.nodes, cluster.nodes = [], []
        for node in made.nodes:
            fuser.home[node] = made
        for old in (item, cluster):
            fuser.replace(made, old)

    def earliest(self, cluster: Cluster, product: Node) -> int:
        """Return the place in the graph behind which a product is done: all that it reads must live until then.

        Parameters are updated by what comes last in a graph. That is done as soon as nothing else reads them.
        """
        fuser = self.fuser
        own, places = {cluster, fuser.home[product]}, [fuser.position[product]]
        for base in {x for node in cluster.nodes for x in self.reader.bases(node)}:
            if base.op is INPUT and _same_shape(base, cluster):  # it may be written where that lies
                places += [self.place_of(fuser.home[x]) for x in self.users[base] if fuser.home[x] not in own]
        places += [self.known(x) for x in cluster.before if x not in own]
        return max(places)

    def known(self, item: Item) -> int:
        """Return the place in the graph behind which an item can be done. What makes single numbers takes no time."""
        if not is_number(item):
            return self.place_of(item)
        return max((self.known(x) for x in item.before), default=0)

    def place_of(self, item: Item) -> int:
        """Return the place of an item in the graph."""
        return max(self.fuser.position[x] for x in item.nodes) if item.early is None else item.early

    # ---- planning -----------------------------------------------------------------------------

    def write_finished(self, item: Finished) -> None:
        """Add the call of a product that finishes its result."""
        cluster, product = item.cluster, item.product
        numbers = {node: i for i, node in enumerate(cluster.nodes)}
        operands: dict[Read, int] = {}
        reads = [self.reads_of(cluster, node, numbers, operands) for node in cluster.nodes]
        lines = tuple(self.line(cluster, node, reads[i], []) for i, node in enumerate(cluster.nodes))
        stored = [node for node in cluster.nodes if self.is_stored(cluster, node)]
        described, args, touches = [], list[Argument](), []
        for read in operands:
            how = self.how_read(read.offset, read.strides, cluster) if read.base is not product else "product"
            described.append((str(kind_of(read.base.spec.dtype)), str(how)))
            if how != "product":
                args.append(Place(self.buffer(read.base), read.offset * read.base.spec.dtype.itemsize))
                touches.append((read.base, how == "full", False))
        args += [Place(self.buffer(node)) for node in stored]
        touches += [(node, True, True) for node in stored]
        for node in cluster.nodes:
            if is_statistics(node):
                args += [Place(TOLD, 8 * self.columns[node]), self.plan.told_stride]
        finish = Finish(tuple(described), lines, tuple(numbers[node] for node in stored))
        names = ", ".join(called(node) for node in (product, *stored))
        self.write_matmul(product, None, Ending(finish, args, touches, names))

    def may_replace(self, node: Node, old: Node) -> bool:
        """Tell whether a value may be written where an input lies, while that input is still read."""
        item = self.items[self.when[node]]
        if not isinstance(item, Finished):
            return super().may_replace(node, old)
        if any(i > self.when[node] for i in self.readers.get(old, ())) or old in self.reader.bases(item.product):
            return False
        reads = [x for y in item.cluster.nodes for x in self.reader.operands(y) if x.base is old]
        return all(not x.offset and squeeze(x, x.shape) == row_major(item.cluster.space) for x in reads)


def _name(node: Node) -> str:
    op: Any = node.op
    return str(op.name)


def _same_shape(node: Node, cluster: Cluster) -> bool:
    return node.spec.shape == cluster.space
