"""One primitive, one record: everything about an operation stands in one place.

A record holds what the operation computes, its shape rule, its derivative, how it is written in
NumPy, in the textbook's words and in LaTeX, its special points, and the samples its tests run on.
Defining a record registers it; the engine, the emitters, the docs and the tests iterate over
``REGISTRY`` and know no operation by name.
"""

from __future__ import annotations

import importlib
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

import numpy as np

from undertow.errors import ArgumentError, NumberError, UnsupportedError
from undertow.graph import Dim, Shape, Size, Spec, broadcast_shapes, total


class Traced:
    """Base of the tracers: what a primitive and its rules ask of a value that is being traced."""

    __slots__ = ()

    spec: Spec

    def bind(self, primitive: Primitive, args: tuple[Any, ...], params: dict[str, Any]) -> Any:
        """Record ``primitive(*args, **params)`` in the trace that this value belongs to."""
        raise NotImplementedError

    def measure(self, size: Size) -> Any:
        """Return a size as a value to compute with: a number, or a traced number if symbolic."""
        raise NotImplementedError


class _Absence:
    """A derivative that is not there, and why."""

    def __init__(self, word: str, meaning: str) -> None:
        self.word, self.meaning = word, meaning

    def __repr__(self) -> str:
        return self.word


ZERO: Final = _Absence("ZERO", "mathematically zero wherever it exists")
NO_GRADIENT: Final = _Absence("NO_GRADIENT", "an index or a truth value: there is nothing to differentiate")
NOT_IMPLEMENTED: Final = _Absence("NOT_IMPLEMENTED", "it exists, but is not written yet: an error that names it")

Vjp = Callable[..., Any] | _Absence


# What an expression is worth inside another one: the higher binds tighter.
ATOM, POWER, UNARY, PRODUCT, SUM, COMPARE = 9, 8, 7, 6, 5, 3


@dataclass(frozen=True, slots=True)
class Code:
    """A piece of source text, how tightly it binds, and the operator that made it."""

    text: str
    rank: int = ATOM
    sign: str = ""

    def within(self, rank: int) -> str:
        """Return the text, in parentheses if it binds less tightly than its surroundings."""
        return self.text if self.rank >= rank else f"({self.text})"


@dataclass(frozen=True, slots=True)
class Sample:
    """Arguments that a primitive is tested on. Floats are float64; tests make float32 of them.

    Attributes:
        args: NumPy arrays or Python numbers.
        params: the primitive's parameters.
        note: what the sample is about.
        needs_values: the result's shape depends on values: traced from shapes alone it is an error.
    """

    args: tuple[Any, ...]
    params: dict[str, Any] = field(default_factory=dict)
    note: str = ""
    needs_values: bool = False


@dataclass(frozen=True, slots=True)
class Kink:
    """A point where the derivative does not exist or is not finite, and the value taken there.

    Attributes:
        args: numbers, or lists of numbers, at which the operation is evaluated; its elements are summed up.
        gradient: the derivative of that sum by each argument; None for one that is not differentiated.
        why: the reason for the choice.
        params: the operation's other arguments.
    """

    args: tuple[Any, ...]
    gradient: tuple[Any, ...]
    why: str
    params: dict[str, Any] = field(default_factory=dict)


Spelling = Callable[..., Code]


