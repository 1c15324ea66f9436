"""Arguments that a function does not take: what is said besides Python's own words."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from undertow.errors import ArgumentError

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
            said = re.sub(r"\. Did you mean '\w+'\?$", "", str(error))  # Python's own guess, from 3.13 on
            unknown = re.fullmatch(r"(.*) got an unexpected keyword argument '(\w+)'", said)
            missing = re.fullmatch(r"(.* missing 1 required positional argument: '(\w+)')", str(error))
            found = missing if unknown is None else unknown
            if found is None or error.__traceback__ is None or error.__traceback__.tb_next is not None:
                raise  # the call began: what is wrong is inside
            from undertow.habits import REQUIRED, missing_argument

            own, name = found[1].replace(".__init__()", ""), found[2]
            if unknown is None:
                if name not in REQUIRED:
                    raise
                raise TypeError(f"{own}. {REQUIRED[name]}") from None
            given = inspect.signature(function).parameters
            remedy = missing_argument(name, [x for x in given if x != "self"])
            if any(x.kind is x.VAR_POSITIONAL for x in given.values()) and remedy.startswith("Its arguments are"):
                remedy = f"What f takes by name is bound before: functools.partial(f, {name}=…). {remedy}"
            raise TypeError(f"{own} got an unexpected keyword argument {name!r}. {remedy}") from None

    return call


def check_rule(rule: Callable[..., Any], f: Callable[..., Any]) -> None:
    """Check that a rule can be called with a cotangent, a result and the arguments of a function.

    Args:
        rule: the derivative that is given.
        f: the function that it is given for.

    Raises:
        ArgumentError: it takes another number of arguments; says what it is called with.

    Source: derived here.

    Example:
        >>> def cube(x):
        ...     return x**3
        >>> check_rule(lambda ct, out, x: ct * 3 * x**2, cube)
    """
    try:
        given = inspect.signature(f).parameters.values()
        wanted = inspect.signature(rule)
    except (TypeError, ValueError):  # of a function in C
        return
    positional = [x.name for x in given if x.kind in (x.POSITIONAL_ONLY, x.POSITIONAL_OR_KEYWORD)]
    if len(positional) < len(given):
        return
    try:
        wanted.bind(*range(2 + len(positional)))
    except TypeError:
        name = getattr(f, "__name__", "f")
        raise ArgumentError(
            f"{getattr(rule, '__name__', 'the rule')} takes ({', '.join(wanted.parameters)}), but a rule of "
            f"{name} is called with the cotangent of the result, the result, and what {name} takes. Write "
            f"def {getattr(rule, '__name__', 'rule')}(ct, out, {', '.join(positional)})."
        ) from None
