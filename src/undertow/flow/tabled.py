"""Changes of the network of a training on a table, made by its settings: a remedy's option makes the same."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from undertow.flow.attempt import Attempt, apply_change, combine
from undertow.train.table_data import Table
from undertow.train.table_network import build_network, count_outputs
from undertow.train.table_settings import TableSettings
from undertow.train.table_setup import start_network

Step = tuple[str, Mapping[str, Any]]


@dataclass(frozen=True)
class TableChanges:
    """Makes changes of a training; of the network of a table by settings, all others by themselves.

    Attributes:
        settings: of the training; None where it is on no table.
        table: what it trains on.
    """

    settings: TableSettings | None = None
    table: Table | None = None

    def network(self, *steps: Step) -> Any:
        """Build the network with these changes that are settings; None where there is no table."""
        if self.settings is None or self.table is None:
            return None
        settings = self.settings
        for name, change in steps:
            settings = replace(settings, **settings_of(name, change, settings))
        codes = [] if self.table.encoder is None else self.table.encoder.codes
        n_outputs = count_outputs(settings, self.table.n_outputs)
        return start_network(build_network(settings, self.table.n_features, n_outputs, codes), settings, self.table)

    def apply(self, attempt: Attempt, name: str, change: Mapping[str, Any]) -> Attempt:
        """Make one change; raises as `apply_change` does."""
        if self.settings is None or not settings_of(name, change, self.settings):
            return apply_change(attempt, name, change)
        return replace(attempt, model=self.network((name, change)))

    def combine(self, attempt: Attempt, steps: Iterable[Step]) -> Attempt:
        """Make several, those of the network first."""
        steps = list(steps)
        if self.settings is None:
            return combine(attempt, steps)
        ours = [step for step in steps if settings_of(*step, self.settings)]
        attempt = replace(attempt, model=self.network(*ours)) if ours else attempt
        return combine(attempt, [step for step in steps if step not in ours])


def settings_of(name: str, change: Mapping[str, Any], settings: TableSettings) -> dict[str, Any]:
    """Say which settings of a training on a table are a change of its network.

    Args:
        name: of the change, as `apply_change` knows it.
        change: its settings.
        settings: of the training.

    Returns:
        The settings that differ; none where it is no change of the network alone, or not of all of it.

    Source: derived here.

    Example:
        >>> settings = TableSettings(hidden=[4, 32], activation="sigmoid")
        >>> settings_of("activation", {"to": "relu"}, settings), settings_of("width", {"least": 16}, settings)
        ({'activation': 'relu'}, {'hidden': [16, 32]})
        >>> settings_of("rate", {"to": 0.1}, settings)
        {}
    """
    if change.get("paths"):
        return {}
    to = change.get("to")
    if name == "activation":
        at_end = change.get("where") == "output"
        return {"output_activation": "none" if to in (None, "identity") else to} if at_end else {"activation": to}
    if name == "initialisation" and "gains" in change:
        return {}  # those of a table's network begin at 1
    if name == "initialisation":
        return {"start_at_frequencies": True} if "output" in change else {"init": to}
    if name == "width":
        return {"hidden": [max(size, int(change["least"])) for size in settings.hidden or []]}
    if name == "regularisation" and len(change) == 1 and next(iter(change)) in ("noise", "dropout"):
        return dict(change)
    if name == "residual":
        return {"residual": True}
    setting = {"normalisation": "norm", "dropout": "dropout"}.get(name)
    return {} if setting is None else {setting: to}
