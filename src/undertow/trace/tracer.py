"""From a Python function and example arguments to a graph: the arguments are replaced by tracers.

A tracer answers to operators, NumPy ufuncs, NumPy functions, methods and indexing by recording a node.
With values (`ut.grad`) each operation is also computed at once, so `if x > 0` sees the number;
without (`ut.backprop`, `ut.compile`) only shapes and dtypes are known and the batch size has a name.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any, ClassVar

import numpy as np
from numpy.exceptions import AxisError

from undertow import primitives as P
from undertow import trees
from undertow.errors import (
    EscapedTracerError,
    PositionError,
    UndertowError,
    UnsupportedError,
)
from undertow.graph import CONSTANT, INPUT, Dim, NeedsConcreteSize, Node, Size, Spec
from undertow.trace.failure import explain_failure, locate_index, refuse
from undertow.trace.methods import ArrayMethods
from undertow.trace.naming import name_values
from undertow.trace.options import place_of_out, with_options
from undertow.trace.place import is_only_looked_at
from undertow.trace.remedy import ambiguous, is_given, lost_number, unknown_count, unknown_value
from undertow.trace.returns import unheard
from undertow.trace.sparse import PlainArrays
from undertow.trace.views import Memory, View, connect, lie_like, refresh, show_as_array
from undertow.trace.where import check_plain, file_name, holds_user_code, locate, user_frame, user_line
from undertow.trace.writing import InPlace


def constant(value: Any) -> Node:
    """Make a constant; an array is copied, so that a later write to it changes nothing here."""
    check_plain(value)
    spec = P.spec_of(value)
    if spec.dtype.kind not in "fiub":
        raise refuse(value, spec.dtype)
    if isinstance(value, np.ndarray) and value.flags.writeable:
        value = value.copy()
        value.flags.writeable = False
    elif not isinstance(value, np.ndarray | np.generic) and not spec.weak:
        value = np.asarray(value)  # a list of numbers
    return Node(CONSTANT, (), {}, spec, value)


class Trace:
    """One run of a function under tracers. ``depth`` grows with nesting; a closed one takes no more."""

    def __init__(self, depth: int = 0) -> None:
        self.depth = depth
        self.open, self.read = True, False  # read: whether Python has asked for a number that is known
        self.asked: Exception | None = None  # the error that was raised last for a value that is not known
        self.origin: Node | None = None  # while differentiating: the node whose chain rule is applied
        self.sizes: dict[Dim, Tracer] = {}

    def add(self, op: P.Primitive, inputs: tuple[Node, ...], params: dict[str, Any]) -> Node:
        """Record an operation; compute it if all its inputs have values, else only its spec."""
        weak = True
        for x in inputs:
            if x.value is None:
                return Node(op, inputs, params, op.infer(*[x.spec for x in inputs], **params))
            weak = weak and x.spec.weak
        if not inputs:
            return Node(op, inputs, params, op.infer(**params))
        value = op.forward(*[x.value for x in inputs], **params)
        weak = weak and (op is P.identity or not P.OPERATORS.isdisjoint(op.numpy))
        spec = Spec(np.shape(value), value.dtype, weak)
        return Node(op, inputs, params, spec, value.item() if weak else value)

    def note(self, node: Node) -> None:
        """Hear of a new node; the plain trace keeps no notes."""

    def size(self, size: Size) -> Any:
        """Return a size as a value: the number, or one tracer for each symbolic size."""
        if not isinstance(size, Dim):
            return size
        if size not in self.sizes:
            self.sizes[size] = Tracer(self.add(P.size, (), {"dim": size}), self)
        return self.sizes[size]


class NotingTrace(Trace):
    """A trace without values that notes what people will read: lines, and the names that values are given."""

    code: CodeType | None = None  # of the function being traced: names are looked for from there inwards
    named = True  # else nobody will read of it: it is compared with another

    def add(self, op: P.Primitive, inputs: tuple[Node, ...], params: dict[str, Any]) -> Node:
        """Record an operation by its spec alone."""
        return Node(op, inputs, params, op.infer(*[x.spec for x in inputs], **params))

    def note(self, node: Node) -> None:
        """Note where a node comes from: the user's line, or the node whose chain rule made it."""
        if not self.named:
            return
        if self.origin is not None:
            node.backward, node.line, node.file = True, self.origin.line, self.origin.file
            return
        frame = user_frame()
        if frame is None:
            return
        node.file = frame.f_code.co_filename
        node.line = f"{file_name(node.file)}:{frame.f_lineno}"
        frames = [frame]
        while frame.f_back is not None and frame.f_code is not self.code:
            frame = frame.f_back
            frames.append(frame)
        if frames[-1].f_code is not self.code:
            frames = frames[:1]
        for outer in reversed(frames):  # the caller's name for a value comes before the callee's
            if holds_user_code(outer.f_code):
                name_values(outer)

    def name_left(self, frame: FrameType, returned: Any) -> None:
        """Name what a function of the user's still holds when it returns."""
        name_values(frame, returned if frame.f_code is not self.code else None)