@dataclass(frozen=True, eq=False, kw_only=True)
class Primitive:
    """An operation and everything known about it.

    Attributes:
        name: unique name.
        forward: ``forward(*arrays, **params)``: what it computes, in NumPy.
        infer: ``infer(*specs, **params)``: shape and dtype of the result.
        vjps: a rule for each argument, ``rule(ct, out, *args, **params)``, written with ordinary
            operators: handed tracers it builds graph, handed arrays it computes. A single rule with
            ``position`` as its first argument serves an operation with any number of arguments.
        constant: where one rule serves all arguments, the positions of those whose derivative is ZERO.
        broadcasts: the arguments broadcast against each other; the engine sums the cotangent back.
        whole: though its arguments broadcast, an element of the result depends on more than its own place.
        finite_slope: its slopes are finite for whatever numbers come in, so a cotangent of 0 stays 0.
        tells_active: the rules take ``active``, a truth value per argument: is it differentiated?
        spell: ``spell(*codes, out=spec, **params)``: how it is written in NumPy.
        text: the textbook's way to write it, with {0}, {1}, … for the arguments.
        latex: the same in LaTeX.
        flow: by argument, what reaches it of the cotangent {ct}, with {out}, {0}, …, in textbook words.
        latex_flow: the same in LaTeX.
        kinks: its special points.
        samples: makes the inputs of its tests.
        numpy: the NumPy ufuncs that arrive here as they are.
        helper: the definition of the function that ``spell`` writes, where NumPy has none.
        source: where the derivative is written down.
        view: the result of the NumPy function may share memory with the argument.
    """

    name: str
    forward: Callable[..., Any]
    infer: Callable[..., Spec]
    vjps: tuple[Vjp, ...] | Callable[..., Any]
    spell: Spelling
    text: str
    latex: str
    flow: tuple[str, ...] = ()
    latex_flow: tuple[str, ...] = ()
    constant: tuple[int, ...] = ()
    broadcasts: bool = False
    whole: bool = False
    finite_slope: bool = False
    tells_active: bool = False
    kinks: tuple[Kink, ...] = ()
    samples: Callable[[], list[Sample]]
    numpy: tuple[np.ufunc, ...] = ()
    helper: str = ""
    source: str = "derived here"
    view: bool = False

    def __post_init__(self) -> None:
        if self.name in REGISTRY:
            raise ArgumentError(f"there are two primitives named {self.name}")
        REGISTRY[self.name] = self
        for ufunc in self.numpy:
            UFUNCS[ufunc] = self

    def __call__(self, *args: Any, **params: Any) -> Any:
        """Apply it: record it if an argument is traced, else compute it."""
        for x in args:
            if isinstance(x, Traced):
                return x.bind(self, args, params)
        return self.forward(*args, **params)

    def __repr__(self) -> str:
        return f"<primitive {self.name}>"

    @property
    def elementwise(self) -> bool:
        """Does each element of the result come from the elements at its place alone?"""
        return self.broadcasts and not self.whole

    def rule(self, position: int) -> Vjp:
        """Return the vjp rule of one argument."""
        if isinstance(self.vjps, tuple):
            return self.vjps[position]
        if position in self.constant:
            return ZERO
        rule = self.vjps
        return lambda ct, out, *args, **params: rule(position, ct, out, *args, **params)

    def flows(self, position: int, latex: bool = False) -> str:
        """Return the text of what reaches one argument; operations of many arguments have one text."""
        flow = self.latex_flow if latex else self.flow
        return flow[min(position, len(flow) - 1)] if flow else r"\mathrm{{vjp}}({ct})" if latex else "vjp({ct})"


REGISTRY: Final[dict[str, Primitive]] = {}
UFUNCS: Final[dict[np.ufunc, Primitive]] = {}


@dataclass(frozen=True, eq=False)
class Answer:
    """What a NumPy function means on tracers: an expression in primitives.

    Attributes:
        function: the NumPy function, or a ufunc's method such as ``np.add.reduce``.
        apply: called with the arguments of the function.
        samples: makes the calls it is tested on: arguments, and keyword arguments as ``params``. The float
            arrays among the arguments, at any depth, are what its derivative is tested by.
        kinks: its special points.
        source: where the derivative is written down.
    """

    function: Callable[..., Any]
    apply: Callable[..., Any]
    samples: Callable[[], list[Sample]]
    kinks: tuple[Kink, ...] = ()
    source: str = "derived here"

    @property
    def name(self) -> str:
        """How people write it: ``np.linalg.norm``, ``np.add.reduce``."""
        return name_of(self.function)


def name_of(function: Callable[..., Any]) -> str:
    """Return how people write a NumPy function: ``np.var``, ``np.linalg.norm``, ``np.add.reduce``."""
    owner = getattr(function, "__self__", None)
    if isinstance(owner, np.ufunc):
        return f"{name_of(owner)}.{function.__name__}"
    if isinstance(function, np.ufunc):
        if function.__name__.endswith(" (vectorized)"):
            return f"np.frompyfunc({function.__name__.removesuffix(' (vectorized)')}, …)"
        known = getattr(np, function.__name__, None) is function
        return f"np.{function.__name__}" if known else f"scipy.special.{function.__name__.lstrip('_')}"
    module = (getattr(function, "__module__", None) or "numpy").replace("numpy", "np", 1)
    return f"{module}.{function.__name__}".replace(".lib._stride_tricks_impl", ".lib.stride_tricks")


