"""Where in the user's code we are, and what to say when an operation cannot be applied there."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import numpy as np
import optree

from undertow import primitives as P
from undertow.errors import DTypeError, PositionError, ShapeError, UndertowError, UnsupportedError
from undertow.graph import show_shape

_HERE = str(Path(__file__).parent.parent)
_LIKE_USER_CODE = tuple(str(Path(_HERE) / name) for name in ("nn", "optim"))
_LIBRARIES = (
    str(Path(np.__file__).parent),
    str(Path(np.__file__).parent.parent / "scipy"),
    str(Path(optree.__file__).parent),
)
_PYTHON = os.path.dirname(os.__file__)
_COMMAND_LINE = str(Path(_HERE) / "cli.py")

_SCIPY_INSTEAD = {
    "softmax": "Use ut.softmax",
    "log_softmax": "Use ut.log_softmax",
    "logsumexp": "Use ut.logsumexp",
    "polygamma": "Use ut.polygamma",
}


@lru_cache(maxsize=4096)
def is_library(file: str) -> bool:
    """Tell whether a source file is NumPy's, SciPy's, optree's or Python's own."""
    return file.startswith((*_LIBRARIES, "<frozen", "<__array_function__")) or (
        file.startswith(_PYTHON) and "site-packages" not in file
    )


@lru_cache(maxsize=4096)
def is_ours(file: str) -> bool:
    """Tell whether a source file is Undertow's, layers and losses among them."""
    return file.startswith(_HERE)


def frames_of_ours() -> int:
    """How far up the stack the caller from outside of the package stands, for ``warnings.warn(…, stacklevel=…)``."""
    frame, count = sys._getframe(1), 1
    while frame.f_back is not None and is_ours(frame.f_code.co_filename):
        frame, count = frame.f_back, count + 1
    return count


def user_frame() -> FrameType | None:
    """Return the innermost frame that is not ours or a library's; layers and losses count as the user's."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        if file == _COMMAND_LINE:
            return None  # who called the command line is no one's line
        ours = file.startswith(_HERE) and not file.startswith(_LIKE_USER_CODE)
        if not ours and not is_library(file):
            return frame
        frame = frame.f_back
    return None


def user_line() -> str | None:
    """Return ``"file.py:12"``, where the user's code is now."""
    frame = user_frame()
    return f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}" if frame else None


def check_plain(x: Any) -> None:
    """Refuse an array of a class whose operations mean something else: a masked array, a matrix.

    Raises:
        UnsupportedError: names the user's line and what to write instead.
    """
    if type(x) is np.ndarray or not isinstance(x, np.ndarray):
        return
    kinds = {kind.__name__ for kind in type(x).__mro__}
    if "MaskedArray" in kinds:
        raise UnsupportedError(
            f"{user_line() or 'an argument'}: a masked array cannot be traced: what is masked would count. "
            f"Pass x.data, and leave elements out with where=~x.mask or np.where."
        )
    if "matrix" in kinds:
        raise UnsupportedError(
            f"{user_line() or 'an argument'}: np.matrix cannot be traced: its * and its shapes are not those of "
            f"arrays. Pass np.asarray(x), and write @ for the matrix product."
        )


def scipy_remedy() -> str | None:
    """Return what to say where a function of SciPy's, which is no ufunc, makes plain arrays; None elsewhere."""
    names = []
    frame: FrameType | None = sys._getframe(1)
    user = user_frame()
    while frame is not None and frame is not user:
        if frame.f_code.co_filename.startswith(_LIBRARIES[1]):
            names.append(frame.f_code.co_name)
        frame = frame.f_back
    if not names:
        return None
    name = next((name for name in reversed(names) if name in _SCIPY_INSTEAD), names[-1])
    way = _SCIPY_INSTEAD.get(name, "Write it with NumPy's functions and the ufuncs of scipy.special")
    return f"SciPy's {name} makes a plain array of a traced value, whose derivative would be lost. {way}."


def locate(error: Exception, function: str) -> UndertowError:
    """Return the error of a function's call with the user's line in front, unless it names it already."""
    line = user_line()
    if not isinstance(error, UndertowError):
        error = ShapeError(f"{function}: {error}")
    return error if line is None or line in str(error) else type(error)(f"{line}: {error}")


def holds_user_code(code: CodeType) -> bool:
    """Tell whether names in this function are the user's own."""
    file = code.co_filename
    if file.startswith((*_LIKE_USER_CODE, "<doctest")):
        return True
    return not file.startswith((_HERE, "<")) and not is_library(file)


def _name_of(x: Any) -> str | None:
    name = getattr(getattr(x, "node", None), "name", None)
    return str(name) if name else None


def user_shapes(args: Sequence[Any], frame: FrameType | None) -> str:
    """Say how the operands are called in the user's code and what shape each has."""
    known = {
        id(value): name
        for name, value in (frame.f_locals if frame else {}).items()
        if isinstance(value, P.Traced | np.ndarray)
    }
    parts = []
    for position, x in enumerate(args):
        name = known.get(id(x)) or _name_of(x) or f"operand {position + 1}"
        parts.append(f"{name} is {show_shape(P.shape_of(x))}")
    return ", ".join(parts)


def locate_index(error: PositionError, x: Any) -> PositionError:
    """Say where an index stands that does not fit, and of which array, unless the error does."""
    frame, line = user_frame(), user_line()
    if line is None or line in str(error):
        return error
    return PositionError(f"{line}: {user_shapes([x], frame).replace('operand 1', 'the array')}: {error}")


def explain_failure(primitive: P.Primitive, args: Sequence[Any], params: dict[str, Any], error: Exception) -> Exception:
    """Make the error people see when an operation cannot be applied: where, both shapes, the remedy."""
    frame = user_frame()
    where = f" ({Path(frame.f_code.co_filename).name}:{frame.f_lineno})" if frame else ""
    if not isinstance(error, UndertowError):
        try:
            primitive.infer(*[P.spec_of(x) for x in args], **params)
        except UndertowError as better:
            error = better
        except Exception:  # the shape rule failed as well: NumPy's own words are the best there are
            pass
    known = {id(value): name for name, value in (frame.f_locals if frame else {}).items() if not name.startswith("_")}
    names = [known.get(id(x)) or _name_of(x) or f"x{i + 1}" for i, x in enumerate(args)]
    try:
        code = primitive.spell(*[P.Code(n) for n in names], out=None, ndim=P.spec_of(args[0]).ndim, **params).text
    except Exception:  # an operation whose spelling needs its result
        code = primitive.name
    if isinstance(error, np.linalg.LinAlgError):  # a singular matrix: people catch it by NumPy's name
        return np.linalg.LinAlgError(f"{code}{where}: {user_shapes(args, frame)}: {error}")
    kinds = {IndexError: PositionError, ValueError: ShapeError}
    kind = type(error) if isinstance(error, UndertowError) else kinds.get(type(error), DTypeError)
    return kind(f"{code}{where}: {user_shapes(args, frame)}: {error}")
