"""LLVM's language, written from Python: values with operators, loops, memory. It knows no primitive and no graph.

Every value has a kind (``f32``, ``f64``, ``i1``, ``i8``, ``i64``, ``u8``, ``u64``, ``ptr``, …) and a number of lanes:
0 for one number, 8 for a vector of 8. Arithmetic is IEEE's, operation by operation, so that NaN, Inf and the last bit
come out as NumPy's; a multiplication and an addition are one rounding only where ``fma`` is called.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from undertow.compile.conversions import Conversions
from undertow.compile.kinds import BITS as BITS
from undertow.compile.kinds import FLOATS as FLOATS
from undertow.compile.kinds import TYPES, UNSIGNED, literal, suffix_of, type_of

_WITHOUT_SIGN = {"sdiv": "udiv", "ashr": "lshr"}


class Value:
    """One value of a program being written. Operators write instructions; comparisons give ``i1``."""

    __slots__ = ("emitter", "kind", "lanes", "number", "text")

    def __init__(self, emitter: Emitter, text: str, kind: str, lanes: int, number: float | None = None) -> None:
        self.emitter, self.text, self.kind, self.lanes = emitter, text, kind, lanes
        self.number = number  # of a constant

    @property
    def type(self) -> str:
        """Its LLVM type."""
        return type_of(self.kind, self.lanes)

    def _binary(self, other: Value | float, float_op: str, int_op: str, swap: bool = False) -> Value:
        a, b = self.emitter.match(self, other)
        if swap:
            a, b = b, a
        op = float_op if a.kind in FLOATS else _WITHOUT_SIGN.get(int_op, int_op) if a.kind in UNSIGNED else int_op
        return self.emitter.instruction(f"{op} {a.type} {a.text}, {b.text}", a.kind, a.lanes)

    def __add__(self, other: Value | float) -> Value:
        return self._binary(other, "fadd", "add")

    __radd__ = __add__

    def __sub__(self, other: Value | float) -> Value:
        return self._binary(other, "fsub", "sub")

    def __rsub__(self, other: Value | float) -> Value:
        return self._binary(other, "fsub", "sub", swap=True)

    def __mul__(self, other: Value | float) -> Value:
        return self._binary(other, "fmul", "mul")

    __rmul__ = __mul__

    def __truediv__(self, other: Value | float) -> Value:
        return self._binary(other, "fdiv", "sdiv")

    def __rtruediv__(self, other: Value | float) -> Value:
        return self._binary(other, "fdiv", "sdiv", swap=True)

    def __and__(self, other: Value | float) -> Value:
        return self._binary(other, "", "and")

    def __or__(self, other: Value | float) -> Value:
        return self._binary(other, "", "or")

    def __xor__(self, other: Value | float) -> Value:
        return self._binary(other, "", "xor")

    def __lshift__(self, other: Value | float) -> Value:
        return self._binary(other, "", "shl")

    def __rshift__(self, other: Value | float) -> Value:
        return self._binary(other, "", "ashr")

    def __neg__(self) -> Value:
        if self.kind in FLOATS:
            return self.emitter.instruction(f"fneg {self.type} {self.text}", self.kind, self.lanes)
        return self.emitter.const(0, self.kind, self.lanes) - self

    def __invert__(self) -> Value:
        return self ^ (1 if self.kind == "i1" else -1)

    def _compare(self, other: Value | float, float_op: str, int_op: str) -> Value:
        a, b = self.emitter.match(self, other)
        if a.kind == "i1" or a.kind in UNSIGNED:
            int_op = int_op.replace("s", "u")  # as a signed number, the truth would be -1
        op = f"fcmp {float_op}" if a.kind in FLOATS else f"icmp {int_op}"
        return self.emitter.instruction(f"{op} {a.type} {a.text}, {b.text}", "i1", a.lanes)

    def __lt__(self, other: Value | float) -> Value:
        return self._compare(other, "olt", "slt")

    def __le__(self, other: Value | float) -> Value:
        return self._compare(other, "ole", "sle")

    def __gt__(self, other: Value | float) -> Value:
        return self._compare(other, "ogt", "sgt")

    def __ge__(self, other: Value | float) -> Value:
        return self._compare(other, "oge", "sge")

    def __eq__(self, other: Value | float) -> Value:  # type: ignore[override]
        return self._compare(other, "oeq", "eq")

    def __ne__(self, other: Value | float) -> Value:  # type: ignore[override]
        return self._compare(other, "une", "ne")

    __hash__ = None  # type: ignore[assignment]


class Variable:
    """A place for a value that changes in a loop; LLVM keeps it in a register, unless it is to stay in memory."""

    def __init__(self, emitter: Emitter, first: Value, in_memory: bool = False) -> None:
        self.emitter, self.kind, self.lanes = emitter, first.kind, first.lanes
        self.how = "volatile " if in_memory else ""
        self.place = emitter.reserve(first.type)
        self.set(first)

    @classmethod
    def at(cls, place: Value, kind: str, lanes: int, as_it_stands: bool = False) -> Variable:
        """A place in memory that is there already, with what it holds; LLVM may join its loads and stores to others."""
        found = cls.__new__(cls)
        found.emitter, found.kind, found.lanes = place.emitter, kind, lanes
        found.how = "volatile " if as_it_stands else ""
        found.place = place.text
        return found

    def get(self) -> Value:
        """Read it."""
        return self.emitter.instruction(
            f"load {self.how}{type_of(self.kind, self.lanes)}, ptr {self.place}", self.kind, self.lanes
        )

    def set(self, value: Value) -> None:
        """Write it."""
        self.emitter.line(f"store {self.how}{value.type} {value.text}, ptr {self.place}")


class Module:
    """Functions that are compiled together."""

    def __init__(self) -> None:
        self.functions: list[str] = []
        self.declarations: dict[str, str] = {}

    def __str__(self) -> str:
        return "\n".join([*sorted(self.declarations.values()), "", *self.functions])


class Emitter(Conversions):
    """Writes one function. Its arguments are in ``args``.

    Args:
        module: where the function belongs.
        name: its name.
        params: name and kind of every argument.
        result: the kind of what it returns, or None.
        private: other functions of the module alone may call it.
    """

    def __init__(
        self, module: Module, name: str, params: list[tuple[str, str]], result: str | None = None, private: bool = False
    ) -> None:
        self.module, self.name = module, name
        self.result, self.private = result, private
        self.args = {arg: Value(self, f"%{arg}", kind, 0) for arg, kind in params}
        self.params = params
        self.places: list[str] = []
        self.lines: list[str] = []
        self.count = 0
        self.attributes = "nounwind"  # LLVM's, for the whole function

    # ---- writing ------------------------------------------------------------------------------

    def line(self, text: str) -> None:
        """Write an instruction without a result."""
        self.lines.append(f"  {text}")

    def fresh(self, stem: str = "v") -> str:
        """Make a name that is not used yet."""
        self.count += 1
        return f"{stem}{self.count}"

    def instruction(self, text: str, kind: str, lanes: int) -> Value:
        """Write an instruction and return its result."""
        name = f"%{self.fresh()}"
        self.lines.append(f"  {name} = {text}")
        return Value(self, name, kind, lanes)

    def reserve(self, type_: str) -> str:
        """Make room for one value on the stack, at the function's beginning."""
        name = f"%{self.fresh('p')}"
        self.places.append(f"  {name} = alloca {type_}, align 64")
        return name

    def label(self, name: str) -> None:
        """Begin a basic block."""
        self.lines.append(f"{name}:")

    def finish(self, result: Value | None = None) -> None:
        """End the function and put it into its module."""
        self.line("ret void" if result is None else f"ret {result.type} {result.text}")
        kind = TYPES[self.result] if self.result else "void"
        params = ", ".join(f"{TYPES[kind]} %{arg}" for arg, kind in self.params)
        head = f"define {'internal ' if self.private else ''}{kind} @{self.name}({params}) {self.attributes} {{"
        self.module.functions.append("\n".join([head, "entry:", *self.places, *self.lines, "}"]))

    # ---- numbers ------------------------------------------------------------------------------

    def const(self, value: float | int | bool, kind: str, lanes: int = 0) -> Value:
        """A number, in every lane."""
        text = literal(value, kind)
        if lanes:
            text = f"<{', '.join([f'{TYPES[kind]} {text}'] * lanes)}>"
        return Value(self, text, kind, lanes, value)

    def consts(self, values: Sequence[float | int], kind: str) -> Value:
        """Numbers, one in each lane."""
        text = ", ".join(f"{TYPES[kind]} {literal(x, kind)}" for x in values)
        return Value(self, f"<{text}>", kind, len(values))

    def match(self, a: Value | float, b: Value | float) -> tuple[Value, Value]:
        """Bring two operands to one kind and number of lanes; a Python number takes on the other's."""
        if not isinstance(a, Value):
            assert isinstance(b, Value)
            a = self.const(a, b.kind, b.lanes)
        if not isinstance(b, Value):
            b = self.const(b, a.kind, a.lanes)
        if a.lanes != b.lanes:
            a, b = (self.splat(x, max(a.lanes, b.lanes)) for x in (a, b))
        assert a.kind == b.kind, f"{a.kind} meets {b.kind}"
        return a, b

    def prefetch(self, pointer: Value) -> None:
        """Have a line of memory brought into the first-level cache."""
        self.module.declarations["prefetch"] = "declare void @llvm.prefetch.p0(ptr, i32, i32, i32)"
        self.line(f"call void @llvm.prefetch.p0(ptr {pointer.text}, i32 0, i32 3, i32 1)")

    def splat(self, x: Value, lanes: int) -> Value:
        """Repeat one number in every lane."""
        if x.lanes or not lanes:
            return x
        vector = type_of(x.kind, lanes)
        first = self.instruction(f"insertelement {vector} poison, {x.type} {x.text}, i64 0", x.kind, lanes)
        zeros = f"<{lanes} x i32> zeroinitializer"
        return self.instruction(f"shufflevector {vector} {first.text}, {vector} poison, {zeros}", x.kind, lanes)

    def shuffle(self, a: Value, b: Value, order: list[int]) -> Value:
        """Pick lanes of two vectors; those of the second are counted on from the first's."""
        mask = f"<{len(order)} x i32> <{', '.join(f'i32 {i}' for i in order)}>"
        return self.instruction(f"shufflevector {a.type} {a.text}, {b.type} {b.text}, {mask}", a.kind, len(order))

    def lane(self, x: Value, i: int) -> Value:
        """Take one lane out of a vector."""
        return self.instruction(f"extractelement {x.type} {x.text}, i64 {i}", x.kind, 0)

    def select(self, condition: Value, a: Value | float, b: Value | float) -> Value:
        """A where the condition holds, else b."""
        a, b = self.match(a, b)
        lanes = max(condition.lanes, a.lanes)
        condition, a, b = (self.splat(x, lanes) for x in (condition, a, b))
        text = f"select {condition.type} {condition.text}, {a.type} {a.text}, {b.type} {b.text}"
        return self.instruction(text, a.kind, lanes)

    def intrinsic(self, name: str, *args: Value, kind: str | None = None) -> Value:
        """Call one of LLVM's functions that exist for every type: ``fma``, ``sqrt``, ``fabs``, ``floor``, …"""
        first = args[0]
        lanes = first.lanes
        function = f"@llvm.{name}.{suffix_of(first.kind, lanes)}"
        result = type_of(kind or first.kind, lanes)
        declared = f"declare {result} {function}({', '.join(a.type for a in args)})"
        self.module.declarations[function] = declared
        text = f"call {result} {function}({', '.join(f'{a.type} {a.text}' for a in args)})"
        return self.instruction(text, kind or first.kind, lanes)

    def fma(self, a: Value, b: Value | float, c: Value | float) -> Value:
        """``a * b + c``, rounded once."""
        a, b = self.match(a, b)
        a, c = self.match(a, c)
        a, b = self.match(a, b)
        return self.intrinsic("fma", a, b, c)

    def sqrt(self, x: Value) -> Value:
        """The square root, rounded right."""
        return self.intrinsic("sqrt", x)

    def fabs(self, x: Value) -> Value:
        """The absolute value of a float."""
        return self.intrinsic("fabs", x)

    def rint(self, x: Value) -> Value:
        """The nearest whole number, the even one of two."""
        return self.intrinsic("roundeven", x)

    def floor(self, x: Value) -> Value:
        """The whole number below."""
        return self.intrinsic("floor", x)

    def ceil(self, x: Value) -> Value:
        """The whole number above."""
        return self.intrinsic("ceil", x)

    def trunc(self, x: Value) -> Value:
        """The whole number towards zero."""
        return self.intrinsic("trunc", x)

    def copysign(self, x: Value, sign: Value | float) -> Value:
        """The size of one number with the sign of another."""
        return self.intrinsic("copysign", *self.match(x, sign))

    def is_nan(self, x: Value) -> Value:
        """Is it not a number?"""
        return self.instruction(f"fcmp uno {x.type} {x.text}, {x.text}", "i1", x.lanes)

    def shift_right(self, x: Value, count: Value | int) -> Value:
        """Shift bits, filling with zeros."""
        x, by = self.match(x, count)
        return self.instruction(f"lshr {x.type} {x.text}, {by.text}", x.kind, x.lanes)

    # ---- memory -------------------------------------------------------------------------------
    # Alignments are arguments, as LLVM 20 wants them; LLVM 22 has attributes in their place, and translates.

    def address(self, pointer: Value, index: Value | int, kind: str) -> Value:
        """The place of an element, ``index`` elements of this kind behind a pointer."""
        if isinstance(index, int):
            index = self.const(index, "i64")
        return self.instruction(f"getelementptr {TYPES[kind]}, ptr {pointer.text}, i64 {index.text}", "ptr", 0)

    def load(self, pointer: Value, kind: str, lanes: int = 0, mask: Value | None = None) -> Value:
        """Read neighbouring elements; lanes outside of the mask are 0 and their memory is not touched."""
        type_, align = type_of(kind, lanes), max(BITS[kind] // 8, 1)
        if mask is None:
            return self.instruction(f"load {type_}, ptr {pointer.text}, align {align}", kind, lanes)
        function = f"@llvm.masked.load.{suffix_of(kind, lanes)}.p0"
        self.module.declarations[function] = f"declare {type_} {function}(ptr, i32, {mask.type}, {type_})"
        given = f"ptr {pointer.text}, i32 {align}, {mask.type} {mask.text}, {type_} zeroinitializer"
        return self.instruction(f"call {type_} {function}({given})", kind, lanes)

    def store(self, value: Value, pointer: Value, mask: Value | None = None) -> None:
        """Write neighbouring elements, those in the mask alone."""
        align = max(BITS[value.kind] // 8, 1)
        if mask is None:
            self.line(f"store {value.type} {value.text}, ptr {pointer.text}, align {align}")
            return
        function = f"@llvm.masked.store.{suffix_of(value.kind, value.lanes)}.p0"
        self.module.declarations[function] = f"declare void {function}({value.type}, ptr, i32, {mask.type})"
        given = f"{value.type} {value.text}, ptr {pointer.text}, i32 {align}, {mask.type} {mask.text}"
        self.line(f"call void {function}({given})")

    def gather(self, pointer: Value, places: Value, kind: str, mask: Value) -> Value:
        """Read elements that lie apart, at ``places`` (a vector of i64); lanes outside of the mask are 0."""
        lanes = places.lanes
        pointers = f"<{lanes} x ptr>"
        text = f"getelementptr {TYPES[kind]}, ptr {pointer.text}, {places.type} {places.text}"
        where = self.instruction(text, "ptr", lanes)
        type_ = type_of(kind, lanes)
        function = f"@llvm.masked.gather.{suffix_of(kind, lanes)}.v{lanes}p0"
        self.module.declarations[function] = f"declare {type_} {function}({pointers}, i32, {mask.type}, {type_})"
        align = max(BITS[kind] // 8, 1)
        given = f"{pointers} {where.text}, i32 {align}, {mask.type} {mask.text}, {type_} zeroinitializer"
        return self.instruction(f"call {type_} {function}({given})", kind, lanes)

    def scatter(self, value: Value, pointer: Value, places: Value, mask: Value) -> None:
        """Write the lanes in the mask to elements that lie apart, at ``places`` (a vector of i64)."""
        lanes, kind = value.lanes, value.kind
        pointers = f"<{lanes} x ptr>"
        text = f"getelementptr {TYPES[kind]}, ptr {pointer.text}, {places.type} {places.text}"
        where = self.instruction(text, "ptr", lanes)
        function = f"@llvm.masked.scatter.{suffix_of(kind, lanes)}.v{lanes}p0"
        self.module.declarations[function] = f"declare void {function}({value.type}, {pointers}, i32, {mask.type})"
        given = f"{value.type} {value.text}, {pointers} {where.text}, i32 {max(BITS[kind] // 8, 1)}"
        self.line(f"call void {function}({given}, {mask.type} {mask.text})")

    def counting(self, lanes: int) -> Value:
        """The vector 0, 1, 2, … of i64."""
        return Value(self, f"<{', '.join(f'i64 {i}' for i in range(lanes))}>", "i64", lanes)

    def first_lanes(self, count: Value, lanes: int) -> Value:
        """A mask of the first ``count`` lanes (i64)."""
        return self.splat(count, lanes) > self.counting(lanes)

    # ---- control ------------------------------------------------------------------------------

    @contextmanager
    def loop(self, start: Value | int, stop: Value | int, step: Value | int = 1) -> Iterator[Value]:
        """Repeat what is written inside for ``start``, ``start + step``, … below ``stop`` (i64)."""
        start, stop, step = (self.const(x, "i64") if isinstance(x, int) else x for x in (start, stop, step))
        counter = Variable(self, start)
        head, body, end = (self.fresh(stem) for stem in ("head", "body", "end"))
        self.line(f"br label %{head}")
        self.label(head)
        i = counter.get()
        self.line(f"br i1 {(i < stop).text}, label %{body}, label %{end}")
        self.label(body)
        yield i
        counter.set(i + step)
        self.line(f"br label %{head}")
        self.label(end)

    @contextmanager
    def when(self, condition: Value) -> Iterator[None]:
        """Do what is written inside only where a condition holds."""
        body, end = self.fresh("then"), self.fresh("end")
        self.line(f"br i1 {condition.text}, label %{body}, label %{end}")
        self.label(body)
        yield
        self.line(f"br label %{end}")
        self.label(end)

    def variable(self, first: Value, in_memory: bool = False) -> Variable:
        """A place for a value that changes."""
        return Variable(self, first, in_memory)

    def call(self, function: str, *args: Value, result: str | None = None) -> Any:
        """Call another function of the module."""
        given = ", ".join(f"{a.type} {a.text}" for a in args)
        kind = TYPES[result] if result else "void"
        if result is None:
            self.line(f"call void @{function}({given})")
            return None
        return self.instruction(f"call {kind} @{function}({given})", result, 0)
