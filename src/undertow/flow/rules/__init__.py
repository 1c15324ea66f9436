"""The rules by which a training is judged, one file a family; importing them fills ``RULES``."""

from undertow.flow.rules import (  # noqa: F401 (they fill RULES)
    course,
    data,
    finite,
    fitting,
    gradients,
    output,
    reading,
    restraints,
    sign,
    steps,
    telling,
    units,
    weights,
)
from undertow.flow.rules.registry import RULES, Rule, rule

__all__ = ["RULES", "Rule", "rule"]
