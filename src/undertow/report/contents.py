"""All that a report shows, as plain data; the page draws it, in a file or live."""

from __future__ import annotations

import math
import platform
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike

from undertow.flow.own import OwnRecorder
from undertow.flow.record import Flow
from undertow.report.curves import history_data, step_data
from undertow.report.distributions import look_data
from undertow.report.maps import map_data
from undertow.report.outcomes import outcome_data, paired_data
from undertow.report.recorded import Recorded, read_recorded
from undertow.report.summary import model_data, summary_data
from undertow.report.table_names import table_rows
from undertow.report.theory import theory_data
from undertow.train import Run
from undertow.train.run import read_versions

TEXT_AT_MOST: Final = 300  # characters of a setting
FORMAT, VERSION = "undertow-report", 1
SEVERITIES: Final = {"error": 0, "warning": 1, "note": 2}
TITLES: Final = {
    "vanishing": "Vanishing gradient",
    "exploding": "Exploding gradient",
    "dead-units": "Dead units",
    "born-dead-layer": "A layer born dead",
    "saturation": "Saturation",
    "non-finite": "Numbers that are not finite",
    "rank-collapse": "Rank collapse",
    "identical-units": "Identical units",
    "initial-loss": "Initial loss off",
    "step-too-large": "Steps too large",
    "step-too-small": "Steps too small",
    "over-fitting": "Over-fitting",
    "input-not-scaled": "Inputs not scaled",
    "constant-columns": "Constant columns",
    "target-not-scaled": "Target not scaled",
    "imbalanced-classes": "Imbalanced classes",
    "loss-activation-mismatch": "Loss and last activation do not fit",
    "always-clipped": "Clipped at nearly every step",
    "tiny-batch-normalisation": "Batch normalisation of tiny batches",
    "mixed-examples": "Examples of a batch that mix",
    "unread-parameter": "Parameters that are not read",
    "leakage": "Leakage from training to validation",
    "telling-column": "A column that tells the target",
    "over-regularised": "Regularised too much",
    "turned-sign": "Sign turned",
    "gradient-not-reset": "Gradient not reset",
}
NO_PREDICTIONS: Final = (
    "The run keeps no validation examples. Give them to see this: "
    'run.report("report.html", X=X_validation, y=y_validation).'
)
NO_MODEL: Final = "The run has no model yet, so there are no predictions to compare."
NO_LOOP: Final = "A record of a loop of your own holds no predictions to compare."


def report_data(
    source: Run | Flow | OwnRecorder | Recorded | str | Path,
    *,
    X: ArrayLike | None = None,
    y: ArrayLike | None = None,
    theory: bool = True,
) -> dict[str, Any]:
    """Gather all that a report shows.

    Args:
        source: a run, its record, the folder of one, which may still be training or have been killed, or what
            `undertow.report.recorded.read_recorded` has read of it.
        X: examples to compare predictions on, (m, …), best those held out; None for no comparison.
        y: their targets, (m,) or (m, K).
        theory: whether to ask mean-field theory, which takes some 10 ms a layer.

    Returns:
        A dictionary of plain data: JSON takes it as it is.

    Raises:
        ArgumentError, RunError: it is no run, or a damaged one.
        DataError, ShapeError: X and y are not what the model takes.

    Source: derived here.

    Example:
        >>> report_data(Run(None, [{"epoch": 1, "loss": 0.5}]))["summary"]["state"]
        'finished'
    """
    found = source if isinstance(source, Recorded) else read_recorded(source)
    flow, model = found.flow, model_data(found)
    return {
        "format": FORMAT,
        "version": VERSION,
        "written": time.strftime("%Y-%m-%d %H:%M"),
        "summary": summary_data(found, model),
        "remarks": list(found.remarks),
        "findings": None if found.findings is None else _findings(found.findings),
        "history": history_data(found.history, rates=flow is None),
        "steps": None if flow is None else step_data(flow),
        "map": None if flow is None else map_data(flow),
        "theory": theory_data(found, X) if theory else None,
        "looks": None if flow is None else look_data(flow),
        "outcome": _outcome(found, X, y),
        "settings": [*table_rows(found), *flatten_settings(found.settings)],
        "model": model,
        "environment": _environment(found),
    }


def _findings(findings: list[Any]) -> list[dict[str, Any]]:
    """The findings, the most severe first."""
    shown = []
    for finding in sorted(findings, key=lambda x: SEVERITIES.get(x.severity, 3)):
        plain = dict(finding.plain())
        title = TITLES.get(plain["kind"]) or str(plain["kind"]).replace("-", " ").capitalize()
        evidence = [
            {"text": x["text"], "value": _show_number(x["value"]), "expected": _show_number(x["expected"])}
            for x in plain["evidence"]
        ]
        remedies = [{key: x[key] for key in ("sentence", "code", "option")} for x in plain["remedies"]]
        keys = ("kind", "severity", "cause", "step", "source")
        shown.append(
            {
                **{key: plain[key] for key in keys},
                "title": title,
                "layers": list(plain["layers"]),
                "paths": list(plain["paths"]),
                "evidence": evidence,
                "remedies": remedies,
            }
        )
    return shown


def _show_number(value: Any) -> str:
    """A number of the evidence for people; texts as they are."""
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if not math.isfinite(value):
        return str(float(value)).replace("nan", "NaN")
    if isinstance(value, int) or (value == int(value) and abs(value) < 1e6):
        return f"{int(value):,}"
    return f"{value:.3g}"


def _outcome(found: Recorded, X: ArrayLike | None, y: ArrayLike | None) -> dict[str, Any]:
    """Predictions against targets, or why there are none."""
    if found.run is None or found.run.model is None:
        return {"kind": "none", "why": NO_MODEL if found.flow is None or not found.flow.of_loop else NO_LOOP}
    if X is not None and y is not None:
        return outcome_data(found.run, X, y)
    kept = found.flow.facts.get("held_out") if found.flow is not None else None
    if kept is None:
        return {"kind": "none", "why": NO_PREDICTIONS}
    return paired_data(found.run, found.run.pair(np.array(kept["outputs"]), np.array(kept["targets"])))


def flatten_settings(settings: Mapping[str, Any], start: str = "") -> Iterator[list[str]]:
    """Lay settings out as pairs of texts.

    Args:
        settings: plain data, nested.
        start: of each name.

    Yields:
        ``[name, value]``.

    Source: derived here.

    Example:
        >>> list(flatten_settings({"optimizer": {"name": "adam", "rate": 0.001}, "clip": None}))
        [['optimizer', 'adam'], ['optimizer rate', '0.001'], ['clip', '–']]
    """
    for key, value in settings.items():
        name = f"{start} {key}".strip().replace("_", " ")
        if isinstance(value, Mapping):
            if "name" in value:
                yield [name, str(value["name"])]
            yield from flatten_settings({k: v for k, v in value.items() if k != "name"}, name)
        else:
            text = _show_setting(value)
            yield [name, text if len(text) <= TEXT_AT_MOST else f"{text[:TEXT_AT_MOST]}…"]


def _show_setting(value: Any) -> str:
    """A setting for people."""
    if value is None or value in ([], ()):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(_show_setting, value))
    return str(value)


def _environment(found: Recorded) -> list[list[str]]:
    """With what it was trained, and where the report was written."""
    versions = [[name, str(text)] for name, text in found.versions.items()]
    here = [[f"{name} (report)", text] for name, text in read_versions().items() if found.versions.get(name) != text]
    system = f"{platform.system()} {platform.release()}"  # platform.platform() starts a program to find the processor
    return [*versions, *here, ["system", system], ["processor", platform.machine()]]
