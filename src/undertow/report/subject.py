"""What a command is to explain or check: a function with example arguments, from a file or a run."""

from __future__ import annotations

import dataclasses
import inspect
import os
import sys
import traceback
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from undertow.errors import ArgumentError, DataError, RunError, ShapeError, UndertowError
from undertow.nn import LOSSES, Dense, Sequential, build_loss, list_layers
from undertow.nn.layer import widths
from undertow.trace import is_library
from undertow.train import Run, load

MODULE = "undertow_subject"
PACKAGE = str(Path(__file__).parents[1])
N_EXAMPLES = 4


@dataclass(frozen=True, eq=False)
class Subject:
    """A function that gives one number, and arguments to try it with.

    Attributes:
        function: the function.
        args: its arguments.
        file: where it came from: a Python file or the folder of a run.
    """

    function: Callable[..., Any]
    args: tuple[Any, ...]
    file: Path


def read_subject(text: str) -> Subject:
    """Read what a command is to work on.

    Args:
        text: the folder of a run, or ``file.py:function``.

    Returns:
        The subject.

    Raises:
        ArgumentError: ``file.py:nosuch: the file has no function 'nosuch'. …``, and what `from_file` raises.
        RunError: what `from_run` raises.

    Source: derived here.

    Example:
        >>> read_subject("lesson.py")
        Traceback (most recent call last):
        undertow.errors.ArgumentError: lesson.py: which function? Name it after a colon: lesson.py:loss
    """
    file, _, name = text.rpartition(":")
    if file.endswith(".py") and name and not os.path.isdir(text):
        return from_file(Path(file), name)
    if text.removesuffix(":").endswith(".py"):
        file = text.removesuffix(":")
        raise ArgumentError(f"{file}: which function? Name it after a colon: {file}:loss")
    return from_run(Path(text))


@contextmanager
def run_user_code(file: Path) -> Iterator[None]:
    """Turn an exception that a user's file raises into one message with its line.

    Args:
        file: the file.

    Raises:
        ArgumentError: ``lesson.py:12: ZeroDivisionError: division by zero``

    Source: derived here.

    Example:
        >>> with run_user_code(Path("lesson.py")):
        ...     1 / 0
        Traceback (most recent call last):
        undertow.errors.ArgumentError: lesson.py: ZeroDivisionError: division by zero
    """
    try:
        yield
    except (UndertowError, KeyboardInterrupt, BrokenPipeError):
        raise
    except SyntaxError as error:
        line = f":{error.lineno}" if error.lineno else ""
        where = f"{_show_file(error.filename, file) or file}{line}"
        raise ArgumentError(f"{where}: {type(error).__name__}: {error.msg}") from None
    except BaseException as error:  # whatever a user's file raises, its own kinds of exit too
        frames = traceback.extract_tb(error.__traceback__)
        places = [f"{shown}:{frame.lineno}" for frame in frames if (shown := _show_file(frame.filename, file))]
        where = places[-1] if places else str(file)
        try:
            reason = " ".join(str(error).split())
        except Exception:
            reason = "(its text cannot be made)"
        if isinstance(error, ImportError) and "attempted relative import" in reason:
            reason += ". The file is run on its own: write the import with the name of the package"
        raise ArgumentError(f"{where}: {type(error).__name__}{': ' if reason else ''}{reason}") from None


def _show_file(name: str | None, file: Path) -> str | None:
    """How to show a source file that lies beside the user's file or below; None for any other."""
    if name == str(file):
        return name
    folder = file.parent.resolve()
    other = not name or is_library(name) or "site-packages" in name or name.startswith(PACKAGE)
    if not name or other or not Path(name).is_relative_to(folder):
        return None
    return str(file.parent / Path(name).relative_to(folder))