FUNCTIONS: Final[dict[Callable[..., Any], Answer]] = {}


def load_scipy() -> bool:
    """Register the ufuncs of ``scipy.special``, if the program uses them and they are not registered yet.

    Returns:
        Whether they were registered now.
    """
    name = "undertow.primitives.scipy_special"
    if "scipy.special" not in sys.modules or name in sys.modules:
        return False
    importlib.import_module(name)
    return True


def answers(
    *functions: Callable[..., Any],
    samples: Callable[[], list[Sample]] = list,
    kinks: tuple[Kink, ...] = (),
    source: str = "derived here",
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register the decorated function as the answer to calls of these NumPy functions on tracers."""

    def register(answer: Callable[..., Any]) -> Callable[..., Any]:
        for function in functions:
            if function in FUNCTIONS:
                raise ArgumentError(f"{name_of(function)} has two answers")
            FUNCTIONS[function] = Answer(function, answer, samples, kinks, source)
        return answer

    return register


# Functions that no tracer will answer, and what to say: the whole sentence after the line. Of a module that importing
# NumPy does not import, their names.
REFUSED: Final[dict[Callable[..., Any] | str, str]] = {}


def known_value(x: Any) -> Any:
    """Return the array behind a tracer, or x itself; None where only its shape is known."""
    return x.node.value if isinstance(x, Traced) else x  # type: ignore[attr-defined]


def refuse(function: str, **options: Any) -> None:
    """Refuse the options of a NumPy function that are set to something other than their default.

    Raises:
        UnsupportedError: names the function and the option.
    """
    for option, value in options.items():
        if value is not None and value is not np._NoValue:
            raise UnsupportedError(f"{function}(..., {option}=...) cannot be traced yet. Call it without {option}=.")


# ---- specs ---------------------------------------------------------------------------------------


def spec_of(x: Any) -> Spec:
    """Return shape and dtype of a tracer, array or Python number."""
    if isinstance(x, Traced):  # first: whether it is an array, it would look up
        return x.spec
    if isinstance(x, np.ndarray | np.generic):
        return Spec(x.shape, x.dtype)
    kind = type(x)
    if kind is float or kind is int:
        return _FLOAT if kind is float else _INT if -(2**63) <= x < 2**63 else Spec((), np.asarray(x).dtype, True)
    return Spec(np.shape(x), np.asarray(x).dtype, weak=isinstance(x, int | float | complex))


def check_number(x: Any, dtype: np.dtype[Any]) -> None:
    """NumberError for a Python integer that an array of whole numbers does not hold; without values it would wrap.

    Source: NEP 50, "Promotion behavior for Python and NumPy scalars".
    """
    if type(x) is int and dtype.kind in "iu" and not np.iinfo(dtype).min <= x <= np.iinfo(dtype).max:
        raise NumberError(f"{x} does not fit {dtype}. Convert the array first, for example by .astype(int).")


_FLOAT, _INT = Spec((), np.dtype(np.float64), True), Spec((), np.dtype(np.int64), True)


def shape_of(x: Any) -> Shape:
    """Return the shape; symbolic sizes stay symbolic."""
    return spec_of(x).shape


def dtype_of(x: Any) -> np.dtype[Any]:
    """Return the dtype."""
    return spec_of(x).dtype


def count_of(x: Any, axis: tuple[int, ...] | None = None) -> Any:
    """Return how many elements lie along these axes, as a number to compute with (traced if symbolic)."""
    shape = shape_of(x)
    sizes = shape if axis is None else tuple(shape[i] for i in axis)
    named = [size for size in sizes if isinstance(size, Dim)]
    if isinstance(x, Traced) and len(named) > 1:  # each example with each other: the product m * m has no name
        numbers = math.prod(size for size in sizes if not isinstance(size, Dim))
        return math.prod([x.measure(size) for size in named]) * numbers
    size = total(sizes)
    return x.measure(size) if isinstance(x, Traced) else size


# Python's operators keep Python numbers what they are; np.exp(2.0), like every function of NumPy's, does not.
OPERATORS: Final = frozenset(
    (np.add, np.subtract, np.multiply, np.divide, np.power, np.negative, np.absolute, np.floor_divide, np.remainder)
)


def kind_of(x: Any) -> Any:
    """Return what `np.result_type` is to see of an argument: the dtype, or a Python number, which gives way."""
    if not isinstance(x, Traced):
        return x if type(x) in (int, float) else dtype_of(x)
    spec = spec_of(x)
    return {"f": 0.0, "i": 0, "b": False}[spec.dtype.kind] if spec.weak else spec.dtype


def promote(ufunc: np.ufunc, specs: Sequence[Spec]) -> tuple[np.dtype[Any], bool]:
    """Return the result dtype of a ufunc by NumPy's own promotion, and whether it is weak."""
    return _promoted(ufunc, tuple([(s.dtype, s.weak) for s in specs]))


@lru_cache(maxsize=4096)  # a graph has few kinds of operations
def _promoted(ufunc: np.ufunc, specs: tuple[tuple[np.dtype[Any], bool], ...]) -> tuple[np.dtype[Any], bool]:
    weak: dict[str, Any] = {"b": np.dtype(bool), "i": int, "f": float}
    kinds: list[Any] = [weak.get(dtype.kind, dtype) if is_weak else dtype for dtype, is_weak in specs]
    if all(isinstance(kind, type) for kind in kinds):
        kinds = [np.dtype(kind) for kind in kinds]
    dtypes = ufunc.resolve_dtypes((*kinds, *[None] * ufunc.nout))
    return dtypes[-1], ufunc in OPERATORS and all(is_weak for _, is_weak in specs)


def infer_ufunc(ufunc: np.ufunc) -> Callable[..., Spec]:
    """Make the shape rule of an element-wise ufunc."""

    def infer(*specs: Spec, **_: Any) -> Spec:
        dtype, weak = promote(ufunc, specs)
        return Spec(broadcast_shapes(*[s.shape for s in specs]), dtype, weak)

    return infer


def infer_like(*specs: Spec, **_: Any) -> Spec:
    """Shape and dtype of the (only) argument."""
    return specs[0]


def float_like(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the float dtype that NumPy's mean of this dtype has."""
    return dtype if dtype.kind == "f" else np.dtype(np.float64)


def normalize_axis(axis: Any, ndim: int) -> tuple[int, ...]:
    """Return axes as a sorted tuple of non-negative numbers; None means all."""
    if axis is None:
        return tuple(range(ndim))
    axes = tuple(axis) if isinstance(axis, tuple | list) else (axis,)
    return tuple(sorted(np.lib.array_utils.normalize_axis_tuple(axes, ndim)))


def reduced_shape(shape: Shape, axis: tuple[int, ...], keepdims: bool) -> Shape:
    """Return the shape after reducing these axes."""
    if keepdims:
        return tuple(1 if i in axis else size for i, size in enumerate(shape))
    return tuple(size for i, size in enumerate(shape) if i not in axis)


# ---- spellings -----------------------------------------------------------------------------------


def call(function: str, **order: str) -> Spelling:
    """Spell as ``function(x, y)``."""

    def spell(*codes: Code, **_: Any) -> Code:
        return Code(f"{function}({', '.join(code.text for code in codes)})")

    return spell


def infix(sign: str, rank: int) -> Spelling:
    """Spell as ``x + y``; the right side is set in parentheses if it binds no tighter, or mixes @ with * and /."""

    def spell(x: Code, y: Code, **_: Any) -> Code:
        mixed = x.rank == rank and bool(x.sign) and (x.sign == "@") != (sign == "@")
        return Code(f"{x.within(rank + mixed)} {sign} {y.within(rank + 1)}", rank, sign)

    return spell


def call_axis(function: str) -> Spelling:
    """Spell a reduction: ``np.sum(x, axis=1, keepdims=True)``; nothing that is the default is written."""

    def spell(x: Code, *, axis: tuple[int, ...], keepdims: bool = False, ndim: int, **_: Any) -> Code:
        text = x.text
        if len(axis) < ndim:
            text += f", axis={axis[0] if len(axis) == 1 else axis}"
        return Code(f"{function}({text}{', keepdims=True' if keepdims else ''})")

    return spell