def escaped() -> EscapedTracerError:
    """Make the error for a traced value that is used too late."""
    return EscapedTracerError(
        f"{user_line()}: a traced value is used after the function that made it has returned. "
        f"Return it from the function instead of keeping it elsewhere; where the function puts its arguments into an "
        f"object, let it do so to a copy: copy.copy(net)."
    )


def made_of_sizes(node: Node) -> bool:
    """Tell whether a number is computed from sizes and constants alone."""
    stack, found = [node], False
    while stack:
        x = stack.pop()
        if x.spec.ndim or x.op is INPUT:
            return False
        found = found or x.op is P.size
        stack.extend(x.inputs)
    return found


def lists_arguments(x: Any, more_than: int = 0) -> bool:
    """Tell whether a list, of lists perhaps, holds nothing but arguments that are numbers, and more than so many."""
    numbers = [x]
    while numbers and isinstance(numbers[0], list | tuple):
        numbers = [part for row in numbers if isinstance(row, list | tuple) for part in row]
    return len(numbers) > more_than and all(isinstance(v, Tracer) and v._node.op is INPUT for v in numbers)


class Tracer(InPlace, PlainArrays, np.lib.mixins.NDArrayOperatorsMixin, ArrayMethods):
    """Stands for an array while a function is traced. It behaves like one, also where it is written to.

    A write gives it another node; arrays that share its memory in NumPy change with it (see `views`).
    """

    __slots__ = ("_memory", "_node", "_view", "tape")
    __array_priority__: ClassVar[float] = 1000.0

    def __init__(self, node: Node, trace: Trace) -> None:
        self._node = node
        self.tape = trace
        self._view: View | None = None  # how it follows from the array that it is a view of
        self._memory: Memory | None = None  # shared with its views, once there are any

    @property
    def node(self) -> Node:
        """The node that this array is now."""
        view = self._view
        if view is not None and view.seen != view.memory.version:
            refresh(self)
        return self._node

    # -- recording ---------------------------------------------------------------------------------

    @unheard
    def bind(self, primitive: P.Primitive, args: tuple[Any, ...], params: dict[str, Any]) -> Tracer:
        """Record ``primitive(*args, **params)``; the innermost trace among the arguments takes it."""
        trace = self.tape
        inputs = []
        for x in args:
            if isinstance(x, Tracer):
                view = x._view
                if view is not None and view.seen != view.memory.version:
                    refresh(x)
                if x.tape.depth > trace.depth or not x.tape.open:
                    trace = x.tape
                inputs.append(x._node)
            elif isinstance(x, list | tuple) and not lists_arguments(x) and isinstance(whole := P.stacked(x), Tracer):
                trace = whole.tape if whole.tape.depth > trace.depth else trace
                inputs.append(whole._node)
            else:
                inputs.append(constant(x))
        if not trace.open:
            raise escaped()
        try:
            node = trace.add(primitive, tuple(inputs), params)
            if primitive.numpy and node.spec.dtype.kind in "iu":
                for x in inputs:
                    if x.op is CONSTANT and x.spec.weak:
                        P.check_number(x.value, node.spec.dtype)
        except NeedsConcreteSize:
            raise
        except (UndertowError, ValueError, TypeError, IndexError, OverflowError) as error:
            self._ask_for_sizes(args, primitive.name)
            raise explain_failure(primitive, args, params, error) from None
        trace.note(node)
        tracer = Tracer(node, trace)
        if primitive.view and isinstance(args[0], Tracer):
            connect(tracer, args[0], primitive, args[1:], params)
        return tracer

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *args: Any, **kwargs: Any) -> Any:
        if method != "__call__":
            return self._apply(getattr(ufunc, method), args, kwargs)
        if kwargs and ufunc.signature and ufunc in P.FUNCTIONS:  # np.vecdot(…, axis=0): not element by element
            return self._apply(ufunc, args, kwargs)
        if kwargs and kwargs.get("out") is not None:
            return self._call_into(ufunc, args, kwargs)
        if kwargs:
            args = with_options(P.name_of(ufunc), args, kwargs)
        primitive = P.UFUNCS.get(ufunc)
        if primitive is not None:
            return self.bind(primitive, args, {})
        return self._apply(ufunc, args, {})

    def __array_function__(self, function: Callable[..., Any], types: Any, args: Any, kwargs: Any) -> Any:
        return self._apply(function, args, kwargs)

    def _apply(self, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        answer = P.FUNCTIONS.get(function)
        if len(args) > 1 and answer is not None and (place := place_of_out(answer)) is not None and place < len(args):
            kwargs = kwargs if args[place] is None else {**kwargs, "out": args[place]}
            args = (*args[:place], None, *args[place + 1 :]) if len(args) > place + 1 else args[:place]
        if kwargs and kwargs.get("out") is not None:
            return self._apply_into(function, args, kwargs)
        if answer is None and (exchanged := getattr(function, "stands_for", None)) is not None:
            return self._apply(exchanged, args, kwargs)
        if answer is None and isinstance(function, np.ufunc) and P.load_scipy():
            return self.__array_ufunc__(function, "__call__", *args, **kwargs)  # SciPy's are known from now on
        if refused := P.REFUSED.get(function) or P.REFUSED.get(P.name_of(function)):
            raise UnsupportedError(f"{user_line()}: {refused}")
        if answer is None:
            self._ask_for_sizes(args, P.name_of(function))
            raise UnsupportedError(self._unknown(P.name_of(function)))
        try:
            result = answer.apply(*args, **kwargs)
            if function in _LIKE and isinstance(result, Tracer) and isinstance(args[0], Tracer):
                lie_like(result, args[0])
            return result
        except NeedsConcreteSize:
            raise
        except (UndertowError, AxisError) as error:
            raise locate(error, answer.name) from None
        except ValueError as error:
            if str(error).startswith("repeated axis"):
                raise locate(error, answer.name) from None
            raise
        except TypeError as error:
            ours, trace = isinstance(error, UndertowError), error.__traceback__
            if ours or trace is None or trace.tb_next is not None:
                raise
            raise UnsupportedError(f"{user_line()}: {answer.name}: {error}") from None

    @staticmethod
    def _unknown(name: str) -> str:
        if name.removeprefix("np.") in P.CONSTRUCTORS:
            return (
                f"{user_line()}: {name}(…, like=…) cannot be traced. Leave like= out: a plain array is a constant. "
                f"For an array to write traced values into, start from np.zeros_like of a traced one."
            )
        return (
            f"{user_line()}: {name} cannot be traced yet. Write it with arithmetic, np.exp, np.log, np.sum, np.where, "
            f"@ and the like, or compute it outside the function and pass the result as an argument."
        )

    # -- what is known without a value -------------------------------------------------------------

    @property
    def spec(self) -> Spec:  # type: ignore[override]
        """Shape and dtype, with symbolic sizes."""
        return self._node.spec

    @property
    def shape(self) -> tuple[Any, ...]:
        """The shape; a symbolic size is a traced number, so that ``x.sum() / x.shape[0]`` holds for any batch."""
        return tuple(self.tape.size(size) for size in self._node.spec.shape)

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self._node.spec.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype."""
        return self._node.spec.dtype

    @property
    def size(self) -> Any:
        """The number of elements; a traced number if the batch size is among its factors."""
        return P.count_of(self)

    def measure(self, size: Size) -> Any:
        """Return a size as a value to compute with."""
        return self.tape.size(size)

    def as_size(self) -> Size:
        """Return the symbolic size that this traced number is."""
        node = self.node
        if node.op is P.size:
            return node.params["dim"]
        if node.op is P.multiply:
            for a, b in (node.inputs, node.inputs[::-1]):
                if a.op is P.size and b.op is CONSTANT and isinstance(b.value, int):
                    return Dim(a.params["dim"].symbol, a.params["dim"].count * b.value)
        return int(self)

    # -- values ------------------------------------------------------------------------------------

    @staticmethod
    def _ask_for_sizes(args: Any, wish: str) -> None:
        """Ask for the number of the batch size where an operation on nothing but sizes needs it."""
        flat = [x for arg in args for x in (arg if isinstance(arg, tuple | list) else (arg,))]
        traced = [x for x in flat if isinstance(x, Tracer)]
        if traced and all(made_of_sizes(x.node) for x in traced):
            raise NeedsConcreteSize(
                f"{user_line()}: {wish} needs the number behind a batch size that is only a name here"
            )

    def _value(self, wish: str) -> Any:
        if self.node.value is not None:
            self.tape.read = True
            return self.node.value
        if made_of_sizes(self._node) or (self._node.spec.weak and not is_given(self._node)):
            raise NeedsConcreteSize(
                f"{user_line()}: {wish} needs the number behind a batch size that is only a name here"
            )
        if not self.tape.open:
            raise escaped()
        self.tape.asked = unknown_value(self, wish)
        raise self.tape.asked

    def __bool__(self) -> bool:
        value = self._value("the truth value")
        if np.size(value) > 1:
            raise ambiguous(self)
        return bool(value)

    def __float__(self) -> float:
        known = self.node.value is not None
        is_size = self._node.spec.weak and not known
        if self.dtype.kind == "f" and not is_size and not (known and is_only_looked_at()):
            self.tape.asked = lost_number(self)
            raise self.tape.asked
        return float(self._value("the number"))

    def __format__(self, spec: str) -> str:
        return format(self.node.value, spec) if self.node.value is not None else repr(self)

    def __int__(self) -> int:
        return int(self._value("the number"))

    def __index__(self) -> int:
        return operator.index(self._value("the number"))

    def __len__(self) -> int:
        if not self._node.spec.shape:
            raise TypeError("len() of a 0-d array")
        return int(self.tape.size(self._node.spec.shape[0]))

    def __iter__(self) -> Any:
        return (self[i] for i in range(len(self)))

    def __round__(self, digits: int | None = None) -> Any:
        if digits is None and self.node.value is not None:
            return round(float(self.node.value))
        return np.round(self, digits or 0)

    def __trunc__(self) -> int:
        return math.trunc(float(self._value("the number")))

    def __floor__(self) -> int:
        return math.floor(float(self._value("the number")))

    def __ceil__(self) -> int:
        return math.ceil(float(self._value("the number")))

    def __repr__(self) -> str:
        what = self.node.value if self.node.value is not None else self._node.spec
        return f"<traced {self.node.name or self.node.op.name}: {what}>"

    __hash__ = object.__hash__

    # -- indexing ---------------------------------------------------------------------------------

    def __getitem__(self, key: Any) -> Any:
        try:
            part = P.index(self, key)
        except UnsupportedError:
            raise unknown_count(self) from None
        except PositionError as error:
            raise locate_index(error, self) from None
        if not part._node.spec.shape and (key is Ellipsis or (isinstance(key, tuple) and _has_ellipsis(key))):
            show_as_array(part, self)
        return part

    def __pow__(self, other: Any) -> Any:
        if self._node.spec.weak and self.dtype.kind == "i" and isinstance(other, int) and other < 0:
            other = float(other)  # m ** -1 is a fraction in Python, and an error in NumPy
        if self.dtype.kind == "b" and self._node.spec.shape and type(other) is int and other == 2:
            return np.square(self)  # as NumPy writes it: int8, where other powers of truth values are int64
        return np.power(self, other)


_LIKE = frozenset((np.zeros_like, np.ones_like, np.full_like, np.empty_like))


def _has_ellipsis(key: tuple[Any, ...]) -> bool:
    return any(entry is Ellipsis for entry in key)


def _method(function: Callable[..., Any]) -> Callable[..., Any]:
    def method(self: Tracer, *args: Any, **kwargs: Any) -> Any:
        return function(self, *args, **kwargs)

    method.__name__ = function.__name__
    method.__doc__ = f"The same as ``np.{function.__name__}(x, …)``."
    return method


# The methods that are called like the function of that name; the in-place ones (sort, …) are not.
for _name in sorted(set(dir(np.ndarray)) - set(dir(Tracer)) - {"resize", "real", "imag"}):
    _function = getattr(np, _name, None)
    if _function in P.FUNCTIONS:
        setattr(Tracer, _name, _method(_function))

for _name in ("real", "imag"):
    setattr(Tracer, _name, property(_method(getattr(np, _name))))


trees.LEAVES.add(Tracer)
