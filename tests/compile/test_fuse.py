"""Which operations share a pass, and what comes before what."""

import numpy as np
import pytest

from undertow.compile.access import Reader
from undertow.compile.expand import expand
from undertow.compile.fuse import Cluster, Fuser
from undertow.trace import trace_function


def some_program(seed, steps):
    """A program of products, sums over rows and columns, and points that read of any earlier value."""
    rng = np.random.default_rng(seed)
    choices = rng.integers(0, 6, steps), rng.integers(0, 2**31, (steps, 2))

    def f(x):
        values = [x, x.T + 1]
        for kind, (i, j) in zip(*choices, strict=True):
            a, b = values[-1 - i % min(len(values), 6)], values[j % len(values)]
            values.append(
                [
                    lambda a=a, b=b: a * b,
                    lambda a=a, b=b: a + np.tanh(b),
                    lambda a=a, b=b: a @ b,
                    lambda a=a, b=b: a - np.sum(b, axis=1, keepdims=True),
                    lambda a=a, b=b: a * np.max(b, axis=0),
                    lambda a=a, b=b: np.sum(a) + b,
                ][kind]()
            )
        return values[-1], values[-2]

    return expand(trace_function(f, (np.ones((5, 5)),)).graph, {})


@pytest.mark.parametrize("readers", [False, True])
@pytest.mark.parametrize("seed", range(40))
def test_what_comes_before_what_is_known_however_clusters_were_joined(seed, readers):
    """`ancestors` against all paths, walked one by one."""
    fuser = Fuser(Reader(some_program(seed, 60)))
    if readers:
        fuser.join_readers()
    reads = {item.number: {x.number for x in item.before} for item in fuser.items if item.nodes}
    assert any(not item.nodes for item in fuser.items)  # some were joined
    for item in fuser.items:
        if not item.nodes:
            continue
        assert {x.number for x in item.after} == {k for k, found in reads.items() if item.number in found}
        reached, found = list(reads[item.number]), set()
        while reached:
            number = reached.pop()
            if number not in found:
                found.add(number)
                reached += reads[number]
        assert item.number not in found
        assert {x for x in found if isinstance(fuser.items[x], Cluster)} == {
            x.number for x in fuser.items if x.nodes and x.bit & item.ancestors
        }
        assert all(fuser.home[base] in (item, *item.before) for node in item.nodes
                   for base in fuser.reader.bases(node) if base in fuser.home)  # fmt: skip


def test_what_reads_one_product_is_one_pass():
    def f(x, w, g):
        product = x @ w
        return np.sum(product, axis=0), np.sum(product * g, axis=0), product - np.mean(product, axis=1, keepdims=True)

    fuser = Fuser(Reader(expand(trace_function(f, (np.ones((6, 5)), np.ones((5, 4)), np.ones((6, 4)))).graph, {})))
    (product,) = [item.nodes[0] for item in fuser.items if not isinstance(item, Cluster)]

    def reading():
        return {fuser.home[node] for node in fuser.reader.order if product in fuser.reader.bases(node)}

    assert len(reading()) == 3
    fuser.join_readers()
    (cluster,) = reading()
    assert isinstance(cluster, Cluster) and len([level for level in cluster.level.values() if level == "total"]) == 2
    assert len(fuser.schedule()) == len([item for item in fuser.items if item.nodes])
