"""Graphs compiled for the processor at hand: fused kernels in LLVM's language, one arena, one flat table of calls."""

from typing import TYPE_CHECKING

from undertow.lazy import attach

if TYPE_CHECKING:
    from undertow.compile.config import show_config
    from undertow.compile.function import Compiled, CompiledFunction, compile
    from undertow.compile.profile import Profile
    from undertow.compile.resident import Resident
    from undertow.compile.threads import get_threads, set_threads

__all__ = [
    "Compiled",
    "CompiledFunction",
    "Profile",
    "Resident",
    "compile",
    "get_threads",
    "set_threads",
    "show_config",
]

attach(
    __name__,
    {
        "undertow.compile.config": "show_config",
        "undertow.compile.function": "Compiled CompiledFunction compile",
        "undertow.compile.profile": "Profile",
        "undertow.compile.resident": "Resident",
        "undertow.compile.threads": "get_threads set_threads",
    },
)
