"""Between two steps: what callbacks ask for there."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from undertow.optim import steps_in_all, with_scale
from undertow.train.rows import read_scale

if TYPE_CHECKING:
    from undertow.train.trainer import Trainer


def open_session(trainer: Trainer, piece: Any) -> Any:
    """Make ready for the steps of some batches.

    Args:
        trainer: the training.
        piece: the examples and their order.

    Returns:
        What does the steps.

    Source: derived here.
    """
    with steps_in_all(trainer.plan.count_updates(trainer.feed.n_examples)):
        size = min(trainer.feed.batch_size, len(piece.order))
        return trainer.step.open(trainer.run.model, trainer.state, piece.X, piece.target, size)


def heed_callbacks(trainer: Trainer, session: Any, piece: Any) -> Any:
    """Ask the callbacks between two steps; where one of them waits, training is not the longer for it.

    Args:
        trainer: the training; it is halted where a callback wants it.
        session: what does the steps.
        piece: of which they are.

    Returns:
        What does the next ones: another session where a factor of the learning rate has changed.

    Source: derived here.
    """
    before, begun = read_scale(trainer), time.perf_counter()
    wishes = [function(trainer.epoch, trainer.n_steps) is True for function in trainer.hooks.between_steps]
    trainer.halted = any(wishes)
    if trainer.started is not None:
        trainer.started += time.perf_counter() - begun
    if read_scale(trainer) == before:
        return session
    trainer.run.model, trainer.state = session.values()
    trainer.state = with_scale(trainer.state, read_scale(trainer))
    return open_session(trainer, piece)