def from_file(file: Path, name: str) -> Subject:
    """Load a function and its example arguments from a Python file, which is run.

    The arguments are what ``<name>_example``, ``example`` or ``EXAMPLE`` of the file gives: a tuple of
    arguments, a dictionary of them by name, or a function that returns either. Without them a parameter
    takes the variable of the file that is called like it, or its default; that of a method which is the object, an
    object of the class that the file has made.

    Args:
        file: the file.
        name: the function, or ``Net.loss`` for one of a class.

    Returns:
        The subject.

    Raises:
        ArgumentError: no such file, an error in it, no such function, no example arguments.

    Source: derived here.

    Example:
        >>> from_file(Path("no-such.py"), "loss")
        Traceback (most recent call last):
        undertow.errors.ArgumentError: no-such.py: there is no such file. Check the path.
    """
    if not os.path.isfile(file):
        what = (
            "this is a folder. Give a Python file" if os.path.isdir(file) else "there is no such file. Check the path"
        )
        raise ArgumentError(f"{file}: {what}.")
    try:
        code = file.read_bytes()
    except OSError as error:
        raise ArgumentError(f"{file}: the file cannot be read: {error.strerror}.") from None
    module = types.ModuleType(MODULE)
    module.__file__ = str(file)
    sys.modules[MODULE] = module
    folder = str(file.parent.resolve())
    sys.path.insert(0, folder)
    try:
        with run_user_code(file):
            exec(compile(code, str(file), "exec"), module.__dict__)
        function = _find_function(module, name, file)
        with run_user_code(file):
            args, named = _find_example(module, function, name, file)
    finally:
        with suppress(ValueError):  # the file may have changed the list itself
            sys.path.remove(folder)
    return Subject(_take_by_position(function, len(args), list(named)), (*args, *named.values()), file)


def function_beside(subject: Subject, name: str) -> Callable[..., Any]:
    """Another function of the file that a subject came from, such as a gradient that was written by hand.

    Args:
        subject: from a Python file, the last one that was read.
        name: of the function.

    Returns:
        The function.

    Raises:
        ArgumentError: ``net.py:backwards: the file has no function 'backwards'. It has loss, backward.``; a run.

    Source: derived here.

    Example:
        >>> function_beside(Subject(np.sum, (), Path("runs/a")), "backward")
        Traceback (most recent call last):
        undertow.errors.ArgumentError: runs/a is no Python file, and has no function 'backward'.
    """
    if subject.file.suffix != ".py":
        raise ArgumentError(f"{subject.file} is no Python file, and has no function {name!r}.")
    return _find_function(sys.modules[MODULE], name, subject.file)


def _take_by_position(function: Callable[..., Any], n_positional: int, keywords: list[str]) -> Callable[..., Any]:
    """The function with its keyword-only parameters behind the others, under their own names."""
    if not keywords:
        return function
    names = [*list(inspect.signature(function).parameters)[:n_positional], *keywords]
    given = [*names[:n_positional], *(f"{key}={key}" for key in keywords)]
    adapted = eval(f"lambda {', '.join(names)}: _function({', '.join(given)})", {"_function": function})
    adapted.__name__, adapted.__wrapped__ = function.__name__, function
    return cast(Callable[..., Any], adapted)


def _find_function(module: types.ModuleType, name: str, file: Path) -> Callable[..., Any]:
    """A function of a module, or of a class in it: ``Net.loss``; of an object there, that of its class."""
    owner, _, last = name.rpartition(".")
    held = getattr(module, owner, None) if owner else module
    function = getattr(held if isinstance(held, type) or not owner else type(held), last, None)
    if not callable(function):
        own = [key for key, value in vars(module).items() if inspect.isfunction(value) and value.__module__ == MODULE]
        classes = [value for value in vars(module).values() if isinstance(value, type) and value.__module__ == MODULE]
        own += [
            f"{cls.__name__}.{key}" for cls in classes for key, value in vars(cls).items() if _is_method(key, value)
        ]
        found = f"It has {', '.join(own)}." if own else "It has none."
        raise ArgumentError(f"{file}:{name}: the file has no function {name!r}. {found}")
    return function


def _is_method(name: str, value: Any) -> bool:
    """Whether it is written in a class, and not made by a decorator such as that of dataclasses."""
    return inspect.isfunction(value) and not name.startswith("_")


def _find_object(module: types.ModuleType, name: str) -> Any:
    """The object whose method is asked for: the one that is named, or the first of the class; else nothing."""
    owner = getattr(module, name.rpartition(".")[0], None)
    if not isinstance(owner, type):
        return inspect.Parameter.empty if owner is None else owner
    return next((value for value in vars(module).values() if type(value) is owner), inspect.Parameter.empty)


Arguments = tuple[tuple[Any, ...], dict[str, Any]]  # by position, and by name


