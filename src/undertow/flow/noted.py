"""The loss on rows held out, in a loop of one's own: told by the loop, or watched in its loss."""

from __future__ import annotations

import math
import re
from typing import Any, Final

import numpy as np

from undertow.errors import ArgumentError
from undertow.flow.record import Flow

HELD: Final = re.compile(
    r"""(?:val|valid|validation|held_?out|held|test|dev)_?(?:loss|nll|mse|cost|error|cross_?entropy)?
        |(?:loss|nll|mse|cost|error|cross_?entropy)_?(?:val|valid|validation|held_?out|held|test|dev)""",
    re.IGNORECASE | re.VERBOSE,
)  # the whole name: "val_accuracy" is to rise, and "std_dev" is of no rows
ROWS: Final = 50  # into which a longer course is cut, so that a row is a mean over steps


class Noted:
    """The losses on rows held out, with the steps after which they were measured."""

    def __init__(self) -> None:
        self.steps: list[int] = []
        self.values: list[float] = []

    def add(self, step: int, value: Any) -> None:
        """Keep one.

        Args:
            step: after which it was measured.
            value: one number.

        Raises:
            ArgumentError: ``note: the validation loss has shape (3,), and must be one number. …``
        """
        number = np.asarray(value)
        if number.shape or number.dtype.kind not in "fiu":
            what = f"shape {number.shape}" if number.shape else f"the kind {type(value).__name__}"
            raise ArgumentError(f"note: the validation loss has {what}, and must be one number. Give its mean.")
        self.steps.append(step)
        self.values.append(float(number))

    def watch(self, step: int, seen: dict[str, list[Any]]) -> None:
        """Keep the number among what a loss watches that is named as one of rows held out and has no gradient."""
        for name, (value, by) in seen.items():
            if HELD.fullmatch(name) and not np.ndim(value) and (by is None or not np.any(by)):
                self.add(step, value)
                return

    def rows(self, flow: Flow) -> list[dict[str, Any]]:
        """Return the course as rows of a history: each with the mean loss of the steps that it stands for.

        Args:
            flow: the record.
        """
        steps, values = np.array(self.steps), np.array(self.values)
        made, begin = [], 0
        for i, piece in enumerate(np.array_split(np.arange(len(steps)), min(len(steps), ROWS) or 1)):
            if not len(piece):
                continue
            end = int(np.searchsorted(flow.steps, steps[piece[-1]], "right"))
            loss = flow.scalars["loss"][begin:end].astype(np.float64)
            mean = float(loss.mean()) if len(loss) else math.nan
            held = float(values[piece].mean())
            made.append({"epoch": i + 1, "step": int(steps[piece[-1]]), "loss": mean, "validation_loss": held})
            begin = end
        return [row for row in made if math.isfinite(row["loss"]) and math.isfinite(row["validation_loss"])]
