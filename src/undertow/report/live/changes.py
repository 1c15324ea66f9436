"""What has changed between two states of plain data, so that only that is sent."""

from __future__ import annotations

from typing import Any

SHORT = 64  # characters; shorter texts are sent as a whole


def find_changes(old: Any, new: Any) -> list[list[Any]]:
    """Find what makes new data of old: lists and texts that grew are told by what was appended.

    Args:
        old: plain data.
        new: plain data.

    Returns:
        A list of changes, each ``[path, what, value]``, to be done in order. The path is a list of keys and indices.
        ``"set"`` puts a value there, ``"remove"`` takes the key away, ``"extend"`` cuts a list or text to value[0] and
        appends value[1].

    Source: derived here.

    Example:
        >>> find_changes({"loss": [3, 2], "n": 2}, {"loss": [3, 2, 1], "n": 3})
        [[['loss'], 'extend', [2, [1]]], [['n'], 'set', 3]]
    """
    found: list[list[Any]] = []
    _compare(old, new, [], found)
    return found


def apply_changes(data: Any, changes: list[list[Any]]) -> Any:
    """Do changes that `find_changes` found, as the page does.

    Args:
        data: plain data; it is changed.
        changes: of `find_changes`.

    Returns:
        The new data.

    Source: derived here.

    Example:
        >>> apply_changes({"loss": [3, 2]}, [[["loss"], "extend", [1, [7, 8]]]])
        {'loss': [3, 7, 8]}
    """
    root: list[Any] = [data]
    for path, what, value in changes:
        at: Any = root
        keys: list[Any] = [0, *path]
        for key in keys[:-1]:
            at = at[key]
        last = keys[-1]
        if what == "set":
            at[last] = value
        elif what == "remove":
            del at[last]
        else:
            at[last] = at[last][: value[0]] + value[1]
    return root[0]


def _compare(old: Any, new: Any, path: list[Any], found: list[list[Any]]) -> None:
    if old is new or (type(old) is type(new) and old == new):
        return
    if isinstance(old, dict) and isinstance(new, dict):
        found += [[[*path, key], "remove", None] for key in old if key not in new]
        for key, value in new.items():
            if key in old:
                _compare(old[key], value, [*path, key], found)
            else:
                found.append([[*path, key], "set", value])
    elif isinstance(old, list) and isinstance(new, list) and old and len(old) <= len(new):
        _compare_lists(old, new, path, found)
    elif isinstance(old, str) and isinstance(new, str) and len(new) > SHORT:
        kept = _common(old, new)
        found.append([path, "extend", [kept, new[kept:]]] if kept > len(new) // 2 else [path, "set", new])
    else:
        found.append([path, "set", new])


def _compare_lists(old: list[Any], new: list[Any], path: list[Any], found: list[list[Any]]) -> None:
    """A list that grew: its last entries may have changed too, as those of a column that is not full yet."""
    kept = _common(old, new)
    inner = all(isinstance(x, dict | list) for x in old[kept:])
    if kept < len(old) and inner:
        for i in range(kept, len(old)):
            _compare(old[i], new[i], [*path, i], found)
        kept = len(old)
    if kept < len(new):
        whole = kept < len(new) // 2
        found.append([path, "set", new] if whole and not inner else [path, "extend", [kept, new[kept:]]])


def _common(old: Any, new: Any) -> int:
    """How long the beginning is that two lists or texts share."""
    low, high = 0, min(len(old), len(new))
    if old[:high] == new[:high]:
        return high
    while low < high:  # the first `low` agree, the first `high + 1` do not
        middle = (low + high + 1) // 2
        if old[low:middle] == new[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
