"""Whether a function is being traced by shapes now, and whether a mode of the layers was set outside of it.

What such a function is told by a mode that is set around it would be the same in each call of the program.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final

tracing: Final[ContextVar[bool]] = ContextVar("undertow_tracing", default=False)
"""Whether a function is traced without values in this moment."""

mode_around: Final[ContextVar[bool]] = ContextVar("undertow_mode_around", default=False)
"""Whether a block such as ``nn.training`` is open that was not opened while tracing."""
