"""What is said where there are too few examples to hold any out, or of a class."""

from __future__ import annotations

import warnings
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from undertow.data.wording import list_names
from undertow.errors import DataWarning
from undertow.trace.where import frames_of_ours

LEFT_OUT_ONCE: Final = "the fold that holds it out is trained without it, and so cannot predict it."


def warn_of_none_held(share: float) -> None:
    """Warn that a share of the examples was to be held out, and none is, as there is one.

    Args:
        share: that was to be held out, 0 or more.

    Source: derived here.
    """
    if share:
        warnings.warn(
            "nothing is held out for validation: there is a single example. Early stopping and plateaus of the rate "
            "watch the training loss, and how well new examples are predicted is not known. Give more examples, or "
            "validation=None.",
            DataWarning,
            stacklevel=frames_of_ours(),
        )


def find_single(labels: NDArray[Any]) -> list[Any]:
    """Return the classes that have a single example.

    Args:
        labels: of all examples, (m,).

    Source: derived here.

    Example:
        >>> find_single(np.array(["a", "b", "a"]))
        ['b']
    """
    classes, counts = np.unique(labels, return_counts=True)
    return classes[counts == 1].tolist()


def warn_of_single(labels: NDArray[Any], what: str) -> None:
    """Warn of classes with a single example, where there are others.

    Args:
        labels: of all examples, (m,).
        what: becomes of the example, as the sentence ends.

    Source: derived here.

    Example:
        >>> import warnings
        >>> with warnings.catch_warnings(record=True) as found:
        ...     warnings.simplefilter("always")
        ...     warn_of_single(np.array([0, 0, 0, 1, 1, 2]), "it is trained on.")
        >>> print(found[0].message)
        class 2 has a single example: it is trained on.
    """
    single = find_single(labels)
    if single:
        who = f"class {single[0]!r} has" if len(single) == 1 else f"classes {list_names(single)} have"
        warnings.warn(f"{who} a single example{' each' * (len(single) > 1)}: {what}", DataWarning,
                      stacklevel=frames_of_ours())  # fmt: skip
