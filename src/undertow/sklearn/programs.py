"""Compiled steps that outlive the fit that made them: a fit of the same network begins at once.

A search over folds fits one architecture again and again. A fit takes the step for itself and gives it back at its
end, so that fits in other threads never wait for each other.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Any, Final

from undertow.train.forward import Forward

AT_MOST: Final = 8  # steps that are kept; each holds the memory of one batch
_lock: Final = threading.Lock()
_kept: list[tuple[Hashable, Any]] = []  # the last used is last


def borrow(key: Hashable | None, make: Callable[[], Any]) -> Any:
    """Take what was kept under a key, or make it.

    Args:
        key: what it depends on; None keeps nothing.
        make: makes it.

    Returns:
        It, for the caller alone.

    Source: derived here.

    Example:
        >>> give_back("key", 3)
        >>> borrow("key", lambda: 5), borrow("key", lambda: 5)
        (3, 5)
    """
    with _lock:
        for i in range(len(_kept) - 1, -1, -1):
            if key is not None and _kept[i][0] == key:
                return _kept.pop(i)[1]
    return make()


def give_back(key: Hashable | None, made: Any) -> None:
    """Keep something for the next who asks for the key; the least recently used goes.

    Args:
        key: see `borrow`.
        made: what was borrowed.

    Source: derived here.

    Example:
        >>> give_back(None, 3)
    """
    if key is not None:
        with _lock:
            _kept.append((key, made))
            del _kept[:-AT_MOST]


class SharedForward(Forward):
    """A model's outputs, by programs that all estimators share."""

    def _compile(self, model: Any, X: Any) -> Any:
        if len(self.known) >= 4 * AT_MOST:
            self.known.clear()
        return super()._compile(model, X)


FORWARD: Final = SharedForward()
