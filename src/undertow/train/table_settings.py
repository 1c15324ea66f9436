"""All that decides a training on a table, as plain data: options of the command line, and the file config.toml."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final

from undertow.errors import ArgumentError, RunError
from undertow.spelling import did_you_mean
from undertow.train.files import write_whole

CONFIG: Final = "config.toml"
_KINDS: Final[dict[str, tuple[tuple[type, ...], str]]] = {
    "str": ((str,), "a text in quotes"),
    "int": ((int,), "a whole number"),
    "float": ((int, float), "a number"),
    "bool": ((bool,), "true or false"),
    "list[int]": ((list,), "a list of whole numbers such as [128, 64]"),
    "list[str]": ((list,), 'a list of texts in quotes: ["one", "two"]'),
}
_LEAST: Final = {"epochs": 1, "steps": 1, "warmup": 0}  # of which others are computed before training checks them


@dataclass(frozen=True, kw_only=True)
class TableSettings:
    """The settings of a training on a table; None where they are to be chosen.

    A rule with settings of its own is a text: ``"huber:delta=2"``, ``"adamw:beta2=0.99"``, ``"cosine:end=1e-5"``.

    Args:
        data: a CSV or Parquet file, or for large ones a folder or a pattern; data_digest: the checksum of its
            content, which a repetition must find again; data_bytes: its size.
        dataset: a data set that is shipped, in place of a file.
        header: False where a text file has no line of column names: they are column_1, column_2, ….
        target, weights, groups, time, leave_out: names of columns, see `undertow.data.encode_table`.
        task: ``"classification"`` or ``"regression"``.
        validation: the share of rows held out.
        scaling, categories, max_categories, min_count, dates, decimal, as_text, missing, target_scaling: how
            columns are encoded, see ``TabularEncoder.fit``.
        drop_copies: whether rows that are the same in all columns count once.
        memory: MB that the process may take; larger files are read again in each epoch, or encoded rows from the folder
            cache, to which they are written once.
        hidden: sizes of the hidden layers.
        activation, norm, dropout, residual: of the hidden layers; init: initial weights of all layers.
        noise: deviation of normal numbers that are added to the inputs while the network trains.
        output_activation: that the network ends in; ``"none"`` for none.
        start_at_frequencies: whether the network begins by giving the classes' frequencies, with small last weights.
        loss, label_smoothing, class_weights: what is minimised.
        optimizer, rate, decay, schedule, warmup: of the updates; the warm-up in epochs.
        epochs, steps, time_budget: when training ends at the latest; the last in seconds.
        early_stopping: epochs without a better validation loss; 0 for none.
        other: whether other settings are tried beside, and the better ones taken.
        folds: parts of the rows that are held out in turn to choose epochs, temperature and other settings, 3 or more;
            1 for the part alone by which the first training is measured.
        refit: whether to train again on all rows, for as many epochs as were best; refit_epochs: how many these were;
            refit_temperature: what scores of classes are divided by after it; refit_reductions: after which epochs the
            rate falls in it, where a first training has found that.
        resumed: how the training began and what `undertow resume` was told: with these settings alone it is another.
        batch_size, accumulate, l1, l2, max_norm, mixup, average, clip, non_finite, metrics, seed, dtype,
            checkpoint_every, flow: see `undertow.train`; clip is ``"norm=1"``, ``"value=0.5"``, ….
        threads: for the compiled steps.

    Source: derived here.

    Example:
        >>> TableSettings(hidden=[16], rate=0.01).given()
        {'hidden': [16], 'rate': 0.01}
    """

    data: str | None = None
    data_digest: str | None = None
    data_bytes: int | None = None
    dataset: str | None = None
    header: bool | None = None
    target: str | None = None
    weights: str | None = None
    groups: str | None = None
    time: str | None = None
    leave_out: list[str] | None = None
    task: str | None = None
    validation: float | None = None
    scaling: str | None = None
    categories: str | None = None
    max_categories: int | None = None
    min_count: int | None = None
    dates: str | None = None
    decimal: str | None = None
    as_text: list[str] | None = None
    missing: list[str] | None = None
    target_scaling: str | None = None
    drop_copies: bool | None = None
    memory: float | None = None
    cache: str | None = None
    hidden: list[int] | None = None
    activation: str | None = None
    norm: str | None = None
    dropout: float | None = None
    residual: bool | None = None
    init: str | None = None
    noise: float | None = None
    output_activation: str | None = None
    start_at_frequencies: bool | None = None
    loss: str | None = None
    label_smoothing: float | None = None
    class_weights: str | None = None
    optimizer: str | None = None
    rate: float | None = None
    decay: float | None = None
    schedule: str | None = None
    warmup: float | None = None
    epochs: int | None = None
    steps: int | None = None
    time_budget: float | None = None
    batch_size: int | None = None
    accumulate: int | None = None
    early_stopping: int | None = None
    refit: bool | None = None
    refit_epochs: int | None = None
    refit_temperature: float | None = None
    refit_reductions: list[int] | None = None
    resumed: list[str] | None = None
    other: bool | None = None
    folds: int | None = None
    l1: float | None = None
    l2: float | None = None
    max_norm: float | None = None
    mixup: float | None = None
    average: float | None = None
    clip: str | None = None
    non_finite: str | None = None
    metrics: list[str] | None = None
    seed: int | None = None
    dtype: str | None = None
    threads: int | None = None
    checkpoint_every: int | None = None
    flow: bool | None = None

    def given(self) -> dict[str, Any]:
        """The settings that are not None."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def over(self, other: TableSettings) -> TableSettings:
        """These settings, and those of another where they are None."""
        return TableSettings(**{**other.given(), **self.given()})


