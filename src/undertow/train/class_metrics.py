"""Metrics of one class of a table, by its name: the command line says ``f1_of_yes`` where training knows a number."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

import numpy as np

from undertow.data.wording import closest_name, list_names
from undertow.errors import ArgumentError, RunError
from undertow.train.metrics_labels import OF_CLASS, SCORES

CLASS_SCORES: Final = tuple(SCORES)
_BINARY: Final = re.compile(rf"({'|'.join(SCORES)})_binary")


def read_class_metrics(names: Any, classes: Sequence[Any] | None, outputs: int = 2) -> Any:
    """Put the number of a class in the place of its name: ``f1_of_yes`` becomes ``f1_of_1``.

    Args:
        names: of metrics, or None; what is no list of names stays as it is.
        classes: of the target, in their order; None where it is a number.
        outputs: of the network: one that has a single one knows the metrics ``…_binary``.

    Returns:
        The names.

    Raises:
        ArgumentError: ``--metrics f1_of_yess: there is no class 'yess'. Write f1_of_yes.``; ``--metrics f1_binary: …``

    Source: derived here.

    Example:
        >>> read_class_metrics(["auc", "f1_of_yes"], ["no", "yes"])
        ['auc', 'f1_of_1']
    """
    if classes is None or not isinstance(names, list | tuple):
        return names
    return [_numbered(name, [*map(str, classes)], outputs) if isinstance(name, str) else name for name in names]


def place_of_class(written: str, labels: Sequence[str]) -> int | None:
    """Find a class by what somebody calls it: a truth value in any case, a number however it is written.

    Args:
        written: its name.
        labels: the names of the classes.

    Returns:
        Its place; None where there is none, or more than one.

    Source: derived here.

    Example:
        >>> place_of_class("true", ["False", "True"]), place_of_class("1.0", ["0", "1"]), place_of_class("2", ["0"])
        (1, 1, None)
    """
    written = written.strip()
    if written in labels:
        return labels.index(written)
    if set(labels) <= {"False", "True"}:
        return next((k for k, label in enumerate(labels) if label.lower() == written.lower()), None)
    value = _number_of(written)
    places = [k for k, label in enumerate(labels) if value is not None and _number_of(label) == value]
    return places[0] if len(places) == 1 else None


def _number_of(text: str) -> float | None:
    with suppress(ValueError):
        return float(text)
    return None


def _numbered(name: str, labels: Sequence[str], outputs: int) -> str:
    """The name of a metric with the number of its class."""
    score, _, label = name.partition("_of_")
    if score in SCORES and label:
        if (place := place_of_class(label, labels)) is None:
            near = closest_name(label, labels)
            raise ArgumentError(
                f"--metrics {name}: there is no class {label!r}. The classes are {list_names(labels)}. "
                f"Write {score}_of_{near or labels[-1]}."
            )
        return f"{score}_of_{place}"
    if (found := _BINARY.fullmatch(name)) and outputs > 1:
        write = " or ".join(f"{found[1]}_of_{label}" for label in labels[:3])
        raise ArgumentError(
            f"--metrics {name}: the classes of a table have names, and this does not say which is meant. Write {write}."
        )
    return name


def named_class(name: str, classes: Sequence[Any] | None) -> str:
    """Name a metric by the name of its class, where it is of one.

    Args:
        name: of a metric, as it was measured.
        classes: of the target, in their order; None where it is a number.

    Returns:
        The name as `read_class_metrics` takes it.

    Source: derived here.

    Example:
        >>> named_class("f1_of_1", ["no", "yes"]), named_class("auc", ["no", "yes"])
        ('f1_of_yes', 'auc')
    """
    found = OF_CLASS.fullmatch(name)
    return f"{found[1]}_of_{classes[int(found[2])]}" if found and classes and int(found[2]) < len(classes) else name


def rare_class(run: Any) -> int:
    """Find which of two classes is asked for: the rarer one of those trained on; the second where that is not known.

    Args:
        run: of two classes.

    Returns:
        0 or 1.

    Source: derived here.

    Example:
        >>> from undertow.train import Run
        >>> rare_class(Run("a model", []))
        1
    """
    target: dict[str, Any] = {}
    with suppress(RunError):  # a record that is damaged is told where it is asked for; figures do without it
        target = {} if run.record is None else run.flow.facts.get("target") or {}
    priors: list[float] = target.get("priors") or []
    return 0 if len(priors) == 2 and priors[0] < priors[1] else 1


def tell_class(y: Any, found: Any, at: int, label: Any, weights: Any = None) -> str:
    """Say in half a sentence how well a class is found.

    Args:
        y: true classes, (m,) whole numbers.
        found: predicted ones, the same.
        at: the number of the class.
        label: its name.
        weights: of the examples, (m,); None where all count alike.

    Returns:
        The text.

    Source: Manning, Raghavan, Schütze, Introduction to Information Retrieval, 2008, section 8.3.

    Example:
        >>> tell_class(np.array([0, 1, 1, 1]), np.array([1, 1, 0, 0]), 1, "yes")
        "of class 'yes': precision 50.0%, recall 33.3%, f1 0.4"
        >>> tell_class(np.array([0, 0]), np.array([0, 1]), 1, "yes")
        "no row of class 'yes'"
    """
    y, found = (np.ravel(x) == at for x in (y, found))
    if not y.any():  # 0 % would read as if such rows had been missed
        return f"no row of class {label!r}"
    total = lambda x: float(np.sum(x if weights is None else x * weights))  # noqa: E731
    hits = total(y & found)
    precision, recall, f1 = (score(hits, total(found) - hits, total(y) - hits) for score in SCORES.values())
    return f"of class {label!r}: precision {precision:.1%}, recall {recall:.1%}, f1 {f1:.4g}"
