"""Arguments given by names that there are not: what is said besides Python's own words."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def explain_keywords(function: Callable[P, R]) -> Callable[P, R]:
    """Let a function say which of its arguments was meant; a decorator.

    Args:
        function: whose arguments have names that other libraries call otherwise.

    Returns:
        The same function. Its TypeError for an argument that it does not have ends with a remedy.

    Source: derived here.

    Example:
        >>> @explain_keywords
        ... def adam(rate=1e-3, epsilon=1e-8):
        ...     return rate
        >>> adam(lr=0.1)
        Traceback (most recent call last):
            ...
        TypeError: adam() got an unexpected keyword argument 'lr'. Use rate.
    """

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except TypeError as error:
            unknown = re.fullmatch(r"(.*) got an unexpected keyword argument '(\w+)'", str(error))
            if unknown is None or error.__traceback__ is None or error.__traceback__.tb_next is not None:
                raise  # the call began: what is wrong is inside
            from undertow.habits import missing_argument

            own, name = unknown[1].replace(".__init__()", ""), unknown[2]
            known = [x for x in inspect.signature(function).parameters if x != "self"]
            raise TypeError(
                f"{own} got an unexpected keyword argument {name!r}. {missing_argument(name, known)}"
            ) from None

    return call