def read_config(path: str | os.PathLike[str]) -> TableSettings:
    """Read a TOML file of settings, such as a run folder holds.

    Args:
        path: the file.

    Returns:
        The settings.

    Raises:
        ArgumentError: ``c.toml: there is no such file.``; ``c.toml: there is no setting 'epoch' (did you mean
            'epochs'?).``; a value of another kind.

    Source: derived here; TOML 1.0.

    Example:
        >>> read_config("no/such.toml")
        Traceback (most recent call last):
        undertow.errors.ArgumentError: no/such.toml: there is no such file. Check the path.
    """
    import tomllib

    try:
        with open(path, "rb") as file:
            found = tomllib.load(file)
    except FileNotFoundError:
        raise ArgumentError(f"{path}: there is no such file. Check the path.") from None
    except OSError as error:
        raise ArgumentError(f"{path} cannot be read: {error.strerror or error}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ArgumentError(f"{path} is no TOML: {error}. Write lines such as epochs = 50.") from None
    return check_settings(found, str(path))


def check_settings(found: Mapping[str, Any], where: str) -> TableSettings:
    """Check names and kinds of settings that come from a file; see `read_config`."""
    known = {field.name: str(field.type).removesuffix(" | None") for field in fields(TableSettings)}
    for name, value in found.items():
        if name not in known:
            from undertow.data.wording import suggest_name

            raise ArgumentError(
                f"{where}: there is no setting {suggest_name(name, list(known))}. See the help of train."
            )
        kinds, text = _KINDS[known[name]]
        wrong = not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds)
        inner = {"list[int]": int, "list[str]": str}.get(known[name])
        if wrong or (inner is not None and any(type(entry) is not inner for entry in value)):
            raise ArgumentError(f"{where}: {name} is {str(value)[:60]!r}. Give {text}.")
        if (least := _LEAST.get(name)) is not None and not value >= least:
            raise ArgumentError(f"{where}: {name} is {value}. Give {least} or more.")
    return TableSettings(**found)


def write_config(settings: TableSettings, path: Path) -> None:
    """Write settings as a TOML file that `read_config` reads.

    Args:
        settings: to write; those that are None are left out.
        path: the file.

    Raises:
        RunError: the disk refuses.

    Source: derived here; TOML 1.0.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_config(TableSettings(hidden=[8], target="price"), Path(folder, "config.toml"))
        ...     read_config(Path(folder, "config.toml")).given()
        {'target': 'price', 'hidden': [8]}
    """
    head = "# All settings of this training. To repeat it: undertow train --config with this file.\n"
    if settings.resumed:
        head = (
            "# All settings of this training, which was gone on with for longer. undertow train --config with this\n"
            "# file alone comes out otherwise, because the schedule and early stopping began for less.\n"
            f"# {tell_resumed(settings.resumed)}\n"
        )
    lines = [f"{name} = {_show(value)}\n" for name, value in settings.given().items()]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{path.parent} cannot be made: {error.strerror or error}.") from None
    write_whole(path, (head + "".join(lines)).encode())


def tell_resumed(resumed: list[str]) -> str:
    """How a training that was gone on with for longer is repeated.

    Args:
        resumed: the options of each `undertow resume`, after those that the training began with.

    Returns:
        A sentence.

    Source: derived here.

    Example:
        >>> tell_resumed(["--epochs 5", "--epochs 9"])
        'To repeat it: undertow train --config … --epochs 5, then undertow resume … --epochs 9.'
    """
    first, *then = resumed
    begun = " ".join(["undertow train --config …", first]).strip()
    return f"To repeat it: {begun}{''.join(f', then undertow resume … {x}' for x in then)}."


def _show(value: Any) -> str:
    """A value in TOML; JSON's texts are TOML's, except for the DEL character."""
    import json

    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return f"[{', '.join(map(_show, value))}]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f") if isinstance(value, str) else repr(value)


def choose_name(name: str, option: str, known: Iterable[str]) -> str:
    """Return a name that is there; ArgumentError with those that are for others."""
    if name not in known:
        raise ArgumentError(f"{option} {name}: there is no such name. {offer_names(name, known)}")
    return name


def offer_names(name: str, known: Iterable[str]) -> str:
    """Say what there is in place of a name: what was meant, and all names.

    Example:
        >>> offer_names("adm", ["adam", "sgd"])
        "Did you mean 'adam'? Choose adam, sgd."
    """
    names = list(known)
    return f"{did_you_mean(name, names)}Choose {', '.join(names)}."


def read_rule(text: str, option: str) -> dict[str, Any]:
    """Read a rule with its settings: ``"huber:delta=2"``.

    Args:
        text: a name, and after a colon its settings, separated by commas.
        option: where it stands, for messages.

    Returns:
        ``{"name": "huber", "delta": 2}``.

    Raises:
        ArgumentError: ``--loss huber:2: write settings as name:key=value, for example huber:delta=2.``

    Source: derived here.

    Example:
        >>> read_rule("one_cycle:rise=0.2", "--schedule")
        {'name': 'one_cycle', 'rise': 0.2}
    """
    name, _, rest = text.partition(":")
    found: dict[str, Any] = {"name": name.strip()}
    for part in filter(None, (part.strip() for part in rest.split(","))):
        key, equal, value = part.partition("=")
        if not equal or not key.strip().isidentifier() or key.strip() == "name":
            raise ArgumentError(f"{option} {text}: write settings as name:key=value, for example huber:delta=2.")
        found[key.strip()] = _read_value(value.strip())
    return found


def _read_value(text: str) -> Any:
    """A number, true, false, none, or a text."""
    words = {"true": True, "false": False, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
