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
from undertow.compile.tally import SLOT, Tallies, state_slots


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

    def begin(self, e: Emitter) -> Value:
        """Write what is done before the first block: a place for what a thread adds up."""
        lines = [self.finish.lines[i] for i in self.told]
        slots = state_slots((line.kind, len(dict(line.params)["kinds"])) for line in lines) if lines else 0
        state = Value(e, e.reserve(f"[{slots * SLOT} x i8]"), "ptr", 0)
        for i in range(slots):
            e.store(e.const(0.0, "f64", SLOT // 8), e.address(state, i * SLOT, "i8"))
        return state

    def tallies(self, e: Emitter, state: Value, lanes: int) -> Tallies:
        """Go on with what was added up so far."""
        found = Tallies(e, state)
        found.begin({i: self.finish.lines[i] for i in self.told}, lanes)
        return found

    def end(self, e: Emitter, table: Value, thread: Value, state: Value, lanes: int) -> None:
        """Write what is done behind the last block: this thread's statistics go to their place."""
        results = self.tallies(e, state, lanes).results()
        for number, i in enumerate(self.told):
            place = e.address(table, self.n_places + 2 * number, "i64")
            row = e.address(e.load(place, "ptr"), e.load(e.address(place, 1, "i64"), "i64") * thread, "f64")
            for n, value in enumerate(results[i]):
                e.store(value, e.address(row, n, "f64"))

    def write(self, e: Emitter, vectors: int, lanes: int) -> None:
        """Write the function: of a block's rows, one after the other, all vectors."""
        sources, targets = self.places(e, e.args["table"])
        tallies = self.tallies(e, e.args["state"], lanes)
        mask = e.first_lanes(e.args["width"], lanes)
        operands = self.finish.operands
        scalars = {o: load(e, x, operands[o][0]) for o, x in sources.items() if operands[o][1] == "scalar"}
        with e.loop(0, e.args["rows"]) as i:
            at = e.args["index"] + i * e.args["row"]
            tile = e.address(e.args["tile"], i * (vectors * lanes), self.kind)
            added: dict[int, list[Value]] = {}  # of statistics, what the row gives
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
                        added.setdefault(number, []).append(known[line.reads[0]])
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
            for number, values in added.items():
                tallies.of[number].add(values, [*[None] * (vectors - 1), mask])
        tallies.note(e.args["rows"] * vectors)
        tallies.keep()
        e.finish()
