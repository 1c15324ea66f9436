"""From a Python function and example arguments to a graph."""

from undertow.trace.function import (
    Traced,
    argument_names,
    call_user,
    describe_function,
    is_array_like,
    trace_function,
)
from undertow.trace.tracer import NotingTrace, Trace, Tracer, constant
from undertow.trace.where import is_library, user_line

__all__ = [
    "NotingTrace",
    "Trace",
    "Traced",
    "Tracer",
    "argument_names",
    "call_user",
    "constant",
    "describe_function",
    "is_array_like",
    "is_library",
    "trace_function",
    "user_line",
]
