"""Update rules and clipping: pure functions over parameter trees, in plain NumPy."""

from undertow.optim.clipping import Clip, check_finite, clip_by_global_norm, clip_by_value
from undertow.optim.rules import (
    OPTIMIZERS,
    AdamState,
    MomentumState,
    Optimizer,
    adam,
    find_optimizer,
    momentum,
    sgd,
)

__all__ = [
    "Optimizer",
    "OPTIMIZERS",
    "find_optimizer",
    "sgd",
    "momentum",
    "adam",
    "AdamState",
    "MomentumState",
    "Clip",
    "check_finite",
    "clip_by_global_norm",
    "clip_by_value",
]
