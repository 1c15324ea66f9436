"""Every error that Undertow raises on purpose. Imports nothing, so that everything may import it.

An error is part of the product: it says *where* (the user's own line), *what* (both shapes, both
types), and *how to go on*. The command line prints the message alone and exits with code 2.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any, Final

raised: Final[ContextVar[list[UndertowError] | None]] = ContextVar("undertow_raised", default=None)
"""The errors that were raised while a function was being traced, its own code having caught them or not."""


class UndertowError(Exception):
    """Base of every error that Undertow raises on purpose; ``except UndertowError`` catches them all."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        if (noted := raised.get()) is not None:
            noted.append(self)


class RefusedError(UndertowError):
    """What NumPy does and a trace cannot: a function that catches it goes another way than it would with NumPy."""

    plain: Any = None  # the plain array that was to take a traced value or position; () for one that is not known


class ShapeError(UndertowError, ValueError):
    """Two shapes do not fit together; the message holds both and the remedy."""


class PositionError(ShapeError, IndexError):
    """An index beyond the end of its axis, or one that does not fit the axes at all."""


class DTypeError(UndertowError, TypeError):
    """A dtype that cannot be differentiated (an integer) or is out of scope (complex, object)."""


class NumberError(DTypeError, OverflowError):
    """A Python number that an array of its dtype does not hold, where NumPy refuses it too."""


class ArgumentError(UndertowError, ValueError):
    """An argument of ours is wrong: unknown name, value out of range, a tree that does not match."""


class ColumnError(UndertowError, KeyError):
    """A row of a history was asked for a column that it does not have."""

    __str__ = Exception.__str__  # a KeyError would quote the whole sentence


class NonScalarError(UndertowError, TypeError):
    """The function to differentiate returned something other than one number."""


class UnsupportedError(RefusedError, NotImplementedError):
    """A NumPy function or option that Undertow cannot trace; the message names it."""


class UnsupportedAttributeError(UnsupportedError, AttributeError):
    """An attribute of arrays that a traced one cannot have, such as its strides; ``hasattr`` says False."""


class ControlFlowError(RefusedError, TypeError):
    """Python asked a traced array for its value (``if x > 0``) while only its shape is known."""


class InPlaceError(RefusedError, RuntimeError):
    """A write, or a conversion to a plain number or array, that would lose a derivative or make it wrong."""


class EscapedTracerError(UndertowError, RuntimeError):
    """A traced value was used after the function that made it had returned."""


class GraphError(UndertowError, AssertionError):
    """A graph that breaks its own invariants: a bug in Undertow, found by the verifier."""


class GradientError(UndertowError, AssertionError):
    """``check_gradient`` found a derivative that disagrees with the numeric one."""


class DataError(UndertowError, ValueError):
    """A data file or array that cannot be used as it is; the message names file, column and row."""


class DataWarning(UserWarning):
    """Rows hold what training did not have: numbers far outside of its range, columns without a value, other texts."""


class TrainingError(UndertowError, RuntimeError):
    """Training cannot go on: a loss or gradient stopped being finite, a model does not fit the data."""


class PairingWarning(UserWarning):
    """A loss is paired with a last activation that is odd for it; training works, but hardly as meant."""


class RunError(UndertowError, OSError):
    """A run folder or model file that cannot be read or written."""


class ThreadError(UndertowError, RuntimeError):
    """The system does not give a thread that a compiled program is to use."""
