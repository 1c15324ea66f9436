"""A target of numbers that are written for people, such as $1,234.50."""

from __future__ import annotations

from dataclasses import replace

from undertow.data.decimals import Decimal
from undertow.data.late import pl
from undertow.data.layouts import LAYOUTS, LayoutsSeen
from undertow.data.number_target import NumberTarget
from undertow.data.parse import mark_missing
from undertow.data.target import Target, find_target
from undertow.data.target_checks import has_few_of_each
from undertow.data.tasks import Task
from undertow.data.wording import Origin


def choose_target_layout(
    found: LayoutsSeen, name: str, task: Task | None, n_distinct: int, n: int, decimal: Decimal = "auto"
) -> tuple[str, str]:
    """The layout of a target's texts, "" where they are classes; and the sentence that says so.

    Args:
        found: what was seen of all its texts.
        name: of the column.
        task: asked for; None where the target decides: texts that differ too much to be classes are numbers.
        n_distinct: different texts.
        n: texts.
        decimal: see ``LayoutsSeen.choose``.

    Returns:
        The layout's name and the sentence, or two empty texts.
    """
    if task == "classification" or (task is None and not has_few_of_each(n_distinct, n)):
        return "", ""
    layout, remarks = found.choose(decimal)
    if layout is None or layout.kind != "number":
        return "", ""
    return layout.name, f"Target {name!r}: {'; '.join([f'numbers written as {layout.show()}', *remarks])}."


def read_target_layout(
    frame: pl.DataFrame, name: str, task: Task | None, origin: Origin | None, decimal: Decimal = "auto"
) -> tuple[pl.DataFrame, str, list[str]]:
    """A table whose target is numbers, where all its texts are numbers of one layout.

    Args:
        frame: the table.
        name: of the target.
        task: asked for; None where the target decides.
        origin: where the rows came from, for messages.
        decimal: see ``LayoutsSeen.choose``.

    Returns:
        The table, the layout's name ("" where there is none), and sentences for the report.
    """
    series = find_target(frame, name, origin)
    if series.dtype != pl.String:
        return frame, "", []
    texts = mark_missing(series)
    found = LayoutsSeen()
    found.update(texts)
    present = texts.drop_nulls()
    layout, said = choose_target_layout(found, name, task, present.n_unique(), len(present), decimal)
    if not layout:
        return frame, "", []
    return frame.with_columns(LAYOUTS[layout].parse(texts).alias(name)), layout, [said]


def with_layout(target: Target, layout: str) -> Target:
    """The target, read by this layout where it is text."""
    return replace(target, layout=layout) if layout and isinstance(target, NumberTarget) else target
