"""Whether what a loop of one's own is trained against is trained too: another player, or a copy that follows."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from undertow import trees

Array = NDArray[Any]
FEWEST: Final = 5  # changes that tell
SLOW: Final = 0.3  # mean square of a change by the variance of what changes; of independent draws it is 2
MOSTLY: Final = 0.8  # share of the changes that are slow


class Moving:
    """Watches the arguments of a loss beside its parameters, and who else trains with these.

    Two recorded losses train against each other where arrays that one of them trains are given to the other, again and
    again while both go on. Where only one is recorded, the parameters of the other are known by what they are: a
    container of arrays with different numbers of rows, which is no batch, and changes little from step to step.
    """

    def __init__(self) -> None:
        self.trained: list[Array] = []
        self.given: list[Array] = []
        self.calls = 0
        self.met: weakref.WeakKeyDictionary[Moving, tuple[int, int]] = (
            weakref.WeakKeyDictionary()
        )  # when last, how often
        self.last: list[Array | None] = []
        self.changes = self.slow = 0
        PLAYERS.add(self)

    def add(self, trained: Sequence[Any], args: Sequence[Any]) -> None:
        """Take in a call.

        Args:
            trained: the arrays that are trained.
            args: all else that the loss is given.
        """
        self.trained, self.given = _arrays(trained), _arrays(trees.flatten(args)[0])
        self.calls += 1
        for other in list(PLAYERS):
            if other is not self and (_share(self.trained, other.given) or _share(self.given, other.trained)):
                then, often = self.met.get(other, (0, 0))
                self.met[other] = other.calls, often + (other.calls > then)
        now = [_weights(arg) for arg in args]
        if len(now) == len(self.last):
            for before, after in zip(self.last, now, strict=True):
                if before is not None and after is not None and before.shape == after.shape:
                    change = float(np.mean((after - before) ** 2))
                    self.changes += change > 0
                    self.slow += 0 < change < SLOW * float(np.var(after))
        self.last = now

    def told(self) -> bool:
        """Return whether what the loss measures moves while it is trained.

        Source: derived here; that a player's loss tells nothing of how it does: Goodfellow et al., Generative
            adversarial nets, NIPS 2014, section 3 and proposition 2.

        Example:
            >>> mine, its, still = Moving(), Moving(), Moving()
            >>> for step in range(9):
            ...     w, v = np.full(3, step / 9), np.full(2, -step / 9)
            ...     mine.add([w], [v, np.ones((4, 3))])
            ...     its.add([v], [w])
            ...     still.add([np.ones(3)], [np.ones((4, 3))])
            >>> mine.told(), its.told(), still.told()
            (True, True, False)
        """
        meetings = [often for _, often in self.met.values()]
        meetings += [other.met[self][1] for other in list(PLAYERS) if self in other.met]
        slow = self.slow >= max(FEWEST, MOSTLY * self.changes)
        return bool(slow or max(meetings, default=0) >= FEWEST)


PLAYERS: Final[weakref.WeakSet[Moving]] = weakref.WeakSet()


def _arrays(leaves: Sequence[Any]) -> list[Array]:
    """The arrays among these, without single numbers."""
    return [x for x in leaves if isinstance(x, np.ndarray) and x.ndim]


def _share(some: Sequence[Array], others: Sequence[Array]) -> bool:
    """Whether an array of the ones is one of the others."""
    known = {id(x) for x in others}
    return any(id(x) in known for x in some)


def _weights(arg: Any) -> Array | None:
    """The numbers of a container of arrays with different numbers of rows; None of all else."""
    if isinstance(arg, np.ndarray):
        return None
    arrays = [x for x in _arrays(trees.flatten(arg)[0]) if x.dtype.kind == "f" and x.size]
    if len({len(x) for x in arrays}) < 2:
        return None
    return np.concatenate([np.ravel(x) for x in arrays]).astype(np.float64)
