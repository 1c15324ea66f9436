"""Predictions as a file: CSV or Parquet, whole or not at all."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from undertow.data.late import pl
from undertow.errors import ArgumentError, RunError
from undertow.train.disk import DISK
from undertow.train.files import explain_failure, write_whole

_FORMATS = (".csv", ".parquet")


def check_predictions_place(out: Path, data: Path) -> None:
    """Check where predictions are to go, before they are made.

    Args:
        out: the file to be.
        data: the file that is read.

    Raises:
        ArgumentError: another kind of file, a folder, or the file that is read.

    Source: derived here.

    Example:
        >>> check_predictions_place(Path("found.xlsx"), Path("new.csv"))
        Traceback (most recent call last):
        undertow.errors.ArgumentError: found.xlsx: predictions are written as .csv or .parquet.
    """
    if out.suffix not in _FORMATS:
        raise ArgumentError(f"{out.name}: predictions are written as .csv or .parquet.")
    if os.path.isdir(out):
        raise ArgumentError(f"{out} is a folder. Give the name of a file.")
    if os.path.exists(out) and os.path.exists(data) and os.path.samefile(out, data):
        raise ArgumentError(f"--out {out} is the file that is read, and would be lost. Give another name.")


def write_predictions(frames: Iterable[pl.DataFrame], out: Path) -> int:
    r"""Write predictions as CSV or Parquet, by the name's end; a failure leaves what was there before.

    Args:
        frames: portions of them.
        out: the file; its folder is made if missing.

    Returns:
        The number of rows.

    Raises:
        RunError: ``found.csv cannot be written: …``

    Source: derived here.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     n = write_predictions([pl.DataFrame({"prediction": [1.5, 2.5]})], Path(folder, "found.csv"))
        ...     n, Path(folder, "found.csv").read_text()
        (2, 'prediction\n1.5\n2.5\n')
    """
    portions = iter(frames)
    first = next(portions)
    second = next(portions, None)
    if second is None or (os.path.lexists(out) and not out.is_file()):
        rest = [] if second is None else [second, *portions]
        write_whole(out, _as_bytes(pl.concat([first, *rest]) if rest else first, out.suffix))
        return first.height + sum(frame.height for frame in rest)
    return _write_portions([first, second], portions, out)


def _as_bytes(frame: pl.DataFrame, suffix: str, header: bool = True) -> bytes:
    if suffix == ".csv":
        return frame.write_csv(include_header=header).encode()
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()


def _write_portions(begun: list[pl.DataFrame], rest: Iterator[pl.DataFrame], out: Path) -> int:
    """Write many portions beside the place of a file, and move it there."""
    import tempfile  # loads much, which a process that only reads does without

    target, n = Path(os.path.realpath(out)), 0
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".undertow-", dir=target.parent) as folder:
            new = Path(folder, target.name)
            for number, frame in enumerate(_chain(begun, rest)):
                n += frame.height
                if out.suffix == ".csv":
                    with open(new, "ab") as file:
                        file.write(_as_bytes(frame, ".csv", header=number == 0))
                else:
                    frame.write_parquet(Path(folder, f"part-{number:09}.parquet"))
            if out.suffix == ".parquet":
                pl.scan_parquet(str(Path(folder, "part-*.parquet"))).sink_parquet(new)
            with open(new, "rb") as file:
                os.fsync(file.fileno())
            DISK.rename(new, target)
        DISK.force_folder(target.parent)
    except OSError as error:
        raise RunError(f"{out} cannot be written: {explain_failure(out, error)}.") from None
    return n


def _chain(begun: list[pl.DataFrame], rest: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    while begun:
        yield begun.pop(0)
    yield from rest