def _find_example(module: types.ModuleType, function: Callable[..., Any], name: str, file: Path) -> Arguments:
    """The example arguments of a function."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        raise ArgumentError(f"{file}:{name}: its parameters cannot be read. Wrap it in a plain function.") from None
    for key in (f"{name.replace('.', '_')}_example", "example", "EXAMPLE"):
        if hasattr(module, key):
            value = getattr(module, key)
            return _bind(signature, value() if callable(value) else value, f"{file}: {key}", name)
    wanted = [p for p in signature.parameters.values() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    found = {p.name: getattr(module, p.name, p.default) for p in wanted}
    if "." in name and wanted and found[wanted[0].name] is inspect.Parameter.empty:
        found[wanted[0].name] = _find_object(module, name)
    missing = [key for key, value in found.items() if value is inspect.Parameter.empty]
    if found and not missing:
        by_name = {p.name: found.pop(p.name) for p in wanted if p.kind is p.KEYWORD_ONLY}
        return tuple(found.values()), by_name
    names = ", ".join(p.name for p in wanted) or "none"
    raise ArgumentError(
        f"{file}:{name}: there are no arguments to try it with{': ' if missing else ''}{', '.join(missing)}. Let the "
        f"file define a function example() that returns the arguments of {name} as a tuple ({names}), or variables "
        f"of these names."
    )


def _bind(signature: inspect.Signature, value: Any, where: str, name: str) -> Arguments:
    """Arguments in the order of the parameters."""
    try:
        if isinstance(value, dict) and set(value) <= set(signature.parameters):
            bound = signature.bind(**value)
        elif isinstance(value, tuple | list):
            try:
                bound = signature.bind(*value)
            except TypeError:
                if len(signature.parameters) != 1:
                    raise
                bound = signature.bind(value)
        else:
            bound = signature.bind(value)
    except TypeError as error:
        raise ArgumentError(
            f"{where} does not give the arguments of {name}{signature}: {error}. Let it be a tuple of them."
        ) from None
    bound.apply_defaults()
    return bound.args, bound.kwargs


def from_run(folder: Path) -> Subject:
    """Make of a run the loss it was trained with, a function of its parameters by name.

    Args:
        folder: the run's folder.

    Returns:
        The subject: ``loss(params, X, y)`` with ``params`` a dictionary W1, b1, W2, …, and a few examples.

    Raises:
        RunError: the folder holds no run, or a damaged one.
        ArgumentError: the run was trained with a loss of the user's own.

    Source: derived here.

    Example:
        >>> from_run(Path("no/such/run"))
        Traceback (most recent call last):
        undertow.errors.RunError: no/such/run: there is no such folder. Give the folder of a run.
    """
    run = load(folder)
    name = str(run.settings.get("loss"))
    if name not in LOSSES:
        raise ArgumentError(
            f"{folder} was trained with a loss of your own ({name}), which is not saved. Explain it in its file."
        )
    chosen, model = build_loss({"name": name, **run.settings.get("loss_settings", {})}), run.model
    X, y = _find_rows(run, folder)
    params: dict[str, Any] = {}
    for number, (_, layer) in enumerate(list_layers(model), 1):
        params[f"W{number}"] = layer.W
        if layer.b is not None:
            params[f"b{number}"] = layer.b

    def loss(params: dict[str, Any], X: Any, y: Any) -> Any:
        return chosen.function(_put(model, params, iter(range(1, len(params) + 1)))(X), y)

    return Subject(loss, (params, X, y), folder)


def _put(item: Any, params: dict[str, Any], numbers: Iterator[int]) -> Any:
    """The same model with other parameters."""
    if isinstance(item, Sequential):
        return type(item)(*[_put(layer, params, numbers) for layer in item.layers])
    if isinstance(item, Dense):
        number = next(numbers)
        return dataclasses.replace(item, W=params[f"W{number}"], b=params.get(f"b{number}"))
    return item


def _find_rows(run: Run, folder: Path) -> tuple[Any, Any]:
    """A few examples: those that the run keeps, or zeros of the right shapes."""
    fan_in, fan_out = widths(run.model)
    if fan_in is None or fan_out is None:
        raise RunError(f"{folder}: the model has no layer with parameters, so there is nothing to explain.")
    dtype = run.settings.get("dtype", "float32")
    classes = LOSSES[run.settings["loss"]].task == "categorical"
    kept = run.extras.get("example")
    if kept is None:
        X = np.zeros((N_EXAMPLES, fan_in), dtype)
        return X, np.zeros(N_EXAMPLES, np.int64) if classes else np.zeros((N_EXAMPLES, fan_out), dtype)
    try:
        X = np.asarray(kept["X"], dtype)
        y = np.asarray(kept["y"], np.int64 if classes else dtype)
        if X.ndim != 2 or X.shape[1] != fan_in or y.shape != ((len(X),) if classes else (len(X), fan_out)):
            raise ShapeError(f"X is {X.shape}, y is {y.shape}")
        if not np.isfinite(X).all() or (classes and not ((y >= 0) & (y < fan_out)).all()):
            raise DataError("a value is out of range")
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise RunError(f"{folder / 'run.json'} is damaged: its examples: {error}.") from None
    return X, y
