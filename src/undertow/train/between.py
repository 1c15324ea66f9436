"""Between two steps: what callbacks ask for there, and steps on batches of a user's own."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from undertow.data.footprint import give_back
from undertow.errors import TrainingError
from undertow.optim import steps_in_all, with_scale
from undertow.train.derive import take_rows
from undertow.train.diverged import is_finite, remedies
from undertow.train.rows import read_scale
from undertow.train.session import NotFinite

if TYPE_CHECKING:
    from undertow.train.trainer import Trainer

ASKED_AFTER = 10  # steps on batches of a user's own


def open_session(trainer: Trainer, piece: Any) -> Any:
    """Make ready for the steps of some batches.

    Args:
        trainer: the training.
        piece: the examples and their order.

    Returns:
        What does the steps.

    Source: derived here.
    """
    return _open(trainer, piece.X, piece.target, min(trainer.feed.batch_size, len(piece.order)))


def _open(trainer: Trainer, X: Any, target: Any, size: int) -> Any:
    """Begin a series of steps, traced anew where what they read from outside has changed."""
    reading, step = trainer.reading, trainer.step
    if told := reading.heed(step):
        trainer.progress.tell(told)
        trainer.gradient.programs.clear()
    with reading.noting(step.gradient), steps_in_all(trainer.plan.count_updates(trainer.feed.n_examples)):
        return step.open(trainer.run.model, trainer.state, X, target, size)


def ask_again(trainer: Trainer, piece: Any) -> None:
    """Find out whether a loss or layers of the user's still are what steps were compiled of.

    Args:
        trainer: the training.
        piece: the examples and their order.

    Source: derived here.
    """
    rows = piece.order[: trainer.feed.batch_size]
    _ask(trainer, piece.X[rows], take_rows(piece.target, rows))


def _ask(trainer: Trainer, X: Any, target: Any) -> None:
    if told := trainer.reading.ask(trainer.step, trainer.run.model, X, target):
        trainer.progress.tell(told)
        trainer.gradient.programs.clear()
        trainer.run.forward.known.clear()


def compile_ahead(trainer: Trainer) -> None:
    """Compile the step of a training on files before their blocks take memory: LLVM takes 100 MB for that moment.

    Args:
        trainer: the training.

    Source: derived here.
    """
    piece = trainer.feed.sample()
    if piece is not None:
        open_session(trainer, piece)
        let_go(trainer)


def train_pieces(trainer: Trainer) -> bool:
    """Do the steps of an epoch; its examples are let go then, before anything is measured.

    Args:
        trainer: the training.

    Returns:
        Whether the epoch was broken off.

    Source: derived here.
    """
    pieces = trainer.feed.pieces(trainer.epoch - 1, trainer.seen)
    broken_off = False
    try:
        for piece in pieces:
            whole = trainer.seen + len(piece.order)
            trainer.train_piece(piece)
            if trainer.is_enough():
                broken_off = trainer.seen < whole or next(pieces, None) is not None
                break
    finally:
        pieces.close()  # type: ignore[attr-defined]
        trainer.step.let_go()
    let_go(trainer)
    return broken_off


def let_go(trainer: Trainer) -> None:
    """Give back what a training on files does not need now, before the next that takes memory.

    Args:
        trainer: the training.

    Source: derived here.
    """
    if trainer.feed.from_files:
        give_back()


def heed_callbacks(trainer: Trainer, session: Any, piece: Any) -> Any:
    """Ask the callbacks between two steps; where one of them waits, training is not the longer for it.

    Args:
        trainer: the training; it is halted where a callback wants it.
        session: what does the steps.
        piece: of which they are.

    Returns:
        What does the next ones: another session where a factor of the learning rate, or what the loss reads from
        outside, has changed.

    Source: derived here.
    """
    before, begun = read_scale(trainer), time.perf_counter()
    wishes = [function(trainer.epoch, trainer.n_steps) is True for function in trainer.hooks.between_steps]
    trainer.halted = any(wishes)
    if trainer.started is not None:
        trainer.started += time.perf_counter() - begun
    rescaled = read_scale(trainer) != before
    if not rescaled and not (trainer.hooks.on_step_end and trainer.reading.has_changed()):
        return session
    trainer.run.model, trainer.state = session.values()
    if rescaled:
        trainer.state = with_scale(trainer.state, read_scale(trainer))
    return open_session(trainer, piece)


def step_on(trainer: Trainer, X: Any, target: Any) -> float:
    """Do one step on a batch, and record it.

    Args:
        trainer: the training, which has begun.
        X: inputs, of the dtype of the parameters.
        target: what the loss takes.

    Returns:
        The loss before the step.

    Raises:
        Diverged: the loss, or a gradient, is not finite; the model stays as it was.

    Source: derived here.
    """
    recorder, n = trainer.recorder, len(X)
    if trainer.n_steps % ASKED_AFTER == 0:
        _ask(trainer, X, target)
    session = _open(trainer, X, target, n)
    try:
        (loss,) = session.run(np.arange(n), n)
    except NotFinite as error:
        origin = "" if recorder is None else recorder.fail(trainer, error)
        began = f" It began here: {origin}." if origin else ""
        told = "" if not math.isfinite(error.loss) else _check(trainer, X, target)
        message = f"train_on: {told or f'the loss is {error.loss}. {remedies(trainer.run.settings)}'}{began}"
        raise trainer.diverge(message) from None
    before = trainer.run.model, trainer.state
    trainer.run.model, trainer.state = session.values()
    spoiled = recorder is None and not is_finite(trainer.run.model) and is_finite(before[0])
    if spoiled and trainer.plan.non_finite == "raise":
        trainer.run.model, trainer.state = before
        told = _check(trainer, X, target) or f"the update is not finite. {remedies(trainer.run.settings)}"
        raise trainer.diverge(f"train_on: {told}")
    trainer.n_steps += 1
    if recorder is not None:
        recorder.after_steps(trainer, session, trainer.n_steps)
        recorder.end_epoch(trainer)
    return float(loss)


def _check(trainer: Trainer, X: Any, target: Any) -> str:
    """Say which gradient is not finite; nothing where all are."""
    try:
        trainer.step.check(trainer.run.model, X, target)
    except TrainingError as found:
        return str(found)
    return ""
