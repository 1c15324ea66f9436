"""Named algebraic rewrites. Importing a family registers its rules; the order is the order they are asked in."""

from undertow.simplify import structure  # isort: skip
from undertow.simplify import stable  # isort: skip
from undertow.simplify import polynomial  # isort: skip
from undertow.simplify import sums  # isort: skip
from undertow.simplify.engine import RULES, Fired, FiredRules, Rule, Simplified, simplify

__all__ = [
    "RULES",
    "Fired",
    "FiredRules",
    "Rule",
    "Simplified",
    "polynomial",
    "simplify",
    "stable",
    "structure",
    "sums",
]
