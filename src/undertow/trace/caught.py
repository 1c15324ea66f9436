"""What a trace refuses and a function catches: it goes another way than with NumPy, and the user is told."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from undertow.errors import RefusedError, UndertowError, refused
from undertow.trace.where import is_library, is_ours


def call_noting(f: Callable[..., Any], args: Any, kwargs: Any) -> tuple[Any, list[RefusedError]]:
    """Call a function, and collect what was refused meanwhile; what an inner trace collects is for the outer one.

    Source: derived here.
    """
    if refused.get() is not None:
        return f(*args, **kwargs), []
    noted: list[RefusedError] = []
    token = refused.set(noted)
    try:
        return f(*args, **kwargs), [error for error in noted if _caught_by_user(error)]
    finally:
        refused.reset(token)


def _caught_by_user(error: RefusedError) -> bool:
    """Tell whether the frame that an error went up to, and no further, is the user's; not one that asks for it."""
    if error.__traceback__ is None:
        return False
    code = error.__traceback__.tb_frame.f_code
    kinds = {kind.__name__ for kind in type(error).__mro__ if issubclass(kind, UndertowError)}
    asked_for = not kinds.isdisjoint(code.co_names)
    return not asked_for and not is_ours(code.co_filename) and not is_library(code.co_filename)


def warn_of_caught(errors: list[RefusedError]) -> None:
    """Warn where a function has caught what was refused.

    Args:
        errors: what it caught.

    Source: derived here.
    """
    for error in errors:
        if (trace := error.__traceback__) is not None:
            code = trace.tb_frame.f_code
            warnings.warn_explicit(
                f"{code.co_name} catches {type(error).__name__}, which NumPy would not raise, and goes another way "
                f"than with NumPy: {error} Where that is what you want, write except undertow.{type(error).__name__}.",
                UserWarning,
                code.co_filename,
                trace.tb_lineno,
            )
