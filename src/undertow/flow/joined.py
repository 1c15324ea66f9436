"""The Python of several remedies at once: their changes one after the other, then one call that trains."""

from __future__ import annotations

import ast
from collections.abc import Iterable

ARGUMENTS = ("model", "X", "y")


def join_code(unchanged: str, codes: Iterable[str]) -> str:
    """Write several remedies as one piece of Python.

    Args:
        unchanged: the call that trains as before, ``run = ut.train(model, (X, y), …)``.
        codes: of the remedies; each ends in such a call, with something changed, or has none.

    Returns:
        Python that makes all changes, and trains once. Where two change the same argument, the last one counts.

    Source: derived here.

    Example:
        >>> call = "run = ut.train(model, (X, y), epochs=3)"
        >>> wide = ["better = widen(model)", "run = ut.train(better, (X, y), epochs=3)"]
        >>> print(join_code(call, [chr(10).join(wide), call.replace("3", "9")]))
        better = widen(model)
        model = better
        run = ut.train(model, (X, y), epochs=9)
    """
    lines: list[str] = []
    before = _read_call(unchanged)
    settings = dict(before)
    for code in codes:
        *body, last = code.split("\n")
        call = _read_call(last)
        lines += body if call else [*body, last]
        lines += [f"{name} = {call[name]}" for name in ARGUMENTS if call.get(name, name) != name]
        settings |= {key: value for key, value in call.items() if value != before.get(key)}
    given = [f"{key}={value}" for key, value in settings.items() if key not in ARGUMENTS]
    return "\n".join([*lines, f"run = ut.train({', '.join(['model', '(X, y)', *given])})"])


def _read_call(line: str) -> dict[str, str]:
    """The arguments of a call of `ut.train` as they are written; none where the line is no such call."""
    try:
        call = ast.parse(line).body[0].value  # type: ignore[attr-defined]
        model, data = call.args
        X, y = data.elts
    except (SyntaxError, IndexError, AttributeError, ValueError):
        return {}
    written = lambda node: line.encode()[node.col_offset : node.end_col_offset].decode()  # noqa: E731
    return dict(zip(ARGUMENTS, map(written, (model, X, y)), strict=True)) | {
        keyword.arg: written(keyword.value) for keyword in call.keywords
    }
