"""What is done with a matrix product's result while it is in registers: biases, activations, updates of parameters.

Such a result is seldom wanted itself. Written to memory and read again it costs two passes over it, and what it is
joined with would be waited for. Here a block of the result is finished as soon as its sums are complete, and what it is
joined with has been fetched while they were made.
"""

from __future__ import annotations

from typing import NamedTuple

from undertow.compile.ir import Emitter, Value
from undertow.compile.kernel import MEMORY, Line, apply, load, size_of, store
from undertow.compile.product_args import LINE
from undertow.compile.tally import Tallies


class Finish(NamedTuple):
    """All that the text of such a function depends on. Its values have the shape of the product.

    Attributes:
        operands: of what it reads, the kind and how: ``product``, ``full`` (one element a place), ``row`` (one a
            column, the same in all rows), ``scalar``.
        lines: what it computes, in order; also statistics of it.
        stores: lines whose values go to memory.
    """

    operands: tuple[tuple[str, str], ...]
    lines: tuple[Line, ...]
    stores: tuple[int, ...]


class Finishing:
    """Writes what finishes blocks of a product.

    Args:
        finish: what is to be done.
        kind: the product's.
    """

    def __init__(self, finish: Finish, kind: str) -> None:
        self.finish, self.kind = finish, kind
        self.told = [i for i, line in enumerate(finish.lines) if line.reduces]
        self.n_places = sum(how != "product" for _, how in finish.operands) + len(finish.stores)

    def places(self, e: Emitter, table: Value) -> tuple[dict[int, Value], dict[int, Value]]:
        """Read where the operands are, and where values are stored."""
        read = [i for i, (_, how) in enumerate(self.finish.operands) if how != "product"]
        found = [e.load(e.address(table, i, "i64"), "ptr") for i in range(len(read) + len(self.finish.stores))]
        return dict(zip(read, found, strict=False)), dict(zip(self.finish.stores, found[len(read) :], strict=True))

    def fetch(self, e: Emitter, table: Value, index: Value, columns: int) -> None:
        """Write what has a part of a row of the operands fetched.

        Args:
            e: where it is written.
            table: of addresses.
            index: the number of its first element.
            columns: of it.
        """
        sources, _ = self.places(e, table)
        for o, source in sources.items():
            kind, how = self.finish.operands[o]
            memory = MEMORY.get(kind, kind)
            if how == "full":
                start = e.address(source, index, memory)
                for at in range(0, columns * size_of(kind), LINE):
                    e.prefetch(e.address(start, at, "i8"))

    def statistics(self, e: Emitter, table: Value, thread: Value) -> dict[int, Value]:
        """Read where this thread's statistics go."""
        found = {}
        for number, i in enumerate(self.told):
            place = e.address(table, self.n_places + 2 * number, "i64")
            found[i] = e.address(e.load(place, "ptr"), e.load(e.address(place, 1, "i64"), "i64") * thread, "f64")
        return found

    def begin(self, e: Emitter, table: Value, thread: Value) -> None:
        """Write what is done before the first block."""
        for i, place in self.statistics(e, table, thread).items():
            for n in range(len(dict(self.finish.lines[i].params)["kinds"])):
                e.store(e.const(0.0, "f64"), e.address(place, n, "f64"))

    def tell(self, e: Emitter, tallies: Tallies) -> None:
        """Add a block's statistics to those of the others."""
        for i, place in self.statistics(e, e.args["table"], e.args["thread"]).items():
            tally = tallies.of[i]
            tally.fold()
            for n, (name, value) in enumerate(zip(tally.kinds, tally.results(), strict=True)):
                old = e.load(e.address(place, n, "f64"), "f64")
                both = e.select((value > old) | e.is_nan(value), value, old) if name == "max" else old + value
                e.store(both, e.address(place, n, "f64"))

    def write(self, e: Emitter, vectors: int, lanes: int) -> None:
        """Write the function: of a block's rows, one after the other, all vectors."""
        sources, targets = self.places(e, e.args["table"])
        tallies = Tallies(e)
        for number in self.told:
            told = self.finish.lines[number]
            tallies.begin(number, told.kind, lanes, dict(told.params))
        mask = e.first_lanes(e.args["width"], lanes)
        operands = self.finish.operands
        scalars = {o: load(e, x, operands[o][0]) for o, x in sources.items() if operands[o][1] == "scalar"}
        with e.loop(0, e.args["rows"]) as i:
            at = e.args["index"] + i * e.args["row"]
            tile = e.address(e.args["tile"], i * (vectors * lanes), self.kind)
            for v in range(vectors):
                part = mask if v == vectors - 1 else None
                known: dict[tuple[str, int], Value] = {}
                for o, (kind, how) in enumerate(operands):
                    if how == "scalar":
                        known["o", o] = e.splat(scalars[o], lanes)
                        continue
                    source = tile if how == "product" else sources[o]
                    first = {"product": e.const(0, "i64"), "row": e.args["column"], "full": at}[how]
                    place = e.address(source, first + v * lanes, MEMORY.get(kind, kind))
                    known["o", o] = load(e, place, kind, lanes, None if how == "product" else part)
                for number, line in enumerate(self.finish.lines):
                    if line.reduces:
                        tallies.of[number].add(known[line.reads[0]], part)
                        continue
                    given = [
                        known[word, which] if word in "ov" else e.const(which, line.kinds[k], lanes)
                        for k, (word, which) in enumerate(line.reads)
                    ]
                    known["v", number] = apply(e, line, given, lanes)
                for number, target in targets.items():
                    value = known["v", number]
                    place = e.address(target, at + v * lanes, MEMORY.get(value.kind, value.kind))
                    store(e, value, place, part)
        self.tell(e, tallies)
        e.finish()
