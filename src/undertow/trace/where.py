"""Where in the user's code we are."""

from __future__ import annotations

import os
import sys
from functools import lru_cache
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import numpy as np
import optree

from undertow.errors import RefusedError, ShapeError, UndertowError, UnsupportedError

_HERE = str(Path(__file__).parent.parent)
_LIKE_USER_CODE = tuple(str(Path(_HERE) / name) for name in ("nn", "optim"))
LIBRARIES = (
    str(Path(np.__file__).parent),
    *(str(Path(np.__file__).parent.parent / name) for name in ("scipy", "pandas", "polars")),
    str(Path(optree.__file__).parent),
)
# NumPy's modules of polynomials are plain Python, on arrays that np.array makes, as the user's functions are.
POLYNOMIALS = os.path.join(os.path.dirname(np.__file__), "polynomial") + os.sep
_TYPED_IN = ("<doctest", "<stdin>", "<console>", "<python-input", "<ipython-input")
_PYTHON = os.path.dirname(os.__file__)
_COMMAND_LINE = str(Path(_HERE) / "cli.py")


@lru_cache(maxsize=4096)
def is_library(file: str) -> bool:
    """Tell whether a source file is NumPy's, SciPy's, optree's or Python's own."""
    return file.startswith((*LIBRARIES, "<frozen", "<__array_function__")) or (
        file.startswith(_PYTHON) and "site-packages" not in file
    )


@lru_cache(maxsize=4096)
def is_ours(file: str) -> bool:
    """Tell whether a source file is Undertow's, layers and losses among them."""
    return file.startswith(_HERE)


@lru_cache(maxsize=4096)
def is_users(file: str) -> bool:
    """Tell whether a source file is the user's own: neither ours nor of anything that was installed."""
    return not is_ours(file) and not is_library(file) and "site-packages" not in file


def file_name(file: str) -> str:
    """Return what messages call a source file: its name, and of a cell of a notebook ``In[3]``, as the notebook does.

    Args:
        file: its path; that of a cell is one that IPython makes up.

    Source: derived here.

    Example:
        >>> file_name("models/model.py")
        'model.py'
    """
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    cells = getattr(getattr(shell, "compile", None), "_filename_map", {})  # by path, the number of the cell
    return f"In[{cells[file]}]" if file in cells else os.path.basename(file)


def frames_of_ours() -> int:
    """How far up the stack the caller from outside of the package stands, for ``warnings.warn(…, stacklevel=…)``."""
    frame, count = sys._getframe(1), 1
    while frame.f_back is not None and is_ours(frame.f_code.co_filename):
        frame, count = frame.f_back, count + 1
    return count


def line_outside() -> str:
    """Return ``"file.py:12"``, where code is that is neither ours, layers among it, nor a library's."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and (is_ours(frame.f_code.co_filename) or is_library(frame.f_code.co_filename)):
        frame = frame.f_back
    return f"{file_name(frame.f_code.co_filename)}:{frame.f_lineno}" if frame else "your function"


@lru_cache(maxsize=4096)
def is_user_code(file: str) -> bool:
    """Tell whether a source file is neither ours nor a library's; layers and losses count as the user's."""
    return not (file.startswith(_HERE) and not file.startswith(_LIKE_USER_CODE)) and not is_library(file)


def user_frame() -> FrameType | None:
    """Return the innermost frame that is not ours or a library's; layers and losses count as the user's."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        if file == _COMMAND_LINE:
            return None  # who called the command line is no one's line
        if is_user_code(file):
            return frame
        frame = frame.f_back
    return None


def user_line() -> str | None:
    """Return ``"file.py:12"``, where the user's code is now."""
    frame = user_frame()
    return f"{file_name(frame.f_code.co_filename)}:{frame.f_lineno}" if frame else None


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


def locate(error: Exception, function: str) -> UndertowError:
    """Return the error of a function's call with the user's line in front, unless it names it already."""
    line = user_line()
    if not isinstance(error, UndertowError):
        error = ShapeError(f"{function}: {error}")
    if line is None or line in str(error):
        return error
    located = type(error)(f"{line}: {error}")
    if isinstance(error, RefusedError):
        located.plain = error.plain  # type: ignore[attr-defined]
    return located


def holds_user_code(code: CodeType) -> bool:
    """Tell whether names in this function are the user's own."""
    file = code.co_filename
    if file.startswith((*_LIKE_USER_CODE, *_TYPED_IN)):
        return True
    if file == "<string>":  # of python -c and exec; dataclasses write their methods so as well
        return not code.co_name.startswith("__")
    return not file.startswith((_HERE, "<")) and not is_library(file)
