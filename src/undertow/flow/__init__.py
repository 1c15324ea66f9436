"""How the gradient flows while a model trains: recorded, judged, mended."""

from pathlib import Path
from typing import Any

from undertow.flow.diagnose import diagnose
from undertow.flow.findings import Evidence, Finding, Remedy
from undertow.flow.forecast import Forecast, forecast
from undertow.flow.layers import FlowLayer
from undertow.flow.own import recorded
from undertow.flow.record import Flow, Look
from undertow.flow.recorder import Recorder
from undertow.flow.show import flow_table
from undertow.flow.store import FlowStore, load_flow
from undertow.flow.tell import show_findings

__all__ = [
    "Evidence",
    "Finding",
    "Flow",
    "FlowLayer",
    "Forecast",
    "Look",
    "Recorder",
    "Remedy",
    "load_flow",
    "diagnose",
    "flow_table",
    "forecast",
    "read_flow",
    "recorded",
    "save_flow",
    "show_findings",
]


def read_flow(record: Any) -> Flow:
    """Return the record of a run, of what `undertow.train.Run` holds: a recorder, a record, or a folder."""
    if isinstance(record, Recorder):
        return record.current()
    return record if isinstance(record, Flow) else load_flow(record)


def save_flow(flow: Flow, folder: Path) -> None:
    """Write a record into the folder of a run."""
    store = FlowStore(folder)
    store.begin(flow)
    store.close()
