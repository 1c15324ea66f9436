"""Graphs compiled for the processor at hand: fused kernels in LLVM's language, one arena, one flat table of calls."""

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
