"""What a measured program is: a plain NumPy function, and of which sizes its arguments are."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Function = Callable[..., Any]

SMALL: Final = 8  # tests shrink what has a letter to at most that
SMALL_STEPS: Final = 4  # and T, the steps of a sequence, which Python loops take one by one, to at most that


@dataclass(frozen=True)
class Argument:
    """How an argument is made.

    Attributes:
        shape: sizes as numbers or letters, such as ``"B T 4D"``; none: a scalar.
        make: (rng, shape) → its numbers.
        whole: integers, which have no gradient.
    """

    shape: str
    make: Callable[[np.random.Generator, tuple[int, ...]], Array]
    whole: bool = False


def normal(shape: str, scale: float = 1.0, mean: float = 0.0) -> Argument:
    """Numbers of a normal distribution."""
    return Argument(shape, lambda rng, sizes: mean + scale * rng.standard_normal(sizes))


def uniform(shape: str, low: float = 0.0, high: float = 1.0) -> Argument:
    """Numbers between two bounds."""
    return Argument(shape, lambda rng, sizes: rng.uniform(low, high, sizes))


def signs(shape: str) -> Argument:
    """−1 or 1."""
    return Argument(shape, lambda rng, sizes: rng.choice([-1.0, 1.0], sizes))


def bits(shape: str) -> Argument:
    """0 or 1, as floats."""
    return Argument(shape, lambda rng, sizes: rng.integers(0, 2, sizes).astype(float))


def counts(shape: str, rate: float = 3.0) -> Argument:
    """Counts of a Poisson distribution, as floats."""
    return Argument(shape, lambda rng, sizes: rng.poisson(rate, sizes).astype(float))


def one_hot(shape: str) -> Argument:
    """Rows of zeros with a single 1."""
    return Argument(shape, lambda rng, sizes: np.eye(sizes[-1])[rng.integers(0, sizes[-1], sizes[:-1])])


def integers(shape: str, below: str) -> Argument:
    """Integers from 0 to ``below``, which is a size or a letter."""
    return Argument(f"{shape} {below}", lambda rng, sizes: rng.integers(0, sizes[-1], sizes[:-1]), whole=True)


def constant(shape: str, value: float) -> Argument:
    """The same number everywhere."""
    return Argument(shape, lambda rng, sizes: np.full(sizes, value))


def identity(shape: str) -> Argument:
    """An identity matrix."""
    return Argument(shape, lambda rng, sizes: np.eye(*sizes))


@dataclass(frozen=True)
class Program:
    """A function of arrays that returns a scalar, and the arguments it is measured with.

    Attributes:
        name: a few words.
        function: the function; it uses the ``np`` of its module and nothing else.
        sizes: of each letter in the shapes of the arguments.
        arguments: in the order of the function's parameters.
        dtype: "float32" or "float64".
    """

    name: str
    function: Function
    sizes: dict[str, int]
    arguments: tuple[Argument, ...]
    dtype: str

    @property
    def group(self) -> str:
        """The module that it stands in."""
        return self.function.__module__.rpartition(".")[2]

    @property
    def wrt(self) -> tuple[int, ...]:
        """The places of its float arguments, by all of which the gradient is taken."""
        return tuple(i for i, argument in enumerate(self.arguments) if not argument.whole)

    def shape(self, argument: Argument, small: bool = False) -> tuple[int, ...]:
        """An argument's shape: ``"B 4D"`` with the sizes of B and D."""
        found = []
        for factor, letter in re.findall(r"(\d*)([A-Za-z]*)", argument.shape):
            if factor or letter:
                size = self.sizes[letter] if letter else 1
                limit = SMALL_STEPS if letter == "T" else SMALL
                found.append(int(factor or 1) * (min(size, limit) if small and letter else size))
        return tuple(found)

    def make(self, small: bool = False, dtype: str | None = None) -> list[Array]:
        """Make its arguments, always the same: as measured, or small ones for a test."""
        rng = np.random.default_rng(1)
        made = [argument.make(rng, self.shape(argument, small)) for argument in self.arguments]
        kinds = [np.dtype(np.int64 if argument.whole else dtype or self.dtype) for argument in self.arguments]
        return [np.asarray(x, kind) for x, kind in zip(made, kinds, strict=True)]


PROGRAMS: Final[dict[str, Program]] = {}


def program(
    name: str, sizes: str = "", dtype: str = "float32", **arguments: Argument
) -> Callable[[Function], Function]:
    """Keep a function among the `PROGRAMS`: ``sizes`` such as ``"B=16 T=64"``, its arguments by name and in order."""

    def keep(function: Function) -> Function:
        if name in PROGRAMS:
            raise ValueError(f"there are two programs named {name}")
        pairs = (pair.split("=") for pair in sizes.split())
        known = {letter: int(size) for letter, size in pairs}
        PROGRAMS[name] = Program(name, function, known, tuple(arguments.values()), dtype)
        return function

    return keep
