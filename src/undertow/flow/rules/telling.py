"""Columns that hold the answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from undertow.flow.findings import Finding, Remedy
from undertow.flow.names import names_of, shorten
from undertow.flow.record import Flow
from undertow.flow.rules import remedies as R
from undertow.flow.rules.registry import Rule, rule
from undertow.flow.telling import SHARE

HOW = {
    "line": "is the target in another unit: a straight line of it gives the target",
    "order": "has the order of the target: the target is a function of it",
    "values": "tells the target by its value: beside each value of it, the target is always the same",
    "filled": "tells the target: it has one value in all rows of one class, which no row of the other has",
    "bounds": "is what the target was made of: each class is a range of it",
}


@rule(
    "telling-column",
    share=(SHARE, "share of the target's variance, or of the rows not in the commonest class, that a column tells"),
    listed=(5, "columns that are named"),
)
def find_telling_columns(flow: Flow, rule: Rule) -> Iterator[Finding]:
    """One column alone gives the target, in every row but for what rounding does.

    Of numbers, a straight line of the column or its order explains the target. Of classes, each value of the column
    stands beside one class, or one of two classes has one value in all rows, such as 0, and the other many values, but
    never that one (pixels may be so, and are left alone), or each class is a range of the column whose bounds lie where
    numbers are dense: classes with a gap between them, and columns that predict well but not perfectly, are but easy.
    Nothing is said where there is no other column. It is a note where classes are ranges, and in arrays, whose columns
    have no names and which may have been made to try something.

    Source: Kaufman et al., Leakage in data mining, ACM TKDD 6, 2012, sections 1 and 3; what counts as the same: derived
        here.
    """
    found: list[dict[str, Any]] = [x for x in flow.facts.get("telling") or [] if x["share"] >= rule.share]
    if not found:
        return
    names = [_name(x) for x in found]
    target = names_of(flow).get("target")
    classes = (flow.facts.get("target") or {}).get("kind") == "classes"
    what = "share of rows that are right by it alone" if classes else "share of the variance that it explains alone"
    listed = found[: int(rule.listed)]
    rows: list[tuple[Any, ...]] = [
        (f"{name}: {what}", x["share"], "below 0.9999") for x, name in zip(listed, names, strict=False)
    ]
    if classes:
        rows.append(("share of the commonest class", found[0]["base"], None))
    first = f"Column {names[0].removeprefix('column ')} {HOW[found[0]['how']]}"
    first = first.replace("the target", f"the target '{shorten(str(target))}'", 1) if target else first
    others = f" So {'do' if len(found) > 2 else 'does'} {_list(names[1:], int(rule.listed))}." if len(found) > 1 else ""
    yield rule.found(
        "warning" if any(x["name"] is not None and x["how"] != "bounds" for x in found) else "note",
        f"{first}.{others} If it is not known before the target is, the scores here say nothing of new rows.",
        rows,
        [_leave_out(flow, found, names)],
        step=0,
    )


def _name(x: dict[str, Any]) -> str:
    """What a column is called: by its name in the table, else by its number."""
    return f"column {x['columns'][0]} of X" if x["name"] is None else f"'{shorten(str(x['name']))}'"


def _list(names: list[str], most: int) -> str:
    """Names as a part of a sentence."""
    shown = names[:most] + ([f"{len(names) - most} more"] if len(names) > most else [])
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def _leave_out(flow: Flow, found: list[dict[str, Any]], names: list[str]) -> Remedy:
    """Take the columns out of the data."""
    named = [str(x["name"]) for x in found if x["name"] is not None]
    columns = [i for x in found for i in x["columns"]]
    left = flow.facts.get("n_features", 0) - len(columns)
    if named and names_of(flow).get("target"):
        shown = ", ".join(map(repr, named))
        code = f"table = table.drop({shown})  # of Polars"
        option = R.write_leave_out(flow, named)
    else:
        option = ""
        code = f"X = np.delete(X, {columns}, axis=1)  # the first layer then takes {left} columns"
    which = "it" if len(found) == 1 else "them"
    return R.mend_data(
        f"Leave {_list(names, 5)} out, unless a row has {which} before its target is known.",
        code,
        option,
    )
