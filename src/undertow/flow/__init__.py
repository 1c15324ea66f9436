"""How the gradient flows while a model trains: recorded, judged, mended."""

from typing import TYPE_CHECKING

from undertow.lazy import attach

if TYPE_CHECKING:
    from undertow.flow.cure import try_remedies
    from undertow.flow.diagnose import diagnose
    from undertow.flow.findings import Evidence, Finding, Findings, Remedy
    from undertow.flow.forecast import Forecast, forecast
    from undertow.flow.layers import FlowLayer
    from undertow.flow.own import OwnRecorder, recorded
    from undertow.flow.record import Flow, Look
    from undertow.flow.recorder import Recorder
    from undertow.flow.show import flow_table
    from undertow.flow.store import load_flow, read_flow, save_flow
    from undertow.flow.tell import show_findings
    from undertow.flow.trials import Trial, Trials

__all__ = [
    "Evidence", "Finding", "Findings", "Flow", "FlowLayer", "Forecast", "Look", "OwnRecorder", "Recorder", "Remedy",
    "diagnose", "flow_table", "forecast", "load_flow", "read_flow", "recorded", "save_flow", "show_findings", "Trial",
    "Trials", "try_remedies",
]  # fmt: skip

attach(
    __name__,
    {
        "undertow.flow.cure": "try_remedies",
        "undertow.flow.diagnose": "diagnose",
        "undertow.flow.findings": "Evidence Finding Findings Remedy",
        "undertow.flow.forecast": "Forecast forecast",
        "undertow.flow.layers": "FlowLayer",
        "undertow.flow.own": "OwnRecorder recorded",
        "undertow.flow.record": "Flow Look",
        "undertow.flow.recorder": "Recorder",
        "undertow.flow.show": "flow_table",
        "undertow.flow.store": "load_flow read_flow save_flow",
        "undertow.flow.tell": "show_findings",
        "undertow.flow.trials": "Trial Trials",
    },
)
