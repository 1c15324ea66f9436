"""Says what is wrong with a training."""

from __future__ import annotations

from undertow.flow.findings import Finding
from undertow.flow.record import Flow


def diagnose(flow: Flow) -> list[Finding]:
    """Find what is wrong with a training."""
    return []
