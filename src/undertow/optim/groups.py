"""Different optimizers for different parameters, by name or by a condition; None leaves parameters as they are."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from undertow import trees
from undertow.errors import ArgumentError
from undertow.keywords import explain_keywords
from undertow.optim.fitting import is_number
from undertow.optim.names import name_leaves
from undertow.optim.rules import Optimizer
from undertow.optim.wrappers import describe_optimizer, scaled_update

Pattern = str | Callable[[str, Any], bool]
Member = Optimizer | str | None


class GroupedState(NamedTuple):
    """The states of the default and of each group, in order; their trees are dicts of arrays by name."""

    groups: tuple[Any, ...]


@explain_keywords
def grouped(default: Member, groups: Mapping[Pattern, Member]) -> Optimizer:
    """Give parameters to different optimizers.

    Args:
        default: the optimizer of all parameters that no group has; None or ``"frozen"`` leaves them as they are.
        groups: optimizers by pattern, None or ``"frozen"`` for those that stay as they are. A pattern is a name such as
            ``"layers[0].W"`` in which ``*`` stands for anything and ``?`` for one character, or a function
            (name, array) → bool. The first that fits counts. In a dict, names are its keys.

    Returns:
        The optimizer; its state is a `GroupedState`.

    Raises:
        ArgumentError: ``grouped: the pattern 'layer*' fits none of layers[0].W, layers[0].b. …``, at ``init``.

    Source: derived here.

    Example:
        >>> import numpy as np
        >>> from undertow.optim import sgd
        >>> rule = grouped(sgd(0.1), {"*.b": "frozen"})
        >>> params = {"layer": {"W": np.ones(1), "b": np.ones(1)}}
        >>> rule.update(params, rule.init(params), params)[0]
        {'layer': {'W': array([0.9]), 'b': array([1.])}}
    """
    if not isinstance(groups, Mapping) or not all(isinstance(pattern, str) or callable(pattern) for pattern in groups):
        raise ArgumentError(f"grouped: groups is {groups!r:.80}. Give a dict of optimizers by pattern.")
    members = [_read_member(member) for member in (default, *groups.values())]
    tests = [_make_test(pattern) for pattern in groups]
    updates = [None if member is None else scaled_update(member) for member in members]

    def member_of(name: str, w: Any) -> int:
        return next((i for i, fits in enumerate(tests, 1) if fits(name, w)), 0)

    def trains(name: str, w: Any) -> bool:
        member = members[member_of(name, w)]
        return member is not None and (member.trains is None or member.trains(name, w))

    def assign(params: Any) -> list[dict[str, Any]]:
        """The parameters of each member by name."""
        found: list[dict[str, Any]] = [{} for _ in members]
        for name, w in zip(name_leaves(params), trees.flatten(params)[0], strict=True):
            if is_number(w):
                found[member_of(name, w)][name] = w
        return found

    def init(params: Any) -> GroupedState:
        chosen = assign(params)
        for pattern, fits in zip(groups, tests, strict=True):
            _check_used(pattern, fits, params)
        return GroupedState(
            tuple(() if member is None else member.init(mine) for member, mine in zip(members, chosen, strict=True))
        )

    def update(grads: Any, state: GroupedState, params: Any, scale: Any = 1.0) -> tuple[Any, GroupedState]:
        leaves, rebuild = trees.flatten(params)
        names = name_leaves(params)
        by_name = dict(zip(names, trees.flatten(grads)[0], strict=True))
        new, states = dict(zip(names, leaves, strict=True)), []
        for apply, before, mine in zip(updates, state.groups, assign(params), strict=True):
            if apply is not None:
                moved, before = apply({name: by_name[name] for name in mine}, before, mine, scale)
                new.update(moved)
            states.append(before)
        return rebuild([new[name] for name in names]), GroupedState(tuple(states))

    described = [
        [_describe_pattern(pattern), _describe(member)] for pattern, member in zip(groups, members[1:], strict=True)
    ]
    return Optimizer("grouped", init, update, {"default": _describe(members[0]), "groups": described}, trains)


def _read_member(member: Any) -> Optimizer | None:
    if member is None or member == "frozen":
        return None
    if not isinstance(member, Optimizer):
        raise ArgumentError(
            f"grouped: a group's optimizer is {member!r:.80}. Give an Optimizer such as undertow.optim.adam(), "
            "or 'frozen'."
        )
    return member


def _make_test(pattern: Pattern) -> Callable[[str, Any], bool]:
    """A pattern as a function; brackets are meant as they stand, since names have them."""
    if not isinstance(pattern, str):
        return pattern
    fits = re.compile(re.escape(pattern).replace(r"\*", ".*").replace(r"\?", "."), re.DOTALL).fullmatch
    return lambda name, array: fits(name) is not None


def _check_used(pattern: Pattern, fits: Callable[[str, Any], bool], params: Any) -> None:
    """ArgumentError for a pattern that fits nothing, which is a mistake in writing it."""
    pairs = [(name, w) for name, w in zip(name_leaves(params), trees.flatten(params)[0], strict=True) if is_number(w)]
    if not any(fits(name, w) for name, w in pairs):
        names = ", ".join(name for name, _ in pairs[:8]) + (", …" if len(pairs) > 8 else "")
        raise ArgumentError(
            f"grouped: the pattern {_describe_pattern(pattern)!r} fits none of {names or 'no parameters'}. "
            "Correct it, or leave it out."
        )


def _describe_pattern(pattern: Pattern) -> Any:
    return pattern if isinstance(pattern, str) else {"function": getattr(pattern, "__name__", "a function")}


def _describe(member: Optimizer | None) -> dict[str, Any] | None:
    return None if member is None else describe_optimizer(member)
