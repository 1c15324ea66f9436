"""Random numbers that a counter gives: the same for the same key and place, wherever and in whatever order computed."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from undertow.graph import Spec, broadcast_shapes
from undertow.primitives.record import NO_GRADIENT, Code, Primitive, Sample

# SplitMix64: the odd number closest to 2^64 divided by the golden ratio, and the factors of its finaliser "variant 13".
GAMMA, FIRST, SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
SHIFTS = 30, 27, 31


def mix(key: Any, counter: Any) -> NDArray[np.uint64]:
    """Mix a key and a counter into 64 random bits.

    Args:
        key: whole numbers, int64 or uint64.
        counter: the same, broadcast against the key.

    Returns:
        uint64, of the shape of both.

    Source: Steele, Lea and Flood, Fast splittable pseudorandom number generators, OOPSLA 2014, figure 16;
        the constants are those of its published code.

    Example:
        >>> [hex(x) for x in mix(0, np.array([1, 2]))]
        ['0xe220a8397b1dcdaf', '0x6e789e6aa1b965f4']
    """
    with np.errstate(over="ignore"):
        z = np.asarray(key).astype(np.uint64) + np.asarray(counter).astype(np.uint64) * np.uint64(GAMMA)
        z = (z ^ (z >> np.uint64(SHIFTS[0]))) * np.uint64(FIRST)
        z = (z ^ (z >> np.uint64(SHIFTS[1]))) * np.uint64(SECOND)
    return np.asarray(z ^ (z >> np.uint64(SHIFTS[2])))


def dtype_of_bits(bits: int) -> np.dtype[Any]:
    """Return the dtype whose fractions have so many bits: 24 for float32, 53 for float64."""
    return np.dtype(np.float32 if bits == 24 else np.float64)


def _uniform(key: Any, counter: Any, *, bits: int) -> Any:
    """The upper bits as a fraction."""
    dtype = dtype_of_bits(bits)
    whole = mix(key, counter) >> np.uint64(64 - bits)
    return (whole.astype(dtype) * dtype.type(2.0**-bits))[()]


def _infer(key: Spec, counter: Spec, *, bits: int) -> Spec:
    return Spec(broadcast_shapes(key.shape, counter.shape), dtype_of_bits(bits))


def _spell(key: Code, counter: Code, *, bits: int, **_: Any) -> Code:
    return Code(f"uniform_at({key.text}, {counter.text}, {bits})")


_KEYS = np.array([[3], [-(2**63)], [2**63 - 1]])

uniform_at = Primitive(
    name="uniform_at",
    forward=_uniform,
    infer=_infer,
    vjps=(NO_GRADIENT, NO_GRADIENT),
    broadcasts=True,
    spell=_spell,
    text="U({0}, {1})",
    latex=r"U({0}, {1})",
    helper=f'''def uniform_at(key, counter, bits):
    """Uniform numbers in [0, 1): the SplitMix64 generator with this key, at this place."""
    z = np.asarray(key).astype(np.uint64) + np.asarray(counter).astype(np.uint64) * np.uint64({GAMMA:#x})
    z = (z ^ (z >> np.uint64({SHIFTS[0]}))) * np.uint64({FIRST:#x})
    z = (z ^ (z >> np.uint64({SHIFTS[1]}))) * np.uint64({SECOND:#x})
    z = z ^ (z >> np.uint64({SHIFTS[2]}))
    dtype = np.float32 if bits == 24 else np.float64
    return (z >> np.uint64(64 - bits)).astype(dtype) * dtype(2.0 ** -bits)''',
    samples=lambda: [
        Sample((_KEYS, np.arange(5)), {"bits": 53}, "keys of examples, places"),
        Sample((_KEYS, np.arange(37)), {"bits": 24}, "more places than lanes"),
        Sample((np.int64(7), np.arange(3)), {"bits": 24}),
        Sample((np.zeros((0, 1), np.int64), np.arange(3)), {"bits": 24}, "no examples"),
    ],
    source="Steele, Lea and Flood, Fast splittable pseudorandom number generators, OOPSLA 2014",
)
