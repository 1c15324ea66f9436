"""What a trace refuses and a function catches: it goes another way than with NumPy, and the user is told."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from undertow.errors import RefusedError, UndertowError, raised
from undertow.trace.where import is_library, is_ours


def call_noting(f: Callable[..., Any], args: Any, kwargs: Any) -> tuple[Any, list[UndertowError]]:
    """Call a function, and collect the errors of ours that it caught.

    What is refused within an inner trace is for the outer one to tell.

    Source: derived here.
    """
    outer = raised.get()
    noted: list[UndertowError] = []
    token = raised.set(noted)
    try:
        result = f(*args, **kwargs)
    finally:
        raised.reset(token)
        if outer is not None:
            outer += noted
    return result, [x for x in noted if not (outer is not None and isinstance(x, RefusedError)) and _caught_by_user(x)]


def _caught_by_user(error: UndertowError) -> bool:
    """Tell whether the frame that an error went up to, and no further, is the user's."""
    if error.__traceback__ is None:
        return False
    file = error.__traceback__.tb_frame.f_code.co_filename
    return not is_ours(file) and not is_library(file)


def _is_asked_for(error: UndertowError, names: tuple[str, ...]) -> bool:
    """Tell whether an error may be one that code with these names catches as ours."""
    return any(kind.__name__ in names for kind in type(error).__mro__ if issubclass(kind, UndertowError))


def warn_of_caught(errors: list[UndertowError]) -> None:
    """Warn where a function has caught what was refused, unless it asks for that by the error's name.

    Args:
        errors: what it caught.

    Source: derived here.
    """
    for error in errors:
        trace = error.__traceback__
        if isinstance(error, RefusedError) and trace is not None:
            code = trace.tb_frame.f_code
            if _is_asked_for(error, code.co_names):
                continue
            warnings.warn_explicit(
                f"{code.co_name} catches {type(error).__name__}, which NumPy would not raise, and goes another way "
                f"than with NumPy: {error} Where that is what you want, write except undertow.{type(error).__name__}.",
                UserWarning,
                code.co_filename,
                trace.tb_lineno,
            )
